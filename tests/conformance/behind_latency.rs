//! The suite behind latency: every request to a server, or every call of a store in process, waits.

use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use lockgate::stores::{
    Capacity, Existing, FileUpload, Key, Object, Page, PageToken, PartLimits, PartUpload, PutOptions, Stat, Store,
    StoreResult, Upload, Written,
};

use crate::fixture::{Fixture, Server};
use crate::support::proxy::Proxy;

/// What each request to a server waits.
const REQUEST: Duration = Duration::from_millis(20);

/// What each call of a store in process waits; some checks make thousands.
const CALL: Duration = Duration::from_millis(2);

/// Runs a check on S3 behind latency.
pub async fn s3<F: Future<Output = ()>>(check: impl FnOnce(Fixture) -> F) {
    let Some(server) = Server::from_environment() else { return };
    let endpoint = server.endpoint.clone();
    over(&endpoint, async |through| Fixture::s3_through(server, &through, &[]).await, check).await;
}

/// Runs a check on any store that is reached over HTTP: `open` gets the endpoint to use instead of the server's.
pub async fn over<F: Future<Output = ()>>(
    endpoint: &str,
    open: impl AsyncFnOnce(String) -> Fixture,
    check: impl FnOnce(Fixture) -> F,
) {
    let proxy = Proxy::start(endpoint);
    proxy.delay(REQUEST);
    check(open(proxy.endpoint()).await).await;
    assert!(!proxy.seen().is_empty(), "no request went through the proxy");
}

/// The same store with slow calls.
pub fn delayed(fixture: Fixture) -> Fixture {
    Fixture { store: Arc::new(Delayed(fixture.store)), ..fixture }
}

#[derive(Debug)]
struct Delayed<S>(S);

async fn wait() {
    tokio::time::sleep(CALL).await;
}

#[async_trait]
impl Store for Delayed<Arc<dyn Store>> {
    fn name(&self) -> &str {
        self.0.name()
    }

    fn event_path(&self, key: &Key) -> String {
        self.0.event_path(key)
    }

    fn part_limits(&self) -> PartLimits {
        self.0.part_limits()
    }

    async fn stat(&self, key: &Key) -> StoreResult<Stat> {
        wait().await;
        self.0.stat(key).await
    }

    async fn list(&self, key: &Key, from: Option<PageToken>) -> StoreResult<Page> {
        wait().await;
        self.0.list(key, from).await
    }

    async fn open(&self, key: &Key) -> StoreResult<Arc<dyn Object>> {
        wait().await;
        Ok(Arc::new(Delayed(self.0.open(key).await?)))
    }

    async fn put(&self, key: &Key, data: Vec<Bytes>, options: &PutOptions) -> StoreResult<Written> {
        wait().await;
        self.0.put(key, data, options).await
    }

    async fn begin_upload(&self, key: &Key, options: &PutOptions) -> StoreResult<Upload> {
        wait().await;
        Ok(match self.0.begin_upload(key, options).await? {
            Upload::Parts(parts) => Upload::Parts(Box::new(Delayed(parts))),
            Upload::File(file) => Upload::File(Box::new(Delayed(file))),
        })
    }

    async fn delete(&self, key: &Key) -> StoreResult<()> {
        wait().await;
        self.0.delete(key).await
    }

    async fn make_directory(&self, key: &Key) -> StoreResult<()> {
        wait().await;
        self.0.make_directory(key).await
    }

    async fn remove_directory(&self, key: &Key) -> StoreResult<()> {
        wait().await;
        self.0.remove_directory(key).await
    }

    async fn rename(&self, from: &Key, to: &Key, existing: Existing) -> StoreResult<()> {
        wait().await;
        self.0.rename(from, to, existing).await
    }

    async fn rename_directory(&self, from: &Key, to: &Key) -> StoreResult<()> {
        wait().await;
        self.0.rename_directory(from, to).await
    }

    fn copies(&self) -> bool {
        self.0.copies()
    }

    async fn copy(&self, from: &Key, version: &str, to: &Key, options: &PutOptions) -> StoreResult<Written> {
        wait().await;
        self.0.copy(from, version, to, options).await
    }

    async fn set_mtime(&self, key: &Key, mtime: SystemTime) -> StoreResult<bool> {
        wait().await;
        self.0.set_mtime(key, mtime).await
    }

    async fn capacity(&self) -> StoreResult<Option<Capacity>> {
        wait().await;
        self.0.capacity().await
    }

    async fn check(&self) -> StoreResult<()> {
        wait().await;
        self.0.check().await
    }
}

#[async_trait]
impl Object for Delayed<Arc<dyn Object>> {
    fn stat(&self) -> &Stat {
        self.0.stat()
    }

    async fn read(&self, offset: u64, length: usize) -> StoreResult<Bytes> {
        wait().await;
        self.0.read(offset, length).await
    }

    fn is_remote(&self) -> bool {
        self.0.is_remote()
    }
}

#[async_trait]
impl PartUpload for Delayed<Box<dyn PartUpload>> {
    fn put_part(&mut self, part: Vec<Bytes>) -> BoxFuture<'static, StoreResult<()>> {
        let sending = self.0.put_part(part);
        async {
            wait().await;
            sending.await
        }
        .boxed()
    }

    async fn complete(&mut self) -> StoreResult<Written> {
        wait().await;
        self.0.complete().await
    }

    async fn abort(&mut self) -> StoreResult<()> {
        wait().await;
        self.0.abort().await
    }
}

#[async_trait]
impl FileUpload for Delayed<Box<dyn FileUpload>> {
    async fn write_at(&mut self, offset: u64, data: Vec<Bytes>) -> StoreResult<()> {
        wait().await;
        self.0.write_at(offset, data).await
    }

    async fn read_at(&mut self, offset: u64, length: usize) -> StoreResult<Bytes> {
        wait().await;
        self.0.read_at(offset, length).await
    }

    async fn set_length(&mut self, length: u64) -> StoreResult<()> {
        wait().await;
        self.0.set_length(length).await
    }

    async fn move_to(&mut self, key: &Key, existing: Existing) -> StoreResult<()> {
        wait().await;
        self.0.move_to(key, existing).await
    }

    async fn complete(&mut self, mtime: Option<SystemTime>) -> StoreResult<Written> {
        wait().await;
        self.0.complete(mtime).await
    }

    async fn abort(&mut self) -> StoreResult<()> {
        wait().await;
        self.0.abort().await
    }
}
