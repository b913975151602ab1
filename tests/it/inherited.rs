//! Listening sockets of a service manager: a restart refuses no connection, and those that come meanwhile are served afterwards.

use std::io::Read;
use std::net::{SocketAddr, TcpStream};
use std::process::Stdio;
use std::thread;
use std::time::Duration;

use rustix::process::Signal;
use serde_json::json;

use crate::support::client::Client;
use crate::support::data::{assert_same_bytes, write_noise};
use crate::support::gateway::{Gateway, lockgate};
use crate::support::http::Place;
use crate::support::process::{LIMIT, Running, run, until};
use crate::support::server::Server;
use crate::support::setup::{Setup, User};
use crate::support::sockets::Sockets;

/// Rates of uploads of 8 MiB, in kbit/s: eight seconds.
const EIGHT_SECONDS: &str = "8000";

/// A machine whose service manager keeps the sockets of the gateway open.
struct Managed {
    setup: Setup,
    sockets: Sockets,
    ssh: SocketAddr,
    health: SocketAddr,
}

impl Managed {
    fn new() -> Managed {
        let mut setup = Setup::new();
        let mut sockets = Sockets::in_folder(setup.folder());
        let (ssh, health) = (sockets.open_tcp(), sockets.open_tcp());
        sockets.open_unix(&setup.folder().join("admin.sock"));
        setup.local_store("main");
        let key = setup.key("alice");
        setup.user(User::new("alice").key(&key).home("/", "main:/"));
        setup.audit_folder();
        let events = setup.subfolder("events").join("events.ndjson");
        setup.config["events"] = json!([{ "sink": "stdout" }, { "sink": "file", "path": events }]);
        setup.config["server"]["listen"] = json!([ssh.to_string()]);
        setup.config["admin"] = json!({ "socket": "admin.sock", "health": health.to_string() });
        Managed { setup, sockets, ssh, health }
    }

    #[track_caller]
    fn start(&self) -> Gateway {
        let gateway = self.sockets.start(&self.setup);
        assert_eq!(gateway.port, self.ssh.port(), "it listens on the socket that it was given");
        gateway
    }

    fn client(&self, gateway: &Gateway) -> Client {
        Client::new(self.ssh.port(), gateway.known_hosts(), "alice").identity(&self.setup.folder().join("alice"))
    }

    /// One chain from the first gateway to the last, without a gap.
    #[track_caller]
    fn trail_is_whole(&self) {
        let (events, keys) = (self.setup.folder().join("events"), self.setup.folder().join("made/audit"));
        let mut verify = lockgate();
        verify.args(["audit", "verify"]).arg(&events).arg("--key").arg(keys.join("signing_key.pub"));
        let verified = run(verify.arg("--state").arg(&keys).arg("--json")).succeeded();
        let verdict: serde_json::Value = serde_json::from_str(&verified.stdout).unwrap();
        assert_eq!(verdict["whole"], true, "{verified}");
        assert_eq!(verdict["chains"].as_array().map(Vec::len), Some(1), "{verified}");
    }
}

#[test]
fn a_restart_lets_the_transfer_finish_and_keeps_new_connections_waiting() {
    let managed = Managed::new();
    let mut old = managed.start();
    let client = managed.client(&old);
    let file = managed.setup.folder().join("slow");
    write_noise(&file, 8 << 20, 1);
    let mut upload = Running::start(client.command("sftp").args(["-l", EIGHT_SECONDS, "-b", "-"]).arg(client.host()));
    upload.feed(format!("put {} /slow\n", file.display()).as_bytes());
    upload.close_input();
    old.events.await_event("OPEN", |_| true);
    old.signal(Signal::TERM);
    until("drain", LIMIT, || old.log().contains("draining").then_some(()));

    // The socket stays: connections are accepted by the system, and nobody answers them yet.
    let mut waiting: Vec<Running> = (0..5)
        .map(|number| {
            let mut session = Running::start(&mut client.sftp_command());
            session.feed(
                format!("put {} /late-{number}\n", managed.setup.folder().join("alice.pub").display()).as_bytes(),
            );
            session.close_input();
            session
        })
        .collect();
    let mut silent = TcpStream::connect(managed.ssh).expect("a socket that stays open");
    silent.set_read_timeout(Some(Duration::from_millis(500))).unwrap();
    assert!(silent.read(&mut [0; 1]).is_err(), "a gateway that drains accepts nobody");
    assert!(!upload.has_ended(), "the upload is cut or too quick for this test");

    upload.finish(LIMIT).succeeded();
    assert_eq!(old.ended(LIMIT).code(), Some(0), "{}", old.log());
    assert!(waiting.iter_mut().all(|session| !session.has_ended()), "a connection was refused or cut");
    let new = managed.start();
    for session in waiting {
        session.finish(LIMIT).succeeded();
    }
    assert_same_bytes(&managed.setup.folder().join("store-main/slow"), &file);
    silent.set_read_timeout(Some(LIMIT)).unwrap();
    assert!(silent.read(&mut [0; 1]).is_ok_and(|length| length > 0), "the banner of the new gateway");
    drop(silent);
    new.stop();
    managed.trail_is_whole();
}

#[test]
fn a_killed_gateway_leaves_its_connections_to_the_next_one() {
    let managed = Managed::new();
    let old = managed.start();
    let client = managed.client(&old);
    client.sftp("pwd").succeeded();
    old.kill();
    let mut session = Running::start(&mut client.sftp_command());
    session.feed(b"pwd\n");
    session.close_input();
    thread::sleep(Duration::from_millis(300));
    assert!(!session.has_ended(), "it was refused");
    let new = managed.start();
    session.finish(LIMIT).succeeded();
    new.stop();
    managed.trail_is_whole();
}

#[test]
fn health_and_the_admin_socket_are_inherited_too_and_their_file_stays() {
    let managed = Managed::new();
    let socket = managed.setup.folder().join("admin.sock");
    for _ in 0..2 {
        let gateway = managed.start();
        assert_eq!(Place::Tcp(managed.health).get("/readyz").status, 200);
        assert_eq!(Place::unix(&socket).get("/api/v1/status").status, 200);
        gateway.stop();
        assert!(socket.exists(), "the file belongs to whoever made it");
    }
}

#[test]
fn a_socket_that_nobody_serves_is_an_error_at_the_start() {
    let mut managed = Managed::new();
    managed.setup.config["server"]["listen"] = json!(["127.0.0.1:0"]);
    let port = managed.ssh.port().to_string();
    let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| managed.start().stop())).unwrap_err();
    let said = panicked.downcast_ref::<String>().expect("a sentence");
    assert!(said.contains("the service manager passed sockets") && said.contains(&port), "{said}");
}

#[test]
fn sockets_that_are_meant_for_another_process_are_not_touched() {
    let managed = Managed::new();
    let mut setup = managed.setup.clone();
    setup.config["server"]["listen"] = json!(["127.0.0.1:0"]);
    setup.config["admin"] = json!({ "socket": "own.sock" });
    let mut command = lockgate();
    // The third descriptor is none of a socket: the gateway would say so.
    command.args(["serve", "--config"]).arg(setup.write_config()).env("LISTEN_PID", "1").env("LISTEN_FDS", "1");
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let mut server = Server::start(&mut command, None);
    let socket = setup.folder().join("own.sock");
    until("a gateway", LIMIT, || {
        assert!(!server.has_ended(), "it used a descriptor of somebody else");
        socket.exists().then_some(())
    });
    server.signal(Signal::TERM);
    assert!(server.ended(LIMIT).is_some_and(|status| status.success()));
}
