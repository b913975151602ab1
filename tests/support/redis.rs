//! A Redis of the tests' own: Debian's server on a free port, which can be ended, stopped, emptied and started again.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::Mutex;

use rustix::process::Signal;
use tempfile::TempDir;

use super::process::{LIMIT, program, run, until};
use super::server::{Server, folder, free_port};

/// The password of the servers that want one.
pub const PASSWORD: &str = "open sesame";

/// A server of Redis. It is killed when this is dropped.
#[derive(Debug)]
pub struct Redis {
    pub port: u16,
    /// Where it speaks TLS, if it does.
    pub tls_port: u16,
    further: Vec<String>,
    password: Option<&'static str>,
    server: Mutex<Option<Server>>,
    // Removed last.
    folder: TempDir,
}

/// A sentinel that watches over a server, called `prod-master`, and replaces it by a replica when it is gone.
#[derive(Debug)]
pub struct Sentinel {
    pub port: u16,
    _server: Server,
    // Removed last.
    _folder: TempDir,
}

impl Sentinel {
    #[track_caller]
    pub fn start(of: &Redis) -> Sentinel {
        let (folder, port) = (folder(), free_port());
        let file = folder.path().join("sentinel.conf");
        let lines = [
            format!("port {port}\nbind 127.0.0.1\ndir {}", folder.path().display()),
            format!("sentinel monitor prod-master 127.0.0.1 {} 1", of.port),
            "sentinel down-after-milliseconds prod-master 1000".to_owned(),
            "sentinel failover-timeout prod-master 5000\n".to_owned(),
        ];
        fs::write(&file, lines.join("\n")).expect("room for a file");
        let mut command = program("redis-server");
        command.arg(&file).arg("--sentinel").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let server = Server::start(&mut command, Some(folder.path().to_path_buf()));
        let sentinel = Sentinel { port, _server: server, _folder: folder };
        until("a sentinel that knows a replica", LIMIT, || {
            let Reply::List(replicas) = ask(port, None, &["SENTINEL", "REPLICAS", "prod-master"])? else { return None };
            (!replicas.is_empty()).then_some(())
        });
        sentinel
    }
}

/// What Redis answers.
#[derive(Debug, Clone, PartialEq)]
pub enum Reply {
    Text(String),
    Number(i64),
    Nothing,
    List(Vec<Reply>),
    Error(String),
}

impl Redis {
    /// Without a password.
    #[track_caller]
    pub fn start() -> Redis {
        Redis::start_with(None, Vec::new(), folder())
    }

    /// With further words of the command line.
    #[track_caller]
    pub fn start_as(words: &[&str]) -> Redis {
        Redis::start_with(None, words.iter().map(|word| (*word).to_owned()).collect(), folder())
    }

    /// A replica of another one, which has all that it has.
    #[track_caller]
    pub fn start_replica(of: &Redis) -> Redis {
        let words = ["--replicaof", "127.0.0.1", &of.port.to_string(), "--repl-diskless-sync-delay", "0"];
        let replica = Redis::start_as(&words);
        until("a replica that has everything", LIMIT, || {
            replica.information("replication").contains("master_link_status:up").then_some(())
        });
        replica
    }

    /// Two nodes of one cluster, of which each has half of the slots.
    #[track_caller]
    pub fn start_cluster() -> [Redis; 2] {
        let node = || Redis::start_as(&["--cluster-enabled", "yes", "--cluster-port", &free_port().to_string()]);
        let nodes = [node(), node()];
        nodes[0].call(&["CLUSTER", "ADDSLOTSRANGE", "0", "8191"]);
        nodes[1].call(&["CLUSTER", "ADDSLOTSRANGE", "8192", "16383"]);
        let bus = nodes[1].further.last().expect("a port").clone();
        nodes[0].call(&["CLUSTER", "MEET", "127.0.0.1", &nodes[1].port.to_string(), &bus]);
        for node in &nodes {
            until("a cluster", LIMIT, || {
                let state = node.call(&["CLUSTER", "INFO"]).text();
                (state.contains("cluster_state:ok") && state.contains("cluster_known_nodes:2")).then_some(())
            });
        }
        nodes
    }

    /// A part of what it says of itself.
    #[track_caller]
    pub fn information(&self, part: &str) -> String {
        self.call(&["INFO", part]).text()
    }

    /// With a password, and with TLS under a certificate of an authority of its own: the file of that is `ca.pem`.
    #[track_caller]
    pub fn start_guarded() -> Redis {
        let folder = folder();
        make_certificates(&folder);
        let file = |name: &str| folder.path().join(name).display().to_string();
        let further = [
            ("--tls-cert-file", file("server.pem")),
            ("--tls-key-file", file("server.key")),
            ("--tls-ca-cert-file", file("ca.pem")),
            ("--tls-auth-clients", "no".to_owned()),
            ("--requirepass", PASSWORD.to_owned()),
        ];
        let further = further.into_iter().flat_map(|(name, value)| [name.to_owned(), value]).collect();
        Redis::start_with(Some(PASSWORD), further, folder)
    }

    #[track_caller]
    fn start_with(password: Option<&'static str>, further: Vec<String>, folder: TempDir) -> Redis {
        let redis =
            Redis { port: free_port(), tls_port: free_port(), further, password, server: Mutex::default(), folder };
        redis.start_again();
        redis
    }

    /// A file in its folder.
    pub fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub fn url(&self) -> String {
        url_of(self.port)
    }

    /// Starts it on the same port, after [`Redis::kill`]. It has forgotten everything.
    #[track_caller]
    pub fn start_again(&self) {
        let mut command = program("redis-server");
        command.args(["--bind", "127.0.0.1", "--port", &self.port.to_string(), "--save", "", "--appendonly", "no"]);
        command.args(["--dir", &self.folder.path().display().to_string()]);
        if self.further.iter().any(|word| word.starts_with("--tls")) {
            command.args(["--tls-port", &self.tls_port.to_string()]);
        }
        command.args(&self.further).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        *self.server.lock().unwrap() = Some(Server::start(&mut command, Some(self.folder.path().to_path_buf())));
        until("Redis", LIMIT, || self.try_call(&["PING"]).filter(|reply| *reply == Reply::Text("PONG".into())));
    }

    /// Ends it with SIGKILL.
    pub fn kill(&self) {
        *self.server.lock().unwrap() = None;
    }

    /// It stops in the middle of whatever it does: connections stay, and nothing is answered.
    pub fn pause(&self) {
        self.server.lock().unwrap().as_ref().expect("it runs").signal(Signal::STOP);
    }

    /// It goes on.
    pub fn go_on(&self) {
        self.server.lock().unwrap().as_ref().expect("it runs").signal(Signal::CONT);
    }

    /// A command.
    #[track_caller]
    pub fn call(&self, words: &[&str]) -> Reply {
        match self.try_call(words) {
            Some(Reply::Error(error)) => panic!("{words:?}: {error}"),
            reply => reply.unwrap_or_else(|| panic!("{words:?}: no answer")),
        }
    }

    /// The keys that begin so, in order.
    #[track_caller]
    pub fn keys(&self, beginning: &str) -> Vec<String> {
        let Reply::List(keys) = self.call(&["KEYS", &format!("{beginning}*")]) else { panic!("no list") };
        let mut keys: Vec<String> = keys.into_iter().map(Reply::text).collect();
        keys.sort();
        keys
    }

    fn try_call(&self, words: &[&str]) -> Option<Reply> {
        ask(self.port, self.password, words)
    }
}

/// One command to whoever listens there; `None` without an answer.
fn ask(port: u16, password: Option<&str>, words: &[&str]) -> Option<Reply> {
    let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).ok()?;
    stream.set_read_timeout(Some(LIMIT)).ok()?;
    let mut reader = BufReader::new(stream);
    if let Some(password) = password {
        send(reader.get_mut(), &["AUTH", password]).ok()?;
        read(&mut reader)?;
    }
    send(reader.get_mut(), words).ok()?;
    read(&mut reader)
}

impl Reply {
    #[track_caller]
    pub fn text(self) -> String {
        match self {
            Reply::Text(text) => text,
            other => panic!("no text: {other:?}"),
        }
    }
}

/// The URL of a server on loopback.
pub fn url_of(port: u16) -> String {
    format!("redis://127.0.0.1:{port}")
}

fn send(stream: &mut TcpStream, words: &[&str]) -> std::io::Result<()> {
    let mut text = format!("*{}\r\n", words.len());
    for word in words {
        text += &format!("${}\r\n{word}\r\n", word.len());
    }
    stream.write_all(text.as_bytes())
}

fn read(reader: &mut BufReader<TcpStream>) -> Option<Reply> {
    let mut line = String::new();
    reader.read_line(&mut line).ok().filter(|length| *length > 2)?;
    let (kind, rest) = line.trim_end().split_at(1);
    let length = || rest.parse::<i64>().expect("a length");
    Some(match kind {
        "+" => Reply::Text(rest.to_owned()),
        "-" => Reply::Error(rest.to_owned()),
        ":" => Reply::Number(length()),
        "$" | "*" if length() < 0 => Reply::Nothing,
        "$" => {
            let mut text = vec![0; usize::try_from(length()).unwrap() + 2];
            reader.read_exact(&mut text).ok()?;
            text.truncate(text.len() - 2);
            Reply::Text(String::from_utf8_lossy(&text).into_owned())
        }
        "*" => Reply::List((0..length()).map(|_| read(reader)).collect::<Option<_>>()?),
        other => panic!("{other}: no answer of Redis"),
    })
}

/// An authority, and a certificate of it for 127.0.0.1.
#[track_caller]
fn make_certificates(folder: &TempDir) {
    let openssl =
        |words: &str| drop(run(program("openssl").args(words.split(' ')).current_dir(folder.path())).succeeded());
    openssl(
        "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout ca.key -out ca.pem -days 2 -subj /CN=ca",
    );
    openssl(
        "req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout server.key -out server.csr -subj /CN=redis",
    );
    fs::write(folder.path().join("names"), "subjectAltName=IP:127.0.0.1\nbasicConstraints=CA:FALSE\n").unwrap();
    openssl("x509 -req -in server.csr -CA ca.pem -CAkey ca.key -CAcreateserial -out server.pem -days 2 -extfile names");
}
