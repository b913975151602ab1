//! What can be said of all examples without running the programs that they are for.

use std::collections::BTreeMap;
use std::fs;

use chrono::NaiveDateTime;
use serde_json::{Value, json};

use crate::place::example;

fn text(name: &str) -> String {
    fs::read_to_string(example(name)).unwrap_or_else(|e| panic!("{name}: {e}"))
}

/// The examples' names.
fn names() -> Vec<String> {
    let files = fs::read_dir(example("")).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    files.filter(|name| name != "README.md").collect()
}

#[test]
fn every_example_can_be_read_and_is_explained() {
    let readme = text("README.md");
    for name in names() {
        assert!(readme.contains(&format!("`{name}`")), "README.md does not explain {name}");
        let parsed: Value = match name.rsplit_once('.') {
            Some((_, "conf")) => json!(settings(&text(&name))),
            Some((_, "json")) => serde_json::from_str(&text(&name)).unwrap_or_else(|e| panic!("{name}: {e}")),
            _ => serde_saphyr::from_str(&text(&name)).unwrap_or_else(|e| panic!("{name}: {e}")),
        };
        assert!(parsed.is_object(), "{name}");
    }
    assert!(names().len() >= 4, "{:?}", names());
}

/// A `.conf` file of Splunk's with one stanza: its settings.
fn settings(text: &str) -> BTreeMap<&str, &str> {
    let lines: Vec<&str> = text.lines().filter(|line| !line.is_empty() && !line.starts_with('#')).collect();
    assert!(lines[0].starts_with('[') && lines[0].ends_with(']'), "{}", lines[0]);
    lines[1..].iter().map(|line| line.split_once(" = ").unwrap_or_else(|| panic!("no setting: {line}"))).collect()
}

/// Splunk reads the time behind the first match of `TIME_PREFIX`.
#[test]
fn splunk_finds_the_time_of_every_documented_event() {
    let text = text("splunk-props.conf");
    let settings = settings(&text);
    let (prefix, format) = (settings["TIME_PREFIX"], settings["TIME_FORMAT"]);
    assert!(!prefix.contains(['\\', '.', '*', '[', '(']), "the prefix is no plain text: {prefix}");
    let length: usize = settings["MAX_TIMESTAMP_LOOKAHEAD"].parse().unwrap();
    for line in documented() {
        let event: Value = serde_json::from_str(&line).unwrap();
        let found = &line[line.find(prefix).expect(&line) + prefix.len()..][..length];
        let time = NaiveDateTime::parse_from_str(found, &format.replace("%3N", "%3f")).expect(&line);
        assert_eq!(format!("{}Z", time.format("%Y-%m-%dT%H:%M:%S%.3f")), event["timestamp"], "{line}");
    }
    let forged = json!({ "path": format!("/{prefix}1999-12-31T23:59:59.999Z") }).to_string();
    assert!(!forged.contains(prefix), "{forged}");
}

/// The example lines of EVENTS.md.
fn documented() -> Vec<String> {
    let events = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/EVENTS.md")).unwrap();
    let lines: Vec<String> = events.lines().filter(|line| line.starts_with('{')).map(str::to_owned).collect();
    assert!(lines.len() > 15);
    lines
}

/// The agent looks for the first match of the format anywhere in a line, so it has to be one that no file name can forge.
#[test]
fn the_cloudwatch_agent_finds_the_time_of_every_documented_event() {
    let files = ["cloudwatch-agent.json", "cloudwatch-agent-errors-stream.json"].map(|name| {
        let config: Value = serde_json::from_str(&text(name)).unwrap();
        config["logs"]["logs_collected"]["files"]["collect_list"].as_array().unwrap().clone()
    });
    let formats: Vec<&Value> = files.iter().flatten().map(|file| &file["timestamp_format"]).collect();
    assert!(formats.len() == 3 && formats.iter().all(|format| *format == formats[0]), "{formats:?}");
    let format = formats[0].as_str().unwrap();
    let start = format.split('%').next().unwrap();
    for line in documented() {
        let event: Value = serde_json::from_str(&line).unwrap();
        let found = &line[line.find(start).expect(&line)..];
        let (time, rest) = NaiveDateTime::parse_and_remainder(found, &format.replace("%f", "%3f")).expect(&line);
        assert!(rest.starts_with("Z\""), "{line}");
        assert_eq!(format!("{}Z", time.format("%Y-%m-%dT%H:%M:%S%.3f")), event["timestamp"], "{line}");
    }
    let forged = json!({ "path": format!("/{start}1999-12-31T23:59:59.999Z") }).to_string();
    assert!(!forged.contains(start), "{forged}");
}
