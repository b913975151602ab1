//! What kind of operation an event is about, and how it went: one reading for searches, tables, and the filters and forms of sinks.

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
        "CONNECTED" | "TRAIL_VERIFIED" => Some("success"),
        "AUTH_FAILURE" | "KEX_FAILURE" | "CONNECTION_REJECTED" | "ERROR" | "EXIT_REASON" => Some("failure"),
        "REQUEST_DENIED" => Some("denied"),
        _ => None,
    }
}
