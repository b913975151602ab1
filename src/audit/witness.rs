//! The witness: signed checkpoints in a store of its own. A trail that was cut off at its end, put back to an older copy, removed or begun
//! anew does not fit them (`lockgate audit verify --witness`).
//!
//! A checkpoint is written there once every required sink has it: a witness that knew more than the trail could would accuse a gateway
//! that was killed in between. The first of each process and of each key and the last are written immediately, of those between the newest
//! every so often. What cannot be written is tried again, with growing pauses, until a newer one takes its place. An object's name follows from its
//! content and nothing is ever replaced, so a write that is repeated, or cut off after it was sent, does no harm.
//!
//! Before the first one is written, what is there is compared with where the chain goes on (`look_back`).

use std::io;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use tokio::sync::Notify;
use tokio::task::JoinHandle;

use super::look_back::Before;
use super::verify::Seal;
use super::{Archive, ArchivePlace};
use crate::backoff::Backoff;

/// How long the store may take for one checkpoint.
const WITHIN: Duration = Duration::from_secs(30);

/// How long it may take at the start to say what it saw before.
const LOOKED_WITHIN: Duration = if cfg!(test) { Duration::from_millis(200) } else { WITHIN };

/// The first pause after a failure, and the longest. While the process ends, each is the first.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(300);

/// Where the newest checkpoints are witnessed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WitnessSettings {
    /// The folder, and the lock of each object there.
    pub place: ArchivePlace,
    /// How often a newer one is written.
    pub every: Duration,
    /// Whether a gateway whose witness fails or contradicts is not ready.
    pub judges_readiness: bool,
}

/// How the witness is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WitnessState {
    /// How messages name its folder.
    pub name: String,
    /// The number of the newest checkpoint there of this process, and when it was written.
    pub written: Option<(u64, SystemTime)>,
    /// Why nothing can be written.
    pub failure: Option<String>,
    /// Since when nothing can be written.
    pub failing_since: Option<SystemTime>,
    /// What of it does not fit to where the chain of this process went on.
    pub contradiction: Option<String>,
    /// Whether a checkpoint waits to be written.
    pub is_behind: bool,
    /// Whether a gateway whose witness fails or contradicts is not ready.
    pub judges_readiness: bool,
}

/// The task that writes, and what it shares with those who ask.
#[derive(Debug)]
pub(super) struct Witness {
    shared: Arc<Shared>,
    task: Mutex<Option<JoinHandle<()>>>,
}

#[derive(Debug)]
struct Shared {
    archive: Arc<dyn Archive>,
    every: Duration,
    judges_readiness: bool,
    state: Mutex<State>,
    /// There is something new.
    news: Notify,
    /// The process ends.
    ending: Notify,
    /// Hears when there is something for the trail.
    teller: OnceLock<Arc<Notify>>,
}

/// A checkpoint that waits.
#[derive(Debug, Clone)]
struct Waiting {
    name: String,
    sequence: u64,
    line: Bytes,
    is_end: bool,
}

#[derive(Debug, Default)]
struct State {
    /// The first of the process, or of a key since.
    first: Option<Waiting>,
    /// The newest after that.
    newest: Option<Waiting>,
    written: Option<(u64, SystemTime)>,
    /// When one was written last.
    last: Option<Instant>,
    failure: Option<(String, SystemTime)>,
    contradiction: Option<String>,
    /// Whether the trail was told of it.
    is_told: bool,
    ending: bool,
}

/// What is to be done next.
#[derive(Debug)]
enum Next {
    Write(Waiting),
    WaitUntil(Instant),
    Wait,
    End,
}

impl State {
    fn next(&self, every: Duration) -> Next {
        // While the store fails, a newer one is worth more than the first.
        if let Some(first) = self.first.as_ref().filter(|_| self.failure.is_none() || self.newest.is_none()) {
            return Next::Write(first.clone());
        }
        let Some(newest) = &self.newest else {
            return if self.ending { Next::End } else { Next::Wait };
        };
        let due = self.last.and_then(|last| last.checked_add(every)).filter(|due| *due > Instant::now());
        match due {
            Some(due) if !newest.is_end && !self.ending => Next::WaitUntil(due),
            _ => Next::Write(newest.clone()),
        }
    }

    /// One is there; what waits may be newer by now.
    fn wrote(&mut self, written: &Waiting) {
        self.written = Some((written.sequence, SystemTime::now()));
        self.last = Some(Instant::now());
        // One that could not be written has had its place taken.
        self.first.take_if(|first| first.sequence <= written.sequence);
        self.newest.take_if(|newest| newest.sequence <= written.sequence);
    }
}

impl Witness {
    /// Compares what is there with where the chain goes on (`before`), and begins to write to a folder. Needs a runtime.
    pub(super) fn start(settings: &WitnessSettings, archive: Arc<dyn Archive>, before: Option<Before>) -> Witness {
        let shared = Arc::new(Shared {
            archive,
            every: settings.every,
            judges_readiness: settings.judges_readiness,
            state: Mutex::default(),
            news: Notify::new(),
            ending: Notify::new(),
            teller: OnceLock::new(),
        });
        let task = tokio::spawn(run(Arc::clone(&shared), before));
        Witness { shared, task: Mutex::new(Some(task)) }
    }

    /// From now on `teller` hears when there is something for the trail.
    pub(super) fn tell(&self, teller: Arc<Notify>) {
        let _ = self.shared.teller.set(teller);
        // What came before.
        self.shared.notify_teller();
    }

    /// What of the witness does not fit to the trail, if the trail was not told of it; once.
    pub(super) fn take_contradiction(&self) -> Option<String> {
        let mut state = self.shared.lock();
        let contradiction = state.contradiction.clone().filter(|_| !state.is_told);
        state.is_told |= contradiction.is_some();
        contradiction
    }

    /// Takes a signed checkpoint that every required sink has.
    pub(super) fn offer(&self, line: &[u8]) {
        let Some(seal) = Seal::read(line) else { return };
        let mut line = line.strip_suffix(b"\n").unwrap_or(line).to_vec();
        line.push(b'\n');
        let waiting = Waiting { name: seal.name(), sequence: seal.at.sequence, line: line.into(), is_end: seal.is_end };
        let mut state = self.shared.lock();
        if seal.is_first {
            // A later one shows all that an earlier one does.
            state.first = Some(waiting)
        } else {
            state.newest = Some(waiting)
        }
        drop(state);
        self.shared.news.notify_one();
    }

    /// Writes what waits, without a pause, and ends. It waits as long as the store does: put a limit around it.
    pub(super) async fn finish(&self) {
        self.shared.lock().ending = true;
        self.shared.news.notify_one();
        self.shared.ending.notify_one();
        let task = self.task.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(task) = task {
            let mut guard = AbortOnDrop(task);
            let _ = (&mut guard.0).await;
        }
    }

    /// Says that the end came before all was written.
    pub(super) fn give_up(&self) {
        let state = self.shared.lock();
        let why = state.failure.as_ref().map_or("it does not answer", |(why, _)| why.as_str());
        let witness = self.shared.archive.describe();
        tracing::warn!(witness, why, "the last checkpoint could not be witnessed; the next start writes a newer one");
    }

    pub(super) fn state(&self) -> WitnessState {
        let state = self.shared.lock();
        WitnessState {
            name: self.shared.archive.describe(),
            written: state.written,
            failure: state.failure.as_ref().map(|(why, _)| why.clone()),
            failing_since: state.failure.as_ref().map(|(_, since)| *since),
            contradiction: state.contradiction.clone(),
            is_behind: state.first.is_some() || state.newest.is_some(),
            judges_readiness: self.shared.judges_readiness,
        }
    }
}

impl Drop for Witness {
    fn drop(&mut self) {
        if let Some(task) = self.task.lock().unwrap_or_else(PoisonError::into_inner).take() {
            task.abort();
        }
    }
}

/// A task that nobody waits for any more ends.
struct AbortOnDrop(JoinHandle<()>);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

async fn run(shared: Arc<Shared>, before: Option<Before>) {
    // Before the first checkpoint of this process is there.
    if let Some(before) = before {
        tokio::select! {
            () = shared.look_back(&before) => {}
            () = shared.ending.notified() => shared.ending.notify_one(),
        }
    }
    let mut backoff = Backoff::new(FIRST_PAUSE, LONGEST_PAUSE);
    loop {
        let next = shared.lock().next(shared.every);
        match next {
            Next::End => return,
            Next::Wait => shared.news.notified().await,
            Next::WaitUntil(due) => {
                let _ = tokio::time::timeout_at(due.into(), shared.news.notified()).await;
            }
            Next::Write(waiting) => match shared.keep_within(&waiting).await {
                Ok(()) => {
                    backoff.reset();
                    shared.wrote(&waiting);
                }
                Err(error) => {
                    shared.failed(&error.to_string());
                    let pause = backoff.wait();
                    let pausing = if shared.lock().ending { FIRST_PAUSE } else { pause };
                    // The end of the process is worth a try immediately, once.
                    let _ = tokio::time::timeout(pausing, shared.ending.notified()).await;
                }
            },
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn keep_within(&self, waiting: &Waiting) -> io::Result<()> {
        tokio::time::timeout(WITHIN, self.keep(waiting)).await.unwrap_or_else(|_| {
            Err(io::Error::new(io::ErrorKind::TimedOut, format!("no answer within {} s", WITHIN.as_secs())))
        })
    }

    /// An object of the name may be this one, whose answer was lost.
    async fn keep(&self, waiting: &Waiting) -> io::Result<()> {
        match self.archive.put_new(&waiting.name, waiting.line.clone()).await {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                let there = self.archive.get(&waiting.name, waiting.line.len() as u64).await;
                match there {
                    Ok(there) if there == waiting.line => Ok(()),
                    Err(error) if error.kind() != io::ErrorKind::FileTooLarge => Err(error),
                    _ => Err(io::Error::other(format!("{} is something else: somebody else wrote it", waiting.name))),
                }
            }
            outcome => outcome,
        }
    }

    /// Asks the witness what it saw before this process. One that does not answer within its time is not asked again: nothing waits for it
    /// longer, and whoever verifies asks it as well.
    async fn look_back(&self, before: &Before) {
        let looking = tokio::time::timeout(LOOKED_WITHIN, before.contradiction(&self.archive));
        let found = looking.await.unwrap_or_else(|_| {
            Err(io::Error::new(io::ErrorKind::TimedOut, format!("no answer within {} s", LOOKED_WITHIN.as_secs())))
        });
        let witness = self.archive.describe();
        match found {
            Ok(None) => {}
            Ok(Some(what)) => {
                let message = format!("the witness {witness} {what}");
                tracing::error!("{message}");
                self.lock().contradiction = Some(message);
                self.notify_teller();
            }
            Err(error) => tracing::warn!(
                witness,
                %error,
                "the witness cannot be asked at the start whether the trail was rolled back; `lockgate audit verify --witness` asks it"
            ),
        }
    }

    fn notify_teller(&self) {
        if let Some(teller) = self.teller.get() {
            teller.notify_one();
        }
    }

    fn wrote(&self, waiting: &Waiting) {
        let mut state = self.lock();
        state.wrote(waiting);
        if state.failure.take().is_some() {
            tracing::info!(witness = self.archive.describe(), "the witness takes checkpoints again");
        }
    }

    fn failed(&self, why: &str) {
        let mut state = self.lock();
        if state.failure.as_ref().is_none_or(|(known, _)| known != why) {
            tracing::error!(witness = self.archive.describe(), why, "the witness of the trail takes no checkpoint");
        }
        let since = state.failure.take().map_or_else(SystemTime::now, |(_, since)| since);
        state.failure = Some((why.to_owned(), since));
    }
}

#[cfg(test)]
#[path = "witness_tests.rs"]
mod tests;
