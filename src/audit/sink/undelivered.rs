//! The deliveries that a collector refused for good, in the folder `undelivered` of a spool, each in a file of its own.
//!
//! `NUMBER-HASH.refused`: the first line says why and which files it is about, the rest is what was to be posted. Numbers ascend,
//! so names sort in the order in which the deliveries were to arrive. What is told of a file later waits here behind what was
//! refused of it, so that it never arrives before that. The gateway and `lockgate audit redeliver` are two processes: each holds
//! the folder's lock while it looks and acts. The file `lock` holds how often the folder was changed, so that nobody reads it again
//! for nothing.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::ops::Bound;
use std::os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};

use super::held_paths::HeldPaths;
use super::spool::{FILE_MODE, FOLDER_MODE, sync_folder};
use crate::audit::chain::Hash;
use crate::regular_file;

const FOLDER: &str = "undelivered";
const ENDING: &str = ".refused";

/// Digits of the number in a name. A number has two digits less, so that there is always a next one.
const DIGITS: usize = 20;

/// The most of one file that is read: a whole batch and its heading.
const MAX_BYTES: u64 = 512 << 20;

/// How many files the folder holds at most. More would have to wait in any case: somebody has to look.
const MAX_FILES: usize = 10_000;

/// How long the lock is waited for. A command that delivers holds it as long as the collector needs, and one that was stopped for ever.
const LOCK_WITHIN: Duration = Duration::from_secs(5);

/// How often it is tried meanwhile.
const LOCK_EVERY: Duration = Duration::from_millis(5);

/// The folder. Made when something is put into it.
#[derive(Debug)]
pub(super) struct Undelivered {
    folder: PathBuf,
    lock_within: Duration,
    /// Bytes that it holds at most.
    limit: u64,
    most: usize,
    /// The files that were seen.
    known: BTreeMap<String, Known>,
    /// What `known` has together: bytes, contents, and the files that they are about.
    bytes: u64,
    hashes: HashSet<String>,
    held: HeldPaths,
    /// As of when `known` is.
    seen: Option<Seen>,
    /// How many there are, for others.
    count: Arc<AtomicU64>,
}

/// A file of the folder.
#[derive(Debug)]
struct Known {
    bytes: u64,
    /// The files that it is about; `None` when it cannot be read. It is not delivered then, and holds up nothing.
    paths: Option<Vec<String>>,
}

/// Which state of the folder was read: after how many changes by gateways and commands, and after which by anybody else.
#[derive(Debug, PartialEq, Eq)]
struct Seen {
    changes: u64,
    modified: Option<SystemTime>,
}

/// The first line of a file.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Heading {
    /// What the collector said.
    pub(super) why: String,
    /// When it was given up, RFC 3339.
    pub(super) since: String,
    /// The storage paths that it is about; none for lines of the trail.
    pub(super) paths: Vec<String>,
}

/// The folder while nobody else changes it.
pub(super) struct Locked<'a> {
    undelivered: &'a mut Undelivered,
    lock: File,
}

/// How many there are in the folder of a spool.
pub(super) fn count(spool: &Path) -> io::Result<u64> {
    Ok(names(&spool.join(FOLDER))?.len() as u64)
}

impl Undelivered {
    /// Of a spool's folder. Reads nothing yet.
    pub(super) fn of(spool: &Path, limit: u64) -> Undelivered {
        Undelivered {
            folder: spool.join(FOLDER),
            lock_within: LOCK_WITHIN,
            limit,
            most: MAX_FILES,
            known: BTreeMap::new(),
            bytes: 0,
            hashes: HashSet::new(),
            held: HeldPaths::default(),
            seen: None,
            count: Arc::default(),
        }
    }

    /// Keeps there how many there are.
    pub(super) fn counting(self, count: Arc<AtomicU64>) -> Undelivered {
        Undelivered { count, ..self }
    }

    /// Waits so long for the lock.
    #[cfg(test)]
    pub(super) fn waiting(self, lock_within: Duration) -> Undelivered {
        Undelivered { lock_within, ..self }
    }

    /// The folder with its lock, if it holds anything.
    pub(super) fn lock_unless_empty(&mut self) -> io::Result<Option<Locked<'_>>> {
        if !self.folder.exists() {
            return Ok(None);
        }
        let locked = self.lock()?;
        Ok(if locked.undelivered.known.is_empty() { None } else { Some(locked) })
    }

    /// Waits for its lock, not for ever.
    ///
    /// # Errors
    /// [`io::ErrorKind::WouldBlock`] when another process keeps it; what the disk says.
    pub(super) fn lock(&mut self) -> io::Result<Locked<'_>> {
        fs::DirBuilder::new().recursive(true).mode(FOLDER_MODE).create(&self.folder)?;
        let mut options = OpenOptions::new();
        let path = self.folder.join("lock");
        let lock = options.read(true).write(true).create(true).truncate(false).mode(FILE_MODE).open(path)?;
        self.wait_for(&lock)?;
        // Before the names are read: what changes meanwhile is read again.
        let now = Seen { changes: changes(&lock)?, modified: self.modified() };
        if self.seen.as_ref() != Some(&now) {
            self.read_again()?;
            self.seen = Some(now);
        }
        Ok(Locked { undelivered: self, lock })
    }

    fn wait_for(&self, lock: &File) -> io::Result<()> {
        let began = Instant::now();
        loop {
            match flock(lock, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => return Ok(()),
                Err(Errno::INTR) => {}
                Err(Errno::WOULDBLOCK) if began.elapsed() < self.lock_within => std::thread::sleep(LOCK_EVERY),
                Err(Errno::WOULDBLOCK) => {
                    let folder = self.folder.display();
                    let what = format!(
                        "{folder} is locked by another process: a `lockgate audit redeliver` that was stopped, or waits for its collector"
                    );
                    return Err(io::Error::new(io::ErrorKind::WouldBlock, what));
                }
                Err(error) => return Err(error.into()),
            }
        }
    }

    fn modified(&self) -> Option<SystemTime> {
        fs::metadata(&self.folder).and_then(|metadata| metadata.modified()).ok()
    }

    fn read_again(&mut self) -> io::Result<()> {
        let names = names(&self.folder)?;
        let gone: Vec<String> = self.known.keys().filter(|name| !names.contains(*name)).cloned().collect();
        gone.iter().for_each(|name| self.forget(name));
        for name in names {
            if self.known.contains_key(&name) {
                continue;
            }
            let bytes = fs::symlink_metadata(self.folder.join(&name)).map_or(0, |metadata| metadata.len());
            match self.read(&name) {
                Ok((heading, _)) => self.note(name, bytes, Some(heading.paths)),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => {
                    say_unreadable(&error);
                    self.note(name, bytes, None);
                }
            }
        }
        self.count.store(self.known.len() as u64, Ordering::Relaxed);
        Ok(())
    }

    fn read(&self, name: &str) -> io::Result<(Heading, Bytes)> {
        let path = self.folder.join(name);
        let named = |error: io::Error| io::Error::new(error.kind(), format!("{}: {error}", path.display()));
        let content = Bytes::from(regular_file::read(&path, MAX_BYTES).map_err(named)?);
        let newline = content.iter().position(|byte| *byte == b'\n').unwrap_or(content.len());
        let heading = serde_json::from_slice(content.get(..newline).unwrap_or_default());
        let heading = heading.map_err(|error| named(io::Error::new(io::ErrorKind::InvalidData, error)))?;
        Ok((heading, content.slice((newline + 1).min(content.len())..)))
    }

    fn note(&mut self, name: String, bytes: u64, paths: Option<Vec<String>>) {
        self.bytes += bytes;
        if let Some(paths) = &paths {
            self.held.add(paths);
            self.hashes.extend(hash_in(&name).map(str::to_owned));
        }
        self.known.insert(name, Known { bytes, paths });
        self.count.store(self.known.len() as u64, Ordering::Relaxed);
    }

    fn forget(&mut self, name: &str) {
        let Some(known) = self.known.remove(name) else { return };
        self.bytes -= known.bytes;
        if let Some(paths) = &known.paths {
            self.held.remove(paths);
            hash_in(name).map(|hash| self.hashes.remove(hash));
        }
        self.count.store(self.known.len() as u64, Ordering::Relaxed);
    }

    /// What keeps one more of so many bytes from being put here. One alone always has room.
    fn is_full(&self, bytes: u64) -> Option<String> {
        let (folder, held) = (self.folder.display(), self.known.len());
        if held >= self.most {
            let deliveries = if held == 1 { "delivery" } else { "deliveries" };
            return Some(format!("{folder} holds {held} {deliveries}, the most that are set aside"));
        }
        let is_full = held > 0 && self.bytes + bytes > self.limit;
        is_full.then(|| format!("{folder} holds {} of at most {} bytes", self.bytes, self.limit))
    }
}

impl Locked<'_> {
    /// How many there are, with those that cannot be read.
    pub(super) fn count(&self) -> u64 {
        self.undelivered.known.len() as u64
    }

    /// Whether something about one of these paths waits here, about something in it, or about a folder around it.
    pub(super) fn holds(&self, paths: &[String]) -> bool {
        self.undelivered.held.touches(paths)
    }

    /// As [`Locked::holds`], by those alone whose hashes are not passed over.
    pub(super) fn holds_but(&self, paths: &[String], is_passed_over: impl Fn(&str) -> bool) -> bool {
        let mut held = HeldPaths::default();
        let all = self.undelivered.known.iter();
        let others = all.filter(|(name, _)| !hash_in(name).is_some_and(&is_passed_over));
        others.filter_map(|(_, known)| known.paths.as_ref()).any(|known| {
            held.add(known);
            let touches = held.touches(paths);
            held.remove(known);
            touches
        })
    }

    /// Whether this very delivery waits here.
    pub(super) fn has(&self, lines: &[u8]) -> bool {
        self.undelivered.hashes.contains(&Hash::of_line(lines).to_string())
    }

    /// Puts one behind the others; it is on the disk when this returns. One that is here already stays where it is.
    ///
    /// # Errors
    /// [`io::ErrorKind::StorageFull`] when there is no room; what the disk says.
    pub(super) fn put(&mut self, heading: &Heading, lines: &[u8]) -> io::Result<()> {
        if self.has(lines) {
            return Ok(());
        }
        let undelivered = &mut *self.undelivered;
        let mut content = serde_json::to_vec(heading)?;
        content.push(b'\n');
        content.extend_from_slice(lines);
        if let Some(what) = undelivered.is_full(content.len() as u64) {
            return Err(io::Error::new(io::ErrorKind::StorageFull, what));
        }
        let last = undelivered.known.keys().next_back().and_then(|name| number_in(name));
        let name = format!("{:0DIGITS$}-{}{ENDING}", last.map_or(0, |last| last + 1), Hash::of_line(lines));
        let (path, next) = (undelivered.folder.join(&name), undelivered.folder.join("new"));
        let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(FILE_MODE).open(&next)?;
        file.write_all(&content)?;
        file.sync_data()?;
        fs::rename(&next, path)?;
        undelivered.note(name, content.len() as u64, Some(heading.paths.clone()));
        self.changed()?;
        sync_folder(&self.undelivered.folder)
    }

    /// The first one behind `after` that can be read and is about nothing that `without` touches. What is passed over is added to that:
    /// a folder that stays here keeps what is told of its new name later.
    pub(super) fn next(
        &mut self,
        after: Option<&str>,
        without: &mut HeldPaths,
    ) -> io::Result<Option<(String, Heading, Bytes)>> {
        let mut after = after.map(str::to_owned);
        loop {
            let from = after.as_deref().map_or(Bound::Unbounded, Bound::Excluded);
            let mut later = self.undelivered.known.range::<str, _>((from, Bound::Unbounded));
            let next = later.find(|(_, known)| {
                let Some(paths) = &known.paths else { return false };
                let is_kept = without.touches(paths);
                if is_kept {
                    without.add(paths);
                }
                !is_kept
            });
            let Some(name) = next.map(|(name, _)| name.clone()) else { return Ok(None) };
            match self.undelivered.read(&name) {
                Ok((heading, lines)) => return Ok(Some((name, heading, lines))),
                // Somebody removed it: it is not delivered.
                Err(error) if error.kind() == io::ErrorKind::NotFound => self.undelivered.forget(&name),
                Err(error) => {
                    say_unreadable(&error);
                    let bytes = self.undelivered.known.get(&name).map_or(0, |known| known.bytes);
                    self.undelivered.forget(&name);
                    self.undelivered.note(name.clone(), bytes, None);
                }
            }
            after = Some(name);
        }
    }

    /// It has arrived.
    pub(super) fn remove(&mut self, name: &str) -> io::Result<()> {
        match fs::remove_file(self.undelivered.folder.join(name)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => self.undelivered.forget(name),
        }
        self.changed()
    }

    /// Says so to the other process; what this one knows is right.
    fn changed(&mut self) -> io::Result<()> {
        let changes = changes(&self.lock)? + 1;
        self.lock.write_all_at(format!("{changes:0DIGITS$}\n").as_bytes(), 0)?;
        self.undelivered.seen = Some(Seen { changes, modified: self.undelivered.modified() });
        Ok(())
    }
}

/// How often the folder was changed. What another program wrote there counts as nothing.
fn changes(mut lock: &File) -> io::Result<u64> {
    let mut digits = [0; DIGITS];
    io::Seek::rewind(&mut lock)?;
    let length = lock.read(&mut digits)?;
    let text = std::str::from_utf8(digits.get(..length).unwrap_or_default());
    Ok(text.ok().and_then(|text| text.parse::<u64>().ok()).filter(|changes| *changes < u64::MAX).unwrap_or_default())
}

/// The files that are deliveries, by their names. Others are not the gateway's.
fn names(folder: &Path) -> io::Result<BTreeSet<String>> {
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(BTreeSet::new()),
        entries => entries?,
    };
    let mut names = BTreeSet::new();
    for entry in entries {
        if let Ok(name) = entry?.file_name().into_string()
            && number_in(&name).is_some()
        {
            names.insert(name);
        }
    }
    Ok(names)
}

/// The number in a name that has exactly the form of those that are given here.
fn number_in(name: &str) -> Option<u64> {
    hash_in(name)?.parse::<Hash>().ok()?;
    let digits = name.get(..DIGITS)?;
    let is_ours = digits.bytes().all(|digit| digit.is_ascii_digit()) && digits.starts_with("00");
    is_ours.then(|| digits.parse().ok()).flatten()
}

fn hash_in(name: &str) -> Option<&str> {
    name.get(DIGITS..)?.strip_prefix('-')?.strip_suffix(ENDING)
}

fn say_unreadable(error: &io::Error) {
    tracing::error!(%error, "a delivery that is set aside cannot be read, and is not delivered; repair or remove its file");
}

#[cfg(test)]
#[path = "undelivered_tests.rs"]
mod tests;
