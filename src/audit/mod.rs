//! The audit trail: what happened, who is told, and the promise that nothing is left out.
//!
//! Events never travel through `tracing`. A [`Recorder`] hands each event to every sink through a bounded queue; it blocks
//! rather than drops, and answers when every required sink has the event.
//!
//! An event goes this way: [`Activity`] → `encode` (one line of JSON, in the caller's task) → `queue` (time and id are put in,
//! so the order of the queue is the order of both) → `recorder` (takes all that is queued as one batch) → `sink` (one thread
//! each).

mod archive;
pub mod chain;
mod count;
mod encode;
mod event;
mod line;
mod queue;
mod recorder;
mod sink;
mod stamp;
#[cfg(test)]
mod tests;

pub use archive::Archive;
pub use event::{
    Activity, Algorithms, AuthFailure, AuthFailureReason, CertificateIdentity, Connected, Denied, Disconnected,
    FileOperation, KeyIdentity, Note, Origin, Outcome, Protocol, Rejected, RenameOperation, TransferEnd, TransferStart,
    UserChange,
};
pub use recorder::Recorder;
pub use sink::memory::MemorySink;

use std::path::PathBuf;
use std::sync::Arc;

/// Where events go, and as whom.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The server's name (`server.name`), the `server` field.
    pub server: String,
    /// The `resource-arn` field.
    pub resource_arn: String,
    /// The sinks.
    pub sinks: Vec<SinkSettings>,
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
    },
    /// Kept in memory: for tests, and for programs that embed the gateway. No configuration names it.
    Memory(Arc<MemorySink>),
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
