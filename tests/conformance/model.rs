//! Random operations on a home of two entries, compared with a tree in memory: proptest chooses them, and reduces those that
//! show a difference to the fewest.

#[path = "model_tree.rs"]
mod tree;

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use lockgate::internals::path::LogicalPath;
use lockgate::internals::stores::{Existing, Key, Kind, Store};
use lockgate::internals::vfs::{Mount, PartialUploads, Settings, Transfers, Vfs, VfsResult, WriteMode};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestCaseError, TestRunner};

use crate::fixture::Fixture;
use tree::Tree;

/// What clients do.
#[derive(Debug, Clone)]
enum Operation {
    Write(Write),
    SetMtime(String, SystemTime),
    SetLength(String, u64),
    Remove(String),
    MakeDirectory(String),
    RemoveDirectory(String),
    Rename { from: String, to: String, existing: Existing },
}

/// A file's life from open to close.
#[derive(Debug, Clone)]
struct Write {
    path: String,
    truncate: bool,
    existing: Existing,
    must_exist: bool,
    read: bool,
    /// Where (the end for `None`), from where in the source, and how many bytes.
    pieces: Vec<(Option<usize>, usize, usize)>,
    length: Option<usize>,
    mtime: Option<SystemTime>,
    /// Otherwise it is cut off.
    closed: bool,
}

/// Bytes to write.
fn source() -> Bytes {
    static SOURCE: std::sync::OnceLock<Bytes> = std::sync::OnceLock::new();
    let make = || (0..6_u32 << 18).flat_map(|n| n.wrapping_mul(0x9E37_79B1).rotate_left(9).to_le_bytes()).collect();
    SOURCE.get_or_init(make).clone()
}

/// Few names, so that operations meet; directories and files share some.
fn path() -> impl Strategy<Value = String> {
    let name = prop::sample::select(vec!["a", "b", "c d", "e#1", "%41", "ü", "a.b"]);
    let depth = prop_oneof![4 => 1..=1_usize, 3 => 2..=2_usize, 1 => 3..=3_usize];
    let names = depth.prop_flat_map(move |depth| prop::collection::vec(name.clone(), depth));
    (prop::sample::select(vec!["x", "x", "y"]), names)
        .prop_map(|(entry, names)| format!("/{entry}/{}", names.join("/")))
}

fn time() -> impl Strategy<Value = SystemTime> {
    (1_u64..2_000_000_000, 0_u32..1_000_000_000).prop_map(|(seconds, nanos)| UNIX_EPOCH + Duration::new(seconds, nanos))
}

fn write() -> impl Strategy<Value = Operation> {
    let piece = (prop::option::weighted(0.3, 0..100_000_usize), 0..1_000_usize, 0..60_000_usize);
    let small = prop::collection::vec(piece, 0..5);
    // Parts begin at 5 MiB.
    let large = (5_usize << 20..6 << 20).prop_map(|length| vec![(None, 1, length), (None, 7, 70_000)]);
    let pieces = prop_oneof![30 => small, 1 => large];
    let existing = prop_oneof![3 => Just(Existing::Replace), 1 => Just(Existing::Refuse)];
    let length = prop::option::weighted(0.1, 0..200_000_usize);
    let mode = (any::<bool>(), existing, prop::bool::weighted(0.2), prop::bool::weighted(0.3));
    (path(), mode, pieces, length, prop::option::of(time()), prop::bool::weighted(0.9)).prop_map(
        |(path, (truncate, existing, must_exist, read), pieces, length, mtime, closed)| {
            let must_exist = must_exist && existing == Existing::Replace;
            // What was sent as a part cannot be cut in the same write-only upload.
            let length = length.filter(|_| pieces.iter().all(|(_, _, bytes)| *bytes < 1 << 20));
            Operation::Write(Write { path, truncate, existing, must_exist, read, pieces, length, mtime, closed })
        },
    )
}

fn operation() -> impl Strategy<Value = Operation> {
    let existing = prop_oneof![Just(Existing::Replace), Just(Existing::Refuse)];
    prop_oneof![
        8 => write(),
        1 => (path(), time()).prop_map(|(path, time)| Operation::SetMtime(path, time)),
        1 => (path(), 0..100_000_u64).prop_map(|(path, length)| Operation::SetLength(path, length)),
        3 => path().prop_map(Operation::Remove),
        4 => path().prop_map(Operation::MakeDirectory),
        2 => path().prop_map(Operation::RemoveDirectory),
        4 => (path(), path(), existing).prop_map(|(from, to, existing)| Operation::Rename { from, to, existing }),
    ]
}

/// A home whose entry `/x` is the store under test and whose `/y` is another store.
struct Home {
    mounts: Vec<Mount>,
    transfers: Arc<Transfers>,
    _staging: tempfile::TempDir,
}

impl Home {
    fn new(store: &Arc<dyn Store>, target: &str) -> Self {
        let staging = tempfile::tempdir().unwrap();
        let settings = Settings {
            transfer_memory: 64 << 20,
            staging: 256 << 20,
            staging_folder: staging.path().join("staging"),
            largest_hole: 64 << 20,
            partial_uploads: PartialUploads::Discard,
        };
        let x = Mount { entry: logical("/x"), store: Arc::clone(store), target: Key::parse(target).unwrap() };
        let y = Mount { entry: logical("/y"), store: Fixture::memory().store, target: Key::root() };
        Home { mounts: vec![x, y], transfers: Transfers::new(settings).unwrap(), _staging: staging }
    }

    /// The home as a connection of its own sees it, for each operation: what a connection remembers is not the store's.
    fn vfs(&self) -> Vfs {
        Vfs::new(self.mounts.clone(), Arc::clone(&self.transfers))
    }

    async fn perform(&self, operation: &Operation) -> VfsResult<()> {
        match operation {
            Operation::Write(write) => self.write(write).await,
            Operation::SetMtime(path, time) => self.vfs().set_mtime(&logical(path), *time, None).await.map(drop),
            Operation::SetLength(path, length) => self.vfs().set_length(&logical(path), *length).await.map(drop),
            Operation::Remove(path) => self.vfs().remove_file(&logical(path)).await,
            Operation::MakeDirectory(path) => self.vfs().make_directory(&logical(path)).await,
            Operation::RemoveDirectory(path) => self.vfs().remove_directory(&logical(path)).await,
            Operation::Rename { from, to, existing } => {
                self.vfs().rename(&logical(from), &logical(to), *existing, None).await.map(drop)
            }
        }
    }

    async fn write(&self, write: &Write) -> VfsResult<()> {
        let Write { truncate, existing, must_exist, read, .. } = *write;
        let mode = WriteMode { truncate, existing, must_exist, read };
        let mut writer = self.vfs().open_write(&logical(&write.path), mode).await?;
        for &(offset, from, length) in &write.pieces {
            let offset = offset.map_or(writer.size(), |offset| offset as u64);
            let mut data = source().slice(from..from + length);
            let mut at = offset;
            while !data.is_empty() {
                let piece = data.split_to(data.len().min(256 << 10));
                let end = at + piece.len() as u64;
                writer.write_at(at, piece).await?;
                at = end;
            }
        }
        if let Some(length) = write.length {
            writer.set_length(length as u64).await?;
        }
        if let Some(mtime) = write.mtime {
            writer.set_mtime(mtime);
        }
        match write.closed {
            true => writer.commit().await.map(drop),
            false => writer.cut_off().await.map(drop),
        }
    }

    /// All paths below a directory.
    async fn found(&self) -> Tree {
        let mut found = Tree::default();
        let vfs = self.vfs();
        let mut open = vec!["/x".to_owned(), "/y".to_owned()];
        while let Some(directory) = open.pop() {
            let mut listing = vfs.open_directory(&logical(&directory)).await.unwrap();
            while let Some(page) = listing.next_page().await.unwrap() {
                for entry in page {
                    let path = format!("{directory}/{}", entry.name);
                    let stat = vfs.stat(&logical(&path)).await.unwrap();
                    assert_eq!((stat.kind, stat.size), (entry.attributes.kind, entry.attributes.size), "{path}");
                    match stat.kind {
                        Kind::Directory => {
                            assert!(found.directories.insert(path.clone()), "{path} is listed twice");
                            open.push(path);
                        }
                        Kind::File => {
                            let seen = (entry.attributes.mtime, stat.mtime);
                            assert_eq!(seen.0.map(second), seen.1.map(second), "listing and stat of {path}");
                            let content = self.read(&path).await;
                            assert!(found.put(&path, content, stat.mtime), "{path} is listed twice");
                        }
                    }
                }
            }
            assert_eq!(listing.skipped().count, 0);
        }
        found
    }

    async fn read(&self, path: &str) -> Vec<u8> {
        let mut reader = self.vfs().open_read(&logical(path)).await.unwrap();
        let mut content = Vec::new();
        loop {
            let read = reader.read_at(content.len() as u64, 100_000).await.unwrap();
            if read.is_empty() {
                return content;
            }
            content.extend_from_slice(&read);
        }
    }
}

fn second(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).unwrap().as_secs()
}

fn logical(path: &str) -> LogicalPath {
    LogicalPath::parse_str(path).unwrap()
}

/// Lives through `cases` times up to 50 operations. `directories_stay`: a directory that was never made stays when its last
/// file goes, as on a disk.
async fn compare(store: Arc<dyn Store>, directories_stay: bool, cases: u32) {
    let cases = if std::env::var_os("LOCKGATE_LONG").is_some() { cases * 20 } else { cases };
    let runtime = tokio::runtime::Handle::current();
    tokio::task::spawn_blocking(move || {
        let config = Config { cases, max_shrink_iters: 200, failure_persistence: None, ..Config::default() };
        let done = TestRunner::new(config).run(&prop::collection::vec(operation(), 1..50), |operations| {
            let home = Home::new(&store, &uuid::Uuid::now_v7().simple().to_string());
            runtime.block_on(live(&home, &operations, directories_stay))
        });
        if let Err(error) = done {
            panic!("{error}");
        }
    })
    .await
    .unwrap();
}

async fn live(home: &Home, operations: &[Operation], directories_stay: bool) -> Result<(), TestCaseError> {
    let mut tree = Tree::new(directories_stay);
    for (step, operation) in operations.iter().enumerate() {
        let Some(expected) = tree.perform(operation) else { continue };
        let result = home.perform(operation).await;
        prop_assert_eq!(result.is_ok(), expected, "step {} {:?}: {:?}", step, operation, result);
    }
    let found = home.found().await;
    tree.check(&found)
}

#[tokio::test(flavor = "multi_thread")]
async fn memory() {
    compare(Fixture::memory().store, false, 200).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn local() {
    let fixture = Fixture::local();
    compare(fixture.store, true, 200).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn s3() {
    if let Some(fixture) = Fixture::s3().await {
        compare(fixture.store, false, 40).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn azure() {
    if let Some(fixture) = Fixture::azure() {
        compare(fixture.store, false, 40).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn gcs() {
    if let Some(fixture) = Fixture::gcs().await {
        compare(fixture.store, false, 30).await;
    }
}
