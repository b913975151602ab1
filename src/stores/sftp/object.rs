//! Reading files: several requests at once on an open handle, which stays the file's when another one takes its name.
//!
//! When the connection ends, or too many files are open, the next read opens the file by its name again, and fails when that leads to another
//! version by then.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use futures_util::{StreamExt, TryStreamExt, stream};

use super::connection::Connection;
use super::exchange::{Failure, Handle};
use super::failure::{at, looking};
use super::server::{Server, is_a_directory, missing, replaced};
use super::versions::Versions;
use super::walk::Last;
use super::wire::{self, Attributes, What};
use crate::stores::{Change, Key, Kind, Object, Stat, StoreError, StoreErrorKind, StoreResult};

/// How many reads of one call are under way at once.
const AT_ONCE: usize = 16;

/// How often a read is tried, each time with the file opened again.
const TRIES: usize = 3;

/// The most files that stay open between two reads.
const MOST_OPEN: usize = 256;

/// A file, open on one connection.
#[derive(Debug)]
pub(super) struct Open {
    pub(super) handle: Handle,
    pub(super) connection: Arc<Connection>,
}

/// An open file.
#[derive(Debug)]
pub(super) struct SftpObject {
    server: Arc<Server>,
    key: Key,
    path: String,
    stat: Stat,
    found: Attributes,
    version: String,
    /// `None`: closed until the next read.
    open: Mutex<Option<Arc<Open>>>,
}

/// Files that are open between two reads, the one that was opened first in front.
#[derive(Debug, Default)]
pub(super) struct OpenObjects(Mutex<VecDeque<Weak<Open>>>);

impl OpenObjects {
    /// Remembers one; gives whether there are more than `most`, that is too many.
    fn add(&self, open: &Arc<Open>, most: usize) -> bool {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain(|open| open.strong_count() > 0);
        all.push_back(Arc::downgrade(open));
        all.len() > most
    }
}

/// Attributes as a store shows them; `None` for what is neither a file nor a directory.
pub(super) fn stat_of(found: &Attributes) -> Option<Stat> {
    let (kind, size) = match found.what() {
        What::File => (Kind::File, found.size),
        What::Folder => (Kind::Directory, 0),
        What::Link | What::Other => return None,
    };
    Some(Stat { kind, size, mtime: found.modified(), etag: None })
}

impl Server {
    /// What a key leads to.
    pub(super) async fn stat(&self, key: &Key) -> StoreResult<Stat> {
        let way = match self.walk(key, Last::Followed).await {
            // A name below a file is as absent here as it is in an object store.
            Err(error) if error.kind == StoreErrorKind::NotADirectory => return Err(missing(key)),
            way => way?,
        };
        way.found.as_ref().and_then(stat_of).ok_or_else(|| missing(key))
    }

    /// Opens the file that a key leads to; its path, and what it is.
    async fn open_file(self: &Arc<Self>, key: &Key) -> StoreResult<(Arc<Open>, String, Attributes)> {
        let way = self.walk(key, Last::Followed).await?;
        match way.found.map(|found| found.what()) {
            Some(What::File) => {}
            Some(What::Folder) => return Err(is_a_directory(key)),
            // Opening a pipe would keep the server waiting.
            _ => return Err(missing(key)),
        }
        let path = self.path(&way.names);
        let mut tried = 0;
        loop {
            tried += 1;
            match self.try_open(&path).await {
                Ok((open, found)) => return Ok((open, path, found)),
                Err(failure) if failure.is_of_connection() && tried < TRIES => {}
                Err(failure) => return Err(looking("open", key)(failure)),
            }
        }
    }

    /// Opens a file and tells its version. Where others of this process publish under its name each time meanwhile, it is not known which
    /// one is open, and the version is one that counts as replaced.
    async fn open_version(self: &Arc<Self>, key: &Key) -> StoreResult<(Arc<Open>, String, Attributes, String)> {
        let mut tried = 0;
        loop {
            tried += 1;
            let mark = self.versions.mark();
            let (open, path, found) = self.open_file(key).await?;
            match self.versions.seen_since(&path, &found, mark) {
                Some(version) => return Ok((open, path, found, version)),
                None if tried < TRIES => {}
                None => return Ok((open, path, found, Versions::before(&found, mark))),
            }
        }
    }

    async fn try_open(self: &Arc<Self>, path: &str) -> Result<(Arc<Open>, Attributes), Failure> {
        let connection = self.pool.get_to_open().await?;
        let handle = connection.exchange.opened(wire::open_for_reading(path)).await?;
        let found = connection.exchange.attributes(wire::fstat(handle.raw())).await?;
        Ok((Arc::new(Open { handle, connection }), found))
    }

    /// Sets the modification time of a file, of `only` this version if one is given. `None`: the protocol cannot say it.
    pub(super) async fn set_mtime(
        self: &Arc<Self>,
        key: &Key,
        mtime: std::time::SystemTime,
        only: Option<&str>,
    ) -> StoreResult<Option<Change>> {
        // Whoever takes the name now has another file, which is not touched.
        let mark = self.versions.mark();
        let (mut open, path, mut found) = self.open_file(key).await?;
        let _turn = self.turn(&path).await;
        if self.versions.is_made_since(&path, mark) {
            // What is open may be what was replaced while it was opened.
            (open, found) = self.try_open(&path).await.map_err(looking("open", key))?;
        }
        if only.is_some_and(|only| !self.versions.is_still(&path, &found, only)) {
            return Err(replaced(key));
        }
        let Some(seconds) = wire::seconds(mtime) else { return Ok(None) };
        let before = self.versions.seen(&path, &found);
        let exchange = open.handle.exchange();
        let (set, now) = tokio::join!(
            exchange.done(wire::set_time(open.handle.raw(), seconds), 0),
            exchange.attributes(wire::fstat(open.handle.raw()))
        );
        set.map_err(at("set the time of", key))?;
        let now = now.map_err(looking("look up", key))?;
        let after = self.versions.timed(&path, &before, &now);
        Ok(Some(Change { before: Some(before), after: Some(after) }))
    }

    /// Sets the modification time of a folder. `false`: it belongs to another account, or the protocol cannot say the time.
    pub(super) async fn set_directory_mtime(&self, key: &Key, mtime: std::time::SystemTime) -> StoreResult<bool> {
        let way = self.walk(key, Last::Followed).await?;
        if way.found.is_none_or(|found| found.what() != What::Folder) {
            return Err(missing(key));
        }
        let Some(seconds) = wire::seconds(mtime) else { return Ok(false) };
        match self.pool.change(wire::set_time_of(&self.path(&way.names), seconds)).await {
            Ok(()) => Ok(true),
            Err(failure) if failure.kind() == StoreErrorKind::AccessDenied => Ok(false),
            Err(failure) => Err(at("set the time of", key)(failure)),
        }
    }
}

impl SftpObject {
    /// Opens a file for reading.
    pub(super) async fn open(server: &Arc<Server>, key: &Key) -> StoreResult<Self> {
        let (open, path, found, version) = server.open_version(key).await?;
        let stat = stat_of(&found).filter(|stat| stat.kind == Kind::File).ok_or_else(|| missing(key))?;
        let keep = !server.objects.add(&open, most_open(&open));
        let open = Mutex::new(keep.then_some(open));
        Ok(SftpObject { server: Arc::clone(server), key: key.clone(), path, stat, found, version, open })
    }

    /// Whether it is this version.
    pub(super) fn is_still(&self, version: &str) -> bool {
        self.server.versions.is_still(&self.path, &self.found, version)
    }

    fn locked(&self) -> MutexGuard<'_, Option<Arc<Open>>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The file, opened again if it was closed.
    pub(super) async fn opened(&self) -> StoreResult<Arc<Open>> {
        let open = self.locked().clone().filter(|open| open.connection.exchange.is_alive());
        if let Some(open) = open {
            return Ok(open);
        }
        let opened = self.server.open_file(&self.key).await;
        let (open, path, found) = match opened {
            Err(error) if matches!(error.kind, StoreErrorKind::NotFound | StoreErrorKind::NotADirectory) => {
                return Err(replaced(&self.key));
            }
            opened => opened?,
        };
        if path != self.path || !self.server.versions.is_still(&path, &found, &self.version) {
            return Err(replaced(&self.key));
        }
        if !self.server.objects.add(&open, most_open(&open)) {
            *self.locked() = Some(Arc::clone(&open));
        }
        Ok(open)
    }

    fn give_up(&self, ended: &Arc<Open>) {
        let mut open = self.locked();
        if open.as_ref().is_some_and(|open| Arc::ptr_eq(open, ended)) {
            *open = None;
        }
    }
}

/// Half of what the server has is for uploads and listings.
fn most_open(open: &Open) -> usize {
    (open.connection.abilities.handles / 2).clamp(1, MOST_OPEN)
}

#[async_trait]
impl Object for SftpObject {
    fn stat(&self) -> &Stat {
        &self.stat
    }

    async fn read(&self, offset: u64, length: usize) -> StoreResult<Bytes> {
        // The length at the time of opening bounds what a client can make us allocate.
        let left = self.stat.size.saturating_sub(offset);
        let length = length.min(usize::try_from(left).unwrap_or(usize::MAX));
        if length == 0 {
            return Ok(Bytes::new());
        }
        let mut tried = 0;
        loop {
            tried += 1;
            let open = self.opened().await?;
            match read_all(&open.handle, open.connection.abilities.read, offset, length).await {
                Ok(Some(data)) => return Ok(data),
                Ok(None) => {
                    let message = format!("\"{}\" was cut meanwhile", self.key);
                    return Err(StoreError::plain(StoreErrorKind::Changed, message));
                }
                Err(failure) if failure.is_of_connection() && tried < TRIES => self.give_up(&open),
                Err(failure) => return Err(looking("read", &self.key)(failure)),
            }
        }
    }

    fn is_remote(&self) -> bool {
        true
    }

    fn version(&self) -> Option<&str> {
        Some(&self.version)
    }
}

/// Exactly `length` bytes from `offset`, in pieces of at most `most`; `None` when the file ends before.
pub(super) async fn read_all(
    handle: &Handle,
    most: usize,
    offset: u64,
    length: usize,
) -> Result<Option<Bytes>, Failure> {
    let starts = (0..length).step_by(most);
    let pieces = stream::iter(starts)
        .map(|start| read_piece(handle, offset + start as u64, most.min(length - start)))
        .buffered(AT_ONCE);
    let read: Option<Vec<Vec<Bytes>>> = pieces.try_collect::<Vec<_>>().await?.into_iter().collect();
    let Some(pieces) = read else { return Ok(None) };
    let mut pieces = pieces.into_iter().flatten();
    let first = pieces.next().unwrap_or_default();
    if first.len() == length {
        return Ok(Some(first));
    }
    let mut whole = BytesMut::with_capacity(length);
    whole.extend_from_slice(&first);
    pieces.for_each(|piece| whole.extend_from_slice(&piece));
    Ok(Some(whole.freeze()))
}

/// The server may give less than it is asked for.
async fn read_piece(handle: &Handle, offset: u64, length: usize) -> Result<Option<Vec<Bytes>>, Failure> {
    let (mut pieces, mut done) = (Vec::new(), 0);
    while done < length {
        let left = length - done;
        let request = wire::read(handle.raw(), offset + done as u64, u32::try_from(left).unwrap_or(u32::MAX));
        match handle.exchange().data(request, left).await? {
            Some(data) if !data.is_empty() => {
                done += data.len();
                pieces.push(data);
            }
            _ => return Ok(None),
        }
    }
    Ok(Some(pieces))
}
