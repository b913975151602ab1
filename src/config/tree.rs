//! YAML text → a generic tree with lines, so that one reading can report every problem.
//!
//! The only place that names the YAML crate.

use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_saphyr::Spanned;

use super::problem::Problems;
use crate::secret::Secret;

/// A value and the line it starts in.
#[derive(Debug)]
pub(super) struct Node {
    pub line: u64,
    pub value: Value,
}

/// What a YAML value is.
#[derive(Debug)]
pub(super) enum Value {
    Null,
    Bool(bool),
    Integer(i128),
    Float(f64),
    Text(Text),
    List(Vec<Node>),
    /// The pairs as they stand, keys that stand twice included.
    Map(Vec<(Node, Node)>),
    /// A problem with this value was reported already.
    Broken,
}

/// Text of the file. It may be a credential, or hold one, so it is kept as one until its meaning is known.
#[derive(Debug)]
pub(super) struct Text {
    pub text: Secret,
    /// Whether some of it came from an environment variable or another file: then it is shown to nobody.
    pub fetched: bool,
}

impl Value {
    /// What a message calls this value; no text is repeated.
    pub fn described(&self) -> String {
        match self {
            Value::Null => "nothing".into(),
            Value::Bool(value) => format!("the truth value {value}"),
            Value::Integer(value) => format!("the number {value}"),
            Value::Float(value) => format!("the number {value}"),
            Value::Text(_) => "text".into(),
            Value::List(_) => "a list".into(),
            Value::Map(_) => "a mapping (keys and values)".into(),
            Value::Broken => "a wrong value".into(),
        }
    }
}

/// Reads the whole text. `None` when it is not YAML; then the problem has its line and column.
pub(super) fn parse(text: &str, problems: &mut Problems) -> Option<Node> {
    let mut budget = serde_saphyr::Budget::default();
    // A user takes about 25 nodes: room for 100,000 users.
    budget.max_events = 10_000_000;
    budget.max_nodes = 4_000_000;
    let options = serde_saphyr::options! {
        // Two of one key are reported with all the other problems.
        duplicate_keys: serde_saphyr::DuplicateKeyPolicy::PassThrough,
        // YAML 1.2: `off`, `yes` and `no` are text.
        strict_booleans: true,
        leading_zero_numbers_as_strings: true,
        underscored_numbers_as_strings: true,
        non_finite_float_policy: serde_saphyr::NonFiniteFloatPolicy::AsString,
        // A snippet could show a credential.
        with_snippet: false,
        budget: Some(budget),
    };
    match serde_saphyr::from_str_with_options::<Node>(text, options) {
        Ok(tree) => Some(tree),
        Err(error) => {
            let place = error.location().map(|at| format!("line {}, column {}", at.line(), at.column()));
            problems.add(place.unwrap_or_default(), None, format!("this is not YAML: {}", sentence(&error)));
            None
        }
    }
}

/// The library's message without the place, which is told apart.
fn sentence(error: &serde_saphyr::Error) -> String {
    let whole = error.render_with_formatter(&serde_saphyr::UserMessageFormatter);
    match whole.rfind(" at line ") {
        Some(at) if !whole[at..].contains('\n') => whole[..at].trim_end_matches(',').to_owned(),
        _ => whole,
    }
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let spanned = Spanned::<Value>::deserialize(deserializer)?;
        Ok(Node { line: spanned.referenced.line(), value: spanned.value })
    }
}

impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(AnyValue)
    }
}

struct AnyValue;

impl<'de> Visitor<'de> for AnyValue {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::Integer(value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(Value::Integer(value.into()))
    }

    fn visit_i128<E>(self, value: i128) -> Result<Value, E> {
        Ok(Value::Integer(value))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(Value::Float(value))
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Value, E> {
        self.visit_string(text.to_owned())
    }

    fn visit_string<E>(self, text: String) -> Result<Value, E> {
        Ok(Value::Text(Text { text: Secret::new(text), fetched: false }))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<Value, A::Error> {
        let mut list = Vec::new();
        while let Some(element) = elements.next_element()? {
            list.push(element);
        }
        Ok(Value::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut pairs: A) -> Result<Value, A::Error> {
        let mut map = Vec::new();
        while let Some(pair) = pairs.next_entry()? {
            map.push(pair);
        }
        Ok(Value::Map(map))
    }
}
