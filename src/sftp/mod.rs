//! SFTP version 3 (draft-ietf-secsh-filexfer-02) with OpenSSH's extensions: a codec in front of [`Session`].
//!
//! One channel is a few futures in one task:
//!
//! ```text
//! client ─▶ reader ─┬─▶ paths ─ opens ─▶ one future a handle: file, directory
//!                   ├─▶ queue of a handle ─▶┘      │
//!                   └──────────────┬───────────────┘ replies
//! client ◀─ send_all ◀── outbox ◀──┘
//! ```
//!
//! What may be asked, and what follows from that, is `table`. `reader` (frames in `frame`, packets in `request`) never waits on anything that needs the client to read. Those that
//! fetch data wait for room in the `outbox` before they fetch. `limits` holds every bound, `status` the status codes, and
//! `docs/PROTOCOL.md` says what clients can count on.

mod attributes;
mod check_file;
mod directory;
mod extension;
mod file;
mod frame;
mod handle;
mod limits;
mod order;
mod outbox;
mod paths;
mod queue;
mod reader;
mod reply;
mod request;
mod status;
mod table;
#[cfg(test)]
mod tests;
mod wire;

use std::pin::pin;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::future;
use tokio::sync::mpsc;

use crate::session::Session;
use crate::session::channel::{Incoming, Outgoing};
use crate::together::together;
use frame::Frames;
use handle::{Channel, Handles};
use outbox::Outbox;
use reader::Reader;
use request::Packet;

/// How an SFTP channel ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// The client sent EOF or closed the channel between two packets.
    ByClient,
    /// The client broke the protocol; the channel must be closed.
    Protocol(&'static str),
}

/// Serves one SFTP channel until it ends. Every handle that is still open is cut off and recorded before this returns.
///
/// After the client's last byte, what it has already asked to be changed or closed is still done, for at most 30 seconds, and
/// the last replies have 5 seconds to be sent. Dropping the future cuts everything off at once.
pub async fn serve(session: Arc<Session>, incoming: impl Incoming, outgoing: impl Outgoing) -> Ended {
    together(serve_in_turns(session, incoming, outgoing)).await
}

async fn serve_in_turns(session: Arc<Session>, incoming: impl Incoming, outgoing: impl Outgoing) -> Ended {
    let (outbox, replies) = Outbox::new();
    let opened = session.limited_to(table::scope_of_handles());
    let (handles, checks) = (Handles::new(), check_file::turns());
    let channel = Arc::new(Channel { whole: session, session: Arc::new(opened), outbox, handles, checks });
    let (paths, path_jobs) = mpsc::unbounded_channel();

    // The reader takes the queue of paths with it, so its end is theirs.
    let reader = Reader::new(Arc::clone(&channel), paths);
    let serving = paths::serve(Arc::clone(&channel), path_jobs);
    let reading = async move {
        let ended = reader.run(incoming).await;
        channel.outbox.end_reservations();
        ended
    };
    let mut working = pin!(future::join(reading, serving));
    let mut sending = pin!(outbox::send_all(replies, outgoing));
    let mut can_send = true;
    // In the order in which a request passes them, so that one turn is often enough.
    let (ended, ()) = loop {
        tokio::select! {
            biased;
            done = &mut working => break done,
            _ = &mut sending, if can_send => can_send = false,
        }
    };
    if can_send {
        let _ = tokio::time::timeout(limits::FLUSH_LIMIT, sending).await;
    }
    ended
}

/// Cuts a client's bytes into packets and decodes each, as [`serve`] does, without doing anything: for fuzzing. `split` is the
/// size of the pieces in which the bytes arrive. How many packets were decoded, rightly or with an error, before the bytes or
/// their order ended.
pub fn decode_stream(stream: &[u8], split: usize) -> usize {
    let mut frames = Frames::default();
    let mut decoded = 0;
    for piece in stream.chunks(split.max(1)) {
        frames.push(Bytes::copy_from_slice(piece));
        loop {
            match frames.next() {
                Ok(Some(frame)) => {
                    let _ = Packet::decode(&frame);
                    decoded += 1;
                }
                Ok(None) => break,
                Err(_) => return decoded,
            }
        }
    }
    decoded
}
