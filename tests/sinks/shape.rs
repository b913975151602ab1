//! `filter` and `format`, seen from outside.

use std::collections::BTreeSet;
use std::fs;

use serde_json::{Value, json};

use super::Place;
use super::collector::Collector;
use crate::support::process::{LIMIT, program, run_with};

fn lines(place: &Place, name: &str) -> Vec<String> {
    fs::read_to_string(place.setup.folder().join(name)).unwrap().lines().map(str::to_owned).collect()
}

#[test]
fn each_sink_takes_what_it_is_for_and_changes_nothing_of_it() {
    let mut place = Place::new();
    let path = |name: &str| place.setup.folder().join(name);
    let sinks = json!([
        { "sink": "file", "path": path("logins"), "filter": { "activities": ["CONNECTED", "DISCONNECTED"] } },
        { "sink": "file", "path": path("no-lists"), "filter": { "except": ["LIST"] } },
        { "sink": "file", "path": path("failures"), "filter": { "status": ["denied", "failure"] } },
        { "sink": "file", "path": path("partners"), "filter": { "users": ["partner-*"] } },
        { "sink": "file", "path": path("alices"), "filter": { "users": ["bob", "al*"], "activities": ["MKDIR"] } },
    ]);
    place.sinks(sinks);
    let gateway = place.setup.start();
    place.work(&gateway, 3);
    gateway.client("alice", &place.key).sftp("rmdir /not-there\n").failed();
    gateway.stop();
    let recorded = place.recorded();
    let only = |takes: &dyn Fn(&Value) -> bool| -> Vec<String> {
        recorded.iter().filter(|line| takes(&serde_json::from_str(line).unwrap())).cloned().collect()
    };
    let logins = only(&|event| ["CONNECTED", "DISCONNECTED"].contains(&event["activity-type"].as_str().unwrap()));
    assert_eq!((lines(&place, "logins"), logins.len()), (logins, 4));
    assert_eq!(lines(&place, "no-lists"), only(&|event| event["activity-type"] != "LIST"));
    let failures = only(&|event| event["status"] == "failure" || event["status"] == "denied");
    assert_eq!((lines(&place, "failures"), failures.is_empty()), (failures, false));
    assert_eq!(lines(&place, "partners"), Vec::<String>::new());
    assert_eq!(lines(&place, "alices"), only(&|event| event["activity-type"] == "MKDIR"));
}

/// The same events as OCSF, through a file, jq over it, and a collector.
#[test]
fn ocsf_has_each_event_once() {
    let (mut place, collector) = (Place::new(), Collector::start());
    let ocsf = place.setup.folder().join("ocsf");
    let spool = place.setup.folder().join("spool");
    let url = format!("http://127.0.0.1:{}/", collector.port);
    place.sinks(json!([
        { "sink": "file", "path": ocsf, "format": "ocsf" },
        { "sink": "http", "url": url, "spool": spool, "format": "ocsf" },
    ]));
    let gateway = place.setup.start();
    place.work(&gateway, 3);
    gateway.stop();
    assert_eq!(lines(&place, "ocsf"), collector.lines());
    let mut jq = program("jq");
    jq.args([
        "-c",
        "[.metadata.uid, .metadata.event_code, .class_uid, (.type_uid == .class_uid * 100 + .activity_id)]",
    ]);
    let rows = run_with(jq.arg(&ocsf), b"", LIMIT).succeeded().stdout;
    let rows: Vec<Value> = rows.lines().map(|row| serde_json::from_str(row).unwrap()).collect();
    let recorded: Vec<Value> = place.recorded().iter().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(rows.len(), recorded.len());
    for (row, event) in rows.iter().zip(&recorded) {
        assert_eq!((&row[0], &row[1], &row[3]), (&event["event-id"], &event["activity-type"], &json!(true)));
    }
    let classes: BTreeSet<u64> = rows.iter().map(|row| row[2].as_u64().unwrap()).collect();
    assert!(classes.is_superset(&[3002, 6006].into()) && !classes.contains(&0), "{classes:?}");
}
