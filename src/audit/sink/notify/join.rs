//! Joins an upload under a temporary name with the rename that gives it its final one: two lines of the trail, one arrival.
//!
//! What comes out depends on the lines and on what waited before alone, so lines that are read again give the same.

use std::collections::{BTreeMap, HashMap};

use serde::{Deserialize, Serialize};

use super::TemporaryNames;
use super::fact::{Deed, Fact, Notice};

/// Uploads that wait at most; the oldest is told under the name that it has when there are more.
const MAX_WAITING: usize = 10_000;

/// An upload that waits for its final name. Its path is the one that the file has now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Upload {
    /// The name under which it was uploaded.
    pub(super) uploaded_as: String,
    pub(super) fact: Fact,
}

/// What waits, by its number and by its path.
#[derive(Debug)]
pub(super) struct Joiner {
    names: TemporaryNames,
    waiting: BTreeMap<u64, Upload>,
    numbers: HashMap<String, u64>,
    next: u64,
    changes: u64,
    most: usize,
}

impl Joiner {
    pub(super) fn new(names: TemporaryNames, uploads: Vec<Upload>) -> Self {
        let (waiting, numbers) = (BTreeMap::new(), HashMap::new());
        let mut joiner = Joiner { names, waiting, numbers, next: 0, changes: 0, most: MAX_WAITING };
        uploads.into_iter().for_each(|upload| joiner.insert(upload));
        joiner.changes = 0;
        joiner
    }

    /// What is to be told after one line.
    pub(super) fn take(&mut self, fact: Fact) -> Vec<Notice> {
        let mut told = self.overdue(fact.millis());
        let succeeded = fact.failure().is_none();
        match fact.deed() {
            Deed::Upload if succeeded && self.is_temporary(&fact.path, &fact.logical_path) => self.hold(fact),
            Deed::Upload if succeeded => {
                // Whatever waited under this name was replaced.
                self.remove(&fact.path);
                told.push(fact.into());
            }
            Deed::Rename if succeeded => told.extend(self.rename(fact)),
            // Nobody was told that it came.
            Deed::Delete if succeeded && self.remove(&fact.path).is_some() => {}
            _ => told.push(fact.into()),
        }
        while self.waiting.len() > self.most {
            told.extend(self.oldest().map(Notice::from));
        }
        told
    }

    /// The uploads that waited too long by this time, in milliseconds since 1970.
    pub(super) fn overdue(&mut self, now: i64) -> Vec<Notice> {
        let mut told = Vec::new();
        while self.due().is_some_and(|due| due <= now) {
            told.extend(self.oldest().map(Notice::from));
        }
        told
    }

    /// When the oldest has waited long enough. Ages count in the order of the lines, also when a clock was set back.
    pub(super) fn due(&self) -> Option<i64> {
        let (_, oldest) = self.waiting.first_key_value()?;
        let within = i64::try_from(self.names.within.as_millis()).unwrap_or(i64::MAX);
        Some(oldest.fact.millis().saturating_add(within))
    }

    /// What waits, the oldest first.
    pub(super) fn uploads(&self) -> impl Iterator<Item = &Upload> {
        self.waiting.values()
    }

    /// How often something came or went.
    pub(super) fn changes(&self) -> u64 {
        self.changes
    }

    fn is_temporary(&self, path: &str, logical_path: &str) -> bool {
        self.names.patterns.iter().any(|pattern| pattern.fits(path) || pattern.fits(logical_path))
    }

    /// Another upload of the same name takes the place of the one before.
    fn hold(&mut self, fact: Fact) {
        self.remove(&fact.path);
        self.insert(Upload { uploaded_as: fact.path.clone(), fact });
    }

    fn rename(&mut self, rename: Fact) -> Option<Notice> {
        let new = rename.new_path.clone().unwrap_or_default();
        let new_logical = rename.new_logical_path.clone().unwrap_or_default();
        self.move_below(&rename.path, &new, &rename.logical_path, &new_logical);
        let waited = self.remove(&rename.path);
        // What the name had is gone.
        self.remove(&new);
        let Some(Upload { uploaded_as, mut fact }) = waited else { return Some(rename.into()) };
        (fact.path, fact.logical_path) = (new, new_logical);
        if self.is_temporary(&fact.path, &fact.logical_path) {
            self.insert(Upload { uploaded_as, fact });
            return None;
        }
        Some(Notice { fact, id: rename.event_id, ended: rename.timestamp, uploaded_as: Some(uploaded_as) })
    }

    /// A folder was renamed: what waits in it is elsewhere now.
    fn move_below(&mut self, old: &str, new: &str, old_logical: &str, new_logical: &str) {
        for (number, upload) in &mut self.waiting {
            let below = |path: &str, folder: &str| {
                path.strip_prefix(folder).filter(|rest| rest.starts_with('/')).map(str::to_owned)
            };
            let Some(rest) = below(&upload.fact.path, old) else { continue };
            self.numbers.remove(&upload.fact.path);
            upload.fact.path = format!("{new}{rest}");
            if let Some(rest) = below(&upload.fact.logical_path, old_logical) {
                upload.fact.logical_path = format!("{new_logical}{rest}");
            }
            self.numbers.insert(upload.fact.path.clone(), *number);
            self.changes += 1;
        }
    }

    fn insert(&mut self, upload: Upload) {
        self.numbers.insert(upload.fact.path.clone(), self.next);
        self.waiting.insert(self.next, upload);
        self.next += 1;
        self.changes += 1;
    }

    fn remove(&mut self, path: &str) -> Option<Upload> {
        let number = self.numbers.remove(path)?;
        self.changes += 1;
        self.waiting.remove(&number)
    }

    fn oldest(&mut self) -> Option<Fact> {
        let (_, upload) = self.waiting.pop_first()?;
        self.numbers.remove(&upload.fact.path);
        self.changes += 1;
        Some(upload.fact)
    }
}

#[cfg(test)]
#[path = "join_tests.rs"]
mod tests;
