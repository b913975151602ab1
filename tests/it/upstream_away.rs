//! An upstream server that is away, or is another one, keeps nobody from the other stores: at the start, and after a reload.

use std::fs;
use std::net::SocketAddr;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rustix::process::Signal;
use serde_json::json;

use crate::admin::address_of;
use crate::support::events::field;
use crate::support::gateway::{Gateway, lockgate};
use crate::support::http::Place;
use crate::support::keys::Key;
use crate::support::process::{LIMIT, run, until};
use crate::support::setup::{Setup, User};
use crate::support::sftp::{CREATE, NO_SUCH_FILE, PERMISSION_DENIED, Sftp, TRUNCATE, WRITING};
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
        Away::of(setup.start(), key)
    }

    fn of(gateway: Gateway, key: Key) -> Away {
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

/// The server was replaced while people work: whoever it is now hears nothing but a handshake.
#[test]
fn a_server_whose_key_changes_is_refused_from_then_on_and_its_sessions_go_on_when_it_is_itself_again() {
    let sshd = Sshd::start(&[]);
    let (setup, key) = with_another(&sshd, &[("connect_timeout", "2s")]);
    let other = setup.key("other");
    let away = Away::start(&setup, key);
    let (mut alice, mut bob) = (away.session("alice"), away.session("bob"));
    alice.put("/file", b"content");
    let open = alice.create("/open");
    alice.write(&open, 0, b"half").unwrap();
    away.until_ready_is(200);

    sshd.kill();
    sshd.start_again_with(&other);
    for path in ["/file", "/none"] {
        let refused = alice.stat(path).unwrap_err();
        assert!(![NO_SUCH_FILE, PERMISSION_DENIED].contains(&refused.code), "{refused:?}");
    }
    assert!(alice.close(&open).is_err());
    let mut late = away.session("alice");
    let opened = late.open("/file", WRITING | CREATE | TRUNCATE);
    assert!(opened.and_then(|file| late.close(&file)).is_err());
    let (expected, shown) = (sshd.host_key.fingerprint().0, other.fingerprint().0);
    let log = away.gateway.log();
    let loud = log.lines().find(|line| line.contains("ERROR") && line.contains(&shown)).unwrap_or_default();
    assert!(loud.contains(&expected) && loud.contains("nothing was sent to it"), "{log}");
    assert!(away.until_ready_is(503).contains("the store up fails"));
    let failed = away.gateway.events.await_event("ERROR", |event| field(event, "operation") == "CLOSE");
    assert_eq!((field(&failed, "logical-path"), field(&failed, "status")), ("/open", "failure"), "{failed}");
    bob.put("/file", b"content");

    sshd.kill();
    sshd.start_again_as_itself();
    away.until_ready_is(200);
    for session in [&mut alice, &mut late] {
        assert_eq!(session.get("/file"), b"content");
        session.put("/new", b"content");
    }
    assert!(!alice.exists("/open"));
    away.gateway.stop();
}

/// No operator, auditor or client is shown them: not where they are right, and not where they are wrong.
#[test]
fn the_credentials_of_a_server_are_shown_to_nobody() {
    const PASSWORD: &str = "correct-horse-battery-staple";
    let sshd = Sshd::start(&[]);
    let folder = Setup::new();
    let wrong = Key::make(folder.folder(), "wrong", "ed25519");
    for (user_key, is_right) in [(&sshd.user_key, true), (&wrong, false)] {
        let private = fs::read_to_string(&user_key.private).unwrap();
        let credentials = [("private_key", private.as_str()), ("password", PASSWORD), ("connect_timeout", "2s")];
        let (mut setup, key) = with_another(&sshd, &credentials);
        let socket = setup.folder().join("admin.sock");
        setup.config["admin"]["socket"] = socket.to_str().unwrap().into();
        let away = Away::of(Gateway::start_under(&["env", "RUST_LOG=lockgate=trace,warn"], &setup), key);
        let mut alice = away.session("alice");
        let refused = alice.stat("/none").unwrap_err();
        assert_eq!(refused.code == NO_SUCH_FILE, is_right, "{refused:?}");
        drop(alice);
        away.session("bob").put("/file", b"content");
        away.gateway.events.await_event("DISCONNECTED", |_| true);
        let ready = away.until_ready_is(if is_right { 200 } else { 503 });
        away.gateway.signal(Signal::HUP);
        until("reload", LIMIT, || away.gateway.log().contains("reloaded: users").then_some(()));

        let socket = Place::unix(&socket);
        let asked = |path: &str| socket.get(path).ok().to_string();
        let config = asked("/api/v1/config");
        assert!(config.contains("private_key") && config.contains("password"), "{config}");
        let check = run(lockgate().args(["check", "--online", "--config"]).arg(setup.write_config()));
        assert_eq!(check.status.success(), is_right, "{check}");
        let log = away.gateway.log();
        assert!(is_right || log.contains("refuses the account"), "{log}");
        let events: Vec<String> = away.gateway.events.all().iter().map(|event| event.to_string()).collect();
        assert!(events.len() > 3, "{events:?}");
        let shown = [
            ("the client", refused.message),
            ("/readyz", ready),
            ("/healthz", away.health.get("/healthz").body),
            ("/metrics", away.health.get("/metrics").body),
            ("the configuration", config),
            ("the stores", asked("/api/v1/stores")),
            ("the status", asked("/api/v1/status")),
            ("check", check.stdout.clone() + &check.stderr),
            ("the log", log),
            ("the events", events.concat()),
        ];
        let of_key = private.lines().filter(|line| line.len() > 16 && !line.starts_with("-----"));
        for secret in of_key.chain([PASSWORD, &STANDARD.encode(PASSWORD)]) {
            for (place, text) in &shown {
                assert!(!text.contains(secret), "{place} shows {secret}: {text}");
            }
        }
        away.gateway.stop();
    }
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
