//! `object_store`'s memory store with a size, where an object can be deleted on the condition that it is still a certain version.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream::BoxStream;
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{
    CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore, ObjectStoreExt,
    PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
};
use tokio::sync::RwLock;

use super::space::{Full, Space, Taken};
use crate::stores::StoreErrorKind;

/// The store. Nothing is put while a condition is judged and its object deleted.
#[derive(Debug)]
pub(super) struct Guarded(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    objects: InMemory,
    puts: RwLock<()>,
    space: Arc<Space>,
    /// What each object takes.
    taken: Mutex<HashMap<Path, Taken>>,
}

/// What became of a deletion on a condition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Deleted {
    /// There is no such object any more.
    Gone,
    /// Another version has the name; it stays.
    Another,
    /// It was gone before.
    Before,
}

impl Guarded {
    /// An empty store.
    pub(super) fn new(space: Arc<Space>) -> Self {
        Guarded(Arc::new(Inner {
            objects: InMemory::default(),
            puts: RwLock::default(),
            space,
            taken: Mutex::default(),
        }))
    }

    /// Its room.
    pub(super) fn space(&self) -> &Arc<Space> {
        &self.0.space
    }

    /// Deletes an object if it has this entity tag, quotes and all.
    pub(super) async fn delete_version(&self, path: &Path, etag: &str) -> Result<Deleted> {
        let _alone = self.0.puts.write().await;
        match self.0.objects.head(path).await {
            Ok(found) if found.e_tag.as_deref() == Some(etag) => {
                self.0.objects.delete(path).await?;
                self.0.note(path, None);
                Ok(Deleted::Gone)
            }
            Ok(_) => Ok(Deleted::Another),
            Err(object_store::Error::NotFound { .. }) => Ok(Deleted::Before),
            Err(error) => Err(error),
        }
    }

    /// Puts what room was taken for before. The pieces become one here, one object after the other, so that at most one object more
    /// than the store's size is in memory.
    pub(super) async fn put_taken(
        &self,
        path: &Path,
        pieces: Vec<Bytes>,
        how: PutOptions,
        taken: Taken,
    ) -> Result<PutResult> {
        let _alone = self.0.puts.write().await;
        let payload = PutPayload::from(Bytes::from(PutPayload::from_iter(pieces)));
        let done = self.0.objects.put_opts(path, payload, how).await?;
        self.0.note(path, Some(taken));
        Ok(done)
    }

    /// Puts the bytes of an object again, with other attributes; that takes no room.
    pub(super) async fn put_again(&self, path: &Path, data: Bytes, how: PutOptions) -> Result<PutResult> {
        let _alone = self.0.puts.write().await;
        self.0.objects.put_opts(path, PutPayload::from(data), how).await
    }
}

impl Inner {
    /// Notes what the object of a name takes. Held with `puts`, so that notes have the order of what they are of.
    fn note(&self, path: &Path, taken: Option<Taken>) {
        let mut all = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        match taken {
            Some(taken) => drop(all.insert(path.clone(), taken)),
            None => drop(all.remove(path)),
        }
    }

    async fn delete_one(&self, path: Path) -> Result<Path> {
        let _alone = self.puts.write().await;
        self.objects.delete(&path).await?;
        self.note(&path, None);
        Ok(path)
    }
}

/// As an error of the library. [`kind_of`] knows it again.
fn full(error: Full) -> object_store::Error {
    object_store::Error::Generic { store: "memory", source: Box::new(error) }
}

/// The kind of an error of this store, where the library has no word for it.
pub(in crate::stores) fn kind_of(error: &(dyn std::error::Error + Send + Sync + 'static)) -> Option<StoreErrorKind> {
    error.is::<Full>().then_some(StoreErrorKind::NoSpace)
}

impl fmt::Display for Guarded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.objects.fmt(f)
    }
}

#[async_trait]
impl ObjectStore for Guarded {
    async fn put_opts(&self, location: &Path, payload: PutPayload, options: PutOptions) -> Result<PutResult> {
        let taken = self.0.space.take_for(location.as_ref(), payload.content_length() as u64).map_err(full)?;
        self.put_taken(location, payload.into_iter().collect(), options, taken).await
    }

    async fn put_multipart_opts(&self, _: &Path, _: PutMultipartOptions) -> Result<Box<dyn MultipartUpload>> {
        // Uploads in parts are `MemoryUpload`'s, which takes room for them.
        Err(object_store::Error::NotImplemented { operation: "put_multipart".into(), implementer: "memory".into() })
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        self.0.objects.get_opts(location, options).await
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        let inner = Arc::clone(&self.0);
        let delete = move |path: Result<Path>| {
            let inner = Arc::clone(&inner);
            async move { inner.delete_one(path?).await }
        };
        locations.then(delete).boxed()
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.0.objects.list(prefix)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.0.objects.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, _: &Path, _: &Path, _: CopyOptions) -> Result<()> {
        // Copies are `MemoryExtras`', which takes room for them.
        Err(object_store::Error::NotImplemented { operation: "copy".into(), implementer: "memory".into() })
    }
}
