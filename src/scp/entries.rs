//! A directory's entries one at a time, a page of them in memory.

use std::vec;

use crate::path::LogicalPath;
use crate::session::{Attributes, Directory, Session, SessionResult};

/// A directory that is being listed.
pub(super) struct Entries {
    directory: Directory,
    page: vec::IntoIter<(String, Attributes)>,
}

impl Entries {
    pub async fn open(session: &Session, path: &LogicalPath) -> SessionResult<Entries> {
        let directory = session.open_directory(path).await?;
        Ok(Entries { directory, page: Vec::new().into_iter() })
    }

    pub fn path(&self) -> &LogicalPath {
        self.directory.path()
    }

    /// How many names were left out so far, because they cannot be shown.
    pub fn left_out(&self) -> u64 {
        self.directory.left_out()
    }

    /// The next entry, or `None` after the last.
    pub async fn next(&mut self) -> SessionResult<Option<(String, Attributes)>> {
        loop {
            if let Some(entry) = self.page.next() {
                return Ok(Some(entry));
            }
            match self.directory.next_page().await? {
                Some(page) => self.page = page.into_iter(),
                None => return Ok(None),
            }
        }
    }
}
