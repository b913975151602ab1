//! `lockgate audit replay`: one session as a timeline.

use std::io::{self, BufWriter, Write};
use std::ops::ControlFlow;

use anyhow::anyhow;
use clap::Args;
use serde_json::json;

use super::table::detail;
use super::{Sources, Wrong, written};
use crate::audit::read::{Event, Span, shown};
use crate::audit::replay::{self, Session, Step};
use crate::cli::Failure;

/// The arguments of `replay`.
#[derive(Debug, PartialEq, Eq, Args)]
pub(in crate::cli) struct Arguments {
    /// The session's id: 20 hex digits
    #[arg(value_name = "SESSION")]
    session: String,
    #[command(flatten)]
    sources: Sources,
    /// Print one JSON object: the events with their offsets, and what they come to
    #[arg(long)]
    json: bool,
}

/// Replays and prints.
pub(super) fn replay(arguments: &Arguments) -> Result<(), Failure> {
    let session = arguments.session.to_ascii_lowercase();
    if session.len() != 20 || !session.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Err(Wrong("a session's id has 20 hex digits; `lockgate audit search` finds it".into()).into());
    }
    let mut opened = arguments.sources.open(Span::default())?;
    let mut out = BufWriter::new(io::stdout().lock());
    let mut outcome = Ok(());
    let mut is_first = true;
    let found = replay::replay(&mut opened.trail, &session, |step| {
        outcome = match (arguments.json, is_first) {
            (true, true) => {
                write!(out, "{{\"session\":\"{session}\",\"events\":[").and_then(|()| write_json(&mut out, step))
            }
            (true, false) => write!(out, ",").and_then(|()| write_json(&mut out, step)),
            (false, true) => write_head(&mut out, &session, step.event).and_then(|()| write_step(&mut out, step)),
            (false, false) => write_step(&mut out, step),
        };
        is_first = false;
        if outcome.is_ok() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    });
    let (found, summary) = found.map_err(anyhow::Error::from)?;
    if summary.unreadable > 0 {
        eprintln!("{} lines or files cannot be read as events", summary.unreadable);
    }
    if found.events == 0 {
        return Err(anyhow!("these sources hold no event of the session {session}").into());
    }
    let outcome = outcome
        .and_then(|()| if arguments.json { write_json_end(&mut out, &found) } else { write_end(&mut out, &found) });
    Ok(written(outcome.and_then(|()| out.flush()))?)
}

fn write_head(out: &mut impl Write, session: &str, event: &Event) -> io::Result<()> {
    let port = event.number("source-port").map(|port| format!(", port {port}")).unwrap_or_default();
    writeln!(out, "session   {session} on {}", shown(event.text("server")))?;
    writeln!(out, "from      {}{port}", shown(event.text("source-ip")))?;
    writeln!(out, "began     {}", shown(event.text("timestamp")))
}

fn write_step(out: &mut impl Write, step: &Step<'_>) -> io::Result<()> {
    let (event, offset) = (step.event, seconds(step.offset_ms));
    let mut facts = Vec::new();
    let mut fact = |text: String| facts.push(text);
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
        shown(&detail(event)),
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

fn write_end(out: &mut impl Write, session: &Session) -> io::Result<()> {
    match &session.end {
        Some(reason) => writeln!(out, "ended     by: {}", shown(reason)),
        None => writeln!(
            out,
            "ended     not within these sources: it goes on, its server was killed, or its end is elsewhere"
        ),
    }
}

fn write_json(out: &mut impl Write, step: &Step<'_>) -> io::Result<()> {
    write!(out, "\n{{\"offset-ms\":{},\"event\":", step.offset_ms)?;
    out.write_all(step.line)?;
    write!(out, "}}")
}

fn write_json_end(out: &mut impl Write, session: &Session) -> io::Result<()> {
    let time = |time: Option<chrono::DateTime<chrono::Utc>>| {
        time.map(|time| time.to_rfc3339_opts(chrono::SecondsFormat::Millis, true))
    };
    let summary = json!({
        "server": session.server,
        "user": session.user,
        "logged-in": session.is_logged_in,
        "began": time(session.began),
        "last": time(session.last),
        "ended-by": session.end,
        "event-count": session.events,
    });
    writeln!(out, "\n],\"summary\":{summary}}}")
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
