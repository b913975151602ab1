//! What every handler has at hand.

use std::time::SystemTime;

use super::Surroundings;
use super::health::Health;
use crate::audit::OwnRoom;

/// Shared by all connections of the admin door.
#[derive(Debug)]
pub(super) struct State {
    /// Names by which it may be called.
    pub(super) hosts: Vec<String>,
    /// When it began to serve.
    pub(super) since: SystemTime,
    /// The rest of the gateway.
    pub(super) around: Surroundings,
    /// What was seen of the stores.
    pub(super) health: Health,
    /// Room for the events of calls, whatever sessions hold: an administrator ends one whose store hangs.
    pub(super) own_room: OwnRoom,
}

impl State {
    pub(super) fn new(hosts: Vec<String>, since: SystemTime, around: Surroundings) -> State {
        State { hosts, since, around, health: Health::default(), own_room: OwnRoom::default() }
    }
}

/// A time as the API shows it: RFC 3339, UTC, milliseconds.
pub(super) fn time(time: SystemTime) -> String {
    chrono::DateTime::<chrono::Utc>::from(time).to_rfc3339_opts(chrono::SecondsFormat::Millis, true)
}
