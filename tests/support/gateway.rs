//! The gateway under test: the real program, started with a configuration file, watched from outside.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use rustix::process::Signal;
use tempfile::TempDir;

use super::client::Client;
use super::events::{Events, Watch};
use super::keys::Key;
use super::process::{LIMIT, program, until};
use super::schema;
use super::server::Server;
use super::setup::Setup;

/// The program under test.
pub fn lockgate() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_lockgate"));
    command.env_remove("RUST_LOG").env_remove("LOCKGATE_CONFIG");
    command
}

/// A gateway that runs. It is killed when this is dropped.
#[derive(Debug)]
pub struct Gateway {
    pub port: u16,
    pub events: Events,
    log: Log,
    server: Server,
    // After the server: it waits for the end of what that writes.
    schema: Watch,
    known_hosts: PathBuf,
    // Removed after the server has ended: fields are dropped in order.
    folder: Arc<TempDir>,
}

impl Gateway {
    /// `lockgate serve` with the configuration of `setup`; returns when it listens.
    #[track_caller]
    pub fn start(setup: &Setup) -> Gateway {
        Gateway::start_with(lockgate(), setup)
    }

    /// As [`Gateway::start`], as the last words of another command: `strace -f …`. Signals go to that command.
    #[track_caller]
    pub fn start_under(words: &[&str], setup: &Setup) -> Gateway {
        let mut command = program(words[0]);
        command.args(&words[1..]).arg(env!("CARGO_BIN_EXE_lockgate")).env_remove("RUST_LOG");
        Gateway::start_with(command, setup)
    }

    #[track_caller]
    fn start_with(mut command: Command, setup: &Setup) -> Gateway {
        let config = setup.write_config();
        command.arg("serve").arg("--config").arg(config);
        let mut gateway = Gateway::spawn(&mut command, setup.keep_folder());
        schema::assert_configuration(&setup.config);
        let lines: Vec<String> = setup
            .host_keys()
            .iter()
            .map(|key| format!("[127.0.0.1]:{} {} {}\n", gateway.port, key.kind(), key.blob()))
            .collect();
        gateway.known_hosts = setup.folder().join(format!("known_hosts-{}", gateway.port));
        fs::write(&gateway.known_hosts, lines.concat()).expect("room for a file");
        gateway
    }

    /// Starts any command that serves, and waits for its line `listening on ADDRESS`.
    #[track_caller]
    pub fn spawn(command: &mut Command, folder: Arc<TempDir>) -> Gateway {
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut server = Server::start(command, Some(folder.path().to_path_buf()));
        let events = Events::collect(server.child.stdout.take().unwrap());
        let log = Log::collect(server.child.stderr.take().unwrap());
        let port = until_listening(&mut server, &log);
        let schema = events.watch();
        Gateway { port, events, log, server, schema, known_hosts: PathBuf::new(), folder }
    }

    pub fn pid(&self) -> u32 {
        self.server.child.id()
    }

    /// The most memory that the process has had at once, in bytes: `VmHWM`.
    #[track_caller]
    pub fn peak_memory(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid())).expect("the gateway runs");
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("VmHWM");
        line.trim().trim_end_matches("kB").trim().parse::<u64>().expect("a number") * 1024
    }

    /// The time that the process has computed so far: `utime` and `stime`, in the system's hundredths of a second.
    #[track_caller]
    pub fn cpu_time(&self) -> Duration {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.pid())).expect("the gateway runs");
        let (_, fields) = stat.rsplit_once(") ").expect("a name in brackets");
        let ticks = fields.split(' ').skip(11).take(2).map(|field| field.parse::<u64>().expect("a number"));
        Duration::from_millis(ticks.sum::<u64>() * 10)
    }

    /// Ends the gateway with SIGKILL.
    #[track_caller]
    pub fn kill(mut self) {
        self.signal(Signal::KILL);
        self.ended(LIMIT);
    }

    /// What the gateway wrote to its error stream so far.
    pub fn log(&self) -> String {
        self.log.text()
    }

    /// A client of this gateway.
    pub fn client(&self, user: &str, key: &Key) -> Client {
        Client::new(self.port, &self.known_hosts, user).identity(&key.private)
    }

    /// A client that has no key.
    pub fn keyless(&self, user: &str) -> Client {
        Client::new(self.port, &self.known_hosts, user)
    }

    pub fn known_hosts(&self) -> &std::path::Path {
        &self.known_hosts
    }

    pub fn signal(&self, signal: Signal) {
        self.server.signal(signal);
    }

    pub fn has_ended(&mut self) -> bool {
        self.server.has_ended()
    }

    /// Waits for the gateway to end by itself.
    #[track_caller]
    pub fn ended(&mut self, limit: Duration) -> ExitStatus {
        match self.server.ended(limit) {
            Some(status) => status,
            None => panic!("the gateway still runs after {limit:?}; its log is\n{}", self.log()),
        }
    }

    /// Ends the gateway as an operator would, and expects a clean end.
    #[track_caller]
    pub fn stop(mut self) {
        self.signal(Signal::TERM);
        let status = self.ended(LIMIT);
        assert!(status.success(), "the gateway ended with {status}; its log is\n{}", self.log());
    }
}

/// The port of the line `listening on 127.0.0.1:PORT`.
#[track_caller]
fn until_listening(server: &mut Server, log: &Log) -> u16 {
    until("line `listening on ADDRESS`", LIMIT, || {
        let text = log.text();
        let port = text.lines().find_map(|line| {
            let address = line.split_once("listening on ")?.1.split_whitespace().next()?;
            address.trim_matches(|c: char| !c.is_ascii_digit()).rsplit(':').next()?.parse().ok()
        });
        if port.is_none() && server.has_ended() {
            thread::sleep(Duration::from_millis(100));
            panic!("the gateway ended at once:\n{}", log.text());
        }
        port
    })
}

/// The error stream, as it comes.
#[derive(Debug, Clone, Default)]
struct Log(Arc<Mutex<String>>);

impl Log {
    fn collect(stream: impl std::io::Read + Send + 'static) -> Log {
        let log = Log::default();
        let shared = log.clone();
        thread::spawn(move || {
            let mut stream = BufReader::new(stream);
            let mut line = Vec::new();
            while stream.read_until(b'\n', &mut line).is_ok_and(|n| n > 0) {
                shared.0.lock().unwrap().push_str(&String::from_utf8_lossy(&line));
                line.clear();
            }
        });
        log
    }

    fn text(&self) -> String {
        self.0.lock().unwrap().clone()
    }
}
