//! What of a new configuration holds while some of its stores cannot be opened.
//!
//! What the new configuration takes away (tokens, users, keys, roles, targets) depends on no store, and always holds. A store that was
//! there before stays as it was under its name, so no user may get there who had no access to it: what needs a store that is not open
//! holds only where the user had the same before. Otherwise the home stays as it was, and a new user waits.

use std::collections::BTreeSet;

use super::Settings;
use crate::stores;
use crate::users::{HomeEntry, KeysSettings, SourceSettings, User};

/// Settings that hold, and what of the new ones does not.
#[derive(Debug)]
pub(super) struct Partly {
    pub(super) settings: Settings,
    /// One phrase for each.
    pub(super) held_back: Vec<String>,
}

/// What of `new` holds after `running`, while the stores of the names `unopened` are not open: each is new, or has changed.
pub(super) fn without(new: &Settings, running: &Settings, unopened: &BTreeSet<String>) -> Partly {
    let mut settings = new.clone();
    let mut held_back = Vec::new();
    if unopened.is_empty() {
        return Partly { settings, held_back };
    }
    let between = Between { new, running, unopened };
    settings.users = new.users.iter().filter_map(|user| between.user(user, &mut held_back)).collect();
    settings.users_from = new.users_from.iter().filter_map(|source| between.source(source, &mut held_back)).collect();
    settings.stores = between.stores(&settings);
    settings.guard = settings.guard.with_roots(stores::roots(&settings.stores));
    Partly { settings, held_back }
}

/// Two configurations, and what is missing on the way from one to the other.
struct Between<'a> {
    new: &'a Settings,
    running: &'a Settings,
    unopened: &'a BTreeSet<String>,
}

/// What becomes of a home.
enum Home {
    New,
    /// It stays as it was.
    Before(Vec<HomeEntry>),
    /// There was none, or its stores are gone.
    Waits,
}

impl Between<'_> {
    fn user(&self, user: &User, held_back: &mut Vec<String>) -> Option<User> {
        let before = self.running.users.iter().find(|before| before.name == user.name);
        match self.home(&user.home, before.map(|before| &*before.home)) {
            Home::New => Some(user.clone()),
            Home::Before(home) => {
                held_back.push(format!("the home of {} stays as it was", user.name));
                Some(User { home, ..user.clone() })
            }
            Home::Waits => {
                held_back.push(format!("{} cannot log in", user.name));
                None
            }
        }
    }

    fn source(&self, source: &SourceSettings, held_back: &mut Vec<String>) -> Option<SourceSettings> {
        let SourceSettings::Keys(keys) = source else { return Some(source.clone()) };
        let before = self.running.users_from.iter().find_map(|before| match before {
            SourceSettings::Keys(before) if before.source() == keys.source() => Some(&**before),
            SourceSettings::Keys(_) | SourceSettings::Provider(_) | SourceSettings::Own(_) => None,
        });
        let is_there = !self.unopened.contains(&keys.store) || before.is_some();
        let home = self.home(&keys.template.home, before.map(|before| &*before.template.home));
        match (is_there, home) {
            (true, Home::New) => Some(source.clone()),
            (true, Home::Before(home)) => {
                held_back.push(format!("the home of the users of {} stays as it was", keys.source()));
                let mut kept = KeysSettings::clone(keys);
                kept.template.home = home;
                Some(SourceSettings::Keys(Box::new(kept)))
            }
            (false, _) | (_, Home::Waits) => {
                held_back.push(format!("the users of {} cannot log in", keys.source()));
                None
            }
        }
    }

    fn home(&self, new: &[HomeEntry], before: Option<&[HomeEntry]>) -> Home {
        let before = before.unwrap_or_default();
        let is_fine = |entry: &HomeEntry| {
            !self.unopened.contains(&entry.store) || before.iter().any(|before| is_same_place(before, entry))
        };
        if new.iter().all(is_fine) {
            return Home::New;
        }
        if before.is_empty() || !before.iter().all(|entry| self.still_runs(&entry.store)) {
            return Home::Waits;
        }
        // Where the place is the same, what is allowed there is what is allowed now.
        let now = |before: &HomeEntry| new.iter().find(|entry| is_same_place(before, entry)).unwrap_or(before).clone();
        Home::Before(before.iter().map(now).collect())
    }

    /// Whether the store of this name is what it was.
    fn still_runs(&self, name: &str) -> bool {
        let named = |stores: &[stores::Settings]| stores.iter().find(|store| store.name == name).cloned();
        let Some(before) = named(&self.running.stores) else { return false };
        self.unopened.contains(name) || named(&self.new.stores).is_none_or(|new| new == before)
    }

    /// The stores behind what holds: the new ones that are open, and those of before that stay.
    fn stores(&self, settings: &Settings) -> Vec<stores::Settings> {
        let before = |name: &str| self.running.stores.iter().find(|store| store.name == name).cloned();
        let mut stores: Vec<stores::Settings> = (self.new.stores.iter())
            .filter_map(|store| match self.unopened.contains(&store.name) {
                true => before(&store.name),
                false => Some(store.clone()),
            })
            .collect();
        let templates = settings.users_from.iter().filter_map(|source| match source {
            SourceSettings::Keys(keys) => Some(&keys.template.home),
            SourceSettings::Provider(_) | SourceSettings::Own(_) => None,
        });
        for entry in settings.users.iter().map(|user| &user.home).chain(templates).flatten() {
            if stores.iter().all(|store| store.name != entry.store) {
                stores.extend(before(&entry.store));
            }
        }
        stores
    }
}

fn is_same_place(one: &HomeEntry, other: &HomeEntry) -> bool {
    (&one.entry, &one.store, &one.target) == (&other.entry, &other.store, &other.target)
}

#[cfg(test)]
#[path = "held_back_tests.rs"]
mod tests;
