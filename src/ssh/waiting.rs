//! Whether a client waits for the gateway: for the directory of users, or for its turn to have a password checked. What becomes of its
//! time to log in meanwhile is not its fault.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// An answer that takes so long is late. Nobody makes one late by sending an attempt in the last moment.
const LATE: Duration = Duration::from_secs(1);

/// Since when a client waits.
#[derive(Debug, Default)]
pub(super) struct Waiting(Mutex<Option<Instant>>);

impl Waiting {
    /// Waits for an answer. When the wait is dropped, the client is left waiting.
    pub(super) async fn during<T>(&self, answer: impl Future<Output = T>) -> T {
        self.set(Some(Instant::now()));
        let answer = answer.await;
        self.set(None);
        answer
    }

    /// Whether the client has waited for too long, and still does.
    pub(super) fn is_late(&self) -> bool {
        self.is_late_at(Instant::now())
    }

    fn is_late_at(&self, now: Instant) -> bool {
        let since = *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        since.is_some_and(|since| now.saturating_duration_since(since) >= LATE)
    }

    /// One that has waited for too long.
    #[cfg(test)]
    pub(super) fn late() -> Self {
        Waiting(Mutex::new(Instant::now().checked_sub(LATE)))
    }

    fn set(&self, since: Option<Instant>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = since;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_answer_that_does_not_come_is_late_after_a_while() {
        let (waiting, now) = (Waiting::default(), Instant::now());
        assert!(!waiting.is_late_at(now + 10 * LATE), "nobody waits");
        assert_eq!(waiting.during(async { 7 }).await, 7);
        assert!(!waiting.is_late_at(now + 10 * LATE), "it has come");
        let answer = tokio::time::timeout(Duration::from_millis(1), waiting.during(std::future::pending::<()>()));
        assert!(answer.await.is_err());
        assert!(!waiting.is_late_at(now), "no time has passed");
        assert!(waiting.is_late_at(now + 10 * LATE));
    }
}
