//! A bounded window in which writes that overtook each other wait for their turn.

use std::collections::BTreeMap;

use bytes::Bytes;

use super::super::budget::{Budget, Hold};

/// How far a write may be ahead of the first byte that is missing.
pub(super) const WINDOW: u64 = 4 << 20;

/// How many writes may wait, so that small ones do not cost more than their bytes.
const MOST_WRITES: usize = 2048;

/// Writes ahead of the place where bytes are missing. They do not overlap: what came later has replaced what came before.
#[derive(Debug, Default)]
pub(super) struct Reorder {
    waiting: BTreeMap<u64, Bytes>,
    bytes: u64,
    hold: Option<Hold>,
}

impl Reorder {
    /// The end of the last write that waits; 0 when none does.
    pub(super) fn end(&self) -> u64 {
        self.waiting.last_key_value().map_or(0, |(offset, data)| offset + data.len() as u64)
    }

    /// The offset of the first write that waits.
    pub(super) fn start(&self) -> Option<u64> {
        self.waiting.first_key_value().map(|(offset, _)| *offset)
    }

    /// Keeps a write until the bytes before it are there. Gives it back when it is beyond the window from `position`, when too
    /// many wait, or when memory is spent.
    pub(super) fn keep(&mut self, budget: &Budget, position: u64, offset: u64, data: Bytes) -> Result<(), Bytes> {
        let length = data.len() as u64;
        let within =
            offset.saturating_add(length) <= position.saturating_add(WINDOW) && self.waiting.len() < MOST_WRITES;
        if !within || !budget.try_grow(&mut self.hold, self.bytes + length) {
            return Err(data);
        }
        self.trim(offset, offset + length);
        self.bytes += length;
        // A short slice must not keep a long buffer alive that nobody counts.
        let data = if data.len() < 16 * 1024 { Bytes::copy_from_slice(&data) } else { data };
        self.waiting.insert(offset, data);
        Ok(())
    }

    /// Drops what waits between two offsets, because it was written again or cut off.
    pub(super) fn forget(&mut self, from: u64, to: u64) {
        self.trim(from, to);
        self.give_back();
    }

    fn trim(&mut self, from: u64, to: u64) {
        let touched: Vec<u64> = self
            .waiting
            .range(..to)
            .rev()
            .take_while(|(offset, data)| *offset + data.len() as u64 > from)
            .map(|(offset, _)| *offset)
            .collect();
        for offset in touched {
            let Some(data) = self.waiting.remove(&offset) else { continue };
            let end = offset + data.len() as u64;
            self.bytes -= data.len() as u64;
            if offset < from {
                self.put_back(offset, data.slice(..(from - offset) as usize));
            }
            if end > to {
                self.put_back(to, data.slice((to - offset) as usize..));
            }
        }
    }

    /// The first write that waits, if it starts at `position` (or wherever it starts, for `None`).
    pub(super) fn take_first(&mut self, position: Option<u64>) -> Option<(u64, Bytes)> {
        let first = self.waiting.first_entry()?;
        if position.is_some_and(|position| *first.key() != position) {
            return None;
        }
        let (offset, data) = first.remove_entry();
        self.bytes -= data.len() as u64;
        self.give_back();
        Some((offset, data))
    }

    fn put_back(&mut self, offset: u64, data: Bytes) {
        self.bytes += data.len() as u64;
        self.waiting.insert(offset, data);
    }

    fn give_back(&mut self) {
        if self.waiting.is_empty() {
            self.hold = None;
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn writes_come_out_in_order_and_the_later_one_wins() {
        let budget = Budget::new(0);
        let mut window = Reorder::default();
        window.keep(&budget, 0, 10, Bytes::from_static(b"aaaaaaaa")).unwrap();
        window.keep(&budget, 0, 20, Bytes::from_static(b"bb")).unwrap();
        window.keep(&budget, 0, 12, Bytes::from_static(b"cc")).unwrap();
        assert_eq!((window.start(), window.end()), (Some(10), 22));
        window.forget(16, 21);
        assert_eq!(window.take_first(Some(9)), None);
        let mut all = Vec::new();
        while let Some((offset, data)) = window.take_first(None) {
            all.push((offset, String::from_utf8(data.to_vec()).unwrap()));
        }
        assert_eq!(all, [(10, "aa".into()), (12, "cc".into()), (14, "aa".into()), (21, "b".into())]);
        assert_eq!(budget.free(), budget.total());
    }

    #[test]
    fn the_window_is_bounded_in_distance_number_and_memory() {
        let budget = Budget::new(0);
        let mut window = Reorder::default();
        assert!(window.keep(&budget, 5, 5 + WINDOW, Bytes::from_static(b"x")).is_err());
        assert!(window.keep(&budget, 5, 4 + WINDOW, Bytes::from_static(b"x")).is_ok());
        let spent = budget.try_rest(8 << 20);
        assert!(spent.is_none());
        let _spent = budget.try_rest((8 << 20) - 1024).unwrap();
        assert!(window.keep(&budget, 5, 100, Bytes::from(vec![0; 100_000])).is_err());
        let mut window = Reorder::default();
        let budget = Budget::new(0);
        for index in 0..MOST_WRITES as u64 {
            window.keep(&budget, 0, 1 + 2 * index, Bytes::from_static(b"x")).unwrap();
        }
        assert!(window.keep(&budget, 0, 1_000_000, Bytes::from_static(b"x")).is_err());
    }
}
