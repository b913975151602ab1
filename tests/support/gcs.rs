//! Google Cloud Storage of the tests' own: an emulator with its objects in memory, one for each test process, and in front of
//! it what the emulator lacks ([`super::gcs_shim`]).

use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

use serde_json::{Value, json};

use super::gcs_http::{Answer, Request, ask};
use super::gcs_shim::{self, Shim, encoded};
use super::process::{LIMIT, tool, until};
use super::server::{Server, free_port};

/// The emulator takes any.
pub const TOKEN: &str = "lockgate-tests";

/// The emulator. A process-wide value is never dropped: its guard ends it.
struct Emulator {
    /// Where what completes it listens.
    port: u16,
    shim: Arc<Shim>,
    _server: Server,
}

/// A bucket that one test has for itself, and a prefix in it.
#[derive(Debug, Clone)]
pub struct GcsStore {
    pub bucket: String,
    prefix: String,
}

fn emulator() -> &'static Emulator {
    static EMULATOR: OnceLock<Emulator> = OnceLock::new();
    EMULATOR.get_or_init(start)
}

/// Where the service listens, as a URL.
pub fn endpoint() -> String {
    format!("http://127.0.0.1:{}", emulator().port)
}

/// What stands in front of the emulator.
pub fn shim() -> &'static Shim {
    &emulator().shim
}

/// A new, empty prefix of a new bucket.
pub fn new_store() -> GcsStore {
    GcsStore { bucket: new_bucket(""), prefix: "a prefix/deeper".to_owned() }
}

/// The name of a new, empty bucket, which ends with `end`.
pub fn new_bucket(end: &str) -> String {
    static COUNT: AtomicUsize = AtomicUsize::new(0);
    let name = format!("lockgate-tests-{}{end}", COUNT.fetch_add(1, Ordering::Relaxed));
    let body = json!({ "name": name }).to_string().into_bytes();
    let answer = request("POST", "/storage/v1/b?project=tests", body);
    assert_eq!(answer.status, 200, "{}", String::from_utf8_lossy(&answer.body));
    name
}

fn start() -> Emulator {
    let program = tool("fake-gcs-server");
    for _ in 0..5 {
        let port = free_port();
        let mut command = Command::new(&program);
        command
            .args(["-backend", "memory", "-scheme", "http", "-host", "127.0.0.1", "-port", &port.to_string()])
            .args(["-public-host", "127.0.0.1", "-log-level", "error"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        let mut server = Server::start(&mut command, None);
        let ready = until("answer of Google's emulator", LIMIT, || {
            if server.has_ended() {
                return Some(false);
            }
            let health = Request::new("GET", "/_internal/healthcheck", Vec::new(), Vec::new());
            ask(port, &health).is_ok_and(|answer| answer.status == 200).then_some(true)
        });
        // Another process may have taken the port in between.
        if ready {
            let (port, shim) = gcs_shim::start(port);
            return Emulator { port, shim, _server: server };
        }
    }
    panic!("Google's emulator {} does not start", program.display());
}

#[track_caller]
fn request(method: &str, target: &str, body: Vec<u8>) -> Answer {
    let headers = vec![("content-type".to_owned(), "application/json".to_owned())];
    ask(emulator().port, &Request::new(method, target, headers, body)).expect("an answer of Google's emulator")
}

impl GcsStore {
    pub fn url(&self) -> String {
        format!("gs://{}/{}", self.bucket, self.prefix.replace(' ', "%20"))
    }

    /// The bucket and the prefix, as events show them: `/bucket/prefix`.
    pub fn event_root(&self) -> String {
        format!("/{}/{}", self.bucket, self.prefix)
    }

    pub fn options(&self) -> Value {
        json!({ "google_base_url": endpoint(), "google_bearer_token": TOKEN, "allow_http": "true" })
    }

    /// Fetches an object past the gateway.
    #[track_caller]
    pub fn fetch(&self, key: &str, into: &Path) {
        let key = encoded(&format!("{}/{key}", self.prefix));
        let answer = request("GET", &format!("/storage/v1/b/{}/o/{key}?alt=media", self.bucket), Vec::new());
        assert_eq!(answer.status, 200, "{key}");
        std::fs::write(into, answer.body).expect("a file to write");
    }

    /// The keys in the prefix, past the gateway; at most 1,000.
    #[track_caller]
    pub fn keys(&self) -> Vec<String> {
        let prefix = format!("{}/", self.prefix);
        let target = format!("/storage/v1/b/{}/o?prefix={}", self.bucket, encoded(&prefix));
        let answer: Value = serde_json::from_slice(&request("GET", &target, Vec::new()).body).expect("JSON");
        let names = answer["items"].as_array().into_iter().flatten().filter_map(|item| item["name"].as_str());
        names.map(|name| name.strip_prefix(&prefix).unwrap_or(name).to_owned()).collect()
    }

    /// Uploads in parts that were begun and neither finished nor aborted.
    #[track_caller]
    pub fn unfinished_uploads(&self) -> usize {
        let answer = request("GET", &format!("/{}?uploads=", self.bucket), Vec::new());
        String::from_utf8_lossy(&answer.body).matches("<UploadId>").count()
    }
}
