//! Events as a table for spreadsheets (RFC 4180): the columns that most people ask for. The page exports the same.

use std::io::{self, Write};

use serde_json::Value;

use super::report::{csv_writer, harmless};

/// The columns, by the names of the fields. `export.js` has the same. New ones come last, so that the others keep their places.
const COLUMNS: [&str; 26] = [
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
    "method",
    "role",
    "http-status",
    "identity",
    "ssh-public-key-fingerprint",
    "target",
    "account",
    "ended-by",
];

/// A table that is being written: a row of names, and a row for each event. A text that a spreadsheet would take for a formula has an
/// apostrophe in front.
#[derive(Debug)]
pub struct Spreadsheet<W: Write>(csv::Writer<W>);

impl<W: Write> Spreadsheet<W> {
    /// Writes the row of names.
    ///
    /// # Errors
    /// The writer's.
    pub fn begin(out: W) -> io::Result<Self> {
        let mut writer = csv_writer(csv::Terminator::CRLF, out);
        writer.write_record(COLUMNS)?;
        Ok(Spreadsheet(writer))
    }

    /// Writes the row of a line.
    ///
    /// # Errors
    /// The writer's.
    pub fn add(&mut self, line: &[u8]) -> io::Result<()> {
        let event: Value = serde_json::from_slice(line).unwrap_or_default();
        Ok(self.0.write_record(COLUMNS.map(|name| harmless(&text_of(&event[name]))))?)
    }

    /// Writes what is left.
    ///
    /// # Errors
    /// The writer's.
    pub fn end(mut self) -> io::Result<()> {
        self.0.flush()
    }
}

/// The whole table of these lines.
///
/// # Errors
/// What the writer says.
pub fn table(lines: &[Vec<u8>]) -> Result<Vec<u8>, String> {
    let mut table = Vec::new();
    let written = Spreadsheet::begin(&mut table).and_then(|mut sheet| {
        lines.iter().try_for_each(|line| sheet.add(line))?;
        sheet.end()
    });
    written.map_err(|error| error.to_string())?;
    Ok(table)
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
            br#"{"activity-type":"DISCONNECTED","reason":"administrator","ended-by":"night-shift"}"#.to_vec(),
            br#"{"activity-type":"ADMIN_CALL","reason":"two\nlines","caller":"-x","method":"DELETE","role":"operator","http-status":200}"#.to_vec(),
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
            row(&[("activity-type", "DISCONNECTED"), ("reason", "administrator"), ("ended-by", "night-shift")]),
            row(&[
                ("activity-type", "ADMIN_CALL"),
                ("caller", "'-x"),
                ("reason", "two\nlines"),
                ("method", "DELETE"),
                ("role", "operator"),
                ("http-status", "200"),
            ]),
        ];
        assert_eq!(table, expected.concat());
    }
}
