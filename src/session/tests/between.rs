//! Others who come between two steps of an operation, and stores that stop answering there.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use tokio::time::timeout;

use super::cut::{cut_after, in_memory};
use super::halting::Halting;
use super::{LIMIT, NOTHING, PUT, READ, path};
use crate::policy::{Permission, Permissions};
use crate::session::testing::Home;
use crate::session::uploads::Scope;
use crate::session::{AttributeChange, ErrorKind, OpenMode, RenameMode, Session, StoreErrorKind, Transfer};
use crate::stores::{Existing, Key, PutOptions, Store};

/// `r+`
const CHANGE: OpenMode = OpenMode { read: true, create: false, truncate: false, ..PUT };
const RENAME: RenameMode = RenameMode { overwrite: true, directory: false };
const BUSY: ErrorKind = ErrorKind::Store(StoreErrorKind::Unavailable);

/// A home on a store that halts, with these permissions in `/in`.
struct Place {
    home: Home,
    session: Arc<Session>,
    store: Arc<Halting>,
    inner: Arc<dyn Store>,
}

impl Place {
    async fn new(permissions: Permissions) -> Place {
        let (inner, _) = in_memory().await;
        let store = Halting::over(inner.clone());
        let home = Home::over(store.clone(), &[("/in", "in", permissions)]).await;
        let session = home.session();
        Place { home, session, store, inner }
    }

    async fn write_only() -> Place {
        Place::new(Permissions::from_iter([Permission::List, Permission::Write])).await
    }

    async fn upload(&self, name: &str, content: &'static [u8]) -> Transfer {
        let mut transfer = self.session.open(&path(name), PUT, &NOTHING).await.unwrap();
        transfer.write_at(0, Bytes::from_static(content)).await.unwrap();
        transfer
    }

    async fn put(&self, name: &str, content: &'static [u8]) {
        self.upload(name, content).await.close().await.unwrap();
    }

    /// Somebody else's file takes the name right before the next call of this name.
    fn replace_before(&self, call: &'static str, name: &'static str) {
        let inner = self.inner.clone();
        self.store.before(call, async move {
            let options = PutOptions {
                existing: Existing::Replace,
                mtime: None,
                based_on: None,
                provenance: None,
                takes_parts: false,
            };
            let key = Key::parse(name).unwrap();
            inner.put(&key, vec![Bytes::from_static(b"somebody else's")], &options).await.unwrap();
        });
    }

    async fn size(&self, name: &str) -> Option<u64> {
        self.inner.stat(&Key::parse(name).unwrap()).await.map(|found| found.size).ok()
    }

    /// How often this is on record.
    fn count(&self, activity: &str, status: &str) -> usize {
        let events = self.home.events();
        events.iter().filter(|event| event["activity-type"] == activity && event["status"] == status).count()
    }
}

fn at(seconds: u64) -> (AttributeChange, SystemTime) {
    let time = UNIX_EPOCH + Duration::from_secs(seconds);
    (AttributeChange { mtime: Some(time), ..NOTHING }, time)
}

#[tokio::test]
async fn with_write_alone_a_rename_takes_no_file_that_came_between_its_look_and_its_deed() {
    let place = Place::write_only().await;
    place.put("/in/report.part", b"mine").await;
    place.replace_before("rename", "in/report.part");
    let refused = place.session.rename(&path("/in/report.part"), &path("/in/report"), RENAME).await;
    assert_eq!(refused.unwrap_err().kind, ErrorKind::Store(StoreErrorKind::Changed));
    assert_eq!((place.size("in/report.part").await, place.size("in/report").await), (Some(15), None));
    // Nor one that came before the look.
    let refused = place.session.rename(&path("/in/report.part"), &path("/in/report"), RENAME).await;
    assert_eq!(refused.unwrap_err().kind, ErrorKind::Denied);
    // Its own file keeps being its own, under each name that it gets and with each time.
    place.put("/in/next.part", b"mine").await;
    for to in ["/in/one", "/in/two"] {
        let from = if to == "/in/one" { "/in/next.part" } else { "/in/one" };
        place.session.rename(&path(from), &path(to), RENAME).await.unwrap();
        place.session.set_attributes(&path(to), &at(1_000).0).await.unwrap();
    }
    assert_eq!(place.size("in/two").await, Some(4));
}

#[tokio::test]
async fn with_write_alone_no_time_is_set_of_a_file_that_came_between_the_look_and_the_deed() {
    let place = Place::write_only().await;
    place.put("/in/f", b"mine").await;
    let (change, time) = at(1_000);
    place.replace_before("set_mtime", "in/f");
    let refused = place.session.set_attributes(&path("/in/f"), &change).await;
    assert_eq!(refused.unwrap_err().kind, ErrorKind::Store(StoreErrorKind::Changed));
    let found = place.inner.stat(&Key::parse("in/f").unwrap()).await.unwrap();
    assert_ne!(found.mtime, Some(time));
}

/// The version comes with the answer that the file is stored; a look afterwards might find somebody else's.
#[tokio::test]
async fn an_own_file_is_known_without_another_look() {
    let place = Place::write_only().await;
    let upload = place.upload("/in/f", b"mine").await;
    place.store.calls();
    upload.close().await.unwrap();
    assert_eq!(place.store.calls(), ["put"]);
    place.session.rename(&path("/in/f"), &path("/in/g"), RENAME).await.unwrap();
}

/// Handles of the same file begin from what was published, which the store is asked for after the CLOSE.
#[tokio::test]
async fn what_follows_a_publication_keeps_its_event_from_nothing() {
    let place = Place::new(Permissions::READ_WRITE).await;
    let one = place.upload("/in/f", b"content").await;
    let other = place.session.open(&path("/in/f"), CHANGE, &NOTHING).await.unwrap();
    let store = place.store.clone();
    place.store.before("stat", async move {
        store.stall(true);
        std::future::pending::<()>().await;
    });
    assert!(cut_after(50, one.close()).await.is_none(), "it waits for what the store does not answer");
    assert_eq!(place.size("in/f").await, Some(7), "it is published");
    place.store.stall(false);
    drop(other);
    assert!(place.home.login().transfers_ended_within(LIMIT).await);
    timeout(LIMIT, place.session.recorder().close()).await.unwrap();
    assert_eq!(place.count("CLOSE", "success"), 1, "{:#?}", place.home.events());
}

#[tokio::test]
async fn who_waited_in_vain_is_answered_with_a_failure_and_nothing_is_done() {
    let place = Place::new(Permissions::READ_WRITE).await;
    place.put("/in/f", b"old").await;
    let upload = place.upload("/in/f", b"new content").await;
    place.session.login.uploads().set_busy_wait(Duration::from_millis(50));
    place.store.stall(true);
    let closing = tokio::spawn(upload.close());
    while place.store.calls() != ["put"] {
        tokio::task::yield_now().await;
    }
    let session = &place.session;
    let f = path("/in/f");
    for _ in 0..2 {
        assert_eq!(session.open(&f, PUT, &NOTHING).await.unwrap_err().kind, BUSY);
        assert_eq!(session.open(&f, READ, &NOTHING).await.unwrap_err().kind, BUSY);
        assert_eq!(session.remove_file(&f).await.unwrap_err().kind, BUSY);
        assert_eq!(session.rename(&f, &path("/in/g"), RENAME).await.unwrap_err().kind, BUSY);
        assert_eq!(session.rename(&path("/in/g"), &f, RENAME).await.unwrap_err().kind, BUSY);
        assert_eq!(session.remove_directory(&path("/in")).await.unwrap_err().kind, BUSY);
        // A second time they do not even wait.
        session.login.uploads().set_busy_wait(Duration::from_secs(3_600));
    }
    assert_eq!(place.store.calls(), [""; 0], "nothing was asked of the store");
    place.store.stall(false);
    assert_eq!(place.size("in/f").await, Some(3));
    let counted = ["OPEN", "DELETE", "RENAME", "RMDIR"].map(|activity| place.count(activity, "failure"));
    assert_eq!(counted, [4, 2, 4, 2], "each is on record");
    // When it is over, the name can be used again.
    closing.abort();
    assert!(closing.await.is_err());
    let again = timeout(LIMIT, session.open(&f, READ, &NOTHING)).await.expect("OPEN is not answered").unwrap();
    again.close().await.unwrap();
    session.remove_file(&f).await.unwrap();
}

#[tokio::test]
async fn who_waits_in_vain_for_a_call_on_the_content_is_answered_too() {
    let place = Place::new(Permissions::READ_WRITE).await;
    place.put("/in/f", b"old").await;
    let mut upload = place.session.open(&path("/in/f"), CHANGE, &NOTHING).await.unwrap();
    let uploads = place.session.login.uploads();
    uploads.set_busy_wait(Duration::from_millis(50));
    place.store.calls();
    place.store.stall(true);
    let writing = tokio::spawn(async move { upload.write_at(1, Bytes::from_static(b"new")).await });
    while place.store.calls() != ["open"] {
        tokio::task::yield_now().await;
    }
    let f = path("/in/f");
    uploads.settle(&f, Scope::Name, Duration::ZERO).await.unwrap();
    let cut = AttributeChange { size: Some(1), ..NOTHING };
    assert_eq!(place.session.set_attributes(&f, &cut).await.unwrap_err().kind, BUSY);
    assert_eq!(place.session.remove_file(&f).await.unwrap_err().kind, BUSY);
    assert_eq!(place.session.rename(&f, &path("/in/g"), RENAME).await.unwrap_err().kind, BUSY);
    place.store.stall(false);
    assert_eq!(place.size("in/f").await, Some(3));
    writing.abort();
    assert!(writing.await.is_err());
    place.session.remove_file(&f).await.unwrap();
}

#[tokio::test]
async fn fsetstat_of_a_file_that_is_read_means_the_file_wherever_it_was_renamed() {
    let place = Place::new(Permissions::READ_WRITE).await;
    place.put("/in/a/f", b"the file").await;
    let mut reader = place.session.open(&path("/in/a/f"), READ, &NOTHING).await.unwrap();
    let rename = async |from, to| place.session.rename(&path(from), &path(to), RENAME).await.unwrap();
    let time_of = async |name| place.session.stat(&path(name)).await.unwrap().mtime;
    rename("/in/a/f", "/in/a/g").await;
    rename("/in/a", "/in/b").await;
    place.put("/in/a/f", b"another").await;
    let (change, time) = at(1_000_000);
    reader.set_attributes(&change).await.unwrap();
    assert_eq!(time_of("/in/b/g").await, Some(time));
    assert_ne!(time_of("/in/a/f").await, Some(time));
    // It is gone when another takes its name.
    rename("/in/a/f", "/in/b/g").await;
    let (change, time) = at(2_000_000);
    assert_eq!(reader.set_attributes(&change).await.unwrap_err().kind, ErrorKind::Store(StoreErrorKind::NotFound));
    assert_ne!(time_of("/in/b/g").await, Some(time));
    reader.close().await.unwrap();
    assert_eq!((place.count("SETSTAT", "success"), place.count("SETSTAT", "failure")), (1, 1));
}
