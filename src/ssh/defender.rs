//! Addresses whose connections fail to log in again and again are banned for a growing time; and how many connections of one
//! address may be waiting to log in.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::users::Network;

/// The most addresses that are remembered; beyond it those that did nothing for the longest time are forgotten.
const MOST: usize = 65_536;

/// How failures lead to a ban.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DefenderSettings {
    /// So many failures lead to a ban: connections that end without a login, and each wrong password.
    pub failures: u32,
    /// They count when they are within this time.
    pub within: Duration,
    /// How long the first ban is; each further one is twice as long.
    pub ban: Duration,
    /// The longest ban. An address that keeps quiet for so long after its ban starts again from the first.
    pub longest_ban: Duration,
    /// Addresses that are never banned.
    pub allow: Vec<Network>,
}

impl Default for DefenderSettings {
    /// 20 failures within 10 minutes ban for a minute at first and for a day at most; the machine itself never.
    fn default() -> Self {
        DefenderSettings {
            failures: 20,
            within: Duration::from_secs(10 * 60),
            ban: Duration::from_secs(60),
            longest_ban: Duration::from_secs(24 * 60 * 60),
            allow: Network::loopback(),
        }
    }
}

/// Who is counted as one: an IPv4 address, or the 64 bits of an IPv6 address that a customer is given.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Source(IpAddr);

impl Source {
    pub(super) fn of(address: IpAddr) -> Source {
        Source(match address.to_canonical() {
            IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() & (u128::MAX << 64)).into(),
            address => address,
        })
    }
}

impl std::fmt::Display for Source {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let width = if self.0.is_ipv6() { "/64" } else { "" };
        write!(f, "{}{width}", self.0)
    }
}

/// Remembers failures and bans.
#[derive(Debug)]
pub(super) struct Defender {
    settings: DefenderSettings,
    records: Mutex<HashMap<Source, Record>>,
}

#[derive(Debug, Clone, Copy)]
struct Record {
    failures: u32,
    /// When the failures began that count together.
    since: Instant,
    /// The last failure or rejected connection.
    last: Instant,
    bans: u32,
    banned_until: Option<Instant>,
}

impl Defender {
    pub(super) fn new(settings: DefenderSettings) -> Self {
        Defender { settings, records: Mutex::default() }
    }

    /// How much longer the address is banned, if it is.
    pub(super) fn banned_for(&self, address: IpAddr, now: Instant) -> Option<Duration> {
        let mut records = self.lock();
        let record = records.get_mut(&Source::of(address))?;
        let left = record.banned_until?.saturating_duration_since(now);
        if left.is_zero() {
            return None;
        }
        record.last = now;
        Some(left)
    }

    /// Counts failures of a connection that ended; gives the time of the ban if they lead to one.
    pub(super) fn failed(&self, address: IpAddr, failures: u32, now: Instant) -> Option<Duration> {
        if failures == 0 || self.settings.allow.iter().any(|network| network.contains(address)) {
            return None;
        }
        let mut records = self.lock();
        let source = Source::of(address);
        if records.len() >= MOST && !records.contains_key(&source) {
            forget(&mut records, &self.settings, now);
        }
        let new = Record { failures: 0, since: now, last: now, bans: 0, banned_until: None };
        let record = records.entry(source).or_insert(new);
        record.take(failures, &self.settings, now)
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Source, Record>> {
        self.records.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Record {
    fn take(&mut self, failures: u32, settings: &DefenderSettings, now: Instant) -> Option<Duration> {
        if self.banned_until.is_some_and(|until| now.saturating_duration_since(until) > settings.longest_ban) {
            (self.bans, self.banned_until) = (0, None);
        }
        if now.saturating_duration_since(self.since) > settings.within {
            (self.failures, self.since) = (0, now);
        }
        self.last = now;
        if self.banned_until.is_some_and(|until| until > now) {
            return None;
        }
        self.failures = self.failures.saturating_add(failures);
        if self.failures < settings.failures {
            return None;
        }
        let time = settings.ban.saturating_mul(1 << self.bans.min(31)).min(settings.longest_ban);
        self.bans = self.bans.saturating_add(1);
        (self.failures, self.since) = (0, now);
        self.banned_until = now.checked_add(time);
        Some(time)
    }

    /// Whether nothing of it matters any more.
    fn is_over(&self, settings: &DefenderSettings, now: Instant) -> bool {
        let quiet = now.saturating_duration_since(self.last);
        match self.banned_until {
            Some(until) => now.saturating_duration_since(until) > settings.longest_ban,
            None => quiet > settings.within,
        }
    }
}

/// Makes room: first what is over, then the sixteenth that was quiet for the longest time.
fn forget(records: &mut HashMap<Source, Record>, settings: &DefenderSettings, now: Instant) {
    records.retain(|_, record| !record.is_over(settings, now));
    if records.len() < MOST {
        return;
    }
    let mut times: Vec<Instant> = records.values().map(|record| record.last).collect();
    let (_, limit, _) = times.select_nth_unstable(MOST / 16);
    let limit = *limit;
    records.retain(|_, record| record.last > limit);
}

/// Counts the connections of each address that have not logged in.
#[derive(Debug, Default)]
pub(super) struct Arrivals(Mutex<HashMap<Source, usize>>);

impl Arrivals {
    /// Counts one more until the token is dropped; `None` when the address has `limit` already.
    pub(super) fn enter(self: &Arc<Self>, address: IpAddr, limit: usize) -> Option<Arrival> {
        let source = Source::of(address);
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let count = counts.entry(source).or_default();
        if *count >= limit {
            return None;
        }
        *count += 1;
        Some(Arrival { arrivals: Arc::clone(self), source })
    }
}

/// A connection that has not logged in.
#[derive(Debug)]
pub(super) struct Arrival {
    arrivals: Arc<Arrivals>,
    source: Source,
}

impl Drop for Arrival {
    fn drop(&mut self) {
        let mut counts = self.arrivals.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = counts.get_mut(&self.source) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&self.source);
            }
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);

    fn defender(failures: u32) -> Defender {
        let allow = vec![Network::parse("10.0.0.0/8").unwrap()];
        let settings = DefenderSettings { failures, within: 10 * MINUTE, ban: MINUTE, longest_ban: 5 * MINUTE, allow };
        Defender::new(settings)
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn repeated_failures_ban_for_a_growing_time() {
        let defender = defender(3);
        let (bad, mut now) = (ip("192.0.2.1"), Instant::now());
        for expected in [1, 2, 4, 5, 5] {
            assert_eq!(defender.failed(bad, 1, now), None);
            assert_eq!(defender.failed(bad, 1, now), None);
            assert_eq!(defender.banned_for(bad, now), None);
            assert_eq!(defender.failed(bad, 1, now), Some(expected * MINUTE));
            assert_eq!(defender.banned_for(bad, now), Some(expected * MINUTE));
            // A connection that began before the ban makes it no longer, and does not count afterwards.
            assert_eq!(defender.failed(bad, 9, now), None);
            now += expected * MINUTE;
            assert_eq!(defender.banned_for(bad, now), None, "it is over");
        }
        assert_eq!(defender.banned_for(ip("192.0.2.2"), now), None, "others are not touched");
        now += 6 * MINUTE;
        assert_eq!(defender.failed(bad, 3, now), Some(MINUTE), "after long enough it starts again");
    }

    #[test]
    fn failures_count_within_their_time_only() {
        let defender = defender(3);
        let (address, start) = (ip("192.0.2.1"), Instant::now());
        assert_eq!(defender.failed(address, 2, start), None);
        assert_eq!(defender.failed(address, 2, start + 11 * MINUTE), None);
        assert_eq!(defender.failed(address, 0, start + 11 * MINUTE), None);
        assert_eq!(defender.failed(address, 1, start + 12 * MINUTE), Some(MINUTE));
    }

    #[test]
    fn allowed_addresses_are_never_banned_and_ipv6_counts_by_its_first_half() {
        let (defender, now) = (defender(2), Instant::now());
        assert_eq!(defender.failed(ip("10.9.9.9"), 100, now), None);
        assert_eq!(defender.failed(ip("::ffff:10.9.9.9"), 100, now), None);
        assert_eq!(defender.failed(ip("2001:db8::1"), 1, now), None);
        assert_eq!(defender.failed(ip("2001:db8::ffff:2"), 1, now), Some(MINUTE));
        assert!(defender.banned_for(ip("2001:db8::3"), now).is_some());
        assert!(defender.banned_for(ip("2001:db8:0:1::3"), now).is_none());
    }

    #[test]
    fn memory_is_bounded_and_bans_outlast_noise() {
        let (defender, start) = (defender(2), Instant::now());
        let address = |n: u32| IpAddr::from((0xc000_0000 + n).to_be_bytes());
        assert!(defender.failed(ip("203.0.113.1"), 2, start + MINUTE).is_some());
        for n in 0..3 * u32::try_from(MOST).unwrap() {
            // The time goes on slowly, so that none is over.
            defender.failed(address(n), 1, start + Duration::from_micros(n.into()));
            // A banned client that keeps knocking is not forgotten.
            if n % 1000 == 0 {
                assert!(defender.banned_for(ip("203.0.113.1"), start + Duration::from_micros(n.into())).is_some());
            }
        }
        assert!(defender.lock().len() <= MOST);
    }

    #[test]
    fn an_address_has_so_many_connections_that_wait() {
        let arrivals = Arc::new(Arrivals::default());
        let (here, there) = (ip("192.0.2.1"), ip("192.0.2.2"));
        let first = arrivals.enter(here, 2).unwrap();
        let _second = arrivals.enter(here, 2).unwrap();
        assert!(arrivals.enter(here, 2).is_none());
        let other = arrivals.enter(there, 2).unwrap();
        drop((first, other));
        assert!(arrivals.enter(here, 2).is_some());
        assert_eq!(arrivals.0.lock().unwrap().len(), 1, "nobody is remembered for nothing");
    }
}
