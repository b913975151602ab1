//! JSch, which most Java programs that speak SFTP use.

use std::path::Path;

use crate::support::process::{program, run, tool};
use crate::{Place, Scripted, check_files, check_names, check_resume, check_trees, place};

/// A program of `tests/clients/` that does one operation.
struct Jsch<'a>(&'a Place);

impl Scripted for Jsch<'_> {
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
