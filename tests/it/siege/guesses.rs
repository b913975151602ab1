//! Who guesses, and who does not.

use std::sync::Arc;

use serde_json::{Value, json};
use tokio::task::JoinSet;

use super::{PASSWORD, Siege, siege};
use crate::support::campaign::short_or_long;
use crate::support::events::field;
use crate::support::process::{LIMIT, until};

impl Siege {
    fn failures(&self, reason: &str) -> Vec<Value> {
        let failures = self.gateway.events.of_type("AUTH_FAILURE").into_iter();
        failures.filter(|event| field(event, "reason") == reason).collect()
    }

    /// Waits until a connection of the address is refused.
    fn await_ban_of(&self, address: &str) {
        until("the ban", LIMIT, || self.gateway.log().contains("banned").then_some(()));
        let from = address.parse::<std::net::Ipv4Addr>().unwrap().octets();
        self.runtime.block_on(self.visitor(from).open()).map(drop).expect_err("it is banned");
        self.gateway.events.await_event("CONNECTION_REJECTED", |event| {
            field(event, "source-ip") == address && field(event, "reason") == "banned"
        });
    }
}

/// Each guess counts when it is made, over all connections of an address, and none of them is answered after the ban.
#[test]
fn parallel_guesses_share_one_count() {
    let siege = siege(|config| config["defender"] = json!({ "allow": [], "weights": { "refused": 0 } }));
    let guesser = siege.visitor([127, 40, 0, 1]);
    let guesses = siege.runtime.block_on(async {
        let mut connections = JoinSet::new();
        for n in 0..50 {
            let guesser = guesser.clone();
            connections.spawn(async move {
                let Ok(mut open) = guesser.open().await else { return 0 };
                let mut refused = 0;
                while let Ok(false) = open.password("alice", &format!("{n}-{refused}")).await {
                    refused += 1;
                }
                refused
            });
        }
        connections.join_all().await.into_iter().sum::<usize>()
    });
    assert!(guesses > 0, "nobody was asked");
    siege.await_ban_of("127.40.0.1");
    assert_eq!(siege.failures("bad-password").len(), 20, "as many as ban");
    siege.runtime.block_on(siege.visitor([127, 40, 0, 2]).log_in("alice")).expect("others are not touched");
    siege.gateway.stop();
}

/// Somebody with a login guesses another user's password, and logs in each time.
#[test]
fn guesses_count_when_the_connection_logs_in_at_last() {
    let siege = siege(|_| {});
    let guesser = siege.visitor([127, 41, 0, 1]);
    let connections = siege.runtime.block_on(async {
        for n in 1.. {
            let Ok(mut open) = guesser.open().await else { return n };
            for guess in 0..4 {
                let _ = open.password("alice", &format!("{n}-{guess}")).await;
            }
            assert_eq!(open.password("bob", PASSWORD).await == Ok(true), n < 5, "connection {n}");
            open.leave().await;
        }
        0
    });
    assert_eq!(connections, 6, "the fourth guess of the fifth connection bans");
    siege.await_ban_of("127.41.0.1");
    until("as many failures as ban", LIMIT, || (siege.failures("bad-password").len() >= 20).then_some(()));
    assert_eq!(siege.failures("bad-password").len(), 20);
    siege.gateway.stop();
}

/// Nothing in the count of guesses tells whether the user exists.
#[test]
fn a_user_who_does_not_exist_counts_as_one_who_does() {
    let siege = siege(|_| {});
    for (name, from, reason) in [("alice", 1, "bad-password"), ("nobody", 2, "unknown-user")] {
        let visitor = siege.visitor([127, 42, 0, from]);
        let answers = siege.runtime.block_on(async {
            let mut answers = 0;
            while let Ok(mut open) = visitor.open().await {
                while let Ok(false) = open.password(name, "guess").await {
                    answers += 1;
                }
            }
            answers
        });
        // The answer to the twentieth may not arrive any more, and what was on its way is refused unexamined.
        assert!((19..=26).contains(&answers), "{name}: {answers} answers");
        until("as many failures as ban", LIMIT, || (siege.failures(reason).len() >= 20).then_some(()));
        assert_eq!(siege.failures(reason).len(), 20);
    }
    siege.gateway.stop();
}

/// Who knows a public key asks about it and never signs.
#[test]
fn questions_about_a_key_leave_few_lines() {
    let siege = siege(|_| {});
    let asking = siege.visitor([127, 43, 0, 1]);
    let connections = short_or_long(5, 50);
    let asked = siege.runtime.block_on(async {
        let mut asked = 0;
        for _ in 0..connections {
            let mut open = asking.open().await.expect("a connection");
            for _ in 0..100 {
                asked += 1;
                if !open.ask_about("alice", &asking.key).await {
                    break;
                }
            }
        }
        asked
    });
    assert!(asked > connections * 20, "{asked} questions");
    siege.gateway.events.await_disconnected(connections);
    let failures = siege.failures("offered-not-signed");
    assert_eq!(failures.len(), connections, "told once for each connection");
    let all = siege.gateway.events.all().len();
    assert!(all <= connections * 10, "{all} lines");
    siege.gateway.stop();
}

/// What the gateway refuses for reasons of its own is nobody's fault.
#[test]
fn a_full_gateway_bans_nobody() {
    let siege = siege(|config| {
        config["limits"]["sessions"] = json!(1);
        config["defender"] = json!({ "allow": [], "points": 2 });
    });
    let visitor = siege.visitor([127, 44, 0, 1]);
    let key = Arc::clone(&visitor.key);
    siege.runtime.block_on(async {
        let mut only = visitor.open().await.expect("a connection");
        assert_eq!(only.key("alice", key.clone()).await, Ok(true));
        for _ in 0..10 {
            let mut other = visitor.open().await.expect("it is not banned");
            assert_eq!(other.key("bob", key.clone()).await, Ok(false));
            other.leave().await;
        }
        only.leave().await;
    });
    siege.gateway.events.await_disconnected(11);
    assert_eq!(siege.gateway.events.of_type("AUTH_FAILURE").len(), 0, "the client did nothing wrong");
    let rejected = siege.gateway.events.of_type("CONNECTION_REJECTED");
    assert_eq!(rejected.iter().filter(|event| field(event, "reason") == "too-many-sessions").count(), 10);
    siege.runtime.block_on(visitor.log_in("bob")).expect("there is room again");
    siege.gateway.stop();
}
