//! A file system over one store that is reached through a proxy, and what lies in the store past the proxy.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use lockgate::internals::path::LogicalPath;
use lockgate::internals::stores::{Existing, Key, Kind, Store};
use lockgate::internals::vfs::{Committed, Mount, PartialUploads, Settings, Transfers, Vfs, VfsResult, WriteMode};
use tempfile::TempDir;

use crate::fixture::{Fixture, REPLACE, Server, a_time, pages};
use crate::support::proxy::Proxy;

pub const MIB: usize = 1 << 20;
pub const NEW: WriteMode = WriteMode { truncate: true, existing: Existing::Replace, must_exist: false, read: false };
pub const EXCLUSIVE: WriteMode = WriteMode { existing: Existing::Refuse, ..NEW };
pub const CHANGE: WriteMode = WriteMode { truncate: false, ..NEW };

/// The options of a store that is to give up soon.
const PATIENCE: [(&str, &str); 1] = [("read_timeout", "3s")];

/// The file system, its proxy and its store.
pub struct Ground {
    pub vfs: Vfs,
    pub proxy: Proxy,
    pub transfers: Arc<Transfers>,
    /// The same place in the store, past the proxy.
    pub direct: Arc<dyn Store>,
    /// The store behind the proxy.
    pub fixture: Fixture,
    _staging: TempDir,
}

/// What a name holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Content {
    /// A directory, with a marker.
    Directory,
    /// So many bytes of the one kind.
    Old(usize),
    /// So many bytes of the other kind.
    New(usize),
    /// Old bytes, then new ones.
    Joined(usize, usize),
    /// Old bytes with [`a_time`] as their time.
    Dated(usize),
}

impl Content {
    fn bytes(self) -> Option<Vec<u8>> {
        Some(match self {
            Content::Directory => return None,
            Content::Old(length) | Content::Dated(length) => pattern(1, length),
            Content::New(length) => pattern(2, length),
            Content::Joined(old, new) => [pattern(1, old), pattern(2, new)].concat(),
        })
    }

    /// Whether `found` is this, whole.
    pub fn is(self, found: &Found) -> bool {
        let dated = matches!(self, Content::Dated(_));
        self.bytes() == found.bytes && (found.dated == dated || self == Content::Directory)
    }
}

/// Bytes that differ from place to place, and everywhere between two seeds.
pub fn pattern(seed: u8, length: usize) -> Vec<u8> {
    (0..length).map(|at| (at % 251) as u8 ^ (at / 251) as u8 ^ (seed << 6)).collect()
}

/// A name as it was found in the store.
#[derive(Debug, PartialEq, Eq)]
pub struct Found {
    /// `None` for a directory.
    bytes: Option<Vec<u8>>,
    dated: bool,
}

impl Ground {
    /// A file system over an empty S3 store; `None` when servers are to be skipped.
    pub async fn s3() -> Option<Ground> {
        let server = Server::from_environment()?;
        let endpoint = server.endpoint.clone();
        let direct = server.clone();
        let open = async |through: String| {
            let fixture = Fixture::s3_through(server, &through, &PATIENCE).await;
            let prefix = fixture.server.as_ref().unwrap().1.clone();
            (fixture, direct.open(&prefix))
        };
        Some(Ground::over(&endpoint, open).await)
    }

    /// A file system over any store that is reached over HTTP: `open` gets the endpoint to use instead of the server's, and
    /// gives the store through it and the same store past it.
    pub async fn over(endpoint: &str, open: impl AsyncFnOnce(String) -> (Fixture, Arc<dyn Store>)) -> Ground {
        let proxy = Proxy::start(endpoint);
        let (fixture, direct) = open(proxy.endpoint()).await;
        let staging = TempDir::new().unwrap();
        let transfers = Transfers::new(Settings {
            transfer_memory: 128 << 20,
            staging: 256 << 20,
            staging_folder: staging.path().to_owned(),
            largest_hole: 64 << 20,
            partial_uploads: PartialUploads::Discard,
        })
        .unwrap();
        let mount = Mount { entry: path("/"), store: Arc::clone(&fixture.store), target: Key::root() };
        let vfs = Vfs::new(vec![mount], Arc::clone(&transfers));
        proxy.seen();
        Ground { vfs, proxy, transfers, direct, fixture, _staging: staging }
    }

    /// Puts names into the store, past the proxy.
    pub async fn lay_out(&self, names: &[(&str, Content)]) {
        for (name, content) in names {
            let key = Key::parse(name).unwrap();
            match content.bytes() {
                None => self.direct.make_directory(&key).await.unwrap(),
                Some(bytes) => drop(self.direct.put(&key, vec![Bytes::from(bytes)], &REPLACE).await.unwrap()),
            }
        }
    }

    /// All names in the store, past the proxy. A directory is among them when it holds nothing.
    pub async fn find(&self) -> BTreeMap<String, Found> {
        let mut found = BTreeMap::new();
        let mut open = vec![String::new()];
        while let Some(directory) = open.pop() {
            let key = Key::parse(&directory).unwrap();
            let entries: Vec<_> = pages(&*self.direct, &key).await.into_iter().flat_map(|page| page.entries).collect();
            if entries.is_empty() && !directory.is_empty() {
                found.insert(directory.clone(), Found { bytes: None, dated: false });
            }
            for entry in entries {
                let name = key.join(&entry.name).unwrap().as_str().to_owned();
                match entry.stat.kind {
                    Kind::Directory => open.push(name),
                    Kind::File => drop(found.insert(name.clone(), self.read(&name).await)),
                }
            }
        }
        found
    }

    async fn read(&self, name: &str) -> Found {
        let object = self.direct.open(&Key::parse(name).unwrap()).await.unwrap();
        let bytes = object.read(0, usize::MAX).await.unwrap().to_vec();
        Found { bytes: Some(bytes), dated: object.stat().mtime == Some(a_time()) }
    }

    /// How many uploads of this name are unfinished. MinIO lists them by exact names only.
    pub async fn unfinished(&self, name: &str) -> usize {
        let Some((server, prefix)) = &self.fixture.server else { return 0 };
        let (status, body) = server.send("GET", &format!("?uploads=&prefix={prefix}{name}"), &[], b"").await;
        assert_eq!(status, 200, "{body}");
        body.matches("<UploadId>").count()
    }
}

pub fn path(text: &str) -> LogicalPath {
    LogicalPath::parse_str(text).unwrap()
}

/// Writes a file from `offset` on in pieces as clients send them.
pub async fn write(vfs: &Vfs, name: &str, mode: WriteMode, offset: usize, data: Vec<u8>) -> VfsResult<Committed> {
    let mut writer = vfs.open_write(&path(name), mode).await?;
    let data = Bytes::from(data);
    for start in (0..data.len()).step_by(256 << 10) {
        let piece = data.slice(start..data.len().min(start + (256 << 10)));
        writer.write_at((offset + start) as u64, piece).await?;
    }
    writer.commit().await
}

/// Reads a whole file.
pub async fn read(vfs: &Vfs, name: &str) -> VfsResult<Vec<u8>> {
    let mut reader = vfs.open_read(&path(name)).await?;
    let mut data = Vec::new();
    loop {
        let piece = reader.read_at(data.len() as u64, 256 << 10).await?;
        if piece.is_empty() {
            return Ok(data);
        }
        data.extend_from_slice(&piece);
    }
}
