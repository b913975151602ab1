//! How sessions at targets end: with the connection that they came through, by an administrator, by time, by a drain. Each open
//! file is on record before.

use std::io::Write;
use std::process::Stdio;

use rustix::process::Signal;
use serde_json::json;

use super::{Bastion, bastion, bastion_with, is_at_target};
use crate::support::data::{MIB, write_noise};
use crate::support::events::field;
use crate::support::process::{LIMIT, Running, until};

/// An upload to the target that goes on until its input ends; it is open on the gateway.
fn upload(door: &Bastion) -> std::process::Child {
    let mut command = door.command("ssh");
    command.args(["target-host-A", "scp -t /"]).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let input = child.stdin.as_mut().unwrap();
    input.write_all(b"C0644 1000000 big\n").unwrap();
    input.write_all(&[7; 100_000]).unwrap();
    input.flush().unwrap();
    door.gateway.events.await_event("OPEN", |event| field(event, "account") == "deploy");
    child
}

/// PARTIAL_CLOSE of the file, then the end at the target, then the end of the connection; these two.
#[track_caller]
fn ended_in_order(door: &Bastion) -> (serde_json::Value, serde_json::Value) {
    let ends = door.ends(2);
    let all = door.gateway.events.all();
    let place =
        |fits: &dyn Fn(&serde_json::Value) -> bool| all.iter().position(fits).unwrap_or_else(|| panic!("{all:#?}"));
    let cut = place(&|event| field(event, "activity-type") == "PARTIAL_CLOSE");
    let inner = place(&|event| event == &ends[0]);
    assert!(cut < inner, "{all:#?}");
    assert_eq!(field(&ends[0], "jump-session-id"), field(&ends[1], "session-id"), "{ends:#?}");
    (ends[0].clone(), ends[1].clone())
}

#[test]
fn a_client_that_is_killed_ends_both_and_the_open_file_is_on_record() {
    let door = bastion();
    let mut child = upload(&door);
    // The jump's own ssh is a child of it, and goes when its input does.
    child.kill().unwrap();
    child.wait().unwrap();
    let (inner, outer) = ended_in_order(&door);
    assert_eq!((field(&inner, "reason"), field(&outer, "reason")), ("client", "client"));
    assert!(!door.root.join("web/big").exists());
    door.gateway.stop();
}

#[test]
fn an_administrator_ends_a_session_at_a_target_alone_or_with_the_connection_under_it() {
    for is_outer in [false, true] {
        let door = bastion_with(|setup, alice| {
            setup.config["admin"] = json!({ "socket": setup.folder().join("admin.sock") });
            alice
        });
        let mut child = upload(&door);
        let connected = door.gateway.events.of_type("CONNECTED");
        let id = connected.iter().find(|event| is_at_target(event) != is_outer).unwrap();
        let socket = door.setup.folder().join("admin.sock");
        let mut command = crate::support::gateway::lockgate();
        command.args(["sessions", "end", field(id, "session-id"), "--reason", "key reported stolen", "--socket"]);
        crate::support::process::run(command.arg(socket)).succeeded();
        let (inner, outer) = ended_in_order(&door);
        assert_eq!((field(&inner, "reason"), field(&inner, "message")), ("administrator", "key reported stolen"));
        assert_ne!(field(&inner, "ended-by"), "", "{inner}");
        assert_eq!(field(&outer, "reason"), if is_outer { "administrator" } else { "client" });
        let _ = child.kill();
        child.wait().unwrap();
        door.gateway.stop();
    }
}

#[test]
fn a_drain_waits_for_transfers_at_targets() {
    let door = bastion();
    let mut child = upload(&door);
    let mut gateway = door.gateway;
    gateway.signal(Signal::TERM);
    until("the drain", LIMIT, || gateway.log().contains("drain").then_some(()));
    assert!(!gateway.has_ended());
    let mut input = child.stdin.take().unwrap();
    input.write_all(&vec![7; 900_000]).unwrap();
    input.write_all(&[0]).unwrap();
    drop(input);
    let status = gateway.ended(LIMIT);
    assert!(status.success());
    child.wait().unwrap();
    assert_eq!(std::fs::metadata(door.root.join("web/big")).unwrap().len(), 1_000_000);
    let ends = gateway.events.of_type("DISCONNECTED");
    assert_eq!(ends.len(), 2);
    assert!(ends.iter().all(|end| ["server", "client"].contains(&field(end, "reason"))), "{ends:#?}");
}

#[test]
fn a_session_at_a_target_that_does_nothing_ends_by_its_own_time() {
    let door = bastion_with(|setup, alice| {
        setup.limit("idle", "2s");
        alice
    });
    let mut session = door.session("target-host-A");
    let end = door.end_at_target();
    assert_eq!(field(&end, "reason"), "idle", "{end}");
    session.close_input();
    session.finish(LIMIT).says("nothing happened for 2 s");
    door.gateway.stop();
}

#[test]
fn a_users_limit_of_sessions_counts_jumps_apart() {
    let door = bastion_with(|_, alice| alice.set("sessions", 1));
    let session = door.session("target-host-A");
    door.sftp("target-host-A", "ls\n").failed();
    let refused = door.gateway.events.await_event("AUTH_FAILURE", |_| true);
    assert_eq!(field(&refused, "reason"), "too-many-sessions", "{refused}");
    drop(session);
    door.gateway.stop();
}

#[test]
fn a_download_that_is_not_taken_at_one_target_holds_up_nobody_on_the_same_connection() {
    let door = bastion_with(|setup, alice| {
        setup.limit("stall", "2s");
        alice
    });
    write_noise(&door.root.join("web/big"), 64 * MIB, 1);
    let master = door.share_connection();
    let mut stuck = Running::start(door.command("ssh").args(["target-host-A", "scp -f /big"]));
    stuck.feed(b"\0\0");
    door.gateway.events.await_event("OPEN", |event| field(event, "account") == "deploy");
    stuck.freeze();
    for n in 0..3 {
        door.sftp("target-host-A", &format!("mkdir /d{n}\n")).succeeded();
        std::thread::sleep(std::time::Duration::from_secs(1));
    }
    assert_eq!(door.gateway.events.of_type("PARTIAL_CLOSE").len(), 0, "it is left alone");
    stuck.wake();
    drop(stuck);
    // The shared connection does not always tell of a client that was killed.
    drop(master);
    door.gateway.events.await_event("PARTIAL_CLOSE", |event| field(event, "account") == "deploy");
    door.gateway.stop();
}
