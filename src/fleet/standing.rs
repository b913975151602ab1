//! Whether a gateway is alone, since when and why.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use crate::session::Standing;

/// How a gateway stands to its fleet.
#[derive(Debug)]
pub(super) struct StandingNow {
    state: Mutex<State>,
    tampered: AtomicU64,
}

#[derive(Debug, Clone)]
struct State {
    /// Why it is alone, if it is.
    alone: Option<String>,
    since: SystemTime,
    /// The trail knows of it.
    is_told: bool,
}

/// What became known with a change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Change {
    /// Nothing that was not known.
    None,
    /// It is alone: for the log and the trail.
    Alone,
    /// It is together with the others: for the log.
    Together,
    /// The same, after the trail was told that it is alone.
    TogetherAgain,
}

impl Default for StandingNow {
    fn default() -> Self {
        let state =
            State { alone: Some("it was not reached yet".to_owned()), since: SystemTime::now(), is_told: false };
        StandingNow { state: Mutex::new(state), tampered: AtomicU64::new(0) }
    }
}

impl StandingNow {
    pub(super) fn now(&self, fleet: &str) -> Standing {
        let State { alone, since, .. } = self.lock().clone();
        Standing { fleet: fleet.to_owned(), alone, since, tampered: self.tampered.load(Ordering::Relaxed) }
    }

    pub(super) fn add_tampering(&self, times: u64) {
        self.tampered.fetch_add(times, Ordering::Relaxed);
    }

    /// The connection is lost; a new one may follow immediately.
    pub(super) fn lost(&self, why: &str) {
        let mut state = self.lock();
        if state.alone.is_none() {
            *state = State { alone: Some(why.to_owned()), since: SystemTime::now(), is_told: false };
        }
    }

    /// Redis could not be reached.
    pub(super) fn failed(&self, why: &str) -> Change {
        let mut state = self.lock();
        if state.alone.is_none() {
            state.since = SystemTime::now();
        }
        state.alone = Some(why.to_owned());
        if std::mem::replace(&mut state.is_told, true) { Change::None } else { Change::Alone }
    }

    /// All that this gateway has is known to the others, and the other way round.
    pub(super) fn joined(&self) -> Change {
        let mut state = self.lock();
        let before = std::mem::replace(&mut *state, State { alone: None, since: SystemTime::now(), is_told: false });
        match (before.alone, before.is_told) {
            (None, _) => Change::None,
            (Some(_), false) => Change::Together,
            (Some(_), true) => Change::TogetherAgain,
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn being_alone_is_told_once_and_so_is_its_end() {
        let standing = StandingNow::default();
        assert!(standing.now("prod").alone.is_some());
        assert_eq!(standing.joined(), Change::Together, "at the start nobody was told");
        assert_eq!(standing.now("prod").alone, None);
        standing.lost("a reset");
        assert_eq!(standing.now("prod").alone.as_deref(), Some("a reset"));
        assert_eq!(standing.joined(), Change::Together, "it came back immediately");
        standing.lost("a reset");
        assert_eq!(standing.failed("refused"), Change::Alone);
        assert_eq!(standing.failed("no route"), Change::None);
        assert_eq!(standing.now("prod").alone.as_deref(), Some("no route"));
        assert_eq!(standing.joined(), Change::TogetherAgain);
        assert_eq!(standing.joined(), Change::None);
    }
}
