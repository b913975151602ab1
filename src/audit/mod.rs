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
};
pub use recorder::Recorder;
pub use sink::memory::MemorySink;
pub use sink::{
    ACTIVITIES, ArchivePlace, BatchSettings, CollectorHeader, CollectorUrl, DEFAULT_FACILITY, Encoding, FACILITIES,
    Filter, Format, Framing, Fsync, HostPort, HttpTarget, OnFailure, Shape, SinkSettings, SinkTarget, SpoolSettings,
    StoreTarget, SyslogAddress, SyslogTarget, read_authorities,
};

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

/// A required sink cannot take events.
#[derive(Debug, Clone, thiserror::Error)]
#[error("the audit trail cannot be written: {0}")]
pub struct Unrecorded(pub String);
