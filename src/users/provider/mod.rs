//! Users of an identity provider that is asked over HTTP, as AWS Transfer Family asks its custom identity providers.
//!
//! An attempt with a key asks without a password, and the keys of the answer are compared here; an attempt with a password
//! asks with it, and any user in the answer means that it is right. An empty password never leaves this module: for the
//! provider it would be an attempt with a key. Whatever is not a whole, understood answer lets nobody in.

mod answer;
mod cache;
mod grants;
mod request;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::Semaphore;
use tokio::time::timeout;

use super::{Attempt, AuthMode, Bounds, Directory, DirectoryError, Knock, Totp, User};
use crate::path::LogicalPath;
use crate::policy::Permissions;
use crate::secret::Secret;
use cache::Cache;
use request::{Asker, Failed};

pub use request::{Header, ProviderUrl};

/// Requests under way at once.
const AT_ONCE: usize = 64;

/// The names that are asked for: `[\w][\w@.-]{0,99}`. Transfer Family asks for those of three characters and more.
const NAME_LENGTHS: std::ops::RangeInclusive<usize> = 1..=100;

/// How a provider is asked, and what its users get.
#[derive(Debug, Clone)]
pub struct ProviderSettings {
    /// Where it is.
    pub url: ProviderUrl,
    /// How it is asked.
    pub method: ProviderMethod,
    /// The server's id in requests.
    pub server_id: String,
    /// Headers of each request: credentials of the gateway's own.
    pub headers: Vec<Header>,
    /// How long one request may take.
    pub timeout: Duration,
    /// How often a request is sent again when there was no connection or an answer of 500 and above.
    pub retries: u32,
    /// How long an answer to a question without a password may be used again.
    pub cache: Duration,
    /// How often it is asked again about users whose sessions live.
    pub recheck: Duration,
    /// Which methods its users need.
    pub auth: AuthMode,
    /// Whether all have to give a one-time code as well.
    pub require_totp: bool,
    /// When, and from where, and how often.
    pub bounds: Bounds,
    /// What is allowed in every home.
    pub permissions: Permissions,
    /// Where targets lead.
    pub targets: Vec<TargetRule>,
    /// What becomes of an answer with a `Policy`.
    pub policy: OnPolicy,
}

impl ProviderSettings {
    /// The source of these users, as events name it.
    pub fn source(&self) -> Arc<str> {
        format!("http:{}", self.url).into()
    }
}

/// How a provider is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ProviderMethod {
    /// `GET /servers/ID/users/NAME/config`, the password in a header.
    #[default]
    Get,
    /// `POST` with the JSON that Transfer Family gives to a function.
    Post,
}

/// What becomes of an answer with a `Policy`, which cannot be evaluated here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OnPolicy {
    /// It lets nobody in.
    #[default]
    Refuse,
    /// It is as if there were none.
    Ignore,
}

/// Where the targets of a provider's homes lead: those at or below a prefix, into one folder of a store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TargetRule {
    /// `/bucket`, `/bucket/folder`
    pub prefix: LogicalPath,
    /// The store's name.
    pub store: String,
    /// The folder in it (a key).
    pub folder: String,
}

/// What makes an answer one that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Flaw {
    /// Which part of it.
    field: &'static str,
    /// What is wrong with it.
    what: String,
}

impl Flaw {
    fn new(field: &'static str, what: impl Into<String>) -> Flaw {
        Flaw { field, what: what.into() }
    }
}

/// The users of one provider.
#[derive(Debug)]
pub struct ProviderDirectory {
    settings: ProviderSettings,
    asker: Asker,
    cache: Cache,
    under_way: Semaphore,
}

impl ProviderDirectory {
    /// A directory of these settings. Asks nobody yet.
    ///
    /// # Errors
    /// A sentence, when there can be no HTTP client (the system has no certificate authorities, for instance).
    pub fn new(settings: ProviderSettings) -> Result<ProviderDirectory, String> {
        let asker = Asker::new(&settings).map_err(|what| format!("{} cannot be asked: {what}", settings.source()))?;
        let cache = Cache::new(settings.cache);
        Ok(ProviderDirectory { settings, asker, cache, under_way: Semaphore::new(AT_ONCE) })
    }

    /// The source of these users, as events name it.
    pub fn source(&self) -> Arc<str> {
        self.settings.source()
    }

    /// How often it is to be asked again about users whose sessions live.
    pub fn recheck(&self) -> Duration {
        self.settings.recheck
    }

    /// As [`Directory::find`], but asks now, whatever was answered before, and whether or not a key is of use. What it answers holds for
    /// attempts to log in as well. Without a password, many providers do not know users that have no key.
    ///
    /// # Errors
    /// When it does not answer, or not in a way that can be used.
    pub async fn find_again(&self, name: &str, attempt: &Attempt) -> Result<Option<Arc<User>>, DirectoryError> {
        let user = self.ask(name, None, attempt).await?;
        self.cache.put(name, attempt.source_ip, user.clone());
        Ok(user)
    }

    /// Asks the provider. `None` when it refuses.
    async fn ask(
        &self,
        name: &str,
        password: Option<&Secret>,
        attempt: &Attempt,
    ) -> Result<Option<Arc<User>>, DirectoryError> {
        let silent = |what: String| DirectoryError::Silent { from: self.settings.source(), what };
        let unusable = |Flaw { field, what }| DirectoryError::Unusable { from: self.settings.source(), field, what };
        let permit = timeout(self.settings.timeout, self.under_way.acquire()).await;
        let _permit = permit.map_err(|_| silent("too many requests are under way".into()))?;
        let body = self.asker.ask(name, password, attempt.source_ip).await.map_err(|failed| match failed {
            Failed::Silent(what) => silent(what),
            Failed::Unusable(flaw) => unusable(flaw),
        })?;
        let answer = answer::read(&body).map_err(unusable)?;
        let user = answer.map(|answer| answer.into_user(name, &self.settings)).transpose();
        Ok(user.map_err(unusable)?.map(Arc::new))
    }

    /// Somebody of whom nothing is known but that no key is of use.
    fn password_only(&self, name: &str) -> User {
        User {
            name: name.into(),
            role: None,
            identity: None,
            keys: Vec::new(),
            principals: Vec::new(),
            password: None,
            auth: self.settings.auth,
            totp: Totp::default(),
            enabled: true,
            bounds: self.settings.bounds.clone(),
            home: Vec::new(),
            targets: Vec::new(),
            source: self.settings.source(),
        }
    }
}

#[async_trait]
impl Directory for ProviderDirectory {
    async fn find(&self, name: &str, attempt: &Attempt) -> Result<Option<Arc<User>>, DirectoryError> {
        if !is_name(name) {
            return Ok(None);
        }
        if !self.settings.auth.takes_key() {
            return Ok(Some(Arc::new(self.password_only(name))));
        }
        if let Some(known) = self.cache.get(name, attempt.source_ip) {
            return Ok(known);
        }
        let user = self.ask(name, None, attempt).await?;
        self.cache.put(name, attempt.source_ip, user.clone());
        Ok(user)
    }

    fn is_asked_about(&self, source: &str) -> bool {
        *self.settings.source() == *source
    }

    async fn find_with_password(
        &self,
        name: &str,
        password: &Secret,
        attempt: &Attempt,
    ) -> Result<Knock, DirectoryError> {
        if !is_name(name) {
            return Ok(Knock::Unknown);
        }
        if !self.settings.auth.takes_password() {
            return Ok(self.find(name, attempt).await?.map_or(Knock::Unknown, Knock::Known));
        }
        if password.expose().is_empty() {
            return Ok(Knock::Refused);
        }
        Ok(self.ask(name, Some(password), attempt).await?.map_or(Knock::Refused, Knock::Proven))
    }
}

fn is_name(name: &str) -> bool {
    let word = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
    NAME_LENGTHS.contains(&name.len())
        && name.bytes().next().is_some_and(word)
        && name.bytes().all(|b| word(b) || b == b'@' || b == b'.' || b == b'-')
}

#[cfg(test)]
mod tests;
