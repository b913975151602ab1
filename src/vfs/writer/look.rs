//! What has to be known of a name before a file is written under it, and no more: each look is a request.

use crate::path::LogicalPath;
use crate::stores::{Existing, Kind, Stat, StoreErrorKind};

use super::super::lookups::{Advice, Known};
use super::super::mounts::Spot;
use super::super::{Vfs, VfsError, VfsResult, WriteMode};

impl Vfs {
    /// Judges what is there under the name; what is known of the object that is to be changed, if its content stays.
    ///
    /// A file that takes the place of whatever has the name only needs to know that this is no directory. What may replace nothing is
    /// refused by the store as well; but who asks for that, with a lock file perhaps, hears it when the file is opened. What is refused
    /// is looked at now, never remembered.
    pub(super) async fn look_before_writing(
        &self,
        path: &LogicalPath,
        spot: &Spot,
        mode: WriteMode,
    ) -> VfsResult<Option<Stat>> {
        let takes_any_place = mode.truncate && !mode.must_exist && mode.existing == Existing::Replace;
        if takes_any_place && !self.may_be_directory(path, spot).await? {
            return Ok(None);
        }
        match self.look(path, spot).await {
            Ok(_) if mode.existing == Existing::Refuse => {
                Err(VfsError::new(path, StoreErrorKind::AlreadyExists, "it exists already"))
            }
            Ok(Stat { kind: Kind::Directory, .. }) => {
                Err(VfsError::new(path, StoreErrorKind::IsADirectory, "it is a directory"))
            }
            Ok(_) if mode.truncate => Ok(None),
            Ok(found) => Ok(Some(found)),
            Err(error) if error.kind() == StoreErrorKind::NotFound && !mode.must_exist => {
                self.lookups.missed(path);
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    /// Whether the name may be a directory's, as far as this connection remembers. Of the second new name in a directory the others are
    /// learnt: who makes two makes many.
    pub(in crate::vfs) async fn may_be_directory(&self, path: &LogicalPath, spot: &Spot) -> VfsResult<bool> {
        if spot.store.keeps_directories() {
            return Ok(true);
        }
        if let Some(Known::Nothing | Known::File(..)) = self.lookups.recall(path, spot) {
            return Ok(false);
        }
        match self.lookups.advise(path) {
            Advice::GoAhead => Ok(false),
            Advice::LookUp => Ok(true),
            Advice::ListFolder => {
                self.learn_directories_beside(path).await?;
                Ok(self.lookups.advise(path) != Advice::GoAhead)
            }
        }
    }

    async fn learn_directories_beside(&self, path: &LogicalPath) -> VfsResult<()> {
        let Some(folder) = path.parent() else { return Ok(()) };
        let super::super::mounts::Place::Stored(spot) = self.mounts.find(&folder)? else { return Ok(()) };
        let look = self.lookups.begin_look(&spot);
        match spot.store.directories_in(&spot.key).await {
            Ok(names) => self.lookups.listed(&folder, &look, names.as_ref().map(|all| all.iter().map(String::as_str))),
            // Some credentials may not list.
            Err(error) if error.kind == StoreErrorKind::AccessDenied => {
                self.lookups.listed(&folder, &look, None::<std::iter::Empty<&str>>);
            }
            Err(error) => return Err(VfsError::at(path)(error)),
        }
        Ok(())
    }
}
