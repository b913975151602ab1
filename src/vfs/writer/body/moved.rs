//! An unfinished file that gets another name.

use super::super::stream::Target;
use super::{Body, Random};
use crate::stores::{StoreError, StoreErrorKind, StoreResult, Written};

impl Body {
    /// From now on the file is published as `target`, in the same store.
    ///
    /// # Errors
    /// The store's, when old content that is still needed cannot be fetched. The name stays then.
    pub(in super::super) async fn move_to(&mut self, target: Target) -> StoreResult<()> {
        // The old content goes with its name, or goes away.
        self.take_over_tail_at_once().await?;
        match &mut self.random {
            Some(Random::Store(file)) => file.flush().await?.move_to(&target.key, target.existing).await?,
            Some(Random::Staged(_)) | None if self.stream.has_begun() => {
                // An object store knows the parts by the name that they were sent for.
                self.moved = Some(target);
                return Ok(());
            }
            Some(Random::Staged(_)) | None => self.stream.target = target.clone(),
        }
        self.target = target;
        Ok(())
    }

    /// Finishes the file under the name for which its parts were sent, and renames it. Should we be killed in between, the file is
    /// whole under that name.
    ///
    /// # Errors
    /// [`StoreErrorKind::AlreadyExists`] when somebody else has the first name now; the store's. When only the renaming fails, the
    /// file is whole under the first name, and the error says so.
    pub(super) async fn finish_elsewhere(&mut self, target: Target) -> StoreResult<Written> {
        let (store, first) = (&self.target.store, &self.target.key);
        match store.stat(first).await {
            Err(error) if error.kind == StoreErrorKind::NotFound => {}
            Err(error) => return Err(error),
            Ok(_) => {
                let message = format!("the name \"{first}\", for which its parts were sent, is in use again");
                return Err(StoreError::new(StoreErrorKind::AlreadyExists, message));
            }
        }
        let written = self.stream.finish(self.mtime).await?;
        store.rename(first, &target.key, target.existing).await.map_err(|error| {
            let message = format!("all of it is stored as \"{first}\", and could not be renamed: {error}");
            StoreError::new(error.kind, message)
        })?;
        self.target = target;
        Ok(written)
    }
}
