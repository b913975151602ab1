//! A directory of users that the program brings along.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tokio::time::timeout;

use super::user::User;
use crate::secret::Secret;
use crate::users::{self, Attempt, Directory, Knock, OwnSource};

/// How long a directory may take for one question; later answers do not count.
const ANSWERS_WITHIN: Duration = Duration::from_secs(10);

/// Where users come from: a database, a service, a file in a format of one's own.
///
/// The gateway asks for each login, also for names that nobody has, and keeps no answer beyond the login. It asks several questions at a
/// time. A directory that blocks its thread blocks the gateway: what waits for a disk belongs into `tokio::task::spawn_blocking`. After
/// ten seconds a question counts as not answered, and the login is refused.
///
/// Sessions of a user whom the directory does not know any more go on until [`Handle::end_sessions`](crate::Handle::end_sessions) ends
/// them. Homes that lead to the operator's own files are refused at each login.
///
/// ```
/// use lockgate::{DirectoryError, Home, LoginAttempt, User, UserDirectory, async_trait};
///
/// /// Everybody whose name begins with `guest`, with a password that is the same as the name.
/// #[derive(Debug)]
/// struct Guests;
///
/// #[async_trait]
/// impl UserDirectory for Guests {
///     fn label(&self) -> &str {
///         "guests"
///     }
///
///     async fn find(&self, name: &str, _: &LoginAttempt) -> Result<Option<User>, DirectoryError> {
///         if !name.starts_with("guest") {
///             return Ok(None);
///         }
///         let failed = |error: lockgate::InvalidUser| DirectoryError::new(error.to_string());
///         let hash = User::hash_password(name).map_err(failed)?;
///         let home = Home::new("/", "files", name).map_err(failed)?;
///         User::new(name).home(home).password_hash(&hash).map(Some).map_err(failed)
///     }
/// }
/// ```
#[async_trait]
pub trait UserDirectory: Send + Sync + fmt::Debug + 'static {
    /// How events, lists and messages name the source of its users. Each directory has a label of its own.
    fn label(&self) -> &str;

    /// The user of this name; `None` if there is none. The name of the user that is returned is the one that was asked for.
    ///
    /// # Errors
    /// If the directory cannot answer now. The login is refused, and it is no fault of the client's.
    async fn find(&self, name: &str, attempt: &LoginAttempt) -> Result<Option<User>, DirectoryError>;

    /// What the directory makes of a password, if it knows no hash of it.
    ///
    /// # Errors
    /// As [`UserDirectory::find`].
    async fn check_password(
        &self,
        name: &str,
        password: &str,
        attempt: &LoginAttempt,
    ) -> Result<PasswordAnswer, DirectoryError> {
        let _ = (name, password, attempt);
        Ok(PasswordAnswer::CompareHash)
    }

    /// Whether any of its users may log in with a password. If nobody may, clients are not offered that.
    fn takes_passwords(&self) -> bool {
        true
    }
}

/// What a directory makes of a password.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum PasswordAnswer {
    /// The gateway compares it with the hash of the user ([`User::password_hash`]), in the same time for every name.
    CompareHash,
    /// It is right: [`UserDirectory::find`] is asked for the user.
    Right,
    /// It is wrong, or there is no such user.
    Wrong,
}

/// What is known when a user is looked up.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct LoginAttempt {
    /// The client's address.
    pub source_ip: IpAddr,
}

/// A directory cannot answer: a sentence for operators, without secrets.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct DirectoryError(String);

impl DirectoryError {
    /// Says what happened.
    pub fn new(what: impl Into<String>) -> DirectoryError {
        DirectoryError(what.into())
    }
}

/// The directory as the gateway asks it.
#[derive(Debug)]
struct Own {
    source: Arc<str>,
    directory: Arc<dyn UserDirectory>,
    answers_within: Duration,
}

/// A source of users.
pub(super) fn source_of(directory: Arc<dyn UserDirectory>) -> OwnSource {
    let source: Arc<str> = directory.label().into();
    let takes_password = directory.takes_passwords();
    let own = Own { source: source.clone(), directory, answers_within: ANSWERS_WITHIN };
    OwnSource { source, directory: Arc::new(own), takes_password }
}

impl Own {
    async fn ask<T>(
        &self,
        question: impl Future<Output = Result<T, DirectoryError>> + Send,
    ) -> Result<T, users::DirectoryError> {
        let late = || DirectoryError(format!("there was no answer within {} s", self.answers_within.as_secs()));
        let answer = timeout(self.answers_within, question).await.unwrap_or_else(|_| Err(late()));
        answer.map_err(|error| users::DirectoryError::Silent { from: self.source.clone(), what: error.0 })
    }

    fn unusable(&self, field: &'static str, what: impl Into<String>) -> users::DirectoryError {
        users::DirectoryError::Unusable { from: self.source.clone(), field, what: what.into() }
    }
}

#[async_trait]
impl Directory for Own {
    async fn find(&self, name: &str, attempt: &Attempt) -> Result<Option<Arc<users::User>>, users::DirectoryError> {
        let attempt = LoginAttempt { source_ip: attempt.source_ip };
        let Some(user) = self.ask(self.directory.find(name, &attempt)).await? else { return Ok(None) };
        if user.name() != name {
            return Err(self.unusable("name", "it is not the name that was asked for"));
        }
        let resolved = user.resolve(&self.source).map_err(|error| self.unusable("user", error.to_string()))?;
        Ok(Some(Arc::new(resolved)))
    }

    /// All of its users are.
    fn is_asked_about(&self, source: &str) -> bool {
        *self.source == *source
    }

    async fn find_with_password(
        &self,
        name: &str,
        password: &Secret,
        attempt: &Attempt,
    ) -> Result<Knock, users::DirectoryError> {
        let asked = LoginAttempt { source_ip: attempt.source_ip };
        let answer = self.ask(self.directory.check_password(name, password.expose(), &asked)).await?;
        if answer == PasswordAnswer::Wrong {
            return Ok(Knock::Refused);
        }
        let found = self.find(name, attempt).await?;
        Ok(match (found, answer) {
            (None, _) => Knock::Unknown,
            (Some(user), PasswordAnswer::Right) => Knock::Proven(user),
            (Some(user), _) => Knock::Known(user),
        })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    /// Knows ann, answers for ben with another name, and not at all for carl.
    #[derive(Debug)]
    struct Odd;

    #[async_trait]
    impl UserDirectory for Odd {
        fn label(&self) -> &str {
            "odd"
        }

        async fn find(&self, name: &str, _: &LoginAttempt) -> Result<Option<User>, DirectoryError> {
            match name {
                "ann" => Ok(Some(User::new("ann"))),
                "ben" => Ok(Some(User::new("Ben"))),
                "carl" => std::future::pending().await,
                "dora" => Err(DirectoryError::new("the database is locked")),
                _ => Ok(None),
            }
        }

        async fn check_password(
            &self,
            name: &str,
            password: &str,
            _: &LoginAttempt,
        ) -> Result<PasswordAnswer, DirectoryError> {
            Ok(match (name, password) {
                ("eve", _) => PasswordAnswer::CompareHash,
                (_, "right") => PasswordAnswer::Right,
                _ => PasswordAnswer::Wrong,
            })
        }
    }

    #[tokio::test]
    async fn an_answer_that_cannot_be_used_lets_nobody_in() {
        let directory = Own { source: "odd".into(), directory: Arc::new(Odd), answers_within: Duration::from_secs(1) };
        let attempt = Attempt { source_ip: [192, 0, 2, 1].into() };
        assert_eq!(&*directory.find("ann", &attempt).await.unwrap().unwrap().source, "odd");
        assert!(directory.find("fred", &attempt).await.unwrap().is_none());
        let error = async |name: &str| directory.find(name, &attempt).await.unwrap_err().to_string();
        assert!(error("ben").await.contains("not the name that was asked for"));
        assert!(error("carl").await.contains("no answer within 1 s"));
        assert!(error("dora").await.contains("the database is locked"));
    }

    #[tokio::test]
    async fn a_password_is_judged_by_the_directory_or_by_the_hash() {
        let OwnSource { directory, .. } = source_of(Arc::new(Odd));
        let attempt = Attempt { source_ip: [192, 0, 2, 1].into() };
        let knock = async |name: &str, password: &str| {
            let password = Secret::new(password.to_owned());
            format!("{:?}", directory.find_with_password(name, &password, &attempt).await.unwrap())
        };
        assert!(knock("ann", "right").await.starts_with("Proven"));
        assert_eq!(knock("ann", "wrong").await, "Refused");
        assert_eq!(knock("fred", "right").await, "Unknown");
        assert_eq!(knock("eve", "any").await, "Unknown");
    }
}
