//! A checkpoint: the line by which a process says where it is in its chain.

use serde::Deserialize;

/// How each checkpoint begins. Its first field is its type, so that the lines that are none are told apart at once.
const BEGINNING: &[u8] = b"{\"activity-type\":\"CHECKPOINT\"";

/// The fields of a `CHECKPOINT` that a reader needs.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) struct Checkpoint {
    pub(super) server: String,
    pub(super) timestamp: String,
    /// The chain's id.
    pub(super) chain: String,
    pub(super) reason: Reason,
    /// Of a start: whether the process before it ended in order.
    pub(super) clean: Option<bool>,
    /// Of a start: up to where the process before it had told that events are recorded.
    pub(super) acknowledged: Option<u64>,
    /// Of a start: the hash of that line.
    pub(super) acknowledged_hash: Option<String>,
    pub(super) checkpoint_key: Option<String>,
    /// Of a start and of a change of the key: by which earlier keys this one is endorsed, the oldest first.
    pub(super) key_endorsements: Option<String>,
    /// How soon after an event the next one follows, in milliseconds.
    pub(super) checkpoint_every_ms: Option<u64>,
    /// Of a start: what became of the state of the chain before.
    pub(super) state: Option<String>,
}

/// Why there is a checkpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Reason {
    Start,
    Interval,
    Rotation,
    KeyChange,
    Shutdown,
}

impl Checkpoint {
    /// The checkpoint that a line is; an error when it is one that cannot be read; `None` when it is something else.
    pub(super) fn of(line: &[u8]) -> Option<Result<Checkpoint, serde_json::Error>> {
        line.starts_with(BEGINNING).then(|| serde_json::from_slice(line))
    }

    /// Up to where the process before had told that events are recorded, when it was killed.
    pub(super) fn after_kill(&self) -> Option<u64> {
        (self.reason == Reason::Start && self.clean == Some(false)).then_some(self.acknowledged.unwrap_or(0))
    }
}
