//! SFTP version 3 (draft-ietf-secsh-filexfer-02) with OpenSSH's extensions: a codec in front of [`Session`].
//!
//! One channel is a few tasks:
//!
//! ```text
//! client ─▶ reader ─┬─▶ paths ─ opens ─▶ one task a handle: file, directory
//!                   ├─▶ queue of a handle ─▶┘      │
//!                   └──────────────┬───────────────┘ replies
//! client ◀─ send_all ◀── outbox ◀──┘
//! ```
//!
//! What may be asked, and what follows from that, is `table`. `reader` (frames in `frame`, packets in `request`) never waits on anything that needs the client to read. The tasks that
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

use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use crate::session::Session;
use crate::session::channel::{Incoming, Outgoing};
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
    let (outbox, replies) = Outbox::new();
    let opened = session.limited_to(table::scope_of_handles());
    let (handles, checks) = (Handles::new(), check_file::turns());
    let channel = Arc::new(Channel { whole: session, session: Arc::new(opened), outbox, handles, checks });
    let (paths, path_jobs) = mpsc::unbounded_channel();

    // Two sets, so that each can be awaited alone, and dropping this future aborts both.
    let mut sending = JoinSet::new();
    sending.spawn(outbox::send_all(replies, outgoing));
    let mut serving = JoinSet::new();
    serving.spawn(paths::serve(Arc::clone(&channel), path_jobs));

    // The reader takes the queue of paths with it, so its end is theirs.
    let ended = Reader::new(Arc::clone(&channel), paths).run(incoming).await;
    channel.outbox.end_reservations();
    serving.join_next().await;
    drop(channel);
    let _ = tokio::time::timeout(limits::FLUSH_LIMIT, sending.join_next()).await;
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
