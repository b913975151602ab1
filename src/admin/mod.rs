//! The admin door: sessions, users and events over HTTP. `docs/OPERATE.md` describes it.
//!
//! It holds no truth of its own: sessions come from `session::Registry`, events from the trail, numbers from `metrics`, users
//! from the directory. What it changes it changes through the same calls as a signal would, and each call that it serves is an
//! event.
//!
//! A call goes this way: `doors` (a connection, within bounds) → `api` (which handler) → `guard` (is the name ours, who calls,
//! may they, is it on record) → a handler.

mod api;
mod attempts;
mod bans;
mod caller;
mod chain;
pub mod client;
mod configuration;
mod connections;
mod control;
mod crowd;
mod doors;
mod elsewhere;
mod everyone;
mod fleet;
mod guard;
mod health;
mod last_logins;
mod login;
mod logins;
mod now;
mod obstacles;
mod oidc;
mod page;
mod passwd;
mod places;
mod prefix;
mod problem;
mod provider_login;
mod proxy_header;
mod reads;
mod recall;
mod recordings;
mod refused;
mod self_check;
mod sessions;
mod settings;
mod stall;
mod state;
mod stream;
mod tls;
mod trail;
mod users;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::SystemTime;

use tokio::sync::{mpsc, oneshot, watch};

use crate::audit::verify::Upkeep;
use crate::audit::{Recorder, SelfCheck};
use crate::metrics::Metrics;
use crate::session::gate::Gate;
use crate::session::{Peers, Registry};
use crate::stores::Store;
use crate::users::{AuthorizedKey, Directory, Revoked};

pub use api::description;
pub use doors::{Doors, MAX_SOCKET_PATH};
pub use oidc::{Issuer, NAME_PREFIX, OidcSettings, RoleRule, reach as reach_provider};
pub use settings::{
    DoorSettings, RELOADED_KEYS, Role, Settings, TOKEN_PREFIX, TlsFiles, Token, TokenHash, Trust, Written, make_token,
};
pub use tls::check as check_tls;

/// What the admin door needs of the rest of the gateway.
#[derive(Debug)]
pub struct Surroundings {
    /// The server's name.
    pub server: String,
    /// Where the SSH door listens.
    pub listens: Vec<SocketAddr>,
    /// The trail.
    pub recorder: Recorder,
    /// The counters.
    pub metrics: Arc<Metrics>,
    /// The live file of the sink that holds the whole trail, if there is one.
    pub trail: Option<PathBuf>,
    /// What the trail is verified with.
    pub upkeep: Option<Upkeep>,
    /// Whether the trail is verified in the background.
    pub self_check: Option<SelfCheck>,
    /// The configuration as it was at the start.
    pub written: Arc<Written>,
    /// The live sessions.
    pub registry: Registry,
    /// The bans.
    pub gate: Arc<Gate>,
    /// The other gateways.
    pub peers: Arc<dyn Peers>,
    /// What a reload replaces.
    pub inside: watch::Receiver<Inside>,
    /// Whether the gateway takes no connections any more.
    pub draining: watch::Receiver<bool>,
    /// Takes what only the process itself can do.
    pub wishes: mpsc::Sender<Wish>,
}

/// What the admin door shows, and whom it lets in. A reload replaces it as a whole.
#[derive(Debug, Clone)]
pub struct Inside {
    /// The users.
    pub directory: Arc<dyn Directory>,
    /// Authorities whose certificates are accepted for every user.
    pub authorities: Vec<AuthorizedKey>,
    /// Keys, authorities and certificates that let nobody in.
    pub revoked: Arc<Revoked>,
    /// The stores.
    pub stores: Vec<Arc<dyn Store>>,
    /// Callers over the network.
    pub trust: Trust,
    /// The configuration as it was read last.
    pub written: Arc<Written>,
}

/// Something that the process itself has to do, as it does after a signal.
#[derive(Debug)]
pub enum Wish {
    /// Read the configuration again; the answer says which changed parts wait for a restart, or what was wrong with it.
    Reload(oneshot::Sender<Result<Vec<String>, String>>),
    /// Take no new connections, let transfers finish, end.
    Drain,
    /// Read the configuration again and change nothing; the answer is what stands there. Whoever drops the other end waits no more.
    Read(oneshot::Sender<Result<Found, Unread>>),
}

/// Why nothing was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unread {
    /// There is no file that a reload would read.
    NoFile,
    /// What stands there cannot be used: what is wrong.
    Wrong(String),
}

/// What stands in the configuration now.
#[derive(Debug)]
pub struct Found {
    /// As it may be shown.
    pub written: Written,
    /// The parts that are different from what the process began with, and that a restart would change.
    pub waits_for_restart: Vec<String>,
}

/// Serves until `stopped` is true, then lets calls that are under way end for a moment.
pub async fn serve(doors: Doors, surroundings: Surroundings, stopped: watch::Receiver<bool>) {
    let state = Arc::new(state::State::new(&doors, SystemTime::now(), surroundings, stopped.clone()));
    // A bucket bills each look at it: none where nobody can ask.
    let watching = doors.is_any_open().then(|| tokio::spawn(health::watch(state.clone())));
    let recalling = doors.is_any_open().then(|| tokio::spawn(recall::run(state.clone())));
    let checking = state.around.self_check.map(|settings| tokio::spawn(self_check::run(state.clone(), settings)));
    let telling = tokio::spawn(refused::tell(state.clone(), stopped.clone()));
    doors.serve(&state, stopped).await;
    // Calls that ended with the doors are told too.
    let _ = telling.await;
    for task in [checking, watching, recalling].into_iter().flatten() {
        task.abort();
    }
}
