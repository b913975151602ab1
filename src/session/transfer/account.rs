//! What is counted of an open file, for its end event.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use bytes::Bytes;

use super::super::file_digest::FileDigest;
use super::super::login::OpenTransfer;
use super::super::open_files::Opened;
use super::super::operations::ignored_note;
use super::super::{ErrorKind, Session, SessionError, milliseconds};
use super::OpenMode;
use crate::audit::{Activity, NOTHING_WAS_PUBLISHED, Outcome, Recorded, Reservation, TransferEnd, Unrecorded};
use crate::path::LogicalPath;
use crate::stores::StoreErrorKind;
use crate::vfs::{Committed, Reader, VfsError, Writer};

/// What the end event says.
#[derive(Debug)]
pub(super) struct Account {
    /// Whose it is.
    pub(super) session: Session,
    /// What was opened.
    pub(super) path: LogicalPath,
    /// How.
    pub(super) mode: OpenMode,
    started: Instant,
    bytes_in: u64,
    bytes_out: u64,
    bytes_copied: u64,
    /// The digest of what came. It is the file's if it has seen as much as the file holds at the end: a client that overwrites in
    /// place cuts the file to length after the last write.
    digest: Option<FileDigest>,
    /// What the digest came to, once nothing more is written.
    sha256: Option<String>,
    /// The file that it became a copy of; it may have been changed since.
    pub(super) copied_from: Option<LogicalPath>,
    /// It was closed as it had been opened, with nothing written.
    pub(super) unchanged: bool,
    /// How the transfer ended if nobody gets to say more; `None` once its end is on record.
    otherwise: Option<&'static str>,
    /// Room for the end event.
    room: Option<Reservation>,
    /// Shown in the list of live sessions.
    shown: Arc<Opened>,
    _open: OpenTransfer,
}

/// The most bytes that are read back for a digest, and so many at once. The answer to CLOSE waits for it.
const MOST_READ_BACK: u64 = 4 << 30;
const READ_BACK_PIECE: usize = 256 << 10;

/// How a transfer ends that is dropped.
const DROPPED: &str = "the connection ended with the file open";
/// The same while the store publishes the file.
const DROPPED_IN_CLOSE: &str =
    "the connection ended before the store had answered; whether the file was published is not known";

impl Account {
    /// Of a file that was opened at `started`; `size` is that of a file that is only read, and finished.
    pub(super) fn new(
        session: &Session,
        path: &LogicalPath,
        mode: OpenMode,
        started: Instant,
        size: Option<u64>,
    ) -> Self {
        let has_digest = mode.write || size.is_some();
        Account {
            session: session.clone(),
            path: path.clone(),
            mode,
            started,
            bytes_in: 0,
            bytes_out: 0,
            bytes_copied: 0,
            digest: has_digest.then(|| FileDigest::new(session.origin.user.clone().unwrap_or_default())),
            sha256: None,
            copied_from: None,
            unchanged: false,
            otherwise: Some(DROPPED),
            room: None,
            shown: Arc::new(session.login.open_files().add(path, mode.write, size)),
            _open: session.login.count_transfer(),
        }
    }

    /// The account of a transfer that is being dropped, for the task that ends it. This one has no end to record any more.
    pub(super) fn detached(&mut self) -> Account {
        Account {
            session: self.session.clone(),
            path: self.path.clone(),
            mode: self.mode,
            started: self.started,
            bytes_in: self.bytes_in,
            bytes_out: self.bytes_out,
            bytes_copied: self.bytes_copied,
            digest: None,
            sha256: None,
            copied_from: None,
            unchanged: self.unchanged,
            otherwise: self.otherwise.take(),
            room: self.room.take(),
            shown: self.shown.clone(),
            _open: self.session.login.count_transfer(),
        }
    }

    /// The file was not opened for this.
    pub(super) fn wrong(&self, what: &str) -> SessionError {
        SessionError::new(ErrorKind::InvalidRequest, format!("{} {what}", self.path))
    }

    /// The name that the file has now; `None` when it was removed or replaced on this connection.
    pub(super) fn name(&self) -> Option<LogicalPath> {
        self.shown.name()
    }

    /// What the end event of an upload says besides its success.
    pub(super) fn note(&self, committed: &Committed) -> Option<String> {
        let copied = self.copied_from.as_ref().filter(|_| committed.copied).map(|from| format!("a copy of {from}"));
        let ignored = if committed.mtime_kept { None } else { ignored_note(&["mtime"]) };
        let notes: Vec<String> = [copied, ignored, committed.left.clone()].into_iter().flatten().collect();
        if notes.is_empty() { None } else { Some(notes.join("; ")) }
    }

    /// A failure to publish; of a copy it may be its source that is gone or changed.
    pub(super) fn placed(&self, mut error: VfsError) -> VfsError {
        let of_source = matches!(error.kind(), StoreErrorKind::NotFound | StoreErrorKind::Changed);
        if let Some(from) = self.copied_from.as_ref().filter(|_| of_source) {
            error.left = Some(format!("{} was not made", self.path));
            error.path = from.clone();
        }
        error
    }

    /// Counts what came from the client.
    pub(super) fn count_in(&mut self, bytes: u64) {
        self.bytes_in += bytes;
        self.shown.count(bytes);
        self.session.login.totals().bytes_in.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Counts what went to the client.
    pub(super) fn count_out(&mut self, bytes: u64) {
        self.bytes_out += bytes;
        self.shown.count(bytes);
        self.session.login.totals().bytes_out.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Counts what went into another file.
    pub(super) fn count_copied(&mut self, bytes: u64) {
        self.bytes_copied += bytes;
    }

    /// Whether the file was opened to be read, and all that was read went into other files.
    fn is_copied_only(&self) -> bool {
        !self.mode.write && self.bytes_copied > 0 && self.bytes_out == 0
    }

    /// Whether anything was written by this handle.
    pub(super) fn has_taken_bytes(&self) -> bool {
        self.bytes_in > 0
    }

    /// Counts a file that was transferred whole; one that was only opened and closed is no transfer.
    pub(super) fn count_file(&self) {
        let totals = self.session.login.totals();
        if self.unchanged {
            return;
        }
        if self.mode.write {
            totals.files_in.fetch_add(1, Ordering::Relaxed);
        } else if !self.is_copied_only() {
            totals.files_out.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Takes bytes of an upload into its digest.
    pub(super) fn digest_written(&mut self, offset: u64, data: &Bytes) {
        if let Some(digest) = &mut self.digest {
            digest.written(offset, data);
        }
    }

    /// Takes bytes of a download into its digest.
    pub(super) fn digest_read(&mut self, offset: u64, data: &Bytes) {
        if let Some(digest) = &mut self.digest {
            digest.read(offset, data);
        }
    }

    /// The length of an upload is set to `size`.
    pub(super) fn digest_resized(&mut self, size: u64) {
        if let Some(digest) = &mut self.digest {
            digest.resized(size);
        }
    }

    /// Reads what the digest of an upload lacks, where the bytes are still on this machine. `is_shared`: others wrote to it too.
    ///
    /// # Errors
    /// The store's, of any write so far: then the file cannot be published.
    pub(super) async fn complete_digest(&mut self, writer: &mut Writer, is_shared: bool) -> Result<(), VfsError> {
        let Some(digest) = &mut self.digest else { return Ok(()) };
        if is_shared {
            digest.become_wrong();
        }
        let size = writer.size();
        let mut from = digest.missing_from(size);
        if from == size || size - from > MOST_READ_BACK || self.copied_from.is_some() || !writer.has_content() {
            return Ok(());
        }
        digest.begin_at(from);
        while from < size {
            let data = writer.read_kept(from, READ_BACK_PIECE).await?;
            let Some(data) = data.filter(|data| !data.is_empty()) else {
                digest.become_wrong();
                return Ok(());
            };
            digest.follow(&data);
            from += data.len() as u64;
        }
        Ok(())
    }

    /// Nothing more comes of a file of `size` bytes: what the digest is, if it is the file's.
    pub(super) fn settle_digest(&mut self, size: u64) -> Option<&str> {
        self.sha256 = self.digest.take().and_then(|digest| digest.finish(size));
        self.sha256.as_deref()
    }

    /// Takes room for the end event before anything is done that it tells of.
    pub(super) async fn reserve(&mut self) -> Result<(), Unrecorded> {
        let stored = self.session.vfs().storage_path(&self.path).map_or(0, |path| path.len());
        let room = self.session.login.reserve(stored + self.path.to_string().len()).await?;
        self.room = Some(room);
        Ok(())
    }

    /// The store is asked to publish the file: whatever happens now, it may have done it.
    pub(super) fn publishing(&mut self) {
        self.otherwise = Some(DROPPED_IN_CLOSE);
    }

    /// Records that the file was closed, or that it could not be, without waiting.
    pub(super) fn closed(&mut self, outcome: Outcome, etag: Option<String>) -> Recorded {
        let failed = matches!(outcome, Outcome::Denied(_) | Outcome::Failure(_));
        let end = self.end(outcome, etag, true);
        self.fill(&if failed { Activity::CloseFailed(end) } else { Activity::Close(end) })
    }

    /// Records, without waiting, an upload that was closed after its file was removed: the client is answered with success, as on a
    /// disk, and no file has arrived.
    pub(super) fn removed(&mut self) -> Recorded {
        self.cut_off_now(&format!("the file was removed or replaced while it was written; {NOTHING_WAS_PUBLISHED}"))
    }

    /// Records that a download was not closed, without waiting.
    pub(super) fn cut_off_reading(&mut self, reader: &Reader, why: &str) -> Recorded {
        self.partly_closed(Outcome::Failure(why.to_owned()), reader.etag().map(str::to_owned))
    }

    /// Records that a file was not closed, without waiting.
    pub(super) fn cut_off_now(&mut self, why: &str) -> Recorded {
        self.partly_closed(Outcome::Failure(why.to_owned()), None)
    }

    pub(super) fn partly_closed(&mut self, outcome: Outcome, etag: Option<String>) -> Recorded {
        let end = self.end(outcome, etag, false);
        self.fill(&Activity::PartialClose(end))
    }

    fn fill(&mut self, activity: &Activity) -> Recorded {
        self.otherwise = None;
        let room = self.room.take().unwrap_or_else(|| self.session.recorder().reserve_late());
        room.fill(&self.session.origin, activity)
    }

    /// The end event; `whole`: the file was closed.
    pub(super) fn end(&mut self, outcome: Outcome, etag: Option<String>, whole: bool) -> TransferEnd {
        let whole = whole && matches!(outcome, Outcome::Success | Outcome::SuccessBut(_));
        let sha256 = self.sha256.take().filter(|_| whole);
        TransferEnd {
            path: self.session.vfs().storage_path(&self.path),
            logical_path: self.path.to_string(),
            write: self.mode.write,
            bytes_in: self.mode.write.then_some(self.bytes_in),
            bytes_out: self.mode.read.then_some(self.bytes_out),
            bytes_copied: (self.bytes_copied > 0).then_some(self.bytes_copied),
            outcome,
            duration_ms: milliseconds(self.started),
            sha256,
            etag,
            unchanged: whole && self.unchanged,
        }
    }
}

impl Drop for Account {
    fn drop(&mut self) {
        if let Some(why) = self.otherwise {
            // Nobody is left to be told.
            drop(self.partly_closed(Outcome::Failure(why.to_owned()), None));
        }
    }
}
