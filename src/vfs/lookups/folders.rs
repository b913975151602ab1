//! Directories in which a connection makes many names: which names in them are directories.
//!
//! OPEN for writing refuses a directory's name and cares for nothing else that has the name: the file takes its place in any case, or
//! the store itself refuses that. So one listing of the directory, or having made it, spares two looks for each new file. Should a
//! directory of the name have come since, file and directory stand beside each other, as object stores have it. (MinIO refuses
//! such a file, or hides the directory until the file is gone.)

use std::collections::{HashSet, VecDeque};
use std::hash::{BuildHasher, RandomState};
use std::time::{Duration, Instant};

use crate::path::LogicalPath;

/// How long it is remembered.
pub(super) const FOR: Duration = Duration::from_secs(10);

/// How many directories are remembered; beyond that the oldest are forgotten.
const MOST: usize = 8;

/// The most names of one directory that are remembered, as hashes.
const MOST_NAMES: usize = 1_000;

/// The directories of one connection.
#[derive(Debug, Default)]
pub(super) struct Folders {
    hasher: RandomState,
    folders: VecDeque<Folder>,
}

#[derive(Debug)]
struct Folder {
    path: LogicalPath,
    since: Instant,
    names: Names,
}

#[derive(Debug)]
enum Names {
    /// It was asked for one name that nothing had.
    AskedOnce,
    /// It has too many names to be listed in one request.
    TooMany,
    /// The directories in it; no other name is one.
    Directories(HashSet<u64>),
}

/// What to do about a new name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::vfs) enum Advice {
    /// It is no directory's.
    GoAhead,
    /// List the directory that it is in: it is not the first name there.
    ListFolder,
    /// Look the name up.
    LookUp,
}

impl Folders {
    /// Whether the name may be a directory's, and how to find out.
    pub(super) fn advise(&self, path: &LogicalPath, now: Instant) -> Advice {
        let Some((folder, name)) = self.place(path, now) else { return Advice::LookUp };
        match &self.folders[folder].names {
            Names::Directories(names) if !names.contains(&name) => Advice::GoAhead,
            Names::AskedOnce => Advice::ListFolder,
            Names::Directories(_) | Names::TooMany => Advice::LookUp,
        }
    }

    /// Nothing had the name when it was looked up.
    pub(super) fn missed(&mut self, path: &LogicalPath, now: Instant) {
        if let Some(above) = path.parent()
            && self.place(path, now).is_none()
        {
            self.add(&above, Names::AskedOnce, now);
        }
    }

    /// The directory has these directories in it; `None`: too many names to tell. `since` is when it was asked.
    pub(super) fn listed<'n>(
        &mut self,
        path: &LogicalPath,
        directories: Option<impl Iterator<Item = &'n str>>,
        since: Instant,
    ) {
        let hash = |name: &str| self.hasher.hash_one(name);
        let names = directories.map(|names| names.map(hash).take(MOST_NAMES + 1).collect::<HashSet<u64>>());
        let names = names.filter(|names| names.len() <= MOST_NAMES).map_or(Names::TooMany, Names::Directories);
        self.add(path, names, since);
    }

    /// Something has the name now, so that those above it are directories.
    pub(super) fn made(&mut self, path: &LogicalPath, is_directory: bool) {
        let mut made = is_directory.then(|| path.clone()).or_else(|| path.parent());
        while let Some(directory) = made {
            self.note_directory(&directory);
            made = directory.parent();
        }
    }

    fn note_directory(&mut self, directory: &LogicalPath) {
        let (Some(above), Some(name)) = (directory.parent(), directory.name()) else { return };
        let name = self.hasher.hash_one(name);
        for folder in self.folders.iter_mut().filter(|folder| folder.path == above) {
            match &mut folder.names {
                Names::Directories(names) if names.len() < MOST_NAMES => drop(names.insert(name)),
                names => *names = Names::TooMany,
            }
        }
    }

    /// Names have moved.
    pub(super) fn forget_all(&mut self) {
        self.folders.clear();
    }

    /// The remembered directory that a name is in, and the name's hash.
    fn place(&self, path: &LogicalPath, now: Instant) -> Option<(usize, u64)> {
        let (above, name) = (path.parent()?, path.name()?);
        let is_young = |folder: &Folder| now.saturating_duration_since(folder.since) < FOR;
        let at = self.folders.iter().position(|folder| folder.path == above && is_young(folder))?;
        Some((at, self.hasher.hash_one(name)))
    }

    fn add(&mut self, path: &LogicalPath, names: Names, since: Instant) {
        self.folders.retain(|folder| folder.path != *path);
        if self.folders.len() == MOST {
            self.folders.pop_front();
        }
        self.folders.push_back(Folder { path: path.clone(), since, names });
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn path(text: &str) -> LogicalPath {
        LogicalPath::parse_str(text).unwrap()
    }

    #[test]
    fn the_second_name_in_a_directory_lists_it_and_the_others_ask_nothing() {
        let (mut folders, now) = (Folders::default(), Instant::now());
        assert_eq!(folders.advise(&path("/d/1"), now), Advice::LookUp);
        folders.missed(&path("/d/1"), now);
        assert_eq!(folders.advise(&path("/d/2"), now), Advice::ListFolder);
        assert_eq!(folders.advise(&path("/e/2"), now), Advice::LookUp, "another directory");
        folders.listed(&path("/d"), Some(["sub"].into_iter()), now);
        for (name, advice) in [("/d/2", Advice::GoAhead), ("/d/sub", Advice::LookUp), ("/d/x/y", Advice::LookUp)] {
            assert_eq!(folders.advise(&path(name), now), advice, "{name}");
        }
        assert_eq!(folders.advise(&path("/d/2"), now + FOR), Advice::LookUp, "it is long ago");
    }

    #[test]
    fn own_deeds_are_known() {
        let (mut folders, now) = (Folders::default(), Instant::now());
        folders.listed(&path("/d"), Some([].into_iter()), now);
        folders.made(&path("/d/file"), false);
        folders.made(&path("/d/a/b/file"), false);
        folders.made(&path("/d/made"), true);
        for (name, advice) in [
            ("/d/file", Advice::GoAhead),
            ("/d/a", Advice::LookUp),
            ("/d/made", Advice::LookUp),
            ("/d/b", Advice::GoAhead),
        ] {
            assert_eq!(folders.advise(&path(name), now), advice, "{name}");
        }
        folders.forget_all();
        assert_eq!(folders.advise(&path("/d/file"), now), Advice::LookUp);
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let (mut folders, now) = (Folders::default(), Instant::now());
        for number in 0..100 {
            folders.listed(&path(&format!("/{number}")), Some([].into_iter()), now);
        }
        assert_eq!(folders.folders.len(), MOST);
        let many: Vec<String> = (0..10 * MOST_NAMES).map(|number| number.to_string()).collect();
        folders.listed(&path("/d"), Some(many.iter().map(String::as_str)), now);
        assert_eq!(folders.advise(&path("/d/other"), now), Advice::LookUp);
        folders.listed(&path("/d"), None::<std::iter::Empty<&str>>, now);
        assert_eq!(folders.advise(&path("/d/other"), now), Advice::LookUp);
        folders.listed(&path("/d"), Some([].into_iter()), now);
        for name in &many {
            folders.made(&path(&format!("/d/{name}")), true);
        }
        assert_eq!(folders.advise(&path("/d/other"), now), Advice::LookUp, "too many to remember");
    }
}
