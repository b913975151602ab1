//! Keys and certificates that let nobody in any more.

use std::fs;
use std::path::Path;

use rustix::process::Signal;
use serde_json::json;

use crate::certificates::sign;
use crate::keys::reasons;
use crate::support::events::field;
use crate::support::gateway::{Gateway, lockgate};
use crate::support::keys::Key;
use crate::support::process::LIMIT;
use crate::support::process::{program, run};
use crate::support::setup::{Setup, User};
use crate::support::sftp::Sftp;

fn keygen(folder: &Path, words: &[&str]) {
    run(program("ssh-keygen").args(words).current_dir(folder)).succeeded();
}

/// A gateway with an authority, two users with a key each, a list and a file of ssh-keygen.
fn office() -> (Setup, Gateway, Key, [Key; 2]) {
    let mut setup = Setup::new();
    setup.memory_store("main");
    let (authority, keys) = (setup.key("authority"), ["alice", "bob"].map(|name| setup.key(name)));
    setup.config["trusted_user_ca_keys"] = json!([authority.public]);
    for (name, key) in ["alice", "bob"].iter().zip(&keys) {
        setup.user(User::new(name).home("/", "main:/").key(key));
    }
    let (list, krl) = (setup.folder().join("revoked"), setup.folder().join("krl"));
    fs::write(&list, "# nobody yet\n").unwrap();
    keygen(setup.folder(), &["-q", "-k", "-f", "krl"]);
    setup.config["revoked_keys"] = json!([list, krl]);
    let gateway = setup.start();
    (setup, gateway, authority, keys)
}

fn reload(gateway: &Gateway) {
    let before = gateway.log().matches("reloaded: ").count();
    gateway.signal(Signal::HUP);
    crate::support::process::until("reload", LIMIT, || {
        (gateway.log().matches("reloaded: ").count() > before).then_some(())
    });
}

#[test]
fn a_key_that_is_revoked_lets_nobody_in_and_its_session_ends() {
    let (setup, gateway, _authority, [alice, bob]) = office();
    gateway.client("alice", &alice).sftp("pwd\n").succeeded();
    let mut live = Sftp::connect(&gateway.client("alice", &alice), LIMIT);
    live.make_directory("/d").unwrap();
    fs::write(setup.folder().join("revoked"), format!("{} # stolen\n", alice.fingerprint().0)).unwrap();
    reload(&gateway);
    let ended = gateway.events.await_event("DISCONNECTED", |event| field(event, "reason") == "key-revoked");
    assert_eq!(field(&ended, "user"), "alice");
    gateway.client("alice", &alice).sftp("pwd\n").failed();
    let failed = gateway.events.await_event("AUTH_FAILURE", |_| true);
    assert_eq!(
        (field(&failed, "reason"), field(&failed, "ssh-public-key-fingerprint")),
        ("key-revoked", &*alice.fingerprint().0)
    );
    gateway.client("bob", &bob).sftp("pwd\n").succeeded();
    // Back again.
    fs::write(setup.folder().join("revoked"), "").unwrap();
    reload(&gateway);
    gateway.client("alice", &alice).sftp("pwd\n").succeeded();
    gateway.stop();
}

#[test]
fn certificates_are_revoked_by_number_by_name_by_key_and_with_their_authority() {
    let (setup, gateway, authority, _) = office();
    let folder = setup.folder();
    let key = setup.key("fresh");
    let certificate = |name: &str, id: &str, serial: &str| {
        sign(folder, name, &authority, &key, &["-I", id, "-n", "alice", "-z", serial])
    };
    let shows = |certificate: &Path| {
        gateway.client("alice", &key).with(&format!("CertificateFile={}", certificate.display())).sftp("pwd\n")
    };
    let (seven, eight, named) =
        (certificate("c7", "x", "7"), certificate("c8", "x", "8"), certificate("c9", "ann@corp", "9"));
    [&seven, &eight, &named].iter().for_each(|one| drop(shows(one).succeeded()));
    fs::write(folder.join("spec"), "serial: 7\nid: ann@corp\n").unwrap();
    keygen(folder, &["-q", "-k", "-f", "krl", "-s", "authority.pub", "spec"]);
    reload(&gateway);
    shows(&seven).failed();
    shows(&named).failed();
    shows(&eight).succeeded();
    for revoked in [&key, &authority] {
        fs::write(folder.join("revoked"), format!("{}\n", revoked.public)).unwrap();
        reload(&gateway);
        shows(&eight).failed();
    }
    gateway.events.await_disconnected(8);
    let failures = gateway.events.of_type("AUTH_FAILURE");
    // The client offers the plain key after the certificate.
    let revoked = reasons(&failures).into_iter().filter(|reason| *reason == "key-revoked").count();
    assert_eq!(revoked, 4, "{failures:#?}");
    gateway.stop();
}

#[test]
fn a_list_that_cannot_be_read_is_an_error_and_changes_nothing() {
    let (setup, gateway, _authority, [alice, _]) = office();
    fs::write(setup.folder().join("revoked"), format!("{}\n", alice.public)).unwrap();
    reload(&gateway);
    gateway.client("alice", &alice).sftp("pwd\n").failed();
    fs::write(setup.folder().join("krl"), b"SSHKRL\n\0torn").unwrap();
    let config = setup.write_config();
    let check = run(lockgate().arg("check").arg("--config").arg(&config)).failed();
    assert!(check.to_string().contains("revoked_keys[1]"), "{check}");
    gateway.signal(Signal::HUP);
    crate::support::process::until("refusal of the reload", LIMIT, || {
        gateway.log().contains("revoked_keys[1]").then_some(())
    });
    gateway.client("alice", &alice).sftp("pwd\n").failed();
    gateway.stop();
}
