//! The staging folder: a bounded place on disk for what does not fit in memory or comes in no order.
//!
//! Staged files have no name: they are made with `O_TMPFILE`, or unlinked as soon as they are made where the file system
//! lacks that. So nothing is left when the process ends, however it ends.

use std::fs::File;
use std::io;
use std::os::unix::fs::{DirBuilderExt, FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use rustix::fs::{FlockOperation, Mode, OFlags};

use crate::descriptors::{Account, Held};
use crate::stores::{StoreError, StoreErrorKind, StoreResult};

/// How the names of staged files start, where they need one for a moment.
const PREFIX: &str = "lockgate-staged-";

/// The folder and what is reserved in it.
#[derive(Debug)]
pub(super) struct Staging {
    folder: PathBuf,
    /// Locked while this process uses the folder.
    _lock: File,
    limit: u64,
    used: AtomicU64,
}

impl Staging {
    /// Makes the folder if it is not there, removes what a dead process may have left, and tries to write.
    pub(super) fn open(folder: PathBuf, limit: u64) -> io::Result<Arc<Self>> {
        make_private(&folder)?;
        let lock = lock(&folder)?;
        sweep(&folder)?;
        make_nameless(&folder)?;
        Ok(Arc::new(Staging { folder, _lock: lock, limit, used: AtomicU64::new(0) }))
    }

    /// A new empty file, which counts in the account.
    pub(super) async fn create(self: &Arc<Self>, account: &Account) -> StoreResult<StagedFile> {
        let (folder, held) = (self.folder.clone(), account.hold()?);
        let file = on_disk(move || make_nameless(&folder)).await?;
        Ok(StagedFile { file: Arc::new(file), staging: Arc::clone(self), reserved: 0, length: 0, _held: held })
    }

    /// The most bytes that staged files may take together.
    pub(super) fn limit(&self) -> u64 {
        self.limit
    }

    fn reserve(&self, bytes: u64) -> StoreResult<()> {
        let fits = |used: u64| used.checked_add(bytes).filter(|sum| *sum <= self.limit);
        self.used.fetch_update(Ordering::Relaxed, Ordering::Relaxed, fits).map(drop).map_err(|used| {
            StoreError::new(
                StoreErrorKind::NoSpace,
                format!(
                    "the staging folder {} is full: {used} of {} bytes are taken and {bytes} more are needed; raise \
                     limits.staging or try again later",
                    self.folder.display(),
                    self.limit
                ),
            )
        })
    }

    fn release(&self, bytes: u64) {
        self.used.fetch_sub(bytes, Ordering::Relaxed);
    }

    /// Bytes that staged files take now.
    #[cfg(test)]
    pub(super) fn used(&self) -> u64 {
        self.used.load(Ordering::Relaxed)
    }
}

/// A file in the staging folder. Its space is reserved up to its length, holes included, before it is written.
#[derive(Debug)]
pub(super) struct StagedFile {
    file: Arc<File>,
    staging: Arc<Staging>,
    reserved: u64,
    length: u64,
    _held: Held,
}

impl StagedFile {
    /// Its length in bytes.
    pub(super) fn length(&self) -> u64 {
        self.length
    }

    /// Writes all of `data`, one piece after the other, from `offset`.
    pub(super) async fn write_at(&mut self, offset: u64, data: Vec<Bytes>) -> StoreResult<()> {
        let end = data.iter().try_fold(offset, |at, piece| at.checked_add(piece.len() as u64));
        let end = end.ok_or_else(|| StoreError::new(StoreErrorKind::TooLarge, "the file is too large"))?;
        self.reserve_up_to(end)?;
        let file = Arc::clone(&self.file);
        on_disk(move || {
            let mut at = offset;
            for piece in data {
                file.write_all_at(&piece, at)?;
                at += piece.len() as u64;
            }
            Ok(())
        })
        .await?;
        self.length = self.length.max(end);
        Ok(())
    }

    /// Up to `length` bytes from `offset`; fewer only at the end.
    pub(super) async fn read_at(&self, offset: u64, length: usize) -> StoreResult<Bytes> {
        let length = self.length.saturating_sub(offset).min(length as u64) as usize;
        if length == 0 {
            return Ok(Bytes::new());
        }
        let file = Arc::clone(&self.file);
        let mut buffer = vec![0; length];
        on_disk(move || {
            file.read_exact_at(&mut buffer, offset)?;
            Ok(Bytes::from(buffer))
        })
        .await
    }

    /// Cuts or extends with zeros.
    pub(super) async fn set_length(&mut self, length: u64) -> StoreResult<()> {
        self.reserve_up_to(length)?;
        let file = Arc::clone(&self.file);
        on_disk(move || file.set_len(length)).await?;
        self.length = length;
        if self.reserved > length {
            self.staging.release(self.reserved - length);
            self.reserved = length;
        }
        Ok(())
    }

    fn reserve_up_to(&mut self, end: u64) -> StoreResult<()> {
        if end > self.reserved {
            self.staging.reserve(end - self.reserved)?;
            self.reserved = end;
        }
        Ok(())
    }
}

impl Drop for StagedFile {
    fn drop(&mut self) {
        self.staging.release(self.reserved);
    }
}

/// Makes the folder for this user alone. One in a place where everybody writes may be somebody else's.
fn make_private(folder: &Path) -> io::Result<()> {
    if let Some(parent) = folder.parent() {
        std::fs::create_dir_all(parent)?;
    }
    match std::fs::DirBuilder::new().mode(0o700).create(folder) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
        _ => {}
    }
    let found = std::fs::metadata(folder)?;
    let (owner, mode) = (found.uid(), found.mode());
    if owner != rustix::process::geteuid().as_raw() {
        return Err(io::Error::other(format!("it belongs to the user {owner}, not to the one that Lockgate runs as")));
    }
    if mode & 0o022 != 0 {
        return Err(io::Error::other(format!("others may write to it (mode {:o}): chmod 700", mode & 0o7777)));
    }
    Ok(())
}

/// Takes the folder for this process: what two gateways count apart would be twice the limit.
fn lock(folder: &Path) -> io::Result<File> {
    let open = File::open(folder)?;
    match rustix::fs::flock(&open, FlockOperation::NonBlockingLockExclusive) {
        Err(rustix::io::Errno::WOULDBLOCK) => Err(io::Error::new(
            io::ErrorKind::ResourceBusy,
            "another gateway uses it; give each a limits.staging_folder of its own",
        )),
        // A file system without locks.
        Err(error) => {
            tracing::warn!(%error, "the staging folder {} cannot be locked", folder.display());
            Ok(open)
        }
        Ok(()) => Ok(open),
    }
}

fn make_nameless(folder: &Path) -> io::Result<File> {
    let flags = OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC;
    match rustix::fs::open(folder, flags, Mode::RUSR | Mode::WUSR) {
        Ok(file) => Ok(File::from(file)),
        Err(rustix::io::Errno::OPNOTSUPP | rustix::io::Errno::ISDIR | rustix::io::Errno::INVAL) => {
            make_unlinked(folder)
        }
        Err(error) => Err(error.into()),
    }
}

fn make_unlinked(folder: &Path) -> io::Result<File> {
    let path = folder.join(format!("{PREFIX}{}", uuid::Uuid::now_v7()));
    let file = File::options().read(true).write(true).create_new(true).open(&path)?;
    match std::fs::remove_file(&path) {
        // Another gateway that has just started may have swept it.
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(file),
    }
}

/// Removes files that a process left between making and unlinking them. One that a living process has just made may go as
/// well: it is about to be unlinked anyway.
fn sweep(folder: &Path) -> io::Result<()> {
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_name().to_string_lossy().starts_with(PREFIX) {
            match std::fs::remove_file(entry.path()) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
    }
    Ok(())
}

/// Runs `work` on the blocking pool and says of its error that it is the staging folder's.
async fn on_disk<T: Send + 'static>(work: impl FnOnce() -> io::Result<T> + Send + 'static) -> StoreResult<T> {
    let result = match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(error) => Err(io::Error::other(error)),
    };
    result.map_err(|error| {
        let kind = match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => StoreErrorKind::NoSpace,
            _ if has_no_descriptor(&error) => StoreErrorKind::NoDescriptors,
            _ => StoreErrorKind::Other,
        };
        StoreError::with_source(kind, format!("the staging folder failed: {error}"), error)
    })
}

fn has_no_descriptor(error: &io::Error) -> bool {
    use rustix::io::Errno;
    matches!(error.raw_os_error().map(Errno::from_raw_os_error), Some(Errno::MFILE | Errno::NFILE))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::descriptors::Descriptors;

    #[tokio::test]
    async fn a_staged_file_is_written_in_any_order_and_leaves_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let staging = Staging::open(folder.path().join("a/b"), 100).unwrap();
        let mut file = staging.create(&Descriptors::unlimited().account("")).await.unwrap();
        file.write_at(4, vec![Bytes::from_static(b"ef"), Bytes::from_static(b"gh")]).await.unwrap();
        file.write_at(0, vec![Bytes::from_static(b"ab")]).await.unwrap();
        assert_eq!(file.length(), 8);
        assert_eq!(file.read_at(0, 100).await.unwrap(), &b"ab\0\0efgh"[..]);
        assert_eq!(file.read_at(8, 1).await.unwrap(), Bytes::new());
        file.set_length(1).await.unwrap();
        file.set_length(3).await.unwrap();
        assert_eq!(file.read_at(0, 100).await.unwrap(), &b"a\0\0"[..]);
        assert_eq!(staging.used(), 3);
        assert_eq!(std::fs::read_dir(folder.path().join("a/b")).unwrap().count(), 0);
        drop(file);
        assert_eq!(staging.used(), 0);
    }

    #[tokio::test]
    async fn a_full_folder_refuses_with_a_sentence_and_harms_nobody_else() {
        let folder = tempfile::tempdir().unwrap();
        let staging = Staging::open(folder.path().to_owned(), 10).unwrap();
        let mut first = staging.create(&Descriptors::unlimited().account("")).await.unwrap();
        let mut second = staging.create(&Descriptors::unlimited().account("")).await.unwrap();
        first.write_at(0, vec![Bytes::from_static(b"12345678")]).await.unwrap();
        let error = second.write_at(0, vec![Bytes::from_static(b"123")]).await.unwrap_err();
        assert_eq!(error.kind, StoreErrorKind::NoSpace);
        assert!(error.message.contains("limits.staging"), "{error}");
        second.write_at(0, vec![Bytes::from_static(b"12")]).await.unwrap();
        assert_eq!(second.set_length(u64::MAX).await.unwrap_err().kind, StoreErrorKind::NoSpace);
        drop(second);
        first.write_at(8, vec![Bytes::from_static(b"9a")]).await.unwrap();
        assert_eq!(first.read_at(0, 100).await.unwrap(), &b"123456789a"[..]);
    }

    #[test]
    fn a_folder_that_others_may_write_is_refused() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let open = folder.path().join("open");
        std::fs::create_dir(&open).unwrap();
        std::fs::set_permissions(&open, std::fs::Permissions::from_mode(0o777)).unwrap();
        let error = Staging::open(open, 10).unwrap_err();
        assert!(error.to_string().contains("chmod 700"), "{error}");
        Staging::open(folder.path().join("new"), 10).unwrap();
        assert_eq!(std::fs::metadata(folder.path().join("new")).unwrap().mode() & 0o777, 0o700);
    }

    #[test]
    fn a_folder_is_of_one_gateway_at_a_time() {
        let folder = tempfile::tempdir().unwrap();
        let first = Staging::open(folder.path().to_owned(), 10).unwrap();
        let error = Staging::open(folder.path().to_owned(), 10).unwrap_err();
        assert!(error.to_string().contains("another gateway"), "{error}");
        drop(first);
        Staging::open(folder.path().to_owned(), 10).unwrap();
    }

    #[test]
    fn leftovers_of_a_dead_process_are_swept_and_other_files_stay() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join(format!("{PREFIX}1")), "x").unwrap();
        std::fs::write(folder.path().join("mine"), "x").unwrap();
        Staging::open(folder.path().to_owned(), 10).unwrap();
        let names: Vec<_> = std::fs::read_dir(folder.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
        assert_eq!(names, ["mine"]);
    }

    #[test]
    fn without_o_tmpfile_the_name_goes_at_once() {
        let folder = tempfile::tempdir().unwrap();
        let file = make_unlinked(folder.path()).unwrap();
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
        file.write_all_at(b"x", 0).unwrap();
    }

    #[test]
    fn a_folder_that_cannot_be_made_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("file"), "x").unwrap();
        assert!(Staging::open(folder.path().join("file/below"), 10).is_err());
    }
}
