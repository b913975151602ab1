//! The state of the gateway as a whole, and what the process does when asked.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::State as Shared;
use axum::http::StatusCode;
use serde::Serialize;
use tokio::sync::oneshot;
use tokio::time::timeout;
use utoipa::ToSchema;

use super::Wish;
use super::fleet::FleetShown;
use super::health::Readiness;
use super::problem::Problem;
use super::state::{State, time};

/// How long a reload may take until it is answered; it goes on.
const RELOADED_WITHIN: Duration = Duration::from_secs(50);

/// The gateway in one look
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Status {
    /// The version of Lockgate
    version: &'static str,
    /// The server's name
    server: String,
    /// Since when it serves
    since: String,
    /// Where the SSH door listens
    listens: Vec<String>,
    /// Whether it takes no connections any more
    draining: bool,
    /// As `/readyz`
    readiness: Readiness,
    /// Live sessions
    sessions: usize,
    /// How far the trail is
    trail: TrailInBrief,
    /// The sinks of the events
    sinks: Vec<SinkShown>,
    /// The fleet, if the gateway belongs to one
    #[serde(skip_serializing_if = "Option::is_none")]
    fleet: Option<FleetShown>,
}

/// How far the trail is
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct TrailInBrief {
    /// The number of the newest event
    sequence: u64,
    /// The number of the newest event that every required sink has
    acknowledged: u64,
    /// The number of the newest checkpoint of this process
    #[serde(skip_serializing_if = "Option::is_none")]
    checkpoint: Option<u64>,
    /// When it was made
    #[serde(skip_serializing_if = "Option::is_none")]
    checkpoint_time: Option<String>,
    /// Whether checkpoints are signed
    signed: bool,
}

/// A sink of the events
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct SinkShown {
    /// Where it writes
    name: String,
    /// Whether operations wait for it
    required: bool,
    /// Why it cannot be written
    #[serde(skip_serializing_if = "Option::is_none")]
    failure: Option<String>,
}

impl Status {
    pub(super) fn of(state: &State) -> Status {
        let around = &state.around;
        let sinks = around.recorder.sinks().into_iter();
        let chain = around.recorder.chain();
        Status {
            version: env!("CARGO_PKG_VERSION"),
            server: around.server.clone(),
            since: time(state.since),
            listens: around.listens.iter().map(ToString::to_string).collect(),
            draining: *around.draining.borrow(),
            readiness: Readiness::of(state),
            sessions: around.registry.list().len(),
            trail: TrailInBrief {
                sequence: chain.last,
                acknowledged: chain.acknowledged,
                checkpoint: chain.checkpoint.map(|(number, _)| number),
                checkpoint_time: chain.checkpoint.map(|(_, at)| time(at)),
                signed: chain.key.is_some(),
            },
            sinks: sinks
                .map(|sink| SinkShown { name: sink.name, required: sink.is_required, failure: sink.failure })
                .collect(),
            fleet: FleetShown::of(state),
        }
    }
}

/// The gateway in one look
#[utoipa::path(get, path = "/status", tag = "state", responses((status = 200, description = "How it is", body = Status)))]
pub(super) async fn status(Shared(state): Shared<Arc<State>>) -> Json<Status> {
    Json(Status::of(&state))
}

/// What was done
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Done {
    /// A sentence
    done: String,
}

/// What a reload did
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Reloaded {
    /// A sentence
    done: String,
    /// The parts that the file has otherwise now, and that only a restart changes
    waits_for_restart: Vec<String>,
}

impl Reloaded {
    fn of(waits_for_restart: Vec<String>) -> Reloaded {
        let done = "the new configuration holds for new connections";
        let done = match waits_for_restart.is_empty() {
            true => done.to_owned(),
            false => format!("{done}, except for {}: restart to change that", waits_for_restart.join(", ")),
        };
        Reloaded { done, waits_for_restart }
    }
}

/// Reads the configuration again, as SIGHUP does
#[utoipa::path(post, path = "/reload", tag = "control", responses(
    (status = 200, description = "The new configuration holds, except for what waits for a restart", body = Reloaded),
    (status = 409, description = "The configuration cannot be used, and the old one stays; or it holds, and a changed key of the trail cannot be used", body = Problem, content_type = "application/problem+json"),
    (status = 503, description = "It takes long, or the gateway is ending", body = Problem, content_type = "application/problem+json"),
))]
pub(super) async fn reload(Shared(state): Shared<Arc<State>>) -> Result<Json<Reloaded>, Problem> {
    let (answer, answered) = oneshot::channel();
    let wished = state.around.wishes.send(Wish::Reload(answer)).await;
    wished.map_err(|_| Problem::unavailable("the gateway is ending"))?;
    match timeout(RELOADED_WITHIN, answered).await {
        Ok(Ok(Ok(waits_for_restart))) => Ok(Json(Reloaded::of(waits_for_restart))),
        Ok(Ok(Err(what))) => Err(Problem::new(StatusCode::CONFLICT, what)),
        Ok(Err(_)) => Err(Problem::unavailable("another reload or the end of the gateway came in between")),
        Err(_) => Err(Problem::unavailable("the reload takes long; the log says how it ends")),
    }
}

/// Takes no new connections, lets transfers finish within `limits.drain`, then ends, as SIGTERM does
#[utoipa::path(post, path = "/drain", tag = "control", responses(
    (status = 200, description = "It drains", body = Done),
    (status = 503, description = "The gateway is ending", body = Problem, content_type = "application/problem+json"),
))]
pub(super) async fn drain(Shared(state): Shared<Arc<State>>) -> Result<Json<Done>, Problem> {
    let wished = state.around.wishes.send(Wish::Drain).await;
    wished.map_err(|_| Problem::unavailable("the gateway is ending"))?;
    let sessions = state.around.registry.list().len();
    let sessions = if sessions == 1 { "1 session".to_owned() } else { format!("{sessions} sessions") };
    Ok(Json(Done { done: format!("draining: no new connections; {sessions} may finish their transfers") }))
}
