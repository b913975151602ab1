//! Homes that come after the configuration was judged must not lead to what is the operator's own: those that an identity provider
//! gives, and those that sessions keep after a reload put something there.

use std::collections::HashSet;
use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use tokio::task::spawn_blocking;

use crate::secret::Secret;
use crate::session::{Farewell, Registry};
use crate::stores;
use crate::users::{Attempt, Directory, DirectoryError, Knock, User};

/// What of the operator's own the home of a user leads to, where stores have these settings: a phrase.
type Judge = dyn Fn(&User, &[stores::Settings]) -> Option<String> + Send + Sync;

/// Judges homes by what one configuration guards. The default lets all pass.
#[derive(Clone)]
pub struct HomeGuard(Arc<Judge>);

impl HomeGuard {
    /// A guard that judges by `judge`, which may look at local disks.
    pub fn new(judge: impl Fn(&User, &[stores::Settings]) -> Option<String> + Send + Sync + 'static) -> HomeGuard {
        HomeGuard(Arc::new(judge))
    }

    /// What the home of `user` leads to that it must not; `None` if it leads to nothing of the kind.
    async fn judge(&self, user: Arc<User>, stores: Arc<[stores::Settings]>) -> Option<String> {
        if user.home.is_empty() {
            return None;
        }
        let judge = self.0.clone();
        let judged = spawn_blocking(move || judge(&user, &stores)).await;
        // What cannot be judged is not let in.
        judged.unwrap_or_else(|_| Some("it cannot be judged".into()))
    }

    /// Ends the sessions whose homes lead to what is guarded by now.
    pub(super) async fn end_sessions(&self, registry: &Registry) {
        let mut doomed = HashSet::new();
        for (session, user, stores) in registry.homes() {
            if let Some(what) = self.judge(user.clone(), stores).await {
                tracing::warn!(user = %user.name, session = %session, what, "a session ends whose home leads to what is not for users");
                doomed.insert(session);
            }
        }
        registry.end(|live| doomed.contains(&live.session_id).then(farewell));
    }
}

impl Default for HomeGuard {
    fn default() -> HomeGuard {
        HomeGuard::new(|_, _| None)
    }
}

impl fmt::Debug for HomeGuard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("HomeGuard")
    }
}

fn farewell() -> Farewell {
    let message = "the new configuration does not allow the home of this session";
    Farewell { reason: "home-closed".into(), message: message.into(), by: None }
}

/// A directory whose homes are judged one by one.
#[derive(Debug)]
pub(super) struct Guarded {
    pub(super) directory: Arc<dyn Directory>,
    pub(super) guard: HomeGuard,
    pub(super) stores: Arc<[stores::Settings]>,
}

impl Guarded {
    async fn judge(&self, user: &Arc<User>) -> Result<(), DirectoryError> {
        match self.guard.judge(user.clone(), self.stores.clone()).await {
            None => Ok(()),
            Some(what) => Err(DirectoryError::Unusable {
                from: user.source.clone(),
                field: "HomeDirectory",
                what: format!("a home that it gives is not allowed: {what}"),
            }),
        }
    }
}

#[async_trait]
impl Directory for Guarded {
    async fn find(&self, name: &str, attempt: &Attempt) -> Result<Option<Arc<User>>, DirectoryError> {
        let found = self.directory.find(name, attempt).await?;
        if let Some(user) = &found {
            self.judge(user).await?;
        }
        Ok(found)
    }

    fn known(&self) -> Vec<Arc<User>> {
        self.directory.known()
    }

    async fn find_with_password(
        &self,
        name: &str,
        password: &Secret,
        attempt: &Attempt,
    ) -> Result<Knock, DirectoryError> {
        let knock = self.directory.find_with_password(name, password, attempt).await?;
        if let Knock::Known(user) | Knock::Proven(user) = &knock {
            self.judge(user).await?;
        }
        Ok(knock)
    }
}
