//! A folder of a store that holds batches of events or checkpoints, as the trail needs it: the gateway gives one.

use std::fmt;
use std::io;
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use bytes::Bytes;

/// A lock that each new object gets (S3 Object Lock): nobody can delete or replace it before its time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct ObjectLock {
    /// Who can still shorten it.
    pub mode: LockMode,
    /// For how long it holds, from when the object is written.
    pub retain: Duration,
}

/// Who can still shorten a lock.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum LockMode {
    /// Those with a permission of its own.
    Governance,
    /// Nobody, not even the owner of the account.
    Compliance,
}

/// A version of an object in a folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kept {
    /// The object's name.
    pub name: String,
    /// The store's number of the version; `None` where the store keeps no versions.
    pub version: Option<String>,
    /// Its length in bytes.
    pub size: u64,
    /// Whether it was deleted or replaced, so that a plain read does not give it.
    pub is_hidden: bool,
}

/// What a store does with locks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Locking {
    /// It has none.
    Never,
    /// It could, and the bucket was made without them.
    Off,
    /// Objects may be locked; the lock that one gets without its own, in words.
    On(Option<String>),
}

/// A folder of a store. Names are below the folder, with `/` between their parts.
#[async_trait]
pub trait Archive: Send + Sync + fmt::Debug {
    /// How messages name it.
    fn describe(&self) -> String;

    /// Keeps a new object.
    ///
    /// # Errors
    /// [`io::ErrorKind::AlreadyExists`] when there is one of that name; what the store says.
    async fn put_new(&self, name: &str, content: Bytes) -> io::Result<()>;

    /// The names and sizes in bytes of all objects, also in folders of it, in the order of their names.
    ///
    /// # Errors
    /// What the store says.
    async fn list(&self) -> io::Result<Vec<(String, u64)>>;

    /// A whole object of at most `most` bytes.
    ///
    /// # Errors
    /// [`io::ErrorKind::NotFound`], [`io::ErrorKind::FileTooLarge`]; what the store says.
    async fn get(&self, name: &str, most: u64) -> io::Result<Bytes>;

    /// What the store does with locks.
    ///
    /// # Errors
    /// What the store says.
    async fn locking(&self) -> io::Result<Locking> {
        Ok(Locking::Never)
    }

    /// As [`Archive::list`], of all versions where the store keeps them and locks them, also of those that were deleted or replaced.
    ///
    /// # Errors
    /// What the store says.
    async fn versions(&self) -> io::Result<Vec<Kept>> {
        let kept = |(name, size)| Kept { name, version: None, size, is_hidden: false };
        Ok(self.list().await?.into_iter().map(kept).collect())
    }

    /// As [`Archive::get`], of one version.
    ///
    /// # Errors
    /// As [`Archive::get`].
    async fn get_version(&self, kept: &Kept, most: u64) -> io::Result<Bytes> {
        self.get(&kept.name, most).await
    }

    /// The lock of one version: who can shorten it, and until when it holds. `None` when it has none.
    ///
    /// # Errors
    /// What the store says.
    async fn lock_of(&self, kept: &Kept) -> io::Result<Option<(LockMode, SystemTime)>> {
        let _ = kept;
        Ok(None)
    }
}
