//! Rename: within a store by the store, across stores by copying through the gateway and then deleting.

mod of_a_file;

use std::sync::Arc;

use crate::path::LogicalPath;
use crate::stores::{CopiedVersions, Deletion, Existing, Fault, Kind, Stat, StoreError, StoreErrorKind};

use super::lookups::Effect;
use super::mounts::Spot;
use super::{Changed, Listing, Renamed, Version, Vfs, VfsError, VfsResult, WriteMode};

use of_a_file::Tried;

/// Files are copied in pieces of this many bytes.
const PIECE: usize = 1 << 20;

impl Vfs {
    /// Renames a file or a directory, within a store or across stores. A directory never takes a name that is taken. With `only` that
    /// version of a file is renamed, and nothing else is.
    ///
    /// Across stores it is a copy and then a delete. When it fails before the copy is whole, the source is whole; the error's
    /// message says what is where, and [`VfsError::renamed`] what was done.
    ///
    /// # Errors
    /// [`StoreErrorKind::NotFound`]; [`StoreErrorKind::AlreadyExists`]; [`StoreErrorKind::IsADirectory`] for a file onto a directory;
    /// [`StoreErrorKind::Unsupported`] for a directory into itself, a directory of the home itself, or one that holds an entry;
    /// [`StoreErrorKind::Changed`] when it is not `only`; the stores'.
    pub async fn rename(
        &self,
        from: &LogicalPath,
        to: &LogicalPath,
        existing: Existing,
        only: Option<&Version>,
    ) -> VfsResult<Changed> {
        let source = self.mounts.find_changeable(from, StoreErrorKind::Unsupported)?;
        let target = self.mounts.find_changeable(to, StoreErrorKind::AlreadyExists)?;
        let looked = match self.rename_as_a_file((from, &source), (to, &target), existing, only).await? {
            Tried::Renamed(changed) => return Ok(changed),
            Tried::Not(looked) => looked,
        };
        // Both look-ups at once: one round trip.
        let looking = async {
            match looked {
                Some(taken) => Ok(taken),
                None => self.look_at_target(to, &target).await,
            }
        };
        let (found, taken) = tokio::join!(self.look(from, &source), looking);
        let taken = taken?;
        let found = match found {
            Err(error) if error.kind() == StoreErrorKind::NotFound && self.emptied.has(from) => {
                return self.rename_emptied(from, to, &source, taken.as_ref()).await.map(|()| Changed::default());
            }
            found => found?,
        };
        let same_store = Arc::ptr_eq(&source.store, &target.store);
        if same_store && source.key == target.key {
            return match existing {
                Existing::Replace => Ok(Changed::default()),
                Existing::Refuse => Err(exists_already(to)),
            };
        }
        if !same_store {
            refuse_same_place(from, to, &source, &target).await?;
        }
        judge_target(to, found.kind, taken.as_ref(), existing)?;
        // Of a local store nothing is remembered that a file's new name could make untrue.
        let of_a_local_file = found.kind == Kind::File && source.store.keeps_directories();
        let effect = if of_a_local_file { Effect::Removes } else { Effect::Tree };
        let changing = self.lookups.begin(&source, effect);
        let changed = match (found.kind, same_store) {
            (Kind::File, true) => {
                let only = only.map(|Version(only)| only.as_str());
                let renamed = source.store.rename(&source.key, &target.key, existing, only).await;
                renamed.map(Changed::from).map_err(failed(from, to))?
            }
            (Kind::File, false) => self.move_file((from, &source), (to, &target), existing, only).await?,
            (Kind::Directory, _) => {
                self.change_directory((from, &source), (to, &target), only).await?;
                Changed::default()
            }
        };
        drop(changing);
        self.lookups.forget_all();
        self.emptied.forget(from);
        self.took_away(from, &source);
        Ok(changed)
    }

    async fn change_directory(
        &self,
        (from, source): (&LogicalPath, &Spot),
        (to, target): (&LogicalPath, &Spot),
        only: Option<&Version>,
    ) -> VfsResult<()> {
        if only.is_some() {
            return Err(VfsError::new(from, StoreErrorKind::Changed, StoreErrorKind::Changed.words()));
        }
        if to.is_at_or_below(from) {
            return Err(into_itself(to));
        }
        match Arc::ptr_eq(&source.store, &target.store) {
            true => self.rename_directory(from, to, source, target).await,
            false => self.move_directory(from, to).await,
        }
    }

    /// What has the new name.
    async fn look_at_target(&self, to: &LogicalPath, target: &Spot) -> VfsResult<Option<Stat>> {
        match self.look(to, target).await {
            Ok(found) => Ok(Some(found)),
            Err(error) if error.kind() == StoreErrorKind::NotFound => {
                Ok(self.emptied.has(to).then_some(Stat { kind: Kind::Directory, size: 0, mtime: None, etag: None }))
            }
            Err(error) => Err(error),
        }
    }

    /// Renames a folder that is there only for this connection, which has emptied it.
    async fn rename_emptied(
        &self,
        from: &LogicalPath,
        to: &LogicalPath,
        source: &Spot,
        taken: Option<&Stat>,
    ) -> VfsResult<()> {
        judge_target(to, Kind::Directory, taken, Existing::Refuse)?;
        if to.is_at_or_below(from) {
            return Err(into_itself(to));
        }
        self.make_directory_whatever_is_above(to).await?;
        self.emptied.forget(from);
        self.took_away(from, source);
        Ok(())
    }

    async fn rename_directory(
        &self,
        from: &LogicalPath,
        to: &LogicalPath,
        source: &Spot,
        target: &Spot,
    ) -> VfsResult<()> {
        // Two entries may lead into each other within one store.
        if target.key.as_str().starts_with(&source.key.as_prefix()) {
            return Err(VfsError::new(from, StoreErrorKind::Unsupported, "a directory cannot be moved into itself"));
        }
        // What has no directories copies file by file: before the client's fault was found, some of it may have been copied, and
        // perhaps not all of that was removed again.
        let in_one_step = source.store.keeps_directories();
        let renamed = source.store.rename_directory(&source.key, &target.key).await.map_err(failed(from, to));
        renamed.map_err(|error| match error.renamed {
            Renamed::Nothing if !in_one_step => error.having(Renamed::Perhaps),
            _ => error,
        })
    }

    async fn move_file(
        &self,
        (from, source): (&LogicalPath, &Spot),
        (to, target): (&LogicalPath, &Spot),
        existing: Existing,
        only: Option<&Version>,
    ) -> VfsResult<Changed> {
        let copied = self.copy_file(from, to, existing, only).await.map_err(|error| {
            // What the client did wrong is found before the copy is published.
            let untouched = error.fault() == Fault::Client;
            error.leaving(whole(from)).having(if untouched { Renamed::Nothing } else { Renamed::Perhaps })
        })?;
        // What came under the source's name meanwhile was not copied, and is not deleted.
        match source.store.delete_version(&source.key, &copied.version).await.map_err(kept(from, to))? {
            Deletion::Done => Ok(Changed { before: Some(Version(copied.version)), after: copied.made }),
            Deletion::WasGone => {
                Err(take_back(from, (to, target), copied.made.filter(|_| existing == Existing::Refuse)).await)
            }
        }
    }

    /// Copies a file with its time, `only` this version if one is given.
    async fn copy_file(
        &self,
        from: &LogicalPath,
        to: &LogicalPath,
        existing: Existing,
        only: Option<&Version>,
    ) -> VfsResult<Copied> {
        let mut reader = self.open_read(from).await?;
        let Some(version) = reader.version().map(str::to_owned) else {
            let what = "its store does not tell versions apart, so it cannot be moved to another store";
            return Err(VfsError::new(from, StoreErrorKind::Unsupported, what));
        };
        if only.is_some_and(|Version(only)| *only != version) {
            return Err(VfsError::new(from, StoreErrorKind::Changed, StoreErrorKind::Changed.words()));
        }
        let mode = WriteMode { truncate: true, existing, must_exist: false, read: false };
        let mut writer = self.open_write(to, mode).await?;
        if let Some(mtime) = reader.attributes().mtime {
            writer.set_mtime(mtime);
        }
        let mut at = 0;
        while at < reader.attributes().size {
            let piece = reader.read_at(at, PIECE).await?;
            let length = piece.len() as u64;
            writer.write_at(at, piece).await?;
            at += length;
        }
        let made = writer.commit().await?.version;
        Ok(Copied { version, made })
    }

    async fn move_directory(&self, from: &LogicalPath, to: &LogicalPath) -> VfsResult<()> {
        let copies = self.copy_tree(from, to).await.map_err(|error| {
            let left = format!("{}, and what was copied so far is in {to}", whole(from));
            part_of(from, error).leaving(left).having(Renamed::Perhaps)
        })?;
        self.remove_copied_tree(from, to, &copies).await.map_err(|error| {
            let left = if error.kind() == StoreErrorKind::Changed { newer(to) } else { copied(to) };
            part_of(from, error).leaving(left).having(Renamed::NewNameIsWhole)
        })
    }

    /// Copies a directory and all that is in it; which versions were copied. At most one page of a listing a level is in memory.
    async fn copy_tree(&self, from: &LogicalPath, to: &LogicalPath) -> VfsResult<CopiedVersions> {
        self.make_directory_whatever_is_above(to).await?;
        let mut copies = CopiedVersions::default();
        let mut walk = Walk::new(self, from, to).await?;
        while let Some(step) = walk.next(self).await? {
            match step {
                Step::File(from, to) => {
                    let copied = self.copy_file(&from, &to, Existing::Refuse, None).await?;
                    copies.add(&from, Some(&copied.version), None);
                }
                Step::Enter(to) => self.make_directory(&to).await?,
                Step::Leave(_, skipped) => refuse_hidden(from, skipped)?,
            }
        }
        Ok(copies)
    }

    /// As for files: the directory above a new name need not be there in an object store.
    async fn make_directory_whatever_is_above(&self, path: &LogicalPath) -> VfsResult<()> {
        let spot = self.mounts.find_changeable(path, StoreErrorKind::AlreadyExists)?;
        spot.store.make_directory(&spot.key).await.map_err(VfsError::at(path))
    }

    /// Removes the versions that were copied. What came meanwhile stays, with the directories above it, and is an error at the end.
    async fn remove_copied_tree(&self, from: &LogicalPath, to: &LogicalPath, copies: &CopiedVersions) -> VfsResult<()> {
        let mut first = None;
        let mut left = copies.len();
        let mut walk = Walk::new(self, from, to).await?;
        while let Some(step) = walk.next(self).await? {
            let done = match step {
                Step::File(from, _) => {
                    let removed = self.remove_copied(&from, copies).await;
                    left = left.saturating_sub(usize::from(!matches!(removed, Ok(Deletion::WasGone))));
                    removed.map(drop)
                }
                Step::Enter(_) => Ok(()),
                Step::Leave(path, _) => match self.remove_directory(&path).await {
                    // An object store's directory may have gone with its last file.
                    Err(error) if error.kind() == StoreErrorKind::NotFound => Ok(()),
                    // What it holds came meanwhile.
                    Err(error) if error.kind() == StoreErrorKind::DirectoryNotEmpty => Err(changed(&path)),
                    result => result,
                },
            };
            match done {
                Err(error) if error.kind() == StoreErrorKind::Changed => first = first.or(Some(error)),
                other => other?,
            }
        }
        match first {
            Some(error) => Err(error),
            None if left > 0 => Err(taken_by_others(from, left)),
            None => Ok(()),
        }
    }

    async fn remove_copied(&self, path: &LogicalPath, copies: &CopiedVersions) -> VfsResult<Deletion> {
        let spot = self.mounts.find_changeable(path, StoreErrorKind::IsADirectory)?;
        let object = match spot.store.open(&spot.key).await {
            Err(error) if error.kind == StoreErrorKind::NotFound => return Ok(Deletion::WasGone),
            object => object.map_err(VfsError::at(path))?,
        };
        match object.version().filter(|version| copies.has_source(path, Some(version))) {
            Some(version) => spot.store.delete_version(&spot.key, version).await.map_err(VfsError::at(path)),
            None => Err(changed(path)),
        }
    }
}

/// Two stores may lead to one place. A file would be copied onto itself and then deleted, a directory copied into itself without an end.
async fn refuse_same_place(from: &LogicalPath, to: &LogicalPath, source: &Spot, target: &Spot) -> VfsResult<()> {
    if !source.store.place().shares_site(&target.store.place()) {
        return Ok(());
    }
    let (source, target) = tokio::join!(source.store.place_of(&source.key), target.store.place_of(&target.key));
    let (source, target) = (source.map_err(VfsError::at(from))?, target.map_err(VfsError::at(to))?);
    if source.may_be(&target) {
        let message = "both names seem to be one object, in two stores";
        return Err(VfsError::new(to, StoreErrorKind::Unsupported, message));
    }
    if source.may_hold(&target) { Err(into_itself(to)) } else { Ok(()) }
}

/// A file that was copied to another store.
struct Copied {
    /// The version that was copied.
    version: String,
    /// What it became.
    made: Option<Version>,
}

/// Somebody else has renamed or removed the source after it was copied: as if that had been first, the copy `made` is removed again. One
/// that may have replaced a file stays, for nothing else would have that name any more. The error of the rename.
async fn take_back(from: &LogicalPath, (to, target): (&LogicalPath, &Spot), made: Option<Version>) -> VfsError {
    let removed = match &made {
        Some(Version(made)) => target.store.delete_version(&target.key, made).await.is_ok(),
        None => false,
    };
    let message = "it was renamed or removed by somebody else meanwhile";
    let error = VfsError::new(from, StoreErrorKind::NotFound, message);
    match removed {
        true => error,
        false => error.leaving(format!("what was there before was copied to {to}")).having(Renamed::NewNameIsWhole),
    }
}

/// Files of a tree that others have renamed or removed after they were copied. Which copies are too many is not known, so all stay.
fn taken_by_others(path: &LogicalPath, files: usize) -> VfsError {
    let message = format!("{files} files in it were renamed or removed by others meanwhile, after they were copied");
    VfsError::new(path, StoreErrorKind::Changed, message)
}

fn changed(path: &LogicalPath) -> VfsError {
    VfsError::new(path, StoreErrorKind::Changed, "it changed while it was copied, and stays")
}

fn judge_target(to: &LogicalPath, kind: Kind, taken: Option<&Stat>, existing: Existing) -> VfsResult<()> {
    match (kind, taken) {
        (_, None) => Ok(()),
        (Kind::File, Some(Stat { kind: Kind::File, .. })) if existing == Existing::Replace => Ok(()),
        (Kind::File, Some(Stat { kind: Kind::Directory, .. })) if existing == Existing::Replace => {
            Err(VfsError::new(to, StoreErrorKind::IsADirectory, "it is a directory"))
        }
        (_, Some(_)) => Err(exists_already(to)),
    }
}

fn into_itself(path: &LogicalPath) -> VfsError {
    VfsError::new(path, StoreErrorKind::Unsupported, "a directory cannot be moved into itself")
}

fn exists_already(path: &LogicalPath) -> VfsError {
    VfsError::new(path, StoreErrorKind::AlreadyExists, "it exists already")
}

/// The error of a source that could not be removed after it was copied.
fn kept(from: &LogicalPath, to: &LogicalPath) -> impl FnOnce(StoreError) -> VfsError {
    let (path, to) = (from.clone(), to.clone());
    move |error| {
        let left = if error.kind == StoreErrorKind::Changed { newer(&to) } else { copied(&to) };
        VfsError::at(&path)(error).leaving(left).having(Renamed::NewNameIsWhole)
    }
}

/// The error of a directory of which a part failed.
fn part_of(directory: &LogicalPath, error: VfsError) -> VfsError {
    if error.path == *directory {
        return error;
    }
    VfsError::at(directory)(StoreError::with_source(error.kind(), error.to_string(), error))
}

/// The error of a store's own rename. What the client did wrong was found before anything was done.
fn failed(from: &LogicalPath, to: &LogicalPath) -> impl FnOnce(StoreError) -> VfsError {
    let before = format!("what was there before was copied to {to}");
    let (path, left) = (from.clone(), (whole(from), copied(to), newer(to), before));
    move |error| {
        let (untouched, after_copy) = (error.fault() == Fault::Client, error.after_copy);
        let error = VfsError::at(&path)(error);
        let (left, renamed) = match (after_copy, untouched, error.kind()) {
            (true, _, StoreErrorKind::NotFound) => (left.3, Renamed::NewNameIsWhole),
            (true, _, StoreErrorKind::Changed) => (left.2, Renamed::NewNameIsWhole),
            (true, ..) => (left.1, Renamed::NewNameIsWhole),
            (false, true, _) => return error,
            (false, false, _) => (left.0, Renamed::Perhaps),
        };
        error.leaving(left).having(renamed)
    }
}

fn whole(from: &LogicalPath) -> String {
    format!("{from} is whole")
}

fn copied(to: &LogicalPath) -> String {
    format!("all of it was copied to {to}, and the old name is not wholly removed")
}

/// What a rename leaves when another version came under the old name.
fn newer(to: &LogicalPath) -> String {
    format!("what was there before was copied to {to}, and what is newer stays under the old name")
}

fn refuse_hidden(from: &LogicalPath, skipped: u64) -> VfsResult<()> {
    if skipped == 0 {
        return Ok(());
    }
    let message = format!("{skipped} of its keys cannot be named here and would be left behind");
    Err(VfsError::new(from, StoreErrorKind::InvalidName, message))
}

/// A walk through a tree, each directory before and after what is in it.
struct Walk {
    levels: Vec<Level>,
}

struct Level {
    from: LogicalPath,
    to: LogicalPath,
    listing: Listing,
    page: std::vec::IntoIter<super::Entry>,
}

/// One step.
enum Step {
    /// A file's name in the source and in the target.
    File(LogicalPath, LogicalPath),
    /// The directory's name in the target.
    Enter(LogicalPath),
    /// The source, and how many of its keys cannot be shown.
    Leave(LogicalPath, u64),
}

impl Walk {
    async fn new(vfs: &Vfs, from: &LogicalPath, to: &LogicalPath) -> VfsResult<Walk> {
        Ok(Walk { levels: vec![Level::open(vfs, from.clone(), to.clone()).await?] })
    }

    async fn next(&mut self, vfs: &Vfs) -> VfsResult<Option<Step>> {
        loop {
            let Some(level) = self.levels.last_mut() else { return Ok(None) };
            if let Some(entry) = level.page.next() {
                let from = below(&level.from, &entry.name)?;
                let to = below(&level.to, &entry.name)?;
                if entry.attributes.kind == Kind::File {
                    return Ok(Some(Step::File(from, to)));
                }
                self.levels.push(Level::open(vfs, from, to.clone()).await?);
                return Ok(Some(Step::Enter(to)));
            }
            match level.listing.next_page().await? {
                Some(page) => level.page = page.into_iter(),
                None => {
                    let step = Step::Leave(level.from.clone(), level.listing.skipped().count);
                    self.levels.pop();
                    return Ok(Some(step));
                }
            }
        }
    }
}

impl Level {
    async fn open(vfs: &Vfs, from: LogicalPath, to: LogicalPath) -> VfsResult<Level> {
        let listing = vfs.open_directory(&from).await?;
        Ok(Level { from, to, listing, page: Vec::new().into_iter() })
    }
}

fn below(path: &LogicalPath, name: &str) -> VfsResult<LogicalPath> {
    path.join(name).map_err(|error| VfsError::new(path, StoreErrorKind::InvalidName, format!("{name:?}: {error}")))
}
