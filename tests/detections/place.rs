//! What gateways recorded of a day of work and of attacks; made once for all tests.

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::gateway::Gateway;
use crate::support::process::{LIMIT, run, tool, until};
use crate::support::server::free_port;
use crate::support::setup::{Setup, User, hash_password};

/// Users who log in with these keys; the others have a password.
const KEYS: [(&str, &[&str]); 4] =
    [("alice", &["alice"]), ("bob", &["bob"]), ("grace", &["grace", "stolen"]), ("mallory", &["mallory"])];
const PASSWORDS: [&str; 8] = ["carol", "dave", "erin", "frank", "oscar", "heidi", "ivan", "judy"];

/// The time at which a recording begins when a rule reads it: ordinary work is by day, the attacks are by night.
pub const DAY: &str = "2026-03-02T10:00";
pub const NIGHT: &str = "2026-03-03T03:00";

/// A file of the project.
pub fn project(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// The events of one gateway: all, and as `examples/pipelines/errors-stream.yaml` divides them.
pub struct Recording {
    files: [(&'static str, String); 3],
    /// When it is to begin.
    pub start: &'static str,
}

/// A recording on the disk, until it is dropped.
pub struct Laid(TempDir);

impl Laid {
    pub fn folder(&self) -> &Path {
        self.0.path()
    }

    pub fn events(&self) -> PathBuf {
        self.0.path().join("events.ndjson")
    }
}

impl Recording {
    pub fn lay(&self) -> Laid {
        let folder = tempfile::tempdir().expect("a folder");
        for (name, text) in &self.files {
            fs::write(folder.path().join(name), text).unwrap();
        }
        Laid(folder)
    }

    pub fn lines(&self) -> Vec<&str> {
        self.files[0].1.lines().collect()
    }

    pub fn events(&self) -> Vec<Value> {
        self.lines().iter().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// The session in which a user logged in.
    pub fn session_of(&self, user: &str) -> String {
        let events = self.events();
        let login = events.iter().find(|event| event["activity-type"] == "CONNECTED" && event["user"] == user);
        login.unwrap_or_else(|| panic!("{user} did not log in"))["session-id"].as_str().unwrap().to_owned()
    }
}

/// A day of work of four users (`work.py`).
pub fn ordinary() -> &'static Recording {
    static MADE: OnceLock<Recording> = OnceLock::new();
    MADE.get_or_init(|| {
        let office = Office::new();
        let gateway = office.setup.start();
        office.work("normal", &gateway);
        gateway.stop();
        office.recording(DAY)
    })
}

/// One attack after the other (`work.py`); at the end somebody adds a key to a user.
pub fn attacks() -> &'static Recording {
    static MADE: OnceLock<Recording> = OnceLock::new();
    MADE.get_or_init(|| {
        let office = Office::new();
        let gateway = office.setup.start();
        office.work("attacks", &gateway);
        let mut keys = OpenOptions::new().append(true).open(office.keys.join("nina.pub")).unwrap();
        writeln!(keys, "{}", fs::read_to_string(office.setup.folder().join("stolen.pub")).unwrap().trim()).unwrap();
        gateway.events.await_event("USER_CHANGED", |event| event["user"] == "nina");
        gateway.stop();
        office.recording(NIGHT)
    })
}

/// One of two sinks fails, and somebody tries to log in.
pub fn failing_sink() -> &'static Recording {
    static MADE: OnceLock<Recording> = OnceLock::new();
    MADE.get_or_init(|| {
        let mut office = Office::new();
        let sink = json!({ "sink": "syslog", "address": format!("tcp://127.0.0.1:{}", free_port()) });
        office.setup.config["events"].as_array_mut().unwrap().push(sink);
        let gateway = office.setup.start();
        office.work("refused", &gateway);
        let file = office.logs.join("events.ndjson");
        until("the end of the connection in the file", LIMIT, || {
            fs::read_to_string(&file).unwrap().contains("DISCONNECTED").then_some(())
        });
        gateway.kill();
        office.recording(DAY)
    })
}

/// The state of the chain is removed while the gateway is down; later the gateway is killed.
pub fn broken_chain() -> &'static Recording {
    static MADE: OnceLock<Recording> = OnceLock::new();
    MADE.get_or_init(|| {
        let office = Office::new();
        office.setup.start().stop();
        fs::remove_file(office.audit.join("chain")).unwrap();
        office.setup.start().kill();
        office.setup.start().stop();
        office.recording(DAY)
    })
}

/// Everybody's accounts, and where events and public keys lie.
struct Office {
    setup: Setup,
    logs: PathBuf,
    keys: PathBuf,
    audit: PathBuf,
}

impl Office {
    fn new() -> Office {
        let mut setup = Setup::new();
        setup.memory_store("main");
        let audit = setup.audit_folder();
        let hash = hash_password("correct horse");
        for name in PASSWORDS {
            let user = User::new(name).set("password_hash", hash.clone()).set("auth", "password");
            setup.user(user.home("/", &format!("main:/{name}")));
        }
        for (name, keys) in KEYS {
            let user = keys.iter().fold(User::new(name), |user, key| user.key(&setup.key(key)));
            setup.user(user.home("/", &format!("main:/{name}")));
        }
        let keys = setup.local_store("keys");
        fs::write(keys.join("nina.pub"), setup.key("unknown").public + "\n").unwrap();
        let home = json!([{ "entry": "/", "target": "main:/${user}" }]);
        setup.config["users_from"] = json!([{ "keys": "keys:/", "every": "1s", "home": home }]);
        let logs = setup.subfolder("logs");
        // All events, and beside them the two files of the example.
        let example = fs::read_to_string(project("examples/pipelines/errors-stream.yaml")).unwrap();
        let example = example.replace("/var/log/lockgate", logs.to_str().unwrap());
        let example: Value = serde_saphyr::from_str(&example).unwrap();
        let sinks = setup.config["events"].as_array_mut().unwrap();
        sinks.push(json!({ "sink": "file", "path": logs.join("events.ndjson") }));
        sinks.extend(example["events"].as_array().unwrap().clone());
        // What is downloaded in bulk; it takes no room.
        File::create(setup.folder().join("large")).unwrap().set_len(64 << 20).unwrap();
        Office { setup, logs, keys, audit }
    }

    fn work(&self, scene: &str, gateway: &Gateway) {
        let mut python = Command::new(tool("venv/bin/python"));
        python.arg("-B").arg(project("tests/detections/work.py")).arg(scene).arg(gateway.port.to_string());
        run(python.arg(self.setup.folder())).succeeded();
    }

    fn recording(&self, start: &'static str) -> Recording {
        let names = ["events.ndjson", "sessions.ndjson", "ERRORS.ndjson"];
        Recording { files: names.map(|name| (name, fs::read_to_string(self.logs.join(name)).unwrap())), start }
    }
}

/// Python of one of the environments that `tests/run` makes, running a script beside this file.
pub fn python(environment: &str, script: &str) -> Command {
    let mut command = Command::new(tool(&format!("{environment}/bin/python")));
    command.arg("-B").arg(project("tests/detections").join(script));
    command
}

/// What a script found, which it prints as JSON.
#[track_caller]
pub fn found(command: &mut Command) -> Value {
    let finished = run(command).succeeded();
    serde_json::from_str(&finished.stdout).unwrap_or_else(|why| panic!("{why}: {finished}"))
}
