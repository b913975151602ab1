//! Node's ssh2.

use std::path::Path;

use crate::support::process::{program, run, tool};
use crate::{Place, Scripted, check_files, check_names, check_resume, check_trees, place};

/// A script of `tests/clients/` that does one operation.
struct Node<'a>(&'a Place);

impl Scripted for Node<'_> {
    #[track_caller]
    fn run(&self, arguments: &[&str]) -> String {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients/node_client.js");
        let mut command = program("node");
        command.env("NODE_PATH", tool("node/node_modules")).arg(script);
        command.args([&self.0.port(), "alice"]).arg(&self.0.key.private);
        run(command.args(arguments)).succeeded().stdout
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
