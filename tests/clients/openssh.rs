//! OpenSSH's clients: `sftp`, and `scp` in both modes.

use std::fs;

use crate::checks::{
    Files, LARGE, LONG_AGO, Names, Resumes, Trees, check_download_time, check_files, check_names, check_resume,
    check_times, check_trees, check_upload_time, text,
};
use crate::place::{Place, mtime, on_each_store, set_mtime};
use crate::support::client::quoted;
use crate::support::data::{assert_same_bytes, noise, write_noise};
use crate::support::process::{Finished, LIMIT, run_with};

/// OpenSSH's `sftp -b`.
pub struct Sftp<'a>(pub &'a Place);

impl Sftp<'_> {
    #[track_caller]
    pub fn run(&self, script: &str) -> String {
        self.with(&[], script).succeeded().stdout
    }

    #[track_caller]
    fn with(&self, flags: &[&str], script: &str) -> Finished {
        let client = self.0.client();
        let mut command = client.command("sftp");
        command.args(flags).args(["-b", "-"]).arg(client.host());
        run_with(&mut command, script.as_bytes(), LIMIT)
    }
}

impl Files for Sftp<'_> {
    fn put(&self, local: &str, remote: &str) {
        self.run(&format!("put -p {} {}\n", quoted(local), quoted(remote)));
    }

    fn get(&self, remote: &str, local: &str) {
        self.run(&format!("get -p {} {}\n", quoted(remote), quoted(local)));
    }
}

impl Trees for Sftp<'_> {
    fn put_tree(&self, local: &str, remote: &str) {
        self.run(&format!("mkdir {remote}\nput -pr {local}/. {remote}\n"));
    }

    fn get_tree(&self, remote: &str, local: &str) {
        self.run(&format!("get -pr {remote} {local}\n"));
    }
}

impl Names for Sftp<'_> {
    fn list(&self, remote: &str) -> String {
        self.run(&format!("ls -1 {remote}\n"))
    }

    fn rename(&self, from: &str, to: &str) {
        self.run(&format!("rename {from} {to}\n"));
    }

    fn remove(&self, remote: &str) {
        self.run(&format!("rm {remote}\n"));
    }

    fn mkdir(&self, remote: &str) {
        self.run(&format!("mkdir {remote}\n"));
    }

    fn rmdir(&self, remote: &str) {
        self.run(&format!("rmdir {remote}\n"));
    }
}

impl Resumes for Sftp<'_> {
    fn reput(&self, local: &str, remote: &str) {
        self.run(&format!("reput {local} {remote}\n"));
    }

    fn reget(&self, remote: &str, local: &str) {
        self.run(&format!("reget {remote} {local}\n"));
    }
}

/// `sftp -a`, with which `put` and `get` continue what is there.
struct Continuing<'a>(Sftp<'a>);

impl Resumes for Continuing<'_> {
    fn reput(&self, local: &str, remote: &str) {
        self.0.with(&["-a"], &format!("put {local} {remote}\n")).succeeded();
    }

    fn reget(&self, remote: &str, local: &str) {
        self.0.with(&["-a"], &format!("get {remote} {local}\n")).succeeded();
    }
}

#[test]
fn openssh_sftp() {
    on_each_store(|place| {
        let sftp = Sftp(place);
        check_files(place, &sftp);
        check_trees(place, &sftp);
        check_names(place, &sftp);
        check_resume(place, &sftp);
        check_resume(place, &Continuing(Sftp(place)));
        check_times(place, &sftp);
        check_listing(&sftp);
        place.assert_all_closed();
    });
}

/// Of the file of [`check_times`].
#[track_caller]
fn check_listing(sftp: &Sftp<'_>) {
    for (command, shown) in [
        ("ls -l /timed", &["-rw-r--r--", "alice", "40000", "2015", "/timed"] as &[&str]),
        ("ls -n /timed", &["-rw-r--r--", "40000", "2015", "/timed"]),
        ("ls -lh /timed", &["-rw-r--r--", "2015", "/timed"]),
    ] {
        let said = sftp.run(&format!("{command}\n"));
        let words: Vec<&str> = said.lines().last().unwrap().split_whitespace().collect();
        assert!(shown.iter().all(|word| words.contains(word)), "{command}: {said}");
    }
    let said = sftp.run("ls -la /\n");
    let names: Vec<&str> = said.lines().filter_map(|line| line.split(' ').next_back()).collect();
    assert!(["/.", "/..", "/timed"].iter().all(|name| names.contains(name)), "{said}");
    let said = sftp.run("ls -t1 /*med\n");
    assert_eq!(said.lines().skip(1).collect::<Vec<_>>(), ["/resumed", "/timed"], "the newest first");
    sftp.run("df /\ndf -h /\ndf -i /\n");
}

/// One request at a time and a thousand, of few bytes and of more than the gateway gives in one answer.
#[test]
fn openssh_sftp_with_any_number_and_size_of_requests() {
    on_each_store(|place| {
        let sftp = Sftp(place);
        let (source, back) = (place.local("source"), place.local("back"));
        write_noise(&source, LARGE, 21);
        // A WRITE of more than 256 KiB is refused by the client itself.
        for flags in ["-R 1", "-R 1024", "-B 32768", "-B 261120 -R 1024", "-B 1000 -R 512"] {
            let flags: Vec<&str> = flags.split(' ').collect();
            sftp.with(&flags, &format!("put {} /blocks\nget /blocks {}\n", text(&source), text(&back))).succeeded();
            place.assert_holds("blocks", &source);
            assert_same_bytes(&back, &source);
            fs::remove_file(&back).unwrap();
        }
        for size in ["262144", "1000000"] {
            sftp.with(&["-B", size, "-R", "1024"], &format!("get /blocks {}\n", text(&back))).succeeded();
            assert_same_bytes(&back, &source);
            fs::remove_file(&back).unwrap();
        }
    });
}

/// `cp`, `put` and `get` of several files, `chmod`, links, and names that only a directory can have.
#[test]
fn openssh_sftp_does_what_else_its_manual_has() {
    on_each_store(|place| {
        let sftp = Sftp(place);
        let source = place.local("source");
        write_noise(&source, LARGE, 22);
        sftp.run(&format!("put {} /source\ncp /source /copy\n", text(&source)));
        place.assert_holds("copy", &source);

        let (folder, back) = (place.setup.subfolder("several"), place.setup.subfolder("several-back"));
        for name in ["a 1.txt", "b[2].txt", "c*.txt"] {
            fs::write(folder.join(name), name).unwrap();
        }
        sftp.run(&format!("mkdir /several\nput {}/*.txt /several\n", text(&folder)));
        sftp.run(&format!("lcd {}\ncd several\nget *.txt\npwd\nlpwd\n", text(&back)));
        for name in ["a 1.txt", "b[2].txt", "c*.txt"] {
            assert_eq!(fs::read(back.join(name)).unwrap(), name.as_bytes());
        }
        sftp.run("rm /several/*.txt\n");
        assert!(!place.has("several/a 1.txt") && !place.has("several/b[2].txt"));
        sftp.run("chmod 600 /copy\nchown 0 /copy\nchgrp 0 /copy\nls -l /copy\n");

        for command in [
            "ln -s /copy /link",
            "ln /copy /link",
            "put Cargo.toml /nowhere/",
            "put Cargo.toml /copy/",
            "cp /copy /read-only/copy",
            "get /several",
            "cd /copy",
        ] {
            let said = sftp.with(&[], &format!("{command}\n")).complained();
            assert_eq!(said.status.code(), Some(1), "{said}");
        }
        assert!(!place.has("nowhere") && !place.has("link"));
        place.assert_holds("copy", &source);
    });
}

/// OpenSSH's `scp`, in either mode.
pub struct Scp<'a>(pub &'a Place, pub &'a [&'a str]);

impl Scp<'_> {
    #[track_caller]
    fn run(&self, flags: &[&str], from: &str, to: &str) {
        self.command(flags, from, to).succeeded();
    }

    #[track_caller]
    pub fn command(&self, flags: &[&str], from: &str, to: &str) -> Finished {
        let mut arguments = self.1.to_vec();
        arguments.extend(flags);
        arguments.extend([from, to]);
        self.0.client().scp(arguments)
    }

    pub fn remote(&self, path: &str) -> String {
        self.0.client().remote(&self.quoted(path))
    }

    /// The SCP protocol hands the path to what is a shell elsewhere; the mode that speaks SFTP does not. (Backslashes, for
    /// the client compares what it gets with what it asked for, and does not understand quotes.)
    fn quoted(&self, path: &str) -> String {
        if self.1.contains(&"-O") { backslashed(path) } else { path.into() }
    }
}

/// A path for a shell.
pub fn backslashed(path: &str) -> String {
    let mut text = String::new();
    for c in path.chars() {
        if matches!(c, ' ' | '"' | '\'') {
            text.push('\\');
        }
        text.push(c);
    }
    text
}

impl Files for Scp<'_> {
    fn put(&self, local: &str, remote: &str) {
        self.run(&["-p"], local, &self.remote(remote));
    }

    fn get(&self, remote: &str, local: &str) {
        self.run(&["-p"], &self.remote(remote), local);
    }
}

impl Trees for Scp<'_> {
    fn put_tree(&self, local: &str, remote: &str) {
        self.run(&["-rp"], local, &self.remote(remote));
    }

    fn get_tree(&self, remote: &str, local: &str) {
        self.run(&["-rp"], &self.remote(remote), local);
    }
}

#[track_caller]
fn check_scp(mode: &[&str]) {
    on_each_store(|place| {
        let scp = Scp(place, mode);
        check_files(place, &scp);
        check_trees(place, &scp);
        check_upload_time(place, |local, remote| scp.put(local, remote));
        check_download_time(place, |remote, local| scp.get(remote, local));
        check_several(place, &scp);
    });
}

/// Several sources, a pattern, and from one place of the gateway to another through the client.
#[track_caller]
fn check_several(place: &Place, scp: &Scp<'_>) {
    let (folder, back) = (place.setup.subfolder("several"), place.setup.subfolder("several-back"));
    for name in ["one.txt", "two.txt"] {
        fs::write(folder.join(name), noise(50_000, 4)).unwrap();
        set_mtime(&folder.join(name), LONG_AGO);
    }
    place.client().sftp("mkdir /several\n").succeeded();
    let (one, two) = (folder.join("one.txt"), folder.join("two.txt"));
    scp.run(&["-p", text(&one)], text(&two), &scp.remote("/several"));
    place.assert_holds("several/two.txt", &two);
    scp.run(&["-p"], &scp.remote("/several/*.txt"), text(&back));
    for name in ["one.txt", "two.txt"] {
        assert_same_bytes(&back.join(name), &folder.join(name));
        assert_eq!(mtime(&back.join(name)), LONG_AGO);
    }
    scp.run(&["-3"], &scp.remote("/several/one.txt"), &scp.remote("/third"));
    place.assert_holds("third", &one);
}

#[test]
fn openssh_scp() {
    check_scp(&[]);
}

#[test]
fn openssh_scp_with_the_scp_protocol() {
    check_scp(&["-O"]);
}
