//! The way from the root folder to what a key names, and how far symbolic links lead on it.
//!
//! The folder of the key's entry is opened first; its name is the operator's. From there cap-std follows the rest, beneath that
//! open folder: a link that leads out of it, and an absolute one, name nothing, whoever changes links meanwhile. Where links are not
//! followed, each name is opened by itself and must not be one.

use std::fs::File;
use std::io;

use cap_std::fs::{Dir, Metadata, OpenOptions, OpenOptionsExt};
use rustix::fs::{Mode, OFlags};

use super::root::Root;
use crate::stores::Key;

impl Root {
    /// Opens the folder of a key.
    pub(super) fn open_dir(&self, key: &Key) -> io::Result<Dir> {
        if !self.follows(key) {
            return self.open_without_links(key.as_str());
        }
        let (folder, rest) = key.from_folder();
        match folder {
            "" => self.folder.open_dir(or_here(rest)),
            folder => self.folder.open_dir(folder)?.open_dir(or_here(rest)),
        }
    }

    /// Attributes of what a key leads to.
    pub(super) fn metadata(&self, key: &Key) -> io::Result<Metadata> {
        if !self.follows(key) {
            return match (key.parent(), key.name()) {
                (Some(parent), Some(name)) => self.open_without_links(parent.as_str())?.symlink_metadata(name),
                _ => self.folder.dir_metadata(),
            };
        }
        let (folder, rest) = key.from_folder();
        match folder {
            "" => self.folder.metadata(or_here(rest)),
            folder => self.folder.open_dir(folder)?.metadata(or_here(rest)),
        }
    }

    /// Opens a file for reading. Never waits for a pipe's other end.
    pub(super) fn open_for_reading(&self, key: &Key) -> io::Result<File> {
        let flags = OFlags::NONBLOCK;
        if !self.follows(key) {
            let (Some(parent), Some(name)) = (key.parent(), key.name()) else {
                return Err(io::Error::from(io::ErrorKind::IsADirectory));
            };
            let flags = flags | OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let above = self.open_without_links(parent.as_str())?;
            return Ok(rustix::fs::openat(above, name, flags, Mode::empty())?.into());
        }
        let mut options = OpenOptions::new();
        options.read(true).custom_flags(flags.bits().cast_signed());
        let (folder, rest) = key.from_folder();
        let file = match folder {
            "" => self.folder.open_with(or_here(rest), &options)?,
            folder => self.folder.open_dir(folder)?.open_with(or_here(rest), &options)?,
        };
        Ok(file.into_std())
    }

    fn follows(&self, key: &Key) -> bool {
        self.follows_links && key.follows_links()
    }

    /// Opens a folder name by name.
    fn open_without_links(&self, path: &str) -> io::Result<Dir> {
        let mut folder = self.folder.try_clone()?;
        for name in path.split('/').filter(|name| !name.is_empty()) {
            let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let next = rustix::fs::openat(&folder, name, flags, Mode::empty())?;
            folder = Dir::from_std_file(next.into());
        }
        Ok(folder)
    }
}

/// A path of no name is the folder itself.
fn or_here(path: &str) -> &str {
    if path.is_empty() { "." } else { path }
}
