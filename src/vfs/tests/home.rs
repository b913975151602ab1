//! A home on test stores, and the few calls that most tests make.

use std::sync::Arc;

use bytes::Bytes;

use crate::path::LogicalPath;
use crate::stores::{Existing, Key, Store};

use super::super::{Committed, Mount, PartialUploads, Settings, Transfers, Vfs, VfsResult, WriteMode};
use super::store::TestStore;

pub(in crate::vfs) const NEW: WriteMode =
    WriteMode { truncate: true, existing: Existing::Replace, must_exist: false, read: false };
pub(in crate::vfs) const CHANGE: WriteMode = WriteMode { truncate: false, ..NEW };
pub(in crate::vfs) const MIB: u64 = 1 << 20;

/// A home with its staging folder.
pub(in crate::vfs) struct Home {
    pub(in crate::vfs) vfs: Vfs,
    pub(in crate::vfs) transfers: Arc<Transfers>,
    _staging: tempfile::TempDir,
}

/// A home of these entries: path, store, target.
pub(in crate::vfs) fn home(entries: &[(&str, &TestStore, &str)]) -> Home {
    home_with(entries, |_| {})
}

pub(in crate::vfs) fn home_with(entries: &[(&str, &TestStore, &str)], change: impl FnOnce(&mut Settings)) -> Home {
    let mut stores: Vec<(*const TestStore, Arc<dyn Store>)> = Vec::new();
    let mounts = entries.iter().map(|(entry, store, target)| {
        let at = std::ptr::from_ref(*store);
        let known = stores.iter().find(|(p, _)| *p == at).map(|(_, s)| Arc::clone(s));
        let store = known.unwrap_or_else(|| {
            let new: Arc<dyn Store> = Arc::new((*store).clone());
            stores.push((at, Arc::clone(&new)));
            new
        });
        Mount { entry: path(entry), store, target: Key::parse(target).unwrap() }
    });
    home_of(mounts.collect(), change)
}

pub(in crate::vfs) fn home_of(mounts: Vec<Mount>, change: impl FnOnce(&mut Settings)) -> Home {
    let folder = tempfile::tempdir().unwrap();
    let mut settings = Settings {
        transfer_memory: 64 * MIB,
        staging: 256 * MIB,
        staging_folder: folder.path().to_owned(),
        largest_hole: 64 << 20,
        partial_uploads: PartialUploads::Discard,
    };
    change(&mut settings);
    let transfers = Transfers::new(settings).unwrap();
    let vfs = Vfs::new(mounts, Arc::clone(&transfers));
    Home { vfs, transfers, _staging: folder }
}

pub(in crate::vfs) fn path(text: &str) -> LogicalPath {
    LogicalPath::parse_str(text).unwrap()
}

/// Bytes that differ from place to place.
pub(in crate::vfs) fn pattern(length: usize) -> Bytes {
    let mut random = Random(7);
    let mut data = Vec::with_capacity(length + 8);
    while data.len() < length {
        data.extend_from_slice(&random.next().to_le_bytes());
    }
    data.truncate(length);
    data.into()
}

impl Home {
    /// Writes a whole file in pieces of 32 KiB.
    pub(in crate::vfs) async fn write(&self, name: &str, mode: WriteMode, data: &Bytes) -> VfsResult<Committed> {
        let mut writer = self.vfs.open_write(&path(name), mode).await?;
        let mut at = 0;
        while at < data.len() {
            let end = (at + 32 * 1024).min(data.len());
            writer.write_at(at as u64, data.slice(at..end)).await?;
            at = end;
        }
        writer.commit().await
    }

    /// Reads a whole file in pieces.
    pub(in crate::vfs) async fn read(&self, name: &str, piece: usize) -> VfsResult<Vec<u8>> {
        let mut reader = self.vfs.open_read(&path(name)).await?;
        let mut data = Vec::new();
        loop {
            let read = reader.read_at(data.len() as u64, piece).await?;
            if read.is_empty() {
                return Ok(data);
            }
            data.extend_from_slice(&read);
        }
    }

    pub(in crate::vfs) async fn names(&self, name: &str) -> VfsResult<Vec<String>> {
        let mut listing = self.vfs.open_directory(&path(name)).await?;
        let mut names = Vec::new();
        while let Some(page) = listing.next_page().await? {
            names.extend(page.into_iter().map(|entry| entry.name));
        }
        Ok(names)
    }

    /// All memory and all of the staging folder is free again, at the latest soon.
    pub(in crate::vfs) async fn assert_all_given_back(&self) {
        for _ in 0..500 {
            let budget = &self.transfers.budget;
            if budget.free() == budget.total() && self.transfers.staging.used() == 0 {
                return;
            }
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
        panic!("{:?} are not given back", self.transfers);
    }
}

/// xorshift64*: the same numbers in every run.
pub(in crate::vfs) struct Random(pub(in crate::vfs) u64);

impl Random {
    pub(in crate::vfs) fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D)
    }

    pub(in crate::vfs) fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }
}

/// Waits for a call; counts it if it is not answered at once.
pub(in crate::vfs) async fn counting<F: Future>(waits: &mut usize, call: F) -> F::Output {
    let mut call = std::pin::pin!(call);
    let mut is_first = true;
    std::future::poll_fn(|cx| {
        let answer = call.as_mut().poll(cx);
        *waits += usize::from(answer.is_pending() && std::mem::take(&mut is_first));
        answer
    })
    .await
}
