//! What is left of fleets in a build without the feature `fleet`: a configuration with one can be read, and is refused with a sentence.

#[path = "settings.rs"]
#[allow(dead_code)]
mod settings;

pub use settings::{Address, Credentials, FleetName, Parsed, Sentinel, Settings, USUAL_LEASE};

/// There is nothing that could be reached.
///
/// # Errors
/// Always.
pub async fn reach(settings: &Settings) -> Result<(), String> {
    Err(format!("the fleet {:?} cannot be joined: this build lacks the feature `fleet`", settings.name.as_str()))
}
