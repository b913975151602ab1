//! The saved queries for DuckDB and Athena: they run in DuckDB, as they stand and as sqlglot reads them as Athena's SQL.

use std::fs;

use serde_json::{Value, json};

use crate::place::{Recording, attacks, broken_chain, failing_sink, found, ordinary, project, python};

fn fired(recording: &Recording, more: &[&str]) -> Value {
    let laid = recording.lay();
    let mut command = python("sigma", "saved_queries.py");
    command.arg(project("examples/detections/sql")).arg(laid.events()).arg(recording.start);
    found(command.args(more))
}

#[test]
fn a_day_of_work_is_in_no_query() {
    assert_eq!(fired(ordinary(), &[]), json!({}));
}

#[test]
fn each_attack_is_in_its_query_and_no_other() {
    let mut expected = json!({
        "brute_force": ["127.0.2.1", "oscar"],
        "password_spraying": ["127.0.2.2"],
        "success_after_failures": ["frank"],
        "new_key": ["grace"],
        "new_address": ["heidi"],
        "mass_download": ["ivan"],
        "mass_deletion": ["judy"],
        "exfiltration_by_volume": ["mallory"],
        "outside_hours": ["frank", "grace", "heidi", "ivan", "judy", "mallory"],
    });
    assert_eq!(fired(attacks(), &[]), expected);
    assert_eq!(fired(failing_sink(), &[]), json!({ "failing_sink": ["erin"] }));
    assert_eq!(fired(broken_chain(), &[]), json!({ "broken_chain": ["edge-1"] }));

    for (query, user) in [("mass_download", "ivan"), ("mass_deletion", "judy"), ("exfiltration_by_volume", "mallory")] {
        expected[query] = json!([attacks().session_of(user)]);
    }
    assert_eq!(fired(attacks(), &["transfer-family"]), expected);
}

/// Somebody edits the file of events. A sink that delivers a line twice is nobody's doing.
#[test]
fn edited_lines_are_found() {
    let lines = ordinary().lines();
    let at = lines.len() / 2;
    let changed = lines[at].replace("127.0.1.", "127.0.9.");
    assert_ne!(changed, lines[at]);
    let (changed, same) = ([changed.as_str()], [lines[at]]);
    let edits: [(&str, Vec<&str>); 3] = [
        ("changed", [&lines[..at], &changed[..], &lines[at + 1..]].concat()),
        ("removed", [&lines[..at], &lines[at + 1..]].concat()),
        ("added", [&lines[..at], &changed[..], &lines[at..]].concat()),
    ];
    let twice = [&lines[..at], &same[..], &lines[at..]].concat();
    assert_eq!(fired_over(&twice), json!({}), "delivered twice");
    for (what, edited) in edits {
        assert_eq!(fired_over(&edited)["broken_chain"], json!(["edge-1"]), "{what}");
    }
}

/// What is found in these lines.
fn fired_over(lines: &[&str]) -> Value {
    let laid = ordinary().lay();
    fs::write(laid.events(), lines.join("\n") + "\n").unwrap();
    let mut command = python("sigma", "saved_queries.py");
    found(command.arg(project("examples/detections/sql")).arg(laid.events()).arg(ordinary().start))
}
