//! Listings: sizes, pages, names that look alike.

use std::collections::HashSet;

use futures_util::{StreamExt, stream};
use lockgate::internals::stores::{Kind, StoreErrorKind};

use crate::fixture::{Fixture, key, names, pages, put};

pub async fn an_empty_directory_lists_nothing(fixture: Fixture) {
    let store = &*fixture.store;
    store.make_directory(&key("d")).await.unwrap();
    let page = store.list(&key("d"), None).await.unwrap();
    assert!(page.entries.is_empty() && page.next.is_none() && page.skipped.count == 0);
    match store.list(&key("missing"), None).await {
        Ok(page) => assert!(page.entries.is_empty() && fixture.has_parts()),
        Err(error) => assert!(error.kind == StoreErrorKind::NotFound && !fixture.has_parts(), "{error}"),
    }
}

pub async fn the_first_page_tells_the_directorys_own_time(fixture: Fixture) {
    let store = &*fixture.store;
    store.make_directory(&key("d")).await.unwrap();
    put(store, "d/f", "x").await;
    let (page, stat) = (store.list(&key("d"), None).await.unwrap(), store.stat(&key("d")).await.unwrap());
    // Not every store lists a marker beside what lies in its directory; folders have their time always.
    let fits = if fixture.has_parts() {
        page.changed.is_none_or(|time| Some(time) == stat.mtime)
    } else {
        page.changed == stat.mtime
    };
    assert!(fits && (stat.mtime.is_some() || fixture.has_parts()), "{:?} {stat:?}", page.changed);
    assert_eq!(page.entries.len(), 1);
}

pub async fn names_and_sizes_are_listed(fixture: Fixture) {
    let store = &*fixture.store;
    put(store, "d/small", "x").await;
    put(store, "d/large", &"x".repeat(100_000)).await;
    put(store, "d/sub/deep", "x").await;
    let entries: Vec<_> = pages(store, &key("d")).await.into_iter().flat_map(|page| page.entries).collect();
    assert_eq!(entries.len(), 3);
    for entry in entries {
        let wanted = match entry.name.as_str() {
            "small" => (Kind::File, 1),
            "large" => (Kind::File, 100_000),
            "sub" => (Kind::Directory, 0),
            other => panic!("{other}"),
        };
        assert_eq!((entry.stat.kind, entry.stat.size), wanted, "{}", entry.name);
        assert!(entry.stat.kind == Kind::Directory || entry.stat.mtime.is_some());
    }
}

pub async fn pages_lose_and_repeat_nothing(fixture: Fixture) {
    const FILES: usize = 2_345;
    let store = &*fixture.store;
    stream::iter(0..FILES)
        .for_each_concurrent(32, |n| async move { put(store, &format!("many/{n:05}"), "").await })
        .await;
    stream::iter(0..60).for_each_concurrent(16, |n| async move { put(store, &format!("many/d{n}/f"), "").await }).await;
    let pages = pages(store, &key("many")).await;
    assert!(pages.len() >= 3, "{} pages", pages.len());
    let mut seen = HashSet::new();
    for page in &pages {
        assert!(page.entries.len() <= 1_100, "{} entries in a page", page.entries.len());
        for entry in &page.entries {
            assert!(seen.insert(entry.name.clone()), "{} twice", entry.name);
        }
    }
    assert_eq!(seen.len(), FILES + 60);
    assert!(seen.contains("00000") && seen.contains("02344") && seen.contains("d59"));
}

pub async fn names_that_share_a_beginning_are_told_apart(fixture: Fixture) {
    let store = &*fixture.store;
    for name in ["ab", "ab-c", "ab.d/f", "ab0", "abc/f"] {
        put(store, name, "x").await;
    }
    assert_eq!(names(store, "").await, ["ab", "ab-c", "ab.d/", "ab0", "abc/"]);
    assert_eq!(store.stat(&key("ab")).await.unwrap().kind, Kind::File);
    assert_eq!(store.stat(&key("abc")).await.unwrap().kind, Kind::Directory);
}
