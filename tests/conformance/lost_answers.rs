//! A request reaches the store and its answer is lost. The next try must find that the work is done, and say so: the client
//! is not told of a failure, nor of a file that exists already when it is its own.

use std::sync::Arc;

use lockgate::internals::stores::{Existing, StoreErrorKind};
use lockgate::internals::vfs::Vfs;

use crate::fixture::a_time;
use crate::ground::{CHANGE, Content, EXCLUSIVE, Ground, MIB, NEW, path, pattern, write};
use crate::seams_stage::conditions;
use crate::support::proxy::{Fault, Kind, Plan};

use Content::{Dated, Directory, Joined, New, Old};

/// Loses the first answer to a request of this kind, at once and after a part of it.
async fn lose(
    kind: Kind,
    before: &[(&str, Content)],
    act: impl AsyncFn(&Vfs) -> lockgate::internals::vfs::VfsResult<()>,
    after: &[(&str, Content)],
) {
    for fault in [Fault::LoseAnswer, Fault::ResetAnswer(10)] {
        let Some(ground) = Ground::s3().await else { return };
        ground.lay_out(before).await;
        ground.proxy.plan(Plan::kind(kind, 1, fault));
        let result = act(&ground.vfs).await;
        let seen = ground.proxy.seen();
        assert!(result.is_ok(), "{fault:?}: {result:?} {seen:#?}");
        assert_eq!(ground.proxy.faults(), 1, "{seen:#?}");
        let found = ground.find().await;
        let right = after.iter().all(|(name, content)| found.get(*name).is_some_and(|found| content.is(found)));
        assert!(right && found.len() == after.len(), "{fault:?}: {:?} {seen:#?}", found.keys());
        for (name, _) in after {
            // The parts of an upload whose beginning was not answered have no name by which they could be removed.
            assert!(kind == Kind::Begin || ground.unfinished(name).await == 0, "{fault:?}: parts of {name} stay");
        }
    }
}

#[tokio::test]
async fn of_a_put() {
    let act = async |vfs: &Vfs| write(vfs, "/f", NEW, 0, pattern(2, 1000)).await.map(drop);
    lose(Kind::Put, &[("f", Old(10))], act, &[("f", New(1000))]).await;
}

#[tokio::test]
async fn of_a_put_that_must_not_replace() {
    for size in [0, 1000] {
        let act = async |vfs: &Vfs| write(vfs, "/f", EXCLUSIVE, 0, pattern(2, size)).await.map(drop);
        lose(Kind::Put, &[], act, &[("f", New(size))]).await;
    }
}

#[tokio::test]
async fn of_any_request_of_a_large_upload() {
    let act = async |vfs: &Vfs| write(vfs, "/f", NEW, 0, pattern(2, 6 * MIB)).await.map(drop);
    for kind in [Kind::Begin, Kind::Part, Kind::Complete] {
        lose(kind, &[("f", Old(10))], act, &[("f", New(6 * MIB))]).await;
        lose(kind, &[], act, &[("f", New(6 * MIB))]).await;
    }
}

#[tokio::test]
async fn of_any_request_of_a_large_upload_that_must_not_replace() {
    let act = async |vfs: &Vfs| write(vfs, "/f", EXCLUSIVE, 0, pattern(2, 6 * MIB)).await.map(drop);
    for kind in [Kind::Begin, Kind::Part, Kind::Complete] {
        lose(kind, &[], act, &[("f", New(6 * MIB))]).await;
    }
}

#[tokio::test]
async fn of_the_completion_of_an_append() {
    let act = async |vfs: &Vfs| write(vfs, "/f", CHANGE, 6 * MIB, pattern(2, MIB)).await.map(drop);
    lose(Kind::Complete, &[("f", Old(6 * MIB))], act, &[("f", Joined(6 * MIB, MIB))]).await;
}

#[tokio::test]
async fn of_a_copy() {
    for existing in [Existing::Refuse, Existing::Replace] {
        let act = async |vfs: &Vfs| vfs.rename(&path("/f"), &path("/g"), existing, None).await.map(drop);
        for kind in [Kind::Copy, Kind::Delete] {
            lose(kind, &[("f", Old(1000))], act, &[("g", Old(1000))]).await;
        }
    }
    let act = async |vfs: &Vfs| vfs.rename(&path("/f"), &path("/g"), Existing::Replace, None).await.map(drop);
    lose(Kind::Copy, &[("f", Old(1000)), ("g", New(10))], act, &[("g", Old(1000))]).await;
    let act = async |vfs: &Vfs| vfs.rename(&path("/d"), &path("/e"), Existing::Refuse, None).await.map(drop);
    for kind in [Kind::Copy, Kind::Delete] {
        lose(kind, &[("d/f", Old(1000)), ("d/g", Directory)], act, &[("e/f", Old(1000)), ("e/g", Directory)]).await;
    }
    let act = async |vfs: &Vfs| vfs.set_mtime(&path("/f"), a_time(), None).await.map(drop);
    lose(Kind::Copy, &[("f", Old(1000))], act, &[("f", Dated(1000))]).await;
}

/// Where the server heeds the conditions of copies, the next try of one meets the copy of the first.
#[tokio::test]
async fn of_a_copy_that_replaces_nothing() {
    for fault in [Fault::LoseAnswer, Fault::ResetAnswer(10)] {
        let Some(ground) = Ground::s3().await else { return };
        let server = &ground.fixture.server.as_ref().unwrap().0;
        ground.proxy.heed(Arc::new(conditions(server)));
        ground.lay_out(&[("f", Old(1000)), ("d/f", Old(1000)), ("d/g", Directory), ("taken", New(10))]).await;
        for (from, to) in [("/f", "/n"), ("/d", "/m")] {
            ground.proxy.plan(Plan::kind(Kind::Copy, 1, fault));
            let result = ground.vfs.rename(&path(from), &path(to), Existing::Refuse, None).await.map(drop);
            assert!(result.is_ok(), "{fault:?}: {result:?} {:#?}", ground.proxy.seen());
        }
        assert_eq!(ground.proxy.faults(), 2);
        let found = ground.find().await;
        assert_eq!(found.keys().collect::<Vec<_>>(), ["m/f", "m/g", "n", "taken"]);
        assert!(Old(1000).is(&found["n"]) && Old(1000).is(&found["m/f"]));
        // A file of the same content that somebody else has put there is not taken for the copy.
        ground.lay_out(&[("same", Old(1000))]).await;
        let error = ground.vfs.rename(&path("/n"), &path("/same"), Existing::Refuse, None).await.unwrap_err();
        assert_eq!(error.kind(), StoreErrorKind::AlreadyExists, "{error}");
    }
}

#[tokio::test]
async fn of_a_directory_made_or_removed_and_of_a_deletion() {
    let act = async |vfs: &Vfs| vfs.make_directory(&path("/d")).await;
    lose(Kind::Put, &[], act, &[("d", Directory)]).await;
    let act = async |vfs: &Vfs| vfs.remove_directory(&path("/d")).await;
    lose(Kind::Delete, &[("d", Directory)], act, &[]).await;
    let act = async |vfs: &Vfs| vfs.remove_file(&path("/f")).await;
    lose(Kind::Delete, &[("f", Old(10))], act, &[]).await;
}

#[tokio::test]
async fn a_file_of_somebody_else_is_never_taken_for_ones_own() {
    // The answer is lost before the store has the request, and another file takes the name meanwhile.
    for size in [1000, 6 * MIB] {
        let Some(ground) = Ground::s3().await else { return };
        let mut writer = ground.vfs.open_write(&path("/f"), EXCLUSIVE).await.unwrap();
        writer.write_at(0, pattern(2, size).into()).await.unwrap();
        ground.lay_out(&[("f", Old(size))]).await;
        let kind = if size == 1000 { Kind::Put } else { Kind::Complete };
        ground.proxy.plan(Plan::kind(kind, 1, Fault::Close));
        let error = writer.commit().await.unwrap_err();
        assert_eq!(error.kind(), StoreErrorKind::AlreadyExists, "{error}");
        assert!(Old(size).is(&ground.find().await["f"]));
        assert_eq!(ground.unfinished("f").await, 0);
    }
}
