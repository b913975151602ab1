//! How large the parts of an upload are.

use crate::stores::PartLimits;

const KIB: u64 = 1024;
const MIB: u64 = 1024 * KIB;

/// Parts smaller than this are not worth a request, even where a store takes them.
const WORTH_A_REQUEST: u64 = 64 * KIB;

/// The largest first part that is chosen to make a store's largest object fit.
const LARGEST_FIRST: u64 = 16 * MIB;

/// Sizes of the parts of one upload, whose length nobody knows beforehand.
///
/// A part is a thousandth of what was sent before it (for 10,000 parts), but at least the first part's size. So a thousand
/// parts have the first size and from there the object grows by the factor e every thousand parts: 5 MiB × 1,000 × e⁹ is more
/// than 5 TB, while a file of 20 GiB still travels in parts of 20 MiB.
#[derive(Debug, Clone, Copy)]
pub(super) struct Plan {
    first: u64,
    largest: u64,
    /// The part's size is what was sent divided by this.
    divisor: u64,
    equal: bool,
}

impl Plan {
    /// The plan for a store whose parts may take at most `memory` bytes each.
    pub(super) fn new(limits: &PartLimits, memory: u64) -> Self {
        let divisor = (limits.most_parts / 10).max(1);
        // e⁹ is 8,103; 8,000 leaves room for the rounding.
        let needed = (limits.largest_object / divisor / 8000).min(LARGEST_FIRST);
        let smallest = limits.smallest_part.max(WORTH_A_REQUEST).min(limits.largest_part);
        let largest = limits.largest_part.min(memory).max(smallest);
        let mut first = smallest.max(needed).min(largest);
        if limits.equal_parts {
            let enough = limits.largest_object.div_ceil(limits.most_parts.max(1)).div_ceil(MIB) * MIB;
            first = first.max(enough.min(memory / 4)).min(largest);
        }
        Plan { first, largest, divisor, equal: limits.equal_parts }
    }

    /// The size of the part that follows when `sent` bytes were sent.
    pub(super) fn size(&self, sent: u64) -> u64 {
        if self.equal {
            return self.first;
        }
        let grown = (sent / self.divisor).div_ceil(MIB) * MIB;
        if sent / self.divisor <= self.first { self.first } else { grown.clamp(self.first, self.largest) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GIB: u64 = 1024 * MIB;
    const S3: PartLimits = PartLimits {
        smallest_part: 5 * MIB,
        largest_part: 5 * GIB,
        most_parts: 10_000,
        largest_object: 5 * 1024 * GIB,
        equal_parts: false,
    };

    fn most(limits: &PartLimits, memory: u64) -> u64 {
        let plan = Plan::new(limits, memory);
        let mut sent = 0;
        for index in 0..limits.most_parts {
            let size = plan.size(sent);
            assert!(size >= limits.smallest_part && size <= limits.largest_part, "part {index} has {size}");
            assert!(size <= memory.max(limits.smallest_part), "part {index} has {size}");
            sent += size;
        }
        sent
    }

    #[test]
    fn five_terabytes_fit_in_ten_thousand_parts() {
        assert!(most(&S3, u64::MAX) >= S3.largest_object);
        // With `transfer_memory: 2GiB` a part may have one GiB.
        assert!(most(&S3, GIB) >= 5_000_000_000_000 * 99 / 100);
    }

    /// A sentence of docs/SEMANTICS.md.
    #[test]
    fn it_may_be_smaller_with_little_memory_because_a_part_has_to_fit_at_least_1_tib() {
        let with = |memory: u64| most(&S3, super::super::super::budget::Budget::new(memory).largest_part());
        assert!(with(512 * MIB) >= 1024 * GIB);
        // The least that the configuration allows, and the whole.
        assert!((50 * GIB..1024 * GIB).contains(&with(16 * MIB)), "{}", with(16 * MIB) / GIB);
        assert!(with(16 * GIB) >= S3.largest_object);
    }

    /// A sentence of docs/SEMANTICS.md.
    #[test]
    fn the_parts_grow_with_the_file() {
        let plan = Plan::new(&S3, 256 * MIB);
        let sizes: Vec<u64> = [0, 20 * GIB, 100 * GIB, 1024 * GIB].map(|sent| plan.size(sent)).into();
        assert!(sizes.windows(2).all(|pair| pair[0] < pair[1]), "{sizes:?}");
    }

    #[test]
    fn parts_stay_small_while_the_file_is_small() {
        let plan = Plan::new(&S3, u64::MAX);
        assert_eq!(plan.size(0), 5 * MIB);
        assert_eq!(plan.size(5 * GIB), 6 * MIB);
        assert_eq!(plan.size(4 * GIB), 5 * MIB);
        assert_eq!(plan.size(20 * GIB), 21 * MIB);
    }

    #[test]
    fn equal_parts_are_equal_and_reach_the_largest_object_where_memory_allows() {
        let r2 = PartLimits { equal_parts: true, ..S3 };
        let plan = Plan::new(&r2, u64::MAX);
        assert_eq!(plan.size(0), plan.size(4 * 1024 * GIB));
        assert!(most(&r2, u64::MAX) >= r2.largest_object);
        assert_eq!(Plan::new(&r2, 64 * MIB).size(0), 16 * MIB);
        assert_eq!(Plan::new(&r2, 8 * MIB).size(0), 5 * MIB);
    }

    #[test]
    fn other_stores_limits_hold_too() {
        let azure = PartLimits {
            smallest_part: 1,
            largest_part: 4000 * MIB,
            most_parts: 50_000,
            largest_object: 50_000 * 4000 * MIB,
            equal_parts: false,
        };
        // Only parts of the largest size from the first on would reach Azure's 190 TiB.
        assert!(most(&azure, u64::MAX) >= 50 * 1024 * GIB);
        let local = PartLimits {
            smallest_part: 1,
            largest_part: i64::MAX as u64,
            most_parts: u64::MAX,
            largest_object: i64::MAX as u64,
            equal_parts: false,
        };
        let plan = Plan::new(&local, 256 * MIB);
        assert_eq!(plan.size(0), WORTH_A_REQUEST);
        let strange =
            PartLimits { smallest_part: 0, largest_part: 0, most_parts: 0, largest_object: 0, equal_parts: true };
        assert_eq!(Plan::new(&strange, 0).size(0), 0);
    }
}
