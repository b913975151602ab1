//! The events as they come, and sessions as recordings.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::process::Command;

use rustix::process::Signal;
use serde_json::Value;

use super::Administered;
use super::events::with_trail;
use crate::support::events::field;
use crate::support::gateway::lockgate;
use crate::support::process::{LIMIT, Running, program, run, tool, until};
use crate::support::sftp::Sftp;

/// A connection that follows, from the body of its answer on.
pub struct Follower {
    lines: BufReader<Box<dyn crate::support::http::Stream>>,
}

impl Follower {
    pub fn start(administered: &Administered, question: &str, last: Option<&str>) -> Follower {
        let mut stream = administered.socket.connect();
        let last = last.map(|id| format!("Last-Event-ID: {id}\r\n")).unwrap_or_default();
        write!(stream, "GET /api/v1/events/stream{question} HTTP/1.1\r\nHost: localhost\r\n{last}\r\n").unwrap();
        let mut follower = Follower { lines: BufReader::new(stream) };
        until("the beginning of the stream", LIMIT, || follower.line().starts_with(": the events").then_some(()));
        follower
    }

    pub fn line(&mut self) -> String {
        let mut line = String::new();
        assert!(self.lines.read_line(&mut line).unwrap() > 0, "the stream has ended");
        line.trim_end().to_owned()
    }

    /// How far it is, as it says next.
    pub fn position(&mut self) -> String {
        until("position", LIMIT, || self.line().strip_prefix("id: ").map(str::to_owned))
    }

    /// The next event and its id.
    pub fn event(&mut self) -> (String, Value) {
        let mut id = String::new();
        loop {
            let line = self.line();
            if let Some(found) = line.strip_prefix("id: ") {
                id = found.to_owned();
            } else if let Some(data) = line.strip_prefix("data: ") {
                return (id, serde_json::from_str(data).unwrap());
            }
        }
    }
}

#[test]
fn a_stream_goes_on_where_it_was_lost_over_a_rotation() {
    let administered = with_trail();
    let mut follower = Follower::start(&administered, "?user=alice&activity=close", None);
    let mut alice = Sftp::connect(&administered.door.client, LIMIT);
    alice.put("/one", b"content");
    let (id, event) = follower.event();
    assert_eq!((field(&event, "logical-path"), field(&event, "event-id")), ("/one", id.as_str()));
    drop(follower);
    alice.put("/two", b"content");
    let file = administered.door.setup.folder().join("events/e.ndjson");
    fs::rename(&file, file.with_file_name("e.ndjson.20260731T081530Z-9")).unwrap();
    administered.door.gateway.signal(Signal::HUP);
    until("new file", LIMIT, || file.exists().then_some(()));
    alice.put("/three", b"content");
    let mut follower = Follower::start(&administered, "?user=alice&activity=close", Some(&id));
    assert_eq!(field(&follower.event().1, "logical-path"), "/two");
    assert_eq!(field(&follower.event().1, "logical-path"), "/three");
    alice.put("/four", b"content");
    assert_eq!(field(&follower.event().1, "logical-path"), "/four");
    let wrong = administered.socket.request("GET", "/api/v1/events/stream", &[("Last-Event-ID", "x")], "");
    assert_eq!(wrong.status, 400, "{wrong:?}");
    // One call, one event, however long it follows.
    let followed = || {
        let calls = administered.door.gateway.events.of_type("ADMIN_CALL").into_iter();
        calls.filter(|call| field(call, "path").starts_with("/api/v1/events/stream")).count()
    };
    until("the record of each call", LIMIT, || (followed() >= 3).then_some(()));
    assert_eq!(followed(), 3);
    // The gateway does not wait for who follows.
    administered.door.gateway.stop();
}

/// Who reads slowly misses nothing as long as the files are there, and is told when they are not.
#[test]
fn a_slow_reader_misses_nothing_and_is_told_of_what_was_removed() {
    const RENAMES: usize = 3000;
    let administered = with_trail();
    let mut alice = Sftp::connect(&administered.door.client, LIMIT);
    alice.put("/0", b"content");
    let mut follower = Follower::start(&administered, "?user=alice&activity=rename", None);
    administered.call_event(|call| field(call, "path").contains("activity=rename"));
    // More than any buffer on the way holds, while nobody reads.
    for number in 0..RENAMES {
        alice.rename(&format!("/{number}"), &format!("/{}", number + 1)).unwrap();
    }
    let mut id = String::new();
    for number in 0..RENAMES {
        let event;
        (id, event) = follower.event();
        assert_eq!(field(&event, "logical-path"), format!("/{number}"));
    }
    drop(follower);
    let file = administered.door.setup.folder().join("events/e.ndjson");
    let rotated = file.with_file_name("e.ndjson.20260731T081530Z-9");
    fs::rename(&file, &rotated).unwrap();
    administered.door.gateway.signal(Signal::HUP);
    until("new file", LIMIT, || file.exists().then_some(()));
    fs::remove_file(rotated).unwrap();
    alice.rename(&format!("/{RENAMES}"), "/last").unwrap();
    let mut follower = Follower::start(&administered, "?user=alice&activity=rename", Some(&id));
    assert_eq!(follower.position(), id);
    let told = (0..20).map(|_| follower.line()).find(|line| line.starts_with("event: ") || line.starts_with("id: "));
    assert_eq!(told.as_deref(), Some("event: gap"));
    until("what is there", LIMIT, || {
        let line = follower.line();
        line.contains("\"/last\"").then_some(())
    });
}

#[test]
fn the_command_follows_and_prints_lines_in_a_pipe() {
    let administered = with_trail();
    let config = administered.door.setup.folder().join("config.yaml");
    let printed = administered.door.setup.folder().join("printed");
    let mut command = program("sh");
    command.args(["-c", "exec \"$0\" \"$@\" >\"$OUT\"", env!("CARGO_BIN_EXE_lockgate")]).env("OUT", &printed);
    command.args(["events", "follow", "--user", "alice", "--activity", "MKDIR", "--config"]).arg(config);
    let _following = Running::start(&mut command);
    administered.call_event(|call| field(call, "path").starts_with("/api/v1/events/stream"));
    Sftp::connect(&administered.door.client, LIMIT).make_directory("/made").unwrap();
    let event: Value = until("the event", LIMIT, || serde_json::from_str(&fs::read_to_string(&printed).ok()?).ok());
    assert_eq!(field(&event, "logical-path"), "/made");
}

#[test]
fn a_recording_is_given_live_and_afterwards_and_asciinema_plays_it() {
    let administered = with_trail();
    let mut alice = Sftp::connect(&administered.door.client, LIMIT);
    alice.put("/one", b"content");
    let session = administered.session_of("alice");
    let place = format!("/api/v1/recordings/{session}");
    let events = administered.door.setup.folder().join("events/e.ndjson");
    // What asciinema shows of the recording, which is what both the API and the command give, in either format.
    let plays = |cast: &str| {
        let file = administered.door.setup.folder().join("session.cast");
        fs::write(&file, cast).unwrap();
        let asciinema = |words: &[&str]| {
            let mut command = Command::new(tool("venv/bin/asciinema"));
            run(command.env("LC_ALL", "C.UTF-8").args(words).arg(&file)).succeeded().stdout.replace('\r', "")
        };
        let shown = asciinema(&["cat"]);
        // In its own time, without the pauses.
        assert_eq!(asciinema(&["play", "--idle-time-limit", "0.01"]), shown);
        shown
    };
    let replayed = || {
        let mut replay = lockgate();
        run(replay.args(["audit", "replay", &session, "--format", "asciicast"]).arg(&events)).succeeded().stdout
    };
    let live = administered.socket.get(&place).ok();
    let activities = |recording: &Value| -> Vec<String> {
        let events = recording["events"].as_array().unwrap();
        events.iter().map(|step| field(&step["event"], "activity-type").to_owned()).collect()
    };
    assert_eq!(activities(&live).last().map(String::as_str), Some("CLOSE"), "{live}");
    assert_eq!(live["summary"]["reason"], Value::Null);
    // While a file arrives.
    let handle = alice.create("/half-way");
    alice.write(&handle, 0, &[7; 100_000]).unwrap();
    let cast = administered.socket.get(&format!("{place}?format=asciicast")).body;
    let shown = plays(&cast);
    assert!(shown.contains("/one") && shown.contains("/half-way"), "{shown}");
    assert_eq!(shown, administered.socket.get(&format!("{place}?format=text")).body);
    assert_eq!(replayed(), cast);
    drop(alice);
    administered.door.gateway.events.await_disconnected(1);
    let whole = administered.socket.get(&place).ok();
    assert_eq!(activities(&whole).last().map(String::as_str), Some("DISCONNECTED"), "{whole}");
    let text = administered.socket.get(&format!("{place}?format=text"));
    assert!(text.headers.contains("text/plain") && text.body.contains("/one"), "{text:?}");

    let cast = administered.socket.get(&format!("{place}?format=asciicast"));
    assert!(cast.headers.contains("application/x-asciicast"), "{cast:?}");
    assert_eq!(plays(&cast.body), text.body);
    assert_eq!(replayed(), cast.body);
    // Version 2: a head, then times that never go back.
    let mut lines = cast.body.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let head = lines.next().unwrap();
    assert_eq!(head["version"], 2);
    assert!(["width", "height", "timestamp"].iter().all(|name| head[name].as_u64() > Some(0)), "{head}");
    let steps: Vec<Value> = lines.collect();
    let times: Vec<f64> = steps.iter().map(|step| step[0].as_f64().unwrap()).collect();
    assert!(times.len() > 3 && times.is_sorted() && steps.iter().all(|step| step[1] == "o"), "{steps:?}");

    for (path, status) in [("00000000000000000000", 404), ("x", 400), (&format!("{session}?format=xml") as &str, 400)] {
        let answer = administered.socket.get(&format!("/api/v1/recordings/{path}"));
        assert_eq!(answer.status, status, "{path}: {answer:?}");
    }
}
