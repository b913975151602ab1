//! What the log says of the start, of a drain, and of logins.

use rustix::process::Signal;
use serde_json::json;

use crate::door::{door, door_with};
use crate::support::events::field;
use crate::support::gateway::Gateway;
use crate::support::process::{LIMIT, until};
use crate::support::sftp::Sftp;

/// The first line of the log that has all of these words.
#[track_caller]
fn line_with(gateway: &Gateway, words: &[&str]) -> String {
    until(&format!("line with {words:?}"), LIMIT, || {
        let log = gateway.log();
        log.lines().find(|line| words.iter().all(|word| line.contains(word))).map(str::to_owned)
    })
}

#[test]
fn the_start_says_what_is_served_and_where() {
    let door = door_with(|setup, alice| {
        setup.store("spare", json!({ "url": "memory:///" }));
        let path = setup.subfolder("events").join("e.ndjson");
        setup.config["events"] = json!([{ "sink": "stdout" }, { "sink": "file", "path": path }]);
        setup.config["admin"] = json!({ "listen": ["127.0.0.1:0"], "health": "127.0.0.1:0" });
        alice
    });
    let started = line_with(&door.gateway, &["started"]);
    for word in
        [env!("CARGO_PKG_VERSION"), "config.yaml", "edge-1", "users=1", "main", "spare", "standard output", "e.ndjson"]
    {
        assert!(started.contains(word), "{word} is not in {started}");
    }
    line_with(&door.gateway, &[&format!("listening on 127.0.0.1:{}", door.gateway.port)]);
    line_with(&door.gateway, &["the admin door listens on 127.0.0.1:"]);
    line_with(&door.gateway, &["health and metrics are shown on 127.0.0.1:"]);
}

#[test]
fn a_drain_says_how_many_transfers_of_whom_until_when_and_what_was_cut() {
    let mut door = door();
    let mut alice = Sftp::connect(&door.client, LIMIT);
    let handle = alice.create("/half-way.bin");
    alice.write(&handle, 0, b"half").unwrap();
    let more = alice.create("/another.bin");
    door.gateway.signal(Signal::TERM);
    let draining = line_with(&door.gateway, &["draining"]);
    assert!(draining.contains("transfers=2") && draining.contains("alice (2)"), "{draining}");
    let until = draining.split_once("until=").expect("a time").1.trim_matches('"');
    let time: String = until.chars().take_while(|c| !c.is_whitespace() && *c != '"').collect();
    chrono::DateTime::parse_from_rfc3339(&time).unwrap_or_else(|error| panic!("{error}: {draining}"));
    alice.close(&more).unwrap();
    // The second signal does not wait.
    door.gateway.signal(Signal::TERM);
    let cut = line_with(&door.gateway, &["cut off"]);
    let session = door.gateway.events.await_event("CONNECTED", |_| true);
    for word in ["alice", "127.0.0.1", field(&session, "session-id"), "/half-way.bin", "transfers=1"] {
        assert!(cut.contains(word), "{word} is not in {cut}");
    }
    assert!(!cut.contains("/another.bin"), "{cut}");
    door.gateway.ended(LIMIT);
    line_with(&door.gateway, &["ended"]);
}

#[test]
fn a_drain_with_nothing_to_wait_for_says_that() {
    let mut door = door();
    door.gateway.signal(Signal::TERM);
    line_with(&door.gateway, &["draining", "no transfer is under way"]);
    door.gateway.ended(LIMIT);
}

#[test]
fn a_login_that_the_gateway_had_to_refuse_is_told_with_user_address_and_session() {
    let door = door_with(|setup, alice| {
        setup.config["users_from"] = json!({ "http": { "url": "http://127.0.0.1:1/", "retries": 0 } });
        alice
    });
    let bob = door.gateway.client("bobby", &door.key);
    bob.sftp("pwd").failed();
    let failure = door.gateway.events.await_event("AUTH_FAILURE", |event| field(event, "user") == "bobby");
    let session = field(&failure, "session-id");
    let line = line_with(&door.gateway, &["a login is refused", session]);
    assert!(line.contains("bobby") && line.contains("127.0.0.1"), "{line}");
}
