//! An unfinished file that gets another name.

use super::super::stream::{Stream, Target};
use super::Body;
use super::content::Content;
use crate::stores::{Existing, StoreError, StoreErrorKind, StoreResult, Written};

impl Body {
    /// From now on the file is published as `target`, in the same store.
    ///
    /// # Errors
    /// The store's, when old content that is still needed cannot be fetched, or an upload cannot begin. The file is incomplete then.
    pub(in super::super) async fn move_to(&mut self, target: Target) -> StoreResult<()> {
        // The old content goes with its name, or goes away.
        self.take_over_tail_at_once().await?;
        let is_bound = self.stream.has_begun() && target.key != self.target.key;
        match &mut self.content {
            Content::InStore { file, .. } => file.flush().await?.move_to(&target.key, target.existing).await?,
            Content::Staged { .. } if is_bound && self.stream.sent() == 0 => return self.begin_as(target).await,
            Content::Untouched(_) | Content::InOrder(_) | Content::Staged { .. } if is_bound => {
                // An object store knows the parts by the name that they were sent for.
                self.moved = Some(target);
                return Ok(());
            }
            // The store knows nothing of it yet.
            Content::Untouched(_) | Content::InOrder(_) | Content::Staged { .. } => self.stream.target = target.clone(),
        }
        self.moved = None;
        self.target = target;
        Ok(())
    }

    /// All of the file is staged still, so another upload begins under the new name.
    async fn begin_as(&mut self, target: Target) -> StoreResult<()> {
        let options = target.options(self.mtime);
        let begun = target.store.begin_upload(&target.key, &options).await?;
        let fresh = Stream::new(target.clone(), std::sync::Arc::clone(&self.transfers));
        let mut old = std::mem::replace(&mut self.stream, fresh);
        if let crate::stores::Upload::Parts(upload) = begun {
            self.stream.begin(upload, self.mtime);
        }
        (self.target, self.moved) = (target, None);
        old.abort().await;
        Ok(())
    }

    /// Finishes the file under the name for which its parts were sent, and renames this version of it. Should we be killed in between,
    /// the file is whole under that name.
    ///
    /// # Errors
    /// [`StoreErrorKind::Changed`] when the first name is taken again; the store's. When only the renaming fails, the file is whole
    /// under the first name, and the error says so. When only the first name cannot be deleted, the file is whole under both, and
    /// [`Body::left`] says why.
    pub(super) async fn finish_elsewhere(&mut self, target: Target) -> StoreResult<Written> {
        let (store, first) = (self.target.store.clone(), self.target.key.clone());
        let taken = || {
            let message = format!("the name \"{first}\", for which its parts were sent, is taken again");
            StoreError::new(StoreErrorKind::Changed, message)
        };
        match store.stat(&first).await {
            Err(error) if error.kind == StoreErrorKind::NotFound => {}
            Err(error) => return Err(error),
            Ok(_) => return Err(taken()),
        }
        self.stream.refuse_existing();
        let finished = self.stream.finish(self.mtime, None, self.sha256.as_deref()).await;
        let finished =
            finished.map_err(|error| if error.kind == StoreErrorKind::AlreadyExists { taken() } else { error })?;
        let (written, left) = self.copy_from_first(&target, finished).await.map_err(|error| {
            let message = format!("all of it is stored as \"{first}\", and could not be renamed: {error}");
            StoreError::new(error.kind, message)
        })?;
        if let Some(why) = &left {
            tracing::warn!(store = store.name(), %why, "the first name of a renamed upload stays");
        }
        (self.target, self.left) = (target, left);
        Ok(written)
    }

    /// Gives the version that was `finished` under the first name its new one; with why the first name is still there, if it is. What
    /// somebody else has put there since stays there.
    async fn copy_from_first(&self, target: &Target, finished: Written) -> StoreResult<(Written, Option<String>)> {
        let (store, first) = (&self.target.store, &self.target.key);
        let object = store.open(first).await?;
        let is_ours = match &finished.version {
            Some(version) => object.version() == Some(version),
            None => finished.etag.is_none() || finished.etag == object.stat().etag,
        };
        let Some(version) = object.version().filter(|_| is_ours) else {
            return Err(StoreError::new(StoreErrorKind::Changed, "somebody else has replaced it"));
        };
        let mtime = self.mtime.or(object.stat().mtime);
        let options = target.options(mtime);
        let mut written = store.copy(first, version, &target.key, &options).await?;
        written.mtime_kept |= self.mtime.is_none();
        match store.delete_version(first, version).await {
            Ok(_) => Ok((written, None)),
            // Theirs is there now, and ours has its name.
            Err(error) if matches!(error.kind, StoreErrorKind::Changed | StoreErrorKind::NotFound) => {
                Ok((written, None))
            }
            Err(error) => Ok((written, Some(format!("\"{first}\": {error}")))),
        }
    }
}

impl Stream {
    /// The object is to replace nothing, whatever was said when its upload began.
    fn refuse_existing(&mut self) {
        self.target.existing = Existing::Refuse;
        if let Some(upload) = &mut self.upload {
            upload.refuse_existing();
        }
    }
}
