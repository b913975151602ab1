//! Rows of a table that is as wide as the terminal: of events, and of what is made of them.

use std::borrow::Cow;
use std::io;

use rustix::termios::tcgetwinsize;

use super::read::{Event, shown};
use super::replay::detail;

/// The narrowest last column.
const NARROWEST: usize = 20;

/// A column.
#[derive(Debug, Clone, Copy)]
pub struct Column {
    head: &'static str,
    /// In characters of a terminal.
    width: usize,
    /// Numbers stand at its right edge.
    is_number: bool,
    /// The narrowest terminal that shows it.
    from: usize,
}

impl Column {
    /// Of texts.
    pub const fn text(head: &'static str, width: usize) -> Column {
        Column { head, width, is_number: false, from: 0 }
    }

    /// Of numbers.
    pub const fn number(head: &'static str, width: usize) -> Column {
        Column { head, width, is_number: true, from: 0 }
    }

    /// The same, left out on terminals that are narrower than this.
    pub const fn from(self, from: usize) -> Column {
        Column { from, ..self }
    }
}

/// The columns of events before the last one.
const OF_EVENTS: &[Column] = &[
    Column::text("TIME (UTC)", 19),
    Column::text("SESSION", SHORT_ID).from(110),
    Column::text("ACTIVITY", 14),
    Column::text("USER", 12),
    Column::text("ADDRESS", 15).from(100),
    Column::text("STATUS", 7),
    Column::number("BYTES", 11).from(120),
];

/// How many digits of a session's id are shown.
pub const SHORT_ID: usize = 8;

/// Whether whoever reads a terminal wants colours: `NO_COLOR` is unset or empty (<https://no-color.org>).
pub fn is_coloured() -> bool {
    std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

/// How rows are laid out.
#[derive(Debug, Clone)]
pub struct Table {
    /// Each with whether it is shown.
    columns: Vec<(Column, bool)>,
    /// What stands above the last column.
    last_head: &'static str,
    /// The width of the last column; `None`: as wide as it needs.
    last: Option<usize>,
}

impl Table {
    /// Of events, for standard output: a row fits its terminal's width; in a pipe nothing of a row is left out.
    pub fn of_terminal() -> Self {
        Table::with(OF_EVENTS, "DETAIL")
    }

    /// Of other columns, and a last one that has the rest of the width.
    pub fn with(columns: &'static [Column], last_head: &'static str) -> Self {
        let width = tcgetwinsize(io::stdout()).ok().map(|size| usize::from(size.ws_col)).filter(|width| *width > 0);
        Table::of_width(columns, last_head, width)
    }

    fn of_width(columns: &'static [Column], last_head: &'static str, width: Option<usize>) -> Self {
        let is_shown = |column: &Column| width.is_none_or(|width| column.from <= width);
        let columns: Vec<_> = columns.iter().map(|column| (*column, is_shown(column))).collect();
        let before: usize = columns.iter().filter(|(_, is_shown)| *is_shown).map(|(column, _)| column.width + 1).sum();
        Table { columns, last_head, last: width.map(|width| width.saturating_sub(before).max(NARROWEST)) }
    }

    /// The same without a column that would be empty.
    pub fn without(mut self, head: &str) -> Self {
        for (column, is_shown) in self.columns.iter_mut().filter(|(column, is_shown)| *is_shown && column.head == head)
        {
            self.last = self.last.map(|last| last + column.width + 1);
            *is_shown = false;
        }
        self
    }

    /// The row above the others.
    pub fn head(&self) -> String {
        let heads: Vec<Cow<'_, str>> = self.columns.iter().map(|(column, _)| column.head.into()).collect();
        self.lay_out(&heads, self.last_head)
    }

    /// The row of an event; nothing in it moves a cursor or changes a colour.
    pub fn row(&self, event: &Event) -> String {
        let time = event.text("timestamp").get(..19).unwrap_or_default().replace('T', " ");
        let bytes = event.number("bytes-in").into_iter().chain(event.number("bytes-out")).reduce(u64::saturating_add);
        let session = event.text("session-id");
        let cells = [
            time.into(),
            session.get(..SHORT_ID).unwrap_or(session).into(),
            event.activity().into(),
            event.text("user").into(),
            event.text("source-ip").into(),
            event.text("status").into(),
            bytes.map(|bytes| bytes.to_string()).unwrap_or_default().into(),
        ];
        self.lay_out(&cells, &detail(event))
    }

    /// A row for a terminal, in colour where colours are wanted.
    pub fn row_of_terminal(&self, event: &Event) -> String {
        if is_coloured() { self.coloured_row(event) } else { self.row(event) }
    }

    /// A row in the colour of what it says: green for a login, red for what was denied, yellow for what failed.
    pub fn coloured_row(&self, event: &Event) -> String {
        let colour = match (event.text("status"), event.activity()) {
            ("denied", _) => "31",
            ("failure", _) | (_, "AUTH_FAILURE" | "ERROR" | "PARTIAL_CLOSE" | "CONNECTION_REJECTED") => "33",
            (_, "CONNECTED") => "32",
            (_, "DISCONNECTED") => "2",
            _ => return self.row(event),
        };
        // What the row says has no escapes of its own: `shown` has seen to that.
        format!("\x1b[{colour}m{}\x1b[0m", self.row(event))
    }

    /// A row of these cells, as many as there are columns before the last one.
    pub fn lay_out(&self, cells: &[Cow<'_, str>], last: &str) -> String {
        let mut row = String::new();
        let shown_cells = cells.iter().zip(&self.columns).filter(|(_, (_, is_shown))| *is_shown);
        for (cell, (column, _)) in shown_cells {
            let cell = shown(cell);
            let cell = if self.last.is_some() { cut(&cell, column.width) } else { cell };
            let fill = " ".repeat(column.width.saturating_sub(columns(&cell)));
            if column.is_number { row.extend([&fill, &*cell, " "]) } else { row.extend([&*cell, &fill, " "]) }
        }
        let last = shown(last);
        row.push_str(&self.last.map_or(last.clone(), |width| cut(&last, width)));
        row.truncate(row.trim_end().len());
        row
    }
}

/// At most `width` columns of a text; what is left out is shown by `…`.
fn cut(text: &str, width: usize) -> Cow<'_, str> {
    if columns(text) <= width {
        return Cow::Borrowed(text);
    }
    let mut kept = String::new();
    let mut left = width.saturating_sub(1);
    for c in text.chars() {
        let Some(rest) = left.checked_sub(column(c)) else { break };
        left = rest;
        kept.push(c);
    }
    Cow::Owned(kept + "…")
}

fn columns(text: &str) -> usize {
    text.chars().map(column).sum()
}

/// How many columns a character takes: the wide ones of East Asia and pictures take two.
fn column(c: char) -> usize {
    match u32::from(c) {
        0x0300..=0x036f | 0x200b..=0x200d | 0xfe00..=0xfe0f => 0,
        0x1100..=0x115f | 0x2e80..=0xa4cf | 0xac00..=0xd7a3 | 0xf900..=0xfaff | 0xfe30..=0xfe6f | 0xff00..=0xff60 => 2,
        0x1f300..=0x1faff | 0x20000..=0x3fffd => 2,
        _ => 1,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn event(json: &str) -> Event {
        Event::parse(json.as_bytes()).unwrap()
    }

    const CLOSE: &str = r#"{"activity-type":"CLOSE","timestamp":"2026-07-31T08:15:40.042Z","user":"a-very-long-user-name",
        "session-id":"0049cd844c7536c06a89","source-ip":"192.0.2.1","status":"success","bytes-in":"121","operation":"write",
        "logical-path":"/日本語/data.csv"}"#;

    #[test]
    fn a_row_is_as_wide_as_the_terminal_or_whole() {
        let of_width = |width| Table::of_width(OF_EVENTS, "DETAIL", width);
        let row = of_width(None).row(&event(CLOSE));
        assert_eq!(
            row,
            "2026-07-31 08:15:40 0049cd84 CLOSE          a-very-long-user-name 192.0.2.1       success         121 write /日本語/data.csv"
        );
        for width in [80, 99, 100, 110, 120, 200] {
            let table = of_width(Some(width));
            for row in [table.row(&event(CLOSE)), table.head()] {
                assert!(columns(&row) <= width, "{width}: {row}");
            }
            let row = table.row(&event(CLOSE));
            assert!(row.contains("CLOSE          a-very-long… "), "{width}: {row}");
            assert_eq!(
                (row.contains("192.0.2.1"), row.contains("0049cd84"), row.contains(" 121 ")),
                (width >= 100, width >= 110, width >= 120)
            );
        }
    }

    #[test]
    fn a_column_that_nothing_stands_in_gives_its_room_to_the_last_one() {
        const COLUMNS: &[Column] = &[Column::text("A", 4), Column::text("B", 6)];
        let table = |width| Table::of_width(COLUMNS, "LAST", width).without("B");
        let cells = ["a".into(), "b".into()];
        assert_eq!(table(None).lay_out(&cells, "rest"), "a    rest");
        assert_eq!(table(Some(30)).head(), "A    LAST");
        assert_eq!(table(Some(32)).lay_out(&cells, &"x".repeat(40)), format!("a    {}…", "x".repeat(26)));
    }

    #[test]
    fn the_detail_says_what_matters() {
        for (json, expected) in [
            (r#"{"logical-path":"/a","new-logical-path":"/b","message":"no"}"#, "/a → /b (no)"),
            (r#"{"reason":"unknown-user","method":"none","message":"x"}"#, "unknown-user (x)"),
            (r#"{"request":"shell"}"#, "shell"),
            (r#"{"method":"publickey"}"#, "publickey"),
            (r#"{"method":"publickey","ssh-public-key-fingerprint":"SHA256:x"}"#, "publickey SHA256:x"),
            (
                r#"{"reason":"key-not-authorized","ssh-public-key-fingerprint":"SHA256:x"}"#,
                "key-not-authorized SHA256:x",
            ),
            (r#"{"path":"/k","operation":"CLOSE"}"#, "/k"),
            ("{}", ""),
        ] {
            assert_eq!(detail(&event(json)), expected);
        }
        assert!(
            !Table::of_width(OF_EVENTS, "DETAIL", None)
                .row(&event("{\"user\":\"\\u001b[2J\\n\"}"))
                .contains(['\u{1b}', '\n'])
        );
    }
}
