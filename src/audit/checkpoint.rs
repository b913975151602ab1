//! Checkpoints: signed lines that say where a chain began, how far it is, and whether it was cut.
//!
//! They are made by the trail itself and travel through the queue like every other event, so that their place in the chain is
//! exact. No session has one, and no caller can record one.

use std::time::Duration;

use uuid::Uuid;

use super::chain::Position;
use super::encode::Identity;
use super::line::{Draft, LineWriter, MAX_KEY};
use super::signer::Signer;

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
        /// Why another chain begins although there are events: what became of the state of the one before.
        lost: Option<LostState>,
    },
    /// `interval`: something was recorded since the last one.
    Interval,
    /// `rotation`: the last line of a file.
    Rotation,
    /// `key-change`: the first line that another key signs, which the one before endorses.
    KeyChange,
    /// `shutdown`: the last line of a process.
    Shutdown,
}

/// What became of a state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum LostState {
    /// `missing`: there is none beside the events.
    Missing,
    /// `unreadable`: it is damaged.
    Unreadable,
    /// `foreign`: it is not that of the file of events.
    Foreign,
}

impl LostState {
    fn as_str(self) -> &'static str {
        match self {
            LostState::Missing => "missing",
            LostState::Unreadable => "unreadable",
            LostState::Foreign => "foreign",
        }
    }
}

impl Reason {
    /// The `reason` field.
    fn as_str(self) -> &'static str {
        match self {
            Reason::Start { .. } => "start",
            Reason::Interval => "interval",
            Reason::Rotation => "rotation",
            Reason::KeyChange => "key-change",
            Reason::Shutdown => "shutdown",
        }
    }
}

/// The line of a checkpoint, without its time, its place in the chain and its signature, which `signer` will make. `every` is how soon after
/// the next event the next one follows.
pub(super) fn encode(
    identity: &Identity,
    chain: Uuid,
    reason: Reason,
    signer: &Signer,
    every: Option<Duration>,
) -> Draft {
    let mut line = LineWriter::new();
    line.text("activity-type", ACTIVITY);
    line.text("resource-arn", &identity.resource_arn);
    line.stamp();
    line.text("server", &identity.server);
    line.text("chain", &chain.to_string());
    line.text("reason", reason.as_str());
    if let Reason::Start { clean, acknowledged, lost } = reason {
        line.boolean("clean", clean);
        line.number("acknowledged", acknowledged.sequence);
        line.text("acknowledged-hash", &acknowledged.hash.to_string());
        line.maybe("state", lost.map(LostState::as_str));
    }
    if matches!(reason, Reason::Start { .. } | Reason::KeyChange) {
        line.bounded("key-endorsements", &signer.endorsements(), MAX_KEY);
    }
    if let Some(every) = every {
        line.number("checkpoint-every-ms", u64::try_from(every.as_millis()).unwrap_or(u64::MAX));
    }
    line.maybe("checkpoint-key", signer.key().map(|key| key.fingerprint()));
    line.finish_checkpoint(signer.key().cloned())
}
