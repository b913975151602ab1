//! SCP over a real connection: the command line that a client sends as it is, and files that change while they are sent.

use std::fs;
use std::io::Write;
use std::path::PathBuf;
use std::time::Duration;

use crate::door::{Door, door};
use crate::support::data::{MIB, assert_same_bytes, write_noise};
use crate::support::events::field;
use crate::support::process::{Finished, LIMIT, Running, run_with};

/// More than all windows and buffers between the store and a client that is stopped.
const LARGE: u64 = 64 * MIB;

impl Door {
    /// Has a command run with this input; without a command, a shell.
    #[track_caller]
    fn run(&self, command: &[&str], input: &[u8]) -> Finished {
        run_with(self.client.command("ssh").args(["-T", &self.client.host()]).args(command), input, LIMIT)
    }
}

#[test]
fn a_command_is_served_however_its_words_are_written() {
    let door = door();
    for command in [
        "scp -t x",
        "/usr/bin/scp -t x",
        "/opt/tools/scp -qt x",
        "'scp' -t \"x\"",
        " scp\t-p  -t   x",
        "scp -t ~/x",
        "scp -t ~alice/x",
        "scp -v -r -p -d -t -- .",
    ] {
        let done = door.run(&[command], b"C0644 3 x\nabc\0").succeeded();
        assert_eq!((done.stdout.as_str(), done.stderr.as_str()), ("\0\0\0", ""), "{command}");
        assert_eq!(fs::read_to_string(door.root.join("x")).unwrap(), "abc", "{command}");
        fs::remove_file(door.root.join("x")).unwrap();
    }
    door.gateway.stop();
}

#[test]
fn a_command_that_is_not_served_says_why_and_is_on_record() {
    let door = door();
    let only = "only SFTP and SCP";
    for (command, reason) in [
        ("scp", "only scp -t"),
        ("scp a b", "only scp -t"),
        ("scp -t", "ambiguous target"),
        ("scp -t a b", "ambiguous target"),
        ("scp -f", "no file is named"),
        ("scp --version", "the option --"),
        ("scp -S /bin/sh -t x", "the option -S"),
        ("scp -o ProxyCommand=id -t x", "the option -o"),
        ("scp -F /etc/passwd -f x", "the option -F"),
        ("scp -t x; id", "unquoted ';'"),
        ("scp -t \"$HOME\"", "unquoted '$'"),
        ("scp -t x\nid", "unquoted '\\n'"),
        ("scp -t 'x", "not closed"),
        ("sudo scp -t x", only),
        ("env scp -t x", only),
        ("LANG=C scp -t x", only),
        ("cd /tmp; scp -t x", only),
        ("sh -c 'scp -t x'", only),
        ("/usr/bin/scp.sh -t x", only),
    ] {
        // What a client sends at once is not waited for, and is nothing.
        let done = door.run(&[command], b"C0644 3 x\nabc\0").failed().says(reason);
        assert_eq!((done.status.code(), done.stdout.as_str()), (Some(1), ""), "{command}");
        let request = format!("exec: {command}");
        door.gateway.events.await_event("REQUEST_DENIED", |event| field(event, "request") == request);
    }
    assert!(!door.root.join("x").exists());
    door.gateway.stop();
}

/// WinSCP in SCP mode, PuTTY's `pscp -ls` and others want a shell for `cd`, `ls` and the like.
#[test]
fn a_session_that_needs_a_shell_is_told_so_at_once() {
    let door = door();
    let start =
        b"echo \"WinSCP: this is begin-of-file\"\nunset HISTFILE\npwd ; echo \"WinSCP: this is end-of-file:$?\"\n";
    let done = door.run(&[], start).failed().says("only SFTP and SCP");
    assert_eq!((done.status.code(), done.stdout.as_str()), (Some(1), ""));
    door.gateway.events.await_event("REQUEST_DENIED", |event| field(event, "request") == "shell");
    let done = door.run(&["ls -la '/'"], b"").failed().says("only SFTP and SCP");
    assert_eq!((done.status.code(), done.stdout.as_str()), (Some(1), ""));
    door.gateway.stop();
}

#[test]
fn a_file_that_changes_while_it_is_sent_is_sent_as_it_was_or_reported() {
    let door = door();
    let (stored, back) = (door.root.join("big"), door.setup.folder().join("back"));
    let original = door.setup.folder().join("original");
    write_noise(&original, LARGE, 1);
    type Change = (&'static str, bool, fn(&PathBuf));
    let changes: [Change; 4] = [
        ("shorter", false, |file| fs::File::options().write(true).open(file).unwrap().set_len(MIB).unwrap()),
        ("longer", true, |file| fs::File::options().append(true).open(file).unwrap().write_all(&[7; 100]).unwrap()),
        ("gone", true, |file| fs::remove_file(file).unwrap()),
        ("another", true, |file| {
            fs::write(file.with_extension("new"), "new").unwrap();
            fs::rename(file.with_extension("new"), file).unwrap();
        }),
    ];
    for (i, (what, whole, change)) in changes.into_iter().enumerate() {
        let _ = fs::remove_file(&stored);
        fs::copy(&original, &stored).unwrap();
        let before = door.gateway.events.all().len();
        let mut command = door.client.command("scp");
        command.args(["-O", &door.client.remote("/big"), back.to_str().unwrap()]);
        let download = Running::start(&mut command);
        door.gateway.events.until("OPEN", |events| {
            events[before..].iter().any(|event| field(event, "activity-type") == "OPEN").then_some(())
        });
        download.freeze();
        change(&stored);
        download.wake();
        let done = download.finish(LIMIT);
        let events = door.gateway.events.await_disconnected(i + 1);
        let end_of_file = events.iter().find(|event| field(event, "activity-type").ends_with("CLOSE")).unwrap();
        if whole {
            assert_eq!(done.status.code(), Some(0), "{what}: {done}");
            assert_same_bytes(&back, &original);
            assert_eq!(field(end_of_file, "activity-type"), "CLOSE", "{what}: {end_of_file}");
        } else {
            assert_eq!(done.status.code(), Some(1), "{what}: {done}");
            assert!(done.stderr.contains("/big: the file was replaced meanwhile"), "{what}: {done}");
            assert_eq!(fs::metadata(&back).unwrap().len(), LARGE, "{what}: in step to the end");
            assert_eq!(field(end_of_file, "activity-type"), "PARTIAL_CLOSE", "{what}: {end_of_file}");
            assert!(field(end_of_file, "message").contains("could not be read to its end"), "{end_of_file}");
        }
    }
    door.gateway.stop();
}

/// The client has all bytes and ends without an answer: as libssh2 with the end of its half of the channel, or with its connection.
#[test]
fn a_download_that_nobody_confirms_is_whole_only_if_the_channel_was_ended() {
    let door = door();
    fs::write(door.root.join("x"), "abc").unwrap();
    for (i, (is_lost, expected)) in [(true, "PARTIAL_CLOSE"), (false, "CLOSE")].into_iter().enumerate() {
        let mut command = door.client.command("ssh");
        let mut client = Running::start(command.args(["-T", &door.client.host(), "scp -f x"]));
        client.feed(b"\0\0");
        door.gateway.events.until("OPEN", |events| {
            (events.iter().filter(|event| field(event, "activity-type") == "OPEN").count() > i).then_some(())
        });
        // Time for the bytes to arrive; a connection that is lost before is lost as well.
        std::thread::sleep(Duration::from_millis(300));
        if is_lost {
            client.kill()
        } else {
            client.close_input()
        }
        client.finish(LIMIT);
        let events = door.gateway.events.await_disconnected(i + 1);
        let end = events.iter().rfind(|event| field(event, "activity-type").ends_with("CLOSE")).unwrap();
        assert_eq!((field(end, "activity-type"), end.get("sha256").is_some()), (expected, !is_lost), "{end}");
    }
    door.gateway.stop();
}
