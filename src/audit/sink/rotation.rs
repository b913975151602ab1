//! When a file ends: the sink says from when on, the keeper of the checkpoints asks.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::Notify;

/// After this the wish is taken up again: what was to end the file was lost, or the file could not be ended.
const AGAIN: Duration = Duration::from_secs(60);

/// The wish of a sink to begin a new file.
#[derive(Debug, Default)]
pub(in crate::audit) struct Rotation {
    wish: Mutex<Wish>,
}

#[derive(Debug, Default)]
struct Wish {
    /// From when on.
    due: Option<Instant>,
    /// When it was taken up.
    taken: Option<Instant>,
    keeper: Option<Arc<Notify>>,
}

impl Rotation {
    /// From now on `keeper` is told when the wish changes.
    pub(in crate::audit) fn tell(&self, keeper: Arc<Notify>) {
        self.lock().keeper = Some(keeper);
    }

    /// When to ask next.
    pub(in crate::audit) fn due(&self) -> Option<Instant> {
        self.lock().due()
    }

    /// Whether a new file ought to begin now; the next such answer comes after the new file, or after a while.
    pub(in crate::audit) fn take_if_due(&self, now: Instant) -> bool {
        let mut wish = self.lock();
        let is_due = wish.due().is_some_and(|due| due <= now);
        if is_due {
            wish.taken = Some(now);
        }
        is_due
    }

    /// The file that is written now ought to end at `due`.
    pub(super) fn wish(&self, due: Option<Instant>) {
        let mut wish = self.lock();
        if wish.due != due {
            wish.due = due;
            if let Some(keeper) = &wish.keeper {
                keeper.notify_one();
            }
        }
    }

    /// Whether it is wished for already.
    pub(super) fn is_wished_by(&self, now: Instant) -> bool {
        self.lock().due.is_some_and(|due| due <= now)
    }

    /// Whether it is wished for about this time already.
    pub(super) fn is_about(&self, due: Instant) -> bool {
        const ABOUT: Duration = Duration::from_secs(1);
        let wished = self.lock().due;
        wished.is_some_and(|wished| wished.max(due).duration_since(wished.min(due)) < ABOUT)
    }

    /// A new file has begun.
    pub(super) fn begun(&self) {
        let mut wish = self.lock();
        (wish.due, wish.taken) = (None, None);
    }

    fn lock(&self) -> MutexGuard<'_, Wish> {
        self.wish.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Wish {
    fn due(&self) -> Option<Instant> {
        let again = self.taken.map(|taken| taken + AGAIN);
        self.due.map(|due| again.map_or(due, |again| again.max(due)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wish_is_taken_up_once_until_it_is_fulfilled_or_forgotten() {
        let (rotation, now) = (Rotation::default(), Instant::now());
        assert!(!rotation.take_if_due(now));
        rotation.wish(Some(now + AGAIN / 2));
        assert!(!rotation.take_if_due(now));
        assert!(rotation.take_if_due(now + AGAIN / 2));
        assert!(!rotation.take_if_due(now + AGAIN));
        assert!(rotation.take_if_due(now + 2 * AGAIN), "it was not fulfilled");
        rotation.begun();
        assert_eq!(rotation.due(), None);
        rotation.wish(Some(now));
        assert!(rotation.take_if_due(now));
    }
}
