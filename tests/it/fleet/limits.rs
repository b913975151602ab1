//! How many sessions a user may have over all gateways.

use std::time::Instant;

use super::{Administered, two_with, until_alone, until_sessions, until_together};
use crate::support::client::Client;
use crate::support::events::field;
use crate::support::keys::Key;
use crate::support::link::Link;
use crate::support::process::{LIMIT, until};
use crate::support::redis::{Redis, url_of};
use crate::support::setup::{Setup, User};
use crate::support::sftp::Sftp;

/// Bob may have one session.
fn bob(setup: &mut Setup) {
    let key = setup.key("bob");
    setup.user(User::new("bob").key(&key).home("/", "main:/").set("sessions", 1));
}

#[track_caller]
fn as_bob(one: &Administered) -> Client {
    let folder = one.door.setup.folder();
    one.door.gateway.client("bob", &Key { private: folder.join("bob"), ..one.door.key.clone() })
}

#[track_caller]
fn is_refused(one: &Administered) {
    let events = &one.door.gateway.events;
    let count = |all: &[serde_json::Value]| {
        let refused = |event: &&serde_json::Value| field(event, "reason") == "too-many-sessions";
        all.iter().filter(refused).count()
    };
    let before = count(&events.all());
    as_bob(one).sftp("pwd").failed();
    events.until("refusal", |all| (count(all) > before).then_some(()));
}

#[test]
fn a_limit_of_sessions_holds_over_all_gateways() {
    let redis = Redis::start();
    let [one, other] = two_with(&redis.url(), bob);
    let session = Sftp::connect(&as_bob(&one), LIMIT);
    is_refused(&other);
    is_refused(&one);
    // Alice has no limit, and her logins ask nobody.
    other.door.client.sftp("pwd").succeeded();
    assert!(redis.keys("lockgate:{prod}:places:").iter().all(|key| key.ends_with(":bob")));
    // It holds longer than a lease, and one that was refused leaves nothing behind.
    std::thread::sleep(super::LEASE * 2);
    is_refused(&other);
    drop(session);
    one.door.gateway.events.await_disconnected(1);
    let second = Sftp::connect(&as_bob(&other), LIMIT);
    is_refused(&one);
    drop(second);
    // Coming and going at one gateway is never refused, however quickly.
    until_sessions(&one, &[]);
    for _ in 0..5 {
        as_bob(&one).sftp("pwd").succeeded();
    }
}

#[test]
fn a_place_of_a_killed_gateway_is_free_after_its_lease() {
    let redis = Redis::start();
    let [one, other] = two_with(&redis.url(), bob);
    let _session = Sftp::connect(&as_bob(&one), LIMIT);
    is_refused(&other);
    super::gateway(one).kill();
    let killed = Instant::now();
    until("a free place", LIMIT, || as_bob(&other).sftp("pwd").status.success().then_some(()));
    eprintln!("the place of a killed gateway's session was free after {:?}", killed.elapsed());
}

#[test]
fn without_redis_the_limit_holds_for_each_gateway() {
    let redis = Redis::start();
    let [one, other] = two_with(&redis.url(), bob);
    let first = Sftp::connect(&as_bob(&one), LIMIT);
    redis.kill();
    until_alone(&one);
    until_alone(&other);
    let began = Instant::now();
    let second = Sftp::connect(&as_bob(&other), LIMIT);
    eprintln!("without Redis, a user with a limit logged in after {:?}", began.elapsed());
    is_refused(&one);
    is_refused(&other);
    // Both stay when Redis is back, and neither gateway lets another one in.
    redis.start_again();
    until_together(&one);
    until_together(&other);
    is_refused(&one);
    drop(first);
    until("the end of the first", LIMIT, || {
        let ended = one.door.gateway.events.of_type("DISCONNECTED");
        ended.iter().any(|event| field(event, "user") == "bob" && field(event, "reason") == "client").then_some(())
    });
    is_refused(&one);
    drop(second);
    until("a free place", LIMIT, || as_bob(&one).sftp("pwd").status.success().then_some(()));
}

#[test]
fn a_stuck_redis_delays_a_login_with_a_limit_by_a_bounded_time() {
    let redis = Redis::start();
    let [one, _other] = two_with(&redis.url(), bob);
    redis.pause();
    let began = Instant::now();
    as_bob(&one).sftp("pwd").succeeded();
    eprintln!("with a Redis that is stuck, a user with a limit logged in and out within {:?}", began.elapsed());
    redis.go_on();
}

#[test]
fn a_slow_redis_keeps_the_limit_too() {
    let redis = Redis::start();
    let line = Link::to(redis.port, std::time::Duration::from_millis(100), 100_000_000);
    let [one, other] = two_with(&url_of(line.port), bob);
    let session = Sftp::connect(&as_bob(&one), LIMIT);
    is_refused(&other);
    drop(session);
    until("a free place", LIMIT, || as_bob(&other).sftp("pwd").status.success().then_some(()));
}

#[test]
fn places_survive_an_emptied_redis() {
    let redis = Redis::start();
    let [one, other] = two_with(&redis.url(), bob);
    let _session = Sftp::connect(&as_bob(&one), LIMIT);
    redis.call(&["FLUSHALL"]);
    until("the place again", LIMIT, || (!redis.keys("lockgate:{prod}:places:login:bob").is_empty()).then_some(()));
    is_refused(&other);
}
