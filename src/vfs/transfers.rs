//! What all transfers of the process share.

use std::io;
use std::sync::Arc;

use tokio::sync::watch;

use crate::descriptors::Descriptors;

use super::budget::Budget;
use super::lookups::Changes;
use super::staging::Staging;
use super::{PartialUploads, Settings};

/// What all transfers of the process share: the memory budget, the staging folder, the descriptors of open files, and the count of what
/// they change.
#[derive(Debug)]
pub struct Transfers {
    pub(super) changes: Arc<Changes>,
    pub(super) budget: Arc<Budget>,
    pub(super) staging: Arc<Staging>,
    pub(super) descriptors: Arc<Descriptors>,
    pub(super) largest_hole: u64,
    pub(super) partial: PartialUploads,
    /// How many unfinished uploads are being removed from their stores.
    removals: watch::Sender<u64>,
}

impl Transfers {
    /// As [`Transfers::within`], with as many open files as the system allows.
    ///
    /// # Errors
    /// As [`Transfers::within`].
    pub fn new(settings: Settings) -> io::Result<Arc<Transfers>> {
        Transfers::within(settings, Descriptors::unlimited())
    }

    /// Makes the budget (at least 16 MiB) and the staging folder, and removes what a dead process left there. `descriptors`: for
    /// open files.
    ///
    /// # Errors
    /// When the staging folder cannot be made or written.
    pub fn within(settings: Settings, descriptors: Arc<Descriptors>) -> io::Result<Arc<Transfers>> {
        let staging = Staging::open(settings.staging_folder, settings.staging)?;
        let budget = Budget::new(settings.transfer_memory);
        let removals = watch::Sender::new(0);
        let (largest_hole, partial) = (settings.largest_hole, settings.partial_uploads);
        let changes = Arc::default();
        Ok(Arc::new(Transfers { changes, budget, staging, descriptors, largest_hole, partial, removals }))
    }

    /// Bytes of the memory of all transfers that are in use.
    pub fn memory_in_use(&self) -> u64 {
        self.budget.in_use()
    }

    /// Waits until nothing is left to remove of uploads that were dropped; for the end of the process. Bound it in time: a
    /// store may not answer.
    pub async fn settled(&self) {
        // The sender lives in `self`, so the wait cannot fail.
        let _ = self.removals.subscribe().wait_for(|running| *running == 0).await;
    }

    /// A removal runs until what this gives is dropped.
    pub(super) fn start_removal(self: &Arc<Self>) -> Removal {
        self.removals.send_modify(|running| *running += 1);
        Removal(Arc::clone(self))
    }
}

/// A removal that runs.
pub(super) struct Removal(Arc<Transfers>);

impl Drop for Removal {
    fn drop(&mut self) {
        self.0.removals.send_modify(|running| *running -= 1);
    }
}
