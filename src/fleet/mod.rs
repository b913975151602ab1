//! The shared state of a fleet of gateways, in Redis or Valkey: who is there, their sessions, places of users with a limit, bans.
//!
//! Nothing whose loss would harm is kept there alone, and what stands there is believed within bounds only. While Redis is away, a gateway
//! continues alone. `docs/FLEET.md` says what that means for each part.
//!
//! From below: `dial` connects over `frames`, which bounds every answer; `servers` chooses among several; `calls` makes calls of `scripts`
//! and reads their answers into types (`described`, `news`); `keeper` holds the connection and says several times a second what is new, in
//! turns (`turn`). While somebody follows the events of all gateways, `telling` tells this one's and `hearing` hears the others' (`lines`).
//! [`Fleet`] answers the doors.

mod calls;
mod described;
mod dial;
mod frames;
mod hearing;
mod keeper;
mod keys;
mod lines;
mod member;
mod news;
mod places;
mod scripts;
mod servers;
mod settings;
mod standing;
mod telling;
mod turn;
mod users;
mod view;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::{Mutex as AsyncMutex, watch};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{sleep, timeout};

use crate::audit::Recorder;
use crate::session::gate::{Gate, Source};
use crate::session::{
    Elsewhere, Farewell, Following, Gateway, LiveSession, Peers, Registry, Standing, UserState, WhoTells,
};

use hearing::Hub;
use member::Member;
use news::End;
pub use servers::reach;
pub use settings::{Address, Credentials, FleetName, Parsed, Sentinel, Settings, USUAL_LEASE};
pub use users::UsersSeal;
use view::Seen;

/// How long a login may wait for the answer whether its user has a place.
const CLAIMED_WITHIN: Duration = Duration::from_secs(1);

/// After how long a place is asked for once more: a session of the user that has just ended elsewhere may not be known to have ended.
const CLAIMED_AGAIN_AFTER: Duration = Duration::from_millis(500);

/// How long the end of the gateway waits until the others know of it.
const LEFT_WITHIN: Duration = Duration::from_secs(2);

/// A gateway's part in its fleet.
#[derive(Debug)]
pub struct Fleet {
    member: Arc<Member>,
    /// What the others have, as it was seen last.
    seen: AsyncMutex<Option<Seen>>,
    hub: Arc<Hub>,
}

/// Keeps a gateway in its fleet.
#[derive(Debug)]
pub struct Kept {
    stop: watch::Sender<bool>,
    task: JoinHandle<()>,
    /// They end when this is dropped.
    events: JoinSet<()>,
}

impl Fleet {
    /// A gateway of this name, whose sessions are in `registry`. Nothing is said to anybody yet.
    pub fn new(
        settings: Settings,
        server: &str,
        registry: Registry,
        recorder: Recorder,
        seal: UsersSeal,
    ) -> Arc<Fleet> {
        Arc::new(Fleet {
            member: Arc::new(Member::new(settings, server, registry, recorder, seal)),
            seen: AsyncMutex::default(),
            hub: Arc::default(),
        })
    }

    /// Connects, says what is new and hears what the others say, until it is stopped. The bans are those of `gate`, the events those of the
    /// file `trail`; without one, the others do not learn of them.
    pub fn keep(&self, gate: Arc<Gate>, draining: watch::Receiver<bool>, trail: Option<&Path>) -> Kept {
        gate.share();
        let (stop, stopped) = watch::channel(false);
        let task = tokio::spawn(keeper::keep(self.member.clone(), gate, draining, stopped));
        let mut events = JoinSet::new();
        events.spawn(hearing::hear(self.member.clone(), self.hub.clone()));
        if let Some(trail) = trail {
            events.spawn(telling::tell(self.member.clone(), trail.to_owned()));
        }
        Kept { stop, task, events }
    }
}

impl Fleet {
    /// Asks once for a place. Without an answer it is given: the limit holds here, as in a gateway without a fleet.
    async fn claim_once(&self, places: &str, session: &LiveSession, limit: usize) -> bool {
        let Some(calls) = self.member.calls() else { return true };
        let ended = self.member.places.ended(places, &self.member.registry);
        let claim = calls.claim(places, limit, &session.session_id, &ended);
        let Ok(Ok((is_given, tampered))) = timeout(CLAIMED_WITHIN, claim).await else { return true };
        self.member.note_tampering(tampered, "the places of a user");
        is_given
    }
}

impl Kept {
    /// Leaves the fleet: the others know soon that this gateway is not there any more.
    pub async fn stop(mut self) {
        self.events.abort_all();
        self.stop.send_replace(true);
        if timeout(LEFT_WITHIN, &mut self.task).await.is_err() {
            tracing::debug!("the fleet does not learn that this gateway stops; it disappears when its lease ends");
        }
        self.task.abort();
    }
}

#[async_trait]
impl Peers for Fleet {
    fn standing(&self) -> Option<Standing> {
        Some(self.member.standing.now(self.member.settings.name.as_str()))
    }

    async fn claim(&self, session: &LiveSession, limit: usize) -> bool {
        let places = self.member.keys.places(&session.user, session.jump.is_some());
        // Known from now on, so that it is given back even if nobody waits for the answer.
        self.member.places.ask(&places, &session.session_id);
        let mut is_given = self.claim_once(&places, session, limit).await;
        if !is_given {
            sleep(CLAIMED_AGAIN_AFTER).await;
            is_given = self.claim_once(&places, session, limit).await;
        }
        if is_given {
            self.member.places.take(&places, &session.session_id);
        }
        is_given
    }

    async fn gateways(&self) -> Result<Vec<Gateway>, String> {
        view::gateways(&self.member).await
    }

    async fn sessions(&self) -> Arc<Elsewhere> {
        let mut seen = self.seen.lock().await;
        if let Some(seen) = seen.as_ref().filter(|seen| seen.is_fresh()) {
            return seen.elsewhere.clone();
        }
        let elsewhere = Arc::new(view::elsewhere(&self.member).await);
        *seen = Some(Seen::now(elsewhere.clone()));
        elsewhere
    }

    fn follow(&self) -> Option<Following> {
        Some(self.hub.follow())
    }

    async fn who_tells(&self, source: &str, every: Duration, told: &[UserState], asked: &[UserState]) -> WhoTells {
        users::who_tells(&self.member, source, every, told, asked).await
    }

    async fn end(&self, gateway: &str, session: &str, why: &Farewell) -> Result<(), String> {
        let end = End {
            gateway: gateway.to_owned(),
            session: session.to_owned(),
            reason: why.message.clone(),
            by: why.by.clone().unwrap_or_default(),
            through: self.member.server.clone(),
        };
        let calls = self.member.reachable()?;
        let ((), tampered) = calls.tell(&end.write()).await.map_err(|error| error.to_string())?;
        self.member.note_tampering(tampered, "the news");
        // Whoever looks next sees what became of it.
        *self.seen.lock().await = None;
        Ok(())
    }

    async fn lift(&self, source: Source) -> Result<(), String> {
        let calls = self.member.reachable()?;
        let ((), tampered) = calls.lift(source).await.map_err(|error| error.to_string())?;
        self.member.note_tampering(tampered, "the bans");
        Ok(())
    }
}
