//! Failures of requests → errors of a store: the one place where the protocol's status codes are read.

use super::exchange::Failure;
use crate::stores::{StoreError, StoreErrorKind};

const NO_SUCH_FILE: u32 = 2;
const PERMISSION_DENIED: u32 = 3;
const BAD_MESSAGE: u32 = 5;
const OP_UNSUPPORTED: u32 = 8;

// Of later versions; some servers use them whatever version was agreed on (draft-ietf-secsh-filexfer-13 section 9.1).
const NO_SUCH_PATH: u32 = 10;
const FILE_ALREADY_EXISTS: u32 = 11;
const WRITE_PROTECT: u32 = 12;
const NO_SPACE_ON_FILESYSTEM: u32 = 14;
const QUOTA_EXCEEDED: u32 = 15;
const DIR_NOT_EMPTY: u32 = 18;
const NOT_A_DIRECTORY: u32 = 19;
const INVALID_FILENAME: u32 = 20;
const FILE_IS_A_DIRECTORY: u32 = 24;

impl Failure {
    /// What kind of error it is. Version 3 says "failure" of most things: who knows more about the request judges that.
    pub(super) fn kind(&self) -> StoreErrorKind {
        match self {
            Failure::NotSent(_) | Failure::Lost(_) | Failure::Unreachable { denied: false, .. } => {
                StoreErrorKind::Unavailable
            }
            Failure::Unreachable { denied: true, .. } => StoreErrorKind::AccessDenied,
            Failure::Refused { code, .. } => match *code {
                NO_SUCH_FILE | NO_SUCH_PATH => StoreErrorKind::NotFound,
                PERMISSION_DENIED | WRITE_PROTECT => StoreErrorKind::AccessDenied,
                // OpenSSH says so of names that are too long.
                BAD_MESSAGE | INVALID_FILENAME => StoreErrorKind::InvalidName,
                OP_UNSUPPORTED => StoreErrorKind::Unsupported,
                FILE_ALREADY_EXISTS => StoreErrorKind::AlreadyExists,
                NO_SPACE_ON_FILESYSTEM | QUOTA_EXCEEDED => StoreErrorKind::NoSpace,
                DIR_NOT_EMPTY => StoreErrorKind::DirectoryNotEmpty,
                NOT_A_DIRECTORY => StoreErrorKind::NotADirectory,
                FILE_IS_A_DIRECTORY => StoreErrorKind::IsADirectory,
                _ => StoreErrorKind::Other,
            },
        }
    }

    /// Whether nothing has the name.
    pub(super) fn is_missing(&self) -> bool {
        self.kind() == StoreErrorKind::NotFound
    }

    /// Whether the server refused it without saying why.
    pub(super) fn is_unexplained(&self) -> bool {
        matches!(self, Failure::Refused { .. }) && self.kind() == StoreErrorKind::Other
    }

    fn reason(&self) -> String {
        match self {
            Failure::Refused { code, message } if message.is_empty() => {
                format!("the server refuses it (status {code})")
            }
            Failure::Refused { message, .. } => format!("the server says: {message}"),
            Failure::NotSent(why) => why.clone(),
            Failure::Lost(why) => format!("{why}; whether it was done is not known"),
            Failure::Unreachable { message, .. } => message.clone(),
        }
    }
}

/// Turns a failure into an error, with what was tried and on which key.
pub(super) fn at(doing: &'static str, key: impl ToString) -> impl FnOnce(Failure) -> StoreError {
    let key = key.to_string();
    move |failure| StoreError::cannot(failure.kind(), doing, &key, &failure.reason())
}

/// The same of a request that only looks: what was lost has changed nothing.
pub(super) fn looking(doing: &'static str, key: impl ToString) -> impl FnOnce(Failure) -> StoreError {
    let at = at(doing, key);
    move |failure| match failure {
        Failure::Lost(why) => at(Failure::NotSent(why)),
        failure => at(failure),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_not_let_in_is_told_so_and_who_gets_no_answer_may_try_again() {
        let unreachable = |denied| Failure::Unreachable { message: "x".to_owned(), denied };
        assert_eq!(unreachable(true).kind(), StoreErrorKind::AccessDenied);
        assert_eq!(unreachable(false).kind(), StoreErrorKind::Unavailable);
        let lost = at("delete", "a")(Failure::Lost("gone".to_owned()));
        assert_eq!(lost.to_string(), "cannot delete \"a\": gone; whether it was done is not known");
        let looked = looking("look up", "a")(Failure::Lost("gone".to_owned()));
        assert_eq!(
            (looked.kind, looked.to_string().as_str()),
            (StoreErrorKind::Unavailable, "cannot look up \"a\": gone")
        );
    }

    #[test]
    fn the_words_of_the_server_are_kept_where_the_code_says_little() {
        let refused = |code, message: &str| Failure::Refused { code, message: message.to_owned() };
        assert!(refused(4, "Failure").is_unexplained() && !refused(2, "").is_unexplained());
        assert_eq!(at("write", "f")(refused(4, "Disk on fire")).cause(), Some("the server says: Disk on fire"));
        assert_eq!(at("write", "f")(refused(4, "")).cause(), Some("the server refuses it (status 4)"));
    }
}
