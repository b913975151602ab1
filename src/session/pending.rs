//! An operation between its beginning and its event: what is cut off in between is on record, too.

use std::time::Instant;

use tokio::runtime::Handle;

use crate::audit::{Activity, FileOperation, Outcome};
use crate::path::LogicalPath;

use super::login::OpenTransfer;
use super::{Session, SessionResult, milliseconds, outcome_of};

/// An operation that has begun and has no event yet. Dropped before [`Pending::record`], it is recorded as cut off: the store may
/// have been asked, and what became of that is not known. DISCONNECTED waits for it as for an open file.
pub(super) struct Pending {
    session: Session,
    /// Makes the event from its outcome and duration; taken when it is recorded.
    activity: Option<Box<dyn FnOnce(Outcome, u64) -> Activity + Send>>,
    started: Instant,
    open: Option<OpenTransfer>,
}

impl Session {
    /// An operation on one path begins.
    pub(super) fn begin(&self, path: &LogicalPath, activity: fn(FileOperation) -> Activity) -> Pending {
        let (storage_path, logical_path) = (self.vfs().storage_path(path), path.to_string());
        self.begin_with(move |outcome, duration_ms| {
            activity(FileOperation { path: storage_path, logical_path, outcome, duration_ms })
        })
    }

    /// An operation begins whose event is made by `activity`.
    pub(super) fn begin_with(&self, activity: impl FnOnce(Outcome, u64) -> Activity + Send + 'static) -> Pending {
        Pending {
            session: self.clone(),
            activity: Some(Box::new(activity)),
            started: Instant::now(),
            open: Some(self.login.count_transfer()),
        }
    }
}

impl Pending {
    /// Records the operation and hands its result on; a result that cannot be recorded is an error.
    pub(super) async fn record<T>(mut self, result: SessionResult<T>, note: Option<String>) -> SessionResult<T> {
        if let Some(activity) = self.activity.take() {
            let activity = activity(outcome_of(&result, note), milliseconds(self.started));
            self.session.recorder().record(&self.session.origin, activity).await?;
        }
        result
    }
}

impl Drop for Pending {
    fn drop(&mut self) {
        let Some(activity) = self.activity.take() else { return };
        let why = "the connection ended before the store had answered; whether it was done is not known";
        let activity = activity(Outcome::Failure(why.to_owned()), milliseconds(self.started));
        let Ok(runtime) = Handle::try_current() else {
            tracing::error!(?activity, "an operation was dropped outside the runtime; it is not recorded");
            return;
        };
        let (session, open) = (self.session.clone(), self.open.take());
        runtime.spawn(async move {
            if let Err(error) = session.recorder().record(&session.origin, activity).await {
                tracing::error!(%error, "the event of an operation that was cut off was lost");
            }
            drop(open);
        });
    }
}
