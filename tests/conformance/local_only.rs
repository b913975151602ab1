//! What only a folder can do: links, pipes, odd bytes, other processes' uploads.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::symlink;
use std::sync::Arc;

use bytes::Bytes;
use lockgate::internals::stores::{Existing, Kind, Store, StoreErrorKind, Upload};

use crate::fixture::{Fixture, REPLACE, exists, get, key, names, open_url, pages, put};

#[tokio::test]
async fn a_link_does_not_lead_out_of_the_root() {
    let outside = tempfile::tempdir().unwrap();
    std::fs::write(outside.path().join("secret"), "secret").unwrap();
    let fixture = Fixture::local();
    let (store, root) = (&*fixture.store, fixture.folder.as_ref().unwrap().path());
    symlink(outside.path(), root.join("absolute")).unwrap();
    symlink(outside.path().join("secret"), root.join("file")).unwrap();
    symlink("../../../../../../../../etc", root.join("relative")).unwrap();
    symlink("nowhere", root.join("dangling")).unwrap();
    symlink("round", root.join("round")).unwrap();
    for name in ["absolute", "absolute/secret", "file", "relative", "relative/passwd", "dangling", "round"] {
        assert!(!exists(store, name).await, "{name}");
        assert_eq!(store.open(&key(name)).await.unwrap_err().kind, StoreErrorKind::NotFound, "{name}");
    }
    assert!(names(store, "").await.is_empty());
    let skipped: u64 = pages(store, &key("")).await.iter().map(|page| page.skipped.count).sum();
    assert_eq!(skipped, 5);
    assert!(store.list(&key("absolute"), None).await.is_err());
    assert!(store.put(&key("absolute/new"), vec![], &REPLACE).await.is_err());
    assert!(store.make_directory(&key("relative/new")).await.is_err());
    assert!(store.rename(&key("absolute/secret"), &key("mine"), Existing::Replace, None).await.is_err());
    put(store, "f", "f").await;
    assert!(store.rename(&key("f"), &key("absolute/f"), Existing::Replace, None).await.is_err());
    assert!(store.delete(&key("absolute/secret")).await.is_err());
    let now = std::time::SystemTime::now();
    assert!(store.set_mtime(&key("file"), now, None).await.is_err());
    assert!(store.set_directory_mtime(&key("absolute"), now).await.is_err());
    // Writing over a link replaces the link, not what it names.
    put(store, "file", "mine").await;
    assert_eq!(std::fs::read_to_string(outside.path().join("secret")).unwrap(), "secret");
    assert_eq!(std::fs::read_dir(outside.path()).unwrap().count(), 1);
    // Deleting a link deletes the link.
    store.delete(&key("absolute")).await.unwrap();
    assert!(outside.path().join("secret").exists());
}

#[tokio::test]
async fn a_link_within_the_root_is_followed() {
    let fixture = Fixture::local();
    let (store, root) = (&*fixture.store, fixture.folder.as_ref().unwrap().path());
    put(store, "real/f", "content").await;
    std::fs::create_dir(root.join("links")).unwrap();
    symlink("../real", root.join("links/dir")).unwrap();
    symlink("../real/f", root.join("links/file")).unwrap();
    assert_eq!(names(store, "links").await, ["dir/", "file"]);
    assert_eq!(get(store, "links/file").await, "content");
    assert_eq!(get(store, "links/dir/f").await, "content");
    put(store, "links/dir/new", "through").await;
    assert_eq!(get(store, "real/new").await, "through");
}

#[tokio::test]
async fn what_is_no_file_is_not_shown_and_never_waited_for() {
    let fixture = Fixture::local();
    let (store, root) = (&*fixture.store, fixture.folder.as_ref().unwrap().path());
    rustix::fs::mknodat(rustix::fs::CWD, root.join("pipe"), rustix::fs::FileType::Fifo, 0o600.into(), 0).unwrap();
    std::fs::write(root.join(OsStr::from_bytes(b"not-\xff-utf8")), "x").unwrap();
    std::fs::write(root.join("con\ntrol"), "x").unwrap();
    assert!(!exists(store, "pipe").await);
    assert_eq!(store.open(&key("pipe")).await.unwrap_err().kind, StoreErrorKind::NotFound);
    let page = store.list(&key(""), None).await.unwrap();
    assert!(page.entries.is_empty());
    assert_eq!(page.skipped.count, 3);
    assert!(page.skipped.first.unwrap().is_ascii());
}

#[tokio::test]
async fn the_reserved_folder_is_neither_listed_nor_named() {
    let fixture = Fixture::local();
    let store = &*fixture.store;
    assert!(names(store, "").await.is_empty());
    for name in [".lockgate", ".lockgate/uploads", ".lockgate/x"] {
        assert_eq!(store.stat(&key(name)).await.unwrap_err().kind, StoreErrorKind::InvalidName, "{name}");
        assert_eq!(store.open(&key(name)).await.unwrap_err().kind, StoreErrorKind::InvalidName, "{name}");
        assert_eq!(store.put(&key(name), vec![], &REPLACE).await.unwrap_err().kind, StoreErrorKind::InvalidName);
        assert_eq!(store.make_directory(&key(name)).await.unwrap_err().kind, StoreErrorKind::InvalidName);
        assert_eq!(store.remove_directory(&key(name)).await.unwrap_err().kind, StoreErrorKind::InvalidName);
    }
    let error = store.rename_directory(&key(".lockgate"), &key("x")).await.unwrap_err();
    assert_eq!(error.kind, StoreErrorKind::InvalidName);
    // Elsewhere the name is as good as any.
    put(store, "d/.lockgate", "x").await;
    assert_eq!(names(store, "d").await, [".lockgate"]);
}

#[tokio::test]
async fn no_link_leads_to_the_reserved_folder() {
    let fixture = Fixture::local();
    let (store, root) = (&*fixture.store, fixture.folder.as_ref().unwrap().path());
    let running = store.begin_upload(&key("f"), &REPLACE).await.unwrap();
    std::fs::create_dir_all(root.join("home/in")).unwrap();
    for (target, link) in [
        (".lockgate", "own"),
        (".lockgate/uploads", "uploads"),
        ("home/../.lockgate", "around"),
        ("own", "twice"),
        ("./.lockgate/names", "lock"),
        (".", "root"),
        ("../..", "home/in/root"),
        ("../../.lockgate", "home/in/own"),
    ] {
        symlink(target, root.join(link)).unwrap();
    }
    let uploads = root.join(".lockgate/uploads");
    let upload = std::fs::read_dir(&uploads).unwrap().next().unwrap().unwrap().file_name().into_string().unwrap();
    let now = std::time::SystemTime::now();
    let mut ways: Vec<String> = ["own", "uploads", "around", "twice", "lock", "home/in/own"].map(str::to_owned).into();
    ways.extend(["root/.lockgate", "home/in/root/.lockgate", "root/root/.lockgate", "root/own"].map(str::to_owned));
    for way in ways {
        let in_root = way.ends_with(".lockgate");
        assert!(store.stat(&key(&way)).await.is_err(), "{way}");
        assert!(store.open(&key(&way)).await.is_err(), "{way}");
        assert!(store.list(&key(&way), None).await.is_err(), "{way}");
        assert!(store.set_directory_mtime(&key(&way), now).await.is_err(), "{way}");
        if in_root {
            assert!(store.rename_directory(&key(&way), &key("mine")).await.is_err(), "{way}");
            assert!(store.remove_directory(&key(&way)).await.is_err(), "{way}");
            assert!(store.put(&key(&way), vec![], &REPLACE).await.is_err(), "{way}");
        }
        for below in ["uploads".to_owned(), "names".to_owned(), upload.clone(), format!("uploads/{upload}")] {
            let below = key(&format!("{way}/{below}"));
            assert!(store.stat(&below).await.is_err(), "{below}");
            assert!(store.open(&below).await.is_err(), "{below}");
            assert!(store.list(&below, None).await.is_err(), "{below}");
            assert!(store.delete(&below).await.is_err(), "{below}");
            assert!(store.put(&below, vec![], &REPLACE).await.is_err(), "{below}");
            assert!(store.begin_upload(&below, &REPLACE).await.is_err(), "{below}");
            assert!(store.make_directory(&below).await.is_err(), "{below}");
            assert!(store.rename_directory(&below, &key("mine")).await.is_err(), "{below}");
        }
    }
    assert!(!names(store, "root").await.iter().any(|name| name.starts_with(".lockgate")));
    assert_eq!(names(store, "root/home/in/root").await, names(store, "").await);
    let Upload::File(mut file) = running else { panic!("the local store uploads files") };
    file.write_at(0, vec![Bytes::from_static(b"whole")]).await.unwrap();
    file.complete(None).await.unwrap();
    assert_eq!(get(store, "root/f").await, "whole");
    // For an entry, the folder of the store stays what it is.
    let entry = key("root/home").as_folder(true);
    assert!(store.stat(&entry.join("in").unwrap()).await.is_ok());
    assert!(store.stat(&entry.join("in/root").unwrap()).await.is_err());
    assert!(store.list(&key("own").as_folder(true), None).await.is_err());
}

#[tokio::test]
async fn who_may_make_no_folders_brings_none_back() {
    let fixture = Fixture::local();
    let (store, root) = (&*fixture.store, fixture.folder.as_ref().unwrap().path());
    let entry = key("home/ann").without_new_folders().as_folder(true);
    // The folder of the entry itself is always there.
    store.put(&entry.join("first").unwrap(), vec![], &REPLACE).await.unwrap();
    std::fs::create_dir(root.join("home/ann/in")).unwrap();
    let file = entry.join("in/f").unwrap();
    let Upload::File(mut upload) = store.begin_upload(&file, &REPLACE).await.unwrap() else { panic!("a file") };
    upload.write_at(0, vec![Bytes::from_static(b"x")]).await.unwrap();
    std::fs::remove_dir(root.join("home/ann/in")).unwrap();
    assert_eq!(upload.complete(None).await.unwrap_err().kind, StoreErrorKind::NotFound);
    assert_eq!(store.put(&file, vec![], &REPLACE).await.unwrap_err().kind, StoreErrorKind::NotFound);
    let first = entry.join("first").unwrap();
    let renamed = store.rename(&first, &file, Existing::Replace, None).await;
    assert_eq!(renamed.unwrap_err().kind, StoreErrorKind::NotFound);
    let Upload::File(mut upload) = store.begin_upload(&first, &REPLACE).await.unwrap() else { panic!("a file") };
    upload.move_to(&file, Existing::Replace).await.unwrap();
    assert_eq!(upload.complete(None).await.unwrap_err().kind, StoreErrorKind::NotFound);
    assert!(!root.join("home/ann/in").exists());
    assert!(root.join("home/ann/first").exists());
    // Who may make folders gets it again.
    let Upload::File(mut upload) = store.begin_upload(&key("home/ann/in/f"), &REPLACE).await.unwrap() else {
        panic!("a file")
    };
    upload.complete(None).await.unwrap();
    assert!(root.join("home/ann/in/f").exists());
}

#[tokio::test]
async fn only_the_uploads_of_dead_processes_are_swept() {
    let fixture = Fixture::local();
    let root = fixture.folder.as_ref().unwrap().path();
    let uploads = root.join(".lockgate/uploads");
    let mut running = fixture.store.begin_upload(&key("f"), &REPLACE).await.unwrap();
    std::fs::write(uploads.join("left-by-a-crash"), "x").unwrap();
    let second = open_url(&format!("file://{}", root.display()), &[]);
    assert_eq!(std::fs::read_dir(&uploads).unwrap().count(), 1);
    let Upload::File(file) = &mut running else { panic!("the local store uploads files") };
    file.write_at(0, vec![Bytes::from_static(b"alive")]).await.unwrap();
    file.complete(None).await.unwrap();
    assert_eq!(get(&*second, "f").await, "alive");
}

#[tokio::test]
async fn a_file_is_written_and_read_in_any_order() {
    let fixture = Fixture::local();
    let store = &*fixture.store;
    let Upload::File(mut file) = store.begin_upload(&key("f"), &REPLACE).await.unwrap() else {
        panic!("the local store uploads files")
    };
    let many: Vec<Bytes> = (0..3_000).map(|n| Bytes::from(vec![b'a' + (n % 26) as u8; 3])).collect();
    let whole: Vec<u8> = many.concat();
    file.write_at(4, many).await.unwrap();
    file.write_at(0, vec![Bytes::from_static(b"wx")]).await.unwrap();
    assert_eq!(file.read_at(0, 7).await.unwrap(), "wx\0\0aaa".as_bytes());
    assert_eq!(file.read_at(4, usize::MAX).await.unwrap(), whole);
    assert!(file.read_at(1 << 40, 10).await.unwrap().is_empty());
    file.set_length(6).await.unwrap();
    file.set_length(8).await.unwrap();
    assert_eq!(
        file.write_at(u64::MAX - 1, vec![Bytes::from_static(b"xy")]).await.unwrap_err().kind,
        StoreErrorKind::TooLarge
    );
    assert_eq!(file.set_length(u64::MAX).await.unwrap_err().kind, StoreErrorKind::TooLarge);
    assert!(!exists(store, "f").await);
    file.complete(Some(crate::fixture::a_time())).await.unwrap();
    assert_eq!(get(store, "f").await, "wx\0\0aa\0\0");
    assert_eq!(store.stat(&key("f")).await.unwrap().mtime, Some(crate::fixture::a_time()));
}

#[tokio::test]
async fn files_and_directories_do_not_replace_each_other() {
    let fixture = Fixture::local();
    let store = &*fixture.store;
    put(store, "dir/f", "x").await;
    put(store, "file", "x").await;
    assert_eq!(store.put(&key("dir"), vec![], &REPLACE).await.unwrap_err().kind, StoreErrorKind::IsADirectory);
    assert_eq!(store.put(&key("file/x"), vec![], &REPLACE).await.unwrap_err().kind, StoreErrorKind::NotADirectory);
    assert_eq!(store.open(&key("dir")).await.unwrap_err().kind, StoreErrorKind::IsADirectory);
    assert_eq!(store.delete(&key("dir")).await.unwrap_err().kind, StoreErrorKind::IsADirectory);
    let error = store.rename(&key("file"), &key("dir"), Existing::Replace, None).await.unwrap_err();
    assert_eq!(error.kind, StoreErrorKind::IsADirectory);
    assert_eq!(store.make_directory(&key("file")).await.unwrap_err().kind, StoreErrorKind::AlreadyExists);
    let capacity = store.capacity().await.unwrap().unwrap();
    assert!(capacity.free <= capacity.total && capacity.total > 0);
}

#[tokio::test]
async fn many_listings_at_once_lose_nothing() {
    let fixture = Fixture::local();
    let root = fixture.folder.as_ref().unwrap().path().join("many");
    std::fs::create_dir(&root).unwrap();
    for n in 0..2_500 {
        std::fs::write(root.join(format!("{n}")), "").unwrap();
    }
    // More listings than are kept open between two pages.
    let walk = |store: Arc<dyn Store>| async move {
        let mut seen = std::collections::HashSet::new();
        let mut from = None;
        loop {
            let page = store.list(&key("many"), from).await.unwrap();
            for entry in page.entries {
                assert_eq!(entry.stat.kind, Kind::File);
                assert!(seen.insert(entry.name));
            }
            tokio::task::yield_now().await;
            match page.next {
                Some(next) => from = Some(next),
                None => return seen.len(),
            }
        }
    };
    let walks = (0..200).map(|_| tokio::spawn(walk(Arc::clone(&fixture.store))));
    for walk in futures_util::future::join_all(walks).await {
        assert_eq!(walk.unwrap(), 2_500);
    }
}

#[tokio::test]
async fn a_folder_that_seems_empty_and_is_not_says_what_it_holds() {
    let fixture = Fixture::local();
    let (store, root) = (&*fixture.store, fixture.folder.as_ref().unwrap().path());
    std::fs::create_dir(root.join("d")).unwrap();
    symlink("nowhere", root.join("d/dangling")).unwrap();
    let error = store.remove_directory(&key("d")).await.unwrap_err();
    assert_eq!(error.kind, StoreErrorKind::DirectoryNotEmpty);
    assert_eq!(error.cause(), Some("it contains a name that cannot be shown here, such as \"dangling\""));
    put(store, "d/shown", "x").await;
    let error = store.remove_directory(&key("d")).await.unwrap_err();
    assert_eq!((error.kind, error.cause()), (StoreErrorKind::DirectoryNotEmpty, None));
    std::fs::remove_file(root.join("d/dangling")).unwrap();
    store.delete(&key("d/shown")).await.unwrap();
    store.remove_directory(&key("d")).await.unwrap();
}

#[tokio::test]
async fn a_folder_that_hangs_keeps_only_who_opens_it_waiting() {
    let folder = tempfile::tempdir().unwrap();
    let uploads = folder.path().join(".lockgate/uploads");
    std::fs::create_dir_all(&uploads).unwrap();
    // Whoever opens a pipe waits until somebody opens its other end.
    let pipe = uploads.join("left-behind");
    rustix::fs::mknodat(rustix::fs::CWD, &pipe, rustix::fs::FileType::Fifo, 0o600.into(), 0).unwrap();
    let settings = lockgate::internals::stores::Settings {
        name: "hangs".to_owned(),
        url: format!("file://{}", folder.path().display()),
        options: Vec::new(),
    };
    let opening = lockgate::internals::stores::open_aside(&settings, None);
    let waited = tokio::time::timeout(std::time::Duration::from_millis(300), opening).await;
    assert!(waited.is_err(), "the folder does not hang");
    // The thread that opens it goes on.
    std::fs::File::options().read(true).write(true).open(&pipe).unwrap();
}
