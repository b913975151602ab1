//! The door: one logged-in user. Policy, then the file system, then the audit trail.
//!
//! This is the only module that may open a user's files, ask `policy`, or emit a file event. SFTP and SCP are codecs in
//! front of it.

mod attributes;
pub mod channel;
mod digest;
mod directory;
mod early;
mod error;
mod file_digest;
pub mod gate;
mod login;
mod open_files;
mod operations;
mod own_files;
mod peers;
mod pending;
mod refused;
mod registry;
mod transfer;
mod uploads;

use std::sync::Arc;
use std::time::Instant;

use crate::audit::{Origin, Outcome, Recorder};
use crate::path::LogicalPath;
use crate::policy::{self, Decision, Rules};
use crate::vfs::Vfs;

pub use crate::audit::Protocol;
pub use crate::metrics::Counter;
pub use crate::policy::{Operation, Operations};
pub use crate::stores::{Capacity, Kind, StoreErrorKind};
pub use attributes::{AttributeChange, Attributes};
pub use directory::Directory;
pub use error::{ErrorKind, SessionError, SessionResult};
pub use login::{Backing, Login, LoginError, Totals};
pub use open_files::OpenFile;
pub use operations::RenameMode;
pub use peers::{
    Alone, Distant, Elsewhere, Following, Gateway, Peers, Standing, Teller, Tellers, Told, UserState, WhoTells,
};
pub use refused::{Attempt, Name};
pub use registry::{Entered, Farewell, LiveHome, LiveSession, Progress, Registry};
pub use transfer::{OpenMode, Transfer, Whole};
pub use uploads::UploadName;

/// One logged-in user on one channel. Made by [`Login::session`].
#[derive(Debug, Clone)]
pub struct Session {
    login: Arc<Login>,
    origin: Origin,
    /// What of the user's permissions this session may use.
    scope: Operations,
}

impl Session {
    /// This session for one kind of request: it does `operations` where the user may, and no other even where the user may.
    pub fn limited_to(&self, operations: Operations) -> Session {
        Session { scope: self.scope.and(operations), ..self.clone() }
    }

    /// Where requests of the name that a codec's table has for them are counted.
    pub fn request_counter(&self, request: &'static str) -> Arc<Counter> {
        let protocol = self.origin.protocol.map_or("none", Protocol::as_str);
        self.recorder().metrics().requests.counter(&[protocol, request])
    }

    /// The user's login name, for `longname` and `users-groups-by-id`.
    pub fn user(&self) -> &str {
        self.login.user_name()
    }

    /// Whether the connection has a handle that may write a file of this name.
    pub fn has_open_for_writing(&self, path: &LogicalPath) -> bool {
        self.login.uploads().is_open(path)
    }

    fn vfs(&self) -> &Vfs {
        self.login.vfs()
    }

    fn rules(&self) -> &Rules {
        self.login.rules()
    }

    fn recorder(&self) -> &Recorder {
        self.login.recorder()
    }

    /// Asks the policy; the error says what the client may know.
    fn allow(&self, operation: Operation, path: &LogicalPath) -> SessionResult<()> {
        match policy::decide(self.rules(), operation, path) {
            Decision::Allow if self.scope.has(operation) => Ok(()),
            Decision::Allow => {
                tracing::error!(?operation, %path, "a request asks for what its kind never needs");
                Err(SessionError::denied(path, "permission denied"))
            }
            Decision::Hidden => Err(SessionError::new(
                ErrorKind::Store(StoreErrorKind::NotFound),
                format!("{path}: no such file or directory"),
            )),
            Decision::Virtual => {
                Err(SessionError::denied(path, "this folder belongs to the home's layout and cannot be changed"))
            }
            Decision::Deny => Err(SessionError::denied(path, "permission denied")),
        }
    }
}

/// The outcome that an event shows for a result.
fn outcome_of<T>(result: &SessionResult<T>, note: Option<String>) -> Outcome {
    match (result, note) {
        (Ok(_), None) => Outcome::Success,
        (Ok(_), Some(note)) => Outcome::SuccessBut(note),
        (Err(error), _) => error.outcome(),
    }
}

fn milliseconds(since: Instant) -> u64 {
    u64::try_from(since.elapsed().as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;
