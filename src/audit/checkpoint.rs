//! Checkpoints: signed lines that say where a chain began, how far it is, and whether it was cut.
//!
//! They are made by the trail itself and travel through the queue like every other event, so that their place in the chain is
//! exact. No session has one, and no caller can record one.

use uuid::Uuid;

use super::chain::Position;
use super::encode::Identity;
use super::line::{Draft, LineWriter};

/// The `activity-type`.
pub(super) const ACTIVITY: &str = "CHECKPOINT";

/// Why a checkpoint is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reason {
    /// `start`: the first line of a process.
    Start {
        /// Whether the process before ended in order.
        clean: bool,
        /// The last line of which the process before knew that every required sink had it.
        acknowledged: Position,
    },
    /// `interval`: something was recorded since the last one.
    Interval,
    /// `rotation`: the last line of a file.
    Rotation,
    /// `shutdown`: the last line of a process.
    Shutdown,
}

impl Reason {
    /// The `reason` field.
    fn as_str(self) -> &'static str {
        match self {
            Reason::Start { .. } => "start",
            Reason::Interval => "interval",
            Reason::Rotation => "rotation",
            Reason::Shutdown => "shutdown",
        }
    }
}

/// The line of a checkpoint, without its time, its place in the chain and its signature. `key` is the fingerprint of the key
/// that will sign it.
pub(super) fn encode(identity: &Identity, chain: Uuid, reason: Reason, key: Option<&str>) -> Draft {
    let mut line = LineWriter::new();
    line.text("activity-type", ACTIVITY);
    line.text("resource-arn", &identity.resource_arn);
    line.stamp();
    line.text("server", &identity.server);
    line.text("chain", &chain.to_string());
    line.text("reason", reason.as_str());
    if let Reason::Start { clean, acknowledged } = reason {
        line.boolean("clean", clean);
        line.number("acknowledged", acknowledged.sequence);
        line.text("acknowledged-hash", &acknowledged.hash.to_string());
    }
    line.maybe("checkpoint-key", key);
    line.finish_checkpoint()
}
