//! Settings → a store: the URL's scheme, the options' names, the builders of `object_store`.

#[cfg(feature = "azure")]
mod azure;
#[cfg(clouds)]
#[cfg_attr(not(all_clouds), allow(dead_code))]
mod clouds;
#[cfg(feature = "gcs")]
mod google;
#[cfg(feature = "s3")]
mod s3;
#[cfg(clouds)]
mod turns;

use std::path::PathBuf;
use std::sync::Arc;

use percent_encoding::percent_decode_str;

use super::local::LocalStore;
use super::object::ObjectBacked;
use super::sftp::{self, SftpStore, Upstream};
use super::{AtOnce, Key, Place, Settings, Store, StoreError, StoreErrorKind, StoreResult, Unfinished, memory, own};
#[cfg(clouds)]
use turns::Turns;

/// How many bytes a memory store holds if its option `size` is left out.
const MEMORY: u64 = 256 << 20;

/// Options that name files, without the vendor before them.
pub(super) const FILE_OPTIONS: [&str; 6] = [
    "service_account",
    "service_account_path",
    "application_credentials",
    "web_identity_token_file",
    "container_authorization_token_file",
    "federated_token_file",
];

/// The schemes of URLs, for messages.
const SCHEMES: &str =
    "file:///PATH, memory:///, s3://BUCKET/PREFIX, gs://BUCKET/PREFIX, az://CONTAINER/PREFIX or sftp://USER@HOST/PATH";

/// The scheme of a store that an embedding program brings along.
pub(super) const OWN: &str = "own";

/// The cargo feature that stores with URLs of this scheme need; `None` for schemes that every build has.
fn feature_of(scheme: &str) -> Option<&'static str> {
    match scheme {
        "s3" | "s3a" => Some("s3"),
        "gs" => Some("gcs"),
        "az" | "azure" | "adl" | "abfs" | "abfss" => Some("azure"),
        _ => None,
    }
}

/// What is wrong with a store that this build leaves out.
fn lacking(settings: &Settings, scheme: &str, feature: &str) -> String {
    let name = &settings.name;
    format!("this build has no support for {scheme}:// stores, as \"{name}\" is: build it with the feature `{feature}`")
}

/// Whether what is put into a store has no checksum that its server verifies, though it might.
#[cfg(feature = "s3")]
pub(super) fn lacks_checksums(settings: &Settings) -> bool {
    let scheme = settings.url.split_once("://").map(|(scheme, _)| scheme);
    scheme.and_then(feature_of) == Some("s3") && s3::lacks_checksums(settings)
}

/// No store of this build could have one.
#[cfg(not(feature = "s3"))]
pub(super) fn lacks_checksums(_: &Settings) -> bool {
    false
}

/// A store whose settings were found right.
pub(super) enum Plan {
    /// A folder; opening it may fail.
    Local {
        /// The name in the configuration.
        name: String,
        /// The folder.
        folder: PathBuf,
        /// Whether uploads reach the disk before they are published.
        fsync: bool,
        /// Whether symbolic links are followed.
        follows_links: bool,
    },
    /// A store of objects in the memory of the process.
    Memory(Box<ObjectBacked>),
    /// A store of objects on a server, which is not reached before it is used, and the turns of its requests.
    #[cfg(clouds)]
    Cloud(Box<ObjectBacked>, Turns),
    /// An SFTP server, which is not reached before it is used.
    Upstream(Box<Upstream>),
    /// What an embedding program brings along under this name. It is open already.
    Own(String),
}

impl Plan {
    /// Reads settings.
    ///
    /// # Errors
    /// A sentence that says what is wrong and what would be right.
    pub(super) fn read(settings: &Settings) -> Result<Self, String> {
        let wrong = || format!("the URL of store \"{}\" must be {SCHEMES}", settings.name);
        let (scheme, rest) = settings.url.split_once("://").ok_or_else(wrong)?;
        match scheme {
            "file" => local(settings, rest),
            "memory" => {
                only_options(settings, &["size"])?;
                if !(rest.is_empty() || rest.starts_with('/')) {
                    return Err(format!("the URL of store \"{}\" must be memory:///", settings.name));
                }
                let size = size(settings, "size", MEMORY)?;
                Ok(Plan::Memory(Box::new(memory::open(&settings.name, prefix(settings, rest)?, size))))
            }
            "sftp" => Upstream::read(settings, rest).map(|upstream| Plan::Upstream(Box::new(upstream))),
            OWN => Ok(Plan::Own(settings.name.clone())),
            _ => Plan::read_cloud(settings, scheme, rest).unwrap_or_else(|| Err(wrong())),
        }
    }

    /// Reads the settings of a store in a cloud; `None` for a scheme that is none's.
    fn read_cloud(settings: &Settings, scheme: &str, rest: &str) -> Option<Result<Self, String>> {
        let feature = feature_of(scheme)?;
        #[cfg(clouds)]
        let (bucket, path) = rest.split_once('/').unwrap_or((rest, ""));
        #[cfg(not(clouds))]
        let _ = rest;
        Some(match feature {
            #[cfg(feature = "s3")]
            "s3" => s3::open(settings, bucket, path).map(Plan::cloud),
            #[cfg(feature = "gcs")]
            "gcs" => google::open(settings, bucket, path).map(Plan::cloud),
            #[cfg(feature = "azure")]
            "azure" => azure::open(settings, scheme, bucket, path).map(Plan::cloud),
            _ => Err(lacking(settings, scheme, feature)),
        })
    }

    #[cfg(clouds)]
    fn cloud((store, turns): (ObjectBacked, Turns)) -> Self {
        Plan::Cloud(Box::new(store), turns)
    }

    /// Whether each request to the store has a connection.
    pub(super) fn is_on_server(&self) -> bool {
        match self {
            #[cfg(clouds)]
            Plan::Cloud(..) => true,
            Plan::Upstream(_) => true,
            Plan::Local { .. } | Plan::Memory(_) | Plan::Own(_) => false,
        }
    }

    /// Where the root of the store is.
    pub(super) fn place(&self) -> Place {
        match self {
            Plan::Local { folder, .. } => Place::of_path(folder),
            Plan::Memory(store) => store.place(),
            #[cfg(clouds)]
            Plan::Cloud(store, _) => store.place(),
            Plan::Upstream(upstream) => sftp::place(upstream),
            Plan::Own(name) => Place::of_key(own::site(name), ""),
        }
    }

    /// Makes the store.
    pub(super) fn open(self, unfinished: Option<Arc<Unfinished>>, at_once: AtOnce) -> StoreResult<Arc<dyn Store>> {
        Ok(match self {
            Plan::Local { name, folder, fsync, follows_links } => {
                Arc::new(LocalStore::open(&name, &folder, fsync, follows_links, at_once)?)
            }
            Plan::Memory(store) => Arc::new(*store),
            #[cfg(clouds)]
            Plan::Cloud(store, turns) => {
                turns.limit_to(at_once.requests);
                if let Some(journal) = unfinished {
                    store.extras.note_in(journal);
                }
                Arc::new(*store)
            }
            Plan::Upstream(upstream) => Arc::new(SftpStore::new(*upstream, unfinished, at_once)),
            Plan::Own(name) => {
                let message = format!("the program that embeds the gateway brings no store \"{name}\"");
                return Err(StoreError::new(StoreErrorKind::Other, message));
            }
        })
    }
}

fn local(settings: &Settings, rest: &str) -> Result<Plan, String> {
    let name = &settings.name;
    only_options(settings, &["fsync", "symlinks"])?;
    if !rest.starts_with('/') {
        return Err(format!("the URL of store \"{name}\" must name an absolute path: file:///PATH"));
    }
    let folder =
        percent_decode_str(rest).decode_utf8().map_err(|_| format!("the path of store \"{name}\" is not UTF-8"))?;
    let (mut fsync, mut follows_links) = (true, true);
    for (option, value) in &settings.options {
        match (option.as_str(), value.expose()) {
            ("fsync", "true") => fsync = true,
            ("fsync", "false") => fsync = false,
            ("fsync", _) => return Err(format!("the option \"fsync\" of store \"{name}\" must be true or false")),
            (_, "within_entry") => follows_links = true,
            (_, "refuse") => follows_links = false,
            _ => {
                return Err(format!("the option \"symlinks\" of store \"{name}\" must be within_entry or refuse"));
            }
        }
    }
    Ok(Plan::Local { name: name.clone(), folder: PathBuf::from(folder.as_ref()), fsync, follows_links })
}

/// An option that is a number of bytes, or of KiB, MiB or GiB.
fn size(settings: &Settings, option: &str, default: u64) -> Result<u64, String> {
    let Some((_, value)) = settings.options.iter().find(|(name, _)| name == option) else { return Ok(default) };
    let text = value.expose();
    let (digits, unit) = text.split_at(text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len()));
    let unit = match unit.trim_start() {
        "" => Some(1),
        "KiB" => Some(1 << 10),
        "MiB" => Some(1 << 20),
        "GiB" => Some(1 << 30),
        _ => None,
    };
    let bytes = unit.and_then(|unit: u64| digits.parse::<u64>().ok()?.checked_mul(unit)).filter(|bytes| *bytes > 0);
    bytes.ok_or_else(|| format!("the option \"{option}\" of store \"{}\" must be a size, as in 256MiB", settings.name))
}

fn only_options(settings: &Settings, known: &[&str]) -> Result<(), String> {
    for (option, _) in &settings.options {
        if !known.contains(&option.as_str()) {
            let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
            return Err(format!(
                "store \"{}\" has the option \"{option}\", which stores of its kind do not have (known: {known})",
                settings.name
            ));
        }
    }
    Ok(())
}

/// What stands before all keys: the URL's path and a slash, or nothing.
fn prefix(settings: &Settings, path: &str) -> Result<String, String> {
    let wrong =
        |why: &str| format!("the path in the URL of store \"{}\" cannot be part of a key: {why}", settings.name);
    let decoded = percent_decode_str(path).decode_utf8().map_err(|_| wrong("it is not UTF-8"))?;
    Key::parse(&decoded).map(|key| key.as_prefix()).map_err(|error| wrong(&error.to_string()))
}

/// In the message about an option that stores of a kind do not have at all; [`super::validate`] gives it.
pub const NO_OPTION: &str = "stores do not have";

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests;
