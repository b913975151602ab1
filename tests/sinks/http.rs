//! The HTTP sink and a collector: what is posted, what happens when the collector is slow, refuses or is away.

use std::io::Read;
use std::time::Duration;

use flate2::read::GzDecoder;
use serde_json::{Value, json};

use super::Place;
use super::collector::Collector;
use super::syslog::make_certificate;
use crate::support::gateway::lockgate;
use crate::support::process::{LIMIT, run, until};

const TOKEN: &str = "t0ken-that-nobody-may-see";

fn sink(place: &Place, url: &str, more: Value) -> Value {
    let spool = place.setup.folder().join("spool");
    let batch = json!({ "events": 5, "age": "1s" });
    let headers = json!({ "Authorization": format!("Bearer {TOKEN}") });
    let mut sink = json!({ "sink": "http", "url": url, "spool": spool, "batch": batch, "headers": headers });
    for (key, value) in more.as_object().expect("keys") {
        sink[key] = value.clone();
    }
    json!([sink])
}

fn url(collector: &Collector) -> String {
    format!("http://127.0.0.1:{}/in?key={TOKEN}", collector.port)
}

#[test]
fn a_collector_gets_every_line_in_order() {
    let (mut place, collector) = (Place::new(), Collector::start());
    place.sinks(sink(&place, &url(&collector), json!({})));
    let gateway = place.setup.start();
    place.work(&gateway, 10);
    gateway.stop();
    assert_eq!(collector.lines(), place.recorded());
    for post in collector.posts() {
        assert_eq!((post.method.as_str(), post.target.as_str()), ("POST", format!("/in?key={TOKEN}").as_str()));
        assert_eq!(post.header("content-type"), Some("application/x-ndjson"));
        assert_eq!(post.header("authorization"), Some(format!("Bearer {TOKEN}").as_str()));
        assert!(post.body.split(|byte| *byte == b'\n').count() <= 6);
    }
}

#[test]
fn arrays_compressed_over_tls() {
    let mut place = Place::new();
    let folder = place.setup.subfolder("tls");
    make_certificate(&folder);
    let collector = Collector::start_tls(&folder);
    let url = format!("https://localhost:{}/in", collector.port);
    let more = json!({ "encoding": "array", "gzip": true, "ca_file": folder.join("ca.pem") });
    place.sinks(sink(&place, &url, more));
    let gateway = place.setup.start();
    place.work(&gateway, 4);
    gateway.stop();
    let mut events: Vec<Value> = Vec::new();
    for post in collector.taken() {
        assert_eq!(
            (post.header("content-encoding"), post.header("content-type")),
            (Some("gzip"), Some("application/json"))
        );
        let mut text = String::new();
        GzDecoder::new(&post.body[..]).read_to_string(&mut text).unwrap();
        events.extend(serde_json::from_str::<Vec<Value>>(&text).unwrap());
    }
    let recorded: Vec<Value> = place.recorded().iter().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(events, recorded);
}

#[test]
fn a_collector_that_is_busy_is_asked_again_when_it_wants_to_be() {
    let (mut place, collector) = (Place::new(), Collector::start());
    place.sinks(sink(&place, &url(&collector), json!({})));
    let mut asked = 0;
    collector.answer(move |_| {
        asked += 1;
        match asked {
            1 => (503, ""),
            2 => (429, "retry-after: 2\r\n"),
            _ => (204, ""),
        }
    });
    let gateway = place.setup.start();
    place.work(&gateway, 4);
    until("delivery", LIMIT, || (collector.lines().len() >= place.recorded().len()).then_some(()));
    gateway.stop();
    assert_eq!(collector.lines(), place.recorded());
    let posts = collector.posts();
    assert!(posts[2].at - posts[1].at >= Duration::from_secs(2), "{:?}", posts[2].at - posts[1].at);
    assert_eq!(posts[1].body, posts[2].body);
}

/// A refusal is said in the log, without a secret; nothing is lost, not even by the death of the gateway.
#[test]
fn a_refused_batch_stays_until_it_is_taken() {
    let (mut place, collector) = (Place::new(), Collector::start());
    place.sinks(sink(&place, &url(&collector), json!({})));
    collector.answer(|_| (401, ""));
    let gateway = place.setup.start();
    place.work(&gateway, 5);
    until("word of the refusal", LIMIT, || gateway.log().contains("401 Unauthorized").then_some(()));
    assert!(!gateway.log().contains(TOKEN), "{}", gateway.log());
    gateway.kill();
    assert!(collector.lines().is_empty());
    collector.answer(|_| (200, ""));
    let gateway = place.setup.start();
    until("delivery of what waited", LIMIT, || (collector.lines().len() >= place.recorded().len()).then_some(()));
    place.work(&gateway, 1);
    gateway.stop();
    assert_eq!(collector.lines(), place.recorded());
}

#[test]
fn a_batch_that_is_too_large_is_posted_in_parts() {
    let (mut place, collector) = (Place::new(), Collector::start());
    place.sinks(sink(&place, &url(&collector), json!({ "batch": { "events": 40, "age": "1s" } })));
    collector.answer(|post| if post.body.len() > 3000 { (413, "") } else { (200, "") });
    let gateway = place.setup.start();
    place.work(&gateway, 10);
    gateway.stop();
    assert_eq!(collector.lines(), place.recorded());
    assert!(collector.posts().iter().any(|post| post.status == 413));
}

#[test]
fn check_online_reaches_each_sink_and_sends_nothing() {
    let (mut place, collector) = (Place::new(), Collector::start());
    let check = |place: &Place| run(lockgate().args(["check", "--online", "--config"]).arg(place.setup.write_config()));
    place.sinks(sink(&place, &url(&collector), json!({})));
    check(&place).succeeded();
    assert!(collector.posts().iter().all(|post| post.method == "OPTIONS" && post.body.is_empty()));
    assert_eq!(collector.posts().len(), 1);
    assert!(!place.setup.folder().join("spool").exists() && !place.file().exists());
    collector.answer(|_| (401, ""));
    check(&place).failed().says("401").says("credentials");
    collector.answer(|_| (404, ""));
    assert!(check(&place).succeeded().stderr.contains("404"));

    let mut sinks = sink(&place, &format!("http://127.0.0.1:1/in?key={TOKEN}"), json!({}));
    sinks.as_array_mut().unwrap().push(json!({ "sink": "syslog", "address": "tcp://127.0.0.1:1" }));
    sinks.as_array_mut().unwrap().push(json!({ "sink": "syslog", "address": "unix:/nowhere/log" }));
    place.sinks(sinks);
    let outcome = check(&place).failed().says("http://127.0.0.1:1/…").says("tcp://127.0.0.1:1").says("/nowhere/log");
    assert!(!outcome.stderr.contains(TOKEN), "{outcome}");
}
