//! `lockgate audit sessions`: a row for each session of a trail.

use std::borrow::Cow;
use std::io::{self, BufWriter, Write};
use std::ops::ControlFlow;

use chrono::Utc;
use clap::{Args, ValueEnum};

use super::search::{address, span, user};
use super::{Sources, complete, written};
use crate::audit::search::{Query, UserPattern};
use crate::audit::sessions::{Login, SessionSummary, Sessions};
use crate::audit::table::{Column, SHORT_ID, Table, short_key};
use crate::cli::Failure;
use crate::cli::admin::amount;

/// The width from which sessions have seconds and longer names, and from which how they ended is not the last column any more.
const WIDE: usize = 110;
const WIDER: usize = 120;

/// The width from which files and bytes are told apart by their direction, and from which there is room for the client's program.
const WIDEST: usize = 150;
const ENOUGH_FOR_CLIENTS: usize = 176;

/// Columns that not every table has.
const LOGIN: &str = "LOGIN";
const ENDED_BY: &str = "ENDED BY";
const CREDENTIAL: &str = "IDENTITY, KEY";

/// The columns before the last one. On a narrow terminal files and bytes are sums of both directions, and how the session ended is last.
const COLUMNS: &[Column] = &[
    Column::text("BEGAN (UTC)", 19).from(WIDE),
    Column::text("BEGAN (UTC)", 16).below(WIDE),
    Column::text("SESSION", SHORT_ID),
    Column::text("USER", 12).from(WIDE),
    Column::text("USER", 9).below(WIDE),
    Column::text(LOGIN, 6).from(WIDER),
    Column::text("ADDRESS", 15),
    Column::text("CLIENT", 24).from(ENOUGH_FOR_CLIENTS),
    Column::number("LENGTH", 9).from(100),
    Column::number("FILES", 5).below(WIDEST),
    Column::number("BYTES", 8).below(WIDEST),
    Column::number("FILES IN", 8).from(WIDEST),
    Column::number("BYTES IN", 11).from(WIDEST),
    Column::number("FILES OUT", 9).from(WIDEST),
    Column::number("BYTES OUT", 11).from(WIDEST),
    Column::text(ENDED_BY, 13).from(WIDER),
];

/// The arguments of `sessions`.
#[derive(Debug, PartialEq, Eq, Args)]
pub(in crate::cli) struct Arguments {
    #[command(flatten)]
    sources: Sources,
    /// Login name; `*` and `?` stand for any characters, as in a sink's filter
    #[arg(long, value_name = "GLOB")]
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
    /// Also list connections without a login, and say which logins failed
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
    let user = arguments.user.as_deref().map(user).transpose()?;
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
    let mut all = sessions.into_all();
    all.retain(|session| arguments.wants(session, user.as_ref()));
    if all.is_empty() {
        eprintln!("no session matches");
    }
    written(print(&all, arguments))?;
    complete(&summary)
}

impl Arguments {
    fn wants(&self, session: &SessionSummary, user: Option<&UserPattern>) -> bool {
        (self.all || session.login == Login::Succeeded) && user.is_none_or(|user| user.fits(&session.user))
    }
}

fn print(sessions: &[SessionSummary], arguments: &Arguments) -> io::Result<()> {
    let mut out = BufWriter::new(io::stdout().lock());
    let rows = Rows::of(Table::with(COLUMNS, CREDENTIAL), arguments.all);
    if arguments.format == Format::Table && !sessions.is_empty() {
        writeln!(out, "{}", rows.table.head())?;
    }
    for session in sessions {
        match arguments.format {
            Format::Table => writeln!(out, "{}", rows.row(session))?,
            Format::Json => writeln!(out, "{}", serde_json::to_string(session)?)?,
        }
    }
    out.flush()
}

/// Rows of a table, whose last column is how a session ended when there is no room for another one.
struct Rows {
    table: Table,
    ends_with_end: bool,
}

impl Rows {
    fn of(table: Table, has_logins: bool) -> Rows {
        let ends_with_end = !table.shows(ENDED_BY);
        let table = if has_logins { table } else { table.without(LOGIN) };
        Rows { table: if ends_with_end { table.with_last(ENDED_BY) } else { table }, ends_with_end }
    }

    fn row(&self, session: &SessionSummary) -> String {
        let is_short = self.table.is_bounded();
        let last = if self.ends_with_end { end_of(session) } else { credential(session, is_short) };
        self.table.lay_out(&cells(session, is_short), &last)
    }
}

fn cells(session: &SessionSummary, is_short: bool) -> [Cow<'_, str>; COLUMNS.len()] {
    let id = session.session_id.as_str();
    let began = |format| session.began.map(|began| began.format(format).to_string()).unwrap_or_default();
    [
        began("%Y-%m-%d %H:%M:%S").into(),
        began("%Y-%m-%d %H:%M").into(),
        id.get(..SHORT_ID).unwrap_or(id).into(),
        session.user.as_str().into(),
        session.user.as_str().into(),
        login(session.login).into(),
        session.source_ip.as_str().into(),
        client(session, is_short).into(),
        length(session.length_ms()).into(),
        (session.files_in + session.files_out).to_string().into(),
        amount(session.bytes_in.saturating_add(session.bytes_out)).into(),
        session.files_in.to_string().into(),
        session.bytes_in.to_string().into(),
        session.files_out.to_string().into(),
        session.bytes_out.to_string().into(),
        if is_short { session.reason.as_deref().unwrap_or("-").into() } else { ended(session).into() },
    ]
}

/// The client's version line; a short one without the protocol, which is the same for all.
fn client(session: &SessionSummary, is_short: bool) -> &str {
    let short = session.client.strip_prefix("SSH-2.0-").filter(|_| is_short);
    short.unwrap_or(&session.client)
}

/// A word for whether anybody logged in.
fn login(login: Login) -> &'static str {
    match login {
        Login::Succeeded => "yes",
        Login::Failed => "failed",
        Login::None => "none",
    }
}

/// What ended it, and who if that was somebody.
fn ended(session: &SessionSummary) -> String {
    let reason = session.reason.as_deref().unwrap_or("-");
    session.ended_by.as_ref().map_or_else(|| reason.to_owned(), |by| format!("{reason} {by}"))
}

/// How it ended, where a connection without a login has no column that says so.
fn end_of(session: &SessionSummary) -> String {
    match session.login {
        Login::Succeeded => ended(session),
        Login::Failed => "failed login".to_owned(),
        Login::None => "no login".to_owned(),
    }
}

/// Who, by which key.
fn credential(session: &SessionSummary, is_short: bool) -> String {
    let key = if is_short { short_key(&session.key) } else { Cow::Borrowed(session.key.as_str()) };
    let parts = [session.identity.as_str(), &key];
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
    use crate::audit::table::columns;

    fn session(login: Login) -> SessionSummary {
        SessionSummary {
            session_id: "0049cd844c7536c06a89".into(),
            user: "partner-seven".into(),
            identity: "ann".into(),
            login,
            key: "SHA256:BY3gNMHwTfjd4n2VuT4pTyLOk82zWZj4KEYEu7y4r/0".into(),
            source_ip: "192.0.2.1".into(),
            client: "SSH-2.0-OpenSSH_9.2p1".into(),
            began: "2026-07-31T08:15:40Z".parse().ok(),
            files_in: 3,
            files_out: 4,
            bytes_in: 1 << 20,
            bytes_out: 1 << 21,
            reason: Some("idle".into()),
            ..SessionSummary::default()
        }
    }

    #[test]
    fn a_terminal_of_any_width_shows_who_came_from_where_what_was_moved_and_how_it_ended() {
        for width in [80, 100, 110, 120, 149, 150, 175, 176, 200] {
            let rows = Rows::of(Table::of_width(COLUMNS, CREDENTIAL, Some(width)), true);
            let row = rows.row(&session(Login::Succeeded));
            assert!(columns(&row) <= width && columns(&rows.table.head()) <= width, "{width}: {row}");
            for said in ["2026-07-31 08:15", "0049cd84", "partner-", "192.0.2.1", "idle"] {
                assert!(row.contains(said), "{width}: {said}: {row}");
            }
            assert!(row.contains(if width < 150 { " 7  3.0 MiB" } else { " 3     1048576 " }), "{width}: {row}");
            assert_eq!(row.contains("ann SHA256:BY3"), width >= 120, "{width}: {row}");
            assert_eq!(row.contains(" OpenSSH_9.2p1 "), width >= 176, "{width}: {row}");
            let failed = rows.row(&session(Login::Failed));
            assert!(failed.contains(if width < 120 { "failed login" } else { " failed " }), "{width}: {failed}");
        }
        let row = Rows::of(Table::of_width(COLUMNS, CREDENTIAL, None), false).row(&session(Login::Succeeded));
        assert!(row.ends_with("idle          ann SHA256:BY3gNMHwTfjd4n2VuT4pTyLOk82zWZj4KEYEu7y4r/0"), "{row}");
        assert!(row.contains(" 1048576 ") && !row.contains("MiB"), "{row}");
        assert!(row.contains(" SSH-2.0-OpenSSH_9.2p1 "), "{row}");
        let by = |width| {
            let session = SessionSummary {
                reason: Some("administrator".into()),
                ended_by: Some("night-shift".into()),
                ..session(Login::Succeeded)
            };
            Rows::of(Table::of_width(COLUMNS, CREDENTIAL, width), false).row(&session)
        };
        assert!(by(None).contains(" administrator night-shift "), "{}", by(None));
        assert!(by(Some(110)).ends_with(" administrator night-shift"), "{}", by(Some(110)));
    }

    #[test]
    fn lengths_are_hours_minutes_and_seconds() {
        for (milliseconds, expected) in [(0, "0:00:00"), (61_999, "0:01:01"), (90_061_000, "25:01:01")] {
            assert_eq!(length(milliseconds), expected);
        }
    }
}
