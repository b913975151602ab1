//! The shape of `users_from`.

use std::time::Duration;

use super::problem::Problems;
use super::raw::{choice, read_headers, text};
use super::raw_targets::{Grant, read_grants};
use super::raw_users::{AUTH_MODES, Bounds, HomeEntry, read_bounds, read_home, read_permissions};
use super::reader::{At, Item, Section};
use crate::policy::Permissions;
use crate::secret::Secret;
use crate::users::{AuthMode, OnPolicy, ProviderMethod};

/// How often a folder of keys is read if `every` is left out.
const EVERY: Duration = Duration::from_secs(5 * 60);

/// What holds of an identity provider if it is left out.
const TIMEOUT: Duration = Duration::from_secs(5);
const RETRIES: u64 = 2;
const CACHE: Duration = Duration::from_secs(30);
const RECHECK: Duration = Duration::from_secs(5 * 60);

/// `users_from`, or one element of it
#[derive(Debug)]
pub(super) enum UsersFrom {
    Keys(Box<Keys>),
    Http(Box<Http>),
}

/// An identity provider: what stands in `http`, and beside it.
#[derive(Debug)]
pub(super) struct Http {
    pub url: Option<At<Secret>>,
    pub method: ProviderMethod,
    pub server_id: Option<At<String>>,
    pub headers: Vec<(At<String>, Secret)>,
    pub timeout: Duration,
    pub retries: u64,
    pub cache: Duration,
    pub recheck: Duration,
    pub allow_http: bool,
    pub auth: AuthMode,
    pub require_totp: bool,
    pub permissions: Permissions,
    pub targets: Option<At<Vec<Target>>>,
    pub policy: OnPolicy,
    pub bounds: Bounds,
}

/// `targets`: where the provider's targets with a prefix are.
#[derive(Debug)]
pub(super) struct Target {
    pub prefix: At<String>,
    pub folder: At<String>,
}

/// A folder of keys.
#[derive(Debug)]
pub(super) struct Keys {
    pub folder: Option<At<String>>,
    pub every: Duration,
    pub role: Option<At<String>>,
    pub bounds: Bounds,
    pub home: Option<At<Vec<HomeEntry>>>,
    pub targets: Vec<Grant>,
    pub totp: Vec<(At<String>, At<Secret>)>,
    pub require_totp: bool,
}

/// Reads `users_from`: one source, or a list of them.
pub(super) fn read_users_from(item: &Item<'_>, problems: &mut Problems) -> Vec<UsersFrom> {
    let mut sources = Vec::new();
    for element in item.one_or_more(problems) {
        let Some(mut section) = element.section(problems) else { continue };
        let http = section.take("http");
        let has_keys = section.take("keys").is_some() || section.is_broken("keys");
        match http {
            Some(http) if has_keys => {
                http.problem(problems, "a source is either a folder of `keys` or a provider; write two elements")
            }
            Some(http) => sources.extend(read_http(&http, section, problems)),
            None if section.is_broken("http") => {}
            None => sources.push(UsersFrom::Keys(Box::new(read_keys(section, problems)))),
        }
    }
    sources
}

fn read_http(item: &Item<'_>, mut around: Section<'_>, problems: &mut Problems) -> Option<UsersFrom> {
    let mut section = item.section(problems)?;
    let url = section.need("url", "write the provider's URL, as in https://idp.example.org/", problems);
    let mut time = |key, bounds, default, problems: &mut Problems| {
        section.take(key).and_then(|item| item.duration(bounds, problems)).unwrap_or(default)
    };
    let timeout = time("timeout", Duration::from_millis(100)..=Duration::from_secs(60), TIMEOUT, problems);
    let cache = time("cache", Duration::ZERO..=Duration::from_secs(600), CACHE, problems);
    let recheck = time("recheck", Duration::from_secs(1)..=Duration::from_secs(24 * 60 * 60), RECHECK, problems);
    let permissions = around.take("permissions").map(|item| read_permissions(&item, problems));
    let http = Http {
        url: url.and_then(|item| Some(item.at(item.secret(problems)?))),
        method: choice(
            section.take("method"),
            &[("GET", ProviderMethod::Get), ("POST", ProviderMethod::Post)],
            problems,
        ),
        server_id: text(&mut section, "server_id", problems),
        headers: section.take("headers").map(|item| read_headers(&item, problems)).unwrap_or_default(),
        timeout,
        retries: section.take("retries").and_then(|item| item.integer(0..=10, problems)).unwrap_or(RETRIES),
        cache,
        recheck,
        allow_http: section.take("allow_http").and_then(|item| item.boolean(problems)).unwrap_or(false),
        auth: around
            .take("auth")
            .and_then(|item| item.choice(&AUTH_MODES, problems))
            .unwrap_or(AuthMode::PublicKeyOrPassword),
        require_totp: around.take("require_totp").and_then(|item| item.boolean(problems)).unwrap_or(false),
        permissions: permissions.unwrap_or(Permissions::READ_WRITE),
        targets: around.take("targets").map(|item| item.at(read_targets(&item, problems))),
        policy: choice(around.take("policy"), &[("refuse", OnPolicy::Refuse), ("ignore", OnPolicy::Ignore)], problems),
        bounds: read_bounds(&mut around, problems),
    };
    section.close(problems);
    around.close(problems);
    Some(UsersFrom::Http(Box::new(http)))
}

fn read_targets(item: &Item<'_>, problems: &mut Problems) -> Vec<Target> {
    let pairs = item.pairs(problems).unwrap_or_default();
    pairs
        .into_iter()
        .filter_map(|(prefix, item)| Some(Target { prefix, folder: item.placed_text(problems)? }))
        .collect()
}

fn read_totp(item: &Item<'_>, problems: &mut Problems) -> Vec<(At<String>, At<Secret>)> {
    let pairs = item.pairs(problems).unwrap_or_default();
    pairs.into_iter().filter_map(|(name, item)| Some((name, item.at(item.credential(problems)?)))).collect()
}

fn read_keys(mut section: Section<'_>, problems: &mut Problems) -> Keys {
    let folder =
        section.need("keys", "write the store and the folder of the NAME.pub files, as in lake:/public-keys", problems);
    let every = section.take("every");
    let targets = section.take("targets");
    let home = match targets {
        Some(_) => section.take("home"),
        None => section.need(
            "home",
            "write the folders that each user sees, as in [{ entry: /, target: \"STORE:/home/${user}\" }]",
            problems,
        ),
    };
    let bounds = Duration::from_secs(1)..=Duration::from_secs(24 * 60 * 60);
    let keys = Keys {
        folder: folder.and_then(|item| item.placed_text(problems)),
        every: every.and_then(|item| item.duration(bounds, problems)).unwrap_or(EVERY),
        role: text(&mut section, "role", problems),
        bounds: read_bounds(&mut section, problems),
        home: home.map(|item| read_home(&item, problems)),
        targets: read_grants(targets, problems),
        totp: section.take("totp").map(|item| read_totp(&item, problems)).unwrap_or_default(),
        require_totp: section.take("require_totp").and_then(|item| item.boolean(problems)).unwrap_or(false),
    };
    section.close(problems);
    keys
}
