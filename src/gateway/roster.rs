//! Users that do not stand in the configuration: reads their folders in rounds, tells the trail what changed, and ends the
//! sessions of those who are gone.

use std::collections::HashMap;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use tokio::task::{JoinError, JoinHandle, JoinSet};
use tokio::time::timeout;

use super::folder::StoreFolder;
use super::guard::{Guarded, HomeGuard};
use super::memory::Memory;
use super::recheck::{self, Rechecked};
use super::user_changes::Shared;
use super::{Settings, StartError};
use crate::audit::{Activity, Note, Origin, Recorder, UserChange};
use crate::session::{Farewell, LiveSession, Peers, Registry};
use crate::ssh::TargetDoors;
use crate::stores::{Key, Store};
use crate::users::{
    AuthorizedKey, CONFIGURATION, CertificateFacts, Change, ChangeKind, Directory, FixedDirectory, KeysDirectory,
    KeysSettings, Lapse, ProviderDirectory, Revoked, Round, SourceSettings, Sources, Targets, User,
};

/// How long the first round of a folder may take before logins are taken without it.
const FIRST_ROUND_WITHIN: Duration = Duration::from_secs(20);

/// How long one event may take before it is left for the next round.
const RECORDED_WITHIN: Duration = Duration::from_secs(10);

/// How many files that are passed over are told one by one in one round.
const MOST_PASSED_OVER: usize = 20;

/// What keeps the users of all sources up to date. Outlives a reload.
#[derive(Debug)]
pub(super) struct Roster {
    recorder: Recorder,
    pub(super) registry: Registry,
    pub(super) memory: Arc<Memory>,
    /// The other gateways of the fleet.
    pub(super) peers: Arc<dyn Peers>,
    pub(super) rechecked: Rechecked,
    running: Mutex<Running>,
}

/// What is stopped when other settings come: the tasks end when this is dropped.
#[derive(Debug, Default)]
struct Running {
    folders: Vec<Arc<KeysDirectory>>,
    /// All sources but the configuration.
    others: Vec<(Arc<str>, Arc<dyn Directory>)>,
    tasks: JoinSet<()>,
}

/// The sources of one configuration, each folder read once, and not yet followed.
#[derive(Debug)]
pub(super) struct Opened {
    folders: Vec<(Arc<KeysDirectory>, First)>,
    providers: Vec<Arc<ProviderDirectory>>,
    /// All sources but the configuration, in their order.
    others: Vec<(Arc<str>, Arc<dyn Directory>)>,
    /// The users of the configuration.
    fixed: Vec<User>,
    /// Where users may jump to.
    targets: Arc<TargetDoors>,
    authorities: Vec<AuthorizedKey>,
    /// Keys and certificates that let nobody in.
    revoked: Arc<Revoked>,
    /// What no home may lead to.
    guard: HomeGuard,
    /// How long a connection that was taken before a reload may still let somebody in.
    login_grace: Duration,
}

/// The first round of a folder.
#[derive(Debug)]
enum First {
    Done(Round),
    /// It takes long; until it ends, nobody of the folder logs in.
    Pending(JoinHandle<Round>),
}

/// By what it is judged whose session may not go on.
#[derive(Debug)]
struct Gone {
    others: Others,
    /// The users of the configuration.
    users: HashMap<Arc<str>, User>,
    authorities: Vec<AuthorizedKey>,
    revoked: Arc<Revoked>,
    targets: Arc<TargetDoors>,
}

/// What the users of a folder meet in the configuration.
#[derive(Debug)]
struct Beside {
    /// The users whose names are taken.
    names: Vec<Arc<str>>,
    /// Authorities of all users.
    authorities: Vec<AuthorizedKey>,
    /// Where they may jump to.
    targets: Arc<TargetDoors>,
}

/// The sources of one configuration beside itself.
#[derive(Debug)]
struct Others {
    /// All of them.
    sources: Vec<Arc<str>>,
    /// The identity providers among them.
    asked: Vec<Arc<str>>,
}

impl Opened {
    /// Where users may jump to.
    pub(super) fn targets(&self) -> &Arc<TargetDoors> {
        &self.targets
    }

    /// All sources as one: the users of the configuration, then the others in their order.
    pub(super) fn directory(&self) -> Arc<dyn Directory> {
        together(&self.fixed, self.others.iter().map(|(_, directory)| directory))
    }
}

/// The users of the configuration, then other sources in their order.
fn together<'a>(fixed: &[User], others: impl Iterator<Item = &'a Arc<dyn Directory>>) -> Arc<dyn Directory> {
    let mut all: Vec<Arc<dyn Directory>> = vec![Arc::new(FixedDirectory::new(fixed.to_vec()))];
    all.extend(others.cloned());
    Arc::new(Sources::new(all))
}

impl Roster {
    /// Remembers in `staging` what was told.
    pub(super) fn new(recorder: Recorder, registry: Registry, staging: &Path, peers: Arc<dyn Peers>) -> Arc<Roster> {
        let memory = Arc::new(Memory::read(staging));
        let (rechecked, running) = (Rechecked::default(), Mutex::default());
        Arc::new(Roster { recorder, registry, memory, peers, rechecked, running })
    }

    /// Opens the sources and reads each folder once, for a limited time. Nothing changes for anybody until
    /// [`Roster::follow`].
    ///
    /// # Errors
    /// When a provider cannot be asked at all.
    pub(super) async fn open(&self, settings: &Settings, stores: &[Arc<dyn Store>]) -> Result<Opened, StartError> {
        let mut opening = JoinSet::new();
        let mut providers = Vec::new();
        let mut others: Vec<(usize, Arc<str>, Arc<dyn Directory>)> = Vec::new();
        for (place, source) in settings.users_from.iter().enumerate() {
            let keys = match source {
                SourceSettings::Keys(keys) => keys,
                SourceSettings::Provider(provider) => {
                    let directory = Arc::new(ProviderDirectory::new((**provider).clone()).map_err(StartError)?);
                    providers.push(directory.clone());
                    let guard = settings.guard.clone();
                    others.push((place, provider.source(), Arc::new(Guarded { directory, guard })));
                    continue;
                }
                SourceSettings::Own(own) => {
                    let (directory, guard) = (own.directory.clone(), settings.guard.clone());
                    others.push((place, own.source.clone(), Arc::new(Guarded { directory, guard })));
                    continue;
                }
            };
            let Some(folder) = open_folder(keys, stores) else { continue };
            let (keys, told) = (keys.clone(), self.memory.told(&keys.source()).await);
            let before = self.lock().folders.iter().find(|old| old.settings().source() == keys.source()).cloned();
            opening.spawn(async move {
                let directory = match before {
                    Some(before) => before.replaced(*keys, folder).await,
                    None => KeysDirectory::new(*keys, folder, told),
                };
                let directory = Arc::new(directory);
                let reader = directory.clone();
                let mut round = tokio::spawn(async move { reader.round().await });
                let first = match timeout(FIRST_ROUND_WITHIN, &mut round).await {
                    Ok(round) => First::Done(round.unwrap_or_else(failed)),
                    Err(_) => First::Pending(round),
                };
                (place, directory, first)
            });
        }
        let mut folders = Vec::new();
        for (place, folder, first) in opening.join_all().await {
            others.push((place, folder.settings().source(), folder.clone()));
            folders.push((folder, first));
        }
        others.sort_by_key(|(place, ..)| *place);
        let targets = TargetDoors::open(settings.targets.clone(), settings.host_ca.as_deref(), &settings.ssh)
            .map_err(StartError)?;
        Ok(Opened {
            targets: Arc::new(targets),
            folders,
            providers,
            others: others.into_iter().map(|(_, source, directory)| (source, directory)).collect(),
            fixed: settings.users.clone(),
            authorities: settings.authorities.clone(),
            revoked: settings.revoked.clone(),
            guard: settings.guard.clone(),
            login_grace: settings.ssh.limits.login_grace,
        })
    }

    /// The users of these settings, before their sources are opened: of those that are followed, the ones that stay.
    pub(super) fn restricted(&self, settings: &Settings) -> Arc<dyn Directory> {
        let running = self.lock();
        let sources: Vec<_> = settings.users_from.iter().map(SourceSettings::source).collect();
        let running = |source| running.others.iter().find(|(known, _)| known == source).map(|(_, directory)| directory);
        together(&settings.users, sources.iter().filter_map(running))
    }

    /// Ends the sessions of users, keys, authorities and targets that are gone from these settings, now and once more when no connection
    /// from before can log in any more. Sources are followed as before until [`Roster::follow`].
    pub(super) fn end_now(self: &Arc<Self>, settings: &Settings, targets: Arc<TargetDoors>) {
        let asked = settings.users_from.iter().filter(|source| matches!(source, SourceSettings::Provider(_)));
        let gone = Gone {
            others: Others {
                sources: settings.users_from.iter().map(SourceSettings::source).collect(),
                asked: asked.map(SourceSettings::source).collect(),
            },
            users: settings.users.iter().map(|user| (user.name.clone(), user.clone())).collect(),
            authorities: settings.authorities.clone(),
            revoked: settings.revoked.clone(),
            targets,
        };
        self.end_gone(&gone);
        let names = settings.users.iter().map(|user| user.name.clone()).collect();
        let beside = Beside { names, authorities: gone.authorities.clone(), targets: gone.targets.clone() };
        let (roster, afterwards) = (self.clone(), settings.ssh.limits.login_grace + Duration::from_secs(1));
        let mut running = self.lock();
        for folder in &running.folders {
            self.end_sessions_of(folder, &folder.settings().source(), &beside);
        }
        running.tasks.spawn(async move {
            tokio::time::sleep(afterwards).await;
            roster.end_gone(&gone);
        });
    }

    /// Follows these sources from now on, and no others. Sessions of users that are gone from the configuration, and of
    /// sources that are, end, and so do those whose homes lead to what is guarded by now.
    pub(super) fn follow(self: &Arc<Self>, opened: Opened) {
        let Opened { folders, providers, others, fixed, targets, authorities, revoked, guard, login_grace } = opened;
        let mut running = Running::default();
        let names = fixed.iter().map(|user| user.name.clone()).collect();
        let beside = Arc::new(Beside { names, authorities: authorities.clone(), targets: targets.clone() });
        for (folder, first) in folders {
            running.folders.push(folder.clone());
            running.tasks.spawn(self.clone().follow_folder(folder, first, beside.clone()));
        }
        let asked: Vec<Arc<str>> = providers.iter().map(|provider| provider.source()).collect();
        for provider in providers {
            running.tasks.spawn(recheck::follow(self.clone(), provider, authorities.clone(), targets.clone()));
        }
        let sources: Vec<Arc<str>> = others.iter().map(|(source, _)| source.clone()).collect();
        running.others = others;
        let mut before = {
            let mut place = self.lock();
            std::mem::take(&mut *place)
        };
        before.tasks.abort_all();
        running.tasks.spawn(self.clone().retire_all_but(sources.clone()));
        let others = Others { sources, asked };
        let users: HashMap<Arc<str>, User> = fixed.into_iter().map(|user| (user.name.clone(), user)).collect();
        // A connection keeps the users that it began with until it has logged in.
        let afterwards = login_grace + Duration::from_secs(1);
        let roster = self.clone();
        let gone = Gone { others, users, authorities, revoked, targets };
        running.tasks.spawn(async move {
            roster.end_gone(&gone);
            tokio::time::sleep(afterwards).await;
            roster.end_gone(&gone);
        });
        // Apart, for it may wait for a disk.
        let roster = self.clone();
        running.tasks.spawn(async move {
            guard.end_sessions(&roster.registry).await;
            tokio::time::sleep(afterwards).await;
            guard.end_sessions(&roster.registry).await;
        });
        *self.lock() = running;
    }

    /// Follows nothing any more.
    pub(super) fn stop(&self) {
        *self.lock() = Running::default();
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Running> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Ends the sessions of keys and certificates that are revoked by now.
    fn end_revoked(&self, revoked: &Revoked) {
        let ended = self.registry.end(|live| is_revoked(live, revoked).then(|| farewell(Lapse::KeyRevoked)));
        if ended > 0 {
            tracing::info!(ended, "ended the sessions of keys that are revoked");
        }
    }

    /// Ends the sessions of the configuration's users that may not go on, those of sources that are gone, and those at targets.
    fn end_gone(&self, gone: &Gone) {
        let Gone { others, users, authorities, revoked, targets } = gone;
        self.end_revoked(revoked);
        // Of identity providers: as they described their users last.
        let described = self.registry.users();
        let ended = self.registry.end(|live| {
            let lapse = match &*live.source {
                CONFIGURATION => {
                    let user = users.get(&live.user);
                    lapse_of(live, user, authorities).or_else(|| lapse_at_target(live, user, targets.targets()))
                }
                _ if !others.sources.contains(&live.source) => Some(Lapse::Removed),
                // The round of a folder judges its own.
                _ if !others.asked.contains(&live.source) => None,
                _ => {
                    let person = live.jump.as_ref().and_then(|jump| described.get(jump.through()));
                    lapse_at_target(live, person.map(|person| &**person), targets.targets())
                }
            };
            lapse.map(farewell)
        });
        if ended > 0 {
            tracing::info!(ended, "ended the sessions of users that the new configuration does not let in");
        }
    }

    /// One round after the other.
    async fn follow_folder(self: Arc<Self>, folder: Arc<KeysDirectory>, first: First, beside: Arc<Beside>) {
        let (mut outage, mut shared) = (None, Shared::new(folder.settings().every));
        let mut round = match first {
            First::Done(round) => round,
            First::Pending(round) => {
                tracing::warn!(source = %folder.settings().source(), "the users take long to read");
                round.await.unwrap_or_else(failed)
            }
        };
        loop {
            self.settle(&folder, round, &mut outage, &mut shared, &beside).await;
            tokio::time::sleep(folder.settings().every).await;
            round = folder.round().await;
        }
    }

    /// What a round found becomes true for sessions, and known to the trail and in the log.
    async fn settle(
        &self,
        folder: &KeysDirectory,
        round: Round,
        outage: &mut Option<Instant>,
        shared: &mut Shared,
        beside: &Beside,
    ) {
        let source = folder.settings().source();
        self.end_sessions_of(folder, &source, beside);
        // One that cannot read the folder leaves it to another gateway to tell of changes.
        let has_read = round.outage.is_none() || !round.changes.is_empty();
        self.tell_outage(&source, round.outage, outage).await;
        let more = round.passed_over.len().saturating_sub(MOST_PASSED_OVER);
        for what in round.passed_over.into_iter().take(MOST_PASSED_OVER) {
            tracing::warn!(%source, "passed over {what}");
            self.note(format!("{source}: passed over {what}")).await;
        }
        if more > 0 {
            tracing::warn!(%source, "passed over {more} more files");
            self.note(format!("{source}: passed over {more} more files")).await;
        }
        for change in &round.changes {
            if change.kind == ChangeKind::Added && beside.names.contains(&change.user) {
                tracing::warn!(%source, user = %change.user, "a user of the configuration has this name, and wins");
            }
        }
        if has_read {
            self.tell_changes(folder, &source, &round.changes, shared).await;
        }
    }

    fn end_sessions_of(&self, folder: &KeysDirectory, source: &Arc<str>, beside: &Beside) {
        if !folder.is_known() {
            return;
        }
        let ended = self.registry.end(|live| {
            if live.source != *source {
                return None;
            }
            let user = folder.user(&live.user);
            let lapse = lapse_of(live, user.as_deref(), &beside.authorities);
            let at_target = || lapse_at_target(live, user.as_deref(), beside.targets.targets());
            lapse.or_else(at_target).map(farewell)
        });
        if ended > 0 {
            tracing::info!(%source, ended, "ended the sessions of users or keys that were removed");
        }
    }

    /// The beginning and the end of an outage are told, once each.
    async fn tell_outage(&self, source: &str, now: Option<String>, since: &mut Option<Instant>) {
        match (now, *since) {
            (Some(what), None) => {
                *since = Some(Instant::now());
                tracing::error!(%source, what, "the users cannot be read; the last known ones stay");
                self.note(format!("{source} cannot be read; the last known users stay: {what}")).await;
            }
            (None, Some(began)) => {
                *since = None;
                let seconds = began.elapsed().as_secs();
                tracing::info!(%source, seconds, "the users can be read again");
                self.note(format!("{source} can be read again, after {seconds} s")).await;
            }
            (Some(what), Some(_)) => tracing::debug!(%source, what, "the users still cannot be read"),
            (None, None) => {}
        }
    }

    pub(super) async fn note(&self, message: String) {
        let note = Note { message, operation: Some("USERS".into()), path: None, logical_path: None };
        if !self.record(None, Activity::Error(note)).await {
            tracing::error!("an ERROR event about users was lost");
        }
    }

    pub(super) async fn record(&self, user: Option<Arc<str>>, activity: Activity) -> bool {
        let origin = Origin::of_gateway(user);
        let recording = async { self.recorder.reserve_for_gateway().await?.fill(&origin, &activity).await };
        matches!(timeout(RECORDED_WITHIN, recording).await, Ok(Ok(())))
    }
}

fn failed(error: JoinError) -> Round {
    Round { outage: Some(format!("reading failed: {error}")), ..Round::default() }
}

/// Whether a session of `user`, as the user is now, may not go on.
pub(super) fn lapse_of(live: &LiveSession, user: Option<&User>, trusted: &[AuthorizedKey]) -> Option<Lapse> {
    Lapse::of(user, live.credential.as_deref(), live.source_ip, trusted)
}

/// Whether a session at a target may not go on, because the target or its account is not its user's any more.
pub(super) fn lapse_at_target(live: &LiveSession, user: Option<&User>, targets: &Targets) -> Option<Lapse> {
    let (jump, user) = (live.jump.as_ref()?, user?);
    let account = jump.account().map_or("", |account| account);
    let may = targets.named(jump.target()).is_some_and(|target| target.account_for(&user.targets, account).is_some());
    (!may).then_some(Lapse::TargetRemoved)
}

/// Whether the key, the certificate or the authority of a session is revoked.
fn is_revoked(live: &LiveSession, revoked: &Revoked) -> bool {
    let Some(key) = &live.key else { return false };
    let facts = key.certificate.as_ref().map(|certificate| CertificateFacts {
        authority: &certificate.authority,
        serial: certificate.serial,
        key_id: &certificate.key_id,
    });
    let authority = key.certificate.as_ref().map(|certificate| &certificate.authority_blob);
    STANDARD.decode(&key.blob).is_ok_and(|blob| revoked.revokes(&blob, facts))
        || authority.is_some_and(|blob| STANDARD.decode(blob).is_ok_and(|blob| revoked.revokes_authority(&blob)))
}

pub(super) fn farewell(lapse: Lapse) -> Farewell {
    Farewell { reason: lapse.reason().into(), message: lapse.message().to_owned(), by: None }
}

pub(super) fn activity_of(source: &str, change: &Change) -> Activity {
    let fields = UserChange {
        source: source.to_owned(),
        keys: change.keys.clone(),
        added: change.added.clone(),
        removed: change.removed.clone(),
        message: change.message.clone(),
    };
    match change.kind {
        ChangeKind::Added => Activity::UserAdded(fields),
        ChangeKind::Changed => Activity::UserChanged(fields),
        ChangeKind::Removed => Activity::UserRemoved(fields),
    }
}

/// The folder of these settings; `None` when the store is not there, which the configuration rules out.
pub(super) fn open_folder(settings: &KeysSettings, stores: &[Arc<dyn Store>]) -> Option<Arc<StoreFolder>> {
    let store = stores.iter().find(|store| store.name() == settings.store)?;
    let key = Key::parse(&settings.key).ok()?;
    Some(Arc::new(StoreFolder::new(store.clone(), key)))
}
