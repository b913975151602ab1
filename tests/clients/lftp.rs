//! lftp, which speaks SFTP itself over a connection that ssh makes.

use crate::support::data::assert_same_bytes;
use crate::support::process::{program, run};
use crate::{Files, Names, Place, Trees, check_files, check_names, check_resume, check_trees, place};

struct Lftp<'a>(&'a Place);

impl Lftp<'_> {
    #[track_caller]
    fn run(&self, commands: &str) -> String {
        let place = self.0;
        let ssh = format!(
            "ssh -a -x -F none -i {} -o IdentitiesOnly=yes -o IdentityAgent=none -o UserKnownHostsFile={}",
            place.key.private.display(),
            place.gateway.known_hosts().display()
        );
        let script = format!(
            "set cmd:fail-exit true; set net:max-retries 1; set net:timeout 20; set sftp:connect-program \"{ssh}\"; \
             open -u alice, sftp://127.0.0.1:{}; {commands}",
            place.port()
        );
        run(program("lftp").env("LFTP_HOME", place.setup.folder()).args(["--norc", "-c", &script])).succeeded().stdout
    }
}

impl Files for Lftp<'_> {
    fn put(&self, local: &str, remote: &str) {
        self.run(&format!("put \"{local}\" -o \"{remote}\""));
    }

    fn get(&self, remote: &str, local: &str) {
        self.run(&format!("get \"{remote}\" -o \"{local}\""));
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
}

#[test]
fn lftp() {
    let place = place();
    check_files(&place, &Lftp(&place));
    check_trees(&place, &Lftp(&place));
    check_names(&place, &Lftp(&place));
    let lftp = Lftp(&place);
    check_resume(
        &place,
        |from, to| drop(lftp.run(&format!("put -c \"{from}\" -o \"{to}\""))),
        |from, to| drop(lftp.run(&format!("get -c \"{from}\" -o \"{to}\""))),
    );
    // In four pieces at once, on connections of their own.
    let (source, back) = (place.local("resumed"), place.local("in-pieces"));
    lftp.run(&format!("pget -n 4 /resumed -o {}", back.display()));
    assert_same_bytes(&back, &source);
    place.gateway.stop();
}
