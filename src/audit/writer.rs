//! The writer of the trail: one batch after the other, each to all sinks.
//!
//! One at a time has the turn to write. That is a thread, or whoever waits for an event and finds that nobody writes: handing a line to
//! another thread and back takes several times as long as to write it. While one writes, others put their lines into the next
//! batch, so batches form by themselves under load. What may take long is the thread's: a checkpoint, which waits for the disk,
//! the end of a file, a sink that is not a file, and a disk that was slow lately ([`InPlace`]).

use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::{Mutex, Notify};

use super::Unrecorded;
use super::keeper::Notary;
use super::ledger::Ledger;
use super::queue::{Answer, Batch, Queue};
use super::sink::{SinkHandle, SinkHere};
use super::witness::Witness;
use crate::in_place::InPlace;
use crate::metrics::Metrics;

/// How many batches one task writes for others before the thread goes on.
const MOST_BATCHES: usize = 8;

/// Who writes, and what.
#[derive(Debug)]
pub(super) struct Writer {
    queue: Arc<Queue>,
    ledger: Arc<Ledger>,
    sinks: Arc<[SinkHandle]>,
    metrics: Arc<Metrics>,
    /// Wakes who tries the state again.
    troubled: Arc<Notify>,
    /// Who keeps signed checkpoints elsewhere.
    witness: Option<Arc<Witness>>,
    turn: Mutex<()>,
    place: InPlace,
}

impl Writer {
    /// Of a chain and its sinks; `troubled` is told when the state of the chain cannot be written.
    pub(super) fn new(
        notary: &Notary,
        sinks: Arc<[SinkHandle]>,
        metrics: Arc<Metrics>,
        troubled: Arc<Notify>,
        witness: Option<Arc<Witness>>,
    ) -> Writer {
        Writer {
            queue: Arc::clone(&notary.queue),
            ledger: Arc::clone(&notary.ledger),
            sinks,
            metrics,
            troubled,
            witness,
            turn: Mutex::default(),
            place: InPlace::of_notes(),
        }
    }

    /// What the thread does, until the queue is finished and empty.
    pub(super) async fn run(&self) {
        while self.queue.has_lines().await {
            // Only with the turn: what is taken earlier is written earlier.
            let _turn = self.turn.lock().await;
            while let Some(mut batch) = self.queue.take() {
                let answer = match self.sinks_here() {
                    // What waits for the disk says nothing of what does not.
                    Some(mut sinks) if !batch.checkpoints.is_empty() => self.write(&mut batch, &mut sinks),
                    Some(mut sinks) => self.place.measure(|| self.write(&mut batch, &mut sinks)),
                    None => self.hand_over(&mut batch).await,
                };
                self.answer(batch, &answer);
            }
        }
    }

    /// Lets the thread write.
    pub(super) fn write_elsewhere(&self) {
        self.queue.wake();
    }

    /// Writes what waits, if nobody does and it is quick; otherwise the one that has the turn writes it, or the thread.
    pub(super) fn write_here(&self) {
        for _ in 0..MOST_BATCHES {
            // Whoever has the turn looks once more when it has given it back, so what was queued before this is seen.
            let Ok(turn) = self.turn.try_lock() else { return };
            let batch = self.place.enter().and_then(|stay| {
                let sinks = self.sinks_here()?;
                Some((self.queue.take_plain()?, sinks, stay))
            });
            let Some((mut batch, mut sinks, _stay)) = batch else {
                drop(turn);
                break;
            };
            let answer = self.place.measure(|| self.write(&mut batch, &mut sinks));
            drop(sinks);
            self.answer(batch, &answer);
            drop(turn);
            if self.queue.is_empty() {
                return;
            }
        }
        if !self.queue.is_empty() {
            self.write_elsewhere();
        }
    }

    /// The sinks that operations wait for, to be written by who calls this; `None` when one of them has to be left to its
    /// thread.
    fn sinks_here(&self) -> Option<Vec<SinkHere<'_>>> {
        self.sinks.iter().filter(|sink| sink.is_required()).map(SinkHandle::here).collect()
    }

    /// Notes, writes, and notes again.
    fn write(&self, batch: &mut Batch, required: &mut [SinkHere<'_>]) -> Answer {
        let noted = self.note_issue(batch);
        let lines = Bytes::from(std::mem::take(&mut batch.lines));
        let mut required = required.iter_mut();
        let mut delivered = Ok(());
        for (number, sink) in self.sinks.iter().enumerate() {
            let (events, rotates) = (batch.waiters.len(), batch.rotates_of(number));
            if !sink.is_required() {
                sink.write(&lines, events, rotates);
            } else if let Some(here) = required.next() {
                delivered = delivered.and(here.write(lines.clone(), events, rotates));
            }
        }
        self.note_outcome(batch, noted, delivered)
    }

    /// As [`Writer::write`], by the threads of the sinks.
    async fn hand_over(&self, batch: &mut Batch) -> Answer {
        let noted = self.note_issue(batch);
        let lines = Bytes::from(std::mem::take(&mut batch.lines));
        let sinks = self.sinks.iter().enumerate();
        let answers: Vec<_> = sinks
            .filter_map(|(number, sink)| sink.write(&lines, batch.waiters.len(), batch.rotates_of(number)))
            .collect();
        let mut delivered = Ok(());
        for answer in answers {
            let one = answer.await.unwrap_or_else(|_| Err(Unrecorded("the thread of a sink has stopped".into())));
            delivered = delivered.and(one);
        }
        self.note_outcome(batch, noted, delivered)
    }

    /// Before anything of the batch can be seen, so that no line ever has a number that a next process takes again. With a
    /// checkpoint it waits for the disk: after a power cut, what is noted leads at least to the file that was written last.
    fn note_issue(&self, batch: &Batch) -> Answer {
        self.ledger.issue(batch.last, !batch.checkpoints.is_empty())
    }

    /// Lines that are numbered went out even when that could not be noted: without them there would be a gap.
    fn note_outcome(&self, batch: &Batch, noted: Answer, delivered: Answer) -> Answer {
        if noted.is_err() {
            self.troubled.notify_one();
        }
        if delivered.is_ok() && self.ledger.acknowledge(batch.last).is_err() {
            self.troubled.notify_one();
        }
        noted.and(delivered)
    }

    fn answer(&self, batch: Batch, answer: &Answer) {
        let events = batch.waiters.len() as u64;
        if let (Ok(()), Some(witness)) = (answer, &self.witness) {
            batch.checkpoints.iter().for_each(|line| witness.offer(line));
        }
        match answer {
            Ok(()) => self.metrics.events_recorded.add(events),
            Err(_) => self.metrics.events_refused.add(events),
        }
        batch.queued.iter().for_each(|queued| self.metrics.timings.event(*queued));
        self.queue.answer(batch, answer);
    }
}
