//! Downloads: one version of an object, read in any order.

mod ahead;

use std::sync::Arc;

use bytes::Bytes;

use crate::path::LogicalPath;
use crate::stores::{Key, Kind, Object, Store, StoreError, StoreErrorKind, StoreResult};

use super::budget::Budget;
use super::mounts::{Place, Spot};
use super::{Attributes, Vfs, VfsError, VfsResult};

pub(super) use ahead::Ahead;

/// A file open for reading: one version of it.
#[derive(Debug)]
pub struct Reader {
    path: LogicalPath,
    spot: Spot,
    object: Arc<dyn Object>,
    attributes: Attributes,
    ahead: Ahead,
}

/// A version of a file that its store can copy by itself.
#[derive(Debug, Clone)]
pub struct WholeFile {
    pub(super) store: Arc<dyn Store>,
    pub(super) key: Key,
    pub(super) object: Arc<dyn Object>,
}

impl Vfs {
    /// Opens a file for reading.
    ///
    /// # Errors
    /// [`StoreErrorKind::NotFound`]; [`StoreErrorKind::IsADirectory`]; the store's.
    pub async fn open_read(&self, path: &LogicalPath) -> VfsResult<Reader> {
        match self.mounts.find(path)? {
            Place::Stored(spot) if !spot.fixed => {
                let look = self.lookups.begin_look(&spot);
                let object = open_object(&spot).await.map_err(VfsError::at(path))?;
                self.lookups.looked(path, &look, &Ok(object.stat().clone()));
                Ok(Reader::new(path.clone(), spot, object, &self.transfers.budget))
            }
            _ => Err(VfsError::new(path, StoreErrorKind::IsADirectory, "it is a directory of the home itself")),
        }
    }
}

/// Opens the present version. A store that knows no directories says `NotFound` of one, so the name is looked up then.
pub(super) async fn open_object(spot: &Spot) -> StoreResult<Arc<dyn Object>> {
    match spot.open().await {
        Err(error) if error.kind == StoreErrorKind::NotFound => {
            match spot.store.stat(&spot.key).await?.kind {
                Kind::Directory => Err(StoreError::new(StoreErrorKind::IsADirectory, "it is a directory")),
                // It came in between.
                Kind::File => spot.open().await,
            }
        }
        result => result,
    }
}

impl Reader {
    fn new(path: LogicalPath, spot: Spot, object: Arc<dyn Object>, budget: &Arc<Budget>) -> Self {
        let attributes = Attributes::from(object.stat());
        let ahead = Ahead::new(Arc::clone(&object), Arc::clone(budget));
        Reader { path, spot, object, attributes, ahead }
    }

    /// Attributes of the version that is open.
    pub fn attributes(&self) -> &Attributes {
        &self.attributes
    }

    /// The version's entity tag, where the store has one.
    pub fn etag(&self) -> Option<&str> {
        self.object.stat().etag.as_deref()
    }

    /// What is open, if its store can copy it by itself.
    pub fn whole(&self) -> Option<WholeFile> {
        let Spot { store, key, .. } = &self.spot;
        let can = store.copies() && self.object.version().is_some();
        can.then(|| WholeFile { store: Arc::clone(store), key: key.clone(), object: Arc::clone(&self.object) })
    }

    /// What names the version that is open to its store.
    pub(super) fn version(&self) -> Option<&str> {
        self.object.version()
    }

    /// Up to `length` bytes from `offset`; fewer only at the end, none beyond it. Sequential reads are read ahead, within the
    /// memory budget. `length` is allocated when it lies within the file: the caller bounds what a client may ask at once.
    ///
    /// # Errors
    /// The store's; [`StoreErrorKind::Changed`] when the version that is open is gone.
    pub async fn read_at(&mut self, offset: u64, length: usize) -> VfsResult<Bytes> {
        self.ahead.read_at(offset, length).await.map_err(VfsError::at(&self.path))
    }
}
