//! `lockgate audit search`: events that fit, as a table or as the lines that they are.

use std::collections::BTreeSet;
use std::io::{self, BufWriter, Write};
use std::ops::ControlFlow;

use chrono::{DateTime, NaiveDate, NaiveDateTime, SecondsFormat, TimeDelta, Utc};
use clap::{Args, ValueEnum};

use super::{Sources, Wrong, complete, written};
use crate::audit::read::{Event, Span, shown as shown_text};
use crate::audit::schema;
use crate::audit::search::{self, AddressTest, Fingerprint, PathPattern, Query, UserPattern, session_prefix};
use crate::audit::spreadsheet::Spreadsheet;
use crate::audit::table::Table;
use crate::cli::Failure;
use crate::users::Network;

/// How many keys that begin as asked are named.
const MOST_KEYS: usize = 10;

/// The arguments of `search`.
#[derive(Debug, PartialEq, Eq, Args)]
pub(in crate::cli) struct Arguments {
    #[command(flatten)]
    sources: Sources,
    /// Login name; `*` and `?` stand for any characters, as in a sink's filter
    #[arg(long, value_name = "GLOB")]
    user: Option<String>,
    /// Person behind the login name: a certificate's key id, a key's comment, or what the identity provider says; `*` and `?` as for --user
    #[arg(long, value_name = "GLOB")]
    identity: Option<String>,
    /// Logical path or stored path; `*` stays within a component, `**` does not; without a slash, a name in any folder
    #[arg(long, value_name = "GLOB")]
    path: Option<String>,
    /// Start time: RFC 3339, as printed (`2026-07-31 08:15:40`, UTC), a day, or an age (`2h`)
    #[arg(long, value_name = "TIME")]
    since: Option<String>,
    /// End time, exclusive; same formats as --since
    #[arg(long, value_name = "TIME")]
    until: Option<String>,
    /// Activity type (`CLOSE`); can be repeated
    #[arg(long, value_name = "TYPE")]
    activity: Vec<String>,
    /// Kind of operation, as in a sink's filter: `upload`, `download`, `copy`, `delete`, `rename`, `mkdir`, `rmdir`, `setstat`, `list` or
    /// `symlink`; can be repeated
    #[arg(long, value_name = "WORD")]
    operation: Vec<String>,
    /// Client address or network (`10.0.0.0/8`)
    #[arg(long, value_name = "CIDR")]
    address: Option<String>,
    /// Session id, or its first digits
    #[arg(long, value_name = "ID")]
    session: Option<String>,
    /// Target of a jump
    #[arg(long, value_name = "NAME")]
    target: Option<String>,
    /// Account at a target
    #[arg(long, value_name = "NAME")]
    account: Option<String>,
    /// Fingerprint of a key or an authority, or its beginning, with or without `SHA256:`
    #[arg(long, visible_alias = "key")]
    fingerprint: Option<String>,
    /// `success`, `denied` or `failure`
    #[arg(long)]
    status: Option<String>,
    /// Server name
    #[arg(long)]
    server: Option<String>,
    /// Text anywhere in the event, ignoring case
    #[arg(long)]
    text: Option<String>,
    /// Show only the first COUNT events
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u64).range(1..))]
    limit: Option<u64>,
    /// Output format
    #[arg(long, value_enum, default_value_t = Format::Table)]
    format: Format,
}

/// How events are shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    /// One row for each event, as wide as the terminal.
    Table,
    /// The lines as recorded.
    Json,
    /// One row for each event, for spreadsheets.
    Csv,
}

/// Puts events on standard output.
enum Printer<W: Write> {
    /// With whether the head is written.
    Table(Table, W, bool),
    Lines(W),
    Sheet(Box<Spreadsheet<W>>),
}

impl<W: Write> Printer<W> {
    fn new(format: Format, out: W) -> io::Result<Self> {
        Ok(match format {
            Format::Table => Printer::Table(Table::of_terminal(), out, false),
            Format::Json => Printer::Lines(out),
            Format::Csv => Printer::Sheet(Box::new(Spreadsheet::begin(out)?)),
        })
    }

    fn show(&mut self, line: &[u8], event: &Event) -> io::Result<()> {
        match self {
            Printer::Table(table, out, has_head) => {
                if !std::mem::replace(has_head, true) {
                    writeln!(out, "{}", table.head())?;
                }
                let row = if table.is_bounded() { table.row_of_terminal(event) } else { table.row(event) };
                writeln!(out, "{row}")
            }
            Printer::Lines(out) => out.write_all(line).and_then(|()| out.write_all(b"\n")),
            Printer::Sheet(sheet) => sheet.add(line),
        }
    }

    fn end(self) -> io::Result<()> {
        match self {
            Printer::Table(_, mut out, _) | Printer::Lines(mut out) => out.flush(),
            Printer::Sheet(sheet) => sheet.end(),
        }
    }
}

/// Searches and prints.
pub(super) fn search(arguments: &Arguments) -> Result<(), Failure> {
    let query = arguments.query(Utc::now())?;
    let mut opened = arguments.sources.open(query.span)?;
    let printer = Printer::new(arguments.format, BufWriter::new(opened.progress.beside(io::stdout().lock())));
    let mut printer = printer.map_err(anyhow::Error::from)?;
    let (mut shown, mut outcome, mut keys) = (0, Ok(()), BTreeSet::new());
    let summary = query.run(&mut opened.trail, |line, event| {
        keys.extend(query.keys_of(event).map(str::to_owned).take(MOST_KEYS - keys.len()));
        outcome = printer.show(line, event);
        shown += 1;
        let is_enough = arguments.limit.is_some_and(|limit| shown >= limit);
        if outcome.is_err() || is_enough { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    });
    written(outcome.and_then(|()| printer.end()))?;
    opened.progress.end();
    let summary = summary.map_err(anyhow::Error::from)?;
    if summary.found == 0 {
        eprintln!("no event matches");
    }
    if keys.len() > 1 {
        let keys: Vec<String> = keys.iter().map(|key| shown_text(key).into_owned()).collect();
        eprintln!("several keys begin so: {}", keys.join(", "));
    }
    complete(&summary)
}

impl Arguments {
    fn query(&self, now: DateTime<Utc>) -> Result<Query, Wrong> {
        let path = self.path.as_deref().map(PathPattern::parse).transpose();
        Ok(Query {
            user: self.user.as_deref().map(user).transpose()?,
            identity: self.identity.as_deref().map(identity).transpose()?,
            path: path.map_err(|what| Wrong(format!("--path: {what}")))?,
            span: span(self.since.as_deref(), self.until.as_deref(), now)?,
            activities: self.activity.iter().map(|name| activity(name)).collect::<Result<_, _>>()?,
            address: self.address.as_deref().map(address).transpose()?,
            session: self.session.as_deref().map(session).transpose()?,
            with_jumps: false,
            target: self.target.clone(),
            account: self.account.clone(),
            fingerprint: self.fingerprint.as_deref().map(fingerprint).transpose()?,
            operations: self.operation.iter().map(|word| operation(word)).collect::<Result<_, _>>()?,
            status: self.status.as_deref().map(status).transpose()?,
            server: self.server.clone(),
            text: self.text.clone(),
        })
    }
}

/// A session's id, or its beginning.
pub(super) fn session(text: &str) -> Result<String, Wrong> {
    session_prefix(text).map_err(|what| Wrong(format!("--session: {what}")))
}

fn activity(name: &str) -> Result<String, Wrong> {
    let name = name.to_ascii_uppercase().replace('-', "_");
    if schema::activities().any(|known| known == name) {
        return Ok(name);
    }
    let known: Vec<_> = schema::activities().collect();
    Err(Wrong(format!("--activity: there is no {name}; there are {}", known.join(", "))))
}

fn status(word: &str) -> Result<String, Wrong> {
    search::status(word).map_err(|what| Wrong(format!("--status: {what}")))
}

fn operation(word: &str) -> Result<String, Wrong> {
    search::operation(word).map_err(|what| Wrong(format!("--operation: {what}")))
}

pub(super) fn user(pattern: &str) -> Result<UserPattern, Wrong> {
    UserPattern::parse(pattern).map_err(|what| Wrong(format!("--user: {what}")))
}

fn identity(pattern: &str) -> Result<UserPattern, Wrong> {
    UserPattern::parse(pattern).map_err(|what| Wrong(format!("--identity: {what}")))
}

fn fingerprint(text: &str) -> Result<Fingerprint, Wrong> {
    Fingerprint::parse(text).map_err(|what| Wrong(format!("--fingerprint: {what}")))
}

pub(super) fn address(text: &str) -> Result<AddressTest, Wrong> {
    let network = Network::parse(text).map_err(|what| Wrong(format!("--address: {what}")))?;
    Ok(Box::new(move |address| network.contains(address)))
}

/// From when until when.
pub(super) fn span(since: Option<&str>, until: Option<&str>, now: DateTime<Utc>) -> Result<Span, Wrong> {
    let read = |name, text: Option<&str>| text.map(|text| time(name, text, now)).transpose();
    let span = Span { since: read("--since", since)?, until: read("--until", until)? };
    match (span.since, span.until) {
        (Some(from), Some(to)) if to <= from => Err(Wrong(format!(
            "--until ({}) is not after --since ({}): the range is empty. A day lasts from --since 2026-07-31 to --until 2026-08-01",
            stamp(to),
            stamp(from)
        ))),
        _ => Ok(span),
    }
}

fn stamp(time: DateTime<Utc>) -> String {
    time.to_rfc3339_opts(SecondsFormat::Secs, true)
}

/// RFC 3339, a time as tables print it, a day, or a time ago.
fn time(name: &str, text: &str, now: DateTime<Utc>) -> Result<DateTime<Utc>, Wrong> {
    let day = || NaiveDate::parse_from_str(text, "%Y-%m-%d").ok()?.and_hms_opt(0, 0, 0).map(|day| day.and_utc());
    let absolute = || DateTime::parse_from_rfc3339(text).ok().map(|time| time.to_utc());
    absolute().or_else(|| printed(text)).or_else(day).or_else(|| ago(text, now)).ok_or_else(|| {
        Wrong(format!(
            "{name}: write a time as in 2026-07-31T08:00:00Z or \"2026-07-31 08:00:00\" (UTC), a day as in 2026-07-31, or an age as in \
             90m, 2h, 7d"
        ))
    })
}

/// As the tables of events and sessions print it, in UTC.
fn printed(text: &str) -> Option<DateTime<Utc>> {
    let seconds = || NaiveDateTime::parse_from_str(text, "%Y-%m-%d %H:%M:%S").ok();
    let minutes = || NaiveDateTime::parse_from_str(text, "%Y-%m-%d %H:%M").ok();
    seconds().or_else(minutes).map(|time| time.and_utc())
}

fn ago(text: &str, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let number: i64 = digits.parse().ok().filter(|number| *number >= 0)?;
    let span = match text.get(digits.len()..)? {
        "s" => TimeDelta::try_seconds(number),
        "m" => TimeDelta::try_minutes(number),
        "h" => TimeDelta::try_hours(number),
        "d" => TimeDelta::try_days(number),
        "w" => TimeDelta::try_weeks(number),
        _ => None,
    };
    now.checked_sub_signed(span?)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_range_ends_after_it_begins() {
        let now: DateTime<Utc> = "2026-07-31T08:00:00Z".parse().unwrap();
        for (since, until) in
            [("2026-07-30", "2026-07-30"), ("1h", "2h"), ("2026-07-31T07:00:00Z", "2026-07-31T06:59:59Z")]
        {
            let error = span(Some(since), Some(until), now).unwrap_err().0;
            assert!(error.contains("is not after --since"), "{error}");
        }
        for (since, until) in
            [(Some("2026-07-30"), Some("2026-07-31")), (Some("1h"), None), (None, Some("1h")), (None, None)]
        {
            span(since, until, now).unwrap();
        }
    }

    #[test]
    fn times_are_absolute_days_or_ago() {
        let now: DateTime<Utc> = "2026-07-31T08:00:00Z".parse().unwrap();
        for (text, expected) in [
            ("2026-07-31T08:00:00.5Z", "2026-07-31T08:00:00.5Z"),
            ("2026-07-31T10:00:00+02:00", "2026-07-31T08:00:00Z"),
            ("2026-07-30", "2026-07-30T00:00:00Z"),
            ("2026-07-30 16:38:20", "2026-07-30T16:38:20Z"),
            ("2026-07-30 16:38", "2026-07-30T16:38:00Z"),
            ("0s", "2026-07-31T08:00:00Z"),
            ("90m", "2026-07-31T06:30:00Z"),
            ("2h", "2026-07-31T06:00:00Z"),
            ("1w", "2026-07-24T08:00:00Z"),
        ] {
            assert_eq!(time("--since", text, now).unwrap(), expected.parse::<DateTime<Utc>>().unwrap(), "{text}");
        }
        for wrong in [
            "",
            "h",
            "2",
            "-2h",
            "2y",
            "2 h",
            "1.5h",
            "yesterday",
            "2026-07",
            "2026-07-31T08:00:00",
            "2026-07-31 25:00:00",
            "2026-07-31 08",
            "9999999999999999d",
        ] {
            assert!(time("--since", wrong, now).unwrap_err().0.starts_with("--since: "), "{wrong}");
        }
    }

    #[test]
    fn activities_and_states_are_known_words() {
        assert_eq!(activity("partial-close").unwrap(), "PARTIAL_CLOSE");
        assert!(activity("FLY").unwrap_err().0.contains("CHECKPOINT"));
        assert!(status("fine").is_err() && operation("OPEN").unwrap_err().0.contains("upload"));
        assert!(address("10.0.0.0/8").unwrap()([10, 1, 2, 3].into()));
        assert!(address("10.0.0.0/33").is_err());
    }
}
