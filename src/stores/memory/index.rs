//! The names of a memory store in their order, with what a listing shows of each: a look at a directory is a look at the first name
//! behind its own, and a page of a listing costs what it shows, however much there is.

use std::collections::BTreeMap;
use std::collections::btree_map::Range;
use std::ops::Bound;
use std::sync::Arc;
use std::time::SystemTime;

use super::space::Taken;
use crate::stores::object::{ListRequest, ListedTime, RawObject, RawPage};

/// All names, by their whole keys; those of markers end with a slash.
#[derive(Debug, Default)]
pub(super) struct Index(BTreeMap<String, Item>);

/// What has a name.
#[derive(Debug)]
pub(super) enum Item {
    /// An object.
    Object(Listed),
    /// The marker of a directory.
    Marker {
        /// The time that a client set.
        kept: Option<SystemTime>,
        /// Its room.
        _taken: Taken,
    },
}

/// An object as listings show it.
#[derive(Debug)]
pub(super) struct Listed {
    /// Its length in bytes.
    pub(super) size: u64,
    /// When it was put.
    pub(super) modified: SystemTime,
    /// The time that a client set.
    pub(super) kept: Option<SystemTime>,
    /// Its entity tag, without quotes.
    pub(super) etag: Option<String>,
    /// The room of its bytes, which copies share as they share the bytes.
    pub(super) bytes: Arc<Taken>,
    /// The room of a copy's name.
    pub(super) own: Option<Taken>,
}

impl Index {
    /// What has this name.
    pub(super) fn get(&self, key: &str) -> Option<&Item> {
        self.0.get(key)
    }

    /// The same, to change it.
    pub(super) fn get_mut(&mut self, key: &str) -> Option<&mut Item> {
        self.0.get_mut(key)
    }

    /// Gives a name to something; what had it before is gone.
    pub(super) fn set(&mut self, key: &str, item: Item) {
        self.0.insert(key.to_owned(), item);
    }

    /// Takes away what has the name.
    pub(super) fn take(&mut self, key: &str) -> Option<Item> {
        self.0.remove(key)
    }

    /// One page of the names that begin with a prefix.
    pub(super) fn page(&self, request: &ListRequest<'_>) -> RawPage {
        let ListRequest { prefix, delimited, from, most } = *request;
        let mut page = RawPage::default();
        let mut shown = 0;
        let mut rest = self.from(from.unwrap_or(prefix));
        while let Some((key, item)) = rest.next().filter(|(key, _)| key.starts_with(prefix)) {
            if shown >= most {
                page.next = Some(key.clone());
                break;
            }
            shown += 1;
            let slash = if delimited { key[prefix.len()..].find('/') } else { None };
            let Some(slash) = slash else {
                page.objects.push(item.show(key));
                continue;
            };
            let directory = &key[..=prefix.len() + slash];
            // A marker right below the prefix shows its time beside the directory that it is.
            if key == directory {
                page.objects.push(item.show(key));
            }
            page.prefixes.push(directory.to_owned());
            rest = self.from(&behind(directory));
        }
        page
    }

    fn from(&self, key: &str) -> Range<'_, String, Item> {
        self.0.range::<str, _>((Bound::Included(key), Bound::Unbounded))
    }
}

/// The first name behind all that lies in a directory: `0` follows the slash.
fn behind(directory: &str) -> String {
    format!("{}0", directory.strip_suffix('/').unwrap_or(directory))
}

impl Item {
    fn show(&self, key: &str) -> RawObject {
        let key = key.to_owned();
        match self {
            Item::Object(Listed { size, modified, kept, etag, .. }) => RawObject {
                key,
                size: *size,
                modified: Some(*modified),
                kept: ListedTime::Listed(*kept),
                etag: etag.clone(),
                number: None,
            },
            Item::Marker { kept, .. } => RawObject { key, kept: ListedTime::Listed(*kept), ..RawObject::default() },
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::super::space::Space;
    use super::*;

    fn index(keys: &[&str]) -> Index {
        let space = Space::new(u64::MAX);
        let mut index = Index::default();
        for key in keys {
            let taken = space.take(1).unwrap();
            let object = || Listed {
                size: 1,
                modified: SystemTime::UNIX_EPOCH,
                kept: None,
                etag: None,
                bytes: Arc::new(space.take(1).unwrap()),
                own: None,
            };
            let item =
                if key.ends_with('/') { Item::Marker { kept: None, _taken: taken } } else { Item::Object(object()) };
            index.set(key, item);
        }
        index
    }

    /// All pages, each as its objects and its prefixes.
    fn pages(index: &Index, prefix: &str, delimited: bool, most: usize) -> Vec<(Vec<String>, Vec<String>)> {
        let mut pages = Vec::new();
        let mut from = None;
        loop {
            let page = index.page(&ListRequest { prefix, delimited, from: from.as_deref(), most });
            pages.push((page.objects.into_iter().map(|object| object.key).collect(), page.prefixes));
            match page.next {
                Some(next) => from = Some(next),
                None => return pages,
            }
        }
    }

    fn page(objects: &[&str], prefixes: &[&str]) -> (Vec<String>, Vec<String>) {
        let owned = |keys: &[&str]| keys.iter().map(|key| (*key).to_owned()).collect();
        (owned(objects), owned(prefixes))
    }

    const KEYS: [&str; 8] = ["a", "a!", "a/", "a/1", "a/2", "a0", "b/c/d", "c"];

    #[test]
    fn directories_are_rolled_up_and_none_shows_twice() {
        let index = index(&KEYS);
        assert_eq!(pages(&index, "", true, 100), [page(&["a", "a!", "a/", "a0", "c"], &["a/", "b/"])]);
        let small = [page(&["a", "a!"], &[]), page(&["a/", "a0"], &["a/"]), page(&["c"], &["b/"])];
        assert_eq!(pages(&index, "", true, 2), small);
        assert_eq!(pages(&index, "a/", true, 100), [page(&["a/", "a/1", "a/2"], &[])]);
        assert_eq!(pages(&index, "b/", true, 100), [page(&[], &["b/c/"])]);
    }

    #[test]
    fn a_look_at_a_directory_is_its_first_name() {
        let index = index(&KEYS);
        assert_eq!(pages(&index, "b/", false, 1), [page(&["b/c/d"], &[])]);
        assert_eq!(pages(&index, "a0/", false, 1), [page(&[], &[])]);
        assert_eq!(pages(&index, "", false, 100), [page(&KEYS, &[])]);
    }

    #[test]
    fn a_page_that_ends_with_the_last_name_is_the_last() {
        let index = index(&KEYS);
        assert_eq!(pages(&index, "a/", false, 3).len(), 1);
        assert_eq!(pages(&index, "a/", false, 2).len(), 2);
    }

    /// What comes and goes between two pages neither repeats nor hides anything else.
    #[test]
    fn a_listing_goes_on_where_it_was() {
        let mut index = index(&KEYS);
        let first = index.page(&ListRequest { prefix: "", delimited: true, from: None, most: 3 });
        let from = first.next.unwrap();
        index.take("a0");
        index.take("a/1");
        let second = index.page(&ListRequest { prefix: "", delimited: true, from: Some(&from), most: 3 });
        assert_eq!(second.prefixes, ["b/"]);
        assert_eq!(second.objects.iter().map(|object| &object.key[..]).collect::<Vec<_>>(), ["c"]);
    }
}
