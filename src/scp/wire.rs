//! What is put on the wire: records, answers, and how each kind of error is told.

use std::time::SystemTime;

use bytes::Bytes;

use crate::path::PathError;
use crate::session::{ErrorKind, StoreErrorKind};

/// The answer that all is well, and what starts and ends things.
pub(super) const OK: Bytes = Bytes::from_static(b"\0");

/// The longest text of a warning or fatal error, in bytes: OpenSSH's `scp` reads them into 2,048.
const MAX_TEXT: usize = 1900;

/// Whether the conversation goes on after an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Severity {
    /// `\x01`: this file or directory only.
    Warning,
    /// `\x02`: nothing that follows can be done either.
    Fatal,
}

/// How an error is told: where OpenSSH has words for it (those of `strerror`), clients know them.
pub(super) fn answer(kind: ErrorKind) -> (Severity, &'static str) {
    let text = match kind {
        // Whatever comes next cannot be recorded either.
        ErrorKind::Unrecorded => {
            return (Severity::Fatal, "refused: it cannot be recorded at present; ask the operator");
        }
        // Nor is there another file.
        ErrorKind::Draining => return (Severity::Fatal, "the gateway is shutting down; try again later"),
        ErrorKind::Denied => "Permission denied",
        ErrorKind::InvalidName => "Invalid file name",
        ErrorKind::InvalidRequest => "Invalid argument",
        ErrorKind::Store(StoreErrorKind::NotFound) => "No such file or directory",
        ErrorKind::Store(StoreErrorKind::AlreadyExists) => "File exists",
        ErrorKind::Store(StoreErrorKind::NotADirectory) => "Not a directory",
        ErrorKind::Store(StoreErrorKind::IsADirectory) => "Is a directory",
        ErrorKind::Store(StoreErrorKind::DirectoryNotEmpty) => "Directory not empty",
        ErrorKind::Store(StoreErrorKind::InvalidName) => "Invalid file name: the store cannot hold it",
        ErrorKind::Store(StoreErrorKind::AccessDenied) => "Permission denied by the store; ask the operator",
        ErrorKind::Store(StoreErrorKind::Unsupported) => "Operation not supported by the store",
        ErrorKind::Store(StoreErrorKind::TooLarge) => "File too large for the store",
        ErrorKind::Store(StoreErrorKind::Hole) => "File too large",
        ErrorKind::Store(StoreErrorKind::NoSpace) => "No space left on device; try again later",
        ErrorKind::Store(StoreErrorKind::TooManyOpen) => "Too many open files; close some, or try again later",
        ErrorKind::Store(StoreErrorKind::NoDescriptors) => "the gateway has too many files open; try again later",
        ErrorKind::Store(StoreErrorKind::Changed) => "the file was replaced meanwhile; start again",
        ErrorKind::Store(StoreErrorKind::Unavailable) => "the store does not answer; try again later",
        ErrorKind::Store(StoreErrorKind::Other) => "the gateway failed; ask the operator",
    };
    (Severity::Warning, text)
}

/// The words for a name that cannot be, unless that it was attempted cannot be recorded.
pub(super) fn answer_to_name(kind: ErrorKind, why: PathError) -> String {
    match kind {
        ErrorKind::InvalidName => why.to_string(),
        kind => answer(kind).1.to_owned(),
    }
}

/// `\x01scp: <text>\n` or `\x02scp: <text>\n`, without anything in the text that would end the line or move a cursor.
pub(super) fn message(severity: Severity, text: &str) -> Bytes {
    let mut line = String::with_capacity(text.len() + 8);
    line.push(match severity {
        Severity::Warning => '\x01',
        Severity::Fatal => '\x02',
    });
    line.push_str("scp: ");
    for character in text.chars() {
        if line.len() >= MAX_TEXT {
            break;
        }
        line.push(if character.is_control() { '?' } else { character });
    }
    line.push('\n');
    line.into()
}

/// `C<mode> <size> <name>\n`.
pub(super) fn file(mode: u32, size: u64, name: &str) -> Bytes {
    format!("C{:04o} {size} {name}\n", mode & 0o7777).into()
}

/// `D<mode> 0 <name>\n`.
pub(super) fn directory(mode: u32, name: &str) -> Bytes {
    format!("D{:04o} 0 {name}\n", mode & 0o7777).into()
}

/// `E\n`.
pub(super) const END: Bytes = Bytes::from_static(b"E\n");

/// `T<mtime> 0 <atime> 0\n`. Nothing keeps access times, so the modification time stands for both; a time before 1970 is sent
/// as 0, as OpenSSH does.
pub(super) fn times(mtime: SystemTime) -> Bytes {
    let seconds = mtime.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs());
    format!("T{seconds} 0 {seconds} 0\n").into()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn records_are_openssh_s() {
        assert_eq!(file(0o100_644, 12, "a b"), "C0644 12 a b\n");
        assert_eq!(file(0o4, 0, "é"), "C0004 0 é\n");
        assert_eq!(directory(0o755, "dir"), "D0755 0 dir\n");
        let time = SystemTime::UNIX_EPOCH + Duration::from_millis(1_700_000_000_900);
        assert_eq!(times(time), "T1700000000 0 1700000000 0\n");
        assert_eq!(times(SystemTime::UNIX_EPOCH - Duration::from_secs(5)), "T0 0 0 0\n");
    }

    #[test]
    fn messages_are_one_short_line() {
        assert_eq!(message(Severity::Warning, "a: No such file"), "\x01scp: a: No such file\n");
        assert_eq!(message(Severity::Fatal, "a\n\x1b[31m\0b"), "\x02scp: a??[31m?b\n");
        let long = message(Severity::Warning, &"é".repeat(5000));
        assert!(long.len() < 2000 && long.ends_with(b"\n") && std::str::from_utf8(&long).is_ok());
    }

    #[test]
    fn only_what_stops_everything_is_fatal() {
        assert_eq!(answer(ErrorKind::Unrecorded).0, Severity::Fatal);
        assert_eq!(answer(ErrorKind::Denied), (Severity::Warning, "Permission denied"));
        let missing = ErrorKind::Store(StoreErrorKind::NotFound);
        assert_eq!(answer(missing), (Severity::Warning, "No such file or directory"));
    }
}
