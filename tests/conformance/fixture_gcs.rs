//! Google Cloud Storage to test: the emulator, or the bucket that `LOCKGATE_TEST_GCS_BUCKET` names, at
//! `LOCKGATE_TEST_GCS_ENDPOINT` if that is set, with the access token `LOCKGATE_TEST_GCS_TOKEN`.

use std::sync::Arc;

use lockgate::internals::stores::Store;
use object_store::client::{ClientOptions, HttpConnector, HttpRequest, HttpRequestBody, ReqwestConnector};

use crate::fixture::{Fixture, open_url};
use crate::support::gcs;
use crate::support::gcs_shim::encoded;

/// A bucket, and the prefix that a test has for itself in it.
pub struct Bucket {
    pub endpoint: String,
    pub name: String,
    /// With a slash at its end.
    pub prefix: String,
    /// Whether this is the emulator's.
    pub emulated: bool,
    token: String,
}

impl Fixture {
    /// `None` when tests with servers are to be skipped.
    pub async fn gcs() -> Option<Self> {
        let bucket = Bucket::new("")?;
        Some(Fixture { store: bucket.open(), folder: None, server: None, azure: None, is_upstream: false })
    }
}

impl Bucket {
    /// Panics when the emulator cannot be started; `None` when servers are to be skipped. `end`: the end of the name of the
    /// emulator's bucket.
    pub fn new(end: &str) -> Option<Self> {
        let get = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
        let prefix = format!("conformance/{}/", uuid::Uuid::now_v7().simple());
        if let Some(name) = get("LOCKGATE_TEST_GCS_BUCKET") {
            let endpoint = get("LOCKGATE_TEST_GCS_ENDPOINT");
            let endpoint = endpoint.unwrap_or_else(|| "https://storage.googleapis.com".to_owned());
            let token = get("LOCKGATE_TEST_GCS_TOKEN").expect("LOCKGATE_TEST_GCS_TOKEN is not set");
            return Some(Bucket { endpoint, name, prefix, emulated: false, token });
        }
        if get("LOCKGATE_TEST_SKIP_SERVERS").is_some_and(|value| value == "1") && get("CI").is_none() {
            return None;
        }
        let name = gcs::new_bucket(end);
        let (endpoint, token) = (gcs::endpoint(), gcs::TOKEN.to_owned());
        Some(Bucket { endpoint, name, prefix, emulated: true, token })
    }

    /// The store of the keys under the prefix.
    pub fn open(&self) -> Arc<dyn Store> {
        self.open_at(&format!("{}/{}", self.name, self.prefix))
    }

    /// The same bucket by another way.
    pub fn through(&self, endpoint: String) -> Self {
        let (name, prefix, token) = (self.name.clone(), self.prefix.clone(), self.token.clone());
        Bucket { endpoint, name, prefix, emulated: self.emulated, token }
    }

    /// The same with further options.
    pub fn open_with(&self, further: &[(&str, &str)]) -> Arc<dyn Store> {
        self.open_place(&format!("{}/{}", self.name, self.prefix), further)
    }

    /// The store of `BUCKET/PREFIX`.
    pub fn open_at(&self, place: &str) -> Arc<dyn Store> {
        self.open_place(place, &[])
    }

    fn open_place(&self, place: &str, further: &[(&str, &str)]) -> Arc<dyn Store> {
        let mut options = vec![
            ("google_base_url", self.endpoint.as_str()),
            ("google_bearer_token", &self.token),
            ("allow_http", "true"),
        ];
        options.extend(further);
        open_url(&format!("gs://{place}"), &options)
    }

    /// Stores an object past the gateway: its raw name under the prefix, its metadata and content; the status.
    pub async fn put(&self, name: &str, metadata: &[(&str, &str)], content: &[u8]) -> u16 {
        let target = format!("/{}/{}", self.name, encoded(&format!("{}{name}", self.prefix)));
        self.send("PUT", &target, metadata, content).await.0
    }

    /// What the service says of an object under the prefix: the status and the JSON.
    pub async fn look_up(&self, name: &str) -> (u16, String) {
        let key = encoded(&format!("{}{name}", self.prefix));
        self.send("GET", &format!("/storage/v1/b/{}/o/{key}", self.name), &[], b"").await
    }

    /// A request with the bucket's token; the path and the query are percent-encoded by the caller.
    pub async fn send(&self, method: &str, target: &str, headers: &[(&str, &str)], body: &[u8]) -> (u16, String) {
        let mut request = HttpRequest::new(HttpRequestBody::from(body.to_vec()));
        *request.uri_mut() = format!("{}{target}", self.endpoint).parse().unwrap();
        *request.method_mut() = method.parse().unwrap();
        let bearer = format!("Bearer {}", self.token);
        let length = body.len().to_string();
        for (name, value) in headers.iter().chain(&[("authorization", bearer.as_str()), ("content-length", &length)]) {
            request.headers_mut().try_entry(*name).unwrap().or_insert(value.parse().unwrap());
        }
        let client = ReqwestConnector::default().connect(&ClientOptions::new().with_allow_http(true)).unwrap();
        let answer = client.execute(request).await.unwrap();
        let status = answer.status().as_u16();
        let body = answer.into_body().bytes().await.unwrap();
        (status, String::from_utf8_lossy(&body).into_owned())
    }
}
