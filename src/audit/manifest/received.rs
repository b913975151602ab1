//! Uploads: what the stores hold by the changes, one after the other.

use std::collections::{BTreeMap, HashMap};

use super::File;
use super::change::{Change, Kind, moved};
use super::sight::Sight;

/// Where a file is: in a store that only one gateway has, or in one that all have that name it so; and its path.
pub(super) type Place = (Option<String>, String);

/// The last content of each place and of each name.
#[derive(Debug, Default)]
pub(super) struct Received {
    files: BTreeMap<Place, Held>,
    /// By gateway if the store is its own, user and name.
    names: HashMap<(Option<String>, String, String), Place>,
    sight: Sight,
}

/// The content of a place.
#[derive(Debug)]
struct Held {
    file: File,
    /// It was removed: a folder that is renamed does not move it.
    is_removed: bool,
}

impl Received {
    /// Makes the next change. `is_own`: whether the store of a path is this gateway's alone.
    pub(super) fn make(&mut self, change: Change, is_own: impl Fn(&str, &str) -> bool) {
        let place = |path: &str| (is_own(&change.server, path).then(|| change.server.clone()), path.to_owned());
        let at = place(&change.path);
        self.sight.learn(&change, place);
        match change.kind {
            Kind::Began { .. } | Kind::Opened | Kind::LeftAsItWas => {}
            Kind::Written(ref digest) => {
                let digest = digest.clone();
                self.put(at, file(change, digest));
            }
            Kind::PerhapsWritten => match self.files.contains_key(&at) {
                true => self.doubt(&at),
                false => self.put(at, file(change, None)),
            },
            Kind::PerhapsChanged => self.doubt(&at),
            Kind::PerhapsReplaced { ref path, .. } => self.doubt_all(&place(path)),
            Kind::Copied { ref name, ref path } => self.copy(&change, &at, name, &place(path)),
            Kind::Removed => {
                if let Some(held) = self.files.get_mut(&at) {
                    held.is_removed = true;
                }
            }
            Kind::Moved { ref name, ref path } => self.rename(&change, &at, name, &place(path)),
        }
    }

    /// The files that are wanted.
    pub(super) fn files(self) -> impl Iterator<Item = File> {
        self.files.into_values().map(|held| held.file).filter(|file| file.is_wanted)
    }

    /// What is there may be other content than what was uploaded.
    fn doubt(&mut self, place: &Place) {
        if let Some(held) = self.files.get_mut(place) {
            held.file.digest = None;
        }
    }

    /// What is there, or anywhere below it if it is a folder, may be other content than what was uploaded.
    fn doubt_all(&mut self, place: &Place) {
        self.doubt(place);
        self.below(place).iter().for_each(|place| self.doubt(place));
    }

    /// A file takes the place of those that had its name, or lay where it lies.
    fn put(&mut self, place: Place, file: File) {
        self.remove(&place);
        if file.is_at.is_some() {
            // It has no known name, and whatever comes under its last one is another file.
            let server = place.0.clone();
            self.files.insert(place, Held { file: File { server, ..file }, is_removed: false });
            return;
        }
        let name = (place.0.clone(), file.user.clone(), file.name.clone());
        if let Some(old) = self.names.insert(name, place.clone()) {
            self.files.remove(&old);
        }
        let server = place.0.clone();
        self.files.insert(place, Held { file: File { server, ..file }, is_removed: false });
    }

    fn remove(&mut self, place: &Place) -> Option<Held> {
        let held = self.files.remove(place)?;
        let name = (place.0.clone(), held.file.user.clone(), held.file.name.clone());
        if self.names.get(&name) == Some(place) {
            self.names.remove(&name);
        }
        Some(held)
    }

    /// A file, or all files of a folder, have other names now, whoever renamed them. What was listed under the new name is gone,
    /// also if nothing is known of what has that name now.
    fn rename(&mut self, change: &Change, from: &Place, new_name: &str, to: &Place) {
        let moving = self.below(from).into_iter().chain([from.clone()]);
        let moving: Vec<Place> =
            moving.filter(|place| self.files.get(place).is_some_and(|held| !held.is_removed)).collect();
        // Of a folder: what was removed there may be there again.
        self.below(to).iter().for_each(|place| self.doubt(place));
        self.remove(to);
        for place in moving {
            let Some(path) = moved(&place.1, &from.1, &to.1) else { continue };
            let Some(Held { file, .. }) = self.remove(&place) else { continue };
            let is_of_user = file.user == change.user && file.is_at.is_none();
            let renamed = if is_of_user { moved(&file.name, &change.name, new_name) } else { None };
            let to = (to.0.clone(), path);
            // Whose file another user renamed, may see it under another name, or not any more.
            let renamed = renamed.or_else(|| self.sight.name(&file.user, &to));
            let is_at = renamed.is_none().then(|| to.1.clone());
            let name = renamed.unwrap_or_else(|| file.name.clone());
            self.put(to, File { name, is_at, ..file });
        }
    }

    /// A file, or all files of a folder, have other names as well. What has such a name is of no known content: which version was
    /// copied, the event does not say, nor what of a folder is left under the old names.
    fn copy(&mut self, change: &Change, from: &Place, new_name: &str, to: &Place) {
        let in_folder = self.below(from);
        in_folder.iter().for_each(|place| self.doubt(place));
        self.doubt_all(to);
        for place in in_folder.into_iter().chain([from.clone()]) {
            // What others see under names of their own has new names that are not known.
            let held = self.files.get(&place).filter(|held| !held.is_removed && held.file.user == change.user);
            let Some(Held { file, .. }) = held else { continue };
            let (name, path) = (moved(&file.name, &change.name, new_name), moved(&place.1, &from.1, &to.1));
            let Some((name, path)) = name.zip(path) else { continue };
            let copy = File { name, digest: None, is_at: None, ..file.clone() };
            self.put((to.0.clone(), path), copy);
        }
    }

    fn below(&self, (store, path): &Place) -> Vec<Place> {
        // What is below a folder lies between these two: `0` follows `/`.
        let range = (store.clone(), format!("{path}/"))..(store.clone(), format!("{path}0"));
        self.files.range(range).map(|(place, _)| place.clone()).collect()
    }
}

fn file(change: Change, digest: Option<String>) -> File {
    let Change { user, name, is_wanted, .. } = change;
    File { server: None, user, name, digest, is_at: None, is_wanted }
}
