//! The Elastic Common Schema, read by an engine for rules: rules for SSH logins, by the fields that public ones read, fire on a
//! real brute force and on nothing else.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};

use super::Place;
use crate::support::process::{LIMIT, run_with, tool};

fn place() -> (Place, PathBuf) {
    let mut place = Place::new();
    let file = place.setup.folder().join("ecs");
    place.sinks(json!([{ "sink": "file", "path": file, "format": "ecs" }]));
    place.setup.limit("auth_attempts", 100);
    (place, file)
}

/// How often each rule fires.
fn fired(events: &Path) -> BTreeMap<String, usize> {
    let here = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/sinks");
    let rules = std::env::var_os("LOCKGATE_RULES").map_or_else(|| here.join("ssh_rules.eql"), PathBuf::from);
    let mut python = Command::new(tool("receivers/bin/python"));
    python.arg("-B").arg(here.join("rules.py")).arg(rules).arg(events);
    let mut fired = BTreeMap::new();
    for name in run_with(&mut python, b"", LIMIT).succeeded().stdout.lines() {
        *fired.entry(name.to_owned()).or_insert(0) += 1;
    }
    fired
}

/// Sixty keys that are not the user's, and then, with luck, one that is.
#[test]
fn rules_fire_on_a_real_brute_force() {
    let (place, file) = place();
    let gateway = place.setup.start();
    let strangers: Vec<_> = (0..60).map(|number| place.setup.key(&format!("stranger{number}"))).collect();
    let mut client = gateway.keyless("alice").with("PubkeyAuthentication=yes");
    for key in strangers.iter().chain([&place.key]) {
        client = client.identity(&key.private);
    }
    client.sftp("ls /\n").succeeded();
    gateway.stop();
    assert_eq!(fired(&file).into_keys().collect::<Vec<_>>(), ["guessed", "guessing"]);
}

/// People who have several keys, log in often, and are refused now and then.
#[test]
fn rules_are_silent_on_a_day_of_work() {
    let (place, file) = place();
    let gateway = place.setup.start();
    let others: Vec<_> = (0..3).map(|number| place.setup.key(&format!("other{number}"))).collect();
    for hour in 0..8 {
        let mut client = gateway.keyless("alice").with("PubkeyAuthentication=yes");
        for key in others.iter().take(hour % 4).chain([&place.key]) {
            client = client.identity(&key.private);
        }
        client.sftp("mkdir /d\nls /d\nrmdir /d\n").succeeded();
    }
    gateway.client("nobody", &others[0]).sftp("ls\n").failed();
    gateway.stop();
    let events: Vec<Value> =
        fs::read_to_string(&file).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let outcomes = |outcome: &str| {
        let logins = events.iter().filter(|event| event["event"]["action"] == "ssh_login");
        logins.filter(|event| event["event"]["outcome"] == outcome).count()
    };
    assert_eq!((outcomes("success"), outcomes("failure") > 10), (8, true));
    assert_eq!(fired(&file), BTreeMap::new());
    assert_eq!(events.len(), place.recorded().len());
}
