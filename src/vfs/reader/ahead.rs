//! Read-ahead: a window of blocks that are fetched before they are asked for.
//!
//! It grows while a client reads in sequence and has to wait, so a slow store gets a wide window and a fast one a narrow
//! window. Its memory is tried for and never waited for; without memory every read goes to the store by itself.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};

use crate::stores::{Object, StoreError, StoreErrorKind, StoreResult};

use super::super::budget::{Budget, Hold};
use super::super::task::Task;

const KIB: u64 = 1024;
const MIB: u64 = 1024 * KIB;

/// The first block of a sequence. A client that reads here and there costs this much once.
const FIRST: u64 = 256 * KIB;

/// What remains of a file is fetched as one first block if it is at most this long.
const SMALL: u64 = MIB;

/// How much the window grows at once. 256 KiB, 2 MiB, 16 MiB, 64 MiB: three waits reach the widest.
const GROWTH: u64 = 8;

/// Blocks stay this long behind the place that is read, for clients whose requests overtake each other a little.
const BEHIND: u64 = 512 * KIB;

/// How wide a window may become and what it is made of, in bytes.
#[derive(Debug)]
struct Pace {
    widest: u64,
    smallest_block: u64,
    largest_block: u64,
    /// Blocks in a window.
    blocks: u64,
}

impl Pace {
    /// 64 MiB under way is 50 ms at 1.3 GB/s.
    const REMOTE: Pace = Pace { widest: 64 * MIB, smallest_block: FIRST, largest_block: 8 * MIB, blocks: 8 };

    /// A disk needs no distance: one block is handed out while the next is read.
    const LOCAL: Pace = Pace { widest: 2 * MIB, smallest_block: FIRST, largest_block: MIB, blocks: 2 };
}

/// One object with the blocks around the place that is read.
#[derive(Debug)]
pub(in crate::vfs) struct Ahead {
    object: Arc<dyn Object>,
    size: u64,
    budget: Arc<Budget>,
    pace: Pace,
    /// Blocks without gaps between them, in order.
    blocks: VecDeque<Block>,
    /// Where the next read starts if the client goes on in sequence; `None` before the first read.
    expected: Option<u64>,
    /// How many bytes beyond the place that is read are wanted.
    window: u64,
}

#[derive(Debug)]
struct Block {
    offset: u64,
    length: u64,
    content: Content,
}

#[derive(Debug)]
enum Content {
    Coming(Task<Bytes>),
    Here(Bytes),
}

impl Ahead {
    pub(in crate::vfs) fn new(object: Arc<dyn Object>, budget: Arc<Budget>) -> Self {
        let mut pace = if object.is_remote() { Pace::REMOTE } else { Pace::LOCAL };
        pace.widest = pace.widest.min(budget.share_of_a_reader());
        let size = object.stat().size;
        Ahead { object, size, budget, pace, blocks: VecDeque::new(), expected: None, window: 0 }
    }

    /// As [`Object::read`].
    pub(in crate::vfs) async fn read_at(&mut self, offset: u64, length: usize) -> StoreResult<Bytes> {
        let end = offset.saturating_add(length as u64).min(self.size);
        if offset >= end {
            return Ok(Bytes::new());
        }
        if !self.object.is_remote() && offset == 0 && end == self.size {
            // There is nothing to read ahead.
            return self.read_plainly(offset, end).await;
        }
        if self.covers(offset) {
            self.expected = self.expected.map(|expected| expected.max(end));
        } else {
            let in_sequence = self.expected.is_none_or(|expected| expected == offset);
            self.blocks.clear();
            self.expected = Some(end);
            if !in_sequence {
                self.window = 0;
                return self.read_plainly(offset, end).await;
            }
        }
        self.widen_at_first();
        self.drop_behind(offset);
        self.fetch_ahead(offset, end);
        match self.collect(offset, end).await {
            Ok(Some(data)) => Ok(data),
            Ok(None) => self.read_plainly(offset, end).await,
            Err(error) => {
                // A block that failed was asked for ahead of time; the client's own read decides.
                log_failed_block(&error);
                self.blocks.clear();
                self.read_plainly(offset, end).await
            }
        }
    }

    async fn read_plainly(&self, offset: u64, end: u64) -> StoreResult<Bytes> {
        let length = usize::try_from(end - offset).unwrap_or(usize::MAX);
        let data = self.object.read(offset, length).await?;
        if data.len() as u64 == end - offset {
            return Ok(data);
        }
        Err(StoreError::new(
            StoreErrorKind::Changed,
            format!("the store gave {} bytes from {offset} where {} were expected", data.len(), end - offset),
        ))
    }

    fn covers(&self, offset: u64) -> bool {
        match (self.blocks.front(), self.blocks.back()) {
            (Some(front), Some(back)) => front.offset <= offset && offset < back.end(),
            _ => false,
        }
    }

    /// The first two steps of a sequence need no wait to show that the window is worth its memory.
    fn widen_at_first(&mut self) {
        if self.window == 0 {
            self.window = FIRST.min(self.pace.widest);
        } else if self.window == FIRST {
            self.widen();
        }
    }

    fn widen(&mut self) {
        self.window = (self.window * GROWTH).min(self.pace.widest);
    }

    fn drop_behind(&mut self, offset: u64) {
        while self.blocks.front().is_some_and(|front| front.end() + BEHIND <= offset) {
            self.blocks.pop_front();
        }
    }

    /// Asks for blocks until the window beyond `offset` is full, the file ends, or memory is spent.
    fn fetch_ahead(&mut self, offset: u64, end: u64) {
        let mut next = self.blocks.back().map_or(offset, Block::end);
        let until = offset.saturating_add(self.window).max(end);
        while next < self.size {
            let length = self.block_length(next, end);
            let first = self.blocks.is_empty();
            if !first && next + length > until && next >= end {
                return;
            }
            let Some(hold) = self.budget.try_rest(length) else { return };
            self.blocks.push_back(self.fetch(next, length, hold));
            next += length;
        }
    }

    fn block_length(&self, from: u64, end: u64) -> u64 {
        let rest = self.size - from;
        if self.window == FIRST && rest <= SMALL {
            return rest;
        }
        let usual = (self.window / self.pace.blocks).clamp(self.pace.smallest_block, self.pace.largest_block);
        // One read of the client is not torn into many requests.
        usual.max(end.saturating_sub(from).min(self.pace.largest_block)).min(rest)
    }

    fn fetch(&self, offset: u64, length: u64, hold: Hold) -> Block {
        let object = Arc::clone(&self.object);
        let task = Task::spawn(async move {
            let data = object.read(offset, usize::try_from(length).unwrap_or(usize::MAX)).await?;
            if data.len() as u64 != length {
                return Err(StoreError::new(StoreErrorKind::Changed, "the store gave fewer bytes than the object has"));
            }
            // The memory counts until the last slice of the block is gone, wherever it waits.
            Ok(Bytes::from_owner(Held { data, _hold: hold }))
        });
        Block { offset, length, content: Content::Coming(task) }
    }

    /// The bytes from `offset` to `end` out of the blocks; `None` when the blocks do not reach that far.
    async fn collect(&mut self, offset: u64, end: u64) -> StoreResult<Option<Bytes>> {
        if !self.covers(offset) || !self.covers(end - 1) {
            return Ok(None);
        }
        let mut at = self.blocks.iter().position(|block| offset < block.end()).unwrap_or(0);
        let mut joined: Option<BytesMut> = None;
        let mut from = offset;
        while from < end {
            let slice = self.slice(at, from, end).await?;
            from += slice.len() as u64;
            match &mut joined {
                None if from == end => return Ok(Some(slice)),
                None => {
                    let mut buffer = BytesMut::with_capacity((end - offset) as usize);
                    buffer.extend_from_slice(&slice);
                    joined = Some(buffer);
                }
                Some(buffer) => buffer.extend_from_slice(&slice),
            }
            at += 1;
        }
        Ok(joined.map(BytesMut::freeze))
    }

    /// What block `at` holds of the bytes from `from` to `end`. Waiting for it widens the window.
    async fn slice(&mut self, at: usize, from: u64, end: u64) -> StoreResult<Bytes> {
        let must_wait = matches!(&self.blocks[at].content, Content::Coming(task) if !task.is_finished());
        if must_wait && self.window > FIRST && self.window < self.pace.widest {
            self.widen();
            self.fetch_ahead(from, end);
        }
        let block = &mut self.blocks[at];
        if let Content::Coming(task) = &mut block.content {
            block.content = Content::Here(task.result().await?);
        }
        let Content::Here(data) = &block.content else { return Ok(Bytes::new()) };
        let start = (from - block.offset) as usize;
        let stop = (end.min(block.end()) - block.offset) as usize;
        Ok(data.slice(start..stop))
    }
}

impl Block {
    fn end(&self) -> u64 {
        self.offset + self.length
    }
}

/// A block's bytes with the memory that they take in the budget.
struct Held {
    data: Bytes,
    _hold: Hold,
}

impl AsRef<[u8]> for Held {
    fn as_ref(&self) -> &[u8] {
        &self.data
    }
}

fn log_failed_block(error: &StoreError) {
    tracing::debug!(%error, "a block that was read ahead failed");
}
