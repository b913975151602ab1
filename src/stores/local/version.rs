//! What tells one version of a file from another, since a folder keeps no entity tags.
//!
//! Every upload is a file of its own that takes the name when it is finished, so the number of the file (inode) tells versions
//! apart; and where a number is used again, the time at which the file was made. Length and times tell what other programs change
//! in place, as far as the file system's clock tells changes apart.

use std::fmt;
use std::fs::File;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::str::FromStr;
use std::time::UNIX_EPOCH;

/// A version of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Version {
    device: u64,
    inode: u64,
    /// When the file was made, in nanoseconds since 1970; 0 where the file system does not know.
    made: u128,
    size: u64,
    /// The modification time, in seconds and nanoseconds.
    modified: (i64, i64),
    /// When anything of it changed: content, name, attributes.
    changed: (i64, i64),
}

impl Version {
    /// The present version of an open file.
    pub(super) fn of(file: &File) -> io::Result<Self> {
        let found = file.metadata()?;
        let made = found.created().ok().and_then(|time| time.duration_since(UNIX_EPOCH).ok());
        Ok(Version {
            device: found.dev(),
            inode: found.ino(),
            made: made.map_or(0, |since| since.as_nanos()),
            size: found.size(),
            modified: (found.mtime(), found.mtime_nsec()),
            changed: (found.ctime(), found.ctime_nsec()),
        })
    }

    /// Whether both are versions of one file, whatever was done to it in place.
    pub(super) fn is_of_file(&self, other: &Version) -> bool {
        (self.device, self.inode, self.made) == (other.device, other.inode, other.made)
    }

    /// Whether the content is still this one's. Who sets the time of a file, or renames it, does not replace it: a time that was
    /// set differs from that of the last change, while a write makes both the same.
    pub(super) fn has_content_of(&self, other: &Version) -> bool {
        let file = |version: &Version| (version.device, version.inode, version.made, version.size);
        file(self) == file(other) && (self.modified == other.modified || self.modified != self.changed)
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Version { device, inode, made, size, modified, changed } = self;
        write!(f, "{device}:{inode}:{made}:{size}:{}:{}:{}:{}", modified.0, modified.1, changed.0, changed.1)
    }
}

impl FromStr for Version {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let mut fields = text.split(':');
        let mut field = || fields.next().ok_or(());
        fn number<T: FromStr>(text: &str) -> Result<T, ()> {
            text.parse().map_err(|_| ())
        }
        Ok(Version {
            device: number(field()?)?,
            inode: number(field()?)?,
            made: number(field()?)?,
            size: number(field()?)?,
            modified: (number(field()?)?, number(field()?)?),
            changed: (number(field()?)?, number(field()?)?),
        })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use super::*;

    const VERSION: Version = Version { device: 1, inode: 2, made: 1, size: 3, modified: (-4, 5), changed: (6, 7) };

    #[test]
    fn a_version_is_read_as_it_is_written() {
        assert_eq!(VERSION.to_string().parse(), Ok(VERSION));
        for wrong in ["", "1:2:3", "1:2:3:4:5:6:x"] {
            assert!(wrong.parse::<Version>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_time_that_is_set_leaves_the_content_and_a_write_does_not() {
        let set = Version { modified: (0, 0), changed: (8, 0), ..VERSION };
        assert!(set.has_content_of(&VERSION));
        let renamed = Version { changed: (8, 0), ..VERSION };
        assert!(renamed.has_content_of(&VERSION));
        let written = Version { modified: (8, 0), changed: (8, 0), ..VERSION };
        assert!(!written.has_content_of(&VERSION));
        assert!(!Version { size: 4, ..VERSION }.has_content_of(&VERSION));
        assert!(!Version { inode: 9, ..VERSION }.has_content_of(&VERSION));
        assert!(!Version { made: 2, ..set }.has_content_of(&VERSION), "the number is another file's by now");
    }
}
