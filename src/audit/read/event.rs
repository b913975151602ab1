//! A line as an event: its fields by name.

use std::borrow::Cow;
use std::fmt::Write as _;
use std::net::IpAddr;

use chrono::{DateTime, Utc};
use serde_json::{Map, Value};

/// The fields of a line.
#[derive(Debug, Clone)]
pub struct Event(Map<String, Value>);

impl Event {
    /// Reads a line; `None` when it is no JSON object.
    pub fn parse(line: &[u8]) -> Option<Self> {
        serde_json::from_slice(line).ok().map(Event)
    }

    /// A field that is text; empty when it is absent.
    pub fn text(&self, name: &str) -> &str {
        self.0.get(name).and_then(Value::as_str).unwrap_or_default()
    }

    /// A field that is a number, or text of digits.
    pub fn number(&self, name: &str) -> Option<u64> {
        match self.0.get(name)? {
            Value::String(digits) => digits.parse().ok(),
            value => value.as_u64(),
        }
    }

    /// A field that is `true` or `false`.
    pub fn truth(&self, name: &str) -> Option<bool> {
        self.0.get(name)?.as_bool()
    }

    /// Whether a field holds this text, in small or capital letters.
    pub fn holds(&self, text: &str) -> bool {
        let text = text.to_lowercase();
        let is_in = |value: &Value| match value {
            Value::String(field) => field.to_lowercase().contains(&text),
            Value::Number(number) => number.to_string().contains(&text),
            _ => false,
        };
        self.0.values().any(is_in)
    }

    /// The `activity-type`.
    pub fn activity(&self) -> &str {
        self.text("activity-type")
    }

    /// The `timestamp`.
    pub fn time(&self) -> Option<DateTime<Utc>> {
        DateTime::parse_from_rfc3339(self.text("timestamp")).ok().map(|time| time.to_utc())
    }

    /// The `source-ip`.
    pub fn address(&self) -> Option<IpAddr> {
        self.text("source-ip").parse().ok()
    }

    /// The fields, in the order of their names.
    pub fn fields(&self) -> &Map<String, Value> {
        &self.0
    }
}

/// JSON as it may be shown on a terminal: the same value, with escapes for what [`shown`] escapes.
pub fn shown_json(value: &Value) -> String {
    let mut safe = String::new();
    for c in format!("{value:#}").chars() {
        // The newlines are those between the values; in a text they are escaped already.
        if c == '\n' || !(c.is_control() || is_treacherous(c)) {
            safe.push(c);
            continue;
        }
        for unit in c.encode_utf16(&mut [0; 2]) {
            // Writing to a String cannot fail.
            let _ = write!(safe, "\\u{unit:04x}");
        }
    }
    safe
}

/// A text as it may be shown on a terminal: what a terminal would obey, or what turns text around, is escaped. The writer of the
/// trail does not write it raw, but JSON has escapes for it.
pub fn shown(text: &str) -> Cow<'_, str> {
    let plain = |c: char| !c.is_control() && !is_treacherous(c);
    if text.chars().all(plain) {
        return Cow::Borrowed(text);
    }
    let escaped = |c: char| if plain(c) { c.to_string() } else { c.escape_default().to_string() };
    Cow::Owned(text.chars().map(escaped).collect())
}

/// What is not seen or turns text around: separators of lines, and the format characters of Unicode 16 (class Cf).
fn is_treacherous(c: char) -> bool {
    matches!(c,
        '\u{ad}' | '\u{600}'..='\u{605}' | '\u{61c}' | '\u{6dd}' | '\u{70f}' | '\u{890}' | '\u{891}' | '\u{8e2}' | '\u{180e}'
        | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{2064}' | '\u{2066}'..='\u{206f}' | '\u{feff}'
        | '\u{fff9}'..='\u{fffb}' | '\u{110bd}' | '\u{110cd}' | '\u{13430}'..='\u{1343f}' | '\u{1bca0}'..='\u{1bca3}'
        | '\u{1d173}'..='\u{1d17a}' | '\u{e0001}' | '\u{e0020}'..='\u{e007f}')
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn what_a_terminal_obeys_or_does_not_show_is_escaped() {
        for (text, safe) in [
            ("c1\u{9b}31m", "c1\\u{9b}31m"),
            ("\u{202e}gpj", "\\u{202e}gpj"),
            ("zw\u{200b}\u{2060}\u{61c}", "zw\\u{200b}\\u{2060}\\u{61c}"),
            ("\u{e0041}", "\\u{e0041}"),
            ("日本語 🦀 é", "日本語 🦀 é"),
        ] {
            assert_eq!(shown(text), safe);
            let value = serde_json::json!({ "a": [text, "x\ny"] });
            let json = shown_json(&value);
            assert_eq!(serde_json::from_str::<Value>(&json).unwrap(), value);
            assert!(json.chars().all(|c| c == '\n' || !(c.is_control() || is_treacherous(c))), "{json:?}");
        }
    }

    #[test]
    fn fields_are_found_by_their_names_alone() {
        let event = Event::parse(
            br#"{"activity-type":"CLOSE","bytes-in":"121","duration-ms":48,"clean":false,
            "message":"\"user\":\"x\"","timestamp":"2026-07-31T08:15:40.042Z","source-ip":"192.0.2.1"}"#,
        )
        .unwrap();
        assert_eq!((event.activity(), event.text("user")), ("CLOSE", ""));
        assert_eq!((event.number("bytes-in"), event.number("duration-ms")), (Some(121), Some(48)));
        assert_eq!((event.truth("clean"), event.number("message")), (Some(false), None));
        assert_eq!(event.time().unwrap().timestamp_subsec_millis(), 42);
        assert!(event.address().unwrap().is_ipv4());
        for wrong in ["", "[]", "7", "{\"a\":", "\u{fffd}"] {
            assert!(Event::parse(wrong.as_bytes()).is_none(), "{wrong}");
        }
    }

    #[test]
    fn what_a_terminal_would_obey_is_not_shown() {
        assert_eq!(shown("/a b/日本.csv"), "/a b/日本.csv");
        assert_eq!(shown("a\u{1b}[2J\u{9b}\u{202e}\n"), "a\\u{1b}[2J\\u{9b}\\u{202e}\\n");
    }
}
