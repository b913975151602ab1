//! A gateway that writes its events to a file, and what happens to that file.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};

use flate2::Compression;
use flate2::read::MultiGzDecoder;
use flate2::write::GzEncoder;
use rustix::process::Signal;
use serde_json::{Value, json};

use crate::support::client::Client;
use crate::support::gateway::Gateway;
use crate::support::process::{LIMIT, until};
use crate::support::setup::{Setup, User};

/// The folder of `examples/pipelines/`.
pub fn example(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/pipelines").join(name)
}

/// One user, whose home is a local store, and a folder of events.
pub struct Place {
    pub setup: Setup,
    pub gateway: Gateway,
    client: Client,
    logs: PathBuf,
    rotated: usize,
}

impl Place {
    pub fn new() -> Place {
        let mut setup = Setup::new();
        setup.local_store("main");
        let key = setup.key("alice");
        setup.user(User::new("alice").key(&key).home("/", "main:/"));
        let logs = setup.subfolder("logs");
        setup.config["events"] = json!([
            { "sink": "stdout" },
            { "sink": "file", "path": logs.join("events.ndjson") },
        ]);
        let gateway = setup.start();
        let client = gateway.client("alice", &key);
        Place { setup, gateway, client, logs, rotated: 0 }
    }

    /// A copy of an example, in which its folders are those of this test.
    pub fn configuration(&self, name: &str, state: &str) -> PathBuf {
        let text = fs::read_to_string(example(name)).unwrap();
        for folder in ["/var/log/lockgate", state] {
            assert!(text.contains(folder), "{name} does not name {folder}");
        }
        let logs = self.logs.to_str().unwrap();
        let kept = self.setup.subfolder("state");
        let text = text.replace("/var/log/lockgate", logs).replace(state, kept.to_str().unwrap());
        let copy = self.setup.folder().join(name);
        fs::write(&copy, text).unwrap();
        copy
    }

    /// A client that can be sent to another thread.
    pub fn client(&self) -> Client {
        self.client.clone()
    }

    /// Somebody logs in, does a bit of everything, and leaves.
    pub fn traffic(&self) {
        traffic(&self.client);
    }

    /// What rotation leaves: the file under the name it gets, and a new one.
    pub fn rotate(&mut self) -> PathBuf {
        let live = self.logs.join("events.ndjson");
        self.rotated += 1;
        let old = self.logs.join(format!("events.ndjson.20260731T0815{:02}Z-{}", self.rotated, self.rotated * 100));
        fs::rename(&live, &old).unwrap();
        self.gateway.signal(Signal::HUP);
        until("new file of events", LIMIT, || live.exists().then_some(()));
        old
    }

    /// Ends the gateway; every line of every file, in the order in which they were written.
    pub fn close(self) -> (Setup, Vec<String>) {
        self.gateway.stop();
        let mut files: Vec<PathBuf> = fs::read_dir(&self.logs).unwrap().map(|entry| entry.unwrap().path()).collect();
        // The name of the live file is the shortest, and it is the newest.
        files.sort_by_key(|file| (file.ends_with("events.ndjson"), file.clone()));
        let lines = files.iter().flat_map(|file| lines(file)).collect();
        (self.setup, lines)
    }
}

/// Compresses a rotated file as a rotating sink does: the new file is whole before the old one goes.
pub fn compress(file: &Path) {
    let bytes = fs::read(file).unwrap();
    let (part, whole) = (format!("{}.part", file.display()), format!("{}.gz", file.display()));
    let mut encoder = GzEncoder::new(File::create(&part).unwrap(), Compression::default());
    encoder.write_all(&bytes).unwrap();
    encoder.finish().unwrap();
    fs::rename(part, whole).unwrap();
    fs::remove_file(file).unwrap();
}

fn lines(file: &Path) -> Vec<String> {
    let text = if file.extension().is_some_and(|extension| extension == "gz") {
        std::io::read_to_string(MultiGzDecoder::new(File::open(file).unwrap())).unwrap()
    } else {
        fs::read_to_string(file).unwrap()
    };
    assert!(text.ends_with('\n') || text.is_empty(), "{} ends within a line", file.display());
    text.lines().map(str::to_owned).collect()
}

/// Names that a shipper's parsing might stumble over: quotes, what looks like a field, text that is not ASCII.
const ODD: &str = r#""timestamp":"1999-12-31T23:59:59.999Z" ünï 日本"#;

/// As [`Place::traffic`].
pub fn traffic(client: &Client) {
    let odd = ODD.replace('"', "\\\"");
    client.sftp(&format!(
        "-mkdir \"/{odd}\"\n-ls \"/{odd}\"\n-rm /absent\n-mkdir /a\nls -l /a\nrename /a /b\nrmdir /b\n"
    ));
    client.sftp("-put /etc/hostname /up\n-get /up /dev/null\n-rm /up\n");
    client.sftp("bye\n").succeeded();
}

/// The line as an event.
pub fn event(line: &str) -> Value {
    serde_json::from_str(line).expect("a line of events is JSON")
}
