//! Uploads that are cut off after any number of bytes, by the client or by the gateway's death: the old file stays whole, and
//! nothing is left over.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::path::PathBuf;
use std::time::Duration;

use rustix::process::Signal;
use serde_json::Value;

use crate::support::client::Client;
use crate::support::content::{Content, recognize};
use crate::support::data::{KIB, MIB};
use crate::support::events::{field, is_end};
use crate::support::files::Files;
use crate::support::gateway::Gateway;
use crate::support::keys::Key;
use crate::support::process::{Finished, LIMIT, Running, until};
use crate::support::raw_sftp::{CLOSE, FOR_WRITING, string};
use crate::support::relay::{Cut, Relay};
use crate::support::s3::S3Store;
use crate::support::setup::{Setup, User};

/// More than one part on S3, and not a whole number of anything.
const LENGTH: u64 = 12 * MIB + 77;

const OLD: Content = Content { id: 1, length: 300 * KIB + 5 };
const NEW: Content = Content { id: 2, length: LENGTH };

/// Where an upload is cut off.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum At {
    /// When so many bytes of the file are acknowledged.
    Byte(u64),
    /// When CLOSE is sent, before its answer is read, so many milliseconds later.
    Close(u64),
}

/// At the start, around a packet and around a part's size, and at the end.
const PLACES: [At; 15] = [
    At::Byte(0),
    At::Byte(1),
    At::Byte(32 * KIB),
    At::Byte(5 * MIB - 1),
    At::Byte(5 * MIB),
    At::Byte(5 * MIB + 1),
    At::Byte(8 * MIB - 1),
    At::Byte(8 * MIB),
    At::Byte(8 * MIB + 1),
    At::Byte(10 * MIB),
    At::Byte(LENGTH - 1),
    At::Byte(LENGTH),
    At::Close(0),
    At::Close(5),
    At::Close(50),
];

enum Behind {
    Local(PathBuf),
    S3(S3Store),
}

struct Bench {
    setup: Setup,
    gateway: Gateway,
    key: Key,
    behind: Behind,
    /// How many connections with a transfer have ended.
    ended: usize,
}

fn bench(store: &str, partial_uploads: &str) -> Bench {
    let mut setup = Setup::new();
    let behind = match store {
        "local" => Behind::Local(setup.local_store("main")),
        _ => Behind::S3(setup.s3_store("main")),
    };
    let key = setup.key("alice");
    setup.user(User::new("alice").key(&key).home("/", "main:/"));
    setup.config["partial_uploads"] = partial_uploads.into();
    let gateway = setup.start();
    Bench { setup, gateway, key, behind, ended: 0 }
}

impl Bench {
    /// A client whose connection goes through the relay.
    fn client(&self, relay: &Relay) -> Client {
        let mut client = self.gateway.client("alice", &self.key);
        client.port = relay.port;
        client.with(&format!("HostKeyAlias=[127.0.0.1]:{}", self.gateway.port))
    }

    /// Puts the old file in place, past the gateway if it is on disk.
    fn put_old(&mut self, name: &str) {
        match &self.behind {
            Behind::Local(root) => fs::write(root.join(name), OLD.bytes()).unwrap(),
            Behind::S3(_) => {
                let relay = Relay::to(self.gateway.port, Cut::Closed);
                let mut session = Files::connect(&self.client(&relay), LIMIT);
                session.upload(&format!("/{name}"), OLD, || {}).unwrap();
                drop(session);
                self.await_end();
            }
        }
    }

    /// Uploads the new content with OpenSSH's client through the relay.
    fn put(&self, relay: &Relay, name: &str) -> Finished {
        let source = self.setup.folder().join("source");
        fs::write(&source, NEW.bytes()).unwrap();
        let mut client = Running::start(&mut self.client(relay).sftp_command());
        client.feed(format!("put {} /{name}\n", source.display()).as_bytes());
        client.close_input();
        client.finish(LIMIT)
    }

    /// How many bytes a client sends before it opens a file.
    fn bytes_of_a_login(&self) -> u64 {
        let relay = Relay::to(self.gateway.port, Cut::Closed);
        let _session = Files::connect(&self.client(&relay), LIMIT);
        relay.sent()
    }

    /// Waits for the end of one more connection on which a file was opened; its events.
    fn await_end(&mut self) -> Vec<Value> {
        self.ended += 1;
        let session = |event: &Value| field(event, "session-id").to_string();
        self.gateway.events.until(&format!("end of transfer number {}", self.ended), |events| {
            let of_type = |kind| events.iter().filter(move |e| field(e, "activity-type") == kind);
            let opened: BTreeSet<String> = of_type("OPEN").map(session).collect();
            let end = of_type("DISCONNECTED").map(session).filter(|id| opened.contains(id)).nth(self.ended - 1)?;
            Some(events.iter().filter(|e| session(e) == end).cloned().collect())
        })
    }

    /// What stands under a name: a whole content; `None` when there is nothing.
    #[track_caller]
    fn look(&self, name: &str) -> Option<Content> {
        let judged = match &self.behind {
            Behind::Local(root) => File::open(root.join(name)).ok().map(recognize),
            Behind::S3(s3) => s3.objects().contains_key(name).then(|| s3.read(name, |object| recognize(object))),
        };
        judged.map(|content| content.unwrap_or_else(|what| panic!("{name} {what}")))
    }

    /// The bytes under a name.
    fn bytes(&self, name: &str) -> Vec<u8> {
        match &self.behind {
            Behind::Local(root) => fs::read(root.join(name)).unwrap(),
            Behind::S3(s3) => s3.read(name, |object| {
                let mut bytes = Vec::new();
                object.read_to_end(&mut bytes).unwrap();
                bytes
            }),
        }
    }

    /// The names there are.
    fn names(&self) -> BTreeSet<String> {
        match &self.behind {
            Behind::S3(s3) => s3.objects().into_keys().collect(),
            Behind::Local(root) => {
                let names = fs::read_dir(root).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
                names.filter(|name| name != ".lockgate").collect()
            }
        }
    }

    /// Waits until nothing unfinished is left.
    #[track_caller]
    fn await_nothing_left(&self) {
        let left = |folder: PathBuf| fs::read_dir(folder).unwrap().count();
        until("end of what was left over", LIMIT, || {
            let in_store = match &self.behind {
                Behind::Local(root) => left(root.join(".lockgate/uploads")),
                Behind::S3(s3) => s3.unfinished_uploads(),
            };
            // In the staging folder lies the journal of uploads of the gateway that lives, and of no other.
            (in_store == 0 && left(self.setup.folder().join("staging")) == 1).then_some(())
        });
    }

    /// Begins an upload of the new content and brings it to the place where it is to be cut.
    #[track_caller]
    fn upload_up_to(&self, client: &Client, name: &str, place: At) -> Files {
        let mut session = Files::connect(client, LIMIT);
        let handle = session.open(&format!("/{name}"), FOR_WRITING).unwrap();
        match place {
            At::Byte(count) => session.write(&handle, NEW, 0, count).unwrap(),
            At::Close(delay) => {
                session.write(&handle, NEW, 0, LENGTH).unwrap();
                session.ask(CLOSE, &string(&handle)).unwrap();
                std::thread::sleep(Duration::from_millis(delay));
            }
        }
        session
    }
}

/// The last event of a transfer: whether it published the file.
#[track_caller]
fn published(events: &[Value]) -> bool {
    let ends: Vec<_> = events.iter().filter(|event| is_end(event)).collect();
    assert_eq!(ends.len(), 1, "one end: {events:#?}");
    field(ends[0], "activity-type") == "CLOSE" && field(ends[0], "status") == "success"
}

/// Which cut comes next: the server has to bear both.
fn cut_of(round: usize) -> Cut {
    [Cut::Closed, Cut::Reset][round % 2]
}

fn cut_by_the_client(store: &str) {
    let mut bench = bench(store, "discard");
    for (round, place) in PLACES.into_iter().enumerate() {
        let old = format!("old-{round}");
        bench.put_old(&old);
        for (turn, name) in [old.clone(), format!("new-{round}")].into_iter().enumerate() {
            let before = (turn == 0).then_some(OLD);
            let relay = Relay::to(bench.gateway.port, cut_of(round + turn));
            let session = bench.upload_up_to(&bench.client(&relay), &name, place);
            relay.cut();
            let done = published(&bench.await_end());
            drop(session);
            assert!(!done || matches!(place, At::Close(_)), "{place:?}: it was not closed");
            assert_eq!(bench.look(&name), if done { Some(NEW) } else { before }, "{store}, {place:?}, {name}");
        }
        bench.await_nothing_left();
    }
    bench.gateway.stop();
}

#[test]
fn an_upload_to_a_local_store_is_cut_by_the_client_at_any_byte() {
    cut_by_the_client("local");
}

#[test]
fn an_upload_to_s3_is_cut_by_the_client_at_any_byte() {
    cut_by_the_client("s3");
}

/// Cuts the TCP stream itself: in the greeting, in the key exchange, in the login, in the middle of packets, and shortly
/// before the end.
fn cut_in_the_stream(store: &str) {
    let mut bench = bench(store, "discard");
    let whole = Relay::to(bench.gateway.port, Cut::Closed);
    bench.put(&whole, "whole").succeeded();
    bench.await_end();
    let total = whole.sent();
    assert!(total > LENGTH, "{total}");
    bench.put_old("file");
    let from_the_end = [1, 40, 100, 200, 400, 20_000].map(|bytes| total - bytes);
    let login = bench.bytes_of_a_login();
    let starts = [0, 1, 10, 100, 1000, login / 2, login - 200, login - 50];
    let in_the_file = [32 * KIB, 5 * MIB, 8 * MIB - 1, 8 * MIB, 8 * MIB + 1];
    for (round, bytes) in starts.into_iter().chain(in_the_file).chain(from_the_end).enumerate() {
        let before = bench.look("file").expect("the old file");
        let relay = Relay::cutting_after(bench.gateway.port, bytes, cut_of(round));
        let succeeded = bench.put(&relay, "file").status.success();
        if bytes >= login {
            let events = bench.await_end();
            let closed = events.iter().any(|e| field(e, "activity-type") == "CLOSE");
            assert_eq!(bench.look("file"), Some(if closed { NEW } else { before }), "{store}, byte {bytes}");
            assert!(closed || !succeeded, "{store}, byte {bytes}: the client believes that it is done");
            assert!(!closed || bytes > LENGTH, "{store}, byte {bytes}");
        }
        assert_eq!(bench.names(), BTreeSet::from(["file".to_string(), "whole".to_string()]));
    }
    bench.await_nothing_left();
    bench.gateway.stop();
}

#[test]
fn a_connection_to_a_local_store_is_cut_in_the_stream() {
    cut_in_the_stream("local");
}

#[test]
fn a_connection_to_s3_is_cut_in_the_stream() {
    cut_in_the_stream("s3");
}

/// `partial_uploads: publish`: what was acknowledged is published, without a gap.
fn what_arrived_is_published(store: &str) {
    let mut bench = bench(store, "publish");
    for (round, place) in PLACES.into_iter().enumerate() {
        let name = format!("file-{round}");
        bench.put_old(&name);
        let relay = Relay::to(bench.gateway.port, cut_of(round));
        let session = bench.upload_up_to(&bench.client(&relay), &name, place);
        relay.cut();
        bench.await_end();
        drop(session);
        let expected = match place {
            // Nothing was written, so nothing is changed.
            At::Byte(0) => OLD.bytes(),
            At::Byte(count) => NEW.piece(0, count),
            At::Close(_) => NEW.bytes(),
        };
        assert!(bench.bytes(&name) == expected, "{store}, {place:?}");
    }
    // In the middle of a packet nothing is known but that it is the beginning of the file.
    for (round, bytes) in [5 * MIB + 4321, 8 * MIB, LENGTH].into_iter().enumerate() {
        let name = format!("cut-{round}");
        let relay = Relay::cutting_after(bench.gateway.port, bytes, cut_of(round));
        bench.put(&relay, &name).failed();
        bench.await_end();
        let arrived = bench.bytes(&name);
        assert!((arrived.len() as u64) < LENGTH && arrived == NEW.piece(0, arrived.len() as u64), "{store}, {bytes}");
    }
    bench.await_nothing_left();
    bench.gateway.stop();
}

#[test]
fn what_arrived_is_published_on_a_local_store_if_the_operator_wants_it() {
    what_arrived_is_published("local");
}

#[test]
fn what_arrived_is_published_on_s3_if_the_operator_wants_it() {
    what_arrived_is_published("s3");
}

/// The gateway itself is killed, whatever it was told to do with what arrived.
fn cut_by_the_death_of_the_gateway(store: &str) {
    for partial_uploads in ["discard", "publish"] {
        let mut bench = bench(store, partial_uploads);
        bench.put_old("file");
        for place in [At::Byte(1), At::Byte(8 * MIB + 1), At::Byte(LENGTH), At::Close(0), At::Close(5)] {
            let before = bench.look("file").expect("the old file");
            let session = bench.upload_up_to(&bench.gateway.client("alice", &bench.key), "file", place);
            bench.gateway.signal(Signal::KILL);
            bench.gateway.ended(LIMIT);
            bench.gateway = bench.setup.start();
            drop(session);
            let after = bench.look("file").expect("the old file or the new one");
            let may_be_new = matches!(place, At::Close(_));
            assert!(after == before || (may_be_new && after == NEW), "{store}, {place:?}: {after:?}");
            match &bench.behind {
                Behind::Local(_) => bench.await_nothing_left(),
                Behind::S3(s3) => s3.await_sweep_of_parts(),
            }
            assert_eq!(bench.names(), BTreeSet::from(["file".to_string()]));
        }
        bench.gateway.stop();
    }
}

#[test]
fn an_upload_to_a_local_store_is_cut_by_the_death_of_the_gateway() {
    cut_by_the_death_of_the_gateway("local");
}

#[test]
fn an_upload_to_s3_is_cut_by_the_death_of_the_gateway() {
    cut_by_the_death_of_the_gateway("s3");
}
