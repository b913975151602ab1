//! The programs that people really use, each doing what it can: files up and down, trees up and down, names.
//!
//! Every result is checked in the store's folder, past the gateway.

#![allow(clippy::unwrap_used, clippy::expect_used)]

#[path = "clients/curl.rs"]
mod curl;
#[path = "clients/filezilla.rs"]
mod filezilla;
#[path = "clients/java.rs"]
mod java;
#[path = "clients/lftp.rs"]
mod lftp;
#[path = "clients/node.rs"]
mod node;
#[path = "clients/openssh.rs"]
mod openssh;
#[path = "clients/putty.rs"]
mod putty;
#[path = "clients/python.rs"]
mod python;
#[path = "clients/rclone.rs"]
mod rclone;
#[path = "clients/rekeying.rs"]
mod rekeying;
#[path = "clients/scp_protocol.rs"]
mod scp_protocol;
#[path = "clients/sequences.rs"]
mod sequences;
#[path = "clients/sshfs.rs"]
mod sshfs;
#[path = "support/mod.rs"]
mod support;

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use support::client::Client;
use support::data::{MIB, assert_same_bytes, assert_same_tree, write_noise, write_tree};
use support::events::field;
use support::gateway::Gateway;
use support::keys::Key;
use support::setup::{Setup, User};

/// One user, whose home is a local store.
struct Place {
    setup: Setup,
    gateway: Gateway,
    key: Key,
    root: PathBuf,
}

fn place() -> Place {
    place_with(|_| {})
}

fn place_with(change: impl Fn(&mut Setup)) -> Place {
    let mut setup = Setup::new();
    let root = setup.local_store("main");
    let key = setup.key("alice");
    setup.user(User::new("alice").key(&key).home("/", "main:/"));
    change(&mut setup);
    let gateway = setup.start();
    Place { setup, gateway, key, root }
}

impl Place {
    fn client(&self) -> Client {
        self.gateway.client("alice", &self.key)
    }

    fn port(&self) -> String {
        self.gateway.port.to_string()
    }

    fn local(&self, name: &str) -> PathBuf {
        self.setup.folder().join(name)
    }
}

/// Remote paths are absolute; local ones too.
trait Files {
    fn put(&self, local: &str, remote: &str);
    fn get(&self, remote: &str, local: &str);
}

/// The last component is that of the target and is not there yet.
trait Trees {
    fn put_tree(&self, local: &str, remote: &str);
    fn get_tree(&self, remote: &str, local: &str);
}

trait Names {
    /// Some text in which each name stands.
    fn list(&self, remote: &str) -> String;
    fn rename(&self, from: &str, to: &str);
    fn remove(&self, remote: &str);
    fn mkdir(&self, remote: &str);
}

/// A client of a library: a program of `tests/clients/` that does one operation, given by its name and its paths.
trait Scripted {
    /// What it prints.
    fn run(&self, arguments: &[&str]) -> String;
}

impl<S: Scripted> Files for S {
    fn put(&self, local: &str, remote: &str) {
        self.run(&["put", local, remote]);
    }

    fn get(&self, remote: &str, local: &str) {
        self.run(&["get", remote, local]);
    }
}

impl<S: Scripted> Trees for S {
    fn put_tree(&self, local: &str, remote: &str) {
        self.run(&["put_tree", local, remote]);
    }

    fn get_tree(&self, remote: &str, local: &str) {
        self.run(&["get_tree", remote, local]);
    }
}

impl<S: Scripted> Names for S {
    fn list(&self, remote: &str) -> String {
        self.run(&["list", remote])
    }

    fn rename(&self, from: &str, to: &str) {
        self.run(&["rename", from, to]);
    }

    fn remove(&self, remote: &str) {
        self.run(&["remove", remote]);
    }

    fn mkdir(&self, remote: &str) {
        self.run(&["mkdir", remote]);
    }
}

/// An empty file, one of a single byte, a small one, one of several parts; each twice, so that the second replaces.
#[track_caller]
fn check_files(place: &Place, program: &impl Files) {
    for (i, length) in [0, 1, 1000, 6 * MIB + 1].into_iter().enumerate() {
        for round in 0..2 {
            let source = place.local("source");
            write_noise(&source, length, 10 * i as u64 + round);
            let remote = format!("/file {i}.bin");
            program.put(source.to_str().unwrap(), &remote);
            assert_same_bytes(&place.root.join(&remote[1..]), &source);
            let back = place.local("back");
            program.get(&remote, back.to_str().unwrap());
            assert_same_bytes(&back, &source);
            fs::remove_file(back).unwrap();
        }
    }
    assert_all_closed(place);
}

#[track_caller]
fn check_trees(place: &Place, program: &impl Trees) {
    let tree = place.setup.subfolder("tree");
    write_tree(&tree);
    program.put_tree(tree.to_str().unwrap(), "/tree");
    assert_same_tree(&place.root.join("tree"), &tree);
    let back = place.local("tree-back");
    program.get_tree("/tree", back.to_str().unwrap());
    assert_same_tree(&back, &tree);
    assert_all_closed(place);
}

#[track_caller]
fn check_names(place: &Place, program: &impl Names) {
    for i in 0..300 {
        fs::write(place.root.join(format!("name-{i:03}")), "x").unwrap();
    }
    program.mkdir("/folder");
    assert!(place.root.join("folder").is_dir());
    let list = program.list("/");
    let missing: Vec<String> = (0..300).map(|i| format!("name-{i:03}")).filter(|n| !list.contains(n)).collect();
    assert!(missing.is_empty() && list.contains("folder"), "missing {missing:?} in\n{list}");
    program.rename("/name-000", "/folder/renamed");
    assert!(!place.root.join("name-000").exists() && place.root.join("folder/renamed").is_file());
    program.remove("/folder/renamed");
    assert!(!place.root.join("folder/renamed").exists());
    let empty = program.list("/folder");
    assert!(!empty.contains("renamed"), "{empty}");
}

/// An upload and a download that were cut off in the middle are resumed: `put` and `get` continue what lies there.
#[track_caller]
fn check_resume(place: &Place, put: impl Fn(&str, &str), get: impl Fn(&str, &str)) {
    let source = place.local("resumed");
    write_noise(&source, 6 * MIB + 1, 77);
    let whole = fs::read(&source).unwrap();
    fs::write(place.root.join("resumed"), &whole[..2_500_000]).unwrap();
    put(source.to_str().unwrap(), "/resumed");
    assert_same_bytes(&place.root.join("resumed"), &source);
    let sent = place.gateway.events.until("end of the upload", |events| {
        let of_upload = |event: &&serde_json::Value| {
            field(event, "operation") == "write" && field(event, "activity-type") == "CLOSE"
        };
        events.iter().rfind(of_upload).map(|event| field(event, "bytes-in").parse::<u64>().unwrap())
    });
    assert!(sent < 4 * MIB, "{sent} bytes were sent: not resumed");
    let back = place.local("resumed-back");
    fs::write(&back, &whole[..2_500_000]).unwrap();
    get("/resumed", back.to_str().unwrap());
    assert_same_bytes(&back, &source);
}

/// In seconds since 1970.
#[track_caller]
fn mtime(file: &Path) -> u64 {
    let modified = fs::metadata(file).unwrap().modified().unwrap();
    modified.duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs()
}

#[track_caller]
fn set_mtime(path: &Path, seconds: u64) {
    fs::File::open(path).unwrap().set_modified(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)).unwrap();
}

/// Every transfer that was opened has ended as it should. A client may leave without closing a file that it has read to the
/// end (lftp does): that is a PARTIAL_CLOSE of a download, never of an upload.
#[track_caller]
fn assert_all_closed(place: &Place) {
    place.gateway.events.until("end of every transfer", |events| {
        let succeeded = |kind: &str| {
            events.iter().filter(|e| field(e, "activity-type") == kind && field(e, "status") == "success").count()
        };
        let cut_off = events.iter().filter(|e| field(e, "activity-type") == "PARTIAL_CLOSE").count();
        (succeeded("OPEN") == succeeded("CLOSE") + cut_off).then_some(())
    });
    for cut_off in place.gateway.events.of_type("PARTIAL_CLOSE") {
        assert_eq!(field(&cut_off, "operation"), "read", "{cut_off}");
    }
}
