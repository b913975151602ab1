//! What has been written of one file, and where it is: on its way to the store, waiting for its turn, or on disk.

mod inherited;
mod moved;

use std::sync::Arc;
use std::time::SystemTime;

use bytes::Bytes;

use crate::descriptors::Held;
use crate::stores::{FileUpload, Key, Object, PutOptions, StoreError, StoreErrorKind, StoreResult, Upload, Written};

use super::super::Transfers;
use super::super::staging::StagedFile;
use super::batched::Batched;
use super::covered::Covered;
use super::reorder::Reorder;
use super::stream::{Stream, Target};

/// Zeros that fill gaps.
static ZEROS: [u8; 64 * 1024] = [0; 64 * 1024];

/// The content of an unfinished file.
///
/// It starts as a stream. The first write that a stream cannot take (far ahead, backwards, in a file that is read as well) moves
/// what has not been sent to a file that is written in any order: the local store's own, or a staged one.
pub(super) struct Body {
    target: Target,
    transfers: Arc<Transfers>,
    largest: u64,
    /// The object that is changed or taken for the content, until the first change.
    inherited: Option<Arc<dyn Object>>,
    /// What is inherited has another name: the file is to be a copy of it.
    copied_from: Option<Key>,
    /// The object whose first so many bytes begin the file, as long as they are as they were.
    kept: Option<(Arc<dyn Object>, u64)>,
    /// The object that is being overwritten from its start, in order: its bytes behind what was written still stand.
    tail: Option<Arc<dyn Object>>,
    /// The object of the file's own name that some of the content is from: nothing else may be replaced with it.
    based_on: Option<(Key, Arc<dyn Object>)>,
    readable: bool,
    stream: Stream,
    waiting: Reorder,
    random: Option<Random>,
    /// The length that was asked for of a stream, where it goes beyond what was written.
    wanted: u64,
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
    /// For the store's own file, while there is one.
    held: Option<Held>,
}

/// A file that is written in any order.
enum Random {
    /// The store's own, with the whole content.
    Store(Batched<Box<dyn FileUpload>>),
    /// A staged one, with what follows the parts that were sent.
    Staged(Batched<StagedFile>),
}

impl Body {
    pub(super) fn new(
        target: Target,
        transfers: Arc<Transfers>,
        inherited: Option<Arc<dyn Object>>,
        readable: bool,
    ) -> Self {
        Body {
            largest: target.store.part_limits().largest_object.min(i64::MAX as u64),
            stream: Stream::new(target.clone(), Arc::clone(&transfers)),
            target,
            transfers,
            inherited,
            copied_from: None,
            kept: None,
            tail: None,
            based_on: None,
            readable,
            waiting: Reorder::default(),
            random: None,
            wanted: 0,
            mtime: None,
            sha256: None,
            written: false,
            covered: Covered::default(),
            moved: None,
            left: None,
            held: None,
        }
    }

    /// The length that the file would have if it were published now.
    pub(super) fn size(&self) -> u64 {
        let old = self.inherited.as_ref().or(self.tail.as_ref()).map_or(0, |object| object.stat().size);
        match self.random {
            _ if self.inherited.is_some() => old,
            Some(_) => self.written_end().max(old),
            None => self.written_end().max(self.waiting.end()).max(self.wanted).max(old),
        }
    }

    /// Where the bytes end that were written without a gap.
    fn written_end(&self) -> u64 {
        match &self.random {
            Some(Random::Store(file)) => file.length(),
            Some(Random::Staged(file)) => self.stream.sent() + file.length(),
            None => self.stream.position(),
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
        self.inherited.is_none() || self.copied_from.is_some()
    }

    /// Whether anything was written or cut.
    pub(super) fn is_written(&self) -> bool {
        self.written
    }

    /// Writes behind the last byte. An empty file keeps its content then, too: that there was none.
    pub(super) async fn write_at_end(&mut self, data: Bytes) -> StoreResult<()> {
        let is_empty = |object: &&Arc<dyn Object>| object.stat().size == 0 && object.version().is_some();
        if let Some(object) = self.inherited.as_ref().filter(is_empty).filter(|_| !data.is_empty()).cloned() {
            self.note_origin(&object);
        }
        self.write_at(self.size(), data).await
    }

    pub(super) async fn write_at(&mut self, offset: u64, data: Bytes) -> StoreResult<()> {
        if data.is_empty() {
            return Ok(());
        }
        let end = self.judge_end(offset.checked_add(data.len() as u64))?;
        self.judge_hole(offset)?;
        self.written = true;
        if let Some(object) = self.inherited.take() {
            let size = object.stat().size;
            self.covered.add(0, size);
            if offset == 0 && !self.readable {
                self.tail = Some(object);
            } else {
                self.note_origin(&object);
                self.take_over(object, size, offset < size).await?;
            }
        }
        self.covered.add(offset, end);
        if offset != self.written_end() {
            self.take_over_tail_at_once().await?;
        }
        let position = self.stream.position();
        if self.random.is_none() && !self.readable {
            if offset == position {
                self.waiting.forget(offset, end);
                self.append(offset, data).await?;
                return self.append_waiting().await;
            }
            if offset > position {
                return match self.waiting.keep(&self.transfers.budget, position, offset, data) {
                    Ok(()) => Ok(()),
                    Err(data) => {
                        self.go_random().await?;
                        self.write_random(offset, data).await
                    }
                };
            }
            if end <= self.stream.changeable() {
                self.kept = None;
                return self.stream.change(offset, data).await;
            }
        }
        if offset < self.stream.sent() {
            self.take_back_kept().await?;
        }
        if self.random.is_none() {
            self.go_random().await?;
        }
        self.write_random(offset, data).await
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
        let unwritten = if self.inherited.is_some() { 0 } else { size.saturating_sub(self.covered.bytes()) };
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
        if self.random.is_none() && self.stream.must_begin(data.len()) {
            self.begin(false).await?;
        }
        if self.random.is_some() { self.write_random(position, data).await } else { self.stream.append(data).await }
    }

    async fn append_waiting(&mut self) -> StoreResult<()> {
        while self.random.is_none() {
            let position = self.stream.position();
            let Some((_, data)) = self.waiting.take_first(Some(position)) else { return Ok(()) };
            self.append(position, data).await?;
        }
        // The store turned out to write files in any order: nothing needs to wait.
        while let Some((offset, data)) = self.waiting.take_first(None) {
            self.write_random(offset, data).await?;
        }
        Ok(())
    }

    /// Begins the upload, which may be to take parts of the object that is there. With a store that writes files, what the stream has
    /// goes there.
    async fn begin(&mut self, takes_parts: bool) -> StoreResult<()> {
        let options = PutOptions { takes_parts, ..self.target.options(self.mtime) };
        if self.target.store.uploads_are_files() && self.held.is_none() {
            self.held = Some(self.target.account.hold()?);
        }
        match self.target.store.begin_upload(&self.target.key, &options).await? {
            Upload::Parts(upload) => self.stream.begin(upload, self.mtime),
            Upload::File(file) => {
                let file = Batched::new(file, 0, Arc::clone(&self.transfers.budget));
                self.random = Some(Random::Store(file));
                let (data, _hold) = self.stream.take_unsent().await?;
                let mut offset = 0;
                for piece in data {
                    let length = piece.len() as u64;
                    self.write_random(offset, piece).await?;
                    offset += length;
                }
                if self.wanted > self.size() {
                    self.set_random_length(self.wanted).await?;
                }
                self.wanted = 0;
            }
        }
        Ok(())
    }

    /// From here on the file is written in any order.
    async fn go_random(&mut self) -> StoreResult<()> {
        if self.random.is_some() {
            return Ok(());
        }
        let wanted = self.size();
        if !self.stream.has_begun() {
            self.begin(false).await?;
        }
        if self.random.is_none() {
            self.random = Some(Random::Staged(self.stream.move_to_disk().await?));
        }
        while let Some((offset, data)) = self.waiting.take_first(None) {
            self.write_random(offset, data).await?;
        }
        if self.size() < wanted {
            self.set_random_length(wanted).await?;
        }
        self.wanted = 0;
        Ok(())
    }

    async fn write_random(&mut self, mut offset: u64, mut data: Bytes) -> StoreResult<()> {
        match &mut self.random {
            Some(Random::Store(file)) => file.write_at(offset, data).await,
            Some(Random::Staged(file)) => {
                let sent = self.stream.sent();
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
            None => Err(no_place()),
        }
    }

    async fn set_random_length(&mut self, length: u64) -> StoreResult<()> {
        match &mut self.random {
            Some(Random::Store(file)) => file.set_length(length).await,
            Some(Random::Staged(file)) => {
                let length = length.checked_sub(self.stream.sent()).ok_or_else(|| sent_already(&self.stream))?;
                file.set_length(length).await
            }
            None => Err(no_place()),
        }
    }

    pub(super) async fn read_at(&mut self, offset: u64, length: usize) -> StoreResult<Bytes> {
        if offset >= self.size() {
            return Ok(Bytes::new());
        }
        if let Some(object) = &self.inherited {
            return object.read(offset, length).await;
        }
        if offset < self.stream.sent() {
            return Err(sent_already(&self.stream));
        }
        if self.random.is_none() {
            self.go_random().await?;
        }
        match &mut self.random {
            Some(Random::Store(file)) => file.read_at(offset, length).await,
            Some(Random::Staged(file)) => match offset.checked_sub(self.stream.sent()) {
                Some(offset) => file.read_at(offset, length).await,
                None => Err(sent_already(&self.stream)),
            },
            None => Err(no_place()),
        }
    }

    /// As [`Body::read_at`], of what is still on this machine; `None` of anything else.
    pub(super) async fn read_kept(&mut self, offset: u64, length: usize) -> StoreResult<Option<Bytes>> {
        if self.inherited.is_some() || self.tail.is_some() {
            return Ok(None);
        }
        let is_here = self.target.store.uploads_are_files();
        match &mut self.random {
            // Another server's would have to be fetched.
            Some(Random::Store(file)) if is_here => file.read_at(offset, length).await.map(Some),
            Some(Random::Staged(file)) => match offset.checked_sub(self.stream.sent()) {
                Some(offset) => file.read_at(offset, length).await.map(Some),
                None => Ok(None),
            },
            Some(Random::Store(_)) | None => Ok(None),
        }
    }

    pub(super) async fn set_length(&mut self, length: u64) -> StoreResult<()> {
        self.judge_length(length)?;
        if length == self.size() && (length > 0 || self.inherited.is_none()) {
            return Ok(());
        }
        self.written = true;
        if length == 0 {
            // From here on nothing old is left, even if there was no byte of it.
            self.based_on = None;
        }
        if let Some(object) = self.inherited.take() {
            let kept = object.stat().size.min(length);
            self.covered.add(0, kept);
            if length > 0 {
                self.note_origin(&object);
            }
            self.take_over(object, kept, false).await?;
        }
        self.covered.cut(length);
        self.settle_tail(length).await?;
        if length == self.size() {
            return Ok(());
        }
        if length > 0 && length < self.stream.sent() && self.cut_kept(length).await? {
            return Ok(());
        }
        if self.random.is_some() && (length > 0 || self.stream.sent() == 0) {
            return self.set_random_length(length).await;
        }
        let position = self.stream.position();
        if length >= position {
            self.waiting.forget(length, u64::MAX);
            self.wanted = length;
            // Zeros have to be sent one by one, so they are bounded as if they were staged; a local file just gets longer.
            return if length - position > self.transfers.staging.limit() { self.go_random().await } else { Ok(()) };
        }
        if length == 0 {
            return self.start_again().await;
        }
        self.waiting.forget(0, u64::MAX);
        self.wanted = 0;
        self.go_random().await?;
        self.set_random_length(length).await
    }

    /// Forgets everything that was written.
    async fn start_again(&mut self) -> StoreResult<()> {
        let fresh = Stream::new(self.target.clone(), Arc::clone(&self.transfers));
        let mut old = std::mem::replace(&mut self.stream, fresh);
        self.kept = None;
        self.waiting = Reorder::default();
        self.wanted = 0;
        self.random = None;
        old.abort().await;
        self.held = None;
        Ok(())
    }

    /// Publishes the file; `None` when nothing was changed of an existing one.
    pub(super) async fn publish(&mut self) -> StoreResult<Option<Written>> {
        if let Some(object) = &self.inherited {
            let (Some(from), Some(version)) = (&self.copied_from, object.version()) else { return Ok(None) };
            let options = self.target.options(self.mtime);
            match self.target.store.copy(from, version, &self.target.key, &options).await {
                Err(error) if error.kind == StoreErrorKind::Unsupported => self.take_over_copy().await?,
                done => return done.map(Some),
            }
        }
        self.settle_tail(u64::MAX).await?;
        self.fill_gaps().await?;
        let based_on = self.replaced_version()?;
        match &mut self.random {
            None => {}
            Some(Random::Store(file)) => {
                let file = file.flush().await?;
                if let Some(version) = &based_on {
                    file.base_on(version);
                }
                return file.complete(self.mtime).await.map(Some);
            }
            Some(Random::Staged(file)) => self.stream.send_staged(file.flush().await?).await?,
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

    /// Bytes that nobody wrote are zeros.
    async fn fill_gaps(&mut self) -> StoreResult<()> {
        while let Some(start) = self.waiting.start() {
            self.append_zeros(start).await?;
            self.append_waiting().await?;
        }
        self.append_zeros(self.wanted).await
    }

    async fn append_zeros(&mut self, until: u64) -> StoreResult<()> {
        while self.random.is_none() && self.stream.position() < until {
            let position = self.stream.position();
            let length = (until - position).min(ZEROS.len() as u64) as usize;
            self.append(position, Bytes::from_static(&ZEROS[..length])).await?;
        }
        if self.random.is_some() && self.size() < until {
            self.set_random_length(until).await?;
        }
        Ok(())
    }

    /// Keeps of what was written only what has no gap before it.
    pub(super) async fn cut_at_first_gap(&mut self) -> StoreResult<()> {
        self.waiting = Reorder::default();
        self.wanted = 0;
        let end = self.covered.end();
        if self.random.is_some() && end < self.size() { self.set_random_length(end).await } else { Ok(()) }
    }

    /// Publishes nothing and removes what the store has.
    pub(super) async fn discard(&mut self) {
        self.waiting = Reorder::default();
        if let Some(Random::Store(file)) = self.random.take()
            && let Some(mut file) = file.salvage().await
            && let Err(error) = file.abort().await
        {
            let Target { store, key, .. } = &self.target;
            tracing::warn!(store = store.name(), %key, %error, "an unfinished file could not be removed");
        }
        self.random = None;
        self.stream.abort().await;
        self.held = None;
    }
}

fn no_place() -> StoreError {
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
