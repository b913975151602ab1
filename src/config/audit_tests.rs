//! Tests of `audit` and of the options of file sinks.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

use super::*;
use crate::audit::{ArchivePlace, FileOptions, Fsync, LockMode, ObjectLock, SelfCheck, SigningKey, SinkTarget};

const LEAST: &str = "server: { listen: ['127.0.0.1:0'], host_keys: [k] }\nstores: {}\nusers: []\n";

fn read(more: &str, folder: &Path, look_at_files: bool) -> Result<gateway::Settings, Problems> {
    let around = Surroundings {
        folder: folder.to_owned(),
        host_name: "h".into(),
        look_at_files,
        others_read: false,
        in_force: InForce::default(),
    };
    read_from(&format!("{LEAST}{more}"), &around, &|_| None, Problems::new(Path::new("c")))
}

fn options(sink: &str) -> FileOptions {
    let settings = read(&format!("events: [{{ sink: file, path: e, {sink} }}]"), Path::new("/etc"), false).unwrap();
    let SinkTarget::File { options, .. } = &settings.audit.sinks[0].target else { panic!("{:?}", settings.audit) };
    options.clone()
}

#[track_caller]
fn assert_problem(more: &str, place: &str, words: &str) {
    let problems = read(more, Path::new("/etc"), false).unwrap_err();
    let list: Vec<_> = problems.list().iter().map(|problem| (problem.place.as_str(), problem.text.as_str())).collect();
    assert!(list.len() == 1 && list[0].0 == place && list[0].1.contains(words), "{problems}");
}

#[test]
fn the_chain_has_a_folder_and_a_time() {
    assert!(read("", Path::new("/etc"), false).unwrap().audit.chain.is_none());
    let chain = |more: &str| read(more, Path::new("/etc/lockgate"), false).unwrap().audit.chain.unwrap();
    let default = chain("audit: { folder: audit }");
    assert_eq!(
        (default.folder.as_path(), default.checkpoint_every),
        (Path::new("/etc/lockgate/audit"), Duration::from_secs(60))
    );
    assert_eq!(chain("audit: { folder: /a, checkpoint_every: 5s }").checkpoint_every, Duration::from_secs(5));
    assert_eq!(default.self_check, None);
    let file = "events: [{ sink: file, path: e }]\n";
    let check = |text: &str| chain(&format!("{file}audit: {{ folder: a, self_check: {text} }}")).self_check.unwrap();
    assert_eq!(check("1d"), SelfCheck { every: Duration::from_secs(86_400), judges_readiness: false });
    assert!(check("{ every: 6h, readiness: true }").judges_readiness);
    assert_problem(&format!("{file}audit: {{ folder: a, self_check: {{}} }}"), "audit.self_check.every", "is missing");
    assert_problem(&format!("{file}audit: {{ folder: a, self_check: 10ms }}"), "audit.self_check", "must be from 1s");
    assert_problem(
        "audit: { folder: a, self_check: 1d }",
        "audit.self_check",
        "needs a file sink that contains the whole trail",
    );
    assert_problem("audit: {}", "audit.folder", "is missing; write the folder of the signing key");
    assert_problem("audit: { folder: '' }", "audit.folder", "is not a path");
    assert_problem("audit: { folder: a, checkpoint_every: 10ms }", "audit.checkpoint_every", "must be from 1s to 1d");
    assert_problem("audit: { folder: a, key: b }", "audit.key", "unknown key");
}

#[test]
fn a_file_sink_has_its_options() {
    assert_eq!(options(""), FileOptions { rotate: None, fsync: Fsync::Every(Duration::from_secs(1)) });
    for (text, fsync) in
        [("never", Fsync::Never), ("batch", Fsync::Batch), ("100ms", Fsync::Every(Duration::from_millis(100)))]
    {
        assert_eq!(options(&format!("fsync: {text}")).fsync, fsync);
    }
    let rotate = options("rotate: { size: 100MiB, age: 1d }, gzip: true, keep: 7").rotate.unwrap();
    assert_eq!((rotate.size, rotate.age), (Some(100 << 20), Some(Duration::from_secs(86_400))));
    assert_eq!((rotate.gzip, rotate.keep.map(usize::from)), (true, Some(7)));
    let rotate = options("rotate: { age: 90m }").rotate.unwrap();
    assert_eq!(
        (rotate.size, rotate.age, rotate.gzip, rotate.keep),
        (None, Some(Duration::from_secs(5400)), false, None)
    );
    options("gzip: false");
}

#[test]
fn wrong_options_are_told() {
    let file = |sink: &str| format!("events: [{{ sink: file, path: e, {sink} }}]");
    assert_problem(&file("fsync: often"), "events[0].fsync", "write never, batch, or a duration");
    assert_problem(&file("fsync: 2h"), "events[0].fsync", "must be from 10ms to 1h");
    assert_problem(&file("rotate: {}"), "events[0].rotate", "write a size or an age");
    assert_problem(&file("rotate: { size: 1KiB }"), "events[0].rotate.size", "must be from 64KiB");
    assert_problem(&file("rotate: { age: 1s }"), "events[0].rotate.age", "must be from 1m to 366d");
    assert_problem(&file("rotate: { size: 1MiB }, keep: 0"), "events[0].keep", "must be from 1");
    assert_problem(&file("gzip: true"), "events[0].gzip", "there are no old files without rotation");
    assert_problem(&file("keep: 3"), "events[0].keep", "there are no old files without rotation");
    assert_problem("events: [{ sink: stdout, fsync: batch }]", "events[0].fsync", "unknown key");
}

#[test]
fn a_check_looks_at_the_key() {
    let folder = tempfile::tempdir().unwrap();
    let audit = folder.path().join("audit");
    let found = |words: &str| {
        let problems = read("audit: { folder: audit }", folder.path(), true).unwrap_err();
        let hit = problems.list().iter().any(|p| p.place == "audit.folder" && p.outside && p.text.contains(words));
        assert!(hit, "{problems}");
    };
    found("does not exist; `lockgate init` creates one");
    fs::create_dir(&audit).unwrap();
    found("signing_key is missing; make one");
    let key = SigningKey::make().unwrap();
    let path = audit.join("signing_key");
    fs::write(&path, key.private.as_bytes()).unwrap();
    fs::set_permissions(&path, Permissions::from_mode(0o644)).unwrap();
    found("is accessible to other users (mode 0644)");
    fs::set_permissions(&path, Permissions::from_mode(0o400)).unwrap();
    found("openssl pkey -in");
    fs::write(audit.join("signing_key.pub"), &key.public).unwrap();
    let problems = read("audit: { folder: audit }", folder.path(), true).unwrap_err();
    assert!(problems.list().iter().all(|problem| problem.place != "audit.folder"), "{problems}");
}

/// A configuration with stores, whose places the witness may have in common with others.
fn with_stores(more: &str) -> Result<gateway::Settings, Problems> {
    let around = Surroundings {
        folder: "/etc/lockgate".into(),
        host_name: "h".into(),
        look_at_files: false,
        others_read: false,
        in_force: InForce::default(),
    };
    let text = format!(
        "server: {{ listen: ['127.0.0.1:0'], host_keys: [k] }}\n\
         stores:\n  vault: {{ url: 's3://vault/x' }}\n  same: {{ url: 's3://vault' }}\n  disk: {{ url: 'file:///srv' }}\n\
         users: [{{ name: ann, public_keys: ['ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLsabgH5C9okWi0dh2l9GKJl'], home: [{{ entry: /, target: 'disk:/home/ann' }}] }}]\n{more}"
    );
    read_from(&text, &around, &|_| None, Problems::new(Path::new("c")))
}

#[test]
fn the_witness_is_in_a_place_of_its_own() {
    let witness = |more: &str| with_stores(&format!("audit: {{ folder: a, witness: {{ {more} }} }}"));
    let settings = witness("store: vault").unwrap().audit.chain.unwrap().witness.unwrap();
    let place = ArchivePlace { store: "vault".into(), folder: "witness".into(), lock: None };
    assert_eq!((settings.place, settings.every, settings.judges_readiness), (place, Duration::from_secs(300), false));
    let locked =
        "store: vault, prefix: /w/, every: 1m, readiness: true, object_lock: { mode: compliance, retain: 30d }";
    let settings = witness(locked).unwrap().audit.chain.unwrap().witness.unwrap();
    let lock = ObjectLock { mode: LockMode::Compliance, retain: Duration::from_secs(30 * 86_400) };
    assert_eq!(settings.place, ArchivePlace { store: "vault".into(), folder: "w".into(), lock: Some(lock) });
    assert!(settings.judges_readiness && settings.every == Duration::from_secs(60));

    let sink = "events: [{ sink: file, path: e }, { sink: store, target: 'same:/x/audit', object_lock: { mode: governance, retain: 1d } }]\n";
    let with_sink = |more: &str| with_stores(&format!("{sink}audit: {{ folder: a, witness: {{ {more} }} }}"));
    let SinkTarget::Store(target) = &with_sink("store: vault").unwrap().audit.sinks[1].target.clone() else { panic!() };
    assert_eq!(target.place.lock.unwrap().mode, LockMode::Governance);

    for (outcome, place, words) in [
        (witness("prefix: w"), "audit.witness.store", "is missing"),
        (witness("store: valt"), "audit.witness.store", "did you mean \"vault\"?"),
        (witness("store: 'vault:/w'"), "audit.witness.store", "the folder as `prefix`"),
        (witness("store: vault, prefix: '${user}'"), "audit.witness.prefix", "is not replaced here"),
        (witness("store: disk, prefix: home/ann/w"), "audit.witness.store", "could remove what the witness saw"),
        (
            witness("store: disk, prefix: w, object_lock: { mode: compliance, retain: 1d }"),
            "audit.witness.object_lock",
            "only stores on S3",
        ),
        (witness("store: vault, object_lock: { mode: compliance }"), "audit.witness.object_lock.retain", "is missing"),
        // By another name it is the bucket and the folder of the sink.
        (with_sink("store: vault, prefix: audit/w"), "audit.witness.store", "in the same place as a sink"),
        (with_sink("store: same, prefix: x"), "audit.witness.store", "in the same place as a sink"),
    ] {
        let problems = outcome.unwrap_err();
        let list: Vec<_> =
            problems.list().iter().map(|problem| (problem.place.as_str(), problem.text.as_str())).collect();
        assert!(list.iter().any(|(at, text)| *at == place && text.contains(words)), "{place}: {problems}");
        assert_eq!(list.len(), 1, "{problems}");
    }
}
