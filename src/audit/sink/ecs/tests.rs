//! What the lines are in ECS, and that nothing is lost.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use super::*;
use crate::audit::sink::filter::ACTIVITIES;
use crate::audit::sink::heading::Heading;

const SAMPLES: &str = include_str!("../ocsf/samples.ndjson");
const DOCUMENT: &str = include_str!("../../../../docs/EVENTS.md");

/// The words that ECS 8.17 allows.
const CATEGORIES: &[&str] = &["api", "authentication", "file", "iam", "network", "session"];
const TYPES: &[&str] = &[
    "access",
    "change",
    "connection",
    "creation",
    "deletion",
    "denied",
    "end",
    "error",
    "info",
    "protocol",
    "start",
    "user",
];

fn translated(line: &str) -> Value {
    serde_json::from_slice(&translate(line.as_bytes())).unwrap()
}

fn documented() -> impl Iterator<Item = &'static str> {
    DOCUMENT.lines().filter(|line| line.starts_with("{\"") && line.contains("activity-type"))
}

fn judge(event: &Value) {
    let words = |value: &Value, known: &[&str]| {
        value.as_array().is_none_or(|list| list.iter().all(|word| known.contains(&word.as_str().unwrap())))
    };
    assert!(words(&event["event"]["category"], CATEGORIES) && words(&event["event"]["type"], TYPES), "{event}");
    assert!(["success", "failure", "unknown"].contains(&event["event"]["outcome"].as_str().unwrap()), "{event}");
    assert!(
        event["@timestamp"].is_string() && event["event"]["id"].is_string() && event["host"]["id"].is_string(),
        "{event}"
    );
    assert_eq!((&event["ecs"]["version"], &event["event"]["kind"]), (&json!(VERSION), &json!("event")), "{event}");
    no_nulls(event);
}

fn no_nulls(value: &Value) {
    assert!(!value.is_null());
    value.as_object().into_iter().flatten().for_each(|(_, inner)| no_nulls(inner));
}

#[test]
fn every_event_is_ecs_and_loses_nothing() {
    let mut activities = std::collections::BTreeSet::new();
    for line in documented().chain(SAMPLES.lines()) {
        let (event, original) = (translated(line), serde_json::from_str::<Value>(line).unwrap());
        judge(&event);
        let text = event.to_string();
        for (name, value) in original.as_object().unwrap() {
            // A duration is in nanoseconds, and a denial is a failure.
            let kept = text.contains(value.to_string().trim_matches('"')) || name == "status";
            assert!(kept, "{name} is lost: {line}\n{text}");
        }
        assert_eq!(
            Heading::of(text.as_bytes()),
            Heading { status: Heading::of(text.as_bytes()).status, ..Heading::of(line.as_bytes()) }
        );
        activities.insert(original["activity-type"].as_str().unwrap().to_owned());
        assert_ne!(event["event"]["action"], "other", "{line}");
    }
    assert_eq!(activities, ACTIVITIES.iter().map(|&name| name.to_owned()).collect());
}

#[test]
fn what_was_done_at_a_target_says_where() {
    for line in SAMPLES.lines().filter(|line| line.contains("\"session-id\"")) {
        let mut event: Value = serde_json::from_str(line).unwrap();
        for (name, value) in [("target", "web-1"), ("account", "deploy-7"), ("jump-session-id", "77112233445566778899")]
        {
            event[name] = value.into();
        }
        let event = translated(&event.to_string());
        judge(&event);
        let destination = &event["destination"];
        assert_eq!(
            (&destination["address"], &destination["user"]["name"]),
            (&json!("web-1"), &json!("deploy-7")),
            "{event}"
        );
        assert!(event.to_string().contains("77112233445566778899"), "{event}");
    }
}

/// The fields that public rules for SSH logins read.
#[test]
fn a_login_is_what_rules_look_for() {
    let of = |activity: &str| translated(documented().find(|line| line.contains(&format!("\"{activity}\""))).unwrap());
    for (activity, outcome) in [("CONNECTED", "success"), ("AUTH_FAILURE", "failure")] {
        let event = of(activity);
        let read = [&event["event"]["action"], &event["event"]["outcome"], &event["event"]["category"][0]];
        assert_eq!(read, ["ssh_login", outcome, "authentication"]);
        let by = [&event["host"]["id"], &event["source"]["ip"], &event["user"]["name"], &event["host"]["os"]["type"]];
        assert_eq!(by, ["edge-1", "192.0.2.1", "user0001", std::env::consts::OS]);
        assert_eq!(
            (&event["source"]["port"], &event["user_agent"]["original"]),
            (&json!(50022), &json!("SSH-2.0-OpenSSH_9.2p1"))
        );
    }
    let close = of("CLOSE");
    let file = json!({
        "name": "data.csv", "extension": "csv", "path": "/lake/in/user0001/data.csv", "type": "file", "size": 121,
        "hash": { "sha256": "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08" },
    });
    assert_eq!((&close["file"], &close["event"]["duration"]), (&file, &json!(48_000_000)));
    assert_eq!((&close["event"]["action"], &close["network"]["application"]), (&json!("file_upload"), &json!("sftp")));
}

/// A file was opened to be written, and nothing was: rules for uploads do not see one.
#[test]
fn a_close_that_changed_nothing_is_no_upload() {
    let close = documented().find(|line| line.contains("\"activity-type\":\"CLOSE\"")).unwrap();
    let event = translated(&close.replacen('{', "{\"unchanged\":true,", 1));
    judge(&event);
    assert_eq!((&event["event"]["action"], &event["event"]["type"]), (&json!("file_close"), &json!(["access"])));
    assert_eq!(event["lockgate"]["unchanged"], true);
}

#[test]
fn a_line_that_cannot_be_read_is_passed_on_and_stays_a_line() {
    assert_eq!(translated("{torn")["event"]["original"], "{torn");
    let text =
        String::from_utf8(translate("{\"activity-type\":\"X\",\"a\":\"\\u202e\\n\\u007f\"}".as_bytes())).unwrap();
    assert!(text.contains("\\u202e\\n\\u007f") && !text.contains('\n'), "{text}");
}
