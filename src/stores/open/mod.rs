//! Settings → a store: the URL's scheme, the options' names, the builders of `object_store`.

mod azure;
mod google;
mod s3;
mod turns;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use object_store::client::{ClientOptions, HttpClient, HttpConnector};
use object_store::{BackoffConfig, RetryConfig};
use percent_encoding::percent_decode_str;

use super::local::LocalStore;
use super::object::{ObjectBacked, describe};
use super::sftp::{self, SftpStore, Upstream};
use turns::Turns;

use super::{
    AtOnce, Key, PartLimits, Place, Settings, Store, StoreError, StoreErrorKind, StoreResult, Unfinished, memory, own,
};

/// The smallest part of an upload or a copy that is not the last, in bytes.
const SMALLEST_PART: u64 = 5 << 20;

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

/// Whether what is put into a store has no checksum that its server verifies, though it might.
pub(super) fn lacks_checksums(settings: &Settings) -> bool {
    let is_s3 = ["s3://", "s3a://"].iter().any(|scheme| settings.url.starts_with(scheme));
    is_s3 && s3::lacks_checksums(settings)
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
    /// A store of objects, which is not reached before it is used, and the turns of its requests if it is on a server.
    Objects(Box<ObjectBacked>, Option<Turns>),
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
                Ok(Plan::Objects(Box::new(memory::open(&settings.name, prefix(settings, rest)?, size)), None))
            }
            "s3" | "s3a" => {
                let (bucket, path) = rest.split_once('/').unwrap_or((rest, ""));
                s3::open(settings, bucket, path).map(Plan::on_server)
            }
            "gs" => {
                let (bucket, path) = rest.split_once('/').unwrap_or((rest, ""));
                google::open(settings, bucket, path).map(Plan::on_server)
            }
            "az" | "azure" | "adl" | "abfs" | "abfss" => {
                let (container, path) = rest.split_once('/').unwrap_or((rest, ""));
                azure::open(settings, scheme, container, path).map(Plan::on_server)
            }
            "sftp" => Upstream::read(settings, rest).map(|upstream| Plan::Upstream(Box::new(upstream))),
            OWN => Ok(Plan::Own(settings.name.clone())),
            _ => Err(wrong()),
        }
    }

    fn on_server((store, turns): (ObjectBacked, Turns)) -> Self {
        Plan::Objects(Box::new(store), Some(turns))
    }

    /// Whether each request to the store has a connection.
    pub(super) fn is_on_server(&self) -> bool {
        matches!(self, Plan::Objects(_, Some(_)) | Plan::Upstream(_))
    }

    /// Where the root of the store is.
    pub(super) fn place(&self) -> Place {
        match self {
            Plan::Local { folder, .. } => Place::of_path(folder),
            Plan::Objects(store, _) => store.place(),
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
            Plan::Objects(store, turns) => {
                if let Some(turns) = turns {
                    turns.limit_to(at_once.requests);
                }
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

fn bucket_name<'b>(settings: &Settings, bucket: &'b str, what: &str) -> Result<&'b str, String> {
    let fine = !bucket.is_empty() && bucket.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._".contains(&b));
    if fine { Ok(bucket) } else { Err(format!("the URL of store \"{}\" must name a {what}", settings.name)) }
}

/// Defaults that fit large parts on slow links: no limit on the whole request, one on silence. The read timeout also bounds
/// the sending of a part, since it runs until the answer begins.
fn client_defaults() -> ClientOptions {
    ClientOptions::new()
        .with_timeout_disabled()
        .with_connect_timeout(Duration::from_secs(5))
        .with_read_timeout(Duration::from_secs(180))
}

fn retries() -> RetryConfig {
    let backoff = BackoffConfig { max_backoff: Duration::from_secs(5), ..BackoffConfig::default() };
    RetryConfig { backoff, max_retries: 6, retry_timeout: Duration::from_secs(180) }
}

fn cloud_limits(equal_parts: bool) -> PartLimits {
    PartLimits {
        smallest_part: SMALLEST_PART,
        largest_part: 5 << 30,
        most_parts: 10_000,
        largest_object: 5 << 40,
        equal_parts,
    }
}

/// In the message about an option that stores of a kind do not have at all; [`super::validate`] gives it.
pub const NO_OPTION: &str = "stores do not have";

fn unknown(settings: &Settings, option: &str, kind: &str, usual: &str) -> String {
    format!(
        "store \"{}\" has the option \"{option}\", which {kind} {NO_OPTION}; the usual ones are {usual}",
        settings.name
    )
}

fn check_address(
    settings: &Settings,
    address: &str,
    client: &ClientOptions,
    option: &str,
    allow: &str,
) -> Result<(), String> {
    let name = &settings.name;
    let allowed = client.get_config_value(&object_store::ClientConfigKey::AllowHttp).is_some_and(|v| v == "true");
    if address.starts_with("https://") || (address.starts_with("http://") && allowed) {
        return Ok(());
    }
    if address.starts_with("http://") {
        return Err(format!(
            "the option \"{option}\" of store \"{name}\" is not HTTPS; to allow that, set {allow}: \"true\""
        ));
    }
    Err(format!("the option \"{option}\" of store \"{name}\" must be a URL that begins with https:// or http://"))
}

fn cannot_open(settings: &Settings, error: &object_store::Error) -> String {
    format!("the options of store \"{}\" do not match: {}", settings.name, describe(error))
}

/// The client that sends our own requests.
fn connect(settings: &Settings, turns: &Turns, client: &ClientOptions) -> Result<HttpClient, String> {
    turns.connect(client).map_err(|error| cannot_open(settings, &error))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use super::*;
    use crate::secret::Secret;

    fn read(url: &str, options: &[(&str, &str)]) -> Result<Plan, String> {
        let options = options.iter().map(|(k, v)| ((*k).to_owned(), Secret::new((*v).to_owned()))).collect();
        Plan::read(&Settings { name: "lake".to_owned(), url: url.to_owned(), options })
    }

    fn refused(url: &str, options: &[(&str, &str)]) -> String {
        let message = read(url, options).err().unwrap_or_else(|| panic!("{url} {options:?} was taken"));
        assert!(message.contains("\"lake\""), "{message}");
        assert!(!message.contains("hunter2"), "{message}");
        message
    }

    fn bucket_of(url: &str, options: &[(&str, &str)]) -> ObjectBacked {
        match read(url, options) {
            Ok(Plan::Objects(store, _)) => *store,
            Ok(Plan::Local { .. } | Plan::Upstream(_) | Plan::Own(_)) => panic!("no store of objects"),
            Err(message) => panic!("{message}"),
        }
    }

    const KEYS: [(&str, &str); 2] = [("aws_access_key_id", "k"), ("aws_secret_access_key", "hunter2")];

    #[test]
    fn urls_are_read() {
        let store = bucket_of("s3://bucket.name/a/b%20c/", &KEYS);
        assert_eq!((store.bucket.as_str(), store.prefix.as_str()), ("bucket.name", "a/b c/"));
        assert_eq!(store.event_path(&Key::parse("x").unwrap()), "/bucket.name/a/b c/x");
        assert_eq!(bucket_of("s3://bucket", &KEYS).prefix, "");
        assert_eq!(bucket_of("memory:///", &[]).prefix, "");
        assert_eq!(bucket_of("gs://bucket/p", &[("google_skip_signature", "true")]).prefix, "p/");
        let account = [("azure_storage_account_name", "acc"), ("azure_storage_account_key", "aHVudGVyMg==")];
        assert_eq!(bucket_of("az://container/p", &account).bucket, "container");
        assert_eq!(bucket_of("abfss://fs@acc.dfs.core.windows.net/p", &account[1..]).bucket, "fs");
        let key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJdD7y3aLq454yWBdwLWbieU1ebz9/cu7/QEXn9OIeZJ";
        let upstream = read("sftp://u@host/in", &[("host_key", key), ("password", "hunter2")]);
        assert!(upstream.is_ok_and(|plan| plan.is_on_server() && plan.place().way() == ["in"]));
        assert!(refused("sftp://host/in", &[("password", "hunter2")]).contains("sftp://USER@HOST"));
        assert!(matches!(read("file:///srv/x%201", &[("fsync", "false")]),
            Ok(Plan::Local { folder, fsync: false, .. }) if folder == std::path::Path::new("/srv/x 1")));
        for wrong in
            ["", "bucket", "ftp://x/y", "file://relative", "s3:///p", "s3://b/../c", "s3://b/a//c", "memory://x"]
        {
            refused(wrong, &[]);
        }
    }

    #[test]
    fn unknown_options_are_named() {
        assert!(refused("s3://b", &[("aws_regoin", "x")]).contains("aws_regoin"));
        assert!(refused("file:///x", &[("sync", "true")]).contains("fsync"));
        refused("file:///x", &[("fsync", "yes")]);
        assert!(refused("file:///x", &[("symlinks", "follow")]).contains("within_entry or refuse"));
        for (word, follows) in [("within_entry", true), ("refuse", false)] {
            let plan = read("file:///x", &[("symlinks", word)]).ok();
            assert!(matches!(plan, Some(Plan::Local { follows_links, .. }) if follows_links == follows), "{word}");
        }
        assert!(refused("memory:///", &[("aws_region", "x")]).contains("known: size"));
        for wrong in ["", "0", "much", "1 TB", "99999999999GiB", "-1"] {
            refused("memory:///", &[("size", wrong)]);
        }
        for (right, bytes) in [("1000", 1000), ("2KiB", 2048), ("3 GiB", 3 << 30)] {
            let room = bucket_of("memory:///", &[("size", right)]).extras.capacity().unwrap();
            assert_eq!((room.total, room.free), (bytes, bytes));
        }
        refused("gs://b", &[("aws_region", "x")]);
        refused("az://c", &[("google_base_url", "x")]);
        refused("s3://b", &[("aws_bucket", "other")]);
        refused("s3://b", &[("copy_limit", "1")]);
        refused("s3://b", &[("listing_times", "true")]);
        refused("s3://b", &[("aws_secret_access_key", "hunter2"), ("aws_virtual_hosted_style_request", "perhaps")]);
        assert!(refused("s3://b", &[KEYS[0], KEYS[1], ("aws_endpoint", "http://h")]).contains("aws_allow_http"));
    }

    #[test]
    fn option_names_are_those_of_object_store_in_any_case() {
        let mut options = KEYS.to_vec();
        options.extend([
            ("AWS_REGION", "eu-west-1"),
            ("region", "eu-west-1"),
            ("timeout", "60s"),
            ("copy_limit", "5368709120"),
            ("listing_times", "stored"),
        ]);
        bucket_of("s3://b", &options);
    }
}
