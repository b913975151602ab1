//! Who took places for nothing lately.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use super::Source;

/// The most sources that are remembered; others get no marks while these have some.
const MOST: usize = 65_536;

/// The most marks of one source.
const MOST_MARKS: u32 = 1024;

/// After so long without a new one, half of a source's marks are gone.
const HALF: Duration = Duration::from_secs(60);

/// How often those without marks are looked for, when there are too many.
const SWEEP_EVERY: Duration = Duration::from_secs(1);

/// The marks of all sources.
#[derive(Debug, Default)]
pub(super) struct Marks {
    known: HashMap<Source, Mark>,
    swept: Option<Instant>,
}

#[derive(Debug, Clone, Copy)]
struct Mark {
    count: u32,
    last: Instant,
}

impl Mark {
    fn left(self, now: Instant) -> u32 {
        let halves = now.saturating_duration_since(self.last).as_secs() / HALF.as_secs();
        u32::try_from(halves).ok().and_then(|halves| self.count.checked_shr(halves)).unwrap_or(0)
    }
}

impl Marks {
    pub(super) fn of(&self, source: Source, now: Instant) -> u64 {
        self.known.get(&source).map_or(0, |mark| mark.left(now).into())
    }

    pub(super) fn add(&mut self, source: Source, now: Instant) {
        if self.known.len() >= MOST && !self.known.contains_key(&source) {
            if self.swept.is_none_or(|swept| now.saturating_duration_since(swept) >= SWEEP_EVERY) {
                self.swept = Some(now);
                self.known.retain(|_, mark| mark.left(now) > 0);
            }
            if self.known.len() >= MOST {
                return;
            }
        }
        let mark = self.known.entry(source).or_insert(Mark { count: 0, last: now });
        *mark = Mark { count: (mark.left(now) + 1).min(MOST_MARKS), last: now };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(n: u32) -> Source {
        Source::of((0xc000_0000 + n).to_be_bytes().into())
    }

    #[test]
    fn marks_fade_and_are_bounded() {
        let (mut marks, start) = (Marks::default(), Instant::now());
        (0..5000).for_each(|_| marks.add(source(1), start));
        assert_eq!(marks.of(source(1), start), 1024);
        assert_eq!(marks.of(source(1), start + 2 * HALF), 256);
        assert_eq!(marks.of(source(1), start + 1000 * HALF), 0);
        for n in 0..2 * 65_536 {
            marks.add(source(n), start);
        }
        assert_eq!(marks.known.len(), MOST);
        marks.add(source(1 << 20), start + 11 * HALF);
        assert_eq!(marks.of(source(1 << 20), start + 11 * HALF), 1, "those that faded made room");
        assert_eq!(marks.known.len(), 1);
    }
}
