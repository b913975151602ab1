//! A file that is written in any order, in batches: one is written while the next fills, or several, where the store is far away.
//!
//! Several are under way only while each begins where the one before it ends. Whatever else is asked of the file waits for all of them, so
//! that the store need not keep their order. The first failure is the failure of everything that follows.

use std::collections::VecDeque;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::future::BoxFuture;
use tokio::task::JoinHandle;

use crate::stores::{FileUpload, StoreError, StoreErrorKind, StoreResult};

use super::super::budget::Budget;
use super::super::staging::StagedFile;
use super::super::task::{joined, lost};
use super::pieces::Pieces;

/// A batch is written when it has this many bytes.
const BATCH: u64 = 1 << 20;

/// What is behind a [`Batched`].
#[async_trait]
pub(super) trait Backing: Send + 'static {
    /// Writes all of `data`, one piece after the other, from `offset`.
    async fn write_at(&mut self, offset: u64, data: Vec<Bytes>) -> StoreResult<()>;

    /// As [`FileUpload::writes_ahead`].
    fn writes_ahead(&self) -> u64 {
        0
    }

    /// As [`FileUpload::write_ahead`]; `None` where there is no such thing.
    fn write_ahead(&mut self, _offset: u64, _data: &mut Vec<Bytes>) -> Option<BoxFuture<'static, StoreResult<()>>> {
        None
    }

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

    fn writes_ahead(&self) -> u64 {
        (**self).writes_ahead()
    }

    fn write_ahead(&mut self, offset: u64, data: &mut Vec<Bytes>) -> Option<BoxFuture<'static, StoreResult<()>>> {
        Some((**self).write_ahead(offset, std::mem::take(data)))
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
    /// Batches that are written ahead, in their order.
    ahead: VecDeque<Ahead>,
    /// An earlier batch was not written: what follows it is worth nothing.
    failed: Option<Box<Failed>>,
    budget: Arc<Budget>,
}

/// Why a batch was not written.
struct Failed {
    kind: StoreErrorKind,
    message: String,
    /// Until somebody has heard it.
    error: Option<StoreError>,
}

/// A batch that is written beside others.
struct Ahead {
    bytes: u64,
    /// Where the next one begins.
    end: u64,
    written: JoinHandle<StoreResult<()>>,
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
        let (backing, batch, ahead) = (State::Idle(backing), Pieces::default(), VecDeque::new());
        Batched { backing, batch, start: 0, length, ahead, failed: None, budget }
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
        // Nothing may be written any more when the file is removed.
        for batch in self.ahead {
            let _ = batch.written.await;
        }
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

    /// Writes the batch, when those that have to end before have ended.
    async fn start_writing(&mut self) -> StoreResult<()> {
        let length = self.batch.length();
        let window = if let State::Idle(backing) = &self.backing { backing.writes_ahead() } else { 0 };
        let is_in_sequence = self.ahead.back().is_none_or(|last| last.end == self.start);
        if window == 0 || !is_in_sequence {
            self.settle().await?;
        }
        if length == 0 {
            return Ok(());
        }
        self.make_room(window.saturating_sub(length)).await?;
        let State::Idle(mut backing) = std::mem::replace(&mut self.backing, State::Lost) else { return Err(gone()) };
        let (mut data, mut hold) = self.batch.take();
        if let Some(hold) = &mut hold {
            hold.start_moving();
        }
        let offset = self.start;
        if window > 0
            && let Some(sent) = backing.write_ahead(offset, &mut data)
        {
            self.backing = State::Idle(backing);
            let written = tokio::spawn(async move {
                let result = sent.await;
                drop(hold);
                result
            });
            self.ahead.push_back(Ahead { bytes: length, end: offset + length, written });
            return Ok(());
        }
        self.backing = State::Writing(tokio::spawn(async move {
            let result = backing.write_at(offset, data).await;
            drop(hold);
            (backing, result)
        }));
        Ok(())
    }

    /// Waits until at most so many bytes are written ahead. What has ended meanwhile is looked at.
    async fn make_room(&mut self, most: u64) -> StoreResult<()> {
        while let Some(oldest) = self.ahead.front() {
            let has_ended = oldest.written.is_finished();
            if !has_ended && self.ahead.iter().map(|batch| batch.bytes).sum::<u64>() <= most {
                break;
            }
            self.end_oldest().await;
        }
        self.fine_so_far()
    }

    /// Waits until the batch that was written ahead first has ended.
    async fn end_oldest(&mut self) {
        if let Some(oldest) = self.ahead.front_mut() {
            let result = joined((&mut oldest.written).await);
            self.ahead.pop_front();
            self.note(result);
        }
    }

    fn note(&mut self, result: StoreResult<()>) {
        if let Err(error) = result
            && self.failed.is_none()
        {
            let (kind, message) = (error.kind, error.message.clone());
            self.failed = Some(Box::new(Failed { kind, message, error: Some(error) }));
        }
    }

    fn fine_so_far(&mut self) -> StoreResult<()> {
        match &mut self.failed {
            None => Ok(()),
            Some(failed) => {
                Err(failed.error.take().unwrap_or_else(|| StoreError::new(failed.kind, failed.message.clone())))
            }
        }
    }

    /// Waits until no batch is being written.
    async fn settle(&mut self) -> StoreResult<&mut B> {
        if let State::Writing(task) = &mut self.backing {
            let (state, result) = match task.await {
                Ok((backing, result)) => (State::Idle(backing), result),
                Err(error) => (State::Lost, Err(lost(error))),
            };
            self.backing = state;
            self.note(result);
        }
        // All of them, so that none is written after what is asked next.
        while !self.ahead.is_empty() {
            self.end_oldest().await;
        }
        self.fine_so_far()?;
        match &mut self.backing {
            State::Idle(backing) => Ok(backing),
            State::Writing(_) | State::Lost => Err(gone()),
        }
    }
}

fn gone() -> StoreError {
    StoreError::new(StoreErrorKind::Other, "the file of this upload was lost")
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::sync::Mutex;

    use tokio::sync::oneshot;

    use super::*;

    const MIB: usize = 1 << 20;

    /// Writes that wait to be let go, in the order in which they were asked for.
    type Asked = Arc<Mutex<Vec<(u64, usize, oneshot::Sender<StoreResult<()>>)>>>;

    /// The length that was set.
    type Length = Arc<Mutex<Option<u64>>>;

    /// A file far away.
    struct Far {
        asked: Asked,
        length: Length,
    }

    #[async_trait]
    impl Backing for Far {
        async fn write_at(&mut self, _: u64, _: Vec<Bytes>) -> StoreResult<()> {
            panic!("it is written ahead")
        }

        fn writes_ahead(&self) -> u64 {
            4 * MIB as u64
        }

        fn write_ahead(&mut self, offset: u64, data: &mut Vec<Bytes>) -> Option<BoxFuture<'static, StoreResult<()>>> {
            let (let_go, waits) = oneshot::channel();
            let length = std::mem::take(data).iter().map(Bytes::len).sum();
            self.asked.lock().unwrap().push((offset, length, let_go));
            Some(Box::pin(async move { waits.await.unwrap() }))
        }

        async fn read_at(&mut self, _: u64, _: usize) -> StoreResult<Bytes> {
            Ok(Bytes::new())
        }

        async fn set_length(&mut self, length: u64) -> StoreResult<()> {
            *self.length.lock().unwrap() = Some(length);
            Ok(())
        }
    }

    fn far() -> (Batched<Far>, Asked, Length, Arc<Budget>) {
        let (asked, length, budget) = (Asked::default(), Arc::default(), Budget::new(64 << 20));
        let far = Far { asked: Arc::clone(&asked), length: Arc::clone(&length) };
        (Batched::new(far, 0, Arc::clone(&budget)), asked, length, budget)
    }

    fn mebibyte() -> Bytes {
        Bytes::from(vec![7; MIB])
    }

    fn let_go(asked: &Asked, place: usize, result: StoreResult<()>) {
        let (_, _, let_go) = asked.lock().unwrap().remove(place);
        let_go.send(result).unwrap();
    }

    #[tokio::test]
    async fn as_much_as_the_window_holds_is_written_at_once_and_counts_in_the_budget() {
        let (mut file, asked, _, budget) = far();
        for place in 0..4 {
            file.write_at(place * MIB as u64, mebibyte()).await.unwrap();
        }
        let offsets: Vec<u64> = asked.lock().unwrap().iter().map(|(offset, ..)| *offset / MIB as u64).collect();
        assert_eq!(offsets, [0, 1, 2, 3]);
        assert_eq!(budget.in_use(), 4 * MIB as u64);
        let mut fifth = Box::pin(file.write_at(4 * MIB as u64, mebibyte()));
        assert!(futures_util::poll!(&mut fifth).is_pending(), "the window is full");
        // Those that end early make no room before the oldest: the bound holds, and nobody waits for good.
        let_go(&asked, 1, Ok(()));
        assert!(futures_util::poll!(&mut fifth).is_pending());
        let_go(&asked, 0, Ok(()));
        fifth.await.unwrap();
        while !asked.lock().unwrap().is_empty() {
            let_go(&asked, 0, Ok(()));
        }
        file.finish().await.ok().unwrap();
        assert_eq!(budget.in_use(), 0);
    }

    #[tokio::test]
    async fn what_does_not_follow_waits_for_all_that_is_under_way() {
        let (mut file, asked, length, _) = far();
        file.write_at(0, mebibyte()).await.unwrap();
        file.write_at(MIB as u64, mebibyte()).await.unwrap();
        // Over the first one, with a batch that is full.
        let mut over = Box::pin(file.write_at(0, mebibyte()));
        assert!(futures_util::poll!(&mut over).is_pending());
        assert_eq!(asked.lock().unwrap().len(), 2, "it could overtake the one below it");
        let_go(&asked, 0, Ok(()));
        let_go(&asked, 0, Ok(()));
        over.await.unwrap();
        let mut cut = Box::pin(file.set_length(3));
        assert!(futures_util::poll!(&mut cut).is_pending());
        assert_eq!(*length.lock().unwrap(), None, "what is under way would make it longer again");
        let_go(&asked, 0, Ok(()));
        cut.await.unwrap();
        assert_eq!(*length.lock().unwrap(), Some(3));
    }

    #[tokio::test]
    async fn a_failure_is_told_by_every_call_that_follows() {
        let (mut file, asked, length, budget) = far();
        file.write_at(0, mebibyte()).await.unwrap();
        file.write_at(MIB as u64, mebibyte()).await.unwrap();
        let_go(&asked, 0, Err(StoreError::new(StoreErrorKind::NoSpace, "full")));
        let_go(&asked, 0, Ok(()));
        for _ in 0..2 {
            assert_eq!(file.read_at(0, 1).await.unwrap_err().kind, StoreErrorKind::NoSpace);
        }
        assert_eq!(file.set_length(0).await.unwrap_err().kind, StoreErrorKind::NoSpace);
        assert!(length.lock().unwrap().is_none() && file.flush().await.is_err());
        assert!(file.salvage().await.is_some(), "there is something to remove");
        assert_eq!(budget.in_use(), 0);
    }

    #[tokio::test]
    async fn a_file_is_removed_only_when_nothing_is_written_to_it_any_more() {
        let (mut file, asked, ..) = far();
        file.write_at(0, mebibyte()).await.unwrap();
        let mut salvaged = Box::pin(file.salvage());
        assert!(futures_util::poll!(&mut salvaged).is_pending());
        let_go(&asked, 0, Ok(()));
        assert!(salvaged.await.is_some());
    }
}
