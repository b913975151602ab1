//! Tests of `admin.oidc`.
#![allow(clippy::unwrap_used)]

use super::tests::{assert_problems, read_text, with};
use crate::admin::Role;

/// A configuration with this identity provider.
fn oidc(more: &str) -> String {
    with(&format!("users: []\nadmin: {{ listen: ['127.0.0.1:0'], oidc: {{ {more} }} }}\n"))
}

const CLIENT: &str = "client_id: gateway, client_secret: hunter2";
const ROLES: &str = "roles: { claim: groups, map: { admins: operator, 7: viewer } }";

#[test]
fn an_identity_provider_is_read() {
    let settings = read_text(&oidc(&format!("issuer: 'https://idp.example.org/a/', {CLIENT}, {ROLES}"))).unwrap();
    let oidc = settings.admin.oidc.as_ref().unwrap();
    assert_eq!((oidc.issuer.to_string().as_str(), oidc.name.as_str()), ("https://idp.example.org/a/", "sub"));
    assert_eq!((oidc.client_id.as_str(), oidc.client_secret.expose()), ("gateway", "hunter2"));
    assert!(oidc.scopes.is_empty() && oidc.audience.is_none());
    let map: Vec<_> = oidc.roles.map.iter().map(|(value, role)| (value.as_str(), *role)).collect();
    assert_eq!(map, [("7", Role::Viewer), ("admins", Role::Operator)]);
    assert!(!format!("{settings:?}").contains("hunter2"));
    let shown = serde_json::Value::Object(settings.admin.written.document).to_string();
    assert!(!shown.contains("hunter2") && shown.contains("(masked)"), "{shown}");
}

#[test]
fn an_identity_provider_that_cannot_be_trusted_is_refused() {
    for (issuer, words) in [
        ("http://idp.example.org", "write https://"),
        ("https://u:hunter2@idp.example.org", "no credentials"),
        ("https://idp.example.org/?a=b", "no query"),
        ("ldap://idp.example.org", "is not served"),
        ("idp", "is not a URL"),
    ] {
        let text = oidc(&format!("issuer: '{issuer}', {CLIENT}, {ROLES}"));
        assert_problems(&text, &[("admin.oidc.issuer", words)]);
        assert!(!read_text(&text).unwrap_err().to_string().contains("hunter2"));
    }
    read_text(&oidc(&format!("issuer: 'http://127.0.0.1:9000', {CLIENT}, {ROLES}"))).unwrap();
    assert_problems(
        &oidc("x: 1"),
        &[
            ("admin.oidc.issuer", "is missing"),
            ("admin.oidc.client_id", "is missing"),
            ("admin.oidc.client_secret", "is missing"),
            ("admin.oidc.roles", "is missing"),
            ("admin.oidc.x", "unknown key"),
        ],
    );
    let issuer = "issuer: 'https://idp.example.org'";
    assert_problems(
        &oidc(&format!(
            "{issuer}, client_id: '', client_secret: '', scopes: ['a b', \"\"], audience: \"a\\n\", roles: {{ claim: '', map: {{}} }}"
        )),
        &[
            ("admin.oidc.client_id", "must be text"),
            ("admin.oidc.client_secret", "is empty"),
            ("admin.oidc.scopes[0]", "is not a scope"),
            ("admin.oidc.scopes[1]", "is not a scope"),
            ("admin.oidc.audience", "must be text"),
            ("admin.oidc.roles.claim", "must be text"),
            ("admin.oidc.roles", "nobody would have a role"),
        ],
    );
    assert_problems(
        &oidc(&format!("{issuer}, {CLIENT}, roles: {{ claim: a, map: {{ b: admin }} }}")),
        &[("admin.oidc.roles.map.b", "is not one of")],
    );
    let unheard = format!("users: []\nadmin: {{ oidc: {{ {issuer}, {CLIENT}, {ROLES} }} }}\n");
    assert_problems(&with(&unheard), &[("admin.oidc", "no effect without admin.listen")]);
    let hash = "sha256:0840fcd4f1a13d84db6581bc6f2da19f7e82523784fc5bb7f3a9560cc00444ac";
    let named = format!("users: []\nadmin: {{ tokens: [{{ name: 'oidc:ann', role: viewer, hash: '{hash}' }}] }}\n");
    assert_problems(&with(&named), &[("admin.tokens[0].name", "identity provider")]);
}

#[test]
fn the_hash_of_nothing_is_no_token() {
    let hash = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
    let text = format!("users: []\nadmin: {{ tokens: [{{ name: nobody, role: viewer, hash: '{hash}' }}] }}\n");
    assert_problems(&with(&text), &[("admin.tokens[0].hash", "everybody knows")]);
}
