//! Hidden files that an upstream store makes before they are needed: they are few, go when nobody wants them, and are in nobody's way.

use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use lockgate::internals::stores::{Existing, Store, StoreErrorKind};
use tempfile::TempDir;

use crate::fixture::{Fixture, REPLACE, exists, get, key, put};
use crate::fixture_sftp::{open, unfinished_in};
use crate::support::sshd::Sshd;

async fn until_there_are(folder: &Path, count: usize) {
    for _ in 0..1000 {
        if unfinished_in(folder) == count {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("{} hidden files, and {count} are wanted", unfinished_in(folder));
}

/// As a client opens a new file: it is looked at, and then expected.
async fn expect(store: &dyn Store, name: &str) {
    assert!(!exists(store, name).await);
    store.expect_upload(&key(name));
}

#[tokio::test]
async fn what_nobody_wants_is_removed_after_a_moment_and_there_are_few() {
    let fixture = Fixture::sftp();
    let (store, root) = (&*fixture.store, fixture.folder.as_ref().unwrap().path());
    store.expect_upload(&key("folder/f"));
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert_eq!(unfinished_in(root), 0, "no way has led there");
    for number in 0..20 {
        expect(store, &format!("f{number}")).await;
    }
    until_there_are(root, 4).await;
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert_eq!(unfinished_in(root), 4);
    until_there_are(root, 0).await;
    // And again.
    expect(store, "f").await;
    until_there_are(root, 1).await;
    put(store, "f", "content").await;
    assert_eq!((get(store, "f").await.as_str(), unfinished_in(root)), ("content", 0));
}

#[tokio::test]
async fn a_folder_can_be_removed_while_an_upload_is_expected_in_it() {
    let fixture = Fixture::sftp();
    let (store, root) = (&*fixture.store, fixture.folder.as_ref().unwrap().path());
    for wait in [true, false] {
        store.make_directory(&key("folder")).await.unwrap();
        expect(store, "folder/f").await;
        if wait {
            until_there_are(root, 1).await;
        }
        store.remove_directory(&key("folder")).await.unwrap();
    }
    let error = store.put(&key("folder/f"), vec![], &REPLACE).await.err().map(|error| error.kind);
    assert!(matches!(error, None | Some(StoreErrorKind::NotFound)), "{error:?}");
    until_there_are(root, 0).await;
}

#[tokio::test]
async fn an_upload_that_is_expected_is_stored_where_it_belongs_whatever_becomes_of_the_folder() {
    let fixture = Fixture::sftp();
    let (store, root) = (&*fixture.store, fixture.folder.as_ref().unwrap().path());
    store.make_directory(&key("old")).await.unwrap();
    expect(store, "old/f").await;
    until_there_are(root, 1).await;
    store.rename_directory(&key("old"), &key("new")).await.unwrap();
    store.make_directory(&key("old")).await.unwrap();
    assert!(!exists(store, "old/f").await);
    put(store, "old/f", "content").await;
    assert_eq!(get(store, "old/f").await, "content");
    assert!(!exists(store, "new/f").await);
    // One that is moved before its content comes is published under the other name.
    expect(store, "old/g").await;
    let lockgate::internals::stores::Upload::File(mut file) =
        store.begin_upload(&key("old/g"), &REPLACE).await.unwrap()
    else {
        panic!("a file")
    };
    file.write_at(0, vec![Bytes::from_static(b"moved")]).await.unwrap();
    file.move_to(&key("new/g"), Existing::Replace).await.unwrap();
    file.complete(None).await.unwrap();
    assert_eq!(get(store, "new/g").await, "moved");
    until_there_are(root, 0).await;
}

#[tokio::test]
async fn an_upload_does_not_depend_on_what_was_made_for_it() {
    let (sshd, folder) = (Sshd::start(&[]), TempDir::new().unwrap());
    let store = &*open(&sshd, folder.path(), &[]);
    // Its connection has ended, and the hidden file was removed by somebody.
    for how in 0..2 {
        let name = format!("f{how}");
        expect(store, &name).await;
        until_there_are(folder.path(), 1).await;
        if how == 0 {
            sshd.cut_sessions();
            for _ in 0..500 {
                if store.check().await.is_ok() {
                    break;
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            assert!(!exists(store, &name).await);
            put(store, &name, "content").await;
            assert_eq!(get(store, &name).await, "content");
        } else {
            let hidden = std::fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().path());
            for path in hidden.filter(|path| path.file_name().unwrap().to_str().unwrap().starts_with(".lockgate")) {
                std::fs::remove_file(path).unwrap();
            }
            // As with every unfinished upload that somebody removes: an error, and never a file that is not whole.
            assert!(store.put(&key(&name), vec![Bytes::from_static(b"content")], &REPLACE).await.is_err());
            assert!(!exists(store, &name).await);
        }
        until_there_are(folder.path(), 0).await;
    }
}
