//! A session as a person reads it: a line for each event, with the time since the first.

use std::io::{self, Write};

use super::{Session, Step};
use crate::audit::read::{Event, shown};

/// Whose session it is.
pub(super) fn write_head(out: &mut impl Write, session: &str, event: &Event) -> io::Result<()> {
    let port = event.number("source-port").map(|port| format!(", port {port}")).unwrap_or_default();
    writeln!(out, "session   {session} on {}", shown(event.text("server")))?;
    writeln!(out, "from      {}{port}", shown(event.text("source-ip")))?;
    writeln!(out, "began     {}", shown(event.text("timestamp")))
}

/// One event.
pub(super) fn write_step(out: &mut impl Write, step: &Step<'_>) -> io::Result<()> {
    let (event, offset) = (step.event, seconds(step.offset_ms));
    let mut facts = Vec::new();
    let mut fact = |text: String| facts.push(text);
    if !event.text("jump-session-id").is_empty() {
        fact(format!("at {}", [event.text("target"), event.text("account")].join(" as ").trim_end_matches(" as ")));
    }
    let status = event.text("status");
    if !status.is_empty() {
        fact(status.to_owned());
    }
    if let Some(milliseconds) = event.number("duration-ms") {
        fact(if event.activity() == "DISCONNECTED" {
            format!("after {} s", seconds(i64::try_from(milliseconds).unwrap_or(i64::MAX)))
        } else {
            format!("{milliseconds} ms")
        });
    }
    for (name, word) in
        [("bytes-in", "bytes in"), ("bytes-out", "bytes out"), ("files-in", "files in"), ("files-out", "files out")]
    {
        if let Some(number) = event.number(name) {
            fact(format!("{number} {word}"));
        }
    }
    for name in ["sha256", "etag"] {
        if !event.text(name).is_empty() {
            fact(format!("{name} {}", event.text(name)));
        }
    }
    let facts = if facts.is_empty() { String::new() } else { format!("; {}", facts.join(", ")) };
    writeln!(
        out,
        "{:>11}  {:<15} {}{}",
        format!("+{offset}").replace("+-", "-"),
        shown(event.activity()),
        shown(&subject(event)),
        shown(&facts)
    )?;
    if matches!(event.activity(), "CONNECTED" | "AUTH_FAILURE") { write_login(out, event) } else { Ok(()) }
}

/// Who, with which key and what was negotiated.
fn write_login(out: &mut impl Write, event: &Event) -> io::Result<()> {
    let mut line = |name: &str, parts: &[(&str, &str, &str)]| {
        let told: Vec<String> = parts
            .iter()
            .filter(|(_, field, _)| !event.text(field).is_empty())
            .map(|(before, field, after)| format!("{before}{}{after}", event.text(field)))
            .collect();
        if told.is_empty() { Ok(()) } else { writeln!(out, "{:13}{name:<12} {}", "", shown(&told.join(" "))) }
    };
    line("user", &[("", "user", ""), ("(role ", "role", ")"), ("by ", "method", "")])?;
    line("client", &[("", "client", ""), ("(hassh ", "hassh", ")")])?;
    line(
        "key",
        &[
            ("", "ssh-public-key-type", ""),
            ("", "ssh-public-key-fingerprint", ""),
            ("(", "ssh-public-key-comment", ")"),
        ],
    )?;
    line(
        "certificate",
        &[
            ("serial ", "ssh-certificate-serial", ""),
            ("id ", "ssh-certificate-key-id", ""),
            ("signed by ", "ssh-certificate-ca-fingerprint", ""),
        ],
    )?;
    line(
        "algorithms",
        &[
            ("kex ", "kex", ","),
            ("host key ", "host-key-algorithm", ","),
            ("ciphers ", "ciphers", ","),
            ("macs ", "macs", ","),
            ("compression ", "compression", ""),
        ],
    )
}

/// How it ended.
pub(super) fn write_end(out: &mut impl Write, session: &Session) -> io::Result<()> {
    match &session.end {
        Some(reason) => {
            let by = session.ended_by.as_ref().map(|by| format!(" {by}")).unwrap_or_default();
            let message = session.message.as_ref().map(|message| format!(" ({message})")).unwrap_or_default();
            writeln!(out, "ended     by: {}", shown(&format!("{reason}{by}{message}")))
        }
        None => writeln!(
            out,
            "ended     not within these sources: it goes on, its server was killed, or its end is elsewhere"
        ),
    }
}

/// What was done with which file, or what is said.
fn subject(event: &Event) -> String {
    let text = |names: &[&'static str]| names.iter().map(|name| event.text(name)).find(|text| !text.is_empty());
    let path = text(&["logical-path", "path"]);
    let new = text(&["new-logical-path", "new-path"]).map(|new| format!("→ {new}"));
    let direction = Some(event.text("operation")).filter(|word| matches!(*word, "read" | "write"));
    let by = text(&["ended-by"]).map(|by| format!("by {by}"));
    let reason = text(&["reason", "request", "method"]);
    let message = text(&["message"]).map(|message| format!("({message})"));
    let reason = if path.is_some() { None } else { reason };
    let own = [direction, reason, path].map(|part| part.map(str::to_owned));
    let parts: Vec<String> = own.into_iter().chain([by, new, message]).flatten().collect();
    parts.join(" ")
}

fn seconds(milliseconds: i64) -> String {
    let sign = if milliseconds < 0 { "-" } else { "" };
    let milliseconds = milliseconds.unsigned_abs();
    format!("{sign}{}.{:03}", milliseconds / 1000, milliseconds % 1000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_seconds_with_milliseconds() {
        for (milliseconds, expected) in [(0, "0.000"), (1, "0.001"), (61_250, "61.250"), (-500, "-0.500")] {
            assert_eq!(seconds(milliseconds), expected);
        }
    }
}
