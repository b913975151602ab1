//! Attempts to log in that cannot be understood, or that the SSH library refuses by itself: each is answered as any other
//! refusal, recorded with its user, its key and its reason, and the connection goes on.

use serde_json::Value;

use crate::keys::{SUCCESS, reasons, steps};
use crate::support::events::field;
use crate::support::gateway::Gateway;
use crate::support::keys::Key;
use crate::support::setup::{Setup, User};

fn gateway() -> (Setup, Gateway, Key) {
    let mut setup = Setup::new();
    setup.memory_store("main");
    let key = setup.key("key");
    let user = User::new("alice").home("/", "main:/").key(&key).password("staple");
    setup.user(user.set("auth", "public_key_or_password"));
    let gateway = setup.start();
    (setup, gateway, key)
}

/// Each step is refused, and the key after them logs in all the same. The events of the refusals.
fn refused(gateway: &Gateway, key: &Key, odd: &[&str]) -> Vec<Value> {
    let good = format!("key={}", key.private.display());
    let all = [&["user=alice"][..], odd, &["user=alice", &good]].concat();
    let answers = steps(gateway, &all);
    let (last, refusals) = answers.split_last().expect("answers");
    assert!(refusals.iter().all(|answer| answer.starts_with("51 ")), "{odd:?}: {answers:?}");
    assert_eq!(last, SUCCESS, "{odd:?}");
    let events = gateway.events.await_disconnected(1);
    events.into_iter().filter(|event| field(event, "activity-type") == "AUTH_FAILURE").collect()
}

#[test]
fn names_and_passwords_that_are_not_utf_8() {
    let (_setup, gateway, key) = gateway();
    let odd = ["password-bytes=ff00fe", "user-bytes=616cff", "password-bytes=00", "method=none"];
    let events = refused(&gateway, &key, &odd);
    assert_eq!(reasons(&events), ["malformed", "malformed", "malformed"], "{events:#?}");
    assert_eq!(field(&events[0], "method"), "password");
    assert_eq!([0, 1, 2].map(|n| field(&events[n], "user")), ["alice", "al\u{fffd}", "al\u{fffd}"]);
    gateway.stop();
}

#[test]
fn keys_that_cannot_be_read() {
    let (_setup, gateway, key) = gateway();
    let odd =
        ["key-bytes=ssh-ed25519:", "key-bytes=ssh-ed25519:0000000b7373682d65643235353139", "key-bytes=ssh-ed448:00"];
    let events = refused(&gateway, &key, &odd);
    assert_eq!(reasons(&events), ["malformed", "malformed", "algorithm-not-allowed"], "{events:#?}");
    assert!(events.iter().all(|event| field(event, "user") == "alice" && field(event, "method") == "publickey"));
    assert_eq!([0, 2].map(|n| field(&events[n], "ssh-public-key-type")), ["ssh-ed25519", "ssh-ed448"]);
    // What `printf '\0' | openssl dgst -sha256 -binary | base64` says.
    assert_eq!(field(&events[2], "ssh-public-key-fingerprint"), "SHA256:bjQLnP+zepicpUTmu3gKLHiQHT+zNzh2hRGjBhevoB0");
    gateway.stop();
}

#[test]
fn signatures_that_are_none_and_answers_that_nobody_asked_for() {
    let (_setup, gateway, key) = gateway();
    let garbled = format!("garbled={}", key.private.display());
    let odd = [&garbled, "new-password=staple", "method=hostbased-of-the-future", "response=", "password=wrong"];
    let events = refused(&gateway, &key, &odd);
    let expected = ["bad-signature", "not-examined", "method-not-allowed", "not-examined", "bad-password"];
    assert_eq!(reasons(&events), expected, "{events:#?}");
    assert_eq!(field(&events[0], "ssh-public-key-fingerprint"), key.fingerprint().0);
    let methods: Vec<&str> = events.iter().map(|event| field(event, "method")).collect();
    assert_eq!(methods, ["publickey", "password", "unknown", "keyboard-interactive", "password"]);
    gateway.stop();
}

/// The same refusals for somebody who does not exist: nothing is told apart.
#[test]
fn an_unknown_user_gets_the_same_answers() {
    let (_setup, gateway, key) = gateway();
    let garbled = format!("garbled={}", key.private.display());
    let odd = ["password-bytes=ff", "key-bytes=ssh-ed448:00", "method=other", "new-password=x", &garbled];
    let answers = |user: &str| steps(&gateway, &[&[user][..], &odd].concat());
    let (known, unknown) = (answers("user=alice"), answers("user=nobody"));
    assert_eq!(known, unknown);
    gateway.stop();
}
