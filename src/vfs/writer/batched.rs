//! A file that is written in any order, in batches: one is written while the next fills.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use tokio::task::JoinHandle;

use crate::stores::{FileUpload, StoreError, StoreErrorKind, StoreResult};

use super::super::budget::Budget;
use super::super::staging::StagedFile;
use super::super::task::lost;
use super::pieces::Pieces;

/// A batch is written when it has this many bytes.
const BATCH: u64 = 1 << 20;

/// What is behind a [`Batched`].
#[async_trait]
pub(super) trait Backing: Send + 'static {
    /// Writes all of `data`, one piece after the other, from `offset`.
    async fn write_at(&mut self, offset: u64, data: Vec<Bytes>) -> StoreResult<()>;

    /// Up to `length` bytes from `offset`; fewer only at the end.
    async fn read_at(&mut self, offset: u64, length: usize) -> StoreResult<Bytes>;

    /// Cuts or extends with zeros.
    async fn set_length(&mut self, length: u64) -> StoreResult<()>;
}

#[async_trait]
impl Backing for Box<dyn FileUpload> {
    async fn write_at(&mut self, offset: u64, data: Vec<Bytes>) -> StoreResult<()> {
        (**self).write_at(offset, data).await
    }

    async fn read_at(&mut self, offset: u64, length: usize) -> StoreResult<Bytes> {
        (**self).read_at(offset, length).await
    }

    async fn set_length(&mut self, length: u64) -> StoreResult<()> {
        (**self).set_length(length).await
    }
}

#[async_trait]
impl Backing for StagedFile {
    async fn write_at(&mut self, offset: u64, data: Vec<Bytes>) -> StoreResult<()> {
        StagedFile::write_at(self, offset, data).await
    }

    async fn read_at(&mut self, offset: u64, length: usize) -> StoreResult<Bytes> {
        StagedFile::read_at(self, offset, length).await
    }

    async fn set_length(&mut self, length: u64) -> StoreResult<()> {
        StagedFile::set_length(self, length).await
    }
}

/// A file behind its batches.
pub(super) struct Batched<B> {
    backing: State<B>,
    batch: Pieces,
    /// Where the batch starts.
    start: u64,
    length: u64,
    budget: Arc<Budget>,
}

enum State<B> {
    Idle(B),
    /// A batch is being written; the file comes back with the result.
    Writing(JoinHandle<(B, StoreResult<()>)>),
    /// The task that had the file ended without giving it back.
    Lost,
}

impl<B: Backing> Batched<B> {
    /// A file that has `length` bytes already.
    pub(super) fn new(backing: B, length: u64, budget: Arc<Budget>) -> Self {
        Batched { backing: State::Idle(backing), batch: Pieces::default(), start: 0, length, budget }
    }

    /// The length that it has when everything is written.
    pub(super) fn length(&self) -> u64 {
        self.length
    }

    /// Writes `data` at `offset`. Errors of a batch come with a later call.
    pub(super) async fn write_at(&mut self, offset: u64, data: Bytes) -> StoreResult<()> {
        if self.batch.length() > 0 && offset != self.start + self.batch.length() {
            self.start_writing().await?;
        }
        if self.batch.length() == 0 {
            self.start = offset;
        }
        let counted = self.batch.try_reserve(&self.budget, data.len());
        self.length = self.length.max(offset + data.len() as u64);
        self.batch.push(data);
        if !counted {
            // Without memory nothing is kept: the caller waits for the disk.
            self.start_writing().await?;
            self.settle().await?;
        } else if self.batch.length() >= BATCH {
            self.start_writing().await?;
        }
        Ok(())
    }

    /// Up to `length` bytes from `offset`, with all that was written before.
    pub(super) async fn read_at(&mut self, offset: u64, length: usize) -> StoreResult<Bytes> {
        self.flush().await?.read_at(offset, length).await
    }

    /// Cuts or extends with zeros.
    pub(super) async fn set_length(&mut self, length: u64) -> StoreResult<()> {
        self.flush().await?.set_length(length).await?;
        self.length = length;
        Ok(())
    }

    /// The file with all that was written.
    pub(super) async fn finish(mut self) -> StoreResult<B> {
        self.flush().await?;
        match self.backing {
            State::Idle(backing) => Ok(backing),
            State::Writing(_) | State::Lost => Err(gone()),
        }
    }

    /// The file, whatever became of what was written; to remove it.
    pub(super) async fn salvage(self) -> Option<B> {
        match self.backing {
            State::Idle(backing) => Some(backing),
            State::Writing(task) => task.await.ok().map(|(backing, _)| backing),
            State::Lost => None,
        }
    }

    /// Writes everything out and gives the file.
    pub(super) async fn flush(&mut self) -> StoreResult<&mut B> {
        self.start_writing().await?;
        self.settle().await
    }

    async fn start_writing(&mut self) -> StoreResult<()> {
        self.settle().await?;
        if self.batch.length() == 0 {
            return Ok(());
        }
        let State::Idle(mut backing) = std::mem::replace(&mut self.backing, State::Lost) else { return Err(gone()) };
        let (data, mut hold) = self.batch.take();
        if let Some(hold) = &mut hold {
            hold.start_moving();
        }
        let offset = self.start;
        self.backing = State::Writing(tokio::spawn(async move {
            let result = backing.write_at(offset, data).await;
            drop(hold);
            (backing, result)
        }));
        Ok(())
    }

    /// Waits until no batch is being written.
    async fn settle(&mut self) -> StoreResult<&mut B> {
        if let State::Writing(task) = &mut self.backing {
            let (state, result) = match task.await {
                Ok((backing, result)) => (State::Idle(backing), result),
                Err(error) => (State::Lost, Err(lost(error))),
            };
            self.backing = state;
            result?;
        }
        match &mut self.backing {
            State::Idle(backing) => Ok(backing),
            State::Writing(_) | State::Lost => Err(gone()),
        }
    }
}

fn gone() -> StoreError {
    StoreError::new(StoreErrorKind::Other, "the file of this upload was lost")
}
