//! The files that a connection is writing, by their names.
//!
//! On the connection that writes it, an unfinished upload is the file of its name, as on a disk: STAT, SETSTAT, REMOVE, RENAME and a
//! second OPEN mean the newest upload of the name. What an operation by name finds is decided here and nowhere else.
//!
//! An upload is known as long as a handle holds it. It *counts* when closing it would publish content, and nothing newer was
//! published under its name since: a handle that was opened without truncation and never written is no upload.

mod handle;
mod held;
mod upload;

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, timeout_at};

use crate::path::LogicalPath;
use crate::stores::{Existing, StoreErrorKind};
use crate::vfs::{Attributes, VfsError, VfsResult, Writer};

pub use handle::UploadName;
use held::Held;
pub(super) use upload::Upload;
use upload::{Content, Progress};

/// How long OPEN waits for the CLOSE of an upload that it finds. Clients that end a file in the background send CLOSE beside, or just
/// after, the next requests of the same name (sshfs does).
pub(super) const OPEN_WAIT: Duration = Duration::from_secs(1);

/// How long REMOVE, RENAME and RMDIR wait for it. What they do is right for an unfinished file as well, and some programs rename before
/// they close (GLib).
pub(super) const CHANGE_WAIT: Duration = Duration::from_millis(250);

/// How long they all wait for what is under way on an upload of the name: a CLOSE that has come, or a call on its content. Only a store
/// that does not answer, or a very large file that is sent at its CLOSE, takes that long.
pub(super) const BUSY_WAIT: Duration = Duration::from_secs(300);

/// Which uploads an operation on a path means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Scope {
    /// Those of this very name.
    Name,
    /// Those of this name, and those below it.
    Tree,
}

/// The uploads of one connection.
#[derive(Debug)]
pub(super) struct Uploads {
    names: Mutex<Names>,
    /// Counts up when a CLOSE has come or is done.
    moved_on: watch::Sender<u64>,
    /// [`BUSY_WAIT`], in milliseconds; tests have less time.
    busy_wait: AtomicU64,
}

#[derive(Debug, Default)]
struct Names {
    /// By the order in which they were opened.
    records: BTreeMap<u64, Record>,
    by_path: HashMap<LogicalPath, Vec<u64>>,
    opened: u64,
}

/// An upload that a handle holds.
#[derive(Debug)]
struct Record {
    path: LogicalPath,
    existing: Existing,
    /// A newer upload was published under the name, or this one could not be.
    is_superseded: bool,
    handles: usize,
    /// How many of them may write.
    writers: usize,
    /// Of how many the CLOSE has come.
    closing: usize,
    /// An operation has waited in vain for a CLOSE: who keeps a file open keeps nobody else waiting.
    stays_open: bool,
    /// An operation has waited in vain for the end of what is under way: nobody else waits for that.
    is_stuck: bool,
    progress: Arc<Progress>,
    content: Arc<Content>,
}

/// What an operation by name waits for.
enum Awaited {
    Nothing,
    /// That a CLOSE comes.
    Close,
    /// That one that has come is done.
    End,
    /// The same; somebody has waited for that in vain.
    Stuck,
}

impl Record {
    /// Whether it is what the name means on this connection.
    fn counts(&self) -> bool {
        !self.is_superseded && self.progress.has_content() && !self.progress.is_discarded()
    }
}

impl Default for Uploads {
    fn default() -> Self {
        let busy_wait = AtomicU64::new(BUSY_WAIT.as_secs() * 1000);
        Uploads { names: Mutex::default(), moved_on: watch::Sender::new(0), busy_wait }
    }
}

impl Uploads {
    /// A file was opened to be written.
    pub(super) fn begin(self: &Arc<Self>, path: &LogicalPath, existing: Existing, writer: Writer) -> Upload {
        let progress = Arc::new(Progress::of(&writer));
        let content = Arc::new(Content::new(Some(writer)));
        let mut names = self.names();
        names.opened += 1;
        let id = names.opened;
        let record = Record {
            path: path.clone(),
            existing,
            is_superseded: false,
            handles: 1,
            writers: 1,
            closing: 0,
            stays_open: false,
            is_stuck: false,
            progress: Arc::clone(&progress),
            content: Arc::clone(&content),
        };
        names.records.insert(id, record);
        names.by_path.entry(path.clone()).or_default().push(id);
        drop(names);
        Upload::new(Arc::clone(self), id, true, progress, content)
    }

    /// Another handle of the upload that this name means; `writes`: it is not for reading only.
    pub(super) fn join(self: &Arc<Self>, path: &LogicalPath, writes: bool) -> Option<Upload> {
        let mut names = self.names();
        let id = names.newest(path, Record::counts)?;
        self.joined(&mut names, id, writes)
    }

    /// Another handle of the upload that this name means, when it is not the one of `id`. When there is no other and `changes`, that one
    /// counts from now on.
    fn join_other(self: &Arc<Self>, id: u64, changes: bool) -> Option<Upload> {
        let mut names = self.names();
        let path = names.records.get(&id)?.path.clone();
        let newest = names.newest(&path, Record::counts);
        match newest.filter(|newest| *newest != id) {
            Some(other) => self.joined(&mut names, other, true),
            None => {
                names.records.get(&id).filter(|_| changes)?.progress.claim();
                None
            }
        }
    }

    fn joined(self: &Arc<Self>, names: &mut Names, id: u64, writes: bool) -> Option<Upload> {
        let record = names.records.get_mut(&id)?;
        record.handles += 1;
        record.writers += usize::from(writes);
        record.progress.share();
        Some(Upload::new(Arc::clone(self), id, writes, Arc::clone(&record.progress), Arc::clone(&record.content)))
    }

    /// The unfinished file of this name, as far as it is written.
    pub(super) fn attributes(&self, path: &LogicalPath) -> Option<Attributes> {
        let names = self.names();
        let id = names.newest(path, Record::counts)?;
        names.records.get(&id).map(|record| record.progress.attributes())
    }

    /// Whether an unfinished file of this name stands for it.
    pub(super) fn has(&self, path: &LogicalPath) -> bool {
        self.names().newest(path, Record::counts).is_some()
    }

    /// Whether a handle that may write has a file of this name, written or not.
    pub(super) fn is_open(&self, path: &LogicalPath) -> bool {
        self.names().by_path.contains_key(path)
    }

    /// Whether an unfinished file lies below this path, so that it is a directory.
    pub(super) fn has_below(&self, path: &LogicalPath) -> bool {
        let names = self.names();
        names.records.values().any(|record| record.counts() && record.path.is_at_or_below(path) && record.path != *path)
    }

    /// Waits until the uploads that the operation would find are closed: at most [`BUSY_WAIT`] once a CLOSE has come, else at most
    /// `wait`, and once for each upload. What is unfinished then is used as it is.
    ///
    /// # Errors
    /// [`StoreErrorKind::Unavailable`] when a CLOSE that has come is not done by then.
    pub(super) async fn settle(&self, path: &LogicalPath, scope: Scope, wait: Duration) -> VfsResult<()> {
        let began = Instant::now();
        let (deadline, limit) = (began + wait, began + self.busy_wait());
        let mut moved_on = self.moved_on.subscribe();
        loop {
            moved_on.mark_unchanged();
            match self.awaited(path, scope) {
                Awaited::Nothing => return Ok(()),
                Awaited::Stuck => return Err(is_busy(path)),
                // The sender lives as long as `self`.
                Awaited::End if timeout_at(limit, moved_on.changed()).await.is_err() => {
                    self.mark(path, scope, |record| record.is_stuck = record.closing > 0);
                    return Err(is_busy(path));
                }
                Awaited::Close if timeout_at(deadline, moved_on.changed()).await.is_err() => {
                    self.mark(path, scope, |record| record.stays_open = true);
                    return Ok(());
                }
                Awaited::End | Awaited::Close => {}
            }
        }
    }

    fn awaited(&self, path: &LogicalPath, scope: Scope) -> Awaited {
        let names = self.names();
        let mut awaited = Awaited::Nothing;
        for (_, record) in names.within(path, scope) {
            if record.closing > 0 && record.is_stuck {
                return Awaited::Stuck;
            }
            if record.closing > 0 {
                awaited = Awaited::End;
                continue;
            }
            if record.counts() && !record.stays_open && !matches!(awaited, Awaited::End) {
                awaited = Awaited::Close;
            }
        }
        awaited
    }

    fn mark(&self, path: &LogicalPath, scope: Scope, mark: impl Fn(&mut Record)) {
        let mut names = self.names();
        let found: Vec<u64> = names.within(path, scope).map(|(id, _)| id).collect();
        for id in found {
            names.records.get_mut(&id).into_iter().for_each(&mark);
        }
    }

    /// Holds the uploads still that an operation by name is about: meanwhile none of them is written or published.
    ///
    /// # Errors
    /// [`StoreErrorKind::Unavailable`] when a call on one of them takes longer than [`BUSY_WAIT`]; then none is held.
    pub(super) async fn hold(self: &Arc<Self>, about: &[(&LogicalPath, Scope)]) -> VfsResult<Held> {
        let limit = Instant::now() + self.busy_wait();
        let wanted: BTreeMap<u64, (LogicalPath, Arc<Content>)> = {
            let names = self.names();
            let found = about.iter().flat_map(|(path, scope)| names.within(path, *scope));
            found.map(|(id, record)| (id, (record.path.clone(), Arc::clone(&record.content)))).collect()
        };
        // In the order of their numbers, so that two who hold do not wait for each other.
        let mut held = Vec::with_capacity(wanted.len());
        for (id, (path, content)) in wanted {
            held.push((id, timeout_at(limit, content.lock_owned()).await.map_err(|_| is_busy(&path))?));
        }
        Ok(Held::new(Arc::clone(self), held))
    }

    /// The upload was published: whatever was opened before it under its name is no longer what the name means.
    fn published(&self, id: u64) {
        let mut names = self.names();
        let Some(path) = names.records.get(&id).map(|record| record.path.clone()) else { return };
        for other in names.by_path.get(&path).cloned().unwrap_or_default() {
            let Some(record) = names.records.get_mut(&other).filter(|_| other != id) else { continue };
            if !record.progress.has_content() {
                record.progress.set_stale();
            } else if other < id {
                record.is_superseded = true;
            }
        }
    }

    /// The upload is lost: the name means what is published.
    fn give_up(&self, id: u64) {
        if let Some(record) = self.names().records.get_mut(&id) {
            record.is_superseded = true;
        }
    }

    /// Whether another upload of the same name is newer.
    fn has_newer(&self, id: u64) -> bool {
        let names = self.names();
        let Some(record) = names.records.get(&id) else { return false };
        record.is_superseded || names.newest(&record.path, Record::counts).is_some_and(|newest| newest > id)
    }

    /// What is published under the name was changed by this connection: handles that have changed nothing begin from it.
    pub(super) fn begin_again(&self, path: &LogicalPath) {
        let names = self.names();
        for (_, record) in names.within(path, Scope::Tree).filter(|(_, record)| !record.progress.has_content()) {
            record.progress.set_stale();
        }
    }

    fn busy_wait(&self) -> Duration {
        Duration::from_millis(self.busy_wait.load(Ordering::Relaxed))
    }

    /// Has others wait no longer than this for what is under way.
    #[cfg(test)]
    pub(super) fn set_busy_wait(&self, wait: Duration) {
        self.busy_wait.store(wait.as_millis() as u64, Ordering::Relaxed);
    }

    fn move_on(&self) {
        self.moved_on.send_modify(|count| *count = count.wrapping_add(1));
    }

    fn names(&self) -> MutexGuard<'_, Names> {
        self.names.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Names {
    /// The newest of this very name that is wanted.
    fn newest(&self, path: &LogicalPath, is_wanted: impl Fn(&Record) -> bool) -> Option<u64> {
        let ids = self.by_path.get(path)?.iter().rev();
        ids.copied().find(|id| self.records.get(id).is_some_and(&is_wanted))
    }

    fn within<'a>(&'a self, path: &'a LogicalPath, scope: Scope) -> Box<dyn Iterator<Item = (u64, &'a Record)> + 'a> {
        match scope {
            Scope::Name => {
                let ids = self.by_path.get(path).into_iter().flatten();
                Box::new(ids.filter_map(|id| Some((*id, self.records.get(id)?))))
            }
            Scope::Tree => {
                let below = self.records.iter().filter(|(_, record)| record.path.is_at_or_below(path));
                Box::new(below.map(|(id, record)| (*id, record)))
            }
        }
    }

    /// Gives an upload another name.
    fn rename(&mut self, id: u64, to: &LogicalPath) {
        let Some(record) = self.records.get_mut(&id) else { return };
        let from = std::mem::replace(&mut record.path, to.clone());
        self.forget_path(id, &from);
        let ids = self.by_path.entry(to.clone()).or_default();
        ids.push(id);
        ids.sort_unstable();
    }

    fn remove(&mut self, id: u64) {
        if let Some(record) = self.records.remove(&id) {
            self.forget_path(id, &record.path);
        }
    }

    fn forget_path(&mut self, id: u64, path: &LogicalPath) {
        if let Some(ids) = self.by_path.get_mut(path) {
            ids.retain(|other| *other != id);
            if ids.is_empty() {
                self.by_path.remove(path);
            }
        }
    }
}

/// The answer to a request that has waited in vain: nothing was done.
fn is_busy(path: &LogicalPath) -> VfsError {
    let wait = BUSY_WAIT.as_secs();
    let message = format!("its store has not finished an earlier request within {wait} seconds; try again later");
    VfsError::new(path, StoreErrorKind::Unavailable, message)
}

#[cfg(test)]
mod tests;
