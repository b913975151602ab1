//! The directory of users behind one trait.

mod admission;
mod certificate;
mod key;
mod keys;
mod krl;
mod network;
mod options;
mod password;
mod presence;
mod provider;
mod revoked;
mod sources;
mod target;
mod totp;
mod verifier;

use std::collections::HashMap;
use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use async_trait::async_trait;
use chrono::{DateTime, Utc};

use crate::path::LogicalPath;
use crate::policy::Permissions;
use crate::secret::Secret;

pub use admission::{Circumstances, Refusal};
pub use certificate::{Certificate, CertificateGrant};
pub use key::AuthorizedKey;
pub use keys::{
    Change, ChangeKind, KeyFile, KeyFileError, KeyFolder, KeysDirectory, KeysSettings, Round, Template, Told, Version,
    is_name_of_file,
};
pub use network::Network;
pub use password::PasswordHash;
pub use presence::{Absent, Presence};
pub use provider::{Header, OnPolicy, ProviderDirectory, ProviderMethod, ProviderSettings, ProviderUrl, TargetRule};
pub use revoked::{CertificateFacts, MAX_FILE as MAX_REVOKED_FILE, Revoked};
pub use sources::{Lapse, Sources};
pub use target::{
    Account, AccountDirectory, Granted, GrantedAccounts, InnerLogin, Target, TargetAddress, TargetGrant, Targets,
};
pub use totp::{Totp, TotpSecret, step_at, totp_uri};
pub use verifier::{Checked, PasswordVerifier};

/// As many keys as AWS Transfer Family takes for one user.
pub const MAX_KEYS: usize = 50;

/// One user, resolved.
#[derive(Debug, Clone)]
pub struct User {
    /// The login name.
    pub name: Arc<str>,
    /// Free text, copied into CONNECTED.
    pub role: Option<String>,
    /// The person behind the name, as an identity provider says it.
    pub identity: Option<String>,
    /// The keys that may log in, and the authorities of the user's certificates.
    pub keys: Vec<AuthorizedKey>,
    /// The names that the user's certificates may have; the login name if empty.
    pub principals: Vec<String>,
    /// The hash that a password is checked against.
    pub password: Option<PasswordHash>,
    /// Which methods are needed.
    pub auth: AuthMode,
    /// Whether a one-time code is needed after them.
    pub totp: Totp,
    /// Whether the user may log in at all.
    pub enabled: bool,
    /// When, and from where, and how often.
    pub bounds: Bounds,
    /// The home.
    pub home: Vec<HomeEntry>,
    /// Where the user may jump to.
    pub targets: Vec<TargetGrant>,
    /// Where the user comes from: [`CONFIGURATION`], or a source of `users_from` by its label.
    pub source: Arc<str>,
}

/// The source of the users that stand in the configuration.
pub const CONFIGURATION: &str = "configuration";

/// A source of users beside the configuration's own.
#[derive(Debug, Clone)]
pub enum SourceSettings {
    /// A folder of keys.
    Keys(Box<KeysSettings>),
    /// An identity provider over HTTP.
    Provider(Box<ProviderSettings>),
    /// What a program that embeds the gateway brings along. No configuration names it.
    Own(OwnSource),
}

/// A directory of the embedding program.
#[derive(Debug, Clone)]
pub struct OwnSource {
    /// The source of its users, as events name it.
    pub source: Arc<str>,
    /// The directory, which is asked about every login.
    pub directory: Arc<dyn Directory>,
    /// Whether its users may log in with a password.
    pub takes_password: bool,
}

impl SourceSettings {
    /// The source of its users, as events name it.
    pub fn source(&self) -> Arc<str> {
        match self {
            SourceSettings::Keys(keys) => keys.source(),
            SourceSettings::Provider(provider) => provider.source(),
            SourceSettings::Own(own) => own.source.clone(),
        }
    }

    /// Whether its users may log in with a password.
    pub fn takes_password(&self) -> bool {
        match self {
            SourceSettings::Keys(_) => false,
            SourceSettings::Provider(provider) => provider.auth.takes_password(),
            SourceSettings::Own(own) => own.takes_password,
        }
    }
}

/// Within what a user may log in.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Bounds {
    /// The first moment at which the user may not log in any more. Sessions that live then go on.
    pub expires: Option<DateTime<Utc>>,
    /// Where the user may come from; from everywhere if empty.
    pub allow_from: Vec<Network>,
    /// Sessions at once.
    pub sessions: Option<usize>,
}

/// One entry of a home, `${user}` already replaced.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HomeEntry {
    /// Where the client sees it.
    pub entry: LogicalPath,
    /// The store's name in the configuration.
    pub store: String,
    /// The directory in the store (a key, without a slash at either end).
    pub target: String,
    /// What is allowed there.
    pub permissions: Permissions,
}

/// Which methods a user needs to log in; the `auth` key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum AuthMode {
    /// `public_key`
    #[default]
    PublicKey,
    /// `password`
    Password,
    /// `public_key_or_password`
    PublicKeyOrPassword,
    /// `public_key_and_password`: both, in either order.
    PublicKeyAndPassword,
}

impl Bounds {
    /// Whether the user may come from there.
    pub fn allows_from(&self, address: IpAddr) -> bool {
        self.allow_from.is_empty() || self.allow_from.iter().any(|network| network.contains(address))
    }
}

impl AuthMode {
    /// Whether a key is of any use.
    pub fn takes_key(self) -> bool {
        self != AuthMode::Password
    }

    /// Whether a password is of any use.
    pub fn takes_password(self) -> bool {
        self != AuthMode::PublicKey
    }
}

/// A source of users does not answer now, or not in a way that can be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DirectoryError {
    /// Nobody knows what it would have said.
    #[error("{from} did not answer: {what}")]
    Silent {
        /// The source, as events name it.
        from: Arc<str>,
        /// What happened instead.
        what: String,
    },
    /// It answered something that makes no user and is no refusal.
    #[error("the answer of {from} cannot be used: {field}: {what}")]
    Unusable {
        /// The source, as events name it.
        from: Arc<str>,
        /// Which part of the answer.
        field: &'static str,
        /// What is wrong with it, without a word of the answer that may be secret.
        what: String,
    },
}

/// What is known of an attempt when a user is looked up.
#[derive(Debug, Clone)]
pub struct Attempt {
    /// The client's address.
    pub source_ip: IpAddr,
}

/// Where users come from.
#[async_trait]
pub trait Directory: Send + Sync + fmt::Debug {
    /// The user of that name; `None` when there is none. Names are compared byte by byte.
    async fn find(&self, name: &str, attempt: &Attempt) -> Result<Option<Arc<User>>, DirectoryError>;

    /// The users that it knows without being asked for one; none where it has to ask somebody else.
    fn known(&self) -> Vec<Arc<User>> {
        Vec::new()
    }

    /// The one of [`Directory::known`] with this name.
    fn known_as(&self, name: &str) -> Option<Arc<User>> {
        self.known().into_iter().find(|known| *known.name == *name)
    }

    /// Whether the users of the source with this label are found by asking somebody else only.
    fn is_asked_about(&self, _source: &str) -> bool {
        false
    }

    /// What the source makes of a name and a password. One that knows hashes leaves the password to whoever asks.
    async fn find_with_password(
        &self,
        name: &str,
        _password: &Secret,
        attempt: &Attempt,
    ) -> Result<Knock, DirectoryError> {
        Ok(self.find(name, attempt).await?.map_or(Knock::Unknown, Knock::Known))
    }
}

/// What a source makes of a name and a password.
#[derive(Debug, Clone)]
pub enum Knock {
    /// There is such a user; the password was not looked at, and is to be compared with the user's hash.
    Known(Arc<User>),
    /// There is such a user, and the source says that the password is right.
    Proven(Arc<User>),
    /// The password is wrong, or there is no such user: the source does not say which.
    Refused,
    /// There is no such user.
    Unknown,
}

/// The users of the configuration file.
#[derive(Debug)]
pub struct FixedDirectory {
    users: HashMap<Arc<str>, Arc<User>>,
}

impl FixedDirectory {
    /// A directory of these users; their names are unique.
    pub fn new(users: Vec<User>) -> Self {
        FixedDirectory { users: users.into_iter().map(|user| (Arc::clone(&user.name), Arc::new(user))).collect() }
    }
}

#[async_trait]
impl Directory for FixedDirectory {
    async fn find(&self, name: &str, _attempt: &Attempt) -> Result<Option<Arc<User>>, DirectoryError> {
        Ok(self.users.get(name).cloned())
    }

    fn known(&self) -> Vec<Arc<User>> {
        self.users.values().cloned().collect()
    }

    fn known_as(&self, name: &str) -> Option<Arc<User>> {
        self.users.get(name).cloned()
    }
}

#[cfg(test)]
pub(crate) mod testing;

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use super::testing::user;
    use super::*;

    #[tokio::test]
    async fn names_are_compared_byte_by_byte() {
        let directory = FixedDirectory::new(vec![user("ann"), user("Bob")]);
        let attempt = Attempt { source_ip: IpAddr::from([127, 0, 0, 1]) };
        assert_eq!(&*directory.find("ann", &attempt).await.unwrap().unwrap().name, "ann");
        assert_eq!(&*directory.find("Bob", &attempt).await.unwrap().unwrap().name, "Bob");
        for absent in ["bob", "ann ", "", "Ann", "ann\0"] {
            assert!(directory.find(absent, &attempt).await.unwrap().is_none(), "{absent:?}");
        }
    }
}
