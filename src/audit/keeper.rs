//! Makes checkpoints at their time: every so often, and where a file ends.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::{Notify, oneshot};

use super::checkpoint::{Reason, encode};
use super::encode::Identity;
use super::ledger::Ledger;
use super::line::Draft;
use super::queue::{Answer, Queue, Room, Share, cost};
use super::signer::Signer;
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
    /// Who signs. It is held from when a checkpoint is written until it has its place in the chain: so none that an earlier key signs comes
    /// after the one in which another key follows it.
    signer: Arc<Mutex<Signer>>,
}

impl Notary {
    /// The notary of a chain.
    pub(super) fn new(identity: Identity, queue: Arc<Queue>, ledger: Arc<Ledger>, signer: Signer) -> Notary {
        Notary { identity, queue, ledger, signer: Arc::new(Mutex::new(signer)) }
    }

    /// Who signs now.
    pub(super) fn signer(&self) -> MutexGuard<'_, Signer> {
        self.signer.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// From the checkpoint on that this records, `next` signs. When this future is dropped before, nothing has changed. `None` when the
    /// queue is closed, or `next` does not follow who signs by then.
    pub(super) async fn pass_to(&self, next: Signer) -> Option<oneshot::Receiver<Answer>> {
        let draft = |signer: &Signer| self.draft(Reason::KeyChange, signer);
        let room = self.queue.room_for(Share::Trail, cost(&draft(&next))).await?;
        let mut signer = self.signer();
        if !next.follows(&signer) {
            return None;
        }
        let answer = room.fill(draft(&next));
        *signer = next;
        Some(answer)
    }

    /// Records a checkpoint; `rotates` is the sink that begins a new file after it. `None` when the queue is closed.
    pub(super) async fn record(&self, reason: Reason, rotates: Option<usize>) -> Option<oneshot::Receiver<Answer>> {
        let cost = cost(&self.draft(reason, &self.signer()));
        let room = self.queue.room_for(Share::Trail, cost).await?;
        Some(self.fill(room, reason, rotates))
    }

    /// Records a checkpoint if there is room at once, as in a queue that is empty.
    pub(super) fn record_now(&self, reason: Reason) -> Option<oneshot::Receiver<Answer>> {
        let signer = self.signer();
        let draft = self.draft(reason, &signer);
        Some(self.queue.room_now(Share::Trail, cost(&draft))?.fill(draft))
    }

    /// Records a checkpoint with room that is there.
    pub(super) fn fill(&self, room: Room, reason: Reason, rotates: Option<usize>) -> oneshot::Receiver<Answer> {
        let signer = self.signer();
        let draft = self.draft(reason, &signer);
        match (rotates, reason) {
            (Some(sink), _) => room.fill_and_rotate(draft, sink),
            (None, Reason::Shutdown) => room.fill_last(draft),
            (None, Reason::Start { .. } | Reason::Interval | Reason::Rotation | Reason::KeyChange) => room.fill(draft),
        }
    }

    fn draft(&self, reason: Reason, signer: &Signer) -> Draft {
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
