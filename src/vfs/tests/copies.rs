//! Files that become copies of others: what the store does by itself, and what it cannot.

use std::time::{Duration, SystemTime};

use bytes::Bytes;

use crate::stores::{Existing, StoreErrorKind};

use super::super::{PartialUploads, Reader, WriteMode};
use super::home::{CHANGE, Home, NEW, home, home_with, path, pattern};
use super::store::TestStore;

const SIZE: usize = 1_000_000;

async fn reader(home: &Home, name: &str) -> Reader {
    home.vfs.open_read(&path(name)).await.unwrap()
}

#[tokio::test]
async fn a_whole_file_is_copied_by_its_store() {
    let store = TestStore::remote("s");
    let home = home(&[("/", &store, "me"), ("/elsewhere", &store, "other")]);
    let (data, old) = (pattern(SIZE), pattern(SIZE / 2));
    store.set("me/from", data.clone());
    store.set("me/old", old);
    let then = SystemTime::UNIX_EPOCH + Duration::from_secs(1_600_000_000);
    for (to, key, mode, mtime) in [
        ("/new", "me/new", NEW, None),
        ("/timed", "me/timed", NEW, Some(then)),
        ("/elsewhere/new", "other/new", WriteMode { existing: Existing::Refuse, ..NEW }, None),
        ("/old", "me/old", CHANGE, Some(then)),
    ] {
        let source = reader(&home, "/from").await.whole().unwrap();
        let mut writer = home.vfs.open_write(&path(to), mode).await.unwrap();
        assert!(writer.become_copy(&source).unwrap(), "{to}");
        assert_eq!(writer.size(), SIZE as u64);
        mtime.into_iter().for_each(|mtime| writer.set_mtime(mtime));
        store.calls();
        let committed = writer.commit().await.unwrap();
        assert_eq!(store.calls(), "copy=1");
        assert_eq!((committed.size, committed.mtime_kept, committed.copied), (SIZE as u64, true, true));
        assert!(committed.etag.is_some());
        assert!(store.get(key).unwrap() == data, "{to}");
        let shown = home.vfs.stat(&path(to)).await.unwrap().mtime;
        assert_eq!(mtime.is_some(), shown == Some(then), "{to}");
    }
    home.assert_all_given_back().await;
}

#[tokio::test]
async fn what_is_changed_after_the_copy_is_right() {
    let store = TestStore::remote("s");
    let data = pattern(SIZE);
    store.set("from", data.clone());
    let home = home(&[("/", &store, "")]);
    let both = WriteMode { read: true, ..NEW };
    for mode in [NEW, both] {
        for (name, offset, cut) in [
            ("appended", SIZE as u64, None),
            ("beyond", SIZE as u64 + 70_000, None),
            ("beginning", 0, None),
            ("middle", 500_000, None),
            ("cut", 0, Some(300_000)),
            ("emptied", 0, Some(0)),
            ("longer", 10, Some(SIZE as u64 + 5)),
        ] {
            let source = reader(&home, "/from").await.whole().unwrap();
            let mut writer = home.vfs.open_write(&path("/to"), mode).await.unwrap();
            assert!(writer.become_copy(&source).unwrap());
            let mut expected = data.to_vec();
            if let Some(length) = cut {
                writer.set_length(length).await.unwrap();
                expected.resize(length as usize, 0);
            } else {
                writer.write_at(offset, Bytes::from_static(b"changed")).await.unwrap();
                let end = offset as usize + 7;
                expected.resize(end.max(expected.len()), 0);
                expected[offset as usize..end].copy_from_slice(b"changed");
            }
            if mode.read {
                let read = writer.read_back(0, expected.len() + 1).await.unwrap();
                assert!(read == expected, "{name}");
            }
            store.calls();
            assert!(!writer.commit().await.unwrap().copied, "{name}");
            assert!(!store.calls().contains("copy="), "{name}");
            assert!(store.get("to").unwrap() == expected, "{name} {mode:?}");
        }
    }
    home.assert_all_given_back().await;
}

#[tokio::test]
async fn a_copy_that_was_only_read_is_a_copy() {
    let store = TestStore::remote("s");
    store.set("from", "content");
    let home = home(&[("/", &store, "")]);
    let source = reader(&home, "/from").await.whole().unwrap();
    let mut writer = home.vfs.open_write(&path("/to"), WriteMode { read: true, ..NEW }).await.unwrap();
    assert!(writer.become_copy(&source).unwrap());
    assert_eq!(writer.read_back(3, 10).await.unwrap(), "tent");
    store.calls();
    writer.commit().await.unwrap();
    assert_eq!((store.calls().as_str(), store.get("to").unwrap()), ("copy=1", Bytes::from_static(b"content")));
}

#[tokio::test]
async fn what_a_copy_would_spoil_is_not_taken() {
    let (store, other, local) = (TestStore::remote("s"), TestStore::remote("o"), TestStore::local("l"));
    let home = home(&[("/", &store, ""), ("/o", &other, ""), ("/l", &local, "")]);
    store.set("from", "content");
    store.set("longer", "something longer");
    local.set("from", "content");
    assert!(reader(&home, "/l/from").await.whole().is_none(), "it writes files itself");
    let source = reader(&home, "/from").await.whole().unwrap();

    let mut writer = home.vfs.open_write(&path("/o/to"), NEW).await.unwrap();
    assert!(!writer.become_copy(&source).unwrap(), "another store");
    let mut writer = home.vfs.open_write(&path("/longer"), CHANGE).await.unwrap();
    assert!(!writer.become_copy(&source).unwrap(), "its end would stay");
    writer.commit().await.unwrap();
    assert_eq!(store.get("longer").unwrap(), "something longer");
    for offset in [0, 3, 100_000] {
        let mut writer = home.vfs.open_write(&path("/to"), NEW).await.unwrap();
        writer.write_at(offset, Bytes::from_static(b"x")).await.unwrap();
        assert!(!writer.become_copy(&source).unwrap(), "written at {offset}");
        writer.commit().await.unwrap();
        assert_eq!(store.get("to").unwrap().len() as u64, offset + 1);
    }
    home.assert_all_given_back().await;
}

#[tokio::test]
async fn a_source_that_changes_before_the_close_fails_it() {
    let store = TestStore::remote("s");
    store.set("from", "content");
    store.set("to", "old");
    let home = home(&[("/", &store, "")]);
    let source = reader(&home, "/from").await.whole().unwrap();
    let mut writer = home.vfs.open_write(&path("/to"), NEW).await.unwrap();
    assert!(writer.become_copy(&source).unwrap());
    store.set("from", "another");
    assert_eq!(writer.commit().await.unwrap_err().kind(), StoreErrorKind::Changed);
    assert_eq!(store.get("to").unwrap(), "old");
}

#[tokio::test]
async fn a_store_that_cannot_copy_gets_the_bytes() {
    let store = TestStore::remote("s");
    let data = pattern(SIZE);
    store.set("from", data.clone());
    store.fail_as("copy", StoreErrorKind::Unsupported, 0, 1);
    let home = home(&[("/", &store, "")]);
    let source = reader(&home, "/from").await.whole().unwrap();
    let mut writer = home.vfs.open_write(&path("/to"), NEW).await.unwrap();
    assert!(writer.become_copy(&source).unwrap());
    assert!(!writer.commit().await.unwrap().copied, "its bytes passed here");
    assert!(store.get("to").unwrap() == data);
    home.assert_all_given_back().await;
}

#[tokio::test]
async fn a_copy_that_is_cut_off_is_published_only_where_that_is_wanted() {
    for partial in [PartialUploads::Discard, PartialUploads::Publish] {
        let store = TestStore::remote("s");
        store.set("from", "content");
        let home = home_with(&[("/", &store, "")], |settings| settings.partial_uploads = partial);
        let source = reader(&home, "/from").await.whole().unwrap();
        let mut writer = home.vfs.open_write(&path("/to"), NEW).await.unwrap();
        assert!(writer.become_copy(&source).unwrap());
        let published = writer.cut_off().await.unwrap();
        assert_eq!(published.is_some(), partial == PartialUploads::Publish);
        assert_eq!(store.get("to").is_some(), published.is_some());
    }
}
