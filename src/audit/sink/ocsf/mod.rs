//! Lines in the form of the Open Cybersecurity Schema Framework, version 1.4 or 1.8.
//!
//! Each event becomes one of OCSF's classes with every field that the class demands. `event-id`, `sequence`, the activity and
//! the time as it stood are in `metadata`; a field that has no place in the class keeps its name in `unmapped`, so nothing of
//! an event is lost. What cannot be one of the classes is a base event (class 0), which has no demands of its own.

mod classes;
mod newer;

use serde::Serialize;
use serde_json::ser::Serializer;
use serde_json::{Map, Value, json};

use super::rest::Rest;
use crate::audit::line::Plain;
use crate::audit::outcome::status_of;
use newer::Beyond;

/// The version of the schema that the lines follow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OcsfVersion {
    /// 1.4.0
    #[default]
    V1_4,
    /// 1.8.0
    V1_8,
}

impl OcsfVersion {
    fn as_str(self) -> &'static str {
        match self {
            OcsfVersion::V1_4 => "1.4.0",
            OcsfVersion::V1_8 => "1.8.0",
        }
    }
}

/// A class of OCSF.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Class {
    uid: u32,
    name: &'static str,
    category: &'static str,
}

impl Class {
    /// The thousands of a class are its category.
    fn category_uid(self) -> u32 {
        self.uid / 1000
    }
}

const BASE: Class = Class { uid: 0, name: "Base Event", category: "Uncategorized" };

/// "Other": the activity's own name stands in `activity_name`.
const OTHER: u32 = 99;

/// What an event is as one of a class, and the fields that only this class has.
#[derive(Debug)]
struct Mapped {
    class: Class,
    activity: u32,
    name: String,
    own: Value,
}

/// The event of a line, as a line without its newline.
pub(super) fn translate(line: &[u8], version: OcsfVersion) -> Vec<u8> {
    let mut event = match serde_json::from_slice(line) {
        Ok(Value::Object(fields)) => of_fields(Rest(fields), version),
        _ => of_unreadable(line),
    };
    event["metadata"]["version"] = version.as_str().into();
    let mut translated = Vec::with_capacity(line.len() * 2);
    // Writing to memory does not fail.
    let _ = event.serialize(&mut Serializer::with_formatter(&mut translated, Plain));
    translated
}

fn of_fields(mut rest: Rest, version: OcsfVersion) -> Value {
    let activity = rest.text("activity-type").unwrap_or_default();
    let beyond = Beyond::of(&activity, &rest);
    let mut candidate = rest.clone();
    let mapped = match classes::map(&activity, &mut candidate) {
        Some(mapped) => {
            rest = candidate;
            mapped
        }
        None => Mapped { class: BASE, activity: OTHER, name: activity.clone(), own: json!({}) },
    };
    let outcome = Outcome::of(&activity, &mut rest);
    let mut event = header(&mapped, &outcome, &activity, &mut rest);
    if let (Value::Object(event), Value::Object(own)) = (&mut event, mapped.own) {
        event.extend(own.into_iter().filter(|(_, value)| !value.is_null()));
        if !rest.0.is_empty() {
            event.insert("unmapped".into(), Value::Object(rest.0));
        }
    }
    if version != OcsfVersion::V1_4 {
        beyond.add_to(&mut event);
    }
    event
}

/// What every class has.
fn header(mapped: &Mapped, outcome: &Outcome, activity: &str, rest: &mut Rest) -> Value {
    let Mapped { class, activity: number, name, .. } = mapped;
    let time = rest.peek("timestamp").and_then(|text| chrono::DateTime::parse_from_rfc3339(text).ok());
    let mut event = json!({
        "activity_id": number,
        "activity_name": name,
        "category_uid": class.category_uid(),
        "category_name": class.category,
        "class_uid": class.uid,
        "class_name": class.name,
        "type_uid": class.uid * 100 + number,
        "type_name": format!("{}: {name}", class.name),
        "severity_id": outcome.severity.0,
        "severity": outcome.severity.1,
        "time": time.map_or(0, |time| time.timestamp_millis()),
        "metadata": metadata(activity, rest),
    });
    let further = [
        ("status_id", outcome.status.map(|(id, _)| json!(id))),
        ("status", outcome.status.map(|(_, name)| json!(name))),
        ("status_code", outcome.code.clone().map(Value::String)),
        ("status_detail", outcome.detail.clone().map(Value::String)),
        ("message", (class.uid == classes::ERROR_CLASS).then(|| outcome.detail.clone().unwrap_or_default().into())),
    ];
    for (name, value) in further {
        if let Some(value) = value {
            event[name] = value;
        }
    }
    event
}

fn metadata(activity: &str, rest: &mut Rest) -> Value {
    let mut metadata = json!({
        "product": { "name": "Lockgate", "vendor_name": "Lockgate", "version": env!("CARGO_PKG_VERSION") },
        "log_name": "lockgate",
        "event_code": activity,
    });
    for (from, to) in [("event-id", "uid"), ("timestamp", "original_time"), ("sequence", "sequence")] {
        if let Some(value) = rest.take(from) {
            metadata[to] = value;
        }
    }
    metadata
}

/// How it went.
#[derive(Debug)]
struct Outcome {
    status: Option<(u32, &'static str)>,
    /// A word for machines: `reason`, or `denied`.
    code: Option<String>,
    /// `message`
    detail: Option<String>,
    severity: (u32, &'static str),
}

impl Outcome {
    fn of(activity: &str, rest: &mut Rest) -> Outcome {
        let word = rest.text("status").or_else(|| status_of(activity).map(str::to_owned));
        let status = match word.as_deref() {
            Some("success") => Some((1, "Success")),
            Some(_) => Some((2, "Failure")),
            None => None,
        };
        let severity = match (activity, word.as_deref()) {
            ("AUTH_FAILURE" | "ERROR" | "EXIT_REASON" | "FLEET_ALONE", _) => (3, "Medium"),
            (_, Some("denied" | "failure")) => (2, "Low"),
            _ => (1, "Informational"),
        };
        let denied = word.filter(|word| word == "denied");
        Outcome { status, code: rest.text("reason").or(denied), detail: rest.text("message"), severity }
    }
}

/// A line that is no JSON object: it is passed on as it is, in the event's raw data.
fn of_unreadable(line: &[u8]) -> Value {
    let mapped = Mapped { class: BASE, activity: 0, name: "Unknown".into(), own: json!({}) };
    let mut rest = Rest(Map::new());
    let outcome = Outcome::of("", &mut rest);
    let mut event = header(&mapped, &outcome, "", &mut rest);
    event["raw_data"] = String::from_utf8_lossy(line).into();
    event
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
