//! What is deleted, and what is replaced, is the version that was looked at.

use std::sync::Arc;

use bytes::Bytes;
use lockgate::internals::stores::{Object, PutOptions, Store, StoreErrorKind, StoreResult, Upload};

use crate::fixture::{Fixture, REPLACE, a_time, abort, complete, exists, get, key, put, send};

/// The present version, which stays open: its number is not given to another file meanwhile.
struct Version(Arc<dyn Object>);

async fn version(store: &dyn Store, name: &str) -> Version {
    Version(store.open(&key(name)).await.unwrap())
}

impl std::ops::Deref for Version {
    type Target = str;

    fn deref(&self) -> &str {
        self.0.version().expect("a version")
    }
}

fn based_on(version: &str) -> PutOptions {
    PutOptions { based_on: Some(version.to_owned()), ..REPLACE }
}

#[track_caller]
fn assert_changed<T: std::fmt::Debug>(result: StoreResult<T>) {
    let error = result.unwrap_err();
    assert_eq!(error.kind, StoreErrorKind::Changed, "{error}");
}

pub async fn only_the_wanted_version_is_deleted(fixture: Fixture) {
    let store = &*fixture.store;
    put(store, "d/f", "first").await;
    let first = version(store, "d/f").await;
    put(store, "d/f", "other").await;
    assert_changed(store.delete_version(&key("d/f"), &first).await);
    assert_eq!(get(store, "d/f").await, "other");
    let other = version(store, "d/f").await;
    store.delete_version(&key("d/f"), &other).await.unwrap();
    assert!(!exists(store, "d/f").await);
    store.delete_version(&key("d/f"), &other).await.unwrap();
    store.delete_version(&key("e/never"), &other).await.unwrap();
}

pub async fn what_is_made_from_a_version_replaces_that_and_no_other(fixture: Fixture) {
    let store = &*fixture.store;
    let content = || vec![Bytes::from_static(b"changed")];
    put(store, "f", "first").await;
    let first = version(store, "f").await;
    store.put(&key("f"), content(), &based_on(&first)).await.unwrap();
    assert_eq!(get(store, "f").await, "changed");
    assert_changed(store.put(&key("f"), content(), &based_on(&first)).await);
    put(store, "f", "other").await;
    assert_changed(store.put(&key("f"), content(), &based_on(&first)).await);
    assert_eq!(get(store, "f").await, "other");
    store.delete(&key("f")).await.unwrap();
    assert_changed(store.put(&key("f"), content(), &based_on(&first)).await);
    assert!(!exists(store, "f").await);
}

/// An upload that turns out, while it runs, to be made from a version.
async fn upload(store: &dyn Store, from: &str) -> Upload {
    let mut upload = store.begin_upload(&key("f"), &REPLACE).await.unwrap();
    send(&mut upload, &[Bytes::from_static(b"changed")]).await;
    match &mut upload {
        Upload::Parts(parts) => parts.base_on(from),
        Upload::File(file) => file.base_on(from),
    }
    upload
}

pub async fn an_upload_made_from_a_version_replaces_that_and_no_other(fixture: Fixture) {
    let store = &*fixture.store;
    put(store, "f", "first").await;
    let first = version(store, "f").await;
    complete(&mut upload(store, &first).await).await.unwrap();
    assert_eq!(get(store, "f").await, "changed");
    let second = version(store, "f").await;
    let mut late = upload(store, &second).await;
    put(store, "f", "other").await;
    assert_changed(complete(&mut late).await);
    abort(&mut late).await;
    assert_eq!(get(store, "f").await, "other");
    let other = version(store, "f").await;
    let mut late = upload(store, &other).await;
    store.delete(&key("f")).await.unwrap();
    assert_changed(complete(&mut late).await);
    abort(&mut late).await;
    assert!(!exists(store, "f").await);
}

/// Only where a time is kept beside the content.
#[tokio::test]
async fn who_sets_the_time_of_a_local_file_does_not_replace_it() {
    let fixture = Fixture::local();
    let store = &*fixture.store;
    put(store, "f", "first").await;
    let first = version(store, "f").await;
    assert!(store.set_mtime(&key("f"), a_time(), None).await.unwrap().is_some());
    store.put(&key("f"), vec![Bytes::from_static(b"changed")], &based_on(&first)).await.unwrap();
    // Another program that writes into the file does, though its name and length stay.
    let changed = version(store, "f").await;
    std::thread::sleep(std::time::Duration::from_millis(20));
    std::fs::write(fixture.folder.as_ref().unwrap().path().join("f"), "CHANGED").unwrap();
    assert_changed(store.put(&key("f"), vec![Bytes::from_static(b"x")], &based_on(&changed)).await);
    assert_changed(store.delete_version(&key("f"), &changed).await);
    assert_eq!(get(store, "f").await, "CHANGED");
}
