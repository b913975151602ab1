//! A reload: from the settings that hold to new ones, in two steps.
//!
//! First, what the new settings take away goes, without waiting for anything: tokens, users, keys, roles, targets. Then the stores that
//! are new or have changed are opened, and the rest holds. What needs a store that cannot be opened stays as it was ([`held_back`]).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures_util::future::join_all;
use tokio::sync::watch;

use super::held_back::{self, Partly};
use super::opening::{open_store, remove_unfinished};
use super::{Backed, Settings, StartError, Told, inside_of, make_homes};
use crate::audit::Recorder;
use crate::session::gate::Gate;
use crate::ssh::{Homes, TargetDoors};
use crate::stores::{self, Store};
use crate::users::Directory;

/// The settings that hold, and their stores.
#[derive(Debug)]
pub(super) struct InForce {
    pub(super) settings: Settings,
    pub(super) stores: Vec<Arc<dyn Store>>,
}

/// What a reload works on.
#[derive(Debug)]
pub(super) struct Reload {
    pub(super) settings: Box<Settings>,
    pub(super) backed: Backed,
    pub(super) homes: Arc<watch::Sender<Option<Homes>>>,
    pub(super) recorder: Recorder,
    pub(super) gate: Arc<Gate>,
}

/// Stores that were opened, and what kept the others from it, by their names.
#[derive(Debug, Default)]
struct Opened {
    stores: BTreeMap<String, Arc<dyn Store>>,
    failures: BTreeMap<String, StartError>,
}

impl Reload {
    /// Changes to the new settings, and tells how that went. Dropped, it leaves one of its two steps whole.
    pub(super) async fn run(self, waits_for_restart: Vec<String>, told: Option<Told>) {
        let mut outcome = self.change().await;
        match &outcome {
            Ok(()) => tracing::info!("reloaded: users, stores, permissions and `defender` hold for new connections"),
            Err(error) => tracing::error!(error, "the reload failed, wholly or in part"),
        }
        self.recorder.reopen().await;
        // Whatever became of the rest: who changed the key does not trust the one before any more.
        if let Err(what) = self.recorder.take_key().await {
            let key = format!("a new key of the trail does not hold: {what}");
            outcome = Err(match outcome {
                Ok(()) => format!("the new configuration holds, and {key}"),
                Err(error) => format!("{error}; and {key}"),
            });
        }
        if let Some(told) = told {
            // Who asked may have gone.
            let _ = told.send(outcome.map(|()| waits_for_restart));
        }
    }

    async fn change(&self) -> Result<(), String> {
        let settings = &*self.settings;
        let targets = TargetDoors::open(settings.targets.clone(), settings.host_ca.as_deref(), &settings.ssh);
        let targets = targets.map_err(|error| format!("the old configuration stays: {error}"))?;
        self.restrict(Arc::new(targets));
        let opened = self.open_stores().await;
        let partly = self.partly(&opened.failures.keys().cloned().collect());
        let stores = self.stores_of(&partly.settings, &opened.stores);
        let sources = self.backed.roster.open(&partly.settings, &stores).await;
        let sources = sources.map_err(|error| {
            format!("what the new configuration removes is gone; the rest stays as it was: {error}")
        })?;
        let Partly { settings, held_back } = partly;
        self.apply(settings, stores, sources.directory(), sources.targets());
        self.backed.roster.follow(sources);
        told(&opened.failures, &held_back)
    }

    /// The first step: nothing is added that needs a store which is not open yet.
    fn restrict(&self, targets: Arc<TargetDoors>) {
        let unopened = {
            let in_force = self.in_force();
            let is_open = |store: &&stores::Settings| in_force.running(store).is_some();
            self.settings.stores.iter().filter(|store| !is_open(store)).map(|store| store.name.clone()).collect()
        };
        let Partly { settings, .. } = self.partly(&unopened);
        let stores = self.stores_of(&settings, &BTreeMap::new());
        let directory = self.backed.roster.restricted(&settings);
        self.apply(settings.clone(), stores, directory, &targets);
        self.gate.set_defender(settings.ssh.defender.clone());
        self.backed.roster.end_now(&settings, targets);
    }

    fn in_force(&self) -> MutexGuard<'_, InForce> {
        self.backed.in_force.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn partly(&self, unopened: &BTreeSet<String>) -> Partly {
        held_back::without(&self.settings, &self.in_force().settings, unopened)
    }

    /// The stores of these settings: of those that were opened, or else of those that run.
    fn stores_of(&self, settings: &Settings, opened: &BTreeMap<String, Arc<dyn Store>>) -> Vec<Arc<dyn Store>> {
        let in_force = self.in_force();
        let stores = settings.stores.iter();
        stores.filter_map(|store| opened.get(&store.name).cloned().or_else(|| in_force.running(store))).collect()
    }

    /// Opens the stores that do not run yet, and again those that rest on files of this machine, which may have changed. One of the
    /// latter that fails runs on as it is.
    async fn open_stores(&self) -> Opened {
        let (backed, timings) = (&self.backed, &self.recorder.metrics().timings);
        let running: Vec<_> = {
            let in_force = self.in_force();
            self.settings.stores.iter().map(|store| in_force.running(store)).collect()
        };
        let opening = self.settings.stores.iter().zip(&running).map(async |(store, running)| {
            if running.is_some() && !stores::rests_on_files(store) {
                return None;
            }
            let brought = self.settings.brought_store(store);
            let opened = open_store(store, brought, &backed.unfinished, backed.at_once).await;
            Some((store, running.is_some(), opened))
        });
        let mut opened = Opened::default();
        for (store, runs, outcome) in join_all(opening).await.into_iter().flatten() {
            let name = store.name.clone();
            match outcome {
                Ok(store) => _ = opened.stores.insert(name.clone(), stores::timed(store, timings.store(&name))),
                Err(error) if runs => tracing::warn!(%error, "a store could not be opened again, and goes on as it is"),
                Err(error) => _ = opened.failures.insert(name, error),
            }
        }
        opened
    }

    /// Lets settings hold, in one step for each of those who look.
    fn apply(
        &self,
        settings: Settings,
        stores: Vec<Arc<dyn Store>>,
        directory: Arc<dyn Directory>,
        targets: &Arc<TargetDoors>,
    ) {
        let removing = tokio::spawn(remove_unfinished(stores.iter().map(Arc::downgrade).collect()));
        self.backed.unfinished.removed_by(removing.abort_handle());
        self.backed.inside.send_replace(inside_of(&settings, &stores, directory.clone()));
        self.homes.send_replace(Some(make_homes(&settings, stores.clone(), directory, targets.clone(), &self.backed)));
        *self.in_force() = InForce { settings, stores };
    }
}

impl InForce {
    pub(super) fn new(settings: Settings, stores: Vec<Arc<dyn Store>>) -> Arc<Mutex<InForce>> {
        Arc::new(Mutex::new(InForce { settings, stores }))
    }

    /// The store of these settings, if it runs.
    fn running(&self, store: &stores::Settings) -> Option<Arc<dyn Store>> {
        let is_the_same = self.settings.stores.contains(store);
        is_the_same.then(|| self.stores.iter().find(|running| running.name() == store.name).cloned()).flatten()
    }
}

/// What is said of a reload with stores that could not be opened.
fn told(failures: &BTreeMap<String, StartError>, held_back: &[String]) -> Result<(), String> {
    if failures.is_empty() {
        return Ok(());
    }
    let failures: Vec<_> = failures.values().map(ToString::to_string).collect();
    let mut named: Vec<_> = held_back.iter().take(MOST_TOLD).cloned().collect();
    if held_back.len() > MOST_TOLD {
        named.push(format!("and {} more", held_back.len() - MOST_TOLD));
    }
    let waits = if named.is_empty() { "nothing else waits for that".to_owned() } else { named.join("; ") };
    Err(format!(
        "{}. The new configuration holds except for what needs that: {waits}. Reload again when it is mended",
        failures.join("; ")
    ))
}

/// How many users and sources one answer names.
const MOST_TOLD: usize = 20;
