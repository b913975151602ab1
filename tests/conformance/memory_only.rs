//! What a file-backed S3 server cannot hold, and memory can: a file beside a directory of its name.

use std::collections::HashSet;

use lockgate::internals::stores::Kind;

use crate::fixture::{Fixture, exists, get, key, names, pages, put};

#[tokio::test]
async fn a_file_beside_a_directory_of_its_name_shows_as_the_directory() {
    let fixture = Fixture::memory();
    let store = &*fixture.store;
    put(store, "d/a", "file").await;
    put(store, "d/a/inner", "x").await;
    assert_eq!(names(store, "d").await, ["a/"]);
    assert_eq!(store.stat(&key("d/a")).await.unwrap().kind, Kind::Directory);
    assert_eq!(get(store, "d/a/inner").await, "x");
}

#[tokio::test]
async fn a_file_and_a_directory_of_its_name_pages_apart_show_once() {
    let fixture = Fixture::memory();
    let store = &*fixture.store;
    put(store, "d/a", "file").await;
    put(store, "d/a!", "file").await;
    put(store, "d/a!/x", "x").await;
    for n in 0..2_500 {
        put(store, &format!("d/a!{n:04}"), "").await;
    }
    put(store, "d/a/inner", "x").await;
    let pages = pages(store, &key("d")).await;
    assert!(pages.len() >= 3);
    let mut seen = HashSet::new();
    for entry in pages.into_iter().flat_map(|page| page.entries) {
        assert!(seen.insert(entry.name.clone()), "{} twice", entry.name);
        assert_eq!(entry.stat.kind == Kind::Directory, entry.name == "a" || entry.name == "a!", "{}", entry.name);
    }
    assert_eq!(seen.len(), 2_502);
}

#[tokio::test]
async fn the_url_may_hold_a_prefix() {
    let store = crate::fixture::open_url("memory:///a%20b/c", &[]);
    assert_eq!(store.event_path(&key("f")), "/under-test/a b/c/f");
    put(&*store, "f", "x").await;
    assert!(exists(&*store, "f").await);
    assert_eq!(names(&*store, "").await, ["f"]);
}
