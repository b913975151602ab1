//! Locks of objects (S3 Object Lock): until its time, nobody can delete or replace a locked version, whatever credentials say. A delete
//! without a version, which is possible, only hides it; so what is locked is read by its versions.

use std::fmt;
use std::time::SystemTime;

use async_trait::async_trait;
use bytes::Bytes;

use super::{Key, StoreResult};

/// Who can still shorten a lock.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum LockMode {
    /// Those with a permission of its own (`s3:BypassGovernanceRetention`).
    Governance,
    /// Nobody.
    Compliance,
}

impl LockMode {
    /// The word of the interface.
    pub fn as_str(self) -> &'static str {
        match self {
            LockMode::Governance => "GOVERNANCE",
            LockMode::Compliance => "COMPLIANCE",
        }
    }

    /// Reads the word of the interface.
    pub(super) fn parse(text: &str) -> Option<LockMode> {
        [LockMode::Governance, LockMode::Compliance].into_iter().find(|mode| mode.as_str() == text)
    }
}

/// The lock of one version.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lock {
    /// Who can still shorten it.
    pub mode: LockMode,
    /// Until when it holds.
    pub until: SystemTime,
}

/// What a bucket does with locks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LockRule {
    /// It was made without Object Lock: nothing in it can be locked.
    Off,
    /// Objects may be locked; this lock, in words, is what one gets that is put without its own.
    On(Option<String>),
}

/// Whether a store with this URL can have locks; whether its bucket has them, only the server says.
pub fn can_lock(url: &str) -> bool {
    matches!(url.split_once("://"), Some(("s3" | "s3a", _)))
}

/// One version of an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredVersion {
    /// The object's name below the folder that was asked for, with `/` between its parts.
    pub name: String,
    /// The store's number of the version.
    pub version: String,
    /// Its length in bytes.
    pub size: u64,
    /// Whether a plain read gives it: otherwise it was replaced, or deleted.
    pub is_present: bool,
}

/// A store that locks objects.
#[async_trait]
pub trait Locks: Send + Sync + fmt::Debug {
    /// What the bucket does with locks.
    async fn rule(&self) -> StoreResult<LockRule>;

    /// Keeps a new object under a lock, in one request.
    ///
    /// # Errors
    /// [`StoreErrorKind::AlreadyExists`](super::StoreErrorKind) when there is one of the name, also when the answer to an earlier try of
    /// this very call was lost.
    async fn put_locked(&self, key: &Key, data: Bytes, lock: Lock) -> StoreResult<()>;

    /// The lock of one version; `None` when it has none.
    async fn lock_of(&self, key: &Key, version: &str) -> StoreResult<Option<Lock>>;

    /// All versions of all objects below a folder, also of those that were deleted.
    async fn versions(&self, folder: &Key) -> StoreResult<Vec<StoredVersion>>;

    /// One version of an object, whole.
    async fn get_version(&self, key: &Key, version: &str) -> StoreResult<Bytes>;
}
