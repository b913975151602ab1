//! Holds events against the schema that `lockgate audit schema` prints, and configurations against that of `lockgate generate schema`.

use std::collections::HashMap;
use std::sync::OnceLock;

use jsonschema::Validator;
use lockgate::internals::audit::schema;
use serde_json::Value;

/// The event that a line is.
///
/// # Errors
/// Why it is none, and the line.
pub fn event(line: &str) -> Result<Value, String> {
    let wrong = |why: String| format!("{why}, in the event {line}");
    let event: Value = serde_json::from_str(line).map_err(|error| wrong(error.to_string()))?;
    let activity = event["activity-type"].as_str().unwrap_or_default();
    let Some(validator) = validators().get(activity) else {
        return Err(wrong(format!("the schema has no activity {activity:?}")));
    };
    let problems: Vec<String> =
        validator.iter_errors(&event).map(|error| format!("{}: {error}", error.instance_path())).collect();
    if problems.is_empty() { Ok(event) } else { Err(wrong(problems.join("; "))) }
}

/// Panics when a configuration that a gateway accepted is none of the schema.
#[track_caller]
pub fn assert_configuration(document: &Value) {
    static VALIDATOR: OnceLock<Validator> = OnceLock::new();
    let validator = VALIDATOR.get_or_init(|| jsonschema::draft7::new(&lockgate::internals::config::schema()).unwrap());
    if let Some(error) = validator.iter_errors(document).next() {
        panic!("{}: {error}; the gateway accepts it (src/config/schema)", error.instance_path());
    }
}

/// One for each activity, so that what is wrong can be told.
fn validators() -> &'static HashMap<&'static str, Validator> {
    static VALIDATORS: OnceLock<HashMap<&'static str, Validator>> = OnceLock::new();
    VALIDATORS.get_or_init(|| {
        let of = |name| jsonschema::draft202012::new(&schema::schema_of(name).unwrap()).unwrap();
        schema::activities().map(|name| (name, of(name))).collect()
    })
}
