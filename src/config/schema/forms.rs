//! What may stand in a value of the configuration, as JSON Schema: the counterparts of the methods of `reader::Item`.

use std::time::Duration;

use serde_json::{Map, Value, json};

use super::super::units::{show_duration, show_size};

/// A value that is fetched, as in `${env:NAME}`. What it becomes is known only when it is read.
const FETCHED: &str = r"\$\{(env|file):[^}]+\}";

/// One key of a section.
pub(super) struct Key {
    name: &'static str,
    value: Value,
    about: String,
    is_required: bool,
}

/// A key that may be left out; `null` is as good as leaving it out.
pub(super) fn key(name: &'static str, value: Value, about: impl Into<String>) -> Key {
    Key { name, value, about: about.into(), is_required: false }
}

/// A key that must be there.
pub(super) fn need(name: &'static str, value: Value, about: impl Into<String>) -> Key {
    Key { is_required: true, ..key(name, value, about) }
}

/// A mapping whose keys are known.
pub(super) fn section(keys: impl IntoIterator<Item = Key>) -> Value {
    let (mut properties, mut required) = (Map::new(), Vec::new());
    for Key { name, value, about, is_required } in keys {
        let mut value = if is_required { value } else { or_null(value) };
        // What the form says of itself, such as its bounds, follows what the key is for.
        let about = match value["description"].as_str() {
            Some(form) => format!("{about} {form}"),
            None => about,
        };
        value["description"] = about.into();
        properties.insert(name.to_owned(), value);
        if is_required {
            required.push(name);
        }
    }
    let mut section = json!({ "type": "object", "properties": properties, "additionalProperties": false });
    if !required.is_empty() {
        section["required"] = required.into();
    }
    section
}

/// `value`, or nothing.
fn or_null(mut value: Value) -> Value {
    // What a section asks for beside its keys is asked of mappings only.
    let is_section = value.get("properties").is_some();
    if let Some(forms) = value.get_mut("anyOf").and_then(Value::as_array_mut).filter(|_| !is_section) {
        forms.push(json!({ "type": "null" }));
        return value;
    }
    match value["type"].as_str() {
        Some(form) => {
            value["type"] = json!([form, "null"]);
            value
        }
        None => json!({ "anyOf": [value, { "type": "null" }] }),
    }
}

fn fetched() -> Value {
    json!({ "type": "string", "pattern": format!("^{FETCHED}$") })
}

/// Text as it stands.
pub(super) fn text() -> Value {
    json!({ "type": "string" })
}

/// Text, or a number or a truth value as its text.
pub(super) fn secret() -> Value {
    json!({ "anyOf": [{ "type": "string" }, { "type": "integer" }, { "type": "boolean" }] })
}

/// `true` or `false`.
pub(super) fn truth() -> Value {
    json!({ "anyOf": [{ "type": "boolean" }, fetched()] })
}

/// A whole number from `least` to `most`.
pub(super) fn number(least: u64, most: u64) -> Value {
    json!({
        "anyOf": [{ "type": "integer", "minimum": least, "maximum": most }, fetched()],
        "description": format!("From {least} to {most}."),
    })
}

/// A size in bytes from `least` to `most`.
pub(super) fn size(least: u64, most: u64) -> Value {
    json!({
        "anyOf": [
            { "type": "integer", "minimum": least, "maximum": most },
            { "type": "string", "pattern": format!("^(\\s*[0-9]+\\s*(KiB|MiB|GiB|TiB)?\\s*|.*{FETCHED}.*)$") },
        ],
        "description": format!("A size from {} to {}.", show_size(least), show_size(most)),
    })
}

/// A duration from `least` to `most`.
pub(super) fn duration(least: Duration, most: Duration) -> Value {
    json!({
        "type": "string",
        "pattern": format!("^(\\s*[0-9]+\\s*(ms|s|m|h|d)\\s*|.*{FETCHED}.*)$"),
        "description": format!("A duration from {} to {}.", show_duration(least), show_duration(most)),
    })
}

/// `never`, `batch` or a duration.
pub(super) fn fsync() -> Value {
    json!({ "type": "string", "pattern": format!("^(never|batch|\\s*[0-9]+\\s*(ms|s|m|h|d)\\s*|.*{FETCHED}.*)$") })
}

/// One of a few words.
pub(super) fn word<'a>(words: impl IntoIterator<Item = &'a str>) -> Value {
    let words: Vec<&str> = words.into_iter().collect();
    json!({ "anyOf": [{ "enum": words }, fetched()] })
}

/// A list, which may be empty.
pub(super) fn list(element: Value) -> Value {
    json!({ "type": "array", "items": element })
}

/// A list that must not be empty.
pub(super) fn filled(element: Value) -> Value {
    json!({ "type": "array", "items": element, "minItems": 1 })
}

/// A mapping whose keys are free.
pub(super) fn map(value: Value) -> Value {
    json!({ "type": "object", "additionalProperties": value })
}

/// One of several forms.
pub(super) fn either<const N: usize>(forms: [Value; N]) -> Value {
    json!({ "anyOf": forms.to_vec() })
}
