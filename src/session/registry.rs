//! The live sessions of the process.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, SystemTime};

use chrono::{DateTime, Utc};
use tokio::sync::watch;

use super::open_files::OpenFile;
use super::{Login, Protocol};
use crate::audit::{Jump, KeyIdentity};
use crate::stores::Root;
use crate::users::User;

/// The id of a live session, its user as of the login, and the roots of the stores of the home.
pub type LiveHome = (Arc<str>, Arc<User>, Arc<[Root]>);

/// One live session, as lists show it.
#[derive(Debug, Clone)]
pub struct LiveSession {
    /// 20 hex digits, as in the events.
    pub session_id: Arc<str>,
    /// Who.
    pub user: Arc<str>,
    /// The person behind the login name, as in the events.
    pub identity: Option<Arc<str>>,
    /// From where.
    pub source_ip: IpAddr,
    /// The client's port.
    pub source_port: u16,
    /// The client's version line, if it is known.
    pub client: Option<Arc<str>>,
    /// How the user proved it: `publickey`, `password`, …
    pub method: Cow<'static, str>,
    /// The key that was proven, without a password.
    pub key: Option<KeyIdentity>,
    /// Since when.
    pub since: SystemTime,
    /// Where the user comes from.
    pub source: Arc<str>,
    /// The fingerprint of the key that was proven, of a certificate its authority's; `None` after a password alone.
    pub credential: Option<String>,
    /// Where it leads, if it came through another session.
    pub jump: Option<Arc<Jump>>,
    /// The first moment at which the certificate that was shown is not valid any more.
    pub proof_ends: Option<DateTime<Utc>>,
}

/// Why a session is ended by somebody who does not hold its connection; the `reason` and `message` of DISCONNECTED.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Farewell {
    /// A word for machines.
    pub reason: Cow<'static, str>,
    /// A sentence, which the client is told as well.
    pub message: String,
    /// The administrator's name.
    pub by: Option<String>,
}

/// What a session has done so far and does now.
#[derive(Debug, Clone, Default)]
pub struct Progress {
    /// Bytes of files received.
    pub bytes_in: u64,
    /// Bytes of files sent.
    pub bytes_out: u64,
    /// Uploads that succeeded.
    pub files_in: u64,
    /// Downloads that ended.
    pub files_out: u64,
    /// How long no operation has been running.
    pub idle: Duration,
    /// The protocols that were spoken.
    pub protocols: Vec<Protocol>,
    /// How many operations and files are under way.
    pub under_way: usize,
    /// The first open files.
    pub files: Vec<OpenFile>,
    /// Why it is about to end, if it is.
    pub ending: Option<Farewell>,
}

#[derive(Debug)]
struct Live {
    session: LiveSession,
    login: Weak<Login>,
    /// The user as the source described it after the login, if it was asked again.
    described: Option<Arc<User>>,
    farewell: watch::Sender<Option<Farewell>>,
}

impl Live {
    fn user(&self) -> Option<Arc<User>> {
        self.described.clone().or_else(|| Some(self.login.upgrade()?.user().clone()))
    }
}

/// The live sessions, by session id. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Registry {
    live: Arc<Mutex<BTreeMap<Arc<str>, Live>>>,
    /// How often a session came or went.
    changes: Arc<watch::Sender<u64>>,
}

impl Registry {
    /// Adds a session until the returned token is dropped; `None` when its user has `limit` sessions already. Those that came
    /// through others are counted apart from those, so that somebody with one session can jump from it.
    pub fn enter(&self, session: LiveSession, limit: Option<usize>) -> Option<Entered> {
        let id = session.session_id.clone();
        let mut live = self.lock();
        let is_alike =
            |other: &LiveSession| other.user == session.user && other.jump.is_some() == session.jump.is_some();
        let is_full = |limit| live.values().filter(|other| is_alike(&other.session)).count() >= limit;
        if limit.is_some_and(is_full) {
            return None;
        }
        let (farewell, told) = watch::channel(None);
        live.insert(id.clone(), Live { session, farewell, login: Weak::new(), described: None });
        drop(live);
        self.changes.send_modify(|count| *count = count.wrapping_add(1));
        Some(Entered { registry: self.clone(), id, told })
    }

    /// Ends every session for which `judge` says why. Their connections tell the client, and end by themselves; how many.
    pub fn end(&self, mut judge: impl FnMut(&LiveSession) -> Option<Farewell>) -> usize {
        let live = self.lock();
        let mut ended = 0;
        for Live { session, farewell, .. } in live.values() {
            // Who was told already is on the way out.
            let Some(why) = judge(session).filter(|_| farewell.borrow().is_none()) else { continue };
            farewell.send_replace(Some(why));
            ended += 1;
        }
        ended
    }

    /// From now on, [`Registry::user_of`] is `user` for the sessions of these ids: their source has been asked again.
    pub fn describe<'a>(&self, ids: impl IntoIterator<Item = &'a Arc<str>>, user: &Arc<User>) {
        let mut live = self.lock();
        for id in ids {
            if let Some(live) = live.get_mut(id) {
                live.described = Some(user.clone());
            }
        }
    }

    /// The user of a session as the source described it last, at the login or since; `None` when there is no such session or it has
    /// not begun.
    pub fn user_of(&self, id: &str) -> Option<Arc<User>> {
        self.lock().get(id).and_then(Live::user)
    }

    /// [`Registry::user_of`] of every session.
    pub fn users(&self) -> HashMap<Arc<str>, Arc<User>> {
        self.lock().iter().filter_map(|(id, live)| Some((id.clone(), live.user()?))).collect()
    }

    /// The live sessions with their homes.
    pub fn homes(&self) -> Vec<LiveHome> {
        let live = self.lock();
        let homes = live.iter().filter_map(|(id, live)| {
            let login = live.login.upgrade()?;
            Some((id.clone(), login.user().clone(), login.roots().clone()))
        });
        homes.collect()
    }

    /// The sessions that are live now.
    pub fn list(&self) -> Vec<LiveSession> {
        self.lock().values().map(|live| live.session.clone()).collect()
    }

    /// The session of this id.
    pub fn get(&self, id: &str) -> Option<LiveSession> {
        self.lock().get(id).map(|live| live.session.clone())
    }

    /// A session and what it does, with its first `files` open files; `None` when there is none of that id.
    pub fn look(&self, id: &str, files: usize) -> Option<(LiveSession, Progress)> {
        let (session, login, ending) = {
            let live = self.lock();
            let live = live.get(id)?;
            (live.session.clone(), live.login.upgrade(), live.farewell.borrow().clone())
        };
        let Some(login) = login else { return Some((session, Progress { ending, ..Progress::default() })) };
        let totals = login.totals();
        let progress = Progress {
            bytes_in: totals.bytes_in.load(Ordering::Relaxed),
            bytes_out: totals.bytes_out.load(Ordering::Relaxed),
            files_in: totals.files_in.load(Ordering::Relaxed),
            files_out: totals.files_out.load(Ordering::Relaxed),
            idle: login.idle(),
            protocols: login.protocols(),
            under_way: login.open_transfers(),
            files: login.open_files().list(files),
            ending,
        };
        Some((session, progress))
    }

    /// Changes whenever a session comes or goes.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<Arc<str>, Live>> {
        self.live.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A session is live.
#[derive(Debug)]
pub struct Entered {
    registry: Registry,
    id: Arc<str>,
    told: watch::Receiver<Option<Farewell>>,
}

impl Entered {
    /// From now on the session shows what `login` does.
    pub fn follow(&self, login: &Arc<Login>) {
        if let Some(live) = self.registry.lock().get_mut(&self.id) {
            live.login = Arc::downgrade(login);
        }
    }

    /// What tells the connection to end; `None` as long as nobody wants it to.
    pub fn told(&self) -> watch::Receiver<Option<Farewell>> {
        self.told.clone()
    }
}

impl Drop for Entered {
    fn drop(&mut self) {
        self.registry.lock().remove(&self.id);
        self.registry.changes.send_modify(|count| *count = count.wrapping_add(1));
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn session(id: &str, user: &str) -> LiveSession {
        LiveSession {
            session_id: id.into(),
            user: user.into(),
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
    fn sessions_are_told_once_why_they_end() {
        let registry = Registry::default();
        let ann = registry.enter(session("1", "ann"), None).unwrap();
        let ben = registry.enter(session("2", "ben"), None).unwrap();
        let why = |reason: &'static str| Farewell { reason: reason.into(), message: "over".into(), by: None };
        assert_eq!(registry.end(|live| (&*live.user == "ann").then(|| why("first"))), 1);
        assert_eq!(registry.end(|live| (&*live.user == "ann").then(|| why("second"))), 0);
        assert_eq!(*ann.told().borrow(), Some(why("first")));
        assert_eq!(*ben.told().borrow(), None);
        let mut told = ann.told();
        drop(ann);
        assert_eq!(registry.end(|_| Some(why("third"))), 1, "only ben is left");
        assert_eq!(told.borrow_and_update().clone(), Some(why("first")));
    }

    #[test]
    fn a_session_has_the_user_that_its_source_described_last() {
        let registry = Registry::default();
        let _one = registry.enter(session("1", "ann"), None).unwrap();
        let _two = registry.enter(session("2", "ann"), None).unwrap();
        assert!(registry.user_of("1").is_none(), "it has not begun");
        let ann = Arc::new(crate::users::testing::user("ann"));
        registry.describe([&Arc::from("1"), &Arc::from("gone")], &ann);
        assert!(registry.user_of("1").is_some_and(|user| Arc::ptr_eq(&user, &ann)));
        assert!(registry.user_of("2").is_none() && registry.user_of("gone").is_none());
        assert_eq!(registry.users().len(), 1);
    }

    #[test]
    fn a_user_has_so_many_sessions_and_no_more() {
        let registry = Registry::default();
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
