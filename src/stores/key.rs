//! Keys: the names of objects within a store.

use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use crate::path::{MAX_COMPONENT, MAX_PATH};

/// The key of an object or directory, relative to the store's URL: components joined by single slashes, without a slash at
/// either end. Empty for the store's root. It holds no `.`, no `..` and no control character.
///
/// A key may know the folder that it was given out for, that of a home's entry: there a symbolic link of a local store leads no
/// further. Keys are equal when their texts are.
#[derive(Clone)]
pub struct Key {
    text: Arc<str>,
    bounds: Bounds,
}

/// How far links lead.
#[derive(Clone, Copy)]
struct Bounds {
    /// The length of the folder's text, the beginning of the key's.
    folder: usize,
    follows_links: bool,
    /// Whether missing folders between it and the key are made where the store has real ones.
    makes_folders: bool,
}

/// Everywhere in the store.
const UNBOUNDED: Bounds = Bounds { folder: 0, follows_links: true, makes_folders: true };

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
        Key { text: Arc::from(""), bounds: UNBOUNDED }
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
        Ok(Key { text: Arc::from(trimmed), bounds: UNBOUNDED })
    }

    /// This key as the folder out of which no link leads from it or from keys below it. Without `follows_links` none is followed.
    pub fn as_folder(&self, follows_links: bool) -> Key {
        Key { text: Arc::clone(&self.text), bounds: Bounds { folder: self.text.len(), follows_links, ..self.bounds } }
    }

    /// This key and those below it without the right to make folders: a new name below the folder that it was given out for needs the
    /// one above it, also at the moment at which an upload is published.
    #[must_use]
    pub fn without_new_folders(self) -> Key {
        Key { bounds: Bounds { makes_folders: false, ..self.bounds }, ..self }
    }

    /// The nearest folder to it that is made when it is missing: the one above it, or for who makes none that of a home's entry.
    pub fn folder_to_make(&self) -> Option<Key> {
        let above = self.parent()?;
        if self.bounds.makes_folders {
            return Some(above);
        }
        let (folder, _) = self.from_folder();
        Some(Key { text: Arc::from(folder), bounds: self.bounds })
    }

    /// The folder out of which no link leads, and the way from there to this key. Either may be empty.
    pub fn from_folder(&self) -> (&str, &str) {
        let (folder, rest) = self.text.split_at(self.bounds.folder);
        (folder, rest.trim_start_matches('/'))
    }

    /// Whether links on the way to it are followed.
    pub fn follows_links(&self) -> bool {
        self.bounds.follows_links
    }

    /// This key with `relative` (one or more components; may be empty) below it.
    ///
    /// # Errors
    /// As [`Key::parse`].
    pub fn join(&self, relative: &str) -> Result<Key, KeyError> {
        let joined = match (self.is_root(), relative) {
            (_, "") => return Ok(self.clone()),
            (true, _) => Key::parse(relative)?,
            (false, _) => Key::parse(&format!("{}/{relative}", self.text))?,
        };
        Ok(Key { bounds: self.bounds, ..joined })
    }

    /// The key as text.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether this is the store's root.
    pub fn is_root(&self) -> bool {
        self.text.is_empty()
    }

    /// The last component; `None` for the root.
    pub fn name(&self) -> Option<&str> {
        self.text.rsplit('/').next().filter(|n| !n.is_empty())
    }

    /// The key without its last component; `None` for the root.
    pub fn parent(&self) -> Option<Key> {
        if self.is_root() {
            return None;
        }
        let text: Arc<str> = Arc::from(self.text.rsplit_once('/').map_or("", |(above, _)| above));
        let folder = self.bounds.folder.min(text.len());
        Some(Key { text, bounds: Bounds { folder, ..self.bounds } })
    }

    /// The prefix of all keys below this one: the key and a slash, or nothing for the root.
    pub fn as_prefix(&self) -> String {
        if self.is_root() { String::new() } else { format!("{}/", self.text) }
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

impl PartialEq for Key {
    fn eq(&self, other: &Key) -> bool {
        self.text == other.text
    }
}

impl Eq for Key {}

impl PartialOrd for Key {
    fn partial_cmp(&self, other: &Key) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Key {
    fn cmp(&self, other: &Key) -> Ordering {
        self.text.cmp(&other.text)
    }
}

impl Hash for Key {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.text.hash(state);
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&*self.text, f)
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

    #[test]
    fn a_key_knows_its_folder_wherever_it_leads() {
        let folder = Key::parse("home/ann").unwrap().as_folder(true);
        let file = folder.join("a/b").unwrap();
        assert_eq!(file.from_folder(), ("home/ann", "a/b"));
        assert_eq!(file.parent().unwrap().from_folder(), ("home/ann", "a"));
        assert_eq!(file.parent().unwrap().parent().unwrap().from_folder(), ("home/ann", ""));
        assert_eq!(folder.parent().unwrap().from_folder(), ("home", ""));
        assert_eq!(folder.join("").unwrap().from_folder(), ("home/ann", ""));
        assert_eq!(Key::parse("a/b").unwrap().from_folder(), ("", "a/b"));
        assert_eq!(Key::root().as_folder(false).join("a").unwrap().from_folder(), ("", "a"));
        assert!(!Key::root().as_folder(false).join("a").unwrap().parent().unwrap().follows_links());
        assert_eq!(file, Key::parse("home/ann/a/b").unwrap());
        assert_eq!(file.folder_to_make().unwrap().as_str(), "home/ann/a");
        let poor = Key::parse("home/ann").unwrap().without_new_folders().as_folder(true).join("a/b").unwrap();
        assert_eq!(poor.folder_to_make().unwrap().as_str(), "home/ann");
        assert_eq!(poor.parent().unwrap().folder_to_make().unwrap().as_str(), "home/ann");
        assert!(Key::root().folder_to_make().is_none());
    }
}
