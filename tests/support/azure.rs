//! An emulator of Azure Blob Storage (Azurite) of the tests' own, one for each test process, on a free port, with its data in
//! memory.

use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};

use object_store::azure::{AzureAccessKey, AzureAuthorizer, AzureCredential};
use object_store::client::{ClientOptions, HttpClient, HttpConnector, HttpRequest, HttpRequestBody, ReqwestConnector};
use serde_json::{Value, json};

use super::process::{LIMIT, tool, until};
use super::server::{Server, folder, free_port};

/// The emulator's account, which everybody knows.
const ACCOUNT: &str = "devstoreaccount1";

/// Its key, which is in the emulator's documentation.
const KEY: &str = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==";

/// The container, which exists.
const CONTAINER: &str = "lockgate-tests";

/// A container of an account, and what is needed to ask it past the gateway.
#[derive(Debug, Clone)]
pub struct Account {
    /// Where its blobs are, without a slash at the end.
    pub endpoint: String,
    pub name: String,
    pub key: String,
    pub container: String,
}

/// An answer; its headers as lines.
#[derive(Debug)]
struct Answer {
    status: u16,
    head: String,
    body: Vec<u8>,
}

/// The emulator. A process-wide value is never dropped: its guard ends it and removes its folder.
#[derive(Debug)]
struct Emulator {
    account: Account,
    _server: Server,
}

/// A prefix of the emulator's container that one test has for itself.
#[derive(Debug, Clone)]
pub struct AzureStore {
    pub account: Account,
    pub prefix: String,
}

/// The emulator's account, with its container.
pub fn emulator() -> Account {
    static EMULATOR: OnceLock<Emulator> = OnceLock::new();
    EMULATOR.get_or_init(start).account.clone()
}

/// A new, empty prefix.
pub fn new_store() -> AzureStore {
    static COUNT: AtomicUsize = AtomicUsize::new(0);
    AzureStore { account: emulator(), prefix: format!("t{}", COUNT.fetch_add(1, Ordering::Relaxed)) }
}

fn start() -> Emulator {
    let azurite = tool("azurite/node_modules/.bin/azurite-blob");
    let data = folder().keep();
    for _ in 0..5 {
        let port = free_port();
        let mut command = Command::new(&azurite);
        command
            .args(["--blobHost", "127.0.0.1", "--blobPort", &port.to_string()])
            .args(["--silent", "--inMemoryPersistence", "--disableTelemetry", "--skipApiVersionCheck"])
            .current_dir(&data)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        let mut server = Server::start(&mut command, Some(data.clone()));
        let account = Account {
            endpoint: format!("http://127.0.0.1:{port}/{ACCOUNT}"),
            name: ACCOUNT.to_owned(),
            key: KEY.to_owned(),
            container: CONTAINER.to_owned(),
        };
        let ready = until("answer of the Azure emulator", LIMIT, || {
            if server.has_ended() {
                return Some(false);
            }
            let made = blocking(account.clone().try_send("PUT", "?restype=container", &[], Vec::new()));
            made.filter(|answer| answer.status == 201).map(|_| true)
        });
        // Another process may have taken the port in between.
        if ready {
            return Emulator { account, _server: server };
        }
    }
    panic!("the Azure emulator {} does not start", azurite.display());
}

/// Waits for a future in a thread of its own, from within another runtime or without one.
fn blocking<T: Send + 'static>(future: impl Future<Output = T> + Send + 'static) -> T {
    let run = move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(future)
    };
    std::thread::spawn(run).join().expect("the request ends")
}

impl Account {
    /// A signed request for a raw name and query, percent-encoded by the caller: the status, and the headers and the body as
    /// text.
    pub async fn send(&self, method: &str, rest: &str, headers: &[(&'static str, &str)], body: &[u8]) -> (u16, String) {
        let answer =
            self.clone().try_send(method, rest, headers, body.to_vec()).await.expect("an answer of the server");
        (answer.status, answer.head + &String::from_utf8_lossy(&answer.body))
    }

    async fn try_send(
        self,
        method: &str,
        rest: &str,
        headers: &[(&'static str, &str)],
        body: Vec<u8>,
    ) -> Option<Answer> {
        let slash = if rest.is_empty() || rest.starts_with('?') { "" } else { "/" };
        let length = body.len();
        let mut request = HttpRequest::new(HttpRequestBody::from(body));
        *request.uri_mut() = format!("{}/{}{slash}{rest}", self.endpoint, self.container).parse().unwrap();
        *request.method_mut() = method.parse().unwrap();
        request.headers_mut().insert("content-length", length.into());
        for (name, value) in headers {
            request.headers_mut().insert(*name, value.parse().unwrap());
        }
        let credential = AzureCredential::AccessKey(AzureAccessKey::try_new(&self.key).unwrap());
        AzureAuthorizer::new(&credential, &self.name).try_authorize(&mut request).unwrap();
        let client: HttpClient =
            ReqwestConnector::default().connect(&ClientOptions::new().with_allow_http(true)).unwrap();
        let (head, body) = client.execute(request).await.ok()?.into_parts();
        let names = head.headers.iter().map(|(name, value)| format!("{name}: {}\n", value.to_str().unwrap_or("?")));
        Some(Answer { status: head.status.as_u16(), head: names.collect(), body: body.bytes().await.ok()?.to_vec() })
    }

    /// Writes a blob past the gateway.
    pub async fn put(&self, name: &str, headers: &[(&'static str, &str)], body: &[u8]) -> u16 {
        let headers: Vec<_> = headers.iter().copied().chain([("x-ms-blob-type", "BlockBlob")]).collect();
        self.send("PUT", name, &headers, body).await.0
    }

    /// What a store of this account needs to know.
    pub fn options(&self) -> [(&'static str, &str); 4] {
        [
            ("azure_endpoint", &self.endpoint),
            ("azure_allow_http", "true"),
            ("azure_storage_account_name", &self.name),
            ("azure_storage_account_key", &self.key),
        ]
    }
}

impl AzureStore {
    pub fn url(&self) -> String {
        format!("az://{}/{}", self.account.container, self.prefix)
    }

    /// The container and the prefix, as events show them: `/container/prefix`.
    pub fn event_root(&self) -> String {
        format!("/{}/{}", self.account.container, self.prefix)
    }

    pub fn options(&self) -> Value {
        self.account.options().into_iter().map(|(name, value)| (name.to_owned(), json!(value))).collect()
    }

    /// The headers of a blob, past the gateway; `key` is percent-encoded by the caller.
    #[track_caller]
    pub fn head(&self, key: &str) -> String {
        let name = format!("{}/{key}", self.prefix);
        let account = self.account.clone();
        let answer = blocking(async move { account.try_send("HEAD", &name, &[], Vec::new()).await });
        answer.expect("an answer of the server").head
    }

    /// Fetches a blob past the gateway; `key` is percent-encoded by the caller.
    #[track_caller]
    pub fn fetch(&self, key: &str, into: &Path) {
        std::fs::write(into, self.get(format!("{}/{key}", self.prefix))).expect("room for a file");
    }

    /// The keys in the prefix, past the gateway; at most 5,000.
    #[track_caller]
    pub fn keys(&self) -> Vec<String> {
        self.names("")
    }

    /// Blobs that have blocks and were never published.
    #[track_caller]
    pub fn unfinished_uploads(&self) -> usize {
        self.names("&include=uncommittedblobs").len() - self.names("").len()
    }

    #[track_caller]
    fn names(&self, more: &str) -> Vec<String> {
        let prefix = format!("{}/", self.prefix);
        let encoded = prefix.replace('/', "%2F");
        let answer = self.get(format!("?restype=container&comp=list&prefix={encoded}{more}"));
        let answer = String::from_utf8(answer).expect("text");
        let names = answer.split("<Name>").skip(1).filter_map(|rest| rest.split_once("</Name>"));
        names.map(|(name, _)| name.strip_prefix(&prefix).unwrap_or(name).to_string()).collect()
    }

    #[track_caller]
    fn get(&self, rest: String) -> Vec<u8> {
        let account = self.account.clone();
        let answer = blocking(async move { account.try_send("GET", &rest, &[], Vec::new()).await });
        let answer = answer.expect("an answer of the server");
        assert_eq!(answer.status, 200, "{answer:?}");
        answer.body
    }
}
