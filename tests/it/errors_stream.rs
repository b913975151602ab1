//! `examples/pipelines/errors-stream.yaml`: what goes wrong in a file of its own, everything else in the other.

use std::fs;
use std::path::Path;

use serde_json::Value;

use crate::support::events::{field, is_end};
use crate::support::process::LIMIT;
use crate::support::raw_sftp::{RawSftp, write_body};
use crate::support::setup::{Setup, User};

const FAILURES: [&str; 5] = ["AUTH_FAILURE", "KEX_FAILURE", "CONNECTION_REJECTED", "ERROR", "EXIT_REASON"];

/// Write, create, only if there is nothing.
const EXCLUSIVE: u32 = 0x2a;

fn events_in(file: &Path) -> Vec<Value> {
    fs::read_to_string(file).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn failures_have_a_stream_of_their_own() {
    let mut setup = Setup::new();
    setup.memory_store("main");
    let key = setup.key("alice");
    setup.user(User::new("alice").key(&key).home("/", "main:/"));
    let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/pipelines/errors-stream.yaml");
    let logs = setup.subfolder("logs");
    let text = fs::read_to_string(example).unwrap().replace("/var/log/lockgate", logs.to_str().unwrap());
    let example: Value = serde_saphyr::from_str(&text).unwrap();
    // Beside the two of the example, the one that this test reads.
    setup.config["events"].as_array_mut().unwrap().extend(example["events"].as_array().unwrap().clone());
    let gateway = setup.start();
    let client = gateway.client("alice", &key);
    client.sftp("mkdir /d\nls /d\n").succeeded();
    gateway.client("alice", &setup.key("stranger")).sftp("pwd\n").failed();
    client.with("KexAlgorithms=diffie-hellman-group1-sha1").sftp("pwd\n").failed();
    let mut both = [0, 1].map(|_| RawSftp::connect(&gateway.client("alice", &key), LIMIT));
    let handles = both.each_mut().map(|session| session.open("/one", EXCLUSIVE));
    for (number, (session, handle)) in both.iter_mut().zip(&handles).enumerate() {
        session.send(6, 1, &write_body(handle, 0, b"content"));
        assert_eq!(session.receive().status(), 0);
        assert_eq!(session.close(2, handle) == 0, number == 0, "the name is taken for the second");
    }
    drop(both);
    gateway.events.await_disconnected(5);
    let all = gateway.events.all();
    gateway.stop();

    let (errors, sessions) = (events_in(&logs.join("ERRORS.ndjson")), events_in(&logs.join("sessions.ndjson")));
    let is_failure = |event: &&Value| FAILURES.contains(&field(event, "activity-type"));
    assert_eq!(errors, all.iter().filter(is_failure).cloned().collect::<Vec<_>>());
    assert_eq!(sessions, all.iter().filter(|event| !is_failure(event)).cloned().collect::<Vec<_>>());
    for kind in &FAILURES[..2] {
        assert!(errors.iter().any(|event| field(event, "activity-type") == *kind), "no {kind} in {errors:#?}");
    }
    // Who acts upon each CLOSE acts upon files that are there.
    assert_eq!(errors.iter().filter(|event| is_end(event)).count(), 1, "{errors:#?}");
    assert!(sessions.iter().filter(|event| is_end(event)).all(|end| field(end, "status") == "success"));
}
