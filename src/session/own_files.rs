//! What a connection has uploaded: who may only write may still give it its final name.

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::path::LogicalPath;
use crate::vfs::Version;

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
    /// In the order of their uploads; those that are forgotten may still stand here.
    order: VecDeque<LogicalPath>,
}

impl OwnFiles {
    /// A file was uploaded.
    pub(super) fn add(&self, path: &LogicalPath, version: Version) {
        let mut files = self.files();
        if files.versions.insert(path.clone(), version).is_none() {
            files.order.push_back(path.clone());
        }
        while files.order.len() > MOST {
            if let Some(oldest) = files.order.pop_front() {
                files.versions.remove(&oldest);
            }
        }
    }

    /// The version that was uploaded under this name.
    pub(super) fn find(&self, path: &LogicalPath) -> Option<Version> {
        self.files().versions.get(path).cloned()
    }

    /// The file is gone; whether it was known.
    pub(super) fn forget(&self, path: &LogicalPath) -> bool {
        self.files().versions.remove(path).is_some()
    }

    fn files(&self) -> MutexGuard<'_, Files> {
        self.files.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
