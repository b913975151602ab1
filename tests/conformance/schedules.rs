//! Two clients change one tree, and every order of their calls to the store is lived through: not the orders that chance brings,
//! but all of them, one call at a time.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use lockgate::internals::stores::{Existing, Key, Store};
use lockgate::internals::vfs::{Mount, PartialUploads, Settings, Transfers, Vfs, VfsResult, WriteMode};
use tempfile::TempDir;
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;

use crate::decorated::{Before, Behind};
use crate::fixture::{Fixture, get, names, put};
use crate::ground::{CHANGE, EXCLUSIVE, NEW, path};

const READ_AND_CHANGE: WriteMode = WriteMode { read: true, ..CHANGE };

/// How often the clients may run until each waits for its turn or has ended: nothing here takes longer.
const UNTIL_QUIET: usize = 60;

/// The most orders of two operations; more are a mistake in the test.
const MOST_ORDERS: usize = 50_000;

/// Lets the calls of one client through, one at a time.
#[derive(Debug)]
struct Turnstile {
    turns: Semaphore,
    waiting: AtomicUsize,
}

impl Turnstile {
    fn new() -> Arc<Self> {
        Arc::new(Turnstile { turns: Semaphore::new(0), waiting: AtomicUsize::new(0) })
    }
}

#[async_trait]
impl Before for Turnstile {
    async fn call(&self, _call: &str) {
        self.waiting.fetch_add(1, Ordering::SeqCst);
        self.turns.acquire().await.expect("it stays open").forget();
        self.waiting.fetch_sub(1, Ordering::SeqCst);
    }
}

type Act = for<'v> fn(&'v Vfs) -> BoxFuture<'v, VfsResult<()>>;

/// What came of one order.
struct Outcome {
    /// Whose turn it was, call by call.
    order: Vec<usize>,
    results: [VfsResult<()>; 2],
    found: BTreeMap<String, String>,
}

impl Outcome {
    fn ok(&self, client: usize) -> bool {
        self.results[client].is_ok()
    }

    fn has(&self, name: &str) -> Option<&str> {
        self.found.get(name).map(String::as_str)
    }

    fn anywhere(&self, content: &str) -> bool {
        self.found.values().any(|found| found == content)
    }
}

/// Lives through every order of two operations on a store that holds `before`; how many there were.
async fn every_order(before: &[(&str, &str)], acts: [Act; 2], judge: impl Fn(&Outcome) -> bool) -> usize {
    // The turns that are given, and whether the other client could have had them.
    let mut turns: Vec<(usize, bool)> = Vec::new();
    for count in 1..=MOST_ORDERS {
        let prefix: Vec<usize> = turns.iter().map(|(client, _)| *client).collect();
        let (outcome, taken) = live(before, acts, &prefix).await;
        assert!(judge(&outcome), "{:?}: {:?}, then {:?}", outcome.order, outcome.results, outcome.found);
        turns = taken;
        // The last turn that the other client could have had goes to it.
        loop {
            match turns.pop() {
                None => return count,
                Some((0, true)) => {
                    turns.push((1, true));
                    break;
                }
                Some(_) => {}
            }
        }
    }
    panic!("more than {MOST_ORDERS} orders");
}

/// Lives through one order: its turns as in `prefix`, then the first client's as long as it can.
async fn live(before: &[(&str, &str)], acts: [Act; 2], prefix: &[usize]) -> (Outcome, Vec<(usize, bool)>) {
    let memory = Fixture::memory();
    for (name, content) in before {
        put(&*memory.store, name, content).await;
    }
    let turnstiles = [Turnstile::new(), Turnstile::new()];
    let clients = acts.into_iter().zip(&turnstiles).map(|(act, turnstile)| {
        let (vfs, staging) = home(&memory.store, turnstile);
        tokio::spawn(async move {
            let result = act(&vfs).await;
            drop((vfs, staging));
            result
        })
    });
    let clients: Vec<_> = clients.collect();
    let mut taken = Vec::new();
    loop {
        quiet(&clients, &turnstiles).await;
        let can = |client: usize| turnstiles[client].waiting.load(Ordering::SeqCst) > 0;
        let client = match (can(0), can(1), prefix.get(taken.len())) {
            (true, true, Some(client)) => *client,
            (true, _, _) => 0,
            (false, true, _) => 1,
            (false, false, _) => break,
        };
        taken.push((client, can(0) && can(1)));
        turnstiles[client].turns.add_permits(1);
    }
    let mut results = Vec::new();
    for client in clients {
        results.push(client.await.unwrap());
    }
    let mut found = BTreeMap::new();
    for directory in ["", "d", "e"] {
        for name in names(&*memory.store, directory).await {
            let full = Key::parse(directory).unwrap().join(name.trim_end_matches('/')).unwrap();
            if !name.ends_with('/') {
                found.insert(full.to_string(), get(&*memory.store, full.as_str()).await);
            }
        }
    }
    let order = taken.iter().map(|(client, _)| *client).collect();
    let Ok(results) = <[VfsResult<()>; 2]>::try_from(results) else { panic!("two clients have two results") };
    (Outcome { order, results, found }, taken)
}

/// Waits until each client waits for its turn or has ended. Only files on disk take longer than a few turns of the runtime.
async fn quiet<T>(clients: &[JoinHandle<T>], turnstiles: &[Arc<Turnstile>]) {
    for _ in 0..10_000 {
        for _ in 0..UNTIL_QUIET {
            tokio::task::yield_now().await;
        }
        let mut pairs = clients.iter().zip(turnstiles);
        if pairs.all(|(client, turnstile)| client.is_finished() || turnstile.waiting.load(Ordering::SeqCst) > 0) {
            return;
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    panic!("a client neither waits nor ends");
}

/// A client's file system over the store, whose calls pass its turnstile.
fn home(store: &Arc<dyn Store>, turnstile: &Arc<Turnstile>) -> (Vfs, TempDir) {
    let (vfs, staging, _) = whole_home(store, turnstile);
    (vfs, staging)
}

fn whole_home(store: &Arc<dyn Store>, turnstile: &Arc<Turnstile>) -> (Vfs, TempDir, Arc<Transfers>) {
    let staging = TempDir::new().unwrap();
    let settings = Settings {
        transfer_memory: 16 << 20,
        staging: 16 << 20,
        staging_folder: staging.path().to_owned(),
        largest_hole: 64 << 20,
        partial_uploads: PartialUploads::Discard,
    };
    let store = Arc::new(Behind::new(Arc::clone(store), Arc::clone(turnstile) as Arc<dyn Before>));
    let mount = Mount { entry: path("/"), store, target: Key::root() };
    let transfers = Transfers::new(settings).unwrap();
    (Vfs::new(vec![mount], Arc::clone(&transfers)), staging, transfers)
}

/// Drops an operation before its first call to the store, before its second, and so on: its client is gone. What was there before is
/// there as a whole, or what was to be there.
async fn dropped_at_every_call(before: &[(&str, &str)], act: Act, whole: impl Fn(&BTreeMap<String, String>) -> bool) {
    for turns in 0.. {
        let memory = Fixture::memory();
        for (name, content) in before {
            put(&*memory.store, name, content).await;
        }
        let turnstile = Turnstile::new();
        let (vfs, staging, transfers) = whole_home(&memory.store, &turnstile);
        let client = tokio::spawn(async move { act(&vfs).await });
        for turn in 0..=turns {
            quiet(std::slice::from_ref(&client), std::slice::from_ref(&turnstile)).await;
            if turn < turns {
                turnstile.turns.add_permits(1);
            }
        }
        let ended = client.is_finished();
        client.abort();
        drop(client.await);
        // What is removed in the background is removed.
        turnstile.turns.add_permits(1_000);
        transfers.settled().await;
        assert_eq!(std::fs::read_dir(staging.path()).unwrap().count(), 0, "staged files stay");
        let mut found = BTreeMap::new();
        for name in names(&*memory.store, "").await {
            found.insert(name.clone(), get(&*memory.store, &name).await);
        }
        assert!(whole(&found), "dropped after {turns} calls: {found:?}");
        if ended {
            assert!(turns > 1, "the operation made no calls");
            return;
        }
    }
}

async fn append(vfs: &Vfs, name: &str, content: &'static str) -> VfsResult<()> {
    let mut writer = vfs.open_write(&path(name), CHANGE).await?;
    writer.write_at(writer.size(), Bytes::from_static(content.as_bytes())).await?;
    writer.commit().await.map(drop)
}

async fn overwrite(vfs: &Vfs, name: &str, mode: WriteMode, content: &'static str) -> VfsResult<()> {
    let mut writer = vfs.open_write(&path(name), mode).await?;
    writer.write_at(0, Bytes::from_static(content.as_bytes())).await?;
    writer.commit().await.map(drop)
}

async fn rename(vfs: &Vfs, from: &str, to: &str, existing: Existing) -> VfsResult<()> {
    vfs.rename(&path(from), &path(to), existing, None).await.map(drop)
}

#[tokio::test]
async fn of_two_appends_none_that_succeeded_is_lost() {
    let acts: [Act; 2] = [|vfs| append(vfs, "/f", "+one").boxed(), |vfs| append(vfs, "/f", "+two").boxed()];
    let orders = every_order(&[("f", "old")], acts, |outcome| {
        let found = outcome.has("f").unwrap_or_default();
        let kept = |client: usize, text: &str| outcome.ok(client) == found.contains(text);
        found.starts_with("old") && kept(0, "+one") && kept(1, "+two") && (outcome.ok(0) || outcome.ok(1))
    });
    assert!(orders.await > 50, "not every order was tried");
}

#[tokio::test]
async fn an_append_never_brings_back_what_was_overwritten() {
    for mode in [CHANGE, READ_AND_CHANGE] {
        let appending: Act = match mode.read {
            false => |vfs| append(vfs, "/f", "+one").boxed(),
            true => |vfs| {
                async move {
                    let mut writer = vfs.open_write(&path("/f"), READ_AND_CHANGE).await?;
                    let size = writer.size();
                    writer.read_back(0, 100).await?;
                    writer.write_at(size, Bytes::from_static(b"+one")).await?;
                    writer.commit().await.map(drop)
                }
                .boxed()
            },
        };
        let acts: [Act; 2] = [appending, |vfs| overwrite(vfs, "/f", NEW, "new").boxed()];
        let orders = every_order(&[("f", "old")], acts, |outcome| {
            let found = outcome.has("f").unwrap_or_default();
            outcome.ok(1) && (found == "new" || (found == "new+one" && outcome.ok(0)))
        });
        assert!(orders.await > 10, "not every order was tried");
    }
}

#[tokio::test]
async fn a_rename_loses_no_file_that_is_written_meanwhile() {
    for existing in [Existing::Refuse, Existing::Replace] {
        let renaming: Act = match existing {
            Existing::Refuse => |vfs| rename(vfs, "/f", "/g", Existing::Refuse).boxed(),
            Existing::Replace => |vfs| rename(vfs, "/f", "/g", Existing::Replace).boxed(),
        };
        let acts: [Act; 2] = [renaming, |vfs| overwrite(vfs, "/f", NEW, "new").boxed()];
        every_order(&[("f", "old")], acts, |outcome| {
            outcome.ok(1) && outcome.anywhere("new") && (!outcome.ok(0) || outcome.has("g").is_some())
        })
        .await;
        let acts: [Act; 2] = [renaming, |vfs| overwrite(vfs, "/g", NEW, "new").boxed()];
        every_order(&[("f", "old")], acts, |outcome| {
            let replaced = outcome.ok(0) && outcome.has("g") == Some("old") && existing == Existing::Replace;
            outcome.ok(1) && (outcome.anywhere("new") || replaced) && (outcome.ok(0) || outcome.has("f") == Some("old"))
        })
        .await;
    }
}

#[tokio::test]
async fn of_two_that_want_one_free_name_one_gets_it() {
    let acts: [Act; 2] =
        [|vfs| overwrite(vfs, "/f", EXCLUSIVE, "one").boxed(), |vfs| overwrite(vfs, "/f", EXCLUSIVE, "two").boxed()];
    every_order(&[], acts, |outcome| {
        outcome.ok(0) != outcome.ok(1) && outcome.has("f") == Some(if outcome.ok(0) { "one" } else { "two" })
    })
    .await;
    let acts: [Act; 2] = [
        |vfs| rename(vfs, "/a", "/f", Existing::Refuse).boxed(),
        |vfs| rename(vfs, "/b", "/f", Existing::Refuse).boxed(),
    ];
    every_order(&[("a", "a"), ("b", "b")], acts, |outcome| {
        outcome.ok(0) != outcome.ok(1) && outcome.anywhere("a") && outcome.anywhere("b")
    })
    .await;
}

#[tokio::test]
async fn a_directory_that_is_renamed_takes_with_it_or_leaves_what_is_written_meanwhile() {
    let acts: [Act; 2] =
        [|vfs| rename(vfs, "/d", "/e", Existing::Refuse).boxed(), |vfs| overwrite(vfs, "/d/f", NEW, "new").boxed()];
    every_order(&[("d/f", "old"), ("d/g", "other")], acts, |outcome| {
        outcome.ok(1) && outcome.anywhere("new") && outcome.anywhere("other")
    })
    .await;
}

#[tokio::test]
async fn an_operation_that_is_dropped_leaves_what_was_or_what_was_to_be() {
    let old = [("f", "old")];
    let is = |found: &BTreeMap<String, String>, name: &str, content: &str| {
        found.len() == 1 && found.get(name).is_some_and(|found| found == content)
    };
    let either =
        |new: &'static str| move |found: &BTreeMap<String, String>| is(found, "f", "old") || is(found, "f", new);
    dropped_at_every_call(&old, |vfs| append(vfs, "/f", "+one").boxed(), either("old+one")).await;
    dropped_at_every_call(&old, |vfs| overwrite(vfs, "/f", NEW, "new").boxed(), either("new")).await;
    dropped_at_every_call(&old, |vfs| overwrite(vfs, "/f", READ_AND_CHANGE, "new").boxed(), either("new")).await;
    let cut: Act = |vfs| async move { vfs.set_length(&path("/f"), 1).await.map(drop) }.boxed();
    dropped_at_every_call(&old, cut, either("o")).await;
    let renaming: Act = |vfs| rename(vfs, "/f", "/g", Existing::Refuse).boxed();
    dropped_at_every_call(&old, renaming, |found| is(found, "f", "old") || is(found, "g", "old")).await;
    let exclusive: Act = |vfs| overwrite(vfs, "/f", EXCLUSIVE, "new").boxed();
    dropped_at_every_call(&[], exclusive, |found| found.is_empty() || is(found, "f", "new")).await;
}
