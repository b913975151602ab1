//! What a sink is told by the configuration.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::address::{CollectorHeader, CollectorUrl};
use super::memory::MemorySink;
use super::own::OwnSink;
use super::shape::Shape;
use super::webhook::WebhookSecret;
use crate::audit::ObjectLock;

/// One sink.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SinkSettings {
    /// Where it writes.
    pub target: SinkTarget,
    /// Which events it takes, and in which form.
    pub shape: Shape,
    /// What happens when it cannot take an event.
    pub on_failure: OnFailure,
}

impl SinkSettings {
    /// A sink that takes every event as it is.
    pub fn of(target: SinkTarget, on_failure: OnFailure) -> Self {
        SinkSettings { target, shape: Shape::default(), on_failure }
    }

    /// Its spool, if it has one.
    pub(in crate::audit) fn spool(&self) -> Option<&SpoolSettings> {
        match &self.target {
            SinkTarget::Store(store) => Some(&store.spool),
            SinkTarget::Http(http) => Some(&http.spool),
            SinkTarget::Stdout
            | SinkTarget::File { .. }
            | SinkTarget::Syslog(_)
            | SinkTarget::Memory(_)
            | SinkTarget::Own(_) => None,
        }
    }
}

/// Gives collectors that would be named alike, being URLs of one host, names of their own: metrics and messages tell them apart by these.
pub fn tell_apart(sinks: &mut [SinkSettings]) {
    let mut alike: BTreeMap<String, Vec<&mut CollectorUrl>> = BTreeMap::new();
    for sink in sinks {
        if let SinkTarget::Http(http) = &mut sink.target {
            alike.entry(http.url.name.clone()).or_default().push(&mut http.url);
        }
    }
    alike.into_values().filter(|urls| urls.len() > 1).flatten().for_each(CollectorUrl::add_mark);
}

/// Where a sink writes.
#[derive(Debug, Clone, PartialEq, Eq)]
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
    /// Compressed batches as objects in a folder of a store.
    Store(StoreTarget),
    /// Messages of RFC 5424.
    Syslog(SyslogTarget),
    /// Batches posted to a collector.
    Http(HttpTarget),
    /// Kept in memory: for tests. No configuration names it.
    Memory(Arc<MemorySink>),
    /// What a program that embeds the gateway brings along. No configuration names it.
    Own(OwnSink),
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

/// When a batch is full.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BatchSettings {
    /// Events that it holds at most.
    pub events: u64,
    /// Bytes of lines that it holds at most, before compression; a single longer line is a batch of its own.
    pub size: u64,
    /// How long it waits for more after its first event.
    pub age: Duration,
}

/// Where batches wait until they have arrived.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SpoolSettings {
    /// The folder; made when it is not there. For one sink of one gateway only.
    pub folder: PathBuf,
    /// Bytes that it holds at most.
    pub limit: u64,
    /// When lines are brought to the disk.
    pub fsync: Fsync,
    /// When a batch is full.
    pub batch: BatchSettings,
}

/// A folder of a store.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct ArchivePlace {
    /// The store's name.
    pub store: String,
    /// The key of the folder; empty for the whole store.
    pub folder: String,
    /// What new objects are locked with.
    pub lock: Option<ObjectLock>,
}

/// Compressed batches in a folder of a store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoreTarget {
    /// Where.
    pub place: ArchivePlace,
    /// Where batches wait.
    pub spool: SpoolSettings,
}

/// The facility of messages unless the configuration names one: `authpriv`.
pub const DEFAULT_FACILITY: u8 = 10;

/// A syslog server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SyslogTarget {
    /// Where it listens.
    pub address: SyslogAddress,
    /// How messages are told apart on a stream.
    pub framing: Framing,
    /// The facility's number, 0 to 23.
    pub facility: u8,
    /// APP-NAME: 1 to 48 printable ASCII characters.
    pub app_name: String,
    /// How long connecting and each write may take.
    pub timeout: Duration,
}

/// Where a syslog server listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SyslogAddress {
    /// TCP: a host's name or address, and a port.
    Tcp(HostPort),
    /// TLS over TCP (RFC 5425).
    Tls {
        /// Host and port; the certificate must be the host's.
        to: HostPort,
        /// A PEM file with the authorities that may have signed it; without one, those that the system trusts.
        ca_file: Option<PathBuf>,
    },
    /// A socket in the file system: a datagram socket as `/dev/log`, or a stream socket.
    Unix(PathBuf),
}

/// A host and a port of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostPort {
    /// A name or an IP address without brackets.
    pub host: String,
    /// The port.
    pub port: u16,
}

impl std::fmt::Display for HostPort {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.host.parse() {
            Ok(address) => SocketAddr::new(address, self.port).fmt(f),
            Err(_) => write!(f, "{}:{}", self.host, self.port),
        }
    }
}

/// How messages are told apart on a stream (RFC 6587).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Framing {
    /// Each message has its length before it.
    #[default]
    OctetCounting,
    /// Each message ends in a newline.
    Newline,
}

/// A collector that takes batches by POST.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpTarget {
    /// Where.
    pub url: CollectorUrl,
    /// Further headers.
    pub headers: Vec<CollectorHeader>,
    /// The form of a batch.
    pub encoding: Encoding,
    /// Whether bodies are compressed.
    pub gzip: bool,
    /// A PEM file with the authorities that may have signed the collector's certificate; without one, the system's.
    pub ca_file: Option<PathBuf>,
    /// How long the answer to one batch may take.
    pub timeout: Duration,
    /// Where batches wait.
    pub spool: SpoolSettings,
    /// The secrets that each request is signed with, as Standard Webhooks has it; none: it is not signed.
    pub signing: Vec<WebhookSecret>,
    /// After how long a delivery that is refused for what it is is set aside; `None`: never.
    pub give_up_after: Option<Duration>,
}

/// The form of a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Encoding {
    /// One request for each.
    Single,
    /// One event a line.
    #[default]
    Ndjson,
    /// One array of events.
    Array,
}
