//! Which class an activity is, and the fields of the class.

use serde_json::{Map, Value, json};

use super::{Class, Mapped, OTHER};
use crate::audit::sink::rest::Rest;

/// The class of errors, whose message is its own.
pub(super) const ERROR_CLASS: u32 = 6008;

const AUTHENTICATION: Class = Class { uid: 3002, name: "Authentication", category: "Identity & Access Management" };
const ACCOUNT_CHANGE: Class = Class { uid: 3001, name: "Account Change", category: "Identity & Access Management" };
const SSH_ACTIVITY: Class = Class { uid: 4007, name: "SSH Activity", category: "Network Activity" };
const FILE_HOSTING: Class = Class { uid: 6006, name: "File Hosting Activity", category: "Application Activity" };
const APPLICATION_ERROR: Class =
    Class { uid: ERROR_CLASS, name: "Application Error", category: "Application Activity" };
const API_ACTIVITY: Class = Class { uid: 6003, name: "API Activity", category: "Application Activity" };
const EVENT_LOG: Class = Class { uid: 1008, name: "Event Log Activity", category: "System Activity" };

/// Kinds of files.
const REGULAR: u32 = 1;
const FOLDER: u32 = 2;
const SYMLINK: u32 = 7;
const UNKNOWN: u32 = 0;

/// The event as one of a class; what finds a place is taken out of `rest`. `None` when there is no class for it, or something
/// is missing that the class demands.
pub(super) fn map(activity: &str, rest: &mut Rest) -> Option<Mapped> {
    match activity {
        "CONNECTED" | "AUTH_FAILURE" if rest.peek("user").is_some() => authentication(1, "Logon", rest),
        "DISCONNECTED" if rest.peek("user").is_some() => authentication(2, "Logoff", rest),
        "AUTH_FAILURE" | "KEX_FAILURE" => ssh(4, "Fail", rest),
        "DISCONNECTED" => ssh(2, "Close", rest),
        "CONNECTION_REJECTED" => ssh(5, "Refuse", rest),
        "REQUEST_DENIED" => ssh(OTHER, "Request Denied", rest),
        "OPEN" => file(14, "Open", REGULAR, rest),
        // It was opened to be written, and nothing was: no file has come.
        "CLOSE" if rest.is_true("unchanged") => file(OTHER, "Close", REGULAR, rest),
        "CLOSE" | "PARTIAL_CLOSE" => match rest.peek("operation") {
            Some("write") => file(1, "Upload", REGULAR, rest),
            Some("copy") => file(6, "Copy", REGULAR, rest),
            _ => file(2, "Download", REGULAR, rest),
        },
        // An upload that could not be published: the only error with an outcome of its own.
        "ERROR" if rest.peek("status").is_some() => file(1, "Upload", REGULAR, rest),
        "DELETE" => file(4, "Delete", REGULAR, rest),
        "RMDIR" => file(4, "Delete", FOLDER, rest),
        "RENAME" => file(5, "Rename", UNKNOWN, rest),
        "MKDIR" => file(OTHER, "Create Folder", FOLDER, rest),
        "SETSTAT" => file(OTHER, "Set Attributes", UNKNOWN, rest),
        "LIST" => file(OTHER, "List", FOLDER, rest),
        "CREATE_SYMLINK" => file(OTHER, "Create Symlink", SYMLINK, rest),
        "ERROR" | "EXIT_REASON" | "FLEET_ALONE" => Some(mapped(APPLICATION_ERROR, 1, "General Error", json!({}))),
        "USER_ADDED" => account(1, "Create", rest),
        "USER_CHANGED" => account(OTHER, "Update", rest),
        "USER_REMOVED" => account(6, "Delete", rest),
        "CHECKPOINT" => Some(checkpoint(rest)),
        "TRAIL_VERIFIED" => Some(event_log(OTHER, "Trail Verified", rest)),
        "FLEET_JOINED" => Some(event_log(OTHER, "Fleet Joined", rest)),
        "ADMIN_CALL" => Some(admin_call(rest)),
        _ => None,
    }
}

fn mapped(class: Class, activity: u32, name: &str, own: Value) -> Mapped {
    Mapped { class, activity, name: name.to_owned(), own }
}

fn authentication(activity: u32, name: &str, rest: &mut Rest) -> Option<Mapped> {
    let user = user(rest)?;
    let method = rest.text("method");
    let session = rest.text("session-id").map(|id| json!({ "uid": id, "is_remote": true }));
    let own = json!({
        "user": user,
        "service": { "name": rest.text("protocol").unwrap_or_else(|| "ssh".into()) },
        "src_endpoint": source(rest),
        "dst_endpoint": destination(rest),
        "session": session,
        "certificate": certificate(rest),
        "auth_protocol_id": OTHER,
        "auth_protocol": method.as_deref().map_or_else(|| "SSH".to_owned(), |method| format!("SSH {method}")),
        "logon_type_id": 3,
        "logon_type": "Network",
        "is_remote": true,
        "is_cleartext": false,
        // Two proofs are joined by a comma.
        "is_mfa": method.map(|method| method.contains(',')),
    });
    Some(mapped(AUTHENTICATION, activity, name, own))
}

/// A certificate has an issuer and a number; without both it stays where it is.
fn certificate(rest: &mut Rest) -> Option<Value> {
    rest.peek("ssh-certificate-serial")?;
    let issuer = rest.text("ssh-certificate-ca-fingerprint")?;
    let (serial, key_id) = (rest.text("ssh-certificate-serial"), rest.text("ssh-certificate-key-id"));
    let mut certificate = json!({ "issuer": issuer, "serial_number": serial });
    if let Some(key_id) = key_id {
        certificate["uid"] = key_id.into();
    }
    Some(certificate)
}

fn ssh(activity: u32, name: &str, rest: &mut Rest) -> Option<Mapped> {
    let (source, destination) = (source(rest), destination(rest));
    if source.is_none() && destination.is_none() {
        return None;
    }
    let hassh = rest.text("hassh").map(|fingerprint| {
        // The algorithm of a HASSH is MD5, always.
        json!({ "fingerprint": { "algorithm_id": 1, "algorithm": "MD5", "value": fingerprint } })
    });
    let own = json!({
        "src_endpoint": source,
        "dst_endpoint": destination,
        "connection_info": connection(rest),
        "client_hassh": hassh,
        "protocol_ver": "2.0",
    });
    Some(mapped(SSH_ACTIVITY, activity, name, own))
}

fn file(activity: u32, name: &str, kind: u32, rest: &mut Rest) -> Option<Mapped> {
    let source = source(rest)?;
    let new = (rest.text("new-path"), rest.peek("new-logical-path").map(str::to_owned));
    let old = (rest.text("path"), rest.peek("logical-path").map(str::to_owned));
    // Of a link, its own name is what would be made; what it leads to stays where it is.
    let (before, after) = if kind == SYMLINK { (new, None) } else { (old, Some(new)) };
    let mut before = file_object(before, kind)?;
    let success = rest.peek("status") == Some("success");
    if let (Some("write"), true, Some(size)) = (rest.peek("operation"), success, bytes(rest, "bytes-in")) {
        before.insert("size".into(), size.into());
    }
    if let Some(sha256) = rest.text("sha256") {
        let hash = json!({ "algorithm_id": 3, "algorithm": "SHA-256", "value": sha256 });
        before.insert("hashes".into(), json!([hash]));
    }
    let own = json!({
        "actor": actor(rest),
        "file": before,
        "file_result": after.and_then(|after| file_object(after, kind)),
        "src_endpoint": source,
        "dst_endpoint": destination(rest),
        "connection_info": connection(rest),
    });
    Some(mapped(FILE_HOSTING, activity, name, own))
}

/// A file by where it is stored or, where that is not known, by what the client called it.
fn file_object((stored, logical): (Option<String>, Option<String>), kind: u32) -> Option<Map<String, Value>> {
    let named = logical.as_deref().or(stored.as_deref())?;
    let last = named.trim_end_matches('/').rsplit('/').next().filter(|last| !last.is_empty()).unwrap_or("/");
    let words = match kind {
        REGULAR => "Regular File",
        FOLDER => "Folder",
        SYMLINK => "Symbolic Link",
        _ => "Unknown",
    };
    let object = json!({ "name": last, "type_id": kind, "type": words, "path": stored.as_deref().unwrap_or(named) });
    match object {
        Value::Object(object) => Some(object),
        _ => None,
    }
}

fn bytes(rest: &Rest, name: &str) -> Option<u64> {
    rest.peek(name)?.parse().ok()
}

fn account(activity: u32, name: &str, rest: &mut Rest) -> Option<Mapped> {
    let own = json!({ "user": { "name": rest.text("user")?, "type_id": 1, "type": "User" }, "actor": { "app_name": "Lockgate" }, "src_endpoint": source(rest) });
    Some(mapped(ACCOUNT_CHANGE, activity, name, own))
}

/// A call of the admin door. Over its socket there is no address.
fn admin_call(rest: &mut Rest) -> Mapped {
    let method = rest.text("method").unwrap_or_default();
    let (activity, name) = match method.as_str() {
        "GET" | "HEAD" => (2, "Read"),
        "DELETE" => (4, "Delete"),
        "PUT" | "PATCH" => (3, "Update"),
        "POST" => (1, "Create"),
        _ => (OTHER, "Call"),
    };
    let path = rest.text("path").unwrap_or_default();
    let mut actor = json!({ "app_name": "Lockgate" });
    if let Some(caller) = rest.text("caller") {
        actor["user"] = json!({ "name": caller, "type_id": 2, "type": "Admin" });
    }
    let code = rest.take("http-status");
    // What a caller wrote is no code.
    let reason = rest.text("reason");
    let own = json!({
        "message": reason,
        "actor": actor,
        "api": { "operation": format!("{method} {path}"), "response": { "code": code } },
        "http_request": { "http_method": method, "url": { "path": path } },
        "src_endpoint": source(rest).unwrap_or_else(|| json!({ "name": "local socket" })),
        "dst_endpoint": rest.text("server").map(|server| json!({ "hostname": server, "svc_name": "admin" })),
    });
    mapped(API_ACTIVITY, activity, name, own)
}

/// The trail's word about itself.
fn checkpoint(rest: &mut Rest) -> Mapped {
    let (activity, name) = match rest.peek("reason") {
        Some("start") => (6, "Start"),
        Some("rotation") => (5, "Rotate"),
        Some("shutdown") => (7, "Stop"),
        _ => (OTHER, "Checkpoint"),
    };
    event_log(activity, name, rest)
}

/// What happened to the trail itself.
fn event_log(activity: u32, name: &str, rest: &mut Rest) -> Mapped {
    let server = rest.text("server").unwrap_or_else(|| "lockgate".into());
    let own = json!({
        "log_name": "lockgate",
        "log_provider": "Lockgate",
        "log_type_id": 2,
        "log_type": "Application",
        "actor": { "app_name": "Lockgate" },
        "device": { "type_id": 1, "type": "Server", "hostname": server, "name": server },
    });
    mapped(EVENT_LOG, activity, name, own)
}

/// Who a session is of: the account, the person who uses it, and the key that was shown.
fn user(rest: &mut Rest) -> Option<Value> {
    let mut user = json!({ "name": rest.text("user")?, "type_id": 1, "type": "User" });
    for (from, to) in [("identity", "uid_alt"), ("ssh-public-key-fingerprint", "credential_uid")] {
        if let Some(value) = rest.text(from) {
            user[to] = value.into();
        }
    }
    Some(user)
}

fn actor(rest: &mut Rest) -> Value {
    let mut actor = json!({ "app_name": "Lockgate" });
    if let Some(user) = user(rest) {
        actor["user"] = user;
    }
    if let Some(id) = rest.peek("session-id") {
        actor["session"] = json!({ "uid": id, "is_remote": true });
    }
    actor
}

fn source(rest: &mut Rest) -> Option<Value> {
    let mut source = json!({ "ip": rest.text("source-ip")? });
    if let Some(port) = rest.take("source-port") {
        source["port"] = port;
    }
    Some(source)
}

fn destination(rest: &mut Rest) -> Option<Value> {
    let server = rest.text("server")?;
    let service = rest.text("protocol").unwrap_or_else(|| "ssh".into());
    let mut destination = json!({ "hostname": server, "svc_name": service });
    if let Some(target) = rest.text("target") {
        destination["name"] = target.into();
    }
    Some(destination)
}

fn connection(rest: &mut Rest) -> Value {
    let mut connection =
        json!({ "direction_id": 1, "direction": "Inbound", "protocol_name": "tcp", "protocol_num": 6 });
    if let Some(id) = rest.text("session-id") {
        connection["uid"] = id.into();
    }
    connection
}
