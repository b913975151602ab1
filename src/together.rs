//! Several futures in one task.
//!
//! What belongs together, such as the reader of a channel, its open files and its sender, passes work on many times for each
//! request. In tasks of their own, each pass may wake another thread of the runtime, which takes the next task over from the
//! one that is warm: of all that a small file costs, that was a quarter. In one task, a pass costs a call.
//!
//! `join!`, `select!` and [`futures_util::stream::FuturesUnordered`] bring futures into one task. Yet each time that one of
//! them wakes another, they wake the task, which is running: the runtime then puts it at the end of its queue, and wakes a
//! thread for that. [`together`] keeps such wakes to itself, and polls once more instead.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use futures_util::task::AtomicWaker;
use tokio::task::coop::has_budget_remaining;

/// How often it is polled before other tasks have their turn.
const MOST_POLLS: usize = 16;

/// Nothing is to be done until it is woken.
const WAITS: u8 = 0;
/// It is being polled, and was not woken since that began.
const RUNS: u8 = 1;
/// It is to be polled once more: by who polls it, or by the task, which has been woken.
const WOKEN: u8 = 2;

/// Runs futures that wake one another in the task that polls this. `work` is where they are joined.
pub fn together<F: Future>(work: F) -> Together<F> {
    let wakes = Arc::new(Wakes { state: AtomicU8::new(WOKEN), task: AtomicWaker::new() });
    Together { work: Box::pin(work), waker: Waker::from(Arc::clone(&wakes)), wakes }
}

/// What [`together`] returns.
#[derive(Debug)]
#[must_use = "it does nothing unless it is polled"]
pub struct Together<F> {
    work: Pin<Box<F>>,
    wakes: Arc<Wakes>,
    /// Of `wakes`.
    waker: Waker,
}

#[derive(Debug)]
struct Wakes {
    state: AtomicU8,
    task: AtomicWaker,
}

impl Wake for Wakes {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if self.state.swap(WOKEN, Ordering::AcqRel) == WAITS {
            self.task.wake();
        }
    }
}

impl<F: Future> Future for Together<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let Together { work, wakes, waker } = &mut *self;
        wakes.task.register(cx.waker());
        for _ in 0..MOST_POLLS {
            // Takes over what was done before the wakes so far.
            wakes.state.swap(RUNS, Ordering::AcqRel);
            if let Poll::Ready(result) = work.as_mut().poll(&mut Context::from_waker(waker)) {
                return Poll::Ready(result);
            }
            let rests = wakes.state.compare_exchange(RUNS, WAITS, Ordering::AcqRel, Ordering::Acquire);
            if rests.is_ok() {
                return Poll::Pending;
            }
            // Without any, whoever is polled asks for another turn and does nothing.
            if !has_budget_remaining() {
                break;
            }
        }
        // The state stays: the task has been told, and is not told again.
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::future::poll_fn;
    use std::sync::atomic::AtomicUsize;
    use std::time::Duration;

    use tokio::sync::mpsc;
    use tokio::time::timeout;

    use super::*;

    /// Far more than anything here takes.
    const LIMIT: Duration = Duration::from_secs(30);

    /// Counts how often the task is woken.
    #[derive(Default)]
    struct Count(AtomicUsize);

    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }

    impl Count {
        fn get(&self) -> usize {
            self.0.load(Ordering::SeqCst)
        }
    }

    /// A message that goes round so many times between two futures, each of which wakes the other.
    async fn to_and_fro(times: usize) -> usize {
        let (there, mut here) = mpsc::unbounded_channel();
        let (back, mut again) = mpsc::unbounded_channel();
        let echo = async move {
            while let Some(n) = here.recv().await {
                let _: Result<(), _> = back.send(n);
            }
        };
        let ask = async move {
            let mut done = 0;
            while done < times && there.send(done).is_ok() {
                done = again.recv().await.unwrap_or(0) + 1;
            }
            done
        };
        tokio::join!(ask, echo).0
    }

    #[test]
    fn futures_that_wake_one_another_do_not_wake_the_task() {
        let count = Arc::new(Count::default());
        let waker = Waker::from(Arc::clone(&count));
        let mut work = Box::pin(together(to_and_fro(MOST_POLLS / 4)));
        assert_eq!(work.as_mut().poll(&mut Context::from_waker(&waker)), Poll::Ready(MOST_POLLS / 4));
        assert_eq!(count.get(), 0);
    }

    #[test]
    fn others_have_their_turn_and_the_task_goes_on_then() {
        let count = Arc::new(Count::default());
        let waker = Waker::from(Arc::clone(&count));
        let polls = Arc::new(AtomicUsize::new(0));
        let seen = Arc::clone(&polls);
        // Has always more to do.
        let mut work = Box::pin(together(poll_fn(move |cx| {
            seen.fetch_add(1, Ordering::SeqCst);
            cx.waker().wake_by_ref();
            Poll::<()>::Pending
        })));
        for turn in 1..4 {
            assert!(work.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
            assert_eq!((polls.load(Ordering::SeqCst), count.get()), (turn * MOST_POLLS, turn));
        }
    }

    #[test]
    fn a_wake_from_outside_wakes_the_task_once() {
        let count = Arc::new(Count::default());
        let waker = Waker::from(Arc::clone(&count));
        let (sender, mut receiver) = mpsc::unbounded_channel();
        let mut work = Box::pin(together(async move { (receiver.recv().await, receiver.recv().await) }));
        let mut poll = || work.as_mut().poll(&mut Context::from_waker(&waker));
        assert!(poll().is_pending());
        assert_eq!(count.get(), 0);
        sender.send(1).unwrap();
        assert_eq!(count.get(), 1);
        assert!(poll().is_pending());
        sender.send(2).unwrap();
        assert_eq!(count.get(), 2);
        assert_eq!(poll(), Poll::Ready((Some(1), Some(2))));
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn no_wake_from_another_thread_is_lost() {
        let (there, mut here) = mpsc::channel(1);
        let (back, mut again) = mpsc::channel(1);
        let echo = tokio::spawn(async move {
            while let Some(n) = here.recv().await {
                if back.send(n).await.is_err() {
                    return;
                }
            }
        });
        let asking = tokio::spawn(together(async move {
            for n in 0..20_000 {
                // A round within, so that wakes from outside meet every state.
                to_and_fro(n % 3).await;
                there.send(n).await.unwrap();
                assert_eq!(again.recv().await, Some(n));
            }
        }));
        timeout(LIMIT, asking).await.unwrap().unwrap();
        timeout(LIMIT, echo).await.unwrap().unwrap();
    }

    #[tokio::test]
    async fn a_task_that_always_has_more_to_do_lets_others_run() {
        let (sender, mut receiver) = mpsc::unbounded_channel();
        let busy = tokio::spawn(together(async move {
            loop {
                to_and_fro(100).await;
                if sender.send(()).is_err() {
                    return;
                }
            }
        }));
        for _ in 0..3 {
            timeout(LIMIT, receiver.recv()).await.unwrap().unwrap();
        }
        drop(receiver);
        timeout(LIMIT, busy).await.unwrap().unwrap();
    }
}
