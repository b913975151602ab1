//! What each activity is in the words of ECS: `event.action` is free, `event.category` and `event.type` are from its lists.

use crate::audit::sink::rest::Rest;

/// What was done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Action {
    /// `event.action`
    pub(super) name: &'static str,
    /// `event.category`
    pub(super) category: &'static [&'static str],
    /// `event.type`
    pub(super) kinds: &'static [&'static str],
    /// `file.type`, if it is about a file.
    pub(super) file: Option<&'static str>,
}

const fn file(name: &'static str, kind: &'static str, what: &'static [&'static str]) -> Action {
    Action { name, category: &["file"], kinds: what, file: Some(kind) }
}

const fn other(name: &'static str, category: &'static [&'static str], kinds: &'static [&'static str]) -> Action {
    Action { name, category, kinds, file: None }
}

impl Action {
    /// The action of an event.
    pub(super) fn of(activity: &str, rest: &Rest) -> Action {
        let has_user = rest.peek("user").is_some();
        match (activity, rest.peek("operation")) {
            // An attempt that names nobody is no login of anybody: the same words, for the rules to judge.
            ("CONNECTED" | "AUTH_FAILURE", _) => other("ssh_login", &["authentication", "session"], &["start"]),
            ("DISCONNECTED", _) if has_user => other("ssh_logout", &["session"], &["end"]),
            ("DISCONNECTED", _) => other("ssh_disconnect", &["network"], &["connection", "end"]),
            ("KEX_FAILURE", _) => other("ssh_negotiation", &["network"], &["connection", "denied"]),
            ("CONNECTION_REJECTED", _) => other("ssh_connect", &["network"], &["connection", "denied"]),
            ("REQUEST_DENIED", _) => other("ssh_request", &["network"], &["protocol", "denied"]),
            ("OPEN", _) => file("file_open", "file", &["access"]),
            // It was opened to be written, and nothing was.
            ("CLOSE", Some("write")) if rest.is_true("unchanged") => file("file_close", "file", &["access"]),
            ("CLOSE" | "PARTIAL_CLOSE", Some("write")) | ("ERROR", Some("CLOSE")) => {
                file("file_upload", "file", &["creation"])
            }
            ("CLOSE" | "PARTIAL_CLOSE", Some("copy")) => file("file_copy", "file", &["access"]),
            ("CLOSE" | "PARTIAL_CLOSE", _) => file("file_download", "file", &["access"]),
            ("DELETE", _) => file("file_delete", "file", &["deletion"]),
            ("RENAME", _) => file("file_rename", "file", &["change"]),
            ("SETSTAT", _) => file("file_attributes", "file", &["change"]),
            ("MKDIR", _) => file("directory_create", "dir", &["creation"]),
            ("RMDIR", _) => file("directory_delete", "dir", &["deletion"]),
            ("LIST", _) => file("directory_list", "dir", &["access"]),
            ("CREATE_SYMLINK", _) => file("symlink_create", "symlink", &["creation"]),
            ("USER_ADDED", _) => other("user_add", &["iam"], &["user", "creation"]),
            ("USER_CHANGED", _) => other("user_change", &["iam"], &["user", "change"]),
            ("USER_REMOVED", _) => other("user_remove", &["iam"], &["user", "deletion"]),
            ("ADMIN_CALL", _) => other("admin_call", &["api"], &["access"]),
            ("TRAIL_VERIFIED", _) => other("audit_verify", &[], &["info"]),
            ("FLEET_ALONE", _) => other("fleet_alone", &[], &["error"]),
            ("FLEET_JOINED", _) => other("fleet_joined", &[], &["info"]),
            ("CHECKPOINT", _) => other("audit_checkpoint", &[], &["info"]),
            ("ERROR" | "EXIT_REASON", _) => other("error", &[], &["error"]),
            _ => other("other", &[], &["info"]),
        }
    }
}
