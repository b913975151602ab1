//! Refused connections: told one by one when they begin, then counted and summed up.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use crate::audit::{Activity, Rejected};
use crate::session::gate::Source;

/// Sources that are told apart at once. Beyond it the rarest are forgotten, and counts of the others may be too low by so much.
const MOST: usize = 1024;

/// Sources that one event names.
const NAMED: usize = 10;

/// A source that was refused for a reason is told of again for the same reason when it was quiet for so long.
const QUIET: Duration = Duration::from_secs(60);

/// So many are told one by one at once, and then one for each pause: many sources that begin make few lines too.
const ALONE: u32 = 30;
const ALONE_PAUSE: Duration = Duration::from_secs(2);

/// The reason of those that are refused because the trail is behind, and of which nothing more is known.
const TRAIL_IS_BEHIND: &str = "too-many-refusals";

/// Counts refused connections until they are told of.
#[derive(Debug, Default)]
pub(super) struct Refusals(Mutex<Book>);

#[derive(Debug, Default)]
struct Book {
    /// When a source was last refused for a reason.
    known: HashMap<(Source, &'static str), Instant>,
    alone: Alone,
    tallies: BTreeMap<&'static str, Tally>,
}

/// How many more may be told one by one.
#[derive(Debug)]
struct Alone {
    left: u32,
    since: Option<Instant>,
}

impl Default for Alone {
    fn default() -> Self {
        Alone { left: ALONE, since: None }
    }
}

impl Alone {
    fn one_more(&mut self, now: Instant) -> bool {
        let since = *self.since.get_or_insert(now);
        let earned = now.saturating_duration_since(since).as_secs() / ALONE_PAUSE.as_secs();
        if earned > 0 {
            self.left = ALONE.min(self.left.saturating_add(u32::try_from(earned).unwrap_or(u32::MAX)));
            self.since = Some(now);
        }
        let may = self.left > 0;
        self.left = self.left.saturating_sub(1);
        may
    }
}

#[derive(Debug)]
struct Tally {
    connections: u64,
    first: SystemTime,
    last: SystemTime,
    sources: HashMap<Source, u64>,
}

impl Refusals {
    /// One more is refused for a reason. True if it is to be told by itself; else it is counted.
    pub(super) fn is_new(&self, address: IpAddr, reason: &'static str, now: Instant) -> bool {
        let source = Source::of(address);
        let mut book = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let is_new = book.is_new(source, reason, now);
        if !is_new {
            book.count(source, reason);
        }
        is_new
    }

    /// One more that is not told by itself.
    pub(super) fn count(&self, address: IpAddr, reason: &'static str) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).count(Source::of(address), reason);
    }

    /// One more while the trail is behind.
    pub(super) fn count_unnamed(&self, address: IpAddr) {
        self.count(address, TRAIL_IS_BEHIND);
    }

    /// The events of all that were counted since the last time this was asked, one for each reason.
    pub(super) fn take(&self) -> Vec<Activity> {
        let tallies = std::mem::take(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner).tallies);
        tallies.into_iter().map(|(reason, tally)| tally.told(reason)).collect()
    }
}

impl Book {
    fn is_new(&mut self, source: Source, reason: &'static str, now: Instant) -> bool {
        let key = (source, reason);
        if let Some(last) = self.known.get_mut(&key) {
            let was_quiet = now.saturating_duration_since(*last) >= QUIET;
            *last = now;
            return was_quiet && self.alone.one_more(now);
        }
        // Before it is looked for room, which takes time: a flood has used this up soon.
        if !self.alone.one_more(now) {
            return false;
        }
        if self.known.len() >= MOST {
            self.known.retain(|_, last| now.saturating_duration_since(*last) < QUIET);
        }
        let has_room = self.known.len() < MOST;
        if has_room {
            self.known.insert(key, now);
        }
        has_room
    }

    fn count(&mut self, source: Source, reason: &'static str) {
        let now = SystemTime::now();
        let new = || Tally { connections: 0, first: now, last: now, sources: HashMap::new() };
        let tally = self.tallies.entry(reason).or_insert_with(new);
        tally.connections += 1;
        tally.last = now;
        let sources = &mut tally.sources;
        if sources.len() >= MOST && !sources.contains_key(&source) {
            // Each of the others gives one up for it, so that what comes often stays (Misra and Gries, 1982).
            sources.retain(|_, count| {
                *count -= 1;
                *count > 0
            });
            return;
        }
        *sources.entry(source).or_default() += 1;
    }
}

impl Tally {
    fn told(self, reason: &'static str) -> Activity {
        let mut sources: Vec<(Source, u64)> = self.sources.into_iter().collect();
        sources
            .sort_by(|(one, few), (other, many)| many.cmp(few).then_with(|| one.to_string().cmp(&other.to_string())));
        let named = sources.iter().take(NAMED).map(|(source, count)| format!("{source}={count}")).collect::<Vec<_>>();
        let message = match self.connections {
            1 => "1 connection was refused and is not recorded by itself".to_owned(),
            many => format!("{many} connections were refused and are not recorded one by one"),
        };
        Activity::ConnectionRejected(Rejected {
            reason: reason.into(),
            message,
            connections: Some(self.connections),
            source_ips: Some(named.join(",")),
            span: Some((self.first, self.last)),
            ..Rejected::default()
        })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    /// What is told, in the order of the reasons: how many, and where from.
    fn told(refusals: &Refusals) -> Vec<(String, u64, String)> {
        let told = refusals.take().into_iter().map(|activity| {
            let Activity::ConnectionRejected(rejected) = activity else { panic!("{activity:?}") };
            let (first, last) = rejected.span.unwrap();
            assert!(first <= last);
            (rejected.reason, rejected.connections.unwrap(), rejected.source_ips.unwrap())
        });
        told.collect()
    }

    fn address(n: u32) -> IpAddr {
        IpAddr::from((0xc000_0000 + n).to_be_bytes())
    }

    #[test]
    fn repetition_is_told_when_it_begins_and_then_summed_up() {
        let (refusals, start) = (Refusals::default(), Instant::now());
        let alone: usize = (0..40_000u32)
            .filter(|n| refusals.is_new(address(1), "banned", start + Duration::from_millis(10) * *n))
            .count();
        assert_eq!(alone, 1);
        assert_eq!(told(&refusals), [("banned".into(), 39_999, "192.0.0.1=39999".into())]);
        assert!(refusals.take().is_empty(), "once");
        // Another reason, another source, or the same after a while is news.
        let now = start + Duration::from_secs(400);
        assert!(refusals.is_new(address(1), "other", now) && refusals.is_new(address(2), "banned", now));
        assert!(!refusals.is_new(address(1), "banned", now + QUIET / 2));
        assert!(refusals.is_new(address(1), "banned", now + 2 * QUIET));
    }

    #[test]
    fn many_sources_that_begin_make_few_lines() {
        let (refusals, start) = (Refusals::default(), Instant::now());
        let alone = (0..60_000u32)
            .filter(|n| refusals.is_new(address(*n), "banned", start + Duration::from_millis(1) * *n))
            .count();
        assert!((30..=60).contains(&alone), "{alone} in a minute");
        let counted = told(&refusals);
        assert_eq!((counted.len(), counted[0].1), (1, 60_000 - alone as u64));
    }

    #[test]
    fn the_sources_of_most_are_named_and_all_are_counted() {
        let refusals = Refusals::default();
        assert!(refusals.take().is_empty());
        for text in ["192.0.2.1", "192.0.2.2", "192.0.2.1", "::ffff:192.0.2.1", "2001:db8::1", "2001:db8::2"] {
            refusals.count_unnamed(text.parse().unwrap());
        }
        let expected = "192.0.2.1=3,2001:db8::/64=2,192.0.2.2=1";
        assert_eq!(told(&refusals), [("too-many-refusals".into(), 6, expected.into())]);
        assert!(refusals.take().is_empty(), "once");
    }

    #[test]
    fn a_flood_from_everywhere_takes_no_memory_and_hides_nobody_who_comes_often() {
        let refusals = Refusals::default();
        let now = Instant::now();
        for n in 0..200_000 {
            refusals.is_new(address(n), "banned", now);
            if n % 10 == 0 {
                refusals.count("203.0.113.9".parse().unwrap(), "banned");
            }
            let book = refusals.0.lock().unwrap();
            assert!(book.known.len() <= MOST && book.tallies.get("banned").is_none_or(|t| t.sources.len() <= MOST));
        }
        let all = told(&refusals);
        assert_eq!(all[0].1, 220_000 - u64::from(ALONE));
        let most = all[0].2.split(',').next().unwrap();
        assert!(most.starts_with("203.0.113.9="), "{most}");
    }
}
