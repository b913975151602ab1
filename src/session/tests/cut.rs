//! Every operation, dropped after each of its polls: what was done is on record exactly once, and what has no record was not done.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use serde_json::Value;
use tokio::time::timeout;

use super::halting::Halting;
use super::{LIMIT, NOTHING, PUT, READ, path};
use crate::audit::Reservation;
use crate::session::testing::Home;
use crate::session::uploads::Scope;
use crate::session::{AttributeChange, OpenMode, RenameMode, Session, SessionResult, Transfer};
use crate::stores::{self, Existing, Key, PutOptions, Store};

/// Drops a future after so many polls, or when it waits for something that does not come; `None` then.
pub(super) async fn cut_after<F: Future>(polls: usize, future: F) -> Option<F::Output> {
    if polls == 0 {
        return None;
    }
    let mut future = pin!(future);
    let mut left = polls;
    let ended = poll_fn(|cx| match future.as_mut().poll(cx) {
        Poll::Ready(output) => Poll::Ready(Some(output)),
        Poll::Pending => {
            left -= 1;
            if left == 0 { Poll::Ready(None) } else { Poll::Pending }
        }
    });
    timeout(Duration::from_millis(20), ended).await.ok().flatten()
}

/// How the trail is while an operation runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Trail {
    Works,
    /// The sink takes nothing, and there is room in the queue.
    Stalls,
    /// The sink takes nothing, and there is no room.
    IsFull,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Deed {
    Remove,
    MakeDirectory,
    RemoveDirectory,
    Rename,
    SetTime,
    SetLength,
    Open,
    OpenToRead,
    CutOpenUpload,
    SetTimeOfUpload,
    Close,
    CloseDownload,
    ListMissing,
    List,
    RemoveUnfinished,
    RenameUnfinished,
    SetTimeOfUnfinished,
    CutUnfinished,
    CloseOneOfTwo,
    CloseCopy,
    Link,
    RenameAcross,
    RenameFolderAcross,
}

const DEEDS: [(Deed, &str); 23] = [
    (Deed::Remove, "DELETE"),
    (Deed::MakeDirectory, "MKDIR"),
    (Deed::RemoveDirectory, "RMDIR"),
    (Deed::Rename, "RENAME"),
    (Deed::SetTime, "SETSTAT"),
    (Deed::SetLength, "SETSTAT"),
    (Deed::Open, "OPEN"),
    (Deed::OpenToRead, "OPEN"),
    (Deed::CutOpenUpload, "SETSTAT"),
    (Deed::SetTimeOfUpload, "SETSTAT"),
    (Deed::Close, "end"),
    (Deed::CloseDownload, "end"),
    (Deed::ListMissing, "LIST"),
    (Deed::List, "LIST"),
    (Deed::RemoveUnfinished, "DELETE"),
    (Deed::RenameUnfinished, "RENAME"),
    (Deed::SetTimeOfUnfinished, "SETSTAT"),
    (Deed::CutUnfinished, "SETSTAT"),
    (Deed::CloseOneOfTwo, "end"),
    (Deed::CloseCopy, "end"),
    (Deed::Link, "CREATE_SYMLINK"),
    (Deed::RenameAcross, "RENAME"),
    (Deed::RenameFolderAcross, "RENAME"),
];

/// Reading and writing, so that the file is staged.
const EDIT: OpenMode =
    OpenMode { read: true, write: true, append: false, create: true, truncate: false, exclusive: false };

/// A home with the file `/victim`, the empty directory `/empty`, the file `/folder/inner`, another store in `/other`, and what is
/// under way before the deed.
struct Place {
    home: Home,
    session: Arc<Session>,
    inner: Arc<dyn Store>,
    other: Arc<dyn Store>,
    transfers: Vec<Transfer>,
}

impl Place {
    async fn new(inner: Arc<dyn Store>, deed: Deed) -> Place {
        let key = |name| Key::parse(name).unwrap();
        let options = PutOptions {
            existing: Existing::Replace,
            mtime: None,
            based_on: None,
            provenance: None,
            takes_parts: false,
        };
        for name in ["victim", "folder/inner"] {
            inner.put(&key(name), vec![Bytes::from_static(b"content")], &options).await.unwrap();
        }
        inner.make_directory(&key("empty")).await.unwrap();
        let settings = stores::Settings { name: "other".into(), url: "memory:///".into(), options: Vec::new() };
        let other = stores::open(&settings).unwrap();
        let home = Home::over_two(Halting::over(inner.clone()), Halting::over(other.clone())).await;
        let session = home.session();
        let mut place = Place { home, session, inner, other, transfers: Vec::new() };
        place.open(deed).await;
        place.home.sink().take();
        place
    }

    /// Opens what the deed is about.
    async fn open(&mut self, deed: Deed) {
        let opened: &[(&str, OpenMode)] = match deed {
            Deed::Close | Deed::SetTimeOfUpload => &[("/new", PUT)],
            Deed::RemoveUnfinished | Deed::RenameUnfinished => &[("/new", PUT)],
            Deed::SetTimeOfUnfinished | Deed::CutUnfinished => &[("/new", PUT)],
            Deed::CutOpenUpload => &[("/victim", EDIT)],
            Deed::CloseOneOfTwo => &[("/victim", EDIT), ("/victim", EDIT)],
            Deed::CloseDownload => &[("/victim", READ)],
            Deed::CloseCopy => &[("/new", PUT), ("/victim", READ)],
            _ => &[],
        };
        for (name, mode) in opened {
            // Who waits for a CLOSE that does not come waits once.
            self.session.login.uploads().settle(&path(name), Scope::Name, Duration::ZERO).await.unwrap();
            let mut transfer = self.session.open(&path(name), *mode, &NOTHING).await.unwrap();
            if transfer.is_upload() && deed != Deed::CloseCopy {
                transfer.write_at(0, Bytes::from_static(b"data")).await.unwrap();
            }
            self.session.login.uploads().settle(&path(name), Scope::Name, Duration::ZERO).await.unwrap();
            self.transfers.push(transfer);
        }
        if let [target, source] = self.transfers.as_mut_slice()
            && let Some(whole) = source.whole(0, 0)
        {
            assert!(target.become_copy(&whole).await.unwrap() || !self.inner.copies());
        }
    }

    /// What the stores have.
    async fn state(&self) -> String {
        let mut state = String::new();
        for (store, names) in [
            (&self.inner, &["victim", "empty", "made", "new", "renamed", "folder/inner"][..]),
            (&self.other, &["new", "folder/inner"][..]),
        ] {
            for name in names {
                let found = store.stat(&Key::parse(name).unwrap()).await;
                let found =
                    found.map(|stat| (stat.size, stat.mtime.filter(|at| *at < SystemTime::UNIX_EPOCH + AGO * 2)));
                state.push_str(&format!("{name}: {:?}; ", found.ok()));
            }
        }
        state
    }

    async fn act(&mut self, deed: Deed) -> SessionResult<()> {
        let session = &self.session;
        let time = AttributeChange { mtime: Some(SystemTime::UNIX_EPOCH + AGO), ..NOTHING };
        let cut = |size| AttributeChange { size: Some(size), ..NOTHING };
        let rename = async |from, to| session.rename(&path(from), &path(to), RenameMode::default()).await;
        match deed {
            Deed::Remove => session.remove_file(&path("/victim")).await,
            Deed::MakeDirectory => session.make_directory(&path("/made"), &NOTHING).await,
            Deed::RemoveDirectory => session.remove_directory(&path("/empty")).await,
            Deed::Rename => rename("/victim", "/new").await,
            Deed::SetTime => session.set_attributes(&path("/victim"), &time).await,
            Deed::SetLength => session.set_attributes(&path("/victim"), &cut(3)).await,
            Deed::Open => session.open(&path("/new"), PUT, &NOTHING).await.map(drop),
            Deed::OpenToRead => session.open(&path("/victim"), READ, &NOTHING).await.map(drop),
            Deed::CutOpenUpload => self.transfers[0].set_attributes(&cut(2)).await,
            Deed::SetTimeOfUpload => self.transfers[0].set_attributes(&time).await,
            Deed::Close | Deed::CloseDownload | Deed::CloseOneOfTwo | Deed::CloseCopy => {
                self.transfers.remove(0).close().await
            }
            Deed::ListMissing => session.open_directory(&path("/missing/below")).await.map(drop),
            Deed::List => {
                let mut directory = session.open_directory(&path("/")).await?;
                while directory.next_page().await?.is_some() {}
                Ok(())
            }
            Deed::RemoveUnfinished => session.remove_file(&path("/new")).await,
            Deed::RenameUnfinished => rename("/new", "/renamed").await,
            Deed::SetTimeOfUnfinished => session.set_attributes(&path("/new"), &time).await,
            Deed::CutUnfinished => session.set_attributes(&path("/new"), &cut(2)).await,
            Deed::Link => session.refuse_link(b"/victim", &path("/new"), true).await,
            Deed::RenameAcross => rename("/victim", "/other/new").await,
            Deed::RenameFolderAcross => rename("/folder", "/other/folder").await,
        }
    }
}

/// What clients set as a time.
const AGO: Duration = Duration::from_secs(1_000_000_000);

fn count(events: &[Value], what: &str) -> usize {
    let is = |event: &&Value| match what {
        "end" => is_end(event),
        what => event["activity-type"] == what,
    };
    events.iter().filter(is).count()
}

pub(super) fn is_end(event: &Value) -> bool {
    let ends = event["activity-type"].as_str().unwrap().ends_with("CLOSE");
    ends || (event["activity-type"] == "ERROR" && event["operation"] == "CLOSE")
}

/// Does the deed and drops it after `polls` polls; whether it ended before.
async fn cut_one(inner: Arc<dyn Store>, deed: Deed, activity: &str, trail: Trail, polls: usize) -> bool {
    let case = format!("{deed:?}, {trail:?}, after {polls} polls");
    let mut place = Place::new(inner, deed).await;
    let (before, open) = (place.state().await, place.transfers.len());
    let full: Vec<Reservation> = match trail {
        Trail::Works => Vec::new(),
        Trail::Stalls => {
            place.home.sink().block();
            Vec::new()
        }
        Trail::IsFull => {
            place.home.sink().block();
            place.home.fill_queue().await
        }
    };
    let ended = cut_after(polls, place.act(deed)).await;
    assert!(trail == Trail::Works || ended.is_none() || deed == Deed::ListMissing, "{case}: {ended:?}");
    place.transfers.clear();
    drop(full);
    place.home.sink().unblock();
    assert!(place.home.login().transfers_ended_within(LIMIT).await, "{case}");
    timeout(LIMIT, place.session.recorder().close()).await.expect(&case);
    let (after, events) = (place.state().await, place.home.events());
    let wanted = usize::from(polls > 0 && trail != Trail::IsFull);
    match deed {
        // A file that is open has an end in any case; the ends are counted below.
        _ if activity == "end" => {}
        // Its event comes when the listing ends, which may be here.
        Deed::List => assert!(count(&events, activity) <= wanted.max(1), "{case}: {events:#?}"),
        _ => assert_eq!(count(&events, activity), wanted, "{case}: {events:#?}"),
    }
    if wanted == 0 {
        assert_eq!(before, after, "{case}: done, and not on record: {events:#?}");
    }
    let successes = events.iter().filter(|e| e["activity-type"] == "OPEN" && e["status"] == "success").count();
    assert_eq!(count(&events, "end"), successes + open, "{case}: {events:#?}");
    let published = after.contains("new: Some") && matches!(deed, Deed::Close | Deed::CloseCopy);
    assert!(!published || polls > 0 && trail != Trail::IsFull, "{case}");
    ended.is_some()
}

async fn cut_everywhere(trail: Trail, store: impl AsyncFn() -> (Arc<dyn Store>, Option<tempfile::TempDir>)) {
    for (deed, activity) in DEEDS {
        for polls in 0.. {
            assert!(polls < 200, "{deed:?} does not end");
            let (inner, _folder) = store().await;
            let ended = cut_one(inner, deed, activity, trail, polls).await;
            // With a trail that takes nothing, it waits for ever: so often is more than it has steps.
            if ended || trail != Trail::Works && polls > 16 {
                break;
            }
        }
    }
}

pub(super) async fn in_memory() -> (Arc<dyn Store>, Option<tempfile::TempDir>) {
    let settings = stores::Settings { name: "memory".into(), url: "memory:///".into(), options: Vec::new() };
    (stores::open(&settings).unwrap(), None)
}

async fn in_a_folder() -> (Arc<dyn Store>, Option<tempfile::TempDir>) {
    let folder = tempfile::tempdir().unwrap();
    let url = format!("file://{}", folder.path().display());
    let settings = stores::Settings { name: "local".into(), url, options: Vec::new() };
    (stores::open(&settings).unwrap(), Some(folder))
}

#[tokio::test]
async fn what_is_dropped_anywhere_is_on_record() {
    cut_everywhere(Trail::Works, in_memory).await;
    cut_everywhere(Trail::Works, in_a_folder).await;
}

#[tokio::test]
async fn what_is_dropped_while_the_sink_stalls_is_on_record() {
    cut_everywhere(Trail::Stalls, in_memory).await;
}

#[tokio::test]
async fn what_finds_no_room_for_its_record_is_not_done() {
    cut_everywhere(Trail::IsFull, in_memory).await;
}
