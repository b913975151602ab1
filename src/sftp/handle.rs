//! The handles of one channel, and what its parts share.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Semaphore;

use super::limits::MAX_HANDLES;
use super::outbox::{Hold, Outbox};
use super::queue::HandleQueue;
use super::request::HandleId;
use crate::path::LogicalPath;
use crate::session::{Kind, Session, UploadName};

/// What the parts of one channel share.
#[derive(Debug)]
pub(super) struct Channel {
    /// What the user may do.
    pub(super) whole: Arc<Session>,
    /// What of that the requests on open handles may do.
    pub(super) session: Arc<Session>,
    pub(super) outbox: Outbox,
    pub(super) handles: Handles,
    /// Turns of `check-file` requests.
    pub(super) checks: Arc<Semaphore>,
}

/// An open handle: what serves it owns the file or the directory; this is what others see of it.
#[derive(Debug)]
pub(super) struct Handle {
    pub(super) kind: Kind,
    /// Set when its CLOSE publishes a file.
    pub(super) upload: Option<UploadName>,
    /// What was opened.
    pub(super) path: LogicalPath,
    pub(super) queue: HandleQueue,
}

impl Handle {
    /// The name under which its CLOSE publishes a file.
    pub(super) fn upload_path(&self) -> Option<LogicalPath> {
        self.upload.as_ref().and_then(UploadName::path)
    }
}

/// The open handles.
#[derive(Debug)]
pub(super) struct Handles {
    table: Mutex<Table>,
    room: Arc<Semaphore>,
}

#[derive(Debug, Default)]
struct Table {
    open: HashMap<HandleId, Arc<Handle>>,
    given: u64,
}

impl Handles {
    pub(super) fn new() -> Self {
        Handles { table: Mutex::default(), room: Arc::new(Semaphore::new(MAX_HANDLES)) }
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Room for one more handle, to be held until it is served no more.
    pub(super) fn reserve(&self) -> Option<Hold> {
        Arc::clone(&self.room).try_acquire_owned().ok()
    }

    /// Adds an open handle under a number that no other handle of the channel has had.
    pub(super) fn add(&self, kind: Kind, path: LogicalPath, upload: Option<UploadName>) -> (HandleId, Arc<Handle>) {
        let handle = Arc::new(Handle { kind, upload, path, queue: HandleQueue::default() });
        let mut table = self.table();
        table.given += 1;
        let id = HandleId::new(table.given);
        table.open.insert(id, Arc::clone(&handle));
        (id, handle)
    }

    /// The handle of this number.
    pub(super) fn get(&self, id: HandleId) -> Option<Arc<Handle>> {
        self.table().open.get(&id).cloned()
    }

    /// What is being written under this name.
    pub(super) fn uploads_of(&self, path: &LogicalPath) -> Vec<Arc<Handle>> {
        let table = self.table();
        table.open.values().filter(|handle| handle.upload_path().is_some_and(|own| own == *path)).cloned().collect()
    }

    /// Takes the handle out: its CLOSE has come, and nothing after it reaches the handle.
    pub(super) fn take(&self, id: HandleId) -> Option<Arc<Handle>> {
        self.table().open.remove(&id)
    }

    /// The client has gone: every handle that it has not closed is to be cut off.
    pub(super) fn end(&self) {
        for (_, handle) in self.table().open.drain() {
            handle.queue.end();
        }
    }
}
