//! The room that each connection and each user has in the queue.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use tokio::sync::Semaphore;

use super::queue::{OWN_BYTES, USER_BYTES};

/// What one connection may have in the queue: room for 32 small events for itself, beside its user's part of what all operations
/// share.
#[derive(Debug)]
pub struct OwnRoom {
    pub(super) own: Arc<Semaphore>,
    pub(super) user: Arc<Semaphore>,
}

impl Default for OwnRoom {
    /// That of a user with one connection.
    fn default() -> Self {
        OwnRoom::of(Arc::new(Semaphore::new(USER_BYTES as usize)))
    }
}

impl OwnRoom {
    fn of(user: Arc<Semaphore>) -> Self {
        OwnRoom { own: Arc::new(Semaphore::new(OWN_BYTES as usize)), user }
    }
}

/// The part of the queue that each user has, over all connections.
#[derive(Debug, Default)]
pub(super) struct Users(pub(super) Mutex<HashMap<Arc<str>, Weak<Semaphore>>>);

impl Users {
    /// Room for another connection of this user.
    pub(super) fn connect(&self, user: &Arc<str>) -> OwnRoom {
        let mut users = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(part) = users.get(user).and_then(Weak::upgrade) {
            return OwnRoom::of(part);
        }
        // Those who are gone leave a name each: they go when as many as are here have come.
        if users.len() == users.capacity() {
            users.retain(|_, part| part.strong_count() > 0);
        }
        let room = OwnRoom::default();
        users.insert(Arc::clone(user), Arc::downgrade(&room.user));
        room
    }
}
