//! The shape of `audit`, and of what becomes of a file of events.

use std::time::Duration;

use super::problem::Problems;
use super::reader::{At, Item, Section};
use super::units::parse_duration;
use crate::audit::{Fsync, LockMode, ObjectLock, SelfCheck};

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// How often a checkpoint is made if `checkpoint_every` is left out.
const CHECKPOINT_EVERY: Duration = MINUTE;

/// How often the newest checkpoint is witnessed if `every` is left out.
const WITNESS_EVERY: Duration = Duration::from_secs(5 * 60);

/// The longest that an object is locked.
const LONGEST_LOCK: Duration = Duration::from_secs(100 * 366 * 24 * 60 * 60);

/// `audit`
#[derive(Debug)]
pub(super) struct Audit {
    pub folder: Option<At<String>>,
    pub checkpoint_every: Duration,
    pub self_check: Option<At<SelfCheck>>,
    pub witness: Option<Witness>,
}

/// `audit.witness`
#[derive(Debug)]
pub(super) struct Witness {
    pub store: Option<At<String>>,
    pub prefix: Option<At<String>>,
    pub every: Duration,
    pub readiness: bool,
    pub lock: Option<At<ObjectLock>>,
}

/// `rotate`, `gzip`, `keep` and `fsync` of a file sink
#[derive(Debug)]
pub(super) struct FileCare {
    pub rotate: Option<At<Rotate>>,
    pub gzip: Option<At<bool>>,
    pub keep: Option<At<u64>>,
    pub fsync: Option<At<Fsync>>,
}

/// `events[i].rotate`
#[derive(Debug)]
pub(super) struct Rotate {
    pub size: Option<u64>,
    pub age: Option<Duration>,
}

/// Reads `audit`.
pub(super) fn read_audit(item: &Item<'_>, problems: &mut Problems) -> Option<Audit> {
    let mut section = item.section(problems)?;
    let folder = section.need("folder", "write the folder of the signing key; `lockgate init` creates one", problems);
    let folder = folder.and_then(|item| item.placed_text(problems));
    let every = section.take("checkpoint_every").and_then(|item| item.duration(SECOND..=DAY, problems));
    let self_check = section.take("self_check");
    let self_check = self_check.and_then(|item| Some(item.at(read_self_check(&item, problems)?)));
    let witness = section.take("witness").and_then(|item| read_witness(&item, problems));
    section.close(problems);
    Some(Audit { folder, checkpoint_every: every.unwrap_or(CHECKPOINT_EVERY), self_check, witness })
}

/// `1d`, or `{ every: 1d, readiness: true }`.
fn read_self_check(item: &Item<'_>, problems: &mut Problems) -> Option<SelfCheck> {
    let bounds = SECOND..=366 * DAY;
    if item.is_text() {
        return Some(SelfCheck { every: item.duration(bounds, problems)?, judges_readiness: false });
    }
    let mut section = item.section(problems)?;
    let every = section.need("every", "write how often the trail is verified, as in 1d", problems);
    let every = every.and_then(|item| item.duration(bounds, problems));
    let readiness = section.take("readiness").and_then(|item| item.boolean(problems));
    section.close(problems);
    Some(SelfCheck { every: every?, judges_readiness: readiness.unwrap_or(false) })
}

fn read_witness(item: &Item<'_>, problems: &mut Problems) -> Option<Witness> {
    let mut section = item.section(problems)?;
    let store =
        section.need("store", "write the name of a store that nobody who can change the events can change", problems);
    let witness = Witness {
        store: store.and_then(|item| item.placed_text(problems)),
        prefix: section.take("prefix").and_then(|item| item.placed_text(problems)),
        every: section.take("every").and_then(|item| item.duration(SECOND..=DAY, problems)).unwrap_or(WITNESS_EVERY),
        readiness: section.take("readiness").and_then(|item| item.boolean(problems)).unwrap_or(false),
        lock: read_object_lock(&mut section, problems),
    };
    section.close(problems);
    Some(witness)
}

/// Reads `object_lock: { mode: compliance, retain: 365d }`.
pub(super) fn read_object_lock(section: &mut Section<'_>, problems: &mut Problems) -> Option<At<ObjectLock>> {
    let item = section.take("object_lock")?;
    let mut lock = item.section(problems)?;
    let modes = [("governance", LockMode::Governance), ("compliance", LockMode::Compliance)];
    let mode =
        lock.need("mode", "write governance (a permission can shorten a lock) or compliance (nobody can)", problems);
    let mode = mode.and_then(|item| item.choice(&modes, problems));
    let retain = lock.need("retain", "write how long each object is locked, as in 365d", problems);
    let retain = retain.and_then(|item| item.duration(MINUTE..=LONGEST_LOCK, problems));
    lock.close(problems);
    Some(item.at(ObjectLock { mode: mode?, retain: retain? }))
}

/// Reads what a sink says of its file.
pub(super) fn read_file_care(section: &mut Section<'_>, problems: &mut Problems) -> FileCare {
    let rotate = section.take("rotate");
    let gzip = section.take("gzip");
    let keep = section.take("keep");
    let fsync = section.take("fsync");
    FileCare {
        rotate: rotate.and_then(|item| Some(item.at(read_rotate(&item, problems)?))),
        gzip: gzip.and_then(|item| Some(item.at(item.boolean(problems)?))),
        keep: keep.and_then(|item| Some(item.at(item.integer(1..=1_000_000, problems)?))),
        fsync: fsync.and_then(|item| Some(item.at(read_fsync(&item, problems)?))),
    }
}

fn read_rotate(item: &Item<'_>, problems: &mut Problems) -> Option<Rotate> {
    let mut section = item.section(problems)?;
    let size = section.take("size").map(|item| item.size(64 << 10..=1 << 40, problems));
    let age = section.take("age").map(|item| item.duration(MINUTE..=366 * DAY, problems));
    section.close(problems);
    if size.is_none() && age.is_none() {
        item.problem(problems, "write a size or an age, as in { size: 100MiB, age: 1d }");
    }
    Some(Rotate { size: size.flatten(), age: age.flatten() })
}

/// Reads `fsync`.
pub(super) fn read_fsync(item: &Item<'_>, problems: &mut Problems) -> Option<Fsync> {
    let text = item.text(problems)?;
    match text {
        "never" => Some(Fsync::Never),
        "batch" => Some(Fsync::Batch),
        _ if parse_duration(text).is_ok() => {
            item.duration(Duration::from_millis(10)..=60 * MINUTE, problems).map(Fsync::Every)
        }
        _ => {
            item.problem(problems, "write never, batch, or a duration, as in 1s");
            None
        }
    }
}
