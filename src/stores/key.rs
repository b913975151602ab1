//! Keys: the names of objects within a store.

use std::fmt;
use std::sync::Arc;

use crate::path::{MAX_COMPONENT, MAX_PATH};

/// The key of an object or directory, relative to the store's URL: components joined by single slashes, without a slash at
/// either end. Empty for the store's root. It holds no `.`, no `..` and no control character.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key(Arc<str>);

/// Why text is not a key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// A component is empty, `.`, `..`, too long, or holds a control character.
    #[error("{0:?} cannot be part of a key")]
    Component(String),
    /// The whole key is longer than 1,024 bytes.
    #[error("the key is longer than {MAX_PATH} bytes")]
    TooLong,
}

impl Key {
    /// The root of the store.
    pub fn root() -> Self {
        Key(Arc::from(""))
    }

    /// Reads a key; a slash at either end is dropped.
    ///
    /// # Errors
    /// When a component is not allowed or the key is too long.
    pub fn parse(text: &str) -> Result<Self, KeyError> {
        let trimmed = text.trim_matches('/');
        if trimmed.is_empty() {
            return Ok(Key::root());
        }
        for component in trimmed.split('/') {
            judge_component(component)?;
        }
        if trimmed.len() > MAX_PATH {
            return Err(KeyError::TooLong);
        }
        Ok(Key(Arc::from(trimmed)))
    }

    /// This key with `relative` (one or more components; may be empty) below it.
    ///
    /// # Errors
    /// As [`Key::parse`].
    pub fn join(&self, relative: &str) -> Result<Key, KeyError> {
        if self.is_root() {
            return Key::parse(relative);
        }
        if relative.is_empty() {
            return Ok(self.clone());
        }
        Key::parse(&format!("{}/{relative}", self.0))
    }

    /// The key as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether this is the store's root.
    pub fn is_root(&self) -> bool {
        self.0.is_empty()
    }

    /// The last component; `None` for the root.
    pub fn name(&self) -> Option<&str> {
        self.0.rsplit('/').next().filter(|n| !n.is_empty())
    }

    /// The key without its last component; `None` for the root.
    pub fn parent(&self) -> Option<Key> {
        if self.is_root() {
            return None;
        }
        Some(match self.0.rfind('/') {
            Some(at) => Key(Arc::from(&self.0[..at])),
            None => Key::root(),
        })
    }

    /// The prefix of all keys below this one: the key and a slash, or nothing for the root.
    pub fn as_prefix(&self) -> String {
        if self.is_root() { String::new() } else { format!("{}/", self.0) }
    }
}

fn judge_component(component: &str) -> Result<(), KeyError> {
    let wrong = component.is_empty()
        || component == "."
        || component == ".."
        || component.len() > MAX_COMPONENT
        || component.bytes().any(|b| b.is_ascii_control());
    if wrong { Err(KeyError::Component(component.to_owned())) } else { Ok(()) }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&*self.0, f)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use super::*;

    #[test]
    fn keys_have_no_empty_or_relative_component() {
        assert_eq!(Key::parse("/a/b/").unwrap().as_str(), "a/b");
        assert!(Key::parse("").unwrap().is_root());
        for wrong in ["a//b", "a/../b", ".", "a/\n"] {
            assert!(Key::parse(wrong).is_err(), "{wrong:?}");
        }
        assert_eq!(Key::root().join("a/b").unwrap().parent().unwrap().as_str(), "a");
        assert_eq!(Key::parse("a").unwrap().join("b").unwrap().as_prefix(), "a/b/");
        assert_eq!(Key::parse("a").unwrap().join("").unwrap().as_str(), "a");
    }
}
