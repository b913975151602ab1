//! `events`: the sinks, and what each kind has.

use std::time::Duration;

use serde_json::{Value, json};

use super::super::raw::{DAY, SECOND};
use super::forms::{
    Key, duration, either, filled, fsync, key, list, map, need, number, secret, section, size, text, truth, word,
};

const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(60 * 60);

/// `events`
pub(super) fn sinks() -> Value {
    filled(either([
        sink("stdout", []),
        sink("file", file()),
        sink("store", store()),
        sink("syslog", syslog()),
        sink("http", http()),
    ]))
}

/// Locks of objects, of a store sink and of a witness.
pub(super) fn object_lock() -> Key {
    let lock = section([
        need(
            "mode",
            word(["governance", "compliance"]),
            "governance: a permission can shorten a lock; compliance: nobody can.",
        ),
        need("retain", duration(MINUTE, 100 * 366 * DAY), "For how long each object is locked."),
    ]);
    key(
        "object_lock",
        lock,
        "Locks each object (S3 Object Lock; the bucket must have it). By default objects are not locked.",
    )
}

/// A sink of one kind: its own keys, and those that each has.
fn sink(kind: &'static str, own: impl IntoIterator<Item = Key>) -> Value {
    let of_each = [
        need("sink", json!({ "const": kind }), "The kind of sink."),
        key(
            "on_failure",
            word(["refuse", "continue"]),
            "While the sink cannot be written: refuse operations (the default), or continue without recording them there.",
        ),
        key("filter", filter(), "Restricts the sink to events that match every condition given here."),
        key(
            "format",
            word(["transfer-family", "ocsf", "ecs", "eventbridge", "cloudevents"]),
            "The form of the events; transfer-family is the default. eventbridge and cloudevents are for the sinks store and http.",
        ),
        key("version", word(["1.4", "1.8"]), "The version of ocsf, in quotes; \"1.4\" is the default."),
        key("temporary_names", list(text()), "An upload under such a name is not reported before it is renamed."),
        key(
            "temporary_within",
            duration(SECOND, 7 * DAY),
            "After this time it is reported under the name that it has.",
        ),
    ];
    let mut sink = section(of_each.into_iter().chain(own));
    // Only `ocsf` has versions.
    sink["if"] = json!({ "required": ["version"], "properties": { "version": { "not": { "type": "null" } } } });
    sink["then"] = json!({ "required": ["format"], "properties": { "format": { "const": "ocsf" } } });
    sink
}

fn filter() -> Value {
    section([
        key("activities", filled(text()), "Only these activities; docs/EVENTS.md lists all."),
        key("except", filled(text()), "All activities except these."),
        key("users", filled(text()), "Only events of users whose names match; *, ? and [..] as in a shell."),
        key("status", filled(word(["success", "denied", "failure"])), "Only events with such a status."),
        key("paths", filled(text()), "Only events about such paths, as in [\"/incoming/**\", \"*.csv\"]."),
        key(
            "operations",
            filled(text()),
            "Only such operations: upload, download, copy, delete, rename, mkdir, rmdir, setstat, list, symlink.",
        ),
    ])
}

fn file() -> [Key; 5] {
    let mut rotate = section([
        key("size", size(64 << 10, 1 << 40), "The file is rotated at this size."),
        key("age", duration(MINUTE, 366 * DAY), "The file is rotated when its first line is this old."),
    ]);
    let given = |key: &str| json!({ "required": [key], "properties": { key: { "not": { "type": "null" } } } });
    rotate["anyOf"] = json!([given("size"), given("age")]);
    [
        need("path", text(), "The file that events are appended to; its folder must exist."),
        key("rotate", rotate, "When the file is rotated; by default never."),
        key("gzip", truth(), "Compress rotated files."),
        key("keep", number(1, 1_000_000), "How many rotated files are kept; by default all."),
        key(
            "fsync",
            fsync(),
            "When lines are synced to disk: never, batch (before an operation is answered), or within a duration; 1s is the default.",
        ),
    ]
}

fn store() -> Vec<Key> {
    let target = need("target", text(), "The store and the folder for the objects, as in \"lake:/audit\".");
    [target, object_lock()].into_iter().chain(spool()).collect()
}

fn syslog() -> [Key; 6] {
    [
        need("address", text(), "As in tcp://HOST:PORT, tls://HOST:PORT or unix:/dev/log."),
        key(
            "framing",
            word(["octet-counting", "newline"]),
            "How messages are separated; octet-counting is the default.",
        ),
        key("facility", text(), "auth, authpriv (the default), audit, daemon, local0 to local7 and the others."),
        key("app_name", text(), "The application name in the messages."),
        ca_file(),
        timeout(),
    ]
}

fn http() -> Vec<Key> {
    let signing = section([need(
        "secret",
        either([json!({ "type": "string" }), filled(secret())]),
        "The secret, or a list of them while one replaces another.",
    )]);
    let own = [
        need("url", secret(), "The collector's, as in https://HOST/PATH."),
        key("headers", map(secret()), "Additional headers, such as credentials."),
        key(
            "encoding",
            word(["ndjson", "array", "single"]),
            "One event per line (ndjson, the default), one JSON array, or one request each (single, the default for notifications).",
        ),
        key("signing", signing, "Signs each request as Standard Webhooks defines it."),
        key(
            "give_up_after",
            duration(SECOND, 30 * DAY),
            "A delivery that is refused for its content for this long is set aside.",
        ),
        key("gzip", truth(), "Compress requests."),
        ca_file(),
        timeout(),
    ];
    own.into_iter().chain(spool()).collect()
}

fn ca_file() -> Key {
    key("ca_file", text(), "Certificate authorities for the server's certificate; by default the system's.")
}

fn timeout() -> Key {
    key("timeout", duration(SECOND, 600 * SECOND), "The timeout for one answer; 10s by default.")
}

/// Where batches wait.
fn spool() -> [Key; 4] {
    let batch = section([
        key("events", number(1, 1_000_000), "A batch ends at this many events."),
        key("size", size(1 << 10, 256 << 20), "A batch ends at this size."),
        key("age", duration(SECOND, 24 * HOUR), "A batch ends at this age."),
    ]);
    [
        key("batch", batch, "How large batches are."),
        key("spool", text(), "Where batches wait until they are delivered; for one sink of one gateway only."),
        key("spool_limit", size(16 << 20, 1 << 50), "The sink fails when this much is waiting; 1GiB by default."),
        key(
            "fsync",
            fsync(),
            "When events are synced to disk: never, batch (always), or within a duration; 1s is the default.",
        ),
    ]
}
