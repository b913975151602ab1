//! The memory that all transfers of the process share.
//!
//! Memory is held in one of two ways. *Resting* memory waits for a client: a part that fills, blocks read ahead, writes
//! out of order. *Moving* memory is on its way to a store and is given back without any client's help, because requests
//! end. Resting memory is only ever tried for, never waited for, and is at most half of the budget. Whoever waits waits for
//! moving memory, at most half of the budget at once; so every wait ends, whatever the clients do.

use std::fmt;
use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Memory is counted in units of this many bytes.
const UNIT: u64 = 1024;

/// The smallest budget: below it not even one part of S3's smallest size (5 MiB) could fill while another is sent.
const SMALLEST: u64 = 16 << 20;

/// The process-wide budget of transfer memory.
#[derive(Debug)]
pub(super) struct Budget {
    all: Arc<Semaphore>,
    resting: Arc<Semaphore>,
    units: u32,
}

impl Budget {
    /// A budget of `bytes`; at least 16 MiB.
    pub(super) fn new(bytes: u64) -> Arc<Self> {
        // `acquire_many` counts in u32: 4 TiB in these units.
        let units = u32::try_from(bytes.max(SMALLEST) / UNIT).unwrap_or(u32::MAX);
        Arc::new(Budget {
            all: Arc::new(Semaphore::new(units as usize)),
            resting: Arc::new(Semaphore::new(units as usize / 2)),
            units,
        })
    }

    /// The most that one part of an upload may take: what is sure to become free.
    pub(super) fn largest_part(&self) -> u64 {
        u64::from(self.units) * UNIT / 2
    }

    /// The most that one reader may hold.
    pub(super) fn share_of_a_reader(&self) -> u64 {
        u64::from(self.units) * UNIT / 8
    }

    /// Takes resting memory if it is free now.
    pub(super) fn try_rest(&self, bytes: u64) -> Option<Hold> {
        let units = self.in_units(bytes);
        let resting = Arc::clone(&self.resting).try_acquire_many_owned(units).ok()?;
        let all = Arc::clone(&self.all).try_acquire_many_owned(units).ok()?;
        Some(Hold { all, resting: Some(resting) })
    }

    /// Makes `hold` cover at least `bytes` of resting memory if that much is free now.
    pub(super) fn try_grow(&self, hold: &mut Option<Hold>, bytes: u64) -> bool {
        let held = hold.as_ref().map_or(0, Hold::bytes);
        if held >= bytes {
            return true;
        }
        let Some(more) = self.try_rest(bytes - held) else { return false };
        match hold {
            Some(hold) => hold.merge(more),
            None => *hold = Some(more),
        }
        true
    }

    /// Waits for moving memory. The caller holds no resting memory that this wait could be waiting for; see the module.
    pub(super) async fn take_to_move(&self, bytes: u64) -> Option<Hold> {
        let units = self.in_units(bytes);
        // The semaphore is never closed; were it, going on uncounted would be better than failing the transfer.
        let all = Arc::clone(&self.all).acquire_many_owned(units).await.ok()?;
        Some(Hold { all, resting: None })
    }

    fn in_units(&self, bytes: u64) -> u32 {
        u32::try_from(bytes.div_ceil(UNIT)).unwrap_or(u32::MAX).min(self.units)
    }

    /// Bytes that somebody holds.
    pub(super) fn in_use(&self) -> u64 {
        (u64::from(self.units) - self.all.available_permits() as u64) * UNIT
    }

    /// Bytes that nobody holds.
    #[cfg(test)]
    pub(super) fn free(&self) -> u64 {
        self.all.available_permits() as u64 * UNIT
    }

    /// All bytes.
    #[cfg(test)]
    pub(super) fn total(&self) -> u64 {
        u64::from(self.units) * UNIT
    }
}

/// Memory that somebody holds; dropping it gives it back.
pub(super) struct Hold {
    all: OwnedSemaphorePermit,
    resting: Option<OwnedSemaphorePermit>,
}

impl Hold {
    /// How much.
    pub(super) fn bytes(&self) -> u64 {
        self.all.num_permits() as u64 * UNIT
    }

    /// From now on the memory moves: it is given back without a client's help.
    pub(super) fn start_moving(&mut self) {
        self.resting = None;
    }

    fn merge(&mut self, other: Hold) {
        self.all.merge(other.all);
        match (&mut self.resting, other.resting) {
            (Some(mine), Some(more)) => mine.merge(more),
            (mine @ None, more) => *mine = more,
            (Some(_), None) => {}
        }
    }
}

impl fmt::Debug for Hold {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Hold({} bytes)", self.bytes())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    #[tokio::test]
    async fn resting_memory_is_half_and_moving_memory_is_all() {
        let budget = Budget::new(32 * MIB);
        let rest = budget.try_rest(16 * MIB).unwrap();
        assert!(budget.try_rest(1).is_none());
        let moving = budget.take_to_move(16 * MIB).await.unwrap();
        assert_eq!(budget.free(), 0);
        drop((rest, moving));
        assert_eq!(budget.free(), budget.total());
    }

    #[tokio::test]
    async fn memory_that_starts_to_move_makes_room_to_rest() {
        let budget = Budget::new(32 * MIB);
        let mut hold = None;
        assert!(budget.try_grow(&mut hold, 10 * MIB));
        assert!(budget.try_grow(&mut hold, 16 * MIB));
        assert!(!budget.try_grow(&mut hold, 17 * MIB));
        let mut hold = hold.unwrap();
        assert_eq!(hold.bytes(), 16 * MIB);
        hold.start_moving();
        assert!(budget.try_rest(16 * MIB).is_some());
        assert!(budget.try_rest(16 * MIB + 1).is_none());
    }

    #[tokio::test]
    async fn more_than_everything_waits_for_everything_only() {
        let budget = Budget::new(0);
        assert_eq!(budget.total(), SMALLEST);
        let hold = budget.take_to_move(u64::MAX).await.unwrap();
        assert_eq!(hold.bytes(), SMALLEST);
    }

    /// What transfers do with the budget, one after the other.
    #[derive(Debug, Clone, Copy)]
    enum Step {
        Rest(u64),
        GrowTo(u64),
        StartMoving,
        Wait(u64),
        GiveBackResting,
        RequestsEnd,
    }

    const STEPS: [Step; 7] = [
        Step::Rest(3 * MIB),
        Step::Rest(5 * MIB),
        Step::GrowTo(7 * MIB),
        Step::StartMoving,
        Step::Wait(8 * MIB),
        Step::GiveBackResting,
        Step::RequestsEnd,
    ];

    /// Who holds what, and who waits.
    #[derive(Default)]
    struct World {
        resting: Vec<Option<Hold>>,
        moving: Vec<Hold>,
        waiting: Vec<futures_util::future::BoxFuture<'static, Option<Hold>>>,
    }

    impl World {
        fn take(&mut self, step: Step, budget: &Arc<Budget>) {
            match step {
                Step::Rest(bytes) => self.resting.extend(budget.try_rest(bytes).map(Some)),
                Step::GrowTo(bytes) => {
                    if let Some(hold) = self.resting.last_mut() {
                        budget.try_grow(hold, bytes);
                    }
                }
                Step::StartMoving => {
                    if let Some(mut hold) = self.resting.pop().flatten() {
                        hold.start_moving();
                        self.moving.push(hold);
                    }
                }
                Step::Wait(bytes) => {
                    let budget = Arc::clone(budget);
                    self.waiting.push(Box::pin(async move { budget.take_to_move(bytes).await }));
                }
                Step::GiveBackResting => drop(self.resting.pop()),
                Step::RequestsEnd => self.moving.clear(),
            }
            self.poll();
        }

        fn poll(&mut self) {
            use std::task::{Context, Poll, Waker};
            let mut context = Context::from_waker(Waker::noop());
            let moving = &mut self.moving;
            self.waiting.retain_mut(|wait| match wait.as_mut().poll(&mut context) {
                Poll::Ready(hold) => {
                    moving.extend(hold);
                    false
                }
                Poll::Pending => true,
            });
        }

        fn held(&self) -> (u64, u64) {
            let resting: u64 = self.resting.iter().flatten().map(Hold::bytes).sum();
            (resting, self.moving.iter().map(Hold::bytes).sum())
        }
    }

    /// Every order of so many steps: nothing is lost or given twice, and every wait ends once requests do, though those that rest
    /// never give anything back.
    #[test]
    fn in_every_order_of_steps_every_wait_ends() {
        let length = 6;
        for number in 0..STEPS.len().pow(length) {
            let budget = Budget::new(SMALLEST);
            let mut world = World::default();
            let mut order = Vec::new();
            for place in 0..length {
                let step = STEPS[number / STEPS.len().pow(place) % STEPS.len()];
                order.push(step);
                world.take(step, &budget);
                let (resting, moving) = world.held();
                assert!(resting <= budget.total() / 2 && resting + moving <= budget.total(), "{order:?}");
                // Memory that a waiter has been given part of counts as taken.
                assert!(!world.waiting.is_empty() || resting + moving + budget.free() == budget.total(), "{order:?}");
            }
            for _ in 0..=length {
                world.take(Step::RequestsEnd, &budget);
            }
            assert!(world.waiting.is_empty(), "somebody waits for good after {order:?}");
            drop(world);
            assert_eq!(budget.free(), budget.total(), "{order:?}");
        }
    }
}
