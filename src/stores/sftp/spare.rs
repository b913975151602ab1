//! Files of hidden names that are made while a client still sends its content, so that closing a small file waits for one round trip less.
//!
//! There are few, each for a moment, and one that nobody wants is removed. Whoever needs a file in the same folder gets one, whichever
//! upload it was made for.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use super::server::Server;
use super::temporary::Unfinished;
use crate::stores::Key;

/// So many are made or wait at once: each is an open file of the server.
const MOST: usize = 4;

/// How long one waits: a small file is closed that soon after it was opened.
const LASTS: Duration = Duration::from_secs(2);

/// Files that were made, or are being made, for whoever needs one.
#[derive(Debug, Default)]
pub(super) struct Spares(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    spares: Vec<Spare>,
    /// Somebody removes those that nobody wants.
    is_swept: bool,
}

/// A file that comes, or waits. Dropped, it is removed.
#[derive(Debug)]
struct Spare {
    folder: String,
    file: oneshot::Receiver<Unfinished>,
    since: Instant,
}

impl Spares {
    fn locked(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Room for one more in a folder.
    fn announce(&self, folder: &str) -> Option<oneshot::Sender<Unfinished>> {
        let mut state = self.locked();
        if state.spares.len() >= MOST {
            return None;
        }
        let (made, file) = oneshot::channel();
        state.spares.push(Spare { folder: folder.to_owned(), file, since: Instant::now() });
        Some(made)
    }

    fn take(&self, folder: &str) -> Option<Spare> {
        let mut state = self.locked();
        let found = state.spares.iter().position(|spare| spare.folder == folder)?;
        Some(state.spares.remove(found))
    }

    /// Those that have waited too long, and whether any is left.
    fn take_old(&self) -> (Vec<Spare>, bool) {
        let mut state = self.locked();
        let (old, left) =
            std::mem::take(&mut state.spares).into_iter().partition(|spare| spare.since.elapsed() >= LASTS);
        state.spares = left;
        state.is_swept = !state.spares.is_empty();
        (old, state.is_swept)
    }
}

impl Server {
    /// Makes a file in the folder of a key, which a way has just led to, for whoever needs one there soon.
    pub(super) fn expect_upload(self: &Arc<Self>, key: &Key) {
        let Some(folder) = key.parent().filter(|folder| self.seen.has(folder.as_str())) else { return };
        let names: Vec<&str> = folder.as_str().split('/').filter(|name| !name.is_empty()).collect();
        let folder = self.path(&names);
        let Some(made) = self.spares.announce(&folder) else { return };
        let (server, key, path) = (Arc::clone(self), key.clone(), self.hidden_name_in(&names));
        tokio::spawn(async move {
            let made = async {
                let connection = server.pool.get_to_open().await.ok()?;
                let file = Arc::clone(&server).open_unfinished(path, connection, &key).await.ok()?;
                // Where it has come too late, it is removed. One that could not be made is tried again by who needs it.
                made.send(file).ok()
            };
            made.await;
        });
        if !std::mem::replace(&mut self.spares.locked().is_swept, true) {
            tokio::spawn(sweep(Arc::downgrade(self)));
        }
    }

    /// A file that was made in this folder before it was needed.
    pub(super) async fn spare_in(&self, names: &[&str]) -> Option<Unfinished> {
        let folder = self.path(names);
        let file = self.spares.take(&folder)?.file.await.ok()?;
        // Meanwhile its connection may have ended, or its folder may have another name.
        let is_there =
            file.temporary.path().rsplit_once('/').is_some_and(|(above, _)| above == folder.trim_end_matches('/'));
        (is_there && file.connection.exchange.is_alive()).then_some(file)
    }

    /// Removes all of them, so that they are in nobody's way.
    pub(super) async fn remove_spares(&self) {
        let spares = std::mem::take(&mut self.spares.locked().spares);
        for spare in spares {
            if let Ok(file) = spare.file.await {
                // One that cannot be removed now is removed later.
                let _ = file.remove(&Key::root()).await;
            }
        }
    }
}

/// Removes what nobody wants, until there is nothing left.
async fn sweep(server: Weak<Server>) {
    loop {
        tokio::time::sleep(LASTS / 4).await;
        let Some(server) = server.upgrade() else { return };
        let (old, is_any_left) = server.spares.take_old();
        drop(old);
        if !is_any_left {
            return;
        }
    }
}
