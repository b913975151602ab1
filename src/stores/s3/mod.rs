//! What `object_store` cannot do on S3, by signed requests of our own: folder markers, listings that no odd key can fail,
//! copies over 5 GiB, new metadata on an old object, uploads in parts that never replace.

mod client;
mod copy;
mod locks;
mod unfinished;
mod upload;
mod xml;

use std::sync::Arc;

use async_trait::async_trait;

use super::object::{
    Copied, Extras, ListRequest, MarkerTime, MultipartBackend, ObjectCopy, PartedUpload, RawPage, WantedUpload,
};
use super::unfinished::BucketJournal;
use super::{Change, Deletion, Locks, Made, PartUpload, StoreErrorKind, StoreResult, Unfinished};
pub(super) use client::BucketClient;
use locks::BucketLocks;

/// The largest object that one copy request takes, in bytes.
pub(super) const LARGEST_COPY: u64 = 5 << 30;

/// [`Extras`] over the S3 API.
#[derive(Debug)]
pub(super) struct BucketExtras {
    /// Sends the requests.
    pub(super) client: BucketClient,
    /// Objects above this are copied by parts.
    pub(super) largest_copy: u64,
    /// `object_store`'s calls for single parts, which carry checksums if the store is to verify them.
    pub(super) multipart: MultipartBackend,
    /// The same without checksums: a part that the server copies has none to go with the others.
    pub(super) multipart_plain: Option<MultipartBackend>,
    /// Whether an upload may take parts of the object that it replaces.
    pub(super) copies_parts: bool,
    /// Where uploads in parts are noted until they are settled.
    pub(super) journal: BucketJournal,
}

#[async_trait]
impl Extras for BucketExtras {
    async fn list(&self, request: ListRequest<'_>) -> StoreResult<RawPage> {
        let most = request.most.to_string();
        let mut query =
            vec![("list-type", "2"), ("encoding-type", "url"), ("max-keys", &most), ("prefix", request.prefix)];
        if request.delimited {
            query.push(("delimiter", "/"));
        }
        if let Some(from) = request.from {
            query.push(("continuation-token", from));
        }
        let answer = self.client.get_bucket(&query).await?;
        xml::listing(&answer, request.prefix)
    }

    async fn put_marker(&self, prefix: &str) -> StoreResult<()> {
        self.client.put_marker(prefix, None).await
    }

    async fn delete(&self, key: &str) -> StoreResult<()> {
        self.client.delete(key).await
    }

    async fn version(&self, key: &str) -> StoreResult<Option<String>> {
        self.client.version(key).await
    }

    async fn delete_version(&self, key: &str, version: &str) -> StoreResult<Deletion> {
        self.client.delete_version(key, version).await
    }

    async fn copy(&self, copy: ObjectCopy<'_>) -> StoreResult<Copied> {
        copy::object(self, copy).await
    }

    async fn set_mtime(&self, key: &str, mtime: &str, only: Option<&str>) -> StoreResult<Option<Change>> {
        copy::with_mtime(self, key, mtime, only).await.map(Some)
    }

    async fn set_mtime_of_made(
        &self,
        key: &str,
        made: &Made,
        mtime: &str,
        only: Option<&str>,
    ) -> StoreResult<(Option<Change>, Option<Made>)> {
        copy::of_made_with_mtime(self, key, made, mtime, only).await.map(|(change, made)| (Some(change), made))
    }

    async fn set_directory_mtime(&self, prefix: &str, mtime: &str) -> StoreResult<bool> {
        let done = match copy::with_mtime(self, prefix, mtime, None).await {
            Err(error) if error.kind == StoreErrorKind::NotFound => self.client.put_marker(prefix, Some(mtime)).await,
            done => done.map(drop),
        };
        done.map(|()| true)
    }

    async fn marker_time(&self, prefix: &str) -> StoreResult<Option<MarkerTime>> {
        self.client.marker_time(prefix).await
    }

    async fn begin_upload(&self, wanted: WantedUpload) -> StoreResult<Box<dyn PartUpload>> {
        let plain = self.multipart_plain.as_ref().filter(|_| wanted.takes_parts && self.copies_parts);
        let copies_parts = self.copies_parts && (plain.is_some() || self.multipart_plain.is_none());
        let backend = plain.unwrap_or(&self.multipart).clone();
        let publisher = upload::Publisher { client: self.client.clone(), copies_parts };
        let noted = self.journal.begin(wanted.path.as_ref()).await;
        PartedUpload::begin(backend, Arc::new(publisher), noted, wanted).await
    }

    fn locks(&self, prefix: &str) -> Option<Arc<dyn Locks>> {
        Some(Arc::new(BucketLocks { client: self.client.clone(), prefix: prefix.to_owned() }))
    }

    fn note_in(&self, journal: Arc<Unfinished>) {
        self.journal.set(journal);
    }

    async fn remove_unfinished(&self) -> StoreResult<u64> {
        self.journal.remove_left_over(|begun| unfinished::remove(&self.client, begun)).await
    }
}
