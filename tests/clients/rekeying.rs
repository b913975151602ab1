//! The gateway changes the keys in the middle of transfers (`server.rekey`), with clients whose transports are their own.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use serde_json::json;

use crate::place::{Kind, Place, place_with};
use crate::putty::Putty;
use crate::scripted::Scripted;
use crate::support::data::{MIB, assert_same_bytes, write_noise};
use crate::support::events::field;
use crate::support::link::Link;
use crate::support::process::{LIMIT, Running, program, python, run, run_with, until};

const LENGTH: u64 = 24 * MIB;

/// Keys that change after each MiB, by the gateway's will.
fn place() -> Place {
    place_with(Kind::Local, |setup| setup.config["server"]["rekey"] = json!({ "data": "1MiB" }))
}

/// Changes of keys in a log that names the packets as RFC 4253 does: one that was sent and one that came.
fn key_exchanges(said: &str) -> usize {
    said.matches("KEXINIT").count() / 2
}

/// One file there and one back; `changes` counts the changes of keys in what the client says.
#[track_caller]
fn check(place: &Place, put: impl Fn(&Path) -> String, get: impl Fn(&Path) -> String, changes: impl Fn(&str) -> usize) {
    let (source, back) = (place.local("source"), place.local("back"));
    write_noise(&source, LENGTH, 7);
    let said = [put(&source), get(&back)];
    place.assert_holds("file", &source);
    assert_same_bytes(&back, &source);
    for said in said {
        let changes = changes(&said);
        assert!(changes >= 6, "{changes} changes of keys in {LENGTH} bytes: {said}");
    }
    assert_ended_well(place, 2);
}

#[track_caller]
fn assert_ended_well(place: &Place, connections: usize) {
    place.gateway.events.await_disconnected(connections);
    let ends = place.gateway.events.of_type("DISCONNECTED");
    assert!(ends.iter().all(|end| field(end, "reason") == "client"), "{ends:#?}");
    assert!(place.gateway.events.of_type("PARTIAL_CLOSE").is_empty());
}

#[track_caller]
fn said(command: &mut Command, input: &str) -> String {
    let finished = run_with(command, input.as_bytes(), LIMIT).succeeded();
    finished.stdout + &finished.stderr
}

#[test]
fn openssh_changes_keys_when_the_gateway_asks() {
    let place = place();
    let sftp = |script: &str| {
        let client = place.client();
        said(client.command("sftp").args(["-v", "-b", "-"]).arg(client.host()), script)
    };
    let put = |file: &Path| sftp(&format!("put {} /file\n", file.display()));
    let get = |file: &Path| sftp(&format!("get /file {}\n", file.display()));
    check(&place, put, get, key_exchanges);
    place.gateway.stop();
}

#[test]
fn putty_changes_keys_when_the_gateway_asks() {
    let place = place();
    let putty = Putty::new(&place);
    let (script, log) = (place.local("script"), place.local("packets"));
    let psftp = |words: &str| {
        std::fs::write(&script, words).unwrap();
        let mut command = putty.command("psftp");
        command.args(["-logoverwrite", "-sshlog"]).arg(&log).arg("-b").arg(&script).arg("alice@127.0.0.1");
        said(&mut command, "");
        // The log has all that was sent.
        run(program("grep").args(["--text", "KEXINIT"]).arg(&log)).succeeded().stdout
    };
    let put = |file: &Path| psftp(&format!("put {} /file\n", file.display()));
    let get = |file: &Path| psftp(&format!("get /file {}\n", file.display()));
    check(&place, put, get, key_exchanges);
    place.gateway.stop();
}

#[test]
fn paramiko_changes_keys_when_the_gateway_asks() {
    let place = place();
    let paramiko = |words: [&str; 3]| {
        let mut command = python("paramiko_client.py");
        command.args([&place.port(), "alice"]).arg(&place.key.private).env("LOCKGATE_TEST_VERBOSE", "1");
        let paramiko = Scripted::start(&mut command);
        paramiko.run(&words);
        paramiko.finish()
    };
    let put = |file: &Path| paramiko(["put", file.to_str().unwrap(), "/file"]);
    let get = |file: &Path| paramiko(["get", "/file", file.to_str().unwrap()]);
    check(&place, put, get, |said| said.matches("Switch to new keys").count());
    place.gateway.stop();
}

#[test]
fn uploads_on_ten_channels_outlast_changes_of_keys() {
    let place = place_with(Kind::Local, |setup| setup.config["server"]["rekey"] = json!({ "data": "16MiB" }));
    // What a client sent before it learns of the change is on its way: on a line with buffers that is a lot.
    let link = Link::to(place.gateway.port, Duration::from_millis(20), 30_000_000);
    let socket = place.local("mux");
    let client = place.client().through(link.port).with(&format!("ControlPath={}", socket.display())).within(LIMIT);
    let mut ssh = client.command("ssh");
    let master = Running::start(ssh.args(["-M", "-N", "-v"]).arg(client.host()));
    until("shared connection", LIMIT, || socket.exists().then_some(()));
    let file = place.local("file");
    write_noise(&file, LENGTH / 2, 8);
    let uploads: Vec<(PathBuf, Running)> = (0..10)
        .map(|i| {
            let mut session = Running::start(&mut client.sftp_command());
            session.feed(format!("put {} /file-{i}\n", file.display()).as_bytes());
            session.close_input();
            (place.root().join(format!("file-{i}")), session)
        })
        .collect();
    for (stored, session) in uploads {
        session.finish(LIMIT).succeeded();
        assert_same_bytes(&stored, &file);
    }
    // What it has said is read to its end only when it ends by itself.
    client.ssh(&["-O", "exit"], &[]).succeeded();
    let said = master.finish(LIMIT).stderr;
    let changes = key_exchanges(&said);
    assert!(changes >= 5, "{changes} changes of keys: {said}");
    assert_ended_well(&place, 1);
    place.gateway.stop();
}
