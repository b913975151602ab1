//! What a connection remembers decides over nobody's content: somebody else changes the store behind its back, on S3.

use bytes::Bytes;
use lockgate::internals::stores::{Existing, StoreErrorKind};

use crate::fixture::{REPLACE, a_time, key};
use crate::ground::{EXCLUSIVE, Ground, NEW, path, pattern, read, write};

/// The connection uploads `/f`, and then somebody else replaces it, with as many other bytes.
async fn replaced() -> Option<(Ground, Vec<u8>)> {
    let ground = Ground::s3().await?;
    write(&ground.vfs, "/f", NEW, 0, pattern(1, 1000)).await.unwrap();
    let theirs = pattern(3, 1000);
    ground.direct.put(&key("f"), vec![Bytes::from(theirs.clone())], &REPLACE).await.unwrap();
    Some((ground, theirs))
}

#[tokio::test]
async fn a_rename_of_an_upload_that_was_replaced_moves_what_replaced_it() {
    for existing in [Existing::Replace, Existing::Refuse] {
        let Some((ground, theirs)) = replaced().await else { return };
        ground.vfs.rename(&path("/f"), &path("/g"), existing, None).await.unwrap();
        assert_eq!(read(&ground.vfs, "/g").await.unwrap(), theirs);
        assert_eq!(ground.find().await.len(), 1);
    }
}

#[tokio::test]
async fn a_time_goes_to_what_replaced_the_upload_and_changes_no_byte_of_it() {
    let Some((ground, theirs)) = replaced().await else { return };
    assert!(ground.vfs.set_mtime(&path("/f"), a_time(), None).await.unwrap().is_some());
    assert_eq!(read(&ground.vfs, "/f").await.unwrap(), theirs);
    assert_eq!(ground.vfs.stat(&path("/f")).await.unwrap().mtime, Some(a_time()));
}

#[tokio::test]
async fn an_upload_that_somebody_has_removed_is_not_there_for_a_rename() {
    let Some((ground, _)) = replaced().await else { return };
    ground.direct.delete(&key("f")).await.unwrap();
    let error = ground.vfs.rename(&path("/f"), &path("/g"), Existing::Replace, None).await.unwrap_err();
    assert_eq!(error.kind(), StoreErrorKind::NotFound, "{error}");
    let error = ground.vfs.set_mtime(&path("/f"), a_time(), None).await.unwrap_err();
    assert_eq!(error.kind(), StoreErrorKind::NotFound, "{error}");
    assert!(ground.find().await.is_empty());
}

#[tokio::test]
async fn what_refuses_reads_or_removes_asks_the_store() {
    let Some(ground) = Ground::s3().await else { return };
    let (file, theirs) = (path("/f"), pattern(3, 1000));
    ground.vfs.stat(&file).await.unwrap_err();
    ground.direct.put(&key("f"), vec![Bytes::from(theirs.clone())], &REPLACE).await.unwrap();
    let error = write(&ground.vfs, "/f", EXCLUSIVE, 0, pattern(2, 10)).await.unwrap_err();
    assert_eq!(error.kind(), StoreErrorKind::AlreadyExists, "{error}");
    assert_eq!(read(&ground.vfs, "/f").await.unwrap(), theirs);
    ground.direct.delete(&key("f")).await.unwrap();
    assert_eq!(ground.vfs.remove_file(&file).await.unwrap_err().kind(), StoreErrorKind::NotFound);
    ground.vfs.stat(&path("/g")).await.unwrap_err();
    ground.direct.put(&key("g"), vec![Bytes::from(theirs)], &REPLACE).await.unwrap();
    ground.vfs.remove_file(&path("/g")).await.unwrap();
    assert!(ground.find().await.is_empty());
}
