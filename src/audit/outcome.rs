//! What kind of operation an event is about, and how it went: one reading for searches, tables, and the filters and forms of sinks.

use super::{NOTHING_WAS_RENAMED, THE_NEW_NAME_IS_WHOLE};

/// The words for operations, in filters of sinks and in searches.
pub const OPERATIONS: &[&str] =
    &["upload", "download", "copy", "delete", "rename", "mkdir", "rmdir", "setstat", "list", "symlink"];

/// The words of `status`.
pub const STATUSES: &[&str] = &["success", "denied", "failure"];

/// Which of [`OPERATIONS`] an event is about, by its `activity-type` and its `operation`.
pub fn operation_of(activity: &str, operation: Option<&str>) -> Option<&'static str> {
    Some(match (activity, operation) {
        ("OPEN" | "CLOSE" | "PARTIAL_CLOSE", Some("write")) | ("ERROR", Some("CLOSE")) => "upload",
        ("OPEN" | "CLOSE" | "PARTIAL_CLOSE", Some("read")) => "download",
        ("CLOSE" | "PARTIAL_CLOSE", Some("copy")) => "copy",
        ("DELETE", _) => "delete",
        ("RENAME", _) => "rename",
        ("MKDIR", _) => "mkdir",
        ("RMDIR", _) => "rmdir",
        ("SETSTAT", _) => "setstat",
        ("LIST", _) => "list",
        ("CREATE_SYMLINK", _) => "symlink",
        _ => return None,
    })
}

/// How an event went that has no `status` because its name says it.
pub fn status_of(activity: &str) -> Option<&'static str> {
    match activity {
        "CONNECTED" | "TRAIL_VERIFIED" | "FLEET_JOINED" => Some("success"),
        "AUTH_FAILURE" | "KEX_FAILURE" | "CONNECTION_REJECTED" | "ERROR" | "EXIT_REASON" | "FLEET_ALONE" => {
            Some("failure")
        }
        "REQUEST_DENIED" => Some("denied"),
        _ => None,
    }
}

/// What a rename has done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum RenameDone {
    /// What had the old name has the new one.
    All,
    /// Everything was copied to the new name. What is left under the old one is not known.
    Copied,
    /// It is not known.
    Perhaps,
    /// Nothing.
    Nothing,
}

impl RenameDone {
    /// Reads the `status` and the `message` of a RENAME.
    pub(super) fn of(status: &str, message: &str) -> RenameDone {
        match status {
            "success" => RenameDone::All,
            "denied" => RenameDone::Nothing,
            _ if message.ends_with(NOTHING_WAS_RENAMED) => RenameDone::Nothing,
            _ if message.ends_with(THE_NEW_NAME_IS_WHOLE) => RenameDone::Copied,
            _ => RenameDone::Perhaps,
        }
    }
}
