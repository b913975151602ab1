//! Stores to test, each empty and alone.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use lockgate::internals::secret::Secret;
use lockgate::internals::stores::{
    Entry, Existing, Key, Kind, Page, PutOptions, Settings, Store, Unfinished, Upload, open, open_noting,
};
use object_store::aws::{AwsAuthorizer, AwsCredential};
use object_store::client::{ClientOptions, HttpClient, HttpConnector, HttpRequest, HttpRequestBody, ReqwestConnector};
use tempfile::TempDir;

use crate::support::{azure, s3};

/// A store and what keeps it alive.
pub struct Fixture {
    pub store: Arc<dyn Store>,
    /// The local store's folder.
    pub folder: Option<TempDir>,
    /// The S3 store's server and the prefix of its keys.
    pub server: Option<(Server, String)>,
    /// The Azure store's container and the prefix of its keys.
    pub azure: Option<(azure::Account, String)>,
    /// The folder is behind an SFTP server.
    pub is_upstream: bool,
}

impl Fixture {
    pub fn memory() -> Self {
        Fixture { store: open_url("memory:///", &[]), folder: None, server: None, azure: None, is_upstream: false }
    }

    pub fn local() -> Self {
        let folder = TempDir::new().unwrap();
        let store = open_url(&format!("file://{}", folder.path().display()), &[("fsync", "false")]);
        Fixture { store, folder: Some(folder), server: None, azure: None, is_upstream: false }
    }

    /// `None` when tests with servers are to be skipped.
    pub async fn s3() -> Option<Self> {
        let server = Server::from_environment()?;
        let endpoint = server.endpoint.clone();
        Some(Fixture::s3_through(server, &endpoint, &[]).await)
    }

    /// An empty prefix of a server's bucket; the store reaches the server through another endpoint.
    pub async fn s3_through(server: Server, endpoint: &str, options: &[(&str, &str)]) -> Self {
        server.make_bucket().await;
        let prefix = format!("conformance/{}", uuid::Uuid::now_v7().simple());
        let through = Server { endpoint: endpoint.to_owned(), ..server.clone() };
        let store = through.open_with(&format!("{}/{prefix}", server.bucket), options);
        Fixture { store, folder: None, server: Some((server, format!("{prefix}/"))), azure: None, is_upstream: false }
    }

    /// What stands before every key of the store.
    pub fn prefix(&self) -> &str {
        let s3 = self.server.as_ref().map(|(_, prefix)| prefix);
        s3.or(self.azure.as_ref().map(|(_, prefix)| prefix)).map_or("", String::as_str)
    }

    /// Whether reads are requests over a network.
    pub fn is_remote(&self) -> bool {
        self.folder.is_none() || self.is_upstream
    }

    /// Whether the store keeps whole objects only.
    pub fn has_parts(&self) -> bool {
        self.folder.is_none()
    }
}

pub fn open_url(url: &str, options: &[(&str, &str)]) -> Arc<dyn Store> {
    open(&settings(url, options)).unwrap()
}

fn settings(url: &str, options: &[(&str, &str)]) -> Settings {
    let options = options.iter().map(|(name, value)| ((*name).to_owned(), Secret::new((*value).to_owned()))).collect();
    Settings { name: "under-test".to_owned(), url: url.to_owned(), options }
}

/// The S3 server that the environment names, or else the tests' own.
#[derive(Clone)]
pub struct Server {
    pub endpoint: String,
    pub bucket: String,
    key: String,
    secret: String,
    region: String,
}

impl Server {
    /// Panics when the tests' own server cannot be started; `None` when servers are to be skipped.
    pub fn from_environment() -> Option<Self> {
        let get = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
        let Some(endpoint) = get("LOCKGATE_TEST_S3_ENDPOINT") else {
            if get("LOCKGATE_TEST_SKIP_SERVERS").is_some_and(|value| value == "1") && get("CI").is_none() {
                return None;
            }
            return Some(Server::at(s3::endpoint(), s3::BUCKET, s3::KEYS));
        };
        Some(Server {
            endpoint,
            bucket: get("LOCKGATE_TEST_S3_BUCKET").expect("LOCKGATE_TEST_S3_BUCKET is not set"),
            key: get("AWS_ACCESS_KEY_ID").expect("AWS_ACCESS_KEY_ID is not set"),
            secret: get("AWS_SECRET_ACCESS_KEY").expect("AWS_SECRET_ACCESS_KEY is not set"),
            region: get("AWS_REGION").unwrap_or_else(|| "us-east-1".to_owned()),
        })
    }

    /// A server at this address.
    pub fn at(endpoint: String, bucket: &str, (key, secret): (&str, &str)) -> Self {
        let (bucket, key, secret) = (bucket.to_owned(), key.to_owned(), secret.to_owned());
        Server { endpoint, bucket, key, secret, region: "us-east-1".to_owned() }
    }

    /// A store of the keys under a prefix of the test's bucket.
    pub fn open(&self, prefix: &str) -> Arc<dyn Store> {
        self.open_bucket(&format!("{}/{prefix}", self.bucket))
    }

    /// A store of another bucket.
    pub fn open_bucket(&self, bucket: &str) -> Arc<dyn Store> {
        self.open_with(bucket, &[])
    }

    /// The same with further options.
    pub fn open_with(&self, bucket: &str, further: &[(&str, &str)]) -> Arc<dyn Store> {
        open(&self.settings(bucket, further)).unwrap()
    }

    /// A store of a prefix that notes its uploads in parts.
    pub fn open_noting(&self, prefix: &str, journal: Arc<Unfinished>) -> Arc<dyn Store> {
        open_noting(&self.settings(&format!("{}/{prefix}", self.bucket), &[]), Some(journal)).unwrap()
    }

    fn settings(&self, bucket: &str, further: &[(&str, &str)]) -> Settings {
        let mut options = vec![
            ("aws_endpoint", self.endpoint.as_str()),
            ("aws_allow_http", "true"),
            ("aws_access_key_id", &self.key),
            ("aws_secret_access_key", &self.secret),
            ("aws_region", &self.region),
        ];
        options.extend(further);
        settings(&format!("s3://{bucket}"), &options)
    }

    async fn make_bucket(&self) {
        let (status, body) = self.send("PUT", "", &[], b"").await;
        assert!(status == 200 || status == 409, "the bucket cannot be made: {status} {body}");
    }

    /// A signed request for a raw key and query, percent-encoded by the caller.
    pub async fn send(&self, method: &str, rest: &str, headers: &[(&'static str, &str)], body: &[u8]) -> (u16, String) {
        let slash = if rest.is_empty() || rest.starts_with('?') { "" } else { "/" };
        let mut request = HttpRequest::new(HttpRequestBody::from(body.to_vec()));
        *request.uri_mut() = format!("{}/{}{slash}{rest}", self.endpoint, self.bucket).parse().unwrap();
        *request.method_mut() = method.parse().unwrap();
        for (name, value) in headers {
            request.headers_mut().insert(*name, value.parse().unwrap());
        }
        let credential = AwsCredential { key_id: self.key.clone(), secret_key: self.secret.clone(), token: None };
        AwsAuthorizer::new(&credential, "s3", &self.region).try_authorize(&mut request, None).unwrap();
        let answer = self.client().execute(request).await.unwrap();
        let (head, body) = answer.into_parts();
        let names = head.headers.iter().map(|(name, value)| format!("{name}: {}\n", value.to_str().unwrap_or("?")));
        let text = names.collect::<String>() + &String::from_utf8_lossy(&body.bytes().await.unwrap());
        (head.status.as_u16(), text)
    }

    fn client(&self) -> HttpClient {
        ReqwestConnector::default().connect(&ClientOptions::new().with_allow_http(true)).unwrap()
    }
}

pub fn key(text: &str) -> Key {
    Key::parse(text).unwrap()
}

pub const REPLACE: PutOptions =
    PutOptions { existing: Existing::Replace, mtime: None, based_on: None, provenance: None, takes_parts: false };
pub const REFUSE: PutOptions =
    PutOptions { existing: Existing::Refuse, mtime: None, based_on: None, provenance: None, takes_parts: false };

/// A time with nanoseconds.
pub fn a_time() -> SystemTime {
    UNIX_EPOCH + Duration::new(1_700_000_000, 123_456_789)
}

pub async fn put(store: &dyn Store, name: &str, content: &str) {
    store.put(&key(name), vec![Bytes::from(content.to_owned())], &REPLACE).await.unwrap();
}

pub async fn get(store: &dyn Store, name: &str) -> String {
    let object = store.open(&key(name)).await.unwrap();
    let size = usize::try_from(object.stat().size).unwrap();
    String::from_utf8(object.read(0, size).await.unwrap().to_vec()).unwrap()
}

pub async fn exists(store: &dyn Store, name: &str) -> bool {
    match store.stat(&key(name)).await {
        Ok(_) => true,
        Err(error) => {
            assert_eq!(error.kind, lockgate::internals::stores::StoreErrorKind::NotFound, "{error}");
            false
        }
    }
}

/// All pages of a directory.
pub async fn pages(store: &dyn Store, directory: &Key) -> Vec<Page> {
    let mut pages = Vec::new();
    let mut from = None;
    loop {
        let page = store.list(directory, from.take()).await.unwrap();
        from = page.next.clone();
        pages.push(page);
        if from.is_none() {
            return pages;
        }
        assert!(pages.len() < 1_000, "a listing without an end");
    }
}

/// The names of a directory in order, directories with a slash.
pub async fn names(store: &dyn Store, directory: &str) -> Vec<String> {
    let shown = |entry: Entry| match entry.stat.kind {
        Kind::Directory => format!("{}/", entry.name),
        Kind::File => entry.name,
    };
    let entries = pages(store, &Key::parse(directory).unwrap()).await.into_iter().flat_map(|page| page.entries);
    let mut names: Vec<String> = entries.map(shown).collect();
    names.sort();
    names
}

/// Uploads pieces, in parts or as a file, as the store wants it, without completing.
pub async fn send(upload: &mut Upload, pieces: &[Bytes]) {
    match upload {
        Upload::Parts(parts) => {
            let sent: Vec<_> = pieces.iter().map(|piece| parts.put_part(vec![piece.clone()])).collect();
            for result in futures_util::future::join_all(sent).await {
                result.unwrap();
            }
        }
        Upload::File(file) => {
            let mut offset = 0;
            for piece in pieces {
                file.write_at(offset, vec![piece.clone()]).await.unwrap();
                offset += piece.len() as u64;
            }
        }
    }
}

pub async fn complete(
    upload: &mut Upload,
) -> lockgate::internals::stores::StoreResult<lockgate::internals::stores::Written> {
    match upload {
        Upload::Parts(parts) => parts.complete().await,
        Upload::File(file) => file.complete(None).await,
    }
}

pub async fn abort(upload: &mut Upload) {
    match upload {
        Upload::Parts(parts) => parts.abort().await.unwrap(),
        Upload::File(file) => file.abort().await.unwrap(),
    }
}
