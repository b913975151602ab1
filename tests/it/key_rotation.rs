//! The key of a trail changes: with a gateway that runs and with one that is stopped, killed in between, and attacked.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::support::gateway::{Gateway, lockgate};
use crate::support::keys::Key;
use crate::support::process::{Finished, program, run};
use crate::support::setup::{Setup, User};

/// A gateway with a signed trail in a file, and the first key as an auditor keeps it.
struct Office {
    setup: Setup,
    folder: PathBuf,
    trail: PathBuf,
    first: PathBuf,
    key: Key,
}

fn office() -> Office {
    let mut setup = Setup::new();
    setup.memory_store("main");
    let folder = setup.audit_folder();
    let trail = setup.folder().join("events.ndjson");
    setup.config["events"] = json!([{ "sink": "stdout" }, { "sink": "file", "path": trail }]);
    let key = setup.key("alice");
    setup.user(User::new("alice").home("/", "main:/").key(&key));
    let first = setup.folder().join("first.pub");
    fs::copy(folder.join("signing_key.pub"), &first).unwrap();
    Office { setup, folder, trail, first, key }
}

impl Office {
    /// One session; the gateway goes on.
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

    fn rotate(&self) -> Finished {
        run(lockgate().args(["audit", "rotate-key"]).arg(&self.folder))
    }

    fn verify(&self, keys: &[&Path]) -> (bool, Value) {
        let mut command = lockgate();
        command.args(["audit", "verify", "--json"]).arg(&self.trail);
        keys.iter().for_each(|key| {
            command.arg("--key").arg(key);
        });
        let done = run(&mut command);
        (done.status.success(), serde_json::from_str(&done.stdout).unwrap_or_else(|_| panic!("{done:?}")))
    }

    /// What Python makes of the trail.
    fn verify_by_hand(&self, keys: &[&Path]) -> Finished {
        let mut command = program("python3");
        command.arg("-B").arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/verify_trail.py"));
        keys.iter().for_each(|key| {
            command.arg("--key").arg(key);
        });
        run(command.arg(&self.trail))
    }

    /// The auditor's first key is enough, for ours and for the program of the example.
    #[track_caller]
    fn follows_to(&self, keys: usize) {
        let (whole, report) = self.verify(&[&self.first]);
        assert!(whole, "{report:#}");
        assert_eq!(report["chains"][0]["keys"].as_array().unwrap().len(), keys, "{report:#}");
        self.verify_by_hand(&[&self.first]).succeeded();
    }

    /// Both find something wrong.
    #[track_caller]
    fn is_refused(&self, keys: &[&Path], what: &str) {
        let (whole, report) = self.verify(keys);
        assert!(!whole && report.to_string().contains(what), "{report:#}");
        self.verify_by_hand(keys).failed();
    }
}

fn copy_folder(from: &Path, to: &Path) {
    let _ = fs::remove_dir_all(to);
    fs::create_dir(to).unwrap();
    fs::set_permissions(to, fs::Permissions::from_mode(0o700)).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        fs::copy(&path, to.join(path.file_name().unwrap())).unwrap();
    }
}

fn make_key(folder: &Path) {
    let private = folder.join("signing_key");
    run(program("openssl").args(["genpkey", "-algorithm", "ed25519", "-out"]).arg(&private)).succeeded();
    fs::set_permissions(&private, fs::Permissions::from_mode(0o600)).unwrap();
    let public = folder.join("signing_key.pub");
    run(program("openssl").args(["pkey", "-pubout", "-in"]).arg(&private).arg("-out").arg(public)).succeeded();
}

#[test]
fn a_key_that_was_changed_is_followed_from_the_first_one() {
    let office = office();
    office.day("one");
    office.rotate().succeeded();
    office.day("two");
    office.follows_to(2);
    // In the folder itself the present key is enough.
    let (whole, report) = office.verify(&[&office.folder.join("signing_key.pub")]);
    assert!(whole, "{report:#}");
    // Twice before the next start, and while the gateway runs: without a reload it goes on with the key that it has.
    office.rotate().succeeded();
    office.rotate().succeeded();
    let gateway = office.setup.start();
    office.work(&gateway, "three");
    office.rotate().succeeded();
    office.work(&gateway, "four");
    gateway.stop();
    office.follows_to(3);
    office.day("five");
    office.follows_to(4);
    // Who trusts nobody but a stranger follows nothing.
    let other = office.setup.folder().join("other");
    fs::create_dir(&other).unwrap();
    make_key(&other);
    office.is_refused(&[&other.join("signing_key.pub")], "none of the given keys");
}

#[test]
fn a_change_that_is_cut_off_leaves_a_trail_that_verifies() {
    let office = office();
    office.day("one");
    // Each file of the folder as it may be when the change is killed: with some of its steps done, in their order.
    let (before, after) = (office.setup.folder().join("before"), office.setup.folder().join("after"));
    copy_folder(&office.folder, &before);
    office.rotate().succeeded();
    copy_folder(&office.folder, &after);
    let steps = ["signing_key.endorsed", "signing_key", "signing_key.pub"];
    for done in 0..=steps.len() {
        copy_folder(&before, &office.folder);
        // What the gateway has noted meanwhile.
        for state in ["chain", "chain.begun"] {
            let now = after.join(state);
            fs::copy(&now, office.folder.join(state)).unwrap();
        }
        fs::write(office.folder.join("signing_key.next"), "torn").unwrap();
        for step in &steps[..done] {
            fs::copy(after.join(step), office.folder.join(step)).unwrap();
        }
        let trail = fs::read(&office.trail).unwrap();
        office.day(&format!("killed{done}"));
        office.follows_to(if done >= 2 { 2 } else { 1 });
        let public = fs::read(office.folder.join("signing_key.pub")).unwrap();
        let private_is_new = done >= 2;
        assert_eq!(public == fs::read(after.join("signing_key.pub")).unwrap(), private_is_new, "step {done}");
        fs::write(&office.trail, trail).unwrap();
    }
}

#[test]
fn a_gateway_that_is_killed_right_after_a_change_goes_on_so_that_it_verifies() {
    let office = office();
    let gateway = office.setup.start();
    office.work(&gateway, "one");
    office.rotate().succeeded();
    office.work(&gateway, "two");
    gateway.kill();
    let gateway = office.setup.start();
    gateway.kill();
    office.day("three");
    office.follows_to(2);
}

#[test]
fn a_key_that_somebody_put_there_is_a_replacement() {
    let office = office();
    office.day("one");
    let honest = fs::read(&office.trail).unwrap();
    let folder = office.setup.folder().join("kept");
    copy_folder(&office.folder, &folder);
    // Without an endorsement.
    make_key(&office.folder);
    office.day("forged");
    office.is_refused(&[&office.first], "none of these endorses it");
    // With one by a third key: theirs, which they changed as the owner would.
    copy_folder(&folder, &office.folder);
    fs::write(&office.trail, &honest).unwrap();
    make_key(&office.folder);
    office.rotate().succeeded();
    office.day("forged");
    office.is_refused(&[&office.first], "none of these endorses it");
}

#[test]
fn an_older_copy_of_the_folder_is_found_out() {
    let office = office();
    office.day("one");
    let older = office.setup.folder().join("older");
    copy_folder(&office.folder, &older);
    office.rotate().succeeded();
    office.day("two");
    office.follows_to(2);
    // The old key signs again, at the end of the same chain.
    for name in ["signing_key", "signing_key.pub"] {
        fs::copy(older.join(name), office.folder.join(name)).unwrap();
    }
    office.day("rolled-back");
    office.is_refused(&[&office.first], "had followed at sequence");
}

#[test]
fn a_key_that_endorses_a_second_one_is_found_out() {
    let office = office();
    office.day("one");
    let older = office.setup.folder().join("older");
    copy_folder(&office.folder, &older);
    office.rotate().succeeded();
    office.day("two");
    office.follows_to(2);
    // The old key does not sign the trail again: it endorses another one.
    for name in ["signing_key", "signing_key.pub"] {
        fs::copy(older.join(name), office.folder.join(name)).unwrap();
    }
    fs::remove_file(office.folder.join("signing_key.endorsed")).unwrap();
    office.rotate().succeeded();
    office.day("forged");
    office.is_refused(&[&office.first], "one key endorses two");
}

/// Reloads until the trail has so many changes of the key; the new key.
#[track_caller]
fn await_change(gateway: &Gateway, count: usize) -> String {
    gateway.signal(Signal::HUP);
    let change = gateway.events.until("change of the key", |events| {
        events.iter().filter(|event| event["reason"] == "key-change").nth(count - 1).cloned()
    });
    change["checkpoint-key"].as_str().unwrap().to_owned()
}

#[test]
fn a_reload_takes_the_new_key_and_the_trail_names_it() {
    let office = office();
    let gateway = office.setup.start();
    office.work(&gateway, "one");
    for keys in 2..=4 {
        office.rotate().succeeded();
        let new = await_change(&gateway, keys - 1);
        office.work(&gateway, &format!("after{keys}"));
        gateway.events.await_disconnected(keys);
        let (whole, report) = office.verify(&[&office.first]);
        assert!(whole, "{report:#}");
        let named = report["chains"][0]["keys"].as_array().unwrap();
        assert_eq!((named.len(), &named[keys - 1]["key"]), (keys, &json!(new)), "{report:#}");
    }
    let said = run(lockgate().args(["audit", "verify"]).arg(&office.trail).arg("--key").arg(&office.first)).succeeded();
    assert!(
        said.stdout.contains("signed by SHA256:") && said.stdout.contains("which a key before it endorses"),
        "{said:?}"
    );
    // Who reloads without a change gets no checkpoint for it.
    gateway.signal(Signal::HUP);
    office.work(&gateway, "same");
    gateway.stop();
    office.follows_to(4);
}

#[test]
fn a_key_that_somebody_put_there_is_not_taken_by_a_reload() {
    let office = office();
    let gateway = office.setup.start();
    office.work(&gateway, "one");
    let kept = office.setup.folder().join("kept");
    copy_folder(&office.folder, &kept);
    make_key(&office.folder);
    gateway.signal(Signal::HUP);
    let told = gateway.events.await_event("ERROR", |event| event["operation"] == "CHANGE_KEY");
    assert!(told["message"].as_str().unwrap().contains("does not endorse"), "{told}");
    // The gateway goes on with its own.
    office.work(&gateway, "two");
    for name in ["signing_key", "signing_key.pub"] {
        fs::copy(kept.join(name), office.folder.join(name)).unwrap();
    }
    gateway.stop();
    office.follows_to(1);
}

/// The change, its reload and the death of the gateway at each step: with some of the files of the change there when the reload comes.
#[test]
fn a_gateway_that_is_killed_at_any_step_of_a_change_leaves_a_trail_that_verifies() {
    let office = office();
    let mut keys = 1;
    let steps = ["signing_key.endorsed", "signing_key", "signing_key.pub"];
    for done in 0..=steps.len() {
        for await_it in [false, true] {
            let gateway = office.setup.start();
            let (before, after) = (office.setup.folder().join("before"), office.setup.folder().join("after"));
            copy_folder(&office.folder, &before);
            office.rotate().succeeded();
            copy_folder(&office.folder, &after);
            for step in &steps[done..] {
                match before.join(step) {
                    old if old.exists() => drop(fs::copy(old, office.folder.join(step)).unwrap()),
                    _ => fs::remove_file(office.folder.join(step)).unwrap(),
                }
            }
            // From here on the key is another one.
            let is_new = done >= 2;
            office.work(&gateway, &format!("step{done}-{await_it}"));
            if await_it && is_new {
                await_change(&gateway, 1);
                office.work(&gateway, &format!("changed{done}"));
            } else {
                gateway.signal(Signal::HUP);
            }
            gateway.kill();
            keys += usize::from(is_new);
            office.day(&format!("next{done}-{await_it}"));
            office.follows_to(keys);
            let noted = office.folder.join("chain");
            let mut command = lockgate();
            command.args(["audit", "verify", "--whole", "--key"]).arg(&office.first).arg("--state").arg(&office.folder);
            assert!(noted.exists());
            run(command.arg(&office.trail)).succeeded();
        }
    }
}
