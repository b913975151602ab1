//! Open files that count in the account of their user, and are closed while nobody reads them when descriptors are short.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;

use crate::descriptors::{Account, Kept};
use crate::stores::{Object, Stat, StoreResult};

/// The object, counted where it is a file of this machine.
pub(super) fn count(object: Arc<dyn Object>, account: &Account) -> Arc<dyn Object> {
    match Arc::clone(&object).file() {
        Some(file) => Arc::new(Counted { kept: account.keep(&file), object }),
        None => object,
    }
}

#[derive(Debug)]
struct Counted {
    object: Arc<dyn Object>,
    kept: Kept,
}

#[async_trait]
impl Object for Counted {
    fn stat(&self) -> &Stat {
        self.object.stat()
    }

    async fn read(&self, offset: u64, length: usize) -> StoreResult<Bytes> {
        self.kept.is_used()?;
        self.object.read(offset, length).await
    }

    fn is_remote(&self) -> bool {
        self.object.is_remote()
    }

    fn version(&self) -> Option<&str> {
        self.object.version()
    }
}
