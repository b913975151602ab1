//! A file that is written in any order: how it becomes one, and its bytes.

use std::sync::Arc;

use bytes::Bytes;

use crate::stores::{PutOptions, StoreError, StoreErrorKind, StoreResult, Upload};

use super::super::batched::Batched;
use super::super::stream::Stream;
use super::Body;
use super::content::{Behind, Content, Gaps, Old};

impl Body {
    /// Begins the upload, which may be to take parts of the object that is there. With a store that writes files, what the stream has
    /// goes there.
    pub(super) async fn begin(&mut self, takes_parts: bool) -> StoreResult<()> {
        let options = PutOptions { takes_parts, ..self.target.options(self.mtime) };
        let is_here = self.target.store.uploads_are_files();
        let held = if is_here { Some(self.target.account.hold()?) } else { None };
        let file = match self.target.store.begin_upload(&self.target.key, &options).await? {
            Upload::Parts(upload) => {
                self.stream.begin(upload, self.mtime);
                return Ok(());
            }
            Upload::File(file) => Batched::new(file, 0, Arc::clone(&self.transfers.budget)),
        };
        let (tail, gaps) = match self.content.take_behind() {
            Behind::Tail(source) => (Some(source), Gaps::default()),
            Behind::Gaps(gaps) => (None, gaps),
        };
        // Before anything else can fail or be dropped: from here on the file is found, and removed.
        self.content = Content::InStore { file, tail, held };
        let (data, _hold) = self.stream.take_unsent().await?;
        let mut offset = 0;
        for piece in data {
            let length = piece.len() as u64;
            self.write_random(offset, piece).await?;
            offset += length;
        }
        self.write_beyond_gaps(gaps).await
    }

    /// From here on the file is written in any order.
    pub(super) async fn go_random(&mut self) -> StoreResult<()> {
        if self.content.is_in_order() && !self.stream.has_begun() {
            self.begin(false).await?;
        }
        // The store's own file needs no other, and a stream that stays one goes on on disk.
        if !self.content.is_in_order() {
            return Ok(());
        }
        let file = self.stream.move_to_disk().await?;
        let (old, gaps) = match self.content.take_behind() {
            Behind::Tail(source) => (Old::Tail(source), Gaps::default()),
            Behind::Gaps(mut gaps) => (gaps.kept.take().map_or(Old::None, Old::Kept), gaps),
        };
        self.content = Content::Staged { file, old };
        self.write_beyond_gaps(gaps).await
    }

    /// Where any order will do, nothing needs to wait, and the file gets the length that was asked for.
    async fn write_beyond_gaps(&mut self, mut gaps: Gaps) -> StoreResult<()> {
        while let Some((offset, data)) = gaps.waiting.take_first(None) {
            self.write_random(offset, data).await?;
        }
        if self.size() < gaps.wanted { self.set_random_length(gaps.wanted).await } else { Ok(()) }
    }

    pub(super) async fn write_random(&mut self, mut offset: u64, mut data: Bytes) -> StoreResult<()> {
        match &mut self.content {
            Content::InStore { file, .. } => file.write_at(offset, data).await,
            Content::Staged { file, .. } => {
                let sent = self.stream.sent();
                // What was sent lies before the staged file, and only its first part may still change.
                if offset < sent {
                    let behind = usize::try_from(sent - offset).unwrap_or(usize::MAX).min(data.len());
                    let early = data.split_to(behind);
                    if offset + early.len() as u64 > self.stream.changeable() {
                        return Err(sent_already(&self.stream));
                    }
                    self.stream.change(offset, early).await?;
                    offset = sent;
                }
                if data.is_empty() { Ok(()) } else { file.write_at(offset - sent, data).await }
            }
            Content::Untouched(_) | Content::InOrder(_) => Err(no_place()),
        }
    }

    pub(super) async fn set_random_length(&mut self, length: u64) -> StoreResult<()> {
        match &mut self.content {
            Content::InStore { file, .. } => file.set_length(length).await,
            Content::Staged { file, .. } => {
                let length = length.checked_sub(self.stream.sent()).ok_or_else(|| sent_already(&self.stream))?;
                file.set_length(length).await
            }
            Content::Untouched(_) | Content::InOrder(_) => Err(no_place()),
        }
    }

    /// Up to `length` bytes from `offset` of what would be published.
    pub(in super::super) async fn read_at(&mut self, offset: u64, length: usize) -> Result<Bytes, ReadFailure> {
        if offset >= self.size() {
            return Ok(Bytes::new());
        }
        if let Some(source) = self.content.untouched() {
            return source.object.read(offset, length).await.map_err(ReadFailure::Harmless);
        }
        // A store gives nothing back of an object that is not finished.
        if offset < self.stream.sent() {
            return Err(ReadFailure::Harmless(sent_already(&self.stream)));
        }
        let Some(tail) = self.content.tail().cloned() else { return self.read_written(offset, length).await };
        // The object is asked for what still stands in it. So the upload stays in order, and needs no room for all of the object because of
        // somebody who only reads.
        let reached = self.written_end();
        let written = usize::try_from(reached.saturating_sub(offset)).unwrap_or(usize::MAX).min(length);
        // First: it may fail without any harm, and what follows changes where the bytes are.
        let rest = match length - written {
            0 => Bytes::new(),
            left => tail.object.read(offset.max(reached), left).await.map_err(ReadFailure::Harmless)?,
        };
        if written == 0 {
            return Ok(rest);
        }
        let data = self.read_written(offset, written).await?;
        if rest.is_empty() || data.len() < written { Ok(data) } else { Ok([data, rest].concat().into()) }
    }

    /// As [`Body::read_at`], of what is not an object's any more, and was not sent.
    async fn read_written(&mut self, offset: u64, length: usize) -> Result<Bytes, ReadFailure> {
        self.go_random().await.map_err(ReadFailure::OfUpload)?;
        let data = match &mut self.content {
            Content::InStore { file, .. } => file.read_at(offset, length).await,
            Content::Staged { file, .. } => match offset.checked_sub(self.stream.sent()) {
                Some(offset) => file.read_at(offset, length).await,
                // It was sent meanwhile.
                None => return Err(ReadFailure::Harmless(sent_already(&self.stream))),
            },
            Content::Untouched(_) | Content::InOrder(_) => Err(no_place()),
        };
        data.map_err(ReadFailure::OfUpload)
    }

    /// As [`Body::read_at`], of what is still on this machine; `None` of anything else.
    pub(in super::super) async fn read_kept(&mut self, offset: u64, length: usize) -> StoreResult<Option<Bytes>> {
        let is_here = self.target.store.uploads_are_files();
        match &mut self.content {
            // Another server's would have to be fetched.
            Content::InStore { file, tail: None, .. } if is_here => file.read_at(offset, length).await.map(Some),
            Content::Staged { file, old: Old::None | Old::Kept(_) } => match offset.checked_sub(self.stream.sent()) {
                Some(offset) => file.read_at(offset, length).await.map(Some),
                // These bytes are parts of the store's.
                None => Ok(None),
            },
            // What is the object's still is the store's, and what is on the stream leaves this machine at any moment.
            Content::Untouched(_) | Content::InOrder(_) | Content::InStore { .. } | Content::Staged { .. } => Ok(None),
        }
    }
}

/// Why nothing of an unfinished file could be read.
#[derive(Debug)]
pub(in super::super) enum ReadFailure {
    /// The upload is as it was: the bytes cannot be had, or not now.
    Harmless(StoreError),
    /// It concerns what was written.
    OfUpload(StoreError),
}

/// An operation in any order met a state that has none; whoever asks has made it one before.
pub(super) fn no_place() -> StoreError {
    StoreError::new(StoreErrorKind::Other, "the file has no place for writes in any order")
}

fn sent_already(stream: &Stream) -> StoreError {
    StoreError::new(
        StoreErrorKind::Unsupported,
        format!(
            "of the first {} bytes, which were sent to the store, only {} can be changed in this upload; open the file for \
             reading and writing to change it in any order",
            stream.sent(),
            stream.changeable()
        ),
    )
}
