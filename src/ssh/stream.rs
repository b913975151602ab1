//! The socket as the SSH library sees it: read along until both KEXINITs have passed, counted, buffered, and with a kill
//! switch.

use std::io;
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf, BufMut, BytesMut};
use futures_util::task::AtomicWaker;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf};
use tokio::sync::Notify;
use tokio::time::{Sleep, sleep};

use super::ahead::Ahead;
use super::kexinit::{self, KexInit, NoCommon, Reader};
use crate::audit::{Algorithms, Rejected};
use crate::session::gate::{SeatWatch, Shown};

/// Bytes that one read of the socket may bring: two full SSH packets. The library reads each packet in two pieces, which
/// would be two system calls each.
const READ_BUFFER: usize = 64 * 1024;

/// Bytes that one read may bring while the client says little. Room for [`READ_BUFFER`] is taken from the system's memory anew for each
/// read; room for this is at hand.
const SMALL_READ: usize = 16 * 1024;

/// How long a client may take to end its half after the other one was ended.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// What is known of a connection from outside: shared by its stream and whoever watches over it.
#[derive(Debug, Default)]
pub(super) struct Line {
    killed: AtomicBool,
    is_killed: Notify,
    waker: AtomicWaker,
    bytes_in: AtomicU64,
    bytes_out: AtomicU64,
    /// Whether what passed last went to the client.
    spoke_last: AtomicBool,
    /// Whether the library ended the connection after a word of its own, rather than after one of the client.
    ended_by_server: AtomicBool,
    has_logged_in: AtomicBool,
    greeting: Mutex<Greeting>,
    seat: OnceLock<SeatWatch>,
}

/// The cleartext start of a connection, both directions.
#[derive(Debug, Default)]
struct Greeting {
    client: Reader,
    server: Reader,
}

impl Line {
    /// Ends the connection: the next read or write fails. A session that waits for the socket wakes up.
    pub(super) fn kill(&self) {
        self.killed.store(true, Ordering::Release);
        self.waker.wake();
        self.is_killed.notify_waiters();
    }

    /// Returns when the connection was ended with [`Line::kill`].
    pub(super) async fn killed(&self) {
        let told = self.is_killed.notified();
        tokio::pin!(told);
        // From here on it is told of, before that it can be seen.
        told.as_mut().enable();
        if !self.killed.load(Ordering::Acquire) {
            told.await;
        }
    }

    /// From now on the place that the connection takes hears how far it is.
    pub(super) fn take_seat(&self, seat: SeatWatch) {
        let _ = self.seat.set(seat);
        self.show_greeting();
    }

    /// The client has come so far.
    pub(super) fn shows(&self, shown: Shown) {
        if let Some(seat) = self.seat.get() {
            seat.shows(shown);
        }
    }

    /// The client has logged in.
    pub(super) fn note_login(&self) {
        self.has_logged_in.store(true, Ordering::Release);
    }

    /// Whether the SSH library ended the connection, and not the client.
    pub(super) fn was_ended_by_server(&self) -> bool {
        self.ended_by_server.load(Ordering::Acquire)
    }

    fn show_greeting(&self) {
        let (version, kexinit) = {
            let greeting = self.greeting();
            (greeting.client.version().is_some(), greeting.client.kexinit().is_some())
        };
        match (version, kexinit) {
            (_, true) => self.shows(Shown::Algorithms),
            (true, false) => self.shows(Shown::Version),
            (false, false) => {}
        }
    }

    /// Bytes that came over the socket so far.
    pub(super) fn bytes_in(&self) -> u64 {
        self.bytes_in.load(Ordering::Relaxed)
    }

    /// Bytes that went over the socket so far.
    pub(super) fn bytes_out(&self) -> u64 {
        self.bytes_out.load(Ordering::Relaxed)
    }

    /// The client's version line, once it has come.
    pub(super) fn client_version(&self) -> Option<Arc<str>> {
        self.greeting().client.version().map(Arc::from)
    }

    /// What was negotiated; `None` before both KEXINITs have passed or when they have nothing in common.
    pub(super) fn algorithms(&self) -> Option<Algorithms> {
        self.negotiated()?.ok()
    }

    /// Why there is nothing in common, with the client's lists.
    pub(super) fn kex_failure(&self) -> Option<Rejected> {
        let missing = self.negotiated()?.err()?;
        let greeting = self.greeting();
        let client = greeting.client.kexinit()?;
        let joined = |names: &[String]| Some(names.join(","));
        Some(Rejected {
            reason: missing.reason().to_owned(),
            message: missing.message().to_owned(),
            unmatched: joined(missing.list_of(client)),
            client_kex: joined(&client.kex),
            client_host_keys: joined(&client.host_keys),
            client_ciphers: joined(&client.ciphers.0),
            client_macs: joined(&client.macs.0),
            ..Rejected::default()
        })
    }

    /// The HASSH of what the server offers; `None` before its KEXINIT has passed.
    pub(super) fn hassh_of_server(&self) -> Option<String> {
        self.greeting().server.kexinit().map(KexInit::hassh_of_server)
    }

    fn negotiated(&self) -> Option<Result<Algorithms, NoCommon>> {
        let greeting = self.greeting();
        Some(kexinit::negotiate(greeting.client.kexinit()?, greeting.server.kexinit()?))
    }

    fn greeting(&self) -> std::sync::MutexGuard<'_, Greeting> {
        self.greeting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn check_alive(&self, cx: &Context<'_>) -> io::Result<()> {
        self.waker.register(cx.waker());
        if self.killed.load(Ordering::Acquire) {
            return Err(io::Error::new(io::ErrorKind::ConnectionAborted, "the connection was ended by the gateway"));
        }
        Ok(())
    }
}

/// A socket with a [`Line`].
pub(super) struct WatchedStream<S> {
    socket: S,
    line: Arc<Line>,
    /// What was read and not given yet. While nothing comes it takes no memory: most connections are idle most of the time.
    buffer: BytesMut,
    /// How many bytes the next read may bring.
    room: usize,
    /// What may wait in the buffer while a write waits, if that must not keep the socket waiting; else [`READ_BUFFER`].
    ahead: Option<Ahead>,
    reads_along: bool,
    writes_along: bool,
    /// The client has closed its half while it took nothing: what is still written has nobody to go to.
    takes_no_more: bool,
    /// Once the library has ended its half: how long the client's half is still read.
    last_words: Option<Pin<Box<Sleep>>>,
}

impl<S> WatchedStream<S> {
    /// Wraps a socket of which some bytes were read already, at most [`READ_BUFFER`].
    pub(super) fn new(socket: S, read: &[u8]) -> (Self, Arc<Line>) {
        let line = Arc::new(Line::default());
        let mut stream = WatchedStream {
            socket,
            line: line.clone(),
            buffer: BytesMut::from(&read[..read.len().min(READ_BUFFER)]),
            room: SMALL_READ,
            ahead: None,
            reads_along: true,
            writes_along: true,
            takes_no_more: false,
            last_words: None,
        };
        stream.count_in(0);
        (stream, line)
    }

    /// The same for a stream inside another connection, which must never be kept from handing over what came: what the client says of its
    /// window, and so what a write here waits for, comes behind that. A client that makes more wait than `ahead` has asks and asks, and takes
    /// no answers; its stream fails.
    pub(super) fn reading_ahead(mut self, ahead: Ahead) -> Self {
        self.ahead = Some(ahead);
        self
    }

    /// Counts what lies in the buffer from this place on.
    fn count_in(&mut self, from: usize) {
        let arrived = &self.buffer[from..];
        self.line.bytes_in.fetch_add(arrived.len() as u64, Ordering::Relaxed);
        if self.reads_along {
            let mut greeting = self.line.greeting();
            greeting.client.take(arrived);
            self.reads_along = !greeting.client.is_done();
            drop(greeting);
            self.line.show_greeting();
        }
    }

    fn count_out(&mut self, written: &[u8]) {
        self.line.bytes_out.fetch_add(written.len() as u64, Ordering::Relaxed);
        self.line.spoke_last.store(true, Ordering::Release);
        if self.writes_along {
            let mut greeting = self.line.greeting();
            greeting.server.take(written);
            self.writes_along = !greeting.server.is_done();
        }
    }
}

impl<S: AsyncRead + Unpin> WatchedStream<S> {
    /// Takes what comes into the buffer while a write waits: the SSH library reads nothing then, and would not learn that the
    /// client has closed its half. Once it has, the rest of what it sent is still to be read.
    fn read_ahead(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        while !self.takes_no_more {
            let has_logged_in = self.line.has_logged_in.load(Ordering::Acquire);
            let most = self.ahead.as_mut().map_or(READ_BUFFER, |ahead| ahead.most(self.buffer.len(), has_logged_in));
            if self.buffer.len() >= most {
                return self.ahead.as_ref().map_or(Ok(()), |_| Err(goes_on_asking()));
            }
            let Poll::Ready(read) = self.poll_fill(cx, most)? else { break };
            self.takes_no_more = read == 0;
        }
        Ok(())
    }

    /// Reads what the socket has behind what lies in the buffer, which is less than `most` bytes, up to that. How many came: none at the end.
    fn poll_fill(&mut self, cx: &mut Context<'_>, most: usize) -> Poll<io::Result<usize>> {
        let from = self.buffer.len();
        let room = self.room.min(most - from);
        self.buffer.reserve(room);
        let mut space = (&mut self.buffer).limit(room);
        let read = pin!(self.socket.read_buf(&mut space)).poll(cx);
        if read.is_pending() && self.buffer.is_empty() {
            // It may be long until something comes.
            self.buffer = BytesMut::new();
        }
        let read = ready!(read)?;
        self.room = if read >= SMALL_READ { READ_BUFFER } else { SMALL_READ };
        self.count_in(from);
        Poll::Ready(Ok(read))
    }
}

fn goes_on_asking() -> io::Error {
    io::Error::new(io::ErrorKind::ConnectionAborted, "the client goes on asking and takes no answers")
}

impl<S: AsyncRead + Unpin> AsyncRead for WatchedStream<S> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, wanted: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        this.line.check_alive(cx)?;
        if this.last_words.as_mut().is_some_and(|time| time.as_mut().poll(cx).is_ready()) {
            return Poll::Ready(Ok(()));
        }
        if this.buffer.is_empty() {
            ready!(this.poll_fill(cx, READ_BUFFER))?;
        }
        let given = wanted.remaining().min(this.buffer.len());
        wanted.put_slice(&this.buffer[..given]);
        this.buffer.advance(given);
        if this.buffer.is_empty() && this.ahead.as_mut().is_some_and(Ahead::release) {
            this.buffer = BytesMut::new();
        }
        if given > 0 {
            this.line.spoke_last.store(false, Ordering::Release);
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for WatchedStream<S> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, data: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        this.line.check_alive(cx)?;
        if !this.takes_no_more {
            if let Poll::Ready(written) = Pin::new(&mut this.socket).poll_write(cx, data) {
                let written = written?;
                this.count_out(&data[..written]);
                return Poll::Ready(Ok(written));
            }
            this.read_ahead(cx)?;
        }
        if this.takes_no_more { Poll::Ready(Ok(data.len())) } else { Poll::Pending }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        this.line.check_alive(cx)?;
        if this.takes_no_more {
            return Poll::Ready(Ok(()));
        }
        Pin::new(&mut this.socket).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        // A client that says goodbye was read last; when the library says it, that was written last.
        let spoke_last = this.line.spoke_last.load(Ordering::Acquire);
        this.line.ended_by_server.store(spoke_last, Ordering::Release);
        // The library reads until the client ends its half, too. A client that has said goodbye may keep it open for ever.
        this.last_words.get_or_insert_with(|| Box::pin(sleep(LAST_WORDS)));
        Pin::new(&mut this.socket).poll_shutdown(cx)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};

    use super::super::ahead::{self, Budget};
    use super::*;

    #[tokio::test]
    async fn bytes_pass_unchanged_and_are_counted() {
        let (near, mut far) = tokio::io::duplex(1 << 20);
        let (mut stream, line) = WatchedStream::new(near, &[]);
        let data: Vec<u8> = (0..200_000u32).map(|n| (n % 251) as u8).collect();
        far.write_all(&data).await.unwrap();
        let mut read = vec![0; data.len()];
        for chunk in read.chunks_mut(4097) {
            stream.read_exact(chunk).await.unwrap();
        }
        assert_eq!(read, data);
        stream.write_all(&data[..1000]).await.unwrap();
        assert_eq!((line.bytes_in(), line.bytes_out()), (200_000, 1000));
        stream.write_all(&data[..1000]).await.unwrap();
        assert_eq!((line.bytes_in(), line.bytes_out()), (200_000, 2000));
        assert_eq!(line.client_version(), None);
        assert_eq!(line.algorithms(), None);
    }

    #[tokio::test]
    async fn a_connection_on_which_nothing_comes_holds_no_buffer() {
        let (near, mut far) = tokio::io::duplex(1 << 20);
        let (mut stream, _line) = WatchedStream::new(near, b"early");
        far.write_all(&[7; 3000]).await.unwrap();
        let mut read = [0; 3005];
        stream.read_exact(&mut read).await.unwrap();
        assert!(stream.buffer.capacity() > 0, "more may come at once");
        let waits = tokio::time::timeout(Duration::from_millis(20), stream.read_u8()).await;
        assert!(waits.is_err());
        assert_eq!(stream.buffer.capacity(), 0);
        far.write_all(b"x").await.unwrap();
        assert_eq!(stream.read_u8().await.unwrap(), b'x', "it goes on");
    }

    #[tokio::test]
    async fn a_client_that_says_little_is_given_little_room_and_one_that_sends_much_is_given_more() {
        let (near, mut far) = tokio::io::duplex(1 << 20);
        let (mut stream, _line) = WatchedStream::new(near, &[]);
        far.write_all(&[7; 100]).await.unwrap();
        assert_eq!(stream.read_u8().await.unwrap(), 7);
        assert!(stream.buffer.capacity() <= SMALL_READ);
        far.write_all(&vec![7; 4 * READ_BUFFER]).await.unwrap();
        let mut read = vec![0; 99 + SMALL_READ];
        stream.read_exact(&mut read).await.unwrap();
        assert_eq!(stream.read_u8().await.unwrap(), 7);
        assert_eq!(stream.buffer.len(), READ_BUFFER - 1);
        let mut read = vec![0; 4 * READ_BUFFER - SMALL_READ - 1];
        stream.read_exact(&mut read).await.unwrap();
        far.write_all(&[7; 100]).await.unwrap();
        let mut read = [0; 100];
        stream.read_exact(&mut read).await.unwrap();
        far.write_all(&[7; 100]).await.unwrap();
        stream.read_exact(&mut read).await.unwrap();
        assert_eq!(stream.room, SMALL_READ, "as before");
    }

    #[tokio::test]
    async fn what_was_read_before_comes_first_and_counts() {
        let (near, mut far) = tokio::io::duplex(64);
        let (mut stream, line) = WatchedStream::new(near, b"SSH-2.0-early\r\n");
        assert_eq!((line.bytes_in(), line.client_version().as_deref()), (15, Some("SSH-2.0-early")));
        far.write_all(b"late").await.unwrap();
        let mut all = [0; 19];
        stream.read_exact(&mut all).await.unwrap();
        assert_eq!(&all, b"SSH-2.0-early\r\nlate");
        assert_eq!(line.bytes_in(), 19);
    }

    #[tokio::test]
    async fn a_client_that_closes_its_half_and_takes_nothing_stops_no_write() {
        let (near, mut far) = tokio::io::duplex(64);
        let (mut stream, line) = WatchedStream::new(near, &[]);
        let writing = tokio::spawn(async move {
            stream.write_all(&[7; 1000]).await.unwrap();
            stream.flush().await.unwrap();
            let mut rest = Vec::new();
            stream.read_to_end(&mut rest).await.unwrap();
            rest
        });
        far.write_all(b"the last").await.unwrap();
        tokio::time::sleep(Duration::from_millis(50)).await;
        assert!(!writing.is_finished(), "while its half is open, it is waited for");
        far.write_all(b" words").await.unwrap();
        far.shutdown().await.unwrap();
        let rest = tokio::time::timeout(Duration::from_secs(600), writing).await.unwrap().unwrap();
        assert_eq!(rest, b"the last words", "what it asked before is still read");
        assert_eq!((line.bytes_in(), line.bytes_out()), (14, 64));
    }

    #[tokio::test]
    async fn a_client_that_keeps_its_half_open_is_not_read_for_ever() {
        let (near, mut far) = tokio::io::duplex(64);
        let (mut stream, _line) = WatchedStream::new(near, &[]);
        stream.shutdown().await.unwrap();
        far.write_all(b"on").await.unwrap();
        let mut read = [0; 2];
        stream.read_exact(&mut read).await.unwrap();
        let ended = tokio::time::Instant::now();
        assert_eq!(stream.read(&mut read).await.unwrap(), 0, "as if it had ended its half");
        assert!(ended.elapsed() > LAST_WORDS / 2, "it has some time");
        far.write_all(b"and on").await.unwrap();
        assert_eq!(stream.read(&mut read).await.unwrap(), 0);
    }

    #[tokio::test]
    async fn what_is_read_ahead_stays_within_the_buffer() {
        let (near, mut far) = tokio::io::duplex(4 * READ_BUFFER);
        let (mut stream, line) = WatchedStream::new(near, &[]);
        let sent: Vec<u8> = (0..3 * READ_BUFFER).map(|n| (n % 251) as u8).collect();
        far.write_all(&sent).await.unwrap();
        let mut answers = vec![7; 5 * READ_BUFFER];
        let waits = tokio::time::timeout(Duration::from_millis(50), stream.write_all(&answers)).await;
        assert!(waits.is_err() && line.bytes_in() == READ_BUFFER as u64, "{} bytes were read", line.bytes_in());
        // It goes on where it was when the client takes something.
        answers.truncate(4 * READ_BUFFER);
        far.read_exact(&mut answers).await.unwrap();
        let mut read = vec![0; sent.len()];
        stream.read_exact(&mut read).await.unwrap();
        assert_eq!(read, sent);
    }

    const MIB: usize = 1 << 20;

    /// A stream inside another connection to which `sent` bytes come while its client takes no answers: whether it goes on.
    async fn goes_on(budget: &Budget, sent: usize, has_logged_in: bool) -> (bool, WatchedStream<DuplexStream>) {
        let (near, mut far) = tokio::io::duplex(21 * MIB);
        let (stream, line) = WatchedStream::new(near, &[]);
        let mut stream = stream.reading_ahead(Ahead::new(budget.clone()));
        if has_logged_in {
            line.note_login();
        }
        // Nothing is left of the room for answers.
        stream.write_all(&vec![7; 21 * MIB]).await.unwrap();
        far.write_all(&vec![7; sent]).await.unwrap();
        let all_come = async {
            while line.bytes_in() < sent as u64 {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        let goes_on = tokio::select! {
            written = stream.write_all(&[7]) => {
                assert_eq!(written.unwrap_err().kind(), io::ErrorKind::ConnectionAborted);
                false
            }
            () = all_come => true,
        };
        (goes_on, stream)
    }

    #[tokio::test]
    async fn a_stream_inside_another_connection_holds_little_before_the_login_and_then_what_others_leave() {
        let budget = Budget::default();
        assert!(goes_on(&budget, ahead::OWN - 1, false).await.0);
        assert!(!goes_on(&budget, ahead::OWN + 1, false).await.0);
        let (is_there, mut first) = goes_on(&budget, 20 * MIB, true).await;
        assert!(is_there);
        assert!(!goes_on(&budget, 20 * MIB, true).await.0, "the first one has most of it");
        let (is_there, _second) = goes_on(&budget, 10 * MIB, true).await;
        assert!(is_there);
        // What was read is free for others.
        first.read_exact(&mut vec![0; 20 * MIB]).await.unwrap();
        assert_eq!(first.buffer.capacity(), 0);
        assert!(goes_on(&budget, 20 * MIB, true).await.0);
    }

    #[tokio::test]
    async fn the_kill_switch_wakes_a_waiting_reader() {
        let (near, _far) = tokio::io::duplex(64);
        let (mut stream, line) = WatchedStream::new(near, &[]);
        let waiting = tokio::spawn(async move { stream.read_u8().await });
        tokio::time::sleep(Duration::from_millis(20)).await;
        line.kill();
        let error = tokio::time::timeout(Duration::from_secs(600), waiting).await.unwrap().unwrap().unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::ConnectionAborted);
    }
}
