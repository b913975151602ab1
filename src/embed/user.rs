//! A user, as a program describes one.

use std::fmt;
use std::sync::Arc;

use serde_json::{Value, json};

use crate::path::LogicalPath;
use crate::policy::Permissions;
use crate::secret::Secret;
use crate::stores::Key;
use crate::users::{self, AuthMode, AuthorizedKey, Bounds, HomeEntry, Network, PasswordHash, Totp};

/// A user: a name, the proofs that are accepted, and a home.
///
/// ```
/// use lockgate::{Access, Home, User};
///
/// # fn main() -> Result<(), lockgate::InvalidUser> {
/// let ann = User::new("ann")
///     .key("ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIPUsGt9kYZpqstR//YZc+4wKPWd0rm3aJiUgH6p/x+EI ann@laptop")?
///     .home(Home::new("/", "files", "home/ann")?)
///     .home(Home::new("/reports", "files", "reports")?.access(Access::ReadOnly));
/// assert_eq!(ann.name(), "ann");
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
#[must_use]
pub struct User {
    name: String,
    role: Option<String>,
    keys: Vec<String>,
    password: Option<Secret>,
    auth: Option<Auth>,
    sessions: Option<u32>,
    allow_from: Vec<String>,
    home: Vec<Home>,
}

/// Which proofs a user needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Auth {
    /// A key or a certificate.
    Key,
    /// A password.
    Password,
    /// Either of them.
    KeyOrPassword,
    /// Both, in either order.
    KeyAndPassword,
}

/// What a user may do in an entry of a home.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Access {
    /// Everything.
    ReadWrite,
    /// List and read.
    ReadOnly,
    /// Upload new files and make directories, and nothing else: a drop box.
    WriteOnly,
}

/// One entry of a home: a path that the client sees, and the folder of a store behind it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use]
pub struct Home {
    entry: LogicalPath,
    store: String,
    folder: Key,
    access: Access,
}

/// A part of a user that cannot be used: a sentence that says what is wrong and what would be right.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct InvalidUser(String);

impl Home {
    /// The folder `folder` of the store of this name, which the client sees as `entry`; `/` is the root of the home. Reading and writing are
    /// allowed.
    ///
    /// # Errors
    /// If the path or the folder cannot be used.
    pub fn new(entry: &str, store: &str, folder: &str) -> Result<Home, InvalidUser> {
        let wrong = |what: &str, error: &dyn fmt::Display| InvalidUser(format!("{what:?} cannot be used: {error}"));
        let path = LogicalPath::parse_str(entry).map_err(|error| wrong(entry, &error))?;
        let key = Key::parse(folder).map_err(|error| wrong(folder, &error))?;
        Ok(Home { entry: path, store: store.to_owned(), folder: key, access: Access::ReadWrite })
    }

    /// What is allowed there.
    pub fn access(self, access: Access) -> Home {
        Home { access, ..self }
    }
}

impl Access {
    fn permissions(self) -> (Permissions, &'static str) {
        match self {
            Access::ReadWrite => (Permissions::READ_WRITE, "read_write"),
            Access::ReadOnly => (Permissions::READ_ONLY, "read_only"),
            Access::WriteOnly => (Permissions::WRITE_ONLY, "write_only"),
        }
    }
}

impl Auth {
    fn mode(self) -> (AuthMode, &'static str) {
        match self {
            Auth::Key => (AuthMode::PublicKey, "public_key"),
            Auth::Password => (AuthMode::Password, "password"),
            Auth::KeyOrPassword => (AuthMode::PublicKeyOrPassword, "public_key_or_password"),
            Auth::KeyAndPassword => (AuthMode::PublicKeyAndPassword, "public_key_and_password"),
        }
    }
}

impl User {
    /// A user of this login name, with no proof and no home yet.
    pub fn new(name: impl Into<String>) -> User {
        User {
            name: name.into(),
            role: None,
            keys: Vec::new(),
            password: None,
            auth: None,
            sessions: None,
            allow_from: Vec::new(),
            home: Vec::new(),
        }
    }

    /// The login name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// One more key: a line in `authorized_keys` format, with options such as `from=` or `cert-authority`.
    ///
    /// # Errors
    /// If the line cannot be used.
    pub fn key(mut self, line: &str) -> Result<User, InvalidUser> {
        AuthorizedKey::parse(line).map_err(InvalidUser)?;
        self.keys.push(line.to_owned());
        Ok(self)
    }

    /// The hash that a password is compared with: argon2id or bcrypt, as [`User::hash_password`] makes one.
    ///
    /// # Errors
    /// If the hash cannot be read, or if it would cost too little or too much.
    pub fn password_hash(mut self, hash: &str) -> Result<User, InvalidUser> {
        PasswordHash::parse(hash).map_err(InvalidUser)?;
        self.password = Some(Secret::new(hash.to_owned()));
        Ok(self)
    }

    /// Hashes a password with argon2id. It takes a core and 19 MiB for some tens of milliseconds.
    ///
    /// # Errors
    /// For an empty password, or if the system gives no randomness or memory.
    pub fn hash_password(password: &str) -> Result<String, InvalidUser> {
        PasswordHash::make(&Secret::new(password.to_owned())).map_err(InvalidUser)
    }

    /// Which proofs are needed. Without this: a key, or a password if that is all there is, or either of them.
    pub fn auth(self, auth: Auth) -> User {
        User { auth: Some(auth), ..self }
    }

    /// Free text that CONNECTED contains.
    pub fn role(self, role: impl Into<String>) -> User {
        User { role: Some(role.into()), ..self }
    }

    /// The most sessions at once.
    pub fn sessions(self, most: u32) -> User {
        User { sessions: Some(most), ..self }
    }

    /// One more network that the user may come from (`192.0.2.0/24`); without one, from everywhere.
    ///
    /// # Errors
    /// If it is no network.
    pub fn allow_from(mut self, network: &str) -> Result<User, InvalidUser> {
        Network::parse(network).map_err(InvalidUser)?;
        self.allow_from.push(network.to_owned());
        Ok(self)
    }

    /// One more entry of the home.
    pub fn home(mut self, home: Home) -> User {
        self.home.push(home);
        self
    }

    fn needs(&self) -> Auth {
        self.auth.unwrap_or(match (self.keys.is_empty(), self.password.is_some()) {
            (_, false) => Auth::Key,
            (true, true) => Auth::Password,
            (false, true) => Auth::KeyOrPassword,
        })
    }

    /// As it would stand in a configuration.
    pub(super) fn to_value(&self) -> Value {
        let entry = |home: &Home| {
            let target = format!("{}:/{}", home.store, home.folder);
            json!({ "entry": home.entry.to_string(), "target": target, "permissions": home.access.permissions().1 })
        };
        let mut user = json!({
            "name": self.name,
            "auth": self.needs().mode().1,
            "home": self.home.iter().map(entry).collect::<Vec<_>>(),
        });
        let mut set = |key: &str, value: Option<Value>| {
            if let Some(value) = value {
                user[key] = value;
            }
        };
        set("role", self.role.as_ref().map(|role| json!(role)));
        set("public_keys", (!self.keys.is_empty()).then(|| json!(self.keys)));
        set("password_hash", self.password.as_ref().map(|hash| json!(hash.expose())));
        set("sessions", self.sessions.map(|most| json!(most)));
        set("allow_from", (!self.allow_from.is_empty()).then(|| json!(self.allow_from)));
        user
    }

    /// As the gateway looks it up in a directory.
    pub(super) fn resolve(&self, source: &Arc<str>) -> Result<users::User, InvalidUser> {
        let keys = self.keys.iter().map(|line| AuthorizedKey::parse(line)).collect::<Result<_, _>>();
        let hash = self.password.as_ref().map(|hash| PasswordHash::parse(hash.expose())).transpose();
        let networks = self.allow_from.iter().map(|network| Network::parse(network)).collect::<Result<_, _>>();
        let entry = |home: &Home| HomeEntry {
            entry: home.entry.clone(),
            store: home.store.clone(),
            target: home.folder.to_string(),
            permissions: home.access.permissions().0,
        };
        Ok(users::User {
            name: self.name.as_str().into(),
            role: self.role.clone(),
            identity: None,
            keys: keys.map_err(InvalidUser)?,
            principals: Vec::new(),
            password: hash.map_err(InvalidUser)?,
            auth: self.needs().mode().0,
            totp: Totp::default(),
            enabled: true,
            bounds: Bounds {
                expires: None,
                allow_from: networks.map_err(InvalidUser)?,
                sessions: self.sessions.map(|most| most as usize),
            },
            home: self.home.iter().map(entry).collect(),
            targets: Vec::new(),
            source: source.clone(),
        })
    }
}

/// Without the password's hash.
impl fmt::Debug for User {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let has_password = self.password.is_some();
        let shown = &mut f.debug_struct("User");
        let shown = shown.field("name", &self.name).field("keys", &self.keys).field("has_password", &has_password);
        shown.field("home", &self.home).finish_non_exhaustive()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn the_proofs_follow_from_what_there_is() {
        let hash = &User::hash_password("correct horse").unwrap();
        let key = crate::config::tests::KEY;
        assert_eq!(User::new("ann").key(key).unwrap().needs(), Auth::Key);
        assert_eq!(User::new("ann").password_hash(hash).unwrap().needs(), Auth::Password);
        let both = User::new("ann").password_hash(hash).unwrap().key(key).unwrap();
        assert_eq!(both.needs(), Auth::KeyOrPassword);
        assert_eq!(both.clone().auth(Auth::KeyAndPassword).needs(), Auth::KeyAndPassword);
        assert!(!format!("{both:?}").contains("argon2id"), "a hash is not shown");
    }

    #[test]
    fn what_cannot_be_used_is_refused_when_it_is_set() {
        assert!(User::new("ann").key("ssh-ed25519 nonsense").is_err());
        assert!(User::new("ann").password_hash("plain").is_err());
        assert!(User::new("ann").allow_from("192.0.2.1/24").is_err());
        assert!(Home::new("/", "files", "a/../b").is_err());
    }
}
