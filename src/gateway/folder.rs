//! A folder of a store as a flat set of small objects: for what the gateway itself keeps in stores or reads from them.

use std::io;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use bytes::Bytes;

use crate::audit::{self, Archive, Kept, Locking, ObjectLock};
use crate::stores::{
    Existing, Key, Kind, Lock, LockMode, LockRule, Locks, PutOptions, Stat, Store, StoreError, StoreErrorKind,
    StoreResult,
};
use crate::users::{KeyFile, KeyFileError, KeyFolder, Version};

/// How deep folders are followed; deeper ones are not ours.
const DEPTH: usize = 16;

/// How long the listing of a folder of keys may take, and the reading of one file.
const LISTED_WITHIN: Duration = Duration::from_secs(120);
const READ_WITHIN: Duration = Duration::from_secs(30);

/// How much is asked for at once, in bytes.
const PIECE: usize = 8 << 20;

/// A folder of a store.
#[derive(Debug, Clone)]
pub struct StoreFolder {
    store: Arc<dyn Store>,
    root: Key,
    lock: Option<ObjectLock>,
    name: Option<Arc<str>>,
}

/// One object of a folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredObject {
    /// Its name below the folder, with `/` between its parts.
    pub name: String,
    /// What the listing says of it.
    pub stat: Stat,
}

impl StoreFolder {
    /// The folder `root` of a store; it need not exist.
    pub fn new(store: Arc<dyn Store>, root: Key) -> Self {
        StoreFolder { store, root, lock: None, name: None }
    }

    /// The same, which messages name so.
    #[must_use]
    pub fn called(self, name: &str) -> Self {
        StoreFolder { name: Some(name.into()), ..self }
    }

    /// The same, whose new objects are locked.
    #[must_use]
    pub fn locking(self, lock: Option<ObjectLock>) -> Self {
        StoreFolder { lock, ..self }
    }

    /// How messages name it.
    pub fn describe(&self) -> String {
        self.name.as_deref().map_or_else(|| self.store.event_path(&self.root), str::to_owned)
    }

    /// All objects below the folder, in the order of their names; none when it does not exist. `recursive`: those in folders
    /// of it as well.
    ///
    /// # Errors
    /// The store's.
    pub async fn list(&self, recursive: bool) -> StoreResult<Vec<StoredObject>> {
        self.list_at_most(recursive, usize::MAX).await
    }

    /// As [`StoreFolder::list`], of at most `most` objects.
    ///
    /// # Errors
    /// The store's; [`StoreErrorKind::TooLarge`] when there are more.
    pub async fn list_at_most(&self, recursive: bool, most: usize) -> StoreResult<Vec<StoredObject>> {
        let mut objects = Vec::new();
        let mut folders = vec![(String::new(), 0)];
        while let Some((folder, depth)) = folders.pop() {
            let mut from = None;
            loop {
                let page = match self.store.list(&self.key(&folder)?, from).await {
                    Err(error) if error.kind == StoreErrorKind::NotFound => break,
                    page => page?,
                };
                for entry in page.entries {
                    let name = if folder.is_empty() { entry.name } else { format!("{folder}/{}", entry.name) };
                    match entry.stat.kind {
                        Kind::File => objects.push(StoredObject { name, stat: entry.stat }),
                        Kind::Directory if recursive && depth < DEPTH => folders.push((name, depth + 1)),
                        Kind::Directory => {}
                    }
                }
                if objects.len() > most {
                    let message = format!("{} has more than {most} objects", self.describe());
                    return Err(StoreError::new(StoreErrorKind::TooLarge, message));
                }
                from = page.next;
                if from.is_none() {
                    break;
                }
            }
        }
        objects.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(objects)
    }

    /// A whole object of at most `most` bytes.
    ///
    /// # Errors
    /// The store's; [`StoreErrorKind::TooLarge`] when there is more.
    pub async fn get(&self, name: &str, most: u64) -> StoreResult<Bytes> {
        let object = self.store.open(&self.key(name)?).await?;
        let size = object.stat().size;
        if size > most {
            let message = format!("{name} has {size} bytes; at most {most} are read");
            return Err(StoreError::new(StoreErrorKind::TooLarge, message));
        }
        let mut content = Vec::new();
        while (content.len() as u64) < size {
            let piece = object.read(content.len() as u64, PIECE).await?;
            if piece.is_empty() {
                return Err(StoreError::new(StoreErrorKind::Changed, format!("{name} ended early")));
            }
            content.extend_from_slice(&piece);
        }
        Ok(content.into())
    }

    /// Keeps a new object.
    ///
    /// # Errors
    /// The store's; [`StoreErrorKind::AlreadyExists`] when there is one of that name.
    pub async fn put_new(&self, name: &str, content: Bytes) -> StoreResult<()> {
        if let Some(ObjectLock { mode, retain }) = self.lock {
            let lock = Lock { mode: mode_of(mode), until: SystemTime::now() + retain };
            return self.locks()?.put_locked(&self.key(name)?, content, lock).await;
        }
        let options = PutOptions {
            existing: Existing::Refuse,
            mtime: None,
            based_on: None,
            provenance: None,
            takes_parts: false,
        };
        self.store.put(&self.key(name)?, vec![content], &options).await.map(drop)
    }

    fn locks(&self) -> StoreResult<Arc<dyn Locks>> {
        self.store.locks().ok_or_else(|| {
            let message = format!("the store {:?} has no locks of objects", self.store.name());
            StoreError::new(StoreErrorKind::Unsupported, message)
        })
    }

    fn key(&self, name: &str) -> StoreResult<Key> {
        if name.is_empty() {
            return Ok(self.root.clone());
        }
        self.root.join(name).map_err(|error| StoreError::new(StoreErrorKind::InvalidName, format!("{name}: {error}")))
    }
}

#[async_trait]
impl Archive for StoreFolder {
    fn describe(&self) -> String {
        StoreFolder::describe(self)
    }

    async fn put_new(&self, name: &str, content: Bytes) -> io::Result<()> {
        StoreFolder::put_new(self, name, content).await.map_err(into_io)
    }

    async fn list(&self) -> io::Result<Vec<(String, u64)>> {
        let objects = StoreFolder::list(self, true).await.map_err(into_io)?;
        Ok(objects.into_iter().map(|object| (object.name, object.stat.size)).collect())
    }

    async fn get(&self, name: &str, most: u64) -> io::Result<Bytes> {
        StoreFolder::get(self, name, most).await.map_err(into_io)
    }

    async fn locking(&self) -> io::Result<Locking> {
        let Some(locks) = self.store.locks() else { return Ok(Locking::Never) };
        Ok(match locks.rule().await.map_err(into_io)? {
            LockRule::Off => Locking::Off,
            LockRule::On(rule) => Locking::On(rule),
        })
    }

    async fn versions(&self) -> io::Result<Vec<Kept>> {
        let plain = |(name, size)| Kept { name, version: None, size, is_hidden: false };
        let Some(locks) = self.store.locks() else {
            return Ok(Archive::list(self).await?.into_iter().map(plain).collect());
        };
        let versions = locks.versions(&self.root).await.map_err(into_io)?;
        let kept = versions.into_iter().map(|found| Kept {
            name: found.name,
            version: Some(found.version),
            size: found.size,
            is_hidden: !found.is_present,
        });
        Ok(kept.collect())
    }

    async fn get_version(&self, kept: &Kept, most: u64) -> io::Result<Bytes> {
        let Some(version) = &kept.version else { return Archive::get(self, &kept.name, most).await };
        if kept.size > most {
            let what = format!("{} has {} bytes; at most {most} are read", kept.name, kept.size);
            return Err(io::Error::new(io::ErrorKind::FileTooLarge, what));
        }
        let key = self.key(&kept.name).map_err(into_io)?;
        self.locks().map_err(into_io)?.get_version(&key, version).await.map_err(into_io)
    }

    async fn lock_of(&self, kept: &Kept) -> io::Result<Option<(audit::LockMode, SystemTime)>> {
        let (Some(version), Some(locks)) = (&kept.version, self.store.locks()) else { return Ok(None) };
        let key = self.key(&kept.name).map_err(into_io)?;
        let lock = locks.lock_of(&key, version).await.map_err(into_io)?;
        Ok(lock.map(|lock| match lock.mode {
            LockMode::Governance => (audit::LockMode::Governance, lock.until),
            LockMode::Compliance => (audit::LockMode::Compliance, lock.until),
        }))
    }
}

fn mode_of(mode: audit::LockMode) -> LockMode {
    match mode {
        audit::LockMode::Governance => LockMode::Governance,
        audit::LockMode::Compliance => LockMode::Compliance,
    }
}

#[async_trait]
impl KeyFolder for StoreFolder {
    fn describe(&self) -> String {
        StoreFolder::describe(self)
    }

    async fn list(&self, most: usize) -> Result<Vec<KeyFile>, String> {
        let listed = within(LISTED_WITHIN, self.list_at_most(false, most)).await.map_err(|error| error.to_string())?;
        let file = |object: StoredObject| {
            let Stat { size, mtime, etag, .. } = object.stat;
            KeyFile { name: object.name, version: Version { size, mtime, etag } }
        };
        Ok(listed.into_iter().map(file).collect())
    }

    async fn get(&self, name: &str, most: u64) -> Result<Bytes, KeyFileError> {
        within(READ_WITHIN, StoreFolder::get(self, name, most)).await.map_err(|error| match error.kind {
            StoreErrorKind::NotFound => KeyFileError::Gone,
            StoreErrorKind::TooLarge => KeyFileError::TooLarge,
            _ => KeyFileError::Failed(error.to_string()),
        })
    }
}

async fn within<T>(limit: Duration, answer: impl Future<Output = StoreResult<T>>) -> StoreResult<T> {
    tokio::time::timeout(limit, answer).await.unwrap_or_else(|_| {
        let message = format!("no answer within {} s", limit.as_secs());
        Err(StoreError::new(StoreErrorKind::Unavailable, message))
    })
}

fn into_io(error: StoreError) -> io::Error {
    let kind = match error.kind {
        StoreErrorKind::AlreadyExists => io::ErrorKind::AlreadyExists,
        StoreErrorKind::NotFound => io::ErrorKind::NotFound,
        StoreErrorKind::TooLarge => io::ErrorKind::FileTooLarge,
        StoreErrorKind::AccessDenied => io::ErrorKind::PermissionDenied,
        _ => io::ErrorKind::Other,
    };
    io::Error::new(kind, error)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::stores::{Settings, open};

    #[tokio::test]
    async fn objects_are_kept_listed_and_read_by_their_names() {
        let settings = Settings { name: "m".into(), url: "memory:///".into(), options: Vec::new() };
        let store = open(&settings).unwrap();
        let folder = StoreFolder::new(store.clone(), Key::parse("audit").unwrap());
        assert!(folder.list(true).await.unwrap().is_empty());
        assert_eq!(
            (folder.describe().as_str(), folder.clone().called("s3://b/p").describe().as_str()),
            ("/m/audit", "s3://b/p")
        );
        for name in ["b", "year=2026/hour=01/a", "year=2026/b"] {
            folder.put_new(name, Bytes::from(name.to_owned())).await.unwrap();
        }
        let taken = folder.put_new("b", Bytes::new()).await.unwrap_err();
        assert_eq!(taken.kind, StoreErrorKind::AlreadyExists);
        let names = async |recursive| -> Vec<String> {
            folder.list(recursive).await.unwrap().into_iter().map(|object| object.name).collect()
        };
        assert_eq!(names(true).await, ["b", "year=2026/b", "year=2026/hour=01/a"]);
        assert_eq!(names(false).await, ["b"]);
        assert_eq!(folder.get("year=2026/hour=01/a", 100).await.unwrap(), "year=2026/hour=01/a");
        assert_eq!(folder.get("b", 0).await.unwrap_err().kind, StoreErrorKind::TooLarge);
        assert_eq!(folder.get("c", 9).await.unwrap_err().kind, StoreErrorKind::NotFound);
        assert_eq!(StoreFolder::new(store, Key::root()).list(true).await.unwrap().len(), 3);
    }
}
