//! Rename where the store has none: copy on the server's side, then delete.
//!
//! Others write meanwhile. So a copy takes one version, an object of the new name is never replaced unless the client wants
//! that, and what is deleted is the version that was copied: a file that came under the old name since stays there.

use futures_util::{StreamExt, stream};

use super::failure::exists;
use super::{ListRequest, ObjectBacked, ObjectCopy, RawObject, RawPage, Replaces};
use crate::stores::{Change, CopiedVersions, Deletion, Existing, Key, Made, StoreError, StoreErrorKind, StoreResult};

/// Copies or deletions of one rename that are under way at once.
const AT_ONCE: usize = 16;

/// Keys of one page.
const PAGE: usize = 1_000;

/// How often the source is looked through again because files came while it was copied.
const ROUNDS: usize = 4;

/// Renames an object, which may be the one that was `made` here, and of `only` this version if one is given; what that is under its
/// new name. Until the copy is whole, the source is untouched.
pub(super) async fn file(
    store: &ObjectBacked,
    (from, made): (&Key, Option<&Made>),
    to: &Key,
    existing: Existing,
    only: Option<&str>,
) -> StoreResult<(Change, Option<Made>)> {
    store.path(from)?;
    store.path(to)?;
    if from == to {
        return match (store.head(from).await?, existing) {
            (None, _) => Err(StoreError::new(StoreErrorKind::NotFound, format!("\"{from}\" does not exist"))),
            (Some(_), Existing::Refuse) => Err(exists(to)),
            (Some(_), Existing::Replace) => Ok((Change::default(), None)),
        };
    }
    let (old, new) = (store.full(from), store.full(to));
    let copy = ObjectCopy { made, version: only, ..ObjectCopy::to_move(&old, &new, Replaces::of(existing, None)) };
    let copied = store.extras.copy(copy).await?;
    let deleted = match &copied.source {
        Some(version) => store.extras.delete_version(&old, version).await,
        None => Err(StoreError::new(StoreErrorKind::Unsupported, "the store does not distinguish versions")),
    };
    match deleted {
        Ok(Deletion::Done) => {
            let same = made.filter(|made| copied.source.as_deref() == Some(&made.etag));
            let made = same.zip(copied.etag).map(|(made, etag)| Made { etag, ..made.clone() });
            Ok((Change { before: copied.source, after: copied.made }, made))
        }
        Ok(Deletion::WasGone) => Err(take_back(store, from, to, existing, copied.made.as_deref()).await),
        Err(error) => {
            let what = match error.kind {
                StoreErrorKind::Changed => "was replaced meanwhile; the new one keeps the name".to_owned(),
                _ => format!("could not be deleted: {error}"),
            };
            let message = format!("\"{from}\" was copied to \"{to}\", but {what}");
            Err(StoreError::new(error.kind, message).after_copy())
        }
    }
}

/// Somebody else has renamed or removed the source after it was copied: as if that had been first, the copy is removed again. One
/// that may have replaced a file stays, for nothing else would have that name any more. The error of the rename.
async fn take_back(store: &ObjectBacked, from: &Key, to: &Key, existing: Existing, made: Option<&str>) -> StoreError {
    let removed = match made.filter(|_| existing == Existing::Refuse) {
        Some(version) => store.extras.delete_version(&store.full(to), version).await.is_ok(),
        None => false,
    };
    if removed {
        return StoreError::plain(StoreErrorKind::NotFound, format!("\"{from}\" was renamed or removed meanwhile"));
    }
    let message = format!("\"{from}\" was renamed or removed by somebody else after it was copied");
    StoreError::new(StoreErrorKind::NotFound, message).after_copy()
}

/// Renames all that lies in a directory, and its marker. `to` does not exist.
///
/// Everything is copied before anything is deleted, and only those versions are deleted that were copied; what a failure
/// leaves under the new name is removed again, as far as the store still answers.
pub(super) async fn directory(store: &ObjectBacked, from: &Key, to: &Key) -> StoreResult<()> {
    if from.is_root() || to.is_root() || from == to || to.as_str().starts_with(&from.as_prefix()) {
        let message = format!("\"{from}\" cannot be renamed to \"{to}\"");
        return Err(StoreError::new(StoreErrorKind::InvalidName, message));
    }
    let (from_prefix, to_prefix) = (store.full_prefix(from), store.full_prefix(to));
    let mut work = Work { store, from: from_prefix, to: to_prefix, copied: CopiedVersions::default() };
    if let Err(error) = work.copy_all(from).await {
        work.remove_copies().await;
        return Err(error);
    }
    work.delete_copied(from).await
}

/// A rename of a directory under way.
struct Work<'a> {
    store: &'a ObjectBacked,
    from: String,
    to: String,
    /// What was copied, by what follows the prefix.
    copied: CopiedVersions,
}

/// An object that was copied.
struct Copy {
    /// What of its key follows the prefix.
    name: String,
    /// The version that was copied.
    source: Option<String>,
    /// What it became.
    made: Option<String>,
}

/// Of the versions that were to be deleted.
#[derive(Debug, Default)]
struct Tally {
    /// Another version has the name.
    changed: usize,
    /// It was gone before.
    gone: usize,
}

impl Work<'_> {
    /// Copies until nothing new is found.
    async fn copy_all(&mut self, from: &Key) -> StoreResult<()> {
        for round in 0..ROUNDS {
            match (self.copy_new().await?, round) {
                (0, 0) => {
                    let message = format!("the directory \"{from}\" does not exist");
                    return Err(StoreError::new(StoreErrorKind::NotFound, message));
                }
                (0, _) => return Ok(()),
                _ => {}
            }
        }
        let message = format!("files keep arriving in \"{from}\" while it is renamed; it was left as it was");
        Err(StoreError::new(StoreErrorKind::Changed, message))
    }

    /// Copies every version that was not copied yet; says how many there were.
    async fn copy_new(&mut self) -> StoreResult<usize> {
        let mut fresh = 0;
        let mut next = None;
        loop {
            let page = self.page(&self.from, next.as_deref()).await?;
            let new: Vec<&RawObject> = page.objects.iter().filter(|object| !self.was_copied(object)).collect();
            fresh += new.len();
            let copies: Vec<_> = new.iter().map(|object| self.copy(object)).collect();
            let mut copies = stream::iter(copies).buffer_unordered(AT_ONCE);
            let mut done = Vec::with_capacity(new.len());
            let mut result = Ok(());
            while let Some(copy) = copies.next().await {
                match copy {
                    Ok(copy) => done.extend(copy),
                    Err(error) => result = Err(error),
                }
            }
            drop(copies);
            for copy in done {
                self.copied.add(&copy.name, copy.source.as_deref(), copy.made.as_deref());
            }
            result?;
            next = page.next;
            if next.is_none() {
                return Ok(fresh);
            }
        }
    }

    /// Copies one object. `None` when it changed or went meanwhile: the next round finds what it is then.
    async fn copy(&self, object: &RawObject) -> StoreResult<Option<Copy>> {
        let target = format!("{}{}", self.to, object.key.strip_prefix(&self.from).unwrap_or_default());
        let name = name_in(&self.from, &object.key);
        let before = match self.copied.has(name) && !object.is_marker() {
            true => Some(self.own_copy(&target, name).await?),
            false => None,
        };
        let replaces = match &before {
            Some(version) => Replaces::Version(version),
            // Who makes the marker of a directory that is there already changes nothing.
            None if object.is_marker() => Replaces::Anything,
            None => Replaces::Nothing,
        };
        match self.store.extras.copy(ObjectCopy::to_move(&object.key, &target, replaces)).await {
            Ok(copied) => {
                let source = copied.source.or(object.version().map(str::to_owned));
                Ok(Some(Copy { name: name.to_owned(), source, made: copied.made }))
            }
            Err(error) if matches!(error.kind, StoreErrorKind::Changed | StoreErrorKind::NotFound) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The version of a copy that was made in an earlier round, if nobody has replaced it.
    async fn own_copy(&self, target: &str, name: &str) -> StoreResult<String> {
        match self.store.extras.version(target).await? {
            Some(found) if self.copied.has_made(name, Some(&found)) => Ok(found),
            _ => {
                let message = format!("another file arrived at \"{target}\" while the directory was renamed");
                Err(StoreError::new(StoreErrorKind::AlreadyExists, message))
            }
        }
    }

    /// Deletes the versions that were copied. The new name is whole by now and stays, whatever happens.
    async fn delete_copied(&self, from: &Key) -> StoreResult<()> {
        let mut changed = 0;
        let mut left = self.copied.len();
        let mut next = None;
        loop {
            let page = self.page(&self.from, next.as_deref()).await.map_err(StoreError::after_copy)?;
            next = page.next;
            let known = |object: &&RawObject| self.copied.has(name_in(&self.from, &object.key));
            left = left.saturating_sub(page.objects.iter().filter(known).count());
            let (copied, others): (Vec<_>, Vec<_>) =
                page.objects.into_iter().partition(|object| self.was_copied(object));
            changed += others.len();
            let tally = self.delete_all(copied).await.map_err(|error| {
                let message = format!("\"{from}\" was copied, but not all of it could be deleted: {error}");
                StoreError::new(error.kind, message).after_copy()
            })?;
            (changed, left) = (changed + tally.changed, left + tally.gone);
            if next.is_none() {
                break;
            }
        }
        let what = match (changed, left) {
            (0, 0) => return Ok(()),
            // Another rename of the directory has taken them, or somebody has removed them. Which of the copies is one too many is
            // not known, so all stay.
            (0, gone) => {
                format!("{gone} files in it were renamed or removed by others meanwhile, after they were copied")
            }
            (changed, _) => format!("{changed} files in it changed meanwhile and stay where they are"),
        };
        let message = format!("\"{from}\" was renamed, but {what}");
        Err(StoreError::new(StoreErrorKind::Changed, message).after_copy())
    }

    /// Removes what was copied so far, as far as the store answers: the source is whole still.
    async fn remove_copies(&self) {
        let mut next = None;
        loop {
            let Ok(page) = self.page(&self.to, next.as_deref()).await else { break };
            next = page.next;
            let ours = page.objects.into_iter().filter(|object| {
                let name = name_in(&self.to, &object.key);
                self.copied.has(name) && (object.is_marker() || self.copied.has_made(name, object.version()))
            });
            if let Err(error) = self.delete_all(ours.collect()).await {
                tracing::warn!(%error, "copies of a rename that failed are left under \"{}\"", self.to);
                break;
            }
            if next.is_none() {
                break;
            }
        }
    }

    /// Deletes just these versions; says how many of them were not there any more.
    async fn delete_all(&self, objects: Vec<RawObject>) -> StoreResult<Tally> {
        let deletions: Vec<_> = objects.into_iter().map(|object| self.delete(object)).collect();
        let mut deletions = stream::iter(deletions).buffer_unordered(AT_ONCE);
        let mut tally = Tally::default();
        while let Some(deleted) = deletions.next().await {
            match deleted {
                Ok(Deletion::Done) => {}
                Ok(Deletion::WasGone) => tally.gone += 1,
                Err(error) if error.kind == StoreErrorKind::Changed => tally.changed += 1,
                Err(error) => return Err(error),
            }
        }
        Ok(tally)
    }

    async fn delete(&self, object: RawObject) -> StoreResult<Deletion> {
        match object.version() {
            // Without a version there is nothing but a marker's name to hold on to; nor is there any content.
            _ if object.is_marker() => self.store.extras.delete(&object.key).await.map(|()| Deletion::Done),
            Some(version) => self.store.extras.delete_version(&object.key, version).await,
            None => Err(StoreError::new(StoreErrorKind::Unsupported, "the store does not distinguish versions")),
        }
    }

    async fn page(&self, prefix: &str, from: Option<&str>) -> StoreResult<RawPage> {
        let page = self.store.extras.list(ListRequest { prefix, delimited: false, from, most: PAGE }).await?;
        match page.skipped.first {
            // A key that cannot be read cannot be moved; it must not be left behind silently.
            Some(key) => {
                let message = format!("the directory contains the key \"{key}\", which cannot be renamed");
                Err(StoreError::new(StoreErrorKind::InvalidName, message))
            }
            None => Ok(page),
        }
    }

    fn was_copied(&self, object: &RawObject) -> bool {
        let name = name_in(&self.from, &object.key);
        self.copied.has(name) && (object.is_marker() || self.copied.has_source(name, object.version()))
    }
}

/// What of a key follows the prefix of its directory.
fn name_in<'k>(prefix: &str, key: &'k str) -> &'k str {
    key.strip_prefix(prefix).unwrap_or(key)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::fmt;
    use std::sync::{Arc, Mutex};

    use async_trait::async_trait;
    use bytes::Bytes;
    use futures_util::FutureExt;
    use futures_util::future::BoxFuture;

    use super::*;
    use crate::stores::object::{Copied, Extras, WantedUpload};
    use crate::stores::{PartUpload, PutOptions, Store, memory};

    /// A store in which somebody else comes before the first deletion.
    struct Meddled(Arc<dyn Extras>, Mutex<Option<BoxFuture<'static, ()>>>);

    impl fmt::Debug for Meddled {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("Meddled")
        }
    }

    #[async_trait]
    impl Extras for Meddled {
        async fn list(&self, request: ListRequest<'_>) -> StoreResult<RawPage> {
            self.0.list(request).await
        }
        async fn put_marker(&self, prefix: &str) -> StoreResult<()> {
            self.0.put_marker(prefix).await
        }
        async fn delete(&self, key: &str) -> StoreResult<()> {
            self.0.delete(key).await
        }
        async fn version(&self, key: &str) -> StoreResult<Option<String>> {
            self.0.version(key).await
        }
        async fn delete_version(&self, key: &str, version: &str) -> StoreResult<Deletion> {
            let meanwhile = self.1.lock().unwrap().take();
            if let Some(meanwhile) = meanwhile {
                meanwhile.await;
            }
            self.0.delete_version(key, version).await
        }
        async fn copy(&self, copy: ObjectCopy<'_>) -> StoreResult<Copied> {
            self.0.copy(copy).await
        }
        async fn set_mtime(&self, key: &str, mtime: &str, only: Option<&str>) -> StoreResult<Option<Change>> {
            self.0.set_mtime(key, mtime, only).await
        }
        async fn set_directory_mtime(&self, prefix: &str, mtime: &str) -> StoreResult<bool> {
            self.0.set_directory_mtime(prefix, mtime).await
        }
        async fn begin_upload(&self, wanted: WantedUpload) -> StoreResult<Box<dyn PartUpload>> {
            self.0.begin_upload(wanted).await
        }
    }

    fn key(name: &str) -> Key {
        Key::parse(name).unwrap()
    }

    async fn put(store: &ObjectBacked, name: &str) {
        let options = PutOptions {
            existing: Existing::Replace,
            mtime: None,
            based_on: None,
            provenance: None,
            takes_parts: false,
        };
        store.put(&key(name), vec![Bytes::copy_from_slice(name.as_bytes())], &options).await.unwrap();
    }

    /// A store with these files, and the same store in which `meanwhile` happens before the first deletion.
    async fn meddled<F: Future<Output = ()> + Send + 'static>(
        files: &[&str],
        meanwhile: impl FnOnce(Arc<ObjectBacked>) -> F,
    ) -> (Arc<ObjectBacked>, ObjectBacked) {
        let plain = Arc::new(memory::open("m", String::new(), 1 << 20));
        for file in files {
            put(&plain, file).await;
        }
        let extras = Meddled(Arc::clone(&plain.extras), Mutex::new(Some(meanwhile(Arc::clone(&plain)).boxed())));
        let store = ObjectBacked {
            name: "m".into(),
            bucket: "m".into(),
            prefix: String::new(),
            objects: Arc::clone(&plain.objects),
            extras: Arc::new(extras),
            limits: plain.limits,
            mtime_form: plain.mtime_form,
            provenance: plain.provenance,
            kept_times: None,
            both: Default::default(),
            site: plain.site.clone(),
        };
        (plain, store)
    }

    async fn names(store: &ObjectBacked) -> Vec<String> {
        let request = ListRequest { prefix: "", delimited: false, from: None, most: 100 };
        store.extras.list(request).await.unwrap().objects.into_iter().map(|object| object.key).collect()
    }

    #[tokio::test]
    async fn of_two_renames_of_one_file_to_different_names_one_succeeds() {
        let (plain, store) = meddled(&["f"], |other| async move {
            file(&other, (&key("f"), None), &key("theirs"), Existing::Refuse, None).await.unwrap();
        })
        .await;
        let error = file(&store, (&key("f"), None), &key("ours"), Existing::Refuse, None).await.unwrap_err();
        assert_eq!((error.kind, error.after_copy), (StoreErrorKind::NotFound, false), "{error}");
        assert_eq!(names(&plain).await, ["theirs"]);
    }

    #[tokio::test]
    async fn a_copy_that_replaced_a_file_stays_when_its_source_is_gone() {
        let (plain, store) =
            meddled(&["f", "taken"], |other| async move { other.delete(&key("f")).await.unwrap() }).await;
        let error = file(&store, (&key("f"), None), &key("taken"), Existing::Replace, None).await.unwrap_err();
        assert_eq!((error.kind, error.after_copy), (StoreErrorKind::NotFound, true), "{error}");
        assert_eq!(names(&plain).await, ["taken"]);
    }

    #[tokio::test]
    async fn a_copy_that_somebody_has_replaced_since_is_not_taken_back() {
        let (plain, store) = meddled(&["f"], |other| async move {
            other.delete(&key("f")).await.unwrap();
            put(&other, "ours").await;
        })
        .await;
        let error = file(&store, (&key("f"), None), &key("ours"), Existing::Refuse, None).await.unwrap_err();
        assert_eq!(error.kind, StoreErrorKind::NotFound);
        assert_eq!(names(&plain).await, ["ours"]);
    }

    #[tokio::test]
    async fn a_rename_of_a_directory_says_what_others_have_taken_from_it_meanwhile() {
        for taken in [["d/a"].as_slice(), &["d/b"], &["d/a", "d/b"]] {
            let (plain, store) = meddled(&["d/a", "d/b", "d/c"], |other| async move {
                for name in taken {
                    other.delete(&key(name)).await.unwrap();
                }
            })
            .await;
            let error = directory(&store, &key("d"), &key("e")).await.unwrap_err();
            assert_eq!((error.kind, error.after_copy), (StoreErrorKind::Changed, true), "{error}");
            assert!(error.to_string().contains(&format!("{} files", taken.len())), "{error}");
            assert_eq!(names(&plain).await, ["e/a", "e/b", "e/c"], "every copy stays");
        }
    }
}
