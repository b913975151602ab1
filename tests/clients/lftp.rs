//! lftp, which speaks SFTP itself over a connection that ssh makes.

use crate::checks::{
    Files, Names, Resumes, Trees, check_download_time, check_files, check_names, check_resume, check_trees,
    check_upload_time, text,
};
use crate::place::{Place, on_each_store};
use crate::support::data::{assert_same_bytes, assert_same_tree, write_noise, write_tree};
use crate::support::events::field;
use crate::support::process::{Finished, program, run};

pub struct Lftp<'a>(pub &'a Place);

impl Lftp<'_> {
    #[track_caller]
    fn run(&self, commands: &str) -> String {
        self.command(commands).succeeded().stdout
    }

    #[track_caller]
    pub fn command(&self, commands: &str) -> Finished {
        let place = self.0;
        let ssh = place.ssh();
        let script = format!(
            "set cmd:fail-exit true; set net:max-retries 1; set net:timeout 600; set sftp:connect-program \"{ssh}\"; \
             set sftp:charset UTF-8; set file:charset UTF-8; open -u alice, sftp://127.0.0.1:{}; {commands}",
            place.port()
        );
        run(program("lftp").env("LFTP_HOME", place.setup.folder()).args(["--norc", "-c", &script]))
    }
}

fn quoted(path: &str) -> String {
    format!("\"{}\"", path.replace('\\', "\\\\").replace('"', "\\\""))
}

impl Files for Lftp<'_> {
    fn put(&self, local: &str, remote: &str) {
        self.run(&format!("put {} -o {}", quoted(local), quoted(remote)));
    }

    fn get(&self, remote: &str, local: &str) {
        self.run(&format!("get {} -o {}", quoted(remote), quoted(local)));
    }
}

impl Trees for Lftp<'_> {
    fn put_tree(&self, local: &str, remote: &str) {
        self.run(&format!("mirror --reverse --parallel=4 {local} {remote}"));
    }

    fn get_tree(&self, remote: &str, local: &str) {
        self.run(&format!("mirror --parallel=4 {remote} {local}"));
    }
}

impl Names for Lftp<'_> {
    fn list(&self, remote: &str) -> String {
        self.run(&format!("cls -1 {remote}"))
    }

    fn rename(&self, from: &str, to: &str) {
        self.run(&format!("mv {from} {to}"));
    }

    fn remove(&self, remote: &str) {
        self.run(&format!("rm {remote}"));
    }

    fn mkdir(&self, remote: &str) {
        self.run(&format!("mkdir {remote}"));
    }

    fn rmdir(&self, remote: &str) {
        self.run(&format!("rmdir {remote}"));
    }
}

impl Resumes for Lftp<'_> {
    fn reput(&self, local: &str, remote: &str) {
        self.run(&format!("put -c {local} -o {remote}"));
    }

    fn reget(&self, remote: &str, local: &str) {
        self.run(&format!("get -c {remote} -o {local}"));
    }
}

#[test]
fn lftp() {
    on_each_store(|place| {
        let lftp = Lftp(place);
        check_files(place, &lftp);
        check_trees(place, &lftp);
        check_names(place, &lftp);
        check_resume(place, &lftp);
        check_upload_time(place, |local, remote| lftp.put(local, remote));
        check_download_time(place, |remote, local| lftp.get(remote, local));
        // In four pieces at once, on connections of their own.
        let (source, back) = (place.local("resumed"), place.local("in-pieces"));
        lftp.run(&format!("pget -n 4 /resumed -o {}", text(&back)));
        assert_same_bytes(&back, &source);
        check_mirror(place, &lftp);
    });
}

/// The second time there is nothing to do, for the times were kept; then only what is new, and what is gone.
#[track_caller]
fn check_mirror(place: &Place, lftp: &Lftp<'_>) {
    let opened = || place.gateway.events.all().iter().filter(|e| field(e, "activity-type") == "OPEN").count();
    let tree = place.setup.subfolder("mirrored");
    write_tree(&tree);
    let up = format!("mirror --reverse --delete --parallel=4 {} /mirrored", text(&tree));
    lftp.run(&up);
    let before = opened();
    lftp.run(&up);
    assert_eq!(opened(), before, "the second time there is nothing to do");
    std::fs::remove_file(tree.join("plain.txt")).unwrap();
    write_noise(&tree.join("many/new"), 10_000, 3);
    lftp.run(&up);
    assert_eq!(opened(), before + 1, "one file is new");
    place.assert_holds_tree("mirrored", &tree);
    let back = place.local("mirrored-back");
    let down = format!("mirror --delete --parallel=4 --use-pget-n=2 /mirrored {}", text(&back));
    lftp.run(&down);
    assert_same_tree(&back, &tree);
    let before = opened();
    lftp.run(&down);
    assert_eq!(opened(), before, "the second time there is nothing to do");
}
