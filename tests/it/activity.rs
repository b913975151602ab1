//! What counts as activity, and what a connection may hold at once: keepalives, operations that take long, TCP's own probes,
//! sockets of which one half is closed, the eleventh channel.

use std::fs;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddrV4, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use rustix::net::{AddressFamily, SocketFlags, SocketType, sockopt};
use serde_json::json;

use crate::door::{Master, door, door_with};
use crate::support::data::write_noise;
use crate::support::events::field;
use crate::support::link::Link;
use crate::support::process::{LIMIT, until};
use crate::support::raw_sftp::{FOR_READING, FOR_WRITING, RawSftp, STAT, WRITE, string, write_body};
use crate::support::s3;
use crate::support::setup::{Setup, User};

const IDLE: Duration = Duration::from_secs(4);
/// No such file.
const NONE: u32 = 2;

fn idle_soon(setup: &mut Setup, user: User) -> User {
    setup.limit("idle", format!("{}s", IDLE.as_secs()));
    user
}

#[test]
fn a_keepalive_counts_as_activity_and_silence_does_not() {
    let door = door_with(idle_soon);
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
    assert!(lasted >= IDLE, "it lasted {lasted:?}");
    let root = door.setup.folder().join("store-main");
    assert!(root.join("kept").exists() && !root.join("late").exists());
    door.gateway.stop();
}

#[test]
fn an_operation_under_way_counts_as_activity_however_long_the_store_takes() {
    let store = s3::new_store();
    let link = Link::to(store.port(), Duration::ZERO, 1 << 30);
    let door = door_with(|setup, user| {
        let options = store.options_through(&format!("http://127.0.0.1:{}", link.port));
        setup.store("far", json!({ "url": store.url(), "options": options }));
        idle_soon(setup, user.home("/far", "far:/"))
    });
    let mut session = RawSftp::connect(&door.client, LIMIT);
    assert_eq!(session.call(STAT, 1, &[&string(b"/far/none")]).status(), NONE);
    link.stop();
    session.send(STAT, 2, &string(b"/far/other"));
    thread::sleep(3 * IDLE);
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
    let door = door();
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

/// Little fits in between. The room is set before the connection is made: if Linux shrinks it later, it drops what arrives beyond it, and with
/// that the acknowledgements of what was sent, and a closed half may never reach the other side.
fn connect_with_little_room(port: u16) -> TcpStream {
    let socket = rustix::net::socket_with(AddressFamily::INET, SocketType::STREAM, SocketFlags::CLOEXEC, None).unwrap();
    sockopt::set_socket_recv_buffer_size(&socket, 16 << 10).unwrap();
    rustix::net::connect(&socket, &SocketAddrV4::new(Ipv4Addr::LOCALHOST, port)).unwrap();
    socket.into()
}

/// A line of one connection whose client's half can be closed while the other half stays open.
struct Halves {
    port: u16,
    far: Arc<Mutex<Option<TcpStream>>>,
    takes_nothing: Arc<AtomicBool>,
}

impl Halves {
    fn to(port: u16) -> Halves {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let own_port = listener.local_addr().unwrap().port();
        let halves = Halves { port: own_port, far: Arc::default(), takes_nothing: Arc::default() };
        let (kept, takes_nothing) = (halves.far.clone(), halves.takes_nothing.clone());
        thread::spawn(move || {
            let (mut near, _) = listener.accept().unwrap();
            let mut far = connect_with_little_room(port);
            *kept.lock().unwrap() = Some(far.try_clone().unwrap());
            let (mut to_near, mut from_far) = (near.try_clone().unwrap(), far.try_clone().unwrap());
            thread::spawn(move || {
                let mut buffer = [0; 4096];
                while let Ok(length @ 1..) = from_far.read(&mut buffer) {
                    while takes_nothing.load(Ordering::Relaxed) {
                        thread::sleep(Duration::from_millis(10));
                    }
                    if to_near.write_all(&buffer[..length]).is_err() {
                        return;
                    }
                }
            });
            // Until the far half is closed.
            let _ = std::io::copy(&mut near, &mut far);
        });
        halves
    }

    fn close_the_clients(&self) {
        self.far.lock().unwrap().as_ref().unwrap().shutdown(Shutdown::Write).unwrap();
    }
}

impl Drop for Halves {
    fn drop(&mut self) {
        self.takes_nothing.store(false, Ordering::Relaxed);
        if let Some(far) = self.far.lock().unwrap().as_ref() {
            let _ = far.shutdown(Shutdown::Both);
        }
    }
}

/// `idle` is half an hour here: only the end of the client's half ends the connection.
fn check_closed_half(takes_answers: bool) {
    const PIECE: u64 = 255 * 1024;
    let door = door();
    write_noise(&door.setup.folder().join("store-main/big"), 32 << 20, 1);
    let halves = Halves::to(door.gateway.port);
    let socket = door.setup.folder().join("mux");
    let master = Master::start(&door.client.clone().through(halves.port), socket);
    let mut sessions: Vec<RawSftp> = (0..6).map(|_| RawSftp::connect(&master.client, LIMIT)).collect();
    let upload = sessions[0].open("/half", FOR_WRITING);
    sessions[0].send(WRITE, 2, &write_body(&upload, 0, b"half of it"));
    assert_eq!(sessions[0].receive().status(), 0);
    let downloads: Vec<_> = sessions.iter_mut().map(|session| session.open("/big", FOR_READING)).collect();
    halves.takes_nothing.store(!takes_answers, Ordering::Relaxed);
    if !takes_answers {
        // More than the system keeps of what it cannot send: the gateway's write waits.
        for (session, download) in sessions.iter_mut().zip(&downloads) {
            for i in 0..16 {
                session.ask_to_read(100 + i, download, u64::from(i) * PIECE, PIECE as u32);
            }
        }
        thread::sleep(Duration::from_secs(2));
    }
    halves.close_the_clients();
    let end = door.gateway.events.await_disconnected(1).pop().unwrap();
    assert_eq!(field(&end, "reason"), "client", "{end}");
    assert_eq!(door.gateway.events.of_type("PARTIAL_CLOSE").len(), 7, "each file is cut off before");
    assert!(!door.setup.folder().join("store-main/half").exists(), "it is not published");
    drop((sessions, master));
    door.gateway.stop();
}

#[test]
fn a_client_that_closes_its_half_of_the_connection_is_ended_at_once() {
    check_closed_half(true);
}

#[test]
fn a_client_that_closes_its_half_and_takes_nothing_is_ended_at_once() {
    check_closed_half(false);
}

#[test]
fn an_eleventh_channel_is_refused_and_ten_go_on() {
    let door = door();
    let socket = door.setup.folder().join("mux");
    let master = Master::start(&door.client, socket);
    // Without the shared connection it would make one of its own.
    let shared = master.client.clone().with("ProxyCommand=false");

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
