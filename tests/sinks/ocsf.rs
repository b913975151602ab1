//! OCSF events of both versions, held against the published schemas by somebody else's validator.

use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};

use super::Place;
use crate::support::process::{LIMIT, run_with, tool};
use crate::support::setup::{User, hash_password};

/// What the validator says, line by line.
fn judged(lines: &str) -> Vec<String> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/sinks/ocsf_schema.py");
    let mut python = Command::new(tool("receivers/bin/python"));
    let said = run_with(python.arg("-B").arg(script), lines.as_bytes(), LIMIT).succeeded().stdout;
    said.lines().map(str::to_owned).collect()
}

#[test]
fn events_follow_the_published_schema_of_their_version() {
    let mut place = Place::new();
    let paths = ["1.4", "1.8"].map(|version| (version, place.setup.folder().join(format!("ocsf-{version}"))));
    let sinks = paths
        .each_ref()
        .map(|(version, path)| json!({ "sink": "file", "path": path, "format": "ocsf", "version": version }));
    place.sinks(json!(sinks));
    let both = User::new("bob").key(&place.key).set("password_hash", hash_password("right")).home("/", "main:/");
    place.setup.user(both.set("auth", "public_key_and_password"));
    let gateway = place.setup.start();
    let file = place.setup.folder().join("some.csv");
    fs::write(&file, "a,b\n").unwrap();
    let script = format!("put {} /a\nget /a /dev/null\nrename /a /b\ncp /b /c\nrm /b\nchmod 600 /c\n", file.display());
    gateway.client("alice", &place.key).sftp(&script);
    place.work(&gateway, 1);
    gateway.client("nobody", &place.key).sftp("ls\n").failed();
    gateway.client("alice", &place.key).ssh(&[], &["true"]).failed();
    gateway.client("bob", &place.key).password("right").sftp("ls /\n").succeeded();
    gateway.stop();
    for (version, path) in paths {
        let lines = fs::read_to_string(path).unwrap();
        assert_eq!(judged(&lines), [lines.lines().count().to_string()]);
        let factors: Vec<Value> = lines
            .lines()
            .map(|line| serde_json::from_str::<Value>(line).unwrap()["auth_factors"].clone())
            .filter(|factors| !factors.is_null())
            .collect();
        assert_eq!(factors.len(), usize::from(version == "1.8"), "{factors:?}");
    }
}

/// One line of each activity as it is documented, and the golden ones.
#[test]
fn golden_events_follow_the_published_schema() {
    let golden = include_str!("../../src/audit/sink/ocsf/golden.ndjson");
    assert_eq!(judged(golden), [golden.lines().count().to_string()]);
}
