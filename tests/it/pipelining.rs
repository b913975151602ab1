//! Many requests under way at once, and clients that do not read their answers: nothing may stand still for ever.

use std::collections::BTreeMap;
use std::fs;
use std::thread::sleep;
use std::time::Duration;

use crate::door::door;
use crate::support::data::{KIB, MIB, assert_same_bytes, noise, write_noise};
use crate::support::process::{LIMIT, Running, python, run_with};
use crate::support::raw_sftp::{DATA, FOR_READING, FOR_WRITING, RawSftp, WRITE, string, write_body};

const PIECE: u64 = 255 * KIB;

const EXTENDED: u8 = 200;
const EXTENDED_REPLY: u8 = 201;

/// Takes the answers to `count` reads and compares each with the file.
#[track_caller]
fn expect_pieces(session: &mut RawSftp, expected: &[u8], count: u32) {
    for i in 0..count {
        let answer = session.receive();
        assert_eq!(answer.id, 100 + i, "answers on one handle keep the order of their requests");
        let start = usize::try_from(u64::from(i) * PIECE).unwrap();
        let end = (start + usize::try_from(PIECE).unwrap()).min(expected.len());
        assert!(answer.string(DATA) == &expected[start..end], "piece {i} has other bytes");
    }
}

#[test]
fn the_limits_are_advertised() {
    let door = door();
    let mut session = RawSftp::connect(&door.client, LIMIT);
    let extensions: BTreeMap<_, _> = session.extensions.iter().cloned().collect();
    for name in ["limits@openssh.com", "posix-rename@openssh.com", "statvfs@openssh.com", "fsync@openssh.com"] {
        assert!(extensions.contains_key(name), "{name} in {extensions:?}");
    }
    // The largest packet, READ and WRITE: clients use as much.
    let limits = session.call(EXTENDED, 1, &[&string(b"limits@openssh.com")]);
    let lengths: Vec<u64> =
        limits.body.chunks(8).take(3).map(|length| u64::from_be_bytes(length.try_into().unwrap())).collect();
    assert_eq!((limits.kind, lengths), (EXTENDED_REPLY, vec![256 * KIB, PIECE, PIECE]));
    drop(session);
    door.gateway.stop();
}

#[test]
fn sixty_four_reads_of_255_kib_at_once() {
    let door = door();
    let bytes = noise(64 * PIECE - 17, 1);
    fs::write(door.root.join("big"), &bytes).unwrap();
    let mut session = RawSftp::connect(&door.client, LIMIT);
    let handle = session.open("/big", FOR_READING);
    for i in 0..64 {
        session.ask_to_read(100 + i, &handle, u64::from(i) * PIECE, PIECE as u32);
    }
    expect_pieces(&mut session, &bytes, 64);
    assert_eq!(session.close(9, &handle), 0);
    drop(session);
    door.gateway.stop();
}

#[test]
fn a_client_that_stops_reading_goes_on_where_it_stopped() {
    let door = door();
    let bytes = noise(64 * PIECE, 2);
    fs::write(door.root.join("big"), &bytes).unwrap();
    let mut session = RawSftp::connect(&door.client, LIMIT);
    let handle = session.open("/big", FOR_READING);
    for i in 0..64 {
        session.ask_to_read(100 + i, &handle, u64::from(i) * PIECE, PIECE as u32);
    }
    // 16 MiB of answers do not fit into the client's window: the gateway cannot send, and must not mind.
    sleep(Duration::from_secs(3));
    door.client.clone().sftp("ls\n").succeeded();
    expect_pieces(&mut session, &bytes, 64);
    assert_eq!(session.close(9, &handle), 0);
    drop(session);
    door.gateway.stop();
}

#[test]
fn writes_arrive_while_the_answers_to_reads_are_not_taken() {
    let door = door();
    let bytes = noise(64 * PIECE, 3);
    fs::write(door.root.join("big"), &bytes).unwrap();
    let mut session = RawSftp::connect(&door.client, LIMIT);
    let reading = session.open("/big", FOR_READING);
    let writing = session.open("/copy", FOR_WRITING);
    for i in 0..64 {
        session.ask_to_read(100 + i, &reading, u64::from(i) * PIECE, PIECE as u32);
    }
    // 16 MiB that way, while 16 MiB wait to come this way. A gateway that first wants to send hangs here.
    for i in 0..64u32 {
        let start = usize::try_from(u64::from(i) * PIECE).unwrap();
        let data = &bytes[start..start + usize::try_from(PIECE).unwrap()];
        session.send(WRITE, 200 + i, &write_body(&writing, start as u64, data));
    }
    let (mut reads, mut writes) = (0, 0);
    while reads + writes < 128 {
        let answer = session.receive();
        if answer.id >= 200 {
            assert_eq!((answer.id, answer.status()), (200 + writes, 0));
            writes += 1;
        } else {
            assert_eq!(answer.id, 100 + reads);
            let start = usize::try_from(u64::from(reads) * PIECE).unwrap();
            assert!(answer.string(DATA) == &bytes[start..start + usize::try_from(PIECE).unwrap()], "piece {reads}");
            reads += 1;
        }
    }
    assert_eq!((session.close(8, &reading), session.close(9, &writing)), (0, 0));
    assert!(fs::read(door.root.join("copy")).unwrap() == bytes, "the copy has other bytes");
    drop(session);
    door.gateway.stop();
}

#[test]
fn paramiko_prefetches_256_mib() {
    let door = door();
    let file = door.root.join("big");
    write_noise(&file, 256 * MIB, 4);
    let back = door.setup.folder().join("back");
    let mut script = python("paramiko_prefetch.py");
    script.arg(door.gateway.port.to_string()).arg("alice").arg(&door.key.private).arg("/big").arg(&back);
    run_with(&mut script, b"", LIMIT).succeeded();
    assert_same_bytes(&back, &file);
    door.gateway.stop();
}

#[test]
fn a_frozen_client_harms_nobody_and_wakes_up() {
    let door = door();
    let file = door.root.join("big");
    write_noise(&file, 200 * MIB, 5);
    let back = door.setup.folder().join("back");
    let mut frozen = Running::start(door.client.command("sftp").args(["-b", "-"]).arg(door.client.host()));
    frozen.feed(format!("get /big {}\n", back.display()).as_bytes());
    frozen.close_input();
    door.gateway.events.await_event("OPEN", |_| true);
    frozen.freeze();
    for i in 0..3 {
        let copy = door.setup.folder().join(format!("other-{i}"));
        door.client.sftp(&format!("get /big {}\nput {} /up-{i}\n", copy.display(), copy.display())).succeeded();
        assert_same_bytes(&door.root.join(format!("up-{i}")), &file);
    }
    frozen.wake();
    frozen.finish(LIMIT).succeeded();
    assert_same_bytes(&back, &file);
    door.gateway.stop();
}
