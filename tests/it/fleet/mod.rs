//! Gateways that share through Redis: together, and with a Redis that is gone, back, emptied, slow, stuck or lying.

mod bans;
mod campaign;
mod events;
mod lies;
mod limits;
mod load;
mod rolling;
mod servers;
mod service;
mod sessions;
mod standing;
mod users;

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::admin::{Administered, administered_with};
use crate::support::gateway::Gateway;
use crate::support::process::{LIMIT, until};
use crate::support::redis::Redis;
use crate::support::setup::Setup;

/// The lease of all gateways here: short, and still long for a machine that has other things to do.
const LEASE: Duration = Duration::from_secs(6);

/// A gateway of the fleet `prod` whose shared state is there, after further changes to its configuration.
#[track_caller]
fn member(name: &str, url: &str, change: impl FnOnce(&mut Setup)) -> Administered {
    administered_with(|setup| {
        setup.config["server"]["name"] = name.into();
        setup.config["fleet"] = json!({ "url": url, "name": "prod", "lease": "6s" });
        change(setup);
    })
}

/// Two gateways that are together.
#[track_caller]
fn two(redis: &Redis) -> [Administered; 2] {
    two_with(&redis.url(), |_| ())
}

/// The same, after changes to the configuration of both.
#[track_caller]
fn two_with(url: &str, change: impl Fn(&mut Setup)) -> [Administered; 2] {
    let both = ["edge-1", "edge-2"].map(|name| member(name, url, &change));
    both.iter().for_each(until_together);
    both
}

/// How it stands.
#[track_caller]
fn standing(one: &Administered) -> Value {
    one.socket.get("/api/v1/status").ok()["fleet"].clone()
}

#[track_caller]
fn until_together(one: &Administered) {
    until("a gateway that is together with its fleet", LIMIT, || standing(one).get("alone").is_none().then_some(()));
}

#[track_caller]
fn until_alone(one: &Administered) -> String {
    until("a gateway that is alone", LIMIT, || Some(standing(one).get("alone")?.as_str()?.to_owned()))
}

/// The names of the gateways that it sees, in their order.
#[track_caller]
fn gateways(one: &Administered) -> Vec<String> {
    let shown = one.socket.get("/api/v1/fleet").ok();
    shown["gateways"].as_array().unwrap().iter().map(|one| one["name"].as_str().unwrap().to_owned()).collect()
}

/// The sessions that it lists: the gateway and the user of each.
#[track_caller]
fn sessions(one: &Administered) -> Vec<(String, String)> {
    let shown = one.socket.get("/api/v1/sessions").ok();
    let text = |session: &Value, name: &str| session[name].as_str().unwrap_or_default().to_owned();
    let all = shown["sessions"].as_array().unwrap().iter();
    let mut all: Vec<_> = all.map(|session| (text(session, "gateway"), text(session, "user"))).collect();
    all.sort();
    all
}

/// Waits until it lists these sessions; how long that took.
#[track_caller]
fn until_sessions(one: &Administered, expected: &[(&str, &str)]) -> Duration {
    let began = Instant::now();
    until(&format!("the sessions {expected:?}"), LIMIT, || {
        let all = sessions(one);
        (all.len() == expected.len() && all.iter().zip(expected).all(|(a, b)| (&*a.0, &*a.1) == *b)).then_some(())
    });
    began.elapsed()
}

/// A number of its metrics.
#[track_caller]
fn metric(one: &Administered, name: &str) -> Option<f64> {
    let text = one.socket.get("/metrics").body;
    text.lines().find_map(|line| line.strip_prefix(name)?.trim().parse().ok())
}

/// The process of a gateway, without the rest.
fn gateway(one: Administered) -> Gateway {
    one.door.gateway
}
