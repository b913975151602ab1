//! Holds the shape of the source: which module may import which, how long a file may be, and what may stand in it.
//!
//! The table below is the one of docs/ARCHITECTURE.md. The checks read tokens, not text, so comments and strings do not
//! count; items under `#[cfg(test)]` and test files are free to import what they like.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::fs;
use std::path::{Path, PathBuf};

use tokens::{Token, is_name, tokens, without_test_items};

#[path = "tidy/api.rs"]
mod api;
#[path = "tidy/habits.rs"]
mod habits;
#[path = "tidy/pictures.rs"]
mod pictures;
#[path = "tidy/rules.rs"]
mod rules;
#[path = "tidy/tokens.rs"]
mod tokens;

/// Each top-level module: its layer, its name, what it may import besides itself.
const LAYERS: &[(u8, &str, &[&str])] = &[
    (0, "path", &[]),
    (0, "secret", &[]),
    (0, "metrics", &[]),
    (0, "backoff", &[]),
    (0, "in_place", &[]),
    (0, "together", &[]),
    (0, "regular_file", &[]),
    (0, "descriptors", &[]),
    (0, "inherited", &[]),
    (1, "policy", &["path"]),
    (1, "audit", &["secret", "metrics", "backoff", "in_place", "regular_file"]),
    (2, "stores", &["path", "secret", "metrics", "backoff", "in_place", "regular_file", "descriptors"]),
    (2, "vfs", &["path", "metrics", "stores", "descriptors"]),
    (2, "users", &["path", "policy", "secret"]),
    (3, "session", &["path", "secret", "metrics", "policy", "audit", "stores", "vfs", "users"]),
    (4, "sftp", &["session", "path", "together"]),
    (4, "scp", &["session", "path"]),
    (4, "fleet", &["session", "audit", "secret", "backoff"]),
    (5, "ssh", &["sftp", "scp", "session", "users", "audit", "metrics", "secret", "regular_file", "inherited"]),
    (5, "admin", &["session", "audit", "metrics", "secret", "stores", "users", "regular_file", "inherited"]),
    (
        6,
        "config",
        &[
            "path",
            "secret",
            "regular_file",
            "policy",
            "audit",
            "stores",
            "vfs",
            "users",
            "session",
            "fleet",
            "ssh",
            "admin",
            "gateway",
        ],
    ),
    (
        6,
        "gateway",
        &[
            "path",
            "secret",
            "metrics",
            "regular_file",
            "descriptors",
            "inherited",
            "policy",
            "audit",
            "stores",
            "vfs",
            "users",
            "session",
            "sftp",
            "scp",
            "fleet",
            "ssh",
            "admin",
            "config",
        ],
    ),
    (7, "cli", &["config", "gateway", "admin", "audit", "users", "ssh", "stores", "fleet", "secret", "inherited"]),
    (
        7,
        "embed",
        &[
            "path",
            "secret",
            "metrics",
            "policy",
            "audit",
            "stores",
            "users",
            "session",
            "ssh",
            "admin",
            "config",
            "gateway",
            "inherited",
        ],
    ),
    // The door of the tests, which opens to all.
    (
        8,
        "internals",
        &[
            "descriptors",
            "in_place",
            "inherited",
            "metrics",
            "path",
            "regular_file",
            "secret",
            "together",
            "audit",
            "policy",
            "stores",
            "users",
            "vfs",
            "session",
            "fleet",
            "scp",
            "sftp",
            "admin",
            "ssh",
            "config",
            "gateway",
            "cli",
        ],
    ),
    (8, "main", &["internals"]),
];

/// Crates that only some modules may name.
const CRATES: &[(&str, &[&str])] = &[
    ("russh", &["ssh", "stores"]),
    ("listenfd", &["inherited"]),
    ("ppp", &["ssh"]),
    ("flate2", &["audit"]),
    ("rustls", &["audit", "admin", "fleet"]),
    ("tokio_rustls", &["admin", "fleet"]),
    ("redis", &["fleet"]),
    ("axum", &["admin"]),
    ("hyper", &["admin"]),
    ("tower", &["admin"]),
    ("utoipa", &["admin"]),
    ("jsonwebtoken", &["admin"]),
    ("prometheus_client", &["metrics"]),
    ("globset", &["audit", "config"]),
    ("reqwest", &["audit", "users", "admin"]),
    ("russh_sftp", &["sftp"]),
    ("object_store", &["stores", "vfs", "users", "audit", "embed", "lib"]),
    ("serde_saphyr", &["config"]),
    ("anyhow", &["cli", "main"]),
];

/// Names that say nothing of what a module is about.
const VAGUE_NAMES: &[&str] = &["common", "util", "utils", "helper", "helpers", "misc"];

/// The longest file, with its tests.
const MOST_LINES: usize = 600;

/// One place that breaks a rule.
#[derive(Debug, PartialEq, Eq)]
struct Breach {
    file: String,
    line: usize,
    what: String,
}

#[test]
fn source_is_tidy() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut sources = Vec::new();
    read_sources(root, &root.join("src"), &mut sources);
    assert!(sources.len() > 5, "src/ was not found");
    let tests_only: Vec<String> = sources.iter().flat_map(|(file, text)| test_modules(file, text)).collect();
    let mut breaches = Vec::new();
    for (file, text) in &sources {
        let is_test = tests_only.iter().any(|module| is_of_module(file, module));
        breaches.extend(if is_test { check_form(file, text) } else { check_source(file, text) });
    }

    let mut tests = Vec::new();
    read_sources(root, &root.join("tests"), &mut tests);
    breaches.extend(tests.iter().flat_map(|(file, text)| check_form(file, text)));

    let lib = sources.iter().find(|(file, _)| file == "src/lib.rs").expect("src/lib.rs");
    breaches.extend(check_module_list(&lib.1));
    let report: Vec<String> = breaches.iter().map(|b| format!("{}:{}: {}", b.file, b.line, b.what)).collect();
    assert!(report.is_empty(), "{} breaches:\n{}", report.len(), report.join("\n"));
}

/// All `.rs` files under `folder`, as path from `root` and text.
fn read_sources(root: &Path, folder: &Path, into: &mut Vec<(String, String)>) {
    let mut entries: Vec<PathBuf> =
        fs::read_dir(folder).expect("a folder").map(|e| e.expect("an entry").path()).collect();
    entries.sort();
    for path in entries {
        if path.is_dir() {
            read_sources(root, &path, into);
        } else if path.extension().is_some_and(|e| e == "rs") {
            let name = path.strip_prefix(root).expect("below the root").to_string_lossy().into_owned();
            into.push((name, fs::read_to_string(&path).expect("UTF-8 source")));
        }
    }
}

/// All rules for one file under `src/`.
fn check_source(file: &str, text: &str) -> Vec<Breach> {
    let mut breaches = check_form(file, text);
    let place = ModulePlace::of(file);
    if place.is_test {
        return breaches;
    }
    let tokens = without_test_items(tokens(text));
    let mut found = |line: usize, what: String| breaches.push(Breach { file: file.into(), line, what });
    for (line, target) in imports(&tokens, &place) {
        if let Some(what) = judge_import(&place.module, &target) {
            found(line, what);
        }
    }
    for (line, name) in named_crates(&tokens) {
        let (_, allowed) = CRATES.iter().find(|(c, _)| *c == name).expect("a crate of the table");
        if !allowed.contains(&place.module.as_str()) {
            found(line, format!("`{name}` is for {} only", allowed.join(", ")));
        }
    }
    for (line, what) in forbidden_calls(&tokens, &place.module) {
        found(line, what);
    }
    breaches
}

/// Rules for every Rust file, tests included: header, length, name.
fn check_form(file: &str, text: &str) -> Vec<Breach> {
    let mut breaches = Vec::new();
    let mut found = |line: usize, what: String| breaches.push(Breach { file: file.into(), line, what });
    if !text.lines().next().is_some_and(|l| l.starts_with("//! ")) {
        found(1, "the file does not start with a `//!` header".into());
    }
    let lines = text.lines().count();
    if lines > MOST_LINES {
        found(lines, format!("{lines} lines; split it by topic (at most {MOST_LINES} with its tests)"));
    }
    for part in Path::new(file).components() {
        let part = part.as_os_str().to_string_lossy();
        if VAGUE_NAMES.contains(&part.trim_end_matches(".rs")) {
            found(1, format!("`{part}` says nothing: name the module after what it owns"));
        }
    }
    let tokens = tokens(text);
    for pair in tokens.windows(2) {
        if pair[0].text == "mod" && VAGUE_NAMES.contains(&pair[1].text.as_str()) {
            found(pair[1].line, format!("`mod {}` says nothing: name it after what it owns", pair[1].text));
        }
    }
    breaches
}

/// The modules in files of their own that `file` declares under `#[cfg(test)]`, as paths without `.rs`.
fn test_modules(file: &str, text: &str) -> Vec<String> {
    let folder = match file.strip_suffix("/mod.rs").or(file.strip_suffix("/lib.rs")).or(file.strip_suffix("/main.rs")) {
        Some(folder) => folder,
        None => file.trim_end_matches(".rs"),
    };
    let all = tokens(text);
    let kept: Vec<usize> = without_test_items(all.clone()).iter().map(|t| t.line).collect();
    let declared = all.windows(3).filter(|w| w[0].text == "mod" && w[2].text == ";" && !kept.contains(&w[0].line));
    declared.map(|w| format!("{folder}/{}", w[1].text)).collect()
}

/// Whether `file` is `module.rs` or lies in the folder `module`.
fn is_of_module(file: &str, module: &str) -> bool {
    file.strip_prefix(module).is_some_and(|rest| rest == ".rs" || rest.starts_with('/'))
}

/// `lib.rs` declares modules of the table only, lower layers first.
fn check_module_list(lib: &str) -> Vec<Breach> {
    let mut breaches = Vec::new();
    let mut highest = 0;
    for pair in without_test_items(tokens(lib)).windows(2) {
        if pair[0].text != "mod" {
            continue;
        }
        let name = &pair[1].text;
        let what = match LAYERS.iter().find(|(_, module, _)| module == name) {
            None => format!("`{name}` has no place in the table of layers"),
            Some((layer, ..)) if *layer < highest => format!("`{name}` (layer {layer}) stands below layer {highest}"),
            Some((layer, ..)) => {
                highest = *layer;
                continue;
            }
        };
        breaches.push(Breach { file: "src/lib.rs".into(), line: pair[1].line, what });
    }
    breaches
}

fn judge_import(from: &str, target: &str) -> Option<String> {
    if from == "lib" || from == target {
        return None;
    }
    // Something else at the crate's root, such as a macro, is no module.
    LAYERS.iter().find(|(_, module, _)| *module == target)?;
    match LAYERS.iter().find(|(_, module, _)| *module == from) {
        None => Some(format!("`{from}` has no place in the table of layers")),
        Some((_, _, allowed)) if allowed.contains(&target) => None,
        Some((_, _, [])) => Some(format!("`{from}` may import no module, not `{target}`")),
        Some((_, _, allowed)) => Some(format!("`{from}` may not import `{target}`, only {}", allowed.join(", "))),
    }
}

/// Where a file stands in the module tree.
struct ModulePlace {
    /// The top-level module, `lib` or `main`.
    module: String,
    /// How many `super` lead from the file's module to the crate's root.
    depth: usize,
    is_test: bool,
}

impl ModulePlace {
    fn of(file: &str) -> ModulePlace {
        let mut parts: Vec<&str> = file.trim_start_matches("src/").trim_end_matches(".rs").split('/').collect();
        if parts.len() > 1 && parts.last() == Some(&"mod") {
            parts.pop();
        }
        let root = matches!(parts[0], "lib" | "main");
        let is_test = parts.iter().skip(1).any(|p| *p == "tests" || p.ends_with("_tests"));
        ModulePlace { module: parts[0].into(), depth: if root { 0 } else { parts.len() }, is_test }
    }
}

/// Every top-level module that the tokens name: `crate::x`, `crate::{x, y::z}`, `super::x` from a top-level module,
/// and in `main.rs` `lockgate::x`.
fn imports(tokens: &[Token], place: &ModulePlace) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    for i in 0..tokens.len() {
        let starts_path = i == 0 || tokens[i - 1].text != "::";
        let after = match tokens[i].text.as_str() {
            "crate" => i + 1,
            "lockgate" if place.module == "main" && starts_path => i + 1,
            "super" if starts_path => match after_supers(tokens, i) {
                (supers, after) if supers >= place.depth => after,
                _ => continue,
            },
            _ => continue,
        };
        if tokens.get(after).is_some_and(|t| t.text == "::") {
            first_names(tokens, after + 1, &mut found);
        }
    }
    found
}

/// How many `super` follow each other from `start`, and the index after the last.
fn after_supers(tokens: &[Token], start: usize) -> (usize, usize) {
    let mut count = 1;
    let mut at = start + 1;
    while tokens.get(at).is_some_and(|t| t.text == "::") && tokens.get(at + 1).is_some_and(|t| t.text == "super") {
        count += 1;
        at += 2;
    }
    (count, at)
}

/// The name at `at`, or the first name of each element when a `{…}` group stands there.
fn first_names(tokens: &[Token], at: usize, found: &mut Vec<(usize, String)>) {
    let Some(first) = tokens.get(at) else { return };
    if first.text != "{" {
        found.push((first.line, first.text.clone()));
        return;
    }
    let mut depth = 0;
    let mut element_starts = true;
    for token in &tokens[at..] {
        match token.text.as_str() {
            "{" => depth += 1,
            "}" => depth -= 1,
            "," => element_starts = depth == 1,
            name if element_starts && depth == 1 => {
                found.push((token.line, name.into()));
                element_starts = false;
            }
            _ => {}
        }
        if depth == 0 {
            return;
        }
    }
}

/// Uses of a crate of the table, as the first part of a path or in `use name;`.
fn named_crates(tokens: &[Token]) -> Vec<(usize, &'static str)> {
    let mut found = Vec::new();
    for (i, token) in tokens.iter().enumerate() {
        let Some((name, _)) = CRATES.iter().find(|(c, _)| *c == token.text) else { continue };
        let before = i.checked_sub(1).map_or("", |b| tokens[b].text.as_str());
        let before_that = i.checked_sub(2).map_or("", |b| tokens[b].text.as_str());
        let after = tokens.get(i + 1).map_or("", |t| t.text.as_str());
        // `::name` is a crate as well, `other::name` is not.
        let starts_path = before != "::" || !is_name(before_that);
        if starts_path && (after == "::" || matches!(before, "use" | "crate")) {
            found.push((token.line, *name));
        }
    }
    found
}

/// How many arguments the call has whose parenthesis comes first; strings are no tokens, so at least the commas count.
fn arguments(tokens: &[Token]) -> Option<usize> {
    if tokens.first()?.text != "(" {
        return None;
    }
    let mut depth = 0;
    let mut commas = 0;
    for pair in tokens.windows(2) {
        match pair[0].text.as_str() {
            "(" | "[" | "{" => depth += 1,
            ")" | "]" | "}" => depth -= 1,
            // One before the closing parenthesis is only the layout's.
            "," if depth == 1 && pair[1].text != ")" => commas += 1,
            _ => {}
        }
        if depth == 0 {
            break;
        }
    }
    Some(commas + 1)
}

/// Unfinished code, panics on demand, and printing from a module that does not own the terminal.
fn forbidden_calls(tokens: &[Token], module: &str) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    for (i, token) in tokens.iter().enumerate() {
        let next = tokens.get(i + 1).map_or("", |t| t.text.as_str());
        let before = i.checked_sub(1).map_or("", |b| tokens[b].text.as_str());
        match token.text.as_str() {
            name @ ("todo" | "unimplemented" | "dbg") if next == "!" => {
                found.push((token.line, format!("`{name}!` does not belong in finished code")));
            }
            name @ ("print" | "println") if next == "!" && !matches!(module, "cli" | "main") => {
                found.push((token.line, format!("`{name}!` in `{module}`: standard output belongs to the events")));
            }
            // A method of our own may be called `expect`; the one that panics takes one argument.
            name @ ("unwrap" | "expect") if before == "." && arguments(&tokens[i + 1..]).is_some_and(|n| n < 2) => {
                found.push((token.line, format!("`.{name}(` outside tests: return the error")));
            }
            _ => {}
        }
    }
    found
}
