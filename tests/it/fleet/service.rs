//! A whole service: three gateways over one bucket, Redis with a replica, and HAProxy with the example of `deploy/haproxy`.

use std::fs;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Mutex;

use rustix::process::Signal;
use serde_json::{Value, json};

use super::LEASE;
use crate::support::client::Client;
use crate::support::event_files::Trail;
use crate::support::gateway::{Gateway, lockgate};
use crate::support::http::Place;
use crate::support::keys::Key;
use crate::support::process::{LIMIT, program, run, run_with, until};
use crate::support::redis::Redis;
use crate::support::s3::S3Store;
use crate::support::server::{Server, free_port};
use crate::support::setup::{Setup, User};

/// How many gateways it has.
pub const GATEWAYS: usize = 3;

/// The service. Everything that it has ends when this is dropped.
pub struct Service {
    pub store: S3Store,
    pub redis: [Redis; 2],
    pub members: Vec<Member>,
    shared: Setup,
    keys: [Key; 2],
    known_hosts: PathBuf,
    front: u16,
    control: PathBuf,
    _balancer: Server,
}

/// One gateway, whether it runs or not.
pub struct Member {
    pub name: String,
    pub socket: Place,
    setup: Setup,
    running: Mutex<Option<Gateway>>,
    /// The folder of its chain, and the one of its events.
    chain: PathBuf,
    events: PathBuf,
}

impl Service {
    /// Starts everything. Alice may have any number of sessions, bob one.
    #[track_caller]
    pub fn start(drain: &str) -> Service {
        let redis = Redis::start();
        let replica = Redis::start_replica(&redis);
        let mut shared = Setup::new();
        let store = shared.s3_store("lake");
        let keys = ["alice", "bob"].map(|name| shared.key(name));
        shared.user(User::new("alice").key(&keys[0]).home("/", "lake:/"));
        shared.user(User::new("bob").key(&keys[1]).home("/", "lake:/").set("sessions", 1));
        shared.config["fleet"] = json!({
            "url": [redis.url(), replica.url()], "name": "prod", "lease": format!("{}s", LEASE.as_secs()),
        });
        shared.config["server"]["proxy_protocol"] = "required".into();
        shared.config["server"]["proxy_from"] = json!(["127.0.0.1"]);
        // All clients come from one address.
        shared.config["defender"] = "off".into();
        shared.limit("drain", drain);
        let (front, control) = (free_port(), shared.folder().join("haproxy.sock"));
        let (members, servers): (Vec<_>, Vec<_>) = (1..=GATEWAYS).map(|number| Member::new(number, &shared)).unzip();
        let balancer = balance(&shared, front, &control, &servers);
        let known_hosts = shared.folder().join("known_hosts");
        let line = |key: &Key| format!("[127.0.0.1]:{front} {} {}\n", key.kind(), key.blob());
        fs::write(&known_hosts, shared.host_keys().iter().map(line).collect::<String>()).unwrap();
        let redis = [redis, replica];
        let service = Service { store, redis, members, shared, keys, known_hosts, front, control, _balancer: balancer };
        for member in &service.members {
            member.start();
        }
        for member in &service.members {
            member.until_together();
            service.until_balanced(member);
        }
        service
    }

    /// A client of the service.
    pub fn client(&self, user: &str) -> Client {
        let key = if user == "bob" { &self.keys[1] } else { &self.keys[0] };
        Client::new(self.front, &self.known_hosts, user).identity(&key.private)
    }

    pub fn folder(&self) -> &Path {
        self.shared.folder()
    }

    /// Waits until the balancer sends connections to it.
    #[track_caller]
    pub fn until_balanced(&self, member: &Member) {
        let line = format!("gateways,{},", member.name);
        until("a server that is up", LIMIT, || {
            let mut stream = UnixStream::connect(&self.control).ok()?;
            stream.write_all(b"show stat\n").ok()?;
            let mut text = String::new();
            stream.read_to_string(&mut text).ok()?;
            text.lines().any(|found| found.starts_with(&line) && found.contains(",UP,")).then_some(())
        });
    }

    /// Ends every gateway in order, and reads the events of all: each chain is whole, to the words of `lockgate audit verify` and to a
    /// second opinion.
    #[track_caller]
    pub fn end(&self) -> Vec<(String, Vec<Value>)> {
        self.members.iter().for_each(Member::stop);
        self.members.iter().map(|member| (member.name.clone(), member.read_trail())).collect()
    }
}

impl Member {
    /// The gateway, and its line for the balancer.
    fn new(number: usize, shared: &Setup) -> (Member, String) {
        let mut setup = shared.clone();
        let (port, health, name) = (free_port(), free_port(), format!("edge-{number}"));
        let made = shared.folder().join(format!("made-{number}"));
        run_with(lockgate().arg("init").arg(&made), b"", LIMIT).succeeded();
        let (chain, events) = (made.join("audit"), setup.subfolder(&format!("events-{number}")));
        let socket = shared.folder().join(format!("{name}.sock"));
        setup.config["server"]["name"] = name.clone().into();
        setup.config["server"]["listen"] = json!([format!("127.0.0.1:{port}")]);
        setup.config["admin"] = json!({ "socket": socket, "health": format!("127.0.0.1:{health}") });
        setup.config["audit"] = json!({ "folder": chain, "checkpoint_every": "1s" });
        setup.config["events"] = json!([{ "sink": "file", "path": events.join("events.ndjson") }]);
        setup.limit("staging_folder", setup.folder().join(format!("staging-{number}")).to_str().unwrap());
        let server = format!("server {name} 127.0.0.1:{port} port {health}");
        let socket = Place::unix(&socket);
        (Member { name, socket, setup, running: Mutex::default(), chain, events }, server)
    }

    /// Returns when it listens.
    #[track_caller]
    pub fn start(&self) {
        *self.running.lock().unwrap() = Some(self.setup.start());
    }

    /// Ends it with SIGKILL.
    #[track_caller]
    pub fn kill(&self) {
        self.running.lock().unwrap().take().expect("it runs").kill();
    }

    /// Ends it as a service manager does, and waits for the end of its drain.
    #[track_caller]
    pub fn stop(&self) {
        let mut gateway = self.running.lock().unwrap().take().expect("it runs");
        gateway.signal(Signal::TERM);
        let status = gateway.ended(LIMIT);
        assert_eq!(status.code(), Some(0), "{}", gateway.log());
        assert!(!gateway.log().contains("cut off"), "{}", gateway.log());
    }

    /// Waits until it shares what the others share.
    #[track_caller]
    pub fn until_together(&self) {
        until("a gateway that is together with its fleet", LIMIT, || {
            let status = self.socket.get("/api/v1/status").ok();
            status["fleet"].get("alone").is_none().then_some(())
        });
    }

    #[track_caller]
    fn read_trail(&self) -> Vec<Value> {
        let mut verify = lockgate();
        verify.args(["audit", "verify"]).arg(&self.events).arg("--state").arg(&self.chain);
        run(verify.arg("--key").arg(self.chain.join("signing_key.pub"))).succeeded();
        Trail::of(self.events.join("events.ndjson"), &self.chain).read()
    }
}

/// HAProxy with the project's example, for these servers, with quicker checks.
#[track_caller]
fn balance(shared: &Setup, front: u16, control: &Path, servers: &[String]) -> Server {
    let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/haproxy/haproxy.cfg");
    let mut config = fs::read_to_string(example).unwrap();
    let mut replace = |from: &str, to: &str| {
        assert!(config.contains(from), "no {from:?} in the example");
        config = config.replace(from, to);
    };
    for (number, server) in servers.iter().enumerate() {
        let number = number + 1;
        replace(&format!("server edge-{number} 192.0.2.1{number}:2022"), server);
    }
    replace("bind :2022", &format!("bind 127.0.0.1:{front}"));
    replace("inter 2s fall 2 rise 2", "inter 300ms fall 2 rise 1");
    // As many as a machine with few file descriptors has.
    replace("maxconn 20000", &format!("maxconn 200\n    stats socket {}", control.display()));
    let file = shared.folder().join("haproxy.cfg");
    fs::write(&file, config).unwrap();
    let mut command = program("haproxy");
    command.args(["-db", "-f"]).arg(&file).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    Server::start(&mut command, None)
}
