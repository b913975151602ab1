//! Users of a folder that all gateways read: one of their trails is told of each change, also while Redis is gone, emptied, slow or lying.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use serde_json::json;
use tempfile::TempDir;

use super::{Administered, gateway, member, metric, until_alone, until_together};
use crate::support::events::field;
use crate::support::keys::Key;
use crate::support::link::Link;
use crate::support::process::{LIMIT, until};
use crate::support::redis::{Redis, url_of};

const TOLD: &str = "lockgate:{prod}:users:told:keys:desk:/public-keys";
const TELLER: &str = "lockgate:{prod}:users:teller:keys:desk:/public-keys";

/// Several rounds: a gateway that would tell of a change once more does it within them.
const ROUNDS: Duration = Duration::from_secs(5);

/// A folder of keys, and the host keys that all gateways have.
struct Desk(TempDir);

impl Desk {
    fn new() -> Desk {
        let desk = Desk(TempDir::new().unwrap());
        fs::create_dir_all(desk.keys()).unwrap();
        Key::make(desk.0.path(), "host", "ed25519");
        desk
    }

    fn keys(&self) -> PathBuf {
        self.0.path().join("store/public-keys")
    }

    fn member(&self, name: &str, url: &str) -> Administered {
        let (store, host) = (self.0.path().join("store"), self.0.path().join("host"));
        member(name, url, |setup| {
            setup.config["server"]["host_keys"] = json!([host]);
            // A change waits for four of them while Redis is away.
            setup.config["fleet"]["lease"] = "15s".into();
            setup.config["stores"]["desk"] = json!({ "url": format!("file://{}", store.display()) });
            setup.config["users_from"] = json!({
                "keys": "desk:/public-keys", "every": "1s", "home": [{ "entry": "/", "target": "main:/" }],
            });
        })
    }

    fn two(&self, url: &str) -> [Administered; 2] {
        let both = ["edge-1", "edge-2"].map(|name| self.member(name, url));
        both.iter().for_each(until_together);
        both
    }

    /// A user, with a key that is new each time.
    fn put(&self, user: &str) {
        let made = TempDir::new().unwrap();
        let beside = self.0.path().join("beside");
        fs::write(&beside, Key::make(made.path(), user, "ed25519").public).unwrap();
        fs::rename(beside, self.keys().join(format!("{user}.pub"))).unwrap();
    }

    fn remove(&self, user: &str) {
        fs::remove_file(self.keys().join(format!("{user}.pub"))).unwrap();
    }
}

/// How many events there are of it in a trail.
fn told_by(one: &Administered, activity: &str, user: &str) -> usize {
    one.door.gateway.events.of_type(activity).iter().filter(|event| field(event, "user") == user).count()
}

fn told(gateways: &[&Administered], activity: &str, user: &str) -> usize {
    gateways.iter().map(|one| told_by(one, activity, user)).sum()
}

/// Waits until a trail is told, and sees that no other one is.
#[track_caller]
fn once(gateways: &[&Administered], activity: &str, user: &str) {
    until(&format!("{activity} of {user}"), LIMIT, || (told(gateways, activity, user) > 0).then_some(()));
    std::thread::sleep(ROUNDS);
    assert_eq!(told(gateways, activity, user), 1, "{activity} of {user}");
}

/// Waits until a gateway lets the user in, or does not.
#[track_caller]
fn until_user(one: &Administered, user: &str, is_there: bool) {
    until(&format!("{user}: {is_there}"), LIMIT, || {
        let users = one.socket.get("/api/v1/users").ok();
        let has = users["users"].as_array().unwrap().iter().any(|found| found["name"] == user);
        (has == is_there).then_some(())
    });
}

#[test]
fn a_change_reaches_all_gateways_and_one_trail_is_told() {
    let (redis, desk) = (Redis::start(), Desk::new());
    desk.put("ann");
    let [one, other] = desk.two(&redis.url());
    let both = [&one, &other];
    once(&both, "USER_ADDED", "ann");
    both.into_iter().for_each(|gateway| until_user(gateway, "ann", true));
    desk.put("ann");
    once(&both, "USER_CHANGED", "ann");
    desk.remove("ann");
    once(&both, "USER_REMOVED", "ann");
    both.into_iter().for_each(|gateway| until_user(gateway, "ann", false));
    // The same again is another change.
    desk.put("ann");
    until("the second time", LIMIT, || (told(&both, "USER_ADDED", "ann") == 2).then_some(()));
    std::thread::sleep(ROUNDS);
    assert_eq!(told(&both, "USER_ADDED", "ann"), 2);
    let says = "another gateway of the fleet has it in its trail";
    assert_eq!(both.iter().filter(|one| one.door.gateway.log().contains(says)).count(), 1, "always the same one tells");
    // A gateway that comes later has nothing new to tell.
    let third = desk.member("edge-3", &redis.url());
    until_user(&third, "ann", true);
    std::thread::sleep(ROUNDS);
    assert_eq!(told_by(&third, "USER_ADDED", "ann"), 0);
}

#[test]
fn many_users_are_told_once_and_so_is_what_a_killed_gateway_left() {
    const MANY: usize = 150;
    let (redis, desk) = (Redis::start(), Desk::new());
    let key = Key::make(desk.0.path(), "many", "ed25519").public;
    for number in 0..MANY {
        fs::write(desk.keys().join(format!("user-{number}.pub")), &key).unwrap();
    }
    let [one, other] = desk.two(&redis.url());
    let all = |gateways: &[&Administered]| -> usize {
        gateways.iter().map(|one| one.door.gateway.events.of_type("USER_ADDED").len()).sum()
    };
    until("all of them", LIMIT, || (all(&[&one, &other]) >= MANY).then_some(()));
    std::thread::sleep(ROUNDS);
    assert_eq!(all(&[&one, &other]), MANY);
    // The one that tells is killed, and another one tells of what changes then.
    let (teller, left) = if all(&[&one]) > all(&[&other]) { (one, other) } else { (other, one) };
    let before = all(&[&left]);
    gateway(teller).kill();
    desk.put("ann");
    until("the change, from the other one", LIMIT, || (told_by(&left, "USER_ADDED", "ann") == 1).then_some(()));
    std::thread::sleep(ROUNDS);
    assert_eq!(all(&[&left]), before + 1);
}

#[test]
fn a_change_during_a_short_outage_is_told_once_and_during_a_long_one_by_each() {
    let (redis, desk) = (Redis::start(), Desk::new());
    let [one, other] = desk.two(&redis.url());
    let both = [&one, &other];
    desk.put("ann");
    once(&both, "USER_ADDED", "ann");
    redis.kill();
    both.into_iter().for_each(|gateway| drop(until_alone(gateway)));
    desk.put("ben");
    both.into_iter().for_each(|gateway| until_user(gateway, "ben", true));
    assert_eq!(told(&both, "USER_ADDED", "ben"), 0, "it waits for a while, and the user does not");
    redis.start_again();
    once(&both, "USER_ADDED", "ben");
    redis.kill();
    desk.put("carl");
    until("both trails", LIMIT, || both.iter().all(|one| told_by(one, "USER_ADDED", "carl") == 1).then_some(()));
    redis.start_again();
    both.into_iter().for_each(until_together);
    std::thread::sleep(ROUNDS);
    assert_eq!(told(&both, "USER_ADDED", "carl"), 2);
    desk.remove("carl");
    once(&both, "USER_REMOVED", "carl");
}

#[test]
fn an_emptied_redis_makes_nobody_tell_again() {
    let (redis, desk) = (Redis::start(), Desk::new());
    let [one, other] = desk.two(&redis.url());
    let both = [&one, &other];
    desk.put("ann");
    until("the first", LIMIT, || (told(&both, "USER_ADDED", "ann") == 1).then_some(()));
    // Just after the one has told of it, perhaps before the other has seen it.
    redis.call(&["FLUSHALL"]);
    once(&both, "USER_ADDED", "ann");
    std::thread::sleep(ROUNDS);
    redis.call(&["FLUSHALL"]);
    desk.put("ann");
    once(&both, "USER_CHANGED", "ann");
    assert_eq!(told(&both, "USER_ADDED", "ann"), 1);
}

#[test]
fn a_slow_redis_makes_nobody_tell_twice() {
    let (redis, desk) = (Redis::start(), Desk::new());
    let line = Link::to(redis.port, Duration::from_millis(100), 100_000_000);
    let [one, other] = desk.two(&url_of(line.port));
    for user in ["ann", "ben", "carl"] {
        desk.put(user);
    }
    for user in ["ann", "ben", "carl"] {
        once(&[&one, &other], "USER_ADDED", user);
    }
}

#[test]
fn lies_in_redis_keep_no_change_from_the_trails() {
    let (redis, desk) = (Redis::start(), Desk::new());
    let [one, other] = desk.two(&redis.url());
    let both = [&one, &other];
    desk.put("ann");
    once(&both, "USER_ADDED", "ann");
    // Somebody says that all of it was told, and that somebody else tells.
    let seal = "0".repeat(64);
    for user in ["ann", "ben"] {
        redis.call(&["HSET", TOLD, user, &format!("- {seal}")]);
    }
    redis.call(&["HSET", TOLD, "carl", &"x".repeat(1 << 20)]);
    redis.call(&["SET", TELLER, "somebody-else"]);
    desk.remove("ann");
    desk.put("carl");
    once(&both, "USER_REMOVED", "ann");
    once(&both, "USER_ADDED", "carl");
    assert!(both.iter().any(|one| metric(one, "lockgate_fleet_tampered").is_some_and(|times| times > 0.0)));
    // With a lease that looks right, it takes a while, and then each tells.
    redis.call(&["SET", TELLER, "somebody-else", "PX", "60000"]);
    desk.put("ben");
    until("the change all the same", LIMIT, || (told(&both, "USER_ADDED", "ben") > 0).then_some(()));
    // Keys of another kind.
    for key in [TOLD, TELLER] {
        redis.call(&["DEL", key]);
        redis.call(&["RPUSH", key, "nonsense"]);
    }
    desk.put("dora");
    once(&both, "USER_ADDED", "dora");
}
