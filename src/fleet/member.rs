//! What the parts of one gateway share that speak to its fleet.

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use redis::aio::MultiplexedConnection;
use tokio::sync::watch;
use uuid::Uuid;

use super::calls::Calls;
use super::keys::Keys;
use super::places::Places;
use super::settings::Settings;
use super::standing::StandingNow;
use super::users::UsersSeal;
use crate::audit::Recorder;
use crate::session::Registry;

/// How often the log tells of what somebody else changed; all of it is counted.
const TAMPERING_TOLD_EVERY: Duration = Duration::from_secs(10);

/// How long a gateway goes on telling its events after it heard last that somebody follows: Redis may be away, or be emptied, meanwhile.
const FOLLOWED_FOR: Duration = Duration::from_secs(5);

/// One gateway.
#[derive(Debug)]
pub(super) struct Member {
    pub(super) settings: Settings,
    /// Its name.
    pub(super) server: String,
    /// Its name, and digits that only this process has: what a process before it left is another's.
    pub(super) id: String,
    pub(super) began: SystemTime,
    pub(super) keys: Keys,
    pub(super) registry: Registry,
    pub(super) recorder: Recorder,
    pub(super) standing: StandingNow,
    pub(super) places: Places,
    pub(super) seal: UsersSeal,
    /// The sources of whose users this gateway tells the trail.
    tells_of: Mutex<BTreeSet<String>>,
    /// Until when it is believed that somebody follows the events of all gateways.
    followed: watch::Sender<Option<Instant>>,
    connection: Mutex<Option<MultiplexedConnection>>,
    told_of_tampering: Mutex<Option<Instant>>,
}

impl Member {
    pub(super) fn new(
        settings: Settings,
        server: &str,
        registry: Registry,
        recorder: Recorder,
        seal: UsersSeal,
    ) -> Member {
        // The last digits are random, the first ones are time.
        let unique = Uuid::now_v7().simple().to_string();
        Member {
            id: format!("{server}.{}", &unique[16..]),
            server: server.to_owned(),
            began: SystemTime::now(),
            keys: Keys::of(&settings.name),
            settings,
            registry,
            recorder,
            standing: StandingNow::default(),
            places: Places::default(),
            seal,
            tells_of: Mutex::default(),
            followed: watch::Sender::default(),
            connection: Mutex::default(),
            told_of_tampering: Mutex::default(),
        }
    }

    /// From now on calls are made over this connection; `None`: there are none.
    pub(super) fn use_connection(&self, connection: Option<MultiplexedConnection>) {
        *self.connection.lock().unwrap_or_else(PoisonError::into_inner) = connection;
    }

    /// What calls are made with; `None` while Redis is away.
    pub(super) fn calls(&self) -> Option<Calls> {
        let connection = self.connection.lock().unwrap_or_else(PoisonError::into_inner).clone()?;
        Some(self.calls_over(connection))
    }

    pub(super) fn calls_over(&self, connection: MultiplexedConnection) -> Calls {
        Calls { connection, keys: self.keys.clone(), id: self.id.clone(), lease: self.settings.lease }
    }

    /// As [`Member::calls`].
    ///
    /// # Errors
    /// A sentence that says why there are none.
    pub(super) fn reachable(&self) -> Result<Calls, String> {
        self.calls().ok_or_else(|| {
            let why = self.standing.now("").alone.unwrap_or_default();
            format!("the shared state of the fleet cannot be reached: {why}")
        })
    }

    /// Whether this gateway tells the trail of changes of a source's users.
    pub(super) fn tells_of(&self, source: &str, tells: bool) {
        let mut sources = self.tells_of.lock().unwrap_or_else(PoisonError::into_inner);
        if tells {
            sources.insert(source.to_owned());
        } else {
            sources.remove(source);
        }
    }

    /// The sources that another gateway has to tell of, now that this one ends.
    pub(super) fn told_sources(&self) -> Vec<String> {
        self.tells_of.lock().unwrap_or_else(PoisonError::into_inner).iter().cloned().collect()
    }

    /// Somebody follows the events of all gateways.
    pub(super) fn is_followed(&self) {
        self.followed.send_replace(Some(Instant::now() + FOLLOWED_FOR));
    }

    /// Waits until somebody follows the events of all gateways.
    pub(super) async fn until_followed(&self) {
        // The sender lives as long as this.
        let _ = self.followed.subscribe().wait_for(|until| until.is_some_and(|until| Instant::now() < until)).await;
    }

    /// Whether somebody follows the events of all gateways.
    pub(super) fn has_followers(&self) -> bool {
        self.followed.borrow().is_some_and(|until| Instant::now() < until)
    }

    /// Counts what no gateway wrote, and says so in the log, not too often.
    pub(super) fn note_tampering(&self, times: u64, what: &str) {
        if times == 0 {
            return;
        }
        self.standing.add_tampering(times);
        let mut told = self.told_of_tampering.lock().unwrap_or_else(PoisonError::into_inner);
        if told.is_some_and(|told| told.elapsed() < TAMPERING_TOLD_EVERY) {
            return;
        }
        *told = Some(Instant::now());
        let fleet = self.settings.name.as_str();
        tracing::error!(
            fleet,
            what,
            times,
            "somebody else changes the shared state of the fleet; values that make no sense are removed. Who can write to Redis?"
        );
    }
}
