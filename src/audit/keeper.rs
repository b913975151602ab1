//! Makes checkpoints at their time: every so often, and where a file ends.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::{Notify, oneshot};

use super::checkpoint::{Reason, Signer, encode};
use super::encode::Identity;
use super::ledger::Ledger;
use super::line::Draft;
use super::queue::{Answer, Queue, Room, Share, cost};
use super::signing::SigningKey;
use super::sink::SinkHandle;

/// How often a state that cannot be written is tried again.
const RETRY: Duration = Duration::from_secs(1);

/// Who makes checkpoints of a chain.
#[derive(Debug, Clone)]
pub(super) struct Notary {
    /// Who records.
    pub(super) identity: Identity,
    /// Where lines wait.
    pub(super) queue: Arc<Queue>,
    /// The state of the chain.
    pub(super) ledger: Arc<Ledger>,
}

impl Notary {
    /// Records a checkpoint; `rotates` is the sink that begins a new file after it. `None` when the queue is closed.
    pub(super) async fn record(&self, reason: Reason, rotates: Option<usize>) -> Option<oneshot::Receiver<Answer>> {
        let room = self.queue.room_for(Share::Trail, cost(&self.draft(reason))).await?;
        Some(self.fill(room, reason, rotates))
    }

    /// Records a checkpoint if there is room at once, as in a queue that is empty.
    pub(super) fn record_now(&self, reason: Reason) -> Option<oneshot::Receiver<Answer>> {
        let draft = self.draft(reason);
        Some(self.queue.room_now(Share::Trail, cost(&draft))?.fill(draft))
    }

    /// Records a checkpoint with room that is there.
    pub(super) fn fill(&self, room: Room, reason: Reason, rotates: Option<usize>) -> oneshot::Receiver<Answer> {
        match (rotates, reason) {
            (Some(sink), _) => room.fill_and_rotate(self.draft(reason), sink),
            (None, Reason::Shutdown) => room.fill_last(self.draft(reason)),
            (None, Reason::Start { .. } | Reason::Interval | Reason::Rotation) => room.fill(self.draft(reason)),
        }
    }

    fn draft(&self, reason: Reason) -> Draft {
        let signer =
            Signer { key: self.queue.key().map(SigningKey::fingerprint), endorsements: self.ledger.endorsements() };
        encode(&self.identity, self.ledger.chain(), reason, signer, self.ledger.checkpoint_every())
    }
}

/// The task that makes them.
#[derive(Debug)]
pub(super) struct Keeper {
    notary: Notary,
    sinks: Arc<[SinkHandle]>,
    every: Option<Duration>,
    wake: Arc<Notify>,
}

impl Keeper {
    /// One for a chain and its sinks; `every`: how often a checkpoint is made, if at all. `wake` is told when the state of the
    /// chain cannot be written.
    pub(super) fn new(notary: Notary, sinks: Arc<[SinkHandle]>, every: Option<Duration>, wake: Arc<Notify>) -> Keeper {
        for rotation in sinks.iter().filter_map(SinkHandle::rotation) {
            rotation.tell(Arc::clone(&wake));
        }
        Keeper { notary, sinks, every, wake }
    }

    /// Whether there is anything to do.
    pub(super) fn is_needed(&self) -> bool {
        self.every.is_some() || self.sinks.iter().any(|sink| sink.rotation().is_some())
    }

    /// Runs until the queue is closed.
    pub(super) async fn run(self) {
        let mut checkpoint = self.every.map(|every| Instant::now() + every);
        loop {
            self.wait(checkpoint).await;
            if self.notary.ledger.ready().is_err() {
                let ledger = Arc::clone(&self.notary.ledger);
                // It may block: the disk is in trouble.
                let _ = tokio::task::spawn_blocking(move || ledger.retry()).await;
            }
            for (number, sink) in self.sinks.iter().enumerate() {
                if sink.rotation().is_some_and(|rotation| rotation.take_if_due(Instant::now()))
                    && self.checkpoint(Reason::Rotation, Some(number)).await.is_none()
                {
                    return;
                }
            }
            if let (Some(every), Some(due)) = (self.every, checkpoint)
                && due <= Instant::now()
            {
                checkpoint = Some(Instant::now() + every);
                if !self.notary.queue.ends_in_checkpoint() && self.checkpoint(Reason::Interval, None).await.is_none() {
                    return;
                }
            }
        }
    }

    /// Makes one and waits until it is written, or could not be.
    async fn checkpoint(&self, reason: Reason, rotates: Option<usize>) -> Option<()> {
        // Whether it could be written is the sinks' to say, in the log and to those who record.
        let _ = self.notary.record(reason, rotates).await?.await;
        Some(())
    }

    /// Until something is due, or may be.
    async fn wait(&self, checkpoint: Option<Instant>) {
        let rotations = self.sinks.iter().filter_map(SinkHandle::rotation).filter_map(|rotation| rotation.due());
        let retry = self.notary.ledger.ready().is_err().then(|| Instant::now() + RETRY);
        match rotations.chain(checkpoint).chain(retry).min() {
            Some(due) => {
                let _ = tokio::time::timeout_at(due.into(), self.wake.notified()).await;
            }
            None => self.wake.notified().await,
        }
    }
}
