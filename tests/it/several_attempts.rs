//! Clients that log in with their second key or after it, and what a connection may do before it has logged in. The SSH library is
//! amended for these: `upstream/russh`.

use crate::keys::reasons;
use crate::support::events::field;
use crate::support::gateway::Gateway;
use crate::support::keys::Key;
use crate::support::process::{Finished, python, run};
use crate::support::setup::{Setup, User};

fn gateway() -> (Setup, Gateway, Key, Key) {
    let mut setup = Setup::new();
    setup.memory_store("main");
    let (key, other) = (setup.key("key"), setup.key("other"));
    let user = User::new("alice").home("/", "main:/").key(&key).password("staple");
    setup.user(user.set("auth", "public_key_or_password"));
    let gateway = setup.start();
    (setup, gateway, key, other)
}

fn attempt(gateway: &Gateway, how: &str, rest: &[&str]) -> Finished {
    run(python("several_attempts.py").args([how, &gateway.port.to_string(), "alice"]).args(rest))
}

fn path(key: &Key) -> &str {
    key.private.to_str().expect("UTF-8")
}

#[test]
fn paramiko_logs_in_after_a_key_that_is_not_the_user_s() {
    let (_setup, gateway, key, other) = gateway();
    attempt(&gateway, "paramiko-password", &[path(&other), "staple"]).succeeded();
    let events = gateway.events.await_disconnected(1);
    assert_eq!(reasons(&events), ["key-not-authorized"], "{events:#?}");
    let connected = events.iter().find(|event| field(event, "activity-type") == "CONNECTED").expect("a login");
    assert_eq!(field(connected, "method"), "password");
    attempt(&gateway, "paramiko-key", &[path(&other), path(&key)]).succeeded();
    let events = gateway.events.await_disconnected(2);
    assert_eq!(reasons(&events), ["key-not-authorized"], "{events:#?}");
    gateway.stop();
}

#[test]
fn a_key_of_an_unknown_algorithm_is_refused_and_the_next_one_logs_in() {
    let (_setup, gateway, key, _) = gateway();
    attempt(&gateway, "asyncssh-ed448", &[path(&key)]).succeeded();
    gateway.stop();
}

#[test]
fn keys_are_not_exchanged_again_before_the_login() {
    let (_setup, gateway, _, _) = gateway();
    assert_eq!(attempt(&gateway, "exchange-early", &[]).succeeded().stdout.trim(), "ended");
    gateway.stop();
}

#[test]
fn a_service_that_nobody_has_ends_the_connection() {
    let (_setup, gateway, _, _) = gateway();
    assert_eq!(attempt(&gateway, "other-service", &[]).succeeded().stdout.trim(), "ended");
    gateway.stop();
}
