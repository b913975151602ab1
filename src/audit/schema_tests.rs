//! The schema says what the writer writes, and nothing more.
#![allow(clippy::unwrap_used)]

use std::collections::{BTreeMap, BTreeSet};
use std::sync::OnceLock;

use jsonschema::Validator;

use super::*;
use crate::audit::Activity;

const GOLDEN: &str = include_str!("tests/golden.ndjson");

fn validator() -> Validator {
    jsonschema::draft202012::new(&schema()).unwrap()
}

/// Panics with the line and the reason when it is no event of the schema.
#[track_caller]
pub(in crate::audit) fn assert_event(line: &str) {
    static VALIDATORS: OnceLock<BTreeMap<&str, Validator>> = OnceLock::new();
    let of = |name| (name, jsonschema::draft202012::new(&schema_of(name).unwrap()).unwrap());
    let validators = VALIDATORS.get_or_init(|| activities().map(of).collect());
    let event: Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
    let activity = event["activity-type"].as_str().unwrap_or_default();
    let validator = validators.get(activity).unwrap_or_else(|| panic!("no activity {activity:?}: {line}"));
    if let Some(error) = validator.iter_errors(&event).next() {
        panic!("{}: {error}, in the event {line}", error.instance_path());
    }
}

fn golden(activity: &str) -> Value {
    let mut events = GOLDEN.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    events.find(|event| event["activity-type"] == activity).unwrap_or_else(|| panic!("no golden {activity}"))
}

#[test]
fn it_is_a_schema_and_each_golden_line_fits_it() {
    assert!(jsonschema::meta::is_valid(&schema()));
    let all = validator();
    for line in GOLDEN.lines() {
        let event: Value = serde_json::from_str(line).unwrap();
        assert!(all.is_valid(&event), "{:?} in {line}", all.validate(&event));
        let own = schema_of(event["activity-type"].as_str().unwrap()).unwrap();
        assert!(jsonschema::draft202012::new(&own).unwrap().is_valid(&event), "{line}");
    }
    assert!(schema_of("FLY").is_none());
}

/// What the match below does not name does not compile, and what it names is in the schema and among the golden lines.
#[test]
fn every_activity_is_in_it() {
    fn name(activity: &Activity) -> &'static str {
        match activity {
            Activity::Connected(_) => "CONNECTED",
            Activity::AuthFailure(_) => "AUTH_FAILURE",
            Activity::KexFailure(_) => "KEX_FAILURE",
            Activity::ConnectionRejected(_) => "CONNECTION_REJECTED",
            Activity::Disconnected(_) => "DISCONNECTED",
            Activity::Open(_) => "OPEN",
            Activity::Close(_) => "CLOSE",
            Activity::PartialClose(_) => "PARTIAL_CLOSE",
            Activity::Delete(_) => "DELETE",
            Activity::Rename(_) => "RENAME",
            Activity::Mkdir(_) => "MKDIR",
            Activity::Rmdir(_) => "RMDIR",
            Activity::Setstat(_) => "SETSTAT",
            Activity::CreateSymlink(_) => "CREATE_SYMLINK",
            Activity::List(_) => "LIST",
            Activity::RequestDenied(_) => "REQUEST_DENIED",
            Activity::CloseFailed(_) | Activity::Error(_) => "ERROR",
            Activity::ExitReason(_) => "EXIT_REASON",
            Activity::UserAdded(_) => "USER_ADDED",
            Activity::UserChanged(_) => "USER_CHANGED",
            Activity::UserRemoved(_) => "USER_REMOVED",
            Activity::AdminCall(_) => "ADMIN_CALL",
            Activity::TrailVerified(_) => "TRAIL_VERIFIED",
            Activity::FleetAlone(_) => "FLEET_ALONE",
            Activity::FleetJoined(_) => "FLEET_JOINED",
        }
    }
    let samples = crate::audit::tests::samples::all();
    let seen: BTreeSet<&str> = samples.iter().map(|(_, activity)| name(activity)).collect();
    assert!(samples.iter().all(|(_, activity)| name(activity) == activity.name()));
    // A checkpoint is made by the trail itself.
    let known: BTreeSet<&str> = activities().filter(|name| *name != "CHECKPOINT").collect();
    assert_eq!(seen, known);
    seen.iter().for_each(|activity| drop(golden(activity)));
}

#[test]
fn what_is_not_in_it_does_not_fit() {
    let all = validator();
    let with = |activity: &str, field: &str, value: Option<Value>| {
        let mut event = golden(activity);
        match value {
            Some(value) => drop(event.as_object_mut().unwrap().insert(field.into(), value)),
            None => drop(event.as_object_mut().unwrap().remove(field).unwrap()),
        }
        all.is_valid(&event)
    };
    assert!(with("CLOSE", "etag", None));
    for (activity, field, value) in [
        ("CLOSE", "bytes-in", Some(json!(121))),
        ("CLOSE", "bytes-in", Some(json!("12a"))),
        ("CLOSE", "bytes-in", Some(json!("1\n"))),
        ("CLOSE", "sha256", Some(json!("9f"))),
        ("CLOSE", "surprise", Some(json!("x"))),
        ("CLOSE", "logical-path", Some(json!(""))),
        ("CLOSE", "logical-path", Some(Value::Null)),
        ("CLOSE", "logical-path", None),
        ("CLOSE", "status", Some(json!("fine"))),
        ("CLOSE", "duration-ms", Some(json!("48"))),
        ("CLOSE", "duration-ms", Some(json!(-1))),
        ("CLOSE", "activity-type", Some(json!("FLY"))),
        ("CLOSE", "activity-type", Some(json!("OPEN"))),
        ("CLOSE", "activity-type", None),
        ("CLOSE", "timestamp", Some(json!("2026-07-31T08:15:40Z"))),
        ("CLOSE", "event-id", Some(json!("019fb73e-480a-4b3d-8f21-4a6c0e97d00a"))),
        ("CLOSE", "session-id", Some(json!("0049CD844C7536C06A89"))),
        ("CLOSE", "sequence", Some(json!("7"))),
        ("CLOSE", "previous", Some(json!("7"))),
        ("OPEN", "mode", None),
        ("CONNECTED", "ciphers", Some(json!("aes256-gcm@openssh.com"))),
        ("CONNECTED", "home-dir", Some(json!("/"))),
        ("AUTH_FAILURE", "reason", None),
    ] {
        assert!(!with(activity, field, value.clone()), "{activity} with {field}: {value:?}");
    }
}

#[test]
fn checkpoints_and_changes_of_users_are_in_it() {
    let all = validator();
    let stamped = |own: &str| -> Value {
        let head = r#""resource-arn":"lockgate:server/edge-1","timestamp":"2026-07-31T08:15:30.042Z","event-id":"019fb73e-20fa-7b3d-8f21-4a6c0e97d000","server":"edge-1""#;
        let tail = format!("\"sequence\":1,\"previous\":\"{}\"", "0".repeat(64));
        serde_json::from_str(&format!("{{{head},{own},{tail}}}")).unwrap()
    };
    let chain = r#""activity-type":"CHECKPOINT","chain":"019fb73e-20fa-7b3d-8f21-4a6c0e97d000""#;
    let key = format!("\"checkpoint-key\":\"SHA256:{}\"", "A".repeat(43));
    let signature = format!("\"signature\":\"{}==\"", "A".repeat(86));
    let user = "\"user\":\"alice\"";
    for (own, fits) in [
        (format!("{chain},\"reason\":\"interval\""), true),
        (
            format!(
                "{chain},\"reason\":\"start\",\"clean\":false,\"acknowledged\":7,\"acknowledged-hash\":\"{}\",{key},{signature}",
                "0".repeat(64)
            ),
            true,
        ),
        (format!("{chain},\"reason\":\"start\""), false),
        (format!("{chain},\"reason\":\"lunch\""), false),
        (format!("{chain},\"reason\":\"interval\",{key}"), false),
        (format!("{chain},\"reason\":\"interval\",\"session-id\":\"0049cd844c7536c06a89\""), false),
        (format!("\"activity-type\":\"USER_ADDED\",{user},\"source\":\"keys:lake:/k\",\"message\":\"x\""), true),
        ("\"activity-type\":\"USER_REMOVED\"".to_owned(), false),
    ] {
        let event = stamped(&own);
        assert_eq!(all.is_valid(&event), fits, "{event}");
    }
}
