//! Stores that lead to one place: the same folder by two names, or a folder within another one's.

use std::fs;
use std::os::unix::fs::symlink;
use std::sync::Arc;

use bytes::Bytes;

use super::super::Mount;
use super::home::{Home, NEW, home_of, path};
use crate::secret::Secret;
use crate::stores::{Existing, Key, Settings, Store, StoreErrorKind, open};

/// A home of entries in several stores below one folder: path, the store's folder, target.
fn home(folder: &tempfile::TempDir, entries: &[(&str, &str, &str)]) -> Home {
    let mount = |(number, (entry, root, target)): (usize, &(&str, &str, &str))| {
        let url = format!("file://{}/{root}", folder.path().display());
        let options = vec![("fsync".to_owned(), Secret::new("false".to_owned()))];
        let store: Arc<dyn Store> = open(&Settings { name: format!("store-{number}"), url, options }).unwrap();
        Mount { entry: path(entry), store, target: Key::parse(target).unwrap() }
    };
    home_of(entries.iter().enumerate().map(mount).collect(), |_| {})
}

fn whole(folder: &tempfile::TempDir, name: &str) -> String {
    fs::read_to_string(folder.path().join(name)).unwrap()
}

#[tokio::test]
async fn a_file_is_not_moved_onto_itself() {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir_all(folder.path().join("data/in")).unwrap();
    symlink("data", folder.path().join("link")).unwrap();
    symlink("in", folder.path().join("data/also-in")).unwrap();
    // Where the folder of one entry lies in that of another, links are not followed.
    let linked = home(&folder, &[("/a", "data", ""), ("/b", "link", "")]);
    let nested = home(&folder, &[("/a", "data", ""), ("/b", "link", ""), ("/c", "data/in", ""), ("/d", "", "data/in")]);
    nested.write("/a/in/f", NEW, &Bytes::from_static(b"whole")).await.unwrap();
    for (home, from, to) in [
        (&nested, "/a/in/f", "/b/in/f"),
        (&nested, "/b/in/f", "/c/f"),
        (&nested, "/c/f", "/d/f"),
        (&nested, "/d/f", "/a/in/f"),
        (&linked, "/a/in/f", "/b/also-in/f"),
        (&linked, "/b/also-in/f", "/a/in/f"),
    ] {
        for existing in [Existing::Replace, Existing::Refuse] {
            let error = home.vfs.rename(&path(from), &path(to), existing, None).await.unwrap_err();
            assert_eq!(error.kind(), StoreErrorKind::Unsupported, "{from} {to}: {error}");
            assert_eq!(whole(&folder, "data/in/f"), "whole", "{from} {to}");
        }
    }
    // Another name there is another file.
    nested.vfs.rename(&path("/a/in/f"), &path("/c/g"), Existing::Refuse, None).await.unwrap();
    assert_eq!(whole(&folder, "data/in/g"), "whole");
    assert!(!folder.path().join("data/in/f").exists());
}

#[tokio::test]
async fn a_directory_is_not_moved_into_itself() {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir_all(folder.path().join("data/top/in")).unwrap();
    symlink("top", folder.path().join("data/also-top")).unwrap();
    fs::write(folder.path().join("data/top/f"), "whole").unwrap();
    let linked = home(&folder, &[("/a", "data", ""), ("/b", "data", "")]);
    let nested = home(&folder, &[("/a", "data", ""), ("/b", "data/top", ""), ("/c", "", "")]);
    for (home, from, to) in [
        (&nested, "/a/top", "/b/x"),
        (&nested, "/a/top", "/b/in/x"),
        (&nested, "/a/top", "/c/data/top/x"),
        (&nested, "/c/data", "/b/in/deep"),
        (&linked, "/a/top", "/b/also-top/x"),
        (&linked, "/a/also-top", "/b/top/in/x"),
    ] {
        let error = home.vfs.rename(&path(from), &path(to), Existing::Refuse, None).await.unwrap_err();
        assert_eq!(error.kind(), StoreErrorKind::Unsupported, "{from} {to}: {error}");
        assert_eq!(whole(&folder, "data/top/f"), "whole");
        assert_eq!(fs::read_dir(folder.path().join("data/top")).unwrap().count(), 3, "{from} {to}");
    }
    // Out of it is another place.
    nested.vfs.rename(&path("/b/in"), &path("/a/in"), Existing::Refuse, None).await.unwrap();
    assert!(folder.path().join("data/in").is_dir());
}

#[tokio::test]
async fn no_link_leads_into_the_folder_of_another_entry_by_another_store() {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir_all(folder.path().join("data/ann/safe")).unwrap();
    fs::write(folder.path().join("data/ann/safe/f"), "whole").unwrap();
    symlink("safe", folder.path().join("data/ann/link")).unwrap();
    for (other, follows) in [("data", false), ("data/ann", false), ("data/ann/safe", false), ("elsewhere", true)] {
        let target = ["data", "data/ann", "data/ann/safe", "elsewhere"].iter().position(|root| *root == other).unwrap();
        let target = ["ann/safe", "safe", "", ""][target];
        let home = home(&folder, &[("/", "data", "ann"), ("/safe", other, target)]);
        assert_eq!(home.vfs.stat(&path("/link/f")).await.is_ok(), follows, "{other}");
        let written = home.write("/link/new", NEW, &Bytes::from_static(b"x")).await;
        assert_eq!(written.is_ok(), follows, "{other}");
    }
}
