//! Links on an upstream server: those that lead out, those that stay within, and what takes their place.

use std::os::unix::fs::symlink;

use bytes::Bytes;
use lockgate::internals::stores::{Existing, FileUpload, Store, StoreErrorKind, Upload};
use tempfile::TempDir;

use crate::fixture::{Fixture, REPLACE, a_time, exists, get, key, names, pages, put};

async fn begin(store: &dyn Store, name: &str) -> Box<dyn FileUpload> {
    let Upload::File(file) = store.begin_upload(&key(name), &REPLACE).await.unwrap() else { panic!("a file") };
    file
}

fn bytes(text: &'static str) -> Vec<Bytes> {
    vec![Bytes::from_static(text.as_bytes())]
}

#[tokio::test]
async fn a_link_that_leads_out_of_the_folder_of_the_homes_entry_or_nowhere_names_nothing() {
    let fixture = Fixture::sftp();
    let (store, root) = (&*fixture.store, fixture.folder.as_ref().unwrap().path());
    let outside = TempDir::new().unwrap();
    std::fs::write(outside.path().join("secret"), "secret").unwrap();
    let up = format!("../{}", outside.path().file_name().unwrap().to_str().unwrap());
    for (target, link) in [
        (outside.path().to_str().unwrap(), "absolute"),
        (up.as_str(), "relative"),
        ("nowhere", "dangling"),
        ("loop", "loop"),
        (outside.path().join("secret").to_str().unwrap(), "file"),
    ] {
        symlink(target, root.join(link)).unwrap();
        assert!(!exists(store, link).await, "{link}");
        assert!(store.open(&key(link)).await.is_err(), "{link}");
    }
    let page = &pages(store, &key("")).await[0];
    assert_eq!((page.entries.len(), page.skipped.count), (0, 5));
    put(store, "f", "f").await;
    for folder in ["absolute", "relative"] {
        let below = key(&format!("{folder}/secret"));
        assert!(store.list(&key(folder), None).await.is_err());
        assert!(store.open(&below).await.is_err());
        assert!(store.put(&below, vec![], &REPLACE).await.is_err());
        assert!(store.begin_upload(&below, &REPLACE).await.is_err());
        assert!(store.make_directory(&key(&format!("{folder}/new"))).await.is_err());
        assert!(store.rename(&below, &key("mine"), Existing::Replace, None).await.is_err());
        assert!(store.rename(&key("f"), &below, Existing::Replace, None).await.is_err());
        assert!(store.rename_directory(&below, &key("mine")).await.is_err());
        assert!(store.delete(&below).await.is_err());
        assert!(store.set_directory_mtime(&key(folder), a_time()).await.is_err());
    }
    assert!(store.set_mtime(&key("file"), a_time(), None).await.is_err());
    // Nothing is made where a link leads nowhere; a file takes the link's place.
    assert!(store.put(&key("dangling/x"), vec![], &REPLACE).await.is_err());
    put(store, "file", "mine").await;
    store.delete(&key("absolute")).await.unwrap();
    assert_eq!(std::fs::read_to_string(outside.path().join("secret")).unwrap(), "secret");
    assert_eq!(std::fs::read_dir(outside.path()).unwrap().count(), 1);
}

#[tokio::test]
async fn a_link_that_stays_within_it_is_followed() {
    let fixture = Fixture::sftp();
    let (store, root) = (&*fixture.store, fixture.folder.as_ref().unwrap().path());
    put(store, "home/ann/real/f", "content").await;
    put(store, "home/ben/f", "ben's").await;
    for (target, link) in [("real", "dir"), ("dir/../dir/f", "file"), ("../ben", "other"), (".", "here")] {
        symlink(target, root.join("home/ann").join(link)).unwrap();
    }
    symlink("home/ann", root.join("ann")).unwrap();
    assert_eq!(names(store, "home/ann").await, ["dir/", "file", "here/", "other/", "real/"]);
    // The way to the entry is the operator's.
    let entry = key("ann").as_folder(true);
    let below = |name: &str| entry.join(name).unwrap();
    for name in ["file", "dir/f", "here/here/real/f"] {
        let object = store.open(&below(name)).await.unwrap();
        assert_eq!(object.read(0, 100).await.unwrap(), "content".as_bytes(), "{name}");
    }
    store.put(&below("dir/new"), bytes("through"), &REPLACE).await.unwrap();
    assert_eq!(get(store, "home/ann/real/new").await, "through");
    assert!(store.stat(&below("other")).await.is_err());
    assert!(store.open(&below("other/f")).await.is_err());
    assert!(store.put(&below("other/g"), vec![], &REPLACE).await.is_err());
    assert!(store.open(&key("ann").as_folder(false).join("dir/f").unwrap()).await.is_err());
    assert_eq!(get(store, "home/ann/other/f").await, "ben's", "without an entry, the root is the bound");
}

/// As in a local store: what is made from the file that a link leads to takes the place of the link.
#[tokio::test]
async fn what_is_written_to_a_name_that_is_a_link_takes_the_place_of_the_link() {
    let fixture = Fixture::sftp();
    let (store, root) = (&*fixture.store, fixture.folder.as_ref().unwrap().path());
    put(store, "real/f", "old").await;
    for name in ["link", "real/beside"] {
        symlink(if name == "link" { "real/f" } else { "f" }, root.join(name)).unwrap();
        let version = store.open(&key(name)).await.unwrap().version().unwrap().to_owned();
        let mut file = begin(store, name).await;
        file.write_at(0, bytes("old and new")).await.unwrap();
        file.base_on(&version);
        file.complete(None).await.unwrap();
        assert_eq!((get(store, name).await.as_str(), get(store, "real/f").await.as_str()), ("old and new", "old"));
        assert!(!root.join(name).is_symlink());
    }
    // Another version came where the link leads.
    symlink("real/f", root.join("again")).unwrap();
    let version = store.open(&key("again")).await.unwrap().version().unwrap().to_owned();
    let mut file = begin(store, "again").await;
    file.base_on(&version);
    put(store, "real/f", "newer").await;
    assert_eq!(file.complete(None).await.unwrap_err().kind, StoreErrorKind::Changed);
    assert!(root.join("again").is_symlink());
    // Nothing is written through a link that leads out.
    let outside = TempDir::new().unwrap();
    std::fs::write(outside.path().join("secret"), "secret").unwrap();
    symlink(outside.path().join("secret"), root.join("out")).unwrap();
    let mut file = begin(store, "out").await;
    file.base_on(&version);
    assert!(file.complete(None).await.is_err());
    assert_eq!(std::fs::read(outside.path().join("secret")).unwrap(), b"secret");
}
