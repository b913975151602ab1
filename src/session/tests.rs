//! The door over a memory store: what each operation does, what the policy stops, and what is recorded of it.
#![allow(clippy::unwrap_used)]

mod between;
mod cut;
mod ends;
pub(super) mod halting;
mod renamed;

use std::time::{Duration, UNIX_EPOCH};

use bytes::Bytes;
use serde_json::Value;

use super::testing::Home;
use super::*;
use crate::policy::{Permission, Permissions};

/// A hang.
const LIMIT: Duration = Duration::from_secs(60);

fn path(text: &str) -> LogicalPath {
    LogicalPath::parse_str(text).unwrap()
}

const NOTHING: AttributeChange = AttributeChange { size: None, mtime: None, mode: None, owner: None, extended: false };
const READ: OpenMode =
    OpenMode { read: true, write: false, append: false, create: false, truncate: false, exclusive: false };
const PUT: OpenMode =
    OpenMode { read: false, write: true, append: false, create: true, truncate: true, exclusive: false };

async fn put(session: &Session, name: &str, data: &'static [u8]) -> SessionResult<()> {
    let mut transfer = session.open(&path(name), PUT, &NOTHING).await?;
    transfer.write_at(0, Bytes::from_static(data)).await?;
    transfer.close().await
}

async fn get(session: &Session, name: &str) -> SessionResult<Bytes> {
    let mut transfer = session.open(&path(name), READ, &NOTHING).await?;
    let data = transfer.read_at(0, 1 << 20).await?;
    transfer.close().await?;
    Ok(data)
}

fn names(events: &[Value]) -> Vec<&str> {
    events.iter().map(|event| event["activity-type"].as_str().unwrap()).collect()
}

/// Somebody else removes the folder while the upload is open.
#[tokio::test]
async fn who_may_make_no_folders_brings_none_back_by_a_close() {
    let folder = tempfile::tempdir().unwrap();
    let url = format!("file://{}", folder.path().display());
    for may_make in [false, true] {
        let settings = crate::stores::Settings { name: "disk".into(), url: url.clone(), options: Vec::new() };
        let store = crate::stores::open(&settings).unwrap();
        let list_and_write = [Permission::List, Permission::Write].into_iter().collect::<Permissions>();
        let permissions = if may_make { list_and_write.with(Permission::Mkdir) } else { list_and_write };
        let home = Home::over(store, &[("/", &format!("home-{may_make}"), permissions)]).await;
        let session = home.session();
        // The folder of the home need not be there.
        put(&session, "/first", b"1").await.unwrap();
        let inner = folder.path().join(format!("home-{may_make}/in"));
        std::fs::create_dir(&inner).unwrap();
        for length in [1, 1 << 20] {
            let mut transfer = session.open(&path(&format!("/in/{length}")), PUT, &NOTHING).await.unwrap();
            transfer.write_at(0, vec![0; length].into()).await.unwrap();
            std::fs::remove_dir_all(&inner).unwrap();
            let closed = transfer.close().await;
            match may_make {
                true => closed.unwrap(),
                false => {
                    let error = closed.unwrap_err();
                    assert_eq!(error.kind, ErrorKind::Store(StoreErrorKind::NotFound), "{error}");
                    assert!(!inner.exists());
                    std::fs::create_dir(&inner).unwrap();
                }
            }
        }
        // A name that was renamed there meanwhile.
        let mut transfer = session.open(&path("/file"), PUT, &NOTHING).await.unwrap();
        transfer.write_at(0, Bytes::from_static(b"x")).await.unwrap();
        session.rename(&path("/file"), &path("/in/file"), RenameMode::default()).await.unwrap();
        std::fs::remove_dir_all(&inner).unwrap();
        assert_eq!(transfer.close().await.is_ok(), may_make);
        assert_eq!(inner.exists(), may_make);
    }
}

#[tokio::test]
async fn an_upload_and_a_download_have_one_pair_of_events_each() {
    let home = Home::new(&[("/", "", Permissions::READ_WRITE)]).await;
    let session = home.session();
    put(&session, "/a.txt", b"hello").await.unwrap();
    assert_eq!(get(&session, "a.txt").await.unwrap(), "hello");
    let events = home.events();
    assert_eq!(names(&events), ["OPEN", "CLOSE", "OPEN", "CLOSE"]);
    assert_eq!(events[0]["mode"], "CREATE|TRUNCATE|WRITE");
    assert_eq!(events[0]["path"], "/memory/a.txt");
    assert_eq!(events[0]["logical-path"], "/a.txt");
    assert_eq!(events[1]["bytes-in"], "5");
    assert_eq!(events[1]["status"], "success");
    // printf hello | sha256sum
    assert_eq!(events[1]["sha256"], "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824");
    assert_eq!(events[2]["mode"], "READ");
    assert_eq!(events[3]["bytes-out"], "5");
    assert_eq!(events[3]["sha256"], events[1]["sha256"]);
    assert_eq!(home.login().open_transfers(), 0);
}

#[tokio::test]
async fn an_upload_has_the_digest_of_what_is_published_in_whatever_order_it_came() {
    let home = Home::new(&[("/", "", Permissions::READ_WRITE)]).await;
    let session = home.session();
    // printf abcdef | sha256sum
    let digest = "bef57ec7f53a6d40beb640a780a639c83bc29ac8a9816f1fc6c5c6dcd93c4721";
    let orders: [&[(u64, &[u8])]; 4] = [
        &[(0, b"abcdef")],
        &[(3, b"def"), (0, b"abc")],
        &[(0, b"abc"), (5, b"f"), (3, b"de")],
        &[(0, b"aaa"), (1, b"bcdef")],
    ];
    for order in orders {
        let mut transfer = session.open(&path("/a"), PUT, &NOTHING).await.unwrap();
        for (offset, data) in order {
            transfer.write_at(*offset, Bytes::from_static(data)).await.unwrap();
        }
        transfer.close().await.unwrap();
        assert_eq!(home.events().last().unwrap()["sha256"], digest, "{order:?}");
        assert_eq!(get(&session, "/a").await.unwrap(), "abcdef");
    }
}

#[tokio::test]
async fn what_was_cut_or_left_out_is_in_the_digest_as_it_is_in_the_file() {
    let home = Home::new(&[("/", "", Permissions::READ_WRITE)]).await;
    let session = home.session();
    let mut transfer = session.open(&path("/a"), PUT, &NOTHING).await.unwrap();
    transfer.write_at(0, Bytes::from_static(b"abcd")).await.unwrap();
    transfer.set_attributes(&AttributeChange { size: Some(2), ..NOTHING }).await.unwrap();
    transfer.write_at(4, Bytes::from_static(b"e")).await.unwrap();
    transfer.close().await.unwrap();
    // printf 'ab\0\0e' | sha256sum
    let digest = "aa0dcde37287ce3e7cbee29ffd40837f88d1ec9b50aeb21ebe687a393b7db4a0";
    assert_eq!(home.events().last().unwrap()["sha256"], digest);
    assert_eq!(get(&session, "/a").await.unwrap(), "ab\0\0e");
}

/// Each part of what is in the file reached the client; some of it perhaps early, or twice.
#[tokio::test]
async fn a_download_has_a_digest_when_it_was_read_whole() {
    let home = Home::new(&[("/", "", Permissions::READ_WRITE)]).await;
    let session = home.session();
    put(&session, "/a", b"hello").await.unwrap();
    put(&session, "/empty", b"").await.unwrap();
    let digest = "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824";
    let read = async |name: &str, parts: &[(u64, usize)]| {
        let mut transfer = session.open(&path(name), READ, &NOTHING).await.unwrap();
        for (offset, length) in parts {
            transfer.read_at(*offset, *length).await.unwrap();
        }
        transfer.close().await.unwrap();
        home.events().last().unwrap().get("sha256").and_then(|found| found.as_str().map(str::to_owned))
    };
    let whole: [&[(u64, usize)]; 8] = [
        &[(0, 5)],
        &[(0, 3), (3, 100), (5, 100)],
        &[(0, 2), (0, 2), (1, 3), (4, 1)],
        &[(0, 5), (2, 1)],
        &[(0, 1), (0, 5)],
        &[(0, 2), (9, 5), (2, 3)],
        &[(1, 4), (0, 5)],
        &[(2, 3), (0, 2)],
    ];
    for parts in whole {
        assert_eq!(read("/a", parts).await.as_deref(), Some(digest), "{parts:?}");
    }
    let others: [&[(u64, usize)]; 5] = [&[], &[(0, 4)], &[(1, 4)], &[(0, 2), (3, 2)], &[(5, 1)]];
    for parts in others {
        assert_eq!(read("/a", parts).await, None, "{parts:?}");
    }
    let nothing = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
    assert_eq!(read("/empty", &[(0, 10)]).await.as_deref(), Some(nothing));
}

#[tokio::test]
async fn a_dropped_upload_publishes_nothing_and_is_a_partial_close() {
    let home = Home::new(&[("/", "", Permissions::READ_WRITE)]).await;
    let session = home.session();
    put(&session, "/a", b"old").await.unwrap();
    let mut transfer = session.open(&path("/a"), PUT, &NOTHING).await.unwrap();
    transfer.write_at(0, Bytes::from_static(b"new content")).await.unwrap();
    assert_eq!(home.login().open_transfers(), 1);
    drop(transfer);
    assert!(home.login().transfers_ended_within(LIMIT).await);
    assert_eq!(get(&session, "/a").await.unwrap(), "old");
    let events = home.events();
    assert_eq!(names(&events), ["OPEN", "CLOSE", "OPEN", "PARTIAL_CLOSE", "OPEN", "CLOSE"]);
    assert_eq!(events[3]["bytes-in"], "11");
    assert_eq!(events[3]["status"], "failure");
}

#[tokio::test]
async fn what_the_policy_forbids_is_recorded_and_not_done() {
    let home = Home::new(&[("/in", "in", Permissions::WRITE_ONLY), ("/out", "out", Permissions::READ_ONLY)]).await;
    let session = home.session();
    put(&home.session_of_another_connection(), "/in/a", b"1").await.unwrap();
    let again = put(&session, "/in/a", b"2").await.unwrap_err();
    assert_eq!(again.kind, ErrorKind::Denied);
    assert_eq!(get(&session, "/in/a").await.unwrap_err().kind, ErrorKind::Denied);
    assert_eq!(put(&session, "/out/a", b"1").await.unwrap_err().kind, ErrorKind::Denied);
    assert_eq!(session.remove_file(&path("/in/a")).await.unwrap_err().kind, ErrorKind::Denied);
    assert_eq!(session.open_directory(&path("/in")).await.unwrap_err().kind, ErrorKind::Denied);
    assert_eq!(
        session.rename(&path("/in/a"), &path("/in/b"), RenameMode::default()).await.unwrap_err().kind,
        ErrorKind::Denied
    );
    let hidden = session.stat(&path("/elsewhere")).await.unwrap_err();
    assert_eq!(hidden.kind, ErrorKind::Store(StoreErrorKind::NotFound));
    let virtual_parent = put(&session, "/b", b"1").await.unwrap_err();
    assert_eq!(virtual_parent.kind, ErrorKind::Denied);
    let events = home.events();
    assert_eq!(names(&events), ["OPEN", "CLOSE", "OPEN", "OPEN", "OPEN", "DELETE", "LIST", "RENAME", "OPEN"]);
    assert!(events[2..].iter().all(|event| event["status"] == "denied"), "{events:#?}");
    assert_eq!(events[8].get("path"), None);
}

#[tokio::test]
async fn names_have_their_events() {
    let home = Home::new(&[("/", "", Permissions::READ_WRITE)]).await;
    let session = home.session();
    session.make_directory(&path("/d"), &AttributeChange { mode: Some(0o755), ..NOTHING }).await.unwrap();
    put(&session, "/d/a", b"1").await.unwrap();
    session.rename(&path("/d/a"), &path("/d/b"), RenameMode::default()).await.unwrap();
    put(&session, "/d/a", b"2").await.unwrap();
    let refused = session.rename(&path("/d/a"), &path("/d/b"), RenameMode::default()).await.unwrap_err();
    assert_eq!(refused.kind, ErrorKind::Store(StoreErrorKind::AlreadyExists));
    session.rename(&path("/d/a"), &path("/d/b"), RenameMode { overwrite: true, directory: true }).await.unwrap_err();
    session.rename(&path("/d/a"), &path("/d/b"), RenameMode { overwrite: true, directory: false }).await.unwrap();
    assert_eq!(get(&session, "/d/b").await.unwrap(), "2");
    let full = session.remove_directory(&path("/d")).await.unwrap_err();
    assert_eq!(full.kind, ErrorKind::Store(StoreErrorKind::DirectoryNotEmpty));
    session.remove_file(&path("/d/b")).await.unwrap();
    session.remove_directory(&path("/d")).await.unwrap();
    let _ = session.refuse_link(b"/etc/passwd", &path("/link"), true).await;
    let events: Vec<_> = home.events().into_iter().filter(|e| e["mode"].is_null() && e["bytes-in"].is_null()).collect();
    assert_eq!(
        names(&events[..]),
        ["MKDIR", "RENAME", "RENAME", "RENAME", "RENAME", "CLOSE", "RMDIR", "DELETE", "RMDIR", "CREATE_SYMLINK"]
    );
    assert_eq!(events[0]["message"], "ignored: mode");
    assert_eq!(events[1]["new-path"], "/memory/d/b");
    let failed: Vec<_> = (0..events.len()).filter(|i| events[*i]["status"] == "failure").collect();
    assert_eq!(failed, [2, 3, 6, 9]);
}

#[tokio::test]
async fn a_listing_is_one_event() {
    let home = Home::new(&[("/", "", Permissions::READ_WRITE)]).await;
    let session = home.session();
    put(&session, "/a", b"1").await.unwrap();
    let mut directory = session.open_directory(&LogicalPath::root()).await.unwrap();
    let page = directory.next_page().await.unwrap().unwrap();
    assert_eq!((page[0].0.as_str(), page[0].1.mode, page[0].1.size), ("a", 0o644, 1));
    while directory.next_page().await.unwrap().is_some() {}
    drop(directory);
    let unfinished = session.open_directory(&LogicalPath::root()).await.unwrap();
    drop(unfinished);
    assert!(home.login().transfers_ended_within(LIMIT).await);
    let missing = session.open_directory(&path("/nowhere")).await;
    assert!(missing.is_err());
    assert_eq!(names(&home.events()), ["OPEN", "CLOSE", "LIST", "LIST", "LIST"]);
}

#[tokio::test]
async fn times_are_kept_and_modes_are_ignored() {
    let home = Home::new(&[("/", "", Permissions::READ_WRITE)]).await;
    let session = home.session();
    let time = UNIX_EPOCH + Duration::from_secs(1_700_000_000);
    let mut transfer = session.open(&path("/a"), PUT, &NOTHING).await.unwrap();
    transfer.write_at(0, Bytes::from_static(b"x")).await.unwrap();
    let change = AttributeChange { mtime: Some(time), mode: Some(0o600), ..NOTHING };
    transfer.set_attributes(&change).await.unwrap();
    transfer.close().await.unwrap();
    assert_eq!(session.stat(&path("/a")).await.unwrap().mtime, Some(time));
    let later = time + Duration::from_secs(10);
    session.set_attributes(&path("/a"), &AttributeChange { mtime: Some(later), ..NOTHING }).await.unwrap();
    assert_eq!(session.stat(&path("/a")).await.unwrap().mtime, Some(later));
    let missing = session.set_attributes(&path("/b"), &AttributeChange { mode: Some(0o600), ..NOTHING }).await;
    assert_eq!(missing.unwrap_err().kind, ErrorKind::Store(StoreErrorKind::NotFound));
    let setstats: Vec<_> = home.events().into_iter().filter(|e| e["activity-type"] == "SETSTAT").collect();
    assert_eq!(setstats.len(), 3);
    assert_eq!(setstats[0]["message"], "ignored: mode");
}

#[tokio::test]
async fn what_cannot_be_recorded_is_not_done() {
    let home = Home::new(&[("/", "", Permissions::READ_WRITE)]).await;
    let session = home.session();
    put(&session, "/a", b"1").await.unwrap();
    home.sink().fail("no space");
    // This one finds out: it is done, the client is told that it failed, and its event waits for the sink.
    assert_eq!(put(&session, "/b", b"1").await.unwrap_err().kind, ErrorKind::Unrecorded);
    // From now on nothing is done.
    assert_eq!(session.remove_file(&path("/a")).await.unwrap_err().kind, ErrorKind::Unrecorded);
    assert_eq!(get(&session, "/a").await.unwrap_err().kind, ErrorKind::Unrecorded);
    home.sink().recover();
    // The failing sink is tried again by itself.
    for _ in 0..600 {
        if get(&session, "/a").await.is_ok() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("the trail did not recover");
}

#[tokio::test]
async fn an_upload_whose_end_cannot_be_recorded_is_not_published() {
    let home = Home::new(&[("/", "", Permissions::READ_WRITE)]).await;
    let session = home.session();
    put(&session, "/a", b"old").await.unwrap();
    let mut transfer = session.open(&path("/a"), PUT, &NOTHING).await.unwrap();
    transfer.write_at(0, Bytes::from_static(b"newer")).await.unwrap();
    home.sink().fail("no space");
    // Somebody finds out.
    assert_eq!(session.make_directory(&path("/d"), &NOTHING).await.unwrap_err().kind, ErrorKind::Unrecorded);
    assert_eq!(transfer.close().await.unwrap_err().kind, ErrorKind::Unrecorded);
    assert_eq!(home.store().stat(&crate::stores::Key::parse("a").unwrap()).await.unwrap().size, 3, "it is as it was");
    home.sink().recover();
    let ends = home.sink().wait_for("ERROR", 1, LIMIT).await;
    assert_eq!((ends.len(), &ends[0]["operation"]), (1, &"CLOSE".into()), "{ends:?}");
    assert!(ends[0]["message"].as_str().unwrap().ends_with("no space; nothing was published"), "{}", ends[0]);
    assert!(home.login().transfers_ended_within(LIMIT).await);
    assert_eq!(names(&home.events()), ["OPEN", "CLOSE", "OPEN", "MKDIR", "ERROR"]);
}

/// `touch`, and clients that open a file to see whether they may write it.
#[tokio::test]
async fn a_close_says_that_nothing_was_written() {
    let home = Home::new(&[("/", "", Permissions::READ_WRITE)]).await;
    let session = home.session();
    let as_it_is = OpenMode { truncate: false, ..PUT };
    put(&session, "/old", b"old").await.unwrap();
    for (name, mode, data) in [
        ("/old", as_it_is, ""),
        ("/new", as_it_is, ""),
        ("/old", as_it_is, "x"),
        ("/old", PUT, ""),
        ("/old", as_it_is, ""),
    ] {
        let mut transfer = session.open(&path(name), mode, &NOTHING).await.unwrap();
        if !data.is_empty() {
            transfer.write_at(0, Bytes::from_static(data.as_bytes())).await.unwrap();
        }
        transfer.close().await.unwrap();
    }
    let events = home.events();
    let closes = events.iter().filter(|event| event["activity-type"] == "CLOSE");
    let unchanged: Vec<bool> = closes.map(|event| event.get("unchanged").is_some_and(|is| is == true)).collect();
    assert_eq!(unchanged, [false, true, false, false, false, true]);
}

/// Two handles of one new file: the first CLOSE publishes what both wrote.
#[tokio::test]
async fn a_handle_that_wrote_is_not_unchanged_when_another_one_published_it() {
    let home = Home::new(&[("/", "", Permissions::READ_WRITE)]).await;
    let session = home.session();
    let wrote = session.open(&path("/a"), PUT, &NOTHING).await;
    let mut wrote = wrote.unwrap();
    wrote.write_at(0, Bytes::from_static(b"0123456789")).await.unwrap();
    let as_it_is = OpenMode { truncate: false, ..PUT };
    session.open(&path("/a"), as_it_is, &NOTHING).await.unwrap().close().await.unwrap();
    wrote.close().await.unwrap();
    let events = home.events();
    let closes = events.iter().filter(|event| event["activity-type"] == "CLOSE");
    let told: Vec<_> = closes.map(|event| (event["bytes-in"].clone(), event["unchanged"].clone())).collect();
    assert_eq!(told, [("0".into(), Value::Null), ("10".into(), Value::Null)]);
    // One that is only opened and closed counts as no file.
    let files_in = || home.login().totals().files_in.load(std::sync::atomic::Ordering::Relaxed);
    let before = files_in();
    session.open(&path("/a"), as_it_is, &NOTHING).await.unwrap().close().await.unwrap();
    assert_eq!((before, files_in()), (2, 2));
}

#[tokio::test]
async fn a_close_that_fails_is_an_error_and_no_close() {
    let home = Home::new(&[("/", "", Permissions::READ_WRITE)]).await;
    let session = home.session();
    let exclusive = OpenMode { exclusive: true, ..PUT };
    let mut transfer = session.open(&path("/a"), exclusive, &NOTHING).await.unwrap();
    transfer.write_at(0, Bytes::from_static(b"late")).await.unwrap();
    put(&session, "/a", b"first").await.unwrap();
    assert_eq!(transfer.close().await.unwrap_err().kind, ErrorKind::Store(StoreErrorKind::AlreadyExists));
    let events = home.events();
    assert_eq!(names(&events), ["OPEN", "OPEN", "CLOSE", "ERROR"]);
    let text = |name: &str| events[3][name].as_str().unwrap();
    let seen = ["operation", "path", "logical-path", "bytes-in", "status"].map(text);
    assert_eq!(seen, ["CLOSE", "/memory/a", "/a", "4", "failure"]);
    assert!(text("message").contains("it exists already") && events[3].get("sha256").is_none(), "{}", events[3]);
    assert_eq!(home.login().totals().files_in.load(std::sync::atomic::Ordering::Relaxed), 1);
}

#[tokio::test]
async fn an_open_that_cannot_be_recorded_has_an_end_all_the_same() {
    let home = Home::new(&[("/", "", Permissions::READ_WRITE)]).await;
    let session = home.session();
    home.sink().fail("no space");
    assert_eq!(put(&session, "/a", b"1").await.unwrap_err().kind, ErrorKind::Unrecorded);
    home.sink().recover();
    home.sink().wait_for("PARTIAL_CLOSE", 1, LIMIT).await;
    assert_eq!(names(&home.events()), ["OPEN", "PARTIAL_CLOSE"]);
}

#[tokio::test]
async fn modes_show_what_the_permissions_allow() {
    let home = Home::new(&[("/", "", Permissions::READ_WRITE), ("/r", "r", Permissions::READ_ONLY)]).await;
    let session = home.session();
    assert_eq!(session.stat(&path("/")).await.unwrap().mode, 0o755);
    assert_eq!(session.stat(&path("/r")).await.unwrap().mode, 0o555);
}

/// The digest of the CLOSE is then no longer that of the file.
#[tokio::test]
async fn a_setstat_says_which_length_it_gave_a_file() {
    let home = Home::new(&[("/", "", Permissions::READ_WRITE), ("/ro", "ro", Permissions::READ_ONLY)]).await;
    let session = home.session();
    put(&session, "/a", b"abc").await.unwrap();
    let unfinished = session.open(&path("/new"), PUT, &NOTHING).await.unwrap();
    let time = Some(UNIX_EPOCH + Duration::from_secs(1_000));
    for (name, size, mtime) in [
        ("/a", Some(2), time),
        ("/a", Some(2), None),
        ("/a", None, time),
        ("/missing", Some(1), None),
        ("/ro/a", Some(1), None),
        ("/new", Some(7), None),
    ] {
        let _ = session.set_attributes(&path(name), &AttributeChange { size, mtime, ..NOTHING }).await;
    }
    unfinished.close().await.unwrap();
    let setstats = home.events().into_iter().filter(|event| event["activity-type"] == "SETSTAT");
    let told: Vec<_> = setstats.map(|event| (event["status"].clone(), event.get("size").cloned())).collect();
    let told: Vec<_> = told.iter().map(|(status, size)| (status.as_str().unwrap(), size.as_ref())).collect();
    let (two, one) = (Value::from(2), Value::from(1));
    assert_eq!(
        told,
        [
            ("success", Some(&two)),
            ("success", None),
            ("success", None),
            ("failure", Some(&one)),
            ("denied", None),
            ("success", None)
        ]
    );
}

/// What the documentation shows is what is recorded.
#[tokio::test]
async fn a_link_is_recorded_as_documented() {
    let home = Home::new(&[("/incoming", "in/user0001", Permissions::READ_WRITE)]).await;
    let _ = home.session().refuse_link(b"../../etc/passwd", &path("/incoming/link"), true).await;
    let document = include_str!("../../docs/EVENTS.md").lines();
    let mut shown = document.filter(|line| line.starts_with('{') && line.contains("\"CREATE_SYMLINK\""));
    let shown: Value = serde_json::from_str(shown.next().unwrap()).unwrap();
    for name in ["status", "message", "logical-path", "new-logical-path"] {
        assert_eq!(home.events()[0][name], shown[name], "{name}");
    }
}
