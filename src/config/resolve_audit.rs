//! What `audit` means, and what becomes of a file of events.

use std::num::NonZeroUsize;

use super::out_of_reach::Own;
use super::problem::Problems;
use super::raw::Store;
use super::raw_audit as raw;
use super::resolve::{Surroundings, resolve_path};
use super::resolve_witness::resolve_witness;
use crate::audit;

/// The chain of the events; none without `audit`.
pub(super) fn resolve_chain(
    raw: Option<&raw::Audit>,
    stores: &[Store],
    around: &Surroundings,
    problems: &mut Problems,
) -> Option<audit::ChainSettings> {
    let raw = raw?;
    let at = raw.folder.as_ref()?;
    let folder = resolve_path(at, around, problems)?;
    problems.note_own(Own::file(at, "the folder of the signing key", &folder));
    if around.look_at_files {
        if !folder.is_dir() {
            let what =
                format!("the folder {} does not exist; `lockgate init` creates one, with a key", folder.display());
            at.problem_outside(problems, what);
        } else if let Err(what) = audit::SigningKey::read(&folder).and_then(|key| key.check_public(&folder)) {
            at.problem_outside(problems, what);
        }
    }
    let self_check = raw.self_check.as_ref().map(|check| check.value);
    let witness = raw.witness.as_ref().and_then(|witness| resolve_witness(witness, stores, problems));
    Some(audit::ChainSettings { folder, checkpoint_every: raw.checkpoint_every, self_check, witness })
}

/// When a file ends and when it is brought to the disk.
pub(super) fn resolve_file_care(raw: &raw::FileCare, problems: &mut Problems) -> audit::FileOptions {
    if raw.rotate.is_none() {
        let right = "there are no old files without rotation; write `rotate: { size: 100MiB }` too";
        if let Some(gzip) = raw.gzip.as_ref().filter(|gzip| gzip.value) {
            gzip.problem(problems, right);
        }
        if let Some(keep) = &raw.keep {
            keep.problem(problems, right);
        }
    }
    let rotate = raw.rotate.as_ref().map(|rotate| audit::Rotate {
        size: rotate.value.size,
        age: rotate.value.age,
        gzip: raw.gzip.as_ref().is_some_and(|gzip| gzip.value),
        keep: raw.keep.as_ref().and_then(|keep| NonZeroUsize::new(usize::try_from(keep.value).ok()?)),
    });
    audit::FileOptions { rotate, fsync: raw.fsync.as_ref().map(|fsync| fsync.value).unwrap_or_default() }
}
