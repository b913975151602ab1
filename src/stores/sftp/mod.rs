//! The upstream store: somebody else's SFTP server, or ours.
//!
//! - The server's key is named by the operator; another one is refused, and nothing is sent.
//! - Few connections are shared by all requests ([`pool`]); each carries many at once ([`exchange`]). One that ends fails what was asked on it.
//! - A file that is uploaded has a hidden name until it is finished ([`temporary`]), and gets its own by one request ([`publish`]).
//! - Links lead nowhere out of the folder of a home's entry ([`walk`]).
//! - What the protocol cannot say is made up for as far as that goes: versions ([`versions`]), conditions, why something failed. What is
//!   left is named in docs/SEMANTICS.md.

mod connection;
mod exchange;
mod failure;
mod folders;
mod line;
mod listing;
mod login;
mod object;
mod pool;
mod publish;
mod server;
mod settings;
mod spare;
mod temporary;
mod upload;
mod versions;
mod walk;
mod wire;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use async_trait::async_trait;
use bytes::Bytes;

use super::place::Site;
use super::{
    AtOnce, Capacity, Change, Deletion, Existing, Key, Object, Page, PageToken, PartLimits, Place, PutOptions, Stat,
    Store, StoreError, StoreErrorKind, StoreResult, Unfinished, Upload, Written,
};
use object::SftpObject;
use server::{Server, to_the_end};
pub(super) use settings::Upstream;
use walk::Last;
use wire::What;

/// A store on an SFTP server.
#[derive(Debug)]
pub(super) struct SftpStore {
    server: Arc<Server>,
    found: Mutex<Option<String>>,
}

/// Where the root of an upstream store is.
pub(super) fn place(upstream: &Upstream) -> Place {
    Place::of_key(Site::Server(upstream.host.clone(), upstream.port), &upstream.base)
}

impl SftpStore {
    /// Does not reach the server.
    pub(super) fn new(upstream: Upstream, unfinished: Option<Arc<Unfinished>>, at_once: AtOnce) -> Self {
        let server = Server::new(upstream, at_once);
        if let Some(journal) = unfinished {
            server.journal.set(journal);
        }
        SftpStore { server, found: Mutex::default() }
    }

    /// Does something to its end, whether or not who asked for it waits.
    async fn change<T: Send + 'static, F>(&self, deed: impl FnOnce(Arc<Server>) -> F) -> StoreResult<T>
    where
        F: Future<Output = StoreResult<T>> + Send + 'static,
    {
        to_the_end(deed(Arc::clone(&self.server))).await
    }
}

#[async_trait]
impl Store for SftpStore {
    fn name(&self) -> &str {
        &self.server.upstream.name
    }

    fn keeps_directories(&self) -> bool {
        true
    }

    fn may_be_away(&self) -> bool {
        true
    }

    fn place(&self) -> Place {
        place(&self.server.upstream)
    }

    async fn place_of(&self, key: &Key) -> StoreResult<Place> {
        let way = self.server.walk(key, Last::Followed).await?;
        Ok(self.place().below(&way.whole().join("/")))
    }

    fn event_path(&self, key: &Key) -> String {
        let name = self.name();
        if key.is_root() { format!("/{name}") } else { format!("/{name}/{key}") }
    }

    fn part_limits(&self) -> PartLimits {
        // Uploads are files; the only limit is the largest offset.
        PartLimits {
            smallest_part: 1,
            largest_part: i64::MAX as u64,
            most_parts: u64::MAX,
            largest_object: i64::MAX as u64,
            equal_parts: false,
        }
    }

    async fn stat(&self, key: &Key) -> StoreResult<Stat> {
        self.server.stat(key).await
    }

    async fn list(&self, key: &Key, from: Option<PageToken>) -> StoreResult<Page> {
        self.server.page(key, from.as_ref()).await
    }

    async fn open(&self, key: &Key) -> StoreResult<Arc<dyn Object>> {
        Ok(Arc::new(SftpObject::open(&self.server, key).await?))
    }

    async fn put(&self, key: &Key, data: Vec<Bytes>, options: &PutOptions) -> StoreResult<Written> {
        self.server.put(key, data, options).await
    }

    fn expect_upload(&self, key: &Key) {
        self.server.expect_upload(key);
    }

    async fn begin_upload(&self, key: &Key, options: &PutOptions) -> StoreResult<Upload> {
        Ok(Upload::File(Box::new(self.server.begin(key, options, None).await?)))
    }

    async fn delete(&self, key: &Key) -> StoreResult<()> {
        let key = key.clone();
        self.change(|server| async move { server.delete(&key).await }).await
    }

    async fn delete_version(&self, key: &Key, version: &str) -> StoreResult<Deletion> {
        let (key, version) = (key.clone(), version.to_owned());
        self.change(|server| async move { server.delete_version(&key, &version).await }).await
    }

    async fn make_directory(&self, key: &Key) -> StoreResult<()> {
        let key = key.clone();
        self.change(|server| async move { server.make_directory(&key).await }).await
    }

    async fn remove_directory(&self, key: &Key) -> StoreResult<()> {
        let key = key.clone();
        self.change(|server| async move { server.remove_directory(&key).await }).await
    }

    async fn rename(&self, from: &Key, to: &Key, existing: Existing, only: Option<&str>) -> StoreResult<Change> {
        let (from, to, only) = (from.clone(), to.clone(), only.map(str::to_owned));
        self.change(|server| async move { server.rename_file(&from, &to, existing, only.as_deref()).await }).await
    }

    async fn rename_directory(&self, from: &Key, to: &Key) -> StoreResult<()> {
        let (from, to) = (from.clone(), to.clone());
        self.change(|server| async move { server.rename_directory(&from, &to).await }).await
    }

    fn copies(&self) -> bool {
        true
    }

    async fn copy(&self, from: &Key, version: &str, to: &Key, options: &PutOptions) -> StoreResult<Written> {
        self.server.copy(from, version, to, options).await
    }

    async fn set_mtime(&self, key: &Key, mtime: SystemTime, only: Option<&str>) -> StoreResult<Option<Change>> {
        let (key, only) = (key.clone(), only.map(str::to_owned));
        self.change(|server| async move { server.set_mtime(&key, mtime, only.as_deref()).await }).await
    }

    async fn set_directory_mtime(&self, key: &Key, mtime: SystemTime) -> StoreResult<bool> {
        let key = key.clone();
        self.change(|server| async move { server.set_directory_mtime(&key, mtime).await }).await
    }

    async fn capacity(&self) -> StoreResult<Option<Capacity>> {
        let free = self.server.free(&self.server.path::<&str>(&[])).await.map_err(failure::looking("measure", "/"))?;
        Ok(free.map(|(total, free)| Capacity { total, free }))
    }

    async fn remove_unfinished(&self) -> StoreResult<u64> {
        self.server.journal.remove_left_over(|begun| self.server.remove_left(begun)).await
    }

    async fn check(&self) -> StoreResult<()> {
        let root = self.server.walk(&Key::root(), Last::Followed).await?;
        if root.found.is_some_and(|found| found.what() == What::Folder) {
            let found = self.server.describe().await.map_err(failure::looking("look up", "/"))?;
            *self.found.lock().unwrap_or_else(PoisonError::into_inner) = Some(found);
            return Ok(());
        }
        let message =
            format!("{} of {} is not a directory", self.server.path::<&str>(&[]), self.server.upstream.address());
        Err(StoreError::new(StoreErrorKind::NotADirectory, message))
    }

    fn found(&self) -> Option<String> {
        self.found.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
