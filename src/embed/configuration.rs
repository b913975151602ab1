//! What a gateway is to do: from a file, from text, or from code. All three go through the parser of the configuration, so the keys, the
//! checks and the defaults are those of docs/CONFIGURATION.md.

use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value, json};

use super::user::User;
use crate::config::{self, Document};

/// What a gateway is to do.
///
/// ```
/// use lockgate::{Configuration, Settings};
///
/// let from_file = Configuration::file("/etc/lockgate/config.yaml");
/// let from_text = Configuration::text("server: { listen: ['127.0.0.1:0'], host_keys: [host_key] }", "/etc/lockgate");
/// let from_code: Configuration = Settings::new().listen("127.0.0.1:0".parse()?).into();
/// # Ok::<(), std::net::AddrParseError>(())
/// ```
#[derive(Debug, Clone)]
pub struct Configuration(pub(super) Document);

impl Configuration {
    /// A file as `lockgate serve` reads it: YAML, owned by the user that runs the program, or by root. It is read when the gateway starts,
    /// and again at each reload.
    pub fn file(file: impl Into<PathBuf>) -> Configuration {
        Configuration(Document::File(file.into()))
    }

    /// Text as it would stand in such a file, in `folder`.
    pub fn text(text: impl Into<String>, folder: impl Into<PathBuf>) -> Configuration {
        Configuration(Document::Text { text: text.into(), folder: folder.into() })
    }

    /// Whether a later reload could find something else.
    pub(super) fn is_file(&self) -> bool {
        matches!(self.0, Document::File(_))
    }
}

impl From<Settings> for Configuration {
    fn from(settings: Settings) -> Configuration {
        let folder = settings.folder.unwrap_or_else(|| PathBuf::from("."));
        Configuration(Document::Text { text: Value::Object(settings.keys).to_string(), folder })
    }
}

/// A configuration in code. What is missing here can be set by the name of its key ([`Settings::set`]).
///
/// ```
/// use lockgate::Settings;
/// use serde_json::json;
///
/// let settings = Settings::new()
///     .listen("127.0.0.1:0".parse()?)
///     .host_key("host_key")
///     .store("files", "memory:///")
///     .set("limits", json!({ "sessions": 100, "drain": "10s" }));
/// # Ok::<(), std::net::AddrParseError>(())
/// ```
#[derive(Clone)]
#[must_use]
pub struct Settings {
    keys: Map<String, Value>,
    folder: Option<PathBuf>,
}

impl Settings {
    /// No users and no stores yet.
    pub fn new() -> Settings {
        let mut keys = Map::new();
        keys.insert("server".into(), json!({}));
        keys.insert("stores".into(), json!({}));
        keys.insert("users".into(), json!([]));
        Settings { keys, folder: None }
    }

    /// Where relative paths begin; without it, in the current folder.
    pub fn folder(mut self, folder: impl Into<PathBuf>) -> Settings {
        self.folder = Some(folder.into());
        self
    }

    /// One more address to listen on; port 0 takes a free one.
    pub fn listen(self, address: SocketAddr) -> Settings {
        self.push("server", "listen", json!(address.to_string()))
    }

    /// One more host key: a file in OpenSSH's format, without a passphrase. [`make_host_key`](crate::make_host_key) makes one.
    pub fn host_key(self, file: impl AsRef<Path>) -> Settings {
        self.push("server", "host_keys", json!(file.as_ref().to_string_lossy()))
    }

    /// One more store: `file:///PATH`, `memory:///`, `s3://BUCKET/PREFIX` and so on.
    pub fn store(self, name: &str, url: &str) -> Settings {
        self.store_with(name, url, Value::Null)
    }

    /// The same with the options of the store, as a mapping.
    pub fn store_with(mut self, name: &str, url: &str, options: Value) -> Settings {
        let mut store = json!({ "url": url });
        if !options.is_null() {
            store["options"] = options;
        }
        if let Some(Value::Object(stores)) = self.keys.get_mut("stores") {
            stores.insert(name.to_owned(), store);
        }
        self
    }

    /// One more user. More users than fit into memory, or that change often, come from a [`UserDirectory`](crate::UserDirectory).
    pub fn user(mut self, user: User) -> Settings {
        if let Some(Value::Array(users)) = self.keys.get_mut("users") {
            users.push(user.to_value());
        }
        self
    }

    /// Any key of the configuration (docs/CONFIGURATION.md); a mapping is merged into one that was set before.
    pub fn set(mut self, key: &str, value: Value) -> Settings {
        match (self.keys.get_mut(key), value) {
            (Some(Value::Object(before)), Value::Object(more)) => before.extend(more),
            (_, value) => drop(self.keys.insert(key.to_owned(), value)),
        }
        self
    }

    fn push(mut self, section: &str, key: &str, value: Value) -> Settings {
        if let Some(Value::Object(section)) = self.keys.get_mut(section)
            && let Value::Array(list) = section.entry(key).or_insert_with(|| json!([]))
        {
            list.push(value);
        }
        self
    }
}

impl Default for Settings {
    fn default() -> Settings {
        Settings::new()
    }
}

/// Options of stores may be credentials, so no values are shown.
impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let keys: Vec<_> = self.keys.keys().collect();
        f.debug_struct("Settings").field("keys", &keys).field("folder", &self.folder).finish_non_exhaustive()
    }
}

/// Every problem of a configuration; prints as a list. No secret is in it.
#[derive(Debug, Clone)]
pub struct ConfigurationError(pub(super) config::Problems);

/// One thing that is wrong with a configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Problem {
    /// Where: `users[2].home[0].target`; empty for the configuration as a whole.
    pub place: String,
    /// What is wrong and what would be right.
    pub text: String,
}

impl ConfigurationError {
    /// The problems, in the order of the configuration.
    pub fn problems(&self) -> Vec<Problem> {
        let problem = |problem: &config::Problem| Problem { place: problem.place.clone(), text: problem.text.clone() };
        self.0.list().iter().map(problem).collect()
    }
}

impl fmt::Display for ConfigurationError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl std::error::Error for ConfigurationError {}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::config::{Beside, InForce, read_beside};
    use crate::embed::{Access, Auth, Home};

    fn read(settings: Settings) -> Result<crate::gateway::Settings, ConfigurationError> {
        let Configuration(document) = settings.into();
        read_beside(&document, &Beside::default(), InForce::default()).map_err(ConfigurationError)
    }

    fn server() -> Settings {
        Settings::new().folder("/etc/lockgate").listen("127.0.0.1:0".parse().unwrap()).host_key("host_key")
    }

    #[test]
    fn code_says_what_a_file_would() {
        let ann = User::new("ann").key(crate::config::tests::KEY).unwrap().role("clerk").sessions(3);
        let ann = ann.home(Home::new("/", "files", "ann").unwrap());
        let ann = ann.home(Home::new("/old", "files", "old").unwrap().access(Access::ReadOnly));
        let settings = server().store("files", "memory:///").user(ann);
        let settings = settings.set("limits", json!({ "sessions": 7 })).set("limits", json!({ "drain": "5s" }));
        let settings = read(settings).unwrap();
        assert_eq!(settings.ssh.host_keys, [Path::new("/etc/lockgate/host_key")]);
        assert_eq!((settings.ssh.limits.sessions, settings.ssh.limits.drain.as_secs()), (7, 5));
        let ann = &settings.users[0];
        assert_eq!((ann.role.as_deref(), ann.bounds.sessions, ann.keys.len()), (Some("clerk"), Some(3), 1));
        assert_eq!((&*ann.home[1].target, ann.home[1].permissions.can_change()), ("old", false));
    }

    #[test]
    fn every_problem_has_its_place() {
        let ann = User::new("ann").home(Home::new("/", "nowhere", "ann").unwrap()).auth(Auth::Key);
        let problems = read(server().user(ann).set("colour", json!("red"))).unwrap_err().problems();
        let places: Vec<_> = problems.iter().map(|problem| problem.place.as_str()).collect();
        assert!(places.contains(&"users[0].home[0].target") && places.contains(&"colour"), "{places:?}");
    }

    #[test]
    fn what_a_program_sets_is_not_printed() {
        let settings = server().store_with("files", "s3://bucket", json!({ "secret_access_key": "hunter2" }));
        assert!(!format!("{settings:?}").contains("hunter2"));
    }
}
