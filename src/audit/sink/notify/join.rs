//! Joins an upload under a temporary name with the rename that gives it its final one: two lines of the trail, one arrival.
//!
//! What comes out depends on the lines and on what waited before alone, so lines that are read again give the same.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::iter;

use serde::{Deserialize, Serialize};

use super::TemporaryNames;
use super::fact::{Deed, Fact, Notice};

/// Uploads that wait at most. When there are more, the oldest of the user who has most waiting is told under the name that it has.
const MAX_WAITING: usize = 10_000;

/// An upload that waits for its final name. Its path is the one that the file has now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Upload {
    /// The name under which it was uploaded.
    pub(super) uploaded_as: String,
    pub(super) fact: Fact,
    /// Since when it waits, by [`Clock::passed`].
    #[serde(default)]
    since: i64,
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

/// What waits, by its number, by its path and by its user.
#[derive(Debug)]
pub(super) struct Joiner {
    names: TemporaryNames,
    clock: Clock,
    waiting: BTreeMap<u64, Upload>,
    numbers: HashMap<String, u64>,
    of_users: HashMap<String, BTreeSet<u64>>,
    next: u64,
    changes: u64,
    most: usize,
}

impl Joiner {
    pub(super) fn new(names: TemporaryNames, clock: Clock, uploads: Vec<Upload>) -> Self {
        let (waiting, numbers, of_users) = (BTreeMap::new(), HashMap::new(), HashMap::new());
        let mut joiner = Joiner { names, clock, waiting, numbers, of_users, next: 0, changes: 0, most: MAX_WAITING };
        uploads.into_iter().for_each(|upload| joiner.insert(upload));
        joiner.changes = 0;
        joiner
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
            // Nobody was told that it came.
            Deed::Delete if succeeded && self.remove(&fact.path).is_some() => {}
            _ => told.push(fact.into()),
        }
        while self.waiting.len() > self.most {
            told.extend(self.evicted().map(|upload| Notice::from(upload.fact)));
        }
        told
    }

    /// The uploads that waited too long when no line has come for this long, in milliseconds.
    pub(super) fn overdue(&mut self, idle: i64) -> Vec<Notice> {
        let mut told = Vec::new();
        while self.due_in(idle).is_some_and(|left| left <= 0) {
            let oldest = self.waiting.first_key_value().map(|(number, _)| *number);
            told.extend(oldest.and_then(|number| self.remove_number(number)).map(|upload| Notice::from(upload.fact)));
        }
        told
    }

    /// How long, in milliseconds, the oldest still waits when no line has come for `idle`.
    pub(super) fn due_in(&self, idle: i64) -> Option<i64> {
        let (_, oldest) = self.waiting.first_key_value()?;
        let waited = self.clock.passed.saturating_add(idle).saturating_sub(oldest.since);
        Some(self.within().saturating_sub(waited))
    }

    /// What waits, the oldest first.
    pub(super) fn uploads(&self) -> impl Iterator<Item = &Upload> {
        self.waiting.values()
    }

    /// The time by which they wait.
    pub(super) fn clock(&self) -> Clock {
        self.clock
    }

    /// How often something came or went.
    pub(super) fn changes(&self) -> u64 {
        self.changes
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
        self.insert(Upload { uploaded_as: fact.path.clone(), fact, since: self.clock.passed });
    }

    fn rename(&mut self, rename: Fact) -> Vec<Notice> {
        let new = rename.new_path.clone().unwrap_or_default();
        let new_logical = rename.new_logical_path.clone().unwrap_or_default();
        let arrived = self.move_below(&rename, &new, &new_logical);
        let number = self.numbers.get(&rename.path).copied();
        let waited = self.remove(&rename.path);
        // What the name had is gone.
        self.remove(&new);
        let (Some(number), Some(Upload { uploaded_as, mut fact, since })) = (number, waited) else {
            let was_temporary = self.is_temporary(&rename.path, &rename.logical_path);
            let is_arrival = was_temporary && !self.is_temporary(&new, &new_logical);
            return iter::once(Notice { is_arrival, ..Notice::from(rename) }).chain(arrived).collect();
        };
        (fact.path, fact.logical_path) = (new, new_logical);
        if self.is_temporary(&fact.path, &fact.logical_path) {
            self.insert_as(number, Upload { uploaded_as, fact, since });
            return arrived;
        }
        let (id, ended) = (rename.event_id, rename.timestamp);
        let whole = Notice { id, ended, uploaded_as: Some(uploaded_as), ..Notice::from(fact) };
        iter::once(whole).chain(arrived).collect()
    }

    /// A folder was renamed: what waits in it is elsewhere now. What has its final name by that has arrived; its id is that of its
    /// CLOSE, for the one of the RENAME is the folder's.
    fn move_below(&mut self, rename: &Fact, new: &str, new_logical: &str) -> Vec<Notice> {
        let below = |path: &str, folder: &str| {
            path.strip_prefix(folder).filter(|rest| rest.starts_with('/')).map(str::to_owned)
        };
        let moved = self.waiting.iter().filter(|(_, upload)| below(&upload.fact.path, &rename.path).is_some());
        let moved: Vec<u64> = moved.map(|(number, _)| *number).collect();
        let mut arrived = Vec::new();
        for number in moved {
            let Some(mut upload) = self.remove_number(number) else { continue };
            let fact = &mut upload.fact;
            if let Some(rest) = below(&fact.path, &rename.path) {
                fact.path = format!("{new}{rest}");
            }
            if let Some(rest) = below(&fact.logical_path, &rename.logical_path) {
                fact.logical_path = format!("{new_logical}{rest}");
            }
            if self.is_temporary(&fact.path, &fact.logical_path) {
                self.insert_as(number, upload);
            } else {
                let (uploaded_as, ended) = (Some(upload.uploaded_as), rename.timestamp.clone());
                arrived.push(Notice { uploaded_as, ended, ..Notice::from(upload.fact) });
            }
        }
        arrived
    }

    fn insert(&mut self, upload: Upload) {
        let number = self.next;
        self.next += 1;
        self.insert_as(number, upload);
    }

    fn insert_as(&mut self, number: u64, upload: Upload) {
        self.remove(&upload.fact.path);
        self.numbers.insert(upload.fact.path.clone(), number);
        self.of_users.entry(upload.fact.user.clone()).or_default().insert(number);
        self.waiting.insert(number, upload);
        self.changes += 1;
    }

    fn remove(&mut self, path: &str) -> Option<Upload> {
        let number = *self.numbers.get(path)?;
        self.remove_number(number)
    }

    fn remove_number(&mut self, number: u64) -> Option<Upload> {
        let upload = self.waiting.remove(&number)?;
        self.numbers.remove(&upload.fact.path);
        if let Some(numbers) = self.of_users.get_mut(&upload.fact.user) {
            numbers.remove(&number);
            if numbers.is_empty() {
                self.of_users.remove(&upload.fact.user);
            }
        }
        self.changes += 1;
        Some(upload)
    }

    /// Makes room: nobody's uploads have to go because another user has many.
    fn evicted(&mut self) -> Option<Upload> {
        let most = self.of_users.values().max_by_key(|numbers| (numbers.len(), Reverse(numbers.first().copied())))?;
        let number = most.first().copied()?;
        self.remove_number(number)
    }
}

#[cfg(test)]
#[path = "join_tests.rs"]
mod tests;
