//! An upstream server that is away, or is another one, keeps nobody from the other stores: at the start, and after a reload.

use std::fs;
use std::net::SocketAddr;

use rustix::process::Signal;
use serde_json::json;

use crate::admin::address_of;
use crate::support::gateway::{Gateway, lockgate};
use crate::support::http::Place;
use crate::support::keys::Key;
use crate::support::process::{LIMIT, run, until};
use crate::support::setup::{Setup, User};
use crate::support::sftp::Sftp;
use crate::support::sshd::Sshd;
use crate::upstream::configured;

/// Alice's home is upstream, bob's is not; health is shown.
fn with_another(sshd: &Sshd, further: &[(&str, &str)]) -> (Setup, Key) {
    let (mut setup, key, _) = configured(sshd, further);
    setup.local_store("here");
    setup.user(User::new("bob").key(&key).home("/", "here:/"));
    setup.config["admin"] = json!({ "health": "127.0.0.1:0" });
    (setup, key)
}

struct Away {
    gateway: Gateway,
    key: Key,
    health: Place,
}

impl Away {
    fn start(setup: &Setup, key: Key) -> Away {
        let gateway = setup.start();
        let address: SocketAddr = address_of(&gateway, "health and metrics are shown on ");
        Away { gateway, key, health: Place::Tcp(address) }
    }

    fn session(&self, user: &str) -> Sftp {
        Sftp::connect(&self.gateway.client(user, &self.key), LIMIT)
    }

    /// Waits until `/readyz` has this status; what it says.
    fn until_ready_is(&self, status: u16) -> String {
        until("readiness", LIMIT, || Some(self.health.get("/readyz")).filter(|ready| ready.status == status)).body
    }
}

#[test]
fn a_server_that_is_down_keeps_nobody_from_the_other_stores() {
    let sshd = Sshd::start(&[]);
    let (setup, key) = with_another(&sshd, &[("connect_timeout", "2s")]);
    sshd.kill();
    let away = Away::start(&setup, key);
    assert!(away.gateway.log().contains("goes on without a store"), "{}", away.gateway.log());
    let mut bob = away.session("bob");
    bob.put("/file", b"content");
    // Who has a home there may come, and hears why nothing works.
    let mut alice = away.session("alice");
    let refused = alice.stat("/file").unwrap_err();
    assert_ne!(refused.code, 2, "it is not known that nothing is there: {refused:?}");
    assert!(away.until_ready_is(503).contains("the store up fails"));
    // After a reload too, which is no failure.
    away.gateway.signal(Signal::HUP);
    until("reload", LIMIT, || away.gateway.log().contains("reloaded: users").then_some(()));
    assert_eq!(away.session("bob").get("/file"), b"content");
    let mut late = away.session("alice");
    assert!(late.stat("/file").is_err());
    // It is there again: those who are logged in go on.
    sshd.start_again();
    away.until_ready_is(200);
    for session in [&mut alice, &mut late] {
        session.put("/file", b"content");
        assert_eq!(session.get("/file"), b"content");
    }
    away.gateway.stop();
}

#[test]
fn a_server_with_another_key_is_named_and_keeps_nobody_from_the_other_stores() {
    let sshd = Sshd::start(&[]);
    let folder = Setup::new();
    let other = Key::make(folder.folder(), "other", "ed25519");
    let (setup, key) = with_another(&sshd, &[("host_key", &other.public)]);
    let away = Away::start(&setup, key);
    let log = away.gateway.log();
    assert!(log.contains(&sshd.host_key.fingerprint().0) && log.contains(&other.fingerprint().0), "{log}");
    away.session("bob").put("/file", b"content");
    assert!(away.session("alice").open("/file", 2 | 8).and_then(|file| away.session("alice").close(&file)).is_err());
    assert!(away.until_ready_is(503).contains("the store up fails"));
    away.gateway.stop();
}

#[test]
fn settings_that_are_wrong_still_keep_the_gateway_from_starting() {
    let sshd = Sshd::start(&[]);
    let (setup, _) = with_another(&sshd, &[("private_key", "no key")]);
    let serve = |setup: &Setup| run(lockgate().arg("serve").arg("--config").arg(setup.write_config()));
    serve(&setup).failed().says("private_key");
    // A folder that is not there is no matter of time.
    let (mut setup, _) = with_another(&sshd, &[]);
    let missing = setup.folder().join("missing");
    setup.config["stores"]["up"]["url"] = sshd.url(&missing).into();
    serve(&setup).failed().says("up");
    fs::create_dir(&missing).unwrap();
    setup.start().stop();
}
