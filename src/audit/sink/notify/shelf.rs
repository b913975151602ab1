//! Uploads in an order, found by their path and by their user.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::join::Upload;

/// Uploads by their numbers; no two have one path.
#[derive(Debug, Default)]
pub(super) struct Shelf {
    uploads: BTreeMap<u64, Upload>,
    numbers: HashMap<String, u64>,
    of_users: HashMap<String, BTreeSet<u64>>,
    next: u64,
    changes: u64,
}

impl Shelf {
    /// With these, in this order.
    pub(super) fn of(uploads: impl IntoIterator<Item = Upload>) -> Shelf {
        let mut shelf = Shelf::default();
        uploads.into_iter().for_each(|upload| shelf.insert(upload));
        shelf.changes = 0;
        shelf
    }

    pub(super) fn len(&self) -> usize {
        self.uploads.len()
    }

    /// How often something came or went.
    pub(super) fn changes(&self) -> u64 {
        self.changes
    }

    /// The oldest first.
    pub(super) fn uploads(&self) -> impl Iterator<Item = &Upload> {
        self.uploads.values()
    }

    pub(super) fn oldest(&self) -> Option<&Upload> {
        self.uploads.first_key_value().map(|(_, upload)| upload)
    }

    /// Puts one behind the others. It takes the place of another one of its path.
    pub(super) fn insert(&mut self, upload: Upload) {
        let number = self.next;
        self.next += 1;
        self.insert_as(number, upload);
    }

    /// Puts one where it was.
    pub(super) fn insert_as(&mut self, number: u64, upload: Upload) {
        self.remove(&upload.fact.path);
        self.numbers.insert(upload.fact.path.clone(), number);
        self.of_users.entry(upload.fact.user.clone()).or_default().insert(number);
        self.uploads.insert(number, upload);
        self.changes += 1;
    }

    /// The one of a path, with its number.
    pub(super) fn remove(&mut self, path: &str) -> Option<(u64, Upload)> {
        let number = *self.numbers.get(path)?;
        self.remove_number(number).map(|upload| (number, upload))
    }

    pub(super) fn remove_oldest(&mut self) -> Option<Upload> {
        let number = *self.uploads.first_key_value()?.0;
        self.remove_number(number)
    }

    /// Those that lie in a folder, with their numbers.
    pub(super) fn remove_below(&mut self, folder: &str) -> Vec<(u64, Upload)> {
        let fits = |path: &str| path.strip_prefix(folder).is_some_and(|rest| rest.starts_with('/'));
        let found = self.uploads.iter().filter(|(_, upload)| fits(&upload.fact.path)).map(|(number, _)| *number);
        let found: Vec<u64> = found.collect();
        found.into_iter().filter_map(|number| Some((number, self.remove_number(number)?))).collect()
    }

    /// Makes room: nobody's uploads have to go because another user has many.
    pub(super) fn evict(&mut self) -> Option<Upload> {
        let most = self.of_users.values().max_by_key(|numbers| (numbers.len(), Reverse(numbers.first().copied())))?;
        let number = most.first().copied()?;
        self.remove_number(number)
    }

    fn remove_number(&mut self, number: u64) -> Option<Upload> {
        let upload = self.uploads.remove(&number)?;
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
}
