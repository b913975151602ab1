//! The gateway dies at random moments of many small operations, while files end and are compressed: every operation that was
//! acknowledged is on record, and the chain holds over every cut and says where it is. `lockgate audit verify` says the same of
//! the files and of the batches in a store.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Barrier;
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::support::campaign::{Dice, report, seed, short_or_long};
use crate::support::event_files::Trail;
use crate::support::events::field;
use crate::support::files::{Failed, Files};
use crate::support::gateway::{Gateway, lockgate};
use crate::support::keys::Key;
use crate::support::process::{LIMIT, run};
use crate::support::setup::{Setup, User};

const SESSIONS: u64 = 4;

/// Makes folders in several sessions until the gateway is killed, after `pause`. Returns the names that were acknowledged.
fn work_until_killed(gateway: &Gateway, key: &Key, round: u64, pause: Duration) -> Vec<String> {
    let client = gateway.client("alice", key);
    let ready = Barrier::new(SESSIONS as usize + 1);
    thread::scope(|scope| {
        let sessions: Vec<_> = (0..SESSIONS)
            .map(|session| {
                let (client, ready) = (&client, &ready);
                scope.spawn(move || {
                    let mut files = Files::connect(client, LIMIT);
                    ready.wait();
                    let mut made = Vec::new();
                    for number in 0_u64.. {
                        let name = format!("/{round}-{session}-{number}");
                        match files.make_directory(&name) {
                            Ok(()) => made.push(name),
                            Err(Failed::Lost(_)) => break,
                            Err(refused) => panic!("{name}: {refused:?}"),
                        }
                    }
                    made
                })
            })
            .collect();
        ready.wait();
        thread::sleep(pause);
        gateway.signal(Signal::KILL);
        sessions.into_iter().flat_map(|session| session.join().expect("a session")).collect()
    })
}

/// `lockgate audit verify` finds a source that holds the whole trail in order: as many events as it says. Lines of which nobody
/// was told may be in one sink and not in the other.
fn verify(source: &[&str], keys: &Path, trail: &Trail) -> u64 {
    let mut command = lockgate();
    command.args(["audit", "verify", "--whole", "--json", "--key"]).arg(keys.join("signing_key.pub")).args(source);
    let report = run(&mut command).succeeded().stdout;
    let report: Value = serde_json::from_str(&report).unwrap_or_else(|error| panic!("{error}: {report}"));
    let [chain] = &report["chains"].as_array().unwrap()[..] else { panic!("{report:#}") };
    let number = |name: &str| chain[name].as_u64().unwrap_or_else(|| panic!("{report:#}"));
    assert_eq!((number("first"), number("last")), (1, trail.lines + trail.chain.missing), "{report:#}");
    assert_eq!(number("events") + number("cut-events"), number("last"), "{report:#}");
    number("events")
}

#[test]
fn every_acknowledged_operation_is_on_record_and_the_chain_holds_over_every_kill() {
    let (seed, started) = (seed(), Instant::now());
    let kills = short_or_long(8, 500);
    report(&format!("kills of the audit trail with LOCKGATE_SEED={seed}"));
    let mut dice = Dice::new(seed);
    let mut setup = Setup::new();
    let root = setup.local_store("disk");
    let key = setup.key("alice");
    setup.user(User::new("alice").key(&key).home("/", "disk:/"));
    let keys = setup.audit_folder();
    let path = setup.subfolder("events").join("events.ndjson");
    setup.local_store("archive");
    let mut trail = Trail::of(path.clone(), &keys);
    let (mut acknowledged, mut more) = (0, 0);
    let mut made = Vec::new();
    for round in 0..=kills {
        let fsync = ["never", "10ms", "batch"][dice.below(3) as usize];
        let file = json!({ "sink": "file", "path": path, "rotate": { "size": "64KiB" }, "gzip": true, "fsync": fsync });
        let batch = json!({ "age": "1s", "events": 500 });
        let store = json!({ "sink": "store", "target": "archive:/trail", "batch": batch, "fsync": fsync });
        setup.config["events"] = json!([file, store]);
        setup.config["audit"]["checkpoint_every"] = "1s".into();
        let gateway = setup.start();
        let mut recorded = BTreeMap::new();
        for event in trail.read() {
            if field(&event, "activity-type") == "MKDIR" && field(&event, "status") == "success" {
                let before = recorded.insert(field(&event, "logical-path").to_owned(), event["sequence"].as_u64());
                assert_eq!(before, None, "{event} appears twice");
            }
        }
        for name in &made {
            let number =
                recorded.remove(name).unwrap_or_else(|| panic!("{name} was acknowledged and is not on record"));
            assert!(number <= Some(trail.chain.acknowledged), "{name}: {number:?} of {}", trail.chain.acknowledged);
        }
        // What was done and not answered may be on record; what was not done is not.
        for name in recorded.keys() {
            assert!(root.join(name.trim_start_matches('/')).is_dir(), "{name} is on record and was not done");
        }
        (acknowledged, more) = (acknowledged + made.len(), more + recorded.len());
        if round == kills {
            gateway.stop();
            break;
        }
        let pause = Duration::from_micros(1000 * dice.below(250) + dice.below(1000));
        made = work_until_killed(&gateway, &key, round, pause);
        gateway.kill();
    }
    trail.read();
    assert_eq!(trail.chain.cuts, kills);
    assert_eq!(verify(&[path.parent().unwrap().to_str().unwrap()], &keys, &trail), trail.lines);
    let config = setup.write_config();
    let stored = verify(&["--config", config.to_str().unwrap(), "archive:/trail"], &keys, &trail);
    report(&format!(
        "killed {kills} times: {acknowledged} operations acknowledged, all on record; {more} more on record; {} lines, {} torn \
         ones, {} files ended, {} lines missing before a start that says so; {stored} lines in the store; {} s",
        trail.lines,
        trail.torn,
        trail.ended(),
        trail.chain.missing,
        started.elapsed().as_secs()
    ));
}
