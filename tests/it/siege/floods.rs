//! One address that connects as fast as it can.

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use serde_json::json;

use super::stranger::{connect, drain};
use super::{Siege, siege};
use crate::support::campaign::{alone, report, short_or_long};
use crate::support::data::MIB;
use crate::support::events::field;

impl Siege {
    /// So many connections of one address, eight at a time, each until it is ended or the greeting has come.
    fn storm(&self, from: [u8; 4], connections: usize) {
        let left = Arc::new(AtomicUsize::new(connections));
        let (from, port) = (Ipv4Addr::from(from), self.gateway.port);
        self.runtime.block_on(async {
            let mut all = tokio::task::JoinSet::new();
            for _ in 0..8 {
                let left = left.clone();
                all.spawn(async move {
                    while left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |n| n.checked_sub(1)).is_ok() {
                        if let Ok(mut socket) = connect(from, port).await {
                            let _ = tokio::time::timeout(Duration::from_millis(50), drain(&mut socket)).await;
                        }
                    }
                });
            }
            all.join_all().await;
        });
    }

    pub(super) fn resident(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.gateway.pid())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        line.trim().trim_end_matches("kB").trim().parse::<u64>().unwrap() * 1024
    }
}

/// A storm is told when it begins, banned, and then summed up; its memory does not grow.
#[test]
fn a_storm_of_one_address_is_a_few_lines_and_a_ban() {
    let _turn = alone();
    let siege = siege(|_| {});
    let started = Instant::now();
    siege.storm([127, 50, 0, 1], 3000);
    let before = siege.resident();
    let many = short_or_long(5000, 100_000);
    siege.storm([127, 50, 0, 1], many);
    let grown = siege.resident().saturating_sub(before);
    let seconds = started.elapsed().as_secs();
    siege.runtime.block_on(siege.visitor([127, 50, 0, 2]).log_in("alice")).expect("others are not touched");
    let events = siege.gateway.events.clone();
    // What is left to sum up comes at the end.
    siege.gateway.stop();
    let told = events.of_type("CONNECTION_REJECTED");
    report(&format!("{} lines for {} connections in {seconds} s, {grown} bytes more", told.len(), 3000 + many));
    assert!(told.len() as u64 <= 6 + seconds / 5, "{told:#?}");
    let alone = |reason: &str| {
        let fits = |event: &&serde_json::Value| field(event, "reason") == reason && event.get("session-id").is_some();
        told.iter().filter(fits).count()
    };
    for reason in ["too-many-connections-from-address", "too-many-unauthenticated-from-address"] {
        assert!(alone(reason) <= 1, "{told:#?}");
    }
    assert_eq!(alone("banned"), 1, "{told:#?}");
    let counted: u64 = told.iter().map(|event| event["connections"].as_u64().unwrap_or(1)).sum();
    assert!(counted as usize > 2500 + many, "{counted} were refused");
    for sum in told.iter().filter(|event| event.get("connections").is_some()) {
        assert_eq!(field(sum, "source-ips"), format!("127.50.0.1={}", sum["connections"]), "{sum}");
        assert!(field(sum, "first-timestamp") <= field(sum, "last-timestamp"), "{sum}");
    }
    assert!(grown < 8 * MIB, "{grown} bytes more after {many} refused connections");
}

/// Also without bans the limits of an address hold, and cost few lines.
#[test]
fn limits_of_an_address_hold_without_bans() {
    let _turn = alone();
    let siege = siege(|config| config["defender"] = json!("off"));
    siege.storm([127, 51, 0, 1], 2000);
    siege.runtime.block_on(siege.visitor([127, 51, 0, 2]).log_in("alice")).expect("others are not touched");
    let events = siege.gateway.events.clone();
    siege.gateway.stop();
    let told = events.of_type("CONNECTION_REJECTED");
    assert!(told.len() < 20, "{told:#?}");
    assert!(told.iter().all(|event| field(event, "reason") != "banned"));
}

#[test]
fn a_client_that_the_server_ends_is_told_as_such_and_questions_are_one_record() {
    let siege = siege(|_| {});
    let answers = siege.runtime.block_on(async {
        let mut open = siege.visitor([127, 52, 0, 1]).open().await.expect("a connection");
        let mut answers = 0;
        while open.ask_for_methods("alice").await == Ok(false) {
            answers += 1;
        }
        answers
    });
    assert!((6..=8).contains(&answers), "{answers} answers");
    let events = siege.gateway.events.await_disconnected(1);
    let of = |activity: &str| events.iter().filter(|e| field(e, "activity-type") == activity).collect::<Vec<_>>();
    assert_eq!(of("AUTH_FAILURE").len(), 1, "{events:#?}");
    assert_eq!(field(of("AUTH_FAILURE")[0], "reason"), "no-credentials-offered");
    let end = of("DISCONNECTED")[0];
    assert_eq!((field(end, "reason"), field(end, "message")), ("server", "too many authentication attempts"));
    siege.gateway.stop();
}
