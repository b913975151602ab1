//! Sizes, times, modes, owners, links.

use std::fs;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::json;

use crate::bench::{Behind, Bench, Builder, Place, assert_refused, assert_same, shared};
use crate::support::data::{KIB, MIB, noise};
use crate::support::events::field;
use crate::support::plain_proxy::Proxy;
use crate::support::s3;
use crate::support::sftp::{Attributes, CREATE, Sftp, TRUNCATE, UNSUPPORTED, WRITING};

/// One put, and one in parts.
const SIZES: [u64; 2] = [10 * KIB, 6 * MIB];

/// A time that nothing has by itself.
const THEN: u32 = 1_234_567_890;

#[test]
fn sizes_are_true() {
    shared().on_every_store(|place, session| {
        let sizes = [0, 1, 255 * KIB, 5 * MIB, 5 * MIB + 1, 11 * MIB];
        for size in sizes {
            let path = place.path(&format!("{size}"));
            let handle = session.create(&path);
            session.write(&handle, 0, &noise(size, size)).unwrap();
            assert_eq!(session.fstat(&handle).unwrap().size, Some(size), "before CLOSE");
            session.close(&handle).unwrap();
        }
        let list = session.list(&place.path("")).unwrap();
        assert_eq!(list.len(), sizes.len());
        for (name, listed) in list {
            let path = place.path(&name);
            let size = name.parse().unwrap();
            let handle = session.open_to_read(&path);
            let seen = [session.stat(&path), session.lstat(&path), session.fstat(&handle), Ok(listed)];
            assert!(seen.iter().all(|seen| seen.as_ref().unwrap().size == Some(size)), "{size}: {seen:?}");
            session.close(&handle).unwrap();
        }
        // Cut and made longer.
        for size in [100, 3 * MIB, 7 * MIB, 0] {
            session.set_attributes(&place.path("1"), &Attributes::size(size)).unwrap();
            assert_eq!(session.stat(&place.path("1")).unwrap().size, Some(size));
            assert_eq!(session.get(&place.path("1")).len() as u64, size);
        }
    });
}

/// Uploads a file and sets its time with OPEN, before CLOSE, or later.
#[track_caller]
fn put_with_time(session: &mut Sftp, path: &str, size: u64, when: &str, time: u32) {
    let with_open = if when == "with OPEN" { Attributes::mtime(time) } else { Attributes::default() };
    let handle = session.open_with(path, WRITING | CREATE | TRUNCATE, &with_open).unwrap();
    session.write(&handle, 0, &noise(size, 1)).unwrap();
    if when == "before CLOSE" {
        session.set_open_attributes(&handle, &Attributes::mtime(time)).unwrap();
    }
    session.close(&handle).unwrap();
    if when == "later" {
        session.set_attributes(path, &Attributes::mtime(time)).unwrap();
    }
}

const MOMENTS: [&str; 3] = ["with OPEN", "before CLOSE", "later"];

#[test]
fn a_modification_time_is_kept_if_the_client_sets_it_with_open_before_close_or() {
    shared().on_every_store(|place, session| {
        for size in SIZES {
            for when in MOMENTS {
                let name = format!("{size} {when}");
                let path = place.path(&name);
                put_with_time(session, &path, size, when, THEN);
                assert_eq!(session.stat(&path).unwrap().mtime, Some(THEN), "{name}");
                assert_same(&session.get(&path), &noise(size, 1));
                // The last one is kept.
                session.set_attributes(&path, &Attributes::mtime(THEN + 1)).unwrap();
                assert_eq!(session.stat(&path).unwrap().mtime, Some(THEN + 1), "{name}");
                assert_same(&session.get(&path), &noise(size, 1));
            }
        }
        // It goes with the file, and a new file has a new one.
        session.rename(&place.path("10240 later"), &place.path("moved")).unwrap();
        assert_eq!(session.stat(&place.path("moved")).unwrap().mtime, Some(THEN + 1));
        session.put(&place.path("moved"), b"new");
        assert!(is_now(session.stat(&place.path("moved")).unwrap().mtime));
        // scp -p, in both of its protocols.
        let file = place.bench.setup.folder().join(format!("scp-time-{}", &place.store[1..]));
        fs::write(&file, b"some bytes").unwrap();
        let time = UNIX_EPOCH + Duration::from_secs(THEN.into());
        fs::File::options().write(true).open(&file).unwrap().set_modified(time).unwrap();
        let client = place.bench.client();
        for flags in ["-pO", "-p"] {
            client.scp([flags, file.to_str().unwrap(), &client.remote(&place.path(flags))]).succeeded();
            assert_eq!(session.stat(&place.path(flags)).unwrap().mtime, Some(THEN), "{flags}");
        }
    });
}

fn is_now(time: Option<u32>) -> bool {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    time.is_some_and(|time| now.abs_diff(time.into()) < 300)
}

#[test]
fn the_local_store_keeps_it_in_the_file() {
    shared().on(
        |behind| matches!(behind, Behind::Folder(_)),
        |place, session| {
            for when in MOMENTS {
                put_with_time(session, &place.path(when), 1000, when, THEN);
                let file = fs::metadata(place.folder().join(when)).unwrap();
                assert_eq!(file.modified().unwrap(), UNIX_EPOCH + Duration::from_secs(THEN.into()), "{when}");
            }
            // And shows that of files that other programs write.
            fs::write(place.folder().join("theirs"), b"x").unwrap();
            let time = UNIX_EPOCH + Duration::from_secs(u64::from(THEN) + 7);
            let file = fs::File::options().write(true).open(place.folder().join("theirs")).unwrap();
            file.set_modified(time).unwrap();
            assert_eq!(session.stat(&place.path("theirs")).unwrap().mtime, Some(THEN + 7));
        },
    );
}

#[test]
fn object_stores_keep_it_in_the_metadata_mtime_which_rclone_reads_and_writes() {
    shared().on(is_s3, |place, session| {
        let s3 = place.s3().unwrap();
        for (size, when) in SIZES.into_iter().flat_map(|size| MOMENTS.map(|when| (size, when))) {
            let name = format!("{size}-{}", when.split(' ').next().unwrap());
            put_with_time(session, &place.path(&name), size, when, THEN);
            let head = s3.head(&place.key(&name)).to_lowercase();
            assert!(head.contains(&format!("x-amz-meta-mtime: {THEN}")), "{name}: {head}");
        }
        let list = s3::rclone(s3, &["lsl", &place.key("")]).succeeded().stdout;
        let shown = list.lines().filter(|line| line.contains("2009-02-13 23:31:30.000000000")).count();
        assert_eq!(shown, 6, "{list}");
        let file = place.bench.setup.folder().join("rclones");
        fs::write(&file, b"some bytes").unwrap();
        let time = UNIX_EPOCH + Duration::from_secs(u64::from(THEN) + 9);
        fs::File::options().write(true).open(&file).unwrap().set_modified(time).unwrap();
        s3::rclone(s3, &["copyto", file.to_str().unwrap(), &place.key("rclones")]).succeeded();
        assert_eq!(session.stat(&place.path("rclones")).unwrap().mtime, Some(THEN + 9));
    });
}

fn is_s3(behind: &Behind) -> bool {
    matches!(behind, Behind::Server(server) if server.as_s3().is_some())
}

#[test]
fn stat_and_listings_show_the_kept_time() {
    shared().on_every_store(|place, session| {
        let time = |i: usize| THEN + i as u32;
        for (i, (size, when)) in SIZES.into_iter().flat_map(|size| MOMENTS.map(|when| (size, when))).enumerate() {
            put_with_time(session, &place.path(&format!("{i}")), size, when, time(i));
        }
        session.put(&place.path("untouched"), b"x");
        for round in 0..2 {
            let list = session.list(&place.path("")).unwrap();
            assert_eq!(list.len(), 7);
            for (name, listed) in list {
                let stat = session.stat(&place.path(&name)).unwrap();
                let handle = session.open_to_read(&place.path(&name));
                let open = session.fstat(&handle).unwrap();
                session.close(&handle).unwrap();
                for seen in [listed.mtime, stat.mtime, open.mtime] {
                    match name.parse() {
                        Ok(i) => assert_eq!(seen, Some(time(i) + round), "{name}"),
                        Err(_) => assert!(is_now(seen), "{name}: {seen:?}"),
                    }
                }
            }
            // What is set after it was listed shows in the next listing.
            for i in 0..6 {
                session.set_attributes(&place.path(&format!("{i}")), &Attributes::mtime(time(i) + round + 1)).unwrap();
            }
        }
    });
}

/// A gateway whose S3 store is behind a proxy, and the look-ups that came through it.
fn behind_proxy(options: &[(&str, &str)]) -> (Proxy, Bench) {
    let proxy = Proxy::start(s3::new_store().port());
    let bench = Builder::new().s3_through(&proxy, options).start();
    (proxy, bench)
}

fn put_files(place: &Place<'_>, session: &mut Sftp, count: usize) {
    let paths: Vec<String> = (0..count).map(|i| place.path(&format!("file-{i}"))).collect();
    session.put_many(&paths, b"x");
    // One of them has a time of its own.
    session.set_attributes(&paths[0], &Attributes::mtime(THEN)).unwrap();
}

fn methods(proxy: &Proxy, method: &str) -> usize {
    proxy.requests().iter().filter(|request| request.method == method).count()
}

#[test]
fn s3_does_not_list_it_so_a_listing_there_costs_one_more_request_for_each_file_that() {
    let (proxy, bench) = behind_proxy(&[]);
    bench.on_every_store(|place, session| {
        put_files(place, session, 30);
        let mut looked_up = |what: &str, expected: usize| {
            proxy.forget();
            assert_eq!(session.list(&place.path("")).unwrap().len(), 30);
            assert_eq!((methods(&proxy, "GET"), methods(&proxy, "HEAD")), (1, expected), "{what}");
        };
        looked_up("files that were just written", 30);
        looked_up("files that have not settled", 30);
        std::thread::sleep(Duration::from_secs(12));
        looked_up("files that have settled since", 30);
        looked_up("files that were looked up", 0);
        // A file that changes is looked up again, alone.
        session.put(&place.path("file-7"), b"y");
        proxy.forget();
        let list = session.list(&place.path("")).unwrap();
        assert_eq!((methods(&proxy, "GET"), methods(&proxy, "HEAD")), (1, 1));
        assert!(list.iter().any(|(name, listed)| name == "file-0" && listed.mtime == Some(THEN)), "{list:?}");
    });
}

#[test]
fn at_most_64_of_these_requests_are_in_progress_at_once() {
    let (proxy, bench) = behind_proxy(&[]);
    bench.on_every_store(|place, session| {
        put_files(place, session, 150);
        proxy.forget();
        proxy.delay(Duration::from_secs(2));
        session.list(&place.path("")).unwrap();
        proxy.delay(Duration::ZERO);
        let heads: Vec<_> = proxy.requests().into_iter().filter(|request| request.method == "HEAD").collect();
        assert_eq!(heads.len(), 150);
        let at_once = |began| {
            let during = heads.iter().filter(|other| other.began <= began && other.ended.is_none_or(|end| end > began));
            during.count()
        };
        let most = heads.iter().map(|head| at_once(head.began)).max().unwrap();
        assert!((32..=64).contains(&most), "{most} at once");
    });
}

#[test]
fn with_the_stores_option_listing_times_stored_listings_cost_only_their_pages_and() {
    let (proxy, bench) = behind_proxy(&[("listing_times", "stored")]);
    bench.on_every_store(|place, session| {
        put_files(place, session, 30);
        proxy.forget();
        let list = session.list(&place.path("")).unwrap();
        assert_eq!(list.len(), 30);
        assert_eq!(proxy.requests().len(), 1, "{:?}", proxy.requests());
        assert!(list.iter().all(|(_, listed)| is_now(listed.mtime)), "{list:?}");
        assert_eq!(session.stat(&place.path("file-0")).unwrap().mtime, Some(THEN));
    });
}

#[test]
fn modes_show_what_the_entrys_permissions_allow() {
    let entries = [
        ("both", json!("read_write"), 0o644, 0o755),
        ("read", json!("read_only"), 0o444, 0o555),
        ("write", json!("write_only"), 0o200, 0o311),
        ("list", json!(["list"]), 0, 0o555),
        ("over", json!(["list", "read", "overwrite"]), 0o644, 0o755),
    ];
    let with_entries = |user, store: &str| {
        entries.iter().fold(user, |user: crate::support::setup::User, (name, permissions, _, _)| {
            user.home_with(&format!("/{name}-{store}"), &format!("{store}:/modes"), permissions.clone())
        })
    };
    let bench = Builder::new().every_store().for_each_store(with_entries).start();
    bench.on_every_store(|place, session| {
        let store = &place.store[1..];
        session.put(&format!("/both-{store}/file"), b"x");
        session.make_directory(&format!("/both-{store}/folder")).unwrap();
        for (name, _, file, folder) in &entries {
            for (path, expected) in [("file", 0o100_000 | file), ("folder", 0o040_000 | folder)] {
                // Who sees nothing has no mode to see.
                if let Ok(seen) = session.stat(&format!("/{name}-{store}/{path}")) {
                    assert_eq!(format!("{:o}", seen.mode.unwrap()), format!("{expected:o}"), "{path} in {name}");
                } else {
                    assert_eq!(*name, "write");
                }
            }
            let shown = session.stat(&format!("/{name}-{store}")).unwrap().mode.unwrap();
            assert_eq!(format!("{shown:o}"), format!("{:o}", 0o040_000 | folder), "the entry {name}");
        }
        for (name, listed) in session.list(&format!("/read-{store}")).unwrap() {
            let expected = if name == "file" { 0o100_444 } else { 0o040_555 };
            assert_eq!(listed.mode, Some(expected), "{name} in a listing");
        }
    });
}

const MODE: Attributes = Attributes { mode: Some(0o600), owner: None, size: None, mtime: None };
const OWNER: Attributes = Attributes { mode: None, owner: Some((7, 8)), size: None, mtime: None };

#[test]
fn chmod_and_chown_succeed_without_effect_and_the_event_says_ignored() {
    shared().on_every_store(|place, session| {
        session.put(&place.path("file"), b"x");
        session.make_directory(&place.path("folder")).unwrap();
        for name in ["file", "folder"] {
            let before = session.stat(&place.path(name)).unwrap();
            for (change, note) in [(MODE, "ignored: mode"), (OWNER, "ignored: owner")] {
                session.set_attributes(&place.path(name), &change).unwrap();
                let event = place.await_event("SETSTAT", name, |event| event.to_string().contains(note));
                assert_eq!(field(&event, "status"), "success", "{event}");
            }
            let after = session.stat(&place.path(name)).unwrap();
            assert_eq!((after.mode, after.owner, after.size), (before.mode, before.owner, before.size));
        }
        // An open file, and one that is opened with a mode, as every client does.
        let handle = session.open_with(&place.path("other"), WRITING | CREATE, &MODE).unwrap();
        session.set_open_attributes(&handle, &MODE).unwrap();
        session.close(&handle).unwrap();
        place.await_event("SETSTAT", "other", |event| event.to_string().contains("ignored: mode"));
        assert_eq!(session.stat(&place.path("other")).unwrap().mode, Some(0o100_644));
        session.set_attributes(&place.path("missing"), &MODE).expect_err("there is no such file");
    });
}

#[test]
fn with_setstat_strict_they_are_refused() {
    let bench = Builder::new().every_store().change(|setup| setup.config["setstat"] = "strict".into()).start();
    bench.on_every_store(|place, session| {
        session.put(&place.path("file"), b"x");
        session.make_directory(&place.path("folder")).unwrap();
        for name in ["file", "folder"] {
            for change in [MODE, OWNER] {
                assert_refused(session.set_attributes(&place.path(name), &change), UNSUPPORTED);
            }
        }
        let handle = session.create(&place.path("other"));
        assert_refused(session.set_open_attributes(&handle, &MODE), UNSUPPORTED);
        // Times are kept as ever, and so is the upload.
        session.set_open_attributes(&handle, &Attributes::mtime(THEN)).unwrap();
        session.close(&handle).unwrap();
        assert_eq!(session.stat(&place.path("other")).unwrap().mtime, Some(THEN));
    });
}

/// What a listing shows of a name's time.
#[track_caller]
fn listed_time(session: &mut Sftp, directory: &str, name: &str) -> Option<u32> {
    let list = session.list(directory).unwrap();
    list.into_iter().find(|(listed, _)| listed == name).expect("it is listed").1.mtime
}

#[test]
fn if_a_client_sets_the_time_of_a_directory_of_an_object_store_its_marker_keeps_the() {
    shared().on_object_stores(|place, session| {
        session.make_directory(&place.path("folder")).unwrap();
        session.put(&place.path("folder/file"), b"x");
        session.put(&place.path("bare/file"), b"x");
        for name in ["folder", "bare"] {
            session.set_attributes(&place.path(name), &Attributes::mtime(THEN)).unwrap();
            let event = place.await_event("SETSTAT", name, |_| true);
            assert_eq!((field(&event, "status"), field(&event, "message")), ("success", ""), "{event}");
            session.put(&place.path(&format!("{name}/other")), b"x");
            assert_eq!(session.stat(&place.path(name)).unwrap().mtime, Some(THEN), "{name}");
            // Set again, and with the directory under a new name.
            session.set_attributes(&place.path(name), &Attributes::mtime(THEN + 1)).unwrap();
            assert_eq!(session.stat(&place.path(name)).unwrap().mtime, Some(THEN + 1), "{name}");
            let moved = place.path(&format!("moved-{name}"));
            session.rename(&place.path(name), &moved).unwrap();
            assert_eq!(session.stat(&moved).unwrap().mtime, Some(THEN + 1), "{moved}");
            assert_eq!(session.names(&moved), ["file", "other"]);
        }
    });
}

#[test]
fn stat_and_listings_show_that_time_otherwise_the_time_when_the_marker_was_stored() {
    shared().on_object_stores(|place, session| {
        for name in ["marked", "set", "inner/set"] {
            session.make_directory(&place.path(name.split('/').next().unwrap())).ok();
            session.make_directory(&place.path(name)).ok();
            session.put(&place.path(&format!("{name}/file")), b"x");
        }
        for name in ["set", "inner/set"] {
            session.set_attributes(&place.path(name), &Attributes::mtime(THEN)).unwrap();
            assert_eq!(session.stat(&place.path(name)).unwrap().mtime, Some(THEN), "{name}");
        }
        for _ in 0..2 {
            assert_eq!(listed_time(session, &place.path(""), "set"), Some(THEN));
            assert_eq!(listed_time(session, &place.path("inner"), "set"), Some(THEN));
        }
        session.set_attributes(&place.path("set"), &Attributes::mtime(THEN + 1)).unwrap();
        assert_eq!(listed_time(session, &place.path(""), "set"), Some(THEN + 1), "what is set shows at once");
        // The memory store does not know when it made a marker.
        let known = |time: Option<u32>| is_now(time) || time == Some(0) && matches!(place.store, "/memory");
        let stat = session.stat(&place.path("marked")).unwrap().mtime;
        assert!(known(stat), "{stat:?}");
        let listed = listed_time(session, &place.path(""), "marked");
        assert!(known(listed), "{listed:?}");
    });
}

#[test]
fn a_listing_on_s3_requests_it_once_for_each_directory_in_it_and_again_after_five() {
    let (proxy, bench) = behind_proxy(&[]);
    bench.on_every_store(|place, session| {
        for number in 0..5 {
            session.put(&place.path(&format!("bare-{number}/file")), b"x");
        }
        session.make_directory(&place.path("marked")).unwrap();
        session.set_attributes(&place.path("marked"), &Attributes::mtime(THEN)).unwrap();
        for (round, heads) in [6, 0, 0].into_iter().enumerate() {
            proxy.forget();
            assert_eq!(listed_time(session, &place.path(""), "marked"), Some(THEN));
            assert_eq!((methods(&proxy, "GET"), methods(&proxy, "HEAD")), (1, heads), "round {round}");
        }
        session.set_attributes(&place.path("bare-3"), &Attributes::mtime(THEN)).unwrap();
        proxy.forget();
        assert_eq!(listed_time(session, &place.path(""), "bare-3"), Some(THEN));
        assert_eq!((methods(&proxy, "GET"), methods(&proxy, "HEAD")), (1, 1));
    });
}

#[test]
fn a_directory_whose_time_is_not_known_shows_1970() {
    shared().on_object_stores(|place, session| {
        session.put(&place.path("bare/file"), b"x");
        assert_eq!(session.stat(&place.path("bare")).unwrap().mtime, Some(0));
        assert_eq!(listed_time(session, &place.path(""), "bare"), Some(0));
    });
}

#[test]
fn a_local_store_keeps_the_time_of_a_directory_until_an_entry_is_created_renamed_or() {
    shared().on(
        |behind| matches!(behind, Behind::Folder(_)),
        |place, session| {
            let folder = place.path("folder");
            let time = |session: &mut Sftp| session.stat(&folder).unwrap().mtime;
            session.put(&place.path("folder/file"), b"x");
            let changes: [fn(&mut Sftp, &str); 4] = [
                |session, folder| session.put(&format!("{folder}/new"), b"x"),
                |session, folder| session.rename(&format!("{folder}/new"), &format!("{folder}/other")).unwrap(),
                |session, folder| session.remove(&format!("{folder}/other")).unwrap(),
                |session, folder| session.make_directory(&format!("{folder}/below")).unwrap(),
            ];
            for change in changes {
                session.set_attributes(&folder, &Attributes::mtime(THEN)).unwrap();
                let event = place.await_event("SETSTAT", "folder", |_| true);
                assert_eq!((field(&event, "status"), field(&event, "message")), ("success", ""), "{event}");
                session.put(&place.path("beside"), b"x");
                assert_eq!(time(session), Some(THEN));
                let listed = session.list(&place.path("")).unwrap();
                assert!(
                    listed.iter().any(|(name, listed)| name == "folder" && listed.mtime == Some(THEN)),
                    "{listed:?}"
                );
                change(session, &folder);
                assert!(is_now(time(session)));
            }
        },
    );
}

#[test]
fn symbolic_and_hard_links_are_refused() {
    shared().on_every_store(|place, session| {
        session.put(&place.path("file"), b"x");
        let mut refused = |target: &str| {
            let (target, link) = (place.path(target), place.path("link"));
            assert_refused(session.symbolic_link(&target, &link), UNSUPPORTED);
            assert_refused(session.symbolic_link(&link, &target), UNSUPPORTED);
            assert_refused(session.hard_link(&target, &link), UNSUPPORTED);
        };
        refused("file");
        refused("missing");
        assert_eq!(session.names(&place.path("")), ["file"]);
    });
}
