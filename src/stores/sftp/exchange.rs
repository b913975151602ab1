//! Requests and their answers over one channel: many under way at once, each answered by its id.
//!
//! Whoever reads the answers waits for nothing but the server: answers go to who asked, or nowhere. What is under way is bounded in bytes.
//! When the channel ends, whoever waits for an answer hears that it is lost, and nothing is sent any more.

use std::collections::HashMap;
use std::net::{Shutdown, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::sync::{Notify, Semaphore, SemaphorePermit, mpsc, oneshot};

use super::line::{Line, Outbox, Queued, joined};
use super::wire::{self, Answer, Attributes, Frames, Malformed, Named, Request};

/// How many bytes of content may be under way on one connection, in both directions together.
const ROOM: usize = 4 << 20;

/// A request is without an answer for good when one that was sent so many times [`Exchange::patience`] later has one.
const PASSED_OVER: u32 = 3;

/// Why there is no answer, or none that helps.
#[derive(Debug, Clone)]
pub(super) enum Failure {
    /// The server refused it: its code and its words.
    Refused { code: u32, message: String },
    /// It was not sent: nothing has happened.
    NotSent(String),
    /// It was sent, and the connection ended before the answer came: nobody knows whether it happened.
    Lost(String),
    /// No connection can be had: nothing has happened. `denied`: the account is not let in.
    Unreachable { message: String, denied: bool },
}

impl Failure {
    /// Whether the connection is gone.
    pub(super) fn is_of_connection(&self) -> bool {
        matches!(self, Failure::NotSent(_) | Failure::Lost(_))
    }

    /// The answer is not of the kind that was asked for.
    pub(super) fn strange() -> Self {
        Failure::Lost("the server answers with what was not asked for".to_owned())
    }
}

type Replied<T> = Result<T, Failure>;

/// An answer as who asked gets it.
#[derive(Debug)]
enum Reply {
    Opened(Handle),
    Other(Answer),
}

/// One channel.
#[derive(Debug)]
pub(super) struct Exchange {
    state: Mutex<State>,
    /// Bytes that may be under way.
    room: Semaphore,
    /// Files and folders that are open, or were asked for.
    open: AtomicUsize,
    /// Wakes who sends when the channel has ended.
    stop: Notify,
    socket: TcpStream,
    /// How long the server may be silent while somebody waits.
    patience: Duration,
}

/// A request that waits for its answer.
#[derive(Debug)]
struct Asked {
    by: oneshot::Sender<Replied<Reply>>,
    at: Instant,
}

#[derive(Debug)]
struct State {
    /// `None` when the channel has ended.
    outbox: Option<Outbox>,
    waiting: HashMap<u32, Asked>,
    /// When the youngest request that has been answered was sent.
    answered: Instant,
    next: u32,
    /// The last sign of life that could be expected.
    since: Instant,
    /// Why it has ended.
    why: String,
}

impl State {
    /// Whoever waits for this answer.
    fn take(&mut self, id: u32) -> Option<oneshot::Sender<Replied<Reply>>> {
        let Asked { by, at } = self.waiting.remove(&id)?;
        self.answered = self.answered.max(at);
        Some(by)
    }
}

impl Exchange {
    /// A channel whose packets go to `line` as long as that accepts them without waiting, and else where what this returns is read.
    /// `socket` is closed when it ends.
    pub(super) fn new(
        socket: TcpStream,
        patience: Duration,
        line: Option<Line>,
    ) -> (Arc<Self>, mpsc::UnboundedReceiver<Queued>) {
        let (outbox, packets) = Outbox::new(line);
        let (waiting, now) = (HashMap::new(), Instant::now());
        let state = State { outbox: Some(outbox), waiting, answered: now, next: 0, since: now, why: String::new() };
        let (room, stop) = (Semaphore::new(ROOM), Notify::new());
        (
            Arc::new(Exchange { state: Mutex::new(state), room, open: AtomicUsize::new(0), stop, socket, patience }),
            packets,
        )
    }

    fn locked(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether requests can still be sent.
    pub(super) fn is_alive(&self) -> bool {
        self.locked().outbox.is_some()
    }

    /// How many requests wait for their answers.
    pub(super) fn load(&self) -> usize {
        self.locked().waiting.len()
    }

    /// So many packets of the queue were sent.
    pub(super) fn sent(&self, packets: usize) {
        if let Some(outbox) = &mut self.locked().outbox {
            outbox.sent(packets);
        }
    }

    /// How many files and folders are open, or were asked for.
    pub(super) fn open_handles(&self) -> usize {
        self.open.load(Ordering::Relaxed)
    }

    /// Waits until the channel has ended; for who sends its packets.
    pub(super) async fn ended(&self) {
        self.stop.notified().await;
    }

    /// Ends the channel.
    pub(super) fn end(&self, why: &str) {
        let waiting = {
            let mut state = self.locked();
            if state.outbox.take().is_none() {
                return;
            }
            why.clone_into(&mut state.why);
            std::mem::take(&mut state.waiting)
        };
        self.room.close();
        self.stop.notify_one();
        // Both directions: a library that waits for the peer to take or to send something hears it.
        let _ = self.socket.shutdown(Shutdown::Both);
        for (_, asked) in waiting {
            let _ = asked.by.send(Err(Failure::Lost(why.to_owned())));
        }
    }

    /// Ends the channel if somebody has waited too long: while nothing came, or while what was asked much later was answered. On a slow
    /// line answers come late, but in their order.
    pub(super) fn judge_silence(&self) {
        let (is_silent, is_passed_over) = {
            let state = self.locked();
            let limit = self.patience.saturating_mul(PASSED_OVER);
            let is_passed_over = |asked: &Asked| state.answered.saturating_duration_since(asked.at) >= limit;
            let is_silent = !state.waiting.is_empty() && state.since.elapsed() >= self.patience;
            (is_silent, state.waiting.values().any(is_passed_over))
        };
        if is_silent {
            self.end(&format!("the server has not answered for {:?}", self.patience));
        } else if is_passed_over {
            self.end("the server answers others, and leaves a request without an answer");
        }
    }

    /// Hands out the answers in what arrived.
    pub(super) fn arrived(self: &Arc<Self>, frames: &mut Frames, data: &[u8]) -> Result<(), Malformed> {
        frames.push(data);
        self.locked().since = Instant::now();
        while let Some(packet) = frames.next()? {
            let (id, answer) = wire::answer(packet)?;
            let reply = match answer {
                Answer::Handle(raw) => {
                    self.open.fetch_add(1, Ordering::Relaxed);
                    Reply::Opened(Handle { raw, exchange: Arc::clone(self), is_open: AtomicBool::new(true) })
                }
                answer => Reply::Other(answer),
            };
            // The state is free again when a handle of who has gone is dropped, and closed by that.
            let asked = self.locked().take(id);
            if let Some(by) = asked {
                let _ = by.send(Ok(reply));
            }
        }
        Ok(())
    }

    /// Sends requests, one right behind the other; each asker gets its answer.
    fn send(&self, requests: Vec<(Request, Option<oneshot::Sender<Replied<Reply>>>)>) -> Replied<()> {
        let mut locked = self.locked();
        let state = &mut *locked;
        let Some(outbox) = &mut state.outbox else { return Err(Failure::NotSent(state.why.clone())) };
        let is_one = requests.len() == 1;
        let mut packets = Vec::with_capacity(requests.len());
        let mut askers = Vec::with_capacity(requests.len());
        for (request, asked) in requests {
            packets.push(request.with_id(state.next));
            askers.extend(asked.map(|by| (state.next, by)));
            state.next = state.next.wrapping_add(1);
        }
        if !joined(packets).into_iter().all(|packet| outbox.send(packet)) {
            drop(locked);
            // Nobody else is to try it.
            let why = "the connection has ended";
            self.end(why);
            // One that was cut is none; of several, some may be whole.
            return Err(if is_one { Failure::NotSent(why.to_owned()) } else { Failure::Lost(why.to_owned()) });
        }
        let at = Instant::now();
        if state.waiting.is_empty() && !askers.is_empty() {
            state.since = at;
        }
        state.waiting.extend(askers.into_iter().map(|(id, by)| (id, Asked { by, at })));
        Ok(())
    }

    /// Sends a request that has, or brings, so many bytes of content, and waits for its answer.
    async fn ask(&self, request: Request, bytes: usize) -> Replied<Reply> {
        let _room = self.room_for(bytes).await?;
        let (asked, answer) = oneshot::channel();
        self.send(vec![(request, Some(asked))])?;
        arrival(answer).await
    }

    async fn room_for(&self, bytes: usize) -> Replied<SemaphorePermit<'_>> {
        let permits = u32::try_from(bytes.min(ROOM)).unwrap_or(u32::MAX);
        let room = self.room.acquire_many(permits).await;
        room.map_err(|_| Failure::NotSent(self.locked().why.clone()))
    }

    async fn ask_other(&self, request: Request, bytes: usize) -> Replied<Answer> {
        other(self.ask(request, bytes).await)
    }

    /// Sends requests one right behind the other, so that they cost one round trip, and waits for all answers, which come in the order of
    /// the requests; `bytes` of content are in them. None asks for a handle.
    pub(super) async fn in_one_go(&self, requests: Vec<Request>, bytes: usize) -> Vec<Replied<Answer>> {
        let _room = match self.room_for(bytes).await {
            Ok(room) => room,
            Err(failure) => return requests.iter().map(|_| Err(failure.clone())).collect(),
        };
        let with_asker = |request| {
            let (asked, answer) = oneshot::channel();
            ((request, Some(asked)), answer)
        };
        let (requests, coming): (Vec<_>, Vec<_>) = requests.into_iter().map(with_asker).unzip();
        if let Err(failure) = self.send(requests) {
            return coming.iter().map(|_| Err(failure.clone())).collect();
        }
        let mut answers = Vec::with_capacity(coming.len());
        for answer in coming {
            answers.push(other(arrival(answer).await));
        }
        answers
    }

    /// A request that is answered with success alone; `bytes` of content are in it.
    pub(super) async fn done(&self, request: Request, bytes: usize) -> Replied<()> {
        success(self.ask_other(request, bytes).await)
    }

    /// A request for a handle.
    pub(super) async fn opened(&self, request: Request) -> Replied<Handle> {
        let _asked = Opening::count(&self.open);
        match self.ask(request, 0).await? {
            Reply::Opened(handle) => Ok(handle),
            Reply::Other(Answer::Status { code, message }) if code > 0 => Err(Failure::Refused { code, message }),
            Reply::Other(_) => Err(Failure::strange()),
        }
    }

    /// A request for attributes.
    pub(super) async fn attributes(&self, request: Request) -> Replied<Attributes> {
        attributes(self.ask_other(request, 0).await)
    }

    /// A request for names; none at the end.
    pub(super) async fn names(&self, request: Request) -> Replied<Option<Vec<Named>>> {
        match self.ask_other(request, 0).await? {
            Answer::Names(names) => Ok(Some(names)),
            Answer::Status { code: EOF, .. } => Ok(None),
            _ => Err(Failure::strange()),
        }
    }

    /// A request for at most so many bytes; none at the end.
    pub(super) async fn data(&self, request: Request, bytes: usize) -> Replied<Option<Bytes>> {
        match self.ask_other(request, bytes).await? {
            Answer::Data(data) if data.len() <= bytes => Ok(Some(data)),
            Answer::Status { code: EOF, .. } => Ok(None),
            _ => Err(Failure::strange()),
        }
    }

    /// A request of an extension that has an answer of its own.
    pub(super) async fn extended(&self, request: Request) -> Replied<Bytes> {
        match self.ask_other(request, 0).await? {
            Answer::Extended(answer) => Ok(answer),
            _ => Err(Failure::strange()),
        }
    }
}

/// A handle that was asked for. It counts as one until it is there.
struct Opening<'a>(&'a AtomicUsize);

impl<'a> Opening<'a> {
    fn count(open: &'a AtomicUsize) -> Self {
        open.fetch_add(1, Ordering::Relaxed);
        Opening(open)
    }
}

impl Drop for Opening<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The status of the end of a file or folder.
const EOF: u32 = 1;

/// The answer, when it is there.
async fn arrival(answer: oneshot::Receiver<Replied<Reply>>) -> Replied<Reply> {
    answer.await.unwrap_or_else(|_| Err(Failure::Lost("the connection has ended".to_owned())))
}

/// An answer that is no handle.
fn other(reply: Replied<Reply>) -> Replied<Answer> {
    match reply? {
        Reply::Other(Answer::Status { code, message }) if code > EOF => Err(Failure::Refused { code, message }),
        Reply::Other(answer) => Ok(answer),
        Reply::Opened(_) => Err(Failure::strange()),
    }
}

/// An answer that is success alone.
pub(super) fn success(answer: Replied<Answer>) -> Replied<()> {
    match answer? {
        Answer::Status { code: 0, .. } => Ok(()),
        Answer::Status { code, message } => Err(Failure::Refused { code, message }),
        _ => Err(Failure::strange()),
    }
}

/// An answer that is attributes.
pub(super) fn attributes(answer: Replied<Answer>) -> Replied<Attributes> {
    match answer? {
        Answer::Attributes(found) => Ok(found),
        _ => Err(Failure::strange()),
    }
}

/// An open file or folder of the server. It is closed when it is dropped.
#[derive(Debug)]
pub(super) struct Handle {
    raw: Bytes,
    exchange: Arc<Exchange>,
    is_open: AtomicBool,
}

impl Handle {
    /// As requests name it.
    pub(super) fn raw(&self) -> &[u8] {
        &self.raw
    }

    /// Its channel.
    pub(super) fn exchange(&self) -> &Arc<Exchange> {
        &self.exchange
    }

    /// The request that closes it: it is not closed again when this is dropped.
    pub(super) fn closing(&self) -> Request {
        self.is_open.store(false, Ordering::Relaxed);
        wire::close(&self.raw)
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        if *self.is_open.get_mut() {
            // Nobody waits for the answer. With the channel the server closes what is open on it.
            let _ = self.exchange.send(vec![(wire::close(&self.raw), None)]);
        }
        // What is asked for from now on comes behind that.
        self.exchange.open.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests;
