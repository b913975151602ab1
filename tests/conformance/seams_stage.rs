//! A file system over two stores whose every step passes a gate: each request, where the store is reached over HTTP, each call
//! of the store otherwise.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::FutureExt;
use lockgate::internals::stores::{Key, Kind, Store};
use lockgate::internals::vfs::{Mount, PartialUploads, Settings, Transfers, Vfs};
use tempfile::TempDir;

use crate::decorated::{Before, Behind};
use crate::fixture::{Fixture, REPLACE, Server, pages};
use crate::fixture_azure::{from_environment, open_prefix};
use crate::fixture_gcs::Bucket;
use crate::ground::path;
use crate::support::azure::Account;
use crate::support::proxy::{Conditions, Gate, Proxy};

/// A kind of store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    Memory,
    Local,
    /// An S3 server that ignores conditions on deletions and on the targets of copies.
    S3,
    /// The same server, and somebody before it who judges these conditions, as AWS does.
    HeedingS3,
    Azure,
    Gcs,
}

/// The store under test at `/`, a memory store at `/other`.
pub struct Stage {
    pub vfs: Vfs,
    pub gate: Arc<Gate>,
    pub transfers: Arc<Transfers>,
    /// Both stores, past the gate.
    direct: Arc<dyn Store>,
    other: Arc<dyn Store>,
    conditions: Option<Arc<Conditions>>,
    _kept: (TempDir, Option<Proxy>, Vec<Fixture>),
}

#[async_trait]
impl Before for Gate {
    async fn call(&self, call: &str) {
        self.pass(call).await;
    }
}

impl Stage {
    /// `None` when tests with servers are to be skipped.
    pub async fn new(place: Place) -> Option<Stage> {
        match place {
            Place::Memory => Some(Stage::in_process(Fixture::memory())),
            Place::Local => Some(Stage::in_process(Fixture::local())),
            Place::S3 => Stage::s3(false).await,
            Place::HeedingS3 => Stage::s3(true).await,
            Place::Azure => Stage::azure(),
            Place::Gcs => Stage::gcs(),
        }
    }

    fn in_process(fixture: Fixture) -> Stage {
        let gate = Arc::<Gate>::default();
        let store = Arc::new(Behind::new(Arc::clone(&fixture.store), Arc::clone(&gate) as Arc<dyn Before>));
        let direct = Arc::clone(&fixture.store);
        Stage::over(store, direct, gate, None, None, vec![fixture])
    }

    async fn s3(heeds: bool) -> Option<Stage> {
        let server = Server::from_environment()?;
        let proxy = Proxy::start(&server.endpoint);
        let conditions = heeds.then(|| Arc::new(conditions(&server)));
        conditions.iter().for_each(|conditions| proxy.heed(Arc::clone(conditions)));
        let options = [("conditional_deletes", if heeds { "true" } else { "false" })];
        let fixture = Fixture::s3_through(server.clone(), &proxy.endpoint(), &options).await;
        let direct = server.open(&fixture.server.as_ref().unwrap().1);
        let store = Arc::clone(&fixture.store);
        Some(Stage::over(store, direct, proxy.gate(), conditions, Some(proxy), vec![fixture]))
    }

    fn azure() -> Option<Stage> {
        let account = from_environment()?;
        let (host, path) = account.endpoint.strip_prefix("http://").and_then(|rest| rest.split_once('/')).unwrap();
        let proxy = Proxy::start(&format!("http://{host}"));
        let through = Account { endpoint: format!("{}/{path}", proxy.endpoint()), ..account.clone() };
        let prefix = format!("conformance/{}", uuid::Uuid::now_v7().simple());
        let (store, direct) = (open_prefix(&through, &prefix), open_prefix(&account, &prefix));
        Some(Stage::over(store, direct, proxy.gate(), None, Some(proxy), Vec::new()))
    }

    fn gcs() -> Option<Stage> {
        let bucket = Bucket::new("")?;
        let proxy = Proxy::start(&bucket.endpoint);
        let direct = bucket.open();
        let through = bucket.through(proxy.endpoint());
        Some(Stage::over(through.open(), direct, proxy.gate(), None, Some(proxy), Vec::new()))
    }

    fn over(
        store: Arc<dyn Store>,
        direct: Arc<dyn Store>,
        gate: Arc<Gate>,
        conditions: Option<Arc<Conditions>>,
        proxy: Option<Proxy>,
        mut fixtures: Vec<Fixture>,
    ) -> Stage {
        let staging = TempDir::new().unwrap();
        let transfers = Transfers::new(Settings {
            transfer_memory: 128 << 20,
            staging: 256 << 20,
            staging_folder: staging.path().to_owned(),
            largest_hole: 64 << 20,
            partial_uploads: PartialUploads::Discard,
        })
        .unwrap();
        let memory = Fixture::memory();
        let other = Arc::clone(&memory.store);
        fixtures.push(memory);
        let gated: Arc<dyn Store> = Arc::new(Behind::new(Arc::clone(&other), Arc::clone(&gate) as Arc<dyn Before>));
        let mounts = vec![
            Mount { entry: path("/"), store, target: Key::root() },
            Mount { entry: path("/other"), store: gated, target: Key::root() },
        ];
        let vfs = Vfs::new(mounts, Arc::clone(&transfers));
        Stage { vfs, gate, transfers, direct, other, conditions, _kept: (staging, proxy, fixtures) }
    }

    /// Stores a file past the gate, as another client of the store does.
    pub async fn put(&self, name: &str, content: &[u8]) {
        let _alone = match &self.conditions {
            Some(conditions) => Some(conditions.lock().await),
            None => None,
        };
        let (store, key) = match name.strip_prefix("other/") {
            Some(rest) => (&self.other, rest),
            None => (&self.direct, name),
        };
        store.put(&Key::parse(key).unwrap(), vec![Bytes::copy_from_slice(content)], &REPLACE).await.unwrap();
    }

    /// All files, past the gate.
    pub async fn find(&self) -> BTreeMap<String, Vec<u8>> {
        let mut found = BTreeMap::new();
        for (store, above) in [(&self.direct, ""), (&self.other, "other/")] {
            let mut open = vec![Key::root()];
            while let Some(directory) = open.pop() {
                for entry in pages(&**store, &directory).await.into_iter().flat_map(|page| page.entries) {
                    let key = directory.join(&entry.name).unwrap();
                    if entry.stat.kind == Kind::Directory {
                        open.push(key);
                        continue;
                    }
                    let object = store.open(&key).await.unwrap();
                    let content = object.read(0, usize::MAX >> 1).await.unwrap().to_vec();
                    found.insert(format!("{above}{key}"), content);
                }
            }
        }
        found
    }
}

/// Conditions as AWS judges them, by looks at the server.
pub fn conditions(server: &Server) -> Conditions {
    let server = server.clone();
    Conditions::new(move |target| {
        let server = server.clone();
        async move {
            let key = target.strip_prefix(&format!("/{}/", server.bucket))?;
            let (status, head) = server.send("HEAD", key, &[], b"").await;
            let etag = head.lines().find_map(|line| line.strip_prefix("etag: "));
            etag.filter(|_| status == 200).map(str::to_owned)
        }
        .boxed()
    })
}
