//! What `lockgate --version` says.

/// `-V`: the version and the commit.
pub(super) const SHORT: &str = concat!(env!("CARGO_PKG_VERSION"), " (", env!("LOCKGATE_COMMIT"), ")");

/// `--version`: what a report of a fault needs.
pub(super) const LONG: &str = concat!(
    env!("CARGO_PKG_VERSION"),
    "\ncommit:   ",
    env!("LOCKGATE_COMMIT"),
    "\nfeatures: ",
    env!("LOCKGATE_FEATURES"),
    "\ntarget:   ",
    env!("LOCKGATE_TARGET"),
);
