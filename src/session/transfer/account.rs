//! What is counted of an open file, for its end event.

use std::sync::atomic::Ordering;
use std::time::Instant;

use aws_lc_rs::digest;
use bytes::Bytes;

use super::super::login::OpenTransfer;
use super::super::operations::ignored_note;
use super::super::uploads::Upload;
use super::super::{ErrorKind, Session, SessionError, SessionResult, milliseconds};
use super::{File, OpenMode};
use crate::audit::{Activity, Outcome, TransferEnd};
use crate::path::LogicalPath;
use crate::stores::StoreErrorKind;
use crate::vfs::{Committed, VfsError, VfsResult};

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
    /// The digest of an upload for as long as it is written in order from its start. It is the file's if it has seen as much
    /// as the file holds at the end: a client that overwrites in place cuts the file to length after the last write.
    pub(super) digest: Option<Digest>,
    /// The file that it became a copy of; it may have been changed since.
    pub(super) copied_from: Option<LogicalPath>,
    _open: OpenTransfer,
}

/// SHA-256 of what was written so far.
pub(super) struct Digest {
    context: digest::Context,
    /// In bytes.
    pub(super) length: u64,
}

impl std::fmt::Debug for Digest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Digest").field("length", &self.length).finish_non_exhaustive()
    }
}

impl Account {
    /// Of a file that was opened at `started`.
    pub(super) fn new(session: &Session, path: &LogicalPath, mode: OpenMode, started: Instant) -> Self {
        let context = || Digest { context: digest::Context::new(&digest::SHA256), length: 0 };
        Account {
            session: session.clone(),
            path: path.clone(),
            mode,
            started,
            bytes_in: 0,
            bytes_out: 0,
            digest: mode.write.then(context),
            copied_from: None,
            _open: session.login.count_transfer(),
        }
    }

    /// The account of a transfer that is being dropped, for the task that ends it.
    pub(super) fn detached(&mut self) -> Account {
        Account {
            session: self.session.clone(),
            path: self.path.clone(),
            mode: self.mode,
            started: self.started,
            bytes_in: self.bytes_in,
            bytes_out: self.bytes_out,
            digest: None,
            copied_from: None,
            _open: self.session.login.count_transfer(),
        }
    }

    /// The file was not opened for this.
    pub(super) fn wrong(&self, what: &str) -> SessionError {
        SessionError::new(ErrorKind::InvalidRequest, format!("{} {what}", self.path))
    }

    /// What the end event of an upload says besides its success.
    pub(super) fn note(&self, committed: &Committed) -> Option<String> {
        let copied = self.copied_from.as_ref().filter(|_| committed.copied).map(|from| format!("a copy of {from}"));
        let ignored = if committed.mtime_kept { None } else { ignored_note(&["mtime"]) };
        match (copied, ignored) {
            (Some(copied), Some(ignored)) => Some(format!("{copied}; {ignored}")),
            (copied, ignored) => copied.or(ignored),
        }
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
        self.session.login.totals().bytes_in.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Counts what went to the client.
    pub(super) fn count_out(&mut self, bytes: u64) {
        self.bytes_out += bytes;
        self.session.login.totals().bytes_out.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Counts a file that was transferred whole.
    pub(super) fn count_file(&self) {
        let totals = self.session.login.totals();
        let files = if self.mode.write { &totals.files_in } else { &totals.files_out };
        files.fetch_add(1, Ordering::Relaxed);
    }

    /// Takes the next bytes of an upload into its digest, or gives the digest up when they are not the next.
    pub(super) fn digest(&mut self, offset: u64, data: &Bytes) {
        match &mut self.digest {
            Some(digest) if digest.length == offset => {
                digest.context.update(data);
                digest.length += data.len() as u64;
            }
            Some(_) => self.digest = None,
            None => {}
        }
    }

    /// A digest that has not seen all of what was published is not the file's.
    pub(super) fn judge_digest(&mut self, committed: &Committed, is_shared: bool) {
        if is_shared || self.digest.as_ref().is_some_and(|digest| digest.length != committed.size) {
            self.digest = None;
        }
    }

    /// The file is cut to `size`: a digest that has seen more is no longer the file's.
    pub(super) fn cut_digest(&mut self, size: u64) {
        if self.digest.as_ref().is_some_and(|digest| digest.length > size) {
            self.digest = None;
        }
    }

    /// Ends a file that was not closed, and records it.
    pub(super) async fn cut_off(&mut self, file: File, why: &str) {
        let (outcome, etag) = match file {
            File::Read(reader) => (Outcome::Failure(why.to_owned()), reader.etag().map(str::to_owned)),
            File::Unfinished(_) => (Outcome::Failure(why.to_owned()), None),
            File::Write(upload) => match self.cut_off_upload(&upload).await {
                Ok(None) => (Outcome::Failure(format!("{why}; nothing was published")), None),
                Ok(Some(committed)) => {
                    (Outcome::Failure(format!("{why}; what had arrived was published")), committed.etag)
                }
                Err(error) => (Outcome::Failure(format!("{why}; {}", SessionError::from(error).chain())), None),
            },
        };
        self.record_cut_off(outcome, etag).await;
    }

    /// Ends an upload, unless other handles go on with it. `Some` when it was published.
    async fn cut_off_upload(&mut self, upload: &Upload) -> VfsResult<Option<Committed>> {
        let mut content = upload.lock().await;
        let Some(place) = upload.place() else { return Ok(None) };
        self.path = place.path;
        match content.take_if(|_| !upload.has_others()) {
            Some(writer) => writer.cut_off().await,
            None => Ok(None),
        }
    }

    /// Records an upload that was closed after its file was removed: the client is answered with success, as on a disk, and no file
    /// has arrived.
    pub(super) async fn record_removed(&mut self) -> SessionResult<()> {
        let why = "the file was removed while it was written; nothing was published";
        let end = self.end(Outcome::Failure(why.to_owned()), None, false);
        self.session.recorder().record(&self.session.origin, Activity::PartialClose(end)).await?;
        Ok(())
    }

    /// Ends a file that the store had been asked to publish and has not answered, and records it.
    pub(super) async fn cut_off_in_close(&mut self) {
        let why = "the connection ended before the store had answered; whether the file was published is not known";
        self.record_cut_off(Outcome::Failure(why.to_owned()), None).await;
    }

    async fn record_cut_off(&mut self, outcome: Outcome, etag: Option<String>) {
        let end = self.end(outcome, etag, false);
        let session = &self.session;
        if let Err(error) = session.recorder().record(&session.origin, Activity::PartialClose(end)).await {
            tracing::error!(path = %self.path, %error, "a PARTIAL_CLOSE event was lost");
        }
    }

    /// The end event; `whole`: the file was closed.
    pub(super) fn end(&mut self, outcome: Outcome, etag: Option<String>, whole: bool) -> TransferEnd {
        let whole = whole && matches!(outcome, Outcome::Success | Outcome::SuccessBut(_));
        let sha256 = self.digest.take().filter(|_| whole).map(|digest| hex(digest.context.finish().as_ref()));
        TransferEnd {
            path: self.session.vfs().storage_path(&self.path),
            logical_path: self.path.to_string(),
            write: self.mode.write,
            bytes_in: self.mode.write.then_some(self.bytes_in),
            bytes_out: self.mode.read.then_some(self.bytes_out),
            outcome,
            duration_ms: milliseconds(self.started),
            sha256,
            etag,
        }
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
