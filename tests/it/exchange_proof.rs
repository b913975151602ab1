//! What partner B received is what partner A sent: shown by an auditor who has the trail and the public key, and nothing else of the gateway.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::support::events::field;
use crate::support::gateway::{Gateway, lockgate};
use crate::support::keys::Key;
use crate::support::process::{LIMIT, program, run, run_with};
use crate::support::setup::{Setup, User};
use crate::support::sftp::Sftp;

/// More than one part of an upload to S3.
const LARGE: usize = 24 << 20;

/// A gateway whose partners share a place: `ann` sends, `ben` fetches.
struct Exchange {
    setup: Setup,
    trail: PathBuf,
    public: PathBuf,
    ann: Key,
    ben: Key,
}

fn exchange(mut setup: Setup) -> Exchange {
    let folder = setup.audit_folder();
    let trail = setup.folder().join("events.ndjson");
    setup.config["events"] = json!([{ "sink": "stdout" }, { "sink": "file", "path": trail }]);
    let (ann, ben) = (setup.key("ann"), setup.key("ben"));
    setup.user(User::new("ann").home("/", "main:/").key(&ann));
    setup.user(User::new("ben").home("/", "main:/").key(&ben));
    let public = setup.folder().join("auditor.pub");
    fs::copy(folder.join("signing_key.pub"), &public).unwrap();
    Exchange { setup, trail, public, ann, ben }
}

/// Bytes that do not repeat.
fn content(length: usize) -> Vec<u8> {
    let mut state = 1_u64;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        state.to_be_bytes()
    };
    std::iter::repeat_with(|| next()[0]).take(length).collect()
}

impl Exchange {
    fn write(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.setup.folder().join(name);
        fs::write(&path, bytes).unwrap();
        path
    }

    /// Ann sends with sftp; ben fetches with scp into a folder of his own, which it returns.
    fn exchange(&self, gateway: &Gateway, name: &str, bytes: &[u8]) -> PathBuf {
        let sent = self.write(name, bytes);
        let ann = gateway.client("ann", &self.ann);
        ann.sftp(&format!("put {} /{name}\n", sent.display())).succeeded();
        self.fetch(gateway, name)
    }

    fn fetch(&self, gateway: &Gateway, name: &str) -> PathBuf {
        let theirs = self.setup.folder().join("at-bens");
        fs::create_dir_all(&theirs).unwrap();
        let ben = gateway.client("ben", &self.ben);
        ben.scp([ben.remote(&format!("/{name}")), theirs.join(name).display().to_string()]).succeeded();
        theirs
    }

    /// As the auditor: with the copies of the trail and of the key.
    fn audit(&self, words: &[&str]) -> crate::support::process::Finished {
        run(lockgate().arg("audit").args(words).arg(&self.trail))
    }

    /// What is shown of a file: the trail is whole, `sha256sum` agrees on what ben has, and both ends of the trail say the same digest.
    #[track_caller]
    fn is_shown(&self, name: &str, theirs: &Path) {
        run(lockgate().args(["audit", "verify"]).arg(&self.trail).arg("--key").arg(&self.public)).succeeded();
        let received = self.audit(&["manifest", "--user", "ann", "--path", name]).succeeded().stdout;
        let sent = self.audit(&["manifest", "--user", "ben", "--path", name, "--direction", "sent"]).succeeded().stdout;
        let lines = |manifest: &str| -> Vec<String> {
            manifest.lines().filter(|line| !line.starts_with('#')).map(str::to_owned).collect()
        };
        assert_eq!((lines(&received).len(), lines(&received)), (1, lines(&sent)), "{received}\n{sent}");
        let mut check = program("sha256sum");
        let checked =
            run_with(check.args(["--check", "--strict", "-"]).current_dir(theirs), received.as_bytes(), LIMIT);
        assert!(checked.succeeded().stdout.contains(&format!("{name}: OK")));
        let (up, down) = (self.digest("ann", name), self.digest("ben", name));
        assert!(up.is_some() && up == down, "{up:?} {down:?}");
    }

    /// The digest in the last CLOSE of a user's file, if it has one.
    fn digest(&self, user: &str, name: &str) -> Option<String> {
        let trail = fs::read_to_string(&self.trail).unwrap();
        // The last line may be on its way.
        let mut events = trail.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        let is_it = |event: &Value| {
            field(event, "activity-type") == "CLOSE"
                && field(event, "user") == user
                && field(event, "logical-path") == format!("/{name}")
        };
        let close = events.rfind(is_it).expect("a CLOSE");
        Some(field(&close, "sha256").to_owned()).filter(|digest| !digest.is_empty())
    }
}

#[test]
fn what_one_partner_received_is_what_the_other_sent() {
    let mut setup = Setup::new();
    setup.local_store("main");
    let office = exchange(setup);
    let gateway = office.setup.start();
    let theirs = office.exchange(&gateway, "q1.pdf", &content(300_000));
    // Read in part only: nothing is shown by that, and the list says so.
    let mut half = Sftp::connect(&gateway.client("ben", &office.ben), LIMIT);
    let handle = half.open_to_read("/q1.pdf");
    half.read(&handle, 0, 150_000).unwrap();
    half.close(&handle).unwrap();
    drop(half);
    gateway.events.await_disconnected(3);
    assert_eq!(office.digest("ben", "q1.pdf"), None, "half of it was read");
    let of_half = office.audit(&["manifest", "--user", "ben", "--direction", "sent"]).failed();
    assert!(of_half.stdout.lines().any(|line| line == "# no digest is on record: q1.pdf"), "{of_half}");
    // Whoever fetches it whole again has the proof.
    office.fetch(&gateway, "q1.pdf");
    gateway.stop();
    office.is_shown("q1.pdf", &theirs);
    // A file that was changed on its way is no proof.
    fs::write(theirs.join("q1.pdf"), "other").unwrap();
    let manifest = office.audit(&["manifest", "--user", "ann"]).succeeded().stdout;
    let mut check = program("sha256sum");
    let checked = run_with(check.args(["--check", "--strict", "-"]).current_dir(&theirs), manifest.as_bytes(), LIMIT);
    assert!(checked.failed().stdout.contains("q1.pdf: FAILED"));
}

#[test]
fn it_is_shown_of_files_in_a_bucket_in_parts_and_out_of_order() {
    let mut setup = Setup::new();
    setup.s3_store("main");
    let office = exchange(setup);
    let gateway = office.setup.start();
    let large = content(LARGE);
    let theirs = office.exchange(&gateway, "large", &large);
    // Each piece overtakes the one before it, as those of clients with many requests under way.
    let mut ann = Sftp::connect(&gateway.client("ann", &office.ann), LIMIT);
    let handle = ann.create("/overtaken");
    let pieces: Vec<(u64, &[u8])> = (0..).step_by(256 << 10).zip(large.chunks(256 << 10)).collect();
    for pair in pieces.chunks(2) {
        for (offset, piece) in pair.iter().rev() {
            ann.write(&handle, *offset, piece).unwrap();
        }
    }
    ann.close(&handle).unwrap();
    drop(ann);
    office.fetch(&gateway, "overtaken");
    assert_eq!(fs::read(theirs.join("overtaken")).unwrap(), large);
    gateway.stop();
    for name in ["large", "overtaken"] {
        office.is_shown(name, &theirs);
    }
}
