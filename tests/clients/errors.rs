//! What a person or a program sees when an operation fails: words of its client, the gateway's sentence where the client shows
//! it, the exit status, the kind of exception.

use crate::curl::{Curl, place_for_curl};
use crate::filezilla::filezilla_at;
use crate::java::{jsch_at, mina_at};
use crate::lftp::Lftp;
use crate::node::node_at;
use crate::openssh::Scp;
use crate::place::{Kind, Place, on_each_store, place};
use crate::putty::{Pscp, Putty};
use crate::python::{asyncssh_at, paramiko_at};
use crate::rclone::Rclone;
use crate::scripted::Scripted;
use crate::support::data::SMALL_FILE;
use crate::support::events::is_end;
use crate::support::process::Finished;

/// A folder with a file in it, and two files.
#[track_caller]
fn prepare(place: &Place) {
    place.write("folder/inside", b"inside");
    place.write("one", b"one");
    place.write("two", b"two");
    place.write("read-only/there", b"there");
}

/// Nothing of what failed has changed anything.
#[track_caller]
fn assert_unchanged(place: &Place) {
    for (name, content) in [("folder/inside", "inside"), ("one", "one"), ("two", "two"), ("read-only/there", "there")] {
        place.assert_holds_bytes(name, content.as_bytes());
    }
    for name in ["read-only/new", "read-only/moved", "one/deeper", "new"] {
        assert!(!place.has(name) && !place.has_folder(name), "{name}");
    }
    place.gateway.events.until("end of all that was opened", |events| {
        let opened = events.iter().filter(|e| e["activity-type"] == "OPEN" && e["status"] == "success").count();
        (opened == events.iter().filter(|event| is_end(event)).count()).then_some(())
    });
}

#[track_caller]
fn assert_fails(finished: Finished, status: i32, says: &str) {
    let finished = finished.failed();
    let all = format!("{}\n{}", finished.stdout, finished.stderr);
    assert!(all.contains(says), "does not say {says:?}: {finished}");
    assert_eq!(finished.status.code(), Some(status), "{finished}");
}

#[test]
fn openssh_sftp_says_what_failed() {
    on_each_store(|place| {
        prepare(place);
        for (command, says) in [
            (format!("put {SMALL_FILE} /read-only/new").as_str(), "dest open \"/read-only/new\": Permission denied"),
            ("get /missing", "File \"/missing\" not found."),
            ("mkdir /folder", "remote mkdir \"/folder\": Failure"),
            ("mkdir /read-only/new", "remote mkdir \"/read-only/new\": Permission denied"),
            ("mkdir /missing/new", "remote mkdir \"/missing/new\": No such file or directory"),
            ("rmdir /folder", "remote rmdir \"/folder\": Failure"),
            ("rmdir /one", "remote rmdir \"/one\": No such file or directory"),
            ("rename -l /one /two", "remote rename \"/one\" to \"/two\": Failure"),
            ("rename /one /folder", "remote rename \"/one\" to \"/folder\": Failure"),
            ("rename /read-only/there /moved", "remote rename \"/read-only/there\" to \"/moved\": Permission denied"),
            ("rm /read-only/there", "remote delete /read-only/there: Permission denied"),
            ("rm /missing", "remote delete /missing: No such file or directory"),
            ("rm /folder", "remote delete /folder: Failure"),
            ("ls /missing", "Can't ls: \"/missing\" not found"),
        ] {
            assert_fails(place.client().sftp(&format!("{command}\n")), 1, says);
        }
        // With a dash a failure does not end the script.
        place.client().sftp("-mkdir /folder\nmkdir /other\n").succeeded().says("remote mkdir \"/folder\": Failure");
        assert!(place.has_folder("other"));
        assert_unchanged(place);
    });
}

#[test]
fn scp_says_what_failed() {
    let place = place();
    prepare(&place);
    let (new, missing) = ("/read-only/new", "/missing");
    let local = place.local("fetched");
    for (mode, upload, download) in [
        (
            &[] as &[&str],
            "scp: dest open \"/read-only/new\": Permission denied",
            "scp: /missing: No such file or directory",
        ),
        (&["-O"], "scp: /read-only/new: Permission denied", "scp: /missing: No such file or directory"),
    ] {
        let scp = Scp(&place, mode);
        assert_fails(scp.command(&[], SMALL_FILE, &scp.remote(new)), 1, upload);
        assert_fails(scp.command(&[], &scp.remote(missing), local.to_str().unwrap()), 1, download);
        assert_fails(scp.command(&[], &scp.remote("/folder"), local.to_str().unwrap()), 1, "not a regular file");
    }
    for (mode, upload, download) in [
        ("-sftp", "pscp: unable to open /read-only/new: permission denied", "/missing: no such file or directory"),
        ("-scp", "scp: /read-only/new: Permission denied", "scp: /missing: No such file or directory"),
    ] {
        let pscp = Pscp(Putty::new(&place), mode);
        assert_fails(pscp.command(&[], &[SMALL_FILE, &pscp.remote(new)]), 1, upload);
        assert_fails(pscp.command(&[], &[&pscp.remote(missing), local.to_str().unwrap()]), 1, download);
    }
    assert_unchanged(&place);
    place.gateway.stop();
}

/// It shows the status, and not the sentence.
#[test]
fn psftp_says_what_failed() {
    let place = place();
    prepare(&place);
    let psftp = Putty::new(&place);
    for (command, says) in [
        (format!("put {SMALL_FILE} /read-only/new").as_str(), "/read-only/new: open for write: permission denied"),
        ("get /missing", "/missing: open for read: no such file or directory"),
        ("mkdir /folder", "mkdir /folder: failure"),
        ("rmdir /folder", "rmdir /folder: failure"),
        ("mv /one /two", "mv /one /two: failure"),
        ("del /read-only/there", "rm /read-only/there: permission denied"),
        ("cd /missing", "Directory /missing: no such file or directory"),
    ] {
        assert_fails(psftp.psftp_command(&format!("{command}\n")), 2, says);
    }
    assert_unchanged(&place);
    place.gateway.stop();
}

#[test]
fn lftp_shows_the_sentence() {
    let place = place();
    prepare(&place);
    for (command, says) in [
        (format!("put {SMALL_FILE} -o /read-only/new").as_str(), "Access failed: /read-only/new: permission denied"),
        ("get /missing -o /dev/null", "Access failed: /missing: no such file or directory"),
        ("pget -n 4 /missing -o /dev/null", "Access failed: /missing: no such file or directory"),
        ("mkdir /folder", "mkdir: Access failed: /folder: it exists already"),
        ("rmdir /folder", "rmdir: Access failed: /folder: the directory is not empty"),
        ("mv /one /two", "mv: Access failed: /two: it exists already"),
        ("rm /read-only/there", "rm: Access failed: /read-only/there: permission denied"),
        ("rm /folder", "rm: Access failed: /folder: it is a directory"),
        ("mirror /missing here", "mirror: Access failed: /missing: no such file or directory"),
    ] {
        assert_fails(Lftp(&place).command(command), 1, says);
    }
    assert_unchanged(&place);
    place.gateway.stop();
}

#[test]
fn rclone_says_what_failed() {
    let place = place();
    prepare(&place);
    let local = place.local("fetched");
    let local = local.to_str().unwrap();
    for (command, status, says) in [
        (&["copyto", SMALL_FILE, ":sftp:/read-only/new"] as &[&str], 1, "Update Create failed: permission denied"),
        (&["copyto", ":sftp:/missing", local], 3, "directory not found"),
        (&["mkdir", ":sftp:/read-only/new"], 1, "permission denied"),
        (&["rmdir", ":sftp:/folder"], 1, "directory not empty"),
        (&["deletefile", ":sftp:/read-only/there"], 1, "permission denied"),
        (&["deletefile", ":sftp:/missing"], 1, "is a directory or doesn't exist"),
        (&["moveto", ":sftp:/read-only/there", ":sftp:/moved"], 1, "permission denied"),
        (&["lsf", ":sftp:/missing"], 3, "directory not found"),
    ] {
        assert_fails(Rclone(&place).command(command), status, says);
    }
    // A folder that is there will do.
    Rclone(&place).command(&["mkdir", ":sftp:/folder"]).succeeded();
    assert_unchanged(&place);
    place.gateway.stop();
}

/// It shows what libssh2 makes of the status.
#[test]
fn curl_says_what_failed() {
    let place = place_for_curl(Kind::Local);
    prepare(&place);
    let curl = Curl(&place, "sftp");
    assert_fails(curl.command("/read-only/new", &["--upload-file", SMALL_FILE]), 9, "Permission denied");
    assert_fails(curl.command("/missing", &[]), 78, "No such file or directory");
    assert_fails(curl.command("/missing/", &[]), 78, "No such file or directory");
    for (command, says) in [
        ("mkdir /folder", "mkdir command failed: Operation failed"),
        ("mkdir /read-only/new", "mkdir command failed: Permission denied"),
        ("rmdir /folder", "rmdir command failed: Operation failed"),
        ("rename /one /folder", "rename command failed: Operation failed"),
        ("rm /read-only/there", "rm command failed: Permission denied"),
        ("symlink /one /link", "symlink command failed: Operation not supported"),
    ] {
        assert_fails(curl.quote(command), 21, says);
    }
    let scp = Curl(&place, "scp");
    assert_fails(scp.command("/read-only/new", &["--upload-file", SMALL_FILE]), 25, "");
    assert_fails(scp.command("/missing", &[]), 78, "");
    assert_unchanged(&place);
    place.gateway.stop();
}

/// What every library does, the error that it throws, and the gateway's sentence in it.
#[track_caller]
fn check_library(place: &Place, library: &Scripted, [missing, denied, failed]: [&str; 3]) {
    prepare(place);
    let local = place.local("fetched");
    let local = local.to_str().unwrap();
    for (words, kind, sentence) in [
        (&["put", SMALL_FILE, "/read-only/new"] as &[&str], denied, "/read-only/new: permission denied"),
        (&["get", "/missing", local], missing, "/missing: no such file or directory"),
        (&["mkdir", "/folder", ""], failed, "/folder: it exists already"),
        (&["mkdir", "/read-only/new", ""], denied, "/read-only/new: permission denied"),
        (&["rmdir", "/folder", ""], failed, "/folder: the directory is not empty"),
        (&["rename", "/one", "/folder"], failed, "/folder: it "),
        (&["rename", "/missing", "/new"], missing, "/missing: no such file or directory"),
        (&["rename", "/read-only/there", "/read-only/moved"], denied, "/read-only/there: permission denied"),
        (&["remove", "/read-only/there", ""], denied, "/read-only/there: permission denied"),
        (&["remove", "/missing", ""], missing, "/missing: no such file or directory"),
        (&["remove", "/folder", ""], failed, "/folder: it is a directory"),
        (&["list", "/missing", ""], missing, "/missing: no such file or directory"),
    ] {
        let words: Vec<&str> = words.iter().copied().filter(|word| !word.is_empty()).collect();
        let thrown = library.fail(&words);
        assert!(
            thrown.kind == kind && thrown.message.contains(sentence),
            "{words:?}: {thrown:?}, not {kind}: {sentence}"
        );
    }
    // The session goes on.
    assert!(library.run(&["list", "/"]).contains("folder"));
    assert_unchanged(place);
}

/// JSch alone uses the rename that replaces.
#[track_caller]
fn check_refused_rename(library: &Scripted, kind: &str) {
    let thrown = library.fail(&["rename", "/one", "/two"]);
    assert!(thrown.kind == kind && thrown.message.contains("/two: it exists already"), "{thrown:?}");
}

#[test]
fn paramiko_throws_what_python_programs_expect() {
    on_each_store(|place| {
        let paramiko = paramiko_at(place);
        check_library(place, &paramiko, ["FileNotFoundError", "PermissionError", "OSError"]);
        let thrown = paramiko.fail(&["open", "/one", "wx"]);
        assert!(thrown.kind == "OSError" && thrown.message.contains("/one: it exists already"), "{thrown:?}");
        check_refused_rename(&paramiko, "OSError");
        paramiko.finish();
    });
}

#[test]
fn asyncssh_throws_what_python_programs_expect() {
    on_each_store(|place| {
        let asyncssh = asyncssh_at(place);
        check_library(place, &asyncssh, ["SFTPNoSuchFile", "SFTPPermissionDenied", "SFTPFailure"]);
        check_refused_rename(&asyncssh, "SFTPFailure");
        asyncssh.finish();
    });
}

#[test]
fn node_ssh2_throws_the_status_and_the_sentence() {
    let place = place();
    let node = node_at(&place);
    check_library(&place, &node, ["2", "3", "4"]);
    check_refused_rename(&node, "4");
    node.finish();
    place.gateway.stop();
}

#[test]
fn jsch_throws_the_status_and_the_sentence() {
    let place = place();
    let jsch = jsch_at(&place);
    check_library(&place, &jsch, ["2", "3", "4"]);
    jsch.finish();
    place.gateway.stop();
}

/// Java's own exceptions where there are any, else the status.
#[test]
fn mina_sshd_throws_what_java_programs_expect() {
    let place = place();
    prepare(&place);
    let mina = mina_at(&place);
    for (words, kind, message) in [
        (&["put", SMALL_FILE, "/read-only/new"] as &[&str], "3", "/read-only/new: permission denied"),
        (&["get", "/missing", "/dev/null"], "NoSuchFileException", "/missing"),
        (&["mkdir", "/folder"], "FileAlreadyExistsException", "/folder"),
        (&["rmdir", "/folder"], "4", "/folder: the directory is not empty"),
        (&["rename", "/one", "/two"], "FileAlreadyExistsException", "/two"),
        (&["remove", "/missing"], "NoSuchFileException", "/missing"),
        (&["remove", "/read-only/there"], "3", "/read-only/there: permission denied"),
    ] {
        let thrown = mina.fail(words);
        assert!(thrown.kind == kind && thrown.message.contains(message), "{words:?}: {thrown:?}");
    }
    mina.finish();
    assert_unchanged(&place);
    place.gateway.stop();
}

/// It shows the person what the status means.
#[test]
fn filezilla_shows_what_failed() {
    let place = place();
    prepare(&place);
    let filezilla = filezilla_at(&place);
    for (words, says) in [
        (&["mkdir", "/folder"] as &[&str], "failure"),
        (&["mkdir", "/read-only/new"], "permission denied"),
        (&["rmdir", "/folder"], "failure"),
        (&["remove", "/missing"], "no such file or directory"),
        (&["rename", "/one", "/two"], "failure"),
        (&["list", "/missing"], "no such file or directory"),
    ] {
        let thrown = filezilla.fail(words);
        assert!(thrown.message.contains(says), "{words:?}: {thrown:?}");
    }
    filezilla.finish();
    assert_unchanged(&place);
    place.gateway.stop();
}
