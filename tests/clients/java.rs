//! JSch, which most Java programs that speak SFTP use.

use std::path::Path;

use crate::support::process::{program, run, tool};
use crate::{Files, Names, Place, Trees, check_files, check_names, check_resume, check_trees, place};

/// A program of `tests/clients/` that does one operation.
struct Jsch<'a>(&'a Place);

impl Jsch<'_> {
    #[track_caller]
    fn run(&self, arguments: &[&str]) -> String {
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients/JschClient.java");
        let mut command = program("java");
        // Names are UTF-8 whatever the locale is.
        command.args(["-Dfile.encoding=UTF-8", "-Dsun.jnu.encoding=UTF-8"]).env("LC_ALL", "C.UTF-8");
        command.arg("-cp").arg(tool("java/jsch.jar")).arg(source);
        command.args([&self.0.port(), "alice"]).arg(&self.0.key.private).arg(self.0.gateway.known_hosts());
        run(command.args(arguments)).succeeded().stdout
    }
}

impl Files for Jsch<'_> {
    fn put(&self, local: &str, remote: &str) {
        self.run(&["put", local, remote]);
    }

    fn get(&self, remote: &str, local: &str) {
        self.run(&["get", remote, local]);
    }
}

impl Trees for Jsch<'_> {
    fn put_tree(&self, local: &str, remote: &str) {
        self.run(&["put_tree", local, remote]);
    }

    fn get_tree(&self, remote: &str, local: &str) {
        self.run(&["get_tree", remote, local]);
    }
}

impl Names for Jsch<'_> {
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
fn jsch() {
    let place = place();
    let jsch = Jsch(&place);
    check_files(&place, &jsch);
    check_trees(&place, &jsch);
    check_names(&place, &jsch);
    check_resume(
        &place,
        |from, to| drop(jsch.run(&["reput", from, to])),
        |from, to| drop(jsch.run(&["reget", from, to])),
    );
    place.gateway.stop();
}
