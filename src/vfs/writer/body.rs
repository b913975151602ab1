//! What has been written of one file, and where it is: on its way to the store, waiting for its turn, or on disk.

mod content;
mod inherited;
mod moved;
mod publish;
mod random;

use std::cmp::Ordering;
use std::sync::Arc;
use std::time::SystemTime;

use bytes::Bytes;

use crate::stores::{Key, Object, StoreError, StoreErrorKind, StoreResult};

use super::super::Transfers;
use super::covered::Covered;
use super::stream::{Stream, Target};
use content::{Behind, Content, Gaps, Source};
pub(super) use random::ReadFailure;

/// The content of an unfinished file.
///
/// It starts as a stream. The first write that a stream cannot take (far ahead, backwards, in a file that is read as well) moves
/// what has not been sent to a file that is written in any order: the local store's own, or a staged one.
pub(super) struct Body {
    target: Target,
    transfers: Arc<Transfers>,
    largest: u64,
    readable: bool,
    content: Content,
    /// The bytes that are written in order, and the parts that were sent; what else it means is in `content`.
    stream: Stream,
    /// The object of the file's own name that some of the content is from: nothing else may be replaced with it.
    based_on: Option<(Key, Arc<dyn Object>)>,
    mtime: Option<SystemTime>,
    /// The digest of the whole file, for its metadata; known when it is about to be published.
    sha256: Option<String>,
    written: bool,
    /// What was written or taken over.
    covered: Covered,
    /// Parts were sent under the name of `target` before the file got this one.
    moved: Option<Target>,
    /// Why the file is still there under its first name as well, after it was published under another.
    pub(super) left: Option<String>,
}

impl Body {
    pub(super) fn new(
        target: Target,
        transfers: Arc<Transfers>,
        inherited: Option<Arc<dyn Object>>,
        readable: bool,
    ) -> Self {
        let own = |object| Content::Untouched(Source { object, copied_from: None });
        Body {
            largest: target.store.part_limits().largest_object.min(i64::MAX as u64),
            stream: Stream::new(target.clone(), Arc::clone(&transfers)),
            target,
            transfers,
            readable,
            content: inherited.map_or_else(Content::default, own),
            based_on: None,
            mtime: None,
            sha256: None,
            written: false,
            covered: Covered::default(),
            moved: None,
            left: None,
        }
    }

    /// The length that the file would have if it were published now.
    pub(super) fn size(&self) -> u64 {
        match &self.content {
            Content::Untouched(source) => source.size(),
            Content::InOrder(behind) => self.written_end().max(behind.end()),
            Content::InStore { .. } | Content::Staged { .. } => {
                self.written_end().max(self.content.tail().map_or(0, Source::size))
            }
        }
    }

    /// Where the bytes end that were written without a gap.
    fn written_end(&self) -> u64 {
        match &self.content {
            Content::Untouched(_) => 0,
            Content::InOrder(_) => self.stream.position(),
            Content::InStore { file, .. } => file.length(),
            Content::Staged { file, .. } => self.stream.sent() + file.length(),
        }
    }

    /// The version of the object of its own name that some of the content is from.
    pub(super) fn version_it_changes(&self) -> Option<String> {
        let (key, object) = self.based_on.as_ref()?;
        object.version().filter(|_| *key == self.target.key).map(str::to_owned)
    }

    pub(super) fn set_mtime(&mut self, mtime: SystemTime) {
        self.mtime = Some(mtime);
    }

    pub(super) fn set_sha256(&mut self, sha256: &str) {
        self.sha256 = Some(sha256.to_owned());
    }

    /// Whether publishing it would change what is there under its name.
    pub(super) fn has_content(&self) -> bool {
        self.content.untouched().is_none_or(|source| source.copied_from.is_some())
    }

    /// Whether anything was written or cut.
    pub(super) fn is_written(&self) -> bool {
        self.written
    }

    /// Writes behind the last byte. An empty file keeps its content then, too: that there was none.
    pub(super) async fn write_at_end(&mut self, data: Bytes) -> StoreResult<()> {
        let is_empty = |source: &&Source| source.size() == 0 && source.object.version().is_some();
        if let Some(source) = self.content.untouched().filter(is_empty).filter(|_| !data.is_empty()).cloned() {
            self.note_origin(&source);
        }
        self.write_at(self.size(), data).await
    }

    pub(super) async fn write_at(&mut self, offset: u64, mut data: Bytes) -> StoreResult<()> {
        if data.is_empty() {
            return Ok(());
        }
        let end = self.judge_end(offset.checked_add(data.len() as u64))?;
        self.judge_hole(offset)?;
        self.written = true;
        self.begin_to_change(offset).await?;
        self.covered.add(offset, end);
        if offset != self.written_end() {
            self.take_over_tail_at_once().await?;
        }
        // A file that is read as well is written in any order from its first byte: what is on the stream cannot be read back.
        if let Content::InOrder(behind) = &mut self.content
            && !self.readable
        {
            let position = self.stream.position();
            match offset.cmp(&position) {
                Ordering::Equal => {
                    // What is written twice and waits must not come after what is newer.
                    behind.forget_waiting(offset, end);
                    self.append(offset, data).await?;
                    return self.append_waiting().await;
                }
                // Writes that overtook each other: those before it are on their way.
                Ordering::Greater => match behind.keep_waiting(&self.transfers.budget, position, offset, data) {
                    Ok(()) => return Ok(()),
                    Err(too_far) => data = too_far,
                },
                // A header that is written last: its part is sent once more.
                Ordering::Less if end <= self.stream.changeable() => {
                    self.content.take_kept();
                    return self.stream.change(offset, data).await;
                }
                Ordering::Less => {}
            }
        }
        if offset < self.stream.sent() {
            self.take_back_kept().await?;
        }
        self.go_random().await?;
        self.write_random(offset, data).await
    }

    /// The first change of what was an object's until now: the file gets what stays of it.
    async fn begin_to_change(&mut self, offset: u64) -> StoreResult<()> {
        let Some(source) = self.content.take_untouched() else { return Ok(()) };
        let size = source.size();
        self.covered.add(0, size);
        if offset == 0 && !self.readable {
            // Whoever begins at the start probably overwrites all of it, so nothing of it is fetched before it is needed.
            self.content = Content::InOrder(Behind::Tail(source));
            return Ok(());
        }
        self.note_origin(&source);
        self.take_over(source, size, offset < size).await
    }

    /// Refuses a length that the file cannot get. Nothing has happened to the file then.
    pub(super) fn judge_length(&self, length: u64) -> StoreResult<()> {
        self.judge_end(Some(length))?;
        self.judge_hole(length)
    }

    /// Refuses to go on from `position` when that leaves more bytes unwritten than a file may have: they would have to be sent, or
    /// kept, as zeros.
    fn judge_hole(&self, position: u64) -> StoreResult<()> {
        let size = self.size();
        let gap = position.saturating_sub(size);
        let is_whole = self.content.untouched().is_some();
        let unwritten = if is_whole { 0 } else { size.saturating_sub(self.covered.bytes()) };
        let largest = self.transfers.largest_hole;
        if gap == 0 || unwritten.saturating_add(gap) <= largest {
            return Ok(());
        }
        let message = format!(
            "{position} is {gap} bytes beyond the end, and at most {largest} bytes of a file may be left unwritten \
             (limits.largest_hole)"
        );
        Err(StoreError::new(StoreErrorKind::Hole, message))
    }

    fn judge_end(&self, end: Option<u64>) -> StoreResult<u64> {
        end.filter(|end| *end <= self.largest).ok_or_else(|| {
            StoreError::new(
                StoreErrorKind::TooLarge,
                format!("the largest file that store {} takes has {} bytes", self.target.store.name(), self.largest),
            )
        })
    }

    /// Takes bytes at the end of the stream. The upload begins here when the file is too large for one put.
    async fn append(&mut self, position: u64, data: Bytes) -> StoreResult<()> {
        if self.content.is_in_order() && self.stream.must_begin(data.len()) {
            self.begin(false).await?;
        }
        // It may be another state than before: the store may write files.
        if self.content.is_in_order() {
            self.stream.append(data).await
        } else {
            self.write_random(position, data).await
        }
    }

    /// Goes on with what waited for the place that the stream has reached.
    async fn append_waiting(&mut self) -> StoreResult<()> {
        while let Content::InOrder(Behind::Gaps(gaps)) = &mut self.content
            && let Some((position, data)) = gaps.waiting.take_first(Some(self.stream.position()))
        {
            self.append(position, data).await?;
        }
        Ok(())
    }

    pub(super) async fn set_length(&mut self, length: u64) -> StoreResult<()> {
        self.judge_length(length)?;
        // An empty object that is emptied counts as cut: the client wants a file of its own.
        if length == self.size() && (length > 0 || self.content.untouched().is_none()) {
            return Ok(());
        }
        self.written = true;
        if length == 0 {
            // From here on nothing old is left, even if there was no byte of it.
            self.based_on = None;
        }
        if let Some(source) = self.content.take_untouched() {
            let kept = source.size().min(length);
            self.covered.add(0, kept);
            if length > 0 {
                self.note_origin(&source);
            }
            self.take_over(source, kept, false).await?;
        }
        self.covered.cut(length);
        self.settle_tail(length).await?;
        if length == self.size() {
            return Ok(());
        }
        if length > 0 && length < self.stream.sent() && self.cut_kept(length).await? {
            return Ok(());
        }
        self.set_written_length(length).await
    }

    /// Cuts or extends what was written; nothing of an older content is behind it any more.
    async fn set_written_length(&mut self, length: u64) -> StoreResult<()> {
        let (position, sent) = (self.stream.position(), self.stream.sent());
        match &mut self.content {
            // Parts that were sent cannot be made shorter, but of an empty file none is needed.
            Content::Staged { .. } if length == 0 && sent > 0 => self.start_again().await,
            Content::InStore { .. } | Content::Staged { .. } => self.set_random_length(length).await,
            Content::InOrder(Behind::Gaps(gaps)) if length >= position => {
                gaps.waiting.forget(length, u64::MAX);
                gaps.wanted = length;
                // Zeros have to be sent one by one, so they are bounded as if they were staged; a local file just gets longer.
                if length - position > self.transfers.staging.limit() { self.go_random().await } else { Ok(()) }
            }
            Content::InOrder(_) if length == 0 => self.start_again().await,
            Content::InOrder(behind) => {
                // Nothing waits before the end of the stream, so nothing that waits is left.
                if let Behind::Gaps(Gaps { waiting, wanted, .. }) = behind {
                    (*waiting, *wanted) = Default::default();
                }
                self.go_random().await?;
                self.set_random_length(length).await
            }
            Content::Untouched(_) => Err(random::no_place()),
        }
    }

    /// Forgets everything that was written.
    async fn start_again(&mut self) -> StoreResult<()> {
        let fresh = Stream::new(self.target.clone(), Arc::clone(&self.transfers));
        let mut old = std::mem::replace(&mut self.stream, fresh);
        self.content = Content::default();
        old.abort().await;
        Ok(())
    }
}
