//! Keys: every type that is served, fifty of a user, and the options before them.

use serde_json::Value;

use crate::support::events::{field, types};
use crate::support::gateway::Gateway;
use crate::support::keys::Key;
use crate::support::process::{python, run};
use crate::support::setup::{Setup, User};

/// The answers to attempts with `tests/clients/auth_steps.py`: a line each, a message as `TYPE HEX`.
#[track_caller]
pub fn steps(gateway: &Gateway, steps: &[&str]) -> Vec<String> {
    let mut command = python("auth_steps.py");
    let output = run(command.arg(gateway.port.to_string()).args(steps)).succeeded().stdout;
    output.lines().map(str::to_owned).collect()
}

/// SSH_MSG_USERAUTH_SUCCESS.
pub const SUCCESS: &str = "52 ";

/// The reasons of the failures in the order of the events, with the fingerprints.
pub fn reasons(events: &[Value]) -> Vec<&str> {
    events.iter().filter(|e| field(e, "activity-type") == "AUTH_FAILURE").map(|e| field(e, "reason")).collect()
}

fn with_keys(setup: &mut Setup, keys: &[Key]) {
    setup.memory_store("main");
    setup.user(keys.iter().fold(User::new("alice").home("/", "main:/"), |user, key| user.key(key)));
}

#[test]
fn every_type_of_key_logs_in() {
    let mut setup = Setup::new();
    let kinds: [&[&str]; 6] = [
        &["-t", "ed25519"],
        &["-t", "ecdsa", "-b", "256"],
        &["-t", "ecdsa", "-b", "384"],
        &["-t", "ecdsa", "-b", "521"],
        &["-t", "rsa", "-b", "2048"],
        &["-t", "rsa", "-b", "4096"],
    ];
    let keys: Vec<Key> =
        kinds.iter().enumerate().map(|(i, kind)| Key::make_as(setup.folder(), &format!("key{i}"), kind)).collect();
    with_keys(&mut setup, &keys);
    let gateway = setup.start();
    for (i, key) in keys.iter().enumerate() {
        gateway.client("alice", key).sftp("pwd\n").succeeded();
        let events = gateway.events.await_disconnected(i + 1);
        assert_eq!(types(&events), ["CONNECTED", "DISCONNECTED"]);
        assert_eq!(field(&events[0], "ssh-public-key-type"), key.kind());
        assert_eq!(field(&events[0], "ssh-public-key-comment"), key.comment());
    }
    gateway.stop();
}

#[test]
fn rsa_signs_with_sha_2_only() {
    let mut setup = Setup::new();
    let key = Key::make(setup.folder(), "rsa", "rsa");
    with_keys(&mut setup, std::slice::from_ref(&key));
    let gateway = setup.start();
    for algorithm in ["rsa-sha2-256", "rsa-sha2-512"] {
        let client = gateway.client("alice", &key).with(&format!("PubkeyAcceptedAlgorithms={algorithm}"));
        client.sftp("pwd\n").succeeded();
    }
    // What OpenSSH's client would send when it is told to use SHA-1 is the probe with the name ssh-rsa.
    let public = setup.folder().join("rsa.pub");
    let answers = steps(&gateway, &["user=alice", &format!("probe={}", public.display())]);
    assert!(answers[0].starts_with("51 "), "refused: {answers:?}");
    assert_eq!(reasons(&gateway.events.await_disconnected(3)), ["algorithm-not-allowed"]);
    gateway.stop();
}

#[test]
fn a_key_that_is_asked_about_again_and_again_is_on_record_once_and_not_answered_without_end() {
    let mut setup = Setup::new();
    let key = setup.key("asked");
    with_keys(&mut setup, std::slice::from_ref(&key));
    let gateway = setup.start();
    let probe = format!("probe={}.pub", key.private.display());
    let answers = steps(&gateway, &[&["user=alice"][..], &[probe.as_str(); 25]].concat());
    let (known, refused) = answers.split_at(20);
    assert!(known.iter().all(|answer| answer.starts_with("60 ")), "{answers:?}");
    assert!(refused.iter().all(|answer| answer.starts_with("51 ")), "{answers:?}");
    let events = gateway.events.await_disconnected(1);
    let told = reasons(&events);
    assert_eq!((told[0], &told[1..]), ("offered-not-signed", &["method-not-allowed"; 5][..]));
    // Who signs at last has nothing on record.
    let signs = format!("key={}", key.private.display());
    assert_eq!(steps(&gateway, &["user=alice", &probe, &signs])[1], SUCCESS);
    assert_eq!(reasons(&gateway.events.await_disconnected(2)), [""; 0]);
    gateway.stop();
}

/// The signatures of a FIDO device, made in software: whoever has no device cannot make them with OpenSSH.
#[test]
fn security_keys_log_in() {
    let mut setup = Setup::new();
    let public = |kind: &str, text: &str| run(python("auth_steps.py").args(["public", kind, text])).succeeded().stdout;
    let lines = [public("sk-ed25519", "one"), public("sk-ecdsa", "two")];
    setup.memory_store("main");
    setup.user(User::new("alice").set("public_keys", lines.to_vec()).home("/", "main:/"));
    let gateway = setup.start();
    for (i, (step, line)) in ["sk-ed25519=one", "sk-ecdsa=two"].iter().zip(&lines).enumerate() {
        assert_eq!(steps(&gateway, &["user=alice", step]), [SUCCESS]);
        let events = gateway.events.await_disconnected(i + 1);
        let words: Vec<&str> = line.split_whitespace().collect();
        assert_eq!(field(&events[0], "activity-type"), "CONNECTED");
        assert_eq!(field(&events[0], "ssh-public-key-type"), words[0]);
        assert_eq!(field(&events[0], "ssh-public-key"), words[1]);
        assert_eq!(field(&events[0], "ssh-public-key-comment"), "token");
    }
    let wrong = steps(&gateway, &["user=alice", "sk-wrong=one", "sk-ed25519=three"]);
    assert!(wrong.iter().all(|answer| answer.starts_with("51 ")), "{wrong:?}");
    assert_eq!(reasons(&gateway.events.await_disconnected(3)), ["bad-signature", "key-not-authorized"]);
    gateway.stop();
}

/// As OpenSSH has it: a touch, unless the key's line says otherwise, and verification where it says so.
#[test]
fn security_keys_show_a_touch_and_who_touched_them() {
    let mut setup = Setup::new();
    let public = run(python("auth_steps.py").args(["public", "sk-ed25519", "one"])).succeeded().stdout;
    setup.memory_store("main");
    for (user, options) in [("usual", ""), ("untouched", "no-touch-required "), ("verified", "verify-required ")] {
        let line = format!("{options}{public}");
        setup.user(User::new(user).set("public_keys", vec![line]).home("/", "main:/"));
    }
    let gateway = setup.start();
    let cases = [
        ("usual", "sk-untouched=one", "touch-missing"),
        ("usual", "sk-ed25519=one", ""),
        ("untouched", "sk-untouched=one", ""),
        ("verified", "sk-ed25519=one", "verification-missing"),
        ("verified", "sk-verified=one", ""),
    ];
    for (i, (user, step, reason)) in cases.into_iter().enumerate() {
        let answers = steps(&gateway, &[&format!("user={user}"), step]);
        let events = gateway.events.await_disconnected(i + 1);
        assert_eq!(answers == [SUCCESS], reason.is_empty(), "{user} {step}: {answers:?}");
        assert_eq!(reasons(&events).first().copied().unwrap_or(""), reason, "{user} {step}");
    }
    gateway.stop();
    let key = setup.key("plain");
    setup.user(
        User::new("plain").set("public_keys", vec![format!("verify-required {}", key.public)]).home("/", "main:/"),
    );
    let check =
        run(crate::support::gateway::lockgate().arg("check").arg("--config").arg(setup.write_config())).failed();
    assert!(check.to_string().contains("only a security key can verify"), "{check}");
}

#[test]
fn the_last_of_fifty_keys_logs_in() {
    let mut setup = Setup::new();
    let keys: Vec<Key> = (0..50).map(|i| setup.key(&format!("key{i}"))).collect();
    with_keys(&mut setup, &keys);
    let gateway = setup.start();
    gateway.client("alice", &keys[49]).sftp("pwd\n").succeeded();
    assert_eq!(field(&gateway.events.await_disconnected(1)[0], "ssh-public-key-comment"), "key49@tests");
    gateway.stop();
}

#[test]
fn the_options_of_a_key_hold() {
    let mut setup = Setup::new();
    let names = ["here", "there", "past", "future", "restricted", "last"];
    let keys: Vec<Key> = names.iter().map(|name| setup.key(name)).collect();
    let options = [
        "from=\"127.0.0.0/8,!127.0.0.9\"",
        "from=\"*,!127.0.0.1\"",
        "expiry-time=\"20200101\"",
        "expiry-time=\"29990101Z\"",
        "restrict,no-pty",
        "from=\"127.0.0.?\",expiry-time=\"20200101Z\"",
    ];
    let with: Vec<Key> = keys.iter().zip(options).map(|(key, options)| key.with_options(options)).collect();
    with_keys(&mut setup, &with);
    let gateway = setup.start();
    let expected = [None, Some("source-not-allowed"), Some("key-expired"), None, None, Some("key-expired")];
    for (i, (key, expected)) in keys.iter().zip(expected).enumerate() {
        let finished = gateway.client("alice", key).sftp("pwd\n");
        match expected {
            None => drop(finished.succeeded()),
            Some(_) => drop(finished.complained()),
        }
        let events = gateway.events.await_disconnected(i + 1);
        assert_eq!(reasons(&events).first().copied(), expected, "{}: {events:#?}", options[i]);
    }
    gateway.stop();
}
