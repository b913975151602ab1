//! What a user does at a target, and what is on record of it.

use std::collections::BTreeSet;
use std::fs;

use serde_json::json;

use super::{bastion, bastion_with, is_at_target, trees_and_resumed_transfers};
use crate::support::data::{MIB, assert_same_bytes, write_noise};
use crate::support::events::field;
use crate::support::gateway::lockgate;
use crate::support::process::{LIMIT, Running, run};

#[test]
fn files_trees_and_resumed_transfers_go_to_a_target_with_the_users_own_configuration() {
    let door = bastion();
    let (file, back) = (door.setup.folder().join("file"), door.setup.folder().join("back"));
    write_noise(&file, 5 * MIB, 1);
    let here = file.to_str().unwrap();
    door.run("scp", [here, "target-host-A:/new"]).succeeded();
    assert_same_bytes(&door.root.join("web/new"), &file);
    door.run("scp", ["-O", here, "target-host-A:/old"]).succeeded();
    assert_same_bytes(&door.root.join("web/old"), &file);
    door.run("scp", ["-O", "target-host-A:/new", back.to_str().unwrap()]).succeeded();
    assert_same_bytes(&back, &file);
    door.run("scp", ["-3", "target-host-A:/new", "target-host-A:/copied"]).succeeded();
    assert_same_bytes(&door.root.join("web/copied"), &file);

    trees_and_resumed_transfers(&door, "target-host-A", "resumed");
    assert_eq!(fs::metadata(door.root.join("web/resumed")).unwrap().len(), 5 * MIB + 1);
    door.gateway.stop();
}

#[test]
fn a_target_is_reached_by_each_of_its_addresses_and_beside_the_users_own_home() {
    let door = bastion_with(|_, alice| {
        alice.set(
            "targets",
            json!([{ "group": "web", "accounts": ["*"] }, { "target": "target-host-B", "accounts": ["deploy"] }]),
        )
    });
    door.sftp("target-host-A", "mkdir /by-address\n").succeeded();
    let by_name = ["-J", "bastion", "-b", "-", "deploy@Target-Host-A.internal"];
    run(door.command("sftp").args(by_name)).succeeded();
    // The gateway's own host key, for want of another.
    door.sftp("target-host-B", "ls\n").succeeded();
    door.run("sftp", ["-J", "bastion", "-b", "/dev/null", "root@192.168.1.10"]).succeeded();
    door.sftp("bastion", "mkdir /mine\n").succeeded();
    assert!(door.root.join("web/by-address").is_dir() && door.root.join("alice/mine").is_dir());
    door.gateway.stop();
}

#[test]
fn each_event_has_the_person_the_account_the_target_and_the_session_that_was_jumped_through() {
    let door = bastion();
    let file = door.setup.folder().join("file");
    write_noise(&file, 1000, 1);
    door.run("scp", [file.to_str().unwrap(), "target-host-A:/new"]).succeeded();
    let ends = door.ends(2);
    let outer = ends.iter().find(|event| !is_at_target(event)).unwrap();
    let outer = field(outer, "session-id");
    let all = door.gateway.events.all();
    let inner: Vec<_> = all.iter().filter(|event| field(event, "jump-session-id") == outer).collect();
    let types: BTreeSet<&str> = inner.iter().map(|event| field(event, "activity-type")).collect();
    assert!(["CONNECTED", "OPEN", "CLOSE", "DISCONNECTED"].iter().all(|name| types.contains(name)), "{types:?}");
    for event in &inner {
        let facts = ["user", "account", "target", "identity"].map(|name| field(event, name));
        assert_eq!(facts, ["alice", "deploy", "target-host-A", door.key.comment()], "{event}");
        assert_eq!(field(event, "ssh-public-key-fingerprint"), door.key.fingerprint().0, "{event}");
        assert_ne!(field(event, "session-id"), outer);
    }
    let login = inner.iter().find(|event| field(event, "activity-type") == "CONNECTED").unwrap();
    assert_eq!(field(login, "method"), "inherited");
    let last = all.iter().rev().find(|event| field(event, "activity-type") == "DISCONNECTED").unwrap();
    assert_eq!(field(last, "session-id"), outer, "those at targets end first");
    door.gateway.stop();
}

#[test]
fn events_of_targets_are_found_and_a_replay_of_the_jump_shows_them() {
    let door = bastion_with(|setup, alice| {
        setup.config["events"] = json!([{ "sink": "stdout" }, { "sink": "file", "path": "events.ndjson" }]);
        alice
    });
    door.sftp("target-host-A", "mkdir /there\n").succeeded();
    door.sftp("bastion", "mkdir /here\n").succeeded();
    let ends = door.ends(3);
    let inner = ends.iter().find(|event| is_at_target(event)).unwrap();
    let outer = field(inner, "jump-session-id");
    let events = door.setup.folder().join("events.ndjson");
    let audit = |words: &[&str]| run(lockgate().arg("audit").args(words).arg(&events)).succeeded().stdout;
    let found = audit(&["search", "--target", "target-host-A", "--account", "deploy", "--activity", "MKDIR"]);
    assert!(found.contains("/there") && !found.contains("/here"), "{found}");
    assert!(!audit(&["search", "--session", outer]).contains("/there"), "another session's");
    let replayed = audit(&["replay", outer]);
    let told = replayed.lines().find(|line| line.contains("/there")).unwrap_or_default();
    assert!(told.contains("at target-host-A as deploy"), "{replayed}");
    assert!(!replayed.contains("/here"), "{replayed}");
    assert_eq!(replayed.matches("\nended").count(), 1, "{replayed}");
    let alone = audit(&["replay", field(inner, "session-id")]);
    assert!(alone.contains("/there"), "{alone}");
    door.gateway.stop();
}

#[test]
fn a_wrong_host_key_of_a_target_is_noticed_by_the_client() {
    let door = bastion();
    let other = door.setup.key("other");
    let known = door.setup.folder().join("known");
    let lines = fs::read_to_string(&known).unwrap().replace(door.host_key.blob(), other.blob());
    fs::write(&known, lines).unwrap();
    door.sftp("target-host-A", "ls\n").failed().says("Host key verification failed");
    assert_eq!(door.logins_at_targets(), 0);
    door.gateway.stop();
}

#[test]
fn several_sessions_at_targets_share_one_connection_and_run_side_by_side() {
    let door = bastion();
    let master = door.share_connection();
    let file = door.setup.folder().join("file");
    write_noise(&file, 2 * MIB, 1);
    let sessions: Vec<Running> = (0..9)
        .map(|n| {
            let remote = format!("target-host-A:/f{n}");
            Running::start(door.command("scp").args([file.to_str().unwrap(), &remote]))
        })
        .collect();
    for (n, session) in sessions.into_iter().enumerate() {
        session.finish(LIMIT).succeeded();
        assert_same_bytes(&door.root.join(format!("web/f{n}")), &file);
    }
    let outer: BTreeSet<String> = door
        .gateway
        .events
        .of_type("CONNECTED")
        .iter()
        .filter(|event| !is_at_target(event))
        .map(|event| field(event, "session-id").to_owned())
        .collect();
    assert_eq!(outer.len(), 1, "{outer:?}");
    drop(master);
    door.gateway.stop();
}

#[test]
fn who_only_jumps_needs_no_home() {
    let door = bastion_with(|setup, alice| {
        setup.user(alice.set("name", "bob"));
        let mut alone = setup.config["users"][0].clone();
        alone["name"] = "alice".into();
        alone.as_object_mut().unwrap().remove("home");
        setup.config["users"] = json!([alone]);
        crate::support::setup::User::new("carol").home("/", "main:/carol").key(&setup.key("carol"))
    });
    door.sftp("target-host-A", "mkdir /there\n").succeeded();
    door.sftp("bastion", "mkdir /here\n").failed();
    door.gateway.stop();
}

#[test]
fn an_access_review_and_the_admin_door_show_who_may_jump_where_and_who_is_there() {
    let door = bastion_with(|setup, alice| {
        setup.config["admin"] = json!({ "socket": setup.folder().join("admin.sock") });
        alice
    });
    let config = door.setup.write_config();
    let asked = |words: &[&str]| run(lockgate().args(words).arg("--config").arg(&config)).succeeded().stdout;
    let access: serde_json::Value = serde_json::from_str(&asked(&["audit", "access", "--format", "json"])).unwrap();
    let home = access["users"][0]["home"].as_array().unwrap();
    let there = json!({
        "jump-target": "target-host-A",
        "account": "deploy",
        "entry": "/",
        "target": "main:/web",
        "permissions": home[0]["permissions"],
    });
    assert_eq!(home[1..], [there], "{access:#}");
    let sheet = asked(&["audit", "access", "--format", "csv"]);
    assert!(sheet.lines().any(|line| line.ends_with(r#","target-host-A","deploy""#)), "{sheet}");

    let user = asked(&["users", "show", "alice"]);
    assert!(user.contains("deploy on the targets of web"), "{user}");
    let session = door.session("target-host-A");
    let list = asked(&["sessions", "list"]);
    assert!(list.contains("alice → deploy@"), "{list}");
    let found = door.gateway.events.of_type("CONNECTED").into_iter().find(is_at_target).unwrap();
    let shown = asked(&["sessions", "show", field(&found, "session-id")]);
    assert!(shown.contains("deploy@target-host-A") && shown.contains(field(&found, "jump-session-id")), "{shown}");
    drop(session);
    door.gateway.stop();
}
