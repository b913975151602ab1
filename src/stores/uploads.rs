//! Unfinished uploads as a store gives them out: in parts, or as a file that is written in any order.

use std::ops::Range;
use std::time::SystemTime;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::future::BoxFuture;

use super::{Existing, Key, StoreError, StoreErrorKind, StoreResult, Written};

/// An upload in progress. Dropping one without [`PartUpload::complete`] publishes nothing; call
/// [`PartUpload::abort`] so that the store keeps no parts.
pub enum Upload {
    /// Parts in order, several under way at once; for object stores.
    Parts(Box<dyn PartUpload>),
    /// A file that is written in any order and published when it is finished; for the local store.
    File(Box<dyn FileUpload>),
}

/// An upload in parts.
#[async_trait]
pub trait PartUpload: Send + Sync {
    /// Takes the next part. The call fixes its place; the future that it returns sends it, and several may run at once.
    fn put_part(&mut self, part: Vec<Bytes>) -> BoxFuture<'static, StoreResult<()>>;

    /// Whether [`PartUpload::replace_part`] works.
    fn replaces_parts(&self) -> bool {
        false
    }

    /// Sends a part again, with other bytes, as many as before. `place` counts from 0; that part's first future has succeeded.
    fn replace_part(&mut self, place: usize, part: Vec<Bytes>) -> BoxFuture<'static, StoreResult<()>> {
        let _ = part;
        let message = format!("part {} cannot be sent again", place + 1);
        Box::pin(async move { Err(StoreError::new(StoreErrorKind::Unsupported, message)) })
    }

    /// Whether [`PartUpload::copy_part`] works.
    fn copies_parts(&self) -> bool {
        false
    }

    /// The next part is a range of the object that has this upload's name now, copied on the store's side; `etag` is the
    /// version's. As [`PartUpload::put_part`]; [`StoreErrorKind::Changed`] when there is another version.
    fn copy_part(&mut self, etag: &str, range: Range<u64>) -> BoxFuture<'static, StoreResult<()>> {
        let message = format!("bytes {} to {} of the version {etag} cannot be copied", range.start, range.end);
        Box::pin(async move { Err(StoreError::new(StoreErrorKind::Unsupported, message)) })
    }

    /// The content was made from this version of the object: [`PartUpload::complete`] then replaces that one and no other, as
    /// [`super::PutOptions::based_on`].
    fn base_on(&mut self, version: &str);

    /// The digest of the content, known by now, for the object's metadata where the store takes that when it publishes.
    fn set_sha256(&mut self, _sha256: &str) {}

    /// [`PartUpload::complete`] is to replace nothing from now on, as with [`Existing::Refuse`], where the store can still say so.
    fn refuse_existing(&mut self) {}

    /// Publishes the object. Every part's future must have succeeded before.
    async fn complete(&mut self) -> StoreResult<Written>;

    /// Removes the parts. Safe to call more than once, and after an error.
    async fn abort(&mut self) -> StoreResult<()>;
}

/// An unpublished file that is written and read in any order.
#[async_trait]
pub trait FileUpload: Send + Sync {
    /// Writes all of `data`, one piece after the other, from `offset`. A gap before it reads as zeros.
    async fn write_at(&mut self, offset: u64, data: Vec<Bytes>) -> StoreResult<()>;

    /// How many bytes may be under way by [`FileUpload::write_ahead`] at once: more than one round trip's worth for a server that is far
    /// away. 0: one write has to end before the next one begins.
    fn writes_ahead(&self) -> u64 {
        0
    }

    /// As [`FileUpload::write_at`], by a future of its own, which needs nobody to wait for it. Several may run at once and are done in any
    /// order: their ranges must not overlap, and all must have ended before anything else is asked of the file.
    fn write_ahead(&mut self, offset: u64, data: Vec<Bytes>) -> BoxFuture<'static, StoreResult<()>> {
        let message =
            format!("{} bytes at {offset} cannot be written ahead", data.iter().map(Bytes::len).sum::<usize>());
        Box::pin(async move { Err(StoreError::new(StoreErrorKind::Unsupported, message)) })
    }

    /// As [`super::Object::read`], of what was written so far.
    async fn read_at(&mut self, offset: u64, length: usize) -> StoreResult<Bytes>;

    /// Cuts or extends (with zeros).
    async fn set_length(&mut self, length: u64) -> StoreResult<()>;

    /// It is to be published under another name of the same store.
    async fn move_to(&mut self, key: &Key, existing: Existing) -> StoreResult<()>;

    /// As [`PartUpload::base_on`].
    fn base_on(&mut self, version: &str);

    /// Makes it durable as far as the operator asked (`fsync`), then publishes it in one step. `mtime` is the time to keep.
    async fn complete(&mut self, mtime: Option<SystemTime>) -> StoreResult<Written>;

    /// Removes it. Safe to call more than once, and after an error.
    async fn abort(&mut self) -> StoreResult<()>;
}
