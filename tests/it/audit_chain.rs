//! The proof in the audit trail, as an operator has it: one chain over restarts and files, verified with other people's tools.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal};
use serde_json::{Value, json};

use crate::support::chain::Chain;
use crate::support::events::field;
use crate::support::gateway::{Gateway, lockgate};
use crate::support::keys::Key;
use crate::support::process::{LIMIT, program, run, until};
use crate::support::server::free_port;
use crate::support::setup::{Setup, User};

/// A gateway with a kept chain and one file of events.
fn setup(sink: Value) -> (Setup, Key) {
    let mut setup = Setup::new();
    setup.memory_store("store");
    let key = setup.key("alice");
    setup.user(User::new("alice").key(&key).home("/", "store:/"));
    setup.audit_folder();
    let mut file = json!({ "sink": "file", "path": setup.folder().join("events.ndjson") });
    file.as_object_mut().unwrap().extend(sink.as_object().unwrap().clone());
    setup.config["events"] = json!([file]);
    (setup, key)
}

/// A session of many small operations.
fn work(gateway: &Gateway, key: &Key, name: &str, count: usize) {
    let script: String = (0..count).map(|i| format!("mkdir {name}-{i}\n")).collect();
    gateway.client("alice", key).sftp(&script).succeeded();
}

fn lines(path: &Path) -> Vec<String> {
    fs::read_to_string(path).unwrap().lines().map(String::from).collect()
}

fn event(line: &str) -> Value {
    serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"))
}

/// The commands of the documentation, as they stand there, run beside `events.ndjson` and `audit/`.
fn by_hand(folder: &Path) -> Vec<String> {
    let program_of_the_example = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/verify_trail.py");
    let _ = std::os::unix::fs::symlink(program_of_the_example, folder.join("verify_trail.py"));
    let document = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/EVENTS.md")).unwrap();
    let blocks = document.split("```sh\n").skip(1).map(|rest| rest.split("```").next().unwrap());
    blocks
        .map(|block| run(program("sh").arg("-ec").arg(block).current_dir(folder)))
        .map(|finished| if finished.status.success() { finished.stdout } else { format!("failed: {finished}") })
        .collect()
}

#[test]
fn the_commands_of_the_documentation_verify_the_trail_and_see_every_change() {
    let (setup, key) = setup(json!({}));
    for _ in 0..2 {
        let gateway = setup.start();
        work(&gateway, &key, "a", 3);
        gateway.stop();
    }
    let folder = setup.folder();
    std::os::unix::fs::symlink(folder.join("made/audit"), folder.join("audit")).unwrap();
    let right = by_hand(folder);
    assert_eq!(right.len(), 3);
    assert!(right[0].contains("\nINTACT: "), "{}", right[0]);
    assert!(right[1].contains("Verified Successfully"), "{}", right[1]);
    let path = folder.join("events.ndjson");
    let lines = lines(&path);
    let last = event(lines.last().unwrap());
    assert_eq!(field(&last, "reason"), "shutdown");
    assert_eq!(format!("SHA256:{}", right[2].trim()), field(&last, "checkpoint-key"));

    let mut removed = lines.clone();
    removed.remove(3);
    let mut moved = lines.clone();
    moved.swap(3, 4);
    let mut changed = lines.clone();
    changed[3] = changed[3].replace("alice", "mallory");
    let mut added = lines.clone();
    added.insert(3, lines[2].clone());
    for wrong in [removed, moved, changed, added] {
        fs::write(&path, wrong.join("\n") + "\n").unwrap();
        let found = by_hand(folder);
        assert!(found[0].starts_with("failed: ") && found[0].contains("does not follow"), "{}", found[0]);
        assert!(found[1].contains("Verified Successfully"), "the last line is as it was");
    }
    let mut forged = lines.clone();
    let end = forged.pop().unwrap();
    forged.push(end.replace("\"reason\":\"shutdown\"", "\"reason\":\"interval\""));
    fs::write(&path, forged.join("\n") + "\n").unwrap();
    assert!(by_hand(folder)[1].starts_with("failed: "), "a forged checkpoint");
}

#[test]
fn two_gateways_on_one_folder_are_refused() {
    let (setup, key) = setup(json!({}));
    let gateway = setup.start();
    let started_with = |own: &[&str]| {
        let mut second = setup.clone();
        let at = |name: &str| setup.folder().join(format!("second-{name}"));
        second.config["server"]["listen"] = json!([format!("127.0.0.1:{}", free_port())]);
        for own in own {
            match *own {
                "staging" => second.config["limits"]["staging_folder"] = json!(at("staging")),
                "events" => second.config["events"][0]["path"] = json!(at("events.ndjson")),
                other => panic!("{other}"),
            }
        }
        let config = second.write_config();
        let second = run(lockgate().arg("serve").arg("--config").arg(&config)).failed();
        assert_eq!(second.status.code(), Some(1));
        assert!(!second.stderr.contains("listening"), "{second}");
        second
    };
    started_with(&[]).says("another gateway uses it; give each a limits.staging_folder of its own");
    let second = started_with(&["staging", "events"]).says("another process uses the chain of");
    second.says("give each gateway an audit.folder of its own");
    setup.write_config();
    work(&gateway, &key, "a", 1);
    gateway.stop();
    assert!(lines(&setup.folder().join("events.ndjson")).iter().all(|line| event(line)["clean"] != false));
}

#[test]
fn a_live_trail_is_whole_as_far_as_its_state_says() {
    let (setup, key) = setup(json!({}));
    let gateway = setup.start();
    work(&gateway, &key, "a", 3);
    let folder = setup.folder();
    let verify = |state: bool| {
        let mut command = lockgate();
        command.args(["audit", "verify", "--whole", "--key"]).arg(folder.join("made/audit/signing_key.pub"));
        if state {
            command.arg("--state").arg(folder.join("made/audit"));
        }
        run(command.arg(folder.join("events.ndjson")))
    };
    assert!(verify(true).succeeded().stdout.contains("INTACT"));
    assert!(verify(false).failed().stdout.contains("--state FOLDER"));
    gateway.stop();
    verify(true).succeeded();
    verify(false).succeeded();
    // Its end goes, up to the checkpoint of the start.
    let path = folder.join("events.ndjson");
    fs::write(&path, lines(&path)[0].clone() + "\n").unwrap();
    assert!(verify(true).failed().stdout.contains("as its state says"));
}

#[test]
fn a_state_that_is_gone_is_told_by_the_next_chain_and_in_the_log() {
    let (setup, key) = setup(json!({}));
    let gateway = setup.start();
    work(&gateway, &key, "a", 1);
    gateway.stop();
    fs::remove_file(setup.folder().join("made/audit/chain")).unwrap();
    let gateway = setup.start();
    work(&gateway, &key, "b", 1);
    gateway.stop();
    let path = setup.folder().join("events.ndjson");
    let start = lines(&path).iter().map(|line| event(line)).rfind(|line| line["reason"] == "start").unwrap();
    assert_eq!((&start["sequence"], &start["state"]), (&json!(1), &json!("missing")), "{start}");
    let mut command = lockgate();
    let told = run(command.args(["audit", "verify"]).arg(&path)).succeeded().stdout;
    assert!(told.contains("the state of the one before was missing"), "{told}");
}

/// What `audit verify` says of the trail, which is whole: it began and ended in order each time.
#[track_caller]
fn verified(setup: &Setup) -> String {
    let folder = setup.folder();
    let mut command = lockgate();
    command.args(["audit", "verify", "--whole", "--key"]).arg(folder.join("made/audit/signing_key.pub"));
    run(command.arg(folder.join("events.ndjson"))).succeeded().stdout
}

#[test]
fn a_start_that_fails_is_not_on_record_as_a_kill() {
    let (mut setup, key) = setup(json!({}));
    let gateway = setup.start();
    work(&gateway, &key, "a", 1);
    gateway.stop();
    let before = lines(&setup.folder().join("events.ndjson")).len();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let right = setup.config.clone();
    for (path, wrong, says) in [
        ("/server/listen/0", json!(taken.local_addr().unwrap().to_string()), "is in use by another program"),
        ("/server/listen/0", json!("203.0.113.1:2022"), "cannot be listened on"),
        ("/stores/store/url", json!("s3://bucket/"), "cannot be used"),
    ] {
        *setup.config.pointer_mut(path).unwrap() = wrong;
        if path.starts_with("/stores") {
            setup.config["stores"]["store"]["options"] = json!({
                "aws_endpoint": "http://127.0.0.1:9", "aws_allow_http": "true", "aws_region": "x",
                "aws_access_key_id": "x", "aws_secret_access_key": "y"
            });
        }
        let config = setup.write_config();
        for _ in 0..2 {
            run(lockgate().arg("serve").arg("--config").arg(&config)).failed().says(says);
        }
        setup.config = right.clone();
    }
    assert_eq!(lines(&setup.folder().join("events.ndjson")).len(), before, "nothing began");
    let gateway = setup.start();
    work(&gateway, &key, "b", 1);
    gateway.stop();
    assert!(!verified(&setup).contains("killed"), "{}", verified(&setup));
}

#[test]
fn a_start_that_is_stopped_ends_in_order() {
    let (setup, key) = setup(json!({}));
    let config = setup.write_config();
    for delay in (0..40).map(|step| Duration::from_millis(step * 5)) {
        let mut command = lockgate();
        command.arg("serve").arg("--config").arg(&config).stdout(Stdio::null()).stderr(Stdio::null());
        let mut child = command.spawn().unwrap();
        std::thread::sleep(delay);
        rustix::process::kill_process(Pid::from_child(&child), Signal::TERM).unwrap();
        until("its end", Duration::from_secs(60), || child.try_wait().unwrap());
    }
    let gateway = setup.start();
    work(&gateway, &key, "a", 1);
    gateway.stop();
    assert!(!verified(&setup).contains("killed"), "{}", verified(&setup));
}

#[test]
fn a_key_that_others_may_read_is_refused_and_the_check_says_so() {
    use std::os::unix::fs::PermissionsExt;
    let (setup, _) = setup(json!({}));
    let config = setup.write_config();
    run(lockgate().arg("check").arg("--config").arg(&config)).succeeded();
    let key = setup.folder().join("made/audit/signing_key");
    fs::set_permissions(&key, fs::Permissions::from_mode(0o644)).unwrap();
    let checked = run(lockgate().arg("check").arg("--config").arg(&config)).failed();
    let checked = checked.says("audit.folder: ").says("is accessible to other users (mode 0644)").says("chmod 600");
    assert_eq!(checked.status.code(), Some(1), "the configuration itself is right");
    run(lockgate().arg("serve").arg("--config").arg(&config)).failed().says("is accessible to other users");
}

/// The old files, in the order of their names, as `ls` sorts numbers.
fn old_files(folder: &Path) -> Vec<String> {
    let listed = run(program("sh").args(["-c", "ls -v events.ndjson.* || true"]).current_dir(folder)).succeeded();
    listed.stdout.lines().filter(|name| !name.ends_with(".tmp")).map(String::from).collect()
}

#[test]
fn files_that_end_under_load_hold_one_chain_that_zcat_reads_in_order() {
    let (setup, key) = setup(json!({ "rotate": { "size": "64KiB", "age": "1h" }, "gzip": true, "fsync": "batch" }));
    let gateway = setup.start();
    std::thread::scope(|scope| {
        for name in ["a", "b", "c"] {
            let (gateway, key) = (&gateway, &key);
            scope.spawn(move || work(gateway, key, name, 200));
        }
    });
    let folder = setup.folder();
    until("end of the compression", LIMIT, || {
        let old = old_files(folder);
        (old.len() >= 4 && old.iter().all(|name| name.ends_with(".gz"))).then_some(())
    });
    gateway.stop();
    let old = old_files(folder);
    let mut all = Vec::new();
    for name in &old {
        let text = run(program("gzip").arg("-dc").arg(folder.join(name))).succeeded().stdout;
        all.extend(text.lines().map(String::from));
        let end = event(all.last().unwrap());
        assert_eq!(field(&end, "reason"), "rotation", "{name}");
        assert!(name.ends_with(&format!("-{}.gz", end["sequence"])), "{name}");
    }
    all.extend(lines(&folder.join("events.ndjson")));
    let shell = "zcat -f $(ls -v events.ndjson.*) events.ndjson";
    assert_eq!(
        run(Command::new("/bin/sh").args(["-c", shell]).current_dir(folder)).succeeded().stdout,
        all.join("\n") + "\n"
    );
    let events: Vec<Value> = all.iter().map(|line| event(line)).collect();
    let mut chain = Chain::of(&folder.join("made/audit"));
    all.iter().for_each(|line| chain.follow(line));
    assert_eq!((chain.cuts, chain.missing), (0, 0));
    assert_eq!(events.iter().filter(|event| field(event, "activity-type") == "MKDIR").count(), 600);
}

#[test]
fn a_file_that_was_moved_and_its_successor_after_sighup_hold_one_chain() {
    let (setup, key) = setup(json!({}));
    let gateway = setup.start();
    let (path, moved) = (setup.folder().join("events.ndjson"), setup.folder().join("moved"));
    work(&gateway, &key, "a", 2);
    fs::rename(&path, &moved).unwrap();
    gateway.signal(Signal::HUP);
    until("new file", LIMIT, || path.exists().then_some(()));
    work(&gateway, &key, "b", 2);
    gateway.stop();
    let all = [lines(&moved), lines(&path)].concat();
    assert!(!lines(&moved).is_empty() && !lines(&path).is_empty());
    fs::write(&path, all.join("\n") + "\n").unwrap();
    std::os::unix::fs::symlink(setup.folder().join("made/audit"), setup.folder().join("audit")).unwrap();
    let found = by_hand(setup.folder());
    assert!(found[0].contains("\nINTACT: "), "{}", found[0]);
}
