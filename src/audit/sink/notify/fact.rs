//! What a line of the trail says of one file, and what is told of it.

use std::iter;

use chrono::{DateTime, Duration, SecondsFormat, Utc};
use serde::{Deserialize, Serialize};

use crate::audit::NOTHING_WAS_PUBLISHED;
use crate::audit::outcome::RenameDone;

/// The fields of a line that notifications are made of, by the names that they have there.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
pub(super) struct Fact {
    pub(super) activity_type: String,
    pub(super) operation: Option<String>,
    pub(super) status: Option<String>,
    pub(super) event_id: String,
    pub(super) timestamp: String,
    pub(super) resource_arn: String,
    pub(super) server: String,
    pub(super) session_id: String,
    pub(super) user: String,
    pub(super) identity: Option<String>,
    pub(super) source_ip: String,
    pub(super) protocol: Option<String>,
    pub(super) path: String,
    pub(super) logical_path: String,
    pub(super) new_path: Option<String>,
    pub(super) new_logical_path: Option<String>,
    pub(super) bytes_in: Option<String>,
    pub(super) bytes_out: Option<String>,
    pub(super) duration_ms: u64,
    pub(super) message: Option<String>,
    pub(super) sha256: Option<String>,
    pub(super) etag: Option<String>,
    pub(super) unchanged: bool,
}

/// What was done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::audit::sink) enum Deed {
    Upload,
    Download,
    Delete,
    Rename,
    DirectoryCreate,
    DirectoryDelete,
}

impl Deed {
    /// As in `filter.operations`.
    pub(in crate::audit::sink) fn operation(self) -> &'static str {
        match self {
            Deed::Upload => "upload",
            Deed::Download => "download",
            Deed::Delete => "delete",
            Deed::Rename => "rename",
            Deed::DirectoryCreate => "mkdir",
            Deed::DirectoryDelete => "rmdir",
        }
    }
}

/// How it failed, in the words of Transfer Family.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Failure {
    PartialUpload,
    PartialDownload,
    Unknown,
}

impl Failure {
    pub(super) fn code(self) -> &'static str {
        match self {
            Failure::PartialUpload => "PARTIAL_UPLOAD",
            Failure::PartialDownload => "PARTIAL_DOWNLOAD",
            Failure::Unknown => "UNKNOWN_ERROR",
        }
    }
}

/// Whether notifications can be made of a line: of such an activity, and for ERROR and CLOSE of such an operation.
pub(in crate::audit::sink) fn is_told(activity: &str, operation: Option<&str>) -> bool {
    match activity {
        "CLOSE" | "PARTIAL_CLOSE" => operation != Some("copy"),
        "ERROR" => operation == Some("CLOSE"),
        "DELETE" | "RENAME" | "MKDIR" | "RMDIR" => true,
        _ => false,
    }
}

impl Fact {
    /// Reads a line; `None` when nothing is told of it. What touched no file in a store has no path, and is not told.
    pub(super) fn read(line: &[u8]) -> Option<Fact> {
        let fact: Fact = serde_json::from_slice(line).ok()?;
        let is_whole = !fact.path.is_empty() && !fact.event_id.is_empty() && fact.time().is_some();
        (is_whole && is_told(&fact.activity_type, fact.operation.as_deref())).then_some(fact)
    }

    /// Whether a line is one of the trail as it was recorded, rather than one in another format.
    pub(super) fn is_of_trail(line: &[u8]) -> bool {
        serde_json::from_slice::<Fact>(line).is_ok_and(|fact| !fact.activity_type.is_empty())
    }

    pub(super) fn deed(&self) -> Deed {
        match self.activity_type.as_str() {
            "DELETE" => Deed::Delete,
            "RENAME" => Deed::Rename,
            "MKDIR" => Deed::DirectoryCreate,
            "RMDIR" => Deed::DirectoryDelete,
            // The operation of a failed close is CLOSE, and only uploads fail there.
            "ERROR" => Deed::Upload,
            _ if self.operation.as_deref() == Some("write") => Deed::Upload,
            _ => Deed::Download,
        }
    }

    pub(super) fn failure(&self) -> Option<Failure> {
        match (self.activity_type.as_str(), self.deed()) {
            ("PARTIAL_CLOSE", Deed::Upload) => Some(Failure::PartialUpload),
            ("PARTIAL_CLOSE", _) => Some(Failure::PartialDownload),
            _ if self.status.as_deref() == Some("success") => None,
            _ => Some(Failure::Unknown),
        }
    }

    /// Whether an upload may have left another file under its name. One that failed says so when it has not.
    pub(super) fn may_have_published(&self) -> bool {
        let says_no = self.message.as_ref().is_some_and(|message| message.ends_with(NOTHING_WAS_PUBLISHED));
        match self.failure() {
            None => true,
            Some(_) => !says_no && self.status.as_deref() != Some("denied"),
        }
    }

    /// What a rename has done, also one that failed.
    pub(super) fn renamed(&self) -> RenameDone {
        RenameDone::of(self.status.as_deref().unwrap_or_default(), self.message.as_deref().unwrap_or_default())
    }

    pub(super) fn time(&self) -> Option<DateTime<Utc>> {
        DateTime::parse_from_rfc3339(&self.timestamp).ok().map(|time| time.to_utc())
    }

    /// When it ended, in milliseconds since 1970.
    pub(super) fn millis(&self) -> i64 {
        self.time().unwrap_or_default().timestamp_millis()
    }

    /// When it began: a transfer at its OPEN, anything else when it was asked for.
    pub(super) fn began(&self) -> DateTime<Utc> {
        let lasted = Duration::milliseconds(i64::try_from(self.duration_ms).unwrap_or(i64::MAX));
        self.time().unwrap_or_default().checked_sub_signed(lasted).unwrap_or_default()
    }
}

/// Something to tell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::audit::sink) struct Notice {
    /// Of an upload that was renamed afterwards: of the upload, under its final name.
    pub(super) fact: Fact,
    /// The event that finished it.
    pub(super) id: String,
    /// When that was.
    pub(super) ended: String,
    /// The name under which it was uploaded, if that was another.
    pub(super) uploaded_as: Option<String>,
    /// The name that it had before its final one. What was told under that must not be overtaken.
    pub(super) renamed_from: Option<String>,
    /// A rename from a temporary name to another one of which nothing more is known: for filters it is an upload as well.
    pub(super) is_arrival: bool,
}

impl From<Fact> for Notice {
    fn from(fact: Fact) -> Self {
        Notice {
            id: fact.event_id.clone(),
            ended: fact.timestamp.clone(),
            uploaded_as: None,
            renamed_from: None,
            is_arrival: false,
            fact,
        }
    }
}

impl Notice {
    /// The storage paths that it is about, and those that its file had before.
    pub(super) fn paths(&self) -> Vec<String> {
        let now = [Some(&self.fact.path), self.fact.new_path.as_ref()];
        let before = [&self.uploaded_as, &self.renamed_from].map(Option::as_ref);
        let mut paths: Vec<String> = now.into_iter().chain(before).flatten().cloned().collect();
        paths.dedup();
        paths
    }

    /// All names of its files, as clients and as stores have them.
    pub(in crate::audit::sink) fn names(&self) -> impl Iterator<Item = &str> {
        let fact = &self.fact;
        let old = [Some(fact.logical_path.as_str()), Some(fact.path.as_str())];
        old.into_iter().chain([fact.new_logical_path.as_deref(), fact.new_path.as_deref()]).flatten()
    }

    pub(in crate::audit::sink) fn user(&self) -> &str {
        &self.fact.user
    }

    /// `success`, `denied` or `failure`.
    pub(in crate::audit::sink) fn status(&self) -> &str {
        self.fact.status.as_deref().unwrap_or("failure")
    }

    pub(in crate::audit::sink) fn operation(&self) -> &'static str {
        self.fact.deed().operation()
    }

    /// What it is for filters.
    pub(in crate::audit::sink) fn operations(&self) -> impl Iterator<Item = &'static str> {
        iter::once(self.operation()).chain(self.is_arrival.then_some(Deed::Upload.operation()))
    }

    pub(super) fn ended(&self) -> DateTime<Utc> {
        DateTime::parse_from_rfc3339(&self.ended).unwrap_or_default().to_utc()
    }

    /// With nanoseconds, as Transfer Family writes it.
    pub(super) fn end_timestamp(&self) -> String {
        self.ended().to_rfc3339_opts(SecondsFormat::Nanos, true)
    }

    /// See [`Notice::end_timestamp`].
    pub(super) fn start_timestamp(&self) -> String {
        self.fact.began().to_rfc3339_opts(SecondsFormat::Nanos, true)
    }
}
