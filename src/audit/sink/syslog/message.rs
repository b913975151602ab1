//! One event as one message of RFC 5424: the line is the message, unchanged; the header repeats what a server sorts by.

use std::io;

use super::connection::Connection;
use crate::audit::outcome::status_of;
use crate::audit::sink::heading::{Heading, lines};
use crate::audit::sink::settings::{Framing, SyslogTarget};

/// The longest words of RFC 5424's header.
const MAX_HOSTNAME: usize = 255;
const MAX_MSGID: usize = 32;

/// Makes messages.
#[derive(Debug)]
pub(super) struct Messages {
    facility: u8,
    /// HOSTNAME
    host: String,
    /// APP-NAME and PROCID
    source: String,
}

impl Messages {
    /// Messages of this process.
    pub(super) fn new(target: &SyslogTarget, server: &str) -> Self {
        let source = format!("{} {}", word(Some(&target.app_name), 48), std::process::id());
        Messages { facility: target.facility, host: word(Some(server), MAX_HOSTNAME).to_owned(), source }
    }

    /// Sends each line as a message.
    pub(super) fn send(&self, batch: &[u8], framing: Framing, to: &mut Connection) -> io::Result<()> {
        if to.keeps_messages_apart() {
            return lines(batch).try_for_each(|line| to.send(&self.message(line)));
        }
        let framing = to.framing().unwrap_or(framing);
        let mut stream = Vec::with_capacity(batch.len() * 2);
        for line in lines(batch) {
            let message = self.message(line);
            if framing == Framing::OctetCounting {
                stream.extend_from_slice(format!("{} ", message.len()).as_bytes());
            }
            stream.extend_from_slice(&message);
            if framing == Framing::Newline {
                stream.push(b'\n');
            }
        }
        to.send(&stream)
    }

    /// `<PRI>1 TIMESTAMP HOSTNAME APP-NAME PROCID MSGID - MSG`
    pub(super) fn message(&self, line: &[u8]) -> Vec<u8> {
        let heading = Heading::of(line);
        let priority = u32::from(self.facility) * 8 + severity(&heading);
        let time = word(heading.timestamp.as_deref().filter(|time| is_time(time)), 32);
        let kind = word(heading.activity.as_deref(), MAX_MSGID);
        let mut message = format!("<{priority}>1 {time} {} {} {kind} - ", self.host, self.source).into_bytes();
        message.extend_from_slice(line);
        message
    }
}

/// RFC 5424's severity: error, warning, notice or informational.
fn severity(heading: &Heading) -> u32 {
    let activity = heading.activity.as_deref().unwrap_or_default();
    if matches!(activity, "ERROR" | "EXIT_REASON" | "FLEET_ALONE") {
        return 3;
    }
    match heading.status.as_deref().or_else(|| status_of(activity)) {
        Some("failure") => 4,
        Some("denied") => 5,
        _ => 6,
    }
}

/// A word of the header: printable ASCII, or `-` for what is not known or cannot stand there.
fn word(text: Option<&str>, most: usize) -> &str {
    let fits = |text: &&str| !text.is_empty() && text.len() <= most && text.bytes().all(|byte| byte.is_ascii_graphic());
    text.filter(fits).unwrap_or("-")
}

/// Whether a time has the form of RFC 5424's TIMESTAMP.
fn is_time(text: &str) -> bool {
    chrono::DateTime::parse_from_rfc3339(text).is_ok() && text.contains('T')
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::audit::sink::settings::SyslogAddress;

    fn messages() -> Messages {
        let target = SyslogTarget {
            address: SyslogAddress::Unix("/dev/log".into()),
            framing: Framing::OctetCounting,
            facility: 10,
            app_name: "lockgate".into(),
            timeout: std::time::Duration::from_secs(1),
        };
        Messages::new(&target, "edge-1")
    }

    #[test]
    fn the_line_is_the_message() {
        let line = r#"{"activity-type":"OPEN","timestamp":"2026-07-31T08:15:38.042Z","status":"success","x":"é"}"#;
        let message = String::from_utf8(messages().message(line.as_bytes())).unwrap();
        let process = std::process::id();
        assert_eq!(message, format!("<86>1 2026-07-31T08:15:38.042Z edge-1 lockgate {process} OPEN - {line}"));
    }

    #[test]
    fn severity_follows_from_how_it_went() {
        for (line, priority) in [
            (r#"{"activity-type":"OPEN","status":"denied"}"#, "<85>"),
            (r#"{"activity-type":"OPEN","status":"failure"}"#, "<84>"),
            (r#"{"activity-type":"AUTH_FAILURE"}"#, "<84>"),
            (r#"{"activity-type":"ERROR"}"#, "<83>"),
            (r#"{"activity-type":"DISCONNECTED"}"#, "<86>"),
            ("no JSON", "<86>"),
        ] {
            let message = messages().message(line.as_bytes());
            assert!(message.starts_with(priority.as_bytes()), "{line}");
            assert!(message.ends_with(line.as_bytes()));
        }
    }

    #[test]
    fn nothing_of_an_event_can_break_the_header() {
        let line = r#"{"activity-type":"A B\n<1>1 x","timestamp":"yesterday at - noon"}"#;
        let message = String::from_utf8(messages().message(line.as_bytes())).unwrap();
        assert!(message.starts_with("<86>1 - edge-1 lockgate "), "{message}");
        assert_eq!(message.split(' ').nth(5), Some("-"), "{message}");
    }
}
