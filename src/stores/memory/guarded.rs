//! `object_store`'s memory store with a size and an index of its names, where an object can be deleted on the condition that it is
//! still a certain version.

use std::borrow::Cow;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream::BoxStream;
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{
    Attribute, Attributes, CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore,
    ObjectStoreExt, PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
};
use tokio::sync::RwLock;

use super::index::{Index, Item, Listed};
use super::space::{Full, Space, Taken};
use crate::stores::StoreErrorKind;
use crate::stores::object::{MTIME, bare_etag, read_mtime};

/// The store. Nothing is put while a condition is judged and its object deleted.
#[derive(Debug)]
pub(super) struct Guarded(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    objects: InMemory,
    puts: RwLock<()>,
    space: Arc<Space>,
    /// What is there, and the room that it takes.
    index: Mutex<Index>,
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
            index: Mutex::default(),
        }))
    }

    /// Its room.
    pub(super) fn space(&self) -> &Arc<Space> {
        &self.0.space
    }

    /// Its names, for a moment.
    pub(super) fn index(&self) -> MutexGuard<'_, Index> {
        self.0.index()
    }

    /// Deletes an object if it has this entity tag, quotes and all.
    pub(super) async fn delete_version(&self, path: &Path, etag: &str) -> Result<Deleted> {
        let _alone = self.0.puts.write().await;
        match self.0.objects.head(path).await {
            Ok(found) if found.e_tag.as_deref() == Some(etag) => {
                self.0.objects.delete(path).await?;
                self.0.index().take(path.as_ref());
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
        self.0.put(path, payload, how, Some(Room { bytes: Arc::new(taken), own: None })).await
    }

    /// Puts the bytes of an object again, with other attributes; that takes no room.
    pub(super) async fn put_again(&self, path: &Path, data: Bytes, how: PutOptions) -> Result<PutResult> {
        let _alone = self.0.puts.write().await;
        self.0.put(path, PutPayload::from(data), how, None).await
    }

    /// Puts an object under a further name, `made` says with which attributes and how. Both share the bytes; the name takes room,
    /// unless the first one is to go right away (`moves`). Also says which version was copied.
    pub(super) async fn copy_sharing<E>(
        &self,
        (from, to): (&Path, &Path),
        moves: bool,
        made: impl FnOnce(&ObjectMeta, Attributes) -> std::result::Result<PutOptions, E> + Send,
    ) -> Result<std::result::Result<(ObjectMeta, PutResult), E>> {
        let _alone = self.0.puts.write().await;
        let found = self.0.objects.get_opts(from, GetOptions::new()).await?;
        let meta = found.meta.clone();
        let how = match made(&meta, found.attributes.clone()) {
            Ok(how) => how,
            Err(refused) => return Ok(Err(refused)),
        };
        let Some(bytes) = self.0.room_of_bytes(from.as_ref()) else { return Err(gone(from)) };
        let space = &self.0.space;
        let own =
            if moves { space.take_for_move(to.as_ref()) } else { space.take_for(to.as_ref(), 0).map_err(full)? };
        let payload = PutPayload::from(found.bytes().await?);
        let done = self.0.put(to, payload, how, Some(Room { bytes, own: Some(own) })).await?;
        Ok(Ok((meta, done)))
    }
}

/// The room of an object.
struct Room {
    bytes: Arc<Taken>,
    own: Option<Taken>,
}

impl Inner {
    fn index(&self) -> MutexGuard<'_, Index> {
        self.index.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts an object and notes it; without `room` it has that of the object before. Called with `puts`, so that notes have the
    /// order of what they are of.
    async fn put(&self, path: &Path, payload: PutPayload, how: PutOptions, room: Option<Room>) -> Result<PutResult> {
        let kept = how.attributes.get(&Attribute::Metadata(Cow::Borrowed(MTIME))).and_then(|text| read_mtime(text));
        let size = payload.content_length() as u64;
        let done = self.objects.put_opts(path, payload, how).await?;
        let modified =
            self.objects.head(path).await.map_or_else(|_| SystemTime::now(), |found| found.last_modified.into());
        let etag = bare_etag(done.e_tag.clone());
        let mut index = self.index();
        let before = || match index.take(path.as_ref()) {
            Some(Item::Object(Listed { bytes, own, .. })) => Room { bytes, own },
            _ => Room { bytes: Arc::new(self.space.take_for_move(path.as_ref())), own: None },
        };
        let Room { bytes, own } = room.unwrap_or_else(before);
        index.set(path.as_ref(), Item::Object(Listed { size, modified, kept, etag, bytes, own }));
        Ok(done)
    }

    /// The room of the bytes of an object that is there.
    fn room_of_bytes(&self, key: &str) -> Option<Arc<Taken>> {
        match self.index().get(key) {
            Some(Item::Object(Listed { bytes, .. })) => Some(Arc::clone(bytes)),
            _ => None,
        }
    }

    async fn delete_one(&self, path: Path) -> Result<Path> {
        let _alone = self.puts.write().await;
        self.objects.delete(&path).await?;
        self.index().take(path.as_ref());
        Ok(path)
    }
}

fn gone(path: &Path) -> object_store::Error {
    object_store::Error::NotFound { path: path.to_string(), source: "it is gone".into() }
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
