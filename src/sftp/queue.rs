//! The queue of one open handle: what was asked of it and is not done yet, in order.
//!
//! Clients that prefetch ask for a whole file at once, in hundreds of thousands of READs, before they take the first answer. So
//! consecutive READs are one descriptor with a count.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use tokio::sync::Notify;
use tokio::sync::mpsc::{Receiver, Sender};
use tokio::sync::oneshot;

use super::check_file::CheckFile;
use super::order::Marker;
use super::outbox::Hold;
use super::paths::Closing;
use crate::session::{AttributeChange, SessionError, Whole};

/// The next thing to do on a handle.
#[derive(Debug)]
pub(super) enum Job {
    /// READ: its reply holds a share of the reply budget, so it needs no other hold.
    Read { id: u32, offset: u64, length: u32 },
    /// Anything else, with the hold that goes with its reply.
    Other { id: u32, hold: Hold, work: Work },
}

/// What is asked of a handle besides READ.
#[derive(Debug)]
pub(super) enum Work {
    /// WRITE, with its share of a budget of WRITE data.
    Write {
        offset: u64,
        data: Bytes,
        budget: Hold,
    },
    Stat,
    SetStat(AttributeChange),
    ReadDirectory,
    Sync,
    FileSystem,
    Check(CheckFile),
    /// Nothing: somebody waits until what stands before it is done. It has no answer.
    Mark(Marker),
    /// The reading side of `copy-data`; the other side answers.
    CopyOut {
        offset: u64,
        length: u64,
        to: Sender<Piece>,
    },
    /// The writing side of `copy-data`.
    CopyIn {
        offset: u64,
        from: Receiver<Piece>,
    },
    /// With what those wait for who have to wait for the CLOSE of an upload.
    Close(Option<Closing>),
}

/// What goes from one handle to another during `copy-data`. When it ends without [`Piece::Done`], the source was closed.
#[derive(Debug)]
pub(super) enum Piece {
    /// All of the source, if the target's store can copy it. Without an answer, or told that it is not taken, the source goes on
    /// with its bytes.
    Whole(Whole, oneshot::Sender<bool>),
    Data(Bytes),
    Failed(SessionError),
    Done,
}

impl Work {
    /// Whether it may have to wait until the client reads, or for something that does.
    fn may_wait_for_the_client(&self) -> bool {
        match self {
            Work::ReadDirectory | Work::Check(_) | Work::CopyOut { .. } | Work::CopyIn { .. } => true,
            Work::Write { .. }
            | Work::Stat
            | Work::SetStat(_)
            | Work::Sync
            | Work::FileSystem
            | Work::Mark(_)
            | Work::Close(_) => false,
        }
    }
}

/// READs whose offsets follow one another. Their ids are equally far apart, which they also are when two files are
/// prefetched in turns.
#[derive(Debug)]
struct ReadRun {
    id: u32,
    id_step: u32,
    offset: u64,
    length: u32,
    count: u64,
    _hold: Hold,
}

impl ReadRun {
    fn extend(&mut self, id: u32, offset: u64, length: u32) -> bool {
        let next_offset = u64::from(self.length).checked_mul(self.count).and_then(|read| self.offset.checked_add(read));
        if length != self.length || next_offset != Some(offset) {
            return false;
        }
        if self.count == 1 {
            self.id_step = id.wrapping_sub(self.id);
        } else {
            // Ids wrap, so the count may, too.
            #[allow(clippy::cast_possible_truncation)]
            let steps = self.count as u32;
            if self.id.wrapping_add(self.id_step.wrapping_mul(steps)) != id {
                return false;
            }
        }
        self.count += 1;
        true
    }

    /// The first READ of the run, and whether it was the last.
    fn pop(&mut self) -> (Job, bool) {
        let job = Job::Read { id: self.id, offset: self.offset, length: self.length };
        self.id = self.id.wrapping_add(self.id_step);
        self.offset = self.offset.saturating_add(u64::from(self.length));
        self.count -= 1;
        (job, self.count == 0)
    }
}

#[derive(Debug)]
enum Descriptor {
    Reads(ReadRun),
    Other { id: u32, hold: Hold, work: Work },
}

#[derive(Debug, Default)]
struct Jobs {
    waiting: VecDeque<Descriptor>,
    /// How many of `waiting` may wait for the client.
    slow: usize,
    /// Whether the job that was taken last may.
    slow_in_hand: bool,
    closing: bool,
    ended: bool,
}

enum Next {
    Job(Job),
    Nothing,
    End,
}

impl Jobs {
    fn push(&mut self, descriptor: Descriptor) {
        match &descriptor {
            Descriptor::Reads(_) => self.slow += 1,
            Descriptor::Other { work, .. } => {
                self.slow += usize::from(work.may_wait_for_the_client());
                self.closing |= matches!(work, Work::Close(_));
            }
        }
        self.waiting.push_back(descriptor);
    }

    fn pop(&mut self) -> Next {
        self.slow_in_hand = false;
        loop {
            if self.ended && !self.closing {
                self.waiting.clear();
                return Next::End;
            }
            match self.waiting.pop_front() {
                None => return Next::Nothing,
                Some(Descriptor::Reads(_)) if self.ended => {}
                Some(Descriptor::Reads(mut run)) => {
                    let (job, was_last) = run.pop();
                    self.slow_in_hand = true;
                    if was_last {
                        self.slow -= 1;
                    } else {
                        self.waiting.push_front(Descriptor::Reads(run));
                    }
                    return Next::Job(job);
                }
                Some(Descriptor::Other { id, hold, work }) => {
                    self.slow_in_hand = work.may_wait_for_the_client();
                    self.slow -= usize::from(self.slow_in_hand);
                    return Next::Job(Job::Other { id, hold, work });
                }
            }
        }
    }
}

/// The queue. One reader puts in, one future takes out.
#[derive(Debug, Default)]
pub(super) struct HandleQueue {
    jobs: Mutex<Jobs>,
    ready: Notify,
}

impl HandleQueue {
    fn jobs(&self) -> MutexGuard<'_, Jobs> {
        self.jobs.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a READ to the one before it, where it follows; it takes no memory then.
    pub(super) fn extend_reads(&self, id: u32, offset: u64, length: u32) -> bool {
        match self.jobs().waiting.back_mut() {
            Some(Descriptor::Reads(run)) => run.extend(id, offset, length),
            _ => false,
        }
    }

    /// Adds a READ that does not follow the one before it.
    pub(super) fn push_read(&self, id: u32, offset: u64, length: u32, hold: Hold) {
        let run = ReadRun { id, id_step: 1, offset, length, count: 1, _hold: hold };
        self.jobs().push(Descriptor::Reads(run));
        self.ready.notify_one();
    }

    /// Adds anything else.
    pub(super) fn push(&self, id: u32, hold: Hold, work: Work) {
        self.jobs().push(Descriptor::Other { id, hold, work });
        self.ready.notify_one();
    }

    /// Whether something is under way or waits here that may have to wait until the client reads.
    pub(super) fn may_wait_for_the_client(&self) -> bool {
        let jobs = self.jobs();
        jobs.slow > 0 || jobs.slow_in_hand
    }

    /// The client has gone: what waits is dropped, unless it asked for CLOSE, which is done with what it depends on.
    pub(super) fn end(&self) {
        self.jobs().ended = true;
        self.ready.notify_one();
    }

    /// The next job; `None` when the handle is to be cut off. Taking a job says that the one before is done.
    pub(super) async fn next(&self) -> Option<Job> {
        loop {
            match self.take() {
                Next::Job(job) => return Some(job),
                Next::End => return None,
                Next::Nothing => self.ready.notified().await,
            }
        }
    }

    fn take(&self) -> Next {
        self.jobs().pop()
    }

    #[cfg(test)]
    pub(super) fn descriptors(&self) -> usize {
        self.jobs().waiting.len()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::sync::Arc;

    use tokio::sync::Semaphore;

    use super::*;

    fn hold() -> Hold {
        Arc::new(Semaphore::new(1)).try_acquire_owned().unwrap()
    }

    fn read(queue: &HandleQueue, id: u32, offset: u64, length: u32) {
        if !queue.extend_reads(id, offset, length) {
            queue.push_read(id, offset, length, hold());
        }
    }

    fn taken(queue: &HandleQueue) -> Vec<(u32, u64)> {
        std::iter::from_fn(|| match queue.take() {
            Next::Job(Job::Read { id, offset, .. }) => Some((id, offset)),
            Next::Job(Job::Other { id, .. }) => Some((id, u64::MAX)),
            Next::Nothing | Next::End => None,
        })
        .collect()
    }

    #[test]
    fn a_hundred_thousand_consecutive_reads_are_one_descriptor() {
        let queue = HandleQueue::default();
        let first = u32::MAX - 5; // the ids wrap
        for n in 0..100_000u32 {
            read(&queue, first.wrapping_add(n), u64::from(n) * 32_768, 32_768);
        }
        assert_eq!(queue.descriptors(), 1);
        let all = taken(&queue);
        assert_eq!(all.len(), 100_000);
        assert!(all.iter().zip(0u32..).all(|(got, n)| *got == (first.wrapping_add(n), u64::from(n) * 32_768)));
    }

    #[test]
    fn reads_of_two_files_in_turns_coalesce_too() {
        let (a, b) = (HandleQueue::default(), HandleQueue::default());
        for n in 0..1000 {
            read(&a, 2 * n, u64::from(n) * 10, 10);
            read(&b, 2 * n + 1, u64::from(n) * 10, 10);
        }
        assert_eq!((a.descriptors(), b.descriptors()), (1, 1));
        assert_eq!(taken(&b).last(), Some(&(1999, 9990)));
    }

    #[test]
    fn only_what_follows_coalesces() {
        let queue = HandleQueue::default();
        read(&queue, 1, 0, 10);
        read(&queue, 2, 10, 10);
        for (id, offset, length) in [(4, 20, 10), (5, 31, 10), (6, 41, 11), (7, u64::MAX, 10)] {
            assert!(!queue.extend_reads(id, offset, length), "{id}");
            queue.push_read(id, offset, length, hold());
        }
        assert!(!queue.extend_reads(8, 9, 10), "the end of the offsets is passed");
        queue.push(9, hold(), Work::Stat);
        assert!(!queue.extend_reads(8, 9, 10), "something lies between");
        assert_eq!(taken(&queue), [(1, 0), (2, 10), (4, 20), (5, 31), (6, 41), (7, u64::MAX), (9, u64::MAX)]);
    }

    #[test]
    fn a_run_grows_while_it_is_taken() {
        let queue = HandleQueue::default();
        read(&queue, 1, 0, 10);
        read(&queue, 2, 10, 10);
        assert!(matches!(queue.take(), Next::Job(Job::Read { id: 1, .. })));
        read(&queue, 3, 20, 10);
        assert_eq!(queue.descriptors(), 1);
        assert_eq!(taken(&queue), [(2, 10), (3, 20)]);
    }

    #[test]
    fn it_knows_what_may_wait_for_the_client() {
        let queue = HandleQueue::default();
        queue.push(1, hold(), Work::Stat);
        assert!(!queue.may_wait_for_the_client());
        read(&queue, 2, 0, 10);
        read(&queue, 3, 10, 10);
        assert!(queue.may_wait_for_the_client());
        for _ in 0..3 {
            assert!(matches!(queue.take(), Next::Job(_)));
        }
        assert!(queue.may_wait_for_the_client(), "the last one is not done yet");
        assert!(matches!(queue.take(), Next::Nothing));
        assert!(!queue.may_wait_for_the_client());
    }

    #[test]
    fn at_the_end_only_a_close_is_still_done() {
        let queue = HandleQueue::default();
        queue.push(1, hold(), Work::Sync);
        queue.end();
        assert!(matches!(queue.take(), Next::End));

        let queue = HandleQueue::default();
        read(&queue, 1, 0, 10);
        queue.push(2, hold(), Work::Sync);
        queue.push(3, hold(), Work::Close(None));
        queue.end();
        assert_eq!(taken(&queue), [(2, u64::MAX), (3, u64::MAX)], "the READ has nobody to go to");
    }
}
