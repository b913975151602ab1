//! The gateway's company: the others of its fleet, or nobody.

use std::path::Path;
use std::sync::Arc;

use tokio::sync::watch;

use super::Settings;
use crate::audit::Recorder;
use crate::fleet::{Fleet, Kept};
use crate::session::gate::Gate;
use crate::session::{Alone, Peers, Registry};

/// Whom the gateway shares its state with.
#[derive(Debug)]
pub(super) struct Company(Option<Arc<Fleet>>);

/// The same, while the gateway serves.
#[derive(Debug)]
pub(super) struct KeptCompany(Option<Kept>);

impl Company {
    pub(super) fn of(settings: &Settings, registry: &Registry, recorder: &Recorder) -> Company {
        let join = |fleet| Fleet::new(fleet, &settings.audit.server, registry.clone(), recorder.clone());
        Company(settings.fleet.clone().map(join))
    }

    /// As the doors see them.
    pub(super) fn peers(&self) -> Arc<dyn Peers> {
        match &self.0 {
            Some(fleet) => fleet.clone(),
            None => Arc::new(Alone),
        }
    }

    /// From now on the others know what happens here, and the other way round.
    pub(super) fn keep(&self, gate: &Arc<Gate>, draining: &watch::Sender<bool>, trail: Option<&Path>) -> KeptCompany {
        KeptCompany(self.0.as_ref().map(|fleet| fleet.keep(gate.clone(), draining.subscribe(), trail)))
    }
}

impl KeptCompany {
    /// Tells the others that the gateway ends.
    pub(super) async fn stop(self) {
        if let Some(kept) = self.0 {
            kept.stop().await;
        }
    }
}
