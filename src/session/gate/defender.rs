//! Addresses that make noise before a login again and again are banned for a growing time.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::Source;
use crate::users::Network;

/// The most addresses that are remembered; beyond it those that did nothing for the longest time are forgotten.
const MOST: usize = 65_536;

/// What counts for a ban before a login.
///
/// There is no fault of its own for a user who does not exist: it would let an address find out by its ban who does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// A password was refused, whoever the user was. Each one counts.
    WrongPassword,
    /// A key was refused, or was offered and not signed with. Counts once for a connection: clients offer all their keys.
    WrongKey,
    /// The client left without an attempt, or has no algorithm in common with the gateway.
    NoAttempt,
    /// A connection held a place and said nothing of use, until it left or others needed the place.
    HeldPlace,
    /// The time to log in was over.
    GraceExceeded,
    /// The client broke the protocol.
    ProtocolError,
    /// The connection was refused, because the address has too many or comes too often.
    Refused,
}

/// How many points each fault makes; 0 for none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Weights {
    /// Of [`Fault::WrongPassword`].
    pub wrong_password: u32,
    /// Of [`Fault::WrongKey`].
    pub wrong_key: u32,
    /// Of [`Fault::NoAttempt`].
    pub no_attempt: u32,
    /// Of [`Fault::HeldPlace`].
    pub held_place: u32,
    /// Of [`Fault::GraceExceeded`].
    pub grace_exceeded: u32,
    /// Of [`Fault::ProtocolError`].
    pub protocol_error: u32,
    /// Of [`Fault::Refused`].
    pub refused: u32,
}

impl Default for Weights {
    /// With 1,000 points in 10 minutes: 20 wrong passwords, 50 broken protocols, 100 places held for nothing; but a script that
    /// offers a wrong key or leaves once a second may go on.
    fn default() -> Self {
        Weights {
            wrong_password: 50,
            wrong_key: 1,
            no_attempt: 1,
            held_place: 10,
            grace_exceeded: 20,
            protocol_error: 20,
            refused: 1,
        }
    }
}

impl Weights {
    fn of(&self, fault: Fault) -> u32 {
        match fault {
            Fault::WrongPassword => self.wrong_password,
            Fault::WrongKey => self.wrong_key,
            Fault::NoAttempt => self.no_attempt,
            Fault::HeldPlace => self.held_place,
            Fault::GraceExceeded => self.grace_exceeded,
            Fault::ProtocolError => self.protocol_error,
            Fault::Refused => self.refused,
        }
    }
}

/// How faults lead to a ban.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DefenderSettings {
    /// So many points lead to a ban.
    pub points: u32,
    /// They count when they are within this time.
    pub within: Duration,
    /// How long the first ban is; each further one is twice as long.
    pub ban: Duration,
    /// The longest ban. An address that keeps quiet for so long after its ban starts again from the first.
    pub longest_ban: Duration,
    /// What each fault counts.
    pub weights: Weights,
    /// Addresses that are never banned.
    pub allow: Vec<Network>,
}

impl Default for DefenderSettings {
    /// A minute at first and a day at most; the machine itself never.
    fn default() -> Self {
        DefenderSettings {
            points: 1000,
            within: Duration::from_secs(10 * 60),
            ban: Duration::from_secs(60),
            longest_ban: Duration::from_secs(24 * 60 * 60),
            weights: Weights::default(),
            allow: Network::loopback(),
        }
    }
}

/// What a fault led to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Counted {
    /// Nothing yet.
    Noted,
    /// The address is banned from now on, for this time.
    Bans(Duration),
    /// It was banned before.
    BannedBefore,
}

/// A ban that is in force.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ban {
    /// The bans.
    pub source: Source,
    /// For how much longer.
    pub left: Duration,
    /// How many bans the source has had without a long quiet time in between, this one included.
    pub number: u32,
}

/// Remembers faults and bans.
#[derive(Debug)]
pub(super) struct Defender {
    inner: Mutex<Inner>,
}

#[derive(Debug)]
struct Inner {
    /// `None`: nobody is banned.
    settings: Option<DefenderSettings>,
    records: HashMap<Source, Record>,
}

#[derive(Debug, Clone, Copy)]
struct Record {
    points: u32,
    /// When the faults began that count together.
    since: Instant,
    /// The last fault or rejected connection.
    last: Instant,
    bans: u32,
    banned_until: Option<Instant>,
    /// Another gate decided the ban.
    is_heard: bool,
}

/// By how much what is known of one ban may differ between gates.
const SAME_BAN: Duration = Duration::from_secs(2);

/// The highest number of a ban that is believed; the longest ban is reached long before.
const MOST_BANS_HEARD: u32 = 32;

impl Defender {
    pub(super) fn new(settings: Option<DefenderSettings>) -> Self {
        Defender { inner: Mutex::new(Inner { settings, records: HashMap::new() }) }
    }

    /// Other settings hold from now on. Bans go on, but for addresses that are never banned now; without settings all of them end.
    pub(super) fn reconfigure(&self, settings: Option<DefenderSettings>) {
        let mut inner = self.lock();
        match &settings {
            Some(settings) => inner.records.retain(|source, _| !settings.allows(source.address())),
            None => inner.records.clear(),
        }
        inner.settings = settings;
    }

    /// How much longer the address is banned, if it is.
    pub(super) fn banned_for(&self, address: IpAddr, now: Instant) -> Option<Duration> {
        let mut inner = self.lock();
        let record = inner.records.get_mut(&Source::of(address))?;
        let left = record.banned_for(now)?;
        record.last = now;
        Some(left)
    }

    /// The bans that are in force, by their sources.
    pub(super) fn bans(&self, now: Instant) -> Vec<Ban> {
        self.bans_that(now, |_| true)
    }

    /// Those that were decided here.
    pub(super) fn own_bans(&self, now: Instant) -> Vec<Ban> {
        self.bans_that(now, |record| !record.is_heard)
    }

    fn bans_that(&self, now: Instant, fits: fn(&Record) -> bool) -> Vec<Ban> {
        let inner = self.lock();
        let fitting = inner.records.iter().filter(|(_, record)| fits(record));
        let bans = fitting.filter_map(|(source, record)| {
            let left = record.banned_for(now)?;
            Some(Ban { source: *source, left, number: record.bans })
        });
        let mut bans: Vec<Ban> = bans.collect();
        drop(inner);
        bans.sort_unstable_by_key(|ban| ban.source);
        bans
    }

    /// Ends the ban of an address and forgets what led to it; whether it was banned.
    pub(super) fn lift(&self, address: IpAddr, now: Instant) -> bool {
        let removed = self.lock().records.remove(&Source::of(address));
        removed.is_some_and(|record| record.banned_for(now).is_some())
    }

    /// Counts a fault of an address.
    pub(super) fn count(&self, address: IpAddr, fault: Fault, now: Instant) -> Counted {
        let mut inner = self.lock();
        let Inner { settings: Some(settings), records } = &mut *inner else { return Counted::Noted };
        let points = settings.weights.of(fault);
        if points == 0 || settings.allows(address) {
            return Counted::Noted;
        }
        record_of(records, Source::of(address), settings, now).take(points, settings, now)
    }

    /// The points that a fault of an address makes.
    pub(super) fn points_of(&self, address: IpAddr, fault: Fault) -> u32 {
        let inner = self.lock();
        inner.settings.as_ref().filter(|settings| !settings.allows(address)).map_or(0, |of| of.weights.of(fault))
    }

    /// Within which time points count together.
    pub(super) fn counts_within(&self) -> Option<Duration> {
        self.lock().settings.as_ref().map(|settings| settings.within)
    }

    /// A source has so many points together with those of other gates.
    pub(super) fn judge_sum(&self, source: Source, points: u32, now: Instant) -> Counted {
        let mut inner = self.lock();
        let Inner { settings: Some(settings), records } = &mut *inner else { return Counted::Noted };
        if points < settings.points || settings.allows(source.address()) {
            return Counted::Noted;
        }
        record_of(records, source, settings, now).take(settings.points, settings, now)
    }

    /// Another gate has banned a source. Whether it was not banned for as long before.
    pub(super) fn impose(&self, source: Source, left: Duration, number: u32, now: Instant) -> bool {
        let mut inner = self.lock();
        let Inner { settings: Some(settings), records } = &mut *inner else { return false };
        if settings.allows(source.address()) {
            return false;
        }
        let left = left.min(settings.longest_ban);
        let record = record_of(records, source, settings, now);
        // The same ban, heard of later, seems a little longer or shorter.
        if record.banned_for(now).is_some_and(|known| known + SAME_BAN >= left) {
            return false;
        }
        record.bans = record.bans.max(number.min(MOST_BANS_HEARD));
        record.is_heard = true;
        (record.points, record.since, record.last) = (0, now, now);
        record.banned_until = now.checked_add(left);
        true
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl DefenderSettings {
    fn allows(&self, address: IpAddr) -> bool {
        self.allow.iter().any(|network| network.contains(address))
    }
}

impl Record {
    fn banned_for(&self, now: Instant) -> Option<Duration> {
        let left = self.banned_until?.saturating_duration_since(now);
        (!left.is_zero()).then_some(left)
    }

    fn take(&mut self, points: u32, settings: &DefenderSettings, now: Instant) -> Counted {
        if self.banned_until.is_some_and(|until| now.saturating_duration_since(until) > settings.longest_ban) {
            (self.bans, self.banned_until) = (0, None);
        }
        if now.saturating_duration_since(self.since) > settings.within {
            (self.points, self.since) = (0, now);
        }
        self.last = now;
        if self.banned_until.is_some_and(|until| until > now) {
            return Counted::BannedBefore;
        }
        self.points = self.points.saturating_add(points);
        if self.points < settings.points {
            return Counted::Noted;
        }
        let time = settings.ban.saturating_mul(1 << self.bans.min(31)).min(settings.longest_ban);
        self.bans = self.bans.saturating_add(1);
        self.is_heard = false;
        (self.points, self.since) = (0, now);
        self.banned_until = now.checked_add(time);
        Counted::Bans(time)
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

/// The record of a source, made if there is none; then there may have to be room for it.
fn record_of<'a>(
    records: &'a mut HashMap<Source, Record>,
    source: Source,
    settings: &DefenderSettings,
    now: Instant,
) -> &'a mut Record {
    if records.len() >= MOST && !records.contains_key(&source) {
        forget(records, settings, now);
    }
    let new = Record { points: 0, since: now, last: now, bans: 0, banned_until: None, is_heard: false };
    records.entry(source).or_insert(new)
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

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);

    fn defender(failures: u32) -> Defender {
        let allow = vec![Network::parse("10.0.0.0/8").unwrap()];
        let weights = Weights::default();
        let points = failures * weights.wrong_password;
        Defender::new(Some(DefenderSettings {
            points,
            within: 10 * MINUTE,
            ban: MINUTE,
            longest_ban: 5 * MINUTE,
            weights,
            allow,
        }))
    }

    impl Defender {
        fn guess(&self, address: IpAddr, now: Instant) -> Counted {
            self.count(address, Fault::WrongPassword, now)
        }
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn repeated_failures_ban_for_a_growing_time() {
        let defender = defender(3);
        let (bad, mut now) = (ip("192.0.2.1"), Instant::now());
        for expected in [1, 2, 4, 5, 5] {
            assert_eq!(defender.guess(bad, now), Counted::Noted);
            assert_eq!(defender.guess(bad, now), Counted::Noted);
            assert_eq!(defender.banned_for(bad, now), None);
            assert_eq!(defender.guess(bad, now), Counted::Bans(expected * MINUTE));
            assert_eq!(defender.banned_for(bad, now), Some(expected * MINUTE));
            // A connection that began before the ban makes it no longer, and does not count afterwards.
            assert_eq!(defender.guess(bad, now), Counted::BannedBefore);
            now += expected * MINUTE;
            assert_eq!(defender.banned_for(bad, now), None, "it is over");
        }
        assert_eq!(defender.banned_for(ip("192.0.2.2"), now), None, "others are not touched");
        now += 6 * MINUTE;
        defender.guess(bad, now);
        defender.guess(bad, now);
        assert_eq!(defender.guess(bad, now), Counted::Bans(MINUTE), "after long enough it starts again");
    }

    #[test]
    fn faults_count_within_their_time_only() {
        let defender = defender(3);
        let (address, start) = (ip("192.0.2.1"), Instant::now());
        for minute in [0, 0, 11, 12] {
            assert_eq!(defender.guess(address, start + minute * MINUTE), Counted::Noted);
        }
        assert_eq!(defender.guess(address, start + 13 * MINUTE), Counted::Bans(MINUTE));
    }

    /// After how many of one fault, one each `pause`, an address is banned by default; `None` for never within an hour.
    fn banned_after(fault: Fault, pause: Duration) -> Option<u32> {
        let defender = Defender::new(Some(DefenderSettings::default()));
        let start = Instant::now();
        let most = 3_600_000 / u32::try_from(pause.as_millis()).unwrap();
        (1..=most).find(|n| matches!(defender.count(ip("192.0.2.1"), fault, start + pause * *n), Counted::Bans(_)))
    }

    #[test]
    fn by_default_guesses_are_banned_and_a_broken_script_is_not() {
        let ms = Duration::from_millis;
        assert_eq!(banned_after(Fault::WrongPassword, ms(100)), Some(20));
        assert_eq!(banned_after(Fault::HeldPlace, ms(10)), Some(100));
        assert_eq!(banned_after(Fault::GraceExceeded, ms(3000)), Some(50));
        assert_eq!(banned_after(Fault::ProtocolError, ms(1000)), Some(50));
        assert_eq!(banned_after(Fault::Refused, ms(1)), Some(1000));
        // A wrong key every 30 seconds, a loop that reconnects every second.
        assert_eq!(banned_after(Fault::WrongKey, ms(30_000)), None);
        assert_eq!(banned_after(Fault::WrongKey, ms(1000)), None);
        assert_eq!(banned_after(Fault::NoAttempt, ms(1000)), None);
        assert_eq!(banned_after(Fault::WrongKey, ms(100)), Some(1000));
    }

    #[test]
    fn allowed_addresses_are_never_banned_and_ipv6_counts_by_its_first_half() {
        let (defender, now) = (defender(2), Instant::now());
        for _ in 0..100 {
            assert_eq!(defender.guess(ip("10.9.9.9"), now), Counted::Noted);
            assert_eq!(defender.guess(ip("::ffff:10.9.9.9"), now), Counted::Noted);
        }
        assert_eq!(defender.guess(ip("2001:db8::1"), now), Counted::Noted);
        assert_eq!(defender.guess(ip("2001:db8::ffff:2"), now), Counted::Bans(MINUTE));
        assert!(defender.banned_for(ip("2001:db8::3"), now).is_some());
        assert!(defender.banned_for(ip("2001:db8:0:1::3"), now).is_none());
    }

    #[test]
    fn memory_is_bounded_and_bans_outlast_noise() {
        let (defender, start) = (defender(2), Instant::now());
        let address = |n: u32| IpAddr::from((0xc000_0000 + n).to_be_bytes());
        defender.guess(ip("203.0.113.1"), start + MINUTE);
        assert_eq!(defender.guess(ip("203.0.113.1"), start + MINUTE), Counted::Bans(MINUTE));
        for n in 0..3 * u32::try_from(MOST).unwrap() {
            // The time goes on slowly, so that none is over.
            defender.guess(address(n), start + Duration::from_micros(n.into()));
            // A banned client that keeps knocking is not forgotten.
            if n % 1000 == 0 {
                assert!(defender.banned_for(ip("203.0.113.1"), start + Duration::from_micros(n.into())).is_some());
            }
        }
        assert!(defender.lock().records.len() <= MOST);
    }
    #[test]
    fn bans_are_listed_and_lifted_with_what_led_to_them() {
        let (defender, now) = (defender(2), Instant::now());
        let (one, other) = (ip("192.0.2.1"), ip("2001:db8::1"));
        for address in [one, other] {
            defender.guess(address, now);
            assert_eq!(defender.bans(now).len(), usize::from(address == other), "not yet");
            defender.guess(address, now);
        }
        let later = now + MINUTE / 2;
        let ban = |address, number| Ban { source: Source::of(address), left: MINUTE / 2, number };
        assert_eq!(defender.bans(later), [ban(one, 1), ban(other, 1)]);
        assert!(defender.lift(ip("2001:db8::2"), later), "another address of the same source");
        assert!(!defender.lift(other, later) && !defender.lift(ip("192.0.2.9"), later));
        assert_eq!(defender.bans(later), [ban(one, 1)]);
        assert_eq!(defender.guess(other, later), Counted::Noted);
        assert_eq!(defender.guess(other, later), Counted::Bans(MINUTE), "it begins with the first again");
        assert!(defender.bans(now + 2 * MINUTE).is_empty());
    }

    #[test]
    fn other_settings_hold_immediately_and_bans_go_on() {
        let (defender, now) = (defender(1), Instant::now());
        let (banned, other) = (ip("192.0.2.1"), ip("198.51.100.1"));
        defender.guess(banned, now);
        defender.guess(other, now);
        let allow = vec![Network::parse("198.51.100.0/24").unwrap()];
        let settings = DefenderSettings { points: 100, allow, ..DefenderSettings::default() };
        defender.reconfigure(Some(settings));
        assert!(defender.banned_for(banned, now).is_some() && defender.banned_for(other, now).is_none());
        assert_eq!(defender.guess(ip("192.0.2.2"), now), Counted::Noted);
        assert!(matches!(defender.guess(ip("192.0.2.2"), now), Counted::Bans(_)));
        defender.reconfigure(None);
        assert!(defender.bans(now).is_empty());
        for _ in 0..100 {
            assert_eq!(defender.guess(banned, now), Counted::Noted);
        }
    }
}
