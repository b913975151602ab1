//! What objects that real clients upload say of where they come from.

use std::fs;

use serde_json::Value;

use crate::support::azure;
use crate::support::events::field;
use crate::support::gateway::Gateway;
use crate::support::setup::{Setup, User};

/// A client uploads a small file and a large one, and renames the small one.
fn upload(setup: &Setup, gateway: &Gateway, client: &crate::support::client::Client) -> Vec<Value> {
    let (small, large) = (setup.folder().join("small"), setup.folder().join("large"));
    fs::write(&small, "content").unwrap();
    fs::write(&large, vec![7; 12 << 20]).unwrap();
    let script =
        format!("put {} /small.part\nrename /small.part /small\nput {} /large\n", small.display(), large.display());
    client.sftp(&script).succeeded();
    gateway.events.await_disconnected(1)
}

/// What an object's headers have to say, by the events of its upload.
fn expected(events: &[Value], path: &str, names: [&str; 3]) -> [String; 3] {
    let closed = |event: &&Value| field(event, "activity-type") == "CLOSE" && field(event, "logical-path") == path;
    let close = events.iter().find(closed).expect("a CLOSE");
    assert_eq!(field(close, "sha256").len(), 64, "{close}");
    let user = format!("{}@{}", field(close, "user"), field(close, "server"));
    let [agent, session, digest] = names;
    [
        format!("{agent}: {user}"),
        format!("{session}: {}", field(close, "session-id")),
        format!("{digest}: {}", field(close, "sha256")),
    ]
}

#[test]
fn an_object_on_s3_names_its_user_its_session_and_its_digest() {
    let mut setup = Setup::new();
    let store = setup.s3_store("main");
    let key = setup.key("ann");
    setup.user(User::new("ann").home("/", "main:/").key(&key));
    let gateway = setup.start();
    let events = upload(&setup, &gateway, &gateway.client("ann", &key));
    let names = ["x-amz-meta-user-agent-id", "x-amz-meta-lockgate-session", "x-amz-meta-lockgate-sha256"];
    let small = store.head("small").to_lowercase();
    for wanted in expected(&events, "/small.part", names) {
        assert!(small.contains(&wanted.to_lowercase()), "{wanted}\n{small}");
    }
    // The metadata of an upload in parts goes with its beginning, when nobody knows the digest.
    let large = store.head("large").to_lowercase();
    let [user, session, digest] = expected(&events, "/large", names).map(|wanted| wanted.to_lowercase());
    assert!(large.contains(&user) && large.contains(&session) && !large.contains(&digest), "{large}");
    gateway.stop();
}

#[test]
fn a_blob_on_azure_has_its_digest_also_when_it_came_in_parts() {
    let mut setup = Setup::new();
    let store = azure::new_store();
    setup.store("main", serde_json::json!({ "url": store.url(), "options": store.options() }));
    let key = setup.key("ann");
    setup.user(User::new("ann").home("/", "main:/").key(&key));
    let gateway = setup.start();
    let events = upload(&setup, &gateway, &gateway.client("ann", &key));
    let names = ["x-ms-meta-user_agent_id", "x-ms-meta-lockgate_session", "x-ms-meta-lockgate_sha256"];
    for (path, name) in [("/small.part", "small"), ("/large", "large")] {
        let head = store.head(name);
        for wanted in expected(&events, path, names) {
            assert!(head.contains(&wanted), "{wanted}\n{head}");
        }
    }
    gateway.stop();
}
