//! `lockgate audit sessions`: a row for each session of a trail.

use std::borrow::Cow;
use std::io::{self, BufWriter, Write};
use std::ops::ControlFlow;

use chrono::Utc;
use clap::{Args, ValueEnum};

use super::search::{address, span};
use super::{Sources, written};
use crate::audit::search::Query;
use crate::audit::sessions::{SessionSummary, Sessions};
use crate::audit::table::{Column, SHORT_ID, Table};
use crate::cli::Failure;

/// The columns before the last one.
const COLUMNS: &[Column] = &[
    Column::text("BEGAN (UTC)", 19),
    Column::text("SESSION", SHORT_ID),
    Column::text("USER", 12),
    Column::text("ADDRESS", 15).from(100),
    Column::number("LENGTH", 9),
    Column::number("FILES IN", 8).from(150),
    Column::number("BYTES IN", 11).from(130),
    Column::number("FILES OUT", 9).from(150),
    Column::number("BYTES OUT", 11).from(130),
    Column::text("ENDED BY", 12).from(110),
];

/// The arguments of `sessions`.
#[derive(Debug, PartialEq, Eq, Args)]
pub(in crate::cli) struct Arguments {
    #[command(flatten)]
    sources: Sources,
    /// Login name
    #[arg(long)]
    user: Option<String>,
    /// Client address or network (`10.0.0.0/8`)
    #[arg(long, value_name = "CIDR")]
    address: Option<String>,
    /// Sessions active after this time: RFC 3339, a day (`2026-07-31`, UTC), or an age (`2h`)
    #[arg(long, value_name = "TIME")]
    since: Option<String>,
    /// Sessions active before this time; same formats as --since
    #[arg(long, value_name = "TIME")]
    until: Option<String>,
    /// Also list connections without a login
    #[arg(long)]
    all: bool,
    /// Output format
    #[arg(long, value_enum, default_value_t = Format::Table)]
    format: Format,
}

/// How sessions are shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    /// One row for each session, as wide as the terminal.
    Table,
    /// One JSON object per line.
    Json,
}

/// Collects and prints.
pub(super) fn sessions(arguments: &Arguments) -> Result<(), Failure> {
    let span = span(arguments.since.as_deref(), arguments.until.as_deref(), Utc::now())?;
    // Whose a session is, its first events may not know yet.
    let query = Query { span, address: arguments.address.as_deref().map(address).transpose()?, ..Query::default() };
    let mut opened = arguments.sources.open(span)?;
    let mut sessions = Sessions::default();
    let summary = query.run(&mut opened.trail, |_, event| {
        sessions.note(event);
        ControlFlow::Continue(())
    });
    opened.progress.end();
    let summary = summary.map_err(anyhow::Error::from)?;
    if summary.unreadable > 0 {
        eprintln!("{} lines or files cannot be read as events", summary.unreadable);
    }
    let mut all = sessions.into_all();
    all.retain(|session| arguments.wants(session));
    if all.is_empty() {
        eprintln!("no session fits");
    }
    Ok(written(print(&all, arguments.format))?)
}

impl Arguments {
    fn wants(&self, session: &SessionSummary) -> bool {
        // One that logged in before the time that is asked for has done something since.
        let is_session = session.logged_in || session.files_in + session.files_out > 0;
        (self.all || is_session) && self.user.as_ref().is_none_or(|user| *user == session.user)
    }
}

fn print(sessions: &[SessionSummary], format: Format) -> io::Result<()> {
    let mut out = BufWriter::new(io::stdout().lock());
    let table = Table::with(COLUMNS, "IDENTITY, KEY");
    if format == Format::Table && !sessions.is_empty() {
        writeln!(out, "{}", table.head())?;
    }
    for session in sessions {
        match format {
            Format::Table => writeln!(out, "{}", table.lay_out(&cells(session), &credential(session)))?,
            Format::Json => writeln!(out, "{}", serde_json::to_string(session)?)?,
        }
    }
    out.flush()
}

fn cells(session: &SessionSummary) -> [Cow<'_, str>; COLUMNS.len()] {
    let id = session.session_id.as_str();
    let began = session.began.map(|began| began.format("%Y-%m-%d %H:%M:%S").to_string());
    [
        began.unwrap_or_default().into(),
        id.get(..SHORT_ID).unwrap_or(id).into(),
        session.user.as_str().into(),
        session.source_ip.as_str().into(),
        length(session.length_ms()).into(),
        session.files_in.to_string().into(),
        session.bytes_in.to_string().into(),
        session.files_out.to_string().into(),
        session.bytes_out.to_string().into(),
        session.ended_by.as_deref().unwrap_or("-").into(),
    ]
}

/// Who, by which key.
fn credential(session: &SessionSummary) -> String {
    let parts = [session.identity.as_str(), session.key.as_str()];
    parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(" ")
}

/// Hours, minutes and seconds.
fn length(milliseconds: u64) -> String {
    let seconds = milliseconds / 1000;
    format!("{}:{:02}:{:02}", seconds / 3600, seconds / 60 % 60, seconds % 60)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_are_hours_minutes_and_seconds() {
        for (milliseconds, expected) in [(0, "0:00:00"), (61_999, "0:01:01"), (90_061_000, "25:01:01")] {
            assert_eq!(length(milliseconds), expected);
        }
    }
}
