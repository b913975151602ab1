//! How an unfinished file ends: published, or removed.

use bytes::Bytes;

use crate::stores::{StoreError, StoreErrorKind, StoreResult, Written};

use super::super::stream::Target;
use super::Body;
use super::content::{Behind, Content, Gaps};

/// Zeros that fill gaps.
static ZEROS: [u8; 64 * 1024] = [0; 64 * 1024];

impl Body {
    /// Publishes the file; `None` when nothing was changed of an existing one.
    pub(in super::super) async fn publish(&mut self) -> StoreResult<Option<Written>> {
        if let Content::Untouched(source) = &self.content {
            let (Some(from), Some(version)) = (&source.copied_from, source.object.version()) else { return Ok(None) };
            let options = self.target.options(self.mtime);
            match self.target.store.copy(from, version, &self.target.key, &options).await {
                Err(error) if error.kind == StoreErrorKind::Unsupported => self.take_over_copy().await?,
                done => return done.map(Some),
            }
        }
        self.settle_tail(u64::MAX).await?;
        self.fill_gaps().await?;
        let based_on = self.replaced_version()?;
        match &mut self.content {
            // The store has the whole file already, and puts it under its name by itself.
            Content::InStore { file, .. } => {
                let file = file.flush().await?;
                if let Some(version) = &based_on {
                    file.base_on(version);
                }
                return file.complete(self.mtime).await.map(Some);
            }
            // What is staged follows what was sent, so the stream ends with it.
            Content::Staged { file, .. } => self.stream.send_staged(file.flush().await?).await?,
            // All of it is on the stream.
            Content::Untouched(_) | Content::InOrder(_) => {}
        }
        match self.moved.take() {
            None => self.stream.finish(self.mtime, based_on, self.sha256.as_deref()).await.map(Some),
            Some(target) => self.finish_elsewhere(target).await.map(Some),
        }
    }

    /// The version that has to have the name still, when the file is published. What lies under another name than the one that the
    /// content is from is not looked at.
    fn replaced_version(&self) -> StoreResult<Option<String>> {
        match &self.based_on {
            Some((key, object)) if *key == self.target.key => match object.version() {
                Some(version) => Ok(Some(version.to_owned())),
                None => Err(StoreError::new(
                    StoreErrorKind::Unsupported,
                    "the store does not distinguish versions, so a file cannot be changed in part",
                )),
            },
            _ => Ok(None),
        }
    }

    /// Bytes that nobody wrote are zeros. A store that turns out to write files has gaps of its own, so then nothing is left to fill.
    async fn fill_gaps(&mut self) -> StoreResult<()> {
        while let Content::InOrder(Behind::Gaps(gaps)) = &self.content {
            let wanted = gaps.wanted;
            let Some(start) = gaps.waiting.start() else { return self.append_zeros(wanted).await };
            self.append_zeros(start).await?;
            self.append_waiting().await?;
        }
        Ok(())
    }

    async fn append_zeros(&mut self, until: u64) -> StoreResult<()> {
        while self.content.is_in_order() && self.stream.position() < until {
            let position = self.stream.position();
            let length = (until - position).min(ZEROS.len() as u64) as usize;
            self.append(position, Bytes::from_static(&ZEROS[..length])).await?;
        }
        Ok(())
    }

    /// Keeps of what was written only what has no gap before it.
    pub(in super::super) async fn cut_at_first_gap(&mut self) -> StoreResult<()> {
        let (end, size) = (self.covered.end(), self.size());
        match &mut self.content {
            Content::InOrder(Behind::Gaps(Gaps { waiting, wanted, .. })) => {
                (*waiting, *wanted) = Default::default();
                Ok(())
            }
            Content::InStore { .. } | Content::Staged { .. } if end < size => self.set_random_length(end).await,
            // An object, whole or from where the stream ends, has no gap.
            Content::Untouched(_)
            | Content::InOrder(Behind::Tail(_))
            | Content::InStore { .. }
            | Content::Staged { .. } => Ok(()),
        }
    }

    /// Publishes nothing and removes what the store has.
    pub(in super::super) async fn discard(&mut self) {
        if let Content::InStore { file, held, .. } = std::mem::take(&mut self.content) {
            if let Some(mut file) = file.salvage().await
                && let Err(error) = file.abort().await
            {
                let Target { store, key, .. } = &self.target;
                tracing::warn!(store = store.name(), %key, %error, "an unfinished file could not be removed");
            }
            drop(held);
        }
        self.stream.abort().await;
    }
}
