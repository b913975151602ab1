//! The newest events of a file and of those that it was rotated into, from the end backwards: what is asked for comes at once however
//! long the trail is.
//!
//! A page goes on where the one before ended, by the `event-id` of its last line: ids ascend, so the place is found again after the
//! files were rotated, packed or removed.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, BufReader, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use super::files::Rotated;
use super::lines::{LineReader, MAX_LINE, Raw};
use super::members::Members;
use super::{BUFFER, ReadError};

/// Bytes that one step backwards reads.
const BLOCK: u64 = 64 * 1024;

/// What stands before the id in a line. In a text of a client its quotes would be escaped.
const ID: &[u8] = br#""event-id":""#;

/// An id that is newer than any.
const NEWEST: &str = "ffffffff-ffff-7fff-bfff-ffffffffffff";

/// Characters of an id.
const ID_LENGTH: usize = 36;

/// How much is asked for, and how long that may take.
#[derive(Debug, Clone)]
pub struct Page {
    /// At most so many lines.
    pub limit: usize,
    /// Only what is older than the event of this id.
    pub before: Option<String>,
    /// At most one line more than has room in so many bytes.
    pub most_bytes: usize,
    /// After this time the reader stops where it is. A file that another program packed into one piece can only be read from its
    /// beginning to its end: it is left if lines of newer files were looked at before, so that the next page begins with it; a page
    /// that begins with it reads it to its end.
    pub within: Duration,
    /// Whether nobody waits for the answer any more.
    pub given_up: GivenUp,
}

impl Page {
    /// The newest lines, whatever they are long.
    pub fn newest(limit: usize, within: Duration) -> Page {
        Page { limit, before: None, most_bytes: usize::MAX, within, given_up: GivenUp::default() }
    }
}

/// Tells a reader in another thread to stop where it is.
#[derive(Debug, Clone, Default)]
pub struct GivenUp(Arc<AtomicBool>);

impl GivenUp {
    /// Nobody waits any more.
    pub fn give_up(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    /// Whether nobody waits.
    pub fn is_given_up(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// What is done with the lines, newest first; of files that another program packed they come oldest first.
pub trait Reader {
    /// What a line is taken for.
    type Taken;

    /// What the line is taken for; `None` when it is not wanted.
    fn take(&mut self, line: &[u8]) -> Option<Self::Taken>;

    /// Whether nothing is wanted that is older than the event of this id.
    fn has_enough(&self, _id: &str) -> bool {
        false
    }
}

impl<T, F: FnMut(&[u8]) -> Option<T>> Reader for F {
    type Taken = T;

    fn take(&mut self, line: &[u8]) -> Option<T> {
        self(line)
    }
}

/// What was found, newest first.
#[derive(Debug, Default)]
pub struct Newest<T> {
    /// What the lines were taken for.
    pub found: Vec<T>,
    /// Where the next page begins; `None` when there is nothing older, or nothing older is wanted ([`Reader::has_enough`]).
    pub next: Option<String>,
}

/// Looks at the lines of the live file `path` and of its rotated ones, newest first.
///
/// # Errors
/// A file that cannot be read.
pub fn newest<R: Reader>(path: &Path, page: &Page, reader: R) -> Result<Newest<R::Taken>, ReadError> {
    let mut walk = Walk {
        reader,
        page,
        deadline: Instant::now() + page.within,
        last: page.before.clone(),
        has_looked: false,
        has_enough: false,
        found: Vec::new(),
        bytes: 0,
    };
    // Opened first: what is rotated afterwards is among the rotated ones as well, and is passed over there by its ids.
    let live = open(path)?;
    let rotated = rotated_of(path)?;
    let mut is_all = match live {
        Some(live) => walk.file(path, live)?,
        None => true,
    };
    for file in rotated.iter().rev() {
        if !is_all || walk.is_over() {
            is_all = false;
            break;
        }
        let Some((name, opened)) = open_or_packed(file)? else { continue };
        is_all = walk.file(&name, opened)?;
    }
    // A page that looked at nothing at all says so as well.
    let next = (!is_all && !walk.has_enough).then(|| walk.last.unwrap_or_else(|| NEWEST.to_owned()));
    Ok(Newest { found: walk.found, next })
}

/// The rotated files of a live one, oldest first. While one is being packed, it is there twice, and is named unpacked only.
pub(in crate::audit) fn rotated_of(live: &Path) -> Result<Vec<PathBuf>, ReadError> {
    let folder = live.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let failed = |error| ReadError::new(folder.display().to_string(), error);
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        let Some(rotated) = path.to_str().and_then(Rotated::parse) else { continue };
        if Path::new(&rotated.live).file_name() == live.file_name() {
            files.push(((rotated.time, rotated.last), path));
        }
    }
    files.sort();
    let mut files: Vec<PathBuf> = files.into_iter().map(|(_, path)| path).collect();
    files.dedup_by(|next, kept| *next == packed_of(kept));
    Ok(files)
}

fn open(path: &Path) -> Result<Option<File>, ReadError> {
    match File::open(path) {
        Ok(file) => Ok(Some(file)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(ReadError::new(path.display().to_string(), error)),
    }
}

/// A file that was there when the folder was listed may have been packed or removed since.
fn open_or_packed(path: &Path) -> Result<Option<(PathBuf, File)>, ReadError> {
    if let Some(file) = open(path)? {
        return Ok(Some((path.to_owned(), file)));
    }
    let packed = packed_of(path);
    Ok(open(&packed)?.map(|file| (packed, file)))
}

fn packed_of(path: &Path) -> PathBuf {
    let mut packed = path.as_os_str().to_owned();
    packed.push(".gz");
    packed.into()
}

/// The `event-id` of a line.
pub fn id_of(line: &[u8]) -> Option<&str> {
    let at = line.windows(ID.len()).position(|window| window == ID)? + ID.len();
    std::str::from_utf8(line.get(at..at + ID_LENGTH)?).ok()
}

struct Walk<'a, R: Reader> {
    reader: R,
    page: &'a Page,
    deadline: Instant,
    /// The id of the oldest line that was looked at.
    last: Option<String>,
    /// Whether the page is further than where it began.
    has_looked: bool,
    /// Whether the reader wants nothing older.
    has_enough: bool,
    found: Vec<R::Taken>,
    /// Bytes of the lines of `found`.
    bytes: usize,
}

impl<R: Reader> Walk<'_, R> {
    /// Looks at a file; whether it was looked at to its beginning.
    fn file(&mut self, path: &Path, mut file: File) -> Result<bool, ReadError> {
        let failed = |error| ReadError::new(path.display().to_string(), error);
        let mut magic = [0; 2];
        let read = file.read(&mut magic).map_err(failed)?;
        file.seek(SeekFrom::Start(0)).map_err(failed)?;
        let is_packed = read == 2 && magic == [0x1f, 0x8b];
        let members = match is_packed {
            true => Members::of(&mut file, || self.must_stop()).map_err(failed)?,
            false => None,
        };
        let outcome = match members {
            Some(members) => self.members(file, &members),
            None if is_packed => self.packed(file),
            None => self.plain(file),
        };
        outcome.map_err(failed)
    }

    /// Whether the page ends here, whatever was found.
    fn is_over(&self) -> bool {
        Instant::now() >= self.deadline || self.page.given_up.is_given_up()
    }

    /// Whether a file that has to be read from its beginning is left: nobody waits, or the next page can begin with it.
    fn must_stop(&self) -> bool {
        self.page.given_up.is_given_up() || (self.has_looked && self.is_over())
    }

    /// Whether a line is older than what was looked at already.
    fn is_older(&self, id: &str) -> bool {
        self.last.as_deref().is_none_or(|last| id < last)
    }

    /// False when that is enough.
    fn look(&mut self, line: &[u8]) -> bool {
        let Some(id) = id_of(line) else { return true };
        if !self.is_older(id) {
            return true;
        }
        self.last = Some(id.to_owned());
        self.has_looked = true;
        if let Some(taken) = self.reader.take(line) {
            self.found.push(taken);
            self.bytes = self.bytes.saturating_add(line.len());
        }
        self.has_enough = self.reader.has_enough(id);
        self.found.len() < self.page.limit && self.bytes < self.page.most_bytes && !self.has_enough
    }

    /// From the end, block by block.
    fn plain(&mut self, mut file: File) -> io::Result<bool> {
        let mut end = match self.last.clone() {
            Some(before) => first_not_older(&mut file, &before)?,
            None => file.seek(SeekFrom::End(0))?,
        };
        // What follows the first newline of the block before; not whole yet.
        let mut rest: Vec<u8> = Vec::new();
        // What stands after the last newline is being written.
        let mut is_whole = false;
        while end > 0 {
            if self.is_over() {
                return Ok(false);
            }
            let start = end.saturating_sub(BLOCK);
            let mut block = vec![0; usize::try_from(end - start).unwrap_or(0)];
            file.seek(SeekFrom::Start(start))?;
            file.read_exact(&mut block)?;
            block.append(&mut rest);
            end = start;
            let mut stop = block.len();
            while let Some(newline) = block.get(..stop).and_then(|b| b.iter().rposition(|byte| *byte == b'\n')) {
                let line = block.get(newline + 1..stop).unwrap_or_default();
                if is_whole && !line.is_empty() && !self.look(line) {
                    return Ok(false);
                }
                is_whole = true;
                stop = newline;
            }
            block.truncate(stop);
            // A line longer than any event is no event.
            rest = if block.len() > MAX_LINE { Vec::new() } else { block };
        }
        Ok(!is_whole || rest.is_empty() || self.look(&rest))
    }

    /// From the last member on that may hold older lines, member by member.
    fn members(&mut self, mut file: File, members: &Members) -> io::Result<bool> {
        let count = match self.last.clone() {
            Some(before) => members.older_than(&mut file, &before)?,
            None => members.count(),
        };
        for index in (0..count).rev() {
            if self.is_over() {
                return Ok(false);
            }
            let Some(content) = members.content(&mut file, index)? else {
                // Its headers are not to be trusted. What was looked at is passed over by its ids.
                file.seek(SeekFrom::Start(0))?;
                return self.packed(file);
            };
            for line in content.rsplit(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
                if !self.look(line) {
                    return Ok(false);
                }
            }
        }
        Ok(true)
    }

    /// A file that another program packed is read forwards, and only what may be wanted of it is kept.
    fn packed(&mut self, file: File) -> io::Result<bool> {
        let mut lines = LineReader::new(BufReader::with_capacity(BUFFER, file))?;
        let wanted = self.page.limit - self.found.len();
        let mut kept: VecDeque<(String, R::Taken, usize)> = VecDeque::new();
        let (mut first, mut is_cut) = (None, false);
        loop {
            // What was read so far is the oldest of the file, and no page may begin with it.
            if self.must_stop() {
                return Ok(false);
            }
            match lines.advance() {
                Ok(Raw::Line) => {}
                Ok(Raw::TooLong) => continue,
                Ok(Raw::End) => break,
                // The rest of it is lost; what stands before counts.
                Err(error) if super::is_of_content(&error) => break,
                Err(error) => return Err(error),
            }
            let Some(id) = id_of(lines.line()) else { continue };
            if !self.is_older(id) {
                break;
            }
            let id = id.to_owned();
            if let Some(taken) = self.reader.take(lines.line()) {
                let length = lines.line().len();
                self.bytes = self.bytes.saturating_add(length);
                kept.push_back((id.clone(), taken, length));
                while kept.len() > wanted || (self.bytes > self.page.most_bytes && kept.len() > 1) {
                    self.bytes -= kept.pop_front().map_or(0, |(_, _, length)| length);
                    is_cut = true;
                }
            }
            first.get_or_insert(id);
        }
        self.has_looked |= first.is_some();
        let oldest = kept.front().map(|(id, ..)| id.clone());
        let is_full = kept.len() == wanted || self.bytes >= self.page.most_bytes;
        self.found.extend(kept.into_iter().rev().map(|(_, taken, _)| taken));
        if is_full || is_cut {
            self.last = oldest.or(self.last.take());
            return Ok(false);
        }
        self.has_enough = first.as_deref().is_some_and(|first| self.reader.has_enough(first));
        self.last = first.or(self.last.take());
        Ok(!self.has_enough)
    }
}

/// The offset of the first line whose id is not older than `before`: found by halving, for ids ascend.
pub(super) fn first_not_older(file: &mut File, before: &str) -> io::Result<u64> {
    // Of most files every line is newer.
    if line_from(file, 0)?.is_none_or(|first| first.id.as_str() >= before) {
        return Ok(0);
    }
    // All lines that begin before `low` are older, those that begin at `high` or later are not.
    let (mut low, mut high) = (0, file.seek(SeekFrom::End(0))?);
    while low < high {
        let middle = low + (high - low) / 2;
        match line_from(file, middle)? {
            Some(line) if line.start < high && line.id.as_str() < before => low = line.end,
            Some(line) if line.start < high => high = line.start,
            _ => high = middle,
        }
    }
    Ok(low)
}

/// Where a line stands, and its id.
struct Standing {
    start: u64,
    end: u64,
    id: String,
}

/// The first line with an id that begins at `from` or later.
fn line_from(file: &mut File, from: u64) -> io::Result<Option<Standing>> {
    let begin = from.saturating_sub(1);
    file.seek(SeekFrom::Start(begin))?;
    let mut lines = LineReader::new(BufReader::with_capacity(16 * 1024, file.try_clone()?))?;
    // The rest of the line before, or its newline.
    if from > 0 && matches!(lines.advance()?, Raw::End) {
        return Ok(None);
    }
    loop {
        let start = begin + lines.offset();
        match lines.advance()? {
            Raw::End => return Ok(None),
            Raw::TooLong => {}
            Raw::Line => {
                if let Some(id) = id_of(lines.line()) {
                    return Ok(Some(Standing { start, end: begin + lines.offset(), id: id.to_owned() }));
                }
            }
        }
    }
}

#[cfg(test)]
#[path = "newest_tests.rs"]
mod tests;
