//! How many calls of one store run at once: each has a few folders open on its way to a name, and those descriptors are not
//! anybody's in particular.

use tokio::sync::OwnedSemaphorePermit;

use super::root::Root;
use crate::stores::{StoreError, StoreErrorKind, StoreResult};

/// Leave to make one call. It goes with the call to the thread that makes it: who asked may not wait for its end.
#[derive(Debug)]
pub(super) struct Turn(OwnedSemaphorePermit);

impl Turn {
    /// Makes the call, and gives the leave back.
    pub(super) fn during<T>(self, call: impl FnOnce() -> T) -> T {
        let result = call();
        drop(self.0);
        result
    }
}

impl Root {
    /// Waits until one more call may be made. Calls get their turns in the order in which they came.
    pub(super) async fn turn(&self) -> StoreResult<Turn> {
        let turn = self.turns.clone().acquire_owned().await;
        turn.map(Turn).map_err(|error| StoreError::with_source(StoreErrorKind::Other, "the store is closed", error))
    }
}
