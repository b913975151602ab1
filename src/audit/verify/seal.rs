//! A signed checkpoint by itself, as a witness keeps it: its line says all that is needed to judge a trail by it.

use chrono::{DateTime, Utc};

use super::checkpoint::{Checkpoint, Reason};
use super::keys::{PublicKey, Ring, Signature};
use super::reach;
use super::tail::Tail;
use crate::audit::chain::{Hash, Position};
use crate::audit::succession::RawKey;

/// Digits of a line's hash in the name of its object: two lines of one number, of which one must be false, have two names.
const DIGITS: usize = 16;

/// The place in its chain that a line has, with or without its newline; `None` when it is no line of a chain.
pub(in crate::audit) fn place_of(line: &[u8]) -> Option<Position> {
    let line = line.strip_suffix(b"\n").unwrap_or(line);
    Tail::of(line).map(|tail| Position { sequence: tail.sequence, hash: Hash::of_line(line) })
}

/// What the name of an object says.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::audit) struct Named {
    /// The chain's id: those of later chains sort after those of earlier ones.
    pub(in crate::audit) chain: String,
    /// The number of the line.
    pub(in crate::audit) sequence: u64,
    /// The first digits of its hash.
    pub(in crate::audit) digits: String,
}

impl Named {
    /// Reads a name of [`Seal::name`]; `None` when it is something else, or of another gateway.
    pub(in crate::audit) fn of(name: &str, server: &str) -> Option<Named> {
        let (chain, object) = name.strip_prefix(server)?.strip_prefix('/')?.split_once('/')?;
        let (sequence, digits) = object.strip_suffix(".json")?.split_once('-')?;
        let is_number = sequence.len() == 20 && sequence.bytes().all(|byte| byte.is_ascii_digit());
        let sequence = sequence.parse().ok().filter(|_| is_number)?;
        Some(Named { chain: chain.to_owned(), sequence, digits: digits.to_owned() })
    }

    /// Whether a line may be the one that is named.
    pub(in crate::audit) fn fits(&self, at: Position) -> bool {
        self.sequence == at.sequence && at.hash.to_string().starts_with(&self.digits)
    }
}

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

    /// Whether it is signed by one of these keys, or by one that they endorse; otherwise what is wrong.
    ///
    /// # Errors
    /// The end of a sentence that begins with what it is.
    pub(in crate::audit) fn check(&self, line: &[u8], keys: &[RawKey]) -> Result<(), String> {
        let keys: Vec<PublicKey> = keys.iter().map(|key| PublicKey::of_raw(*key)).collect();
        let line = line.strip_suffix(b"\n").unwrap_or(line);
        match Ring::of(&keys).check_aside(&self.checkpoint, line, self.at.sequence) {
            Signature::Right => Ok(()),
            Signature::OtherKey(key) => Err(format!("is signed by {key}, which is no key of this trail")),
            Signature::Absent | Signature::NotChecked => Err("has no signature".to_owned()),
            Signature::Wrong | Signature::Followed(_) | Signature::Forked(_) => {
                Err("has a signature that does not fit it".to_owned())
            }
        }
    }

    /// What its object is called: `GATEWAY/CHAIN/SEQUENCE-HASH.json`, so that those of a chain sort by their numbers.
    pub(in crate::audit) fn name(&self) -> String {
        let hash = self.at.hash.to_string();
        let digits = hash.get(..DIGITS).unwrap_or(&hash);
        format!("{}/{}/{:020}-{digits}.json", self.server, self.chain, self.at.sequence)
    }
}
