//! Calls of nobody who was recognised: recorded one by one within bounds, then counted and summed up. Anybody on the network can make them
//! without end, and they must neither fill the trail nor hide the calls of others.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use tokio::sync::watch;
use tokio::time::timeout;

use super::state::State;
use crate::audit::{Activity, Origin, Rejected};
use crate::session::gate::Source;

/// So many calls of one address are recorded by themselves at once, and then one for each pause.
const OF_SOURCE: Bound = Bound { most: 30, pause: Duration::from_secs(2) };

/// The same of all addresses together.
const OF_ALL: Bound = Bound { most: 300, pause: Duration::from_millis(200) };

/// Addresses that are told apart at once.
const MOST: usize = 1024;

/// Addresses that one event names.
const NAMED: usize = 10;

/// How often it is told of those that were counted.
const TOLD_EVERY: Duration = Duration::from_secs(15);

/// How many at once, and how soon one more.
#[derive(Debug, Clone, Copy)]
struct Bound {
    most: u32,
    pause: Duration,
}

/// What is left of a bound.
#[derive(Debug)]
struct Bucket {
    left: u32,
    since: Instant,
}

/// Counts calls until they are told of.
#[derive(Debug, Default)]
pub(super) struct RefusedCalls(Mutex<Book>);

#[derive(Debug, Default)]
struct Book {
    sources: HashMap<Source, Bucket>,
    all: Option<Bucket>,
    tally: Option<Tally>,
    /// Calls of recognised callers for which there was no room.
    unrecorded: u64,
}

#[derive(Debug)]
struct Tally {
    calls: u64,
    first: SystemTime,
    last: SystemTime,
    /// Those of most addresses; the others are counted in `calls` alone.
    sources: HashMap<Source, u64>,
}

impl Bucket {
    fn new(bound: Bound, now: Instant) -> Bucket {
        Bucket { left: bound.most, since: now }
    }

    fn refill(&mut self, bound: Bound, now: Instant) {
        let earned = now.saturating_duration_since(self.since).as_millis() / bound.pause.as_millis().max(1);
        if earned > 0 {
            self.left = bound.most.min(self.left.saturating_add(u32::try_from(earned).unwrap_or(u32::MAX)));
            self.since = now;
        }
    }

    fn one_more(&mut self, bound: Bound, now: Instant) -> bool {
        self.refill(bound, now);
        let may = self.left > 0;
        self.left = self.left.saturating_sub(1);
        may
    }
}

impl RefusedCalls {
    /// Whether one more call from there is recorded by itself. If not, it is counted.
    pub(super) fn is_told_alone(&self, address: IpAddr, now: Instant) -> bool {
        let source = Source::of(address);
        let mut book = self.lock();
        let may = book.may(source, now);
        if !may {
            book.count(source);
        }
        may
    }

    /// One more for which there was no room.
    pub(super) fn count(&self, address: IpAddr) {
        self.lock().count(Source::of(address));
    }

    /// One more of a recognised caller for which there was no room.
    pub(super) fn count_unrecorded(&self) {
        self.lock().unrecorded += 1;
    }

    fn lock(&self) -> MutexGuard<'_, Book> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Book {
    fn may(&mut self, source: Source, now: Instant) -> bool {
        if self.sources.len() >= MOST && !self.sources.contains_key(&source) {
            // Who has been quiet for long enough is as good as new.
            self.sources.retain(|_, bucket| {
                bucket.refill(OF_SOURCE, now);
                bucket.left < OF_SOURCE.most
            });
            if self.sources.len() >= MOST {
                return false;
            }
        }
        let bucket = self.sources.entry(source).or_insert_with(|| Bucket::new(OF_SOURCE, now));
        bucket.one_more(OF_SOURCE, now)
            && self.all.get_or_insert_with(|| Bucket::new(OF_ALL, now)).one_more(OF_ALL, now)
    }

    fn count(&mut self, source: Source) {
        let now = SystemTime::now();
        let new = || Tally { calls: 0, first: now, last: now, sources: HashMap::new() };
        let tally = self.tally.get_or_insert_with(new);
        tally.calls += 1;
        tally.last = now;
        if tally.sources.len() < MOST || tally.sources.contains_key(&source) {
            *tally.sources.entry(source).or_default() += 1;
        }
    }
}

impl Tally {
    fn told(self) -> Activity {
        let mut sources: Vec<(Source, u64)> = self.sources.into_iter().collect();
        sources.sort_by(|(one, few), (other, many)| many.cmp(few).then_with(|| one.cmp(other)));
        let named: Vec<_> = sources.iter().take(NAMED).map(|(source, calls)| format!("{source}={calls}")).collect();
        let calls = self.calls;
        Activity::ConnectionRejected(Rejected {
            reason: Rejected::ADMIN_CALLS.into(),
            message: format!("calls of the admin door without a recognised caller, not recorded one by one: {calls}"),
            connections: Some(calls),
            source_ips: Some(named.join(",")),
            span: Some((self.first, self.last)),
            ..Rejected::default()
        })
    }
}

/// Tells of the calls that were counted, until the door closes and once more then. While a sink stalls they go on being counted.
pub(super) async fn tell(state: Arc<State>, mut stopped: watch::Receiver<bool>) {
    let recorder = &state.around.recorder;
    loop {
        let is_last = timeout(TOLD_EVERY, stopped.wait_for(|stopped| *stopped)).await.is_ok();
        let unrecorded = std::mem::take(&mut state.refused.lock().unrecorded);
        if unrecorded > 0 {
            tracing::warn!(calls = unrecorded, "there was no room in the trail for calls of the admin door");
        }
        if is_last || recorder.has_room() {
            let tally = state.refused.lock().tally.take();
            if let Some(tally) = tally {
                tracing::info!(
                    calls = tally.calls,
                    "calls of the admin door without a recognised caller were summed up"
                );
                drop(recorder.record_late(&Origin::of_gateway(None), &tally.told()));
            }
        }
        if is_last {
            return;
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn address(n: u32) -> IpAddr {
        IpAddr::from((0xc000_0000 + n).to_be_bytes())
    }

    #[test]
    fn a_flood_of_one_address_is_summed_up_and_hides_no_other() {
        let (refused, now) = (RefusedCalls::default(), Instant::now());
        let alone = (0..10_000).filter(|_| refused.is_told_alone(address(1), now)).count();
        assert_eq!(alone, OF_SOURCE.most as usize);
        assert!(refused.is_told_alone(address(2), now), "another address");
        assert!(refused.is_told_alone(address(1), now + OF_SOURCE.pause), "the same one after a while");
        let Activity::ConnectionRejected(told) = refused.lock().tally.take().unwrap().told() else { panic!() };
        assert_eq!((told.connections, told.source_ips.as_deref()), (Some(9_970), Some("192.0.0.1=9970")));
    }

    #[test]
    fn a_flood_from_everywhere_takes_neither_memory_nor_the_trail() {
        let (refused, now) = (RefusedCalls::default(), Instant::now());
        let alone = (0..50_000).filter(|n| refused.is_told_alone(address(*n), now)).count();
        assert_eq!(alone, OF_ALL.most as usize);
        let book = refused.lock();
        let tally = book.tally.as_ref().unwrap();
        assert!(book.sources.len() <= MOST && tally.sources.len() <= MOST);
        assert_eq!(tally.calls, 50_000 - u64::from(OF_ALL.most));
    }
}
