//! The way from the root to what a key names, and how far symbolic links lead on it.
//!
//! Each name on the way is looked at, all of them at once: where no link is among them, which is the usual case, that is one round trip.
//! The server would follow links wherever they lead, so a link is read and its way is gone here. On the way to the folder of the key's
//! entry, which is the operator's, links lead anywhere within the root; from there on a link that leads out of that folder, and an absolute
//! one, name nothing. Who can change links on the server can do so between the look and what follows it: no request of the protocol
//! is bound to a folder.

use std::collections::VecDeque;

use super::failure::looking;
use super::server::{Server, TEMPORARY, missing};
use super::wire::{self, Attributes, What};
use crate::stores::{Key, StoreError, StoreErrorKind, StoreResult};

/// On Windows it separates names, and `..` behind one leads up: no name here has it.
pub(super) const SEPARATOR: char = '\\';

/// As many links are followed on one way as Linux follows.
const MOST_LINKS: usize = 40;

/// The longest target of a link, and the longest way that links make, in bytes: Linux's `PATH_MAX`.
const LONGEST_WAY: usize = 4_096;

/// So many names are looked at at once.
const AHEAD: usize = 32;

/// What a link at the end of a way means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Last {
    /// What it leads to.
    Followed,
    /// Itself.
    Itself,
}

/// Where a key leads.
#[derive(Debug)]
pub(super) struct Way {
    /// The names from the root to the last that exists; none of them is a link, but perhaps the last.
    pub(super) names: Vec<String>,
    /// Those that do not exist.
    pub(super) missing: Vec<String>,
    /// What has the whole name.
    pub(super) found: Option<Attributes>,
}

impl Way {
    /// All names.
    pub(super) fn whole(&self) -> Vec<&str> {
        self.names.iter().chain(&self.missing).map(String::as_str).collect()
    }

    /// The names of the nearest folder that exists.
    pub(super) fn folder(&self) -> &[String] {
        match self.found {
            Some(_) => self.names.split_last().map_or(&[], |(_, above)| above),
            None => &self.names,
        }
    }
}

/// A step that is still to be made.
#[derive(Debug)]
enum Step {
    /// To this name; whether a link says so.
    To(String, bool),
    Up,
    /// Here is the folder out of which nothing leads.
    Floor,
}

/// Where a walk is.
struct Walk<'k> {
    key: &'k Key,
    left: VecDeque<Step>,
    names: Vec<String>,
    floor: usize,
    links: usize,
    found: Option<Attributes>,
}

impl Server {
    /// Goes the way of a key.
    ///
    /// # Errors
    /// [`StoreErrorKind::NotADirectory`] below a file; [`StoreErrorKind::NotFound`] where a link leads out or nowhere;
    /// [`StoreErrorKind::InvalidName`] for names that are the gateway's own.
    pub(super) async fn walk(&self, key: &Key, last: Last) -> StoreResult<Way> {
        let mut walk = Walk::begin(key)?;
        loop {
            walk.step_without_looking()?;
            let ahead = walk.ahead();
            if ahead.is_empty() {
                self.note_folder(&walk);
                return self.arrive(walk).await;
            }
            let paths = (1..=ahead.len()).map(|count| {
                let names: Vec<&str> =
                    walk.names.iter().map(String::as_str).chain(ahead[..count].iter().copied()).collect();
                wire::lstat(&self.path(&names))
            });
            let looked = self.pool.look_at_all(&paths.collect::<Vec<_>>()).await.map_err(looking("look up", key))?;
            for found in looked {
                walk.step_without_looking()?;
                match found {
                    Err(failure) if failure.is_missing() => {
                        self.note_folder(&walk);
                        return walk.stop_at_nothing();
                    }
                    Err(failure) => return Err(looking("look up", key)(failure)),
                    Ok(found) if found.what() == What::Link && !(walk.is_at_end() && last == Last::Itself) => {
                        let target = self.target_of(&mut walk).await?;
                        walk.follow(&target)?;
                        break;
                    }
                    Ok(found) => walk.step(found)?,
                }
            }
        }
    }

    /// Remembers the folder of the key when the walk came there without a link.
    fn note_folder(&self, walk: &Walk<'_>) {
        let is_there = walk.left.iter().filter(|step| matches!(step, Step::To(..))).count() <= 1;
        if walk.links == 0
            && is_there
            && let Some(folder) = walk.key.parent()
        {
            self.seen.note(folder.as_str());
        }
    }

    async fn arrive(&self, walk: Walk<'_>) -> StoreResult<Way> {
        let found = match walk.found {
            Some(found) => found,
            // The root, which may be a link of the operator's, or a folder that a link leads up to.
            None => {
                let request = wire::stat(&self.path(&walk.names));
                self.pool.look(request).await.map_err(looking("look up", walk.key))?
            }
        };
        Ok(Way { names: walk.names, missing: Vec::new(), found: Some(found) })
    }

    /// Reads the link that is the next step, and takes that step away.
    async fn target_of(&self, walk: &mut Walk<'_>) -> StoreResult<String> {
        walk.links += 1;
        let Some(Step::To(name, _)) = walk.left.pop_front() else { return Err(walk.leads_nowhere()) };
        if walk.links > MOST_LINKS || !walk.key.follows_links() {
            return Err(walk.leads_nowhere());
        }
        let names: Vec<&str> = walk.names.iter().map(String::as_str).chain([name.as_str()]).collect();
        let read = self.pool.names(wire::read_link(&self.path(&names))).await.map_err(looking("follow", walk.key))?;
        let target = read.first().filter(|named| named.name.len() <= LONGEST_WAY);
        let target = target.and_then(|named| std::str::from_utf8(&named.name).ok());
        target.map(str::to_owned).ok_or_else(|| walk.leads_nowhere())
    }
}

impl<'k> Walk<'k> {
    fn begin(key: &'k Key) -> StoreResult<Self> {
        if key.as_str().split('/').any(is_own) {
            let message = format!("names that begin with \"{TEMPORARY}\" are reserved for Lockgate");
            return Err(StoreError::new(StoreErrorKind::InvalidName, message));
        }
        if key.as_str().contains(SEPARATOR) {
            let message = format!("\"{key}\" has a backslash, which some servers treat as a separator");
            return Err(StoreError::new(StoreErrorKind::InvalidName, message));
        }
        let (folder, rest) = key.from_folder();
        let steps = |path: &str| -> Vec<Step> {
            path.split('/').filter(|name| !name.is_empty()).map(|name| Step::To(name.to_owned(), false)).collect()
        };
        let left = steps(folder).into_iter().chain([Step::Floor]).chain(steps(rest)).collect();
        Ok(Walk { key, left, names: Vec::new(), floor: 0, links: 0, found: None })
    }

    /// The names whose ways do not depend on a step that must be looked at.
    fn ahead(&self) -> Vec<&str> {
        let plain = self.left.iter().take_while(|step| !matches!(step, Step::Up));
        let names = plain.filter_map(|step| if let Step::To(name, _) = step { Some(name.as_str()) } else { None });
        names.take(AHEAD).collect()
    }

    fn step_without_looking(&mut self) -> StoreResult<()> {
        loop {
            match self.left.front() {
                Some(Step::Floor) => self.floor = self.names.len(),
                Some(Step::Up) if self.names.len() <= self.floor => return Err(self.leads_out()),
                Some(Step::Up) => {
                    self.names.pop();
                    self.found = None;
                }
                Some(Step::To(..)) | None => return Ok(()),
            }
            self.left.pop_front();
        }
    }

    fn is_at_end(&self) -> bool {
        self.left.iter().skip(1).all(|step| matches!(step, Step::Floor))
    }

    /// Makes the next step, to something that is no link, or is to be taken as itself.
    fn step(&mut self, found: Attributes) -> StoreResult<()> {
        if !self.is_at_end() && found.what() != What::Folder {
            let message = format!("a name above \"{}\" is not a directory", self.key);
            return Err(StoreError::plain(StoreErrorKind::NotADirectory, message));
        }
        if let Some(Step::To(name, _)) = self.left.pop_front() {
            self.names.push(name);
        }
        self.found = Some(found);
        Ok(())
    }

    fn follow(&mut self, target: &str) -> StoreResult<()> {
        if target.starts_with('/') || target.contains(SEPARATOR) {
            return Err(self.leads_out());
        }
        for name in target.split('/').rev() {
            match name {
                "" | "." => {}
                ".." => self.left.push_front(Step::Up),
                name if is_own(name) => return Err(self.leads_nowhere()),
                name => self.left.push_front(Step::To(name.to_owned(), true)),
            }
        }
        self.found = None;
        if self.length() > LONGEST_WAY {
            return Err(self.leads_nowhere());
        }
        Ok(())
    }

    /// The bytes of the way so far and of what is left of it.
    fn length(&self) -> usize {
        let left = self.left.iter().map(|step| match step {
            Step::To(name, _) => name.len() + 1,
            Step::Up => "../".len(),
            Step::Floor => 0,
        });
        left.chain(self.names.iter().map(|name| name.len() + 1)).sum()
    }

    /// Nothing has the next name. Where a link says that it should be there, nothing can be made in its place.
    fn stop_at_nothing(self) -> StoreResult<Way> {
        let mut missing = Vec::new();
        for step in &self.left {
            match step {
                Step::To(name, false) => missing.push(name.clone()),
                Step::Floor => {}
                Step::To(_, true) | Step::Up => return Err(self.leads_nowhere()),
            }
        }
        Ok(Way { names: self.names, missing, found: None })
    }

    fn leads_out(&self) -> StoreError {
        StoreError::cannot(StoreErrorKind::NotFound, "look up", self.key.as_str(), "it leads out of the store's folder")
    }

    fn leads_nowhere(&self) -> StoreError {
        missing(self.key)
    }
}

/// Whether a name is the gateway's own.
pub(super) fn is_own(name: &str) -> bool {
    name.starts_with(TEMPORARY)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_backslash_leads_nowhere() {
        for name in ["a\\b", "..\\..\\secret", "d/x\\y"] {
            let key = Key::parse(name).unwrap();
            assert_eq!(Walk::begin(&key).err().map(|error| error.kind), Some(StoreErrorKind::InvalidName), "{name}");
        }
        let key = Key::parse("link").unwrap();
        let mut walk = Walk::begin(&key).unwrap();
        assert!(walk.follow("..\\secret").is_err());
    }

    #[test]
    fn links_cannot_make_a_way_long() {
        let key = Key::parse("link/rest").unwrap();
        let mut walk = Walk::begin(&key).unwrap();
        let target = "a/".repeat(1_000);
        walk.follow(&target).unwrap();
        assert_eq!(walk.ahead().len(), AHEAD);
        assert!(walk.follow(&target).is_ok());
        assert_eq!(walk.follow(&target).unwrap_err().kind, StoreErrorKind::NotFound);
    }
}
