//! The sessions of this gateway whose users may have only so many over all gateways.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::session::Registry;

/// By the key of the user's places: the ids of sessions, and whether each has its place. One that was asked for may have been given while
/// nobody waits for the answer any more; so it is given back like one that was used.
#[derive(Debug, Default)]
pub(super) struct Places(Mutex<BTreeMap<String, BTreeMap<Arc<str>, bool>>>);

/// Those of one user: which go on, and which have ended.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct OfUser {
    pub(super) key: String,
    pub(super) live: Vec<String>,
    pub(super) ended: Vec<String>,
}

impl Places {
    /// A place is asked for.
    pub(super) fn ask(&self, key: &str, session: &Arc<str>) {
        self.lock().entry(key.to_owned()).or_default().insert(session.clone(), false);
    }

    /// The session has it.
    pub(super) fn take(&self, key: &str, session: &Arc<str>) {
        self.lock().entry(key.to_owned()).or_default().insert(session.clone(), true);
    }

    /// Those of a user that have ended. They stay, until they were given back.
    pub(super) fn ended(&self, key: &str, registry: &Registry) -> Vec<String> {
        let places = self.lock();
        let sessions = places.get(key).into_iter().flat_map(BTreeMap::keys);
        sessions.filter(|session| registry.get(session).is_none()).map(ToString::to_string).collect()
    }

    /// All of them; with `ended_only`, those of users of whom one has ended.
    pub(super) fn sort(&self, registry: &Registry, ended_only: bool) -> Vec<OfUser> {
        let places = self.lock();
        let sorted = places.iter().map(|(key, sessions)| {
            let mut of_user = OfUser { key: key.clone(), live: Vec::new(), ended: Vec::new() };
            for (session, is_taken) in sessions {
                match registry.get(session) {
                    None => of_user.ended.push(session.to_string()),
                    Some(_) if *is_taken => of_user.live.push(session.to_string()),
                    Some(_) => {}
                }
            }
            of_user
        });
        sorted.filter(|of_user| !ended_only || !of_user.ended.is_empty()).collect()
    }

    /// What had ended was given back.
    pub(super) fn forget(&self, of_user: &OfUser) {
        let mut places = self.lock();
        let Some(sessions) = places.get_mut(&of_user.key) else { return };
        for session in &of_user.ended {
            sessions.remove(session.as_str());
        }
        if sessions.is_empty() {
            places.remove(&of_user.key);
        }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, BTreeMap<Arc<str>, bool>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::time::SystemTime;

    use super::*;
    use crate::session::LiveSession;

    fn session(id: &str) -> LiveSession {
        LiveSession {
            session_id: id.into(),
            user: "ann".into(),
            identity: None,
            source_ip: [192, 0, 2, 1].into(),
            source_port: 50022,
            client: None,
            method: "publickey".into(),
            key: None,
            since: SystemTime::UNIX_EPOCH,
            source: "configuration".into(),
            credential: None,
            jump: None,
            proof_ends: None,
        }
    }

    #[test]
    fn a_place_is_kept_once_it_is_given_and_given_back_in_any_case() {
        let (places, registry) = (Places::default(), Registry::default());
        let entered = ["1", "2"].map(|id| registry.enter(session(id), None).unwrap());
        for id in ["1", "2", "3"] {
            places.ask("ann", &Arc::from(id));
        }
        places.take("ann", &Arc::from("1"));
        let of_user = |live: &[&str], ended: &[&str]| OfUser {
            key: "ann".into(),
            live: live.iter().map(|id| (*id).to_owned()).collect(),
            ended: ended.iter().map(|id| (*id).to_owned()).collect(),
        };
        assert_eq!(places.sort(&registry, false), [of_user(&["1"], &["3"])], "the second one is only asked for");
        places.forget(&places.sort(&registry, true)[0]);
        assert!(places.sort(&registry, true).is_empty());
        drop(entered);
        assert_eq!(places.ended("ann", &registry), ["1", "2"]);
        places.forget(&places.sort(&registry, true)[0]);
        assert!(places.sort(&registry, false).is_empty());
    }
}
