//! Operations on names: everything that is not a transfer or a listing.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::audit::{Activity, Outcome, RenameOperation};
use crate::path::LogicalPath;
use crate::policy::{self, Decision, Operation};
use crate::stores::{Capacity, Existing, Kind, StoreErrorKind};
use crate::vfs::{self, Changed, Committed, Renamed, Version, VfsError};

use super::uploads::{CHANGE_WAIT, Scope};
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
        let _busy = self.login.busy("STAT");
        self.allow(Operation::Stat, path)?;
        let found = self.look_up(path).await?;
        if found.kind == Kind::File && !self.may(Operation::SeeFile, path) && !self.is_own_file(path).await {
            return Err(unseen(path));
        }
        Ok(Attributes::shown(self.rules(), path, found))
    }

    /// What is there for this connection: an unfinished file of its own, what is published, or a directory in which it writes.
    async fn look_up(&self, path: &LogicalPath) -> SessionResult<vfs::Attributes> {
        let uploads = self.login.uploads();
        if let Some(unfinished) = uploads.attributes(path) {
            return Ok(unfinished);
        }
        match self.vfs().stat(path).await {
            Err(error) if error.kind() == StoreErrorKind::NotFound && uploads.has_below(path) => {
                Ok(vfs::Attributes { kind: Kind::Directory, size: 0, mtime: None })
            }
            found => Ok(found?),
        }
    }

    /// Makes a directory; `attributes` are reported as ignored. Records MKDIR.
    ///
    /// # Errors
    /// When the policy or the store refuses, or nothing can be recorded.
    pub async fn make_directory(&self, path: &LogicalPath, attributes: &AttributeChange) -> SessionResult<()> {
        let _busy = self.login.busy("MKDIR");
        let pending = self.begin(path, Activity::Mkdir).await?;
        let result = match self.allow(Operation::MakeDirectory, path) {
            Ok(()) => self.make_directory_here(path).await,
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
        let _busy = self.login.busy("RMDIR");
        let settled = self.settle_below(path).await;
        let pending = self.begin(path, Activity::Rmdir).await?;
        let result = match settled.and_then(|()| self.allow(Operation::RemoveDirectory, path)) {
            Ok(()) => self.remove_empty(path).await,
            Err(refused) => Err(refused),
        };
        pending.record(result, None).await
    }

    /// Removes a file. Records DELETE.
    ///
    /// # Errors
    /// When the policy or the store refuses, or nothing can be recorded.
    pub async fn remove_file(&self, path: &LogicalPath) -> SessionResult<()> {
        let _busy = self.login.busy("REMOVE");
        let settled = self.settle(path, Scope::Name, CHANGE_WAIT).await;
        let pending = self.begin(path, Activity::Delete).await?;
        let result = match settled.and_then(|()| self.allow(Operation::Delete, path)) {
            Ok(()) => self.remove_name(path).await,
            Err(refused) => Err(refused),
        };
        pending.record(result, None).await
    }

    async fn make_directory_here(&self, path: &LogicalPath) -> SessionResult<()> {
        self.judge_name(path)?;
        if self.login.uploads().has(path) || self.login.uploads().has_below(path) {
            return Err(taken(path));
        }
        Ok(self.vfs().make_directory(path).await?)
    }

    /// Waits for the CLOSE of what is being written, before room for the event is taken: a CLOSE needs some, too. An error is for the
    /// event: nothing is to be done.
    pub(super) async fn settle(&self, path: &LogicalPath, scope: Scope, wait: Duration) -> SessionResult<()> {
        Ok(self.login.uploads().settle(path, scope, wait).await?)
    }

    async fn settle_below(&self, path: &LogicalPath) -> SessionResult<()> {
        match self.login.uploads().has_below(path) {
            true => self.settle(path, Scope::Tree, CHANGE_WAIT).await,
            false => Ok(()),
        }
    }

    async fn remove_empty(&self, path: &LogicalPath) -> SessionResult<()> {
        if self.login.uploads().has_below(path) {
            let message = "a file in it is being written";
            return Err(VfsError::new(path, StoreErrorKind::DirectoryNotEmpty, message).into());
        }
        Ok(self.vfs().remove_directory(path).await?)
    }

    /// Removes what is published under the name and what this connection writes of it.
    async fn remove_name(&self, path: &LogicalPath) -> SessionResult<()> {
        let uploads = self.login.uploads();
        let mut held = uploads.hold(&[(path, Scope::Name)]).await?;
        match self.vfs().remove_file(path).await {
            Err(error) if held.has(path) && error.kind() == StoreErrorKind::NotFound => {}
            removed => removed?,
        }
        let removed = held.of_name(path);
        held.discard(&removed);
        self.login.own_files().forget(path);
        self.login.open_files().removed(path);
        Ok(())
    }

    /// Renames a file or directory; replaces an existing file only where the policy allows that. Records RENAME.
    ///
    /// # Errors
    /// When the policy or the store refuses, or nothing can be recorded.
    pub async fn rename(&self, from: &LogicalPath, to: &LogicalPath, mode: RenameMode) -> SessionResult<()> {
        let _busy = self.login.busy("RENAME");
        let settled = match self.settle(from, Scope::Tree, CHANGE_WAIT).await {
            Ok(()) => self.settle(to, Scope::Name, CHANGE_WAIT).await,
            Err(busy) => Err(busy),
        };
        let (path, new_path) = (self.vfs().storage_path(from), self.vfs().storage_path(to));
        let (logical_path, new_logical_path) = (from.to_string(), to.to_string());
        let stored = path.as_ref().map_or(0, String::len) + new_path.as_ref().map_or(0, String::len);
        let names = stored + logical_path.len() + new_logical_path.len();
        let renaming = self.begin_with(names, move |outcome, duration_ms| {
            let names = RenameOperation { path, new_path, logical_path, new_logical_path, outcome, duration_ms };
            Activity::Rename(names)
        });
        let pending = renaming.await?;
        let result = match settled {
            Ok(()) => self.rename_settled(from, to, mode).await,
            Err(busy) => Err(busy),
        };
        let outcome = result.as_ref().map_or_else(SessionError::outcome_of_rename, |()| Outcome::Success);
        pending.record_as(outcome, result).await
    }

    async fn rename_settled(&self, from: &LogicalPath, to: &LogicalPath, mode: RenameMode) -> SessionResult<()> {
        let right = self.allow_rename(from, to).await?;
        self.change_name(from, to, mode, right).await
    }

    async fn change_name(
        &self,
        from: &LogicalPath,
        to: &LogicalPath,
        mode: RenameMode,
        right: RightToRename,
    ) -> SessionResult<()> {
        let uploads = self.login.uploads();
        let mut held = uploads.hold(&[(from, Scope::Tree), (to, Scope::Name)]).await?;
        if mode.directory && self.look_up(from).await?.kind == Kind::File {
            let message = "a name that ends in a slash can only be a directory";
            return Err(VfsError::new(from, StoreErrorKind::NotADirectory, message).into());
        }
        let may_replace = right == RightToRename::Any && mode.overwrite && self.may(Operation::Overwrite, to);
        let existing = if may_replace { Existing::Replace } else { Existing::Refuse };
        if from != to {
            self.judge_name(to)?;
            self.judge_directory_above(to).await?;
            if uploads.has_below(to) || (uploads.has(to) && existing == Existing::Refuse) {
                return Err(taken(to));
            }
        }
        let unfinished = held.has_within(from);
        if unfinished && !self.vfs().share_a_store(from, to) {
            let message = "a file that is being written cannot be moved to another store; close it first";
            return Err(VfsError::new(from, StoreErrorKind::Unsupported, message).into());
        }
        // What is published under the name of somebody's own upload may be another's.
        let only_unfinished = right == RightToRename::OwnToFreeName && held.has(from);
        let renamed = match only_unfinished {
            true => Err(VfsError::new(
                from,
                StoreErrorKind::NotFound,
                "only a file that this connection writes can be renamed",
            )),
            false => {
                let only = self.renamed_version(from, right)?;
                self.vfs().rename(from, to, existing, only.as_ref()).await
            }
        };
        let done = match renamed {
            // Nothing of it is published yet.
            Err(error) if unfinished && error.kind() == StoreErrorKind::NotFound && error.path == *from => {
                self.judge_new_name(from, to, existing).await?;
                error.renamed
            }
            renamed => {
                self.login.own_files().follow(from, to, renamed?);
                Renamed::NewNameIsWhole
            }
        };
        self.login.open_files().renamed(from, to);
        let replaced = if from == to { Vec::new() } else { held.of_name(to) };
        let replaces = |target: &LogicalPath| {
            if self.is_permitted(Operation::Overwrite, target) { Existing::Replace } else { Existing::Refuse }
        };
        held.rename(self.vfs(), from, to, replaces).await.map_err(|error| error.having(done))?;
        held.discard(&replaced);
        uploads.begin_again(to);
        Ok(())
    }

    /// The version that alone may be renamed with this right: the one that this connection has uploaded. Whether it is there still, the
    /// rename itself judges.
    fn renamed_version(&self, from: &LogicalPath, right: RightToRename) -> SessionResult<Option<Version>> {
        match right {
            RightToRename::Any => Ok(None),
            RightToRename::OwnToFreeName => match self.login.own_files().find(from) {
                Some(version) => Ok(Some(version)),
                None => Err(SessionError::denied(from, "permission denied")),
            },
        }
    }

    /// Refuses a name below a file that this connection is writing.
    pub(super) fn judge_name(&self, path: &LogicalPath) -> SessionResult<()> {
        let above = std::iter::successors(path.parent(), LogicalPath::parent);
        let mut above = above.filter(|above| self.login.uploads().has(above));
        above.next().map_or(Ok(()), |_| Err(below_a_file(path)))
    }

    /// A user who may not make directories gets none by a new name below one that is not there either. One that is removed before the
    /// file is published is missed by the store then ([`crate::stores::Key::without_new_folders`]).
    pub(super) async fn judge_directory_above(&self, path: &LogicalPath) -> SessionResult<()> {
        let Some(above) = path.parent().filter(|_| !self.is_permitted(Operation::MakeDirectory, path)) else {
            return Ok(());
        };
        match self.look_up(&above).await {
            Err(error) if error.kind == ErrorKind::Store(StoreErrorKind::NotFound) => {
                let message = "the directory above does not exist, and you may not create it";
                Err(VfsError::new(path, StoreErrorKind::NotFound, message).into())
            }
            // A file above is the store's to refuse.
            found => found.map(drop),
        }
    }

    /// Whether unfinished files alone may have the name: what a store would judge of a published one.
    async fn judge_new_name(&self, from: &LogicalPath, to: &LogicalPath, existing: Existing) -> SessionResult<()> {
        let is_file = self.login.uploads().has(from);
        if to.is_at_or_below(from) && from != to {
            let message = "nothing can be moved into itself";
            return Err(VfsError::new(to, StoreErrorKind::Unsupported, message).into());
        }
        if let Some(above) = to.parent()
            && matches!(self.vfs().stat_now(&above).await, Ok(found) if found.kind == Kind::File)
        {
            return Err(below_a_file(to));
        }
        match self.vfs().stat_now(to).await {
            Err(error) if error.kind() == StoreErrorKind::NotFound => Ok(()),
            Err(error) => Err(error.into()),
            Ok(found) if is_file && found.kind == Kind::File && existing == Existing::Replace => Ok(()),
            Ok(found) if is_file && found.kind == Kind::Directory && existing == Existing::Replace => {
                Err(VfsError::new(to, StoreErrorKind::IsADirectory, "it is a directory").into())
            }
            Ok(_) => Err(taken(to)),
        }
    }

    /// Within one entry `rename` is enough. Out of an entry into another the content changes hands, so the old one must
    /// be readable and the new one writable too. A user with only `write` may give what this connection uploaded its final name:
    /// clients upload under a temporary one.
    async fn allow_rename(&self, from: &LogicalPath, to: &LogicalPath) -> SessionResult<RightToRename> {
        let entry = |path| self.rules().covering(path).map(|(entry, _)| entry);
        let same_entry = entry(from) == entry(to);
        if let Err(denied) = self.allow(Operation::Rename, from) {
            let may_write = same_entry && self.may(Operation::Create, from) && self.may(Operation::Create, to);
            if may_write && self.is_own_file(from).await {
                return Ok(RightToRename::OwnToFreeName);
            }
            return Err(denied);
        }
        self.allow(Operation::Rename, to)?;
        if !same_entry {
            self.allow(Operation::Read, from)?;
            self.allow(Operation::Create, to)?;
        }
        Ok(RightToRename::Any)
    }

    /// Whether this connection uploaded the file, and nobody has replaced it since.
    async fn is_own_file(&self, path: &LogicalPath) -> bool {
        if self.login.uploads().has(path) {
            return true;
        }
        let Some(uploaded) = self.login.own_files().find(path) else { return false };
        self.vfs().version(path).await.is_ok_and(|(version, _)| version == Some(uploaded))
    }

    pub(super) fn may(&self, operation: Operation, path: &LogicalPath) -> bool {
        self.scope.has(operation) && self.is_permitted(operation, path)
    }

    /// Whether the user may, whatever this kind of request may ask for.
    pub(super) fn is_permitted(&self, operation: Operation, path: &LogicalPath) -> bool {
        policy::decide(self.rules(), operation, path) == Decision::Allow
    }

    /// Notes a file that this connection has uploaded, where it may do less with those of others. A store that does not tell the
    /// version when it publishes one is asked, once the end of the upload is on record: what has another entity tag by then is
    /// somebody else's.
    pub(super) async fn note_own_file(&self, path: &LogicalPath, committed: &Committed) {
        let with_any = [Operation::Rename, Operation::SeeFile, Operation::SetAttributes];
        if with_any.into_iter().all(|operation| self.is_permitted(operation, path)) {
            return;
        }
        let version = match (&committed.version, &committed.etag) {
            (Some(version), _) => Some(version.clone()),
            (None, Some(_)) => {
                let found = self.vfs().version(path).await.ok();
                found.filter(|(_, etag)| *etag == committed.etag).and_then(|(version, _)| version)
            }
            (None, None) => None,
        };
        match version {
            Some(version) => self.login.own_files().add(path, version),
            None => self.login.own_files().forget(path),
        }
    }

    /// Changes attributes of a path. What cannot be kept is ignored, and the event says so. Records SETSTAT.
    ///
    /// # Errors
    /// When the policy or the store refuses, or nothing can be recorded; for modes and owners only with `setstat: strict`.
    pub async fn set_attributes(&self, path: &LogicalPath, change: &AttributeChange) -> SessionResult<()> {
        let _busy = self.login.busy("SETSTAT");
        let resizes = Arc::<AtomicBool>::default();
        let pending = self.begin_setstat(path, change.size, &resizes).await?;
        let result = self.change_attributes(path, change, &resizes).await;
        let note = result.as_ref().ok().and_then(|ignored| ignored_note(ignored));
        let result = result.map(|_| ());
        pending.record(result, note).await
    }

    /// The names of what was ignored. `resizes` is true from when a published file may have another length.
    async fn change_attributes(
        &self,
        path: &LogicalPath,
        change: &AttributeChange,
        resizes: &AtomicBool,
    ) -> SessionResult<Vec<&'static str>> {
        self.allow(Operation::SetOwnAttributes, path)?;
        let mut ignored = self.refuse_or_ignore_mode(path, change)?;
        if self.login.uploads().has(path) && self.change_unfinished(path, change).await? {
            return Ok(ignored);
        }
        if !self.may(Operation::SetAttributes, path) {
            self.judge_change_of_own(path, change).await?;
        }
        if let Some(size) = change.size {
            resizes.store(true, Ordering::Relaxed);
            match self.vfs().set_length(path, size).await? {
                None => resizes.store(false, Ordering::Relaxed),
                // Nothing that somebody else has written is left in it.
                Some(Changed { after: Some(emptied), .. }) if size == 0 => self.login.own_files().add(path, emptied),
                Some(changed) => self.login.own_files().follow(path, path, changed),
            }
            self.login.uploads().begin_again(path);
        }
        if let Some(mtime) = change.mtime {
            let own = self.login.own_files().find(path);
            // With a right to its own files only, the store judges that it is this connection's.
            let only = own.filter(|_| !self.may(Operation::SetAttributes, path));
            match self.vfs().set_mtime(path, mtime, only.as_ref()).await? {
                // To set the time makes another version of it.
                Some(changed) => self.login.own_files().follow(path, path, changed),
                None => ignored.push("mtime"),
            }
            self.login.uploads().begin_again(path);
        } else if change.size.is_none() {
            // Nothing was done to the store, so nothing has said yet whether the path exists.
            self.vfs().stat(path).await?;
        }
        Ok(ignored)
    }

    /// Without `overwrite` only directories and files of this connection are changed, and their content is not.
    async fn judge_change_of_own(&self, path: &LogicalPath, change: &AttributeChange) -> SessionResult<()> {
        let found = self.look_up(path).await?;
        if found.kind == Kind::File && !self.is_own_file(path).await {
            return match self.may(Operation::SeeFile, path) {
                true => self.allow(Operation::SetAttributes, path),
                false => Err(unseen(path)),
            };
        }
        if change.size.is_some() { self.allow(Operation::SetAttributes, path) } else { Ok(()) }
    }

    /// Changes the unfinished file of this name: its time is kept at its CLOSE. False when it was closed meanwhile.
    async fn change_unfinished(&self, path: &LogicalPath, change: &AttributeChange) -> SessionResult<bool> {
        let mut held = self.login.uploads().hold(&[(path, Scope::Name)]).await?;
        let Some((upload, writer)) = held.newest(path) else { return Ok(false) };
        if let Some(size) = change.size.filter(|size| *size != writer.size()) {
            let cut = writer.set_length(size).await;
            upload.changed(writer);
            cut?;
        }
        change.mtime.inspect(|mtime| upload.set_mtime(*mtime));
        Ok(true)
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
    ///
    /// # Errors
    /// Always.
    pub async fn refuse_link(&self, target: &[u8], link: &LogicalPath, symbolic: bool) -> SessionResult<()> {
        let what = if symbolic { "symbolic links" } else { "hard links" };
        let error = SessionError::new(
            ErrorKind::Store(StoreErrorKind::Unsupported),
            format!("{link}: {what} are not supported"),
        );
        let path = LogicalPath::parse(target).ok().and_then(|path| self.vfs().storage_path(&path));
        let new_path = self.vfs().storage_path(link);
        let (logical_path, new_logical_path) = (String::from_utf8_lossy(target).into_owned(), link.to_string());
        let stored = path.as_ref().map_or(0, String::len) + new_path.as_ref().map_or(0, String::len);
        let names = stored + logical_path.len() + new_logical_path.len();
        let refusing = self.begin_with(names, move |outcome, duration_ms| {
            let names = RenameOperation { path, new_path, logical_path, new_logical_path, outcome, duration_ms };
            Activity::CreateSymlink(names)
        });
        refusing.await?.record(Err(error), None).await
    }

    /// Capacity of what is behind a path, where it is known. Not an event.
    ///
    /// # Errors
    /// When this user may not see the path, or the store does not answer.
    pub async fn capacity(&self, path: &LogicalPath) -> SessionResult<Option<Capacity>> {
        let _busy = self.login.busy("STATVFS");
        self.allow(Operation::Stat, path)?;
        Ok(self.vfs().capacity(path).await?)
    }
}

/// What a rename is allowed for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum RightToRename {
    Any,
    /// A file of this connection, which replaces nothing.
    OwnToFreeName,
}

/// A file that this user may not see does not exist.
fn unseen(path: &LogicalPath) -> SessionError {
    VfsError::new(path, StoreErrorKind::NotFound, StoreErrorKind::NotFound.words()).into()
}

fn below_a_file(path: &LogicalPath) -> SessionError {
    VfsError::new(path, StoreErrorKind::NotADirectory, "the name above it is a file").into()
}

fn taken(path: &LogicalPath) -> SessionError {
    VfsError::new(path, StoreErrorKind::AlreadyExists, "it exists already").into()
}

/// `ignored: mode, mtime`, when anything was.
pub(super) fn ignored_note(ignored: &[&str]) -> Option<String> {
    if ignored.is_empty() { None } else { Some(format!("ignored: {}", ignored.join(", "))) }
}
