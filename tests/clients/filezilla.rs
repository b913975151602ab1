//! FileZilla's engine, `fzsftp`, with the commands that FileZilla gives it.

use crate::putty::Putty;
use crate::support::process::{python, run, tool};
use crate::{Files, Names, Place, Trees, check_files, check_names, check_resume, check_trees, mtime, place};

struct FileZilla<'a>(&'a Place, Putty<'a>);

impl FileZilla<'_> {
    #[track_caller]
    fn run(&self, arguments: &[&str]) -> String {
        let mut command = python("filezilla_client.py");
        command.arg(tool("fzsftp")).args([&self.0.port(), "alice"]).arg(&self.1.key);
        run(command.args(arguments)).succeeded().stdout
    }
}

impl Files for FileZilla<'_> {
    fn put(&self, local: &str, remote: &str) {
        self.run(&["put", local, remote]);
    }

    fn get(&self, remote: &str, local: &str) {
        self.run(&["get", remote, local]);
    }
}

impl Trees for FileZilla<'_> {
    fn put_tree(&self, local: &str, remote: &str) {
        self.run(&["put_tree", local, remote]);
    }

    fn get_tree(&self, remote: &str, local: &str) {
        self.run(&["get_tree", remote, local]);
    }
}

impl Names for FileZilla<'_> {
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
fn filezilla() {
    let place = place();
    let filezilla = FileZilla(&place, Putty::new(&place));
    check_files(&place, &filezilla);
    check_trees(&place, &filezilla);
    check_names(&place, &filezilla);
    let run = |verb: &str, from: &str, to: &str| drop(filezilla.run(&[verb, from, to]));
    check_resume(&place, |from, to| run("reput", from, to), |from, to| run("reget", from, to));
    assert_eq!(mtime(&place.root.join("resumed")), mtime(&place.local("resumed")), "the time is kept");
    place.gateway.stop();
}
