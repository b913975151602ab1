//! A store in process with something that happens before each of its calls.

use std::fmt;
use std::sync::Arc;
use std::time::SystemTime;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use lockgate::internals::stores::{
    Capacity, Change, Deletion, Existing, FileUpload, Key, Object, Page, PageToken, PartLimits, PartUpload, PutOptions,
    Stat, Store, StoreResult, Upload, Written,
};

/// What happens before a call reaches the store.
#[async_trait]
pub trait Before: Send + Sync + fmt::Debug {
    /// `call` is the name of the call and the key that it is about.
    async fn call(&self, call: &str);
}

/// A store, or something that it gave, behind something that happens before each call.
#[derive(Debug)]
pub struct Behind<S> {
    inner: S,
    before: Arc<dyn Before>,
}

impl<S> Behind<S> {
    pub fn new(inner: S, before: Arc<dyn Before>) -> Self {
        Behind { inner, before }
    }

    fn of<T>(&self, inner: T) -> Behind<T> {
        Behind { inner, before: Arc::clone(&self.before) }
    }
}

#[async_trait]
impl Store for Behind<Arc<dyn Store>> {
    fn name(&self) -> &str {
        self.inner.name()
    }

    fn event_path(&self, key: &Key) -> String {
        self.inner.event_path(key)
    }

    fn keeps_directories(&self) -> bool {
        self.inner.keeps_directories()
    }

    fn part_limits(&self) -> PartLimits {
        self.inner.part_limits()
    }

    async fn stat(&self, key: &Key) -> StoreResult<Stat> {
        self.before.call(&format!("stat {key}")).await;
        self.inner.stat(key).await
    }

    async fn list(&self, key: &Key, from: Option<PageToken>) -> StoreResult<Page> {
        self.before.call(&format!("list {key}")).await;
        self.inner.list(key, from).await
    }

    async fn open(&self, key: &Key) -> StoreResult<Arc<dyn Object>> {
        self.before.call(&format!("open {key}")).await;
        Ok(Arc::new(self.of(self.inner.open(key).await?)))
    }

    async fn put(&self, key: &Key, data: Vec<Bytes>, options: &PutOptions) -> StoreResult<Written> {
        self.before.call(&format!("put {key}")).await;
        self.inner.put(key, data, options).await
    }

    async fn begin_upload(&self, key: &Key, options: &PutOptions) -> StoreResult<Upload> {
        self.before.call(&format!("begin_upload {key}")).await;
        Ok(match self.inner.begin_upload(key, options).await? {
            Upload::Parts(parts) => Upload::Parts(Box::new(self.of(parts))),
            Upload::File(file) => Upload::File(Box::new(self.of(file))),
        })
    }

    async fn delete(&self, key: &Key) -> StoreResult<()> {
        self.before.call(&format!("delete {key}")).await;
        self.inner.delete(key).await
    }

    async fn delete_version(&self, key: &Key, version: &str) -> StoreResult<Deletion> {
        self.before.call(&format!("delete_version {key}")).await;
        self.inner.delete_version(key, version).await
    }

    async fn make_directory(&self, key: &Key) -> StoreResult<()> {
        self.before.call(&format!("make_directory {key}")).await;
        self.inner.make_directory(key).await
    }

    async fn remove_directory(&self, key: &Key) -> StoreResult<()> {
        self.before.call(&format!("remove_directory {key}")).await;
        self.inner.remove_directory(key).await
    }

    async fn rename(&self, from: &Key, to: &Key, existing: Existing, only: Option<&str>) -> StoreResult<Change> {
        self.before.call(&format!("rename {from}")).await;
        self.inner.rename(from, to, existing, only).await
    }

    async fn rename_directory(&self, from: &Key, to: &Key) -> StoreResult<()> {
        self.before.call(&format!("rename_directory {from}")).await;
        self.inner.rename_directory(from, to).await
    }

    fn copies(&self) -> bool {
        self.inner.copies()
    }

    async fn copy(&self, from: &Key, version: &str, to: &Key, options: &PutOptions) -> StoreResult<Written> {
        self.before.call(&format!("copy {from}")).await;
        self.inner.copy(from, version, to, options).await
    }

    async fn set_mtime(&self, key: &Key, mtime: SystemTime, only: Option<&str>) -> StoreResult<Option<Change>> {
        self.before.call(&format!("set_mtime {key}")).await;
        self.inner.set_mtime(key, mtime, only).await
    }

    async fn set_directory_mtime(&self, key: &Key, mtime: SystemTime) -> StoreResult<bool> {
        self.before.call(&format!("set_directory_mtime {key}")).await;
        self.inner.set_directory_mtime(key, mtime).await
    }

    async fn capacity(&self) -> StoreResult<Option<Capacity>> {
        self.before.call("capacity").await;
        self.inner.capacity().await
    }

    async fn check(&self) -> StoreResult<()> {
        self.before.call("check").await;
        self.inner.check().await
    }

    fn found(&self) -> Option<String> {
        self.inner.found()
    }
}

#[async_trait]
impl Object for Behind<Arc<dyn Object>> {
    fn stat(&self) -> &Stat {
        self.inner.stat()
    }

    async fn read(&self, offset: u64, length: usize) -> StoreResult<Bytes> {
        self.before.call("read").await;
        self.inner.read(offset, length).await
    }

    fn is_remote(&self) -> bool {
        self.inner.is_remote()
    }

    fn version(&self) -> Option<&str> {
        self.inner.version()
    }
}

#[async_trait]
impl PartUpload for Behind<Box<dyn PartUpload>> {
    fn put_part(&mut self, part: Vec<Bytes>) -> BoxFuture<'static, StoreResult<()>> {
        let sending = self.inner.put_part(part);
        let before = Arc::clone(&self.before);
        async move {
            before.call("put_part").await;
            sending.await
        }
        .boxed()
    }

    fn replaces_parts(&self) -> bool {
        self.inner.replaces_parts()
    }

    fn replace_part(&mut self, place: usize, part: Vec<Bytes>) -> BoxFuture<'static, StoreResult<()>> {
        let sending = self.inner.replace_part(place, part);
        let before = Arc::clone(&self.before);
        async move {
            before.call("replace_part").await;
            sending.await
        }
        .boxed()
    }

    fn base_on(&mut self, version: &str) {
        self.inner.base_on(version);
    }

    fn refuse_existing(&mut self) {
        self.inner.refuse_existing();
    }

    async fn complete(&mut self) -> StoreResult<Written> {
        self.before.call("complete").await;
        self.inner.complete().await
    }

    async fn abort(&mut self) -> StoreResult<()> {
        self.before.call("abort").await;
        self.inner.abort().await
    }
}

#[async_trait]
impl FileUpload for Behind<Box<dyn FileUpload>> {
    async fn write_at(&mut self, offset: u64, data: Vec<Bytes>) -> StoreResult<()> {
        self.before.call("write_at").await;
        self.inner.write_at(offset, data).await
    }

    fn writes_ahead(&self) -> u64 {
        self.inner.writes_ahead()
    }

    fn write_ahead(&mut self, offset: u64, data: Vec<Bytes>) -> BoxFuture<'static, StoreResult<()>> {
        let (before, sent) = (Arc::clone(&self.before), self.inner.write_ahead(offset, data));
        async move {
            before.call("write_ahead").await;
            sent.await
        }
        .boxed()
    }

    async fn read_at(&mut self, offset: u64, length: usize) -> StoreResult<Bytes> {
        self.before.call("read_at").await;
        self.inner.read_at(offset, length).await
    }

    async fn set_length(&mut self, length: u64) -> StoreResult<()> {
        self.before.call("set_length").await;
        self.inner.set_length(length).await
    }

    async fn move_to(&mut self, key: &Key, existing: Existing) -> StoreResult<()> {
        self.before.call("move_to").await;
        self.inner.move_to(key, existing).await
    }

    fn base_on(&mut self, version: &str) {
        self.inner.base_on(version);
    }

    async fn complete(&mut self, mtime: Option<SystemTime>) -> StoreResult<Written> {
        self.before.call("complete").await;
        self.inner.complete(mtime).await
    }

    async fn abort(&mut self) -> StoreResult<()> {
        self.before.call("abort").await;
        self.inner.abort().await
    }
}
