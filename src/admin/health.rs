//! Alive and ready: the stores are looked at in the background, never for a call.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use axum::Json;
use axum::extract::State as Shared;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use tokio::task::JoinHandle;
use tokio::time::{MissedTickBehavior, interval};
use utoipa::ToSchema;

use super::state::{State, time};
use super::{fleet, self_check};
use crate::audit::SinkState;
use crate::metrics::Text;
use crate::stores::Store;

/// How often each store is looked at while somebody asks.
const EVERY: Duration = Duration::from_secs(2);

/// How often when nobody has asked for [`ASKED_WITHIN`]: a bucket bills each look.
const QUIETLY_EVERY: Duration = Duration::from_secs(60);
const ASKED_WITHIN: Duration = Duration::from_secs(90);

/// A store that does not answer within this time fails. With [`EVERY`], a failure shows within five seconds.
const ANSWERS_WITHIN: Duration = Duration::from_millis(2500);

/// How often it is seen whether it is time for a look, and whether one was answered.
const TICK: Duration = Duration::from_millis(250);

/// What was seen of the stores.
#[derive(Debug, Default)]
pub(super) struct Health {
    stores: Mutex<BTreeMap<String, Seen>>,
    /// What was seen of the disks of sinks.
    disks: Mutex<Disks>,
    /// When somebody asked last.
    asked: Mutex<Option<Instant>>,
}

/// What keeps disks from taking events, by the names of their sinks; and since when a look at them is not answered.
#[derive(Debug, Clone, Default)]
struct Disks {
    faults: Vec<(String, String)>,
    unanswered: Option<Instant>,
}

impl Disks {
    /// Sentences.
    fn reasons(&self) -> Vec<String> {
        let mut reasons: Vec<String> =
            self.faults.iter().map(|(sink, what)| format!("a sink of the events fails: {sink}: {what}")).collect();
        if let Some(since) = self.unanswered.filter(|since| since.elapsed() >= ANSWERS_WITHIN) {
            reasons.push(format!("the disks of the events do not answer for {} s", since.elapsed().as_secs()));
        }
        reasons
    }
}

/// What was seen of one store.
#[derive(Debug, Clone)]
pub(super) struct Seen {
    /// Why it does not answer; `None` when it does.
    pub(super) failure: Option<String>,
    /// Since when it is so.
    pub(super) since: SystemTime,
    /// When it was looked at last.
    pub(super) looked: SystemTime,
}

impl Health {
    /// What was seen last. Who asks is shown more from then on.
    pub(super) fn stores(&self) -> BTreeMap<String, Seen> {
        *self.asked() = Some(Instant::now());
        self.lock().clone()
    }

    /// What was seen last, for whoever does not want it to be looked at more often.
    fn seen(&self) -> BTreeMap<String, Seen> {
        self.lock().clone()
    }

    /// How often the stores are looked at now.
    fn pace(&self) -> Duration {
        let is_asked = self.asked().is_some_and(|asked| asked.elapsed() < ASKED_WITHIN);
        if is_asked { EVERY } else { QUIETLY_EVERY }
    }

    fn asked(&self) -> MutexGuard<'_, Option<Instant>> {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn disks(&self) -> MutexGuard<'_, Disks> {
        self.disks.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn saw(&self, store: &str, failure: Option<String>) {
        let now = SystemTime::now();
        let mut stores = self.lock();
        let before = stores.get(store).filter(|seen| seen.failure.is_some() == failure.is_some());
        match (before.is_none(), &failure) {
            (true, Some(what)) => tracing::warn!(store, what, "a store does not answer"),
            (true, None) if stores.contains_key(store) => tracing::info!(store, "the store answers again"),
            _ => {}
        }
        let since =
            stores.get(store).filter(|seen| seen.failure.is_some() == failure.is_some()).map_or(now, |s| s.since);
        stores.insert(store.to_owned(), Seen { failure, since, looked: now });
    }

    fn keep_only(&self, names: &[String]) {
        self.lock().retain(|name, _| names.contains(name));
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Seen>> {
        self.stores.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A look at a store that may take long: it is not asked again meanwhile, or each look would hold another thread of one that hangs.
struct Look {
    store: Arc<dyn Store>,
    began: Instant,
    answer: JoinHandle<Result<(), String>>,
}

impl Look {
    fn begin(store: Arc<dyn Store>) -> Look {
        let asked = store.clone();
        let answer = tokio::spawn(async move { asked.check().await.map_err(|error| error.to_string()) });
        Look { store, began: Instant::now(), answer }
    }
}

impl Drop for Look {
    fn drop(&mut self) {
        self.answer.abort();
    }
}

/// Looks at the stores and the disks of sinks until it is dropped.
pub(super) async fn watch(state: Arc<State>) {
    let mut looks: BTreeMap<String, Look> = BTreeMap::new();
    let mut disks: Option<JoinHandle<()>> = None;
    let mut ticks = interval(TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut counts: Option<JoinHandle<()>> = None;
    let mut last: Option<Instant> = None;
    loop {
        ticks.tick().await;
        for name in looks.keys().cloned().collect::<Vec<_>>() {
            settle(&state, &mut looks, &name).await;
        }
        if last.is_some_and(|last| last.elapsed() < state.health.pace()) {
            continue;
        }
        last = Some(Instant::now());
        // One look at a time: a disk that hangs holds one thread.
        if disks.as_ref().is_none_or(JoinHandle::is_finished) {
            disks = Some(look_at_disks(state.clone()));
        }
        // By itself: a disk of a sink for which nothing waits is nobody's failure.
        if counts.as_ref().is_none_or(JoinHandle::is_finished) {
            let state = state.clone();
            counts = Some(tokio::task::spawn_blocking(move || state.around.recorder.count_set_aside()));
        }
        let stores = state.around.inside.borrow().stores.clone();
        let names: Vec<String> = stores.iter().map(|store| store.name().to_owned()).collect();
        // After a reload a name may mean another store.
        looks.retain(|_, look| stores.iter().any(|store| Arc::ptr_eq(store, &look.store)));
        state.health.keep_only(&names);
        for (name, store) in names.into_iter().zip(stores) {
            looks.entry(name).or_insert_with(|| Look::begin(store));
        }
    }
}

fn look_at_disks(state: Arc<State>) -> JoinHandle<()> {
    state.health.disks().unanswered = Some(Instant::now());
    tokio::task::spawn_blocking(move || {
        let faults = state.around.recorder.look_at_disks();
        let before = std::mem::replace(&mut *state.health.disks(), Disks { faults, unanswered: None });
        let now = state.health.disks().clone();
        for (sink, what) in now.faults.iter().filter(|fault| !before.faults.contains(fault)) {
            tracing::warn!(sink, what, "a sink cannot take events");
        }
    })
}

/// Takes a look's answer, if there is one; one that takes long fails, and is waited for.
async fn settle(state: &State, looks: &mut BTreeMap<String, Look>, name: &str) {
    let Some(look) = looks.get_mut(name) else { return };
    if look.answer.is_finished() {
        let answer = (&mut look.answer).await.unwrap_or_else(|error| Err(error.to_string()));
        state.health.saw(name, answer.err());
        looks.remove(name);
    } else if look.began.elapsed() >= ANSWERS_WITHIN {
        let seconds = look.began.elapsed().as_secs();
        state.health.saw(name, Some(format!("no answer for {seconds} s")));
    }
}

/// Whether the gateway takes logins and can do what they ask for.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Readiness {
    /// Whether it is
    pub(super) ready: bool,
    /// Why it is not; a sentence each
    pub(super) reasons: Vec<String>,
}

impl Readiness {
    pub(super) fn of(state: &State) -> Readiness {
        Readiness::judge(state, state.health.stores())
    }

    fn judge(state: &State, stores: BTreeMap<String, Seen>) -> Readiness {
        let mut reasons = Vec::new();
        if *state.around.draining.borrow() {
            reasons.push("the gateway drains: it takes no new connections".to_owned());
        }
        let sinks = state.around.recorder.sinks().into_iter().filter(|sink| sink.is_required);
        let failing: Vec<SinkState> = sinks.filter(|sink| sink.failure.is_some()).collect();
        let mut disks = state.health.disks().clone();
        // What the sink found out itself is said once.
        disks.faults.retain(|(name, _)| !failing.iter().any(|sink| sink.name == *name));
        reasons.extend(
            failing.into_iter().filter_map(|sink| Some(format!("a sink of the events fails: {}", sink.failure?))),
        );
        reasons.extend(disks.reasons());
        reasons.extend(self_check::reason(state));
        reasons.extend(witness_reason(state));
        if reasons.is_empty()
            && let Err(error) = state.around.recorder.ready()
        {
            reasons.push(error.to_string());
        }
        let stores = stores.into_iter();
        reasons.extend(stores.filter_map(|(name, seen)| Some(format!("the store {name} fails: {}", seen.failure?))));
        Readiness { ready: reasons.is_empty(), reasons }
    }
}

/// Why the gateway is not ready, if a witness that fails or contradicts is to be a reason.
fn witness_reason(state: &State) -> Option<String> {
    let witness = state.around.recorder.witness().filter(|witness| witness.judges_readiness)?;
    let fails = witness.failure.map(|failure| format!("the witness of the trail fails: {failure}"));
    witness.contradiction.or(fails)
}

/// Whether the process answers at all
#[utoipa::path(get, path = "/healthz", tag = "health", security(()), responses((status = 200, description = "Alive", body = String)))]
pub(super) async fn alive() -> &'static str {
    "ok\n"
}

/// Whether the gateway takes logins, its sinks write and its stores answer
#[utoipa::path(get, path = "/readyz", tag = "health", security(()), responses(
    (status = 200, description = "Ready", body = Readiness),
    (status = 503, description = "Not ready, and why", body = Readiness),
))]
pub(super) async fn ready(Shared(state): Shared<Arc<State>>) -> Response {
    let readiness = Readiness::of(&state);
    let status = if readiness.ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, [(header::CACHE_CONTROL, "no-store")], Json(readiness)).into_response()
}

/// Numbers for Prometheus, in its text form
#[utoipa::path(get, path = "/metrics", tag = "health", responses((status = 200, description = "Text form 0.0.4", body = String, content_type = "text/plain")))]
pub(super) async fn metrics(Shared(state): Shared<Arc<State>>) -> Response {
    numbers(&state, true)
}

/// The same for everybody: without the users, unless the configuration says so
pub(super) async fn metrics_for_all(Shared(state): Shared<Arc<State>>) -> Response {
    numbers(&state, state.names_users)
}

fn numbers(state: &State, names_users: bool) -> Response {
    let text = state.around.metrics.render(names_users) + &readings(state);
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], text).into_response()
}

fn truth(is_so: bool) -> f64 {
    if is_so { 1.0 } else { 0.0 }
}

#[allow(clippy::cast_precision_loss)]
fn amount(bytes: u64) -> f64 {
    bytes as f64
}

/// The metrics of the witness, where there is one.
fn witness_readings(state: &State, text: &mut Text) {
    let Some(witness) = state.around.recorder.witness() else { return };
    text.gauge(
        "witness_failing",
        "Whether the witness takes no checkpoint: 1 or 0.",
        u8::from(witness.failure.is_some()),
    );
    text.gauge(
        "witness_contradicts",
        "Whether the witness saw something else than the trail has, when this process began: 1 or 0.",
        u8::from(witness.contradiction.is_some()),
    );
    let at = witness.written.and_then(|(_, at)| at.duration_since(SystemTime::UNIX_EPOCH).ok());
    if let Some(at) = at {
        text.gauge("witness_written_timestamp_seconds", "When the witness last took a checkpoint.", at.as_secs());
    }
}

/// What is not counted but looked at.
fn readings(state: &State) -> String {
    let mut text = Text::default();
    let readiness = Readiness::judge(state, state.health.seen());
    text.labelled("build_info", "The version.", "gauge", [([("version", env!("CARGO_PKG_VERSION"))], 1.0)]);
    text.gauge("ready", "Whether the gateway takes logins: 1 or 0.", u8::from(readiness.ready));
    text.gauge("draining", "Whether the gateway drains: 1 or 0.", u8::from(*state.around.draining.borrow()));
    text.gauge("bans", "Addresses that are banned now.", state.around.gate.bans().len());
    self_check::readings(state, &mut text);
    witness_readings(state, &mut text);
    fleet::readings(state, &mut text);
    let stores = state.health.seen();
    let stores = stores.iter().map(|(name, seen)| ([("store", name.as_str())], truth(seen.failure.is_some())));
    text.labelled("store_failing", "Whether a store does not answer: 1 or 0.", "gauge", stores);
    let sinks = state.around.recorder.sinks();
    let mut of_sinks = |name, help, value: fn(&SinkState) -> Option<f64>| {
        let samples = sinks.iter().filter_map(|sink| Some(([("sink", sink.name.as_str())], value(sink)?)));
        text.labelled(name, help, "gauge", samples);
    };
    of_sinks("sink_failing", "Whether a sink cannot be written: 1 or 0.", |sink| Some(truth(sink.failure.is_some())));
    of_sinks("sink_required", "Whether operations wait for a sink: 1 or 0.", |sink| Some(truth(sink.is_required)));
    of_sinks("sink_behind_bytes", "Bytes that a sink has not written yet.", |sink| {
        Some(amount((sink.backlog + sink.owed) as u64))
    });
    of_sinks("spool_bytes", "Bytes in a spool.", |sink| Some(amount(sink.spool.as_ref()?.held)));
    of_sinks("spool_limit_bytes", "The most bytes a spool may hold.", |sink| Some(amount(sink.spool.as_ref()?.limit)));
    of_sinks("spool_stuck", "Whether nothing of a spool is delivered: 1 or 0.", |sink| {
        Some(truth(sink.spool.as_ref()?.trouble.is_some()))
    });
    of_sinks("undelivered", "Deliveries of a sink that were refused for good and are set aside.", |sink| {
        Some(amount(sink.spool.as_ref()?.undelivered))
    });
    text.finish()
}

/// A store, and whether it answers
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct StoreShown {
    /// The name in the configuration
    name: String,
    /// Whether it answers; absent until it was looked at
    #[serde(skip_serializing_if = "Option::is_none")]
    answers: Option<bool>,
    /// Why it does not
    #[serde(skip_serializing_if = "Option::is_none")]
    failure: Option<String>,
    /// Since when it is so
    #[serde(skip_serializing_if = "Option::is_none")]
    since: Option<String>,
    /// When it was looked at last
    #[serde(skip_serializing_if = "Option::is_none")]
    looked: Option<String>,
}

/// The stores
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Stores {
    stores: Vec<StoreShown>,
}

impl Stores {
    pub(super) fn of(state: &State) -> Stores {
        let seen = state.health.stores();
        let stores = state.around.inside.borrow().stores.clone();
        let show = |store: &Arc<dyn Store>| {
            let seen = seen.get(store.name());
            StoreShown {
                name: store.name().to_owned(),
                answers: seen.map(|seen| seen.failure.is_none()),
                failure: seen.and_then(|seen| seen.failure.clone()),
                since: seen.map(|seen| time(seen.since)),
                looked: seen.map(|seen| time(seen.looked)),
            }
        };
        Stores { stores: stores.iter().map(show).collect() }
    }
}

/// The stores, and whether each answers
#[utoipa::path(get, path = "/stores", tag = "state", responses((status = 200, description = "All of them", body = Stores)))]
pub(super) async fn stores(Shared(state): Shared<Arc<State>>) -> Json<Stores> {
    Json(Stores::of(&state))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stores_are_looked_at_often_only_while_somebody_asks() {
        let health = Health::default();
        assert_eq!(health.pace(), QUIETLY_EVERY);
        health.stores();
        assert_eq!(health.pace(), EVERY);
        *health.asked() = Instant::now().checked_sub(ASKED_WITHIN);
        assert_eq!(health.pace(), QUIETLY_EVERY);
    }

    #[test]
    fn a_failure_shows_within_five_seconds() {
        assert!(EVERY + ANSWERS_WITHIN + 2 * TICK <= Duration::from_secs(5));
        let disks = |seconds| Disks {
            faults: Vec::new(),
            unanswered: Instant::now().checked_sub(Duration::from_secs(seconds)),
        };
        assert!(disks(1).reasons().is_empty());
        assert!(disks(3).reasons()[0].starts_with("the disks of the events do not answer for 3 s"));
    }
}
