//! What clients without a command line send (WinSCP), replayed packet by packet.

use std::fs;
use std::time::Duration;

use crate::support::data::noise;
use crate::support::raw_sftp::{
    CLOSE, DATA, FOR_READING, HANDLE, OPEN, READ, RawSftp, STAT, STATUS, WRITE, string, write_body,
};
use crate::{mtime, place};

const LIMIT: Duration = Duration::from_secs(120);
const PIECE: usize = 32 * 1024;

const LSTAT: u8 = 7;
const SETSTAT: u8 = 9;
const OPENDIR: u8 = 11;
const READDIR: u8 = 12;
const REMOVE: u8 = 13;
const REALPATH: u8 = 16;
const RENAME: u8 = 18;
const NAME: u8 = 104;
const ATTRS: u8 = 105;

const WRITE_CREATE_TRUNCATE: u32 = 2 | 8 | 16;
const EXCLUSIVE: u32 = 0x20;

fn path(text: &str) -> Vec<u8> {
    string(text.as_bytes())
}

/// The attributes of a file's times and rights, as WinSCP sets them after an upload.
fn rights_and_times(seconds: u32) -> Vec<u8> {
    [0x0cu32, 0o644, seconds, seconds].iter().flat_map(|number| number.to_be_bytes()).collect()
}

/// An OPEN whose attributes tell the size, as WinSCP's do.
fn open_with_size(session: &mut RawSftp, id: u32, name: &str, flags: u32, size: usize) -> Vec<u8> {
    let size = u64::try_from(size).unwrap().to_be_bytes();
    let answer = session.call(OPEN, id, &[&path(name), &flags.to_be_bytes(), &[0, 0, 0, 1], &size]);
    answer.string(HANDLE).to_vec()
}

/// Sends all of a file's WRITEs without waiting; how many.
fn send_all(session: &mut RawSftp, first_id: u32, handle: &[u8], bytes: &[u8]) -> u32 {
    let mut id = first_id;
    for (n, piece) in bytes.chunks(PIECE).enumerate() {
        session.send(WRITE, id, &write_body(handle, (n * PIECE) as u64, piece));
        id += 1;
    }
    id - first_id
}

#[test]
fn winscp_uploads_a_small_file() {
    let place = place();
    let mut session = RawSftp::connect(&place.client(), LIMIT);
    assert_eq!(session.call(REALPATH, 1, &[&path(".")]).kind, NAME);
    assert_eq!(session.call(LSTAT, 2, &[&path("/small.txt")]).status(), 2);
    let bytes = noise(90_000, 1);
    let handle = open_with_size(&mut session, 3, "/small.txt", WRITE_CREATE_TRUNCATE | EXCLUSIVE, bytes.len());
    // The writes, the CLOSE and the SETSTAT go out before the first answer is taken.
    let count = send_all(&mut session, 10, &handle, &bytes);
    session.send(CLOSE, 50, &string(&handle));
    session.send(SETSTAT, 51, &[path("/small.txt"), rights_and_times(1_400_000_000)].concat());
    for id in (10..10 + count).chain([50, 51]) {
        let answer = session.receive();
        assert_eq!((answer.id, answer.status()), (id, 0));
    }
    assert!(fs::read(place.root.join("small.txt")).unwrap() == bytes);
    assert_eq!(mtime(&place.root.join("small.txt")), 1_400_000_000);
    drop(session);
    place.gateway.stop();
}

#[test]
fn winscp_replaces_a_large_file_by_way_of_a_temporary_name() {
    let place = place();
    fs::write(place.root.join("large.bin"), b"old").unwrap();
    let mut session = RawSftp::connect(&place.client(), LIMIT);
    assert_eq!(session.call(LSTAT, 1, &[&path("/large.bin")]).kind, ATTRS);
    assert_eq!(session.call(LSTAT, 2, &[&path("/large.bin.filepart")]).status(), 2);
    let bytes = noise(5_000_000, 2);
    let (first, rest) = bytes.split_at(2_000_000);
    let handle = open_with_size(&mut session, 3, "/large.bin.filepart", WRITE_CREATE_TRUNCATE, bytes.len());
    let count = send_all(&mut session, 10, &handle, first);
    for id in 10..10 + count {
        let answer = session.receive();
        assert_eq!((answer.id, answer.status()), (id, 0));
    }
    assert_eq!(session.close(4, &handle), 0);
    assert_eq!(fs::read(place.root.join("large.bin")).unwrap(), b"old", "until the end the old file stays");

    // It resumes: the partial file is there, and is opened without TRUNC.
    let answer = session.call(STAT, 5, &[&path("/large.bin.filepart")]);
    assert_eq!(answer.body[4..12], 2_000_000u64.to_be_bytes());
    let handle = session.call(OPEN, 6, &[&path("/large.bin.filepart"), &(2u32 | 8).to_be_bytes(), &[0; 4]]);
    let handle = handle.string(HANDLE).to_vec();
    for (n, piece) in rest.chunks(PIECE).enumerate() {
        session.send(WRITE, 100, &write_body(&handle, (first.len() + n * PIECE) as u64, piece));
    }
    session.send(CLOSE, 100, &string(&handle));
    for _ in 0..=rest.chunks(PIECE).count() {
        assert_eq!(session.receive().status(), 0);
    }
    assert_eq!(session.call(REMOVE, 7, &[&path("/large.bin")]).status(), 0);
    assert_eq!(session.call(RENAME, 8, &[&path("/large.bin.filepart"), &path("/large.bin")]).status(), 0);
    assert_eq!(session.call(SETSTAT, 9, &[&path("/large.bin"), &rights_and_times(1_400_000_001)]).status(), 0);
    assert!(fs::read(place.root.join("large.bin")).unwrap() == bytes);
    assert_eq!(mtime(&place.root.join("large.bin")), 1_400_000_001);
    assert!(!place.root.join("large.bin.filepart").exists());
    drop(session);
    place.gateway.stop();
}

#[test]
fn winscp_lists_and_downloads_with_requests_in_advance() {
    let place = place();
    for n in 0..1000 {
        fs::write(place.root.join(format!("file-{n:04}")), "x").unwrap();
    }
    let bytes = noise(3_000_001, 3);
    fs::write(place.root.join("big"), &bytes).unwrap();
    let mut session = RawSftp::connect(&place.client(), LIMIT);
    let handle = session.call(OPENDIR, 1, &[&path("/")]).string(HANDLE).to_vec();
    for id in 100..120 {
        session.send(READDIR, id, &string(&handle));
    }
    let mut names = 0;
    for id in 100..120 {
        let answer = session.receive();
        assert_eq!(answer.id, id);
        if answer.kind == NAME {
            names += u32::from_be_bytes(answer.body[..4].try_into().unwrap());
        } else {
            assert_eq!((answer.kind, answer.status()), (STATUS, 1));
        }
    }
    assert_eq!(names, 1000 + 1 + 2, "with `.` and `..`");
    assert_eq!(session.close(2, &handle), 0);

    let handle = session.open("/big", FOR_READING);
    // One more than there is, and beyond the end: the client learns of the end by that.
    let count = bytes.len().div_ceil(PIECE) + 2;
    for n in 0..count {
        let body = [&string(&handle)[..], &((n * PIECE) as u64).to_be_bytes(), &(PIECE as u32).to_be_bytes()].concat();
        session.send(READ, 200 + n as u32, &body);
    }
    let mut back: Vec<u8> = Vec::new();
    for n in 0..count {
        let answer = session.receive();
        assert_eq!(answer.id, 200 + n as u32);
        if answer.kind == DATA { back.extend(answer.string(DATA)) } else { assert_eq!(answer.status(), 1) }
    }
    assert!(back == bytes);
    assert_eq!(session.close(3, &handle), 0);
    drop(session);
    place.gateway.stop();
}
