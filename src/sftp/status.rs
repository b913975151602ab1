//! What went wrong, as a status code of draft-ietf-secsh-filexfer-02 section 7.

use russh_sftp::protocol::StatusCode;

use crate::session::ErrorKind;
use crate::session::StoreErrorKind;

/// The status code of an error. Where the draft has no code, OpenSSH's choice (`errno_to_portable`) is followed.
pub(super) fn code(kind: ErrorKind) -> StatusCode {
    match kind {
        ErrorKind::Denied => StatusCode::PermissionDenied,
        ErrorKind::Unrecorded => StatusCode::Failure,
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
        ErrorKind::Store(StoreErrorKind::NoSpace) => StatusCode::Failure,
        ErrorKind::Store(StoreErrorKind::Changed) => StatusCode::Failure,
        ErrorKind::Store(StoreErrorKind::Unavailable) => StatusCode::Failure,
        ErrorKind::Store(StoreErrorKind::Other) => StatusCode::Failure,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clients_can_tell_what_they_act_upon() {
        assert_eq!(code(ErrorKind::Store(StoreErrorKind::NotFound)), StatusCode::NoSuchFile);
        assert_eq!(code(ErrorKind::Denied), StatusCode::PermissionDenied);
        assert_eq!(code(ErrorKind::Store(StoreErrorKind::AlreadyExists)), StatusCode::Failure);
        assert_eq!(code(ErrorKind::Store(StoreErrorKind::Unsupported)), StatusCode::OpUnsupported);
    }
}
