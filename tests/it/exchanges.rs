//! What key exchanges cost: those that compute long go on beside everything else, and nobody has new keys all the time.

use crate::support::gateway::Gateway;
use crate::support::keys::Key;
use crate::support::process::{python, run};
use crate::support::setup::{Setup, User};

fn gateway() -> (Setup, Gateway, Key) {
    let mut setup = Setup::new();
    setup.memory_store("main");
    let key = setup.key("key");
    let user = User::new("alice").home("/", "main:/").key(&key).password("staple");
    setup.user(user.set("auth", "public_key_or_password"));
    let gateway = setup.start();
    (setup, gateway, key)
}

#[test]
fn every_finite_field_group_logs_in_and_changes_keys() {
    let (setup, gateway, key) = gateway();
    let file = setup.folder().join("file");
    std::fs::write(&file, vec![7; 3_000_000]).expect("a file");
    for group in ["group16-sha512", "group18-sha512", "group-exchange-sha256"] {
        let client = gateway.client("alice", &key).with(&format!("KexAlgorithms=diffie-hellman-{group}"));
        client.with("RekeyLimit=1M").sftp(&format!("put {} /file\n", file.display())).succeeded();
    }
    gateway.stop();
}

#[test]
fn an_rsa_host_key_signs() {
    let mut setup = Setup::new();
    setup.memory_store("main");
    let (key, host) = (setup.key("key"), Key::make(setup.folder(), "host", "rsa"));
    setup.user(User::new("alice").home("/", "main:/").key(&key));
    setup.config["server"]["host_keys"] = serde_json::json!([host.private]);
    let gateway = setup.start();
    for algorithm in ["rsa-sha2-256", "rsa-sha2-512"] {
        let client = gateway.client("alice", &key).with(&format!("HostKeyAlgorithms={algorithm}"));
        client.with("StrictHostKeyChecking=no").with("UserKnownHostsFile=/dev/null").sftp("pwd\n").succeeded();
    }
    gateway.stop();
}

/// It waits now and then, and is served.
#[test]
fn a_client_that_changes_keys_all_the_time_goes_on() {
    let (_setup, gateway, _) = gateway();
    let mut client = python("several_attempts.py");
    run(client.args(["exchange-often", &gateway.port.to_string(), "alice", "staple", "100"])).succeeded();
    gateway.stop();
}
