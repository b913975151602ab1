//! A client's end of an in-memory channel.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::mpsc;
use tokio::time::timeout;

use crate::session::channel::{Closed, Incoming, Outgoing};

/// How long a test waits for the other side before it fails.
const LATE: Duration = Duration::from_secs(10);

/// What a client does.
pub struct Client {
    to: Option<mpsc::Sender<Bytes>>,
    from: mpsc::Receiver<Bytes>,
    errors: mpsc::UnboundedReceiver<Bytes>,
    read: VecDeque<u8>,
    is_lost: Arc<AtomicBool>,
}

/// The server's receiving half.
pub struct ClientBytes(mpsc::Receiver<Bytes>, Arc<AtomicBool>);

/// The server's sending half.
pub struct ToClient(mpsc::Sender<Bytes>, mpsc::UnboundedSender<Bytes>);

/// A client and the server's two halves. Each direction holds one message.
pub fn client() -> (Client, ClientBytes, ToClient) {
    let (to, incoming) = mpsc::channel(1);
    let (outgoing, from) = mpsc::channel(1);
    let (error_stream, errors) = mpsc::unbounded_channel();
    let is_lost: Arc<AtomicBool> = Arc::default();
    let client = Client { to: Some(to), from, errors, read: VecDeque::new(), is_lost: Arc::clone(&is_lost) };
    (client, ClientBytes(incoming, is_lost), ToClient(outgoing, error_stream))
}

impl Incoming for ClientBytes {
    async fn next(&mut self) -> Option<Bytes> {
        self.0.recv().await
    }

    fn is_cut(&self) -> bool {
        self.1.load(Ordering::Acquire)
    }
}

impl Outgoing for ToClient {
    async fn send(&mut self, data: Bytes) -> Result<(), Closed> {
        self.0.send(data).await.map_err(|_| Closed)
    }

    async fn send_error(&mut self, data: Bytes) -> Result<(), Closed> {
        self.1.send(data).map_err(|_| Closed)
    }
}

impl Client {
    /// Sends one message; waits while the server takes none.
    pub async fn send(&mut self, data: impl Into<Bytes>) {
        if let Some(to) = &self.to {
            // A server that has ended takes nothing any more.
            let _ = to.send(data.into()).await;
        }
    }

    /// Ends the sending direction.
    pub fn end(&mut self) {
        self.to = None;
    }

    /// Loses the connection.
    pub fn lose(&mut self) {
        self.is_lost.store(true, Ordering::Release);
        self.to = None;
    }

    /// Everything up to `length` bytes, or to the server's end.
    pub async fn read(&mut self, length: usize) -> Vec<u8> {
        while self.read.len() < length {
            match timeout(LATE, self.from.recv()).await.expect("the server neither sends nor ends") {
                Some(data) => self.read.extend(data),
                None => break,
            }
        }
        let length = length.min(self.read.len());
        self.read.drain(..length).collect()
    }

    /// Everything to the server's end.
    pub async fn read_all(&mut self) -> Vec<u8> {
        self.read(usize::MAX).await
    }

    /// A line with its line feed.
    pub async fn line(&mut self) -> String {
        let mut line = Vec::new();
        while line.last() != Some(&b'\n') {
            match self.read(1).await.as_slice() {
                [byte] => line.push(*byte),
                _ => break,
            }
        }
        String::from_utf8_lossy(&line).into_owned()
    }

    /// What comes on the error stream next.
    pub async fn wait_for_errors(&mut self) -> String {
        let data = timeout(LATE, self.errors.recv()).await.expect("the server says nothing").unwrap_or_default();
        String::from_utf8_lossy(&data).into_owned()
    }
}
