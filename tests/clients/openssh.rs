//! OpenSSH's clients: `sftp`, and `scp` in both modes.

use crate::support::client::quoted;
use crate::{Files, Names, Place, Trees, check_files, check_names, check_resume, check_trees, place};

/// OpenSSH's `sftp -b`.
struct Sftp<'a>(&'a Place);

impl Files for Sftp<'_> {
    fn put(&self, local: &str, remote: &str) {
        self.0.client().sftp(&format!("put {} {}\n", quoted(local), quoted(remote))).succeeded();
    }

    fn get(&self, remote: &str, local: &str) {
        self.0.client().sftp(&format!("get {} {}\n", quoted(remote), quoted(local))).succeeded();
    }
}

impl Trees for Sftp<'_> {
    fn put_tree(&self, local: &str, remote: &str) {
        self.0.client().sftp(&format!("mkdir {remote}\nput -pr {local}/. {remote}\n")).succeeded();
    }

    fn get_tree(&self, remote: &str, local: &str) {
        self.0.client().sftp(&format!("get -pr {remote} {local}\n")).succeeded();
    }
}

impl Names for Sftp<'_> {
    fn list(&self, remote: &str) -> String {
        self.0.client().sftp(&format!("ls -1 {remote}\n")).succeeded().stdout
    }

    fn rename(&self, from: &str, to: &str) {
        self.0.client().sftp(&format!("rename {from} {to}\n")).succeeded();
    }

    fn remove(&self, remote: &str) {
        self.0.client().sftp(&format!("rm {remote}\n")).succeeded();
    }

    fn mkdir(&self, remote: &str) {
        self.0.client().sftp(&format!("mkdir {remote}\n")).succeeded();
    }
}

#[test]
fn openssh_sftp() {
    let place = place();
    check_files(&place, &Sftp(&place));
    check_trees(&place, &Sftp(&place));
    check_names(&place, &Sftp(&place));
    let run = |command: &str, from: &str, to: &str| {
        place.client().sftp(&format!("{command} {} {}\n", quoted(from), quoted(to))).succeeded();
    };
    check_resume(&place, |from, to| run("reput", from, to), |from, to| run("reget", from, to));
    place.gateway.stop();
}

/// OpenSSH's `scp`, in either mode.
struct Scp<'a>(&'a Place, &'a [&'a str]);

impl Scp<'_> {
    #[track_caller]
    fn run(&self, flags: &[&str], from: &str, to: &str) {
        let mut arguments = self.1.to_vec();
        arguments.extend(flags);
        arguments.extend([from, to]);
        self.0.client().scp(arguments).succeeded();
    }
}

impl Files for Scp<'_> {
    fn put(&self, local: &str, remote: &str) {
        self.run(&["-p"], local, &self.0.client().remote(&self.quoted(remote)));
    }

    fn get(&self, remote: &str, local: &str) {
        self.run(&["-p"], &self.0.client().remote(&self.quoted(remote)), local);
    }
}

impl Scp<'_> {
    /// The SCP protocol hands the path to what is a shell elsewhere; the mode that speaks SFTP does not. (A backslash, for
    /// the client compares what it gets with what it asked for, and does not understand quotes.)
    fn quoted(&self, path: &str) -> String {
        if self.1.contains(&"-O") { path.replace(' ', "\\ ") } else { path.into() }
    }
}

impl Trees for Scp<'_> {
    fn put_tree(&self, local: &str, remote: &str) {
        self.run(&["-r"], local, &self.0.client().remote(remote));
    }

    fn get_tree(&self, remote: &str, local: &str) {
        self.run(&["-r"], &self.0.client().remote(remote), local);
    }
}

#[test]
fn openssh_scp() {
    let place = place();
    check_files(&place, &Scp(&place, &[]));
    check_trees(&place, &Scp(&place, &[]));
    place.gateway.stop();
}

#[test]
fn openssh_scp_with_the_scp_protocol() {
    let place = place();
    check_files(&place, &Scp(&place, &["-O"]));
    check_trees(&place, &Scp(&place, &["-O"]));
    place.gateway.stop();
}
