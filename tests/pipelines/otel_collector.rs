//! The OpenTelemetry collector.

use std::collections::HashMap;
use std::fs::{self, File};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use chrono::DateTime;
use rustix::process::Signal;
use serde_json::json;

use crate::backend::{Backend, Record};
use crate::place::{Place, compress, event, traffic};
use crate::support::events::field;
use crate::support::process::{LIMIT, run, tool, until};
use crate::support::server::Server;

const EXAMPLE: &str = "otel-collector.yaml";

/// What the test adds to the example: where the backend is, JSON instead of protobuf, and no port for metrics.
fn command(place: &Place, backend: &Backend, word: Option<&str>) -> Command {
    let example = place.configuration(EXAMPLE, "/var/lib/otelcol/lockgate");
    let added = place.setup.folder().join("added.yaml");
    let settings = json!({
        "exporters": { "otlp_http": { "endpoint": backend.endpoint(), "encoding": "json" } },
        "service": { "telemetry": { "metrics": { "level": "none" } } },
    });
    fs::write(&added, settings.to_string()).unwrap();
    let mut command = Command::new(tool("otelcol"));
    command.args(word).arg("--config").arg(example).arg("--config").arg(added);
    command
}

fn start(place: &Place, backend: &Backend) -> Server {
    let log = File::options().create(true).append(true).open(place.setup.folder().join("collector.log")).unwrap();
    let mut command = command(place, backend, None);
    command.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
    Server::start(&mut command, None)
}

fn stop(mut collector: Server) {
    collector.signal(Signal::TERM);
    let status = collector.ended(LIMIT).expect("the collector ends");
    assert!(status.success(), "{status}");
}

/// Waits until the backend has a record of every line.
#[track_caller]
fn await_all(folder: &Path, backend: &Backend, lines: usize) {
    let have = || {
        let mut bodies: Vec<String> = backend.records().into_iter().map(|record| record.body).collect();
        bodies.sort();
        bodies.dedup();
        bodies.len()
    };
    let limit = Instant::now() + LIMIT;
    while Instant::now() < limit {
        if have() >= lines {
            return;
        }
        thread::sleep(Duration::from_millis(100));
    }
    let log = fs::read_to_string(folder.join("collector.log")).unwrap_or_default();
    panic!("{} of {lines} lines arrived; the collector's log is\n{log}", have());
}

/// Each record is one of the lines, with nothing added and nothing lost; how often each line arrived.
fn compare<'a>(lines: &'a [String], records: &[Record]) -> HashMap<&'a str, usize> {
    let mut seen: HashMap<&str, usize> = lines.iter().map(|line| (line.as_str(), 0)).collect();
    for record in records {
        *seen.get_mut(record.body.as_str()).unwrap_or_else(|| panic!("nobody wrote {:?}", record.body)) += 1;
        let event = event(&record.body);
        assert_eq!(record.attributes, event);
        assert_eq!(record.service, "lockgate");
        let time = DateTime::parse_from_rfc3339(field(&event, "timestamp")).unwrap();
        assert_eq!(Some(record.time), time.timestamp_nanos_opt(), "{}", record.body);
    }
    seen
}

/// Waits until the backend has all that the gateway has written.
#[track_caller]
fn await_written(place: &Place, backend: &Backend) {
    await_all(place.setup.folder(), backend, place.gateway.events.all().len());
}

#[test]
fn the_example_is_valid() {
    let (place, backend) = (Place::new(), Backend::start());
    run(&mut command(&place, &backend, Some("validate"))).succeeded();
}

#[test]
fn every_event_arrives_once_whatever_happens_to_the_file() {
    let (mut place, backend) = (Place::new(), Backend::start());
    place.traffic();
    let collector = start(&place, &backend);

    // Rotations in the midst of traffic.
    let (client, go_on) = (place.client(), Arc::new(AtomicBool::new(true)));
    let others = {
        let go_on = go_on.clone();
        thread::spawn(move || {
            while go_on.load(Ordering::SeqCst) {
                traffic(&client);
            }
        })
    };
    place.traffic();
    let first = place.rotate();
    place.traffic();
    let second = place.rotate();
    place.traffic();
    go_on.store(false, Ordering::SeqCst);
    others.join().unwrap();
    await_written(&place, &backend);

    // What was read before must not be read again in its new form; what was not must be read in that form.
    compress(&first);
    for _ in 0..3 {
        place.traffic();
        compress(&place.rotate());
    }
    place.traffic();
    await_written(&place, &backend);

    // Rotations while the collector is away: the end of the file that it was reading, now compressed, a whole one, and the
    // start of the new one are left to read.
    stop(collector);
    place.traffic();
    compress(&place.rotate());
    place.traffic();
    place.rotate();
    place.traffic();
    let collector = start(&place, &backend);
    await_written(&place, &backend);
    compress(&second);
    place.traffic();
    await_written(&place, &backend);

    let (setup, lines) = place.close();
    await_all(setup.folder(), &backend, lines.len());
    // Time for what is read twice to arrive twice.
    thread::sleep(Duration::from_secs(3));
    stop(collector);
    assert!(lines.len() > 100, "{} lines", lines.len());
    let seen = compare(&lines, &backend.records());
    let wrong: Vec<_> = seen.iter().filter(|(_, times)| **times != 1).collect();
    assert!(wrong.is_empty(), "not once: {wrong:#?}");
}

#[test]
fn nothing_is_lost_when_the_backend_is_away_and_the_collector_is_killed() {
    let (mut place, backend) = (Place::new(), Backend::start());
    let collector = start(&place, &backend);
    place.traffic();
    await_written(&place, &backend);
    backend.be_away(true);
    place.traffic();
    until("refused request", LIMIT, || (backend.refused() > 0).then_some(()));
    // SIGKILL: what the collector had read and not delivered is in its folder.
    drop(collector);
    place.rotate();
    place.traffic();
    let collector = start(&place, &backend);
    place.traffic();
    let refused = backend.refused();
    until("refusal after the restart", LIMIT, || (backend.refused() > refused).then_some(()));
    backend.be_away(false);
    await_written(&place, &backend);
    let (setup, lines) = place.close();
    await_all(setup.folder(), &backend, lines.len());
    stop(collector);
    let seen = compare(&lines, &backend.records());
    assert!(seen.values().all(|times| *times >= 1), "{seen:#?}");
}
