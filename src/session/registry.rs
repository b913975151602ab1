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
    /// Adds a session until the returned token is dropped; `None` when its user has `limit` sessions already.
    pub fn enter(&self, session: LiveSession, limit: Option<usize>) -> Option<Entered> {
        let id = session.session_id.clone();
        let mut live = self.live.lock().unwrap_or_else(PoisonError::into_inner);
        let is_full = |limit| live.values().filter(|other| other.user == session.user).count() >= limit;
        if limit.is_some_and(is_full) {
            return None;
        }
        live.insert(id.clone(), session);
        Some(Entered { registry: self.clone(), id })
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

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_user_has_so_many_sessions_and_no_more() {
        let registry = Registry::default();
        let session = |id: &str, user: &str| LiveSession {
            session_id: id.into(),
            user: user.into(),
            source_ip: [192, 0, 2, 1].into(),
            since: SystemTime::UNIX_EPOCH,
        };
        let first = registry.enter(session("1", "ann"), Some(2)).unwrap();
        let _second = registry.enter(session("2", "ann"), Some(2)).unwrap();
        assert!(registry.enter(session("3", "ann"), Some(2)).is_none());
        let _other = registry.enter(session("4", "ben"), Some(1)).unwrap();
        drop(first);
        let _third = registry.enter(session("3", "ann"), Some(2)).unwrap();
        let _unlimited = registry.enter(session("5", "ann"), None).unwrap();
        let ids: Vec<_> = registry.list().into_iter().map(|live| live.session_id).collect();
        assert_eq!(ids.iter().map(|id| &**id).collect::<Vec<_>>(), ["2", "3", "4", "5"]);
    }
}
