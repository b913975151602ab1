//! The live sessions of the process.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

/// One live session, for whoever asks who is here.
#[derive(Debug, Clone)]
pub struct LiveSession {
    /// 20 hex digits, as in the events.
    pub session_id: Arc<str>,
    /// Who.
    pub user: Arc<str>,
    /// From where.
    pub source_ip: IpAddr,
    /// Since when.
    pub since: SystemTime,
}

/// The live sessions, by session id. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Registry {
    live: Arc<Mutex<BTreeMap<Arc<str>, LiveSession>>>,
}

impl Registry {
    /// Adds a session until the returned token is dropped.
    pub fn enter(&self, session: LiveSession) -> Entered {
        let id = session.session_id.clone();
        self.live.lock().unwrap_or_else(PoisonError::into_inner).insert(id.clone(), session);
        Entered { registry: self.clone(), id }
    }

    /// The sessions that are live now.
    pub fn list(&self) -> Vec<LiveSession> {
        self.live.lock().unwrap_or_else(PoisonError::into_inner).values().cloned().collect()
    }
}

/// A session is live.
#[derive(Debug)]
pub struct Entered {
    registry: Registry,
    id: Arc<str>,
}

impl Drop for Entered {
    fn drop(&mut self) {
        self.registry.live.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.id);
    }
}
