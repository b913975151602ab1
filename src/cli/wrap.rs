//! Lines that fit a terminal: what is too long goes on in the next line, below where its value began. A pipe gets lines as they are.

use std::borrow::Cow;
use std::io::{self, Write};

use rustix::termios::tcgetwinsize;

use crate::audit::table::columns;

/// The narrowest terminal that lines are fitted to; on one that is narrower still they would be mostly indents.
const NARROWEST: usize = 40;

/// The longest name before a value, in columns.
const LONGEST_NAME: usize = 30;

/// How much further the second line is indented when there is no value to stand below.
const INDENT: usize = 4;

/// A text as it fits the terminal of standard output.
pub(super) fn wrapped(text: &str) -> Cow<'_, str> {
    match width_of_terminal() {
        Some(width) => Cow::Owned(fitted(text, width)),
        None => Cow::Borrowed(text),
    }
}

/// How many columns the terminal of standard output has; `None` in a pipe.
fn width_of_terminal() -> Option<usize> {
    let width = tcgetwinsize(io::stdout()).ok().map(|size| usize::from(size.ws_col));
    width.filter(|width| *width >= NARROWEST)
}

fn fitted(text: &str, width: usize) -> String {
    text.lines().map(|line| fitted_line(line, width)).collect::<Vec<_>>().join("\n")
}

/// Breaks a line between words. A word that is longer than a line, such as a path, stays whole: it may be copied.
fn fitted_line(line: &str, width: usize) -> String {
    if columns(line) <= width {
        return line.to_owned();
    }
    let indent = indent_of(line);
    let (mut fitted, mut used) = (String::new(), 0);
    let mut is_begun = false;
    for word in line.split_inclusive(' ') {
        let length = columns(word.trim_end_matches(' '));
        if is_begun && length > 0 && used + length > width && used > indent {
            fitted.truncate(fitted.trim_end_matches(' ').len());
            fitted.push('\n');
            fitted.push_str(&" ".repeat(indent));
            used = indent;
        }
        is_begun |= length > 0;
        fitted.push_str(word);
        used += columns(word);
    }
    fitted
}

/// Where the value begins: behind a name and two spaces or more.
fn indent_of(line: &str) -> usize {
    let text = line.trim_start_matches(' ');
    let before = line.len() - text.len();
    let value = text.find("  ").and_then(|gap| {
        let rest = text.get(gap..)?;
        Some(columns(text.get(..gap)?) + rest.len() - rest.trim_start_matches(' ').len())
    });
    value.filter(|value| before + value <= LONGEST_NAME).map_or(before + INDENT, |value| before + value)
}

/// A writer that fits each line to the terminal of standard output.
#[derive(Debug)]
pub(super) struct Wrapping<W: Write> {
    out: W,
    width: Option<usize>,
    /// The beginning of a line whose end has not been written yet.
    begun: Vec<u8>,
}

impl<W: Write> Wrapping<W> {
    /// Fits lines of a text; other forms go through as they are.
    pub(super) fn new(out: W, is_text: bool) -> Self {
        Wrapping { out, width: width_of_terminal().filter(|_| is_text), begun: Vec::new() }
    }

    fn write_begun(&mut self) -> io::Result<()> {
        let line = std::mem::take(&mut self.begun);
        let Some(width) = self.width.filter(|_| !line.is_empty()) else { return self.out.write_all(&line) };
        self.out.write_all(fitted_line(&String::from_utf8_lossy(&line), width).as_bytes())
    }
}

impl<W: Write> Write for Wrapping<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.width.is_none() {
            return self.out.write(bytes);
        }
        let mut pieces = bytes.split(|byte| *byte == b'\n');
        self.begun.extend_from_slice(pieces.next().unwrap_or_default());
        for piece in pieces {
            self.write_begun()?;
            self.out.write_all(b"\n")?;
            self.begun.extend_from_slice(piece);
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.write_begun()?;
        self.out.flush()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_long_line_goes_on_below_its_value() {
        let text = "short\nsink      file /var/log: writes, and 3 refused deliveries are set aside\n";
        let fitted = fitted(text, 40);
        assert_eq!(
            fitted,
            "short\nsink      file /var/log: writes, and 3\n          refused deliveries are set\n          aside"
        );
        assert!(fitted.lines().all(|line| columns(line) <= 40));
    }

    #[test]
    fn without_a_value_it_is_indented_further() {
        assert_eq!(
            fitted_line("  changed: expected is one line and there is another", 40),
            "  changed: expected is one line and\n      there is another"
        );
        assert_eq!(
            fitted_line("  +0.5  CLOSE  /a; 1 ms, 2 bytes in, sha256 12", 40),
            "  +0.5  CLOSE  /a; 1 ms, 2 bytes in,\n        sha256 12"
        );
    }

    #[test]
    fn a_word_that_is_longer_than_a_line_stays_whole() {
        let path = "/".repeat(60);
        assert_eq!(
            fitted_line(&format!("file      {path} is there"), 40),
            format!("file      {path}\n          is there")
        );
        assert_eq!(fitted_line(&path, 40), path);
    }

    #[test]
    fn a_writer_gets_whole_lines_wherever_they_were_cut() {
        let text = "name      a value that is longer than forty columns\nlast one";
        for size in [1, 7, 100] {
            let mut out = Vec::new();
            let mut wrapping = Wrapping { out: &mut out, width: Some(40), begun: Vec::new() };
            text.as_bytes().chunks(size).for_each(|piece| wrapping.write_all(piece).unwrap());
            wrapping.flush().unwrap();
            assert_eq!(String::from_utf8(out).unwrap(), fitted(text, 40), "{size}");
        }
    }
}
