//! Users of an identity provider jump by the `Targets` of its answers, until it answers otherwise.

use std::fs;

use rustix::process::Signal;
use serde_json::{Value, json};

use super::{Bastion, bastion_with, is_at_target};
use crate::support::events::field;
use crate::support::gateway::lockgate;
use crate::support::keys::Key;
use crate::support::process::{LIMIT, run, until};
use crate::support::provider::{Example, Provider, Reply};
use crate::support::setup::User;

/// A gateway where alice is the provider's: it answers with her key and what `more` says.
fn provided(more: Value, recheck: &str) -> (Bastion, Provider) {
    let provider = Provider::start(|_| Reply::Json(json!({})));
    let door = bastion_with(|setup, _| {
        let http = json!({ "url": provider.url(), "cache": "0s", "recheck": recheck, "retries": 0 });
        setup.config["users_from"] = json!({ "http": http });
        setup.config["admin"] = json!({ "socket": setup.folder().join("admin.sock") });
        User::new("somebody").key(&setup.key("else")).home("/", "main:/somebody")
    });
    answer(&provider, &door.key, more);
    (door, provider)
}

fn answer(provider: &Provider, key: &Key, more: Value) {
    let mut answer = json!({ "Role": "r", "PublicKeys": [key.public] });
    answer.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    provider.answer(move |_| Reply::Json(answer.clone()));
}

fn web() -> Value {
    json!({ "Targets": [{ "Group": "web", "Accounts": ["deploy"] }] })
}

#[test]
fn users_of_a_provider_jump_where_its_answer_says_and_nowhere_else() {
    let (door, provider) = provided(web(), "1d");
    door.sftp("target-host-A", "mkdir /there\n").succeeded();
    assert!(door.root.join("web/there").is_dir());
    let made = door.gateway.events.await_event("MKDIR", is_at_target);
    let facts = ["user", "account", "target"].map(|name| field(&made, name));
    assert_eq!(facts, ["alice", "deploy", "target-host-A"], "{made}");
    door.sftp("target-host-B", "ls\n").failed().says("no target of this address");
    door.run("sftp", ["-J", "bastion", "-b", "/dev/null", "root@192.168.1.10"]).failed();

    // Who reviews access sees it.
    let config = door.setup.folder().join("config.yaml");
    let access =
        run(lockgate().args(["audit", "access", "--user", "alice", "--config"]).arg(&config)).succeeded().stdout;
    assert!(access.contains("deploy@target-host-A:/"), "{access}");
    let socket = door.setup.folder().join("admin.sock");
    let shown = run(lockgate().args(["users", "show", "alice", "--socket"]).arg(&socket)).succeeded().stdout;
    assert!(shown.contains("deploy on the targets of web"), "{shown}");

    // What is no list of grants lets nobody in.
    answer(&provider, &door.key, json!({ "Targets": [{ "Group": "web" }] }));
    door.sftp("target-host-A", "ls\n").failed();
    let failure =
        door.gateway.events.await_event("AUTH_FAILURE", |event| field(event, "reason") == "directory-answer-unusable");
    assert!(failure.to_string().contains("Targets: number 1 has no Accounts"), "{failure}");
    door.gateway.stop();
}

#[test]
fn the_example_of_a_provider_grants_targets() {
    let mut provider = None;
    let door = bastion_with(|setup, _| {
        let users = setup.folder().join("users.json");
        let key = fs::read_to_string(setup.folder().join("laptop.pub")).unwrap();
        let alice = json!({ "Role": "r", "PublicKeys": [key.trim()], "Targets": web()["Targets"] });
        fs::write(&users, json!({ "alice": alice }).to_string()).unwrap();
        let example = Example::start(&users, "a key");
        let http = json!({ "url": example.url(), "headers": { "x-api-key": "a key" } });
        setup.config["users_from"] = json!({ "http": http });
        provider = Some(example);
        User::new("somebody").key(&setup.key("else")).home("/", "main:/somebody")
    });
    door.sftp("target-host-A", "ls\n").succeeded();
    door.gateway.stop();
}

#[test]
fn a_grant_that_a_provider_takes_back_ends_sessions_at_the_target_and_lets_nobody_jump_any_more() {
    let (door, provider) = provided(web(), "1s");
    let master = door.share_connection();
    let mut session = door.session("target-host-A");
    answer(&provider, &door.key, json!({ "Targets": [{ "Target": "target-host-B", "Accounts": ["*"] }] }));
    let end = door.end_at_target();
    assert_eq!((field(&end, "reason"), field(&end, "account")), ("target-removed", "deploy"), "{end}");
    session.close_input();
    session.finish(LIMIT).says("may no longer use this account");
    // The connection lasts, and jumps by the last answer.
    door.sftp("target-host-A", "ls\n").failed();
    let denied = |words: &str| {
        door.gateway.events.await_event("REQUEST_DENIED", |event| field(event, "message").contains(words))
    };
    assert_eq!(field(&denied("no target of this address"), "target"), "target-host-A");
    door.sftp("target-host-B", "ls\n").succeeded();
    answer(&provider, &door.key, json!({ "HomeDirectory": "/main/alice" }));
    // One that is under way meanwhile is ended instead.
    until("the refusal of any jump", LIMIT, || {
        run(door.command("sftp").args(["-b", "/dev/null", "target-host-B"]));
        let refusals = door.gateway.events.of_type("REQUEST_DENIED");
        refusals.iter().any(|event| field(event, "message").contains("only SFTP and SCP")).then_some(())
    });
    assert!(door.gateway.events.of_type("DISCONNECTED").iter().all(is_at_target), "the connection has not ended");
    drop(master);
    door.gateway.stop();
}

#[test]
fn a_reload_without_the_account_ends_the_sessions_of_a_providers_users_there() {
    let (mut door, _provider) = provided(web(), "1d");
    let mut session = door.session("target-host-A");
    door.setup.config["targets"][0]["accounts"].as_array_mut().unwrap().remove(0);
    door.setup.write_config();
    door.gateway.signal(Signal::HUP);
    let end = door.end_at_target();
    assert_eq!((field(&end, "reason"), field(&end, "user")), ("target-removed", "alice"), "{end}");
    session.close_input();
    session.finish(LIMIT).says("may no longer use this account");
    door.gateway.stop();
}

#[test]
fn who_logged_in_with_a_password_jumps_by_the_answer_to_the_login() {
    let provider = Provider::start(|question| match question.password() {
        Some(_) => Reply::Json(json!({ "Role": "r", "Targets": [{ "Group": "web", "Accounts": ["*"] }] })),
        None => Reply::Json(json!({})),
    });
    let door = bastion_with(|setup, alice| {
        let http = json!({ "url": provider.url(), "cache": "0s", "recheck": "1s", "retries": 0 });
        setup.config["users_from"] = json!({ "http": http });
        setup.config["targets"][0].as_object_mut().unwrap().remove("host_keys");
        alice
    });
    let by_password =
        |user: &str| door.gateway.keyless(user).password("battery").with("PreferredAuthentications=password");
    let socket = door.setup.folder().join("mux");
    let master = by_password("ann").with("ControlMaster=yes").with(&format!("ControlPath={}", socket.display()));
    let mut command = master.command("ssh");
    let master_runs = crate::support::process::Running::start(command.arg("-N").arg(master.host()));
    until("shared connection", LIMIT, || socket.exists().then_some(()));
    // The provider does not know her without the password, so what it said with the password holds.
    until("what becomes of ann", LIMIT, || {
        door.gateway.log().contains("does not know this user without a password").then_some(())
    });
    let outer = by_password("ann").with(&format!("ControlPath={}", socket.display()));
    door.gateway.keyless("deploy").jumping(&outer, "192.168.1.10:22").sftp("mkdir /by-password\n").succeeded();
    assert!(door.root.join("web/by-password").is_dir());
    drop(master_runs);
    door.gateway.stop();
}
