//! `users`, `users_from` and `targets`.

use std::time::Duration;

use serde_json::{Value, json};

use super::super::raw::DAY;
use super::super::raw::SECOND;
use super::super::raw_users::AUTH_MODES;
use super::forms::{Key, duration, either, filled, key, list, map, need, number, secret, section, text, truth, word};
use crate::policy::Permission;

const HOME: &str =
    "What the user sees: the most specific entry applies, and a path that no entry covers does not exist.";

/// `users[i]`
pub(super) fn user() -> Value {
    with_home_or_targets(section(
        [
            need("name", text(), "The login name: 1 to 100 letters, digits, '_', '@', '.' and '-'; unique."),
            key("role", text(), "Free text, copied into CONNECTED events."),
            key(
                "public_keys",
                list(text()),
                "Up to fifty lines in authorized_keys format; \"${file:NAME.pub}\" reads one from a file.",
            ),
            key(
                "principals",
                filled(text()),
                "A certificate must contain one of these names; by default the login name.",
            ),
            key("password_hash", text(), "The output of `lockgate hash-password`, or a bcrypt hash."),
            key("auth", auth(), "How the user logs in; public_key is the default."),
            key("totp", secret(), "The secret of one-time codes, as `lockgate totp NAME` makes it; by default none."),
            key("enabled", truth(), "false disables the user."),
            key("home", home(), HOME),
            key("targets", list(grant()), "Targets that the user may jump to; a user with targets needs no home."),
        ]
        .into_iter()
        .chain(bounds()),
    ))
}

/// `users_from`: one source, or a list of them.
pub(super) fn sources() -> Value {
    either([folder(), provider(), list(either([folder(), provider()]))])
}

/// `targets[i]`
pub(super) fn target() -> Value {
    let account = section([
        need("name", text(), "The name with which clients log in there."),
        need("home", home(), "What the account sees; ${user} is the person who jumps."),
        key("permissions", permissions(), "For entries without their own."),
    ]);
    section([
        need("name", text(), "The target's name, as events show it."),
        need("addresses", filled(text()), "How clients request it, as in [\"192.168.1.10:22\"]."),
        key("groups", list(text()), "Groups by which users can be granted the target."),
        need("accounts", filled(account), "The accounts that clients can log in as."),
        key(
            "inner_login",
            word(["inherited", "proof"]),
            "Whether the login at the gateway is proof enough (inherited, the default) or a key must be proven again.",
        ),
        key("host_keys", filled(text()), "The target's own host keys; by default those of the gateway."),
    ])
}

/// A user who has no target must have a home.
fn with_home_or_targets(mut section: Value) -> Value {
    section["anyOf"] = json!([
        { "required": ["home"], "properties": { "home": { "not": { "type": "null" } } } },
        { "required": ["targets"], "properties": { "targets": { "not": { "type": "null" } } } },
    ]);
    section
}

/// A folder of keys.
fn folder() -> Value {
    let keys = [
        need("keys", text(), "The store and the folder of the NAME.pub files, as in \"lake:/public-keys\"."),
        key("every", duration(SECOND, DAY), "How often the folder is read; 5m by default."),
        key("role", text(), "Free text, copied into CONNECTED events."),
        key("home", home(), HOME),
        key("targets", list(grant()), "Targets that each user may jump to; with them, no home is needed."),
        key("totp", map(secret()), "The secrets of one-time codes, by user."),
        key("require_totp", truth(), "With true, users without a secret of one-time codes are refused."),
    ];
    with_home_or_targets(section(keys.into_iter().chain(bounds())))
}

/// An identity provider.
fn provider() -> Value {
    let http = section([
        need("url", secret(), "Where the provider is: https, or http to this machine."),
        key("allow_http", truth(), "With true, passwords may be sent over a network unencrypted."),
        key("method", word(["GET", "POST"]), "How the provider is asked; GET is the default."),
        key("server_id", text(), "The server's id in requests; by default the server's name."),
        key("headers", map(secret()), "Additional headers, such as the gateway's credentials."),
        key("timeout", duration(Duration::from_millis(100), 60 * SECOND), "The timeout of one request; 5s by default."),
        key("retries", number(0, 10), "How often a failed request is tried again; 2 by default."),
        key(
            "cache",
            duration(Duration::ZERO, 600 * SECOND),
            "How long answers to requests without a password are cached; 30s by default.",
        ),
        key("recheck", duration(SECOND, DAY), "How often users with live sessions are looked up again; 5m by default."),
    ]);
    let keys = [
        need("http", http, "An identity provider with the interface of AWS Transfer Family's."),
        key("auth", auth(), "How its users log in; public_key_or_password is the default."),
        key("require_totp", truth(), "With true, users whose answer has no TotpSecret are refused."),
        key("permissions", permissions(), "Permissions for every home."),
        key("targets", map(text()), "Maps the provider's /BUCKET/KEY to stores; the longest match applies."),
        key("policy", word(["refuse", "ignore"]), "What happens to an answer with a Policy; refuse is the default."),
    ];
    section(keys.into_iter().chain(bounds()))
}

fn auth() -> Value {
    word(AUTH_MODES.iter().map(|(word, _)| *word))
}

/// What a user of the configuration has, and each user of a source.
fn bounds() -> [Key; 3] {
    [
        key("expires", text(), "When the user expires: a date (00:00 UTC) or an RFC 3339 time."),
        key("allow_from", filled(text()), "Addresses and networks from which the user may log in; by default any."),
        key("sessions", number(1, 1_000_000), "Maximum concurrent sessions; by default no limit per user."),
    ]
}

fn home() -> Value {
    filled(section([
        need("entry", text(), "The path that the user sees, as in /incoming."),
        need("target", text(), "The store and the folder behind it, as in \"lake:/in/${user}\"."),
        key("permissions", permissions(), "What the user may do there; read_write is the default."),
    ]))
}

fn permissions() -> Value {
    let each = word(Permission::ALL.into_iter().map(Permission::name));
    either([word(["read_only", "read_write", "write_only"]), list(each)])
}

fn grant() -> Value {
    section([
        key("target", text(), "The name of a target."),
        key("group", text(), "The name of a group of targets."),
        need("accounts", filled(text()), "Which of its accounts; [\"*\"] for all."),
    ])
}
