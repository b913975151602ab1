//! Others write meanwhile: what is deleted or replaced is what was looked at.

use bytes::Bytes;

use crate::stores::{Existing, StoreErrorKind};

use super::super::{VfsResult, WriteMode, Writer};
use super::home::{CHANGE, Home, MIB, home, path, pattern};
use super::store::TestStore;

const READ_AND_CHANGE: WriteMode = WriteMode { read: true, ..CHANGE };

/// What a client does with an open file before its CLOSE.
type Change = for<'w> fn(&'w mut Writer) -> futures_util::future::BoxFuture<'w, VfsResult<()>>;

macro_rules! change {
    ($writer:ident => $act:expr) => {
        |$writer| Box::pin(async move { $act.await })
    };
}

/// Opens a file, changes it, lets another file take its name, and closes it; on every kind of store. Whether that was published.
async fn publishes(mode: WriteMode, old: usize, change: Change) -> Vec<bool> {
    let mut published = Vec::new();
    for store in [TestStore::remote("s"), TestStore::local("s")] {
        store.set("f", pattern(old));
        let home = home(&[("/", &store, "")]);
        let mut writer = home.vfs.open_write(&path("/f"), mode).await.unwrap();
        change(&mut writer).await.unwrap();
        store.set("f", "published meanwhile");
        match writer.commit().await {
            Ok(_) => published.push(true),
            Err(error) => {
                assert_eq!(error.kind(), StoreErrorKind::Changed, "{error}");
                assert_eq!(store.get("f").unwrap(), "published meanwhile");
                published.push(false);
            }
        }
        home.assert_all_given_back().await;
        store.assert_no_uploads().await;
    }
    published
}

#[tokio::test]
async fn what_began_from_old_content_does_not_replace_new_content() {
    let large = 3 * MIB as usize;
    for old in [0, 100, large] {
        for mode in [CHANGE, READ_AND_CHANGE] {
            let append: Change = change!(w => w.write_at(w.size(), Bytes::from_static(b"more")));
            let longer: Change = change!(w => w.set_length(w.size() + 10));
            // To append to nothing, without reading, is to write from the start.
            if old > 0 || mode.read {
                assert_eq!(publishes(mode, old, append).await, [false, false], "{old} {mode:?}");
            }
            assert_eq!(publishes(mode, old, longer).await, [false, false], "{old} {mode:?}");
        }
        if old > 0 {
            let cut: Change = change!(w => w.set_length(50));
            let middle: Change = change!(w => w.write_at(10, Bytes::from_static(b"new")));
            let start: Change = change!(w => w.write_at(0, Bytes::from_static(b"new")));
            for change in [cut, middle, start] {
                assert_eq!(publishes(CHANGE, old, change).await, [false, false], "{old}");
                assert_eq!(publishes(READ_AND_CHANGE, old, change).await, [false, false], "{old}");
            }
        }
    }
}

#[tokio::test]
async fn what_holds_nothing_old_replaces_whatever_is_there() {
    let emptied: Change = change!(w => async move {
        w.set_length(0).await?;
        w.write_at(0, Bytes::from_static(b"new")).await
    });
    let overwritten: Change = change!(w => w.write_at(0, pattern(200)));
    for old in [0, 100] {
        assert_eq!(publishes(CHANGE, old, emptied).await, [true, true], "{old}");
        assert_eq!(publishes(READ_AND_CHANGE, old, emptied).await, [true, true], "{old}");
        assert_eq!(publishes(CHANGE, old, overwritten).await, [true, true], "{old}");
    }
    // What was appended before it was emptied counts for nothing either.
    let again: Change = change!(w => async move {
        w.write_at(w.size(), Bytes::from_static(b"more")).await?;
        w.set_length(0).await
    });
    assert_eq!(publishes(CHANGE, 100, again).await, [true, true]);
}

/// Moves a directory of files to another store and lets others write in the middle of it.
async fn move_while(meanwhile: impl Fn(&TestStore)) -> (TestStore, TestStore, VfsResult<()>, Home) {
    let here = TestStore::remote("here");
    let there = TestStore::slow("there", super::store::SMALL_PARTS, std::time::Duration::from_millis(40));
    for index in 0..4 {
        here.set(&format!("d/{index}"), format!("old {index}"));
    }
    let home = home(&[("/", &here, ""), ("/there", &there, "")]);
    let (from, to) = (path("/d"), path("/there/d"));
    let change = async {
        // All is copied but the last file or two.
        while there.get("d/2").is_none() {
            tokio::time::sleep(std::time::Duration::from_millis(1)).await;
        }
        meanwhile(&here);
    };
    let (result, ()) = tokio::join!(home.vfs.rename(&from, &to, Existing::Refuse, None), change);
    (here, there, result.map(drop), home)
}

#[tokio::test]
async fn a_tree_that_moves_loses_no_file_that_was_overwritten_by_one_of_its_length() {
    let (here, there, result, _home) = move_while(|here| here.set("d/1", "new 1")).await;
    let error = result.unwrap_err();
    assert_eq!(error.kind(), StoreErrorKind::Changed);
    assert!(error.to_string().contains("/d/1"), "{error}");
    assert_eq!(here.keys(), ["d/1"], "what was copied is gone");
    assert_eq!(here.get("d/1").unwrap(), "new 1");
    for index in 0..4 {
        assert_eq!(there.get(&format!("d/{index}")).unwrap(), format!("old {index}").as_str());
    }
}

#[tokio::test]
async fn a_tree_that_moves_leaves_what_came_meanwhile_and_misses_nothing_that_went() {
    let (here, there, result, _home) = move_while(|here| {
        here.set("d/0a", "came");
        here.remove("d/0");
    })
    .await;
    assert_eq!(result.unwrap_err().kind(), StoreErrorKind::Changed);
    assert_eq!(here.keys(), ["d/0a"]);
    assert_eq!(there.keys().len(), 5, "{:?}", there.keys());
}
