//! The way out: replies wait in a queue, and one future sends them.
//!
//! Nobody waits to put a reply into the queue, so the reader can answer without waiting for the client. What bounds the queue
//! is that every reply comes with a [`Hold`] on one of the channel's bounds, which is given back when it was sent.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use tokio::sync::mpsc::{self, UnboundedReceiver, UnboundedSender};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::limits::{REPLY_BUDGET, SEND_SIZE, SSH_PACKET};
use super::reply::Reply;
use crate::session::channel::{Closed, Outgoing};

/// A share of one of the channel's bounds; dropping it gives it back.
pub(super) type Hold = OwnedSemaphorePermit;

/// A reply on its way.
#[derive(Debug)]
pub(super) struct Queued {
    reply: Reply,
    hold: Hold,
}

/// Where replies are put.
#[derive(Debug)]
pub(super) struct Outbox {
    queue: UnboundedSender<Queued>,
    budget: Arc<Semaphore>,
}

impl Outbox {
    /// An outbox, and the queue for [`send_all`].
    pub(super) fn new() -> (Outbox, UnboundedReceiver<Queued>) {
        let (queue, replies) = mpsc::unbounded_channel();
        (Outbox { queue, budget: Arc::new(Semaphore::new(REPLY_BUDGET)) }, replies)
    }

    /// Waits for room for a reply of up to `bytes`, before its data is fetched. Waits for the client to read, so the reader must
    /// not call it. `None` when nothing more will be sent.
    pub(super) async fn reserve(&self, bytes: usize) -> Option<Hold> {
        let permits = u32::try_from(bytes.min(REPLY_BUDGET)).ok()?;
        Arc::clone(&self.budget).acquire_many_owned(permits).await.ok()
    }

    /// Puts a reply into the queue. Once the client has gone, it is dropped.
    pub(super) fn send(&self, reply: Reply, hold: Hold) {
        let _ = self.queue.send(Queued { reply, hold });
    }

    /// As [`Outbox::send`], giving back what the reply does not need of its reservation.
    pub(super) fn send_reserved(&self, reply: Reply, mut hold: Hold) {
        let spare = hold.num_permits().saturating_sub(reply.size());
        drop(hold.split(spare));
        self.send(reply, hold);
    }

    /// Returns when replies can no longer be sent.
    pub(super) async fn closed(&self) {
        self.queue.closed().await;
    }

    /// Whether [`Outbox::end_reservations`] was called: the client has gone.
    pub(super) fn is_ending(&self) -> bool {
        self.budget.is_closed()
    }

    /// Refuses further reservations, and those that wait.
    pub(super) fn end_reservations(&self) {
        self.budget.close();
    }
}

/// Sends replies until every [`Outbox`] is gone or the client is. What waits is gathered, so that the SSH layer can fill its packets.
pub(super) async fn send_all(mut queue: UnboundedReceiver<Queued>, mut outgoing: impl Outgoing) -> Result<(), Closed> {
    let mut buffer = BytesMut::new();
    let mut held = Vec::new();
    let mut next = None;
    loop {
        if next.is_none() {
            next = queue.try_recv().ok();
        }
        if next.is_none() {
            // An idle channel keeps no large buffer.
            buffer = BytesMut::new();
            next = queue.recv().await;
        }
        if next.is_none() {
            return Ok(());
        }
        let rest = gather(&mut next, &mut queue, &mut buffer, &mut held);
        outgoing.send(buffer.split().freeze()).await?;
        if let Some(rest) = rest {
            outgoing.send(rest).await?;
        }
        held.clear();
    }
}

/// Encodes `next` and what follows it, up to [`SEND_SIZE`]; what does not fit stays in `next`. Most of a long reply is not copied: its
/// rest is returned, to be sent after the buffer.
fn gather(
    next: &mut Option<Queued>,
    queue: &mut UnboundedReceiver<Queued>,
    buffer: &mut BytesMut,
    held: &mut Vec<Hold>,
) -> Option<Bytes> {
    while let Some(queued) = next.take() {
        let size = queued.reply.size();
        if !buffer.is_empty() && buffer.len() + size > SEND_SIZE {
            *next = Some(queued);
            return None;
        }
        if buffer.is_empty() && size > SSH_PACKET {
            buffer.reserve(SSH_PACKET);
        }
        if let Some(rest) = queued.reply.encode_beginning(buffer) {
            held.push(queued.hold);
            return Some(rest);
        }
        let more_waits = !queue.is_empty();
        buffer.reserve(if buffer.is_empty() && more_waits { size.max(SEND_SIZE) } else { size });
        queued.reply.encode(buffer);
        held.push(queued.hold);
        *next = queue.try_recv().ok();
    }
    None
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::sftp::limits::{LONG_DATA, MAX_DATA};

    /// Keeps every send.
    struct Sends(UnboundedSender<Bytes>);

    impl Outgoing for Sends {
        async fn send(&mut self, data: Bytes) -> Result<(), Closed> {
            self.0.send(data).map_err(|_| Closed)
        }

        async fn send_error(&mut self, _: Bytes) -> Result<(), Closed> {
            Ok(())
        }
    }

    fn data(length: usize) -> Reply {
        Reply::Data { id: 1, data: Bytes::from(vec![0; length]) }
    }

    async fn sizes(replies: impl IntoIterator<Item = usize>) -> Vec<usize> {
        sends(replies.into_iter().map(data)).await.iter().map(Bytes::len).collect()
    }

    async fn sends(replies: impl IntoIterator<Item = Reply>) -> Vec<Bytes> {
        let (outbox, queue) = Outbox::new();
        let room = Arc::new(Semaphore::new(1000));
        for reply in replies {
            outbox.send(reply, Arc::clone(&room).acquire_owned().await.unwrap());
        }
        drop(outbox);
        let (sends, mut sent) = mpsc::unbounded_channel();
        send_all(queue, Sends(sends)).await.unwrap();
        assert_eq!(room.available_permits(), 1000, "everything is given back");
        std::iter::from_fn(|| sent.try_recv().ok()).collect()
    }

    #[tokio::test]
    async fn small_replies_are_sent_together_and_large_ones_alone() {
        assert_eq!(sizes([10; 100]).await, [100 * 23]);
        assert_eq!(sizes([MAX_DATA; 3]).await, [SSH_PACKET, MAX_DATA + 13 - SSH_PACKET].repeat(3));
        let many = sizes([32 * 1024; 16]).await;
        assert_eq!(many.iter().sum::<usize>(), 16 * (32 * 1024 + 13));
        assert!(many.len() == 3 && many.iter().all(|size| *size <= SEND_SIZE), "{many:?}");
    }

    #[tokio::test]
    async fn long_data_is_sent_as_it_lies_in_memory_and_fills_ssh_packets() {
        let content = |length: usize| Bytes::from((0..length).map(|n| (n % 251) as u8).collect::<Vec<u8>>());
        let lengths = [10, LONG_DATA, LONG_DATA - 1, 1, MAX_DATA, MAX_DATA, 0, LONG_DATA + 1, 7];
        let replies: Vec<_> = (1..).zip(lengths).map(|(id, length)| (id, content(length))).collect();
        let sent = sends(replies.iter().map(|(id, data)| Reply::Data { id: *id, data: data.clone() })).await;
        let mut expected = BytesMut::new();
        replies.iter().for_each(|(id, data)| Reply::Data { id: *id, data: data.clone() }.encode(&mut expected));
        assert_eq!(sent.concat(), expected);
        for (_, data) in replies.iter().filter(|(_, data)| data.len() >= LONG_DATA) {
            let lies_in = |piece: &Bytes| data.as_ptr_range().contains(&piece.as_ptr());
            let place = sent.iter().position(lies_in).unwrap();
            assert_eq!(sent[place - 1].len() % SSH_PACKET, 0, "what comes before fills packets");
            assert!(sent[place].len() > data.len() - SSH_PACKET);
        }
    }

    #[tokio::test]
    async fn what_a_reply_does_not_need_is_given_back_at_once() {
        let (outbox, _queue) = Outbox::new();
        let hold = outbox.reserve(MAX_DATA).await.unwrap();
        assert_eq!(outbox.budget.available_permits(), REPLY_BUDGET - MAX_DATA);
        outbox.send_reserved(Reply::end(1), hold);
        assert!(outbox.budget.available_permits() > REPLY_BUDGET - 100);
    }

    #[tokio::test]
    async fn after_the_end_nobody_waits_for_room() {
        let (outbox, _queue) = Outbox::new();
        let _all = outbox.reserve(REPLY_BUDGET).await.unwrap();
        let waiting = outbox.reserve(1);
        let (waited, ()) = tokio::join!(waiting, async { outbox.end_reservations() });
        assert!(waited.is_none());
    }
}
