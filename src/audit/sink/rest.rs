//! The fields of an event that have found no place yet in the form that it is brought into.

use serde_json::{Map, Value};

/// The fields that are left.
#[derive(Debug, Clone)]
pub(super) struct Rest(pub(super) Map<String, Value>);

impl Rest {
    /// Takes a field out.
    pub(super) fn take(&mut self, name: &str) -> Option<Value> {
        self.0.remove(name)
    }

    /// Takes a field out that is text; another one stays.
    pub(super) fn text(&mut self, name: &str) -> Option<String> {
        match self.0.remove(name)? {
            Value::String(text) => Some(text),
            other => {
                self.0.insert(name.to_owned(), other);
                None
            }
        }
    }

    /// Whether a field says so; it stays where it is.
    pub(super) fn is_true(&self, name: &str) -> bool {
        self.0.get(name).and_then(Value::as_bool) == Some(true)
    }

    /// A field that stays where it is.
    pub(super) fn peek(&self, name: &str) -> Option<&str> {
        self.0.get(name)?.as_str()
    }
}
