//! A collector of the tests' own: takes batches over HTTP or HTTPS, and answers as a test wants it.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, TcpListener};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread;
use std::time::Instant;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};

use crate::support::process::LIMIT;

/// The collector. Its threads end with the process.
#[derive(Clone)]
pub struct Collector {
    pub port: u16,
    state: Arc<Mutex<State>>,
}

/// What came.
#[derive(Debug, Clone)]
pub struct Post {
    pub method: String,
    pub target: String,
    /// `name: value` with the name in small letters.
    pub headers: Vec<String>,
    pub body: Vec<u8>,
    pub at: Instant,
    /// What was answered.
    pub status: u16,
}

/// An answer: its status and further header lines.
pub type Answer = (u16, &'static str);

type Judge = Box<dyn FnMut(&Post) -> Answer + Send>;

#[derive(Default)]
struct State {
    posts: Vec<Post>,
    judge: Option<Judge>,
}

impl Post {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
    }
}

impl Collector {
    pub fn start() -> Collector {
        Collector::serve(None)
    }

    /// With the certificate `server.pem` and the key `server.key` of a folder.
    pub fn start_tls(folder: &Path) -> Collector {
        let certificate = CertificateDer::from_pem_file(folder.join("server.pem")).unwrap();
        let key = PrivateKeyDer::from_pem_file(folder.join("server.key")).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
        let config = builder.with_no_client_auth().with_single_cert(vec![certificate], key).unwrap();
        Collector::serve(Some(Arc::new(config)))
    }

    fn serve(tls: Option<Arc<ServerConfig>>) -> Collector {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
        let collector = Collector { port: listener.local_addr().unwrap().port(), state: Arc::default() };
        let shared = collector.clone();
        thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                let (collector, tls) = (shared.clone(), tls.clone());
                thread::spawn(move || {
                    client.set_read_timeout(Some(LIMIT)).unwrap();
                    match tls {
                        None => collector.converse(client),
                        Some(config) => {
                            collector.converse(StreamOwned::new(ServerConnection::new(config).unwrap(), client))
                        }
                    }
                });
            }
        });
        collector
    }

    /// From now on answers are these. Without, everything is taken.
    pub fn answer(&self, judge: impl FnMut(&Post) -> Answer + Send + 'static) {
        self.state().judge = Some(Box::new(judge));
    }

    pub fn posts(&self) -> Vec<Post> {
        self.state().posts.clone()
    }

    /// The bodies that were taken.
    pub fn taken(&self) -> Vec<Post> {
        self.posts().into_iter().filter(|post| post.status < 300 && post.method == "POST").collect()
    }

    /// The lines that were taken, of batches in the form of lines.
    pub fn lines(&self) -> Vec<String> {
        let text = |post: Post| String::from_utf8(post.body).expect("UTF-8");
        self.taken().into_iter().flat_map(|post| text(post).lines().map(str::to_owned).collect::<Vec<_>>()).collect()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    /// Requests of one connection until it ends.
    fn converse(&self, stream: impl Read + Write) {
        let mut stream = BufReader::new(stream);
        while let Some(mut post) = read_post(&mut stream) {
            let (status, headers) = {
                let mut state = self.state();
                let answer = state.judge.as_mut().map_or((200, ""), |judge| judge(&post));
                post.status = answer.0;
                state.posts.push(post);
                answer
            };
            let answer = format!("HTTP/1.1 {status} Whatever\r\n{headers}content-length: 0\r\n\r\n");
            if stream.get_mut().write_all(answer.as_bytes()).and_then(|()| stream.get_mut().flush()).is_err() {
                return;
            }
        }
    }
}

fn read_post(stream: &mut impl BufRead) -> Option<Post> {
    let line = |stream: &mut dyn BufRead| -> Option<String> {
        let mut line = String::new();
        (stream.read_line(&mut line).ok()? > 0).then(|| line.trim_end().to_owned())
    };
    let first = line(stream)?;
    let mut words = first.split(' ').map(str::to_owned);
    let (method, target) = (words.next()?, words.next()?);
    let mut headers = Vec::new();
    loop {
        let header = line(stream)?;
        match header.split_once(':') {
            None => break,
            Some((name, value)) => headers.push(format!("{}: {}", name.to_ascii_lowercase(), value.trim())),
        }
    }
    let mut post = Post { method, target, headers, body: Vec::new(), at: Instant::now(), status: 0 };
    let length: usize = post.header("content-length").map_or(Some(0), |length| length.parse().ok())?;
    post.body = vec![0; length];
    stream.read_exact(&mut post.body).ok()?;
    Some(post)
}
