//! Walks the generic tree: takes typed values out of it, notes what is wrong and goes on.

use std::fmt;
use std::ops::RangeInclusive;
use std::time::Duration;

use super::problem::{Problems, near, quoted};
use super::tree::{Node, Value};
use super::units::{parse_duration, parse_size, show_duration, show_size};
use crate::secret::Secret;

/// The way to a value: `users[2].home[0].target`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Place(String);

impl Place {
    /// The whole file.
    pub fn root() -> Self {
        Place::default()
    }

    /// The value of a key.
    pub fn key(&self, key: &str) -> Place {
        let plain = !key.is_empty() && key.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-');
        Place(match (plain, self.0.is_empty()) {
            (true, true) => key.to_owned(),
            (true, false) => format!("{}.{key}", self.0),
            (false, _) => format!("{}[{:?}]", self.0, key.chars().take(64).collect::<String>()),
        })
    }

    /// An element of a list.
    pub fn element(&self, index: usize) -> Place {
        Place(format!("{}[{index}]", self.0))
    }

    /// A key as a place shows it.
    pub fn name_of(key: &Node) -> String {
        match &key.value {
            Value::Text(text) => text.text.expose().to_owned(),
            Value::Integer(number) => number.to_string(),
            other => other.described(),
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A value with where it stands, for problems that are found later.
#[derive(Debug, Clone)]
pub(super) struct At<T> {
    pub value: T,
    pub place: Place,
    pub line: u64,
}

impl<T> At<T> {
    /// Notes a problem of this value.
    pub fn problem(&self, problems: &mut Problems, text: impl Into<String>) {
        problems.add(self.place.to_string(), self.line, text);
    }

    /// Notes a problem of what this value names.
    pub fn problem_outside(&self, problems: &mut Problems, text: impl Into<String>) {
        problems.add_outside(self.place.to_string(), self.line, text);
    }
}

/// A value of the tree that is being read. Each reading method notes a problem and gives `None` when the value is of
/// another type; a value that is broken already is passed over in silence.
#[derive(Debug, Clone)]
pub(super) struct Item<'a> {
    node: &'a Node,
    pub place: Place,
}

impl<'a> Item<'a> {
    /// The whole file.
    pub fn root(node: &'a Node) -> Self {
        Item { node, place: Place::root() }
    }

    /// Notes a problem of this value.
    pub fn problem(&self, problems: &mut Problems, text: impl Into<String>) {
        problems.add(self.place.to_string(), self.node.line, text);
    }

    /// `value` with the place of this one.
    pub fn at<T>(&self, value: T) -> At<T> {
        At { value, place: self.place.clone(), line: self.node.line }
    }

    /// The text as it may be shown: not at all when it was fetched from elsewhere.
    fn shown(&self) -> String {
        match &self.node.value {
            Value::Text(text) if text.fetched => "the fetched value".into(),
            Value::Text(text) => format!("{:?}", text.text.expose().chars().take(80).collect::<String>()),
            other => other.described(),
        }
    }

    fn wrong_type(&self, problems: &mut Problems, wanted: &str) {
        match &self.node.value {
            Value::Broken => {}
            value => self.problem(problems, format!("expected {wanted}, found {}", value.described())),
        }
    }

    /// Text as it stands.
    pub fn text(&self, problems: &mut Problems) -> Option<&'a str> {
        match &self.node.value {
            Value::Text(text) => return Some(text.text.expose()),
            Value::Bool(_) | Value::Integer(_) | Value::Float(_) => {
                let found = self.node.value.described();
                self.problem(problems, format!("expected text, found {found}; put it in quotes"));
            }
            _ => self.wrong_type(problems, "text"),
        }
        None
    }

    /// Text with its place.
    pub fn placed_text(&self, problems: &mut Problems) -> Option<At<String>> {
        self.text(problems).map(|text| self.at(text.to_owned()))
    }

    /// Text that is a credential, or a number or truth value as its text.
    pub fn secret(&self, problems: &mut Problems) -> Option<Secret> {
        Some(Secret::new(match &self.node.value {
            Value::Text(text) => return Some(text.text.clone()),
            Value::Bool(value) => value.to_string(),
            Value::Integer(value) => value.to_string(),
            Value::Float(_) => {
                self.problem(problems, "a number with a fraction or an exponent may lose digits; put it in quotes");
                return None;
            }
            _ => {
                self.wrong_type(problems, "text");
                return None;
            }
        }))
    }

    /// As [`Item::secret`], of what nobody else may read in the file.
    pub fn credential(&self, problems: &mut Problems) -> Option<Secret> {
        let secret = self.secret(problems)?;
        problems.hide(secret.expose());
        if matches!(&self.node.value, Value::Text(text) if !text.fetched) {
            problems.note_credential(self.place.to_string(), self.node.line);
        }
        Some(secret)
    }

    /// `true` or `false`.
    pub fn boolean(&self, problems: &mut Problems) -> Option<bool> {
        match &self.node.value {
            Value::Bool(value) => return Some(*value),
            Value::Text(text) if text.fetched => match text.text.expose() {
                "true" => return Some(true),
                "false" => return Some(false),
                _ => self.problem(problems, "the fetched value is neither true nor false"),
            },
            Value::Text(_) => self.problem(problems, format!("expected true or false, found {}", self.shown())),
            _ => self.wrong_type(problems, "true or false"),
        }
        None
    }

    /// A whole number within bounds.
    pub fn integer(&self, bounds: RangeInclusive<u64>, problems: &mut Problems) -> Option<u64> {
        let value = match &self.node.value {
            Value::Integer(value) => u64::try_from(*value).ok(),
            Value::Text(text) if text.fetched => text.text.expose().trim().parse().ok(),
            Value::Text(_) => {
                self.problem(problems, format!("expected a whole number, found {}", self.shown()));
                return None;
            }
            _ => {
                self.wrong_type(problems, "a whole number");
                return None;
            }
        };
        let inside = value.filter(|value| bounds.contains(value));
        if inside.is_none() {
            self.problem(problems, format!("must be from {} to {}", bounds.start(), bounds.end()));
        }
        inside
    }

    /// A size in bytes within bounds.
    pub fn size(&self, bounds: RangeInclusive<u64>, problems: &mut Problems) -> Option<u64> {
        let read = match &self.node.value {
            Value::Integer(value) => u64::try_from(*value).map_err(|_| "the size is out of bounds".to_owned()),
            Value::Text(text) => parse_size(text.text.expose()).map_err(|what| match text.fetched {
                true => "the fetched value is not a size".into(),
                false => what,
            }),
            _ => {
                self.wrong_type(problems, "a size, as in 512MiB");
                return None;
            }
        };
        match read {
            Ok(size) if bounds.contains(&size) => Some(size),
            Ok(_) => {
                let (low, high) = (show_size(*bounds.start()), show_size(*bounds.end()));
                self.problem(problems, format!("must be from {low} to {high}"));
                None
            }
            Err(what) => {
                self.problem(problems, what);
                None
            }
        }
    }

    /// A duration within bounds.
    pub fn duration(&self, bounds: RangeInclusive<Duration>, problems: &mut Problems) -> Option<Duration> {
        let read = match &self.node.value {
            Value::Text(text) if text.fetched => {
                parse_duration(text.text.expose()).map_err(|_| "the fetched value is not a duration".into())
            }
            Value::Text(text) => parse_duration(text.text.expose()),
            Value::Integer(value) => Err(format!("the unit is missing; write {value}s, {value}m or {value}h")),
            _ => {
                self.wrong_type(problems, "a duration, as in 30s");
                return None;
            }
        };
        match read {
            Ok(duration) if bounds.contains(&duration) => Some(duration),
            Ok(_) => {
                let (low, high) = (show_duration(*bounds.start()), show_duration(*bounds.end()));
                self.problem(problems, format!("must be from {low} to {high}"));
                None
            }
            Err(what) => {
                self.problem(problems, what);
                None
            }
        }
    }

    /// One of a few words.
    pub fn choice<T: Clone>(&self, words: &[(&'static str, T)], problems: &mut Problems) -> Option<T> {
        let names = || words.iter().map(|(word, _)| *word);
        let Value::Text(text) = &self.node.value else {
            self.wrong_type(problems, &format!("one of {}", quoted(names())));
            return None;
        };
        let word = text.text.expose();
        if let Some((_, value)) = words.iter().find(|(name, _)| *name == word) {
            return Some(value.clone());
        }
        let meant = match near(word, names()) {
            Some(meant) if !text.fetched => format!("; did you mean {meant:?}?"),
            _ => String::new(),
        };
        self.problem(problems, format!("{} is not one of {}{meant}", self.shown(), quoted(names())));
        None
    }

    /// The elements of a list.
    pub fn list(&self, problems: &mut Problems) -> Option<Vec<Item<'a>>> {
        match &self.node.value {
            Value::List(list) => {
                let item = |(index, node)| Item { node, place: self.place.element(index) };
                Some(list.iter().enumerate().map(item).collect())
            }
            _ => {
                self.wrong_type(problems, "a list, as in [a, b]");
                None
            }
        }
    }

    /// The elements of a list of texts; wrong ones are noted and left out.
    pub fn texts(&self, problems: &mut Problems) -> Option<Vec<At<String>>> {
        let items = self.list(problems)?;
        Some(items.iter().filter_map(|item| item.placed_text(problems)).collect())
    }

    /// The elements of a list, or the value itself when it is a mapping: a list of one.
    pub fn one_or_more(&self, problems: &mut Problems) -> Vec<Item<'a>> {
        match &self.node.value {
            Value::Map(_) => vec![self.clone()],
            _ => self.list(problems).unwrap_or_default(),
        }
    }

    /// Whether the value is text that begins with this character.
    pub fn begins_with(&self, first: char) -> bool {
        matches!(&self.node.value, Value::Text(text) if text.text.expose().trim_start().starts_with(first))
    }

    /// Whether the value is text rather than a list or mapping.
    pub fn is_text(&self) -> bool {
        matches!(self.node.value, Value::Text(_))
    }

    /// The pairs of a mapping whose keys are free; a key that stands twice is noted.
    pub fn pairs(&self, problems: &mut Problems) -> Option<Vec<(At<String>, Item<'a>)>> {
        let Value::Map(map) = &self.node.value else {
            self.wrong_type(problems, "a mapping (keys and values)");
            return None;
        };
        let mut seen = std::collections::HashMap::new();
        let mut pairs = Vec::new();
        for (key, node) in map {
            let name = Place::name_of(key);
            let place = self.place.key(&name);
            match seen.insert(name.clone(), key.line) {
                Some(first) => {
                    problems.add(place.to_string(), key.line, format!("this key appears twice; first in line {first}"));
                }
                None if matches!(key.value, Value::Text(_) | Value::Integer(_)) => {
                    let item = Item { node, place: place.clone() };
                    pairs.push((At { value: name, place, line: key.line }, item));
                }
                None => problems.add(place.to_string(), key.line, format!("{name} cannot be a key; keys are text")),
            }
        }
        Some(pairs)
    }

    /// A mapping whose keys are known.
    pub fn section(&self, problems: &mut Problems) -> Option<Section<'a>> {
        let pairs = self.pairs(problems)?;
        Some(Section { place: self.place.clone(), line: self.node.line, pairs, known: Vec::new() })
    }

    /// Whether the value is anything but an empty list.
    pub fn is_given(&self) -> bool {
        !matches!(&self.node.value, Value::List(list) if list.is_empty())
    }

    /// Notes an empty list; `right` says what to write.
    pub fn filled(&self, right: &str, problems: &mut Problems) {
        if !self.is_given() {
            self.problem(problems, format!("is empty; {right}"));
        }
    }

    /// Whether there is a value at all: `key:` and `key: null` are as good as no key.
    fn is_present(&self) -> bool {
        !matches!(self.node.value, Value::Null)
    }

    fn is_broken(&self) -> bool {
        matches!(self.node.value, Value::Broken)
    }
}

/// A mapping whose keys are known: each key that is asked for is one; [`Section::close`] notes the others.
#[derive(Debug)]
pub(super) struct Section<'a> {
    pub place: Place,
    line: u64,
    pairs: Vec<(At<String>, Item<'a>)>,
    known: Vec<&'static str>,
}

impl<'a> Section<'a> {
    /// The value of a key that may be absent.
    pub fn take(&mut self, key: &'static str) -> Option<Item<'a>> {
        self.known.push(key);
        let found = self.pairs.iter().find(|(name, _)| name.value == key).map(|(_, item)| item.clone());
        found.filter(|item| item.is_present() && !item.is_broken())
    }

    /// The value of a key that must be there; `what` says what belongs there.
    pub fn need(&mut self, key: &'static str, what: &str, problems: &mut Problems) -> Option<Item<'a>> {
        let item = self.take(key);
        if item.is_none() && !self.is_broken(key) {
            problems.add(self.place.key(key).to_string(), self.line, format!("is missing; {what}"));
        }
        item
    }

    /// Whether the key's value was reported already.
    pub fn is_broken(&self, key: &str) -> bool {
        self.pairs.iter().any(|(name, item)| name.value == key && item.is_broken())
    }

    /// Notes every key that was never asked for.
    pub fn close(self, problems: &mut Problems) {
        for (key, _) in &self.pairs {
            if self.known.contains(&key.value.as_str()) {
                continue;
            }
            let right = match near(&key.value, self.known.iter().copied()) {
                Some(meant) => format!("did you mean {meant:?}?"),
                None => format!("the keys here are {}", quoted(self.known.iter().copied())),
            };
            key.problem(problems, format!("unknown key; {right}"));
        }
    }
}
