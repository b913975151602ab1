//! What can go wrong with a logical path.

use std::error::Error;
use std::fmt;

use crate::path::LogicalPath;
use crate::stores::{Fault, StoreError, StoreErrorKind};

/// The result of a call to the virtual file system.
pub type VfsResult<T> = Result<T, VfsError>;

/// What a rename that failed has done to files all the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Renamed {
    /// Nothing: it failed before it changed anything.
    #[default]
    Nothing,
    /// It is not known: the store may have done some of it.
    Perhaps,
    /// Everything that had the old name has the new one, and what is left of the old name is not known.
    NewNameIsWhole,
}

/// An error with the logical path that it happened to. The kinds are the stores' kinds: a mount adds none.
#[derive(Debug)]
pub struct VfsError {
    /// What the client named.
    pub path: LogicalPath,
    /// What went wrong.
    pub source: StoreError,
    /// What a rename that failed has left where, for the client.
    pub left: Option<String>,
    /// What a rename that failed has done.
    pub renamed: Renamed,
}

impl fmt::Display for VfsError {
    /// The path once, and the cause once: the store's own name of the path is left out.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.path, self.cause().unwrap_or_else(|| self.kind().words()))?;
        self.left.as_ref().map_or(Ok(()), |left| write!(f, "; {left}"))
    }
}

impl Error for VfsError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.source.source()
    }
}

impl VfsError {
    /// The cause without the path; `None` when the kind says it all.
    pub fn cause(&self) -> Option<&str> {
        self.source.cause()
    }

    /// An error of this layer.
    pub fn new(path: &LogicalPath, kind: StoreErrorKind, message: impl Into<String>) -> Self {
        VfsError { path: path.clone(), source: StoreError::new(kind, message), left: None, renamed: Renamed::Nothing }
    }

    /// A store's error at this path.
    pub fn at(path: &LogicalPath) -> impl FnOnce(StoreError) -> VfsError {
        let path = path.clone();
        move |source| VfsError { path, source, left: None, renamed: Renamed::Nothing }
    }

    /// The same error with what it left.
    pub(super) fn leaving(self, left: String) -> Self {
        VfsError { left: Some(left), ..self }
    }

    /// The same error of a rename that has done this.
    pub fn having(self, renamed: Renamed) -> Self {
        VfsError { renamed, ..self }
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
