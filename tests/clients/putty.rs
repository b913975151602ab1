//! PuTTY's `psftp`, and `pscp` in both modes.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::support::process::{program, run};
use crate::{Files, Names, Place, Trees, check_files, check_names, check_resume, check_trees, place};

/// PuTTY's tools: their key format, and the host key named by its fingerprint.
pub struct Putty<'a> {
    place: &'a Place,
    pub key: PathBuf,
}

impl<'a> Putty<'a> {
    pub fn new(place: &'a Place) -> Putty<'a> {
        let key = place.local("alice.ppk");
        run(program("puttygen").arg(&place.key.private).args(["-O", "private", "-o"]).arg(&key)).succeeded();
        Putty { place, key }
    }

    pub fn command(&self, name: &str) -> Command {
        let mut command = program(name);
        // Their random seed and their settings stay out of the home of whoever runs the tests.
        command.env("HOME", self.place.setup.folder());
        command.args(["-batch", "-P", &self.place.port(), "-i"]).arg(&self.key);
        for key in self.place.setup.host_keys() {
            command.args(["-hostkey", &key.fingerprint().0]);
        }
        command
    }

    #[track_caller]
    fn psftp(&self, script: &str) -> String {
        let file = self.place.local("psftp-script");
        fs::write(&file, script).unwrap();
        run(self.command("psftp").arg("-b").arg(file).arg("alice@127.0.0.1")).succeeded().stdout
    }
}

impl Files for Putty<'_> {
    fn put(&self, local: &str, remote: &str) {
        self.psftp(&format!("put \"{local}\" \"{remote}\"\n"));
    }

    fn get(&self, remote: &str, local: &str) {
        self.psftp(&format!("get \"{remote}\" \"{local}\"\n"));
    }
}

impl Trees for Putty<'_> {
    fn put_tree(&self, local: &str, remote: &str) {
        self.psftp(&format!("put -r {local} {remote}\n"));
    }

    fn get_tree(&self, remote: &str, local: &str) {
        self.psftp(&format!("get -r {remote} {local}\n"));
    }
}

impl Names for Putty<'_> {
    fn list(&self, remote: &str) -> String {
        self.psftp(&format!("ls {remote}\n"))
    }

    fn rename(&self, from: &str, to: &str) {
        self.psftp(&format!("mv {from} {to}\n"));
    }

    fn remove(&self, remote: &str) {
        self.psftp(&format!("del {remote}\n"));
    }

    fn mkdir(&self, remote: &str) {
        self.psftp(&format!("mkdir {remote}\n"));
    }
}

#[test]
fn psftp() {
    let place = place();
    let putty = Putty::new(&place);
    check_files(&place, &putty);
    check_trees(&place, &putty);
    check_names(&place, &putty);
    let psftp = |command: &str, from: &str, to: &str| drop(putty.psftp(&format!("{command} \"{from}\" \"{to}\"\n")));
    check_resume(&place, |from, to| psftp("reput", from, to), |from, to| psftp("reget", from, to));
    place.gateway.stop();
}

/// `pscp`, in either mode.
struct Pscp<'a>(Putty<'a>, &'a str);

impl Pscp<'_> {
    #[track_caller]
    fn run(&self, flags: &[&str], from: &str, to: &str) {
        run(self.0.command("pscp").arg(self.1).args(flags).args([from, to])).succeeded();
    }

    fn remote(&self, path: &str) -> String {
        format!("alice@127.0.0.1:{path}")
    }

    /// As with `scp -O`, the path goes to what is a shell elsewhere.
    fn quoted(&self, path: &str) -> String {
        if self.1 == "-scp" { format!("'{path}'") } else { path.into() }
    }
}

impl Files for Pscp<'_> {
    fn put(&self, local: &str, remote: &str) {
        self.run(&["-p"], local, &self.remote(&self.quoted(remote)));
    }

    fn get(&self, remote: &str, local: &str) {
        self.run(&["-p"], &self.remote(&self.quoted(remote)), local);
    }
}

impl Trees for Pscp<'_> {
    /// It wants a directory that exists, and puts the tree into it under its own name.
    fn put_tree(&self, local: &str, remote: &str) {
        let parent = Path::new(remote).parent().unwrap().to_str().unwrap();
        assert_eq!(Path::new(local).file_name(), Path::new(remote).file_name());
        self.run(&["-r"], local, &self.remote(parent));
    }

    fn get_tree(&self, remote: &str, local: &str) {
        let around = format!("{local}.around");
        fs::create_dir(&around).unwrap();
        self.run(&["-r"], &self.remote(remote), &around);
        fs::rename(Path::new(&around).join(Path::new(remote).file_name().unwrap()), local).unwrap();
    }
}

#[test]
fn pscp_with_sftp() {
    let place = place();
    let pscp = Pscp(Putty::new(&place), "-sftp");
    check_files(&place, &pscp);
    check_trees(&place, &pscp);
    place.gateway.stop();
}

#[test]
fn pscp_with_the_scp_protocol() {
    let place = place();
    let pscp = Pscp(Putty::new(&place), "-scp");
    check_files(&place, &pscp);
    check_trees(&place, &pscp);
    place.gateway.stop();
}
