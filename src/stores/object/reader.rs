//! Reading one version of an object: ranged requests that name its entity tag.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use object_store::path::Path;
use object_store::{GetOptions, ObjectStore};

use super::{at, mtime};
use crate::stores::{Key, Kind, Object, Stat, StoreError, StoreErrorKind, StoreResult};

/// A version of an object.
#[derive(Debug)]
pub(super) struct RemoteObject {
    objects: Arc<dyn ObjectStore>,
    path: Path,
    key: Key,
    stat: Stat,
    /// The entity tag as the store writes it.
    etag: Option<String>,
}

impl RemoteObject {
    /// Looks the present version up.
    pub(super) async fn open(objects: Arc<dyn ObjectStore>, path: Path, key: &Key) -> StoreResult<Self> {
        let found = objects.get_opts(&path, GetOptions::new().with_head(true)).await.map_err(at("open", key))?;
        let stat = mtime::stat_of(&found.meta, &found.attributes);
        if stat.kind == Kind::Directory {
            return Err(StoreError::new(StoreErrorKind::IsADirectory, format!("\"{key}\" is a directory")));
        }
        Ok(RemoteObject { objects, path, key: key.clone(), stat, etag: found.meta.e_tag })
    }
}

#[async_trait]
impl Object for RemoteObject {
    fn stat(&self) -> &Stat {
        &self.stat
    }

    async fn read(&self, offset: u64, length: usize) -> StoreResult<Bytes> {
        let end = offset.saturating_add(length as u64).min(self.stat.size);
        if offset >= end {
            return Ok(Bytes::new());
        }
        let options =
            GetOptions { if_match: self.etag.clone(), range: Some((offset..end).into()), ..Default::default() };
        let answer = self.objects.get_opts(&self.path, options).await.map_err(at("read", &self.key))?;
        if answer.range != (offset..end) || answer.meta.size != self.stat.size {
            let message = format!("\"{}\" was changed while it was read", self.key);
            return Err(StoreError::new(StoreErrorKind::Changed, message));
        }
        answer.bytes().await.map_err(at("read", &self.key))
    }

    fn is_remote(&self) -> bool {
        true
    }
}
