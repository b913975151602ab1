//! A store between the operations and the real one: it halts before and after each thing it does, stalls, and lets others come in
//! between.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::SystemTime;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use tokio::task::yield_now;

use crate::stores::{
    Capacity, Change, Deletion, Existing, Key, Object, Page, PageToken, PartLimits, PutOptions, Stat, Store,
    StoreError, StoreResult, Upload, Written,
};

/// A store that halts before and after each thing it does.
pub(in crate::session) struct Halting {
    inner: Arc<dyn Store>,
    stalls: AtomicBool,
    /// What happens before the next call of a name.
    before: Mutex<Option<(&'static str, BoxFuture<'static, ()>)>>,
    /// The error of the next call of a name, whatever it has done.
    spoiled: Mutex<Option<(&'static str, StoreError)>>,
    calls: Mutex<Vec<&'static str>>,
}

impl fmt::Debug for Halting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Halting").field(&self.inner).finish()
    }
}

impl Halting {
    /// One that answers.
    pub(in crate::session) fn over(inner: Arc<dyn Store>) -> Arc<Halting> {
        Arc::new(Halting {
            inner,
            stalls: AtomicBool::new(false),
            before: Mutex::default(),
            spoiled: Mutex::default(),
            calls: Mutex::default(),
        })
    }

    /// Whether it answers nothing from now on. What it keeps waiting then is never answered.
    pub(in crate::session) fn stall(&self, stalls: bool) {
        self.stalls.store(stalls, Ordering::SeqCst);
    }

    /// Somebody else does this right before the next call of this name.
    pub(in crate::session) fn before(&self, call: &'static str, deed: impl Future<Output = ()> + Send + 'static) {
        *self.before.lock().unwrap() = Some((call, deed.boxed()));
    }

    /// The next call of this name is done, and is answered with this error.
    pub(in crate::session) fn spoil(&self, call: &'static str, error: StoreError) {
        *self.spoiled.lock().unwrap() = Some((call, error));
    }

    /// The calls since the last time this was asked.
    pub(in crate::session) fn calls(&self) -> Vec<&'static str> {
        std::mem::take(&mut self.calls.lock().unwrap())
    }

    async fn around<T>(&self, call: &'static str, work: impl Future<Output = StoreResult<T>>) -> StoreResult<T> {
        self.calls.lock().unwrap().push(call);
        if self.stalls.load(Ordering::SeqCst) {
            std::future::pending::<()>().await;
        }
        yield_now().await;
        let deed = self.before.lock().unwrap().take_if(|(wanted, _)| *wanted == call);
        if let Some((_, deed)) = deed {
            deed.await;
        }
        let done = work.await;
        yield_now().await;
        let spoiled = self.spoiled.lock().unwrap().take_if(|(wanted, _)| *wanted == call);
        spoiled.map_or(done, |(_, error)| Err(error))
    }
}

#[async_trait]
impl Store for Halting {
    fn name(&self) -> &str {
        self.inner.name()
    }
    fn event_path(&self, key: &Key) -> String {
        self.inner.event_path(key)
    }
    fn part_limits(&self) -> PartLimits {
        self.inner.part_limits()
    }
    fn keeps_directories(&self) -> bool {
        self.inner.keeps_directories()
    }
    fn copies(&self) -> bool {
        self.inner.copies()
    }
    async fn stat(&self, key: &Key) -> StoreResult<Stat> {
        self.around("stat", self.inner.stat(key)).await
    }
    async fn list(&self, key: &Key, from: Option<PageToken>) -> StoreResult<Page> {
        self.around("list", self.inner.list(key, from)).await
    }
    async fn open(&self, key: &Key) -> StoreResult<Arc<dyn Object>> {
        self.around("open", self.inner.open(key)).await
    }
    async fn put(&self, key: &Key, data: Vec<Bytes>, options: &PutOptions) -> StoreResult<Written> {
        self.around("put", self.inner.put(key, data, options)).await
    }
    async fn begin_upload(&self, key: &Key, options: &PutOptions) -> StoreResult<Upload> {
        self.around("begin_upload", self.inner.begin_upload(key, options)).await
    }
    async fn delete(&self, key: &Key) -> StoreResult<()> {
        self.around("delete", self.inner.delete(key)).await
    }
    async fn delete_version(&self, key: &Key, version: &str) -> StoreResult<Deletion> {
        self.around("delete_version", self.inner.delete_version(key, version)).await
    }
    async fn make_directory(&self, key: &Key) -> StoreResult<()> {
        self.around("make_directory", self.inner.make_directory(key)).await
    }
    async fn remove_directory(&self, key: &Key) -> StoreResult<()> {
        self.around("remove_directory", self.inner.remove_directory(key)).await
    }
    async fn rename(&self, from: &Key, to: &Key, existing: Existing, only: Option<&str>) -> StoreResult<Change> {
        self.around("rename", self.inner.rename(from, to, existing, only)).await
    }
    async fn rename_directory(&self, from: &Key, to: &Key) -> StoreResult<()> {
        self.around("rename_directory", self.inner.rename_directory(from, to)).await
    }
    async fn copy(&self, from: &Key, version: &str, to: &Key, options: &PutOptions) -> StoreResult<Written> {
        self.around("copy", self.inner.copy(from, version, to, options)).await
    }
    async fn set_mtime(&self, key: &Key, mtime: SystemTime, only: Option<&str>) -> StoreResult<Option<Change>> {
        self.around("set_mtime", self.inner.set_mtime(key, mtime, only)).await
    }
    async fn set_directory_mtime(&self, key: &Key, mtime: SystemTime) -> StoreResult<bool> {
        self.around("set_directory_mtime", self.inner.set_directory_mtime(key, mtime)).await
    }
    async fn capacity(&self) -> StoreResult<Option<Capacity>> {
        self.around("capacity", self.inner.capacity()).await
    }
    async fn check(&self) -> StoreResult<()> {
        self.around("check", self.inner.check()).await
    }
}
