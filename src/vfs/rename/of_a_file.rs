//! A file's new name within an object store, at the price of as few requests as its safety needs.

use std::sync::Arc;

use crate::path::LogicalPath;
use crate::stores::{Existing, Kind, Stat, StoreErrorKind};

use super::super::lookups::{Effect, Known};
use super::super::mounts::Spot;
use super::super::{Changed, Version, Vfs, VfsResult};
use super::{failed, judge_target};

/// What became of a rename that was tried as a file's.
pub(super) enum Tried {
    /// It is done.
    Renamed(Changed),
    /// It was not done. What has the new name, if that was looked at: perhaps nothing.
    Not(Option<Option<Stat>>),
}

impl Vfs {
    /// Renames what is most probably a file, within an object store, which finds that out by itself: it is spared a look at the source,
    /// and one at the target where that is known to be no directory. Nothing is done where it is no file, or has to be refused.
    pub(super) async fn rename_as_a_file(
        &self,
        (from, source): (&LogicalPath, &Spot),
        (to, target): (&LogicalPath, &Spot),
        existing: Existing,
        only: Option<&Version>,
    ) -> VfsResult<Tried> {
        let same_store = Arc::ptr_eq(&source.store, &target.store) && source.key != target.key;
        let is_directory = matches!(self.lookups.recall(from, source), Some(Known::Directory(_)));
        if !same_store || source.store.keeps_directories() || is_directory || self.emptied.has(to) {
            return Ok(Tried::Not(None));
        }
        let is_free = match existing {
            Existing::Replace => !self.may_be_directory(to, target).await?,
            Existing::Refuse => self.lookups.recall(to, target) == Some(Known::Nothing),
        };
        let looked = if is_free { None } else { Some(self.look_at_target(to, target).await?) };
        if looked.as_ref().is_some_and(|taken| judge_target(to, Kind::File, taken.as_ref(), existing).is_err()) {
            return Ok(Tried::Not(looked));
        }
        let made = self.lookups.recall_made(from, source);
        let (removing, making) =
            (self.lookups.begin(source, Effect::Removes), self.lookups.begin(target, Effect::Makes));
        let only = only.map(|Version(only)| only.as_str());
        let renamed = match &made {
            Some(made) => source.store.rename_made(&source.key, made, &target.key, existing, only).await,
            None => source.store.rename(&source.key, &target.key, existing, only).await.map(|change| (change, None)),
        };
        match renamed {
            Ok((change, made)) => {
                drop(removing);
                self.lookups.made(to, target, making, made.map(Known::made));
                self.emptied.forget(from);
                self.took_away(from, source);
                Ok(Tried::Renamed(change.into()))
            }
            Err(error)
                if matches!(error.kind, StoreErrorKind::NotFound | StoreErrorKind::IsADirectory)
                    && !error.after_copy =>
            {
                Ok(Tried::Not(looked))
            }
            // Some servers fail each look at a name that is a folder on their disk.
            Err(error) if !error.after_copy && self.is_directory_now(from, source).await => Ok(Tried::Not(looked)),
            Err(error) => Err(failed(from, to)(error)),
        }
    }

    async fn is_directory_now(&self, path: &LogicalPath, spot: &Spot) -> bool {
        self.look(path, spot).await.is_ok_and(|found| found.kind == Kind::Directory)
    }
}
