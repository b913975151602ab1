//! The pack for Panther: its own tool accepts it, its tests pass, and the rules run over the recordings.

use std::fs;
use std::process::Command;

use serde_json::{Value, json};

use crate::examples::fields;
use crate::place::{Recording, attacks, broken_chain, failing_sink, found, ordinary, project, python};
use crate::support::process::{run, tool};

fn fired(recording: &Recording, more: &[&str]) -> Value {
    let laid = recording.lay();
    let mut command = python("panther", "panther_rules.py");
    command.arg(project("examples/detections/panther/rules")).arg(laid.events()).arg(recording.start);
    found(command.args(more))
}

#[test]
fn panthers_tool_accepts_the_pack() {
    // It writes where it runs.
    let folder = tempfile::tempdir().unwrap();
    let mut command = Command::new(tool("panther/bin/panther_analysis_tool"));
    command.args(["--skip-version-check", "test", "--path"]).arg(project("examples/detections/panther"));
    let said = run(command.env("PYTHONDONTWRITEBYTECODE", "1").current_dir(folder.path())).succeeded().stdout;
    for line in ["Passed: 13", "Failed: 0", "Invalid: 0"] {
        assert!(said.contains(line), "{said}");
    }
}

#[test]
fn each_attack_raises_its_rule_and_no_other() {
    assert_eq!(fired(ordinary(), &[]), json!({}));
    let events = attacks().events();
    let mut keys = events.iter().filter(|event| event["activity-type"] == "CONNECTED" && event["user"] == "grace");
    let stolen = keys.next_back().unwrap()["ssh-public-key-fingerprint"].as_str().unwrap();
    let mut expected = json!({
        "Lockgate.BruteForceByAddress": ["127.0.2.1"],
        "Lockgate.BruteForceByUser": ["oscar"],
        "Lockgate.PasswordSpraying": ["127.0.2.2"],
        "Lockgate.NewKey": [format!("grace {stolen}")],
        "Lockgate.NewAddress": ["heidi 127.0.2.66"],
        "Lockgate.MassDownload": ["ivan"],
        "Lockgate.MassDeletion": ["judy"],
        "Lockgate.ExfiltrationByVolume": ["mallory"],
        "Lockgate.OutsideHours": ["frank", "grace", "heidi", "ivan", "judy", "mallory"],
    });
    assert_eq!(fired(attacks(), &[]), expected);
    for (rule, user) in [("MassDownload", "ivan"), ("MassDeletion", "judy"), ("ExfiltrationByVolume", "mallory")] {
        expected[format!("Lockgate.{rule}")] = json!([attacks().session_of(user)]);
    }
    assert_eq!(fired(attacks(), &["transfer-family"]), expected);
    assert_eq!(fired(failing_sink(), &[]), json!({ "Lockgate.FailingSink": ["edge-1"] }));
    assert_eq!(fired(broken_chain(), &[]), json!({ "Lockgate.BrokenChain": ["edge-1"] }));
}

/// Panther drops what its schema does not name.
#[test]
fn the_schema_names_every_field() {
    let text = fs::read_to_string(project("examples/detections/panther/schemas/lockgate_events.yml")).unwrap();
    let panther: Value = serde_saphyr::from_str(&text).unwrap();
    let named: Vec<&str> =
        panther["fields"].as_array().unwrap().iter().map(|field| field["name"].as_str().unwrap()).collect();
    let missing: Vec<String> = fields().into_iter().filter(|field| !named.contains(&field.as_str())).collect();
    assert!(missing.is_empty(), "examples/detections/panther/schemas/lockgate_events.yml does not name {missing:?}");
}
