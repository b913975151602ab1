//! The audit trail: events, their sinks, and the promise that nothing is left out.
//!
//! Events never travel through `tracing`. A [`Recorder`] hands each event to every sink through a bounded queue; it blocks
//! rather than drops, and answers when every required sink has the event.
//!
//! An event goes this way: [`Activity`] → `encode` (one line of JSON, in the caller's task) → `queue` (time, id and the place in
//! the chain are put in, so the order of the queue is the order of all three) → `recorder` (takes all that is queued as one
//! batch, and notes in `ledger` how far the chain is) → `sink` (one thread each).

mod archive;
pub mod chain;
mod checkpoint;
mod count;
mod encode;
mod event;
mod jump;
mod keeper;
mod key_change;
mod ledger;
mod line;
mod look_back;
pub mod manifest;
mod outcome;
mod own_room;
mod person;
mod queue;
pub mod read;
mod reason;
mod recorder;
mod recovery;
pub mod replay;
pub mod report;
mod reservation;
pub mod schema;
pub mod search;
pub mod sessions;
mod signer;
mod signing;
mod sink;
pub mod spreadsheet;
mod stamp;
mod state;
mod succession;
pub mod table;
#[cfg(test)]
mod tests;
pub mod verify;
mod witness;
mod writer;

pub use archive::{Archive, Kept, LockMode, Locking, ObjectLock};
pub use event::{
    Activity, AdminCall, Algorithms, AuthFailure, CertificateIdentity, Connected, Denied, Disconnected, FileOperation,
    KeyIdentity, NOT_KNOWN, NOTHING_WAS_PUBLISHED, NOTHING_WAS_RENAMED, Note, Origin, Outcome, Protocol, Rejected,
    RenameOperation, THE_NEW_NAME_IS_WHOLE, TransferEnd, TransferStart, UserChange, WHAT_ARRIVED_WAS_PUBLISHED,
};
pub use jump::Jump;
pub use line::MAX_PATH;
pub use outcome::{OPERATIONS, STATUSES};
pub use own_room::OwnRoom;
pub use person::Person;
pub use reason::AuthFailureReason;
pub use recorder::{ChainState, Recorder, SinkState};
pub use reservation::{Recorded, Reservation};
pub use signing::{NewKey, SigningKey};
pub use sink::memory::MemorySink;
pub use sink::{
    ACTIVITIES, ArchivePlace, BatchSettings, CollectorHeader, CollectorUrl, DEFAULT_FACILITY, Encoding, FACILITIES,
    FileOptions, Filter, Format, Framing, Fsync, HostPort, HttpTarget, LineSink, OcsfVersion, OnFailure, OwnSink,
    Redelivered, Rotate, Shape, SinkSettings, SinkTarget, SpoolSettings, SpoolState, StoreTarget, SyslogAddress,
    SyslogTarget, TEMPORARY_NAMES, TEMPORARY_WITHIN, TemporaryNames, UserPatterns, WebhookSecret, read_authorities,
    tell_apart,
};
pub use state::Noted;
pub use succession::{MOST_KEY_CHANGES, Rotated, rotate};
pub use witness::{WitnessSettings, WitnessState};

use std::path::PathBuf;
use std::time::Duration;

/// Where events go, and as whom.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// The server's name (`server.name`), the `server` field.
    pub server: String,
    /// The `resource-arn` field.
    pub resource_arn: String,
    /// The sinks.
    pub sinks: Vec<SinkSettings>,
    /// What is kept of the chain; without it a new chain begins with each process, and nothing is signed.
    pub chain: Option<ChainSettings>,
}

impl Settings {
    /// The folders of stores that sinks and the witness write to.
    pub fn archives(&self) -> impl Iterator<Item = &ArchivePlace> {
        let of_sinks = self.sinks.iter().filter_map(|sink| match &sink.target {
            SinkTarget::Store(store) => Some(&store.place),
            _ => None,
        });
        let witness = self.chain.iter().filter_map(|chain| chain.witness.as_ref());
        of_sinks.chain(witness.map(|witness| &witness.place))
    }

    /// The live file of the first sink that holds every line as it is.
    pub fn whole_trail(&self) -> Option<&std::path::Path> {
        self.sinks.iter().find_map(|sink| match &sink.target {
            SinkTarget::File { path, .. } if sink.shape.is_plain() => Some(path.as_path()),
            _ => None,
        })
    }
}

/// How the chain goes on from process to process, and who signs it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChainSettings {
    /// The folder of its state and its key; of one process at a time.
    pub folder: PathBuf,
    /// How often a checkpoint is made, if anything was recorded since the last one.
    pub checkpoint_every: Duration,
    /// Whether the trail is verified in the background.
    pub self_check: Option<SelfCheck>,
    /// Where the newest checkpoints are witnessed.
    pub witness: Option<WitnessSettings>,
}

/// The verification of the trail in the background.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SelfCheck {
    /// How often.
    pub every: Duration,
    /// Whether a gateway whose trail is not whole is not ready.
    pub judges_readiness: bool,
}

/// A required sink cannot take events.
#[derive(Debug, Clone, thiserror::Error)]
#[error("the audit trail cannot be written: {0}")]
pub struct Unrecorded(pub String);
