//! What can go wrong in a store.

use std::error::Error;

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
    /// The store or the staging folder is full.
    NoSpace,
    /// The object was replaced while it was read or written.
    Changed,
    /// The store does not answer, or asks to come back later. Trying again may help.
    Unavailable,
    /// Anything else.
    Other,
}

/// An error of a store: its kind, a sentence without secrets, and the library's error.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct StoreError {
    /// What kind of error.
    pub kind: StoreErrorKind,
    /// What happened, for the log and the events.
    pub message: String,
    /// The library's error.
    #[source]
    pub source: Option<Box<dyn Error + Send + Sync>>,
    /// A rename failed when everything was copied: the new name is whole, the old one perhaps not.
    pub after_copy: bool,
}

impl StoreError {
    /// An error without a source.
    pub fn new(kind: StoreErrorKind, message: impl Into<String>) -> Self {
        StoreError { kind, message: message.into(), source: None, after_copy: false }
    }

    /// An error with the library's error behind it.
    pub fn with_source(
        kind: StoreErrorKind,
        message: impl Into<String>,
        source: impl Error + Send + Sync + 'static,
    ) -> Self {
        StoreError { kind, message: message.into(), source: Some(Box::new(source)), after_copy: false }
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
            | StoreErrorKind::TooLarge => Fault::Client,
            StoreErrorKind::AccessDenied
            | StoreErrorKind::NoSpace
            | StoreErrorKind::Changed
            | StoreErrorKind::Unavailable => Fault::Storage,
            StoreErrorKind::Other => Fault::Gateway,
        }
    }
}
