//! While nobody reads the events: what is done is on record all the same, strangers take nothing of what users need, and the gateway
//! can end.

use std::fs;
use std::io::Read;
use std::net::{Shutdown, TcpStream};
use std::os::unix::net::UnixDatagram;
use std::path::PathBuf;
use std::time::Duration;

use rustix::process::Signal;
use serde_json::json;

use crate::door::Master;
use crate::support::events::{field, types};
use crate::support::gateway::Gateway;
use crate::support::keys::Key;
use crate::support::process::{LIMIT, Running, until};
use crate::support::raw_sftp::{RawSftp, string, write_body};
use crate::support::setup::{Setup, User};

const REMOVE: u8 = 13;
const MKDIR: u8 = 14;
const SYMLINK: u8 = 20;
const WRITE: u8 = 6;
const CLOSE: u8 = 4;
const PUT: u32 = 0x1a;

/// Connections that have not logged in, at once.
const PLACES: usize = 5;

fn setup() -> (Setup, Key, PathBuf) {
    let mut setup = Setup::new();
    let folder = setup.local_store("disk");
    setup.limit("unauthenticated", PLACES);
    setup.limit("unauthenticated_per_address", PLACES);
    let key = setup.key("alice");
    setup.user(User::new("alice").key(&key).home("/", "disk:/"));
    (setup, key, folder)
}

fn connect(gateway: &Gateway) -> TcpStream {
    TcpStream::connect(("127.0.0.1", gateway.port)).unwrap()
}

/// Takes all places of those who have not logged in.
fn idle(gateway: &Gateway) -> Vec<TcpStream> {
    let idle: Vec<TcpStream> = (0..PLACES).map(|_| connect(gateway)).collect();
    for mut socket in &idle {
        socket.read_exact(&mut [0; 4]).unwrap();
    }
    idle
}

/// Connects so often; how often it is refused. One that held its place for long without a word makes room.
fn knock(gateway: &Gateway, times: usize) -> u64 {
    (0..times).filter(|_| !matches!(connect(gateway).read(&mut [0; 1]), Ok(1..))).count() as u64
}

fn resident(gateway: &Gateway) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", gateway.pid())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches("kB").trim().parse::<u64>().unwrap() * 1024
}

#[test]
fn a_flood_takes_no_memory_and_what_a_user_does_meanwhile_is_on_record() {
    let (setup, key, folder) = setup();
    let gateway = setup.start();
    fs::write(folder.join("victim"), "content").unwrap();
    let mut alice = RawSftp::connect(&gateway.client("alice", &key), LIMIT);
    let handle = alice.open("/upload", PUT);
    let write = write_body(&handle, 0, b"content");
    alice.send(WRITE, 1, &write);
    assert_eq!(alice.receive().status(), 0);
    let idle = idle(&gateway);
    let stalled = gateway.events.stall();
    // What the first ones leave is the queue, which has a bound.
    let first = knock(&gateway, 1500);
    let before = resident(&gateway);
    let refused = first + knock(&gateway, 5000);
    assert!(refused > 5000, "{refused}");
    let grown = resident(&gateway).saturating_sub(before);
    assert!(grown < 1 << 20, "5000 refused connections took {grown} bytes");
    alice.send(REMOVE, 2, &string(b"/victim"));
    alice.send(CLOSE, 3, &string(&handle));
    until("both are done", LIMIT, || (!folder.join("victim").exists() && folder.join("upload").exists()).then_some(()));
    // Killed before it has an answer.
    drop(alice);
    std::thread::sleep(Duration::from_millis(500));
    drop(stalled);
    for (activity, path) in [("DELETE", "/victim"), ("CLOSE", "/upload")] {
        gateway.events.await_event(activity, |event| field(event, "logical-path") == path);
    }
    let told = gateway.events.until("each refused connection", |events| {
        let rejected = events.iter().filter(|event| field(event, "activity-type") == "CONNECTION_REJECTED");
        let count: u64 = rejected.clone().map(|event| event["connections"].as_u64().unwrap_or(1)).sum();
        (count >= refused)
            .then(|| (count, rejected.filter(|event| event.get("connections").is_some()).cloned().collect::<Vec<_>>()))
    });
    assert!(told.0 <= refused + PLACES as u64, "{} for {refused}", told.0);
    assert!(!told.1.is_empty() && told.1.len() < 60, "{:#?}", told.1);
    for summary in &told.1 {
        assert_eq!(field(summary, "source-ips"), format!("127.0.0.1={}", summary["connections"]), "{summary}");
    }
    assert_eq!(gateway.events.of_type("DELETE").len(), 1);
    drop(idle);
    gateway.stop();
}

#[test]
fn a_gateway_whose_events_nobody_reads_can_end() {
    let (mut setup, key, _) = setup();
    setup.config["limits"]["drain"] = json!("1s");
    let mut gateway = setup.start();
    let mut alice = RawSftp::connect(&gateway.client("alice", &key), LIMIT);
    let handle = alice.open("/upload", PUT);
    let idle = idle(&gateway);
    let events = gateway.events.clone();
    let stalled = events.stall();
    knock(&gateway, 1500);
    gateway.signal(Signal::TERM);
    gateway.ended(Duration::from_secs(40));
    drop((stalled, idle, alice, handle));
}

#[test]
fn a_login_whose_client_went_away_while_the_trail_stalled_is_a_session_on_record() {
    let (mut setup, key, _) = setup();
    setup.limit("login_grace", "2s");
    let gateway = setup.start();
    let mut alice = RawSftp::connect(&gateway.client("alice", &key), LIMIT);
    let events = gateway.events.clone();
    let stalled = events.stall();
    // More than a pipe holds.
    for number in 0..400u32 {
        alice.send(MKDIR, number, &[string(format!("/{number}").as_bytes()), vec![0; 4]].concat());
    }
    std::thread::sleep(Duration::from_secs(1));
    let client = gateway.client("alice", &key);
    let mut late = Running::start(client.command("sftp").args(["-b", "-"]).arg(client.host()));
    std::thread::sleep(Duration::from_secs(1));
    late.kill();
    // Its time to log in is over, and the gateway has given it up.
    std::thread::sleep(Duration::from_secs(8));
    drop(stalled);
    for _ in 0..400 {
        assert_eq!(alice.receive().status(), 0);
    }
    let session = gateway.events.await_disconnected(1);
    assert_eq!(types(&session), ["CONNECTED", "DISCONNECTED"], "{session:#?}");
    drop(alice);
    let all = gateway.events.await_disconnected(2);
    assert_eq!(field(&all[0], "activity-type"), "CONNECTED");
    assert_eq!(gateway.events.of_type("AUTH_FAILURE").len(), 0);
    gateway.stop();
}

/// A refusal is on record also where the client that caused it has gone before the trail could take it.
#[test]
fn what_was_refused_to_a_client_that_went_away_while_the_trail_stalled_is_on_record() {
    let (setup, key, _) = setup();
    let gateway = setup.start();
    let master = Master::start(&gateway.client("alice", &key), setup.folder().join("shared"));
    let mut alice = RawSftp::connect(&gateway.client("alice", &key), LIMIT);
    let mut linking = RawSftp::connect(&gateway.client("alice", &key), LIMIT);
    let events = gateway.events.clone();
    let stalled = events.stall();
    // More than a pipe holds.
    for number in 0..400u32 {
        alice.send(MKDIR, number, &[string(format!("/{number}").as_bytes()), vec![0; 4]].concat());
    }
    std::thread::sleep(Duration::from_secs(1));
    let mut command = master.client.command("ssh");
    let mut asking = Running::start(command.arg(master.client.host()).arg("reboot"));
    linking.send(SYMLINK, 1, &[string(b"/target"), string(b"/link")].concat());
    std::thread::sleep(Duration::from_secs(1));
    asking.kill();
    drop((linking, master));
    drop(stalled);
    for _ in 0..400 {
        assert_eq!(alice.receive().status(), 0);
    }
    gateway.events.await_disconnected(2);
    for refused in ["REQUEST_DENIED", "CREATE_SYMLINK"] {
        assert_eq!(gateway.events.of_type(refused).len(), 1, "{refused}");
    }
    drop(alice);
    gateway.stop();
}

/// The sink works when room is taken, and fails when the line comes.
#[test]
fn a_login_whose_record_fails_is_refused_on_record_and_the_connection_ends() {
    let (mut setup, key, _) = setup();
    let second = setup.key("second");
    setup.user(User::new("bob").key(&key).key(&second).home("/", "disk:/"));
    let socket = setup.folder().join("log");
    let log = UnixDatagram::bind(&socket).unwrap();
    setup.config["events"] = json!([
        { "sink": "stdout" },
        { "sink": "syslog", "address": format!("unix:{}", socket.display()) },
    ]);
    let gateway = setup.start();
    let bob = gateway.client("bob", &key).identity(&second.private);
    drop(log);
    bob.sftp("ls\n").failed();
    let events = gateway.events.await_disconnected(1);
    let [connected, refused @ .., disconnected] = &events[..] else { panic!("{events:#?}") };
    assert_eq!(types(&[connected.clone(), disconnected.clone()]), ["CONNECTED", "DISCONNECTED"], "{events:#?}");
    assert_eq!(field(disconnected, "reason"), "server");
    // A quick client tries its other key before it hears that the connection ends.
    assert!((1..=2).contains(&refused.len()), "{events:#?}");
    for (refused, key) in refused.iter().zip([&key, &second]) {
        assert_eq!(field(refused, "activity-type"), "AUTH_FAILURE");
        assert_eq!(field(refused, "reason"), "trail-unavailable");
        assert_eq!(field(refused, "ssh-public-key-fingerprint"), key.fingerprint().0);
    }
    // Known before: each key is refused, on the one connection.
    bob.sftp("ls\n").failed();
    let known = gateway.events.await_disconnected(2);
    assert_eq!(types(&known), ["AUTH_FAILURE", "AUTH_FAILURE", "DISCONNECTED"], "{known:#?}");
    fs::remove_file(&socket).unwrap();
    let log = UnixDatagram::bind(&socket).unwrap();
    let reader = log.try_clone().unwrap();
    // It holds few messages that nobody has read.
    let reader = std::thread::spawn(move || while matches!(reader.recv(&mut [0; 64]), Ok(1..)) {});
    until("a login again", LIMIT, || bob.sftp("ls\n").status.success().then_some(()));
    gateway.stop();
    log.shutdown(Shutdown::Both).unwrap();
    reader.join().unwrap();
}
