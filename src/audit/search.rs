//! Finding events in a trail.

mod pattern;
mod torn;

use std::fmt;
use std::net::IpAddr;
use std::ops::ControlFlow;

use serde::de::IgnoredAny;

use super::outcome::{OPERATIONS, STATUSES, operation_of, status_of};
use super::read::{Event, Item, Place, ReadError, Span, Trail, shown};
use torn::Torn;

pub use pattern::{Fingerprint, PathPattern, UserPattern};

/// The fields that hold fingerprints, of one key or of several.
const FINGERPRINTS: [&str; 5] = [
    "ssh-public-key-fingerprint",
    "ssh-certificate-ca-fingerprint",
    "ssh-public-key-fingerprint-added",
    "ssh-public-key-fingerprint-removed",
    "checkpoint-key",
];

/// Whether an address is wanted.
pub type AddressTest = Box<dyn Fn(IpAddr) -> bool + Send + Sync>;

/// Which events are wanted: those that fit everything that is asked.
#[derive(Default)]
pub struct Query {
    /// The `user`.
    pub user: Option<UserPattern>,
    /// The `identity`: the person behind the user's name.
    pub identity: Option<UserPattern>,
    /// A path that the client named or that a store has, old or new.
    pub path: Option<PathPattern>,
    /// When.
    pub span: Span,
    /// One of these `activity-type`s; empty: any.
    pub activities: Vec<String>,
    /// The `source-ip`.
    pub address: Option<AddressTest>,
    /// The `session-id`, or its beginning; see [`session_prefix`].
    pub session: Option<String>,
    /// With the sessions that came through that one (`jump-session-id`).
    pub with_jumps: bool,
    /// The `target`.
    pub target: Option<String>,
    /// The `account` at a target.
    pub account: Option<String>,
    /// A key's or an authority's fingerprint.
    pub fingerprint: Option<Fingerprint>,
    /// One of [`OPERATIONS`]; empty: any, and events of none.
    pub operations: Vec<String>,
    /// How it went: the `status`, or where there is none what the `activity-type` says.
    pub status: Option<String>,
    /// The `server`.
    pub server: Option<String>,
    /// A text somewhere in a field, in small or capital letters.
    pub text: Option<String>,
}

impl fmt::Debug for Query {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Query").field("user", &self.user).field("session", &self.session).finish_non_exhaustive()
    }
}

/// The least digits of a session's id that name it.
const SHORTEST_ID: usize = 4;

/// A session's id, 20 hex digits, or its beginning.
///
/// # Errors
/// A sentence for other texts.
pub fn session_prefix(text: &str) -> Result<String, String> {
    let is_one = (SHORTEST_ID..=20).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    let wrong = || format!("a session's id has 20 hex digits, and its first {SHORTEST_ID} or more will do");
    is_one.then(|| text.to_ascii_lowercase()).ok_or_else(wrong)
}

/// A word of [`OPERATIONS`].
///
/// # Errors
/// A sentence for other words.
pub fn operation(word: &str) -> Result<String, String> {
    let known = || format!("there is no {word:.40?}; there are {}", OPERATIONS.join(", "));
    OPERATIONS.contains(&word).then(|| word.to_owned()).ok_or_else(known)
}

/// A word of [`STATUSES`].
///
/// # Errors
/// A sentence for other words.
pub fn status(word: &str) -> Result<String, String> {
    let known = || format!("{word:.40?} is none of {}", STATUSES.join(", "));
    STATUSES.contains(&word).then(|| word.to_owned()).ok_or_else(known)
}

/// How many places that cannot be read are named; the rest is counted.
const NAMED: usize = 10;

/// How much was read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Summary {
    /// Events that were found.
    pub found: u64,
    /// Lines that are no events, and parts that cannot be unpacked to their ends.
    pub unreadable: u64,
    /// The first ten of these.
    pub places: Vec<Unreadable>,
    /// Lines that a killed gateway left unfinished, as the start after it says: nobody was told of their events, and nothing is missing.
    pub cut: u64,
    /// The first ten of these.
    pub cut_places: Vec<Unreadable>,
}

/// A line that is no event, or where a part cannot be unpacked any further.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unreadable {
    /// The file or object.
    pub name: String,
    /// The line, from 1.
    pub line: u64,
    /// Why.
    pub why: String,
}

impl fmt::Display for Unreadable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, line {}: {}", shown(&self.name), self.line, shown(&self.why))
    }
}

impl Summary {
    fn note(&mut self, places: Vec<Unreadable>) {
        self.unreadable += places.len() as u64;
        let room = NAMED.saturating_sub(self.places.len());
        self.places.extend(places.into_iter().take(room));
    }

    fn note_cut(&mut self, places: Vec<Unreadable>) {
        self.cut += places.len() as u64;
        let room = NAMED.saturating_sub(self.cut_places.len());
        let unfinished = |place| Unreadable { why: "left unfinished by a gateway that was killed".to_owned(), ..place };
        self.cut_places.extend(places.into_iter().take(room).map(unfinished));
    }
}

impl Query {
    /// Hands the events that fit to `take`, in the order of the trail, until it breaks.
    ///
    /// # Errors
    /// A source that cannot be read.
    pub fn run(
        &self,
        trail: &mut Trail,
        mut take: impl FnMut(&[u8], &Event) -> ControlFlow<()>,
    ) -> Result<Summary, ReadError> {
        let (mut summary, mut torn) = (Summary::default(), Torn::default());
        let needles = self.needles();
        while let Some(item) = trail.advance()? {
            let (bytes, place) = match item {
                Item::Line { bytes, place, .. } => (bytes, place),
                Item::TooLong { place } => {
                    summary.note(torn.end());
                    summary.note(vec![unreadable(trail, place, "longer than an event can be")]);
                    continue;
                }
                Item::Broken { place, reason } => {
                    summary.note(torn.end());
                    summary.note(vec![unreadable(trail, place, &format!("cannot be unpacked: {reason}"))]);
                    continue;
                }
            };
            let event = if may_hold(bytes, &needles) { Event::parse(bytes).map(Some) } else { passed_over(bytes) };
            let Some(event) = event else {
                let line = bytes.to_owned();
                summary.note(torn.keep(&line, unreadable(trail, place, "not an event")));
                continue;
            };
            let settled = torn.settle(bytes);
            summary.note(settled.unexplained);
            summary.note_cut(settled.cut);
            let Some(event) = event else { continue };
            if self.fits(&event) {
                summary.found += 1;
                if take(bytes, &event).is_break() {
                    break;
                }
            }
        }
        summary.note(torn.end());
        Ok(summary)
    }

    /// Ready to judge one line after the other.
    pub fn judge(self) -> Judge {
        Judge { needles: self.needles(), query: self }
    }

    /// Texts that a line must hold as they are, so that most lines need not be parsed.
    fn needles(&self) -> Vec<String> {
        let fingerprint = self.fingerprint.as_ref().map(|fingerprint| fingerprint.as_ref().to_owned());
        let people = [&self.user, &self.identity].into_iter().flatten().filter_map(UserPattern::name);
        let places = [&self.target, &self.account].into_iter().flatten().map(String::as_str);
        let names = people.chain(places).map(|name| format!("\"{name}\""));
        let quoted = names.chain(self.session.iter().map(|beginning| format!("\"{beginning}")));
        // The writer escapes nothing in such a text.
        let is_plain =
            |text: &String| text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.@:+/\"".contains(&byte));
        quoted.chain(fingerprint).filter(is_plain).collect()
    }

    fn fits(&self, event: &Event) -> bool {
        let is = |wanted: &Option<String>, name| wanted.as_deref().is_none_or(|wanted| event.text(name) == wanted);
        self.user.as_ref().is_none_or(|user| user.fits(event.text("user")))
            && self.identity.as_ref().is_none_or(|identity| identity.fits(event.text("identity")))
            && is(&self.target, "target")
            && is(&self.account, "account")
            && self.session.as_ref().is_none_or(|beginning| self.is_of_session(event, beginning))
            && self.status.as_deref().is_none_or(|wanted| has_status(event, wanted))
            && (self.operations.is_empty() || self.is_operation(event))
            && is(&self.server, "server")
            && self.text.as_deref().is_none_or(|text| event.holds(text))
            && (self.activities.is_empty() || self.activities.iter().any(|name| event.activity() == name))
            && (self.span == Span::default() || event.time().is_some_and(|time| self.span.contains(time)))
            && self.address.as_ref().is_none_or(|test| event.address().is_some_and(test))
            && self.path.as_ref().is_none_or(|path| path.fits_event(event))
            && (self.fingerprint.is_none() || self.keys_of(event).next().is_some())
    }

    /// The fingerprints in an event that begin as [`Query::fingerprint`] says.
    pub fn keys_of<'e>(&'e self, event: &'e Event) -> impl Iterator<Item = &'e str> {
        let fitting = |key: &'e Fingerprint| FINGERPRINTS.iter().flat_map(|name| key.fitting(event.text(name)));
        self.fingerprint.iter().flat_map(fitting)
    }

    fn is_operation(&self, event: &Event) -> bool {
        let operation = operation_of(event.activity(), Some(event.text("operation")));
        operation.is_some_and(|operation| self.operations.iter().any(|wanted| wanted == operation))
    }

    fn is_of_session(&self, event: &Event, beginning: &str) -> bool {
        let is_it = |name| event.text(name).starts_with(beginning);
        is_it("session-id") || (self.with_jumps && is_it("jump-session-id"))
    }
}

/// A query that judges lines.
#[derive(Debug)]
pub struct Judge {
    query: Query,
    needles: Vec<String>,
}

impl Judge {
    /// The event of a line, if it fits.
    pub fn fits(&self, line: &[u8]) -> Option<Event> {
        if !may_hold(line, &self.needles) {
            return None;
        }
        Event::parse(line).filter(|event| self.query.fits(event))
    }
}

fn has_status(event: &Event, wanted: &str) -> bool {
    let status = event.text("status");
    if status.is_empty() { status_of(event.activity()) == Some(wanted) } else { status == wanted }
}

/// A line that holds no event that is wanted; `None` when it may be a damaged one.
fn passed_over(line: &[u8]) -> Option<Option<Event>> {
    let is_object = line.trim_ascii_start().starts_with(b"{") && serde_json::from_slice::<IgnoredAny>(line).is_ok();
    is_object.then_some(None)
}

/// A place that cannot be read.
fn unreadable(trail: &Trail, place: Place, why: &str) -> Unreadable {
    Unreadable { name: trail.name(place.part).to_owned(), line: place.line, why: why.to_owned() }
}

/// Whether a line holds all of `needles`.
fn may_hold(line: &[u8], needles: &[String]) -> bool {
    needles.is_empty() || std::str::from_utf8(line).is_ok_and(|line| needles.iter().all(|needle| line.contains(needle)))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::io::Cursor;

    use super::*;
    use crate::audit::read::Source;

    const GOLDEN: &str = include_str!("tests/golden.ndjson");

    /// The activities of the golden lines that a query finds.
    fn found(query: &Query) -> Vec<String> {
        let source = Source::Stream("golden".into(), Box::new(Cursor::new(GOLDEN)));
        let mut found = Vec::new();
        let summary = query.run(&mut Trail::new(vec![source], Span::default(), None), |line, event| {
            assert!(GOLDEN.lines().any(|golden| golden.as_bytes() == line));
            found.push(event.activity().to_owned());
            ControlFlow::Continue(())
        });
        assert_eq!(summary.unwrap(), Summary { found: found.len() as u64, ..Summary::default() });
        found
    }

    fn user(pattern: &str) -> Option<UserPattern> {
        Some(UserPattern::parse(pattern).unwrap())
    }

    fn some(text: &str) -> Option<String> {
        Some(text.to_owned())
    }

    #[test]
    fn each_question_narrows_what_is_found() {
        let all = found(&Query::default()).len();
        let golden = |fits: &dyn Fn(&str) -> bool| GOLDEN.lines().filter(|line| fits(line)).count();
        assert_eq!(all, GOLDEN.lines().count());
        assert_eq!(found(&Query { user: user("user9999"), ..Query::default() }), ["AUTH_FAILURE"]);
        let of_user = found(&Query { user: user("user0001"), ..Query::default() }).len();
        assert_eq!(of_user, golden(&|line| line.contains("\"user\":\"user0001\"")));
        assert!(found(&Query { user: user("user000"), ..Query::default() }).is_empty());
        let of_session = golden(&|line| line.contains("\"session-id\":\"0049cd844c7536c06a89\""));
        assert!(of_session < all, "some events have no session");
        assert_eq!(found(&Query { session: some("0049cd844c7536c06a89"), ..Query::default() }).len(), of_session);
        assert_eq!(
            found(&Query { status: some("denied"), ..Query::default() }),
            ["DELETE", "REQUEST_DENIED", "ADMIN_CALL"]
        );
        let failures = found(&Query { status: some("failure"), ..Query::default() });
        for name in ["AUTH_FAILURE", "KEX_FAILURE", "CONNECTION_REJECTED", "ERROR"] {
            assert!(failures.iter().any(|found| found == name), "{name}: {failures:?}");
        }
        let operations = vec!["mkdir".to_owned(), "download".to_owned()];
        assert_eq!(found(&Query { operations, ..Query::default() }), ["OPEN", "CLOSE", "MKDIR"]);
        assert!(found(&Query { server: some("edge-2"), ..Query::default() }).is_empty());
        assert_eq!(found(&Query { text: some("OLD.csv"), ..Query::default() }), ["DELETE"]);
        assert_eq!(found(&Query { text: some("29238420042"), ..Query::default() }), ["CLOSE"]);
        assert!(found(&Query { text: some("activity-type"), ..Query::default() }).is_empty(), "names are no content");
        let activities = vec!["LIST".to_owned(), "MKDIR".to_owned()];
        assert_eq!(found(&Query { activities, ..Query::default() }), ["MKDIR", "LIST"]);
        let address =
            |wanted: &'static str| -> AddressTest { Box::new(move |ip| ip == wanted.parse::<IpAddr>().unwrap()) };
        assert_eq!(found(&Query { address: Some(address("192.0.2.1")), ..Query::default() }).len(), of_session);
        assert!(found(&Query { address: Some(address("192.0.2.2")), ..Query::default() }).is_empty());
    }

    #[test]
    fn paths_are_found_by_what_the_client_named_and_where_it_is_kept() {
        let by = |pattern: &str| found(&Query { path: PathPattern::parse(pattern).ok(), ..Query::default() });
        assert_eq!(by("/incoming/old.csv"), ["DELETE"]);
        assert_eq!(by("/lake/in/*/old.csv"), ["DELETE"]);
        assert_eq!(by("/incoming/*.part"), ["RENAME"]);
        assert!(by("/*.csv").is_empty(), "a star stays within a component");
        assert_eq!(by("/reports/**"), ["OPEN", "CLOSE", "CLOSE", "ERROR"]);
        assert_eq!(by("**/link"), ["CREATE_SYMLINK"]);
        assert_eq!(by("old.csv"), ["DELETE"], "a name, in whatever folder");
        assert_eq!(by("old.*"), ["DELETE"]);
        assert!(by("incoming").is_empty(), "a whole name");
        assert!(PathPattern::parse("/a[").is_err());
    }

    #[test]
    fn users_are_found_by_the_patterns_of_a_filter() {
        let by = |pattern: &str| found(&Query { user: user(pattern), ..Query::default() }).len();
        let all = GOLDEN.lines().filter(|line| line.contains("\"user\":\"")).count();
        assert_eq!(by("user000?"), by("user0001"));
        assert_eq!((by("user*"), by("*"), by("{user0001,user9999}")), (all, all, all));
        assert!(by("user0001") < all && by("partner-*") == 0);
        // Ready to be looked for in lines that are not parsed, but for what only a pattern is.
        let needles = |pattern: &str| Query { user: user(pattern), ..Query::default() }.needles();
        assert_eq!((needles("user0001"), needles("user*")), (vec!["\"user0001\"".to_owned()], vec![]));
    }

    #[test]
    fn the_beginning_of_an_id_names_a_session() {
        let of = |text: &str| found(&Query { session: session_prefix(text).ok(), ..Query::default() }).len();
        assert_eq!(of("0049CD"), of("0049cd844c7536c06a89"));
        assert_eq!(of("0049ce"), 0);
        for wrong in ["", "004", "0049cd844c7536c06a890", "xyz0", "0049 "] {
            assert!(session_prefix(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn keys_are_found_with_and_without_the_name_of_the_hash() {
        let key = "BY3gNMHwTfjd4n2VuT4pTyLOk82zWZj4KEYEu7y4r/0";
        for text in
            [key.to_owned(), format!("SHA256:{key}"), format!("SHA256:{key}="), format!("SHA256:{}…", &key[..8])]
        {
            let query = Query { fingerprint: Fingerprint::parse(&text).ok(), ..Query::default() };
            let found = found(&query);
            assert_eq!(
                found.len(),
                GOLDEN.lines().filter(|line| line.contains(&format!("SHA256:{key}"))).count(),
                "{text}"
            );
            assert!(["AUTH_FAILURE", "USER_CHANGED", "CLOSE"].iter().all(|name| found.iter().any(|one| one == name)));
        }
    }

    #[test]
    fn a_person_is_found_in_every_event_of_a_session() {
        let by = |name: &str| found(&Query { identity: user(name), ..Query::default() });
        let sessions = GOLDEN.lines().filter(|line| line.contains("\"identity\":\"laptop\"")).count();
        assert_eq!(by("laptop").len(), sessions);
        assert!(by("laptop").iter().any(|name| name == "DELETE") && by("lapto").is_empty());
        assert_eq!((by("lap*"), by("LAPTOP*")), (by("laptop"), Vec::new()));
    }

    #[test]
    fn a_span_and_a_limit_end_the_search() {
        let at = |text: &str| Some(text.parse().unwrap());
        let span = Span { since: at("2026-07-31T08:15:47Z"), until: at("2026-07-31T08:15:49Z") };
        assert_eq!(found(&Query { span, ..Query::default() }), ["MKDIR", "RMDIR"]);
        let source = Source::Stream("x".into(), Box::new(Cursor::new(format!("no event\n{GOLDEN}"))));
        let mut trail = Trail::new(vec![source], Span::default(), None);
        let summary = Query::default().run(&mut trail, |_, _| ControlFlow::Break(())).unwrap();
        let place = Unreadable { name: "x".into(), line: 1, why: "not an event".into() };
        assert_eq!(place.to_string(), "x, line 1: not an event");
        assert_eq!(summary, Summary { found: 1, unreadable: 1, places: vec![place], ..Summary::default() });
    }

    /// As `audit verify` sees it: a kill leaves one line unfinished, and the start after it says so.
    #[test]
    fn a_line_that_a_kill_cut_off_is_no_damage() {
        let whole = GOLDEN.lines().next().unwrap();
        let half = &whole[..whole.len() / 2];
        let start =
            |clean| format!(r#"{{"activity-type":"CHECKPOINT","reason":"start","clean":{clean},"server":"edge-1"}}"#);
        let summary = |lines: &[&str], query: Query| {
            let source = Source::Stream("x".into(), Box::new(Cursor::new(lines.join("\n") + "\n")));
            let mut trail = Trail::new(vec![source], Span::default(), None);
            let summary = query.run(&mut trail, |_, _| ControlFlow::Continue(())).unwrap();
            (summary.unreadable, summary.cut, summary.cut_places.len())
        };
        let (killed, clean) = (start(false), start(true));
        let list = || Query { activities: vec!["LIST".into()], ..Query::default() };
        let queries: [fn() -> Query; 2] = [Query::default, list];
        for query in queries {
            assert_eq!(summary(&[whole, half, &killed, whole], query()), (0, 1, 1));
            assert_eq!(summary(&[whole, half, &half[..9], &killed], query()), (0, 2, 2));
            assert_eq!(summary(&[half, whole], query()), (0, 0, 0), "written again in the next file");
            assert_eq!(summary(&[half, &clean], query()), (1, 0, 0));
            assert_eq!(summary(&[half], query()), (1, 0, 0), "nothing says that it was killed");
            assert_eq!(summary(&[half, "no event", &killed], query()), (2, 0, 0));
            assert_eq!(summary(&[&half[1..], &killed], query()), (1, 0, 0), "no beginning of a line");
        }
        let of_user = Query { user: user("nobody"), ..Query::default() };
        assert_eq!(summary(&[whole, half, &killed], of_user), (0, 1, 1), "whatever is asked for");
    }

    #[test]
    fn what_is_no_event_is_named_whatever_is_asked_for() {
        let torn = GOLDEN.lines().next().unwrap();
        let lines = format!("{torn}\n[]\n{}\n\nx\n", &torn[..torn.len() / 2]);
        for query in [Query::default(), Query { user: user("nobody"), ..Query::default() }] {
            let source = Source::Stream("x".into(), Box::new(Cursor::new(lines.clone())));
            let mut trail = Trail::new(vec![source], Span::default(), None);
            let summary = query.run(&mut trail, |_, _| ControlFlow::Continue(())).unwrap();
            let places: Vec<u64> = summary.places.iter().map(|place| place.line).collect();
            assert_eq!((summary.unreadable, places), (4, vec![2, 3, 4, 5]));
        }
        let source = Source::Stream("x".into(), Box::new(Cursor::new("x\n".repeat(99))));
        let summary = Query::default()
            .run(&mut Trail::new(vec![source], Span::default(), None), |_, _| ControlFlow::Continue(()));
        let summary = summary.unwrap();
        assert_eq!((summary.unreadable, summary.places.len()), (99, NAMED));
    }
}
