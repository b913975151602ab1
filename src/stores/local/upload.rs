//! Uploads: a file in the folder of uploads, written in any order and published under its name in one step.

use std::fs::File;
use std::io::{self, IoSlice};
use std::sync::Arc;
use std::time::SystemTime;

use async_trait::async_trait;
use bytes::Bytes;
use cap_std::fs::Dir;
use rustix::fs::{AtFlags, FileType, FlockOperation, Mode, OFlags};
use rustix::io::Errno;
use uuid::Uuid;

use super::blocking;
use super::failure::at;
use super::object::{read_at, set_file_mtime};
use super::root::{Name, Parents, Root, move_name, replaced};
use super::version::Version;
use crate::stores::{Existing, FileUpload, Key, Kind, StoreError, StoreErrorKind, StoreResult, Written};

/// The most pieces of one vectored write (Linux: `UIO_MAXIOV`).
const MOST_PIECES: usize = 1024;

/// A file that has no name yet. It is locked while it is open, so that a sweep by another process leaves it alone, and
/// removed when it is dropped unpublished.
#[derive(Debug)]
pub(super) struct Unpublished {
    root: Arc<Root>,
    target: Key,
    existing: Existing,
    /// The version that it may replace, if only one.
    pub(super) based_on: Option<String>,
    /// Its name in the folder of uploads.
    name: String,
    file: Arc<File>,
    /// Published or removed: nothing is left to clean up.
    settled: bool,
}

impl Unpublished {
    /// Makes the file. The parents of its target are made when it is published.
    ///
    /// # Errors
    /// Early, when the target is a directory, or is taken and may not be replaced; [`Unpublished::publish`] looks again.
    pub(super) fn create(root: &Arc<Root>, target: &Key, existing: Existing) -> StoreResult<Self> {
        root.can_hold(target)?;
        match root.stat(target) {
            Ok(stat) if stat.kind == Kind::Directory => {
                return Err(StoreError::plain(StoreErrorKind::IsADirectory, format!("\"{target}\" is a directory")));
            }
            Ok(_) if existing == Existing::Refuse => {
                return Err(StoreError::plain(StoreErrorKind::AlreadyExists, format!("\"{target}\" exists already")));
            }
            _ => {}
        }
        Self::begin(root, target, existing)
    }

    /// Makes the file without a look at its target.
    fn begin(root: &Arc<Root>, target: &Key, existing: Existing) -> StoreResult<Self> {
        let (name, file) = new_file(&root.uploads).map_err(at("make a file for", target))?;
        Ok(Unpublished {
            root: Arc::clone(root),
            target: target.clone(),
            existing,
            based_on: None,
            name,
            file: Arc::new(file),
            settled: false,
        })
    }

    /// Writes all of `data` from `offset`.
    pub(super) fn write_at(&self, offset: u64, data: &[Bytes]) -> StoreResult<()> {
        write_at(&self.file, offset, data).map_err(at("write", &self.target))
    }

    /// Publishes the file under its name. When this returns without an error, it is there for good.
    pub(super) fn publish(&mut self, mtime: Option<SystemTime>) -> StoreResult<Written> {
        self.bring_to_disk(mtime)?;
        // Opened again: the parents may have been renamed or removed since.
        let (folder, name) = self.root.place(&self.target, Parents::Make)?;
        self.take_name((&folder, name))?;
        self.published(&folder, mtime)
    }

    /// As [`Unpublished::publish`], in a folder that was opened a moment ago. Where the folder was removed since, it is made again.
    fn publish_in(&mut self, place: Name<'_>, mtime: Option<SystemTime>) -> StoreResult<Written> {
        self.bring_to_disk(mtime)?;
        match self.take_name(place) {
            Err(error) if error.kind == StoreErrorKind::NotFound => self.publish(mtime),
            done => {
                done?;
                self.published(place.0, mtime)
            }
        }
    }

    fn bring_to_disk(&self, mtime: Option<SystemTime>) -> StoreResult<()> {
        if let Some(mtime) = mtime {
            set_file_mtime(&self.file, mtime, &self.target)?;
        }
        if self.root.fsync {
            self.file.sync_all().map_err(at("write", &self.target))?;
        }
        Ok(())
    }

    /// Brings the name that the file has by now to the disk.
    fn published(&mut self, folder: &Dir, mtime: Option<SystemTime>) -> StoreResult<Written> {
        self.settled = true;
        self.root.sync_folder(folder, &self.target)?;
        // Of the file itself: another may have the name by now.
        let version = Version::of(&self.file).ok().map(|version| version.to_string());
        Ok(Written { mtime_kept: mtime.is_some(), version, ..Written::default() })
    }

    /// Gives the file its name, in place of the version that it is based on where it is based on one.
    fn take_name(&self, name: Name<'_>) -> StoreResult<()> {
        let _held = match &self.based_on {
            None => self.root.names.shared(),
            Some(_) => self.root.names.alone(),
        };
        if let Some(based_on) = &self.based_on {
            let found = self.root.version(&self.target)?;
            let same = |began: Version| found.is_some_and(|found| found.has_content_of(&began));
            if !based_on.parse().is_ok_and(same) {
                return Err(replaced(&self.target));
            }
        }
        let from = (&self.root.uploads, self.name.as_str());
        move_name(from, name, self.existing).map_err(at("publish", &self.target))
    }

    /// Removes the file, unless it is published.
    fn remove(&mut self) -> io::Result<()> {
        if std::mem::replace(&mut self.settled, true) {
            return Ok(());
        }
        match rustix::fs::unlinkat(&self.root.uploads, self.name.as_str(), AtFlags::empty()) {
            Err(error) if error != Errno::NOENT => Err(error.into()),
            _ => Ok(()),
        }
    }
}

impl Drop for Unpublished {
    fn drop(&mut self) {
        if let Err(error) = self.remove() {
            tracing::warn!(%error, "cannot remove the unfinished upload of \"{}\"", self.target);
        }
    }
}

/// Publishes an upload of which all is there. In the usual case its name is looked at in the open folder, and nothing else is looked at.
///
/// # Errors
/// Those of [`Unpublished::create`], and of what follows.
pub(super) fn publish_whole(
    root: &Arc<Root>,
    target: &Key,
    existing: Existing,
    based_on: Option<String>,
    data: &[Bytes],
    mtime: Option<SystemTime>,
) -> StoreResult<Written> {
    let place = root.place(target, Parents::MustExist).ok().filter(|(folder, name)| may_take((folder, name), existing));
    let mut file = match place {
        Some(_) => Unpublished::begin(root, target, existing)?,
        // Whatever is in the way is judged there.
        None => Unpublished::create(root, target, existing)?,
    };
    file.based_on = based_on;
    file.write_at(0, data)?;
    match place {
        Some((folder, name)) if !root.fsync => file.publish_in((&folder, name), mtime),
        // While a slow disk has written the file, somebody may have given the folder another name, and another folder this one.
        _ => file.publish(mtime),
    }
}

/// Whether a name is free, or a file's that may be replaced. A link is followed elsewhere: it may lead to a directory.
fn may_take(name: Name<'_>, existing: Existing) -> bool {
    match rustix::fs::statat(name.0, name.1, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(found) => existing == Existing::Replace && FileType::from_raw_mode(found.st_mode).is_file(),
        Err(error) => error == Errno::NOENT,
    }
}

/// A new file, locked.
fn new_file(uploads: &Dir) -> io::Result<(String, File)> {
    let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    // A sweep may take the file between its making and its locking; then another is made.
    for _ in 0..16 {
        let name = Uuid::now_v7().simple().to_string();
        // Of a name that is ours in a folder that is ours: there is no way that leads out of it.
        let file = File::from(rustix::fs::openat(uploads, &name, flags, Mode::from_raw_mode(0o666))?);
        rustix::fs::flock(&file, FlockOperation::LockExclusive)?;
        if rustix::fs::fstat(&file)?.st_nlink > 0 {
            return Ok((name, file));
        }
    }
    Err(io::Error::other("another process keeps removing new files"))
}

/// Removes the files of processes that are gone: those that nobody has locked.
pub(super) fn sweep(uploads: &Dir) -> io::Result<()> {
    for entry in uploads.entries()? {
        let entry = entry?;
        let Ok(file) = entry.open() else { continue };
        if rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive).is_err() {
            continue;
        }
        if let Err(error) = entry.remove_file()
            && error.kind() != io::ErrorKind::NotFound
        {
            tracing::warn!(%error, "cannot remove the leftover upload {:?}", entry.file_name());
        }
    }
    Ok(())
}

/// Writes every piece, one after the other, with as few calls as the system allows.
fn write_at(file: &File, mut offset: u64, data: &[Bytes]) -> io::Result<()> {
    let length: u64 = data.iter().map(|piece| piece.len() as u64).sum();
    if offset.checked_add(length).is_none_or(|end| end > i64::MAX as u64) {
        return Err(Errno::FBIG.into());
    }
    let mut slices: Vec<IoSlice<'_>> = data.iter().filter(|p| !p.is_empty()).map(|p| IoSlice::new(p)).collect();
    let mut left = slices.as_mut_slice();
    while !left.is_empty() {
        let pieces = left.len().min(MOST_PIECES);
        match rustix::io::pwritev(file, &left[..pieces], offset) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(written) => {
                offset += written as u64;
                IoSlice::advance_slices(&mut left, written);
            }
            Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

/// [`Unpublished`] as the trait shows it; its work runs on the blocking pool.
pub(super) struct LocalUpload {
    file: Arc<File>,
    target: Key,
    mtime: Option<SystemTime>,
    /// Gone once it is published or removed.
    unpublished: Option<Unpublished>,
}

impl LocalUpload {
    /// Wraps a new file; `mtime` is kept when none is given at the end.
    pub(super) fn new(unpublished: Unpublished, mtime: Option<SystemTime>) -> Self {
        let (file, target) = (Arc::clone(&unpublished.file), unpublished.target.clone());
        LocalUpload { file, target, mtime, unpublished: Some(unpublished) }
    }

    /// Runs work on the file, unless it is finished.
    async fn run<T: Send + 'static>(
        &self,
        doing: &'static str,
        work: impl FnOnce(&File) -> io::Result<T> + Send + 'static,
    ) -> StoreResult<T> {
        if self.unpublished.is_none() {
            return Err(self.finished());
        }
        let (file, target) = (Arc::clone(&self.file), self.target.clone());
        blocking(move || work(&file).map_err(at(doing, target))).await
    }

    fn finished(&self) -> StoreError {
        StoreError::new(StoreErrorKind::Other, format!("the upload of \"{}\" is finished already", self.target))
    }
}

#[async_trait]
impl FileUpload for LocalUpload {
    async fn write_at(&mut self, offset: u64, data: Vec<Bytes>) -> StoreResult<()> {
        self.run("write", move |file| write_at(file, offset, &data)).await
    }

    async fn read_at(&mut self, offset: u64, length: usize) -> StoreResult<Bytes> {
        self.run("read", move |file| {
            let left = file.metadata()?.len().saturating_sub(offset);
            let length = length.min(usize::try_from(left).unwrap_or(usize::MAX));
            if length == 0 { Ok(Bytes::new()) } else { Ok(read_at(file, offset, length)?) }
        })
        .await
    }

    async fn set_length(&mut self, length: u64) -> StoreResult<()> {
        self.run("set the length of", move |file| match length {
            0..=0x7fff_ffff_ffff_ffff => file.set_len(length),
            _ => Err(Errno::FBIG.into()),
        })
        .await
    }

    async fn move_to(&mut self, key: &Key, existing: Existing) -> StoreResult<()> {
        let finished = self.finished();
        let unpublished = self.unpublished.as_mut().ok_or(finished)?;
        unpublished.root.can_hold(key)?;
        (unpublished.target, unpublished.existing) = (key.clone(), existing);
        self.target = key.clone();
        Ok(())
    }

    fn base_on(&mut self, version: &str) {
        if let Some(unpublished) = &mut self.unpublished {
            unpublished.based_on = Some(version.to_owned());
        }
    }

    async fn complete(&mut self, mtime: Option<SystemTime>) -> StoreResult<Written> {
        let Some(unpublished) = &self.unpublished else { return Err(self.finished()) };
        // Dropped while it waits, it is still here to be removed.
        let turn = unpublished.root.turn().await?;
        let Some(mut unpublished) = self.unpublished.take() else { return Err(self.finished()) };
        let mtime = mtime.or(self.mtime);
        blocking(move || turn.during(|| unpublished.publish(mtime))).await
    }

    async fn abort(&mut self) -> StoreResult<()> {
        let Some(mut unpublished) = self.unpublished.take() else { return Ok(()) };
        let target = self.target.clone();
        blocking(move || unpublished.remove().map_err(at("remove the unfinished upload of", target))).await
    }
}

impl Drop for LocalUpload {
    fn drop(&mut self) {
        // Removing a large file takes a while; it is kept off the async threads where there are any.
        if let Some(unpublished) = self.unpublished.take()
            && let Ok(runtime) = tokio::runtime::Handle::try_current()
        {
            runtime.spawn_blocking(move || drop(unpublished));
        }
    }
}
