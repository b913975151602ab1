//! What the audit trail costs: many small files up and down, with all sinks on against as little of a trail as there can be.
//!
//!     cargo bench --bench audit-cost
//!
//! Events cannot be switched off. "least" is the nearest thing: one sink that nothing waits for (`on_failure: continue`), whose
//! lines go to /dev/null. Events are still made, encoded and queued there, so the ratio is what the sinks and waiting for
//! them cost, and not all that an event costs. Each other side of the table below is measured against it.
//!
//! Every side is a gateway of its own before a store in memory: with any other store, the ratio would look better. Rounds
//! alternate between the sides; the table has the medians of whole rounds without logging in, and the processor time of the
//! gateway for each file. A file is an OPEN and a CLOSE. Each client waits for every answer, several are at it at once.
//!
//! Settings, as variables: FILES=2000 SIZE=4096 SESSIONS=8 RUNS=5, and EVENTS=FOLDER for the files of events: on a disk (the
//! default is the folder for temporary files), since syncing a file on tmpfs costs nothing.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{ChildStdin, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use support::client::Client;
use support::gateway::lockgate;
use support::process::{program, until};
use support::server::{Server, free_port};
use support::setup::{Setup, User};
use support::sftp::Sftp;
use tempfile::TempDir;

#[path = "../../tests/support/mod.rs"]
mod support;

/// One way to keep the trail.
struct Side {
    name: &'static str,
    /// Who reads standard output.
    output: Output,
    /// What stands in the configuration beside server, stores and users. It may write into the folder.
    config: fn(&Path) -> Value,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Output {
    /// /dev/null
    Nobody,
    /// A pipe to a program that throws everything away.
    Reader,
}

/// What is compared: the first is what the others are measured against, the last has everything on.
const SIDES: &[Side] = &[
    Side {
        name: "least",
        output: Output::Nobody,
        config: |_| json!({ "events": [{ "sink": "stdout", "on_failure": "continue" }] }),
    },
    Side { name: "stdout", output: Output::Reader, config: |_| json!({ "events": [stdout()] }) },
    Side { name: "file", output: Output::Nobody, config: |folder| json!({ "events": [file(folder)] }) },
    Side {
        name: "file, signed chain",
        output: Output::Nobody,
        config: |folder| json!({ "events": [file(folder)], "audit": audit(folder) }),
    },
    Side {
        name: "store",
        output: Output::Nobody,
        config: |folder| json!({ "events": [store(folder)], "stores": stores(folder) }),
    },
    Side { name: "syslog", output: Output::Nobody, config: |_| json!({ "events": [syslog()] }) },
    Side { name: "http", output: Output::Nobody, config: |folder| json!({ "events": [http(folder)] }) },
    Side {
        name: "all",
        output: Output::Reader,
        config: |folder| {
            let sinks = [stdout(), file(folder), store(folder), syslog(), http(folder)];
            json!({ "events": sinks, "stores": stores(folder), "audit": audit(folder) })
        },
    },
];

fn stdout() -> Value {
    json!({ "sink": "stdout" })
}

fn file(folder: &Path) -> Value {
    let rotate = json!({ "size": "1MiB" });
    json!({ "sink": "file", "path": folder.join("events.ndjson"), "rotate": rotate, "gzip": true, "fsync": "1s" })
}

fn store(folder: &Path) -> Value {
    json!({ "sink": "store", "target": "archive:/events", "spool": folder.join("spool-store") })
}

/// The store of the files, and one for the events.
fn stores(folder: &Path) -> Value {
    json!({ "main": { "url": "memory:///" }, "archive": { "url": format!("file://{}/archive", folder.display()) } })
}

/// To a server that throws everything away.
fn syslog() -> Value {
    let port = listen(|mut client| drop(io::copy(&mut client, &mut io::sink())));
    json!({ "sink": "syslog", "address": format!("tcp://127.0.0.1:{port}") })
}

/// To a collector that is content with everything.
fn http(folder: &Path) -> Value {
    let port = listen(|client| {
        let mut answers = client.try_clone().unwrap();
        let mut requests = BufReader::new(client);
        while let Some(length) = body_length(&mut requests) {
            if io::copy(&mut requests.by_ref().take(length), &mut io::sink()).is_err()
                || answers.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").is_err()
            {
                return;
            }
        }
    });
    json!({ "sink": "http", "url": format!("http://127.0.0.1:{port}/"), "spool": folder.join("spool-http") })
}

/// The folder of a signed chain.
fn audit(folder: &Path) -> Value {
    let made = lockgate().arg("init").arg(folder.join("init")).output().expect("lockgate starts");
    assert!(made.status.success(), "{made:?}");
    json!({ "folder": folder.join("init/audit") })
}

/// Serves each connection in a thread of its own until the bench ends; the port.
fn listen(serve: fn(TcpStream)) -> u16 {
    let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a free port");
    let port = listener.local_addr().unwrap().port();
    thread::spawn(move || {
        for client in listener.incoming().flatten() {
            thread::spawn(move || serve(client));
        }
    });
    port
}

/// Reads the head of a request; the length of its body. `None` at the end of the connection.
fn body_length(requests: &mut impl BufRead) -> Option<u64> {
    let mut length = 0;
    loop {
        let mut line = String::new();
        if requests.read_line(&mut line).ok()? == 0 {
            return None;
        }
        let line = line.trim_end().to_ascii_lowercase();
        if line.is_empty() {
            return Some(length);
        }
        if let Some(value) = line.strip_prefix("content-length:") {
            length = value.trim().parse().expect("a length");
        }
    }
}

/// How much there is to do.
struct Load {
    files: usize,
    size: usize,
    sessions: usize,
}

fn main() {
    // `cargo test --all-targets` runs this file as well.
    if !std::env::args().any(|argument| argument == "--bench") {
        println!("run it with: cargo bench --bench audit-cost");
        return;
    }
    let load = Load { files: setting("FILES", 2000), size: setting("SIZE", 4096), sessions: setting("SESSIONS", 8) };
    let runs = setting("RUNS", 5);
    let disk = std::env::var_os("EVENTS").map_or_else(std::env::temp_dir, PathBuf::from);
    let sides: Vec<Running> = SIDES.iter().map(|side| Running::start(side, &disk)).collect();
    println!(
        "{} files of {} bytes, {} sessions, {runs} runs, events in {}\n",
        load.files,
        load.size,
        load.sessions,
        disk.display()
    );
    println!("| | | files/s | of the least | spread | processor µs a file |\n|---|---|---|---|---|---|");
    for direction in [Direction::Put, Direction::Get] {
        measure(&sides, &load, direction, runs);
    }
    for side in &sides {
        side.assert_recorded(load.files * (runs + 1) * 2 * 2);
    }
}

fn setting(name: &str, otherwise: usize) -> usize {
    std::env::var(name).map_or(otherwise, |text| text.parse().unwrap_or_else(|_| panic!("{name} must be a number")))
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Direction {
    Put,
    Get,
}

/// Prints the rows of one direction.
fn measure(sides: &[Running], load: &Load, direction: Direction, runs: usize) {
    let mut rounds: Vec<Vec<Round>> = sides.iter().map(|_| Vec::new()).collect();
    // The first round warms up; it is not in the table.
    for round in 0..=runs {
        // Another side begins each time: a machine that warms up or slows down favours none.
        for turn in (0..sides.len()).map(|turn| (turn + round) % sides.len()) {
            let measured = sides[turn].round(load, direction);
            if round > 0 {
                rounds[turn].push(measured);
            }
        }
    }
    let least = median(rounds[0].iter().map(|round| round.speed));
    for (side, rounds) in sides.iter().zip(&rounds) {
        let speed = median(rounds.iter().map(|round| round.speed));
        let lowest = rounds.iter().map(|round| round.speed).fold(f64::INFINITY, f64::min);
        let highest = rounds.iter().map(|round| round.speed).fold(0.0, f64::max);
        let processor = median(rounds.iter().map(|round| round.processor));
        println!(
            "| {direction:?} | {} | {speed:.0} | {:.2} | {lowest:.0}-{highest:.0} | {processor:.0} |",
            side.name,
            speed / least
        );
    }
}

fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// What one round came to.
struct Round {
    /// Files a second.
    speed: f64,
    /// Microseconds of the gateway's processor time for each file.
    processor: f64,
}

/// A gateway with one kind of trail.
struct Running {
    name: &'static str,
    client: Client,
    server: Server,
    // In this order: the reader ends when the gateway has.
    _reader: Option<Server>,
    events: TempDir,
    config: Value,
    _setup: Setup,
}

impl Running {
    fn start(side: &Side, disk: &Path) -> Running {
        let events = tempfile::Builder::new().prefix("lockgate-bench-").tempdir_in(disk).expect("a folder for events");
        let mut setup = Setup::new();
        setup.memory_store("main");
        let key = setup.key("bench");
        setup.user(User::new("bench").key(&key).home("/", "main:/"));
        let port = free_port();
        setup.config["server"]["listen"] = json!([format!("127.0.0.1:{port}")]);
        let config = (side.config)(events.path());
        for (section, value) in config.as_object().unwrap() {
            setup.config[section] = value.clone();
        }
        let (reader, output) = output(side.output);
        let log = File::create(events.path().join("log")).unwrap();
        let mut command = lockgate();
        command.arg("serve").arg("--config").arg(setup.write_config());
        let server = Server::start(command.stdin(Stdio::null()).stdout(output).stderr(log), None);
        until("gateway that listens", Duration::from_secs(30), || TcpStream::connect(("127.0.0.1", port)).ok());
        let known_hosts = setup.folder().join("known_hosts");
        let lines = setup.host_keys().iter().map(|key| format!("[127.0.0.1]:{port} {} {}\n", key.kind(), key.blob()));
        fs::write(&known_hosts, lines.collect::<String>()).unwrap();
        let client = Client::new(port, &known_hosts, "bench").identity(&key.private).within(Duration::from_secs(3600));
        Running { name: side.name, client, server, _reader: reader, events, config, _setup: setup }
    }

    /// Every file once, shared out among the sessions.
    fn round(&self, load: &Load, direction: Direction) -> Round {
        let sessions: Vec<Sftp> =
            (0..load.sessions).map(|_| Sftp::connect(&self.client, Duration::from_secs(3600))).collect();
        let content = vec![b'x'; load.size];
        let (started, processor) = (Instant::now(), self.processor_time());
        thread::scope(|scope| {
            for (turn, mut session) in sessions.into_iter().enumerate() {
                let content = &content;
                scope.spawn(move || {
                    for number in (turn..load.files).step_by(load.sessions) {
                        let path = format!("/{number}");
                        match direction {
                            Direction::Put => session.put(&path, content),
                            Direction::Get => assert_eq!(session.get(&path).len(), content.len()),
                        }
                    }
                });
            }
        });
        let files = load.files as f64;
        Round {
            speed: files / started.elapsed().as_secs_f64(),
            processor: (self.processor_time() - processor).as_secs_f64() * 1e6 / files,
        }
    }

    /// What the gateway's process has used so far, in user and kernel mode. The kernel counts in hundredths of a second.
    fn processor_time(&self) -> Duration {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.server.child.id())).expect("the gateway runs");
        // The program's name stands in brackets and may hold anything.
        let fields: Vec<&str> = stat[stat.rfind(')').unwrap() + 2..].split(' ').collect();
        let ticks: u64 = fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap();
        Duration::from_millis(ticks * 10)
    }

    /// A side that has a file recorded what was done; otherwise its figure would be worth nothing.
    fn assert_recorded(&self, least: usize) {
        let files = self.config["events"].as_array().unwrap().iter().filter_map(|sink| sink["path"].as_str());
        for file in files {
            let folder = Path::new(file).parent().unwrap();
            let lines: usize = fs::read_dir(folder)
                .unwrap()
                .map(|entry| entry.unwrap().path())
                .filter(|path| path.to_str().unwrap().starts_with(file))
                .map(|path| lines(&path))
                .sum();
            assert!(lines >= least, "{}: {lines} lines of at least {least}", self.name);
        }
        assert!(self.events.path().exists());
    }
}

/// The lines of a file of events, compressed or not.
fn lines(path: &Path) -> usize {
    let bytes = fs::read(path).unwrap();
    let text = if path.extension().is_some_and(|extension| extension == "gz") {
        std::io::read_to_string(flate2::read::GzDecoder::new(&bytes[..])).unwrap()
    } else {
        String::from_utf8(bytes).unwrap()
    };
    text.lines().count()
}

/// Where the gateway's standard output goes.
fn output(output: Output) -> (Option<Server>, Stdio) {
    if output == Output::Nobody {
        return (None, Stdio::null());
    }
    let mut command: Command = program("cat");
    let mut reader = Server::start(command.stdin(Stdio::piped()).stdout(Stdio::null()), None);
    let pipe: ChildStdin = reader.child.stdin.take().unwrap();
    (Some(reader), pipe.into())
}
