//! An upload that goes to the store while it arrives: a small file as one put, else parts, several under way at once.

use std::sync::Arc;
use std::time::SystemTime;

use bytes::Bytes;
use tokio::task::JoinSet;

use crate::descriptors::Account;
use crate::stores::{
    Existing, Key, PartUpload, Provenance, PutOptions, Store, StoreError, StoreErrorKind, StoreResult, Written,
};

use super::super::Transfers;
use super::super::budget::Hold;
use super::super::mounts::Spot;
use super::super::staging::StagedFile;
use super::super::task::joined;
use super::batched::Batched;
use super::pieces::Pieces;
use super::plan::Plan;

/// How many parts of one upload may be under way.
const MOST_PARTS: usize = 12;

/// How many bytes of one upload may be under way, unless they are of two parts only. 64 MiB is 50 ms at 1.3 GB/s.
const MOST_BYTES: u64 = 64 << 20;

/// About how many bytes a part has that the store copies by itself.
const COPIED_PART: u64 = 256 << 20;

/// A staged part is read back in pieces of this many bytes.
const PIECE: u64 = 4 << 20;

/// What an upload is to become.
#[derive(Debug, Clone)]
pub(super) struct Target {
    pub(super) store: Arc<dyn Store>,
    pub(super) key: Key,
    pub(super) existing: Existing,
    /// What the object says of where it comes from.
    pub(super) provenance: Option<Provenance>,
    /// On whose account files are open.
    pub(super) account: Account,
}

impl Target {
    pub(super) fn at(spot: &Spot, existing: Existing, provenance: Option<Provenance>) -> Target {
        let (store, key, account) = (Arc::clone(&spot.store), spot.key.clone(), spot.account.clone());
        Target { store, key, existing, provenance, account }
    }

    /// How its object is made.
    pub(super) fn options(&self, mtime: Option<SystemTime>) -> PutOptions {
        PutOptions {
            existing: self.existing,
            mtime,
            based_on: None,
            provenance: self.provenance.clone(),
            takes_parts: false,
        }
    }
}

/// Bytes in order on their way into one object.
pub(super) struct Stream {
    pub(super) target: Target,
    transfers: Arc<Transfers>,
    plan: Plan,
    most_parts: u64,
    pub(super) upload: Option<Box<dyn PartUpload>>,
    /// The mtime that the store was given when the upload began.
    begun_with: Option<SystemTime>,
    filling: Filling,
    /// Bytes in parts that were handed to the store.
    sent: u64,
    parts: u64,
    flying: JoinSet<StoreResult<u64>>,
    flying_bytes: u64,
    /// The first part, for clients that write a header at the end.
    head: Option<Head>,
}

/// A copy on disk of the first part, while it can be sent again.
struct Head {
    file: StagedFile,
    changed: bool,
}

/// The part that fills.
enum Filling {
    Memory(Pieces),
    /// Memory was spent, so it fills on disk.
    Disk(Batched<StagedFile>),
}

impl Default for Filling {
    fn default() -> Self {
        Filling::Memory(Pieces::default())
    }
}

impl Stream {
    pub(super) fn new(target: Target, transfers: Arc<Transfers>) -> Self {
        let limits = target.store.part_limits();
        Stream {
            plan: Plan::new(&limits, transfers.budget.largest_part()),
            most_parts: limits.most_parts,
            target,
            transfers,
            upload: None,
            begun_with: None,
            filling: Filling::default(),
            sent: 0,
            parts: 0,
            flying: JoinSet::new(),
            flying_bytes: 0,
            head: None,
        }
    }

    /// How many bytes were taken.
    pub(super) fn position(&self) -> u64 {
        self.sent + self.filling.length()
    }

    /// How many of them are in parts that were handed to the store.
    pub(super) fn sent(&self) -> u64 {
        self.sent
    }

    /// How many bytes at the beginning can be changed although they were sent.
    pub(super) fn changeable(&self) -> u64 {
        self.head.as_ref().map_or(0, |head| head.file.length())
    }

    /// Changes bytes within [`Stream::changeable`].
    pub(super) async fn change(&mut self, offset: u64, data: Bytes) -> StoreResult<()> {
        let end = offset + data.len() as u64;
        match &mut self.head {
            Some(head) if end <= head.file.length() => {
                head.changed = true;
                head.file.write_at(offset, vec![data]).await
            }
            _ => Err(StoreError::new(StoreErrorKind::Unsupported, "these bytes were sent to the store already")),
        }
    }

    /// Whether an upload in parts has begun.
    pub(super) fn has_begun(&self) -> bool {
        self.upload.is_some()
    }

    /// Whether an upload must begin before `more` bytes can be taken.
    pub(super) fn must_begin(&self, more: usize) -> bool {
        self.upload.is_none() && self.filling.length() + more as u64 > self.plan.size(0)
    }

    /// Parts can be sent from now on.
    pub(super) fn begin(&mut self, upload: Box<dyn PartUpload>, mtime: Option<SystemTime>) {
        self.upload = Some(upload);
        self.begun_with = mtime;
    }

    /// Takes the bytes that follow. Waits while too many parts are under way.
    ///
    /// # Errors
    /// The store's, of any part so far; [`StoreErrorKind::TooLarge`]; [`StoreErrorKind::NoSpace`] when memory and staging are spent.
    pub(super) async fn append(&mut self, mut data: Bytes) -> StoreResult<()> {
        self.note_ended_parts()?;
        while !data.is_empty() {
            let size = self.plan.size(self.sent);
            let room = size.saturating_sub(self.filling.length());
            if room == 0 {
                self.send_filling().await?;
                continue;
            }
            let piece = data.split_to(usize::try_from(room).unwrap_or(usize::MAX).min(data.len()));
            self.fill(piece).await?;
        }
        if self.upload.is_some() && self.filling.length() >= self.plan.size(self.sent) {
            self.send_filling().await?;
        }
        Ok(())
    }

    async fn fill(&mut self, piece: Bytes) -> StoreResult<()> {
        loop {
            match &mut self.filling {
                Filling::Memory(pieces) => {
                    if pieces.try_reserve(&self.transfers.budget, piece.len()) {
                        pieces.push(piece);
                        return Ok(());
                    }
                }
                Filling::Disk(file) => return file.write_at(file.length(), piece).await,
            }
            // The parts of this upload give memory back by themselves; only when there are none is the disk needed.
            if !self.wait_for_a_part().await? {
                self.spill().await?;
            }
        }
    }

    /// Moves the part that fills to disk.
    async fn spill(&mut self) -> StoreResult<()> {
        let mut file = self.transfers.staging.create(&self.target.account).await?;
        if let Filling::Memory(pieces) = &mut self.filling {
            let (data, hold) = pieces.take();
            file.write_at(0, data).await?;
            drop(hold);
        }
        let length = file.length();
        self.filling = Filling::Disk(Batched::new(file, length, Arc::clone(&self.transfers.budget)));
        Ok(())
    }

    /// What fills, as bytes in memory that moves. From disk it is read back when its whole size is free at once.
    async fn take_filling(&mut self) -> StoreResult<(Vec<Bytes>, Option<Hold>)> {
        match std::mem::take(&mut self.filling) {
            Filling::Memory(mut pieces) => {
                let (data, mut hold) = pieces.take();
                if let Some(hold) = &mut hold {
                    hold.start_moving();
                }
                Ok((data, hold))
            }
            Filling::Disk(file) => {
                let file = file.finish().await?;
                self.read_back(&file, 0, file.length()).await
            }
        }
    }

    async fn read_back(&self, file: &StagedFile, from: u64, length: u64) -> StoreResult<(Vec<Bytes>, Option<Hold>)> {
        let hold = self.transfers.budget.take_to_move(length).await;
        let mut data = Vec::new();
        let end = from + length;
        let mut at = from;
        while at < end {
            let piece = file.read_at(at, (end - at).min(PIECE) as usize).await?;
            if piece.is_empty() {
                return Err(StoreError::new(StoreErrorKind::Other, "a staged part is shorter than it was"));
            }
            at += piece.len() as u64;
            data.push(piece);
        }
        Ok((data, hold))
    }

    /// What was not sent, in memory; nothing was when no upload has begun.
    pub(super) async fn take_unsent(&mut self) -> StoreResult<(Vec<Bytes>, Option<Hold>)> {
        self.take_filling().await
    }

    /// What was not sent, in a staged file.
    pub(super) async fn move_to_disk(&mut self) -> StoreResult<Batched<StagedFile>> {
        if let Filling::Memory(_) = self.filling {
            self.spill().await?;
        }
        match std::mem::take(&mut self.filling) {
            Filling::Disk(file) => Ok(file),
            Filling::Memory(_) => Err(StoreError::new(StoreErrorKind::Other, "a part was not moved to disk")),
        }
    }

    async fn send_filling(&mut self) -> StoreResult<()> {
        let length = self.filling.length();
        self.make_room(length).await?;
        let (data, hold) = self.take_filling().await?;
        let first = (self.parts == 0).then(|| data.clone());
        self.launch(data, hold, length)?;
        if let Some(first) = first {
            self.keep_head(first).await;
        }
        Ok(())
    }

    /// Keeps a copy of the first part. Without room for it that part cannot be changed any more, which few clients do.
    async fn keep_head(&mut self, data: Vec<Bytes>) {
        if !self.upload.as_ref().is_some_and(|upload| upload.replaces_parts()) {
            return;
        }
        let Ok(mut file) = self.transfers.staging.create(&self.target.account).await else { return };
        if file.write_at(0, data).await.is_ok() {
            self.head = Some(Head { file, changed: false });
        }
    }

    /// Sends the first part again if it was changed since.
    async fn send_head_again(&mut self) -> StoreResult<()> {
        let Some(head) = self.head.take().filter(|head| head.changed) else { return Ok(()) };
        let (data, hold) = self.read_back(&head.file, 0, head.file.length()).await?;
        if let Some(upload) = &mut self.upload {
            upload.replace_part(0, data).await?;
        }
        drop(hold);
        Ok(())
    }

    /// Whether so many bytes of an object make a part of their own at the beginning.
    pub(super) fn is_a_part(&self, bytes: u64) -> bool {
        self.position() == 0 && bytes >= self.target.store.part_limits().smallest_part
    }

    /// Whether the bytes of an object can become parts without passing here: nothing was taken yet, and they make a part.
    pub(super) fn can_copy(&self, bytes: u64) -> bool {
        let copies = self.upload.as_ref().is_some_and(|upload| upload.copies_parts());
        copies && self.is_a_part(bytes)
    }

    /// Makes parts of the first bytes of the object that is there, on the store's side.
    pub(super) async fn copy(&mut self, etag: &str, bytes: u64) -> StoreResult<()> {
        let parts = copied_parts(bytes, self.target.store.part_limits().largest_part);
        for number in 0..parts {
            while self.flying.len() >= MOST_PARTS {
                self.wait_for_a_part().await?;
            }
            // Of equal length, so that the last one is not too short.
            let range = bytes * number / parts..bytes * (number + 1) / parts;
            let Some(upload) = &mut self.upload else { return Err(no_upload()) };
            let copying = upload.copy_part(etag, range);
            self.flying.spawn(async move { copying.await.map(|()| 0) });
            self.parts += 1;
        }
        self.sent += bytes;
        Ok(())
    }

    /// Sends all of a staged file, in parts.
    pub(super) async fn send_staged(&mut self, file: &StagedFile) -> StoreResult<()> {
        let mut at = 0;
        while at < file.length() {
            let length = self.plan.size(self.sent).min(file.length() - at);
            self.make_room(length).await?;
            let (data, hold) = self.read_back(file, at, length).await?;
            self.launch(data, hold, length)?;
            at += length;
        }
        Ok(())
    }

    fn launch(&mut self, data: Vec<Bytes>, hold: Option<Hold>, length: u64) -> StoreResult<()> {
        if self.parts == self.most_parts {
            return Err(StoreError::new(
                StoreErrorKind::TooLarge,
                format!(
                    "the file needs more than {} parts; a larger limits.transfer_memory allows larger parts",
                    self.most_parts
                ),
            ));
        }
        let Some(upload) = &mut self.upload else {
            return Err(no_upload());
        };
        let sending = upload.put_part(data);
        self.flying.spawn(async move {
            let result = sending.await;
            drop(hold);
            result.map(|()| length)
        });
        self.parts += 1;
        self.sent += length;
        self.flying_bytes += length;
        Ok(())
    }

    /// Waits until a part of this length may be under way as well.
    async fn make_room(&mut self, length: u64) -> StoreResult<()> {
        while self.flying.len() >= MOST_PARTS || (self.flying.len() >= 2 && self.flying_bytes + length > MOST_BYTES) {
            self.wait_for_a_part().await?;
        }
        Ok(())
    }

    /// Waits for any part to end; false when none is under way.
    async fn wait_for_a_part(&mut self) -> StoreResult<bool> {
        match self.flying.join_next().await {
            Some(result) => {
                self.flying_bytes -= joined(result)?;
                Ok(true)
            }
            None => Ok(false),
        }
    }

    fn note_ended_parts(&mut self) -> StoreResult<()> {
        while let Some(result) = self.flying.try_join_next() {
            self.flying_bytes -= joined(result)?;
        }
        Ok(())
    }

    /// Publishes what was taken; with `based_on` only in place of that version. `sha256`: the digest of all of it, if it is known.
    pub(super) async fn finish(
        &mut self,
        mtime: Option<SystemTime>,
        based_on: Option<String>,
        sha256: Option<&str>,
    ) -> StoreResult<Written> {
        if let (Some(provenance), Some(sha256)) = (&mut self.target.provenance, sha256) {
            provenance.set_sha256(sha256);
        }
        if self.upload.is_some() && self.position() == 0 {
            // No store completes an upload without parts.
            self.abort().await;
        }
        if self.upload.is_none() {
            let (data, _hold) = self.take_filling().await?;
            let options = PutOptions { based_on, ..self.target.options(mtime) };
            return self.target.store.put(&self.target.key, data, &options).await;
        }
        if self.filling.length() > 0 {
            self.send_filling().await?;
        }
        while self.wait_for_a_part().await? {}
        self.send_head_again().await?;
        let Some(upload) = &mut self.upload else {
            return Err(no_upload());
        };
        if let Some(version) = &based_on {
            upload.base_on(version);
        }
        if let Some(sha256) = sha256 {
            upload.set_sha256(sha256);
        }
        let mut written = upload.complete().await?;
        self.upload = None;
        match mtime {
            None => written.mtime_kept = true,
            Some(mtime) if self.begun_with != Some(mtime) => {
                // Some stores make another version for that.
                let (kept, version) = self.set_mtime(mtime, written.version.as_deref()).await;
                written = Written { mtime_kept: kept, version, ..Written::default() };
            }
            Some(_) => {}
        }
        Ok(written)
    }

    /// Keeps a time that came after the upload had begun, for the version that was published; whether it is kept, and the version that
    /// there is then. The object is published: that the time is not kept does not fail it.
    async fn set_mtime(&self, mtime: SystemTime, published: Option<&str>) -> (bool, Option<String>) {
        let Target { store, key, .. } = &self.target;
        match store.set_mtime(key, mtime, published).await {
            Ok(Some(change)) => (true, change.after),
            Ok(None) => (false, published.map(str::to_owned)),
            Err(error) => {
                tracing::warn!(store = store.name(), %key, %error, "the modification time was not kept");
                (false, published.map(str::to_owned))
            }
        }
    }

    /// Stops the parts that are under way and removes what the store has.
    pub(super) async fn abort(&mut self) {
        self.flying.shutdown().await;
        self.flying_bytes = 0;
        self.filling = Filling::default();
        self.head = None;
        if let Some(mut upload) = self.upload.take()
            && let Err(error) = upload.abort().await
        {
            let Target { store, key, .. } = &self.target;
            tracing::warn!(store = store.name(), %key, %error, "the parts of an upload could not be removed");
        }
    }
}

/// In how many parts of about equal length so many bytes are copied: a thousand at most, so that what follows has the others, or a
/// few more where a part would be too large.
fn copied_parts(bytes: u64, largest: u64) -> u64 {
    bytes.div_ceil(COPIED_PART.max(bytes.div_ceil(1_000)).min(largest.max(1)))
}

fn no_upload() -> StoreError {
    StoreError::new(StoreErrorKind::Other, "a part was ready before its upload")
}

impl Filling {
    fn length(&self) -> u64 {
        match self {
            Filling::Memory(pieces) => pieces.length(),
            Filling::Disk(file) => file.length(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_copied_part_is_too_large_and_many_are_left_for_what_follows() {
        const GIB: u64 = 1 << 30;
        for bytes in [1, COPIED_PART, COPIED_PART + 1, 300 * GIB, 4_880 * GIB, 5_000 * GIB, 5_119 * GIB, 5_120 * GIB] {
            let parts = copied_parts(bytes, 5 * GIB);
            let longest = (0..parts).map(|number| bytes * (number + 1) / parts - bytes * number / parts).max();
            assert!(longest.is_some_and(|longest| longest <= 5 * GIB), "{bytes} in {parts} parts: {longest:?}");
            assert!(parts <= 1_100, "{bytes} in {parts} parts");
        }
        assert_eq!(copied_parts(COPIED_PART, 5 * GIB), 1);
    }
}
