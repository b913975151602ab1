//! Jumps with other clients than OpenSSH's, and many at once.

use std::fs;
use std::net::TcpStream;
use std::path::Path;
use std::time::Duration;

use serde_json::json;

use super::{Bastion, bastion, bastion_with, is_at_target};
use crate::support::data::{MIB, assert_same_bytes, write_noise};
use crate::support::events::field;
use crate::support::keys::Key;
use crate::support::link::Link;
use crate::support::process::{Finished, LIMIT, Running, program, python, run, tool, until};
use crate::support::server::free_port;

#[test]
fn clients_that_show_something_before_they_ask_get_in_as_well() {
    let door = bastion();
    for how in ["key", "password", "interactive", "asyncssh"] {
        let mut command = python("jump_client.py");
        command.arg(door.gateway.port.to_string()).arg(&door.key.private).arg(door.host_key.blob()).arg(how);
        run(&mut command).succeeded();
        assert_eq!(fs::metadata(door.root.join("web").join(how)).unwrap().len(), 100_000);
    }
    assert!(!door.gateway.log().contains("whatever"), "{}", door.gateway.log());
    door.gateway.stop();
}

#[test]
fn puttys_psftp_jumps_by_a_proxy_command() {
    let door = bastion();
    let folder = door.setup.folder();
    let key = folder.join("alice.ppk");
    run(program("puttygen").arg(&door.key.private).args(["-O", "private", "-o"]).arg(&key)).succeeded();
    let file = folder.join("file");
    write_noise(&file, MIB, 1);
    let script = folder.join("script");
    fs::write(&script, format!("put {} /by-psftp\n", file.display())).unwrap();
    let host_keys: Vec<String> =
        door.setup.host_keys().iter().map(|key| format!("-hostkey {}", key.fingerprint().0)).collect();
    let proxy = format!(
        "plink -batch -P {} -i {} {} alice@127.0.0.1 -nc %host:%port",
        door.gateway.port,
        key.display(),
        host_keys.join(" ")
    );
    let mut command = program("psftp");
    command.env("HOME", folder).args(["-batch", "-proxycmd", &proxy, "-i"]).arg(&key);
    command.args(["-hostkey", &door.host_key.fingerprint().0, "-b"]).arg(&script).arg("deploy@192.168.1.10");
    run(&mut command).succeeded();
    assert_same_bytes(&door.root.join("web/by-psftp"), &file);
    door.gateway.stop();
}

#[test]
fn jsch_jumps_through_a_forwarded_port() {
    let door = bastion();
    let file = door.setup.folder().join("file");
    write_noise(&file, MIB, 1);
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients/JschJump.java");
    let mut command = program("java");
    command.arg("-cp").arg(tool("java/jsch.jar")).arg(source);
    command.arg(door.gateway.port.to_string()).arg(&door.key.private).arg(door.setup.folder().join("known"));
    run(command.arg(&file).arg("/by-jsch")).succeeded();
    assert_same_bytes(&door.root.join("web/by-jsch"), &file);
    door.gateway.stop();
}

#[test]
fn mina_sshd_jumps_by_its_own_proxy_jump() {
    let mut ecdsa = None;
    let door = bastion_with(|setup, alice| {
        // It reads no Ed25519 without another library: a key of another kind, and the target with the gateway's own host keys.
        let key = Key::make(setup.folder(), "for_mina", "ecdsa");
        let alice = alice.key(&key).set("targets", json!([{ "target": "target-host-B", "accounts": ["deploy"] }]));
        ecdsa = Some(key);
        alice
    });
    let key = ecdsa.unwrap();
    let file = door.setup.folder().join("file");
    write_noise(&file, MIB, 1);
    let jars = ["sshd-osgi", "sshd-sftp", "slf4j-api", "jcl-over-slf4j"];
    let jars: Vec<String> = jars.iter().map(|jar| tool(&format!("java/{jar}.jar")).display().to_string()).collect();
    let host_key = door.setup.host_keys().iter().find(|key| key.kind().starts_with("ecdsa")).unwrap();
    let mina = |host_key: &Key| {
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients/MinaJump.java");
        let mut command = program("java");
        command.arg("-cp").arg(jars.join(":")).arg(source).arg(door.gateway.port.to_string()).arg(&key.private);
        run(command.arg(host_key.blob()).arg(&file).arg("/by-mina"))
    };
    mina(host_key).succeeded();
    assert_same_bytes(&door.root.join("b/by-mina"), &file);
    let made = door.gateway.events.await_event("CLOSE", is_at_target);
    assert_eq!((field(&made, "user"), field(&made, "target")), ("alice", "target-host-B"), "{made}");
    // The target's key is judged under the target's name: another one is noticed.
    mina(&key).failed().says("another host key at the target");
    door.gateway.stop();
}

#[test]
fn putty_s_code_and_so_winscp_s_reaches_a_target_through_a_tunnel() {
    let door = bastion();
    let folder = door.setup.folder();
    let key = folder.join("alice.ppk");
    run(program("puttygen").arg(&door.key.private).args(["-O", "private", "-o"]).arg(&key)).succeeded();
    let file = folder.join("file");
    write_noise(&file, MIB, 1);
    let script = folder.join("script");
    fs::write(&script, format!("put {} /by-tunnel\n", file.display())).unwrap();
    // As WinSCP does it: a connection without any session, a port on this machine, and each connection to that is a jump.
    let port = free_port();
    let mut tunnel = program("plink");
    tunnel.env("HOME", folder).args(["-batch", "-N", "-P", &door.gateway.port.to_string(), "-i"]).arg(&key);
    for host in door.setup.host_keys() {
        tunnel.args(["-hostkey", &host.fingerprint().0]);
    }
    let tunnel = Running::start(tunnel.args(["-L", &format!("127.0.0.1:{port}:192.168.1.10:22"), "alice@127.0.0.1"]));
    until("the tunnel", LIMIT, || TcpStream::connect(("127.0.0.1", port)).is_ok().then_some(()));
    let psftp = |host_key: &Key| {
        let mut command = program("psftp");
        command.env("HOME", folder).args(["-batch", "-P", &port.to_string(), "-i"]).arg(&key);
        command.args(["-loghost", "192.168.1.10", "-hostkey", &host_key.fingerprint().0, "-b"]).arg(&script);
        run(command.arg("deploy@127.0.0.1"))
    };
    psftp(&door.host_key).succeeded();
    assert_same_bytes(&door.root.join("web/by-tunnel"), &file);
    psftp(&door.setup.host_keys()[0]).failed();
    drop(tunnel);
    door.gateway.stop();
}

#[test]
fn two_hundred_sessions_at_targets_run_side_by_side_over_twenty_connections() {
    let door = bastion();
    let mut command = python("jump_many.py");
    run(command.arg(door.gateway.port.to_string()).arg(&door.key.private).args(["20", "10"])).succeeded();
    assert_eq!(fs::read_dir(door.root.join("web")).unwrap().count(), 200);
    let ends = door.ends(220);
    assert_eq!(ends.iter().filter(|event| is_at_target(event)).count(), 200);
    assert!(ends.iter().all(|event| field(event, "reason") == "client"), "{ends:#?}");
    door.gateway.stop();
}

#[test]
fn one_line_of_known_hosts_is_enough_for_all_targets_with_a_host_authority() {
    let mut authority = None;
    let door = bastion_with(|setup, alice| {
        let key = setup.key("host_ca");
        setup.config["host_ca"] = key.private.to_str().unwrap().into();
        authority = Some(key);
        alice.set(
            "targets",
            serde_json::json!([
                { "group": "web", "accounts": ["deploy"] },
                { "target": "target-host-B", "accounts": ["deploy"] },
            ]),
        )
    });
    let authority = authority.unwrap();
    let known = door.setup.folder().join("known");
    let trust = |of: &str| {
        let line = format!("@cert-authority {of} {} {}\n", authority.kind(), authority.blob());
        fs::write(&known, fs::read_to_string(door.gateway.known_hosts()).unwrap() + &line).unwrap();
    };
    trust("192.168.1.*");
    door.sftp("target-host-A", "ls\n").succeeded();
    door.sftp("target-host-B", "ls\n").succeeded();
    // The certificate is of the target's own names.
    let alias = ["-o", "HostKeyAlias=192.168.1.11", "-b", "/dev/null", "target-host-A"];
    run(door.command("sftp").args(alias)).failed();
    trust("10.*");
    door.sftp("target-host-A", "ls\n").failed();
    door.gateway.stop();
}

/// A step of `jump_steps.py` over a connection to this port.
fn step(door: &Bastion, port: u16, step: &str, rest: &[&Path]) -> Finished {
    let mut command = python("jump_steps.py");
    run(command.arg(port.to_string()).arg(&door.key.private).arg(step).args(rest))
}

#[test]
fn a_file_that_is_asked_for_at_one_go_comes_over_a_slow_line_and_stops_nobody_else() {
    let door = bastion();
    let big = door.root.join("web/big");
    write_noise(&big, 48 * MIB, 1);
    let line = Link::to(door.gateway.port, Duration::from_millis(20), 200_000_000);
    let back = door.setup.folder().join("back");
    step(&door, line.port, "download", &[&back]).succeeded();
    assert_same_bytes(&back, &big);
    door.gateway.stop();
}

/// After the login at the target, requests may wait of which there were too many before it.
#[test]
fn many_requests_wait_until_their_answers_are_taken() {
    let door = bastion();
    let (big, back) = (door.root.join("web/big"), door.setup.folder().join("back"));
    write_noise(&big, 700_000, 1);
    step(&door, door.gateway.port, "ahead", &[&back]).succeeded();
    assert_same_bytes(&back, &big);
    door.gateway.stop();
}

#[test]
fn wrong_accounts_ban_nobody_s_address() {
    let door = bastion_with(|setup, alice| {
        setup.config["defender"] = serde_json::json!({ "allow": [] });
        alice
    });
    step(&door, door.gateway.port, "guess", &[]).succeeded();
    assert_eq!(door.gateway.events.of_type("AUTH_FAILURE").len(), 48);
    door.sftp("target-host-A", "ls\n").succeeded();
    door.gateway.stop();
}

#[test]
fn a_connection_that_breaks_the_protocol_is_the_reason_at_the_target_too() {
    let door = bastion();
    step(&door, door.gateway.port, "garbage", &[]);
    let ends = door.ends(2);
    let (inner, outer): (Vec<_>, Vec<_>) = ends.iter().partition(|event| is_at_target(event));
    assert_eq!(field(outer[0], "reason"), "error", "{ends:#?}");
    assert_eq!(field(inner[0], "reason"), "jump-ended", "{ends:#?}");
    door.gateway.stop();
}

/// asyncssh ends the whole connection for a second EOF. Who says goodbye and leaves the channel open is waited for briefly, not until `idle`.
#[test]
fn a_connection_at_a_target_that_says_goodbye_gets_one_eof_and_ends_with_its_files() {
    let door = bastion();
    for answers in ["answers", "is silent"] {
        let said = step(&door, door.gateway.port, "goodbye", &[Path::new(answers)]).succeeded().stdout;
        assert_eq!(said.trim(), "EOF CLOSE", "the client {answers}");
    }
    let cut = door.gateway.events.until("both uploads to be cut off", |events| {
        let cut = events.iter().filter(|event| field(event, "activity-type") == "PARTIAL_CLOSE");
        let cut: Vec<_> = cut.cloned().collect();
        (cut.len() == 2).then_some(cut)
    });
    assert!(cut.iter().all(|event| field(event, "logical-path") == "/unfinished"), "{cut:?}");
    assert!(!door.root.join("web/unfinished").exists(), "nothing is published");
    door.gateway.stop();
}

#[test]
fn jumps_that_say_nothing_wait_for_each_other_and_hinder_nobody() {
    let door = bastion();
    step(&door, door.gateway.port, "silent", &[]).succeeded();
    step(&door, door.gateway.port, "paced", &[]).succeeded();
    door.sftp("target-host-A", "ls\n").succeeded();
    door.gateway.stop();
}
