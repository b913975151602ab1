//! Single names: attributes, directories, removal, times, lengths.

use std::sync::Arc;
use std::time::SystemTime;

use crate::path::LogicalPath;
use crate::stores::{Capacity, Existing, Kind, Stat, StoreError, StoreErrorKind};

use super::mounts::{Place, Spot};
use super::{Attributes, Version, Vfs, VfsError, VfsResult, WriteMode};

impl Vfs {
    /// The path as events show it, `/<bucket or store name>/<key>`; `None` for a path that no mount covers.
    pub fn storage_path(&self, path: &LogicalPath) -> Option<String> {
        match self.mounts.find(path) {
            Ok(Place::Stored(spot)) => Some(spot.store.event_path(&spot.key)),
            _ => None,
        }
    }

    /// Attributes of a path.
    ///
    /// # Errors
    /// [`StoreErrorKind::NotFound`]; the store's.
    pub async fn stat(&self, path: &LogicalPath) -> VfsResult<Attributes> {
        match self.mounts.find(path)? {
            Place::Stored(spot) if !spot.fixed => match stat(path, &spot).await {
                Err(error) if error.kind() == StoreErrorKind::NotFound && self.emptied.has(path) => {
                    Ok(Attributes::directory())
                }
                found => Ok(Attributes::from(&found?)),
            },
            // The home's own directories exist whatever the store has.
            _ => Ok(Attributes::directory()),
        }
    }

    /// What tells the present version of a file from others.
    ///
    /// # Errors
    /// [`StoreErrorKind::NotFound`]; [`StoreErrorKind::IsADirectory`]; the store's.
    pub async fn version(&self, path: &LogicalPath) -> VfsResult<Version> {
        let spot = self.mounts.find_changeable(path, StoreErrorKind::IsADirectory)?;
        let object = spot.store.open(&spot.key).await.map_err(VfsError::at(path))?;
        Ok(Version { stat: object.stat().clone(), version: object.version().map(str::to_owned) })
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
        // Both look-ups at once: one round trip.
        let (above, here) = tokio::join!(self.stat_parent(path), stat(path, &spot));
        match here {
            Ok(_) => return Err(VfsError::new(path, StoreErrorKind::AlreadyExists, "it exists already")),
            Err(error) if error.kind() == StoreErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
        match above?.kind {
            Kind::Directory => spot.store.make_directory(&spot.key).await.map_err(VfsError::at(path)),
            Kind::File => Err(VfsError::new(path, StoreErrorKind::NotADirectory, "the name above it is a file")),
        }
    }

    async fn stat_parent(&self, path: &LogicalPath) -> VfsResult<Attributes> {
        match path.parent() {
            Some(parent) => self.stat(&parent).await,
            None => Ok(Attributes::directory()),
        }
    }

    /// Removes an empty directory.
    ///
    /// # Errors
    /// [`StoreErrorKind::NotADirectory`] for a file; [`StoreErrorKind::DirectoryNotEmpty`];
    /// [`StoreErrorKind::Unsupported`] for a directory of the home itself.
    pub async fn remove_directory(&self, path: &LogicalPath) -> VfsResult<()> {
        let spot = self.mounts.find_changeable(path, StoreErrorKind::Unsupported)?;
        let removed = match stat(path, &spot).await.map(|found| found.kind) {
            Ok(Kind::Directory) => spot.store.remove_directory(&spot.key).await.map_err(still_holding(path)),
            Ok(Kind::File) => return Err(VfsError::new(path, StoreErrorKind::NotADirectory, "it is a file")),
            Err(error) => Err(error),
        };
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
        match stat(path, &spot).await?.kind {
            Kind::File => {
                spot.store.delete(&spot.key).await.map_err(VfsError::at(path))?;
                self.took_away(path, &spot);
                Ok(())
            }
            Kind::Directory => Err(VfsError::new(path, StoreErrorKind::IsADirectory, "it is a directory")),
        }
    }

    /// Sets the modification time of a file or directory; says whether it is kept. Those of the home itself are not.
    ///
    /// # Errors
    /// [`StoreErrorKind::NotFound`]; the store's.
    pub async fn set_mtime(&self, path: &LogicalPath, mtime: SystemTime) -> VfsResult<bool> {
        match self.mounts.find(path)? {
            Place::Stored(spot) if !spot.fixed => match stat(path, &spot).await?.kind {
                Kind::File => spot.store.set_mtime(&spot.key, mtime).await.map_err(VfsError::at(path)),
                Kind::Directory => spot.store.set_directory_mtime(&spot.key, mtime).await.map_err(VfsError::at(path)),
            },
            _ => Ok(false),
        }
    }

    /// Cuts or extends a file that is not open.
    ///
    /// # Errors
    /// As [`Vfs::open_write`] of a file that must exist, and as [`super::Writer::commit`].
    pub async fn set_length(&self, path: &LogicalPath, length: u64) -> VfsResult<()> {
        let mode = WriteMode { truncate: length == 0, existing: Existing::Replace, must_exist: true, read: false };
        let mut writer = self.open_write(path, mode).await?;
        writer.set_length(length).await?;
        writer.commit().await.map(drop)
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

async fn stat(path: &LogicalPath, spot: &Spot) -> VfsResult<Stat> {
    spot.store.stat(&spot.key).await.map_err(VfsError::at(path))
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
