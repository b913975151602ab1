//! What a user's groups add, as SFTPGo applies it at a login: the primary group first, then the secondary ones.

use std::collections::BTreeMap;

use serde_json::{Value, json};

/// The type of a group that a user is a mere member of: it adds nothing.
const MEMBERSHIP: u64 = 3;
const PRIMARY: u64 = 1;

/// Settings of the primary group that hold where the user has none.
const IF_UNSET: [&str; 8] = [
    "max_sessions",
    "quota_size",
    "quota_files",
    "upload_bandwidth",
    "download_bandwidth",
    "upload_data_transfer",
    "download_data_transfer",
    "total_data_transfer",
];

/// Lists of `filters` that every group extends.
const EXTENDED: [&str; 8] = [
    "allowed_ip",
    "denied_ip",
    "denied_login_methods",
    "denied_protocols",
    "2fa_protocols",
    "bandwidth_limits",
    "data_transfer_limits",
    "file_patterns",
];

/// The groups of a user that add something: name and type, the primary one first.
pub(super) fn of(user: &Value) -> Vec<(&str, u64)> {
    let all = user["groups"].as_array().into_iter().flatten();
    let mut all: Vec<(&str, u64)> = all
        .filter_map(|group| Some((group["name"].as_str()?, group["type"].as_u64().unwrap_or(MEMBERSHIP))))
        .filter(|(_, kind)| *kind != MEMBERSHIP)
        .collect();
    all.sort_by_key(|(_, kind)| *kind != PRIMARY);
    all
}

/// The user with what the groups add.
pub(super) fn applied(user: &Value, groups: &BTreeMap<&str, &Value>) -> Value {
    let mut user = user.clone();
    let name = user["username"].as_str().unwrap_or_default().to_owned();
    let named: Vec<(String, u64)> = of(&user).into_iter().map(|(name, kind)| (name.to_owned(), kind)).collect();
    for (group, kind) in named {
        let Some(group) = groups.get(group.as_str()) else { continue };
        let group = replaced(group, &name);
        if kind == PRIMARY {
            apply_primary(&mut user, &group["user_settings"]);
        }
        add(&mut user, &group, kind == PRIMARY);
    }
    user
}

/// `%username%` in every text.
fn replaced(value: &Value, name: &str) -> Value {
    match value {
        Value::String(text) => text.replace("%username%", name).into(),
        Value::Array(list) => list.iter().map(|value| replaced(value, name)).collect(),
        Value::Object(map) => {
            let pairs = map.iter().map(|(key, value)| (key.replace("%username%", name), replaced(value, name)));
            Value::Object(pairs.collect())
        }
        other => other.clone(),
    }
}

fn apply_primary(user: &mut Value, settings: &Value) {
    if settings["home_dir"].as_str().is_some_and(|home| !home.is_empty()) {
        user["home_dir"] = settings["home_dir"].clone();
    }
    if settings["filesystem"]["provider"].as_u64().is_some_and(|provider| provider != 0) {
        user["filesystem"] = settings["filesystem"].clone();
    }
    for key in IF_UNSET {
        if user[key].as_i64().unwrap_or(0) == 0 && !settings[key].is_null() {
            user[key] = settings[key].clone();
        }
    }
    let Some(filters) = settings["filters"].as_object() else { return };
    for (key, value) in filters {
        if !EXTENDED.contains(&key.as_str()) && !super::is_set(&user["filters"][key.as_str()]) {
            user["filters"][key.as_str()] = value.clone();
        }
    }
}

/// Folders, permissions and restrictions of a group, beside those that the user has.
fn add(user: &mut Value, group: &Value, is_primary: bool) {
    let mut folders = user["virtual_folders"].as_array().cloned().unwrap_or_default();
    for folder in group["virtual_folders"].as_array().into_iter().flatten() {
        let at = &folder["virtual_path"];
        let is_taken = folders.iter().any(|known| known["virtual_path"] == *at);
        if !is_taken && (is_primary || at != "/") {
            folders.push(folder.clone());
        }
    }
    user["virtual_folders"] = folders.into();
    let settings = &group["user_settings"];
    for (path, list) in settings["permissions"].as_object().into_iter().flatten() {
        let is_root = path == "/";
        if (is_root && is_primary) || (!is_root && user["permissions"].get(path).is_none()) {
            if !user["permissions"].is_object() {
                user["permissions"] = json!({});
            }
            user["permissions"][path.as_str()] = list.clone();
        }
    }
    for key in EXTENDED {
        let more = settings["filters"][key].as_array().cloned().unwrap_or_default();
        if more.is_empty() {
            continue;
        }
        let mut all = user["filters"][key].as_array().cloned().unwrap_or_default();
        all.extend(more);
        user["filters"][key] = all.into();
    }
}
