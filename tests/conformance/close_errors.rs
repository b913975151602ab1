//! CLOSE reports the store's error: the whole gateway with real clients, and a store that refuses to publish.

use std::fs;

use serde_json::json;

use crate::fixture::Server;
use crate::support::client::quoted;
use crate::support::data::noise;
use crate::support::events::{field, is_end};
use crate::support::proxy::{Fault, Kind, Plan, Proxy};
use crate::support::s3;
use crate::support::setup::{Setup, User};

/// Uploads files of one and of several requests while the request that publishes them fails for good.
fn refused(fault: Fault, old: Option<&str>) {
    if Server::from_environment().is_none() {
        return;
    }
    let (store, proxy) = (s3::new_store(), Proxy::start(&s3::endpoint()));
    let mut setup = Setup::new();
    setup.store("main", json!({ "url": store.url(), "options": store.options_through(&proxy.endpoint()) }));
    let key = setup.key("alice");
    setup.user(User::new("alice").key(&key).home("/", "main:/"));
    let gateway = setup.start();
    let client = gateway.client("alice", &key);
    let file = setup.folder().join("file");
    for (kind, name, length) in [(Kind::Put, "small", 1_000), (Kind::Complete, "large", 6 << 20)] {
        if let Some(old) = old {
            fs::write(&file, old).unwrap();
            client.sftp(&format!("put {} {name}\n", quoted(file.to_str().unwrap()))).succeeded();
        }
        fs::write(&file, noise(length, 7)).unwrap();
        proxy.plan(Plan::kind(kind, u64::MAX, fault));
        client.sftp(&format!("put {} {name}\n", quoted(file.to_str().unwrap()))).failed().says("close remote");
        client.scp(["-O", file.to_str().unwrap(), &client.remote(name)]).failed().says(name);
        proxy.plan(Plan::none());
        gateway.events.until("two failed ends", |events| {
            let path = format!("{}/{name}", store.event_root());
            let ends = events.iter().filter(|event| is_end(event) && field(event, "path") == path);
            let failed: Vec<_> = ends.filter(|end| field(end, "status") == "failure").collect();
            let is_error = |end: &&serde_json::Value| {
                let bytes = length.to_string();
                (field(end, "activity-type"), field(end, "bytes-in")) == ("ERROR", &bytes)
                    && !field(end, "message").is_empty()
            };
            assert!(failed.iter().all(is_error), "never a CLOSE: {failed:#?}");
            (failed.len() == 2).then_some(())
        });
        let found: Vec<String> = store.keys().into_iter().filter(|key| key == name).collect();
        assert_eq!(found.len(), usize::from(old.is_some()), "{name} was published");
        if let Some(old) = old {
            store.fetch(name, &file);
            assert_eq!(fs::read_to_string(&file).unwrap(), old);
        }
        assert_eq!(store.unfinished_uploads(), 0);
        // What failed is done by the next try.
        fs::write(&file, noise(length, 8)).unwrap();
        client.sftp(&format!("put {} {name}\n", quoted(file.to_str().unwrap()))).succeeded();
    }
    gateway.stop();
}

#[test]
fn of_a_store_that_denies() {
    refused(Fault::Status(403, "AccessDenied"), Some("old content"));
}

#[test]
fn of_a_store_that_is_overloaded() {
    refused(Fault::Status(503, "SlowDown"), None);
}

#[test]
fn of_a_success_that_holds_an_error() {
    refused(Fault::Status(200, "InternalError"), None);
}
