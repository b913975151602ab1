//! A store that the embedding program brings along: any `ObjectStore`, with what that trait cannot say put on top.
//!
//! An empty directory is an object of the name [`MARKER`] in it, which no client sees or reaches. The trait has no pages, so a listing
//! holds one directory at a time, and the rename of a directory all of its keys. Neither has it conditional copies and uploads in parts:
//! there the store is asked right before. Modification times are the store's own; none is kept.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::future::BoxFuture;
use futures_util::stream::{BoxStream, StreamExt};
use object_store::path::Path;
use object_store::{
    CopyMode, CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore, ObjectStoreExt,
    PutMultipartOptions, PutOptions, PutPayload, PutResult, UpdateVersion,
};

use super::object::{
    Copied, Extras, ListRequest, ListedTime, MtimeForm, ObjectBacked, ObjectCopy, RawObject, RawPage, Replaces,
    WantedUpload, at, bare_etag, by_etag, exists, replaced,
};
use super::place::Site;
use super::{
    Change, Deletion, Existing, PartLimits, PartUpload, Store, StoreError, StoreErrorKind, StoreResult, Written,
};

/// The object that stands for an empty directory.
const MARKER: &str = ".lockgate-directory";

/// A question for no more keys than this only asks whether there are any.
const IS_THERE_ANY: usize = 2;

/// The store of this name, made of an `ObjectStore`.
pub fn adapt(name: &str, objects: Arc<dyn ObjectStore>) -> Arc<dyn Store> {
    let objects = Arc::new(Observed { inner: objects, quotes: AtomicBool::new(true) });
    Arc::new(ObjectBacked {
        name: name.to_owned(),
        bucket: name.to_owned(),
        prefix: String::new(),
        site: site(name),
        extras: Arc::new(Plain { objects: objects.clone() }),
        objects,
        limits: PartLimits {
            smallest_part: 5 << 20,
            largest_part: 5 << 30,
            most_parts: 10_000,
            largest_object: 5 << 40,
            equal_parts: true,
        },
        mtime_form: MtimeForm::NotKept,
        provenance: None,
        both: Default::default(),
        kept_times: None,
    })
}

/// Where such a store is: each name is a place of its own.
pub(super) fn site(name: &str) -> Site {
    Site::Own(name.to_owned())
}

/// The embedding program's store, and whether its entity tags have quotes: conditions have to repeat them.
#[derive(Debug)]
struct Observed {
    inner: Arc<dyn ObjectStore>,
    quotes: AtomicBool,
}

impl Observed {
    fn note(&self, etag: Option<&str>) {
        if let Some(etag) = etag {
            self.quotes.store(etag.starts_with('"'), Ordering::Relaxed);
        }
    }
}

impl fmt::Display for Observed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.fmt(f)
    }
}

#[async_trait]
impl ObjectStore for Observed {
    async fn put_opts(&self, path: &Path, data: PutPayload, how: PutOptions) -> object_store::Result<PutResult> {
        self.inner.put_opts(path, data, how).await.inspect(|done| self.note(done.e_tag.as_deref()))
    }

    async fn put_multipart_opts(
        &self,
        path: &Path,
        how: PutMultipartOptions,
    ) -> object_store::Result<Box<dyn MultipartUpload>> {
        self.inner.put_multipart_opts(path, how).await
    }

    async fn get_opts(&self, path: &Path, how: GetOptions) -> object_store::Result<GetResult> {
        self.inner.get_opts(path, how).await.inspect(|found| self.note(found.meta.e_tag.as_deref()))
    }

    fn delete_stream(
        &self,
        paths: BoxStream<'static, object_store::Result<Path>>,
    ) -> BoxStream<'static, object_store::Result<Path>> {
        self.inner.delete_stream(paths)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, object_store::Result<ObjectMeta>> {
        self.inner.list(prefix)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> object_store::Result<ListResult> {
        self.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, how: CopyOptions) -> object_store::Result<()> {
        self.inner.copy_opts(from, to, how).await
    }
}

/// What the trait cannot say, made of what it can.
#[derive(Debug)]
struct Plain {
    objects: Arc<Observed>,
}

impl Plain {
    async fn look(&self, key: &str) -> StoreResult<Option<ObjectMeta>> {
        match self.objects.head(&parse(key)?).await {
            Ok(found) => Ok(Some(found)),
            Err(object_store::Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(at("look up", key)(error)),
        }
    }

    /// Fails unless what has the name may be replaced now.
    async fn may_replace(&self, key: &str, replaces: Replaces<'_>) -> StoreResult<()> {
        match replaces {
            Replaces::Anything => Ok(()),
            Replaces::Nothing if self.look(key).await?.is_some() => Err(exists(key)),
            Replaces::Nothing => Ok(()),
            Replaces::Version(version) => match self.version(key).await? {
                Some(found) if found == version => Ok(()),
                _ => Err(replaced(key)),
            },
        }
    }
}

#[async_trait]
impl Extras for Plain {
    fn judge(&self, key: &str) -> StoreResult<()> {
        if key.split('/').any(|name| name == MARKER) {
            let message = format!("the name {MARKER} is the gateway's own");
            return Err(StoreError::new(StoreErrorKind::InvalidName, message));
        }
        Ok(())
    }

    async fn list(&self, request: ListRequest<'_>) -> StoreResult<RawPage> {
        let prefix = Some(request.prefix.trim_end_matches('/')).filter(|prefix| !prefix.is_empty());
        let prefix = prefix.map(parse).transpose()?;
        let failed = |error| at("list", request.prefix)(error);
        let mut page = RawPage::default();
        if request.delimited {
            let listed = self.objects.list_with_delimiter(prefix.as_ref()).await.map_err(failed)?;
            page.objects = listed.objects.into_iter().map(raw).collect();
            page.prefixes = listed.common_prefixes.into_iter().map(|prefix| format!("{prefix}/")).collect();
        } else {
            let mut objects = self.objects.list(prefix.as_ref());
            while let Some(object) = objects.next().await {
                if request.most <= IS_THERE_ANY && page.objects.len() == request.most {
                    page.next = Some(request.prefix.to_owned());
                    break;
                }
                page.objects.push(raw(object.map_err(|error| at("list", request.prefix)(error))?));
            }
        }
        page.objects.sort_by(|one, other| one.key.cmp(&other.key));
        page.prefixes.sort();
        Ok(page)
    }

    async fn put_marker(&self, prefix: &str) -> StoreResult<()> {
        let done = self.objects.put(&parse(prefix)?, PutPayload::new()).await;
        done.map(drop).map_err(at("make the directory", prefix))
    }

    async fn delete(&self, key: &str) -> StoreResult<()> {
        match self.objects.delete(&parse(key)?).await {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
            Err(error) => Err(at("delete", key)(error)),
        }
    }

    async fn version(&self, key: &str) -> StoreResult<Option<String>> {
        Ok(self.look(key).await?.map(|found| bare_etag(found.e_tag).unwrap_or_default()))
    }

    async fn delete_version(&self, key: &str, version: &str) -> StoreResult<Deletion> {
        match self.version(key).await? {
            Some(found) if found == version => self.delete(key).await.map(|()| Deletion::Done),
            Some(_) => Err(replaced(key)),
            None => Ok(Deletion::WasGone),
        }
    }

    fn condition(&self, version: &str) -> UpdateVersion {
        match self.objects.quotes.load(Ordering::Relaxed) {
            true => by_etag(version),
            false => UpdateVersion { e_tag: Some(version.to_owned()), version: None },
        }
    }

    async fn copy(&self, copy: ObjectCopy<'_>) -> StoreResult<Copied> {
        if copy.from.ends_with('/') {
            self.put_marker(copy.to).await?;
            return Ok(Copied::default());
        }
        let Some(source) = self.look(copy.from).await? else {
            return Err(StoreError::new(StoreErrorKind::NotFound, format!("\"{}\" does not exist", copy.from)));
        };
        copy.judge_version(source.e_tag.as_deref())?;
        let (from, to) = (parse(copy.from)?, parse(copy.to)?);
        let mode = if copy.replaces == Replaces::Nothing { CopyMode::Create } else { CopyMode::Overwrite };
        if let Replaces::Version(_) = copy.replaces {
            self.may_replace(copy.to, copy.replaces).await?;
        }
        self.objects.copy_opts(&from, &to, CopyOptions::new().with_mode(mode)).await.map_err(at("copy", copy.from))?;
        let made = self.version(copy.to).await?;
        Ok(Copied { source: bare_etag(source.e_tag), etag: made.clone(), made })
    }

    async fn set_mtime(&self, _key: &str, _mtime: &str, _only: Option<&str>) -> StoreResult<Option<Change>> {
        Ok(None)
    }

    async fn set_directory_mtime(&self, _prefix: &str, _mtime: &str) -> StoreResult<bool> {
        Ok(false)
    }

    async fn begin_upload(&self, wanted: WantedUpload) -> StoreResult<Box<dyn PartUpload>> {
        let begun = self.objects.put_multipart_opts(&wanted.path, wanted.options.clone()).await;
        let upload = Mutex::new(begun.map_err(at("begin the upload of", &wanted.key))?);
        let store = Plain { objects: self.objects.clone() };
        Ok(Box::new(Parts { store, upload, wanted, has_part: false, settled: false }))
    }
}

/// An upload in parts. The store takes no condition with it, so it is asked right before the upload is completed.
struct Parts {
    store: Plain,
    /// Never locked: it only makes the upload one that tasks may share.
    upload: Mutex<Box<dyn MultipartUpload>>,
    wanted: WantedUpload,
    has_part: bool,
    settled: bool,
}

impl Parts {
    fn upload(&mut self) -> &mut dyn MultipartUpload {
        self.upload.get_mut().unwrap_or_else(PoisonError::into_inner).as_mut()
    }
}

#[async_trait]
impl PartUpload for Parts {
    fn put_part(&mut self, part: Vec<Bytes>) -> BoxFuture<'static, StoreResult<()>> {
        self.has_part = true;
        let (sending, key) = (self.upload().put_part(PutPayload::from_iter(part)), self.wanted.key.clone());
        Box::pin(async move { sending.await.map_err(at("write a part of", key)) })
    }

    fn base_on(&mut self, version: &str) {
        self.wanted.based_on = Some(version.to_owned());
    }

    fn refuse_existing(&mut self) {
        self.wanted.existing = Existing::Refuse;
    }

    async fn complete(&mut self) -> StoreResult<Written> {
        if self.settled {
            let message = format!("the upload of \"{}\" is finished already", self.wanted.key);
            return Err(StoreError::new(StoreErrorKind::Other, message));
        }
        if !self.has_part {
            self.put_part(Vec::new()).await?;
        }
        let replaces = Replaces::of(self.wanted.existing, self.wanted.based_on.as_deref());
        self.store.may_replace(self.wanted.path.as_ref(), replaces).await?;
        let key = self.wanted.key.clone();
        let done = self.upload().complete().await.map_err(at("finish the upload of", key))?;
        self.settled = true;
        let etag = bare_etag(done.e_tag);
        Ok(Written { version: etag.clone(), etag, mtime_kept: false, provenance: None })
    }

    async fn abort(&mut self) -> StoreResult<()> {
        if self.settled {
            return Ok(());
        }
        let key = self.wanted.key.clone();
        match self.upload().abort().await {
            Ok(()) | Err(object_store::Error::NotFound { .. } | object_store::Error::NotImplemented { .. }) => {
                self.settled = true;
                Ok(())
            }
            Err(error) => Err(at("remove the parts of", key)(error)),
        }
    }
}

/// A key as the program's store has it: the marker of a directory is an object in it.
fn parse(key: &str) -> StoreResult<Path> {
    let key = if key.ends_with('/') { format!("{key}{MARKER}") } else { key.to_owned() };
    Path::parse(&key).map_err(|error| {
        StoreError::with_source(StoreErrorKind::InvalidName, format!("the store cannot hold \"{key}\""), error)
    })
}

/// The way back.
fn raw(object: ObjectMeta) -> RawObject {
    let key = String::from(object.location);
    let is_marker = key.rsplit('/').next() == Some(MARKER);
    let key = if is_marker { key.trim_end_matches(MARKER).to_owned() } else { key };
    RawObject {
        key,
        size: object.size,
        modified: Some(object.last_modified.into()),
        kept: ListedTime::Listed(None),
        etag: bare_etag(object.e_tag),
        number: None,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use object_store::memory::InMemory;

    use super::*;
    use crate::stores::{Key, Kind, PutOptions};

    fn key(text: &str) -> Key {
        Key::parse(text).unwrap()
    }

    fn how(existing: Existing) -> PutOptions {
        PutOptions { existing, mtime: None, based_on: None, provenance: None, takes_parts: false }
    }

    async fn names(store: &dyn Store, directory: &str) -> Vec<(String, Kind)> {
        let page = store.list(&key(directory), None).await.unwrap();
        assert!(page.next.is_none());
        page.entries.into_iter().map(|entry| (entry.name, entry.stat.kind)).collect()
    }

    #[tokio::test]
    async fn directories_last_while_they_are_empty_and_their_markers_are_out_of_reach() {
        let store = adapt("mine", Arc::new(InMemory::new()));
        store.make_directory(&key("in")).await.unwrap();
        assert_eq!(store.stat(&key("in")).await.unwrap().kind, Kind::Directory);
        assert_eq!(names(&*store, "").await, [("in".to_owned(), Kind::Directory)]);
        assert!(names(&*store, "in").await.is_empty());
        let marker = key("in/.lockgate-directory");
        assert_eq!(store.open(&marker).await.unwrap_err().kind, StoreErrorKind::InvalidName);
        assert_eq!(store.delete(&marker).await.unwrap_err().kind, StoreErrorKind::InvalidName);

        store.put(&key("in/a"), vec!["one".into()], &how(Existing::Refuse)).await.unwrap();
        let refused = store.remove_directory(&key("in")).await.unwrap_err();
        assert_eq!(refused.kind, StoreErrorKind::DirectoryNotEmpty);
        store.rename_directory(&key("in"), &key("out")).await.unwrap();
        assert_eq!(names(&*store, "out").await, [("a".to_owned(), Kind::File)]);
        store.delete(&key("out/a")).await.unwrap();
        assert_eq!(names(&*store, "").await, [("out".to_owned(), Kind::Directory)]);
        store.remove_directory(&key("out")).await.unwrap();
        assert!(names(&*store, "").await.is_empty());
    }

    #[tokio::test]
    async fn nobody_is_replaced_unasked() {
        let store = adapt("mine", Arc::new(InMemory::new()));
        let first = store.put(&key("a"), vec!["one".into()], &how(Existing::Refuse)).await.unwrap();
        let taken = store.put(&key("a"), vec!["two".into()], &how(Existing::Refuse)).await.unwrap_err();
        assert_eq!(taken.kind, StoreErrorKind::AlreadyExists);
        let based = |version: &Option<String>| PutOptions { based_on: version.clone(), ..how(Existing::Replace) };
        store.put(&key("a"), vec!["three".into()], &based(&first.version)).await.unwrap();
        let stale = store.put(&key("a"), vec!["four".into()], &based(&first.version)).await.unwrap_err();
        assert_eq!(stale.kind, StoreErrorKind::Changed);

        let crate::stores::Upload::Parts(mut upload) =
            store.begin_upload(&key("b"), &how(Existing::Refuse)).await.unwrap()
        else {
            panic!("an upload in parts");
        };
        upload.put_part(vec!["five".into()]).await.unwrap();
        store.put(&key("b"), vec!["six".into()], &how(Existing::Refuse)).await.unwrap();
        assert_eq!(upload.complete().await.unwrap_err().kind, StoreErrorKind::AlreadyExists);
        upload.abort().await.unwrap();
        store.rename(&key("b"), &key("c"), Existing::Refuse, None).await.unwrap();
        let read = store.open(&key("c")).await.unwrap().read(0, 10).await.unwrap();
        assert_eq!(read, "six");
        let refused = store.rename(&key("a"), &key("c"), Existing::Refuse, None).await.unwrap_err();
        assert_eq!(refused.kind, StoreErrorKind::AlreadyExists);
    }
}
