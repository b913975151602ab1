//! Rename within a store and across stores.

use std::time::{Duration, SystemTime};

use crate::stores::{Existing, StoreErrorKind};

use super::home::{MIB, home, path, pattern};
use super::store::TestStore;

#[tokio::test]
async fn a_file_is_renamed_by_its_store() {
    let store = TestStore::remote("s");
    store.set("a", "1");
    store.set("b", "2");
    store.set("d/x", "3");
    let home = home(&[("/", &store, "")]);
    let rename = async |from: &str, to: &str, existing| home.vfs.rename(&path(from), &path(to), existing, None).await;
    assert_eq!(rename("/a", "/b", Existing::Refuse).await.unwrap_err().kind(), StoreErrorKind::AlreadyExists);
    assert_eq!(rename("/a", "/d", Existing::Refuse).await.unwrap_err().kind(), StoreErrorKind::AlreadyExists);
    assert_eq!(rename("/a", "/d", Existing::Replace).await.unwrap_err().kind(), StoreErrorKind::IsADirectory);
    assert_eq!(rename("/n", "/m", Existing::Replace).await.unwrap_err().kind(), StoreErrorKind::NotFound);
    assert_eq!(rename("/a", "/a", Existing::Refuse).await.unwrap_err().kind(), StoreErrorKind::AlreadyExists);
    rename("/a", "/a", Existing::Replace).await.unwrap();
    assert_eq!(store.get("a").unwrap(), "1");
    store.calls();
    rename("/a", "/b", Existing::Replace).await.unwrap();
    assert_eq!(store.calls(), "rename=1", "it was looked at a moment ago");
    assert_eq!((store.get("a"), store.get("b").unwrap()), (None, "1".into()));
    rename("/b", "/new/c", Existing::Refuse).await.unwrap();
    assert_eq!(store.keys(), ["d/x", "new/c"]);
}

#[tokio::test]
async fn a_directory_is_renamed_by_its_store_and_never_onto_a_name_or_into_itself() {
    let store = TestStore::remote("s");
    store.set("d/x", "1");
    store.set("d/e/y", "2");
    store.set("f", "3");
    store.set("g/z", "4");
    let home = home(&[("/", &store, ""), ("/inside", &store, "d/e"), ("/g/entry", &store, "t")]);
    for to in ["/f", "/g", "/inside", "/d"] {
        let error = home.vfs.rename(&path("/d"), &path(to), Existing::Refuse, None).await.unwrap_err();
        assert_eq!(error.kind(), StoreErrorKind::AlreadyExists, "{to}");
    }
    for to in ["/d/e/deeper", "/d/new", "/inside/new"] {
        let error = home.vfs.rename(&path("/d"), &path(to), Existing::Replace, None).await.unwrap_err();
        assert_eq!(error.kind(), StoreErrorKind::Unsupported, "{to}");
    }
    let error = home.vfs.rename(&path("/g"), &path("/h"), Existing::Refuse, None).await.unwrap_err();
    assert_eq!(error.kind(), StoreErrorKind::Unsupported);
    home.vfs.rename(&path("/d"), &path("/new"), Existing::Refuse, None).await.unwrap();
    assert_eq!(store.keys(), ["f", "g/z", "new/e/y", "new/x"]);
}

#[tokio::test]
async fn a_file_moves_across_stores_with_its_time() {
    let (here, there) = (TestStore::remote("here"), TestStore::local("there"));
    let data = pattern(3 * MIB as usize + 5);
    here.set("f", data.clone());
    there.set("taken", "old");
    let home = home(&[("/", &here, ""), ("/there", &there, "")]);
    let then = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000);
    home.vfs.set_mtime(&path("/f"), then, None).await.unwrap();
    let error = home.vfs.rename(&path("/f"), &path("/there/taken"), Existing::Refuse, None).await.unwrap_err();
    assert_eq!(error.kind(), StoreErrorKind::AlreadyExists);
    home.vfs.rename(&path("/f"), &path("/there/taken"), Existing::Replace, None).await.unwrap();
    assert_eq!((here.get("f"), there.get("taken").unwrap()), (None, data.clone()));
    assert_eq!(there.mtime("taken"), Some(then));
    home.vfs.rename(&path("/there/taken"), &path("/back"), Existing::Refuse, None).await.unwrap();
    assert_eq!(here.get("back").unwrap(), data);
    home.assert_all_given_back().await;
}

#[tokio::test]
async fn a_failed_move_of_a_file_leaves_the_source_whole() {
    let data = pattern(MIB as usize);
    for operation in ["read", "open"] {
        let (here, there) = (TestStore::remote("here"), TestStore::remote("there"));
        here.set("f", data.clone());
        let home = home(&[("/", &here, ""), ("/there", &there, "")]);
        here.fail(operation, 0, 9);
        let error = home.vfs.rename(&path("/f"), &path("/there/f"), Existing::Refuse, None).await.unwrap_err();
        assert_eq!(error.kind(), StoreErrorKind::Unavailable);
        assert_eq!((here.get("f").unwrap(), there.get("f")), (data.clone(), None), "{operation}");
        home.assert_all_given_back().await;
        there.assert_no_uploads().await;
    }
    for operation in ["begin", "part", "complete"] {
        let (here, there) = (TestStore::remote("here"), TestStore::remote("there"));
        here.set("f", data.clone());
        let home = home(&[("/", &here, ""), ("/there", &there, "")]);
        there.fail(operation, 0, 1);
        home.vfs.rename(&path("/f"), &path("/there/f"), Existing::Refuse, None).await.unwrap_err();
        assert_eq!((here.get("f").unwrap(), there.get("f")), (data.clone(), None), "{operation}");
        home.assert_all_given_back().await;
        there.assert_no_uploads().await;
    }
    let (here, there) = (TestStore::remote("here"), TestStore::remote("there"));
    here.set("f", data.clone());
    let home = home(&[("/", &here, ""), ("/there", &there, "")]);
    here.fail("delete", 0, 1);
    let error = home.vfs.rename(&path("/f"), &path("/there/f"), Existing::Refuse, None).await.unwrap_err();
    assert!(error.to_string().contains("copied to /there/f, and the old name is not wholly removed"), "{error}");
    assert_eq!((here.get("f").unwrap(), there.get("f").unwrap()), (data.clone(), data));
}

#[tokio::test]
async fn a_directory_moves_across_stores_with_all_that_is_in_it() {
    let (here, there) = (TestStore::paged("here", 3), TestStore::remote("there"));
    let mut expected = Vec::new();
    for index in 0..20 {
        let name = format!("{}/f{index}", ["d", "d/e", "d/e/g"][index % 3]);
        here.set(&name, name.clone());
        expected.push(name);
    }
    expected.push("d/empty/".into());
    let home = home(&[("/", &here, ""), ("/there", &there, "in")]);
    home.vfs.make_directory(&path("/d/empty")).await.unwrap();
    home.vfs.rename(&path("/d"), &path("/there/d"), Existing::Refuse, None).await.unwrap();
    assert_eq!(here.keys(), [""; 0]);
    for name in expected.iter().filter(|n| !n.ends_with('/')) {
        assert_eq!(there.get(&format!("in/{name}")).unwrap(), name.as_str());
    }
    assert!(there.keys().contains(&"in/d/empty/".into()));
    home.assert_all_given_back().await;
}

#[tokio::test]
async fn a_failed_move_of_a_directory_leaves_the_source_whole_and_says_so() {
    let (here, there) = (TestStore::paged("here", 3), TestStore::remote("there"));
    for index in 0..9 {
        here.set(&format!("d/{index}"), "1");
    }
    let home = home(&[("/", &here, ""), ("/there", &there, "")]);
    there.fail("put", 5, 1);
    let error = home.vfs.rename(&path("/d"), &path("/there/d"), Existing::Refuse, None).await.unwrap_err();
    assert!(error.to_string().contains("/d is whole"), "{error}");
    assert_eq!(here.keys().len(), 9);
    here.hide_keys(1);
    let error = home.vfs.rename(&path("/d"), &path("/there/e"), Existing::Refuse, None).await.unwrap_err();
    assert_eq!(error.kind(), StoreErrorKind::InvalidName);
    assert_eq!(here.keys().len(), 9);
}

#[tokio::test]
async fn one_object_under_two_names_is_never_copied_onto_itself() {
    let store = TestStore::remote("s");
    store.set("k/f", "1");
    let home = home(&[("/a", &store, "k"), ("/b", &store, "k")]);
    let error = home.vfs.rename(&path("/a/f"), &path("/b/f"), Existing::Refuse, None).await.unwrap_err();
    assert_eq!(error.kind(), StoreErrorKind::AlreadyExists);
    home.vfs.rename(&path("/a/f"), &path("/b/f"), Existing::Replace, None).await.unwrap();
    let twin = store.clone();
    let home = super::home::home(&[("/a", &store, "k"), ("/b", &twin, "k")]);
    let error = home.vfs.rename(&path("/a/f"), &path("/b/f"), Existing::Replace, None).await.unwrap_err();
    assert_eq!(error.kind(), StoreErrorKind::Unsupported);
    assert_eq!(store.get("k/f").unwrap(), "1");
}

#[tokio::test]
async fn a_source_that_changes_while_it_is_copied_is_kept() {
    let (here, there) =
        (TestStore::remote("here"), TestStore::slow("there", super::store::SMALL_PARTS, Duration::from_millis(100)));
    here.set("f", "old");
    let home = home(&[("/", &here, ""), ("/there", &there, "")]);
    let (from, to) = (path("/f"), path("/there/f"));
    let change = async {
        tokio::time::sleep(Duration::from_millis(250)).await;
        here.set("f", "new");
    };
    let (result, ()) = tokio::join!(home.vfs.rename(&from, &to, Existing::Refuse, None), change);
    assert_eq!(result.unwrap_err().kind(), StoreErrorKind::Changed);
    assert_eq!((here.get("f").unwrap(), there.get("f").unwrap()), ("new".into(), "old".into()));
}
