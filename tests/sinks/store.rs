//! The store sink: objects in a real S3 server, read by DuckDB; outage and death in between.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use flate2::read::GzDecoder;
use serde_json::{Value, json};

use super::Place;
use crate::support::plain_proxy::Proxy;
use crate::support::process::{LIMIT, Running, run_with, tool, until};
use crate::support::s3::{self, S3Store};

fn sink(place: &Place, batch: Value) -> Value {
    let spool = place.setup.folder().join("spool");
    json!([{ "sink": "store", "target": "lake:/audit/", "spool": spool, "batch": batch }])
}

fn spool(place: &Place) -> PathBuf {
    place.setup.folder().join("spool")
}

/// The batches that wait in the spool.
fn waiting(place: &Place) -> Vec<PathBuf> {
    let entries = fs::read_dir(spool(place)).expect("the spool").map(|entry| entry.expect("an entry").path());
    entries.filter(|path| path.file_name().is_some_and(|name| name != "lock")).collect()
}

/// The lines of all objects, in the order of their names.
fn delivered(lake: &S3Store) -> Vec<String> {
    let mut lines = Vec::new();
    for key in lake.objects().into_keys().filter(|key| key.starts_with("audit/")) {
        // curl signs the path as it is given, and the server as it is encoded.
        let text = lake.read(&key.replace('=', "%3D"), |stream| {
            let mut text = String::new();
            GzDecoder::new(stream).read_to_string(&mut text).expect("gzip");
            text
        });
        assert!(text.ends_with('\n'), "{key} ends within a line");
        lines.extend(text.lines().map(str::to_owned));
    }
    lines
}

/// What DuckDB says when it reads the objects in the S3 server, through its own S3 client.
fn duckdb(query: &str) -> Vec<Vec<Value>> {
    let extension = find(&tool("venv/lib"), "httpfs.duckdb_extension").expect("DuckDB's httpfs: run tests/run");
    let (access, secret) = s3::KEYS;
    let endpoint = s3::endpoint();
    let address = endpoint.trim_start_matches("http://");
    let script = format!(
        "import duckdb, json\n\
         c = duckdb.connect()\n\
         c.execute(\"load '{}'\")\n\
         c.execute(\"create secret (type s3, key_id '{access}', secret '{secret}', region 'us-east-1', \
         endpoint '{address}', url_style 'path', use_ssl false)\")\n\
         print(json.dumps(c.execute('''{query}''').fetchall(), default=str))\n",
        extension.display()
    );
    let mut python = Command::new(tool("venv/bin/python"));
    python.args(["-B", "-c", &script]).env("no_proxy", "*");
    serde_json::from_str(&run_with(&mut python, b"", LIMIT).succeeded().stdout).expect("JSON")
}

fn find(folder: &Path, name: &str) -> Option<PathBuf> {
    fs::read_dir(folder).ok()?.flatten().find_map(|entry| match entry.file_type().is_ok_and(|t| t.is_dir()) {
        true => find(&entry.path(), name),
        false => (entry.file_name() == name).then(|| entry.path()),
    })
}

#[test]
fn duckdb_queries_the_objects_and_they_hold_every_line() {
    let mut place = Place::new();
    let lake = place.setup.s3_store("lake");
    place.sinks(sink(&place, json!({ "events": 7, "age": "1s" })));
    let gateway = place.setup.start();
    place.work(&gateway, 10);
    // The last batch is not full; its age brings it on its way.
    until("delivery of what is old enough", LIMIT, || waiting(&place).is_empty().then_some(()));
    place.work(&gateway, 3);
    gateway.stop();
    let recorded = place.recorded();
    assert!(recorded.len() > 40, "{}", recorded.len());
    assert_eq!(delivered(&lake), recorded);
    let keys: Vec<String> = lake.objects().into_keys().filter(|key| key.starts_with("audit/")).collect();
    assert!(keys.len() >= recorded.len() / 7, "{keys:#?}");
    for key in &keys {
        let parts: Vec<&str> = key.split('/').collect();
        let named = |index: usize, name: &str| parts[index].starts_with(name);
        assert!(named(1, "year=20") && named(2, "month=") && named(3, "day=") && named(4, "hour="), "{key}");
        assert!(named(5, "edge-1-") && key.ends_with(".ndjson.gz"), "{key}");
    }

    let objects = format!(
        "read_json('s3://{}/{}/audit/**/*.ndjson.gz', format = 'newline_delimited', hive_partitioning = true)",
        s3::BUCKET,
        lake.prefix()
    );
    let objects = objects.replace('\'', "\\'");
    assert_eq!(duckdb(&format!("select count(*) from {objects}")), [[json!(recorded.len())]]);
    let grouped = duckdb(&format!("select \"activity-type\", count(*) from {objects} group by 1 order by 1"));
    let grouped: BTreeMap<String, u64> =
        grouped.iter().map(|row| (row[0].as_str().unwrap().to_owned(), row[1].as_u64().unwrap())).collect();
    assert_eq!(grouped, place.counts());
    let year = recorded[0].split_once("\"timestamp\":\"").unwrap().1[..4].to_owned();
    assert_eq!(duckdb(&format!("select count(*) from {objects} where year = {year}")), [[json!(recorded.len())]]);
}

#[test]
fn an_outage_and_deaths_during_it_lose_nothing() {
    let mut place = Place::new();
    let lake = crate::support::s3::new_store();
    let proxy = Proxy::start(lake.port());
    place.setup.store("lake", json!({ "url": lake.url(), "options": lake.options_through(&proxy.endpoint()) }));
    place.sinks(sink(&place, json!({ "events": 5, "age": "1s" })));
    proxy.answer(|request| (request.method == "PUT").then_some(403));
    for _ in 0..3 {
        let gateway = place.setup.start();
        place.work(&gateway, 5);
        gateway.kill();
    }
    assert!(waiting(&place).len() >= 9, "{:?}", waiting(&place));
    assert_eq!(delivered(&lake), Vec::<String>::new());
    proxy.answer(|_| None);
    let gateway = place.setup.start();
    until("delivery of what waited", LIMIT, || waiting(&place).is_empty().then_some(()));
    place.work(&gateway, 1);
    gateway.stop();
    // Names are in the order of the lines within one chain; each of these runs may have begun its own.
    let sorted = |mut lines: Vec<String>| {
        lines.sort();
        lines
    };
    assert_eq!(sorted(delivered(&lake)), sorted(place.recorded()));
}

#[test]
fn a_full_spool_refuses_operations_until_the_store_is_back() {
    let mut place = Place::new();
    let lake = crate::support::s3::new_store();
    let proxy = Proxy::start(lake.port());
    place.setup.store("lake", json!({ "url": lake.url(), "options": lake.options_through(&proxy.endpoint()) }));
    let mut sinks = sink(&place, json!({ "events": 1000, "size": "1MiB", "age": "1s" }));
    sinks[0]["spool_limit"] = json!("16MiB");
    place.sinks(sinks);
    proxy.answer(|request| (request.method == "PUT").then_some(403));
    // What an earlier run left fills the spool but for a little.
    fs::create_dir_all(spool(&place)).unwrap();
    let line =
        format!("{{\"timestamp\":\"2026-07-31T08:00:00.000Z\",\"event-id\":\"old\",\"x\":\"{}\"}}\n", "x".repeat(4000));
    fs::write(spool(&place).join("00000000000000000000.ndjson"), line.repeat((16 << 20) / line.len() - 1)).unwrap();
    let gateway = place.setup.start();
    let client = gateway.client("alice", &place.key);
    let script: String = (0..40).map(|n| format!("-mkdir /d{n}\n-rmdir /d{n}\n")).collect();
    client.sftp(&script);
    until("word of the full spool", LIMIT, || gateway.log().contains("holds").then_some(()));
    client.sftp("mkdir /refused").failed();
    let held: u64 = waiting(&place).iter().map(|path| fs::metadata(path).unwrap().len()).sum();
    assert!(held <= 16 << 20, "{held} bytes in the spool");
    proxy.answer(|_| None);
    until("room in the spool", LIMIT, || client.sftp("mkdir /taken").status.success().then_some(()));
    gateway.stop();
    let (delivered, recorded) = (delivered(&lake), place.recorded());
    let ours: Vec<_> = delivered.iter().filter(|line| !line.contains("\"event-id\":\"old\"")).collect();
    assert_eq!(ours, recorded.iter().collect::<Vec<_>>());
}

/// Killed again and again at work, with uploads under way: what a client was told is in the store, once.
#[test]
fn death_at_any_moment_loses_nothing_that_was_acknowledged() {
    let mut place = Place::new();
    let lake = crate::support::s3::new_store();
    let proxy = Proxy::start(lake.port());
    place.setup.store("lake", json!({ "url": lake.url(), "options": lake.options_through(&proxy.endpoint()) }));
    place.sinks(sink(&place, json!({ "events": 20, "age": "1s" })));
    proxy.delay(Duration::from_millis(15));
    let mut acknowledged = Vec::new();
    for round in 0..12_u64 {
        let gateway = place.setup.start();
        let script: String = (0..400).map(|n| format!("mkdir /r{round}-{n}\n")).collect();
        let mut running = Running::start(&mut gateway.client("alice", &place.key).sftp_command());
        running.feed(script.as_bytes());
        let moment = Duration::from_millis(40 + round * 37 % 200);
        until("work under way", LIMIT, || (!gateway.events.of_type("MKDIR").is_empty()).then_some(()));
        std::thread::sleep(moment);
        gateway.kill();
        running.close_input();
        // sftp repeats each command before it runs it: when the next one stands there, the one before is done.
        let said = running.finish(LIMIT).stdout;
        let begun: Vec<&str> =
            said.lines().filter_map(|line| line.split_once("mkdir ").map(|(_, name)| name.trim())).collect();
        let done = begun.split_last().map_or(&[][..], |(_, done)| done);
        acknowledged.extend(done.iter().map(|name| (*name).to_owned()));
    }
    assert!(acknowledged.len() > 50, "{}", acknowledged.len());
    let gateway = place.setup.start();
    until("delivery of what waited", LIMIT, || waiting(&place).is_empty().then_some(()));
    gateway.stop();
    let events: Vec<Value> = delivered(&lake).iter().map(|line| serde_json::from_str(line).unwrap()).collect();
    let made: BTreeSet<&str> = events.iter().filter_map(|event| event["logical-path"].as_str()).collect();
    let lost: Vec<_> = acknowledged.iter().filter(|name| !made.contains(name.as_str())).collect();
    assert!(lost.is_empty(), "{lost:?}");
    let ids: BTreeSet<&str> = events.iter().filter_map(|event| event["event-id"].as_str()).collect();
    assert_eq!(ids.len(), events.len(), "no event is there twice");
}
