//! The records of a sender, as the sink reads them.

use std::fmt;
use std::time::{Duration, SystemTime};

/// The longest record, in bytes, without its line feed.
pub const MAX_RECORD: usize = 4096;

/// The longest name in a record, in bytes (what OpenSSH's `scp.c` sends of a directory's name).
pub const MAX_NAME: usize = 1024;

/// The last second of the year 9999: later times cannot be written in the forms that stores and events use. OpenSSH, too, goes on
/// without a time that is out of range.
const LAST_SECOND: u64 = 253_402_300_799;

/// One record of a sender.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Record<'a> {
    /// `C<mode> <size> <name>`: a file; its bytes follow when the sink agrees.
    File {
        /// Permission bits.
        mode: u32,
        /// How many bytes follow.
        size: u64,
        /// The last component of its name: never empty, `.` or `..`, without a slash. Not necessarily UTF-8.
        name: &'a [u8],
    },
    /// `D<mode> 0 <name>`: a directory; what follows up to its `E` lies in it.
    Directory {
        /// Permission bits.
        mode: u32,
        /// As of a file.
        name: &'a [u8],
    },
    /// `E`: the directory ends.
    End,
    /// `T<mtime> <microseconds> <atime> <microseconds>`: the times of the file or directory that follows.
    Times {
        /// Modification time; `None` after the year 9999.
        mtime: Option<SystemTime>,
        /// Access time; likewise.
        atime: Option<SystemTime>,
    },
    /// `\x01` and text: the sender could not send something, and goes on.
    Warning(&'a [u8]),
    /// `\x02` and text: the sender gives up.
    Fatal(&'a [u8]),
}

/// Why bytes are not a record. Each one ends the conversation: nobody knows what the bytes that follow would mean.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RecordError {
    /// The protocol is broken; what was expected. The words are OpenSSH's where it has some.
    Protocol(&'static str),
    /// A name that would lead elsewhere: empty, `.`, `..` or with a slash.
    UnexpectedName(Vec<u8>),
}

impl fmt::Display for RecordError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RecordError::Protocol(what) => write!(f, "protocol error: {what}"),
            RecordError::UnexpectedName(name) => {
                write!(f, "error: unexpected filename: {}", String::from_utf8_lossy(name))
            }
        }
    }
}

impl<'a> Record<'a> {
    /// Reads one record, without its line feed.
    ///
    /// # Errors
    /// [`RecordError`].
    pub fn parse(line: &'a [u8]) -> Result<Record<'a>, RecordError> {
        if line.len() > MAX_RECORD {
            return protocol("the record is too long");
        }
        match line {
            [] => protocol("unexpected <newline>"),
            [1, text @ ..] => Ok(Record::Warning(text)),
            [2, text @ ..] => Ok(Record::Fatal(text)),
            b"E" => Ok(Record::End),
            [b'T', times @ ..] => read_times(times),
            [b'C', rest @ ..] => {
                let (mode, size, name) = read_entry(rest)?;
                Ok(Record::File { mode, size, name })
            }
            [b'D', rest @ ..] => {
                let (mode, _, name) = read_entry(rest)?;
                Ok(Record::Directory { mode, name })
            }
            _ => protocol("expected control record"),
        }
    }
}

fn protocol<T>(what: &'static str) -> Result<T, RecordError> {
    Err(RecordError::Protocol(what))
}

/// `<mode> <size> <name>`, as `C` and `D` have it.
fn read_entry(rest: &[u8]) -> Result<(u32, u64, &[u8]), RecordError> {
    let Some((mode, rest)) = split_at_space(rest) else { return protocol("mode not delimited") };
    // OpenSSH takes four digits; others send the type of the file with them.
    let mode = match number(mode, 8) {
        Some(bits) if (3..=7).contains(&mode.len()) => (bits & 0o7777) as u32,
        _ => return protocol("bad mode"),
    };
    let Some((size, name)) = split_at_space(rest) else { return protocol("size not delimited") };
    let size = match number(size, 10) {
        Some(size) if size <= i64::MAX as u64 => size,
        _ => return protocol("size out of range"),
    };
    if name.is_empty() || name == b"." || name == b".." || name.contains(&b'/') {
        return Err(RecordError::UnexpectedName(name.to_vec()));
    }
    if name.len() > MAX_NAME {
        return protocol("the name is too long");
    }
    Ok((mode, size, name))
}

/// `<mtime> <microseconds> <atime> <microseconds>`.
fn read_times(times: &[u8]) -> Result<Record<'_>, RecordError> {
    let mut fields = times.split(|byte| *byte == b' ');
    let mut field = |what| match fields.next().and_then(|digits| number(digits, 10)) {
        Some(value) => Ok(value),
        None => protocol(what),
    };
    let mtime = time(field("mtime.sec not delimited")?, field("mtime.usec not delimited")?)?;
    let atime = time(field("atime.sec not delimited")?, field("atime.usec not delimited")?)?;
    match fields.next() {
        None => Ok(Record::Times { mtime, atime }),
        Some(_) => protocol("atime.usec not delimited"),
    }
}

fn time(seconds: u64, microseconds: u64) -> Result<Option<SystemTime>, RecordError> {
    if microseconds > 999_999 {
        return protocol("time out of range");
    }
    if seconds > LAST_SECOND {
        return Ok(None);
    }
    let since = Duration::from_secs(seconds) + Duration::from_micros(microseconds);
    Ok(SystemTime::UNIX_EPOCH.checked_add(since))
}

fn split_at_space(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let space = bytes.iter().position(|byte| *byte == b' ')?;
    Some((&bytes[..space], &bytes[space + 1..]))
}

/// Digits and nothing else; `None` also when there are none or too many.
fn number(digits: &[u8], radix: u32) -> Option<u64> {
    if digits.is_empty() {
        return None;
    }
    digits.iter().try_fold(0_u64, |value, byte| {
        let digit = char::from(*byte).to_digit(radix)?;
        value.checked_mul(radix.into())?.checked_add(digit.into())
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use super::*;

    fn at(seconds: u64, microseconds: u64) -> Option<SystemTime> {
        SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(seconds) + Duration::from_micros(microseconds))
    }

    #[test]
    fn records_of_real_senders_are_read() {
        let long = format!("C0644 1 {}", "n".repeat(MAX_NAME));
        for (line, record) in [
            (b"C0644 12 a.txt".as_slice(), Record::File { mode: 0o644, size: 12, name: b"a.txt" }),
            (b"C0600 0 two words", Record::File { mode: 0o600, size: 0, name: b"two words" }),
            (b"C4755 9223372036854775807 -x", Record::File { mode: 0o4755, size: i64::MAX as u64, name: b"-x" }),
            (b"C100644 1 ...", Record::File { mode: 0o644, size: 1, name: b"..." }),
            (b"C644 1  a", Record::File { mode: 0o644, size: 1, name: b" a" }),
            (b"C0644 1 a\xff", Record::File { mode: 0o644, size: 1, name: b"a\xff" }),
            (long.as_bytes(), Record::File { mode: 0o644, size: 1, name: &long.as_bytes()[8..] }),
            (b"D0755 0 dir", Record::Directory { mode: 0o755, name: b"dir" }),
            (b"E", Record::End),
            (b"T1700000000 0 1700000001 0", Record::Times { mtime: at(1_700_000_000, 0), atime: at(1_700_000_001, 0) }),
            (b"T0 999999 1 5", Record::Times { mtime: at(0, 999_999), atime: at(1, 5) }),
            (b"T253402300799 0 0 0", Record::Times { mtime: at(253_402_300_799, 0), atime: at(0, 0) }),
            (b"T253402300800 0 1 0", Record::Times { mtime: None, atime: at(1, 0) }),
            (b"T1 0 18446744073709551615 0", Record::Times { mtime: at(1, 0), atime: None }),
            (b"\x01scp: a: No such file", Record::Warning(b"scp: a: No such file")),
            (b"\x02lost", Record::Fatal(b"lost")),
            (b"\x01", Record::Warning(b"")),
        ] {
            assert_eq!(Record::parse(line), Ok(record), "{:?}", String::from_utf8_lossy(line));
        }
    }

    #[test]
    fn malformed_records_are_refused() {
        let long_name = [b"C0644 1 ".as_slice(), &[b'n'; MAX_NAME + 1]].concat();
        let long_record = [b"\x01".as_slice(), &[b'n'; MAX_RECORD]].concat();
        for (line, part) in [
            (b"".as_slice(), "unexpected <newline>"),
            (b"\0", "expected control record"),
            (b"X", "expected control record"),
            (b"Exit", "expected control record"),
            (b"c0644 1 a", "expected control record"),
            (b"C", "mode not delimited"),
            (b"C0644", "mode not delimited"),
            (b"C 1 a", "bad mode"),
            (b"C0694 1 a", "bad mode"),
            (b"C-644 1 a", "bad mode"),
            (b"C00000644 1 a", "bad mode"),
            (b"C0644 1", "size not delimited"),
            (b"C0644  a", "size out of range"),
            (b"C0644 -1 a", "size out of range"),
            (b"C0644 +1 a", "size out of range"),
            (b"C0644 0x10 a", "size out of range"),
            (b"C0644 9223372036854775808 a", "size out of range"),
            (b"C0644 99999999999999999999999999 a", "size out of range"),
            (b"C0644 1 ", "unexpected filename"),
            (b"C0644 1 .", "unexpected filename"),
            (b"C0644 1 ..", "unexpected filename: .."),
            (b"C0644 1 a/b", "unexpected filename: a/b"),
            (b"C0644 1 /etc/passwd", "unexpected filename"),
            (b"D0755 0 ../up", "unexpected filename"),
            (b"D0755 0 /", "unexpected filename"),
            (b"T", "mtime.sec"),
            (b"T1", "mtime.usec"),
            (b"T1 0", "atime.sec"),
            (b"T1 0 1", "atime.usec"),
            (b"T1 0 1 0 0", "atime.usec"),
            (b"T-1 0 1 0", "mtime.sec"),
            (b"T1 1000000 1 0", "time out of range"),
            (b"T18446744073709551616 0 1 0", "mtime.sec"),
            (b"T1 0 1 -1", "atime.usec"),
            (b"T1  0 1 0", "mtime.usec"),
            (b"T1 0 1 0 ", "atime.usec"),
            (b"T 1 0 1 0", "mtime.sec"),
            (&long_name, "too long"),
            (&long_record, "too long"),
        ] {
            let error = Record::parse(line).expect_err(&format!("{:?}", String::from_utf8_lossy(line)));
            assert!(error.to_string().contains(part), "{:?}: {error}", String::from_utf8_lossy(line));
        }
    }

    #[test]
    fn no_prefix_and_no_flipped_byte_makes_the_parser_fail_but_by_its_errors() {
        for line in [b"C0644 12 a.txt".as_slice(), b"D0755 0 dir", b"T1700000000 0 1700000001 0", b"\x01scp: a"] {
            for end in 0..line.len() {
                let _ = Record::parse(&line[..end]);
                for byte in 0..=255 {
                    let mut changed = line.to_vec();
                    changed[end] = byte;
                    if let Ok(Record::File { name, .. } | Record::Directory { name, .. }) = Record::parse(&changed) {
                        assert!(!name.is_empty() && !name.contains(&b'/'));
                    }
                }
            }
        }
    }
}
