//! What the service manager is told, if there is one (sd_notify(3)): that the gateway serves, and that it drains, and for how long.

use std::time::Duration;

use sd_notify::NotifyState;

/// What a gateway needs after its drain at most: ten seconds for stores, as long for sinks, two for work that cannot be interrupted, and
/// some for a busy machine.
const AFTER_THE_DRAIN: Duration = Duration::from_secs(30);

/// The gateway listens.
pub(super) fn ready() {
    tell(&[NotifyState::Ready]);
}

/// The gateway drains for at most `drain`: whoever stops it waits for that, however short its own patience is.
pub(super) fn stopping(drain: Duration) {
    let patience = format!("EXTEND_TIMEOUT_USEC={}", (drain + AFTER_THE_DRAIN).as_micros());
    tell(&[NotifyState::Stopping, NotifyState::Custom(&patience)]);
}

/// Does nothing without `NOTIFY_SOCKET` in the environment.
fn tell(state: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(state) {
        tracing::warn!(%error, "the service manager cannot be told");
    }
}
