//! Who gives names to files, and when: a lock in the folder, since no call of the system replaces or removes a name on the
//! condition that it is still a certain file's.
//!
//! Whoever gives a name away holds the lock with others; whoever looks at what has a name, and then replaces or removes it, holds it
//! alone, for the few calls that this takes. Every process that serves the folder, and every store of one process that does, uses
//! the same lock. Other programs do not know it: between the look and the call they can still come, within microseconds.

use std::fs::File;
use std::io;
use std::sync::{Mutex, PoisonError};

use cap_std::fs::{Dir, OpenOptions};
use rustix::fs::FlockOperation;
use rustix::io::Errno;

/// The lock's file in the folder that is Lockgate's own.
const LOCK: &str = "names";
/// The most open files of the lock that are kept between two uses.
const MOST_KEPT: usize = 8;

/// The names of one store's folder.
#[derive(Debug)]
pub(super) struct Names {
    own: Dir,
    /// The lock's file, opened before and free. A lock belongs to the open file, so each holder has one of its own.
    kept: Mutex<Vec<File>>,
}

/// The lock, held.
#[derive(Debug)]
pub(super) struct Held<'n> {
    names: &'n Names,
    file: Option<File>,
}

impl Names {
    /// `own` is the folder that is Lockgate's own.
    pub(super) fn new(own: Dir) -> Self {
        Names { own, kept: Mutex::default() }
    }

    /// Held by who gives a name whatever it was before.
    pub(super) fn shared(&self) -> Held<'_> {
        self.hold(FlockOperation::LockShared)
    }

    /// Held by who looks first.
    pub(super) fn alone(&self) -> Held<'_> {
        self.hold(FlockOperation::LockExclusive)
    }

    /// A file system without locks, or a folder that cannot be written, leaves the look itself as the only guard.
    fn hold(&self, how: FlockOperation) -> Held<'_> {
        let file = self.locked(how).inspect_err(|error| tracing::debug!(%error, "names are changed without a lock"));
        Held { names: self, file: file.ok() }
    }

    fn locked(&self, how: FlockOperation) -> io::Result<File> {
        // Somebody may have removed the file that is opened or kept. Others lock the new one then.
        for _ in 0..16 {
            let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner).pop();
            let (file, is_kept) = match kept {
                Some(file) => (file, true),
                None => (self.open()?, false),
            };
            match lock(&file, how).and_then(|()| Ok(rustix::fs::fstat(&file)?.st_nlink > 0)) {
                Ok(true) => return Ok(file),
                Ok(false) => {}
                // A new one may still work.
                Err(_) if is_kept => {}
                Err(error) => return Err(error),
            }
        }
        Err(io::Error::other("somebody keeps removing the lock's file"))
    }

    fn open(&self) -> io::Result<File> {
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true);
        Ok(self.own.open_with(LOCK, &options)?.into_std())
    }

    /// Frees the lock, and keeps its open file for the next.
    fn free(&self, file: File) {
        if lock(&file, FlockOperation::Unlock).is_err() {
            // It is free when the file is closed.
            return;
        }
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() < MOST_KEPT {
            kept.push(file);
        }
    }
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        if let Some(file) = self.file.take() {
            self.names.free(file);
        }
    }
}

fn lock(file: &File, how: FlockOperation) -> io::Result<()> {
    loop {
        match rustix::fs::flock(file, how) {
            Err(Errno::INTR) => {}
            done => return done.map_err(Into::into),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use cap_std::ambient_authority;

    use super::*;

    fn names(folder: &std::path::Path) -> Names {
        Names::new(Dir::open_ambient_dir(folder, ambient_authority()).unwrap())
    }

    /// Whether another process could have the lock alone now.
    fn is_free(folder: &std::path::Path) -> bool {
        let file = File::options().read(true).write(true).open(folder.join(LOCK)).unwrap();
        rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive).is_ok()
    }

    #[test]
    fn a_lock_is_free_again_and_its_file_is_used_again() {
        let folder = tempfile::tempdir().unwrap();
        let names = names(folder.path());
        for _ in 0..3 {
            let (one, two) = (names.shared(), names.shared());
            assert!(!is_free(folder.path()));
            drop(one);
            assert!(!is_free(folder.path()), "the other still holds it");
            drop(two);
            assert!(is_free(folder.path()));
            let alone = names.alone();
            assert!(!is_free(folder.path()));
            drop(alone);
            assert!(is_free(folder.path()));
        }
        assert_eq!(names.kept.lock().unwrap().len(), 2);
        let many: Vec<_> = (0..20).map(|_| names.shared()).collect();
        drop(many);
        assert_eq!(names.kept.lock().unwrap().len(), MOST_KEPT);
        assert!(is_free(folder.path()));
    }

    #[test]
    fn a_lock_file_that_was_removed_is_not_relied_on() {
        let folder = tempfile::tempdir().unwrap();
        let names = names(folder.path());
        drop(names.alone());
        std::fs::remove_file(folder.path().join(LOCK)).unwrap();
        let held = names.alone();
        assert!(!is_free(folder.path()), "the new file is the one that others lock");
        drop(held);
    }
}
