//! Who is there, and what a gateway does while the shared state is away.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::json;

use super::{LEASE, gateway, gateways, member, metric, standing, two, until_alone, until_sessions, until_together};
use crate::admin::Administered;
use crate::support::events::field;
use crate::support::link::Link;
use crate::support::process::{LIMIT, until};
use crate::support::redis::{PASSWORD, Redis, url_of};
use crate::support::server::free_port;
use crate::support::sftp::Sftp;

/// It serves as if there were no fleet.
#[track_caller]
fn serves(one: &Administered) {
    one.door.client.sftp("pwd").succeeded();
    assert_eq!(one.socket.get("/readyz").status, 200, "being alone is no reason to be taken out of service");
}

#[test]
fn gateways_see_one_another_until_one_leaves_or_its_lease_is_over() {
    let redis = Redis::start();
    let [one, other] = two(&redis);
    assert_eq!(gateways(&one), ["edge-1", "edge-2"]);
    let shown = one.socket.get("/api/v1/fleet").ok();
    assert_eq!((&shown["name"], &shown["tampered"]), (&json!("prod"), &json!(0)), "{shown}");
    let own: Vec<_> = shown["gateways"].as_array().unwrap().iter().map(|one| one["own"].clone()).collect();
    assert_eq!(own, [json!(true), json!(false)]);
    assert_eq!((metric(&one, "lockgate_fleet_alone"), metric(&one, "lockgate_ready")), (Some(0.0), Some(1.0)));
    let list = one.command(&["fleet"]).succeeded().stdout;
    assert!(list.contains("fleet prod: together") && list.contains("edge-2") && list.contains("this one"), "{list}");
    assert!(one.command(&["status"]).succeeded().stdout.contains("fleet     prod: together"));
    // One of another fleet is not seen.
    let foreign = member("edge-9", &redis.url(), |setup| setup.config["fleet"]["name"] = "test".into());
    until_together(&foreign);
    assert_eq!(gateways(&foreign), ["edge-9"]);
    // One that ends in order goes at once; one that is killed says nothing, is shown as silent, and goes with its lease.
    let third = member("edge-3", &redis.url(), |_| ());
    until_together(&third);
    assert_eq!(gateways(&one).len(), 3);
    gateway(third).stop();
    assert_eq!(gateways(&one), ["edge-1", "edge-2"]);
    gateway(other).kill();
    let killed = Instant::now();
    until("a silent gateway", LIMIT, || {
        let shown = one.socket.get("/api/v1/fleet").ok();
        let other = shown["gateways"].as_array()?.iter().find(|other| other["name"] == "edge-2")?;
        (other["silent"] == true).then_some(())
    });
    until("the end of its lease", LIMIT, || (gateways(&one) == ["edge-1"]).then_some(()));
    assert!(killed.elapsed() >= LEASE / 2, "{:?}", killed.elapsed());
    eprintln!("a killed gateway was gone after {:?}", killed.elapsed());
    assert!(one.door.gateway.events.of_type("FLEET_ALONE").is_empty());
}

#[test]
fn a_drain_is_seen_by_the_others() {
    let redis = Redis::start();
    let [one, other] = two(&redis);
    let mut waiting = Sftp::connect(&other.door.client, LIMIT);
    let handle = waiting.create("/under-way");
    other.command(&["drain"]).succeeded();
    until("a gateway that drains", LIMIT, || {
        let shown = one.socket.get("/api/v1/fleet").ok();
        let other = shown["gateways"].as_array()?.iter().find(|other| other["name"] == "edge-2")?;
        (other["draining"] == true).then_some(())
    });
    waiting.close(&handle).unwrap();
}

#[test]
fn without_redis_a_gateway_works_alone_says_so_once_and_comes_back() {
    let redis = Redis::start();
    let [one, other] = two(&redis);
    let _session = Sftp::connect(&one.door.client, LIMIT);
    until_sessions(&other, &[("edge-1", "alice")]);
    redis.kill();
    let why = until_alone(&one);
    assert!(!why.is_empty());
    let events = &one.door.gateway.events;
    let alone = events.await_event("FLEET_ALONE", |_| true);
    assert!(field(&alone, "message").contains(&format!("redis://127.0.0.1:{}", redis.port)), "{alone}");
    serves(&one);
    assert_eq!(metric(&one, "lockgate_fleet_alone"), Some(1.0));
    let list = one.command(&["fleet"]).failed().stdout;
    assert!(list.contains("fleet prod: ALONE") && list.contains("this one"), "{list}");
    // It keeps its own sessions, and says that others may be missing.
    until("a list that says what it lacks", LIMIT, || {
        let shown = other.socket.get("/api/v1/sessions").ok();
        (shown["total"] == 0 && shown["incomplete"].as_str()?.contains("cannot be reached")).then_some(())
    });
    let list = other.command(&["sessions", "list"]).succeeded().stdout;
    assert!(list.contains("nobody is connected") && list.contains("may be missing"), "{list}");
    assert!(events.of_type("FLEET_JOINED").is_empty());
    redis.start_again();
    until_together(&one);
    until_together(&other);
    events.await_event("FLEET_JOINED", |_| true);
    until_sessions(&other, &[("edge-1", "alice")]);
    assert_eq!(events.of_type("FLEET_ALONE").len(), 1);
    assert!(one.door.gateway.log().contains("this gateway is alone"), "{}", one.door.gateway.log());
}

#[test]
fn a_gateway_starts_without_redis() {
    let port = free_port();
    let one = member("edge-1", &url_of(port), |_| ());
    one.door.gateway.events.await_event("FLEET_ALONE", |_| true);
    serves(&one);
    gateway(one).stop();
}

#[test]
fn a_redis_that_is_stuck_counts_as_gone_and_holds_nobody_up() {
    let redis = Redis::start();
    let [one, _other] = two(&redis);
    redis.pause();
    let began = Instant::now();
    serves(&one);
    until_alone(&one);
    eprintln!("a stuck Redis was noticed after {:?}", began.elapsed());
    serves(&one);
    let began = Instant::now();
    let list = one.socket.get("/api/v1/sessions").ok();
    assert!(list["incomplete"].is_string() && began.elapsed() < Duration::from_secs(60), "{list}");
    redis.go_on();
    until_together(&one);
}

#[test]
fn a_slow_redis_is_slow_for_itself_only() {
    let redis = Redis::start();
    let line = Link::to(redis.port, Duration::from_millis(100), 100_000_000);
    let slow = url_of(line.port);
    let [one, other] = ["edge-1", "edge-2"].map(|name| member(name, &slow, |_| ()));
    until_together(&one);
    until_together(&other);
    let session = Sftp::connect(&one.door.client, LIMIT);
    let seen = until_sessions(&other, &[("edge-1", "alice")]);
    eprintln!("through a line of 200 ms there and back, a session was seen elsewhere after {seen:?}");
    assert!(standing(&one).get("alone").is_none() && standing(&other).get("alone").is_none());
    drop(session);
    until_sessions(&other, &[]);
    assert!(one.door.gateway.events.of_type("FLEET_ALONE").is_empty());
}

#[test]
fn an_emptied_redis_is_filled_again() {
    let redis = Redis::start();
    let [one, other] = two(&redis);
    let _session = Sftp::connect(&one.door.client, LIMIT);
    until_sessions(&other, &[("edge-1", "alice")]);
    redis.call(&["FLUSHALL"]);
    until("both gateways again", LIMIT, || (gateways(&one).len() == 2).then_some(()));
    until_sessions(&other, &[("edge-1", "alice")]);
    assert!(standing(&one).get("alone").is_none());
    assert!(one.door.gateway.events.of_type("FLEET_ALONE").is_empty(), "it was never away");
}

#[test]
fn tls_is_verified_and_passwords_are_given_and_kept() {
    let redis = Redis::start_guarded();
    let url = format!("rediss://127.0.0.1:{}", redis.tls_port);
    let fine = member("edge-1", &url, |setup| {
        std::fs::write(setup.folder().join("password"), PASSWORD).unwrap();
        setup.config["fleet"]["password"] = "${file:password}".into();
        setup.config["fleet"]["ca_file"] = redis.file("ca.pem").display().to_string().into();
    });
    until_together(&fine);
    // The certificate is of no authority that the system knows.
    let doubtful = member("edge-2", &url, |setup| {
        setup.config["fleet"]["password"] = PASSWORD.into();
    });
    let why = until("a refusal of the certificate", LIMIT, || {
        Some(until_alone(&doubtful)).filter(|why| why.contains("TLS") || why.contains("authority"))
    });
    assert!(!why.contains(PASSWORD), "{why}");
    // The name in it is another.
    let renamed = member("edge-3", &url.replace("127.0.0.1", "localhost"), |setup| {
        setup.config["fleet"]["password"] = PASSWORD.into();
        setup.config["fleet"]["ca_file"] = redis.file("ca.pem").display().to_string().into();
    });
    until("a refusal of the name", LIMIT, || Some(until_alone(&renamed)).filter(|why| why.contains("TLS")));
    let wrong = member("edge-4", &url_of(redis.port), |setup| setup.config["fleet"]["password"] = "hunter2".into());
    until("a refusal of the password", LIMIT, || Some(until_alone(&wrong)).filter(|why| why.contains("password")));
    for one in [&fine, &doubtful, &renamed, &wrong] {
        let shown = one.socket.get("/api/v1/config").body + &one.door.gateway.log();
        let events: String = one.door.gateway.events.all().iter().map(ToString::to_string).collect();
        for secret in [PASSWORD, "hunter2"] {
            assert!(!shown.contains(secret) && !events.contains(secret), "{secret} is shown");
        }
    }
    assert_eq!(gateways(&fine), ["edge-1"]);
    fine.command(&["check", "--online"]).succeeded();
    doubtful.command(&["check", "--online"]).failed().says("the shared state of the fleet \"prod\" cannot be used");
    assert_eq!(redis.keys("lockgate:{prod}:").iter().filter(|key| key.contains("check.")).count(), 0);
}

/// Answers every request with the same bytes.
fn answers_always(answer: &'static [u8]) -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    // It ends with the test's process.
    thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            thread::spawn(move || {
                let mut buffer = [0; 64 << 10];
                while stream.read(&mut buffer).is_ok_and(|length| length > 0) && stream.write_all(answer).is_ok() {}
            });
        }
    });
    port
}

#[test]
fn what_is_no_redis_does_no_harm() {
    for (answer, says) in [
        (&b"*2147483647\r\n"[..], "an array is too long"),
        (b"$2000000000\r\n", "an answer is too long"),
        (b"*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n", "too deep"),
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", "RESP2"),
        (b"+OK\r\n", ""),
        (b"*3\r\n:1\r\n$-1\r\n*0\r\n", ""),
        (b"-ERR \x1b[2J\r\n", ""),
    ] {
        let one = member("edge-1", &url_of(answers_always(answer)), |_| ());
        let why = until_alone(&one);
        one.door.gateway.events.await_event("FLEET_ALONE", |event| field(event, "message").contains(says));
        assert!(!why.contains('\u{1b}'), "{why:?}");
        serves(&one);
        let peak = one.door.gateway.peak_memory();
        assert!(peak < 1 << 30, "{peak}");
        gateway(one).stop();
    }
}
