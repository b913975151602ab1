//! What a reload changes: each key of the configuration is changed once, and is either of those that wait for a restart or of those that
//! do not.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use super::tests::{KEY, read_text};
use super::*;
use crate::admin::RELOADED_KEYS;

const SERVER: &str = "server: { name: a, listen: ['127.0.0.1:2022'], host_keys: [k] }";
const STORES: &str = "stores: { local: { url: 'memory:///' } }";
const LIMITS: &str = "limits: { staging_folder: /stage }";
const TARGET: &str = "{ name: a, addresses: ['a.internal:22'], host_keys: [k], accounts: [{ name: d, home: [{ entry: /, target: 'local:/d' }] }] }";
const ADMIN: [(&str, &str); 3] =
    [("socket", "/run/a.sock"), ("listen", "['127.0.0.1:8022']"), ("health", "'127.0.0.1:8023'")];

/// The keys that may stand where `x` does.
fn keys_beside_x(text: &str) -> Vec<String> {
    let problems = read_text(text).unwrap_err();
    let list = problems.list().iter().find_map(|problem| problem.text.split_once("the keys here are "));
    let (_, list) = list.unwrap_or_else(|| panic!("{problems}"));
    list.split(", ").map(|key| key.trim_matches('"').to_owned()).collect()
}

/// A configuration of lines, of which each replaces the one before of its key.
fn fixed(lines: &[&str]) -> crate::gateway::Fixed {
    let key = |line: &str| line.split(':').next().unwrap().to_owned();
    let mut whole: Vec<&str> = vec![SERVER, STORES, LIMITS, "users: []"];
    for line in lines {
        whole.retain(|other| key(other) != key(line));
        whole.push(line);
    }
    read_text(&whole.join("\n")).unwrap_or_else(|problems| panic!("{lines:?}: {problems}")).fixed()
}

#[test]
fn a_reload_changes_every_key_but_those_that_it_names() {
    let folder = tempfile::tempdir().unwrap();
    let revoked = folder.path().join("revoked");
    std::fs::write(&revoked, format!("{KEY}\n")).unwrap();
    let target = format!("targets: [{TARGET}]");
    let changes = [
        SERVER.replace("k]", "k], banner: hello"),
        STORES.replace(" } }", " }, other: { url: 'memory:///' } }"),
        format!("trusted_user_ca_keys: ['{KEY}']"),
        format!("revoked_keys: ['{}']", revoked.display()),
        format!("users: [{{ name: ann, public_keys: ['{KEY}'], home: [{{ entry: /, target: 'local:/' }}] }}]"),
        "users_from: [{ keys: 'local:/keys', home: [{ entry: /, target: 'local:/home/${user}' }] }]".to_owned(),
        target.replace("a.internal", "b.internal"),
        "host_ca: ca".to_owned(),
        "events: [{ sink: stdout, on_failure: continue }]".to_owned(),
        "audit: { folder: /audit }".to_owned(),
        "fleet: { url: 'redis://cache', name: prod }".to_owned(),
        "admin: { socket: /run/b.sock }".to_owned(),
        LIMITS.replace(" }", ", sessions: 7 }"),
        "defender: off".to_owned(),
        "partial_uploads: publish".to_owned(),
        "setstat: strict".to_owned(),
    ];
    let mut known = keys_beside_x(&[SERVER, STORES, "users: []", "x: 1"].join("\n"));
    for change in &changes {
        let key = change.split(':').next().unwrap();
        let before = fixed(&[&target]);
        let unlike = before.unlike(&fixed(&[&target, change]));
        let expected: Vec<&str> = FIXED_KEYS.into_iter().filter(|fixed| *fixed == key).collect();
        assert_eq!(unlike, expected, "{change}");
        known.retain(|other| other != key);
    }
    assert_eq!(known, Vec::<String>::new(), "a key that is not tried here");
}

#[test]
fn of_the_admin_door_a_reload_changes_who_is_let_in() {
    let hash = format!("sha256:{}", "0".repeat(64));
    let tokens = format!("[{{ name: t, role: viewer, hash: '{hash}' }}]");
    let oidc = "{ issuer: 'https://idp.example.org', client_id: a, client_secret: b, roles: { claim: groups, map: { a: viewer } } }";
    let changes = [
        ("socket", "/run/b.sock"),
        ("listen", "['127.0.0.1:8024']"),
        ("hosts", "[a.example.org]"),
        ("tls", "{ certificate: a.pem, key: a.key }"),
        ("plain_http", "behind-a-proxy"),
        ("health", "'127.0.0.1:8025'"),
        ("health_users", "true"),
        ("tokens", &tokens),
        ("oidc", oidc),
    ];
    let admin = |change: Option<(&str, &str)>| {
        let kept = ADMIN.into_iter().filter(|(key, _)| change.is_none_or(|(changed, _)| changed != *key));
        let pairs: Vec<String> = kept.chain(change).map(|(key, value)| format!("{key}: {value}")).collect();
        fixed(&[&format!("admin: {{ {} }}", pairs.join(", "))])
    };
    let mut known = keys_beside_x(&[SERVER, STORES, "users: []", "admin: { x: 1 }"].join("\n"));
    for (key, value) in changes {
        let unlike = admin(None).unlike(&admin(Some((key, value))));
        assert_eq!(unlike.is_empty(), RELOADED_KEYS.contains(&key), "{key}");
        known.retain(|other| other != key);
    }
    assert_eq!(known, Vec::<String>::new(), "a key that is not tried here");
}
