//! What a codec may know of an upload.

use std::sync::{Arc, Weak};

use super::Uploads;
use crate::path::LogicalPath;

/// The name of an upload, which a RENAME may change while it is open. It holds nothing.
#[derive(Debug, Clone)]
pub struct UploadName {
    uploads: Weak<Uploads>,
    id: u64,
}

impl UploadName {
    pub(super) fn new(uploads: &Arc<Uploads>, id: u64) -> Self {
        UploadName { uploads: Arc::downgrade(uploads), id }
    }

    /// The name that it has now; `None` when it is closed.
    pub fn path(&self) -> Option<LogicalPath> {
        let uploads = self.uploads.upgrade()?;
        let names = uploads.names();
        names.records.get(&self.id).map(|record| record.path.clone())
    }

    /// Says that the client has asked for its CLOSE: whatever waits for that goes on waiting until it is done.
    pub fn announce_close(&self) {
        if let Some(uploads) = self.uploads.upgrade() {
            uploads.set_closing(self.id, true);
        }
    }
}
