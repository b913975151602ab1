//! FileZilla's engine, `fzsftp`, with the commands that FileZilla gives it.

use crate::putty::Putty;
use crate::support::process::{python, run, tool};
use crate::{Place, Scripted, check_files, check_names, check_resume, check_trees, mtime, place};

struct FileZilla<'a>(&'a Place, Putty<'a>);

impl Scripted for FileZilla<'_> {
    #[track_caller]
    fn run(&self, arguments: &[&str]) -> String {
        let mut command = python("filezilla_client.py");
        command.arg(tool("fzsftp")).args([&self.0.port(), "alice"]).arg(&self.1.key);
        run(command.args(arguments)).succeeded().stdout
    }
}

#[test]
fn filezilla() {
    let place = place();
    let filezilla = FileZilla(&place, Putty::new(&place));
    check_files(&place, &filezilla);
    check_trees(&place, &filezilla);
    check_names(&place, &filezilla);
    for entry in filezilla.run(&["list", "/"]).lines() {
        // A time that is not known would show as this.
        assert!(!entry.contains("1970"), "{entry}");
    }
    let run = |verb: &str, from: &str, to: &str| drop(filezilla.run(&[verb, from, to]));
    check_resume(&place, |from, to| run("reput", from, to), |from, to| run("reget", from, to));
    assert_eq!(mtime(&place.root.join("resumed")), mtime(&place.local("resumed")), "the time is kept");
    place.gateway.stop();
}
