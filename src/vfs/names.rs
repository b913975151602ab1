//! Single names: attributes, directories, removal, times, lengths.

use std::sync::Arc;
use std::time::SystemTime;

use crate::path::LogicalPath;
use crate::stores::{Capacity, Existing, Kind, Made, Stat, StoreError, StoreErrorKind, StoreResult};

use super::lookups::{Effect, Known};
use super::mounts::{Place, Spot};
use super::{Attributes, Changed, Version, Vfs, VfsError, VfsResult, WriteMode};

impl Vfs {
    /// The path as events show it, `/<bucket or store name>/<key>`; `None` for a path that no mount covers.
    pub fn storage_path(&self, path: &LogicalPath) -> Option<String> {
        match self.mounts.find(path) {
            Ok(Place::Stored(spot)) => Some(spot.store.event_path(&spot.key)),
            _ => None,
        }
    }

    /// Attributes of a path, which may be a few seconds old where others than this gateway change the store.
    ///
    /// # Errors
    /// [`StoreErrorKind::NotFound`]; the store's.
    pub async fn stat(&self, path: &LogicalPath) -> VfsResult<Attributes> {
        match self.mounts.find(path)? {
            Place::Stored(spot) if !spot.fixed => {
                let found = match self.lookups.recall(path, &spot) {
                    Some(Known::File(Some(stat), _) | Known::Directory(Some(stat))) => Ok(stat),
                    Some(Known::Nothing) => Err(missing(path)),
                    _ => self.look(path, &spot).await,
                };
                self.shown(path, found)
            }
            // The home's own directories exist whatever the store has.
            _ => Ok(Attributes::directory()),
        }
    }

    /// As [`Vfs::stat`], of what is there now: for a decision that cannot be taken back.
    ///
    /// # Errors
    /// As [`Vfs::stat`].
    pub async fn stat_now(&self, path: &LogicalPath) -> VfsResult<Attributes> {
        match self.mounts.find(path)? {
            Place::Stored(spot) if !spot.fixed => self.shown(path, self.look(path, &spot).await),
            _ => Ok(Attributes::directory()),
        }
    }

    /// What the connection sees where its store has this.
    fn shown(&self, path: &LogicalPath, found: VfsResult<Stat>) -> VfsResult<Attributes> {
        match found {
            Err(error) if error.kind() == StoreErrorKind::NotFound && self.emptied.has(path) => {
                Ok(Attributes::directory())
            }
            found => Ok(Attributes::from(&found?)),
        }
    }

    /// Asks the store what is there, and remembers it.
    pub(super) async fn look(&self, path: &LogicalPath, spot: &Spot) -> VfsResult<Stat> {
        let look = self.lookups.begin_look(spot);
        let found = spot.store.stat(&spot.key).await;
        self.lookups.looked(path, &look, &found);
        found.map_err(VfsError::at(path))
    }

    /// The present version of a file and its entity tag, as far as the store tells them.
    ///
    /// # Errors
    /// [`StoreErrorKind::NotFound`]; [`StoreErrorKind::IsADirectory`]; the store's.
    pub async fn version(&self, path: &LogicalPath) -> VfsResult<(Option<Version>, Option<String>)> {
        let spot = self.mounts.find_changeable(path, StoreErrorKind::IsADirectory)?;
        let object = spot.store.open(&spot.key).await.map_err(VfsError::at(path))?;
        Ok((object.version().map(|version| Version(version.to_owned())), object.stat().etag.clone()))
    }

    /// Whether both names lie in one store.
    pub fn share_a_store(&self, one: &LogicalPath, other: &LogicalPath) -> bool {
        match (self.mounts.find(one), self.mounts.find(other)) {
            (Ok(Place::Stored(one)), Ok(Place::Stored(other))) => Arc::ptr_eq(&one.store, &other.store),
            _ => false,
        }
    }

    /// Makes a directory.
    ///
    /// # Errors
    /// [`StoreErrorKind::AlreadyExists`] when anything has the name; [`StoreErrorKind::NotFound`] or
    /// [`StoreErrorKind::NotADirectory`] when the directory above does not exist or is none.
    pub async fn make_directory(&self, path: &LogicalPath) -> VfsResult<()> {
        let spot = self.mounts.find_changeable(path, StoreErrorKind::AlreadyExists)?;
        let look = self.lookups.begin_look(&spot);
        // Both look-ups at once.
        let (above, here) = tokio::join!(self.kind_of_parent(path), self.look(path, &spot));
        match here {
            Ok(_) => return Err(VfsError::new(path, StoreErrorKind::AlreadyExists, "it exists already")),
            Err(error) if error.kind() == StoreErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
        if above? == Kind::File {
            return Err(VfsError::new(path, StoreErrorKind::NotADirectory, "the name above it is a file"));
        }
        let change = self.lookups.begin(&spot, Effect::Makes);
        spot.store.make_directory(&spot.key).await.map_err(VfsError::at(path))?;
        self.lookups.made(path, &spot, change, Some(Known::Directory(None)));
        self.lookups.listed(path, &look, Some(std::iter::empty()));
        Ok(())
    }

    async fn kind_of_parent(&self, path: &LogicalPath) -> VfsResult<Kind> {
        let Some(parent) = path.parent() else { return Ok(Kind::Directory) };
        if let Place::Stored(spot) = self.mounts.find(&parent)?
            && let Some(Known::Directory(_)) = self.lookups.recall(&parent, &spot)
        {
            return Ok(Kind::Directory);
        }
        self.stat_now(&parent).await.map(|above| above.kind)
    }

    /// Removes an empty directory.
    ///
    /// # Errors
    /// [`StoreErrorKind::NotADirectory`] for a file; [`StoreErrorKind::DirectoryNotEmpty`];
    /// [`StoreErrorKind::Unsupported`] for a directory of the home itself.
    pub async fn remove_directory(&self, path: &LogicalPath) -> VfsResult<()> {
        let spot = self.mounts.find_changeable(path, StoreErrorKind::Unsupported)?;
        let change = self.lookups.begin(&spot, Effect::Removes);
        // An object store finds out by itself whether there is a directory. A folder's own removal would not tell it from a file.
        let must_look = spot.store.keeps_directories();
        if must_look && self.look(path, &spot).await?.kind == Kind::File {
            return Err(not_a_directory(path));
        }
        let removed = match spot.store.remove_directory(&spot.key).await.map_err(still_holding(path)) {
            Err(error) if error.kind() == StoreErrorKind::NotFound && !must_look => {
                match self.look(path, &spot).await {
                    Ok(found) if found.kind == Kind::File => return Err(not_a_directory(path)),
                    _ => Err(error),
                }
            }
            removed => removed,
        };
        drop(change);
        match removed {
            Err(error) if error.kind() == StoreErrorKind::NotFound && self.emptied.has(path) => {}
            removed => removed?,
        }
        self.emptied.forget(path);
        self.took_away(path, &spot);
        Ok(())
    }

    /// The name was removed or renamed. A local store's folders stay by themselves.
    pub(super) fn took_away(&self, path: &LogicalPath, spot: &Spot) {
        if !spot.store.keeps_directories() {
            self.emptied.took_away(path);
        }
    }

    /// Removes a file.
    ///
    /// # Errors
    /// [`StoreErrorKind::IsADirectory`]; [`StoreErrorKind::NotFound`].
    pub async fn remove_file(&self, path: &LogicalPath) -> VfsResult<()> {
        let spot = self.mounts.find_changeable(path, StoreErrorKind::IsADirectory)?;
        match self.look(path, &spot).await?.kind {
            Kind::File => {
                let change = self.lookups.begin(&spot, Effect::Removes);
                spot.store.delete(&spot.key).await.map_err(VfsError::at(path))?;
                drop(change);
                self.took_away(path, &spot);
                Ok(())
            }
            Kind::Directory => Err(VfsError::new(path, StoreErrorKind::IsADirectory, "it is a directory")),
        }
    }

    /// Sets the modification time of a file or directory; `None` when it is not kept, as those of the home itself are not. With `only`
    /// that version of a file gets it, and nothing else does.
    ///
    /// # Errors
    /// [`StoreErrorKind::NotFound`]; [`StoreErrorKind::Changed`] when it is not `only`; the store's.
    pub async fn set_mtime(
        &self,
        path: &LogicalPath,
        mtime: SystemTime,
        only: Option<&Version>,
    ) -> VfsResult<Option<Changed>> {
        let spot = match self.mounts.find(path)? {
            Place::Stored(spot) if !spot.fixed => spot,
            _ => return Ok(None),
        };
        let only = only.map(|Version(only)| only.as_str());
        let (known, made) = (self.lookups.recall(path, &spot), self.lookups.recall_made(path, &spot));
        let change = self.lookups.begin(&spot, Effect::Makes);
        let is_directory = match known {
            Some(Known::Directory(_)) => true,
            // An object store finds out by itself whether there is a file.
            _ if !spot.store.keeps_directories() => match set_file_mtime(&spot, made, mtime, only).await {
                Ok((Some(changed), known)) => {
                    self.lookups.made(path, &spot, change, known);
                    return Ok(Some(changed));
                }
                // Perhaps a directory's marker under its own name (Azure).
                Ok((None, _)) => self.look(path, &spot).await?.kind == Kind::Directory,
                // Some servers fail each look at a name that is a folder on their disk.
                Err(error) => match self.look(path, &spot).await? {
                    Stat { kind: Kind::Directory, .. } => true,
                    _ => return Err(VfsError::at(path)(error)),
                },
            },
            _ => self.look(path, &spot).await?.kind == Kind::Directory,
        };
        let kept = match is_directory {
            true if only.is_some() => Err(StoreError::new(StoreErrorKind::Changed, StoreErrorKind::Changed.words())),
            true => spot.store.set_directory_mtime(&spot.key, mtime).await.map(|kept| kept.then(Changed::default)),
            false => spot.store.set_mtime(&spot.key, mtime, only).await.map(|kept| kept.map(Changed::from)),
        };
        drop(change);
        kept.map_err(VfsError::at(path))
    }

    /// Cuts or extends a file that is not open. `None` when it had that length already; one that is emptied has nothing of another version.
    ///
    /// # Errors
    /// As [`Vfs::open_write`] of a file that must exist, and as [`super::Writer::commit`].
    pub async fn set_length(&self, path: &LogicalPath, length: u64) -> VfsResult<Option<Changed>> {
        let mode = WriteMode { truncate: length == 0, existing: Existing::Replace, must_exist: true, read: false };
        let mut writer = self.open_write(path, mode).await?;
        writer.set_length(length).await?;
        let (changes, before) = (writer.has_content(), writer.version_it_changes());
        let after = writer.commit().await?.version;
        Ok(changes.then_some(Changed { before, after }))
    }

    /// Capacity of the store behind a path, where the store knows it.
    ///
    /// # Errors
    /// [`StoreErrorKind::NotFound`] for a path that no entry covers; the store's.
    pub async fn capacity(&self, path: &LogicalPath) -> VfsResult<Option<Capacity>> {
        match self.mounts.find(path)? {
            Place::Stored(spot) => spot.store.capacity().await.map_err(VfsError::at(path)),
            Place::Virtual => Ok(None),
        }
    }
}

/// Sets the time of a file, if it is one; what that changed where it is kept, and what is known of the file then.
async fn set_file_mtime(
    spot: &Spot,
    made: Option<Made>,
    mtime: SystemTime,
    only: Option<&str>,
) -> StoreResult<(Option<Changed>, Option<Known>)> {
    let (kept, made) = match made {
        None => (spot.store.set_mtime(&spot.key, mtime, only).await?, None),
        Some(made) => spot.store.set_mtime_of_made(&spot.key, &made, mtime, only).await?,
    };
    Ok((kept.map(Changed::from), made.map(Known::made)))
}

fn missing(path: &LogicalPath) -> VfsError {
    VfsError::new(path, StoreErrorKind::NotFound, "it does not exist")
}

fn not_a_directory(path: &LogicalPath) -> VfsError {
    VfsError::new(path, StoreErrorKind::NotADirectory, "it is a file")
}

/// The error of a directory that was not removed. The client sees none of the names that are in the way where they cannot be shown,
/// so it is told.
fn still_holding(path: &LogicalPath) -> impl FnOnce(StoreError) -> VfsError {
    move |error| {
        let hidden = error.cause().filter(|_| error.kind == StoreErrorKind::DirectoryNotEmpty);
        match hidden.map(str::to_owned) {
            Some(hidden) => VfsError::at(path)(StoreError::new(error.kind, error.kind.words())).leaving(hidden),
            None => VfsError::at(path)(error),
        }
    }
}
