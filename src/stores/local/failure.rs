//! Errors of the file system → errors of a store.

use std::io;

use crate::stores::object::without_number;
use crate::stores::{StoreError, StoreErrorKind};

/// What the C library says of a name that is not there.
const MISSING: &str = "No such file or directory";

/// Turns an error of the file system into a store's, with what was tried and on which key.
pub(super) fn at<E: Into<io::Error>>(doing: &'static str, key: impl ToString) -> impl FnOnce(E) -> StoreError {
    move |error| {
        let error = error.into();
        StoreError::cannot(kind_of(&error), doing, &key.to_string(), &reason(&error))
    }
}

/// The kind of an error of the file system.
pub(super) fn kind_of(error: &io::Error) -> StoreErrorKind {
    if is_escape(error) {
        return StoreErrorKind::NotFound;
    }
    match error.kind() {
        // ELOOP: a link that leads to itself names nothing.
        io::ErrorKind::NotFound => StoreErrorKind::NotFound,
        io::ErrorKind::AlreadyExists => StoreErrorKind::AlreadyExists,
        io::ErrorKind::NotADirectory => StoreErrorKind::NotADirectory,
        io::ErrorKind::IsADirectory => StoreErrorKind::IsADirectory,
        io::ErrorKind::DirectoryNotEmpty => StoreErrorKind::DirectoryNotEmpty,
        io::ErrorKind::InvalidFilename => StoreErrorKind::InvalidName,
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => StoreErrorKind::AccessDenied,
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => StoreErrorKind::NoSpace,
        io::ErrorKind::FileTooLarge => StoreErrorKind::TooLarge,
        io::ErrorKind::CrossesDevices | io::ErrorKind::Unsupported => StoreErrorKind::Unsupported,
        _ => by_number(error),
    }
}

/// Errors that the standard library has no stable name for.
fn by_number(error: &io::Error) -> StoreErrorKind {
    use rustix::io::Errno;
    let Some(number) = error.raw_os_error() else { return StoreErrorKind::Other };
    match Errno::from_raw_os_error(number) {
        Errno::LOOP => StoreErrorKind::NotFound,
        Errno::MFILE | Errno::NFILE => StoreErrorKind::NoDescriptors,
        Errno::NOMEM | Errno::STALE => StoreErrorKind::Unavailable,
        _ => StoreErrorKind::Other,
    }
}

/// cap-std says so, without a number of the system, when a path leads out of the root.
fn is_escape(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::PermissionDenied && error.raw_os_error().is_none()
}

fn reason(error: &io::Error) -> String {
    if is_escape(error) {
        return "it leads out of the store's folder".to_owned();
    }
    // Each new file is looked for first. The C library takes microseconds to say this.
    if error.raw_os_error() == Some(rustix::io::Errno::NOENT.raw_os_error()) {
        return MISSING.to_owned();
    }
    without_number(&error.to_string()).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sentence_that_is_not_asked_for_is_the_systems() {
        let missing = io::Error::from(rustix::io::Errno::NOENT);
        assert_eq!(without_number(&missing.to_string()), MISSING);
        assert_eq!(reason(&missing), MISSING);
    }
}
