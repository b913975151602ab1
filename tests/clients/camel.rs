//! Apache Camel's component sftp: files are written beside and renamed, and taken from a folder when they are there.

use std::fs;
use std::path::Path;

use crate::checks::{LARGE, text};
use crate::place::{Place, on_each_store};
use crate::scripted::Scripted;
use crate::support::data::{assert_same_bytes, write_noise};
use crate::support::process::{program, tool};

fn camel_at(place: &Place) -> Scripted {
    let mut command = program("java");
    command.args(["-Dfile.encoding=UTF-8", "-Dsun.jnu.encoding=UTF-8"]).env("LC_ALL", "C.UTF-8");
    command.arg("-cp").arg(format!("{}/*", text(&tool("camel"))));
    command.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients/CamelClient.java"));
    command.args([&place.port(), "alice"]).arg(&place.key.private).arg(place.gateway.known_hosts());
    Scripted::start(&mut command)
}

#[test]
fn apache_camel() {
    on_each_store(|place| {
        let camel = camel_at(place);
        check_producer(place, &camel);
        check_consumer(place, &camel);
        camel.finish();
        place.assert_all_closed();
    });
}

#[track_caller]
fn check_producer(place: &Place, camel: &Scripted) {
    let (source, back) = (place.local("source"), place.local("back"));
    for (round, length) in [LARGE, 0, 1000].into_iter().enumerate() {
        write_noise(&source, length, round as u64);
        camel.run(&["put", text(&source), "/new/folder/file"]);
        place.assert_holds("new/folder/file", &source);
        camel.run(&["get", "/new/folder/file", text(&back)]);
        assert_same_bytes(&back, &source);
    }
    camel.fail(&["fail_if_there", text(&source), "/new/folder/file"]);
    assert!(!place.has("new/folder/file.writing"));
    camel.run(&["put_from_a_folder", text(&source), "/from/a folder"]);
    place.assert_holds("from/a folder", &source);
    assert!(!place.has("from/in-work/a folder"));
    fs::write(&source, "more").unwrap();
    place.write("appended", b"some ");
    camel.run(&["append", text(&source), "/appended"]);
    place.assert_holds_bytes("appended", b"some more");
}

#[track_caller]
fn check_consumer(place: &Place, camel: &Scripted) {
    let files = ["one", "two", "größer drei"];
    for name in files {
        place.write(&format!("in/{name}"), name.as_bytes());
    }
    let folder = place.setup.subfolder("taken");
    let assert_taken = |said: String| {
        let mut expected = files.map(String::from);
        expected.sort();
        assert_eq!(said.lines().collect::<Vec<_>>(), expected);
        for name in files {
            assert_eq!(fs::read(folder.join(name)).unwrap(), name.as_bytes());
            fs::remove_file(folder.join(name)).unwrap();
        }
    };
    assert_taken(camel.run(&["take_and_move", "/in", text(&folder)]));
    assert!(files.iter().all(|name| place.has(&format!("in/.done/{name}")) && !place.has(&format!("in/{name}"))));
    assert_taken(camel.run(&["take_with_a_lock", "/in/.done", text(&folder)]));
    assert!(!files.iter().any(|name| place.has(&format!("in/.done/{name}"))));
    // Out of folders that nobody has made.
    place.write("in/deep/er/one", b"one");
    place.write("in/deep/two", b"two");
    assert_eq!(camel.run(&["take_and_delete", "/in", text(&folder)]), "deep/er/one\ndeep/two\n");
    assert!(!place.has("in/deep/er/one") && !place.has("in/deep/two"));
}
