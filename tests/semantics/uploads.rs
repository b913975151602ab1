//! Uploads: when a file appears, and what becomes of one that is cut off.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::json;

use crate::bench::{Behind, Builder, assert_refused, assert_same, shared};
use crate::stores::is_hidden;
use crate::support::data::{KIB, MIB, noise};
use crate::support::plain_proxy::Proxy;
use crate::support::process::{LIMIT, until};
use crate::support::s3;
use crate::support::sftp::{Attributes, CREATE, PERMISSION_DENIED, READING_AND_WRITING, UNSUPPORTED, WRITING};

/// One put, and one in parts.
const SIZES: [u64; 2] = [100 * KIB, 6 * MIB];

#[test]
fn a_file_appears_under_its_name_complete_when_close_succeeds() {
    shared().on_every_store(|place, session| {
        let mut other = place.bench.connect();
        for size in [0, 1, SIZES[0], SIZES[1]] {
            let (path, data) = (place.path(&format!("new-{size}")), noise(size, size));
            let handle = session.create(&path);
            session.write(&handle, 0, &data).unwrap();
            assert!(!other.exists(&path), "{size} bytes are seen before CLOSE");
            assert!(
                !other.names(&place.path("")).contains(&format!("new-{size}")),
                "{size} bytes are listed before CLOSE"
            );
            session.close(&handle).unwrap();
            assert_eq!(other.stat(&path).unwrap().size, Some(size));
            assert_same(&other.get(&path), &data);
        }
    });
}

#[test]
fn until_then_the_old_file_if_there_is_one_stays_as_it_was() {
    shared().on_every_store(|place, session| {
        let mut other = place.bench.connect();
        let (path, old) = (place.path("file"), noise(200 * KIB, 1));
        session.put(&path, &old);
        for size in SIZES {
            for flags in [WRITING | CREATE, READING_AND_WRITING | CREATE] {
                let handle = session.open(&path, flags | 0x10).unwrap();
                session.write(&handle, 0, &noise(size, 2)).unwrap();
                assert_eq!(other.stat(&path).unwrap().size, Some(old.len() as u64));
                assert_same(&other.get(&path), &old);
                drop(place.content("file").inspect(|content| assert_same(content, &old)));
                session.close(&handle).unwrap();
                assert_same(&other.get(&path), &noise(size, 2));
                session.put(&path, &old);
            }
        }
    });
}

#[test]
fn the_connection_that_writes_sees_its_own_unfinished_file_in_stat() {
    shared().on_every_store(|place, session| {
        let path = place.path("file");
        for size in SIZES {
            let handle = session.create(&path);
            session.write(&handle, 0, &noise(size, 2)).unwrap();
            assert_eq!(session.fstat(&handle).unwrap().size, Some(size));
            assert_eq!(session.stat(&path).unwrap().size, Some(size));
            session.close(&handle).unwrap();
        }
    });
}

#[test]
fn when_close_is_answered_the_store_has_the_file() {
    shared().on_visible_stores(|place, session| {
        for size in SIZES {
            let name = format!("file-{size}");
            session.put(&place.path(&name), &noise(size, 3));
            assert_same(&place.content(&name).expect("a store that tests can see"), &noise(size, 3));
        }
    });
}

#[test]
fn if_the_store_does_not_accept_it_close_reports_that() {
    // A server that refuses, at the only request or at the last.
    let proxy = Proxy::start(s3::new_store().port());
    let bench = Builder::new().s3_through(&proxy, &[]).start();
    bench.on_every_store(|place, session| {
        for size in SIZES {
            let handle = session.create(&place.path("file"));
            session.write(&handle, 0, &noise(size, 4)).unwrap();
            proxy.answer(|request| {
                let finishes = request.method == "PUT" && !request.target.contains("partNumber")
                    || request.method == "POST" && request.target.contains("uploadId");
                finishes.then_some(403)
            });
            assert_refused(session.close(&handle), PERMISSION_DENIED);
            proxy.pass_everything();
            assert!(!session.exists(&place.path("file")));
            assert_eq!(place.unfinished("file"), Some(0));
        }
    });
    // A folder in which the name is taken by another folder meanwhile.
    shared().on(
        |behind| matches!(behind, Behind::Folder(_)),
        |place, session| {
            let handle = session.create(&place.path("file"));
            session.write(&handle, 0, b"some bytes").unwrap();
            fs::create_dir_all(place.folder().join("file/inner")).unwrap();
            session.close(&handle).expect_err("the name is a folder's");
            assert_eq!(place.keys().unwrap(), ["file/", "file/inner/"]);
        },
    );
}

/// The flushes that strace saw of files whose path has `part` in it.
fn flushes(log: &Path, part: &str) -> usize {
    let text = fs::read_to_string(log).unwrap_or_default();
    text.lines().filter(|line| line.contains("sync(") && line.contains(part)).count()
}

#[test]
fn by_then_the_local_store_has_it_on_disk_fsync_on_unless_switched_off() {
    for (option, flushed) in
        [(json!({}), true), (json!({ "fsync": "true" }), true), (json!({ "fsync": "false" }), false)]
    {
        let builder = Builder::new().local_with(option);
        let log = builder.setup.folder().join("strace");
        let words = ["strace", "-f", "-qq", "-y", "-e", "trace=fsync,fdatasync", "-o", log.to_str().unwrap()];
        let bench = builder.start_under(&words);
        bench.on_every_store(|place, session| {
            let (file, folder) = (".lockgate/", format!("home/{}>", place.path("").rsplit('/').next().unwrap()));
            let before = (flushes(&log, file), flushes(&log, &folder));
            let handle = session.create(&place.path("file"));
            session.write(&handle, 0, &noise(MIB, 5)).unwrap();
            session.close(&handle).unwrap();
            // strace writes its line before the call goes on, so what happened before the answer is in the file.
            let after = (flushes(&log, file), flushes(&log, &folder));
            assert_eq!((after.0 > before.0, after.1 > before.1), (flushed, flushed), "{before:?} {after:?}");
        });
    }
}

#[test]
fn every_other_change_of_the_local_store_is_also_on_disk_before_it_is_answered() {
    let builder = Builder::new().local();
    let log = builder.setup.folder().join("strace");
    let words = ["strace", "-f", "-qq", "-y", "-e", "trace=fsync,fdatasync", "-o", log.to_str().unwrap()];
    let bench = builder.start_under(&words);
    bench.on_every_store(|place, session| {
        let count = || flushes(&log, "store-local");
        let mut before = count();
        let mut flushed = |what: &str| {
            let after = count();
            assert!(after > before, "{what} was answered before it was on disk");
            before = after;
        };
        session.make_directory(&place.path("folder")).unwrap();
        flushed("mkdir");
        session.put(&place.path("file"), b"x");
        flushed("an upload");
        session.rename(&place.path("file"), &place.path("folder/file")).unwrap();
        flushed("rename");
        session.set_attributes(&place.path("folder/file"), &Attributes::mtime(1_000_000_000)).unwrap();
        flushed("a modification time");
        session.set_attributes(&place.path("folder/file"), &Attributes::size(0)).unwrap();
        flushed("a new length");
        session.remove(&place.path("folder/file")).unwrap();
        flushed("rm");
        session.remove_directory(&place.path("folder")).unwrap();
        flushed("rmdir");
    });
}

#[test]
fn an_upload_that_is_cut_off_client_gone_gateway_killed_publishes_nothing() {
    let old = noise(1000, 6);
    shared().on_every_store(|place, session| {
        session.put(&place.path("old"), &old);
        for size in SIZES {
            for name in ["old", "new"] {
                let mut leaver = place.bench.connect();
                let handle = leaver.create(&place.path(name));
                leaver.write(&handle, 0, &noise(size, 7)).unwrap();
                // The connection breaks.
                drop(leaver);
                place.await_cut_off(name);
            }
        }
        assert_eq!(session.names(&place.path("")), ["old"]);
        assert_same(&session.get(&place.path("old")), &old);
        assert_eq!(place.keys().unwrap_or(vec!["old".into()]), ["old"]);
    });

    let mut bench = Builder::new().local().s3().upstream().start();
    let mut session = bench.connect();
    for store in bench.stores() {
        session.put(&format!("{store}/old"), &old);
        for size in SIZES {
            for name in ["old", "new"] {
                let handle = session.create(&format!("{store}/{name}"));
                session.write(&handle, 0, &noise(size, 8)).unwrap();
            }
        }
    }
    bench.kill_and_restart();
    let mut session = bench.connect();
    for store in bench.stores() {
        assert_eq!(session.names(store), ["old"], "{store}");
        assert_same(&session.get(&format!("{store}/old")), &old);
    }
}

#[test]
fn an_upload_that_fails_publishes_nothing() {
    let bench = Builder::new().every_store().start();
    bench.on_every_store(|place, session| {
        session.put(&place.path("old"), b"old");
        for name in ["old", "new"] {
            let handle = session.create(&place.path(name));
            session.write(&handle, 0, &noise(11 * MIB, 9)).unwrap();
            match place.behind {
                // The file is taken away where it is written.
                Behind::Folder(root) => {
                    let uploads = files_below(&root.join(".lockgate/uploads"));
                    assert_eq!(uploads.len(), 1, "{uploads:?}");
                    fs::remove_file(&uploads[0]).unwrap();
                }
                Behind::Upstream(_) => {
                    let mut uploads = files_below(&place.folder());
                    uploads.retain(|file| is_hidden(file.to_str().unwrap()));
                    assert_eq!(uploads.len(), 1, "{uploads:?}");
                    fs::remove_file(&uploads[0]).unwrap();
                }
                // What is on its way cannot be called back.
                _ => drop(assert_refused(session.write(&handle, 6 * MIB, b"too late"), UNSUPPORTED)),
            }
            session.close(&handle).expect_err("the upload has failed");
        }
        assert_same(&session.get(&place.path("old")), b"old");
        assert_eq!(session.names(&place.path("")), ["old"]);
        assert_eq!(place.keys().unwrap_or(vec!["old".into()]), ["old"]);
    });
}

fn files_below(folder: &Path) -> Vec<PathBuf> {
    let paths = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    paths.flat_map(|path| if path.is_dir() { files_below(&path) } else { vec![path] }).collect()
}

#[test]
fn with_partial_uploads_publish_the_part_that_arrived_is_published_when_the_client() {
    let bench = Builder::new().every_store().change(|setup| setup.config["partial_uploads"] = "publish".into()).start();
    bench.on_every_store(|place, session| {
        for size in SIZES {
            let data = noise(size, 10);
            let name = format!("file-{size}");
            let mut leaver = bench.connect();
            let handle = leaver.create(&place.path(&name));
            leaver.write(&handle, 0, &data).unwrap();
            drop(leaver);
            let event = place.await_cut_off(&name);
            assert!(event.to_string().contains("what had arrived was published"), "{event}");
            assert_same(&session.get(&place.path(&name)), &data);
        }
    });
}

#[test]
fn it_ends_where_the_first_byte_is_missing() {
    let bench = Builder::new().every_store().change(|setup| setup.config["partial_uploads"] = "publish".into()).start();
    bench.on_every_store(|place, session| {
        let data = noise(100_000, 12);
        for (name, beyond) in [("near", 300_000), ("far", 20 * MIB)] {
            let mut leaver = bench.connect();
            let handle = leaver.create(&place.path(name));
            leaver.write(&handle, 0, &data).unwrap();
            leaver.write(&handle, beyond, &data).unwrap();
            drop(leaver);
            place.await_cut_off(name);
            assert_same(&session.get(&place.path(name)), &data);
        }
    });
}

#[test]
fn what_a_cut_off_upload_left_in_the_store_is_removed_immediately() {
    let bench = Builder::new().every_store().start();
    bench.on_visible_stores(|place, _| {
        let mut leaver = bench.connect();
        let handle = leaver.create(&place.path("file"));
        leaver.write(&handle, 0, &noise(11 * MIB, 11)).unwrap();
        until("unfinished upload", LIMIT, || place.unfinished("file").is_none_or(|count| count > 0).then_some(()));
        drop(leaver);
        place.await_cut_off("file");
        // Recorded first, so that a slow store delays no record; then removed.
        until("removal of what was left", LIMIT, || (place.unfinished("file").unwrap_or(0) == 0).then_some(()));
    });
}

#[test]
fn what_a_killed_gateway_left_there_is_removed_at_its_next_start() {
    let mut bench = Builder::new().local().s3().upstream().start();
    {
        let mut session = bench.connect();
        for store in bench.stores() {
            let handle = session.create(&format!("{store}/file"));
            session.write(&handle, 0, &noise(11 * MIB, 12)).unwrap();
        }
        until("unfinished uploads", LIMIT, || (bench.unfinished_everywhere("file") == 3).then_some(()));
        bench.kill_and_restart();
    }
    until("removal of what was left", LIMIT, || (bench.unfinished_everywhere("file") == 0).then_some(()));
}
