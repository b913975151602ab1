//! Folders that a way has just led to, so that a file can be made in one without going its way first.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// For so long a folder counts as there: a client closes a small file that soon after it has opened it. Links that somebody sets on the server
/// meanwhile are noticed before the file gets its name.
const LASTS: Duration = Duration::from_secs(1);

/// So many are remembered.
const MOST: usize = 1_024;

/// Folders, by the keys that lead to them without a link on the way.
#[derive(Debug, Default)]
pub(super) struct SeenFolders(Mutex<HashMap<String, Instant>>);

impl SeenFolders {
    /// A way led there.
    pub(super) fn note(&self, folder: &str) {
        let (mut seen, now) = (self.locked(), Instant::now());
        if let Some(at) = seen.get_mut(folder) {
            *at = now;
            return;
        }
        if seen.len() >= MOST {
            seen.retain(|_, at| now.duration_since(*at) < LASTS);
        }
        if seen.len() < MOST {
            seen.insert(folder.to_owned(), now);
        }
    }

    /// Whether a way led there just now.
    pub(super) fn has(&self, folder: &str) -> bool {
        self.locked().get(folder).is_some_and(|at| at.elapsed() < LASTS)
    }

    /// Folders are renamed or removed.
    pub(super) fn forget(&self) {
        self.locked().clear();
    }

    fn locked(&self) -> MutexGuard<'_, HashMap<String, Instant>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_remembered_for_a_moment_and_not_too_many_are() {
        let seen = SeenFolders::default();
        assert!(!seen.has("a"));
        seen.note("a");
        assert!(seen.has("a"));
        for number in 0..2 * MOST {
            seen.note(&number.to_string());
        }
        assert_eq!(seen.locked().len(), MOST);
        if let Some(past) = Instant::now().checked_sub(LASTS) {
            seen.locked().values_mut().for_each(|at| *at = past);
            assert!(!seen.has("a"));
            seen.note("new");
            assert!(seen.has("new"));
            assert_eq!(seen.locked().len(), 1);
        }
        seen.forget();
        assert!(!seen.has("new"));
    }
}
