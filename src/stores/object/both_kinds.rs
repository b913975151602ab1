//! Names that are objects and have keys below them as well.
//!
//! Other tools make such names. A listing shows them as directories, and so does a look-up from then on, although a look at the object
//! alone would seem enough: what a client saw as a directory it can enter.

use std::collections::HashSet;
use std::hash::{BuildHasher, RandomState};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// How many names a store remembers, as hashes; with more it begins anew. Two names of one hash cost a request, no more.
const MOST: usize = 10_000;

/// The names of one store that listings have shown.
#[derive(Debug, Default)]
pub(in crate::stores) struct BothKinds {
    hasher: RandomState,
    names: Mutex<HashSet<u64>>,
}

impl BothKinds {
    /// A listing has shown the whole key as an object and as a prefix.
    pub(super) fn add(&self, full_key: &str) {
        let mut names = self.names();
        if names.len() == MOST {
            names.clear();
        }
        names.insert(self.hasher.hash_one(full_key));
    }

    /// Whether the whole key may be both still.
    pub(super) fn has(&self, full_key: &str) -> bool {
        let names = self.names();
        !names.is_empty() && names.contains(&self.hasher.hash_one(full_key))
    }

    /// Nothing lies below the key any more.
    pub(super) fn forget(&self, full_key: &str) {
        self.names().remove(&self.hasher.hash_one(full_key));
    }

    fn names(&self) -> MutexGuard<'_, HashSet<u64>> {
        self.names.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_remembered_until_they_are_one_kind_and_within_a_bound() {
        let both = BothKinds::default();
        assert!(!both.has("a"));
        both.add("a");
        assert!(both.has("a") && !both.has("b"));
        both.forget("a");
        assert!(!both.has("a"));
        for number in 0..3 * MOST {
            both.add(&number.to_string());
        }
        assert!(both.names().len() <= MOST);
        assert!(both.has(&(3 * MOST - 1).to_string()));
    }
}
