//! Queries of CloudWatch: ours, and those that AWS publishes for Transfer Family's log, over the streams that
//! `examples/pipelines/` makes.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::place::{Recording, attacks, broken_chain, failing_sink, found, ordinary, project, python};

fn rows(queries: &str, recording: &Recording, more: &[&str]) -> Value {
    let laid = recording.lay();
    let mut command = python("sigma", "cloudwatch.py");
    command.arg(project(queries)).arg(project("examples/pipelines/cloudwatch-agent-errors-stream.json"));
    found(command.arg(laid.folder()).arg(recording.start).args(more))
}

/// The queries that found something, and in which column of their first row what is expected stands.
#[track_caller]
fn assert_fired(rows: &Value, expected: &[(&str, &str, &str)]) {
    let fired: Vec<&String> =
        rows.as_object().unwrap().iter().filter(|(_, rows)| rows != &&json!([])).map(|(name, _)| name).collect();
    let names: Vec<&str> = expected.iter().map(|(name, ..)| *name).collect();
    assert_eq!(fired, names, "{rows:#}");
    for (name, column, value) in expected {
        assert_eq!(rows[name][0][column], *value, "{name}: {rows:#}");
    }
}

#[test]
fn a_day_of_work_is_in_no_query() {
    assert_fired(&rows("examples/detections/cloudwatch", ordinary(), &[]), &[]);
}

#[test]
fn each_attack_is_in_its_query_and_no_other() {
    let sessions = ["ivan", "judy", "mallory"].map(|user| attacks().session_of(user));
    for more in [&[][..], &["transfer-family"]] {
        let rows = rows("examples/detections/cloudwatch", attacks(), more);
        let expected = [
            ("brute_force_by_address", "source-ip", "127.0.2.1"),
            ("brute_force_by_user", "user", "oscar"),
            ("exfiltration_by_volume", "session-id", &sessions[2]),
            ("mass_deletion", "session-id", &sessions[1]),
            ("mass_download", "session-id", &sessions[0]),
            ("new_address", "user", "heidi"),
            ("new_key", "user", "grace"),
            ("outside_hours", "user", "grace"),
            ("password_spraying", "source-ip", "127.0.2.2"),
            ("success_after_failures", "user", "frank"),
        ];
        assert_fired(&rows, &expected);
    }
    assert_fired(&rows("examples/detections/cloudwatch", failing_sink(), &[]), &[("failing_sink", "user", "erin")]);
    assert_fired(&rows("examples/detections/cloudwatch", broken_chain(), &[]), &[("broken_chain", "state", "missing")]);
}

/// What the user guide and others publish finds in Lockgate's log what it finds in Transfer Family's.
#[test]
fn published_queries_find_what_they_are_for() {
    let events = attacks().events();
    let of_type = |activity: &str| events.iter().filter(|event| event["activity-type"] == activity).collect::<Vec<_>>();
    let rows = rows("tests/detections/aws", attacks(), &[]);

    let mut failures: BTreeMap<(&str, &str), usize> = BTreeMap::new();
    let mut users: BTreeMap<&str, usize> = BTreeMap::new();
    for event in of_type("AUTH_FAILURE") {
        *failures.entry((event["user"].as_str().unwrap(), event["method"].as_str().unwrap())).or_default() += 1;
        *users.entry(event["user"].as_str().unwrap()).or_default() += 1;
    }
    let top = rows["top_failures"].as_array().unwrap();
    assert_eq!(top.len(), failures.len().min(10));
    assert_eq!(top[0], json!({ "user": "oscar", "method": "password", "AuthFailures": 24 }));
    for row in top {
        let who = (row["user"].as_str().unwrap(), row["method"].as_str().unwrap());
        assert_eq!(row["AuthFailures"], failures[&who], "{row}");
    }
    assert_eq!(rows["contributors"], json!(users));

    let opened = rows["opened_files"].as_array().unwrap();
    assert_eq!(opened.len(), of_type("OPEN").len());
    assert!(
        opened.iter().all(|row| row["mode"].is_string() && row["path"].is_string() && row["session-id"].is_string())
    );

    let matching = |pattern: &str| rows[pattern].as_array().unwrap_or_else(|| panic!("{pattern} is not there")).len();
    assert_eq!(matching(r#"{ $.activity-type = "AUTH_FAILURE" }"#), of_type("AUTH_FAILURE").len());
    assert_eq!(matching(r#"{ $.activity-type = "CONNECTED" }"#), of_type("CONNECTED").len());
    let downloads = of_type("CLOSE").into_iter().filter(|event| event.get("bytes-out").is_some()).count();
    assert_eq!(matching(r#"{$.activity-type="CLOSE" && $.bytes-out =*}"#), downloads);
    let partners = r#"{ $.activity-type = "AUTH_FAILURE" && ($.user = "erin" || $.user = "frank") }"#;
    assert_eq!(matching(partners), users["erin"] + users["frank"]);
}
