//! What the documents for contributors promise of the project's own files.

use std::fs;
use std::path::{Path, PathBuf};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(name: &str) -> String {
    fs::read_to_string(root().join(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// The value of `key = "…"` at the beginning of a line.
fn value<'a>(text: &'a str, key: &str) -> &'a str {
    let line = text.lines().find_map(|line| line.strip_prefix(key)?.trim_start().strip_prefix('='));
    line.unwrap_or_else(|| panic!("no {key}")).trim().trim_matches('"')
}

/// Changes are compiled with the oldest compiler that is supported, so that it cannot be forgotten.
#[test]
fn the_oldest_compiler_is_the_one_that_checks_changes() {
    let (package, toolchain) = (read("Cargo.toml"), read("rust-toolchain.toml"));
    let (oldest, used) = (value(&package, "rust-version"), value(&toolchain, "channel"));
    assert!(used.strip_prefix(oldest).is_some_and(|patch| patch.starts_with('.')), "{oldest} and {used}");
}

/// Every version that is in the tree twice has its reason in deny.toml, and no reason stays longer than what it is for.
#[test]
fn the_duplicates_that_are_excused_are_there() {
    let (lock, deny) = (read("Cargo.lock"), read("deny.toml"));
    let versions = |name: &str| -> Vec<&str> {
        let head = format!("name = \"{name}\"\nversion = \"");
        lock.split(&head).skip(1).filter_map(|rest| rest.split('"').next()).collect()
    };
    let excused = deny.lines().filter_map(|line| line.trim().strip_prefix("{ crate = \"")?.split('"').next());
    let mut seen = 0;
    for (name, version) in excused.filter_map(|name| name.split_once('@')) {
        let found = versions(name);
        let is_there = found.iter().any(|found| found.strip_prefix(version).is_some_and(|rest| rest.starts_with('.')));
        assert!(is_there && found.len() > 1, "{name}@{version} is excused in deny.toml; there is {found:?}");
        seen += 1;
    }
    assert!(seen > 5, "{seen}");
}

/// A file that a document names, and that is gone, is found by nobody else.
#[test]
fn links_of_the_documents_lead_to_files() {
    let mut documents: Vec<PathBuf> =
        ["README.md", "CONTRIBUTING.md", "SECURITY.md", "RELEASING.md"].map(|name| root().join(name)).to_vec();
    documents.extend(fs::read_dir(root().join("docs")).unwrap().map(|entry| entry.unwrap().path()));
    for document in documents.iter().filter(|path| path.extension().is_some_and(|end| end == "md")) {
        let text = fs::read_to_string(document).unwrap();
        for target in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            let file = target.split('#').next().unwrap_or_default();
            if file.is_empty() || file.contains("://") || file.contains(' ') {
                continue;
            }
            let path = document.parent().unwrap().join(file);
            assert!(path.exists(), "{}: {target} leads nowhere", document.display());
        }
    }
}
