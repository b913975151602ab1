//! Users of the file: names, credentials, homes.

use std::collections::{HashMap, HashSet};

use chrono::{DateTime, NaiveDate, NaiveTime, Utc};

use super::problem::{Problems, near, quoted};
use super::reader::At;
use super::resolve::resolve_networks;
use super::resolve_targets::{judge_proofs, resolve_grants};
use super::{raw, raw_users};
use crate::path::LogicalPath;
use crate::secret::Secret;
use crate::stores::Key;
use crate::users::{
    AuthMode, AuthorizedKey, Bounds, CONFIGURATION, HomeEntry, MAX_KEYS, PasswordHash, Totp, TotpSecret, User,
};

/// As many mappings as AWS Transfer Family takes for one user.
const MAX_ENTRIES: usize = 2000;

/// The longest login name, in bytes: Transfer Family's `[\w][\w@.-]{2,99}`, of which short names are served as well.
const MAX_NAME: usize = 100;

/// The longest `role`, in bytes (an ARN has at most 2,048).
const MAX_ROLE: usize = 2048;

/// Resolves the users; a user with a problem is left out.
pub(super) fn resolve_users(config: &raw::Config, problems: &mut Problems) -> Vec<User> {
    let any_authority = !config.trusted_user_ca_keys.value.is_empty();
    let mut taken: HashMap<&str, u64> = HashMap::new();
    let mut users = Vec::new();
    for user in &config.users {
        if let Some(name) = &user.name {
            judge_name(name, problems);
            if let Some(first) = taken.insert(&name.value, name.line) {
                name.problem(problems, format!("a user of this name is already in line {first}; names must be unique"));
            }
        }
        let keys = resolve_keys(&user.public_keys, problems);
        let principals = resolve_principals(user.principals.as_ref(), problems);
        let password = user.password_hash.as_ref().and_then(|hash| {
            PasswordHash::parse(hash.value.expose()).map_err(|what| hash.problem(problems, what)).ok()
        });
        let totp = user.totp.as_ref().and_then(|secret| resolve_totp(secret, problems));
        judge_credentials(user, any_authority, problems);
        judge_role(user.role.as_ref(), problems);
        let bounds = resolve_bounds(&user.bounds, problems);
        let targets = resolve_grants(&user.targets, &config.targets, problems);
        if user.enabled && !user.has_keys && !any_authority {
            judge_proofs(&user.targets, &config.targets, problems);
        }
        let name = user.name.as_ref().map(|name| name.value.as_str()).filter(|name| is_name(name));
        let home = resolve_home(user.home.as_ref(), |target| resolve_target(target, name, &config.stores), problems);
        if let (Some(name), Some(auth)) = (&user.name, user.auth) {
            users.push(User {
                name: name.value.as_str().into(),
                role: user.role.as_ref().map(|role| role.value.clone()),
                identity: None,
                keys,
                principals,
                password,
                auth,
                totp: totp.map_or(Totp::NotNeeded, Totp::Needed),
                enabled: user.enabled,
                bounds,
                home,
                targets,
                source: CONFIGURATION.into(),
            });
        }
    }
    users
}

pub(super) fn judge_role(role: Option<&At<String>>, problems: &mut Problems) {
    if let Some(role) = role.filter(|role| role.value.len() > MAX_ROLE || has_control(&role.value)) {
        role.problem(problems, format!("is longer than {MAX_ROLE} bytes or contains a control character"));
    }
}

/// The secret of one-time codes.
pub(super) fn resolve_totp(secret: &At<Secret>, problems: &mut Problems) -> Option<TotpSecret> {
    TotpSecret::parse(secret.value.expose()).map_err(|what| secret.problem(problems, what)).ok()
}

fn has_control(text: &str) -> bool {
    text.chars().any(char::is_control)
}

/// Whether a user can have this name.
pub(super) fn is_name(name: &str) -> bool {
    let word = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
    name.len() <= MAX_NAME
        && name.bytes().next().is_some_and(word)
        && name.bytes().all(|b| word(b) || b == b'@' || b == b'.' || b == b'-')
}

fn judge_name(name: &At<String>, problems: &mut Problems) {
    if !is_name(&name.value) {
        let rule = format!(
            "is not a login name: 1 to {MAX_NAME} letters, digits, '_', '@', '.' and '-', the first a letter, digit or '_'"
        );
        name.problem(problems, rule);
    }
}

fn resolve_keys(raw: &At<Vec<At<String>>>, problems: &mut Problems) -> Vec<AuthorizedKey> {
    if raw.value.len() > MAX_KEYS {
        raw.problem(problems, format!("{} keys; a user has at most {MAX_KEYS}", raw.value.len()));
    }
    let mut keys: Vec<AuthorizedKey> = Vec::new();
    for line in raw.value.iter().take(MAX_KEYS) {
        match AuthorizedKey::parse(&line.value) {
            Ok(key) if keys.iter().any(|known| known.blob() == key.blob()) => {
                line.problem(problems, "this key appears twice");
            }
            Ok(key) => keys.push(key),
            Err(what) => line.problem(problems, what),
        }
    }
    keys
}

/// Authorities whose certificates are taken for every user.
pub(super) fn resolve_authorities(raw: &At<Vec<At<String>>>, problems: &mut Problems) -> Vec<AuthorizedKey> {
    let keys = resolve_keys(raw, problems);
    let marked = raw.value.iter().filter(|line| AuthorizedKey::parse(&line.value).is_ok_and(|key| key.is_authority()));
    for line in marked {
        line.problem(
            problems,
            "every key in this list is an authority's key; remove cert-authority and principals before it",
        );
    }
    keys
}

pub(super) fn resolve_bounds(raw: &raw_users::Bounds, problems: &mut Problems) -> Bounds {
    let allow_from = raw.allow_from.as_ref().map(|list| resolve_networks(&list.value, problems)).unwrap_or_default();
    let expires = raw.expires.as_ref().and_then(|text| resolve_expires(text, problems));
    let sessions = raw.sessions.map(|sessions| usize::try_from(sessions).unwrap_or(usize::MAX));
    Bounds { expires, allow_from, sessions }
}

/// When something is of no use any more.
pub(super) fn resolve_expires(text: &At<String>, problems: &mut Problems) -> Option<DateTime<Utc>> {
    let moment = parse_moment(&text.value);
    if moment.is_none() {
        let right = "is neither a date nor a time; write 2027-12-31 (the beginning of that day, in UTC) or 2027-12-31T18:00:00Z";
        text.problem(problems, right);
    }
    moment
}

/// A time of RFC 3339, or a date: its first moment in UTC.
fn parse_moment(text: &str) -> Option<DateTime<Utc>> {
    let date = || Some(NaiveDate::parse_from_str(text, "%Y-%m-%d").ok()?.and_time(NaiveTime::MIN).and_utc());
    match text.len() {
        10 => date(),
        _ => DateTime::parse_from_rfc3339(text).map(|time| time.to_utc()).ok(),
    }
}

fn resolve_principals(raw: Option<&At<Vec<At<String>>>>, problems: &mut Problems) -> Vec<String> {
    let raw = raw.map(|list| list.value.as_slice()).unwrap_or_default();
    for name in raw.iter().filter(|name| name.value.is_empty() || has_control(&name.value)) {
        name.problem(problems, "a principal is a name in a certificate, as ssh-keygen -n writes it");
    }
    raw.iter().map(|name| name.value.clone()).collect()
}

/// A user must have what `auth` asks for, or nobody could log in. With an authority that everybody trusts, a certificate is
/// as good as a key.
fn judge_credentials(user: &raw_users::User, any_authority: bool, problems: &mut Problems) {
    let (keys, password) = (user.has_keys || any_authority, user.has_password);
    let missing = match user.auth {
        Some(AuthMode::PublicKey) if !keys && password => {
            "auth is public_key, but there are no public_keys; add one, or write `auth: password`"
        }
        Some(AuthMode::PublicKey) if !keys => "auth is public_key, but there are no public_keys; add one",
        Some(AuthMode::Password) if !password => {
            "auth is password, but there is no password_hash; create one with `lockgate hash-password`"
        }
        Some(AuthMode::PublicKeyOrPassword) if !keys && !password => {
            "there are neither public_keys nor a password_hash; add one of them"
        }
        Some(AuthMode::PublicKeyAndPassword) if !keys || !password => {
            "auth is public_key_and_password, which requires both public_keys and a password_hash"
        }
        _ => return,
    };
    user.at.problem(problems, missing);
}

/// Resolves a home; `resolve_target` gives the store and the key of a target.
pub(super) fn resolve_home(
    home: Option<&At<Vec<raw_users::HomeEntry>>>,
    resolve_target: impl Fn(&str) -> Result<(String, String), String>,
    problems: &mut Problems,
) -> Vec<HomeEntry> {
    let Some(home) = home else { return Vec::new() };
    if home.value.len() > MAX_ENTRIES {
        home.problem(problems, format!("{} entries; a home has at most {MAX_ENTRIES}", home.value.len()));
    }
    let mut taken = HashSet::new();
    let mut entries = Vec::new();
    for raw in home.value.iter().take(MAX_ENTRIES) {
        let entry = raw.entry.as_ref().and_then(|entry| {
            let path = resolve_entry(&entry.value).map_err(|what| entry.problem(problems, what)).ok()?;
            if !taken.insert(path.clone()) {
                entry.problem(problems, format!("the entry {path} appears twice in this home"));
            }
            Some(path)
        });
        let target = raw
            .target
            .as_ref()
            .and_then(|target| resolve_target(&target.value).map_err(|what| target.problem(problems, what)).ok());
        if let (Some(entry), Some((store, target))) = (entry, target) {
            entries.push(HomeEntry { entry, store, target, permissions: raw.permissions });
        }
    }
    entries
}

fn resolve_entry(text: &str) -> Result<LogicalPath, String> {
    let path = LogicalPath::parse_str(text).map_err(|error| format!("is not a path: {error}"))?;
    if path.as_str() == text {
        return Ok(path);
    }
    Err(format!("an entry must be an absolute path in its simplest form; write {:?}", path.as_str()))
}

/// As [`resolve_target`], for users whose names are not known: `${user}` stays in the key. It would fit with the longest name.
pub(super) fn resolve_template(text: &str, stores: &[raw::Store]) -> Result<(String, String), String> {
    let (store, _) = resolve_target(text, Some(&"a".repeat(MAX_NAME)), stores)?;
    let folder = text.split_once(":/").map_or("", |(_, folder)| folder);
    Ok((store, folder.trim_end_matches('/').to_owned()))
}

/// Reads `STORE:/FOLDER`: the store's name and the key. Without a right user name the `${user}` is filled with any.
pub(super) fn resolve_target(
    text: &str,
    name: Option<&str>,
    stores: &[raw::Store],
) -> Result<(String, String), String> {
    let example = "write STORE:/FOLDER, as in \"local:/home/${user}\"";
    let (store, folder) = text.split_once(':').ok_or_else(|| format!("the store is missing; {example}"))?;
    let names = || stores.iter().map(|store| store.name.value.as_str());
    if !names().any(|name| name == store) {
        let meant = near(store, names()).map(|meant| format!("; did you mean {meant:?}?")).unwrap_or_default();
        let known = match names().next() {
            Some(_) => format!("the stores are {}", quoted(names())),
            None => "there are no stores".to_owned(),
        };
        let store: String = store.chars().take(80).collect();
        return Err(format!("no store named {store:?}; {known}{meant}"));
    }
    if !folder.starts_with('/') {
        return Err(format!("the folder does not start with a slash; {example}"));
    }
    let folder = folder.replace("${user}", name.unwrap_or("user"));
    if folder.contains("${") {
        return Err("only `${user}` is replaced in a target".into());
    }
    let inner = folder[1..].strip_suffix('/').unwrap_or(&folder[1..]);
    if inner.starts_with('/') || inner.ends_with('/') {
        return Err("the folder contains an empty component (//)".into());
    }
    let key = Key::parse(inner).map_err(|error| format!("the folder cannot be a key: {error}"))?;
    Ok((store.to_owned(), key.as_str().to_owned()))
}
