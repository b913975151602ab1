//! Keys, addresses, clients and people of a user: how often each came, and when first and last.

use std::collections::BTreeMap;

use chrono::{DateTime, SecondsFormat, Utc};
use serde::{Serialize, Serializer};

/// So many of one kind are kept for a user. Who uses more is told by the number of the others.
const MOST: usize = 1000;

/// One key, address, client or person.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Use {
    /// What it is.
    pub name: String,
    /// Logins with it.
    pub logins: u64,
    /// Attempts to log in with it that failed.
    pub failures: u64,
    /// The first of all these.
    #[serde(serialize_with = "as_optional_text")]
    pub first: Option<DateTime<Utc>>,
    /// The last.
    #[serde(serialize_with = "as_optional_text")]
    pub last: Option<DateTime<Utc>>,
}

/// All of one kind.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Uses {
    /// Those that were used last, first.
    pub list: Vec<Use>,
    /// Logins and failures with further ones.
    pub of_others: u64,
}

/// All of one kind, while they are collected.
#[derive(Debug, Default)]
pub(super) struct Kinds {
    by_name: BTreeMap<String, Use>,
    of_others: u64,
}

impl Kinds {
    /// A login, or an attempt that failed, with this one; an empty name is none.
    pub(super) fn note(&mut self, name: &str, succeeded: bool, time: Option<DateTime<Utc>>) {
        if name.is_empty() {
            return;
        }
        if !self.by_name.contains_key(name) {
            if self.by_name.len() >= MOST {
                self.of_others += 1;
                return;
            }
            let new = Use { name: name.to_owned(), logins: 0, failures: 0, first: None, last: None };
            self.by_name.insert(name.to_owned(), new);
        }
        if let Some(kept) = self.by_name.get_mut(name) {
            *(if succeeded { &mut kept.logins } else { &mut kept.failures }) += 1;
            kept.first = earlier(kept.first, time);
            kept.last = kept.last.max(time);
        }
    }

    pub(super) fn finish(self) -> Uses {
        let mut list: Vec<_> = self.by_name.into_values().collect();
        list.sort_by(|a, b| b.last.cmp(&a.last).then_with(|| a.name.cmp(&b.name)));
        Uses { list, of_others: self.of_others }
    }
}

/// The earlier of two times, one of which may not be known.
pub(super) fn earlier(a: Option<DateTime<Utc>>, b: Option<DateTime<Utc>>) -> Option<DateTime<Utc>> {
    a.into_iter().chain(b).min()
}

pub(super) fn text_of(time: DateTime<Utc>) -> String {
    time.to_rfc3339_opts(SecondsFormat::Secs, true)
}

pub(super) fn as_text<S: Serializer>(time: &DateTime<Utc>, serializer: S) -> Result<S::Ok, S::Error> {
    text_of(*time).serialize(serializer)
}

pub(super) fn as_optional_text<S: Serializer>(time: &Option<DateTime<Utc>>, serializer: S) -> Result<S::Ok, S::Error> {
    time.map(text_of).serialize(serializer)
}
