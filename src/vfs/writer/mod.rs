//! Uploads: a file that is written and then published whole, or not at all.

mod batched;
mod body;
mod covered;
mod look;
mod pieces;
mod plan;
mod reorder;
mod stream;

use std::fmt;
use std::sync::Arc;
use std::time::SystemTime;

use bytes::Bytes;

use crate::path::LogicalPath;
use crate::stores::{Existing, Made, Object, Provenance, Stat, StoreErrorKind, StoreResult};

use super::lookups::{Effect, Known, Lookups};
use super::mounts::Spot;
use super::reader::WholeFile;
use super::{Committed, PartialUploads, Transfers, Version, Vfs, VfsError, VfsResult, WriteMode};

use body::{Body, ReadFailure};
use stream::Target;

/// A file open for writing. Dropping it publishes nothing and removes what it left in the store, in the background.
pub struct Writer {
    path: LogicalPath,
    spot: Spot,
    transfers: Arc<Transfers>,
    /// What the connection remembers.
    lookups: Arc<Lookups>,
    existing: Existing,
    /// What the object says of where it comes from.
    provenance: Option<Provenance>,
    readable: bool,
    mtime: Option<SystemTime>,
    /// The existing file that is to be changed, until the first call that needs its content. So a handle that is only held open
    /// holds nothing in the store, and begins from what is there when it is used.
    idle: Option<Stat>,
    /// Gone when nothing of it is left to publish or to remove.
    body: Option<Body>,
    /// The length when the body went.
    last_size: u64,
    /// Why nothing more can be done with this file.
    spoilt: Option<(StoreErrorKind, String)>,
    /// A call is under way; still set when that call was dropped half-way.
    busy: bool,
}

impl Vfs {
    /// Opens a file for writing; nothing is published before [`Writer::commit`]. Parent directories need not exist.
    ///
    /// # Errors
    /// [`StoreErrorKind::IsADirectory`]; [`StoreErrorKind::AlreadyExists`] with [`Existing::Refuse`];
    /// [`StoreErrorKind::NotFound`] with `must_exist`; [`StoreErrorKind::NotADirectory`] where the store knows that a parent is
    /// a file; [`StoreErrorKind::Unsupported`] in a directory that only leads to entries of the home.
    pub async fn open_write(&self, path: &LogicalPath, mode: WriteMode) -> VfsResult<Writer> {
        let spot = self.mounts.find_changeable(path, StoreErrorKind::IsADirectory)?;
        // Where hardly anything can be in the way, the store prepares the upload while it looks up the name.
        let is_expected = mode.truncate && !mode.must_exist && mode.existing == Existing::Replace;
        if is_expected {
            spot.store.expect_upload(&spot.key);
        }
        let idle = self.look_before_writing(path, &spot, mode).await?;
        let mut writer = Writer {
            path: path.clone(),
            spot,
            transfers: Arc::clone(&self.transfers),
            lookups: Arc::clone(&self.lookups),
            existing: mode.existing,
            provenance: self.provenance.clone(),
            readable: mode.read,
            mtime: None,
            idle,
            body: None,
            last_size: 0,
            spoilt: None,
            busy: false,
        };
        if writer.idle.is_none() {
            writer.body = Some(writer.new_body(None));
            if !is_expected {
                writer.spot.store.expect_upload(&writer.spot.key);
            }
        }
        Ok(writer)
    }

    /// Gives an unfinished upload another name: from now on it is published there, as `existing` says.
    ///
    /// # Errors
    /// As [`Vfs::open_write`] of the new name; [`StoreErrorKind::Unsupported`] when it lies in another store; the store's, when bytes of
    /// the old name that stand behind what was written cannot be fetched. Nothing of the upload is published then.
    pub async fn move_upload(&self, writer: &mut Writer, to: &LogicalPath, existing: Existing) -> VfsResult<()> {
        let spot = self.mounts.find_changeable(to, StoreErrorKind::IsADirectory)?;
        if !Arc::ptr_eq(&spot.store, &writer.spot.store) {
            let message = "a file that is being written cannot be moved to another store; close it first";
            return Err(VfsError::new(to, StoreErrorKind::Unsupported, message));
        }
        if writer.body.is_some() {
            let target = Target::at(&spot, existing, writer.provenance.clone());
            let result = writer.start()?.move_to(target).await;
            writer.end_or_give_up(result)?;
        }
        (writer.path, writer.spot, writer.existing) = (to.clone(), spot, existing);
        Ok(())
    }
}

impl Writer {
    /// Where it will be published.
    pub fn path(&self) -> &LogicalPath {
        &self.path
    }

    /// The length that the file would have if it were committed now.
    pub fn size(&self) -> u64 {
        match (&self.body, &self.idle) {
            (Some(body), _) => body.size(),
            (None, Some(found)) => found.size,
            (None, None) => self.last_size,
        }
    }

    /// Whether a commit would publish content: the file is new or emptied, or something was written to it or cut.
    pub fn has_content(&self) -> bool {
        self.idle.is_none() && self.body.as_ref().is_none_or(Body::has_content)
    }

    /// The version of the file of its own name that it keeps some content of, once something was changed.
    pub(super) fn version_it_changes(&self) -> Option<Version> {
        self.body.as_ref()?.version_it_changes().map(Version)
    }

    /// The time of the existing file, while nothing of it was needed.
    pub fn idle_mtime(&self) -> Option<SystemTime> {
        self.idle.as_ref().and_then(|found| found.mtime)
    }

    fn new_body(&self, inherited: Option<Arc<dyn Object>>) -> Body {
        let target = Target::at(&self.spot, self.existing, self.provenance.clone());
        let mut body = Body::new(target, Arc::clone(&self.transfers), inherited, self.readable);
        if let Some(mtime) = self.mtime {
            body.set_mtime(mtime);
        }
        body
    }

    /// As [`Writer::wake`]. When it fails, a change is lost, so that nothing may be published any more.
    async fn wake_to_change(&mut self) -> VfsResult<()> {
        let result = self.wake().await;
        if let Err(error) = &result {
            self.spoilt = Some((error.kind(), error.source.message.clone()));
        }
        result
    }

    /// Opens the existing file, now that its content is needed: the one that the client saw when it opened it.
    async fn wake(&mut self) -> VfsResult<()> {
        let Some(found) = &self.idle else { return Ok(()) };
        let object = self.spot.open().await.map_err(VfsError::at(&self.path))?;
        let now = object.stat();
        if now.size != found.size || (now.etag.is_some() && now.etag != found.etag) {
            let message = "another file came under the name since it was opened";
            return Err(VfsError::new(&self.path, StoreErrorKind::Changed, message));
        }
        self.idle = None;
        self.body = Some(self.new_body(Some(object)));
        Ok(())
    }

    /// Writes `data` at `offset`. Returns when the bytes are accepted within the memory budget.
    ///
    /// # Errors
    /// The store's, also of bytes that were accepted before; [`StoreErrorKind::TooLarge`]; [`StoreErrorKind::Hole`] when more than
    /// [`super::Settings::largest_hole`] would be left unwritten; [`StoreErrorKind::NoSpace`] when
    /// memory and the staging folder are spent; [`StoreErrorKind::Unsupported`] for bytes that were sent to an object store
    /// already. After an error every call fails with it, and nothing is published.
    pub async fn write_at(&mut self, offset: u64, data: Bytes) -> VfsResult<()> {
        self.wake_to_change().await?;
        let body = self.start()?;
        let result = body.write_at(offset, data).await;
        self.end_or_give_up(result)
    }

    /// Writes `data` behind the last byte, for a client that appends: what was there before, even if it was nothing, has to be there still at
    /// [`Writer::commit`].
    ///
    /// # Errors
    /// As [`Writer::write_at`].
    pub async fn append(&mut self, data: Bytes) -> VfsResult<()> {
        self.wake_to_change().await?;
        let body = self.start()?;
        let result = body.write_at_end(data).await;
        self.end_or_give_up(result)
    }

    /// Takes all of a file that is open for reading for the content, so that the store copies it at [`Writer::commit`]: then the
    /// version that is open has to be there still. False, and nothing is done, when the store cannot, when it is another store,
    /// or when something was written already or would stay behind the copy.
    ///
    /// # Errors
    /// As [`Writer::write_at`], of writes before.
    pub fn become_copy(&mut self, source: &WholeFile) -> VfsResult<bool> {
        let same_store = Arc::ptr_eq(&self.spot.store, &source.store);
        if let Some(found) = self.idle.take_if(|found| same_store && found.size <= source.object.stat().size) {
            // All of its content goes.
            self.body = Some(self.new_body(None));
            self.last_size = found.size;
        }
        if self.idle.is_some() {
            return Ok(false);
        }
        let body = self.start()?;
        let taken = same_store && body.become_copy(&source.key, &source.object);
        self.busy = false;
        Ok(taken)
    }

    /// As [`super::Reader::read_at`], of the unfinished file, however it was opened: also for another handle of it.
    ///
    /// # Errors
    /// As [`Writer::write_at`]; [`StoreErrorKind::Unsupported`] for bytes that were sent to an object store already.
    pub async fn read_back(&mut self, offset: u64, length: usize) -> VfsResult<Bytes> {
        self.wake().await?;
        let body = self.start()?;
        let length = body.size().saturating_sub(offset).min(length as u64) as usize;
        match body.read_at(offset, length).await {
            Ok(data) => self.end_or_give_up(Ok(data)),
            Err(ReadFailure::OfUpload(error)) if body.is_written() => self.end_or_give_up(Err(error)),
            // Nothing is lost: the next read may succeed.
            Err(ReadFailure::Harmless(error) | ReadFailure::OfUpload(error)) => {
                self.busy = false;
                Err(VfsError::at(&self.path)(error))
            }
        }
    }

    /// Cuts or extends with zeros.
    ///
    /// # Errors
    /// As [`Writer::write_at`]; but after [`StoreErrorKind::Hole`] and [`StoreErrorKind::TooLarge`] the file is as before.
    pub async fn set_length(&mut self, length: u64) -> VfsResult<()> {
        self.wake_to_change().await?;
        let body = self.start()?;
        if let Err(error) = body.judge_length(length) {
            self.busy = false;
            return Err(VfsError::at(&self.path)(error));
        }
        let result = body.set_length(length).await;
        self.end_or_give_up(result)
    }

    /// The modification time to keep at commit.
    pub fn set_mtime(&mut self, mtime: SystemTime) {
        self.mtime = Some(mtime);
        if let Some(body) = &mut self.body {
            body.set_mtime(mtime);
        }
    }

    /// Up to `length` bytes from `offset` of what would be published, if they are still on this machine; `None` if they are not.
    ///
    /// # Errors
    /// As [`Writer::write_at`]. Dropped half-way, the file is as before.
    pub async fn read_kept(&mut self, offset: u64, length: usize) -> VfsResult<Option<Bytes>> {
        self.start()?;
        self.busy = false;
        let Some(body) = &mut self.body else { return Err(self.not_open()) };
        let result = body.read_kept(offset, length).await;
        self.end_or_give_up(result)
    }

    /// The digest (SHA-256 in hex digits) of all that was written, before [`Writer::commit`]: for the object's metadata.
    pub fn set_sha256(&mut self, sha256: &str) {
        if let Some(body) = &mut self.body {
            body.set_sha256(sha256);
        }
    }

    /// Publishes the file. When this returns, the store has it.
    ///
    /// # Errors
    /// As [`Writer::write_at`], and the store's own of publishing; [`StoreErrorKind::AlreadyExists`] when the name was taken
    /// meanwhile and may not be replaced. Nothing is published then, and what the store had of it is removed.
    pub async fn commit(mut self) -> VfsResult<Committed> {
        if let Some(found) = self.idle.take_if(|_| self.spoilt.is_none()) {
            let mtime_kept = self.touch().await.map_err(VfsError::at(&self.path))?;
            return Ok(Committed { size: found.size, mtime_kept, unchanged: true, ..Committed::default() });
        }
        self.start()?;
        self.publish().await
    }

    /// Publishes the body, for which a call is under way.
    async fn publish(&mut self) -> VfsResult<Committed> {
        let change = self.lookups.begin(&self.spot, Effect::Makes);
        let Some(body) = &mut self.body else { return Err(self.not_open()) };
        let size = body.size();
        let result = body.publish().await;
        let committed = self.publish_ended(size, result).await;
        match &committed {
            Ok(committed) => self.lookups.made(&self.path, &self.spot, change, self.known(committed)),
            // Nobody knows what the store has done.
            Err(_) => self.lookups.forget_all(),
        }
        committed
    }

    /// What is known of the file that was published. A copy by the store has the metadata of what it was made from.
    fn known(&self, committed: &Committed) -> Option<Known> {
        let etag = committed.etag.clone().filter(|_| !committed.copied)?;
        let mtime = self.mtime.filter(|_| committed.mtime_kept);
        let provenance = committed.provenance.clone();
        Some(Known::made(Made { etag, size: committed.size, mtime, provenance }))
    }

    /// Publishes nothing and removes what the store has of it.
    pub async fn discard(mut self) {
        // The end of the process waits for it.
        let removal = self.transfers.start_removal();
        self.remove().await;
        drop(removal);
    }

    /// Whether [`Writer::cut_off`] would publish what arrived.
    pub fn is_published_when_cut_off(&self) -> bool {
        let arrived = self.body.as_ref().is_some_and(Body::is_written) && self.spoilt.is_none() && !self.busy;
        arrived && self.transfers.partial == PartialUploads::Publish
    }

    /// The upload was cut off: publishes nothing and removes the parts, or publishes what arrived, as
    /// [`super::Settings::partial_uploads`] says. `Some` when it was published. What is published has no gaps: writes beyond a
    /// missing byte are left out.
    ///
    /// # Errors
    /// As [`Writer::commit`], when it is published.
    pub async fn cut_off(mut self) -> VfsResult<Option<Committed>> {
        if !self.is_published_when_cut_off() {
            self.remove().await;
            return Ok(None);
        }
        let body = self.start()?;
        if let Err(error) = body.cut_at_first_gap().await {
            return self.publish_ended(0, Err(error)).await.map(Some);
        }
        self.publish().await.map(Some)
    }

    async fn publish_ended(
        &mut self,
        size: u64,
        result: StoreResult<Option<crate::stores::Written>>,
    ) -> VfsResult<Committed> {
        match self.end(result) {
            Ok(Some(written)) => {
                let body = self.body.take();
                let copied = body.as_ref().is_some_and(Body::is_copy);
                let left = body.and_then(|mut body| body.left.take()).map(|why| self.left_behind(&why));
                let mtime_kept = written.mtime_kept || self.mtime.is_none();
                let version = written.version.map(Version);
                let (etag, provenance) = (written.etag, written.provenance);
                Ok(Committed { size, etag, mtime_kept, copied, unchanged: false, version, provenance, left })
            }
            Ok(None) => {
                self.body = None;
                let mtime_kept = self.touch().await.map_err(VfsError::at(&self.path))?;
                Ok(Committed { size, mtime_kept, unchanged: true, ..Committed::default() })
            }
            Err(error) => {
                self.remove().await;
                Err(error)
            }
        }
    }

    /// What the event says of a first name that is still there.
    fn left_behind(&self, why: &str) -> String {
        format!("{} has it under its first name as well, which could not be deleted: {why}", self.spot.store.name())
    }

    /// Keeps the wanted time of a file whose content was not changed.
    async fn touch(&self) -> StoreResult<bool> {
        let Some(mtime) = self.mtime else { return Ok(true) };
        let _change = self.lookups.begin(&self.spot, Effect::Makes);
        Ok(self.spot.store.set_mtime(&self.spot.key, mtime, None).await?.is_some())
    }

    /// The body, for one call; an error when an earlier call has failed or was dropped half-way.
    fn start(&mut self) -> VfsResult<&mut Body> {
        if self.busy && self.spoilt.is_none() {
            self.spoilt = Some((StoreErrorKind::Other, "an earlier write of this file was interrupted".into()));
        }
        if let Some((kind, message)) = &self.spoilt {
            return Err(VfsError::new(&self.path, *kind, message.clone()));
        }
        self.busy = true;
        let gone = self.not_open();
        self.body.as_mut().ok_or(gone)
    }

    fn not_open(&self) -> VfsError {
        VfsError::new(&self.path, StoreErrorKind::Other, "the file is not open any more")
    }

    fn end<T>(&mut self, result: StoreResult<T>) -> VfsResult<T> {
        self.busy = false;
        result.map_err(|error| {
            self.spoilt = Some((error.kind, error.message.clone()));
            VfsError::at(&self.path)(error)
        })
    }

    /// As [`Writer::end`]; after an error what is left is removed at once, so that a client that does not close holds nothing.
    fn end_or_give_up<T>(&mut self, result: StoreResult<T>) -> VfsResult<T> {
        let result = self.end(result);
        if result.is_err() {
            self.remove_in_background();
        }
        result
    }

    fn remove_in_background(&mut self) {
        self.last_size = self.size();
        let Some(mut body) = self.body.take() else { return };
        // Without a runtime the process is ending, and nothing can be reached.
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            let removal = self.transfers.start_removal();
            runtime.spawn(async move {
                body.discard().await;
                drop(removal);
            });
        }
    }

    async fn remove(&mut self) {
        // The body stays here meanwhile, so that a removal that is dropped half-way is tried again by `drop`.
        if let Some(body) = &mut self.body {
            body.discard().await;
        }
        self.body = None;
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.remove_in_background();
    }
}

impl fmt::Debug for Writer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Writer").field("path", &self.path).field("size", &self.size()).finish_non_exhaustive()
    }
}
