//! How many descriptors the process may have.

use rustix::process::{Resource, getrlimit, setrlimit};

/// Raises the soft limit to the hard one: shells give 1,024 by default, and each connection and each open file of a local store takes
/// one. Where that is refused, the gateway runs with what it has.
pub(super) fn raise_limit() {
    let mut limit = getrlimit(Resource::Nofile);
    if limit.current == limit.maximum {
        return;
    }
    limit.current = limit.maximum;
    if let Err(error) = setrlimit(Resource::Nofile, limit) {
        tracing::warn!(%error, "the limit of open files cannot be raised");
    }
}
