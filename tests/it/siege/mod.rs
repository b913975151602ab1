//! Strangers at the door, from many addresses of this machine: they keep nobody out, are banned when they guess, and leave few lines
//! and no memory behind. `tests/run long siege` has the full numbers.

mod crowds;
mod descriptors;
mod floods;
mod guesses;
mod health;
mod memory;
mod outages;
mod places;
mod stranger;

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::runtime::Runtime;

use crate::support::campaign::report;
use crate::support::events::field;
use crate::support::gateway::Gateway;
use crate::support::keys::Key;
use crate::support::setup::{Setup, User};
use stranger::Visitor;

/// What alice's and bob's password is.
const PASSWORD: &str = "staple";

/// A gateway with the limits that it has by default, for which this machine's own addresses are as any others.
struct Siege {
    gateway: Gateway,
    key: Key,
    runtime: Runtime,
}

fn siege(change: impl FnOnce(&mut Value)) -> Siege {
    let mut setup = Setup::new();
    setup.memory_store("main");
    let key = setup.key("alice");
    for name in ["alice", "bob"] {
        let user = User::new(name).home("/", "main:/").key(&key).password(PASSWORD);
        setup.user(user.set("auth", "public_key_or_password"));
    }
    let limits = setup.config["limits"].as_object_mut().expect("a mapping");
    for name in ["unauthenticated_per_address", "connections_per_second"] {
        limits.remove(name);
    }
    setup.config["defender"] = json!({ "allow": [] });
    change(&mut setup.config);
    let gateway = setup.start();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    Siege { gateway, key, runtime }
}

impl Siege {
    /// Somebody who has alice's key, at an address.
    fn visitor(&self, from: [u8; 4]) -> Visitor {
        let key = russh::keys::load_secret_key(&self.key.private, None).expect("a key");
        Visitor { from: Ipv4Addr::from(from), port: self.gateway.port, key: Arc::new(key) }
    }

    /// The lines that are about connections before a login, by type and reason.
    fn lines_before_login(&self) -> Vec<(String, String)> {
        let all = self.gateway.events.all();
        let about = all.iter().filter(|event| event.get("user").is_none());
        about.map(|event| (field(event, "activity-type").to_owned(), field(event, "reason").to_owned())).collect()
    }

    /// Logins until the time is over, each from the address that `from` gives for its number.
    fn logins(&self, within: Duration, from: impl Fn(u16) -> [u8; 4]) -> Logins {
        let mut logins = Logins::default();
        let deadline = Instant::now() + within;
        // Of its own: that of the siege has no time.
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        for n in 0u16.. {
            if Instant::now() >= deadline && n >= 20 {
                break;
            }
            let visitor = self.visitor(from(n));
            let started = Instant::now();
            match runtime.block_on(visitor.log_in("alice")) {
                Ok(()) => logins.took.push(started.elapsed()),
                Err(why) => logins.failed.push(why),
            }
        }
        logins
    }
}

/// Ever other addresses of `127.x.0.0/16`.
fn apart(x: u8) -> impl Fn(u16) -> [u8; 4] {
    move |n| {
        let [high, low] = n.to_be_bytes();
        [127, x, high, low.max(1)]
    }
}

/// How logins went.
#[derive(Debug, Default)]
struct Logins {
    took: Vec<Duration>,
    failed: Vec<String>,
}

impl Logins {
    fn quantile(&self, part: f64) -> Duration {
        let mut sorted = self.took.clone();
        sorted.sort_unstable();
        let last = sorted.len().saturating_sub(1);
        sorted.get((last as f64 * part).round() as usize).copied().unwrap_or_default()
    }

    fn report(&self, what: &str) {
        let all = self.took.len() + self.failed.len();
        let [half, most, last] = [0.5, 0.95, 1.0].map(|part| self.quantile(part).as_millis());
        report(&format!("{what}: {} of {all} logins, {half}/{most}/{last} ms (half, 95 %, slowest)", self.took.len()));
    }

    /// At least 99 of 100.
    #[track_caller]
    fn assert_almost_all(&self) {
        let all = self.took.len() + self.failed.len();
        assert!(self.failed.len() * 100 <= all, "{} of {all} logins failed: {:?}", self.failed.len(), self.failed);
    }
}
