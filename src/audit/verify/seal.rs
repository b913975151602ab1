//! A signed checkpoint by itself, as a witness keeps it: its line says all that is needed to judge a trail by it.

use chrono::{DateTime, Utc};

use super::checkpoint::{Checkpoint, Reason};
use super::reach;
use super::tail::Tail;
use crate::audit::chain::{Hash, Position};

/// Digits of a line's hash in the name of its object: two lines of one number, of which one must be false, have two names.
const DIGITS: usize = 16;

/// What a signed checkpoint says.
#[derive(Debug, Clone)]
pub(in crate::audit) struct Seal {
    /// The gateway's name.
    pub(in crate::audit) server: String,
    /// The chain's id.
    pub(in crate::audit) chain: String,
    /// The line's place in it.
    pub(in crate::audit) at: Position,
    /// The line's time.
    pub(in crate::audit) time: DateTime<Utc>,
    /// Whether it is the first of a process or of a key, which may show how its key follows from earlier ones.
    pub(in crate::audit) is_first: bool,
    /// Whether it is the last of a process.
    pub(in crate::audit) is_end: bool,
    /// All of it.
    pub(super) checkpoint: Checkpoint,
}

impl Seal {
    /// Reads a line, with or without its newline; `None` when it is something else.
    pub(in crate::audit) fn read(line: &[u8]) -> Option<Seal> {
        let line = line.strip_suffix(b"\n").unwrap_or(line);
        let checkpoint = Checkpoint::of(line)?.ok()?;
        let tail = Tail::of(line)?;
        Some(Seal {
            server: checkpoint.server.clone(),
            chain: checkpoint.chain.clone(),
            at: Position { sequence: tail.sequence, hash: Hash::of_line(line) },
            time: reach::time_of(line)?.to_utc(),
            is_first: matches!(checkpoint.reason, Reason::Start | Reason::KeyChange),
            is_end: checkpoint.reason == Reason::Shutdown,
            checkpoint,
        })
    }

    /// What its object is called: `GATEWAY/CHAIN/SEQUENCE-HASH.json`, so that those of a chain sort by their numbers.
    pub(in crate::audit) fn name(&self) -> String {
        let hash = self.at.hash.to_string();
        let digits = hash.get(..DIGITS).unwrap_or(&hash);
        format!("{}/{}/{:020}-{digits}.json", self.server, self.chain, self.at.sequence)
    }
}
