//! Where a chain really ends, when the machine lost power: the state on disk may be older than the file of events.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::chain::{Hash, Position};

/// The longest line that is taken for one. The gateway's own are a hundredth of this.
const MAX_LINE: u64 = 1 << 20;

/// Where a chain ends.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum End {
    /// Where its state says.
    AsNoted,
    /// Further on: a file has lines that follow from the noted one.
    Further(Position),
    /// This file ends with a later line, which does not follow from the noted one.
    Foreign(PathBuf),
}

/// What a line says of its place.
#[derive(Debug, Deserialize)]
struct Link {
    sequence: u64,
    previous: String,
}

/// Where a machine has the lines of a chain as they are.
#[derive(Debug, Default)]
pub(super) struct OnDisk {
    /// The files of sinks.
    pub(super) files: Vec<PathBuf>,
    /// The batches of spools, those of one spool in their order. None of them need hold what follows from any line that is known: a
    /// sink that operations do not wait for may have gaps.
    pub(super) batches: Vec<PathBuf>,
}

impl OnDisk {
    fn all(&self) -> impl Iterator<Item = &PathBuf> {
        self.files.iter().chain(&self.batches)
    }
}

/// Looks at the ends of the files that the chain was written to, and goes from one to the other as far as that leads.
///
/// # Errors
/// When one of them cannot be read.
pub(super) fn end_of(noted: Position, on_disk: &OnDisk) -> io::Result<End> {
    let mut furthest = noted;
    loop {
        let before = furthest;
        for file in on_disk.all() {
            furthest = further(file, furthest)?.unwrap_or(furthest);
        }
        if furthest == before {
            break;
        }
    }
    if furthest != noted {
        return Ok(End::Further(furthest));
    }
    for file in &on_disk.files {
        if last_of(file)?.is_some_and(|last| last > noted.sequence) && follow_in(file, noted)?.is_none() {
            return Ok(End::Foreign(file.clone()));
        }
    }
    Ok(End::AsNoted)
}

/// How far a file leads from a line; `None` when no further.
fn further(file: &Path, from: Position) -> io::Result<Option<Position>> {
    if last_of(file)?.is_none_or(|last| last <= from.sequence) {
        return Ok(None);
    }
    Ok(follow_in(file, from)?.filter(|end| end.sequence > from.sequence))
}

/// As [`last_sequence`], of a file that may not be there.
fn last_of(file: &Path) -> io::Result<Option<u64>> {
    // Anything else is refused when it is opened for writing. A named pipe would hold up the start.
    if file.metadata().is_ok_and(|metadata| !metadata.is_file()) {
        return Ok(None);
    }
    match last_sequence(file) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        last => last.map_err(|error| named(file, &error)),
    }
}

fn follow_in(file: &Path, from: Position) -> io::Result<Option<Position>> {
    follow(file, from).map_err(|error| named(file, &error))
}

fn named(file: &Path, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{}: {error}", file.display()))
}

/// The first of the files that holds lines of a chain.
///
/// # Errors
/// When one of them cannot be read.
pub(super) fn holding_events(on_disk: &OnDisk) -> io::Result<Option<&Path>> {
    for file in on_disk.all() {
        let Ok(true) = file.metadata().map(|metadata| metadata.is_file()) else { continue };
        if last_sequence(file).map_err(|error| named(file, &error))?.is_some() {
            return Ok(Some(file.as_path()));
        }
    }
    Ok(None)
}

/// The number of the last whole line of a file that has one.
fn last_sequence(path: &Path) -> io::Result<Option<u64>> {
    let mut file = File::open(path)?;
    let length = file.metadata()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(2 * MAX_LINE)))?;
    let mut end = Vec::new();
    file.take(2 * MAX_LINE).read_to_end(&mut end)?;
    let whole = end.iter().rposition(|byte| *byte == b'\n').and_then(|newline| end.get(..newline)).unwrap_or_default();
    Ok(whole.rsplit(|byte| *byte == b'\n').find_map(link_of).map(|link| link.sequence))
}

fn link_of(line: &[u8]) -> Option<Link> {
    serde_json::from_slice(line).ok()
}

/// From the line at `noted`, or the one after it, along the chain as far as the file has it without a gap.
fn follow(path: &Path, noted: Position) -> io::Result<Option<Position>> {
    let mut reader = BufReader::with_capacity(1 << 16, File::open(path)?);
    let (mut at, mut line) = (None, Vec::new());
    loop {
        line.clear();
        reader.by_ref().take(MAX_LINE).read_until(b'\n', &mut line)?;
        // A line without its end is torn, and so is everything that is no event.
        let Some(whole) = line.strip_suffix(b"\n") else { return Ok(at) };
        let Some(link) = link_of(whole) else { continue };
        let here = Position { sequence: link.sequence, hash: Hash::of_line(whole) };
        let before = at.unwrap_or(noted);
        let follows = link.previous.parse() == Ok(before.hash) && before.sequence.checked_add(1) == Some(link.sequence);
        match at {
            None if here == noted || follows => at = Some(here),
            Some(_) if follows => at = Some(here),
            Some(_) if link.sequence > before.sequence => return Ok(at),
            _ => {}
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use std::fs;

    use super::*;

    /// Lines that follow from `from`, and their places.
    fn lines(from: Position, count: usize) -> (Vec<String>, Vec<Position>) {
        let (mut lines, mut places, mut last) = (Vec::new(), Vec::new(), from);
        for _ in 0..count {
            let sequence = last.sequence + 1;
            let line = format!(r#"{{"x":"y","sequence":{sequence},"previous":"{}"}}"#, last.hash);
            last = Position { sequence, hash: Hash::of_line(line.as_bytes()) };
            lines.push(line);
            places.push(last);
        }
        (lines, places)
    }

    fn end(text: &str, noted: Position) -> End {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("events");
        fs::write(&path, text).unwrap();
        let files = vec![path.clone(), folder.path().join("missing")];
        match end_of(noted, &OnDisk { files, batches: Vec::new() }).unwrap() {
            End::Foreign(file) => {
                assert_eq!(file, path);
                End::Foreign(PathBuf::new())
            }
            end => end,
        }
    }

    #[test]
    fn a_file_that_is_ahead_of_the_state_is_followed_to_its_last_whole_line() {
        let (lines, places) = lines(Position::START, 10);
        let text = lines.join("\n") + "\n";
        for noted in [Position::START, places[0], places[8]] {
            assert_eq!(end(&text, noted), End::Further(places[9]));
            assert_eq!(end(&format!("{text}{{\"x\":\"y\",\"sequen"), noted), End::Further(places[9]));
            assert_eq!(end(&format!("torn{{\n{text}"), noted), End::Further(places[9]));
        }
        assert_eq!(end(&text, places[9]), End::AsNoted);
        let cut = &text[..text.len() - 1];
        assert_eq!(end(cut, places[3]), End::Further(places[8]), "the last line has no end");
        // A file that begins after the noted line, as after a rotation.
        assert_eq!(end(&(lines[4..].join("\n") + "\n"), places[3]), End::Further(places[9]));
    }

    /// The file is behind, and the batches of a spool go on where it ends, in whatever order they are looked at.
    #[test]
    fn the_chain_is_followed_from_file_to_file() {
        let (lines, places) = lines(Position::START, 12);
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, lines: &[String], torn: &str| {
            let path = folder.path().join(name);
            fs::write(&path, lines.iter().map(|line| format!("{line}\n")).collect::<String>() + torn).unwrap();
            path
        };
        let files = vec![write("events", &lines[..5], "")];
        let batches = vec![
            write("3.open", &lines[8..11], &lines[11]),
            write("1.ndjson", &lines[3..5], ""),
            write("2.ndjson", &lines[5..8], ""),
        ];
        let on_disk = OnDisk { files, batches };
        for noted in [places[3], places[4], places[6], places[9]] {
            assert_eq!(end_of(noted, &on_disk).unwrap(), End::Further(places[10]), "{noted:?}");
        }
        assert_eq!(end_of(places[10], &on_disk).unwrap(), End::AsNoted);
        // A spool of a sink that nobody waits for has a gap.
        let gap = OnDisk { files: vec![folder.path().join("events")], batches: vec![write("4.open", &lines[9..], "")] };
        assert_eq!(end_of(places[4], &gap).unwrap(), End::AsNoted);
        assert_eq!(end_of(places[2], &gap).unwrap(), End::Further(places[4]));
    }

    #[test]
    fn a_file_that_is_behind_the_state_changes_nothing() {
        let (lines, _) = lines(Position::START, 3);
        let noted = Position { sequence: 7, hash: Hash::START };
        for text in ["", "torn", "\n\n", &(lines.join("\n") + "\n"), "{\"sequence\":\"x\"}\n", "no event\n"] {
            assert_eq!(end(text, noted), End::AsNoted, "{text}");
        }
    }

    #[test]
    fn a_later_line_of_another_chain_is_not_gone_on_after() {
        let (lines, places) = lines(Position::START, 10);
        let text = lines.join("\n") + "\n";
        let other = Position { hash: Hash::of_line(b"other"), ..places[3] };
        assert_eq!(end(&text, other), End::Foreign(PathBuf::new()));
        assert_eq!(end(&(lines[5..].join("\n") + "\n"), places[3]), End::Foreign(PathBuf::new()));
        let changed = text.replace(&lines[6], &lines[6].replace("\"y\"", "\"z\""));
        assert_eq!(
            end(&changed, places[3]),
            End::Further(Position { sequence: 7, hash: Hash::of_line(changed.lines().nth(6).unwrap().as_bytes()) })
        );
    }
}
