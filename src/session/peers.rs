//! What the gateways of a fleet share, as one of them sees it. There are two makers: [`Alone`], and `fleet`, over Redis.

use std::fmt::Debug;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use tokio::sync::{broadcast, watch};

use super::gate::Source;
use super::{Farewell, LiveSession, Progress};

/// The other gateways of a fleet.
///
/// Nothing here is a truth of its own: what others have is as they said last, and whatever is asked of them may be lost.
#[async_trait]
pub trait Peers: Debug + Send + Sync {
    /// How the fleet is; `None` for a gateway that belongs to none.
    fn standing(&self) -> Option<Standing>;

    /// Takes one of the `limit` places that the user of a session has over all gateways. Waits at most a few seconds; when the others
    /// cannot be asked, the place is given: then each gateway keeps the limit for itself.
    ///
    /// The session has to be in the registry; when it leaves that, the place is free again.
    async fn claim(&self, session: &LiveSession, limit: usize) -> bool;

    /// The gateways, this one included.
    ///
    /// # Errors
    /// A sentence, when the others cannot be asked.
    async fn gateways(&self) -> Result<Vec<Gateway>, String>;

    /// The sessions of the other gateways, in the order of their ids, as of the last seconds.
    async fn sessions(&self) -> Arc<Elsewhere>;

    /// The events of the other gateways from now on, as they tell them; `None` for a gateway that belongs to no fleet. Nobody waits for
    /// whoever follows, and some may be lost: the trails have all of them.
    fn follow(&self) -> Option<Following>;

    /// Who tells the trail of changes of the users of a source: one of the gateways, as long as it asks again. What this gateway has told
    /// since is made known to the others with the same call. `every` is how often each of them looks for changes.
    async fn who_tells(&self, source: &str, every: Duration, told: &[UserState], asked: &[UserState]) -> WhoTells;

    /// Asks a gateway to end one of its sessions; who asks and why is in `why`.
    ///
    /// # Errors
    /// A sentence, when it could not be asked.
    async fn end(&self, gateway: &str, session: &str, why: &Farewell) -> Result<(), String>;

    /// Asks every other gateway to lift a ban, and forgets what led to it.
    ///
    /// # Errors
    /// A sentence, when they could not be asked.
    async fn lift(&self, source: Source) -> Result<(), String>;
}

/// How a gateway stands to its fleet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standing {
    /// The fleet's name.
    pub fleet: String,
    /// Why the shared state cannot be reached; `None` while it can.
    pub alone: Option<String>,
    /// Since when it is so.
    pub since: SystemTime,
    /// How often somebody else changed what only gateways write.
    pub tampered: u64,
}

/// A gateway of the fleet, as it said last.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gateway {
    /// Its id: its name, and digits that are its process's own.
    pub id: String,
    /// Its name, as in the events.
    pub name: String,
    /// Its version of Lockgate.
    pub version: String,
    /// When it began; `None` when what it said cannot be read.
    pub since: Option<SystemTime>,
    /// Whether it drains.
    pub draining: bool,
    /// How many sessions it has.
    pub sessions: u64,
    /// How long ago it said so.
    pub heard: Duration,
    /// Whether it is late in saying so: it is stuck, or cut off, or was killed.
    pub silent: bool,
    /// Whether it is this one.
    pub own: bool,
}

/// The sessions of the other gateways.
#[derive(Debug, Clone, Default)]
pub struct Elsewhere {
    /// In the order of their ids.
    pub sessions: Vec<Distant>,
    /// How many there are, also those that are not listed because there are too many of them.
    pub total: usize,
    /// Why sessions may be missing.
    pub incomplete: Option<String>,
}

/// A session of another gateway.
#[derive(Debug, Clone)]
pub struct Distant {
    /// The gateway's id.
    pub gateway: String,
    /// The gateway's name.
    pub server: String,
    /// Who.
    pub session: LiveSession,
    /// What it had done when the gateway said so.
    pub progress: Progress,
}

/// The events of the other gateways, as they come.
#[derive(Debug)]
pub struct Following {
    /// What they tell. Whoever is slow in reading it loses the oldest.
    pub told: broadcast::Receiver<Arc<Told>>,
    /// Who tells it; `None` until that is known.
    pub tellers: watch::Receiver<Option<Tellers>>,
}

/// What another gateway told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Told {
    /// An event of its trail.
    Event {
        /// The gateway's name.
        gateway: String,
        /// The line, without its newline: a JSON object that begins with `{"`, on one line, of an activity that is known. Nothing else of it
        /// is certain.
        line: String,
    },
    /// Before what it tells next, events are missing.
    Gap {
        /// The gateway's name.
        gateway: String,
    },
}

/// Which gateways tell their events.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tellers {
    /// Their names, without this one's.
    pub gateways: Vec<String>,
    /// Why events may be missing.
    pub incomplete: Option<String>,
}

/// A user of a source, and what stands for what the user is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UserState {
    /// The name.
    pub user: Arc<str>,
    /// The same for the same user with the same keys; without spaces.
    pub state: String,
}

/// Who tells the trail of changes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WhoTells {
    /// This gateway, for there are no others.
    Own,
    /// The others cannot be asked.
    Unknown {
        /// How long to hold the changes back.
        hold_back: Duration,
    },
    /// The others know.
    Asked {
        /// Who tells what was not told yet.
        teller: Teller,
        /// Whether a gateway has told of the change to each state that was asked for.
        told: Vec<bool>,
        /// How long to hold back what another gateway is to tell.
        hold_back: Duration,
    },
}

/// Which gateway tells the trail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Teller {
    /// This one, as before.
    Own,
    /// This one from now on: the one before it is gone, or what it said of itself is. It may still say what it has told.
    OwnFromNow,
    /// Another one.
    Other,
}

/// A gateway without a fleet.
#[derive(Debug, Clone, Copy, Default)]
pub struct Alone;

#[async_trait]
impl Peers for Alone {
    fn standing(&self) -> Option<Standing> {
        None
    }

    async fn claim(&self, _: &LiveSession, _: usize) -> bool {
        true
    }

    async fn gateways(&self) -> Result<Vec<Gateway>, String> {
        Ok(Vec::new())
    }

    async fn sessions(&self) -> Arc<Elsewhere> {
        Arc::default()
    }

    fn follow(&self) -> Option<Following> {
        None
    }

    async fn who_tells(&self, _: &str, _: Duration, _: &[UserState], _: &[UserState]) -> WhoTells {
        WhoTells::Own
    }

    async fn end(&self, _: &str, _: &str, _: &Farewell) -> Result<(), String> {
        Err("this gateway belongs to no fleet".to_owned())
    }

    async fn lift(&self, _: Source) -> Result<(), String> {
        Ok(())
    }
}
