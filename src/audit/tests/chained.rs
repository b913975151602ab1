//! The promises of the chain: every line follows from the one before, from process to process, and a cut is said.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;

use super::samples;
use crate::audit::chain::{Hash, Position, signed_bytes};
use crate::audit::read::{Source, Span, Trail};
use crate::audit::verify;
use crate::audit::{
    Activity, ChainSettings, FileOptions, MemorySink, OnFailure, Outcome, Recorder, Settings, SigningKey, SinkSettings,
    SinkTarget,
};

/// A folder with a key, and the file that events go to.
pub(super) struct Place {
    pub(super) folder: TempDir,
    options: FileOptions,
    memory: Option<Arc<MemorySink>>,
    pub(super) every: Duration,
}

impl Place {
    pub(super) fn new() -> Place {
        let folder = tempfile::tempdir().unwrap();
        let key = SigningKey::make().unwrap();
        let path = SigningKey::private_in(folder.path());
        fs::write(&path, key.private.as_bytes()).unwrap();
        fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
        Place { folder, options: FileOptions::default(), memory: None, every: Duration::from_secs(3600) }
    }

    pub(super) fn events(&self) -> PathBuf {
        self.folder.path().join("events.ndjson")
    }

    fn state(&self) -> PathBuf {
        self.folder.path().join("chain")
    }

    fn settings(&self) -> Settings {
        let mut targets = vec![SinkTarget::File { path: self.events(), options: self.options.clone() }];
        targets.extend(self.memory.iter().map(|memory| SinkTarget::Memory(Arc::clone(memory))));
        Settings {
            server: "edge-1".into(),
            resource_arn: "lockgate:server/edge-1".into(),
            sinks: targets.into_iter().map(|target| SinkSettings::of(target, OnFailure::Refuse)).collect(),
            chain: Some(ChainSettings {
                folder: self.folder.path().to_owned(),
                checkpoint_every: self.every,
                self_check: None,
                witness: None,
            }),
        }
    }

    pub(super) async fn start(&self) -> Recorder {
        // One that was dropped without having been closed lets go of the folder, and then of the file, a moment later.
        for _ in 0..500 {
            match Recorder::start(self.settings()).await {
                Ok(recorder) => return recorder,
                Err(error)
                    if ["another process", "another gateway"].iter().any(|by| error.to_string().contains(by)) => {}
                Err(error) => panic!("{error}"),
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("the folder is not let go of");
    }

    pub(super) fn lines(&self) -> Vec<String> {
        fs::read_to_string(self.events()).unwrap().lines().map(str::to_owned).collect()
    }
}

pub(super) async fn record(recorder: &Recorder, name: &str) -> Result<(), crate::audit::Unrecorded> {
    let made = Activity::Mkdir(samples::file(name, Outcome::Success));
    samples::record(recorder, &samples::worker(), &made).await
}

/// The events of lines that follow from each other; `from` is what the first one comes after.
fn linked(lines: &[String], from: Position) -> (Vec<Value>, Position) {
    let mut last = from;
    let mut events = Vec::new();
    for line in lines {
        let event: Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
        assert_eq!(event["sequence"], last.sequence + 1, "{line}");
        assert_eq!(event["previous"], last.hash.to_string(), "{line}");
        assert_eq!(event["activity-type"] == "CHECKPOINT", signed_bytes(line.as_bytes()).is_some(), "{line}");
        last = Position { sequence: last.sequence + 1, hash: Hash::of_line(line.as_bytes()) };
        events.push(event);
    }
    (events, last)
}

fn whole(lines: &[String]) -> Vec<Value> {
    linked(lines, Position::START).0
}

fn reasons(events: &[Value]) -> Vec<&str> {
    events.iter().map(|event| event["reason"].as_str().unwrap_or("-")).collect()
}

#[tokio::test]
async fn a_chain_goes_on_after_an_orderly_end() {
    let place = Place::new();
    for _ in 0..3 {
        let recorder = place.start().await;
        record(&recorder, "a").await.unwrap();
        recorder.close().await;
    }
    let events = whole(&place.lines());
    assert_eq!(reasons(&events), ["start", "-", "shutdown"].repeat(3));
    let chain = &events[0]["chain"];
    for (number, start) in events.iter().step_by(3).enumerate() {
        assert_eq!((&start["chain"], &start["clean"]), (chain, &true.into()));
        assert_eq!(start["acknowledged"], 3 * number);
        let key = SigningKey::read(place.folder.path()).unwrap();
        assert_eq!(start["checkpoint-key"], key.fingerprint());
    }
}

#[tokio::test]
async fn a_state_that_was_taken_away_from_its_events_is_told_in_the_chain_that_begins() {
    let place = Place::new();
    let recorder = place.start().await;
    record(&recorder, "a").await.unwrap();
    recorder.close().await;
    let before = place.lines().len();
    for (lost, take_away) in [("missing", true), ("unreadable", false)] {
        let state = place.folder.path().join("chain");
        if take_away {
            fs::remove_file(&state).unwrap()
        } else {
            fs::write(&state, "nonsense").unwrap()
        }
        let recorder = place.start().await;
        recorder.close().await;
        let lines = place.lines();
        let begins = lines.iter().skip(before).rev().find(|line| line.contains("\"sequence\":1,")).unwrap();
        let start: serde_json::Value = serde_json::from_str(begins).unwrap();
        assert_eq!(
            (&start["reason"], &start["state"], &start["clean"]),
            (&"start".into(), &lost.into(), &false.into())
        );
        // Each chain ended in order, so that nothing else is wrong with them.
        let verified = |whole| {
            let files = Source::Files(vec![place.events()].into());
            let options = verify::Options { whole, ..verify::Options::default() };
            verify::verify(&mut Trail::new(vec![files], Span::default(), None), options, |_| ()).unwrap()
        };
        assert!(verified(false).is_whole());
        assert!(verified(true).found >= 1 && verified(true).findings[0].what.contains("a new one begins"));
    }
}

/// No file of events is left, or there never was one.
#[tokio::test]
async fn a_state_that_was_taken_away_is_told_without_its_events() {
    let place = Place::new();
    let begins = |lines: &[String]| -> serde_json::Value {
        serde_json::from_str(lines.iter().rev().find(|line| line.contains("\"sequence\":1,")).unwrap()).unwrap()
    };
    place.start().await.close().await;
    assert_eq!((&begins(&place.lines())["clean"], &begins(&place.lines())["state"]), (&true.into(), &().into()));
    for round in 0..3 {
        fs::remove_file(place.state()).unwrap();
        match round {
            // The file was rotated, and nothing else says that there was a chain.
            0 => {
                fs::rename(place.events(), format!("{}.20260801T000000Z-2", place.events().display())).unwrap();
                fs::remove_file(place.folder.path().join("chain.begun")).unwrap();
            }
            1 => {
                fs::remove_file(place.events()).unwrap();
                fs::remove_file(format!("{}.20260801T000000Z-2", place.events().display())).unwrap();
            }
            // The state was emptied.
            _ => {
                fs::remove_file(place.events()).unwrap();
                fs::write(place.state(), "").unwrap();
            }
        }
        place.start().await.close().await;
        let start = begins(&place.lines());
        assert_eq!((&start["clean"], &start["state"]), (&false.into(), &"missing".into()), "{round}");
    }
    // A folder from before there was such a file gets one.
    fs::remove_file(place.folder.path().join("chain.begun")).unwrap();
    place.start().await.close().await;
    let begun = fs::read_to_string(place.folder.path().join("chain.begun")).unwrap();
    assert_eq!(begins(&place.lines())["chain"], begun.trim());
}

#[tokio::test]
async fn an_end_without_order_is_said_with_what_was_acknowledged() {
    let place = Place { memory: Some(MemorySink::new()), ..Place::new() };
    let memory = place.memory.as_ref().unwrap();
    let recorder = place.start().await;
    record(&recorder, "a").await.unwrap();
    memory.fail("gone");
    record(&recorder, "b").await.unwrap_err();
    drop(recorder);
    memory.recover();
    let recorder = place.start().await;
    let events = whole(&place.lines());
    assert_eq!(reasons(&events), ["start", "-", "-", "start"]);
    assert_eq!((&events[3]["clean"], &events[3]["acknowledged"]), (&false.into(), &2.into()));
    recorder.close().await;
}

#[tokio::test]
async fn after_a_cut_between_the_state_and_the_file_no_number_is_used_twice() {
    let place = Place { memory: Some(MemorySink::new()), ..Place::new() };
    let memory = place.memory.as_ref().unwrap();
    let recorder = place.start().await;
    record(&recorder, "a").await.unwrap();
    memory.fail("gone");
    record(&recorder, "b").await.unwrap_err();
    drop(recorder);
    memory.recover();
    // As if the process had been killed before the last line, which nobody was told of, went to the file.
    let lines = place.lines();
    fs::write(place.events(), lines[..2].join("\n") + "\n").unwrap();
    place.start().await.close().await;
    let issued = Position { sequence: 3, hash: Hash::of_line(lines[2].as_bytes()) };
    let (after, _) = linked(&place.lines()[2..], issued);
    assert_eq!(reasons(&after), ["start", "shutdown"]);
    assert_eq!((&after[0]["clean"], &after[0]["acknowledged"]), (&false.into(), &2.into()));
}

#[tokio::test]
async fn an_end_with_a_sink_that_fails_is_not_in_order() {
    let place = Place { memory: Some(MemorySink::new()), ..Place::new() };
    let memory = place.memory.as_ref().unwrap();
    let recorder = place.start().await;
    memory.fail("gone");
    recorder.close().await;
    memory.recover();
    place.start().await.close().await;
    let events = whole(&place.lines());
    assert_eq!(reasons(&events), ["start", "shutdown", "start", "shutdown"]);
    assert_eq!((&events[2]["clean"], &events[2]["acknowledged"]), (&false.into(), &1.into()));
}

#[tokio::test]
async fn after_a_power_cut_the_chain_goes_on_after_the_last_whole_line() {
    let place = Place::new();
    let recorder = place.start().await;
    record(&recorder, "a").await.unwrap();
    let older = fs::read(place.state()).unwrap();
    for name in ["b", "c", "d"] {
        record(&recorder, name).await.unwrap();
    }
    drop(recorder);
    let recorder = place.start().await;
    drop(recorder);
    // The disk has an older state than the file, and the file's last line in part.
    fs::write(place.state(), older).unwrap();
    let text = fs::read_to_string(place.events()).unwrap();
    fs::write(place.events(), &text[..text.len() - 40]).unwrap();
    // The lock is on the file that was written to just now.
    let recorder = place.start().await;
    record(&recorder, "e").await.unwrap();
    recorder.close().await;
    let lines = place.lines();
    let (torn, rest) = lines.split_at(5);
    let (before, last) = linked(torn, Position::START);
    assert_eq!(reasons(&before), ["start", "-", "-", "-", "-"]);
    assert!(serde_json::from_str::<Value>(&rest[0]).is_err(), "{}", rest[0]);
    let (after, _) = linked(&rest[1..], last);
    assert_eq!(reasons(&after), ["start", "-", "shutdown"]);
    assert_eq!((&after[0]["clean"], &after[0]["acknowledged"]), (&false.into(), &2.into()));
    assert_eq!(after[0]["chain"], before[0]["chain"]);
}

#[tokio::test]
async fn a_chain_that_cannot_be_gone_on_with_is_followed_by_another() {
    let place = Place::new();
    place.start().await.close().await;
    fs::write(place.state(), "no state").unwrap();
    place.start().await.close().await;
    let (first, second) = (place.lines()[..2].to_vec(), place.lines()[2..].to_vec());
    let (first, second) = (whole(&first), whole(&second));
    assert_ne!(first[0]["chain"], second[0]["chain"]);
    assert_eq!((&second[0]["clean"], &second[0]["acknowledged"]), (&false.into(), &0.into()));
    // A file of another chain that is further on.
    let other = Place::new();
    let recorder = other.start().await;
    for _ in 0..5 {
        record(&recorder, "a").await.unwrap();
    }
    recorder.close().await;
    fs::copy(other.events(), place.events()).unwrap();
    place.start().await.close().await;
    let third = whole(&place.lines()[7..]);
    assert_eq!(reasons(&third), ["start", "shutdown"]);
    assert!(![&first[0]["chain"], &second[0]["chain"]].contains(&&third[0]["chain"]));
}

#[tokio::test]
async fn a_folder_is_of_one_recorder() {
    let place = Place::new();
    let recorder = place.start().await;
    let before = place.lines();
    let error = Recorder::start(place.settings()).await.unwrap_err().to_string();
    assert!(error.contains("another process uses the chain of"), "{error}");
    assert_eq!(place.lines(), before);
    recorder.close().await;
    fs::remove_file(SigningKey::private_in(place.folder.path())).unwrap();
    let error = Recorder::start(place.settings()).await.unwrap_err().to_string();
    assert!(error.contains("signing_key is missing"), "{error}");
}

#[tokio::test]
async fn a_state_that_cannot_be_written_refuses() {
    let place = Place { memory: Some(MemorySink::new()), ..Place::new() };
    std::os::unix::fs::symlink("/dev/full", place.state()).unwrap();
    let recorder = place.start().await;
    let error = record(&recorder, "a").await.unwrap_err().to_string();
    assert!(error.contains("the state of the event chain") && error.contains("No space"), "{error}");
    recorder.ready().unwrap_err();
    // What has a number is written: there is no gap.
    assert_eq!(reasons(&whole(&place.memory.as_ref().unwrap().lines())), ["start", "-"]);
    recorder.close().await;
}

#[tokio::test]
async fn checkpoints_come_while_there_is_something_to_sign() {
    let place = Place { every: Duration::from_millis(50), ..Place::new() };
    let recorder = place.start().await;
    record(&recorder, "a").await.unwrap();
    for _ in 0..300 {
        if place.lines().len() == 3 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert_eq!(reasons(&whole(&place.lines())), ["start", "-", "interval"]);
    recorder.close().await;
}

#[tokio::test]
async fn without_a_folder_a_chain_begins_with_each_process_and_has_no_checkpoints() {
    let place = Place::new();
    for _ in 0..2 {
        let recorder = Recorder::start(Settings { chain: None, ..place.settings() }).await.unwrap();
        record(&recorder, "a").await.unwrap();
        record(&recorder, "b").await.unwrap();
        recorder.close().await;
    }
    for process in place.lines().chunks(2) {
        assert_eq!(reasons(&whole(process)), ["-", "-"]);
    }
    assert!(!place.state().exists());
}

/// The old files, oldest first: number of the last line, path.
fn old_files(place: &Path) -> Vec<(u64, PathBuf)> {
    let mut old: Vec<_> = fs::read_dir(place)
        .unwrap()
        .filter_map(|entry| {
            let path = entry.unwrap().path();
            let name = path.file_name()?.to_str()?.strip_prefix("events.ndjson.")?.to_owned();
            let last = name.trim_end_matches(".gz").split_once('-')?.1.parse().ok()?;
            Some((last, path))
        })
        .collect();
    old.sort();
    old
}

mod rotation {
    use std::io::Read;
    use std::num::NonZeroUsize;

    use flate2::read::MultiGzDecoder;

    use super::*;
    use crate::audit::{Fsync, Rotate};

    fn text_of(path: &Path) -> String {
        let mut text = String::new();
        let mut file = fs::File::open(path).unwrap();
        match path.extension().is_some_and(|end| end == "gz") {
            true => MultiGzDecoder::new(file).read_to_string(&mut text).unwrap(),
            false => file.read_to_string(&mut text).unwrap(),
        };
        text
    }

    async fn until_compressed(place: &Place) {
        // Each waits for the disk several times, and the disk has other users.
        for _ in 0..6000 {
            if old_files(place.folder.path()).iter().all(|(_, path)| path.extension().is_some_and(|end| end == "gz")) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("{:?}", old_files(place.folder.path()));
    }

    async fn load(recorder: &Recorder, tasks: usize, each: usize) {
        let tasks: Vec<_> = (0..tasks)
            .map(|task| {
                let recorder = recorder.clone();
                tokio::spawn(async move {
                    for event in 0..each {
                        record(&recorder, &format!("{task}-{event}")).await.unwrap();
                    }
                })
            })
            .collect();
        for task in tasks {
            task.await.unwrap();
        }
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn rotation_under_load_loses_nothing_and_ends_each_file_with_a_checkpoint() {
        for (fsync, gzip) in
            [(Fsync::Batch, true), (Fsync::Every(Duration::from_millis(20)), true), (Fsync::Never, false)]
        {
            let rotate = Rotate { size: Some(64 << 10), gzip, ..Rotate::default() };
            let options = FileOptions { rotate: Some(rotate), fsync };
            let place = Place { options, memory: Some(MemorySink::new()), ..Place::new() };
            let recorder = place.start().await;
            load(&recorder, 20, 50).await;
            recorder.close().await;
            let recorder = place.start().await;
            if gzip {
                until_compressed(&place).await;
            }
            recorder.close().await;
            let old = old_files(place.folder.path());
            assert!(old.len() > 3, "{old:?}");
            let mut all = Vec::new();
            for (last, path) in &old {
                all.extend(text_of(path).lines().map(str::to_owned));
                let end: Value = serde_json::from_str(all.last().unwrap()).unwrap();
                assert_eq!((&end["reason"], &end["sequence"]), (&"rotation".into(), &(*last).into()), "{path:?}");
            }
            all.extend(place.lines());
            // The other sink has the same lines, byte for byte.
            assert_eq!(all, place.memory.as_ref().unwrap().lines());
            let events = whole(&all);
            assert_eq!(events.iter().filter(|event| event["activity-type"] == "MKDIR").count(), 1000);
            assert_eq!(reasons(&events).iter().filter(|reason| **reason == "rotation").count(), old.len());
        }
    }

    #[tokio::test]
    async fn a_file_ends_at_its_age_also_when_nothing_happens_and_the_oldest_go() {
        let age = Duration::from_millis(150);
        let rotate = Rotate { age: Some(age), keep: NonZeroUsize::new(2), ..Rotate::default() };
        let place = Place { options: FileOptions { rotate: Some(rotate), ..FileOptions::default() }, ..Place::new() };
        let recorder = place.start().await;
        let mut seen = std::collections::BTreeSet::new();
        for name in ["a", "b", "c"] {
            record(&recorder, name).await.unwrap();
            let before = seen.len();
            for _ in 0..300 {
                seen.extend(old_files(place.folder.path()).into_iter().map(|(last, _)| last));
                if seen.len() > before && place.lines().is_empty() {
                    break;
                }
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        }
        assert_eq!(seen.len(), 3, "{seen:?}");
        // A file without a line does not end.
        tokio::time::sleep(2 * age).await;
        assert!(place.lines().is_empty());
        recorder.close().await;
        let kept: Vec<_> = old_files(place.folder.path()).into_iter().map(|(last, _)| last).collect();
        assert_eq!(kept, seen.into_iter().skip(1).collect::<Vec<_>>());
    }

    #[tokio::test]
    async fn a_file_that_is_too_long_already_ends_after_the_start() {
        let mut place = Place::new();
        let recorder = place.start().await;
        load(&recorder, 1, 10).await;
        recorder.close().await;
        place.options.rotate = Some(Rotate { size: Some(4096), ..Rotate::default() });
        let recorder = place.start().await;
        for _ in 0..500 {
            if place.lines().is_empty() {
                break;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        recorder.close().await;
        let old = old_files(place.folder.path());
        let lines: Vec<_> = text_of(&old[0].1).lines().map(str::to_owned).collect();
        assert_eq!(reasons(&whole(&lines))[11..], ["shutdown", "start", "rotation"]);
        assert_eq!((old.len(), place.lines().len()), (1, 1));
    }

    #[tokio::test]
    async fn a_file_that_somebody_moved_is_left_to_them() {
        let rotate = Rotate { size: Some(4096), ..Rotate::default() };
        let place = Place { options: FileOptions { rotate: Some(rotate), ..FileOptions::default() }, ..Place::new() };
        let moved = place.folder.path().join("moved");
        let recorder = place.start().await;
        record(&recorder, "a").await.unwrap();
        fs::rename(place.events(), &moved).unwrap();
        recorder.reopen().await;
        load(&recorder, 1, 10).await;
        recorder.close().await;
        let mut all: Vec<_> = text_of(&moved).lines().map(str::to_owned).collect();
        for (_, path) in old_files(place.folder.path()) {
            all.extend(text_of(&path).lines().map(str::to_owned));
        }
        all.extend(place.lines());
        let events = whole(&all);
        assert_eq!(events.iter().filter(|event| event["activity-type"] == "MKDIR").count(), 11);
        assert!(reasons(&events).contains(&"rotation"));
    }

    #[tokio::test]
    async fn a_file_that_cannot_be_ended_goes_on() {
        let rotate = Rotate { size: Some(4096), ..Rotate::default() };
        let place = Place { options: FileOptions { rotate: Some(rotate), ..FileOptions::default() }, ..Place::new() };
        let mut settings = place.settings();
        // With the time and the number behind it the name is longer than a name may be.
        let path = place.folder.path().join("e".repeat(240));
        settings.sinks[0].target = SinkTarget::File { path: path.clone(), options: place.options.clone() };
        let recorder = Recorder::start(settings).await.unwrap();
        load(&recorder, 1, 20).await;
        recorder.ready().unwrap();
        recorder.close().await;
        let lines: Vec<_> = text_of(&path).lines().map(str::to_owned).collect();
        let events = whole(&lines);
        assert_eq!(events.iter().filter(|event| event["activity-type"] == "MKDIR").count(), 20);
        assert_eq!(
            reasons(&events).iter().filter(|reason| **reason == "rotation").count(),
            1,
            "one try, not one a line"
        );
    }
}
