//! Giving names: to finished uploads, and to files and folders that have others.
//!
//! No request of the protocol has a condition, so who acts on one waits for the turn of the name, which everybody in this process does,
//! looks, and acts. Others can come in between, within one round trip.

use std::sync::Arc;

use super::exchange::Failure;
use super::failure::{at, looking};
use super::server::{Server, is_a_directory, missing, replaced, taken};
use super::temporary::Unfinished;
use super::walk::{Last, Way};
use super::wire::{self, Attributes, What};
use crate::stores::unfinished::Entry;
use crate::stores::{Change, Deletion, Existing, Key, StoreError, StoreErrorKind, StoreResult, Written};

/// Where an upload is to be published.
#[derive(Debug, Clone)]
pub(super) struct Target {
    pub(super) key: Key,
    pub(super) existing: Existing,
    /// The version that it may replace, if only one.
    pub(super) based_on: Option<String>,
}

impl Server {
    /// The path that a new name has, once the folders above it exist.
    async fn make_way(&self, key: &Key) -> StoreResult<(String, Way)> {
        let way = self.walk(key, Last::Itself).await?;
        let Some((_, above)) = way.missing.split_last() else {
            let path = self.path(&way.whole());
            return Ok((path, way));
        };
        let allowed = key.folder_to_make().map_or(0, |folder| count(&folder));
        let there = count(key) - way.missing.len();
        if !above.is_empty() && allowed < there + above.len() {
            return Err(missing(&key.parent().unwrap_or_else(Key::root)));
        }
        let mut names: Vec<&str> = way.names.iter().map(String::as_str).collect();
        for name in above {
            names.push(name);
            self.make_folder(&self.path(&names), key).await?;
        }
        let path = self.path(&way.whole());
        Ok((path, way))
    }

    /// Makes a folder that may be there by now.
    async fn make_folder(&self, path: &str, key: &Key) -> StoreResult<()> {
        match self.pool.change(wire::make_folder(path)).await {
            Ok(()) => Ok(()),
            Err(failure @ Failure::Unreachable { .. }) => Err(at("make the folder of", key)(failure)),
            Err(failure) => match self.pool.look(wire::lstat(path)).await {
                Ok(found) if found.what() == What::Folder => Ok(()),
                _ => Err(at("make the folder of", key)(failure)),
            },
        }
    }

    /// Makes a folder that must not be there.
    pub(super) async fn make_directory(&self, key: &Key) -> StoreResult<()> {
        let (path, way) = self.make_way(key).await?;
        if way.found.is_some() {
            return Err(taken(key));
        }
        match self.pool.change(wire::make_folder(&path)).await {
            Err(failure) if failure.is_unexplained() && self.has(&path).await => Err(taken(key)),
            done => done.map_err(at("make the directory", key)),
        }
    }

    /// Closes the file and gives it its name. When this returns without an error, the server has it.
    pub(super) async fn publish(
        &self,
        mut upload: Unfinished,
        target: &Target,
        mtime: Option<std::time::SystemTime>,
    ) -> StoreResult<Written> {
        let mtime = mtime.and_then(wire::seconds);
        let finished = upload.close(mtime, &target.key).await?;
        // Looked at again: the folders may have been renamed or removed since.
        let _folders = self.folders.read().await;
        let (path, way) = self.make_way(&target.key).await?;
        if way.found.is_some_and(|found| found.what() == What::Folder) {
            return Err(is_a_directory(&target.key));
        }
        let _turn = self.turn(&path).await;
        if let Some(based_on) = &target.based_on {
            self.check_version(&path, based_on, &target.key).await?;
        }
        let from = upload.temporary.path();
        self.give_name(&from, &path, target.existing, true, &target.key).await?;
        upload.is_published();
        let version = Some(self.versions.made(&path, &finished));
        Ok(Written { mtime_kept: mtime.is_some(), version, ..Written::default() })
    }

    /// Fails unless what has the name is this version.
    async fn check_version(&self, path: &str, wanted: &str, key: &Key) -> StoreResult<Attributes> {
        match self.pool.look(wire::lstat(path)).await {
            Ok(found) if self.versions.is_still(path, &found, wanted) => Ok(found),
            Ok(_) => Err(replaced(key)),
            Err(failure) if failure.is_missing() => Err(replaced(key)),
            Err(failure) => Err(looking("look up", key)(failure)),
        }
    }

    /// Gives a file a name. `is_ours`: nobody else knows its old name, so that when that is gone, it has the new one.
    async fn give_name(&self, from: &str, to: &str, existing: Existing, is_ours: bool, key: &Key) -> StoreResult<()> {
        let abilities = self.pool.get().await.map_err(at("rename to", key))?.abilities;
        let done = match existing {
            Existing::Replace if abilities.posix_rename => self.pool.change(wire::posix_rename(from, to)).await,
            Existing::Refuse if abilities.hard_link => match self.pool.change(wire::hard_link(from, to)).await {
                Ok(()) => return self.drop_old_name(from, is_ours, key).await,
                // Some file systems have none.
                Err(failure) if failure.is_unexplained() && !self.has(to).await => {
                    self.pool.change(wire::rename(from, to)).await
                }
                failed => failed,
            },
            Existing::Replace | Existing::Refuse => self.pool.change(wire::rename(from, to)).await,
        };
        match done {
            Ok(()) => Ok(()),
            Err(Failure::Lost(_)) if is_ours && self.is_known_gone(from).await => Ok(()),
            Err(failure) if failure.is_unexplained() && self.has(to).await => Err(match existing {
                Existing::Refuse => taken(key),
                Existing::Replace if abilities.posix_rename => at("rename to", key)(failure),
                Existing::Replace => cannot_replace(key),
            }),
            Err(failure) => Err(at("rename to", key)(failure)),
        }
    }

    /// The file has both names.
    async fn drop_old_name(&self, from: &str, is_ours: bool, key: &Key) -> StoreResult<()> {
        match self.pool.change(wire::remove(from)).await {
            Ok(()) => Ok(()),
            Err(failure) if failure.is_missing() => Ok(()),
            Err(failure) if is_ours => {
                // It is published, which counts; the hidden name is the journal's.
                tracing::warn!(store = self.upstream.name, ?failure, "the hidden name {from} stays");
                Ok(())
            }
            Err(failure) => Err(at("remove the old name of", key)(failure).after_copy()),
        }
    }

    /// Whether anything has the name; in doubt not.
    async fn has(&self, path: &str) -> bool {
        self.pool.look(wire::lstat(path)).await.is_ok()
    }

    async fn is_known_gone(&self, path: &str) -> bool {
        self.pool.look(wire::lstat(path)).await.is_err_and(|failure| failure.is_missing())
    }

    /// Renames a file, `only` this version if one is given.
    pub(super) async fn rename_file(
        &self,
        from: &Key,
        to: &Key,
        existing: Existing,
        only: Option<&str>,
    ) -> StoreResult<Change> {
        // Before the folders of `to` are made: a source that is missing leaves nothing behind.
        let source = self.walk(from, Last::Itself).await?;
        match source.found.map(|found| found.what()) {
            None => return Err(missing(from)),
            Some(What::Folder) => return Err(is_a_directory(from)),
            Some(_) => {}
        }
        let (new, target) = self.make_way(to).await?;
        match target.found.map(|found| found.what()) {
            Some(What::Folder) => return Err(is_a_directory(to)),
            Some(_) if existing == Existing::Refuse => return Err(taken(to)),
            _ => {}
        }
        let old = self.path(&source.names);
        let _turns = self.both_turns(&old, &new).await;
        let found = match only {
            Some(only) => self.check_version(&old, only, from).await?,
            None => match self.pool.look(wire::lstat(&old)).await {
                Err(failure) if failure.is_missing() => return Err(missing(from)),
                found => found.map_err(looking("look up", from))?,
            },
        };
        let version = self.versions.seen(&old, &found);
        if old != new {
            self.give_name(&old, &new, existing, false, to).await?;
            self.versions.moved(&old, &new);
        }
        Ok(Change { before: Some(version.clone()), after: Some(version) })
    }

    /// Renames a directory; never replaces. Unfinished uploads in it go with it.
    pub(super) async fn rename_directory(&self, from: &Key, to: &Key) -> StoreResult<()> {
        if to.as_str().starts_with(&from.as_prefix()) {
            let message = format!("\"{from}\" cannot be renamed to \"{to}\", which lies within it");
            return Err(StoreError::new(StoreErrorKind::InvalidName, message));
        }
        let _alone = self.folders.write().await;
        let source = self.walk(from, Last::Itself).await?;
        if source.found.is_none() {
            return Err(missing(from));
        }
        let (new, target) = self.make_way(to).await?;
        if target.found.is_some() {
            return Err(taken(to));
        }
        let old = self.path(&source.names);
        let moving = self.expect_moves(&old, &new).await;
        let done = match self.pool.change(wire::rename(&old, &new)).await {
            Err(failure) if failure.is_unexplained() && self.has(&new).await => Err(taken(to)),
            done => done.map_err(at("rename to", to)),
        };
        if done.is_ok() || self.has(&new).await {
            for (upload, path) in moving {
                upload.is_at(path);
            }
        }
        done
    }

    /// Notes where unfinished uploads in a folder are about to be, before they are.
    async fn expect_moves(&self, old: &str, new: &str) -> Vec<(Arc<super::temporary::Temporary>, String)> {
        let mut moving = Vec::new();
        for upload in self.uploads() {
            let path = upload.path();
            let Some(rest) = path.strip_prefix(old).filter(|rest| rest.starts_with('/')) else { continue };
            let moved = format!("{new}{rest}");
            let entry = self.journal.begin(&moved).await;
            entry.iter().for_each(|entry: &Entry| entry.named("moved"));
            upload.expect_at(entry);
            moving.push((upload, moved));
        }
        moving
    }

    /// Deletes a file.
    pub(super) async fn delete(&self, key: &Key) -> StoreResult<()> {
        let way = self.walk(key, Last::Itself).await?;
        match way.found.map(|found| found.what()) {
            None => return Err(missing(key)),
            Some(What::Folder) => return Err(is_a_directory(key)),
            Some(_) => {}
        }
        let path = self.path(&way.names);
        let _turn = self.turn(&path).await;
        self.pool.change(wire::remove(&path)).await.map_err(at("delete", key))?;
        self.versions.gone(&path);
        Ok(())
    }

    /// Deletes a file if it is still this version; one that is gone is no error.
    pub(super) async fn delete_version(&self, key: &Key, version: &str) -> StoreResult<Deletion> {
        let way = match self.walk(key, Last::Itself).await {
            Err(error) if error.kind == StoreErrorKind::NotFound => return Ok(Deletion::WasGone),
            way => way?,
        };
        let path = self.path(&way.whole());
        let _turn = self.turn(&path).await;
        match self.pool.look(wire::lstat(&path)).await {
            Err(failure) if failure.is_missing() => return Ok(Deletion::WasGone),
            found => {
                let found = found.map_err(looking("look up", key))?;
                if !self.versions.is_still(&path, &found, version) {
                    return Err(replaced(key));
                }
            }
        }
        match self.pool.change(wire::remove(&path)).await {
            Err(failure) if failure.is_missing() => return Ok(Deletion::WasGone),
            done => done.map_err(at("delete", key))?,
        }
        self.versions.gone(&path);
        Ok(Deletion::Done)
    }
}

/// How many names a key has.
fn count(key: &Key) -> usize {
    key.as_str().split('/').filter(|name| !name.is_empty()).count()
}

fn cannot_replace(key: &Key) -> StoreError {
    let reason = "the server cannot replace a file in one step (it has no posix-rename@openssh.com)";
    StoreError::cannot(StoreErrorKind::Unsupported, "replace", key.as_str(), reason)
}
