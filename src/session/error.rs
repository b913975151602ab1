//! What a codec is told when an operation does not succeed.

use crate::audit::{NOT_KNOWN, NOTHING_WAS_RENAMED, Outcome, THE_NEW_NAME_IS_WHOLE, Unrecorded};
use crate::path::{LogicalPath, PathError};
use crate::stores::{Fault, StoreErrorKind};
use crate::vfs::{Renamed, VfsError};

/// The result of an operation of a session.
pub type SessionResult<T> = Result<T, SessionError>;

/// Why an operation was not done. Closed: `sftp::status` and `scp`'s wire module each answer every kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ErrorKind {
    /// The entry's permissions do not allow it, or the path belongs to the home itself.
    Denied,
    /// The event cannot be recorded, so the operation is not done.
    Unrecorded,
    /// The gateway is about to end and begins nothing new.
    Draining,
    /// The name is not one that can be.
    InvalidName,
    /// The request makes no sense (a write to a file opened for reading).
    InvalidRequest,
    /// What the store says.
    Store(StoreErrorKind),
}

/// An operation that was not done.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct SessionError {
    /// What kind of error.
    pub kind: ErrorKind,
    /// A short sentence for the client: what happened, to which path.
    pub message: String,
    /// What is behind it, for the log and the events; never shown to the client.
    #[source]
    pub source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

impl SessionError {
    /// An error without anything behind it.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        SessionError { kind, message: message.into(), source: None }
    }

    /// Whose fault it is.
    pub fn fault(&self) -> Fault {
        match self.kind {
            ErrorKind::Denied | ErrorKind::InvalidName | ErrorKind::InvalidRequest => Fault::Client,
            ErrorKind::Unrecorded | ErrorKind::Draining => Fault::Gateway,
            ErrorKind::Store(_) => match self.source.as_ref().and_then(|s| s.downcast_ref::<VfsError>()) {
                Some(error) => error.fault(),
                None => Fault::Gateway,
            },
        }
    }

    /// The whole chain, for the events and the log: the sentence, and what is behind it.
    pub fn chain(&self) -> String {
        let mut text = self.message.clone();
        let mut add = |more: &str| {
            if !text.contains(more) {
                text.push_str(": ");
                text.push_str(more);
            }
        };
        let mut next: Option<&(dyn std::error::Error + 'static)> = self.source.as_deref().map(|s| s as _);
        while let Some(error) = next {
            match error.downcast_ref::<VfsError>() {
                // The sentence has named the path.
                Some(error) => error.cause().into_iter().for_each(&mut add),
                None => add(&error.to_string()),
            }
            next = error.source();
        }
        text
    }

    /// As events show it.
    pub fn outcome(&self) -> Outcome {
        match self.kind {
            ErrorKind::Denied => Outcome::Denied(self.chain()),
            ErrorKind::Unrecorded
            | ErrorKind::Draining
            | ErrorKind::InvalidName
            | ErrorKind::InvalidRequest
            | ErrorKind::Store(_) => Outcome::Failure(self.chain()),
        }
    }

    /// As the event of a rename shows it: unless it is denied, the message ends in what was done all the same. Readers of a trail go
    /// by that, so it is the gateway's own words, after those of the store.
    pub fn outcome_of_rename(&self) -> Outcome {
        let behind = self.source.as_ref().and_then(|source| source.downcast_ref::<VfsError>());
        let done = match behind.map(|error| error.renamed).unwrap_or_default() {
            Renamed::Nothing => NOTHING_WAS_RENAMED,
            Renamed::Perhaps => NOT_KNOWN,
            Renamed::NewNameIsWhole => THE_NEW_NAME_IS_WHOLE,
        };
        match self.outcome() {
            Outcome::Failure(why) => Outcome::Failure(format!("{why}; {done}")),
            outcome => outcome,
        }
    }

    /// The policy forbids it.
    pub fn denied(path: &LogicalPath, what: &str) -> Self {
        SessionError::new(ErrorKind::Denied, format!("{path}: {what}"))
    }
}

impl From<VfsError> for SessionError {
    fn from(error: VfsError) -> Self {
        let what = match error.kind() {
            StoreErrorKind::NotFound => "no such file or directory",
            StoreErrorKind::AlreadyExists => "it exists already",
            StoreErrorKind::NotADirectory => "not a directory",
            StoreErrorKind::IsADirectory => "it is a directory",
            StoreErrorKind::DirectoryNotEmpty => "the directory is not empty",
            StoreErrorKind::InvalidName => "the store cannot hold this name",
            StoreErrorKind::AccessDenied => "the store denies access; ask the operator",
            StoreErrorKind::Unsupported => "the store cannot do this",
            StoreErrorKind::TooLarge => "larger than the store's largest object",
            StoreErrorKind::Hole => "too far beyond what was written; write the bytes before it first",
            StoreErrorKind::NoSpace => "no space left; try again later",
            StoreErrorKind::TooManyOpen => "too many files are open; close some, or try again later",
            StoreErrorKind::NoDescriptors => "the gateway has too many files open; try again later",
            StoreErrorKind::Changed => "the file was replaced meanwhile; start again",
            StoreErrorKind::Unavailable => "the store does not answer; try again later",
            StoreErrorKind::Other => "the gateway failed; ask the operator",
        };
        let left = error.left.as_ref().map(|left| format!("; {left}")).unwrap_or_default();
        SessionError {
            kind: ErrorKind::Store(error.kind()),
            message: format!("{}: {what}{left}", error.path),
            source: Some(Box::new(error)),
        }
    }
}

impl From<Unrecorded> for SessionError {
    fn from(error: Unrecorded) -> Self {
        SessionError {
            kind: ErrorKind::Unrecorded,
            message: "refused: it cannot be recorded at present; ask the operator".into(),
            source: Some(Box::new(error)),
        }
    }
}

impl From<PathError> for SessionError {
    fn from(error: PathError) -> Self {
        SessionError {
            kind: ErrorKind::InvalidName,
            message: format!("invalid name: {error}"),
            source: Some(Box::new(error)),
        }
    }
}
