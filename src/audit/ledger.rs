//! What is noted of the chain while it grows, and where it goes on at the start.

use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use uuid::Uuid;

use super::chain::Position;
use super::checkpoint::{LostState, Reason};
use super::queue::Answer;
use super::recovery::{End, end_of, holding_events};
use super::signer::Signer;
use super::sink::newest_of;
use super::state::{Found, State, StateFile};
use super::{ChainSettings, Unrecorded};

/// The chain of a process as it begins.
#[derive(Debug)]
pub(super) struct Opening {
    /// Where its state is noted.
    pub(super) ledger: Ledger,
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
        Opening { ledger: Ledger::new(None, state), last: Position::START, signer: Signer::default(), start: None }
    }

    /// Goes on with the chain of a folder, or begins one there. `files` are those that lines of it were appended to.
    ///
    /// # Errors
    /// When the folder or its key cannot be used, or another process uses them; the message says what to do.
    pub(super) fn of(settings: &ChainSettings, files: &[&Path]) -> io::Result<Opening> {
        let folder = &settings.folder;
        let signer = Signer::open(folder).map_err(io::Error::other)?;
        let (mut file, found) = StateFile::open(folder)?;
        let shown = folder.display();
        let (state, clean, lost) = match found {
            Found::Nothing => match what_went_on(folder, files)? {
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
            Found::State(state) => go_on(state, files)?,
        };
        note_begun(folder, &mut file, &state);
        let start = Reason::Start { clean, acknowledged: state.acknowledged, lost };
        let last = state.issued;
        // The log may be kept where the trail is not: then it witnesses how far the trail went.
        let Position { sequence, hash } = last;
        tracing::info!("the event chain {} goes on after event {sequence} ({hash})", state.chain);
        let every = Some(settings.checkpoint_every);
        let ledger = Ledger { every, ..Ledger::new(Some(file), state) };
        Ok(Opening { ledger, last, signer, start: Some(start) })
    }
}

/// What says that there was a chain before.
fn what_went_on(folder: &Path, files: &[&Path]) -> io::Result<Option<String>> {
    if let Some(file) = holding_events(files)? {
        return Ok(Some(format!("{} holds events", file.display())));
    }
    for path in files {
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
fn go_on(state: State, files: &[&Path]) -> io::Result<(State, bool, Option<LostState>)> {
    match end_of(state.issued, files)? {
        End::AsNoted => Ok((State { clean: false, ..state.clone() }, state.clean, None)),
        End::Further(issued) => {
            let (noted, found) = (state.issued.sequence, issued.sequence);
            tracing::warn!(
                "the machine lost what was noted of events {} to {found}; the event file has them",
                noted + 1
            );
            Ok((State { issued, clean: false, ..state }, false, None))
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
    noted: Mutex<Noted>,
    /// The number of the last acknowledged line. Apart from the rest, as the next.
    acknowledged: AtomicU64,
    /// Why the last write failed. Apart from the rest, so that who asks does not wait for a disk.
    failure: Mutex<Option<String>>,
}

#[derive(Debug)]
struct Noted {
    file: Option<StateFile>,
    state: State,
}

impl Ledger {
    fn new(file: Option<StateFile>, state: State) -> Ledger {
        let acknowledged = AtomicU64::new(state.acknowledged.sequence);
        let (chain, noted) = (state.chain, Mutex::new(Noted { file, state }));
        Ledger { chain, every: None, noted, acknowledged, failure: Mutex::default() }
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
        self.note(sync, |state| state.issued = last)
    }

    /// Notes that every required sink has the lines up to this one.
    pub(super) fn acknowledge(&self, last: Position) -> Answer {
        self.acknowledged.store(last.sequence, Ordering::Relaxed);
        self.note(false, |state| state.acknowledged = last)
    }

    /// Nothing comes any more: another process may go on. `complete`: every required sink has everything, which is noted.
    pub(super) fn end(&self, complete: bool) {
        if complete {
            // What cannot be noted is logged: the next start will say that this end was not in order.
            let _ = self.note(true, |state| state.clean = state.acknowledged == state.issued);
        }
        self.noted().file = None;
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
        let Noted { file, state } = &mut *noted;
        change(state);
        let Some(file) = file else { return Ok(()) };
        let written = file.write(state).and_then(|()| if sync { file.sync() } else { Ok(()) });
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
