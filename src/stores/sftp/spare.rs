//! Files of hidden names that are made while a client still sends its content, so that closing a small file waits for one round trip less.
//!
//! There are few, each for a moment, and one that nobody wants is removed. Whoever needs a file in the same folder gets one, whichever
//! upload it was made for.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use tokio::sync::{OwnedSemaphorePermit, RwLock, Semaphore, oneshot};
use tokio::time::timeout;

use super::server::Server;
use super::temporary::Unfinished;
use crate::stores::Key;

/// So many are made, wait or are removed at once: each is an open file of the server.
const MOST: usize = 4;

/// How long one waits: a small file is closed that soon after it was opened.
const LASTS: Duration = Duration::from_secs(2);

/// How long the removal of a folder waits for what was made in it.
const IN_THE_WAY: Duration = Duration::from_secs(3);

/// Files that were made, or are being made, for whoever needs one.
#[derive(Debug)]
pub(super) struct Spares {
    state: Mutex<State>,
    room: Arc<Semaphore>,
    /// Held, with others, by whoever removes one.
    going: RwLock<()>,
}

#[derive(Debug, Default)]
struct State {
    spares: Vec<Spare>,
    /// Somebody removes those that nobody wants.
    is_swept: bool,
}

/// A file that comes, or waits.
#[derive(Debug)]
struct Spare {
    folder: String,
    made: oneshot::Receiver<Made>,
    since: Instant,
}

/// A file that waits. It takes its room until somebody uses it, or it is removed.
#[derive(Debug)]
struct Made {
    file: Unfinished,
    room: OwnedSemaphorePermit,
}

impl Default for Spares {
    fn default() -> Self {
        Spares { state: Mutex::default(), room: Arc::new(Semaphore::new(MOST)), going: RwLock::default() }
    }
}

impl Spares {
    fn locked(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Room for one more in a folder, if there is any.
    fn announce(&self, folder: &str) -> Option<(OwnedSemaphorePermit, oneshot::Sender<Made>)> {
        let room = Arc::clone(&self.room).try_acquire_owned().ok()?;
        let (giver, made) = oneshot::channel();
        self.locked().spares.push(Spare { folder: folder.to_owned(), made, since: Instant::now() });
        Some((room, giver))
    }

    fn take(&self, folder: &str) -> Option<Spare> {
        let mut state = self.locked();
        let found = state.spares.iter().position(|spare| spare.folder == folder)?;
        Some(state.spares.remove(found))
    }

    /// Those that have waited too long, and whether any is left. One that is still being made stays.
    fn take_old(&self) -> (Vec<Made>, bool) {
        let mut old = Vec::new();
        let mut state = self.locked();
        state.spares.retain_mut(|spare| {
            if spare.since.elapsed() < LASTS {
                return true;
            }
            match spare.made.try_recv() {
                Ok(made) => old.push(made),
                Err(oneshot::error::TryRecvError::Empty) => return true,
                // It could not be made.
                Err(oneshot::error::TryRecvError::Closed) => {}
            }
            false
        });
        state.is_swept = !state.spares.is_empty();
        (old, state.is_swept)
    }
}

impl Server {
    /// Makes a file in the folder of a key, which a way has just led to, for whoever needs one there soon.
    pub(super) fn expect_upload(self: &Arc<Self>, key: &Key) {
        let Some(folder) = key.parent().filter(|folder| self.seen.has(folder.as_str())) else { return };
        let names: Vec<&str> = folder.as_str().split('/').filter(|name| !name.is_empty()).collect();
        let Some((room, giver)) = self.spares.announce(&self.path(&names)) else { return };
        tokio::spawn(make(Arc::clone(self), self.hidden_name_in(&names), key.clone(), room, giver));
        if !std::mem::replace(&mut self.spares.locked().is_swept, true) {
            tokio::spawn(sweep(Arc::downgrade(self)));
        }
    }

    /// A file that was made in this folder before it was needed.
    pub(super) async fn spare_in(&self, names: &[&str]) -> Option<Unfinished> {
        let folder = self.path(names);
        let made = self.spares.take(&folder)?.made.await.ok()?;
        // Meanwhile its connection may have ended, or its folder may have another name.
        let path = made.file.temporary.path();
        let is_there = path.rsplit_once('/').is_some_and(|(above, _)| above == folder.trim_end_matches('/'));
        if is_there && made.file.connection.exchange.is_alive() {
            return Some(made.file.used());
        }
        self.discard(made).await;
        None
    }

    /// Removes those in a folder that is about to be removed. What cannot be removed in a moment, the server reports then.
    pub(super) async fn remove_spares_in(&self, folder: &str) {
        let spares: Vec<_> = std::iter::from_fn(|| self.spares.take(folder)).collect();
        let removals = join_all(spares.into_iter().map(async |spare| {
            if let Ok(made) = spare.made.await {
                self.discard(made).await;
            }
        }));
        let all = async {
            removals.await;
            // Others may be about to remove one.
            drop(self.spares.going.write().await);
        };
        let _ = timeout(IN_THE_WAY, all).await;
    }

    async fn discard(&self, made: Made) {
        let _going = self.spares.going.read().await;
        made.file.remove_unused().await;
        drop(made.room);
    }
}

/// Makes a file for whoever waits for it, or removes it if nobody does any more. One that cannot be made is tried again by whoever needs it.
async fn make(server: Arc<Server>, path: String, key: Key, room: OwnedSemaphorePermit, giver: oneshot::Sender<Made>) {
    let Ok(connection) = server.pool.get_to_open().await else { return };
    let Ok(file) = Arc::clone(&server).open_unfinished(path, connection, &key).await else { return };
    if let Err(made) = giver.send(Made { file, room }) {
        server.discard(made).await;
    }
}

/// Removes what nobody wants, until there is nothing left.
async fn sweep(server: Weak<Server>) {
    loop {
        tokio::time::sleep(LASTS / 4).await;
        let Some(server) = server.upgrade() else { return };
        let (old, is_any_left) = server.spares.take_old();
        join_all(old.into_iter().map(|made| server.discard(made))).await;
        if !is_any_left {
            return;
        }
    }
}
