//! The library as programs use it: its examples, and a gateway in this process. OpenSSH's sftp uses each of them.
//!
//! `cargo test` builds the examples before it runs this; with `cargo test --test embedding`, run `cargo build --examples` first.

#![allow(clippy::unwrap_used, clippy::expect_used)]

#[path = "embedding/handle.rs"]
mod handle;
#[path = "support/mod.rs"]
mod support;

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;

use rusqlite::Connection;
use rustix::process::Signal;
use support::client::Client;
use support::keys::Key;
use support::process::{LIMIT, program, run};
use support::server::{Server, folder};
use tempfile::TempDir;

/// An example that serves.
struct Example {
    server: Server,
    lines: Receiver<String>,
    known_hosts: PathBuf,
    port: u16,
    folder: TempDir,
}

impl Example {
    /// Starts it with a folder of its own, which `prepare` fills, and with more arguments.
    fn start(name: &str, arguments: &[&str], prepare: impl FnOnce(&Path)) -> Example {
        let folder = folder();
        prepare(folder.path());
        let mut command = Command::new(binary(name));
        command.arg(folder.path()).args(arguments).stdout(Stdio::piped());
        let mut server = Server::start(&mut command, None);
        let (sender, lines) = channel();
        let output = BufReader::new(server.child.stdout.take().unwrap());
        thread::spawn(move || output.lines().map_while(Result::ok).all(|line| sender.send(line).is_ok()));
        let mut example = Example { server, lines, known_hosts: folder.path().join("known_hosts"), port: 0, folder };
        let line = example.line("listening on ");
        example.port = line.rsplit(':').next().unwrap().parse().unwrap();
        let key = example.folder.path().join("host_key");
        let public = run(program("ssh-keygen").arg("-y").arg("-f").arg(key)).succeeded().stdout;
        fs::write(&example.known_hosts, format!("[127.0.0.1]:{} {}\n", example.port, public.trim())).unwrap();
        example
    }

    /// The next line that begins so.
    fn line(&self, beginning: &str) -> String {
        loop {
            let line = self.lines.recv_timeout(LIMIT).unwrap_or_else(|error| panic!("no line {beginning:?}: {error}"));
            if line.starts_with(beginning) {
                return line;
            }
        }
    }

    fn client(&self, user: &str) -> Client {
        Client::new(self.port, &self.known_hosts, user)
    }

    /// Sends a file there, and fetches it again.
    fn serves(&self, client: &Client) {
        let (sent, fetched) = (self.folder.path().join("sent"), self.folder.path().join("fetched"));
        fs::write(&sent, "what is sent").unwrap();
        let script =
            format!("mkdir in\nput {} in/a\nrename in/a in/b\nget in/b {}\nls in\n", sent.display(), fetched.display());
        let listed = client.sftp(&script).succeeded();
        assert!(listed.stdout.contains("in/b"), "{listed}");
        assert_eq!(fs::read_to_string(&fetched).unwrap(), "what is sent");
        fs::remove_file(&fetched).unwrap();
    }

    /// Ends it as a terminal does; the program drains and succeeds.
    fn end(mut self) -> TempDir {
        self.server.signal(Signal::INT);
        let status = self.server.ended(LIMIT).expect("it ends");
        assert!(status.success(), "{status}");
        self.folder
    }
}

/// The program of an example, which lies beside the folder of this test's.
fn binary(name: &str) -> PathBuf {
    let own = std::env::current_exe().unwrap();
    let file = own.parent().and_then(Path::parent).unwrap().join("examples").join(name);
    assert!(file.exists(), "{} is missing: run cargo build --examples", file.display());
    file
}

fn activities(folder: &Path) -> Vec<String> {
    let text = fs::read_to_string(folder.join("events.ndjson")).unwrap();
    let activity = |line: &str| {
        let event: serde_json::Value = serde_json::from_str(line).unwrap();
        event["activity-type"].as_str().unwrap().to_owned()
    };
    text.lines().map(activity).collect()
}

#[test]
fn a_gateway_is_embedded_in_forty_lines() {
    let text = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/embedded.rs")).unwrap();
    assert!(text.lines().count() <= 40, "{} lines", text.lines().count());
    let keys = tempfile::tempdir().unwrap();
    let (key, other) = (Key::make(keys.path(), "ann", "ed25519"), Key::make(keys.path(), "other", "ed25519"));
    let example = Example::start("embedded", &[&key.public], |_| {});
    let ann = example.client("ann").identity(&key.private);
    example.serves(&ann);
    example.client("ann").identity(&other.private).sftp("ls\n").failed();
    example.client("ben").identity(&key.private).sftp("ls\n").failed();
    let folder = example.end();
    assert_eq!(fs::read_to_string(folder.path().join("data/ann/in/b")).unwrap(), "what is sent");
    let activities = activities(folder.path());
    for activity in ["CONNECTED", "OPEN", "CLOSE", "RENAME", "AUTH_FAILURE", "DISCONNECTED"] {
        assert!(activities.iter().any(|found| found == activity), "{activity} in {activities:?}");
    }
}

#[test]
fn users_come_from_a_database_and_go_with_their_rows() {
    let keys = tempfile::tempdir().unwrap();
    let key = Key::make(keys.path(), "ann", "ed25519");
    let example = Example::start("users_in_sqlite", &[], |_| {});
    let database = Connection::open(example.folder.path().join("users.db")).unwrap();
    let ann = example.client("ann").identity(&key.private);
    ann.sftp("ls\n").failed();
    let add = "INSERT INTO users (name, public_key, password_hash, folder) VALUES (?1, ?2, ?3, ?1)";
    database.execute(add, ("ann", Some(&key.public), None::<String>)).unwrap();
    example.serves(&ann);
    let hash = lockgate::User::hash_password("correct horse").unwrap();
    database.execute(add, ("ben", None::<String>, Some(&hash))).unwrap();
    example.serves(&example.client("ben").password("correct horse"));
    example.client("ben").password("battery staple").sftp("ls\n").failed();
    database.execute("DELETE FROM users WHERE name = 'ann'", ()).unwrap();
    ann.sftp("ls\n").failed();
    // A row that makes no user lets nobody in, and is the gateway's matter.
    database.execute(add, ("carl", Some("no key"), None::<String>)).unwrap();
    example.client("carl").identity(&key.private).sftp("ls\n").failed();
    let folder = example.end();
    let text = fs::read_to_string(folder.path().join("events.ndjson")).unwrap();
    assert!(text.contains("\"directory-unavailable\""), "{text}");
}

#[test]
fn files_live_in_a_store_of_the_program_and_events_in_its_sink() {
    let keys = tempfile::tempdir().unwrap();
    let key = Key::make(keys.path(), "ann", "ed25519");
    let example = Example::start("own_store_and_sink", &[&key.public], |_| {});
    let ann = example.client("ann").identity(&key.private);
    example.serves(&ann);
    for activity in ["CONNECTED", "OPEN", "CLOSE", "RENAME"] {
        example.line(&format!("event {activity} ann "));
    }
    // Larger than one part, and an empty directory that lasts.
    let (large, back) = (example.folder.path().join("large"), example.folder.path().join("back"));
    fs::write(&large, vec![7; 20 << 20]).unwrap();
    let script =
        format!("mkdir empty\nput {} large\nget large {}\nls -a empty\nrmdir empty\n", large.display(), back.display());
    let listed = ann.sftp(&script).succeeded();
    assert!(!listed.stdout.contains(".lockgate-directory"), "{listed}");
    assert_eq!(fs::read(&back).unwrap(), fs::read(&large).unwrap());
    ann.sftp("ls missing\n").failed();
    // The gate refuses ben, whose key is good.
    example.client("ben").identity(&key.private).sftp("ls\n").failed();
    example.line("event AUTH_FAILURE ben ");
    example.end();
}
