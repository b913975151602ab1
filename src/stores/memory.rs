//! The memory store: `object_store`'s with a size, and with an index of names and folder markers beside it. Its objects live as long
//! as the process. What its users keep there, unfinished uploads included, is never more than its size.

mod guarded;
mod index;
mod space;

use std::borrow::Cow;
use std::sync::Arc;
use std::time::SystemTime;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::future::BoxFuture;
use object_store::path::Path;
use object_store::{Attribute, Attributes, GetOptions, ObjectMeta, ObjectStore, ObjectStoreExt, PutMode, PutOptions};

use super::object::{
    Copied, Extras, KeptTimes, ListRequest, MTIME, MtimeForm, ObjectBacked, ObjectCopy, RawPage, Replaces,
    WantedUpload, at, bare_etag, by_etag, judge_only, read_mtime, replaced,
};
use super::place::Site;
use super::{Capacity, Change, Deletion, PartLimits, PartUpload, StoreError, StoreErrorKind, StoreResult, Written};

pub(super) use guarded::kind_of as kind_of_error;
use guarded::{Deleted, Guarded};
use index::Item;
use space::{Full, Space, Taken};

/// A memory store of so many bytes under a prefix, which is empty or ends with a slash.
pub(super) fn open(name: &str, prefix: String, size: u64) -> ObjectBacked {
    let objects = Arc::new(Guarded::new(Space::new(size)));
    ObjectBacked {
        name: name.to_owned(),
        bucket: name.to_owned(),
        prefix,
        site: Site::Memory(name.to_owned()),
        extras: Arc::new(MemoryExtras { objects: Arc::clone(&objects) }),
        objects,
        limits: PartLimits {
            smallest_part: 5 << 20,
            largest_part: 5 << 30,
            most_parts: 10_000,
            largest_object: 5 << 40,
            equal_parts: false,
        },
        mtime_form: MtimeForm::Seconds,
        provenance: None,
        both: Default::default(),
        kept_times: Some(KeptTimes::default()),
    }
}

/// What `object_store`'s memory store cannot do.
#[derive(Debug)]
struct MemoryExtras {
    objects: Arc<Guarded>,
}

impl MemoryExtras {
    /// Makes a marker, or changes the time of one that is there. `moves`: as of a copy.
    fn mark(&self, prefix: &str, moves: bool, change: impl FnOnce(&mut Option<SystemTime>)) -> StoreResult<()> {
        let space = self.objects.space();
        let mut index = self.objects.index();
        if index.get(prefix).is_none() {
            let taken = match moves {
                true => space.take_for_move(prefix),
                false => Full::at("make the directory", prefix, space.take_for(prefix, 0))?,
            };
            index.set(prefix, Item::Marker { kept: None, _taken: taken });
        }
        if let Some(Item::Marker { kept, .. }) = index.get_mut(prefix) {
            change(kept);
        }
        Ok(())
    }
}

#[async_trait]
impl Extras for MemoryExtras {
    async fn list(&self, request: ListRequest<'_>) -> StoreResult<RawPage> {
        Ok(self.objects.index().page(&request))
    }

    async fn put_marker(&self, prefix: &str) -> StoreResult<()> {
        self.mark(prefix, false, |_| {})
    }

    async fn delete(&self, key: &str) -> StoreResult<()> {
        if key.ends_with('/') {
            self.objects.index().take(key);
            return Ok(());
        }
        let path = parse(key)?;
        self.objects.delete(&path).await.map_err(at("delete", key))
    }

    async fn version(&self, key: &str) -> StoreResult<Option<String>> {
        match self.objects.head(&parse(key)?).await {
            Ok(found) => Ok(Some(bare_etag(found.e_tag).unwrap_or_default())),
            Err(object_store::Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(at("look up", key)(error)),
        }
    }

    async fn delete_version(&self, key: &str, version: &str) -> StoreResult<Deletion> {
        match self.objects.delete_version(&parse(key)?, &format!("\"{version}\"")).await {
            Ok(Deleted::Gone) => Ok(Deletion::Done),
            Ok(Deleted::Before) => Ok(Deletion::WasGone),
            Ok(Deleted::Another) => Err(replaced(key)),
            Err(error) => Err(at("delete", key)(error)),
        }
    }

    async fn copy(&self, copy: ObjectCopy<'_>) -> StoreResult<Copied> {
        if copy.from.ends_with('/') {
            let time = match self.objects.index().get(copy.from) {
                Some(Item::Marker { kept, .. }) => *kept,
                _ => None,
            };
            self.mark(copy.to, copy.moves, |kept| *kept = time)?;
            return Ok(Copied::default());
        }
        let made = |found: &ObjectMeta, mut attributes: Attributes| {
            copy.judge_version(found.e_tag.as_deref())?;
            if let Some(mtime) = copy.mtime {
                attributes.insert(Attribute::Metadata(Cow::Borrowed(MTIME)), mtime.to_owned().into());
            }
            Ok::<_, StoreError>(PutOptions { mode: put_mode(copy.replaces), attributes, ..Default::default() })
        };
        let copied = self.objects.copy_sharing((&parse(copy.from)?, &parse(copy.to)?), copy.moves, made).await;
        let (source, done) = copied.map_err(at("copy", copy.from))??;
        let made = bare_etag(done.e_tag);
        Ok(Copied { source: bare_etag(source.e_tag), etag: made.clone(), made })
    }

    async fn set_mtime(&self, key: &str, mtime: &str, only: Option<&str>) -> StoreResult<Option<Change>> {
        let path = parse(key)?;
        let found = self.objects.get_opts(&path, GetOptions::new()).await.map_err(at("set the time of", key))?;
        judge_only(key, only, found.meta.e_tag.as_deref())?;
        let before = bare_etag(found.meta.e_tag.clone());
        let mut attributes = found.attributes.clone();
        attributes.insert(Attribute::Metadata(Cow::Borrowed(MTIME)), mtime.to_owned().into());
        let version = object_store::UpdateVersion { e_tag: found.meta.e_tag.clone(), version: None };
        let data = found.bytes().await.map_err(at("set the time of", key))?;
        let how = PutOptions { mode: PutMode::Update(version), attributes, ..Default::default() };
        let done = self.objects.put_again(&path, data, how).await.map_err(at("set the time of", key))?;
        Ok(Some(Change { before, after: bare_etag(done.e_tag) }))
    }

    async fn set_directory_mtime(&self, prefix: &str, mtime: &str) -> StoreResult<bool> {
        self.mark(prefix, false, |kept| *kept = read_mtime(mtime)).map(|()| true)
    }

    fn capacity(&self) -> Option<Capacity> {
        Some(self.objects.space().capacity())
    }

    async fn begin_upload(&self, wanted: WantedUpload) -> StoreResult<Box<dyn PartUpload>> {
        let objects = Arc::clone(&self.objects);
        let taken =
            Full::at("begin the upload of", wanted.path.as_ref(), objects.space().take_for(wanted.path.as_ref(), 0))?;
        Ok(Box::new(MemoryUpload { objects, wanted, parts: Vec::new(), taken: Some(taken) }))
    }
}

/// An upload in parts, which are kept until they become one object.
struct MemoryUpload {
    objects: Arc<Guarded>,
    wanted: WantedUpload,
    parts: Vec<Bytes>,
    /// The room for the parts; gone once the upload is settled.
    taken: Option<Taken>,
}

impl MemoryUpload {
    fn take_part(&mut self, part: Vec<Bytes>) -> StoreResult<()> {
        let Some(taken) = &mut self.taken else { return Err(finished(&self.wanted)) };
        let length = part.iter().map(|piece| piece.len() as u64).sum();
        taken.merge(Full::at("write", self.wanted.path.as_ref(), self.objects.space().take(length))?);
        // As bytes of its own: a piece may be the small rest of something large.
        self.parts.push(part.concat().into());
        Ok(())
    }
}

fn finished(wanted: &WantedUpload) -> StoreError {
    StoreError::new(StoreErrorKind::Other, format!("the upload of \"{}\" is finished already", wanted.key))
}

#[async_trait]
impl PartUpload for MemoryUpload {
    fn put_part(&mut self, part: Vec<Bytes>) -> BoxFuture<'static, StoreResult<()>> {
        let done = self.take_part(part);
        Box::pin(async { done })
    }

    fn replaces_parts(&self) -> bool {
        true
    }

    fn replace_part(&mut self, place: usize, part: Vec<Bytes>) -> BoxFuture<'static, StoreResult<()>> {
        let known = self.parts.get_mut(place).map(|there| *there = part.concat().into());
        let missing = move || StoreError::new(StoreErrorKind::Other, format!("there is no part {}", place + 1));
        Box::pin(async move { known.ok_or_else(missing) })
    }

    fn base_on(&mut self, version: &str) {
        self.wanted.based_on = Some(version.to_owned());
    }

    fn refuse_existing(&mut self) {
        self.wanted.existing = super::Existing::Refuse;
    }

    async fn complete(&mut self) -> StoreResult<Written> {
        let Some(taken) = self.taken.take() else { return Err(finished(&self.wanted)) };
        let mode = put_mode(Replaces::of(self.wanted.existing, self.wanted.based_on.as_deref()));
        let attributes = self.wanted.options.attributes.clone();
        let how = PutOptions { mode, attributes, ..Default::default() };
        let done = self.objects.put_taken(&self.wanted.path, std::mem::take(&mut self.parts), how, taken).await;
        let done = done.map_err(at("finish the upload of", &self.wanted.key))?;
        let etag = bare_etag(done.e_tag);
        Ok(Written { version: etag.clone(), etag, mtime_kept: self.wanted.mtime_kept, provenance: None })
    }

    async fn abort(&mut self) -> StoreResult<()> {
        self.taken = None;
        self.parts = Vec::new();
        Ok(())
    }
}

fn put_mode(replaces: Replaces<'_>) -> PutMode {
    match replaces {
        Replaces::Anything => PutMode::Overwrite,
        Replaces::Nothing => PutMode::Create,
        Replaces::Version(version) => PutMode::Update(by_etag(version)),
    }
}

fn parse(key: &str) -> StoreResult<Path> {
    Path::parse(key).map_err(|error| {
        StoreError::with_source(StoreErrorKind::InvalidName, format!("the store cannot hold \"{key}\""), error)
    })
}
