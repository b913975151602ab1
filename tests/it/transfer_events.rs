//! One OPEN and one end for each transfer, with the right numbers; and the other operations on record.

use std::fs;

use serde_json::Value;

use crate::support::data::{SMALL_FILE, noise, write_noise};
use crate::support::events::{field, types};
use crate::support::gateway::Gateway;
use crate::support::keys::Key;
use crate::support::process::{LIMIT, Running, program, run_with};
use crate::support::setup::{Setup, User};

struct Door {
    setup: Setup,
    gateway: Gateway,
    key: Key,
    root: std::path::PathBuf,
}

fn door() -> Door {
    let mut setup = Setup::new();
    let root = setup.local_store("disk");
    let key = setup.key("alice");
    setup.user(User::new("alice").key(&key).home("/", "disk:/home/${user}"));
    let gateway = setup.start();
    Door { setup, gateway, key, root }
}

fn of_type<'a>(events: &'a [Value], activity: &str) -> Vec<&'a Value> {
    events.iter().filter(|e| field(e, "activity-type") == activity).collect()
}

fn sha256(bytes: &[u8]) -> String {
    run_with(&mut program("sha256sum"), bytes, LIMIT).succeeded().stdout[..64].to_string()
}

#[test]
fn a_transfer_is_one_open_and_one_close_in_either_protocol() {
    let Door { setup, gateway, key, .. } = door();
    let alice = gateway.client("alice", &key);
    let bytes = noise((3 << 20) + 5, 1);
    let file = setup.folder().join("file");
    fs::write(&file, &bytes).unwrap();
    let back = setup.folder().join("back");
    let (file, back) = (file.to_str().unwrap(), back.to_str().unwrap());
    let remote = alice.remote("/f");
    for (i, (protocol, arguments)) in [
        ("sftp", vec![file, remote.as_str()]),
        ("sftp", vec![remote.as_str(), back]),
        ("scp", vec!["-O", file, remote.as_str()]),
        ("scp", vec!["-O", remote.as_str(), back]),
    ]
    .into_iter()
    .enumerate()
    {
        let upload = i % 2 == 0;
        alice.scp(&arguments).succeeded();
        let events = gateway.events.await_disconnected(i + 1);
        let transfer: Vec<&str> =
            types(&events).into_iter().filter(|t| ["OPEN", "CLOSE", "PARTIAL_CLOSE"].contains(t)).collect();
        assert_eq!(transfer, ["OPEN", "CLOSE"], "{events:#?}");
        let (open, close) = (of_type(&events, "OPEN")[0], of_type(&events, "CLOSE")[0]);
        for event in [open, close] {
            assert_eq!(field(event, "protocol"), protocol, "{event}");
            assert_eq!(field(event, "path"), "/disk/home/alice/f", "{event}");
            assert_eq!(field(event, "logical-path"), "/f", "{event}");
            assert_eq!(field(event, "operation"), if upload { "write" } else { "read" }, "{event}");
            assert_eq!(field(event, "status"), "success", "{event}");
            assert!(event["duration-ms"].is_u64(), "{event}");
        }
        let mode = field(open, "mode");
        if upload {
            // scp that speaks SFTP writes in place and cuts to length at the end.
            assert_eq!(mode, if protocol == "sftp" { "CREATE|WRITE" } else { "CREATE|TRUNCATE|WRITE" });
            assert_eq!(field(close, "bytes-in"), bytes.len().to_string());
        } else {
            assert_eq!(mode, "READ");
            assert_eq!(field(close, "bytes-out"), bytes.len().to_string());
        }
        assert_eq!(field(close, "sha256"), sha256(&bytes));
        let end = events.last().unwrap();
        let numbers = ["bytes-in", "bytes-out", "files-in", "files-out"].map(|name| number(end, name));
        let length = bytes.len() as u64;
        assert_eq!(numbers, if upload { [length, 0, 1, 0] } else { [0, length, 0, 1] }, "{end}");
        assert_eq!((field(end, "reason"), field(end, "protocol")), ("client", protocol), "{end}");
    }
    gateway.stop();
}

/// A number that Transfer Family writes as a string and we as a number.
fn number(event: &Value, name: &str) -> u64 {
    let value = &event[name];
    value.as_u64().or_else(|| value.as_str()?.parse().ok()).unwrap_or_else(|| panic!("{name} in {event}"))
}

#[test]
fn the_mode_is_what_the_client_asked_for() {
    let Door { setup, gateway, key, .. } = door();
    let back = setup.folder().join("back");
    let script = format!("put {SMALL_FILE} /f\nget /f {}\n", back.display());
    gateway.client("alice", &key).sftp(&script).succeeded();
    let events = gateway.events.await_disconnected(1);
    let modes: Vec<(&str, &str)> =
        of_type(&events, "OPEN").into_iter().map(|e| (field(e, "logical-path"), field(e, "mode"))).collect();
    assert!(modes.contains(&("/f", "CREATE|TRUNCATE|WRITE")) && modes.contains(&("/f", "READ")), "{modes:?}");
    gateway.stop();
}

#[test]
fn a_tree_is_one_pair_for_each_file() {
    let Door { setup, gateway, key, .. } = door();
    let alice = gateway.client("alice", &key);
    let tree = setup.subfolder("tree");
    for i in 0..40 {
        write_noise(&tree.join(format!("{i}")), i * 1000, i + 1);
    }
    for flags in [&["-r"][..], &["-O", "-r"]] {
        let before = gateway.events.all().len();
        let mut arguments: Vec<String> = flags.iter().map(|f| f.to_string()).collect();
        arguments.extend([tree.to_str().unwrap().to_string(), alice.remote(&format!("/{}", flags.len()))]);
        alice.scp(&arguments).succeeded();
        let events = gateway.events.until("DISCONNECTED", |events| {
            let new = &events[before..];
            new.iter().any(|e| field(e, "activity-type") == "DISCONNECTED").then(|| new.to_vec())
        });
        for activity in ["OPEN", "CLOSE"] {
            let mut names: Vec<&str> =
                of_type(&events, activity).into_iter().map(|e| field(e, "logical-path")).collect();
            names.sort_unstable();
            let mut unique = names.clone();
            unique.dedup();
            assert_eq!((names.len(), unique.len()), (40, 40), "{activity}: {names:?}");
        }
        assert_eq!(number(events.last().unwrap(), "files-in"), 40);
    }
    gateway.stop();
}

#[test]
fn a_client_killed_in_a_transfer_leaves_one_partial_close() {
    let Door { setup, gateway, key, root } = door();
    let alice = gateway.client("alice", &key);
    let file = setup.folder().join("file");
    write_noise(&file, 40 << 20, 1);
    alice.sftp(&format!("put {} /stored\n", file.display())).succeeded();
    gateway.events.await_disconnected(1);
    let back = setup.folder().join("back");
    let local = file.to_str().unwrap();
    let cases = [
        ("put", vec![local.to_string(), alice.remote("/up")]),
        ("get", vec![alice.remote("/stored"), back.to_str().unwrap().into()]),
        ("put", vec!["-O".into(), local.into(), alice.remote("/up")]),
        ("get", vec!["-O".into(), alice.remote("/stored"), back.to_str().unwrap().into()]),
    ];
    for (i, (direction, arguments)) in cases.into_iter().enumerate() {
        let before = gateway.events.all().len();
        let mut slow = Running::start(alice.command("scp").args(["-l", "4000"]).args(&arguments));
        gateway
            .events
            .until("OPEN", |events| events[before..].iter().any(|e| field(e, "activity-type") == "OPEN").then_some(()));
        std::thread::sleep(std::time::Duration::from_millis(700));
        slow.kill();
        let events = gateway.events.await_disconnected(i + 2);
        let transfer: Vec<&str> =
            types(&events).into_iter().filter(|t| ["OPEN", "CLOSE", "PARTIAL_CLOSE"].contains(t)).collect();
        assert_eq!(transfer, ["OPEN", "PARTIAL_CLOSE"], "{direction} {arguments:?}: {events:#?}");
        let end = of_type(&events, "PARTIAL_CLOSE")[0];
        let moved = number(end, if direction == "put" { "bytes-in" } else { "bytes-out" });
        assert!(moved < 40 << 20, "not all of it: {end}");
        assert_ne!(field(end, "status"), "success", "{end}");
        assert!(!root.join("home/alice/up").exists(), "{direction}: nothing is published");
    }
    gateway.stop();
}

#[test]
fn operations_are_on_record_whether_they_succeed_or_not() {
    let Door { setup, gateway, key, .. } = door();
    let alice = gateway.client("alice", &key);
    let file = setup.folder().join("file");
    fs::write(&file, "bytes").unwrap();
    // A dash before a command: go on when it fails.
    let script = format!(
        "put {} /a\nmkdir /d\n-mkdir /d\nrename /a /d/b\n-rename /no /where\nls /d\n-rmdir /d\nchmod 600 /d/b\n\
         rm /d/b\n-rm /d/b\nrmdir /d\n-ln -s /x /y\n-ln /x /y\n-get /no {0}\n",
        file.display()
    );
    alice.sftp(&script).succeeded();
    let events = gateway.events.await_disconnected(1);
    let seen: Vec<(&str, bool, &str)> = events
        .iter()
        .filter(|e| !["CONNECTED", "DISCONNECTED"].contains(&field(e, "activity-type")))
        .map(|e| (field(e, "activity-type"), field(e, "status") == "success", field(e, "logical-path")))
        .collect();
    for expected in [
        ("OPEN", true, "/a"),
        ("CLOSE", true, "/a"),
        ("MKDIR", true, "/d"),
        ("MKDIR", false, "/d"),
        ("RENAME", true, "/a"),
        ("LIST", true, "/d"),
        ("RMDIR", false, "/d"),
        ("SETSTAT", true, "/d/b"),
        ("DELETE", true, "/d/b"),
        ("RMDIR", true, "/d"),
    ] {
        assert!(seen.contains(&expected), "no {expected:?} in {seen:#?}");
    }
    let rename = of_type(&events, "RENAME")[0];
    assert_eq!(field(rename, "path"), "/disk/home/alice/a");
    assert_eq!(field(rename, "new-path"), "/disk/home/alice/d/b");
    for failed in events.iter().filter(|e| !["success", ""].contains(&field(e, "status"))) {
        assert_ne!(field(failed, "message"), "", "a failure says why: {failed}");
    }
    assert_eq!(of_type(&events, "LIST").len(), 1, "one event for a listing");
    gateway.stop();
}

#[test]
fn events_go_to_a_file_too() {
    let mut setup = Setup::new();
    setup.memory_store("main");
    let key = setup.key("alice");
    setup.user(User::new("alice").key(&key).home("/", "main:/"));
    let path = setup.folder().join("events.ndjson");
    setup.config["events"] = serde_json::json!([{ "sink": "stdout" }, { "sink": "file", "path": path }]);
    for round in 1..=2 {
        let gateway = setup.start();
        gateway.client("alice", &key).sftp(&format!("put {SMALL_FILE} /f\n")).succeeded();
        gateway.events.await_disconnected(1);
        let lines: Vec<Value> =
            fs::read_to_string(&path).unwrap().lines().map(|l| serde_json::from_str(l).unwrap()).collect();
        let here = gateway.events.all();
        assert!(lines.ends_with(&here), "the same events in the same order, after those of earlier runs");
        assert!(round == 1 || lines.len() > here.len(), "the file is appended to");
        gateway.stop();
    }
}
