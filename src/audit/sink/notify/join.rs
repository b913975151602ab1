//! Joins an upload under a temporary name with the rename that gives it its final one: two lines of the trail, one arrival.
//!
//! What comes out depends on the lines and on what waited before alone, so lines that are read again give the same.

use std::iter;

use serde::{Deserialize, Serialize};

use super::TemporaryNames;
use super::fact::{Deed, Fact, Notice};
use super::shelf::Shelf;
use crate::audit::outcome::RenameDone;

/// Uploads that wait at most. When there are more, the oldest of the user who has most waiting is told under the name that it has.
const MAX_WAITING: usize = 10_000;

/// Uploads that are remembered at most when they were told before their final names came.
const MAX_TOLD: usize = 1_000;

/// An upload that waits for its final name. Its path is the one that the file has now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Upload {
    /// The name under which it was uploaded.
    pub(super) uploaded_as: String,
    pub(super) fact: Fact,
    /// Since when it waits, by [`Clock::passed`].
    #[serde(default)]
    since: i64,
    /// It waited too long, or had to make room, and was told under the name that it had.
    #[serde(default)]
    pub(super) is_told: bool,
}

/// The time that has passed by the lines, in milliseconds. No single step counts for more than half of the time that an upload waits:
/// a clock that is set forward does not end the waiting of all, and one that is set back does not prolong it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Clock {
    passed: i64,
    /// The time of the last line, since 1970; 0 before the first.
    last: i64,
}

impl Clock {
    fn advance(&mut self, line: i64, most: i64) {
        if self.last != 0 {
            self.passed += line.saturating_sub(self.last).clamp(0, most);
        }
        self.last = line;
    }
}

/// What waits, and what was told before it had its final name.
#[derive(Debug)]
pub(super) struct Joiner {
    names: TemporaryNames,
    clock: Clock,
    waiting: Shelf,
    /// The rename that comes at last is an arrival, of which everything is known.
    told: Shelf,
    most: usize,
    most_told: usize,
}

impl Joiner {
    pub(super) fn new(names: TemporaryNames, clock: Clock, uploads: Vec<Upload>) -> Self {
        let (told, waiting): (Vec<_>, Vec<_>) = uploads.into_iter().partition(|upload| upload.is_told);
        let (waiting, told) = (Shelf::of(waiting), Shelf::of(told));
        Joiner { names, clock, waiting, told, most: MAX_WAITING, most_told: MAX_TOLD }
    }

    /// What is to be told after one line.
    pub(super) fn take(&mut self, fact: Fact) -> Vec<Notice> {
        self.clock.advance(fact.millis(), self.within() / 2);
        let mut told = self.overdue(0);
        let succeeded = fact.failure().is_none();
        match fact.deed() {
            // No file has come, and what waits under the name is still what is there.
            Deed::Upload if succeeded && fact.unchanged => {}
            Deed::Upload if succeeded && self.is_temporary(&fact.path, &fact.logical_path) => self.hold(fact),
            Deed::Upload => {
                // Whatever waited under this name was replaced.
                if fact.may_have_published() {
                    self.remove(&fact.path);
                }
                told.push(fact.into());
            }
            Deed::Rename if succeeded => told.extend(self.rename(fact)),
            Deed::Rename => {
                let arrived = self.failed_rename(&fact);
                told.push(fact.into());
                told.extend(arrived);
            }
            Deed::Delete if succeeded => {
                // Nobody was told that one which waits came.
                if self.remove(&fact.path).is_none_or(|(_, upload)| upload.is_told) {
                    told.push(fact.into());
                }
            }
            _ => told.push(fact.into()),
        }
        while self.waiting.len() > self.most {
            let evicted = self.waiting.evict();
            told.extend(evicted.map(|upload| self.give_up(upload)));
        }
        told
    }

    /// The uploads that waited too long when no line has come for this long, in milliseconds.
    pub(super) fn overdue(&mut self, idle: i64) -> Vec<Notice> {
        let mut told = Vec::new();
        while self.due_in(idle).is_some_and(|left| left <= 0) {
            let oldest = self.waiting.remove_oldest();
            told.extend(oldest.map(|upload| self.give_up(upload)));
        }
        told
    }

    /// How long, in milliseconds, the oldest still waits when no line has come for `idle`.
    pub(super) fn due_in(&self, idle: i64) -> Option<i64> {
        let waited = self.clock.passed.saturating_add(idle).saturating_sub(self.waiting.oldest()?.since);
        Some(self.within().saturating_sub(waited))
    }

    /// What waits and what was told, the oldest of each first.
    pub(super) fn uploads(&self) -> impl Iterator<Item = &Upload> {
        self.waiting.uploads().chain(self.told.uploads())
    }

    /// The time by which they wait.
    pub(super) fn clock(&self) -> Clock {
        self.clock
    }

    /// How often something came or went.
    pub(super) fn changes(&self) -> u64 {
        self.waiting.changes() + self.told.changes()
    }

    /// How long an upload waits, in milliseconds.
    fn within(&self) -> i64 {
        i64::try_from(self.names.within.as_millis()).unwrap_or(i64::MAX)
    }

    fn is_temporary(&self, path: &str, logical_path: &str) -> bool {
        self.names.patterns.iter().any(|pattern| pattern.fits(path) || pattern.fits(logical_path))
    }

    /// Another upload of the same name takes the place of the one before.
    fn hold(&mut self, fact: Fact) {
        self.remove(&fact.path);
        let uploaded_as = fact.path.clone();
        self.waiting.insert(Upload { uploaded_as, fact, since: self.clock.passed, is_told: false });
    }

    /// Tells of one under the name that it has, and remembers it for the rename that may still come.
    fn give_up(&mut self, upload: Upload) -> Notice {
        let notice = Notice::from(upload.fact.clone());
        self.remember(upload);
        notice
    }

    fn remember(&mut self, upload: Upload) {
        self.told.insert(Upload { is_told: true, ..upload });
        if self.told.len() > self.most_told {
            self.told.evict();
        }
    }

    fn rename(&mut self, rename: Fact) -> Vec<Notice> {
        let new = rename.new_path.clone().unwrap_or_default();
        let new_logical = rename.new_logical_path.clone().unwrap_or_default();
        let arrived = self.move_below(&rename, &new, &new_logical);
        let found = self.remove(&rename.path);
        // What the name had is gone.
        self.remove(&new);
        let Some((number, mut upload)) = found else {
            let was_temporary = self.is_temporary(&rename.path, &rename.logical_path);
            let is_arrival = was_temporary && !self.is_temporary(&new, &new_logical);
            return iter::once(Notice { is_arrival, ..Notice::from(rename) }).chain(arrived).collect();
        };
        (upload.fact.path, upload.fact.logical_path) = (new, new_logical);
        if self.is_temporary(&upload.fact.path, &upload.fact.logical_path) {
            // Who was told of the old name has to hear of the new one.
            let renamed = upload.is_told.then(|| Notice::from(rename));
            self.put_back(number, upload);
            return renamed.into_iter().chain(arrived).collect();
        }
        let (id, ended) = (rename.event_id, rename.timestamp);
        let (uploaded_as, renamed_from) = (Some(upload.uploaded_as), Some(rename.path));
        let whole = Notice { id, ended, uploaded_as, renamed_from, ..Notice::from(upload.fact) };
        iter::once(whole).chain(arrived).collect()
    }

    /// A rename failed, and may have made a file of the new name all the same.
    fn failed_rename(&mut self, rename: &Fact) -> Vec<Notice> {
        let new = rename.new_path.as_deref().unwrap_or_default();
        match rename.renamed() {
            RenameDone::Nothing | RenameDone::All => Vec::new(),
            // What is there may be something else than what waits.
            RenameDone::Perhaps => {
                self.forget(new);
                Vec::new()
            }
            RenameDone::Copied => {
                self.forget(new);
                self.copied(rename, new)
            }
        }
    }

    /// What waits is under its new name as well. Where that is a final one, it has arrived, and is remembered under the old name: who
    /// renames it once more is told so. The RENAME itself has failed, so the ids are of both.
    fn copied(&mut self, rename: &Fact, new: &str) -> Vec<Notice> {
        let new_logical = rename.new_logical_path.as_deref().unwrap_or_default();
        let mut found = self.waiting.remove_below(&rename.path);
        found.extend(self.told.remove_below(&rename.path));
        found.extend(self.remove(&rename.path));
        let mut arrived = Vec::new();
        for (number, upload) in found {
            // It came while the one before it was copied.
            if upload.fact.millis() > rename.began().timestamp_millis() {
                self.put_back(number, upload);
                continue;
            }
            let mut fact = upload.fact.clone();
            follow(&mut fact, rename, new, new_logical);
            if self.is_temporary(&fact.path, &fact.logical_path) {
                let copy = Upload { fact, ..upload.clone() };
                self.put_back(number, upload);
                if copy.is_told {
                    self.told.insert(copy)
                } else {
                    self.waiting.insert(copy)
                }
                continue;
            }
            arrived.push(Notice {
                id: format!("{}-{}", rename.event_id, fact.event_id),
                ended: rename.timestamp.clone(),
                uploaded_as: Some(upload.uploaded_as.clone()),
                renamed_from: Some(upload.fact.path.clone()),
                ..Notice::from(fact)
            });
            self.remember(upload);
        }
        arrived
    }

    /// What waits at a path, or was told of one there or below it, is not what is there.
    fn forget(&mut self, path: &str) {
        self.remove(path);
        self.waiting.remove_below(path);
        self.told.remove_below(path);
    }

    /// A folder was renamed: what is in it is elsewhere now. What has its final name by that has arrived; its id is made of that of its
    /// CLOSE, for the one of the RENAME is the folder's.
    fn move_below(&mut self, rename: &Fact, new: &str, new_logical: &str) -> Vec<Notice> {
        let mut moved = self.waiting.remove_below(&rename.path);
        moved.extend(self.told.remove_below(&rename.path));
        let mut arrived = Vec::new();
        for (number, mut upload) in moved {
            let renamed_from = Some(upload.fact.path.clone());
            let fact = &mut upload.fact;
            follow(fact, rename, new, new_logical);
            if self.is_temporary(&fact.path, &fact.logical_path) {
                self.put_back(number, upload);
            } else if !upload.is_told {
                let (uploaded_as, ended) = (Some(upload.uploaded_as), rename.timestamp.clone());
                arrived.push(Notice { uploaded_as, renamed_from, ended, ..Notice::from(upload.fact) });
            } else {
                // The id of its CLOSE was used when it was told.
                let id = format!("{}-{}", rename.event_id, upload.fact.event_id);
                let (uploaded_as, ended) = (Some(upload.uploaded_as), rename.timestamp.clone());
                arrived.push(Notice { id, uploaded_as, renamed_from, ended, ..Notice::from(upload.fact) });
            }
        }
        arrived
    }

    fn put_back(&mut self, number: u64, upload: Upload) {
        if upload.is_told {
            self.told.insert_as(number, upload);
        } else {
            self.waiting.insert_as(number, upload);
        }
    }

    fn remove(&mut self, path: &str) -> Option<(u64, Upload)> {
        let told = self.told.remove(path);
        self.waiting.remove(path).or(told)
    }
}

/// Gives what is at the old name of a rename, or below it, the name that it has by that.
fn follow(fact: &mut Fact, rename: &Fact, new: &str, new_logical: &str) {
    let renamed = |path: &str, from: &str, to: &str| {
        let rest = path.strip_prefix(from).filter(|rest| rest.is_empty() || rest.starts_with('/'))?;
        Some(format!("{to}{rest}"))
    };
    if let Some(path) = renamed(&fact.path, &rename.path, new) {
        fact.path = path;
    }
    if let Some(logical_path) = renamed(&fact.logical_path, &rename.logical_path, new_logical) {
        fact.logical_path = logical_path;
    }
}

#[cfg(test)]
#[path = "join_tests.rs"]
mod tests;
