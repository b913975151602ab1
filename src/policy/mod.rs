//! Permissions, operations, and one pure decision.

use std::fmt;

use crate::path::LogicalPath;

/// What a client asks to do to one path.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Operation {
    /// See that a path exists, and the attributes of a directory or of a file that the same connection has uploaded.
    Stat,
    /// See the attributes of any other file. Without it such a file does not exist for who asks.
    SeeFile,
    /// List a directory.
    List,
    /// Read a file.
    Read,
    /// Write a file that does not exist yet.
    Create,
    /// Replace or change a file that exists.
    Overwrite,
    /// Delete a file.
    Delete,
    /// Delete an empty directory.
    RemoveDirectory,
    /// Give a file or directory another name; asked for the old name and, with what the new name needs, for the new one.
    Rename,
    /// Make a directory, also one that a new file or a new name needs.
    MakeDirectory,
    /// Change attributes (times, modes) of a directory, or of a file that the same connection has uploaded.
    SetOwnAttributes,
    /// Change attributes of any other file.
    SetAttributes,
}

impl Operation {
    /// Every operation.
    pub const ALL: [Operation; 12] = [
        Operation::Stat,
        Operation::SeeFile,
        Operation::List,
        Operation::Read,
        Operation::Create,
        Operation::Overwrite,
        Operation::Delete,
        Operation::RemoveDirectory,
        Operation::Rename,
        Operation::MakeDirectory,
        Operation::SetOwnAttributes,
        Operation::SetAttributes,
    ];
}

/// A set of operations.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Operations(u16);

impl Operations {
    /// Every operation.
    pub const ALL: Operations = Operations::of(&Operation::ALL);

    /// The set of these.
    pub const fn of(operations: &[Operation]) -> Operations {
        let mut set = 0;
        let mut rest = operations;
        while let [first, others @ ..] = rest {
            set |= 1 << *first as u16;
            rest = others;
        }
        Operations(set)
    }

    /// Whether the set holds `operation`.
    pub fn has(self, operation: Operation) -> bool {
        self.0 & (1 << operation as u16) != 0
    }

    /// What is in both sets.
    pub const fn and(self, other: Operations) -> Operations {
        Operations(self.0 & other.0)
    }

    /// What is in either set.
    pub const fn or(self, other: Operations) -> Operations {
        Operations(self.0 | other.0)
    }
}

impl fmt::Debug for Operations {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(Operation::ALL.iter().filter(|operation| self.has(**operation))).finish()
    }
}

/// One thing that an entry of a home allows, by its name in the configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Permission {
    /// `list`: list directories, and see the attributes of all files.
    List = 1,
    /// `read`: download.
    Read = 2,
    /// `write`: upload files that do not exist yet.
    Write = 4,
    /// `overwrite`: replace and change files that exist; see and set their attributes.
    Overwrite = 8,
    /// `delete`: delete files and empty directories.
    Delete = 16,
    /// `rename`: rename files and directories.
    Rename = 32,
    /// `mkdir`: make directories. Without it a new file needs a directory that is there.
    Mkdir = 64,
}

impl Permission {
    /// Every permission, in the order of the configuration.
    pub const ALL: [Permission; 7] = [
        Permission::List,
        Permission::Read,
        Permission::Write,
        Permission::Overwrite,
        Permission::Delete,
        Permission::Rename,
        Permission::Mkdir,
    ];

    /// The name in the configuration.
    pub fn name(self) -> &'static str {
        match self {
            Permission::List => "list",
            Permission::Read => "read",
            Permission::Write => "write",
            Permission::Overwrite => "overwrite",
            Permission::Delete => "delete",
            Permission::Rename => "rename",
            Permission::Mkdir => "mkdir",
        }
    }

    /// The permission of that name.
    pub fn from_name(name: &str) -> Option<Permission> {
        Permission::ALL.into_iter().find(|p| p.name() == name)
    }
}

/// A set of permissions.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Permissions(u8);

impl Permissions {
    /// Nothing is allowed.
    pub const NONE: Permissions = Permissions(0);
    /// `read_only`: list and read.
    pub const READ_ONLY: Permissions = Permissions(Permission::List as u8 | Permission::Read as u8);
    /// `write_only`: a drop box. Upload new files and make directories; nothing can be listed, read or replaced, and the files of
    /// others are not seen.
    pub const WRITE_ONLY: Permissions = Permissions(Permission::Write as u8 | Permission::Mkdir as u8);
    /// `read_write`: everything.
    pub const READ_WRITE: Permissions = Permissions(127);

    /// Whether the set holds `permission`.
    pub fn has(self, permission: Permission) -> bool {
        self.0 & permission as u8 != 0
    }

    /// The set with `permission` added.
    pub fn with(self, permission: Permission) -> Permissions {
        Permissions(self.0 | permission as u8)
    }

    /// Whether any kind of change is allowed.
    pub fn can_change(self) -> bool {
        self.0 & !Self::READ_ONLY.0 != 0
    }

    /// Whether the set allows `operation`.
    fn allows(self, operation: Operation) -> bool {
        match operation {
            // A client that may read or write a path has to be able to ask about it: `sftp put` and `scp` stat first.
            Operation::Stat => self != Permissions::NONE,
            // What others brought to a drop box is nobody's business. A user who may overwrite a file may go on with it.
            Operation::SeeFile => {
                self.has(Permission::List) || self.has(Permission::Read) || self.has(Permission::Overwrite)
            }
            Operation::List => self.has(Permission::List),
            Operation::Read => self.has(Permission::Read),
            Operation::Create => self.has(Permission::Write),
            Operation::Overwrite => self.has(Permission::Overwrite),
            Operation::Delete | Operation::RemoveDirectory => self.has(Permission::Delete),
            Operation::Rename => self.has(Permission::Rename),
            Operation::MakeDirectory => self.has(Permission::Mkdir),
            // Clients set times and modes after an upload, and of the directories that they make.
            Operation::SetOwnAttributes => {
                self.has(Permission::Write) || self.has(Permission::Overwrite) || self.has(Permission::Mkdir)
            }
            Operation::SetAttributes => self.has(Permission::Overwrite),
        }
    }
}

impl FromIterator<Permission> for Permissions {
    fn from_iter<I: IntoIterator<Item = Permission>>(permissions: I) -> Self {
        permissions.into_iter().fold(Permissions::NONE, Permissions::with)
    }
}

impl fmt::Display for Permissions {
    /// As the configuration has it: the word for all of them, or the names of each.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Permissions::READ_ONLY => f.write_str("read_only"),
            Permissions::READ_WRITE => f.write_str("read_write"),
            Permissions::WRITE_ONLY => f.write_str("write_only"),
            Permissions::NONE => f.write_str("none"),
            others => {
                let names = Permission::ALL.into_iter().filter(|one| others.has(*one)).map(Permission::name);
                f.write_str(&names.collect::<Vec<_>>().join(", "))
            }
        }
    }
}

impl fmt::Debug for Permissions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(Permission::ALL.iter().filter(|p| self.has(**p)).map(|p| p.name())).finish()
    }
}

/// The permissions of one user: each entry of the home with what it allows.
#[derive(Debug, Clone)]
pub struct Rules {
    entries: Vec<(LogicalPath, Permissions)>,
}

/// What [`decide`] says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decision {
    /// Do it.
    Allow,
    /// No entry covers the path: for this user it does not exist.
    Hidden,
    /// The path lies on the way to an entry: it is a directory that the configuration makes, and cannot be changed.
    Virtual,
    /// An entry covers the path and does not allow the operation.
    Deny,
}

impl Rules {
    /// The rules of a home. Entries are matched by the longest that covers a path, so their order does not matter.
    pub fn new(mut entries: Vec<(LogicalPath, Permissions)>) -> Self {
        entries.sort_by_key(|(entry, _)| std::cmp::Reverse(entry.components().count()));
        Rules { entries }
    }

    /// The permissions of the most specific entry that covers `path`.
    pub fn covering(&self, path: &LogicalPath) -> Option<(&LogicalPath, Permissions)> {
        self.entries.iter().find(|(entry, _)| path.is_at_or_below(entry)).map(|(entry, p)| (entry, *p))
    }

    /// Whether `path` is a strict ancestor of an entry.
    fn leads_to_an_entry(&self, path: &LogicalPath) -> bool {
        self.entries.iter().any(|(entry, _)| entry != path && entry.is_at_or_below(path))
    }

    /// Whether `path` is an entry itself.
    fn is_entry(&self, path: &LogicalPath) -> bool {
        self.entries.iter().any(|(entry, _)| entry == path)
    }
}

/// Decides whether `operation` may be done to `path`. The one place where that question is answered.
pub fn decide(rules: &Rules, operation: Operation, path: &LogicalPath) -> Decision {
    let fixed = rules.is_entry(path) || rules.leads_to_an_entry(path);
    let looks_only = matches!(operation, Operation::Stat | Operation::SeeFile | Operation::List);
    if fixed && matches!(operation, Operation::Delete | Operation::RemoveDirectory | Operation::Rename) {
        // The home's entries always exist.
        return Decision::Virtual;
    }
    match rules.covering(path) {
        Some((_, permissions)) if permissions.allows(operation) => Decision::Allow,
        Some(_) if looks_only && rules.leads_to_an_entry(path) => Decision::Allow,
        Some(_) => Decision::Deny,
        None if rules.leads_to_an_entry(path) && looks_only => Decision::Allow,
        None if rules.leads_to_an_entry(path) => Decision::Virtual,
        None => match path.parent() {
            // Beside an entry, in a directory that the configuration makes: nothing can be put there.
            Some(parent) if !looks_only && rules.leads_to_an_entry(&parent) && rules.covering(&parent).is_none() => {
                match operation {
                    Operation::Create | Operation::MakeDirectory | Operation::Rename => Decision::Virtual,
                    _ => Decision::Hidden,
                }
            }
            _ => Decision::Hidden,
        },
    }
}

#[cfg(test)]
mod tests;
