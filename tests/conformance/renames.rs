//! Renames of files and directories.

use futures_util::{StreamExt, stream};
use lockgate::internals::stores::{Existing, Kind, StoreErrorKind};

use crate::fixture::{Fixture, exists, get, key, names, put};

pub async fn a_file_is_renamed(fixture: Fixture) {
    let store = &*fixture.store;
    put(store, "d/old", "content").await;
    store.rename(&key("d/old"), &key("e/new"), Existing::Refuse, None).await.unwrap();
    assert!(!exists(store, "d/old").await);
    assert_eq!(get(store, "e/new").await, "content");
    put(store, "other", "other").await;
    store.rename(&key("other"), &key("e/new"), Existing::Replace, None).await.unwrap();
    assert_eq!(get(store, "e/new").await, "other");
    assert!(!exists(store, "other").await);
}

pub async fn a_rename_may_refuse(fixture: Fixture) {
    let store = &*fixture.store;
    put(store, "a", "a").await;
    put(store, "b", "b").await;
    let error = store.rename(&key("a"), &key("b"), Existing::Refuse, None).await.unwrap_err();
    assert_eq!(error.kind, StoreErrorKind::AlreadyExists, "{error}");
    assert_eq!((get(store, "a").await, get(store, "b").await), ("a".into(), "b".into()));
    store.rename(&key("a"), &key("a"), Existing::Replace, None).await.unwrap();
    assert_eq!(get(store, "a").await, "a");
}

pub async fn a_missing_source_is_not_found(fixture: Fixture) {
    let store = &*fixture.store;
    put(store, "target", "kept").await;
    for existing in [Existing::Refuse, Existing::Replace] {
        let error = store.rename(&key("missing"), &key("new/name"), existing, None).await.unwrap_err();
        assert_eq!(error.kind, StoreErrorKind::NotFound, "{error}");
    }
    let error = store.rename(&key("missing"), &key("target"), Existing::Replace, None).await.unwrap_err();
    assert_eq!(error.kind, StoreErrorKind::NotFound, "{error}");
    assert_eq!(get(store, "target").await, "kept");
    assert!(!exists(store, "new").await);
    let error = store.rename_directory(&key("missing"), &key("new")).await.unwrap_err();
    assert_eq!(error.kind, StoreErrorKind::NotFound, "{error}");
}

pub async fn a_directory_is_renamed_whole(fixture: Fixture) {
    let store = &*fixture.store;
    store.make_directory(&key("old")).await.unwrap();
    store.make_directory(&key("old/empty")).await.unwrap();
    put(store, "old/f", "f").await;
    put(store, "old/deep/er/g", "g").await;
    put(store, "old2/stays", "s").await;
    store.rename_directory(&key("old"), &key("place/new")).await.unwrap();
    assert!(!exists(store, "old").await);
    assert_eq!(names(store, "place/new").await, ["deep/", "empty/", "f"]);
    assert_eq!(store.stat(&key("place/new/empty")).await.unwrap().kind, Kind::Directory);
    assert_eq!(get(store, "place/new/deep/er/g").await, "g");
    assert_eq!(get(store, "old2/stays").await, "s");
    // An empty directory is renamed as well.
    store.rename_directory(&key("place/new/empty"), &key("alone")).await.unwrap();
    assert_eq!(store.stat(&key("alone")).await.unwrap().kind, Kind::Directory);
    assert!(!exists(store, "place/new/empty").await);
}

pub async fn a_large_directory_is_renamed(fixture: Fixture) {
    let store = &*fixture.store;
    let files = 0..1_234;
    stream::iter(files).for_each_concurrent(32, |n| async move { put(store, &format!("old/{n}"), "x").await }).await;
    store.rename_directory(&key("old"), &key("new")).await.unwrap();
    assert!(!exists(store, "old").await);
    assert_eq!(names(store, "new").await.len(), 1_234);
}

pub async fn a_directory_is_not_renamed_into_itself(fixture: Fixture) {
    let store = &*fixture.store;
    put(store, "d/f", "f").await;
    assert!(store.rename_directory(&key("d"), &key("d/inner")).await.is_err());
    assert_eq!(names(store, "d").await, ["f"]);
}
