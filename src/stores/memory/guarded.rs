//! `object_store`'s memory store, where an object can be deleted on the condition that it is still a certain version.

use std::fmt;

use async_trait::async_trait;
use futures_util::stream::BoxStream;
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{
    CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore, ObjectStoreExt,
    PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
};
use tokio::sync::RwLock;

/// The store. Nothing is put while a condition is judged and its object deleted.
#[derive(Debug, Default)]
pub(super) struct Guarded {
    objects: InMemory,
    puts: RwLock<()>,
}

/// What became of a deletion on a condition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Deleted {
    /// There is no such object any more.
    Gone,
    /// Another version has the name; it stays.
    Another,
}

impl Guarded {
    /// Deletes an object if it has this entity tag, quotes and all.
    pub(super) async fn delete_version(&self, path: &Path, etag: &str) -> Result<Deleted> {
        let _alone = self.puts.write().await;
        match self.objects.head(path).await {
            Ok(found) if found.e_tag.as_deref() == Some(etag) => {
                self.objects.delete(path).await.map(|()| Deleted::Gone)
            }
            Ok(_) => Ok(Deleted::Another),
            Err(object_store::Error::NotFound { .. }) => Ok(Deleted::Gone),
            Err(error) => Err(error),
        }
    }
}

impl fmt::Display for Guarded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.objects.fmt(f)
    }
}

#[async_trait]
impl ObjectStore for Guarded {
    async fn put_opts(&self, location: &Path, payload: PutPayload, options: PutOptions) -> Result<PutResult> {
        let _shared = self.puts.read().await;
        self.objects.put_opts(location, payload, options).await
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        options: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        self.objects.put_multipart_opts(location, options).await
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        self.objects.get_opts(location, options).await
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        self.objects.delete_stream(locations)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.objects.list(prefix)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.objects.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        let _shared = self.puts.read().await;
        self.objects.copy_opts(from, to, options).await
    }
}
