//! The gate before a login: bans, rates and places by address. Every door asks it before a user is known.

mod defender;
mod marks;
mod rate;
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
}

impl Gate {
    /// Nobody waits yet.
    pub fn new(settings: GateSettings) -> Gate {
        Gate {
            defender: Defender::new(settings.defender),
            rates: Rates::new(settings.connections_per_second),
            room: Arc::new(WaitingRoom::new(settings.places, settings.places_of_address)),
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
        match self.defender.count(address, fault, now) {
            Counted::Noted => true,
            Counted::BannedBefore => false,
            Counted::Bans(time) => {
                tracing::warn!(address = %source, seconds = time.as_secs(), "banned: it failed to log in too often");
                self.room.evict(source, now);
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
        self.defender.lift(address, Instant::now())
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
