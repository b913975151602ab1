//! The targets as the SSH door serves them: each with a server configuration of its own, for its host keys and their
//! certificates.

use std::collections::HashMap;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use russh::keys::PrivateKey;

use super::{Settings, keys, russh_config};
use crate::users::{InnerLogin, Target, Targets};

/// How old a host certificate becomes before jumps get a new one.
const RENEWED_AFTER: Duration = Duration::from_secs(24 * 60 * 60);

/// How long a host certificate is valid: a session has it to its end, and clients judge it again at each change of keys.
const VALID_FOR: Duration = Duration::from_secs(30 * 24 * 60 * 60);

/// How far the clocks of clients may be behind.
const CLOCKS_DIFFER: Duration = Duration::from_secs(5 * 60);

/// The targets of a configuration, ready to be jumped to.
#[derive(Default)]
pub struct TargetDoors {
    targets: Targets,
    /// By the target's name; one that has neither keys nor certificates of its own is served as the gateway is.
    doors: HashMap<Arc<str>, TargetDoor>,
}

/// A target with keys or certificates of its own.
struct TargetDoor {
    make: Box<dyn Fn() -> Result<russh::server::Config, String> + Send + Sync>,
    /// Whether what was made grows old.
    expires: bool,
    made: Mutex<(Instant, Arc<russh::server::Config>)>,
}

impl std::fmt::Debug for TargetDoors {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TargetDoors").field("targets", &self.targets).finish_non_exhaustive()
    }
}

impl TargetDoors {
    /// Reads the host keys of the targets; `host_ca` signs them, where there is one.
    ///
    /// # Errors
    /// A sentence that says which key cannot be used, and what to do.
    pub fn open(targets: Vec<Target>, host_ca: Option<&Path>, settings: &Settings) -> Result<TargetDoors, String> {
        let authority = host_ca.map(keys::read_host_key).transpose()?.map(Arc::new);
        let mut doors = HashMap::new();
        for target in &targets {
            if target.host_keys.is_empty() && authority.is_none() {
                continue;
            }
            let files = if target.host_keys.is_empty() { &settings.host_keys } else { &target.host_keys };
            let keys = files.iter().map(|path| keys::read_host_key(path)).collect::<Result<Vec<_>, _>>()?;
            doors.insert(target.name.clone(), TargetDoor::open(target, keys, authority.clone(), settings)?);
        }
        Ok(TargetDoors { targets: Targets::new(targets), doors })
    }

    /// The targets.
    pub fn targets(&self) -> &Targets {
        &self.targets
    }

    /// What the library needs to serve `target`; `general` is the gateway's own.
    pub(super) fn config(&self, target: &Target, general: &Arc<russh::server::Config>) -> Arc<russh::server::Config> {
        self.doors.get(&target.name).map_or_else(|| general.clone(), TargetDoor::config)
    }
}

impl TargetDoor {
    fn open(
        target: &Target,
        keys: Vec<PrivateKey>,
        authority: Option<Arc<PrivateKey>>,
        settings: &Settings,
    ) -> Result<TargetDoor, String> {
        let expires = authority.is_some();
        let (name, settings) = (target.name.clone(), settings.clone());
        let mut hosts: Vec<String> = target.addresses.iter().map(|address| address.host().to_owned()).collect();
        hosts.dedup();
        let make = move || {
            let mut config = russh_config(&settings, keys.clone(), false);
            if let Some(authority) = &authority {
                let since =
                    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().saturating_sub(CLOCKS_DIFFER);
                let until = since + CLOCKS_DIFFER + VALID_FOR;
                let sign =
                    |key| keys::host_certificate(key, authority, &name, &hosts, since.as_secs()..until.as_secs());
                config.certificates = keys.iter().map(sign).collect::<Result<_, _>>()?;
            }
            Ok::<_, String>(config)
        };
        let made = Mutex::new((Instant::now(), Arc::new(make()?)));
        Ok(TargetDoor { make: Box::new(make), expires, made })
    }

    fn config(&self) -> Arc<russh::server::Config> {
        let mut made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        if self.expires && made.0.elapsed() >= RENEWED_AFTER {
            match (self.make)() {
                Ok(config) => *made = (Instant::now(), Arc::new(config)),
                Err(error) => tracing::error!(%error, "the host certificate of a target cannot be renewed"),
            }
        }
        made.1.clone()
    }
}

/// Whether the connection that was jumped through is proof enough.
pub(super) fn inherits(target: &Target) -> bool {
    target.inner_login == InnerLogin::Inherited
}
