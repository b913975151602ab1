//! What operations by name make of files that the connection is writing, over a memory store and a folder.
#![allow(clippy::unwrap_used)]

use std::time::{Duration, UNIX_EPOCH};

use aws_lc_rs::digest;
use bytes::Bytes;
use futures_util::future::join;

use crate::path::LogicalPath;
use crate::policy::{Permission, Permissions};
use crate::session::testing::Home;
use crate::session::{
    AttributeChange, ErrorKind, Kind, OpenMode, RenameMode, Session, SessionResult, StoreErrorKind, Transfer,
};

const NOTHING: AttributeChange = AttributeChange { size: None, mtime: None, mode: None, owner: None, extended: false };
const GET: OpenMode =
    OpenMode { read: true, write: false, append: false, create: false, truncate: false, exclusive: false };
const PUT: OpenMode =
    OpenMode { read: false, write: true, append: false, create: true, truncate: true, exclusive: false };
/// `r+`
const CHANGE: OpenMode = OpenMode { read: true, create: false, truncate: false, ..PUT };
/// Only WRITE, as `is_writable()` of some clients has it.
const TOUCH: OpenMode = OpenMode { create: false, truncate: false, ..PUT };
const PLAIN: RenameMode = RenameMode { overwrite: false, directory: false };
const POSIX: RenameMode = RenameMode { overwrite: true, directory: false };
const MISSING: ErrorKind = ErrorKind::Store(StoreErrorKind::NotFound);
const EXISTS: ErrorKind = ErrorKind::Store(StoreErrorKind::AlreadyExists);

fn path(text: &str) -> LogicalPath {
    LogicalPath::parse_str(text).unwrap()
}

/// A home in memory, and one in a folder.
async fn homes() -> Vec<(Home, Option<tempfile::TempDir>)> {
    let folder = tempfile::tempdir().unwrap();
    let local = Home::on_folder(folder.path()).await;
    vec![(Home::open().await, None), (local, Some(folder))]
}

async fn open(session: &Session, name: &str, mode: OpenMode) -> Transfer {
    session.open(&path(name), mode, &NOTHING).await.unwrap()
}

async fn write(transfer: &mut Transfer, offset: u64, data: &str) {
    transfer.write_at(offset, Bytes::copy_from_slice(data.as_bytes())).await.unwrap();
}

async fn put(session: &Session, name: &str, data: &str) {
    let mut transfer = open(session, name, PUT).await;
    write(&mut transfer, 0, data).await;
    transfer.close().await.unwrap();
}

async fn get(session: &Session, name: &str) -> SessionResult<String> {
    let mut transfer = session.open(&path(name), GET, &NOTHING).await?;
    let data = transfer.read_at(0, 1 << 20).await?;
    transfer.close().await?;
    Ok(String::from_utf8(data.to_vec()).unwrap())
}

/// What is published.
/// Of the last upload, whoever wrote to the file beside it.
async fn assert_published_with_its_digest(home: &Home, name: &str, content: &str) {
    assert_eq!(published(home, name).await.unwrap(), content);
    let digest = digest::digest(&digest::SHA256, content.as_bytes());
    let digest = base16ct::lower::encode_string(digest.as_ref());
    let events = home.events();
    let upload =
        events.iter().rfind(|event| event["activity-type"] == "CLOSE" && event["operation"] == "write").unwrap();
    assert_eq!(upload["sha256"], digest, "{upload}");
}

async fn published(home: &Home, name: &str) -> Option<String> {
    get(&home.session_of_another_connection(), name).await.ok()
}

async fn size(session: &Session, name: &str) -> Option<u64> {
    session.stat(&path(name)).await.ok().map(|attributes| attributes.size)
}

fn activities(home: &Home, logical_path: &str) -> Vec<String> {
    let events = home.events().into_iter().filter(|event| event["logical-path"] == logical_path);
    events
        .map(|event| format!("{} {}", event["activity-type"].as_str().unwrap(), event["status"].as_str().unwrap()))
        .collect()
}

#[tokio::test]
async fn a_removed_upload_is_gone_and_its_handle_goes_on_to_succeed() {
    for (home, _folder) in homes().await {
        let session = home.session();
        for old in [false, true] {
            if old {
                put(&session, "/f", "old").await;
            }
            let mut upload = open(&session, "/f", PUT).await;
            write(&mut upload, 0, &"x".repeat(5_120)).await;
            session.remove_file(&path("/f")).await.unwrap();
            assert_eq!(size(&session, "/f").await, None);
            write(&mut upload, 5_120, "more").await;
            upload.set_attributes(&AttributeChange { size: Some(7), ..NOTHING }).await.unwrap();
            upload.close().await.unwrap();
            assert_eq!(published(&home, "/f").await, None);
            assert_eq!(session.remove_file(&path("/f")).await.unwrap_err().kind, MISSING);
        }
        let told = activities(&home, "/f");
        assert!(told.iter().any(|event| event == "PARTIAL_CLOSE failure"), "no file arrived: {told:?}");
        assert_eq!(home.login().open_transfers(), 0);
    }
}

#[tokio::test]
async fn a_newer_upload_is_what_the_name_means_whatever_an_older_handle_holds() {
    for (home, _folder) in homes().await {
        let session = home.session();
        let mut abandoned = open(&session, "/f", PUT).await;
        write(&mut abandoned, 0, &"x".repeat(5_120)).await;
        let mut newer = open(&session, "/f", PUT).await;
        assert_eq!(size(&session, "/f").await, Some(0), "the newest upload");
        write(&mut newer, 0, &"y".repeat(100)).await;
        newer.close().await.unwrap();
        assert_eq!(size(&session, "/f").await, Some(100));
        let time = UNIX_EPOCH + Duration::from_secs(1_500_000_000);
        session.set_attributes(&path("/f"), &AttributeChange { mtime: Some(time), ..NOTHING }).await.unwrap();
        let other = home.session_of_another_connection();
        assert_eq!(other.stat(&path("/f")).await.unwrap().mtime, Some(time), "SETSTAT reaches the published file");
        session.remove_file(&path("/f")).await.unwrap();
        assert_eq!(size(&session, "/f").await, None);
        abandoned.close().await.unwrap();
        assert_eq!(published(&home, "/f").await, None, "its file was removed");
    }
}

#[tokio::test]
async fn the_last_close_of_two_uploads_wins_whole() {
    for (home, _folder) in homes().await {
        let session = home.session();
        let (mut one, mut other) = (open(&session, "/f", PUT).await, open(&session, "/f", PUT).await);
        write(&mut one, 0, "the first").await;
        write(&mut other, 0, "second").await;
        other.close().await.unwrap();
        assert_eq!(published(&home, "/f").await.unwrap(), "second");
        one.close().await.unwrap();
        assert_eq!(published(&home, "/f").await.unwrap(), "the first");
    }
}

#[tokio::test]
async fn a_handle_that_was_never_written_is_no_upload() {
    for (home, _folder) in homes().await {
        let session = home.session();
        put(&session, "/f", "12345").await;
        let idle: Vec<_> = [open(&session, "/f", TOUCH).await, open(&session, "/f", CHANGE).await].into();
        let before = session.stat(&path("/f")).await.unwrap();
        assert_eq!(idle[0].attributes().mtime, before.mtime);
        let time = UNIX_EPOCH + Duration::from_secs(1_400_000_000);
        session.set_attributes(&path("/f"), &AttributeChange { mtime: Some(time), ..NOTHING }).await.unwrap();
        assert_eq!(published(&home, "/f").await.unwrap(), "12345");
        assert_eq!(session.stat(&path("/f")).await.unwrap().mtime, Some(time));
        put(&session, "/f", "1234567").await;
        assert_eq!(size(&session, "/f").await, Some(7));
        for handle in idle {
            handle.close().await.unwrap();
        }
        assert_eq!(published(&home, "/f").await.unwrap(), "1234567");
    }
}

#[tokio::test]
async fn a_renamed_upload_is_published_under_its_new_name() {
    for (home, _folder) in homes().await {
        let session = home.session();
        // A new file, and one that replaces an old one.
        for old in [None, Some("old")] {
            if let Some(old) = old {
                put(&session, "/f.tmp", old).await;
            }
            let mut upload = open(&session, "/f.tmp", PUT).await;
            write(&mut upload, 0, "content").await;
            session.rename(&path("/f.tmp"), &path("/f"), POSIX).await.unwrap();
            assert_eq!((size(&session, "/f.tmp").await, size(&session, "/f").await), (None, Some(7)));
            write(&mut upload, 7, "!").await;
            upload.close().await.unwrap();
            assert_eq!(published(&home, "/f").await.unwrap(), "content!");
            assert_eq!(published(&home, "/f.tmp").await, None);
            session.remove_file(&path("/f")).await.unwrap();
        }
        assert_eq!(activities(&home, "/f").iter().filter(|event| *event == "CLOSE success").count(), 2 + 2);
    }
}

#[tokio::test]
async fn a_folder_takes_what_is_written_in_it_along() {
    for (home, _folder) in homes().await {
        let session = home.session();
        for with_marker in [true, false] {
            if with_marker {
                session.make_directory(&path("/a"), &NOTHING).await.unwrap();
            }
            let mut upload = open(&session, "/a/b/f", PUT).await;
            write(&mut upload, 0, "content").await;
            assert_eq!(session.stat(&path("/a/b")).await.unwrap().kind, Kind::Directory);
            assert_eq!(
                session.remove_directory(&path("/a")).await.unwrap_err().kind,
                ErrorKind::Store(StoreErrorKind::DirectoryNotEmpty)
            );
            session.rename(&path("/a"), &path("/c"), PLAIN).await.unwrap();
            assert_eq!((size(&session, "/a/b/f").await, size(&session, "/c/b/f").await), (None, Some(7)));
            upload.close().await.unwrap();
            assert_eq!(published(&home, "/c/b/f").await.unwrap(), "content");
            assert!(session.stat(&path("/a")).await.is_err(), "the old folder does not come back");
            session.remove_file(&path("/c/b/f")).await.unwrap();
            session.remove_directory(&path("/c/b")).await.unwrap();
            session.remove_directory(&path("/c")).await.unwrap();
        }
    }
}

#[tokio::test]
async fn an_unfinished_file_replaces_and_is_replaced_only_when_it_may() {
    for (home, _folder) in homes().await {
        let session = home.session();
        put(&session, "/taken", "taken").await;
        session.make_directory(&path("/folder"), &NOTHING).await.unwrap();
        // It had to be free when it was opened, as GLib and `open("xb")` ask: that is no wish about the new name.
        let mut upload = open(&session, "/f", OpenMode { exclusive: true, ..PUT }).await;
        write(&mut upload, 0, "new").await;
        for (to, mode) in [("/taken", PLAIN), ("/folder", PLAIN), ("/folder", POSIX)] {
            session.rename(&path("/f"), &path(to), mode).await.unwrap_err();
        }
        assert_eq!(session.rename(&path("/taken"), &path("/f"), PLAIN).await.unwrap_err().kind, EXISTS);
        assert_eq!(session.make_directory(&path("/f"), &NOTHING).await.unwrap_err().kind, EXISTS);
        let exclusive = OpenMode { exclusive: true, ..PUT };
        assert_eq!(session.open(&path("/f"), exclusive, &NOTHING).await.unwrap_err().kind, EXISTS);
        session.rename(&path("/f"), &path("/taken"), POSIX).await.unwrap();
        assert_eq!(published(&home, "/taken").await.unwrap(), "taken", "until CLOSE");
        upload.close().await.unwrap();
        assert_eq!(published(&home, "/taken").await.unwrap(), "new");
    }
}

#[tokio::test]
async fn two_handles_of_one_file_change_it_together() {
    for (home, _folder) in homes().await {
        let session = home.session();
        put(&session, "/f", "old content").await;
        // The second is opened after the first has written, before it, and while nobody has.
        for (n, late) in [(0, true), (1, false), (2, true)] {
            let mut one = open(&session, "/f", CHANGE).await;
            let early = if late { None } else { Some(open(&session, "/f", CHANGE).await) };
            one.set_attributes(&AttributeChange { size: Some(0), ..NOTHING }).await.unwrap();
            write(&mut one, 0, "0123456789").await;
            let mut other = match early {
                Some(other) => other,
                None => open(&session, "/f", CHANGE).await,
            };
            assert_eq!(other.read_at(0, 100).await.unwrap(), "0123456789");
            if n == 2 {
                write(&mut other, 4, "ab").await;
                one.close().await.unwrap();
                assert_published_with_its_digest(&home, "/f", "0123ab6789").await;
                write(&mut other, 6, "cd").await;
            } else {
                one.close().await.unwrap();
                assert_published_with_its_digest(&home, "/f", "0123456789").await;
                write(&mut other, 4, "ab").await;
                write(&mut other, 6, "cd").await;
            }
            other.close().await.unwrap();
            assert_published_with_its_digest(&home, "/f", "0123abcd89").await;
        }
    }
}

#[tokio::test]
async fn a_handle_opened_before_a_newer_upload_begins_from_that() {
    for (home, _folder) in homes().await {
        let session = home.session();
        put(&session, "/f", "old").await;
        let mut idle = open(&session, "/f", CHANGE).await;
        assert_eq!(idle.read_at(0, 10).await.unwrap(), "old");
        put(&session, "/f", "newer content").await;
        write(&mut idle, 0, "N").await;
        idle.close().await.unwrap();
        assert_eq!(published(&home, "/f").await.unwrap(), "Newer content");
    }
}

#[tokio::test]
async fn an_unfinished_file_can_be_read_by_its_name() {
    for (home, _folder) in homes().await {
        let session = home.session();
        put(&session, "/f", "old").await;
        let mut upload = open(&session, "/f", PUT).await;
        write(&mut upload, 0, "unfinished").await;
        assert_eq!(get(&session, "/f").await.unwrap(), "unfinished");
        assert_eq!(published(&home, "/f").await.unwrap(), "old");
        let mut reader = open(&session, "/f", GET).await;
        upload.close().await.unwrap();
        assert_eq!(reader.read_at(2, 3).await.unwrap(), "fin");
        reader.close().await.unwrap();
        assert_eq!(published(&home, "/f").await.unwrap(), "unfinished");
    }
}

#[tokio::test]
async fn operations_by_name_wait_for_a_close_that_comes_after_them() {
    for (home, _folder) in homes().await {
        let session = home.session();
        let upload = async |name: &'static str| {
            let mut upload = open(&session, name, PUT).await;
            write(&mut upload, 0, "content").await;
            upload
        };
        let late = async |upload: Transfer| {
            tokio::time::sleep(Duration::from_millis(100)).await;
            upload.close().await.unwrap();
        };
        let one = upload("/r").await;
        let ((), read) = join(late(one), get(&session, "/r")).await;
        assert_eq!(read.unwrap(), "content");

        let one = upload("/d").await;
        let (from, to) = (path("/d"), path("/e"));
        let ((), renamed) = join(late(one), session.rename(&from, &to, PLAIN)).await;
        renamed.unwrap();
        assert_eq!((published(&home, "/d").await, published(&home, "/e").await.unwrap()), (None, "content".into()));

        let one = upload("/x").await;
        let name = path("/x");
        let ((), removed) = join(late(one), session.remove_file(&name)).await;
        removed.unwrap();
        assert_eq!(published(&home, "/x").await, None);

        // sshfs: an OPEN of the same name overtakes the CLOSE, and must not bring the old content back.
        put(&session, "/s", "old").await;
        let mut one = open(&session, "/s", CHANGE).await;
        one.set_attributes(&AttributeChange { size: Some(0), ..NOTHING }).await.unwrap();
        write(&mut one, 0, "fresh").await;
        let change = async {
            let mut other = open(&session, "/s", CHANGE).await;
            write(&mut other, 0, "F").await;
            other.close().await.unwrap();
        };
        join(late(one), change).await;
        assert_eq!(published(&home, "/s").await.unwrap(), "Fresh");
    }
}

#[tokio::test]
async fn who_may_only_write_gives_his_own_upload_its_final_name() {
    let write_only = Permissions::from_iter([Permission::List, Permission::Write]);
    let home = Home::new(&[("/in", "in", write_only), ("/other", "other", write_only)]).await;
    let session = home.session();
    for early in [true, false] {
        let mut upload = open(&session, "/in/f.filepart", PUT).await;
        write(&mut upload, 0, "content").await;
        let name = if early { "/in/early" } else { "/in/late" };
        if early {
            session.rename(&path("/in/f.filepart"), &path(name), PLAIN).await.unwrap();
            upload.close().await.unwrap();
        } else {
            upload.close().await.unwrap();
            let time = AttributeChange { mtime: Some(UNIX_EPOCH + Duration::from_secs(1_300_000_000)), ..NOTHING };
            session.set_attributes(&path("/in/f.filepart"), &time).await.unwrap();
            session.rename(&path("/in/f.filepart"), &path(name), POSIX).await.unwrap();
        }
        assert_eq!(home.store().stat(&crate::stores::Key::parse(&name[1..]).unwrap()).await.unwrap().size, 7);
    }
    let refused = async |session: &Session, from: &str, to: &str| {
        session.rename(&path(from), &path(to), POSIX).await.unwrap_err().kind
    };
    put(&session, "/in/mine", "1").await;
    assert_eq!(refused(&session, "/in/mine", "/in/late").await, EXISTS, "nothing is replaced");
    assert_eq!(refused(&session, "/in/mine", "/other/mine").await, ErrorKind::Denied, "another entry");
    let other = home.session_of_another_connection();
    assert_eq!(refused(&other, "/in/mine", "/in/theirs").await, ErrorKind::Denied, "another connection");
}

#[tokio::test]
async fn a_rename_or_removal_that_is_dropped_leaves_the_upload_as_it_was() {
    for (home, _folder) in homes().await {
        let session = home.session();
        for step in 0..6 {
            let mut upload = open(&session, "/f", PUT).await;
            write(&mut upload, 0, "content").await;
            let (from, to) = (path("/f"), path("/g"));
            let renaming = tokio::time::timeout(Duration::from_millis(step * 70), session.rename(&from, &to, PLAIN));
            let renamed = renaming.await.is_ok();
            upload.close().await.unwrap();
            let found = (published(&home, "/f").await.is_some(), published(&home, "/g").await.is_some());
            // One that is dropped before its answer may have been done.
            let is_whole = if renamed { found == (false, true) } else { found.0 != found.1 };
            assert!(is_whole, "{step}: {found:?}");
            let _ = session.remove_file(&from).await;
            let _ = session.remove_file(&to).await;
        }
    }
}

/// Longer than any wait that is meant.
const HANG: Duration = Duration::from_secs(60);

async fn answered<T>(what: &str, operation: impl Future<Output = T>) -> T {
    tokio::time::timeout(HANG, operation).await.unwrap_or_else(|_| panic!("{what} is never answered"))
}

#[tokio::test]
async fn nobody_waits_for_a_close_that_is_over() {
    for (home, _folder) in homes().await {
        let session = home.session();
        // One handle of two is closed, after the file was removed, replaced, or could not be stored.
        for (n, mode) in [CHANGE, GET].into_iter().enumerate() {
            let mut one = open(&session, "/f", PUT).await;
            write(&mut one, 0, "content").await;
            let other = open(&session, "/f", mode).await;
            session.remove_file(&path("/f")).await.unwrap();
            one.close().await.unwrap();
            answered("OPEN", put(&session, "/f", "again")).await;
            answered("RENAME", session.rename(&path("/f"), &path("/g"), POSIX)).await.unwrap();
            other.close().await.unwrap();
            assert_eq!(published(&home, "/g").await.unwrap(), "again", "{n}");
        }
        let exclusive = OpenMode { exclusive: true, ..PUT };
        let mut one = open(&session, "/x", exclusive).await;
        write(&mut one, 0, "ours").await;
        let other = open(&session, "/x", CHANGE).await;
        put(&home.session_of_another_connection(), "/x", "theirs").await;
        assert_eq!(one.close().await.unwrap_err().kind, EXISTS);
        other.close().await.unwrap_err();
        assert_eq!(answered("OPEN", get(&session, "/x")).await.unwrap(), "theirs");
        // A handle that has followed its name to another upload.
        let mut one = open(&session, "/y", PUT).await;
        write(&mut one, 0, "one").await;
        let (mut second, third) = (open(&session, "/y", CHANGE).await, open(&session, "/y", CHANGE).await);
        one.close().await.unwrap();
        let mut newest = open(&session, "/y", PUT).await;
        write(&mut newest, 0, "newest").await;
        let name = second.upload_name().unwrap();
        name.announce_close();
        write(&mut second, 0, "N").await;
        second.close().await.unwrap();
        newest.close().await.unwrap();
        answered("RENAME", session.rename(&path("/y"), &path("/z"), POSIX)).await.unwrap();
        third.close().await.unwrap();
        assert_eq!(published(&home, "/z").await.unwrap(), "Newest");
    }
}

#[tokio::test]
async fn names_above_and_below_unfinished_files_are_judged_as_on_a_disk() {
    for (home, _folder) in homes().await {
        let session = home.session();
        put(&session, "/one", "1").await;
        put(&session, "/P/x", "p").await;
        let mut inner = open(&session, "/D/x", PUT).await;
        write(&mut inner, 0, "content").await;
        let mut file = open(&session, "/F", PUT).await;
        write(&mut file, 0, "file").await;
        // Nothing takes the name of a folder in which something is written.
        for from in ["/P", "/one", "/F"] {
            assert_eq!(session.rename(&path(from), &path("/D"), POSIX).await.unwrap_err().kind, EXISTS, "{from}");
        }
        assert!(session.open(&path("/D"), PUT, &NOTHING).await.is_err());
        assert_eq!(session.make_directory(&path("/D"), &NOTHING).await.unwrap_err().kind, EXISTS);
        let mut listing = session.open_directory(&path("/D")).await.unwrap();
        assert!(listing.next_page().await.unwrap().is_none());
        // Nothing lies below a file that is written.
        for (from, to) in [("/one", "/F/one"), ("/F", "/F/F"), ("/F", "/one/F")] {
            session.rename(&path(from), &path(to), PLAIN).await.unwrap_err();
        }
        assert!(session.open(&path("/F/below"), PUT, &NOTHING).await.is_err());
        file.close().await.unwrap();
        inner.close().await.unwrap();
        assert_eq!(published(&home, "/D/x").await.unwrap(), "content");
        assert_eq!(
            (published(&home, "/F").await.unwrap(), published(&home, "/one").await.unwrap()),
            ("file".into(), "1".into())
        );
        // A published file replaces one that is being written: that one is gone, as on a disk.
        let mut replaced = open(&session, "/g", PUT).await;
        write(&mut replaced, 0, "gone").await;
        session.rename(&path("/one"), &path("/g"), POSIX).await.unwrap();
        replaced.close().await.unwrap();
        assert_eq!(published(&home, "/g").await.unwrap(), "1");
    }
}

#[tokio::test]
async fn a_name_that_is_given_back_is_free_for_its_own_upload() {
    for (home, _folder) in homes().await {
        let session = home.session();
        for mode in [PUT, OpenMode { read: true, ..PUT }] {
            put(&session, "/a", "old").await;
            let mut upload = open(&session, "/a", mode).await;
            write(&mut upload, 0, "new").await;
            session.rename(&path("/a"), &path("/b"), POSIX).await.unwrap();
            session.rename(&path("/b"), &path("/a"), POSIX).await.unwrap();
            upload.close().await.unwrap();
            assert_eq!(published(&home, "/a").await.unwrap(), "new");
            // Rotation: the first name is used again before the CLOSE.
            let mut upload = open(&session, "/log", mode).await;
            write(&mut upload, 0, "first").await;
            session.rename(&path("/log"), &path("/log.1"), POSIX).await.unwrap();
            put(&session, "/log", "second").await;
            upload.close().await.unwrap();
            assert_eq!(published(&home, "/log").await.unwrap(), "second");
            assert_eq!(published(&home, "/log.1").await.unwrap(), "first");
        }
    }
}

#[tokio::test]
async fn with_write_alone_nobody_moves_what_somebody_else_has_published() {
    let write_only = Permissions::from_iter([Permission::List, Permission::Write]);
    let home = Home::new(&[("/in", "in", write_only)]).await;
    let session = home.session();
    let mut upload = open(&session, "/in/report", PUT).await;
    write(&mut upload, 0, "mine").await;
    put(&home.session_of_another_connection(), "/in/report", "theirs").await;
    session.rename(&path("/in/report"), &path("/in/hidden"), PLAIN).await.unwrap();
    let size_of = async |name: &str| {
        home.store().stat(&crate::stores::Key::parse(name).unwrap()).await.map(|found| found.size).ok()
    };
    assert_eq!((size_of("in/report").await, size_of("in/hidden").await), (Some(6), None));
    upload.close().await.unwrap();
    assert_eq!((size_of("in/report").await, size_of("in/hidden").await), (Some(6), Some(4)));
    // What it has uploaded may get its name in two steps.
    session.rename(&path("/in/hidden"), &path("/in/last"), PLAIN).await.unwrap();
}

#[tokio::test]
async fn an_upload_whose_writer_is_gone_leaves_its_name_though_others_read_it() {
    for (home, _folder) in homes().await {
        let session = home.session();
        let mut upload = open(&session, "/f", PUT).await;
        write(&mut upload, 0, "ghost").await;
        let reader = open(&session, "/f", GET).await;
        upload.cut_off("the channel ended").await;
        assert_eq!(size(&session, "/f").await, None);
        session.make_directory(&path("/f"), &NOTHING).await.unwrap();
        reader.close().await.unwrap();
    }
}

#[tokio::test]
async fn an_upload_that_stays_open_keeps_others_waiting_once() {
    for (home, _folder) in homes().await {
        let session = home.session();
        let mut upload = open(&session, "/f", PUT).await;
        write(&mut upload, 0, "content").await;
        let began = std::time::Instant::now();
        let mut readers = Vec::new();
        for _ in 0..200 {
            readers.push(open(&session, "/f", GET).await);
        }
        assert!(began.elapsed() < HANG, "each has waited");
        upload.close().await.unwrap();
    }
}
