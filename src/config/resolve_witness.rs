//! What `audit.witness` means, and whether it is a witness at all: in a place that those who change the events would change with them.

use super::out_of_reach::Own;
use super::problem::Problems;
use super::raw;
use super::raw_audit::Witness;
use super::reader::At;
use super::resolve_sinks::judge_lock;
use super::resolve_users::resolve_target;
use crate::audit::{self, SinkTarget, WitnessSettings};
use crate::stores::{self, Place};

/// The folder of the store if `prefix` is left out.
const PREFIX: &str = "witness";

/// `audit.witness`
pub(super) fn resolve_witness(
    raw: &Witness,
    stores: &[raw::Store],
    problems: &mut Problems,
) -> Option<WitnessSettings> {
    let at = raw.store.as_ref()?;
    if at.value.contains(':') {
        at.problem(problems, "write only the name of a store here, and the folder as `prefix`");
        return None;
    }
    let prefix = raw.prefix.as_ref().map_or(PREFIX, |prefix| prefix.value.trim_matches('/'));
    if let Some(prefix) = raw.prefix.as_ref().filter(|prefix| prefix.value.contains("${")) {
        prefix.problem(problems, "`${…}` is not replaced here; write the folder as it is");
        return None;
    }
    let (store, folder) = match resolve_target(&format!("{}:/{prefix}", at.value), None, stores) {
        Ok(found) => found,
        Err(what) => {
            raw.prefix.as_ref().filter(|_| what.contains("folder")).unwrap_or(at).problem(problems, what);
            return None;
        }
    };
    judge_lock(raw.lock.as_ref(), &store, stores, problems);
    problems.note_own(Own::folder(at, &store, &folder, ", and could remove what the witness saw"));
    let place = audit::ArchivePlace { store, folder, lock: raw.lock.as_ref().map(|lock| lock.value) };
    Some(WitnessSettings { place, every: raw.every, judges_readiness: raw.readiness })
}

/// Notes that the witness is where the trail is, or where its key is.
pub(super) fn judge_witness(
    at: Option<&At<String>>,
    settings: &audit::Settings,
    stores: &[stores::Settings],
    problems: &mut Problems,
) {
    let chain = settings.chain.as_ref();
    let Some((at, chain, witness)) = at.and_then(|at| Some((at, chain?, chain?.witness.as_ref()?))) else { return };
    let Some(place) = place_of(&witness.place, stores) else { return };
    let overlaps = |other: &Place| place.may_hold(other) || other.may_hold(&place);
    let right =
        "a witness must be where those who can change the events cannot change it; choose another store or `prefix`";
    if overlaps(&Place::of_path(&chain.folder)) {
        return at.problem(problems, format!("is in the same place as `audit.folder`: {right}"));
    }
    for sink in &settings.sinks {
        let of_sink = match &sink.target {
            SinkTarget::Store(store) => place_of(&store.place, stores),
            SinkTarget::File { path, .. } => Some(Place::of_path(path)),
            _ => None,
        };
        if of_sink.is_some_and(|of_sink| overlaps(&of_sink)) {
            return at.problem(problems, format!("is in the same place as a sink of `events`: {right}"));
        }
    }
}

/// Where a folder of a store is, whatever it is called.
pub(super) fn place_of(target: &audit::ArchivePlace, stores: &[stores::Settings]) -> Option<Place> {
    let root = stores::place(stores.iter().find(|store| store.name == target.store)?)?;
    Some(root.path().map_or_else(|| root.below(&target.folder), |path| Place::of_path(&path.join(&target.folder))))
}
