//! The sink's answers, sent by a task of their own: whoever takes the files never waits until the client reads.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TrySendError;
use tokio::task::JoinSet;

use super::Stopped;
use crate::session::channel::Outgoing;

/// Answers that may wait. A client that follows the protocol has one; one that sends without waiting reads them sometimes.
const WAITING: usize = 256;

/// How long the end of a conversation waits for a client that does not read its last answers.
const LAST_WORDS: Duration = Duration::from_secs(10);

/// The way to the client.
pub(super) struct Answers {
    queue: mpsc::Sender<Bytes>,
    /// There was no room for an answer.
    left: AtomicBool,
    writer: JoinSet<()>,
}

impl Answers {
    /// Starts the task.
    pub fn start(outgoing: impl Outgoing) -> Answers {
        let (queue, waiting) = mpsc::channel(WAITING);
        let mut writer = JoinSet::new();
        writer.spawn(write(waiting, outgoing));
        Answers { queue, left: AtomicBool::new(false), writer }
    }

    /// Puts an answer on its way; it does not wait.
    ///
    /// # Errors
    /// The client has gone, or has not read the answers before.
    pub fn send(&self, answer: Bytes) -> Result<(), Stopped> {
        self.queue.try_send(answer).map_err(|error| {
            if let TrySendError::Full(_) = error {
                tracing::debug!("the scp client sends files and does not read the answers");
                self.left.store(true, Ordering::Relaxed);
            }
            Stopped
        })
    }

    /// Whether the client left so many answers unread that there was no room for the next.
    pub fn are_left(&self) -> bool {
        self.left.load(Ordering::Relaxed)
    }

    /// Waits until everything is sent, or the client has gone, or it does not read for long.
    pub async fn finish(mut self) {
        drop(self.queue);
        // Too late or not: there is nobody left to tell.
        let _ = tokio::time::timeout(LAST_WORDS, self.writer.join_next()).await;
    }
}

async fn write(mut waiting: mpsc::Receiver<Bytes>, mut outgoing: impl Outgoing) {
    while let Some(answer) = waiting.recv().await {
        if outgoing.send(answer).await.is_err() {
            return;
        }
    }
}
