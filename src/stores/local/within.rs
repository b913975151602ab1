//! The way from the root folder to what a key names, and how far symbolic links lead on it.
//!
//! Where no link is on the way, which is the usual case, the kernel goes it in one call. Else each name is looked at here: the way to the
//! folder of the key's entry is the operator's, and links on it lead anywhere within the root; from there on a link that leads out of that
//! folder, and an absolute one, name nothing, whoever changes links meanwhile. No way leads to the gateway's own folder. Where links are not
//! followed, no name may be one.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io;
use std::os::unix::ffi::OsStringExt;
use std::path::{Component, Path};

use cap_std::fs::{Dir, Metadata};
use rustix::fs::{Mode, OFlags, ResolveFlags};
use rustix::io::Errno;

use super::root::{RESERVED, Root};
use crate::stores::Key;

/// As many links are followed on one way as Linux follows.
const MOST_LINKS: usize = 40;

const FOLDER: OFlags = OFlags::PATH.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);

impl Root {
    /// Opens the folder of a key.
    pub(super) fn open_dir(&self, key: &Key) -> io::Result<Dir> {
        self.open_as(key, FOLDER).map(Dir::from_std_file)
    }

    /// Attributes of what a key leads to.
    pub(super) fn metadata(&self, key: &Key) -> io::Result<Metadata> {
        let metadata = Metadata::from_file(&self.open_as(key, OFlags::PATH | OFlags::CLOEXEC)?)?;
        // Without this, a link that came just now would be shown as itself.
        if metadata.is_symlink() { Err(Errno::LOOP.into()) } else { Ok(metadata) }
    }

    /// Opens a file for reading. Never waits for a pipe's other end.
    pub(super) fn open_for_reading(&self, key: &Key) -> io::Result<File> {
        self.open_as(key, OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC)
    }

    /// Whether the name in this folder is the gateway's own. (Some file systems do not tell cases apart.)
    pub(super) fn is_reserved(&self, folder: &Dir, name: &OsStr) -> io::Result<bool> {
        Ok(name.eq_ignore_ascii_case(RESERVED) && identity(folder)? == self.identity)
    }

    fn open_as(&self, key: &Key, flags: OFlags) -> io::Result<File> {
        let direct = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
        match rustix::fs::openat2(&self.folder, or_here(key.as_str()), flags, Mode::empty(), direct) {
            Ok(file) => return Ok(file.into()),
            // A link is on the way, or the system does not know the call (EPERM: as containers forbid it).
            Err(Errno::LOOP | Errno::NOSYS | Errno::PERM | Errno::XDEV | Errno::AGAIN) => {}
            Err(error) => return Err(error.into()),
        }
        let follows = self.follows_links && key.follows_links();
        let (folder, rest) = key.from_folder();
        let entry = match folder {
            "" => self.folder.try_clone()?,
            folder => {
                let end = self.follow(self.folder.try_clone()?, folder, follows)?;
                Dir::from_std_file(open_end(&end, FOLDER)?)
            }
        };
        open_end(&self.follow(entry, rest, follows)?, flags)
    }

    /// Goes from an open folder along a path, never above the folder.
    fn follow(&self, from: Dir, path: &str, follows_links: bool) -> io::Result<End> {
        let mut left: Vec<OsString> = Vec::new();
        push_names(&mut left, Path::new(path))?;
        let (mut above, mut here, mut links) = (Vec::new(), from, 0);
        while let Some(name) = left.pop() {
            if name == ".." {
                here = above.pop().ok_or_else(leads_out)?;
                continue;
            }
            if self.is_reserved(&here, &name)? {
                return Err(io::Error::new(io::ErrorKind::NotFound, "it is the gateway's own"));
            }
            match rustix::fs::readlinkat(&here, &name, Vec::new()) {
                Ok(_) if !follows_links || links == MOST_LINKS => return Err(Errno::LOOP.into()),
                Ok(target) => {
                    links += 1;
                    let target = OsString::from_vec(target.into_bytes());
                    push_names(&mut left, Path::new(&target))?;
                    continue;
                }
                // It is no link.
                Err(Errno::INVAL) => {}
                Err(error) => return Err(error.into()),
            }
            if left.is_empty() {
                return Ok(End { folder: here, name: Some(name) });
            }
            let next = rustix::fs::openat(&here, &name, FOLDER | OFlags::NOFOLLOW, Mode::empty())?;
            above.push(std::mem::replace(&mut here, Dir::from_std_file(next.into())));
        }
        Ok(End { folder: here, name: None })
    }
}

/// What tells a folder from all others of the machine.
pub(super) fn identity(folder: &Dir) -> io::Result<(u64, u64)> {
    let found = rustix::fs::fstat(folder)?;
    Ok((found.st_dev, found.st_ino))
}

/// Where a way ends: a name, which is no link, in an open folder; without a name, that folder.
struct End {
    folder: Dir,
    name: Option<OsString>,
}

fn open_end(end: &End, flags: OFlags) -> io::Result<File> {
    let name = end.name.as_deref().unwrap_or(OsStr::new("."));
    Ok(rustix::fs::openat(&end.folder, name, flags | OFlags::NOFOLLOW, Mode::empty())?.into())
}

/// Puts the names of a path on a stack, the first on top.
fn push_names(left: &mut Vec<OsString>, path: &Path) -> io::Result<()> {
    for component in path.components().rev() {
        match component {
            Component::Normal(name) => left.push(name.to_owned()),
            Component::ParentDir => left.push("..".into()),
            Component::CurDir => {}
            Component::RootDir | Component::Prefix(_) => return Err(leads_out()),
        }
    }
    Ok(())
}

/// As cap-std says it: without a number of the system.
fn leads_out() -> io::Error {
    io::Error::new(io::ErrorKind::PermissionDenied, "a path led outside of the folder")
}

/// A path of no name is the folder itself.
fn or_here(path: &str) -> &str {
    if path.is_empty() { "." } else { path }
}
