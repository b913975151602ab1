//! Operations on names: everything that is not a transfer or a listing.

use crate::audit::{Activity, RenameOperation};
use crate::path::LogicalPath;
use crate::policy::{self, Decision, Operation};
use crate::stores::{Capacity, Existing, Kind, StoreErrorKind};
use crate::vfs::VfsError;

use super::uploads::Progress;
use super::{AttributeChange, Attributes, ErrorKind, Session, SessionError, SessionResult};

/// How a name is to change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct RenameMode {
    /// An existing file may be replaced.
    pub overwrite: bool,
    /// Only a directory may get the new name: the client has written it with a slash at its end.
    pub directory: bool,
}

impl Session {
    /// Attributes of a path; of a file that this connection is writing, as far as it is written. Not an event.
    ///
    /// # Errors
    /// When there is nothing, or nothing that this user may see.
    pub async fn stat(&self, path: &LogicalPath) -> SessionResult<Attributes> {
        let _busy = self.login.busy();
        self.allow(Operation::Stat, path)?;
        let found = match self.login.uploads().find(path) {
            Some(upload) => upload.attributes(),
            None => self.vfs().stat(path).await?,
        };
        Ok(Attributes::shown(self.rules(), path, found))
    }

    /// Makes a directory; `attributes` are reported as ignored. Records MKDIR.
    ///
    /// # Errors
    /// When the policy or the store refuses, or nothing can be recorded.
    pub async fn make_directory(&self, path: &LogicalPath, attributes: &AttributeChange) -> SessionResult<()> {
        let _busy = self.login.busy();
        let pending = self.begin(path, Activity::Mkdir).await?;
        let result = match self.allow(Operation::MakeDirectory, path) {
            Ok(()) => self.vfs().make_directory(path).await.map_err(SessionError::from),
            Err(denied) => Err(denied),
        };
        let mut ignored = attributes.unkept();
        // Directories have no length, and the first entry would change the time again: clients that mean it set it last.
        ignored.extend(attributes.size.map(|_| "size"));
        ignored.extend(attributes.mtime.map(|_| "mtime"));
        pending.record(result, ignored_note(&ignored)).await
    }

    /// Removes an empty directory. Records RMDIR.
    ///
    /// # Errors
    /// When the policy or the store refuses, or nothing can be recorded.
    pub async fn remove_directory(&self, path: &LogicalPath) -> SessionResult<()> {
        let _busy = self.login.busy();
        let pending = self.begin(path, Activity::Rmdir).await?;
        let result = match self.allow(Operation::RemoveDirectory, path) {
            Ok(()) => self.vfs().remove_directory(path).await.map_err(SessionError::from),
            Err(denied) => Err(denied),
        };
        pending.record(result, None).await
    }

    /// Removes a file. Records DELETE.
    ///
    /// # Errors
    /// When the policy or the store refuses, or nothing can be recorded.
    pub async fn remove_file(&self, path: &LogicalPath) -> SessionResult<()> {
        let _busy = self.login.busy();
        let pending = self.begin(path, Activity::Delete).await?;
        let result = match self.allow(Operation::Delete, path) {
            Ok(()) => self.vfs().remove_file(path).await.map_err(SessionError::from),
            Err(denied) => Err(denied),
        };
        pending.record(result, None).await
    }

    /// Renames a file or directory; replaces an existing file only where the policy allows that. Records RENAME.
    ///
    /// # Errors
    /// When the policy or the store refuses, or nothing can be recorded.
    pub async fn rename(&self, from: &LogicalPath, to: &LogicalPath, mode: RenameMode) -> SessionResult<()> {
        let _busy = self.login.busy();
        let (path, new_path) = (self.vfs().storage_path(from), self.vfs().storage_path(to));
        let (logical_path, new_logical_path) = (from.to_string(), to.to_string());
        let stored = path.as_ref().map_or(0, String::len) + new_path.as_ref().map_or(0, String::len);
        let names = stored + logical_path.len() + new_logical_path.len();
        let renaming = self.begin_with(names, move |outcome, duration_ms| {
            let names = RenameOperation { path, new_path, logical_path, new_logical_path, outcome, duration_ms };
            Activity::Rename(names)
        });
        let pending = renaming.await?;
        let result = match self.allow_rename(from, to) {
            Ok(()) => self.change_name(from, to, mode).await,
            Err(denied) => Err(denied),
        };
        pending.record(result, None).await
    }

    async fn change_name(&self, from: &LogicalPath, to: &LogicalPath, mode: RenameMode) -> SessionResult<()> {
        if mode.directory && self.vfs().stat(from).await?.kind == Kind::File {
            let message = "a name with a slash at its end is a directory's";
            return Err(VfsError::new(from, StoreErrorKind::NotADirectory, message).into());
        }
        let may_replace = mode.overwrite && self.may(Operation::Overwrite, to);
        let existing = if may_replace { Existing::Replace } else { Existing::Refuse };
        Ok(self.vfs().rename(from, to, existing).await?)
    }

    /// Within one entry `rename` is enough. Out of an entry into another the content changes hands, so the old one must
    /// be readable and the new one writable too.
    fn allow_rename(&self, from: &LogicalPath, to: &LogicalPath) -> SessionResult<()> {
        self.allow(Operation::Rename, from)?;
        self.allow(Operation::Rename, to)?;
        let entry = |path| self.rules().covering(path).map(|(entry, _)| entry);
        if entry(from) != entry(to) {
            self.allow(Operation::Read, from)?;
            self.allow(Operation::Create, to)?;
        }
        Ok(())
    }

    pub(super) fn may(&self, operation: Operation, path: &LogicalPath) -> bool {
        self.scope.has(operation) && policy::decide(self.rules(), operation, path) == Decision::Allow
    }

    /// Changes attributes of a path. What cannot be kept is ignored, and the event says so. Records SETSTAT.
    ///
    /// # Errors
    /// When the policy or the store refuses, or nothing can be recorded; for modes and owners only with `setstat: strict`.
    pub async fn set_attributes(&self, path: &LogicalPath, change: &AttributeChange) -> SessionResult<()> {
        let _busy = self.login.busy();
        let pending = self.begin(path, Activity::Setstat).await?;
        let result = self.change_attributes(path, change).await;
        let note = result.as_ref().ok().and_then(|ignored| ignored_note(ignored));
        let result = result.map(|_| ());
        pending.record(result, note).await
    }

    /// The names of what was ignored.
    async fn change_attributes(
        &self,
        path: &LogicalPath,
        change: &AttributeChange,
    ) -> SessionResult<Vec<&'static str>> {
        self.allow(Operation::SetAttributes, path)?;
        let mut ignored = self.refuse_or_ignore_mode(path, change)?;
        if let Some(upload) = self.login.uploads().find(path) {
            return change_upload(path, &upload, change).map(|()| ignored);
        }
        if let Some(size) = change.size {
            self.allow(Operation::Overwrite, path)?;
            self.vfs().set_length(path, size).await?;
        }
        if let Some(mtime) = change.mtime {
            let kept = self.vfs().set_mtime(path, mtime).await?;
            if !kept {
                ignored.push("mtime");
            }
        } else if change.size.is_none() {
            // Nothing was done to the store, so nothing has said yet whether the path exists.
            self.vfs().stat(path).await?;
        }
        Ok(ignored)
    }

    pub(super) fn refuse_or_ignore_mode(
        &self,
        path: &LogicalPath,
        change: &AttributeChange,
    ) -> SessionResult<Vec<&'static str>> {
        let ignored = change.unkept();
        if self.login.strict_setstat() && (change.mode.is_some() || change.owner.is_some()) {
            return Err(SessionError::new(
                ErrorKind::Store(StoreErrorKind::Unsupported),
                format!("{path}: modes and owners are not kept here"),
            ));
        }
        Ok(ignored)
    }

    /// Refuses a symbolic link (`symbolic`) or a hard link, and records it as CREATE_SYMLINK.
    pub async fn refuse_link(&self, target: &[u8], link: &LogicalPath, symbolic: bool) -> SessionError {
        let what = if symbolic { "symbolic links" } else { "hard links" };
        let error = SessionError::new(
            ErrorKind::Store(StoreErrorKind::Unsupported),
            format!("{link}: {what} are not supported"),
        );
        let shown = String::from_utf8_lossy(target).into_owned();
        let activity = Activity::CreateSymlink(RenameOperation {
            path: LogicalPath::parse(target).ok().and_then(|path| self.vfs().storage_path(&path)),
            new_path: self.vfs().storage_path(link),
            logical_path: shown,
            new_logical_path: link.to_string(),
            outcome: error.outcome(),
            duration_ms: 0,
        });
        match self.recorder().record(&self.origin, activity).await {
            Ok(()) => error,
            Err(unrecorded) => unrecorded.into(),
        }
    }

    /// Capacity of what is behind a path, where it is known. Not an event.
    ///
    /// # Errors
    /// When this user may not see the path, or the store does not answer.
    pub async fn capacity(&self, path: &LogicalPath) -> SessionResult<Option<Capacity>> {
        let _busy = self.login.busy();
        self.allow(Operation::Stat, path)?;
        Ok(self.vfs().capacity(path).await?)
    }
}

/// Changes what this connection is writing: the time is kept at its CLOSE, the length is a matter of its handle.
fn change_upload(path: &LogicalPath, upload: &Progress, change: &AttributeChange) -> SessionResult<()> {
    if change.size.is_some_and(|size| size != upload.attributes().size) {
        let what = format!("{path}: the file is being written; its length changes through its handle");
        return Err(SessionError::new(ErrorKind::InvalidRequest, what));
    }
    change.mtime.inspect(|mtime| upload.set_mtime(*mtime));
    Ok(())
}

/// `ignored: mode, mtime`, when anything was.
pub(super) fn ignored_note(ignored: &[&str]) -> Option<String> {
    if ignored.is_empty() { None } else { Some(format!("ignored: {}", ignored.join(", "))) }
}
