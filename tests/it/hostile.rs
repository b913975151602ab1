//! Clients that break the protocol, ask without end, or stop in the middle: each gets the right answer or a clean end in time,
//! and the gateway's memory stays bounded.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, TcpStream};

use crate::door::{Door, door};
use crate::support::data::{KIB, MIB, write_noise};
use crate::support::events::{field, is_end};
use crate::support::process::{LIMIT, Running};
use crate::support::raw_sftp::{DATA, FOR_READING, FOR_WRITING, HANDLE, OPEN, READ, RawSftp, STAT, WRITE, string};

/// More than all channels of these tests may hold together, and what the program takes by itself.
const BOUNDED: u64 = 256 * MIB;

const OPENDIR: u8 = 11;

impl Door {
    fn raw(&self) -> RawSftp {
        RawSftp::connect(&self.client, LIMIT)
    }

    /// The gateway still serves, and is no larger than it may be.
    #[track_caller]
    fn assert_sound(self) {
        self.client.sftp("ls\n").succeeded();
        let peak = self.gateway.peak_memory();
        assert!(peak < BOUNDED, "the gateway took {} MiB", peak / MIB);
        self.gateway.stop();
    }
}

#[test]
fn any_version_is_answered_with_three() {
    let door = door();
    for version in [0, 2, 3, 6, u32::MAX] {
        let mut session = RawSftp::open_channel(&door.client, LIMIT);
        session.exchange_versions(version);
        assert_eq!(session.call(STAT, 7, &[&string(b"/none")]).status(), 2, "version {version}");
    }
    door.assert_sound();
}

#[test]
fn what_breaks_the_protocol_ends_the_channel_at_once() {
    let door = door();
    let long = 300_000u32.to_be_bytes();
    let cases: [(&str, Vec<u8>, bool); 7] = [
        ("a second INIT", string(&[1, 0, 0, 0, 3]), false),
        ("an empty packet", vec![0; 4], false),
        ("a packet without an id", string(&[17, 0, 0]), false),
        ("a packet that is too long", [&long[..], &[WRITE, 0, 0, 0, 9], &[0; 1000]].concat(), false),
        ("the largest length", vec![0xff; 64], false),
        ("an end within a packet", vec![0, 0, 0, 20, STAT, 0, 0], true),
        ("another protocol", b"GET / HTTP/1.1\r\nHost: example.org\r\n\r\n".to_vec(), false),
    ];
    for (what, bytes, then_end) in cases {
        println!("{what}");
        let mut session = door.raw();
        session.send_raw(&bytes);
        if then_end {
            session.end_input();
        }
        session.read_to_end();
    }
    door.assert_sound();
}

#[test]
fn odd_requests_are_answered_and_the_channel_goes_on() {
    let door = door();
    let mut session = door.raw();
    let path = string(b"/none");
    assert_eq!(session.call(99, 1, &[]).status(), 8, "an unknown type");
    assert_eq!(session.call(200, 2, &[&string(b"nobody@example.org")]).status(), 8, "an unknown extension");
    assert_eq!(session.call(STAT, 3, &[&string(b"/a\xff\xfe")]).status(), 4, "a name that is not UTF-8");
    assert_eq!(
        session.call(STAT, 3, &[&string(b"/a\0b")]).status(),
        4,
        "a name with a NUL, and an id for the second time"
    );
    assert_eq!(session.call(STAT, u32::MAX, &[&path]).status(), 2);
    assert_eq!(session.call(STAT, 0, &[&string(&[b'x'; 5000])]).status(), 4, "a name of 5,000 bytes");
    assert_eq!(session.call(READ, 4, &[&string(b"77"), &[0; 12]]).status(), 4, "a handle that nobody was given");
    assert_eq!(session.call(READ, 5, &[&string(b"\xff\xff"), &[0; 12]]).status(), 4, "a handle that is no handle");
    assert_eq!(session.call(STAT, 6, &[&[0, 0, 0, 9, b'x']]).status(), 5, "a string that is longer than its packet");
    // Two requests with one id: both are answered.
    session.send(STAT, 8, &path);
    session.send(99, 8, &[]);
    let mut codes = [session.receive(), session.receive()].map(|answer| (answer.id, answer.status()));
    codes.sort_unstable();
    assert_eq!(codes, [(8, 2), (8, 8)]);
    let handle = session.open("/f", FOR_WRITING);
    assert_eq!(session.close(9, &handle), 0);
    let handle = session.open("/f", FOR_READING);
    let huge = [&string(&handle)[..], &u64::MAX.to_be_bytes(), &u32::MAX.to_be_bytes()].concat();
    assert_eq!(session.call(READ, 10, &[&huge]).status(), 1, "beyond the end of everything");
    drop(session);
    door.assert_sound();
}

#[test]
fn thousands_of_handles_are_refused_cleanly() {
    let door = door();
    let mut session = door.raw();
    let mut handles = Vec::new();
    for id in 0..5_000 {
        let answer = session.call(OPENDIR, id, &[&string(b"/")]);
        if answer.kind == HANDLE {
            handles.push(answer.string(HANDLE).to_vec());
        } else {
            assert_eq!(answer.status(), 4);
        }
    }
    assert_eq!(handles.len(), 4_096);
    for handle in handles {
        assert_eq!(session.close(1, &handle), 0);
    }
    assert_eq!(session.call(OPENDIR, 1, &[&string(b"/")]).kind, HANDLE, "there is room again");
    drop(session);
    door.assert_sound();
}

#[test]
fn a_flood_whose_answers_are_not_taken_is_ended() {
    let door = door();
    for (kind, body) in [(STAT, string(b"/some/where")), (16, string(b"/some/where")), (99, Vec::new())] {
        let mut session = door.raw();
        let mut packet = vec![kind, 0, 0, 0, 5];
        packet.extend(body);
        let many = string(&packet).repeat(1000);
        let mut rounds = 0;
        // The answers fill the client's window first.
        while session.send_raw(&many) {
            rounds += 1;
            session.assert_does_not_hang();
        }
        session.assert_does_not_hang();
        assert!(rounds >= 60, "it stops too soon: type {kind} after {rounds},000");
    }
    // A client that takes no answers does not take the end of its channel either, so its connection is ended.
    door.gateway.events.await_disconnected(3);
    for end in door.gateway.events.of_type("DISCONNECTED") {
        assert_eq!(field(&end, "reason"), "server", "{end}");
        assert!(field(&end, "message").contains("did not close a channel"), "{end}");
    }
    door.assert_sound();
}

#[test]
fn a_hundred_thousand_reads_at_once_are_answered() {
    const COUNT: u32 = 100_000;
    let door = door();
    let file = door.setup.folder().join("store-main/f");
    write_noise(&file, 64 * KIB, 3);
    let mut session = door.raw();
    let handle = session.open("/f", FOR_READING);
    // All in one run, 1 byte each, most of them beyond the end.
    let mut requests = Vec::new();
    for id in 0..COUNT {
        let body = [&string(&handle)[..], &u64::from(id).to_be_bytes(), &1u32.to_be_bytes()].concat();
        requests.extend(string(&[&[READ][..], &id.to_be_bytes(), &body].concat()));
    }
    let mut input = session.input.take().unwrap();
    let sender = std::thread::spawn(move || input.write_all(&requests).map(|()| input));
    for id in 0..COUNT {
        let answer = session.receive();
        assert_eq!((answer.id, answer.kind == DATA), (id, u64::from(id) < 64 * KIB));
    }
    session.input = Some(sender.join().unwrap().expect("the channel is there"));
    assert_eq!(session.close(7, &handle), 0);
    drop(session);
    door.assert_sound();
}

#[test]
fn clients_that_stop_hold_no_more_than_their_share() {
    let door = door();
    let file = door.setup.folder().join("store-main/big");
    write_noise(&file, 64 * MIB, 3);
    let get = format!("get /big {}\n", door.setup.folder().join("back").display());
    let mut stopped: Vec<Running> = Vec::new();
    for _ in 0..8 {
        let mut session = Running::start(&mut door.client.sftp_command());
        session.feed(get.as_bytes());
        stopped.push(session);
    }
    door.gateway.events.until("eight downloads", |events| {
        (events.iter().filter(|event| field(event, "activity-type") == "OPEN").count() == 8).then_some(())
    });
    stopped.iter().for_each(Running::freeze);
    door.client.sftp("ls -l\n").succeeded();
    // Killed while they are stopped: each is on record as cut off.
    let count = door.gateway.events.of_type("CLOSE").len();
    drop(stopped);
    door.gateway.events.until("end of each download", |events| {
        (events.iter().filter(|event| is_end(event)).count() == 8).then_some(())
    });
    assert!(count < 8, "they were to be stopped before their ends");
    door.assert_sound();
}

#[test]
fn half_closed_and_silent_sockets_end() {
    let mut door = door();
    door.gateway.stop();
    door.setup.limit("login_grace", "3s");
    door.gateway = door.setup.start();
    door.client = door.gateway.client("alice", &door.key);
    for (what, greeting, half_close) in [
        ("closed after the version", &b"SSH-2.0-half\r\n"[..], true),
        ("closed in a packet", b"SSH-2.0-half\r\n\0\0\x01\x00\x04\x14", true),
        ("closed at once", b"", true),
        ("silent after the version", b"SSH-2.0-silent\r\n", false),
        ("without an end of its line", b"SSH-2.0-", false),
        ("a packet of four gigabytes", b"SSH-2.0-large\r\n\xff\xff\xff\xff\x04\x14", false),
    ] {
        let mut socket = TcpStream::connect((Ipv4Addr::LOCALHOST, door.gateway.port)).expect("the gateway listens");
        socket.set_read_timeout(Some(LIMIT)).unwrap();
        socket.write_all(greeting).expect("the gateway takes it");
        if half_close {
            socket.shutdown(Shutdown::Write).unwrap();
        }
        // To the end, or a reset: both are ends.
        let mut answer = Vec::new();
        if let Err(error) = socket.read_to_end(&mut answer) {
            assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset, "{what}: {error}");
        }
    }
    // A client that has asked and half-closed the channel still gets its answers. It may take its time to log in.
    door.gateway.stop();
    door.setup.limit("login_grace", "2m");
    door.gateway = door.setup.start();
    door.client = door.gateway.client("alice", &door.key);
    let mut session = door.raw();
    session.send(OPEN, 1, &[&string(b"/half")[..], &FOR_WRITING.to_be_bytes(), &[0; 4]].concat());
    let handle = session.receive().string(HANDLE).to_vec();
    session.send(WRITE, 2, &[&string(&handle)[..], &[0; 8], &string(b"data")].concat());
    session.send(4, 3, &string(&handle));
    session.end_input();
    assert_eq!((session.receive().status(), session.receive().status()), (0, 0));
    assert_eq!(session.read_to_end(), 0);
    drop(session);
    door.assert_sound();
}
