//! Programs whose files lie on a mount: what they close is published while they go on, in requests that overtake one another.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::checks::text;
use crate::mount::{Mount, await_bytes, has_fuse};
use crate::place::{Place, on_each_store};
use crate::support::data::{assert_same_bytes, noise, write_noise};
use crate::support::process::{LIMIT, program, python, run, run_with, tool};

/// Does the same in a folder of a home on each store, mounted with the defaults of sshfs.
fn on_each_mount(check: impl Fn(&Place, &Path)) {
    if !has_fuse() {
        return;
    }
    on_each_store(|place| {
        let mount = Mount::new(place, "");
        let folder = mount.at.join("work");
        fs::create_dir(&folder).unwrap();
        check(place, &folder);
        mount.end();
    });
}

/// Part of the script that does it.
#[track_caller]
fn check_script(operation: &str) {
    on_each_mount(|_, folder| drop(run(python("on_a_mount.py").arg(folder).arg(operation)).succeeded()));
}

#[test]
fn sshfs_what_was_closed_can_be_read_and_changed_and_moved() {
    check_script("write_close_read");
}

#[test]
fn sshfs_a_file_that_replaces_another_before_it_is_closed() {
    check_script("replace_before_close");
}

#[test]
fn sshfs_a_file_that_is_removed_before_it_is_closed() {
    check_script("remove_before_close");
}

#[test]
fn sshfs_sqlite() {
    check_script("sqlite");
}

/// git, with settings of its own: on a mount the files belong to the user of the other side.
fn git(place: &Place, at: &Path, arguments: &[&str]) -> Command {
    let settings = place.local("git-settings");
    let text =
        "[safe]\n\tdirectory = *\n[user]\n\tname = Ann\n\temail = ann@example.org\n[init]\n\tdefaultBranch = main\n";
    fs::write(&settings, text).unwrap();
    let mut git = program("git");
    git.env("GIT_CONFIG_GLOBAL", settings).env("GIT_CONFIG_NOSYSTEM", "1").arg("-C").arg(at).args(arguments);
    git
}

/// Twenty commits, each with a file in one of five folders.
fn make_repository(place: &Place) -> PathBuf {
    let repository = place.setup.subfolder("repository");
    run(&mut git(place, &repository, &["init", "--quiet"])).succeeded();
    for n in 0..20 {
        let folder = repository.join(format!("folder {}/deep", n % 5));
        fs::create_dir_all(&folder).unwrap();
        write_noise(&folder.join(format!("file {n}")), n * 700, n);
        run(&mut git(place, &repository, &["add", "--all"])).succeeded();
        run(&mut git(place, &repository, &["commit", "--quiet", "--message", "one more"])).succeeded();
    }
    repository
}

#[test]
fn sshfs_git() {
    on_each_mount(|place, folder| {
        let repository = make_repository(place);
        let clone = folder.join("clone");
        run(&mut git(place, folder, &["clone", "--quiet", "--no-hardlinks", text(&repository), "clone"])).succeeded();
        let in_clone = |arguments: &[&str]| run(&mut git(place, &clone, arguments)).succeeded().stdout;
        let is_sound = || {
            in_clone(&["fsck", "--full", "--strict"]);
            assert_eq!(in_clone(&["status", "--porcelain"]), "");
        };
        is_sound();
        fs::write(clone.join("new"), "new").unwrap();
        in_clone(&["add", "new"]);
        in_clone(&["commit", "--quiet", "--message", "new"]);
        in_clone(&["gc", "--quiet"]);
        in_clone(&["checkout", "--quiet", "HEAD~5"]);
        in_clone(&["checkout", "--quiet", "main"]);
        is_sound();
        assert_eq!(in_clone(&["log", "--oneline"]).lines().count(), 21);
        for n in 0..20 {
            let name = format!("folder {}/deep/file {n}", n % 5);
            assert_same_bytes(&clone.join(&name), &repository.join(&name));
        }
    });
}

/// GLib saves a file under another name, and renames it before it is closed.
#[test]
fn sshfs_glib_saves_a_document() {
    on_each_mount(|place, folder| {
        let document = folder.join("document");
        let save = |flags: &[&str], content: &[u8]| {
            let mut gio = program("gio");
            run_with(gio.arg("save").args(flags).arg(&document), content, LIMIT).succeeded();
            assert!(fs::read(&document).unwrap() == content, "{} bytes that were saved", content.len());
        };
        for (round, length) in [10, 40_000, 0, 300_000, 10].into_iter().enumerate() {
            save(&[], &noise(length, round as u64));
        }
        await_bytes(place, "work/document", &noise(10, 4));
        save(&["--backup"], b"new");
        await_bytes(place, "work/document", b"new");
        assert!(fs::read(folder.join("document~")).unwrap() == noise(10, 4), "the one before");
        let mut names: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        assert_eq!(names, ["document", "document~"]);
    });
}

/// Reads, writes and cuts at random, and closes and opens again in between; what it reads it knows.
#[test]
fn sshfs_fsx() {
    const SETTINGS: &str = "flen = 262144\n[weights]\nclose_open = 5\nread = 10\nwrite = 10\ntruncate = 3\nfsync = 1\n\
                            mapread = 0\nmapwrite = 0\n";
    on_each_mount(|place, folder| {
        let settings = place.local("fsx.toml");
        fs::write(&settings, SETTINGS).unwrap();
        let artifacts = place.setup.subfolder("artifacts");
        for seed in ["1", "2", "3"] {
            let mut fsx = Command::new(tool("fsx/bin/fsx"));
            fsx.arg("-f").arg(&settings).args(["-N", "300", "-S", seed]).arg("-P").arg(&artifacts);
            run(fsx.arg(folder.join(format!("file {seed}")))).succeeded();
        }
    });
}
