//! What `object_store`'s trait cannot say.

use std::fmt;
use std::sync::Arc;
use std::time::SystemTime;

use async_trait::async_trait;
use object_store::path::Path;
use object_store::{PutMultipartOptions, UpdateVersion};

use super::replaced;
use crate::stores::unfinished::Unfinished;
use crate::stores::{
    Capacity, Change, Deletion, Existing, Key, Locks, Made, PartUpload, Provenance, Skipped, StoreError,
    StoreErrorKind, StoreResult,
};

/// The metadata by which who makes an object on a condition knows it again: an answer may be lost, and the next try then meets the
/// object of the first. Azure takes names of letters only.
pub(in crate::stores) const TOKEN: &str = "lockgateput";

/// A value of [`TOKEN`] that nobody else has.
pub(in crate::stores) fn token() -> String {
    uuid::Uuid::now_v7().simple().to_string()
}

/// The header of a condition: there is no object of the name.
pub(in crate::stores) const IF_NONE_MATCH: &str = "if-none-match";

/// The header of a condition: the object is this version.
pub(in crate::stores) const IF_MATCH: &str = "if-match";

/// The rest of a store of objects: listings that no odd key can fail, folder markers, copies of any size, new metadata.
///
/// Keys are whole keys in the bucket and raw; a key that ends with a slash is a folder marker.
#[async_trait]
pub(in crate::stores) trait Extras: Send + Sync + fmt::Debug {
    /// Refuses a whole key that the store would keep under another name, or not at all.
    fn judge(&self, key: &str) -> StoreResult<()> {
        let _ = key;
        Ok(())
    }

    /// One page of the keys that begin with a prefix.
    async fn list(&self, request: ListRequest<'_>) -> StoreResult<RawPage>;

    /// Writes the marker of a directory; `prefix` ends with a slash. It may be there already.
    async fn put_marker(&self, prefix: &str) -> StoreResult<()>;

    /// Deletes a key, which may be a marker, may be odd, and may be gone.
    async fn delete(&self, key: &str) -> StoreResult<()>;

    /// The present version of a key, which is no marker; `None` when there is no object.
    async fn version(&self, key: &str) -> StoreResult<Option<String>>;

    /// Deletes a key, which is no marker, if it is still this version; another is [`StoreErrorKind::Changed`], none is no error.
    async fn delete_version(&self, key: &str, version: &str) -> StoreResult<Deletion>;

    /// A version as `object_store` takes it for the condition of a put.
    fn condition(&self, version: &str) -> UpdateVersion {
        by_etag(version)
    }

    /// Copies an object of any size with its metadata on the server's side, in one step.
    async fn copy(&self, copy: ObjectCopy<'_>) -> StoreResult<Copied>;

    /// Replaces the kept modification time of an object and leaves the rest of its metadata; `None` when it is not kept.
    /// [`StoreErrorKind::Changed`] when the object was replaced in between: then it may be tried again. With `only` that version
    /// gets it, and another is [`StoreErrorKind::Changed`].
    async fn set_mtime(&self, key: &str, mtime: &str, only: Option<&str>) -> StoreResult<Option<Change>>;

    /// As [`Extras::set_mtime`], of an object that was made here and may be the same still; what it is with its new time, where that
    /// is known.
    async fn set_mtime_of_made(
        &self,
        key: &str,
        made: &Made,
        mtime: &str,
        only: Option<&str>,
    ) -> StoreResult<(Option<Change>, Option<Made>)> {
        let _ = made;
        self.set_mtime(key, mtime, only).await.map(|kept| (kept, None))
    }

    /// Keeps the modification time of a directory with its marker, which is written where there is none; says whether it is kept.
    async fn set_directory_mtime(&self, prefix: &str, mtime: &str) -> StoreResult<bool>;

    /// The time of a directory's marker, by a look-up; for stores whose listings do not carry it. `None` when there is no marker.
    async fn marker_time(&self, prefix: &str) -> StoreResult<Option<MarkerTime>> {
        let _ = prefix;
        Ok(None)
    }

    /// Whether reads name a version rather than an entity tag.
    fn reads_by_version(&self) -> bool {
        false
    }

    /// Begins an upload in parts. With [`Existing::Refuse`] the store itself does not publish it over an object.
    async fn begin_upload(&self, wanted: WantedUpload) -> StoreResult<Box<dyn PartUpload>>;

    /// Locks of the objects whose keys begin so, where the store has them.
    fn locks(&self, prefix: &str) -> Option<Arc<dyn Locks>> {
        let _ = prefix;
        None
    }

    /// Free and total bytes, where the store has a size.
    fn capacity(&self) -> Option<Capacity> {
        None
    }

    /// Uploads in parts are noted here from now on. Called at most once, before anything else.
    fn note_in(&self, journal: Arc<Unfinished>) {
        drop(journal);
    }

    /// Removes the parts that killed processes left behind, as the journal has them; gives the number of uploads.
    async fn remove_unfinished(&self) -> StoreResult<u64> {
        Ok(0)
    }
}

/// An upload that is wanted.
#[derive(Debug)]
pub(in crate::stores) struct WantedUpload {
    /// The whole key.
    pub(in crate::stores) path: Path,
    /// Its metadata.
    pub(in crate::stores) options: PutMultipartOptions,
    /// The key as errors name it.
    pub(in crate::stores) key: Key,
    /// What happens to an object of that name.
    pub(in crate::stores) existing: Existing,
    /// The version that it may replace, if only one.
    pub(in crate::stores) based_on: Option<String>,
    /// Whether the metadata holds the wanted mtime.
    pub(in crate::stores) mtime_kept: bool,
    /// What the metadata says of where the object comes from.
    pub(in crate::stores) provenance: Option<Provenance>,
    /// Whether it is to take parts of the object that is there.
    pub(in crate::stores) takes_parts: bool,
}

/// A version that its entity tag (without quotes) names, as `object_store` takes it.
pub(in crate::stores) fn by_etag(etag: &str) -> UpdateVersion {
    UpdateVersion { e_tag: Some(format!("\"{etag}\"")), version: None }
}

/// An object, or a marker, that is to be copied.
#[derive(Debug, Clone, Copy)]
pub(in crate::stores) struct ObjectCopy<'a> {
    /// The source's key.
    pub(in crate::stores) from: &'a str,
    /// The copy's key.
    pub(in crate::stores) to: &'a str,
    /// What of the copy's name it may replace.
    pub(in crate::stores) replaces: Replaces<'a>,
    /// The version that is wanted, as [`crate::stores::Object::version`] has it; another one is
    /// [`StoreErrorKind::Changed`]. `None`: the present one.
    pub(in crate::stores) version: Option<&'a str>,
    /// What the source is if nobody has replaced it since it was made here; for stores that can do without a look at it then.
    pub(in crate::stores) made: Option<&'a Made>,
    /// The modification time to keep; `None`: the source's, if it has one.
    pub(in crate::stores) mtime: Option<&'a str>,
    /// The source goes as soon as it is copied.
    pub(in crate::stores) moves: bool,
}

impl<'a> ObjectCopy<'a> {
    /// The present version as it is, for a rename.
    pub(in crate::stores) fn to_move(from: &'a str, to: &'a str, replaces: Replaces<'a>) -> Self {
        ObjectCopy { from, to, replaces, version: None, made: None, mtime: None, moves: true }
    }

    /// Judges the version that was found.
    ///
    /// # Errors
    /// [`StoreErrorKind::Changed`] when it is not the wanted one.
    pub(in crate::stores) fn judge_version(&self, found: Option<&str>) -> StoreResult<()> {
        match is_wanted(self.version, found) {
            true => Ok(()),
            false => {
                let message = format!("\"{}\" was changed before it was copied", self.from);
                Err(StoreError::new(StoreErrorKind::Changed, message))
            }
        }
    }
}

/// Whether a version that was found, with or without quotes, is the wanted one, if only one is.
fn is_wanted(wanted: Option<&str>, found: Option<&str>) -> bool {
    wanted.is_none_or(|wanted| found.map(|tag| tag.trim_matches('"')) == Some(wanted))
}

/// Judges the version of a key whose time is to be set.
///
/// # Errors
/// [`StoreErrorKind::Changed`] when `only` another one was meant.
pub(in crate::stores) fn judge_only(key: &str, only: Option<&str>, found: Option<&str>) -> StoreResult<()> {
    if is_wanted(only, found) { Ok(()) } else { Err(replaced(key)) }
}

/// What a new object may replace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::stores) enum Replaces<'a> {
    /// Whatever has the name.
    Anything,
    /// Nothing: an object of the name is [`StoreErrorKind::AlreadyExists`].
    Nothing,
    /// This version; another, or none, is [`StoreErrorKind::Changed`].
    Version(&'a str),
}

impl<'a> Replaces<'a> {
    /// As the options of a put say it.
    pub(in crate::stores) fn of(existing: Existing, based_on: Option<&'a str>) -> Self {
        match (existing, based_on) {
            (Existing::Refuse, _) => Replaces::Nothing,
            (Existing::Replace, Some(version)) => Replaces::Version(version),
            (Existing::Replace, None) => Replaces::Anything,
        }
    }

    /// The condition as a header of HTTP (S3, Azure).
    pub(in crate::stores) fn header(self) -> Option<(String, String)> {
        match self {
            Replaces::Anything => None,
            Replaces::Nothing => Some((IF_NONE_MATCH.to_owned(), "*".to_owned())),
            Replaces::Version(version) => Some((IF_MATCH.to_owned(), format!("\"{version}\""))),
        }
    }
}

/// What a look-up says of a directory's marker.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(in crate::stores) struct MarkerTime {
    /// The time that a client set.
    pub(in crate::stores) kept: Option<SystemTime>,
    /// When the marker was stored, in whole seconds.
    pub(in crate::stores) stored: Option<SystemTime>,
}

/// What a copy was made of, and what it became. Markers have no versions.
#[derive(Debug, Default)]
pub(in crate::stores) struct Copied {
    /// The copy's entity tag, without quotes, where the store tells it.
    pub(in crate::stores) etag: Option<String>,
    /// The version of the source that was copied.
    pub(in crate::stores) source: Option<String>,
    /// The version of the copy.
    pub(in crate::stores) made: Option<String>,
}

/// What is to be listed.
#[derive(Debug, Clone, Copy)]
pub(in crate::stores) struct ListRequest<'a> {
    /// Where all keys begin.
    pub(in crate::stores) prefix: &'a str,
    /// Keys with a further slash are rolled up into prefixes.
    pub(in crate::stores) delimited: bool,
    /// Where an earlier page ended.
    pub(in crate::stores) from: Option<&'a str>,
    /// The most keys and prefixes of the page; the store may give fewer. One: whether there is anything, asked by who looks
    /// the name itself up as well.
    pub(in crate::stores) most: usize,
}

/// A page as the store gives it, in the order of its keys.
#[derive(Debug, Default)]
pub(in crate::stores) struct RawPage {
    /// Objects and markers.
    pub(in crate::stores) objects: Vec<RawObject>,
    /// Rolled up prefixes, each with its slash.
    pub(in crate::stores) prefixes: Vec<String>,
    /// Keys that could not even be read.
    pub(in crate::stores) skipped: Skipped,
    /// Where the next page begins.
    pub(in crate::stores) next: Option<String>,
}

/// An object of a page.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(in crate::stores) struct RawObject {
    /// Its whole key; with a slash at its end it is the marker of a directory.
    pub(in crate::stores) key: String,
    /// Its length in bytes.
    pub(in crate::stores) size: u64,
    /// The store's time of its last change.
    pub(in crate::stores) modified: Option<SystemTime>,
    /// The kept modification time.
    pub(in crate::stores) kept: ListedTime,
    /// Its entity tag, without quotes.
    pub(in crate::stores) etag: Option<String>,
    /// The store's number of the version, where that names versions rather than the tag.
    pub(in crate::stores) number: Option<String>,
}

impl RawObject {
    /// What names this version, as [`crate::stores::Object::version`].
    pub(in crate::stores) fn version(&self) -> Option<&str> {
        self.number.as_deref().or(self.etag.as_deref())
    }

    /// The kept time, else the store's; `None` when only a look-up tells.
    pub(in crate::stores) fn time(&self) -> Option<SystemTime> {
        match self.kept {
            ListedTime::Listed(kept) => kept.or(self.modified),
            ListedTime::NotListed => None,
        }
    }

    /// Whether it stands for a directory.
    pub(in crate::stores) fn is_marker(&self) -> bool {
        self.key.ends_with('/')
    }
}

/// What a listing says of an object's kept modification time.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(in crate::stores) enum ListedTime {
    /// The store does not list metadata (S3): only a look-up tells.
    #[default]
    NotListed,
    /// The metadata `mtime`; `None` when the object has none.
    Listed(Option<SystemTime>),
}
