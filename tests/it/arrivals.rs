//! Where connections really come from, and what becomes of addresses that fail again and again: behind a real balancer, and
//! with clients at several addresses of this machine.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::Command;

use serde_json::{Value, json};

use crate::support::client::Client;
use crate::support::events::field;
use crate::support::gateway::Gateway;
use crate::support::keys::Key;
use crate::support::process::{LIMIT, Running, program, until};
use crate::support::setup::{Setup, User};

struct Door {
    setup: Setup,
    key: Key,
}

fn door() -> Door {
    let mut setup = Setup::new();
    setup.memory_store("main");
    let key = setup.key("alice");
    setup.user(User::new("alice").key(&key).home("/", "main:/"));
    Door { setup, key }
}

impl Door {
    fn start(&self) -> Gateway {
        self.setup.start()
    }

    /// Alice at an address of this machine.
    fn alice(&self, gateway: &Gateway, address: &str) -> Client {
        gateway.client("alice", &self.key).with(&format!("BindAddress={address}"))
    }
}

/// A real balancer; its ports speak PROXY version 1, version 2, and none.
struct Balancer {
    _process: Running,
    ports: [u16; 3],
}

impl Balancer {
    fn before(gateway: &Gateway, setup: &Setup) -> Balancer {
        let free = || TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let ports = [free(), free(), free()].map(|listener| listener.local_addr().unwrap().port());
        let mut config =
            "defaults\n mode tcp\n timeout connect 600s\n timeout client 600s\n timeout server 600s\n".to_owned();
        for (port, how) in ports.iter().zip(["send-proxy", "send-proxy-v2", ""]) {
            let to = gateway.port;
            config += &format!("listen on-{port}\n bind 127.0.0.1:{port}\n server gateway 127.0.0.1:{to} {how}\n");
        }
        let file = setup.folder().join("haproxy.cfg");
        std::fs::write(&file, config).unwrap();
        let process = Running::start(program("haproxy").args(["-db", "-f"]).arg(&file));
        for port in ports {
            until("the balancer listens", LIMIT, || TcpStream::connect(("127.0.0.1", port)).ok());
        }
        Balancer { _process: process, ports }
    }
}

fn connected_from(gateway: &Gateway, n: usize) -> Vec<(String, String)> {
    gateway.events.await_disconnected(n);
    let from = |event: &Value| (field(event, "source-ip").to_owned(), field(event, "user").to_owned());
    gateway.events.of_type("CONNECTED").iter().map(from).collect()
}

fn rejections(gateway: &Gateway) -> Vec<(String, String)> {
    let rejected = gateway.events.of_type("CONNECTION_REJECTED");
    let what = |event: &Value| (field(event, "source-ip").to_owned(), field(event, "reason").to_owned());
    rejected.iter().map(what).collect()
}

#[test]
fn behind_a_balancer_events_have_the_clients_address() {
    let mut door = door();
    door.setup.config["server"]["proxy_protocol"] = json!("required");
    door.setup.config["server"]["proxy_from"] = json!(["127.0.0.1"]);
    let gateway = door.start();
    let balancer = Balancer::before(&gateway, &door.setup);
    let client = |address: &str, port: u16| door.alice(&gateway, address).through(port);
    client("127.0.0.5", balancer.ports[0]).sftp("mkdir /one\n").succeeded();
    client("127.0.0.6", balancer.ports[1]).sftp("mkdir /two\n").succeeded();
    let expected = [("127.0.0.5", "alice"), ("127.0.0.6", "alice")].map(|(a, b)| (a.to_owned(), b.to_owned()));
    assert_eq!(connected_from(&gateway, 2), expected);
    let made = gateway.events.of_type("MKDIR");
    let sources: Vec<&str> = made.iter().map(|event| field(event, "source-ip")).collect();
    assert_eq!(sources, ["127.0.0.5", "127.0.0.6"]);

    // Without a header, and past the balancer.
    client("127.0.0.7", balancer.ports[2]).sftp("pwd\n").failed();
    door.alice(&gateway, "127.0.0.8").sftp("pwd\n").failed();
    let expected = [("127.0.0.1", "proxy-header-missing"), ("127.0.0.8", "proxy-source-not-trusted")];
    let rejected = until("two rejections", LIMIT, || Some(rejections(&gateway)).filter(|all| all.len() >= 2));
    assert_eq!(rejected, expected.map(|(a, b)| (a.to_owned(), b.to_owned())));
    gateway.stop();
}

#[test]
fn an_optional_header_is_believed_from_the_balancer_only() {
    let mut door = door();
    door.setup.config["server"]["proxy_protocol"] = json!("optional");
    door.setup.config["server"]["proxy_from"] = json!(["127.0.0.1/32"]);
    let gateway = door.start();
    let balancer = Balancer::before(&gateway, &door.setup);
    door.alice(&gateway, "127.0.0.5").through(balancer.ports[1]).sftp("pwd\n").succeeded();
    door.alice(&gateway, "127.0.0.1").sftp("pwd\n").succeeded();
    door.alice(&gateway, "127.0.0.9").sftp("pwd\n").succeeded();
    let sources: Vec<String> = connected_from(&gateway, 3).into_iter().map(|(address, _)| address).collect();
    assert_eq!(sources, ["127.0.0.5", "127.0.0.1", "127.0.0.9"]);
    let header = |event: &Value| field(event, "proxy-protocol-v2-header").to_owned();
    assert_eq!(gateway.events.of_type("CONNECTED").iter().map(header).collect::<Vec<_>>(), ["applied", "", ""]);

    // A header from elsewhere is not SSH; nobody believes what it says.
    let lie = "import socket,sys; s=socket.create_connection(('127.0.0.1',int(sys.argv[1])),source_address=('127.0.0.9',0)); \
               s.sendall(b'PROXY TCP4 198.51.100.7 127.0.0.1 1 2\\r\\nSSH-2.0-Liar\\r\\n'); s.settimeout(600); s.recv(9999); s.recv(9999)";
    let _ = Command::new("python3").args(["-c", lie, &gateway.port.to_string()]).output().unwrap();
    gateway.events.await_disconnected(4);
    let all = gateway.events.all();
    assert!(all.iter().all(|event| field(event, "source-ip") != "198.51.100.7"), "{all:#?}");
    gateway.stop();
}

#[test]
fn a_header_that_is_to_be_ignored_changes_nothing_and_is_told_of() {
    let mut door = door();
    door.setup.config["server"]["proxy_protocol"] = json!("ignore");
    door.setup.config["server"]["proxy_from"] = json!(["127.0.0.1"]);
    let gateway = door.start();
    let balancer = Balancer::before(&gateway, &door.setup);
    for port in balancer.ports {
        door.alice(&gateway, "127.0.0.5").through(port).sftp("pwd\n").succeeded();
    }
    let sources: Vec<String> = connected_from(&gateway, 3).into_iter().map(|(address, _)| address).collect();
    assert_eq!(sources, ["127.0.0.1"; 3]);
    let header = |event: &Value| field(event, "proxy-protocol-v2-header").to_owned();
    assert_eq!(gateway.events.of_type("CONNECTED").iter().map(header).collect::<Vec<_>>(), ["", "ignored", ""]);
    gateway.stop();
}

#[test]
fn an_address_that_fails_again_and_again_is_banned_for_a_while() {
    let mut door = door();
    door.setup.config["defender"] = json!({ "points": 3, "within": "1h", "ban": "10s", "allow": ["127.0.0.8"] });
    let gateway = door.start();
    let stranger = door.setup.key("stranger");
    let fails = |address: &str| {
        let client = gateway.client("alice", &stranger).with(&format!("BindAddress={address}"));
        client.sftp("pwd\n").failed();
    };
    (0..4).for_each(|_| fails("127.0.0.8"));
    (0..3).for_each(|_| fails("127.0.0.7"));
    gateway.events.await_disconnected(7);
    // A wrong key bans the address, not the user, and not for ever.
    door.alice(&gateway, "127.0.0.7").sftp("pwd\n").failed();
    door.alice(&gateway, "127.0.0.8").sftp("pwd\n").succeeded();
    door.alice(&gateway, "127.0.0.9").sftp("pwd\n").succeeded();
    assert_eq!(rejections(&gateway), [("127.0.0.7".to_owned(), "banned".to_owned())]);
    let attempt = || door.alice(&gateway, "127.0.0.7").sftp("pwd\n").status.success().then_some(());
    until("the end of the ban", LIMIT, attempt);
    assert!(gateway.log().contains("banned"), "{}", gateway.log());
    gateway.stop();
}

#[test]
fn an_address_has_so_many_connections_without_a_login() {
    let mut door = door();
    door.setup.limit("unauthenticated_per_address", 2);
    let gateway = door.start();
    let connect = || {
        let mut socket = TcpStream::connect(("127.0.0.1", gateway.port)).unwrap();
        socket.write_all(b"SSH-2.0-Waits\r\n").unwrap();
        socket.set_read_timeout(Some(LIMIT)).unwrap();
        let mut greeting = [0; 4];
        socket.read_exact(&mut greeting).map(|()| socket)
    };
    let waiting = [connect().unwrap(), connect().unwrap()];
    assert!(connect().is_err(), "the third is closed");
    door.alice(&gateway, "127.0.0.9").sftp("pwd\n").succeeded();
    drop(waiting);
    gateway.events.await_disconnected(3);
    door.alice(&gateway, "127.0.0.1").sftp("pwd\n").succeeded();
    let expected = ("127.0.0.1".to_owned(), "too-many-unauthenticated-from-address".to_owned());
    assert_eq!(rejections(&gateway), [expected]);
    gateway.stop();
}
