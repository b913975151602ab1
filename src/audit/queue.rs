//! The bounded queue between those who record and the task that writes.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use tokio::sync::{Notify, Semaphore, SemaphorePermit, oneshot};

use super::Unrecorded;
use super::chain::Position;
use super::line::Draft;
use super::signing::SigningKey;
use super::stamp::Stamper;

/// Bytes of lines that may wait or be under way.
pub(super) const MAX_BYTES: u32 = 8 * 1024 * 1024;
/// Events that may wait or be under way.
pub(super) const MAX_EVENTS: u32 = 4096;
/// What the smallest event takes of [`MAX_BYTES`], so that one count bounds both.
const MIN_COST: u32 = MAX_BYTES / MAX_EVENTS;

/// What a waiter is told.
pub(super) type Answer = Result<(), Unrecorded>;

/// Lines wait here until the writer takes all of them as one batch.
#[derive(Debug)]
pub(super) struct Queue {
    room: Semaphore,
    waiting: Mutex<Waiting>,
    wake: Notify,
    key: Option<SigningKey>,
}

#[derive(Debug, Default)]
struct Waiting {
    /// Batches to which nothing is added any more.
    closed: VecDeque<Batch>,
    batch: Batch,
    stamper: Stamper,
    last: Position,
    /// The number of the last checkpoint.
    checkpoint: u64,
    finished: bool,
}

/// Lines in the order of their ids, and who waits for each.
#[derive(Debug, Default)]
pub(super) struct Batch {
    /// Whole lines.
    pub(super) lines: Vec<u8>,
    /// One for each line.
    pub(super) waiters: Vec<oneshot::Sender<Answer>>,
    /// The place of the last line in the chain.
    pub(super) last: Position,
    /// Whether there is a checkpoint among the lines.
    pub(super) has_checkpoint: bool,
    /// The sink that begins a new file after the last line, by its number.
    pub(super) rotates: Option<usize>,
    cost: usize,
}

impl Queue {
    /// An empty queue, whose first line comes after `last`; checkpoints are signed with `key`.
    pub(super) fn new(last: Position, key: Option<SigningKey>) -> Self {
        let waiting = Waiting { last, ..Waiting::default() };
        Queue { room: Semaphore::new(MAX_BYTES as usize), waiting: Mutex::new(waiting), wake: Notify::new(), key }
    }

    /// The key that signs checkpoints.
    pub(super) fn key(&self) -> Option<&SigningKey> {
        self.key.as_ref()
    }

    /// Whether the last line, if there is one, is a checkpoint.
    pub(super) fn ends_in_checkpoint(&self) -> bool {
        let waiting = self.lock();
        waiting.last.sequence == waiting.checkpoint
    }

    /// Waits for room, in the order of the calls; `None` after [`Queue::drain`].
    pub(super) async fn room_for(&self, draft: &Draft) -> Option<Room<'_>> {
        let permit = self.room.acquire_many(cost(draft)).await.ok()?;
        Some(Room { queue: self, permit })
    }

    /// Room, if there is some and nobody waits for it.
    pub(super) fn room_now(&self, draft: &Draft) -> Option<Room<'_>> {
        let permit = self.room.try_acquire_many(cost(draft)).ok()?;
        Some(Room { queue: self, permit })
    }

    /// The next batch: everything that waits, up to where a file ends; `None` when the queue is finished and empty.
    pub(super) async fn next(&self) -> Option<Batch> {
        loop {
            {
                let mut waiting = self.lock();
                if let Some(batch) = waiting.closed.pop_front() {
                    return Some(batch);
                }
                if !waiting.batch.waiters.is_empty() {
                    return Some(std::mem::take(&mut waiting.batch));
                }
                if waiting.finished {
                    return None;
                }
            }
            self.wake.notified().await;
        }
    }

    /// Answers everyone who waits for the batch and gives its room back.
    pub(super) fn answer(&self, batch: Batch, answer: &Answer) {
        for waiter in batch.waiters {
            // A waiter that went away does not need its answer.
            let _ = waiter.send(answer.clone());
        }
        self.room.add_permits(batch.cost);
    }

    /// Waits until all that was queued, or waited for room, before this call is answered; from then on there is no room but
    /// what this returns, for a last line.
    pub(super) async fn drain(&self) -> Option<Room<'_>> {
        // The semaphore is fair: all of the room is free only after those who came before.
        let all = self.room.acquire_many(MAX_BYTES).await;
        self.room.close();
        all.ok().map(|permit| Room { queue: self, permit })
    }

    /// No line comes any more: [`Queue::next`] ends when the rest is taken.
    pub(super) fn finish(&self) {
        self.room.close();
        self.lock().finished = true;
        self.wake.notify_one();
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a line takes of [`MAX_BYTES`].
fn cost(draft: &Draft) -> u32 {
    u32::try_from(draft.len()).unwrap_or(MAX_BYTES).clamp(MIN_COST, MAX_BYTES)
}

/// Room for one line.
#[derive(Debug)]
pub(super) struct Room<'a> {
    queue: &'a Queue,
    permit: SemaphorePermit<'a>,
}

impl Room<'_> {
    /// Stamps the line, puts it in its place in the chain and queues it, in one step: the order of the lines is the order of
    /// their ids and of their numbers. The receiver gets the answer when the line is written or could not be.
    pub(super) fn fill(self, draft: Draft) -> oneshot::Receiver<Answer> {
        self.put(draft, None)
    }

    /// As [`Room::fill`]; after this line a sink begins a new file.
    pub(super) fn fill_and_rotate(self, draft: Draft, sink: usize) -> oneshot::Receiver<Answer> {
        self.put(draft, Some(sink))
    }

    fn put(self, draft: Draft, rotates: Option<usize>) -> oneshot::Receiver<Answer> {
        let (waiter, answer) = oneshot::channel();
        {
            let mut guard = self.queue.lock();
            let waiting = &mut *guard;
            let stamp = waiting.stamper.next(SystemTime::now());
            let (batch, is_checkpoint) = (&mut waiting.batch, draft.is_checkpoint());
            waiting.last = draft.seal_into(&mut batch.lines, &stamp, waiting.last, self.queue.key());
            batch.waiters.push(waiter);
            batch.cost += self.permit.num_permits();
            batch.last = waiting.last;
            if is_checkpoint {
                batch.has_checkpoint = true;
                waiting.checkpoint = waiting.last.sequence;
            }
            if rotates.is_some() {
                batch.rotates = rotates;
                waiting.closed.push_back(std::mem::take(&mut waiting.batch));
            }
        }
        // Given back by `Queue::answer`.
        self.permit.forget();
        self.queue.wake.notify_one();
        answer
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::audit::line::LineWriter;

    fn draft(length: usize) -> Draft {
        let mut line = LineWriter::new();
        line.bounded("x", &"x".repeat(length), length);
        line.stamp();
        line.finish()
    }

    async fn has_room(queue: &Queue, draft: &Draft) -> bool {
        tokio::time::timeout(Duration::from_millis(20), queue.room_for(draft)).await.is_ok()
    }

    #[tokio::test]
    async fn events_are_bounded_by_number() {
        let (queue, small) = (Queue::new(Position::START, None), draft(100));
        let mut answers = Vec::new();
        for _ in 0..MAX_EVENTS {
            answers.push(queue.room_for(&small).await.unwrap().fill(draft(100)));
        }
        assert!(!has_room(&queue, &small).await);
        let batch = queue.next().await.unwrap();
        assert_eq!(batch.waiters.len(), MAX_EVENTS as usize);
        assert!(!has_room(&queue, &small).await, "what is under way takes room too");
        queue.answer(batch, &Ok(()));
        assert!(has_room(&queue, &small).await);
        for answer in answers {
            answer.await.unwrap().unwrap();
        }
    }

    #[tokio::test]
    async fn events_are_bounded_by_bytes() {
        let (queue, large) = (Queue::new(Position::START, None), draft(1024 * 1024));
        for _ in 0..7 {
            drop(queue.room_for(&large).await.unwrap().fill(draft(1024 * 1024)));
        }
        assert!(!has_room(&queue, &large).await);
        assert!(queue.next().await.unwrap().lines.len() <= MAX_BYTES as usize);
    }

    #[tokio::test]
    async fn room_that_is_not_used_does_not_exist_after_the_end() {
        let queue = Queue::new(Position::START, None);
        queue.drain().await;
        queue.finish();
        assert!(queue.room_for(&draft(1)).await.is_none());
        assert!(queue.next().await.is_none());
    }
}
