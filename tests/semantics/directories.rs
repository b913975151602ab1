//! Directories and listings.

use std::collections::BTreeSet;
use std::fs;
use std::time::Duration;

use crate::bench::{Behind, Builder, assert_refused, shared};
use crate::support::plain_proxy::Proxy;
use crate::support::process::LIMIT;
use crate::support::s3;
use crate::support::sftp::{FAILURE, NO_SUCH_FILE};

#[test]
fn a_prefix_with_keys_under_it_is_a_directory_with_or_without_a_marker() {
    shared().on_every_store(|place, session| {
        // Without: it came with the file.
        session.put(&place.path("bare/inner/file"), b"x");
        // With.
        session.make_directory(&place.path("marked")).unwrap();
        session.put(&place.path("marked/file"), b"x");
        if let Some(s3) = place.s3() {
            assert_eq!(place.keys().unwrap(), ["bare/inner/file", "marked/", "marked/file"]);
            assert!(s3.put(&place.key("theirs/deep/file"), &[], b"x"));
            assert_eq!(session.names(&place.path("theirs")), ["deep/"]);
        }
        for name in ["bare", "bare/inner", "marked"] {
            assert!(session.stat(&place.path(name)).unwrap().is_directory(), "{name}");
        }
        let names: Vec<String> = session.names(&place.path("")).into_iter().filter(|name| name != "theirs/").collect();
        assert_eq!(names, ["bare/", "marked/"]);
        assert_eq!(session.names(&place.path("bare")), ["inner/"]);
        assert_eq!(session.names(&place.path("bare/inner")), ["file"]);
        assert_eq!(session.names(&place.path("marked")), ["file"]);
    });
}

#[test]
fn mkdir_creates_a_directory_that_exists_while_it_is_empty() {
    shared().on_every_store(|place, session| {
        let path = place.path("folder");
        session.make_directory(&path).unwrap();
        let mut other = place.bench.connect();
        assert!(other.stat(&path).unwrap().is_directory());
        assert!(other.names(&path).is_empty());
        session.put(&place.path("folder/file"), b"x");
        session.remove(&place.path("folder/file")).unwrap();
        assert!(other.stat(&path).unwrap().is_directory());
        assert_eq!(other.names(&place.path("")), ["folder/"]);
        assert_refused(session.make_directory(&path), FAILURE);
        session.put(&place.path("file"), b"x");
        assert_refused(session.make_directory(&place.path("file")), FAILURE);
    });
}

#[test]
fn on_s3_its_marker_is_the_zero_byte_key_dir_that_other_tools_create_and_understand() {
    shared().on(
        |behind| matches!(behind, Behind::Server(server) if server.as_s3().is_some()),
        |place, session| {
            let s3 = place.s3().unwrap();
            session.make_directory(&place.path("ours")).unwrap();
            assert_eq!(place.keys().unwrap(), ["ours/"]);
            let head = s3.head(&place.key("ours/")).to_lowercase();
            assert!(head.contains("content-length: 0"), "{head}");
            assert!(s3.put(&place.key("theirs/"), &[], b""));
            assert_eq!(session.names(&place.path("")), ["ours/", "theirs/"]);
            assert!(session.stat(&place.path("theirs")).unwrap().is_directory());
            assert!(session.names(&place.path("theirs")).is_empty());
            session.remove_directory(&place.path("theirs")).unwrap();
            assert_eq!(place.keys().unwrap(), ["ours/"]);
            // A tool that is none of ours sees ours.
            let seen = s3::rclone(s3, &["lsf", "--dirs-only", &place.key("")]).succeeded().stdout;
            assert_eq!(seen.trim(), "ours/");
        },
    );
}

#[test]
fn if_a_connection_removes_or_renames_the_last_file_of_a_folder_without_a_marker() {
    shared().on_every_store(|place, session| {
        // As `rm -r` of clients does it: files first, then their folders, from the inside out.
        session.put(&place.path("tree/inner/one"), b"1");
        session.put(&place.path("tree/inner/two"), b"2");
        session.remove(&place.path("tree/inner/one")).unwrap();
        session.rename(&place.path("tree/inner/two"), &place.path("two")).unwrap();
        for folder in ["tree", "tree/inner"] {
            assert!(session.stat(&place.path(folder)).unwrap().is_directory(), "{folder}");
        }
        assert!(session.list(&place.path("tree/inner")).unwrap().iter().all(|(name, _)| name.starts_with('.')));
        session.remove_directory(&place.path("tree/inner")).unwrap();
        assert_refused(session.stat(&place.path("tree/inner")), NO_SUCH_FILE);
        assert_refused(session.remove_directory(&place.path("tree/inner")), NO_SUCH_FILE);
        session.rename(&place.path("tree"), &place.path("renamed")).unwrap();
        assert!(place.bench.connect().stat(&place.path("renamed")).unwrap().is_directory());
        session.remove_directory(&place.path("renamed")).unwrap();
        for folder in ["tree", "renamed"] {
            assert_refused(session.stat(&place.path(folder)), NO_SUCH_FILE);
        }
        // A folder in which somebody else has put something is as it is.
        session.put(&place.path("shared/mine"), b"1");
        session.remove(&place.path("shared/mine")).unwrap();
        place.bench.connect().put(&place.path("shared/theirs"), b"2");
        assert_refused(session.remove_directory(&place.path("shared")), FAILURE);
        assert_eq!(session.names(&place.path("shared")), ["theirs"]);
    });
}

#[test]
fn rmdir_removes_an_empty_directory_only() {
    shared().on_every_store(|place, session| {
        for (name, inner) in [("with-file", "with-file/x"), ("deep", "deep/er/x")] {
            session.put(&place.path(inner), b"x");
            assert_refused(session.remove_directory(&place.path(name)), FAILURE);
            assert!(session.exists(&place.path(inner)));
        }
        session.make_directory(&place.path("outer")).unwrap();
        session.make_directory(&place.path("outer/inner")).unwrap();
        assert_refused(session.remove_directory(&place.path("outer")), FAILURE);
        session.remove_directory(&place.path("outer/inner")).unwrap();
        session.remove_directory(&place.path("outer")).unwrap();
        assert!(!session.exists(&place.path("outer")));
        assert_eq!(session.names(&place.path("")), ["deep/", "with-file/"]);
        // A file is none, and what is not there cannot be removed.
        session.remove_directory(&place.path("with-file/x")).expect_err("it is a file");
        assert!(session.exists(&place.path("with-file/x")));
        assert_refused(session.remove_directory(&place.path("nothing")), NO_SUCH_FILE);
        assert_refused(session.remove(&place.path("with-file")), FAILURE);
    });
}

/// Every entry of the home, and what leads to them.
fn fixed_paths(store: &str) -> [String; 5] {
    ["/".into(), store.into(), "/deep".into(), "/deep/er".into(), format!("/deep/er{store}")]
}

#[test]
fn the_entries_of_a_home_and_the_folders_that_lead_to_them_always_exist() {
    // Nothing was ever written to these stores.
    let bench = Builder::new().every_store().start();
    let mut session = bench.connect();
    let stores: BTreeSet<String> = session.names("/deep/er").into_iter().collect();
    assert!(stores.len() >= 3, "{stores:?}");
    for store in &stores {
        let store = format!("/{}", store.trim_end_matches('/'));
        for path in fixed_paths(&store) {
            assert!(session.stat(&path).unwrap().is_directory(), "{path}");
            assert!(session.lstat(&path).unwrap().is_directory(), "{path}");
            let names = session.names(&path);
            let leads = path == "/" || path == "/deep" || path == "/deep/er";
            assert_eq!(names.is_empty(), !leads, "{path}: {names:?}");
        }
    }
    let expected: BTreeSet<String> = std::iter::once("deep/".to_owned()).chain(stores).collect();
    assert_eq!(session.names("/"), Vec::from_iter(expected));
}

#[test]
fn they_cannot_be_removed_or_renamed() {
    shared().on_every_store(|place, session| {
        for path in fixed_paths(place.store) {
            session.remove_directory(&path).expect_err(&path);
            session.remove(&path).expect_err(&path);
            session.rename(&path, &place.path("moved")).expect_err(&path);
            session.posix_rename(&path, &place.path("moved")).expect_err(&path);
            session.put(&place.path("file"), b"x");
            session.rename(&place.path("file"), &path).expect_err(&path);
            session.posix_rename(&place.path("file"), &path).expect_err(&path);
            assert!(session.stat(&path).unwrap().is_directory(), "{path}");
        }
        assert_eq!(session.names(&place.path("")), ["file"]);
    });
}

#[test]
fn a_file_may_be_created_even_if_its_parents_do_not_exist() {
    shared().on_every_store(|place, session| {
        session.put(&place.path("a/b/c/file"), b"x");
        assert_eq!(session.get(&place.path("a/b/c/file")), b"x");
        for (folder, inner) in [("", "a/"), ("a", "b/"), ("a/b", "c/"), ("a/b/c", "file")] {
            assert_eq!(session.names(&place.path(folder)), [inner]);
        }
    });
}

#[test]
fn mkdir_needs_its_parent() {
    shared().on_every_store(|place, session| {
        assert_refused(session.make_directory(&place.path("missing/folder")), NO_SUCH_FILE);
        session.put(&place.path("file"), b"x");
        session.make_directory(&place.path("file/folder")).expect_err("the parent is a file");
        assert_eq!(session.names(&place.path("")), ["file"]);
    });
}

/// More names than fit into one page of S3's, among them files and folders of which one's name begins with the other's.
fn many_names() -> Vec<String> {
    let mut names: Vec<String> = (0..1_040).map(|i| format!("name-{i:04}")).collect();
    names.extend(
        ["name-0500!", "name-0500.txt", "name-0500-/inner", "name-050/inner", "zz/inner", "!/inner"].map(String::from),
    );
    names
}

fn shown(names: &[String]) -> BTreeSet<String> {
    names.iter().map(|name| name.split_once('/').map_or(name.clone(), |(folder, _)| format!("{folder}/"))).collect()
}

#[test]
fn listings_are_sent_page_by_page() {
    let proxy = Proxy::start(s3::new_store().port());
    let bench = Builder::new().s3_through(&proxy, &[("listing_times", "stored")]).start();
    bench.on_every_store(|place, session| {
        let names = many_names();
        session.put_many(&names.iter().map(|name| place.path(name)).collect::<Vec<_>>(), b"x");
        proxy.forget();
        let handle = session.open_directory(&place.path("")).unwrap();
        // The next page is held, and the first names do not wait for it.
        proxy.delay(LIMIT);
        let first = session.read_directory(&handle).unwrap().expect("names");
        proxy.delay(Duration::ZERO);
        assert!(!first.is_empty() && first.len() < names.len(), "{} names at once", first.len());
        let mut all: Vec<_> = first;
        while let Some(more) = session.read_directory(&handle).unwrap() {
            all.extend(more);
        }
        assert_eq!(all.len(), shown(&names).len());
        let pages = proxy.requests().iter().filter(|request| request.target.contains("list-type=2")).count();
        assert_eq!(pages, 2);
    });
}

#[test]
fn no_name_is_lost_or_shown_twice() {
    Builder::new().every_store().start().on_every_store(|place, session| {
        let names = many_names();
        session.put_many(&names.iter().map(|name| place.path(name)).collect::<Vec<_>>(), b"x");
        let list = session.names(&place.path(""));
        let seen: BTreeSet<String> = list.iter().cloned().collect();
        assert_eq!(list.len(), seen.len(), "a name is shown twice");
        assert_eq!(seen, shown(&names));
    });
}

#[test]
fn names_that_cannot_be_shown_a_b_control_characters_are_left_out_with_one_error() {
    shared().on_visible_stores(|place, session| {
        session.put(&place.path("fine"), b"x");
        let mut odd = 0;
        if let Some(s3) = place.s3() {
            // Servers differ in which of them they take.
            for raw in ["/b", "con%01trol", "new%0Aline", "tab%09", "del%7F"] {
                odd += usize::from(s3.put(&place.key(raw), &[], b"x"));
            }
        } else if matches!(place.behind, Behind::Folder(_)) {
            for raw in ["con\u{1}trol", "new\nline", "tab\t", "del\u{7f}"] {
                fs::write(place.folder().join(raw), b"x").unwrap();
                odd += 1;
            }
        } else {
            return;
        }
        assert!(odd > 0, "the store takes none of the odd names");
        for round in 1..=2 {
            assert_eq!(session.names(&place.path("")), ["fine"]);
            let path = place.path("");
            let errors = place.bench.gateway.events.until("LIST event", |events| {
                let ours = |kind: &str| {
                    let fits = move |event: &&serde_json::Value| event["activity-type"] == kind;
                    events
                        .iter()
                        .filter(|event| event["logical-path"] == path.as_str())
                        .filter(fits)
                        .cloned()
                        .collect::<Vec<_>>()
                };
                (ours("LIST").len() == round).then(|| ours("ERROR"))
            });
            assert_eq!(errors.len(), round, "{errors:?}");
            assert!(errors[0].to_string().contains(&format!("{odd} names cannot be shown")), "{errors:?}");
        }
    });
}

#[test]
fn if_there_are_a_and_a_b_the_listing_shows_a_as_a_directory() {
    let held_both = std::cell::RefCell::new(Vec::new());
    shared().on_object_stores(|place, session| {
        session.put(&place.path("a"), b"the file");
        session.put(&place.path("a/b"), b"below");
        // Unlike S3, MinIO hides what lies under an object's name; then there is nothing to show.
        if place.keys().is_some_and(|keys| keys == ["a"]) {
            return;
        }
        held_both.borrow_mut().push(place.store);
        assert_eq!(session.names(&place.path("")), ["a/"]);
        assert_eq!(session.names(&place.path("a")), ["b"]);
        assert!(session.stat(&place.path("a")).unwrap().is_directory());
        assert_eq!(session.get(&place.path("a/b")), b"below");
    });
    assert!(held_both.borrow().contains(&"/memory"), "{held_both:?}");
}

#[test]
fn on_a_server_a_stat_of_such_a_name_finds_the_file_until_a_listing_has_shown_the() {
    let held_both = std::cell::RefCell::new(Vec::new());
    shared().on(
        |behind| matches!(behind, Behind::Server(_)),
        |place, session| {
            session.put(&place.path("a"), b"the file");
            session.put(&place.path("a/b"), b"below");
            if place.keys().is_some_and(|keys| keys == ["a"]) {
                return;
            }
            held_both.borrow_mut().push(place.store);
            assert_eq!(session.stat(&place.path("a")).unwrap().size, Some(8));
            assert_eq!(session.names(&place.path("")), ["a/"]);
            assert!(session.stat(&place.path("a")).unwrap().is_directory());
        },
    );
    assert!(!held_both.borrow().is_empty());
}

#[test]
fn a_directory_that_only_seems_empty_stays_and_the_answer_says_what_it_contains() {
    shared().on(
        |behind| matches!(behind, Behind::Folder(_)),
        |place, session| {
            session.make_directory(&place.path("folder")).unwrap();
            // A link that leads nowhere, and one that leads out.
            let link = place.folder().join("folder/link");
            for target in ["nowhere", "/etc"] {
                std::os::unix::fs::symlink(target, &link).unwrap();
                assert!(session.names(&place.path("folder")).is_empty());
                let refusal = assert_refused(session.remove_directory(&place.path("folder")), FAILURE);
                assert!(refusal.message.contains("\"link\""), "{refusal:?}");
                std::fs::remove_file(&link).unwrap();
            }
            session.remove_directory(&place.path("folder")).unwrap();
        },
    );
    shared().on(
        |behind| matches!(behind, Behind::Server(server) if server.as_s3().is_some()),
        |place, session| {
            session.make_directory(&place.path("folder")).unwrap();
            assert!(place.s3().unwrap().put(&place.key("folder/del%7F"), &[], b"x"));
            assert!(session.names(&place.path("folder")).is_empty());
            let refusal = assert_refused(session.remove_directory(&place.path("folder")), FAILURE);
            assert!(refusal.message.contains("cannot be shown here"), "{refusal:?}");
        },
    );
}
