//! The users of SFTPGo, as its backup has them (`dumpdata`).
//!
//! The format is SFTPGo's `BackupData`: `users`, `groups`, `folders` and more. A user's groups and virtual folders are applied as SFTPGo
//! does at a login. Secrets of stores are encrypted with a key that the backup does not have.

mod filesystem;
mod groups;
mod rights;

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{anyhow, bail};
use chrono::{DateTime, SecondsFormat};
use serde_json::{Map, Value};

use super::draft::{Draft, DraftEntry, DraftUser, Rights};
use filesystem::{Folder, target};
use rights::{Methods, rights_of};

/// Of a user: what is converted, or is handled together with something else.
const CONVERTED: [&str; 15] = [
    "username",
    "status",
    "password",
    "has_password",
    "public_keys",
    "home_dir",
    "permissions",
    "max_sessions",
    "expiration_date",
    "filesystem",
    "filters",
    "virtual_folders",
    "groups",
    "role",
    "uid",
];

/// Of a user: numbers of rows, times and counters, and descriptions.
const SAYS_NOTHING: [&str; 19] = [
    "id",
    "gid",
    "email",
    "description",
    "additional_info",
    "additional_emails",
    "created_at",
    "updated_at",
    "deleted_at",
    "last_login",
    "first_download",
    "first_upload",
    "last_password_change",
    "last_quota_update",
    "used_quota_size",
    "used_quota_files",
    "used_upload_data_transfer",
    "used_download_data_transfer",
    "oidc_custom_fields",
];

/// Of `filters`: the same.
const CONVERTED_FILTERS: [&str; 6] =
    ["allowed_ip", "denied_login_methods", "denied_protocols", "totp_config", "recovery_codes", "web_client"];

/// Of `filters`: what is about other protocols, or how SFTPGo itself works.
const FILTERS_OF_OTHERS: [&str; 10] = [
    "hooks",
    "tls_username",
    "tls_certs",
    "disable_fs_checks",
    "allow_api_key_auth",
    "user_type",
    "external_auth_cache_time",
    "ftp_security",
    "default_shares_expiration",
    "max_shares_expiration",
];

/// Other parts of a backup.
const OTHER_PARTS: [(&str, &str); 8] = [
    ("admins", "administrators: see `admin.tokens` and `admin.oidc`"),
    ("api_keys", "API keys: see `admin.tokens`"),
    ("shares", "shares: there are no links to files"),
    ("event_actions", "actions of events: see `events`, with `format: cloudevents` for webhooks"),
    ("event_rules", "rules of events: see `events` and their `filter`"),
    ("ip_lists", "lists of addresses: see `defender.allow`, and `allow_from` of users"),
    ("roles", "roles of administrators: see the roles of `admin.tokens`"),
    ("configs", "settings of the server: see config.example.yaml"),
];

/// Makes a draft of the backup.
///
/// # Errors
/// A document that is no backup, or one without users.
pub(super) fn convert(documents: &[Value]) -> anyhow::Result<Draft> {
    let mut draft = Draft::default();
    let mut seen = false;
    for dump in documents {
        let Some(users) = dump["users"].as_array() else {
            bail!("this is no backup of SFTPGo: there are no `users` (GET /api/v2/dumpdata?output-data=1 gives one)");
        };
        let folders = by_name(&dump["folders"]);
        let groups = by_name(&dump["groups"]);
        for user in users {
            let name = user["username"].as_str().ok_or_else(|| anyhow!("a user has no username"))?;
            seen = true;
            let missing = missing_groups(user, &groups);
            if !missing.is_empty() {
                draft.report.leave_out(name, format!("the backup does not have its group {}", missing.join(", ")));
                continue;
            }
            convert_user(name, &groups::applied(user, &groups), &folders, &mut draft);
        }
        for (part, what) in OTHER_PARTS {
            match dump[part].as_array().map(Vec::len).or(dump[part].is_object().then_some(1)) {
                None | Some(0) => {}
                Some(count) => {
                    draft.report.general(format!("`{part}` ({count}) has no counterpart among users; {what}."))
                }
            }
        }
    }
    if !seen {
        bail!("the backup has no users");
    }
    draft.report.general(
        "clients know the host keys of the old server: copy its private keys (id_ed25519, id_ecdsa, id_rsa) into `host_keys`.",
    );
    Ok(draft)
}

fn by_name(list: &Value) -> BTreeMap<&str, &Value> {
    list.as_array().into_iter().flatten().filter_map(|element| Some((element["name"].as_str()?, element))).collect()
}

/// Groups with settings that the backup does not have: without them a user could get more than before, or less.
fn missing_groups<'a>(user: &'a Value, groups: &BTreeMap<&str, &Value>) -> Vec<&'a str> {
    let named = groups::of(user).into_iter().map(|(name, _)| name);
    named.filter(|name| !groups.contains_key(name)).collect()
}

fn convert_user(name: &str, user: &Value, folders: &BTreeMap<&str, &Value>, draft: &mut Draft) {
    note_unknown(name, user, draft);
    let filters = &user["filters"];
    if texts(&filters["denied_protocols"]).iter().any(|protocol| protocol == "SSH") {
        draft.report.leave_out(name, "the protocol SSH is denied to this user");
        return;
    }
    let keys = draft.keys(name, texts(&user["public_keys"]));
    let password = user["password"].as_str().filter(|hash| !hash.is_empty());
    let password_hash = password.and_then(|hash| draft.password(name, hash));
    let methods = Methods { has_keys: !keys.is_empty(), has_password: password_hash.is_some() };
    let Some(auth) = methods.auth(&texts(&filters["denied_login_methods"])) else {
        draft.report.leave_out(name, "there is neither a key nor a password that can be used");
        return;
    };
    let mut made = DraftUser {
        name: name.to_owned(),
        role: user["role"].as_str().filter(|role| !role.is_empty()).map(str::to_owned),
        keys,
        password_hash,
        auth,
        is_disabled: user["status"].as_i64() != Some(1),
        expires: user["expiration_date"].as_i64().filter(|moment| *moment > 0).and_then(moment),
        sessions: user["max_sessions"].as_u64().filter(|sessions| *sessions > 0),
        home: home(name, user, folders, draft),
        ..DraftUser::default()
    };
    match draft.networks(name, &texts(&filters["allowed_ip"])) {
        Some(networks) => made.allow_from = networks,
        None => {
            made.is_disabled = true;
            draft.report.note(
                name,
                "disabled: none of the allowed addresses can be used. Set `allow_from`, then `enabled: true`",
            );
        }
    }
    second_factor(name, filters, &mut made, draft);
    if made.home.is_empty() {
        draft.report.leave_out(name, "nothing of the home has a counterpart");
        return;
    }
    draft.users.push(made);
}

/// A secret that is encrypted cannot be taken along: without it the user would need one proof less.
fn second_factor(name: &str, filters: &Value, made: &mut DraftUser, draft: &mut Draft) {
    let totp = &filters["totp_config"];
    let is_required = texts(&filters["2fa_protocols"]).iter().any(|protocol| protocol == "SSH");
    let is_used = totp["enabled"] == true && texts(&totp["protocols"]).iter().any(|protocol| protocol == "SSH");
    if !is_used && !is_required {
        return;
    }
    match filesystem::plain(&totp["secret"]).filter(|_| is_used) {
        Some(secret) => made.totp = Some(secret.to_owned()),
        None => {
            made.is_disabled = true;
            let what = "disabled: the secret of its one-time codes is encrypted, or missing. `lockgate totp NAME` makes a new one";
            draft.report.note(name, what);
        }
    }
}

/// The home of a user: the root, each virtual folder, and each path with permissions of its own.
fn home(name: &str, user: &Value, folders: &BTreeMap<&str, &Value>, draft: &mut Draft) -> Vec<DraftEntry> {
    let permissions: BTreeMap<String, Vec<String>> = user["permissions"]
        .as_object()
        .into_iter()
        .flatten()
        .map(|(path, list)| (path.trim_end_matches('/').to_owned(), texts(list)))
        .collect();
    // The roots of what the user sees, by their path without a slash at the end.
    let mut roots: BTreeMap<String, Option<String>> = BTreeMap::new();
    let root = Folder { filesystem: &user["filesystem"], path: user["home_dir"].as_str().unwrap_or_default() };
    roots.insert(String::new(), target(name, &root, draft));
    for folder in user["virtual_folders"].as_array().into_iter().flatten() {
        let Some(at) = folder["virtual_path"].as_str() else { continue };
        // Newer backups name the folder only.
        let named = folder["name"].as_str().and_then(|name| folders.get(name).copied()).unwrap_or(folder);
        let of = |key: &str| if folder[key].is_null() { &named[key] } else { &folder[key] };
        let root = Folder { filesystem: of("filesystem"), path: of("mapped_path").as_str().unwrap_or_default() };
        let has_quota = ["quota_size", "quota_files"].iter().any(|key| folder[key].as_i64().is_some_and(|n| n > 0));
        if has_quota {
            draft.report.note(name, "the quota of a virtual folder");
        }
        roots.insert(at.trim_end_matches('/').to_owned(), target(name, &root, draft));
    }
    let mut home = Vec::new();
    let paths: BTreeSet<&String> = roots.keys().chain(permissions.keys()).collect();
    for path in paths {
        if path.contains(['*', '?', '[']) {
            draft.report.note(name, format!("permissions of paths by a pattern ({path}): the wider ones apply there"));
            continue;
        }
        let Some((root, Some(target))) = nearest(&roots, path) else { continue };
        let Some((_, granted)) = nearest(&permissions, path) else {
            draft.report.note(name, format!("{}: no permission is granted there", shown(path)));
            continue;
        };
        let rights = rights_of(granted, |what| draft.report.note(name, what));
        if rights == Rights::Of(BTreeSet::new()) {
            draft.report.note(name, format!("{}: none of its permissions has a counterpart", shown(path)));
        }
        let target = format!("{}{}", target.trim_end_matches('/'), &path[root.len()..]);
        let target = if target.ends_with(':') { format!("{target}/") } else { target };
        home.push(DraftEntry { entry: shown(path).to_owned(), target, rights });
    }
    home
}

fn shown(path: &str) -> &str {
    if path.is_empty() { "/" } else { path }
}

/// What stands at `path`, or at the folder nearest above it.
fn nearest<'a, T>(by_path: &'a BTreeMap<String, T>, path: &str) -> Option<(&'a str, &'a T)> {
    let mut at = path;
    loop {
        if let Some((key, value)) = by_path.get_key_value(at) {
            return Some((key.as_str(), value));
        }
        at = at.rsplit_once('/')?.0;
    }
}

fn note_unknown(name: &str, user: &Value, draft: &mut Draft) {
    let nothing = Map::new();
    let of = |value: &Value| value.as_object().cloned().unwrap_or_else(|| nothing.clone());
    for (key, value) in of(user) {
        let is_known = CONVERTED.contains(&key.as_str()) || SAYS_NOTHING.contains(&key.as_str());
        if !is_known && is_set(&value) {
            draft.report.note(name, key);
        }
    }
    if user["uid"].as_i64().is_some_and(|uid| uid > 0) {
        draft.report.note(name, "uid and gid: files belong to the user that runs Lockgate");
    }
    for (key, value) in of(&user["filters"]) {
        let is_known = CONVERTED_FILTERS.contains(&key.as_str()) || FILTERS_OF_OTHERS.contains(&key.as_str());
        match key.as_str() {
            "2fa_protocols" => {}
            "denied_ip" if is_set(&value) => {
                draft.report.note(name, "filters.denied_ip: only `allow_from` restricts addresses");
            }
            "file_patterns" if is_set(&value) => {
                draft.report.note(name, "filters.file_patterns: names of files are not restricted");
            }
            _ if !is_known && is_set(&value) => draft.report.note(name, format!("filters.{key}")),
            _ => {}
        }
    }
}

/// Whether a value says anything: neither zero nor empty.
fn is_set(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => false,
        Value::Bool(true) => true,
        Value::Number(number) => number.as_f64() != Some(0.0),
        Value::String(text) => !text.is_empty(),
        Value::Array(list) => !list.is_empty(),
        Value::Object(map) => map.values().any(is_set),
    }
}

fn texts(list: &Value) -> Vec<String> {
    list.as_array().into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect()
}

/// Milliseconds since 1970 as RFC 3339.
fn moment(milliseconds: i64) -> Option<String> {
    Some(DateTime::from_timestamp_millis(milliseconds)?.to_rfc3339_opts(SecondsFormat::Secs, true))
}
