//! Folders of stores that no client may change: those that say who may log in, and those that keep the events.

use super::resolve_users::is_name;
use crate::policy::Permissions;
use crate::users::{HomeEntry, SourceSettings, User};

/// Stands in a target for the login name.
const USER: &str = "${user}";

/// All homes of a configuration. What an identity provider answers is not known to it.
#[derive(Clone, Copy)]
pub(super) struct Homes<'a> {
    /// The users of the file.
    pub users: &'a [User],
    /// Where the others come from.
    pub sources: &'a [SourceSettings],
}

impl Homes<'_> {
    /// Who may change files in a folder of a store, or the folder itself: a phrase for a problem. `None`: nobody.
    pub(super) fn reaching(&self, store: &str, folder: &str) -> Option<String> {
        let whose = self.whose(|entry| may_change(entry, store, folder))?;
        Some(format!("lies in {whose}, who may change files there"))
    }

    /// In whose home a file or folder of a store lies: a phrase for a problem. `None`: in nobody's.
    pub(super) fn showing(&self, store: &str, path: &str) -> Option<String> {
        let shows = |entry: &HomeEntry| entry.permissions != Permissions::NONE && leads_to(entry, store, path);
        Some(format!("lies in {}", self.whose(shows)?))
    }

    /// Whose home has such an entry.
    fn whose(&self, is_it: impl Fn(&HomeEntry) -> bool) -> Option<String> {
        let has = |home: &[HomeEntry]| home.iter().any(&is_it);
        if let Some(user) = self.users.iter().find(|user| has(&user.home)) {
            return Some(format!("the home of the user {:?}", user.name));
        }
        let keys = self.sources.iter().filter_map(|source| match source {
            SourceSettings::Keys(keys) => Some(keys),
            SourceSettings::Provider(_) => None,
        });
        let mut with_it = keys.filter(|keys| has(&keys.template.home));
        with_it.next().map(|keys| format!("the home that a user of {} has or could have", keys.folder))
    }
}

/// Whether an entry of a home leads into a folder, or to something above it, and lets its user change files.
fn may_change(entry: &HomeEntry, store: &str, folder: &str) -> bool {
    entry.permissions.can_change() && leads_to(entry, store, folder)
}

/// Whether an entry of a home leads into a folder, or to something above it.
fn leads_to(entry: &HomeEntry, store: &str, folder: &str) -> bool {
    let components = |key| str::split(key, '/').filter(|component: &&str| !component.is_empty());
    let mut pairs = components(&entry.target).zip(components(folder));
    entry.store == store && pairs.all(|(target, name)| may_be(target, name))
}

/// Whether a component of a target is this name, for some user.
fn may_be(target: &str, name: &str) -> bool {
    let Some((before, after)) = target.split_once(USER) else { return target == name };
    match name.strip_prefix(before).and_then(|rest| rest.strip_suffix(after)) {
        Some(user) => is_name(user),
        // The name may stand in it more than once.
        None => after.contains(USER) && name.starts_with(before),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::path::LogicalPath;

    #[test]
    fn homes_above_in_and_beside_a_folder_are_told_apart() {
        for (target, folder, meets) in [
            ("", "keys", true),
            ("keys", "keys", true),
            ("keys/alice", "keys", true),
            ("safe", "safe/keys", true),
            ("keys2", "keys", false),
            ("home/${user}", "keys", false),
            ("home/${user}", "home/keys", true),
            ("${user}", "keys", true),
            ("${user}", ".keys", false),
            ("${user}/in", "keys", true),
            ("${user}/in", "keys/out", false),
            ("u-${user}", "keys", false),
            ("u-${user}", "u-keys", true),
            ("${user}-${user}", "a-a", true),
            ("home/${user}", "home/.audit/lockgate", false),
        ] {
            let entry = |store: &str, permissions| HomeEntry {
                entry: LogicalPath::root(),
                store: store.into(),
                target: target.into(),
                permissions,
            };
            let all = Permissions::READ_WRITE;
            assert_eq!(may_change(&entry("lake", all), "lake", folder), meets, "{target} {folder}");
            assert!(!may_change(&entry("lake", Permissions::READ_ONLY), "lake", folder));
            assert!(!may_change(&entry("other", all), "lake", folder));
        }
    }
}
