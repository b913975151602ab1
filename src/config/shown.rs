//! A configuration as it may be shown: the document before anything was fetched, with what may be a secret masked.

use std::collections::BTreeMap;

use aws_lc_rs::digest;
use base16ct::lower::encode_string;
use serde_json::{Map, Value as Json, json};

use super::reader::Place;
use super::tree::{Node, Value};
use crate::secret::Secret;

/// What stands for a secret.
const MASK: &str = "(masked)";

/// The longest list that is shown; the rest is counted, and its digest tells whether it changed.
const MOST: usize = 1000;

/// Options of stores that are shown: no credentials. What is not known is masked.
const SHOWN_OPTIONS: &[&str] = &[
    "allow_http",
    "aws_allow_http",
    "aws_endpoint",
    "aws_region",
    "aws_virtual_hosted_style_request",
    "azure_storage_account_name",
    "connect_timeout",
    "connections",
    "endpoint",
    "google_service_account",
    "host_key",
    "region",
    "size",
    "symlinks",
    "timeout",
    "virtual_hosted_style_request",
];

/// The whole document.
pub(super) fn document(root: &Node) -> Map<String, Json> {
    match show(root, &mut Vec::new()) {
        Json::Object(document) => document,
        _ => Map::new(),
    }
}

/// What the document does not show, by its place, as SHA-256: of the values after they were fetched.
pub(super) fn hidden(root: &Node) -> BTreeMap<String, [u8; 32]> {
    let mut found = BTreeMap::new();
    hide(root, &Place::root(), &mut Vec::new(), &mut found);
    found
}

fn hide(node: &Node, at: &Place, place: &mut Vec<String>, found: &mut BTreeMap<String, [u8; 32]>) {
    let value = match &node.value {
        Value::List(list) => {
            for (index, element) in list.iter().enumerate() {
                hide(element, &at.element(index), place, found);
            }
            return;
        }
        Value::Map(pairs) => {
            for (key, value) in pairs {
                let name = Place::name_of(key);
                place.push(name.clone());
                hide(value, &at.key(&name), place, found);
                place.pop();
            }
            return;
        }
        Value::Text(text) if text.fetched || shown_text(text.text.expose(), place) != text.text.expose() => {
            text.text.clone()
        }
        Value::Bool(value) if is_secret(place) => Secret::new(value.to_string()),
        Value::Integer(value) if is_secret(place) => Secret::new(value.to_string()),
        Value::Float(value) if is_secret(place) => Secret::new(value.to_string()),
        _ => return,
    };
    let mut hash = [0; 32];
    hash.copy_from_slice(digest::digest(&digest::SHA256, value.expose().as_bytes()).as_ref());
    found.insert(at.to_string(), hash);
}

fn show(node: &Node, place: &mut Vec<String>) -> Json {
    // A secret of digits alone is a number to YAML.
    let is_plain = matches!(node.value, Value::Bool(_) | Value::Integer(_) | Value::Float(_));
    if is_plain && is_secret(place) {
        return MASK.into();
    }
    match &node.value {
        Value::Null | Value::Broken => Json::Null,
        Value::Bool(value) => (*value).into(),
        Value::Integer(number) => match (i64::try_from(*number), u64::try_from(*number)) {
            (Ok(number), _) => number.into(),
            (_, Ok(number)) => number.into(),
            _ => number.to_string().into(),
        },
        Value::Float(number) => (*number).into(),
        Value::Text(text) => shown_text(text.text.expose(), place).into(),
        Value::List(list) => show_list(list, place),
        Value::Map(pairs) => {
            let mut map = Map::new();
            for (key, value) in pairs {
                let name = Place::name_of(key);
                place.push(name.clone());
                map.insert(name, show(value, place));
                place.pop();
            }
            Json::Object(map)
        }
    }
}

fn show_list(list: &[Node], place: &mut Vec<String>) -> Json {
    let mut shown: Vec<Json> = list.iter().take(MOST).map(|element| show(element, place)).collect();
    if list.len() > MOST {
        let mut sum = digest::Context::new(&digest::SHA256);
        for element in &list[MOST..] {
            sum.update(show(element, place).to_string().as_bytes());
        }
        let hex = encode_string(sum.finish().as_ref());
        shown.push(json!({ "more": list.len() - MOST, "sha256": hex }));
    }
    Json::Array(shown)
}

fn shown_text(text: &str, place: &[String]) -> String {
    if is_reference(text) {
        // It says where the secret is, and not what it is.
        return text.to_owned();
    }
    match place {
        _ if is_secret(place) => MASK.to_owned(),
        [list, url] if list == "events" && url == "url" => without_path(&without_credentials(text)),
        _ => without_credentials(text),
    }
}

/// `${env:NAME}` or `${file:PATH}`, and nothing beside it.
fn is_reference(text: &str) -> bool {
    let inner = text.strip_prefix("${").and_then(|rest| rest.strip_suffix('}'));
    inner.is_some_and(|inner| {
        (inner.starts_with("env:") || inner.starts_with("file:")) && !inner.contains(['{', '}', '$'])
    })
}

fn is_secret(place: &[String]) -> bool {
    let name = place.last().map(|name| name.to_ascii_lowercase()).unwrap_or_default();
    match place {
        [store, _, options, _] if store == "stores" && options == "options" => !SHOWN_OPTIONS.contains(&name.as_str()),
        [.., above, _] if above == "headers" || above == "totp" => true,
        [.., last] if last == "totp" => true,
        _ => ["password", "secret", "token", "hash", "credential"].iter().any(|word| name.contains(word)),
    }
}

/// The URL of a sink without its path, which is the credential of many webhooks.
fn without_path(text: &str) -> String {
    let Some((scheme, rest)) = text.split_once("://") else { return MASK.to_owned() };
    match rest.split_once('/') {
        Some((authority, path)) if !path.is_empty() => format!("{scheme}://{authority}/…"),
        _ => text.to_owned(),
    }
}

/// A URL without the user, the password, the query and the fragment in it.
fn without_credentials(text: &str) -> String {
    let Some((scheme, rest)) = text.split_once("://") else { return text.to_owned() };
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, path) = rest.split_at(end);
    let authority = authority.rsplit_once('@').map_or(authority.to_owned(), |(_, host)| format!("{MASK}@{host}"));
    let path = match path.find(['?', '#']) {
        Some(end) => format!("{}{MASK}", &path[..=end]),
        None => path.to_owned(),
    };
    format!("{scheme}://{authority}{path}")
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::config::problem::Problems;
    use crate::config::tree;

    fn shown(text: &str) -> Json {
        let mut problems = Problems::new(Path::new("config.yaml"));
        Json::Object(document(&tree::parse(text, &mut problems).unwrap()))
    }

    #[test]
    fn secrets_are_masked_and_references_are_shown() {
        let document = shown(
            "server: { name: edge-1, listen: ['0.0.0.0:2022'] }\n\
             stores:\n\
             \x20 lake: { url: 's3://bucket/x', options: { aws_region: eu-west-1, aws_secret_access_key: hunter2, aws_access_key_id: '${env:ID}', odd: hunter2 } }\n\
             users: [{ name: ann, password: '$argon2id$hunter2', totp: hunter2, public_keys: ['ssh-ed25519 AAAA'] }]\n\
             users_from: { http: { url: 'https://u:hunter2@idp.example.org/a?key=hunter2', headers: { x: hunter2, y: '${file:/run/x}', z: 123456789012 } }, totp: { ann: hunter2, ben: '${file:/run/t}' }, require_totp: true }\n\
             admin: { tokens: [{ name: n, hash: 'sha256:hunter2' }] }\n\
             events: [{ url: 'https://u:hunter2@c/services/hunter2?a#hunter2', signing: { secret: [hunter2, '${file:/run/y}'] } },\n\
             \x20 { url: 'http://c/' }, { url: 'http://c/?hunter2' }, { url: hunter2 }, { url: '${env:HOOK}' }]\n\
             server_url: 'http://c/a#hunter2'\n\
             limits: { sessions: 7, big: 18446744073709551615 }\n\
             partial: 'x${env:A}y'\n",
        );
        assert!(!document.to_string().contains("hunter2"), "{document:#}");
        let expected = json!({
            "server": { "name": "edge-1", "listen": ["0.0.0.0:2022"] },
            "stores": { "lake": { "url": "s3://bucket/x", "options": {
                "aws_region": "eu-west-1", "aws_secret_access_key": MASK, "aws_access_key_id": "${env:ID}", "odd": MASK } } },
            "users": [{ "name": "ann", "password": MASK, "totp": MASK, "public_keys": ["ssh-ed25519 AAAA"] }],
            "users_from": { "http": { "url": "https://(masked)@idp.example.org/a?(masked)", "headers": { "x": MASK, "y": "${file:/run/x}", "z": MASK } },
                "totp": { "ann": MASK, "ben": "${file:/run/t}" }, "require_totp": true },
            "admin": { "tokens": [{ "name": "n", "hash": MASK }] },
            "events": [
                { "url": "https://(masked)@c/…", "signing": { "secret": [MASK, "${file:/run/y}"] } },
                { "url": "http://c/" }, { "url": "http://c/…" }, { "url": MASK }, { "url": "${env:HOOK}" },
            ],
            "server_url": "http://c/a#(masked)",
            "limits": { "sessions": 7, "big": 18_446_744_073_709_551_615_u64 },
            "partial": "x${env:A}y",
        });
        assert_eq!(document, expected);
    }

    #[test]
    fn what_is_not_shown_is_known_by_its_place_and_tells_a_change() {
        let hidden = |text: &str| {
            let mut problems = Problems::new(Path::new("config.yaml"));
            super::hidden(&tree::parse(text, &mut problems).unwrap())
        };
        let text = "stores: { lake: { url: 's3://u:hunter2@h/x', options: { aws_region: eu, odd: 12 } } }\n\
                    users: [{ name: ann, password_hash: a }, { name: bob, password_hash: b }]\n\
                    admin: { oidc: { client_secret: s, scopes: [groups] } }\n";
        let one = hidden(text);
        let places: Vec<&str> = one.keys().map(String::as_str).collect();
        let expected = [
            "admin.oidc.client_secret",
            "stores.lake.options.odd",
            "stores.lake.url",
            "users[0].password_hash",
            "users[1].password_hash",
        ];
        assert_eq!(places, expected);
        let other = hidden(&text.replace("password_hash: b", "password_hash: c").replace("odd: 12", "odd: 13"));
        let changed: Vec<&String> = one.keys().filter(|place| one.get(*place) != other.get(*place)).collect();
        assert_eq!(changed, ["stores.lake.options.odd", "users[1].password_hash"]);
    }

    #[test]
    fn a_long_list_is_cut_and_a_change_of_its_rest_shows() {
        let of = |last: usize| {
            let elements: Vec<String> = (0..1200).chain([last]).map(|number| number.to_string()).collect();
            shown(&format!("users: [{}]", elements.join(",")))
        };
        let (one, other) = (of(1), of(2));
        let users = one["users"].as_array().unwrap();
        assert_eq!((users.len(), &users[MOST]["more"]), (MOST + 1, &json!(201)));
        assert_ne!(one, other);
    }
}
