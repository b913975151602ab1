//! The company of a gateway in a build without the feature `fleet`: nobody. `peers` is the same with it.

use std::path::Path;
use std::sync::Arc;

use tokio::sync::watch;

use super::Settings;
use crate::audit::Recorder;
use crate::session::gate::Gate;
use crate::session::{Alone, Peers, Registry};

/// Whom the gateway shares its state with.
#[derive(Debug)]
pub(super) struct Company;

/// The same, while the gateway serves.
#[derive(Debug)]
pub(super) struct KeptCompany;

impl Company {
    pub(super) fn of(_: &Settings, _: &Registry, _: &Recorder) -> Company {
        Company
    }

    /// As the doors see them.
    pub(super) fn peers(&self) -> Arc<dyn Peers> {
        Arc::new(Alone)
    }

    pub(super) fn keep(&self, _: &Arc<Gate>, _: &watch::Sender<bool>, _: Option<&Path>) -> KeptCompany {
        KeptCompany
    }
}

impl KeptCompany {
    pub(super) async fn stop(self) {}
}
