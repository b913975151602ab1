//! The public interface of the library as a list, which `docs/api.txt` repeats: whoever changes the interface sees it in the change.
//!
//! The list is read from `src/embed`, where everything public stands, as rustfmt lays it out. `LOCKGATE_WRITE_API=1` writes the file anew.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// What is before the list.
const HEAD: &str = "The public interface of the library, from src/embed. `LOCKGATE_WRITE_API=1 cargo test --test tidy interface` writes it.\n";

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// What lines at the first indentation belong to.
enum Within {
    Nothing,
    /// Of these, `pub` lines count.
    Struct(String),
    Impl(String),
    /// Of these, every line does.
    Enum(String),
    Trait(String),
}

/// The public items of one file, without its tests.
fn items(text: &str) -> Vec<String> {
    let text = text.split("\n#[cfg(test)]").next().unwrap_or_default();
    let (mut found, mut within, mut marks) = (Vec::new(), Within::Nothing, Vec::new());
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        let bare = line.trim_start();
        let depth = line.len() - bare.len();
        if bare.starts_with("//") || bare.is_empty() || depth > 4 {
            continue;
        }
        if bare.starts_with("#[") {
            marks.push(bare.to_owned());
            continue;
        }
        let marks: Vec<String> = std::mem::take(&mut marks)
            .into_iter()
            .filter(|mark| ["#[derive", "#[non_exh"].iter().any(|m| mark.starts_with(m)))
            .collect();
        let mut whole = bare.to_owned();
        while !is_whole(&whole) {
            let Some(next) = lines.next() else { break };
            whole = format!("{whole} {}", next.trim());
        }
        let signature = signature(&whole);
        if depth == 0 {
            within = Within::of(&signature);
            if signature.starts_with("pub ") && !signature.starts_with("pub use")
                || signature.starts_with("impl ") && signature.contains(" for ")
            {
                found.push(marks.iter().chain([&signature]).cloned().collect::<Vec<_>>().join(" "));
            }
            continue;
        }
        match &within {
            Within::Enum(name) => found.push(format!("{name}::{}", signature.trim_end_matches(','))),
            // Who implements the trait need not write a method that has a body here.
            Within::Trait(name) if !signature.is_empty() => {
                let body = if whole.ends_with('{') { " { … }" } else { "" };
                found.push(format!("{name}::{signature}{body}"));
            }
            Within::Struct(name) | Within::Impl(name) if signature.starts_with("pub ") => {
                found.push(format!("{name}::{}", signature.trim_end_matches(',')));
            }
            _ => {}
        }
    }
    found
}

/// Whether the line has all of a signature.
fn is_whole(text: &str) -> bool {
    let open = text.matches('(').count() > text.matches(')').count();
    !open && (text.ends_with(['{', ';', ',', '}']))
}

/// Without its body, its private fields and its end.
fn signature(text: &str) -> String {
    let text = text.split(" {").next().unwrap_or_default().trim_end_matches(';');
    let text = if text.contains("struct ") { text.split('(').next().unwrap_or_default() } else { text };
    text.replace("( ", "(").replace(", )", ")").trim_end_matches('}').trim().to_owned()
}

impl Within {
    fn of(signature: &str) -> Within {
        let name = |text: &str| text.split(['<', ':', ' ', '(']).next().unwrap_or_default().to_owned();
        if let Some(rest) = signature.strip_prefix("pub struct ") {
            Within::Struct(name(rest))
        } else if let Some(rest) = signature.strip_prefix("pub enum ") {
            Within::Enum(name(rest))
        } else if let Some(rest) = signature.strip_prefix("pub trait ") {
            Within::Trait(name(rest))
        } else if let Some(rest) = signature.strip_prefix("impl ").filter(|rest| !rest.contains(" for ")) {
            Within::Impl(name(rest))
        } else {
            Within::Nothing
        }
    }
}

/// What `lib.rs` re-exports of `embed`.
fn exported(lib: &str) -> BTreeSet<String> {
    let list = lib.split("pub use embed::{").nth(1).and_then(|rest| rest.split('}').next()).unwrap();
    list.split(',').map(str::trim).filter(|name| !name.is_empty()).map(str::to_owned).collect()
}

/// The name of the type or function that an item is, or belongs to.
fn owner(item: &str) -> String {
    let mut item = item;
    while let Some(rest) = item.strip_prefix("#[") {
        item = rest.split_once("] ").unwrap().1;
    }
    let words = item.split(" for ").last().unwrap();
    let words = ["pub struct ", "pub enum ", "pub trait ", "pub fn "]
        .iter()
        .fold(words, |rest, word| rest.strip_prefix(word).unwrap_or(rest));
    words.split(['<', ':', ' ', '(']).next().unwrap().to_owned()
}

fn interface() -> String {
    let mut files: Vec<PathBuf> =
        fs::read_dir(root().join("src/embed")).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    let exported = exported(&fs::read_to_string(root().join("src/lib.rs")).unwrap());
    let all: Vec<String> = files.iter().flat_map(|file| items(&fs::read_to_string(file).unwrap())).collect();
    let owners: BTreeSet<String> = all.iter().map(|item| owner(item)).collect();
    for name in &exported {
        assert!(owners.contains(name), "{name} is exported by lib.rs and is not in src/embed");
    }
    let mut public: Vec<String> = all.into_iter().filter(|item| exported.contains(&owner(item))).collect();
    public.sort_by_key(|item| owner(item));
    public.iter().fold(HEAD.to_owned(), |list, item| format!("{list}\n{item}")) + "\n"
}

#[test]
fn the_interface_is_the_one_that_is_written_down() {
    let (file, now) = (root().join("docs/api.txt"), interface());
    if std::env::var_os("LOCKGATE_WRITE_API").is_some() {
        fs::write(&file, &now).unwrap();
    }
    let written = fs::read_to_string(&file).unwrap_or_default();
    let (before, after): (BTreeSet<_>, BTreeSet<_>) = (written.lines().collect(), now.lines().collect());
    let differs =
        |one: &BTreeSet<&str>, other: &BTreeSet<&str>| one.difference(other).copied().collect::<Vec<_>>().join("\n");
    assert!(
        written == now,
        "the interface changed. Write docs/api.txt anew (LOCKGATE_WRITE_API=1), and CHANGELOG.md if it matters to others.\nGone:\n{}\nNew:\n{}",
        differs(&before, &after),
        differs(&after, &before),
    );
}

#[test]
fn everything_else_is_private_or_hidden() {
    let lib = fs::read_to_string(root().join("src/lib.rs")).unwrap();
    let public: Vec<&str> = lib.lines().filter(|line| line.starts_with("pub ")).collect();
    assert_eq!(
        public,
        ["pub mod internals;", "pub use async_trait::async_trait;", "pub use object_store;", "pub use embed::{"]
    );
    assert!(lib.contains("#[doc(hidden)]\npub mod internals;"));
}

#[test]
fn items_are_found_with_what_belongs_to_them() {
    let text = "//! A file.\n/// Docs.\n#[derive(Debug)]\n#[non_exhaustive]\npub struct One {\n    /// A field.\n    pub field: u8,\n    hidden: u8,\n}\n\
                pub struct Two(pub(super) u8);\nimpl Two {\n    pub fn long(\n        &self,\n        name: &str,\n    ) -> u8 {\n        0\n    }\n    fn own(&self) {}\n}\n\
                pub enum Three {\n    Word,\n    With(String),\n}\npub trait Four: Send {\n    fn name(&self) -> &str;\n    async fn ask(\n        &self,\n    ) -> u8 {\n        1\n    }\n}\n\
                struct Five;\nimpl Four for Two {\n    fn name(&self) -> &str {\n        \"\"\n    }\n}\npub(super) struct Six {}\n#[cfg(test)]\nmod tests {\n    pub fn no() {}\n}\n";
    assert_eq!(
        items(text),
        [
            "#[derive(Debug)] #[non_exhaustive] pub struct One",
            "One::pub field: u8",
            "pub struct Two",
            "Two::pub fn long(&self, name: &str) -> u8",
            "pub enum Three",
            "Three::Word",
            "Three::With(String)",
            "pub trait Four: Send",
            "Four::fn name(&self) -> &str",
            "Four::async fn ask(&self) -> u8 { … }",
            "impl Four for Two",
        ]
    );
}
