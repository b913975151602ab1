//! Attributes as codecs show them and as clients want them changed.

use std::time::SystemTime;

use crate::path::LogicalPath;
use crate::policy::{self, Decision, Operation, Permission, Permissions, Rules};
use crate::stores::Kind;
use crate::vfs;

/// Attributes as codecs show them: those of the file system, with the mode that the entry's permissions allow.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attributes {
    /// File or directory.
    pub kind: Kind,
    /// Length in bytes; 0 for a directory.
    pub size: u64,
    /// Last change, where it is known; 1970 for a directory of which it is not.
    pub mtime: Option<SystemTime>,
    /// Permission bits without the file type: what the user may do there (`0o644`, `0o444`, `0o755`, `0o555`, …).
    pub mode: u32,
}

/// Attributes that a client wants changed. Absent ones stay.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct AttributeChange {
    /// Cut or extend to this many bytes.
    pub size: Option<u64>,
    /// Modification time.
    pub mtime: Option<SystemTime>,
    /// Permission bits; accepted and ignored.
    pub mode: Option<u32>,
    /// Owner and group; accepted and ignored.
    pub owner: Option<(u32, u32)>,
    /// Whether there are others, which no store knows; accepted and ignored.
    pub extended: bool,
}

impl AttributeChange {
    /// The names of what no store keeps.
    pub(super) fn unkept(&self) -> Vec<&'static str> {
        let wishes =
            [("mode", self.mode.is_some()), ("owner", self.owner.is_some()), ("extended attributes", self.extended)];
        wishes.into_iter().filter(|(_, is_wanted)| *is_wanted).map(|(name, _)| name).collect()
    }
}

impl Attributes {
    /// Adds the mode to what the file system knows of `path`.
    pub(super) fn shown(rules: &Rules, path: &LogicalPath, found: vfs::Attributes) -> Attributes {
        let mode = match found.kind {
            Kind::File => file_mode(permissions_of(rules, path)),
            Kind::Directory => directory_mode(rules, path),
        };
        // Clients take a directory without a time for none at all, or fail.
        let unknown = (found.kind == Kind::Directory).then_some(SystemTime::UNIX_EPOCH);
        Attributes { kind: found.kind, size: found.size, mtime: found.mtime.or(unknown), mode }
    }
}

fn permissions_of(rules: &Rules, path: &LogicalPath) -> Permissions {
    rules.covering(path).map_or(Permissions::NONE, |(_, permissions)| permissions)
}

fn file_mode(permissions: Permissions) -> u32 {
    let read = if permissions.has(Permission::Read) { 0o444 } else { 0 };
    let write = if permissions.has(Permission::Overwrite) || permissions.has(Permission::Write) { 0o200 } else { 0 };
    read | write
}

fn directory_mode(rules: &Rules, path: &LogicalPath) -> u32 {
    let list = if policy::decide(rules, Operation::List, path) == Decision::Allow { 0o444 } else { 0 };
    let write = if permissions_of(rules, path).can_change() { 0o200 } else { 0 };
    0o111 | list | write
}
