//! Identity providers: the example that stands in `examples/`, and one that answers what a test tells it to.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread;
use std::time::Duration;

use serde_json::Value;

use super::process::{LIMIT, program, run_with, until};
use super::server::{Server, free_port};

/// `examples/identity_provider.py`, running.
#[derive(Debug)]
pub struct Example {
    pub port: u16,
    _server: Server,
}

impl Example {
    /// Starts it with this file of users.
    #[track_caller]
    pub fn start(users: &Path, api_key: &str) -> Example {
        Example::start_with(users, api_key, &[])
    }

    /// The same with more arguments.
    #[track_caller]
    pub fn start_with(users: &Path, api_key: &str, more: &[&str]) -> Example {
        for _ in 0..5 {
            let port = free_port();
            let mut command = example();
            command.arg("--users").arg(users).args(["--listen", &format!("127.0.0.1:{port}")]).env("API_KEY", api_key);
            command.args(more).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
            let mut server = Server::start(&mut command, None);
            let ready = until("answer of the example", LIMIT, || {
                let ended = server.has_ended();
                (ended || TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_ok()).then_some(!ended)
            });
            // Another process may have taken the port in between.
            if ready {
                return Example { port, _server: server };
            }
        }
        panic!("the example does not start");
    }

    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}/", self.port)
    }
}

/// What the example makes of a password.
#[track_caller]
pub fn example_hash(password: &str) -> String {
    let input = format!("{password}\n");
    run_with(example().arg("--hash-password"), input.as_bytes(), LIMIT).succeeded().stdout.trim().to_owned()
}

fn example() -> Command {
    let mut command = program("python3");
    command.arg("-B").arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/identity_provider.py"));
    command
}

/// A question that came.
#[derive(Debug, Clone)]
pub struct Question {
    pub method: String,
    /// Path and query, as they were sent.
    pub target: String,
    /// `name: value` with the name in small letters.
    pub headers: Vec<String>,
    pub body: Vec<u8>,
}

impl Question {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find_map(|line| line.strip_prefix(name)?.strip_prefix(':').map(str::trim))
    }

    /// The password, wherever it stands; `None` for an attempt with a key.
    pub fn password(&self) -> Option<String> {
        let of_body = || serde_json::from_slice::<Value>(&self.body).ok()?["password"].as_str().map(str::to_owned);
        let password = if self.method == "POST" { of_body() } else { self.header("password").map(str::to_owned) };
        password.filter(|password| !password.is_empty())
    }
}

/// What a provider does with a question.
#[derive(Debug, Clone)]
pub enum Reply {
    /// 200 and this.
    Json(Value),
    /// This status, headers (each with its line end) and body.
    Raw(u16, String, Vec<u8>),
    /// A body that never ends.
    Endless,
    /// The connection is cut.
    Cut,
    /// This comes after a while.
    Late(Duration, Box<Reply>),
}

type Judge = Box<dyn FnMut(&Question) -> Reply + Send>;

/// A provider that a test holds in its hands. Its threads end with the process.
#[derive(Clone)]
pub struct Provider {
    port: u16,
    state: Arc<Mutex<State>>,
}

struct State {
    questions: Vec<Question>,
    judge: Judge,
}

impl Provider {
    /// Answers each question as `judge` says.
    pub fn start(judge: impl FnMut(&Question) -> Reply + Send + 'static) -> Provider {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
        let port = listener.local_addr().expect("an address").port();
        let state = Arc::new(Mutex::new(State { questions: Vec::new(), judge: Box::new(judge) }));
        let provider = Provider { port, state };
        let shared = provider.clone();
        thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                let provider = shared.clone();
                // An end of a connection is no error here.
                thread::spawn(move || provider.serve(client));
            }
        });
        provider
    }

    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}/stage", self.port)
    }

    /// Answers otherwise from now on.
    pub fn answer(&self, judge: impl FnMut(&Question) -> Reply + Send + 'static) {
        self.state().judge = Box::new(judge);
    }

    /// The questions so far, which are forgotten.
    pub fn questions(&self) -> Vec<Question> {
        std::mem::take(&mut self.state().questions)
    }

    /// Looks at the questions so far, which stay.
    pub fn state_of<T>(&self, look: impl FnOnce(&[Question]) -> T) -> T {
        look(&self.state().questions)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    fn serve(&self, client: TcpStream) -> Option<()> {
        let mut client = BufReader::new(client);
        loop {
            let question = read(&mut client)?;
            let reply = {
                let mut state = self.state();
                state.questions.push(question.clone());
                (state.judge)(&question)
            };
            give(client.get_mut(), reply)?;
        }
    }
}

fn read(stream: &mut BufReader<TcpStream>) -> Option<Question> {
    let mut lines = Vec::new();
    loop {
        let mut line = String::new();
        stream.read_line(&mut line).ok().filter(|length| *length > 0)?;
        match line.trim_end() {
            "" => break,
            line => lines.push(line.to_owned()),
        }
    }
    let mut words = lines.first()?.split(' ');
    let (method, target) = (words.next()?.to_owned(), words.next()?.to_owned());
    let headers = lines[1..].iter().filter_map(|line| line.split_once(':'));
    let headers = headers.map(|(name, value)| format!("{}:{value}", name.to_lowercase())).collect();
    let mut question = Question { method, target, headers, body: Vec::new() };
    let length = question.header("content-length").and_then(|text| text.parse().ok()).unwrap_or(0);
    question.body.resize(length, 0);
    stream.read_exact(&mut question.body).ok()?;
    Some(question)
}

fn give(stream: &mut TcpStream, reply: Reply) -> Option<()> {
    match reply {
        Reply::Json(value) => give(stream, Reply::Raw(200, String::new(), value.to_string().into_bytes())),
        Reply::Raw(status, headers, body) => {
            let head = format!("HTTP/1.1 {status} Said\r\n{headers}content-length: {}\r\n\r\n", body.len());
            stream.write_all(&[head.as_bytes(), &body].concat()).ok()
        }
        Reply::Endless => {
            stream.write_all(b"HTTP/1.1 200 Said\r\ntransfer-encoding: chunked\r\n\r\n").ok()?;
            loop {
                stream.write_all(format!("10000\r\n{}\r\n", " ".repeat(0x10000)).as_bytes()).ok()?;
            }
        }
        Reply::Cut => None,
        Reply::Late(wait, reply) => {
            thread::sleep(wait);
            give(stream, *reply)
        }
    }
}
