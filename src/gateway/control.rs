//! What a running gateway is told from outside.

use tokio::sync::oneshot;

use super::Settings;

/// Why [`Gateway::run`](super::Gateway::run) should stop or change.
#[derive(Debug)]
pub enum Control {
    /// New settings (SIGHUP): users, stores and permissions for connections from now on, also while it drains. What they take away
    /// holds immediately, and what needs a store that cannot be opened does not hold. The audit files are opened again, and the key
    /// that signs the trail is read again.
    /// Changes of [`FIXED_KEYS`](super::FIXED_KEYS) need a restart.
    Reload {
        /// The new ones.
        settings: Box<Settings>,
        /// Which of the fixed parts are different in them.
        waits_for_restart: Vec<String>,
        /// Receives how it went.
        told: Option<Told>,
    },
    /// Take no new connections, let transfers finish within `limits.drain`, then return.
    Drain,
    /// End at once.
    Stop,
}

/// Receives the outcome of a reload: what waits for a restart, or what went wrong.
pub type Told = oneshot::Sender<Result<Vec<String>, String>>;
