//! rclone, with Go's SSH and SFTP libraries.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::Stdio;

use serde_json::json;

use crate::checks::{Files, LARGE, LONG_AGO, Names, Trees, check_files, check_names, check_times, check_trees, text};
use crate::place::{Kind, Place, on_each_store, place, place_with};
use crate::support::data::{assert_same_tree, noise, write_noise, write_tree};
use crate::support::events::field;
use crate::support::process::{Finished, LIMIT, program, python, run_with};
use crate::support::s3;
use crate::support::server::Server;

/// rclone with its defaults: it looks for a shell and for checksum programs first, and must do without.
pub struct Rclone<'a>(pub &'a Place);

impl Rclone<'_> {
    #[track_caller]
    fn run(&self, arguments: &[&str]) -> String {
        self.command(arguments).succeeded().stdout
    }

    #[track_caller]
    pub fn command(&self, arguments: &[&str]) -> Finished {
        self.command_with(arguments, b"")
    }

    #[track_caller]
    fn command_with(&self, arguments: &[&str], input: &[u8]) -> Finished {
        let place = self.0;
        let mut command = program("rclone");
        command.env("RCLONE_CONFIG", place.local("rclone.conf")).args(["--retries", "1", "--contimeout", "10m"]);
        command.args(["--sftp-host", "127.0.0.1", "--sftp-port", &place.port(), "--sftp-user", "alice"]);
        command.arg("--sftp-key-file").arg(&place.key.private);
        command.arg("--sftp-known-hosts-file").arg(place.gateway.known_hosts());
        run_with(command.args(arguments), input, LIMIT)
    }
}

impl Files for Rclone<'_> {
    fn put(&self, local: &str, remote: &str) {
        self.run(&["copyto", "--ignore-times", local, &format!(":sftp:{remote}")]);
    }

    fn get(&self, remote: &str, local: &str) {
        self.run(&["copyto", &format!(":sftp:{remote}"), local]);
    }
}

impl Trees for Rclone<'_> {
    fn put_tree(&self, local: &str, remote: &str) {
        self.run(&["copy", "--transfers", "8", "--create-empty-src-dirs", local, &format!(":sftp:{remote}")]);
        // Compares what is there, by downloading it.
        self.run(&["check", "--download", local, &format!(":sftp:{remote}")]);
    }

    fn get_tree(&self, remote: &str, local: &str) {
        self.run(&["copy", "--transfers", "8", "--create-empty-src-dirs", &format!(":sftp:{remote}"), local]);
    }
}

impl Names for Rclone<'_> {
    fn list(&self, remote: &str) -> String {
        self.run(&["lsf", &format!(":sftp:{remote}")])
    }

    fn rename(&self, from: &str, to: &str) {
        self.run(&["moveto", &format!(":sftp:{from}"), &format!(":sftp:{to}")]);
    }

    fn remove(&self, remote: &str) {
        self.run(&["deletefile", &format!(":sftp:{remote}")]);
    }

    fn mkdir(&self, remote: &str) {
        self.run(&["mkdir", &format!(":sftp:{remote}")]);
    }

    fn rmdir(&self, remote: &str) {
        self.run(&["rmdir", &format!(":sftp:{remote}")]);
    }
}

impl Rclone<'_> {
    /// What a second run of `sync` does is nothing, because the times were kept.
    #[track_caller]
    fn check_sync(&self, remote: &str) {
        let tree = self.0.setup.subfolder("tree");
        if !tree.join("plain.txt").exists() {
            write_tree(&tree);
        }
        let (tree, target) = (text(&tree), format!(":sftp:{remote}"));
        self.run(&["sync", "--create-empty-src-dirs", tree, &target]);
        let before = self.opened();
        self.run(&["sync", "--create-empty-src-dirs", tree, &target]);
        assert_eq!(self.opened(), before, "the second time there is nothing to do");
        self.run(&["check", "--size-only", tree, &target]);
        self.run(&["check", "--download", tree, &target]);
        let back = self.0.local(&format!("back{}", remote.replace('/', "-")));
        self.run(&["sync", "--create-empty-src-dirs", &target, text(&back)]);
        assert_same_tree(&back, &self.0.local("tree"));
    }

    fn opened(&self) -> usize {
        self.0.gateway.events.of_type("OPEN").len()
    }
}

/// Both stores in one home.
#[test]
fn rclone_syncs_once() {
    let place = place_with(Kind::Local, |setup| {
        let store = s3::new_store();
        setup.store("lake", json!({ "url": store.url(), "options": store.options() }));
        let home = setup.config["users"][0]["home"].as_array_mut().unwrap();
        home.push(json!({ "entry": "/lake", "target": "lake:/" }));
    });
    Rclone(&place).check_sync("/sync");
    Rclone(&place).check_sync("/lake/sync");
    // From one to the other, through the client.
    Rclone(&place).run(&["moveto", ":sftp:/sync/many", ":sftp:/lake/moved"]);
    assert_eq!(Rclone(&place).run(&["lsf", ":sftp:/lake/moved"]).lines().count(), 10);
    assert!(!place.has_folder("sync/many"));
    place.gateway.stop();
}

/// By default rclone looks for a shell and for programs that make checksums. Each is refused once, and it compares without.
#[test]
fn rclone_checks_without_a_shell() {
    let place = place();
    let tree = place.setup.subfolder("tree");
    write_tree(&tree);
    let (tree, remote) = (text(&tree), ":sftp:/checked");
    Rclone(&place).run(&["copy", "--create-empty-src-dirs", tree, remote]);
    let before = place.gateway.events.all().len();
    Rclone(&place).run(&["check", tree, remote]);
    let events = place.gateway.events.all().split_off(before);
    let count = |kind: &str| events.iter().filter(|event| field(event, "activity-type") == kind).count();
    let (connections, refused) = (count("CONNECTED"), count("REQUEST_DENIED"));
    assert!(connections <= 9, "{connections} connections: {events:#?}");
    assert!((1..=7).contains(&refused), "{refused} commands were refused: {events:#?}");

    // A file that differs in its length is found, and one that differs in its bytes where they are compared.
    fs::write(place.root().join("checked/plain.txt"), "other").unwrap();
    let differ = place.local("differ");
    Rclone(&place).command(&["check", "--differ", text(&differ), tree, remote]).complained();
    assert_eq!(fs::read_to_string(differ).unwrap(), "plain.txt\n");
    place.gateway.stop();
}

/// A web server whose first answers end in the middle of the file, and its address.
fn flaky_source(file: &Path, failures: &str) -> (Server, String) {
    let mut command = python("flaky_source.py");
    command.arg(file).arg(failures).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut server = Server::start(&mut command, None);
    let mut port = String::new();
    BufReader::new(server.child.stdout.take().unwrap()).read_line(&mut port).unwrap();
    (server, format!("http://127.0.0.1:{}", port.trim()))
}

/// When its source fails, rclone removes what it has begun, without closing it, and begins again.
#[test]
fn rclone_begins_again_when_its_source_fails() {
    on_each_store(|place| {
        let source = place.local("source");
        for length in [40_000, 3_000_000, 2 * LARGE] {
            write_noise(&source, length, length);
            let (_server, address) = flaky_source(&source, "2");
            let patience = ["--low-level-retries", "1", "--retries", "4"];
            Rclone(place)
                .run(&[&["--http-url", &address], &patience[..], &["copyto", ":http:file", ":sftp:/copied"]].concat());
            place.assert_holds("copied", &source);
            assert_eq!(place.mtime("copied"), LONG_AGO);
            Rclone(place).run(&["deletefile", ":sftp:/copied"]);
        }
    });
}

#[test]
fn rclone() {
    on_each_store(|place| {
        let rclone = Rclone(place);
        check_files(place, &rclone);
        check_trees(place, &rclone);
        check_names(place, &rclone);
        check_times(place, &rclone);
        check_other_commands(place, &rclone);
        place.assert_all_closed();
    });
}

/// What it has for scripts, and the checksums that it has to make itself.
#[track_caller]
fn check_other_commands(place: &Place, rclone: &Rclone<'_>) {
    rclone.command_with(&["rcat", ":sftp:/small"], b"0123456789").succeeded();
    place.assert_holds_bytes("small", b"0123456789");
    assert_eq!(rclone.run(&["cat", "--offset", "3", "--count", "4", ":sftp:/small"]), "3456");
    assert_eq!(rclone.run(&["cat", "--tail", "2", ":sftp:/small"]), "89");
    // Beyond what it keeps in memory it does not know the length in advance.
    let stream = noise(LARGE, 41);
    rclone.command_with(&["rcat", ":sftp:/stream"], &stream).succeeded();
    place.assert_holds_bytes("stream", &stream);
    rclone.run(&["touch", "-t", "2015-03-04T05:06:07", ":sftp:/touched"]);
    assert!(place.has("touched"));
    assert!(rclone.run(&["lsl", ":sftp:/touched"]).contains("0 2015-03-04 05:06:07"));
    let json =
        |arguments: &[&str]| -> serde_json::Value { serde_json::from_str(&rclone.run(arguments)).expect("JSON") };
    assert!(json(&["about", "--json", ":sftp:/"])["free"].as_u64() > Some(0));
    assert_eq!(json(&["size", "--json", ":sftp:/tree"])["count"], 29);
    let file = place.local("summed");
    write_noise(&file, 100_000, 42);
    rclone.put(text(&file), "/summed");
    let expected = run_with(program("md5sum").arg(&file), b"", LIMIT).succeeded().stdout;
    let sums = rclone.run(&["md5sum", "--download", ":sftp:/summed"]);
    assert_eq!(sums.split(' ').next(), expected.split(' ').next());
    rclone.command(&["md5sum", ":sftp:/summed"]).complained();
    rclone.run(&["moveto", ":sftp:/tree", ":sftp:/tree moved"]);
    rclone.run(&["purge", ":sftp:/tree moved"]);
    assert!(!place.has_folder("tree") && !place.has_folder("tree moved"));
}
