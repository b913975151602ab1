//! Rename where the store has none: copy on the server's side, then delete.
//!
//! Others write meanwhile. So a copy takes one version, an object of the new name is never replaced unless the client wants
//! that, and what is deleted is the version that was copied: a file that came under the old name since stays there.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};

use futures_util::{StreamExt, stream};

use super::failure::exists;
use super::{ListRequest, ObjectBacked, ObjectCopy, RawObject, RawPage, Replaces};
use crate::stores::{Existing, Key, Made, StoreError, StoreErrorKind, StoreResult};

/// Copies or deletions of one rename that are under way at once.
const AT_ONCE: usize = 16;

/// Keys of one page.
const PAGE: usize = 1_000;

/// How often the source is looked through again because files came while it was copied.
const ROUNDS: usize = 4;

/// Renames an object, which may be the one that was `made` here; what that is under its new name. Until the copy is whole, the source
/// is untouched.
pub(super) async fn file(
    store: &ObjectBacked,
    from: &Key,
    made: Option<&Made>,
    to: &Key,
    existing: Existing,
) -> StoreResult<Option<Made>> {
    store.path(from)?;
    store.path(to)?;
    if from == to {
        return match (store.head(from).await?, existing) {
            (None, _) => Err(StoreError::new(StoreErrorKind::NotFound, format!("\"{from}\" does not exist"))),
            (Some(_), Existing::Refuse) => Err(exists(to)),
            (Some(_), Existing::Replace) => Ok(None),
        };
    }
    let (old, new) = (store.full(from), store.full(to));
    let copy = ObjectCopy { made, ..ObjectCopy::plain(&old, &new, Replaces::of(existing, None)) };
    let copied = store.extras.copy(copy).await?;
    let deleted = match &copied.source {
        Some(version) => store.extras.delete_version(&old, version).await,
        None => Err(StoreError::new(StoreErrorKind::Unsupported, "the store does not tell versions apart")),
    };
    deleted.map_err(|error| {
        let what = match error.kind {
            StoreErrorKind::Changed => "was replaced meanwhile; the new one keeps the name".to_owned(),
            _ => format!("could not be deleted: {error}"),
        };
        StoreError::new(error.kind, format!("\"{from}\" was copied to \"{to}\", but {what}")).after_copy()
    })?;
    let same = made.filter(|made| copied.source.as_deref() == Some(&made.etag));
    Ok(same.zip(copied.etag).map(|(made, etag)| Made { etag, ..made.clone() }))
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
    let copied = HashMap::new();
    let mut work = Work { store, from: from_prefix, to: to_prefix, hasher: RandomState::new(), copied };
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
    hasher: RandomState,
    /// What was copied, by the hash of its name: 24 bytes a key, for directories of millions.
    copied: HashMap<u64, Versions>,
}

/// The versions of a copied object, as hashes.
#[derive(Debug, Clone, Copy)]
struct Versions {
    /// What was copied.
    source: u64,
    /// What it became.
    made: u64,
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
            self.copied.extend(done);
            result?;
            next = page.next;
            if next.is_none() {
                return Ok(fresh);
            }
        }
    }

    /// Copies one object; its name and versions. `None` when it changed or went meanwhile: the next round finds what it is then.
    async fn copy(&self, object: &RawObject) -> StoreResult<Option<(u64, Versions)>> {
        let target = format!("{}{}", self.to, object.key.strip_prefix(&self.from).unwrap_or_default());
        let name = self.name_of(&object.key, &self.from);
        let before = match self.copied.get(&name) {
            Some(versions) if !object.is_marker() => Some(self.own_copy(&target, versions).await?),
            _ => None,
        };
        let replaces = match &before {
            Some(version) => Replaces::Version(version),
            // Who makes the marker of a directory that is there already changes nothing.
            None if object.is_marker() => Replaces::Anything,
            None => Replaces::Nothing,
        };
        match self.store.extras.copy(ObjectCopy::plain(&object.key, &target, replaces)).await {
            Ok(copied) => {
                let source = copied.source.as_deref().or(object.version());
                let versions = Versions { source: self.hash(source), made: self.hash(copied.made.as_deref()) };
                Ok(Some((name, versions)))
            }
            Err(error) if matches!(error.kind, StoreErrorKind::Changed | StoreErrorKind::NotFound) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The version of a copy that was made in an earlier round, if nobody has replaced it.
    async fn own_copy(&self, target: &str, versions: &Versions) -> StoreResult<String> {
        match self.store.extras.version(target).await? {
            Some(found) if self.hash(Some(&found)) == versions.made => Ok(found),
            _ => {
                let message = format!("another file came to \"{target}\" while the directory was renamed");
                Err(StoreError::new(StoreErrorKind::AlreadyExists, message))
            }
        }
    }

    /// Deletes the versions that were copied. The new name is whole by now and stays, whatever happens.
    async fn delete_copied(&self, from: &Key) -> StoreResult<()> {
        let mut changed = 0;
        let mut next = None;
        loop {
            let page = self.page(&self.from, next.as_deref()).await.map_err(StoreError::after_copy)?;
            next = page.next;
            let (copied, others): (Vec<_>, Vec<_>) =
                page.objects.into_iter().partition(|object| self.was_copied(object));
            changed += others.len();
            changed += self.delete_all(copied).await.map_err(|error| {
                let message = format!("\"{from}\" was copied, but not all of it could be deleted: {error}");
                StoreError::new(error.kind, message).after_copy()
            })?;
            if next.is_none() {
                break;
            }
        }
        if changed == 0 {
            return Ok(());
        }
        let message =
            format!("\"{from}\" was renamed, but {changed} files in it changed meanwhile and stay where they are");
        Err(StoreError::new(StoreErrorKind::Changed, message).after_copy())
    }

    /// Removes what was copied so far, as far as the store answers: the source is whole still.
    async fn remove_copies(&self) {
        let mut next = None;
        loop {
            let Ok(page) = self.page(&self.to, next.as_deref()).await else { break };
            next = page.next;
            let ours = page.objects.into_iter().filter(|object| {
                let versions = self.copied.get(&self.name_of(&object.key, &self.to));
                versions.is_some_and(|versions| object.is_marker() || versions.made == self.hash(object.version()))
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

    /// Deletes just these versions; says of how many names another one has come since.
    async fn delete_all(&self, objects: Vec<RawObject>) -> StoreResult<usize> {
        let deletions: Vec<_> = objects.into_iter().map(|object| self.delete(object)).collect();
        let mut deletions = stream::iter(deletions).buffer_unordered(AT_ONCE);
        let mut changed = 0;
        while let Some(deleted) = deletions.next().await {
            match deleted {
                Err(error) if error.kind == StoreErrorKind::Changed => changed += 1,
                other => other?,
            }
        }
        Ok(changed)
    }

    async fn delete(&self, object: RawObject) -> StoreResult<()> {
        match object.version() {
            // Without a version there is nothing but a marker's name to hold on to; nor is there any content.
            _ if object.is_marker() => self.store.extras.delete(&object.key).await,
            Some(version) => self.store.extras.delete_version(&object.key, version).await,
            None => Err(StoreError::new(StoreErrorKind::Unsupported, "the store does not tell versions apart")),
        }
    }

    async fn page(&self, prefix: &str, from: Option<&str>) -> StoreResult<RawPage> {
        let page = self.store.extras.list(ListRequest { prefix, delimited: false, from, most: PAGE }).await?;
        match page.skipped.first {
            // A key that cannot be read cannot be moved; it must not be left behind silently.
            Some(key) => {
                let message = format!("the directory holds the key \"{key}\", which cannot be renamed");
                Err(StoreError::new(StoreErrorKind::InvalidName, message))
            }
            None => Ok(page),
        }
    }

    fn was_copied(&self, object: &RawObject) -> bool {
        let versions = self.copied.get(&self.name_of(&object.key, &self.from));
        versions.is_some_and(|versions| object.is_marker() || versions.source == self.hash(object.version()))
    }

    fn name_of(&self, key: &str, prefix: &str) -> u64 {
        self.hasher.hash_one(key.strip_prefix(prefix))
    }

    fn hash(&self, version: Option<&str>) -> u64 {
        self.hasher.hash_one(version)
    }
}
