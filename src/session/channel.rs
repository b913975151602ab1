//! The two halves of a byte channel that a codec speaks over: an SSH channel in the gateway, a pipe in tests.

use std::future::Future;

use bytes::Bytes;

/// The client has gone or closed the channel: nothing can be sent any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the client closed the channel")]
pub struct Closed;

/// What arrives from the client.
pub trait Incoming: Send + 'static {
    /// The next bytes, never empty; `None` when the client sent EOF, closed the channel or went away.
    fn next(&mut self) -> impl Future<Output = Option<Bytes>> + Send;

    /// Whether the connection was lost: it ended before the client had closed the channel or its half of it. Known once
    /// [`Incoming::next`] has said `None`.
    fn is_cut(&self) -> bool;
}

/// What goes to the client.
pub trait Outgoing: Send + 'static {
    /// Sends bytes; waits while the client's window is full. Whoever reads [`Incoming`] must never wait on this.
    fn send(&mut self, data: Bytes) -> impl Future<Output = Result<(), Closed>> + Send;

    /// Sends bytes on the error stream, for a person to read.
    fn send_error(&mut self, data: Bytes) -> impl Future<Output = Result<(), Closed>> + Send;
}
