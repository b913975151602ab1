//! What a connection inside another one keeps of what its client sends while it takes no answers.
//!
//! What lies there is mostly requests: of the size that clients send ahead, more than ten thousand for each MiB.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// What each has for itself, in bytes. Before its login it has no more.
pub(super) const OWN: usize = 256 * 1024;

/// What all inside one connection may have beyond that together, in bytes. The memory for it may be twice as large, since buffers grow by
/// doubling.
const TOGETHER: usize = 32 * 1024 * 1024;

/// By so much the share of one grows at once.
const STEP: u32 = 64 * 1024;

/// What all connections inside another one have together.
#[derive(Debug, Clone)]
pub(super) struct Budget(Arc<Semaphore>);

impl Default for Budget {
    fn default() -> Self {
        Budget(Arc::new(Semaphore::new(TOGETHER)))
    }
}

/// The share of one connection.
#[derive(Debug)]
pub(super) struct Ahead {
    budget: Budget,
    taken: Option<OwnedSemaphorePermit>,
}

impl Ahead {
    pub(super) fn new(budget: Budget) -> Ahead {
        Ahead { budget, taken: None }
    }

    /// How many bytes may wait, if `waiting` do now: more, if there is more to be had.
    pub(super) fn most(&mut self, waiting: usize, has_logged_in: bool) -> usize {
        if waiting >= self.share()
            && has_logged_in
            && let Ok(more) = Arc::clone(&self.budget.0).try_acquire_many_owned(STEP)
        {
            match &mut self.taken {
                Some(taken) => taken.merge(more),
                None => self.taken = Some(more),
            }
        }
        self.share()
    }

    /// Gives back what it has beyond its own, when nothing waits any more; whether that was anything.
    pub(super) fn release(&mut self) -> bool {
        self.taken.take().is_some()
    }

    fn share(&self) -> usize {
        OWN + self.taken.as_ref().map_or(0, OwnedSemaphorePermit::num_permits)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_has_not_logged_in_has_its_own_and_others_share_one_budget() {
        let budget = Budget::default();
        let (mut one, mut other) = (Ahead::new(budget.clone()), Ahead::new(budget));
        assert_eq!(one.most(OWN, false), OWN);
        let mut waiting = 0;
        while waiting < one.most(waiting, true) {
            waiting = one.most(waiting, true);
        }
        assert_eq!(waiting, OWN + TOGETHER);
        assert_eq!((other.most(0, true), other.most(OWN, true)), (OWN, OWN), "nothing is left");
        assert!(one.release() && !one.release());
        assert!(other.most(OWN, true) > OWN);
    }
}
