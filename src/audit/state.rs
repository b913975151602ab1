//! The state of a chain on disk: how far it was issued and how far it is known to be kept.
//!
//! The file has two slots, written in turn: each is one line of text that ends in its own SHA-256. A write that was cut leaves
//! the other slot whole, and that is the one before. The file is locked while a process uses it.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;
use std::sync::Arc;

use rustix::fs::{FlockOperation, flock};
use uuid::Uuid;

use super::chain::{Hash, Position};
use super::signing::judge_file;
use crate::regular_file;

/// The name of the file in the folder of the chain.
const NAME: &str = "chain";
/// The file beside it that says which chain was begun there: the state alone can be taken away unseen where no file of events is left.
const BEGUN: &str = "chain.begun";
/// The largest of those that is read, in bytes.
const MAX_BEGUN: u64 = 1024;
/// The first word of a slot: what it is, and the version of its form.
const FORM: &str = "lockgate-chain-1";
/// Bytes of a slot; a page each, so that no write touches the other one.
const SLOT: usize = 4096;
/// Bytes that are written of a slot: the line, and spaces after it.
const WRITTEN: usize = 384;

/// What the file says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct State {
    /// Which chain.
    pub(super) chain: Uuid,
    /// The last line that was on its way to a sink, or may have been.
    pub(super) issued: Position,
    /// The last line of which it was known that every required sink had it.
    pub(super) acknowledged: Position,
    /// Whether the process ended in order: it will issue nothing more.
    pub(super) clean: bool,
}

/// What was found in the file.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// It is new.
    Nothing,
    /// The latest state that is whole.
    State(State),
    /// There was something, and neither slot is whole.
    Unreadable,
}

/// The open and locked file.
#[derive(Debug)]
pub(super) struct StateFile {
    file: Arc<File>,
    generation: u64,
}

impl StateFile {
    /// Opens the file of a folder, or makes it, and locks it.
    ///
    /// # Errors
    /// A sentence with the file's name; another process that uses it is one of them.
    pub(super) fn open(folder: &Path) -> io::Result<(StateFile, Found)> {
        let path = folder.join(NAME);
        let named = |error: io::Error| io::Error::new(error.kind(), format!("{}: {error}", path.display()));
        let mut options = OpenOptions::new();
        let file =
            options.read(true).write(true).create(true).truncate(false).mode(0o600).open(&path).map_err(named)?;
        flock(&file, FlockOperation::NonBlockingLockExclusive).map_err(|error| match error {
            rustix::io::Errno::WOULDBLOCK => io::Error::new(
                io::ErrorKind::ResourceBusy,
                format!(
                    "another process uses the chain of {}; give each gateway an audit.folder of its own",
                    folder.display()
                ),
            ),
            error => named(error.into()),
        })?;
        let slots = [0, 1].map(|slot| read_slot(&file, slot).map_err(named));
        let [first, second] = slots;
        let latest = [first?, second?].into_iter().flatten().max_by_key(|(generation, _)| *generation);
        let is_new = file.metadata().map_err(named)?.len() == 0;
        let (generation, found) = match latest {
            Some((generation, state)) => (generation, Found::State(state)),
            None if is_new => (0, Found::Nothing),
            None => (0, Found::Unreadable),
        };
        Ok((StateFile { file: Arc::new(file), generation }, found))
    }

    /// Whether nobody else may change the file of a folder, as far as it is there.
    ///
    /// # Errors
    /// A sentence that names the file, what is wrong with it, and what to do.
    pub(super) fn judge(folder: &Path) -> Result<(), String> {
        let path = folder.join(NAME);
        let Ok(found) = path.metadata() else { return Ok(()) };
        if found.is_file() { judge_file(&path, &found) } else { Ok(()) }
    }

    /// Which chain was begun in a folder, whether its state is there or not. One that cannot be read counts as one.
    pub(super) fn begun_in(folder: &Path) -> Option<String> {
        match regular_file::read_text(&folder.join(BEGUN), MAX_BEGUN) {
            Ok(chain) => Some(chain.trim().to_owned()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => Some(format!("({BEGUN}: {error})")),
        }
    }

    /// Notes which chain is begun in a folder.
    ///
    /// # Errors
    /// What the system says, with the file's name.
    pub(super) fn begin_in(folder: &Path, chain: Uuid) -> io::Result<()> {
        let (path, beside) = (folder.join(BEGUN), folder.join(format!("{BEGUN}.new")));
        let named = |error: io::Error| io::Error::new(error.kind(), format!("{}: {error}", path.display()));
        let mut options = OpenOptions::new();
        let mut file = options.write(true).create(true).truncate(true).mode(0o600).open(&beside).map_err(named)?;
        file.write_all(format!("{chain}\n").as_bytes()).and_then(|()| file.sync_all()).map_err(named)?;
        std::fs::rename(&beside, &path).map_err(named)
    }

    /// Replaces the older slot.
    ///
    /// # Errors
    /// What the system says; the newer slot is as it was.
    pub(super) fn write(&mut self, state: &State) -> io::Result<()> {
        let generation = self.generation + 1;
        let slot = u64::from(generation % 2 == 1) * SLOT as u64;
        self.file.write_all_at(&to_slot(generation, state), slot)?;
        self.generation = generation;
        Ok(())
    }

    /// The file itself, to be brought to the disk by who does not hold up the next write. The lock lasts as long as this is kept.
    pub(super) fn itself(&self) -> Arc<File> {
        Arc::clone(&self.file)
    }

    /// Returns when what was written has reached the disk.
    ///
    /// # Errors
    /// What the system says.
    pub(super) fn sync(&self) -> io::Result<()> {
        self.file.sync_data()
    }
}

/// How far the state of a folder says that its chain is recorded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Noted {
    /// The chain's id.
    pub chain: String,
    /// The last line that every required sink has.
    pub acknowledged: Position,
}

impl Noted {
    /// Reads the state of a folder, which a gateway may be writing meanwhile.
    ///
    /// # Errors
    /// A sentence that names the file.
    pub fn read(folder: &Path) -> Result<Noted, String> {
        let path = folder.join(NAME);
        let failed = |error: io::Error| format!("the state {} cannot be read: {error}", path.display());
        let flags = rustix::fs::OFlags::NONBLOCK.bits().cast_signed();
        let file = OpenOptions::new().read(true).custom_flags(flags).open(&path).map_err(failed)?;
        let slots = [read_slot(&file, 0).map_err(failed)?, read_slot(&file, 1).map_err(failed)?];
        let latest = slots.into_iter().flatten().max_by_key(|(generation, _)| *generation);
        let (_, State { chain, acknowledged, .. }) =
            latest.ok_or_else(|| format!("{} is not the state of a chain", path.display()))?;
        Ok(Noted { chain: chain.to_string(), acknowledged })
    }
}

fn to_slot(generation: u64, state: &State) -> [u8; WRITTEN] {
    let ended = if state.clean { "ended" } else { "running" };
    let State { chain, issued, acknowledged, .. } = state;
    let words = |at: &Position| format!("{} {}", at.sequence, at.hash);
    let line = format!("{FORM} {generation} {chain} {} {} {ended}", words(issued), words(acknowledged));
    let line = format!("{line} {}\n", Hash::of_line(line.as_bytes()));
    let mut slot = [b' '; WRITTEN];
    // At most 16 + 20 + 36 + 20 + 64 + 20 + 64 + 7 + 64 characters and the spaces between them.
    slot.iter_mut().zip(line.bytes()).for_each(|(place, byte)| *place = byte);
    slot
}

fn read_slot(file: &File, slot: u64) -> io::Result<Option<(u64, State)>> {
    let mut bytes = [0; WRITTEN];
    match file.read_exact_at(&mut bytes, slot * SLOT as u64) {
        Ok(()) => Ok(from_slot(&bytes)),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(None),
        Err(error) => Err(error),
    }
}

fn from_slot(bytes: &[u8]) -> Option<(u64, State)> {
    let (line, _) = std::str::from_utf8(bytes).ok()?.split_once('\n')?;
    let (line, sum) = line.rsplit_once(' ')?;
    if sum.parse() != Ok(Hash::of_line(line.as_bytes())) {
        return None;
    }
    let mut words = line.split(' ');
    if words.next()? != FORM {
        return None;
    }
    let generation = words.next()?.parse().ok()?;
    let chain = words.next()?.parse().ok()?;
    let mut position = || Some(Position { sequence: words.next()?.parse().ok()?, hash: words.next()?.parse().ok()? });
    let (issued, acknowledged) = (position()?, position()?);
    let clean = match words.next()? {
        "ended" => true,
        "running" => false,
        _ => return None,
    };
    Some((generation, State { chain, issued, acknowledged, clean }))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use std::fs;

    use super::*;

    fn state(sequence: u64) -> State {
        let at = |sequence: u64| Position { sequence, hash: Hash::of_line(&sequence.to_le_bytes()) };
        State { chain: Uuid::nil(), issued: at(sequence), acknowledged: at(sequence / 2), clean: false }
    }

    fn found(folder: &Path) -> Found {
        StateFile::open(folder).unwrap().1
    }

    #[test]
    fn the_last_state_is_found_again() {
        let folder = tempfile::tempdir().unwrap();
        let (mut file, nothing) = StateFile::open(folder.path()).unwrap();
        assert_eq!(nothing, Found::Nothing);
        let largest = Position { sequence: u64::MAX, ..state(1).issued };
        for state in
            [state(1), state(2), State { issued: largest, acknowledged: largest, clean: true, chain: Uuid::max() }]
        {
            file.write(&state).unwrap();
            file.sync().unwrap();
            drop(file);
            let (again, latest) = StateFile::open(folder.path()).unwrap();
            assert_eq!(latest, Found::State(state));
            file = again;
        }
    }

    #[test]
    fn a_write_that_was_cut_anywhere_leaves_the_state_before() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(NAME);
        let (mut file, _) = StateFile::open(folder.path()).unwrap();
        for sequence in 1..=3 {
            file.write(&state(sequence)).unwrap();
        }
        drop(file);
        let before = fs::read(&path).unwrap();
        let fresh = to_slot(4, &state(4));
        for cut in 0..=WRITTEN {
            let mut torn = before.clone();
            torn[..cut].copy_from_slice(&fresh[..cut]);
            fs::write(&path, &torn).unwrap();
            let is_whole = torn[..WRITTEN] == fresh;
            assert_eq!(found(folder.path()), Found::State(state(if is_whole { 4 } else { 3 })), "cut at {cut}");
        }
    }

    #[test]
    fn a_file_without_a_whole_slot_is_said_to_be_so() {
        let folder = tempfile::tempdir().unwrap();
        for wrong in ["x".to_owned(), "x".repeat(3 * SLOT), format!("{FORM} 1\n")] {
            fs::write(folder.path().join(NAME), wrong).unwrap();
            assert_eq!(found(folder.path()), Found::Unreadable);
        }
    }

    #[test]
    fn a_folder_has_one_user() {
        let folder = tempfile::tempdir().unwrap();
        let first = StateFile::open(folder.path()).unwrap();
        let error = StateFile::open(folder.path()).unwrap_err();
        assert!(error.to_string().contains("another process uses the chain of"), "{error}");
        drop(first);
        StateFile::open(folder.path()).unwrap();
        let missing = StateFile::open(&folder.path().join("missing")).unwrap_err();
        assert!(missing.to_string().contains("missing/chain: "), "{missing}");
    }
}
