//! The SSH door: listener, limits, drain; the thin russh handler; authentication attempts; the KEXINIT reader.
//!
//! The only module that names russh.

mod ahead;
mod algorithms;
mod auth;
mod banner;
mod channels;
mod codes;
mod connection;
mod ending;
mod exchanges;
mod faults;
mod handler;
mod intake;
mod judge;
mod jump;
mod kexinit;
mod keys;
mod listener;
mod pace;
mod proof;
mod proxy;
mod refusals;
mod short_number;
mod stream;
mod targets;
mod waiting;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, OnceLock, PoisonError, RwLock};
use std::time::Duration;

use base16ct::lower::encode_string;
use russh::keys::PrivateKey;
use russh::{MethodKind, MethodSet, SshId};
use tokio::sync::Semaphore;

use crate::audit::{Origin, Recorder};
use crate::metrics::Metrics;
use crate::session::gate::{DefenderSettings, Gate, GateSettings};
use crate::session::{Backing, Peers, Registry};
use crate::users::{AuthorizedKey, Directory, PasswordHash, PasswordVerifier, Revoked};
use codes::Codes;
use exchanges::Computations;
use refusals::Refusals;

pub use algorithms::AlgorithmLists;
pub use judge::{LoginJudge, ProvenLogin};
pub use kexinit::{KexInit, Reader as KexInitReader};
pub use keys::{KeyKind, NewKey, make_key, read_host_key_public};
pub use listener::{Listeners, Server};
pub use proxy::{ProxyProtocol, ProxyStart};
pub use targets::TargetDoors;

/// How the SSH door listens and whom it lets in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// Addresses to listen on; port 0 takes a free one.
    pub listen: Vec<SocketAddr>,
    /// Host key files in OpenSSH's format, without a passphrase.
    pub host_keys: Vec<PathBuf>,
    /// Algorithms on offer, best first.
    pub algorithms: AlgorithmLists,
    /// When the keys of a connection change.
    pub rekey: RekeyLimits,
    /// Text shown before authentication.
    pub banner: Option<String>,
    /// Whose PROXY headers are read.
    pub proxy_protocol: ProxyProtocol,
    /// How failures lead to bans; `None` for never.
    pub defender: Option<DefenderSettings>,
    /// The limits.
    pub limits: Limits,
}

/// When the gateway asks a client for new keys (RFC 4253 section 9). A client may ask at any time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RekeyLimits {
    /// After so many bytes in one direction.
    pub data: u64,
    /// After so long.
    pub time: Duration,
}

impl RekeyLimits {
    /// Beyond this, with the ciphers on offer, a nonce might come twice.
    pub const MOST_DATA: u64 = 1 << 30;
}

impl Default for RekeyLimits {
    fn default() -> Self {
        RekeyLimits { data: RekeyLimits::MOST_DATA, time: Duration::from_secs(60 * 60) }
    }
}

/// Limits of the SSH door.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Logged-in connections at once.
    pub sessions: usize,
    /// Connections that have not logged in, at once.
    pub unauthenticated: usize,
    /// The same of one address (of an IPv6 address its first 64 bits).
    pub unauthenticated_per_address: usize,
    /// New connections a second of one address.
    pub connections_per_second: u32,
    /// Time from the connection to the login.
    pub login_grace: Duration,
    /// Failed attempts on one connection.
    pub auth_attempts: usize,
    /// A session without any activity is ended after this.
    pub idle: Duration,
    /// A connection of several channels of which one takes no data for this long is ended: the others get nothing meanwhile. Where the channel
    /// leads to a target, that connection ends alone.
    pub stall: Duration,
    /// How long a drain waits for transfers.
    pub drain: Duration,
}

/// Whom the door lets in and what they find. Replaced as a whole at a reload; a connection keeps what it began with.
#[derive(Debug, Clone)]
pub struct Homes {
    /// The users.
    pub directory: Arc<dyn Directory>,
    /// What stands behind the homes.
    pub backing: Backing,
    /// Authorities whose certificates are taken for every user.
    pub authorities: Arc<[AuthorizedKey]>,
    /// Keys and certificates that let nobody in.
    pub revoked: Arc<Revoked>,
    /// What is checked when a password is given for whoever has none.
    pub decoy: PasswordHash,
    /// Whether any user may log in with a password, so that the methods are offered.
    pub offers_password: bool,
    /// Where users may jump to.
    pub targets: Arc<TargetDoors>,
}

/// What the door needs from the rest of the gateway.
#[derive(Debug)]
pub struct Surroundings {
    /// Where events go.
    pub recorder: Recorder,
    /// The counters.
    pub metrics: Arc<Metrics>,
    /// The live sessions.
    pub registry: Registry,
    /// The other gateways.
    pub peers: Arc<dyn Peers>,
    /// Users and stores.
    pub homes: Homes,
    /// Where it is kept which one-time codes were used; for one gateway only.
    pub state_folder: PathBuf,
    /// Who decides on logins whose proofs are good; nobody, if there is none.
    pub judge: Option<Arc<dyn LoginJudge>>,
}

/// Where the gateway is on its way out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// Serving.
    Running,
    /// No new connections; transfers may finish.
    Draining,
    /// Everything ends now.
    Stopped,
}

/// Password checks at once: each takes a core and 19 MiB or more for some tens of milliseconds.
const PASSWORD_CHECKS: usize = 4;

/// Password checks that may wait: what can be done within the default time to log in.
const PASSWORD_QUEUE: usize = 1000;

/// Channels at once on one connection.
const MAX_CHANNELS: u32 = 10;

/// Channels of one connection that the gateway has closed and the client has not yet. Of each some 3 KiB are kept.
const MAX_HALF_CLOSED: usize = 1000;

/// The channel window in bytes, once a channel has run for a while: what a client may send before it has to wait for us.
const WINDOW: u32 = 2 * 1024 * 1024;

/// The window that a channel begins with. When the gateway changes the keys, the library ends a connection on which more than
/// twice this arrives before the client has answered, so that it has to cover what all channels may have on their way. It does
/// once they have used their first windows; before that, what a line holds is less. It costs no memory: what may wait here is
/// bounded by [`CHANNEL_QUEUE`].
const FIRST_WINDOW: u32 = MAX_CHANNELS * WINDOW / 2;

/// The largest packet that clients may send on a channel, in bytes.
const MAX_PACKET: u32 = 32 * 1024;

/// Packets of a channel that wait for its codec. With [`MAX_PACKET`] this is what a connection may hold in memory before its
/// codec takes it: 512 KiB.
const CHANNEL_QUEUE: usize = 16;

/// What all connections share.
struct Shared {
    settings: Settings,
    config: Arc<russh::server::Config>,
    config_with_passwords: Arc<russh::server::Config>,
    recorder: Recorder,
    metrics: Arc<Metrics>,
    registry: Registry,
    peers: Arc<dyn Peers>,
    verifier: Arc<PasswordVerifier>,
    codes: Arc<Codes>,
    homes: RwLock<Arc<Homes>>,
    sessions: Arc<Semaphore>,
    gate: Arc<Gate>,
    judge: Option<Arc<dyn LoginJudge>>,
    refusals: Refusals,
    computations: Computations,
    /// The log has the server's own HASSH.
    has_told_hassh: OnceLock<()>,
}

impl Shared {
    fn new(settings: Settings, keys: Vec<PrivateKey>, surroundings: Surroundings) -> Shared {
        Shared {
            config: Arc::new(russh_config(&settings, keys.clone(), false)),
            config_with_passwords: Arc::new(russh_config(&settings, keys, true)),
            sessions: Arc::new(Semaphore::new(settings.limits.sessions)),
            gate: Arc::new(Gate::new(gate_settings(&settings))),
            refusals: Refusals::default(),
            computations: Computations::default(),
            has_told_hassh: OnceLock::new(),
            settings,
            recorder: surroundings.recorder,
            metrics: surroundings.metrics,
            registry: surroundings.registry,
            peers: surroundings.peers,
            judge: surroundings.judge,
            verifier: Arc::new(PasswordVerifier::new(PASSWORD_CHECKS, PASSWORD_QUEUE)),
            codes: Arc::new(Codes::read(&surroundings.state_folder)),
            homes: RwLock::new(Arc::new(surroundings.homes)),
        }
    }

    /// Says once in the log by which HASSH scanners know this server. It follows from the algorithms alone.
    fn tell_hassh(&self, line: &stream::Line) {
        if self.has_told_hassh.get().is_none()
            && let Some(hassh) = line.hassh_of_server()
            && self.has_told_hassh.set(()).is_ok()
        {
            tracing::info!("the HASSH of this server is {hassh}");
        }
    }

    fn homes(&self) -> Arc<Homes> {
        self.homes.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

fn gate_settings(settings: &Settings) -> GateSettings {
    GateSettings {
        places: settings.limits.unauthenticated,
        places_of_address: settings.limits.unauthenticated_per_address,
        connections_per_second: settings.limits.connections_per_second,
        defender: settings.defender.clone(),
    }
}

/// The methods on offer: the same for every user, so that the answer tells nothing.
fn methods(with_passwords: bool) -> MethodSet {
    let all = [MethodKind::PublicKey, MethodKind::Password, MethodKind::KeyboardInteractive];
    MethodSet::from(if with_passwords { &all[..] } else { &all[..1] })
}

fn russh_config(settings: &Settings, keys: Vec<PrivateKey>, with_passwords: bool) -> russh::server::Config {
    russh::server::Config {
        // What the library says when it refuses by itself, a wrong signature for instance.
        methods: methods(with_passwords),
        server_id: SshId::Standard("SSH-2.0-Lockgate".into()),
        keys,
        preferred: settings.algorithms.preferred(),
        limits: rekey_limits(settings.rekey),
        // The first `none`, by which clients ask for the methods, counts there too.
        max_auth_attempts: settings.limits.auth_attempts.saturating_add(1),
        // It would delay the answer to every rejected offer of a key; refused passwords take their time anyway.
        auth_rejection_time: Duration::ZERO,
        auth_rejection_time_initial: Some(Duration::ZERO),
        // The connection has its own watch, which knows of running transfers.
        inactivity_timeout: None,
        window_size: FIRST_WINDOW,
        maximum_packet_size: MAX_PACKET,
        channel_buffer_size: CHANNEL_QUEUE,
        ..russh::server::Config::default()
    }
}

fn rekey_limits(limits: RekeyLimits) -> russh::Limits {
    let bytes = usize::try_from(limits.data.min(RekeyLimits::MOST_DATA)).unwrap_or(usize::MAX);
    russh::Limits { rekey_write_limit: bytes, rekey_read_limit: bytes, rekey_time_limit: limits.time }
}

/// Where a connection comes from, under a fresh session id.
fn origin_of(peer: SocketAddr) -> Origin {
    let mut id = [0; 10];
    if aws_lc_rs::rand::fill(&mut id).is_err() {
        tracing::error!("the system gives no randomness for session ids");
    }
    Origin {
        session_id: encode_string(&id).into(),
        source_ip: peer.ip().to_canonical(),
        source_port: peer.port(),
        user: None,
        protocol: None,
        client: None,
        person: None,
        jump: None,
    }
}
