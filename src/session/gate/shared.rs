//! What a gate has to tell the gates of other gateways: faults of sources, and bans. Nothing is kept until somebody wants it.

use std::collections::{HashMap, HashSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use super::Source;

/// The most sources whose faults wait to be told; those of further ones are not. They count here all the same.
const MOST: usize = 16_384;

/// What waits to be told.
#[derive(Debug, Default)]
pub(super) struct Outbox {
    /// `None` while nobody wants to know.
    waiting: Mutex<Option<Waiting>>,
    has_ban: Notify,
}

/// Faults and bans that were not told yet.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    pub(super) points: HashMap<Source, u32>,
    pub(super) bans: HashSet<Source>,
}

impl Outbox {
    /// From now on, what happens is kept until it is taken.
    pub(super) fn open(&self) {
        self.lock().get_or_insert_default();
    }

    /// Whether anybody wants to know.
    pub(super) fn is_open(&self) -> bool {
        self.lock().is_some()
    }

    /// A source made points.
    pub(super) fn add_points(&self, source: Source, points: u32) {
        let mut lock = self.lock();
        let Some(waiting) = lock.as_mut() else { return };
        if waiting.points.len() < MOST || waiting.points.contains_key(&source) {
            let sum = waiting.points.entry(source).or_default();
            *sum = sum.saturating_add(points);
        }
    }

    /// A source was banned: what led to it is told no more.
    pub(super) fn add_ban(&self, source: Source) {
        let mut lock = self.lock();
        let Some(waiting) = lock.as_mut() else { return };
        waiting.points.remove(&source);
        if waiting.bans.len() < MOST {
            waiting.bans.insert(source);
        }
        drop(lock);
        self.has_ban.notify_one();
    }

    /// A ban was lifted before it was told.
    pub(super) fn forget(&self, source: Source) {
        if let Some(waiting) = self.lock().as_mut() {
            waiting.points.remove(&source);
            waiting.bans.remove(&source);
        }
    }

    /// Takes up to `most` sources with points, and all bans.
    pub(super) fn take(&self, most: usize) -> Waiting {
        let mut lock = self.lock();
        let Some(waiting) = lock.as_mut() else { return Waiting::default() };
        let chosen: Vec<Source> = waiting.points.keys().take(most).copied().collect();
        let points = chosen.into_iter().filter_map(|source| waiting.points.remove_entry(&source)).collect();
        Waiting { points, bans: std::mem::take(&mut waiting.bans) }
    }

    /// Waits until there is a ban to tell.
    pub(super) async fn has_ban(&self) {
        self.has_ban.notified().await;
    }

    fn lock(&self) -> MutexGuard<'_, Option<Waiting>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
