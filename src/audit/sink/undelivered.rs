//! The deliveries that a collector refused for good, in the folder `undelivered` of a spool, each in a file of its own.
//!
//! `NUMBER-HASH.refused`: the first line says why and which files it is about, the rest is what was to be posted. Numbers ascend,
//! so names sort in the order in which the deliveries were to arrive. What is told of a file later waits here behind what was
//! refused of it, so that it never arrives before that. The gateway and `lockgate audit redeliver` are two processes: each holds
//! the folder's lock while it looks and acts.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use bytes::Bytes;
use rustix::fs::{FlockOperation, flock};
use serde::{Deserialize, Serialize};

use super::spool::{FILE_MODE, FOLDER_MODE, sync_folder};
use crate::audit::chain::Hash;
use crate::regular_file;

const FOLDER: &str = "undelivered";
const ENDING: &str = ".refused";

/// The most of one file that is read: a whole batch and its heading.
const MAX_BYTES: u64 = 512 << 20;

/// The folder. Made when something is put into it.
#[derive(Debug)]
pub(super) struct Undelivered {
    folder: PathBuf,
    /// Bytes that it holds at most.
    limit: u64,
    /// The files that were read, and which paths each is about.
    known: BTreeMap<String, Vec<String>>,
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
    _lock: File,
}

impl Undelivered {
    /// Of a spool's folder. Reads nothing yet.
    pub(super) fn of(spool: &Path, limit: u64) -> Undelivered {
        Undelivered { folder: spool.join(FOLDER), limit, known: BTreeMap::new() }
    }

    /// How many there are.
    pub(super) fn count(&self) -> io::Result<u64> {
        Ok(self.names()?.len() as u64)
    }

    /// The folder with its lock, if it holds anything.
    pub(super) fn lock_unless_empty(&mut self) -> io::Result<Option<Locked<'_>>> {
        if self.names()?.is_empty() { Ok(None) } else { self.lock().map(Some) }
    }

    /// Waits for its lock.
    pub(super) fn lock(&mut self) -> io::Result<Locked<'_>> {
        fs::DirBuilder::new().recursive(true).mode(FOLDER_MODE).create(&self.folder)?;
        let mut options = OpenOptions::new();
        let path = self.folder.join("lock");
        let lock = options.write(true).create(true).truncate(false).mode(FILE_MODE).open(path)?;
        flock(&lock, FlockOperation::LockExclusive)?;
        let names = self.names()?;
        self.known.retain(|name, _| names.contains(name));
        for name in names {
            if !self.known.contains_key(&name) {
                let paths = self.read(&name)?.0.paths;
                self.known.insert(name, paths);
            }
        }
        Ok(Locked { undelivered: self, _lock: lock })
    }

    fn names(&self) -> io::Result<BTreeSet<String>> {
        let entries = match fs::read_dir(&self.folder) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(BTreeSet::new()),
            entries => entries?,
        };
        let mut names = BTreeSet::new();
        for entry in entries {
            let name = entry?.file_name().to_string_lossy().into_owned();
            if name.ends_with(ENDING) {
                names.insert(name);
            }
        }
        Ok(names)
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
}

impl Locked<'_> {
    /// Whether something about one of these paths waits here.
    pub(super) fn holds(&self, paths: &[String]) -> bool {
        self.undelivered.known.values().flatten().any(|held| paths.contains(held))
    }

    /// Whether this very delivery waits here.
    pub(super) fn has(&self, lines: &[u8]) -> bool {
        let ending = format!("-{}{ENDING}", Hash::of_line(lines));
        self.undelivered.known.keys().any(|name| name.ends_with(&ending))
    }

    /// Puts one behind the others; it is on the disk when this returns. One that is here already stays where it is.
    pub(super) fn put(&mut self, heading: &Heading, lines: &[u8]) -> io::Result<()> {
        if self.has(lines) {
            return Ok(());
        }
        let undelivered = &mut *self.undelivered;
        let mut held = 0;
        for name in undelivered.known.keys() {
            held += fs::metadata(undelivered.folder.join(name)).map_or(0, |metadata| metadata.len());
        }
        if held > 0 && held + lines.len() as u64 > undelivered.limit {
            let what = format!("{} holds {held} of at most {} bytes", undelivered.folder.display(), undelivered.limit);
            return Err(io::Error::new(io::ErrorKind::StorageFull, what));
        }
        let last = undelivered.known.keys().next_back().and_then(|name| name.get(..20)?.parse::<u64>().ok());
        let name = format!("{:020}-{}{ENDING}", last.map_or(0, |last| last + 1), Hash::of_line(lines));
        let (path, next) = (undelivered.folder.join(&name), undelivered.folder.join("new"));
        let mut content = serde_json::to_vec(heading)?;
        content.push(b'\n');
        content.extend_from_slice(lines);
        let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(FILE_MODE).open(&next)?;
        file.write_all(&content)?;
        file.sync_data()?;
        fs::rename(&next, path)?;
        sync_folder(&undelivered.folder)?;
        undelivered.known.insert(name, heading.paths.clone());
        Ok(())
    }

    /// The first one behind `after` that is about none of these paths.
    pub(super) fn next(&self, after: Option<&str>, without: &[String]) -> io::Result<Option<(String, Heading, Bytes)>> {
        let later = |name: &str| after.is_none_or(|after| name > after);
        let mut waiting = self.undelivered.known.iter().filter(|(name, _)| later(name));
        let Some((name, _)) = waiting.find(|(_, paths)| !paths.iter().any(|path| without.contains(path))) else {
            return Ok(None);
        };
        let (heading, lines) = self.undelivered.read(name)?;
        Ok(Some((name.clone(), heading, lines)))
    }

    /// It has arrived.
    pub(super) fn remove(&mut self, name: &str) -> io::Result<()> {
        fs::remove_file(self.undelivered.folder.join(name))?;
        self.undelivered.known.remove(name);
        Ok(())
    }
}

#[cfg(test)]
#[path = "undelivered_tests.rs"]
mod tests;
