//! Handles of an upload: which upload each holds, and whether its CLOSE has come.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use super::{Names, Uploads};
use crate::path::LogicalPath;

/// One handle. It may follow its name from one upload to another.
#[derive(Debug)]
pub(super) struct UploadHandle {
    uploads: Arc<Uploads>,
    /// For writing, not for reading only.
    writes: bool,
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Clone, Copy)]
struct State {
    /// The upload that it holds.
    id: u64,
    /// Its CLOSE has come.
    is_closing: bool,
}

impl UploadHandle {
    /// One that the upload has counted.
    pub(super) fn new(uploads: Arc<Uploads>, id: u64, writes: bool) -> Self {
        UploadHandle { uploads, writes, state: Arc::new(Mutex::new(State { id, is_closing: false })) }
    }

    pub(super) fn uploads(&self) -> &Arc<Uploads> {
        &self.uploads
    }

    pub(super) fn id(&self) -> u64 {
        lock(&self.state).id
    }

    /// Its CLOSE has come.
    pub(super) fn begin_closing(&self) {
        begin_closing(&self.uploads, &self.state);
    }

    /// It holds what `other` holds from now on; those who know its name follow.
    pub(super) fn follow(&self, other: &UploadHandle) {
        let (mut names, mut state) = (self.uploads.names(), lock(&self.state));
        let mut theirs = lock(&other.state);
        if state.is_closing {
            names.count_closing(state.id, -1);
            names.count_closing(theirs.id, 1);
        }
        // The other one is dropped as the handle of the old upload.
        std::mem::swap(&mut state.id, &mut theirs.id);
        drop((names, state, theirs));
        self.uploads.move_on();
    }

    /// What a codec may know of it.
    pub(super) fn name(&self) -> UploadName {
        UploadName { uploads: Arc::downgrade(&self.uploads), state: Arc::clone(&self.state) }
    }
}

impl Drop for UploadHandle {
    fn drop(&mut self) {
        let mut names = self.uploads.names();
        let state = *lock(&self.state);
        if state.is_closing {
            names.count_closing(state.id, -1);
        }
        names.leave(state.id, self.writes);
        drop(names);
        self.uploads.move_on();
    }
}

/// The name of an upload, which a RENAME may change while it is open. It holds nothing.
#[derive(Debug, Clone)]
pub struct UploadName {
    uploads: Weak<Uploads>,
    state: Arc<Mutex<State>>,
}

impl UploadName {
    /// The name that it has now; `None` when it is closed.
    pub fn path(&self) -> Option<LogicalPath> {
        let uploads = self.uploads.upgrade()?;
        let names = uploads.names();
        let id = lock(&self.state).id;
        names.records.get(&id).map(|record| record.path.clone())
    }

    /// Says that the client has asked for its CLOSE: whatever waits for that goes on waiting until it is done.
    pub fn announce_close(&self) {
        if let Some(uploads) = self.uploads.upgrade() {
            begin_closing(&uploads, &self.state);
        }
    }
}

/// Under the lock of the names, so that a handle that is dropped or follows another upload takes the count along.
fn begin_closing(uploads: &Uploads, state: &Mutex<State>) {
    let mut names = uploads.names();
    let mut state = lock(state);
    if !std::mem::replace(&mut state.is_closing, true) {
        names.count_closing(state.id, 1);
    }
    drop((names, state));
    uploads.move_on();
}

impl Names {
    fn count_closing(&mut self, id: u64, more: isize) {
        if let Some(record) = self.records.get_mut(&id) {
            record.closing = record.closing.saturating_add_signed(more);
        }
    }

    /// A handle is gone.
    fn leave(&mut self, id: u64, wrote: bool) {
        let Some(record) = self.records.get_mut(&id) else { return };
        record.handles = record.handles.saturating_sub(1);
        record.writers = record.writers.saturating_sub(usize::from(wrote));
        if record.handles == 0 {
            self.remove(id);
        }
    }
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}
