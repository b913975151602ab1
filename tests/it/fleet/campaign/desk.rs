//! Somebody who changes the users of a folder of keys, and knows what is in it.

use std::collections::BTreeMap;
use std::thread;
use std::time::Duration;

use crate::fleet::load::Round;
use crate::fleet::service::KEYS;
use crate::support::campaign::Dice;
use crate::support::keys::Key;
use crate::support::s3::S3Store;

/// What a user of the folder is in the end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Last {
    /// There, with the key of this fingerprint.
    Has(String),
    Removed,
    /// The last change was not acknowledged.
    Unknown,
}

/// The users of the folder, by their names. A name that is removed never comes back, so no user is the same twice.
pub type Users = BTreeMap<String, Last>;

/// Adds, changes and removes users, past the gateways, until the round is over.
pub fn changes(store: &S3Store, keys: &[Key; 2], seed: u64, round: &Round) -> Users {
    let (mut users, mut dice, mut next) = (Users::new(), Dice::new(seed ^ 0xde5c), 0);
    let [first, second] = keys.each_ref().map(|key| Last::Has(key.fingerprint().0));
    while !round.is_over() {
        pause(&mut dice, round);
        let kind = dice.below(5);
        let has_first = users.iter().filter(|(_, last)| **last == first).map(|(user, _)| user);
        // The oldest ones: most gateways have seen those.
        let old = has_first.min_by_key(|user| user[2..].parse::<u64>().expect("a number")).cloned();
        let (user, last) = match (kind, old) {
            (0, Some(old)) => (old, Last::Removed),
            (1, Some(old)) => (old, second.clone()),
            _ => {
                next += 1;
                (format!("u-{next}"), first.clone())
            }
        };
        let object = format!("{KEYS}/{user}.pub");
        let is_done = persist(round, || match &last {
            Last::Has(_) => {
                let key = &keys[usize::from(last == second)];
                store.put(&object, &[], key.public.as_bytes())
            }
            _ => store.try_remove(&object),
        });
        users.insert(user, if is_done { last } else { Last::Unknown });
    }
    users
}

/// Tries again while there is no server; whether it was acknowledged before the round was over. Twice is as good as once.
fn persist(round: &Round, mut change: impl FnMut() -> bool) -> bool {
    loop {
        if change() {
            return true;
        }
        if round.is_over() {
            return false;
        }
        thread::sleep(Duration::from_millis(100));
    }
}

fn pause(dice: &mut Dice, round: &Round) {
    for _ in 0..dice.below(18) {
        if !round.is_over() {
            thread::sleep(Duration::from_millis(50));
        }
    }
}
