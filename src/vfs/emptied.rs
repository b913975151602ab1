//! Folders that a connection has emptied.
//!
//! An object store knows a folder without a marker by what lies in it. A client that has removed the last file goes on with
//! RMDIR, STAT or OPENDIR of the folder, as on a disk. So the folder stays there for the connection that emptied it; nothing is
//! asked of the store, or written to it, for that.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::path::LogicalPath;

/// How many folders are remembered; beyond that the oldest are forgotten. Clients remove a folder right after what is in it.
const MOST: usize = 1_024;

/// Folders from which this connection took something away. Each of them, and each above it, is there for the connection, until it
/// removes it.
#[derive(Debug, Default)]
pub(super) struct Emptied {
    folders: Mutex<VecDeque<LogicalPath>>,
}

impl Emptied {
    /// The name was removed or renamed: the folder that it was in stays.
    pub(super) fn took_away(&self, path: &LogicalPath) {
        let Some(folder) = path.parent().filter(|folder| !folder.is_root()) else { return };
        let mut folders = self.folders();
        // Most deletions follow one another in one folder.
        if let Some(at) = folders.iter().rposition(|known| *known == folder) {
            folders.remove(at);
        }
        folders.push_back(folder);
        if folders.len() > MOST {
            folders.pop_front();
        }
    }

    /// Whether the folder is there for this connection although the store has nothing in it.
    pub(super) fn has(&self, path: &LogicalPath) -> bool {
        self.folders().iter().any(|folder| folder.is_at_or_below(path))
    }

    /// The folder was removed, with those in it.
    pub(super) fn forget(&self, path: &LogicalPath) {
        self.folders().retain(|folder| !folder.is_at_or_below(path));
    }

    fn folders(&self) -> MutexGuard<'_, VecDeque<LogicalPath>> {
        self.folders.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn path(text: &str) -> LogicalPath {
        LogicalPath::parse_str(text).unwrap()
    }

    #[test]
    fn a_folder_stays_until_it_is_removed() {
        let emptied = Emptied::default();
        emptied.took_away(&path("/a/b/f"));
        for (folder, is_there) in [("/a/b", true), ("/a", true), ("/a/b/f", false), ("/a/bc", false), ("/x", false)] {
            assert_eq!(emptied.has(&path(folder)), is_there, "{folder}");
        }
        emptied.forget(&path("/a/b"));
        emptied.took_away(&path("/a/b"));
        assert!(!emptied.has(&path("/a/b")));
        assert!(emptied.has(&path("/a")), "it was not empty before");
    }

    #[test]
    fn only_so_many_are_remembered() {
        let emptied = Emptied::default();
        for n in 0..10 * MOST {
            emptied.took_away(&path(&format!("/{n}/f")));
            emptied.took_away(&path(&format!("/{n}/g")));
        }
        assert_eq!(emptied.folders().len(), MOST);
        assert!(!emptied.has(&path("/0")));
        assert!(emptied.has(&path(&format!("/{}", 10 * MOST - 1))));
    }
}
