//! What can go wrong with a logical path.

use crate::path::LogicalPath;
use crate::stores::{Fault, StoreError, StoreErrorKind};

/// The result of a call to the virtual file system.
pub type VfsResult<T> = Result<T, VfsError>;

/// An error with the logical path that it happened to. The kinds are the stores' kinds: a mount adds none.
#[derive(Debug, thiserror::Error)]
#[error("{path}: {source}")]
pub struct VfsError {
    /// What the client named.
    pub path: LogicalPath,
    /// What went wrong.
    #[source]
    pub source: StoreError,
    /// What a rename that failed has left where, for the client.
    pub left: Option<String>,
}

impl VfsError {
    /// An error of this layer.
    pub fn new(path: &LogicalPath, kind: StoreErrorKind, message: impl Into<String>) -> Self {
        VfsError { path: path.clone(), source: StoreError::new(kind, message), left: None }
    }

    /// A store's error at this path.
    pub fn at(path: &LogicalPath) -> impl FnOnce(StoreError) -> VfsError {
        let path = path.clone();
        move |source| VfsError { path, source, left: None }
    }

    /// The same error with what it left.
    pub(super) fn leaving(self, left: String) -> Self {
        VfsError { left: Some(left), ..self }
    }

    /// What kind of error.
    pub fn kind(&self) -> StoreErrorKind {
        self.source.kind
    }

    /// Whose fault it is.
    pub fn fault(&self) -> Fault {
        self.source.fault()
    }
}
