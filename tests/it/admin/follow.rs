//! `lockgate events follow` over connections that are lost, and on a terminal.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::Administered;
use super::events::with_trail;
use super::stream::Follower;
use crate::support::events::field;
use crate::support::gateway::lockgate;
use crate::support::http::Place;
use crate::support::process::{LIMIT, Running, program, until};
use crate::support::relay::Relay;
use crate::support::sftp::Sftp;
use crate::support::terminal::Terminal;

/// The command under way, with its standard output in a file.
struct Following {
    _command: Running,
    printed: PathBuf,
}

impl Following {
    fn start(folder: &Path, words: &[&str]) -> Following {
        let printed = folder.join("printed");
        let mut command = program("sh");
        command.args(["-c", "exec \"$0\" \"$@\" >\"$OUT\"", env!("CARGO_BIN_EXE_lockgate")]).env("OUT", &printed);
        command.args(["events", "follow"]).args(words);
        Following { _command: Running::start(&mut command), printed }
    }

    /// The paths of the events that were printed so far.
    fn paths(&self) -> Vec<String> {
        let printed = fs::read_to_string(&self.printed).unwrap_or_default();
        let whole = printed.rsplit_once('\n').map_or("", |(whole, _)| whole);
        let events = whole.lines().map(|line| serde_json::from_str::<Value>(line).expect("a line of JSON"));
        events.map(|event| field(&event, "logical-path").to_owned()).collect()
    }

    /// Waits until this was printed last.
    #[track_caller]
    fn await_path(&self, path: &str) {
        until(path, LIMIT, || self.paths().last().is_some_and(|last| last == path).then_some(()));
    }
}

/// A file with a token of an auditor.
fn token_file(administered: &Administered) -> PathBuf {
    let file = administered.door.setup.folder().join("token");
    fs::write(&file, &administered.tokens.auditor).unwrap();
    file
}

#[test]
fn it_goes_on_over_a_lost_connection_without_loss_or_doubles() {
    let administered = with_trail();
    let Place::Tcp(address) = &administered.tcp else { panic!("no address") };
    let is_held = Arc::new(AtomicBool::new(false));
    let held = is_held.clone();
    let relay = Relay::watching(address.port(), move |_| {
        while held.load(Ordering::Acquire) {
            thread::sleep(Duration::from_millis(10));
        }
    });
    let (url, token) = (format!("http://127.0.0.1:{}", relay.port), token_file(&administered));
    let words = ["--user", "alice", "--activity", "mkdir", "--url", &url, "--token-file", token.to_str().unwrap()];
    let following = Following::start(administered.door.setup.folder(), &words);
    administered.call_event(|call| field(call, "path").starts_with("/api/v1/events/stream"));
    let mut alice = Sftp::connect(&administered.door.client, LIMIT);
    let mut expected = Vec::new();
    for round in 0..3 {
        for number in 0..2 {
            // Nobody follows while the second one happens.
            let path = format!("/{round}-{number}");
            alice.make_directory(&path).unwrap();
            expected.push(path);
            if number == 0 {
                following.await_path(&expected[expected.len() - 1]);
                is_held.store(true, Ordering::Release);
                relay.cut();
            }
        }
        is_held.store(false, Ordering::Release);
        following.await_path(&expected[expected.len() - 1]);
    }
    assert_eq!(following.paths(), expected);
    let calls = administered.door.gateway.events.of_type("ADMIN_CALL");
    let followed = calls.iter().filter(|call| field(call, "path").starts_with("/api/v1/events/stream"));
    assert!(followed.count() >= 4, "{calls:?}");
}

#[test]
fn it_begins_with_the_last_ones_and_goes_on() {
    let administered = with_trail();
    let setup = administered.door.setup.clone();
    let config = setup.folder().join("config.yaml");
    administered.door.client.sftp("mkdir /a\nmkdir /b\nmkdir /c\nmkdir /of-b\nrmdir /of-b").succeeded();
    let gateway = &administered.door.gateway;
    gateway.events.await_event("DISCONNECTED", |event| field(event, "user") == "alice");
    let words = ["--activity", "mkdir", "--path", "/?", "--last", "2", "--config", config.to_str().unwrap()];
    let following = Following::start(setup.folder(), &words);
    following.await_path("/c");
    assert_eq!(following.paths(), ["/b", "/c"]);
    // The lines are those of the trail.
    let trail = fs::read_to_string(setup.folder().join("events/e.ndjson")).unwrap();
    let printed = fs::read_to_string(&following.printed).unwrap();
    assert!(printed.lines().all(|line| trail.lines().any(|recorded| recorded == line)), "{printed}");
    administered.call_event(|call| field(call, "path").starts_with("/api/v1/events/stream"));
    administered.door.client.sftp("mkdir /d\nmkdir /e").succeeded();
    following.await_path("/e");
    assert_eq!(following.paths(), ["/b", "/c", "/d", "/e"]);
    // More than there are.
    let all = Following::start(
        &setup.subfolder("all"),
        &["--activity", "rmdir", "--last", "9", "--config", config.to_str().unwrap()],
    );
    all.await_path("/of-b");
    assert_eq!(all.paths(), ["/of-b"]);
}

#[test]
fn it_goes_on_with_the_gateway_that_comes_after() {
    let administered = with_trail();
    let setup = administered.door.setup.clone();
    let config = setup.folder().join("config.yaml");
    let words = ["--activity", "mkdir", "--config", config.to_str().unwrap()];
    let following = Following::start(setup.folder(), &words);
    administered.call_event(|call| field(call, "path").starts_with("/api/v1/events/stream"));
    administered.door.client.sftp("mkdir /one").succeeded();
    following.await_path("/one");
    administered.door.gateway.kill();
    let gateway = setup.start();
    gateway.client("alice", &administered.door.key).sftp("mkdir /two\nmkdir /three").succeeded();
    following.await_path("/three");
    assert_eq!(following.paths(), ["/one", "/two", "/three"]);
    gateway.stop();
}

/// A gateway of which the test says what it sends: the request of each connection, and the connection.
fn next_call(listener: &TcpListener) -> (Vec<String>, TcpStream) {
    let (stream, _) = listener.accept().unwrap();
    stream.set_read_timeout(Some(LIMIT)).unwrap();
    let lines = BufReader::new(stream.try_clone().unwrap()).lines().map(Result::unwrap);
    let head = lines.take_while(|line| !line.is_empty()).map(|line| line.to_ascii_lowercase()).collect();
    (head, stream)
}

fn event(id: &str, path: &str) -> String {
    format!("id: {id}\ndata: {{\"event-id\":\"{id}\",\"activity-type\":\"MKDIR\",\"logical-path\":\"{path}\"}}\n\n")
}

/// Before the first event too, and over a connection of which only one side is left, which is known by its silence.
#[test]
fn it_says_how_far_it_is_and_does_not_wait_for_the_dead() {
    const ANSWER: &str = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n: the events follow\n\n";
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let folder = tempfile::tempdir().unwrap();
    let token = folder.path().join("token");
    fs::write(&token, "lgt_x").unwrap();
    let following = Following::start(folder.path(), &["--url", &url, "--token-file", token.to_str().unwrap()]);
    let id = |number: usize| format!("019fb73e-20fa-7b3d-8f21-{number:012}");
    let says = |head: &[String], number: usize| head.contains(&format!("last-event-id: {}", id(number)));

    let (head, mut stream) = next_call(&listener);
    assert!(!head.iter().any(|line| line.starts_with("last-event-id")), "{head:?}");
    write!(stream, "{ANSWER}id: {}\n\n", id(1)).unwrap();
    drop(stream);
    let (head, mut stream) = next_call(&listener);
    assert!(says(&head, 1), "{head:?}");
    // Half an event is none.
    write!(stream, "{ANSWER}{}: nothing happens\n\nid: {}\n\ndata: {{\"logical", event(&id(2), "/a"), id(3)).unwrap();
    following.await_path("/a");
    let (head, mut other) = next_call(&listener);
    assert!(says(&head, 3), "{head:?}");
    write!(other, "{ANSWER}{}", event(&id(4), "/b")).unwrap();
    following.await_path("/b");
    drop(other);
    let (head, mut last) = next_call(&listener);
    assert!(says(&head, 4), "{head:?}");
    write!(last, "{ANSWER}{}", event(&id(5), "/c")).unwrap();
    following.await_path("/c");
    assert_eq!(following.paths(), ["/a", "/b", "/c"]);
}

/// A gateway that cannot read its trail says so and ends the stream, however often it is asked.
#[test]
fn it_ends_when_the_gateway_cannot_go_on_and_asks_ever_later_before() {
    const ANSWER: &str = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n: the events follow\n\n";
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let folder = tempfile::tempdir().unwrap();
    let token = folder.path().join("token");
    fs::write(&token, "lgt_x").unwrap();
    let mut command = lockgate();
    command.args(["events", "follow", "--url", &url, "--token-file"]).arg(&token);
    let following = Running::start(&mut command);
    let began = Instant::now();
    // Half a second, one, and two, for nothing comes.
    for _ in 0..4 {
        let (_, mut stream) = next_call(&listener);
        write!(stream, "{ANSWER}").unwrap();
    }
    assert!(began.elapsed() >= Duration::from_millis(3500), "{:?}", began.elapsed());
    let (_, mut stream) = next_call(&listener);
    write!(stream, "{ANSWER}event: failed\ndata: {{\"detail\":\"e.ndjson: Input/output error\"}}\n\n").unwrap();
    drop(stream);
    following.finish(LIMIT).failed().says("the gateway cannot go on: e.ndjson: Input/output error");
}

#[test]
fn the_stream_says_from_where_on_and_how_far_it_is() {
    let administered = with_trail();
    let question = "?user=alice&activity=mkdir";
    let mut follower = Follower::start(&administered, question, None);
    let first = follower.position();
    // It is lost before anything was seen.
    drop(follower);
    let mut alice = Sftp::connect(&administered.door.client, LIMIT);
    alice.make_directory("/one").unwrap();
    let mut follower = Follower::start(&administered, question, Some(&first));
    assert_eq!(follower.position(), first);
    assert_eq!(field(&follower.event().1, "logical-path"), "/one");
    // What does not fit moves it on as well.
    alice.put("/other", b"content");
    let passed = administered.door.gateway.events.await_event("CLOSE", |_| true);
    until("sign of life", LIMIT, || follower.line().starts_with(": nothing happens").then_some(()));
    let far = follower.position();
    assert!(far.as_str() >= field(&passed, "event-id"), "{far}: {passed}");
    drop(follower);
    alice.make_directory("/two").unwrap();
    let mut follower = Follower::start(&administered, question, Some(&far));
    assert_eq!(field(&follower.event().1, "logical-path"), "/two");
}

#[test]
fn on_a_terminal_it_shows_coloured_rows() {
    let administered = with_trail();
    let config = administered.door.setup.folder().join("config.yaml");
    for no_color in ["", "1"] {
        let mut command: Command = lockgate();
        command.args(["events", "follow", "--user", "alice", "--config"]).arg(&config).env("NO_COLOR", no_color);
        let terminal = Terminal::start(&command, None);
        terminal.line_with(&["TIME (UTC)", "ACTIVITY", "DETAIL"]);
        let before = administered.door.gateway.events.all().len();
        administered.door.gateway.events.until("call that follows", |events| {
            let calls = events.iter().filter(|call| field(call, "path").contains("/events/stream"));
            (calls.count() >= if no_color.is_empty() { 1 } else { 2 }).then_some(())
        });
        administered.door.client.sftp(&format!("mkdir /made-{before}")).succeeded();
        terminal.line_with(&["MKDIR", "alice", &format!("/made-{before}")]);
        let login = terminal.line_with(&["CONNECTED", "alice"]);
        assert_eq!(login.contains("\u{1b}[32m"), no_color.is_empty(), "{login:?}");
        assert!(!terminal.raw().contains("\"activity-type\""), "{}", terminal.raw());
    }
}
