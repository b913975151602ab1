//! The configuration as a JSON Schema (draft 7, which editors know best): for completion, descriptions and errors while one types.
//!
//! It describes the shape that `raw` reads, not the meaning that `resolve` judges: whether a store exists is for `lockgate check`. The
//! shape is read by hand, so that all problems of a file are found at once, and there is no type to derive a schema from; the tests
//! hold the two against each other, key by key and value by value.

mod events;
mod forms;
mod users;

use std::time::Duration;

use serde_json::{Value, json};

use super::raw::{DAY, SECOND};
use super::raw_defender::MOST_POINTS;
use crate::admin::Role;
use crate::ssh::{AlgorithmLists, RekeyLimits};
use forms::{Key, duration, either, filled, key, list, map, need, number, secret, section, size, text, truth, word};

/// The schema of a configuration file.
pub fn schema() -> Value {
    let mut schema = section([
        need("server", server(), "Where to listen, and with which host keys."),
        need("stores", map(store()), "Where files are kept: a name of your choice, and a URL for each store."),
        key(
            "trusted_user_ca_keys",
            list(text()),
            "Public keys of authorities whose user certificates are accepted for every user.",
        ),
        key("revoked_keys", list(text()), "Files of keys that let nobody in: lists, or OpenSSH's KRL files."),
        need("users", list(users::user()), "The users that may log in; [] for none."),
        key(
            "users_from",
            users::sources(),
            "Users from other sources: one source, or a list that is searched in order.",
        ),
        key("targets", list(users::target()), "Targets that clients reach by jumping through the gateway (ProxyJump)."),
        key("host_ca", text(), "A key that signs the host keys of targets."),
        key("events", events::sinks(), "Where events go; by default to standard output."),
        key("audit", audit(), "With this section, the chain of events continues across restarts and is signed."),
        key("admin", admin(), "The interface for operators, over HTTP; disabled by default."),
        key("fleet", fleet(), "What several gateways share through Redis or Valkey; nothing by default."),
        key("limits", limits(), "Limits of connections, sessions and transfers."),
        key(
            "defender",
            either([word(["off"]), defender()]),
            "Bans addresses with repeated faults before a login; off disables bans.",
        ),
        key(
            "partial_uploads",
            word(["discard", "publish"]),
            "What happens to an upload that is cut off; discard is the default.",
        ),
        key(
            "setstat",
            word(["ignore", "strict"]),
            "What happens to attributes that a store cannot keep; ignore is the default.",
        ),
    ]);
    schema["$schema"] = "http://json-schema.org/draft-07/schema#".into();
    schema["title"] = "Lockgate configuration".into();
    schema
}

fn server() -> Value {
    let rekey = section([
        key("data", size(1 << 20, RekeyLimits::MOST_DATA), "After this much data in one direction; 1GiB by default."),
        key("time", duration(SECOND, DAY), "After this time; 1h by default."),
    ]);
    // A policy that is not known is a matter of meaning to the parser; editors shall offer those that are.
    let mut policy = text();
    policy["examples"] = json!(AlgorithmLists::POLICIES);
    section([
        key("name", text(), "The name in the events; by default the host name."),
        need("listen", filled(text()), "Addresses to listen on, as in [\"0.0.0.0:2022\"]."),
        need("host_keys", filled(text()), "Private keys in OpenSSH's format, without a passphrase."),
        key("resource_arn", text(), "The resource-arn of the events; by default \"lockgate:server/<name>\"."),
        key("security_policy", policy, "The algorithms on offer; modern is the default."),
        key("kex", list(text()), "Key exchange algorithms, in order of preference, in place of the policy's."),
        key("ciphers", list(text()), "Ciphers, in order of preference, in place of the policy's."),
        key("macs", list(text()), "MACs, in order of preference, in place of the policy's."),
        key(
            "host_key_algorithms",
            list(text()),
            "Host key algorithms, in order of preference, in place of the policy's.",
        ),
        key("rekey", rekey, "When the gateway changes a connection's keys."),
        key("banner", text(), "Shown before a login; ${session_id}, ${server} and ${user} are replaced."),
        key(
            "proxy_protocol",
            word(["off", "ignore", "optional", "required"]),
            "The PROXY protocol of load balancers; off is the default.",
        ),
        key("proxy_from", filled(text()), "The balancers: only their headers are read."),
    ])
}

fn store() -> Value {
    section([
        need(
            "url",
            secret(),
            "As in file:///PATH, file:PATH, memory:///, s3://BUCKET/PREFIX, az://CONTAINER/PREFIX, gs://BUCKET/PREFIX or sftp://USER@HOST:PORT/PATH.",
        ),
        key("options", map(secret()), "Options of this kind of store; config.example.yaml has them."),
    ])
}

fn audit() -> Value {
    let every = duration(SECOND, 366 * DAY);
    let self_check = section([
        need("every", every.clone(), "How often the trail is verified."),
        key("readiness", truth(), "With true, a finding makes the gateway not ready."),
    ]);
    let witness = section([
        need("store", text(), "The name of a store that nobody who can change the events can change."),
        key("prefix", text(), "The folder in that store; witness by default."),
        key("every", duration(SECOND, DAY), "How often the newest checkpoint is written; 5m by default."),
        key("readiness", truth(), "With true, the gateway is not ready while the witness fails."),
        events::object_lock(),
    ]);
    section([
        need("folder", text(), "The folder of the signing key and of the state of the chain; for one gateway only."),
        key("checkpoint_every", duration(SECOND, DAY), "How often a signed checkpoint is recorded; 1m by default."),
        key(
            "self_check",
            either([every, self_check]),
            "Verifies the whole trail in the background; by default it is not verified.",
        ),
        key("witness", witness, "Writes signed checkpoints to a store of their own."),
    ])
}

fn admin() -> Value {
    let roles = || word(Role::ALL.map(Role::as_str));
    let tls =
        section([need("certificate", text(), "A PEM file."), need("key", text(), "The PEM file of its private key.")]);
    let token = section([
        need("name", text(), "The token's name, as events show it."),
        need("role", roles(), "What the token allows."),
        need("hash", text(), "The hash that `lockgate admin token` prints."),
        key("expires", text(), "When the token expires: a date (00:00 UTC) or an RFC 3339 time."),
    ]);
    let claims = section([
        need("claim", text(), "The claim that says what somebody is, as in groups."),
        need("map", map(roles()), "Values of the claim and their roles, as in { sftp-admins: operator }."),
    ]);
    let oidc = section([
        need("issuer", text(), "The provider's URL, exactly as its tokens say it."),
        need("client_id", text(), "What the gateway is called at the provider."),
        need("client_secret", secret(), "As in ${file:/run/secrets/lockgate-oidc}."),
        key("scopes", list(text()), "Requested in addition to openid."),
        key("audience", text(), "The audience that tokens of programs must have; by default the client id."),
        key("name", text(), "The claim that names the caller in events; sub by default."),
        need("roles", claims, "The values of a claim that have a role."),
    ]);
    section([
        key("socket", text(), "A Unix socket for the `lockgate` commands on this machine."),
        key("listen", filled(text()), "Addresses of the web page and the API, as in [\"127.0.0.1:8022\"]."),
        key("health", text(), "An address for health checks and metrics only, without a token."),
        key("health_users", truth(), "Whether the metrics there name users."),
        key("hosts", filled(text()), "Host names of listen, in addition to addresses and localhost."),
        key("tls", tls, "PEM files, read again when they change."),
        key("plain_http", word(["behind-a-proxy"]), "A proxy in front of it provides TLS."),
        key("tokens", list(token), "Tokens of programs; `lockgate admin token` prints one with its entry."),
        key("oidc", oidc, "An OpenID Connect provider, for people and for programs."),
    ])
}

fn fleet() -> Value {
    let sentinel = [need("master", text(), "The name by which the sentinels know the server.")];
    let own = [
        need(
            "url",
            either([text(), filled(secret())]),
            "Redis or Valkey, as in rediss://cache.example.org:6379: one URL, or a list that is tried in order.",
        ),
        need("name", text(), "The fleet's name: the same for all its gateways."),
        key(
            "lease",
            duration(3 * SECOND, 600 * SECOND),
            "How long a killed gateway and its sessions stay visible; 15s by default.",
        ),
        key("ca_file", text(), "Authorities of the servers' certificates, as PEM; by default the system's."),
        key("sentinel", section(sentinel.into_iter().chain(login())), "The servers in url are sentinels."),
    ];
    section(own.into_iter().chain(login()))
}

/// Who calls a server of a fleet.
fn login() -> [Key; 2] {
    [
        key("username", text(), "A user in the server's access list."),
        key("password", secret(), "As in ${file:/run/secrets/redis}."),
    ]
}

fn limits() -> Value {
    section([
        key("sessions", number(1, 1_000_000), "Concurrent connections that have logged in; 10000 by default."),
        key("unauthenticated", number(1, 100_000), "Concurrent connections that have not logged in; 100 by default."),
        key("unauthenticated_per_address", number(1, 100_000), "The same for one address; 10 by default."),
        key(
            "connections_per_second",
            number(1, 100_000),
            "New connections per second from one address; 20 by default.",
        ),
        key("login_grace", duration(SECOND, 600 * SECOND), "Time from connecting to being logged in; 30s by default."),
        key("auth_attempts", number(1, 100), "Failed attempts on one connection; 6 by default."),
        key("idle", duration(SECOND, 7 * DAY), "A session ends after this time without activity; 30m by default."),
        key(
            "stall",
            duration(SECOND, DAY),
            "A connection with several channels ends when one accepts no data for this long; 60s by default.",
        ),
        key("drain", duration(Duration::ZERO, DAY), "How long a drain waits for transfers; 60s by default."),
        key("transfer_memory", size(16 << 20, 1 << 40), "Memory for the data of all transfers; 512MiB by default."),
        key(
            "staging",
            size(1 << 20, 1 << 50),
            "Disk space for uploads that are written out of order; 10GiB by default.",
        ),
        key("staging_folder", text(), "Where such uploads stay until they are complete."),
        key("largest_hole", size(0, 1 << 50), "Bytes of a file that may remain unwritten; 64MiB by default."),
    ])
}

fn defender() -> Value {
    let points = || number(0, MOST_POINTS);
    let time = || duration(SECOND, 30 * DAY);
    let weights = section([
        key("wrong_password", points(), "A password that was refused."),
        key("wrong_key", points(), "A key that was refused, or offered without a signature."),
        key("no_attempt", points(), "Disconnected without an attempt."),
        key(
            "held_place",
            points(),
            "Was silent for 5 seconds and then disconnected, or was closed to make room for others.",
        ),
        key("grace_exceeded", points(), "Did not log in within limits.login_grace."),
        key("protocol_error", points(), "Violated the protocol, or used another one."),
        key("refused", points(), "Refused because of the limits for one address."),
    ]);
    section([
        key("points", number(1, MOST_POINTS), "An address that collects this many points is banned; 1000 by default."),
        key("within", time(), "Points count for this long; 10m by default."),
        key("ban", time(), "How long the first ban lasts; 1m by default. Each further one lasts twice as long."),
        key("longest_ban", time(), "How long a ban lasts at most; 24h by default."),
        key("weights", weights, "The points of each fault; 0 for none."),
        key("allow", list(text()), "Addresses and networks that are never banned; by default the loopback addresses."),
    ])
}

#[cfg(test)]
pub(super) mod tests;
