//! The lines of a trail as they come, from a place in it on: over rotation, packing and whatever the reader did not keep up with.
//!
//! Nothing is held for a reader but an open file and a block of it. One that is slow reads from the disk what it has missed; what was
//! removed from there meanwhile is lost to it, and it is told so.

use std::fs::{File, Metadata};
use std::io::{self, BufReader, Read, Seek, SeekFrom};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use flate2::read::MultiGzDecoder;

use super::lines::{LineReader, MAX_LINE, Raw};
use super::newest::{Page, first_not_older, id_of, newest, rotated_of};
use super::{BUFFER, ReadError};

/// Bytes that are read from a file in one go.
const BLOCK: usize = 64 * 1024;

/// Bytes of a file's beginning that are compared: the id of its first line is among them.
const BEGINNING: usize = 1024;

/// The id before all others: what follows it is the whole trail.
pub const BEFORE_ALL: &str = "00000000-0000-0000-0000-000000000000";

/// Reads a live file and its rotated ones.
pub struct Follow {
    path: PathBuf,
    /// The id of the last line that was read.
    last: Option<String>,
    open: Option<Open>,
    /// The file that was read to its end.
    ended: Option<Identity>,
    /// What was asked for is not there, and that has not been said yet.
    owes_gap: bool,
    /// The live file was truncated: what stands there now is new from its beginning on.
    begins_again: bool,
}

/// What is read next.
#[derive(Debug, PartialEq, Eq)]
pub enum Next {
    /// A line, without its newline.
    Line(Vec<u8>),
    /// The line that follows is not the next one, as far as can be said: files in between were removed, or the live file was truncated.
    Gap,
    /// There is no further line yet.
    Nothing,
}

/// Which file it is, whatever its name.
type Identity = (u64, u64);

struct Open {
    input: Box<dyn Read + Send>,
    identity: Identity,
    /// To see whether another program truncates it; `None` for a packed file.
    watched: Option<Watched>,
    /// Whether more may be written to it.
    is_live: bool,
    /// What was read and not given yet; from `start` on.
    block: Vec<u8>,
    start: usize,
    /// The last line that was read has not come by yet.
    is_seeking: bool,
    /// The rest of a line that is too long is passed over.
    is_skipping: bool,
}

impl Follow {
    /// Follows the live file `path`: what comes after the event of the id `after`, or after now. After [`BEFORE_ALL`] comes whatever is
    /// there. An id above all that there are is no place to go on from (the trail was put back, or the clock): a gap, and what comes after
    /// now.
    ///
    /// # Errors
    /// Files that cannot be read.
    pub fn start(path: &Path, after: Option<String>) -> Result<Self, ReadError> {
        let page = Page::newest(1, Duration::from_secs(5));
        let id = |line: &[u8]| id_of(line).map(str::to_owned);
        let newest = newest(path, &page, id)?.found.pop();
        let is_above = after.as_ref().is_some_and(|after| after != BEFORE_ALL && newest.as_ref() < Some(after));
        let last = match after {
            Some(after) if !is_above => Some(after).filter(|after| after != BEFORE_ALL),
            Some(_) | None => newest,
        };
        Ok(Follow { path: path.to_owned(), last, open: None, ended: None, owes_gap: is_above, begins_again: false })
    }

    /// How far it is: whoever goes on after this id misses nothing that was not given yet.
    pub fn position(&self) -> &str {
        self.last.as_deref().unwrap_or(BEFORE_ALL)
    }

    /// What is next; it does not wait.
    ///
    /// # Errors
    /// Files that cannot be read. Asked again, it tries again.
    pub fn advance(&mut self) -> Result<Next, ReadError> {
        let name = self.path.display().to_string();
        let failed = move |error| ReadError::new(name.clone(), error);
        if std::mem::take(&mut self.owes_gap) {
            return Ok(Next::Gap);
        }
        loop {
            let Some(open) = &mut self.open else {
                match self.open_next()? {
                    Opened::Nothing => return Ok(Next::Nothing),
                    Opened::Following => continue,
                    Opened::AfterGap => return Ok(Next::Gap),
                }
            };
            if let Some(line) = open.line() {
                let Some(id) = id_of(&line) else { continue };
                if !open.is_seeking || self.last.as_deref().is_none_or(|last| id > last) {
                    open.is_seeking = false;
                    self.last = Some(id.to_owned());
                    return Ok(Next::Line(line));
                }
                open.is_seeking = self.last.as_deref() != Some(id);
                continue;
            }
            let has_more = open.fill().map_err(&failed)?;
            if open.was_truncated().map_err(&failed)? {
                (self.open, self.ended, self.begins_again) = (None, None, true);
                return Ok(Next::Gap);
            }
            if has_more {
                continue;
            }
            // Looked at before the last bytes are: what is rotated has no more of them.
            if open.is_live && identity_of(&self.path).map_err(&failed)?.is_some_and(|live| live == open.identity) {
                return Ok(Next::Nothing);
            }
            if open.fill().map_err(&failed)? {
                continue;
            }
            self.ended = Some(open.identity);
            self.open = None;
        }
    }

    /// The file that follows the one that was read to its end, where that is still there. It is whole of new lines: ids are not asked,
    /// for a clock that was set back makes smaller ones.
    fn after_ended<'p>(&self, files: &'p [PathBuf]) -> Result<Option<&'p Path>, ReadError> {
        let Some(ended) = self.ended else { return Ok(None) };
        for (path, next) in files.iter().zip(files.iter().skip(1)) {
            let identity = identity_of(path).map_err(|error| ReadError::new(path.display().to_string(), error))?;
            if identity == Some(ended) {
                return Ok(Some(next));
            }
        }
        Ok(None)
    }

    fn open_whole(&mut self, path: &Path) -> Result<Opened, ReadError> {
        let failed = |error| ReadError::new(path.display().to_string(), error);
        let file = match File::open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Opened::Nothing),
            Err(error) => return Err(failed(error)),
        };
        self.open = Some(Open::new(file, None, path == self.path).map_err(failed)?);
        Ok(Opened::Following)
    }

    /// Opens the file that holds what follows the last line.
    fn open_next(&mut self) -> Result<Opened, ReadError> {
        let live = self.path.clone();
        if self.begins_again {
            let opened = self.open_whole(&live)?;
            self.begins_again = matches!(opened, Opened::Nothing);
            return Ok(opened);
        }
        let mut files = rotated_of(&live)?;
        files.push(live.clone());
        if let Some(after_ended) = self.after_ended(&files)? {
            return self.open_whole(after_ended);
        }
        let mut next: Option<File> = None;
        let mut is_next_live = false;
        let mut is_gap = self.last.is_some();
        for path in files.iter().rev() {
            let failed = |error| ReadError::new(path.display().to_string(), error);
            // One that was listed may have been packed or removed since; then it is looked for again later.
            let file = match File::open(path) {
                Ok(file) => file,
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Opened::Nothing),
                Err(error) => return Err(failed(error)),
            };
            let (Some(last), Some(first)) = (self.last.as_deref(), first_id(&file).map_err(failed)?) else {
                // From the beginning on; or a file in which nothing is yet.
                is_gap &= self.last.is_none();
                if self.last.is_none() || next.is_none() {
                    (next, is_next_live) = (Some(file), *path == live);
                }
                continue;
            };
            let holds_last = first.as_str() <= last;
            let identity = file.metadata().map(|found| identity(&found)).map_err(failed)?;
            if !holds_last || self.ended != Some(identity) {
                (next, is_next_live) = (Some(file), *path == live);
            }
            is_gap = !holds_last;
            if holds_last {
                break;
            }
        }
        let failed = |error| ReadError::new(live.display().to_string(), error);
        let Some(file) = next else { return Ok(Opened::Nothing) };
        self.open = Some(Open::new(file, self.last.as_deref(), is_next_live).map_err(failed)?);
        Ok(if is_gap { Opened::AfterGap } else { Opened::Following })
    }
}

impl std::fmt::Debug for Follow {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Follow").field("path", &self.path).field("last", &self.last).finish_non_exhaustive()
    }
}

/// Whether there is a file to go on with.
enum Opened {
    Nothing,
    Following,
    AfterGap,
}

impl Open {
    /// Begins near the line of the id `last` where that can be found without reading all before it.
    fn new(mut file: File, last: Option<&str>, is_live: bool) -> io::Result<Self> {
        let identity = identity(&file.metadata()?);
        let mut magic = [0; 2];
        let is_packed = file.read(&mut magic)? == 2 && magic == [0x1f, 0x8b];
        let from = match last {
            Some(last) if !is_packed => first_not_older(&mut file, last)?,
            _ => 0,
        };
        file.seek(SeekFrom::Start(from))?;
        let watched = if is_packed { None } else { Some(Watched::new(file.try_clone()?, from)?) };
        let input: Box<dyn Read + Send> = match is_packed {
            true => Box::new(MultiGzDecoder::new(BufReader::with_capacity(BUFFER, file))),
            false => Box::new(file),
        };
        Ok(Open {
            input,
            identity,
            watched,
            is_live: is_live && !is_packed,
            block: Vec::new(),
            start: 0,
            is_seeking: last.is_some(),
            is_skipping: false,
        })
    }

    /// The next whole line of what was read.
    fn line(&mut self) -> Option<Vec<u8>> {
        loop {
            let rest = self.block.get(self.start..)?;
            let end = rest.iter().position(|byte| *byte == b'\n')?;
            let line = rest.get(..end)?.to_vec();
            self.start += end + 1;
            if !std::mem::take(&mut self.is_skipping) {
                return Some(line);
            }
        }
    }

    /// Reads more; false at the end of what there is.
    fn fill(&mut self) -> io::Result<bool> {
        self.block.drain(..self.start);
        self.start = 0;
        if self.block.len() > MAX_LINE {
            self.block.clear();
            self.is_skipping = true;
        }
        let had = self.block.len();
        self.block.resize(had + BLOCK, 0);
        let read = match self.input.read(self.block.get_mut(had..).unwrap_or_default()) {
            Ok(read) => read,
            // The rest of a packed file is lost; what stands before counts.
            Err(error) if super::is_of_content(&error) => 0,
            Err(error) => {
                self.block.truncate(had);
                return Err(error);
            }
        };
        self.block.truncate(had + read);
        if let Some(watched) = &mut self.watched {
            watched.read += read as u64;
        }
        Ok(read > 0)
    }

    /// Whether the file is not the one any more of which was read, though its name is: then what was read last may be of anywhere.
    fn was_truncated(&mut self) -> io::Result<bool> {
        self.watched.as_mut().map_or(Ok(false), Watched::was_truncated)
    }
}

/// A file that only grows, as far as nobody truncates it (logrotate's `copytruncate`).
struct Watched {
    file: File,
    /// Up to where it was read.
    read: u64,
    /// How it begins, as far as it was written when that was looked at.
    beginning: Vec<u8>,
}

impl Watched {
    fn new(file: File, read: u64) -> io::Result<Watched> {
        let mut watched = Watched { file, read, beginning: Vec::new() };
        watched.beginning = watched.begins()?;
        Ok(watched)
    }

    fn was_truncated(&mut self) -> io::Result<bool> {
        // It may have grown beyond this place again: the id of another first line is seen.
        let begins = self.begins()?;
        if self.file.metadata()?.len() < self.read || !begins.starts_with(&self.beginning) {
            return Ok(true);
        }
        self.beginning = begins;
        Ok(false)
    }

    fn begins(&self) -> io::Result<Vec<u8>> {
        let mut begins = vec![0; BEGINNING];
        let read = self.file.read_at(&mut begins, 0)?;
        begins.truncate(read);
        Ok(begins)
    }
}

fn identity(found: &Metadata) -> Identity {
    (found.dev(), found.ino())
}

fn identity_of(path: &Path) -> io::Result<Option<Identity>> {
    match std::fs::metadata(path) {
        Ok(found) => Ok(Some(identity(&found))),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// The id of the first event of a file.
pub(super) fn first_id(file: &File) -> io::Result<Option<String>> {
    let mut lines = LineReader::new(BufReader::with_capacity(16 * 1024, file.try_clone()?))?;
    let id = loop {
        match lines.advance() {
            Ok(Raw::End) => break None,
            Ok(Raw::TooLong) => {}
            Ok(Raw::Line) => {
                if let Some(id) = id_of(lines.line()) {
                    break Some(id.to_owned());
                }
            }
            Err(error) if super::is_of_content(&error) => break None,
            Err(error) => return Err(error),
        }
    };
    let mut file = file;
    file.seek(SeekFrom::Start(0))?;
    Ok(id)
}

#[cfg(test)]
#[path = "follow_tests.rs"]
mod tests;
