//! A journal of uploads in parts that were begun and neither finished nor removed, so that the parts which a killed process
//! left in a bucket are removed by the next one.
//!
//! Each process writes a file of its own in the staging folder and holds a lock on it; the lock ends with the process. Who
//! starts takes over the entries of files that nobody locks. A line is written before the store is asked for an upload,
//! since a process may die before it learns the upload's id. The journal is not synced: it outlives the process, not the
//! machine.

mod writer;

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{self, BufRead, BufReader};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use rustix::fs::{FlockOperation, flock};
use serde::{Deserialize, Serialize};
use tokio::task::AbortHandle;

use super::StoreResult;
use writer::Writer;

/// How long after it was asked for, in seconds, an upload may still come into being.
const ASKED_LATELY: u64 = 300;

/// How long after the start a store has made up its mind about what dead processes asked of it.
const SURE_AFTER: Duration = Duration::from_secs(3);

/// How the names of journals begin.
const PREFIX: &str = "lockgate-uploads-";

/// The longest line that is read, in bytes: two keys' worth, each byte escaped.
const LONGEST_LINE: usize = 16 << 10;

/// The journal of this process.
#[derive(Debug)]
pub struct Unfinished {
    state: Mutex<State>,
    writer: Writer,
    /// Who removes what is left over.
    removing: Mutex<Option<AbortHandle>>,
}

#[derive(Debug)]
struct State {
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

impl Line {
    /// Changes what is open as the line says.
    fn apply(self: &Line, open: &mut BTreeMap<u64, Begun>) {
        match self {
            Line::Begun { number, upload } => drop(open.insert(*number, upload.clone())),
            Line::Named { number, id } => {
                if let Some(begun) = open.get_mut(number) {
                    begun.id = Some(id.clone());
                }
            }
            Line::Settled { number } => drop(open.remove(number)),
        }
    }
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
    pub(super) async fn begin(&self, key: &str) -> Option<Entry> {
        match self.journal.get() {
            Some(journal) => Some(journal.begin(&self.bucket, key).await),
            None => None,
        }
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
        let writer = Writer::start(folder, path.clone(), file)?;
        let (open, left_over) = (BTreeMap::new(), Vec::new());
        let state = State { next: 0, first_own: 0, opened: Instant::now(), open, left_over };
        let journal = Unfinished { state: Mutex::new(state), writer, removing: Mutex::default() };
        for entry in std::fs::read_dir(folder)? {
            let entry = entry?;
            if entry.file_name().to_string_lossy().starts_with(PREFIX) && entry.path() != path {
                journal.take_over(&entry.path())?;
            }
        }
        {
            let mut state = journal.locked();
            state.first_own = state.next;
        }
        Ok(Arc::new(journal))
    }

    /// From now on `task` removes what is left over, and nobody else: who did before knows stores of old settings.
    pub fn removed_by(&self, task: AbortHandle) {
        let before = self.removing.lock().unwrap_or_else(PoisonError::into_inner).replace(task);
        if let Some(before) = before {
            before.abort();
        }
    }

    /// Notes that the store is about to be asked for an upload.
    async fn begin(self: &Arc<Self>, bucket: &str, key: &str) -> Entry {
        let at = seconds_now();
        let upload = Begun { bucket: bucket.to_owned(), key: key.to_owned(), id: None, at };
        let number = self.locked().add(upload.clone());
        let entry = Entry { journal: Arc::clone(self), number, inherited: false, settled: false };
        // The thread answers whether it could write or not.
        let _ = self.writer.written(Line::Begun { number, upload }).await;
        entry
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
        for upload in open_entries(&file)? {
            let number = {
                let mut state = self.locked();
                let number = state.add(upload.clone());
                state.left_over.push(number);
                number
            };
            // The old journal is needed until this one has the line.
            self.writer.write_now(Line::Begun { number, upload });
        }
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
        let removing = self.removing.get_mut().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(removing) = removing {
            removing.abort();
        }
    }
}

impl Entry {
    /// Notes the store's name of the upload.
    pub(super) fn named(&self, id: &str) {
        self.note(Line::Named { number: self.number, id: id.to_owned() });
    }

    /// Notes that the upload is finished, or its parts removed.
    pub(super) fn settled(mut self) {
        self.settled = true;
        self.note(Line::Settled { number: self.number });
    }

    fn note(&self, line: Line) {
        line.apply(&mut self.journal.locked().open);
        self.journal.writer.write(line);
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
        self.open.insert(number, begun);
        number
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
        if let Ok(line) = serde_json::from_slice::<Line>(&line) {
            line.apply(&mut open);
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
        // The last line stands behind all others.
        journal.writer.write_now(Line::Settled { number: u64::MAX });
        let kept: Vec<_> = journals(folder).into_iter().map(|path| (std::fs::read(&path).unwrap(), path)).collect();
        drop(journal);
        for (content, path) in kept {
            std::fs::write(path, content).unwrap();
        }
    }

    /// Outside of a runtime, as a test without one needs it.
    fn begin(journal: &Arc<Unfinished>, bucket: &str, key: &str) -> Entry {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(journal.begin(bucket, key))
    }

    #[test]
    fn what_a_killed_process_left_is_given_once_to_its_bucket() {
        let folder = tempfile::tempdir().unwrap();
        let journal = Unfinished::open(folder.path()).unwrap();
        begin(&journal, "a", "done").settled();
        let open = begin(&journal, "a", "open \"key\"");
        open.named("id-1");
        let unnamed = begin(&journal, "b", "asked");
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
        journal.begin("a", "named").await.named("id");
        drop(journal.begin("a", "asked").await);
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
        let living = bucket.begin("asked").await.unwrap();
        assert_eq!(sweep(1).await, (1, both[1..].to_vec()), "a part may have come after the abort");
        living.settled();
        assert_eq!(sweep(0).await, (0, both.to_vec()), "too early to be sure");
        bucket.journal.get().unwrap().locked().opened -= SURE_AFTER;
        assert_eq!(sweep(0).await, (0, both.to_vec()));
        assert_eq!(sweep(0).await, (0, both[..1].to_vec()), "it may still come into being");
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_journal_is_the_same_whoever_writes_it() {
        let folder = tempfile::tempdir().unwrap();
        let journal = Unfinished::open(folder.path()).unwrap();
        // From a task of the runtime, most lines are written in place, and some by the thread; long enough for a new file or two.
        let open = tokio::spawn({
            let journal = Arc::clone(&journal);
            async move {
                let mut open = Vec::new();
                for number in 0..20_000 {
                    let entry = journal.begin("a", &format!("{number}")).await;
                    entry.named("id");
                    if number % 1000 == 0 {
                        open.push(entry);
                    } else {
                        entry.settled();
                    }
                }
                open
            }
        });
        let open = open.await.unwrap();
        assert!(std::fs::metadata(&journals(folder.path())[0]).unwrap().len() < 2 * writer::LONGEST);
        drop(open);
        killed(journal, folder.path());
        let next = Unfinished::open(folder.path()).unwrap();
        let mut found: Vec<_> = next.left_over("a").into_iter().map(|(_, begun)| (begun.key, begun.id)).collect();
        found.sort_by_key(|(key, _)| key.parse::<u32>().unwrap());
        let wanted: Vec<_> = (0..20).map(|number| ((number * 1000).to_string(), Some("id".to_owned()))).collect();
        assert_eq!(found, wanted);
    }

    #[test]
    fn a_living_process_keeps_its_journal() {
        let folder = tempfile::tempdir().unwrap();
        let living = Unfinished::open(folder.path()).unwrap();
        let _open = begin(&living, "a", "key");
        let other = Unfinished::open(folder.path()).unwrap();
        assert!(other.left_over("a").is_empty());
        assert_eq!(journals(folder.path()).len(), 2);
    }

    #[test]
    fn a_long_journal_is_shortened_and_keeps_what_is_open() {
        let folder = tempfile::tempdir().unwrap();
        let journal = Unfinished::open(folder.path()).unwrap();
        let open = begin(&journal, "a", "open");
        open.named("id");
        let first = journals(folder.path());
        for number in 0..20_000 {
            begin(&journal, "a", &format!("key {number}")).settled();
        }
        journal.writer.write_now(Line::Settled { number: u64::MAX });
        let files = journals(folder.path());
        assert_ne!(files, first);
        assert_eq!(files.len(), 1);
        assert!(std::fs::metadata(&files[0]).unwrap().len() < 2 * writer::LONGEST);
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
