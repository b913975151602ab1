//! Node's ssh2.

use std::path::Path;

use crate::support::process::{program, run, tool};
use crate::{Files, Names, Place, Trees, check_files, check_names, check_resume, check_trees, place};

/// A script of `tests/clients/` that does one operation.
struct Node<'a>(&'a Place);

impl Node<'_> {
    #[track_caller]
    fn run(&self, arguments: &[&str]) -> String {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients/node_client.js");
        let mut command = program("node");
        command.env("NODE_PATH", tool("node/node_modules")).arg(script);
        command.args([&self.0.port(), "alice"]).arg(&self.0.key.private);
        run(command.args(arguments)).succeeded().stdout
    }
}

impl Files for Node<'_> {
    fn put(&self, local: &str, remote: &str) {
        self.run(&["put", local, remote]);
    }

    fn get(&self, remote: &str, local: &str) {
        self.run(&["get", remote, local]);
    }
}

impl Trees for Node<'_> {
    fn put_tree(&self, local: &str, remote: &str) {
        self.run(&["put_tree", local, remote]);
    }

    fn get_tree(&self, remote: &str, local: &str) {
        self.run(&["get_tree", remote, local]);
    }
}

impl Names for Node<'_> {
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
fn node_ssh2() {
    let place = place();
    let node = Node(&place);
    check_files(&place, &node);
    check_trees(&place, &node);
    check_names(&place, &node);
    check_resume(
        &place,
        |from, to| drop(node.run(&["reput", from, to])),
        |from, to| drop(node.run(&["reget", from, to])),
    );
    place.gateway.stop();
}
