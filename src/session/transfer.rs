//! Open files: the accounting of a transfer, with exactly one end event.

mod account;
mod closing;
mod cut_off;

use std::time::{Instant, SystemTime};

use bytes::Bytes;
use tokio::sync::{OwnedMutexGuard, oneshot};

use crate::audit::{Activity, TransferStart};
use crate::path::LogicalPath;
use crate::policy::Operation;
use crate::stores::{Existing, Kind, StoreErrorKind};
use crate::vfs::{self, Reader, VfsError, WholeFile, WriteMode, Writer};

use super::operations::ignored_note;
use super::pending::Pending;
use super::uploads::{OPEN_WAIT, Scope, Upload, UploadName};
use super::{AttributeChange, Attributes, ErrorKind, Session, SessionError, SessionResult, outcome_of};
use account::Account;

/// Of an upload whose publication by another handle failed.
const NOT_STORED: &str = "could not be stored when another of its handles was closed";

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
    /// How a file is opened again for handles that outlive its publication.
    fn again(self) -> WriteMode {
        WriteMode { truncate: false, existing: Existing::Replace, must_exist: true, read: self.read }
    }

    /// As Transfer Family's `mode` field: `READ`, `CREATE|TRUNCATE|WRITE`.
    pub(super) fn name(self) -> String {
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
    Write(Upload),
    /// A file that another handle of the connection writes, opened for reading.
    Unfinished(Upload),
}

impl File {
    /// In bytes, of a file whose content does not change while it is read.
    fn size(&self) -> Option<u64> {
        match self {
            File::Read(reader) => Some(reader.attributes().size),
            File::Write(_) | File::Unfinished(_) => None,
        }
    }
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
        let _busy = self.login.busy("OPEN");
        let started = Instant::now();
        let settled = self.settle(path, Scope::Name, OPEN_WAIT).await;
        let pending = self.begin_open(path, mode).await?;
        let opened = match settled {
            Ok(()) => self.open_file(path, mode, attributes.mtime).await,
            Err(busy) => Err(busy),
        };
        let ignored = if mode.write { attributes.unkept() } else { Vec::new() };
        let recorded = pending.fill(outcome_of(&opened, ignored_note(&ignored)));
        // From here on there is an end to record, whatever happens.
        let opened = opened.map(|file| {
            let account = Account::new(self, path, mode, started, file.size());
            Transfer { file: Some(file), account }
        });
        // Not recorded: the file that was opened is dropped, and with it whatever it left in the store.
        recorded.await?;
        opened
    }

    /// Whether the user may read a file of this name, if there is one.
    pub fn may_read(&self, path: &LogicalPath) -> bool {
        self.may(Operation::Read, path)
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

    async fn open_file(&self, path: &LogicalPath, mode: OpenMode, mtime: Option<SystemTime>) -> SessionResult<File> {
        if self.login.is_draining() {
            let message = format!("{path}: the gateway is shutting down; try again later");
            return Err(SessionError::new(ErrorKind::Draining, message));
        }
        if !mode.read && !mode.write {
            let message = format!("{path}: a file is opened to read, to write, or both");
            return Err(SessionError::new(ErrorKind::InvalidRequest, message));
        }
        if mode.read {
            self.allow(Operation::Read, path)?;
        }
        if mode.write {
            return self.open_upload(path, mode, mtime).await.map(File::Write);
        }
        match self.login.uploads().join(path, false) {
            Some(upload) => Ok(File::Unfinished(upload)),
            None => Ok(File::Read(Box::new(self.vfs().open_read(path).await?))),
        }
    }

    async fn open_upload(
        &self,
        path: &LogicalPath,
        mode: OpenMode,
        mtime: Option<SystemTime>,
    ) -> SessionResult<Upload> {
        let write = self.write_mode(path, mode)?;
        let uploads = self.login.uploads();
        self.judge_name(path)?;
        if uploads.has_below(path) {
            return Err(VfsError::new(path, StoreErrorKind::IsADirectory, "a file in it is being written").into());
        }
        let unfinished = uploads.has(path);
        if unfinished && write.existing == Existing::Refuse {
            let taken = VfsError::new(path, StoreErrorKind::AlreadyExists, "it is being written");
            return Err(refusal(taken, write, mode));
        }
        if !write.truncate
            && let Some(upload) = uploads.join(path, true)
        {
            mtime.inspect(|mtime| upload.set_mtime(*mtime));
            return Ok(upload);
        }
        let write = WriteMode { must_exist: write.must_exist && !unfinished, ..write };
        if !write.must_exist && !unfinished {
            self.judge_directory_above(path).await?;
        }
        let mut writer = self.vfs().open_write(path, write).await.map_err(|error| refusal(error, write, mode))?;
        mtime.inspect(|mtime| writer.set_mtime(*mtime));
        let upload = uploads.begin(path, write.existing, writer);
        mtime.inspect(|mtime| upload.set_mtime(*mtime));
        Ok(upload)
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

    /// The name of an upload, which may change; `None` of a file that is only read.
    pub fn upload_name(&self) -> Option<UploadName> {
        match &self.file {
            Some(File::Write(upload)) => Some(upload.name()),
            Some(File::Read(_) | File::Unfinished(_)) | None => None,
        }
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
            Some(File::Write(upload) | File::Unfinished(upload)) => upload.attributes(),
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
        if !self.account.mode.write {
            self.account.digest_read(offset, &data);
        }
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
    pub async fn become_copy(&mut self, source: &Whole) -> SessionResult<bool> {
        let mut content = self.writable(true).await?;
        let Some(File::Write(upload)) = &self.file else { return Ok(false) };
        if content.is_none() && upload.is_discarded() {
            return Ok(true);
        }
        let writer = content.as_mut().ok_or_else(|| self.account.wrong(NOT_STORED))?;
        let appends = self.account.mode.append && writer.size() > 0;
        let is_copy = !appends && writer.become_copy(&source.file)?;
        upload.follow(writer);
        if !is_copy {
            return Ok(false);
        }
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
        let _busy = self.account.session.login.busy("READ");
        match &mut self.file {
            Some(File::Read(reader)) => Ok(reader.read_at(offset, length).await?),
            Some(File::Write(_)) if self.account.mode.read => {
                let mut content = self.writable(false).await?;
                let writer = content.as_mut().ok_or_else(|| self.account.wrong(NOT_STORED))?;
                Ok(writer.read_back(offset, length).await?)
            }
            Some(File::Unfinished(upload)) => {
                let mut content = upload.lock().await;
                let writer = content.as_mut().ok_or_else(|| self.account.wrong(NOT_STORED))?;
                Ok(writer.read_back(offset, length).await?)
            }
            _ => Err(self.account.wrong("is not open for reading")),
        }
    }

    /// What the file holds, for one call. A handle that has changed nothing yet follows its name first: to the upload of another
    /// handle, or to what was published since.
    async fn writable(&mut self, changes: bool) -> SessionResult<OwnedMutexGuard<Option<Writer>>> {
        let Some(File::Write(upload)) = &mut self.file else {
            return Err(self.account.wrong("is not open for writing"));
        };
        upload.follow_name(changes);
        let mut content = upload.lock().await;
        if upload.was_stale() && content.as_ref().is_some_and(|writer| !writer.has_content()) {
            let place = upload.place();
            let place = place.as_ref().map_or(&self.account.path, |place| &place.path);
            *content = Some(self.account.session.vfs().open_write(place, self.account.mode.again()).await?);
        }
        Ok(content)
    }

    /// Writes `data` at `offset` (at the end, when it was opened to append).
    ///
    /// # Errors
    /// When the store fails, or the file is not open for writing.
    pub async fn write_at(&mut self, offset: u64, data: Bytes) -> SessionResult<()> {
        let _busy = self.account.session.login.busy("WRITE");
        let mut content = self.writable(true).await?;
        let Some(File::Write(upload)) = &self.file else { return Ok(()) };
        let length = data.len() as u64;
        if content.is_some() || !upload.is_discarded() {
            let writer = content.as_mut().ok_or_else(|| self.account.wrong(NOT_STORED))?;
            let appends = self.account.mode.append;
            let offset = if appends { writer.size() } else { offset };
            self.account.digest_written(offset, &data);
            let written = if appends { writer.append(data).await } else { writer.write_at(offset, data).await };
            upload.follow(writer);
            written?;
        }
        self.account.count_in(length);
        Ok(())
    }

    /// Changes attributes of the open file; times are kept at the close. Records SETSTAT.
    ///
    /// # Errors
    /// As [`Session::set_attributes`].
    pub async fn set_attributes(&mut self, change: &AttributeChange) -> SessionResult<()> {
        let session = self.account.session.clone();
        if !matches!(self.file, Some(File::Write(_))) {
            return self.set_attributes_of_read(change).await;
        }
        if let Some(File::Write(upload)) = &self.file
            && let Some(place) = upload.place()
        {
            // It may have been renamed.
            self.account.path = place.path;
        }
        let _busy = session.login.busy("FSETSTAT");
        let pending = session.begin(&self.account.path, Activity::Setstat).await?;
        let result = self.change_upload(change).await;
        let note = result.as_ref().ok().and_then(|ignored| ignored_note(ignored));
        let result = result.map(|_| ());
        pending.record(result, note).await
    }

    /// Of a file that is only read, by the name that it has now.
    async fn set_attributes_of_read(&self, change: &AttributeChange) -> SessionResult<()> {
        let name = match &self.file {
            Some(File::Unfinished(upload)) => {
                upload.place().filter(|place| !place.is_discarded).map(|place| place.path)
            }
            _ => self.account.name(),
        };
        let (session, path) = (&self.account.session, &self.account.path);
        match name {
            // What is under the name may be another's by now. As ftruncate(2) of what is open for reading only.
            Some(name) if change.size.is_some() => {
                let pending = session.begin(&name, Activity::Setstat).await?;
                let refused = session.allow(Operation::SetAttributes, &name);
                pending.record(refused.and(Err(self.account.wrong("is not open for writing"))), None).await
            }
            Some(name) => session.set_attributes(&name, change).await,
            None => {
                let message = "the file that was opened was removed or replaced";
                let gone = VfsError::new(path, StoreErrorKind::NotFound, message);
                session.begin(path, Activity::Setstat).await?.record(Err(gone.into()), None).await
            }
        }
    }

    /// The names of what was ignored.
    async fn change_upload(&mut self, change: &AttributeChange) -> SessionResult<Vec<&'static str>> {
        let ignored = self.account.session.refuse_or_ignore_mode(&self.account.path, change)?;
        let resizes = change.size.is_some_and(|size| size != self.attributes().size);
        let mut content = self.writable(resizes).await?;
        let Some(File::Write(upload)) = &self.file else { return Ok(ignored) };
        if content.is_none() && upload.is_discarded() {
            return Ok(ignored);
        }
        let writer = content.as_mut().ok_or_else(|| self.account.wrong(NOT_STORED))?;
        if let Some(mtime) = change.mtime {
            writer.set_mtime(mtime);
            upload.set_mtime(mtime);
        }
        if let Some(size) = change.size.filter(|size| *size != writer.size()) {
            self.account.digest_resized(size);
            let cut = writer.set_length(size).await;
            upload.follow(writer);
            cut?;
        }
        Ok(ignored)
    }

    /// Ends a transfer that the client declared incomplete (SCP's sender reported an error): as dropping it, but waits. Dropped
    /// half-way, it goes on.
    pub async fn cut_off(mut self, why: &str) {
        if let Some(file) = self.file.take() {
            let (ended, end) = oneshot::channel();
            self.cut_off_aside(file, why.to_owned(), ended);
            // An error means that it was cut short, and it is on record then.
            let _ = end.await;
        }
    }

    /// Cuts the file off in a task of its own; `ended` is dropped at its end.
    fn cut_off_aside(&mut self, file: File, why: String, ended: oneshot::Sender<()>) {
        let mut account = self.account.detached();
        self.account.session.login.end_aside(async move {
            account.cut_off(file, &why).await;
            drop((account, ended));
        });
    }
}

impl Drop for Transfer {
    fn drop(&mut self) {
        let why = "the connection ended with the file open";
        match self.file.take() {
            // The account records its end by itself.
            None => {}
            Some(File::Read(reader)) => drop(self.account.cut_off_reading(&reader, why)),
            Some(File::Unfinished(_)) => drop(self.account.cut_off_now(why)),
            Some(file @ File::Write(_)) => self.cut_off_aside(file, why.to_owned(), oneshot::channel().0),
        }
    }
}
