//! Which files a trail is in, and in which order: rotated ones first, the live one last.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// How deep folders are followed.
const DEPTH: usize = 16;

/// What the names of event files end in, besides those of rotated ones.
const ENDINGS: [&str; 4] = [".ndjson", ".jsonl", ".json", ".log"];

/// The end of packed files.
const PACKED: &str = ".gz";

/// The files of a trail in their order.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Files {
    /// Those that are read.
    pub paths: Vec<PathBuf>,
    /// Files of a folder that are not read: other names, and packed ones that stand beside the same file unpacked.
    pub passed_over: Vec<PathBuf>,
}

/// A path that cannot be looked at.
#[derive(Debug, thiserror::Error)]
#[error("{} cannot be read: {error}", path.display())]
pub struct FileError {
    /// Which.
    pub path: PathBuf,
    /// Why; the sentence holds it, so it is not a source that is printed once more.
    pub error: io::Error,
}

impl Files {
    /// The files that `paths` name, and those of the folders among them. The files of one trail are put in their order,
    /// whatever order the paths have; a file that is named twice is read once.
    ///
    /// # Errors
    /// The first path that cannot be looked at.
    pub fn find(paths: &[PathBuf]) -> Result<Self, FileError> {
        let mut files = Files::default();
        for path in paths {
            let kind = fs::metadata(path).map_err(|error| FileError { path: path.clone(), error })?;
            if kind.is_dir() { files.add_folder(path, 0)? } else { files.paths.push(path.clone()) }
        }
        files.sort();
        Ok(files)
    }

    fn add_folder(&mut self, folder: &Path, depth: usize) -> Result<(), FileError> {
        let failed = |error| FileError { path: folder.to_owned(), error };
        let mut entries = Vec::new();
        for entry in fs::read_dir(folder).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            entries.push((entry.path(), entry.file_type().map_err(failed)?));
        }
        entries.sort_by(|a, b| a.0.cmp(&b.0));
        let rotated: Vec<_> = entries.iter().filter_map(|(path, _)| Some(trail_of(path)?.0)).collect();
        for (path, kind) in entries {
            if kind.is_dir() && depth < DEPTH {
                self.add_folder(&path, depth + 1)?;
            } else if kind.is_file() && (is_event_file(&path) || rotated.contains(&path)) {
                self.paths.push(path);
            } else {
                self.passed_over.push(path);
            }
        }
        Ok(())
    }

    /// Each trail stands where its first file stood.
    fn sort(&mut self) {
        let mut seen = Vec::new();
        let mut keyed = Vec::new();
        for path in std::mem::take(&mut self.paths) {
            let (trail, rotated) =
                trail_of(&path).map_or((path.clone(), None), |(trail, rotated)| (trail, Some(rotated)));
            let place = seen.iter().position(|known| *known == trail).unwrap_or_else(|| {
                seen.push(trail);
                seen.len() - 1
            });
            let order = rotated.map_or((true, String::new(), 0), |rotated| (false, rotated.time, rotated.last));
            keyed.push((place, order, path));
        }
        keyed.sort();
        keyed.dedup();
        for (.., path) in keyed {
            // Packing a rotated file may have been cut short between the last two steps, when both are there and whole.
            let unpacked = path.to_str().and_then(|name| name.strip_suffix(PACKED)).map(PathBuf::from);
            let twice = unpacked.is_some_and(|unpacked| self.paths.last() == Some(&unpacked));
            if twice { self.passed_over.push(path) } else { self.paths.push(path) }
        }
    }
}

fn is_event_file(path: &Path) -> bool {
    let Some(name) = path.to_str() else { return false };
    let plain = name.strip_suffix(PACKED).unwrap_or(name);
    ENDINGS.iter().any(|ending| plain.ends_with(ending)) || Rotated::parse(name).is_some()
}

/// The name that a rotated file gets when it is packed; `None` for others.
pub(super) fn packed(path: &Path) -> Option<PathBuf> {
    let name = path.to_str().filter(|name| !name.ends_with(PACKED))?;
    Rotated::parse(name).map(|_| PathBuf::from(format!("{name}{PACKED}")))
}

/// The live file that a rotated one was, and what its name says.
fn trail_of(path: &Path) -> Option<(PathBuf, Rotated)> {
    let rotated = Rotated::parse(path.to_str()?)?;
    Some((PathBuf::from(&rotated.live), rotated))
}

/// The name of a rotated file: `PATH.<YYYYMMDDTHHMMSSZ>-<sequence of its last line>`, and `.gz` when it is packed.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Rotated {
    pub(super) live: String,
    pub(super) time: String,
    pub(super) last: u64,
}

impl Rotated {
    pub(super) fn parse(name: &str) -> Option<Self> {
        let plain = name.strip_suffix(PACKED).unwrap_or(name);
        let (live, suffix) = plain.rsplit_once('.')?;
        let (time, last) = suffix.split_once('-')?;
        let is_time = time.len() == 16
            && time.bytes().enumerate().all(|(at, byte)| match at {
                8 => byte == b'T',
                15 => byte == b'Z',
                _ => byte.is_ascii_digit(),
            });
        let is_number = !last.is_empty() && last.bytes().all(|byte| byte.is_ascii_digit());
        if live.is_empty() || live.ends_with('/') || !is_time || !is_number {
            return None;
        }
        Some(Rotated { live: live.to_owned(), time: time.to_owned(), last: last.parse().ok()? })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn folder(names: &[&str]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for name in names {
            let path = folder.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "").unwrap();
        }
        folder
    }

    fn below(folder: &Path, paths: &[PathBuf]) -> Vec<String> {
        paths.iter().map(|path| path.strip_prefix(folder).unwrap().to_str().unwrap().to_owned()).collect()
    }

    #[test]
    fn a_folder_gives_the_rotated_files_first_by_time_and_number() {
        let folder = folder(&[
            "events",
            "events.20260731T081530Z-9",
            "events.20260731T081530Z-10.gz",
            "events.20250731T081530Z-2000.gz",
            "other.ndjson",
            "notes.txt",
            "year=2026/b.ndjson.gz",
            "year=2026/a.ndjson.gz",
        ]);
        let files = Files::find(&[folder.path().to_owned()]).unwrap();
        assert_eq!(
            below(folder.path(), &files.paths),
            [
                "events.20250731T081530Z-2000.gz",
                "events.20260731T081530Z-9",
                "events.20260731T081530Z-10.gz",
                "events",
                "other.ndjson",
                "year=2026/a.ndjson.gz",
                "year=2026/b.ndjson.gz",
            ]
        );
        assert_eq!(below(folder.path(), &files.passed_over), ["notes.txt"]);
    }

    #[test]
    fn files_that_a_shell_lists_are_put_in_order_and_read_once() {
        let names = ["e.log", "e.log.20260731T081530Z-9", "e.log.20260731T081530Z-9.gz", "x"];
        let folder = folder(&names);
        let mut paths: Vec<PathBuf> = names.iter().map(|name| folder.path().join(name)).collect();
        paths.push(folder.path().join("e.log"));
        let files = Files::find(&paths).unwrap();
        assert_eq!(below(folder.path(), &files.paths), ["e.log.20260731T081530Z-9", "e.log", "x"]);
        assert_eq!(below(folder.path(), &files.passed_over), ["e.log.20260731T081530Z-9.gz"]);
        let missing = Files::find(&[folder.path().join("none")]).unwrap_err();
        assert!(missing.to_string().contains("none cannot be read"), "{missing}");
    }

    #[test]
    fn only_names_of_the_whole_form_are_rotated_ones() {
        assert_eq!(Rotated::parse("a.b.20260731T081530Z-7.gz").unwrap().live, "a.b");
        for name in [
            "a",
            "a.20260731T081530Z",
            "a.20260731T081530Z-",
            "a.2026-7",
            "a.20260731T081530Z-x",
            ".20260731T081530Z-7",
        ] {
            assert_eq!(Rotated::parse(name), None, "{name}");
        }
    }
}
