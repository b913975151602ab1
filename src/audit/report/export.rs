//! The report as a table of users for spreadsheets.

use std::io::{self, Write};

use super::uses::text_of;
use super::{Report, UserReport, Uses};

/// The columns: those of [`UserReport`], the lists as the number of their entries and their names.
const COLUMNS: [&str; 27] = [
    "user",
    "first-seen",
    "last-seen",
    "active-days",
    "silent-days",
    "longest-silence-days",
    "logins",
    "failed-logins",
    "failed-logins-by-reason",
    "identities",
    "keys",
    "addresses",
    "clients",
    "files-in",
    "bytes-in",
    "files-out",
    "bytes-out",
    "cut-off",
    "deleted",
    "renamed",
    "folders-made",
    "folders-removed",
    "denied",
    "failed",
    "jumps",
    "since",
    "until",
];

/// Writes a row for each user, below a row of names (RFC 4180).
///
/// A text that a spreadsheet would take for a formula has an apostrophe in front.
///
/// # Errors
/// When it cannot be written.
pub fn write_csv(report: &Report, out: impl Write) -> io::Result<()> {
    let mut writer = csv::Writer::from_writer(out);
    writer.write_record(COLUMNS)?;
    let span = [report.since, report.until].map(|time| time.map(text_of).unwrap_or_default());
    for user in &report.users {
        let row = cells(user).into_iter().chain(span.clone());
        writer.write_record(row.map(|cell| harmless(&cell)))?;
    }
    writer.flush()
}

fn cells(user: &UserReport) -> Vec<String> {
    let time = |time: Option<_>| time.map(text_of).unwrap_or_default();
    let reasons: Vec<_> =
        user.failed_logins_by_reason.iter().map(|(reason, count)| format!("{reason}={count}")).collect();
    let mut cells = vec![
        user.user.clone(),
        time(user.first_seen),
        time(user.last_seen),
        user.active_days.to_string(),
        user.silent_days.map(|days| days.to_string()).unwrap_or_default(),
        user.longest_silence_days.to_string(),
        user.logins.to_string(),
        user.failed_logins.to_string(),
        reasons.join(" "),
    ];
    cells.extend([&user.identities, &user.keys, &user.addresses, &user.clients].map(names));
    let counts = [
        user.files_in,
        user.bytes_in,
        user.files_out,
        user.bytes_out,
        user.cut_off,
        user.deleted,
        user.renamed,
        user.folders_made,
        user.folders_removed,
        user.denied,
        user.failed,
        user.jumps,
    ];
    cells.extend(counts.map(|count| count.to_string()));
    cells
}

fn names(uses: &Uses) -> String {
    uses.list.iter().map(|entry| entry.name.as_str()).collect::<Vec<_>>().join("; ")
}

/// A cell for a spreadsheet. Names come from clients, and what begins with one of these would be computed.
pub fn harmless(cell: &str) -> String {
    match cell.starts_with(['=', '+', '-', '@', '\t', '\r', '\n']) {
        true => format!("'{cell}"),
        false => cell.to_owned(),
    }
}
