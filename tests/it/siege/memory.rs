//! What connections took is given back when they have gone.

use rustix::process::{Resource, getrlimit};
use tokio::task::JoinSet;

use super::siege;
use crate::support::campaign::{alone, report, short_or_long};
use crate::support::data::MIB;
use crate::support::process::{LIMIT, until};

/// Memory that connections took is given back to the system when they are gone.
#[test]
fn memory_of_connections_is_given_back() {
    let _turn = alone();
    let siege = siege(|config| config["limits"]["unauthenticated"] = 400.into());
    // No more than the gateway plans for connections with the descriptors of this machine.
    let limit = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    let fitting = u16::try_from(limit / 8 * 3).unwrap_or(u16::MAX);
    let count: u16 = short_or_long(600, 10_000).min(fitting);
    let hold = |from: u16, to: u16| {
        let (low, high) = (from..to, 80);
        siege.runtime.block_on(async {
            let (mut all, mut open) = (JoinSet::new(), Vec::new());
            for n in low {
                let [a, b] = n.to_be_bytes();
                let visitor = siege.visitor([127, high + a, b, 1]);
                all.spawn(async move {
                    let mut open = visitor.open().await?;
                    let key = visitor.key.clone();
                    if open.key("alice", key).await? { Ok(open) } else { Err("refused".to_owned()) }
                });
                if all.len() >= 8 {
                    open.extend(all.join_next().await.map(|ended| ended.unwrap().expect("a login")));
                }
            }
            open.extend(all.join_all().await.into_iter().map(|opened| opened.expect("a login")));
            open
        })
    };
    // What the first ones leave is what the process needs.
    let warm = hold(0, 50);
    siege.runtime.block_on(async {
        for open in warm {
            open.leave().await
        }
    });
    siege.gateway.events.await_disconnected(50);
    let before = siege.resident();
    let open = hold(50, 50 + count);
    let most = siege.resident();
    siege.runtime.block_on(async {
        for open in open {
            open.leave().await
        }
    });
    siege.gateway.events.await_disconnected(usize::from(count) + 50);
    let bound = before + (most - before) / 2 + 8 * MIB;
    let mut after = siege.resident();
    until("the memory", LIMIT, || {
        after = siege.resident();
        (after <= bound).then_some(())
    });
    let shown = [before, most, after].map(|bytes| bytes >> 10);
    report(&format!("{count} connections: {} KiB before, {} with them, {} after", shown[0], shown[1], shown[2]));
    siege.gateway.stop();
}
