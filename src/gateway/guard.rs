//! Homes that come after the configuration was judged must not lead to what is the operator's own: those that an identity provider
//! gives, and those that sessions keep after a reload put something there.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::Semaphore;
use tokio::task::spawn_blocking;
use tokio::time::timeout;

use crate::secret::Secret;
use crate::session::{Farewell, Registry};
use crate::stores::Root;
use crate::users::{Attempt, Directory, DirectoryError, Knock, User};

/// Judgements at once. Each looks at the folders on the way to a home, on a disk that may hang.
const AT_ONCE: usize = 8;

/// How long a judgement may take.
const JUDGED_WITHIN: Duration = Duration::from_secs(10);

/// What of the operator's own the home of a user leads to, in stores with these roots: a phrase.
type Judge = dyn Fn(&User, &[Root]) -> Option<String> + Send + Sync;

/// Judges homes by what one configuration guards. The default lets all pass.
#[derive(Clone)]
pub struct HomeGuard {
    judge: Arc<Judge>,
    roots: Arc<[Root]>,
    turns: Arc<Semaphore>,
}

/// What came of a judgement.
enum Verdict {
    Fine,
    /// The home leads to this.
    LeadsTo(String),
    /// It is not known, and why.
    Unknown(&'static str),
}

impl HomeGuard {
    /// A guard that judges by `judge`, which may look at local disks. `roots` are those of the stores of its configuration.
    pub fn new(
        judge: impl Fn(&User, &[Root]) -> Option<String> + Send + Sync + 'static,
        roots: Vec<Root>,
    ) -> HomeGuard {
        HomeGuard { judge: Arc::new(judge), roots: roots.into(), turns: Arc::new(Semaphore::new(AT_ONCE)) }
    }

    /// The same for stores with other roots.
    pub(super) fn with_roots(&self, roots: Vec<Root>) -> HomeGuard {
        HomeGuard { roots: roots.into(), ..self.clone() }
    }

    /// The roots of the stores of its configuration.
    pub(super) fn roots(&self) -> &Arc<[Root]> {
        &self.roots
    }

    /// Whether the home of `user`, in stores with these roots, leads to what it must not.
    async fn judge(&self, user: Arc<User>, roots: Arc<[Root]>) -> Verdict {
        if user.home.is_empty() {
            return Verdict::Fine;
        }
        if user.home.iter().any(|entry| roots.iter().all(|root| root.name != entry.store)) {
            return Verdict::Unknown("it is not known where its store is");
        }
        let judging = async {
            // Nobody closes the semaphore. The turn is over when the disk has answered, whether somebody waits for it or not.
            let turn = self.turns.clone().acquire_owned().await.ok();
            let judge = self.judge.clone();
            let judged = spawn_blocking(move || {
                let _turn = turn;
                judge(&user, &roots)
            });
            judged.await
        };
        match timeout(JUDGED_WITHIN, judging).await {
            Ok(Ok(None)) => Verdict::Fine,
            Ok(Ok(Some(what))) => Verdict::LeadsTo(what),
            Ok(Err(_)) => Verdict::Unknown("the judgement failed"),
            Err(_) => Verdict::Unknown("the disk on the way to it does not answer in time"),
        }
    }

    /// Ends the sessions whose homes lead to what is guarded by now. One whose home cannot be judged goes on.
    pub(super) async fn end_sessions(&self, registry: &Registry) {
        // The sessions of one user share the user, and all of one configuration the roots; both live as long as this list.
        let homes = registry.homes();
        let mut judged: HashMap<(usize, usize), bool> = HashMap::new();
        let mut doomed = HashSet::new();
        for (session, user, roots) in &homes {
            let same = (Arc::as_ptr(user).addr(), roots.as_ptr().addr());
            let ends = match judged.get(&same) {
                Some(ends) => *ends,
                None => self.must_end(session, user, roots).await,
            };
            judged.insert(same, ends);
            if ends {
                doomed.insert(session);
            }
        }
        registry.end(|live| doomed.contains(&live.session_id).then(farewell));
    }

    async fn must_end(&self, session: &str, user: &Arc<User>, roots: &Arc<[Root]>) -> bool {
        let name = &user.name;
        match self.judge(user.clone(), roots.clone()).await {
            Verdict::Fine => false,
            Verdict::LeadsTo(what) => {
                tracing::warn!(user = %name, session, what, "a session ends whose home leads to what is not for users");
                true
            }
            Verdict::Unknown(why) => {
                tracing::error!(user = %name, session, why, "the home of a session cannot be judged; the session goes on");
                false
            }
        }
    }
}

impl Default for HomeGuard {
    fn default() -> HomeGuard {
        HomeGuard::new(|_, _| None, Vec::new())
    }
}

impl fmt::Debug for HomeGuard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HomeGuard").field("roots", &self.roots).finish_non_exhaustive()
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
}

impl Guarded {
    async fn judge(&self, user: &Arc<User>) -> Result<(), DirectoryError> {
        let what = match self.guard.judge(user.clone(), self.guard.roots().clone()).await {
            Verdict::Fine => return Ok(()),
            Verdict::LeadsTo(what) => format!("a home that it gives is not allowed: {what}"),
            Verdict::Unknown(why) => format!("a home that it gives cannot be judged: {why}"),
        };
        Err(DirectoryError::Unusable { from: user.source.clone(), field: "HomeDirectory", what })
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

    fn known_as(&self, name: &str) -> Option<Arc<User>> {
        self.directory.known_as(name)
    }

    fn is_asked_about(&self, source: &str) -> bool {
        self.directory.is_asked_about(source)
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

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::path::LogicalPath;
    use crate::policy::Permissions;
    use crate::stores::{self, Settings};
    use crate::users::testing::user;
    use crate::users::{FixedDirectory, HomeEntry};

    /// Whether ann, whose home is the root of `store`, is found behind a guard.
    async fn is_found(store: &str, judge: impl Fn(&User, &[Root]) -> Option<String> + Send + Sync + 'static) -> bool {
        let (entry, permissions) = (LogicalPath::root(), Permissions::READ_WRITE);
        let home = vec![HomeEntry { entry, store: store.into(), target: String::new(), permissions }];
        let directory = Arc::new(FixedDirectory::new(vec![User { home, ..user("ann") }]));
        let known = Settings { name: "lake".into(), url: "memory:///".into(), options: Vec::new() };
        let guarded = Guarded { directory, guard: HomeGuard::new(judge, stores::roots(&[known])) };
        let attempt = Attempt { source_ip: [127, 0, 0, 1].into() };
        guarded.find("ann", &attempt).await.is_ok()
    }

    #[tokio::test]
    async fn a_home_that_cannot_be_judged_lets_nobody_in() {
        assert!(is_found("lake", |_, _| None).await);
        assert!(!is_found("lake", |_, _| Some("it leads to the keys".into())).await);
        assert!(!is_found("pond", |_, _| None).await, "a store that is not known");
        assert!(!is_found("lake", |_, _| panic!("a judgement that fails")).await);
    }
}
