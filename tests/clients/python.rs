//! Python's libraries: paramiko and asyncssh.

use crate::checks::{
    Files, LARGE, LONG_AGO, Trees, check_download_time, check_files, check_names, check_resume, check_times,
    check_trees, check_upload_time, text,
};
use crate::openssh::backslashed;
use crate::place::{Place, mtime, on_each_store, place, set_mtime};
use crate::scripted::Scripted;
use crate::support::data::{assert_same_bytes, assert_same_tree, noise, write_noise, write_tree};
use crate::support::process::{Finished, program, python, run};

pub fn python_at(place: &Place, script: &str) -> Scripted {
    Scripted::start(python(script).args([&place.port(), "alice"]).arg(&place.key.private))
}

pub fn paramiko_at(place: &Place) -> Scripted {
    python_at(place, "paramiko_client.py")
}

pub fn asyncssh_at(place: &Place) -> Scripted {
    python_at(place, "asyncssh_client.py")
}

/// What the libraries have in common.
#[track_caller]
fn check_all(place: &Place, library: &Scripted) {
    check_files(place, library);
    check_trees(place, library);
    check_names(place, library);
    check_resume(place, library);
    check_upload_time(place, |local, remote| drop(library.run(&["put_timed", local, remote])));
    check_download_time(place, |remote, local| drop(library.run(&["get_timed", remote, local])));
}

#[test]
fn paramiko() {
    on_each_store(|place| {
        let paramiko = paramiko_at(place);
        check_all(place, &paramiko);
        check_digests(place, &paramiko);
        paramiko.run(&["open_in_every_way", "/opened"]);
        place.assert_holds_bytes("opened", b"ne");
        paramiko.run(&["put_and_get_objects", "/object"]);
        paramiko.run(&["change_attributes", "/changed"]);
        place.assert_holds_bytes("changed.other", b"data");
        paramiko.finish();
        place.assert_all_closed();
    });
}

/// The size that `put` compares at its end is that of the file which it has put.
#[test]
fn paramiko_puts_over_a_file_that_was_left_open() {
    on_each_store(|place| {
        let paramiko = paramiko_at(place);
        let source = place.local("source");
        for (round, length) in [100, 9000, LARGE].into_iter().enumerate() {
            write_noise(&source, length, round as u64);
            set_mtime(&source, LONG_AGO);
            paramiko.run(&["put_over_one_left_open", text(&source), "/file"]);
            place.assert_holds("file", &source);
            assert_eq!(place.mtime("file"), LONG_AGO);
        }
        paramiko.finish();
        // What was left open is cut off, and publishes nothing.
        place.gateway.events.await_disconnected(1);
        place.assert_holds("file", &source);
    });
}

/// paramiko's `SFTPFile.check`.
#[track_caller]
fn check_digests(place: &Place, script: &Scripted) {
    let file = place.local("hashed");
    write_noise(&file, 1_000_003, 5);
    script.put(text(&file), "/hashed");
    for algorithm in ["md5", "sha1", "sha224", "sha256", "sha384", "sha512"] {
        let sum = run(program(&format!("{algorithm}sum")).arg(&file)).succeeded().stdout;
        let expected = sum.split_whitespace().next().unwrap();
        assert_eq!(script.run(&["check", "/hashed", algorithm, "0"]).trim(), expected, "{algorithm}");
    }
    let blocks = script.run(&["check", "/hashed", "sha1", "65536"]);
    assert_eq!(blocks.trim().len(), 16 * 40, "sixteen blocks");
}

/// The module scp, which speaks SCP over paramiko's channels.
struct ScpModule<'a>(&'a Place);

impl ScpModule<'_> {
    #[track_caller]
    fn run(&self, arguments: &[&str]) -> Finished {
        let mut command = python("scp_client.py");
        command.args([&self.0.port(), "alice"]).arg(&self.0.key.private);
        run(command.args(arguments))
    }
}

impl Files for ScpModule<'_> {
    fn put(&self, local: &str, remote: &str) {
        self.run(&["put", local, remote]).succeeded();
    }

    fn get(&self, remote: &str, local: &str) {
        self.run(&["get", remote, local]).succeeded();
    }
}

impl Trees for ScpModule<'_> {
    fn put_tree(&self, local: &str, remote: &str) {
        self.run(&["put_tree", local, remote]).succeeded();
    }

    fn get_tree(&self, remote: &str, local: &str) {
        self.run(&["get_tree", remote, local]).succeeded();
    }
}

#[test]
fn python_scp() {
    on_each_store(|place| {
        let scp = ScpModule(place);
        check_files(place, &scp);
        check_trees(place, &scp);
        check_times(place, &scp);
        let missing = scp.run(&["get", "/missing", "/nowhere"]).failed();
        assert!(missing.stderr.contains("/missing: No such file or directory"), "{missing}");
    });
    // A local store keeps the times of folders as well.
    let place = place();
    let (scp, tree) = (ScpModule(&place), place.setup.subfolder("timed"));
    write_tree(&tree);
    let [stored, back] = [place.root().join("timed"), place.local("timed-back")];
    for name in ["plain.txt", "deep", "empty folder"] {
        set_mtime(&tree.join(name), LONG_AGO);
    }
    scp.put_tree(text(&tree), "/timed");
    scp.get_tree("/timed", text(&back));
    for (tree, name) in
        [&stored, &back].into_iter().flat_map(|tree| ["plain.txt", "deep", "empty folder"].map(|n| (tree, n)))
    {
        assert_eq!(mtime(&tree.join(name)), LONG_AGO, "{name} in {}", tree.display());
    }
    place.gateway.stop();
}

#[test]
fn asyncssh() {
    on_each_store(|place| {
        let asyncssh = asyncssh_at(place);
        check_all(place, &asyncssh);
        check_copies(place, &asyncssh);
        check_many(place, &asyncssh);
        asyncssh.run(&["attributes", "/changed"]);
        let (source, back) = (place.local("source"), place.local("back"));
        write_noise(&source, LARGE, 13);
        asyncssh.run(&["in_large_blocks", text(&source), "/blocks", text(&back)]);
        assert_same_bytes(&back, &source);
        asyncssh.finish();
        place.assert_all_closed();
    });
}

/// On the server's side, with `copy-data`.
#[track_caller]
fn check_copies(place: &Place, asyncssh: &Scripted) {
    let source = place.local("copied");
    write_noise(&source, LARGE, 14);
    asyncssh.put(text(&source), "/copied");
    asyncssh.run(&["copy_there", "/copied", "/copy"]);
    place.assert_holds("copy", &source);
    let tree = place.setup.subfolder("copied-tree");
    write_tree(&tree);
    asyncssh.run(&["put_tree", text(&tree), "/copied-tree"]);
    asyncssh.run(&["copy_tree_there", "/copied-tree", "/copied-again"]);
    place.assert_holds_tree("copied-again", &tree);
    asyncssh.run(&["remove_tree", "/copied-again"]);
    assert!(!place.has_folder("copied-again"));
}

#[track_caller]
fn check_many(place: &Place, asyncssh: &Scripted) {
    let folder = place.setup.subfolder("some");
    for name in ["one.txt", "two.txt", "other"] {
        std::fs::write(folder.join(name), noise(100, 3)).unwrap();
    }
    let back = place.local("some-back");
    let found = asyncssh.run(&["many", text(&folder), "*.txt", "/some/deeper", text(&back)]);
    assert_eq!(found, "/some/deeper/one.txt\n/some/deeper/two.txt\n");
    std::fs::remove_file(folder.join("other")).unwrap();
    assert_same_tree(&back, &folder);
}

/// asyncssh speaks SCP as well.
struct Scp(Scripted);

impl Files for Scp {
    fn put(&self, local: &str, remote: &str) {
        self.0.run(&["put_with_scp", local, &backslashed(remote)]);
    }

    fn get(&self, remote: &str, local: &str) {
        self.0.run(&["get_with_scp", &backslashed(remote), local]);
    }
}

#[test]
fn asyncssh_with_the_scp_protocol() {
    on_each_store(|place| {
        let scp = Scp(asyncssh_at(place));
        check_files(place, &scp);
        check_times(place, &scp);
        scp.0.finish();
    });
}
