//! Uploads to the store of the tests, in parts or as a file.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::SystemTime;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::future::BoxFuture;

use super::{TestStore, not_found};
use crate::stores::{
    Existing, FileUpload, Key, PartUpload, PutOptions, StoreError, StoreErrorKind, StoreResult, Written,
};

pub(super) type Parts = Arc<Mutex<BTreeMap<usize, (u64, Vec<Bytes>)>>>;

pub(super) struct TestUpload {
    pub(super) store: TestStore,
    pub(super) key: Key,
    pub(super) options: PutOptions,
    pub(super) parts: Parts,
    pub(super) next: usize,
    pub(super) open: bool,
    pub(super) file: Vec<u8>,
}

impl TestUpload {
    fn end(&mut self) {
        if std::mem::take(&mut self.open) {
            self.store.state().open_uploads -= 1;
        }
    }
}

#[async_trait]
impl PartUpload for TestUpload {
    fn put_part(&mut self, part: Vec<Bytes>) -> BoxFuture<'static, StoreResult<()>> {
        self.next += 1;
        self.replace_part(self.next - 1, part)
    }

    fn copies_parts(&self) -> bool {
        true
    }

    fn copy_part(&mut self, etag: &str, range: std::ops::Range<u64>) -> BoxFuture<'static, StoreResult<()>> {
        let (store, parts, index) = (self.store.clone(), Arc::clone(&self.parts), self.next);
        let (key, etag) = (self.key.clone(), etag.to_owned());
        self.next += 1;
        Box::pin(async move {
            store.call("copy_part").await?;
            let stored = store.state().objects.get(key.as_str()).cloned().ok_or_else(not_found)?;
            if stored.etag != etag {
                return Err(StoreError::new(StoreErrorKind::Changed, "another version"));
            }
            let data = stored.data.slice(range.start as usize..range.end as usize);
            parts.lock().unwrap().insert(index, (range.end - range.start, vec![data]));
            Ok(())
        })
    }

    fn replaces_parts(&self) -> bool {
        true
    }

    fn replace_part(&mut self, index: usize, part: Vec<Bytes>) -> BoxFuture<'static, StoreResult<()>> {
        let (store, parts) = (self.store.clone(), Arc::clone(&self.parts));
        Box::pin(async move {
            store.call("part").await?;
            let length = part.iter().map(|p| p.len() as u64).sum();
            let part = if store.0.forgetful { Vec::new() } else { part };
            parts.lock().unwrap().insert(index, (length, part));
            Ok(())
        })
    }

    fn base_on(&mut self, version: &str) {
        self.options.based_on = Some(version.to_owned());
    }

    async fn complete(&mut self) -> StoreResult<Written> {
        self.store.call("complete").await?;
        let parts = std::mem::take(&mut *self.parts.lock().unwrap());
        assert_eq!(parts.len(), self.next, "completed before every part was there");
        let lengths: Vec<u64> = parts.values().map(|(length, _)| *length).collect();
        let (_, others) = lengths.split_last().unwrap();
        assert!(others.iter().all(|l| *l >= self.store.0.limits.smallest_part), "a part is too small");
        let data = parts.into_values().flat_map(|(_, data)| data).collect();
        self.end();
        self.store.publish(&self.key, lengths.iter().sum(), data, &self.options)
    }

    async fn abort(&mut self) -> StoreResult<()> {
        self.store.call("abort").await?;
        self.end();
        Ok(())
    }
}

#[async_trait]
impl FileUpload for TestUpload {
    async fn write_at(&mut self, offset: u64, data: Vec<Bytes>) -> StoreResult<()> {
        self.store.call("write").await?;
        let data = data.concat();
        let end = offset as usize + data.len();
        if self.file.len() < end {
            self.file.resize(end, 0);
        }
        self.file[offset as usize..end].copy_from_slice(&data);
        Ok(())
    }

    async fn read_at(&mut self, offset: u64, length: usize) -> StoreResult<Bytes> {
        let start = (offset as usize).min(self.file.len());
        let end = start.saturating_add(length).min(self.file.len());
        Ok(Bytes::copy_from_slice(&self.file[start..end]))
    }

    async fn set_length(&mut self, length: u64) -> StoreResult<()> {
        self.store.call("set_length").await?;
        self.file.resize(length as usize, 0);
        Ok(())
    }

    fn base_on(&mut self, version: &str) {
        self.options.based_on = Some(version.to_owned());
    }

    async fn move_to(&mut self, key: &Key, existing: Existing) -> StoreResult<()> {
        self.key = key.clone();
        self.options.existing = existing;
        Ok(())
    }

    async fn complete(&mut self, mtime: Option<SystemTime>) -> StoreResult<Written> {
        self.store.call("complete").await?;
        let data = Bytes::from(std::mem::take(&mut self.file));
        self.end();
        self.store.publish(&self.key, data.len() as u64, vec![data], &PutOptions { mtime, ..self.options.clone() })
    }

    async fn abort(&mut self) -> StoreResult<()> {
        self.store.call("abort").await?;
        self.end();
        Ok(())
    }
}
