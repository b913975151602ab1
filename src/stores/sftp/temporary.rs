//! Unfinished uploads: a file of a hidden name that nobody else knows, in the folder of its target or the nearest one above it that exists, so
//! that it can be given its name by one request.
//!
//! Each is noted in the journal before the server is asked for it, and removed when it is dropped; what a killed process left is
//! removed by the next one.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt, stream};
use uuid::Uuid;

use super::connection::Connection;
use super::exchange::{Failure, Handle, attributes, success};
use super::failure::{at, looking};
use super::server::{Server, TEMPORARY, to_the_end};
use super::wire::{self, Attributes};
use crate::stores::unfinished::{Begun, Entry};
use crate::stores::{Key, StoreError, StoreErrorKind, StoreResult};

/// How many writes of one call are under way at once.
const AT_ONCE: usize = 16;

/// Content of at most so many bytes is sent with what closes its file: a failure of more would be noticed late.
const BEHIND_ONE_ANOTHER: u64 = 256 << 10;

/// How often the removal of a file is tried.
const TRIES: usize = 3;

/// A disk with less than this free, in bytes, is full when a write fails for no reason that is told.
const NEARLY_FULL: u64 = 1 << 20;

/// The hidden name of an unfinished upload, which changes with the folders above it.
#[derive(Debug)]
pub(super) struct Temporary {
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    path: String,
    /// Where it may be, in the order in which it may have come there; more than one after a rename whose answer was lost.
    places: Vec<Place>,
    /// Its publication was asked for, and nobody knows whether it was done.
    is_in_doubt: bool,
}

#[derive(Debug)]
struct Place {
    path: String,
    /// Its entry in the journal, if there is one.
    entry: Option<Entry>,
}

impl Temporary {
    /// Where it is.
    pub(super) fn path(&self) -> String {
        self.locked().path.clone()
    }

    /// Where it may be.
    pub(super) fn places(&self) -> Vec<String> {
        self.locked().places.iter().map(|place| place.path.clone()).collect()
    }

    /// There is nothing left to remove.
    pub(super) fn settle(&self) {
        let places = std::mem::take(&mut self.locked().places);
        places.into_iter().filter_map(|place| place.entry).for_each(Entry::settled);
    }

    /// It is about to be there.
    pub(super) fn expect_at(&self, path: String, entry: Option<Entry>) {
        self.locked().places.push(Place { path, entry });
    }

    /// It did not come there, or is not there any more.
    pub(super) fn is_not_at(&self, path: &str) {
        let places = std::mem::take(&mut self.locked().places);
        let (left, others): (Vec<_>, Vec<_>) = places.into_iter().partition(|place| place.path == path);
        self.locked().places = others;
        left.into_iter().filter_map(|place| place.entry).for_each(Entry::settled);
    }

    /// What was in the one place is in the other.
    pub(super) fn went(&self, from: &str, to: &str) {
        self.is_not_at(from);
        let mut state = self.locked();
        if state.path == from {
            to.clone_into(&mut state.path);
        }
    }

    /// Its publication may or may not be done: that it is missing then does not settle it.
    pub(super) fn is_in_doubt(&self) {
        self.locked().is_in_doubt = true;
    }

    fn locked(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The open file of an unfinished upload. It is removed when this is dropped before it is published.
#[derive(Debug)]
pub(super) struct Unfinished {
    server: Arc<Server>,
    pub(super) connection: Arc<Connection>,
    /// `None` once it is closed.
    handle: Option<Arc<Handle>>,
    pub(super) temporary: Arc<Temporary>,
    is_settled: bool,
    /// It was made before it was needed: others may have come across it.
    pub(super) is_spare: bool,
}

impl Server {
    /// Makes a file that has no name yet, in a folder that exists; `connection` is the one that it is to be open on, if any.
    pub(super) async fn make_unfinished(
        self: &Arc<Self>,
        folder: &[String],
        key: &Key,
        connection: Option<Arc<Connection>>,
    ) -> StoreResult<Unfinished> {
        let names: Vec<&str> = folder.iter().map(String::as_str).collect();
        let connection = match connection {
            Some(connection) => connection,
            None => match self.spare_in(&names).await {
                Some(spare) => return Ok(spare),
                None => self.pool.get_to_open().await.map_err(at("make a file for", key))?,
            },
        };
        let path = self.hidden_name_in(&names);
        let (server, key) = (Arc::clone(self), key.clone());
        // Dropped while it waits for the answer, it goes on, and removes what it gets.
        to_the_end(async move { server.open_unfinished(path, connection, &key).await }).await
    }

    /// A path that nothing has, in a folder.
    pub(super) fn hidden_name_in(&self, folder: &[&str]) -> String {
        let name = format!("{TEMPORARY}{}", Uuid::now_v7().simple());
        let names: Vec<&str> = folder.iter().copied().chain([name.as_str()]).collect();
        self.path(&names)
    }

    pub(super) async fn open_unfinished(
        self: Arc<Self>,
        path: String,
        connection: Arc<Connection>,
        key: &Key,
    ) -> StoreResult<Unfinished> {
        // A folder on the way that got another name meanwhile would be made again by nobody, and the file be left in it.
        let folders = self.folders.read().await;
        let entry = self.journal.begin(&path).await;
        let places = vec![Place { path: path.clone(), entry }];
        let state = State { path: path.clone(), places, is_in_doubt: false };
        let temporary = Arc::new(Temporary { state: Mutex::new(state) });
        self.remember(&temporary);
        let opened = connection.exchange.opened(wire::open_new(&path)).await;
        match opened {
            // The name is nobody else's: whoever looks for what is left may remove it.
            Ok(_) | Err(Failure::Lost(_)) => {
                temporary.locked().places.iter().filter_map(|place| place.entry.as_ref()).for_each(|entry| {
                    entry.named("asked");
                });
            }
            Err(_) => temporary.settle(),
        }
        drop(folders);
        let handle = Some(Arc::new(opened.map_err(at("make a file for", key))?));
        Ok(Unfinished { server: Arc::clone(&self), connection, handle, temporary, is_settled: false, is_spare: false })
    }

    /// Removes the hidden name of an upload, wherever it may be.
    pub(super) async fn remove_temporary(&self, temporary: &Temporary) -> Result<(), Failure> {
        let _folders = self.folders.read().await;
        let mut is_removed = false;
        for path in temporary.places() {
            is_removed = self.remove_hidden(&path).await?;
            if is_removed {
                break;
            }
        }
        if is_removed || !temporary.locked().is_in_doubt {
            temporary.settle();
        }
        Ok(())
    }

    /// Removes a hidden name; `false`: nothing had it.
    async fn remove_hidden(&self, path: &str) -> Result<bool, Failure> {
        let mut tried = 0;
        loop {
            tried += 1;
            match self.pool.change(wire::remove(path)).await {
                Ok(()) => return Ok(true),
                Err(failure) if failure.is_missing() => return Ok(tried > 1),
                // Nobody else has the name: it may be asked for again.
                Err(Failure::Lost(_)) if tried < TRIES => {}
                Err(failure) => return Err(failure),
            }
        }
    }

    /// Removes what a killed process left; gives how many files that were.
    pub(super) async fn remove_left(&self, begun: Begun) -> StoreResult<u64> {
        let is_ours = begun.key.rsplit('/').next().is_some_and(super::walk::is_own);
        if !is_ours {
            return Ok(0);
        }
        match self.pool.change(wire::remove(&begun.key)).await {
            Ok(()) => Ok(1),
            Err(failure) if failure.is_missing() => Ok(0),
            Err(failure) => Err(at("remove the unfinished upload", &begun.key)(failure)),
        }
    }
}

impl Unfinished {
    /// The open file.
    pub(super) fn handle(&self) -> StoreResult<&Arc<Handle>> {
        self.handle.as_ref().ok_or_else(finished)
    }

    /// Writes all of `data` from `offset`, in pieces of what the server takes, several at once. The write needs nothing of this: it is
    /// for whoever waits for it to see that it has ended before the file is closed.
    pub(super) fn write(
        &self,
        offset: u64,
        data: Vec<Bytes>,
        key: &Key,
    ) -> StoreResult<impl Future<Output = StoreResult<()>> + Send + 'static> {
        let handle = Arc::clone(self.handle()?);
        let (server, temporary, key) = (Arc::clone(&self.server), Arc::clone(&self.temporary), key.clone());
        let length: u64 = data.iter().map(|piece| piece.len() as u64).sum();
        if offset.checked_add(length).is_none_or(|end| end > i64::MAX as u64) {
            let message = format!("\"{key}\" would be larger than a file can be");
            return Err(StoreError::new(StoreErrorKind::TooLarge, message));
        }
        let most = self.connection.abilities.write;
        Ok(async move {
            let handle = &handle;
            let sent = stream::iter(cut(offset, &data, most))
                .map(|(offset, piece)| async move {
                    let bytes = piece.iter().map(Bytes::len).sum();
                    handle.exchange().done(wire::write(handle.raw(), offset, &piece), bytes).await
                })
                .buffer_unordered(AT_ONCE);
            match sent.try_for_each(|()| std::future::ready(Ok(()))).await {
                Ok(()) => Ok(()),
                Err(failure) => Err(server.why_full(&temporary.path(), failure, &key).await),
            }
        })
    }

    /// Cuts or extends with zeros.
    pub(super) async fn set_length(&self, length: u64, key: &Key) -> StoreResult<()> {
        let handle = self.handle()?;
        if length > i64::MAX as u64 {
            return Err(StoreError::new(
                StoreErrorKind::TooLarge,
                format!("\"{key}\" would be larger than a file can be"),
            ));
        }
        let done = handle.exchange().done(wire::set_length(handle.raw(), length), 0).await;
        done.map_err(at("set the length of", key))
    }

    /// Its attributes.
    pub(super) async fn attributes(&self, key: &Key) -> StoreResult<Attributes> {
        let handle = self.handle()?;
        handle.exchange().attributes(wire::fstat(handle.raw())).await.map_err(looking("look up", key))
    }

    /// Writes what is to be all of its content, if that is given here, and closes it as [`Unfinished::close`] does: in one round trip, where
    /// that is little and the server keeps the order.
    ///
    /// # Errors
    /// Also when the server has another length than was written.
    pub(super) async fn fill_and_close(
        &mut self,
        content: Vec<Bytes>,
        mtime: Option<u32>,
        key: &Key,
    ) -> StoreResult<(Attributes, bool)> {
        let length: u64 = content.iter().map(|piece| piece.len() as u64).sum();
        let is_little = length <= BEHIND_ONE_ANOTHER && self.connection.abilities.in_order;
        let closed = if is_little {
            self.close_behind(cut(0, &content, self.connection.abilities.write), mtime, key).await
        } else {
            self.write(0, content, key)?.await?;
            self.close(mtime, key).await
        };
        let (found, mtime_kept) = closed?;
        if found.size != length {
            let reason = format!("the server has {} of {length} bytes", found.size);
            return Err(StoreError::cannot(StoreErrorKind::Unavailable, "write", key.as_str(), &reason));
        }
        Ok((found, mtime_kept))
    }

    /// Sets its time if one is given, brings it to the server's disk if that is wanted and possible, and closes it; what it is then, and
    /// whether it has the time. All that was written before has ended.
    pub(super) async fn close(&mut self, mtime: Option<u32>, key: &Key) -> StoreResult<(Attributes, bool)> {
        self.close_behind(Vec::new(), mtime, key).await
    }

    /// The same behind these pieces of its content. It is one handle: the server goes through the requests in order, and one round trip
    /// does for all.
    async fn close_behind(
        &mut self,
        pieces: Vec<(u64, Vec<Bytes>)>,
        mtime: Option<u32>,
        key: &Key,
    ) -> StoreResult<(Attributes, bool)> {
        let handle = self.handle.take().ok_or_else(finished)?;
        let to_disk = self.server.upstream.fsync && self.connection.abilities.fsync;
        let bytes = pieces.iter().flat_map(|(_, piece)| piece).map(Bytes::len).sum();
        let mut requests: Vec<_> =
            pieces.iter().map(|(offset, piece)| wire::write(handle.raw(), *offset, piece)).collect();
        requests.extend(mtime.map(|mtime| wire::set_time(handle.raw(), mtime)));
        requests.extend(to_disk.then(|| wire::fsync(handle.raw())));
        requests.extend([wire::fstat(handle.raw()), handle.closing()]);
        let mut answers = handle.exchange().in_one_go(requests, bytes).await.into_iter();
        let mut next = || answers.next().unwrap_or_else(|| Err(Failure::strange()));
        let written = pieces.iter().map(|_| success(next())).fold(Ok(()), Result::and);
        let timed = mtime.map_or(Ok(()), |_| success(next()));
        let synced = if to_disk { success(next()) } else { Ok(()) };
        let (looked, closed) = (attributes(next()), success(next()));
        if let Err(failure) = written {
            return Err(self.server.why_full(&self.temporary.path(), failure, key).await);
        }
        let mtime_kept = match timed {
            Ok(()) => mtime.is_some(),
            // Many a server lets nobody set times: the file is worth more.
            Err(Failure::Refused { .. }) => false,
            Err(failure) => return Err(at("set the time of", key)(failure)),
        };
        if let Err(failure) = synced {
            return Err(self.why_not_synced(failure, key).await);
        }
        let found = looked.map_err(looking("look up", key))?;
        if let Err(failure) = closed {
            return Err(self.server.why_full(&self.temporary.path(), failure, key).await);
        }
        Ok((found, mtime_kept))
    }

    async fn why_not_synced(&self, failure: Failure, key: &Key) -> StoreError {
        let is_refused = matches!(failure, Failure::Refused { .. });
        let error = self.server.why_full(&self.temporary.path(), failure, key).await;
        if !is_refused || error.kind == StoreErrorKind::NoSpace {
            return error;
        }
        let reason = error.cause().unwrap_or("the server refuses it").to_owned();
        let reason = format!("{reason} (syncing it to its disk; the option \"fsync\": false does without)");
        StoreError::cannot(error.kind, "write", key.as_str(), &reason)
    }

    /// It has its name: there is nothing to remove.
    pub(super) fn is_published(&mut self) {
        self.is_settled = true;
        self.temporary.settle();
    }

    /// It was made before it was needed, and is needed now.
    pub(super) fn used(mut self) -> Self {
        self.is_spare = true;
        self
    }

    /// Removes a file that nothing was written to. That is asked for behind its end, on the same connection: some servers remove nothing that
    /// is open. What fails here is tried again in the background.
    pub(super) async fn remove_unused(mut self) {
        let Some(handle) = self.handle.take() else { return };
        let requests = vec![handle.closing(), wire::remove(&self.temporary.path())];
        let removed = handle.exchange().in_one_go(requests, 0).await.pop();
        if removed.is_some_and(|removed| success(removed).is_ok()) {
            self.is_settled = true;
            self.temporary.settle();
        }
    }

    /// Removes it.
    pub(super) async fn remove(mut self, key: &Key) -> StoreResult<()> {
        self.is_settled = true;
        drop(self.handle.take());
        let removed = self.server.remove_temporary(&self.temporary).await;
        removed.map_err(at("remove the unfinished upload of", key))
    }
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        let handle = self.handle.take();
        if self.is_settled {
            return;
        }
        let (server, temporary) = (Arc::clone(&self.server), Arc::clone(&self.temporary));
        // Without a runtime it stays in the journal.
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(async move {
                drop(handle);
                if let Err(failure) = server.remove_temporary(&temporary).await {
                    tracing::warn!(
                        store = server.upstream.name,
                        ?failure,
                        "cannot remove the unfinished upload {}",
                        temporary.path()
                    );
                }
            });
        }
    }
}

impl Server {
    /// The error of a write. Version 3 of the protocol has no word for a full disk, so the server is asked how much is free.
    async fn why_full(&self, path: &str, failure: Failure, key: &Key) -> StoreError {
        if failure.is_unexplained()
            && let Ok(Some((_, free))) = self.free(path).await
            && free < NEARLY_FULL
        {
            let reason = "the disk of the server is full";
            return StoreError::cannot(StoreErrorKind::NoSpace, "write", key.as_str(), reason);
        }
        at("write", key)(failure)
    }

    /// Total and free bytes of the file system of a path, where the server tells them.
    pub(super) async fn free(&self, path: &str) -> Result<Option<(u64, u64)>, Failure> {
        let mut tried = 0;
        loop {
            tried += 1;
            let connection = self.pool.get().await?;
            if !connection.abilities.capacity {
                return Ok(None);
            }
            match connection.exchange.extended(wire::capacity(path)).await {
                Ok(answer) => return Ok(wire::read_capacity(answer).ok()),
                Err(failure) if failure.is_of_connection() && tried < TRIES => {}
                Err(failure) => return Err(failure),
            }
        }
    }
}

/// The error of who asks for a file that is closed.
fn finished() -> StoreError {
    StoreError::new(StoreErrorKind::Other, "the upload is finished already")
}

/// Cuts data into pieces of at most `most` bytes, each with its offset.
fn cut(mut offset: u64, data: &[Bytes], most: usize) -> Vec<(u64, Vec<Bytes>)> {
    let (mut pieces, mut piece, mut bytes) = (Vec::new(), Vec::new(), 0);
    for part in data {
        let mut rest = part.clone();
        while !rest.is_empty() {
            let taken = rest.split_to(rest.len().min(most - bytes));
            bytes += taken.len();
            piece.push(taken);
            if bytes == most {
                pieces.push((offset, std::mem::take(&mut piece)));
                offset += bytes as u64;
                bytes = 0;
            }
        }
    }
    if !piece.is_empty() {
        pieces.push((offset, piece));
    }
    pieces
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn data_is_cut_into_whole_pieces_wherever_it_is_split() {
        let whole: Vec<u8> = (0..100).collect();
        for size in [1, 3, 7, 100] {
            let data: Vec<Bytes> = whole.chunks(size).map(Bytes::copy_from_slice).chain([Bytes::new()]).collect();
            for most in [1, 7, 10, 99, 100, 101] {
                let pieces = cut(5, &data, most);
                let mut at = 5;
                let mut got = Vec::new();
                for (offset, piece) in &pieces {
                    assert_eq!(*offset, at);
                    let piece = piece.concat();
                    assert!(piece.len() == most || at + piece.len() as u64 == 105, "{most} {}", piece.len());
                    at += piece.len() as u64;
                    got.extend(piece);
                }
                assert_eq!(got, whole);
            }
        }
        assert!(cut(0, &[Bytes::new()], 10).is_empty());
    }
}
