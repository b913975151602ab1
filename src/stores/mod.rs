//! Stores: where bytes are kept. Turns configuration into stores and hides what sets them apart.
//!
//! [`Store`] is what `vfs` builds on. It is wider than `object_store`'s trait because that one cannot say folder markers,
//! pages, copies over 5 GiB, metadata changes, or files that are written in any order. The cloud stores and the memory store
//! wrap an `object_store`; the local store is ours, so that symbolic links cannot lead out of an entry's folder.
//!
//! A build may lack clouds (the features `s3`, `gcs`, `azure`). What they share is not cut to fit those that are left.

mod at_once;
#[cfg(feature = "azure")]
mod azure;
mod copied;
mod error;
#[cfg(feature = "gcs")]
mod google;
mod key;
mod local;
#[cfg_attr(not(all_clouds), allow(dead_code))]
mod locks;
mod memory;
#[cfg_attr(not(all_clouds), allow(dead_code, unused_imports))]
mod object;
mod open;
mod own;
#[cfg_attr(not(all_clouds), allow(dead_code))]
mod place;
#[cfg_attr(not(all_clouds), allow(dead_code))]
mod provenance;
#[cfg(clouds)]
#[cfg_attr(not(all_clouds), allow(dead_code, unused_imports))]
mod rest;
#[cfg(feature = "s3")]
mod s3;
mod sftp;
mod skipped;
mod timed;
mod unfinished;
mod uploads;

use std::fmt;
use std::sync::Arc;
use std::time::SystemTime;

use async_trait::async_trait;
use bytes::Bytes;

use crate::descriptors::Idle;

pub use at_once::AtOnce;
pub use copied::CopiedVersions;
pub use error::{Fault, StoreError, StoreErrorKind};
pub use key::{Key, KeyError};
pub use locks::{Lock, LockMode, LockRule, Locks, StoredVersion, can_lock};
pub use open::NO_OPTION;
pub use own::adapt;
pub use place::{Place, real_path, real_path_below};
pub use provenance::Provenance;
pub use skipped::Skipped;
pub use timed::timed;
pub use unfinished::Unfinished;
pub use uploads::{FileUpload, PartUpload, Upload};

/// The result of a call to a store.
pub type StoreResult<T> = Result<T, StoreError>;

/// Whether a name is a file or a directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// An object.
    File,
    /// A prefix with keys under it or with a marker; a real directory in the local store.
    Directory,
}

/// What a store knows about a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stat {
    /// File or directory.
    pub kind: Kind,
    /// Length in bytes; 0 for a directory.
    pub size: u64,
    /// Last change: the kept mtime where the store keeps one, else the store's own time. `None` for a prefix without a marker.
    pub mtime: Option<SystemTime>,
    /// The version's entity tag, without quotes, where the store has one.
    pub etag: Option<String>,
}

/// One name of a listing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The last component.
    pub name: String,
    /// What is known without a request for each entry.
    pub stat: Stat,
}

/// One page of a listing.
#[derive(Debug, Default)]
pub struct Page {
    /// The entries, none twice, within a page and over all pages. `a` beside `a/` shows as the directory.
    pub entries: Vec<Entry>,
    /// Raw keys that cannot be shown (`a//b`, control characters), at most a few a page, and how many there were.
    pub skipped: Skipped,
    /// Where the next page starts; `None` after the last.
    pub next: Option<PageToken>,
    /// On the first page, the directory's own last change, where the store tells it without another request.
    pub changed: Option<SystemTime>,
    /// The directory's own marker was found, so that it is one even without entries.
    pub is_marked: bool,
}

/// A place in a listing. Opaque; good for the store that gave it and the same directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PageToken(pub(crate) String);

/// How a new object treats one that has its name already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Existing {
    /// Replace it, in one step.
    Replace,
    /// Fail with [`StoreErrorKind::AlreadyExists`], never replace.
    Refuse,
}

/// What a new object gets besides its bytes.
#[derive(Debug, Clone)]
pub struct PutOptions {
    /// What happens to an object of that name.
    pub existing: Existing,
    /// The modification time to keep, where the store can.
    pub mtime: Option<SystemTime>,
    /// The version ([`Object::version`]) that the new content was made from: the object replaces that one and no other, not even
    /// none; else it fails with [`StoreErrorKind::Changed`]. Only with [`Existing::Replace`].
    pub based_on: Option<String>,
    /// What its metadata says of where it comes from, where the store keeps metadata and the operator wants that.
    pub provenance: Option<Provenance>,
    /// Of an upload: it is to take parts of the object that is there ([`PartUpload::copy_part`]), where the store can.
    pub takes_parts: bool,
}

/// What a store says of an object that it has just taken.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Written {
    /// The version's entity tag, without quotes, where the store has one.
    pub etag: Option<String>,
    /// Whether the wanted mtime was kept.
    pub mtime_kept: bool,
    /// What names this version, as [`Object::version`], where the store tells it with its answer.
    pub version: Option<String>,
    /// What its metadata says of where it comes from.
    pub provenance: Option<Provenance>,
}

/// What was changed, and what it became: versions as [`Object::version`], where the store tells them without another request.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Change {
    /// The version that was there.
    pub before: Option<String>,
    /// The version that it became.
    pub after: Option<String>,
}

/// What became of a version that was to be deleted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Deletion {
    /// It was deleted, or may have been: the answer to an earlier try may be lost.
    Done,
    /// It was gone before it could be deleted here: somebody else has removed or renamed it.
    WasGone,
}

/// An object that this gateway has made whole, with all the metadata that it gave it: its store need not look at it before the
/// object is copied. That it is this version still is a condition of the copy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Made {
    /// The version's entity tag, without quotes.
    pub etag: String,
    /// Its length in bytes.
    pub size: u64,
    /// The modification time that it keeps, if any.
    pub mtime: Option<SystemTime>,
    /// What its metadata says of where it comes from.
    pub provenance: Option<Provenance>,
}

/// The limits of a store's uploads in parts. All sizes are bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PartLimits {
    /// The smallest part that is not the last.
    pub smallest_part: u64,
    /// The largest part.
    pub largest_part: u64,
    /// The most parts of one object.
    pub most_parts: u64,
    /// The largest object.
    pub largest_object: u64,
    /// All parts but the last must have one size (R2).
    pub equal_parts: bool,
}

/// One version of an object, open for reading. If the object is replaced meanwhile, reads give the old bytes or
/// [`StoreErrorKind::Changed`], never a mixture.
#[async_trait]
pub trait Object: Send + Sync + fmt::Debug {
    /// Attributes of this version.
    fn stat(&self) -> &Stat;

    /// Up to `length` bytes from `offset`; fewer only at the end of the object, none beyond it.
    async fn read(&self, offset: u64, length: usize) -> StoreResult<Bytes>;

    /// Whether a read costs a request over a network, so that read-ahead pays.
    fn is_remote(&self) -> bool;

    /// The file of this machine behind it, where there is one: it may be closed between two reads, and the next one opens the same
    /// file again, or fails with [`StoreErrorKind::Changed`] when that has lost its name.
    fn file(self: Arc<Self>) -> Option<Arc<dyn Idle>> {
        None
    }

    /// What names this version to its store: the entity tag, the store's number of the version where reads are held to that, or
    /// what tells a file from others in the local store.
    fn version(&self) -> Option<&str> {
        self.stat().etag.as_deref()
    }
}

/// A place that keeps objects under keys. All keys are relative to the store's configured URL.
#[async_trait]
pub trait Store: Send + Sync + fmt::Debug {
    /// The name in the configuration.
    fn name(&self) -> &str;

    /// The key as events show it: `/<bucket or store name>/<prefix of the URL>/<key>`.
    fn event_path(&self, key: &Key) -> String;

    /// Where the root of the store is, whatever it is called.
    fn place(&self) -> Place {
        Place::of_key(place::Site::Memory(self.name().to_owned()), "")
    }

    /// Where a key leads, with the links on the way followed. It need not exist.
    async fn place_of(&self, key: &Key) -> StoreResult<Place> {
        Ok(self.place().below(key.as_str()))
    }

    /// Whether a gateway starts, and goes on, while this cannot be reached: it is somebody else's server, which comes and goes.
    fn may_be_away(&self) -> bool {
        false
    }

    /// Limits of uploads in parts.
    fn part_limits(&self) -> PartLimits;

    /// Looks a name up. The root is always a directory. On an object store a file is one request; only where there is none, or where
    /// a listing has shown the name as a directory, another one asks for keys below it. So `a` beside `a/b` is the directory once the
    /// directory above was listed, and the file before.
    ///
    /// # Errors
    /// [`StoreErrorKind::NotFound`] when it is neither.
    async fn stat(&self, key: &Key) -> StoreResult<Stat>;

    /// One page of the directory `key`; the first for `None`. A directory that does not exist gives an empty page on an
    /// object store and [`StoreErrorKind::NotFound`] in the local store.
    async fn list(&self, key: &Key, from: Option<PageToken>) -> StoreResult<Page>;

    /// Opens the present version of an object.
    ///
    /// # Errors
    /// [`StoreErrorKind::NotFound`], or [`StoreErrorKind::IsADirectory`] where the store has real directories.
    async fn open(&self, key: &Key) -> StoreResult<Arc<dyn Object>>;

    /// Stores a whole object in one request, in one step.
    async fn put(&self, key: &Key, data: Vec<Bytes>, options: &PutOptions) -> StoreResult<Written>;

    /// Starts an upload. Parents are made where the store has real directories.
    async fn begin_upload(&self, key: &Key, options: &PutOptions) -> StoreResult<Upload>;

    /// Deletes an object.
    ///
    /// # Errors
    /// [`StoreErrorKind::NotFound`] only where the store reports it without another request.
    async fn delete(&self, key: &Key) -> StoreResult<()>;

    /// Whether an upload keeps a file of this machine open.
    fn uploads_are_files(&self) -> bool {
        false
    }

    /// Whether a directory lasts when the last file in it is gone.
    fn keeps_directories(&self) -> bool {
        false
    }

    /// Deletes an object if it is still this version ([`Object::version`]). One that is gone is no error. How narrow the gap is
    /// where a store only looks right before: docs/SEMANTICS.md.
    ///
    /// # Errors
    /// [`StoreErrorKind::Changed`] when another version has the name by now; it stays.
    async fn delete_version(&self, key: &Key, version: &str) -> StoreResult<Deletion>;

    /// Makes a directory that lasts while it is empty. The caller has looked whether the name is taken.
    async fn make_directory(&self, key: &Key) -> StoreResult<()>;

    /// Removes an empty directory and its marker.
    ///
    /// # Errors
    /// [`StoreErrorKind::DirectoryNotEmpty`].
    async fn remove_directory(&self, key: &Key) -> StoreResult<()>;

    /// Gives an object another name within this store; where the store cannot rename, a copy on the server's side and a delete of
    /// the version that was copied. A failure in between leaves the source whole. With `only` that version is renamed and no other.
    ///
    /// # Errors
    /// [`StoreErrorKind::Changed`] when the source is not `only`, and nothing is done; with `after_copy` when another version came
    /// under the old name meanwhile: it stays there, and the new name has the one before. [`StoreErrorKind::NotFound`] when somebody
    /// else has renamed or removed the source meanwhile: the copy is removed again, unless it replaced a file.
    async fn rename(&self, from: &Key, to: &Key, existing: Existing, only: Option<&str>) -> StoreResult<Change>;

    /// As [`Store::rename`], of an object that was made here a moment ago, so that the store need not be asked what it is. If another
    /// version has the name by now, that one is renamed. Gives what the object is under its new name, where that is known.
    ///
    /// # Errors
    /// As [`Store::rename`].
    async fn rename_made(
        &self,
        from: &Key,
        made: &Made,
        to: &Key,
        existing: Existing,
        only: Option<&str>,
    ) -> StoreResult<(Change, Option<Made>)> {
        let _ = made;
        self.rename(from, to, existing, only).await.map(|change| (change, None))
    }

    /// Gives a directory and all that is in it another name within this store. `to` does not exist.
    async fn rename_directory(&self, from: &Key, to: &Key) -> StoreResult<()>;

    /// An upload under this name has begun, and [`Store::put`] or [`Store::begin_upload`] may follow: what saves it time can be done now.
    /// Returns immediately, and changes nothing that anybody sees.
    fn expect_upload(&self, key: &Key) {
        let _ = key;
    }

    /// Whether [`Store::copy`] works.
    fn copies(&self) -> bool {
        false
    }

    /// Makes an object of one version of another ([`Object::version`]) on the store's side, whatever its size, in one step.
    /// Its time is that of the copy, or the one that is to be kept; never the source's.
    ///
    /// # Errors
    /// [`StoreErrorKind::Changed`] when the source has another version; [`StoreErrorKind::Unsupported`] when the store cannot.
    async fn copy(&self, from: &Key, version: &str, to: &Key, options: &PutOptions) -> StoreResult<Written> {
        let _ = options;
        let message = format!("the store cannot copy the version {version} of \"{from}\" to \"{to}\"");
        Err(StoreError::new(StoreErrorKind::Unsupported, message))
    }

    /// Sets the kept modification time of an object that exists; `None` when the store does not keep it. With `only` that version
    /// gets it and no other.
    ///
    /// # Errors
    /// [`StoreErrorKind::Changed`] when it is not `only`.
    async fn set_mtime(&self, key: &Key, mtime: SystemTime, only: Option<&str>) -> StoreResult<Option<Change>>;

    /// As [`Store::set_mtime`], of an object that was made here a moment ago, as [`Store::rename_made`] has it. Gives also what the
    /// object is with its new time, where that is known.
    async fn set_mtime_of_made(
        &self,
        key: &Key,
        made: &Made,
        mtime: SystemTime,
        only: Option<&str>,
    ) -> StoreResult<(Option<Change>, Option<Made>)> {
        let _ = made;
        self.set_mtime(key, mtime, only).await.map(|kept| (kept, None))
    }

    /// The names of a directory that are directories themselves, if one request tells all of them; for whoever is about to make many
    /// names in it. `None`: there are too many names, or the store has no such request.
    async fn directories_in(&self, key: &Key) -> StoreResult<Option<Vec<String>>> {
        let _ = key;
        Ok(None)
    }

    /// Sets the modification time of a directory that exists; says whether the store keeps it.
    async fn set_directory_mtime(&self, _key: &Key, _mtime: SystemTime) -> StoreResult<bool> {
        Ok(false)
    }

    /// Locks of objects, where the store has them.
    fn locks(&self) -> Option<Arc<dyn Locks>> {
        None
    }

    /// Free and total bytes, where the store knows them.
    async fn capacity(&self) -> StoreResult<Option<Capacity>>;

    /// Removes the parts of uploads that killed processes left in this store, as far as the journal that it was opened with
    /// knows them; gives the number of uploads. What cannot be removed stays in the journal.
    async fn remove_unfinished(&self) -> StoreResult<u64> {
        Ok(0)
    }

    /// Reaches the store once, without changing it: for `check --online` and the start of the gateway.
    async fn check(&self) -> StoreResult<()>;

    /// What the last [`Store::check`] has found, where there is something to tell.
    fn found(&self) -> Option<String> {
        None
    }
}

/// How much a store holds, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Capacity {
    /// All of it.
    pub total: u64,
    /// What is free.
    pub free: u64,
}

/// One store of the configuration, resolved. URLs: `file:///PATH`, `memory:///`, `s3://BUCKET/PREFIX`, `gs://…`, `az://…`,
/// `sftp://USER@HOST/PATH`, and the other forms that `object_store` reads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// The name in the configuration.
    pub name: String,
    /// Where it is.
    pub url: String,
    /// `object_store`'s option names and their values (S3 endpoint, region, keys …). Ours are `fsync` for the local store
    /// (`true` by default), `symlinks` for it (`within_entry` by default: links are followed and do not lead out of the folder of a
    /// home's entry; `refuse`: none is), `size` for the memory store (256 MiB by default), and `copy_limit` for S3: the largest object in bytes that the server copies in one request
    /// (5 GiB by default); larger ones are copied by parts. `object_metadata` for S3, Google and Azure: `on` by default, so that objects say who put
    /// them there. `conditional_deletes` for S3: whether the server heeds `If-Match` on
    /// DELETE (`true` by default on AWS, else `false`); otherwise a rename looks again right before. `listing_times` for S3: `kept` (by default) lists the times that
    /// clients set, for one request for each file that is new to the gateway; `stored` lists when objects were stored.
    pub options: Vec<(String, crate::secret::Secret)>,
}

/// Whether an option names a file of this machine.
pub fn names_a_file(option: &str) -> bool {
    let option = option.to_ascii_lowercase();
    let bare = ["google_", "aws_", "azure_"].iter().find_map(|vendor| option.strip_prefix(vendor));
    open::FILE_OPTIONS.contains(&bare.unwrap_or(&option))
}

/// Whether what a store is rests on more than its settings: a folder that may be put anew, keys and credentials in files.
pub fn rests_on_files(settings: &Settings) -> bool {
    let is_on_files = ["file:", "sftp:"].iter().any(|scheme| settings.url.starts_with(scheme));
    is_on_files || settings.options.iter().any(|(name, _)| names_a_file(name))
}

/// Checks one store's settings without reaching it: the URL's scheme, the options' names.
///
/// # Errors
/// A sentence that says what is wrong and what would be right.
pub fn validate(settings: &Settings) -> Result<(), String> {
    open::Plan::read(settings).map(drop)
}

/// Whether a store is on a server, so that each request has a connection. False for settings that are wrong.
pub fn is_on_server(settings: &Settings) -> bool {
    open::Plan::read(settings).is_ok_and(|plan| plan.is_on_server())
}

/// Whether puts into a store carry no checksum only because nobody said which one its server knows (S3 elsewhere than on AWS).
pub fn lacks_checksums(settings: &Settings) -> bool {
    open::lacks_checksums(settings)
}

/// The root of a store.
#[derive(Debug, Clone)]
pub struct Root {
    /// The store's name in the configuration.
    pub name: String,
    /// Where it is.
    pub place: Place,
}

/// The roots of stores, without reaching them; those whose settings are wrong are left out.
pub fn roots(settings: &[Settings]) -> Vec<Root> {
    settings.iter().filter_map(|store| Some(Root { name: store.name.clone(), place: place(store)? })).collect()
}

/// Where the root of a store is, without reaching it; `None` for settings that are wrong.
pub fn place(settings: &Settings) -> Option<Place> {
    open::Plan::read(settings).ok().map(|plan| plan.place())
}

/// The settings of a store that an embedding program brings along: no URL of a configuration says the same.
pub fn own(name: &str) -> Settings {
    Settings { name: name.to_owned(), url: format!("{}://{name}", open::OWN), options: Vec::new() }
}

/// Whether the settings are those of [`own()`].
pub fn is_own(settings: &Settings) -> bool {
    is_own_url(&settings.url)
}

/// Whether a URL has the scheme of [`own()`], which is not for configurations.
pub fn is_own_url(url: &str) -> bool {
    url.split_once(':').is_some_and(|(scheme, _)| scheme == open::OWN)
}

/// Makes the store of these settings. Does not reach it; the local store makes its root folder.
///
/// # Errors
/// When the settings are wrong or the local root cannot be opened.
pub fn open(settings: &Settings) -> StoreResult<Arc<dyn Store>> {
    open_noting(settings, None)
}

/// The same, on a thread of its own: a folder on a mount that hangs keeps only those waiting who wait for it.
///
/// # Errors
/// As [`open()`].
pub async fn open_aside(settings: &Settings, unfinished: Option<Arc<Unfinished>>) -> StoreResult<Arc<dyn Store>> {
    open_bounded(settings, unfinished, AtOnce::default()).await
}

/// The same, with a bound on what the store does at once.
///
/// # Errors
/// As [`open()`].
pub async fn open_bounded(
    settings: &Settings,
    unfinished: Option<Arc<Unfinished>>,
    at_once: AtOnce,
) -> StoreResult<Arc<dyn Store>> {
    let settings = settings.clone();
    let opening = tokio::task::spawn_blocking(move || open_within(&settings, unfinished, at_once));
    opening.await.unwrap_or_else(|error| {
        Err(StoreError::with_source(StoreErrorKind::Other, "the opening of the store was cut off", error))
    })
}

/// The same; uploads in parts are noted in a journal until they are settled.
///
/// # Errors
/// As [`open()`].
pub fn open_noting(settings: &Settings, unfinished: Option<Arc<Unfinished>>) -> StoreResult<Arc<dyn Store>> {
    open_within(settings, unfinished, AtOnce::default())
}

fn open_within(
    settings: &Settings,
    unfinished: Option<Arc<Unfinished>>,
    at_once: AtOnce,
) -> StoreResult<Arc<dyn Store>> {
    match open::Plan::read(settings) {
        Ok(plan) => plan.open(unfinished, at_once),
        Err(message) => Err(StoreError::new(StoreErrorKind::Other, message)),
    }
}
