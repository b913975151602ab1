//! Either side of an upstream store dies at random moments under load, the gateway and the server in turns: what was acknowledged is there,
//! whole, and what was not is there as a whole or not at all.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use crate::support::campaign::{Dice, report, seed, short_or_long};
use crate::support::content::{Content, SHORTEST, recognize};
use crate::support::data::{KIB, MIB};
use crate::support::files::{Failed, Files};
use crate::support::gateway::Gateway;
use crate::support::keys::Key;
use crate::support::process::{LIMIT, until};
use crate::support::setup::Setup;
use crate::support::sshd::Sshd;
use crate::upstream::{configured, unfinished};

const WORKERS: u64 = 4;

/// Names that each worker has: few, so that files replace each other.
const NAMES: u64 = 5;

/// What a name may hold; `None`: nothing has it.
type Possible = Vec<Option<Content>>;

/// A connection's share of the load, on names of its own.
struct Worker {
    number: u64,
    dice: Dice,
    facts: BTreeMap<String, Possible>,
    acknowledged: u64,
    unanswered: u64,
}

/// What all workers look at.
#[derive(Default)]
struct Round {
    contents: AtomicU64,
    is_ending: AtomicBool,
}

impl Worker {
    fn new(number: u64, seed: u64) -> Worker {
        let facts = (0..NAMES).map(|name| (format!("w{number}-f{name}"), vec![None])).collect();
        Worker { number, dice: Dice::new(seed ^ (number << 32)), facts, acknowledged: 0, unanswered: 0 }
    }

    /// Works until the connection ends, an upload fails, or it is told to stop.
    fn work(&mut self, session: &mut Files, round: &Round) {
        while !round.is_ending.load(Ordering::Acquire) {
            let name = format!("w{}-f{}", self.number, self.dice.below(NAMES));
            let (done, after) = match self.dice.below(8) {
                0 => (session.remove(&format!("/{name}")), None),
                1 => {
                    let to = format!("w{}-f{}", self.number, self.dice.below(NAMES));
                    self.rename(session, &name, &to);
                    continue;
                }
                _ => {
                    let content = self.new_content(round);
                    (session.upload(&format!("/{name}"), content, || ()), Some(content))
                }
            };
            match done {
                Ok(()) => {
                    self.acknowledged += 1;
                    self.facts.insert(name, vec![after]);
                }
                Err(failed) => {
                    self.unanswered += 1;
                    self.facts.get_mut(&name).unwrap().push(after);
                    // Of an upload that was refused, other answers are still to come on this connection.
                    if matches!(failed, Failed::Lost(_)) || after.is_some() {
                        return;
                    }
                }
            }
        }
    }

    fn rename(&mut self, session: &mut Files, from: &str, to: &str) {
        if from == to {
            return;
        }
        let moved = self.facts[from].clone();
        match session.rename(&format!("/{from}"), &format!("/{to}"), true) {
            Ok(()) => {
                self.acknowledged += 1;
                let there: Possible = moved.into_iter().filter(Option::is_some).collect();
                assert!(!there.is_empty(), "{from} was renamed, and there was nothing");
                self.facts.insert(to.to_owned(), there);
                self.facts.insert(from.to_owned(), vec![None]);
            }
            Err(_) => {
                self.unanswered += 1;
                self.facts.get_mut(from).unwrap().push(None);
                self.facts.get_mut(to).unwrap().extend(moved.into_iter().filter(Option::is_some));
            }
        }
    }

    fn new_content(&mut self, round: &Round) -> Content {
        let length = match self.dice.below(6) {
            // More than is kept until the end, so that much of it is under way at once.
            0 => 12 * MIB + self.dice.below(MIB),
            1 => 300 * KIB + self.dice.below(MIB),
            _ => SHORTEST + self.dice.below(100 * KIB),
        };
        Content::new(round.contents.fetch_add(1, Ordering::Relaxed) + 1, length)
    }
}

struct Campaign {
    setup: Setup,
    key: Key,
    sshd: Sshd,
    root: PathBuf,
    workers: Vec<Worker>,
    round: Round,
    dice: Dice,
}

impl Campaign {
    fn new(seed: u64) -> Campaign {
        let sshd = Sshd::start(&[]);
        let (setup, key, root) = configured(&sshd, &[("connect_timeout", "60s")]);
        let workers = (0..WORKERS).map(|number| Worker::new(number, seed)).collect();
        Campaign { setup, key, sshd, root, workers, round: Round::default(), dice: Dice::new(seed) }
    }

    /// Puts load on both; `kill` ends one of them, some time after all connections stand.
    fn load(&mut self, gateway: &Gateway, kill: impl FnOnce(&Sshd)) {
        self.round.is_ending.store(false, Ordering::Release);
        let client = gateway.client("alice", &self.key);
        let ready = Barrier::new(self.workers.len() + 1);
        let pause = Duration::from_micros(1000 * self.dice.below(900) + self.dice.below(1000));
        let (round, ready, sshd) = (&self.round, &ready, &self.sshd);
        thread::scope(|scope| {
            for worker in &mut self.workers {
                let client = &client;
                scope.spawn(move || {
                    let mut session = Files::connect(client, LIMIT);
                    ready.wait();
                    worker.work(&mut session, round);
                });
            }
            ready.wait();
            thread::sleep(pause);
            kill(sshd);
            round.is_ending.store(true, Ordering::Release);
        });
    }

    /// Compares what the server has with what the workers know; from then on they know what there is.
    fn check(&mut self) {
        for worker in &mut self.workers {
            for (name, possible) in &mut worker.facts {
                let found = match fs::File::open(self.root.join(name)) {
                    Ok(file) => Some(recognize(file).unwrap_or_else(|what| panic!("{name}: {what}"))),
                    Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
                    Err(error) => panic!("{name}: {error}"),
                };
                assert!(possible.contains(&found), "{name} has {found:?} and not one of {possible:?}");
                *possible = vec![found];
            }
        }
    }
}

#[test]
fn no_acknowledged_file_is_lost_when_either_side_is_killed() {
    let (rounds, seed) = (short_or_long(6, 300), seed());
    report(&format!("either side of an upstream store is killed: seed {seed}"));
    let mut campaign = Campaign::new(seed);
    let mut gateway = campaign.setup.start();
    for round in 0..rounds {
        if round % 2 == 0 {
            campaign.load(&gateway, |sshd| {
                sshd.kill();
                sshd.start_again();
            });
        } else {
            let pid = rustix::process::Pid::from_raw(gateway.pid() as i32).unwrap();
            campaign.load(&gateway, |_| {
                rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
            });
            gateway.kill();
            // What the server was asked by then, it may do still.
            until("end of its sessions", LIMIT, || (campaign.sshd.sessions() == 0).then_some(()));
            gateway = campaign.setup.start();
        }
        campaign.check();
    }
    until("removal of what was unfinished", LIMIT, || (unfinished(&campaign.root) == 0).then_some(()));
    let sum = |count: fn(&Worker) -> u64| campaign.workers.iter().map(count).sum::<u64>();
    let (acknowledged, unanswered) = (sum(|worker| worker.acknowledged), sum(|worker| worker.unanswered));
    assert!(acknowledged > 0, "nothing was ever acknowledged");
    report(&format!("{acknowledged} changes acknowledged, {unanswered} not, in {rounds} kills of either side"));
    gateway.stop();
}
