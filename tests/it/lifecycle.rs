//! Starting, draining and stopping, as an operator does it.

use std::fs;
use std::net::TcpStream;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::json;

use crate::door::{Door, door};
use crate::support::data::{SMALL_FILE, assert_same_bytes, write_noise};
use crate::support::events::field;
use crate::support::process::{LIMIT, Running, until};
use crate::support::raw_sftp::{FOR_WRITING, HANDLE, OPEN, RawSftp, WRITE, string, write_body};
use crate::support::setup::User;

/// Rates of [`Door::slow_upload`].
const EIGHT_SECONDS: &str = "8000";
const EIGHTY_SECONDS: &str = "800";

fn door_that_drains_for(limit: &str) -> Door {
    let mut door = door();
    door.gateway.stop();
    door.setup.limit("drain", limit);
    door.gateway = door.setup.start();
    door.client = door.gateway.client("alice", &door.key);
    door
}

impl Door {
    /// An upload of 8 MiB, of which the client sends so many kbit/s; returns when the gateway has its OPEN.
    fn slow_upload(&self, rate: &str) -> (Running, PathBuf) {
        let file = self.setup.folder().join("slow");
        write_noise(&file, 8 << 20, 1);
        let mut upload =
            Running::start(self.client.command("sftp").args(["-l", rate, "-b", "-"]).arg(self.client.host()));
        upload.feed(format!("put {} /slow\n", file.display()).as_bytes());
        upload.close_input();
        self.gateway.events.await_event("OPEN", |_| true);
        (upload, file)
    }

    fn refuses_connections(&self) -> bool {
        TcpStream::connect(("127.0.0.1", self.gateway.port)).is_err()
    }
}

#[test]
fn a_drain_lets_the_transfer_finish_and_takes_nobody_new() {
    for signal in [Signal::TERM, Signal::INT] {
        let mut door = door();
        let (mut upload, file) = door.slow_upload(EIGHT_SECONDS);
        door.gateway.signal(signal);
        until("refusal of a new connection", LIMIT, || door.refuses_connections().then_some(()));
        assert!(!upload.has_ended() && !door.gateway.has_ended(), "the transfer is still under way");
        upload.finish(LIMIT).succeeded();
        let status = door.gateway.ended(LIMIT);
        assert_eq!(status.code(), Some(0), "{}", door.gateway.log());
        assert_same_bytes(&door.root.join("slow"), &file);
        let events = door.gateway.events.await_disconnected(1);
        let close = events.iter().find(|e| field(e, "activity-type") == "CLOSE").expect("CLOSE");
        assert_eq!(field(close, "status"), "success");
    }
}

#[test]
fn a_drain_opens_no_file_and_lets_those_that_are_open_finish() {
    let mut door = door();
    let mut sftp = RawSftp::connect(&door.client, LIMIT);
    let handle = sftp.open("/first", FOR_WRITING);
    door.gateway.signal(Signal::TERM);
    until("refusal of a new connection", LIMIT, || door.refuses_connections().then_some(()));
    let refused = |sftp: &mut RawSftp| {
        let mut body = string(b"/second");
        body.extend(FOR_WRITING.to_be_bytes());
        let answer = sftp.call(OPEN, 2, &[&body, &[0; 4]]);
        if answer.kind == HANDLE {
            // Each connection hears of the drain by itself.
            assert_eq!(sftp.close(3, answer.string(HANDLE)), 0);
            return None;
        }
        assert_eq!(answer.status(), 4);
        let text = String::from_utf8_lossy(&answer.body).into_owned();
        text.contains("shutting down").then_some(())
    };
    until("refusal of another file", LIMIT, || refused(&mut sftp));
    sftp.send(WRITE, 4, &write_body(&handle, 0, b"whole"));
    assert_eq!(sftp.receive().status(), 0);
    assert_eq!(sftp.close(5, &handle), 0);
    assert_eq!(door.gateway.ended(LIMIT).code(), Some(0), "{}", door.gateway.log());
    assert_eq!(fs::read(door.root.join("first")).unwrap(), b"whole");
}

/// Holds what the client says until the file `go` is there; `connected` says that the connection stands.
const HELD: &str =
    "exec 3<>/dev/tcp/127.0.0.1/$1; : >$2/connected; until [ -e $2/go ]; do sleep 0.05; done; cat <&3 & exec cat >&3";

#[test]
fn a_client_that_has_connected_before_a_drain_logs_in_and_uploads() {
    let mut door = door_that_drains_for("2h");
    let folder = door.setup.subfolder("held");
    let proxy = format!("ProxyCommand=bash -c '{HELD}' bash {} {}", door.gateway.port, folder.display());
    let client = door.client.clone().with(&proxy);
    let mut upload = Running::start(&mut client.sftp_command());
    upload.feed(format!("put {SMALL_FILE} /late\n").as_bytes());
    upload.close_input();
    until("connection", LIMIT, || folder.join("connected").exists().then_some(()));
    door.gateway.signal(Signal::TERM);
    until("refusal of a new connection", LIMIT, || door.refuses_connections().then_some(()));
    fs::write(folder.join("go"), "").unwrap();
    upload.finish(LIMIT).succeeded();
    assert_same_bytes(&door.root.join("late"), SMALL_FILE.as_ref());
    assert_eq!(door.gateway.ended(LIMIT).code(), Some(0), "{}", door.gateway.log());
}

#[test]
fn a_client_that_says_nothing_does_not_hold_up_a_drain() {
    let mut door = door_that_drains_for("2h");
    let silent = TcpStream::connect(("127.0.0.1", door.gateway.port)).unwrap();
    let began = Instant::now();
    door.gateway.signal(Signal::TERM);
    assert_eq!(door.gateway.ended(LIMIT).code(), Some(0), "{}", door.gateway.log());
    eprintln!("with a client that says nothing, a drain took {:?}", began.elapsed());
    drop(silent);
}

#[test]
fn a_second_signal_stops_at_once() {
    let mut door = door();
    let (upload, _) = door.slow_upload(EIGHTY_SECONDS);
    door.gateway.signal(Signal::TERM);
    until("refusal of a new connection", LIMIT, || door.refuses_connections().then_some(()));
    door.gateway.signal(Signal::TERM);
    door.gateway.ended(LIMIT);
    upload.finish(LIMIT).failed();
    assert!(!door.root.join("slow").exists(), "nothing is published");
}

#[test]
fn a_drain_does_not_wait_for_an_idle_session() {
    let mut door = door_that_drains_for("2h");
    let mut idle = Running::start(door.client.command("sftp").arg(door.client.host()));
    idle.feed(b"pwd\n");
    door.gateway.events.await_event("CONNECTED", |_| true);
    // The session is up and has nothing to do.
    std::thread::sleep(Duration::from_millis(500));
    door.gateway.signal(Signal::TERM);
    let status = door.gateway.ended(LIMIT);
    assert_eq!(status.code(), Some(0), "{}", door.gateway.log());
    let end = door.gateway.events.await_disconnected(1);
    assert_eq!(field(end.last().unwrap(), "reason"), "server", "{end:#?}");
    idle.feed(b"ls\nbye\n");
    idle.finish(LIMIT).failed();
}

#[test]
fn a_drain_ends_at_its_limit() {
    let mut door = door_that_drains_for("1s");
    let (upload, _) = door.slow_upload(EIGHTY_SECONDS);
    door.gateway.signal(Signal::TERM);
    door.gateway.ended(LIMIT);
    upload.finish(LIMIT).failed();
    door.gateway.events.await_event("PARTIAL_CLOSE", |_| true);
    assert!(!door.root.join("slow").exists(), "nothing is published");
}

#[test]
fn a_reload_says_that_a_changed_secret_takes_a_restart() {
    let Door { mut setup, gateway, .. } = door();
    gateway.stop();
    let spool = setup.subfolder("spool");
    let sinks = |secret: &str| {
        let headers = json!({ "Authorization": secret });
        let http = json!({ "sink": "http", "url": "http://127.0.0.1:9/", "headers": headers, "spool": spool,
                           "on_failure": "continue" });
        json!([{ "sink": "stdout" }, http])
    };
    setup.config["events"] = sinks("geheim-1");
    let gateway = setup.start();
    let reload = |times: usize| {
        gateway.signal(Signal::HUP);
        until("the reload", Duration::from_secs(20), || {
            (gateway.log().matches("hold for new connections").count() == times).then_some(())
        });
    };
    reload(1);
    assert!(!gateway.log().contains("take effect at a restart"), "nothing was changed: {}", gateway.log());
    setup.config["events"] = sinks("geheim-2");
    setup.write_config();
    reload(2);
    assert!(gateway.log().contains("take effect at a restart"), "{}", gateway.log());
    assert!(!gateway.log().contains("geheim"), "{}", gateway.log());
    gateway.stop();
}

#[test]
fn a_reload_changes_users_for_new_connections() {
    let mut door = door();
    let bob = door.setup.key("bob");
    let held = door.client.clone();
    let mut session = Running::start(held.command("sftp").args(["-b", "-"]).arg(held.host()));
    session.feed(b"pwd\n");
    door.gateway.events.await_event("CONNECTED", |_| true);
    door.gateway.client("bob", &bob).sftp("pwd\n").failed();

    door.setup.user(User::new("bob").key(&bob).home("/", "main:/bob"));
    door.setup.write_config();
    door.gateway.signal(Signal::HUP);
    until("login of the new user", LIMIT, || {
        door.gateway.client("bob", &bob).sftp("pwd\n").status.success().then_some(())
    });

    // A file with a mistake changes nothing.
    let sound = fs::read_to_string(door.setup.folder().join("config.yaml")).unwrap();
    fs::write(door.setup.folder().join("config.yaml"), "server: [").unwrap();
    door.gateway.signal(Signal::HUP);
    until("word of the mistake in the log", LIMIT, || door.gateway.log().contains("config.yaml").then_some(()));
    door.gateway.client("bob", &bob).sftp("pwd\n").succeeded();
    fs::write(door.setup.folder().join("config.yaml"), sound).unwrap();

    // The session from before goes on.
    session.feed(b"mkdir /still-here\n");
    session.close_input();
    session.finish(LIMIT).succeeded();
    door.gateway.stop();
}

#[test]
fn an_idle_session_ends_and_a_slow_transfer_does_not() {
    let mut door = door();
    door.gateway.stop();
    door.setup.limit("idle", "4s");
    door.gateway = door.setup.start();
    door.client = door.gateway.client("alice", &door.key);
    let (upload, file) = door.slow_upload(EIGHT_SECONDS);
    let mut idle = Running::start(door.client.command("sftp").arg(door.client.host()));
    idle.feed(b"pwd\n");
    let end = door.gateway.events.await_disconnected(1);
    assert_eq!(field(end.last().unwrap(), "reason"), "idle", "{end:#?}");
    idle.close_input();
    upload.finish(LIMIT).succeeded();
    assert_same_bytes(&door.root.join("slow"), &file);
    // The client exits by itself; with which status depends on whether it noticed at its prompt.
    idle.finish(LIMIT);
    door.gateway.stop();
}

#[test]
fn the_log_says_nothing_of_secrets_and_events_go_nowhere_but_to_their_sink() {
    let door = door();
    door.client.sftp(&format!("put {SMALL_FILE} /f\n")).succeeded();
    door.gateway.events.await_disconnected(1);
    let log = door.gateway.log();
    assert!(!log.contains("activity-type"), "{log}");
    assert_eq!(door.gateway.events.of_type("NOT_JSON").len(), 0);
    door.gateway.stop();
}
