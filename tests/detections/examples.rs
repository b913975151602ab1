//! What can be said of the detections without running them.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::place::project;
use crate::support::gateway::lockgate;
use crate::support::process::run;

fn files(folder: &Path, into: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files(&path, into);
        } else {
            into.push(path);
        }
    }
}

/// A detection stands in the README under its name, which is the same in every folder.
#[test]
fn every_detection_is_explained() {
    let readme = fs::read_to_string(project("examples/detections/README.md")).unwrap();
    let mut all = Vec::new();
    files(&project("examples/detections"), &mut all);
    assert!(all.len() > 50, "{all:?}");
    for file in all.iter().filter(|file| !file.ends_with("README.md")) {
        let whole = file.file_name().unwrap().to_str().unwrap();
        let name = file.file_stem().unwrap().to_str().unwrap().trim_start_matches("lockgate_");
        let name = name.trim_end_matches("_by_address").trim_end_matches("_by_user");
        let explained = readme.contains(&format!("`{name}`")) || readme.contains(whole);
        assert!(explained, "README.md does not explain {}", file.display());
    }
}

#[test]
fn every_saved_search_of_splunk_has_a_search_over_our_events() {
    let text = fs::read_to_string(project("examples/detections/splunk/savedsearches.conf")).unwrap();
    // A line that ends in a backslash goes on in the next.
    let text = text.replace("\\\n", " ");
    let stanzas: Vec<&str> = text.split("\n[").skip(1).filter(|stanza| !stanza.starts_with("default]")).collect();
    assert!(stanzas.len() >= 12, "{}", stanzas.len());
    for stanza in stanzas {
        let value = |key: &str| {
            let line = stanza.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(" = "));
            line.unwrap_or_else(|| panic!("no {key} in [{stanza}"))
        };
        assert!(value("search").starts_with("index=lockgate sourcetype=\"lockgate:events\" "), "[{stanza}");
        assert!(value("dispatch.earliest_time").starts_with('-'), "[{stanza}");
        assert!(!value("description").is_empty());
    }
}

/// What differs from Transfer Family is one list, and it is complete: every field and activity of the schema stands in it.
#[test]
fn what_differs_from_transfer_family_is_told_of_every_field() {
    let events = fs::read_to_string(project("docs/EVENTS.md")).unwrap();
    let part =
        events.split("\n## ").find(|part| part.starts_with("What differs from Transfer Family")).expect("the part");
    // What is the same there and here.
    let same = ["activity-type", "kex", "ciphers", "macs", "ssh-public-key", "ssh-public-key-type"];
    let names = fields().into_iter().filter(|field| !same.contains(&field.as_str()));
    let missing: Vec<String> = names.filter(|field| !part.contains(&format!("`{field}`"))).collect();
    assert!(missing.is_empty(), "docs/EVENTS.md, \"What differs from Transfer Family\", does not name {missing:?}");
}

/// The fields of all events, as `lockgate audit schema` names them.
pub fn fields() -> Vec<String> {
    let schema: Value = serde_json::from_str(&run(lockgate().args(["audit", "schema"])).succeeded().stdout).unwrap();
    let mut fields = Vec::new();
    properties(&schema, &mut fields);
    assert!(fields.len() > 40, "{fields:?}");
    fields
}

/// The names under every `properties`.
fn properties(schema: &Value, into: &mut Vec<String>) {
    let inner: Vec<&Value> = match schema {
        Value::Object(object) => {
            if let Some(Value::Object(properties)) = object.get("properties") {
                into.extend(properties.keys().cloned());
            }
            object.values().collect()
        }
        Value::Array(values) => values.iter().collect(),
        _ => return,
    };
    inner.into_iter().for_each(|value| properties(value, into));
}
