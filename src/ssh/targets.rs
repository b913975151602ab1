//! The targets as the SSH door serves them: each with a server configuration of its own, for its own host keys.

use std::collections::HashMap;
use std::sync::Arc;

use super::{Settings, keys, russh_config};
use crate::users::{InnerLogin, Target, Targets};

/// The targets of a configuration, ready to be jumped to.
#[derive(Default)]
pub struct TargetDoors {
    targets: Targets,
    /// By the target's name; one without host keys of its own has the gateway's.
    configs: HashMap<Arc<str>, Arc<russh::server::Config>>,
}

impl std::fmt::Debug for TargetDoors {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TargetDoors").field("targets", &self.targets).finish_non_exhaustive()
    }
}

impl TargetDoors {
    /// Reads the host keys of the targets.
    ///
    /// # Errors
    /// A sentence that says which key cannot be used, and what to do.
    pub fn open(targets: Vec<Target>, settings: &Settings) -> Result<TargetDoors, String> {
        let mut configs = HashMap::new();
        for target in targets.iter().filter(|target| !target.host_keys.is_empty()) {
            let keys = target.host_keys.iter().map(|path| keys::read_host_key(path)).collect::<Result<Vec<_>, _>>()?;
            configs.insert(target.name.clone(), Arc::new(russh_config(settings, keys, false)));
        }
        Ok(TargetDoors { targets: Targets::new(targets), configs })
    }

    /// The targets.
    pub fn targets(&self) -> &Targets {
        &self.targets
    }

    /// What the library needs to serve `target`; `general` is the gateway's own.
    pub(super) fn config(&self, target: &Target, general: &Arc<russh::server::Config>) -> Arc<russh::server::Config> {
        self.configs.get(&target.name).unwrap_or(general).clone()
    }
}

/// Whether the connection that was jumped through is proof enough.
pub(super) fn inherits(target: &Target) -> bool {
    target.inner_login == InnerLogin::Inherited
}
