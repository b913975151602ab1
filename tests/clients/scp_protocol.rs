//! The SCP protocol with `scp -O` and `pscp -scp`: odd names, times, patterns, several sources, and what goes wrong in between.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::json;

use crate::place::{Kind, Place, mtime, place_with, set_mtime};
use crate::putty::Putty;
use crate::support::data::{assert_same_bytes, assert_same_tree, write_noise, write_tree};
use crate::support::events::field;
use crate::support::process::{Finished, run};

/// A time that nothing has by itself.
const THEN: u64 = 1_234_567_890;

/// A program that speaks SCP.
enum Program<'a> {
    Openssh(&'a Place),
    Putty(&'a Place, Putty<'a>),
}

impl Program<'_> {
    #[track_caller]
    fn run(&self, arguments: &[&str]) -> Finished {
        match self {
            Program::Openssh(place) => place.client().scp([&["-O"], arguments].concat()),
            Program::Putty(_, putty) => run(putty.command("pscp").arg("-scp").args(arguments)),
        }
    }

    /// Whether the program can send a local file of this name: for pscp a backslash parts folders.
    fn takes(&self, name: &str) -> bool {
        matches!(self, Program::Openssh(_)) || !name.contains('\\')
    }

    fn place(&self) -> &Place {
        match self {
            Program::Openssh(place) | Program::Putty(place, _) => place,
        }
    }

    /// A fresh folder on the client's side.
    fn folder(&self, name: &str) -> PathBuf {
        let folder = self.place().local(name);
        let _ = fs::remove_dir_all(&folder);
        fs::create_dir(&folder).unwrap();
        folder
    }

    /// Fetches what a shell would make of `remote` into an empty folder: the folder, and how it went.
    #[track_caller]
    fn fetch(&self, flags: &[&str], remote: &str) -> (PathBuf, Finished) {
        let folder = self.folder("fetched");
        // Both compare the names that they get with the one they asked for, unless told otherwise.
        let trust = match self {
            Program::Openssh(_) => "-T",
            Program::Putty(..) => "-unsafe",
        };
        let remote = remote_path(remote);
        let done = self.run(&[&[trust], flags, &[&remote, folder.to_str().unwrap()]].concat());
        (folder, done)
    }
}

fn remote_path(path: &str) -> String {
    format!("alice@127.0.0.1:{path}")
}

/// Runs a check with each program, against a gateway of its own: `/` for everything, `/drop` for new files only.
#[track_caller]
fn with_each(check: impl Fn(&Program<'_>)) {
    let start = || {
        place_with(Kind::Local, |setup| {
            let home = setup.config["users"][0]["home"].as_array_mut().unwrap();
            home.push(json!({ "entry": "/drop", "target": "main:/drop", "permissions": "write_only" }));
        })
    };
    let place = start();
    check(&Program::Openssh(&place));
    place.gateway.stop();
    let place = start();
    check(&Program::Putty(&place, Putty::new(&place)));
    place.gateway.stop();
}

fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> =
        fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// With a backslash before everything that a shell would see.
fn escaped(path: &str) -> String {
    let plain = |c: char| c.is_alphanumeric() || !c.is_ascii() || "/._-".contains(c);
    path.chars().flat_map(|c| (!plain(c)).then_some('\\').into_iter().chain([c])).collect()
}

#[test]
fn odd_names_go_up_and_come_down() {
    with_each(|program| {
        let long = "n".repeat(255);
        let folder = program.folder("odd");
        for (i, name) in [
            "with space",
            "quote's",
            "quote\"s",
            "back\\slash",
            "back\\",
            "star*",
            "que?tion",
            "[ab]",
            "{a,b}",
            "-dash",
            "--",
            "~alice",
            "~",
            "#hash",
            "!bang",
            "dollar$HOME",
            "`id`",
            "a;b&c|d<e>f(g)h",
            "ümläut-日本語-🙂",
            ".hidden",
            &long,
        ]
        .into_iter()
        .filter(|name| program.takes(name))
        .enumerate()
        {
            let local = folder.join(name);
            write_noise(&local, i as u64 * 1000, i as u64);
            // Under its own name into a directory, and under the target's.
            program.run(&[local.to_str().unwrap(), &remote_path("/")]).succeeded();
            assert_same_bytes(&program.place().root().join(name), &local);
            let target = escaped(&format!("/in/{name}"));
            program.run(&[local.to_str().unwrap(), &remote_path(&target)]).succeeded();
            assert_same_bytes(&program.place().root().join("in").join(name), &local);
            let (fetched, done) = program.fetch(&[], &target);
            done.succeeded();
            assert_eq!(names(&fetched), [name]);
            assert_same_bytes(&fetched.join(name), &local);
        }
        program.place().assert_all_closed();
    });
}

/// Without being told to trust the server: the client understands backslashes.
#[test]
fn openssh_finds_its_names_and_patterns_in_the_answers() {
    with_each(|program| {
        let Program::Openssh(place) = program else { return };
        for name in ["with space", "star*", "[ab]", "{a,b}", "a.txt", "b.txt"] {
            fs::write(place.root().join(name), name).unwrap();
        }
        for (remote, expected) in [
            ("/with\\ space", vec!["with space"]),
            ("/star\\*", vec!["star*"]),
            ("/\\[ab\\]", vec!["[ab]"]),
            ("/\\{a,b\\}", vec!["{a,b}"]),
            ("/*.txt", vec!["a.txt", "b.txt"]),
            ("~/[a].txt", vec!["a.txt"]),
            ("~alice/?.txt", vec!["a.txt", "b.txt"]),
        ] {
            let folder = program.folder("trusted");
            program.run(&[&remote_path(remote), folder.to_str().unwrap()]).succeeded();
            assert_eq!(names(&folder), expected, "{remote}");
        }
        // A line's end within a name is sent as `\^J`.
        let local = place.local("two\nlines");
        fs::write(&local, "x").unwrap();
        program.run(&[local.to_str().unwrap(), &remote_path("/in/")]).failed();
        fs::create_dir(place.root().join("in")).unwrap();
        program.run(&[local.to_str().unwrap(), &remote_path("/in/")]).succeeded();
        assert_eq!(names(&place.root().join("in")), ["two\\^Jlines"]);
    });
}

#[test]
fn times_are_kept_both_ways() {
    with_each(|program| {
        let tree = program.folder("tree");
        write_tree(&tree);
        let (file, folders) = ("deep/er/leaf.bin", ["", "deep", "deep/er", "empty folder"]);
        set_mtime(&tree.join(file), THEN);
        for (i, folder) in folders.iter().enumerate() {
            set_mtime(&tree.join(folder), THEN + 1 + i as u64);
        }
        program.run(&["-r", "-p", tree.to_str().unwrap(), &remote_path("/")]).succeeded();
        let stored = program.place().root().join("tree");
        assert_same_tree(&stored, &tree);
        assert_eq!(mtime(&stored.join(file)), THEN);
        let (fetched, done) = program.fetch(&["-r", "-p"], "/tree");
        done.succeeded();
        assert_same_tree(&fetched.join("tree"), &tree);
        assert_eq!(mtime(&fetched.join("tree").join(file)), THEN);
        if let Program::Openssh(_) = program {
            for (i, folder) in folders.iter().enumerate() {
                assert_eq!(mtime(&stored.join(folder)), THEN + 1 + i as u64, "{folder:?} in the store");
                assert_eq!(mtime(&fetched.join("tree").join(folder)), THEN + 1 + i as u64, "{folder:?} fetched");
            }
        }
        // Without -p they are those of the transfer.
        program.run(&[tree.join(file).to_str().unwrap(), &remote_path("/untimed")]).succeeded();
        assert!(mtime(&program.place().root().join("untimed")) > THEN + 1_000_000);
        program.place().assert_all_closed();
    });
}

#[test]
fn one_source_that_is_missing_does_not_stop_the_others() {
    with_each(|program| {
        let place = program.place();
        for name in ["a.txt", "b.txt", "folder/c.txt"] {
            fs::create_dir_all(place.root().join(name).parent().unwrap()).unwrap();
            write_noise(&place.root().join(name), 100_000, 7);
        }
        let (fetched, done) = program.fetch(&[], "/a.txt /missing /folder /drop/secret /b.txt");
        let done = done.failed();
        for reason in
            ["/missing: No such file or directory", "/folder: not a regular file", "/drop/secret: Permission denied"]
        {
            assert!(done.stderr.contains(reason), "{reason}: {done}");
        }
        assert_eq!(done.status.code(), Some(1));
        match program {
            Program::Openssh(_) => assert_eq!(names(&fetched), ["a.txt", "b.txt"], "{done}"),
            // It takes a record that follows a warning for a part of that.
            Program::Putty(..) => {}
        }
        assert_same_bytes(&fetched.join("a.txt"), &place.root().join("a.txt"));
        let (fetched, done) = program.fetch(&[], "/[ab].txt /*/c.txt");
        done.succeeded();
        assert_eq!(names(&fetched), ["a.txt", "b.txt", "c.txt"]);
        if let Program::Openssh(_) = program {
            let folder = program.folder("three");
            let sources = ["/a.txt", "/missing", "/b.txt"].map(remote_path);
            let mut arguments: Vec<&str> = sources.iter().map(String::as_str).collect();
            arguments.push(folder.to_str().unwrap());
            program.run(&arguments).failed().says("/missing: No such file or directory");
            assert_eq!(names(&folder), ["a.txt", "b.txt"]);
        }
        place.assert_all_closed();
    });
}

#[test]
fn a_file_that_is_not_taken_does_not_stop_the_next_one() {
    with_each(|program| {
        let place = program.place();
        let folder = program.folder("new");
        let files = ["a", "b", "c"].map(|name| folder.join(name));
        files.iter().for_each(|file| write_noise(file, 300_000, 3));
        fs::create_dir(place.root().join("drop")).unwrap();
        fs::write(place.root().join("drop/b"), "old").unwrap();
        fs::create_dir_all(place.root().join("in/b")).unwrap();
        for (target, reason) in [("/drop", "/drop/b: Permission denied"), ("/in", "/in/b: Is a directory")] {
            let mut arguments: Vec<&str> = files.iter().map(|file| file.to_str().unwrap()).collect();
            let target_path = remote_path(target);
            arguments.push(&target_path);
            let done = program.run(&arguments).failed().says(reason);
            assert_eq!(done.status.code(), Some(1), "{done}");
            for (name, file) in [("a", &files[0]), ("c", &files[2])] {
                assert_same_bytes(&place.root().join(&target[1..]).join(name), file);
            }
        }
        assert_eq!(fs::read_to_string(place.root().join("drop/b")).unwrap(), "old");
        assert!(place.root().join("in/b").is_dir());
        // A whole tree, of which one file may not be replaced.
        let done = program.run(&["-r", folder.to_str().unwrap(), &remote_path("/drop")]).succeeded();
        assert_eq!(names(&place.root().join("drop/new")), ["a", "b", "c"], "{done}");
        program.run(&["-r", folder.to_str().unwrap(), &remote_path("/drop")]).failed().says("Permission denied");
        let refused =
            |event: &serde_json::Value| field(event, "logical-path") == "/drop/b" && field(event, "status") == "denied";
        assert!(place.gateway.events.all().iter().any(refused), "it is on record");
    });
}

#[test]
fn targets_and_sources_that_cannot_be_are_said() {
    with_each(|program| {
        let place = program.place();
        let folder = program.folder("two");
        let files = ["a", "b"].map(|name| folder.join(name));
        files.iter().for_each(|file| fs::write(file, "x").unwrap());
        let [a, b] = files.each_ref().map(|file| file.to_str().unwrap());
        fs::write(place.root().join("file"), "old").unwrap();
        // Two files need a directory.
        program.run(&[a, b, &remote_path("/nowhere")]).failed().says("/nowhere: No such file or directory");
        program.run(&[a, b, &remote_path("/file")]).failed().says("/file: Not a directory");
        program.run(&[a, &remote_path("/nowhere/")]).failed().says("/nowhere/: Is a directory");
        program.run(&["-r", folder.to_str().unwrap(), &remote_path("/file")]).failed().says("Not a directory");
        program.run(&[a, &remote_path("/x; touch y")]).failed().says("unquoted ';'");
        let (fetched, done) = program.fetch(&[], "/$(id)");
        // pscp does not look at the exit status of a download.
        assert!(matches!(program, Program::Putty(..)) || done.status.code() == Some(1), "{done}");
        done.says("unquoted '$'");
        assert_eq!(names(&fetched), [""; 0]);
        assert_eq!(names(place.root()), [".lockgate", "file"]);
        assert_eq!(fs::read_to_string(place.root().join("file")).unwrap(), "old");
        let denied =
            place.gateway.events.await_event("REQUEST_DENIED", |event| field(event, "request").contains("touch"));
        assert_eq!(field(&denied, "user"), "alice");
    });
}
