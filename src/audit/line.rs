//! One event as one line of JSON: fields in the order they are added, each at most once, each of bounded length.

use std::borrow::Cow;
use std::io;
use std::sync::Arc;

use serde::Serialize;
use serde_json::ser::{CompactFormatter, Formatter, Serializer};

use super::chain::{Hash, Position};
use super::signing::SigningKey;
use super::stamp::Stamp;

/// Bytes of a text that no rule of its own bounds.
pub(super) const MAX_TEXT: usize = 1024;
/// Bytes of the client's version line (RFC 4253 section 4.2: 255 with CR and LF).
pub(super) const MAX_CLIENT: usize = 255;
/// Bytes of a list of algorithm names.
pub(super) const MAX_LIST: usize = 2048;
/// Bytes of a path: a key or a client's path is at most 1,024, the name of the store comes before it.
pub const MAX_PATH: usize = 4096;
/// Bytes of a public key in base64: an RSA key of 16,384 bits has 2,800.
pub(super) const MAX_KEY: usize = 8192;

/// The end of a text that was cut.
const CUT: &str = "…";

/// Bytes that a line gets at its end: its place in the chain, and of a checkpoint the signature.
const TAIL: usize = r#","sequence":18446744073709551615,"previous":"""#.len() + 64 + "}\n".len();
const SIGNATURE: usize = r#","signature":"""#.len() + 88;

/// A line that waits for its time, its id and its place in the chain. Its end is missing.
#[derive(Debug)]
pub(super) struct Draft {
    bytes: Vec<u8>,
    stamp_at: usize,
    is_checkpoint: bool,
    /// The key that a checkpoint names.
    key: Option<Arc<SigningKey>>,
}

impl Draft {
    /// Puts the stamp in (its fields have a fixed width, so nothing moves) and appends the line to `lines`, as the one after
    /// `last`; a checkpoint is signed if it names a key. Returns the place that the line has.
    pub(super) fn seal_into(mut self, lines: &mut Vec<u8>, stamp: &Stamp, last: Position) -> Position {
        let end = self.stamp_at + Stamp::LENGTH;
        if let Some(place) = self.bytes.get_mut(self.stamp_at..end) {
            place.copy_from_slice(&stamp.fields());
        }
        let (start, sequence) = (lines.len(), last.sequence + 1);
        lines.reserve(self.len());
        lines.extend_from_slice(&self.bytes);
        lines.extend_from_slice(b",\"sequence\":");
        lines.extend_from_slice(sequence.to_string().as_bytes());
        lines.extend_from_slice(b",\"previous\":\"");
        lines.extend_from_slice(&last.hash.hex());
        lines.extend_from_slice(b"\"}");
        if let Some(signature) = self.key.as_ref().map(|key| key.sign(lines.get(start..).unwrap_or_default())) {
            lines.pop();
            lines.extend_from_slice(b",\"signature\":\"");
            lines.extend_from_slice(signature.as_bytes());
            lines.extend_from_slice(b"\"}");
        }
        let hash = Hash::of_line(lines.get(start..).unwrap_or_default());
        lines.push(b'\n');
        Position { sequence, hash }
    }

    /// Bytes of the line, or a few more.
    pub(super) fn len(&self) -> usize {
        self.bytes.len() + TAIL + if self.is_checkpoint { SIGNATURE } else { 0 }
    }

    /// Whether it is a checkpoint.
    pub(super) fn is_checkpoint(&self) -> bool {
        self.is_checkpoint
    }
}

/// Builds a [`Draft`].
#[derive(Debug)]
pub(super) struct LineWriter {
    bytes: Vec<u8>,
    names: Vec<&'static str>,
    stamp_at: usize,
}

impl LineWriter {
    /// A line without fields.
    pub(super) fn new() -> Self {
        let mut bytes = Vec::with_capacity(768);
        bytes.push(b'{');
        LineWriter { bytes, names: Vec::with_capacity(32), stamp_at: 0 }
    }

    /// Adds a text of at most [`MAX_TEXT`] bytes. An empty one, and a name that stands already, is left out.
    pub(super) fn text(&mut self, name: &'static str, value: &str) {
        self.bounded(name, value, MAX_TEXT);
    }

    /// Adds a text if there is one.
    pub(super) fn maybe(&mut self, name: &'static str, value: Option<&str>) {
        self.bounded(name, value.unwrap_or_default(), MAX_TEXT);
    }

    /// Adds a text of at most `limit` bytes; a longer one is cut and ends in `…`.
    pub(super) fn bounded(&mut self, name: &'static str, value: &str, limit: usize) {
        if value.is_empty() || self.names.contains(&name) {
            return;
        }
        let before = self.bytes.len();
        self.name(name);
        if !put_text(&mut self.bytes, value, limit) {
            self.bytes.truncate(before);
        }
    }

    /// Adds a text that was written to JSON before, if there is one. A name that stands already is left out.
    pub(super) fn ready(&mut self, name: &'static str, value: Option<&Ready>) {
        let Some(Ready(json)) = value.filter(|_| !self.names.contains(&name)) else { return };
        self.name(name);
        self.bytes.extend_from_slice(json);
    }

    /// Adds both directions of an algorithm, client to server first, as Transfer Family joins them.
    pub(super) fn pair(&mut self, name: &'static str, (to_server, to_client): &(String, String)) {
        if !to_server.is_empty() && !to_client.is_empty() {
            self.text(name, &format!("{to_server},{to_client}"));
        }
    }

    /// Adds a number.
    pub(super) fn number(&mut self, name: &'static str, value: u64) {
        if !self.names.contains(&name) {
            self.name(name);
            self.bytes.extend_from_slice(value.to_string().as_bytes());
        }
    }

    /// Adds `true` or `false`.
    pub(super) fn boolean(&mut self, name: &'static str, value: bool) {
        if !self.names.contains(&name) {
            self.name(name);
            self.bytes.extend_from_slice(if value { b"true" } else { b"false" });
        }
    }

    /// Keeps the place of `timestamp` and `event-id`. Called once, after at least one field.
    pub(super) fn stamp(&mut self) {
        self.bytes.push(b',');
        self.stamp_at = self.bytes.len();
        self.bytes.resize(self.stamp_at + Stamp::LENGTH, b' ');
    }

    /// The line of an event.
    pub(super) fn finish(self) -> Draft {
        Draft { bytes: self.bytes, stamp_at: self.stamp_at, is_checkpoint: false, key: None }
    }

    /// The line of a checkpoint, which this key will sign.
    pub(super) fn finish_checkpoint(self, key: Option<Arc<SigningKey>>) -> Draft {
        Draft { is_checkpoint: true, key, ..self.finish() }
    }

    fn name(&mut self, name: &'static str) {
        if self.bytes.len() > 1 {
            self.bytes.push(b',');
        }
        self.names.push(name);
        self.bytes.push(b'"');
        self.bytes.extend_from_slice(name.as_bytes());
        self.bytes.extend_from_slice(b"\":");
    }
}

/// A text as it stands in lines, at most [`MAX_TEXT`] bytes of it: for what many lines have in common.
#[derive(Debug, Clone)]
pub(super) struct Ready(Box<[u8]>);

impl Ready {
    /// Writes `value`, which is not empty.
    pub(super) fn text(value: &str) -> Self {
        let mut bytes = Vec::with_capacity(value.len() + 2);
        if !put_text(&mut bytes, value, MAX_TEXT) {
            bytes = b"\"\"".to_vec();
        }
        Ready(bytes.into())
    }
}

/// Appends a text as JSON. False if that fails, which writing to memory does not; if it did, the line would have to stay JSON.
fn put_text(bytes: &mut Vec<u8>, value: &str, limit: usize) -> bool {
    let mut writer = Serializer::with_formatter(bytes, Plain);
    cut(value, limit).serialize(&mut writer).is_ok()
}

/// At most `limit` bytes of `value`, cut between characters.
fn cut(value: &str, limit: usize) -> Cow<'_, str> {
    if value.len() <= limit {
        return Cow::Borrowed(value);
    }
    let end = value.floor_char_boundary(limit.saturating_sub(CUT.len()));
    Cow::Owned(format!("{}{CUT}", &value[..end]))
}

/// Escapes, beyond what JSON demands, the characters that a terminal obeys or that turn text around: event lines are read on
/// terminals, and clients choose some of their text. A parser sees the same value.
pub(super) struct Plain;

impl Formatter for Plain {
    fn write_string_fragment<W: ?Sized + io::Write>(&mut self, writer: &mut W, fragment: &str) -> io::Result<()> {
        let mut rest = fragment;
        while let Some((at, found)) = rest.char_indices().find(|(_, c)| is_treacherous(*c)) {
            let (plain, tail) = rest.split_at(at);
            CompactFormatter.write_string_fragment(writer, plain)?;
            write!(writer, "\\u{:04x}", u32::from(found))?;
            rest = tail.get(found.len_utf8()..).unwrap_or_default();
        }
        CompactFormatter.write_string_fragment(writer, rest)
    }
}

/// DEL and C1 controls, line and paragraph separators, and the marks that change the direction of text. All within four hex
/// digits.
fn is_treacherous(c: char) -> bool {
    matches!(c, '\u{7f}'..='\u{9f}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use super::*;

    fn one(value: &str, limit: usize) -> (String, serde_json::Value) {
        let mut line = LineWriter::new();
        line.bounded("x", value, limit);
        let text = String::from_utf8(line.finish().bytes).unwrap() + "}\n";
        let value = serde_json::from_str(&text).unwrap();
        (text, value)
    }

    #[test]
    fn a_text_survives_escaping() {
        for value in
            ["plain", "a\"b\\c\n\r\t\u{0}\u{1b}[2J", "\u{7f}\u{9b}31m", "\u{202e}gpj.exe", "日本語 🦀", "\u{2028}"]
        {
            let (line, json) = one(value, MAX_TEXT);
            assert_eq!(json["x"], value);
            assert_eq!(line.lines().count(), 1, "{line:?}");
            assert!(!line.trim_end().chars().any(|c| c.is_control() || is_treacherous(c)), "{line:?}");
        }
    }

    #[test]
    fn a_long_text_is_cut_between_characters() {
        assert_eq!(one("abcdef", 6).1["x"], "abcdef");
        assert_eq!(one("abcdefg", 6).1["x"], "abc…");
        assert_eq!(one("éééé", 6).1["x"], "é…");
        assert_eq!(one(&"🦀".repeat(1000), MAX_CLIENT).1["x"].as_str().unwrap().len(), 63 * 4 + 3);
    }

    #[test]
    fn empty_texts_and_second_values_are_left_out() {
        let mut line = LineWriter::new();
        line.text("a", "1");
        line.text("b", "");
        line.maybe("c", None);
        line.text("a", "2");
        line.number("a", 3);
        line.number("d", 4);
        line.pair("e", &("x".into(), String::new()));
        line.pair("f", &("x".into(), "y".into()));
        line.ready("a", Some(&Ready::text("5")));
        line.ready("g", None);
        line.ready("h", Some(&Ready::text("6\u{9b}")));
        assert_eq!(line.finish().bytes, b"{\"a\":\"1\",\"d\":4,\"f\":\"x,y\",\"h\":\"6\\u009b\"");
    }
}
