//! What a connection has uploaded, and which version: a user with only `write` may still give it its final name.

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::path::LogicalPath;
use crate::vfs::{Changed, Version};

/// How many files are remembered; beyond that the oldest are forgotten. A client renames a file right after it has uploaded it.
const MOST: usize = 1_024;

/// The files that a connection has uploaded last.
#[derive(Debug, Default)]
pub(super) struct OwnFiles {
    files: Mutex<Files>,
}

#[derive(Debug, Default)]
struct Files {
    versions: HashMap<LogicalPath, Version>,
    /// The same names, in the order in which they came.
    order: VecDeque<LogicalPath>,
}

impl OwnFiles {
    /// A file was uploaded.
    pub(super) fn add(&self, path: &LogicalPath, version: Version) {
        let mut files = self.files();
        if files.versions.insert(path.clone(), version).is_none() {
            files.order.push_back(path.clone());
        }
        if files.order.len() > MOST
            && let Some(oldest) = files.order.pop_front()
        {
            files.versions.remove(&oldest);
        }
    }

    /// The file `from` is `to` now (which may be the same name), and another version. It is still one of this connection if it was the
    /// one that this connection knows; whatever was `to` before is gone.
    pub(super) fn follow(&self, from: &LogicalPath, to: &LogicalPath, changed: Changed) {
        let known = self.files().remove(from);
        if from != to {
            self.forget(to);
        }
        match (known, changed) {
            (Some(known), Changed { before: Some(before), after: Some(after) }) if known == before => {
                self.add(to, after)
            }
            _ => {}
        }
    }

    /// The version that was uploaded under this name.
    pub(super) fn find(&self, path: &LogicalPath) -> Option<Version> {
        self.files().versions.get(path).cloned()
    }

    /// The file is gone.
    pub(super) fn forget(&self, path: &LogicalPath) {
        self.files().remove(path);
    }

    fn files(&self) -> MutexGuard<'_, Files> {
        self.files.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Files {
    fn remove(&mut self, path: &LogicalPath) -> Option<Version> {
        let version = self.versions.remove(path)?;
        self.order.retain(|name| name != path);
        Some(version)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(text: &str) -> LogicalPath {
        LogicalPath::parse_str(text).unwrap()
    }

    fn version(text: &str) -> Version {
        Version::of_test(text)
    }

    #[test]
    fn what_is_forgotten_takes_no_room() {
        let files = OwnFiles::default();
        for round in 0..3 * MOST {
            files.add(&path("/temporary"), version("1"));
            files.add(&path(&format!("/{round}")), version("1"));
            files.forget(&path("/temporary"));
        }
        let inner = files.files();
        assert_eq!((inner.order.len(), inner.versions.len()), (MOST - 1, MOST - 1));
        drop(inner);
        assert!(files.find(&path("/0")).is_none(), "the oldest is forgotten");
        assert!(files.find(&path(&format!("/{}", 3 * MOST - 1))).is_some());
    }

    #[test]
    fn a_file_is_followed_only_from_the_version_that_is_known() {
        let (files, changed) = (OwnFiles::default(), |before: &str| Changed {
            before: Some(version(before)),
            after: Some(version("after")),
        });
        files.add(&path("/a"), version("mine"));
        files.follow(&path("/a"), &path("/b"), changed("mine"));
        assert_eq!((files.find(&path("/a")), files.find(&path("/b"))), (None, Some(version("after"))));
        files.follow(&path("/b"), &path("/c"), changed("somebody else's"));
        assert_eq!((files.find(&path("/b")), files.find(&path("/c"))), (None, None));
        files.add(&path("/a"), version("mine"));
        files.follow(&path("/a"), &path("/a"), Changed::default());
        assert_eq!(files.find(&path("/a")), None, "a store that does not tell leaves nothing to go by");
    }
}
