//! The tree that random operations are compared with.

use std::collections::{BTreeMap, BTreeSet};
use std::time::SystemTime;

use lockgate::internals::stores::Existing;
use proptest::prelude::*;
use proptest::test_runner::TestCaseError;

use super::{Operation, Write, source};

/// Files, and directories that last while they are empty.
#[derive(Debug, Default)]
pub struct Tree {
    pub files: BTreeMap<String, File>,
    pub directories: BTreeSet<String>,
    directories_stay: bool,
}

#[derive(Debug, Clone)]
pub struct File {
    content: Vec<u8>,
    /// `None`: whatever the store says.
    mtime: Option<SystemTime>,
}

impl Tree {
    /// `directories_stay`: in `/x` the directories above a file stay when it goes. In `/y` they never do.
    pub fn new(directories_stay: bool) -> Self {
        Tree { directories_stay, ..Tree::default() }
    }

    /// Adds a file; false when there was one.
    pub fn put(&mut self, path: &str, content: Vec<u8>, mtime: Option<SystemTime>) -> bool {
        self.files.insert(path.to_owned(), File { content, mtime }).is_none()
    }

    /// Performs an operation; whether it succeeds. `None`, and nothing is done, for a name below a file: a disk refuses it,
    /// and on an object store the file is hidden behind the directory.
    pub(super) fn perform(&mut self, operation: &Operation) -> Option<bool> {
        let made = match operation {
            Operation::Write(write) => write.path.as_str(),
            Operation::Rename { to, .. } => to.as_str(),
            _ => "",
        };
        if self.has_file_above(made) {
            return None;
        }
        Some(match operation {
            Operation::Write(write) => self.write(write),
            Operation::SetMtime(path, time) => match self.files.get_mut(path) {
                Some(file) => {
                    file.mtime = Some(*time);
                    true
                }
                None => {
                    let is_directory = self.is_directory(path);
                    // An object store keeps the time with a marker, which stays when the last file goes.
                    if is_directory && !matches!(path.as_str(), "/x" | "/y") {
                        self.directories.insert(path.clone());
                    }
                    is_directory
                }
            },
            Operation::SetLength(path, length) => match self.files.get_mut(path) {
                Some(file) => {
                    if file.content.len() as u64 != *length {
                        file.content.resize(*length as usize, 0);
                        file.mtime = None;
                    }
                    true
                }
                None => false,
            },
            Operation::Remove(path) => self.files.remove(path).is_some(),
            Operation::MakeDirectory(path) => {
                let fine = !self.exists(path) && self.is_directory(parent(path));
                if fine {
                    self.directories.insert(path.clone());
                }
                fine
            }
            Operation::RemoveDirectory(path) => {
                self.is_directory(path) && self.below(path).is_empty() && self.directories.remove(path)
            }
            Operation::Rename { from, to, existing } => self.rename(from, to, *existing),
        })
    }

    fn write(&mut self, write: &Write) -> bool {
        let Write { path, .. } = write;
        let taken = self.files.contains_key(path);
        if self.is_directory(path) || (taken && write.existing == Existing::Refuse) || (!taken && write.must_exist) {
            return false;
        }
        let old = self.files.get(path).filter(|_| !write.truncate).cloned();
        let mut content = old.as_ref().map(|file| file.content.clone()).unwrap_or_default();
        let mut changed = old.is_none();
        for &(offset, from, length) in &write.pieces {
            let offset = offset.unwrap_or(content.len());
            if length == 0 {
                continue;
            }
            changed = true;
            content.resize(content.len().max(offset + length), 0);
            content[offset..offset + length].copy_from_slice(&source()[from..from + length]);
        }
        if let Some(length) = write.length {
            changed |= length != content.len();
            content.resize(length, 0);
        }
        if write.closed {
            let kept = old.filter(|_| !changed).and_then(|file| file.mtime);
            self.put(path, content, write.mtime.or(kept));
            self.keep_above(path);
        }
        true
    }

    fn rename(&mut self, from: &str, to: &str, existing: Existing) -> bool {
        if to.starts_with(&format!("{from}/")) {
            return false;
        }
        if from == to {
            return self.exists(from) && existing == Existing::Replace;
        }
        if let Some(file) = self.files.get(from).cloned() {
            if self.is_directory(to) || (self.files.contains_key(to) && existing == Existing::Refuse) {
                return false;
            }
            self.files.remove(from);
            self.files.insert(to.to_owned(), file);
            self.keep_above(to);
            return true;
        }
        if !self.is_directory(from) || self.exists(to) {
            return false;
        }
        // Across stores every directory is made; within one, a prefix is all that moves.
        if from[..2] != to[..2] {
            let implied: Vec<String> = self.below(from).iter().flat_map(|path| above(path)).collect();
            let inside = implied.into_iter().filter(|path| path == from || path.starts_with(&format!("{from}/")));
            self.directories.extend(inside);
        }
        let moved = |path: &str| path.strip_prefix(from).map(|rest| format!("{to}{rest}"));
        for path in self.below(from).into_iter().chain([from.to_owned()]) {
            let Some(new) = moved(&path) else { continue };
            if let Some(file) = self.files.remove(&path) {
                self.files.insert(new, file);
            } else if self.directories.remove(&path) {
                self.directories.insert(new);
            }
        }
        self.keep_above(to);
        for path in self.below(to) {
            self.keep_above(&path);
        }
        true
    }

    /// Where directories stay, those above a path are as good as made.
    fn keep_above(&mut self, path: &str) {
        if self.directories_stay && path.starts_with("/x/") {
            self.directories.extend(above(path));
        }
    }

    fn exists(&self, path: &str) -> bool {
        self.files.contains_key(path) || self.is_directory(path)
    }

    fn is_directory(&self, path: &str) -> bool {
        matches!(path, "/x" | "/y") || self.directories.contains(path) || !self.below(path).is_empty()
    }

    fn has_file_above(&self, path: &str) -> bool {
        above(path).iter().any(|above| self.files.contains_key(above))
    }

    /// Files and made directories below a directory.
    fn below(&self, path: &str) -> Vec<String> {
        let prefix = format!("{path}/");
        let all = self.files.keys().chain(&self.directories);
        all.filter(|other| other.starts_with(&prefix)).cloned().collect()
    }

    /// Compares with what was found by listing everything.
    pub fn check(&self, found: &Tree) -> Result<(), TestCaseError> {
        let mut directories = self.directories.clone();
        for path in self.files.keys().chain(&self.directories) {
            directories.extend(above(path));
        }
        prop_assert_eq!(&directories, &found.directories);
        prop_assert_eq!(self.files.keys().collect::<Vec<_>>(), found.files.keys().collect::<Vec<_>>());
        for (path, file) in &self.files {
            let there = &found.files[path];
            let differs = file.content.iter().zip(&there.content).position(|(a, b)| a != b);
            prop_assert_eq!((differs, there.content.len()), (None, file.content.len()), "content of {}", path);
            if file.mtime.is_some() {
                prop_assert_eq!(there.mtime, file.mtime, "mtime of {}", path);
            }
        }
        Ok(())
    }
}

/// The directories above a path, the entry's own left out.
fn above(path: &str) -> Vec<String> {
    std::iter::successors(Some(parent(path)), |above| Some(parent(above)))
        .take_while(|above| above.len() > 2)
        .map(str::to_owned)
        .collect()
}

fn parent(path: &str) -> &str {
    path.rsplit_once('/').map_or("", |(above, _)| above)
}
