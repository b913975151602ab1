//! The events as a JSON Schema (draft 2020-12): which fields each activity has, of which form, and which are always there.
//!
//! The tables below are the source; `lockgate audit schema` prints what they make. The tests hold every event against it that
//! the whole suite sees, so a field that is not in a table does not pass.

use serde_json::{Map, Value, json};

/// Whether a field is always there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Need {
    Required,
    Optional,
}

use Need::{Optional, Required};

/// What may stand in a field.
#[derive(Debug, Clone, Copy)]
enum Form {
    /// Text that is not empty.
    Text,
    /// Text of a pattern.
    Pattern(&'static str),
    /// One of some texts.
    OneOf(&'static [&'static str]),
    /// A number that is not negative.
    Number,
    /// `true` or `false`.
    Truth,
}

type Field = (&'static str, Need, Form);

const WORD: Form = Form::Pattern("^[a-z0-9]+(-[a-z0-9]+)*$");
const DIGITS: Form = Form::Pattern("^[0-9]+$");
const HASH: Form = Form::Pattern("^[0-9a-f]{64}$");
const PAIR: Form = Form::Pattern("^[^,]+,[^,]+$");
const FINGERPRINT: Form = Form::Pattern("^SHA256:[A-Za-z0-9+/]{43}$");
const FINGERPRINTS: Form = Form::Pattern("^SHA256:[A-Za-z0-9+/]{43}(,SHA256:[A-Za-z0-9+/]{43})*([A-Za-z0-9+/:,]*…)?$");
const UUID: Form = Form::Pattern("^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$");
const UUID_7: Form = Form::Pattern("^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$");
const TIME: Form = Form::Pattern("^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\\.[0-9]{3}Z$");
const SESSION: Form = Form::Pattern("^[0-9a-f]{20}$");
const ADDRESS: Form = Form::Pattern("^[0-9a-f:.]+$");
const SIGNATURE: Form = Form::Pattern("^[A-Za-z0-9+/]{86}==$");
const ENDORSEMENTS: Form = Form::Pattern(
    "^[A-Za-z0-9+/]{43}=:[A-Za-z0-9+/]{43}=:[A-Za-z0-9+/]{86}==( [A-Za-z0-9+/]{43}=:[A-Za-z0-9+/]{43}=:[A-Za-z0-9+/]{86}==)*$",
);
const MODE: Form = Form::Pattern("^[A-Z]+(\\|[A-Z]+)*$");
const METHODS: Form = Form::Pattern(
    "^(inherited|(publickey|password|keyboard-interactive)(,(publickey|password|keyboard-interactive)){0,2})$",
);

/// In every event, besides `activity-type`.
const EVERY: &[Field] = &[
    ("resource-arn", Required, Form::Text),
    ("timestamp", Required, TIME),
    ("event-id", Required, UUID_7),
    ("server", Required, Form::Text),
    ("sequence", Required, Form::Number),
    ("previous", Required, HASH),
];

/// In every event of a connection.
const CONNECTION: &[Field] = &[
    ("session-id", Required, SESSION),
    ("source-ip", Required, ADDRESS),
    ("source-port", Required, Form::Number),
    ("user", Optional, Form::Text),
    ("protocol", Optional, Form::OneOf(&["sftp", "scp"])),
    ("client", Optional, Form::Text),
    ("account", Optional, Form::Text),
    ("target", Optional, Form::Text),
    ("jump-session-id", Optional, SESSION),
];

/// In every event of a session: who is behind the user's name.
const PERSON: &[Field] = &[("identity", Optional, Form::Text), ("ssh-public-key-fingerprint", Optional, FINGERPRINT)];

/// The same in what may be about no connection: an ERROR of the gateway itself, connections that were turned away.
const PERHAPS_CONNECTION: &[Field] = &[
    ("session-id", Optional, SESSION),
    ("source-ip", Optional, ADDRESS),
    ("source-port", Optional, Form::Number),
    ("user", Optional, Form::Text),
    ("protocol", Optional, Form::OneOf(&["sftp", "scp"])),
    ("client", Optional, Form::Text),
    ("account", Optional, Form::Text),
    ("target", Optional, Form::Text),
    ("jump-session-id", Optional, SESSION),
];

const ALGORITHMS: &[Field] = &[
    ("kex", Optional, Form::Text),
    ("ciphers", Optional, PAIR),
    ("macs", Optional, PAIR),
    ("host-key-algorithm", Optional, Form::Text),
    ("compression", Optional, PAIR),
    ("hassh", Optional, Form::Pattern("^[0-9a-f]{32}$")),
];

const KEY: &[Field] = &[
    ("ssh-public-key-type", Optional, Form::Text),
    ("ssh-public-key-fingerprint", Optional, FINGERPRINT),
    ("ssh-public-key-comment", Optional, Form::Text),
    ("ssh-certificate-serial", Optional, DIGITS),
    ("ssh-certificate-key-id", Optional, Form::Text),
    ("ssh-certificate-ca-fingerprint", Optional, FINGERPRINT),
];

const CONNECTED: &[Field] = &[
    ("role", Optional, Form::Text),
    ("home-dir", Required, Form::OneOf(&["LOGICAL"])),
    ("method", Required, METHODS),
    ("second-factor", Optional, Form::OneOf(&["totp"])),
    ("ssh-public-key", Optional, Form::Pattern("^[A-Za-z0-9+/]+=*…?$")),
    ("proxy-protocol-v2-header", Optional, Form::OneOf(&["applied", "ignored"])),
];

const AUTH_FAILURE: &[Field] = &[
    ("identity", Optional, Form::Text),
    (
        "method",
        Required,
        Form::OneOf(&["publickey", "password", "keyboard-interactive", "none", "unknown", "inherited"]),
    ),
    ("message", Required, Form::Text),
    ("reason", Required, WORD),
    ("cause", Optional, Form::Text),
    ("attempt", Required, Form::Number),
];

const REJECTED: &[Field] = &[
    ("message", Required, Form::Text),
    ("reason", Required, WORD),
    ("kex", Optional, Form::Text),
    ("client-kex-algorithms", Optional, Form::Text),
    ("client-host-key-algorithms", Optional, Form::Text),
    ("client-ciphers", Optional, Form::Text),
    ("client-macs", Optional, Form::Text),
];

/// In a CONNECTION_REJECTED that stands for many connections, and has none of its own.
const MANY_REJECTED: &[Field] = &[
    ("connections", Optional, Form::Number),
    ("source-ips", Optional, Form::Pattern("^[0-9a-f:.]+(/64)?=[0-9]+(,[0-9a-f:.]+(/64)?=[0-9]+)*$")),
    ("first-timestamp", Optional, TIME),
    ("last-timestamp", Optional, TIME),
];

const DISCONNECTED: &[Field] = &[
    (
        "reason",
        Required,
        Form::Pattern(
            "^(client|server|idle|login-grace|error|user-removed|user-disabled|key-removed|key-revoked|address-not-allowed|target-removed|home-closed|jump-ended|administrator)$",
        ),
    ),
    ("ended-by", Optional, Form::Text),
    ("message", Optional, Form::Text),
    ("duration-ms", Required, Form::Number),
    ("bytes-in", Required, DIGITS),
    ("bytes-out", Required, DIGITS),
    ("files-in", Required, Form::Number),
    ("files-out", Required, Form::Number),
];

const FILE: &[Field] = &[("path", Optional, Form::Text), ("logical-path", Required, Form::Text)];

const OUTCOME: &[Field] = &[
    ("status", Required, Form::OneOf(&["success", "denied", "failure"])),
    ("message", Optional, Form::Text),
    ("duration-ms", Required, Form::Number),
];

const SETSTAT: &[Field] = &[("size", Optional, Form::Number)];

const DIRECTION: Field = ("operation", Required, Form::OneOf(&["read", "write"]));

const CLOSE: &[Field] = &[
    ("operation", Required, Form::OneOf(&["read", "write", "copy"])),
    ("bytes-in", Optional, DIGITS),
    ("bytes-out", Optional, DIGITS),
    ("bytes-copied", Optional, Form::Number),
    ("sha256", Optional, HASH),
    ("etag", Optional, Form::Text),
    ("unchanged", Optional, Form::Truth),
];

const NAMES: &[Field] = &[
    ("path", Optional, Form::Text),
    // A link may lead to the empty path.
    ("logical-path", Optional, Form::Text),
    ("new-path", Optional, Form::Text),
    ("new-logical-path", Required, Form::Text),
];

/// In the ERROR of an upload that was closed and could not be published.
const CLOSE_FAILED: &[Field] = &[
    ("bytes-in", Optional, DIGITS),
    ("bytes-out", Optional, DIGITS),
    ("bytes-copied", Optional, Form::Number),
    ("status", Optional, Form::OneOf(&["denied", "failure"])),
    ("duration-ms", Optional, Form::Number),
];

const NOTE: &[Field] = &[
    ("message", Required, Form::Text),
    ("operation", Optional, Form::Text),
    ("path", Optional, Form::Text),
    ("logical-path", Optional, Form::Text),
];

const CHECKPOINT: &[Field] = &[
    ("chain", Required, UUID),
    ("reason", Required, Form::OneOf(&["start", "interval", "rotation", "key-change", "shutdown"])),
    ("clean", Optional, Form::Truth),
    ("acknowledged", Optional, Form::Number),
    ("acknowledged-hash", Optional, HASH),
    ("state", Optional, Form::OneOf(&["missing", "unreadable", "foreign"])),
    ("key-endorsements", Optional, ENDORSEMENTS),
    ("checkpoint-every-ms", Optional, Form::Number),
    ("checkpoint-key", Optional, FINGERPRINT),
    ("signature", Optional, SIGNATURE),
];

const USER: &[Field] = &[
    ("user", Required, Form::Text),
    ("source", Required, Form::Text),
    ("ssh-public-key-fingerprint", Optional, FINGERPRINTS),
    ("ssh-public-key-fingerprint-added", Optional, FINGERPRINTS),
    ("ssh-public-key-fingerprint-removed", Optional, FINGERPRINTS),
    ("message", Optional, Form::Text),
];

const ADMIN_CALL: &[Field] = &[
    ("source-ip", Optional, ADDRESS),
    ("source-port", Optional, Form::Number),
    ("caller", Optional, Form::Text),
    ("role", Optional, Form::OneOf(&["viewer", "auditor", "operator"])),
    ("method", Required, Form::Text),
    ("path", Required, Form::Text),
    ("http-status", Required, Form::Number),
    ("reason", Optional, Form::Text),
];

/// One activity: its name, what it means, its fields besides those of every event.
type ActivitySchema = (&'static str, &'static str, &'static [&'static [Field]]);

/// Every activity.
const ACTIVITIES: &[ActivitySchema] = &[
    ("CONNECTED", "An attempt to log in succeeded.", &[CONNECTION, PERSON, CONNECTED, ALGORITHMS, KEY]),
    ("AUTH_FAILURE", "An attempt to log in failed.", &[CONNECTION, AUTH_FAILURE, ALGORITHMS, KEY]),
    ("KEX_FAILURE", "Client and server have no algorithm in common.", &[CONNECTION, PERSON, REJECTED]),
    (
        "CONNECTION_REJECTED",
        "A connection was turned away before it could log in, or many were.",
        &[PERHAPS_CONNECTION, PERSON, REJECTED, MANY_REJECTED],
    ),
    ("DISCONNECTED", "The end of a connection.", &[CONNECTION, PERSON, DISCONNECTED]),
    (
        "OPEN",
        "A transfer starts, or could not.",
        &[CONNECTION, PERSON, FILE, OUTCOME, &[DIRECTION, ("mode", Required, MODE)]],
    ),
    ("CLOSE", "A transfer ended as the client wished.", &[CONNECTION, PERSON, FILE, OUTCOME, CLOSE]),
    ("PARTIAL_CLOSE", "A transfer ended with the file still open.", &[CONNECTION, PERSON, FILE, OUTCOME, CLOSE]),
    ("DELETE", "A file was to be deleted.", &[CONNECTION, PERSON, FILE, OUTCOME]),
    ("RENAME", "A file was to be renamed.", &[CONNECTION, PERSON, NAMES, OUTCOME]),
    ("MKDIR", "A directory was to be made.", &[CONNECTION, PERSON, FILE, OUTCOME]),
    ("RMDIR", "A directory was to be removed.", &[CONNECTION, PERSON, FILE, OUTCOME]),
    ("SETSTAT", "Attributes were to be set.", &[CONNECTION, PERSON, FILE, OUTCOME, SETSTAT]),
    ("CREATE_SYMLINK", "A symbolic link was refused.", &[CONNECTION, PERSON, NAMES, OUTCOME]),
    ("LIST", "A directory was listed.", &[CONNECTION, PERSON, FILE, OUTCOME]),
    (
        "REQUEST_DENIED",
        "Something was asked for that is neither SFTP nor SCP.",
        &[CONNECTION, PERSON, &[("request", Required, Form::Text), ("message", Required, Form::Text)]],
    ),
    (
        "ERROR",
        "An upload could not be published at its close, or something went wrong beside the answer to one operation.",
        &[PERHAPS_CONNECTION, PERSON, NOTE, CLOSE_FAILED],
    ),
    ("EXIT_REASON", "An unexpected error ended the session.", &[CONNECTION, PERSON, NOTE]),
    ("CHECKPOINT", "The gateway says where it is in its chain of events.", &[CHECKPOINT]),
    ("USER_ADDED", "A user appeared in a source of users.", &[USER]),
    ("USER_CHANGED", "A user changed in a source of users.", &[USER]),
    ("USER_REMOVED", "A user went from a source of users.", &[USER]),
    ("ADMIN_CALL", "Somebody asked the admin door for something.", &[ADMIN_CALL, OUTCOME]),
    (
        "TRAIL_VERIFIED",
        "A self-check read the trail to its end and found it whole.",
        &[&[("message", Required, Form::Text)]],
    ),
    (
        "FLEET_ALONE",
        "The shared state of the fleet cannot be reached: the gateway continues alone.",
        &[&[("message", Required, Form::Text)]],
    ),
    ("FLEET_JOINED", "The shared state of the fleet is reached again.", &[&[("message", Required, Form::Text)]]),
];

/// The schema of all events.
pub fn schema() -> Value {
    let references: Vec<Value> = ACTIVITIES.iter().map(|(name, ..)| reference(name)).collect();
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "A Lockgate event",
        "description": "One line of the audit trail. A field that is not known is absent, never empty and never null.",
        "type": "object",
        "required": ["activity-type"],
        "oneOf": references,
        "$defs": definitions(),
    })
}

/// The schema of the events of one activity; `None` when there is none of that name.
pub fn schema_of(activity: &str) -> Option<Value> {
    let (name, ..) = ACTIVITIES.iter().find(|(name, ..)| *name == activity)?;
    let mut schema = reference(name);
    schema["$schema"] = "https://json-schema.org/draft/2020-12/schema".into();
    schema["$defs"] = definitions();
    Some(schema)
}

/// The names of all activities.
pub fn activities() -> impl Iterator<Item = &'static str> {
    ACTIVITIES.iter().map(|(name, ..)| *name)
}

/// Whether an object could be an event, as far as that is seen without patterns: its activity is known, it says when and where it happened,
/// each known field is a text, a number or a truth value as it has to be, and every other one (of another version) is one of these.
pub fn has_known_forms(event: &Map<String, Value>) -> bool {
    let named = |activity: &&ActivitySchema| event.get("activity-type").is_some_and(|name| name == activity.0);
    let Some((_, _, fields)) = ACTIVITIES.iter().find(named) else { return false };
    let mut known = std::iter::once(EVERY).chain(fields.iter().copied()).flatten();
    ["resource-arn", "timestamp", "event-id", "server"].iter().all(|name| event.contains_key(*name))
        && known.all(|(name, _, form)| event.get(*name).is_none_or(|value| form.is_kind_of(value)))
        && event.values().all(|value| value.is_string() || value.is_number() || value.is_boolean())
}

fn reference(name: &str) -> Value {
    json!({ "$ref": format!("#/$defs/{name}") })
}

fn definitions() -> Value {
    ACTIVITIES.iter().map(|activity| (activity.0.to_owned(), definition(activity))).collect::<Map<_, _>>().into()
}

fn definition((name, description, fields): &ActivitySchema) -> Value {
    let mut properties = Map::new();
    let mut required = vec!["activity-type"];
    properties.insert("activity-type".into(), json!({ "const": name }));
    for (field, need, form) in std::iter::once(EVERY).chain(fields.iter().copied()).flatten() {
        properties.insert((*field).to_owned(), form.schema());
        if *need == Required {
            required.push(field);
        }
    }
    let mut definition = json!({
        "description": description,
        "type": "object",
        "properties": properties,
        "required": required,
        "additionalProperties": false,
    });
    if *name == "CHECKPOINT" {
        definition["if"] = json!({ "properties": { "reason": { "const": "start" } } });
        definition["then"] = json!({ "required": ["clean", "acknowledged", "acknowledged-hash"] });
        definition["dependentRequired"] = json!({ "checkpoint-key": ["signature"], "signature": ["checkpoint-key"] });
    }
    if *name == "CONNECTION_REJECTED" {
        let one = json!({ "required": ["session-id", "source-ip", "source-port"] });
        definition["oneOf"] = json!([one, { "required": ["connections"] }]);
    }
    if *name == "ERROR" {
        definition["dependentRequired"] =
            json!({ "status": ["session-id", "operation", "logical-path", "bytes-in", "duration-ms"] });
    }
    definition
}

impl Form {
    fn is_kind_of(self, value: &Value) -> bool {
        match self {
            Form::Text | Form::Pattern(_) | Form::OneOf(_) => value.as_str().is_some_and(|text| !text.is_empty()),
            Form::Number => value.is_u64(),
            Form::Truth => value.is_boolean(),
        }
    }

    fn schema(self) -> Value {
        match self {
            Form::Text => json!({ "type": "string", "minLength": 1 }),
            Form::Pattern(pattern) => json!({ "type": "string", "pattern": pattern }),
            Form::OneOf(texts) => json!({ "enum": texts }),
            Form::Number => json!({ "type": "integer", "minimum": 0 }),
            Form::Truth => json!({ "type": "boolean" }),
        }
    }
}

#[cfg(test)]
#[path = "schema_tests.rs"]
mod tests;
#[cfg(test)]
pub(in crate::audit) use tests::assert_event;
