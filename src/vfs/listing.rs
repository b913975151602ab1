//! Listings: the store's pages as they come, merged with the entries of the home.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::SystemTime;

use crate::path::LogicalPath;
use crate::stores::{self, Kind, Page, PageToken, Skipped, StoreError, StoreErrorKind, StoreResult};

use super::mounts::{Place, Spot};
use super::task::Task;
use super::{Attributes, Entry, Vfs, VfsError, VfsResult};

/// A directory open for listing. It holds at most two of the store's pages: the one it gives and the one that comes.
#[derive(Debug)]
pub struct Listing {
    path: LogicalPath,
    /// Names that the home adds here; they shadow the store's.
    home: BTreeSet<String>,
    home_given: bool,
    next: Next,
    skipped: Skipped,
    changed: Option<SystemTime>,
}

/// Where the next page comes from.
#[derive(Debug)]
enum Next {
    /// It is here.
    Here(Spot, Page),
    /// It is asked for.
    Coming(Spot, Task<Page>),
    /// There is none.
    Nothing,
    /// It could not be had. Asked again, the listing says so again rather than seeming complete.
    Failed(StoreErrorKind, String),
}

impl Vfs {
    /// Opens a directory for listing.
    ///
    /// # Errors
    /// [`StoreErrorKind::NotFound`]; [`StoreErrorKind::NotADirectory`] for a file.
    pub async fn open_directory(&self, path: &LogicalPath) -> VfsResult<Listing> {
        let (next, changed) = match self.mounts.find(path)? {
            Place::Virtual => (Next::Nothing, None),
            Place::Stored(spot) => {
                let look = self.lookups.begin_look(&spot);
                let page = match first_page(&spot).await {
                    Err(error) if error.kind == StoreErrorKind::NotFound && self.emptied.has(path) => Page::default(),
                    page => page.map_err(VfsError::at(path))?,
                };
                let changed = page.changed;
                if page.next.is_none() {
                    let directories = page.entries.iter().filter(|entry| entry.stat.kind == Kind::Directory);
                    self.lookups.listed(path, &look, Some(directories.map(|entry| entry.name.as_str())));
                }
                (Next::Here(spot, page), changed)
            }
        };
        let home = self.mounts.names_in(path);
        Ok(Listing { path: path.clone(), home, home_given: false, next, skipped: Skipped::default(), changed })
    }
}

impl Vfs {
    /// A directory in which nothing is published.
    pub fn empty_directory(&self, path: &LogicalPath) -> Listing {
        let (home, skipped) = (BTreeSet::new(), Skipped::default());
        Listing { path: path.clone(), home, home_given: true, next: Next::Nothing, skipped, changed: None }
    }
}

/// The first page of a directory that exists. An empty one may be no directory at all, and only then another request is needed.
async fn first_page(spot: &Spot) -> StoreResult<Page> {
    let page = match spot.store.list(&spot.key, None).await {
        // What the home says is a directory is one, even where the store has nothing or a file.
        Err(error) if spot.fixed && matches!(error.kind, StoreErrorKind::NotFound | StoreErrorKind::NotADirectory) => {
            return Ok(Page::default());
        }
        result => result?,
    };
    let empty = page.entries.is_empty() && page.next.is_none() && page.skipped.count == 0 && !page.is_marked;
    if empty && !spot.fixed && spot.store.stat(&spot.key).await?.kind == Kind::File {
        return Err(StoreError::new(StoreErrorKind::NotADirectory, "it is a file"));
    }
    Ok(page)
}

impl Listing {
    /// The next entries, or `None` after the last. The entries of the home that lie here are among them, each once.
    ///
    /// # Errors
    /// The store's; the listing has ended with it.
    pub async fn next_page(&mut self) -> VfsResult<Option<Vec<Entry>>> {
        loop {
            let page = self.stored_page().await.map_err(VfsError::at(&self.path))?;
            let ended = page.is_none();
            let mut entries = Vec::new();
            if !self.home_given {
                self.home_given = true;
                entries.extend(self.home.iter().map(|name| home_entry(name)));
            }
            let stored = page.into_iter().flatten().filter(|entry| !self.home.contains(&entry.name));
            entries.extend(stored.map(Entry::from));
            if !entries.is_empty() {
                return Ok(Some(entries));
            }
            if ended {
                return Ok(None);
            }
        }
    }

    /// The directory's own last change, where the store told it with the first page.
    pub fn changed(&self) -> Option<SystemTime> {
        self.changed
    }

    /// What was left out so far because it cannot be shown.
    pub fn skipped(&self) -> &Skipped {
        &self.skipped
    }

    /// The store's next page; asks for the one after it.
    async fn stored_page(&mut self) -> StoreResult<Option<Vec<stores::Entry>>> {
        let (spot, page) = match &mut self.next {
            Next::Nothing => return Ok(None),
            Next::Failed(kind, message) => return Err(StoreError::new(*kind, message.clone())),
            Next::Here(spot, page) => (spot.clone(), std::mem::take(page)),
            Next::Coming(spot, task) => {
                let spot = spot.clone();
                match task.result().await {
                    Ok(page) => (spot, page),
                    Err(error) => {
                        self.next = Next::Failed(error.kind, error.message.clone());
                        return Err(error);
                    }
                }
            }
        };
        self.skipped.count += page.skipped.count;
        if self.skipped.first.is_none() {
            self.skipped.first = page.skipped.first;
        }
        self.next = match page.next {
            Some(token) => {
                let task = ask(&spot, token);
                Next::Coming(spot, task)
            }
            None => Next::Nothing,
        };
        Ok(Some(page.entries))
    }
}

fn ask(spot: &Spot, token: PageToken) -> Task<Page> {
    let (store, key) = (Arc::clone(&spot.store), spot.key.clone());
    Task::spawn(async move { store.list(&key, Some(token)).await })
}

fn home_entry(name: &str) -> Entry {
    Entry { name: name.to_owned(), attributes: Attributes::directory() }
}

impl From<stores::Entry> for Entry {
    fn from(entry: stores::Entry) -> Self {
        Entry { name: entry.name, attributes: Attributes::from(&entry.stat) }
    }
}
