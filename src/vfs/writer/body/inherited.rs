//! Content that an unfinished file has from an object: its own that is changed, or another that it becomes a copy of.

use std::sync::Arc;

use crate::stores::{Key, Object, StoreError, StoreErrorKind, StoreResult};

use super::super::super::reader::Ahead;
use super::Body;
use super::content::{Behind, Content, Kept, Source};

/// Existing content is taken over in pieces of this many bytes.
const PIECE: usize = 1 << 20;

impl Body {
    /// Takes all of another object of the same store for the content, without reading it. Only while nothing was written, and
    /// not when something of an older content would stay; false otherwise.
    pub(in super::super) fn become_copy(&mut self, key: &Key, object: &Arc<dyn Object>) -> bool {
        let untouched = match &self.content {
            Content::Untouched(_) => true,
            Content::InOrder(Behind::Gaps(gaps)) => {
                self.stream.position() == 0 && !self.stream.has_begun() && gaps.waiting.start().is_none()
            }
            // Something was written, or stays behind what was.
            Content::InOrder(Behind::Tail(_)) | Content::InStore { .. } | Content::Staged { .. } => false,
        };
        let size = object.stat().size;
        if !untouched || self.size() > size || size > self.largest {
            return false;
        }
        self.written = true;
        self.covered.add(0, size);
        self.content = Content::Untouched(Source { object: Arc::clone(object), copied_from: Some(key.clone()) });
        true
    }

    /// Whether the content is another object's, and the store's to copy.
    pub(in super::super) fn is_copy(&self) -> bool {
        self.content.untouched().is_some_and(|source| source.copied_from.is_some())
    }

    /// Puts the first `length` bytes of existing content before what is written.
    pub(super) async fn take_over(&mut self, source: Source, length: u64, in_any_order: bool) -> StoreResult<()> {
        if in_any_order || self.readable {
            self.go_random().await?;
        } else if self.stream.must_begin(usize::try_from(length).unwrap_or(usize::MAX)) {
            let takes_parts = source.copied_from.is_none() && self.stream.is_a_part(length);
            self.begin(takes_parts).await?;
            let can_copy = takes_parts && self.stream.can_copy(length);
            if let (true, true, Some(etag)) = (self.content.is_in_order(), can_copy, &source.object.stat().etag) {
                self.content.keep(Kept { source: source.clone(), bytes: length });
                return self.stream.copy(etag, length).await;
            }
        }
        self.content.keep(Kept { source: source.clone(), bytes: length });
        self.append_old(source, 0, length).await
    }

    /// Bytes are to change that were sent and stand in the object still: the upload begins again, on disk.
    pub(super) async fn take_back_kept(&mut self) -> StoreResult<()> {
        let sent = self.stream.sent();
        let fits = sent <= self.transfers.staging.limit();
        let Some(Kept { source, .. }) = self.content.take_kept().filter(|kept| sent <= kept.bytes && fits) else {
            return Ok(());
        };
        self.go_random().await?;
        let mut rest = match std::mem::take(&mut self.content) {
            Content::Staged { file, .. } => file,
            // A file of the store's has no sent parts before it.
            other => {
                self.content = other;
                return Ok(());
            }
        };
        self.start_again().await?;
        self.go_random().await?;
        self.append_old(source, 0, sent).await?;
        let mut at = 0;
        while at < rest.length() {
            let piece = rest.read_at(at, PIECE).await?;
            let read = piece.len() as u64;
            self.write_random(sent + at, piece).await?;
            at += read;
        }
        Ok(())
    }

    /// The file is cut where the object's bytes stand still: the upload begins again with fewer of them. False when they do not.
    pub(super) async fn cut_kept(&mut self, length: u64) -> StoreResult<bool> {
        let Some(Kept { source, .. }) = self.content.kept().filter(|kept| length <= kept.bytes).cloned() else {
            return Ok(false);
        };
        self.start_again().await?;
        self.take_over(source, length, false).await?;
        Ok(true)
    }

    /// The store cannot copy it, so its bytes are read and written.
    pub(super) async fn take_over_copy(&mut self) -> StoreResult<()> {
        let Some(source) = self.content.take_untouched() else { return Ok(()) };
        let size = source.size();
        self.take_over(source, size, false).await
    }

    /// The client no longer writes in order: what it has not reached of the old content is needed now.
    pub(super) async fn take_over_tail_at_once(&mut self) -> StoreResult<()> {
        let Some(source) = self.content.take_tail() else { return Ok(()) };
        let (from, to) = (self.written_end(), source.size());
        self.go_random().await?;
        self.append_old(source, from, to).await
    }

    /// Puts old content up to `length` behind what was written in order; what lies beyond is gone.
    pub(super) async fn settle_tail(&mut self, length: u64) -> StoreResult<()> {
        let Some(source) = self.content.take_tail() else { return Ok(()) };
        let to = source.size().min(length);
        self.append_old(source, self.written_end(), to).await
    }

    /// What the file's own name had becomes part of the new content: that must not replace anything else.
    pub(super) fn note_origin(&mut self, source: &Source) {
        if source.copied_from.is_none() {
            self.based_on = Some((self.target.key.clone(), Arc::clone(&source.object)));
        }
    }

    async fn append_old(&mut self, source: Source, from: u64, to: u64) -> StoreResult<()> {
        if from < to {
            self.note_origin(&source);
        }
        let mut ahead = Ahead::new(source.object, Arc::clone(&self.transfers.budget));
        let mut at = from;
        while at < to {
            let piece = ahead.read_at(at, PIECE.min(usize::try_from(to - at).unwrap_or(PIECE))).await?;
            if piece.is_empty() {
                return Err(StoreError::new(StoreErrorKind::Changed, "the existing file is shorter than it was"));
            }
            let read = piece.len() as u64;
            self.append(at, piece).await?;
            at += read;
        }
        Ok(())
    }
}
