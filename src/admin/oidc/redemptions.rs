//! How many codes the gateway redeems for whom. Anybody can begin a login and bring a code of his own making, and each one is a request to
//! the provider's token endpoint: strangers must not make the gateway ask without end, nor keep those out who have a real one.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use aws_lc_rs::digest;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::Refusal;
use super::flow::ATTEMPT_FOR;
use crate::secret::Secret;
use crate::session::gate::Source;

/// Codes that are redeemed at once.
const AT_ONCE: usize = 8;

/// Codes of all that are not redeemed: so many at once after a silence, and then one in each such time.
const OF_ALL: Pace = Pace { burst: 60, every: Duration::from_secs(1) };

/// The same of one source.
const OF_ONE: Pace = Pace { burst: 10, every: Duration::from_secs(6) };

/// The most attempts that are remembered as used. Beyond it the oldest may come again, at its price.
const MOST_USED: usize = 4096;

/// How often something may be.
#[derive(Debug, Clone, Copy)]
struct Pace {
    burst: u32,
    every: Duration,
}

impl Pace {
    /// When all that was taken is paid for, after one more (GCRA); `None` when that is too late.
    fn after_one_more(self, paid_at: Option<Instant>, now: Instant) -> Option<Instant> {
        let next = paid_at.unwrap_or(now).max(now) + self.every;
        (next.saturating_duration_since(now) <= self.every * self.burst).then_some(next)
    }
}

/// Keeps count.
#[derive(Debug)]
pub(super) struct Redemptions {
    places: Arc<Semaphore>,
    seen: Mutex<Seen>,
}

#[derive(Debug, Default)]
struct Seen {
    all_paid_at: Option<Instant>,
    /// No more sources than [`OF_ALL`] lets in within the time that one of them pays for.
    paid_at: HashMap<Source, Instant>,
    /// Attempts whose code is being redeemed or was, by their hash.
    used: HashMap<[u8; 32], Instant>,
}

/// A code that is being redeemed.
#[derive(Debug)]
pub(super) struct Turn<'a> {
    all: &'a Redemptions,
    attempt: [u8; 32],
    from: Option<Source>,
    _place: OwnedSemaphorePermit,
}

impl Default for Redemptions {
    fn default() -> Redemptions {
        Redemptions { places: Arc::new(Semaphore::new(AT_ONCE)), seen: Mutex::default() }
    }
}

impl Redemptions {
    /// A turn for the code of an attempt, which cannot have another one. Whoever drops it has used it up.
    ///
    /// # Errors
    /// [`Refusal::Caller`] for an attempt that had its turn, [`Refusal::Busy`] while there is none.
    pub(super) fn begin(&self, attempt: &str, from: Option<IpAddr>, now: Instant) -> Result<Turn<'_>, Refusal> {
        let attempt = hash_of(attempt);
        let from = from.map(Source::of);
        let mut seen = self.seen();
        seen.forget_old(now);
        if seen.used.contains_key(&attempt) {
            return Err(Refusal::Caller("this login was used already; log in again".into()));
        }
        let place = self.places.clone().try_acquire_owned();
        let place = place.map_err(|_| busy("many logins are under way"))?;
        let paid_at = OF_ALL.after_one_more(seen.all_paid_at, now);
        let all_paid_at = paid_at.ok_or_else(|| busy("many logins have failed"))?;
        if let Some(source) = from {
            let paid_at = OF_ONE.after_one_more(seen.paid_at.get(&source).copied(), now);
            let paid_at = paid_at.ok_or_else(|| busy("many logins from this address have failed"))?;
            seen.paid_at.insert(source, paid_at);
        }
        seen.all_paid_at = Some(all_paid_at);
        seen.used.insert(attempt, now);
        Ok(Turn { all: self, attempt, from, _place: place })
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Turn<'_> {
    /// The end: who had a real code has paid nothing, and whose code did not reach the provider may bring it again.
    pub(super) fn ended(self, outcome: &Result<Secret, Refusal>) {
        let mut seen = self.all.seen();
        match outcome {
            Ok(_) => seen.give_back(self.from),
            Err(Refusal::Provider(_)) => _ = seen.used.remove(&self.attempt),
            Err(_) => {}
        }
    }
}

impl Seen {
    fn forget_old(&mut self, now: Instant) {
        self.paid_at.retain(|_, paid_at| *paid_at > now);
        // Whoever brings an older one is told that it took too long.
        self.used.retain(|_, since| now.saturating_duration_since(*since) <= ATTEMPT_FOR);
        if self.used.len() >= MOST_USED
            && let Some(oldest) = self.used.iter().min_by_key(|(_, since)| **since).map(|(attempt, _)| *attempt)
        {
            self.used.remove(&oldest);
        }
    }

    fn give_back(&mut self, from: Option<Source>) {
        self.all_paid_at = self.all_paid_at.and_then(|paid_at| paid_at.checked_sub(OF_ALL.every));
        if let Some(paid_at) = from.and_then(|from| self.paid_at.get_mut(&from)) {
            *paid_at = paid_at.checked_sub(OF_ONE.every).unwrap_or(*paid_at);
        }
    }
}

fn busy(why: &str) -> Refusal {
    Refusal::Busy(format!("{why}; try again in a few seconds"))
}

fn hash_of(attempt: &str) -> [u8; 32] {
    let mut hash = [0; 32];
    hash.copy_from_slice(digest::digest(&digest::SHA256, attempt.as_bytes()).as_ref());
    hash
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn address(n: u32) -> Option<IpAddr> {
        Some((0xc000_0000 + n).to_be_bytes().into())
    }

    fn refused() -> Result<Secret, Refusal> {
        Err(Refusal::Caller("this code was used already".into()))
    }

    fn redeemed() -> Result<Secret, Refusal> {
        Ok(Secret::new("a.b.c".into()))
    }

    #[test]
    fn strangers_have_so_many_tries_and_then_few_and_others_have_theirs() {
        let (all, start) = (Redemptions::default(), Instant::now());
        let mut number = 0;
        let mut tries = |from: u32, at: Instant, many: usize| {
            let one = |_| {
                number += 1;
                let turn = all.begin(&format!("attempt {number}"), address(from), at);
                turn.map(|turn| turn.ended(&refused())).is_ok()
            };
            (0..many).map(one).filter(|is_let_in| *is_let_in).count()
        };
        assert_eq!(tries(1, start, 1000), 10);
        assert_eq!(tries(2, start, 5), 5, "others are not touched");
        assert_eq!(tries(1, start + Duration::from_secs(12), 1000), 2);
        let later = start + Duration::from_secs(1000);
        let of_many: usize = (10..1000).map(|from| tries(from, later, 3)).sum();
        assert_eq!(of_many, 60, "together they have so many");
        let seen = all.seen();
        assert!(seen.paid_at.len() <= 60 && seen.used.len() < 1000, "{seen:?}");
    }

    #[test]
    fn who_has_a_real_code_pays_nothing() {
        let (all, now) = (Redemptions::default(), Instant::now());
        for number in 0..MOST_USED + 50 {
            all.begin(&number.to_string(), address(1), now).unwrap().ended(&redeemed());
        }
        assert!(all.seen().used.len() <= MOST_USED);
    }

    #[test]
    fn an_attempt_has_one_turn_unless_the_provider_was_not_reached() {
        let (all, now) = (Redemptions::default(), Instant::now());
        let used = |attempt: &str, at: Instant| matches!(all.begin(attempt, address(1), at), Err(Refusal::Caller(what)) if what.contains("used already"));
        let turn = all.begin("a", address(1), now).unwrap();
        assert!(used("a", now), "while it is under way");
        turn.ended(&refused());
        assert!(used("a", now) && used("a", now + ATTEMPT_FOR));
        all.begin("b", address(1), now).unwrap().ended(&redeemed());
        assert!(used("b", now));
        drop(all.begin("c", address(1), now).unwrap());
        assert!(used("c", now), "whoever waited has gone away");
        all.begin("d", address(1), now).unwrap().ended(&Err(Refusal::Provider("it does not answer".into())));
        assert!(all.begin("d", address(1), now).is_ok());
    }

    #[test]
    fn few_are_under_way_at_once() {
        let (all, now) = (Redemptions::default(), Instant::now());
        let from = |n: usize| address(u32::try_from(n).unwrap());
        let mut turns: Vec<_> = (0..AT_ONCE).map(|n| all.begin(&n.to_string(), from(n), now).unwrap()).collect();
        assert!(matches!(all.begin("x", from(99), now), Err(Refusal::Busy(_))));
        turns.pop();
        assert!(all.begin("x", from(99), now).is_ok(), "what was refused for want of a place is not used");
    }
}
