//! Open files: the accounting of a transfer, with exactly one end event.

mod account;

use std::time::Instant;

use bytes::Bytes;
use tokio::runtime::Handle;

use crate::audit::{Activity, Outcome, TransferStart};
use crate::path::LogicalPath;
use crate::policy::Operation;
use crate::stores::{Existing, Kind, StoreErrorKind};
use crate::vfs::{self, Reader, WholeFile, WriteMode, Writer};

use super::operations::ignored_note;
use super::pending::Pending;
use super::{AttributeChange, Attributes, ErrorKind, Session, SessionError, SessionResult, outcome_of};
use account::Account;

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

/// All of an open file, for a copy that its store makes.
#[derive(Debug, Clone)]
pub struct Whole {
    file: WholeFile,
    /// In bytes.
    size: u64,
    path: LogicalPath,
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
        let pending = self.begin_open(path, mode).await?;
        let mut opened = self.open_file(path, mode).await;
        let ignored = if mode.write { attributes.unkept() } else { Vec::new() };
        if let (Ok(File::Write(writer)), Some(mtime)) = (&mut opened, attributes.mtime) {
            writer.set_mtime(mtime);
        }
        let recorded = pending.fill(outcome_of(&opened, ignored_note(&ignored)));
        // From here on there is an end to record, whatever happens.
        let opened = opened.map(|file| Transfer { file: Some(file), account: Account::new(self, path, mode, started) });
        // Not recorded: the file that was opened is dropped, and with it whatever it left in the store.
        recorded.await?;
        let transfer = opened?;
        if let Some(File::Write(writer)) = &transfer.file {
            let progress = &transfer.account.progress;
            progress.set_size(writer.size());
            attributes.mtime.inspect(|mtime| progress.set_mtime(*mtime));
            self.login.uploads().begin(path, progress);
        }
        Ok(transfer)
    }

    async fn begin_open(&self, path: &LogicalPath, mode: OpenMode) -> SessionResult<Pending> {
        let (storage_path, logical_path) = (self.vfs().storage_path(path), path.to_string());
        let names = storage_path.as_ref().map_or(0, String::len) + logical_path.len();
        self.begin_with(names, move |outcome, duration_ms| {
            let (mode, write) = (mode.name(), mode.write);
            Activity::Open(TransferStart { path: storage_path, logical_path, mode, write, outcome, duration_ms })
        })
        .await
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
        self.account.count_out(data.len() as u64);
        Ok(data)
    }

    /// What a range of it is, if it is all of a file that its store can copy by itself; for [`Transfer::become_copy`]. A length of 0
    /// is all that follows.
    pub fn whole(&self, offset: u64, length: u64) -> Option<Whole> {
        let Some(File::Read(reader)) = &self.file else { return None };
        let size = reader.attributes().size;
        let all = offset == 0 && size > 0 && (length == 0 || length >= size);
        let file = reader.whole().filter(|_| all)?;
        Some(Whole { file, size, path: self.account.path.clone() })
    }

    /// Takes all of an open file for the content, which its store copies at the close. False when that cannot be: then nothing was
    /// done, and the bytes have to be read and written.
    ///
    /// # Errors
    /// When the store failed before, or the file is not open for writing.
    pub fn become_copy(&mut self, source: &Whole) -> SessionResult<bool> {
        let Some(File::Write(writer)) = &mut self.file else {
            return Err(self.account.wrong("is not open for writing"));
        };
        let appends = self.account.mode.append && writer.size() > 0;
        if appends || !writer.become_copy(&source.file)? {
            return Ok(false);
        }
        self.account.progress.set_size(writer.size());
        self.account.count_in(source.size);
        self.account.copied_from = Some(source.path.clone());
        Ok(true)
    }

    /// Counts what another file became a copy of. It did not go to the client.
    pub fn was_copied(&mut self, whole: &Whole) {
        self.account.count_copied(whole.size);
    }

    /// As [`Transfer::read_at`], of bytes for another file.
    ///
    /// # Errors
    /// As [`Transfer::read_at`].
    pub async fn read_to_copy(&mut self, offset: u64, length: usize) -> SessionResult<Bytes> {
        let data = self.read_unsent(offset, length).await?;
        self.account.count_copied(data.len() as u64);
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
        let length = data.len() as u64;
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
        let pending = session.begin(&self.account.path, Activity::Setstat).await?;
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
        pending.record(result, note).await
    }

    /// Ends the transfer: an upload is published. Records CLOSE, or ERROR when it could not be published. When this returns
    /// `Ok`, the store has the object and the event is recorded.
    ///
    /// # Errors
    /// What the store says to the publication, or that the end cannot be recorded; when that is known before, nothing is
    /// published.
    pub async fn close(mut self) -> SessionResult<()> {
        let session = self.account.session.clone();
        let _busy = session.login.busy();
        if self.is_upload()
            && let Err(unrecorded) = self.account.reserve().await
        {
            return Err(self.refuse_to_publish(unrecorded.into()));
        }
        let (result, etag) = match self.file.take() {
            Some(File::Write(writer)) => self.publish(*writer).await,
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
        self.account.closed(outcome, etag).await?;
        result.map(|_| ())
    }

    /// What there is to say of the published file besides, and its entity tag.
    async fn publish(&mut self, mut writer: Writer) -> (SessionResult<Option<String>>, Option<String>) {
        if let Some(mtime) = self.account.progress.wanted_mtime() {
            writer.set_mtime(mtime);
        }
        self.account.publishing();
        match writer.commit().await {
            Ok(committed) => {
                if self.account.digest.as_ref().is_some_and(|digest| digest.length != committed.size) {
                    self.account.digest = None;
                }
                (Ok(self.account.note(&committed)), committed.etag)
            }
            Err(error) => (Err(refusal_at_commit(self.account.placed(error), self.account.mode)), None),
        }
    }

    /// Gives an upload up at its CLOSE. The event waits for the trail; the client does not.
    fn refuse_to_publish(&mut self, error: SessionError) -> SessionError {
        self.file = None;
        drop(self.account.closed(Outcome::Failure(format!("{}; nothing was published", error.chain())), None));
        error
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
        let why = "the connection ended with the file open";
        match self.file.take() {
            // The account records its end by itself.
            None => {}
            Some(File::Read(reader)) => drop(self.account.cut_off_reading(&reader, why)),
            Some(file @ File::Write(_)) => {
                // Without a runtime the process is ending; then the account records it.
                let Ok(runtime) = Handle::try_current() else { return };
                let mut account = self.account.detached();
                runtime.spawn(async move { account.cut_off(file, why).await });
            }
        }
    }
}

fn refusal_at_commit(error: vfs::VfsError, mode: OpenMode) -> SessionError {
    if error.kind() == StoreErrorKind::AlreadyExists && !mode.exclusive {
        return SessionError::denied(&error.path, "it exists already and may not be replaced");
    }
    error.into()
}
