//! Which homes lead to a place, by whatever name: to the folders of keys, to the trail, to the operator's own files.
//!
//! An entry leads to a place that is in its folder, is that folder, or lies above it. Where stores, links or URLs give one place several
//! names, places are compared and not names. What homes an identity provider gives is not known here: each is judged when it comes.

use std::fs;
use std::path::{Path, PathBuf};

use super::resolve_users::is_name;
use crate::policy::Permissions;
use crate::stores::{self, Place, Root};
use crate::users::{HomeEntry, SourceSettings, Target, User};

/// Stands in a target for the login name.
const USER: &str = "${user}";

/// The local store's own folder in its root, which no client reaches through that store.
const RESERVED: &str = ".lockgate";

/// All homes of a configuration, and where their entries really lead.
#[derive(Debug)]
pub(super) struct Homes<'a> {
    users: &'a [User],
    sources: &'a [SourceSettings],
    targets: &'a [Target],
    roots: Vec<Root>,
    leads: Vec<Lead>,
}

/// Where an entry leads.
#[derive(Debug)]
struct Lead {
    whose: Whose,
    permissions: Permissions,
    /// The place of its store's root.
    root: usize,
    /// A name of it may hold [`USER`].
    place: Place,
}

/// Whose home it is, by its number.
#[derive(Debug, Clone, Copy)]
enum Whose {
    User(usize),
    Source(usize),
    Account(usize, usize),
}

impl<'a> Homes<'a> {
    /// The homes of these users, of those whom a source gives a home that is known, and of the accounts of targets.
    pub(super) fn new(
        users: &'a [User],
        sources: &'a [SourceSettings],
        targets: &'a [Target],
        stores: &'a [stores::Settings],
    ) -> Homes<'a> {
        Homes::on(users, sources, targets, stores::roots(stores))
    }

    /// As [`Homes::new`], on roots that are known.
    pub(super) fn on(
        users: &'a [User],
        sources: &'a [SourceSettings],
        targets: &'a [Target],
        roots: Vec<Root>,
    ) -> Homes<'a> {
        let mut homes = Homes { users, sources, targets, roots, leads: Vec::new() };
        for (number, user) in users.iter().enumerate() {
            homes.add(Whose::User(number), &user.home);
        }
        for (number, source) in sources.iter().enumerate() {
            if let SourceSettings::Keys(keys) = source {
                homes.add(Whose::Source(number), &keys.template.home);
            }
        }
        for (number, target) in targets.iter().enumerate() {
            for (place, account) in target.accounts.iter().enumerate() {
                homes.add(Whose::Account(number, place), &account.home);
            }
        }
        homes
    }

    fn add(&mut self, whose: Whose, home: &[HomeEntry]) {
        for entry in home {
            let Some(root) = self.roots.iter().position(|root| root.name == entry.store) else { continue };
            let Some(Root { place, .. }) = self.roots.get(root) else { continue };
            let leads = targets(place, &entry.target);
            let lead = |place| Lead { whose, permissions: entry.permissions, root, place };
            self.leads.extend(leads.into_iter().map(lead));
        }
    }

    /// Where a folder of a store is; `None` for a store that is not known.
    pub(super) fn place(&self, store: &str, folder: &str) -> Option<Place> {
        let Root { place: root, .. } = self.roots.iter().find(|root| root.name == store)?;
        Some(match root.path() {
            Some(path) => Place::of_path(&path.join(folder)),
            None => root.below(folder),
        })
    }

    /// The gateway's own folder in each local store.
    pub(super) fn own_folders(&self) -> impl Iterator<Item = (&str, Place)> {
        let local = self.roots.iter().filter(|root| root.place.path().is_some());
        local.map(|root| (root.name.as_str(), root.place.below(RESERVED)))
    }

    /// Who may change files in a folder, or the folder itself: a phrase for a problem. `None`: nobody.
    pub(super) fn reaching(&self, folder: &Place) -> Option<String> {
        let whose = self.whose(|lead| lead.permissions.can_change() && self.leads_to(lead, folder))?;
        Some(format!("is inside {whose}, where clients may change files"))
    }

    /// In whose home a file or folder lies: a phrase for a problem. `None`: in nobody's.
    pub(super) fn showing(&self, place: &Place) -> Option<String> {
        let whose = self.whose(|lead| lead.permissions != Permissions::NONE && self.leads_to(lead, place))?;
        Some(format!("is inside {whose}"))
    }

    /// Whose home has such an entry.
    fn whose(&self, is_it: impl Fn(&Lead) -> bool) -> Option<String> {
        Some(match self.leads.iter().find(|lead| is_it(lead))?.whose {
            Whose::User(number) => format!("the home of the user {:?}", self.users.get(number)?.name),
            Whose::Source(number) => match self.sources.get(number)? {
                SourceSettings::Keys(keys) => format!("the home that a user of {} has or could have", keys.folder),
                SourceSettings::Provider(_) | SourceSettings::Own(_) => return None,
            },
            Whose::Account(number, place) => {
                let target = self.targets.get(number)?;
                format!(
                    "the home of the account {:?} of the target {:?}",
                    target.accounts.get(place)?.name,
                    target.name
                )
            }
        })
    }

    fn leads_to(&self, lead: &Lead, place: &Place) -> bool {
        let mut names = lead.place.way().iter().zip(place.way());
        let leads = lead.place.shares_site(place) && names.all(|(target, name)| may_be(target, name));
        leads && !self.is_reserved(lead, place)
    }

    /// Whether it is in the own folder of the store through which the entry leads there.
    fn is_reserved(&self, lead: &Lead, place: &Place) -> bool {
        let root = self.roots.get(lead.root).map(|root| &root.place);
        let Some(root) = root.filter(|root| root.path().is_some()) else { return false };
        root.below(RESERVED).may_hold(place)
    }
}

/// Where a target below the root of a store leads: with links followed up to the first name that depends on the user, and one place for
/// each link that is there for one by now.
fn targets(root: &Place, target: &str) -> Vec<Place> {
    let Some(path) = root.path() else { return vec![root.below(target)] };
    let names: Vec<&str> = target.split('/').filter(|name| !name.is_empty()).collect();
    let mut found = Vec::new();
    expand(path, &names, &mut found);
    found
}

/// `folder` has no links on its way.
fn expand(folder: PathBuf, names: &[&str], found: &mut Vec<Place>) {
    let fixed = names.iter().take_while(|name| !name.contains(USER)).count();
    let (fixed, open) = names.split_at(fixed);
    let folder = stores::real_path_below(folder, &fixed.iter().collect::<PathBuf>());
    found.push(Place::of_real_path(&folder).below(&open.join("/")));
    let Some((name, below)) = open.split_first() else { return };
    // What is no link is covered by the names themselves, unless one lies below it.
    for entry in fs::read_dir(&folder).into_iter().flatten().flatten() {
        let is_link = entry.file_type().is_ok_and(|kind| kind.is_symlink());
        let is_folder = !below.is_empty() && entry.file_type().is_ok_and(|kind| kind.is_dir());
        if (is_link || is_folder) && entry.file_name().to_str().is_some_and(|found| may_be(name, found)) {
            expand(stores::real_path_below(folder.clone(), Path::new(&entry.file_name())), below, found);
        }
    }
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
#[allow(clippy::unwrap_used)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;
    use crate::path::LogicalPath;
    use crate::users::testing::user;

    fn user_with_home(store: &str, target: &str, permissions: Permissions) -> User {
        let (entry, store, target) = (LogicalPath::root(), store.into(), target.into());
        User { home: vec![HomeEntry { entry, store, target, permissions }], ..user("ann") }
    }

    fn store(name: &str, url: &str) -> stores::Settings {
        stores::Settings { name: name.into(), url: url.into(), options: Vec::new() }
    }

    #[test]
    fn homes_above_in_and_beside_a_folder_are_told_apart() {
        let stores = [store("lake", "memory:///"), store("other", "memory:///")];
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
            for (name, permissions, may_change, sees) in [
                ("lake", Permissions::READ_WRITE, true, true),
                ("lake", Permissions::READ_ONLY, false, true),
                ("lake", Permissions::NONE, false, false),
                ("other", Permissions::READ_WRITE, false, false),
            ] {
                let users = [user_with_home(name, target, permissions)];
                let homes = Homes::new(&users, &[], &[], &stores);
                let place = homes.place("lake", folder).unwrap();
                assert_eq!(homes.reaching(&place).is_some(), meets && may_change, "{target} {folder} {name}");
                assert_eq!(homes.showing(&place).is_some(), meets && sees, "{target} {folder} {name}");
            }
        }
    }

    #[test]
    fn one_bucket_is_one_place_by_whatever_url() {
        let stores = [
            store("a", "gs://lake/in"),
            store("b", "gs://lake"),
            store("c", "gs://lake/in/"),
            store("d", "gs://pond/in"),
        ];
        for (name, target, folder, meets) in [
            ("b", "in/keys", "keys", true),
            ("b", "in", "keys", true),
            ("b", "", "keys", true),
            ("b", "keys", "keys", false),
            ("c", "keys", "keys", true),
            ("d", "keys", "keys", false),
        ] {
            let users = [user_with_home(name, target, Permissions::READ_WRITE)];
            let homes = Homes::new(&users, &[], &[], &stores);
            let place = homes.place("a", folder).unwrap();
            assert_eq!(homes.reaching(&place).is_some(), meets, "{name} {target} {folder}");
        }
    }

    #[test]
    fn links_on_the_way_to_a_target_hide_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        for made in ["home/ann", "home/bob/in", "safe/keys", "safe/deep"] {
            fs::create_dir_all(root.join(made)).unwrap();
        }
        symlink("../safe", root.join("home/eve")).unwrap();
        symlink("../../safe/deep", root.join("home/bob/out")).unwrap();
        symlink("home", root.join("people")).unwrap();
        let url = format!("file://{}", root.display());
        let stores = [store("disk", &url), store("again", &format!("{url}/people"))];
        for (name, target, guarded, meets) in [
            ("disk", "home/eve", "safe/keys", true),
            ("disk", "home/ann", "safe/keys", false),
            ("disk", "home/${user}", "safe/keys", true),
            ("disk", "home/${user}/out", "safe/deep/x", true),
            ("disk", "home/${user}/out", "safe/out", true),
            ("disk", "home/${user}/out", "safe/keys", false),
            ("disk", "home/${user}/in", "home/bob/in/x", true),
            ("disk", "people/ann", "home/ann", true),
            ("again", "${user}", "home/carol", true),
            ("again", "ann", "home/bob", false),
        ] {
            let users = [user_with_home(name, target, Permissions::READ_WRITE)];
            let homes = Homes::new(&users, &[], &[], &stores);
            let place = homes.place("disk", guarded).unwrap();
            assert_eq!(homes.reaching(&place).is_some(), meets, "{name} {target} {guarded}");
        }
    }
}
