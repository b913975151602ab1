//! The schema as the program prints it, and that the tests notice what does not fit it.

use std::io::Cursor;

use serde_json::Value;

use crate::support::events::Events;
use crate::support::gateway::lockgate;
use crate::support::process::run;

const LINE: &str = r#"{"activity-type":"REQUEST_DENIED","resource-arn":"lockgate:server/edge-1","session-id":"0049cd844c7536c06a89","timestamp":"2026-07-31T08:15:50.042Z","event-id":"019fb73e-6f1a-7b3d-8f21-4a6c0e97d014","server":"edge-1","source-ip":"192.0.2.1","source-port":50022,"request":"shell","message":"no"}"#;

/// The line with `sequence` and `previous`.
fn line() -> String {
    LINE.replace("\"no\"}", &format!("\"no\",\"sequence\":1,\"previous\":\"{}\"}}\n", "0".repeat(64)))
}

fn watch(line: String) {
    let events = Events::collect(Cursor::new(line));
    drop(events.watch());
}

#[test]
fn the_program_prints_the_schema_that_the_tests_hold_events_against() {
    let printed: Value = serde_json::from_str(&run(lockgate().args(["audit", "schema"])).succeeded().stdout).unwrap();
    assert_eq!(printed, lockgate::internals::audit::schema::schema());
    let validator = jsonschema::draft202012::new(&printed).unwrap();
    assert!(validator.is_valid(&serde_json::from_str(&line()).unwrap()));
}

#[test]
fn an_event_of_the_schema_passes() {
    watch(line());
    watch(line() + "{\"cut off by a ki");
}

#[test]
#[should_panic(expected = "'surprise' was unexpected")]
fn a_field_that_is_not_in_the_schema_fails_the_test() {
    watch(line().replace("\"request\"", "\"surprise\":1,\"request\""));
}

#[test]
#[should_panic(expected = "the schema has no activity \"FLY\"")]
fn an_activity_that_is_not_in_the_schema_fails_the_test() {
    watch(line().replace("REQUEST_DENIED", "FLY"));
}
