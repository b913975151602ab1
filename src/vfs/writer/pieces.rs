//! Bytes that were written one after the other, kept as they came, without copies.

use bytes::{Bytes, BytesMut};

use super::super::budget::{Budget, Hold};

/// A piece shorter than this is copied to its neighbours, so that a client that writes byte by byte does not cost a buffer a
/// byte.
const SHORT: usize = 16 * 1024;

/// How much copied bytes come together in one buffer.
const TOGETHER: usize = 64 * 1024;

/// Memory is taken from the budget in steps of this many bytes.
const STEP: u64 = 64 * 1024;

/// Contiguous bytes in memory with their share of the budget.
#[derive(Debug, Default)]
pub(super) struct Pieces {
    whole: Vec<Bytes>,
    tail: BytesMut,
    length: u64,
    hold: Option<Hold>,
}

impl Pieces {
    /// How many bytes there are.
    pub(super) fn length(&self) -> u64 {
        self.length
    }

    /// Takes memory for `more` bytes if it is free now.
    pub(super) fn try_reserve(&mut self, budget: &Budget, more: usize) -> bool {
        let needed = (self.length + more as u64).div_ceil(STEP) * STEP;
        budget.try_grow(&mut self.hold, needed)
    }

    /// Adds bytes at the end.
    pub(super) fn push(&mut self, data: Bytes) {
        self.length += data.len() as u64;
        if data.len() >= SHORT {
            self.end_tail();
            self.whole.push(data);
            return;
        }
        self.tail.extend_from_slice(&data);
        if self.tail.len() >= TOGETHER {
            self.end_tail();
        }
    }

    /// The bytes, and the memory that they hold.
    pub(super) fn take(&mut self) -> (Vec<Bytes>, Option<Hold>) {
        self.end_tail();
        self.length = 0;
        (std::mem::take(&mut self.whole), self.hold.take())
    }

    fn end_tail(&mut self) {
        if !self.tail.is_empty() {
            self.whole.push(std::mem::take(&mut self.tail).freeze());
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn long_pieces_are_not_copied_and_short_ones_come_together() {
        let mut pieces = Pieces::default();
        let long = Bytes::from(vec![7; SHORT]);
        pieces.push(long.clone());
        for _ in 0..1000 {
            pieces.push(Bytes::from_static(b"ab"));
        }
        pieces.push(long.clone());
        assert_eq!(pieces.length(), 2 * SHORT as u64 + 2000);
        let (whole, _) = pieces.take();
        assert_eq!(whole.iter().map(Bytes::len).collect::<Vec<_>>(), [SHORT, 2000, SHORT]);
        assert_eq!(whole[0].as_ptr(), long.as_ptr());
        assert_eq!(whole[1], "ab".repeat(1000));
        assert_eq!(pieces.length(), 0);
    }

    #[test]
    fn memory_is_taken_in_steps_and_given_back() {
        let budget = Budget::new(0);
        let mut pieces = Pieces::default();
        assert!(pieces.try_reserve(&budget, 1));
        assert_eq!(budget.total() - budget.free(), STEP);
        assert!(!pieces.try_reserve(&budget, 1 << 30));
        drop(pieces.take());
        assert_eq!(budget.free(), budget.total());
    }
}
