//! What a reload does to targets: new ones hold for jumps from then on, also on connections from before; who may not use an
//! account any more is ended.

use rustix::process::Signal;
use serde_json::json;

use super::{Bastion, bastion};
use crate::support::events::field;
use crate::support::process::{LIMIT, until};

#[track_caller]
fn reload(door: &Bastion) {
    let reloads = || door.gateway.log().matches("reloaded").count();
    let before = reloads();
    door.setup.write_config();
    door.gateway.signal(Signal::HUP);
    until("reload", LIMIT, || (reloads() > before).then_some(()));
}

#[test]
fn a_grant_that_is_taken_back_ends_the_session_at_the_target_and_not_the_connection() {
    let mut door = bastion();
    let mut session = door.session("target-host-A");
    door.setup.config["users"][0]["targets"] = json!([{ "target": "target-host-B", "accounts": ["deploy"] }]);
    reload(&door);
    let end = door.end_at_target();
    assert_eq!((field(&end, "reason"), field(&end, "account")), ("target-removed", "deploy"), "{end}");
    session.close_input();
    session.finish(LIMIT).says("may no longer use this account");
    door.sftp("target-host-A", "ls\n").failed();
    door.sftp("target-host-B", "ls\n").succeeded();
    door.gateway.stop();
}

#[test]
fn a_connection_from_before_jumps_by_what_holds_now() {
    let mut door = bastion();
    let master = door.share_connection();
    door.sftp("target-host-A", "ls\n").succeeded();
    door.setup.config["targets"][0]["addresses"] = json!(["192.168.1.12:22"]);
    reload(&door);
    door.sftp("target-host-A", "ls\n").failed();
    door.setup.config["users"][0]["targets"] = json!([]);
    door.setup.config["targets"] = json!([]);
    reload(&door);
    door.sftp("target-host-B", "ls\n").failed();
    drop(master);
    door.gateway.stop();
}

#[test]
fn a_host_key_that_cannot_be_read_keeps_the_old_configuration() {
    let mut door = bastion();
    std::fs::write(door.setup.folder().join("broken"), "no key").unwrap();
    door.setup.config["targets"][0]["host_keys"] = json!(["broken"]);
    door.setup.write_config();
    door.gateway.signal(Signal::HUP);
    until("refusal", LIMIT, || door.gateway.log().contains("broken").then_some(()));
    door.sftp("target-host-A", "ls\n").succeeded();
    door.gateway.stop();
}

#[test]
fn whose_login_would_not_be_good_any_more_jumps_nowhere_from_a_connection_of_before() {
    let mut door = bastion();
    let master = door.share_connection();
    door.sftp("target-host-A", "ls\n").succeeded();
    // A time that is over ends no session; it opens no new one either.
    door.setup.config["users"][0]["expires"] = "2020-01-01".into();
    reload(&door);
    door.sftp("target-host-A", "ls\n").failed();
    let denied = door.gateway.events.await_event("REQUEST_DENIED", |_| true);
    assert!(field(&denied, "message").contains("log in again"), "{denied}");
    drop(master);
    door.gateway.stop();
}
