//! What the environment says where an argument is left out.

use std::path::{Path, PathBuf};

/// The variable that names the configuration.
pub(super) const CONFIG: &str = "LOCKGATE_CONFIG";

/// The configuration: what was given, or what the environment names. For commands that also work without one; elsewhere the argument
/// itself has the variable.
pub(super) fn config(given: Option<&Path>) -> Option<PathBuf> {
    given.map(Path::to_owned).or_else(|| std::env::var_os(CONFIG).filter(|name| !name.is_empty()).map(PathBuf::from))
}
