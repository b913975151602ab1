//! The Sigma rules: converted by sigma-cli for SQLite they run here; for Splunk they are converted at least.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use serde_json::{Value, json};

use crate::place::{Recording, attacks, broken_chain, failing_sink, found, ordinary, project, python};
use crate::support::process::{run, tool};

const RULES: &str = "examples/detections/sigma/rules";

/// What Splunk's converter cannot do: it has neither ordered correlations nor sums.
const NOT_FOR_SPLUNK: [&str; 2] = ["exfiltration_by_volume.yml", "success_after_failures.yml"];

fn sigma(arguments: &[&str]) -> Command {
    let mut command = Command::new(tool("sigma/bin/sigma"));
    command.args(arguments).current_dir(project(""));
    command
}

fn convert(pipeline: &[&str]) -> Command {
    let mut command = sigma(&["convert", "-t", "sqlite", "-f", "zircolite"]);
    command.args(if pipeline.is_empty() { &["--without-pipeline"] } else { pipeline }).arg(RULES);
    command
}

fn fired(recording: &Recording, converted: &mut Command, more: &[&str]) -> Value {
    let laid = recording.lay();
    let rules = laid.folder().join("rules.json");
    fs::write(&rules, run(converted).succeeded().stdout).unwrap();
    found(python("sigma", "sigma_rules.py").arg(laid.events()).arg(recording.start).arg(rules).args(more))
}

#[test]
fn the_rules_are_well_formed() {
    // The checks of tags ask ATT&CK's servers.
    let folder = tempfile::tempdir().unwrap();
    let checks = folder.path().join("checks.yml");
    fs::write(&checks, "validators: [all, -attacktag, -d3_fendtag]\n").unwrap();
    run(sigma(&["check", "--fail-on-error", "--fail-on-issues", "--validation-config"]).arg(checks).arg(RULES))
        .succeeded();
}

#[test]
fn a_day_of_work_raises_no_rule() {
    assert_eq!(fired(ordinary(), &mut convert(&[]), &[]), json!({}));
}

#[test]
fn each_attack_raises_its_rule_and_no_other() {
    let expected = json!({
        "Brute Force from One Address": ["127.0.2.1"],
        "Brute Force of One User": ["oscar"],
        "Password Spraying": ["127.0.2.2"],
        "Success after Failures": ["frank 127.0.2.3"],
        "A User with Another Key": ["grace"],
        "A Key Was Added to a User": ["nina"],
        "A User from Another Address": ["heidi"],
        "Mass Download": ["ivan"],
        "Mass Deletion": ["judy"],
        "Exfiltration by Volume": ["mallory"],
        "Login outside Hours": ["frank", "grace", "heidi", "ivan", "judy", "mallory"],
    });
    assert_eq!(fired(attacks(), &mut convert(&[]), &[]), expected);
    let refused = json!({ "Logins Refused Because They Cannot Be Recorded": ["erin"] });
    assert_eq!(fired(failing_sink(), &mut convert(&[]), &[]), refused);
    let begun = json!({ "The Chain of Events Was Begun Anew": [""], "The Gateway Was Not Ended in Order": [""] });
    assert_eq!(fired(broken_chain(), &mut convert(&[]), &[]), begun);
}

/// With no more than Transfer Family records; its file events name the session alone.
#[test]
fn the_rules_serve_transfer_family() {
    let pipeline = ["-p", "examples/detections/sigma/pipelines/transfer-family.yml"];
    let expected = json!({
        "Brute Force from One Address": ["127.0.2.1"],
        "Brute Force of One User": ["oscar"],
        "Password Spraying": ["127.0.2.2"],
        "Success after Failures": ["frank 127.0.2.3"],
        "A User with Another Key": ["grace"],
        "A User from Another Address": ["heidi"],
        "Mass Download": [attacks().session_of("ivan")],
        "Mass Deletion": [attacks().session_of("judy")],
        "Exfiltration by Volume": [attacks().session_of("mallory")],
        "Login outside Hours": ["frank", "grace", "heidi", "ivan", "judy", "mallory"],
    });
    assert_eq!(fired(attacks(), &mut convert(&pipeline), &["transfer-family"]), expected);
    assert_eq!(fired(ordinary(), &mut convert(&pipeline), &["transfer-family"]), json!({}));
}

#[test]
fn the_rules_become_searches_of_splunk() {
    let mut files: Vec<PathBuf> = fs::read_dir(project(RULES)).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    assert!(files.len() >= 10, "{files:?}");
    for file in files {
        let mut command = sigma(&["convert", "-t", "splunk", "-p", "examples/detections/sigma/pipelines/splunk.yml"]);
        let converted = run(command.arg(&file));
        if NOT_FOR_SPLUNK.iter().any(|name| file.ends_with(name)) {
            // When it can, the README and savedsearches.conf need not say so any more.
            converted.complained();
            continue;
        }
        let search = converted.succeeded().stdout;
        assert!(search.contains("sourcetype=\"lockgate:events\""), "{}: {search}", file.display());
    }
}
