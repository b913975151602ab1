//! What is behind a target: a bucket, a real OpenSSH server, and copies from one target to another.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::PathBuf;
use std::thread;

use serde_json::json;

use super::{Bastion, bastion_with, is_at_target, trees_and_resumed_transfers};
use crate::support::data::{MIB, assert_same_bytes, write_noise};
use crate::support::events::field;
use crate::support::gateway::lockgate;
use crate::support::process::run;
use crate::support::s3::S3Store;
use crate::support::sshd::Sshd;

/// A gateway whose first target is a real server, and whose second one a bucket.
struct Behind {
    door: Bastion,
    /// What the real server serves.
    real: PathBuf,
    _sshd: Sshd,
    _bucket: S3Store,
}

fn behind() -> Behind {
    let sshd = Sshd::start(&[]);
    let (mut bucket, mut real) = (None, None);
    let door = bastion_with(|setup, alice| {
        bucket = Some(setup.s3_store("vault"));
        let folder = setup.subfolder("real");
        let mut store = json!({ "url": sshd.url(&folder), "options": {} });
        for (option, value) in sshd.options() {
            store["options"][option] = value.into();
        }
        setup.store("web-1", store);
        real = Some(folder);
        setup.config["targets"][0]["accounts"][0]["home"][0]["target"] = "web-1:/".into();
        setup.config["targets"][1]["accounts"][0]["home"][0]["target"] = "vault:/of/${user}".into();
        alice.set(
            "targets",
            json!([{ "group": "web", "accounts": ["deploy"] }, { "target": "target-host-B", "accounts": ["*"] }]),
        )
    });
    Behind { door, real: real.unwrap(), _sshd: sshd, _bucket: bucket.unwrap() }
}

#[test]
fn targets_are_a_real_server_and_a_bucket_and_files_go_from_one_to_the_other() {
    let Behind { door, real, _sshd, _bucket } = behind();
    let (file, back) = (door.setup.folder().join("file"), door.setup.folder().join("back"));
    write_noise(&file, 7 * MIB + 3, 1);
    let here = file.to_str().unwrap();
    for option in ["-s", "-O"] {
        door.run("scp", [option, here, "target-host-A:/new"]).succeeded();
        assert_same_bytes(&real.join("new"), &file);
        // From the real server into the bucket, through the client.
        door.run("scp", ["-3", option, "target-host-A:/new", "target-host-B:/copied"]).succeeded();
        door.run("scp", [option, "target-host-B:/copied", back.to_str().unwrap()]).succeeded();
        assert_same_bytes(&back, &file);
        fs::remove_file(&back).unwrap();
        door.sftp("target-host-A", "rm /new\n").succeeded();
    }
    let paths: Vec<String> = door
        .gateway
        .events
        .of_type("CLOSE")
        .iter()
        .filter(|event| is_at_target(event))
        .map(|event| format!("{} {}", field(event, "target"), field(event, "path")))
        .collect();
    let is_there = |target: &str, end: &str| paths.iter().any(|path| path.starts_with(target) && path.ends_with(end));
    assert!(is_there("target-host-A", "/new") && is_there("target-host-B", "/of/alice/copied"), "{paths:#?}");
    door.gateway.stop();
}

const BOTH: [&str; 2] = ["target-host-A", "target-host-B"];

#[test]
fn trees_and_resumed_transfers_reach_a_real_server_and_a_bucket() {
    let Behind { door, real, _sshd, _bucket } = behind();
    for host in BOTH {
        trees_and_resumed_transfers(&door, host, "alone");
    }
    // Both over one connection, and side by side.
    let master = door.share_connection();
    thread::scope(|scope| {
        for host in BOTH {
            let door = &door;
            scope.spawn(move || trees_and_resumed_transfers(door, host, "shared"));
        }
    });
    assert_eq!(fs::metadata(real.join("shared")).unwrap().len(), 5 * MIB + 1);
    drop(master);
    let logins = door.gateway.events.of_type("CONNECTED");
    let mut shared = BTreeMap::<&str, BTreeSet<&str>>::new();
    for login in logins.iter().filter(|event| is_at_target(event)) {
        shared.entry(field(login, "jump-session-id")).or_default().insert(field(login, "target"));
    }
    assert!(shared.values().any(|targets| targets.len() == 2), "{shared:#?}");
    door.gateway.stop();
}

#[test]
fn the_example_is_right() {
    let folder = tempfile::tempdir().unwrap();
    let example = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/bastion");
    run(lockgate().arg("init").arg(folder.path())).succeeded();
    fs::create_dir(folder.path().join("keys")).unwrap();
    for name in ["host_ca", "keys/web-1", "keys/alice", "keys/web-1_host_key"] {
        let mut command = crate::support::process::program("ssh-keygen");
        run(command.args(["-q", "-t", "ed25519", "-N", "", "-f"]).arg(folder.path().join(name))).succeeded();
    }
    fs::copy(example.join("config.yaml"), folder.path().join("config.yaml")).unwrap();
    run(lockgate().arg("check").arg("--config").arg(folder.path().join("config.yaml"))).succeeded();
    // OpenSSH reads the users' file, and jumps.
    let config = example.join("ssh_config");
    let mut ssh = crate::support::process::program("ssh");
    let read = run(ssh.arg("-G").arg("-F").arg(&config).arg("target-host-B")).succeeded().stdout;
    assert!(read.contains("proxyjump bastion") && read.contains("hostname 192.168.1.11"), "{read}");
}
