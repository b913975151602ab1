//! What bounds connections bounds sessions at targets as well: time to log in, idle time, stalls, numbers; and a key that is revoked
//! ends both. How long a refusal takes and what it says tell nobody what is there.

use std::fs;
use std::time::Duration;

use rustix::process::Signal;
use serde_json::json;

use super::{Bastion, bastion_with, is_at_target};
use crate::support::campaign::{report, short_or_long};
use crate::support::client::Client;
use crate::support::data::{KIB, noise};
use crate::support::events::field;
use crate::support::link::Link;
use crate::support::process::{Finished, LIMIT, Running, python, run, until};
use crate::support::raw_sftp::{FOR_WRITING, RawSftp, STAT, STATUS, WRITE, string, write_body};
use crate::support::s3;

/// As much as one WRITE may carry.
const PIECE: u64 = 255 * KIB;

fn step(door: &Bastion, step: &str, rest: &[&str]) -> Finished {
    let mut command = python("jump_steps.py");
    run(command.arg(door.gateway.port.to_string()).arg(&door.key.private).arg(step).args(rest))
}

/// A gateway with this limit.
fn limited(name: &str, value: impl Into<serde_json::Value>) -> Bastion {
    bastion_with(|setup, alice| {
        setup.limit(name, value);
        alice
    })
}

/// A gateway with a target of which one folder is in a store behind a line that can be stopped.
struct Far {
    door: Bastion,
    line: Link,
    _store: s3::S3Store,
}

fn far() -> Far {
    let store = s3::new_store();
    let line = Link::to(store.port(), Duration::ZERO, 1 << 30);
    let door = bastion_with(|setup, alice| {
        setup.config["targets"][0].as_object_mut().unwrap().remove("host_keys");
        let options = store.options_through(&format!("http://127.0.0.1:{}", line.port));
        setup.store("far", json!({ "url": store.url(), "options": options }));
        let home = json!([{ "entry": "/", "target": "main:/web" }, { "entry": "/far", "target": "far:/" }]);
        setup.config["targets"][0]["accounts"][0]["home"] = home;
        setup.limit("stall", "3s");
        setup.limit("transfer_memory", "16MiB");
        alice
    });
    Far { door, line, _store: store }
}

impl Far {
    /// Who jumps over a connection that others share.
    fn jumping(&self) -> Client {
        let outer = self.door.gateway.client("alice", &self.door.key).with(&control_path(&self.door, "mux"));
        self.door.gateway.client("deploy", &self.door.key).jumping(&outer, "192.168.1.10:22")
    }

    /// Stops the line, and sends the store more than anybody takes, until the session is over.
    fn hang(&self, session: &mut RawSftp) {
        let old = session.open("/far/old", FOR_WRITING);
        let piece = noise(PIECE, 1);
        for n in 0..24 {
            session.send(WRITE, 2, &write_body(&old, n * PIECE, &piece));
            assert_eq!(session.receive().status(), 0);
        }
        assert_eq!(session.close(3, &old), 0);
        // Opened to write in the middle of what is there: the bytes before are fetched first, and they do not come.
        let handle = session.open("/far/old", 2);
        self.line.stop();
        let packet =
            |n: u64| [&[WRITE][..], &[0, 0, 1, n as u8], &write_body(&handle, 10 + n * PIECE, &piece)].concat();
        let _ = (0..64).all(|n| session.send_raw(&string(&packet(n))));
        session.read_to_end();
        self.line.go_on();
    }

    /// The end of the session that held up others. No other session has ended.
    #[track_caller]
    fn end(&self) {
        let end = self.door.end_at_target();
        assert_eq!(field(&end, "reason"), "server", "{end}");
        assert!(field(&end, "message").contains("held up the others"), "{end}");
        let ends = self.door.gateway.events.of_type("DISCONNECTED");
        assert_eq!(ends.len(), 1, "{ends:#?}");
    }
}

#[track_caller]
fn still_works(session: &mut RawSftp) {
    let answer = session.call(STAT, 7, &[&string(b"/")]);
    assert_ne!(answer.kind, STATUS, "{answer:?}");
}

#[test]
fn a_store_that_hangs_ends_the_session_at_the_target_that_it_holds_up_and_not_the_connection() {
    let far = far();
    let master = far.door.share_connection();
    let inner = far.jumping();
    let shared = inner.clone().with(&control_path(&far.door, "inner"));
    let host = shared.host();
    let both = Running::start(shared.clone().with("ControlMaster=yes").command("ssh").args(["-N", &host]));
    let socket = far.door.setup.folder().join("inner");
    until("shared session at the target", LIMIT, || socket.exists().then_some(()));
    let (mut near, mut stuck) = (RawSftp::connect(&shared, LIMIT), RawSftp::connect(&shared, LIMIT));
    // Another jump, which waits as well meanwhile.
    let mut beside = RawSftp::connect(&inner, LIMIT);
    far.hang(&mut stuck);
    near.read_to_end();
    still_works(&mut beside);
    far.end();
    // Over the same connection, the target is there as before.
    inner.sftp("mkdir /afterwards\n").succeeded();
    drop((near, stuck, beside, both, master));
    far.door.gateway.stop();
}

/// The session at the target has one channel, and holds up nobody there.
#[test]
fn a_store_that_hangs_at_one_target_ends_no_session_at_another() {
    let far = far();
    let master = far.door.share_connection();
    let inner = far.jumping();
    let (mut beside, mut stuck) = (RawSftp::connect(&inner, LIMIT), RawSftp::connect(&inner, LIMIT));
    far.hang(&mut stuck);
    still_works(&mut beside);
    far.end();
    inner.sftp("mkdir /afterwards\n").succeeded();
    drop((beside, stuck, master));
    far.door.gateway.stop();
}

/// An option of a client by which it shares a connection under this name.
fn control_path(door: &Bastion, name: &str) -> String {
    format!("ControlPath={}", door.setup.folder().join(name).display())
}

#[test]
fn who_does_not_log_in_at_a_target_in_time_loses_the_jump_and_not_the_connection() {
    let door = limited("login_grace", "15s");
    step(&door, "unfinished", &[]).succeeded();
    let ends = door.ends(4);
    let late = ends.iter().filter(|end| field(end, "reason") == "login-grace");
    assert!(late.clone().count() == 2 && late.clone().all(is_at_target), "{ends:#?}");
    let failures = door.gateway.events.of_type("AUTH_FAILURE");
    let late = failures.iter().filter(|event| field(event, "reason") == "login-grace-exceeded");
    assert!(late.clone().count() == 1 && late.clone().all(is_at_target), "{failures:#?}");
    door.gateway.stop();
}

#[test]
fn idle_sessions_at_targets_end_first_and_then_the_connection_that_has_none_left() {
    let door = limited("idle", "2s");
    let master = door.share_connection();
    let mut session = door.session("target-host-A");
    let ends = door.ends(2);
    assert!(is_at_target(&ends[0]) && !is_at_target(&ends[1]), "{ends:#?}");
    assert!(ends.iter().all(|end| field(end, "reason") == "idle"), "{ends:#?}");
    session.close_input();
    session.finish(LIMIT).says("nothing happened for 2 s");
    drop(master);
    door.gateway.stop();
}

#[test]
fn a_key_that_is_revoked_ends_the_session_at_the_target_and_the_connection() {
    let mut list = None;
    let door = bastion_with(|setup, alice| {
        let path = setup.folder().join("revoked");
        fs::write(&path, "# nobody yet\n").unwrap();
        setup.config["revoked_keys"] = json!([path]);
        list = Some(path);
        alice
    });
    let mut session = door.session("target-host-A");
    fs::write(list.unwrap(), format!("{} # stolen\n", door.key.fingerprint().0)).unwrap();
    door.gateway.signal(Signal::HUP);
    until("reload", LIMIT, || door.gateway.log().contains("reloaded").then_some(()));
    let ends = door.ends(2);
    assert_eq!(ends.iter().filter(|end| is_at_target(end)).count(), 1, "{ends:#?}");
    assert!(ends.iter().all(|end| field(end, "reason") == "key-revoked"), "{ends:#?}");
    session.close_input();
    session.finish(LIMIT).says("the key of this session was revoked");
    door.sftp("target-host-A", "ls\n").failed();
    door.gateway.stop();
}

#[test]
fn sessions_at_targets_count_for_the_limit_of_all_sessions() {
    let door = limited("sessions", 2);
    let master = door.share_connection();
    let session = door.session("target-host-A");
    door.sftp("target-host-A", "ls\n").failed();
    let refused = door.gateway.events.await_event("CONNECTION_REJECTED", |_| true);
    assert_eq!((field(&refused, "reason"), field(&refused, "target")), ("too-many-sessions", "target-host-A"));
    drop(session);
    door.end_at_target();
    until("a free place", LIMIT, || {
        let mut command = door.command("sftp");
        let tried = run(command.args(["-b", "/dev/null", "target-host-A"]));
        tried.status.success().then_some(())
    });
    drop(master);
    door.gateway.stop();
}

#[test]
fn jumps_count_for_the_limit_of_channels_until_they_end() {
    let door = bastion_with(|_, alice| alice);
    step(&door, "crowd", &[]).succeeded();
    let denied = door.gateway.events.await_event("REQUEST_DENIED", |event| field(event, "target") == "target-host-A");
    assert!(field(&denied, "message").contains("too many channels"), "{denied}");
    door.gateway.stop();
}

#[test]
fn refusals_of_what_is_there_and_of_what_is_not_are_alike() {
    let door = bastion_with(|_, alice| alice);
    let connections = short_or_long(1_usize, 60);
    let printed = step(&door, "compare", &[&connections.to_string()]).succeeded().stdout;
    let medians: Vec<f64> = printed.split_whitespace().map(|median| median.parse().unwrap()).collect();
    report(&format!("refusals of a target of others, of no target, of an account of others, of no account: {printed}"));
    // Too few say nothing of time.
    for pair in medians.chunks(2).filter(|_| connections > 1) {
        let ratio = pair[0] / pair[1];
        assert!((0.8..1.25).contains(&ratio), "{medians:?}");
    }
    // The trail knows which is which.
    let (all, of_others) = (20 * connections, 10 * connections);
    let named = door.gateway.events.until("all refusals on record", |events| {
        let denied = || events.iter().filter(|event| field(event, "activity-type") == "REQUEST_DENIED");
        (denied().count() == all).then(|| denied().filter(|event| field(event, "target") == "target-host-B").count())
    });
    assert_eq!(named, of_others);
    door.gateway.stop();
}
