//! An HTTP proxy between a gateway and its store, which counts requests, delays them and answers some of them itself.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread;
use std::time::{Duration, Instant};

/// The proxy. Its threads end with the process, each connection's with the connection.
#[derive(Debug, Clone)]
pub struct Proxy {
    port: u16,
    state: Arc<Mutex<State>>,
}

/// A request that came through.
#[derive(Debug, Clone)]
pub struct Request {
    pub method: String,
    /// Path and query, as they were sent.
    pub target: String,
    /// `name: value` with the name in small letters.
    pub headers: Vec<String>,
    pub body_length: u64,
    pub began: Instant,
    /// When the whole answer had been passed on; `None` while it is under way.
    pub ended: Option<Instant>,
}

/// Says of a request whether the proxy answers it itself, with this status.
type Judge = Box<dyn FnMut(&Request) -> Option<u16> + Send>;

#[derive(Default)]
struct State {
    requests: Vec<Request>,
    latency: Duration,
    judge: Option<Judge>,
}

impl std::fmt::Debug for State {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("State").field("requests", &self.requests).finish_non_exhaustive()
    }
}

impl Request {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find_map(|line| line.strip_prefix(name)?.strip_prefix(':').map(str::trim))
    }

    /// First and last byte of the header `range: bytes=A-B`.
    pub fn range(&self) -> Option<(u64, u64)> {
        let (first, last) = self.header("range")?.strip_prefix("bytes=")?.split_once('-')?;
        Some((first.parse().ok()?, last.parse().unwrap_or(u64::MAX)))
    }
}

impl Proxy {
    /// Passes everything on to a port of this machine.
    pub fn start(upstream: u16) -> Proxy {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
        let proxy = Proxy { port: listener.local_addr().unwrap().port(), state: Arc::default() };
        let shared = proxy.clone();
        thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                let proxy = shared.clone();
                // An end of a connection is no error here: both sides see it.
                thread::spawn(move || proxy.serve(client, upstream));
            }
        });
        proxy
    }

    pub fn endpoint(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    /// The requests so far, in the order in which they began.
    pub fn requests(&self) -> Vec<Request> {
        self.state().requests.clone()
    }

    /// Forgets the requests so far.
    pub fn forget(&self) {
        self.state().requests.clear();
    }

    /// Every request takes at least this long from now on, also those that are under way.
    pub fn delay(&self, latency: Duration) {
        self.state().latency = latency;
    }

    /// Asks `judge` about each request from now on.
    pub fn answer(&self, judge: impl FnMut(&Request) -> Option<u16> + Send + 'static) {
        self.state().judge = Some(Box::new(judge));
    }

    /// Passes everything on again.
    pub fn pass_everything(&self) {
        self.state().judge = None;
    }

    fn serve(&self, client: TcpStream, upstream: u16) -> Option<()> {
        client.set_nodelay(true).ok()?;
        let mut server: Option<BufReader<TcpStream>> = None;
        let mut client = BufReader::new(client);
        loop {
            let head = read_head(&mut client)?;
            let request = parse(&head)?;
            let (place, verdict) = self.begin(&request);
            self.wait(place);
            if let Some(status) = verdict {
                copy(&mut client, &mut std::io::sink(), Length::Bytes(request.body_length))?;
                let answer = format!("HTTP/1.1 {status} Made up\r\ncontent-length: 0\r\n\r\n");
                client.get_mut().write_all(answer.as_bytes()).ok()?;
                self.end(place);
                continue;
            }
            if server.is_none() {
                let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, upstream)).ok()?;
                stream.set_nodelay(true).ok()?;
                server = Some(BufReader::new(stream));
            }
            let server = server.as_mut()?;
            server.get_mut().write_all(&head).ok()?;
            copy(&mut client, server.get_mut(), Length::Bytes(request.body_length))?;
            pass_answer(server, client.get_mut(), &request.method)?;
            self.end(place);
        }
    }

    fn begin(&self, request: &Request) -> (Instant, Option<u16>) {
        let mut state = self.state();
        state.requests.push(request.clone());
        let verdict = match &mut state.judge {
            Some(judge) => judge(request),
            None => None,
        };
        (request.began, verdict)
    }

    /// Waits for as long as a request takes now.
    fn wait(&self, began: Instant) {
        loop {
            let left = self.state().latency.saturating_sub(began.elapsed());
            if left.is_zero() {
                return;
            }
            thread::sleep(left.min(Duration::from_millis(10)));
        }
    }

    fn end(&self, began: Instant) {
        if let Some(request) = self.state().requests.iter_mut().find(|request| request.began == began) {
            request.ended = Some(Instant::now());
        }
    }
}

enum Length {
    Bytes(u64),
    Chunked,
}

/// The bytes up to the empty line; `None` when the connection has ended.
fn read_head(stream: &mut BufReader<TcpStream>) -> Option<Vec<u8>> {
    let mut head = Vec::new();
    loop {
        let before = head.len();
        if stream.read_until(b'\n', &mut head).ok()? == 0 {
            return None;
        }
        if &head[before..] == b"\r\n" {
            return Some(head);
        }
    }
}

fn parse(head: &[u8]) -> Option<Request> {
    let text = String::from_utf8_lossy(head);
    let mut lines = text.lines();
    let mut words = lines.next()?.split(' ');
    let (method, target) = (words.next()?.to_owned(), words.next()?.to_owned());
    let headers =
        lines.filter_map(|line| line.split_once(':')).map(|(name, value)| format!("{}:{value}", name.to_lowercase()));
    let mut request =
        Request { method, target, headers: headers.collect(), body_length: 0, began: Instant::now(), ended: None };
    assert!(request.header("transfer-encoding").is_none(), "a request of unknown length: {request:?}");
    request.body_length = request.header("content-length").and_then(|text| text.parse().ok()).unwrap_or(0);
    Some(request)
}

fn pass_answer(server: &mut BufReader<TcpStream>, client: &mut TcpStream, method: &str) -> Option<()> {
    loop {
        let head = read_head(server)?;
        client.write_all(&head).ok()?;
        let text = String::from_utf8_lossy(&head).to_lowercase();
        let status = text.split(' ').nth(1)?.to_owned();
        // `100 Continue` comes before the answer.
        if status.starts_with('1') {
            continue;
        }
        let header =
            |name: &str| text.lines().find_map(|line| line.strip_prefix(name).map(|rest| rest.trim().to_owned()));
        let length = match header("content-length:").and_then(|text| text.parse().ok()) {
            _ if method == "HEAD" || status == "204" || status == "304" => Length::Bytes(0),
            Some(bytes) => Length::Bytes(bytes),
            None if text.contains("transfer-encoding: chunked") => Length::Chunked,
            None => Length::Bytes(0),
        };
        return copy(server, client, length);
    }
}

fn copy(from: &mut BufReader<TcpStream>, to: &mut impl Write, length: Length) -> Option<()> {
    match length {
        Length::Bytes(bytes) => {
            let copied = std::io::copy(&mut from.take(bytes), to).ok()?;
            to.flush().ok()?;
            (copied == bytes).then_some(())
        }
        Length::Chunked => loop {
            let mut line = Vec::new();
            from.read_until(b'\n', &mut line).ok()?;
            let size = u64::from_str_radix(String::from_utf8_lossy(&line).trim(), 16).ok()?;
            to.write_all(&line).ok()?;
            // Each chunk ends with an empty line, and so does the last, which is empty.
            copy(from, to, Length::Bytes(size + 2))?;
            if size == 0 {
                return Some(());
            }
        },
    }
}
