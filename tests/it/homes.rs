//! Homes: several entries on several stores with permissions, and users who cannot see each other.

use std::fs;

use serde_json::json;

use crate::support::data::SMALL_FILE;
use crate::support::events::field;
use crate::support::setup::{Setup, User};

/// A local store for the home, a memory store to drop things into, an S3 store that one writes and the other reads.
#[test]
fn entries_lie_on_different_stores_and_each_keeps_its_permissions() {
    let mut setup = Setup::new();
    let root = setup.local_store("disk");
    setup.memory_store("box");
    let lake = setup.s3_store("lake");
    let (alice_key, bob_key) = (setup.key("alice"), setup.key("bob"));
    setup.user(
        User::new("alice")
            .key(&alice_key)
            .home("/", "disk:/home/${user}")
            .home_with("/incoming", "box:/in/${user}", json!(["list", "write"]))
            .home_with("/reports", "lake:/reports", json!("read_only"))
            .home_with("/deep/er/drop", "box:/drop", json!("write_only")),
    );
    setup.user(User::new("bob").key(&bob_key).home("/out", "lake:/reports"));
    let gateway = setup.start();
    let alice = gateway.client("alice", &alice_key);
    let bob = gateway.client("bob", &bob_key);
    let file = setup.folder().join("file");
    fs::write(&file, "some bytes").unwrap();
    let put = |path: &str| format!("put {} {path}\n", file.display());
    let got = setup.folder().join("got");
    let get = |path: &str| format!("get {path} {}\n", got.display());

    bob.sftp(&put("/out/q3.txt")).succeeded();
    assert_eq!(lake.keys(), ["reports/q3.txt"]);
    alice.sftp(&(put("/own.txt") + &put("/incoming/new.txt") + &get("/own.txt") + &get("/reports/q3.txt"))).succeeded();
    assert_eq!(fs::read_to_string(&got).unwrap(), "some bytes");
    assert!(root.join("home/alice/own.txt").is_file());

    let list = alice.sftp("ls -1 /\nls -1 /incoming\nls -1 /deep\n").succeeded().stdout;
    for name in ["/own.txt", "/incoming", "/reports", "/deep", "/incoming/new.txt", "/deep/er"] {
        assert_eq!(list.lines().filter(|l| *l == name).count(), 1, "{name} in\n{list}");
    }

    for (script, why) in [
        (put("/reports/mine.txt"), "write to a read-only entry"),
        ("rm /reports/q3.txt\n".into(), "delete in a read-only entry"),
        ("rename /reports/q3.txt /reports/q4.txt\n".into(), "rename in a read-only entry"),
        ("rename /reports/q3.txt /q3.txt\n".into(), "move out of a read-only entry"),
        ("mkdir /reports/folder\n".into(), "mkdir in a read-only entry"),
        (get("/incoming/new.txt"), "read from a drop box"),
        (put("/incoming/new.txt"), "overwrite in a drop box"),
        ("rm /incoming/new.txt\n".into(), "delete in a drop box"),
        ("rmdir /incoming\n".into(), "remove an entry of the home"),
        ("rename /incoming /outgoing\n".into(), "rename an entry of the home"),
        ("ls /deep/er/drop\n".into(), "list where only writing is allowed"),
    ] {
        let refused = alice.sftp(&script).failed();
        assert!(!refused.stderr.trim().is_empty(), "{why}: {refused}");
    }
    alice.sftp(&put("/deep/er/drop/x")).succeeded();
    // A line in a batch that begins with a dash may fail: the reading of a file that cannot be listed.
    alice.sftp(&get("/deep/er/drop/x")).failed();

    // Each refusal is on record with what was asked and where.
    let denied: Vec<_> = gateway.events.all().into_iter().filter(|e| field(e, "status") == "denied").collect();
    for (activity, path) in [
        ("OPEN", "/reports/mine.txt"),
        ("DELETE", "/reports/q3.txt"),
        ("RENAME", "/reports/q3.txt"),
        ("MKDIR", "/reports/folder"),
        ("OPEN", "/incoming/new.txt"),
        ("RMDIR", "/incoming"),
    ] {
        let found = denied.iter().find(|e| field(e, "activity-type") == activity && field(e, "logical-path") == path);
        assert!(found.is_some(), "no denied {activity} of {path} in {denied:#?}");
    }
    gateway.stop();
}

#[test]
fn a_home_without_a_root_is_a_virtual_directory() {
    let mut setup = Setup::new();
    setup.memory_store("a");
    setup.memory_store("b");
    let key = setup.key("alice");
    setup.user(User::new("alice").key(&key).home("/x/one", "a:/").home("/x/two", "b:/"));
    let gateway = setup.start();
    let alice = gateway.client("alice", &key);
    let file = setup.folder().join("file");
    fs::write(&file, "some bytes").unwrap();

    let list = alice.sftp("ls -1\nls -1 x\nls -1 x/one\n").succeeded().stdout;
    let names: Vec<&str> = list.lines().filter(|l| !l.starts_with("sftp>")).map(str::trim).collect();
    assert_eq!(names, ["x", "x/one", "x/two"]);
    alice.sftp(&format!("put {} /x/one/file\n", file.display())).succeeded();
    for place in ["/file", "/x/file", "/y/file"] {
        alice.sftp(&format!("put {} {place}\n", file.display())).failed();
    }
    for script in ["mkdir /y\n", "mkdir /x/three\n", "rmdir /x\n", "rm /x\n", "ls /y\n", "cd /y\n"] {
        alice.sftp(script).failed();
    }
    // The two stores are two.
    assert_eq!(alice.sftp("ls -1 /x/two\n").succeeded().stdout.lines().filter(|l| !l.starts_with("sftp>")).count(), 0);
    gateway.stop();
}

#[test]
fn a_file_moves_between_entries_on_different_stores() {
    let mut setup = Setup::new();
    let root = setup.local_store("disk");
    let lake = setup.s3_store("lake");
    let key = setup.key("alice");
    setup.user(User::new("alice").key(&key).home("/", "disk:/").home("/lake", "lake:/"));
    let gateway = setup.start();
    let alice = gateway.client("alice", &key);
    let file = setup.folder().join("file");
    fs::write(&file, crate::support::data::noise(6 << 20, 3)).unwrap();
    alice.sftp(&format!("put {} /a\nrename /a /lake/b\n", file.display())).succeeded();
    assert!(!root.join("a").exists());
    assert_eq!(lake.keys(), ["b"]);
    let back = setup.folder().join("back");
    alice.sftp(&format!("rename /lake/b /c\nget /c {}\n", back.display())).succeeded();
    crate::support::data::assert_same_bytes(&back, &file);
    assert_eq!(lake.keys(), Vec::<String>::new());
    gateway.stop();
}

#[test]
fn users_cannot_see_each_other() {
    for kind in ["local", "memory", "s3"] {
        let mut setup = Setup::new();
        match kind {
            "local" => drop(setup.local_store("main")),
            "memory" => setup.memory_store("main"),
            _ => drop(setup.s3_store("main")),
        }
        let (alice_key, bob_key) = (setup.key("alice"), setup.key("bob"));
        // One name begins with the other.
        setup.user(User::new("al").key(&alice_key).home("/", "main:/home/${user}"));
        setup.user(User::new("alb").key(&bob_key).home("/", "main:/home/${user}"));
        let gateway = setup.start();
        let (al, alb) = (gateway.client("al", &alice_key), gateway.client("alb", &bob_key));
        let file = setup.folder().join("file");
        fs::write(&file, "a secret").unwrap();
        alb.sftp(&format!("put {} /secret\n", file.display())).succeeded();
        let got = setup.folder().join("got");
        for path in
            ["/secret", "/../alb/secret", "../alb/secret", "/home/alb/secret", "/../../home/alb/secret", "/..b/secret"]
        {
            al.sftp(&format!("get {path} {}\n", got.display())).failed();
            al.scp(["-O", &al.remote(path), got.to_str().unwrap()]).failed();
            assert!(!got.exists(), "{kind}: {path}");
        }
        let list = al.sftp("ls -1a /\nls -1a /..\n").succeeded().stdout;
        assert!(!list.contains("secret") && !list.contains("alb"), "{kind}: {list}");
        al.sftp(&format!("put {SMALL_FILE} /../alb/mine\n")).succeeded();
        let list = alb.sftp("ls -1 /\n").succeeded().stdout;
        assert!(list.contains("secret") && !list.contains("mine"), "{kind}: {list}");
        // A key is good for its user only.
        gateway.client("alb", &alice_key).sftp("pwd\n").complained();
        gateway.stop();
    }
}

#[test]
fn a_symbolic_link_does_not_lead_out_of_a_local_store() {
    let mut setup = Setup::new();
    let root = setup.local_store("main");
    let key = setup.key("alice");
    setup.user(User::new("alice").key(&key).home("/", "main:/"));
    let outside = setup.subfolder("outside");
    fs::write(outside.join("secret"), "a secret").unwrap();
    std::os::unix::fs::symlink(&outside, root.join("folder")).unwrap();
    std::os::unix::fs::symlink(outside.join("secret"), root.join("file")).unwrap();
    let gateway = setup.start();
    let alice = gateway.client("alice", &key);
    let got = setup.folder().join("got");
    for path in ["/folder/secret", "/file", "/folder/../folder/secret"] {
        alice.sftp(&format!("get {path} {}\n", got.display())).failed();
        alice.scp(["-O", &alice.remote(path), got.to_str().unwrap()]).failed();
        assert!(!got.exists(), "{path}");
    }
    let file = setup.folder().join("mine");
    fs::write(&file, "mine").unwrap();
    alice.sftp(&format!("put {} /folder/mine\n", file.display())).failed();
    assert!(!outside.join("mine").exists());
    alice.sftp("ln -s /etc/passwd /link\n").failed();
    assert!(fs::symlink_metadata(root.join("link")).is_err());
    let refused = gateway.events.await_event("CREATE_SYMLINK", |_| true);
    assert_ne!(field(&refused, "status"), "success", "{refused}");
    gateway.stop();
}
