//! An operation between its beginning and its event: what is cut off in between is on record, too.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use crate::audit::{Activity, FileOperation, NOT_KNOWN, Outcome, Recorded, Reservation, Unrecorded};
use crate::path::LogicalPath;

use super::login::OpenTransfer;
use super::{Session, SessionResult, milliseconds, outcome_of};

/// Makes the event of an operation from its outcome and duration.
type MakeEvent = Box<dyn FnOnce(Outcome, u64) -> Activity + Send>;

/// An operation that has begun and has no event yet, but room for it. Dropped before [`Pending::record`], it is recorded there and
/// then as cut off: the store may have been asked, and what became of that is not known. DISCONNECTED waits for it as for an open
/// file.
pub(super) struct Pending {
    session: Session,
    /// With the room for it; taken when it is recorded.
    event: Option<(MakeEvent, Reservation)>,
    started: Instant,
    _open: OpenTransfer,
}

impl Session {
    /// An operation on one path begins, once there is room for its event.
    ///
    /// # Errors
    /// When it cannot be recorded: then it must not be done.
    pub(super) async fn begin(
        &self,
        path: &LogicalPath,
        activity: fn(FileOperation) -> Activity,
    ) -> SessionResult<Pending> {
        let (storage_path, logical_path) = (self.vfs().storage_path(path), path.to_string());
        let names = storage_path.as_ref().map_or(0, String::len) + logical_path.len();
        self.begin_with(names, move |outcome, duration_ms| {
            activity(FileOperation { path: storage_path, logical_path, size: None, outcome, duration_ms })
        })
        .await
    }

    /// A SETSTAT begins that is to give a file the length `size`, if it is one of lengths. `resizes` says, when it is recorded, whether a
    /// published file has that length now or may have it.
    ///
    /// # Errors
    /// As [`Session::begin`].
    pub(super) async fn begin_setstat(
        &self,
        path: &LogicalPath,
        size: Option<u64>,
        resizes: &Arc<AtomicBool>,
    ) -> SessionResult<Pending> {
        let (storage_path, logical_path, resizes) =
            (self.vfs().storage_path(path), path.to_string(), Arc::clone(resizes));
        let names = storage_path.as_ref().map_or(0, String::len) + logical_path.len();
        self.begin_with(names, move |outcome, duration_ms| {
            let size = size.filter(|_| resizes.load(Ordering::Relaxed));
            Activity::Setstat(FileOperation { path: storage_path, logical_path, size, outcome, duration_ms })
        })
        .await
    }

    /// An operation begins whose event is made by `activity` and has names of so many bytes.
    ///
    /// # Errors
    /// As [`Session::begin`].
    pub(super) async fn begin_with(
        &self,
        names: usize,
        activity: impl FnOnce(Outcome, u64) -> Activity + Send + 'static,
    ) -> SessionResult<Pending> {
        let started = Instant::now();
        let room = self.login.reserve(names).await?;
        let activity: MakeEvent = Box::new(activity);
        Ok(Pending {
            session: self.clone(),
            event: Some((activity, room)),
            started,
            _open: self.login.count_transfer(),
        })
    }
}

impl Pending {
    /// Records the operation and hands its result on; a result that cannot be recorded is an error.
    pub(super) async fn record<T>(self, result: SessionResult<T>, note: Option<String>) -> SessionResult<T> {
        let outcome = outcome_of(&result, note);
        self.record_as(outcome, result).await
    }

    /// As [`Pending::record`], with this outcome.
    pub(super) async fn record_as<T>(self, outcome: Outcome, result: SessionResult<T>) -> SessionResult<T> {
        self.fill(outcome).await?;
        result
    }

    /// Records the operation, without waiting. The future says when that is done.
    pub(super) fn fill(mut self, outcome: Outcome) -> impl Future<Output = Result<(), Unrecorded>> + Send {
        let recorded = self.take_and_fill(outcome);
        async move {
            match recorded {
                Some(recorded) => recorded.await,
                None => Ok(()),
            }
        }
    }

    /// Nothing is to be recorded yet.
    pub(super) fn withdraw(mut self) {
        self.event = None;
    }

    fn take_and_fill(&mut self, outcome: Outcome) -> Option<Recorded> {
        let (activity, room) = self.event.take()?;
        Some(room.fill(&self.session.origin, &activity(outcome, milliseconds(self.started))))
    }
}

impl Drop for Pending {
    fn drop(&mut self) {
        let why = format!("the connection ended before the store had answered; {NOT_KNOWN}");
        // Nobody is left to be told.
        drop(self.take_and_fill(Outcome::Failure(why)));
    }
}
