//! The sessions of a trail, a row each: who, when, from where, with which key, what was moved, and how it ended.

use std::collections::HashMap;

use chrono::{DateTime, SecondsFormat, Utc};
use serde::Serialize;

use super::read::Event;

/// Whether anybody got in.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Login {
    /// Somebody did: CONNECTED was read, or what only a session does.
    Succeeded,
    /// Attempts to log in failed, and none succeeded.
    Failed,
    /// No attempt was read.
    #[default]
    None,
}

/// What only somebody who is logged in does.
const OF_SESSIONS: [&str; 11] = [
    "CONNECTED",
    "OPEN",
    "CLOSE",
    "PARTIAL_CLOSE",
    "DELETE",
    "RENAME",
    "MKDIR",
    "RMDIR",
    "SETSTAT",
    "CREATE_SYMLINK",
    "LIST",
];

/// One session, as far as its events were read.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct SessionSummary {
    /// 20 hex digits.
    pub session_id: String,
    /// The server.
    pub server: String,
    /// The user who logged in, or who was last tried.
    pub user: String,
    /// The person behind the user's name, as far as anybody says; otherwise empty.
    pub identity: String,
    /// Whether CONNECTED was read.
    pub logged_in: bool,
    /// Whether it is a session, or a connection whose attempts to log in failed.
    pub login: Login,
    /// The fingerprint of the key that was proven, of a certificate its authority's; empty after a password alone.
    pub key: String,
    /// The client's address.
    pub source_ip: String,
    /// The client's version line.
    pub client: String,
    /// The time of the first event.
    #[serde(serialize_with = "as_text")]
    pub began: Option<DateTime<Utc>>,
    /// The time of the last event.
    #[serde(serialize_with = "as_text")]
    pub last: Option<DateTime<Utc>>,
    /// Whole uploads; a file that was opened to be written and closed unchanged is none.
    pub files_in: u64,
    /// Whole downloads.
    pub files_out: u64,
    /// Bytes of files received.
    pub bytes_in: u64,
    /// Bytes of files sent.
    pub bytes_out: u64,
    /// The `reason` of DISCONNECTED; `None` when that was not read.
    pub reason: Option<String>,
    /// The administrator who ended it, if one did.
    pub ended_by: Option<String>,
    /// What else DISCONNECTED says.
    pub message: Option<String>,
}

fn as_text<S: serde::Serializer>(time: &Option<DateTime<Utc>>, serializer: S) -> Result<S::Ok, S::Error> {
    time.map(|time| time.to_rfc3339_opts(SecondsFormat::Millis, true)).serialize(serializer)
}

impl SessionSummary {
    /// How long it lasted, or has lasted up to its last event, in milliseconds.
    pub fn length_ms(&self) -> u64 {
        let length = self.last.zip(self.began).map_or(0, |(last, began)| (last - began).num_milliseconds());
        u64::try_from(length).unwrap_or(0)
    }

    fn note(&mut self, event: &Event) {
        let time = event.time();
        self.began = self.began.min(time).or(self.began).or(time);
        self.last = self.last.max(time);
        for (kept, name) in [
            (&mut self.server, "server"),
            (&mut self.source_ip, "source-ip"),
            (&mut self.client, "client"),
            (&mut self.identity, "identity"),
        ] {
            if !event.text(name).is_empty() {
                event.text(name).clone_into(kept);
            }
        }
        if !self.logged_in && !event.text("user").is_empty() {
            event.text("user").clone_into(&mut self.user);
        }
        match event.activity() {
            name if OF_SESSIONS.contains(&name) => self.login = Login::Succeeded,
            "AUTH_FAILURE" if self.login == Login::None => self.login = Login::Failed,
            _ => {}
        }
        match event.activity() {
            "CONNECTED" => {
                self.logged_in = true;
                let keys =
                    ["ssh-certificate-ca-fingerprint", "ssh-public-key-fingerprint"].map(|name| event.text(name));
                self.key = keys.into_iter().find(|key| !key.is_empty()).unwrap_or_default().to_owned();
            }
            "CLOSE" | "PARTIAL_CLOSE" => self.count(event),
            "DISCONNECTED" => {
                let text = |name| Some(event.text(name).to_owned()).filter(|text| !text.is_empty());
                self.reason = Some(event.text("reason").to_owned());
                (self.ended_by, self.message) = (text("ended-by"), text("message"));
                // It sums up what may lie before what was read.
                for (kept, name) in [
                    (&mut self.bytes_in, "bytes-in"),
                    (&mut self.bytes_out, "bytes-out"),
                    (&mut self.files_in, "files-in"),
                    (&mut self.files_out, "files-out"),
                ] {
                    *kept = event.number(name).unwrap_or(*kept);
                }
                if self.files_in + self.files_out > 0 {
                    self.login = Login::Succeeded;
                }
            }
            _ => {}
        }
    }

    fn count(&mut self, event: &Event) {
        let number = |name| event.number(name).unwrap_or(0);
        self.bytes_in = self.bytes_in.saturating_add(number("bytes-in"));
        self.bytes_out = self.bytes_out.saturating_add(number("bytes-out"));
        // One that was only opened and closed transferred nothing.
        let is_whole = event.activity() == "CLOSE" && event.truth("unchanged") != Some(true);
        match event.text("operation") {
            "write" if is_whole => self.files_in += 1,
            "read" if is_whole => self.files_out += 1,
            _ => {}
        }
    }
}

/// Sessions that are being collected, in the order of their first events. Memory grows with their number, some hundred bytes each.
#[derive(Debug, Default)]
pub struct Sessions {
    all: Vec<SessionSummary>,
    by_id: HashMap<String, usize>,
}

impl Sessions {
    /// Takes the next event; those of no session are passed over.
    pub fn note(&mut self, event: &Event) {
        let id = event.text("session-id");
        if id.is_empty() {
            return;
        }
        let place = match self.by_id.get(id) {
            Some(place) => *place,
            None => {
                self.all.push(SessionSummary { session_id: id.to_owned(), ..SessionSummary::default() });
                self.by_id.insert(id.to_owned(), self.all.len() - 1);
                self.all.len() - 1
            }
        };
        if let Some(session) = self.all.get_mut(place) {
            session.note(event);
        }
    }

    /// All of them.
    pub fn into_all(self) -> Vec<SessionSummary> {
        self.all
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn sessions(lines: &[&str]) -> Vec<SessionSummary> {
        let mut sessions = Sessions::default();
        lines.iter().for_each(|line| sessions.note(&Event::parse(line.as_bytes()).unwrap()));
        sessions.into_all()
    }

    const LINES: [&str; 6] = [
        r#"{"session-id":"a","activity-type":"AUTH_FAILURE","user":"root","timestamp":"2026-07-31T08:00:00.000Z"}"#,
        r#"{"activity-type":"CHECKPOINT","timestamp":"2026-07-31T08:00:00.000Z"}"#,
        r#"{"session-id":"a","activity-type":"CONNECTED","user":"ann","client":"SSH-2.0-x","source-ip":"192.0.2.1","ssh-public-key-fingerprint":"SHA256:k","timestamp":"2026-07-31T08:00:01.000Z"}"#,
        r#"{"session-id":"b","activity-type":"AUTH_FAILURE","user":"eve","timestamp":"2026-07-31T08:00:01.500Z"}"#,
        r#"{"session-id":"a","activity-type":"CLOSE","user":"ann","operation":"write","bytes-in":"7","timestamp":"2026-07-31T08:00:02.000Z"}"#,
        r#"{"session-id":"a","activity-type":"PARTIAL_CLOSE","user":"ann","operation":"write","bytes-in":"5","timestamp":"2026-07-31T08:00:03.250Z"}"#,
    ];

    #[test]
    fn a_session_is_what_its_events_come_to() {
        let all = sessions(&LINES);
        assert_eq!(all.len(), 2);
        let ann = &all[0];
        assert_eq!((ann.user.as_str(), ann.logged_in, ann.key.as_str()), ("ann", true, "SHA256:k"));
        assert_eq!((ann.files_in, ann.bytes_in, ann.files_out, ann.length_ms()), (1, 12, 0, 3250));
        assert_eq!((ann.source_ip.as_str(), &ann.ended_by), ("192.0.2.1", &None));
        assert_eq!(ann.reason, None);
        assert_eq!((all[1].user.as_str(), all[1].logged_in), ("eve", false));
        // A failed attempt before the right one is no failed login.
        assert_eq!((ann.login, all[1].login), (Login::Succeeded, Login::Failed));
    }

    #[test]
    fn what_was_cut_off_or_left_as_it_was_is_no_whole_file() {
        let read = LINES[4].replace("write", "read").replace("bytes-in", "bytes-out");
        let cut = read.replace("CLOSE", "PARTIAL_CLOSE");
        let unchanged = LINES[4].replace("\"bytes-in\":\"7\"", "\"bytes-in\":\"0\",\"unchanged\":true");
        let all = sessions(&[LINES[4], &read, &cut, &unchanged]);
        assert_eq!((all[0].files_in, all[0].files_out, all[0].bytes_out), (1, 1, 14));
    }

    #[test]
    fn its_end_sums_up_what_was_not_read() {
        let end = r#"{"session-id":"a","activity-type":"DISCONNECTED","user":"ann","reason":"idle","bytes-in":"100","bytes-out":"50","files-in":9,"files-out":2,"timestamp":"2026-07-31T08:01:00.000Z"}"#;
        let all = sessions(&[LINES[4], end]);
        assert_eq!((all[0].files_in, all[0].bytes_in, all[0].files_out, all[0].bytes_out), (9, 100, 2, 50));
        assert_eq!((all[0].reason.as_deref(), &all[0].ended_by), (Some("idle"), &None));
        assert_eq!((all[0].login, all[0].logged_in), (Login::Succeeded, false), "its login was before what was read");
        let scan = r#"{"session-id":"c","activity-type":"DISCONNECTED","reason":"client","files-in":0,"files-out":0}"#;
        assert_eq!(sessions(&[scan])[0].login, Login::None);
        let json = serde_json::to_value(&all[0]).unwrap();
        assert_eq!((&json["session-id"], &json["began"]), (&"a".into(), &"2026-07-31T08:00:02.000Z".into()));
        let by = r#"{"session-id":"a","activity-type":"DISCONNECTED","reason":"administrator","ended-by":"night-shift","message":"stolen"}"#;
        let json = serde_json::to_value(&sessions(&[by])[0]).unwrap();
        assert_eq!(
            ["reason", "ended-by", "message"].map(|name| &json[name]),
            ["administrator", "night-shift", "stolen"]
        );
    }
}
