//! Stores of whole objects under keys: S3, Google Cloud Storage, Azure Blob Storage and memory.
//!
//! One [`ObjectBacked`] serves them all. Plain reads and writes go through `object_store`; what its trait cannot say is asked
//! of [`Extras`]. Requests on S3, held by `tests/conformance/call_counts.rs`: stat of a file one, of anything else two, open one, read
//! one, put one, an upload two and its parts, delete one, make_directory one, remove_directory two, a page of a listing one, rename of a
//! file four (of one that was just made three), of a directory of n files 5n + 3, a copy two, set_mtime two (of what was just made one).
//! Not to replace costs an upload and a rename one more.
//! Where the server deletes on a condition (`conditional_deletes`: AWS does), a rename costs one less for each file.
//! The time of a directory's marker costs a stat on S3 one more, unless it is remembered.
//! Google Cloud Storage: set_mtime one. Azure: remove_directory five, because a marker stands beside its prefix and has two
//! forms; for the first missing name one more.
//!
//! The kept modification time is the metadata `mtime`, as rclone writes it. A stat and an open read it. Where the store does
//! not list metadata, a listing costs one more request for each file that it has not looked up before
//! ([`KeptTimes`]; the option `listing_times: stored` saves that).

mod both_kinds;
mod conditional;
mod extras;
mod failure;
mod kept_times;
mod listing;
mod mtime;
#[cfg(clouds)]
mod parts;
mod reader;
mod rename;

use std::borrow::Cow;
use std::sync::Arc;
use std::time::SystemTime;

use async_trait::async_trait;
use bytes::Bytes;
use object_store::path::Path;
use object_store::{Attribute, Attributes, GetOptions, ObjectStore, PutMode, PutMultipartOptions, PutPayload};

pub(super) use both_kinds::BothKinds;
pub(super) use extras::{
    Copied, Extras, IF_MATCH, IF_NONE_MATCH, ListRequest, ListedTime, MarkerTime, ObjectCopy, RawObject, RawPage,
    Replaces, TOKEN, WantedUpload, by_etag, judge_only, token,
};
pub(super) use failure::{
    at, describe, describe_connection, element, exists, kind_of_code, kind_of_status, replaced, was_cut,
    without_credentials, without_number,
};
pub(super) use kept_times::KeptTimes;
pub(super) use mtime::{FOLDER, MTIME, MtimeForm, bare_etag, kept_time, read as read_mtime};
#[cfg(clouds)]
pub(super) use parts::{MultipartBackend, PartCopy, PartedUpload, Publish, SentParts};

use super::error::hidden_in;
use super::place::{Place, Site};
use super::provenance::Names;
use super::{
    Capacity, Change, Deletion, Existing, Key, Kind, Locks, Made, Object, Page, PageToken, PartLimits, Provenance,
    PutOptions, Stat, Store, StoreError, StoreErrorKind, StoreResult, Upload, Written,
};

/// The longest key that the stores take, in bytes.
const LONGEST_KEY: usize = 1_024;

/// How often a modification time is set again because the object was changed in between.
const MTIME_TRIES: usize = 5;

/// A store of objects.
#[derive(Debug)]
pub(super) struct ObjectBacked {
    /// The name in the configuration.
    pub(super) name: String,
    /// The bucket or container; the store's name in memory.
    pub(super) bucket: String,
    /// What stands before every key: empty, or the URL's path with a slash at its end.
    pub(super) prefix: String,
    /// What keeps the bucket, whatever it is called.
    pub(super) site: Site,
    /// Plain reads and writes.
    pub(super) objects: Arc<dyn ObjectStore>,
    /// Everything else.
    pub(super) extras: Arc<dyn Extras>,
    /// Limits of uploads in parts.
    pub(super) limits: PartLimits,
    /// How the store's tools write the kept modification time.
    pub(super) mtime_form: MtimeForm,
    /// Under which names objects say where they come from; `None`: they do not.
    pub(super) provenance: Option<Names>,
    /// Names that listings showed as files and as directories.
    pub(super) both: BothKinds,
    /// Times that listings look up, where the store does not list metadata; `None`: listings show the store's times.
    pub(super) kept_times: Option<KeptTimes>,
}

impl ObjectBacked {
    /// The whole key in the bucket.
    fn full(&self, key: &Key) -> String {
        format!("{}{key}", self.prefix)
    }

    /// The whole prefix of a directory, with a slash at its end; empty for a root without a prefix.
    fn full_prefix(&self, key: &Key) -> String {
        format!("{}{}", self.prefix, key.as_prefix())
    }

    /// The whole key as `object_store` takes it: raw, never percent-encoded.
    fn path(&self, key: &Key) -> StoreResult<Path> {
        if key.is_root() {
            return Err(StoreError::new(StoreErrorKind::IsADirectory, "the root of the store is a directory"));
        }
        let full = self.full(key);
        if full.len() > LONGEST_KEY {
            let message = format!("the key \"{full}\" is longer than {LONGEST_KEY} bytes");
            return Err(StoreError::new(StoreErrorKind::InvalidName, message));
        }
        self.extras.judge(&full)?;
        Path::parse(&full).map_err(|error| {
            StoreError::with_source(StoreErrorKind::InvalidName, format!("the store cannot hold \"{key}\""), error)
        })
    }

    /// Looks an object up; `None` when there is none.
    async fn head(&self, key: &Key) -> StoreResult<Option<Stat>> {
        match self.objects.get_opts(&self.path(key)?, GetOptions::new().with_head(true)).await {
            Ok(found) => {
                let stat = mtime::stat_of(&found.meta, &found.attributes);
                if let Some(times) = &self.kept_times {
                    times.learn(&self.full(key), &stat, found.meta.last_modified.into());
                }
                Ok(Some(stat))
            }
            Err(object_store::Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(at("look up", key)(error)),
        }
    }

    /// The directory's attributes; `None` when there is no key under it. A marker gives it a time.
    async fn directory(&self, key: &Key) -> StoreResult<Option<Stat>> {
        let prefix = self.full_prefix(key);
        if prefix.len() > LONGEST_KEY {
            return Ok(None);
        }
        let page = self.extras.list(ListRequest { prefix: &prefix, delimited: false, from: None, most: 1 }).await?;
        let mtime = match page.objects.first().filter(|first| first.key == prefix) {
            Some(marker) => kept_times::of_marker(self, marker).await,
            None => None,
        };
        let exists = !page.objects.is_empty() || page.skipped.count > 0;
        Ok(exists.then_some(Stat { kind: Kind::Directory, size: 0, mtime, etag: None }))
    }

    /// The metadata of a new object.
    fn attributes(&self, options: &PutOptions) -> Attributes {
        let mut attributes = Attributes::new();
        if let (Some(provenance), Some(names)) = (&options.provenance, self.provenance) {
            provenance.add_to(&mut attributes, names);
        }
        if let Some(text) = options.mtime.and_then(|time| self.mtime_form.write(time)) {
            attributes.insert(Attribute::Metadata(Cow::Borrowed(MTIME)), text.into());
        }
        attributes
    }

    /// What the answer to a put says.
    fn stored(&self, etag: Option<String>, number: Option<String>) -> Written {
        let etag = mtime::bare_etag(etag);
        let version = if self.extras.reads_by_version() { number } else { etag.clone() };
        Written { etag, mtime_kept: false, version, provenance: None }
    }

    /// What the metadata of a new object says of where it comes from.
    fn kept_provenance(&self, options: &PutOptions) -> Option<Provenance> {
        options.provenance.clone().filter(|_| self.provenance.is_some())
    }

    fn keeps(&self, mtime: Option<SystemTime>) -> bool {
        mtime.is_some_and(|time| self.mtime_form.write(time).is_some())
    }
}

#[async_trait]
impl Store for ObjectBacked {
    fn name(&self) -> &str {
        &self.name
    }

    fn place(&self) -> Place {
        Place::of_key(self.site.clone(), &self.prefix)
    }

    fn event_path(&self, key: &Key) -> String {
        let full = self.full(key);
        let full = full.trim_end_matches('/');
        if full.is_empty() { format!("/{}", self.bucket) } else { format!("/{}/{full}", self.bucket) }
    }

    fn part_limits(&self) -> PartLimits {
        self.limits
    }

    async fn stat(&self, key: &Key) -> StoreResult<Stat> {
        if key.is_root() {
            return Ok(Stat { kind: Kind::Directory, size: 0, mtime: None, etag: None });
        }
        let file = match self.head(key).await {
            // The marker of a directory under its own name (Azure) is enough as well.
            Ok(Some(found)) if found.kind == Kind::Directory || !self.both.has(&self.full(key)) => return Ok(found),
            // Some servers fail each look at a name that is a folder on their disk.
            found => found,
        };
        match (file, self.directory(key).await) {
            (_, Ok(Some(directory))) => Ok(directory),
            (Ok(Some(file)), Ok(None)) => {
                self.both.forget(&self.full(key));
                Ok(file)
            }
            (Ok(None), Ok(None)) => {
                Err(StoreError::plain(StoreErrorKind::NotFound, format!("\"{key}\" does not exist")))
            }
            // Credentials may allow to read objects and not to list them.
            (Ok(Some(file)), Err(error)) if error.kind == StoreErrorKind::AccessDenied => Ok(file),
            (Err(error), _) | (_, Err(error)) => Err(error),
        }
    }

    async fn list(&self, key: &Key, from: Option<PageToken>) -> StoreResult<Page> {
        listing::page(self, key, from).await
    }

    async fn open(&self, key: &Key) -> StoreResult<Arc<dyn Object>> {
        let by_version = self.extras.reads_by_version();
        let opened = reader::RemoteObject::open(Arc::clone(&self.objects), self.path(key)?, key, by_version).await?;
        Ok(Arc::new(opened))
    }

    async fn put(&self, key: &Key, data: Vec<Bytes>, options: &PutOptions) -> StoreResult<Written> {
        let path = self.path(key)?;
        let payload = PutPayload::from_iter(data);
        let attributes = self.attributes(options);
        let stored = match Replaces::of(options.existing, options.based_on.as_deref()) {
            replaces @ (Replaces::Nothing | Replaces::Version(_)) => {
                conditional::put(self, key, payload, &attributes, replaces).await?
            }
            Replaces::Anything => {
                let how = object_store::PutOptions { mode: PutMode::Overwrite, attributes, ..Default::default() };
                let done = self.objects.put_opts(&path, payload, how).await.map_err(at("write", key))?;
                self.stored(done.e_tag, done.version)
            }
        };
        Ok(Written { mtime_kept: self.keeps(options.mtime), provenance: self.kept_provenance(options), ..stored })
    }

    async fn begin_upload(&self, key: &Key, options: &PutOptions) -> StoreResult<Upload> {
        let path = self.path(key)?;
        let how = PutMultipartOptions { attributes: self.attributes(options), ..Default::default() };
        let kept = self.keeps(options.mtime);
        if options.existing == Existing::Refuse {
            self.refuse_existing(key).await?;
        }
        let (existing, based_on) = (options.existing, options.based_on.clone());
        let provenance = self.kept_provenance(options);
        let (key, takes_parts) = (key.clone(), options.takes_parts);
        let wanted =
            WantedUpload { path, options: how, key, existing, based_on, mtime_kept: kept, provenance, takes_parts };
        self.extras.begin_upload(wanted).await.map(Upload::Parts)
    }

    async fn delete(&self, key: &Key) -> StoreResult<()> {
        self.path(key)?;
        self.extras.delete(&self.full(key)).await
    }

    async fn delete_version(&self, key: &Key, version: &str) -> StoreResult<Deletion> {
        self.path(key)?;
        self.extras.delete_version(&self.full(key), version).await
    }

    async fn make_directory(&self, key: &Key) -> StoreResult<()> {
        if key.is_root() {
            return Ok(());
        }
        let prefix = self.full_prefix(key);
        if prefix.len() > LONGEST_KEY {
            let message = format!("the directory's key \"{prefix}\" is longer than {LONGEST_KEY} bytes");
            return Err(StoreError::new(StoreErrorKind::InvalidName, message));
        }
        self.forget_times(&prefix);
        self.extras.put_marker(&prefix).await
    }

    async fn remove_directory(&self, key: &Key) -> StoreResult<()> {
        let prefix = self.full_prefix(key);
        let page = self.extras.list(ListRequest { prefix: &prefix, delimited: false, from: None, most: 2 }).await?;
        let marked = page.objects.iter().any(|object| object.key == prefix);
        let others: Vec<&str> =
            page.objects.iter().map(|object| object.key.as_str()).filter(|key| *key != prefix).collect();
        if page.skipped.count > 0 || !others.is_empty() {
            let mut skipped = page.skipped.clone();
            let hidden: Vec<_> = others.iter().filter(|other| listing::is_hidden(key, &prefix, other)).collect();
            hidden.iter().for_each(|key| skipped.add(&key.as_bytes()[prefix.len()..]));
            return Err(match page.next.is_none() && hidden.len() == others.len() {
                true => hidden_in(key, &skipped),
                false => StoreError::plain(StoreErrorKind::DirectoryNotEmpty, format!("\"{key}\" is not empty")),
            });
        }
        if !marked {
            return Err(StoreError::plain(StoreErrorKind::NotFound, format!("the directory \"{key}\" does not exist")));
        }
        self.forget_times(&prefix);
        self.extras.delete(&prefix).await
    }

    async fn rename(&self, from: &Key, to: &Key, existing: Existing, only: Option<&str>) -> StoreResult<Change> {
        rename::file(self, (from, None), to, existing, only).await.map(|(change, _)| change)
    }

    async fn rename_made(
        &self,
        from: &Key,
        made: &Made,
        to: &Key,
        existing: Existing,
        only: Option<&str>,
    ) -> StoreResult<(Change, Option<Made>)> {
        rename::file(self, (from, Some(made)), to, existing, only).await
    }

    async fn rename_directory(&self, from: &Key, to: &Key) -> StoreResult<()> {
        rename::directory(self, from, to).await
    }

    fn copies(&self) -> bool {
        true
    }

    async fn copy(&self, from: &Key, version: &str, to: &Key, options: &PutOptions) -> StoreResult<Written> {
        self.path(from)?;
        self.path(to)?;
        let kept = options.mtime.and_then(|time| self.mtime_form.write(time));
        let mtime_kept = kept.is_some();
        let mtime = kept.or_else(|| self.mtime_form.write(SystemTime::now()));
        let (from, to) = (self.full(from), self.full(to));
        let copy = ObjectCopy {
            from: &from,
            to: &to,
            replaces: Replaces::of(options.existing, options.based_on.as_deref()),
            version: Some(version),
            made: None,
            mtime: mtime.as_deref(),
            moves: false,
        };
        let Copied { etag, made, .. } = self.extras.copy(copy).await?;
        Ok(Written { etag, mtime_kept, version: made, provenance: None })
    }

    async fn set_mtime(&self, key: &Key, mtime: SystemTime, only: Option<&str>) -> StoreResult<Option<Change>> {
        self.path(key)?;
        let Some(text) = self.mtime_form.write(mtime) else { return Ok(None) };
        let full = self.full(key);
        let done = match only {
            Some(_) => self.extras.set_mtime(&full, &text, only).await,
            None => again_if_changed(|| self.extras.set_mtime(&full, &text, None)).await,
        };
        self.forget_times(&full);
        done
    }

    async fn set_mtime_of_made(
        &self,
        key: &Key,
        made: &Made,
        mtime: SystemTime,
        only: Option<&str>,
    ) -> StoreResult<(Option<Change>, Option<Made>)> {
        self.path(key)?;
        let Some(text) = self.mtime_form.write(mtime) else { return Ok((None, None)) };
        let full = self.full(key);
        let done = match only {
            Some(_) => self.extras.set_mtime_of_made(&full, made, &text, only).await,
            None => again_if_changed(|| self.extras.set_mtime_of_made(&full, made, &text, None)).await,
        };
        self.forget_times(&full);
        done
    }

    async fn directories_in(&self, key: &Key) -> StoreResult<Option<Vec<String>>> {
        listing::directories(self, key).await
    }

    async fn set_directory_mtime(&self, key: &Key, mtime: SystemTime) -> StoreResult<bool> {
        let prefix = self.full_prefix(key);
        let text = self.mtime_form.write(mtime).filter(|_| !key.is_root() && prefix.len() <= LONGEST_KEY);
        let Some(text) = text else { return Ok(false) };
        let done = again_if_changed(|| self.extras.set_directory_mtime(&prefix, &text)).await;
        self.forget_times(&prefix);
        done
    }

    fn locks(&self) -> Option<Arc<dyn Locks>> {
        self.extras.locks(&self.prefix)
    }

    async fn capacity(&self) -> StoreResult<Option<Capacity>> {
        Ok(self.extras.capacity())
    }

    async fn remove_unfinished(&self) -> StoreResult<u64> {
        self.extras.remove_unfinished().await
    }

    async fn check(&self) -> StoreResult<()> {
        let request = ListRequest { prefix: &self.prefix, delimited: false, from: None, most: 1 };
        self.extras.list(request).await.map(drop)
    }
}

/// Sets a time again while somebody else's change comes in between: it goes to what is there then.
async fn again_if_changed<T, F: Future<Output = StoreResult<T>>>(set: impl Fn() -> F) -> StoreResult<T> {
    let mut done = set().await;
    for _ in 1..MTIME_TRIES {
        match &done {
            Err(error) if error.kind == StoreErrorKind::Changed => {}
            _ => break,
        }
        done = set().await;
    }
    done
}

impl ObjectBacked {
    /// The time of an object or a directory changes.
    fn forget_times(&self, full: &str) {
        if let Some(times) = &self.kept_times {
            times.forget(full);
        }
    }

    async fn refuse_existing(&self, key: &Key) -> StoreResult<()> {
        match self.head(key).await? {
            Some(_) => Err(failure::exists(key)),
            None => Ok(()),
        }
    }
}
