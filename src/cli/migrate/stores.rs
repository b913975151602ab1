//! Stores that somebody else's homes lead to, each once.

use std::collections::BTreeSet;

use super::draft::{DraftEntry, DraftUser, quoted};

/// The longest name of a store that is made here, in bytes.
const LONGEST_NAME: usize = 40;

/// All stores, with names of their own.
#[derive(Debug, Default)]
pub(super) struct Stores(Vec<Named>);

#[derive(Debug)]
struct Named {
    name: String,
    store: Store,
}

/// Where files are.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Store {
    pub url: String,
    pub options: Vec<(&'static str, String)>,
    /// Lines that the operator has to complete, as comments: an option, and what belongs there.
    pub wanted: Vec<(&'static str, String)>,
}

impl Stores {
    /// The name of this store, which may be known already; a new one is called `wish`, or something like it.
    pub(super) fn name_of(&mut self, store: Store, wish: &str) -> String {
        if let Some(known) = self.0.iter().find(|known| known.store == store) {
            return known.name.clone();
        }
        let plain = |c: char| if c.is_ascii_alphanumeric() || c == '-' || c == '_' { c } else { '-' };
        let wish: String = wish.chars().map(plain).take(LONGEST_NAME).collect();
        let wish = if wish.is_empty() { "store".to_owned() } else { wish };
        let is_taken = |name: &str| self.0.iter().any(|known| known.name == name);
        let name =
            (1..).map(|n| if n == 1 { wish.clone() } else { format!("{wish}-{n}") }).find(|name| !is_taken(name));
        let name = name.unwrap_or(wish);
        self.0.push(Named { name: name.clone(), store });
        name
    }

    /// The target of a folder of this machine: a store for the folder above it, which many share.
    pub(super) fn local(&mut self, path: &str) -> Option<String> {
        let path = path.strip_prefix('/')?.trim_end_matches('/');
        if path.split('/').any(|part| matches!(part, "." | "..")) {
            return None;
        }
        let (above, folder) = path.rsplit_once('/').unwrap_or(("", path));
        let url = format!("file:///{}", above.split('/').map(escaped).collect::<Vec<_>>().join("/"));
        let name = self.name_of(Store { url, ..Store::default() }, "local");
        Some(format!("{name}:/{folder}"))
    }

    /// Whether a store of this user's home holds something that would be fetched.
    pub(super) fn are_references(&self, user: &DraftUser) -> bool {
        let used: BTreeSet<&str> = user.home.iter().filter_map(|entry| Some(entry.target.split_once(':')?.0)).collect();
        let of_user = self.0.iter().filter(|named| used.contains(named.name.as_str()));
        let mut texts = of_user.flat_map(|named| {
            let options = named.store.options.iter().map(|(_, value)| value);
            std::iter::once(&named.store.url).chain(options)
        });
        texts.any(|text| text.contains("${"))
    }

    /// Forgets the stores that no entry leads to.
    pub(super) fn keep<'a>(&mut self, entries: impl Iterator<Item = &'a DraftEntry>) {
        let used: BTreeSet<&str> = entries.filter_map(|entry| Some(entry.target.split_once(':')?.0)).collect();
        self.0.retain(|named| used.contains(named.name.as_str()));
    }

    /// The section `stores`.
    pub(super) fn to_yaml(&self) -> String {
        if self.0.is_empty() {
            return "stores: {}\n".to_owned();
        }
        let mut text = "stores:\n".to_owned();
        for Named { name, store } in &self.0 {
            text.push_str(&format!("  {}:\n    url: {}\n", quoted(name), quoted(&store.url)));
            if !store.options.is_empty() {
                text.push_str("    options:\n");
            } else if !store.wanted.is_empty() {
                text.push_str("    # options:\n");
            }
            for (key, value) in &store.options {
                text.push_str(&format!("      {key}: {}\n", quoted(value)));
            }
            for (key, value) in &store.wanted {
                text.push_str(&format!("      # {key}: {}\n", quoted(value)));
            }
        }
        text
    }
}

/// A part of a path as a part of a URL.
fn escaped(part: &str) -> String {
    let is_plain = |b: u8| b.is_ascii_alphanumeric() || b"-_.~@+,=".contains(&b);
    part.bytes().map(|b| if is_plain(b) { char::from(b).to_string() } else { format!("%{b:02X}") }).collect()
}
