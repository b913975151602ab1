//! Python's libraries: paramiko and asyncssh.

use crate::support::data::write_noise;
use crate::support::process::{Finished, program, python, run};
use crate::{Place, Scripted, check_files, check_names, check_trees, mtime, place, set_mtime};

/// A script of `tests/clients/` that does one operation.
struct Script<'a>(&'a Place, &'a str);

impl Scripted for Script<'_> {
    #[track_caller]
    fn run(&self, arguments: &[&str]) -> String {
        self.ask(arguments).succeeded().stdout
    }
}

impl Script<'_> {
    #[track_caller]
    fn ask(&self, arguments: &[&str]) -> Finished {
        let mut command = python(self.1);
        command.args([&self.0.port(), "alice"]).arg(&self.0.key.private);
        run(command.args(arguments))
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

/// The module scp, which speaks SCP over paramiko's channels.
#[test]
fn python_scp() {
    let place = place();
    let script = Script(&place, "scp_client.py");
    check_files(&place, &script);
    check_trees(&place, &script);
    let names = ["plain.txt", "deep", "empty folder"];
    let [tree, stored, back] = [place.local("tree"), place.root.join("timed"), place.local("timed-back")];
    names.iter().for_each(|name| set_mtime(&tree.join(name), 1_234_567_890));
    script.run(&["put_tree", tree.to_str().unwrap(), "/timed"]);
    script.run(&["get_tree", "/timed", back.to_str().unwrap()]);
    for (tree, name) in [&stored, &back].into_iter().flat_map(|tree| names.map(|name| (tree, name))) {
        assert_eq!(mtime(&tree.join(name)), 1_234_567_890, "{name} in {}", tree.display());
    }
    let missing = script.ask(&["get", "/missing", "/nowhere"]).failed();
    assert!(missing.stderr.contains("/missing: No such file or directory"), "{missing}");
    place.gateway.stop();
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
