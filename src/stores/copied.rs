//! Which versions of which names a rename has copied.

use std::collections::HashMap;
use std::hash::{BuildHasher, Hash, RandomState};

/// Names and versions as hashes: 24 bytes a name, for trees of millions.
#[derive(Debug, Default)]
pub struct CopiedVersions {
    hasher: RandomState,
    copied: HashMap<u64, Versions>,
}

#[derive(Debug, Clone, Copy)]
struct Versions {
    source: u64,
    made: u64,
}

impl CopiedVersions {
    /// The version `source` of this name was copied, and became `made`.
    pub fn add(&mut self, name: impl Hash, source: Option<&str>, made: Option<&str>) {
        let versions = Versions { source: self.hasher.hash_one(source), made: self.hasher.hash_one(made) };
        self.copied.insert(self.hasher.hash_one(name), versions);
    }

    /// How many names there are.
    pub fn len(&self) -> usize {
        self.copied.len()
    }

    /// Whether nothing was copied.
    pub fn is_empty(&self) -> bool {
        self.copied.is_empty()
    }

    /// Whether a version of this name was copied.
    pub fn has(&self, name: impl Hash) -> bool {
        self.find(name).is_some()
    }

    /// Whether this version of this name was copied last.
    pub fn has_source(&self, name: impl Hash, version: Option<&str>) -> bool {
        self.find(name).is_some_and(|versions| versions.source == self.hasher.hash_one(version))
    }

    /// Whether this version is what the copy of this name became.
    pub fn has_made(&self, name: impl Hash, version: Option<&str>) -> bool {
        self.find(name).is_some_and(|versions| versions.made == self.hasher.hash_one(version))
    }

    fn find(&self, name: impl Hash) -> Option<&Versions> {
        self.copied.get(&self.hasher.hash_one(name))
    }
}
