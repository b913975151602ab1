//! A gate that stops one of the steps that pass it, so that a test may do something in just that moment.

use std::sync::{Mutex, PoisonError};

use tokio::sync::oneshot;

/// The gate. Open, unless a test waits for a step.
#[derive(Debug, Default)]
pub struct Gate(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    /// How many steps are to pass before the one that is stopped, and who waits for it.
    awaited: Option<(u64, oneshot::Sender<Held>)>,
    passed: u64,
}

/// A step that is stopped. It goes on when this is dropped.
#[derive(Debug)]
pub struct Held {
    /// What the step is.
    pub what: String,
    _go_on: oneshot::Sender<()>,
}

impl Gate {
    /// Stops the `n`-th step from now, counted from 1.
    pub fn hold(&self, n: u64) -> oneshot::Receiver<Held> {
        let (reached, wait) = oneshot::channel();
        self.state().awaited = Some((n, reached));
        wait
    }

    /// How many steps passed so far.
    pub fn passed(&self) -> u64 {
        self.state().passed
    }

    /// A step comes to the gate.
    pub async fn pass(&self, what: &str) {
        let stopped = {
            let mut state = self.state();
            state.passed += 1;
            match &mut state.awaited {
                Some((n, _)) if *n > 1 => {
                    *n -= 1;
                    None
                }
                awaited => awaited.take(),
            }
        };
        let Some((_, reached)) = stopped else { return };
        let (go_on, wait) = oneshot::channel();
        // A test that waits no longer lets everything pass.
        if reached.send(Held { what: what.to_owned(), _go_on: go_on }).is_ok() {
            let _ = wait.await;
        }
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
