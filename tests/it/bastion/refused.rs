//! What nobody gets by jumping: addresses that are not declared, targets and accounts of others, a jump within a jump. Each is said
//! in a sentence, is on record, and opens no socket.

use std::net::TcpListener;

use serde_json::json;

use super::{Bastion, bastion, bastion_with, is_at_target};
use crate::support::events::field;
use crate::support::process::{LIMIT, run, until};

const NO_TARGET: &str = "there is no target of this address for this user";

#[track_caller]
fn denied(door: &Bastion, request: &str, target: &str) {
    let event = door.gateway.events.await_event("REQUEST_DENIED", |event| field(event, "request") == request);
    assert_eq!((field(&event, "user"), field(&event, "target")), ("alice", target), "{event}");
}

#[test]
fn an_address_that_is_not_declared_and_a_target_of_others_get_the_same_words_and_no_socket() {
    let door = bastion();
    let local = TcpListener::bind("127.0.0.1:0").unwrap();
    local.set_nonblocking(true).unwrap();
    let port = local.local_addr().unwrap().port().to_string();
    let nowhere = |host: &str, port: &str| {
        let to = format!("{host}:{port}");
        let refused = door.run("ssh", ["-W", &to, "bastion"]).failed().says(NO_TARGET);
        refused.stderr.replace(&to, "")
    };
    let words = nowhere("127.0.0.1", &port);
    assert_eq!(nowhere("192.168.7.7", "22"), words);
    // Declared, for others.
    assert_eq!(nowhere("192.168.1.11", "22"), words);
    assert_eq!(nowhere("192.168.1.10", "23"), words);
    assert!(local.accept().is_err(), "nobody came");
    denied(&door, &format!("direct-tcpip: 127.0.0.1:{port}"), "");
    denied(&door, "direct-tcpip: 192.168.1.11:22", "target-host-B");
    door.sftp("target-host-A", "ls\n").succeeded();
    door.gateway.stop();
}

#[test]
fn a_user_without_targets_hears_what_every_forwarding_hears() {
    let door = bastion_with(|_, alice| alice.set("targets", json!([])));
    door.run("ssh", ["-W", "192.168.1.10:22", "bastion"]).failed().says("only SFTP and SCP");
    denied(&door, "direct-tcpip: 192.168.1.10:22", "");
    door.gateway.stop();
}

#[test]
fn an_account_that_is_not_there_and_one_of_others_are_told_apart_by_nobody() {
    let door = bastion();
    for account in ["root", "nobody", "alice", "*"] {
        let host = format!("{account}@192.168.1.10");
        let refused = door.run("sftp", ["-J", "bastion", "-b", "/dev/null", &host]).failed();
        let words = "X@192.168.1.10: Permission denied (publickey).";
        assert!(refused.stderr.replace(account, "X").contains(words), "{refused}");
        let event = door.gateway.events.await_event("AUTH_FAILURE", |event| field(event, "account") == account);
        let facts = ["user", "target", "reason", "identity", "ssh-public-key-fingerprint"];
        let facts = facts.map(|name| field(&event, name).to_owned());
        let (fingerprint, _) = door.key.fingerprint();
        assert_eq!(
            facts,
            ["alice", "target-host-A", "account-not-allowed", door.key.comment(), &fingerprint],
            "{event}"
        );
    }
    assert_eq!(door.logins_at_targets(), 0);
    door.gateway.stop();
}

#[test]
fn shells_forwarding_and_another_jump_are_refused_at_a_target() {
    let door = bastion();
    door.run("ssh", ["-T", "target-host-A"]).failed().says("only SFTP and SCP");
    door.run("ssh", ["-T", "target-host-A", "id"]).failed().says("only SFTP and SCP");
    door.run("ssh", ["-W", "192.168.1.10:22", "target-host-A"]).failed().says("only SFTP and SCP");
    door.run("ssh", ["-N", "-o", "ExitOnForwardFailure=yes", "-R", "0:127.0.0.1:22", "target-host-A"]).failed();
    for request in ["shell", "exec: id", "direct-tcpip: 192.168.1.10:22", "tcpip-forward: 127.0.0.1:0"] {
        let event = door.gateway.events.await_event("REQUEST_DENIED", |event| {
            field(event, "request") == request
                || field(event, "request").starts_with("tcpip-forward") && request.starts_with("tcpip")
        });
        assert_eq!((field(&event, "account"), field(&event, "target")), ("deploy", "target-host-A"), "{event}");
    }
    door.gateway.stop();
}

#[test]
fn a_target_that_wants_a_proof_of_its_own_gets_one_of_the_users_keys_and_nothing_else() {
    let door = bastion_with(|setup, alice| {
        setup.config["targets"][0]["inner_login"] = "proof".into();
        alice
    });
    door.sftp("target-host-A", "ls\n").succeeded();
    let login = door.gateway.events.await_event("CONNECTED", is_at_target);
    assert_eq!((field(&login, "method"), field(&login, "user")), ("publickey", "alice"));
    // The jump is alice's; what comes after it offers another key.
    let stranger = door.setup.key("stranger");
    let to = format!("ProxyCommand=ssh -F {} -W %h:%p bastion", door.setup.folder().join("ssh_config").display());
    let mut command = door.command("sftp");
    command.args([
        "-o",
        &to,
        "-o",
        "IdentityAgent=none",
        "-o",
        &format!("IdentityFile={}", stranger.private.display()),
    ]);
    let config = std::fs::read_to_string(door.setup.folder().join("ssh_config")).unwrap();
    let without = config.lines().filter(|line| !line.contains("IdentityFile")).collect::<Vec<_>>().join("\n");
    let bare = door.setup.folder().join("bare_config");
    std::fs::write(&bare, without).unwrap();
    command.arg("-F").arg(&bare).args(["-b", "/dev/null", "deploy@192.168.1.10"]);
    run(&mut command).failed().says("Permission denied");
    let failure = door.gateway.events.await_event("AUTH_FAILURE", |event| field(event, "method") == "publickey");
    let facts = ["user", "account", "target", "reason"].map(|name| field(&failure, name));
    assert_eq!(facts, ["alice", "deploy", "target-host-A", "key-not-authorized"], "{failure}");
    door.gateway.stop();
}

#[test]
fn a_client_with_no_algorithm_in_common_is_on_record_at_the_target() {
    let door = bastion();
    // A client that gives up ends the connection under it, often before what it wanted was sent.
    let failure = until("KEX_FAILURE at the target", LIMIT, || {
        door.run("sftp", ["-o", "KexAlgorithms=diffie-hellman-group1-sha1", "-b", "/dev/null", "target-host-A"])
            .failed();
        door.gateway.events.of_type("KEX_FAILURE").into_iter().find(is_at_target)
    });
    let facts = ["user", "target", "reason", "identity"].map(|name| field(&failure, name));
    assert_eq!(facts, ["alice", "target-host-A", "no-common-kex", door.key.comment()], "{failure}");
    door.gateway.stop();
}
