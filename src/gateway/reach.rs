//! Whether the sources of users can be reached: for `check --online`.

use tokio::time::timeout;

use super::roster::open_folder;
use super::{STORE_ANSWERS_WITHIN, Settings};
use crate::stores;
use crate::users::{Attempt, Directory, KeysDirectory, KeysSettings, ProviderDirectory, SourceSettings, Told};

/// What `check --online` finds out about the sources of users.
#[derive(Debug, Default)]
pub struct Reached {
    /// Sources that cannot be read or asked.
    pub failures: Vec<String>,
    /// What works, and still ought to be known.
    pub notes: Vec<String>,
}

/// Reads every folder once, and asks every provider for a user that it will hardly have. Nothing is told or kept.
pub async fn reach_users(settings: &Settings) -> Reached {
    let mut reached = Reached::default();
    for source in &settings.users_from {
        match source {
            SourceSettings::Keys(keys) => reach_folder(keys, settings, &mut reached).await,
            SourceSettings::Provider(provider) => {
                let attempt = Attempt { source_ip: [127, 0, 0, 1].into() };
                let asked = match ProviderDirectory::new((**provider).clone()) {
                    Ok(directory) => {
                        directory.find("lockgate-check", &attempt).await.map_err(|error| error.to_string())
                    }
                    Err(what) => Err(what),
                };
                reached.failures.extend(asked.err());
            }
            SourceSettings::Own(_) => {}
        }
    }
    reached
}

async fn reach_folder(keys: &KeysSettings, settings: &Settings, reached: &mut Reached) {
    let source = keys.source();
    let Some(store) = settings.stores.iter().find(|store| store.name == keys.store) else { return };
    // A store that cannot be opened is reported as such.
    let Ok(Ok(store)) = timeout(STORE_ANSWERS_WITHIN, stores::open_aside(store, None)).await else { return };
    let Some(folder) = open_folder(keys, &[store]) else { return };
    let directory = KeysDirectory::new(keys.clone(), folder, Told::default());
    let round = directory.round().await;
    reached.failures.extend(round.outage.map(|what| format!("{source} cannot be read: {what}")));
    let users = round.changes.len();
    reached.notes.push(format!("{source} has {users} user{}", if users == 1 { "" } else { "s" }));
    reached.notes.extend(round.passed_over.into_iter().map(|what| format!("{source}: passed over {what}")));
    for change in round.changes {
        if settings.users.iter().any(|user| user.name == change.user) {
            let name = change.user;
            reached.notes.push(format!("{source}: {name} stands in the configuration too, which wins"));
        }
    }
}
