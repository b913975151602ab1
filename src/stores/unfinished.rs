//! A journal of uploads in parts that were begun and neither finished nor removed, so that the parts which a killed process
//! left in a bucket are removed by the next one.
//!
//! Each process writes a file of its own in the staging folder and holds a lock on it; the lock ends with the process. Who
//! starts takes over the entries of files that nobody locks. A line is written before the store is asked for an upload,
//! since a process may die before it learns the upload's id. The journal is not synced: it outlives the process, not the
//! machine.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use rustix::fs::{FlockOperation, flock};
use serde::{Deserialize, Serialize};

use super::StoreResult;

/// How long after it was asked for, in seconds, an upload may still come into being.
const ASKED_LATELY: u64 = 300;

/// How long after the start a store has made up its mind about what dead processes asked of it.
const SURE_AFTER: Duration = Duration::from_secs(3);

/// How the names of journals begin.
const PREFIX: &str = "lockgate-uploads-";

/// A journal longer than this, in bytes, is written anew without what is settled.
const LONGEST: u64 = 1 << 20;

/// The longest line that is read, in bytes: two keys' worth, each byte escaped.
const LONGEST_LINE: usize = 16 << 10;

/// The journal of this process.
#[derive(Debug)]
pub struct Unfinished {
    folder: PathBuf,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    file: File,
    path: PathBuf,
    written: u64,
    next: u64,
    /// The first number that is not inherited.
    first_own: u64,
    opened: Instant,
    open: BTreeMap<u64, Begun>,
    /// Entries of dead processes, and those whose removal failed.
    left_over: Vec<u64>,
}

/// An upload that was begun.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Begun {
    /// The bucket's address.
    pub(super) bucket: String,
    /// The whole key.
    pub(super) key: String,
    /// The store's name of the upload; `None` when the process died before it knew.
    pub(super) id: Option<String>,
    /// When, in seconds since 1970.
    pub(super) at: u64,
}

/// A line of a journal.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Line {
    Begun { number: u64, upload: Begun },
    Named { number: u64, id: String },
    Settled { number: u64 },
}

/// One upload's place in the journal. Dropped without [`Entry::settled`] it stays in the journal; if the upload has a name,
/// whoever asks next for what was left over gets it.
#[derive(Debug)]
pub(super) struct Entry {
    journal: Arc<Unfinished>,
    number: u64,
    /// Of a process that is gone.
    inherited: bool,
    settled: bool,
}

/// What one bucket notes, once there is a journal.
#[derive(Debug)]
pub(super) struct BucketJournal {
    bucket: String,
    journal: OnceLock<Arc<Unfinished>>,
}

impl BucketJournal {
    /// No journal yet; `bucket` is the bucket's address.
    pub(super) fn new(bucket: String) -> Self {
        BucketJournal { bucket, journal: OnceLock::new() }
    }

    /// Notes in this journal from now on.
    pub(super) fn set(&self, journal: Arc<Unfinished>) {
        drop(self.journal.set(journal));
    }

    /// Notes that the store is about to be asked for an upload.
    pub(super) fn begin(&self, key: &str) -> Option<Entry> {
        self.journal.get().map(|journal| journal.begin(&self.bucket, key))
    }

    /// Removes what is left over, as far as `remove` can; gives the sum of what it says, or else its first error.
    ///
    /// An entry is settled only when there is nothing to remove any more, a moment after its process died, and is tried again the
    /// next time otherwise: a part that was on its way then may arrive after an abort (S3, AbortMultipartUpload), an upload whose
    /// completion was cut off may show again, and one that was asked for may come into being after nothing of it was found.
    pub(super) async fn remove_left_over<F>(&self, remove: impl Fn(Begun) -> F) -> StoreResult<u64>
    where
        F: Future<Output = StoreResult<u64>>,
    {
        let Some(journal) = self.journal.get() else { return Ok(0) };
        let left_over = journal.left_over(&self.bucket);
        let early = journal.locked().opened.elapsed() < SURE_AFTER;
        let mut removed = 0;
        let mut failed = None;
        for (entry, begun) in left_over {
            let (unnamed, at) = (begun.id.is_none(), begun.at);
            match remove(begun).await {
                Ok(0) if early || unnamed && seconds_now().saturating_sub(at) < ASKED_LATELY => {}
                Ok(0) => entry.settled(),
                Ok(uploads) => removed += uploads,
                Err(error) => failed = failed.or(Some(error)),
            }
        }
        failed.map_or(Ok(removed), Err)
    }
}

impl Unfinished {
    /// Begins a journal in a folder that exists, and takes over those of dead processes.
    ///
    /// # Errors
    /// When the folder cannot be read or written.
    pub fn open(folder: &Path) -> io::Result<Arc<Self>> {
        let (path, file) = create(folder)?;
        let (open, left_over) = (BTreeMap::new(), Vec::new());
        let opened = Instant::now();
        let state = State { file, path, written: 0, next: 0, first_own: 0, opened, open, left_over };
        let journal = Unfinished { folder: folder.to_owned(), state: Mutex::new(state) };
        for entry in std::fs::read_dir(folder)? {
            let entry = entry?;
            if entry.file_name().to_string_lossy().starts_with(PREFIX) {
                journal.take_over(&entry.path())?;
            }
        }
        {
            let mut state = journal.locked();
            state.first_own = state.next;
        }
        Ok(Arc::new(journal))
    }

    /// Notes that the store is about to be asked for an upload.
    fn begin(self: &Arc<Self>, bucket: &str, key: &str) -> Entry {
        let at = seconds_now();
        let number = self.locked().add(Begun { bucket: bucket.to_owned(), key: key.to_owned(), id: None, at });
        Entry { journal: Arc::clone(self), number, inherited: false, settled: false }
    }

    /// What is left in a bucket of uploads that nobody holds any more. Each is given to one. One without a name is looked for by
    /// its key, and so left alone while this process sends a file of that key.
    fn left_over(self: &Arc<Self>, bucket: &str) -> Vec<(Entry, Begun)> {
        let mut state = self.locked();
        let numbers = std::mem::take(&mut state.left_over);
        let mut taken = Vec::new();
        for number in numbers {
            match state.open.get(&number) {
                Some(begun) if begun.bucket == bucket && (begun.id.is_some() || !state.is_sending(begun)) => {
                    taken.push((
                        Entry { journal: Arc::clone(self), number, inherited: true, settled: false },
                        begun.clone(),
                    ));
                }
                Some(_) => state.left_over.push(number),
                None => {}
            }
        }
        taken
    }

    /// Copies the open entries of a journal that nobody locks, then removes it.
    fn take_over(&self, path: &Path) -> io::Result<()> {
        if path == self.locked().path {
            return Ok(());
        }
        let file = match OpenOptions::new().read(true).write(true).custom_flags(no_follow()).open(path) {
            Ok(file) => file,
            // Its process has ended in order, or another one took it over.
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(error),
        };
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(rustix::io::Errno::WOULDBLOCK) => return Ok(()),
            Err(error) => return Err(error.into()),
        }
        let mut state = self.locked();
        for begun in open_entries(&file)? {
            let number = state.add(begun);
            state.left_over.push(number);
        }
        drop(state);
        match std::fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    fn locked(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        let state = self.locked();
        if state.open.is_empty() {
            // Left behind, the file is empty, and the next start removes it.
            let _ = std::fs::remove_file(&state.path);
        }
    }
}

impl Entry {
    /// Notes the store's name of the upload.
    pub(super) fn named(&self, id: &str) {
        let mut state = self.journal.locked();
        if let Some(begun) = state.open.get_mut(&self.number) {
            begun.id = Some(id.to_owned());
            state.write(&Line::Named { number: self.number, id: id.to_owned() });
        }
    }

    /// Notes that the upload is finished, or its parts removed.
    pub(super) fn settled(mut self) {
        self.settled = true;
        let mut state = self.journal.locked();
        state.open.remove(&self.number);
        state.write(&Line::Settled { number: self.number });
        if state.written > LONGEST {
            state.write_anew(&self.journal.folder);
        }
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        if self.settled {
            return;
        }
        let mut state = self.journal.locked();
        // One of this process without a name is looked for by its key, which a living upload may have as well: that is for the
        // next start.
        if state.open.get(&self.number).is_some_and(|begun| self.inherited || begun.id.is_some()) {
            state.left_over.push(self.number);
        }
    }
}

impl State {
    /// Whether this process has an open upload of the same key.
    fn is_sending(&self, wanted: &Begun) -> bool {
        let same = |begun: &Begun| begun.bucket == wanted.bucket && begun.key == wanted.key;
        self.open.range(self.first_own..).any(|(_, begun)| same(begun))
    }

    fn add(&mut self, begun: Begun) -> u64 {
        let number = self.next;
        self.next += 1;
        self.write(&Line::Begun { number, upload: begun.clone() });
        self.open.insert(number, begun);
        number
    }

    /// A journal that cannot be written costs the operator parts that stay, never a client its upload.
    fn write(&mut self, line: &Line) {
        let Ok(mut text) = serde_json::to_vec(line) else { return };
        text.push(b'\n');
        match self.file.write_all(&text) {
            Ok(()) => self.written += text.len() as u64,
            Err(error) => {
                let path = self.path.display().to_string();
                tracing::warn!(%error, path, "an unfinished upload cannot be noted; if this process is killed, its parts stay");
            }
        }
    }

    /// Goes on in a new file with what is open.
    fn write_anew(&mut self, folder: &Path) {
        let (path, file) = match create(folder) {
            Ok(new) => new,
            Err(error) => {
                tracing::warn!(%error, "the journal of unfinished uploads cannot be shortened");
                self.written = 0;
                return;
            }
        };
        let old = std::mem::replace(&mut self.path, path);
        self.file = file;
        self.written = 0;
        for (number, upload) in self.open.clone() {
            self.write(&Line::Begun { number, upload });
        }
        if let Err(error) = std::fs::remove_file(&old) {
            tracing::warn!(%error, path = %old.display(), "an old journal of unfinished uploads cannot be removed");
        }
        // However many are open, the next shortening is as far away.
        self.written = 0;
    }
}

fn seconds_now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

/// A new, locked journal.
fn create(folder: &Path) -> io::Result<(PathBuf, File)> {
    for _ in 0..16 {
        let path = folder.join(format!("{PREFIX}{}", uuid::Uuid::now_v7()));
        let file = OpenOptions::new().append(true).create_new(true).mode(0o600).open(&path)?;
        flock(&file, FlockOperation::NonBlockingLockExclusive)?;
        // Between its making and its locking another process that starts may have taken it for a dead one's.
        if path.exists() {
            return Ok((path, file));
        }
    }
    Err(io::Error::other("other processes remove every new journal of unfinished uploads"))
}

fn no_follow() -> i32 {
    i32::try_from(rustix::fs::OFlags::NOFOLLOW.bits()).unwrap_or(0)
}

/// What a journal leaves open. A torn last line is the one that its process was writing when it died.
fn open_entries(file: &File) -> io::Result<Vec<Begun>> {
    let mut open = BTreeMap::new();
    for line in BufReader::new(file).split(b'\n') {
        let line = line?;
        if line.len() > LONGEST_LINE {
            continue;
        }
        match serde_json::from_slice(&line) {
            Ok(Line::Begun { number, upload }) => drop(open.insert(number, upload)),
            Ok(Line::Named { number, id }) => {
                if let Some(begun) = open.get_mut(&number) {
                    begun.id = Some(id);
                }
            }
            Ok(Line::Settled { number }) => drop(open.remove(&number)),
            Err(_) => {}
        }
    }
    Ok(open.into_values().collect())
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use super::*;

    fn journals(folder: &Path) -> Vec<PathBuf> {
        std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect()
    }

    /// As a kill leaves it: the lock is gone, the file is there.
    fn killed(journal: Arc<Unfinished>, folder: &Path) {
        let path = journal.locked().path.clone();
        let kept = std::fs::read(&path).unwrap();
        drop(journal);
        std::fs::write(folder.join(path.file_name().unwrap()), kept).unwrap();
    }

    #[test]
    fn what_a_killed_process_left_is_given_once_to_its_bucket() {
        let folder = tempfile::tempdir().unwrap();
        let journal = Unfinished::open(folder.path()).unwrap();
        journal.begin("a", "done").settled();
        let open = journal.begin("a", "open \"key\"");
        open.named("id-1");
        let unnamed = journal.begin("b", "asked");
        drop((open, unnamed));
        killed(journal, folder.path());

        let next = Unfinished::open(folder.path()).unwrap();
        assert_eq!(journals(folder.path()).len(), 1, "the old journal is gone");
        let found = next.left_over("a");
        assert_eq!(found.len(), 1);
        assert_eq!((found[0].1.key.as_str(), found[0].1.id.as_deref()), ("open \"key\"", Some("id-1")));
        assert!(next.left_over("a").is_empty());
        for (entry, _) in found {
            entry.settled();
        }
        killed(next, folder.path());

        let last = Unfinished::open(folder.path()).unwrap();
        assert!(last.left_over("a").is_empty(), "what was removed does not come back");
        let found = last.left_over("b");
        assert_eq!((found.len(), found[0].1.id.as_deref()), (1, None), "what no store asked for stays");
        for (entry, _) in found {
            entry.settled();
        }
        drop(last);
        assert!(journals(folder.path()).is_empty(), "nothing open leaves nothing");
    }

    #[tokio::test]
    async fn an_entry_is_settled_when_there_is_nothing_to_remove_any_more() {
        let folder = tempfile::tempdir().unwrap();
        let journal = Unfinished::open(folder.path()).unwrap();
        journal.begin("a", "named").named("id");
        drop(journal.begin("a", "asked"));
        killed(journal, folder.path());
        let bucket = BucketJournal::new("a".into());
        bucket.set(Unfinished::open(folder.path()).unwrap());
        let asked = Mutex::new(Vec::new());
        let sweep = async |found: u64| {
            let remove = |begun: Begun| {
                asked.lock().unwrap().push(begun.key);
                async move { Ok(found) }
            };
            let removed = bucket.remove_left_over(remove).await.unwrap();
            let mut keys = std::mem::take(&mut *asked.lock().unwrap());
            keys.sort();
            (removed, keys)
        };
        let both = ["asked".to_owned(), "named".to_owned()];
        assert_eq!(sweep(1).await, (2, both.to_vec()));
        // While this process sends a file of that key, an upload of it may be its own.
        let living = bucket.begin("asked").unwrap();
        assert_eq!(sweep(1).await, (1, both[1..].to_vec()), "a part may have come after the abort");
        living.settled();
        assert_eq!(sweep(0).await, (0, both.to_vec()), "too early to be sure");
        bucket.journal.get().unwrap().locked().opened -= SURE_AFTER;
        assert_eq!(sweep(0).await, (0, both.to_vec()));
        assert_eq!(sweep(0).await, (0, both[..1].to_vec()), "it may still come into being");
    }

    #[test]
    fn a_living_process_keeps_its_journal() {
        let folder = tempfile::tempdir().unwrap();
        let living = Unfinished::open(folder.path()).unwrap();
        let _open = living.begin("a", "key");
        let other = Unfinished::open(folder.path()).unwrap();
        assert!(other.left_over("a").is_empty());
        assert_eq!(journals(folder.path()).len(), 2);
    }

    #[test]
    fn a_long_journal_is_shortened_and_keeps_what_is_open() {
        let folder = tempfile::tempdir().unwrap();
        let journal = Unfinished::open(folder.path()).unwrap();
        let open = journal.begin("a", "open");
        open.named("id");
        let first = journal.locked().path.clone();
        for number in 0..20_000 {
            journal.begin("a", &format!("key {number}")).settled();
        }
        assert_ne!(journal.locked().path, first);
        let files = journals(folder.path());
        assert_eq!(files.len(), 1);
        assert!(std::fs::metadata(&files[0]).unwrap().len() < 2 * LONGEST);
        drop(open);
        killed(journal, folder.path());
        let next = Unfinished::open(folder.path()).unwrap();
        let found = next.left_over("a");
        assert_eq!((found.len(), found[0].1.id.as_deref()), (1, Some("id")));
    }

    #[test]
    fn torn_and_foreign_lines_are_passed_over() {
        let folder = tempfile::tempdir().unwrap();
        let lines = "{\"begun\":{\"number\":0,\"upload\":{\"bucket\":\"a\",\"key\":\"k\",\"id\":null,\"at\":1}}}\nnonsense\n\
                     {\"settled\":{\"number\":7}}\n{\"named\":{\"number\":0,\"i";
        std::fs::write(folder.path().join("lockgate-uploads-x"), lines).unwrap();
        let journal = Unfinished::open(folder.path()).unwrap();
        let found = journal.left_over("a");
        assert_eq!((found.len(), found[0].1.id.as_deref(), found[0].1.key.as_str()), (1, None, "k"));
    }
}
