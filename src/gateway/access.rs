//! Who may log in, with which keys, and what they reach: for `audit access`.

use std::collections::HashSet;
use std::sync::Arc;

use tokio::time::timeout;

use super::roster::open_folder;
use super::{STORE_ANSWERS_WITHIN, Settings};
use crate::stores;
use crate::users::{
    Attempt, AuthorizedKey, Directory, KeysDirectory, KeysSettings, ProviderDirectory, ProviderSettings, Revoked,
    SourceSettings, Target, Told, User,
};

/// The users that a gateway with these settings would let in now.
#[derive(Debug, Default)]
pub struct Access {
    /// By name. Where several sources have a name, the first one's user, who is the one that logs in.
    pub users: Vec<Arc<User>>,
    /// Authorities whose certificates are accepted for every user.
    pub authorities: Vec<AuthorizedKey>,
    /// Keys, authorities and certificates that let nobody in.
    pub revoked: Arc<Revoked>,
    /// Where users may jump to.
    pub targets: Vec<Target>,
    /// What the list does not show, a sentence each.
    pub notes: Vec<String>,
    /// Sources that could not be read: the list is not complete.
    pub failures: Vec<String>,
}

impl Access {
    /// Reads the configuration's users and every folder of keys. An identity provider knows its users alone; it is asked about `name`
    /// if there is one. `name`: nobody else is wanted.
    pub async fn of(settings: &Settings, name: Option<&str>) -> Access {
        let mut access = Access {
            authorities: settings.authorities.clone(),
            revoked: settings.revoked.clone(),
            targets: settings.targets.clone(),
            ..Access::default()
        };
        let mut found: Vec<Arc<User>> = settings.users.iter().cloned().map(Arc::new).collect();
        for source in &settings.users_from {
            match source {
                SourceSettings::Keys(keys) => found.extend(access.read_folder(keys, settings).await),
                SourceSettings::Provider(provider) => found.extend(access.ask(provider, name).await),
                SourceSettings::Own(own) => found.extend(own.directory.known()),
            }
        }
        let mut names = HashSet::new();
        for user in found.into_iter().filter(|user| name.is_none_or(|name| *user.name == *name)) {
            if names.insert(user.name.clone()) {
                access.users.push(user);
            } else {
                let User { name, source, .. } = &*user;
                access
                    .notes
                    .push(format!("{source} also has a user {name}, who does not log in: an earlier source wins"));
            }
        }
        access.users.sort_by(|a, b| a.name.cmp(&b.name));
        access
    }

    async fn read_folder(&mut self, keys: &KeysSettings, settings: &Settings) -> Vec<Arc<User>> {
        let source = keys.source();
        let Some(store) = settings.stores.iter().find(|store| store.name == keys.store) else { return Vec::new() };
        let reading = async {
            let store = stores::open_aside(store, None).await.map_err(|error| error.to_string())?;
            let Some(folder) = open_folder(keys, &[store]) else {
                return Err("its folder cannot be opened".to_owned());
            };
            let directory = KeysDirectory::new(keys.clone(), folder, Told::default());
            let round = directory.round().await;
            match round.outage {
                Some(what) => Err(what),
                None => Ok((directory.known(), round.passed_over)),
            }
        };
        let read = timeout(STORE_ANSWERS_WITHIN, reading).await;
        let late = || format!("it does not answer within {} s", STORE_ANSWERS_WITHIN.as_secs());
        match read.unwrap_or_else(|_| Err(late())) {
            Ok((users, passed_over)) => {
                self.notes.extend(passed_over.into_iter().map(|what| format!("{source}: passed over {what}")));
                users
            }
            Err(what) => {
                self.failures.push(format!("{source} cannot be read: {what}"));
                Vec::new()
            }
        }
    }

    async fn ask(&mut self, provider: &ProviderSettings, name: Option<&str>) -> Option<Arc<User>> {
        let source = provider.source();
        let Some(name) = name else {
            self.notes
                .push(format!("{source} is an identity provider and does not list its users; name one with --user"));
            return None;
        };
        let directory = ProviderDirectory::new(provider.clone()).map_err(|what| self.failures.push(what)).ok()?;
        let attempt = Attempt { source_ip: [127, 0, 0, 1].into() };
        let answer = directory.find(name, &attempt).await;
        answer.map_err(|error| self.failures.push(error.to_string())).ok().flatten()
    }
}
