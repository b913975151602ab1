//! rclone, with Go's SSH and SFTP libraries.

use serde_json::json;

use crate::support::data::{assert_same_tree, write_tree};
use crate::support::events::field;
use crate::support::process::{Finished, program, run};
use crate::support::s3;
use crate::{Files, Names, Place, Trees, check_files, check_names, check_trees, place, place_with};

/// rclone with its defaults: it looks for a shell and for checksum programs first, and must do without.
struct Rclone<'a>(&'a Place);

impl Rclone<'_> {
    #[track_caller]
    fn run(&self, arguments: &[&str]) -> String {
        self.command(arguments).succeeded().stdout
    }

    #[track_caller]
    fn command(&self, arguments: &[&str]) -> Finished {
        let place = self.0;
        let mut command = program("rclone");
        command.env("RCLONE_CONFIG", place.local("rclone.conf")).args(["--retries", "1", "--contimeout", "20s"]);
        command.args(["--sftp-host", "127.0.0.1", "--sftp-port", &place.port(), "--sftp-user", "alice"]);
        command.arg("--sftp-key-file").arg(&place.key.private);
        command.arg("--sftp-known-hosts-file").arg(place.gateway.known_hosts());
        run(command.args(arguments))
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
        self.run(&["copy", "--create-empty-src-dirs", local, &format!(":sftp:{remote}")]);
        // Compares what is there, by downloading it.
        self.run(&["check", "--download", local, &format!(":sftp:{remote}")]);
    }

    fn get_tree(&self, remote: &str, local: &str) {
        self.run(&["copy", "--create-empty-src-dirs", &format!(":sftp:{remote}"), local]);
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
}

impl Rclone<'_> {
    /// What a second run of `sync` does is nothing, because the times were kept.
    #[track_caller]
    fn check_sync(&self, remote: &str) {
        let tree = self.0.setup.subfolder("tree");
        if !tree.join("plain.txt").exists() {
            write_tree(&tree);
        }
        let (tree, target) = (tree.to_str().unwrap(), format!(":sftp:{remote}"));
        self.run(&["sync", "--create-empty-src-dirs", tree, &target]);
        let before = self.opened();
        self.run(&["sync", "--create-empty-src-dirs", tree, &target]);
        assert_eq!(self.opened(), before, "the second time there is nothing to do");
        self.run(&["check", "--size-only", tree, &target]);
        self.run(&["check", "--download", tree, &target]);
        let back = self.0.local(&format!("back{}", remote.replace('/', "-")));
        self.run(&["sync", "--create-empty-src-dirs", &target, back.to_str().unwrap()]);
        assert_same_tree(&back, &self.0.local("tree"));
    }

    fn opened(&self) -> usize {
        self.0.gateway.events.of_type("OPEN").len()
    }
}

#[test]
fn rclone_syncs_once() {
    let place = place_with(|setup| {
        let store = s3::new_store();
        setup.store("lake", json!({ "url": store.url(), "options": store.options() }));
        let home = setup.config["users"][0]["home"].as_array_mut().unwrap();
        home.push(json!({ "entry": "/lake", "target": "lake:/" }));
    });
    Rclone(&place).check_sync("/sync");
    Rclone(&place).check_sync("/lake/sync");
    place.gateway.stop();
}

/// By default rclone looks for a shell and for programs that make checksums. Each is refused once, and it compares without.
#[test]
fn rclone_checks_without_a_shell() {
    let place = place();
    let tree = place.setup.subfolder("tree");
    write_tree(&tree);
    let (tree, remote) = (tree.to_str().unwrap(), ":sftp:/checked");
    Rclone(&place).run(&["copy", "--create-empty-src-dirs", tree, remote]);
    let before = place.gateway.events.all().len();
    let said = Rclone(&place).command(&["check", "-vv", tree, remote]).succeeded().stderr;
    assert!(said.contains("0 differences found") && said.contains("29 hashes could not be checked"), "{said}");
    let errors: Vec<&str> = said.lines().filter(|line| line.contains("ERROR")).collect();
    assert!(errors.len() == 1 && errors[0].contains("No common hash found"), "{errors:?}");
    assert!(!said.to_lowercase().contains("retry"), "{said}");
    let events = place.gateway.events.all().split_off(before);
    let count = |kind: &str| events.iter().filter(|event| field(event, "activity-type") == kind).count();
    let (connections, refused) = (count("CONNECTED"), count("REQUEST_DENIED"));
    assert!(connections <= 9, "{connections} connections: {events:#?}");
    assert!((1..=7).contains(&refused), "{refused} commands were refused: {events:#?}");

    // A file that differs in its length is found, and one that differs in its bytes where they are compared.
    std::fs::write(place.root.join("checked/plain.txt"), "other").unwrap();
    let said = Rclone(&place).command(&["check", tree, remote]).failed().stderr;
    assert!(said.contains("plain.txt: sizes differ") && said.contains("1 differences found"), "{said}");
    place.gateway.stop();
}

#[test]
fn rclone() {
    let place = place();
    check_files(&place, &Rclone(&place));
    check_trees(&place, &Rclone(&place));
    check_names(&place, &Rclone(&place));
    place.gateway.stop();
}
