//! Reloads while a store is silent, and while the gateway drains: what the configuration takes away is gone immediately.

use std::fs;
use std::net::TcpListener;
use std::time::Duration;

use rustix::process::Signal;
use serde_json::json;

use super::{administered, administered_with};
use crate::support::events::field;
use crate::support::keys::Key;
use crate::support::link::Link;
use crate::support::process::{LIMIT, until};
use crate::support::s3;
use crate::support::setup::{Setup, User};
use crate::support::sftp::Sftp;

/// A store on a server that accepts connections and never answers.
fn silent_store(setup: &mut Setup, name: &str) -> TcpListener {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    let options = json!({ "aws_region": "eu-west-1", "aws_access_key_id": "key", "aws_secret_access_key": "secret",
                          "aws_endpoint": endpoint, "aws_allow_http": "true" });
    setup.store(name, json!({ "url": "s3://bucket", "options": options }));
    listener
}

/// Without the token of the auditor and the user bob.
fn take_away(setup: &mut Setup) {
    let tokens = setup.config["admin"]["tokens"].as_array_mut().unwrap();
    tokens.retain(|token| token["name"] != "auditor");
    setup.config["users"].as_array_mut().unwrap().retain(|user| user["name"] != "bob");
    setup.write_config();
}

fn with_bob(setup: &mut Setup) -> Key {
    let key = setup.key("bob");
    setup.user(User::new("bob").key(&key).home("/", "main:/"));
    key
}

#[test]
fn what_is_removed_is_gone_while_a_new_store_is_silent_and_the_answer_names_the_store() {
    let mut bob = None;
    let administered = administered_with(|setup| bob = Some(with_bob(setup)));
    let mut setup = administered.door.setup.clone();
    let mut bob = Sftp::connect(&administered.door.gateway.client("bob", &bob.unwrap()), LIMIT);
    bob.make_directory("/of-bob").unwrap();
    let _listener = silent_store(&mut setup, "new");
    let key = setup.key("cid");
    setup.user(User::new("cid").key(&key).home("/", "new:/"));
    take_away(&mut setup);
    std::thread::scope(|scope| {
        let reload = scope.spawn(|| administered.socket.request("POST", "/api/v1/reload", &[], ""));
        until("refusal of the token", LIMIT, || {
            let answer = administered.tcp.get_as(&administered.tokens.auditor, "/api/v1/events?limit=1");
            (answer.status == 401).then_some(())
        });
        let end = administered.door.gateway.events.await_event("DISCONNECTED", |event| field(event, "user") == "bob");
        assert_eq!(field(&end, "reason"), "user-removed");
        assert!(!reload.is_finished(), "the new store has not been given up yet");
        let answer = reload.join().unwrap();
        assert_eq!(answer.status, 409, "{answer:?}");
        let said =
            ["the store \\\"new\\\"", "does not answer", "cid cannot log in", "The new configuration holds except"];
        assert!(said.iter().all(|words| answer.body.contains(words)), "{answer:?}");
    });
    assert!(administered.door.gateway.log().contains("cid cannot log in"));
    // What needs the store in no way holds.
    Sftp::connect(&administered.door.client, LIMIT).make_directory("/of-alice").unwrap();
    assert_eq!(administered.socket.get("/api/v1/users/cid").json()["found"], false);
}

#[test]
fn what_is_removed_is_gone_while_a_store_that_did_not_change_is_silent() {
    let mut line = None;
    let administered = administered_with(|setup| {
        with_bob(setup);
        let store = s3::new_store();
        let link = line.insert(Link::to(store.port(), Duration::ZERO, 10 << 20));
        let options = store.options_through(&format!("http://127.0.0.1:{}", link.port));
        setup.store("far", json!({ "url": store.url(), "options": options }));
    });
    line.as_ref().unwrap().stop();
    take_away(&mut administered.door.setup.clone());
    let answer = administered.socket.request("POST", "/api/v1/reload", &[], "");
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!(administered.tcp.get_as(&administered.tokens.auditor, "/api/v1/events?limit=1").status, 401);
    assert_eq!(administered.socket.get("/api/v1/users/bob").json()["found"], false);
}

#[test]
fn what_is_removed_is_gone_while_the_gateway_drains() {
    let mut bob = None;
    let administered = administered_with(|setup| bob = Some(with_bob(setup)));
    let client = administered.door.gateway.client("bob", &bob.unwrap());
    let mut bob = Sftp::connect(&client, LIMIT);
    let _upload = bob.create("/large");
    administered.command(&["drain"]).succeeded();
    take_away(&mut administered.door.setup.clone());
    let answer = administered.socket.request("POST", "/api/v1/reload", &[], "");
    assert_eq!(answer.status, 200, "{answer:?}");
    let end = administered.door.gateway.events.await_event("DISCONNECTED", |event| field(event, "user") == "bob");
    assert_eq!(field(&end, "reason"), "user-removed");
}

#[test]
fn the_first_signal_after_a_drain_over_the_door_goes_on_draining_and_the_second_stops() {
    for signals in [1, 2] {
        let mut administered = administered();
        let mut alice = Sftp::connect(&administered.door.client, LIMIT);
        let handle = alice.create("/a");
        administered.command(&["drain"]).succeeded();
        let said = "the first SIGTERM or SIGINT lets transfers finish as well, the second one stops";
        until("word of the drain", LIMIT, || administered.door.gateway.log().contains(said).then_some(()));
        assert!(!administered.door.gateway.log().contains("the next SIGTERM or SIGINT stops"));
        administered.door.gateway.signal(Signal::TERM);
        until("word of the signal", LIMIT, || {
            administered.door.gateway.log().contains("it drains already").then_some(())
        });
        if signals == 1 {
            alice.write(&handle, 0, b"content").unwrap();
            alice.close(&handle).unwrap();
        } else {
            administered.door.gateway.signal(Signal::TERM);
        }
        let status = administered.door.gateway.ended(LIMIT);
        assert_eq!(status.code(), Some(0), "{}", administered.door.gateway.log());
        let file = administered.door.root.join("a");
        assert_eq!(fs::read(file).is_ok(), signals == 1, "{}", administered.door.gateway.log());
    }
}
