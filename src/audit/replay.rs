//! One session of a trail, event by event, with the time since its first; the sessions at targets that came through it as well.

mod recording;
mod timeline;

use std::ops::ControlFlow;

use chrono::{DateTime, TimeDelta, Utc};

use super::read::{Event, ReadError, Trail};
use super::search::{Query, Summary};

pub use recording::{Format, Recording};

/// An event of a session.
#[derive(Debug)]
pub struct Step<'a> {
    /// The line as it is.
    pub line: &'a [u8],
    /// What it says.
    pub event: &'a Event,
    /// The time since the session's first event, in milliseconds; negative when the clock was set back.
    pub offset_ms: i64,
}

/// What is known of a session when all of it was read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Session {
    /// Its id.
    id: String,
    /// Its first event's time.
    pub began: Option<DateTime<Utc>>,
    /// Its last event's time.
    pub last: Option<DateTime<Utc>>,
    /// The server.
    pub server: String,
    /// The user who logged in, or who was last tried.
    pub user: String,
    /// Whether anybody logged in.
    pub is_logged_in: bool,
    /// The `reason` of its end; `None` when the sources do not hold its end.
    pub end: Option<String>,
    /// The administrator who ended it, if one did.
    pub ended_by: Option<String>,
    /// What else is said of its end.
    pub message: Option<String>,
    /// How many events.
    pub events: u64,
}

/// Hands each event of a session to `take`, in the order of the trail, until it breaks.
///
/// # Errors
/// A source that cannot be read.
pub fn replay(
    trail: &mut Trail,
    session: &str,
    mut take: impl FnMut(&Step<'_>) -> ControlFlow<()>,
) -> Result<(Session, Summary), ReadError> {
    let query = query(session);
    let mut found = Session::of(session);
    let summary = query.run(trail, |line, event| take(&found.step(line, event)))?;
    Ok((found, summary))
}

/// Which events a replay of a session has.
pub fn query(session: &str) -> Query {
    Query { session: Some(session.to_owned()), with_jumps: true, ..Query::default() }
}

impl Session {
    /// The session of this id, of which no event has come.
    pub fn of(id: &str) -> Session {
        Session { id: id.to_owned(), ..Session::default() }
    }

    /// Takes its next event.
    pub fn step<'a>(&mut self, line: &'a [u8], event: &'a Event) -> Step<'a> {
        let offset_ms = self.note(event).num_milliseconds();
        Step { line, event, offset_ms }
    }

    /// Takes an event; the time since the first.
    fn note(&mut self, event: &Event) -> TimeDelta {
        let time = event.time();
        self.began = self.began.or(time);
        self.last = time.or(self.last);
        self.events += 1;
        let server = event.text("server");
        if !server.is_empty() {
            server.clone_into(&mut self.server);
        }
        let elapsed = time.zip(self.began).map_or(TimeDelta::zero(), |(time, began)| time - began);
        if event.text("session-id") != self.id {
            return elapsed;
        }
        if !self.is_logged_in && !event.text("user").is_empty() {
            event.text("user").clone_into(&mut self.user);
        }
        match event.activity() {
            "CONNECTED" => self.is_logged_in = true,
            "DISCONNECTED" => {
                let text = |name| Some(event.text(name).to_owned()).filter(|text| !text.is_empty());
                self.end = Some(event.text("reason").to_owned());
                (self.ended_by, self.message) = (text("ended-by"), text("message"));
            }
            _ => {}
        }
        elapsed
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::io::Cursor;

    use super::*;
    use crate::audit::read::{Source, Span};

    #[test]
    fn a_session_is_told_from_its_first_event_to_its_end() {
        let line = |second: u32, rest: &str| {
            format!(
                "{{\"session-id\":\"a\",\"timestamp\":\"2026-07-31T08:00:{second:02}.500Z\",\"server\":\"edge-1\",{rest}}}\n"
            )
        };
        let lines = [
            line(1, r#""activity-type":"AUTH_FAILURE","user":"root""#),
            line(2, r#""activity-type":"CONNECTED","user":"alice""#),
            line(0, r#""activity-type":"LIST","user":"alice""#),
            r#"{"session-id":"b","activity-type":"LIST","message":"\"a\""}"#.to_owned() + "\n",
            line(9, r#""activity-type":"DISCONNECTED","user":"alice","reason":"client""#),
        ];
        let read = |lines: &[String]| {
            let source = Source::Stream("x".into(), Box::new(Cursor::new(lines.concat())));
            let mut offsets = Vec::new();
            let (session, _) = replay(&mut Trail::new(vec![source], Span::default(), None), "a", |step| {
                offsets.push(step.offset_ms);
                ControlFlow::Continue(())
            })
            .unwrap();
            (session, offsets)
        };
        let (session, offsets) = read(&lines);
        assert_eq!(offsets, [0, 1000, -1000, 8000]);
        assert_eq!((session.user.as_str(), session.server.as_str(), session.events), ("alice", "edge-1", 4));
        assert_eq!((session.end.as_deref(), session.is_logged_in), (Some("client"), true));
        let (session, _) = read(&lines[..1]);
        assert_eq!((session.end, session.is_logged_in, session.user.as_str()), (None, false, "root"));
        assert_eq!(read(&[]).0, Session::of("a"));
    }
}
