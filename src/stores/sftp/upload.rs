//! Uploads and copies: a file without a name, which is written in any order and then published.

use std::sync::Arc;
use std::time::SystemTime;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::future::BoxFuture;

use super::connection::Connection;
use super::failure::{at, looking};
use super::object::{Open, SftpObject};
use super::publish::Target;
use super::server::{Server, is_a_directory, replaced, taken, to_the_end};
use super::temporary::Unfinished;
use super::walk::{Last, Way};
use super::wire::{self, What};
use crate::stores::{Existing, FileUpload, Key, Object, PutOptions, StoreError, StoreErrorKind, StoreResult, Written};

/// The server copies so many bytes by one request: it answers nothing else of the connection meanwhile.
const COPIED_AT_ONCE: u64 = 16 << 20;

/// So many bytes of one upload are under way at once, so that a server 100 ms away takes 40 MB a second: what one connection carries
/// ([`super::exchange`]). OpenSSH's takes half of that.
const WRITTEN_AHEAD: u64 = 4 << 20;

/// What passes through here is copied in pieces of so many bytes.
const PASSED_AT_ONCE: usize = 1 << 20;

/// An upload in progress.
pub(super) struct SftpUpload {
    server: Arc<Server>,
    target: Target,
    mtime: Option<SystemTime>,
    /// `None` once it is published or removed.
    unfinished: Option<Unfinished>,
}

impl Server {
    /// Begins a file that is to be published under a name, on a certain connection if one is given.
    ///
    /// # Errors
    /// Early, when the target is a directory, or is taken and may not be replaced; it is looked at again at the end.
    pub(super) async fn begin(
        self: &Arc<Self>,
        key: &Key,
        options: &PutOptions,
        connection: Option<Arc<Connection>>,
    ) -> StoreResult<SftpUpload> {
        let way = self.judge_target(key, options.existing).await?;
        let unfinished = self.make_unfinished(way.folder(), key, connection).await?;
        let target = Target { key: key.clone(), existing: options.existing, based_on: options.based_on.clone() };
        Ok(SftpUpload { server: Arc::clone(self), target, mtime: options.mtime, unfinished: Some(unfinished) })
    }

    async fn judge_target(&self, key: &Key, existing: Existing) -> StoreResult<Way> {
        let way = self.walk(key, Last::Itself).await?;
        self.judge_found(&way, key, existing).await?;
        Ok(way)
    }

    /// Whether what has a name may be replaced.
    pub(super) async fn judge_found(&self, way: &Way, key: &Key, existing: Existing) -> StoreResult<()> {
        let Some(found) = way.found else { return Ok(()) };
        let leads_to_folder = async || {
            let led = self.walk(key, Last::Followed).await;
            led.is_ok_and(|led| led.found.is_some_and(|found| found.what() == What::Folder))
        };
        let is_folder = match found.what() {
            What::Folder => true,
            What::Link => leads_to_folder().await,
            What::File | What::Other => false,
        };
        match (is_folder, existing) {
            (true, _) => Err(is_a_directory(key)),
            (false, Existing::Refuse) => Err(taken(key)),
            (false, Existing::Replace) => Ok(()),
        }
    }

    /// Stores a whole file.
    pub(super) async fn put(
        self: &Arc<Self>,
        key: &Key,
        data: Vec<Bytes>,
        options: &PutOptions,
    ) -> StoreResult<Written> {
        let mut upload = match self.begin_in_seen_folder(key, options).await {
            Some(upload) => upload,
            None => self.begin(key, options, None).await?,
        };
        let again = upload.unfinished.as_ref().is_some_and(|file| file.is_spare).then(|| data.clone());
        match (upload.publish(Some(data), None).await, again) {
            // Somebody has removed what was made before it was needed. The content is still here.
            (Err(error), Some(data)) if error.kind == StoreErrorKind::NotFound => {
                let connection = self.pool.get_to_open().await.map_err(at("make a file for", key))?;
                self.begin(key, options, Some(connection)).await?.publish(Some(data), None).await
            }
            (done, _) => done,
        }
    }

    /// Begins a file in the folder that its way has just led to: without a look, which publishing it includes. `None` where that is not
    /// known, or cannot be done for whatever reason.
    async fn begin_in_seen_folder(self: &Arc<Self>, key: &Key, options: &PutOptions) -> Option<SftpUpload> {
        let folder = key.parent().filter(|folder| self.seen.has(folder.as_str()))?;
        let names: Vec<String> =
            folder.as_str().split('/').filter(|name| !name.is_empty()).map(str::to_owned).collect();
        let unfinished = self.make_unfinished(&names, key, None).await.ok()?;
        let target = Target { key: key.clone(), existing: options.existing, based_on: options.based_on.clone() };
        Some(SftpUpload { server: Arc::clone(self), target, mtime: options.mtime, unfinished: Some(unfinished) })
    }

    /// Makes a file of one version of another: on the server where it can, else through here.
    pub(super) async fn copy(
        self: &Arc<Self>,
        from: &Key,
        version: &str,
        to: &Key,
        options: &PutOptions,
    ) -> StoreResult<Written> {
        let source = Arc::new(SftpObject::open(self, from).await?);
        if source.version() != Some(version) && !source.is_still(version) {
            return Err(replaced(from));
        }
        let open = source.opened().await?;
        let mut upload = self.begin(to, options, Some(Arc::clone(&open.connection))).await?;
        let unfinished = upload.unfinished()?;
        if open.connection.abilities.copy_data {
            copy_there(&open, source.stat().size, unfinished, to).await?;
        } else {
            copy_through(&source, unfinished, to).await?;
        }
        let copied = unfinished.attributes(to).await?.size;
        let now = open.handle.exchange().attributes(wire::fstat(open.handle.raw())).await;
        let now = now.map_err(looking("look up", from))?;
        if copied != source.stat().size || now.size != copied || now.modified() != source.stat().mtime {
            return Err(replaced(from));
        }
        upload.complete(None).await
    }
}

async fn copy_there(open: &Open, size: u64, to: &Unfinished, key: &Key) -> StoreResult<()> {
    let (source, target) = (&open.handle, to.handle()?);
    let mut offset = 0;
    while offset < size {
        let length = COPIED_AT_ONCE.min(size - offset);
        let request = wire::copy_data(source.raw(), offset, length, target.raw());
        source.exchange().done(request, 0).await.map_err(at("copy to", key))?;
        offset += length;
    }
    Ok(())
}

async fn copy_through(source: &SftpObject, to: &Unfinished, key: &Key) -> StoreResult<()> {
    let mut offset = 0;
    while offset < source.stat().size {
        let data = source.read(offset, PASSED_AT_ONCE).await?;
        let length = data.len() as u64;
        to.write(offset, vec![data], key)?.await?;
        offset += length;
    }
    Ok(())
}

impl SftpUpload {
    fn unfinished(&self) -> StoreResult<&Unfinished> {
        self.unfinished.as_ref().ok_or_else(|| self.finished())
    }

    fn finished(&self) -> StoreError {
        StoreError::new(StoreErrorKind::Other, format!("the upload of \"{}\" is finished already", self.target.key))
    }

    /// Publishes it to the end, with all of its content if that is given here.
    async fn publish(&mut self, content: Option<Vec<Bytes>>, mtime: Option<SystemTime>) -> StoreResult<Written> {
        let Some(unfinished) = self.unfinished.take() else { return Err(self.finished()) };
        let (server, target, mtime) = (Arc::clone(&self.server), self.target.clone(), mtime.or(self.mtime));
        to_the_end(async move { server.publish(unfinished, content, &target, mtime).await }).await
    }
}

#[async_trait]
impl FileUpload for SftpUpload {
    async fn write_at(&mut self, offset: u64, data: Vec<Bytes>) -> StoreResult<()> {
        self.unfinished()?.write(offset, data, &self.target.key)?.await
    }

    fn writes_ahead(&self) -> u64 {
        WRITTEN_AHEAD
    }

    fn write_ahead(&mut self, offset: u64, data: Vec<Bytes>) -> BoxFuture<'static, StoreResult<()>> {
        match self.unfinished().and_then(|unfinished| unfinished.write(offset, data, &self.target.key)) {
            Ok(written) => Box::pin(written),
            Err(error) => Box::pin(std::future::ready(Err(error))),
        }
    }

    async fn read_at(&mut self, offset: u64, length: usize) -> StoreResult<Bytes> {
        let (unfinished, key) = (self.unfinished()?, &self.target.key);
        let left = unfinished.attributes(key).await?.size.saturating_sub(offset);
        let length = length.min(usize::try_from(left).unwrap_or(usize::MAX));
        let read = super::object::read_all(unfinished.handle()?, unfinished.connection.abilities.read, offset, length);
        read.await.map_err(looking("read", key))?.ok_or_else(|| replaced(key))
    }

    async fn set_length(&mut self, length: u64) -> StoreResult<()> {
        self.unfinished()?.set_length(length, &self.target.key).await
    }

    async fn move_to(&mut self, key: &Key, existing: Existing) -> StoreResult<()> {
        if self.unfinished.is_none() {
            return Err(self.finished());
        }
        self.server.walk(key, Last::Itself).await?;
        (self.target.key, self.target.existing) = (key.clone(), existing);
        Ok(())
    }

    fn base_on(&mut self, version: &str) {
        self.target.based_on = Some(version.to_owned());
    }

    async fn complete(&mut self, mtime: Option<SystemTime>) -> StoreResult<Written> {
        self.publish(None, mtime).await
    }

    async fn abort(&mut self) -> StoreResult<()> {
        let Some(unfinished) = self.unfinished.take() else { return Ok(()) };
        let key = self.target.key.clone();
        to_the_end(async move { unfinished.remove(&key).await }).await
    }
}
