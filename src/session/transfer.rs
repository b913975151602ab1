//! Open files: the accounting of a transfer, with exactly one end event.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use aws_lc_rs::digest;
use bytes::Bytes;
use tokio::runtime::Handle;

use crate::audit::{Activity, Outcome, TransferEnd, TransferStart};
use crate::path::LogicalPath;
use crate::policy::Operation;
use crate::stores::{Existing, Kind, StoreErrorKind};
use crate::vfs::{self, Committed, Reader, WriteMode, Writer};

use super::login::OpenTransfer;
use super::operations::ignored_note;
use super::uploads::Progress;
use super::{AttributeChange, Attributes, ErrorKind, Session, SessionError, SessionResult, milliseconds, outcome_of};

/// How a client opens a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct OpenMode {
    /// Wants to read.
    pub read: bool,
    /// Wants to write.
    pub write: bool,
    /// Every write goes to the end, whatever its offset.
    pub append: bool,
    /// Make the file if it is not there.
    pub create: bool,
    /// Existing content goes.
    pub truncate: bool,
    /// Fail if it is there (only with `create`).
    pub exclusive: bool,
}

impl OpenMode {
    /// As Transfer Family's `mode` field: `READ`, `CREATE|TRUNCATE|WRITE`.
    fn name(self) -> String {
        let flags = [
            (self.create, "CREATE"),
            (self.exclusive, "EXCLUSIVE"),
            (self.truncate, "TRUNCATE"),
            (self.append, "APPEND"),
            (self.read, "READ"),
            (self.write, "WRITE"),
        ];
        flags.iter().filter(|(set, _)| *set).map(|(_, name)| *name).collect::<Vec<_>>().join("|")
    }
}

/// An open file. Dropping it without [`Transfer::close`] cuts the transfer off: PARTIAL_CLOSE is recorded, and an upload is not
/// published (unless the operator chose that).
#[derive(Debug)]
pub struct Transfer {
    file: Option<File>,
    account: Account,
}

#[derive(Debug)]
enum File {
    Read(Box<Reader>),
    Write(Box<Writer>),
}

/// What the end event says.
#[derive(Debug)]
struct Account {
    session: Session,
    path: LogicalPath,
    mode: OpenMode,
    started: Instant,
    bytes_in: u64,
    bytes_out: u64,
    /// The digest of an upload for as long as it is written in order from its start. It is the file's if it has seen as much
    /// as the file holds at the end: a client that overwrites in place cuts the file to length after the last write.
    digest: Option<Digest>,
    /// What others on the connection see of an upload.
    progress: Arc<Progress>,
    _open: OpenTransfer,
}

struct Digest {
    context: digest::Context,
    length: u64,
}

impl std::fmt::Debug for Digest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Digest").field("length", &self.length).finish_non_exhaustive()
    }
}

impl Session {
    /// Opens a file. Records OPEN, whether it succeeds or not.
    ///
    /// # Errors
    /// When the policy or the store refuses, the mode makes no sense, or nothing can be recorded.
    pub async fn open(
        &self,
        path: &LogicalPath,
        mode: OpenMode,
        attributes: &AttributeChange,
    ) -> SessionResult<Transfer> {
        let _busy = self.login.busy();
        let started = Instant::now();
        self.recorder().ready()?;
        let mut opened = self.open_file(path, mode).await;
        let ignored = if mode.write { attributes.unkept() } else { Vec::new() };
        if let (Ok(File::Write(writer)), Some(mtime)) = (&mut opened, attributes.mtime) {
            writer.set_mtime(mtime);
        }
        let activity = Activity::Open(TransferStart {
            path: self.vfs().storage_path(path),
            logical_path: path.to_string(),
            mode: mode.name(),
            write: mode.write,
            outcome: outcome_of(&opened, ignored_note(&ignored)),
            duration_ms: milliseconds(started),
        });
        // Not recorded: the file that was opened is dropped, and with it whatever it left in the store.
        self.recorder().record(&self.origin, activity).await?;
        let (file, account) = (opened?, Account::new(self, path, mode, started));
        if let File::Write(writer) = &file {
            account.progress.set_size(writer.size());
            attributes.mtime.inspect(|mtime| account.progress.set_mtime(*mtime));
            self.login.uploads().begin(path, &account.progress);
        }
        Ok(Transfer { file: Some(file), account })
    }

    async fn open_file(&self, path: &LogicalPath, mode: OpenMode) -> SessionResult<File> {
        match (mode.read, mode.write) {
            (true, false) => {
                self.allow(Operation::Read, path)?;
                Ok(File::Read(Box::new(self.vfs().open_read(path).await?)))
            }
            (read, true) => {
                if read {
                    self.allow(Operation::Read, path)?;
                }
                let write = self.write_mode(path, mode)?;
                let writer = self.vfs().open_write(path, write).await.map_err(|error| refusal(error, write, mode))?;
                Ok(File::Write(Box::new(writer)))
            }
            (false, false) => Err(SessionError::new(
                ErrorKind::InvalidRequest,
                format!("{path}: a file is opened to read, to write, or both"),
            )),
        }
    }

    /// What the policy leaves of the client's wish: without `overwrite` an existing file is refused, without `write` a new
    /// one.
    fn write_mode(&self, path: &LogicalPath, mode: OpenMode) -> SessionResult<WriteMode> {
        let may_create = self.may(Operation::Create, path);
        let may_overwrite = self.may(Operation::Overwrite, path);
        if !may_create {
            let wanted = if may_overwrite { Operation::Overwrite } else { Operation::Create };
            self.allow(wanted, path)?;
        }
        if !may_overwrite && !mode.create {
            self.allow(Operation::Overwrite, path)?;
        }
        let refuse = mode.exclusive || !may_overwrite;
        Ok(WriteMode {
            truncate: mode.truncate || refuse,
            existing: if refuse { Existing::Refuse } else { Existing::Replace },
            must_exist: !mode.create || !may_create,
            read: mode.read,
        })
    }
}

/// A file that exists and may not be replaced is a matter of permission, unless the client itself asked for a new one.
fn refusal(error: vfs::VfsError, write: WriteMode, mode: OpenMode) -> SessionError {
    if error.kind() == StoreErrorKind::AlreadyExists && write.existing == Existing::Refuse && !mode.exclusive {
        return SessionError::denied(&error.path, "it exists already and may not be replaced");
    }
    error.into()
}

impl Transfer {
    /// The path that was opened.
    pub fn path(&self) -> &LogicalPath {
        &self.account.path
    }

    /// Whether it is open for reading.
    pub fn may_read(&self) -> bool {
        self.account.mode.read
    }

    /// Whether it is open for writing.
    pub fn is_upload(&self) -> bool {
        self.account.mode.write
    }

    /// Attributes of the open file, with what was written so far.
    pub fn attributes(&self) -> Attributes {
        let found = match &self.file {
            Some(File::Read(reader)) => reader.attributes().clone(),
            Some(File::Write(_)) => self.account.progress.attributes(),
            None => vfs::Attributes { kind: Kind::File, size: 0, mtime: None },
        };
        Attributes::shown(self.account.session.rules(), &self.account.path, found)
    }

    /// Up to `length` bytes from `offset`; fewer only at the end, none beyond it.
    ///
    /// # Errors
    /// When the store fails, or the file is not open for reading.
    pub async fn read_at(&mut self, offset: u64, length: usize) -> SessionResult<Bytes> {
        let data = self.read_unsent(offset, length).await?;
        self.account.count_out(data.len());
        Ok(data)
    }

    /// As [`Transfer::read_at`], of bytes that are not for the client: they do not count as sent.
    ///
    /// # Errors
    /// As [`Transfer::read_at`].
    pub async fn read_unsent(&mut self, offset: u64, length: usize) -> SessionResult<Bytes> {
        let _busy = self.account.session.login.busy();
        match &mut self.file {
            Some(File::Read(reader)) => Ok(reader.read_at(offset, length).await?),
            Some(File::Write(writer)) if self.account.mode.read => Ok(writer.read_at(offset, length).await?),
            _ => Err(self.account.wrong("is not open for reading")),
        }
    }

    /// Writes `data` at `offset` (at the end, when it was opened to append).
    ///
    /// # Errors
    /// When the store fails, or the file is not open for writing.
    pub async fn write_at(&mut self, offset: u64, data: Bytes) -> SessionResult<()> {
        let _busy = self.account.session.login.busy();
        let Some(File::Write(writer)) = &mut self.file else {
            return Err(self.account.wrong("is not open for writing"));
        };
        let offset = if self.account.mode.append { writer.size() } else { offset };
        self.account.digest(offset, &data);
        let length = data.len();
        writer.write_at(offset, data).await?;
        self.account.progress.set_size(writer.size());
        self.account.count_in(length);
        Ok(())
    }

    /// Changes attributes of the open file; times are kept at the close. Records SETSTAT.
    ///
    /// # Errors
    /// As [`Session::set_attributes`].
    pub async fn set_attributes(&mut self, change: &AttributeChange) -> SessionResult<()> {
        let session = self.account.session.clone();
        let Some(File::Write(writer)) = &mut self.file else {
            return session.set_attributes(&self.account.path, change).await;
        };
        let _busy = session.login.busy();
        let started = Instant::now();
        session.recorder().ready()?;
        let result = match session.refuse_or_ignore_mode(&self.account.path, change) {
            Ok(ignored) => {
                if let Some(mtime) = change.mtime {
                    writer.set_mtime(mtime);
                    self.account.progress.set_mtime(mtime);
                }
                match change.size {
                    Some(size) if size != writer.size() => {
                        self.account.cut_digest(size);
                        let cut = writer.set_length(size).await;
                        self.account.progress.set_size(writer.size());
                        cut.map(|()| ignored).map_err(SessionError::from)
                    }
                    _ => Ok(ignored),
                }
            }
            Err(error) => Err(error),
        };
        let note = result.as_ref().ok().and_then(|ignored| ignored_note(ignored));
        let result = result.map(|_| ());
        session.recorded(&self.account.path, started, result, note, Activity::Setstat).await
    }

    /// Ends the transfer: an upload is published. Records CLOSE. When this returns `Ok`, the store has the object and the
    /// event is recorded.
    ///
    /// # Errors
    /// What the store says to the publication, or that the end cannot be recorded.
    pub async fn close(mut self) -> SessionResult<()> {
        let session = self.account.session.clone();
        let _busy = session.login.busy();
        let (result, etag) = match self.file.take() {
            Some(File::Write(mut writer)) => {
                if let Some(mtime) = self.account.progress.wanted_mtime() {
                    writer.set_mtime(mtime);
                }
                match writer.commit().await {
                    Ok(committed) => {
                        if self.account.digest.as_ref().is_some_and(|digest| digest.length != committed.size) {
                            self.account.digest = None;
                        }
                        (Ok(kept_note(&committed)), committed.etag)
                    }
                    Err(error) => (Err(refusal_at_commit(error, self.account.mode)), None),
                }
            }
            Some(File::Read(reader)) => (Ok(None), reader.etag().map(str::to_owned)),
            None => return Ok(()),
        };
        let outcome = match &result {
            Ok(note) => outcome_of(&Ok(()), note.clone()),
            Err(error) => error.outcome(),
        };
        if result.is_ok() {
            self.account.count_file();
        }
        let end = self.account.end(outcome, etag, true);
        session.recorder().record(&session.origin, Activity::Close(end)).await?;
        result.map(|_| ())
    }

    /// Ends a transfer that the client declared incomplete (SCP's sender reported an error): as dropping it, but waits.
    pub async fn cut_off(mut self, why: &str) {
        if let Some(file) = self.file.take() {
            self.account.cut_off(file, why).await;
        }
    }
}

impl Drop for Transfer {
    fn drop(&mut self) {
        let Some(file) = self.file.take() else { return };
        let Ok(runtime) = Handle::try_current() else {
            tracing::error!(path = %self.account.path, "a transfer was dropped outside the runtime; its end is not recorded");
            return;
        };
        let mut account = self.account.detached();
        runtime.spawn(async move { account.cut_off(file, "the connection ended with the file open").await });
    }
}

impl Account {
    fn new(session: &Session, path: &LogicalPath, mode: OpenMode, started: Instant) -> Self {
        let context = || Digest { context: digest::Context::new(&digest::SHA256), length: 0 };
        Account {
            session: session.clone(),
            path: path.clone(),
            mode,
            started,
            bytes_in: 0,
            bytes_out: 0,
            digest: mode.write.then(context),
            progress: Arc::default(),
            _open: session.login.count_transfer(),
        }
    }

    /// The account of a transfer that is being dropped, for the task that ends it.
    fn detached(&mut self) -> Account {
        Account {
            session: self.session.clone(),
            path: self.path.clone(),
            mode: self.mode,
            started: self.started,
            bytes_in: self.bytes_in,
            bytes_out: self.bytes_out,
            digest: None,
            progress: Arc::default(),
            _open: self.session.login.count_transfer(),
        }
    }

    fn wrong(&self, what: &str) -> SessionError {
        SessionError::new(ErrorKind::InvalidRequest, format!("{} {what}", self.path))
    }

    fn count_in(&mut self, length: usize) {
        self.bytes_in += length as u64;
        self.session.login.totals().bytes_in.fetch_add(length as u64, Ordering::Relaxed);
    }

    fn count_out(&mut self, length: usize) {
        self.bytes_out += length as u64;
        self.session.login.totals().bytes_out.fetch_add(length as u64, Ordering::Relaxed);
    }

    fn count_file(&self) {
        let totals = self.session.login.totals();
        let files = if self.mode.write { &totals.files_in } else { &totals.files_out };
        files.fetch_add(1, Ordering::Relaxed);
    }

    /// Takes the next bytes of an upload into its digest, or gives the digest up when they are not the next.
    fn digest(&mut self, offset: u64, data: &Bytes) {
        match &mut self.digest {
            Some(digest) if digest.length == offset => {
                digest.context.update(data);
                digest.length += data.len() as u64;
            }
            Some(_) => self.digest = None,
            None => {}
        }
    }

    /// The file is cut to `size`: a digest that has seen more is no longer the file's.
    fn cut_digest(&mut self, size: u64) {
        if self.digest.as_ref().is_some_and(|digest| digest.length > size) {
            self.digest = None;
        }
    }

    async fn cut_off(&mut self, file: File, why: &str) {
        let (outcome, etag) = match file {
            File::Read(reader) => (Outcome::Failure(why.to_owned()), reader.etag().map(str::to_owned)),
            File::Write(writer) => match writer.cut_off().await {
                Ok(None) => (Outcome::Failure(format!("{why}; nothing was published")), None),
                Ok(Some(committed)) => {
                    (Outcome::Failure(format!("{why}; what had arrived was published")), committed.etag)
                }
                Err(error) => (Outcome::Failure(format!("{why}; {}", SessionError::from(error).chain())), None),
            },
        };
        let end = self.end(outcome, etag, false);
        let session = &self.session;
        if let Err(error) = session.recorder().record(&session.origin, Activity::PartialClose(end)).await {
            tracing::error!(path = %self.path, %error, "a PARTIAL_CLOSE event was lost");
        }
    }

    fn end(&mut self, outcome: Outcome, etag: Option<String>, whole: bool) -> TransferEnd {
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

fn kept_note(committed: &Committed) -> Option<String> {
    if committed.mtime_kept { None } else { ignored_note(&["mtime"]) }
}

fn refusal_at_commit(error: vfs::VfsError, mode: OpenMode) -> SessionError {
    if error.kind() == StoreErrorKind::AlreadyExists && !mode.exclusive {
        return SessionError::denied(&error.path, "it exists already and may not be replaced");
    }
    error.into()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
