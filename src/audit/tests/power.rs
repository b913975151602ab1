//! Power is lost: the disk has what was synced, and perhaps no more. What had left the machine by then is elsewhere, and no line of it
//! is ever numbered again with another content.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use flate2::read::GzDecoder;
use tempfile::TempDir;

use super::chained::record;
use crate::audit::read::{Source, Span, Trail};
use crate::audit::state::StateFile;
use crate::audit::verify::{Options, PublicKey, verify};
use crate::audit::{
    Archive, ArchivePlace, BatchSettings, ChainSettings, FileOptions, Fsync, OnFailure, Recorder, Settings, SigningKey,
    SinkSettings, SinkTarget, SpoolSettings, StoreTarget,
};

/// A folder of a store somewhere else.
#[derive(Debug, Default)]
struct Elsewhere {
    objects: Mutex<BTreeMap<String, Bytes>>,
    away: Mutex<bool>,
}

impl Elsewhere {
    fn lines(&self) -> Vec<String> {
        let mut text = String::new();
        for content in self.objects.lock().unwrap().values() {
            GzDecoder::new(content.as_ref()).read_to_string(&mut text).unwrap();
        }
        text.lines().map(str::to_owned).collect()
    }
}

#[async_trait]
impl Archive for Elsewhere {
    fn describe(&self) -> String {
        "/elsewhere".into()
    }

    async fn put_new(&self, name: &str, content: Bytes) -> io::Result<()> {
        if *self.away.lock().unwrap() {
            return Err(io::Error::other("away"));
        }
        let mut objects = self.objects.lock().unwrap();
        if objects.contains_key(name) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        objects.insert(name.to_owned(), content);
        Ok(())
    }

    async fn list(&self) -> io::Result<Vec<(String, u64)>> {
        unreachable!("a sink lists nothing")
    }

    async fn get(&self, name: &str, _: u64) -> io::Result<Bytes> {
        self.objects.lock().unwrap().get(name).cloned().ok_or_else(|| io::ErrorKind::NotFound.into())
    }
}

/// A machine: the disk with the key, the chain, the spool and perhaps a file of events.
struct Machine {
    disk: TempDir,
    elsewhere: Arc<Elsewhere>,
    has_file: bool,
    fsync: Fsync,
}

/// Events of a batch.
const BATCH: u64 = 4;

impl Machine {
    fn new(has_file: bool, fsync: Fsync) -> Machine {
        let machine = Machine { disk: tempfile::tempdir().unwrap(), elsewhere: Arc::default(), has_file, fsync };
        let key = machine.path("signing_key");
        fs::write(&key, SigningKey::make().unwrap().private.as_bytes()).unwrap();
        fs::set_permissions(&key, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
        machine
    }

    fn path(&self, name: &str) -> PathBuf {
        self.disk.path().join(name)
    }

    async fn start(&self) -> Recorder {
        let place = ArchivePlace { store: "lake".into(), folder: String::new(), lock: None };
        let batch = BatchSettings { events: BATCH, size: 1 << 20, age: Duration::from_secs(3600) };
        let spool = SpoolSettings { folder: self.path("spool"), limit: 1 << 20, fsync: self.fsync, batch };
        let mut targets = vec![SinkTarget::Store(StoreTarget { place: place.clone(), spool })];
        if self.has_file {
            targets.push(SinkTarget::File { path: self.path("events.ndjson"), options: FileOptions::default() });
        }
        let settings = Settings {
            server: "edge-1".into(),
            resource_arn: "lockgate:server/edge-1".into(),
            sinks: targets.into_iter().map(|target| SinkSettings::of(target, OnFailure::Refuse)).collect(),
            chain: Some(ChainSettings {
                folder: self.disk.path().to_owned(),
                checkpoint_every: Duration::from_secs(3600),
                self_check: None,
                witness: None,
            }),
        };
        let archive: Arc<dyn Archive> = Arc::clone(&self.elsewhere) as _;
        Recorder::start_keeping(settings, [(place, archive)].into(), Arc::default()).await.unwrap()
    }

    /// What is left of it when power is lost now: the state as it was synced last, and as much as `left` says of what need not have been
    /// synced. What it had sent is where it was sent to.
    fn lose_power(&self, recorder: Recorder, left: Left) -> Machine {
        *self.elsewhere.away.lock().unwrap() = true;
        let after = Machine { disk: tempfile::tempdir().unwrap(), elsewhere: Arc::default(), ..*self };
        *after.elsewhere.objects.lock().unwrap() = self.elsewhere.objects.lock().unwrap().clone();
        for name in ["signing_key", "chain.begun"] {
            fs::copy(self.path(name), after.path(name)).unwrap();
        }
        fs::create_dir(after.path("spool")).unwrap();
        for entry in fs::read_dir(self.path("spool")).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap();
            if left.batches && path.extension().is_some() {
                fs::copy(&path, after.path("spool").join(name)).unwrap();
            }
        }
        if self.has_file {
            let text = fs::read_to_string(self.path("events.ndjson")).unwrap();
            let lines: String = text.lines().take(left.lines_of_file).map(|line| format!("{line}\n")).collect();
            fs::write(after.path("events.ndjson"), lines).unwrap();
        }
        let synced = recorder.notary().ledger.on_disk().unwrap();
        StateFile::open(after.disk.path()).unwrap().0.write(&synced).unwrap();
        drop(recorder);
        after
    }

    async fn await_objects(&self, count: usize) {
        for _ in 0..1000 {
            if self.elsewhere.objects.lock().unwrap().len() >= count {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("{count} batches do not arrive");
    }
}

/// What of the disk survives beside what was synced.
#[derive(Debug, Clone, Copy)]
struct Left {
    /// Batches of the spool that had not left.
    batches: bool,
    /// How many lines of the file of events.
    lines_of_file: usize,
}

/// Every number has one line, each follows from the one before where that is there, and the signatures are right.
#[track_caller]
fn assert_no_fork(key: &Path, lines: &[String], what: &str) {
    let sequences: Vec<u64> = lines
        .iter()
        .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap()["sequence"].as_u64().unwrap())
        .collect();
    assert_eq!(sequences.len(), sequences.iter().collect::<BTreeSet<_>>().len(), "{what}: {lines:#?}");
    let public = PublicKey::from_pem(&SigningKey::read(key).unwrap().public()).unwrap();
    let text = lines.iter().map(|line| format!("{line}\n")).collect::<String>();
    let source = Source::Stream("elsewhere".into(), Box::new(io::Cursor::new(text)));
    let options = Options { keys: vec![public], ..Options::default() };
    let report = verify(&mut Trail::new(vec![source], Span::default(), None), options, |_| ()).unwrap();
    assert!(report.is_whole(), "{what}: {report}");
}

async fn load(recorder: &Recorder, events: usize) {
    for number in 0..events {
        record(recorder, &format!("{number}")).await.unwrap();
    }
}

#[tokio::test]
async fn what_left_a_spool_is_never_numbered_again() {
    for fsync in [Fsync::Batch, Fsync::default(), Fsync::Never] {
        for has_file in [false, true] {
            for (batches, lines_of_file) in [(true, 3), (false, 3), (true, 99), (false, 99)] {
                let what = format!("{fsync:?}, file: {has_file}, {batches} {lines_of_file}");
                let machine = Machine::new(has_file, fsync);
                let recorder = machine.start().await;
                // The checkpoint of the start is the first: three batches are full, and one is not.
                load(&recorder, 13).await;
                machine.await_objects(3).await;
                let after = machine.lose_power(recorder, Left { batches, lines_of_file });
                let recorder = after.start().await;
                load(&recorder, 3).await;
                recorder.close().await;
                let lines = after.elsewhere.lines();
                assert_no_fork(after.disk.path(), &lines, &what);
                let lost = lines.iter().filter(|line| line.contains("\"MKDIR\"")).count() < 16;
                assert!(lost != batches, "{what}: what was in the spool is there: {lines:#?}");
            }
        }
    }
}

/// Once more, before anything new was recorded: what the first start found is on the disk before the batches leave.
#[tokio::test]
async fn power_that_is_lost_twice_is_no_different() {
    let machine = Machine::new(false, Fsync::default());
    let recorder = machine.start().await;
    load(&recorder, 6).await;
    machine.await_objects(1).await;
    let once = machine.lose_power(recorder, Left { batches: true, lines_of_file: 0 });
    let recorder = once.start().await;
    once.await_objects(2).await;
    let twice = once.lose_power(recorder, Left { batches: false, lines_of_file: 0 });
    let recorder = twice.start().await;
    load(&recorder, 3).await;
    recorder.close().await;
    assert_no_fork(twice.disk.path(), &twice.elsewhere.lines(), "twice");
}
