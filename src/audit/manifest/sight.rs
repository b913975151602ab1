//! What users call the folders of the stores, as their own events say it: another user may rename a file of theirs.

use std::collections::HashMap;

use super::change::{Change, Kind};
use super::received::Place;

/// By gateway if the store is its own, and by user.
type Eyes = (Option<String>, String);

/// The folders that users have named. A folder is without a slash at its end, so that the root is empty.
#[derive(Debug, Default)]
pub(super) struct Sight {
    names: HashMap<Eyes, HashMap<String, String>>,
    paths: HashMap<Eyes, HashMap<String, String>>,
}

impl Sight {
    /// Takes what a change says of its user's names. `place`: the place of a path.
    pub(super) fn learn(&mut self, change: &Change, place: impl Fn(&str) -> Place) {
        self.note(&change.user, &change.name, place(&change.path));
        if let Kind::Copied { name, path } | Kind::Moved { name, path } | Kind::PerhapsReplaced { name, path } =
            &change.kind
        {
            self.note(&change.user, name, place(path));
        }
    }

    /// A file or folder that has one name for the user and in the store is in one folder. The root of a home has another name there.
    fn note(&mut self, user: &str, name: &str, (server, path): Place) {
        let (Some((name, end)), Some((path, last))) = (name.rsplit_once('/'), path.rsplit_once('/')) else { return };
        if end != last || end.is_empty() {
            return;
        }
        let eyes = (server, user.to_owned());
        self.paths.entry(eyes.clone()).or_default().insert(name.to_owned(), path.to_owned());
        self.names.entry(eyes).or_default().insert(path.to_owned(), name.to_owned());
    }

    /// What a user calls a place, as far as it follows from the names of its folder or of one around it.
    pub(super) fn name(&self, user: &str, (server, path): &Place) -> Option<String> {
        let eyes = (server.clone(), user.to_owned());
        let (names, paths) = (self.names.get(&eyes)?, self.paths.get(&eyes)?);
        let mut folder = path.rsplit_once('/')?.0;
        let known = loop {
            if let Some(known) = names.get(folder) {
                break known;
            }
            folder = folder.rsplit_once('/')?.0;
        };
        let below = path.strip_prefix(folder)?;
        // Where the user has another folder of such a name, it hides the one in the store.
        let is_hidden = below.match_indices('/').map(|(at, _)| below.get(..at).unwrap_or_default()).any(|part| {
            let there = paths.get(&format!("{known}{part}"));
            there.is_some_and(|there| *there != format!("{folder}{part}"))
        });
        (!is_hidden).then(|| format!("{known}{below}"))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_name_follows_from_those_of_the_folders_around() {
        let place = |path: &str| (None, path.to_owned());
        let mut sight = Sight::default();
        sight.note("ann", "/m1", place("/main/ann/m1"));
        sight.note("ann", "/in/x", place("/lake/ann-in/x"));
        let name = |path: &str| sight.name("ann", &place(path));
        assert_eq!(name("/main/ann/m2").as_deref(), Some("/m2"));
        assert_eq!(name("/main/ann/new/folder/m2").as_deref(), Some("/new/folder/m2"));
        assert_eq!(name("/lake/ann-in/y").as_deref(), Some("/in/y"));
        for unknown in ["/main/ben/m1", "/main/annabel/m1", "/lake/x", "/main/ann/in/x", "m1"] {
            assert_eq!(name(unknown), None, "{unknown}");
        }
        assert_eq!(sight.name("ben", &place("/main/ann/m2")), None);
        assert_eq!(sight.name("ann", &(Some("edge-1".into()), "/main/ann/m2".into())), None);
    }

    #[test]
    fn the_root_of_a_home_says_nothing_of_the_folder_around_it() {
        let mut sight = Sight::default();
        sight.note("ann", "/", (None, "/main/ann".into()));
        sight.note("ann", "/in", (None, "/lake/ann-in".into()));
        assert_eq!(sight.name("ann", &(None, "/main/x".into())), None);
        assert_eq!(sight.name("ann", &(None, "/lake/x".into())), None);
    }
}
