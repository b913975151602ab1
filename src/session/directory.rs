//! Listing a directory: one LIST event for a listing, when it ends.

use std::time::Instant;

use crate::audit::{Activity, FileOperation, Note, Outcome, Recorded};
use crate::path::LogicalPath;
use crate::policy::Operation;
use crate::stores::StoreErrorKind;
use crate::vfs::Listing;

use super::{Attributes, Kind, Session, SessionError, SessionResult, milliseconds};

/// A directory open for listing.
#[derive(Debug)]
pub struct Directory {
    session: Session,
    path: LogicalPath,
    listing: Listing,
    started: Instant,
    recorded: bool,
}

impl Session {
    /// Opens a directory. LIST is recorded once: now if it fails, else when the listing ends or is dropped.
    ///
    /// # Errors
    /// When the policy or the store refuses, or nothing can be recorded.
    pub async fn open_directory(&self, path: &LogicalPath) -> SessionResult<Directory> {
        let _busy = self.login.busy("OPENDIR");
        let started = Instant::now();
        let pending = self.begin(path, Activity::List).await?;
        let opened = match self.allow(Operation::List, path) {
            Ok(()) => match self.vfs().open_directory(path).await {
                // It is there for what this connection writes in it.
                Err(error) if error.kind() == StoreErrorKind::NotFound && self.login.uploads().has_below(path) => {
                    Ok(self.vfs().empty_directory(path))
                }
                opened => opened.map_err(SessionError::from),
            },
            Err(denied) => Err(denied),
        };
        match opened {
            Ok(listing) => {
                pending.withdraw();
                Ok(Directory { session: self.clone(), path: path.clone(), listing, started, recorded: false })
            }
            Err(error) => pending.record(Err(error), None).await,
        }
    }
}

impl Directory {
    /// The path that was opened.
    pub fn path(&self) -> &LogicalPath {
        &self.path
    }

    /// What `.` and `..` show: the true kind and mode, and the time where the listing brought it. To know that of `..` would cost
    /// requests to the store, except above the root, which is itself.
    pub fn dots(&self) -> [Attributes; 2] {
        let shown = |path: &LogicalPath, mtime| {
            let directory = crate::vfs::Attributes { kind: Kind::Directory, size: 0, mtime };
            Attributes::shown(self.session.rules(), path, directory)
        };
        let this = shown(&self.path, self.listing.changed());
        let above = self.path.parent().map_or_else(|| this.clone(), |above| shown(&above, None));
        [this, above]
    }

    /// How many names were left out so far, because they cannot be shown.
    pub fn left_out(&self) -> u64 {
        self.listing.skipped().count
    }

    /// The next entries with attributes as [`Session::stat`] shows them; `None` after the last. Without `.` and `..`.
    ///
    /// # Errors
    /// When the store fails, or the end of the listing cannot be recorded.
    pub async fn next_page(&mut self) -> SessionResult<Option<Vec<(String, Attributes)>>> {
        let login = self.session.login.clone();
        let _busy = login.busy("READDIR");
        match self.listing.next_page().await {
            Ok(Some(entries)) => Ok(Some(entries.into_iter().filter_map(|entry| self.shown(entry)).collect())),
            Ok(None) => {
                self.record(Outcome::Success).await?;
                Ok(None)
            }
            Err(error) => {
                let error = SessionError::from(error);
                self.record(error.outcome()).await?;
                Err(error)
            }
        }
    }

    /// The entry with its mode; nothing for a name that is not a component (the file system leaves those out).
    fn shown(&self, entry: crate::vfs::Entry) -> Option<(String, Attributes)> {
        let path = self.path.join(&entry.name).ok()?;
        Some((entry.name, Attributes::shown(self.session.rules(), &path, entry.attributes)))
    }

    async fn record(&mut self, outcome: Outcome) -> SessionResult<()> {
        for recorded in self.fill(outcome) {
            recorded.await?;
        }
        Ok(())
    }

    /// Records the end of the listing, if that was not done yet, without waiting.
    fn fill(&mut self, outcome: Outcome) -> Vec<Recorded> {
        if std::mem::replace(&mut self.recorded, true) {
            return Vec::new();
        }
        let session = &self.session;
        let fill = |activity: &Activity| session.recorder().reserve_late().fill(&session.origin, activity);
        self.events(outcome).iter().map(fill).collect()
    }

    /// LIST, and before it one ERROR when names were left out.
    fn events(&self, outcome: Outcome) -> Vec<Activity> {
        let path = self.session.vfs().storage_path(&self.path);
        let skipped = self.listing.skipped();
        let mut events = Vec::new();
        if skipped.count > 0 {
            let first = skipped.first.as_deref().unwrap_or("");
            events.push(Activity::Error(Note {
                message: format!("{} names cannot be shown and were left out, the first is {first:?}", skipped.count),
                operation: Some("LIST".into()),
                path: path.clone(),
                logical_path: Some(self.path.to_string()),
            }));
        }
        events.push(Activity::List(FileOperation {
            path,
            logical_path: self.path.to_string(),
            size: None,
            outcome,
            duration_ms: milliseconds(self.started),
        }));
        events
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        // Nobody is left to be told.
        drop(self.fill(Outcome::SuccessBut("ended before the last entry".into())));
    }
}
