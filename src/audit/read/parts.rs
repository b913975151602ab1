//! The files of a trail while they are read. The gateway goes on meanwhile: it renames the live file, compresses old ones and removes the
//! oldest. What is read is the trail as it was at one moment, and what was written to the live file since.

use std::collections::{HashMap, HashSet, VecDeque};
use std::fs::{self, File, Metadata};
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use super::files::{FileError, Files, Rotated, packed, trail_of};
use super::span::{Span, hour_of};

/// How often it is tried to find a moment between two rotations, and the time between.
const TRIES: usize = 20;
const PAUSE: Duration = Duration::from_millis(5);

/// How many files are held open ahead of the one that is read: the oldest are read first, and `keep` removes them first.
const AHEAD: usize = 64;

/// How many live files are held open from the beginning: under its name there may be the next one when it is read.
const LIVE: usize = 64;

/// Files in the order in which they are read.
#[derive(Debug, Default)]
pub struct Parts {
    waiting: VecDeque<Part>,
    /// The trail of which a file was read last, by its live file.
    begun: Option<PathBuf>,
    /// Files of a folder that are not read.
    passed_over: Vec<PathBuf>,
}

#[derive(Debug)]
struct Part {
    path: PathBuf,
    held: Option<Held>,
}

/// A file that is open, whatever becomes of its name.
#[derive(Debug)]
struct Held {
    /// The name that it was opened by.
    path: PathBuf,
    file: File,
    /// Bytes that it had then.
    length: u64,
}

impl Parts {
    /// The files that `named` names, and those of the folders among them, as [`Files::find`] finds and orders them. They are those of one
    /// moment, none twice and none left out, whatever is rotated meanwhile.
    ///
    /// # Errors
    /// The first path that cannot be looked at.
    pub fn find(named: &[PathBuf]) -> Result<Parts, FileError> {
        Parts::settled(|| Files::find(named))
    }

    /// As [`Parts::find`], of what `list` lists.
    pub(in crate::audit) fn settled(list: impl Fn() -> Result<Files, FileError>) -> Result<Parts, FileError> {
        let mut missing = None;
        for attempt in 0..TRIES {
            if attempt > 0 {
                thread::sleep(PAUSE);
            }
            match Parts::hold(&list) {
                Ok(Ok(parts)) => return Ok(parts),
                Ok(Err(moved)) => {
                    let error = io::Error::other("it is renamed all the time; run the command again");
                    missing = Some(FileError { path: moved, error });
                }
                // For a moment within a rotation there is no live file.
                Err(error) if error.error.kind() == io::ErrorKind::NotFound => missing = Some(error),
                Err(error) => return Err(error),
            }
        }
        Err(missing.unwrap_or_else(|| FileError { path: PathBuf::new(), error: io::ErrorKind::NotFound.into() }))
    }

    /// Lists the files and opens some; or names one that was moved meanwhile.
    fn hold(list: impl Fn() -> Result<Files, FileError>) -> Result<Result<Parts, PathBuf>, FileError> {
        // Opened before the listing that counts: what is rotated until then is listed, and what is rotated later is open.
        let before = list()?;
        let mut live = HashMap::new();
        for path in before.paths.iter().filter(|path| may_be_live(path)).take(LIVE) {
            match Held::open(path) {
                Ok(held) => drop(live.insert(path.clone(), held)),
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Err(path.clone())),
                // It is named when its turn comes.
                Err(_) => {}
            }
        }
        let after = list()?;
        let listed: HashSet<&PathBuf> = before.paths.iter().collect();
        if let Some(new) = after.paths.iter().find(|path| may_be_live(path) && !listed.contains(path)) {
            return Ok(Err(new.clone()));
        }
        // Of a file that is packed while a folder is listed, the listing may have neither name.
        let paths = Files::in_order([after.paths, before.paths].concat()).paths;
        let waiting = paths.into_iter().map(|path| Part { held: live.remove(&path), path }).collect();
        let mut parts = Parts { waiting, begun: None, passed_over: after.passed_over };
        parts.hold_ahead();
        let moved = parts.waiting.iter().find(|part| !part.is_in_place()).map(|part| part.path.clone());
        Ok(moved.map_or(Ok(parts), Err))
    }

    /// How many files are left.
    pub(in crate::audit) fn count(&self) -> usize {
        self.waiting.len()
    }

    /// Files of a folder that are not read: other names, and packed ones that stand beside the same file unpacked.
    pub fn passed_over(&self) -> &[PathBuf] {
        &self.passed_over
    }

    /// Bytes of those files that by their names may hold something of `span`, as they are on the disk.
    pub(in crate::audit) fn bytes(&self, span: Span) -> u64 {
        let wanted = span.wanted(self.waiting.iter().collect(), |part| name(&part.path));
        wanted.iter().filter_map(|part| part.metadata().ok()).map(|found| found.len()).sum()
    }

    /// Leaves out what by its name holds nothing of `span`.
    pub(super) fn within(mut self, span: Span) -> Parts {
        self.waiting = span.wanted(self.waiting.into(), |part| name(&part.path)).into();
        self
    }

    /// The next file, and the name that it was opened by. A trail may begin later than when it was listed, if `keep` removed its oldest
    /// files since; nothing in the middle of it is left out.
    ///
    /// # Errors
    /// The name of a file that cannot be opened, and why.
    pub(super) fn next(&mut self) -> Option<Result<(PathBuf, Whole), (PathBuf, io::Error)>> {
        loop {
            self.hold_ahead();
            let Part { path, held } = self.waiting.pop_front()?;
            let live = trail_of(&path);
            let trail = live.clone().unwrap_or_else(|| path.clone());
            let is_first = self.begun.as_ref() != Some(&trail);
            match held.map_or_else(|| Held::open(&path), Ok) {
                Ok(held) => {
                    self.begun = Some(trail);
                    return Some(Ok((held.path, Whole { file: held.file, least: held.length, read: 0 })));
                }
                Err(error) if error.kind() == io::ErrorKind::NotFound && live.is_some() => {
                    if !is_first {
                        let why = "it was removed while the files before it were read; run the command again";
                        return Some(Err((path, io::Error::new(error.kind(), why))));
                    }
                }
                Err(error) => return Some(Err((path, error))),
            }
        }
    }

    fn hold_ahead(&mut self) {
        for part in self.waiting.iter_mut().take(AHEAD).filter(|part| part.held.is_none()) {
            // What cannot be opened is named when its turn comes.
            part.held = Held::open(&part.path).ok();
        }
    }
}

/// Files that nobody rotates.
impl From<Vec<PathBuf>> for Parts {
    fn from(paths: Vec<PathBuf>) -> Parts {
        let waiting = paths.into_iter().map(|path| Part { path, held: None }).collect();
        Parts { waiting, ..Parts::default() }
    }
}

impl Part {
    fn metadata(&self) -> io::Result<Metadata> {
        self.held.as_ref().map_or_else(|| fs::metadata(&self.path), |held| held.file.metadata())
    }

    /// Whether the name still is that of the file. The gateway gives a name to one file only; other programs use names again.
    fn is_in_place(&self) -> bool {
        if Rotated::parse(name(&self.path)).is_some() {
            return true;
        }
        match (&self.held, fs::metadata(&self.path)) {
            (Some(held), Ok(found)) => held.file.metadata().is_ok_and(|open| is_same(&open, &found)),
            (_, Err(error)) => error.kind() != io::ErrorKind::NotFound,
            (None, Ok(_)) => true,
        }
    }
}

impl Held {
    /// Opens a file of a trail. One that was packed since it was listed is there under its other name.
    fn open(path: &Path) -> io::Result<Held> {
        let (path, file) = match (File::open(path), packed(path)) {
            (Err(error), Some(packed)) if error.kind() == io::ErrorKind::NotFound => {
                let file = File::open(&packed).map_err(|_| error)?;
                (packed, file)
            }
            (opened, _) => (path.to_owned(), opened?),
        };
        let length = file.metadata()?.len();
        Ok(Held { path, file, length })
    }
}

/// A file of which nothing is missed: one that another program truncates while it is read (logrotate's `copytruncate`) is an error.
#[derive(Debug)]
pub(super) struct Whole {
    file: File,
    /// Bytes that it has at least.
    least: u64,
    read: u64,
}

impl Read for Whole {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.file.read(buffer)?;
        self.read += count as u64;
        let is_at_end = count == 0 && !buffer.is_empty();
        // What is no regular file has no length.
        if is_at_end && self.file.metadata().is_ok_and(|now| now.is_file() && now.len() < self.read.max(self.least)) {
            return Err(io::Error::other("it was truncated while it was read; run the command again"));
        }
        Ok(count)
    }
}

/// A file that may be written still: neither rotated, nor packed, nor a store's batch.
fn may_be_live(path: &Path) -> bool {
    trail_of(path).is_none() && !name(path).ends_with(".gz") && hour_of(name(path)).is_none()
}

fn is_same(a: &Metadata, b: &Metadata) -> bool {
    (a.dev(), a.ino()) == (b.dev(), b.ino())
}

fn name(path: &Path) -> &str {
    path.to_str().unwrap_or_default()
}

#[cfg(test)]
#[path = "parts_tests.rs"]
mod tests;
