//! The sinks of the audit trail and the programs that really read them: DuckDB, jq, rsyslog, a collector.
//!
//! A file sink stands beside each: what it has, byte for byte, the other must have.

#![allow(clippy::unwrap_used, clippy::expect_used)]

#[path = "sinks/collector.rs"]
mod collector;
#[path = "sinks/ecs.rs"]
mod ecs;
#[path = "sinks/http.rs"]
mod http;
#[path = "sinks/notifications.rs"]
mod notifications;
#[path = "sinks/ocsf.rs"]
mod ocsf;
#[path = "sinks/receiver.rs"]
mod receiver;
#[path = "sinks/shape.rs"]
mod shape;
#[path = "sinks/store.rs"]
mod store;
#[path = "support/mod.rs"]
mod support;
#[path = "sinks/syslog.rs"]
mod syslog;

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

use serde_json::{Value, json};

use support::gateway::Gateway;
use support::keys::Key;
use support::process::{LIMIT, program, run_with};
use support::setup::{Setup, User};

/// A user with a home in memory, and a file sink beside the sink that is looked at.
struct Place {
    setup: Setup,
    key: Key,
}

impl Place {
    fn new() -> Place {
        let mut setup = Setup::new();
        setup.memory_store("main");
        let key = setup.key("alice");
        setup.user(User::new("alice").key(&key).home("/", "main:/"));
        let mut place = Place { setup, key };
        place.sinks(json!([]));
        place
    }

    /// Standard output, the file, and these.
    fn sinks(&mut self, sinks: Value) {
        let mut all = vec![json!({ "sink": "stdout" }), json!({ "sink": "file", "path": self.file() })];
        all.extend(sinks.as_array().expect("a list").iter().cloned());
        self.setup.config["events"] = all.into();
    }

    fn file(&self) -> PathBuf {
        self.setup.folder().join("events.ndjson")
    }

    /// The lines of the file.
    fn recorded(&self) -> Vec<String> {
        fs::read_to_string(self.file()).expect("the file sink").lines().map(str::to_owned).collect()
    }

    /// One session that makes, lists and removes `count` directories.
    #[track_caller]
    fn work(&self, gateway: &Gateway, count: usize) {
        let script: String = (0..count).map(|n| format!("mkdir /d{n}\nls /d{n}\nrmdir /d{n}\n")).collect();
        gateway.client("alice", &self.key).sftp(&script).succeeded();
        gateway.events.until("the end of the session", |events| {
            let sessions = |name: &str| -> Vec<&Value> {
                let of = events.iter().filter(|event| event["activity-type"] == name);
                of.map(|event| &event["session-id"]).collect()
            };
            let ended = sessions("DISCONNECTED");
            sessions("CONNECTED").iter().all(|session| ended.contains(session)).then_some(())
        });
    }

    /// How often each activity is on record, by jq over the file.
    fn counts(&self) -> BTreeMap<String, u64> {
        let mut jq = program("jq");
        jq.args(["-n", "reduce inputs as $e ({}; .[$e[\"activity-type\"]] += 1)"]).arg(self.file());
        serde_json::from_str(&run_with(&mut jq, b"", LIMIT).succeeded().stdout).expect("JSON of jq")
    }
}
