//! Clients in loops, each with names of its own, which know what was acknowledged.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, SystemTime};

use crate::support::campaign::Dice;
use crate::support::client::Client;
use crate::support::content::{Content, Hash, SHORTEST};
use crate::support::data::{KIB, MIB};
use crate::support::files::{Answered, Failed, Files};
use crate::support::process::LIMIT;

/// Numbers of contents, and whether all clients end.
#[derive(Debug, Default)]
pub struct Round {
    contents: AtomicU64,
    is_over: AtomicBool,
}

impl Round {
    pub fn end(&self) {
        self.is_over.store(true, Ordering::Release);
    }

    pub fn is_over(&self) -> bool {
        self.is_over.load(Ordering::Acquire)
    }

    fn content(&self, dice: &mut Dice) -> Content {
        let length = match dice.below(6) {
            0 => 12 * MIB + dice.below(MIB),
            1 => 300 * KIB + dice.below(MIB),
            _ => SHORTEST + dice.below(100 * KIB),
        };
        Content::new(self.contents.fetch_add(1, Ordering::Relaxed) + 1, length)
    }
}

/// A client that has more files removes one: all are read in the end.
const MOST_FILES: usize = 200;

/// What one client knows.
#[derive(Debug, Default)]
pub struct Known {
    /// Files that were acknowledged and not removed.
    pub files: BTreeMap<String, Content>,
    /// All uploads that were acknowledged.
    pub uploads: BTreeMap<String, Content>,
    /// Removals that were acknowledged.
    pub removed: BTreeSet<String>,
    /// Names of which it is not known whether there is a file; if there is, it is this one, and whole.
    pub unknown: BTreeMap<String, Content>,
    /// Files that were read back.
    pub read: u64,
    /// Those that were not what was acknowledged.
    pub misread: Vec<String>,
    /// Sessions that could not be opened, or were cut, and programs that failed.
    pub cut: u64,
    /// Operations that were answered with an error.
    pub refused: Vec<Refusal>,
}

/// An error as an answer.
#[derive(Debug, Clone)]
pub struct Refusal {
    /// When the operation began and ended.
    pub during: (SystemTime, SystemTime),
    pub message: String,
}

/// Before the next try, after a session that could not be opened.
const PAUSE: Duration = Duration::from_millis(50);

/// A client that speaks SFTP by itself, several operations in a session.
pub fn packets(client: &Client, number: u64, seed: u64, round: &Round) -> Known {
    let (mut known, mut dice, mut next) = (Known::default(), Dice::new(seed ^ (number << 32)), 0);
    while !round.is_over() {
        let Ok(mut session) = Files::try_connect(client, LIMIT) else {
            known.cut += 1;
            thread::sleep(PAUSE);
            continue;
        };
        for _ in 0..=dice.below(12) {
            next += 1;
            let began = SystemTime::now();
            let done = match dice.below(5) {
                0 => known.read_back(&mut session, &mut dice),
                1 => known.remove(&mut session, &mut dice),
                _ if known.files.len() > MOST_FILES => known.remove(&mut session, &mut dice),
                _ => known.upload(&mut session, &format!("/w{number}-{next}"), round.content(&mut dice)),
            };
            match done {
                Ok(()) => {}
                Err(Failed::Lost(_)) => {
                    known.cut += 1;
                    break;
                }
                // Answers to what was sent meanwhile are still to come: such a session is of no use any more.
                Err(Failed::Refused { code, message }) => {
                    let message = format!("client {number}, operation {next}: {message} ({code})");
                    known.refused.push(Refusal { during: (began, SystemTime::now()), message });
                    break;
                }
            }
            if round.is_over() {
                break;
            }
        }
    }
    known
}

impl Known {
    fn upload(&mut self, session: &mut Files, path: &str, content: Content) -> Answered<()> {
        self.unknown.insert(path.to_owned(), content);
        session.upload(path, content, || ())?;
        self.acknowledge(path, content);
        Ok(())
    }

    fn acknowledge(&mut self, path: &str, content: Content) {
        self.unknown.remove(path);
        self.files.insert(path.to_owned(), content);
        self.uploads.insert(path.to_owned(), content);
    }

    fn any(&self, dice: &mut Dice) -> Option<(String, Content)> {
        let count = self.files.len() as u64;
        let (path, content) = self.files.iter().nth(dice.below(count.max(1)) as usize)?;
        Some((path.clone(), *content))
    }

    fn read_back(&mut self, session: &mut Files, dice: &mut Dice) -> Answered<()> {
        let Some((path, content)) = self.any(dice) else { return Ok(()) };
        let mut hash = Hash::new();
        session.read(&path, |bytes| hash.add(bytes))?;
        self.read += 1;
        if hash.finish() != content.sha256() {
            self.misread.push(path);
        }
        Ok(())
    }

    fn remove(&mut self, session: &mut Files, dice: &mut Dice) -> Answered<()> {
        let Some((path, content)) = self.any(dice) else { return Ok(()) };
        self.files.remove(&path);
        self.unknown.insert(path.clone(), content);
        session.remove(&path)?;
        self.unknown.remove(&path);
        self.removed.insert(path);
        Ok(())
    }
}

/// Programs of OpenSSH.
#[derive(Debug, Clone, Copy)]
pub enum Program {
    Sftp,
    Scp,
}

/// One program after the other, each with one file.
pub fn programs(which: Program, client: &Client, number: u64, seed: u64, round: &Round, folder: &Path) -> Known {
    let (mut known, mut dice) = (Known::default(), Dice::new(seed ^ (number << 32)));
    let local: PathBuf = folder.join(format!("local-{number}"));
    for next in 1.. {
        if round.is_over() {
            break;
        }
        let (path, content) = (format!("/w{number}-{next}"), round.content(&mut dice));
        fs::write(&local, content.bytes()).expect("room for a file");
        let finished = match which {
            Program::Sftp => client.sftp(&format!("put {} {path}\n", local.display())),
            Program::Scp => client.scp([local.display().to_string(), client.remote(&path)]),
        };
        if finished.status.success() {
            known.acknowledge(&path, content);
        } else {
            known.unknown.insert(path, content);
            known.cut += 1;
            thread::sleep(PAUSE);
        }
    }
    known
}

/// A client that only has a session, for some time, and then another one; how many it had.
pub fn sits(client: &Client, seed: u64, round: &Round) -> u64 {
    let (mut dice, mut sessions) = (Dice::new(seed), 0);
    while !round.is_over() {
        let session = Files::try_connect(client, LIMIT);
        sessions += u64::from(session.is_ok());
        let pause = if session.is_ok() { dice.below(2000) } else { 200 + dice.below(200) };
        for _ in 0..pause / 50 {
            if !round.is_over() {
                thread::sleep(Duration::from_millis(50));
            }
        }
    }
    sessions
}
