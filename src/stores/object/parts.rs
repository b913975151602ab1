//! Uploads in parts: `object_store` sends the parts, the store's own module publishes them.

use std::fmt;
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use object_store::PutPayload;
use object_store::multipart::{MultipartStore, PartId};
use object_store::path::Path;

use super::{Replaces, WantedUpload, at, exists, replaced, was_cut};
use crate::stores::unfinished::Entry;
use crate::stores::{Existing, Key, PartUpload, Provenance, StoreError, StoreErrorKind, StoreResult, Written};

/// `object_store`'s calls for single parts.
#[derive(Clone)]
pub(in crate::stores) struct MultipartBackend(pub(in crate::stores) Arc<dyn MultipartStore>);

impl fmt::Debug for MultipartBackend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MultipartBackend")
    }
}

/// Publishes what was sent.
#[async_trait]
pub(in crate::stores) trait Publish: Send + Sync {
    /// Makes one object of the parts; gives its entity tag without quotes. It replaces only what [`SentParts::replaces`] says. An
    /// answer that is lost on the way is asked for again.
    async fn publish(&self, sent: &SentParts<'_>) -> StoreResult<Option<String>>;

    /// Whether the entity tag is what names the version, as [`crate::stores::Object::version`].
    fn names_versions_by_tag(&self) -> bool {
        true
    }

    /// Whether an upload without parts cannot be published.
    fn needs_a_part(&self) -> bool {
        true
    }

    /// Whether the digest of the object becomes metadata when it is published: other stores take metadata only when an upload begins.
    fn keeps_sha256(&self) -> bool {
        false
    }

    /// Whether [`Publish::copy_part`] works.
    fn copies_parts(&self) -> bool {
        false
    }

    /// Makes a part of a range of the object that has the upload's own name, on the store's side.
    async fn copy_part(&self, copy: PartCopy<'_>) -> StoreResult<PartId> {
        let message = format!("the store copies no parts of \"{}\"", copy.path);
        Err(StoreError::new(StoreErrorKind::Unsupported, message))
    }
}

/// A part that is to be copied.
#[derive(Debug, Clone)]
pub(in crate::stores) struct PartCopy<'a> {
    /// The whole key, of the upload and of the object.
    pub(in crate::stores) path: &'a Path,
    /// The store's name of the upload.
    pub(in crate::stores) id: &'a str,
    /// The part's place, from 0.
    pub(in crate::stores) place: usize,
    /// The version of the object, without quotes; another one is [`StoreErrorKind::Changed`].
    pub(in crate::stores) etag: &'a str,
    /// Which of its bytes.
    pub(in crate::stores) range: Range<u64>,
}

/// All parts of an upload.
pub(in crate::stores) struct SentParts<'a> {
    /// The whole key.
    pub(in crate::stores) path: &'a Path,
    /// The key as errors name it.
    pub(in crate::stores) key: &'a Key,
    /// The store's name of the upload.
    pub(in crate::stores) id: &'a str,
    /// The parts in order.
    pub(in crate::stores) parts: Vec<PartId>,
    /// Their bytes.
    pub(in crate::stores) size: u64,
    /// What of the name it may replace.
    pub(in crate::stores) replaces: Replaces<'a>,
    /// The digest of the object, if it is known and the metadata is to have it.
    pub(in crate::stores) sha256: Option<&'a str>,
}

impl SentParts<'_> {
    /// The error of a publication whose condition did not hold.
    pub(in crate::stores) fn refused(&self, error: StoreError) -> StoreError {
        match (self.replaces, error.kind) {
            (Replaces::Nothing, StoreErrorKind::Changed) => exists(self.key),
            (Replaces::Version(_), StoreErrorKind::Changed | StoreErrorKind::NotFound) => replaced(self.key),
            _ => error,
        }
    }
}

/// An upload in progress.
pub(in crate::stores) struct PartedUpload {
    backend: MultipartBackend,
    publisher: Arc<dyn Publish>,
    path: Path,
    key: Key,
    id: String,
    existing: Existing,
    based_on: Option<String>,
    mtime_kept: bool,
    provenance: Option<Provenance>,
    sha256: Option<String>,
    /// The place of the next part.
    next: usize,
    /// The bytes of all parts so far.
    size: u64,
    /// The parts that the store has, by place.
    sent: Arc<Mutex<Vec<Option<PartId>>>>,
    noted: Option<Entry>,
    settled: bool,
}

impl PartedUpload {
    /// Asks the store for an upload, which the journal has as `noted`.
    pub(in crate::stores) async fn begin(
        backend: MultipartBackend,
        publisher: Arc<dyn Publish>,
        noted: Option<Entry>,
        wanted: WantedUpload,
    ) -> StoreResult<Box<dyn PartUpload>> {
        let WantedUpload { path, options, key, existing, based_on, mtime_kept, provenance, takes_parts: _ } = wanted;
        let mut begun = backend.0.create_multipart_opts(&path, options.clone()).await;
        if begun.as_ref().is_err_and(was_cut) {
            begun = backend.0.create_multipart_opts(&path, options).await;
        }
        let id = match begun.map_err(at("begin the upload of", &key)) {
            Ok(id) => id,
            Err(error) => {
                // An answer that was lost may have begun one.
                if let (Some(noted), true) = (noted, error.kind != StoreErrorKind::Unavailable) {
                    noted.settled();
                }
                return Err(error);
            }
        };
        if let Some(noted) = &noted {
            noted.named(&id);
        }
        let (sent, next, size, settled) = (Arc::default(), 0, 0, false);
        Ok(Box::new(PartedUpload {
            backend,
            publisher,
            path,
            key,
            id,
            existing,
            based_on,
            mtime_kept,
            provenance,
            sha256: None,
            next,
            size,
            sent,
            noted,
            settled,
        }))
    }

    fn settle(&mut self) {
        self.settled = true;
        if let Some(noted) = self.noted.take() {
            noted.settled();
        }
    }

    /// All parts in order.
    fn all_parts(&self) -> StoreResult<Vec<PartId>> {
        let sent = self.sent.lock().unwrap_or_else(PoisonError::into_inner);
        let parts: Vec<PartId> = sent.iter().flatten().cloned().collect();
        if parts.len() == self.next {
            return Ok(parts);
        }
        Err(StoreError::new(StoreErrorKind::Other, format!("not every part of \"{}\" was sent", self.key)))
    }
}

#[async_trait]
impl PartUpload for PartedUpload {
    fn put_part(&mut self, part: Vec<Bytes>) -> BoxFuture<'static, StoreResult<()>> {
        self.next += 1;
        self.size += part.iter().map(|piece| piece.len() as u64).sum::<u64>();
        self.replace_part(self.next - 1, part)
    }

    fn replaces_parts(&self) -> bool {
        true
    }

    fn replace_part(&mut self, place: usize, part: Vec<Bytes>) -> BoxFuture<'static, StoreResult<()>> {
        let (backend, path, id, key) = (self.backend.clone(), self.path.clone(), self.id.clone(), self.key.clone());
        let sent = Arc::clone(&self.sent);
        async move {
            let done = backend.0.put_part(&path, &id, place, PutPayload::from_iter(part)).await;
            note(&sent, place, done.map_err(at("write a part of", key))?);
            Ok(())
        }
        .boxed()
    }

    fn copies_parts(&self) -> bool {
        self.publisher.copies_parts()
    }

    fn copy_part(&mut self, etag: &str, range: Range<u64>) -> BoxFuture<'static, StoreResult<()>> {
        let place = self.next;
        self.next += 1;
        self.size += range.end - range.start;
        let (publisher, path, id) = (Arc::clone(&self.publisher), self.path.clone(), self.id.clone());
        let (sent, etag) = (Arc::clone(&self.sent), etag.to_owned());
        async move {
            let copy = PartCopy { path: &path, id: &id, place, etag: &etag, range };
            note(&sent, place, publisher.copy_part(copy).await?);
            Ok(())
        }
        .boxed()
    }

    fn base_on(&mut self, version: &str) {
        self.based_on = Some(version.to_owned());
    }

    fn set_sha256(&mut self, sha256: &str) {
        self.sha256 = Some(sha256.to_owned());
    }

    fn refuse_existing(&mut self) {
        self.existing = Existing::Refuse;
    }

    async fn complete(&mut self) -> StoreResult<Written> {
        if self.settled {
            let message = format!("the upload of \"{}\" is finished already", self.key);
            return Err(StoreError::new(StoreErrorKind::Other, message));
        }
        if self.next == 0 && self.publisher.needs_a_part() {
            self.put_part(Vec::new()).await?;
        }
        let parts = self.all_parts()?;
        let (path, key, id) = (&self.path, &self.key, self.id.as_str());
        let replaces = Replaces::of(self.existing, self.based_on.as_deref());
        // Of an object that is to say nothing of where it comes from, this does not say anything either.
        let sha256 = self.sha256.as_deref().filter(|_| self.provenance.is_some() && self.publisher.keeps_sha256());
        let sent = SentParts { path, key, id, parts, size: self.size, replaces, sha256 };
        let etag = self.publisher.publish(&sent).await?;
        if let (Some(sha256), Some(provenance)) = (sha256, &mut self.provenance) {
            provenance.set_sha256(sha256);
        }
        self.settle();
        let version = etag.clone().filter(|_| self.publisher.names_versions_by_tag());
        Ok(Written { version, etag, mtime_kept: self.mtime_kept, provenance: self.provenance.take() })
    }

    async fn abort(&mut self) -> StoreResult<()> {
        if self.settled {
            return Ok(());
        }
        match self.backend.0.abort_multipart(&self.path, &self.id).await {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => {
                self.settle();
                Ok(())
            }
            Err(error) => Err(at("remove the parts of", &self.key)(error)),
        }
    }
}

/// Keeps what the store said of a part.
fn note(sent: &Mutex<Vec<Option<PartId>>>, place: usize, part: PartId) {
    let mut sent = sent.lock().unwrap_or_else(PoisonError::into_inner);
    if sent.len() <= place {
        sent.resize(place + 1, None);
    }
    sent[place] = Some(part);
}
