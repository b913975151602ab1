//! A whole service: three gateways over one bucket of an S3 server of their own, Redis with a replica, and HAProxy with the example of
//! `deploy/haproxy`. Each of them can be killed and started again.

use std::collections::BTreeMap;
use std::fs;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Mutex;
use std::time::Duration;

use rustix::process::Signal;
use serde_json::{Value, json};

use super::LEASE;
use crate::support::client::Client;
use crate::support::content::{Content, recognize};
use crate::support::event_files::Trail;
use crate::support::gateway::{Gateway, lockgate};
use crate::support::http::Place;
use crate::support::keys::Key;
use crate::support::process::{LIMIT, program, run, run_with, until};
use crate::support::redis::Redis;
use crate::support::s3::{S3Server, S3Store};
use crate::support::server::{Server, free_port};
use crate::support::setup::{Setup, User};

/// How many gateways it has.
pub const GATEWAYS: usize = 3;

/// The service. Everything that it has ends when this is dropped.
pub struct Service {
    /// Where the files are.
    pub store: S3Store,
    /// Where the keys of further users are, in the folder [`KEYS`].
    pub desk: S3Store,
    pub s3: S3Server,
    pub redis: [Redis; 2],
    pub members: Vec<Member>,
    shared: Setup,
    keys: [Key; 2],
    known_hosts: PathBuf,
    front: u16,
    balancer: Balancer,
}

/// The folder of keys in the store `desk`.
pub const KEYS: &str = "public-keys";

/// How often the gateways read it.
pub const KEYS_EVERY: Duration = Duration::from_secs(1);

/// HAProxy, whether it runs or not.
struct Balancer {
    config: PathBuf,
    /// Its socket for questions.
    control: PathBuf,
    running: Mutex<Option<Server>>,
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
        let s3 = S3Server::start();
        let [store, desk] = ["lake", "desk"].map(|name| {
            let store = s3.new_store();
            shared.store(name, json!({ "url": store.url(), "options": store.options() }));
            store
        });
        let keys = ["alice", "bob"].map(|name| shared.key(name));
        shared.user(User::new("alice").key(&keys[0]).home("/", "lake:/"));
        shared.user(User::new("bob").key(&keys[1]).home("/", "lake:/").set("sessions", 1));
        shared.config["users_from"] = json!({
            "keys": format!("desk:/{KEYS}"), "every": format!("{}s", KEYS_EVERY.as_secs()),
            "home": [{ "entry": "/", "target": "lake:/home/${user}" }],
        });
        shared.config["fleet"] = json!({
            "url": [redis.url(), replica.url()], "name": "prod", "lease": format!("{}s", LEASE.as_secs()),
        });
        shared.config["server"]["proxy_protocol"] = "required".into();
        shared.config["server"]["proxy_from"] = json!(["127.0.0.1"]);
        // All clients come from one address.
        shared.config["defender"] = "off".into();
        shared.limit("drain", drain);
        let front = free_port();
        let (members, servers): (Vec<_>, Vec<_>) = (1..=GATEWAYS).map(|number| Member::new(number, &shared)).unzip();
        let balancer = Balancer::new(&shared, front, &servers);
        balancer.start();
        let known_hosts = shared.folder().join("known_hosts");
        let line = |key: &Key| format!("[127.0.0.1]:{front} {} {}\n", key.kind(), key.blob());
        fs::write(&known_hosts, shared.host_keys().iter().map(line).collect::<String>()).unwrap();
        let redis = [redis, replica];
        let service = Service { store, desk, s3, redis, members, shared, keys, known_hosts, front, balancer };
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
            let text = self.balancer.ask("show stat\n")?;
            text.lines().any(|found| found.starts_with(&line) && found.contains(",UP,")).then_some(())
        });
    }

    /// Ends HAProxy with SIGKILL.
    pub fn kill_balancer(&self) {
        *self.balancer.running.lock().unwrap() = None;
    }

    /// Starts it with the same configuration, after [`Service::kill_balancer`]; returns when it listens.
    #[track_caller]
    pub fn start_balancer(&self) {
        self.balancer.start();
    }

    /// Every file in the store, read past the gateways: which content it is, or what is wrong with it.
    #[track_caller]
    pub fn stored(&self) -> BTreeMap<String, Result<Content, String>> {
        let is_file = |key: &String| !key.is_empty() && !key.ends_with('/');
        let keys = self.store.objects().into_keys().filter(is_file);
        keys.map(|key| (self.store.read(&key, |object| recognize(object)), key))
            .map(|(found, key)| (key, found))
            .collect()
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

    /// It does not start while there is no S3 server, and says so in a way that makes a service manager try again.
    #[track_caller]
    pub fn start_in_vain(&self) {
        let finished = run(lockgate().arg("serve").arg("--config").arg(self.setup.write_config()));
        assert_eq!(finished.status.code(), Some(1), "{finished}");
        finished.says("the store cannot be reached");
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

    /// The whole lines of its trail so far, also while it runs.
    #[track_caller]
    pub fn recorded(&self) -> Vec<Value> {
        let text = fs::read_to_string(self.events.join("events.ndjson")).unwrap_or_default();
        // A line that death has cut is no event.
        text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
    }

    #[track_caller]
    fn read_trail(&self) -> Vec<Value> {
        let mut verify = lockgate();
        verify.args(["audit", "verify"]).arg(&self.events).arg("--state").arg(&self.chain);
        run(verify.arg("--key").arg(self.chain.join("signing_key.pub"))).succeeded();
        Trail::of(self.events.join("events.ndjson"), &self.chain).read()
    }
}

/// How often HAProxy is started, when another process takes its port in between.
const TRIES: usize = 5;

impl Balancer {
    /// HAProxy with the project's example, for these servers, with quicker checks. It does not run yet.
    #[track_caller]
    fn new(shared: &Setup, front: u16, servers: &[String]) -> Balancer {
        let control = shared.folder().join("haproxy.sock");
        let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/haproxy/haproxy.cfg");
        let mut text = fs::read_to_string(example).unwrap();
        let mut replace = |from: &str, to: &str| {
            assert!(text.contains(from), "no {from:?} in the example");
            text = text.replace(from, to);
        };
        for (number, server) in servers.iter().enumerate() {
            let number = number + 1;
            replace(&format!("server edge-{number} 192.0.2.1{number}:2022"), server);
        }
        replace("bind :2022", &format!("bind 127.0.0.1:{front}"));
        replace("inter 2s fall 2 rise 2", "inter 300ms fall 2 rise 1");
        // As many as a machine with few file descriptors has.
        replace("maxconn 20000", &format!("maxconn 200\n    stats socket {}", control.display()));
        let config = shared.folder().join("haproxy.cfg");
        fs::write(&config, text).unwrap();
        Balancer { config, control, running: Mutex::default() }
    }

    #[track_caller]
    fn start(&self) {
        let started = (0..TRIES).find_map(|_| self.launch());
        *self.running.lock().unwrap() = Some(started.expect("HAProxy on its port"));
    }

    /// `None` when it ends before it is ready, as it does on a port that is taken.
    #[track_caller]
    fn launch(&self) -> Option<Server> {
        let mut command = program("haproxy");
        command.args(["-db", "-f"]).arg(&self.config);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let mut server = Server::start(&mut command, None);
        let is_up = until("answer of HAProxy", LIMIT, || {
            if server.has_ended() {
                return Some(false);
            }
            self.ask("show info\n").map(|_| true)
        });
        is_up.then_some(server)
    }

    /// What it answers; `None` when it is not there.
    fn ask(&self, question: &str) -> Option<String> {
        let mut stream = UnixStream::connect(&self.control).ok()?;
        stream.write_all(question.as_bytes()).ok()?;
        let mut text = String::new();
        stream.read_to_string(&mut text).ok()?;
        Some(text)
    }
}
