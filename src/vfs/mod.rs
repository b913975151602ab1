//! The virtual file system: logical path → store and key; downloads, uploads, directories, rename.
//!
//! It knows no users and no policy.

mod budget;
mod counted;
mod emptied;
mod error;
mod listing;
mod lookups;
mod mounts;
mod names;
mod reader;
mod rename;
mod staging;
mod task;
mod transfers;
mod writer;

#[cfg(test)]
mod tests;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::SystemTime;

use crate::path::LogicalPath;
use crate::stores::{Change, Existing, Key, Kind, Provenance, Stat, Store};

use emptied::Emptied;
use lookups::Lookups;
use mounts::Mounts;

pub use error::{Renamed, VfsError, VfsResult};
pub use listing::Listing;
pub use reader::{Reader, WholeFile};
pub use transfers::Transfers;
pub use writer::Writer;

/// One entry of a home: what a logical path shows.
#[derive(Debug, Clone)]
pub struct Mount {
    /// Where the client sees it.
    pub entry: LogicalPath,
    /// The store behind it.
    pub store: Arc<dyn Store>,
    /// The directory in the store.
    pub target: Key,
}

/// Limits of all transfers together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// Bytes of memory that all transfers may hold together (`limits.transfer_memory`).
    pub transfer_memory: u64,
    /// Bytes on disk that staged uploads may hold together (`limits.staging`).
    pub staging: u64,
    /// The folder of staged uploads.
    pub staging_folder: PathBuf,
    /// How many bytes of a file may be left unwritten, because its writes or its length skip them (`limits.largest_hole`).
    pub largest_hole: u64,
    /// What happens to an upload that is cut off (`partial_uploads`).
    pub partial_uploads: PartialUploads,
}

/// What happens to an upload that is cut off.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum PartialUploads {
    /// Nothing is published.
    #[default]
    Discard,
    /// What arrived is published under the final name, as Transfer Family does.
    Publish,
}

/// Attributes of a logical path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attributes {
    /// File or directory.
    pub kind: Kind,
    /// Length in bytes; 0 for a directory.
    pub size: u64,
    /// Last change, where it is known.
    pub mtime: Option<SystemTime>,
}

/// One name of a listing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The last component.
    pub name: String,
    /// What is known of it.
    pub attributes: Attributes,
}

/// How a file is opened for writing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WriteMode {
    /// Existing content goes; without it the old content stays and writes change it (resume, append, read and write).
    pub truncate: bool,
    /// What happens when the name is taken.
    pub existing: Existing,
    /// The file must exist already (an SFTP open without `CREAT`).
    pub must_exist: bool,
    /// The same handle reads as well.
    pub read: bool,
}

/// What a finished upload became.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Committed {
    /// Its length in bytes.
    pub size: u64,
    /// The store's entity tag, where it has one.
    pub etag: Option<String>,
    /// Whether a wanted mtime was kept; true when none was wanted.
    pub mtime_kept: bool,
    /// Whether the store made it, of another object.
    pub copied: bool,
    /// Whether the file is as it was: it was opened to be written, and nothing was.
    pub unchanged: bool,
    /// The version that the file is now, where the store has told it.
    pub version: Option<Version>,
    /// What its metadata says of where it comes from, where the store has kept that.
    pub provenance: Option<Provenance>,
    /// What a success has left behind that should be gone, for the event.
    pub left: Option<String>,
}

impl Attributes {
    /// A directory of which nothing more is known.
    fn directory() -> Self {
        Attributes { kind: Kind::Directory, size: 0, mtime: None }
    }
}

impl From<&Stat> for Attributes {
    fn from(stat: &Stat) -> Self {
        Attributes { kind: stat.kind, size: stat.size, mtime: stat.mtime }
    }
}

/// What names one version of a file to its store, as [`crate::stores::Object::version`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Version(String);

impl Version {
    /// Any, for tests.
    #[cfg(test)]
    pub(crate) fn of_test(text: &str) -> Version {
        Version(text.to_owned())
    }
}

/// What a change made of what, where the store tells.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Changed {
    /// The version that was changed or renamed.
    pub before: Option<Version>,
    /// The one that it became.
    pub after: Option<Version>,
}

impl From<Change> for Changed {
    fn from(change: Change) -> Self {
        Changed { before: change.before.map(Version), after: change.after.map(Version) }
    }
}

/// The file tree of one user's home, as one connection sees it.
#[derive(Debug)]
pub struct Vfs {
    mounts: Mounts,
    transfers: Arc<Transfers>,
    emptied: Emptied,
    lookups: Arc<Lookups>,
    provenance: Option<Provenance>,
}

impl Vfs {
    /// A tree of these mounts. Paths that lead to a mount exist as directories. Its open files are nobody's in particular.
    pub fn new(mounts: Vec<Mount>, transfers: Arc<Transfers>) -> Self {
        Vfs::on_account("", mounts, transfers)
    }

    /// The same; its open files are on this account, which it shares with all trees of the same name.
    pub fn on_account(account: &str, mounts: Vec<Mount>, transfers: Arc<Transfers>) -> Self {
        let account = transfers.descriptors.account(account);
        let lookups = Arc::new(Lookups::new(Arc::clone(&transfers.changes)));
        Vfs { mounts: Mounts::new(mounts, account), transfers, emptied: Emptied::default(), lookups, provenance: None }
    }

    /// New objects say that they come from there, where their stores keep metadata.
    pub fn with_provenance(self, provenance: Provenance) -> Self {
        Vfs { provenance: Some(provenance), ..self }
    }

    /// Whether what arrived of an upload is published when it is cut off.
    pub fn publishes_partial_uploads(&self) -> bool {
        self.transfers.partial == PartialUploads::Publish
    }
}
