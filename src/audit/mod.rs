//! The audit trail: what happened, who is told, and the promise that nothing is left out.
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
mod keeper;
mod ledger;
mod line;
mod queue;
mod recorder;
mod recovery;
mod signing;
mod sink;
mod stamp;
mod state;
#[cfg(test)]
mod tests;

pub use archive::Archive;
pub use event::{
    Activity, Algorithms, AuthFailure, AuthFailureReason, CertificateIdentity, Connected, Denied, Disconnected,
    FileOperation, KeyIdentity, Note, Origin, Outcome, Protocol, Rejected, RenameOperation, TransferEnd, TransferStart,
};
pub use recorder::Recorder;
pub use signing::{NewKey, SigningKey};
pub use sink::memory::MemorySink;

use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// Where events go, and as whom.
#[derive(Debug, Clone)]
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

/// How the chain goes on from process to process, and who signs it.
#[derive(Debug, Clone)]
pub struct ChainSettings {
    /// The folder of its state and its key; of one process at a time.
    pub folder: PathBuf,
    /// How often a checkpoint is made, if anything was recorded since the last one.
    pub checkpoint_every: Duration,
}

/// One sink.
#[derive(Debug, Clone)]
pub struct SinkSettings {
    /// Where it writes.
    pub target: SinkTarget,
    /// What happens when it cannot take an event.
    pub on_failure: OnFailure,
}

/// Where a sink writes.
#[derive(Debug, Clone)]
pub enum SinkTarget {
    /// JSON lines on standard output.
    Stdout,
    /// JSON lines appended to a file.
    File {
        /// The file, made with mode 0640 when it is not there; its folder must exist.
        path: PathBuf,
        /// When it ends and when it is brought to the disk.
        options: FileOptions,
    },
    /// Kept in memory: for tests, and for programs that embed the gateway. No configuration names it.
    Memory(Arc<MemorySink>),
}

/// What becomes of the file of a sink.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct FileOptions {
    /// When it ends; without this, never.
    pub rotate: Option<Rotate>,
    /// When it is brought to the disk.
    pub fsync: Fsync,
}

/// When a file ends, and what becomes of it then.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Rotate {
    /// When it has this many bytes, or soon after.
    pub size: Option<u64>,
    /// When its first line is this old.
    pub age: Option<Duration>,
    /// Whether it is compressed then.
    pub gzip: bool,
    /// How many old files are kept; all, if there is no number.
    pub keep: Option<NonZeroUsize>,
}

/// When a file is brought to the disk, so that a power cut does not take it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fsync {
    /// When the system likes to, within half a minute or so.
    Never,
    /// Before anybody is told that an event is recorded.
    Batch,
    /// At most this long after a line was written, while operations go on.
    Every(Duration),
}

impl Default for Fsync {
    /// Nobody waits for the disk, and a power cut takes a second at most.
    fn default() -> Self {
        Fsync::Every(Duration::from_secs(1))
    }
}

/// What happens when a sink cannot take an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OnFailure {
    /// Operations are refused rather than left unrecorded.
    #[default]
    Refuse,
    /// Operations go on; the loss is logged and counted.
    Continue,
}

/// A required sink cannot take events.
#[derive(Debug, Clone, thiserror::Error)]
#[error("the audit trail cannot be written: {0}")]
pub struct Unrecorded(pub String);
