//! Lines on standard output; on a terminal, rows that a person reads.

use std::fs::File;
use std::io::{self, IsTerminal, Write};
use std::os::fd::AsFd;
use std::time::Duration;

use super::Sink;
use crate::audit::read::Event;
use crate::audit::table::{Table, is_coloured};

/// How long a pipe that its other users made non-blocking is left alone when it is full.
const PAUSE: Duration = Duration::from_millis(5);

/// Writes past the buffer of [`std::io::Stdout`], so that a line that is written has left the process, and one that is not is
/// not half in a buffer. A reader that went away is an error (EPIPE), not the end of the process.
#[derive(Debug)]
pub(in crate::audit) struct StdoutSink {
    out: File,
    shows: Shows,
}

/// What of the events is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Shows {
    /// The lines as they are.
    Lines,
    /// A row each; whether in colour.
    Rows { in_colour: bool },
}

impl StdoutSink {
    /// Takes a descriptor of its own. `is_plain`: the lines are the events themselves, in no other format.
    pub(super) fn open(is_plain: bool) -> io::Result<Self> {
        let out = io::stdout().as_fd().try_clone_to_owned();
        let out = out.map_err(|error| io::Error::new(error.kind(), format!("standard output: {error}")))?;
        let mut sink = StdoutSink::over(out);
        if is_plain && sink.out.is_terminal() {
            sink.shows = Shows::Rows { in_colour: is_coloured() };
        }
        Ok(sink)
    }

    /// The same over any descriptor.
    pub(in crate::audit) fn over(out: impl Into<File>) -> Self {
        StdoutSink { out: out.into(), shows: Shows::Lines }
    }

    fn write_some(&mut self, bytes: &[u8]) -> io::Result<usize> {
        loop {
            match self.out.write(bytes) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => std::thread::sleep(PAUSE),
                result => return result,
            }
        }
    }

    /// Writes a row for each whole line. The next ones may find a terminal of another width.
    fn write_rows(&mut self, bytes: &[u8], in_colour: bool) -> io::Result<usize> {
        let whole = bytes.iter().rposition(|byte| *byte == b'\n').map_or(bytes.len(), |end| end + 1);
        let (lines, table) = (bytes.get(..whole).unwrap_or_default(), Table::of_terminal());
        let mut rows = String::new();
        for line in lines.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
            match Event::parse(line) {
                Some(event) if in_colour => rows.push_str(&table.coloured_row(&event)),
                Some(event) => rows.push_str(&table.row(&event)),
                None => rows.push_str(&String::from_utf8_lossy(line)),
            }
            rows.push('\n');
        }
        let mut rest = rows.as_bytes();
        while !rest.is_empty() {
            let written = self.write_some(rest)?;
            rest = rest.get(written..).unwrap_or_default();
        }
        Ok(whole)
    }
}

impl Sink for StdoutSink {
    fn name(&self) -> String {
        "standard output".into()
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self.shows {
            Shows::Lines => self.write_some(bytes),
            Shows::Rows { in_colour } => self.write_rows(bytes, in_colour),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use std::io::Read;
    use std::os::fd::OwnedFd;

    use super::*;

    #[test]
    fn a_pipe_without_a_reader_is_an_error() {
        let (reader, writer) = io::pipe().unwrap();
        let mut sink = StdoutSink::over(OwnedFd::from(writer));
        assert_eq!(sink.write(b"line\n").unwrap(), 5);
        drop(reader);
        assert_eq!(sink.write(b"line\n").unwrap_err().kind(), io::ErrorKind::BrokenPipe);
    }

    #[test]
    fn a_full_pipe_that_does_not_block_is_waited_for() {
        let (mut reader, writer) = io::pipe().unwrap();
        let flags = rustix::fs::fcntl_getfl(&writer).unwrap();
        rustix::fs::fcntl_setfl(&writer, flags | rustix::fs::OFlags::NONBLOCK).unwrap();
        let mut sink = StdoutSink::over(OwnedFd::from(writer));
        let thread = std::thread::spawn(move || {
            let mut written = 0;
            while written < 1 << 20 {
                written += sink.write(&[b'x'; 4096]).unwrap();
            }
            written
        });
        let mut all = Vec::new();
        reader.read_to_end(&mut all).unwrap();
        assert_eq!(all.len(), thread.join().unwrap());
    }
    #[test]
    fn a_terminal_is_shown_rows() {
        let lines = concat!(
            r#"{"activity-type":"CONNECTED","timestamp":"2026-07-31T08:15:40.042Z","session-id":"0049cd844c7536c06a89","user":"ann","source-ip":"192.0.2.7","status":"success"}"#,
            "\n",
            r#"{"activity-type":"DELETE","timestamp":"2026-07-31T08:15:41.000Z","user":"ann","logical-path":"/\u001b[2Jx","status":"denied"}"#,
            "\nhalf a l"
        );
        for in_colour in [true, false] {
            let (mut reader, writer) = io::pipe().unwrap();
            let mut sink = StdoutSink { out: File::from(OwnedFd::from(writer)), shows: Shows::Rows { in_colour } };
            assert_eq!(sink.write(lines.as_bytes()).unwrap(), lines.len() - "half a l".len());
            drop(sink);
            let mut shown = String::new();
            reader.read_to_string(&mut shown).unwrap();
            let rows: Vec<&str> = shown.lines().collect();
            assert_eq!(rows.len(), 2, "{shown}");
            assert!(rows[0].contains("2026-07-31 08:15:40 0049cd84 CONNECTED"), "{shown}");
            assert!(rows[1].contains(r"/\u{1b}[2Jx"), "{shown}");
            assert_eq!(rows[1].starts_with("\x1b[31m"), in_colour, "{shown}");
        }
    }
}
