//! How packets reach the SSH library, and how what arrives comes back from it, with no task in between where none is needed: each costs a
//! small file some of its time. Whoever has a request hands it to the library, unless that would have to wait, and the library's own
//! task hands out the answers.

use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use bytes::{Bytes, BytesMut};
use tokio::sync::{Notify, mpsc};

use super::exchange::Exchange;
use super::wire::{Frames, LONGEST_ANSWER, Malformed};

/// Requests that are sent together make packets of the SSH connection of at most so many bytes: each packet costs both sides more than its bytes.
const JOINED: usize = 32 << 10;

/// Gives a packet to the SSH library; `false` when the connection has ended.
pub(super) type Sending = Pin<Box<dyn Future<Output = bool> + Send>>;

/// Begins to give a packet to the SSH library.
pub(super) struct Line(Box<dyn Fn(Bytes) -> Sending + Send>);

impl std::fmt::Debug for Line {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Line")
    }
}

impl Line {
    pub(super) fn new(begin: impl Fn(Bytes) -> Sending + Send + 'static) -> Self {
        Line(Box::new(begin))
    }
}

/// What waits to be sent, in its order.
pub(super) enum Queued {
    Packet(Bytes),
    /// A packet of which some may have been sent.
    Begun(Sending),
}

/// Where packets go.
#[derive(Debug)]
pub(super) struct Outbox {
    line: Option<Line>,
    queue: mpsc::UnboundedSender<Queued>,
    /// Packets of the queue that are not sent yet: what comes now has to wait for them.
    queued: usize,
}

impl Outbox {
    /// Without a line, all packets are queued.
    pub(super) fn new(line: Option<Line>) -> (Self, mpsc::UnboundedReceiver<Queued>) {
        let (queue, packets) = mpsc::unbounded_channel();
        (Outbox { line, queue, queued: 0 }, packets)
    }

    /// Sends a packet behind all others; `false` when the connection has ended.
    pub(super) fn send(&mut self, packet: Bytes) -> bool {
        let queued = match &self.line {
            Some(line) if self.queued == 0 => {
                let mut sending = line.0(packet);
                // Where it has to wait, whoever empties the queue waits for it, and is woken.
                match sending.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
                    Poll::Ready(is_sent) => return is_sent,
                    Poll::Pending => Queued::Begun(sending),
                }
            }
            _ => Queued::Packet(packet),
        };
        self.queued += 1;
        self.queue.send(queued).is_ok()
    }

    /// So many packets of the queue were sent.
    pub(super) fn sent(&mut self, packets: usize) {
        self.queued = self.queued.saturating_sub(packets);
    }
}

/// Packets as they are, in their order, several small ones as one.
pub(super) fn joined(packets: Vec<Bytes>) -> Vec<Bytes> {
    if packets.len() < 2 {
        return packets;
    }
    let mut sent: Vec<Bytes> = Vec::new();
    let mut small = BytesMut::new();
    for packet in packets {
        if small.len() + packet.len() > JOINED && !small.is_empty() {
            sent.push(small.split().freeze());
        }
        if packet.len() > JOINED {
            sent.push(packet);
        } else {
            small.extend_from_slice(&packet);
        }
    }
    if !small.is_empty() {
        sent.push(small.freeze());
    }
    sent
}

/// What arrives on a channel.
#[derive(Debug)]
pub(super) struct Incoming {
    receiving: Mutex<Receiving>,
    /// Wakes whoever waits for the greeting.
    news: Notify,
}

#[derive(Debug)]
struct Receiving {
    frames: Frames,
    whose: Whose,
}

/// Whose it is.
#[derive(Debug)]
enum Whose {
    /// The greeting's.
    Greeting,
    /// Answers to requests.
    Answers(Arc<Exchange>),
    /// Nobody's: the channel has ended.
    Nobody,
}

impl Incoming {
    /// Before the greeting.
    pub(super) fn new() -> Arc<Self> {
        let receiving = Receiving { frames: Frames::default(), whose: Whose::Greeting };
        Arc::new(Incoming { receiving: Mutex::new(receiving), news: Notify::new() })
    }

    fn locked(&self) -> MutexGuard<'_, Receiving> {
        self.receiving.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// These bytes are the next.
    pub(super) fn arrived(&self, data: &[u8]) {
        let Receiving { frames, whose } = &mut *self.locked();
        match whose {
            Whose::Greeting => {
                frames.push(data);
                if frames.length() > 2 * LONGEST_ANSWER {
                    *whose = Whose::Nobody;
                }
                self.news.notify_one();
            }
            Whose::Answers(exchange) => {
                if !hand_out(exchange, frames, data) {
                    *whose = Whose::Nobody;
                }
            }
            Whose::Nobody => {}
        }
    }

    /// Nothing comes any more.
    pub(super) fn ended(&self, why: &str) {
        let whose = std::mem::replace(&mut self.locked().whose, Whose::Nobody);
        if let Whose::Answers(exchange) = whose {
            exchange.end(why);
        }
        self.news.notify_one();
    }

    /// The first packet; `None` when the channel ends before it is there.
    pub(super) async fn first(&self) -> Result<Option<Bytes>, Malformed> {
        loop {
            {
                let receiving = &mut *self.locked();
                if let Some(packet) = receiving.frames.next()? {
                    return Ok(Some(packet));
                }
                if matches!(receiving.whose, Whose::Nobody) {
                    return Ok(None);
                }
            }
            self.news.notified().await;
        }
    }

    /// From now on what comes is answers to these requests.
    pub(super) fn answer(&self, exchange: &Arc<Exchange>) {
        let Receiving { frames, whose } = &mut *self.locked();
        match whose {
            Whose::Nobody => exchange.end("the server closed the connection"),
            _ if hand_out(exchange, frames, &[]) => *whose = Whose::Answers(Arc::clone(exchange)),
            _ => *whose = Whose::Nobody,
        }
    }
}

/// Hands out answers; `false` when they are none, which ends the channel.
fn hand_out(exchange: &Arc<Exchange>, frames: &mut Frames, data: &[u8]) -> bool {
    let is_sound = exchange.arrived(frames, data).is_ok();
    if !is_sound {
        exchange.end("the server answers with what is not SFTP");
    }
    is_sound
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use tokio::sync::Semaphore;

    use super::*;

    #[test]
    fn packets_are_joined_as_long_as_they_are_small_and_keep_their_order() {
        let whole: Vec<Bytes> = [JOINED - 1, 1, 1, JOINED + 1, 1, 2, JOINED, 3]
            .iter()
            .zip(0_u8..)
            .map(|(length, content)| Bytes::from(vec![content; *length]))
            .collect();
        let sent = joined(whole.clone());
        assert_eq!(sent.concat(), whole.concat());
        let lengths: Vec<usize> = sent.iter().map(Bytes::len).collect();
        assert_eq!(lengths, [JOINED, 1, JOINED + 1, 3, JOINED, 3]);
        assert!(joined(Vec::new()).is_empty());
    }

    /// A line that sends what it has permits for, and notes it.
    fn line(permits: &Arc<Semaphore>, sent: &Arc<Mutex<Vec<u8>>>) -> Line {
        let (permits, sent) = (Arc::clone(permits), Arc::clone(sent));
        Line::new(move |packet| {
            let (permits, sent) = (Arc::clone(&permits), Arc::clone(&sent));
            Box::pin(async move {
                let Ok(permit) = permits.acquire().await else { return false };
                permit.forget();
                sent.lock().unwrap().extend_from_slice(&packet);
                true
            })
        })
    }

    async fn send(queued: Queued, line: &Line) -> bool {
        match queued {
            Queued::Packet(packet) => line.0(packet).await,
            Queued::Begun(sending) => sending.await,
        }
    }

    #[tokio::test]
    async fn packets_are_sent_without_a_queue_until_one_has_to_wait_and_always_in_their_order() {
        let (permits, sent) = (Arc::new(Semaphore::new(2)), Arc::default());
        let (mut outbox, mut queue) = Outbox::new(Some(line(&permits, &sent)));
        for packet in 0..5_u8 {
            assert!(outbox.send(Bytes::from(vec![packet])));
            // The third waits, and the fourth and fifth must not overtake it.
            if packet == 3 {
                permits.add_permits(3);
            }
        }
        assert_eq!(*sent.lock().unwrap(), [0, 1]);
        let second = line(&permits, &sent);
        for left in (0..3).rev() {
            assert!(send(queue.recv().await.unwrap(), &second).await);
            assert_eq!(outbox.queued, left + 1);
            outbox.sent(1);
        }
        assert_eq!(*sent.lock().unwrap(), [0, 1, 2, 3, 4]);
        permits.add_permits(1);
        assert!(outbox.send(Bytes::from_static(&[5])));
        assert_eq!(*sent.lock().unwrap(), [0, 1, 2, 3, 4, 5], "the queue is empty again");
        permits.close();
        assert!(!outbox.send(Bytes::from_static(&[6])), "the connection has ended");
    }

    #[tokio::test]
    async fn whoever_empties_the_queue_is_woken_for_a_packet_that_another_began_to_send() {
        let (permits, sent) = (Arc::new(Semaphore::new(0)), Arc::default());
        let (mut outbox, mut queue) = Outbox::new(Some(line(&permits, &sent)));
        assert!(outbox.send(Bytes::from_static(b"a")));
        let done = Arc::new(AtomicUsize::new(0));
        let emptying = {
            let done = Arc::clone(&done);
            tokio::spawn(async move {
                let Queued::Begun(sending) = queue.recv().await.unwrap() else { panic!("it was begun") };
                assert!(sending.await);
                done.fetch_add(1, Ordering::Relaxed);
            })
        };
        tokio::task::yield_now().await;
        assert_eq!(done.load(Ordering::Relaxed), 0);
        permits.add_permits(1);
        tokio::time::timeout(std::time::Duration::from_secs(10), emptying).await.unwrap().unwrap();
        assert_eq!(*sent.lock().unwrap(), b"a");
    }

    #[tokio::test]
    async fn a_greeting_that_does_not_end_is_cut_off() {
        let incoming = Incoming::new();
        incoming.arrived(&[0, 0, 0]);
        assert!(futures_util::poll!(Box::pin(incoming.first())).is_pending());
        // A packet of the largest length, of which all but the last byte comes, is waited for.
        incoming.arrived(&[1]);
        incoming.arrived(&[2]);
        assert_eq!(incoming.first().await.unwrap().unwrap(), [2][..]);
        let chunk = vec![0xff; 64 << 10];
        for _ in 0..1000 {
            incoming.arrived(&chunk);
        }
        assert!(incoming.locked().frames.length() <= 2 * LONGEST_ANSWER + chunk.len());
        assert!(incoming.first().await.is_err());
    }

    #[tokio::test]
    async fn a_channel_that_ends_before_the_greeting_is_noticed() {
        let incoming = Incoming::new();
        let (first, ()) = tokio::join!(incoming.first(), async { incoming.ended("gone") });
        assert!(first.unwrap().is_none());
    }
}
