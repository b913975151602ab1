//! What the trail was told of the users of a folder, and what of it is not true any more.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::file::Content;

/// What the trail knows of the users of one folder; kept between processes. The default is that it was never told anything.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Told {
    /// Whether this is a memory at all.
    remembered: bool,
    users: BTreeMap<String, ToldUser>,
}

/// What the trail knows of one user.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct ToldUser {
    /// The fingerprints of the keys.
    keys: Vec<String>,
    /// Stands for the lines of the file that hold keys.
    lines: String,
}

/// What happened to a user.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChangeKind {
    /// There is a new one.
    Added,
    /// The keys, or what stands beside them, are others.
    Changed,
    /// There is none any more.
    Removed,
}

/// A change that the trail is to be told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// Who.
    pub user: Arc<str>,
    /// What.
    pub kind: ChangeKind,
    /// The fingerprints of the user's keys; of a removed one's last ones.
    pub keys: Vec<String>,
    /// The fingerprints of a changed user's new keys.
    pub added: Vec<String>,
    /// The fingerprints of the keys that a changed user has no more.
    pub removed: Vec<String>,
    /// More about it.
    pub message: Option<String>,
    lines: String,
}

impl Change {
    /// Stands for what the user is after the change: the same for the same user with the same keys, wherever it is computed.
    pub fn state(&self) -> &str {
        if self.kind == ChangeKind::Removed { "-" } else { &self.lines }
    }
}

impl Told {
    /// What differs between what was told and what is. Nothing is known of `unknown`.
    pub(super) fn changes(&self, now: &BTreeMap<&str, &Content>, unknown: &BTreeSet<&str>) -> Vec<Change> {
        let known = now.iter().filter(|(name, _)| !unknown.contains(*name));
        let mut changes: Vec<Change> = known.filter_map(|(name, content)| self.change(name, content)).collect();
        let gone =
            self.users.iter().filter(|(name, _)| !now.contains_key(name.as_str()) && !unknown.contains(name.as_str()));
        changes.extend(gone.map(|(name, user)| user.removed(name, format!("{name}.pub is no longer there"))));
        changes
    }

    /// There is nothing left to tell: whoever comes from now on is new.
    pub(super) fn mark_complete(&mut self) {
        self.remembered = true;
    }

    /// Everything that was told is true no more.
    pub fn all_removed(&self, message: &str) -> Vec<Change> {
        self.users.iter().map(|(name, user)| user.removed(name, message.to_owned())).collect()
    }

    /// The trail has this change now.
    pub fn note(&mut self, change: &Change) {
        self.remembered = true;
        if change.kind == ChangeKind::Removed {
            self.users.remove(&*change.user);
        } else {
            let user = ToldUser { keys: change.keys.clone(), lines: change.lines.clone() };
            self.users.insert(change.user.to_string(), user);
        }
    }

    fn change(&self, name: &str, content: &Content) -> Option<Change> {
        let before = self.users.get(name);
        if content.keys.is_empty() {
            let why = content.problem.as_deref().unwrap_or("it contains no key");
            return before.map(|user| user.removed(name, format!("{name}.pub: {why}")));
        }
        let keys = content.fingerprints();
        let change = |kind, added, removed, message: Option<&str>| Change {
            user: name.into(),
            kind,
            keys: keys.clone(),
            added,
            removed,
            message: message.map(str::to_owned),
            lines: content.digest.clone(),
        };
        let Some(before) = before else {
            let message = (!self.remembered).then_some("found at the first round");
            return Some(change(ChangeKind::Added, Vec::new(), Vec::new(), message));
        };
        let without = |all: &[String], others: &[String]| -> Vec<String> {
            all.iter().filter(|key| !others.contains(key)).cloned().collect()
        };
        let (added, removed) = (without(&keys, &before.keys), without(&before.keys, &keys));
        let same_keys = added.is_empty() && removed.is_empty();
        let message = same_keys.then_some("the options, the comments or the order of the keys changed");
        (before.lines != content.digest).then(|| change(ChangeKind::Changed, added, removed, message))
    }
}

impl ToldUser {
    fn removed(&self, name: &str, message: String) -> Change {
        Change {
            user: name.into(),
            kind: ChangeKind::Removed,
            keys: self.keys.clone(),
            added: Vec::new(),
            removed: Vec::new(),
            message: Some(message),
            lines: String::new(),
        }
    }
}
