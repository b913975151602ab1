//! What tells one version of a file from another, on servers that tell only its length and its time in whole seconds.
//!
//! What this process publishes gets a number, and keeps it as long as its length and time are what they were then: two versions that it made
//! within one second are told apart, whatever their lengths and times. Versions of others are told apart by length and time alone.

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::str::FromStr;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::wire::Attributes;

/// So many names are remembered.
const MOST: usize = 50_000;

/// A version of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Version {
    number: u64,
    size: u64,
    mtime: u32,
}

/// The versions that were seen or made lately.
#[derive(Debug, Default)]
pub(super) struct Versions(Mutex<Known>);

#[derive(Debug, Default)]
struct Known {
    by_path: HashMap<String, Record>,
    /// Paths and numbers in the order of the numbers.
    order: VecDeque<(String, u64)>,
    last: u64,
}

#[derive(Debug, Clone, Copy)]
struct Record {
    version: Version,
    /// This process has published it; else it was only looked at.
    made_here: bool,
}

impl Versions {
    /// What has been noted so far: for [`Versions::seen_since`].
    pub(super) fn mark(&self) -> u64 {
        self.locked().last
    }

    /// Whether this process has published something under a name since then: who looked in between may have seen what was there before.
    pub(super) fn is_made_since(&self, path: &str, mark: u64) -> bool {
        self.locked().is_made_since(path, mark)
    }

    /// The version of what was looked at since `mark`; `None` when it may be what was replaced meanwhile.
    pub(super) fn seen_since(&self, path: &str, found: &Attributes, mark: u64) -> Option<String> {
        let mut known = self.locked();
        if known.is_made_since(path, mark) { None } else { Some(known.seen(path, found)) }
    }

    /// A version that counts as replaced by whatever this process has published since `mark`.
    pub(super) fn before(found: &Attributes, mark: u64) -> String {
        Version { number: mark, size: found.size, mtime: found.mtime.unwrap_or(0) }.to_string()
    }

    /// The present version of what has a name.
    pub(super) fn seen(&self, path: &str, found: &Attributes) -> String {
        self.locked().seen(path, found)
    }

    /// The version that this process has just published under a name.
    pub(super) fn made(&self, path: &str, found: &Attributes) -> String {
        self.locked().note(path, found, true)
    }

    /// Whether what has a name now has the content of a version.
    pub(super) fn is_still(&self, path: &str, found: &Attributes, wanted: &str) -> bool {
        let Ok(wanted) = wanted.parse::<Version>() else { return false };
        match self.locked().by_path.get(path) {
            Some(record) if record.version.number == wanted.number => record.version.fits(found),
            // It was published over the wanted one.
            Some(record) if record.made_here && record.version.number > wanted.number => false,
            _ => wanted.fits(found),
        }
    }

    /// A time was set: the content is what it was.
    pub(super) fn timed(&self, path: &str, before: &str, found: &Attributes) -> String {
        let mut known = self.locked();
        if let (Some(record), Ok(before)) = (known.by_path.get_mut(path), before.parse::<Version>())
            && record.version.number == before.number
        {
            record.version.mtime = found.mtime.unwrap_or(0);
            return record.version.to_string();
        }
        known.note(path, found, false)
    }

    /// A file got another name; its version under that. It is a new one: under its old, lower number what others replace it by
    /// could pass for what had the new name before.
    pub(super) fn moved(&self, from: &str, to: &str, found: &Attributes) -> String {
        let mut known = self.locked();
        known.by_path.remove(from);
        known.note(to, found, true)
    }

    /// Nothing has the name any more.
    pub(super) fn gone(&self, path: &str) {
        self.locked().by_path.remove(path);
    }

    fn locked(&self) -> MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Known {
    fn is_made_since(&self, path: &str, mark: u64) -> bool {
        self.by_path.get(path).is_some_and(|record| record.made_here && record.version.number > mark)
    }

    fn seen(&mut self, path: &str, found: &Attributes) -> String {
        match self.by_path.get(path) {
            Some(record) if record.version.fits(found) => record.version.to_string(),
            _ => self.note(path, found, false),
        }
    }

    fn note(&mut self, path: &str, found: &Attributes, made_here: bool) -> String {
        self.last += 1;
        let version = Version { number: self.last, size: found.size, mtime: found.mtime.unwrap_or(0) };
        self.by_path.insert(path.to_owned(), Record { version, made_here });
        self.order.push_back((path.to_owned(), version.number));
        self.forget_oldest();
        version.to_string()
    }

    fn forget_oldest(&mut self) {
        while self.order.len() > MOST {
            let Some((path, number)) = self.order.pop_front() else { return };
            if self.by_path.get(&path).is_some_and(|record| record.version.number == number) {
                self.by_path.remove(&path);
            }
        }
    }
}

impl Version {
    fn fits(&self, found: &Attributes) -> bool {
        self.size == found.size && self.mtime == found.mtime.unwrap_or(0)
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.number, self.size, self.mtime)
    }
}

impl FromStr for Version {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let mut fields = text.split(':');
        let mut field = || fields.next().ok_or(());
        let (number, size, mtime) = (field()?, field()?, field()?);
        Ok(Version {
            number: number.parse().map_err(|_| ())?,
            size: size.parse().map_err(|_| ())?,
            mtime: mtime.parse().map_err(|_| ())?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn attributes(size: u64, mtime: u32) -> Attributes {
        Attributes { size, mtime: Some(mtime), ..Attributes::default() }
    }

    #[test]
    fn two_versions_that_this_gateway_has_made_are_told_apart_also_within_one_second() {
        let versions = Versions::default();
        let found = attributes(5, 7);
        let first = versions.made("/f", &found);
        assert!(versions.is_still("/f", &found, &first));
        let second = versions.made("/f", &found);
        assert!(!versions.is_still("/f", &found, &first) && versions.is_still("/f", &found, &second));
        assert_eq!(versions.seen("/f", &found), second);
    }

    #[test]
    fn changes_by_others_are_noticed_by_length_and_time() {
        let versions = Versions::default();
        let found = attributes(5, 7);
        let seen = versions.seen("/f", &found);
        for changed in [attributes(5, 8), attributes(6, 7)] {
            assert!(!versions.is_still("/f", &changed, &seen));
        }
        let made = versions.made("/f", &found);
        assert!(!versions.is_still("/f", &found, &seen), "it was replaced here");
        let other = versions.seen("/f", &attributes(9, 9));
        assert_ne!(made, other);
        assert!(!versions.is_still("/f", &attributes(9, 9), &made));
    }

    #[test]
    fn a_time_that_is_set_and_a_new_name_leave_the_content() {
        let versions = Versions::default();
        let made = versions.made("/f", &attributes(5, 7));
        let timed = versions.timed("/f", &made, &attributes(5, 1));
        assert!(
            versions.is_still("/f", &attributes(5, 1), &made) && versions.is_still("/f", &attributes(5, 1), &timed)
        );
        let moved = versions.moved("/f", "/g", &attributes(5, 1));
        assert!(versions.is_still("/g", &attributes(5, 1), &moved));
        assert_eq!(versions.seen("/g", &attributes(5, 1)), moved);
        versions.gone("/g");
        assert_ne!(versions.seen("/g", &attributes(5, 1)), moved);
    }

    /// The older file gets the name of the newer one, in the same second and with the same length.
    #[test]
    fn what_a_rename_has_replaced_is_told_apart() {
        let (versions, found) = (Versions::default(), attributes(5, 7));
        let older = versions.made("/old", &found);
        let replaced = versions.made("/f", &found);
        let moved = versions.moved("/old", "/f", &found);
        assert!(!versions.is_still("/f", &found, &replaced) && versions.is_still("/f", &found, &moved));
        assert_ne!(moved, older);
        // Nothing was known of the one that was renamed.
        let replaced = versions.made("/g", &found);
        versions.moved("/unknown", "/g", &found);
        assert!(!versions.is_still("/g", &found, &replaced));
    }

    #[test]
    fn what_was_read_while_another_was_published_gets_no_version_of_that() {
        let (versions, found) = (Versions::default(), attributes(5, 7));
        versions.made("/f", &found);
        let mark = versions.mark();
        assert!(versions.seen_since("/f", &found, mark).is_some());
        let made = versions.made("/f", &found);
        assert_eq!(versions.seen_since("/f", &found, mark), None);
        assert_eq!(versions.seen_since("/f", &found, versions.mark()), Some(made.clone()));
        assert!(!versions.is_still("/f", &found, &Versions::before(&found, mark)));
        // What others have replaced it by is seen, not made.
        assert!(versions.seen_since("/f", &attributes(6, 7), versions.mark()).is_some());
        assert!(versions.is_still("/f", &found, &made));
    }

    #[test]
    fn what_was_forgotten_is_told_by_length_and_time_again() {
        let versions = Versions::default();
        let found = attributes(5, 7);
        let made = versions.made("/f", &found);
        for number in 0..MOST {
            versions.seen(&format!("/{number}"), &found);
        }
        let known = versions.locked().by_path.len();
        assert!(known <= MOST, "{known}");
        assert!(versions.is_still("/f", &found, &made));
        versions.seen("/f", &found);
        assert!(versions.is_still("/f", &found, &made), "nobody has replaced it");
        assert!(!versions.is_still("/f", &attributes(6, 7), &made));
    }
}
