//! One open file: what serves it owns the transfer and does what is asked of it, in order.

use std::sync::Arc;

use bytes::Bytes;
use russh_sftp::protocol::StatusCode;
use tokio::sync::mpsc::{Receiver, Sender};
use tokio::sync::oneshot;

use super::extension;
use super::handle::{Channel, Handle};
use super::limits::MAX_DATA;
use super::outbox::Hold;
use super::paths::Closing;
use super::queue::{Job, Piece, Work};
use super::reply::Reply;
use crate::session::{ErrorKind, SessionError, SessionResult, Transfer};

/// What a reply to READ takes besides its data.
const DATA_OVERHEAD: usize = 64;

/// The highest offset of a file's end: what `off_t` holds.
const MAX_OFFSET: u64 = i64::MAX.unsigned_abs();

/// An open file.
pub(super) struct File {
    pub(super) channel: Arc<Channel>,
    pub(super) handle: Arc<Handle>,
    pub(super) transfer: Transfer,
    /// Its place among the open handles.
    pub(super) room: Hold,
    /// A copy into the file has failed, and nothing was written since: a CLOSE must not publish what there is. OpenSSH's `cp`
    /// closes the file as if nothing had happened, and had cut it to nothing when it opened it.
    pub(super) is_incomplete: bool,
}

impl File {
    /// Serves the file until it is closed or cut off. Either is recorded when this returns.
    pub(super) async fn serve(mut self) {
        while let Some(job) = self.handle.queue.next().await {
            match job {
                Job::Read { id, offset, length } => self.read(id, offset, length).await,
                Job::Other { id, hold, work: Work::Close(closing) } => return self.close(id, hold, closing).await,
                Job::Other { id, work: Work::Check(check), .. } => {
                    if let Some((reply, hold)) = check.answer(id, &self.channel, &mut self.transfer).await {
                        self.channel.outbox.send_reserved(reply, hold);
                    }
                }
                Job::Other { id, hold, work } => {
                    if let Some(reply) = self.work(id, work).await {
                        self.channel.outbox.send(reply, hold);
                    }
                }
            }
        }
        self.transfer.cut_off("the channel ended before the file was closed").await;
    }

    async fn close(self, id: u32, hold: Hold, _closing: Option<Closing>) {
        let File { channel, handle, transfer, room, .. } = self;
        if self.is_incomplete {
            let message = format!("{}: nothing was stored, because the copy into it failed", handle.path);
            transfer.cut_off("the copy into it failed").await;
            drop(room);
            let error = SessionError::new(ErrorKind::InvalidRequest, message);
            return channel.outbox.send(Reply::error(id, error), hold);
        }
        let result = transfer.close().await;
        // A client may open the next file as soon as it has the answer.
        drop(room);
        channel.outbox.send(Reply::of(id, result), hold);
    }

    async fn read(&mut self, id: u32, offset: u64, length: u32) {
        let length = usize::try_from(length).unwrap_or(MAX_DATA).min(MAX_DATA);
        let Some(hold) = self.channel.outbox.reserve(length + DATA_OVERHEAD).await else {
            return;
        };
        let reply = match self.read_at(offset, length).await {
            // As OpenSSH: no bytes asked for is no end of the file.
            Ok(data) if data.is_empty() && length > 0 => Reply::end(id),
            Ok(data) => Reply::Data { id, data },
            Err(error) => Reply::error(id, error),
        };
        self.channel.outbox.send_reserved(reply, hold);
    }

    async fn read_at(&mut self, offset: u64, length: usize) -> SessionResult<Bytes> {
        if offset > MAX_OFFSET {
            return Ok(Bytes::new());
        }
        self.transfer.read_at(offset, length).await
    }

    async fn read_to_copy(&mut self, offset: u64, length: usize) -> SessionResult<Bytes> {
        if offset > MAX_OFFSET {
            return Ok(Bytes::new());
        }
        self.transfer.read_to_copy(offset, length).await
    }

    /// Does one thing. Its reply, if it is the one to reply.
    async fn work(&mut self, id: u32, work: Work) -> Option<Reply> {
        Some(match work {
            Work::Write { offset, data, budget } => {
                let result = self.write_at(offset, data).await;
                drop(budget);
                self.is_incomplete &= result.is_err();
                Reply::of(id, result)
            }
            Work::Stat => Reply::Attributes { id, attributes: self.transfer.attributes() },
            Work::SetStat(change) => Reply::of(id, self.transfer.set_attributes(&change).await),
            Work::ReadDirectory => Reply::failure(id, StatusCode::Failure, "the handle is not a directory"),
            // What was written before has been accepted; it is durable when CLOSE succeeds, and not before.
            Work::Sync => Reply::ok(id),
            Work::FileSystem => {
                extension::file_system_reply(id, self.channel.session.capacity(&self.handle.path).await)
            }
            Work::CopyOut { offset, length, to } => {
                self.copy_out(offset, length, to).await;
                return None;
            }
            Work::CopyIn { offset, from } => {
                let result = self.copy_in(offset, from).await;
                self.is_incomplete = result.is_err() && self.transfer.is_upload();
                Reply::of(id, result)
            }
            Work::Mark(marker) => {
                drop(marker);
                return None;
            }
            Work::Check(_) | Work::Close(_) => return None,
        })
    }

    async fn write_at(&mut self, offset: u64, data: Bytes) -> SessionResult<()> {
        let length = u64::try_from(data.len()).unwrap_or(u64::MAX);
        if offset.checked_add(length).is_none_or(|end| end > MAX_OFFSET) {
            let message = format!("{}: no file reaches so far", self.handle.path);
            return Err(SessionError::new(ErrorKind::InvalidRequest, message));
        }
        self.transfer.write_at(offset, data).await
    }

    /// Reads `length` bytes, or all for 0, for another handle. Ends early when that one has gone.
    async fn copy_out(&mut self, mut offset: u64, length: u64, to: Sender<Piece>) {
        if let Some(whole) = self.transfer.whole(offset, length) {
            let (answer, taken) = oneshot::channel();
            if to.send(Piece::Whole(whole.clone(), answer)).await.is_err() {
                return;
            }
            if taken.await == Ok(true) {
                self.transfer.was_copied(&whole);
                let _ = to.send(Piece::Done).await;
                return;
            }
        }
        let mut left = if length == 0 { u64::MAX } else { length };
        while left > 0 {
            let wanted = usize::try_from(left).unwrap_or(MAX_DATA).min(MAX_DATA);
            let piece = match self.read_to_copy(offset, wanted).await {
                Ok(data) if data.is_empty() => break,
                Ok(data) => data,
                Err(error) => {
                    let _ = to.send(Piece::Failed(error)).await;
                    return;
                }
            };
            let read = u64::try_from(piece.len()).unwrap_or(left);
            offset = offset.saturating_add(read);
            left = left.saturating_sub(read);
            if to.send(Piece::Data(piece)).await.is_err() {
                return;
            }
        }
        let _ = to.send(Piece::Done).await;
    }

    async fn copy_in(&mut self, mut offset: u64, mut from: Receiver<Piece>) -> SessionResult<()> {
        loop {
            match from.recv().await {
                Some(Piece::Whole(whole, taken)) => {
                    let is_taken = offset == 0 && self.transfer.become_copy(&whole).await?;
                    let _ = taken.send(is_taken);
                }
                Some(Piece::Data(data)) => {
                    let length = u64::try_from(data.len()).unwrap_or(u64::MAX);
                    self.write_at(offset, data).await?;
                    offset = offset.saturating_add(length);
                }
                Some(Piece::Failed(error)) => return Err(error),
                Some(Piece::Done) => return Ok(()),
                None => {
                    let message = format!("{}: the file that it was copied from was closed", self.handle.path);
                    return Err(SessionError::new(ErrorKind::InvalidRequest, message));
                }
            }
        }
    }
}
