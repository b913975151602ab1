//! restic, whose repository lies in a home.

use std::fs;

use crate::checks::text;
use crate::place::{Place, on_each_store};
use crate::support::data::{assert_same_tree, write_noise, write_tree};
use crate::support::process::{program, run};

struct Restic<'a>(&'a Place);

impl Restic<'_> {
    #[track_caller]
    fn run(&self, arguments: &[&str]) {
        let mut command = program("restic");
        command.env("RESTIC_PASSWORD", "correct horse").env("TMPDIR", self.0.setup.folder());
        command.args(["--no-cache", "--quiet", "--repo", "sftp:alice@127.0.0.1:/repository"]);
        command.arg("--option").arg(format!("sftp.command={} alice@127.0.0.1 -s sftp", self.0.ssh()));
        run(command.args(arguments)).succeeded();
    }
}

#[test]
fn restic() {
    on_each_store(|place| {
        let restic = Restic(place);
        let (tree, back) = (place.setup.subfolder("tree"), place.setup.subfolder("back"));
        write_tree(&tree);
        write_noise(&tree.join("large"), 20_000_000, 1);
        restic.run(&["init"]);
        assert!(place.has("repository/config"));
        restic.run(&["backup", text(&tree)]);
        restic.run(&["check", "--read-data"]);
        fs::remove_file(tree.join("plain.txt")).unwrap();
        write_noise(&tree.join("large"), 10_000_000, 2);
        restic.run(&["backup", text(&tree)]);
        // What only the first needs is removed, and what is left in part is written anew.
        restic.run(&["forget", "--keep-last", "1", "--prune"]);
        restic.run(&["check", "--read-data"]);
        restic.run(&["restore", "latest", "--target", text(&back)]);
        assert_same_tree(&back.join(text(&tree).trim_start_matches('/')), &tree);
        place.assert_all_closed();
    });
}
