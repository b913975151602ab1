//! A store's raw pages → pages of entries, none twice.
//!
//! Keys come in the order of their bytes, so `a` comes before the prefix `a/`, with any number of keys (`a!`, `a.txt`)
//! between them, perhaps pages of them. Whether `a` shows as a file or as the directory is open until the listing has gone
//! past `a/`. An object is held back that long. Those that are open at the end of a page are the beginnings of its last name,
//! so there are fewer than 255; they travel in the token.

use std::collections::{HashMap, HashSet};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

use super::{ListRequest, ListedTime, ObjectBacked, RawObject, RawPage, kept_times};
use crate::stores::{Entry, Key, Kind, Page, PageToken, Stat, StoreError, StoreErrorKind, StoreResult};

/// The most keys of one page: what S3 gives.
const PAGE: usize = 1_000;

/// What a token holds.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Place {
    /// The store's own place.
    raw: String,
    /// Objects held back.
    held: Vec<Held>,
}

/// An object of which it is not known yet whether a directory has the same name.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Held {
    name: String,
    /// It stands for a directory.
    #[serde(default)]
    folder: bool,
    size: u64,
    /// The kept time where it was listed, else the store's.
    time: Option<Time>,
    /// Whether the store lists kept times.
    #[serde(default)]
    time_listed: bool,
    etag: Option<String>,
}

/// A time as it travels in a token: its distance from 1970.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Time {
    #[serde(default)]
    before: bool,
    seconds: u64,
    nanos: u32,
}

/// One page of a directory.
pub(super) async fn page(store: &ObjectBacked, key: &Key, from: Option<PageToken>) -> StoreResult<Page> {
    let place = from.map(|token| serde_json::from_str::<Place>(&token.0)).transpose().map_err(|error| {
        StoreError::with_source(StoreErrorKind::Other, "the place in the listing is not one of this store", error)
    })?;
    let (raw, held) = match place {
        Some(place) => (Some(place.raw), place.held),
        None => (None, Vec::new()),
    };
    let prefix = store.full_prefix(key);
    let request = ListRequest { prefix: &prefix, delimited: true, from: raw.as_deref(), most: PAGE };
    let raw = store.extras.list(request).await?;
    // The directory's own marker stands among what lies in it.
    let marker = raw.objects.iter().find(|object| object.key == prefix).cloned();
    let Shaped { mut page, unknown, both } = shape(key, &prefix, raw, held);
    both.iter().for_each(|name| store.both.add(&format!("{prefix}{name}")));
    let is_unknown = |entry: &&mut Entry| match entry.stat.kind {
        Kind::File => unknown.contains(&entry.name),
        Kind::Directory => entry.stat.mtime.is_none(),
    };
    let unknown = page.entries.iter_mut().filter(is_unknown).collect();
    page.is_marked = marker.is_some();
    page.changed = marker.and_then(|marker| kept_times::known_of_marker(store, &marker));
    kept_times::fill(store, key, unknown).await?;
    Ok(page)
}

/// The directories in a directory, if one page shows all of it.
pub(super) async fn directories(store: &ObjectBacked, key: &Key) -> StoreResult<Option<Vec<String>>> {
    let prefix = store.full_prefix(key);
    let request = ListRequest { prefix: &prefix, delimited: true, from: None, most: PAGE };
    let raw = store.extras.list(request).await?;
    if raw.next.is_some() {
        return Ok(None);
    }
    let markers = raw.objects.iter().filter(|object| object.is_marker()).map(|object| &object.key);
    let names = raw.prefixes.iter().chain(markers).filter_map(|key| key.strip_suffix('/')?.strip_prefix(&prefix));
    Ok(Some(names.map(str::to_owned).collect()))
}

/// What a raw page is turned into.
struct Shaped {
    page: Page,
    /// The names of the files whose kept time the store does not list.
    unknown: HashSet<String>,
    /// The names of the directories beside which an object has the same name.
    both: Vec<String>,
}

/// Turns a raw page into entries. `held` came from the page before.
fn shape(directory: &Key, prefix: &str, raw: RawPage, held: Vec<Held>) -> Shaped {
    let mut page = Page { skipped: raw.skipped, ..Page::default() };
    // A marker that stands under the directory's own name (Azure) comes as the name with a slash.
    let last_object = raw.objects.last().map(|object| object.key.trim_end_matches('/'));
    let last = last_object.max(raw.prefixes.last().map(String::as_str)).and_then(|key| key.strip_prefix(prefix));
    let last = last.unwrap_or_default().to_owned();

    let mut directories: Vec<&str> = Vec::with_capacity(raw.prefixes.len());
    for key in &raw.prefixes {
        match shown(directory, prefix, key.strip_suffix('/').unwrap_or(key)) {
            Some(name) => directories.push(name),
            None => page.skipped.add(key.as_bytes()),
        }
    }
    directories.sort_unstable();

    let mut still_held = Vec::new();
    let (mut unknown, mut both) = (HashSet::new(), Vec::new());
    // What the markers of directories tell that show beside their prefixes.
    let mut times = HashMap::new();
    let new = raw.objects.into_iter().filter(|object| object.key != prefix).filter_map(|object| {
        match shown(directory, prefix, object.key.strip_suffix('/').unwrap_or(&object.key)) {
            Some(name) => Some(Held::new(name.to_owned(), &object)),
            None => {
                page.skipped.add(object.key.as_bytes());
                None
            }
        }
    });
    for object in held.into_iter().chain(new.collect::<Vec<_>>()) {
        if directories.binary_search(&object.name.as_str()).is_ok() {
            match object.folder {
                true if object.time_listed => drop(times.insert(object.name, object.time)),
                true => {}
                false => both.push(object.name),
            }
            continue;
        }
        // An empty page says nothing about how far the listing is.
        let before = last.is_empty() || (last.starts_with(&object.name) && last < format!("{}/", object.name));
        let open = raw.next.is_some() && before;
        if open {
            still_held.push(object);
            continue;
        }
        if !object.folder && !object.time_listed {
            unknown.insert(object.name.clone());
        }
        page.entries.push(object.into());
    }
    let directory = |name: &str| {
        let mtime = times.get(name).and_then(|time| time.as_ref()?.get());
        Entry { name: name.to_owned(), stat: Stat { kind: Kind::Directory, size: 0, mtime, etag: None } }
    };
    page.entries.extend(directories.into_iter().map(directory));
    page.next = raw.next.and_then(|raw| {
        // Serialising strings and numbers cannot fail.
        serde_json::to_string(&Place { raw, held: still_held }).ok().map(PageToken)
    });
    Shaped { page, unknown, both }
}

/// The name of a key in the directory, if a client could name it.
fn shown<'k>(directory: &Key, prefix: &str, key: &'k str) -> Option<&'k str> {
    let name = key.strip_prefix(prefix)?;
    (!name.is_empty() && !name.contains('/') && directory.join(name).is_ok()).then_some(name)
}

/// Whether a key lies below a name that no listing of the directory shows.
pub(super) fn is_hidden(directory: &Key, prefix: &str, key: &str) -> bool {
    let name = key.strip_prefix(prefix).and_then(|rest| rest.split('/').next()).unwrap_or_default();
    name.is_empty() || directory.join(name).is_err()
}

impl Held {
    fn new(name: String, object: &RawObject) -> Self {
        let (kept, time_listed) = match object.kept {
            ListedTime::Listed(kept) => (kept, true),
            ListedTime::NotListed => (None, false),
        };
        let time = kept.or(object.modified).map(Time::from);
        let folder = object.key.ends_with('/');
        Held { name, folder, size: object.size, time, time_listed, etag: object.etag.clone() }
    }
}

impl From<SystemTime> for Time {
    fn from(time: SystemTime) -> Self {
        match time.duration_since(UNIX_EPOCH) {
            Ok(after) => Time { before: false, seconds: after.as_secs(), nanos: after.subsec_nanos() },
            Err(error) => {
                let before = error.duration();
                Time { before: true, seconds: before.as_secs(), nanos: before.subsec_nanos() }
            }
        }
    }
}

impl Time {
    fn get(&self) -> Option<SystemTime> {
        let distance = Duration::from_secs(self.seconds).checked_add(Duration::from_nanos(self.nanos.into()))?;
        if self.before { UNIX_EPOCH.checked_sub(distance) } else { UNIX_EPOCH.checked_add(distance) }
    }
}

impl From<Held> for Entry {
    fn from(held: Held) -> Self {
        let mtime = held.time.and_then(|time| time.get());
        let kind = if held.folder { Kind::Directory } else { Kind::File };
        Entry { name: held.name, stat: Stat { kind, size: held.size, mtime, etag: held.etag } }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use super::*;

    fn raw(objects: &[&str], prefixes: &[&str], next: Option<&str>) -> RawPage {
        let object = |key: &&str| RawObject { key: (*key).to_owned(), size: 1, ..RawObject::default() };
        RawPage {
            objects: objects.iter().map(object).collect(),
            prefixes: prefixes.iter().map(|p| (*p).to_owned()).collect(),
            next: next.map(str::to_owned),
            ..RawPage::default()
        }
    }

    /// Names over all pages, directories with a slash.
    fn walk(pages: Vec<RawPage>) -> Vec<String> {
        let mut held = Vec::new();
        let mut names = Vec::new();
        for page in pages {
            let Shaped { page, .. } = shape(&Key::parse("d").unwrap(), "d/", page, std::mem::take(&mut held));
            for entry in page.entries {
                let slash = if entry.stat.kind == Kind::Directory { "/" } else { "" };
                names.push(format!("{}{slash}", entry.name));
            }
            if let Some(PageToken(text)) = page.next {
                held = serde_json::from_str::<Place>(&text).unwrap().held;
                assert!(held.len() < 255);
            }
        }
        names.sort();
        names
    }

    #[test]
    fn a_name_that_is_file_and_directory_shows_once_even_pages_apart() {
        let pages = vec![
            raw(&["d/", "d/a", "d/a!"], &[], Some("1")),
            raw(&["d/a!b", "d/a!c"], &[], Some("2")),
            raw(&["d/a-", "d/b"], &["d/a/"], Some("3")),
            raw(&["d/c"], &["d/b/"], None),
        ];
        assert_eq!(walk(pages), ["a!", "a!b", "a!c", "a-", "a/", "b/", "c"]);
    }

    #[test]
    fn a_file_that_was_held_back_is_not_lost() {
        assert_eq!(walk(vec![raw(&["d/a"], &[], Some("1")), raw(&["d/a!"], &[], None)]), ["a", "a!"]);
        assert_eq!(walk(vec![raw(&["d/a"], &[], Some("1")), raw(&[], &[], None)]), ["a"]);
        assert_eq!(
            walk(vec![raw(&["d/a"], &[], Some("1")), raw(&["d/b"], &[], Some("2")), raw(&[], &[], None)]),
            ["a", "b"]
        );
    }

    #[test]
    fn a_marker_under_the_directorys_own_name_shows_once() {
        let pages = vec![
            raw(&["d/a/"], &[], Some("1")),
            raw(&["d/a!"], &[], Some("2")),
            raw(&["d/empty/"], &["d/a/"], Some("3")),
            raw(&["d/f"], &[], None),
        ];
        assert_eq!(walk(pages), ["a!", "a/", "empty/", "f"]);
    }

    #[test]
    fn odd_keys_are_counted_and_the_own_marker_is_not_an_entry() {
        let Shaped { page, .. } =
            shape(&Key::root(), "", raw(&["a\u{1}", "ok"], &["/", "../", "b/"], None), Vec::new());
        let names: Vec<_> = page.entries.iter().map(|e| e.name.as_str()).collect();
        assert_eq!(names, ["ok", "b"]);
        assert_eq!(page.skipped.count, 3);
        assert_eq!(page.skipped.first.as_deref(), Some("/"));
        let Shaped { page, .. } = shape(&Key::parse("d").unwrap(), "d/", raw(&["d/"], &[], None), Vec::new());
        assert!(page.entries.is_empty() && page.skipped.count == 0);
    }
}
