//! The events of all gateways, for those who follow them: through Redis, and with a Redis that is gone, back, emptied, slow, stuck or lying.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::{Administered, member, metric, two_with, until_alone, until_together};
use crate::support::events::field;
use crate::support::link::Link;
use crate::support::process::{LIMIT, Running, program, until};
use crate::support::redis::{Redis, url_of};
use crate::support::setup::Setup;
use crate::support::sftp::Sftp;

const PREFIX: &str = "lockgate:{prod}:";

/// The trail in a file, which the events are told from.
fn in_a_file(setup: &mut Setup) {
    let path = setup.subfolder("events").join("e.ndjson");
    setup.config["events"] = json!([{ "sink": "stdout" }, { "sink": "file", "path": path }]);
}

/// One who follows over the socket.
struct Follower {
    lines: BufReader<Box<dyn crate::support::http::Stream>>,
    /// The kinds of all messages so far.
    kinds: Vec<String>,
}

impl Follower {
    fn start(one: &Administered, question: &str) -> Follower {
        let mut stream = one.socket.connect();
        write!(stream, "GET /api/v1/events/stream{question} HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
        let mut follower = Follower { lines: BufReader::new(stream), kinds: Vec::new() };
        until("the beginning of the stream", LIMIT, || follower.line().starts_with(": the events").then_some(()));
        follower
    }

    /// Directories that are made, at all gateways.
    fn of_all(one: &Administered) -> Follower {
        Follower::start(one, "?gateways=all&activity=mkdir")
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        assert!(self.lines.read_line(&mut line).unwrap() > 0, "the stream has ended");
        line.trim_end().to_owned()
    }

    /// The next message: its `id`, its kind and its data. Those that only say how far the stream is are passed over.
    #[track_caller]
    fn message(&mut self) -> (String, String, Value) {
        let (mut id, mut kind) = (String::new(), String::new());
        let message = until("a message", LIMIT, || {
            let line = self.line();
            match line.split_once(": ") {
                Some(("id", found)) => found.clone_into(&mut id),
                Some(("event", found)) => found.clone_into(&mut kind),
                Some(("data", data)) => return Some((id.clone(), kind.clone(), serde_json::from_str(data).unwrap())),
                None if line.is_empty() => id.clear(),
                _ => {}
            }
            None
        });
        self.kinds.push(message.1.clone());
        message
    }

    /// Waits until the stream says this of its fleet.
    #[track_caller]
    fn until_fleet(&mut self, what: &str, fits: impl Fn(&Value) -> bool) -> Value {
        until(what, LIMIT, || {
            let (_, kind, data) = self.message();
            (kind == "fleet" && fits(&data)).then_some(data)
        })
    }

    /// Waits until the events of these gateways arrive, and nothing is missing.
    #[track_caller]
    fn until_with(&mut self, gateways: &[&str]) {
        self.until_fleet("the events of others", |fleet| {
            fleet["gateways"] == json!(gateways) && fleet.get("incomplete").is_none()
        });
    }

    /// Waits for the event about this path; the message's id and kind, and the kinds of what came before.
    #[track_caller]
    fn until_path(&mut self, path: &str) -> (String, String, Value, Vec<String>) {
        let mut before = Vec::new();
        until(path, LIMIT, || {
            let (id, kind, data) = self.message();
            if field(&data, "logical-path") == path {
                return Some((id, kind, data, std::mem::take(&mut before)));
            }
            before.push(kind);
            None
        })
    }
}

/// Two gateways with a trail in a file.
#[track_caller]
fn two(url: &str) -> [Administered; 2] {
    two_with(url, in_a_file)
}

/// What the trail of a gateway has about a path.
fn recorded(one: &Administered, path: &str) -> String {
    let trail = fs::read_to_string(one.door.setup.folder().join("events/e.ndjson")).unwrap();
    let line = trail.lines().find(|line| line.contains(&format!("\"logical-path\":\"{path}\"")));
    line.expect("an event in the trail").to_owned()
}

/// Waits until an event that happens now at the other gateway arrives.
#[track_caller]
fn until_elsewhere(all: &mut Follower, here: &mut Sftp, there: &mut Sftp) {
    let mut number = 0;
    until("an event of the other gateway", LIMIT, || {
        number += 1;
        there.make_directory(&format!("/now-{number}")).unwrap();
        std::thread::sleep(Duration::from_millis(100));
        // An own event, so that there is something to read.
        let tick = format!("/tick-{number}");
        here.make_directory(&tick).unwrap();
        let mut is_there = false;
        loop {
            let (_, kind, data) = all.message();
            is_there |= kind == "elsewhere" && field(&data, "logical-path").starts_with("/now-");
            if field(&data, "logical-path") == tick {
                return is_there.then_some(());
            }
        }
    });
}

#[test]
fn one_who_follows_sees_the_events_of_all_gateways_and_whose_they_are() {
    let redis = Redis::start();
    let [one, other] = two(&redis.url());
    let [mut here, mut there] = [&one, &other].map(|gateway| Sftp::connect(&gateway.door.client, LIMIT));
    there.make_directory("/unseen").unwrap();
    other.door.gateway.events.await_event("MKDIR", |event| field(event, "logical-path") == "/unseen");
    // Nobody follows: nothing of it is in Redis.
    let mut own = Follower::start(&one, "?activity=mkdir");
    std::thread::sleep(Duration::from_secs(1));
    assert!(redis.keys(&format!("{PREFIX}events")).is_empty() && redis.keys(&format!("{PREFIX}followed")).is_empty());
    let mut all = Follower::of_all(&one);
    all.until_with(&["edge-2"]);
    let began = Instant::now();
    there.make_directory("/there").unwrap();
    let (id, kind, mut event, _) = all.until_path("/there");
    eprintln!("an event was seen elsewhere after {:?}", began.elapsed());
    assert_eq!((id.as_str(), kind.as_str(), field(&event, "gateway")), ("", "elsewhere", "edge-2"));
    event.as_object_mut().unwrap().remove("gateway");
    assert_eq!(event, serde_json::from_str::<Value>(&recorded(&other, "/there")).unwrap(), "as it was recorded");
    here.make_directory("/here").unwrap();
    let (id, kind, event, before) = all.until_path("/here");
    assert_eq!((kind.as_str(), event.get("gateway")), ("", None));
    assert_eq!(id, field(&event, "event-id"));
    // Filters apply to both; whoever follows one gateway sees that one.
    there.put("/filtered", b"content");
    there.make_directory("/last").unwrap();
    assert!(all.until_path("/last").3.is_empty() && before.is_empty());
    here.make_directory("/own").unwrap();
    assert!(own.until_path("/here").3.is_empty() && own.until_path("/own").3.is_empty());
    let wrong = one.socket.get("/api/v1/events/stream?gateways=some");
    assert_eq!(wrong.status, 400, "{wrong:?}");
    let refused = one.tcp.get_as(&one.tokens.viewer, "/api/v1/events/stream?gateways=all");
    assert_eq!(refused.status, 403, "{refused:?}");
    // It ends with the last one who follows.
    drop((all, own));
    until("the end of it", LIMIT, || redis.keys(&format!("{PREFIX}followed")).is_empty().then_some(()));
    until("the end of what was told", LIMIT, || redis.keys(&format!("{PREFIX}events")).is_empty().then_some(()));
}

#[test]
fn the_command_follows_all_gateways() {
    let redis = Redis::start();
    let [one, other] = two(&redis.url());
    let start = |name: &str, words: &[&str]| {
        let printed = one.door.setup.folder().join(name);
        let mut command = program("sh");
        let shell = "exec \"$0\" \"$@\" >\"$OUT\" 2>\"$OUT.err\"";
        command.args(["-c", shell, env!("CARGO_BIN_EXE_lockgate")]).env("OUT", &printed);
        command.args(["events", "follow", "--activity", "mkdir"]).args(words);
        command.arg("--config").arg(one.door.setup.folder().join("config.yaml"));
        (Running::start(&mut command), printed)
    };
    let ((_all, of_all), (_own, of_own)) = (start("of-all", &[]), start("of-own", &["--own"]));
    let said = of_all.with_extension("err");
    let said = || fs::read_to_string(&said).unwrap_or_default();
    until("the other gateway", LIMIT, || said().contains("with the events of edge-2").then_some(()));
    Sftp::connect(&other.door.client, LIMIT).make_directory("/there").unwrap();
    let printed = |path| fs::read_to_string(path).unwrap_or_default();
    until("the event", LIMIT, || printed(&of_all).contains("/there").then_some(()));
    Sftp::connect(&one.door.client, LIMIT).make_directory("/here").unwrap();
    for path in [&of_all, &of_own] {
        until("the own event", LIMIT, || printed(path).contains("/here").then_some(()));
    }
    assert!(!printed(&of_own).contains("/there"));
    let rest = recorded(&other, "/there");
    let rest = rest.strip_prefix('{').unwrap();
    assert_eq!(printed(&of_all), format!("{{\"gateway\":\"edge-2\",{rest}\n{}\n", recorded(&one, "/here")));
    redis.kill();
    until("that some may be missing", LIMIT, || {
        said().contains("events of other gateways may be missing").then_some(())
    });
}

#[test]
fn without_redis_the_own_events_come_and_the_stream_says_so_until_it_is_back() {
    let redis = Redis::start();
    let [one, other] = two(&redis.url());
    let [mut here, mut there] = [&one, &other].map(|gateway| Sftp::connect(&gateway.door.client, LIMIT));
    let mut all = Follower::of_all(&one);
    all.until_with(&["edge-2"]);
    redis.kill();
    let fleet = all.until_fleet("that some may be missing", |fleet| fleet.get("incomplete").is_some());
    assert!(!fleet["incomplete"].as_str().unwrap().is_empty(), "{fleet}");
    here.make_directory("/here").unwrap();
    assert_eq!(all.until_path("/here").1, "");
    there.make_directory("/meanwhile").unwrap();
    recorded(&other, "/meanwhile");
    // One who comes only now learns it as well.
    let mut late = Follower::of_all(&one);
    late.until_fleet("that some may be missing", |fleet| fleet.get("incomplete").is_some());
    until_alone(&other);
    redis.start_again();
    until_together(&one);
    until_together(&other);
    for follower in [&mut all, &mut late] {
        follower.until_with(&["edge-2"]);
    }
    there.make_directory("/again").unwrap();
    let (_, kind, _, before) = all.until_path("/again");
    assert_eq!(kind, "elsewhere");
    assert!(!before.contains(&String::new()), "no own event comes twice");
    assert_eq!(late.until_path("/again").1, "elsewhere");
    for follower in [&all, &late] {
        assert!(follower.kinds.iter().any(|kind| kind == "gap"), "what nobody was told of is shown as missing");
    }
}

#[test]
fn events_go_on_after_redis_was_emptied() {
    let redis = Redis::start();
    let [one, other] = two(&redis.url());
    let mut there = Sftp::connect(&other.door.client, LIMIT);
    let mut all = Follower::of_all(&one);
    all.until_with(&["edge-2"]);
    for number in 0..3 {
        redis.call(&["FLUSHALL"]);
        there.make_directory(&format!("/{number}")).unwrap();
        assert_eq!(all.until_path(&format!("/{number}")).1, "elsewhere");
    }
}

#[test]
fn events_come_through_a_slow_redis_and_nobody_waits_for_it() {
    let redis = Redis::start();
    let line = Link::to(redis.port, Duration::from_millis(100), 100_000_000);
    let [one, other] = two(&url_of(line.port));
    let mut there = Sftp::connect(&other.door.client, LIMIT);
    let mut all = Follower::of_all(&one);
    all.until_with(&["edge-2"]);
    for number in 0..100 {
        there.make_directory(&format!("/{number}")).unwrap();
    }
    for number in 0..100 {
        let (_, kind, _, before) = all.until_path(&format!("/{number}"));
        assert!(kind == "elsewhere" && before.iter().all(|kind| kind == "fleet"), "{before:?}");
    }
}

#[test]
fn a_stuck_redis_delays_no_operation_and_costs_no_event_of_the_trail() {
    let redis = Redis::start();
    let [one, other] = two(&redis.url());
    let [mut here, mut there] = [&one, &other].map(|gateway| Sftp::connect(&gateway.door.client, LIMIT));
    let mut all = Follower::of_all(&one);
    all.until_with(&["edge-2"]);
    redis.pause();
    let began = Instant::now();
    let mut many = 0;
    // Longer than anybody waits for an answer of Redis.
    while began.elapsed() < Duration::from_secs(4) {
        many += 1;
        there.make_directory(&format!("/{many}")).unwrap();
    }
    redis.go_on();
    eprintln!("with a Redis that is stuck, {many} directories were made within {:?}", began.elapsed());
    assert!(many > 100, "{many}");
    recorded(&other, &format!("/{many}"));
    until_elsewhere(&mut all, &mut here, &mut there);
    assert!(other.door.gateway.peak_memory() < 1 << 30);
}

#[test]
fn lies_in_redis_are_not_shown_and_are_counted() {
    let redis = Redis::start();
    let [one, other] = two(&redis.url());
    let [mut here, mut there] = [&one, &other].map(|gateway| Sftp::connect(&gateway.door.client, LIMIT));
    let mut all = Follower::of_all(&one);
    all.until_with(&["edge-2"]);
    there.make_directory("/true").unwrap();
    all.until_path("/true");
    let (events, followed) = (format!("{PREFIX}events"), format!("{PREFIX}followed"));
    let line = recorded(&other, "/true").replace("/true", "/lie");
    let huge = "x".repeat(8 << 20);
    for text in [
        "nonsense".to_owned(),
        huge,
        "1 edge-2.0123\nnonsense".to_owned(),
        format!("1 edge-2.0123\n{}", line.replace("MKDIR", "SHUTDOWN")),
        format!("1 edge-9.0123\n{line}"),
        format!("1 edge-2.0123\n{}", line.replace("\"/lie\"", "[\"/lie\"]")),
        format!("1 edge-2.0123\n{}", line.replace("/lie", "/lie\n\ndata: {}")),
        format!("1 edge-2.0123\n{}", line.replace("{\"", "{\"gateway\":\"edge-1\",\"")),
    ] {
        redis.call(&["XADD", &events, "*", "n", &text]);
    }
    redis.call(&["SET", &followed, "for ever"]);
    until("a number", LIMIT, || metric(&one, "lockgate_fleet_tampered").is_some_and(|times| times > 0.0).then_some(()));
    // A line that looks right is shown as what another gateway says. It is in no trail.
    redis.call(&["XADD", &events, "*", "n", &format!("1 edge-2.0123\n{}", line.replace("/lie", "/forged"))]);
    let (_, kind, event, before) = all.until_path("/forged");
    assert_eq!((kind.as_str(), field(&event, "gateway")), ("elsewhere", "edge-2"));
    assert!(!before.contains(&"elsewhere".to_owned()), "{before:?}");
    // Other kinds of keys, and a stream that takes nothing more.
    redis.call(&["DEL", &events, &followed]);
    redis.call(&["RPUSH", &events, "nonsense"]);
    redis.call(&["RPUSH", &followed, "nonsense"]);
    there.make_directory("/first").unwrap();
    redis.call(&["DEL", &events]);
    redis.call(&["XADD", &events, "18446744073709551615-18446744073709551615", "n", "last words"]);
    until_elsewhere(&mut all, &mut here, &mut there);
    for gateway in [&one, &other] {
        assert!(gateway.door.gateway.peak_memory() < 1 << 30);
        assert!(gateway.door.gateway.events.of_type("FLEET_ALONE").is_empty());
    }
}

#[test]
fn a_gateway_that_tells_no_events_is_named() {
    let redis = Redis::start();
    let one = member("edge-1", &redis.url(), in_a_file);
    let other = member("edge-2", &redis.url(), |setup| {
        setup.config["events"] = json!([{ "sink": "stdout" }]);
    });
    [&one, &other].into_iter().for_each(until_together);
    let mut all = Follower::of_all(&one);
    let fleet = all.until_fleet("that some are missing", |fleet| fleet.get("incomplete").is_some());
    assert_eq!(fleet["incomplete"], "no events arrive from edge-2");
}
