//! Uploads in parts through `object_store`'s trait.

use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use object_store::path::Path;
use object_store::{GetOptions, MultipartUpload, ObjectStore, PutPayload};

use super::failure::exists;
use super::{at, mtime};
use crate::stores::{Key, PartUpload, StoreError, StoreErrorKind, StoreResult, Written};

/// An upload in parts.
pub(super) struct TraitUpload {
    /// The library's upload cannot be shared between threads, ours can. Only `&mut self` reaches it, so it is never locked.
    parts: Mutex<Box<dyn MultipartUpload>>,
    key: Key,
    /// Where to look for an object that may not be replaced, just before this one is published. Between the look and the
    /// publishing another may slip in; only a store with [`super::Extras::begin_upload`] closes that gap.
    look: Option<(Arc<dyn ObjectStore>, Path)>,
    mtime_kept: bool,
    /// Published or removed.
    settled: bool,
}

impl TraitUpload {
    pub(super) fn new(
        parts: Box<dyn MultipartUpload>,
        key: &Key,
        look: Option<(Arc<dyn ObjectStore>, Path)>,
        mtime_kept: bool,
    ) -> Self {
        TraitUpload { parts: Mutex::new(parts), key: key.clone(), look, mtime_kept, settled: false }
    }

    fn parts(&mut self) -> &mut dyn MultipartUpload {
        self.parts.get_mut().unwrap_or_else(PoisonError::into_inner).as_mut()
    }
}

#[async_trait]
impl PartUpload for TraitUpload {
    fn put_part(&mut self, part: Vec<Bytes>) -> BoxFuture<'static, StoreResult<()>> {
        let key = self.key.clone();
        let sent = self.parts().put_part(PutPayload::from_iter(part));
        async move { sent.await.map_err(at("write a part of", key)) }.boxed()
    }

    async fn complete(&mut self) -> StoreResult<Written> {
        if self.settled {
            let message = format!("the upload of \"{}\" is finished already", self.key);
            return Err(StoreError::new(StoreErrorKind::Other, message));
        }
        if let Some((objects, path)) = &self.look {
            match objects.get_opts(path, GetOptions::new().with_head(true)).await {
                Ok(_) => return Err(exists(&self.key)),
                Err(object_store::Error::NotFound { .. }) => {}
                Err(error) => return Err(at("look up", &self.key)(error)),
            }
        }
        let done = self.parts().complete().await.map_err(at("finish the upload of", &self.key))?;
        self.settled = true;
        Ok(Written { etag: mtime::bare_etag(done.e_tag), mtime_kept: self.mtime_kept })
    }

    async fn abort(&mut self) -> StoreResult<()> {
        if self.settled {
            return Ok(());
        }
        match self.parts().abort().await {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => {
                self.settled = true;
                Ok(())
            }
            Err(error) => Err(at("remove the parts of", &self.key)(error)),
        }
    }
}
