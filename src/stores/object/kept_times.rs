//! Kept modification times for listings of stores that do not list metadata (S3, memory).
//!
//! Such a time costs a look-up for each file. Answers are remembered, so that a directory that is listed again costs its
//! pages only, as long as its objects stay the same.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use futures_util::{StreamExt, TryStreamExt, stream};

use super::{ListedTime, ObjectBacked, RawObject};
use crate::stores::{Entry, Key, Kind, Stat, StoreErrorKind, StoreResult};

/// Look-ups of one page that are under way at once.
const AT_ONCE: usize = 64;

/// The most times that are remembered in each of two generations: about 6 MiB a store in all.
const MOST: usize = 50_000;

/// An object that was changed less than this ago is not remembered: within the second that a store's times tell, it may
/// get another mtime and look the same.
const SETTLED: Duration = Duration::from_secs(10);

/// How long the time of a directory is remembered. No listing tells when its marker changed, so it is asked for again.
const DIRECTORIES_FOR: Duration = Duration::from_secs(300);

/// What was looked up before. Keys are remembered as 128 bits of keyed hashes.
#[derive(Debug, Default)]
pub(in crate::stores) struct KeptTimes {
    hashers: [RandomState; 2],
    generations: Mutex<Generations>,
    /// Times of directories, by their prefixes.
    directories: Mutex<HashMap<(u64, u64), LookedUp>>,
}

#[derive(Debug, Default)]
struct Generations {
    young: HashMap<(u64, u64), Known>,
    old: HashMap<(u64, u64), Known>,
}

/// When a directory was looked up, and what was found.
type LookedUp = (Instant, Option<SystemTime>);

/// One version's time: the kept one, or the store's where none is kept.
#[derive(Debug, Clone, Copy)]
struct Known {
    version: u64,
    mtime: Option<SystemTime>,
}

impl KeptTimes {
    /// Notes what a look-up said of an object that the store last changed at `modified`.
    pub(super) fn learn(&self, full_key: &str, stat: &Stat, modified: SystemTime) {
        let settled = SystemTime::now().duration_since(modified).is_ok_and(|age| age > SETTLED);
        let Some(version) = self.version(stat.etag.as_deref(), Some(modified)).filter(|_| settled) else { return };
        let place = self.place(full_key);
        let mut generations = self.generations.lock().unwrap_or_else(PoisonError::into_inner);
        if generations.young.len() == MOST {
            generations.old = std::mem::take(&mut generations.young);
        }
        generations.young.insert(place, Known { version, mtime: stat.mtime });
    }

    /// Notes when the marker of a directory says that it changed; `None`: it has no marker.
    fn learn_directory(&self, prefix: &str, mtime: Option<SystemTime>) {
        let mut directories = self.directories.lock().unwrap_or_else(PoisonError::into_inner);
        if directories.len() == MOST {
            directories.clear();
        }
        directories.insert(self.place(prefix), (Instant::now(), mtime));
    }

    fn recall_directory(&self, prefix: &str) -> Option<Option<SystemTime>> {
        let directories = self.directories.lock().unwrap_or_else(PoisonError::into_inner);
        let (then, mtime) = directories.get(&self.place(prefix))?;
        (then.elapsed() < DIRECTORIES_FOR).then_some(*mtime)
    }

    /// Forgets an object or a directory whose time is set.
    pub(super) fn forget(&self, full_key: &str) {
        let place = self.place(full_key);
        self.directories.lock().unwrap_or_else(PoisonError::into_inner).remove(&place);
        let mut generations = self.generations.lock().unwrap_or_else(PoisonError::into_inner);
        generations.young.remove(&place);
        generations.old.remove(&place);
    }

    /// The time of the version that a listing shows, if it is remembered.
    fn recall(&self, full_key: &str, etag: Option<&str>, modified: Option<SystemTime>) -> Option<Known> {
        let version = self.version(etag, modified)?;
        let place = self.place(full_key);
        let mut generations = self.generations.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = generations.young.get(&place) {
            return Some(*known).filter(|known| known.version == version);
        }
        let known = generations.old.remove(&place).filter(|known| known.version == version)?;
        if generations.young.len() < MOST {
            generations.young.insert(place, known);
        }
        Some(known)
    }

    fn place(&self, full_key: &str) -> (u64, u64) {
        (self.hashers[0].hash_one(full_key), self.hashers[1].hash_one(full_key))
    }

    /// A look-up tells the time of the last change in seconds only. Without a tag a version cannot be told from another.
    fn version(&self, etag: Option<&str>, modified: Option<SystemTime>) -> Option<u64> {
        let second = modified?.duration_since(SystemTime::UNIX_EPOCH).ok()?.as_secs();
        Some(self.hashers[0].hash_one((etag?, second)))
    }
}

/// The time of a directory whose marker was listed.
pub(super) async fn of_marker(store: &ObjectBacked, marker: &RawObject) -> Option<SystemTime> {
    if marker.kept != ListedTime::NotListed {
        return marker.time();
    }
    let (key, etag) = (marker.key.as_str(), marker.etag.clone());
    let known = store.kept_times.as_ref().and_then(|times| times.recall(key, etag.as_deref(), marker.modified));
    if let Some(known) = known {
        return known.mtime;
    }
    let found = match store.extras.marker_time(key).await {
        Err(error) => {
            tracing::debug!(%error, "the time of a directory is not known");
            return marker.modified;
        }
        Ok(found) => found,
    };
    let mtime = found.and_then(|found| found.kept).or(marker.modified);
    if let (Some(times), Some(modified)) = (&store.kept_times, marker.modified) {
        times.learn(key, &Stat { kind: Kind::Directory, size: 0, mtime, etag }, modified);
    }
    mtime
}

/// The same without a look-up: what is remembered, else when the marker was stored.
pub(super) fn known_of_marker(store: &ObjectBacked, marker: &RawObject) -> Option<SystemTime> {
    let remembered = || {
        let times = store.kept_times.as_ref()?;
        let known = times.recall(&marker.key, marker.etag.as_deref(), marker.modified).map(|known| known.mtime);
        known.or_else(|| times.recall_directory(&marker.key)).flatten()
    };
    marker.time().or_else(remembered).or(marker.modified)
}

/// The time of a directory of which a listing says only that it is there. What cannot be looked up is not known, and remembered as
/// such: some servers fail each look-up of a name that is a folder on their disk, and a listing needs no time.
async fn of_directory(store: &ObjectBacked, times: &KeptTimes, prefix: &str) -> Option<SystemTime> {
    if let Some(known) = times.recall_directory(prefix) {
        return known;
    }
    let found = store.extras.marker_time(prefix).await.unwrap_or_else(|error| {
        tracing::debug!(%error, "the time of a directory is not known");
        None
    });
    let mtime = found.and_then(|found| found.kept.or(found.stored));
    times.learn_directory(prefix, mtime);
    mtime
}

/// Gives the entries of a page their kept times. An object that is gone by now, or that may be listed but not read, keeps the
/// store's time.
pub(super) async fn fill(store: &ObjectBacked, directory: &Key, entries: Vec<&mut Entry>) -> StoreResult<()> {
    let Some(times) = &store.kept_times else { return Ok(()) };
    let prefix = store.full_prefix(directory);
    let look_up = async |entry: &mut Entry| {
        let full = format!("{prefix}{}", entry.name);
        if entry.stat.kind == Kind::Directory {
            entry.stat.mtime = of_directory(store, times, &format!("{full}/")).await;
            return Ok(());
        }
        if let Some(known) = times.recall(&full, entry.stat.etag.as_deref(), entry.stat.mtime) {
            entry.stat.mtime = known.mtime;
            return Ok(());
        }
        let Ok(key) = directory.join(&entry.name) else { return Ok(()) };
        match store.head(&key).await {
            Ok(Some(stat)) => entry.stat.mtime = stat.mtime,
            Ok(None) => {}
            Err(error) if error.kind == StoreErrorKind::AccessDenied => {}
            Err(error) => return Err(error),
        }
        Ok(())
    };
    stream::iter(entries).map(look_up).buffer_unordered(AT_ONCE).try_collect::<()>().await
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn stat(etag: &str, mtime: u64) -> Stat {
        let mtime = Some(SystemTime::UNIX_EPOCH + Duration::from_secs(mtime));
        Stat { kind: Kind::File, size: 1, mtime, etag: Some(etag.to_owned()) }
    }

    fn long_ago(nanos: u32) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::new(1_000_000, nanos)
    }

    #[test]
    fn a_time_is_remembered_for_its_version_only() {
        let times = KeptTimes::default();
        times.learn("a", &stat("x", 5), long_ago(0));
        let recall = |key, etag, modified| times.recall(key, Some(etag), Some(modified)).map(|known| known.mtime);
        assert_eq!(recall("a", "x", long_ago(999)), Some(stat("x", 5).mtime), "listings tell parts of a second");
        assert_eq!(recall("a", "y", long_ago(0)), None);
        assert_eq!(recall("b", "x", long_ago(0)), None);
        assert_eq!(
            recall("a", "x", long_ago(0) + Duration::from_secs(1)),
            None,
            "an mtime that is set changes the object"
        );
        times.forget("a");
        assert_eq!(recall("a", "x", long_ago(0)), None);
    }

    #[test]
    fn what_was_just_changed_is_not_remembered() {
        let times = KeptTimes::default();
        let now = SystemTime::now();
        times.learn("a", &stat("x", 5), now);
        assert!(times.recall("a", Some("x"), Some(now)).is_none());
    }

    /// A sentence of docs/SEMANTICS.md.
    #[test]
    fn the_gateway_remembers_their_answers_at_most_100000_for_each_store() {
        let times = KeptTimes::default();
        let name = |number: usize| format!("k{number}");
        for number in 0..250_000 {
            times.learn(&name(number), &stat("x", 5), long_ago(0));
        }
        let is_known = |number: &usize| times.recall(&name(*number), Some("x"), Some(long_ago(0))).is_some();
        let known = (0..250_000).filter(is_known).count();
        assert!((50_000..=100_000).contains(&known), "{known}");
        assert!((200_000..250_000).all(|number| is_known(&number)), "the last ones are known");
    }

    #[test]
    fn memory_is_bounded_and_what_is_used_stays() {
        let times = KeptTimes::default();
        times.learn("used", &stat("x", 5), long_ago(0));
        for number in 0..3 * MOST {
            times.learn(&format!("k{number}"), &stat("x", 5), long_ago(0));
            if number % (MOST / 2) == 0 {
                assert!(times.recall("used", Some("x"), Some(long_ago(0))).is_some());
            }
        }
        let generations = times.generations.lock().unwrap();
        assert!(generations.young.len() <= MOST && generations.old.len() <= MOST);
    }
}
