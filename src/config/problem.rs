//! Problems of a configuration: all of them, each with its place, what is wrong and what would be right.

use std::fmt;
use std::path::{Path, PathBuf};

use strsim::osa_distance;

use super::out_of_reach::Own;
use crate::secret::Secret;

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Where: `users[2].home[0].target`; empty for the file as a whole.
    pub place: String,
    /// The line in the file, counted from 1, where it is known.
    pub line: Option<u64>,
    /// What is wrong and what would be right. Holds no secret.
    pub text: String,
    /// Whether the configuration itself is right, and what it names is not: a host key that is missing, for example.
    pub outside: bool,
}

/// Every problem of one file; prints as a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problems {
    file: PathBuf,
    list: Vec<Problem>,
    hidden: Vec<Secret>,
    noted: Box<Noted>,
}

/// What was read and is judged at the end.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
struct Noted {
    /// Where the first credential stands that was written into the file.
    credential: Option<(String, u64)>,
    /// What is the operator's own.
    own: Vec<Own>,
}

/// Shorter values are not looked for in the texts: hiding every `1` would make them unreadable.
const SHORTEST_HIDDEN: usize = 4;

impl Problems {
    /// No problem yet.
    pub(super) fn new(file: &Path) -> Self {
        Problems { file: file.to_owned(), list: Vec::new(), hidden: Vec::new(), noted: Box::default() }
    }

    /// Adds one.
    pub(super) fn add(&mut self, place: impl Into<String>, line: impl Into<Option<u64>>, text: impl Into<String>) {
        self.push(place.into(), line.into(), text.into(), false);
    }

    /// Adds one of something that the configuration names.
    pub(super) fn add_outside(&mut self, place: impl Into<String>, line: u64, text: impl Into<String>) {
        self.push(place.into(), Some(line), text.into(), true);
    }

    fn push(&mut self, place: String, line: Option<u64>, text: String, outside: bool) {
        let text = self.hide_in(text);
        self.list.push(Problem { place, line, text, outside });
    }

    /// From now on neither `secret` nor a word of it stands in the text of a problem.
    pub(super) fn hide(&mut self, secret: &str) {
        let whole = [secret.to_owned(), secret.escape_debug().to_string()];
        let words = secret.split_whitespace().map(str::to_owned);
        let mut parts: Vec<String> = whole.into_iter().chain(words).filter(|p| p.len() >= SHORTEST_HIDDEN).collect();
        parts.dedup();
        self.hidden.extend(parts.into_iter().map(Secret::new));
    }

    /// A credential stands in the file itself.
    pub(super) fn note_credential(&mut self, place: String, line: u64) {
        self.noted.credential.get_or_insert((place, line));
    }

    /// Where the first one stands.
    pub(super) fn credential(&self) -> Option<(String, u64)> {
        self.noted.credential.clone()
    }

    /// The configuration names something that no client may get at.
    pub(super) fn note_own(&mut self, own: Own) {
        self.noted.own.push(own);
    }

    /// All that was noted so far, which is noted no more.
    pub(super) fn take_own(&mut self) -> Vec<Own> {
        std::mem::take(&mut self.noted.own)
    }

    fn hide_in(&self, mut text: String) -> String {
        for secret in &self.hidden {
            if text.contains(secret.expose()) {
                text = text.replace(secret.expose(), "[hidden]");
            }
        }
        text
    }

    /// `Ok` when there is none; else the problems in the order of the file.
    pub(super) fn none_or(mut self) -> Result<(), Problems> {
        self.list.sort_by_key(|problem| problem.line.unwrap_or(0));
        if self.list.is_empty() { Ok(()) } else { Err(self) }
    }

    /// The problems, in the order of the file.
    pub fn list(&self) -> &[Problem] {
        &self.list
    }

    /// Whether the configuration itself is right: each problem is one of something that it names.
    pub fn are_outside(&self) -> bool {
        self.list.iter().all(|problem| problem.outside)
    }

    /// The file they are in.
    pub fn file(&self) -> &Path {
        &self.file
    }
}

impl std::error::Error for Problems {}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count = self.list.len();
        write!(f, "{}: {count} problem{}", self.file.display(), if count == 1 { "" } else { "s" })?;
        for problem in &self.list {
            write!(f, "\n  {problem}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.place.is_empty() {
            write!(f, "{}: ", self.place)?;
        }
        f.write_str(&self.text)?;
        match self.line {
            Some(line) => write!(f, " (line {line})"),
            None => Ok(()),
        }
    }
}

/// The candidate that `word` was probably meant to be: the nearest by edit distance, if it is near.
pub(super) fn near<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    if word.len() > 64 {
        return None;
    }
    let word = word.to_lowercase();
    let allowed = (word.chars().count() / 3).clamp(1, 3);
    candidates
        .into_iter()
        .map(|candidate| (osa_distance(&word, &candidate.to_lowercase()), candidate))
        .filter(|(distance, candidate)| *distance <= allowed && *distance < candidate.chars().count())
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// Names as a message lists them: `"a", "b"`; the first ones only when there are many.
pub(super) fn quoted<'a>(names: impl IntoIterator<Item = &'a str>) -> String {
    const SHOWN: usize = 24;
    let names: Vec<&str> = names.into_iter().collect();
    let mut shown: Vec<String> = names.iter().take(SHOWN).map(|name| format!("{name:?}")).collect();
    if names.len() > SHOWN {
        shown.push(format!("and {} more", names.len() - SHOWN));
    }
    shown.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn near_names_are_found_and_far_ones_are_not() {
        let names = ["listen", "host_keys", "name", "kex"];
        assert_eq!(near("lisen", names), Some("listen"));
        assert_eq!(near("hostkeys", names), Some("host_keys"));
        assert_eq!(near("Host_Keys", names), Some("host_keys"));
        assert_eq!(near("lisetn", names), Some("listen"), "a swap of neighbours is one edit");
        assert_eq!(near("port", names), None);
        assert_eq!(near("", names), None);
        assert_eq!(near(&"k".repeat(65), names), None);
        assert_eq!(near("b", ["a"]), None, "one letter is not near to another");
    }

    #[test]
    fn hidden_text_is_hidden_in_every_form() {
        let mut problems = Problems::new(Path::new("c"));
        problems.hide("two words\"");
        problems.hide("abc");
        problems.add("a", None, "abc, two words\", two words\\\", words\"");
        assert_eq!(problems.list()[0].text, "abc, [hidden], [hidden], [hidden]");
    }

    #[test]
    fn problems_print_as_one_list_in_the_order_of_the_file() {
        let mut problems = Problems::new(Path::new("config.yaml"));
        problems.add("users[0].home[0].target", 9, "no store named \"lak\"");
        assert_eq!(problems.to_string().lines().next(), Some("config.yaml: 1 problem"));
        problems.add("server.lisen", 2, "unknown key");
        problems.add("", None, "no good");
        let problems = problems.none_or().err().map(|p| p.to_string()).unwrap_or_default();
        assert_eq!(
            problems,
            "config.yaml: 3 problems\n  no good\n  server.lisen: unknown key (line 2)\n  \
             users[0].home[0].target: no store named \"lak\" (line 9)"
        );
    }
}
