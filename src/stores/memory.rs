//! The memory store: `object_store`'s with a size, and with folder markers in a set beside it. Its objects live as long as the
//! process. What its users keep there, unfinished uploads included, is never more than its size.

mod guarded;
mod space;

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::future::BoxFuture;
use object_store::path::Path;
use object_store::{Attribute, GetOptions, ObjectMeta, ObjectStore, ObjectStoreExt, PutMode, PutOptions, PutPayload};

use super::object::{
    Copied, Extras, KeptTimes, ListRequest, ListedTime, MTIME, MtimeForm, ObjectBacked, ObjectCopy, RawObject, RawPage,
    Replaces, WantedUpload, at, bare_etag, by_etag, judge_only, read_mtime, replaced,
};
use super::place::Site;
use super::{Capacity, Change, Deletion, PartLimits, PartUpload, StoreError, StoreErrorKind, StoreResult, Written};

pub(super) use guarded::kind_of as kind_of_error;
use guarded::{Deleted, Guarded};
use space::{Full, Space, Taken};

/// The most listings that are kept between two pages.
const LISTINGS: usize = 16;

/// A memory store of so many bytes under a prefix, which is empty or ends with a slash.
pub(super) fn open(name: &str, prefix: String, size: u64) -> ObjectBacked {
    let objects = Arc::new(Guarded::new(Space::new(size)));
    ObjectBacked {
        name: name.to_owned(),
        bucket: name.to_owned(),
        prefix,
        site: Site::Memory(name.to_owned()),
        extras: Arc::new(MemoryExtras { objects: Arc::clone(&objects), state: Mutex::default() }),
        objects,
        limits: PartLimits {
            smallest_part: 5 << 20,
            largest_part: 5 << 30,
            most_parts: 10_000,
            largest_object: 5 << 40,
            equal_parts: false,
        },
        mtime_form: MtimeForm::Seconds,
        both: Default::default(),
        kept_times: Some(KeptTimes::default()),
    }
}

/// What `object_store`'s memory store cannot do.
#[derive(Debug)]
struct MemoryExtras {
    objects: Arc<Guarded>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// Prefixes with a marker, each with its slash, and their kept times.
    markers: BTreeMap<String, Marker>,
    /// The rest of listings under way, oldest first: gathering the names anew for each page would take quadratic time.
    listings: VecDeque<(String, Vec<Item>)>,
    last: u64,
}

/// The marker of a directory.
#[derive(Debug)]
struct Marker {
    kept: Option<SystemTime>,
    _taken: Taken,
}

/// An object or a rolled up prefix.
#[derive(Debug)]
enum Item {
    Object(RawObject),
    Prefix(String),
}

impl Item {
    fn key(&self) -> &str {
        match self {
            Item::Object(object) => &object.key,
            Item::Prefix(prefix) => prefix,
        }
    }
}

impl MemoryExtras {
    fn with<T>(&self, work: impl FnOnce(&mut State) -> T) -> T {
        work(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Everything that a listing shows, last key first.
    async fn gather(&self, prefix: &str, delimited: bool) -> StoreResult<Vec<Item>> {
        // `object_store` lists by whole components; every prefix here ends with a slash or is empty.
        let folder = Path::parse(prefix.trim_end_matches('/')).map_err(|e| at("list", prefix)(e.into()))?;
        let found = if delimited {
            self.objects.list_with_delimiter(Some(&folder)).await.map_err(at("list", prefix))?
        } else {
            use futures_util::TryStreamExt;
            let objects = self.objects.list(Some(&folder)).try_collect().await.map_err(at("list", prefix))?;
            object_store::ListResult { objects, common_prefixes: Vec::new(), extensions: Default::default() }
        };
        let mut items: Vec<Item> = found.objects.into_iter().map(|meta| Item::Object(raw(meta))).collect();
        let mut prefixes: BTreeSet<String> = found.common_prefixes.iter().map(|path| format!("{path}/")).collect();
        for (marker, time) in self.markers_below(prefix) {
            let below = marker[prefix.len()..].split_once('/').filter(|_| delimited);
            if let Some((name, _)) = below {
                prefixes.insert(format!("{prefix}{name}/"));
            }
            // A marker right below the prefix shows its time beside the prefix that it is.
            if below.is_none_or(|(_, rest)| rest.is_empty()) {
                let kept = ListedTime::Listed(time);
                items.push(Item::Object(RawObject { key: marker, kept, ..RawObject::default() }));
            }
        }
        items.extend(prefixes.into_iter().map(Item::Prefix));
        // A marker before the prefix that it is.
        let place = |item: &Item| (item.key().to_owned(), matches!(item, Item::Prefix(_)));
        items.sort_by_cached_key(|item| std::cmp::Reverse(place(item)));
        Ok(items)
    }

    fn markers_below(&self, prefix: &str) -> Vec<(String, Option<SystemTime>)> {
        self.with(|state| {
            let from = state.markers.range(prefix.to_owned()..);
            let below = from.take_while(|(marker, _)| marker.starts_with(prefix));
            below.map(|(name, marker)| (name.clone(), marker.kept)).collect()
        })
    }

    /// Makes a marker, or changes the time of one that is there.
    fn mark(&self, prefix: &str, change: impl FnOnce(&mut Option<SystemTime>)) -> StoreResult<()> {
        let space = self.objects.space();
        self.with(|state| {
            if !state.markers.contains_key(prefix) {
                let taken = Full::at("make the directory", prefix, space.take_for(prefix, 0))?;
                state.markers.insert(prefix.to_owned(), Marker { kept: None, _taken: taken });
            }
            if let Some(marker) = state.markers.get_mut(prefix) {
                change(&mut marker.kept);
            }
            Ok(())
        })
    }
}

fn raw(meta: ObjectMeta) -> RawObject {
    RawObject {
        key: meta.location.into(),
        size: meta.size,
        modified: Some(meta.last_modified.into()),
        etag: meta.e_tag.map(|tag| tag.trim_matches('"').to_owned()),
        kept: ListedTime::NotListed,
        number: None,
    }
}

#[async_trait]
impl Extras for MemoryExtras {
    async fn list(&self, request: ListRequest<'_>) -> StoreResult<RawPage> {
        let kept = request.from.map(|from| {
            self.with(|state| {
                let place = state.listings.iter().position(|(token, _)| token == from)?;
                state.listings.remove(place).map(|(_, items)| items)
            })
        });
        let mut items = match kept {
            Some(Some(items)) => items,
            // Pushed out by others: gathered anew, from behind the last key of the page before.
            Some(None) => {
                let after = request.from.and_then(|from| from.split_once(':')).map_or("", |(_, last)| last);
                let mut items = self.gather(request.prefix, request.delimited).await?;
                items.retain(|item| item.key() > after);
                items
            }
            None => self.gather(request.prefix, request.delimited).await?,
        };
        let mut page = RawPage::default();
        let mut last = String::new();
        for item in items.split_off(items.len().saturating_sub(request.most)).into_iter().rev() {
            item.key().clone_into(&mut last);
            match item {
                Item::Object(object) => page.objects.push(object),
                Item::Prefix(prefix) => page.prefixes.push(prefix),
            }
        }
        // A look at the first keys only is not a listing that goes on.
        if !items.is_empty() {
            page.next = Some(self.with(|state| {
                state.last += 1;
                let token = format!("{}:{last}", state.last);
                if request.most >= 100 {
                    state.listings.push_back((token.clone(), items));
                    if state.listings.len() > LISTINGS {
                        state.listings.pop_front();
                    }
                }
                token
            }));
        }
        Ok(page)
    }

    async fn put_marker(&self, prefix: &str) -> StoreResult<()> {
        self.mark(prefix, |_| {})
    }

    async fn delete(&self, key: &str) -> StoreResult<()> {
        if key.ends_with('/') {
            self.with(|state| state.markers.remove(key));
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
            let time = self.with(|state| state.markers.get(copy.from).and_then(|marker| marker.kept));
            self.mark(copy.to, |kept| *kept = time)?;
            return Ok(Copied::default());
        }
        let failed = || at("copy", copy.from);
        let found = self.objects.get_opts(&parse(copy.from)?, GetOptions::new()).await.map_err(failed())?;
        copy.judge_version(found.meta.e_tag.as_deref())?;
        let mut attributes = found.attributes.clone();
        if let Some(mtime) = copy.mtime {
            attributes.insert(Attribute::Metadata(Cow::Borrowed(MTIME)), mtime.to_owned().into());
        }
        let mode = put_mode(copy.replaces);
        let source = bare_etag(found.meta.e_tag.clone());
        let data = found.bytes().await.map_err(failed())?;
        let how = PutOptions { mode, attributes, ..Default::default() };
        let done = self.objects.put_opts(&parse(copy.to)?, PutPayload::from(data), how).await.map_err(failed())?;
        let made = bare_etag(done.e_tag);
        Ok(Copied { source, etag: made.clone(), made })
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
        self.mark(prefix, |kept| *kept = read_mtime(mtime)).map(|()| true)
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
        Ok(Written { version: etag.clone(), etag, mtime_kept: self.wanted.mtime_kept })
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
