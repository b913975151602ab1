//! Which files a trail is in, and in which order: rotated ones first, the live one last.

use std::collections::{HashMap, HashSet};
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use super::by_others::{ByOthers, packed_otherwise};
use super::follow::first_id;

/// How deep folders are followed.
const DEPTH: usize = 16;

/// What the names of event files end in, besides those of rotated ones.
pub(super) const ENDINGS: [&str; 4] = [".ndjson", ".jsonl", ".json", ".log"];

/// The end of packed files.
pub(super) const PACKED: &str = ".gz";

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
    /// The first path that cannot be looked at, and a file of a folder's trail that is compressed by something else than gzip.
    pub fn find(paths: &[PathBuf]) -> Result<Self, FileError> {
        let mut files = Files::default();
        for path in paths {
            let kind = fs::metadata(path).map_err(|error| FileError { path: path.clone(), error })?;
            if kind.is_dir() { files.add_folder(path, 0)? } else { files.paths.push(path.clone()) }
        }
        files.sort();
        Ok(files)
    }

    /// These files in their order.
    pub(in crate::audit) fn in_order(paths: Vec<PathBuf>) -> Self {
        let mut files = Files { paths, passed_over: Vec::new() };
        files.sort();
        files
    }

    fn add_folder(&mut self, folder: &Path, depth: usize) -> Result<(), FileError> {
        let failed = |error| FileError { path: folder.to_owned(), error };
        let mut entries = Vec::new();
        for entry in fs::read_dir(folder).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            entries.push((entry.path(), entry.file_type().map_err(failed)?));
        }
        entries.sort_by(|a, b| a.0.cmp(&b.0));
        let rotated: HashSet<_> = entries.iter().filter_map(|(path, _)| live_of(path)).collect();
        let is_live = |path: &Path| is_event_file(path) || rotated.contains(path);
        for (path, kind) in entries {
            if kind.is_dir() && depth < DEPTH {
                self.add_folder(&path, depth + 1)?;
            } else if kind.is_file() && (is_live(&path) || by_others(&path).is_some_and(|(live, _)| is_live(&live))) {
                self.paths.push(path);
            } else if kind.is_file() && otherwise(&path).is_some_and(|live| is_live(&live)) {
                let why = "it is compressed by something else than gzip; decompress it first";
                return Err(FileError { path, error: io::Error::new(io::ErrorKind::Unsupported, why) });
            } else {
                self.passed_over.push(path);
            }
        }
        Ok(())
    }

    /// Each trail stands where its first file stood.
    fn sort(&mut self) {
        let mut trails: HashMap<PathBuf, usize> = HashMap::new();
        let mut sorted = Vec::new();
        for path in std::mem::take(&mut self.paths) {
            let (trail, age) = age_of(&path);
            let next = trails.len();
            let place = *trails.entry(trail).or_insert(next);
            sorted.push(Sorted { place, age, path });
        }
        date_by_events(&mut sorted);
        sorted.sort();
        sorted.dedup();
        for Sorted { path, .. } in sorted {
            // Packing a rotated file may have been cut short between the last two steps, when both are there and whole.
            let unpacked = path.to_str().and_then(|name| name.strip_suffix(PACKED)).map(PathBuf::from);
            let twice = unpacked.is_some_and(|unpacked| self.paths.last() == Some(&unpacked));
            if twice { self.passed_over.push(path) } else { self.paths.push(path) }
        }
    }
}

/// A file, and its place: of its trail among the others, and in its trail.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Sorted {
    place: usize,
    age: Age,
    path: PathBuf,
}

/// Where a file stands in its trail.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Age {
    Rotated {
        /// The id of its first event, in a trail that another program rotates: names do not say enough there.
        first: String,
        /// What the name says.
        name: (String, u64),
        is_by_others: bool,
    },
    Live,
}

/// The live file of the trail that a file is of, and where it stands there.
fn age_of(path: &Path) -> (PathBuf, Age) {
    let rotated = |name, is_by_others| Age::Rotated { first: String::new(), name, is_by_others };
    if let Some((live, age)) = path.to_str().and_then(Rotated::parse).map(|age| (PathBuf::from(&age.live), age)) {
        return (live, rotated((age.time, age.last), false));
    }
    match by_others(path) {
        Some((live, age)) => (live, rotated(age.order(), true)),
        None => (path.to_owned(), Age::Live),
    }
}

/// Looks into the files of trails that another program rotates: ids of events ascend.
fn date_by_events(sorted: &mut [Sorted]) {
    let is_by_others = |file: &&Sorted| matches!(file.age, Age::Rotated { is_by_others: true, .. });
    let trails: HashSet<usize> = sorted.iter().filter(is_by_others).map(|file| file.place).collect();
    for file in sorted.iter_mut().filter(|file| trails.contains(&file.place)) {
        if let Age::Rotated { first, .. } = &mut file.age {
            // One that cannot be read is named when its turn comes.
            let id = File::open(&file.path).and_then(|opened| first_id(&opened));
            *first = id.ok().flatten().unwrap_or_default();
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

/// The live file that a rotated one was; `None` for others.
pub(super) fn trail_of(path: &Path) -> Option<PathBuf> {
    live_of(path).or_else(|| by_others(path).map(|(live, _)| live))
}

/// The live file that the gateway rotated.
fn live_of(path: &Path) -> Option<PathBuf> {
    Rotated::parse(path.to_str()?).map(|rotated| PathBuf::from(rotated.live))
}

/// The live file that another program rotated. A name alone says that only if it is the name of an event file; otherwise the live one has
/// to be there.
fn by_others(path: &Path) -> Option<(PathBuf, ByOthers)> {
    let name = path.to_str()?;
    let age = ByOthers::parse(name)?;
    let live = PathBuf::from(&age.live);
    let is_known = (!age.is_within && is_event_file(&live)) || (!is_batch(name) && live.is_file());
    is_known.then_some((live, age))
}

/// The live file of which this is a part that cannot be read.
fn otherwise(path: &Path) -> Option<PathBuf> {
    trail_of(Path::new(packed_otherwise(path.to_str()?)?))
}

/// Whether it is a store's batch, of which there may be very many.
fn is_batch(name: &str) -> bool {
    super::span::hour_of(name).is_some()
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

    fn write(folder: &Path, name: &str, number: usize) {
        let line = format!("{{\"event-id\":\"019fb73e-20fa-7b3d-8f21-{number:012}\"}}\n");
        fs::write(folder.join(name), line).unwrap();
    }

    #[test]
    fn files_that_logrotate_rotated_are_read_in_the_order_of_their_events() {
        let folder = folder(&["events.ndjson", "edge-1-1-2.ndjson", "note.1", "x.log.1.old"]);
        let folder = folder.path();
        // Numbers, then dates of both forms, then the gateway's own names: as options change over the years.
        let names = [
            "events.ndjson.11",
            "events.ndjson.9",
            "events.ndjson-20261101",
            "events.ndjson.20261102",
            "events.ndjson-2026-11-03",
            "events-20261104.ndjson",
            "events.ndjson.20261105T081530Z-9",
        ];
        for (number, name) in names.into_iter().enumerate() {
            write(folder, name, number);
        }
        let files = Files::find(&[folder.to_owned()]).unwrap();
        let expected = [&["edge-1-1-2.ndjson"], &names[..], &["events.ndjson"]].concat();
        assert_eq!(below(folder, &files.paths), expected);
        assert_eq!(below(folder, &files.passed_over), ["note.1", "x.log.1.old"]);
        // As a shell lists them, with the live one first.
        let listed = ["events.ndjson", names[1], names[0]].map(|name| folder.join(name));
        assert_eq!(below(folder, &Files::find(&listed).unwrap().paths), [names[0], names[1], "events.ndjson"]);
        // Without any event, the name decides.
        for name in ["events.ndjson.9", "events.ndjson.11"] {
            fs::write(folder.join(name), "").unwrap();
        }
        assert_eq!(below(folder, &Files::find(&listed).unwrap().paths), [names[0], names[1], "events.ndjson"]);
    }

    #[test]
    fn a_part_of_a_trail_that_cannot_be_unpacked_is_not_skipped() {
        let folder = folder(&["events.ndjson", "events.ndjson.1", "notes.1.zst"]);
        assert_eq!(Files::find(&[folder.path().to_owned()]).unwrap().paths.len(), 2);
        for name in ["events.ndjson.2.zst", "events.ndjson.20260731T081530Z-9.bz2"] {
            let path = folder.path().join(name);
            fs::write(&path, "").unwrap();
            let error = Files::find(&[folder.path().to_owned()]).unwrap_err();
            assert!(error.to_string().contains("something else than gzip") && error.path == path, "{error}");
            fs::remove_file(path).unwrap();
        }
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
