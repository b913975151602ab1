//! What counts as activity, and what a connection may hold at once: keepalives, operations that take long, TCP's own probes,
//! the eleventh channel.

use std::fs;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::support::client::Client;
use crate::support::events::field;
use crate::support::gateway::Gateway;
use crate::support::link::Link;
use crate::support::process::{Running, until};
use crate::support::raw_sftp::{RawSftp, STAT, string};
use crate::support::s3;
use crate::support::setup::{Setup, User};

const IDLE: Duration = Duration::from_secs(2);
const LIMIT: Duration = Duration::from_secs(60);

/// No such file.
const NONE: u32 = 2;

struct Door {
    setup: Setup,
    gateway: Gateway,
    client: Client,
}

fn door(prepare: impl FnOnce(&mut Setup, User) -> User) -> Door {
    let mut setup = Setup::new();
    setup.local_store("main");
    let key = setup.key("alice");
    let user = User::new("alice").key(&key).home("/", "main:/");
    let user = prepare(&mut setup, user);
    setup.user(user);
    let gateway = setup.start();
    let client = gateway.client("alice", &key);
    Door { setup, gateway, client }
}

fn idle_soon(setup: &mut Setup, user: User) -> User {
    setup.limit("idle", format!("{}s", IDLE.as_secs()));
    user
}

#[test]
fn a_keepalive_counts_as_activity_and_silence_does_not() {
    let door = door(idle_soon);
    let script = |name: &str| format!("pwd\n!sleep {}\nmkdir /{name}\n", 3 * IDLE.as_secs());
    let started = Instant::now();
    door.client.clone().with("ServerAliveInterval=1").sftp(&script("kept")).succeeded();
    assert!(started.elapsed() >= 3 * IDLE);
    let end = door.gateway.events.await_disconnected(1).pop().unwrap();
    assert_eq!(field(&end, "reason"), "client", "{end}");

    // The same without: the gateway ends it in the middle.
    door.client.clone().with("ServerAliveInterval=0").sftp(&script("late")).failed();
    let end = door.gateway.events.await_disconnected(2).pop().unwrap();
    assert_eq!(field(&end, "reason"), "idle", "{end}");
    let lasted = Duration::from_millis(end["duration-ms"].as_u64().unwrap());
    assert!((IDLE..2 * IDLE).contains(&lasted), "it lasted {lasted:?}");
    let root = door.setup.folder().join("store-main");
    assert!(root.join("kept").exists() && !root.join("late").exists());
    door.gateway.stop();
}

#[test]
fn an_operation_under_way_counts_as_activity_however_long_the_store_takes() {
    let store = s3::new_store();
    let link = Link::to(store.port(), Duration::ZERO, 1 << 30);
    let door = door(|setup, user| {
        let options = store.options_through(&format!("http://127.0.0.1:{}", link.port));
        setup.store("far", json!({ "url": store.url(), "options": options }));
        idle_soon(setup, user.home("/far", "far:/"))
    });
    let mut session = RawSftp::connect(&door.client, LIMIT);
    assert_eq!(session.call(STAT, 1, &[&string(b"/far/none")]).status(), NONE);
    link.stop();
    session.send(STAT, 2, &string(b"/far/other"));
    std::thread::sleep(3 * IDLE);
    assert!(door.gateway.events.of_type("DISCONNECTED").is_empty(), "it is waited for");
    link.go_on();
    let answer = session.receive();
    assert_eq!((answer.id, answer.status()), (2, NONE));
    // Then it is idle.
    session.read_to_end();
    let end = door.gateway.events.await_disconnected(1).pop().unwrap();
    assert_eq!(field(&end, "reason"), "idle", "{end}");
    door.gateway.stop();
}

/// A row of Linux's table of TCP sockets: the timer that runs, and in how many hundredths of a second it ends.
fn timer_of(port: u16) -> Option<(u8, u64)> {
    let table = fs::read_to_string("/proc/net/tcp").expect("Linux");
    table.lines().find_map(|row| {
        let words: Vec<&str> = row.split_whitespace().collect();
        let [_, local, _, state, _, timer, ..] = words[..] else { return None };
        let is_ours = local.ends_with(&format!(":{port:04X}")) && state == "01";
        let (kind, rest) = timer.split_once(':')?;
        let parsed = (u8::from_str_radix(kind, 16).ok()?, u64::from_str_radix(rest, 16).ok()?);
        is_ours.then_some(parsed)
    })
}

#[test]
fn the_host_of_a_silent_client_is_asked_within_a_minute_whether_it_is_there() {
    const KEEPALIVE: u8 = 2;
    let door = door(|_, user| user);
    let mut session = RawSftp::connect(&door.client, LIMIT);
    assert_eq!(session.call(STAT, 1, &[&string(b"/none")]).status(), NONE);
    // Until nothing is on its way any more, another timer runs.
    let in_hundredths = until("probe to come", LIMIT, || {
        timer_of(door.gateway.port).filter(|(kind, _)| *kind == KEEPALIVE).map(|(_, time)| time)
    });
    assert!(in_hundredths <= 60 * 100, "the first probe comes in {in_hundredths} hundredths of a second");
    drop(session);
    door.gateway.stop();
}

#[test]
fn an_eleventh_channel_is_refused_and_ten_go_on() {
    let door = door(|_, user| user);
    let socket = door.setup.folder().join("mux");
    let shared = door.client.clone().with(&format!("ControlPath={}", socket.display()));
    let mut command = shared.command("ssh");
    let master = Running::start(command.args(["-M", "-N"]).arg(shared.host()));
    until("shared connection", LIMIT, || socket.exists().then_some(()));
    // Without the shared connection it would make one of its own.
    let shared = shared.with("ProxyCommand=false");

    let mut sessions: Vec<RawSftp> = (0..10).map(|_| RawSftp::connect(&shared, LIMIT)).collect();
    shared.sftp("pwd\n").failed();
    let denied = door.gateway.events.await_event("REQUEST_DENIED", |_| true);
    assert_eq!(field(&denied, "request"), "session", "{denied}");
    for (id, session) in (100..).zip(&mut sessions) {
        assert_eq!(session.call(STAT, id, &[&string(b"/none")]).status(), NONE);
    }
    drop(sessions.pop());
    until("room for one more", LIMIT, || {
        let mut command = shared.sftp_command();
        let done = crate::support::process::run_with(&mut command, b"pwd\n", LIMIT);
        done.status.success().then_some(())
    });
    assert_eq!(door.gateway.events.of_type("CONNECTED").len(), 1, "all on one connection");
    drop((sessions, master));
    door.gateway.stop();
}
