//! A JSON object whose fields keep their order: receivers and people compare the shapes with published ones.

use serde::ser::{Serialize, SerializeMap, Serializer};
use serde_json::Value;

use crate::audit::line::Plain;

/// An object that is being made.
#[derive(Debug, Default)]
pub(super) struct Object(Vec<(&'static str, Field)>);

#[derive(Debug)]
enum Field {
    Value(Value),
    Object(Object),
}

impl Object {
    /// Adds a value.
    pub(super) fn put(&mut self, name: &'static str, value: impl Into<Value>) {
        self.0.push((name, Field::Value(value.into())));
    }

    /// Adds a value if it is known.
    pub(super) fn maybe(&mut self, name: &'static str, value: Option<impl Into<Value>>) {
        if let Some(value) = value {
            self.put(name, value);
        }
    }

    /// Adds an object.
    pub(super) fn nest(&mut self, name: &'static str, object: Object) {
        self.0.push((name, Field::Object(object)));
    }

    /// As a line without its newline; what a terminal would obey is escaped.
    pub(super) fn line(&self) -> Vec<u8> {
        let mut line = Vec::with_capacity(1024);
        // Writing to memory does not fail.
        let _ = self.serialize(&mut serde_json::Serializer::with_formatter(&mut line, Plain));
        line
    }
}

impl Serialize for Object {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        for (name, field) in &self.0 {
            match field {
                Field::Value(value) => map.serialize_entry(name, value)?,
                Field::Object(object) => map.serialize_entry(name, object)?,
            }
        }
        map.end()
    }
}
