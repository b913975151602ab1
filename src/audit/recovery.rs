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

/// Looks at the ends of the files that the chain was written to.
///
/// # Errors
/// When one of them cannot be read.
pub(super) fn end_of(noted: Position, files: &[&Path]) -> io::Result<End> {
    let (mut furthest, mut foreign) = (noted, None);
    for file in files {
        let named = |error: io::Error| io::Error::new(error.kind(), format!("{}: {error}", file.display()));
        // Anything else is refused when it is opened for writing. A named pipe would hold up the start.
        if file.metadata().is_ok_and(|metadata| !metadata.is_file()) {
            continue;
        }
        let last = match last_sequence(file) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            last => last.map_err(named)?,
        };
        if last.is_none_or(|last| last <= noted.sequence) {
            continue;
        }
        match follow(file, noted).map_err(named)? {
            Some(end) if end.sequence > furthest.sequence => furthest = end,
            Some(_) => {}
            None => foreign = Some(file.to_path_buf()),
        }
    }
    Ok(match foreign {
        _ if furthest != noted => End::Further(furthest),
        Some(file) => End::Foreign(file),
        None => End::AsNoted,
    })
}

/// The first of the files that holds lines of a chain.
///
/// # Errors
/// When one of them cannot be read.
pub(super) fn holding_events<'a>(files: &[&'a Path]) -> io::Result<Option<&'a Path>> {
    for file in files {
        let Ok(true) = file.metadata().map(|metadata| metadata.is_file()) else { continue };
        let last = last_sequence(file);
        if last.map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", file.display())))?.is_some() {
            return Ok(Some(file));
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
        match end_of(noted, &[&path, &folder.path().join("missing")]).unwrap() {
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
