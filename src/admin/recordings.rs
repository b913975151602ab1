//! One session of the trail, from its first event to its last or to now.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use axum::Extension;
use axum::extract::{Path, State as Shared};
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use utoipa::IntoParams;

use super::prefix::{self, Meant};
use super::problem::{Asked, Problem};
use super::reads::{Waiting, What};
use super::state::State;
use super::trail::{self, LOOKED_FOR as LOOKED_FOR_ID};
use crate::audit::read::Event;
use crate::audit::read::newest::{GivenUp, Newest, Page, Reader, id_of};
use crate::audit::read::within::milliseconds;
use crate::audit::replay::{self, Format, Recording, Session};
use crate::audit::search::{Judge, Query};

/// The most events of one answer, and the most bytes of them.
const MOST: usize = 100_000;
const MOST_BYTES: usize = 64 << 20;

/// How long one answer may look for the session.
const LOOKED_FOR: Duration = Duration::from_secs(40);

/// How long before its login a session may have begun, in milliseconds: longer than `limits.login_grace` can be, which is ten minutes.
const LOGIN_MS: u64 = 11 * 60 * 1000;

/// How much longer a session may seem than it was, in milliseconds: `duration-ms` does not know that the clock was set meanwhile, and ids do.
const CLOCK_MS: u64 = 60 * 60 * 1000;

/// As what.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct As {
    /// `json` (the default), `text` (a timeline) or `asciicast` (version 2, for asciinema)
    format: Option<String>,
}

/// One session, event by event; a live one as far as it is
#[utoipa::path(get, path = "/recordings/{session}", tag = "events", params(As, ("session" = String, Path, description = "The session's id, 20 hex digits, or at least its first eight if they are of one session in what a search of five seconds reads")), responses(
    (status = 200, description = "The session", content((String = "application/json"), (String = "text/plain"), (String = "application/x-asciicast"))),
    (status = 400, description = "A wrong parameter", body = Problem, content_type = "application/problem+json"),
    (status = 404, description = "The trail contains no event of this session", body = Problem, content_type = "application/problem+json"),
    (status = 409, description = "No sink keeps the whole trail in a file of this machine, the session is too large for one answer or its beginning was not reached in time, or several sessions begin so", body = Problem, content_type = "application/problem+json"),
))]
pub(super) async fn show(
    Shared(state): Shared<Arc<State>>,
    Extension(waiting): Extension<Waiting>,
    Path(given): Path<String>,
    Asked(asked): Asked<As>,
) -> Result<Response, Problem> {
    let (format, content_type) = match asked.format.as_deref() {
        None | Some("json") => (Format::Json, "application/json"),
        Some("text") => (Format::Text, "text/plain; charset=utf-8"),
        Some("asciicast") => (Format::Asciicast, "application/x-asciicast"),
        Some(_) => return Err(Problem::wrong("format is json, text or asciicast")),
    };
    let asked = match prefix::read(&given) {
        prefix::Given::Other => {
            return Err(Problem::wrong("a session's id has 20 hex digits, of which the first 8 or more will do"));
        }
        asked => asked,
    };
    let page = Page { most_bytes: MOST_BYTES, ..Page::newest(MOST, LOOKED_FOR) };
    let (path, registry) = (trail::path(&state)?, state.around.registry.clone());
    // One read of both: a caller's turn is over when a read ends.
    let read = move |given_up: GivenUp| {
        let session = match asked {
            prefix::Given::Beginning(beginning) => begins_with(&path, &beginning, given_up.clone())?,
            prefix::Given::Whole(id) => id,
            prefix::Given::Other => String::new(),
        };
        let is_live = registry.look(&session, 0).is_some();
        let seeker = Seeker { session: session.clone(), judge: replay::query(&session).judge(), began_ms: None };
        let found = trail::seek(&path, page, given_up, seeker)?;
        let is_all = is_live || found.next.is_none();
        Ok((written(&found, &session, format)?, is_all, session))
    };
    let room = state.reads.room(&waiting, MOST_BYTES).await?;
    let (written, is_all, session) = state.reads.read(&waiting, What::Session, read).await?;
    let Some(text) = written else {
        let what = match is_all {
            true => format!("the trail contains no event of the session {session}"),
            false => format!(
                "the newest part of the trail contains no event of the session {session}; run `lockgate audit replay {session}` to read all of it"
            ),
        };
        return Err(Problem::not_found(what));
    };
    let meant = Meant { given, id: session };
    Ok((Extension(meant), [(CONTENT_TYPE, content_type)], room.answer(text).await?).into_response())
}

/// The one session that begins so, of those that the trail holds, as far back as a search for it may look.
fn begins_with(path: &std::path::Path, beginning: &str, given_up: GivenUp) -> Result<String, Problem> {
    let query = Query { session: Some(beginning.to_owned()), ..Query::default() };
    let ids = Ids { judge: query.judge(), seen: BTreeSet::new() };
    let found = trail::seek(path, Page::newest(prefix::NAMED + 1, LOOKED_FOR_ID), given_up, ids)?;
    prefix::only_one(beginning, found.found)?.ok_or_else(|| {
        let what = format!("no event of a session {beginning}… was found; the whole id may be found further back");
        Problem::not_found(what)
    })
}

/// Takes each session's id once.
struct Ids {
    judge: Judge,
    seen: BTreeSet<String>,
}

impl Reader for Ids {
    type Taken = String;

    fn take(&mut self, line: &[u8]) -> Option<String> {
        let id = self.judge.fits(line)?.text("session-id").to_owned();
        self.seen.insert(id.clone()).then_some(id)
    }
}

/// The session in its form, unless it is too large or its beginning is missing; `None` when there are no lines.
fn written(found: &Newest<Vec<u8>>, session: &str, format: Format) -> Result<Option<Vec<u8>>, Problem> {
    let lines = &found.found;
    if lines.len() == MOST || lines.iter().map(Vec::len).sum::<usize>() >= MOST_BYTES {
        let what = format!("the session has more events than one answer holds; run `lockgate audit replay {session}`");
        return Err(Problem::new(StatusCode::CONFLICT, what));
    }
    // A part of a session would show a wrong beginning, and perhaps that nobody logged in.
    if !lines.is_empty() && found.next.is_some() {
        let what = format!(
            "the search ended after {} s, before it reached the beginning of the session {session}; run `lockgate audit replay {session}` to read \
             the whole trail",
            LOOKED_FOR.as_secs()
        );
        return Err(Problem::new(StatusCode::CONFLICT, what));
    }
    let written = write(lines, session, format);
    written.map_err(|error| Problem::new(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()))
}

/// Writes lines that came newest first; `None` when there are none.
fn write(lines: &[Vec<u8>], id: &str, format: Format) -> std::io::Result<Option<Vec<u8>>> {
    let (mut out, mut session) = (Vec::new(), Session::of(id));
    let mut recording = Recording::new(&mut out, id, format);
    for line in lines.iter().rev() {
        if let Some(event) = Event::parse(line) {
            recording.step(&session.step(line, &event))?;
        }
    }
    if session.events == 0 {
        return Ok(None);
    }
    recording.end(&session)?;
    Ok(Some(out))
}

/// Takes the lines of one session, and knows when there are no more of them further back.
struct Seeker {
    session: String,
    judge: Judge,
    /// Before this time the session had not begun, in milliseconds since 1970; as far as it is known.
    began_ms: Option<u64>,
}

impl Reader for Seeker {
    type Taken = Vec<u8>;

    fn take(&mut self, line: &[u8]) -> Option<Vec<u8>> {
        let event = self.judge.fits(line)?;
        let now = id_of(line).and_then(milliseconds);
        let before = match event.activity() {
            "CONNECTED" | "AUTH_FAILURE" | "KEX_FAILURE" => Some(LOGIN_MS),
            "DISCONNECTED" => event.number("duration-ms").map(|lasted| lasted.saturating_add(CLOCK_MS)),
            _ => None,
        };
        // Those that came through it began later.
        let before = before.filter(|_| event.text("session-id") == self.session);
        if let (Some(now), Some(before)) = (now, before) {
            let began = now.saturating_sub(before);
            self.began_ms = Some(self.began_ms.map_or(began, |known| known.max(began)));
        }
        Some(line.to_vec())
    }

    fn has_enough(&self, id: &str) -> bool {
        self.began_ms.zip(milliseconds(id)).is_some_and(|(began, now)| now < began)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_session_is_sought_no_further_back_than_it_can_have_begun() {
        let judge = replay::query("a").judge();
        let mut seeker = Seeker { session: "a".into(), judge, began_ms: None };
        let id = |ms: u64| format!("{:08x}-{:04x}-7b3d-8f21-000000000000", ms >> 16, ms & 0xffff);
        let line = |ms, activity: &str, rest: &str| {
            format!(r#"{{"event-id":"{}","session-id":"a","activity-type":"{activity}"{rest}}}"#, id(ms)).into_bytes()
        };
        let hour = CLOCK_MS;
        assert!(!seeker.has_enough(&id(1)));
        seeker.take(&line(100 * hour, "DISCONNECTED", r#","duration-ms":7200000"#)).unwrap();
        assert!(!seeker.has_enough(&id(97 * hour)) && seeker.has_enough(&id(97 * hour - 1)));
        // An attempt to log in is of the session's first minutes.
        let began = 98 * hour - LOGIN_MS;
        seeker.take(&line(98 * hour, "CONNECTED", "")).unwrap();
        assert!(seeker.has_enough(&id(began - 1)) && !seeker.has_enough(&id(began)));
        assert!(seeker.take(br#"{"session-id":"b"}"#).is_none());
        // A session at a target, which came through it.
        let inner = line(98 * hour, "CONNECTED", r#","jump-session-id":"a""#);
        let inner =
            String::from_utf8(inner).unwrap().replace(r#""session-id":"a","activity"#, r#""session-id":"c","activity"#);
        assert!(seeker.take(inner.replace("98", "99").as_bytes()).is_some());
        assert!(seeker.has_enough(&id(began - 1)) && !seeker.has_enough(&id(began)));
        let mut failed = Seeker { session: "a".into(), judge: replay::query("a").judge(), began_ms: None };
        failed.take(&line(98 * hour, "AUTH_FAILURE", "")).unwrap();
        assert!(failed.has_enough(&id(began - 1)) && !failed.has_enough(&id(began)));
    }

    /// The end of a session is not the session.
    #[test]
    fn a_recording_whose_beginning_was_not_reached_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("e");
        let id = |minute: u64| format!("0000{minute:04x}-0000-7b3d-8f21-000000000000");
        let line = |minute, activity: &str| {
            format!(
                "{{\"event-id\":\"{}\",\"session-id\":\"a\",\"user\":\"ann\",\"activity-type\":\"{activity}\",\"duration-ms\":600000}}\n",
                id(minute)
            )
        };
        let others = (0..500).map(|minute| line(minute, "LIST").replace("\"a\"", "\"b\"")).collect::<String>();
        let own = [line(501, "CONNECTED"), line(505, "LIST"), line(511, "DISCONNECTED")].concat();
        std::fs::write(&path, others + &own).unwrap();
        let look = |most: usize| {
            let seeker = Seeker { session: "a".into(), judge: replay::query("a").judge(), began_ms: None };
            let page = Page { limit: most, ..Page::newest(MOST, LOOKED_FOR) };
            trail::seek(&path, page, GivenUp::default(), seeker).unwrap()
        };
        // The whole of it, though the trail goes on further back.
        let whole = look(100);
        assert_eq!((whole.found.len(), &whole.next), (3, &None));
        let text = String::from_utf8(written(&whole, "a", Format::Json).unwrap().unwrap()).unwrap();
        assert!(text.contains("\"logged-in\":true"), "{text}");
        // As when the time was over.
        let cut = look(2);
        assert_eq!((cut.found.len(), cut.next.is_some()), (2, true));
        let refused = written(&cut, "a", Format::Json).unwrap_err();
        assert_eq!(refused.status(), 409);
        let said = refused.sentence();
        assert!(said.contains("beginning") && said.contains("lockgate audit replay a"), "{said}");
        assert!(written(&Newest { next: cut.next, ..Newest::default() }, "a", Format::Json).unwrap().is_none());
    }
}
