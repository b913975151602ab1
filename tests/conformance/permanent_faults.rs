//! Every request of every operation fails once for good: what the client is told, and what the store holds then.

use std::collections::BTreeMap;

use futures_util::future::BoxFuture;
use futures_util::{FutureExt, StreamExt, stream};
use lockgate::internals::stores::Existing;
use lockgate::internals::vfs::{Vfs, VfsResult};

use crate::fixture::a_time;
use crate::ground::{CHANGE, Content, EXCLUSIVE, Found, Ground, MIB, NEW, path, pattern, read, write};
use crate::support::proxy::{Fault, Plan};

use Content::{Dated, Directory, Joined, New, Old};

/// How many attempts run at once.
const AT_ONCE: usize = 8;

/// An operation, what is there before it, and what is there after it.
struct Scenario {
    before: &'static [(&'static str, Content)],
    act: for<'v> fn(&'v Vfs) -> BoxFuture<'v, VfsResult<()>>,
    after: &'static [(&'static str, Content)],
}

/// Fails one request after the other.
async fn sweep(scenario: Scenario, fault: Fault) {
    let Some(ground) = Ground::s3().await else { return };
    ground.lay_out(scenario.before).await;
    (scenario.act)(&ground.vfs).await.unwrap();
    let requests = ground.proxy.seen();
    assert!(scenario.holds(&ground.find().await, scenario.after), "without faults: {:?}", ground.find().await.keys());
    let scenario = &scenario;
    let attempts = stream::iter(1..=requests.len() as u64).map(|k| attempt(scenario, k, fault));
    attempts.buffer_unordered(AT_ONCE).collect::<Vec<()>>().await;
}

/// Fails the `k`-th request for good.
async fn attempt(scenario: &Scenario, k: u64, fault: Fault) {
    let Some(ground) = Ground::s3().await else { return };
    ground.lay_out(scenario.before).await;
    ground.proxy.plan(Plan::nth(k, fault));
    let result = (scenario.act)(&ground.vfs).await;
    ground.transfers.settled().await;
    assert!(ground.proxy.faults() > 0, "request {k} was not reached");
    ground.proxy.plan(Plan::none());

    let found = ground.find().await;
    let what = format!("request {k}: {result:?}, then {:?}; {:#?}", found.keys(), ground.proxy.seen());
    match &result {
        Ok(()) => assert!(scenario.holds(&found, scenario.after), "not what was acknowledged; {what}"),
        Err(error) => {
            let text = error.to_string();
            let named = scenario.names().any(|name| text.contains(&format!("/{}", name.split('/').next().unwrap())));
            assert!(named, "the error does not name the path: {text}; {what}");
            scenario.judge_failed(&found, &text, &what);
        }
    }
    for name in scenario.names() {
        // An upload that was begun without an answer has no name by which it could be removed.
        let begun = what.matches("?uploads").count();
        let unknown = begun > 0 && (matches!(fault, Fault::LoseAnswer) || begun > 1);
        assert!(unknown || ground.unfinished(name).await == 0, "parts of {name} stay; {what}");
    }
    write(&ground.vfs, "/next", NEW, 0, pattern(2, 10)).await.unwrap();
    assert_eq!(read(&ground.vfs, "/next").await.unwrap(), pattern(2, 10));
}

impl Scenario {
    /// All names that matter.
    fn names(&self) -> impl Iterator<Item = &'static str> {
        self.before.iter().chain(self.after).map(|(name, _)| *name)
    }

    /// Whether the store holds just these names with just this content.
    fn holds(&self, found: &BTreeMap<String, Found>, wanted: &[(&str, Content)]) -> bool {
        found.len() == wanted.len() && wanted.iter().all(|(name, content)| is(found, name, *content))
    }

    /// After a failure every name holds exactly what it held or exactly what it was to hold, and what was to move is whole
    /// in its old place, or in its new one if the answer says so.
    fn judge_failed(&self, found: &BTreeMap<String, Found>, text: &str, what: &str) {
        for name in found.keys() {
            let known = self.before.iter().chain(self.after).filter(|(known, _)| known == name);
            assert!(known.clone().count() > 0, "{name} came from nowhere; {what}");
            assert!(known.clone().any(|(_, content)| is(found, name, *content)), "{name} is a mixture; {what}");
        }
        let gone = |(name, _): &&(&str, Content)| !found.contains_key(*name);
        let lost = self.before.iter().filter(gone).count();
        let moved = self.after.iter().all(|(name, content)| is(found, name, *content));
        let removed = self.after.is_empty();
        assert!(lost == 0 || (moved && text.contains("copied")) || removed, "{lost} names are lost; {what}");
    }
}

fn is(found: &BTreeMap<String, Found>, name: &str, content: Content) -> bool {
    found.get(name).is_some_and(|found| content.is(found))
}

/// Makes a test of each scenario with each kind of fault.
macro_rules! scenarios {
    ($($name:ident: $before:expr => $act:expr => $after:expr,)*) => {
        $(mod $name {
            use super::*;

            fn scenario() -> Scenario {
                Scenario { before: &$before, act: |vfs| { let act = $act; act(vfs).boxed() }, after: &$after }
            }

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn throttled() {
                sweep(scenario(), Fault::Status(503, "SlowDown")).await;
            }

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn denied() {
                sweep(scenario(), Fault::Status(403, "AccessDenied")).await;
            }

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn without_an_answer() {
                sweep(scenario(), Fault::LoseAnswer).await;
            }
        })*
    };
}

scenarios! {
    small_put: [] => async |vfs: &Vfs| write(vfs, "/d/f", NEW, 0, pattern(2, 1000)).await.map(drop) => [("d/f", New(1000))],
    large_put: [] => async |vfs: &Vfs| write(vfs, "/d/f", NEW, 0, pattern(2, 12 * MIB)).await.map(drop)
        => [("d/f", New(12 * MIB))],
    exclusive_small_put: [] => async |vfs: &Vfs| write(vfs, "/f", EXCLUSIVE, 0, pattern(2, 1000)).await.map(drop)
        => [("f", New(1000))],
    exclusive_large_put: [] => async |vfs: &Vfs| write(vfs, "/f", EXCLUSIVE, 0, pattern(2, 6 * MIB)).await.map(drop)
        => [("f", New(6 * MIB))],
    small_overwrite: [("f", Old(2000))] => async |vfs: &Vfs| write(vfs, "/f", NEW, 0, pattern(2, 1000)).await.map(drop)
        => [("f", New(1000))],
    large_overwrite: [("f", Old(2000))] => async |vfs: &Vfs| write(vfs, "/f", NEW, 0, pattern(2, 6 * MIB)).await.map(drop)
        => [("f", New(6 * MIB))],
    small_append: [("f", Old(2000))]
        => async |vfs: &Vfs| write(vfs, "/f", CHANGE, 2000, pattern(2, 1000)).await.map(drop)
        => [("f", Joined(2000, 1000))],
    large_resume: [("f", Old(7 * MIB))]
        => async |vfs: &Vfs| write(vfs, "/f", CHANGE, 7 * MIB, pattern(2, MIB)).await.map(drop)
        => [("f", Joined(7 * MIB, MIB))],
    rename_of_a_file: [("d/f", Old(1000))]
        => async |vfs: &Vfs| vfs.rename(&path("/d/f"), &path("/e/g"), Existing::Refuse, None).await.map(drop) => [("e/g", Old(1000))],
    rename_onto_a_file: [("f", Old(1000)), ("g", New(500))]
        => async |vfs: &Vfs| vfs.rename(&path("/f"), &path("/g"), Existing::Replace, None).await.map(drop) => [("g", Old(1000))],
    rename_of_a_directory: [("d/f", Old(1000)), ("d/g", New(10)), ("d/e", Directory), ("d/h/i", Old(1))]
        => async |vfs: &Vfs| vfs.rename(&path("/d"), &path("/n"), Existing::Refuse, None).await.map(drop)
        => [("n/f", Old(1000)), ("n/g", New(10)), ("n/e", Directory), ("n/h/i", Old(1))],
    making_a_directory: [("f", Old(10))] => async |vfs: &Vfs| vfs.make_directory(&path("/d")).await
        => [("f", Old(10)), ("d", Directory)],
    removing_a_directory: [("d", Directory)] => async |vfs: &Vfs| vfs.remove_directory(&path("/d")).await => [],
    setting_a_time: [("f", Old(1000))] => async |vfs: &Vfs| vfs.set_mtime(&path("/f"), a_time(), None).await.map(drop)
        => [("f", Dated(1000))],
    deleting_a_file: [("f", Old(1000))] => async |vfs: &Vfs| vfs.remove_file(&path("/f")).await => [],
}
