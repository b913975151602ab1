//! A client on the other side of an in-memory pipe, with a window and a bounded buffer as an SSH channel has them.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::{packet, string};
use crate::session::Session;
use crate::session::channel::{Closed, Incoming, Outgoing};
use crate::sftp::{Ended, serve};

/// What OpenSSH's clients and paramiko grant.
pub(super) const WINDOW: usize = 2 * 1024 * 1024;

/// How long anything may take that is not to hang.
const PATIENCE: Duration = Duration::from_secs(20);

/// How many messages wait for the reader before whoever delivers them must wait.
const BUFFERED: usize = 16;

struct PipeIn(mpsc::Receiver<Bytes>);

impl Incoming for PipeIn {
    async fn next(&mut self) -> Option<Bytes> {
        self.0.recv().await
    }

    fn is_cut(&self) -> bool {
        false
    }
}

struct PipeOut {
    window: Arc<Semaphore>,
    replies: mpsc::UnboundedSender<Bytes>,
}

impl Outgoing for PipeOut {
    async fn send(&mut self, mut data: Bytes) -> Result<(), Closed> {
        while !data.is_empty() {
            let piece = data.split_to(data.len().min(32 * 1024));
            let permits = u32::try_from(piece.len()).unwrap();
            self.window.acquire_many(permits).await.map_err(|_| Closed)?.forget();
            self.replies.send(piece).map_err(|_| Closed)?;
        }
        Ok(())
    }

    async fn send_error(&mut self, _: Bytes) -> Result<(), Closed> {
        Ok(())
    }
}

/// A reply as it came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Answer {
    pub(super) kind: u8,
    pub(super) id: u32,
    /// What follows the id.
    pub(super) rest: Bytes,
}

impl Answer {
    /// The code of a STATUS.
    pub(super) fn status(&self) -> u32 {
        assert_eq!(self.kind, 101, "{self:?}");
        self.rest.clone().get_u32()
    }

    /// The first string of what follows: a handle, data.
    pub(super) fn string(&self) -> Bytes {
        assert!(matches!(self.kind, 102 | 103), "{self:?}");
        let mut rest = self.rest.clone();
        let length = rest.get_u32();
        rest.split_to(usize::try_from(length).unwrap())
    }

    /// The names of a NAME.
    pub(super) fn names(&self) -> Vec<String> {
        assert_eq!(self.kind, 104, "{self:?}");
        let mut rest = self.rest.clone();
        let count = rest.get_u32();
        let text = |rest: &mut Bytes| {
            let length = usize::try_from(rest.get_u32()).unwrap();
            String::from_utf8(rest.split_to(length).to_vec()).unwrap()
        };
        let names = (0..count)
            .map(|_| {
                let name = text(&mut rest);
                text(&mut rest);
                let flags = rest.get_u32();
                let size =
                    [(1, 8), (2, 8), (4, 4), (8, 8)].iter().filter(|(f, _)| flags & f != 0).map(|(_, n)| n).sum();
                rest.advance(size);
                name
            })
            .collect();
        assert!(rest.is_empty(), "what is left: {rest:?}");
        names
    }
}

/// A client that sends packets and takes replies when the test says so.
pub(super) struct Client {
    requests: Option<mpsc::Sender<Bytes>>,
    replies: mpsc::UnboundedReceiver<Bytes>,
    window: Arc<Semaphore>,
    arrived: BytesMut,
    kept: VecDeque<Answer>,
    server: JoinHandle<Ended>,
    next_id: u32,
}

impl Client {
    /// A client of a new channel, before INIT.
    pub(super) fn connect(session: Arc<Session>) -> Client {
        let (requests, incoming) = mpsc::channel(BUFFERED);
        let (outgoing, replies) = mpsc::unbounded_channel();
        let window = Arc::new(Semaphore::new(WINDOW));
        let out = PipeOut { window: Arc::clone(&window), replies: outgoing };
        let server = tokio::spawn(serve(session, PipeIn(incoming), out));
        Client {
            requests: Some(requests),
            replies,
            window,
            arrived: BytesMut::new(),
            kept: VecDeque::new(),
            server,
            next_id: 1,
        }
    }

    /// A client that has done INIT.
    pub(super) async fn start(session: Arc<Session>) -> Client {
        let mut client = Client::connect(session);
        client.raw(&string([1, 0, 0, 0, 3])).await;
        let version = client.answer_raw().await;
        assert_eq!(version[..5], [2, 0, 0, 0, 3]);
        client
    }

    /// Sends bytes as they are, in pieces as SSH packets are; fails when the reader does not take them.
    pub(super) async fn raw(&self, data: &[u8]) {
        for piece in data.chunks(32 * 1024) {
            let requests = self.requests.as_ref().expect("EOF was sent");
            let sent = timeout(PATIENCE, requests.send(Bytes::copy_from_slice(piece))).await;
            sent.expect("the reader does not read").expect("the server is still there");
        }
    }

    /// As [`Client::raw`], for a server that may have ended.
    pub(super) async fn try_raw(&self, data: &[u8]) -> bool {
        let requests = self.requests.as_ref().expect("EOF was sent");
        let sent = timeout(PATIENCE, requests.send(Bytes::copy_from_slice(data))).await;
        sent.expect("the reader does not read").is_ok()
    }

    /// Sends a request; its id.
    pub(super) async fn ask(&mut self, kind: u8, fields: &[&[u8]]) -> u32 {
        let id = self.next_id();
        self.raw(&packet(kind, id, fields)).await;
        id
    }

    /// An id for a request that the test makes itself.
    pub(super) fn next_id(&mut self) -> u32 {
        let id = self.next_id;
        self.next_id += 1;
        id
    }

    async fn answer_raw(&mut self) -> Bytes {
        loop {
            if self.arrived.len() >= 4 {
                let length = usize::try_from((&self.arrived[..4]).get_u32()).unwrap();
                assert!(length <= 256 * 1024, "a reply of {length} bytes");
                if self.arrived.len() >= 4 + length {
                    self.arrived.advance(4);
                    return self.arrived.split_to(length).freeze();
                }
            }
            let piece =
                timeout(PATIENCE, self.replies.recv()).await.expect("no answer comes").expect("the server is there");
            self.window.add_permits(piece.len());
            self.arrived.extend_from_slice(&piece);
        }
    }

    /// The next reply, whatever it answers.
    pub(super) async fn answer(&mut self) -> Answer {
        if let Some(kept) = self.kept.pop_front() {
            return kept;
        }
        self.fresh_answer().await
    }

    async fn fresh_answer(&mut self) -> Answer {
        let mut raw = self.answer_raw().await;
        let (kind, id) = (raw.get_u8(), raw.get_u32());
        Answer { kind, id, rest: raw }
    }

    /// The reply to one request; others are kept in their order.
    pub(super) async fn answer_to(&mut self, id: u32) -> Answer {
        if let Some(place) = self.kept.iter().position(|kept| kept.id == id) {
            return self.kept.remove(place).unwrap();
        }
        loop {
            let answer = self.fresh_answer().await;
            if answer.id == id {
                return answer;
            }
            self.kept.push_back(answer);
        }
    }

    /// Sends a request and takes its reply.
    pub(super) async fn call(&mut self, kind: u8, fields: &[&[u8]]) -> Answer {
        let id = self.ask(kind, fields).await;
        self.answer_to(id).await
    }

    /// Opens a file; the handle as a string field.
    pub(super) async fn open(&mut self, path: &str, flags: u32) -> Vec<u8> {
        let answer = self.call(3, &[&string(path), &flags.to_be_bytes(), &[0; 4]]).await;
        string(answer.string())
    }

    /// Writes a whole file.
    pub(super) async fn put(&mut self, path: &str, data: &[u8]) {
        let handle = self.open(path, 0x1a).await;
        for (piece, offset) in data.chunks(32_768).zip((0u64..).step_by(32_768)) {
            let answer = self.call(6, &[&handle, &offset.to_be_bytes(), &string(piece)]).await;
            assert_eq!(answer.status(), 0);
        }
        assert_eq!(self.call(4, &[&handle]).await.status(), 0);
    }

    /// Ends the channel from the client's side.
    pub(super) fn eof(&mut self) {
        self.requests = None;
    }

    /// How the server ended it.
    pub(super) async fn ended(&mut self) -> Ended {
        self.ended_within(PATIENCE).await
    }

    /// How the server ended it, in this time.
    pub(super) async fn ended_within(&mut self, limit: Duration) -> Ended {
        timeout(limit, &mut self.server).await.expect("the channel does not end").unwrap()
    }

    /// As a connection that is killed: everything of the channel is dropped at once.
    pub(super) fn kill(&self) {
        self.server.abort();
    }

    /// Whether a reply waits that was not taken.
    pub(super) async fn is_silent_for(&mut self, time: Duration) -> bool {
        self.kept.is_empty() && timeout(time, self.replies.recv()).await.is_err()
    }
}
