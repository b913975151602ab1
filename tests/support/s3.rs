//! An S3 server of the tests' own, on a free port and in a temporary folder: one for each test process, and further ones for tests that
//! end theirs.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, OnceLock};

use serde_json::{Value, json};
use tempfile::TempDir;

use super::process::{Finished, LIMIT, program, run, run_with, tool, until};
use super::server::{Server, folder, free_port};

const ACCESS_KEY: &str = "lockgate-tests";
const SECRET_KEY: &str = "lockgate-tests-secret";

/// The access key and the secret key.
pub const KEYS: (&str, &str) = (ACCESS_KEY, SECRET_KEY);

/// curl signs no body that has one (7.88).
const UNSIGNED: &str = "x-amz-content-sha256: UNSIGNED-PAYLOAD";

/// The bucket, which exists.
pub const BUCKET: &str = "lockgate-tests";

/// A server, its port and its folder.
#[derive(Debug)]
pub struct S3Server {
    port: u16,
    server: Mutex<Option<Server>>,
    // Removed last.
    folder: TempDir,
}

/// A prefix of a server's bucket that one test has for itself.
#[derive(Debug, Clone)]
pub struct S3Store {
    port: u16,
    prefix: String,
}

/// Where the process's server listens, as a URL.
pub fn endpoint() -> String {
    endpoint_at(server().port)
}

fn endpoint_at(port: u16) -> String {
    format!("http://127.0.0.1:{port}")
}

/// The process's server. It is never dropped: its guard ends it and removes its folder.
fn server() -> &'static S3Server {
    static SERVER: OnceLock<S3Server> = OnceLock::new();
    SERVER.get_or_init(S3Server::start)
}

/// A new, empty prefix on the process's server.
pub fn new_store() -> S3Store {
    server().new_store()
}

/// How often a server is started, when another process takes its port in between.
const TRIES: usize = 5;

impl S3Server {
    /// A server of its own, for a test that ends it. Its bucket exists.
    #[track_caller]
    pub fn start() -> S3Server {
        let folder = folder();
        for _ in 0..TRIES {
            let port = free_port();
            let bucket = format!("{}/{BUCKET}", endpoint_at(port));
            let made = launch(port, folder.path(), || run(curl().args(["-X", "PUT", &bucket])).status.success());
            if made.is_some() {
                return S3Server { port, server: Mutex::new(made), folder };
            }
        }
        panic!("the S3 server does not start");
    }

    /// A new, empty prefix.
    pub fn new_store(&self) -> S3Store {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        S3Store { port: self.port, prefix: format!("t{}", COUNT.fetch_add(1, Ordering::Relaxed)) }
    }

    /// Ends it with SIGKILL.
    pub fn kill(&self) {
        *self.server.lock().unwrap() = None;
    }

    /// Starts it after [`S3Server::kill`], on the same port and with everything that it has stored; returns when it answers.
    #[track_caller]
    pub fn start_again(&self) {
        let bucket = format!("{}/{BUCKET}", endpoint_at(self.port));
        let answers = || run(curl().arg("-I").arg(&bucket)).status.success();
        let started = (0..TRIES).find_map(|_| launch(self.port, self.folder.path(), answers));
        *self.server.lock().unwrap() = Some(started.expect("an S3 server on its port"));
    }
}

/// Starts a server; `None` when it ends before it is ready, as it does on a port that is taken.
#[track_caller]
fn launch(port: u16, data: &Path, is_ready: impl Fn() -> bool) -> Option<Server> {
    let mut command = Command::new(tool("minio"));
    command
        .args(["server", "--quiet", "--address", &format!("127.0.0.1:{port}")])
        .args(["--console-address", "127.0.0.1:0"])
        .arg(data)
        .env("MINIO_ROOT_USER", ACCESS_KEY)
        .env("MINIO_ROOT_PASSWORD", SECRET_KEY)
        .env("MINIO_BROWSER", "off")
        .env("MINIO_UPDATE", "off")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    let mut server = Server::start(&mut command, Some(data.to_path_buf()));
    let is_up = until("answer of the S3 server", LIMIT, || {
        if server.has_ended() {
            return Some(false);
        }
        is_ready().then_some(true)
    });
    is_up.then_some(server)
}

/// curl with the server's keys; it fails on an HTTP error.
pub(super) fn curl() -> Command {
    let mut command = program("curl");
    command.args(["-sS", "--fail", "--noproxy", "*", "--aws-sigv4", "aws:amz:us-east-1:s3"]);
    command.args(["--user", &format!("{ACCESS_KEY}:{SECRET_KEY}")]);
    command
}

impl S3Store {
    pub fn url(&self) -> String {
        format!("s3://{BUCKET}/{}", self.prefix)
    }

    /// The bucket and the prefix, as events show them: `/bucket/prefix`.
    pub fn event_root(&self) -> String {
        format!("/{BUCKET}/{}", self.prefix)
    }

    pub fn options(&self) -> Value {
        self.options_through(&endpoint_at(self.port))
    }

    /// The same for a store that reaches the server through another endpoint.
    pub fn options_through(&self, endpoint: &str) -> Value {
        json!({
            "aws_endpoint": endpoint,
            "aws_region": "us-east-1",
            "aws_access_key_id": ACCESS_KEY,
            "aws_secret_access_key": SECRET_KEY,
            "aws_allow_http": "true",
        })
    }

    /// The server's port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Puts an object past the gateway; whether the server took it. The key is percent-encoded by the caller.
    #[track_caller]
    pub fn put(&self, key: &str, headers: &[&str], content: &[u8]) -> bool {
        let mut command = curl();
        command.args(["-X", "PUT", "--data-binary", "@-", "-H", UNSIGNED]);
        command.args(headers.iter().flat_map(|header| ["-H", header]));
        run_with(command.arg(self.object(key)), content, LIMIT).status.success()
    }

    /// The headers of an object, past the gateway.
    #[track_caller]
    pub fn head(&self, key: &str) -> String {
        run(curl().arg("-I").arg(self.object(key))).succeeded().stdout
    }

    fn object(&self, key: &str) -> String {
        format!("http://127.0.0.1:{}/{BUCKET}/{}/{key}", self.port, self.prefix)
    }

    /// The prefix in the bucket.
    pub fn prefix(&self) -> &str {
        &self.prefix
    }

    /// As [`S3Store::unfinished_uploads`], of one key.
    #[track_caller]
    pub fn unfinished_uploads_of(&self, key: &str) -> usize {
        let prefix = format!("{}/{key}", self.prefix).replace('/', "%2F");
        let url = format!("http://127.0.0.1:{}/{BUCKET}?prefix={prefix}&uploads=", self.port);
        run(curl().arg(url)).succeeded().stdout.matches("<UploadId>").count()
    }

    /// Fetches an object past the gateway.
    #[track_caller]
    pub fn fetch(&self, key: &str, into: &Path) {
        run(curl().arg(self.object(key)).arg("-o").arg(into)).succeeded();
    }

    /// The keys in the prefix, past the gateway; at most 1,000.
    #[track_caller]
    pub fn keys(&self) -> Vec<String> {
        self.keys_below("")
    }

    /// The keys that begin with `below`, past the gateway; at most 1,000.
    #[track_caller]
    pub fn keys_below(&self, below: &str) -> Vec<String> {
        let prefix = format!("{}/", self.prefix);
        let encoded = format!("{prefix}{below}").replace('/', "%2F");
        let url = format!("http://127.0.0.1:{}/{BUCKET}?list-type=2&prefix={encoded}", self.port);
        let answer = run(curl().arg(url)).succeeded().stdout;
        let keys = answer.split("<Key>").skip(1).filter_map(|rest| rest.split_once("</Key>"));
        keys.map(|(key, _)| key.strip_prefix(&prefix).unwrap_or(key).to_string()).collect()
    }

    /// The keys in the prefix and the sizes of their objects, past the gateway.
    #[track_caller]
    pub fn objects(&self) -> BTreeMap<String, u64> {
        let prefix = format!("{}/", self.prefix);
        let url = format!("http://127.0.0.1:{}/{BUCKET}?list-type=2&prefix={}", self.port, encoded(&prefix));
        let mut objects = BTreeMap::new();
        let mut after = String::new();
        loop {
            let answer = run(curl().arg(format!("{url}{after}"))).succeeded().stdout;
            for entry in answer.split("<Contents>").skip(1) {
                let key = between(entry, "<Key>", "</Key>").expect("a key");
                let size = between(entry, "<Size>", "</Size>").expect("a size");
                objects.insert(key.strip_prefix(&prefix).unwrap_or(key).to_string(), size.parse().expect("a number"));
            }
            let Some(token) = between(&answer, "<NextContinuationToken>", "</NextContinuationToken>") else {
                return objects;
            };
            after = format!("&continuation-token={}", encoded(token));
        }
    }

    /// Reads an object past the gateway, through `take`.
    #[track_caller]
    pub fn read<T>(&self, key: &str, take: impl FnOnce(&mut dyn Read) -> T) -> T {
        let url = format!("http://127.0.0.1:{}/{BUCKET}/{}/{key}", self.port, self.prefix);
        let mut child = curl().arg(url).stdin(Stdio::null()).stdout(Stdio::piped()).spawn().expect("curl");
        let mut output = child.stdout.take().expect("a pipe");
        let taken = take(&mut output);
        drop(output);
        let status = child.wait().expect("a child of ours");
        assert!(status.success(), "curl could not fetch {key}: {status}");
        taken
    }

    /// Makes empty objects `NAME00001` and so on, past the gateway. curl expands the range `[00001-03500]` by itself.
    #[track_caller]
    pub fn make_many(&self, name: &str, range: &str) {
        let url = format!("http://127.0.0.1:{}/{BUCKET}/{}/{name}{range}", self.port, self.prefix);
        let mut command = curl();
        command.args(["--parallel", "--parallel-max", "24", "--no-progress-meter", "-X", "PUT", &url]);
        run_with(&mut command, b"", 2 * LIMIT).succeeded();
    }

    /// Removes an object past the gateway.
    #[track_caller]
    pub fn remove(&self, key: &str) {
        let url = format!("http://127.0.0.1:{}/{BUCKET}/{}/{key}", self.port, self.prefix);
        run(curl().args(["-X", "DELETE", &url])).succeeded();
    }

    /// As [`S3Store::remove`], from a server that may be gone; whether it has done it.
    #[track_caller]
    pub fn try_remove(&self, key: &str) -> bool {
        run(curl().args(["-X", "DELETE", &self.object(key)])).status.success()
    }

    /// Waits until the parts of a dead gateway's uploads are gone: its successor removes them.
    #[track_caller]
    pub fn await_sweep_of_parts(&self) {
        let gone = || (self.unfinished_uploads() == 0).then_some(());
        until("removal of the parts of dead uploads", LIMIT, gone);
    }

    /// Uploads in parts that were begun and neither finished nor aborted.
    ///
    /// The server lists a whole bucket's from memory and forgets one only when its completion is answered: one whose client went away
    /// meanwhile stays listed, finished as it is. So each is asked for by its id.
    #[track_caller]
    pub fn unfinished_uploads(&self) -> usize {
        let url = format!("http://127.0.0.1:{}/{BUCKET}?uploads=", self.port);
        let answer = run(curl().arg(url)).succeeded().stdout;
        let begins = format!("{}/", self.prefix);
        let listed = answer.split("<Upload>").skip(1).filter_map(|upload| {
            let (key, id) = (between(upload, "<Key>", "</Key>")?, between(upload, "<UploadId>", "</UploadId>")?);
            key.starts_with(&begins).then_some((key, id))
        });
        listed.filter(|(key, id)| self.has_upload(key, id)).count()
    }

    /// Whether the server has parts of an upload, or room for them.
    #[track_caller]
    fn has_upload(&self, key: &str, id: &str) -> bool {
        let url = format!("http://127.0.0.1:{}/{BUCKET}/{key}?max-parts=1&uploadId={}", self.port, encoded(id));
        let mut command = curl();
        command.args(["-o", "/dev/null", "-w", "%{http_code}"]).arg(url);
        let finished = run(&mut command);
        match finished.stdout.trim() {
            "200" => true,
            "404" => false,
            other => panic!("the parts of {key} cannot be listed: {other} {}", finished.stderr),
        }
    }
}

/// A value for a query, every byte of it escaped that may need to be.
fn encoded(text: &str) -> String {
    text.bytes()
        .map(|b| if b.is_ascii_alphanumeric() { char::from(b).to_string() } else { format!("%{b:02X}") })
        .collect()
}

fn between<'a>(text: &'a str, start: &str, end: &str) -> Option<&'a str> {
    Some(text.split_once(start)?.1.split_once(end)?.0)
}

/// Runs rclone on the server itself, past the gateway. The last word is a key, taken from the prefix of `store`.
#[track_caller]
pub fn rclone(store: &S3Store, words: &[&str]) -> Finished {
    let (path, words) = words.split_last().expect("a command and a path");
    let mut command = program("rclone");
    command.env("TZ", "UTC").env_remove("AWS_CA_BUNDLE").args(["--config", "/dev/null"]).args(words);
    command.arg(format!(":s3:{BUCKET}/{}/{path}", store.prefix));
    for (option, value) in [
        ("PROVIDER", "Minio"),
        ("ENDPOINT", &format!("http://127.0.0.1:{}", store.port)),
        ("ACCESS_KEY_ID", ACCESS_KEY),
        ("SECRET_ACCESS_KEY", SECRET_KEY),
        ("REGION", "us-east-1"),
    ] {
        command.env(format!("RCLONE_S3_{option}"), value);
    }
    run(&mut command)
}
