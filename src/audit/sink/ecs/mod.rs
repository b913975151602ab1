//! Lines in the form of the Elastic Common Schema, with the words that public rules for SSH logins read: `event.action` is
//! `ssh_login`, `event.category` is `authentication`, and a login is found by `host.id`, `source.ip` and `user.name`.
//!
//! A field that has no place in ECS keeps its name in `lockgate`, so nothing of an event is lost.

mod action;

use serde::Serialize;
use serde_json::ser::Serializer;
use serde_json::{Map, Value, json};

use super::rest::Rest;
use crate::audit::line::Plain;
use crate::audit::outcome::status_of;
use action::Action;

/// The version of the schema that the lines follow.
const VERSION: &str = "8.17.0";

/// Nanoseconds in a millisecond: `event.duration` is in nanoseconds.
const NANOS: u64 = 1_000_000;

/// The event of a line, as a line without its newline.
pub(super) fn translate(line: &[u8]) -> Vec<u8> {
    let event = match serde_json::from_slice(line) {
        Ok(Value::Object(fields)) => of_fields(Rest(fields)),
        _ => {
            json!({ "event": { "kind": "event", "original": String::from_utf8_lossy(line) }, "ecs": { "version": VERSION } })
        }
    };
    let mut translated = Vec::with_capacity(line.len() * 2);
    // Writing to memory does not fail.
    let _ = event.serialize(&mut Serializer::with_formatter(&mut translated, Plain));
    translated
}

fn of_fields(mut rest: Rest) -> Value {
    let activity = rest.text("activity-type").unwrap_or_default();
    let action = Action::of(&activity, &rest);
    let mut fields = Fields::default();
    fields.put("ecs", json!({ "version": VERSION }));
    fields.maybe("@timestamp", rest.peek("timestamp").map(Value::from));
    // Before what they are made of is taken away.
    let related = related(&rest);
    fields.put("host", host(&rest));
    fields.put("observer", observer(&rest));
    fields.put("event", event(&activity, &action, &mut rest));
    fields.maybe("message", rest.text("message").map(Value::from));
    if matches!(activity.as_str(), "ERROR" | "EXIT_REASON" | "FLEET_ALONE") {
        fields.maybe("error", fields.get("message").map(|message| json!({ "message": message })));
    }
    fields.maybe("source", source(&mut rest));
    fields.maybe("destination", destination(&mut rest));
    fields.maybe("user", user(&activity, &mut rest));
    fields.maybe("user_agent", rest.text("client").map(|client| json!({ "original": client })));
    fields.maybe("network", network(&mut rest));
    fields.maybe("http", http(&mut rest));
    fields.maybe(
        "url",
        (activity == "ADMIN_CALL").then(|| rest.text("path")).flatten().map(|path| json!({ "path": path })),
    );
    fields.maybe("file", file(&action, &mut rest));
    fields.maybe(
        "service",
        rest.text("resource-arn").map(|arn| json!({ "name": "lockgate", "type": "lockgate", "id": arn })),
    );
    fields.maybe("related", related);
    rest.take("server");
    if !rest.0.is_empty() {
        fields.put("lockgate", Value::Object(rest.0));
    }
    Value::Object(fields.0)
}

/// Fields that are there only with something in them.
#[derive(Debug, Default)]
struct Fields(Map<String, Value>);

impl Fields {
    fn put(&mut self, name: &str, value: Value) {
        self.0.insert(name.to_owned(), value);
    }

    fn maybe(&mut self, name: &str, value: Option<Value>) {
        if let Some(value) = value {
            self.put(name, value);
        }
    }

    fn get(&self, name: &str) -> Option<&Value> {
        self.0.get(name)
    }

    /// `None` when there are none.
    fn into_value(self) -> Option<Value> {
        (!self.0.is_empty()).then_some(Value::Object(self.0))
    }
}

fn event(activity: &str, action: &Action, rest: &mut Rest) -> Value {
    let word = rest.text("status").or_else(|| status_of(activity).map(str::to_owned));
    let mut event = Fields::default();
    event.put("kind", "event".into());
    event.put("module", "lockgate".into());
    event.put("dataset", "lockgate.events".into());
    event.put("code", activity.into());
    event.put("action", action.name.into());
    if !action.category.is_empty() {
        event.put("category", action.category.into());
    }
    // ECS knows no third one: what was denied failed, and its type says more.
    let outcome = match word.as_deref() {
        Some("success") => "success",
        Some(_) => "failure",
        None => "unknown",
    };
    event.put("outcome", outcome.into());
    let mut kinds = action.kinds.to_vec();
    if word.as_deref() == Some("denied") && !kinds.contains(&"denied") {
        kinds.push("denied");
    }
    event.put("type", kinds.into());
    event.maybe("id", rest.take("event-id"));
    event.maybe("sequence", rest.take("sequence"));
    event.maybe("created", rest.take("timestamp"));
    event.maybe("reason", rest.text("reason").map(Value::from));
    let duration = rest.take("duration-ms").and_then(|ms| ms.as_u64()).map(|ms| ms.saturating_mul(NANOS));
    event.maybe("duration", duration.map(Value::from));
    Value::Object(event.0)
}

/// The gateway's machine, by the server's name: that is what rules take for the one that was attacked.
fn host(rest: &Rest) -> Value {
    let name = rest.peek("server").unwrap_or("lockgate");
    json!({ "id": name, "name": name, "hostname": name, "os": { "type": std::env::consts::OS } })
}

fn observer(rest: &Rest) -> Value {
    let name = rest.peek("server").unwrap_or("lockgate");
    let version = env!("CARGO_PKG_VERSION");
    json!({ "vendor": "Lockgate", "product": "Lockgate", "type": "sftp-server", "name": name, "version": version })
}

/// Where the client is, and the person there who uses the account.
fn source(rest: &mut Rest) -> Option<Value> {
    let mut source = Fields::default();
    if let Some(address) = rest.text("source-ip") {
        source.put("ip", address.clone().into());
        source.put("address", address.into());
    }
    source.maybe("port", rest.take("source-port"));
    source.maybe("user", rest.text("identity").map(|identity| json!({ "name": identity })));
    source.into_value()
}

/// The target that was jumped to, and the account there.
fn destination(rest: &mut Rest) -> Option<Value> {
    let mut destination = Fields::default();
    destination.maybe("address", rest.text("target").map(Value::from));
    destination.maybe("user", rest.text("account").map(|account| json!({ "name": account })));
    destination.into_value()
}

/// The account; of a call of the admin door, who called.
fn user(activity: &str, rest: &mut Rest) -> Option<Value> {
    let name = if activity == "ADMIN_CALL" { rest.text("caller") } else { rest.text("user") };
    let role = rest.text("role");
    let mut user = Fields::default();
    user.maybe("name", name.map(Value::from));
    user.maybe("roles", role.map(|role| json!([role])));
    user.into_value()
}

fn network(rest: &mut Rest) -> Option<Value> {
    let protocol = rest.text("protocol");
    let mut network = json!({ "transport": "tcp", "protocol": "ssh" });
    network["application"] = protocol?.into();
    Some(network)
}

fn http(rest: &mut Rest) -> Option<Value> {
    let status = rest.take("http-status")?;
    let method = rest.text("method").unwrap_or_default();
    Some(json!({ "request": { "method": method }, "response": { "status_code": status } }))
}

fn file(action: &Action, rest: &mut Rest) -> Option<Value> {
    let kind = action.file?;
    // Of a link its own name; what it would lead to is its target.
    let (path, target) = match kind {
        "symlink" => (rest.text("new-path"), rest.text("logical-path")),
        _ => (rest.text("path"), None),
    };
    let mut file = Fields::default();
    let name = |path: &str| path.trim_end_matches('/').rsplit('/').next().unwrap_or_default().to_owned();
    if let Some(name) = path.as_deref().or(rest.peek("logical-path")).map(name).filter(|name| !name.is_empty()) {
        let extension =
            name.rsplit_once('.').map(|(_, extension)| extension).filter(|e| kind == "file" && !e.is_empty());
        file.maybe("extension", extension.map(Value::from));
        file.put("name", name.into());
    }
    file.maybe("path", path.map(Value::from));
    file.maybe("target_path", target.map(Value::from));
    file.put("type", kind.into());
    let bytes = if action.name == "file_upload" { "bytes-in" } else { "bytes-out" };
    file.maybe("size", rest.peek(bytes).and_then(|bytes| bytes.parse::<u64>().ok()).map(Value::from));
    file.maybe("hash", rest.text("sha256").map(|sha256| json!({ "sha256": sha256 })));
    file.into_value()
}

/// What is looked for whatever field it is in.
fn related(rest: &Rest) -> Option<Value> {
    let list = |names: &[&str]| {
        let found: Vec<&str> = names.iter().filter_map(|name| rest.peek(name)).collect();
        (!found.is_empty()).then(|| json!(found))
    };
    let mut related = Fields::default();
    related.maybe("ip", list(&["source-ip"]));
    related.maybe("user", list(&["user", "identity", "caller"]));
    related.maybe("hash", list(&["sha256", "hassh", "ssh-public-key-fingerprint", "ssh-certificate-ca-fingerprint"]));
    related.maybe("hosts", list(&["server"]));
    related.into_value()
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
