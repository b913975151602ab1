//! What a program that embeds the gateway brings along beside its settings.

use std::sync::Arc;

use super::Settings;
use crate::ssh::LoginJudge;
use crate::stores::{self, Store};

/// Stores, which are open already and which the settings name ([`stores::own`]), and the decision on logins. A gateway of its own program
/// has nothing of it.
#[derive(Debug, Clone, Default)]
pub struct Brought {
    /// The stores.
    pub stores: Vec<Arc<dyn Store>>,
    /// Who decides on logins; stays until the end, whatever a reload says.
    pub judge: Option<Arc<dyn LoginJudge>>,
}

impl Settings {
    /// The store that was brought along for these settings, if it was.
    pub(super) fn brought_store(&self, settings: &stores::Settings) -> Option<Arc<dyn Store>> {
        let named = |store: &&Arc<dyn Store>| store.name() == settings.name;
        stores::is_own(settings).then(|| self.brought.stores.iter().find(named).cloned()).flatten()
    }
}
