//! The state of the gateway as it changes, for pages that show it: one call, however long somebody watches.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::Extension;
use axum::body::{Body, Bytes};
use axum::extract::State as Shared;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use futures_util::stream::unfold;
use serde::Serialize;
use tokio::sync::Mutex as AsyncMutex;
use tokio::time::{Instant, sleep_until};
use utoipa::ToSchema;

use super::caller::{Caller, Peer};
use super::chain::VerificationProgress;
use super::control::Status;
use super::everyone::Everyone;
use super::health::Stores;
use super::login::is_still_in;
use super::places::{Place, Taken};
use super::problem::Problem;
use super::sessions::SessionShown;
use super::state::State;

/// How many may watch at once, over the socket and over the network, and how many of the latter for one caller.
pub(super) const WATCHERS: usize = 64;
pub(super) const WATCHERS_OF_CALLER: usize = 16;

/// How often a watcher is told.
const EVERY: Duration = Duration::from_secs(1);

/// How many sessions are shown: those that move most. All are looked at, for the totals.
const SHOWN: usize = 200;

/// How many open files of each count towards its speed, and how many are shown.
const FILES_COUNTED: usize = 1000;
const FILES: usize = 5;

/// How long one look serves all who watch.
const SERVES_FOR: Duration = Duration::from_millis(500);

/// The last look at the gateway. A look goes through all sessions, of which there may be ten thousand: it is made once for all who watch.
#[derive(Debug, Default)]
pub(super) struct LastMoment(AsyncMutex<Option<(Instant, Bytes)>>);

impl LastMoment {
    /// The event that watchers are sent.
    async fn of(&self, state: &State) -> Option<Bytes> {
        let mut last = self.0.lock().await;
        if let Some((_, event)) = last.as_ref().filter(|(when, _)| when.elapsed() < SERVES_FOR) {
            return Some(event.clone());
        }
        let moment = serde_json::to_string(&Moment::of(state).await).ok()?;
        let event = Bytes::from(format!("event: now\ndata: {moment}\n\n"));
        *last = Some((Instant::now(), event.clone()));
        Some(event)
    }
}

/// The gateway at one moment
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Moment {
    status: Status,
    stores: Stores,
    /// Live sessions, in a fleet those of all gateways, those that move most first: up to two hundred
    sessions: Vec<SessionShown>,
    /// How many there are
    sessions_total: usize,
    /// Bytes in a second that are received
    speed_in: u64,
    /// Bytes in a second that are sent
    speed_out: u64,
    /// Logins that succeeded since the start
    logins: u64,
    /// Addresses that are banned
    bans: usize,
    /// The verification of the trail that is under way, or the last one of this process
    #[serde(skip_serializing_if = "Option::is_none")]
    verification: Option<VerificationProgress>,
}

impl Moment {
    async fn of(state: &State) -> Moment {
        let everyone = Everyone::of(state).await;
        let live = everyone.all();
        let mut sessions: Vec<_> = live.iter().filter_map(|one| one.shown(state, FILES_COUNTED)).collect();
        let sum = |speed: fn(&SessionShown) -> u64| sessions.iter().map(speed).sum();
        let (speed_in, speed_out) = (sum(SessionShown::speed_in), sum(SessionShown::speed_out));
        sessions.sort_by_cached_key(|one| (!one.is_moving(), one.began()));
        sessions.truncate(SHOWN);
        sessions.iter_mut().for_each(|session| session.keep_files(FILES));
        // A row stays where it is while its session comes to rest and moves again.
        sessions.sort_by_cached_key(SessionShown::began);
        Moment {
            status: Status::of(state),
            stores: Stores::of(state),
            sessions,
            sessions_total: live.len() + everyone.unlisted(),
            speed_in,
            speed_out,
            logins: state.around.metrics.logins.get(),
            bans: state.around.gate.bans().len(),
            verification: state.verifier.progress(),
        }
    }
}

/// How the gateway is and who is connected, as server-sent events: `event: now` once a second, `data` as described
#[utoipa::path(get, path = "/status/stream", tag = "state", responses(
    (status = 200, description = "It goes on until either side ends it", body = Moment, content_type = "text/event-stream"),
))]
pub(super) async fn stream(
    Shared(state): Shared<Arc<State>>,
    Extension(caller): Extension<Caller>,
    Extension(peer): Extension<Peer>,
) -> Result<Response, Problem> {
    let place = state.watchers.take(&peer, &caller).map_err(|taken| match taken {
        Taken::ByAll(most) => Problem::unavailable(format!("{most} watch already; close one")),
        Taken::ByCaller(most) => Problem::unavailable(format!("{most} watch already as {}; close one", caller.name)),
    })?;
    let watcher = Watcher { state, caller, next: Instant::now(), _place: place };
    let body = Body::from_stream(unfold(watcher, Watcher::tell));
    Ok(([(CONTENT_TYPE, "text/event-stream")], body).into_response())
}

/// One who watches.
struct Watcher {
    state: Arc<State>,
    caller: Caller,
    next: Instant,
    _place: Place,
}

impl Watcher {
    /// The next moment; `None` at the gateway's end, and when the caller would not be let in any more.
    async fn tell(mut self) -> Option<(Result<Bytes, Infallible>, Watcher)> {
        let mut stopped = self.state.stopped.clone();
        tokio::select! {
            () = sleep_until(self.next) => {}
            _ = stopped.wait_for(|stopped| *stopped) => return None,
        }
        self.next = Instant::now() + EVERY;
        if !is_still_in(&self.state, &self.caller) {
            return None;
        }
        let event = self.state.last_moment.of(&self.state).await?;
        Some((Ok(event), self))
    }
}
