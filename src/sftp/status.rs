//! What went wrong, as a status code of draft-ietf-secsh-filexfer-02 section 7.

use russh_sftp::protocol::StatusCode;

use crate::session::ErrorKind;
use crate::session::StoreErrorKind;

/// The status code of an error. Where the draft has no code, OpenSSH's choice (`errno_to_portable`) is followed.
pub(super) fn code(kind: ErrorKind) -> StatusCode {
    match kind {
        ErrorKind::Denied => StatusCode::PermissionDenied,
        ErrorKind::Unrecorded => StatusCode::Failure,
        ErrorKind::Draining => StatusCode::Failure,
        ErrorKind::InvalidName => StatusCode::Failure,
        ErrorKind::InvalidRequest => StatusCode::Failure,
        ErrorKind::Store(StoreErrorKind::NotFound) => StatusCode::NoSuchFile,
        ErrorKind::Store(StoreErrorKind::AlreadyExists) => StatusCode::Failure,
        ErrorKind::Store(StoreErrorKind::NotADirectory) => StatusCode::NoSuchFile,
        ErrorKind::Store(StoreErrorKind::IsADirectory) => StatusCode::Failure,
        ErrorKind::Store(StoreErrorKind::DirectoryNotEmpty) => StatusCode::Failure,
        ErrorKind::Store(StoreErrorKind::InvalidName) => StatusCode::Failure,
        ErrorKind::Store(StoreErrorKind::AccessDenied) => StatusCode::PermissionDenied,
        ErrorKind::Store(StoreErrorKind::Unsupported) => StatusCode::OpUnsupported,
        ErrorKind::Store(StoreErrorKind::TooLarge) => StatusCode::Failure,
        ErrorKind::Store(StoreErrorKind::Hole) => StatusCode::Failure,
        ErrorKind::Store(StoreErrorKind::NoSpace) => StatusCode::Failure,
        ErrorKind::Store(StoreErrorKind::TooManyOpen) => StatusCode::Failure,
        ErrorKind::Store(StoreErrorKind::NoDescriptors) => StatusCode::Failure,
        ErrorKind::Store(StoreErrorKind::Changed) => StatusCode::Failure,
        ErrorKind::Store(StoreErrorKind::Unavailable) => StatusCode::Failure,
        ErrorKind::Store(StoreErrorKind::Other) => StatusCode::Failure,
    }
}

/// The sentence that goes with a code. OpenSSH's words come first, because programs match them; what they say already is not said
/// again.
pub(super) fn sentence(code: StatusCode, sentence: &str) -> String {
    let words = words(code);
    match sentence.strip_suffix(SAID_BY_THE_WORDS.iter().find(|(of, _)| *of == code).map_or("", |(_, said)| said)) {
        Some(rest) => format!("{words}: {rest}"),
        None => format!("{words}: {sentence}"),
    }
}

/// Ends of sentences that say what the code says.
const SAID_BY_THE_WORDS: [(StatusCode, &str); 2] =
    [(StatusCode::NoSuchFile, ": no such file or directory"), (StatusCode::PermissionDenied, ": permission denied")];

/// What OpenSSH's `sftp-server` sends with each code.
fn words(code: StatusCode) -> &'static str {
    match code {
        StatusCode::Ok => "Success",
        StatusCode::Eof => "End of file",
        StatusCode::NoSuchFile => "No such file",
        StatusCode::PermissionDenied => "Permission denied",
        StatusCode::Failure => "Failure",
        StatusCode::BadMessage => "Bad message",
        StatusCode::NoConnection => "No connection",
        StatusCode::ConnectionLost => "Connection lost",
        StatusCode::OpUnsupported => "Operation unsupported",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sentence_begins_as_openssh_s_and_says_the_cause_once() {
        for (code, said, sent) in [
            (StatusCode::NoSuchFile, "/a: no such file or directory", "No such file: /a"),
            (StatusCode::NoSuchFile, "/a: not a directory", "No such file: /a: not a directory"),
            (StatusCode::PermissionDenied, "/a: permission denied", "Permission denied: /a"),
            (StatusCode::Failure, "/a: it exists already", "Failure: /a: it exists already"),
            (
                StatusCode::OpUnsupported,
                "there are no symbolic links here",
                "Operation unsupported: there are no symbolic links here",
            ),
        ] {
            assert_eq!(sentence(code, said), sent);
        }
    }

    #[test]
    fn clients_can_tell_what_they_act_upon() {
        assert_eq!(code(ErrorKind::Store(StoreErrorKind::NotFound)), StatusCode::NoSuchFile);
        assert_eq!(code(ErrorKind::Denied), StatusCode::PermissionDenied);
        assert_eq!(code(ErrorKind::Store(StoreErrorKind::AlreadyExists)), StatusCode::Failure);
        assert_eq!(code(ErrorKind::Store(StoreErrorKind::Unsupported)), StatusCode::OpUnsupported);
    }
}
