//! Directories: made, empty, removed, and those that come with files.

use lockgate::internals::stores::{Key, Kind, StoreErrorKind};

use crate::fixture::{Fixture, a_time, exists, key, names, pages, put};

pub async fn a_made_directory_lasts_while_empty(fixture: Fixture) {
    let store = &*fixture.store;
    store.make_directory(&key("d")).await.unwrap();
    store.make_directory(&key("d/e")).await.unwrap();
    assert_eq!(store.stat(&key("d/e")).await.unwrap().kind, Kind::Directory);
    assert_eq!(names(store, "").await, ["d/"]);
    assert_eq!(names(store, "d").await, ["e/"]);
    assert!(names(store, "d/e").await.is_empty());
    put(store, "d/e/f", "x").await;
    assert_eq!(names(store, "d/e").await, ["f"]);
    store.delete(&key("d/e/f")).await.unwrap();
    assert_eq!(store.stat(&key("d/e")).await.unwrap().kind, Kind::Directory);
    store.remove_directory(&key("d/e")).await.unwrap();
    assert!(!exists(store, "d/e").await);
    assert!(exists(store, "d").await);
    store.remove_directory(&key("d")).await.unwrap();
    assert!(names(store, "").await.is_empty());
}

pub async fn a_directory_with_entries_is_not_removed(fixture: Fixture) {
    let store = &*fixture.store;
    store.make_directory(&key("d")).await.unwrap();
    put(store, "d/f", "x").await;
    put(store, "implied/f", "x").await;
    store.make_directory(&key("outer")).await.unwrap();
    store.make_directory(&key("outer/inner")).await.unwrap();
    for name in ["d", "implied", "outer"] {
        let error = store.remove_directory(&key(name)).await.unwrap_err();
        assert_eq!(error.kind, StoreErrorKind::DirectoryNotEmpty, "{name}: {error}");
    }
    assert_eq!(names(store, "d").await, ["f"]);
    assert_eq!(store.remove_directory(&key("missing")).await.unwrap_err().kind, StoreErrorKind::NotFound);
}

pub async fn parents_come_with_files(fixture: Fixture) {
    let store = &*fixture.store;
    put(store, "a/b/c/f", "x").await;
    for name in ["a", "a/b", "a/b/c"] {
        let stat = store.stat(&key(name)).await.unwrap();
        assert_eq!((stat.kind, stat.size), (Kind::Directory, 0), "{name}");
    }
    assert_eq!(names(store, "a/b").await, ["c/"]);
    // A name that only begins like a directory is none.
    assert!(!exists(store, "a/b/cc").await);
    assert!(!exists(store, "a/b/c/").await || store.stat(&key("a/b/c/")).await.unwrap().kind == Kind::Directory);
}

pub async fn the_root_is_a_directory(fixture: Fixture) {
    let store = &*fixture.store;
    assert_eq!(store.stat(&Key::root()).await.unwrap().kind, Kind::Directory);
    assert!(names(store, "").await.is_empty());
    store.check().await.unwrap();
    let error = store.open(&Key::root()).await.unwrap_err();
    assert_eq!(error.kind, StoreErrorKind::IsADirectory, "{error}");
    assert!(store.event_path(&key("a/b")).ends_with("a/b"));
    assert!(store.event_path(&Key::root()).starts_with('/') && !store.event_path(&Key::root()).ends_with('/'));
}

pub async fn the_time_of_a_directory_is_kept(fixture: Fixture) {
    let store = &*fixture.store;
    store.make_directory(&key("marked")).await.unwrap();
    put(store, "bare/f", "x").await;
    put(store, "bare/in/f", "x").await;
    for name in ["marked", "bare/in", "bare"] {
        assert!(store.set_directory_mtime(&key(name), a_time()).await.unwrap(), "{name}");
        assert_eq!(store.stat(&key(name)).await.unwrap().mtime, fixture.kept(a_time()), "{name}");
    }
    let listed = async |directory: &str, name: &str| {
        let entries = pages(store, &Key::parse(directory).unwrap()).await.into_iter().flat_map(|page| page.entries);
        let found: Vec<_> = entries.filter(|entry| entry.name == name).collect();
        assert_eq!(found.len(), 1, "{name} in {directory}");
        found[0].stat.mtime
    };
    for _ in 0..2 {
        assert_eq!(listed("", "marked").await, fixture.kept(a_time()));
        assert_eq!(listed("", "bare").await, fixture.kept(a_time()));
        assert_eq!(listed("bare", "in").await, fixture.kept(a_time()));
    }
    let later = a_time() + std::time::Duration::from_secs(5);
    assert!(store.set_directory_mtime(&key("marked"), later).await.unwrap());
    assert_eq!(
        (listed("", "marked").await, store.stat(&key("marked")).await.unwrap().mtime),
        (fixture.kept(later), fixture.kept(later))
    );
    assert_eq!(names(store, "bare").await, ["f", "in/"]);
    // It goes with the directory, and a new one of the name has a time of its own.
    store.rename_directory(&key("bare"), &key("moved")).await.unwrap();
    assert_eq!(store.stat(&key("moved")).await.unwrap().mtime, fixture.kept(a_time()));
    assert_eq!(listed("moved", "in").await, fixture.kept(a_time()));
    store.remove_directory(&key("marked")).await.unwrap();
    store.make_directory(&key("marked")).await.unwrap();
    assert_ne!(store.stat(&key("marked")).await.unwrap().mtime, fixture.kept(later));
    assert_ne!(listed("", "marked").await, fixture.kept(later));
}
