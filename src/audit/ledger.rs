//! What is noted of the chain while it grows, and where it goes on at the start.

use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use uuid::Uuid;

use super::chain::Position;
use super::checkpoint::{LostState, Reason};
use super::queue::Answer;
use super::recovery::{End, OnDisk, end_of, holding_events};
use super::signer::Signer;
use super::sink::{Syncer, newest_of};
use super::state::{Found, State, StateFile};
use super::{ChainSettings, Unrecorded};

/// The chain of a process as it begins.
#[derive(Debug)]
pub(super) struct Opening {
    /// Where its state is noted.
    pub(super) ledger: Arc<Ledger>,
    /// The line after which it goes on.
    pub(super) last: Position,
    /// Who signs its checkpoints.
    pub(super) signer: Signer,
    /// The first checkpoint; none for a chain that nothing is kept of.
    pub(super) start: Option<Reason>,
}

impl Opening {
    /// A chain that begins with this process and ends with it.
    pub(super) fn fleeting() -> Opening {
        let state = fresh();
        let ledger = Arc::new(Ledger::new(None, state));
        Opening { ledger, last: Position::START, signer: Signer::default(), start: None }
    }

    /// Goes on with the chain of a folder, or begins one there. `on_disk` is where lines of it were written to.
    ///
    /// # Errors
    /// When the folder or its key cannot be used, or another process uses them; the message says what to do.
    pub(super) fn of(settings: &ChainSettings, on_disk: &OnDisk, promise: Promise) -> io::Result<Opening> {
        let folder = &settings.folder;
        let signer = Signer::open(folder).map_err(io::Error::other)?;
        let (mut file, found) = StateFile::open(folder)?;
        let shown = folder.display();
        let (state, clean, lost) = match found {
            Found::Nothing => match what_went_on(folder, on_disk)? {
                None => (fresh(), true, None),
                Some(what) => {
                    tracing::error!(
                        "{what}, and the state of its chain is missing in {shown}: it was removed, or audit.folder is another one. A new \
                         chain begins, and nothing ties it to what stands before"
                    );
                    (fresh(), false, Some(LostState::Missing))
                }
            },
            Found::Unreadable => {
                tracing::error!("the state of the event chain in {shown} cannot be read: a new chain begins");
                (fresh(), false, Some(LostState::Unreadable))
            }
            Found::State(state) => go_on(state, &mut file, on_disk)?,
        };
        note_begun(folder, &mut file, &state);
        let start = Reason::Start { clean, acknowledged: state.acknowledged, lost };
        let last = state.issued;
        // The log may be kept where the trail is not: then it witnesses how far the trail went.
        let Position { sequence, hash } = last;
        tracing::info!("the event chain {} goes on after event {sequence} ({hash})", state.chain);
        let every = Some(settings.checkpoint_every);
        let syncer = if promise == Promise::SoonAfter { Some(Syncer::start(SOON)?) } else { None };
        let ledger = Ledger { every, promise, ..Ledger::new(Some(file), state) };
        ledger.noted().syncer = syncer;
        Ok(Opening { ledger: Arc::new(ledger), last, signer, start: Some(start) })
    }
}

/// How soon what is noted of lines is on the disk. What the state on the disk does not know, a power cut makes the next process number
/// again, with another content; so no copy that is elsewhere may be ahead of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Promise {
    /// With each checkpoint, and before a batch leaves a spool ([`Ledger::sync`]).
    BeforeTheyLeave,
    /// Within [`SOON`] as well: a sink shows lines elsewhere as they come.
    SoonAfter,
    /// Before each batch of lines: such a sink is beside one that brings each batch to the disk.
    Before,
}

/// How long the disk may lack what is noted, where sinks show lines as they come: as long as a file sink does by default.
const SOON: Duration = Duration::from_secs(1);

/// What says that there was a chain before.
fn what_went_on(folder: &Path, on_disk: &OnDisk) -> io::Result<Option<String>> {
    if let Some(file) = holding_events(on_disk)? {
        return Ok(Some(format!("{} holds events", file.display())));
    }
    for path in &on_disk.files {
        if let Some(old) = newest_of(path)? {
            return Ok(Some(format!("{} is an old file of events", old.display())));
        }
    }
    Ok(StateFile::begun_in(folder).map(|chain| format!("the chain {chain} was begun here")))
}

/// Notes which chain is begun in a folder. The state goes before: where the note is and the state is not, the state was taken away.
fn note_begun(folder: &Path, file: &mut StateFile, state: &State) {
    if StateFile::begun_in(folder).as_deref() == Some(&state.chain.to_string()) {
        return;
    }
    // As it would be had it ended here, before anything was issued. One that cannot be written is judged with the first event.
    let is_new = state.issued == Position::START;
    if is_new && file.write(&State { clean: true, ..state.clone() }).and_then(|()| file.sync()).is_err() {
        return;
    }
    if let Err(error) = StateFile::begin_in(folder, state.chain) {
        tracing::warn!(%error, "should the state of the event chain be removed, that may go unseen");
    }
}

fn fresh() -> State {
    State { chain: Uuid::now_v7(), issued: Position::START, acknowledged: Position::START, clean: false }
}

/// The state to go on with, whether the process before ended in order, and whether the state was lost.
fn go_on(state: State, file: &mut StateFile, on_disk: &OnDisk) -> io::Result<(State, bool, Option<LostState>)> {
    match end_of(state.issued, on_disk)? {
        End::AsNoted => Ok((State { clean: false, ..state.clone() }, state.clean, None)),
        End::Further(issued) => {
            let (noted, found) = (state.issued.sequence, issued.sequence);
            tracing::warn!(
                "the machine lost what was noted of events {} to {found}; the files of events have them",
                noted + 1
            );
            let state = State { issued, clean: false, ..state };
            // Before the batches of a spool are on their way: power may be lost once more.
            file.write(&state).and_then(|()| file.sync())?;
            Ok((state, false, None))
        }
        End::Foreign(file) => {
            tracing::error!(
                "{} ends with a later event than the last one noted ({}), and does not lead from that to it: a new chain begins",
                file.display(),
                state.issued.sequence
            );
            Ok((fresh(), false, Some(LostState::Foreign)))
        }
    }
}

/// The state of the chain in memory and, when a folder keeps it, on disk.
#[derive(Debug)]
pub(super) struct Ledger {
    chain: Uuid,
    /// How soon after an event the next checkpoint follows; none where none is made.
    every: Option<Duration>,
    promise: Promise,
    noted: Mutex<Noted>,
    /// The number of the last acknowledged line. Apart from the rest, as the next.
    acknowledged: AtomicU64,
    /// Why the last write failed. Apart from the rest, so that who asks does not wait for a disk.
    failure: Mutex<Option<String>>,
    /// What the disk has, whatever happens: what a power cut leaves at least.
    #[cfg(test)]
    on_disk: Mutex<Option<State>>,
}

#[derive(Debug)]
struct Noted {
    file: Option<StateFile>,
    /// With [`Promise::SoonAfter`].
    syncer: Option<Syncer>,
    state: State,
}

impl Ledger {
    fn new(file: Option<StateFile>, state: State) -> Ledger {
        let acknowledged = AtomicU64::new(state.acknowledged.sequence);
        let (chain, noted) = (state.chain, Mutex::new(Noted { file, syncer: None, state }));
        let promise = Promise::BeforeTheyLeave;
        Ledger {
            chain,
            every: None,
            promise,
            noted,
            acknowledged,
            failure: Mutex::default(),
            #[cfg(test)]
            on_disk: Mutex::default(),
        }
    }

    /// Which chain it is of.
    pub(super) fn chain(&self) -> Uuid {
        self.chain
    }

    /// The number of the last line of which it is known that every required sink has it.
    pub(super) fn acknowledged(&self) -> u64 {
        self.acknowledged.load(Ordering::Relaxed)
    }

    /// How soon after an event the next checkpoint follows.
    pub(super) fn checkpoint_every(&self) -> Option<Duration> {
        self.every
    }

    /// Notes that lines up to `last` are about to go out; `sync` waits for the disk.
    pub(super) fn issue(&self, last: Position, sync: bool) -> Answer {
        self.note(sync || self.promise == Promise::Before, |state| state.issued = last)
    }

    /// Returns when what is noted is on the disk: before lines leave the machine. Does not hold up who notes more meanwhile.
    ///
    /// # Errors
    /// What the system says, also to what could not be noted before.
    pub(super) fn sync(&self) -> io::Result<()> {
        self.ready().map_err(io::Error::other)?;
        let noted = self.noted();
        let file = noted.file.as_ref().map(StateFile::itself);
        #[cfg(test)]
        let state = noted.state.clone();
        drop(noted);
        let synced = file.map_or(Ok(()), |file| file.sync_data());
        synced.map_err(|error| io::Error::new(error.kind(), format!("the state of the event chain: {error}")))?;
        #[cfg(test)]
        self.is_on_disk(&state);
        Ok(())
    }

    #[cfg(test)]
    fn is_on_disk(&self, state: &State) {
        *self.on_disk.lock().unwrap_or_else(PoisonError::into_inner) = Some(state.clone());
    }

    /// What the disk has, whatever happens.
    #[cfg(test)]
    pub(super) fn on_disk(&self) -> Option<State> {
        self.on_disk.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Notes that every required sink has the lines up to this one.
    pub(super) fn acknowledge(&self, last: Position) -> Answer {
        self.acknowledged.store(last.sequence, Ordering::Relaxed);
        self.note(false, |state| state.acknowledged = last)
    }

    /// Nothing comes any more: another process may go on. `complete`: every required sink has everything, which is noted.
    pub(super) fn end(&self, complete: bool) {
        // What cannot be noted is logged: the next start will say that this end was not in order. The disk has it in any case: the last
        // batches leave their spools after this.
        let _ = self.note(true, |state| state.clean = complete && state.acknowledged == state.issued);
        let syncer = {
            let mut noted = self.noted();
            noted.file = None;
            noted.syncer.take()
        };
        drop(syncer);
    }

    /// Fails while the state cannot be written.
    pub(super) fn ready(&self) -> Answer {
        self.failure().clone().map_or(Ok(()), |why| Err(Unrecorded(why)))
    }

    /// Tries once more to write the state.
    pub(super) fn retry(&self) -> Answer {
        self.note(true, |_| {})
    }

    /// What would be on the disk now.
    #[cfg(test)]
    pub(super) fn state(&self) -> State {
        self.noted().state.clone()
    }

    fn note(&self, sync: bool, change: impl FnOnce(&mut State)) -> Answer {
        let mut noted = self.noted();
        let Noted { file, syncer, state } = &mut *noted;
        change(state);
        let Some(file) = file else { return Ok(()) };
        let written = syncer.as_ref().map_or(Ok(()), Syncer::outcome).and_then(|()| file.write(state));
        let written = written.and_then(|()| if sync { file.sync() } else { Ok(()) });
        if let Some(syncer) = syncer {
            syncer.written(&file.itself());
        }
        #[cfg(test)]
        if sync && written.is_ok() {
            self.is_on_disk(state);
        }
        let mut failure = self.failure();
        match written {
            Ok(()) => {
                if failure.take().is_some() {
                    tracing::warn!("the state of the event chain can be written again");
                }
                Ok(())
            }
            Err(error) => {
                let why = format!("the state of the event chain: {error}");
                if failure.is_none() {
                    tracing::error!("cannot write {why}; trying again each second");
                }
                *failure = Some(why.clone());
                Err(Unrecorded(why))
            }
        }
    }

    fn noted(&self) -> MutexGuard<'_, Noted> {
        self.noted.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn failure(&self) -> MutexGuard<'_, Option<String>> {
        self.failure.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::fs::{self, Permissions};
    use std::os::unix::fs::PermissionsExt;
    use std::time::Instant;

    use super::super::SigningKey;
    use super::super::chain::Hash;
    use super::*;

    fn ledger(folder: &Path, promise: Promise) -> Arc<Ledger> {
        let key = SigningKey::private_in(folder);
        fs::write(&key, SigningKey::make().unwrap().private.as_bytes()).unwrap();
        fs::set_permissions(&key, Permissions::from_mode(0o600)).unwrap();
        let settings = ChainSettings {
            folder: folder.to_owned(),
            checkpoint_every: Duration::from_secs(60),
            self_check: None,
            witness: None,
        };
        Opening::of(&settings, &OnDisk::default(), promise).unwrap().ledger
    }

    fn at(sequence: u64) -> Position {
        Position { sequence, hash: Hash::START }
    }

    #[test]
    fn the_disk_knows_of_lines_as_soon_as_is_promised() {
        for (promise, known) in [(Promise::BeforeTheyLeave, None), (Promise::Before, Some(at(1)))] {
            let folder = tempfile::tempdir().unwrap();
            let ledger = ledger(folder.path(), promise);
            ledger.issue(at(1), false).unwrap();
            assert_eq!(ledger.on_disk().map(|state| state.issued), known);
            ledger.issue(at(2), false).unwrap();
            ledger.sync().unwrap();
            assert_eq!(ledger.on_disk().unwrap().issued, at(2));
        }
    }

    /// Who brings it to the disk keeps the file open until then.
    #[test]
    fn what_is_shown_at_once_is_noted_on_the_disk_soon_after() {
        let folder = tempfile::tempdir().unwrap();
        let ledger = ledger(folder.path(), Promise::SoonAfter);
        let file = ledger.noted().file.as_ref().unwrap().itself();
        ledger.issue(at(1), false).unwrap();
        assert_eq!(Arc::strong_count(&file), 3, "it waits to be brought to the disk");
        let started = Instant::now();
        while Arc::strong_count(&file) == 3 {
            assert!(started.elapsed() < Duration::from_secs(60));
            std::thread::sleep(Duration::from_millis(10));
        }
        assert!(started.elapsed() >= SOON / 2);
        // The end lets go of the file, also when something waits.
        ledger.issue(at(2), false).unwrap();
        ledger.end(false);
        assert_eq!(Arc::strong_count(&file), 1);
    }

    #[test]
    fn nothing_leaves_while_the_state_cannot_be_written() {
        let folder = tempfile::tempdir().unwrap();
        std::os::unix::fs::symlink("/dev/full", folder.path().join("chain")).unwrap();
        let ledger = ledger(folder.path(), Promise::BeforeTheyLeave);
        ledger.issue(at(1), false).unwrap_err();
        assert!(ledger.sync().unwrap_err().to_string().contains("the state of the event chain"));
    }
}
