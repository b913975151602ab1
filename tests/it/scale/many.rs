//! Two hundred uploads at once in a small budget, and what happens when memory and the staging folder are spent.

use std::sync::Mutex;
use std::thread;
use std::time::{Duration, Instant};

use super::{assert_memory, speed};
use crate::support::campaign::{alone, report, short_or_long};
use crate::support::client::Client;
use crate::support::content::{Content, recognize};
use crate::support::data::{KIB, MIB};
use crate::support::files::{Failed, Files, PIECE};
use crate::support::gateway::Gateway;
use crate::support::keys::Key;
use crate::support::raw_sftp::{FOR_WRITING, WRITE, write_body};
use crate::support::s3::S3Store;
use crate::support::setup::{Setup, User};

/// No session lives longer.
const LIMIT: Duration = Duration::from_secs(3000);

/// WRITEs under way on one connection.
const WINDOW: u64 = 20;

/// Connections that log in at the same time.
const AT_ONCE: usize = 8;

struct Bench {
    setup: Setup,
    s3: S3Store,
    key: Key,
}

impl Bench {
    fn new(budget: u64) -> Bench {
        let mut setup = Setup::new();
        let s3 = setup.s3_store("lake");
        setup.memory_store("memory");
        let key = setup.key("alice");
        setup.user(User::new("alice").key(&key).home("/s3", "lake:/").home("/memory", "memory:/"));
        setup.limit("transfer_memory", format!("{}MiB", budget / MIB));
        Bench { setup, s3, key }
    }

    fn start(&self) -> (Gateway, Client) {
        let gateway = self.setup.start();
        let client = gateway.client("alice", &self.key);
        (gateway, client)
    }
}

/// Opens sessions, a few at a time: a gateway takes only so many that have not logged in.
fn connect(client: &Client, count: usize) -> Vec<Files> {
    let sessions = Mutex::new(Vec::new());
    thread::scope(|scope| {
        for turn in 0..AT_ONCE {
            let sessions = &sessions;
            scope.spawn(move || {
                for _ in (turn..count).step_by(AT_ONCE) {
                    let session = Files::connect(client, LIMIT);
                    sessions.lock().unwrap().push(session);
                }
            });
        }
    });
    sessions.into_inner().unwrap()
}

/// Uploads all contents over one connection at the same time, a piece of each in turn.
fn upload_side_by_side(session: &mut Files, contents: &[Content]) {
    let handles: Vec<_> =
        contents.iter().map(|content| session.open(&format!("/s3/{}", content.id), FOR_WRITING).unwrap()).collect();
    let (mut at, mut under_way) = (0, 0);
    while at < contents[0].length {
        for (handle, content) in handles.iter().zip(contents) {
            session.ask(WRITE, &write_body(handle, at, &content.piece(at, PIECE))).unwrap();
            under_way += 1;
            if under_way == WINDOW {
                session.success().unwrap();
                under_way -= 1;
            }
        }
        at += PIECE;
    }
    (0..under_way).for_each(|_| session.success().unwrap());
    for handle in &handles {
        session.close(handle).unwrap();
    }
}

/// Two hundred uploads of `length` bytes at once, over so many connections.
fn two_hundred_uploads(connections: usize, length: u64, budget: u64) {
    let _alone = alone();
    let bench = Bench::new(budget);
    let (gateway, client) = bench.start();
    let mut sessions = connect(&client, connections);
    let contents: Vec<Content> = (1..=200).map(|id| Content::new(id, length)).collect();
    let started = Instant::now();
    thread::scope(|scope| {
        for (session, share) in sessions.iter_mut().zip(contents.chunks(200 / connections)) {
            scope.spawn(move || upload_side_by_side(session, share));
        }
    });
    let what = format!("200 uploads of {} MiB over {connections} connections", length / MIB);
    report(&format!("{what}: {}", speed(200 * length, started.elapsed().as_secs_f64())));
    assert_memory(&what, &gateway, budget, connections as u64);
    for content in contents {
        let name = content.id.to_string();
        assert_eq!(bench.s3.read(&name, |object| recognize(object)), Ok(content), "{name}");
        bench.s3.remove(&name);
    }
    assert_eq!(bench.s3.unfinished_uploads(), 0);
    drop(sessions);
    gateway.stop();
}

#[test]
fn two_hundred_uploads_at_once_over_twenty_connections() {
    let (length, budget) = short_or_long((8 * MIB, 32 * MIB), (64 * MIB, 128 * MIB));
    two_hundred_uploads(20, length, budget);
}

#[test]
fn two_hundred_uploads_at_once_over_two_hundred_connections() {
    let (length, budget) = short_or_long((6 * MIB, 32 * MIB), (64 * MIB, 128 * MIB));
    two_hundred_uploads(200, length, budget);
}

#[track_caller]
fn assert_no_space(error: Failed) {
    match error {
        Failed::Refused { message, .. } => assert!(message.contains("no space left"), "{message}"),
        lost => panic!("{lost:?}"),
    }
}

#[test]
fn a_full_staging_folder_fails_writers_and_nothing_else() {
    let _alone = alone();
    let mut bench = Bench::new(16 * MIB);
    bench.setup.limit("staging", "4MiB");
    let (gateway, client) = bench.start();
    let mut session = Files::connect(&client, LIMIT);
    let stored = Content::new(1000, 9 * MIB);
    session.upload("/s3/stored", stored, || {}).unwrap();

    // Each fills a part that it cannot send yet. The first take the memory, the next the disk, the others get nothing.
    let length = 5 * MIB - KIB;
    let mut open = Vec::new();
    let mut refused = 0;
    for id in 1..=8 {
        let content = Content::new(id, length);
        let mut writer = Files::connect(&client, LIMIT);
        let handle = writer.open(&format!("/s3/{id}"), FOR_WRITING).unwrap();
        match writer.write(&handle, content, 0, length) {
            Ok(()) => open.push((writer, handle, content)),
            Err(error) => {
                assert_no_space(error);
                refused += 1;
            }
        }
    }
    assert!(refused > 0 && !open.is_empty(), "{refused} of 8 were refused");

    // While they stay open, others work.
    let (mut hash, mut other) = (crate::support::content::Hash::new(), Files::connect(&client, LIMIT));
    other.read("/s3/stored", |bytes| hash.add(bytes)).unwrap();
    assert_eq!(hash.finish(), stored.sha256());
    let small = Content::new(1001, 64 * KIB);
    other.upload("/s3/small", small, || {}).unwrap();
    assert_eq!(bench.s3.read("small", |object| recognize(object)), Ok(small));

    // What was accepted goes to disk a little later, so CLOSE may bring the error; then there is no file.
    let mut kept = 0;
    for (mut writer, handle, content) in open {
        let closed = writer.close(&handle);
        let name = content.id.to_string();
        match closed {
            Ok(()) => assert_eq!(bench.s3.read(&name, |object| recognize(object)), Ok(content), "{name}"),
            Err(error) => {
                assert_no_space(error);
                assert!(!bench.s3.objects().contains_key(&name), "{name} was refused and is there");
                continue;
            }
        }
        kept += 1;
    }
    assert!(kept > 0, "no upload was kept");
    assert_eq!(bench.s3.unfinished_uploads(), 0);
    assert_memory("memory and staging spent", &gateway, 16 * MIB, 10);
    gateway.stop();
}
