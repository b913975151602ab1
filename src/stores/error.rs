//! What can go wrong in a store.

use std::error::Error;

use crate::descriptors::Spent;

use super::{Key, Skipped};

/// Whose fault an error is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The client asked for what cannot be.
    Client,
    /// The store failed or refused.
    Storage,
    /// Lockgate itself failed.
    Gateway,
}

/// What went wrong in a store. Closed: each protocol answers every kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum StoreErrorKind {
    /// No such file or directory.
    NotFound,
    /// The name is taken and may not be replaced.
    AlreadyExists,
    /// A component that must be a directory is a file.
    NotADirectory,
    /// The name is a directory where a file is needed.
    IsADirectory,
    /// A directory with entries cannot be removed.
    DirectoryNotEmpty,
    /// The store cannot hold this name.
    InvalidName,
    /// The store's credentials do not allow this.
    AccessDenied,
    /// The store cannot do this.
    Unsupported,
    /// Larger than the store's largest object.
    TooLarge,
    /// The write, or the new length, would leave more bytes unwritten than files may have.
    Hole,
    /// The store or the staging folder is full.
    NoSpace,
    /// The user has as many files open as one may have.
    TooManyOpen,
    /// The process has no descriptor left.
    NoDescriptors,
    /// The object was replaced while it was read or written.
    Changed,
    /// The store does not answer, or asks to come back later. Trying again may help.
    Unavailable,
    /// Anything else.
    Other,
}

impl StoreErrorKind {
    /// What it means, in a few words; nothing more is known of an error that says only this.
    pub fn words(self) -> &'static str {
        match self {
            StoreErrorKind::NotFound => "no such file or directory",
            StoreErrorKind::AlreadyExists => "it exists already",
            StoreErrorKind::NotADirectory => "not a directory",
            StoreErrorKind::IsADirectory => "it is a directory",
            StoreErrorKind::DirectoryNotEmpty => "the directory is not empty",
            StoreErrorKind::InvalidName => "the store cannot hold this name",
            StoreErrorKind::AccessDenied => "the store denies access",
            StoreErrorKind::Unsupported => "the store cannot do this",
            StoreErrorKind::TooLarge => "larger than the store's largest object",
            StoreErrorKind::Hole => "too far beyond what was written",
            StoreErrorKind::NoSpace => "no space left",
            StoreErrorKind::TooManyOpen => "too many files are open",
            StoreErrorKind::NoDescriptors => "the gateway has no descriptors left",
            StoreErrorKind::Changed => "it was replaced meanwhile",
            StoreErrorKind::Unavailable => "the store does not answer",
            StoreErrorKind::Other => "something failed",
        }
    }

    /// Whether the kind says all that there is to say, whatever a store's own words are.
    fn says_it_all(self) -> bool {
        use StoreErrorKind::{AlreadyExists, Changed, DirectoryNotEmpty, IsADirectory, NotADirectory, NotFound};
        matches!(self, NotFound | AlreadyExists | NotADirectory | IsADirectory | DirectoryNotEmpty | Changed)
    }
}

/// An error of a store: its kind, a sentence without secrets, and the library's error.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct StoreError {
    /// What kind of error.
    pub kind: StoreErrorKind,
    /// What happened, for the log and the events: what was tried, the key and the cause, each once.
    pub message: String,
    /// The cause alone, for who names what it happened to.
    cause: Cause,
    /// The library's error.
    #[source]
    pub source: Option<Box<dyn Error + Send + Sync>>,
    /// A rename failed when everything was copied: the new name is whole, the old one perhaps not.
    pub after_copy: bool,
}

/// The error of a directory that shows no name, and holds some that cannot be shown.
pub(super) fn hidden_in(key: &Key, skipped: &Skipped) -> StoreError {
    let count = skipped.count.max(1);
    let names = if count == 1 { "a name" } else { "names" };
    let first = skipped.first.as_ref().map(|first| format!(", such as \"{first}\"")).unwrap_or_default();
    let reason = format!("it contains {count} {names} that cannot be shown here{first}");
    let reason = if count == 1 { reason.replacen("1 ", "", 1) } else { reason };
    let message = format!("cannot remove the directory \"{key}\": {reason}");
    StoreError { cause: Cause::Text(reason), ..StoreError::new(StoreErrorKind::DirectoryNotEmpty, message) }
}

/// What of an error's message is its cause.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Cause {
    /// All of it.
    Message,
    /// Nothing beyond the kind.
    Kind,
    /// This.
    Text(String),
}

impl StoreError {
    /// An error without a source.
    pub fn new(kind: StoreErrorKind, message: impl Into<String>) -> Self {
        StoreError { kind, message: message.into(), cause: Cause::Message, source: None, after_copy: false }
    }

    /// What was tried on which key (empty for the store itself) failed for this reason.
    pub(super) fn cannot(kind: StoreErrorKind, doing: &str, key: &str, reason: &str) -> Self {
        let message = match key {
            "" => format!("cannot {doing}: {reason}"),
            key => format!("cannot {doing} \"{key}\": {reason}"),
        };
        let cause = if kind.says_it_all() { Cause::Kind } else { Cause::Text(reason.to_owned()) };
        StoreError { cause, ..StoreError::new(kind, message) }
    }

    /// The key is in a state that the kind names.
    pub(super) fn plain(kind: StoreErrorKind, message: impl Into<String>) -> Self {
        StoreError { cause: Cause::Kind, ..StoreError::new(kind, message) }
    }

    /// The cause without the key; `None` when the kind says it all.
    pub fn cause(&self) -> Option<&str> {
        match &self.cause {
            Cause::Message => Some(&self.message),
            Cause::Kind => None,
            Cause::Text(text) => Some(text),
        }
    }

    /// An error with the library's error behind it.
    pub fn with_source(
        kind: StoreErrorKind,
        message: impl Into<String>,
        source: impl Error + Send + Sync + 'static,
    ) -> Self {
        StoreError { source: Some(Box::new(source)), ..StoreError::new(kind, message) }
    }

    /// The error of a rename that had copied everything.
    pub(super) fn after_copy(self) -> Self {
        StoreError { after_copy: true, ..self }
    }

    /// Whose fault it is.
    pub fn fault(&self) -> Fault {
        match self.kind {
            StoreErrorKind::NotFound
            | StoreErrorKind::AlreadyExists
            | StoreErrorKind::NotADirectory
            | StoreErrorKind::IsADirectory
            | StoreErrorKind::DirectoryNotEmpty
            | StoreErrorKind::InvalidName
            | StoreErrorKind::Unsupported
            | StoreErrorKind::TooLarge
            | StoreErrorKind::Hole
            | StoreErrorKind::TooManyOpen => Fault::Client,
            StoreErrorKind::AccessDenied
            | StoreErrorKind::NoSpace
            | StoreErrorKind::Changed
            | StoreErrorKind::Unavailable => Fault::Storage,
            StoreErrorKind::NoDescriptors | StoreErrorKind::Other => Fault::Gateway,
        }
    }
}

impl From<Spent> for StoreError {
    fn from(spent: Spent) -> Self {
        StoreError::with_source(StoreErrorKind::TooManyOpen, spent.to_string(), spent)
    }
}
