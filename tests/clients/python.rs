//! Python's libraries: paramiko and asyncssh.

use crate::support::data::write_noise;
use crate::support::process::{program, python, run};
use crate::{Files, Names, Place, Trees, check_files, check_names, check_trees, place};

/// A script of `tests/clients/` that does one operation.
struct Script<'a>(&'a Place, &'a str);

impl Script<'_> {
    #[track_caller]
    fn run(&self, arguments: &[&str]) -> String {
        let mut command = python(self.1);
        command.args([&self.0.port(), "alice"]).arg(&self.0.key.private);
        run(command.args(arguments)).succeeded().stdout
    }
}

impl Files for Script<'_> {
    fn put(&self, local: &str, remote: &str) {
        self.run(&["put", local, remote]);
    }

    fn get(&self, remote: &str, local: &str) {
        self.run(&["get", remote, local]);
    }
}

impl Trees for Script<'_> {
    fn put_tree(&self, local: &str, remote: &str) {
        self.run(&["put_tree", local, remote]);
    }

    fn get_tree(&self, remote: &str, local: &str) {
        self.run(&["get_tree", remote, local]);
    }
}

impl Names for Script<'_> {
    fn list(&self, remote: &str) -> String {
        self.run(&["list", remote])
    }

    fn rename(&self, from: &str, to: &str) {
        self.run(&["rename", from, to]);
    }

    fn remove(&self, remote: &str) {
        self.run(&["remove", remote]);
    }

    fn mkdir(&self, remote: &str) {
        self.run(&["mkdir", remote]);
    }
}

#[test]
fn paramiko() {
    let place = place();
    let script = Script(&place, "paramiko_client.py");
    check_files(&place, &script);
    check_trees(&place, &script);
    check_names(&place, &script);
    check_digests(&place, &script);
    place.gateway.stop();
}

/// paramiko's `SFTPFile.check`.
fn check_digests(place: &Place, script: &Script<'_>) {
    let file = place.root.join("hashed");
    write_noise(&file, 1_000_003, 5);
    for algorithm in ["md5", "sha1", "sha224", "sha256", "sha384", "sha512"] {
        let sum = run(program(&format!("{algorithm}sum")).arg(&file)).succeeded().stdout;
        let expected = sum.split_whitespace().next().unwrap();
        assert_eq!(script.run(&["check", "/hashed", algorithm, "0"]).trim(), expected, "{algorithm}");
    }
    let blocks = script.run(&["check", "/hashed", "sha1", "65536"]);
    assert_eq!(blocks.trim().len(), 16 * 40, "sixteen blocks");
}

#[test]
fn asyncssh() {
    let place = place();
    let script = Script(&place, "asyncssh_client.py");
    check_files(&place, &script);
    check_trees(&place, &script);
    check_names(&place, &script);
    place.gateway.stop();
}
