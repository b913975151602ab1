//! Every call of the store fails once, and every call from there on: what the client is told, and what the stores hold then.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;

use crate::stores::Existing;

use super::super::{VfsResult, WriteMode};
use super::home::{CHANGE, Home, NEW, home, path, pattern};
use super::store::TestStore;

const EXCLUSIVE: WriteMode = WriteMode { existing: Existing::Refuse, ..NEW };
const READ_WRITE: WriteMode = WriteMode { read: true, ..CHANGE };

/// More than a part of the test store's, and with it three of them.
const LARGE: usize = 3 * 64 * 1024 + 5;

/// Names and content; a name with a slash at its end is a marker.
type Tree = BTreeMap<String, Bytes>;

/// An operation, what is there before it, and what is there after it.
struct Scenario {
    name: &'static str,
    before: Vec<(&'static str, Bytes)>,
    act: for<'h> fn(&'h Home) -> BoxFuture<'h, VfsResult<()>>,
    after: Vec<(&'static str, Bytes)>,
}

fn scenario(
    name: &'static str,
    before: &[(&'static str, Bytes)],
    act: for<'h> fn(&'h Home) -> BoxFuture<'h, VfsResult<()>>,
    after: &[(&'static str, Bytes)],
) -> Scenario {
    Scenario { name, before: before.to_vec(), act, after: after.to_vec() }
}

/// New content, apart from old content everywhere.
fn new(length: usize) -> Bytes {
    pattern(length).iter().map(|byte| !byte).collect::<Vec<u8>>().into()
}

fn joined(old: usize, more: usize) -> Bytes {
    [pattern(old), new(more)].concat().into()
}

async fn append(home: &Home, mode: WriteMode, at: usize, data: Bytes) -> VfsResult<()> {
    let mut writer = home.vfs.open_write(&path("/f"), mode).await?;
    writer.write_at(at as u64, data).await?;
    writer.commit().await.map(drop)
}

fn then() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000)
}

/// The scenarios within `/`, which is one store, and across to `/there`, which is another.
fn scenarios() -> Vec<Scenario> {
    let (old, empty) = (pattern(1000), Bytes::new());
    vec![
        scenario(
            "small put",
            &[],
            |h| async { h.write("/f", NEW, &new(10)).await.map(drop) }.boxed(),
            &[("f", new(10))],
        ),
        scenario(
            "large put",
            &[],
            |h| async { h.write("/f", NEW, &new(LARGE)).await.map(drop) }.boxed(),
            &[("f", new(LARGE))],
        ),
        scenario(
            "exclusive put",
            &[],
            |h| async { h.write("/f", EXCLUSIVE, &new(LARGE)).await.map(drop) }.boxed(),
            &[("f", new(LARGE))],
        ),
        scenario(
            "overwrite",
            &[("f", old.clone())],
            |h| async { h.write("/f", NEW, &new(LARGE)).await.map(drop) }.boxed(),
            &[("f", new(LARGE))],
        ),
        scenario(
            "overwrite in place",
            &[("f", pattern(LARGE))],
            |h| async { h.write("/f", CHANGE, &new(LARGE)).await.map(drop) }.boxed(),
            &[("f", new(LARGE))],
        ),
        scenario(
            "append",
            &[("f", pattern(LARGE))],
            |h| append(h, CHANGE, LARGE, new(1000)).boxed(),
            &[("f", joined(LARGE, 1000))],
        ),
        scenario(
            "read and write",
            &[("f", pattern(LARGE))],
            |h| append(h, READ_WRITE, LARGE, new(1000)).boxed(),
            &[("f", joined(LARGE, 1000))],
        ),
        scenario(
            "cut",
            &[("f", pattern(LARGE))],
            |h| async { h.vfs.set_length(&path("/f"), 1000).await.map(drop) }.boxed(),
            &[("f", pattern(LARGE).slice(..1000))],
        ),
        scenario(
            "a time that comes after the upload has begun",
            &[],
            |h| {
                async {
                    let mut writer = h.vfs.open_write(&path("/f"), NEW).await?;
                    writer.write_at(0, new(LARGE)).await?;
                    writer.set_mtime(then());
                    writer.commit().await.map(drop)
                }
                .boxed()
            },
            &[("f", new(LARGE))],
        ),
        scenario(
            "rename of a file",
            &[("f", old.clone())],
            |h| async { h.vfs.rename(&path("/f"), &path("/e/g"), Existing::Refuse, None).await.map(drop) }.boxed(),
            &[("e/g", old.clone())],
        ),
        scenario(
            "rename onto a file",
            &[("f", old.clone()), ("g", new(10))],
            |h| async { h.vfs.rename(&path("/f"), &path("/g"), Existing::Replace, None).await.map(drop) }.boxed(),
            &[("g", old.clone())],
        ),
        scenario(
            "rename of a directory",
            &[("d/f", old.clone()), ("d/e/", empty.clone()), ("d/g/h", new(10))],
            |h| async { h.vfs.rename(&path("/d"), &path("/n"), Existing::Refuse, None).await.map(drop) }.boxed(),
            &[("n/f", old.clone()), ("n/e/", empty.clone()), ("n/g/h", new(10))],
        ),
        scenario(
            "move of a file to another store",
            &[("f", pattern(LARGE))],
            |h| async { h.vfs.rename(&path("/f"), &path("/there/f"), Existing::Refuse, None).await.map(drop) }.boxed(),
            &[("there/f", pattern(LARGE))],
        ),
        scenario(
            "move of a directory to another store",
            &[("d/f", old.clone()), ("d/e/", empty.clone()), ("d/g/h", pattern(LARGE))],
            |h| async { h.vfs.rename(&path("/d"), &path("/there/d"), Existing::Refuse, None).await.map(drop) }.boxed(),
            &[
                ("there/d/", empty.clone()),
                ("there/d/f", old.clone()),
                ("there/d/e/", empty.clone()),
                ("there/d/g/", empty.clone()),
                ("there/d/g/h", pattern(LARGE)),
            ],
        ),
        scenario("mkdir", &[], |h| async { h.vfs.make_directory(&path("/d")).await }.boxed(), &[("d/", empty.clone())]),
        scenario("rmdir", &[("d/", empty)], |h| async { h.vfs.remove_directory(&path("/d")).await }.boxed(), &[]),
        scenario(
            "setting a time",
            &[("f", old.clone())],
            |h| async { h.vfs.set_mtime(&path("/f"), then(), None).await.map(drop) }.boxed(),
            &[("f", old.clone())],
        ),
        scenario("delete", &[("f", old)], |h| async { h.vfs.remove_file(&path("/f")).await }.boxed(), &[]),
    ]
}

/// Two stores that keep parts, two that keep files, one of each.
fn pairs() -> [fn() -> [TestStore; 2]; 3] {
    [
        || [TestStore::remote("here"), TestStore::remote("there")],
        || [TestStore::local("here"), TestStore::local("there")],
        || [TestStore::remote("here"), TestStore::local("there")],
    ]
}

/// What both stores hold.
fn tree(stores: &[TestStore; 2]) -> Tree {
    let of = |store: &TestStore, prefix: &str| -> Vec<(String, Bytes)> {
        store.keys().iter().map(|key| (format!("{prefix}{key}"), store.get(key).unwrap_or_default())).collect()
    };
    of(&stores[0], "").into_iter().chain(of(&stores[1], "there/")).collect()
}

fn as_tree(names: &[(&str, Bytes)]) -> Tree {
    names.iter().map(|(name, data)| ((*name).to_owned(), data.clone())).collect()
}

/// Runs a scenario with the calls of one store failing after `good` of them; false when none failed.
async fn attempt(scenario: &Scenario, stores: [TestStore; 2], which: usize, good: u64, bad: u64) -> bool {
    for (name, data) in &scenario.before {
        match name.strip_suffix('/') {
            Some(name) => stores[0].mark(name),
            None => stores[0].set(name, data.clone()),
        }
    }
    let home = home(&[("/", &stores[0], ""), ("/there", &stores[1], "")]);
    stores[which].fail_calls(good, bad);
    let result = (scenario.act)(&home).await;
    home.transfers.settled().await;
    let failures = stores[which].heal();
    let what = format!("{}, store {which}, after {good} calls {bad} fail: {result:?}", scenario.name);
    judge(scenario, &result, &tree(&stores), &what);
    // A store that is down cannot remove parts either.
    if bad == 1 {
        for store in &stores {
            assert_eq!(store.open_uploads(), 0, "{what}");
        }
    }
    home.assert_all_given_back().await;
    home.write("/next", NEW, &new(LARGE)).await.unwrap();
    assert_eq!(home.read("/next", 50_000).await.unwrap(), new(LARGE), "{what}");
    failures > 0
}

fn judge(scenario: &Scenario, result: &VfsResult<()>, found: &Tree, what: &str) {
    let (before, after) = (as_tree(&scenario.before), as_tree(&scenario.after));
    let Err(error) = result else {
        assert_eq!(*found, after, "{what}");
        return;
    };
    let text = error.to_string();
    let mut names = before.keys().chain(after.keys()).map(|name| name.split('/').next().unwrap());
    assert!(names.any(|name| text.contains(&format!("/{name}"))), "the error does not name the path: {what}");
    for (name, data) in found {
        let whole = before.get(name) == Some(data) || after.get(name) == Some(data);
        assert!(whole, "{name} has {} bytes that are neither old nor new: {what}", data.len());
    }
    let whole = |tree: &Tree| tree.iter().all(|(name, data)| found.get(name) == Some(data));
    let kept = before.iter().all(|(name, _)| found.contains_key(name));
    assert!(kept || (whole(&after) && text.contains("copied")), "something is lost: {what}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_failure_of_a_store_is_told_and_leaves_old_or_new_content_whole() {
    let mut attempts = 0;
    for scenario in scenarios() {
        for stores in pairs() {
            for (which, bad) in [(0, 1), (1, 1), (0, u64::MAX), (1, u64::MAX)] {
                let mut good = 0;
                while attempt(&scenario, stores(), which, good, bad).await {
                    good += 1;
                    assert!(good < 1000, "{} never ends", scenario.name);
                }
                attempts += good;
            }
        }
    }
    assert!(attempts > 500, "only {attempts} calls failed");
}
