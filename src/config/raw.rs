//! The shape of the configuration file: which keys there are, of which types, with which bounds and defaults.
//!
//! What the values mean together (a target's store exists, a login has its credential) is judged by `resolve`.

use std::time::Duration;

use super::problem::Problems;
use super::raw_admin::{Admin, read_admin};
use super::raw_audit::{Audit, read_audit};
use super::raw_defender::{Defender, read_defender};
use super::raw_events::{Sink, read_events};
use super::raw_fleet::{Fleet, read_fleet};
use super::raw_targets::{Target, read_target};
use super::raw_users::{User, read_user};
use super::raw_users_from::{UsersFrom, read_users_from};
use super::reader::{At, Item, Section};
use crate::secret::Secret;
use crate::session::gate::DefenderSettings;
use crate::ssh::RekeyLimits;
use crate::stores;
use crate::vfs::PartialUploads;

/// The whole file. What could not be read is left out or `None`, and noted as a problem.
#[derive(Debug)]
pub(super) struct Config {
    pub server: Server,
    pub stores: Vec<Store>,
    pub trusted_user_ca_keys: At<Vec<At<String>>>,
    /// Files of keys that let nobody in.
    pub revoked_keys: Vec<At<String>>,
    pub users: Vec<User>,
    pub users_from: Vec<UsersFrom>,
    /// Where users may jump to.
    pub targets: Vec<Target>,
    /// The key file that signs the host keys of targets.
    pub host_ca: Option<At<String>>,
    /// `None`: the default sink.
    pub events: Option<Vec<Sink>>,
    pub audit: Option<Audit>,
    pub admin: Option<Admin>,
    /// `None`: the gateway belongs to no fleet.
    pub fleet: Option<Fleet>,
    pub limits: Limits,
    /// `None`: no bans.
    pub defender: Option<Defender>,
    pub partial_uploads: PartialUploads,
    pub strict_setstat: bool,
}

/// `server`
#[derive(Debug, Default)]
pub(super) struct Server {
    pub name: Option<At<String>>,
    pub listen: Option<Vec<At<String>>>,
    pub host_keys: Option<Vec<At<String>>>,
    pub resource_arn: Option<At<String>>,
    pub security_policy: Option<At<String>>,
    pub kex: Option<At<Vec<String>>>,
    pub ciphers: Option<At<Vec<String>>>,
    pub macs: Option<At<Vec<String>>>,
    pub host_key_algorithms: Option<At<Vec<String>>>,
    pub rekey: RekeyLimits,
    pub banner: Option<At<String>>,
    pub proxy_protocol: Option<At<Proxy>>,
    pub proxy_from: Option<At<Vec<At<String>>>>,
}

/// `server.proxy_protocol`
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Proxy {
    Off,
    Optional,
    Required,
    Ignore,
}

/// `stores.NAME`
#[derive(Debug)]
pub(super) struct Store {
    pub name: At<String>,
    pub url: Option<At<Secret>>,
    pub options: Option<At<Vec<(String, Secret)>>>,
    /// Whether no file names it: the embedding program brings it along.
    pub is_own: bool,
}

/// `limits`
#[derive(Debug)]
pub(super) struct Limits {
    pub sessions: u64,
    pub unauthenticated: u64,
    pub unauthenticated_per_address: u64,
    pub connections_per_second: u64,
    pub login_grace: Duration,
    pub auth_attempts: u64,
    pub idle: Duration,
    pub stall: Duration,
    pub drain: Duration,
    pub transfer_memory: u64,
    pub staging: u64,
    pub staging_folder: Option<At<String>>,
    pub largest_hole: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            sessions: 10_000,
            unauthenticated: 100,
            unauthenticated_per_address: 10,
            connections_per_second: 20,
            login_grace: Duration::from_secs(30),
            auth_attempts: 6,
            idle: Duration::from_secs(30 * 60),
            stall: Duration::from_secs(60),
            drain: Duration::from_secs(60),
            transfer_memory: 512 << 20,
            staging: 10 << 30,
            staging_folder: None,
            largest_hole: 64 << 20,
        }
    }
}

pub(super) const DAY: Duration = Duration::from_secs(24 * 60 * 60);
pub(super) const SECOND: Duration = Duration::from_secs(1);

/// A change of keys costs a few milliseconds and stops what is under way for a round trip: more often is an attack on oneself.
const LEAST_REKEY_DATA: u64 = 1 << 20;
const LEAST_REKEY_TIME: Duration = SECOND;

/// Reads the whole file. `None` when it is not a mapping.
pub(super) fn read(root: &Item<'_>, problems: &mut Problems) -> Option<Config> {
    let mut file = root.section(problems)?;
    let server = file.need("server", "write the addresses to listen on and the host keys", problems);
    let server = server.and_then(|item| item.section(problems)).map(|section| read_server(section, problems));
    let stores = file.need("stores", "write a name and a URL for each store", problems);
    let users = file.need("users", "write the users that may log in, or [] for none", problems);
    let config = Config {
        server: server.unwrap_or_default(),
        stores: stores.map(|item| read_stores(&item, problems)).unwrap_or_default(),
        trusted_user_ca_keys: file
            .take("trusted_user_ca_keys")
            .map_or_else(|| root.at(Vec::new()), |item| item.at(item.texts(problems).unwrap_or_default())),
        revoked_keys: file.take("revoked_keys").and_then(|item| item.texts(problems)).unwrap_or_default(),
        users: each(users, problems, read_user),
        users_from: file.take("users_from").map(|item| read_users_from(&item, problems)).unwrap_or_default(),
        targets: each(file.take("targets"), problems, read_target),
        host_ca: text(&mut file, "host_ca", problems),
        events: file.take("events").and_then(|item| read_events(&item, problems)),
        audit: file.take("audit").and_then(|item| read_audit(&item, problems)),
        admin: file.take("admin").and_then(|item| read_admin(&item, problems)),
        fleet: file.take("fleet").and_then(|item| read_fleet(&item, problems)),
        limits: file.take("limits").map(|item| read_limits(&item, problems)).unwrap_or_default(),
        defender: match file.take("defender") {
            Some(item) => read_defender(&item, problems),
            None => Some(Defender { settings: DefenderSettings::default(), allow: None }),
        },
        partial_uploads: choice(
            file.take("partial_uploads"),
            &[("discard", PartialUploads::Discard), ("publish", PartialUploads::Publish)],
            problems,
        ),
        strict_setstat: choice(file.take("setstat"), &[("ignore", false), ("strict", true)], problems),
    };
    file.close(problems);
    Some(config)
}

fn read_server(mut section: Section<'_>, problems: &mut Problems) -> Server {
    let listen = section.need("listen", "write a list of addresses, as in [\"0.0.0.0:2022\"]", problems);
    let host_keys = section.need("host_keys", "write a list of key files; `lockgate init` creates one", problems);
    let server = Server {
        name: text(&mut section, "name", problems),
        listen: listen.and_then(|item| {
            item.filled("write at least one address, as in [\"0.0.0.0:2022\"]", problems);
            item.texts(problems)
        }),
        host_keys: host_keys.and_then(|item| {
            item.filled("write at least one key file (`lockgate init` creates one)", problems);
            item.texts(problems)
        }),
        resource_arn: text(&mut section, "resource_arn", problems),
        security_policy: text(&mut section, "security_policy", problems),
        kex: names(&mut section, "kex", problems),
        ciphers: names(&mut section, "ciphers", problems),
        macs: names(&mut section, "macs", problems),
        host_key_algorithms: names(&mut section, "host_key_algorithms", problems),
        rekey: section.take("rekey").map(|item| read_rekey(&item, problems)).unwrap_or_default(),
        banner: text(&mut section, "banner", problems),
        proxy_protocol: section.take("proxy_protocol").and_then(|item| {
            let words = [
                ("off", Proxy::Off),
                ("ignore", Proxy::Ignore),
                ("optional", Proxy::Optional),
                ("required", Proxy::Required),
            ];
            Some(item.at(item.choice(&words, problems)?))
        }),
        proxy_from: section.take("proxy_from").map(|item| {
            item.filled("write at least one network of load balancers, or leave it out", problems);
            item.at(item.texts(problems).unwrap_or_default())
        }),
    };
    section.close(problems);
    server
}

fn read_rekey(item: &Item<'_>, problems: &mut Problems) -> RekeyLimits {
    let mut limits = RekeyLimits::default();
    let Some(mut section) = item.section(problems) else { return limits };
    let data = section.take("data").and_then(|item| item.size(LEAST_REKEY_DATA..=RekeyLimits::MOST_DATA, problems));
    limits.data = data.unwrap_or(limits.data);
    let time = section.take("time").and_then(|item| item.duration(LEAST_REKEY_TIME..=DAY, problems));
    limits.time = time.unwrap_or(limits.time);
    section.close(problems);
    limits
}

pub(super) fn text(section: &mut Section<'_>, key: &'static str, problems: &mut Problems) -> Option<At<String>> {
    section.take(key)?.placed_text(problems)
}

fn names(section: &mut Section<'_>, key: &'static str, problems: &mut Problems) -> Option<At<Vec<String>>> {
    let item = section.take(key)?;
    let texts = item.texts(problems)?;
    Some(item.at(texts.into_iter().map(|text| text.value).collect()))
}

pub(super) fn choice<T: Clone + Default>(
    item: Option<Item<'_>>,
    words: &[(&'static str, T)],
    problems: &mut Problems,
) -> T {
    item.and_then(|item| item.choice(words, problems)).unwrap_or_default()
}

/// Reads each element of a list that is a mapping.
pub(super) fn each<T>(
    item: Option<Item<'_>>,
    problems: &mut Problems,
    read: impl Fn(&Item<'_>, Section<'_>, &mut Problems) -> T,
) -> Vec<T> {
    let mut all = Vec::new();
    for element in item.and_then(|item| item.list(problems)).unwrap_or_default() {
        if let Some(section) = element.section(problems) {
            all.push(read(&element, section, problems));
        }
    }
    all
}

fn read_stores(item: &Item<'_>, problems: &mut Problems) -> Vec<Store> {
    let mut stores = Vec::new();
    for (name, item) in item.pairs(problems).unwrap_or_default() {
        let mut store = Store { name, url: None, options: None, is_own: false };
        if let Some(mut section) = item.section(problems) {
            let url =
                section.need("url", "write a URL, as in file:///var/lib/lockgate/data or s3://bucket/prefix", problems);
            store.url = url.and_then(|item| Some(item.at(item.secret(problems)?)));
            store.options = section.take("options").map(|item| item.at(read_options(&item, problems)));
            section.close(problems);
        }
        stores.push(store);
    }
    stores
}

fn read_options(item: &Item<'_>, problems: &mut Problems) -> Vec<(String, Secret)> {
    let mut options = Vec::new();
    for (name, value) in item.pairs(problems).unwrap_or_default() {
        // A path is none; whoever writes the credential itself there by mistake does not see it again.
        let is_path = stores::names_a_file(&name.value) && !value.begins_with('{');
        let is_credential = is_credential(&name.value) && !is_path;
        let read = if is_credential { value.credential(problems) } else { value.secret(problems) };
        options.extend(read.map(|value| (name.value, value)));
    }
    options
}

/// The headers of requests to somebody else's service. No message repeats a header's value: it may be a credential.
pub(super) fn read_headers(item: &Item<'_>, problems: &mut Problems) -> Vec<(At<String>, Secret)> {
    let mut headers = Vec::new();
    for (name, value) in item.pairs(problems).unwrap_or_default() {
        headers.extend(value.credential(problems).map(|value| (name, value)));
    }
    headers
}

/// Whether a store's option holds something that no message may repeat.
fn is_credential(option: &str) -> bool {
    let option = option.to_ascii_lowercase();
    ["key", "secret", "token", "password", "credential", "sas", "service_account"].iter().any(|w| option.contains(w))
}

fn read_limits(item: &Item<'_>, problems: &mut Problems) -> Limits {
    let mut limits = Limits::default();
    let Some(mut section) = item.section(problems) else { return limits };
    let mut number = |key, bounds, value: &mut u64, problems: &mut Problems| {
        *value = section.take(key).and_then(|item| item.integer(bounds, problems)).unwrap_or(*value);
    };
    number("sessions", 1..=1_000_000, &mut limits.sessions, problems);
    number("unauthenticated", 1..=100_000, &mut limits.unauthenticated, problems);
    number("unauthenticated_per_address", 1..=100_000, &mut limits.unauthenticated_per_address, problems);
    number("connections_per_second", 1..=100_000, &mut limits.connections_per_second, problems);
    number("auth_attempts", 1..=100, &mut limits.auth_attempts, problems);
    let mut time = |key, bounds, value: &mut Duration, problems: &mut Problems| {
        *value = section.take(key).and_then(|item| item.duration(bounds, problems)).unwrap_or(*value);
    };
    time("login_grace", SECOND..=Duration::from_secs(600), &mut limits.login_grace, problems);
    time("idle", SECOND..=7 * DAY, &mut limits.idle, problems);
    time("stall", SECOND..=DAY, &mut limits.stall, problems);
    time("drain", Duration::ZERO..=DAY, &mut limits.drain, problems);
    let mut size = |key, bounds, value: &mut u64, problems: &mut Problems| {
        *value = section.take(key).and_then(|item| item.size(bounds, problems)).unwrap_or(*value);
    };
    size("transfer_memory", 16 << 20..=1 << 40, &mut limits.transfer_memory, problems);
    size("staging", 1 << 20..=1 << 50, &mut limits.staging, problems);
    size("largest_hole", 0..=1 << 50, &mut limits.largest_hole, problems);
    limits.staging_folder = text(&mut section, "staging_folder", problems);
    section.close(problems);
    limits
}
