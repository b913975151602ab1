//! Many who mean well: behind one address, or with a broken script.

use std::sync::Arc;
use std::time::Duration;

use russh::keys::{Algorithm, PrivateKey};
use tokio::task::JoinSet;

use super::stranger::{Visitor, connect};
use super::{PASSWORD, siege};
use crate::support::campaign::short_or_long;

/// A key that is nobody's.
fn wrong_key() -> Arc<PrivateKey> {
    let mut random = russh::keys::key::safe_rng();
    Arc::new(PrivateKey::random(&mut random, Algorithm::Ed25519).unwrap())
}

/// A script that offers a wrong key every ten seconds, an hour's worth of it in a much shorter time.
#[test]
fn a_partner_with_a_broken_script_is_not_banned() {
    let siege = siege(|_| {});
    let partner = siege.visitor([127, 70, 0, 1]);
    let broken = Visitor { key: wrong_key(), ..partner.clone() };
    let tries = short_or_long(60, 360);
    siege.runtime.block_on(async {
        for n in 0..tries {
            let mut open = broken.open().await.unwrap_or_else(|why| panic!("connection {n}: {why}"));
            assert_eq!(open.key("alice", broken.key.clone()).await, Ok(false));
            open.leave().await;
            // Twenty in a second are allowed.
            tokio::time::sleep(Duration::from_millis(60)).await;
        }
        partner.log_in("alice").await.expect("it is not banned");
    });
    siege.gateway.stop();
}

/// Many users behind one address, of whom some hold connections without a word and one does not know the password.
#[test]
fn who_shares_an_address_gets_in() {
    let siege = siege(|_| {});
    let colleague = siege.visitor([127, 71, 0, 1]);
    let logins = short_or_long(30, 300);
    siege.runtime.block_on(async {
        let mut silent = Vec::new();
        for _ in 0..5 {
            silent.push(connect(colleague.from, colleague.port).await.unwrap());
        }
        for n in 0..2 {
            let mut open = colleague.open().await.unwrap();
            for guess in 0..4 {
                assert_eq!(open.password("bob", &format!("{n}-{guess}")).await, Ok(false));
            }
            assert_eq!(open.password("bob", PASSWORD).await, Ok(true));
            open.leave().await;
        }
        // Three at once, each of whom comes again as soon as it has left: fewer than twenty in a second.
        let mut all = JoinSet::new();
        for _ in 0..3 {
            let colleague = colleague.clone();
            all.spawn(async move {
                for n in 0..logins / 3 {
                    colleague.log_in("alice").await.unwrap_or_else(|why| panic!("login {n}: {why}"));
                    tokio::time::sleep(Duration::from_millis(150)).await;
                }
            });
        }
        all.join_all().await;
        drop(silent);
    });
    siege.gateway.stop();
}
