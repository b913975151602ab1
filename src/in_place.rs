//! Blocking work that is done in the task that asks for it, as long as it is quick.
//!
//! A call of the file system takes a few microseconds when the system has at hand what it needs. To hand it to another thread
//! and to wait for the answer takes several times as long. But a disk may stall, and must not hold up the threads on which
//! everything else runs. So three things must hold before work is done in place: the last calls were quick; no other call is
//! done in place now, so that a disk that stops holds up one thread at most; and the runtime has more than one thread.
//! Everything else goes to a thread of its own, and is measured there, so that a fast disk earns its place and a slow one
//! loses it.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};

use tokio::runtime::Handle;

/// A call that takes no longer is quick: about what it costs to use another thread.
const QUICK: Duration = Duration::from_micros(200);
/// A call that takes longer is slow. A thread that lost its processor to another one may look like that now and then.
const SLOW: Duration = Duration::from_millis(2);
/// Points from which on work is done in place: so many more calls were quick than slow ones cost.
const EARNED: i32 = 16;
/// The most points that can be saved up.
const MOST: i32 = 64;
/// What a slow call costs.
const PENALTY: i32 = 24;

/// Whether work of one kind is done in place.
#[derive(Debug)]
pub struct InPlace {
    turn: Arc<AtomicBool>,
    points: AtomicI32,
}

/// The work panicked, or the runtime has ended.
#[derive(Debug, thiserror::Error)]
#[error("blocking work was cut off")]
pub struct CutOff;

impl Default for InPlace {
    fn default() -> Self {
        InPlace { turn: Arc::default(), points: AtomicI32::new(0) }
    }
}

impl InPlace {
    /// For what the gateway notes of itself, on the disks that the operator gave it: one note is made in place at a time in the whole process,
    /// so that such a disk holds up one thread at most when it stops.
    pub fn of_notes() -> InPlace {
        static TURN: LazyLock<Arc<AtomicBool>> = LazyLock::new(Arc::default);
        InPlace { turn: Arc::clone(&TURN), points: AtomicI32::new(0) }
    }

    /// For another kind of work on the same disk: one call of either kind is done in place at a time.
    #[must_use]
    pub fn beside(&self) -> InPlace {
        InPlace { turn: Arc::clone(&self.turn), points: AtomicI32::new(0) }
    }

    /// Leave to do one call in place; lasts until what this returns is dropped, which must not be kept across an await.
    pub fn enter(&self) -> Option<Stay<'_>> {
        if self.points.load(Ordering::Relaxed) < EARNED || !has_other_threads() {
            return None;
        }
        let is_free = self.turn.compare_exchange(false, true, Ordering::Acquire, Ordering::Relaxed).is_ok();
        is_free.then(|| Stay(self))
    }

    /// Does the work and judges how long it took.
    pub fn measure<T>(&self, work: impl FnOnce() -> T) -> T {
        let started = Instant::now();
        let result = work();
        self.judge(started.elapsed());
        result
    }

    /// Does the work here or on the blocking pool.
    ///
    /// # Errors
    /// When the work panics.
    pub async fn run<T: Send + 'static>(
        self: &Arc<Self>,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, CutOff> {
        if let Some(_stay) = self.enter() {
            return catch_unwind(AssertUnwindSafe(|| self.measure(work))).map_err(|_| CutOff);
        }
        let this = Arc::clone(self);
        tokio::task::spawn_blocking(move || this.measure(work)).await.map_err(|_| CutOff)
    }

    fn judge(&self, took: Duration) {
        let change = match took {
            took if took <= QUICK => 1,
            took if took > SLOW => -PENALTY,
            _ => return,
        };
        let points = self.points.load(Ordering::Relaxed);
        // Two calls that end at once may count as one: it is an estimate.
        self.points.store((points + change).clamp(-PENALTY, MOST), Ordering::Relaxed);
    }
}

/// Leave to do one call in place.
#[derive(Debug)]
pub struct Stay<'a>(&'a InPlace);

impl Drop for Stay<'_> {
    fn drop(&mut self) {
        self.0.turn.store(false, Ordering::Release);
    }
}

fn has_other_threads() -> bool {
    Handle::try_current().is_ok_and(|runtime| runtime.metrics().num_workers() > 1)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::thread::{self, ThreadId};

    use super::*;

    /// Work that was quick so often, whatever the machine does meanwhile.
    fn proven() -> Arc<InPlace> {
        let place = Arc::new(InPlace::default());
        for _ in 0..EARNED {
            place.judge(Duration::ZERO);
        }
        place
    }

    async fn place_of_work(place: &Arc<InPlace>) -> ThreadId {
        place.run(|| thread::current().id()).await.unwrap()
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn quick_work_is_done_in_place_and_slow_work_is_not() {
        tokio::spawn(async {
            let place = proven();
            assert_eq!(place_of_work(&place).await, thread::current().id());
            for _ in 0..MOST {
                place.judge(SLOW * 2);
            }
            assert_ne!(place_of_work(&place).await, thread::current().id());
            for _ in 0..2 * MOST {
                place.judge(Duration::ZERO);
            }
            assert_eq!(place_of_work(&place).await, thread::current().id(), "a disk may recover");
        })
        .await
        .unwrap();
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn what_is_not_known_yet_is_done_elsewhere() {
        tokio::spawn(async {
            assert_ne!(place_of_work(&Arc::default()).await, thread::current().id());
        })
        .await
        .unwrap();
    }

    #[tokio::test]
    async fn the_only_thread_of_a_runtime_is_never_held_up() {
        assert_ne!(place_of_work(&proven()).await, thread::current().id());
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_call_that_hangs_holds_up_one_thread() {
        tokio::spawn(async {
            let place = proven();
            let other = Arc::new(place.beside());
            (0..EARNED).for_each(|_| other.judge(Duration::ZERO));
            let hangs = place.enter().unwrap();
            assert!(place.enter().is_none() && other.enter().is_none());
            assert!(place.enter().is_none() && other.enter().is_none(), "who finds the turn taken leaves it taken");
            drop(hangs);
            assert!(other.enter().is_some());
        })
        .await
        .unwrap();
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_panic_is_an_error_and_gives_the_turn_back() {
        tokio::spawn(async {
            let place = proven();
            let panicked: Result<(), CutOff> = place.run(|| panic!("on purpose")).await;
            assert!(panicked.is_err());
            assert!(place.enter().is_some());
        })
        .await
        .unwrap();
    }
}
