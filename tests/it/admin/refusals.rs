//! What the API does not do: the conflicts, the lack of places, and callers of the socket who are not its owner.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::PermissionsExt;
use std::process::Command;
use std::thread;

use serde_json::{Value, json};

use super::events::with_trail;
use super::{Administered, administered, administered_with};
use crate::support::events::field;
use crate::support::http::{Answer, Place, Stream};
use crate::support::process::{Finished, LIMIT, program, run, until};
use crate::support::sftp::Sftp;

const JSON: [(&str, &str); 1] = [("Content-Type", "application/json")];

/// It is a problem of this status, says this, and is on record with its status.
#[track_caller]
fn assert_refused(administered: &Administered, path: &str, answer: &Answer, status: u16, says: &str) {
    assert_eq!(answer.status, status, "{path}: {answer:?}");
    assert!(answer.headers.contains("application/problem+json") && answer.body.contains(says), "{path}: {answer:?}");
    let call = administered.call_event(|call| field(call, "path") == path && call["http-status"] == status);
    assert_eq!((field(&call, "status"), field(&call, "role")), ("failure", "operator"), "{call}");
    let detail: Value = serde_json::from_str(&answer.body).unwrap();
    assert_eq!(field(&call, "message"), field(&detail, "detail"), "{call}");
}

#[test]
fn without_a_file_that_holds_the_trail_nothing_of_it_is_shown() {
    let administered = administered();
    let nothing = "no sink keeps the whole trail in a file of this machine";
    for (method, path) in [
        ("GET", "/api/v1/events"),
        ("GET", "/api/v1/events/stream"),
        ("GET", "/api/v1/recordings/0049cd844c7536c06a89"),
        ("GET", "/api/v1/connections"),
        ("POST", "/api/v1/trail/verify"),
    ] {
        let answer = administered.socket.request(method, path, &[], "");
        assert_refused(&administered, path, &answer, 409, nothing);
    }
}

#[test]
fn there_are_no_links_without_a_listener_for_a_browser() {
    let administered = administered_with(|setup| {
        setup.config["admin"] = json!({ "socket": "admin.sock", "listen": ["127.0.0.1:0"] });
    });
    let link = |body: &str| administered.socket.request("POST", "/api/v1/links", &JSON, body);
    assert_refused(&administered, "/api/v1/links", &link(r#"{"role":"root"}"#), 400, "role is viewer");
    assert_eq!(link(r#"{"role":"viewer"}"#).status, 200);
    // The same gateway with a socket alone.
    let mut setup = administered.door.setup.clone();
    drop(administered);
    setup.config["admin"] = json!({ "socket": "admin.sock" });
    let gateway = setup.start();
    let socket = Place::unix(&setup.folder().join("admin.sock"));
    let answer = socket.request("POST", "/api/v1/links", &JSON, r#"{"role":"viewer"}"#);
    assert!(answer.status == 409 && answer.body.contains("add admin.listen"), "{answer:?}");
    let call = gateway.events.await_event("ADMIN_CALL", |call| field(call, "path") == "/api/v1/links");
    assert_eq!((field(&call, "status"), &call["http-status"]), ("failure", &json!(409)), "{call}");
    gateway.stop();
}

/// Lines of one session, in a file that was rotated before the gateway came.
fn long_session(folder: &std::path::Path, session: &str, lines: usize, filler: usize) {
    let filler = "x".repeat(filler);
    let line = |number: usize| {
        format!(
            "{{\"activity-type\":\"DELETE\",\"event-id\":\"019b0000-{:04x}-7000-8000-{number:012x}\",\"timestamp\":\"2026-01-01T08:00:00.000Z\",\"user\":\"old\",\"session-id\":\"{session}\",\"logical-path\":\"/{filler}{number}\",\"status\":\"success\"}}\n",
            number >> 8
        )
    };
    fs::write(folder.join("e.ndjson.20260101T081530Z-1"), (0..lines).map(line).collect::<String>()).unwrap();
}

#[test]
fn a_session_that_is_too_large_for_one_answer_is_left_to_the_command() {
    const SESSION: &str = "0049cd844c7536c06a89";
    let administered = administered_with(|setup| {
        let folder = setup.subfolder("events");
        setup.config["events"] = json!([{ "sink": "stdout" }, { "sink": "file", "path": folder.join("e.ndjson") }]);
        long_session(&folder, SESSION, 1000, 70_000);
    });
    let path = format!("/api/v1/recordings/{SESSION}");
    let answer = administered.socket.get(&path);
    let says = format!("run `lockgate audit replay {SESSION}`");
    assert_refused(&administered, &path, &answer, 409, &says);
    assert_eq!(administered.socket.get("/healthz").status, 200);
}

#[test]
fn one_verification_runs_at_a_time() {
    let administered = administered_with(|setup| {
        let folder = setup.subfolder("events");
        setup.config["events"] = json!([{ "sink": "stdout" }, { "sink": "file", "path": folder.join("e.ndjson") }]);
        long_session(&folder, "0049cd844c7536c06a89", 200_000, 100);
    });
    let verify = || administered.socket.request("POST", "/api/v1/trail/verify", &[], "");
    // All at once, again until one of them is late enough to find another one at work.
    let refused = until("verification that another one is in the way of", LIMIT, || {
        let answers: Vec<Answer> = thread::scope(|scope| {
            let asked: Vec<_> = (0..4).map(|_| scope.spawn(verify)).collect();
            asked.into_iter().map(|one| one.join().unwrap()).collect()
        });
        assert!(answers.iter().all(|answer| [202, 409].contains(&answer.status)), "{answers:?}");
        answers.into_iter().find(|answer| answer.status == 409)
    });
    assert_refused(&administered, "/api/v1/trail/verify", &refused, 409, "a verification is under way");
    let trail = administered.socket.get("/api/v1/trail").ok();
    assert!(trail["verification"]["files_total"].as_u64().is_some(), "{trail:#}");
}

/// Begins a stream; `None` when it is refused for want of a place.
fn follow(place: &Place, path: &str) -> Option<BufReader<Box<dyn Stream>>> {
    let mut stream = place.connect();
    write!(stream, "GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
    let mut lines = BufReader::new(stream);
    let mut status = String::new();
    lines.read_line(&mut status).unwrap();
    match status.split(' ').nth(1) {
        Some("200") => Some(lines),
        Some("503") => None,
        _ => panic!("{path}: {status}"),
    }
}

#[test]
fn streams_have_so_many_places_and_one_who_leaves_makes_room() {
    let administered = with_trail();
    for (path, most) in [("/api/v1/events/stream", 32), ("/api/v1/status/stream", 64)] {
        let mut all: Vec<_> = (0..most).map(|_| follow(&administered.socket, path).expect("a place")).collect();
        assert!(follow(&administered.socket, path).is_none());
        let answer = administered.socket.get(path);
        assert_refused(&administered, path, &answer, 503, "already; close one");
        // Others are not in the way, and the gateway is well.
        assert_eq!(administered.socket.get("/api/v1/status").status, 200);
        all.pop();
        until("room", LIMIT, || follow(&administered.socket, path));
    }
}

#[test]
fn a_drain_is_on_record_and_what_comes_after_it_is_told_so() {
    let mut administered = administered_with(|setup| setup.limit("drain", "10m"));
    let mut alice = Sftp::connect(&administered.door.client, LIMIT);
    let handle = alice.create("/a");
    let post = |path: &str| administered.socket.request("POST", path, &[], "");
    let answer = post("/api/v1/drain");
    assert!(answer.status == 200 && answer.body.contains("1 session may finish"), "{answer:?}");
    let call = administered.call_event(|call| field(call, "path") == "/api/v1/drain");
    assert_eq!((field(&call, "method"), field(&call, "role"), field(&call, "status")), ("POST", "operator", "success"));
    assert_eq!(call["http-status"], 200);
    until("drain that shows", LIMIT, || (administered.socket.get("/readyz").status == 503).then_some(()));
    // Again it is the same; what the configuration takes away is gone even now.
    assert_eq!(post("/api/v1/drain").status, 200);
    let reload = post("/api/v1/reload");
    assert_eq!(reload.status, 200, "{reload:?}");
    alice.close(&handle).unwrap();
    assert!(administered.door.gateway.ended(LIMIT).success());
    let drains = administered.door.gateway.events.of_type("ADMIN_CALL");
    assert_eq!(drains.iter().filter(|call| field(call, "path") == "/api/v1/drain").count(), 2, "{drains:?}");
}

/// However little there is to wait for, the call is answered and on record before the end.
#[test]
fn a_drain_with_nothing_to_wait_for_is_answered_and_on_record() {
    for _ in 0..3 {
        let mut administered = with_trail();
        let answer = administered.socket.request("POST", "/api/v1/drain", &[], "");
        assert!(answer.status == 200 && answer.body.contains("0 sessions may finish"), "{answer:?}");
        assert!(administered.door.gateway.ended(LIMIT).success());
        let lines = fs::read_to_string(administered.door.setup.folder().join("events/e.ndjson")).unwrap();
        let calls = lines.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        let drains = calls.filter(|call| field(call, "path") == "/api/v1/drain" && call["http-status"] == 200);
        assert_eq!(drains.count(), 1, "{lines}");
    }
}

/// Runs a program as user 65534, which no gateway of a test runs as; as root, or with sudo.
#[track_caller]
fn as_nobody(script: &str, arguments: &[&str]) -> Finished {
    let is_root = rustix::process::geteuid().is_root();
    let mut command: Command = program(if is_root { "setpriv" } else { "sudo" });
    if !is_root {
        command.args(["-n", "setpriv"]);
    }
    command.args(["--reuid=65534", "--regid=65534", "--clear-groups", "--"]);
    // What is first on the path of a developer may be in a home that nobody else sees.
    command.args(["env", "PATH=/usr/bin:/bin", "python3", "-I", "-c", script]);
    let finished = run(command.args(arguments));
    // Whoever cannot change the user fails here, and does not pass for somebody who was turned away.
    assert!(finished.stdout.starts_with("as 65534\n"), "this test changes the user: run it as root: {finished}");
    finished
}

#[test]
fn the_socket_is_for_its_owner_alone_and_knows_who_calls() {
    const CALL: &str = r#"
import os, socket, sys
print("as", os.getuid(), flush=True)
os.stat(sys.argv[1])
print("sees it", flush=True)
door = socket.socket(socket.AF_UNIX)
door.settimeout(600)
door.connect(sys.argv[1])
door.sendall(b"GET /api/v1/me HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
answer = b""
while chunk := door.recv(65536):
    answer += chunk
print(answer.decode())
"#;
    let administered = administered();
    let folder = administered.door.setup.folder();
    let socket = folder.join("admin.sock");
    // It is the socket that turns them away, not a folder on the way to it.
    fs::set_permissions(folder, fs::Permissions::from_mode(0o755)).unwrap();
    let call = || as_nobody(CALL, &[socket.to_str().unwrap()]);
    let refused = call().failed().says("PermissionError");
    assert!(refused.stdout.contains("sees it"), "{refused}");
    assert!(administered.door.gateway.events.of_type("ADMIN_CALL").is_empty());
    // Somebody opened it to all: who calls is asked of the system, so that they stay outside.
    fs::set_permissions(&socket, fs::Permissions::from_mode(0o666)).unwrap();
    let outside = call();
    assert!(!outside.stdout.contains("200 OK") && !outside.stdout.contains("operator"), "{outside}");
    assert_eq!(administered.socket.get("/api/v1/me").ok()["role"], "operator");
    let calls = administered.door.gateway.events.of_type("ADMIN_CALL");
    assert!(calls.iter().all(|call| field(call, "status") == "success"), "{calls:?}");
}
