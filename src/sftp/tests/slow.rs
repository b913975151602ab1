//! A store that is far away: what is asked at once costs its time once.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use bytes::Bytes;
use tokio::sync::Notify;

use super::pipe::Client;
use super::string;
use crate::policy::Permissions;
use crate::session::testing::Home;
use crate::stores::{
    self, Capacity, Change, Deletion, Existing, Key, Object, Page, PageToken, PartLimits, PutOptions, Stat, Store,
    StoreResult, Upload, Written,
};

const DELAY: Duration = Duration::from_millis(100);

/// How many requests are on the way at once, at least.
const TOGETHER: usize = 10;

/// A memory store whose every request takes [`DELAY`], until it is lost.
#[derive(Debug)]
struct FarAway(Arc<dyn Store>, Arc<Way>);

/// What is on the way to the store.
#[derive(Debug, Default)]
struct Way {
    is_lost: AtomicBool,
    /// Nothing arrives before so many requests are on the way at once; 0 for no such thing.
    together: AtomicUsize,
    waiting: AtomicUsize,
    arrived: Notify,
}

impl Way {
    /// From now on so many requests arrive at once, and none before.
    fn gather(&self, requests: usize) {
        self.waiting.store(0, Ordering::SeqCst);
        self.together.store(requests, Ordering::SeqCst);
    }

    async fn go(&self) {
        let arrived = self.arrived.notified();
        let wanted = self.together.load(Ordering::SeqCst);
        if wanted == 0 {
            return;
        }
        if self.waiting.fetch_add(1, Ordering::SeqCst) + 1 < wanted {
            return arrived.await;
        }
        // As many as were wanted: from now on they arrive as they come.
        self.together.store(0, Ordering::SeqCst);
        self.arrived.notify_waiters();
    }
}

impl FarAway {
    async fn reach(&self) -> &dyn Store {
        tokio::time::sleep(DELAY).await;
        if self.1.is_lost.load(Ordering::Relaxed) {
            std::future::pending::<()>().await;
        }
        self.1.go().await;
        &*self.0
    }
}

#[async_trait]
impl Store for FarAway {
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
        self.reach().await.stat(key).await
    }
    async fn list(&self, key: &Key, from: Option<PageToken>) -> StoreResult<Page> {
        self.reach().await.list(key, from).await
    }
    async fn open(&self, key: &Key) -> StoreResult<Arc<dyn Object>> {
        self.reach().await.open(key).await
    }
    async fn put(&self, key: &Key, data: Vec<Bytes>, options: &PutOptions) -> StoreResult<Written> {
        self.reach().await.put(key, data, options).await
    }
    async fn begin_upload(&self, key: &Key, options: &PutOptions) -> StoreResult<Upload> {
        self.reach().await.begin_upload(key, options).await
    }
    async fn delete(&self, key: &Key) -> StoreResult<()> {
        self.reach().await.delete(key).await
    }

    async fn delete_version(&self, key: &Key, version: &str) -> StoreResult<Deletion> {
        self.reach().await.delete_version(key, version).await
    }
    async fn make_directory(&self, key: &Key) -> StoreResult<()> {
        self.reach().await.make_directory(key).await
    }
    async fn remove_directory(&self, key: &Key) -> StoreResult<()> {
        self.reach().await.remove_directory(key).await
    }
    async fn rename(&self, from: &Key, to: &Key, existing: Existing, only: Option<&str>) -> StoreResult<Change> {
        self.reach().await.rename(from, to, existing, only).await
    }
    async fn rename_directory(&self, from: &Key, to: &Key) -> StoreResult<()> {
        self.reach().await.rename_directory(from, to).await
    }
    async fn set_mtime(
        &self,
        key: &Key,
        mtime: std::time::SystemTime,
        only: Option<&str>,
    ) -> StoreResult<Option<Change>> {
        self.reach().await.set_mtime(key, mtime, only).await
    }
    async fn capacity(&self) -> StoreResult<Option<Capacity>> {
        self.reach().await.capacity().await
    }
    async fn check(&self) -> StoreResult<()> {
        self.reach().await.check().await
    }
}

async fn far_home() -> Home {
    losable_home().await.0
}

/// A home, and the way to its store.
async fn losable_home() -> (Home, Arc<Way>) {
    let settings = stores::Settings { name: "far".into(), url: "memory:///".into(), options: Vec::new() };
    let way = Arc::<Way>::default();
    let store = Arc::new(FarAway(stores::open(&settings).unwrap(), Arc::clone(&way)));
    (Home::over(store, &[("/", "", Permissions::READ_WRITE)]).await, way)
}

#[tokio::test]
async fn what_follows_a_close_sees_the_file_without_waiting_for_the_answer() {
    let home = far_home().await;
    let mut client = Client::start(home.session()).await;
    let mtime = 1_700_000_000u32.to_be_bytes();
    let times = [&[0, 0, 0, 8][..], &mtime, &mtime].concat();
    for after_close in [
        // WinSCP sets the times of a small file before it has the answer to CLOSE.
        vec![(9, [string("/f"), times.clone()].concat()), (17, string("/f"))],
        vec![(18, [string("/f"), string("/g")].concat()), (17, string("/g")), (13, string("/g"))],
    ] {
        let handle = client.open("/f", 0x1a).await;
        let mut ids = vec![client.ask(6, &[&handle, &[0; 8], &string("data")]).await, client.ask(4, &[&handle]).await];
        for (kind, body) in &after_close {
            ids.push(client.ask(*kind, &[body]).await);
        }
        for id in ids {
            let answer = client.answer_to(id).await;
            assert!(answer.kind == 105 || answer.status() == 0, "{answer:?}");
            if answer.kind == 105 && after_close[0].0 == 9 {
                assert_eq!(answer.rest[answer.rest.len() - 4..], mtime, "the time is kept");
            }
        }
    }
}

/// One after the other they would never arrive.
#[tokio::test]
async fn requests_that_do_not_matter_to_one_another_share_the_way() {
    let (home, way) = losable_home().await;
    let mut client = Client::start(home.session()).await;

    way.gather(TOGETHER);
    let stats: Vec<u32> = {
        let mut ids = Vec::new();
        for n in 0..40 {
            ids.push(client.ask(17, &[&string(format!("/none-{n}"))]).await);
        }
        ids
    };
    for id in stats {
        assert_eq!(client.answer_to(id).await.status(), 2);
    }

    way.gather(TOGETHER);
    let mut opens = Vec::new();
    for n in 0..20 {
        opens.push(client.ask(3, &[&string(format!("/f{n}")), &[0, 0, 0, 0x1a], &[0; 4]]).await);
    }
    let mut handles = Vec::new();
    for id in opens {
        handles.push(string(client.answer_to(id).await.string()));
    }
    let mut closes = Vec::new();
    way.gather(TOGETHER);
    for handle in &handles {
        client.ask(6, &[handle, &[0; 8], &string("data")]).await;
        closes.push(client.ask(4, &[handle]).await);
    }
    for id in closes {
        assert_eq!(client.answer_to(id).await.status(), 0);
    }
}

#[tokio::test]
async fn a_request_that_waits_holds_up_no_others() {
    let home = far_home().await;
    let mut client = Client::start(home.session()).await;
    client.put("/a", b"data").await;
    let handle = string(client.call(3, &[&string("/a"), &[0, 0, 0, 0x1a], &[0; 4]]).await.string());
    assert_eq!(client.call(6, &[&handle, &[0; 8], &string("new")]).await.status(), 0);
    let closed = client.ask(4, &[&handle]).await;
    // WinSCP's way: they wait for the CLOSE, one after the other. What comes behind them is elsewhere.
    let renamed = client.ask(18, &[&string("/a"), &string("/b")]).await;
    let seen = client.ask(17, &[&string("/b")]).await;
    let elsewhere = client.ask(17, &[&string("/none")]).await;
    assert_eq!(client.answer().await.id, elsewhere, "one look at the store, beside a put, a rename and a look");
    for id in [closed, renamed] {
        assert_eq!(client.answer_to(id).await.status(), 0);
    }
    assert_eq!(client.answer_to(seen).await.kind, 105);
}

#[tokio::test]
async fn what_a_store_never_answers_ends_half_a_minute_after_the_client() {
    let (home, way) = losable_home().await;
    let mut client = Client::start(home.session()).await;
    let (closing, open) = (client.open("/closing", 0x1a).await, client.open("/open", 0x1a).await);
    for handle in [&closing, &open] {
        assert_eq!(client.call(6, &[handle, &[0; 8], &string("data")]).await.status(), 0);
    }
    way.is_lost.store(true, Ordering::Relaxed);
    client.ask(4, &[&closing]).await;
    client.ask(13, &[&string("/other")]).await;
    tokio::time::sleep(DELAY * 5).await;
    let left = Instant::now();
    client.eof();
    client.ended_within(Duration::from_secs(120)).await;
    let took = left.elapsed();
    assert!(took >= Duration::from_secs(29), "it took {took:?}");
    home.login().transfers_ended_within(Duration::from_secs(120)).await;
    home.sink().wait_for("PARTIAL_CLOSE", 2, Duration::from_secs(120)).await;
    home.sink().wait_for("DELETE", 1, Duration::from_secs(120)).await;
    let events = home.events();
    let ends: Vec<_> = events[2..].iter().map(|event| (&event["activity-type"], &event["logical-path"])).collect();
    for wanted in [("PARTIAL_CLOSE", "/closing"), ("PARTIAL_CLOSE", "/open"), ("DELETE", "/other")] {
        let count = ends.iter().filter(|(activity, path)| *activity == wanted.0 && *path == wanted.1).count();
        assert_eq!(count, 1, "{wanted:?} in {ends:?}");
    }
    assert!(ends.len() == 3 && events[2..].iter().all(|event| event["status"] == "failure"), "{events:?}");
}
