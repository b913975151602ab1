//! What has no counterpart, and what the operator has to do.

use std::collections::BTreeSet;

/// Findings, in the order in which they were made; what is said of several users alike is said once with their names.
#[derive(Debug, Default)]
pub(super) struct Report {
    users: usize,
    /// What holds for the whole.
    general: Vec<String>,
    /// A sentence, and about whom.
    notes: Vec<(String, Vec<String>)>,
    left_out: BTreeSet<String>,
}

/// So many names follow a sentence.
const MOST_NAMES: usize = 20;

impl Report {
    /// Notes what holds for all.
    pub(super) fn general(&mut self, what: impl Into<String>) {
        let what = what.into();
        if !self.general.contains(&what) {
            self.general.push(what);
        }
    }

    /// Notes something about a user.
    pub(super) fn note(&mut self, user: &str, what: impl Into<String>) {
        let what = what.into();
        match self.notes.iter_mut().find(|(known, _)| *known == what) {
            Some((_, users)) if users.last().is_some_and(|last| last == user) => {}
            Some((_, users)) => users.push(user.to_owned()),
            None => self.notes.push((what, vec![user.to_owned()])),
        }
    }

    /// A user is not in the configuration.
    pub(super) fn leave_out(&mut self, user: &str, why: impl AsRef<str>) {
        self.left_out.insert(user.to_owned());
        self.note(user, format!("left out: {}", why.as_ref()));
    }

    /// How many users are in the configuration.
    pub(super) fn count(&mut self, users: usize) {
        self.users = users;
    }

    /// How many users were left out.
    pub(super) fn left_out(&self) -> usize {
        self.left_out.len()
    }

    /// For a person.
    pub(super) fn as_text(&self) -> String {
        let mut lines = vec![format!("{} users were migrated, {} were left out.", self.users, self.left_out.len())];
        lines.extend(self.general.iter().map(|what| format!("- {what}")));
        if !self.notes.is_empty() {
            lines.push("What has no counterpart, and who has it:".to_owned());
        }
        for (what, users) in &self.notes {
            let mut names = users.iter().take(MOST_NAMES).cloned().collect::<Vec<_>>().join(", ");
            if users.len() > MOST_NAMES {
                names.push_str(&format!(" and {} more", users.len() - MOST_NAMES));
            }
            lines.push(format!("- {what}\n    {names}"));
        }
        lines.join("\n")
    }

    /// The same at the head of the configuration.
    pub(super) fn as_comments(&self, origin: &str) -> String {
        let text = format!("Migrated from {origin}. Read this, correct the file, and remove it.\n{}", self.as_text());
        // A name of somebody else's may hold anything; a comment ends with its line.
        let plain = |line: &str| line.chars().map(|c| if c.is_control() { '?' } else { c }).collect::<String>();
        text.split('\n').map(|line| format!("# {}\n", plain(line).trim_end())).collect()
    }
}
