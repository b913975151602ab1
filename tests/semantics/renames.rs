//! Rename.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::bench::{Behind, Bench, Builder, Finish, Place, assert_refused, assert_same, shared};
use crate::support::data::{MIB, noise};
use crate::support::plain_proxy::{Proxy, Request};
use crate::support::s3;
use crate::support::sftp::{FAILURE, PERMISSION_DENIED, Refusal, Sftp};

#[test]
fn files_and_directories_can_be_renamed_within_an_entry_across_entries_and_across() {
    shared().on_every_store(|place, session| {
        let mut targets = vec![place.path("")];
        targets.extend(place.bench.stores().into_iter().map(|store| place.in_other_entry(store, "x")));
        for (i, target) in targets.iter().enumerate() {
            for size in [0, 100_000, 6 * MIB] {
                let (from, to) = (place.path("file"), format!("{target}/file-{size}"));
                let data = noise(size, size + i as u64);
                session.put(&from, &data);
                session.rename(&from, &to).unwrap();
                assert!(!session.exists(&from), "{from} to {to}");
                assert_same(&session.get(&to), &data);
            }
            let (from, to) = (place.path("tree"), format!("{target}/moved-tree"));
            session.put(&place.path("tree/file"), b"one");
            session.put(&place.path("tree/inner/deep/file"), b"two");
            session.make_directory(&place.path("tree/empty")).unwrap();
            session.rename(&from, &to).unwrap();
            assert!(!session.exists(&from), "{from} to {to}");
            assert_eq!(session.names(&to), ["empty/", "file", "inner/"]);
            assert_eq!(session.get(&format!("{to}/inner/deep/file")), b"two");
            assert!(session.names(&format!("{to}/empty")).is_empty());
        }
    });
}

#[test]
fn sftps_rename_never_replaces_a_file_an_s3_server_that_ignores_conditions_on() {
    shared().on_every_store(|place, session| {
        session.put(&place.path("file"), b"file");
        session.put(&place.path("taken"), b"taken");
        session.put(&place.path("folder/inner"), b"inner");
        session.make_directory(&place.path("empty")).unwrap();
        for (from, to) in [
            ("file", "taken"),
            ("file", "folder"),
            ("file", "empty"),
            ("folder", "taken"),
            ("folder", "empty"),
            ("empty", "folder"),
            ("file", "file"),
        ] {
            assert_refused(session.rename(&place.path(from), &place.path(to)), FAILURE);
        }
        assert_eq!(session.names(&place.path("")), ["empty/", "file", "folder/", "taken"]);
        for (name, content) in [("file", "file"), ("taken", "taken"), ("folder/inner", "inner")] {
            assert_eq!(session.get(&place.path(name)), content.as_bytes());
        }
        for store in place.bench.stores() {
            let taken = place.in_other_entry(store, "taken");
            session.put(&taken, b"taken");
            assert_refused(session.rename(&place.path("file"), &taken), FAILURE);
            assert_eq!((session.get(&place.path("file")), session.get(&taken)), (b"file".to_vec(), b"taken".to_vec()));
        }
        if place.s3().is_none() {
            race(place, session);
        }
    });
    // The condition that keeps a copy from replacing what came in the last moment; MinIO is among those that ignore it.
    let (proxy, bench) = behind_proxy();
    bench.on(
        |behind| matches!(behind, Behind::Server(_)),
        |place, session| {
            session.put(&place.path("file"), b"file");
            session.rename(&place.path("file"), &place.path("moved")).unwrap();
            let copies: Vec<Request> = proxy.requests().into_iter().filter(is_copy).collect();
            assert_eq!(copies.len(), 1);
            assert_eq!(copies[0].header("if-none-match"), Some("*"), "{copies:?}");
        },
    );
}

/// Two renames to one name at once: one of them finds it taken.
fn race(place: &Place<'_>, session: &mut Sftp) {
    let mut other = place.bench.connect();
    for round in 0..5 {
        let names = [place.path("one"), place.path("two"), place.path(&format!("goal-{round}"))];
        session.put(&names[0], b"one");
        session.put(&names[1], b"two");
        let (first, second) = std::thread::scope(|scope| {
            let second = scope.spawn(|| other.rename(&names[1], &names[2]));
            (session.rename(&names[0], &names[2]), second.join().unwrap())
        });
        assert!(first.is_ok() != second.is_ok(), "{first:?} {second:?}");
        let (winner, loser) = if first.is_ok() { ("one", "two") } else { ("two", "one") };
        assert_eq!(session.get(&names[2]), winner.as_bytes());
        assert_eq!(session.get(&place.path(loser)), loser.as_bytes());
    }
}

#[test]
fn a_posix_rename_openssh_com_replaces_a_file() {
    shared().on_every_store(|place, session| {
        let mut targets = vec![place.path("taken")];
        targets.extend(place.bench.stores().into_iter().map(|store| place.in_other_entry(store, "taken")));
        for target in targets {
            session.put(&place.path("file"), b"file");
            session.put(&target, b"taken");
            session.posix_rename(&place.path("file"), &target).unwrap();
            assert!(!session.exists(&place.path("file")));
            assert_eq!(session.get(&target), b"file");
        }
        // A file only.
        session.put(&place.path("file"), b"file");
        session.put(&place.path("folder/inner"), b"inner");
        session.make_directory(&place.path("empty")).unwrap();
        for (from, to) in [("file", "folder"), ("file", "empty"), ("folder", "file"), ("folder", "empty")] {
            session.posix_rename(&place.path(from), &place.path(to)).expect_err("a directory is in the way");
        }
        assert_eq!(session.get(&place.path("file")), b"file");
        assert_eq!(session.names(&place.path("folder")), ["inner"]);
    });
}

#[test]
fn the_local_store_renames_in_one_step() {
    shared().on(
        |behind| matches!(behind, Behind::Folder(_)),
        |place, session| {
            let number = |name: &str| fs::metadata(place.folder().join(name)).unwrap().ino();
            session.put(&place.path("tree/inner/file"), &noise(MIB, 1));
            let before = (number("tree"), number("tree/inner/file"));
            session.rename(&place.path("tree"), &place.path("moved")).unwrap();
            // The same folder and file, so nothing was copied.
            assert_eq!((number("moved"), number("moved/inner/file")), before);
            // Whoever looks sees the old file or the new one, and never none.
            session.put(&place.path("goal"), b"old");
            let done = AtomicBool::new(false);
            std::thread::scope(|scope| {
                let watcher = scope.spawn(|| {
                    let mut looks = 0;
                    while !done.load(Ordering::Relaxed) {
                        let content = fs::read(place.folder().join("goal")).expect("there is always a file");
                        assert!([&b"old"[..], b"new"].contains(&&content[..]), "{content:?}");
                        looks += 1;
                    }
                    looks
                });
                let finish = Finish(&done);
                for _ in 0..30 {
                    session.put(&place.path("next"), b"new");
                    session.posix_rename(&place.path("next"), &place.path("goal")).unwrap();
                }
                drop(finish);
                assert!(watcher.join().unwrap() > 0);
            });
        },
    );
}

/// A gateway whose S3 store is behind a proxy.
fn behind_proxy() -> (Proxy, Bench) {
    let proxy = Proxy::start(s3::new_store().port());
    let bench = Builder::new().s3_through(&proxy, &[]).memory().start();
    (proxy, bench)
}

fn is_copy(request: &Request) -> bool {
    request.header("x-amz-copy-source").is_some()
}

#[test]
fn an_object_store_copies_then_deletes() {
    let (proxy, bench) = behind_proxy();
    bench.on(
        |behind| matches!(behind, Behind::Server(_)),
        |place, session| {
            session.put(&place.path("tree/one"), b"1");
            session.put(&place.path("tree/two"), b"2");
            proxy.forget();
            session.rename(&place.path("tree"), &place.path("moved")).unwrap();
            let steps: Vec<Request> =
                proxy.requests().into_iter().filter(|r| is_copy(r) || r.method == "DELETE").collect();
            assert_eq!(steps.len(), 4, "{steps:?}");
            let last_copy = steps.iter().filter(|request| is_copy(request)).filter_map(|request| request.ended).max();
            let first_deletion = steps.iter().find(|request| request.method == "DELETE").map(|request| request.began);
            assert!(last_copy.is_some() && last_copy <= first_deletion, "{steps:?}");
            // The server copies: the content does not travel.
            assert!(steps.iter().all(|request| request.body_length == 0), "{steps:?}");
        },
    );
}

const NAMES: [&str; 3] = ["one", "three", "two"];

/// A file of several parts and a tree of small ones.
fn put_sources(place: &Place<'_>, session: &mut Sftp) -> (String, String, Vec<u8>) {
    let (file, tree, data) = (place.path("file"), place.path("tree"), noise(6 * MIB, 1));
    session.put(&file, &data);
    for name in NAMES {
        session.put(&format!("{tree}/{name}"), name.as_bytes());
    }
    (file, tree, data)
}

#[track_caller]
fn assert_whole_tree(session: &mut Sftp, tree: &str) {
    assert_eq!(session.names(tree), NAMES);
    for name in NAMES {
        assert_eq!(session.get(&format!("{tree}/{name}")), name.as_bytes());
    }
}

#[track_caller]
fn assert_says(outcome: Result<(), Refusal>, text: &str) {
    let refusal = assert_refused(outcome, PERMISSION_DENIED);
    assert!(refusal.message.contains(text), "{refusal:?} does not say {text:?}");
}

#[test]
fn if_the_copy_fails_the_source_stays_complete_and_the_answer_says_so() {
    let (proxy, bench) = behind_proxy();
    bench.on(
        |behind| matches!(behind, Behind::Server(_)),
        |place, session| {
            let (file, tree, data) = put_sources(place, session);
            let mut copies = 0;
            proxy.answer(move |request| {
                copies += u32::from(is_copy(request));
                (is_copy(request) && copies >= 2).then_some(403)
            });
            assert_says(session.rename(&tree, &place.path("moved")), &format!("{tree} is whole"));
            assert_says(session.rename(&file, &place.path("moved-file")), &format!("{file} is whole"));
            proxy.pass_everything();
            assert_whole_tree(session, &tree);
            assert_same(&session.get(&file), &data);
            assert_eq!(session.names(&place.path("")), ["file", "tree/"], "what was copied is removed again");

            // From a store that works to one that refuses.
            let (own, own_tree) = (place.in_other_entry("/memory", "own"), place.in_other_entry("/memory", "own-tree"));
            session.put(&own, &data);
            session.rename(&tree, &own_tree).unwrap();
            proxy.answer(|request| (request.method != "GET" && request.method != "HEAD").then_some(403));
            assert_says(session.rename(&own, &place.path("goal")), &format!("{own} is whole"));
            assert_says(session.rename(&own_tree, &place.path("goal-tree")), &format!("{own_tree} is whole"));
            proxy.pass_everything();
            assert_same(&session.get(&own), &data);
            assert_whole_tree(session, &own_tree);
            assert!(!session.exists(&place.path("goal")));
        },
    );
}

#[test]
fn if_a_deletion_fails_the_copy_is_complete_and_the_answer_says_so() {
    let (proxy, bench) = behind_proxy();
    bench.on(
        |behind| matches!(behind, Behind::Server(_)),
        |place, session| {
            let (file, tree, data) = put_sources(place, session);
            for (i, target) in [place.path("copy"), place.in_other_entry("/memory", "copy")].iter().enumerate() {
                let (to, to_tree) = (format!("{target}-file"), format!("{target}-tree"));
                proxy.answer(|request| (request.method == "DELETE").then_some(403));
                assert_says(session.rename(&file, &to), &format!("copied to {to}"));
                assert_says(session.rename(&tree, &to_tree), &format!("copied to {to_tree}"));
                // Nothing was deleted.
                assert_same(&session.get(&file), &data);
                assert_whole_tree(session, &tree);
                assert_same(&session.get(&to), &data);
                assert_whole_tree(session, &to_tree);
                // Something was deleted.
                let mut deletions = 0;
                proxy.answer(move |request| {
                    deletions += u32::from(request.method == "DELETE");
                    (deletions >= 2).then_some(403).filter(|_| request.method == "DELETE")
                });
                let (from, to_tree) = (place.path(&format!("again-{i}")), format!("{target}-again"));
                for name in NAMES {
                    session.put(&format!("{from}/{name}"), name.as_bytes());
                }
                assert_says(session.rename(&from, &to_tree), &format!("copied to {to_tree}"));
                proxy.pass_everything();
                assert_whole_tree(session, &to_tree);
            }
        },
    );
}

/// Whether a request comes after the copies: then the gateway is about to delete. A tree is listed once more before.
fn after_copies(copies: usize, listings: usize) -> impl FnMut(&Request) -> bool + Send + 'static {
    let (mut copied, mut listed) = (0, 0);
    move |request| {
        copied += usize::from(is_copy(request));
        listed += usize::from(copied == copies && request.target.contains("list-type"));
        copied == copies && !is_copy(request) && listed >= listings
    }
}

#[test]
fn it_deletes_only_the_version_that_was_copied_a_file_that_arrived_under_the_old() {
    let (proxy, bench) = behind_proxy();
    bench.on(
        |behind| matches!(behind, Behind::Server(_)),
        |place, session| {
            // Somebody writes the file anew, past the gateway, when it has been copied.
            let write_after_copies = |name: &str, copies: usize, listings: usize| {
                let (s3, key) = (place.s3().unwrap().clone(), place.key(name));
                let (mut is_after, mut written) = (after_copies(copies, listings), false);
                proxy.answer(move |request| {
                    if is_after(request) && !written {
                        written = true;
                        assert!(s3.put(&key, &[], b"new"));
                    }
                    None
                });
            };
            let says = |outcome: Result<(), Refusal>, text: &str| {
                let refusal = assert_refused(outcome, FAILURE);
                assert!(refusal.message.contains(text), "{refusal:?} does not say {text:?}");
            };
            session.put(&place.path("file"), b"old");
            write_after_copies("file", 1, 0);
            says(session.rename(&place.path("file"), &place.path("moved")), "stays under the old name");
            assert_eq!(session.get(&place.path("file")), b"new");
            assert_eq!(session.get(&place.path("moved")), b"old");

            for name in NAMES {
                session.put(&place.path(&format!("tree/{name}")), b"old");
            }
            write_after_copies("tree/three", 3, 2);
            says(session.rename(&place.path("tree"), &place.path("moved-tree")), "stays under the old name");
            assert_eq!(session.names(&place.path("tree")), ["three"]);
            assert_eq!(session.get(&place.path("tree/three")), b"new");
            assert_eq!(session.names(&place.path("moved-tree")), NAMES);
            proxy.pass_everything();
        },
    );
}
