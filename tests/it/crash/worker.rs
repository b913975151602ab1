//! One connection's share of the load: it owns names of its own, so that it knows what they hold, and shares one per store.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use super::model::{Fact, Facts, Operation, Pending};
use crate::support::campaign::Dice;
use crate::support::content::{Content, SHORTEST};
use crate::support::data::{KIB, MIB};
use crate::support::files::{Answered, Failed, Files};

/// Names of files and of directories that each worker has in each store.
const FILES: u64 = 6;
const DIRECTORIES: u64 = 2;

/// Large enough for several parts.
const LARGE: u64 = 20 * MIB;

/// How far an upload to a shared name came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress {
    Begun,
    Closing,
    Acknowledged,
}

/// One worker and what it knows.
pub struct Worker {
    pub number: u64,
    pub facts: Facts,
    /// What was acknowledged since the last start, in order.
    pub acknowledged: Vec<Operation>,
    pub pending: Option<Pending>,
    /// What was found out of it afterwards.
    pub pending_is_done: bool,
    /// Uploads to shared names since the last start.
    pub shared: Vec<(String, Content, Progress)>,
    /// Whether it stops when it is told that the gateway is shutting down.
    pub obedient: bool,
    dice: Dice,
}

/// What all workers of a round look at.
#[derive(Debug, Default)]
pub struct Round {
    /// Numbers of contents.
    pub contents: AtomicU64,
    /// The gateway was told to end: obedient workers begin nothing new.
    pub ending: AtomicBool,
}

impl Worker {
    pub fn new(number: u64, seed: u64) -> Worker {
        let mut facts = Facts::new();
        for store in ["local", "s3"] {
            for i in 0..FILES {
                facts.insert(format!("/{store}/w{number}-f{i}"), Fact::Absent);
            }
            for i in 0..DIRECTORIES {
                facts.insert(format!("/{store}/w{number}-d{i}"), Fact::Absent);
            }
        }
        Worker {
            number,
            facts,
            acknowledged: Vec::new(),
            pending: None,
            pending_is_done: false,
            shared: Vec::new(),
            obedient: false,
            dice: Dice::new(seed ^ (number << 32)),
        }
    }

    /// Works until the connection ends, or until it is told to stop.
    pub fn work(&mut self, session: &mut Files, round: &Round) {
        while !(self.obedient && round.ending.load(Ordering::Acquire)) {
            let result = if self.dice.below(8) == 0 {
                self.write_shared(session, round)
            } else {
                let operation = self.choose(round);
                self.perform(session, operation)
            };
            match result {
                Ok(()) => {}
                Err(Failed::Lost(_)) => return,
                // A gateway that is shutting down opens no file, and says so. Anything else that was begun and refused stays pending.
                Err(Failed::Refused { message, .. })
                    if round.ending.load(Ordering::Acquire) && message.contains("shutting down") =>
                {
                    self.pending = None;
                    return;
                }
                Err(Failed::Refused { .. }) if round.ending.load(Ordering::Acquire) => return,
                Err(refused) => panic!("worker {}: {refused:?} instead of {:?}", self.number, self.pending),
            }
        }
    }

    fn perform(&mut self, session: &mut Files, operation: Operation) -> Answered<()> {
        let pending = self.pending.insert(Pending { operation: operation.clone(), closing: false });
        match &operation {
            Operation::Upload { path, content } => session.upload(path, *content, || pending.closing = true)?,
            Operation::Remove { path } => session.remove(path)?,
            Operation::Rename { from, to, replace } => session.rename(from, to, *replace)?,
            Operation::MakeDirectory { path } => session.make_directory(path)?,
            Operation::RemoveDirectory { path } => session.remove_directory(path)?,
        }
        self.pending = None;
        self.facts.extend(operation.done(&self.facts));
        self.acknowledged.push(operation);
        Ok(())
    }

    fn write_shared(&mut self, session: &mut Files, round: &Round) -> Answered<()> {
        let (path, content) = (format!("/{}/shared", self.store()), self.new_content(round));
        self.shared.push((path.clone(), content, Progress::Begun));
        let progress = &mut self.shared.last_mut().unwrap().2;
        session.upload(&path, content, || *progress = Progress::Closing)?;
        *progress = Progress::Acknowledged;
        Ok(())
    }

    fn choose(&mut self, round: &Round) -> Operation {
        let store = self.store();
        match self.dice.below(10) {
            0 => {
                let path = self.name(store, 'd', DIRECTORIES);
                match self.facts[&path] {
                    Fact::Absent => Operation::MakeDirectory { path },
                    _ => Operation::RemoveDirectory { path },
                }
            }
            1 => {
                let path = self.name(store, 'f', FILES);
                if self.facts[&path] == Fact::Absent { self.upload(path, round) } else { Operation::Remove { path } }
            }
            2 | 3 => {
                let (from, to) = (self.name(store, 'f', FILES), self.name(store, 'f', FILES));
                if from == to || self.facts[&from] == Fact::Absent {
                    return self.upload(from, round);
                }
                let replace = self.facts[&to] != Fact::Absent || self.dice.below(2) == 0;
                Operation::Rename { from, to, replace }
            }
            _ => {
                let path = self.name(store, 'f', FILES);
                self.upload(path, round)
            }
        }
    }

    fn upload(&mut self, path: String, round: &Round) -> Operation {
        Operation::Upload { path, content: self.new_content(round) }
    }

    fn new_content(&mut self, round: &Round) -> Content {
        let length = match self.dice.below(6) {
            0 => LARGE + self.dice.below(MIB),
            1 => 300 * KIB + self.dice.below(MIB),
            _ => SHORTEST + self.dice.below(100 * KIB),
        };
        Content::new(round.contents.fetch_add(1, Ordering::Relaxed) + 1, length)
    }

    fn store(&mut self) -> &'static str {
        ["local", "s3"][self.dice.below(2) as usize]
    }

    fn name(&mut self, store: &str, kind: char, count: u64) -> String {
        format!("/{store}/w{}-{kind}{}", self.number, self.dice.below(count))
    }
}
