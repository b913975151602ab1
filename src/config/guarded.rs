//! Folders of stores that no client may change: those that say who may log in, and those that keep the events.

use super::resolve_users::is_name;
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
        let reach = |home: &[HomeEntry]| home.iter().any(|entry| may_change(entry, store, folder));
        if let Some(user) = self.users.iter().find(|user| reach(&user.home)) {
            return Some(format!("lies in the home of the user {:?}, who may change files there", user.name));
        }
        let keys = self.sources.iter().filter_map(|source| match source {
            SourceSettings::Keys(keys) => Some(keys),
            SourceSettings::Provider(_) => None,
        });
        let mut reaching = keys.filter(|keys| reach(&keys.template.home));
        reaching.next().map(|keys| {
            format!("lies in the home that a user of {} has or could have, who may change files there", keys.folder)
        })
    }
}

/// Whether an entry of a home leads into a folder, or to something above it, and lets its user change files.
fn may_change(entry: &HomeEntry, store: &str, folder: &str) -> bool {
    let components = |key| str::split(key, '/').filter(|component: &&str| !component.is_empty());
    let mut pairs = components(&entry.target).zip(components(folder));
    entry.store == store && entry.permissions.can_change() && pairs.all(|(target, name)| may_be(target, name))
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
    use crate::policy::Permissions;

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
