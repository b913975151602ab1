//! Tasks that end with their owner.

use std::future::Future;

use tokio::task::{JoinError, JoinHandle};

use crate::stores::{StoreError, StoreErrorKind, StoreResult};

/// A task that is cancelled when this is dropped.
#[derive(Debug)]
pub(super) struct Task<T>(JoinHandle<StoreResult<T>>);

impl<T: Send + 'static> Task<T> {
    /// Starts it.
    pub(super) fn spawn(work: impl Future<Output = StoreResult<T>> + Send + 'static) -> Self {
        Task(tokio::spawn(work))
    }

    /// Whether its result is there.
    pub(super) fn is_finished(&self) -> bool {
        self.0.is_finished()
    }

    /// Waits for its result. Dropping the wait loses nothing; a result is given once.
    pub(super) async fn result(&mut self) -> StoreResult<T> {
        joined((&mut self.0).await)
    }
}

impl<T> Drop for Task<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// The result of a task; one that ended without any is an error of ours.
pub(super) fn joined<T>(result: Result<StoreResult<T>, JoinError>) -> StoreResult<T> {
    result.unwrap_or_else(|error| Err(lost(error)))
}

/// The error of a task that ended without a result.
pub(super) fn lost(error: JoinError) -> StoreError {
    StoreError::with_source(StoreErrorKind::Other, "a task of the gateway ended without a result", error)
}
