//! The gate before a login: bans, rates and places by address. Every door asks it before a user is known.

mod defender;
mod marks;
mod rate;
mod shared;
mod source;
mod waiting;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

pub use defender::{Ban, DefenderSettings, Fault, Weights};
pub use source::Source;
pub use waiting::{Evicted, Seat, SeatWatch, Shown};

use defender::{Counted, Defender};
use rate::Rates;
use shared::Outbox;
use waiting::{NoPlace, WaitingRoom};

/// The limits before a login.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GateSettings {
    /// Connections that have not logged in, at once.
    pub places: usize,
    /// The same of one address (of an IPv6 address its first 64 bits).
    pub places_of_address: usize,
    /// New connections a second of one address; five seconds' worth may come at once.
    pub connections_per_second: u32,
    /// How faults lead to bans; `None` for never.
    pub defender: Option<DefenderSettings>,
}

/// Why a connection may not wait for a login.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refused {
    /// The address is banned for so long.
    Banned(Duration),
    /// The address opens more connections than it may.
    TooOften,
    /// The address has as many connections as it may that have not logged in.
    TooManyOfAddress,
    /// Connections that lost their places have not gone yet.
    TooMany,
    /// All places are taken, and the address took places for nothing more often than those who have them.
    Crowded,
}

/// Lets connections wait for a login. Its memory is bounded.
#[derive(Debug)]
pub struct Gate {
    defender: Defender,
    rates: Rates,
    room: Arc<WaitingRoom>,
    /// What other gateways are to hear.
    outbox: Outbox,
}

impl Gate {
    /// Nobody waits yet.
    pub fn new(settings: GateSettings) -> Gate {
        Gate {
            defender: Defender::new(settings.defender),
            rates: Rates::new(settings.connections_per_second),
            room: Arc::new(WaitingRoom::new(settings.places, settings.places_of_address)),
            outbox: Outbox::default(),
        }
    }

    /// A place for a new connection of an address.
    ///
    /// # Errors
    /// Why it may not wait. What the address is to blame for is counted.
    pub fn enter(&self, address: IpAddr) -> Result<Seat, Refused> {
        let now = Instant::now();
        self.judge(address, now)?;
        let seat = self.room.enter(Source::of(address), true, now).map_err(|no| self.no_place(address, no))?;
        self.still_welcome(address, now).map(|()| seat)
    }

    /// A place for a connection of a balancer, which has yet to tell whose it is.
    ///
    /// # Errors
    /// [`Refused::TooMany`].
    pub fn enter_through(&self, balancer: IpAddr) -> Result<Seat, Refused> {
        self.room.enter(Source::of(balancer), false, Instant::now()).map_err(|_| Refused::TooMany)
    }

    /// The balancer has told whose the connection is.
    ///
    /// # Errors
    /// As [`Gate::enter`].
    pub fn settle(&self, seat: &Seat, address: IpAddr) -> Result<(), Refused> {
        let now = Instant::now();
        self.judge(address, now)?;
        self.room.settle(seat, Source::of(address), now).map_err(|no| self.no_place(address, no))?;
        self.still_welcome(address, now)
    }

    /// Counts a fault of an address. False when it was banned before: then nothing of it counts any more, and nothing that it has
    /// found out may be told to it.
    pub fn blame(&self, address: IpAddr, fault: Fault) -> bool {
        let now = Instant::now();
        let source = Source::of(address);
        if matches!(fault, Fault::NoAttempt | Fault::HeldPlace | Fault::GraceExceeded | Fault::ProtocolError) {
            self.room.mark(source, now);
        }
        let counted = self.defender.count(address, fault, now);
        if counted == Counted::Noted && self.outbox.is_open() {
            let points = self.defender.points_of(address, fault);
            if points > 0 {
                self.outbox.add_points(source, points);
            }
        }
        self.settle_count(source, counted, now)
    }

    fn settle_count(&self, source: Source, counted: Counted, now: Instant) -> bool {
        match counted {
            Counted::Noted => true,
            Counted::BannedBefore => false,
            Counted::Bans(time) => {
                tracing::warn!(address = %source, seconds = time.as_secs(), "banned: it failed to log in too often");
                self.room.evict(source, now);
                self.outbox.add_ban(source);
                true
            }
        }
    }

    /// How much longer an address is banned, if it is.
    pub fn banned_for(&self, address: IpAddr) -> Option<Duration> {
        self.defender.banned_for(address, Instant::now())
    }

    /// The bans that are in force.
    pub fn bans(&self) -> Vec<Ban> {
        self.defender.bans(Instant::now())
    }

    /// Ends the ban of an address and forgets what led to it; whether it was banned.
    pub fn lift(&self, address: IpAddr) -> bool {
        self.outbox.forget(Source::of(address));
        self.defender.lift(address, Instant::now())
    }

    /// From now on, what other gates have to hear is kept for [`Gate::take_news`].
    pub fn share(&self) {
        self.outbox.open();
    }

    /// What other gates have not heard yet: the points of up to `most` sources, and the bans.
    pub fn take_news(&self, most: usize) -> (Vec<(Source, u32)>, Vec<Ban>) {
        let waiting = self.outbox.take(most);
        let own = if waiting.bans.is_empty() { Vec::new() } else { self.own_bans() };
        let bans = own.into_iter().filter(|ban| waiting.bans.contains(&ban.source));
        (waiting.points.into_iter().collect(), bans.collect())
    }

    /// Waits until there is a ban that other gates have not heard of.
    pub async fn has_ban_to_tell(&self) {
        self.outbox.has_ban().await;
    }

    /// The bans in force that this gate has decided itself.
    pub fn own_bans(&self) -> Vec<Ban> {
        self.defender.own_bans(Instant::now())
    }

    /// Within which time points of one source count together; `None` when nobody is banned.
    pub fn counts_within(&self) -> Option<Duration> {
        self.defender.counts_within()
    }

    /// A source has so many points at all gates together. Whether that makes a ban is decided here.
    pub fn hear_points(&self, source: Source, points: u32) {
        let now = Instant::now();
        self.settle_count(source, self.defender.judge_sum(source, points, now), now);
    }

    /// Another gate has banned a source, for so much longer and for the `number`th time. It is banned here too, within this gate's own bounds:
    /// no longer than its longest ban, and never who is never banned. Whether that is new.
    pub fn hear_ban(&self, source: Source, left: Duration, number: u32) -> bool {
        let now = Instant::now();
        let is_new = self.defender.impose(source, left, number, now);
        if is_new {
            self.room.evict(source, now);
        }
        is_new
    }

    /// Other rules for bans hold from now on (`None`: nobody is banned). Bans go on, but for addresses that are never banned now.
    pub fn set_defender(&self, settings: Option<DefenderSettings>) {
        self.defender.reconfigure(settings);
    }

    fn judge(&self, address: IpAddr, now: Instant) -> Result<(), Refused> {
        self.still_welcome(address, now)?;
        if self.rates.allows(Source::of(address), now) {
            return Ok(());
        }
        self.blame(address, Fault::Refused);
        Err(Refused::TooOften)
    }

    /// Asked again behind the place: a ban in between has not seen it.
    fn still_welcome(&self, address: IpAddr, now: Instant) -> Result<(), Refused> {
        match self.defender.banned_for(address, now) {
            Some(left) => Err(Refused::Banned(left)),
            None => Ok(()),
        }
    }

    fn no_place(&self, address: IpAddr, no: NoPlace) -> Refused {
        match no {
            NoPlace::AtAll => Refused::TooMany,
            NoPlace::OfSource => {
                self.blame(address, Fault::Refused);
                Refused::TooManyOfAddress
            }
            NoPlace::Crowded => {
                self.blame(address, Fault::Refused);
                Refused::Crowded
            }
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn gate(points: u32) -> Gate {
        let defender = DefenderSettings { points, allow: Vec::new(), ..DefenderSettings::default() };
        Gate::new(GateSettings {
            places: 8,
            places_of_address: 2,
            connections_per_second: 1000,
            defender: Some(defender),
        })
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[tokio::test]
    async fn a_ban_ends_what_the_address_has_open_and_nothing_else() {
        let gate = gate(150);
        let (bad, good) = (ip("192.0.2.1"), ip("192.0.2.2"));
        let (first, second, other) = (gate.enter(bad).unwrap(), gate.enter(bad).unwrap(), gate.enter(good).unwrap());
        let through = gate.enter_through(bad).unwrap();
        // Of either connection, and each counts when it happens.
        assert!(gate.blame(bad, Fault::WrongPassword));
        assert!(gate.blame(bad, Fault::WrongPassword));
        assert!(!first.watch().is_evicted() && gate.banned_for(bad).is_none());
        assert!(gate.blame(bad, Fault::WrongPassword), "the last one that counts");
        assert_eq!((first.evicted().await, second.evicted().await), (Evicted::Banned, Evicted::Banned));
        assert!(!other.watch().is_evicted() && !through.watch().is_evicted());
        assert!(!gate.blame(bad, Fault::WrongPassword), "it was banned before");
        assert!(matches!(gate.enter(bad), Err(Refused::Banned(_))));
        assert!(matches!(gate.settle(&through, bad), Err(Refused::Banned(_))));
        assert!(gate.enter(good).is_ok());
    }

    #[tokio::test]
    async fn gates_hear_of_faults_and_bans_of_one_another() {
        let (one, other) = (gate(150), gate(150));
        one.blame(ip("192.0.2.9"), Fault::WrongPassword);
        assert!(one.take_news(9).0.is_empty(), "nobody wanted to know");
        one.share();
        other.share();
        let bad = ip("192.0.2.1");
        one.blame(bad, Fault::WrongPassword);
        one.blame(bad, Fault::WrongPassword);
        let (points, bans) = one.take_news(9);
        assert_eq!((points, bans.len()), (vec![(Source::of(bad), 100)], 0));
        assert!(one.take_news(9).0.is_empty(), "it is told once");
        let seat = other.enter(bad).unwrap();
        other.blame(bad, Fault::WrongPassword);
        other.hear_points(Source::of(bad), 149);
        assert!(other.banned_for(bad).is_none());
        other.hear_points(Source::of(bad), 150);
        assert_eq!(seat.evicted().await, Evicted::Banned);
        let (points, bans) = other.take_news(9);
        assert!(points.is_empty(), "what led to the ban is told no more");
        assert_eq!((bans.len(), bans[0].number), (1, 1));
        let held = one.enter(bad).unwrap();
        assert!(one.hear_ban(bans[0].source, bans[0].left, bans[0].number));
        assert_eq!(held.evicted().await, Evicted::Banned);
        assert!(!one.hear_ban(bans[0].source, bans[0].left, bans[0].number), "it is no news");
        assert!(one.take_news(9).1.is_empty() && one.own_bans().is_empty(), "and not told on");
        assert!(one.lift(bad) && one.enter(bad).is_ok());
    }

    #[test]
    fn what_others_say_is_kept_within_bounds() {
        let defender = DefenderSettings {
            longest_ban: Duration::from_secs(120),
            allow: vec![crate::users::Network::parse("10.0.0.0/8").unwrap()],
            ..DefenderSettings::default()
        };
        let gate = gate(150);
        gate.set_defender(Some(defender));
        let (bad, good) = (Source::of(ip("192.0.2.1")), Source::of(ip("10.1.2.3")));
        assert!(!gate.hear_ban(good, Duration::from_secs(60), 1));
        gate.hear_points(good, u32::MAX);
        assert!(gate.hear_ban(bad, Duration::from_secs(u64::MAX), u32::MAX));
        let bans = gate.bans();
        assert_eq!((bans.len(), bans[0].source), (1, bad));
        assert!(bans[0].left <= Duration::from_secs(120) && bans[0].number < 100, "{bans:?}");
        gate.set_defender(None);
        assert!(!gate.hear_ban(bad, Duration::from_secs(60), 1), "nobody is banned here");
        gate.hear_points(bad, u32::MAX);
        assert!(gate.bans().is_empty());
    }

    #[test]
    fn who_has_too_many_or_comes_too_often_and_goes_on_is_banned() {
        let gate = gate(20);
        let bad = ip("192.0.2.1");
        let _held = [gate.enter(bad).unwrap(), gate.enter(bad).unwrap()];
        for _ in 0..20 {
            assert_eq!(gate.enter(bad).map(drop), Err(Refused::TooManyOfAddress));
        }
        assert!(matches!(gate.enter(bad), Err(Refused::Banned(_))));
        let often = ip("192.0.2.2");
        let refusals = (0..6000).filter(|_| gate.enter(often).map(drop) == Err(Refused::TooOften)).count();
        assert_eq!(refusals, 20);
        assert!(gate.banned_for(often).is_some());
    }
}
