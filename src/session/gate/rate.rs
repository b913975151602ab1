//! How often one source may open a connection.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::Source;

/// The most sources that are remembered. Beyond it, whoever is not remembered may come.
const MOST: usize = 65_536;

/// So many seconds' worth may come at once after a silence.
const BURST_SECONDS: u32 = 5;

/// How often the sources that came long ago are looked for, when there are too many.
const SWEEP_EVERY: Duration = Duration::from_secs(1);

/// Connections a second of each source, by the time at which the source has paid for all that it opened (GCRA, as in ATM).
#[derive(Debug)]
pub(super) struct Rates {
    per_second: u32,
    known: Mutex<Known>,
}

#[derive(Debug, Default)]
struct Known {
    paid_at: HashMap<Source, Instant>,
    swept: Option<Instant>,
}

impl Rates {
    pub(super) fn new(per_second: u32) -> Rates {
        Rates { per_second: per_second.max(1), known: Mutex::default() }
    }

    /// Whether the source may open one more now. Only what it may open counts.
    pub(super) fn allows(&self, source: Source, now: Instant) -> bool {
        let price = Duration::from_secs(1) / self.per_second;
        let credit = Duration::from_secs(BURST_SECONDS.into());
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if !known.has_room_for(source, now) {
            return true;
        }
        let paid_at = known.paid_at.entry(source).or_insert(now);
        let next = (*paid_at).max(now) + price;
        if next.saturating_duration_since(now) > credit {
            return false;
        }
        *paid_at = next;
        true
    }
}

impl Known {
    fn has_room_for(&mut self, source: Source, now: Instant) -> bool {
        if self.paid_at.len() < MOST || self.paid_at.contains_key(&source) {
            return true;
        }
        if self.swept.is_none_or(|swept| now.saturating_duration_since(swept) >= SWEEP_EVERY) {
            self.swept = Some(now);
            self.paid_at.retain(|_, paid_at| *paid_at > now);
        }
        self.paid_at.len() < MOST
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn source(n: u32) -> Source {
        Source::of((0xc000_0000 + n).to_be_bytes().into())
    }

    #[test]
    fn a_burst_passes_and_then_so_many_a_second() {
        let (rates, start) = (Rates::new(20), Instant::now());
        let passed = |at: Instant| (0..1000).filter(|_| rates.allows(source(1), at)).count();
        assert_eq!(passed(start), 100);
        assert_eq!(passed(start), 0);
        assert_eq!(passed(start + Duration::from_secs(1)), 20, "what was refused is not paid for");
        assert!(rates.allows(source(2), start), "others are not touched");
        assert_eq!(passed(start + Duration::from_secs(1000)), 100);
    }

    #[test]
    fn memory_is_bounded_and_nobody_is_refused_for_others() {
        let (rates, start) = (Rates::new(1), Instant::now());
        for n in 0..3 * u32::try_from(MOST).unwrap() {
            assert!(rates.allows(source(n), start + Duration::from_micros(n.into())));
        }
        assert!(rates.known.lock().unwrap().paid_at.len() <= MOST);
        let later = start + Duration::from_secs(100);
        assert!((0..5).all(|_| rates.allows(source(u32::MAX >> 4), later)), "there is room again");
        assert!(!rates.allows(source(u32::MAX >> 4), later), "and the source is remembered");
    }
}
