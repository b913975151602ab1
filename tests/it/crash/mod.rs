//! The gateway dies at random moments under mixed load, and comes back: what was acknowledged is whole, what was not is there
//! as a whole or not at all, and nothing is left over.

mod audit;
mod model;
mod store;
mod worker;

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;
use std::sync::Barrier;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::json;

use crate::support::campaign::{Dice, report, seed, short_or_long};
use crate::support::content::Content;
use crate::support::files::Files;
use crate::support::gateway::Gateway;
use crate::support::keys::Key;
use crate::support::process::LIMIT;
use crate::support::s3::S3Store;
use crate::support::setup::{Setup, User};
use audit::Audit;
use model::{Fact, Operation, Pending};
use store::{Seen, look, names_in};
use worker::{Progress, Round, Worker};

const WORKERS: u64 = 4;

/// The workers who jump through the gateway to a target, whose home is the same: one that obeys and one that does not.
const JUMPERS: [u64; 2] = [1, 2];

/// Where they jump to.
const TARGET: &str = "192.168.1.10:22";

/// Each so many rounds every file is read, not only those that the last round touched.
const FULL_CHECK: u64 = 20;

struct Campaign {
    setup: Setup,
    key: Key,
    local: PathBuf,
    s3: S3Store,
    workers: Vec<Worker>,
    /// The contents that each shared name may have.
    shared: Vec<(String, Vec<Fact>)>,
    round: Round,
    audit: Audit,
    dice: Dice,
    checked: u64,
    acknowledged: u64,
    pending_done: u64,
    pending_undone: u64,
}

impl Campaign {
    fn new(seed: u64) -> Campaign {
        let mut setup = Setup::new();
        let (local, s3) = (setup.local_store("disk"), setup.s3_store("lake"));
        let key = setup.key("alice");
        let grant = json!([{ "target": "web", "accounts": ["deploy"] }]);
        setup.user(User::new("alice").key(&key).home("/local", "disk:/").home("/s3", "lake:/").set("targets", grant));
        let home = json!([{ "entry": "/local", "target": "disk:/" }, { "entry": "/s3", "target": "lake:/" }]);
        let accounts = json!([{ "name": "deploy", "home": home }]);
        setup.config["targets"] = json!([{ "name": "web", "addresses": [TARGET], "accounts": accounts }]);
        let events = setup.folder().join("events.ndjson");
        // Small files: the gateway dies while it ends one, compresses one or removes one, too.
        let rotate = json!({ "size": "64KiB" });
        setup.config["events"] = json!([{ "sink": "file", "path": events, "rotate": rotate, "gzip": true }]);
        let keys = setup.audit_folder();
        setup.config["audit"]["checkpoint_every"] = "1s".into();
        setup.limit("drain", "10s");
        Campaign {
            setup,
            key,
            local,
            s3,
            workers: (0..WORKERS).map(|number| Worker::new(number, seed)).collect(),
            shared: ["/local/shared", "/s3/shared"].map(|path| (path.to_string(), vec![Fact::Absent])).into(),
            round: Round::default(),
            audit: Audit::of(events, &keys),
            dice: Dice::new(seed),
            checked: 0,
            acknowledged: 0,
            pending_done: 0,
            pending_undone: 0,
        }
    }

    /// Puts load on the gateway; `end` ends it, some time after all connections stand.
    fn load(&mut self, gateway: &Gateway, end: impl FnOnce(&Round)) {
        self.round.ending.store(false, Ordering::Release);
        let client = gateway.client("alice", &self.key);
        let jumping = gateway.client("deploy", &self.key).jumping(&client, TARGET);
        let ready = Barrier::new(self.workers.len() + 1);
        let pause = Duration::from_micros(1000 * self.dice.below(900) + self.dice.below(1000));
        let (round, ready) = (&self.round, &ready);
        thread::scope(|scope| {
            for worker in &mut self.workers {
                let client = if JUMPERS.contains(&worker.number) { &jumping } else { &client };
                scope.spawn(move || {
                    let mut session = Files::connect(client, LIMIT);
                    ready.wait();
                    worker.work(&mut session, round);
                });
            }
            ready.wait();
            thread::sleep(pause);
            end(round);
        });
    }

    /// Compares everything in the stores with what the workers know, and takes note of what became of what was not
    /// acknowledged. `all` reads every file, not only those that the last round touched.
    fn check(&mut self, all: bool) {
        let names = names_in(&self.local, &self.s3);
        let mut workers = std::mem::take(&mut self.workers);
        for worker in &mut workers {
            self.settle_pending(worker);
            let touched: BTreeSet<&str> = worker.acknowledged.iter().flat_map(Operation::paths).collect();
            for (path, fact) in &worker.facts {
                self.check_name(path, *fact, names.get(path).copied(), all || touched.contains(path.as_str()));
            }
            self.acknowledged += worker.acknowledged.len() as u64;
        }
        self.settle_shared(&mut workers);
        for path in names.keys() {
            let known =
                self.shared.iter().any(|(p, _)| p == path) || workers.iter().any(|w| w.facts.contains_key(path));
            assert!(known, "{path} appeared out of nothing");
        }
        self.audit.check(&workers);
        for worker in &mut workers {
            worker.acknowledged.clear();
            (worker.pending, worker.pending_is_done) = (None, false);
            worker.shared.clear();
        }
        self.workers = workers;
    }

    fn check_name(&mut self, path: &str, fact: Fact, seen: Option<Seen>, read: bool) {
        let right = match (fact, seen) {
            (Fact::Absent, None) | (Fact::Directory, Some(Seen::Directory)) => true,
            (Fact::File(content), Some(Seen::File(length))) => content.length == length,
            _ => false,
        };
        assert!(right, "{path} ought to be {fact:?} and is {seen:?}");
        if read && let Fact::File(_) = fact {
            assert_eq!(look(path, &self.local, &self.s3), fact, "{path}");
            self.checked += 1;
        }
    }

    fn settle_pending(&mut self, worker: &mut Worker) {
        let Some(pending) = &worker.pending else { return };
        let outcomes = pending.outcomes(&worker.facts);
        let found: Vec<(String, Fact)> =
            outcomes[0].iter().map(|(path, _)| (path.clone(), look(path, &self.local, &self.s3))).collect();
        let Some(which) = outcomes.iter().position(|outcome| *outcome == found) else {
            let Pending { operation, closing } = pending;
            panic!("{operation:?} (closing: {closing}) left {found:?}; allowed is any of {outcomes:?}");
        };
        self.checked += found.len() as u64;
        worker.pending_is_done = which + 1 == outcomes.len() && which > 0;
        if worker.pending_is_done {
            self.pending_done += 1
        } else {
            self.pending_undone += 1
        }
        worker.facts.extend(found);
    }

    fn settle_shared(&mut self, workers: &mut [Worker]) {
        let mut shared = std::mem::take(&mut self.shared);
        for (path, allowed) in &mut shared {
            let uploads = || workers.iter().flat_map(|w| &w.shared).filter(|(p, ..)| p == path);
            if uploads().any(|(.., progress)| *progress == Progress::Acknowledged) {
                allowed.clear();
            }
            allowed.extend(uploads().filter(|u| u.2 != Progress::Begun).map(|(_, content, _)| Fact::File(*content)));
            self.acknowledged += uploads().filter(|u| u.2 == Progress::Acknowledged).count() as u64;
            let found = look(path, &self.local, &self.s3);
            assert!(allowed.contains(&found), "{path} is {found:?}; allowed is any of {allowed:?}");
            *allowed = vec![found];
            self.checked += 1;
        }
        self.shared = shared;
    }

    /// What a gateway that has started leaves of its predecessor.
    fn check_leftovers(&self) {
        // In the staging folder lies the journal of uploads of the gateway that lives, and of no other.
        for (folder, journals) in [(self.local.join(".lockgate/uploads"), 0), (self.setup.folder().join("staging"), 1)]
        {
            let left: Vec<_> = fs::read_dir(&folder).expect("the folder").map(|e| e.unwrap().file_name()).collect();
            let ours = left.iter().filter(|name| name.to_string_lossy().starts_with("lockgate-uploads-")).count();
            assert!(left.len() == journals && ours == journals, "{} has {left:?}", folder.display());
        }
        self.s3.await_sweep_of_parts();
    }

    fn report(&self, what: &str, rounds: u64, started: Instant) {
        report(&format!(
            "{what}: {rounds} times; {} operations acknowledged ({} changes on record at a target), {} files read and compared; of what was not acknowledged \
             {} were done and {} not; {} event lines, {} torn ones, {} files ended, {} lines missing before a start that says \
             so; {} s",
            self.acknowledged,
            self.audit.at_target,
            self.checked,
            self.pending_done,
            self.pending_undone,
            self.audit.trail.lines,
            self.audit.trail.torn,
            self.audit.trail.ended(),
            self.audit.trail.chain.missing,
            started.elapsed().as_secs()
        ));
    }
}

#[test]
fn nothing_acknowledged_is_lost_when_the_gateway_is_killed() {
    let (seed, started) = (seed(), Instant::now());
    let kills = short_or_long(4, 300);
    report(&format!("crash campaign with LOCKGATE_SEED={seed}"));
    let mut campaign = Campaign::new(seed);
    for kill in 1..=kills {
        let gateway = campaign.setup.start();
        campaign.check_leftovers();
        campaign.check(kill % FULL_CHECK == 0);
        campaign.load(&gateway, |_| gateway.signal(Signal::KILL));
        gateway.kill();
    }
    let gateway = campaign.setup.start();
    campaign.check_leftovers();
    campaign.check(true);
    gateway.stop();
    assert_eq!(campaign.audit.trail.chain.cuts, kills, "each start but the first comes after a cut");
    assert!(campaign.audit.at_target > 0, "nobody did anything at the target");
    campaign.report("killed with SIGKILL", kills, started);
}

#[test]
fn nothing_is_truncated_when_the_gateway_is_told_to_end() {
    let (seed, started) = (seed(), Instant::now());
    let ends = short_or_long(2, 30);
    report(&format!("campaign of SIGTERM with LOCKGATE_SEED={seed}"));
    let mut campaign = Campaign::new(seed);
    for _ in 0..ends {
        let mut gateway = campaign.setup.start();
        for worker in &mut campaign.workers {
            worker.obedient = worker.number % 2 == 0;
        }
        campaign.load(&gateway, |round| {
            round.ending.store(true, Ordering::Release);
            gateway.signal(Signal::TERM);
        });
        let status = gateway.ended(LIMIT);
        assert_eq!(status.code(), Some(0), "{}", gateway.log());
        for worker in campaign.workers.iter().filter(|w| w.obedient) {
            assert!(worker.pending.is_none(), "worker {}: {:?} was cut", worker.number, worker.pending);
        }
        campaign.check(true);
        assert_eq!(campaign.s3.unfinished_uploads(), 0, "parts of uploads that were cut are left");
    }
    assert_eq!((campaign.audit.trail.chain.cuts, campaign.audit.trail.chain.missing), (0, 0), "each end was in order");
    campaign.report("ended with SIGTERM", ends, started);
}

#[test]
fn a_mixed_file_is_noticed() {
    let folder = crate::support::server::folder();
    let (old, new) = (Content::new(1, 5000), Content::new(2, 5000));
    let path = folder.path().join("file");
    let judge = |bytes: &[u8]| {
        fs::write(&path, bytes).unwrap();
        crate::support::content::recognize(fs::File::open(&path).unwrap())
    };
    assert_eq!(judge(&new.bytes()), Ok(new));
    judge(&new.bytes()[..4999]).unwrap_err();
    judge(&[&new.bytes()[..3000], &old.bytes()[3000..]].concat()).unwrap_err();
    judge(&[new.bytes(), vec![0]].concat()).unwrap_err();
}
