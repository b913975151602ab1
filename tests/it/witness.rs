//! A gateway with a witness, on a folder and on a bucket with Object Lock; what is done to its trail, and what `audit verify` says.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::admin::address_of;
use crate::support::events::field;
use crate::support::gateway::{Gateway, lockgate};
use crate::support::http::Place;
use crate::support::keys::Key;
use crate::support::process::{LIMIT, run, until};
use crate::support::s3_locked;
use crate::support::setup::{Setup, User};

/// A gateway with a signed trail in a file and a witness in `vault`; the first public key, as an auditor keeps it.
struct Office {
    setup: Setup,
    folder: PathBuf,
    trail: PathBuf,
    first: PathBuf,
    key: Key,
}

fn office(witness: Value) -> Office {
    let mut setup = Setup::new();
    setup.memory_store("main");
    let folder = setup.audit_folder();
    setup.config["audit"]["checkpoint_every"] = json!("1s");
    setup.config["audit"]["witness"] = witness;
    let trail = setup.folder().join("events.ndjson");
    setup.config["events"] = json!([{ "sink": "stdout" }, { "sink": "file", "path": trail }]);
    let key = setup.key("alice");
    setup.user(User::new("alice").home("/", "main:/").key(&key));
    let first = setup.folder().join("first.pub");
    fs::copy(folder.join("signing_key.pub"), &first).unwrap();
    Office { setup, folder, trail, first, key }
}

impl Office {
    fn on_disk() -> (Office, PathBuf) {
        let mut office = office(json!({ "store": "vault", "prefix": "w", "every": "1s" }));
        let root = office.setup.local_store("vault");
        (office, root.join("w"))
    }

    fn work(&self, gateway: &Gateway, name: &str) {
        gateway.client("alice", &self.key).sftp(&format!("mkdir /{name}\n")).succeeded();
        gateway.events.await_event("DISCONNECTED", |_| true);
    }

    /// A gateway from its start to its orderly end.
    fn day(&self, name: &str) {
        let gateway = self.setup.start();
        self.work(&gateway, name);
        gateway.stop();
    }

    fn verify_with(&self, more: &[&str]) -> (bool, Value) {
        let config = self.setup.write_config();
        let mut command = lockgate();
        command.args(["audit", "verify", "--json", "--witness", "--config"]).arg(config).arg("--key").arg(&self.first);
        let done = run(command.args(more).arg(&self.trail));
        (done.status.success(), serde_json::from_str(&done.stdout).unwrap_or_else(|_| panic!("{done:?}")))
    }

    #[track_caller]
    fn finds(&self, kinds: &[&str]) -> Value {
        let (whole, report) = self.verify_with(&[]);
        let found = report["witness"]["findings"].as_array().unwrap();
        let found: Vec<_> = found.iter().map(|finding| field(finding, "kind")).collect();
        assert_eq!((found, whole), (kinds.to_vec(), kinds.is_empty()), "{report:#}");
        report
    }
}

/// What the gateway tells the trail of its witness.
#[track_caller]
fn contradiction(gateway: &Gateway) -> String {
    let told = gateway.events.await_event("ERROR", |event| field(event, "operation") == "WITNESS");
    field(&told, "message").to_owned()
}

/// A start finds nothing that the witness saw otherwise.
#[track_caller]
fn assert_fits(office: &Office) {
    let gateway = office.setup.start();
    // It has looked when its own first checkpoint is there.
    let chain = gateway.events.await_event("CHECKPOINT", |_| true);
    let name = format!("{:020}-", chain["sequence"].as_u64().unwrap());
    let vault = office.setup.folder().join("store-vault");
    until("the first checkpoint", LIMIT, || {
        files(&vault).iter().any(|path| path.to_string_lossy().contains(&name)).then_some(())
    });
    assert_eq!(gateway.events.of_type("ERROR"), Vec::<Value>::new());
    gateway.stop();
}

fn copy_all(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap().map(|entry| entry.unwrap()) {
        fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
    }
}

/// All files below a folder.
fn files(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    let mut all = Vec::new();
    for path in entries.map(|entry| entry.unwrap().path()) {
        if path.is_dir() { all.extend(files(&path)) } else { all.push(path) }
    }
    all.sort();
    all
}

#[test]
fn an_honest_trail_fits_its_witness_over_days_kills_and_changed_keys() {
    let (office, vault) = Office::on_disk();
    office.day("one");
    let report = office.finds(&[]);
    let newest = &report["witness"]["newest"][0];
    assert_eq!((&newest["server"], &newest["events-after"]), (&"edge-1".into(), &0.into()), "{report:#}");
    run(lockgate().args(["audit", "rotate-key"]).arg(&office.folder)).succeeded();
    let gateway = office.setup.start();
    office.work(&gateway, "two");
    gateway.kill();
    office.day("three");
    let report = office.finds(&[]);
    let (seen, met) = (report["witness"]["checkpoints"].as_u64().unwrap(), &report["witness"]["in-trail"]);
    assert!(seen >= 5 && *met == seen, "{report:#}");
    let names: Vec<_> = files(&vault).iter().map(|path| path.strip_prefix(&vault).unwrap().to_owned()).collect();
    assert!(names.iter().all(|name| name.starts_with("edge-1") && name.iter().count() == 3), "{names:?}");
    assert_fits(&office);
    let gateway = office.setup.start();
    gateway.kill();
    assert_fits(&office);
    let (whole, report) = office.verify_with(&["--since", "1h"]);
    assert!(whole && report["chains"][0]["range"]["events"].as_u64() > Some(0), "{report:#}");
}

#[test]
fn a_rollback_of_everything_on_the_machine_shows() {
    let (mut office, vault) = Office::on_disk();
    office.day("one");
    let copy = office.setup.folder().join("copy");
    copy_all(&office.folder, &copy.join("folder"));
    fs::copy(&office.trail, copy.join("events.ndjson")).unwrap();
    office.day("two");
    office.finds(&[]);

    copy_all(&copy.join("folder"), &office.folder);
    fs::copy(copy.join("events.ndjson"), &office.trail).unwrap();
    // With the state beside it, everything on the machine fits.
    let state = ["--whole", "--state"];
    let mut alone = lockgate();
    alone.args(["audit", "verify"]).args(state).arg(&office.folder).arg("--key").arg(&office.first).arg(&office.trail);
    run(&mut alone).succeeded();
    office.finds(&["cut-off"]);
    // The gateway finds out when it goes on from there.
    office.setup.config["audit"]["witness"]["readiness"] = json!(true);
    office.setup.config["admin"] = json!({ "health": "127.0.0.1:0" });
    let gateway = office.setup.start();
    let told = contradiction(&gateway);
    assert!(told.contains("events at least are missing") && told.contains("signed at "), "{told}");
    let health = Place::Tcp(address_of(&gateway, "health and metrics are shown on "));
    let ready = health.get("/readyz");
    assert!(ready.status == 503 && ready.body.contains("events at least are missing"), "{}", ready.body);
    assert!(health.get("/metrics").body.contains("lockgate_witness_contradicts 1"));
    // It serves all the same, and the trail gets longer than what was seen.
    office.setup.config["audit"]["witness"]["readiness"] = json!(false);
    (0..4).for_each(|number| office.work(&gateway, &format!("other{number}")));
    gateway.stop();
    office.finds(&["replaced"]);

    // Begun anew, with the same key: a new installation.
    for name in ["chain", "chain.begun"] {
        fs::remove_file(office.folder.join(name)).unwrap();
    }
    fs::remove_file(&office.trail).unwrap();
    office.finds(&["removed"]);
    let gateway = office.setup.start();
    let told = contradiction(&gateway);
    assert!(told.contains("begun anew") && told.contains("signed at "), "{told}");
    office.work(&gateway, "five");
    gateway.stop();
    office.finds(&["begun-anew"]);
    // What was told is not told again.
    assert_fits(&office);

    // Somebody with another key writes into the witness.
    let (stranger, root) = Office::on_disk();
    stranger.day("strange");
    let forged = files(&root).pop().unwrap();
    fs::copy(&forged, vault.join("edge-1").join("forged.json")).unwrap();
    let (whole, report) = office.verify_with(&[]);
    let kinds: Vec<_> =
        report["witness"]["findings"].as_array().unwrap().iter().map(|finding| field(finding, "kind")).collect();
    assert!(!whole && kinds.contains(&"foreign-key"), "{report:#}");
}

#[test]
fn nothing_is_no_success() {
    let (office, vault) = Office::on_disk();
    office.day("one");
    office.finds(&[]);
    // Nothing is of that time, neither in the trail nor in the witness.
    let trail = fs::read(&office.trail).unwrap();
    fs::write(&office.trail, "").unwrap();
    let mut long_ago = lockgate();
    long_ago.args(["audit", "verify", "--since", "2001-01-01", "--until", "2001-01-02", "--witness", "--config"]);
    let done =
        run(long_ago.arg(office.setup.write_config()).arg("--key").arg(&office.first).arg(&office.trail)).failed();
    assert!(!done.stdout.contains("INTACT"), "{done}");
    office.finds(&["removed"]);

    for path in files(&vault) {
        fs::remove_file(path).unwrap();
    }
    office.finds(&["empty"]);
    fs::remove_file(&office.trail).unwrap();
    office.finds(&["empty"]);
    fs::write(&office.trail, trail).unwrap();
    office.finds(&["empty"]);
}

#[test]
fn a_second_key_beside_the_one_that_the_witness_saw_is_told() {
    let (office, _) = Office::on_disk();
    office.day("one");
    let copy = office.setup.folder().join("copy");
    copy_all(&office.folder, &copy.join("folder"));
    fs::copy(&office.trail, copy.join("events.ndjson")).unwrap();
    let rotate = || run(lockgate().args(["audit", "rotate-key"]).arg(&office.folder)).succeeded();
    rotate();
    office.day("two");
    office.finds(&[]);

    // Rolled back to before the change; the old key then endorses another one. By itself, the trail fits.
    for path in files(&office.folder) {
        fs::remove_file(path).unwrap();
    }
    copy_all(&copy.join("folder"), &office.folder);
    fs::copy(copy.join("events.ndjson"), &office.trail).unwrap();
    rotate();
    office.day("forged");
    run(lockgate().args(["audit", "verify"]).arg(&office.trail).arg("--key").arg(&office.first)).succeeded();
    let (whole, report) = office.verify_with(&[]);
    assert!(!whole && report["witness"].to_string().contains("one key endorses two"), "{report:#}");
}

#[test]
fn a_witness_that_fails_is_told_and_holds_nobody_up() {
    let (mut office, vault) = Office::on_disk();
    office.setup.config["audit"]["witness"]["readiness"] = json!(true);
    office.setup.config["admin"] = json!({ "health": "127.0.0.1:0" });
    // A file where the folder ought to be.
    fs::write(&vault, "in the way").unwrap();
    let gateway = office.setup.start();
    let health = Place::Tcp(address_of(&gateway, "health and metrics are shown on "));
    until("the failure in /readyz", LIMIT, || {
        let answer = health.get("/readyz");
        (answer.status == 503 && answer.body.contains("the witness of the trail fails")).then_some(())
    });
    assert!(health.get("/metrics").body.contains("lockgate_witness_failing 1"));
    office.work(&gateway, "one");
    fs::remove_file(&vault).unwrap();
    until("the recovery", LIMIT, || {
        let answer = health.get("/metrics");
        (answer.body.contains("lockgate_witness_failing 0") && !files(&vault).is_empty()).then_some(())
    });
    gateway.stop();
    office.finds(&[]);
}

#[test]
fn what_a_bucket_locks_can_be_hidden_and_not_silenced() {
    let lock = json!({ "mode": "governance", "retain": "1d" });
    let mut office = office(json!({ "store": "vault", "every": "1s", "object_lock": lock }));
    let options = office.setup.s3_store("plain").options();
    let prefix = "witnessed";
    office.setup.store("vault", json!({ "url": s3_locked::url(prefix), "options": options }));
    let sink = json!({ "sink": "store", "target": "vault:/audit", "object_lock": lock, "spool": office.setup.folder().join("spool") });
    office.setup.config["events"].as_array_mut().unwrap().push(sink);
    let check =
        |office: &Office| run(lockgate().args(["check", "--online", "--config"]).arg(office.setup.write_config()));
    check(&office).succeeded();
    office.day("one");

    let report = office.finds(&[]);
    let locks = &report["witness"]["locks"];
    assert!(locks["locked"].as_u64() >= Some(2) && locks["not-locked"] == 0, "{report:#}");
    assert_eq!(locks["locked"], locks["versions"], "{report:#}");
    assert_eq!(locks["locked-in-governance-mode"], locks["locked"], "{report:#}");
    let config = office.setup.write_config();
    let mut batches = lockgate();
    batches.args(["audit", "verify", "--json", "--locks", "--config"]).arg(&config).arg("--key").arg(&office.first);
    let done = run(batches.arg("vault:/audit")).succeeded();
    let batches: Value = serde_json::from_str(&done.stdout).unwrap();
    assert!(batches["locks"][0]["locked"].as_u64() >= Some(1) && batches["locks"][0]["not-locked"] == 0, "{batches:#}");

    // Who may delete removes the newest, and rolls the trail back.
    let newest = s3_locked::keys(&format!("{prefix}/witness/")).pop().unwrap();
    s3_locked::delete(&newest);
    assert!(!s3_locked::keys(&format!("{prefix}/witness/")).contains(&newest));
    office.finds(&["hidden"]);
    let lines = fs::read_to_string(&office.trail).unwrap();
    let lines: Vec<_> = lines.lines().collect();
    fs::write(&office.trail, lines[..lines.len() - 1].join("\n") + "\n").unwrap();
    office.finds(&["hidden", "cut-off"]);

    // In governance mode, who has the right to get round it removes it for good.
    let (key, version) = s3_locked::versions(&format!("{prefix}/audit/")).pop().unwrap();
    assert!(s3_locked::destroy(&key, &version).ends_with("204"));

    // A bucket without Object Lock.
    office.setup.config["audit"]["witness"]["store"] = json!("plain");
    let refused = check(&office);
    assert!(!refused.status.success() && refused.stderr.contains("was made without Object Lock"), "{refused:?}");
}

/// Nobody, whatever they may do, removes what the witness and the sink have before its time.
#[test]
fn in_compliance_mode_nobody_removes_what_a_bucket_has() {
    let lock = json!({ "mode": "compliance", "retain": "1d" });
    let mut office = office(json!({ "store": "vault", "every": "1s", "object_lock": lock }));
    let options = office.setup.s3_store("plain").options();
    let prefix = "complied";
    office.setup.store("vault", json!({ "url": s3_locked::url(prefix), "options": options }));
    let sink = json!({ "sink": "store", "target": "vault:/audit", "object_lock": lock, "spool": office.setup.folder().join("spool") });
    office.setup.config["events"].as_array_mut().unwrap().push(sink);
    office.day("one");

    let tomorrow = chrono::Utc::now() + chrono::TimeDelta::days(1);
    for (folder, least) in [("witness", 2), ("audit", 1)] {
        let versions = s3_locked::versions(&format!("{prefix}/{folder}/"));
        assert!(versions.len() >= least, "{folder}: {versions:?}");
        for (key, version) in &versions {
            let retention = s3_locked::retention(key, version);
            assert!(retention.contains("<Mode>COMPLIANCE</Mode>"), "{retention}");
            let (_, until) = retention.split_once("<RetainUntilDate>").expect("a date");
            let until = until.split_once('<').unwrap().0.parse::<chrono::DateTime<chrono::Utc>>().unwrap();
            assert!((until - tomorrow).num_hours().abs() < 1, "{retention}");
            let answer = s3_locked::destroy(key, version);
            assert!(!answer.ends_with("204"), "{answer}");
        }
        assert_eq!(s3_locked::versions(&format!("{prefix}/{folder}/")), versions);
    }
    // What was deleted without its version testifies all the same, and `verify` names the locks.
    let newest = s3_locked::keys(&format!("{prefix}/witness/")).pop().unwrap();
    s3_locked::delete(&newest);
    let report = office.finds(&["hidden"]);
    let locks = &report["witness"]["locks"];
    assert!(locks["locked"].as_u64() >= Some(2) && locks["not-locked"] == 0, "{report:#}");
    let config = office.setup.write_config();
    let mut batches = lockgate();
    batches.args(["audit", "verify", "--locks", "--config"]).arg(&config).arg("--key").arg(&office.first);
    let done = run(batches.arg("vault:/audit")).succeeded();
    assert!(done.stdout.contains("(in compliance mode)"), "{done}");
    assert_eq!(locks["locked-in-governance-mode"], 0, "{report:#}");
}

/// The trail went on from an older copy until it was longer than what was seen; the witness did not hear of that.
#[test]
fn a_start_finds_that_a_line_was_replaced() {
    let (mut office, vault) = Office::on_disk();
    office.setup.config["audit"]["witness"]["every"] = json!("1h");
    office.day("one");
    let copy = office.setup.folder().join("copy");
    copy_all(&office.folder, &copy.join("folder"));
    fs::copy(&office.trail, copy.join("events.ndjson")).unwrap();
    office.day("two");
    copy_all(&copy.join("folder"), &office.folder);
    fs::copy(copy.join("events.ndjson"), &office.trail).unwrap();
    let seen = files(&vault);
    let gateway = office.setup.start();
    contradiction(&gateway);
    (0..4).for_each(|number| office.work(&gateway, &format!("other{number}")));
    gateway.events.await_disconnected(4);
    gateway.kill();
    // Its own first checkpoint is older than the last one that was seen.
    assert_eq!(files(&vault).last(), seen.last());
    let gateway = office.setup.start();
    let told = contradiction(&gateway);
    assert!(told.contains("saw another line as sequence"), "{told}");
    gateway.stop();
}

/// Whoever removes everything, with the key, begins a trail that looks like the first one of a new gateway.
#[test]
fn a_start_finds_that_the_whole_folder_was_replaced() {
    let (office, _) = Office::on_disk();
    office.day("one");
    fs::remove_dir_all(&office.folder).unwrap();
    fs::remove_file(&office.trail).unwrap();
    let made = office.setup.folder().join("again");
    run(lockgate().arg("init").arg(&made)).succeeded();
    fs::create_dir(&office.folder).unwrap();
    fs::set_permissions(&office.folder, fs::Permissions::from_mode(0o700)).unwrap();
    for name in ["signing_key", "signing_key.pub"] {
        fs::copy(made.join("audit").join(name), office.folder.join(name)).unwrap();
    }
    let gateway = office.setup.start();
    let told = contradiction(&gateway);
    assert!(told.contains("begun anew") && told.contains("no key of this trail"), "{told}");
    gateway.stop();
    assert_fits(&office);
}

/// A new key is witnessed with its endorsement as soon as a reload takes it.
#[test]
fn a_key_that_changes_while_the_gateway_runs_is_witnessed() {
    let (mut office, vault) = Office::on_disk();
    office.setup.config["audit"]["witness"]["every"] = json!("1h");
    let gateway = office.setup.start();
    office.work(&gateway, "one");
    run(lockgate().args(["audit", "rotate-key"]).arg(&office.folder)).succeeded();
    gateway.signal(Signal::HUP);
    let change = gateway.events.await_event("CHECKPOINT", |event| field(event, "reason") == "key-change");
    let name = format!("{:020}-", change["sequence"].as_u64().unwrap());
    until("the change in the witness", LIMIT, || {
        files(&vault).iter().any(|path| path.to_string_lossy().contains(&name)).then_some(())
    });
    gateway.kill();
    assert_fits(&office);
    office.finds(&[]);
}
