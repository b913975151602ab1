//! Every operation, dropped after each of its polls: what was done is on record exactly once, and what has no record was not done.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Poll;
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use bytes::Bytes;
use serde_json::Value;
use tokio::task::yield_now;
use tokio::time::timeout;

use super::{NOTHING, PUT, READ, path};
use crate::audit::Reservation;
use crate::policy::Permissions;
use crate::session::testing::Home;
use crate::session::{AttributeChange, OpenMode, RenameMode, Session, SessionResult, Transfer};
use crate::stores::{
    self, Capacity, Existing, Key, Object, Page, PageToken, PartLimits, PutOptions, Stat, Store, StoreResult, Upload,
    Written,
};

/// A store that halts before and after each thing it does.
#[derive(Debug)]
pub(super) struct Halting(Arc<dyn Store>, AtomicBool);

impl Halting {
    /// One that answers.
    pub(super) fn over(store: Arc<dyn Store>) -> Arc<Halting> {
        Arc::new(Halting(store, AtomicBool::new(false)))
    }

    /// Whether it answers nothing from now on.
    pub(super) fn stall(&self, stalls: bool) {
        self.1.store(stalls, Ordering::SeqCst);
    }

    async fn around<T>(&self, work: impl Future<Output = T>) -> T {
        if self.1.load(Ordering::SeqCst) {
            std::future::pending::<()>().await;
        }
        yield_now().await;
        let done = work.await;
        yield_now().await;
        done
    }
}

#[async_trait]
impl Store for Halting {
    fn name(&self) -> &str {
        self.0.name()
    }
    fn event_path(&self, key: &Key) -> String {
        self.0.event_path(key)
    }
    fn part_limits(&self) -> PartLimits {
        self.0.part_limits()
    }
    async fn stat(&self, key: &Key) -> StoreResult<Stat> {
        self.around(self.0.stat(key)).await
    }
    async fn list(&self, key: &Key, from: Option<PageToken>) -> StoreResult<Page> {
        self.around(self.0.list(key, from)).await
    }
    async fn open(&self, key: &Key) -> StoreResult<Arc<dyn Object>> {
        self.around(self.0.open(key)).await
    }
    async fn put(&self, key: &Key, data: Vec<Bytes>, options: &PutOptions) -> StoreResult<Written> {
        self.around(self.0.put(key, data, options)).await
    }
    async fn begin_upload(&self, key: &Key, options: &PutOptions) -> StoreResult<Upload> {
        self.around(self.0.begin_upload(key, options)).await
    }
    async fn delete(&self, key: &Key) -> StoreResult<()> {
        self.around(self.0.delete(key)).await
    }

    async fn delete_version(&self, key: &Key, version: &str) -> StoreResult<()> {
        self.around(self.0.delete_version(key, version)).await
    }
    async fn make_directory(&self, key: &Key) -> StoreResult<()> {
        self.around(self.0.make_directory(key)).await
    }
    async fn remove_directory(&self, key: &Key) -> StoreResult<()> {
        self.around(self.0.remove_directory(key)).await
    }
    async fn rename(&self, from: &Key, to: &Key, existing: Existing) -> StoreResult<()> {
        self.around(self.0.rename(from, to, existing)).await
    }
    async fn rename_directory(&self, from: &Key, to: &Key) -> StoreResult<()> {
        self.around(self.0.rename_directory(from, to)).await
    }
    async fn set_mtime(&self, key: &Key, mtime: SystemTime) -> StoreResult<bool> {
        self.around(self.0.set_mtime(key, mtime)).await
    }
    async fn capacity(&self) -> StoreResult<Option<Capacity>> {
        self.around(self.0.capacity()).await
    }
    async fn check(&self) -> StoreResult<()> {
        self.around(self.0.check()).await
    }
}

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
}

const DEEDS: [(Deed, &str); 14] = [
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
];

/// Reading and writing, so that the file is staged.
const EDIT: OpenMode =
    OpenMode { read: true, write: true, append: false, create: true, truncate: false, exclusive: false };

/// A home with the file `/victim` and the empty directory `/empty`, and what is under way before the deed.
struct Place {
    home: Home,
    session: Arc<Session>,
    inner: Arc<dyn Store>,
    transfer: Option<Transfer>,
}

impl Place {
    async fn new(inner: Arc<dyn Store>, deed: Deed) -> Place {
        let key = |name| Key::parse(name).unwrap();
        let options = PutOptions { existing: Existing::Replace, mtime: None, based_on: None };
        inner.put(&key("victim"), vec![Bytes::from_static(b"content")], &options).await.unwrap();
        inner.make_directory(&key("empty")).await.unwrap();
        let home = Home::over(Halting::over(inner.clone()), &[("/", "", Permissions::READ_WRITE)]).await;
        let session = home.session();
        let mut place = Place { home, session, inner, transfer: None };
        let opened = match deed {
            Deed::Close | Deed::SetTimeOfUpload => place.session.open(&path("/new"), PUT, &NOTHING).await.ok(),
            Deed::CutOpenUpload => place.session.open(&path("/victim"), EDIT, &NOTHING).await.ok(),
            Deed::CloseDownload => place.session.open(&path("/victim"), READ, &NOTHING).await.ok(),
            _ => None,
        };
        place.transfer = opened;
        if let Some(transfer) = place.transfer.as_mut().filter(|transfer| transfer.is_upload()) {
            transfer.write_at(0, Bytes::from_static(b"data")).await.unwrap();
        }
        place.home.sink().take();
        place
    }

    /// What the store has.
    async fn state(&self) -> String {
        let mut state = String::new();
        for name in ["victim", "empty", "made", "new"] {
            let found = self.inner.stat(&Key::parse(name).unwrap()).await;
            let found = found.map(|stat| (stat.size, stat.mtime.filter(|at| *at < SystemTime::UNIX_EPOCH + AGO * 2)));
            state.push_str(&format!("{name}: {:?}; ", found.ok()));
        }
        state
    }

    async fn act(&mut self, deed: Deed) -> SessionResult<()> {
        let session = &self.session;
        let time = AttributeChange { mtime: Some(SystemTime::UNIX_EPOCH + AGO), ..NOTHING };
        match deed {
            Deed::Remove => session.remove_file(&path("/victim")).await,
            Deed::MakeDirectory => session.make_directory(&path("/made"), &NOTHING).await,
            Deed::RemoveDirectory => session.remove_directory(&path("/empty")).await,
            Deed::Rename => session.rename(&path("/victim"), &path("/new"), RenameMode::default()).await,
            Deed::SetTime => session.set_attributes(&path("/victim"), &time).await,
            Deed::SetLength => {
                session.set_attributes(&path("/victim"), &AttributeChange { size: Some(3), ..NOTHING }).await
            }
            Deed::Open => session.open(&path("/new"), PUT, &NOTHING).await.map(drop),
            Deed::OpenToRead => session.open(&path("/victim"), READ, &NOTHING).await.map(drop),
            Deed::CutOpenUpload => {
                let cut = AttributeChange { size: Some(2), ..NOTHING };
                self.transfer.as_mut().unwrap().set_attributes(&cut).await
            }
            Deed::SetTimeOfUpload => self.transfer.as_mut().unwrap().set_attributes(&time).await,
            Deed::Close | Deed::CloseDownload => self.transfer.take().unwrap().close().await,
            Deed::ListMissing => session.open_directory(&path("/missing/below")).await.map(drop),
            Deed::List => {
                let mut directory = session.open_directory(&path("/")).await?;
                while directory.next_page().await?.is_some() {}
                Ok(())
            }
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
    let before = place.state().await;
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
    place.transfer = None;
    drop(full);
    place.home.sink().unblock();
    assert!(place.home.login().transfers_ended_within(Duration::from_secs(5)).await, "{case}");
    timeout(Duration::from_secs(5), place.session.recorder().close()).await.expect(&case);
    let (after, events) = (place.state().await, place.home.events());
    let wanted = usize::from(polls > 0 && trail != Trail::IsFull);
    match deed {
        // A file that is open has an end in any case.
        Deed::Close | Deed::CloseDownload => assert_eq!(count(&events, activity), 1, "{case}: {events:#?}"),
        // Its event comes when the listing ends, which may be here.
        Deed::List => assert!(count(&events, activity) <= wanted.max(1), "{case}: {events:#?}"),
        _ => assert_eq!(count(&events, activity), wanted, "{case}: {events:#?}"),
    }
    if wanted == 0 {
        assert_eq!(before, after, "{case}: done, and not on record: {events:#?}");
    }
    let successes = events.iter().filter(|e| e["activity-type"] == "OPEN" && e["status"] == "success").count();
    let ends = events.iter().filter(|event| is_end(event)).count();
    assert_eq!(ends, successes + usize::from(is_transfer(deed)), "{case}: {events:#?}");
    let published = after.contains("new: Some") && deed == Deed::Close;
    assert!(!published || polls > 0 && trail != Trail::IsFull, "{case}");
    ended.is_some()
}

fn is_transfer(deed: Deed) -> bool {
    matches!(deed, Deed::Close | Deed::CloseDownload | Deed::CutOpenUpload | Deed::SetTimeOfUpload)
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
