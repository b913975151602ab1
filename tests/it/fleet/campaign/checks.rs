//! What a campaign has to show. Everything is judged from data alone, so that `tampered` can show that each check finds what it is for.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, SystemTime};

use chrono::{DateTime, Utc};
use serde_json::Value;

use super::chaos::Deaths;
use super::desk::{Last, Users};
use super::{RECONNECTS, Span};
use crate::fleet::LEASE;
use crate::fleet::load::Known;
use crate::support::content::Content;
use crate::support::events::field;

/// Between two gateways that hand over a place: the new session may be on record before the end of the old one. Also between the answers of
/// an S3 server that has started and the first request that a gateway's connections make there.
pub const CLOCK: Duration = Duration::from_secs(2);

/// Until Redis has what a trail was told of users: one call, which may last two seconds.
const ONE_CALL: Duration = Duration::from_secs(3);

/// How long a session of a killed gateway may be listed.
pub const LEFT_AT_MOST: Duration = RECONNECTS.saturating_add(LEASE.saturating_mul(2));

/// The user who may have one session.
pub const LIMITED: &str = "bob";

/// All that is known of a campaign when it is over.
#[derive(Debug)]
pub struct Outcome {
    pub known: Vec<Known>,
    /// The files in the store, by their keys.
    pub stored: BTreeMap<String, Result<Content, String>>,
    /// The gateways in their order, and the events of their trails.
    pub trails: Vec<(String, Vec<Value>)>,
    pub users: Users,
    pub left: Left,
    pub deaths: Deaths,
}

/// What the gateways list after the last client has ended.
#[derive(Debug, Default)]
pub struct Left {
    /// How long it took until they listed no session, and each all gateways; or when nobody waited any longer.
    pub took: Duration,
    /// Each session that was listed then.
    pub sessions: Vec<String>,
    /// The gateways that each gateway listed.
    pub gateways: Vec<Vec<String>>,
}

/// What was compared.
#[derive(Debug, Default)]
pub struct Figures {
    /// Files in the store.
    pub files: u64,
    /// Sessions on record, and those of the user with a limit.
    pub sessions: usize,
    pub logins: usize,
    /// Of these logins, those while the gateways could ask each other, and those beside another session.
    pub judged: usize,
    pub above: usize,
    /// Changes of users on record, and those that a death let two trails have.
    pub changes: usize,
    pub twice: usize,
}

/// A session on record.
struct Session<'a> {
    user: &'a str,
    began: SystemTime,
    end: SystemTime,
}

impl Outcome {
    /// What was compared; else everything that is wrong.
    pub fn judge(&self) -> Result<Figures, Vec<String>> {
        let (mut figures, mut faults) = (Figures::default(), Vec::new());
        self.check_files(&mut figures, &mut faults);
        self.check_refusals(&mut faults);
        self.check_events(&mut faults);
        self.check_users(&mut figures, &mut faults);
        self.check_left(&mut faults);
        let sessions = self.sessions(&mut faults);
        figures.sessions = sessions.len();
        self.check_limit(&sessions, &mut figures, &mut faults);
        if faults.is_empty() { Ok(figures) } else { Err(faults) }
    }

    fn events(&self) -> impl Iterator<Item = &Value> {
        self.trails.iter().flat_map(|(_, events)| events)
    }

    /// Every acknowledged file is in the store and whole; of the others, each is whole or not there. No removed file is left.
    fn check_files(&self, figures: &mut Figures, faults: &mut Vec<String>) {
        let mut expected: BTreeMap<&str, (Content, bool)> = BTreeMap::new();
        for known in &self.known {
            expected.extend(known.files.iter().map(|(path, content)| (&path[1..], (*content, true))));
            expected.extend(known.unknown.iter().map(|(path, content)| (&path[1..], (*content, false))));
            faults.extend(
                known.misread.iter().map(|path| format!("{path} was read back, and is not what was acknowledged")),
            );
        }
        for (key, (content, is_certain)) in &expected {
            match self.stored.get(*key) {
                None if *is_certain => faults.push(format!("{key} was acknowledged and is not there")),
                None => {}
                Some(found) if *found == Ok(*content) => figures.files += 1,
                Some(found) => faults.push(format!("{key} is {found:?} instead of {content:?}")),
            }
        }
        let new = self.stored.keys().filter(|key| !expected.contains_key(key.as_str()));
        faults.extend(new.map(|key| format!("{key} appeared out of nothing")));
    }

    /// No operation is answered with an error but while there is no S3 server.
    fn check_refusals(&self, faults: &mut Vec<String>) {
        let is_excused = |during: Span| self.deaths.s3.iter().any(|(from, to)| meet((*from, *to + CLOCK), during));
        let refused = self.known.iter().flat_map(|known| &known.refused).filter(|refused| !is_excused(refused.during));
        faults.extend(refused.map(|refused| {
            let (began, ended) = refused.during;
            let [began, ended] = [began, ended].map(|time| DateTime::<Utc>::from(time).time());
            format!("refused from {began} to {ended}, although there was a store: {}", refused.message)
        }));
    }

    /// Every acknowledged change is on record at one gateway, once, and no event is there twice.
    fn check_events(&self, faults: &mut Vec<String>) {
        let mut ids = BTreeSet::new();
        let again = self.events().map(|event| field(event, "event-id")).filter(|id| !ids.insert(*id));
        faults.extend(again.map(|id| format!("the event {id} is on record twice")));
        let mut done: BTreeMap<(&str, &str, &str), u64> = BTreeMap::new();
        for event in self.events().filter(|event| field(event, "status") == "success") {
            let what = match field(event, "activity-type") {
                "CLOSE" if field(event, "operation") == "write" => field(event, "bytes-in"),
                "DELETE" => "",
                _ => continue,
            };
            *done.entry((field(event, "activity-type"), field(event, "logical-path"), what)).or_default() += 1;
        }
        let mut once = |activity: &str, path: &str, what: &str| {
            let times = done.get(&(activity, path, what)).copied().unwrap_or(0);
            if times != 1 {
                faults.push(format!("the {activity} of {path} was acknowledged, and is on record {times} times"));
            }
        };
        for known in &self.known {
            known.uploads.iter().for_each(|(path, content)| once("CLOSE", path, &content.length.to_string()));
            known.removed.iter().for_each(|path| once("DELETE", path, ""));
        }
    }

    /// The trails end with what is in the folder of keys, and no two of them have the same change, but for what `docs/FLEET.md` names: a
    /// gateway was killed before Redis had it, or Redis forgot it.
    fn check_users(&self, figures: &mut Figures, faults: &mut Vec<String>) {
        faults.extend(untold(self.events(), &self.users));
        let mut changes: BTreeMap<(&str, &str), Vec<(SystemTime, usize)>> = BTreeMap::new();
        for (number, (_, events)) in self.trails.iter().enumerate() {
            for event in events.iter().filter(|event| is_change(event)) {
                changes.entry((field(event, "user"), state(event))).or_default().push((time(event), number));
                figures.changes += 1;
            }
        }
        for ((user, state), mut told) in changes {
            told.sort_unstable();
            for pair in told.windows(2) {
                let ((first, by), (second, _)) = (pair[0], pair[1]);
                let mut deaths = self.deaths.gateways.iter().filter(|(number, _)| *number == by);
                let was_cut = deaths.any(|(_, at)| meet((*at, *at), (first, first + ONE_CALL)));
                if was_cut || self.deaths.forgot.iter().any(|span| meet(*span, (first, second))) {
                    figures.twice += 1;
                } else {
                    faults.push(format!("that {user} is now {state} is on record twice: {told:?}"));
                }
            }
        }
    }

    /// No gateway lists a session after a lease, and each lists all gateways.
    fn check_left(&self, faults: &mut Vec<String>) {
        let Left { took, sessions, gateways } = &self.left;
        if !sessions.is_empty() {
            faults.push(format!("left over after {took:?}: {sessions:?}"));
        }
        if *took >= LEFT_AT_MOST {
            faults.push(format!("it took {took:?} until no session was left over"));
        }
        let all: Vec<&str> = self.trails.iter().map(|(name, _)| name.as_str()).collect();
        if gateways.len() != all.len() || gateways.iter().any(|listed| *listed != all) {
            faults.push(format!("the gateways list {gateways:?} instead of {all:?}"));
        }
    }

    /// Each session ended on record, or with its gateway.
    fn sessions(&self, faults: &mut Vec<String>) -> Vec<Session<'_>> {
        let mut sessions = Vec::new();
        for (number, (name, events)) in self.trails.iter().enumerate() {
            let of_kind = |kind| events.iter().filter(move |event| field(event, "activity-type") == kind);
            let ends: BTreeMap<&str, SystemTime> =
                of_kind("DISCONNECTED").map(|event| (field(event, "session-id"), time(event))).collect();
            for event in of_kind("CONNECTED") {
                let (id, user, began) = (field(event, "session-id"), field(event, "user"), time(event));
                let deaths = self.deaths.gateways.iter();
                let death = deaths.filter(|(dead, at)| *dead == number && *at >= began).map(|(_, at)| *at).min();
                match ends.get(id).copied().or(death) {
                    Some(end) => sessions.push(Session { user, began, end }),
                    None => faults.push(format!("the session {id} of {user} at {name} has no end on record")),
                }
            }
        }
        sessions
    }

    /// Whoever may have one session, and logged in beside another one, did so while the gateways could not ask each other.
    fn check_limit(&self, sessions: &[Session<'_>], figures: &mut Figures, faults: &mut Vec<String>) {
        let mut limited: Vec<Span> =
            sessions.iter().filter(|one| one.user == LIMITED).map(|one| (one.began, one.end)).collect();
        limited.sort_unstable();
        figures.logins = limited.len();
        for (index, (began, _)) in limited.iter().enumerate() {
            let is_judged = !self.deaths.apart.iter().any(|(from, to)| meet((*from, *to + CLOCK), (*began, *began)));
            figures.judged += usize::from(is_judged);
            let Some(other) = limited[..index].iter().find(|(_, end)| *end > *began + CLOCK) else { continue };
            figures.above += 1;
            if is_judged {
                let [at, from, to] = [*began, other.0, other.1].map(|time| DateTime::<Utc>::from(time).time());
                faults.push(format!("{LIMITED} logged in at {at} beside another session, of {from} to {to}"));
            }
        }
    }
}

/// What the folder of keys has and no trail does.
pub fn untold<'a>(events: impl Iterator<Item = &'a Value>, users: &Users) -> Vec<String> {
    let told: BTreeSet<(&str, &str)> =
        events.filter(|event| is_change(event)).map(|event| (field(event, "user"), state(event))).collect();
    let is_missing = |(user, last): &(&String, &Last)| match last {
        Last::Has(key) => !told.contains(&(user, key)),
        // Nobody is told of a user that came and went between two rounds.
        Last::Removed => told.iter().any(|(told, _)| told == user) && !told.contains(&(user, REMOVED)),
        Last::Unknown => false,
    };
    users.iter().filter(is_missing).map(|(user, last)| format!("no trail has it that {user} is now {last:?}")).collect()
}

/// The state of a user who is gone.
const REMOVED: &str = "removed";

fn is_change(event: &Value) -> bool {
    matches!(field(event, "activity-type"), "USER_ADDED" | "USER_CHANGED" | "USER_REMOVED")
}

/// What the user is after the change: a fingerprint, or [`REMOVED`].
fn state(event: &Value) -> &str {
    match field(event, "activity-type") {
        "USER_REMOVED" => REMOVED,
        _ => field(event, "ssh-public-key-fingerprint"),
    }
}

/// Whether two spans have a moment in common.
fn meet(one: Span, other: Span) -> bool {
    one.0 <= other.1 && other.0 <= one.1
}

#[track_caller]
fn time(event: &Value) -> SystemTime {
    let text = field(event, "timestamp");
    text.parse::<DateTime<Utc>>().unwrap_or_else(|error| panic!("{error}: {event}")).into()
}
