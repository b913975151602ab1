//! Another writer comes between any two steps of each operation that has several, on every store. No content that anybody was told
//! is stored may vanish: it is under its name, or where a rename that succeeded has moved it, or in what was made from it.

use std::collections::BTreeMap;
use std::panic::AssertUnwindSafe;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use futures_util::{FutureExt, StreamExt, stream};
use lockgate::internals::stores::Existing;
use lockgate::internals::vfs::{Vfs, VfsResult, WriteMode};

use crate::fixture::a_time;
use crate::ground::{CHANGE, EXCLUSIVE, MIB, NEW, path, pattern, write};
use crate::seams_stage::{Place, Stage};

/// How many attempts run at once.
const AT_ONCE: usize = 4;

const READ_AND_CHANGE: WriteMode = WriteMode { read: true, ..CHANGE };

/// What an operation does with names and contents.
enum Deed {
    /// One name, or all below it, becomes another.
    Moves { from: &'static str, to: &'static str, replaces: bool },
    /// A name gets a content that is made from the old one.
    Changes(&'static str, fn(&[u8]) -> Vec<u8>),
    /// A name gets a content that has nothing of the old one: one of these.
    Replaces(&'static str, fn(&Contents) -> Vec<Vec<u8>>),
    /// A name that nothing has gets this content.
    Makes(fn() -> Vec<u8>),
}

/// What lies under which name before.
type Contents = BTreeMap<String, Vec<u8>>;

struct Scenario {
    /// Names and how many bytes they hold.
    before: &'static [(&'static str, usize)],
    act: for<'v> fn(&'v Vfs) -> BoxFuture<'v, VfsResult<()>>,
    deed: Deed,
    /// Where the other writer writes.
    intrusions: &'static [&'static str],
}

/// One attempt: who came where, and what became of it.
struct Attempt<'s> {
    scenario: &'s Scenario,
    place: Place,
    /// The step before which the other writer came.
    step: String,
    intruded: &'static str,
    /// What the other writer wrote.
    intruder: Vec<u8>,
    before: Contents,
    found: Contents,
    result: VfsResult<()>,
}

/// Lets the other writer come before each step in turn, to each name.
async fn explore(place: Place, scenario: Scenario) {
    let Some(stage) = Stage::new(place).await else { return };
    lay_out(&stage, &scenario).await;
    let before = stage.gate.passed();
    (scenario.act)(&stage.vfs).await.expect("nobody else writes");
    let steps = stage.gate.passed() - before;
    assert!(steps > 0, "no step passed the gate");
    let scenario = &scenario;
    let mut attempts = Vec::new();
    for name in scenario.intrusions {
        attempts.extend((1..=steps).map(|step| attempt(place, scenario, step, name)));
    }
    let reached: Vec<bool> = stream::iter(attempts).buffer_unordered(AT_ONCE).collect().await;
    // How many steps there are depends on what runs side by side and is read ahead.
    let count = reached.iter().filter(|reached| **reached).count();
    assert!(count * 2 >= reached.len(), "only {count} of {} steps were reached", reached.len());
}

async fn lay_out(stage: &Stage, scenario: &Scenario) -> Contents {
    let mut contents = Contents::new();
    for (at, (name, size)) in scenario.before.iter().enumerate() {
        // No two files have one content.
        let mut content = pattern(1, *size);
        content[0] = at as u8;
        stage.put(name, &content).await;
        contents.insert((*name).to_owned(), content);
    }
    contents
}

/// Whether the step was reached.
async fn attempt(place: Place, scenario: &Scenario, step: u64, intruded: &'static str) -> bool {
    let Some(stage) = Stage::new(place).await else { return true };
    let before = lay_out(&stage, scenario).await;
    // As long as what it replaces: lengths tell nothing.
    let intruder = pattern(3, before.get(intruded).map_or(500, Vec::len));
    let held = stage.gate.hold(step);
    let mut acting = (scenario.act)(&stage.vfs);
    let (result, what) = tokio::select! {
        _ = &mut acting => return false,
        held = held => {
            let held = held.expect("the gate stands");
            stage.put(intruded, &intruder).await;
            let what = held.what.clone();
            drop(held);
            (acting.await, what)
        }
    };
    stage.transfers.settled().await;
    let found = stage.find().await;
    Attempt { scenario, place, step: what, intruded, intruder, before, found, result }.judge();
    true
}

impl Attempt<'_> {
    fn judge(&self) {
        let known = self.known();
        for (name, content) in &self.found {
            assert!(known.contains(content), "{name} is a mixture; {self}");
        }
        assert!(self.intruder_is_safe() || self.is_a_known_gap(), "what the other writer stored is gone; {self}");
        for (name, content) in &self.before {
            let safe = *name == self.intruded || self.is_safe(name, content);
            assert!(safe, "{name} is gone; {self}");
        }
    }

    /// Every content that may be found.
    fn known(&self) -> Vec<Vec<u8>> {
        let mut known: Vec<Vec<u8>> = self.before.values().cloned().chain([self.intruder.clone()]).collect();
        match &self.scenario.deed {
            Deed::Moves { .. } => {}
            Deed::Changes(_, change) => known.extend(known.clone().iter().map(|content| change(content))),
            Deed::Replaces(_, contents) => known.extend(self.replacements(*contents)),
            Deed::Makes(content) => known.push(content()),
        }
        known
    }

    /// What the operation may put in place of a file, with what the other writer wrote to whatever it reads from.
    fn replacements(&self, contents: fn(&Contents) -> Vec<Vec<u8>>) -> Vec<Vec<u8>> {
        let mut intruded = self.before.clone();
        intruded.insert(self.intruded.to_owned(), self.intruder.clone());
        [contents(&self.before), contents(&intruded)].concat()
    }

    fn has(&self, name: &str, content: &[u8]) -> bool {
        self.found.get(name).is_some_and(|found| found == content)
    }

    fn intruder_is_safe(&self) -> bool {
        if self.has(self.intruded, &self.intruder) {
            return true;
        }
        let found = self.found.get(self.intruded);
        match &self.scenario.deed {
            Deed::Moves { to, replaces: true, .. } if *to == self.intruded => {
                self.before.values().any(|content| self.has(to, content))
            }
            Deed::Moves { .. } => {
                let moved = self.moved(self.intruded);
                self.result.is_ok() && moved.is_some_and(|name| self.has(&name, &self.intruder))
            }
            Deed::Changes(name, change) => {
                self.result.is_ok() && *name == self.intruded && found == Some(&change(&self.intruder))
            }
            Deed::Replaces(name, contents) => {
                let new = self.replacements(*contents);
                self.result.is_ok() && *name == self.intruded && found.is_some_and(|found| new.contains(found))
            }
            Deed::Makes(..) => false,
        }
    }

    /// Whether a file that nobody else wrote is where it may be.
    fn is_safe(&self, name: &str, content: &[u8]) -> bool {
        if self.has(name, content) {
            return true;
        }
        match &self.scenario.deed {
            Deed::Moves { to, replaces, .. } => {
                let moved = self.moved(name);
                // Who wrote to the new name once the file had it has replaced it there.
                let replaced = moved.as_deref() == Some(self.intruded) && self.result.is_ok();
                (*replaces && *to == name) || replaced || moved.is_some_and(|name| self.has(&name, content))
            }
            Deed::Changes(changed, change) => {
                self.result.is_ok() && *changed == name && self.has(name, &change(content))
            }
            Deed::Replaces(replaced, _) => self.result.is_ok() && *replaced == name,
            Deed::Makes(..) => false,
        }
    }

    /// The name that a rename gives to another.
    fn moved(&self, name: &str) -> Option<String> {
        let Deed::Moves { from, to, .. } = &self.scenario.deed else { return None };
        let rest = name.strip_prefix(from)?;
        (rest.is_empty() || rest.starts_with('/')).then(|| format!("{to}{rest}"))
    }

    /// The gaps that docs/SEMANTICS.md names: between a look and the very next request, on a store that judges no condition there.
    fn is_a_known_gap(&self) -> bool {
        let before = |kind: &str| self.step.starts_with(kind);
        match (&self.scenario.deed, self.place) {
            (Deed::Moves { .. }, Place::S3) if self.moved(self.intruded).is_some() => before("DELETE "),
            (Deed::Moves { replaces: false, .. }, Place::S3) => before("COPY "),
            (Deed::Changes(..), Place::Gcs) => before("COMPLETE "),
            _ => false,
        }
    }
}

impl std::fmt::Display for Attempt<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let names: Vec<_> = self.found.iter().map(|(name, content)| (name, content.len(), content.get(..4))).collect();
        let Attempt { place, step, intruded, result, .. } = self;
        write!(f, "{place:?}: {intruded} was written before {step:?}: {result:?}, then {names:?}")
    }
}

/// Makes a test of each scenario on each of these stores.
macro_rules! seams {
    ($($name:ident: $before:expr, $intrusions:expr, $act:expr => $deed:expr, on $($place:ident)+;)*) => {
        $(mod $name {
            use super::*;

            fn scenario() -> Scenario {
                Scenario {
                    before: &$before,
                    act: |vfs| { let act = $act; act(vfs).boxed() },
                    deed: $deed,
                    intrusions: &$intrusions,
                }
            }

            $(#[allow(non_snake_case)]
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $place() {
                explore(Place::$place, scenario()).await;
            })+
        })*
    };
}

/// Writes at `offset` into a file, which is as long at least.
fn with(content: &[u8], offset: usize, new: &[u8]) -> Vec<u8> {
    let mut content = content.to_vec();
    content.resize(content.len().max(offset + new.len()), 0);
    content[offset..offset + new.len()].copy_from_slice(new);
    content
}

async fn copy(vfs: &Vfs, from: &str, to: &str) -> VfsResult<()> {
    let mut source = vfs.open_read(&path(from)).await?;
    let mut writer = vfs.open_write(&path(to), NEW).await?;
    let copied = match source.whole() {
        Some(whole) => writer.become_copy(&whole)?,
        None => false,
    };
    if !copied {
        let size = source.attributes().size as usize;
        let content = source.read_at(0, size).await?;
        writer.write_at(0, content).await?;
    }
    writer.commit().await.map(drop)
}

/// Writes `/a`, which is renamed to `/b` before it is closed.
async fn renamed_upload(vfs: &Vfs, size: usize) -> VfsResult<()> {
    let mut writer = vfs.open_write(&path("/a"), NEW).await?;
    writer.write_at(0, Bytes::from(pattern(2, size))).await?;
    vfs.move_upload(&mut writer, &path("/b"), Existing::Refuse).await?;
    writer.commit().await.map(drop)
}

seams! {
    rename_of_a_file: [("a", 1000)], ["a", "b"],
        async |vfs: &Vfs| vfs.rename(&path("/a"), &path("/b"), Existing::Refuse, None).await.map(drop)
        => Deed::Moves { from: "a", to: "b", replaces: false }, on Memory Local S3 HeedingS3 Azure Gcs;
    rename_onto_a_file: [("a", 1000), ("b", 10)], ["a", "b"],
        async |vfs: &Vfs| vfs.rename(&path("/a"), &path("/b"), Existing::Replace, None).await.map(drop)
        => Deed::Moves { from: "a", to: "b", replaces: true }, on Memory Local S3 HeedingS3 Azure Gcs;
    rename_of_a_directory: [("d/a", 1000), ("d/b/c", 10), ("d/e", 5)], ["d/a", "d/b/c", "d/new", "n/a"],
        async |vfs: &Vfs| vfs.rename(&path("/d"), &path("/n"), Existing::Refuse, None).await.map(drop)
        => Deed::Moves { from: "d", to: "n", replaces: false }, on Memory Local HeedingS3 Azure Gcs;
    rename_of_a_directory_of_one_file: [("d/a", 1000)], ["d/a", "n/a"],
        async |vfs: &Vfs| vfs.rename(&path("/d"), &path("/n"), Existing::Refuse, None).await.map(drop)
        => Deed::Moves { from: "d", to: "n", replaces: false }, on S3;
    move_of_a_file: [("a", 1000)], ["a", "other/b"],
        async |vfs: &Vfs| vfs.rename(&path("/a"), &path("/other/b"), Existing::Refuse, None).await.map(drop)
        => Deed::Moves { from: "a", to: "other/b", replaces: false }, on Memory Local S3 HeedingS3 Azure Gcs;
    move_of_a_directory: [("d/a", 5), ("d/b/c", 5), ("d/e", 5)], ["d/a", "d/b/c", "d/new", "other/t/a"],
        async |vfs: &Vfs| vfs.rename(&path("/d"), &path("/other/t"), Existing::Refuse, None).await.map(drop)
        => Deed::Moves { from: "d", to: "other/t", replaces: false }, on Memory Local S3 HeedingS3 Azure Gcs;
    move_of_a_directory_here: [("other/d/a", 5), ("other/d/b", 5)], ["other/d/a", "other/d/new", "n/a"],
        async |vfs: &Vfs| vfs.rename(&path("/other/d"), &path("/n"), Existing::Refuse, None).await.map(drop)
        => Deed::Moves { from: "other/d", to: "n", replaces: false }, on Memory Local HeedingS3 Azure Gcs;
    small_overwrite: [("f", 2000)], ["f"],
        async |vfs: &Vfs| write(vfs, "/f", NEW, 0, pattern(2, 1000)).await.map(drop)
        => Deed::Replaces("f", |_| vec![pattern(2, 1000)]), on Memory Local HeedingS3 Azure Gcs;
    large_overwrite: [("f", 2000)], ["f"],
        async |vfs: &Vfs| write(vfs, "/f", NEW, 0, pattern(2, 6 * MIB)).await.map(drop)
        => Deed::Replaces("f", |_| vec![pattern(2, 6 * MIB)]), on Memory Local HeedingS3 Azure Gcs;
    overwrite_from_the_start: [("f", 2000)], ["f"],
        async |vfs: &Vfs| write(vfs, "/f", CHANGE, 0, pattern(2, 1000)).await.map(drop)
        => Deed::Changes("f", |old| with(old, 0, &pattern(2, 1000))), on Memory Local HeedingS3 Azure Gcs;
    small_append: [("f", 2000)], ["f"],
        async |vfs: &Vfs| write(vfs, "/f", CHANGE, 2000, pattern(2, 1000)).await.map(drop)
        => Deed::Changes("f", |old| with(old, 2000, &pattern(2, 1000))), on Memory Local HeedingS3 Azure Gcs;
    large_resume: [("f", 6 * MIB)], ["f"],
        async |vfs: &Vfs| write(vfs, "/f", CHANGE, 6 * MIB, pattern(2, MIB)).await.map(drop)
        => Deed::Changes("f", |old| with(old, 6 * MIB, &pattern(2, MIB))), on Memory Local HeedingS3 Azure Gcs;
    change_in_the_middle: [("f", 2000)], ["f"],
        async |vfs: &Vfs| write(vfs, "/f", READ_AND_CHANGE, 100, pattern(2, 50)).await.map(drop)
        => Deed::Changes("f", |old| with(old, 100, &pattern(2, 50))), on Memory Local HeedingS3 Azure Gcs;
    cut: [("f", 2000)], ["f"],
        async |vfs: &Vfs| vfs.set_length(&path("/f"), 700).await.map(drop)
        => Deed::Changes("f", |old| old[..700.min(old.len())].to_vec()), on Memory Local HeedingS3 Azure Gcs;
    setting_a_time: [("f", 2000)], ["f"],
        async |vfs: &Vfs| vfs.set_mtime(&path("/f"), a_time(), None).await.map(drop)
        => Deed::Changes("f", |old| old.to_vec()), on Memory Local S3 HeedingS3 Azure Gcs;
    small_exclusive: [], ["f"],
        async |vfs: &Vfs| write(vfs, "/f", EXCLUSIVE, 0, pattern(2, 1000)).await.map(drop)
        => Deed::Makes(|| pattern(2, 1000)), on Memory Local HeedingS3 Azure Gcs;
    large_exclusive: [], ["f"],
        async |vfs: &Vfs| write(vfs, "/f", EXCLUSIVE, 0, pattern(2, 6 * MIB)).await.map(drop)
        => Deed::Makes(|| pattern(2, 6 * MIB)), on Memory Local HeedingS3 Azure Gcs;
    large_upload_renamed_before_its_close: [], ["a", "b"],
        async |vfs: &Vfs| renamed_upload(vfs, 6 * MIB).await
        => Deed::Makes(|| pattern(2, 6 * MIB)), on Memory Local HeedingS3 Azure;
    small_upload_renamed_before_its_close: [], ["a", "b"],
        async |vfs: &Vfs| renamed_upload(vfs, 1000).await
        => Deed::Makes(|| pattern(2, 1000)), on Memory Local HeedingS3 Azure Gcs;
    copy_by_the_store: [("f", 1000), ("g", 10)], ["f", "g"],
        async |vfs: &Vfs| copy(vfs, "/f", "/g").await
        => Deed::Replaces("g", |before| vec![before["f"].clone()]), on Memory Local HeedingS3 Azure Gcs;
}

/// A test that cannot fail proves nothing: without the condition the other writer's file goes.
#[tokio::test]
async fn a_copy_and_a_deletion_without_conditions_are_caught() {
    let scenario = Scenario {
        before: &[("a", 1000)],
        act: |vfs| {
            async move {
                let mut source = vfs.open_read(&path("/a")).await?;
                let content: Bytes = source.read_at(0, 1000).await?;
                let mut writer = vfs.open_write(&path("/b"), NEW).await?;
                writer.write_at(0, content).await?;
                writer.commit().await?;
                vfs.remove_file(&path("/a")).await
            }
            .boxed()
        },
        deed: Deed::Moves { from: "a", to: "b", replaces: false },
        intrusions: &["a"],
    };
    let ended = AssertUnwindSafe(explore(Place::Memory, scenario)).catch_unwind().await;
    assert!(ended.is_err(), "nobody noticed");
}
