//! The newest events of a file and of those that it was rotated into, from the end backwards: what is asked for comes at once however
//! long the trail is.
//!
//! A page goes on where the one before ended, by the `event-id` of its last line: ids ascend, so the place is found again after the
//! files were rotated, packed or removed.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, BufReader, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::files::Rotated;
use super::lines::{LineReader, MAX_LINE, Raw};
use super::{BUFFER, ReadError};

/// Bytes that one step backwards reads.
const BLOCK: u64 = 64 * 1024;

/// What stands before the id in a line. In a text of a client its quotes would be escaped.
const ID: &[u8] = br#""event-id":""#;

/// Characters of an id.
const ID_LENGTH: usize = 36;

/// How much is asked for, and how long that may take.
#[derive(Debug, Clone)]
pub struct Page {
    /// At most so many lines.
    pub limit: usize,
    /// Only what is older than the event of this id.
    pub before: Option<String>,
    /// After this time no further file is begun, and a file that is not packed is left.
    pub within: Duration,
}

/// What is done with the lines, newest first; of packed files the lines come oldest first.
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
    /// Where the next page begins; `None` when there is nothing older.
    pub next: Option<String>,
}

/// Looks at the lines of the live file `path` and of its rotated ones, newest first.
///
/// # Errors
/// A file that cannot be read.
pub fn newest<R: Reader>(path: &Path, page: &Page, reader: R) -> Result<Newest<R::Taken>, ReadError> {
    let deadline = Instant::now() + page.within;
    let mut walk = Walk { reader, limit: page.limit, deadline, last: page.before.clone(), found: Vec::new() };
    // Opened first: what is rotated afterwards is among the rotated ones as well, and is passed over there by its ids.
    let live = open(path)?;
    let rotated = rotated_of(path)?;
    let mut is_all = match live {
        Some(live) => walk.file(path, live)?,
        None => true,
    };
    for file in rotated.iter().rev() {
        if !is_all || Instant::now() >= deadline {
            is_all = false;
            break;
        }
        let Some((name, opened)) = open_or_packed(file)? else { continue };
        is_all = walk.file(&name, opened)?;
    }
    let next = walk.last.filter(|_| !is_all);
    Ok(Newest { found: walk.found, next })
}

/// The rotated files of a live one, oldest first.
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
    Ok(files.into_iter().map(|(_, path)| path).collect())
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
    let packed = PathBuf::from(format!("{}.gz", path.display()));
    Ok(open(&packed)?.map(|file| (packed, file)))
}

/// The `event-id` of a line.
pub fn id_of(line: &[u8]) -> Option<&str> {
    let at = line.windows(ID.len()).position(|window| window == ID)? + ID.len();
    std::str::from_utf8(line.get(at..at + ID_LENGTH)?).ok()
}

struct Walk<R: Reader> {
    reader: R,
    limit: usize,
    deadline: Instant,
    /// The id of the oldest line that was looked at.
    last: Option<String>,
    found: Vec<R::Taken>,
}

impl<R: Reader> Walk<R> {
    /// Looks at a file; whether it was looked at to its beginning.
    fn file(&mut self, path: &Path, mut file: File) -> Result<bool, ReadError> {
        let failed = |error| ReadError::new(path.display().to_string(), error);
        let mut magic = [0; 2];
        let read = file.read(&mut magic).map_err(failed)?;
        file.seek(SeekFrom::Start(0)).map_err(failed)?;
        let outcome = if read == 2 && magic == [0x1f, 0x8b] { self.packed(file) } else { self.plain(file) };
        outcome.map_err(failed)
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
        self.found.extend(self.reader.take(line));
        self.found.len() < self.limit && !self.reader.has_enough(id)
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
            if Instant::now() >= self.deadline {
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

    /// A packed file is read forwards, and only what may be wanted of it is kept.
    fn packed(&mut self, file: File) -> io::Result<bool> {
        let mut lines = LineReader::new(BufReader::with_capacity(BUFFER, file))?;
        let wanted = self.limit - self.found.len();
        let mut kept: VecDeque<(String, R::Taken)> = VecDeque::new();
        let (mut first, mut is_cut) = (None, false);
        loop {
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
                if kept.len() == wanted {
                    kept.pop_front();
                    is_cut = true;
                }
                kept.push_back((id.clone(), taken));
            }
            first.get_or_insert(id);
        }
        let oldest = kept.front().map(|(id, _)| id.clone());
        let is_full = kept.len() == wanted;
        self.found.extend(kept.into_iter().rev().map(|(_, taken)| taken));
        if is_full || is_cut {
            self.last = oldest.or(self.last.take());
            return Ok(false);
        }
        let has_enough = first.as_deref().is_some_and(|first| self.reader.has_enough(first));
        self.last = first.or(self.last.take());
        Ok(!has_enough)
    }
}

/// The offset of the first line whose id is not older than `before`: found by halving, for ids ascend.
pub(super) fn first_not_older(file: &mut File, before: &str) -> io::Result<u64> {
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
#[allow(clippy::unwrap_used)]
mod tests {
    use std::io::Write;

    use flate2::Compression;
    use flate2::write::GzEncoder;

    use super::*;

    fn id(number: usize) -> String {
        format!("019fb73e-20fa-7b3d-8f21-{number:012}")
    }

    /// Lines of different lengths, some longer than a block.
    fn lines(range: std::ops::Range<usize>) -> Vec<u8> {
        let line = |number| {
            let filling = "x".repeat(if number % 97 == 0 { 100_000 } else { number % 300 });
            format!("{{\"event-id\":\"{}\",\"n\":{number},\"message\":\"{filling}\"}}\n", id(number))
        };
        range.map(line).collect::<String>().into_bytes()
    }

    fn packed(content: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(content).unwrap();
        encoder.finish().unwrap()
    }

    fn number(line: &[u8]) -> Option<usize> {
        serde_json::from_slice::<serde_json::Value>(line).unwrap()["n"].as_u64().map(|n| n as usize)
    }

    /// All pages, one after the other.
    fn all(path: &Path, limit: usize, fits: impl Fn(usize) -> bool) -> Vec<usize> {
        let (mut found, mut before) = (Vec::new(), None);
        loop {
            let page = Page { limit, before, within: Duration::from_secs(600) };
            let newest = newest(path, &page, |line: &[u8]| number(line).filter(|n| fits(*n))).unwrap();
            assert!(newest.found.len() <= limit);
            found.extend(newest.found);
            match newest.next {
                Some(next) => before = Some(next),
                None => return found,
            }
        }
    }

    #[test]
    fn every_line_comes_once_newest_first_over_rotated_and_packed_files() {
        let folder = tempfile::tempdir().unwrap();
        let live = folder.path().join("e.ndjson");
        let write = |name: &str, content: &[u8]| std::fs::write(folder.path().join(name), content).unwrap();
        write("e.ndjson.20260731T081530Z-100.gz", &packed(&lines(0..100)));
        write("e.ndjson.20260731T091530Z-250", &lines(100..250));
        write("other.ndjson.20260731T091530Z-250", &lines(900..950));
        write("e.ndjson", &[&lines(250..400)[..], b"{\"event-id\":\"019fb7"].concat());
        let expected: Vec<usize> = (0..400).rev().collect();
        for limit in [1, 7, 100, 1000] {
            assert_eq!(all(&live, limit, |_| true), expected, "{limit}");
        }
        assert_eq!(all(&live, 10, |n| n % 50 == 3), [353, 303, 253, 203, 153, 103, 53, 3]);
        assert_eq!(all(&live, 5, |_| false), Vec::<usize>::new());
        std::fs::remove_file(&live).unwrap();
        assert_eq!(all(&live, 50, |_| true), (0..250).rev().collect::<Vec<_>>(), "the live file is not there yet");
    }

    #[test]
    fn a_page_goes_on_after_a_rotation_and_after_the_file_was_packed() {
        let folder = tempfile::tempdir().unwrap();
        let live = folder.path().join("e");
        std::fs::write(&live, lines(0..300)).unwrap();
        let page = |before| {
            let page = Page { limit: 100, before, within: Duration::from_secs(600) };
            newest(&live, &page, number).unwrap()
        };
        let first = page(None);
        assert_eq!((first.found[0], first.found[99]), (299, 200));
        let rotated = folder.path().join("e.20260731T081530Z-300");
        std::fs::rename(&live, &rotated).unwrap();
        std::fs::write(&live, lines(300..310)).unwrap();
        let second = page(first.next);
        assert_eq!((second.found[0], second.found[99]), (199, 100));
        std::fs::write(folder.path().join("e.20260731T081530Z-300.gz"), packed(&lines(0..300))).unwrap();
        std::fs::remove_file(&rotated).unwrap();
        let third = page(second.next);
        assert_eq!((third.found[0], third.found[99]), (99, 0));
        assert_eq!(page(third.next).found, Vec::<usize>::new());
    }

    #[test]
    fn what_takes_too_long_is_left_with_a_place_to_go_on() {
        let folder = tempfile::tempdir().unwrap();
        let live = folder.path().join("e");
        std::fs::write(&live, lines(0..100)).unwrap();
        let page = Page { limit: 10, before: Some(id(50)), within: Duration::ZERO };
        let cut = newest(&live, &page, number).unwrap();
        assert_eq!((cut.found.len(), cut.next), (0, Some(id(50))));
    }
}
