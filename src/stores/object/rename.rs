//! Rename where the store has none: copy on the server's side, then delete.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};

use futures_util::{StreamExt, TryStreamExt, stream};

use super::failure::exists;
use super::{ListRequest, ObjectBacked, ObjectCopy, RawObject, RawPage};
use crate::stores::{Existing, Key, StoreError, StoreErrorKind, StoreResult};

/// Copies or deletions of one rename that are under way at once.
const AT_ONCE: usize = 16;

/// Keys of one page.
const PAGE: usize = 1_000;

/// How often the source is looked through again because files came while it was copied.
const ROUNDS: usize = 4;

/// Renames an object. Until the copy is whole, the source is untouched.
pub(super) async fn file(store: &ObjectBacked, from: &Key, to: &Key, existing: Existing) -> StoreResult<()> {
    store.path(from)?;
    store.path(to)?;
    if from == to {
        return match (store.head(from).await?, existing) {
            (None, _) => Err(StoreError::new(StoreErrorKind::NotFound, format!("\"{from}\" does not exist"))),
            (Some(_), Existing::Refuse) => Err(exists(to)),
            (Some(_), Existing::Replace) => Ok(()),
        };
    }
    store.extras.copy(ObjectCopy::plain(&store.full(from), &store.full(to), existing)).await?;
    store.extras.delete(&store.full(from)).await.map_err(|error| {
        let message = format!("\"{from}\" was copied to \"{to}\", but could not be deleted: {error}");
        StoreError::new(error.kind, message).after_copy()
    })
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
    let mut work = Work { store, from: store.full_prefix(from), to: store.full_prefix(to), copied: HashMap::new() };
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
    /// Which names were copied in which version, as hashes: 16 bytes a key, for directories of millions.
    copied: HashMap<u64, u64>,
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
                    Ok(copy) => done.push(copy),
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

    /// Copies one object; the hashes of its name and version.
    async fn copy(&self, object: &RawObject) -> StoreResult<(u64, u64)> {
        let target = format!("{}{}", self.to, object.key.strip_prefix(&self.from).unwrap_or_default());
        self.store.extras.copy(ObjectCopy::plain(&object.key, &target, Existing::Replace)).await?;
        Ok((name_of(&object.key, &self.from), version_of(object)))
    }

    /// Deletes the versions that were copied. The new name is whole by now and stays, whatever happens.
    async fn delete_copied(&self, from: &Key) -> StoreResult<()> {
        let mut changed = 0;
        let mut next = None;
        loop {
            let page = self.page(&self.from, next.as_deref()).await.map_err(StoreError::after_copy)?;
            let copied: Vec<_> = page.objects.iter().filter(|object| self.was_copied(object)).collect();
            changed += page.objects.len() - copied.len();
            self.delete_all(copied.into_iter().map(|object| object.key.clone())).await.map_err(|error| {
                let message = format!("\"{from}\" was copied, but not all of it could be deleted: {error}");
                StoreError::new(error.kind, message).after_copy()
            })?;
            next = page.next;
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
            let names = page.objects.into_iter().map(|object| object.key);
            let ours = names.filter(|key| self.copied.contains_key(&name_of(key, &self.to)));
            if let Err(error) = self.delete_all(ours).await {
                log::warn!("copies of a rename that failed are left under \"{}\": {error}", self.to);
                break;
            }
            next = page.next;
            if next.is_none() {
                break;
            }
        }
    }

    async fn delete_all(&self, keys: impl Iterator<Item = String>) -> StoreResult<()> {
        let extras = &self.store.extras;
        let deletions: Vec<_> = keys.map(|key| async move { extras.delete(&key).await }).collect();
        stream::iter(deletions).buffer_unordered(AT_ONCE).try_collect::<Vec<()>>().await.map(drop)
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
        self.copied.get(&name_of(&object.key, &self.from)) == Some(&version_of(object))
    }
}

fn name_of(key: &str, prefix: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    key.strip_prefix(prefix).hash(&mut hasher);
    hasher.finish()
}

fn version_of(object: &RawObject) -> u64 {
    let mut hasher = DefaultHasher::new();
    (&object.etag, object.size, object.modified).hash(&mut hasher);
    hasher.finish()
}
