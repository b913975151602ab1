//! What a witness says of a trail, for people and for machines.

use std::fmt;

use serde_json::{Value, json};

use super::locks::LockReport;
use super::witness::Servers;
use crate::audit::read::shown;

/// How many findings are shown to people one by one.
const SHOWN: usize = 20;

/// What kind of thing the witness found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum WitnessKind {
    /// The trail ends before what the witness saw.
    CutOff,
    /// The trail has something else where the witness saw a checkpoint.
    Replaced,
    /// The trail has another chain of the gateway, and not the one that the witness saw.
    BegunAnew,
    /// The trail has nothing of the gateway.
    Removed,
    /// A checkpoint of the witness is signed by a key that nothing leads to.
    ForeignKey,
    /// A checkpoint of the witness has no signature, or a wrong one.
    Signature,
    /// An object of the witness is no checkpoint.
    Unreadable,
    /// A locked object of the witness was deleted or replaced.
    Hidden,
    /// The witness has no signed checkpoint of a gateway of the sources.
    Empty,
}

impl WitnessKind {
    /// The word for machines.
    pub fn as_str(self) -> &'static str {
        match self {
            WitnessKind::CutOff => "cut-off",
            WitnessKind::Replaced => "replaced",
            WitnessKind::BegunAnew => "begun-anew",
            WitnessKind::Removed => "removed",
            WitnessKind::ForeignKey => "foreign-key",
            WitnessKind::Signature => "signature",
            WitnessKind::Unreadable => "unreadable",
            WitnessKind::Hidden => "hidden",
            WitnessKind::Empty => "empty",
        }
    }
}

/// One thing that does not fit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WitnessFinding {
    /// What kind.
    pub kind: WitnessKind,
    /// The gateway, the chain and the number that the checkpoint names, if it is one.
    pub server: Option<String>,
    /// See `server`.
    pub chain: Option<String>,
    /// See `server`.
    pub sequence: Option<u64>,
    /// The object of the witness.
    pub object: String,
    /// What it saw, and what is there.
    pub what: String,
}

/// The newest checkpoint of one chain in a witness.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Newest {
    /// The gateway.
    pub server: String,
    /// The chain.
    pub chain: String,
    /// Its number.
    pub sequence: u64,
    /// Its time.
    pub time: String,
    /// How many there are of the chain.
    pub checkpoints: u64,
    /// How many events the trail has after it, of which the witness knows nothing. `None` when the trail does not reach it.
    pub events_after: Option<u64>,
    /// The last number that the trail has of the chain; `None` when it does not have the chain.
    pub trail_ends: Option<u64>,
}

/// All that a witness says of a trail.
#[derive(Debug, Clone, Default)]
pub struct WitnessReport {
    /// How messages name the witness.
    pub name: String,
    /// Checkpoints with a right signature.
    pub checkpoints: u64,
    /// Those of them that the trail has.
    pub met: u64,
    /// Those outside of the range of time that is asked about.
    pub outside: u64,
    /// Those from before the first line of these sources.
    pub before_sources: u64,
    /// Chains whose newest checkpoint the batches of a store do not have yet.
    pub on_their_way: u64,
    /// The newest of each chain.
    pub newest: Vec<Newest>,
    /// Gateways that share the witness, and of which these sources have nothing.
    pub unseen: Servers,
    /// What does not fit; the first thousand.
    pub findings: Vec<WitnessFinding>,
    /// How much does not fit.
    pub found: u64,
    /// What of the witness is locked.
    pub locks: Option<LockReport>,
}

impl WitnessReport {
    /// As JSON.
    pub fn to_json(&self) -> Value {
        let finding = |finding: &WitnessFinding| {
            json!({
                "kind": finding.kind.as_str(),
                "server": finding.server,
                "chain": finding.chain,
                "sequence": finding.sequence,
                "object": finding.object,
                "what": finding.what,
            })
        };
        let newest = |newest: &Newest| {
            json!({
                "server": newest.server,
                "chain": newest.chain,
                "sequence": newest.sequence,
                "timestamp": newest.time,
                "checkpoints": newest.checkpoints,
                "events-after": newest.events_after,
                "trail-ends": newest.trail_ends,
            })
        };
        json!({
            "name": self.name,
            "checkpoints": self.checkpoints,
            "in-trail": self.met,
            "outside-range": self.outside,
            "before-sources": self.before_sources,
            "on-their-way": self.on_their_way,
            "newest": self.newest.iter().map(newest).collect::<Vec<_>>(),
            "other-servers": self.unseen,
            "finding-count": self.found,
            "findings": self.findings.iter().map(finding).collect::<Vec<_>>(),
            "locks": self.locks.as_ref().map(LockReport::to_json),
        })
    }
}

impl fmt::Display for WitnessReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { checkpoints, met, .. } = self;
        writeln!(f, "witness {}: {met} of {checkpoints} checkpoints are in the trail", shown(&self.name))?;
        for (count, what) in [
            (self.outside, "outside of the range of time"),
            (self.before_sources, "from before the first line of these sources"),
            (self.on_their_way, "so new that the batches of the store may not have them yet"),
        ] {
            if count > 0 {
                writeln!(f, "  {count} {what}")?;
            }
        }
        for finding in self.findings.iter().take(SHOWN) {
            writeln!(f, "  {}: {} {}", finding.kind.as_str(), shown(&finding.object), shown(&finding.what))?;
        }
        if self.found > SHOWN as u64 {
            writeln!(f, "  and {} more", self.found - SHOWN as u64)?;
        }
        for newest in &self.newest {
            let after = match (newest.events_after, newest.trail_ends) {
                (Some(0), _) => "the trail ends there".to_owned(),
                (Some(events), _) => format!("the {events} events after it are known by the trail alone"),
                (None, Some(end)) => format!("these sources end before it, at sequence {end}"),
                (None, None) => "its chain is not in these sources".to_owned(),
            };
            let (server, time) = (shown(&newest.server), shown(&newest.time));
            writeln!(f, "  {server}: the newest is sequence {} ({time}); {after}", newest.sequence)?;
        }
        for server in &self.unseen {
            writeln!(f, "  {}: shares the witness, and has no line in these sources", shown(server))?;
        }
        match &self.locks {
            Some(locks) => writeln!(f, "  {locks}"),
            None => Ok(()),
        }
    }
}
