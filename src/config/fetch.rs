//! `${env:NAME}` and `${file:PATH}` in the text values of a configuration.

use std::path::PathBuf;

use super::out_of_reach::Own;
use super::problem::Problems;
use super::reader::{At, Place};
use super::tree::{Node, Text, Value};
use crate::regular_file;
use crate::secret::Secret;

/// The largest file that `${file:PATH}` reads, in bytes.
const MAX_FILE: u64 = 64 * 1024;

/// Where the values come from.
pub(super) struct Sources<'a> {
    /// Looks an environment variable up: `None` when it is not set.
    pub environment: &'a dyn Fn(&str) -> Option<String>,
    /// The folder that relative paths start from.
    pub folder: PathBuf,
}

/// Replaces every `${env:…}` and `${file:…}` below `node`. What cannot be fetched is a problem, and the value is broken.
/// Keys are left alone, what was fetched is not looked at again, and no problem shows it.
pub(super) fn fetch_all(node: &mut Node, place: &Place, sources: &Sources<'_>, problems: &mut Problems) {
    match &mut node.value {
        Value::Text(text) => {
            let at = At { value: (), place: place.clone(), line: node.line };
            match fetch(text.text.expose(), &at, sources, problems) {
                Ok(None) => {}
                Ok(Some(fetched)) => *text = Text { text: Secret::new(fetched), fetched: true },
                Err(what) => {
                    at.problem(problems, what);
                    node.value = Value::Broken;
                }
            }
        }
        Value::List(list) => {
            for (index, element) in list.iter_mut().enumerate() {
                fetch_all(element, &place.element(index), sources, problems);
            }
        }
        Value::Map(pairs) => {
            for (key, value) in pairs {
                fetch_all(value, &place.key(&Place::name_of(key)), sources, problems);
            }
        }
        _ => {}
    }
}

/// The text with everything fetched; `None` when there is nothing to fetch. `${user}` and the like stay as they are.
fn fetch(text: &str, at: &At<()>, sources: &Sources<'_>, problems: &mut Problems) -> Result<Option<String>, String> {
    let mut fetched = String::new();
    let mut rest = text;
    let mut found = false;
    while let Some(start) = rest.find("${") {
        let (before, reference) = rest.split_at(start);
        fetched.push_str(before);
        if !is_reference(reference) {
            fetched.push_str("${");
            rest = &reference[2..];
            continue;
        }
        let Some(end) = reference.find('}') else {
            return Err("the `}` after `${` is missing".into());
        };
        found = true;
        let value = fetch_one(&reference[2..end], at, sources, problems)?;
        problems.hide(&value);
        fetched.push_str(&value);
        rest = &reference[end + 1..];
    }
    fetched.push_str(rest);
    Ok(found.then_some(fetched))
}

/// Whether it begins with `${`, a word and a colon: a source, be it known or not. Every tool's words count (`${aws.secret:x}`).
fn is_reference(text: &str) -> bool {
    let in_word = |c: char| !c.is_whitespace() && !"${}".contains(c);
    let word = |text: &str| !text.is_empty() && text.chars().all(in_word);
    text.strip_prefix("${").and_then(|rest| rest.split_once(':')).is_some_and(|(before, _)| word(before))
}

/// `env:NAME` or `file:PATH`.
fn fetch_one(reference: &str, at: &At<()>, sources: &Sources<'_>, problems: &mut Problems) -> Result<String, String> {
    match reference.split_once(':') {
        Some((_, "")) => Err(format!("a name is missing in `${{{reference}}}`")),
        Some(("env", name)) => (sources.environment)(name)
            .ok_or_else(|| format!("the environment variable {name} is not set; set it, or write the value here")),
        Some(("file", path)) => {
            let path = sources.folder.join(path);
            let read = regular_file::read_text(&path, MAX_FILE);
            problems.note_own(Own::file(at, format!("the file {}", path.display()), &path));
            let mut text = read.map_err(|error| format!("the file {} cannot be read: {error}", path.display()))?;
            // The line end that an editor leaves is not part of the secret.
            if text.ends_with('\n') {
                text.pop();
                if text.ends_with('\r') {
                    text.pop();
                }
            }
            Ok(text)
        }
        _ => Err(format!("`${{{reference}}}` is neither `${{env:NAME}}` nor `${{file:PATH}}`")),
    }
}
