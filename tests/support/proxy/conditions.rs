//! Conditions that the server behind a proxy ignores, judged by the proxy instead: those of deletions and of the targets of copies.

use std::fmt;

use futures_util::future::BoxFuture;
use tokio::sync::{Mutex, MutexGuard};

use super::plan::Fault;
use super::request::{Kind, Request};

/// The entity tag of what a target (its path, as it is sent) names, with its quotes; `None` when there is nothing.
type Look = Box<dyn Fn(String) -> BoxFuture<'static, Option<String>> + Send + Sync>;

/// Who judges conditions. Who writes past the proxy meanwhile holds [`Conditions::lock`].
pub struct Conditions {
    look: Look,
    lock: Mutex<()>,
}

impl fmt::Debug for Conditions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Conditions")
    }
}

/// A verdict, and what keeps it true while the request is under way.
pub struct Verdict<'a> {
    pub failed: Option<Fault>,
    _lock: Option<MutexGuard<'a, ()>>,
}

impl Conditions {
    pub fn new(look: impl Fn(String) -> BoxFuture<'static, Option<String>> + Send + Sync + 'static) -> Self {
        Conditions { look: Box::new(look), lock: Mutex::default() }
    }

    /// Nothing is judged or under way while this is held.
    pub async fn lock(&self) -> MutexGuard<'_, ()> {
        self.lock.lock().await
    }

    pub async fn judge(&self, request: &Request) -> Verdict<'_> {
        if !matches!(request.kind, Kind::Delete | Kind::Copy) {
            return Verdict { failed: None, _lock: None };
        }
        let lock = self.lock.lock().await;
        let found = (self.look)(request.path().to_owned()).await;
        let failed = match (request.header("if-match"), request.header("if-none-match"), found) {
            (Some(_), _, None) => Some(Fault::Status(404, "NoSuchKey")),
            (Some(wanted), _, Some(found)) if wanted != found => Some(Fault::Status(412, "PreconditionFailed")),
            (_, Some("*"), Some(_)) => Some(Fault::Status(412, "PreconditionFailed")),
            _ => None,
        };
        Verdict { failed, _lock: Some(lock) }
    }
}
