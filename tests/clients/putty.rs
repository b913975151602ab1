//! PuTTY's `psftp`, and `pscp` in both modes.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::checks::{Files, Names, Resumes, Trees, check_files, check_names, check_resume, check_times, check_trees};
use crate::openssh::backslashed;
use crate::place::{Place, on_each_store};
use crate::support::process::{Finished, program, run};

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
        self.psftp_command(script).succeeded().stdout
    }

    #[track_caller]
    pub fn psftp_command(&self, script: &str) -> Finished {
        let file = self.place.local("psftp-script");
        fs::write(&file, script).unwrap();
        run(self.command("psftp").arg("-b").arg(file).arg("alice@127.0.0.1"))
    }
}

fn quoted(path: &str) -> String {
    format!("\"{}\"", path.replace('"', "\"\""))
}

impl Files for Putty<'_> {
    fn put(&self, local: &str, remote: &str) {
        self.psftp(&format!("put {} {}\n", quoted(local), quoted(remote)));
    }

    fn get(&self, remote: &str, local: &str) {
        self.psftp(&format!("get {} {}\n", quoted(remote), quoted(local)));
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

    fn rmdir(&self, remote: &str) {
        self.psftp(&format!("rmdir {remote}\n"));
    }
}

impl Resumes for Putty<'_> {
    fn reput(&self, local: &str, remote: &str) {
        self.psftp(&format!("reput {local} {remote}\n"));
    }

    fn reget(&self, remote: &str, local: &str) {
        self.psftp(&format!("reget {remote} {local}\n"));
    }
}

#[test]
fn psftp() {
    on_each_store(|place| {
        let putty = Putty::new(place);
        check_files(place, &putty);
        check_trees(place, &putty);
        check_names(place, &putty);
        check_resume(place, &putty);
        check_several(place, &putty);
        // With each channel it asks for something of its own.
        let log = place.gateway.log();
        assert!(!log.contains("channel request"), "{log}");
    });
}

/// `mput`, `mget`, patterns, and what else it knows.
#[track_caller]
fn check_several(place: &Place, putty: &Putty<'_>) {
    let (folder, back) = (place.setup.subfolder("several"), place.setup.subfolder("several-back"));
    for name in ["one.txt", "two.txt"] {
        fs::write(folder.join(name), name).unwrap();
    }
    let script = [
        "mkdir several",
        "cd several",
        &format!("lcd {}", folder.display()),
        "mput one.txt two.txt",
        &format!("lcd {}", back.display()),
        "mget *.txt",
        "chmod 600 one.txt",
        "del t*.txt",
        "ls *.txt",
    ];
    let said = putty.psftp(&(script.join("\n") + "\n"));
    for name in ["one.txt", "two.txt"] {
        assert_eq!(fs::read(back.join(name)).unwrap(), name.as_bytes());
    }
    assert!(said.trim_end().ends_with(" one.txt"), "{said}");
    assert!(place.has("several/one.txt") && !place.has("several/two.txt"));
}

/// `pscp`, in either mode.
pub struct Pscp<'a>(pub Putty<'a>, pub &'a str);

impl Pscp<'_> {
    #[track_caller]
    fn run(&self, flags: &[&str], from: &str, to: &str) {
        self.command(flags, &[from, to]).succeeded();
    }

    #[track_caller]
    pub fn command(&self, flags: &[&str], words: &[&str]) -> Finished {
        run(self.0.command("pscp").arg(self.1).args(flags).args(words))
    }

    /// As with `scp -O`, the path goes to what is a shell elsewhere.
    pub fn remote(&self, path: &str) -> String {
        let path = if self.1 == "-scp" { backslashed(path) } else { path.into() };
        format!("alice@127.0.0.1:{path}")
    }
}

impl Files for Pscp<'_> {
    fn put(&self, local: &str, remote: &str) {
        self.run(&["-p"], local, &self.remote(remote));
    }

    fn get(&self, remote: &str, local: &str) {
        self.run(&["-p"], &self.remote(remote), local);
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
    on_each_store(|place| {
        let pscp = Pscp(Putty::new(place), "-sftp");
        check_files(place, &pscp);
        check_trees(place, &pscp);
        check_times(place, &pscp);
        let listed = pscp.command(&["-ls"], &[&pscp.remote("/tree/many")]).succeeded().stdout;
        assert_eq!(listed.lines().filter(|line| line.starts_with("-rw-r--r--")).count(), 10, "{listed}");
    });
}

#[test]
fn pscp_with_the_scp_protocol() {
    on_each_store(|place| {
        let pscp = Pscp(Putty::new(place), "-scp");
        check_files(place, &pscp);
        check_trees(place, &pscp);
        check_times(place, &pscp);
    });
}
