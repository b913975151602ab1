//! What a person or a program sees when an operation fails: that it failed and what, the exit status, the kind of exception, and
//! the gateway's sentence where a library of a known version shows it.

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

/// That a program fails with this status, says something, and names what failed. The words are its own, and another version
/// has others: what the gateway sends is held where libraries of a known version show it.
#[track_caller]
fn assert_fails(finished: Finished, status: i32, named: &str) {
    let finished = finished.failed();
    // psftp says it on the standard output, where sftp repeats the command.
    let shown = finished.stdout.lines().filter(|line| !line.starts_with("sftp>")).chain(finished.stderr.lines());
    assert!(shown.filter(|line| !line.trim().is_empty()).any(|line| line.contains(named)), "{named:?}: {finished}");
    assert_eq!(finished.status.code(), Some(status), "{finished}");
}

#[test]
fn openssh_sftp_says_what_failed() {
    on_each_store(|place| {
        prepare(place);
        for (command, named) in [
            (format!("put {SMALL_FILE} /read-only/new").as_str(), "/read-only/new"),
            ("get /missing", "/missing"),
            ("mkdir /folder", "/folder"),
            ("mkdir /read-only/new", "/read-only/new"),
            ("mkdir /missing/new", "/missing/new"),
            ("rmdir /folder", "/folder"),
            ("rmdir /one", "/one"),
            ("rename -l /one /two", "/two"),
            ("rename /one /folder", "/folder"),
            ("rename /read-only/there /moved", "/read-only/there"),
            ("rm /read-only/there", "/read-only/there"),
            ("rm /missing", "/missing"),
            ("rm /folder", "/folder"),
            ("ls /missing", "/missing"),
        ] {
            assert_fails(place.client().sftp(&format!("{command}\n")), 1, named);
        }
        // With a dash a failure does not end the script.
        place.client().sftp("-mkdir /folder\nmkdir /other\n").succeeded().says("/folder");
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
    for mode in [&[] as &[&str], &["-O"]] {
        let scp = Scp(&place, mode);
        assert_fails(scp.command(&[], SMALL_FILE, &scp.remote(new)), 1, new);
        assert_fails(scp.command(&[], &scp.remote(missing), local.to_str().unwrap()), 1, missing);
        assert_fails(scp.command(&[], &scp.remote("/folder"), local.to_str().unwrap()), 1, "/folder");
    }
    for mode in ["-sftp", "-scp"] {
        let pscp = Pscp(Putty::new(&place), mode);
        assert_fails(pscp.command(&[], &[SMALL_FILE, &pscp.remote(new)]), 1, new);
        assert_fails(pscp.command(&[], &[&pscp.remote(missing), local.to_str().unwrap()]), 1, missing);
    }
    assert_unchanged(&place);
    place.gateway.stop();
}

#[test]
fn psftp_says_what_failed() {
    let place = place();
    prepare(&place);
    let psftp = Putty::new(&place);
    for (command, named) in [
        (format!("put {SMALL_FILE} /read-only/new").as_str(), "/read-only/new"),
        ("get /missing", "/missing"),
        ("mkdir /folder", "/folder"),
        ("rmdir /folder", "/folder"),
        ("mv /one /two", "/two"),
        ("del /read-only/there", "/read-only/there"),
        ("cd /missing", "/missing"),
    ] {
        assert_fails(psftp.psftp_command(&format!("{command}\n")), 2, named);
    }
    assert_unchanged(&place);
    place.gateway.stop();
}

#[test]
fn lftp_says_what_failed() {
    let place = place();
    prepare(&place);
    for (command, named) in [
        (format!("put {SMALL_FILE} -o /read-only/new").as_str(), "/read-only/new"),
        ("get /missing -o /dev/null", "/missing"),
        ("pget -n 4 /missing -o /dev/null", "/missing"),
        ("mkdir /folder", "/folder"),
        ("rmdir /folder", "/folder"),
        ("mv /one /two", "/two"),
        ("rm /read-only/there", "/read-only/there"),
        ("rm /folder", "/folder"),
        ("mirror /missing here", "/missing"),
    ] {
        assert_fails(Lftp(&place).command(command), 1, named);
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
    // Its manual has 3 for a directory that is not there.
    for (command, status) in [
        (&["copyto", SMALL_FILE, ":sftp:/read-only/new"] as &[&str], 1),
        (&["copyto", ":sftp:/missing", local], 3),
        (&["mkdir", ":sftp:/read-only/new"], 1),
        (&["rmdir", ":sftp:/folder"], 1),
        (&["deletefile", ":sftp:/read-only/there"], 1),
        (&["deletefile", ":sftp:/missing"], 1),
        (&["moveto", ":sftp:/read-only/there", ":sftp:/moved"], 1),
        (&["lsf", ":sftp:/missing"], 3),
    ] {
        assert_fails(Rclone(&place).command(command), status, "");
    }
    // A folder that is there will do.
    Rclone(&place).command(&["mkdir", ":sftp:/folder"]).succeeded();
    assert_unchanged(&place);
    place.gateway.stop();
}

/// What libssh2 makes of a status differs from version to version; curl's exit codes do not.
#[test]
fn curl_says_what_failed() {
    let place = place_for_curl(Kind::Local);
    prepare(&place);
    let curl = Curl(&place, "sftp");
    assert_fails(curl.command("/read-only/new", &["--upload-file", SMALL_FILE]), 9, "");
    assert_fails(curl.command("/missing", &[]), 78, "");
    assert_fails(curl.command("/missing/", &[]), 78, "");
    for command in [
        "mkdir /folder",
        "mkdir /read-only/new",
        "rmdir /folder",
        "rename /one /folder",
        "rm /read-only/there",
        "symlink /one /link",
    ] {
        assert_fails(curl.quote(command), 21, "");
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
        (&["put", SMALL_FILE, "/read-only/new"] as &[&str], denied, "Permission denied: /read-only/new"),
        (&["get", "/missing", local], missing, "No such file: /missing"),
        (&["mkdir", "/folder", ""], failed, "Failure: /folder: it exists already"),
        (&["mkdir", "/read-only/new", ""], denied, "Permission denied: /read-only/new"),
        (&["rmdir", "/folder", ""], failed, "Failure: /folder: the directory is not empty"),
        (&["rename", "/one", "/folder"], failed, "Failure: /folder: it "),
        (&["rename", "/missing", "/new"], missing, "No such file: /missing"),
        (&["rename", "/read-only/there", "/read-only/moved"], denied, "Permission denied: /read-only/there"),
        (&["remove", "/read-only/there", ""], denied, "Permission denied: /read-only/there"),
        (&["remove", "/missing", ""], missing, "No such file: /missing"),
        (&["remove", "/folder", ""], failed, "Failure: /folder: it is a directory"),
        (&["list", "/missing", ""], missing, "No such file: /missing"),
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
    assert!(thrown.kind == kind && thrown.message.contains("Failure: /two: it exists already"), "{thrown:?}");
}

#[test]
fn paramiko_throws_what_python_programs_expect() {
    on_each_store(|place| {
        let paramiko = paramiko_at(place);
        check_library(place, &paramiko, ["FileNotFoundError", "PermissionError", "OSError"]);
        let thrown = paramiko.fail(&["open", "/one", "wx"]);
        assert!(thrown.kind == "OSError" && thrown.message.contains("Failure: /one: it exists already"), "{thrown:?}");
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
        (&["put", SMALL_FILE, "/read-only/new"] as &[&str], "3", "Permission denied: /read-only/new"),
        (&["get", "/missing", "/dev/null"], "NoSuchFileException", "/missing"),
        (&["mkdir", "/folder"], "FileAlreadyExistsException", "/folder"),
        (&["rmdir", "/folder"], "4", "Failure: /folder: the directory is not empty"),
        (&["rename", "/one", "/two"], "FileAlreadyExistsException", "/two"),
        (&["remove", "/missing"], "NoSuchFileException", "/missing"),
        (&["remove", "/read-only/there"], "3", "Permission denied: /read-only/there"),
    ] {
        let thrown = mina.fail(words);
        assert!(thrown.kind == kind && thrown.message.contains(message), "{words:?}: {thrown:?}");
    }
    mina.finish();
    assert_unchanged(&place);
    place.gateway.stop();
}

/// It shows the person what the status means, in words of its own.
#[test]
fn filezilla_shows_what_failed() {
    let place = place();
    prepare(&place);
    let filezilla = filezilla_at(&place);
    for words in [
        &["mkdir", "/folder"] as &[&str],
        &["mkdir", "/read-only/new"],
        &["rmdir", "/folder"],
        &["remove", "/missing"],
        &["rename", "/one", "/two"],
        &["list", "/missing"],
    ] {
        let thrown = filezilla.fail(words);
        assert!(!thrown.message.trim().is_empty(), "{words:?}: {thrown:?}");
    }
    filezilla.finish();
    assert_unchanged(&place);
    place.gateway.stop();
}
