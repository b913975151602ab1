//! What keeps a disk from taking what is about to be written, as far as a look at it can tell.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use rustix::fs::{Access, StatVfs, StatVfsMountFlags, access, fstat, fstatvfs, statvfs};
use rustix::process::geteuid;

/// What keeps new files from being made in a folder: it is gone, there is no right, or no room.
pub(super) fn fault_of_folder(folder: &Path) -> Option<String> {
    if let Err(error) = access(folder, Access::WRITE_OK | Access::EXEC_OK) {
        return Some(io::Error::from(error).to_string());
    }
    match statvfs(folder) {
        Ok(room) => fault_of(&room).map(str::to_owned),
        Err(error) => Some(io::Error::from(error).to_string()),
    }
}

fn fault_of(room: &StatVfs) -> Option<&'static str> {
    let is_root = geteuid().is_root();
    // What is kept for root is there for root.
    let blocks = if is_root { room.f_bfree } else { room.f_bavail };
    let files = if is_root { room.f_ffree } else { room.f_favail };
    if room.f_flag.contains(StatVfsMountFlags::RDONLY) {
        return Some("its file system is read-only");
    }
    // Not every file system counts its files.
    (blocks == 0 || (room.f_files > 0 && files == 0)).then_some("its disk is full")
}

/// The file that a sink appends to now, to be looked at by others.
#[derive(Debug)]
pub(in crate::audit) struct Appended {
    path: PathBuf,
    file: Mutex<Arc<File>>,
}

impl Appended {
    pub(super) fn new(path: &Path, file: Arc<File>) -> Appended {
        Appended { path: path.to_owned(), file: Mutex::new(file) }
    }

    /// Another one takes its place.
    pub(super) fn replace(&self, file: Arc<File>) {
        *self.file.lock().unwrap_or_else(PoisonError::into_inner) = file;
    }

    /// What keeps the next line from being written. A file that was moved is written on, and one that was deleted is made anew. It may take as
    /// long as the disk does.
    pub(super) fn fault(&self) -> Option<String> {
        let file = self.file.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let named = |what: String| format!("{}: {what}", self.path.display());
        let failed = |error: rustix::io::Errno| named(io::Error::from(error).to_string());
        let is_there = match fstat(&file) {
            Ok(there) => there.st_nlink > 0,
            Err(error) => return Some(failed(error)),
        };
        if !is_there {
            let folder = self.path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
            return fault_of_folder(folder).map(named);
        }
        match fstatvfs(&file) {
            Ok(room) => fault_of(&room).map(|what| named(what.to_owned())),
            Err(error) => Some(failed(error)),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn a_disk_without_room_and_one_that_is_read_only_are_found_out() {
        let room = || statvfs(std::env::temp_dir().as_path()).unwrap();
        let roomy = || StatVfs {
            f_bfree: 9,
            f_bavail: 9,
            f_files: 9,
            f_ffree: 9,
            f_favail: 9,
            f_flag: StatVfsMountFlags::empty(),
            ..room()
        };
        assert_eq!(fault_of(&roomy()), None);
        assert_eq!(fault_of(&StatVfs { f_bfree: 0, f_bavail: 0, ..roomy() }), Some("its disk is full"));
        assert_eq!(fault_of(&StatVfs { f_ffree: 0, f_favail: 0, ..roomy() }), Some("its disk is full"));
        assert_eq!(fault_of(&StatVfs { f_files: 0, f_ffree: 0, f_favail: 0, ..roomy() }), None);
        let read_only = StatVfs { f_flag: StatVfsMountFlags::RDONLY, ..roomy() };
        assert_eq!(fault_of(&read_only), Some("its file system is read-only"));
        // What only root may use.
        let kept = StatVfs { f_bavail: 0, ..roomy() };
        assert_eq!(fault_of(&kept).is_none(), geteuid().is_root());
    }

    #[test]
    fn a_file_that_is_gone_needs_its_folder() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("events/e.ndjson");
        fs::create_dir(path.parent().unwrap()).unwrap();
        let open = || Arc::new(File::create(&path).unwrap());
        let appended = Appended::new(&path, open());
        assert_eq!(appended.fault(), None);
        // Moved away, it is written on.
        fs::rename(&path, folder.path().join("moved")).unwrap();
        assert_eq!(appended.fault(), None);
        appended.replace(open());
        fs::remove_dir_all(path.parent().unwrap()).unwrap();
        let fault = appended.fault().unwrap();
        assert!(fault.contains("events/e.ndjson: ") && fault.contains("No such file"), "{fault}");
        fs::create_dir(path.parent().unwrap()).unwrap();
        assert_eq!(appended.fault(), None);
    }
}
