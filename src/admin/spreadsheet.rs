//! Events as a table for spreadsheets (RFC 4180): the columns that most people ask for. The page exports the same.

use serde_json::Value;

use crate::audit::report::{csv_writer, harmless};

/// The columns, by the names of the fields. `export.js` has the same.
const COLUMNS: [&str; 18] = [
    "timestamp",
    "activity-type",
    "status",
    "user",
    "caller",
    "source-ip",
    "session-id",
    "protocol",
    "operation",
    "logical-path",
    "new-logical-path",
    "path",
    "bytes-in",
    "bytes-out",
    "sha256",
    "reason",
    "message",
    "event-id",
];

/// A row for each line, below a row of names. A text that a spreadsheet would take for a formula has an apostrophe in front.
///
/// # Errors
/// What the writer says.
pub(super) fn table(lines: &[Vec<u8>]) -> Result<Vec<u8>, String> {
    let mut writer = csv_writer(csv::Terminator::CRLF, Vec::new());
    writer.write_record(COLUMNS).map_err(|error| error.to_string())?;
    for line in lines {
        let event: Value = serde_json::from_slice(line).unwrap_or_default();
        let cells = COLUMNS.map(|name| harmless(&text_of(&event[name])));
        writer.write_record(cells).map_err(|error| error.to_string())?;
    }
    writer.into_inner().map_err(|error| error.to_string())
}

fn text_of(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_row_for_each_event_and_no_formulas() {
        let lines = [
            br#"{"activity-type":"CLOSE","logical-path":"/a,\"b\".csv","bytes-in":"7","user":"=1+1","more":1}"#
                .to_vec(),
            br#"{"activity-type":"ADMIN_CALL","reason":"two\nlines","caller":"-x"}"#.to_vec(),
        ];
        let table = String::from_utf8(table(&lines).unwrap()).unwrap();
        let row = |values: &[(&str, &str)]| {
            let of = |name| values.iter().find(|(column, _)| *column == name).map_or("", |(_, value)| value);
            COLUMNS.map(|name| format!("\"{}\"", of(name))).join(",") + "\r\n"
        };
        let expected = [
            COLUMNS.map(|name| format!("\"{name}\"")).join(",") + "\r\n",
            row(&[
                ("activity-type", "CLOSE"),
                ("user", "'=1+1"),
                ("logical-path", "/a,\"\"b\"\".csv"),
                ("bytes-in", "7"),
            ]),
            row(&[("activity-type", "ADMIN_CALL"), ("caller", "'-x"), ("reason", "two\nlines")]),
        ];
        assert_eq!(table, expected.concat());
    }
}
