//! What Lockgate does not do: refused at once, with a reason that the client shows, and on record.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::process::Stdio;

use crate::support::client::Client;
use crate::support::data::SMALL_FILE;
use crate::support::events::field;
use crate::support::gateway::Gateway;
use crate::support::keys::Key;
use crate::support::process::{LIMIT, Running, program, python, run_with, until};
use crate::support::server::{Server, free_port};
use crate::support::setup::{Setup, User};

struct Door {
    setup: Setup,
    gateway: Gateway,
    key: Key,
}

fn door() -> Door {
    let mut setup = Setup::new();
    setup.memory_store("main");
    let key = setup.key("alice");
    setup.user(User::new("alice").key(&key).home("/", "main:/"));
    let gateway = setup.start();
    Door { setup, gateway, key }
}

impl Door {
    fn client(&self) -> Client {
        self.gateway.client("alice", &self.key).within(LIMIT)
    }

    #[track_caller]
    fn assert_denied(&self, request: &str) {
        let event = self.gateway.events.await_event("REQUEST_DENIED", |e| field(e, "request").starts_with(request));
        assert_eq!(field(&event, "user"), "alice", "{event}");
        assert_ne!(field(&event, "session-id"), "", "{event}");
    }

    /// After all that was refused, the same gateway still serves.
    #[track_caller]
    fn assert_still_serves(self) {
        self.client().sftp(&format!("put {SMALL_FILE} /file\nls\n")).succeeded();
        self.gateway.stop();
    }
}

#[test]
fn a_shell_is_refused() {
    let door = door();
    door.client().ssh(&["-T"], &[]).complained();
    door.assert_denied("shell");
    door.assert_still_serves();
}

#[test]
fn other_commands_are_refused() {
    let door = door();
    for command in [
        &["ls"][..],
        &["ls", "-l", "/"],
        &["scp"],
        &["scpx", "-t", "/"],
        &["/bin/scp", "-t", "/;ls"],
        &["scp -t /; id"],
        &["rsync", "--server", "."],
        &["sftp-server"],
        &["\"\""],
    ] {
        let refused = door.client().ssh(&["-T"], command).failed();
        assert!(!refused.stderr.trim().is_empty(), "{command:?}: the client shows a reason: {refused}");
        assert!(!refused.stdout.contains("uid="), "{command:?}: {refused}");
    }
    door.assert_denied("exec: ls");
    door.assert_denied("exec: rsync --server");
    door.assert_still_serves();
}

#[test]
fn other_subsystems_are_refused() {
    let door = door();
    door.client().ssh(&["-s"], &["netconf"]).complained();
    door.assert_denied("subsystem: netconf");
    door.client().ssh(&["-s"], &["SFTP"]).complained();
    door.assert_still_serves();
}

#[test]
fn a_terminal_is_refused() {
    let door = door();
    door.client().ssh(&["-tt"], &[]).complained();
    door.assert_denied("pty-req");
    door.assert_still_serves();
}

#[test]
fn environment_variables_are_refused_and_the_session_goes_on() {
    let door = door();
    door.client().with("SetEnv=LD_PRELOAD=/tmp/x.so").sftp("pwd\n").succeeded();
    door.assert_denied("env: LD_PRELOAD");
    door.assert_still_serves();
}

#[test]
fn x11_is_refused() {
    let door = door();
    let client = door.client().with("ForwardX11=yes").with("ForwardX11Timeout=0");
    // With the subsystem: the refusal must not hurt what comes after it.
    let mut command = client.command("ssh");
    command.env("DISPLAY", "127.0.0.1:99").args(["-X", "-s", &client.host(), "sftp"]);
    run_with(&mut command, b"", LIMIT);
    door.assert_denied("x11-req");
    door.assert_still_serves();
}

#[test]
fn an_agent_is_refused() {
    let door = door();
    let socket = door.setup.folder().join("agent");
    let mut agent = program("ssh-agent");
    agent.arg("-D").arg("-a").arg(&socket).stdout(Stdio::null()).stderr(Stdio::null());
    let agent = Server::start(&mut agent, None);
    until("socket of the agent", LIMIT, || UnixStream::connect(&socket).ok());
    let client = door.client();
    let mut command = client.command("ssh");
    command.env("SSH_AUTH_SOCK", &socket).args(["-A", "-s", &client.host(), "sftp"]);
    run_with(&mut command, b"", LIMIT);
    drop(agent);
    door.assert_denied("auth-agent-req");
    door.assert_still_serves();
}

#[test]
fn forwarding_to_an_address_is_refused() {
    let door = door();
    door.client().ssh(&["-W", "127.0.0.1:22"], &[]).complained();
    door.assert_denied("direct-tcpip: 127.0.0.1:22");

    let port = free_port();
    let forward = format!("127.0.0.1:{port}:127.0.0.1:7");
    assert_refused_through(&door, &["-N", "-L", &forward], |stream| stream.write_all(b"x"), port);
    door.assert_denied("direct-tcpip: 127.0.0.1:7");
    door.assert_still_serves();
}

#[test]
fn a_socks_proxy_is_refused() {
    let door = door();
    let port = free_port();
    // SOCKS 5: no authentication; connect to 127.0.0.1:9.
    let hello = b"\x05\x01\x00\x05\x01\x00\x01\x7f\x00\x00\x01\x00\x09";
    assert_refused_through(&door, &["-N", "-D", &format!("127.0.0.1:{port}")], |s| s.write_all(hello), port);
    door.assert_denied("direct-tcpip: 127.0.0.1:9");
    door.assert_still_serves();
}

#[test]
fn forwarding_to_a_unix_socket_is_refused() {
    let door = door();
    let port = free_port();
    let forward = format!("127.0.0.1:{port}:/var/run/docker.sock");
    assert_refused_through(&door, &["-N", "-L", &forward], |stream| stream.write_all(b"x"), port);
    door.assert_denied("direct-streamlocal");
    door.assert_still_serves();
}

/// Starts a client that forwards a local port, uses it, and expects the connection to close and the client to say why.
#[track_caller]
fn assert_refused_through(
    door: &Door,
    flags: &[&str],
    greet: impl Fn(&mut TcpStream) -> std::io::Result<()>,
    port: u16,
) {
    let client = door.client();
    let mut command = client.command("ssh");
    command.args(flags).arg(client.host());
    let mut forwarder = Running::start(&mut command);
    let mut stream = until("forwarded port", LIMIT, || TcpStream::connect(("127.0.0.1", port)).ok());
    stream.set_read_timeout(Some(LIMIT)).unwrap();
    greet(&mut stream).unwrap();
    let mut rest = Vec::new();
    // A reset is a refusal as well.
    let outcome = stream.read_to_end(&mut rest);
    assert!(!outcome.is_err_and(|e| e.kind() == std::io::ErrorKind::WouldBlock), "it hangs");
    forwarder.kill();
    let done = forwarder.finish(LIMIT);
    assert!(!done.stderr.trim().is_empty(), "{done}");
}

#[test]
fn listening_for_the_client_is_refused() {
    let door = door();
    for (forward, request) in [
        ("127.0.0.1:0:127.0.0.1:7", "tcpip-forward"),
        ("8022:127.0.0.1:7", "tcpip-forward"),
        ("0", "tcpip-forward"),
        ("/tmp/lockgate-test.sock:127.0.0.1:7", "streamlocal-forward"),
    ] {
        let client = door.client().with("ExitOnForwardFailure=yes");
        client.ssh(&["-N", "-R", forward], &[]).complained();
        door.assert_denied(request);
    }
    door.assert_still_serves();
}

/// Channels and requests that OpenSSH's client does not send by itself: each is answered, none opens.
#[test]
fn channels_of_any_other_kind_are_refused() {
    let door = door();
    let mut script = python("odd_channels.py");
    script.args([&door.gateway.port.to_string(), "alice"]).arg(&door.key.private);
    let done = run_with(&mut script, b"", LIMIT).succeeded();
    assert!(done.stdout.contains("all refused"), "{done}");
    let known = ["forwarded-tcpip", "x11", "direct-tcpip"];
    let unknown = ["channel: tun@openssh.com", "channel: session-of-the-future", "global-request: of-the-future"];
    for request in known.into_iter().chain(unknown).chain(["cancel-tcpip-forward: localhost:7"]) {
        door.assert_denied(request);
    }
    door.assert_still_serves();
}

/// Debian's client sends them to everybody.
#[test]
fn the_usual_environment_is_ignored_without_a_word() {
    let door = door();
    let client = door.client().with("SendEnv=LANG LC_*").with("SetEnv=LC_ALL=C LANG=de_DE.UTF-8 COLORTERM=yes");
    client.sftp("pwd\n").succeeded();
    door.gateway.events.await_disconnected(1);
    assert_eq!(door.gateway.events.of_type("REQUEST_DENIED").len(), 0);
    door.assert_still_serves();
}

#[test]
fn what_may_be_asked_is_not_an_event() {
    let door = door();
    door.client().with("ServerAliveInterval=1").sftp("!sleep 3\npwd\n").succeeded();
    assert_eq!(door.gateway.events.of_type("REQUEST_DENIED").len(), 0);
    door.assert_still_serves();
}
