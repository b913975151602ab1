//! Copies of whole objects on the store's side.

use std::time::SystemTime;

use lockgate::internals::stores::{Existing, PutOptions, Store, StoreErrorKind};

use crate::fixture::{Fixture, REFUSE, REPLACE, a_time, exists, get, key, put};

async fn version(store: &dyn Store, name: &str) -> String {
    store.open(&key(name)).await.unwrap().version().expect("a version").to_owned()
}

/// The store writes files itself: then it has nothing to copy with, and says so.
async fn cannot_copy(store: &dyn Store) -> bool {
    if store.copies() {
        return false;
    }
    put(store, "from", "content").await;
    let error = store.copy(&key("from"), "any", &key("to"), &REPLACE).await.unwrap_err();
    assert_eq!(error.kind, StoreErrorKind::Unsupported, "{error}");
    assert!(!exists(store, "to").await);
    true
}

pub async fn an_object_is_copied_with_a_time_of_its_own(fixture: Fixture) {
    let store = &*fixture.store;
    if cannot_copy(store).await {
        return;
    }
    let long_ago = PutOptions { mtime: Some(SystemTime::UNIX_EPOCH), ..REPLACE };
    store.put(&key("d/from"), vec!["content".into()], &long_ago).await.unwrap();
    let version = version(store, "d/from").await;
    let before = SystemTime::now();
    let written = store.copy(&key("d/from"), &version, &key("e/to"), &REPLACE).await.unwrap();
    assert!(!written.mtime_kept);
    assert_eq!((get(store, "d/from").await.as_str(), get(store, "e/to").await.as_str()), ("content", "content"));
    let made = store.stat(&key("e/to")).await.unwrap().mtime.unwrap();
    assert!(made.duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs() + 2 > seconds(before), "{made:?}");
    if let Some(etag) = &written.etag {
        assert_eq!(store.stat(&key("e/to")).await.unwrap().etag.as_ref(), Some(etag));
    }

    let timed = PutOptions { mtime: Some(a_time()), ..REPLACE };
    let written = store.copy(&key("d/from"), &version, &key("e/to"), &timed).await.unwrap();
    assert!(written.mtime_kept);
    assert_eq!(store.stat(&key("e/to")).await.unwrap().mtime, fixture.kept(a_time()));
    assert_eq!(store.stat(&key("d/from")).await.unwrap().mtime, Some(SystemTime::UNIX_EPOCH));
}

pub async fn a_copy_may_refuse(fixture: Fixture) {
    let store = &*fixture.store;
    if cannot_copy(store).await {
        return;
    }
    put(store, "from", "content").await;
    put(store, "taken", "kept").await;
    let version = version(store, "from").await;
    let error = store.copy(&key("from"), &version, &key("taken"), &REFUSE).await.unwrap_err();
    assert_eq!(error.kind, StoreErrorKind::AlreadyExists, "{error}");
    assert_eq!(get(store, "taken").await, "kept");
    store.copy(&key("from"), &version, &key("free"), &REFUSE).await.unwrap();
    store.copy(&key("from"), &version, &key("taken"), &REPLACE).await.unwrap();
    assert_eq!((get(store, "free").await, get(store, "taken").await), ("content".into(), "content".into()));
}

pub async fn only_the_wanted_version_is_copied(fixture: Fixture) {
    let store = &*fixture.store;
    if cannot_copy(store).await {
        return;
    }
    put(store, "from", "content").await;
    put(store, "to", "kept").await;
    let version = version(store, "from").await;
    put(store, "from", "another").await;
    for existing in [Existing::Replace, Existing::Refuse] {
        let options = PutOptions { existing, ..REPLACE };
        let free = if existing == Existing::Refuse { "free" } else { "to" };
        let error = store.copy(&key("from"), &version, &key(free), &options).await.unwrap_err();
        assert_eq!(error.kind, StoreErrorKind::Changed, "{error}");
    }
    assert_eq!((get(store, "to").await.as_str(), exists(store, "free").await), ("kept", false));
    store.delete(&key("from")).await.unwrap();
    let error = store.copy(&key("from"), &version, &key("to"), &REPLACE).await.unwrap_err();
    assert!(matches!(error.kind, StoreErrorKind::Changed | StoreErrorKind::NotFound), "{error}");
    assert_eq!(get(store, "to").await, "kept");
}

fn seconds(time: SystemTime) -> u64 {
    time.duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs()
}
