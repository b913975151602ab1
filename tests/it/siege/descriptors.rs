//! A gateway with few descriptors, and one user who opens all that can be opened.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use serde_json::json;

use crate::support::data::{MIB, noise};
use crate::support::gateway::Gateway;
use crate::support::keys::Key;
use crate::support::plain_proxy::{Proxy, Request};
use crate::support::process::{LIMIT, until};
use crate::support::raw_sftp::{FOR_READING, FOR_WRITING, RawSftp, STAT, string};
use crate::support::s3;
use crate::support::setup::{Setup, User};
use crate::support::sftp::{FAILURE, Handle, Sftp};

/// What the process gets: a sixteenth of what a handle for each that is opened would take.
const LIMIT_OF_FILES: usize = 256;

const HANDLES: usize = 3_000;

struct Few {
    gateway: Gateway,
    greedy: Sftp,
    root: PathBuf,
    key: Key,
    _setup: Setup,
}

/// The gateway, with a session of alice, and bob and carol beside her.
fn few() -> Few {
    let mut setup = Setup::new();
    let root = setup.local_store("main");
    let key = setup.key("all");
    for name in ["alice", "bob", "carol"] {
        setup.user(User::new(name).key(&key).home("/", &format!("main:/{name}")));
        fs::create_dir(root.join(name)).unwrap();
    }
    let limit = format!("--nofile={LIMIT_OF_FILES}:{LIMIT_OF_FILES}");
    let gateway = Gateway::start_under(&["prlimit", &limit], &setup);
    let greedy = Sftp::connect(&gateway.client("alice", &key), LIMIT);
    Few { gateway, greedy, root, key, _setup: setup }
}

impl Few {
    /// Opens files for writing and has each begun, until one is refused.
    fn upload_all_it_can(&mut self) -> (Vec<Handle>, String) {
        let mut begun = Vec::new();
        loop {
            let handle = self.greedy.open(&format!("/new {}", begun.len()), FOR_WRITING | FOR_READING).unwrap();
            match self.greedy.write(&handle, 0, b"begun") {
                Ok(()) => begun.push(handle),
                Err(refusal) => {
                    assert_eq!(refusal.code, FAILURE);
                    return (begun, refusal.message);
                }
            }
            assert!(begun.len() < LIMIT_OF_FILES, "it has all of them");
        }
    }

    /// What others do meanwhile, on new connections.
    fn assert_that_others_work(&self) {
        let data = noise(8 * MIB, 7);
        for name in ["bob", "carol"] {
            let mut session = Sftp::connect(&self.gateway.client(name, &self.key), LIMIT);
            session.put("/file", &data);
            assert_eq!(session.stat("/file").unwrap().size, Some(8 * MIB));
            assert!(session.get("/file") == data);
            assert_eq!(session.names("/"), ["file"]);
            session.rename("/file", "/renamed").unwrap();
            session.remove("/renamed").unwrap();
        }
    }

    fn descriptors(&self) -> usize {
        fs::read_dir(format!("/proc/{}/fd", self.gateway.pid())).unwrap().count()
    }

    fn end(self) {
        let log = self.gateway.log();
        for word in ["does not answer", "Too many open files", "no descriptors left", "could not be taken"] {
            assert!(!log.contains(word), "{word}: {log}");
        }
        drop(self.greedy);
        let events = self.gateway.events.clone();
        self.gateway.stop();
        let told = format!("{:?}", events.all());
        assert!(!told.contains("does not answer") && !told.contains("no descriptors left"), "{told}");
    }
}

#[test]
fn one_who_opens_all_files_keeps_nobody_from_opening_one() {
    let mut few = few();
    let content = noise(300_000, 3);
    for n in 0..3 {
        fs::write(few.root.join(format!("alice/{n}")), &content).unwrap();
    }
    let read: Vec<Handle> =
        (0..HANDLES).map(|n| few.greedy.open(&format!("/{}", n % 3), FOR_READING).unwrap()).collect();
    assert!(few.descriptors() < LIMIT_OF_FILES / 2, "{}", few.descriptors());
    few.assert_that_others_work();
    // Whichever handle is used again is open again.
    for handle in read.iter().step_by(97) {
        assert!(few.greedy.read(handle, 100, 200_000).unwrap() == content[100..200_100]);
    }
    let (begun, message) = few.upload_all_it_can();
    assert!(message.contains("too many files are open"), "{message}");
    assert!(begun.len() >= 16, "{}", begun.len());
    few.assert_that_others_work();
    // One that is closed makes room for another.
    few.greedy.close(&begun[0]).unwrap();
    assert_eq!(fs::read(few.root.join("alice/new 0")).unwrap(), b"begun");
    assert_eq!(few.greedy.get("/0"), content);
    for handle in begun[1..].iter().chain(&read) {
        few.greedy.close(handle).unwrap();
    }
    few.assert_that_others_work();
    few.end();
}

#[test]
fn what_does_not_fit_is_said_at_the_start() {
    let few = few();
    let log = few.gateway.log();
    assert!(log.contains("do not fit into 256 descriptors"), "{log}");
    few.end();
}

/// A file that was closed meanwhile is told from another one of its name.
#[test]
fn a_file_that_was_closed_and_replaced_is_not_read() {
    let mut few = few();
    let content = noise(1000, 4);
    for name in ["replaced", "removed", "changed", "other"] {
        fs::write(few.root.join("alice").join(name), &content).unwrap();
    }
    let [replaced, removed, changed] = ["/replaced", "/removed", "/changed"].map(|name| few.greedy.open_to_read(name));
    let others: Vec<Handle> = (0..400).map(|_| few.greedy.open_to_read("/other")).collect();
    let home = few.root.join("alice");
    fs::write(home.join("new"), noise(1000, 5)).unwrap();
    fs::rename(home.join("new"), home.join("replaced")).unwrap();
    fs::remove_file(home.join("removed")).unwrap();
    fs::write(home.join("changed"), noise(1000, 6)).unwrap();
    for handle in [&replaced, &removed] {
        let refusal = few.greedy.read(handle, 0, 1000).unwrap_err();
        assert!(refusal.message.contains("replaced meanwhile"), "{refusal:?}");
    }
    // The same file, with what somebody wrote in place.
    assert!(few.greedy.read(&changed, 0, 1000).unwrap() == noise(1000, 6));
    // One that is open keeps what was removed.
    let last = &others[399];
    fs::remove_file(home.join("other")).unwrap();
    assert!(few.greedy.read(last, 0, 1000).unwrap() == content);
    drop(others);
    few.end();
}

/// Connections are bounded by what there is, and those that are refused hear why.
#[test]
fn connections_leave_descriptors_for_files() {
    let few = few();
    let silent: Vec<_> =
        (0..LIMIT_OF_FILES).map(|_| std::net::TcpStream::connect(("127.0.0.1", few.gateway.port)).unwrap()).collect();
    until("the connections that make room", LIMIT, || (few.descriptors() < LIMIT_OF_FILES * 3 / 4).then_some(()));
    few.assert_that_others_work();
    drop(silent);
    few.end();
}

/// Each request to a bucket has a connection. Further ones wait, and nobody's fail.
#[test]
fn requests_to_a_bucket_leave_descriptors() {
    const SESSIONS: usize = 6;
    const EACH: u32 = 60;
    let server = s3::new_store();
    let proxy = Proxy::start(server.port());
    let mut setup = Setup::new();
    let mut options = server.options();
    options["aws_endpoint"] = proxy.endpoint().into();
    setup.store("main", json!({ "url": server.url(), "options": options }));
    let key = setup.key("alice");
    setup.user(User::new("alice").key(&key).home("/", "main:/"));
    let limit = format!("--nofile={LIMIT_OF_FILES}:{LIMIT_OF_FILES}");
    let gateway = Gateway::start_under(&["prlimit", &limit], &setup);
    proxy.delay(Duration::from_millis(700));
    let mut sessions: Vec<RawSftp> =
        (0..SESSIONS).map(|_| RawSftp::connect(&gateway.client("alice", &key), LIMIT)).collect();
    for (number, session) in sessions.iter_mut().enumerate() {
        for id in 0..EACH {
            session.send(STAT, id, &string(format!("/{number}-{id}").as_bytes()));
        }
    }
    for session in &mut sessions {
        let mut ids: Vec<u32> = (0..EACH)
            .map(|_| session.receive())
            .inspect(|a| assert_eq!(a.status(), 2, "{a:?}"))
            .map(|a| a.id)
            .collect();
        ids.sort_unstable();
        assert_eq!(ids, (0..EACH).collect::<Vec<_>>());
    }
    let at_once = most_at_once(&proxy.requests());
    assert!((8..LIMIT_OF_FILES / 2).contains(&at_once), "{at_once} requests at once");
    let log = gateway.log();
    assert!(!log.contains("Too many open files"), "{log}");
    drop(sessions);
    gateway.stop();
}

/// How many of these requests were under way at some moment.
fn most_at_once(requests: &[Request]) -> usize {
    let is_under_way = |other: &&Request, at| other.began <= at && other.ended.is_none_or(|ended| ended > at);
    requests.iter().map(|one| requests.iter().filter(|other| is_under_way(other, one.began)).count()).max().unwrap_or(0)
}
