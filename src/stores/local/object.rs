//! Reading files: positioned reads of an open file, which stays whole when another file takes its name.
//!
//! When descriptors are short, a file that nobody reads is closed. The next read opens it by its name again, and fails when that
//! leads to another file by then.

use std::fs::File;
use std::os::fd::AsFd;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use async_trait::async_trait;
use bytes::Bytes;
use rustix::buffer::spare_capacity;
use rustix::fs::{Timespec, Timestamps, UTIME_OMIT};
use rustix::io::Errno;

use super::failure::at;
use super::root::{Root, replaced};
use super::version::Version;
use super::{BRIEF, blocking, briefly};
use crate::descriptors::Idle;
use crate::stores::{Change, Key, Object, Stat, StoreError, StoreErrorKind, StoreResult};

/// An open file.
#[derive(Debug)]
pub(super) struct LocalObject {
    key: Key,
    root: Arc<Root>,
    /// `None`: closed until the next read.
    file: Mutex<Option<Arc<File>>>,
    stat: Stat,
    began: Version,
    version: String,
}

impl LocalObject {
    /// Opens a file for reading.
    pub(super) fn open(root: &Arc<Root>, key: &Key) -> StoreResult<Self> {
        let (file, stat) = root.open_file(key)?;
        let began = Version::of(&file).map_err(at("open", key))?;
        let file = Mutex::new(Some(Arc::new(file)));
        Ok(LocalObject { key: key.clone(), root: Arc::clone(root), file, stat, version: began.to_string(), began })
    }

    /// The file, opened again if it was closed.
    async fn opened(&self) -> StoreResult<Arc<File>> {
        if let Some(file) = &*self.lock() {
            return Ok(Arc::clone(file));
        }
        let (root, key, began, turn) = (Arc::clone(&self.root), self.key.clone(), self.began, self.root.turn().await?);
        let open = move || open_again(&root, &key, &began);
        let file = Arc::new(blocking(move || turn.during(open)).await?);
        Ok(Arc::clone(self.lock().get_or_insert(file)))
    }

    fn lock(&self) -> MutexGuard<'_, Option<Arc<File>>> {
        self.file.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Opens the file that began as this version, wherever its name leads to now.
fn open_again(root: &Root, key: &Key, began: &Version) -> StoreResult<File> {
    let file = match root.open_file(key) {
        Err(error) if matches!(error.kind, StoreErrorKind::NotFound | StoreErrorKind::NotADirectory) => {
            return Err(replaced(key));
        }
        opened => opened?.0,
    };
    let found = Version::of(&file).map_err(at("open", key))?;
    if found.is_of_file(began) { Ok(file) } else { Err(replaced(key)) }
}

impl Idle for LocalObject {
    fn close(&self) {
        // A read that is under way has its own.
        let closed = self.lock().take();
        drop(closed);
    }
}

#[async_trait]
impl Object for LocalObject {
    fn stat(&self) -> &Stat {
        &self.stat
    }

    async fn read(&self, offset: u64, length: usize) -> StoreResult<Bytes> {
        // The length at the time of opening bounds what a client can make us allocate.
        let left = self.stat.size.saturating_sub(offset);
        let length = length.min(usize::try_from(left).unwrap_or(usize::MAX));
        if length == 0 {
            return Ok(Bytes::new());
        }
        let (file, key) = (self.opened().await?, self.key.clone());
        let read = move || read_at(&file, offset, length).map_err(at("read", key));
        if length <= BRIEF { briefly(&self.root.looks, read).await } else { blocking(read).await }
    }

    fn is_remote(&self) -> bool {
        false
    }

    fn version(&self) -> Option<&str> {
        Some(&self.version)
    }

    fn file(self: Arc<Self>) -> Option<Arc<dyn Idle>> {
        Some(self)
    }
}

/// Up to `length` bytes from `offset`, in one buffer; fewer only at the end.
pub(super) fn read_at(file: &File, offset: u64, length: usize) -> rustix::io::Result<Bytes> {
    let mut buffer: Vec<u8> = Vec::with_capacity(length);
    while buffer.len() < length {
        let from = offset + buffer.len() as u64;
        match rustix::io::pread(file, spare_capacity(&mut buffer), from) {
            Ok(0) => break,
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(error),
        }
    }
    buffer.truncate(length);
    Ok(buffer.into())
}

/// Sets the modification time of a file, of `only` this version if one is given.
pub(super) fn set_mtime(root: &Root, key: &Key, mtime: SystemTime, only: Option<&str>) -> StoreResult<Change> {
    let (file, _) = root.open_file(key)?;
    // Whoever takes the name now has another file, which is not touched.
    let version = |file: &File| Version::of(file).map_err(at("set the time of", key));
    let before = version(&file)?;
    if only.is_some_and(|only| only.parse() != Ok(before)) {
        return Err(replaced(key));
    }
    set_file_mtime(&file, mtime, key)?;
    if root.fsync {
        file.sync_all().map_err(at("set the time of", key))?;
    }
    Ok(Change { before: Some(before.to_string()), after: Some(version(&file)?.to_string()) })
}

/// Sets the modification time of a folder. `false`: it belongs to another account than the gateway's.
pub(super) fn set_folder_mtime(root: &Root, key: &Key, mtime: SystemTime) -> StoreResult<bool> {
    let folder = root.read_folder(key)?;
    match set_file_mtime(&folder, mtime, key) {
        Err(error) if error.kind == StoreErrorKind::AccessDenied => return Ok(false),
        set => set?,
    }
    if root.fsync {
        rustix::fs::fsync(&folder).map_err(at("set the time of", key))?;
    }
    Ok(true)
}

/// Sets the modification time of an open file or folder.
pub(super) fn set_file_mtime(file: impl AsFd, mtime: SystemTime, key: &Key) -> StoreResult<()> {
    let Some(last_modification) = timespec(mtime) else {
        let message = format!("the time for \"{key}\" is beyond what a file system can keep");
        return Err(StoreError::new(StoreErrorKind::Unsupported, message));
    };
    let last_access = Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT };
    rustix::fs::futimens(file, &Timestamps { last_access, last_modification }).map_err(at("set the time of", key))
}

/// Seconds rounded down and nanoseconds from there, also before 1970.
fn timespec(time: SystemTime) -> Option<Timespec> {
    match time.duration_since(UNIX_EPOCH) {
        Ok(after) => {
            Some(Timespec { tv_sec: i64::try_from(after.as_secs()).ok()?, tv_nsec: after.subsec_nanos().into() })
        }
        Err(error) => {
            let before = error.duration();
            let whole = i64::try_from(before.as_secs()).ok()?.checked_neg()?;
            Some(match before.subsec_nanos() {
                0 => Timespec { tv_sec: whole, tv_nsec: 0 },
                nanos => Timespec { tv_sec: whole.checked_sub(1)?, tv_nsec: (1_000_000_000 - nanos).into() },
            })
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn times_before_1970_round_down() {
        let time = timespec(UNIX_EPOCH - Duration::from_millis(1_500)).unwrap();
        assert_eq!((time.tv_sec, time.tv_nsec), (-2, 500_000_000));
        let time = timespec(UNIX_EPOCH + Duration::from_millis(1_500)).unwrap();
        assert_eq!((time.tv_sec, time.tv_nsec), (1, 500_000_000));
    }
}
