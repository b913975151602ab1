//! The gateway's company: the others of its fleet, or nobody.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use aws_lc_rs::digest;
use tokio::sync::watch;
use uuid::Uuid;

use super::Settings;
use crate::audit::Recorder;
use crate::fleet::{Fleet, Kept, UsersSeal};
use crate::regular_file;
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
        let join = |fleet| {
            let seal = UsersSeal::of(&shared_secret(&settings.ssh.host_keys));
            Fleet::new(fleet, &settings.audit.server, registry.clone(), recorder.clone(), seal)
        };
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

/// The largest file of a host key, in bytes.
const MOST: u64 = 64 * 1024;

/// What gateways with the same host keys have in common, and nobody else knows: digests of the keys' files, in their order. A gateway with
/// other ones knows something else, and so does one whose files cannot be read; then each tells for itself.
fn shared_secret(host_keys: &[PathBuf]) -> Vec<u8> {
    let digest = |path: &PathBuf| {
        let file = regular_file::read(path, MOST).ok()?;
        Some(digest::digest(&digest::SHA256, file.trim_ascii()).as_ref().to_vec())
    };
    let mut digests: Vec<Vec<u8>> = host_keys.iter().filter_map(digest).collect();
    digests.sort();
    if digests.is_empty() {
        return Uuid::now_v7().as_bytes().to_vec();
    }
    digests.concat()
}
