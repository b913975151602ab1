//! The files that a connection is writing, by their names.
//!
//! On the connection that writes it, an unfinished upload is the file of its name, as on a disk: STAT, SETSTAT, REMOVE, RENAME and a
//! second OPEN mean the newest upload of the name. What an operation by name finds is decided here and nowhere else.
//!
//! An upload is known as long as a handle holds it. It *counts* when closing it would publish content, and nothing newer was
//! published under its name since: a handle that was opened without truncation and never written is no upload.

mod held;
mod name;
mod upload;

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

use crate::path::LogicalPath;
use crate::stores::Existing;
use crate::vfs::{Attributes, Writer};

use held::Held;
pub use name::UploadName;
pub(super) use upload::Upload;
use upload::{Content, Progress};

/// How long OPEN waits for the CLOSE of an upload that it finds. Clients that end a file in the background send CLOSE beside, or just
/// after, the next requests of the same name (sshfs does).
pub(super) const OPEN_WAIT: Duration = Duration::from_secs(1);

/// How long REMOVE, RENAME and RMDIR wait for it. What they do is right for an unfinished file as well, and some programs rename before
/// they close (GLib).
pub(super) const CHANGE_WAIT: Duration = Duration::from_millis(250);

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
    /// Its CLOSE has come.
    is_closing: bool,
    handles: usize,
    progress: Arc<Progress>,
    content: Arc<Content>,
}

impl Record {
    /// Whether it is what the name means on this connection.
    fn counts(&self) -> bool {
        !self.is_superseded && self.progress.has_content() && !self.progress.is_discarded()
    }
}

impl Default for Uploads {
    fn default() -> Self {
        Uploads { names: Mutex::default(), moved_on: watch::Sender::new(0) }
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
            is_closing: false,
            handles: 1,
            progress: Arc::clone(&progress),
            content: Arc::clone(&content),
        };
        names.records.insert(id, record);
        names.by_path.entry(path.clone()).or_default().push(id);
        drop(names);
        Upload::new(Arc::clone(self), id, progress, content)
    }

    /// Another handle of the upload that this name means.
    pub(super) fn join(self: &Arc<Self>, path: &LogicalPath) -> Option<Upload> {
        let mut names = self.names();
        let id = names.newest(path, Record::counts)?;
        self.joined(&mut names, id)
    }

    /// Another handle of the upload that this name means, when it is not the one of `id`. When there is no other and `changes`, that one
    /// counts from now on.
    fn join_other(self: &Arc<Self>, id: u64, changes: bool) -> Option<Upload> {
        let mut names = self.names();
        let path = names.records.get(&id)?.path.clone();
        let newest = names.newest(&path, Record::counts);
        match newest.filter(|newest| *newest != id) {
            Some(other) => self.joined(&mut names, other),
            None => {
                names.records.get(&id).filter(|_| changes)?.progress.claim();
                None
            }
        }
    }

    fn joined(self: &Arc<Self>, names: &mut Names, id: u64) -> Option<Upload> {
        let record = names.records.get_mut(&id)?;
        record.handles += 1;
        record.progress.share();
        Some(Upload::new(Arc::clone(self), id, Arc::clone(&record.progress), Arc::clone(&record.content)))
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

    /// Waits until the uploads that the operation would find are closed: for as long as it takes once a CLOSE has come, else at most
    /// `wait`. What is unfinished then is used as it is.
    pub(super) async fn settle(&self, path: &LogicalPath, scope: Scope, wait: Duration) {
        let deadline = Instant::now() + wait;
        let mut moved_on = self.moved_on.subscribe();
        loop {
            moved_on.mark_unchanged();
            let Some(is_closing) = self.is_any_closing(path, scope) else { return };
            if is_closing {
                // The sender lives as long as `self`.
                let _ = moved_on.changed().await;
            } else if tokio::time::timeout_at(deadline, moved_on.changed()).await.is_err() {
                return;
            }
        }
    }

    /// Whether a CLOSE of one of the uploads has come; `None` when there is no upload.
    fn is_any_closing(&self, path: &LogicalPath, scope: Scope) -> Option<bool> {
        let names = self.names();
        let found = names.within(path, scope).filter(|(_, record)| record.counts() || record.is_closing);
        found.map(|(_, record)| record.is_closing).reduce(|one, other| one || other)
    }

    /// Holds the uploads still that an operation by name is about: meanwhile none of them is written or published.
    pub(super) async fn hold(self: &Arc<Self>, about: &[(&LogicalPath, Scope)]) -> Held {
        let wanted: BTreeMap<u64, Arc<Content>> = {
            let names = self.names();
            let found = about.iter().flat_map(|(path, scope)| names.within(path, *scope));
            found.map(|(id, record)| (id, Arc::clone(&record.content))).collect()
        };
        // In the order of their numbers, so that two who hold do not wait for each other.
        let mut held = Vec::with_capacity(wanted.len());
        for (id, content) in wanted {
            held.push((id, content.lock_owned().await));
        }
        Held::new(Arc::clone(self), held)
    }

    /// The CLOSE of an upload has come, or is done.
    fn set_closing(&self, id: u64, is_closing: bool) {
        if let Some(record) = self.names().records.get_mut(&id) {
            record.is_closing = is_closing;
        }
        self.move_on();
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
            record.is_closing = false;
        }
        self.move_on();
    }

    /// What is published under the name was changed by this connection: handles that have changed nothing begin from it.
    pub(super) fn begin_again(&self, path: &LogicalPath) {
        let names = self.names();
        for (_, record) in names.within(path, Scope::Tree).filter(|(_, record)| !record.progress.has_content()) {
            record.progress.set_stale();
        }
    }

    /// A handle is gone.
    fn leave(&self, id: u64) {
        let mut names = self.names();
        let Some(record) = names.records.get_mut(&id) else { return };
        record.handles = record.handles.saturating_sub(1);
        if record.handles == 0 {
            names.remove(id);
        }
        drop(names);
        self.move_on();
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

    fn within<'a>(&'a self, path: &'a LogicalPath, scope: Scope) -> impl Iterator<Item = (u64, &'a Record)> {
        let is_meant = move |record: &Record| match scope {
            Scope::Name => record.path == *path,
            Scope::Tree => record.path.is_at_or_below(path),
        };
        self.records.iter().filter(move |(_, record)| is_meant(record)).map(|(id, record)| (*id, record))
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

#[cfg(test)]
mod tests;
