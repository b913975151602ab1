//! Logical paths: the names that clients use.
//!
//! This is the only place where `..`, `//`, NUL, control characters and invalid UTF-8 are judged. Every other module
//! takes a [`LogicalPath`], which cannot hold a wrong value.

use std::fmt;
use std::sync::Arc;

/// The longest component of a path, in bytes.
pub const MAX_COMPONENT: usize = 255;

/// The longest whole path, in bytes: the longest key that S3 takes.
pub const MAX_PATH: usize = 1024;

/// A normalised absolute path as the client sees it: `/`, or `/` and components joined by single slashes.
///
/// It holds no `.`, no `..`, no empty component, no NUL and no other ASCII control character; each component is at most
/// [`MAX_COMPONENT`] bytes and the whole at most [`MAX_PATH`].
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LogicalPath(Arc<str>);

/// Why the bytes of a client are not a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PathError {
    /// The bytes are not UTF-8.
    #[error("the name is not valid UTF-8")]
    NotUtf8,
    /// The name holds a NUL or another ASCII control character (its code is given).
    #[error("the name contains the control character 0x{0:02x}")]
    ControlCharacter(u8),
    /// One component is longer than [`MAX_COMPONENT`] bytes.
    #[error("a component of the name is longer than {MAX_COMPONENT} bytes")]
    ComponentTooLong,
    /// The whole path is longer than [`MAX_PATH`] bytes.
    #[error("the name is longer than {MAX_PATH} bytes")]
    TooLong,
    /// Where a single component is needed: it is empty, `.`, `..` or holds a slash.
    #[error("the name is not a single component")]
    NotAComponent,
    /// Where a file is to be made: see [`LogicalPath::asks_for_directory`].
    #[error("the name of a new file cannot end in a slash")]
    AsksForDirectory,
}

impl LogicalPath {
    /// The root of a user's home, `/`.
    pub fn root() -> Self {
        LogicalPath(Arc::from("/"))
    }

    /// Reads the bytes of a client. A relative path, and an empty one, is taken from the root; `..` above the root
    /// stays at the root (POSIX: `/..` is `/`).
    ///
    /// # Errors
    /// Any [`PathError`] but [`PathError::NotAComponent`] and [`PathError::AsksForDirectory`].
    pub fn parse(raw: &[u8]) -> Result<Self, PathError> {
        let text = std::str::from_utf8(raw).map_err(|_| PathError::NotUtf8)?;
        Self::parse_str(text)
    }

    /// [`LogicalPath::parse`] for text that is UTF-8 already.
    ///
    /// # Errors
    /// As [`LogicalPath::parse`].
    pub fn parse_str(text: &str) -> Result<Self, PathError> {
        let mut kept: Vec<&str> = Vec::new();
        for component in text.split('/') {
            match component {
                "" | "." => {}
                ".." => {
                    kept.pop();
                }
                name => {
                    judge_component(name)?;
                    kept.push(name);
                }
            }
        }
        Self::from_components(&kept)
    }

    /// Whether the text of a path can only be meant for a directory, because it ends in a slash, `.` or `..`. Once parsed,
    /// that cannot be seen any more.
    pub fn asks_for_directory(raw: &[u8]) -> bool {
        matches!(raw.rsplit(|byte| *byte == b'/').next(), Some(b"" | b"." | b".."))
    }

    fn from_components(components: &[&str]) -> Result<Self, PathError> {
        if components.is_empty() {
            return Ok(Self::root());
        }
        let length: usize = components.iter().map(|c| c.len() + 1).sum();
        if length > MAX_PATH {
            return Err(PathError::TooLong);
        }
        let mut joined = String::with_capacity(length);
        for component in components {
            joined.push('/');
            joined.push_str(component);
        }
        Ok(LogicalPath(joined.into()))
    }

    /// The path as text; it always starts with `/`.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether this is `/`.
    pub fn is_root(&self) -> bool {
        &*self.0 == "/"
    }

    /// The components from the root down; none for `/`.
    pub fn components(&self) -> impl Iterator<Item = &str> {
        self.0.split('/').filter(|c| !c.is_empty())
    }

    /// The last component; `None` for `/`.
    pub fn name(&self) -> Option<&str> {
        self.0.rsplit('/').next().filter(|c| !c.is_empty())
    }

    /// The path without its last component; `None` for `/`.
    pub fn parent(&self) -> Option<LogicalPath> {
        if self.is_root() {
            return None;
        }
        match self.0.rfind('/') {
            Some(0) | None => Some(Self::root()),
            Some(at) => Some(LogicalPath(Arc::from(&self.0[..at]))),
        }
    }

    /// This path with one more component.
    ///
    /// # Errors
    /// [`PathError::NotAComponent`] for an empty name, `.`, `..` or a name with a slash; else as [`LogicalPath::parse`].
    pub fn join(&self, name: &str) -> Result<LogicalPath, PathError> {
        if name.is_empty() || name == "." || name == ".." || name.contains('/') {
            return Err(PathError::NotAComponent);
        }
        judge_component(name)?;
        let base = if self.is_root() { "" } else { self.as_str() };
        if base.len() + 1 + name.len() > MAX_PATH {
            return Err(PathError::TooLong);
        }
        Ok(LogicalPath(format!("{base}/{name}").into()))
    }

    /// What follows `prefix`, without a leading slash (`""` when they are equal); `None` when this path is not at or
    /// below `prefix`. Components are compared whole: `/ab` is not below `/a`.
    pub fn below(&self, prefix: &LogicalPath) -> Option<&str> {
        if prefix.is_root() {
            return Some(&self.0[1..]);
        }
        let rest = self.0.strip_prefix(prefix.as_str())?;
        if rest.is_empty() {
            return Some("");
        }
        rest.strip_prefix('/')
    }

    /// Whether this path is `prefix` or lies below it.
    pub fn is_at_or_below(&self, prefix: &LogicalPath) -> bool {
        self.below(prefix).is_some()
    }
}

/// Judges one component by the rules of [`LogicalPath`]; it must not hold a slash.
fn judge_component(name: &str) -> Result<(), PathError> {
    if let Some(control) = name.bytes().find(u8::is_ascii_control) {
        return Err(PathError::ControlCharacter(control));
    }
    if name.len() > MAX_COMPONENT {
        return Err(PathError::ComponentTooLong);
    }
    Ok(())
}

impl fmt::Display for LogicalPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for LogicalPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&*self.0, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> String {
        LogicalPath::parse(text.as_bytes()).unwrap().to_string()
    }

    #[test]
    fn paths_are_normalised() {
        for (raw, normal) in [
            ("", "/"),
            (".", "/"),
            ("/", "/"),
            ("//", "/"),
            ("a", "/a"),
            ("/a//b/./c/", "/a/b/c"),
            ("/a/../b", "/b"),
            ("../../etc/passwd", "/etc/passwd"),
            ("/..", "/"),
            ("/a/b/../../..", "/"),
            ("/...", "/..."),
            ("/ x /-y/~/%2e%2e/#1", "/ x /-y/~/%2e%2e/#1"),
        ] {
            assert_eq!(parsed(raw), normal, "{raw:?}");
        }
    }

    #[test]
    fn wrong_names_are_refused_by_name() {
        assert_eq!(LogicalPath::parse(b"/a\xff"), Err(PathError::NotUtf8));
        assert_eq!(LogicalPath::parse(b"/a\0b"), Err(PathError::ControlCharacter(0)));
        assert_eq!(LogicalPath::parse(b"/a\nb"), Err(PathError::ControlCharacter(10)));
        assert_eq!(LogicalPath::parse(b"/\x7f"), Err(PathError::ControlCharacter(127)));
        let long = "x".repeat(MAX_COMPONENT + 1);
        assert_eq!(LogicalPath::parse_str(&long), Err(PathError::ComponentTooLong));
        assert!(LogicalPath::parse_str(&long[1..]).is_ok());
        let deep = "abc/".repeat(256);
        assert!(LogicalPath::parse_str(&deep).is_ok());
        assert_eq!(LogicalPath::parse_str(&format!("{deep}d")), Err(PathError::TooLong));
    }

    #[test]
    fn the_end_of_a_path_tells_whether_it_asks_for_a_directory() {
        for directory in ["", "/", ".", "..", "a/", "/a//", "/a/.", "/a/b/.."] {
            assert!(LogicalPath::asks_for_directory(directory.as_bytes()), "{directory:?}");
        }
        for any in ["a", "/a", "/a/...", "/a/.b", "a/b."] {
            assert!(!LogicalPath::asks_for_directory(any.as_bytes()), "{any:?}");
        }
    }

    #[test]
    fn a_component_is_one_component() {
        let a = LogicalPath::parse_str("/a").unwrap();
        assert_eq!(a.join("b").unwrap().as_str(), "/a/b");
        assert_eq!(LogicalPath::root().join("b").unwrap().as_str(), "/b");
        for wrong in ["", ".", "..", "a/b", "/"] {
            assert_eq!(a.join(wrong), Err(PathError::NotAComponent), "{wrong:?}");
        }
    }

    #[test]
    fn parents_and_prefixes_are_by_component() {
        let deep = LogicalPath::parse_str("/a/b/c").unwrap();
        let a = LogicalPath::parse_str("/a").unwrap();
        assert_eq!(deep.parent().unwrap().as_str(), "/a/b");
        assert_eq!(a.parent().unwrap(), LogicalPath::root());
        assert_eq!(LogicalPath::root().parent(), None);
        assert_eq!(deep.below(&a), Some("b/c"));
        assert_eq!(deep.below(&LogicalPath::root()), Some("a/b/c"));
        assert_eq!(a.below(&a), Some(""));
        assert_eq!(LogicalPath::parse_str("/ab").unwrap().below(&a), None);
        assert_eq!(deep.name(), Some("c"));
        assert_eq!(LogicalPath::root().name(), None);
    }
}
