//! How much a memory store holds, and how much it may hold. What is unfinished counts like what is published.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::stores::{Capacity, StoreError, StoreErrorKind, StoreResult};

/// What an object, a marker or an upload takes beside its bytes and its key: entries of two tables, attributes, a tag.
const EACH: u64 = 768;

/// How often a key is kept.
const COPIES_OF_KEY: u64 = 2;

/// The bytes of one memory store, for all who use it.
#[derive(Debug)]
pub(super) struct Space {
    size: u64,
    used: AtomicU64,
}

impl Space {
    /// `size` in bytes.
    pub(super) fn new(size: u64) -> Arc<Self> {
        Arc::new(Space { size, used: AtomicU64::new(0) })
    }

    /// Takes what a name with so many bytes needs.
    ///
    /// # Errors
    /// [`StoreErrorKind::NoSpace`].
    pub(super) fn take_for(self: &Arc<Self>, key: &str, bytes: u64) -> Result<Taken, Full> {
        self.take(bytes.saturating_add(of_name(key)))
    }

    /// Takes what a further name needs that is to take the place of another one right away, also when nothing is free: a
    /// full store in which nothing can be renamed could not be tidied up.
    pub(super) fn take_for_move(self: &Arc<Self>, key: &str) -> Taken {
        let bytes = of_name(key);
        self.used.fetch_add(bytes, Ordering::Relaxed);
        Taken { space: Arc::clone(self), bytes }
    }

    /// Takes so many bytes.
    ///
    /// # Errors
    /// [`StoreErrorKind::NoSpace`].
    pub(super) fn take(self: &Arc<Self>, bytes: u64) -> Result<Taken, Full> {
        let fits = |used: u64| used.checked_add(bytes).filter(|sum| *sum <= self.size);
        match self.used.fetch_update(Ordering::Relaxed, Ordering::Relaxed, fits) {
            Ok(_) => Ok(Taken { space: Arc::clone(self), bytes }),
            Err(used) => Err(Full { size: self.size, free: self.size.saturating_sub(used) }),
        }
    }

    /// What is there and what is left.
    pub(super) fn capacity(&self) -> Capacity {
        let used = self.used.load(Ordering::Relaxed);
        Capacity { total: self.size, free: self.size.saturating_sub(used) }
    }
}

fn of_name(key: &str) -> u64 {
    EACH + COPIES_OF_KEY * key.len() as u64
}

/// Bytes that somebody took; dropping them gives them back.
#[derive(Debug)]
pub(super) struct Taken {
    space: Arc<Space>,
    bytes: u64,
}

impl Taken {
    /// Adds what was taken apart.
    pub(super) fn merge(&mut self, mut other: Taken) {
        self.bytes += std::mem::take(&mut other.bytes);
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        self.space.used.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

/// The store has no room.
#[derive(Debug)]
pub(super) struct Full {
    size: u64,
    free: u64,
}

impl Full {
    /// As an error of a key.
    pub(super) fn at<T>(doing: &str, key: &str, result: Result<T, Full>) -> StoreResult<T> {
        result.map_err(|full| StoreError::cannot(StoreErrorKind::NoSpace, doing, key, &full.to_string()))
    }
}

impl fmt::Display for Full {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Full { size, free } = self;
        write!(f, "{free} of the memory store's {size} bytes are free; remove files, or raise its option \"size\"")
    }
}

impl std::error::Error for Full {}
