//! The rows of events.

use super::detail::Detail;
use super::{Column, SHORT_ID, Table, is_coloured};
use crate::audit::outcome::status_of;
use crate::audit::read::Event;

/// The columns before the last one.
const COLUMNS: &[Column] = &[
    Column::text("TIME (UTC)", 19),
    Column::text("SESSION", SHORT_ID),
    Column::text("ACTIVITY", 14),
    Column::text("USER", 12),
    Column::text("ADDRESS", 15).from(110),
    Column::text(STATUS, 7).from(100),
    Column::number("BYTES", 11).from(120),
];

/// Where there is no room for it, what did not succeed says so in the last column.
const STATUS: &str = "STATUS";

/// What stands above the last one.
const DETAIL: &str = "DETAIL";

impl Table {
    /// Of events, for standard output: a row fits its terminal's width; in a pipe nothing of a row is left out.
    pub fn of_terminal() -> Self {
        Table::with(COLUMNS, DETAIL)
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
            status(event).into(),
            bytes.map(|bytes| bytes.to_string()).unwrap_or_default().into(),
        ];
        let first = match status(event) {
            failed @ ("denied" | "failure") if !self.shows(STATUS) => format!("{failed} "),
            _ => String::new(),
        };
        let room = self.last.map(|width| width.saturating_sub(first.len()));
        self.lay_out(&cells, &(first + &Detail::of(event).within(room)))
    }

    /// A row for a terminal, in colour where colours are wanted.
    pub fn row_of_terminal(&self, event: &Event) -> String {
        if is_coloured() { self.coloured_row(event) } else { self.row(event) }
    }

    /// A row in the colour of what it says: green for a login, red for what was denied, yellow for what failed.
    pub fn coloured_row(&self, event: &Event) -> String {
        let colour = match (status(event), event.activity()) {
            ("denied", _) => "31",
            ("failure", _) | (_, "PARTIAL_CLOSE") => "33",
            (_, "CONNECTED") => "32",
            (_, "DISCONNECTED") => "2",
            _ => return self.row(event),
        };
        // What the row says has no escapes of its own: `shown` has seen to that.
        format!("\x1b[{colour}m{}\x1b[0m", self.row(event))
    }
}

fn status(event: &Event) -> &str {
    match event.text("status") {
        "" => status_of(event.activity()).unwrap_or_default(),
        status => status,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::super::columns;
    use super::*;

    fn event(json: &str) -> Event {
        Event::parse(json.as_bytes()).unwrap()
    }

    fn of_width(width: Option<usize>) -> Table {
        Table::of_width(COLUMNS, DETAIL, width)
    }

    const CLOSE: &str = r#"{"activity-type":"CLOSE","timestamp":"2026-07-31T08:15:40.042Z","user":"a-very-long-user-name",
        "session-id":"0049cd844c7536c06a89","source-ip":"192.0.2.1","status":"success","bytes-in":"121","operation":"write",
        "ssh-public-key-fingerprint":"SHA256:BY3gNMHwTfjd4n2VuT4pTyLOk82zWZj4KEYEu7y4r/0","logical-path":"/日本語/data.csv"}"#;

    #[test]
    fn a_row_is_as_wide_as_the_terminal_or_whole() {
        let row = of_width(None).row(&event(CLOSE));
        assert_eq!(
            row,
            "2026-07-31 08:15:40 0049cd84 CLOSE          a-very-long-user-name 192.0.2.1       success         121 /日本語/data.csv \
             write SHA256:BY3gNMHwTfjd4n2VuT4pTyLOk82zWZj4KEYEu7y4r/0"
        );
        for width in [80, 99, 100, 110, 120, 200] {
            let table = of_width(Some(width));
            for row in [table.row(&event(CLOSE)), table.head()] {
                assert!(columns(&row) <= width, "{width}: {row}");
            }
            let row = table.row(&event(CLOSE));
            assert!(row.contains("CLOSE          a-very-long… ") && row.contains("/日本語/data.csv"), "{width}: {row}");
            assert_eq!(
                (row.contains("0049cd84"), row.contains("success"), row.contains("192.0.2.1"), row.contains(" 121 ")),
                (true, width >= 100, width >= 110, width >= 120)
            );
        }
    }

    #[test]
    fn a_row_without_room_for_the_status_says_what_did_not_succeed() {
        let denied = event(&CLOSE.replace("success", "denied").replace("日本語", "in"));
        let row = of_width(Some(80)).row(&denied);
        assert!(row.contains(" denied /in/data.csv "), "{row}");
        let long = event(&CLOSE.replace("success", "failure").replace("/日本語", "/incoming/from/partner"));
        let row = of_width(Some(80)).row(&long);
        assert!(row.ends_with(" failure …rtner/data.csv") && columns(&row) <= 80, "{row}");
        let login = event(r#"{"activity-type":"AUTH_FAILURE","reason":"unknown-user"}"#);
        assert!(of_width(Some(80)).row(&login).ends_with(" failure unknown-user"));
        assert_eq!(of_width(Some(100)).row(&denied).matches("denied").count(), 1);
    }

    #[test]
    fn an_event_whose_name_says_how_it_went_has_a_status() {
        for (activity, status) in [("AUTH_FAILURE", "failure"), ("CONNECTED", "success"), ("REQUEST_DENIED", "denied")]
        {
            let row = of_width(None).row(&event(&format!(r#"{{"activity-type":"{activity}"}}"#)));
            assert!(row.ends_with(status), "{row}");
        }
        assert!(of_width(None).coloured_row(&event(r#"{"activity-type":"REQUEST_DENIED"}"#)).starts_with("\x1b[31m"));
    }

    #[test]
    fn nothing_of_an_event_is_obeyed_by_a_terminal() {
        assert!(!of_width(None).row(&event("{\"user\":\"\\u001b[2J\\n\"}")).contains(['\u{1b}', '\n']));
    }
}
