//! Uploads that an operation by name holds still.

use std::sync::Arc;

use tokio::sync::OwnedMutexGuard;

use super::{Record, Uploads};
use crate::path::LogicalPath;
use crate::stores::{Existing, StoreErrorKind};
use crate::vfs::{Vfs, VfsError, VfsResult, Writer};

/// Uploads that nobody writes or publishes until this is dropped.
pub(in super::super) struct Held {
    uploads: Arc<Uploads>,
    /// With their numbers, the oldest first.
    held: Vec<(u64, OwnedMutexGuard<Option<Writer>>)>,
}

impl Held {
    pub(super) fn new(uploads: Arc<Uploads>, held: Vec<(u64, OwnedMutexGuard<Option<Writer>>)>) -> Self {
        Held { uploads, held }
    }

    /// The newest upload of this name that counts, for a call on its content.
    pub(in super::super) fn newest(&mut self, path: &LogicalPath) -> Option<(HeldUpload<'_>, &mut Writer)> {
        let id = self.uploads.names().newest(path, Record::counts)?;
        let uploads = &self.uploads;
        let (_, content) = self.held.iter_mut().find(|(held, _)| *held == id)?;
        Some((HeldUpload { uploads, id }, content.as_mut()?))
    }

    /// Whether one of them stands for this name.
    pub(in super::super) fn has(&self, path: &LogicalPath) -> bool {
        self.any(|record| record.counts() && record.path == *path)
    }

    /// Whether one of them has this name or lies below it.
    pub(in super::super) fn has_within(&self, path: &LogicalPath) -> bool {
        self.any(|record| record.counts() && record.path.is_at_or_below(path))
    }

    fn any(&self, is_wanted: impl Fn(&Record) -> bool) -> bool {
        let names = self.uploads.names();
        self.held.iter().any(|(id, _)| names.records.get(id).is_some_and(&is_wanted))
    }

    /// All of this name, for [`Held::discard`].
    pub(in super::super) fn of_name(&self, path: &LogicalPath) -> Vec<u64> {
        let names = self.uploads.names();
        let ids = self.held.iter().map(|(id, _)| *id);
        ids.filter(|id| names.records.get(id).is_some_and(|record| record.path == *path)).collect()
    }

    /// The file was removed or replaced, and all that this connection has of it with it: the handles go on to accept what comes, and
    /// publish nothing.
    pub(in super::super) fn discard(&mut self, uploads: &[u64]) {
        let names = self.uploads.names();
        for (id, content) in self.held.iter_mut().filter(|(id, _)| uploads.contains(id)) {
            let Some(record) = names.records.get(id) else { continue };
            record.progress.discard();
            if content.as_ref().is_some_and(|writer| !writer.has_content()) {
                // It must not begin from another file that comes under the name.
                drop(content.take());
            }
        }
    }

    /// The file or directory `from` is `to` now, and what is unfinished of it or in it will be published there. `existing` of the new
    /// name says what may be replaced there then.
    ///
    /// # Errors
    /// That of the first upload that cannot have the new name; those before it have it.
    pub(in super::super) async fn rename(
        &mut self,
        vfs: &Vfs,
        from: &LogicalPath,
        to: &LogicalPath,
        existing: impl Fn(&LogicalPath) -> Existing,
    ) -> VfsResult<()> {
        for (id, content) in &mut self.held {
            let Some(path) = self.uploads.path_of(*id) else { continue };
            let Some(rest) = path.below(from) else { continue };
            let target = below(to, rest)?;
            // That the old name had to be free (EXCL) says nothing of the new one.
            let existing = existing(&target);
            if let Some(writer) = content.as_mut() {
                vfs.move_upload(writer, &target, existing).await?;
            }
            let mut names = self.uploads.names();
            names.rename(*id, &target);
            if let Some(record) = names.records.get_mut(id) {
                record.existing = existing;
            }
        }
        Ok(())
    }
}

impl Uploads {
    fn path_of(&self, id: u64) -> Option<LogicalPath> {
        self.names().records.get(&id).map(|record| record.path.clone())
    }
}

/// One of them.
pub(in super::super) struct HeldUpload<'a> {
    uploads: &'a Uploads,
    id: u64,
}

impl HeldUpload<'_> {
    /// The client wants this modification time.
    pub(in super::super) fn set_mtime(&self, mtime: std::time::SystemTime) {
        if let Some(record) = self.uploads.names().records.get(&self.id) {
            record.progress.set_wanted_mtime(mtime);
        }
    }

    /// Somebody else than its handle changed its content.
    pub(in super::super) fn changed(&self, writer: &Writer) {
        if let Some(record) = self.uploads.names().records.get(&self.id) {
            record.progress.share();
            record.progress.follow(writer);
        }
    }
}

/// `rest` below `path`.
fn below(path: &LogicalPath, rest: &str) -> VfsResult<LogicalPath> {
    let text =
        if rest.is_empty() { path.to_string() } else { format!("{}/{rest}", path.as_str().trim_end_matches('/')) };
    LogicalPath::parse_str(&text).map_err(|error| VfsError::new(path, StoreErrorKind::InvalidName, error.to_string()))
}
