//! Listings of folders, a page at a time, in memory that does not grow with the folder.
//!
//! Between two pages the folder stays open on the server, so that names are neither lost nor repeated while others come and go. Only so
//! many listings are kept; one that was pushed out, or whose connection has ended, cannot go on: the protocol has no place to begin from.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use bytes::Bytes;
use tokio::time::{Instant, sleep_until};

use super::connection::Connection;
use super::exchange::{Failure, Handle};
use super::failure::looking;
use super::object::stat_of;
use super::server::{Server, missing};
use super::walk::{Last, SEPARATOR, is_own};
use super::wire::{self, Attributes, Named, What};
use crate::stores::error::hidden_in;
use crate::stores::{Entry, Key, Page, PageToken, StoreError, StoreErrorKind, StoreResult};

/// The most entries of one page.
const PAGE: usize = 1_000;

/// The most names that one page looks at, shown or not.
const SCAN: usize = 4 * PAGE;

/// How many requests for names are under way at once: OpenSSH answers each with a hundred.
const AHEAD: usize = 4;

/// The most bytes of names that wait to be given out.
const MOST_WAITING: usize = 2 << 20;

/// How long a folder stays open for the next page: a person may look at the one before for a while.
const IDLE: Duration = Duration::from_secs(600);

/// How often a listing is begun.
const TRIES: usize = 3;

/// A folder that is being listed.
#[derive(Debug)]
struct Listing {
    handle: Handle,
    connection: Arc<Connection>,
    /// Names that have come and were not given out.
    rest: VecDeque<Named>,
    is_at_end: bool,
}

/// Folders that are open between two pages, oldest first.
#[derive(Debug)]
pub(super) struct OpenListings {
    most: usize,
    idle: Duration,
    kept: Arc<Mutex<Kept>>,
}

#[derive(Debug, Default)]
struct Kept {
    listings: VecDeque<Waiting>,
    last: u64,
    /// Somebody closes those that nobody goes on with.
    is_watched: bool,
}

#[derive(Debug)]
struct Waiting {
    number: u64,
    listing: Listing,
    until: Instant,
}

impl OpenListings {
    /// So many at most.
    pub(super) fn new(most: usize) -> Self {
        OpenListings { most: most.max(1), idle: IDLE, kept: Arc::default() }
    }

    fn take(&self, number: u64) -> Option<Listing> {
        let mut kept = self.locked();
        let place = kept.listings.iter().position(|waiting| waiting.number == number)?;
        kept.listings.remove(place).map(|waiting| waiting.listing)
    }

    fn keep(&self, listing: Listing) -> u64 {
        // The others are for files, on the same connection at worst.
        let most = self.most.min(listing.connection.abilities.handles / 4).max(1);
        let until = Instant::now() + self.idle;
        let mut kept = self.locked();
        kept.last += 1;
        let number = kept.last;
        kept.listings.push_back(Waiting { number, listing, until });
        let too_many = kept.listings.len().saturating_sub(most);
        let pushed_out: Vec<_> = kept.listings.drain(..too_many).collect();
        if !std::mem::replace(&mut kept.is_watched, true) {
            tokio::spawn(close_idle(Arc::downgrade(&self.kept)));
        }
        drop(kept);
        drop(pushed_out);
        number
    }

    fn locked(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Closes listings that nobody goes on with, until there is none.
async fn close_idle(kept: Weak<Mutex<Kept>>) {
    loop {
        let Some(all) = kept.upgrade() else { return };
        let (idle, next) = {
            let mut kept = all.lock().unwrap_or_else(PoisonError::into_inner);
            let now = Instant::now();
            let count = kept.listings.iter().take_while(|waiting| waiting.until <= now).count();
            let idle: Vec<_> = kept.listings.drain(..count).collect();
            let next = kept.listings.front().map(|waiting| waiting.until);
            kept.is_watched = next.is_some();
            (idle, next)
        };
        drop((all, idle));
        let Some(next) = next else { return };
        sleep_until(next).await;
    }
}

impl Listing {
    /// The next names; none at the end.
    async fn more(&mut self) -> Result<(), Failure> {
        let asked = (0..AHEAD).map(|_| self.handle.exchange().names(wire::read_folder(self.handle.raw())));
        for names in futures_util::future::join_all(asked).await {
            match names? {
                Some(names) if !names.is_empty() => self.rest.extend(names),
                // No server has reason to answer with no name; one that does so for ever would keep us asking.
                _ => self.is_at_end = true,
            }
        }
        let bytes: usize = self.rest.iter().map(|named| named.name.len() + size_of::<Named>()).sum();
        if bytes > MOST_WAITING { Err(Failure::strange()) } else { Ok(()) }
    }

    async fn next(&mut self) -> Result<Option<Named>, Failure> {
        loop {
            match self.rest.pop_front() {
                Some(named) => return Ok(Some(named)),
                None if self.is_at_end => return Ok(None),
                None => self.more().await?,
            }
        }
    }
}

impl Server {
    /// One page of a folder.
    pub(super) async fn page(&self, key: &Key, from: Option<&PageToken>) -> StoreResult<Page> {
        let mut page = Page::default();
        let mut listing = match from {
            None => {
                let (listing, folder) = self.begin_listing(key).await?;
                page.changed = folder.modified();
                listing
            }
            Some(token) => self.resume(key, token)?,
        };
        for _ in 0..SCAN {
            match listing.next().await.map_err(looking("list", key))? {
                Some(named) => self.add(&mut page, key, named).await?,
                None => return Ok(page),
            }
            if page.entries.len() == PAGE {
                break;
            }
        }
        page.next = Some(PageToken(self.listings.keep(listing).to_string()));
        Ok(page)
    }

    async fn begin_listing(&self, key: &Key) -> StoreResult<(Listing, Attributes)> {
        let way = self.walk(key, Last::Followed).await?;
        let Some(folder) = way.found else { return Err(missing(key)) };
        if folder.what() != What::Folder {
            let message = format!("\"{key}\" is not a directory");
            return Err(StoreError::plain(StoreErrorKind::NotADirectory, message));
        }
        let path = self.path(&way.names);
        let mut tried = 0;
        loop {
            tried += 1;
            match self.open_listing(&path).await {
                Ok(listing) => return Ok((listing, folder)),
                Err(failure) if failure.is_of_connection() && tried < TRIES => {}
                Err(failure) => return Err(looking("list", key)(failure)),
            }
        }
    }

    async fn open_listing(&self, path: &str) -> Result<Listing, Failure> {
        let connection = self.pool.get_to_open().await?;
        let handle = connection.exchange.opened(wire::open_folder(path)).await?;
        let mut listing = Listing { handle, connection, rest: VecDeque::new(), is_at_end: false };
        listing.more().await?;
        Ok(listing)
    }

    fn resume(&self, key: &Key, token: &PageToken) -> StoreResult<Listing> {
        let number = token
            .0
            .parse()
            .map_err(|_| StoreError::new(StoreErrorKind::Other, "the place in the listing is not one of this store"))?;
        let listing = self.listings.take(number);
        listing.filter(|listing| listing.handle.exchange().is_alive()).ok_or_else(|| {
            let reason = "the server no longer knows how far the listing was; list the directory again";
            StoreError::cannot(StoreErrorKind::Unavailable, "go on listing", key.as_str(), reason)
        })
    }

    /// Adds a name to the page, or counts it as skipped.
    async fn add(&self, page: &mut Page, key: &Key, Named { name, attributes }: Named) -> StoreResult<()> {
        if matches!(&name[..], b"." | b"..") {
            return Ok(());
        }
        let Some((text, child)) = child(key, &name) else {
            page.skipped.add(&name);
            return Ok(());
        };
        if is_own(&text) {
            return Ok(());
        }
        let stat = match attributes.what() {
            What::Link => match self.walk(&child, Last::Followed).await {
                Err(error) if error.kind == StoreErrorKind::Unavailable => return Err(error),
                way => way.ok().and_then(|way| way.found).as_ref().and_then(stat_of),
            },
            _ => stat_of(&attributes),
        };
        match stat {
            Some(stat) => page.entries.push(Entry { name: text, stat }),
            None => page.skipped.add(&name),
        }
        Ok(())
    }

    /// Removes an empty folder.
    pub(super) async fn remove_directory(&self, key: &Key) -> StoreResult<()> {
        self.seen.forget();
        let way = self.walk(key, Last::Itself).await?;
        if way.found.is_none() || key.is_root() {
            return Err(missing(key));
        }
        let path = self.path(&way.names);
        self.remove_spares_in(&path).await;
        match self.pool.change(wire::remove_folder(&path)).await {
            Err(failure) if failure.is_unexplained() => Err(match self.page(key, None).await {
                Ok(page) if page.entries.is_empty() && page.next.is_none() => hidden_in(key, &page.skipped),
                Ok(_) => StoreError::plain(StoreErrorKind::DirectoryNotEmpty, format!("\"{key}\" is not empty")),
                Err(error) if error.kind == StoreErrorKind::NotADirectory => error,
                Err(_) => super::failure::at("remove the directory", key)(failure),
            }),
            done => done.map_err(super::failure::at("remove the directory", key)),
        }
    }
}

/// The key of a name in a folder; `None` for one that cannot be a key's.
fn child(key: &Key, name: &Bytes) -> Option<(String, Key)> {
    let text = std::str::from_utf8(name).ok().filter(|text| !text.contains(['/', SEPARATOR]))?;
    Some((text.to_owned(), key.join(text).ok()?))
}
