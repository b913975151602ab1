//! What a pattern stands for: the paths that match it, found in the session's listings one after the other.
//!
//! Unlike a shell, nothing is gathered and sorted first: a pattern over a million names starts to send at once and takes the
//! memory of one page a component.

use super::MAX_DEPTH;
use super::entries::Entries;
use super::glob::{Component, PathPattern};
use crate::path::LogicalPath;
use crate::session::{Attributes, ErrorKind, Kind, Session, SessionError, StoreErrorKind};

/// The paths that match a pattern.
pub(super) struct Matches<'a> {
    session: &'a Session,
    components: Vec<Component>,
    levels: Vec<Level>,
    started: bool,
}

/// A directory whose entries are compared with one component.
struct Level {
    entries: Entries,
    component: usize,
}

/// One thing that was found.
pub(super) enum Found {
    Match(LogicalPath, Attributes),
    /// A directory that could not be listed.
    Error(LogicalPath, SessionError),
}

impl<'a> Matches<'a> {
    pub fn of(session: &'a Session, pattern: PathPattern) -> Matches<'a> {
        Matches { session, components: pattern.0, levels: Vec::new(), started: false }
    }

    /// The next match, or `None` after the last.
    pub async fn next(&mut self) -> Option<Found> {
        if !self.started {
            self.started = true;
            if let Some(found) = self.descend(LogicalPath::root(), None).await {
                return Some(found);
            }
        }
        while let Some(level) = self.levels.last_mut() {
            let (name, attributes) = match level.entries.next().await {
                Ok(Some(entry)) => entry,
                Ok(None) => {
                    self.levels.pop();
                    continue;
                }
                Err(error) => {
                    let path = level.entries.path().clone();
                    self.levels.pop();
                    return Some(Found::Error(path, error));
                }
            };
            let component = level.component;
            let Some(Component::Pattern(pattern)) = self.components.get(component) else { continue };
            if !pattern.matches(&name) {
                continue;
            }
            let Ok(path) = level.entries.path().join(&name) else { continue };
            if component + 1 == self.components.len() {
                return Some(Found::Match(path, attributes));
            }
            if attributes.kind == Kind::Directory
                && let Some(found) = self.descend(path, Some(component)).await
            {
                return Some(found);
            }
        }
        None
    }

    /// Goes down from `path` past the names that follow `matched`, to the next pattern or to the end.
    async fn descend(&mut self, mut path: LogicalPath, matched: Option<usize>) -> Option<Found> {
        let first = matched.map_or(0, |component| component + 1);
        for at in first..self.components.len() {
            match &self.components[at] {
                Component::Name(name) => path = step(path, name)?,
                Component::Pattern(_) => return self.list(path, at, matched.is_some() && at > first).await,
            }
        }
        // The names after the last pattern may not be there.
        let attributes = self.session.stat(&path).await.ok()?;
        Some(Found::Match(path, attributes))
    }

    /// Lists `path`, to compare its entries with the pattern at `component`. A `guess` may not be there or be a file.
    async fn list(&mut self, path: LogicalPath, component: usize, guess: bool) -> Option<Found> {
        if guess && self.session.stat(&path).await.ok()?.kind != Kind::Directory {
            return None;
        }
        if self.levels.len() >= MAX_DEPTH {
            return None;
        }
        match Entries::open(self.session, &path).await {
            Ok(entries) => {
                self.levels.push(Level { entries, component });
                None
            }
            Err(error) if is_no_directory(error.kind) => None,
            Err(error) => Some(Found::Error(path, error)),
        }
    }
}

/// One component further; `None` when no such path can be.
fn step(path: LogicalPath, name: &str) -> Option<LogicalPath> {
    match name {
        "" | "." => Some(path),
        ".." => Some(path.parent().unwrap_or(path)),
        name => path.join(name).ok(),
    }
}

/// Where a shell finds nothing and leaves the pattern as it is.
fn is_no_directory(kind: ErrorKind) -> bool {
    matches!(kind, ErrorKind::Store(StoreErrorKind::NotFound | StoreErrorKind::NotADirectory))
}
