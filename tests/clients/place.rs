//! A user's home on one store, and how to look into that past the gateway.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Value, json};

use crate::support::client::Client;
use crate::support::data::{assert_same_bytes, assert_same_tree};
use crate::support::events::{field, is_end};
use crate::support::gateway::Gateway;
use crate::support::keys::Key;
use crate::support::s3::{self, S3Store};
use crate::support::setup::{Setup, User};

/// What stands for itself in a URL is not escaped: the signature of a request is made of it.
const ESCAPED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~').remove(b'/');

/// A path for a URL.
pub fn escaped(path: &str) -> String {
    utf8_percent_encode(path, ESCAPED).to_string()
}

/// The keys of a store, with nothing escaped in them, and the sizes of their objects.
#[track_caller]
fn objects(store: &S3Store) -> BTreeMap<String, u64> {
    let plain = |key: String| key.replace("&#39;", "'").replace("&#34;", "\"").replace("&amp;", "&");
    store.objects().into_iter().map(|(key, size)| (plain(key), size)).collect()
}

/// One user, whose home is the whole of one store. Below `/read-only` nothing may be changed.
pub struct Place {
    pub setup: Setup,
    pub gateway: Gateway,
    pub key: Key,
    /// Of another kind, for a client that does not know Ed25519.
    pub second_key: Key,
    store: Behind,
}

/// The store of a home. Its names are relative.
enum Behind {
    Local(PathBuf),
    S3(S3Store),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Local,
    S3,
}

/// A home on a local store.
pub fn place() -> Place {
    place_with(Kind::Local, |_| {})
}

/// Does the same with a home on a local store and with one on S3.
pub fn on_each_store(check: impl Fn(&Place)) {
    for kind in [Kind::Local, Kind::S3] {
        let place = place_with(kind, |_| {});
        check(&place);
        place.gateway.stop();
    }
}

pub fn place_with(kind: Kind, change: impl Fn(&mut Setup)) -> Place {
    let mut setup = Setup::new();
    let store = match kind {
        Kind::Local => Behind::Local(setup.local_store("main")),
        Kind::S3 => Behind::S3(setup.s3_store("main")),
    };
    let key = setup.key("alice");
    let second_key = Key::make(setup.folder(), "alice-ecdsa", "ecdsa");
    let home = User::new("alice").key(&key).key(&second_key).home("/", "main:/");
    setup.user(home.home_with("/read-only", "main:/read-only", json!("read_only")));
    change(&mut setup);
    let gateway = setup.start();
    Place { setup, gateway, key, second_key, store }
}

impl Place {
    pub fn client(&self) -> Client {
        self.gateway.client("alice", &self.key)
    }

    pub fn port(&self) -> String {
        self.gateway.port.to_string()
    }

    /// The `ssh` that a program calls, up to the host.
    pub fn ssh(&self) -> String {
        format!(
            "ssh -a -x -F none -p {} -i {} -o IdentitiesOnly=yes -o IdentityAgent=none -o BatchMode=yes -o UserKnownHostsFile={}",
            self.port(),
            self.key.private.display(),
            self.gateway.known_hosts().display()
        )
    }

    /// A path on the client's side.
    pub fn local(&self, name: &str) -> PathBuf {
        self.setup.folder().join(name)
    }

    /// The folder of a local store.
    #[track_caller]
    pub fn root(&self) -> &Path {
        match &self.store {
            Behind::Local(root) => root,
            Behind::S3(_) => panic!("S3 has no folder"),
        }
    }

    #[track_caller]
    pub fn assert_holds(&self, name: &str, expected: &Path) {
        match &self.store {
            Behind::Local(root) => assert_same_bytes(&root.join(name), expected),
            Behind::S3(store) => {
                let fetched = self.local("fetched");
                store.fetch(&escaped(name), &fetched);
                assert_same_bytes(&fetched, expected);
            }
        }
    }

    #[track_caller]
    pub fn assert_holds_bytes(&self, name: &str, expected: &[u8]) {
        let file = self.local("expected");
        fs::write(&file, expected).unwrap();
        self.assert_holds(name, &file);
    }

    /// Whether a file is there with this content.
    #[track_caller]
    pub fn has_bytes(&self, name: &str, expected: &[u8]) -> bool {
        match &self.store {
            Behind::Local(root) => fs::read(root.join(name)).is_ok_and(|bytes| bytes == expected),
            Behind::S3(store) => {
                let fetched = self.local("fetched");
                objects(store).get(name) == Some(&(expected.len() as u64)) && {
                    store.fetch(&escaped(name), &fetched);
                    fs::read(&fetched).unwrap() == expected
                }
            }
        }
    }

    /// The tree of `write_tree`, whose empty folder stays.
    #[track_caller]
    pub fn assert_holds_tree(&self, name: &str, expected: &Path) {
        match &self.store {
            Behind::Local(root) => assert_same_tree(&root.join(name), expected),
            Behind::S3(store) => {
                s3::rclone(store, &["check", "--download", expected.to_str().unwrap(), name]).succeeded();
                assert!(self.has_folder(&format!("{name}/empty folder")));
            }
        }
    }

    #[track_caller]
    pub fn has(&self, name: &str) -> bool {
        match &self.store {
            Behind::Local(root) => root.join(name).is_file(),
            Behind::S3(store) => objects(store).contains_key(name),
        }
    }

    #[track_caller]
    pub fn has_folder(&self, name: &str) -> bool {
        match &self.store {
            Behind::Local(root) => root.join(name).is_dir(),
            Behind::S3(store) => objects(store).keys().any(|key| key.starts_with(&format!("{name}/"))),
        }
    }

    /// A file that is there without the gateway's doing.
    #[track_caller]
    pub fn write(&self, name: &str, content: &[u8]) {
        match &self.store {
            Behind::Local(root) => {
                let file = root.join(name);
                fs::create_dir_all(file.parent().unwrap()).unwrap();
                fs::write(file, content).unwrap();
            }
            Behind::S3(store) => assert!(store.put(&escaped(name), &[], content)),
        }
    }

    /// Empty files `NAME-0000` and so on, `count` of them.
    #[track_caller]
    pub fn write_many(&self, name: &str, count: usize) {
        match &self.store {
            Behind::Local(_) => (0..count).for_each(|i| self.write(&format!("{name}-{i:04}"), b"")),
            Behind::S3(store) => store.make_many(&format!("{name}-"), &format!("[0000-{:04}]", count - 1)),
        }
    }

    /// The time of a file in the store, in seconds since 1970: what was kept, not when it was stored.
    #[track_caller]
    pub fn mtime(&self, name: &str) -> u64 {
        match &self.store {
            Behind::Local(root) => mtime(&root.join(name)),
            Behind::S3(store) => {
                let head = store.head(&escaped(name));
                let kept = head
                    .lines()
                    .find_map(|line| line.to_lowercase().strip_prefix("x-amz-meta-mtime:").map(str::to_owned));
                let kept = kept.unwrap_or_else(|| panic!("no time was kept:\n{head}"));
                kept.trim().split('.').next().unwrap().parse().expect("seconds")
            }
        }
    }

    /// Every transfer that was opened has ended as it should. A client may leave without closing a file that it has read to the
    /// end (lftp does): that is a PARTIAL_CLOSE of a download, never of an upload.
    #[track_caller]
    pub fn assert_all_closed(&self) {
        self.gateway.events.until("end of every transfer", |events| {
            let opened = |e: &&Value| field(e, "activity-type") == "OPEN" && field(e, "status") == "success";
            (events.iter().filter(opened).count() == events.iter().filter(|e| is_end(e)).count()).then_some(())
        });
        let failed = self.gateway.events.of_type("ERROR");
        assert!(!failed.iter().any(is_end), "{failed:#?}");
        for cut_off in self.gateway.events.of_type("PARTIAL_CLOSE") {
            assert_eq!(field(&cut_off, "operation"), "read", "{cut_off}");
        }
    }

    /// The CLOSE of every transfer of bytes has a digest: of a file that went in one piece, it proves what was sent or received.
    #[track_caller]
    pub fn assert_all_proven(&self) {
        let events = self.gateway.events.of_type("CLOSE");
        let moves = |event: &&Value| {
            ["bytes-in", "bytes-out"].iter().any(|name| event[name].as_str().is_some_and(|n| n != "0"))
        };
        let unproven: Vec<&Value> = events.iter().filter(moves).filter(|event| event.get("sha256").is_none()).collect();
        assert!(unproven.is_empty(), "without a digest: {unproven:#?}");
    }
}

/// The time of a file on the client's side, in seconds since 1970.
#[track_caller]
pub fn mtime(file: &Path) -> u64 {
    let modified = fs::metadata(file).unwrap().modified().unwrap();
    modified.duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs()
}

/// Of a file or a folder.
pub fn set_mtime(file: &Path, seconds: u64) {
    let time = SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
    fs::File::open(file).unwrap().set_modified(time).unwrap();
}
