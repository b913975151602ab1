//! What the event of a rename that failed says of what was done all the same.

use std::sync::Arc;

use super::halting::Halting;
use super::*;
use crate::audit::{NOT_KNOWN, NOTHING_WAS_RENAMED, THE_NEW_NAME_IS_WHOLE};
use crate::stores::{self, Store, StoreError, StoreErrorKind};

const REPLACE: RenameMode = RenameMode { overwrite: true, directory: false };

fn memory(name: &str) -> Arc<Halting> {
    let settings = stores::Settings { name: name.into(), url: "memory:///".into(), options: Vec::new() };
    Halting::over(stores::open(&settings).unwrap())
}

/// A home over two stores.
async fn home() -> (Home, Arc<Halting>, Arc<Halting>) {
    let (here, there) = (memory("here"), memory("there"));
    let home = Home::over_two(Arc::clone(&here) as Arc<dyn Store>, Arc::clone(&there) as Arc<dyn Store>).await;
    (home, here, there)
}

/// The message of the last RENAME.
fn message(home: &Home) -> String {
    let events = home.events();
    let last = events.iter().rfind(|event| event["activity-type"] == "RENAME").unwrap();
    assert_eq!(last["status"], "failure", "{last}");
    last["message"].as_str().unwrap().to_owned()
}

fn error(kind: StoreErrorKind, after_copy: bool) -> StoreError {
    let mut error = StoreError::new(kind, format!("so it is; {NOTHING_WAS_RENAMED}"));
    error.after_copy = after_copy;
    error
}

/// Whatever the words of a store are, the last ones are the gateway's.
#[tokio::test]
async fn what_a_failed_rename_has_done_stands_at_the_end_of_its_message() {
    use StoreErrorKind::{AccessDenied, AlreadyExists, Changed, Unavailable};
    for (call, error, ending) in [
        ("rename", error(AccessDenied, true), THE_NEW_NAME_IS_WHOLE),
        ("rename", error(Changed, true), THE_NEW_NAME_IS_WHOLE),
        ("rename", error(StoreErrorKind::NotFound, true), THE_NEW_NAME_IS_WHOLE),
        ("rename", error(Unavailable, false), NOT_KNOWN),
        ("rename", error(AlreadyExists, false), NOTHING_WAS_RENAMED),
        ("rename_directory", error(Unavailable, true), THE_NEW_NAME_IS_WHOLE),
        ("rename_directory", error(Unavailable, false), NOT_KNOWN),
        // Some of it may have been copied before.
        ("rename_directory", error(AlreadyExists, false), NOT_KNOWN),
    ] {
        let (home, here, _) = home().await;
        let session = home.session();
        put(&session, "/d/a", b"1").await.unwrap();
        put(&session, "/b", b"2").await.unwrap();
        let shown = format!("{call} {error:?}");
        here.spoil(call, error);
        let (from, to) = if call == "rename" { ("/d/a", "/b") } else { ("/d", "/e") };
        session.rename(&path(from), &path(to), REPLACE).await.unwrap_err();
        let message = message(&home);
        assert!(message.ends_with(&format!("; {ending}")), "{shown}: {message}");
    }
}

#[tokio::test]
async fn across_stores_it_is_said_as_well() {
    use StoreErrorKind::{AccessDenied, AlreadyExists, Unavailable, Unsupported};
    for (from, is_source, call, error, ending) in [
        ("/d/a", true, "open", error(Unavailable, false), NOT_KNOWN),
        ("/d/a", false, "put", error(Unavailable, false), NOT_KNOWN),
        ("/d/a", false, "put", error(AlreadyExists, false), NOTHING_WAS_RENAMED),
        ("/d/a", true, "delete_version", error(AccessDenied, false), THE_NEW_NAME_IS_WHOLE),
        // A fault of the client's, after the copy.
        ("/d/a", true, "delete_version", error(Unsupported, false), THE_NEW_NAME_IS_WHOLE),
        ("/d", false, "put", error(AlreadyExists, false), NOT_KNOWN),
        ("/d", true, "delete_version", error(Unavailable, false), THE_NEW_NAME_IS_WHOLE),
    ] {
        let (home, here, there) = home().await;
        let session = home.session();
        put(&session, "/d/a", b"1").await.unwrap();
        let shown = format!("{from} {call} {error:?}");
        (if is_source { here } else { there }).spoil(call, error);
        session.rename(&path(from), &path("/other/x"), REPLACE).await.unwrap_err();
        let message = message(&home);
        assert!(message.ends_with(&format!("; {ending}")), "{shown}: {message}");
    }
}

/// Nothing was asked of the store, or it has refused before it did anything.
#[tokio::test]
async fn what_is_refused_before_has_renamed_nothing() {
    let (home, ..) = home().await;
    let session = home.session();
    put(&session, "/a", b"1").await.unwrap();
    put(&session, "/b", b"2").await.unwrap();
    for (from, to) in [("/a", "/b"), ("/missing", "/c")] {
        session.rename(&path(from), &path(to), RenameMode::default()).await.unwrap_err();
        assert!(message(&home).ends_with(&format!("; {NOTHING_WAS_RENAMED}")), "{}", message(&home));
    }
}

/// The folder has its new name, and an upload that is under way cannot follow it there.
#[tokio::test]
async fn an_upload_that_cannot_follow_leaves_the_new_name_whole() {
    let (home, ..) = home().await;
    let session = home.session();
    // As long as a path may be, but for a few bytes.
    let long = format!("/{}", "x".repeat(250)).repeat(4);
    put(&session, "/d/a", b"1").await.unwrap();
    let mut upload = session.open(&path(&format!("/d{long}")), PUT, &NOTHING).await.unwrap();
    upload.write_at(0, Bytes::from_static(b"2")).await.unwrap();
    let to = format!("/{}", "e".repeat(60));
    session.rename(&path("/d"), &path(&to), RenameMode::default()).await.unwrap_err();
    assert!(message(&home).ends_with(&format!("; {THE_NEW_NAME_IS_WHOLE}")), "{}", message(&home));
    assert_eq!(get(&session, &format!("{to}/a")).await.unwrap(), "1");
}

/// What an auditor is told of the content, from these very events.
#[tokio::test]
async fn no_digest_is_claimed_of_what_a_failed_rename_has_replaced() {
    use crate::audit::manifest::{Collection, Direction};
    use crate::audit::read::Event;
    use StoreErrorKind::{AccessDenied, AlreadyExists, Unavailable};
    // printf 1 | sha256sum; printf 2 | sha256sum
    let one = "6b86b273ff34fce19d6b804eff5a3f5747ada4eaa22f1d49c01e52ddb7875b4b";
    let two = "d4735e3a265e16eee03f59718b9b5d03019c07d8b6c51f90da3a666eec13ab35";
    let of_ones = format!("# demo\n{one}  a\n");
    for (error, of_b) in [
        (error(AccessDenied, true), "# no digest is on record: b\n".to_owned()),
        (error(Unavailable, false), "# no digest is on record: b\n".to_owned()),
        (error(AlreadyExists, false), format!("{two}  b\n")),
    ] {
        let (home, here, _) = home().await;
        let session = home.session();
        put(&session, "/b", b"2").await.unwrap();
        put(&session, "/a", b"1").await.unwrap();
        here.spoil("rename", error);
        session.rename(&path("/a"), &path("/b"), REPLACE).await.unwrap_err();
        let mut collection = Collection::new(Direction::Received);
        for event in home.events() {
            collection.note(&Event::parse(event.to_string().as_bytes()).unwrap(), true);
        }
        let mut list = Vec::new();
        collection.finish().write(&mut list).unwrap();
        assert_eq!(String::from_utf8(list).unwrap(), format!("{of_ones}{of_b}"));
    }
}
