//! One unfinished file, as a handle holds it.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use tokio::sync::{self, OwnedMutexGuard};

use super::handle::UploadHandle;
use super::{UploadName, Uploads};
use crate::path::LogicalPath;
use crate::stores::{Existing, Kind};
use crate::vfs::{Attributes, Writer};

/// What was written, for one call at a time; gone when it could not be published.
pub(in super::super) type Content = sync::Mutex<Option<Writer>>;

impl super::Record {
    /// Where and how the file is to be published.
    pub(super) fn place(&self) -> Place {
        Place { path: self.path.clone(), existing: self.existing, is_discarded: self.progress.is_discarded() }
    }
}

/// Where and how an upload is published.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in super::super) struct Place {
    pub(in super::super) path: LogicalPath,
    pub(in super::super) existing: Existing,
    /// It was removed: nothing is published.
    pub(in super::super) is_discarded: bool,
}

/// How far an upload is: what can be seen without waiting for a call that is under way.
#[derive(Debug)]
pub(super) struct Progress {
    size: AtomicU64,
    /// Closing it would publish content.
    has_content: AtomicBool,
    is_discarded: AtomicBool,
    /// Several handles have had it, so that none of them has seen all of it.
    is_shared: AtomicBool,
    /// What it began from was replaced on this connection, before anything of it was changed.
    is_stale: AtomicBool,
    times: Mutex<Times>,
}

#[derive(Debug, Default)]
struct Times {
    /// What the client wants.
    wanted: Option<SystemTime>,
    /// That of the existing file, for a handle that has not changed it.
    found: Option<SystemTime>,
}

impl Progress {
    pub(super) fn of(writer: &Writer) -> Self {
        Progress {
            size: AtomicU64::new(writer.size()),
            has_content: AtomicBool::new(writer.has_content()),
            is_discarded: AtomicBool::new(false),
            is_shared: AtomicBool::new(false),
            is_stale: AtomicBool::new(false),
            times: Mutex::new(Times { wanted: None, found: writer.idle_mtime() }),
        }
    }

    pub(super) fn has_content(&self) -> bool {
        self.has_content.load(Ordering::Acquire)
    }

    pub(super) fn is_discarded(&self) -> bool {
        self.is_discarded.load(Ordering::Acquire)
    }

    pub(super) fn discard(&self) {
        self.is_discarded.store(true, Ordering::Release);
    }

    /// It is about to be changed.
    pub(super) fn claim(&self) {
        self.has_content.store(true, Ordering::Release);
    }

    pub(super) fn set_stale(&self) {
        self.is_stale.store(true, Ordering::Release);
    }

    pub(super) fn share(&self) {
        self.is_shared.store(true, Ordering::Release);
    }

    pub(super) fn set_wanted_mtime(&self, mtime: SystemTime) {
        self.times().wanted = Some(mtime);
    }

    /// The file as far as it is written.
    pub(super) fn attributes(&self) -> Attributes {
        let times = self.times();
        let unchanged = times.found.filter(|_| !self.has_content());
        let mtime = times.wanted.or(unchanged).unwrap_or_else(SystemTime::now);
        Attributes { kind: Kind::File, size: self.size.load(Ordering::Relaxed), mtime: Some(mtime) }
    }

    pub(super) fn follow(&self, writer: &Writer) {
        self.size.store(writer.size(), Ordering::Relaxed);
        self.has_content.store(writer.has_content(), Ordering::Release);
    }

    fn times(&self) -> MutexGuard<'_, Times> {
        self.times.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A handle of a file that is open for writing.
#[derive(Debug)]
pub(in super::super) struct Upload {
    handle: UploadHandle,
    progress: Arc<Progress>,
    content: Arc<Content>,
}

impl Upload {
    pub(super) fn new(
        uploads: Arc<Uploads>,
        id: u64,
        writes: bool,
        progress: Arc<Progress>,
        content: Arc<Content>,
    ) -> Self {
        Upload { handle: UploadHandle::new(uploads, id, writes), progress, content }
    }

    fn uploads(&self) -> &Arc<Uploads> {
        self.handle.uploads()
    }

    /// What was written, for one call: while it is held, nobody else writes, renames, removes or publishes the file.
    pub(in super::super) async fn lock(&self) -> OwnedMutexGuard<Option<Writer>> {
        Arc::clone(&self.content).lock_owned().await
    }

    /// Before a call on a handle that has changed nothing yet: it follows its name to the upload that this means by now. Without
    /// another one, and when the call `changes` the file, this is it from now on.
    pub(in super::super) fn follow_name(&mut self, changes: bool) {
        if self.progress.has_content() {
            return;
        }
        if let Some(other) = self.uploads().join_other(self.handle.id(), changes) {
            self.handle.follow(&other.handle);
            (self.progress, self.content) = (Arc::clone(&other.progress), Arc::clone(&other.content));
        }
    }

    /// Whether what it began from was replaced, so that it has to begin again; says so once.
    pub(in super::super) fn was_stale(&self) -> bool {
        self.progress.is_stale.swap(false, Ordering::AcqRel)
    }

    /// The length or the content of the file changed.
    pub(in super::super) fn follow(&self, writer: &Writer) {
        self.progress.follow(writer);
    }

    /// It was removed: it accepts what comes, and publishes nothing.
    pub(in super::super) fn is_discarded(&self) -> bool {
        self.progress.is_discarded()
    }

    /// Whether other handles have had the same file.
    pub(in super::super) fn is_shared(&self) -> bool {
        self.progress.is_shared.load(Ordering::Acquire)
    }

    /// The client wants this modification time.
    pub(in super::super) fn set_mtime(&self, mtime: SystemTime) {
        self.progress.set_wanted_mtime(mtime);
    }

    /// The modification time that the client wants.
    pub(in super::super) fn wanted_mtime(&self) -> Option<SystemTime> {
        self.progress.times().wanted
    }

    /// The file as far as it is written.
    pub(in super::super) fn attributes(&self) -> Attributes {
        self.progress.attributes()
    }

    /// Where and how it is to be published. It stays so while [`Upload::lock`] is held.
    pub(in super::super) fn place(&self) -> Option<Place> {
        self.uploads().names().records.get(&self.handle.id()).map(super::Record::place)
    }

    /// Whether other handles hold it as well.
    pub(in super::super) fn has_others(&self) -> bool {
        self.uploads().names().records.get(&self.handle.id()).is_some_and(|record| record.handles > 1)
    }

    /// Whether other handles may write it.
    pub(in super::super) fn has_other_writers(&self) -> bool {
        self.uploads().names().records.get(&self.handle.id()).is_some_and(|record| record.writers > 1)
    }

    /// Whether its name means a newer file by now.
    pub(in super::super) fn has_newer(&self) -> bool {
        self.uploads().has_newer(self.handle.id())
    }

    /// Its CLOSE has come. It is done when this handle is dropped.
    pub(in super::super) fn begin_closing(&self) {
        self.handle.begin_closing();
    }

    /// It was published.
    pub(in super::super) fn published(&self) {
        self.uploads().published(self.handle.id());
    }

    /// The wish for a time was fulfilled, and the others that hold the file begin from what was published.
    pub(in super::super) fn start_again(&self, writer: &Writer) {
        *self.progress.times() = Times { wanted: None, found: writer.idle_mtime() };
        self.progress.follow(writer);
    }

    /// Nothing of it is left: the name means what is published, and its handles can only be closed.
    pub(in super::super) fn give_up(&self) {
        self.uploads().give_up(self.handle.id());
    }

    /// What a codec may know of it.
    pub(in super::super) fn name(&self) -> UploadName {
        self.handle.name()
    }
}
