//! The root folder and everything that is done by name beneath it.

use std::ffi::OsStr;
use std::fs::File;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use cap_std::ambient_authority;
use cap_std::fs::{Dir, DirBuilder, DirBuilderExt, Metadata};
use rustix::fs::{AtFlags, Mode, OFlags, RenameFlags};
use rustix::io::Errno;
use tokio::sync::Semaphore;

use super::failure::{at, kind_of};
use super::listing::{self, OpenListings};
use super::names::Names;
use super::upload::sweep;
use super::version::Version;
use super::within::identity;
use crate::in_place::InPlace;
use crate::stores::{
    AtOnce, Capacity, Change, Deletion, Existing, Key, Kind, Stat, StoreError, StoreErrorKind, StoreResult,
};

/// The folder at the root that is Lockgate's own.
pub(super) const RESERVED: &str = ".lockgate";

/// An open root folder. Nothing here can reach a file outside of it, or the gateway's own: [`within`](super::within) follows the ways
/// there.
#[derive(Debug)]
pub(super) struct Root {
    pub(super) folder: Dir,
    /// Its path, without links.
    pub(super) path: PathBuf,
    /// What tells it from all other folders.
    pub(super) identity: (u64, u64),
    /// Where unfinished uploads lie.
    pub(super) uploads: Dir,
    /// Whether links are followed at all.
    pub(super) follows_links: bool,
    /// Who gives names to files.
    pub(super) names: Names,
    /// Whether every change reaches the disk before it is answered.
    pub(super) fsync: bool,
    /// Listings between two pages.
    pub(super) listings: OpenListings,
    /// One for each call that may be made at once.
    pub(super) turns: Arc<Semaphore>,
    /// Whether calls that look at something are quick.
    pub(super) looks: Arc<InPlace>,
    /// The same of calls that change something, and wait for the disk if the operator wants that.
    pub(super) changes: Arc<InPlace>,
}

impl Root {
    /// Opens the folder, making it if it is missing, and removes what dead processes left of their uploads.
    pub(super) fn open(folder: &Path, fsync: bool, follows_links: bool, at_once: AtOnce) -> StoreResult<Self> {
        let shown = &folder.display().to_string();
        std::fs::create_dir_all(folder).map_err(at("make the folder", shown))?;
        let path = folder.canonicalize().map_err(at("open the folder", shown))?;
        let folder = Dir::open_ambient_dir(folder, ambient_authority()).map_err(at("open the folder", shown))?;
        let identity = identity(&folder).map_err(at("open the folder", shown))?;
        let own = open_private(&folder, RESERVED).map_err(at("make the folder of uploads in", shown))?;
        let uploads = open_private(&own, "uploads").map_err(at("make the folder of uploads in", shown))?;
        sweep(&uploads).map_err(at("clear the folder of uploads in", shown))?;
        let (listings, looks) = (OpenListings::new(at_once.listings), Arc::<InPlace>::default());
        let turns = Arc::new(Semaphore::new(at_once.calls));
        let changes = Arc::new(looks.beside());
        let names = Names::new(own);
        Ok(Root { folder, path, identity, uploads, follows_links, names, fsync, listings, turns, looks, changes })
    }

    /// The path of a key beneath the root.
    ///
    /// # Errors
    /// The reserved folder is refused by name.
    pub(super) fn path<'k>(&self, key: &'k Key) -> StoreResult<&'k str> {
        if key.is_root() {
            return Ok(".");
        }
        let path = key.as_str();
        if path.split('/').next().is_some_and(|name| name.eq_ignore_ascii_case(RESERVED)) {
            return Err(reserved());
        }
        Ok(path)
    }

    /// The parent folder of a key and the key's last component.
    pub(super) fn place<'k>(&self, key: &'k Key, parents: Parents) -> StoreResult<(Dir, &'k str)> {
        self.path(key)?;
        let (Some(parent), Some(name)) = (key.parent(), key.name()) else {
            return Err(StoreError::new(StoreErrorKind::IsADirectory, "the root of the store is a directory"));
        };
        let folder = match self.open_folder(&parent) {
            Err(error) if parents == Parents::Make && error.kind == StoreErrorKind::NotFound => {
                self.make_folders(&key.folder_to_make().unwrap_or_else(Key::root))?;
                self.open_folder(&parent)?
            }
            opened => opened?,
        };
        // A link may have led to the root.
        match self.is_reserved(&folder, OsStr::new(name)) {
            Ok(false) => Ok((folder, name)),
            Ok(true) => Err(reserved()),
            Err(error) => Err(at("open the folder", &parent)(error)),
        }
    }

    /// Looks whether a key can be made: the nearest of its parents that exists is a folder.
    pub(super) fn can_hold(&self, key: &Key) -> StoreResult<()> {
        self.path(key)?;
        let mut above = key.parent();
        while let Some(folder) = above {
            match self.open_folder(&folder) {
                Err(error) if error.kind == StoreErrorKind::NotFound && !folder.is_root() => {
                    if self.is_dead_link(&folder) {
                        return Err(error);
                    }
                    above = folder.parent();
                }
                other => return other.map(drop),
            }
        }
        Err(StoreError::new(StoreErrorKind::IsADirectory, "the root of the store is a directory"))
    }

    /// Whether what leads nowhere has its name all the same, a link or the gateway's own: no folder can be made there.
    fn is_dead_link(&self, key: &Key) -> bool {
        match self.place(key, Parents::MustExist) {
            Ok((above, name)) => rustix::fs::statat(&above, name, AtFlags::SYMLINK_NOFOLLOW).is_ok(),
            Err(error) => error.kind == StoreErrorKind::InvalidName,
        }
    }

    fn open_folder(&self, key: &Key) -> StoreResult<Dir> {
        self.path(key)?;
        self.open_dir(key).map_err(at("open the folder", key))
    }

    /// Makes a folder and its parents, outermost first.
    fn make_folders(&self, key: &Key) -> StoreResult<()> {
        let (Some(parent), Some(name)) = (key.parent(), key.name()) else { return Ok(()) };
        self.make_folders(&parent)?;
        let above = self.open_folder(&parent)?;
        match above.create_dir(name) {
            Ok(()) => self.sync_folder(&above, &parent),
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => Ok(()),
            Err(error) => Err(at("make the folder", key)(error)),
        }
    }

    /// Brings the names in a folder to the disk, if the operator wants that.
    pub(super) fn sync_folder(&self, folder: &Dir, key: &Key) -> StoreResult<()> {
        if !self.fsync {
            return Ok(());
        }
        // cap-std's handle may be `O_PATH`, which cannot be synced.
        let readable = readable(folder).map_err(at("sync the folder", key))?;
        rustix::fs::fsync(readable).map_err(at("sync the folder", key))
    }

    /// A folder, open for reading its names.
    pub(super) fn read_folder(&self, key: &Key) -> StoreResult<OwnedFd> {
        let folder = self.open_folder(key)?;
        readable(&folder).map_err(at("list", key))
    }

    pub(super) fn stat(&self, key: &Key) -> StoreResult<Stat> {
        self.path(key)?;
        let missing = || StoreError::plain(StoreErrorKind::NotFound, format!("\"{key}\" does not exist"));
        let metadata = self.metadata(key).map_err(|error| match kind_of(&error) {
            // A name below a file is as absent here as it is in an object store.
            StoreErrorKind::NotADirectory => missing(),
            _ => at("look up", key)(error),
        })?;
        stat_of(&metadata).ok_or_else(missing)
    }

    /// The version of the file that a key leads to; `None` when there is none.
    pub(super) fn version(&self, key: &Key) -> StoreResult<Option<Version>> {
        match self.open_file(key) {
            Ok((file, _)) => Version::of(&file).map(Some).map_err(at("look up", key)),
            Err(error) if matches!(error.kind, StoreErrorKind::NotFound | StoreErrorKind::NotADirectory) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Opens a file for reading. Never waits for a pipe's other end.
    pub(super) fn open_file(&self, key: &Key) -> StoreResult<(File, Stat)> {
        self.path(key)?;
        let file = self.open_for_reading(key).map_err(at("open", key))?;
        let metadata = file.metadata().map_err(at("open", key))?;
        if metadata.is_dir() {
            return Err(StoreError::plain(StoreErrorKind::IsADirectory, format!("\"{key}\" is a directory")));
        }
        if !metadata.is_file() {
            return Err(StoreError::plain(StoreErrorKind::NotFound, format!("\"{key}\" is not a regular file")));
        }
        let stat = Stat { kind: Kind::File, size: metadata.len(), mtime: metadata.modified().ok(), etag: None };
        Ok((file, stat))
    }

    pub(super) fn delete(&self, key: &Key) -> StoreResult<()> {
        let (folder, name) = self.place(key, Parents::MustExist)?;
        rustix::fs::unlinkat(&folder, name, AtFlags::empty()).map_err(at("delete", key))?;
        self.sync_folder(&folder, key)
    }

    /// Deletes a file if it is still this version; one that is gone is no error.
    pub(super) fn delete_version(&self, key: &Key, wanted: &str) -> StoreResult<Deletion> {
        let (folder, name) = match self.place(key, Parents::MustExist) {
            Err(error) if error.kind == StoreErrorKind::NotFound => return Ok(Deletion::WasGone),
            place => place?,
        };
        {
            let _alone = self.names.alone();
            match self.version(key)? {
                None => return Ok(Deletion::WasGone),
                Some(found) if wanted.parse() == Ok(found) => {}
                Some(_) => return Err(replaced(key)),
            }
            rustix::fs::unlinkat(&folder, name, AtFlags::empty()).map_err(at("delete", key))?;
        }
        self.sync_folder(&folder, key)?;
        Ok(Deletion::Done)
    }

    pub(super) fn make_directory(&self, key: &Key) -> StoreResult<()> {
        let (folder, name) = self.place(key, Parents::Make)?;
        folder.create_dir(name).map_err(at("make the directory", key))?;
        self.sync_folder(&folder, key)
    }

    pub(super) fn remove_directory(&self, key: &Key) -> StoreResult<()> {
        let (folder, name) = self.place(key, Parents::MustExist)?;
        match rustix::fs::unlinkat(&folder, name, AtFlags::REMOVEDIR) {
            Err(Errno::NOTEMPTY | Errno::EXIST) => return Err(listing::not_empty(self, key)),
            done => done.map_err(at("remove the directory", key))?,
        }
        self.sync_folder(&folder, key)
    }

    /// Renames a file in one step, `only` this version if one is given.
    pub(super) fn rename_file(
        &self,
        from: &Key,
        to: &Key,
        existing: Existing,
        only: Option<&str>,
    ) -> StoreResult<Change> {
        // One that may be renamed and not read has no version that could be told.
        let file = self.open_file(from).ok().map(|(file, _)| file);
        let version = || file.as_ref().and_then(|file| Version::of(file).ok()).map(|version| version.to_string());
        let before = version();
        self.rename(from, to, existing, only)?;
        Ok(Change { before, after: version() })
    }

    /// Renames what has a name in one step, `only` this version of a file if one is given.
    fn rename(&self, from: &Key, to: &Key, existing: Existing, only: Option<&str>) -> StoreResult<()> {
        let (old_folder, old_name) = self.place(from, Parents::MustExist)?;
        let old = folder_and_name(&old_folder, old_name);
        // Before the parents of `to` are made: a source that is missing leaves nothing behind.
        rustix::fs::statat(old.0, old.1, AtFlags::SYMLINK_NOFOLLOW).map_err(at("rename", from))?;
        let (new_folder, new_name) = self.place(to, Parents::Make)?;
        {
            let _held = if only.is_some() { self.names.alone() } else { self.names.shared() };
            if let Some(only) = only
                && self.version(from)?.is_none_or(|found| only.parse() != Ok(found))
            {
                return Err(replaced(from));
            }
            move_name(old, folder_and_name(&new_folder, new_name), existing).map_err(at("rename to", to))?;
        }
        self.sync_folder(&new_folder, to)?;
        self.sync_folder(&old_folder, from)
    }

    /// Renames a directory in one step; never replaces.
    pub(super) fn rename_directory(&self, from: &Key, to: &Key) -> StoreResult<()> {
        if to.as_str().starts_with(&from.as_prefix()) {
            let message = format!("\"{from}\" cannot be renamed to \"{to}\", which is inside it");
            return Err(StoreError::new(StoreErrorKind::InvalidName, message));
        }
        self.rename(from, to, Existing::Refuse, None)
    }

    pub(super) fn capacity(&self) -> StoreResult<Capacity> {
        let known = rustix::fs::fstatvfs(&self.uploads).map_err(at("measure", "."))?;
        let bytes = |blocks: u64| blocks.saturating_mul(known.f_frsize);
        Ok(Capacity { total: bytes(known.f_blocks), free: bytes(known.f_bavail) })
    }
}

const OWN: OFlags = OFlags::PATH.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// A folder that nobody else may read, made if it is missing.
fn open_private(above: &Dir, name: &str) -> std::io::Result<Dir> {
    let mut private = DirBuilder::new();
    private.mode(0o700);
    match above.create_dir_with(name, &private) {
        Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => Err(error),
        // A link there would put the gateway's own things where it leads.
        _ => Ok(Dir::from_std_file(rustix::fs::openat(above, name, OWN, Mode::empty())?.into())),
    }
}

/// The error of the name that is the gateway's own.
fn reserved() -> StoreError {
    let message = format!("the name \"{RESERVED}\" at the root of a store is reserved for Lockgate");
    StoreError::new(StoreErrorKind::InvalidName, message)
}

/// The error of a name that another version has by now.
pub(super) fn replaced(key: &Key) -> StoreError {
    StoreError::plain(StoreErrorKind::Changed, format!("\"{key}\" was replaced meanwhile"))
}

/// Whether missing parent folders are made, as far as the key lets them be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Parents {
    /// They are made.
    Make,
    /// Without them there is nothing.
    MustExist,
}

fn readable(folder: &Dir) -> rustix::io::Result<OwnedFd> {
    rustix::fs::openat(folder, ".", OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
}

/// The attributes that are shown; `None` for what is neither a file nor a folder.
pub(super) fn stat_of(metadata: &Metadata) -> Option<Stat> {
    let mtime: Option<SystemTime> = metadata.modified().ok().map(cap_std::time::SystemTime::into_std);
    if metadata.is_dir() {
        return Some(Stat { kind: Kind::Directory, size: 0, mtime, etag: None });
    }
    metadata.is_file().then(|| Stat { kind: Kind::File, size: metadata.len(), mtime, etag: None })
}

/// A name in an open folder.
pub(super) type Name<'a> = (&'a Dir, &'a str);

fn folder_and_name<'a>(folder: &'a Dir, name: &'a str) -> Name<'a> {
    (folder, name)
}

/// Gives what has the name `old` the name `new`, in one step.
pub(super) fn move_name(old: Name<'_>, new: Name<'_>, existing: Existing) -> rustix::io::Result<()> {
    match existing {
        Existing::Replace => rustix::fs::renameat(old.0, old.1, new.0, new.1),
        Existing::Refuse => match rustix::fs::renameat_with(old.0, old.1, new.0, new.1, RenameFlags::NOREPLACE) {
            // The file system knows no such flag (NFS, some FUSE). A second link to a file is as exclusive.
            Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => link_then_unlink(old, new),
            other => other,
        },
    }
}

/// Another file may come under the old name between the link and its removal: then that file stays, and the rename is done, as
/// if it had come a moment later.
fn link_then_unlink(old: Name<'_>, new: Name<'_>) -> rustix::io::Result<()> {
    match rustix::fs::linkat(old.0, old.1, new.0, new.1, AtFlags::empty()) {
        Ok(()) => {
            let file = |name: Name<'_>| {
                let found = rustix::fs::statat(name.0, name.1, AtFlags::SYMLINK_NOFOLLOW)?;
                rustix::io::Result::Ok((found.st_dev, found.st_ino))
            };
            if file(old)? == file(new)? { rustix::fs::unlinkat(old.0, old.1, AtFlags::empty()) } else { Ok(()) }
        }
        // Folders have no second link. Renaming one over another replaces it only when that is empty.
        Err(Errno::PERM | Errno::ISDIR) => match rustix::fs::statat(new.0, new.1, AtFlags::SYMLINK_NOFOLLOW) {
            Err(Errno::NOENT) => rustix::fs::renameat(old.0, old.1, new.0, new.1),
            Ok(_) => Err(Errno::EXIST),
            Err(error) => Err(error),
        },
        Err(error) => Err(error),
    }
}
