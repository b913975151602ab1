//! One large file in flat memory, and a rename that has to be copied by parts.

use std::fs::{self, File};
use std::io::Read;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde_json::json;

use super::{assert_memory, speed};
use crate::support::campaign::{alone, report, short_or_long};
use crate::support::client::Client;
use crate::support::content::{Content, Hash, read_full};
use crate::support::data::{GIB, MIB};
use crate::support::files::Files;
use crate::support::gateway::Gateway;
use crate::support::s3::S3Store;
use crate::support::setup::{Setup, User};

const LIMIT: Duration = Duration::from_secs(3000);

/// Smaller than the default, so that a file that is held in memory cannot hide.
const BUDGET: u64 = 128 * MIB;

struct Bench {
    setup: Setup,
    gateway: Gateway,
    client: Client,
    behind: Behind,
}

enum Behind {
    Local(PathBuf),
    S3(S3Store),
}

fn bench(store: &str, copy_limit: Option<u64>) -> Bench {
    let mut setup = Setup::new();
    let behind = match store {
        "local" => Behind::Local(setup.local_store("main")),
        _ => Behind::S3(setup.s3_store("main")),
    };
    if let Some(bytes) = copy_limit {
        setup.config["stores"]["main"]["options"]["copy_limit"] = json!(bytes.to_string());
    }
    let key = setup.key("alice");
    setup.user(User::new("alice").key(&key).home("/", "main:/"));
    setup.limit("transfer_memory", format!("{}MiB", BUDGET / MIB));
    let gateway = setup.start();
    let client = gateway.client("alice", &key).within(LIMIT);
    Bench { setup, gateway, client, behind }
}

/// A sparse file with islands of stamped bytes, the last at its end; its SHA-256.
fn write_sparse(path: &Path, length: u64) -> String {
    let file = File::create(path).unwrap();
    file.set_len(length).unwrap();
    let distance = (length / 40).min(512 * MIB);
    let islands = (0..length - MIB).step_by(distance as usize).chain([length - MIB]);
    for (id, offset) in (1..).zip(islands) {
        file.write_all_at(&Content::new(id, MIB).bytes(), offset).unwrap();
    }
    hash(&mut File::open(path).unwrap())
}

fn hash(file: &mut dyn Read) -> String {
    let (mut hash, mut buffer) = (Hash::new(), vec![0; MIB as usize]);
    let mut file = file;
    loop {
        match read_full(&mut file, &mut buffer).unwrap() {
            0 => return hash.finish(),
            length => hash.add(&buffer[..length]),
        }
    }
}

impl Bench {
    /// The SHA-256 of a stored file, read past the gateway.
    fn stored_hash(&self, name: &str) -> String {
        match &self.behind {
            Behind::Local(root) => hash(&mut File::open(root.join(name)).unwrap()),
            Behind::S3(s3) => s3.read(name, |object| hash(object)),
        }
    }

    fn remove(&self, name: &str) {
        match &self.behind {
            Behind::Local(root) => fs::remove_file(root.join(name)).unwrap(),
            Behind::S3(s3) => s3.remove(name),
        }
    }
}

/// Up with OpenSSH's client, down with our own, which needs no disk.
fn there_and_back(store: &str) {
    let _alone = alone();
    let length = short_or_long(GIB, 20 * GIB);
    let bench = bench(store, None);
    let source = bench.setup.folder().join("source");
    let expected = write_sparse(&source, length);
    let what = format!("{} GiB, {store} store", length / GIB);

    let started = Instant::now();
    bench.client.sftp(&format!("put {} /big\n", source.display())).succeeded();
    report(&format!("upload of {what}: {}", speed(length, started.elapsed().as_secs_f64())));
    fs::remove_file(&source).unwrap();
    assert_memory(&format!("upload of {what}"), &bench.gateway, BUDGET, 1);
    assert_eq!(bench.stored_hash("big"), expected, "what is stored");

    let started = Instant::now();
    let (mut hash, mut session) = (Hash::new(), Files::connect(&bench.client, LIMIT));
    session.read("/big", |bytes| hash.add(bytes)).unwrap();
    report(&format!("download of {what}: {}", speed(length, started.elapsed().as_secs_f64())));
    assert_eq!(hash.finish(), expected, "what came back");
    assert_memory(&format!("upload and download of {what}"), &bench.gateway, BUDGET, 1);
    bench.remove("big");
    drop(session);
    bench.gateway.stop();
}

#[test]
fn a_large_file_passes_through_flat_memory_to_a_local_store_and_back() {
    there_and_back("local");
}

#[test]
fn a_large_file_passes_through_flat_memory_to_s3_and_back() {
    there_and_back("s3");
}

/// An object that the server does not copy in one request: over 5 GiB, or over the store's `copy_limit`.
#[test]
fn a_large_object_is_renamed_on_s3() {
    let _alone = alone();
    let (length, limit) = short_or_long((40 * MIB, Some(5 * MIB)), (5 * GIB + 100 * MIB, None));
    let bench = bench("s3", limit);
    let Behind::S3(s3) = &bench.behind else { unreachable!() };
    let source = bench.setup.folder().join("source");
    let expected = write_sparse(&source, length);
    bench.client.sftp(&format!("put {} /old\n", source.display())).succeeded();
    fs::remove_file(&source).unwrap();
    let started = Instant::now();
    bench.client.sftp("rename /old /new\n").succeeded();
    report(&format!("rename of {} MiB on S3: {}", length / MIB, speed(length, started.elapsed().as_secs_f64())));
    let objects: Vec<_> = s3.objects().into_iter().collect();
    assert_eq!(objects, [("new".to_string(), length)]);
    assert_eq!(bench.stored_hash("new"), expected);
    assert_eq!(s3.unfinished_uploads(), 0);
    s3.remove("new");
    assert_memory("rename of a large object", &bench.gateway, BUDGET, 1);
    bench.gateway.stop();
}
