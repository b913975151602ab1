//! What a connection is writing: its own STAT shows a file that is not published yet.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::SystemTime;

use crate::path::LogicalPath;
use crate::stores::Kind;
use crate::vfs::Attributes;

/// The uploads of one connection by their paths.
#[derive(Debug, Default)]
pub(super) struct Uploads {
    /// The last one opened stands last.
    open: Mutex<HashMap<LogicalPath, Vec<Weak<Progress>>>>,
}

/// How far an upload is. It counts for as long as somebody holds it.
#[derive(Debug, Default)]
pub(super) struct Progress {
    size: AtomicU64,
    mtime: Mutex<Option<SystemTime>>,
}

impl Progress {
    /// The file has this many bytes now.
    pub(super) fn set_size(&self, size: u64) {
        self.size.store(size, Ordering::Relaxed);
    }

    /// The client wants this modification time.
    pub(super) fn set_mtime(&self, mtime: SystemTime) {
        *self.mtime.lock().unwrap_or_else(PoisonError::into_inner) = Some(mtime);
    }

    /// The modification time that the client wants.
    pub(super) fn wanted_mtime(&self) -> Option<SystemTime> {
        *self.mtime.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The file as far as it is written.
    pub(super) fn attributes(&self) -> Attributes {
        let mtime = Some(self.wanted_mtime().unwrap_or_else(SystemTime::now));
        Attributes { kind: Kind::File, size: self.size.load(Ordering::Relaxed), mtime }
    }
}

impl Uploads {
    /// An upload begins.
    pub(super) fn begin(&self, path: &LogicalPath, progress: &Arc<Progress>) {
        let mut open = self.open();
        open.retain(|_, uploads| {
            uploads.retain(|upload| upload.strong_count() > 0);
            !uploads.is_empty()
        });
        open.entry(path.clone()).or_default().push(Arc::downgrade(progress));
    }

    /// What is being written to this path, if anything is.
    pub(super) fn find(&self, path: &LogicalPath) -> Option<Arc<Progress>> {
        self.open().get(path)?.iter().rev().find_map(Weak::upgrade)
    }

    fn open(&self) -> MutexGuard<'_, HashMap<LogicalPath, Vec<Weak<Progress>>>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
