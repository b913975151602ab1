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
    let mut writer = csv_writer(csv::Terminator::Any(b'\n'), out);
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

/// A writer of tables that quotes every cell: some spreadsheets part cells at semicolons as well, and would compute what is behind one.
pub fn csv_writer<W: Write>(terminator: csv::Terminator, out: W) -> csv::Writer<W> {
    csv::WriterBuilder::new().terminator(terminator).quote_style(csv::QuoteStyle::Always).from_writer(out)
}

/// A cell for a spreadsheet. Names come from clients, and what begins with one of these would be computed, also behind blanks.
pub fn harmless(cell: &str) -> String {
    let is_formula = |text: &str| text.starts_with(['=', '+', '-', '@', '＝', '＋', '－', '＠']);
    match is_formula(cell.trim_start()) || cell.starts_with(['\t', '\r', '\n']) {
        true => format!("'{cell}"),
        false => cell.to_owned(),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn what_a_spreadsheet_would_compute_is_a_text() {
        for formula in [
            "=1+1",
            "+1",
            "-1",
            "@SUM(1)",
            "\t=1",
            "\r",
            "\n",
            " =1+1",
            "\u{a0}=1",
            "\u{3000}=1",
            "＝1+1",
            "＋1",
            "－1",
            "＠A",
        ] {
            assert_eq!(harmless(formula), format!("'{formula}"));
        }
        for text in ["", "a=1", "/=1", "1", " a", "2026-07-31"] {
            assert_eq!(harmless(text), text);
        }
        let mut table = Vec::new();
        csv_writer(csv::Terminator::Any(b'\n'), &mut table).write_record(["a;=1+1", "b\"c", ""]).unwrap();
        assert_eq!(table, b"\"a;=1+1\",\"b\"\"c\",\"\"\n");
    }
}
