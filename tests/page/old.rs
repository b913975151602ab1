//! Events that were there before the gateway came.

use std::fs;

use chrono::{DateTime, Utc};
use serde_json::{Value, json};

use crate::place::Place;

/// An event at a time, with an id that agrees with it. `number` tells those of one millisecond apart.
pub fn event(at: DateTime<Utc>, number: usize, activity: &str, more: Value) -> Value {
    let ms = at.timestamp_millis();
    let mut event = json!({
        "activity-type": activity,
        "event-id": format!("{:08x}-{:04x}-7000-8000-{number:012x}", ms >> 16, ms & 0xffff),
        "timestamp": at.format("%Y-%m-%dT%H:%M:%S%.3fZ").to_string(),
    });
    event.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    event
}

/// A gateway whose file of events begins with these.
#[track_caller]
pub fn place_with(events: &[Value]) -> Place {
    Place::start_with(|setup| {
        let lines: String = events.iter().map(|event| format!("{event}\n")).collect();
        fs::write(setup.folder().join("events/e.ndjson"), lines).unwrap();
        // They are of no chain.
        setup.config.as_object_mut().unwrap().remove("audit");
    })
}
