//! What the events say of the handshake, against what a client says of it.

use std::process::Command;

use serde_json::Value;

use crate::support::events::field;
use crate::support::gateway::Gateway;
use crate::support::keys::Key;
use crate::support::process::{LIMIT, program, python, run, run_with, tool};
use crate::support::setup::{Setup, User};

/// What was negotiated on one connection.
#[derive(Debug, PartialEq, Eq)]
struct Negotiated {
    kex: String,
    host_key: String,
    ciphers: String,
    macs: String,
    compression: String,
}

impl Negotiated {
    /// Reads the lines of `negotiated.py`. The client's own direction is client to server.
    fn of_client(said: &str) -> Negotiated {
        let mut lines = said.lines().map(String::from);
        let mut next = || lines.next().unwrap_or_else(|| panic!("a line is missing: {said}"));
        Negotiated { kex: next(), host_key: next(), ciphers: next(), macs: next(), compression: next() }
    }

    fn of_event(event: &Value) -> Negotiated {
        Negotiated {
            kex: field(event, "kex").into(),
            host_key: field(event, "host-key-algorithm").into(),
            ciphers: field(event, "ciphers").into(),
            macs: field(event, "macs").into(),
            compression: field(event, "compression").into(),
        }
    }
}

struct Door {
    _setup: Setup,
    gateway: Gateway,
    key: Key,
}

/// A gateway with a security policy, one user and a memory store.
fn door(policy: Option<&str>) -> Door {
    let mut setup = Setup::new();
    setup.memory_store("main");
    let key = setup.key("alice");
    setup.user(User::new("alice").key(&key).home("/", "main:/"));
    if let Some(policy) = policy {
        setup.config["server"]["security_policy"] = policy.into();
    }
    let gateway = setup.start();
    Door { _setup: setup, gateway, key }
}

/// Logs in and out with asyncssh and these algorithms; what it reports.
fn negotiated(gateway: &Gateway, key: &Key, choices: &[&str]) -> String {
    let mut client = python("negotiated.py");
    client.args([&gateway.port.to_string(), "alice"]).arg(&key.private).args(choices);
    run(&mut client).succeeded().stdout
}

#[test]
fn connected_has_the_algorithms_that_were_negotiated() {
    let choices: [&[&str]; 8] = [
        &[],
        &["kex_algs=curve25519-sha256", "encryption_algs=aes128-gcm@openssh.com"],
        &["kex_algs=ecdh-sha2-nistp256", "encryption_algs=aes256-ctr", "mac_algs=hmac-sha2-256-etm@openssh.com"],
        &[
            "kex_algs=diffie-hellman-group16-sha512",
            "encryption_algs=aes128-ctr",
            "mac_algs=hmac-sha2-512-etm@openssh.com",
        ],
        &[
            "kex_algs=curve25519-sha256@libssh.org",
            "encryption_algs=aes192-ctr",
            "mac_algs=hmac-sha2-512-etm@openssh.com,hmac-sha2-256-etm@openssh.com",
        ],
        &["server_host_key_algs=ecdsa-sha2-nistp256", "encryption_algs=aes256-gcm@openssh.com"],
        // Names that the server does not have stand first.
        &[
            "kex_algs=diffie-hellman-group14-sha1,ecdh-sha2-nistp521",
            "encryption_algs=aes256-cbc,aes256-gcm@openssh.com",
        ],
        // The client wants compression and does not get it.
        &["compression_algs=zlib@openssh.com,none", "kex_algs=diffie-hellman-group18-sha512"],
    ];
    let Door { gateway, key, _setup } = door(Some("transfer-2024-01"));
    for (i, choices) in choices.iter().enumerate() {
        let said = negotiated(&gateway, &key, choices);
        let events = gateway.events.await_disconnected(i + 1);
        let connected = events.iter().find(|e| field(e, "activity-type") == "CONNECTED").expect("CONNECTED");
        assert_eq!(Negotiated::of_event(connected), Negotiated::of_client(&said), "{choices:?}");
        for choice in *choices {
            let (name, value) = choice.split_once('=').unwrap();
            let seen = match name {
                "kex_algs" => field(connected, "kex"),
                "encryption_algs" => field(connected, "ciphers").split(',').next().unwrap(),
                "server_host_key_algs" => field(connected, "host-key-algorithm"),
                _ => continue,
            };
            assert!(value.split(',').any(|v| v == seen), "{choice} became {seen}");
        }
    }
    gateway.stop();
}

#[test]
fn the_default_policy_serves_modern_choices() {
    let Door { gateway, key, _setup } = door(None);
    for option in [
        "Ciphers=chacha20-poly1305@openssh.com",
        "Ciphers=aes256-gcm@openssh.com",
        "Ciphers=aes128-gcm@openssh.com",
        "KexAlgorithms=curve25519-sha256",
        "HostKeyAlgorithms=ssh-ed25519",
    ] {
        gateway.client("alice", &key).with(option).sftp("pwd\n").succeeded();
    }
    let connected = gateway.events.await_event("CONNECTED", |_| true);
    assert_eq!(field(&connected, "ciphers"), "chacha20-poly1305@openssh.com,chacha20-poly1305@openssh.com");
    assert_eq!(field(&connected, "macs"), "<implicit>,<implicit>");
    gateway.stop();
}

/// HASSH is the MD5 of the client's lists.
#[test]
fn connected_has_the_hassh_of_the_client() {
    let Door { gateway, key, _setup } = door(None);
    let said = negotiated(&gateway, &key, &[]);
    let lists = said.lines().nth(5).expect("the client's lists");
    let sum = run_with(&mut program("md5sum"), lists.as_bytes(), LIMIT).succeeded().stdout;
    let connected = gateway.events.await_event("CONNECTED", |_| true);
    assert_eq!(field(&connected, "hassh"), &sum[..32], "{lists}");
    gateway.stop();
}

#[test]
fn a_client_without_a_common_algorithm_is_a_kex_failure() {
    let cases = [
        ("KexAlgorithms=diffie-hellman-group1-sha1", "no matching key exchange method found", "client-kex-algorithms"),
        ("Ciphers=3des-cbc", "no matching cipher found", "client-ciphers"),
        ("HostKeyAlgorithms=ssh-rsa", "no matching host key type found", "client-host-key-algorithms"),
        ("MACs=hmac-md5", "no matching MAC found", "client-macs"),
    ];
    let Door { gateway, key, _setup } = door(None);
    for (i, (option, message, list)) in cases.into_iter().enumerate() {
        let mut client = gateway.client("alice", &key).with(option);
        if option.starts_with("MACs") {
            // An AEAD cipher needs no MAC.
            client = client.with("Ciphers=aes256-ctr");
        }
        client.sftp("pwd\n").complained();
        let failures = gateway.events.until("another KEX_FAILURE", |events| {
            let found: Vec<Value> =
                events.iter().filter(|e| field(e, "activity-type") == "KEX_FAILURE").cloned().collect();
            (found.len() > i).then_some(found)
        });
        let event = failures.last().unwrap();
        assert!(field(event, "message").starts_with(message), "{option}: {event}");
        assert_ne!(field(event, "reason"), "", "{event}");
        let offered = option.split_once('=').unwrap().1;
        assert!(field(event, list).contains(offered), "{option}: the client's list is in {list}: {event}");
        assert_eq!(field(event, "kex"), field(event, list), "the list that did not match: {event}");
        assert_eq!(field(event, "source-ip"), "127.0.0.1");
    }
    assert_eq!(gateway.events.of_type("KEX_FAILURE").len(), cases.len());
    assert_eq!(gateway.events.of_type("CONNECTED").len(), 0);
    gateway.stop();
}

#[test]
fn ssh_audit_finds_nothing_to_fail_in_the_default() {
    let mut setup = Setup::new();
    setup.memory_store("main");
    // What `lockgate init` writes: the Ed25519 key. RSA beside it, as an operator who comes from elsewhere has it.
    let ed25519 = setup.host_keys()[0].private.clone();
    let rsa = Key::make(setup.folder(), "host_rsa", "rsa").private;
    setup.config["server"]["host_keys"] = serde_json::json!([ed25519, rsa]);
    for policy in [None, Some("ssh-audit")] {
        if let Some(policy) = policy {
            setup.config["server"]["security_policy"] = policy.into();
        }
        let gateway = setup.start();
        let mut audit = Command::new(tool("venv/bin/ssh-audit"));
        audit.args(["--json", "--skip-rate-test", "--port", &gateway.port.to_string(), "127.0.0.1"]);
        let report = run_with(&mut audit, b"", LIMIT).stdout;
        let report: Value = serde_json::from_str(&report).unwrap_or_else(|error| panic!("{error}: {report}"));
        let mut looked_at = 0;
        for group in ["kex", "key", "enc", "mac"] {
            for algorithm in report[group].as_array().unwrap() {
                assert!(algorithm["notes"].get("fail").is_none(), "{policy:?}: {algorithm}");
                looked_at += 1;
            }
        }
        assert!(looked_at > 10 && report["cves"].as_array().unwrap().is_empty(), "{report}");
        gateway.stop();
    }
}
