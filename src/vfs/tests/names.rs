//! Entries of the home, attributes, directories, listings, removal; and what each costs in calls.

use std::time::{Duration, SystemTime};

use bytes::Bytes;

use crate::stores::{Kind, StoreErrorKind};

use super::home::{NEW, home, path};
use super::store::TestStore;

#[tokio::test]
async fn the_longest_entry_that_covers_a_path_wins() {
    let (base, other) = (TestStore::remote("base"), TestStore::remote("other"));
    let home = home(&[("/", &base, "home/me"), ("/a", &other, ""), ("/a/b", &base, "deep")]);
    for (name, shown) in [
        ("/x", "/base/home/me/x"),
        ("/a/x", "/other/x"),
        ("/a/b/x", "/base/deep/x"),
        ("/a/bc", "/other/bc"),
        ("/ab", "/base/home/me/ab"),
    ] {
        assert_eq!(home.vfs.storage_path(&path(name)).unwrap(), shown);
    }
}

#[tokio::test]
async fn a_path_on_the_way_to_an_entry_is_a_directory_that_takes_no_files() {
    let store = TestStore::remote("s");
    let home = home(&[("/in/a", &store, "in"), ("/in/b/c", &store, "c")]);
    for name in ["/", "/in", "/in/a", "/in/b", "/in/b/c"] {
        assert_eq!(home.vfs.stat(&path(name)).await.unwrap().kind, Kind::Directory, "{name}");
    }
    assert_eq!(home.names("/").await.unwrap(), ["in"]);
    assert_eq!(home.names("/in").await.unwrap(), ["a", "b"]);
    assert_eq!(home.names("/in/a").await.unwrap(), [""; 0]);
    assert_eq!(home.vfs.storage_path(&path("/in")), None);
    assert_eq!(home.vfs.capacity(&path("/in")).await.unwrap(), None);
    assert_eq!(home.vfs.capacity(&path("/in/a")).await.unwrap().unwrap().free, 5);
    for name in ["/x", "/in/x"] {
        let error = home.vfs.open_write(&path(name), NEW).await.unwrap_err();
        assert_eq!(error.kind(), StoreErrorKind::Unsupported);
        assert_eq!(home.vfs.make_directory(&path(name)).await.unwrap_err().kind(), StoreErrorKind::Unsupported);
        assert_eq!(home.vfs.stat(&path(name)).await.unwrap_err().kind(), StoreErrorKind::NotFound);
        assert_eq!(home.vfs.open_read(&path(name)).await.unwrap_err().kind(), StoreErrorKind::NotFound);
    }
    assert_eq!(home.vfs.open_write(&path("/nowhere/x"), NEW).await.unwrap_err().kind(), StoreErrorKind::NotFound);
}

#[tokio::test]
async fn directories_of_the_home_cannot_be_changed() {
    let store = TestStore::remote("s");
    let home = home(&[("/", &store, ""), ("/way/entry", &store, "target")]);
    for name in ["/", "/way", "/way/entry"] {
        let path = path(name);
        assert_eq!(home.vfs.open_write(&path, NEW).await.unwrap_err().kind(), StoreErrorKind::IsADirectory);
        assert_eq!(home.vfs.open_read(&path).await.unwrap_err().kind(), StoreErrorKind::IsADirectory);
        assert_eq!(home.vfs.remove_file(&path).await.unwrap_err().kind(), StoreErrorKind::IsADirectory);
        assert_eq!(home.vfs.remove_directory(&path).await.unwrap_err().kind(), StoreErrorKind::Unsupported);
        assert_eq!(home.vfs.make_directory(&path).await.unwrap_err().kind(), StoreErrorKind::AlreadyExists);
        assert!(home.vfs.set_mtime(&path, SystemTime::now(), None).await.unwrap().is_none());
        assert_eq!(home.vfs.set_length(&path, 0).await.unwrap_err().kind(), StoreErrorKind::IsADirectory);
    }
    assert_eq!(store.calls(), "");
}

#[tokio::test]
async fn a_listing_merges_the_entries_of_the_home_and_they_shadow_stored_names() {
    let store = TestStore::paged("s", 3);
    for name in ["a", "b", "c", "d", "e", "f", "g/x", "in/hidden"] {
        store.set(name, "1");
    }
    let home = home(&[("/", &store, ""), ("/in", &store, "other"), ("/c/d", &store, "other")]);
    let mut names = home.names("/").await.unwrap();
    assert_eq!(names[..2], ["c", "in"]);
    names.sort();
    assert_eq!(names, ["a", "b", "c", "d", "e", "f", "g", "in"]);
    assert_eq!(store.calls(), "list=3");
    assert_eq!(home.vfs.stat(&path("/c")).await.unwrap().kind, Kind::Directory);
}

#[tokio::test]
async fn a_listing_gives_the_first_names_after_the_first_page() {
    let store = TestStore::paged("s", 10);
    for index in 0..1000 {
        store.set(&format!("d/{index:04}"), "1");
    }
    let home = home(&[("/", &store, "")]);
    let mut listing = home.vfs.open_directory(&path("/d")).await.unwrap();
    assert_eq!(listing.next_page().await.unwrap().unwrap().len(), 10);
    tokio::time::sleep(Duration::from_millis(20)).await;
    assert_eq!(store.calls(), "list=2");
    let mut count = 10;
    while let Some(page) = listing.next_page().await.unwrap() {
        count += page.len();
    }
    assert_eq!(count, 1000);
    assert_eq!(store.calls(), "list=98");
    assert!(listing.next_page().await.unwrap().is_none());
}

#[tokio::test]
async fn what_cannot_be_shown_is_counted() {
    let store = TestStore::paged("s", 1);
    store.set("a", "1");
    store.set("b", "1");
    store.hide_keys(3);
    let home = home(&[("/", &store, "")]);
    let mut listing = home.vfs.open_directory(&path("/")).await.unwrap();
    while listing.next_page().await.unwrap().is_some() {}
    assert_eq!((listing.skipped().count, listing.skipped().first.as_deref()), (6, Some("a//b")));
}

#[tokio::test]
async fn a_listing_that_failed_never_seems_complete() {
    let store = TestStore::paged("s", 1);
    for name in ["a", "b", "c"] {
        store.set(name, "1");
    }
    let home = home(&[("/", &store, "")]);
    store.fail("list", 1, 1);
    let mut listing = home.vfs.open_directory(&path("/")).await.unwrap();
    assert!(listing.next_page().await.unwrap().is_some());
    for _ in 0..2 {
        assert_eq!(listing.next_page().await.unwrap_err().kind(), StoreErrorKind::Unavailable);
    }
}

#[tokio::test]
async fn a_directory_of_the_home_is_listed_whatever_the_store_says() {
    let store = TestStore::remote("s");
    let home = home(&[("/", &store, ""), ("/way/entry", &store, "t")]);
    store.set("way", "a file");
    store.fail_as("list", StoreErrorKind::NotADirectory, 0, 1);
    assert_eq!(home.names("/way").await.unwrap(), ["entry"]);
    store.fail_as("list", StoreErrorKind::NotFound, 0, 1);
    assert_eq!(home.names("/").await.unwrap(), ["way"]);
    store.fail_as("list", StoreErrorKind::AccessDenied, 0, 1);
    assert_eq!(home.names("/").await.unwrap_err().kind(), StoreErrorKind::AccessDenied);
}

#[tokio::test]
async fn only_directories_are_listed() {
    let store = TestStore::remote("s");
    store.set("file", "1");
    let home = home(&[("/", &store, "")]);
    home.vfs.make_directory(&path("/empty")).await.unwrap();
    store.calls();
    assert_eq!(home.names("/empty").await.unwrap(), [""; 0]);
    assert_eq!(store.calls(), "list=1 stat=1");
    assert_eq!(home.names("/file").await.unwrap_err().kind(), StoreErrorKind::NotADirectory);
    assert_eq!(home.names("/nothing").await.unwrap_err().kind(), StoreErrorKind::NotFound);
}

#[tokio::test]
async fn directories_are_made_below_directories_only() {
    let store = TestStore::remote("s");
    store.set("file", "1");
    let home = home(&[("/", &store, "me")]);
    home.vfs.make_directory(&path("/d")).await.unwrap();
    assert_eq!(store.calls(), "make_directory=1 stat=1");
    home.vfs.make_directory(&path("/d/e")).await.unwrap();
    assert_eq!(store.calls(), "make_directory=1 stat=1", "the one above was just made");
    assert_eq!(home.vfs.make_directory(&path("/d")).await.unwrap_err().kind(), StoreErrorKind::AlreadyExists);
    assert_eq!(home.vfs.make_directory(&path("/x/y")).await.unwrap_err().kind(), StoreErrorKind::NotFound);
    store.set("me/f", "1");
    assert_eq!(home.vfs.make_directory(&path("/f")).await.unwrap_err().kind(), StoreErrorKind::AlreadyExists);
    assert_eq!(home.vfs.make_directory(&path("/f/g")).await.unwrap_err().kind(), StoreErrorKind::NotADirectory);
    assert_eq!(store.keys(), ["file", "me/f", "me/d/", "me/d/e/"]);
}

#[tokio::test]
async fn removal_keeps_files_and_directories_apart() {
    let store = TestStore::remote("s");
    store.set("d/f", "1");
    let home = home(&[("/", &store, "")]);
    assert_eq!(home.vfs.remove_directory(&path("/d/f")).await.unwrap_err().kind(), StoreErrorKind::NotADirectory);
    assert_eq!(home.vfs.remove_directory(&path("/d")).await.unwrap_err().kind(), StoreErrorKind::DirectoryNotEmpty);
    assert_eq!(home.vfs.remove_file(&path("/d")).await.unwrap_err().kind(), StoreErrorKind::IsADirectory);
    assert_eq!(home.vfs.remove_file(&path("/n")).await.unwrap_err().kind(), StoreErrorKind::NotFound);
    assert_eq!(home.vfs.remove_directory(&path("/n")).await.unwrap_err().kind(), StoreErrorKind::NotFound);
    store.calls();
    home.vfs.remove_file(&path("/d/f")).await.unwrap();
    assert_eq!(store.calls(), "delete=1 stat=1");
    home.vfs.make_directory(&path("/e")).await.unwrap();
    home.vfs.remove_directory(&path("/e")).await.unwrap();
    assert_eq!(store.keys(), [""; 0]);
}

#[tokio::test]
async fn a_stat_is_one_call() {
    let store = TestStore::remote("s");
    store.set("f", "123");
    let home = home(&[("/", &store, "")]);
    let attributes = home.vfs.stat(&path("/f")).await.unwrap();
    assert_eq!((attributes.kind, attributes.size), (Kind::File, 3));
    assert_eq!(store.calls(), "stat=1");
    home.vfs.stat(&path("/f")).await.unwrap();
    assert_eq!(store.calls(), "", "what is remembered");
    store.fail("stat", 0, 1);
    let error = home.vfs.stat(&path("/g")).await.unwrap_err();
    assert_eq!(error.kind(), StoreErrorKind::Unavailable);
    assert!(error.to_string().starts_with("/g: "), "{error}");
}

#[tokio::test]
async fn times_and_lengths_of_closed_files_are_set() {
    for store in [TestStore::remote("s"), TestStore::local("s")] {
        store.set("d/f", "12345");
        let home = home(&[("/", &store, "")]);
        let then = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000);
        assert!(home.vfs.set_mtime(&path("/d/f"), then, None).await.unwrap().is_some());
        assert_eq!(home.vfs.stat(&path("/d/f")).await.unwrap().mtime, Some(then));
        assert!(home.vfs.set_mtime(&path("/d"), then, None).await.unwrap().is_none());
        assert_eq!(home.vfs.set_mtime(&path("/n"), then, None).await.unwrap_err().kind(), StoreErrorKind::NotFound);
        for (length, content) in [(5, "12345"), (3, "123"), (6, "123\0\0\0"), (0, ""), (2, "\0\0")] {
            home.vfs.set_length(&path("/d/f"), length).await.unwrap();
            assert_eq!(store.get("d/f").unwrap(), content);
        }
        assert_eq!(home.vfs.set_length(&path("/n"), 1).await.unwrap_err().kind(), StoreErrorKind::NotFound);
        assert_eq!(home.vfs.set_length(&path("/d"), 1).await.unwrap_err().kind(), StoreErrorKind::IsADirectory);
        assert_eq!(store.open_uploads(), 0);
        home.assert_all_given_back().await;
    }
}

#[tokio::test]
async fn a_name_that_a_key_cannot_hold_is_refused_by_name() {
    let store = TestStore::remote("s");
    let home = home(&[("/", &store, &"t".repeat(200))]);
    let long = format!("/{}", "abc/".repeat(240));
    let error = home.write(&long, NEW, &Bytes::new()).await.unwrap_err();
    assert_eq!(error.kind(), StoreErrorKind::InvalidName);
}
