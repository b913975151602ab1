//! Composition: settings in, a running gateway out; start, reload, drain.

mod access;
mod brought;
mod control;
pub mod folder;
mod guard;
mod held_back;
mod memory;
mod opening;
#[cfg_attr(not(feature = "fleet"), path = "gateway/alone.rs")]
mod peers;
mod planning;
mod reach;
mod recheck;
mod reload;
mod roster;
mod user_changes;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::timeout;

pub use access::Access;
pub use brought::Brought;
pub use control::{Control, Told};
pub use guard::HomeGuard;
use opening::open_stores;
use peers::Company;
pub use reach::{Reached, reach_users};
use reload::{InForce, Reload};
use roster::Roster;

use crate::admin::{self, Doors, Inside, Wish, Written};
use crate::audit::verify::Upkeep;
use crate::audit::{Archive, ArchivePlace, Recorder, SelfCheck};
use crate::descriptors::Descriptors;
use crate::inherited::Inherited;
use crate::metrics::Metrics;
use crate::session::{Backing, Registry};
use crate::ssh::{Homes, Listeners, Phase, Server, Surroundings, TargetDoors};
use crate::stores::{AtOnce, Key, Store, Unfinished};
use crate::users::{AuthorizedKey, Directory, PasswordHash, Revoked, SourceSettings, Target, User};
use crate::vfs::Transfers;
use crate::{audit, fleet, ssh, stores, vfs};
use folder::StoreFolder;

/// How long a store may take to answer at the start.
const STORE_ANSWERS_WITHIN: Duration = Duration::from_secs(20);

/// How long stores may take to remove what unfinished uploads left, when the gateway ends.
const REMOVALS_WITHIN: Duration = Duration::from_secs(10);

/// How long a sink may take for what was recorded when the gateway ends.
const LAST_EVENTS_WITHIN: Duration = Duration::from_secs(10);

/// Everything that a gateway needs, resolved and checked by `config`.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The SSH door.
    pub ssh: ssh::Settings,
    /// The stores.
    pub stores: Vec<stores::Settings>,
    /// Authorities whose certificates are taken for every user.
    pub authorities: Vec<AuthorizedKey>,
    /// Keys and certificates that let nobody in.
    pub revoked: Arc<Revoked>,
    /// The users of the configuration; each home entry names one of the stores.
    pub users: Vec<User>,
    /// Where other users come from, in the order in which they are asked.
    pub users_from: Vec<SourceSettings>,
    /// Where users may jump to.
    pub targets: Vec<Target>,
    /// The key file that signs the host keys of targets.
    pub host_ca: Option<PathBuf>,
    /// The audit trail.
    pub audit: audit::Settings,
    /// Memory and staging of transfers.
    pub transfers: vfs::Settings,
    /// Whether chmod and chown fail rather than being ignored (`setstat: strict`).
    pub strict_setstat: bool,
    /// The admin door.
    pub admin: admin::Settings,
    /// The fleet that the gateway belongs to.
    pub fleet: Option<fleet::Settings>,
    /// What no home may lead to, whoever names it.
    pub guard: HomeGuard,
    /// What a program that embeds the gateway brings along.
    pub brought: Brought,
}

/// What holds from the start on, whatever a reload says. Compared by its values: what does not print differs, too.
#[derive(Debug, PartialEq, Eq)]
pub struct Fixed {
    ssh: ssh::Settings,
    audit: audit::Settings,
    transfers: vfs::Settings,
    admin: admin::DoorSettings,
    fleet: Option<fleet::Settings>,
}

impl Settings {
    /// What a reload does not change of it.
    pub fn fixed(&self) -> Fixed {
        Fixed {
            ssh: ssh::Settings { defender: None, ..self.ssh.clone() },
            audit: self.audit.clone(),
            transfers: self.transfers.clone(),
            admin: self.admin.doors.clone(),
            fleet: self.fleet.clone(),
        }
    }
}

/// The keys of the configuration that are, or hold, a part that a reload does not change. All else it changes, and of `admin` who is let in
/// ([`admin::RELOADED_KEYS`]).
pub const FIXED_KEYS: [&str; 7] = ["server", "events", "audit", "fleet", "limits", "partial_uploads", "admin"];

/// The same, as people are told.
pub fn fixed_parts() -> String {
    let named = FIXED_KEYS.iter().filter(|key| **key != "admin").map(|key| format!("`{key}`"));
    format!("{} and where `admin` listens", named.collect::<Vec<_>>().join(", "))
}

impl Fixed {
    /// The keys under which the configuration is different here, of [`FIXED_KEYS`].
    pub fn unlike(&self, other: &Fixed) -> Vec<&'static str> {
        let without_limits = |ssh: &ssh::Settings| ssh::Settings { limits: self.ssh.limits.clone(), ..ssh.clone() };
        let whose = |audit: &audit::Settings| (audit.server.clone(), audit.resource_arn.clone());
        let without_partial = |transfers: &vfs::Settings| vfs::Settings {
            partial_uploads: self.transfers.partial_uploads,
            ..transfers.clone()
        };
        let is_unlike = |key: &&str| match *key {
            "server" => self.ssh != without_limits(&other.ssh) || whose(&self.audit) != whose(&other.audit),
            "events" => self.audit.sinks != other.audit.sinks,
            "audit" => self.audit.chain != other.audit.chain,
            "fleet" => self.fleet != other.fleet,
            "limits" => self.ssh.limits != other.ssh.limits || self.transfers != without_partial(&other.transfers),
            "partial_uploads" => self.transfers.partial_uploads != other.transfers.partial_uploads,
            _ => self.admin != other.admin,
        };
        FIXED_KEYS.into_iter().filter(is_unlike).collect()
    }
}

/// Why a gateway could not start: a sentence that says what happened and what to do.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct StartError(pub String);

/// A gateway that listens.
#[derive(Debug)]
pub struct Gateway {
    server: Server,
    recorder: Recorder,
    backed: Backed,
    admin: Admin,
    company: Company,
}

/// The admin door before it is opened.
#[derive(Debug)]
struct Admin {
    doors: Doors,
    metrics: Arc<Metrics>,
    registry: Registry,
    server: String,
    trail: Option<PathBuf>,
    upkeep: Option<Upkeep>,
    self_check: Option<SelfCheck>,
    written: Arc<Written>,
}

/// What outlives a reload.
#[derive(Debug, Clone)]
struct Backed {
    transfers: Arc<Transfers>,
    unfinished: Arc<Unfinished>,
    at_once: AtOnce,
    roster: Arc<Roster>,
    /// How long a drain waits for transfers.
    drain: Duration,
    /// What the admin door shows.
    inside: watch::Sender<Inside>,
    /// What the next reload begins with.
    in_force: Arc<Mutex<InForce>>,
}

impl Gateway {
    /// Opens the stores (and reaches each once; those that may be away need not be there), the listeners and the audit trail. Of the
    /// listeners, those that are `inherited` are open already. `None` when `stopped` came about before that was done.
    ///
    /// What can fail is tried before the chain of events begins; where something fails or stops the start later, the chain ends in
    /// order.
    ///
    /// # Errors
    /// [`StartError`]: a port in use, an unreadable key, an unreachable store, a sink that cannot be opened.
    pub async fn start(
        settings: Settings,
        inherited: Inherited,
        stopped: impl Future<Output = ()>,
    ) -> Result<Option<Gateway>, StartError> {
        let mut stopped = pin!(stopped);
        let metrics = Arc::new(Metrics::default());
        let prepared = tokio::select! {
            prepared = Prepared::of(&settings, inherited, &metrics) => prepared?,
            () = &mut stopped => return Ok(None),
        };
        let memory = prepared.transfers.clone();
        metrics.transfer_memory.follow(move || memory.memory_in_use());
        let archives = open_archives(&settings.audit, &prepared.stores)?;
        let recorder = Recorder::start_keeping(settings.audit.clone(), archives, metrics.clone())
            .await
            .map_err(|error| StartError(format!("the audit trail cannot be written: {error}")))?;
        // From here on nobody may drop this: the chain would end like that of a process that was killed.
        let registry = Registry::default();
        let company = Company::of(&settings, &registry, &recorder);
        let staging = &settings.transfers.staging_folder;
        let roster = Roster::new(recorder.clone(), registry.clone(), staging, company.peers());
        let opened = tokio::select! {
            opened = roster.open(&settings, &prepared.stores) => opened.map(Some),
            () = &mut stopped => Ok(None),
        };
        let opened = match opened {
            Ok(Some(opened)) => opened,
            Ok(None) => {
                close(&recorder).await;
                return Ok(None);
            }
            Err(error) => {
                close(&recorder).await;
                return Err(error);
            }
        };
        let Prepared { transfers, unfinished, at_once, stores, listeners, doors } = prepared;
        let inside = inside_of(&settings, &stores, opened.directory());
        let drain = settings.ssh.limits.drain;
        let (inside, in_force) = (watch::Sender::new(inside), InForce::new(settings.clone(), stores.clone()));
        let backed = Backed { transfers, unfinished, at_once, roster, drain, inside, in_force };
        let homes = make_homes(&settings, stores, opened.directory(), opened.targets().clone(), &backed);
        let admin = Admin {
            doors,
            metrics: metrics.clone(),
            registry: registry.clone(),
            server: settings.audit.server.clone(),
            trail: settings.audit.whole_trail().map(Path::to_owned),
            upkeep: settings.audit.chain.as_ref().map(|chain| Upkeep { folder: chain.folder.clone() }),
            self_check: settings.audit.chain.as_ref().and_then(|chain| chain.self_check),
            written: Arc::new(settings.admin.written.clone()),
        };
        let state_folder = settings.transfers.staging_folder.clone();
        let peers = company.peers();
        let judge = settings.brought.judge.clone();
        let around = Surroundings { recorder: recorder.clone(), metrics, registry, peers, homes, state_folder, judge };
        let server = listeners.open(around);
        backed.roster.follow(opened);
        Ok(Some(Gateway { server, recorder, backed, admin, company }))
    }

    /// Where it listens, with the ports that were really taken.
    pub fn addresses(&self) -> &[SocketAddr] {
        self.server.addresses()
    }

    /// A link that logs one browser in to the page of the admin door, as an operator of this name; `None` without a listener.
    ///
    /// # Errors
    /// When the system gives no randomness.
    pub fn admin_link(&self, name: &str) -> Result<Option<String>, String> {
        self.admin.doors.link(name)
    }

    /// The live sessions.
    pub fn sessions(&self) -> Registry {
        self.admin.registry.clone()
    }

    /// The counters.
    pub fn metrics(&self) -> Arc<Metrics> {
        self.admin.metrics.clone()
    }

    /// Where events go.
    pub fn sinks(&self) -> Vec<String> {
        self.recorder.sinks().into_iter().map(|sink| sink.name).collect()
    }

    /// Where the admin door listens over TCP.
    pub fn admin_addresses(&self) -> &[SocketAddr] {
        self.admin.doors.addresses()
    }

    /// Where health and metrics are shown to everybody.
    pub fn health_address(&self) -> Option<SocketAddr> {
        self.admin.doors.health_address()
    }

    /// Serves until [`Control::Drain`] or [`Control::Stop`] arrives (or the sender is dropped, which drains). Events that
    /// were recorded are written when this returns. `wishes` takes what callers of the admin door want of the process.
    pub async fn run(self, mut controls: mpsc::Receiver<Control>, wishes: mpsc::Sender<Wish>) {
        let phase = watch::Sender::new(Phase::Running);
        let homes = Arc::new(watch::Sender::new(None));
        // A store that does not answer must not keep a reload from being replaced, or the gateway from ending.
        let mut reloading = JoinSet::new();
        let (draining, closing) = (watch::Sender::new(false), watch::Sender::new(false));
        let Admin { doors, metrics, registry, server, trail, upkeep, self_check, written } = self.admin;
        let (gate, sessions) = (self.server.gate(), registry.clone());
        let around = admin::Surroundings {
            server,
            listens: self.server.addresses().to_vec(),
            recorder: self.recorder.clone(),
            metrics,
            trail: trail.clone(),
            upkeep,
            self_check,
            written,
            registry,
            gate: gate.clone(),
            peers: self.company.peers(),
            inside: self.backed.inside.subscribe(),
            draining: draining.subscribe(),
            wishes,
        };
        let kept = self.company.keep(&gate, &draining, trail.as_deref());
        let administered = tokio::spawn(admin::serve(doors, around, closing.subscribe()));
        let serving = self.server.run(phase.subscribe(), homes.subscribe());
        tokio::pin!(serving);
        let mut listening_to_controls = true;
        loop {
            tokio::select! {
                () = &mut serving => break,
                control = controls.recv(), if listening_to_controls => match control {
                    Some(Control::Reload { settings, waits_for_restart, told }) => {
                        // It waits for the end of the step that is under way, if one is: they do not mix.
                        reloading.shutdown().await;
                        let (backed, homes) = (self.backed.clone(), homes.clone());
                        let (recorder, gate) = (self.recorder.clone(), gate.clone());
                        reloading.spawn(Reload { settings, backed, homes, recorder, gate }.run(waits_for_restart, told));
                    }
                    Some(Control::Drain) => {
                        tell_drain(&sessions, self.backed.drain);
                        draining.send_replace(true);
                        drain(&phase);
                    }
                    Some(Control::Stop) => {
                        draining.send_replace(true);
                        phase.send_replace(Phase::Stopped);
                    }
                    None => {
                        draining.send_replace(true);
                        drain(&phase);
                        listening_to_controls = false;
                    }
                },
            }
        }
        // Until now it showed how the drain went; from now on nothing of it can be recorded.
        closing.send_replace(true);
        let _ = administered.await;
        kept.stop().await;
        self.backed.roster.stop();
        if timeout(REMOVALS_WITHIN, self.backed.transfers.settled()).await.is_err() {
            tracing::warn!(
                "a store does not remove the parts of unfinished uploads within {} s",
                REMOVALS_WITHIN.as_secs()
            );
        }
        close(&self.recorder).await;
    }

    /// Ends without having served anybody.
    pub async fn close(self) {
        self.backed.roster.stop();
        close(&self.recorder).await;
    }
}

/// What a start takes before anybody is told of it.
struct Prepared {
    transfers: Arc<Transfers>,
    unfinished: Arc<Unfinished>,
    at_once: AtOnce,
    stores: Vec<Arc<dyn Store>>,
    listeners: Listeners,
    doors: Doors,
}

impl Prepared {
    async fn of(settings: &Settings, mut inherited: Inherited, metrics: &Metrics) -> Result<Prepared, StartError> {
        let staging = settings.transfers.staging_folder.display().to_string();
        let plan = planning::plan(settings);
        let (descriptors, at_once) = (Descriptors::new(plan.files), planning::at_once(&plan));
        let transfers = Transfers::within(settings.transfers.clone(), descriptors).map_err(|error| {
            StartError(format!(
                "the staging folder {staging} cannot be used: {error}; change limits.staging_folder or its permissions",
            ))
        })?;
        let unfinished = Unfinished::open(&settings.transfers.staging_folder).map_err(|error| {
            StartError(format!(
                "the journal of uploads in {staging} cannot be opened: {error}; change limits.staging_folder or its permissions",
            ))
        })?;
        let ssh = planning::bounded(&settings.ssh, &plan);
        let listeners = Listeners::bind(ssh, &mut inherited).map_err(StartError)?;
        let doors = Doors::bind(&settings.admin.doors, &mut inherited).await.map_err(StartError)?;
        inherited.finish().map_err(StartError)?;
        let stores = open_stores(settings, &unfinished, at_once, &metrics.timings).await?;
        Ok(Prepared { transfers, unfinished, at_once, stores, listeners, doors })
    }
}

/// Lets what was recorded be written, and ends the chain in order.
async fn close(recorder: &Recorder) {
    if timeout(LAST_EVENTS_WITHIN, recorder.close()).await.is_err() {
        tracing::error!("a sink does not take the last events within {} s", LAST_EVENTS_WITHIN.as_secs());
    }
}

/// Says whom a drain waits for, and until when.
fn tell_drain(registry: &Registry, within: Duration) {
    let mut of_users: BTreeMap<Arc<str>, usize> = BTreeMap::new();
    for session in registry.list() {
        let under_way = registry.look(&session.session_id, 0).map_or(0, |(_, progress)| progress.under_way);
        if under_way > 0 {
            *of_users.entry(session.user).or_default() += under_way;
        }
    }
    let transfers: usize = of_users.values().sum();
    if transfers == 0 {
        tracing::info!("draining: no new connections; no transfer is under way");
        return;
    }
    let users: Vec<String> =
        of_users.iter().take(MOST_USERS_TOLD).map(|(user, count)| format!("{user} ({count})")).collect();
    let more = of_users.len().saturating_sub(MOST_USERS_TOLD);
    let users = users.join(", ") + &if more > 0 { format!(" and {more} more users") } else { String::new() };
    let until = chrono::DateTime::<chrono::Utc>::from(SystemTime::now() + within);
    let until = until.to_rfc3339_opts(chrono::SecondsFormat::Secs, true);
    tracing::info!(transfers, users, until, "draining: no new connections; transfers may finish until then");
}

/// How many users the log names when a drain begins.
const MOST_USERS_TOLD: usize = 20;

/// From running to draining; who stops already goes on stopping.
fn drain(phase: &watch::Sender<Phase>) {
    phase.send_if_modified(|phase| {
        let running = *phase == Phase::Running;
        if running {
            *phase = Phase::Draining;
        }
        running
    });
}

/// What the admin door shows of a configuration.
fn inside_of(settings: &Settings, stores: &[Arc<dyn Store>], directory: Arc<dyn Directory>) -> Inside {
    Inside {
        directory,
        authorities: settings.authorities.clone(),
        revoked: settings.revoked.clone(),
        stores: stores.to_vec(),
        trust: settings.admin.trust(),
        written: Arc::new(settings.admin.written.clone()),
    }
}

fn make_homes(
    settings: &Settings,
    stores: Vec<Arc<dyn Store>>,
    directory: Arc<dyn Directory>,
    targets: Arc<TargetDoors>,
    backed: &Backed,
) -> Homes {
    let transfers = backed.transfers.clone();
    Homes {
        authorities: settings.authorities.clone().into(),
        revoked: settings.revoked.clone(),
        directory,
        targets,
        backing: Backing {
            stores,
            roots: settings.guard.roots().clone(),
            transfers,
            strict_setstat: settings.strict_setstat,
        },
        decoy: PasswordHash::decoy(settings.users.iter().filter_map(|user| user.password.as_ref())),
        offers_password: settings.users.iter().any(|user| user.auth.takes_password())
            || settings.users_from.iter().any(SourceSettings::takes_password),
    }
}

/// The folders of stores that sinks and the witness write to.
fn open_archives(
    settings: &audit::Settings,
    stores: &[Arc<dyn Store>],
) -> Result<BTreeMap<ArchivePlace, Arc<dyn Archive>>, StartError> {
    let mut archives = BTreeMap::<_, Arc<dyn Archive>>::new();
    for place in settings.archives() {
        let store = stores.iter().find(|store| store.name() == place.store);
        let key = Key::parse(&place.folder).ok();
        let (Some(store), Some(key)) = (store, key) else {
            return Err(StartError(format!(
                "the trail is written to {}:/{}, which is not there",
                place.store, place.folder
            )));
        };
        archives.insert(place.clone(), Arc::new(StoreFolder::new(store.clone(), key).locking(place.lock)));
    }
    Ok(archives)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_documents_say_what_a_reload_does_not_change() {
        let parts = fixed_parts();
        assert_eq!(
            parts,
            "`server`, `events`, `audit`, `fleet`, `limits`, `partial_uploads` and where `admin` listens"
        );
        let example = include_str!("../config.example.yaml").replace("\n#   ", " ");
        assert!(include_str!("../docs/CONFIGURATION.md").contains(&parts) && example.contains(&parts));
        let admin: Vec<String> = admin::RELOADED_KEYS.iter().map(|key| format!("`{key}`")).collect();
        let admin = format!("A reload applies changes of\n# {}. Changes of where it listens", admin.join(" and "));
        assert!(include_str!("../config.example.yaml").contains(&admin), "{admin}");
    }
}
