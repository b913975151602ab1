//! What users did in a time, as an auditor asks for it: logins, keys and addresses, files and bytes each way, failures, silence.

mod export;
mod page;
mod person;
mod uses;

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use serde::Serialize;

use super::read::{Event, Span};
use super::search::UserPattern;
use person::Person;

pub use export::{csv_writer, harmless, write_csv};
pub use page::{STYLE, write_html};
pub use person::{Refused, UserReport};
pub use uses::{Use, Uses};

/// So many names that nobody logged in with are kept; of the others only the attempts are counted.
const MOST_STRANGERS: usize = 10_000;

/// So many of them are shown, those that were tried most.
const STRANGERS_SHOWN: usize = 20;

/// A report that is being collected. Memory grows with the number of users, some kilobytes each.
#[derive(Debug)]
pub struct Collection {
    /// `None`: every user.
    only: Option<UserPattern>,
    users: BTreeMap<String, Person>,
    /// How many of these nothing has proven to be users.
    unproven: usize,
    attempts_of_others: u64,
    servers: BTreeSet<String>,
    events: u64,
}

/// A report.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Report {
    /// When it was made.
    #[serde(serialize_with = "uses::as_text")]
    pub made: DateTime<Utc>,
    /// The time it covers, as far as it was asked for one.
    #[serde(serialize_with = "uses::as_optional_text")]
    pub since: Option<DateTime<Utc>>,
    /// Not included.
    #[serde(serialize_with = "uses::as_optional_text")]
    pub until: Option<DateTime<Utc>>,
    /// The pattern of users that it is about; none for one user and for all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pattern: Option<String>,
    /// The servers whose events were read.
    pub servers: Vec<String>,
    /// How many events it is made of.
    pub events: u64,
    /// Lines and parts of files that cannot be read as events.
    pub unreadable: u64,
    /// The users, by name.
    pub users: Vec<UserReport>,
    /// Names that were tried and that nobody logged in with, the most tried first.
    pub strangers: Vec<Stranger>,
    /// Attempts with further such names.
    pub attempts_of_other_strangers: u64,
}

/// A name that nobody logged in with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Stranger {
    /// As the client gave it.
    pub name: String,
    /// How often.
    pub attempts: u64,
}

impl Collection {
    /// Of one user, of those that a pattern fits, or of all.
    pub fn of(only: Option<UserPattern>) -> Collection {
        Collection {
            only,
            users: BTreeMap::new(),
            unproven: 0,
            attempts_of_others: 0,
            servers: BTreeSet::new(),
            events: 0,
        }
    }

    /// Takes the next event. Events without a user, and those of others than the one that is wanted, are passed over.
    pub fn note(&mut self, event: &Event) {
        let name = event.text("user");
        if name.is_empty() || self.only.as_ref().is_some_and(|only| !only.fits(name)) {
            return;
        }
        self.events += 1;
        if !self.servers.contains(event.text("server")) {
            self.servers.insert(event.text("server").to_owned());
        }
        if !self.users.contains_key(name) {
            if self.unproven >= MOST_STRANGERS && !person::proves_a_user(event) {
                self.attempts_of_others += u64::from(event.activity() == "AUTH_FAILURE");
                return;
            }
            self.users.insert(name.to_owned(), Person::default());
            self.unproven += 1;
        }
        if let Some(person) = self.users.get_mut(name) {
            self.unproven -= usize::from(person.note(event));
        }
    }

    /// The report.
    pub fn finish(self, made: DateTime<Utc>, span: Span, unreadable: u64) -> Report {
        let Collection { only, mut users, servers, events, attempts_of_others, .. } = self;
        let one = only.as_ref().and_then(UserPattern::name);
        if let Some(one) = one {
            users.entry(one.to_owned()).or_default();
        }
        // What has not come yet is no silence.
        let end = span.until.map_or(made, |until| until.min(made));
        let is_shown = |name: &String, person: &Person| person.exists() || one == Some(name.as_str());
        let (users, others): (BTreeMap<_, _>, BTreeMap<_, _>) =
            users.into_iter().partition(|(name, person)| is_shown(name, person));
        let (strangers, more) = strangers(others);
        Report {
            made,
            since: span.since,
            until: span.until,
            pattern: only.as_ref().filter(|_| one.is_none()).map(|pattern| pattern.as_str().to_owned()),
            servers: servers.into_iter().filter(|server| !server.is_empty()).collect(),
            events,
            unreadable,
            users: users.into_iter().map(|(name, person)| person.finish(name, end)).collect(),
            strangers,
            attempts_of_other_strangers: attempts_of_others + more,
        }
    }
}

/// The names that were tried most, and how often the rest was tried.
fn strangers(others: BTreeMap<String, Person>) -> (Vec<Stranger>, u64) {
    let tried = others.into_iter().map(|(name, person)| Stranger { name, attempts: person.failed_logins() });
    let mut all: Vec<_> = tried.filter(|stranger| stranger.attempts > 0).collect();
    all.sort_by(|a, b| b.attempts.cmp(&a.attempts).then_with(|| a.name.cmp(&b.name)));
    let rest = all.iter().skip(STRANGERS_SHOWN).map(|stranger| stranger.attempts).sum();
    all.truncate(STRANGERS_SHOWN);
    (all, rest)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;
