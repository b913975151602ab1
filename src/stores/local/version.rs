//! What tells one version of a file from another, since a folder keeps no entity tags.
//!
//! Every upload is a file of its own that takes the name when it is finished, so the number of the file (inode) tells versions
//! apart. Length and times tell what other programs change in place, as far as the file system's clock tells changes apart.

use std::fmt;
use std::str::FromStr;

use rustix::fs::Stat;

/// A version of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Version {
    device: u64,
    inode: u64,
    size: i64,
    /// The modification time, in seconds and nanoseconds.
    modified: (i64, u64),
    /// When anything of it changed: content, name, attributes.
    changed: (i64, u64),
}

impl Version {
    /// The version that the system describes.
    pub(super) fn of(stat: &Stat) -> Self {
        Version {
            device: stat.st_dev,
            inode: stat.st_ino,
            size: stat.st_size,
            modified: (stat.st_mtime, stat.st_mtime_nsec),
            changed: (stat.st_ctime, stat.st_ctime_nsec),
        }
    }

    /// Whether the content is still this one's. Who sets the time of a file, or renames it, does not replace it: a time that was
    /// set differs from that of the last change, while a write makes both the same.
    pub(super) fn has_content_of(&self, other: &Version) -> bool {
        let same_file = (self.device, self.inode, self.size) == (other.device, other.inode, other.size);
        same_file && (self.modified == other.modified || self.modified != self.changed)
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Version { device, inode, size, modified, changed } = self;
        write!(f, "{device}:{inode}:{size}:{}:{}:{}:{}", modified.0, modified.1, changed.0, changed.1)
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

    const VERSION: Version = Version { device: 1, inode: 2, size: 3, modified: (-4, 5), changed: (6, 7) };

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
    }
}
