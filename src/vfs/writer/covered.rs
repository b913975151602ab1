//! How far a file is known from its beginning without a gap, whatever order it is written in.

use std::collections::BTreeMap;

/// The most pieces beyond a gap that are remembered. Of a client that leaves more, the farthest count as missing.
const MOST: usize = 1_024;

/// The bytes that a file has.
#[derive(Debug, Default)]
pub(super) struct Covered {
    end: u64,
    /// Pieces beyond the first gap: their ends by their starts, apart from each other.
    beyond: BTreeMap<u64, u64>,
    /// The bytes of the pieces in `beyond`, and of those that are not remembered.
    apart: u64,
}

impl Covered {
    /// Where the first gap begins.
    pub(super) fn end(&self) -> u64 {
        self.end
    }

    /// How many bytes are there. Of pieces that are not remembered, those that were written twice count twice.
    pub(super) fn bytes(&self) -> u64 {
        self.end.saturating_add(self.apart)
    }

    /// Notes bytes that are there now.
    pub(super) fn add(&mut self, from: u64, to: u64) {
        if from > self.end {
            self.add_beyond(from, to);
            return;
        }
        self.end = self.end.max(to);
        while let Some(next) = self.beyond.first_entry().filter(|next| *next.key() <= self.end) {
            let (from, to) = next.remove_entry();
            self.apart = self.apart.saturating_sub(to - from);
            self.end = self.end.max(to);
        }
    }

    /// Notes that the file was cut.
    pub(super) fn cut(&mut self, length: u64) {
        self.end = self.end.min(length);
        self.beyond.retain(|from, to| {
            *to = (*to).min(length);
            *from < length
        });
        self.apart = self.beyond.iter().map(|(from, to)| to - from).sum();
    }

    fn add_beyond(&mut self, mut from: u64, mut to: u64) {
        while let Some((start, end)) = self.beyond.range(..=to).next_back().map(|(s, e)| (*s, *e)) {
            if end < from {
                break;
            }
            self.beyond.remove(&start);
            self.apart = self.apart.saturating_sub(end - start);
            (from, to) = (from.min(start), to.max(end));
        }
        self.beyond.insert(from, to);
        self.apart = self.apart.saturating_add(to - from);
        if self.beyond.len() > MOST {
            self.beyond.pop_last();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_is_that_of_the_first_gap() {
        let mut covered = Covered::default();
        for (from, to, end) in [(10, 20, 0), (30, 40, 0), (0, 5, 5), (15, 30, 5), (5, 10, 40), (0, 3, 40), (40, 41, 41)]
        {
            covered.add(from, to);
            assert_eq!(covered.end(), end, "{from}..{to}");
        }
        covered.add(50, 60);
        covered.cut(55);
        covered.add(41, 50);
        assert_eq!(covered.end(), 55);
        covered.cut(7);
        assert_eq!(covered.end(), 7);
    }

    #[test]
    fn it_agrees_with_a_map_of_bytes() {
        let mut random = 88_172_645_463_325_252_u64;
        let mut below = |bound: u64| {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            random % bound
        };
        for _ in 0..200 {
            let (mut covered, mut bytes) = (Covered::default(), [false; 200]);
            for _ in 0..60 {
                let from = below(190);
                let to = from + 1 + below(10);
                if below(12) == 0 {
                    covered.cut(from);
                    bytes[from as usize..].fill(false);
                } else {
                    covered.add(from, to);
                    bytes[from as usize..to as usize].fill(true);
                }
                let end = bytes.iter().position(|there| !there).unwrap_or(bytes.len());
                assert_eq!(covered.end(), end as u64);
                assert_eq!(covered.bytes(), bytes.iter().filter(|there| **there).count() as u64);
            }
        }
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let mut covered = Covered::default();
        for piece in 1..10_000 {
            covered.add(piece * 10, piece * 10 + 5);
        }
        assert_eq!(covered.beyond.len(), MOST);
        assert_eq!(covered.bytes(), 9_999 * 5);
    }
}
