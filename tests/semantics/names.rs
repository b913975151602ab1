//! Names, and what they cannot reach.

use std::fs;
use std::os::unix::fs::symlink;

use crate::bench::{Behind, Builder, assert_refused, shared};
use crate::support::raw_sftp::string;
use crate::support::sftp::{FAILURE, Sftp};

#[test]
fn a_name_is_utf_8_without_control_characters_a_component_at_most_255_bytes_a_path() {
    shared().on_every_store(|place, session| {
        let longest = "ü".repeat(127) + "x";
        assert_eq!(longest.len(), 255);
        session.put(&place.path(&longest), b"x");
        assert_eq!(session.names(&place.path("")), [longest.as_str()]);
        assert_eq!(session.get(&place.path(&longest)), b"x");
        // A key is longer than the path by what stands before it in the store, so a server takes a little less.
        let room = if matches!(place.behind, Behind::Server(_)) { 900 } else { 1024 };
        let mut path = place.path("");
        while path.len() + 202 < room {
            path.push('/');
            path.push_str(&"d".repeat(200));
        }
        path.push('/');
        path.push_str(&"f".repeat(room - path.len()));
        assert_eq!(path.len(), room);
        session.put(&path, b"far down");
        assert_eq!(session.get(&path), b"far down");
        session.remove(&path).unwrap();
        // Nothing beyond that.
        refused(session, place.path(&"x".repeat(256)).as_bytes());
        let beyond = place.path("") + &"/0123456789".repeat(80);
        let beyond = format!("{beyond}/{}", "x".repeat(1024 - beyond.len()));
        assert_eq!(beyond.len(), 1025);
        refused(session, beyond.as_bytes());
    });
}

/// Tries a name in every way.
#[track_caller]
fn refused(session: &mut Sftp, path: &[u8]) {
    let name = string(path);
    let flags_and_none = [26u32.to_be_bytes(), 0u32.to_be_bytes()].concat();
    let other = string(b"/memory/other");
    for (what, kind, body) in [
        ("OPEN", 3, [name.clone(), flags_and_none].concat()),
        ("STAT", 17, name.clone()),
        ("SETSTAT", 9, [name.clone(), vec![0; 4]].concat()),
        ("OPENDIR", 11, name.clone()),
        ("MKDIR", 14, [name.clone(), vec![0; 4]].concat()),
        ("REMOVE", 13, name.clone()),
        ("RENAME to", 18, [other.clone(), name.clone()].concat()),
        ("RENAME from", 18, [name, other].concat()),
    ] {
        let id = session.send(kind, &body);
        let answer = session.raw.receive();
        assert_eq!((answer.id, answer.status()), (id, FAILURE), "{what} of {:?}", String::from_utf8_lossy(path));
        let message = String::from_utf8_lossy(&answer.body[8..]).into_owned();
        assert!(message.contains("name"), "{what}: {message}");
    }
}

#[test]
fn any_other_name_is_refused_and_the_answer_says_why() {
    shared().on_every_store(|place, session| {
        let folder = place.path("");
        for (name, why) in [
            (&b"nul\0"[..], "control character 0x00"),
            (b"line\nfeed", "control character 0x0a"),
            (b"tab\t", "control character 0x09"),
            (b"bell\x07", "control character 0x07"),
            (b"delete\x7f", "control character 0x7f"),
            (b"latin-1 \xfc", "not valid UTF-8"),
            (b"half \xf0\x9f", "not valid UTF-8"),
            (&[b'x'; 256], "longer than 255 bytes"),
        ] {
            let path = [folder.as_bytes(), b"/", name].concat();
            refused(session, &path);
            session.send(17, &string(&path));
            let answer = session.raw.receive();
            let message = String::from_utf8_lossy(&answer.body).into_owned();
            assert!(message.contains(why), "{message:?} does not say {why:?}");
        }
        assert!(session.names(&folder).is_empty());
        assert!(place.keys().unwrap_or_default().is_empty());
    });
}

const ODD_NAMES: [&str; 26] = [
    " ",
    " leading",
    "trailing ",
    "two  spaces",
    "%",
    "100%",
    "%41",
    "%2F",
    "#1",
    "x#1",
    "~",
    "~root",
    "*",
    "[",
    "[a]",
    "?",
    "🙂",
    "👩‍🚀",
    "日本語",
    "-rf",
    "--",
    ".hidden",
    "...",
    "back\\slash",
    "a'b\"c`d$e",
    "plus+&=,:;@!|<>{}^",
];

#[test]
fn spaces_1_emoji_leading_dashes_and_dots_are_ordinary_in_names() {
    shared().on_every_store(|place, session| {
        let mut expected: Vec<String> = Vec::new();
        let (refused, taken): (Vec<&str>, Vec<&str>) = ODD_NAMES.iter().partition(|name| place.cannot_hold(name));
        for name in refused {
            assert_refused(session.open(&place.path(name), 2 | 8), FAILURE);
            assert_refused(session.make_directory(&place.path(name)), FAILURE);
        }
        for name in &taken {
            session.put(&place.path(name), name.as_bytes());
            session.make_directory(&place.path(&format!("d{name}"))).unwrap();
            session.put(&place.path(&format!("d{name}/{name}")), b"inner");
            expected.extend([(*name).to_owned(), format!("d{name}/")]);
        }
        expected.sort();
        assert_eq!(session.names(&place.path("")), expected);
        for name in taken {
            assert_eq!(session.get(&place.path(name)), name.as_bytes());
            assert_eq!(session.stat(&place.path(name)).unwrap().size, Some(name.len() as u64));
            assert_eq!(session.names(&place.path(&format!("d{name}"))), [name]);
            // Renamed, within and with all that lies in it, and deleted.
            let moved = format!("moved-{name}");
            session.rename(&place.path(name), &place.path(&moved)).unwrap();
            session.posix_rename(&place.path(&moved), &place.path(name)).unwrap();
            session.rename(&place.path(&format!("d{name}")), &place.path(&moved)).unwrap();
            assert_eq!(session.get(&place.path(&format!("{moved}/{name}"))), b"inner");
            session.remove(&place.path(&format!("{moved}/{name}"))).unwrap();
            session.remove_directory(&place.path(&moved)).unwrap();
            session.remove(&place.path(name)).unwrap();
        }
        assert!(session.names(&place.path("")).is_empty());
        assert!(place.keys().unwrap_or_default().is_empty());
    });
}

#[test]
fn in_the_root_folder_of_a_local_store_the_name_lockgate_is_reserved_for_the() {
    let to_root = |user: crate::support::setup::User| user.home("/root", "local:/");
    let bench = Builder::new().local().user(to_root).start();
    bench.on_every_store(|place, session| {
        let Behind::Folder(root) = place.behind else { panic!("no local store") };
        session.put("/root/file", b"x");
        assert!(root.join(".lockgate").is_dir());
        assert!(!session.names("/root").contains(&".lockgate/".to_owned()));
        for name in ["/root/.lockgate", "/root/.lockgate/x", "/root/.lockgate/uploads"] {
            session.stat(name).expect_err(name);
            session.list(name).expect_err(name);
            session.open(name, 2 | 8).expect_err(name);
            session.make_directory(name).expect_err(name);
            session.remove(name).expect_err(name);
            session.remove_directory(name).expect_err(name);
            session.rename(name, "/root/mine").expect_err(name);
            session.rename("/root/file", name).expect_err(name);
        }
        assert!(root.join(".lockgate").is_dir());
        assert_eq!(session.get("/root/file"), b"x");
        // Elsewhere it is a name like any other.
        session.put("/root/folder/.lockgate", b"mine");
        assert_eq!(session.names("/root/folder"), [".lockgate"]);
    });
}

#[test]
fn nothing_that_a_client_sends_reaches_a_key_outside_its_targets() {
    // The entry shows `home`; its neighbours have names that begin with it, lie above it, or are another user's.
    let neighbours = |user: crate::support::setup::User, store: &str| {
        let user = user.home(&format!("/beside-{store}"), &format!("{store}:/homestead"));
        user.home(&format!("/above-{store}"), &format!("{store}:/top/secret"))
    };
    let bench = Builder::new().every_store().for_each_store(neighbours).start();
    bench.on_every_store(|place, session| {
        let store = &place.store[1..];
        session.put(&format!("/beside-{store}/secret"), b"beside");
        session.put(&format!("/above-{store}/key"), b"above");
        let folder = place.store.to_owned();
        session.put(&format!("{folder}/mine"), b"mine");
        for path in [
            "../homestead/secret",
            "../../homestead/secret",
            "x/../../homestead/secret",
            "stead/secret",
            "..%2Fhomestead/secret",
            "%2e%2e/homestead/secret",
            "..\\homestead\\secret",
            "..;/homestead/secret",
            "../top/secret/key",
            "//top/secret/key",
            "./../top/secret/key",
            "/../../../../../../etc/passwd",
        ] {
            let path = format!("{folder}/{path}");
            session.open(&path, 1).expect_err(&path);
            session.stat(&path).expect_err(&path);
            session.remove(&path).expect_err(&path);
            session.rename(&path, &format!("{folder}/got")).expect_err(&path);
        }
        // Dots lead through the home and stay in it.
        assert_eq!(session.get(&format!("{folder}/../..{folder}/mine")), b"mine");
        for path in ["../homestead/new", "../../x", "..%2Fnew", "..\\new"] {
            if let Ok(handle) = session.open(&format!("{folder}/{path}"), 2 | 8) {
                session.write(&handle, 0, b"x").unwrap();
                drop(session.close(&handle));
            }
        }
        assert_eq!(session.names(&format!("/beside-{store}")), ["secret"]);
        assert_eq!(session.names(&format!("/above-{store}")), ["key"]);
        assert_eq!(session.get(&format!("/beside-{store}/secret")), b"beside");
        if let Behind::Folder(root) = place.behind {
            let mut names: Vec<_> = fs::read_dir(root).unwrap().map(|e| e.unwrap().file_name()).collect();
            names.sort();
            assert_eq!(names, [".lockgate", "home", "homestead", "top"]);
        }
        session.rename(&format!("{folder}/mine"), "/elsewhere").expect_err("no entry is there");
    });
}

#[test]
fn a_symbolic_link_in_a_local_store_does_not_lead_out_of_the_folder_of_its_entry() {
    let bench = Builder::new().local().start();
    bench.on_every_store(|place, session| {
        let outside = bench.setup.subfolder("outside");
        fs::write(outside.join("secret"), "a secret").unwrap();
        fs::create_dir_all(outside.join("folder")).unwrap();
        let inside = place.folder();
        let depth = "../".repeat(12);
        let relative = format!("{depth}{}", &outside.display().to_string()[1..]);
        symlink(&outside, inside.join("absolute")).unwrap();
        symlink(&relative, inside.join("relative")).unwrap();
        symlink("absolute", inside.join("chain")).unwrap();
        symlink(outside.join("secret"), inside.join("file")).unwrap();
        symlink(outside.join("missing"), inside.join("dangling")).unwrap();
        for link in ["absolute", "relative", "chain"] {
            let path = |rest: &str| place.path(&format!("{link}{rest}"));
            session.open(&path("/secret"), 1).expect_err(link);
            session.stat(&path("/secret")).expect_err(link);
            session.list(&path("")).expect_err(link);
            session.open(&path("/new"), 2 | 8).and_then(|handle| session.close(&handle)).expect_err(link);
            session.make_directory(&path("/new")).expect_err(link);
            session.remove(&path("/secret")).expect_err(link);
            session.remove_directory(&path("/folder")).expect_err(link);
            session.rename(&path("/secret"), &place.path("got")).expect_err(link);
            session.set_attributes(&path("/secret"), &crate::support::sftp::Attributes::size(0)).expect_err(link);
            session.put(&place.path("mine"), b"mine");
            session.rename(&place.path("mine"), &path("/mine")).expect_err(link);
        }
        for link in ["file", "dangling"] {
            session.open(&place.path(link), 1).expect_err(link);
            // A file of that name takes the link's place, and does not go through it.
            if let Ok(handle) = session.open(&place.path(link), 2 | 8 | 16) {
                session.write(&handle, 0, b"mine").unwrap();
                drop(session.close(&handle));
            }
        }
        let mut left: Vec<_> = fs::read_dir(&outside).unwrap().map(|e| e.unwrap().file_name()).collect();
        left.sort();
        assert_eq!(left, ["folder", "secret"]);
        assert_eq!(fs::read_to_string(outside.join("secret")).unwrap(), "a secret");
        // Within the root it is followed.
        session.put(&place.path("real/file"), b"x");
        symlink("real", inside.join("alias")).unwrap();
        assert_eq!(session.get(&place.path("alias/file")), b"x");
    });
}
