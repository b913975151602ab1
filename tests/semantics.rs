//! docs/SEMANTICS.md, sentence by sentence: each has a test of its name in `tests/semantics/`, which runs the real gateway on
//! every store that the sentence speaks of.
//!
//! A few sentences are about what cannot be brought about from outside (a terabyte, an upstream server that loses its answer); their tests lie
//! where [`INSIDE`] says.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

#[path = "semantics/attributes.rs"]
mod attributes;
#[path = "semantics/azure.rs"]
mod azure;
#[path = "semantics/bench.rs"]
mod bench;
#[path = "semantics/copies.rs"]
mod copies;
#[path = "semantics/cost.rs"]
mod cost;
#[path = "semantics/directories.rs"]
mod directories;
#[path = "semantics/downloads.rs"]
mod downloads;
#[path = "semantics/google.rs"]
mod google;
#[path = "semantics/limits.rs"]
mod limits;
#[path = "semantics/names.rs"]
mod names;
#[path = "semantics/order.rs"]
mod order;
#[path = "semantics/parts.rs"]
mod parts;
#[path = "semantics/renames.rs"]
mod renames;
#[path = "semantics/stores.rs"]
mod stores;
#[path = "support/mod.rs"]
mod support;
#[path = "semantics/unfinished.rs"]
mod unfinished;
#[path = "semantics/uploads.rs"]
mod uploads;
#[path = "semantics/writers.rs"]
mod writers;

/// Where the test of a sentence may lie that cannot be tested from outside.
const INSIDE: &[&str] = &["src/vfs", "src/stores", "tests/conformance"];

/// The longest name of a test.
const LONGEST_NAME: usize = 80;

/// Words after which a full stop ends no sentence.
const ABBREVIATIONS: &[&str] = &["e.g", "i.e", "etc", "cf", "vs"];

#[test]
fn every_sentence_has_a_test_and_every_test_a_sentence() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let document = fs::read_to_string(root.join("docs/SEMANTICS.md")).expect("docs/SEMANTICS.md");
    let sentences = sentences(&document);
    let mut wanted = BTreeMap::new();
    let mut problems = Vec::new();
    for sentence in &sentences {
        if let Some(other) = wanted.insert(name_of(sentence), sentence) {
            problems.push(format!("two sentences would have one test: {sentence:?} and {other:?}"));
        }
    }
    let outside = tests_below(&root.join("tests/semantics"));
    let inside: BTreeSet<String> = INSIDE.iter().flat_map(|folder| tests_below(&root.join(folder))).collect();
    for (name, sentence) in &wanted {
        if !outside.contains(name) && !inside.contains(name) {
            problems.push(format!("no test {name}: {sentence:?}"));
        }
    }
    problems.extend(
        outside.iter().filter(|name| !wanted.contains_key(*name)).map(|name| format!("no sentence for {name}")),
    );
    assert!(sentences.len() > 50, "the document was not read: {sentences:?}");
    assert!(problems.is_empty(), "{} of {} do not fit:\n{}", problems.len(), wanted.len(), problems.join("\n"));
}

/// The sentences of the lists of a Markdown document. What stands before a chapter's first list is an introduction.
fn sentences(document: &str) -> Vec<String> {
    let mut items: Vec<String> = Vec::new();
    let mut within = false;
    for line in document.lines() {
        if let Some(item) = line.strip_prefix("- ") {
            items.push(item.into());
            within = true;
        } else if within && line.starts_with("  ") {
            let item = items.last_mut().expect("an item");
            item.push(' ');
            item.push_str(line.trim());
        } else {
            within = false;
        }
    }
    items.iter().flat_map(|item| split(item)).collect()
}

/// The sentences of a text: each ends with a full stop that is followed by a space or nothing, and is not in code.
fn split(text: &str) -> Vec<String> {
    let mut sentences = Vec::new();
    let (mut start, mut code) = (0, false);
    for (at, c) in text.char_indices() {
        let rest = &text[at + c.len_utf8()..];
        match c {
            '`' => code = !code,
            '.' | '?' | '!' if !code && (rest.is_empty() || rest.starts_with(' ')) => {
                let word = text[start..at].rsplit([' ', '(']).next().unwrap_or("");
                if !ABBREVIATIONS.contains(&word) {
                    sentences.push(text[start..=at].trim().to_owned());
                    start = at + 1;
                }
            }
            _ => {}
        }
    }
    let left = text[start..].trim();
    if !left.is_empty() {
        sentences.push(left.to_owned());
    }
    sentences
}

/// The name that a sentence's test has: its words in small letters, as many as fit.
fn name_of(sentence: &str) -> String {
    let plain: String = sentence.to_lowercase().chars().filter(|c| !matches!(c, '\'' | '’' | ',')).collect();
    let words = plain.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !word.is_empty());
    let mut name = String::new();
    for word in words {
        if name.len() + 1 + word.len() > LONGEST_NAME {
            break;
        }
        if !name.is_empty() {
            name.push('_');
        }
        name.push_str(word);
    }
    name
}

/// The names of the test functions in the Rust files of a folder.
fn tests_below(folder: &Path) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for entry in fs::read_dir(folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display())) {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            names.extend(tests_below(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            names.extend(test_functions(&fs::read_to_string(&path).expect("UTF-8 source")));
        }
    }
    names
}

fn test_functions(source: &str) -> Vec<String> {
    let mut names = Vec::new();
    let mut marked = false;
    for line in source.lines().map(str::trim) {
        if line.starts_with("#[test]") || line.starts_with("#[tokio::test") {
            marked = true;
        } else if let Some(name) = line.strip_prefix("async ").unwrap_or(line).strip_prefix("fn ") {
            if marked {
                names.push(name.split('(').next().unwrap_or("").to_owned());
            }
            marked = false;
        }
    }
    names
}

#[test]
fn a_text_is_split_at_the_ends_of_its_sentences() {
    assert_eq!(
        split("One. Two (`a. b`, e.g. this). `x.y` is three"),
        ["One.", "Two (`a. b`, e.g. this).", "`x.y` is three"]
    );
    assert_eq!(split("Keep a.txt and 1.5 MiB. Is it so? Yes!"), ["Keep a.txt and 1.5 MiB.", "Is it so?", "Yes!"]);
}

#[test]
fn only_lists_hold_sentences() {
    let document = "# A title\n\nAn introduction. Another.\n\n## A chapter\n\nMore.\n\n- One\n  goes on. Two.\n- Three.\n\nAn end.\n";
    assert_eq!(sentences(document), ["One goes on.", "Two.", "Three."]);
}

#[test]
fn a_name_is_made_of_words() {
    assert_eq!(name_of("`rmdir` removes an empty directory only."), "rmdir_removes_an_empty_directory_only");
    assert_eq!(name_of("SFTP's rename: at most 1,024 (`a//b`)."), "sftps_rename_at_most_1024_a_b");
    let long = name_of(&"word ".repeat(40));
    assert!(long.len() <= LONGEST_NAME && long.ends_with("word") && long.len() > 70, "{long}");
}

#[test]
fn functions_that_are_not_marked_are_no_tests() {
    let source =
        "#[test]\nfn a() {}\nfn b() {}\n#[tokio::test]\n#[allow(x)]\nasync fn c(x: u8) {}\n    #[test]\n    fn d() {}";
    assert_eq!(test_functions(source), ["a", "c", "d"]);
}
