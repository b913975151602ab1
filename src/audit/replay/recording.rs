//! A session written down as a whole: for people, for programs, and for players of terminal recordings.

use std::io::{self, Write};

use serde_json::json;

use super::timeline::{write_end, write_head, write_step};
use super::{Session, Step};

/// How a session is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// A timeline, a line for each event.
    Text,
    /// One JSON object: the events with their offsets, and what they come to.
    Json,
    /// The timeline as asciicast v2, which asciinema plays with the session's own pauses.
    Asciicast,
}

/// The size of the terminal in an asciicast, in characters.
const TERMINAL: (u16, u16) = (120, 40);

/// A session that is being written.
#[derive(Debug)]
pub struct Recording<'a, W> {
    out: W,
    session: &'a str,
    format: Format,
    is_begun: bool,
    /// The time in the asciicast so far, in milliseconds: it never goes back.
    played_ms: i64,
}

impl<'a, W: Write> Recording<'a, W> {
    /// Of the session of this id.
    pub fn new(out: W, session: &'a str, format: Format) -> Self {
        Recording { out, session, format, is_begun: false, played_ms: 0 }
    }

    /// Writes an event.
    ///
    /// # Errors
    /// The writer's.
    pub fn step(&mut self, step: &Step<'_>) -> io::Result<()> {
        let is_first = !std::mem::replace(&mut self.is_begun, true);
        match self.format {
            Format::Text => {
                if is_first {
                    write_head(&mut self.out, self.session, step.event)?;
                }
                write_step(&mut self.out, step)
            }
            Format::Json => {
                match is_first {
                    true => write!(self.out, "{{\"session\":\"{}\",\"events\":[", self.session)?,
                    false => write!(self.out, ",")?,
                }
                write!(self.out, "\n{{\"offset-ms\":{},\"event\":", step.offset_ms)?;
                self.out.write_all(step.line)?;
                write!(self.out, "}}")
            }
            Format::Asciicast => {
                let mut text = Vec::new();
                if is_first {
                    self.write_cast_head(step)?;
                    write_head(&mut text, self.session, step.event)?;
                }
                write_step(&mut text, step)?;
                self.played_ms = self.played_ms.max(step.offset_ms);
                self.show(&text)
            }
        }
    }

    /// Writes what the session came to. To be called after at least one event.
    ///
    /// # Errors
    /// The writer's.
    pub fn end(mut self, session: &Session) -> io::Result<()> {
        match self.format {
            Format::Text => write_end(&mut self.out, session)?,
            Format::Json => writeln!(self.out, "\n],\"summary\":{}}}", summary(session))?,
            Format::Asciicast => {
                let mut text = Vec::new();
                write_end(&mut text, session)?;
                self.show(&text)?;
            }
        }
        self.out.flush()
    }

    fn write_cast_head(&mut self, step: &Step<'_>) -> io::Result<()> {
        let event = step.event;
        let title = match event.text("user") {
            "" => format!("session {}", self.session),
            user => format!("{user}, session {}", self.session),
        };
        let head = json!({
            "version": 2,
            "width": TERMINAL.0,
            "height": TERMINAL.1,
            "timestamp": event.time().map_or(0, |time| time.timestamp()),
            "title": title,
            "env": {},
        });
        writeln!(self.out, "{head}")
    }

    /// What the terminal shows now.
    fn show(&mut self, text: &[u8]) -> io::Result<()> {
        let text = String::from_utf8_lossy(text).replace('\n', "\r\n");
        let seconds = format!("{}.{:03}", self.played_ms / 1000, self.played_ms % 1000);
        writeln!(self.out, "[{seconds}, \"o\", {}]", json!(text))
    }
}

fn summary(session: &Session) -> serde_json::Value {
    let time = |time: Option<chrono::DateTime<chrono::Utc>>| {
        time.map(|time| time.to_rfc3339_opts(chrono::SecondsFormat::Millis, true))
    };
    json!({
        "server": session.server,
        "user": session.user,
        "logged-in": session.is_logged_in,
        "began": time(session.began),
        "last": time(session.last),
        "reason": session.end,
        "ended-by": session.ended_by,
        "message": session.message,
        "event-count": session.events,
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::audit::read::Event;

    fn written(format: Format) -> String {
        written_with(format, r#""reason":"client""#)
    }

    /// A session that ended so.
    fn written_with(format: Format, end: &str) -> String {
        let end = format!(
            r#"{{"session-id":"a","timestamp":"2026-07-31T08:00:04.750Z","activity-type":"DISCONNECTED","user":"ann",{end}}}"#
        );
        let lines = [
            r#"{"session-id":"a","timestamp":"2026-07-31T08:00:01.500Z","server":"edge-1","activity-type":"CONNECTED","user":"ann","source-ip":"192.0.2.1"}"#,
            r#"{"session-id":"a","timestamp":"2026-07-31T08:00:00.000Z","activity-type":"MKDIR","user":"ann","logical-path":"/\u001b[31mred"}"#,
            &end,
        ];
        let (mut out, mut session) = (Vec::new(), Session::of("a"));
        let mut recording = Recording::new(&mut out, "a", format);
        for line in lines {
            let event = Event::parse(line.as_bytes()).unwrap();
            let step = session.step(line.as_bytes(), &event);
            recording.step(&step).unwrap();
        }
        recording.end(&session).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn an_asciicast_shows_the_timeline_with_its_pauses_and_nothing_that_a_terminal_obeys() {
        let cast = written(Format::Asciicast);
        let lines: Vec<serde_json::Value> = cast.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!((&lines[0]["version"], &lines[0]["timestamp"]), (&json!(2), &json!(1_785_484_801)));
        assert_eq!(lines[0]["title"], "ann, session a");
        let times: Vec<f64> = lines[1..].iter().map(|line| line[0].as_f64().unwrap()).collect();
        assert_eq!(times, [0.0, 0.0, 3.25, 3.25], "a clock that was set back does not turn the cast back");
        let shown: String = lines[1..].iter().map(|line| line[2].as_str().unwrap()).collect();
        assert!(!shown.contains('\u{1b}') && shown.contains(r"\u{1b}[31mred"), "{shown:?}");
        assert_eq!(shown.replace("\r\n", "\n"), written(Format::Text));
        assert!(!shown.replace("\r\n", "").contains('\n'));
    }

    #[test]
    fn json_holds_each_line_as_it_is_and_what_they_come_to() {
        let json: serde_json::Value = serde_json::from_str(&written(Format::Json)).unwrap();
        assert_eq!(json["events"][2]["offset-ms"], 3250);
        assert_eq!(json["events"][0]["event"]["source-ip"], "192.0.2.1");
        let summary = &json["summary"];
        assert_eq!((&summary["event-count"], &summary["reason"]), (&json!(3), &json!("client")));
        assert!(summary["ended-by"].is_null() && summary["message"].is_null(), "{summary}");
    }

    #[test]
    fn a_session_that_a_person_ended_names_the_person() {
        let end = r#""reason":"administrator","ended-by":"night-shift","message":"key reported stolen""#;
        let text = written_with(Format::Text, end);
        assert!(text.contains("DISCONNECTED    administrator by night-shift (key reported stolen)\n"), "{text}");
        assert!(text.ends_with("ended     by: administrator night-shift (key reported stolen)\n"), "{text}");
        assert!(written_with(Format::Asciicast, end).contains("by: administrator night-shift (key"));
        let json: serde_json::Value = serde_json::from_str(&written_with(Format::Json, end)).unwrap();
        let of_end = ["reason", "ended-by", "message"].map(|name| &json["summary"][name]);
        assert_eq!(of_end, ["administrator", "night-shift", "key reported stolen"]);
    }
}
