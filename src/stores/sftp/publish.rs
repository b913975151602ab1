//! Giving names: to finished uploads, and to files and folders that have others.
//!
//! No request of the protocol has a condition, so who acts on one waits for the turn of the name, which everybody in this process does,
//! looks, and acts. Others can come in between, within one round trip.

use std::sync::Arc;

use bytes::Bytes;

use super::exchange::Failure;
use super::failure::{at, looking};
use super::server::{Server, is_a_directory, missing, replaced, taken};
use super::temporary::{Temporary, Unfinished};
use super::walk::{Last, Way};
use super::wire::{self, Attributes, What};
use crate::stores::unfinished::Entry;
use crate::stores::{Change, Deletion, Existing, Key, StoreError, StoreErrorKind, StoreResult, Written};

/// A file of at most so many bytes is small.
const SMALL: usize = 256 << 10;

/// Where an upload is to be published.
#[derive(Debug, Clone)]
pub(super) struct Target {
    pub(super) key: Key,
    pub(super) existing: Existing,
    /// The version that it may replace, if only one.
    pub(super) based_on: Option<String>,
}

/// A file that is to get a name.
struct Naming<'a> {
    from: &'a str,
    to: &'a str,
    existing: Existing,
    /// What it is.
    file: &'a Attributes,
    /// It is an upload of this process: nobody else knows its old name.
    is_ours: bool,
}

impl Naming<'_> {
    /// Not a link, which a hard link may follow.
    fn is_file(&self) -> bool {
        self.is_ours || self.file.what() == What::File
    }
}

/// What became of the name that a file had.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum OldName {
    Gone,
    Stays,
}

impl Server {
    /// The path that a new name has, once the folders above it exist.
    async fn make_way(&self, key: &Key) -> StoreResult<(String, Way)> {
        let way = self.walk(key, Last::Itself).await?;
        self.make_rest_of(way, key).await
    }

    /// The same where the way was gone as far as it leads.
    async fn make_rest_of(&self, way: Way, key: &Key) -> StoreResult<(String, Way)> {
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

    /// Closes the file, filled with all of its content if that is given here, and gives it its name. When this returns without an
    /// error, the server has it.
    pub(super) async fn publish(
        &self,
        mut upload: Unfinished,
        content: Option<Vec<Bytes>>,
        target: &Target,
        mtime: Option<std::time::SystemTime>,
    ) -> StoreResult<Written> {
        let mtime = mtime.and_then(wire::seconds);
        // The way is gone again: the folders may have been renamed or removed since. Of a small file that costs no round trip; a large one
        // may be on its way to the disk for long, and what was looked at before is old then.
        let (_folders, (finished, mtime_kept), way) = match content {
            Some(content) if is_small(&content) => {
                let folders = self.folders.read().await;
                let filling = upload.fill_and_close(content, mtime, &target.key);
                let (closed, way) = tokio::join!(filling, self.walk(&target.key, Last::Itself));
                (folders, closed?, way?)
            }
            content => {
                let closed = match content {
                    Some(content) => upload.fill_and_close(content, mtime, &target.key).await?,
                    None => upload.close(mtime, &target.key).await?,
                };
                (self.folders.read().await, closed, self.walk(&target.key, Last::Itself).await?)
            }
        };
        self.judge_found(&way, &target.key, target.existing).await?;
        let (path, _) = self.make_rest_of(way, &target.key).await?;
        let _turn = self.turn(&path).await;
        if let Some(based_on) = &target.based_on {
            self.check_what_is_replaced(&path, based_on, &target.key).await?;
        }
        let from = upload.temporary.path();
        let naming = Naming { from: &from, to: &path, existing: target.existing, file: &finished, is_ours: true };
        match self.give_name(&naming, &target.key).await {
            Ok(OldName::Gone) => upload.is_published(),
            // Dropped, it removes the hidden name, or leaves it to the journal.
            Ok(OldName::Stays) => {}
            Err(error) => {
                if error.kind == StoreErrorKind::Unavailable {
                    upload.temporary.is_in_doubt();
                }
                return Err(error);
            }
        }
        let version = Some(self.versions.made(&path, &finished));
        Ok(Written { mtime_kept, version, ..Written::default() })
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

    /// Fails unless what has the name is this version, or a link that leads to it: the link is replaced then, and not what it leads to.
    async fn check_what_is_replaced(&self, path: &str, wanted: &str, key: &Key) -> StoreResult<()> {
        match self.pool.look(wire::lstat(path)).await {
            Ok(found) if found.what() == What::Link => {
                let led = self.walk(key, Last::Followed).await?;
                let path = self.path(&led.whole());
                let is_still = led.found.is_some_and(|found| self.versions.is_still(&path, &found, wanted));
                if is_still { Ok(()) } else { Err(replaced(key)) }
            }
            Ok(found) if self.versions.is_still(path, &found, wanted) => Ok(()),
            Ok(_) => Err(replaced(key)),
            Err(failure) if failure.is_missing() => Err(replaced(key)),
            Err(failure) => Err(looking("look up", key)(failure)),
        }
    }

    /// Gives a file a name.
    async fn give_name(&self, naming: &Naming<'_>, key: &Key) -> StoreResult<OldName> {
        let abilities = self.pool.get().await.map_err(at("rename to", key))?.abilities;
        let Naming { from, to, existing, .. } = *naming;
        if existing == Existing::Refuse && abilities.hard_link && naming.is_file() {
            match self.pool.change(wire::hard_link(from, to)).await {
                Ok(()) => return self.drop_old_name(naming, key).await,
                Err(Failure::Lost(_)) if naming.is_ours && self.are_one_file(from, to, naming.file).await => {
                    return self.drop_old_name(naming, key).await;
                }
                Err(Failure::Refused { .. }) if self.has(to).await => return Err(taken(key)),
                // Some file systems have none, and servers have many a word for that.
                Err(Failure::Refused { .. }) if self.is_known_gone(to).await => {}
                Err(failure) => return Err(at("rename to", key)(failure)),
            }
        } else if existing == Existing::Refuse {
            // A rename replaces nothing by the protocol, and does by many a server.
            self.check_free(to, key).await?;
        }
        let request = match existing {
            Existing::Replace if abilities.posix_rename => wire::posix_rename(from, to),
            Existing::Replace | Existing::Refuse => wire::rename(from, to),
        };
        match self.pool.change(request).await {
            Ok(()) => Ok(OldName::Gone),
            // Others may have removed or moved it: what has the new name must be this file.
            Err(Failure::Lost(_))
                if naming.is_ours && self.is_known_gone(from).await && self.is_it(to, naming.file).await =>
            {
                Ok(OldName::Gone)
            }
            Err(failure) if failure.is_unexplained() && self.has(to).await => Err(match existing {
                Existing::Refuse => taken(key),
                Existing::Replace if abilities.posix_rename => at("rename to", key)(failure),
                Existing::Replace => cannot_replace(key),
            }),
            Err(failure) => Err(at("rename to", key)(failure)),
        }
    }

    /// The file has both names.
    async fn drop_old_name(&self, naming: &Naming<'_>, key: &Key) -> StoreResult<OldName> {
        match self.pool.change(wire::remove(naming.from)).await {
            Ok(()) => Ok(OldName::Gone),
            Err(failure) if failure.is_missing() => Ok(OldName::Gone),
            // It is published, which counts.
            Err(_) if naming.is_ours => Ok(OldName::Stays),
            Err(failure) => Err(at("remove the old name of", key)(failure).after_copy()),
        }
    }

    /// Whether a name has this file, as far as its length and time say that; in doubt not.
    async fn is_it(&self, path: &str, file: &Attributes) -> bool {
        let found = self.pool.look(wire::lstat(path)).await;
        found.is_ok_and(|found| found.what() == What::File && (found.size, found.mtime) == (file.size, file.mtime))
    }

    /// Whether two names are of one file, of which the first one is nobody else's; in doubt not. The protocol does not tell which file it is
    /// that has a name, and another's may be of the same length and time. So the time of the one is set for a moment: if it is one file, the
    /// other has that time as well.
    async fn are_one_file(&self, own: &str, other: &str, file: &Attributes) -> bool {
        let Some(mtime) = file.mtime else { return false };
        if !self.is_it(other, file).await {
            return false;
        }
        let odd = mtime.checked_sub(1).unwrap_or(1);
        let mut is_one = true;
        // The second time whatever came of the first.
        for mtime in [odd, mtime] {
            let file = Attributes { mtime: Some(mtime), ..*file };
            is_one &= self.pool.change(wire::set_time_of(own, mtime)).await.is_ok() && self.is_it(other, &file).await;
        }
        is_one
    }

    /// Fails unless nothing has the name.
    async fn check_free(&self, path: &str, key: &Key) -> StoreResult<()> {
        match self.pool.look(wire::lstat(path)).await {
            Ok(_) => Err(taken(key)),
            Err(failure) if failure.is_missing() => Ok(()),
            Err(failure) => Err(looking("look up", key)(failure)),
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
        let before = self.versions.seen(&old, &found);
        let mut after = before.clone();
        if old != new {
            let naming = Naming { from: &old, to: &new, existing, file: &found, is_ours: false };
            self.give_name(&naming, to).await?;
            after = self.versions.moved(&old, &new, &found);
        }
        Ok(Change { before: Some(before), after: Some(after) })
    }

    /// Renames a directory; never replaces. Unfinished uploads in it go with it.
    pub(super) async fn rename_directory(&self, from: &Key, to: &Key) -> StoreResult<()> {
        if to.as_str().starts_with(&from.as_prefix()) {
            let message = format!("\"{from}\" cannot be renamed to \"{to}\", which is inside it");
            return Err(StoreError::new(StoreErrorKind::InvalidName, message));
        }
        let _alone = self.folders.write().await;
        self.seen.forget();
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
        let done = self.pool.change(wire::rename(&old, &new)).await;
        let is_moved = match &done {
            Ok(()) => Some(true),
            Err(Failure::Lost(_)) if self.is_known_gone(&old).await => Some(true),
            // It may be done still.
            Err(Failure::Lost(_)) => None,
            Err(_) => Some(false),
        };
        for Moving { upload, from, to } in moving {
            match is_moved {
                Some(true) => upload.went(&from, &to),
                Some(false) => upload.is_not_at(&to),
                None => {}
            }
        }
        match done {
            Err(failure) if failure.is_unexplained() && self.has(&new).await => Err(taken(to)),
            done => done.map_err(at("rename to", to)),
        }
    }

    /// Notes where unfinished uploads in a folder are about to be, before they are.
    async fn expect_moves(&self, old: &str, new: &str) -> Vec<Moving> {
        let mut moving = Vec::new();
        for upload in self.uploads() {
            for from in upload.places() {
                let Some(rest) = from.strip_prefix(old).filter(|rest| rest.starts_with('/')) else { continue };
                let to = format!("{new}{rest}");
                let entry = self.journal.begin(&to).await;
                entry.iter().for_each(|entry: &Entry| entry.named("moved"));
                upload.expect_at(to.clone(), entry);
                moving.push(Moving { upload: Arc::clone(&upload), from, to });
            }
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

/// An unfinished upload in a folder that gets another name.
struct Moving {
    upload: Arc<Temporary>,
    from: String,
    to: String,
}

/// Whether content is sent within a moment.
fn is_small(content: &[Bytes]) -> bool {
    content.iter().map(Bytes::len).sum::<usize>() <= SMALL
}

/// How many names a key has.
fn count(key: &Key) -> usize {
    key.as_str().split('/').filter(|name| !name.is_empty()).count()
}

fn cannot_replace(key: &Key) -> StoreError {
    let reason = "the server cannot replace a file in one step (it has no posix-rename@openssh.com)";
    StoreError::cannot(StoreErrorKind::Unsupported, "replace", key.as_str(), reason)
}
