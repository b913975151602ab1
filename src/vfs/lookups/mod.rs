//! What a connection has looked up and done a moment ago, so that its store is not asked again.
//!
//! Clients look a name up two or three times before they do something with it, and once more afterwards. A bucket bills each look. So a
//! connection remembers a few names for a few seconds. What this gateway changes is known at once, on every connection; what others
//! change in the store is known when the memory ends.
//!
//! Nothing is decided by it over content that somebody else may have stored: to open a file for reading, to change a part of it, to
//! refuse, and to remove asks the store, and what replaces or copies carries its condition with it. Local stores are asked always.

mod changes;
mod folders;

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::path::LogicalPath;
use crate::stores::{Kind, Made, Stat, StoreErrorKind, StoreResult};

use super::mounts::Spot;

use changes::Stamp;
use folders::Folders;

pub(super) use changes::{Change, Changes, Effect};
pub(super) use folders::Advice;

/// How long a look is good for.
const LOOKS_FOR: Duration = Duration::from_secs(2);

/// How long it is remembered what an upload of this connection has become. Longer: the store itself judges whether it is that still.
const MADE_FOR: Duration = Duration::from_secs(60);

/// How many names are remembered; beyond that the oldest are forgotten.
const MOST: usize = 128;

/// What one connection remembers.
#[derive(Debug)]
pub(super) struct Lookups {
    changes: Arc<Changes>,
    memory: Mutex<Memory>,
}

#[derive(Debug, Default)]
struct Memory {
    names: HashMap<LogicalPath, Remembered>,
    /// In the order in which they were learnt, with the number of that; of names that were learnt again the older places stand here too.
    order: VecDeque<(u64, LogicalPath)>,
    learnt: u64,
    folders: Folders,
}

#[derive(Debug, Clone)]
struct Remembered {
    number: u64,
    since: Instant,
    stamp: Stamp,
    known: Known,
}

/// What is known of a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Known {
    /// There is nothing.
    Nothing,
    /// A directory, with its attributes where they are known.
    Directory(Option<Stat>),
    /// A file, with its attributes where they are known, and what it is if this connection has made it.
    File(Option<Stat>, Option<Made>),
}

impl Known {
    /// A file that this connection has just made, whose store tells its tag. Its attributes are known where its time is.
    pub(super) fn made(made: Made) -> Self {
        let stat = made.mtime.map(|mtime| Stat {
            kind: Kind::File,
            size: made.size,
            mtime: Some(mtime),
            etag: Some(made.etag.clone()),
        });
        Known::File(stat, Some(made))
    }
}

/// A look that begins.
pub(super) struct Look {
    since: Instant,
    /// `None`: it is not to be remembered.
    stamp: Option<Stamp>,
}

impl Lookups {
    pub(super) fn new(changes: Arc<Changes>) -> Self {
        Lookups { changes, memory: Mutex::default() }
    }

    /// To be called before the store is asked.
    pub(super) fn begin_look(&self, spot: &Spot) -> Look {
        Look { since: Instant::now(), stamp: is_remembered(spot).then(|| self.changes.stamp(&place(spot))) }
    }

    /// The store has answered.
    pub(super) fn looked(&self, path: &LogicalPath, look: &Look, found: &StoreResult<Stat>) {
        let known = match found {
            Ok(stat) if stat.kind == Kind::File => Known::File(Some(stat.clone()), None),
            Ok(stat) => Known::Directory(Some(stat.clone())),
            Err(error) if error.kind == StoreErrorKind::NotFound => Known::Nothing,
            Err(_) => return,
        };
        let Some(stamp) = look.stamp else { return };
        let mut memory = self.memory();
        let known = match known {
            Known::File(stat, None) => {
                let made = memory.made_as(path, stat.as_ref());
                Known::File(stat, made)
            }
            known => known,
        };
        memory.learn(path, Remembered { number: 0, since: look.since, stamp, known });
    }

    /// What is known of a name.
    pub(super) fn recall(&self, path: &LogicalPath, spot: &Spot) -> Option<Known> {
        self.recall_at(path, spot, Instant::now())
    }

    fn recall_at(&self, path: &LogicalPath, spot: &Spot, now: Instant) -> Option<Known> {
        let memory = self.memory();
        let Remembered { since, stamp, known, .. } = memory.names.get(path)?.clone();
        drop(memory);
        let age = now.saturating_duration_since(since);
        let present = self.changes.stamp(&place(spot));
        match known {
            Known::Nothing if age < LOOKS_FOR && stamp.holds_for_nothing(present) => Some(known),
            Known::Directory(_) if age < LOOKS_FOR && stamp.holds_for_a_directory(present) => Some(known),
            Known::File(..) if age < LOOKS_FOR && stamp.holds_for_a_file(present) => Some(known),
            _ => None,
        }
    }

    /// What an upload of this connection has become, if nobody of this gateway has changed it since.
    pub(super) fn recall_made(&self, path: &LogicalPath, spot: &Spot) -> Option<Made> {
        let memory = self.memory();
        let Remembered { since, stamp, known, .. } = memory.names.get(path)?.clone();
        drop(memory);
        let Known::File(_, Some(made)) = known else { return None };
        let is_good = since.elapsed() < MADE_FOR && stamp.holds_for_a_file(self.changes.stamp(&place(spot)));
        is_good.then_some(made)
    }

    /// Something begins to change, by whatever becomes of it. To be called before the store is asked.
    pub(super) fn begin(&self, spot: &Spot, effect: Effect) -> Change {
        self.changes.begin(place(spot), effect)
    }

    /// A file has the name now; `known` is what it is, if that is known.
    pub(super) fn made(&self, path: &LogicalPath, spot: &Spot, change: Change, known: Option<Known>) {
        let since = Instant::now();
        let stamp = change.end();
        let mut memory = self.memory();
        memory.folders.made(path, matches!(known, Some(Known::Directory(_))));
        match (known, stamp) {
            (Some(known), Some(stamp)) if is_remembered(spot) => {
                memory.learn(path, Remembered { number: 0, since, stamp, known });
            }
            _ => drop(memory.names.remove(path)),
        }
    }

    /// What to do about a name that is to be made.
    pub(super) fn advise(&self, path: &LogicalPath) -> Advice {
        self.memory().folders.advise(path, Instant::now())
    }

    /// A name that is to be made was looked up, and nothing had it.
    pub(super) fn missed(&self, path: &LogicalPath) {
        self.memory().folders.missed(path, Instant::now());
    }

    /// A directory was listed, with these directories in it; `None`: it has too many names.
    pub(super) fn listed<'n>(
        &self,
        path: &LogicalPath,
        look: &Look,
        directories: Option<impl Iterator<Item = &'n str> + Clone>,
    ) {
        if look.stamp.is_none() {
            return;
        }
        let mut memory = self.memory();
        // What the listing showed as directories are no files to this client any more.
        for name in directories.clone().into_iter().flatten() {
            if let Ok(name) = path.join(name)
                && memory.names.get(&name).is_some_and(|known| !matches!(known.known, Known::Directory(_)))
            {
                memory.names.remove(&name);
            }
        }
        memory.folders.listed(path, directories, look.since);
    }

    /// Many names have changed at once.
    pub(super) fn forget_all(&self) {
        let mut memory = self.memory();
        memory.names.clear();
        memory.order.clear();
        memory.folders.forget_all();
    }

    fn memory(&self) -> MutexGuard<'_, Memory> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Memory {
    fn learn(&mut self, path: &LogicalPath, remembered: Remembered) {
        self.learnt += 1;
        self.names.insert(path.clone(), Remembered { number: self.learnt, ..remembered });
        self.order.push_back((self.learnt, path.clone()));
        while self.order.len() > MOST || self.oldest_has_ended() {
            let Some((number, path)) = self.order.pop_front() else { return };
            if self.names.get(&path).is_some_and(|known| known.number == number) {
                self.names.remove(&path);
            }
        }
    }

    /// What this connection has made of the name, if that is what was found there.
    fn made_as(&self, path: &LogicalPath, found: Option<&Stat>) -> Option<Made> {
        let Known::File(_, made) = &self.names.get(path)?.known else { return None };
        made.clone().filter(|made| found.is_some_and(|found| found.etag.as_deref() == Some(&made.etag)))
    }

    /// Whether the oldest place is good for nothing any more.
    fn oldest_has_ended(&self) -> bool {
        self.order.front().is_some_and(|(number, path)| match self.names.get(path) {
            Some(known) => known.number != *number || known.since.elapsed() > MADE_FOR,
            None => true,
        })
    }
}

/// The name as all connections know it.
fn place(spot: &Spot) -> String {
    spot.store.event_path(&spot.key)
}

/// A look at a local store costs nothing.
fn is_remembered(spot: &Spot) -> bool {
    !spot.store.keeps_directories()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::stores::{Key, StoreError};
    use crate::vfs::tests::store::TestStore;

    fn spot(store: &TestStore, key: &str) -> Spot {
        let account = crate::descriptors::Descriptors::unlimited().account("");
        Spot { store: Arc::new(store.clone()), key: Key::parse(key).unwrap(), fixed: false, account }
    }

    fn path(text: &str) -> LogicalPath {
        LogicalPath::parse_str(text).unwrap()
    }

    fn nothing() -> StoreResult<Stat> {
        Err(StoreError::new(StoreErrorKind::NotFound, "nothing"))
    }

    #[test]
    fn a_look_ends_after_two_seconds_and_when_another_connection_changes_the_name() {
        let changes = Arc::<Changes>::default();
        let (one, other) = (Lookups::new(Arc::clone(&changes)), Lookups::new(changes));
        let (store, name) = (TestStore::remote("s"), path("/d/f"));
        let spot = spot(&store, "d/f");
        one.looked(&name, &one.begin_look(&spot), &nothing());
        assert_eq!(one.recall(&name, &spot), Some(Known::Nothing));
        assert_eq!(one.recall_at(&name, &spot, Instant::now() + LOOKS_FOR), None);
        assert_eq!(other.recall(&name, &spot), None, "each connection remembers for itself");
        let made = Made { etag: "x".to_owned(), size: 3, mtime: None, provenance: None };
        let change = other.begin(&spot, Effect::Makes);
        other.made(&name, &spot, change, Some(Known::made(made.clone())));
        assert_eq!(one.recall(&name, &spot), None);
        assert_eq!(other.recall_made(&name, &spot), Some(made));
        drop(one.begin(&spot, Effect::Removes));
        assert_eq!(other.recall_made(&name, &spot), None);
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let lookups = Lookups::new(Arc::default());
        let store = TestStore::remote("s");
        for number in 0..10 * MOST {
            let (name, key) = (format!("/{number}"), number.to_string());
            let spot = spot(&store, &key);
            for _ in 0..2 {
                lookups.looked(&path(&name), &lookups.begin_look(&spot), &nothing());
            }
        }
        let memory = lookups.memory();
        assert!(memory.names.len() <= MOST && memory.order.len() <= MOST);
    }
}
