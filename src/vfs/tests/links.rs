//! Symbolic links of a local store: within the folder of an entry they lead somewhere, out of it nowhere, for every kind of call.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, UNIX_EPOCH};

use bytes::Bytes;

use crate::secret::Secret;
use crate::stores::{self, Existing, Key, Kind};

use super::super::{Mount, VfsResult, WriteMode};
use super::home::{CHANGE, Home, NEW, home_of, path};

/// A store's folder with the homes of two users, `ann` and `bob`, and what all may read.
struct Place {
    root: tempfile::TempDir,
}

impl Place {
    fn new() -> Place {
        let root = tempfile::tempdir().unwrap();
        for folder in ["ann/inner", "ann/work", "bob/sub", "shared"] {
            fs::create_dir_all(root.path().join(folder)).unwrap();
        }
        for (file, content) in [("ann/inner/file", "ann's"), ("bob/secret", "bob's"), ("shared/report", "everyone's")] {
            fs::write(root.path().join(file), content).unwrap();
        }
        Place { root }
    }

    fn at(&self, path: &str) -> PathBuf {
        self.root.path().join(path)
    }

    /// The home of `ann`: these entries and their targets.
    fn home(&self, entries: &[(&str, &str)], symlinks: &str) -> Home {
        let option = |name: &str, value: &str| (name.to_owned(), Secret::new(value.to_owned()));
        let settings = stores::Settings {
            name: "disk".into(),
            url: format!("file://{}", self.root.path().display()),
            options: vec![option("fsync", "false"), option("symlinks", symlinks)],
        };
        let store = stores::open(&settings).unwrap();
        let mount = |(entry, target): &(&str, &str)| {
            let target = Key::parse(target).unwrap();
            Mount { entry: path(entry), store: Arc::clone(&store), target }
        };
        home_of(entries.iter().map(mount).collect(), |_| {})
    }

    fn link(&self, name: &str, target: impl AsRef<Path>) {
        symlink(target, self.at("ann").join(name)).unwrap();
    }

    /// Everything outside of ann's home: names, contents, times.
    fn others(&self) -> Vec<(PathBuf, Option<Vec<u8>>, std::time::SystemTime)> {
        let mut found = Vec::new();
        let mut folders = vec![self.at("bob"), self.at("shared")];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(&folder).unwrap() {
                let path = entry.unwrap().path();
                let time = path.symlink_metadata().unwrap().modified().unwrap();
                if path.is_dir() {
                    folders.push(path.clone());
                }
                found.push((path.clone(), fs::read(&path).ok(), time));
            }
        }
        found.sort();
        found
    }
}

async fn write(home: &Home, name: &str, mode: WriteMode) -> VfsResult<()> {
    let mut writer = home.vfs.open_write(&path(name), mode).await?;
    writer.write_at(0, Bytes::from_static(b"ann was here")).await?;
    writer.commit().await.map(drop)
}

/// Every kind of call on `folder/file`, `folder/sub` and what could be made there. What each of them said.
async fn every_call(home: &Home, folder: &str, file: &str, sub: &str) -> Vec<(&'static str, bool)> {
    let at = |name: &str| path(&format!("{folder}/{name}"));
    let time = UNIX_EPOCH + Duration::from_secs(1_000_000);
    let vfs = &home.vfs;
    let mut calls = vec![
        ("stat", vfs.stat(&at(file)).await.is_ok()),
        ("version", vfs.version(&at(file)).await.is_ok()),
        ("read", home.read(&format!("{folder}/{file}"), 100).await.is_ok()),
        ("list", home.names(folder).await.is_ok()),
        ("list below", home.names(&format!("{folder}/{sub}")).await.is_ok()),
        ("set time", vfs.set_mtime(&at(file), time, None).await.is_ok()),
        ("set time of a directory", vfs.set_mtime(&at(sub), time, None).await.is_ok()),
        ("set length", vfs.set_length(&at(file), 2).await.is_ok()),
        ("change", write(home, &format!("{folder}/{file}"), WriteMode { must_exist: true, ..CHANGE }).await.is_ok()),
        ("replace", write(home, &format!("{folder}/{file}"), WriteMode { must_exist: true, ..NEW }).await.is_ok()),
        ("write", write(home, &format!("{folder}/new"), NEW).await.is_ok()),
        ("write deep", write(home, &format!("{folder}/more/new"), NEW).await.is_ok()),
        ("make directory", vfs.make_directory(&at("made")).await.is_ok()),
        ("rename within", vfs.rename(&at(file), &at("renamed"), Existing::Refuse, None).await.is_ok()),
        ("rename back", vfs.rename(&at("renamed"), &at(file), Existing::Replace, None).await.is_ok()),
        ("rename out", vfs.rename(&at(file), &path("/work/stolen"), Existing::Refuse, None).await.is_ok()),
    ];
    write(home, "/work/mine", NEW).await.unwrap();
    calls.push(("rename in", vfs.rename(&path("/work/mine"), &at(file), Existing::Refuse, None).await.is_ok()));
    calls.push(("remove", vfs.remove_file(&at(file)).await.is_ok()));
    calls.push(("remove directory", vfs.remove_directory(&at(sub)).await.is_ok()));
    calls
}

#[tokio::test]
async fn a_link_out_of_an_entry_leads_nowhere_for_every_call() {
    let place = Place::new();
    place.link("out", "../bob");
    place.link("absolute", place.at("bob"));
    place.link("chain", "out");
    place.link("up", "..");
    place.link("loop", "loop");
    place.link("readable", "../shared");
    let before = place.others();
    let home = place.home(&[("/", "ann"), ("/shared", "shared")], "within_entry");
    for (folder, file, sub) in [
        ("/out", "secret", "sub"),
        ("/absolute", "secret", "sub"),
        ("/chain", "secret", "sub"),
        ("/up/bob", "secret", "sub"),
        ("/loop", "secret", "sub"),
        ("/readable", "report", "none"),
    ] {
        let calls = every_call(&home, folder, file, sub).await;
        let done: Vec<_> = calls.iter().filter(|(_, done)| *done).collect();
        assert!(done.is_empty(), "{folder}: {done:?}");
        assert_eq!(place.others(), before, "{folder}");
    }
    let mut names = home.names("/").await.unwrap();
    names.sort();
    assert_eq!(names, ["inner", "shared", "work"].map(String::from));
}

/// A name that is such a link is a free name, or the link itself.
#[tokio::test]
async fn a_link_to_a_file_of_others_is_not_followed_and_may_be_replaced_and_removed() {
    let place = Place::new();
    place.link("secret", "../bob/secret");
    place.link("gone", "../bob/secret");
    let before = place.others();
    let home = place.home(&[("/", "ann")], "within_entry");
    assert!(home.vfs.stat(&path("/secret")).await.is_err());
    assert!(home.read("/secret", 10).await.is_err());
    assert!(home.vfs.set_length(&path("/secret"), 0).await.is_err());
    assert!(home.vfs.set_mtime(&path("/secret"), UNIX_EPOCH, None).await.is_err());
    write(&home, "/secret", CHANGE).await.unwrap();
    assert_eq!(home.read("/secret", 100).await.unwrap(), b"ann was here");
    assert!(place.at("ann/secret").symlink_metadata().unwrap().is_file());
    assert!(home.vfs.remove_file(&path("/gone")).await.is_err(), "what leads nowhere is not there");
    assert_eq!(place.others(), before);
}

#[tokio::test]
async fn a_link_within_an_entry_is_followed_unless_none_is_to_be() {
    let with_another = [("/", "ann"), ("/inner", "ann/inner")];
    for (entries, symlinks, follows) in [
        (&[("/", "ann")][..], "within_entry", true),
        (&[("/", "")][..], "within_entry", true),
        (&[("/", "ann")][..], "refuse", false),
        // What another entry allows there may be less.
        (&with_another[..], "within_entry", false),
    ] {
        let place = Place::new();
        let below = if entries[0].1.is_empty() { "/ann" } else { "" };
        fs::create_dir_all(place.at("ann/inner/sub")).unwrap();
        fs::create_dir_all(place.at("work")).unwrap();
        place.link("in", "inner");
        place.link("file", "inner/file");
        let home = place.home(entries, symlinks);
        assert_eq!(home.vfs.stat(&path(&format!("{below}/file"))).await.is_ok(), follows, "{entries:?} {symlinks}");
        let shown = home.names(&format!("{below}/")).await.unwrap();
        assert_eq!(shown.contains(&"in".to_owned()), follows, "{shown:?}");
        // Without a link it is there in any case.
        assert!(home.read(&format!("{below}/inner/file"), 10).await.is_ok());
        write(&home, &format!("{below}/a/b/c"), NEW).await.unwrap();
        assert_eq!(home.vfs.stat(&path(&format!("{below}/a/b"))).await.unwrap().kind, Kind::Directory);
        let calls = every_call(&home, &format!("{below}/in"), "file", "sub").await;
        assert!(calls.iter().all(|(_, done)| *done == follows), "{entries:?} {symlinks}: {calls:?}");
    }
}

/// Somebody changes a folder into a link and back all the time.
#[tokio::test(flavor = "multi_thread")]
async fn a_link_that_comes_between_two_steps_leads_nowhere_either() {
    let place = Place::new();
    place.link("link", "../bob");
    fs::create_dir(place.at("ann/folder")).unwrap();
    let before = place.others();
    let home = place.home(&[("/", "ann")], "within_entry");
    let (folder, link) = (place.at("ann/folder"), place.at("ann/link"));
    let ended = Arc::new(AtomicBool::new(false));
    let flips = {
        let ended = Arc::clone(&ended);
        std::thread::spawn(move || {
            let mut flips = 0_u64;
            while !ended.load(Ordering::Relaxed) {
                let exchange = rustix::fs::RenameFlags::EXCHANGE;
                rustix::fs::renameat_with(rustix::fs::CWD, &folder, rustix::fs::CWD, &link, exchange).unwrap();
                flips += 1;
            }
            flips
        })
    };
    for round in 0..1500_u32 {
        let secret = path("/folder/secret");
        match round % 6 {
            0 => assert!(home.read("/folder/secret", 10).await.is_err()),
            1 => assert!(home.vfs.stat(&secret).await.is_err()),
            2 => drop(write(&home, "/folder/new", NEW).await),
            3 => drop(home.vfs.make_directory(&path("/folder/made")).await),
            4 => drop(home.vfs.set_mtime(&secret, UNIX_EPOCH, None).await),
            _ => drop(home.vfs.remove_file(&secret).await),
        }
    }
    ended.store(true, Ordering::Relaxed);
    assert!(flips.join().unwrap() > 0);
    assert_eq!(place.others(), before);
}
