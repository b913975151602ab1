//! A store in memory that fails when it is told to.

use std::sync::{Arc, Mutex};
use std::time::SystemTime;

use async_trait::async_trait;
use bytes::Bytes;

use crate::stores::{
    self, Capacity, Change, Deletion, Existing, Key, Object, Page, PageToken, PartLimits, PutOptions, Stat, Store,
    StoreError, StoreErrorKind, StoreResult, Upload, Written,
};

/// What goes wrong from now on.
#[derive(Debug, Clone, Copy, Default)]
pub struct Faults {
    /// Reads at and beyond this offset fail.
    pub reads_fail_at: Option<u64>,
    /// Nothing can be written.
    pub writes_fail: bool,
    /// Names cannot be looked up.
    pub stats_fail: bool,
    /// Each listing leaves out so many names.
    pub left_out: u64,
    /// Files are this many bytes longer when they are opened than when they are read.
    pub shrunk_by: u64,
}

/// The store.
#[derive(Debug)]
pub struct Faulty {
    inner: Arc<dyn Store>,
    faults: Mutex<Faults>,
}

impl Faulty {
    pub fn new() -> Arc<Faulty> {
        let settings = stores::Settings { name: "memory".into(), url: "memory:///".into(), options: Vec::new() };
        let inner = stores::open(&settings).unwrap();
        Arc::new(Faulty { inner, faults: Mutex::default() })
    }

    pub fn set(&self, faults: Faults) {
        *self.faults.lock().unwrap() = faults;
    }

    fn faults(&self) -> Faults {
        *self.faults.lock().unwrap()
    }

    fn may_write(&self) -> StoreResult<()> {
        match self.faults().writes_fail {
            true => Err(StoreError::new(StoreErrorKind::NoSpace, "full, says the test")),
            false => Ok(()),
        }
    }
}

#[derive(Debug)]
struct FaultyObject {
    inner: Arc<dyn Object>,
    stat: Stat,
    fails_at: Option<u64>,
}

#[async_trait]
impl Object for FaultyObject {
    fn stat(&self) -> &Stat {
        &self.stat
    }

    async fn read(&self, offset: u64, length: usize) -> StoreResult<Bytes> {
        match self.fails_at {
            Some(end) if offset + length as u64 > end => {
                Err(StoreError::new(StoreErrorKind::Unavailable, "away, says the test"))
            }
            _ => self.inner.read(offset, length).await,
        }
    }

    fn is_remote(&self) -> bool {
        self.inner.is_remote()
    }
}

#[async_trait]
impl Store for Faulty {
    fn name(&self) -> &str {
        self.inner.name()
    }

    fn event_path(&self, key: &Key) -> String {
        self.inner.event_path(key)
    }

    fn part_limits(&self) -> PartLimits {
        self.inner.part_limits()
    }

    async fn stat(&self, key: &Key) -> StoreResult<Stat> {
        match self.faults().stats_fail {
            true => Err(StoreError::new(StoreErrorKind::Unavailable, "away, says the test")),
            false => self.inner.stat(key).await,
        }
    }

    async fn list(&self, key: &Key, from: Option<PageToken>) -> StoreResult<Page> {
        let mut page = self.inner.list(key, from).await?;
        page.skipped.count += self.faults().left_out;
        Ok(page)
    }

    async fn open(&self, key: &Key) -> StoreResult<Arc<dyn Object>> {
        let inner = self.inner.open(key).await?;
        let Faults { reads_fail_at, shrunk_by, .. } = self.faults();
        let mut stat = inner.stat().clone();
        stat.size += shrunk_by;
        Ok(Arc::new(FaultyObject { inner, stat, fails_at: reads_fail_at }))
    }

    async fn put(&self, key: &Key, data: Vec<Bytes>, options: &PutOptions) -> StoreResult<Written> {
        self.may_write()?;
        self.inner.put(key, data, options).await
    }

    async fn begin_upload(&self, key: &Key, options: &PutOptions) -> StoreResult<Upload> {
        self.may_write()?;
        self.inner.begin_upload(key, options).await
    }

    async fn delete(&self, key: &Key) -> StoreResult<()> {
        self.inner.delete(key).await
    }

    async fn delete_version(&self, key: &Key, version: &str) -> StoreResult<Deletion> {
        self.inner.delete_version(key, version).await
    }

    async fn make_directory(&self, key: &Key) -> StoreResult<()> {
        self.may_write()?;
        self.inner.make_directory(key).await
    }

    async fn remove_directory(&self, key: &Key) -> StoreResult<()> {
        self.inner.remove_directory(key).await
    }

    async fn rename(&self, from: &Key, to: &Key, existing: Existing, only: Option<&str>) -> StoreResult<Change> {
        self.inner.rename(from, to, existing, only).await
    }

    async fn rename_directory(&self, from: &Key, to: &Key) -> StoreResult<()> {
        self.inner.rename_directory(from, to).await
    }

    async fn set_mtime(&self, key: &Key, mtime: SystemTime, only: Option<&str>) -> StoreResult<Option<Change>> {
        self.inner.set_mtime(key, mtime, only).await
    }

    async fn capacity(&self) -> StoreResult<Option<Capacity>> {
        self.inner.capacity().await
    }

    async fn check(&self) -> StoreResult<()> {
        self.inner.check().await
    }
}
