//! What arrives from the client, read by a task of its own into a pipe that is bounded in bytes.
//!
//! The task never waits on anything but the pipe. Receiving files, it waits while the pipe is full: that is how a slow store
//! slows the client. Sending files, it does not even do that: a client that sends more than answers then has broken the
//! protocol, the pipe says so, and what still arrives is dropped.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::{Buf, Bytes};
use tokio::sync::{Semaphore, TryAcquireError, mpsc, watch};
use tokio::task::JoinSet;

use super::record::MAX_RECORD;
use crate::session::channel::Incoming;

/// Bytes that wait while files are received. One message more may be in the task's hands.
const RECEIVING: usize = 256 * 1024;

/// Bytes that wait while files are sent: answers are one byte, rarely a line.
const SENDING: usize = 16 * 1024;

/// What a message weighs at least, so that many tiny ones are bounded as well.
const MIN_WEIGHT: usize = 256;

/// Which way the files go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Purpose {
    /// The client sends files.
    Receiving,
    /// The client sends answers.
    Sending,
}

/// The protocol code's end of the pipe.
pub(super) struct Input {
    pipe: mpsc::UnboundedReceiver<(Bytes, usize)>,
    room: Arc<Semaphore>,
    flooded: watch::Receiver<bool>,
    cut: Arc<AtomicBool>,
    current: Bytes,
    weight: usize,
    /// Ends the task when the pipe is dropped.
    _reader: JoinSet<()>,
}

/// A line, as far as it came.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Line {
    /// The line without its line feed.
    Whole(Vec<u8>),
    /// Longer than [`MAX_RECORD`].
    TooLong,
    /// The client has gone before a line began.
    End,
    /// The client has gone in the middle of the line.
    Cut,
}

impl Input {
    /// Starts to read.
    pub fn start(incoming: impl Incoming, purpose: Purpose) -> Input {
        let room = Arc::new(Semaphore::new(match purpose {
            Purpose::Receiving => RECEIVING,
            Purpose::Sending => SENDING,
        }));
        // Bounded by the semaphore: in bytes, which a bounded channel cannot do.
        let (feed, pipe) = mpsc::unbounded_channel();
        let (flood, flooded) = watch::channel(false);
        let cut = Arc::default();
        let mut reader = JoinSet::new();
        let task = Reader { purpose, feed, room: room.clone(), flood, cut: Arc::clone(&cut) };
        reader.spawn(task.read(incoming));
        Input { pipe, room, flooded, cut, current: Bytes::new(), weight: 0, _reader: reader }
    }

    /// Up to `most` bytes as they arrived, never none (unless `most` is 0); `None` when the client has gone.
    pub async fn chunk(&mut self, most: u64) -> Option<Bytes> {
        self.fill().await?;
        let length = self.current.len().min(usize::try_from(most).unwrap_or(usize::MAX));
        Some(self.current.split_to(length))
    }

    /// One byte; `None` when the client has gone.
    pub async fn byte(&mut self) -> Option<u8> {
        self.fill().await?;
        Some(self.current.get_u8())
    }

    /// The bytes up to a line feed, which is taken as well.
    pub async fn line(&mut self) -> Line {
        let mut line = Vec::new();
        loop {
            if self.fill().await.is_none() {
                return if line.is_empty() { Line::End } else { Line::Cut };
            }
            let end = self.current.iter().position(|byte| *byte == b'\n');
            let part = self.current.split_to(end.unwrap_or(self.current.len()));
            if line.len() + part.len() > MAX_RECORD {
                return Line::TooLong;
            }
            line.extend_from_slice(&part);
            if end.is_some() {
                self.current.advance(1);
                return Line::Whole(line);
            }
        }
    }

    /// Waits until the client has ended and everything that it sent was taken; for ever, while something is at hand.
    pub async fn ended(&mut self) {
        if self.fill().await.is_some() {
            std::future::pending::<()>().await;
        }
    }

    /// Waits until the client has sent more than the protocol allows; for ever, if it does not.
    pub async fn flooded(&mut self) {
        if self.flooded.wait_for(|flooded| *flooded).await.is_err() {
            // The client sends nothing any more.
            std::future::pending::<()>().await;
        }
    }

    /// Whether the client has sent more than the protocol allows.
    pub fn is_flooded(&self) -> bool {
        *self.flooded.borrow()
    }

    /// Whether the client has gone without a word, with its connection. Known once everything that it sent was taken.
    pub fn is_cut(&self) -> bool {
        self.cut.load(Ordering::Acquire)
    }

    /// Takes what still arrives until the client ends, at most for `limit`.
    pub async fn await_end(&mut self, limit: Duration) {
        let ended = async { while self.chunk(u64::MAX).await.is_some() {} };
        let _ = tokio::time::timeout(limit, ended).await;
    }

    /// Drops what waits and what still arrives, so that the connection's other channels go on while this one ends.
    pub fn discard(&mut self) {
        self.room.close();
        self.pipe.close();
        self.current.clear();
    }

    /// Makes sure that at least one byte is at hand.
    async fn fill(&mut self) -> Option<()> {
        while self.current.is_empty() {
            self.room.add_permits(std::mem::take(&mut self.weight));
            (self.current, self.weight) = self.pipe.recv().await?;
        }
        Some(())
    }
}

impl Drop for Input {
    fn drop(&mut self) {
        self.room.close();
    }
}

fn permits(weight: usize) -> u32 {
    u32::try_from(weight).unwrap_or(u32::MAX)
}

/// The reader's end of the pipe.
struct Reader {
    purpose: Purpose,
    feed: mpsc::UnboundedSender<(Bytes, usize)>,
    room: Arc<Semaphore>,
    flood: watch::Sender<bool>,
    cut: Arc<AtomicBool>,
}

impl Reader {
    /// The reader's task.
    async fn read(self, mut incoming: impl Incoming) {
        let Reader { purpose, feed, room, flood, cut } = self;
        let flooded = loop {
            let Some(data) = incoming.next().await else {
                // Before the pipe ends, or whoever sees its end would not know yet.
                cut.store(incoming.is_cut(), Ordering::Release);
                return;
            };
            let (weight, permit) = match purpose {
                Purpose::Receiving => {
                    let weight = data.len().clamp(MIN_WEIGHT, RECEIVING);
                    (weight, room.acquire_many(permits(weight)).await.ok())
                }
                Purpose::Sending if data.len() > SENDING => break true,
                Purpose::Sending => {
                    let weight = data.len().max(MIN_WEIGHT);
                    match room.try_acquire_many(permits(weight)) {
                        Err(TryAcquireError::NoPermits) => break true,
                        permit => (weight, permit.ok()),
                    }
                }
            };
            let Some(permit) = permit else { break false };
            permit.forget();
            if feed.send((data, weight)).is_err() {
                break false;
            }
        };
        drop(feed);
        flood.send_replace(flooded);
        while incoming.next().await.is_some() {}
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use tokio::time::timeout;

    use super::super::tests::pipe::{Client, client};
    use super::*;

    const SOON: Duration = Duration::from_millis(200);
    const LATE: Duration = Duration::from_secs(10);

    #[tokio::test]
    async fn bytes_lines_and_chunks_come_in_order_however_they_were_cut() {
        let (mut client, incoming, _) = client();
        let mut input = Input::start(incoming, Purpose::Receiving);
        for part in ["\0C06", "44 3 a", "\nabc", "d\nefg"] {
            client.send(part.as_bytes().to_vec()).await;
        }
        client.end();
        assert_eq!(input.byte().await, Some(0));
        assert_eq!(input.line().await, Line::Whole(b"C0644 3 a".to_vec()));
        assert_eq!(input.chunk(2).await.unwrap(), "ab");
        assert_eq!(input.chunk(9).await.unwrap(), "c");
        assert_eq!(input.line().await, Line::Whole(b"d".to_vec()));
        assert_eq!(input.line().await, Line::Cut);
        assert_eq!(input.line().await, Line::End);
        assert_eq!(input.byte().await, None);
        assert_eq!(input.chunk(1).await, None);
    }

    #[tokio::test]
    async fn a_line_without_an_end_is_not_gathered_for_ever() {
        let (mut client, incoming, _) = client();
        let mut input = Input::start(incoming, Purpose::Receiving);
        client.send(vec![b'x'; MAX_RECORD]).await;
        client.send(vec![b'x'; 1]).await;
        assert_eq!(input.line().await, Line::TooLong);
    }

    /// Sends until the reader takes no more, and returns how many bytes it took.
    async fn fill(client: &mut Client, message: usize) -> usize {
        let mut taken = 0;
        while timeout(SOON, client.send(vec![0; message])).await.is_ok() {
            taken += message;
            assert!(taken < 64 * 1024 * 1024, "the pipe takes everything");
        }
        taken
    }

    #[tokio::test]
    async fn receiving_a_full_pipe_holds_the_client_back() {
        for message in [1, 1000, 32 * 1024, 4 * RECEIVING] {
            let (mut client, incoming, _) = client();
            let mut input = Input::start(incoming, Purpose::Receiving);
            let taken = fill(&mut client, message).await;
            assert!(taken <= RECEIVING + 4 * message, "{message}: {taken}");
            for _ in 0..taken.div_ceil(message) {
                let mut left = message as u64;
                while left > 0 {
                    left -= input.chunk(left).await.unwrap().len() as u64;
                }
            }
            timeout(LATE, client.send(vec![0; message])).await.expect("there is room again");
        }
    }

    #[tokio::test]
    async fn sending_a_client_that_sends_more_than_answers_is_noticed_and_drained() {
        let (mut client, incoming, _) = client();
        let mut input = Input::start(incoming, Purpose::Sending);
        assert!(timeout(SOON, input.flooded()).await.is_err(), "nothing was sent yet");
        for _ in 0..1000 {
            timeout(LATE, client.send(vec![0; 1024])).await.expect("the reader never waits");
        }
        timeout(LATE, input.flooded()).await.expect("noticed");
        let mut kept = 0;
        while let Some(chunk) = input.chunk(u64::MAX).await {
            kept += chunk.len();
        }
        assert!(kept <= SENDING, "{kept}");
    }

    #[tokio::test]
    async fn a_client_that_ends_is_no_flood() {
        let (mut client, incoming, _) = client();
        let mut input = Input::start(incoming, Purpose::Sending);
        client.send(vec![0; 3]).await;
        client.end();
        assert!(timeout(SOON, input.flooded()).await.is_err());
        assert_eq!(input.chunk(9).await.unwrap(), "\0\0\0");
        assert_eq!(input.chunk(9).await, None);
        assert!(timeout(SOON, input.flooded()).await.is_err());
    }

    #[tokio::test]
    async fn discarding_lets_the_client_go_on() {
        let (mut client, incoming, _) = client();
        let mut input = Input::start(incoming, Purpose::Receiving);
        fill(&mut client, 32 * 1024).await;
        input.discard();
        for _ in 0..100 {
            timeout(LATE, client.send(vec![0; 32 * 1024])).await.expect("dropped");
        }
    }
}
