//! What clients are shown before they log in.

use serde_json::json;

use crate::support::events::field;
use crate::support::gateway::{Gateway, lockgate};
use crate::support::keys::Key;
use crate::support::process::{python, run};
use crate::support::setup::{Setup, User};

/// A gateway with a banner and a trail.
fn door(banner: &str) -> (Setup, Gateway, Key) {
    let mut setup = Setup::new();
    setup.memory_store("main");
    let trail = setup.folder().join("events.ndjson");
    setup.config["events"] = json!([{ "sink": "stdout" }, { "sink": "file", "path": trail }]);
    setup.config["server"]["banner"] = json!(banner);
    let key = setup.key("alice");
    setup.user(User::new("alice").home("/", "main:/").key(&key));
    let gateway = setup.start();
    (setup, gateway, key)
}

#[test]
fn a_user_is_told_the_key_by_which_the_session_is_replayed() {
    let (setup, gateway, key) = door("<${user}> on <${server}>: <${session_id}> ${else}\n");
    let shown = gateway.client("alice", &key).sftp("mkdir /d\n").succeeded().stderr;
    let connected = gateway.events.await_event("CONNECTED", |_| true);
    let (server, id) = (field(&connected, "server"), field(&connected, "session-id"));
    let expected = format!("<alice> on <{server}>: <{id}> ${{else}}");
    assert!(shown.contains(&expected), "{expected}\n{shown}");
    let by_paramiko = run(python("banner.py").args([&gateway.port.to_string(), "alice"]).arg(&key.private)).succeeded();
    let events = gateway.events.await_disconnected(2);
    let id = field(events.last().unwrap(), "session-id");
    assert!(by_paramiko.stdout.contains(&format!("<alice> on <{server}>: <{id}>")), "{by_paramiko}");
    gateway.stop();
    let trail = setup.folder().join("events.ndjson");
    let replayed = run(lockgate().args(["audit", "replay", field(&connected, "session-id")]).arg(trail)).succeeded();
    assert!(replayed.stdout.contains("/d"), "{replayed}");
}

/// The gateway is the same for a client that shows none, and for one that asks more than once.
#[test]
fn a_client_that_shows_no_banner_loses_nothing() {
    let (_setup, gateway, key) = door("welcome ${user}\n");
    let quiet = gateway.client("alice", &key).with("LogLevel=QUIET").sftp("mkdir /quiet\nls /\n").succeeded();
    assert!(!quiet.stderr.contains("welcome") && quiet.stdout.contains("/quiet"), "{quiet}");
    let stranger = gateway.keyless("nobody").password("wrong").sftp("ls /\n").failed();
    assert_eq!(stranger.stderr.matches("welcome nobody").count(), 1, "{stranger}");
    gateway.stop();
    let mut setup = Setup::new();
    setup.memory_store("main");
    let key = setup.key("alice");
    setup.user(User::new("alice").home("/", "main:/").key(&key));
    let gateway = setup.start();
    let without = run(python("banner.py").args([&gateway.port.to_string(), "alice"]).arg(&key.private)).succeeded();
    assert!(without.stdout.contains("no banner"), "{without}");
    gateway.stop();
}

#[test]
fn the_server_says_once_by_which_hassh_it_is_known() {
    let (_setup, gateway, key) = door("x");
    (0..2).for_each(|_| drop(gateway.client("alice", &key).sftp("pwd\n").succeeded()));
    gateway.events.await_disconnected(2);
    assert_eq!(gateway.log().matches("the HASSH of this server is ").count(), 1, "{}", gateway.log());
    gateway.stop();
}
