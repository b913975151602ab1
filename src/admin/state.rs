//! What every handler has at hand.

use std::sync::{Arc, Mutex};
use std::time::SystemTime;

use tokio::sync::{Semaphore, watch};

use super::Surroundings;
use super::caller::Peer;
use super::chain::Verifier;
use super::doors::Doors;
use super::guard::AT_ONCE;
use super::health::Health;
use super::login::CookieNames;
use super::logins::Logins;
use super::now::{LastMoment, WATCHERS, WATCHERS_OF_CALLER};
use super::oidc::{Current, Provider};
use super::places::Places;
use super::problem::Problem;
use super::reads::Reads;
use super::refused::RefusedCalls;
use super::self_check::Found;
use super::settings::Trust;
use super::stream::{FOLLOWERS, FOLLOWERS_OF_CALLER};
use super::users::{QUESTIONS, QUESTIONS_OF_CALLER};
use crate::audit::OwnRoom;

/// Shared by all connections of the admin door.
#[derive(Debug)]
pub(super) struct State {
    /// Names by which it may be called.
    pub(super) hosts: Vec<String>,
    /// Whether the metrics that everybody may read name users.
    pub(super) names_users: bool,
    /// When it began to serve.
    pub(super) since: SystemTime,
    /// The rest of the gateway.
    pub(super) around: Surroundings,
    /// What was seen of the stores.
    pub(super) health: Health,
    /// Room for the events of calls, whatever sessions hold: an administrator ends one whose store hangs. The machine's own users have
    /// theirs, and those who come over the network.
    room_of_machine: OwnRoom,
    room_of_network: OwnRoom,
    /// Calls of nobody who was recognised, and that are not recorded one by one.
    pub(super) refused: RefusedCalls,
    /// The verification of the trail.
    pub(super) verifier: Verifier,
    /// What the verification in the background found last.
    pub(super) self_checked: Mutex<Found>,
    /// Places for calls of this machine's own users, whatever comes over the network.
    pub(super) calls_of_machine: Arc<Semaphore>,
    /// Places for calls over the network.
    pub(super) calls_of_network: Arc<Semaphore>,
    /// Reads of the trail that are under way, and answers with what they found.
    pub(super) reads: Reads,
    /// Places for those who follow the events.
    pub(super) followers: Places,
    /// Places for those who watch the state of the gateway.
    pub(super) watchers: Places,
    /// Places for questions to identity providers: few, so that logins over SSH have theirs.
    pub(super) questions: Places,
    /// What watchers were told last.
    pub(super) last_moment: LastMoment,
    /// Browsers that are logged in.
    pub(super) logins: Arc<Logins>,
    /// Whether callers come through a proxy, so that the address of a connection is not theirs.
    pub(super) is_behind_proxy: bool,
    /// Whether it has a certificate of its own.
    pub(super) has_tls: bool,
    /// How its cookies are named.
    pub(super) cookies: CookieNames,
    /// The identity provider, and what it publishes.
    provider: Current,
    /// The address of the page, without a slash at its end; `None` where no browser can call.
    pub(super) page_url: Option<String>,
    /// Whether the doors close.
    pub(super) stopped: watch::Receiver<bool>,
}

impl State {
    pub(super) fn new(doors: &Doors, since: SystemTime, around: Surroundings, stopped: watch::Receiver<bool>) -> State {
        State {
            hosts: doors.hosts().to_vec(),
            names_users: doors.names_users(),
            since,
            around,
            health: Health::default(),
            room_of_machine: OwnRoom::default(),
            room_of_network: OwnRoom::default(),
            refused: RefusedCalls::default(),
            verifier: Verifier::default(),
            self_checked: Mutex::default(),
            calls_of_machine: Arc::new(Semaphore::new(AT_ONCE)),
            calls_of_network: Arc::new(Semaphore::new(AT_ONCE)),
            reads: Reads::default(),
            followers: Places::new(FOLLOWERS, FOLLOWERS_OF_CALLER),
            watchers: Places::new(WATCHERS, WATCHERS_OF_CALLER),
            questions: Places::new(QUESTIONS, QUESTIONS_OF_CALLER),
            last_moment: LastMoment::default(),
            logins: doors.logins(),
            is_behind_proxy: doors.is_behind_proxy(),
            has_tls: doors.has_tls(),
            cookies: doors.cookies(),
            provider: Current::default(),
            page_url: doors.page_url(),
            stopped,
        }
    }

    /// Room for the event of a call from there.
    pub(super) fn own_room(&self, peer: Option<&Peer>) -> &OwnRoom {
        match peer {
            Some(Peer::Local(_)) => &self.room_of_machine,
            Some(Peer::Remote(_)) | None => &self.room_of_network,
        }
    }

    /// Whom it lets in now.
    pub(super) fn trust(&self) -> Trust {
        self.around.inside.borrow().trust.clone()
    }

    /// The identity provider that is configured now.
    ///
    /// # Errors
    /// 503 when it cannot be asked at all.
    pub(super) fn provider(&self) -> Result<Option<Arc<Provider>>, Problem> {
        let oidc = self.trust().oidc;
        Ok(oidc.map(|oidc| self.provider.of(&oidc)).transpose()?)
    }
}

/// A time as the API shows it: RFC 3339, UTC, milliseconds.
pub(super) fn time(time: SystemTime) -> String {
    chrono::DateTime::<chrono::Utc>::from(time).to_rfc3339_opts(chrono::SecondsFormat::Millis, true)
}
