//! A folder where lines wait in batches until they have arrived where they belong. What is in it survives the end of the
//! process at any moment.
//!
//! The batch that is being filled is `NUMBER.open`; a full one is renamed to `NUMBER.ndjson` and removed when it has been
//! delivered. One whose file somebody removed is written again as `NUMBER.again` first. Numbers ascend, so names sort in the order of the
//! lines. Files of an earlier process are taken over.

use std::collections::VecDeque;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use rustix::fs::{FlockOperation, flock};
use tokio::sync::Notify;

use super::disk::fault_of_folder;
use super::heading::Heading;
use super::set_aside::SetAside;
use super::settings::{Fsync, SpoolSettings};
use super::undelivered;
use crate::audit::ledger::Ledger;

/// Mode of the files: the owner and the operator's group may read, as of a file sink.
pub(super) const FILE_MODE: u32 = 0o640;
pub(super) const FOLDER_MODE: u32 = 0o750;

/// How much of a file's end is looked at to find its last whole line.
const TAIL: u64 = 64 * 1024;

/// The folder, shared by the sink's thread, which fills it, and the task that empties it.
#[derive(Debug)]
pub(in crate::audit) struct Spool {
    settings: SpoolSettings,
    state: Mutex<State>,
    changed: Notify,
    hurry: Notify,
    emptied: Condvar,
    /// How many deliveries are set aside, as far as anybody has seen.
    set_aside: Arc<AtomicU64>,
    /// What of it the trail is to hear.
    told: Arc<SetAside>,
    /// What is noted of the chain that the lines are of.
    ledger: Option<Arc<Ledger>>,
    /// Held as long as the spool is used.
    _lock: File,
}

#[derive(Debug, Default)]
struct State {
    filling: Option<Filling>,
    full: VecDeque<Arc<Full>>,
    /// Bytes of all batches.
    held: u64,
    next_number: u64,
    /// What keeps batches from being delivered.
    trouble: Option<String>,
    ending: bool,
}

/// How a spool is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SpoolState {
    /// Bytes that wait for their delivery.
    pub held: u64,
    /// The most that may wait.
    pub limit: u64,
    /// What keeps them from being delivered.
    pub trouble: Option<String>,
    /// How many deliveries were refused for good and are set aside.
    pub undelivered: u64,
}

/// The batch that is being filled. Its file may be longer than `bytes` after a write that failed.
#[derive(Debug)]
struct Filling {
    file: File,
    number: u64,
    bytes: u64,
    events: u64,
    hour: Option<String>,
    since: Instant,
    /// A write failed and could not be taken back: nothing may follow.
    spoiled: bool,
    /// Since when there are lines that may not be on the disk.
    unsynced: Option<Instant>,
}

/// A batch that waits for its delivery.
#[derive(Debug)]
pub(super) struct Full {
    path: PathBuf,
    bytes: u64,
}

/// What there is to do for the one who empties the spool.
#[derive(Debug)]
pub(super) enum Next {
    /// Deliver this.
    Deliver(Arc<Full>, Bytes),
    /// Nothing, for this long unless [`Spool::changed`] says otherwise.
    Wait(Option<Duration>),
    /// Nothing any more.
    End,
}

impl Spool {
    /// Opens the folder, or makes it, and takes over what is in it.
    pub(super) fn open(settings: &SpoolSettings) -> io::Result<Spool> {
        let named = |error: io::Error| {
            io::Error::new(error.kind(), format!("the spool {}: {error}", settings.folder.display()))
        };
        let lock = claim(&settings.folder).map_err(named)?;
        let state = take_over(&settings.folder).map_err(named)?;
        let found = undelivered::count(&settings.folder).map_err(named)?;
        let (set_aside, told) = (Arc::new(AtomicU64::new(found)), Arc::new(SetAside::found(found)));
        let (settings, state) = (settings.clone(), Mutex::new(state));
        let (changed, hurry, emptied) = (Notify::new(), Notify::new(), Condvar::new());
        Ok(Spool { settings, state, changed, hurry, emptied, set_aside, told, ledger: None, _lock: lock })
    }

    /// No batch leaves it before the disk has what is noted of the chain: else a power cut would make the next process number other
    /// lines as those that are elsewhere by then.
    pub(super) fn behind(self, ledger: Option<Arc<Ledger>>) -> Spool {
        Spool { ledger, ..self }
    }

    /// Takes lines from the front of `lines`, as many as the batch that is being filled has room for; how many bytes.
    pub(super) fn append(&self, lines: &[u8]) -> io::Result<usize> {
        let mut state = self.lock();
        let part = self.part_for_one_batch(&mut state, lines)?;
        if state.held > 0 && state.held + part.bytes.len() as u64 > self.settings.limit {
            // What is held can be delivered only when it is a batch.
            self.seal(&mut state)?;
            return Err(io::Error::new(io::ErrorKind::StorageFull, self.is_full(&state)));
        }
        if state.filling.is_none() {
            state.filling = Some(self.start_batch(&mut state, part.hour)?);
            // Its age counts from now on.
            self.changed.notify_one();
        }
        let Some(filling) = &mut state.filling else { return Ok(0) };
        filling.append(part.bytes, self.settings.fsync == Fsync::Batch)?;
        filling.events += part.events;
        let is_full = filling.events >= self.settings.batch.events || filling.bytes >= self.settings.batch.size;
        state.held += part.bytes.len() as u64;
        if is_full && let Err(error) = self.seal(&mut state) {
            // These lines are in the spool. The next ones will meet the same trouble, and be refused.
            tracing::warn!(spool = %self.settings.folder.display(), %error, "a full batch cannot be renamed");
        }
        Ok(part.bytes.len())
    }

    /// Brings to the disk what should be there by now.
    pub(super) fn sync(&self) -> io::Result<()> {
        let Fsync::Every(pause) = self.settings.fsync else { return Ok(()) };
        match &mut self.lock().filling {
            Some(filling) if filling.unsynced.is_some_and(|since| since.elapsed() >= pause) => filling.sync(),
            _ => Ok(()),
        }
    }

    /// When [`Spool::sync`] is to be called again, if no line comes before.
    pub(super) fn syncs_after(&self) -> Option<Duration> {
        let Fsync::Every(pause) = self.settings.fsync else { return None };
        let since = self.lock().filling.as_ref()?.unsynced?;
        Some(pause.saturating_sub(since.elapsed()))
    }

    /// Ends the batch that is being filled; whoever waits before the next try does not.
    pub(super) fn hurry(&self) -> io::Result<()> {
        let sealed = self.seal(&mut self.lock());
        self.hurry.notify_one();
        sealed
    }

    /// Waits before the next try, at most `pause`.
    pub(super) async fn pause(&self, pause: Duration) {
        let _ = tokio::time::timeout(pause, self.hurry.notified()).await;
    }

    /// Waits until everything is delivered, at most `limit`; how many bytes are left.
    pub(super) fn wait_until_empty(&self, limit: Duration) -> u64 {
        let waits = |state: &mut State| state.held > 0;
        match self.emptied.wait_timeout_while(self.lock(), limit, waits) {
            Ok((state, _)) => state.held,
            Err(poisoned) => poisoned.into_inner().0.held,
        }
    }

    /// Tells the one who empties it that nothing comes any more.
    pub(super) fn end(&self) {
        self.lock().ending = true;
        self.changed.notify_one();
        self.hurry.notify_one();
    }

    /// Whether nothing comes any more.
    pub(super) fn is_ending(&self) -> bool {
        self.lock().ending
    }

    /// What there is to do next. Reads files: not for a task of the runtime.
    pub(super) fn next(&self) -> io::Result<Next> {
        let first = {
            let mut state = self.lock();
            if state.ending {
                return Ok(Next::End);
            }
            let left = state.filling.as_ref().map(|f| self.settings.batch.age.saturating_sub(f.since.elapsed()));
            if left.is_some_and(|left| left.is_zero()) {
                self.seal(&mut state)?;
            }
            match state.full.front() {
                Some(first) => Arc::clone(first),
                None => return Ok(Next::Wait(left)),
            }
        };
        match read(&first) {
            Ok(lines) => Ok(Next::Deliver(first, lines)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                tracing::error!(file = %first.path.display(), "a batch has vanished from the spool: its events are lost there");
                self.forget(&first);
                Ok(Next::Wait(Some(Duration::ZERO)))
            }
            Err(error) => Err(io::Error::new(error.kind(), format!("{}: {error}", first.path.display()))),
        }
    }

    /// Wakes when there may be something to do.
    pub(super) async fn changed(&self) {
        self.changed.notified().await;
    }

    /// A batch has arrived: removes it.
    pub(super) fn delivered(&self, batch: &Arc<Full>) {
        if let Err(error) = fs::remove_file(&batch.path) {
            tracing::warn!(file = %batch.path.display(), %error, "a delivered batch cannot be removed from the spool: it will be delivered again");
        }
        self.forget(batch);
    }

    /// What keeps batches from being delivered, for the message when it is full; `None` when they are.
    pub(super) fn set_trouble(&self, trouble: Option<String>) {
        self.lock().trouble = trouble;
    }

    /// Where it is kept how many deliveries are set aside.
    pub(super) fn set_aside(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.set_aside)
    }

    /// What the trail is to hear of them.
    pub(in crate::audit) fn told(&self) -> &Arc<SetAside> {
        &self.told
    }

    /// How it is. Asks no disk.
    pub(super) fn state(&self) -> SpoolState {
        let undelivered = self.set_aside.load(Ordering::Relaxed);
        let state = self.lock();
        SpoolState { held: state.held, limit: self.settings.limit, trouble: state.trouble.clone(), undelivered }
    }

    /// Counts again what is set aside, for `lockgate audit redeliver` and people change it, too. It may take as long as the disk does.
    pub(in crate::audit) fn count_set_aside(&self) {
        // What cannot be read shows when something is set aside.
        if let Ok(count) = undelivered::count(&self.settings.folder) {
            self.set_aside.store(count, Ordering::Relaxed);
        }
    }

    /// What keeps lines from being taken, as far as a look can tell: no folder, no right, no room. It may take as long as the disk does.
    pub(super) fn fault(&self) -> Option<String> {
        let folder = &self.settings.folder;
        if let Some(what) = fault_of_folder(folder) {
            return Some(format!("the spool {}: {what}", folder.display()));
        }
        let state = self.lock();
        (state.held >= self.settings.limit).then(|| self.is_full(&state))
    }

    /// Bytes that wait.
    pub(super) fn held(&self) -> u64 {
        self.lock().held
    }

    fn forget(&self, batch: &Arc<Full>) {
        let mut state = self.lock();
        if let Some(place) = state.full.iter().position(|full| Arc::ptr_eq(full, batch)) {
            state.full.remove(place);
            state.held = state.held.saturating_sub(batch.bytes);
        }
        self.emptied.notify_all();
    }

    /// The lines from the front that belong into one batch. Ends the batch that is being filled when the first does not
    /// belong into it.
    fn part_for_one_batch<'a>(&self, state: &mut State, lines: &'a [u8]) -> io::Result<Part<'a>> {
        let limits = &self.settings.batch;
        let mut part = Part { bytes: &[], events: 0, hour: None };
        for line in lines.split_inclusive(|byte| *byte == b'\n') {
            let hour = Heading::of(line).hour().map(str::to_owned);
            let (events, bytes, last_hour) = match (part.events, &state.filling) {
                (0, Some(filling)) => (filling.events, filling.bytes, &filling.hour),
                (0, None) => (0, 0, &hour),
                (_, Some(filling)) => {
                    (filling.events + part.events, filling.bytes + part.bytes.len() as u64, &part.hour)
                }
                (_, None) => (part.events, part.bytes.len() as u64, &part.hour),
            };
            let spoiled = state.filling.as_ref().is_some_and(|filling| filling.spoiled);
            let fits = events < limits.events && bytes + line.len() as u64 <= limits.size && *last_hour == hour;
            if spoiled || (events > 0 && !fits) {
                if part.events > 0 {
                    break;
                }
                self.seal(state)?;
            }
            part.bytes = lines.get(..part.bytes.len() + line.len()).unwrap_or(lines);
            part.events += 1;
            part.hour = hour;
        }
        Ok(part)
    }

    fn start_batch(&self, state: &mut State, hour: Option<String>) -> io::Result<Filling> {
        let number = state.next_number;
        let path = self.settings.folder.join(format!("{number:020}.open"));
        let mut options = OpenOptions::new();
        let file = options.read(true).append(true).create_new(true).mode(FILE_MODE).open(path)?;
        state.next_number += 1;
        if self.settings.fsync != Fsync::Never {
            sync_folder(&self.settings.folder)?;
        }
        let since = Instant::now();
        Ok(Filling { file, number, bytes: 0, events: 0, hour, since, spoiled: false, unsynced: None })
    }

    fn seal(&self, state: &mut State) -> io::Result<()> {
        let Some(filling) = &mut state.filling else { return Ok(()) };
        if self.settings.fsync != Fsync::Never {
            filling.sync()?;
        }
        if let Some(ledger) = &self.ledger {
            ledger.sync()?;
        }
        let name = |ending: &str| self.settings.folder.join(format!("{:020}.{ending}", filling.number));
        let full = Full { path: name("ndjson"), bytes: filling.bytes };
        match fs::rename(name("open"), &full.path) {
            // Renamed before, by a call that was told otherwise.
            Err(error) if error.kind() == io::ErrorKind::NotFound && full.path.exists() => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                filling.write_again(&name("again"), &full.path)?;
                tracing::error!(file = %name("open").display(), written_again = %full.path.display(),
                    "somebody removed or moved a batch of the spool that was being filled; its events are written again");
            }
            renamed => renamed?,
        }
        // Whatever happens now: it has its name.
        state.filling = None;
        state.full.push_back(Arc::new(full));
        self.changed.notify_one();
        if self.settings.fsync != Fsync::Never { sync_folder(&self.settings.folder) } else { Ok(()) }
    }

    fn is_full(&self, state: &State) -> String {
        let folder = self.settings.folder.display();
        let why = state.trouble.as_deref().unwrap_or("batches arrive too slowly");
        format!("the spool {folder} holds {} of at most {} bytes; {why}", state.held, self.settings.limit)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Lines that belong into one batch.
struct Part<'a> {
    bytes: &'a [u8],
    events: u64,
    hour: Option<String>,
}

impl Filling {
    /// All of the lines or, as far as the next reader sees, none.
    fn append(&mut self, lines: &[u8], syncs: bool) -> io::Result<()> {
        let written = self.file.write_all(lines).and_then(|()| if syncs { self.file.sync_data() } else { Ok(()) });
        match written {
            Ok(()) => {
                self.bytes += lines.len() as u64;
                self.unsynced = self.unsynced.or_else(|| (!syncs).then(Instant::now));
            }
            Err(_) => self.spoiled = self.file.set_len(self.bytes).is_err(),
        }
        written
    }

    /// Its lines count as written, and its file has no name any more: they are still in what is open.
    fn write_again(&self, next: &Path, path: &Path) -> io::Result<()> {
        let mut lines = vec![0; usize::try_from(self.bytes).map_err(io::Error::other)?];
        self.file.read_exact_at(&mut lines, 0)?;
        let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(FILE_MODE).open(next)?;
        file.write_all(&lines)?;
        file.sync_data()?;
        fs::rename(next, path)
    }

    fn sync(&mut self) -> io::Result<()> {
        if self.unsynced.is_some() {
            self.file.sync_data()?;
        }
        self.unsynced = None;
        Ok(())
    }
}

/// Makes the folder and takes its lock, so that no other sink empties it.
fn claim(folder: &Path) -> io::Result<File> {
    fs::DirBuilder::new().recursive(true).mode(FOLDER_MODE).create(folder)?;
    let mut options = OpenOptions::new();
    let lock = options.write(true).create(true).truncate(false).mode(FILE_MODE).open(folder.join("lock"))?;
    match flock(&lock, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(lock),
        Err(rustix::io::Errno::WOULDBLOCK) => {
            Err(io::Error::other("it is in use: each sink of each gateway needs its own"))
        }
        Err(error) => Err(error.into()),
    }
}

/// The batches of an earlier process, in their order. One that was being filled is full now; a line that was not written
/// whole is cut off, for nobody was told of it.
fn take_over(folder: &Path) -> io::Result<State> {
    let mut state = State::default();
    for (number, mut path) in numbered(folder)? {
        state.next_number = number.saturating_add(1);
        if path.extension().is_some_and(|ending| ending != "ndjson") {
            cut_torn_line(&path)?;
            let full = path.with_extension("ndjson");
            fs::rename(&path, &full)?;
            path = full;
        }
        let bytes = fs::metadata(&path)?.len();
        if bytes == 0 {
            fs::remove_file(&path)?;
            continue;
        }
        state.held += bytes;
        state.full.push_back(Arc::new(Full { path, bytes }));
    }
    Ok(state)
}

/// The batches in a folder, with their numbers, in their order.
fn numbered(folder: &Path) -> io::Result<Vec<(u64, PathBuf)>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let is_ours = |ending: &str| path.extension().is_some_and(|e| e == ending);
        let number = path.file_stem().and_then(|stem| stem.to_str()?.parse::<u64>().ok());
        if let (Some(number), true) = (number, is_ours("open") || is_ours("again") || is_ours("ndjson")) {
            found.push((number, path));
        }
    }
    found.sort();
    Ok(found)
}

/// The files of the batches that wait in a spool, in their order; none where there is no folder yet.
///
/// # Errors
/// When it cannot be read; the message names it.
pub(in crate::audit) fn batches_in(folder: &Path) -> io::Result<Vec<PathBuf>> {
    match numbered(folder) {
        Ok(found) => Ok(found.into_iter().map(|(_, path)| path).collect()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(io::Error::new(error.kind(), format!("the spool {}: {error}", folder.display()))),
    }
}

fn cut_torn_line(path: &Path) -> io::Result<()> {
    let mut file = OpenOptions::new().read(true).write(true).open(path)?;
    let mut end = file.metadata()?.len();
    let whole = loop {
        let from = end.saturating_sub(TAIL);
        file.seek(SeekFrom::Start(from))?;
        let mut tail = Vec::new();
        Read::by_ref(&mut file).take(end - from).read_to_end(&mut tail)?;
        match tail.iter().rposition(|byte| *byte == b'\n') {
            Some(newline) => break from + newline as u64 + 1,
            None if from == 0 => break 0,
            None => end = from,
        }
    };
    file.set_len(whole)
}

/// What a failed write left behind the last line of the batch does not count.
fn read(batch: &Full) -> io::Result<Bytes> {
    let mut lines = Vec::new();
    File::open(&batch.path)?.take(batch.bytes).read_to_end(&mut lines)?;
    Ok(lines.into())
}

pub(super) fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

#[cfg(test)]
#[path = "spool_tests.rs"]
mod tests;
