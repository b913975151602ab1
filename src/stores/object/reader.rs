//! Reading one version of an object: ranged requests that name its entity tag, or its version where the store counts them
//! (the generations of Google Cloud Storage, where an entity tag tells bytes apart and not versions).

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
    pin: Pin,
}

/// What holds a read to the version that was opened.
#[derive(Debug, Clone)]
enum Pin {
    /// The entity tag, as the store writes it.
    Etag(Option<String>),
    /// The store's number of the version. One that was replaced is served where the bucket keeps versions, else not found.
    Version(String),
}

impl RemoteObject {
    /// Looks the present version up.
    pub(super) async fn open(
        objects: Arc<dyn ObjectStore>,
        path: Path,
        key: &Key,
        by_version: bool,
    ) -> StoreResult<Self> {
        let found = objects.get_opts(&path, GetOptions::new().with_head(true)).await.map_err(at("open", key))?;
        let stat = mtime::stat_of(&found.meta, &found.attributes);
        if stat.kind == Kind::Directory {
            return Err(StoreError::plain(StoreErrorKind::IsADirectory, format!("\"{key}\" is a directory")));
        }
        let pin = match found.meta.version {
            Some(version) if by_version => Pin::Version(version),
            _ => Pin::Etag(found.meta.e_tag),
        };
        Ok(RemoteObject { objects, path, key: key.clone(), stat, pin })
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
        let mut options = GetOptions { range: Some((offset..end).into()), ..Default::default() };
        match &self.pin {
            Pin::Etag(etag) => options.if_match = etag.clone(),
            Pin::Version(version) => options.version = Some(version.clone()),
        }
        let answer = match (self.objects.get_opts(&self.path, options).await, &self.pin) {
            (Err(object_store::Error::NotFound { .. }), Pin::Version(_)) => return Err(self.changed()),
            (answer, _) => answer.map_err(at("read", &self.key))?,
        };
        // Some servers do not know the condition and answer with whatever is there now.
        let same = match &self.pin {
            Pin::Etag(etag) => answer.meta.e_tag == *etag,
            Pin::Version(_) => true,
        };
        if answer.range != (offset..end) || answer.meta.size != self.stat.size || !same {
            return Err(self.changed());
        }
        answer.bytes().await.map_err(at("read", &self.key))
    }

    fn is_remote(&self) -> bool {
        true
    }

    fn version(&self) -> Option<&str> {
        match &self.pin {
            Pin::Etag(_) => self.stat.etag.as_deref(),
            Pin::Version(version) => Some(version),
        }
    }
}

impl RemoteObject {
    fn changed(&self) -> StoreError {
        StoreError::plain(StoreErrorKind::Changed, format!("\"{}\" was changed while it was read", self.key))
    }
}
