//! Whole files: put, stat, read, delete.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use lockgate::internals::stores::{Existing, Key, Kind, PutOptions, Store, StoreErrorKind};

use crate::fixture::{Fixture, REFUSE, REPLACE, a_time, exists, get, key, names, pages, put};

pub async fn what_is_put_is_read(fixture: Fixture) {
    let store = &*fixture.store;
    let before = SystemTime::now() - Duration::from_secs(120);
    let pieces = vec![Bytes::from_static(b"one "), Bytes::new(), Bytes::from_static(b"two")];
    let written = store.put(&key("d/f"), pieces, &REPLACE).await.unwrap();
    assert!(!written.mtime_kept);
    let stat = store.stat(&key("d/f")).await.unwrap();
    assert_eq!((stat.kind, stat.size), (Kind::File, 7));
    assert!(stat.mtime.unwrap() > before, "{stat:?}");
    assert_eq!(get(store, "d/f").await, "one two");
    put(store, "d/f", "").await;
    assert_eq!(store.stat(&key("d/f")).await.unwrap().size, 0);
    assert_eq!(get(store, "d/f").await, "");
}

pub async fn reads_are_bounded_by_the_object(fixture: Fixture) {
    let store = &*fixture.store;
    put(store, "f", "0123456789").await;
    let object = store.open(&key("f")).await.unwrap();
    assert_eq!(object.stat().size, 10);
    assert_eq!(object.is_remote(), fixture.is_remote());
    for (offset, length, wanted) in
        [(0, 10, "0123456789"), (0, usize::MAX, "0123456789"), (3, 4, "3456"), (8, 100, "89"), (9, 1, "9"), (0, 0, "")]
    {
        assert_eq!(object.read(offset, length).await.unwrap(), wanted.as_bytes(), "{offset} {length}");
    }
    for offset in [10, 11, u64::MAX] {
        assert!(object.read(offset, usize::MAX).await.unwrap().is_empty(), "{offset}");
    }
}

pub async fn a_missing_name_is_not_found(fixture: Fixture) {
    let store = &*fixture.store;
    put(store, "file", "x").await;
    for name in ["missing", "missing/deeper", "file/below", "fil", "file2"] {
        assert_eq!(store.stat(&key(name)).await.unwrap_err().kind, StoreErrorKind::NotFound, "{name}");
    }
    assert_eq!(store.open(&key("missing")).await.unwrap_err().kind, StoreErrorKind::NotFound);
    assert_eq!(store.set_mtime(&key("missing"), a_time(), None).await.unwrap_err().kind, StoreErrorKind::NotFound);
}

pub async fn refusing_never_replaces(fixture: Fixture) {
    let store = &*fixture.store;
    store.put(&key("f"), vec![Bytes::from_static(b"first")], &REFUSE).await.unwrap();
    let error = store.put(&key("f"), vec![Bytes::from_static(b"second")], &REFUSE).await.unwrap_err();
    assert_eq!(error.kind, StoreErrorKind::AlreadyExists, "{error}");
    assert_eq!(get(store, "f").await, "first");
    put(store, "f", "third").await;
    assert_eq!(get(store, "f").await, "third");
}

pub async fn a_replaced_object_is_never_mixed(fixture: Fixture) {
    let store = &*fixture.store;
    put(store, "f", "old old old").await;
    let object = store.open(&key("f")).await.unwrap();
    assert_eq!(object.read(0, 4).await.unwrap(), "old ".as_bytes());
    put(store, "f", "new new new").await;
    match object.read(4, 7).await {
        Ok(bytes) => assert_eq!(bytes, "old old".as_bytes()),
        Err(error) => assert_eq!(error.kind, StoreErrorKind::Changed, "{error}"),
    }
    assert_eq!(get(store, "f").await, "new new new");
}

/// Names that some store or library hides, encodes or refuses.
const ODD: [&str; 24] = [
    "x#1",
    "%41",
    "~",
    "é",
    "😀 smile",
    "-rf",
    ".hidden",
    "...",
    " leading",
    "trailing ",
    "a+b",
    "a&b=c",
    "a?b",
    "[x]*",
    "back\\slash",
    "q'uo\"te",
    "semi;colon",
    "<tag>",
    "100%",
    "{curly}",
    "a:b",
    "$HOME",
    "日本語",
    "x@y,z|w^`",
];

pub async fn odd_names_work(fixture: Fixture) {
    let store = &*fixture.store;
    let (odd, refused): (Vec<_>, Vec<_>) = ODD.into_iter().partition(|name| !fixture.refuses(name));
    for name in refused {
        let error = store.put(&key(&format!("dir/{name}")), vec![], &REPLACE).await.unwrap_err();
        assert_eq!(error.kind, StoreErrorKind::InvalidName, "{error}");
    }
    for name in &odd {
        put(store, &format!("dir/{name}"), name).await;
        put(store, &format!("dir2/{name}/inner"), name).await;
    }
    let mut wanted: Vec<String> = odd.iter().map(|name| (*name).to_owned()).collect();
    wanted.sort();
    assert_eq!(names(store, "dir").await, wanted);
    wanted = odd.iter().map(|name| format!("{name}/")).collect();
    wanted.sort();
    assert_eq!(names(store, "dir2").await, wanted);
    for name in odd {
        let old = key(&format!("dir/{name}"));
        assert_eq!(get(store, old.as_str()).await, name);
        assert_eq!(store.stat(&old).await.unwrap().size, name.len() as u64, "{name}");
        assert_eq!(names(store, &format!("dir2/{name}")).await, ["inner"], "{name}");
        let new = key(&format!("dir/{name}.new"));
        store.rename(&old, &new, Existing::Refuse, None).await.unwrap();
        assert_eq!(get(store, new.as_str()).await, name);
        store.make_directory(&old).await.unwrap();
        assert_eq!(store.stat(&old).await.unwrap().kind, Kind::Directory, "{name}");
        store.remove_directory(&old).await.unwrap();
        store.delete(&new).await.unwrap();
    }
    assert!(names(store, "dir").await.is_empty());
}

pub async fn the_longest_keys_work(fixture: Fixture) {
    let store = &*fixture.store;
    // The keys in the bucket begin with what the event path has after the bucket, and a slash.
    let root = store.event_path(&Key::root());
    let prefix = root.splitn(3, '/').nth(2).map_or(0, |prefix| prefix.len() + 1);
    let mut long = String::new();
    while long.len() + 201 <= 1_024 - prefix {
        long.push_str(&"k".repeat(200));
        long.push('/');
    }
    long.push_str(&"e".repeat(1_024 - prefix - long.len()));
    assert_eq!(long.len() + prefix, 1_024);
    put(store, &long, "deep").await;
    assert_eq!(store.stat(&key(&long)).await.unwrap().size, 4);
    assert_eq!(get(store, &long).await, "deep");
    let parent = key(&long).parent().unwrap();
    assert_eq!(names(store, parent.as_str()).await, [key(&long).name().unwrap()]);
    store.delete(&key(&long)).await.unwrap();
    assert!(!exists(store, &long).await);
}

pub async fn mtime_is_kept(fixture: Fixture) {
    let store = &*fixture.store;
    let before_1970 = UNIX_EPOCH - Duration::from_millis(86_400_500);
    let mut given = None;
    for time in [a_time(), UNIX_EPOCH + Duration::from_secs(1), before_1970] {
        let options = PutOptions {
            existing: Existing::Replace,
            mtime: Some(time),
            based_on: None,
            provenance: None,
            takes_parts: false,
        };
        let written = store.put(&key("given"), vec![Bytes::from_static(b"x")], &options).await.unwrap();
        let kept = fixture.kept(time);
        assert_eq!(written.mtime_kept, kept.is_some());
        let (stat, object) = (store.stat(&key("given")).await.unwrap(), store.open(&key("given")).await.unwrap());
        assert_eq!(stat.mtime, object.stat().mtime);
        assert!(kept.is_none() || stat.mtime == kept, "{stat:?}");
        given = stat.mtime;
    }
    put(store, "later", "content").await;
    for time in [a_time(), a_time() + Duration::from_secs(7)] {
        assert!(store.set_mtime(&key("later"), time, None).await.unwrap().is_some());
        let time = fixture.kept(time);
        assert_eq!(store.stat(&key("later")).await.unwrap().mtime, time);
        // Every listing shows what a stat shows, the first that asks and the next that remembers.
        for _ in 0..2 {
            assert_eq!(listed_mtime(store, "later").await, time);
            assert_eq!(listed_mtime(store, "given").await, given);
        }
    }
    assert_eq!(get(store, "later").await, "content");
    store.rename(&key("later"), &key("renamed"), Existing::Refuse, None).await.unwrap();
    assert_eq!(store.stat(&key("renamed")).await.unwrap().mtime, fixture.kept(a_time() + Duration::from_secs(7)));
}

async fn listed_mtime(store: &dyn Store, name: &str) -> Option<SystemTime> {
    let entries = pages(store, &Key::root()).await.into_iter().flat_map(|page| page.entries);
    entries.filter(|entry| entry.name == name).map(|entry| entry.stat.mtime).next().unwrap()
}

pub async fn deleting_what_is_missing_changes_nothing(fixture: Fixture) {
    let store = &*fixture.store;
    put(store, "f", "x").await;
    if let Err(error) = store.delete(&key("missing")).await {
        assert_eq!(error.kind, StoreErrorKind::NotFound, "{error}");
    }
    store.delete(&key("f")).await.unwrap();
    assert!(!exists(store, "f").await);
    assert!(names(store, "").await.is_empty());
}

pub async fn etags_follow_the_content(fixture: Fixture) {
    let store = &*fixture.store;
    let first = store.put(&key("f"), vec![Bytes::from_static(b"one")], &REPLACE).await.unwrap().etag;
    assert_eq!(store.stat(&key("f")).await.unwrap().etag, first);
    assert_eq!(store.open(&key("f")).await.unwrap().stat().etag, first);
    let second = store.put(&key("f"), vec![Bytes::from_static(b"two")], &REPLACE).await.unwrap().etag;
    assert_eq!(first.is_some(), fixture.folder.is_none());
    if let Some(tag) = &second {
        assert!(!tag.contains('"') && !tag.is_empty());
        assert_ne!(first, second);
    }
}
