//! What WinSCP sends, packet by packet. It runs on Windows only; the order of its packets is that of its published source.

use crate::place::{Place, on_each_store};
use crate::support::data::noise;
use crate::support::process::LIMIT;
use crate::support::raw_sftp::{
    Answer, CLOSE, DATA, FOR_READING, HANDLE, OPEN, RawSftp, STATUS, WRITE, string, write_body,
};

/// What fits into a channel's packet of 32 KiB together with the fields of a WRITE; WinSCP rounds it down to 16.
const PIECE: usize = 32 * 1024 - 48;

const LSTAT: u8 = 7;
const SETSTAT: u8 = 9;
const OPENDIR: u8 = 11;
const READDIR: u8 = 12;
const REMOVE: u8 = 13;
const REALPATH: u8 = 16;
const RENAME: u8 = 18;
const NAME: u8 = 104;
const ATTRS: u8 = 105;

const EXTENDED: u8 = 200;
const EXTENDED_REPLY: u8 = 201;

const WRITE_CREATE: u32 = 2 | 8;
const TRUNCATE: u32 = 0x10;
const EXCLUSIVE: u32 = 0x20;

/// How many READs and how many WRITEs wait for their answers.
const READS: usize = 32;
const WRITES: usize = 64;

fn path(text: &str) -> Vec<u8> {
    string(text.as_bytes())
}

/// A session as WinSCP begins it: it speaks version 6 as well, asks for the limits and for the folder that it is in.
fn begin(place: &Place) -> RawSftp {
    let mut session = RawSftp::open_channel(&place.client(), LIMIT);
    session.exchange_versions(6);
    let limits = session.call(EXTENDED, 1, &[&string(b"limits@openssh.com")]);
    assert_eq!((limits.kind, &limits.body[..8]), (EXTENDED_REPLY, &262_144u64.to_be_bytes()[..]));
    assert_eq!(session.call(REALPATH, 2, &[&path(".")]).kind, NAME);
    session
}

/// The attributes of a time alone.
fn times(seconds: u32) -> Vec<u8> {
    [8, seconds, seconds].map(u32::to_be_bytes).concat()
}

/// The attributes of rights and times, which it sets when it has replaced a file.
fn rights_and_times(seconds: u32) -> Vec<u8> {
    [0x0c, 0o644, seconds, seconds].map(u32::to_be_bytes).concat()
}

fn open_plainly(session: &mut RawSftp, id: u32, name: &str, flags: u32) -> Answer {
    session.call(OPEN, id, &[&path(name), &flags.to_be_bytes(), &[0; 4]])
}

/// With CREATE and TRUNCATE it tells the size that the file will have.
fn open_with_size(session: &mut RawSftp, id: u32, name: &str, size: usize) -> Vec<u8> {
    let (flags, size) = (WRITE_CREATE | TRUNCATE, u64::try_from(size).unwrap().to_be_bytes());
    let answer = session.call(OPEN, id, &[&path(name), &flags.to_be_bytes(), &[0, 0, 0, 1], &size]);
    answer.string(HANDLE).to_vec()
}

/// Sends WRITEs, up to [`WRITES`] in advance, then `last` without waiting for the answers; all answers are to be good.
fn send_all(session: &mut RawSftp, handle: &[u8], offset: usize, bytes: &[u8], last: &[(u8, Vec<u8>)]) {
    let (mut sent, mut answered) = (100, 100);
    let mut take = |session: &mut RawSftp| {
        let answer = session.receive();
        assert_eq!((answer.id, answer.status()), (answered, 0));
        answered += 1;
        answered
    };
    for (n, piece) in bytes.chunks(PIECE).enumerate() {
        session.send(WRITE, sent, &write_body(handle, (offset + n * PIECE) as u64, piece));
        sent += 1;
        if n >= WRITES {
            take(session);
        }
    }
    for (kind, body) in last {
        session.send(*kind, sent, body);
        sent += 1;
    }
    while take(session) < sent {}
}

#[test]
fn winscp_uploads_a_small_file() {
    on_each_store(uploads_a_small_file);
}

fn uploads_a_small_file(place: &Place) {
    let mut session = begin(place);
    let bytes = noise(90_000, 1);
    // The CLOSE and the SETSTAT go out before the answers to the WRITEs are taken.
    let handle = open_plainly(&mut session, 3, "/small.txt", WRITE_CREATE | EXCLUSIVE).string(HANDLE).to_vec();
    let end = |handle: &[u8], time| [(CLOSE, string(handle)), (SETSTAT, [path("/small.txt"), times(time)].concat())];
    send_all(&mut session, &handle, 0, &bytes, &end(&handle, 1_400_000_000));
    place.assert_holds_bytes("small.txt", &bytes);
    assert_eq!(place.mtime("small.txt"), 1_400_000_000);

    // Once more: that it is there is learned from the refusal, and then looked at before it is replaced.
    assert_eq!(open_plainly(&mut session, 4, "/small.txt", WRITE_CREATE | EXCLUSIVE).status(), 4);
    let found = session.call(LSTAT, 5, &[&path("/small.txt")]);
    assert_eq!((found.kind, &found.body[4..12]), (ATTRS, &90_000u64.to_be_bytes()[..]));
    let shorter = noise(40_000, 2);
    let handle = open_with_size(&mut session, 6, "/small.txt", shorter.len());
    send_all(&mut session, &handle, 0, &shorter, &end(&handle, 1_400_000_002));
    place.assert_holds_bytes("small.txt", &shorter);
    assert_eq!(place.mtime("small.txt"), 1_400_000_002);
}

#[test]
fn winscp_replaces_a_large_file_by_way_of_a_temporary_name() {
    on_each_store(replaces_a_large_file_by_way_of_a_temporary_name);
}

fn replaces_a_large_file_by_way_of_a_temporary_name(place: &Place) {
    place.write("large.bin", b"old");
    let mut session = begin(place);
    assert_eq!(session.call(LSTAT, 3, &[&path("/large.bin")]).kind, ATTRS);
    assert_eq!(session.call(LSTAT, 4, &[&path("/large.bin.filepart")]).status(), 2);
    let bytes = noise(5_000_000, 2);
    let (first, rest) = bytes.split_at(2_000_000);
    let handle = open_with_size(&mut session, 5, "/large.bin.filepart", bytes.len());
    send_all(&mut session, &handle, 0, first, &[(CLOSE, string(&handle))]);
    // Until the end the old file stays.
    place.assert_holds_bytes("large.bin", b"old");

    // It resumes: the partial file is there, and is opened without TRUNCATE. The SETSTAT comes last.
    let answer = session.call(LSTAT, 6, &[&path("/large.bin.filepart")]);
    assert_eq!(answer.body[4..12], 2_000_000u64.to_be_bytes());
    let handle = open_plainly(&mut session, 7, "/large.bin.filepart", WRITE_CREATE).string(HANDLE).to_vec();
    send_all(&mut session, &handle, first.len(), rest, &[(CLOSE, string(&handle))]);
    assert_eq!(session.call(REMOVE, 8, &[&path("/large.bin")]).status(), 0);
    assert_eq!(session.call(RENAME, 9, &[&path("/large.bin.filepart"), &path("/large.bin")]).status(), 0);
    assert_eq!(session.call(SETSTAT, 10, &[&path("/large.bin"), &rights_and_times(1_400_000_001)]).status(), 0);
    place.assert_holds_bytes("large.bin", &bytes);
    assert_eq!(place.mtime("large.bin"), 1_400_000_001);
    assert!(!place.has("large.bin.filepart"));
}

#[test]
fn winscp_duplicates_a_file_and_compares_digests() {
    on_each_store(duplicates_a_file_and_compares_digests);
}

fn duplicates_a_file_and_compares_digests(place: &Place) {
    let bytes = noise(300_000, 6);
    place.write("first", &bytes);
    let mut session = begin(place);
    let source = open_plainly(&mut session, 3, "/first", FOR_READING).string(HANDLE).to_vec();
    let target = open_plainly(&mut session, 4, "/second", WRITE_CREATE | EXCLUSIVE).string(HANDLE).to_vec();
    let copy = [string(b"copy-data"), string(&source), vec![0; 16], string(&target), vec![0; 8]].concat();
    assert_eq!(session.call(EXTENDED, 5, &[&copy]).status(), 0);
    // The time is set before the copy is closed.
    assert_eq!(session.call(SETSTAT, 6, &[&path("/second"), &rights_and_times(1_400_000_003)]).status(), 0);
    assert_eq!((session.close(7, &source), session.close(8, &target)), (0, 0));
    place.assert_holds_bytes("second", &bytes);
    assert_eq!(place.mtime("second"), 1_400_000_003);

    let digest = |session: &mut RawSftp, id, name: &str| {
        let fields = [string(b"check-file-name"), path(name), string(b"sha256"), vec![0; 20]].concat();
        let answer = session.call(EXTENDED, id, &[&fields]);
        assert_eq!((answer.kind, &answer.body[..10]), (EXTENDED_REPLY, &string(b"sha256")[..]));
        answer.body[10..].to_vec()
    };
    let both = [digest(&mut session, 9, "/first"), digest(&mut session, 10, "/second")];
    assert_eq!((both[0].len(), both[0] == both[1]), (32, true));
}

#[test]
fn winscp_lists_and_downloads_with_requests_in_advance() {
    on_each_store(lists_and_downloads_with_requests_in_advance);
}

fn lists_and_downloads_with_requests_in_advance(place: &Place) {
    place.write_many("file", 1000);
    let bytes = noise(3_000_001, 3);
    place.write("big", &bytes);
    let mut session = begin(place);
    let handle = session.call(OPENDIR, 3, &[&path("/")]).string(HANDLE).to_vec();
    let mut names = 0;
    // One READDIR ahead: the next is sent before the names of this one are looked at.
    session.send(READDIR, 100, &string(&handle));
    for id in 100.. {
        let answer = session.receive();
        assert_eq!(answer.id, id);
        if answer.kind != NAME {
            assert_eq!((answer.kind, answer.status()), (STATUS, 1));
            break;
        }
        session.send(READDIR, id + 1, &string(&handle));
        names += u32::from_be_bytes(answer.body[..4].try_into().unwrap());
    }
    assert_eq!(names, 1000 + 2 + 2, "with `/read-only`, `.` and `..`");
    assert_eq!(session.close(4, &handle), 0);

    let handle = session.open("/big", FOR_READING);
    let ask = |session: &mut RawSftp, n: usize| {
        session.ask_to_read(200 + n as u32, &handle, (n * PIECE) as u64, PIECE as u32);
    };
    (0..READS).for_each(|n| ask(&mut session, n));
    let mut back: Vec<u8> = Vec::new();
    for n in 0.. {
        let answer = session.receive();
        assert_eq!(answer.id, 200 + n as u32);
        if answer.kind != DATA {
            // The end: it closes at once, and takes the answers that are still due afterwards.
            assert_eq!(answer.status(), 1);
            session.send(CLOSE, 5, &string(&handle));
            for late in n + 1..n + READS {
                let answer = session.receive();
                assert_eq!((answer.id, answer.status()), (200 + late as u32, 1));
            }
            let closed = session.receive();
            assert_eq!((closed.id, closed.status()), (5, 0));
            break;
        }
        back.extend(answer.string(DATA));
        ask(&mut session, n + READS);
    }
    assert!(back == bytes);
}

/// A folder goes up with its time and its rights, its files below it; it is taken away from the innermost on.
#[test]
fn winscp_uploads_and_removes_a_tree() {
    on_each_store(uploads_and_removes_a_tree);
}

fn uploads_and_removes_a_tree(place: &Place) {
    const MKDIR: u8 = 14;
    const RMDIR: u8 = 15;
    let mut session = begin(place);
    let no_attributes = [0; 4];
    for (id, folder) in [(3, "/grün"), (4, "/grün/in it")] {
        assert_eq!(session.call(LSTAT, id, &[&path(folder)]).status(), 2);
        assert_eq!(session.call(MKDIR, id + 10, &[&path(folder), &no_attributes]).status(), 0);
        assert_eq!(session.call(SETSTAT, id + 20, &[&path(folder), &rights_and_times(1_400_000_004)]).status(), 0);
    }
    // A folder that is there is learned from the refusal.
    assert_eq!(session.call(MKDIR, 5, &[&path("/grün"), &no_attributes]).status(), 4);
    assert_eq!(session.call(LSTAT, 6, &[&path("/grün")]).kind, ATTRS);
    let bytes = noise(20_000, 7);
    let handle = open_plainly(&mut session, 7, "/grün/in it/fi'le", WRITE_CREATE | EXCLUSIVE).string(HANDLE).to_vec();
    let time = [path("/grün/in it/fi'le"), times(1_400_000_005)].concat();
    send_all(&mut session, &handle, 0, &bytes, &[(CLOSE, string(&handle)), (SETSTAT, time)]);
    place.assert_holds_bytes("grün/in it/fi'le", &bytes);
    assert_eq!(place.mtime("grün/in it/fi'le"), 1_400_000_005);

    assert_eq!(session.call(RENAME, 8, &[&path("/grün"), &path("/moved")]).status(), 0);
    assert!(place.has("moved/in it/fi'le") && !place.has_folder("grün"));
    assert_eq!(session.call(RMDIR, 9, &[&path("/moved")]).status(), 4, "it is not empty");
    for (id, kind, name) in [(10, REMOVE, "/moved/in it/fi'le"), (11, RMDIR, "/moved/in it"), (12, RMDIR, "/moved")] {
        assert_eq!(session.call(kind, id, &[&path(name)]).status(), 0, "{name}");
    }
    assert!(!place.has_folder("moved"));
}
