//! Somebody else writes in Redis what only gateways write: bounded harm, and the operator is told.

use super::{gateways, metric, standing, two, two_with, until_sessions};
use crate::support::process::{LIMIT, until};
use crate::support::redis::{Redis, Reply};
use crate::support::setup::User;
use crate::support::sftp::Sftp;

const PREFIX: &str = "lockgate:{prod}:";

/// Waits until both stand as before, and one has told of it.
#[track_caller]
fn until_told(one: &super::Administered) {
    until("a log line and a number", LIMIT, || {
        let is_counted = metric(one, "lockgate_fleet_tampered").is_some_and(|times| times > 0.0);
        (is_counted && one.door.gateway.log().contains("somebody else changes the shared state")).then_some(())
    });
    assert!(standing(one).get("alone").is_none(), "{}", one.door.gateway.log());
}

#[test]
fn keys_of_another_kind_are_removed_and_written_anew() {
    let redis = Redis::start();
    let [one, other] = two(&redis);
    let _session = Sftp::connect(&one.door.client, LIMIT);
    until_sessions(&other, &[("edge-1", "alice")]);
    for key in redis.keys(PREFIX) {
        redis.call(&["DEL", &key]);
        redis.call(&["RPUSH", &key, "nonsense"]);
    }
    until_told(&one);
    until("both gateways again", LIMIT, || (gateways(&one) == ["edge-1", "edge-2"]).then_some(()));
    until_sessions(&other, &[("edge-1", "alice")]);
    one.door.client.sftp("pwd").succeeded();
    assert!(one.door.gateway.events.of_type("FLEET_ALONE").is_empty());
}

#[test]
fn values_that_make_no_sense_are_not_shown_and_not_believed() {
    let redis = Redis::start();
    let [one, other] = two(&redis);
    let _session = Sftp::connect(&one.door.client, LIMIT);
    until_sessions(&other, &[("edge-1", "alice")]);
    let huge = "x".repeat(8 << 20);
    let key = |name: &str| format!("{PREFIX}{name}");
    let own = |name: &str| redis.keys(&key(name)).pop().expect("a key");
    redis.call(&["SET", &own("gateway:edge-1"), &huge]);
    redis.call(&["HSET", &own("sessions:edge-1"), "0049cd844c7536c06a89", &huge]);
    redis.call(&["HSET", &own("sessions:edge-1"), "not-a-session", "{\"id\":\"\u{1b}[2J\"}"]);
    redis.call(&["ZADD", &key("gateways"), "inf", "forever"]);
    redis.call(&["ZADD", &key("gateways"), "9999999999999", &"y".repeat(1 << 20)]);
    for news in ["shutdown now", "end {\"gateway\":7}", "ban everybody 9999999999999 1 x", &huge] {
        redis.call(&["XADD", &key("news"), "*", "n", news]);
    }
    until_told(&other);
    until_told(&one);
    until_sessions(&other, &[("edge-1", "alice")]);
    until("the two gateways and no other", LIMIT, || (gateways(&other) == ["edge-1", "edge-2"]).then_some(()));
    assert!(!other.door.gateway.log().contains('\u{1b}'));
    assert!(other.door.gateway.peak_memory() < 1 << 30);
}

#[test]
fn news_with_the_last_possible_id_do_not_silence_the_gateways() {
    let redis = Redis::start();
    let [one, other] = two(&redis);
    let key = format!("{PREFIX}news");
    redis.call(&["XADD", &key, "18446744073709551615-18446744073709551615", "n", "last words"]);
    until_told(&one);
    let _session = Sftp::connect(&one.door.client, LIMIT);
    let id = one.session_of("alice");
    until_sessions(&other, &[("edge-1", "alice")]);
    other.command(&["sessions", "end", &id, "--reason", "heard all the same"]).succeeded();
    one.door.gateway.events.await_disconnected(1);
}

#[test]
fn forged_bans_and_points_stay_within_the_gateways_own_bounds() {
    let redis = Redis::start();
    let [one, other] = two(&redis);
    // By default the machine itself is never banned.
    let (bans, points) = (format!("{PREFIX}bans"), format!("{PREFIX}points:192.0.2.7"));
    redis.call(&["XADD", &format!("{PREFIX}news"), "*", "n", "ban 127.0.0.1 9999999999999 1 forger"]);
    redis.call(&["XADD", &format!("{PREFIX}news"), "*", "n", "ban 192.0.2.7 9999999999999 4000000000 forger"]);
    redis.call(&["HSET", &bans, "127.0.0.1", "9999999999999 1 forger"]);
    redis.call(&["SET", &points, "9223372036854775807"]);
    let ban = until("the forged ban of somebody else", LIMIT, || {
        let bans = one.socket.get("/api/v1/bans").ok();
        (bans["total"] == 1).then(|| bans["bans"][0].clone())
    });
    let left = ban["seconds_left"].as_u64().unwrap();
    assert!(ban["address"] == "192.0.2.7" && left <= 24 * 60 * 60, "{ban}");
    let says = "another gateway of the fleet has banned it";
    until("a line in the log that says whose it is", LIMIT, || one.door.gateway.log().contains(says).then_some(()));
    one.door.client.sftp("pwd").succeeded();
    other.door.client.sftp("pwd").succeeded();
    until("the same at the other", LIMIT, || (other.socket.get("/api/v1/bans").ok()["total"] == 1).then_some(()));
    other.command(&["bans", "lift", "192.0.2.7"]).succeeded();
}

#[test]
fn forged_places_keep_a_user_out_for_a_bounded_time() {
    let redis = Redis::start();
    let [one, _other] = two_with(&redis.url(), |setup| {
        let key = setup.key("bob");
        setup.user(User::new("bob").key(&key).home("/", "main:/").set("sessions", 2));
    });
    let places = format!("{PREFIX}places:login:bob");
    for member in ["a", "b", "c"] {
        redis.call(&["ZADD", &places, "inf", member]);
    }
    let key = crate::support::keys::Key { private: one.door.setup.folder().join("bob"), ..one.door.key.clone() };
    one.door.gateway.client("bob", &key).sftp("pwd").succeeded();
    until_told(&one);
    redis.call(&["DEL", &places]);
    redis.call(&["SET", &places, "nonsense"]);
    one.door.gateway.client("bob", &key).sftp("pwd").succeeded();
    let Reply::Text(kind) = redis.call(&["TYPE", &places]) else { panic!("a kind") };
    assert!(kind == "zset" || kind == "none", "{kind}");
}
