//! The open files of a connection as somebody else sees them: how far each is, and how fast.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use crate::path::LogicalPath;

/// Over how long a speed is measured, at least.
const WINDOW: Duration = Duration::from_secs(1);

/// An open file, as it was when somebody looked.
#[derive(Debug, Clone)]
pub struct OpenFile {
    /// What the client named; after a RENAME on its connection, its name since.
    pub path: String,
    /// Whether it is being written.
    pub is_upload: bool,
    /// When it was opened.
    pub since: SystemTime,
    /// Bytes that went one way or the other.
    pub bytes: u64,
    /// Bytes of the whole file, of a download.
    pub size: Option<u64>,
    /// Bytes in a second, over the last few seconds.
    pub speed: u64,
}

/// The open files of one connection.
#[derive(Debug, Default)]
pub(super) struct OpenFiles(Mutex<Table>);

#[derive(Debug, Default)]
struct Table {
    next: u64,
    files: BTreeMap<u64, Arc<Moving>>,
}

impl OpenFiles {
    /// Adds a file until the returned token is dropped.
    pub(super) fn add(self: &Arc<Self>, path: &LogicalPath, is_upload: bool, size: Option<u64>) -> Opened {
        let moving = Arc::new(Moving::new(path, is_upload, size));
        let mut table = self.lock();
        let number = table.next;
        table.next += 1;
        table.files.insert(number, moving.clone());
        Opened { files: self.clone(), number, moving }
    }

    /// The connection has given the file or directory `from` the name `to`: what is open of it or in it goes along, and what had the
    /// name before is gone.
    pub(super) fn renamed(&self, from: &LogicalPath, to: &LogicalPath) {
        if from == to {
            return;
        }
        self.removed(to);
        for file in self.lock().files.values() {
            file.name().follow(from, to);
        }
    }

    /// The connection has removed the file of this name.
    pub(super) fn removed(&self, path: &LogicalPath) {
        let table = self.lock();
        let named = table.files.values().filter(|file| file.name().path == *path);
        named.for_each(|file| file.name().is_gone = true);
    }

    /// The first `most` of them, in the order in which they were opened.
    pub(super) fn list(&self, most: usize) -> Vec<OpenFile> {
        let files: Vec<_> = self.lock().files.values().take(most).cloned().collect();
        files.iter().map(|file| file.show(Instant::now())).collect()
    }

    fn lock(&self) -> MutexGuard<'_, Table> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A file is open.
#[derive(Debug)]
pub(super) struct Opened {
    files: Arc<OpenFiles>,
    number: u64,
    moving: Arc<Moving>,
}

impl Opened {
    /// Counts bytes that went one way or the other.
    pub(super) fn count(&self, bytes: u64) {
        self.moving.count(bytes, Instant::now());
    }

    /// The name that it has now; `None` when it was removed or replaced on its connection.
    pub(super) fn name(&self) -> Option<LogicalPath> {
        let name = self.moving.name();
        (!name.is_gone).then(|| name.path.clone())
    }
}

impl Drop for Opened {
    fn drop(&mut self) {
        self.files.lock().files.remove(&self.number);
    }
}

/// What a file is called.
#[derive(Debug)]
struct Name {
    path: LogicalPath,
    /// The name is another file's by now, or nobody's.
    is_gone: bool,
}

impl Name {
    /// `from` is `to` now.
    fn follow(&mut self, from: &LogicalPath, to: &LogicalPath) {
        let Some(rest) = self.path.below(from).filter(|_| !self.is_gone) else { return };
        let text =
            if rest.is_empty() { to.to_string() } else { format!("{}/{rest}", to.as_str().trim_end_matches('/')) };
        match LogicalPath::parse_str(&text) {
            Ok(path) => self.path = path,
            // Too long to be named.
            Err(_) => self.is_gone = true,
        }
    }
}

#[derive(Debug)]
struct Moving {
    name: Mutex<Name>,
    is_upload: bool,
    since: SystemTime,
    size: Option<u64>,
    pace: Mutex<Pace>,
}

/// How far a file is, and where the present window of its speed began.
#[derive(Debug)]
struct Pace {
    bytes: u64,
    window: Instant,
    bytes_at_window: u64,
    /// Of the last window that is over.
    speed: Option<u64>,
}

impl Moving {
    fn new(path: &LogicalPath, is_upload: bool, size: Option<u64>) -> Self {
        let pace = Pace { bytes: 0, window: Instant::now(), bytes_at_window: 0, speed: None };
        let name = Mutex::new(Name { path: path.clone(), is_gone: false });
        Moving { name, is_upload, since: SystemTime::now(), size, pace: Mutex::new(pace) }
    }

    fn count(&self, bytes: u64, now: Instant) {
        let mut pace = self.lock();
        if now.saturating_duration_since(pace.window) >= WINDOW {
            pace.speed = Some(pace.of_window(now));
            (pace.window, pace.bytes_at_window) = (now, pace.bytes);
        }
        pace.bytes += bytes;
    }

    fn show(&self, now: Instant) -> OpenFile {
        let pace = self.lock();
        // One that stands still begins no new window: its speed falls towards nothing.
        let is_old = now.saturating_duration_since(pace.window) >= 2 * WINDOW;
        let speed = pace.speed.filter(|_| !is_old).unwrap_or_else(|| pace.of_window(now));
        OpenFile {
            path: self.name().path.to_string(),
            is_upload: self.is_upload,
            since: self.since,
            bytes: pace.bytes,
            size: self.size,
            speed,
        }
    }

    fn name(&self) -> MutexGuard<'_, Name> {
        self.name.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lock(&self) -> MutexGuard<'_, Pace> {
        self.pace.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Pace {
    fn of_window(&self, now: Instant) -> u64 {
        let milliseconds = now.saturating_duration_since(self.window).as_millis().max(1);
        let bytes = u128::from(self.bytes - self.bytes_at_window) * 1000 / milliseconds;
        u64::try_from(bytes).unwrap_or(u64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_speed_is_that_of_the_last_seconds_and_falls_when_nothing_moves() {
        let file = Moving::new(&LogicalPath::root(), true, None);
        let start = file.lock().window;
        let at = |ms| start + Duration::from_millis(ms);
        file.count(500, at(100));
        assert_eq!((file.show(at(500)).bytes, file.show(at(500)).speed), (500, 1000), "of the time so far");
        file.count(500, at(1000));
        assert_eq!((file.show(at(1100)).bytes, file.show(at(1100)).speed), (1000, 500), "the first second brought 500");
        file.count(9500, at(2000));
        assert_eq!(file.show(at(2001)).speed, 500, "the second one 500 as well");
        assert_eq!(file.show(at(12_000)).speed, 950, "and then it stood for ten");
        assert!(file.show(at(1_000_000)).speed < 10);
    }

    #[test]
    fn files_are_listed_while_they_are_open() {
        let files = Arc::new(OpenFiles::default());
        let root = LogicalPath::root();
        let (first, second) = (files.add(&root, true, None), files.add(&root, false, Some(7)));
        second.count(3);
        drop(first);
        let shown = files.list(9);
        assert_eq!((shown.len(), shown[0].bytes, shown[0].size, shown[0].is_upload), (1, 3, Some(7), false));
        assert!(files.list(0).is_empty());
    }

    #[test]
    fn names_follow_renames_and_are_gone_with_their_files() {
        let (files, path) = (Arc::new(OpenFiles::default()), |text| LogicalPath::parse_str(text).unwrap());
        let open = |name| files.add(&path(name), false, None);
        let (inside, whole, replaced) = (open("/d/sub/f"), open("/f"), open("/g"));
        files.renamed(&path("/d"), &path("/e"));
        files.renamed(&path("/f"), &path("/g"));
        assert_eq!((inside.name(), whole.name(), replaced.name()), (Some(path("/e/sub/f")), Some(path("/g")), None));
        files.renamed(&path("/g"), &path("/h"));
        assert_eq!(replaced.name(), None, "it is not what has its name now");
        files.removed(&path("/h"));
        assert_eq!((inside.name(), whole.name()), (Some(path("/e/sub/f")), None));
    }
}
