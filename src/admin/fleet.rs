//! The fleet: whether this gateway is together with the others, and who they are.

use std::sync::Arc;
use std::time::SystemTime;

use axum::Json;
use axum::extract::State as Shared;
use serde::Serialize;
use utoipa::ToSchema;

use super::problem::Problem;
use super::state::{State, time};
use crate::metrics::Text;
use crate::session::{Gateway, Standing};

/// A gateway's fleet, and whether the gateway is alone
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct FleetShown {
    /// The fleet's name
    name: String,
    /// Why the shared state cannot be reached; absent while it can
    #[serde(skip_serializing_if = "Option::is_none")]
    alone: Option<String>,
    /// Since when it is, or is not, alone
    since: String,
    /// How often somebody else changed the shared state, since the start
    tampered: u64,
}

impl FleetShown {
    /// `None` without a fleet.
    pub(super) fn of(state: &State) -> Option<FleetShown> {
        let Standing { fleet, alone, since, tampered } = state.around.peers.standing()?;
        Some(FleetShown { name: fleet, alone, since: time(since), tampered })
    }
}

/// A gateway of the fleet
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct GatewayShown {
    /// The server's name
    name: String,
    /// The name, and digits of the process
    id: String,
    /// The version of Lockgate
    version: String,
    /// Since when it serves
    #[serde(skip_serializing_if = "Option::is_none")]
    since: Option<String>,
    /// Live sessions
    sessions: u64,
    /// Whether it drains
    draining: bool,
    /// How many seconds ago it was last heard
    heard_seconds: u64,
    /// Whether it is late: it is stuck, cut off or was killed
    silent: bool,
    /// Whether it is the one that was asked
    own: bool,
}

impl GatewayShown {
    fn of(gateway: Gateway) -> GatewayShown {
        GatewayShown {
            name: gateway.name,
            id: gateway.id,
            version: gateway.version,
            since: gateway.since.map(time),
            sessions: gateway.sessions,
            draining: gateway.draining,
            heard_seconds: gateway.heard.as_secs(),
            silent: gateway.silent,
            own: gateway.own,
        }
    }
}

/// The fleet and its gateways
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct FleetOfGateways {
    #[serde(flatten)]
    fleet: FleetShown,
    /// The gateways, by their names; while the shared state cannot be reached, only the one that was asked
    gateways: Vec<GatewayShown>,
}

/// The fleet and its gateways
#[utoipa::path(get, path = "/fleet", tag = "state", responses(
    (status = 200, description = "How it is", body = FleetOfGateways),
    (status = 404, description = "This gateway belongs to no fleet", body = Problem, content_type = "application/problem+json"),
))]
pub(super) async fn show(Shared(state): Shared<Arc<State>>) -> Result<Json<FleetOfGateways>, Problem> {
    let gateways = state.around.peers.gateways().await;
    // Judged afterwards: it may just have become known.
    let fleet = FleetShown::of(&state).ok_or_else(|| Problem::not_found("this gateway belongs to no fleet"))?;
    let (fleet, gateways) = match gateways {
        Ok(gateways) => (fleet, gateways.into_iter().map(GatewayShown::of).collect()),
        Err(what) => {
            let alone = fleet.alone.or(Some(what));
            (FleetShown { alone, ..fleet }, vec![own(&state)])
        }
    };
    Ok(Json(FleetOfGateways { fleet, gateways }))
}

/// What this gateway knows of itself.
fn own(state: &State) -> GatewayShown {
    GatewayShown {
        name: state.around.server.clone(),
        id: state.around.server.clone(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        since: Some(time(state.since)),
        sessions: state.around.registry.list().len() as u64,
        draining: *state.around.draining.borrow(),
        heard_seconds: 0,
        silent: false,
        own: true,
    }
}

/// The metrics; none without a fleet.
pub(super) fn readings(state: &State, text: &mut Text) {
    let Some(standing) = state.around.peers.standing() else { return };
    let is_alone = standing.alone.is_some();
    text.gauge("fleet_alone", "Whether the shared state of the fleet cannot be reached: 1 or 0.", u8::from(is_alone));
    if let Ok(since) = standing.since.duration_since(SystemTime::UNIX_EPOCH) {
        text.gauge("fleet_since_timestamp_seconds", "Since when it can or cannot be reached.", since.as_secs());
    }
    text.gauge(
        "fleet_tampered",
        "How often somebody else changed the shared state of the fleet, since the start.",
        standing.tampered,
    );
}
