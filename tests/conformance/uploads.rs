//! Uploads that are not one put.

use bytes::Bytes;
use lockgate::internals::stores::{Existing, PutOptions, StoreErrorKind, Upload};

use crate::fixture::{Fixture, REFUSE, REPLACE, a_time, abort, complete, exists, get, key, names, put, send};
use crate::fixture_sftp::unfinished_in;

/// The smallest part that is not the last, by S3's rule, and a short last one.
fn pieces() -> Vec<Bytes> {
    vec![Bytes::from(vec![b'1'; 5 << 20]), Bytes::from(vec![b'2'; 5 << 20]), Bytes::from_static(b"tail")]
}

pub async fn an_upload_appears_whole_when_completed(fixture: Fixture) {
    let store = &*fixture.store;
    put(store, "d/f", "old").await;
    let mut upload = store.begin_upload(&key("d/f"), &REPLACE).await.unwrap();
    send(&mut upload, &pieces()).await;
    assert_eq!(get(store, "d/f").await, "old");
    assert_eq!(names(store, "").await, ["d/"]);
    let written = complete(&mut upload).await.unwrap();
    assert!(complete(&mut upload).await.is_err(), "completed twice");
    abort(&mut upload).await;
    let stat = store.stat(&key("d/f")).await.unwrap();
    assert_eq!((stat.size, stat.etag), ((10 << 20) + 4, written.etag));
    let object = store.open(&key("d/f")).await.unwrap();
    assert_eq!(object.read((5 << 20) - 2, 4).await.unwrap(), "1122".as_bytes());
    assert_eq!(object.read((10 << 20) - 1, 100).await.unwrap(), "2tail".as_bytes());
}

pub async fn an_aborted_upload_leaves_nothing(fixture: Fixture) {
    let store = &*fixture.store;
    let mut upload = store.begin_upload(&key("d/f"), &REPLACE).await.unwrap();
    send(&mut upload, &pieces()).await;
    abort(&mut upload).await;
    abort(&mut upload).await;
    assert!(!exists(store, "d/f").await);
    leftovers(&fixture, 0).await;
    assert!(complete(&mut upload).await.is_err(), "completed after it was aborted");
}

pub async fn a_dropped_upload_publishes_nothing(fixture: Fixture) {
    let store = &*fixture.store;
    put(store, "d/f", "old").await;
    let mut upload = store.begin_upload(&key("d/f"), &REPLACE).await.unwrap();
    send(&mut upload, &pieces()).await;
    drop(upload);
    assert_eq!(get(store, "d/f").await, "old");
    if fixture.folder.is_some() {
        leftovers(&fixture, 0).await;
    }
}

pub async fn an_exclusive_upload_never_replaces(fixture: Fixture) {
    let store = &*fixture.store;
    // Taken before it begins.
    put(store, "taken", "old").await;
    let error = store.begin_upload(&key("taken"), &REFUSE).await.err().expect("the name is taken");
    assert_eq!(error.kind, StoreErrorKind::AlreadyExists, "{error}");
    // Taken while it runs.
    let mut upload = store.begin_upload(&key("f"), &REFUSE).await.unwrap();
    send(&mut upload, &pieces()).await;
    put(store, "f", "in between").await;
    let error = complete(&mut upload).await.unwrap_err();
    assert_eq!(error.kind, StoreErrorKind::AlreadyExists, "{error}");
    abort(&mut upload).await;
    assert_eq!(get(store, "f").await, "in between");
    leftovers(&fixture, 0).await;
    // Not taken.
    let mut upload = store.begin_upload(&key("free"), &REFUSE).await.unwrap();
    send(&mut upload, &pieces()).await;
    complete(&mut upload).await.unwrap();
    assert_eq!(store.stat(&key("free")).await.unwrap().size, (10 << 20) + 4);
}

pub async fn an_upload_keeps_its_mtime(fixture: Fixture) {
    let store = &*fixture.store;
    for existing in [Existing::Replace, Existing::Refuse] {
        let name = key(&format!("{existing:?}"));
        let options =
            PutOptions { existing, mtime: Some(a_time()), based_on: None, provenance: None, takes_parts: false };
        let mut upload = store.begin_upload(&name, &options).await.unwrap();
        send(&mut upload, &[Bytes::from_static(b"small")]).await;
        assert!(complete(&mut upload).await.unwrap().mtime_kept);
        assert_eq!(store.stat(&name).await.unwrap().mtime, fixture.kept(a_time()));
    }
}

pub async fn an_empty_upload_is_an_empty_object(fixture: Fixture) {
    let store = &*fixture.store;
    for (name, options) in [("replace", REPLACE), ("refuse", REFUSE)] {
        let mut upload = store.begin_upload(&key(name), &options).await.unwrap();
        complete(&mut upload).await.unwrap();
        assert_eq!(store.stat(&key(name)).await.unwrap().size, 0);
    }
}

/// How many unfinished uploads the store holds.
async fn leftovers(fixture: &Fixture, wanted: usize) {
    if let Some((server, prefix)) = &fixture.server {
        for name in ["d/f", "f"] {
            let (status, body) = server.send("GET", &format!("?uploads=&prefix={prefix}{name}"), &[], b"").await;
            assert_eq!(status, 200);
            assert_eq!(body.matches("<UploadId>").count(), wanted, "{body}");
        }
    }
    if let Some(folder) = &fixture.folder {
        let uploads = folder.path().join(".lockgate/uploads");
        let count = || match fixture.is_upstream {
            true => unfinished_in(folder.path()),
            false => std::fs::read_dir(&uploads).unwrap().count(),
        };
        for _ in 0..100 {
            if count() == wanted {
                return;
            }
            // A dropped upload is removed in the background.
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
        panic!("{} files are left", count());
    }
}

pub async fn parts_may_come_from_the_object_that_is_replaced(fixture: Fixture) {
    let store = &*fixture.store;
    let old: Vec<u8> = (0..11_u32 << 20).map(|n| (n >> 8) as u8 ^ n as u8).collect();
    store.put(&key("f"), vec![Bytes::from(old.clone())], &REPLACE).await.unwrap();
    let etag = store.open(&key("f")).await.unwrap().stat().etag.clone();
    let Upload::Parts(mut upload) = store.begin_upload(&key("f"), &REPLACE).await.unwrap() else { return };
    let (Some(etag), true) = (etag, upload.copies_parts()) else {
        return upload.abort().await.unwrap();
    };
    let half = old.len() as u64 / 2;
    upload.copy_part(&etag, 0..half).await.unwrap();
    upload.copy_part(&etag, half..old.len() as u64).await.unwrap();
    upload.put_part(vec![Bytes::from_static(b"new")]).await.unwrap();
    upload.complete().await.unwrap();
    let object = store.open(&key("f")).await.unwrap();
    let content = object.read(0, usize::MAX >> 1).await.unwrap();
    assert!(content[..old.len()] == old && &content[old.len()..] == b"new");

    // Of another version nothing is taken.
    let Upload::Parts(mut upload) = store.begin_upload(&key("f"), &REPLACE).await.unwrap() else { return };
    let error = upload.copy_part(&etag, 0..half).await.unwrap_err();
    assert_eq!(error.kind, StoreErrorKind::Changed, "{error}");
    upload.abort().await.unwrap();
}

pub async fn a_part_may_be_sent_again(fixture: Fixture) {
    let store = &*fixture.store;
    let part = |byte: u8| vec![Bytes::from(vec![byte; 5 << 20])];
    let Upload::Parts(mut upload) = store.begin_upload(&key("f"), &REPLACE).await.unwrap() else { return };
    if !upload.replaces_parts() {
        return upload.abort().await.unwrap();
    }
    upload.put_part(part(1)).await.unwrap();
    upload.put_part(vec![Bytes::from_static(b"end")]).await.unwrap();
    upload.replace_part(0, part(2)).await.unwrap();
    upload.complete().await.unwrap();
    let content = store.open(&key("f")).await.unwrap().read(0, usize::MAX >> 1).await.unwrap();
    assert!(content[..5 << 20].iter().all(|byte| *byte == 2) && &content[5 << 20..] == b"end");
}
