//! Refused connections that are not recorded one by one: how many there were, and where most of them came from.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};

use super::defender::Source;
use crate::audit::{Activity, Rejected};

/// Sources that are told apart at once. Beyond it the rarest are forgotten, and counts of the others may be too low by so much.
const MOST: usize = 1024;

/// Sources that one event names.
const NAMED: usize = 10;

/// Counts refused connections until they are told of.
#[derive(Debug, Default)]
pub(super) struct Refusals(Mutex<Tally>);

#[derive(Debug, Default)]
struct Tally {
    connections: u64,
    sources: HashMap<Source, u64>,
}

impl Refusals {
    /// One more.
    pub(super) fn count(&self, address: IpAddr) {
        let mut tally = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        tally.connections += 1;
        let source = Source::of(address);
        if tally.sources.len() >= MOST && !tally.sources.contains_key(&source) {
            // Each of the others gives one up for it, so that what comes often stays (Misra and Gries, 1982).
            tally.sources.retain(|_, count| {
                *count -= 1;
                *count > 0
            });
            return;
        }
        *tally.sources.entry(source).or_default() += 1;
    }

    /// The event of all since the last time this was asked; `None` when there were none.
    pub(super) fn take(&self) -> Option<Activity> {
        let Tally { connections, sources } =
            std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner));
        if connections == 0 {
            return None;
        }
        let mut sources: Vec<(Source, u64)> = sources.into_iter().collect();
        sources
            .sort_by(|(one, few), (other, many)| many.cmp(few).then_with(|| one.to_string().cmp(&other.to_string())));
        let named = sources.iter().take(NAMED).map(|(source, count)| format!("{source}={count}")).collect::<Vec<_>>();
        let message = match connections {
            1 => "1 connection was refused and is not recorded by itself".to_owned(),
            many => format!("{many} connections were refused and are not recorded one by one"),
        };
        Some(Activity::ConnectionRejected(Rejected {
            reason: "too-many-refusals".into(),
            message,
            connections: Some(connections),
            source_ips: Some(named.join(",")),
            ..Rejected::default()
        }))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn told(refusals: &Refusals) -> (u64, String) {
        match refusals.take() {
            Some(Activity::ConnectionRejected(rejected)) => {
                (rejected.connections.unwrap(), rejected.source_ips.unwrap())
            }
            other => panic!("{other:?}"),
        }
    }

    fn address(n: u32) -> IpAddr {
        IpAddr::from((0xc000_0000 + n).to_be_bytes())
    }

    #[test]
    fn the_sources_of_most_are_named_and_all_are_counted() {
        let refusals = Refusals::default();
        assert!(refusals.take().is_none());
        for text in ["192.0.2.1", "192.0.2.2", "192.0.2.1", "::ffff:192.0.2.1", "2001:db8::1", "2001:db8::2"] {
            refusals.count(text.parse().unwrap());
        }
        assert_eq!(told(&refusals), (6, "192.0.2.1=3,2001:db8::/64=2,192.0.2.2=1".into()));
        assert!(refusals.take().is_none(), "once");
    }

    #[test]
    fn a_flood_from_everywhere_takes_no_memory_and_hides_nobody_who_comes_often() {
        let refusals = Refusals::default();
        for n in 0..200_000 {
            refusals.count(address(n));
            if n % 10 == 0 {
                refusals.count("203.0.113.9".parse().unwrap());
            }
            assert!(refusals.0.lock().unwrap().sources.len() <= MOST);
        }
        let (connections, sources) = told(&refusals);
        assert_eq!(connections, 220_000);
        let first: u64 = sources.split(',').next().unwrap().strip_prefix("203.0.113.9=").unwrap().parse().unwrap();
        assert!((19_000..=20_000).contains(&first), "{sources}");
        assert!(sources.split(',').count() <= NAMED, "{sources}");
    }
}
