//! The example for HAProxy: its own check, and three gateways behind it.

use std::fs;
use std::process::{Command, Stdio};

use serde_json::json;

use crate::place::project;
use crate::support::process::{LIMIT, program, run, until};
use crate::support::server::{Server, free_port};
use crate::support::setup::{Setup, User};

#[test]
fn haproxy_accepts_every_line() {
    let checked = run(program("haproxy").args(["-c", "-f"]).arg(project("deploy/haproxy/haproxy.cfg"))).succeeded();
    assert!(!checked.to_string().contains("WARNING"), "{checked}");
}

#[test]
fn a_gateway_that_drains_gets_no_new_connections_and_addresses_are_passed_on() {
    let mut config = fs::read_to_string(project("deploy/haproxy/haproxy.cfg")).unwrap();
    let mut gateways = Vec::new();
    let shared = Setup::new();
    let key = shared.key("ann");
    for number in 1..=3 {
        let mut setup = shared.clone();
        setup.local_store("main");
        setup.user(User::new("ann").key(&key).home("/", "main:/"));
        let health = free_port();
        setup.config["server"]["name"] = json!(format!("edge-{number}"));
        setup.config["server"]["proxy_protocol"] = json!("required");
        setup.config["server"]["proxy_from"] = json!(["127.0.0.1"]);
        setup.config["admin"] = json!({ "health": format!("127.0.0.1:{health}") });
        setup.limit("staging_folder", setup.folder().join(format!("staging-{number}")).to_str().unwrap());
        let gateway = setup.start();
        let line = format!("server edge-{number} 192.0.2.1{number}:2022");
        assert!(config.contains(&line), "no {line}");
        config = config.replace(&line, &format!("server edge-{number} 127.0.0.1:{} port {health}", gateway.port));
        gateways.push(gateway);
    }
    let front = free_port();
    config = config.replace("bind :2022", &format!("bind 127.0.0.1:{front}"));
    // As many as a machine with few file descriptors has.
    config = config.replace("maxconn 20000", "maxconn 200");
    let file = shared.folder().join("haproxy.cfg");
    fs::write(&file, config).unwrap();
    let mut command: Command = program("haproxy");
    command.args(["-db", "-f"]).arg(&file).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let mut haproxy = Server::start(&mut command, None);

    let client = gateways[0].client("ann", &key).through(front);
    until("login through the balancer", LIMIT, || {
        assert!(!haproxy.has_ended(), "HAProxy has ended");
        client.sftp("ls /\n").status.success().then_some(())
    });
    // The first stops, and everybody new comes to the others.
    gateways.remove(0).stop();
    for _ in 0..10 {
        client.sftp("ls /\n").succeeded();
    }
    for gateway in &gateways {
        let line = gateway.events.await_event("CONNECTED", |_| true);
        assert_eq!(line["proxy-protocol-v2-header"], "applied", "{line}");
        assert_eq!(line["source-ip"], "127.0.0.1", "{line}");
    }
}
