//! Attempts to log in: which succeed, and what is on record of each.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;

use serde_json::{Value, json};

use crate::support::data::SMALL_FILE;
use crate::support::events::{field, types};
use crate::support::gateway::Gateway;
use crate::support::keys::Key;
use crate::support::process::LIMIT;
use crate::support::setup::{Setup, User};

/// A gateway with users of every kind.
struct Door {
    setup: Setup,
    gateway: Gateway,
    alice: Key,
    stranger: Key,
}

fn door() -> Door {
    let mut setup = Setup::new();
    setup.memory_store("main");
    let alice = setup.key("alice");
    let stranger = setup.key("stranger");
    let home = |user: User| user.home("/", "main:/home/${user}");
    setup.user(home(User::new("alice").key(&alice).set("role", "partner:alice")));
    setup.user(home(User::new("paula").password("correct horse")));
    setup.user(home(User::new("either").key(&alice).password("battery").set("auth", "public_key_or_password")));
    setup.user(home(User::new("both").key(&alice).password("staple").set("auth", "public_key_and_password")));
    let gateway = setup.start();
    Door { setup, gateway, alice, stranger }
}

fn failures(events: &[Value]) -> Vec<&Value> {
    events.iter().filter(|e| field(e, "activity-type") == "AUTH_FAILURE").collect()
}

#[test]
fn connected_names_the_key_as_ssh_keygen_does() {
    let mut setup = Setup::new();
    setup.memory_store("main");
    let keys: Vec<Key> = ["ed25519", "ecdsa", "rsa"]
        .iter()
        .map(|kind| Key::make(setup.folder(), &format!("key-{kind}"), kind))
        .collect();
    let user = keys.iter().fold(User::new("alice").home("/", "main:/").set("role", "arn:role"), |u, k| u.key(k));
    setup.user(user);
    let gateway = setup.start();
    for (i, key) in keys.iter().enumerate() {
        gateway.client("alice", key).sftp("pwd\n").succeeded();
        let events = gateway.events.await_disconnected(i + 1);
        assert_eq!(types(&events), ["CONNECTED", "DISCONNECTED"]);
        let connected = &events[0];
        assert_eq!(field(connected, "ssh-public-key-type"), key.kind());
        assert_eq!(field(connected, "ssh-public-key-fingerprint"), key.fingerprint().0);
        assert_eq!(field(connected, "ssh-public-key"), key.blob());
        assert_eq!(field(connected, "ssh-public-key-comment"), key.comment());
        assert_eq!(field(connected, "method"), "publickey");
        assert_eq!(field(connected, "role"), "arn:role");
        assert_eq!(field(connected, "user"), "alice");
        assert_eq!(field(connected, "home-dir"), "LOGICAL");
        assert_eq!(field(connected, "source-ip"), "127.0.0.1");
        assert_eq!(field(connected, "resource-arn"), "lockgate:server/edge-1");
        assert!(field(connected, "client").starts_with("SSH-2.0-OpenSSH_"), "{connected}");
        let session = field(connected, "session-id");
        assert!(session.len() == 20 && session.chars().all(|c| c.is_ascii_hexdigit()), "{connected}");
    }
    gateway.stop();
}

#[test]
fn each_rejected_key_is_an_event() {
    let Door { setup, gateway, alice, stranger } = door();
    let others = [stranger.clone(), Key::make(setup.folder(), "ec", "ecdsa"), Key::make(setup.folder(), "rsa", "rsa")];
    let client = others.iter().fold(gateway.keyless("alice"), |c, key| c.identity(&key.private));
    client.sftp("pwd\n").complained();
    let events = gateway.events.await_disconnected(1);
    let failed = failures(&events);
    assert_eq!(failed.len(), 3, "{events:#?}");
    for (i, (event, key)) in failed.iter().zip(&others).enumerate() {
        let (fingerprint, kind) = key.fingerprint();
        assert_eq!(field(event, "message"), format!("{kind} {fingerprint}"));
        assert_eq!(field(event, "reason"), "key-not-authorized");
        assert_eq!(field(event, "method"), "publickey");
        assert_eq!(field(event, "user"), "alice");
        assert_eq!(field(event, "ssh-public-key-type"), key.kind());
        assert_eq!(field(event, "ssh-public-key-fingerprint"), fingerprint);
        assert_ne!(field(event, "kex"), "");
        let attempts: Vec<_> = failed.iter().map(|e| e["attempt"].as_u64()).collect();
        assert!(event["attempt"].as_u64() > if i == 0 { Some(0) } else { attempts[i - 1] }, "{attempts:?}");
    }
    // A rejected key before the right one is on record too.
    gateway.keyless("alice").identity(&stranger.private).identity(&alice.private).sftp("pwd\n").succeeded();
    assert_eq!(types(&gateway.events.await_disconnected(2)), ["AUTH_FAILURE", "CONNECTED", "DISCONNECTED"]);
    gateway.stop();
}

#[test]
fn an_unknown_user_looks_the_same_to_the_client_and_not_in_the_events() {
    let Door { gateway, stranger, setup: _setup, .. } = door();
    let known = gateway.client("alice", &stranger).sftp("pwd\n").failed();
    let unknown = gateway.client("nobody", &stranger).sftp("pwd\n").failed();
    assert_eq!(known.stderr.replace("alice", "X"), unknown.stderr.replace("nobody", "X"));
    let events = gateway.events.await_disconnected(2);
    let failed = failures(&events);
    assert_eq!(failed.len(), 1, "{events:#?}");
    assert_eq!(field(failed[0], "message"), "Authentication failure");
    assert_eq!(field(failed[0], "reason"), "unknown-user");
    assert_eq!(field(failed[0], "user"), "nobody");
    assert_eq!(field(failed[0], "method"), "publickey");
    gateway.stop();
}

#[test]
fn password_users_log_in_and_wrong_passwords_are_events() {
    let Door { gateway, setup: _setup, .. } = door();
    let client = gateway.keyless("paula").password("correct horse").with("PreferredAuthentications=password");
    client.sftp(&format!("put {SMALL_FILE} /file\nls -1\n")).succeeded();
    let events = gateway.events.await_disconnected(1);
    let connected = events.iter().find(|e| field(e, "activity-type") == "CONNECTED").unwrap();
    assert_eq!(field(connected, "method"), "password");
    assert!(connected.get("ssh-public-key").is_none(), "{connected}");

    for (i, (user, password, message, reason)) in [
        ("paula", "wrong", "Invalid user name or password", "bad-password"),
        ("paula", "", "Invalid user name or password", "bad-password"),
        ("nobody", "correct horse", "Authentication failure", "unknown-user"),
    ]
    .into_iter()
    .enumerate()
    {
        let client = gateway.keyless(user).password(password).with("PreferredAuthentications=password");
        client.sftp("pwd\n").complained();
        let events = gateway.events.await_disconnected(i + 2);
        let failed = failures(&events);
        assert_eq!(failed.len(), 1, "{user} {password:?}: {events:#?}");
        assert_eq!(field(failed[0], "message"), message, "{user} {password:?}");
        assert_eq!(field(failed[0], "reason"), reason, "{user} {password:?}");
        assert_eq!(field(failed[0], "method"), "password");
        assert_eq!(field(failed[0], "user"), user);
        assert!(!failed[0].to_string().contains("correct horse"), "no password in an event");
    }
    gateway.stop();
}

#[test]
fn each_mode_asks_for_what_it_says() {
    let Door { gateway, alice, stranger, setup: _setup } = door();
    let key = |user: &str, key: &Key| gateway.client(user, key);
    // A key user cannot use a password, and a password user no key.
    gateway.keyless("alice").password("correct horse").sftp("pwd\n").failed();
    key("paula", &alice).sftp("pwd\n").failed();
    key("either", &alice).sftp("pwd\n").succeeded();
    gateway.keyless("either").password("battery").sftp("pwd\n").succeeded();
    key("either", &stranger).password("battery").sftp("pwd\n").succeeded();
    key("either", &stranger).password("wrong").sftp("pwd\n").failed();
    // Both means both.
    key("both", &alice).sftp("pwd\n").failed();
    gateway.keyless("both").password("staple").sftp("pwd\n").failed();
    key("both", &stranger).password("staple").sftp("pwd\n").failed();
    key("both", &alice).password("wrong").sftp("pwd\n").failed();
    key("both", &alice).password("staple").sftp("pwd\n").succeeded();
    let connected = gateway.events.until("four logins", |events| {
        let all: Vec<_> = events.iter().filter(|e| field(e, "activity-type") == "CONNECTED").cloned().collect();
        (all.len() == 4).then_some(all)
    });
    let methods: Vec<&str> = connected.iter().map(|e| field(e, "method")).collect();
    assert_eq!(
        methods,
        ["publickey", "keyboard-interactive", "keyboard-interactive", "publickey,keyboard-interactive"]
    );
    assert_eq!(field(&connected[3], "ssh-public-key-fingerprint"), alice.fingerprint().0);
    gateway.stop();
}

#[test]
fn a_client_that_never_offers_a_credential_is_on_record() {
    let Door { setup, gateway, .. } = door();
    let nowhere = setup.folder().join("no-such-identity");
    for (i, user) in ["alice", "nobody"].into_iter().enumerate() {
        gateway.keyless(user).identity(&nowhere).sftp("pwd\n").complained();
        let events = gateway.events.await_disconnected(i + 1);
        let failed = failures(&events);
        assert_eq!(failed.len(), 1, "{events:#?}");
        assert_eq!(field(failed[0], "method"), "none");
        assert_eq!(field(failed[0], "reason"), "no-credentials-offered");
        assert_eq!(field(failed[0], "user"), user);
        assert_ne!(field(failed[0], "kex"), "");
    }
    gateway.stop();
}

#[test]
fn a_connection_that_says_nothing_is_no_event_and_one_that_does_is() {
    let Door { gateway, alice, setup: _setup, .. } = door();
    drop(TcpStream::connect(("127.0.0.1", gateway.port)).unwrap());
    // Something that is not SSH.
    let mut web = TcpStream::connect(("127.0.0.1", gateway.port)).unwrap();
    web.write_all(b"GET / HTTP/1.1\r\nHost: gateway\r\n\r\n").unwrap();
    web.set_read_timeout(Some(LIMIT)).unwrap();
    let mut answer = Vec::new();
    let _ = web.read_to_end(&mut answer);
    drop(web);
    gateway.client("alice", &alice).sftp("pwd\n").succeeded();
    gateway.events.await_event("CONNECTED", |_| true);
    let end = gateway.events.await_disconnected(2);
    assert!(!end.is_empty());
    let sessions: std::collections::BTreeSet<String> =
        gateway.events.all().iter().map(|e| field(e, "session-id").to_string()).collect();
    assert_eq!(sessions.len(), 2, "the web client and alice: {:#?}", gateway.events.all());
    gateway.stop();
}

#[test]
fn a_login_takes_only_so_long() {
    let Door { mut setup, gateway, .. } = door();
    gateway.stop();
    setup.limit("login_grace", "1s");
    let gateway = setup.start();
    let mut silent = TcpStream::connect(("127.0.0.1", gateway.port)).unwrap();
    silent.write_all(b"SSH-2.0-Silent_1.0\r\n").unwrap();
    silent.set_read_timeout(Some(LIMIT)).unwrap();
    let mut all = Vec::new();
    silent.read_to_end(&mut all).expect("the gateway closes the connection");
    assert!(all.starts_with(b"SSH-2.0-"), "{}", String::from_utf8_lossy(&all));
    let events = gateway.events.await_disconnected(1);
    assert_eq!(field(events.last().unwrap(), "reason"), "login-grace", "{events:#?}");
    assert!(events.iter().all(|e| field(e, "client") == "SSH-2.0-Silent_1.0"), "{events:#?}");
    gateway.stop();
}

#[test]
fn every_event_has_what_every_event_has() {
    let Door { setup, gateway, alice, stranger } = door();
    let file = setup.folder().join("file");
    fs::write(&file, "bytes").unwrap();
    let put = format!("put {0} /f\nls\nrename /f /g\nmkdir /d\nrmdir /d\nget /g {0}\nrm /g\n", file.display());
    gateway.client("alice", &alice).sftp(&put).succeeded();
    gateway.client("alice", &stranger).sftp("pwd\n").failed();
    gateway.events.await_disconnected(2);
    let all = gateway.events.all();
    let mut ids = std::collections::BTreeSet::new();
    for event in &all {
        let time = field(event, "timestamp");
        assert!(time.len() == 24 && time.ends_with('Z') && &time[19..20] == ".", "{event}");
        let id = field(event, "event-id");
        assert!(id.len() == 36 && &id[14..15] == "7", "a UUID of version 7: {event}");
        assert!(ids.insert(id.to_string()), "twice: {event}");
        assert_eq!(field(event, "server"), "edge-1");
        assert_eq!(field(event, "resource-arn"), "lockgate:server/edge-1");
        assert_eq!(field(event, "source-ip"), "127.0.0.1");
        assert!(event["source-port"].is_u64(), "{event}");
        assert_eq!(field(event, "user"), "alice");
        for (name, value) in event.as_object().unwrap() {
            assert!(*value != json!("") && *value != json!(null), "{name} is empty, not absent: {event}");
        }
    }
    let kinds: std::collections::BTreeSet<&str> = types(&all).into_iter().collect();
    for kind in
        ["CONNECTED", "OPEN", "CLOSE", "LIST", "RENAME", "MKDIR", "RMDIR", "DELETE", "AUTH_FAILURE", "DISCONNECTED"]
    {
        assert!(kinds.contains(kind), "{kind} in {kinds:?}");
    }
    gateway.stop();
}
