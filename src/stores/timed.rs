//! A store whose calls are measured.

use std::ops::Range;
use std::sync::Arc;
use std::time::SystemTime;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::future::BoxFuture;

use super::{
    Capacity, Change, Deletion, Existing, Idle, Key, Locks, Made, Object, Page, PageToken, PartLimits, PartUpload,
    Place, PutOptions, Stat, Store, StoreResult, Upload, Written,
};
use crate::metrics::StoreTimings;

/// Measures the calls of `store`.
pub fn timed(store: Arc<dyn Store>, timings: StoreTimings) -> Arc<dyn Store> {
    Arc::new(Timed { store, timings })
}

/// What is measured, and with what.
#[derive(Debug)]
struct Timed<T: ?Sized> {
    store: Arc<T>,
    timings: StoreTimings,
}

/// An object of a remote store: of a local one, a read is no call that is worth the measuring.
#[derive(Debug)]
struct TimedObject {
    object: Arc<dyn Object>,
    timings: StoreTimings,
}

struct TimedParts {
    upload: Box<dyn PartUpload>,
    timings: StoreTimings,
}

#[async_trait]
impl Store for Timed<dyn Store> {
    fn name(&self) -> &str {
        self.store.name()
    }

    fn event_path(&self, key: &Key) -> String {
        self.store.event_path(key)
    }

    fn place(&self) -> Place {
        self.store.place()
    }

    async fn place_of(&self, key: &Key) -> StoreResult<Place> {
        self.store.place_of(key).await
    }

    fn may_be_away(&self) -> bool {
        self.store.may_be_away()
    }

    fn part_limits(&self) -> PartLimits {
        self.store.part_limits()
    }

    async fn stat(&self, key: &Key) -> StoreResult<Stat> {
        let _running = self.timings.call("stat").start();
        self.store.stat(key).await
    }

    async fn list(&self, key: &Key, from: Option<PageToken>) -> StoreResult<Page> {
        let _running = self.timings.call("list").start();
        self.store.list(key, from).await
    }

    async fn open(&self, key: &Key) -> StoreResult<Arc<dyn Object>> {
        let _running = self.timings.call("open").start();
        let object = self.store.open(key).await?;
        if !object.is_remote() {
            return Ok(object);
        }
        Ok(Arc::new(TimedObject { object, timings: self.timings.clone() }))
    }

    async fn put(&self, key: &Key, data: Vec<Bytes>, options: &PutOptions) -> StoreResult<Written> {
        let _running = self.timings.call("put").start();
        self.store.put(key, data, options).await
    }

    async fn begin_upload(&self, key: &Key, options: &PutOptions) -> StoreResult<Upload> {
        let _running = self.timings.call("begin_upload").start();
        Ok(match self.store.begin_upload(key, options).await? {
            Upload::Parts(upload) => Upload::Parts(Box::new(TimedParts { upload, timings: self.timings.clone() })),
            file @ Upload::File(_) => file,
        })
    }

    async fn delete(&self, key: &Key) -> StoreResult<()> {
        let _running = self.timings.call("delete").start();
        self.store.delete(key).await
    }

    fn uploads_are_files(&self) -> bool {
        self.store.uploads_are_files()
    }

    fn keeps_directories(&self) -> bool {
        self.store.keeps_directories()
    }

    async fn delete_version(&self, key: &Key, version: &str) -> StoreResult<Deletion> {
        let _running = self.timings.call("delete").start();
        self.store.delete_version(key, version).await
    }

    async fn make_directory(&self, key: &Key) -> StoreResult<()> {
        let _running = self.timings.call("make_directory").start();
        self.store.make_directory(key).await
    }

    async fn remove_directory(&self, key: &Key) -> StoreResult<()> {
        let _running = self.timings.call("remove_directory").start();
        self.store.remove_directory(key).await
    }

    async fn rename(&self, from: &Key, to: &Key, existing: Existing, only: Option<&str>) -> StoreResult<Change> {
        let _running = self.timings.call("rename").start();
        self.store.rename(from, to, existing, only).await
    }

    async fn rename_made(
        &self,
        from: &Key,
        made: &Made,
        to: &Key,
        existing: Existing,
        only: Option<&str>,
    ) -> StoreResult<(Change, Option<Made>)> {
        let _running = self.timings.call("rename").start();
        self.store.rename_made(from, made, to, existing, only).await
    }

    async fn rename_directory(&self, from: &Key, to: &Key) -> StoreResult<()> {
        let _running = self.timings.call("rename_directory").start();
        self.store.rename_directory(from, to).await
    }

    fn expect_upload(&self, key: &Key) {
        self.store.expect_upload(key);
    }

    fn copies(&self) -> bool {
        self.store.copies()
    }

    async fn copy(&self, from: &Key, version: &str, to: &Key, options: &PutOptions) -> StoreResult<Written> {
        let _running = self.timings.call("copy").start();
        self.store.copy(from, version, to, options).await
    }

    async fn set_mtime(&self, key: &Key, mtime: SystemTime, only: Option<&str>) -> StoreResult<Option<Change>> {
        let _running = self.timings.call("set_mtime").start();
        self.store.set_mtime(key, mtime, only).await
    }

    async fn set_mtime_of_made(
        &self,
        key: &Key,
        made: &Made,
        mtime: SystemTime,
        only: Option<&str>,
    ) -> StoreResult<(Option<Change>, Option<Made>)> {
        let _running = self.timings.call("set_mtime").start();
        self.store.set_mtime_of_made(key, made, mtime, only).await
    }

    async fn directories_in(&self, key: &Key) -> StoreResult<Option<Vec<String>>> {
        let _running = self.timings.call("list").start();
        self.store.directories_in(key).await
    }

    async fn set_directory_mtime(&self, key: &Key, mtime: SystemTime) -> StoreResult<bool> {
        let _running = self.timings.call("set_mtime").start();
        self.store.set_directory_mtime(key, mtime).await
    }

    fn locks(&self) -> Option<Arc<dyn Locks>> {
        self.store.locks()
    }

    async fn capacity(&self) -> StoreResult<Option<Capacity>> {
        let _running = self.timings.call("capacity").start();
        self.store.capacity().await
    }

    async fn remove_unfinished(&self) -> StoreResult<u64> {
        self.store.remove_unfinished().await
    }

    async fn check(&self) -> StoreResult<()> {
        let _running = self.timings.call("check").start();
        self.store.check().await
    }

    fn found(&self) -> Option<String> {
        self.store.found()
    }
}

#[async_trait]
impl Object for TimedObject {
    fn stat(&self) -> &Stat {
        self.object.stat()
    }

    async fn read(&self, offset: u64, length: usize) -> StoreResult<Bytes> {
        let _running = self.timings.call("read").start();
        self.object.read(offset, length).await
    }

    fn is_remote(&self) -> bool {
        self.object.is_remote()
    }

    fn file(self: Arc<Self>) -> Option<Arc<dyn Idle>> {
        self.object.clone().file()
    }

    fn version(&self) -> Option<&str> {
        self.object.version()
    }
}

#[async_trait]
impl PartUpload for TimedParts {
    fn put_part(&mut self, part: Vec<Bytes>) -> BoxFuture<'static, StoreResult<()>> {
        let (timer, sending) = (self.timings.call("put_part"), self.upload.put_part(part));
        Box::pin(async move {
            let _running = timer.start();
            sending.await
        })
    }

    fn replaces_parts(&self) -> bool {
        self.upload.replaces_parts()
    }

    fn replace_part(&mut self, place: usize, part: Vec<Bytes>) -> BoxFuture<'static, StoreResult<()>> {
        let (timer, sending) = (self.timings.call("put_part"), self.upload.replace_part(place, part));
        Box::pin(async move {
            let _running = timer.start();
            sending.await
        })
    }

    fn copies_parts(&self) -> bool {
        self.upload.copies_parts()
    }

    fn copy_part(&mut self, etag: &str, range: Range<u64>) -> BoxFuture<'static, StoreResult<()>> {
        let (timer, copying) = (self.timings.call("copy_part"), self.upload.copy_part(etag, range));
        Box::pin(async move {
            let _running = timer.start();
            copying.await
        })
    }

    fn base_on(&mut self, version: &str) {
        self.upload.base_on(version);
    }

    fn set_sha256(&mut self, sha256: &str) {
        self.upload.set_sha256(sha256);
    }

    fn refuse_existing(&mut self) {
        self.upload.refuse_existing();
    }

    async fn complete(&mut self) -> StoreResult<Written> {
        let _running = self.timings.call("complete").start();
        self.upload.complete().await
    }

    async fn abort(&mut self) -> StoreResult<()> {
        let _running = self.timings.call("abort").start();
        self.upload.abort().await
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    /// What a trait does by itself would silently take the place of what a store does.
    #[test]
    fn every_method_is_handed_on() {
        let (traits, here) = ([include_str!("mod.rs"), include_str!("uploads.rs")].concat(), include_str!("timed.rs"));
        let mut methods = 0;
        for (name, whose) in [("Store", "Timed<dyn Store>"), ("Object", "TimedObject"), ("PartUpload", "TimedParts")] {
            let of_trait = traits.split_once(&format!("pub trait {name}:")).unwrap().1.split_once("\n}\n").unwrap().0;
            let handed_on =
                here.split_once(&format!("impl {name} for {whose} ")).unwrap().1.split_once("\n}\n").unwrap().0;
            for line in of_trait.lines() {
                let Some(method) = line.trim().trim_start_matches("async ").strip_prefix("fn ") else { continue };
                let method = method.split('(').next().unwrap();
                assert!(handed_on.contains(&format!("fn {method}(")), "{name}::{method} is not handed on");
                methods += 1;
            }
        }
        assert!(methods > 30, "{methods}");
    }
}
