//! Faults count over all gateways, and a ban holds everywhere.

use std::time::{Duration, Instant};

use serde_json::json;

use super::{Administered, two_with, until_alone, until_together};
use crate::support::keys::Key;
use crate::support::link::Link;
use crate::support::process::{LIMIT, until};
use crate::support::redis::{Redis, url_of};
use crate::support::setup::Setup;

/// Three wrong keys lead to a ban, also of this machine.
fn strict(setup: &mut Setup) {
    setup.config["defender"] = json!({ "points": 3, "allow": [], "ban": "10m", "longest_ban": "1h" });
}

/// Somebody without alice's key tries to be her.
fn intrude(one: &Administered) {
    let folder = tempfile::TempDir::new().unwrap();
    let stranger = Key::make(folder.path(), "stranger", "ed25519");
    one.door.gateway.client("alice", &stranger).sftp("pwd").failed();
}

fn bans(one: &Administered) -> u64 {
    one.socket.get("/api/v1/bans").ok()["total"].as_u64().unwrap()
}

/// Waits until it bans somebody; how long that took.
#[track_caller]
fn until_banned(one: &Administered) -> Duration {
    let began = Instant::now();
    until("a ban", LIMIT, || (bans(one) == 1).then_some(()));
    began.elapsed()
}

/// Waits until what a gateway counted is in Redis.
#[track_caller]
fn until_counted(redis: &Redis, points: &str) {
    until("the points in Redis", LIMIT, || {
        let keys = redis.keys("lockgate:{prod}:points:");
        (keys.iter().any(|key| redis.call(&["GET", key]).text() == points)).then_some(())
    });
}

#[test]
fn faults_count_over_all_gateways_and_a_ban_holds_everywhere_within_a_second() {
    let redis = Redis::start();
    let [one, other] = two_with(&redis.url(), strict);
    intrude(&one);
    until_counted(&redis, "1");
    intrude(&other);
    until_counted(&redis, "2");
    assert_eq!((bans(&one), bans(&other)), (0, 0));
    intrude(&one);
    until_banned(&one);
    let late = until_banned(&other);
    eprintln!("a ban held elsewhere after {late:?}");
    for gateway in [&one, &other] {
        gateway.door.client.sftp("pwd").failed();
        let ban = gateway.socket.get("/api/v1/bans").ok()["bans"][0].clone();
        assert_eq!((&ban["address"], &ban["number"]), (&json!("127.0.0.1"), &json!(1)), "{ban}");
        assert!(ban["seconds_left"].as_u64().is_some_and(|left| (500..=600).contains(&left)), "{ban}");
    }
    let says = "another gateway of the fleet has banned it";
    until("a line in the log", LIMIT, || other.door.gateway.log().contains(says).then_some(()));
    assert!(late < Duration::from_secs(60));
    // Lifted at the one that only heard of it: everywhere.
    other.command(&["bans", "lift", "127.0.0.1"]).succeeded();
    until("the end of the ban", LIMIT, || (bans(&one) == 0).then_some(()));
    one.door.client.sftp("pwd").succeeded();
    other.door.client.sftp("pwd").succeeded();
    assert_eq!((bans(&one), bans(&other)), (0, 0));
}

#[test]
fn a_gateway_that_comes_later_knows_the_bans() {
    let redis = Redis::start();
    let [one, other] = two_with(&redis.url(), strict);
    (0..3).for_each(|_| intrude(&one));
    until_banned(&one);
    until_banned(&other);
    let third = super::member("edge-3", &redis.url(), strict);
    until_banned(&third);
    // One whose own rules say otherwise does not ban.
    let mild =
        super::member("edge-4", &redis.url(), |setup| setup.config["defender"] = json!({ "allow": ["127.0.0.0/8"] }));
    until_together(&mild);
    assert_eq!(bans(&mild), 0);
    mild.door.client.sftp("pwd").succeeded();
}

#[test]
fn without_redis_each_gateway_defends_itself_and_tells_of_it_later() {
    let redis = Redis::start();
    let [one, other] = two_with(&redis.url(), strict);
    redis.kill();
    until_alone(&one);
    until_alone(&other);
    (0..3).for_each(|_| intrude(&one));
    until_banned(&one);
    assert_eq!(bans(&other), 0);
    other.door.client.sftp("pwd").succeeded();
    redis.start_again();
    until_together(&other);
    until_banned(&other);
    // A lift while Redis is away is one of this gateway alone, and says so.
    redis.kill();
    until_alone(&one);
    let said = one.command(&["bans", "lift", "127.0.0.1"]).succeeded().stdout;
    assert!(said.contains("other gateways of the fleet may still ban it"), "{said}");
    assert_eq!((bans(&one), bans(&other)), (0, 1));
}

#[test]
fn bans_outlive_an_emptied_redis() {
    let redis = Redis::start();
    let [one, other] = two_with(&redis.url(), strict);
    (0..3).for_each(|_| intrude(&one));
    until_banned(&one);
    until_banned(&other);
    redis.call(&["FLUSHALL"]);
    let third = super::member("edge-3", &redis.url(), strict);
    until_banned(&third);
    assert_eq!((bans(&one), bans(&other)), (1, 1));
}

#[test]
fn a_ban_goes_through_a_slow_redis() {
    let redis = Redis::start();
    let line = Link::to(redis.port, Duration::from_millis(100), 100_000_000);
    let [one, other] = two_with(&url_of(line.port), strict);
    (0..3).for_each(|_| intrude(&one));
    until_banned(&one);
    let late = until_banned(&other);
    eprintln!("through a line of 200 ms there and back, a ban held elsewhere after {late:?}");
}
