//! What shows and controls a gateway that serves.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::sync::{mpsc, oneshot};

use super::builder::{Own, StartError};
use super::configuration::Configuration;
use super::running::Controls;
use crate::config::InForce;
use crate::gateway::{Control, Fixed};
use crate::metrics::Metrics;
use crate::session::{Farewell, LiveSession, Registry};

/// Who ends sessions, as events say it.
const BY: &str = "the embedding program";

/// Shows and controls a gateway that serves. Cheap to clone.
///
/// ```
/// # async fn example(handle: lockgate::Handle) -> Result<(), lockgate::ReloadError> {
/// for session in handle.sessions() {
///     println!("{} from {} since {:?}", session.user, session.source_ip, session.since);
/// }
/// handle.end_sessions("the account was closed", |session| session.user == "ann");
/// let reloaded = handle.reload(lockgate::Configuration::file("config.yaml")).await?;
/// println!("a restart is needed for {:?}", reloaded.waits_for_restart);
/// handle.drain().await;
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct Handle {
    controls: Controls,
    held: Arc<Held>,
}

/// What does not keep the gateway from ending.
#[derive(Debug)]
struct Held {
    registry: Registry,
    metrics: Arc<Metrics>,
    started: Arc<Started>,
    own: Own,
}

/// A handle that does not keep the gateway from draining when nobody has another one.
#[derive(Debug)]
pub(super) struct Weak {
    controls: mpsc::WeakSender<Control>,
    held: Arc<Held>,
}

/// What a reload is compared with.
#[derive(Debug)]
pub(super) struct Started {
    pub(super) fixed: Fixed,
    pub(super) in_force: InForce,
}

/// A live session.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Session {
    /// 20 hex digits, as in the events.
    pub id: String,
    /// The login name.
    pub user: String,
    /// Where the user comes from: `configuration`, or the label of a directory.
    pub source: String,
    /// The client's address.
    pub source_ip: IpAddr,
    /// The client's port.
    pub source_port: u16,
    /// What the client calls itself.
    pub client: Option<String>,
    /// How the user logged in: `publickey`, `password` and so on.
    pub method: String,
    /// When the session began.
    pub since: SystemTime,
    /// Bytes of files received so far.
    pub bytes_in: u64,
    /// Bytes of files sent so far.
    pub bytes_out: u64,
    /// How long nothing has happened.
    pub idle: Duration,
    /// Operations and transfers that are under way.
    pub under_way: usize,
}

/// The new configuration holds.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Reloaded {
    /// The keys of the configuration whose changes wait for a restart.
    pub waits_for_restart: Vec<String>,
}

/// A new configuration does not hold, or not in every part.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum ReloadError {
    /// It is wrong; the one before stays.
    #[error("the configuration was not reloaded; the old one stays: {0}")]
    Configuration(#[source] StartError),
    /// A part of it could not be applied: a sentence that says which one, and what holds.
    #[error("{0}")]
    Applied(String),
    /// The gateway has ended, or a later reload has replaced this one.
    #[error("the gateway has ended, or a later reload has replaced this one")]
    Replaced,
}

impl Handle {
    pub(super) fn new(
        controls: Controls,
        registry: Registry,
        metrics: Arc<Metrics>,
        started: Arc<Started>,
        own: Own,
    ) -> Handle {
        Handle { controls, held: Arc::new(Held { registry, metrics, started, own }) }
    }

    pub(super) fn weak(&self) -> Weak {
        Weak { controls: self.controls.downgrade(), held: self.held.clone() }
    }

    /// The live sessions.
    pub fn sessions(&self) -> Vec<Session> {
        let registry = &self.held.registry;
        let live = registry.list();
        live.into_iter().map(|session| shown(registry, session)).collect()
    }

    /// Ends the sessions that `is_meant` picks, and returns how many there were. Their clients are shown `why`, their transfers are cut off, and
    /// DISCONNECTED has the reason `administrator` with `why`, and `ended-by` is `the embedding program`. Who is already on the way out does not count.
    pub fn end_sessions(&self, why: &str, mut is_meant: impl FnMut(&Session) -> bool) -> usize {
        let registry = &self.held.registry;
        // Looked at before: `end` holds the lock of the registry.
        let meant: Vec<String> = self.sessions().into_iter().filter(|one| is_meant(one)).map(|one| one.id).collect();
        let farewell = || Farewell { reason: "administrator".into(), message: why.to_owned(), by: Some(BY.to_owned()) };
        registry.end(|live| meant.iter().any(|id| **id == *live.session_id).then(farewell))
    }

    /// All counters in Prometheus' text form (version 0.0.4), without the names of users.
    pub fn metrics(&self) -> String {
        self.held.metrics.render(false)
    }

    /// Changes to a new configuration: users, stores and permissions for connections from now on. What it takes away ends immediately. What
    /// the program brought along stays. A later reload replaces one that is under way.
    ///
    /// # Errors
    /// [`ReloadError`].
    pub async fn reload(&self, configuration: impl Into<Configuration>) -> Result<Reloaded, ReloadError> {
        let Held { started, own, .. } = &*self.held;
        let settings = own.settings(&configuration.into(), started.in_force.clone()).await;
        let settings = Box::new(settings.map_err(ReloadError::Configuration)?);
        let waits_for_restart = started.fixed.unlike(&settings.fixed()).into_iter().map(str::to_owned).collect();
        let (told, outcome) = oneshot::channel();
        let reload = Control::Reload { settings, waits_for_restart, told: Some(told) };
        self.controls.send(reload).await.map_err(|_| ReloadError::Replaced)?;
        match outcome.await {
            Ok(Ok(waits_for_restart)) => Ok(Reloaded { waits_for_restart }),
            Ok(Err(what)) => Err(ReloadError::Applied(what)),
            Err(_) => Err(ReloadError::Replaced),
        }
    }

    /// The gateway accepts no new connections from now on, lets transfers finish within `limits.drain`, and ends.
    pub async fn drain(&self) {
        // One that has ended already has nothing to drain.
        let _ = self.controls.send(Control::Drain).await;
    }

    /// The gateway ends immediately.
    pub async fn stop(&self) {
        let _ = self.controls.send(Control::Stop).await;
    }
}

impl Weak {
    /// A handle, unless the last one is gone.
    pub(super) fn upgrade(&self) -> Option<Handle> {
        Some(Handle { controls: self.controls.upgrade()?, held: self.held.clone() })
    }
}

fn shown(registry: &Registry, live: LiveSession) -> Session {
    let progress = registry.look(&live.session_id, 0).map(|(_, progress)| progress).unwrap_or_default();
    Session {
        id: live.session_id.to_string(),
        user: live.user.to_string(),
        source: live.source.to_string(),
        source_ip: live.source_ip,
        source_port: live.source_port,
        client: live.client.as_deref().map(str::to_owned),
        method: live.method.to_string(),
        since: live.since,
        bytes_in: progress.bytes_in,
        bytes_out: progress.bytes_out,
        idle: progress.idle,
        under_way: progress.under_way,
    }
}
