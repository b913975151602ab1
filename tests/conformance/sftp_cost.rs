//! What an upstream server is asked for a small file: each round trip counts when it is far away.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use lockgate::internals::stores::{PutOptions, Store};
use tempfile::TempDir;

use crate::fixture::{REFUSE, REPLACE, a_time, get, key, put};
use crate::fixture_sftp::open;
use crate::support::sshd::Sshd;

/// Lets requests through only when no more of them come, and writes down the kinds of those that went together: a line for each round trip.
const SHIM: &str = r#"
import os, select, struct, subprocess, sys, threading
log, server = sys.argv[1], next(p for p in (
    '/usr/lib/openssh/sftp-server', '/usr/libexec/openssh/sftp-server', '/usr/lib/ssh/sftp-server',
    '/usr/libexec/sftp-server') if os.path.exists(p))
child = subprocess.Popen([server], stdin=subprocess.PIPE, stdout=subprocess.PIPE)

def back():
    while data := os.read(child.stdout.fileno(), 1 << 16):
        while data:
            data = data[os.write(1, data):]
    os._exit(0)

def kinds(data):
    while data:
        length, kind = struct.unpack('>IB', data[:5])
        name = data[13:13 + struct.unpack('>I', data[9:13])[0]].decode() if kind == 200 else str(kind)
        yield name
        data = data[4 + length:]

threading.Thread(target=back, daemon=True).start()
waiting = b''
while True:
    if select.select([0], [], [], 0.4 if waiting else None)[0]:
        data = os.read(0, 1 << 20)
        if not data:
            os._exit(0)
        waiting += data
        continue
    with open(log, 'a') as file:
        print(*kinds(waiting), file=file)
    child.stdin.write(waiting)
    child.stdin.flush()
    waiting = b''
"#;

const OPEN: &str = "3";
const CLOSE: &str = "4";
const READ: &str = "5";
const WRITE: &str = "6";
const LSTAT: &str = "7";
const FSTAT: &str = "8";
const FSETSTAT: &str = "10";
const REMOVE: &str = "13";

struct Counted {
    store: Arc<dyn Store>,
    folder: TempDir,
    log: PathBuf,
    _sshd: Sshd,
}

impl Counted {
    fn start() -> Counted {
        Counted::start_with(&[])
    }

    /// With further options of the store.
    fn start_with(further: &[(&str, &str)]) -> Counted {
        let folder = TempDir::new().unwrap();
        let (shim, log) = (folder.path().join("shim.py"), folder.path().join("log"));
        fs::write(&shim, SHIM).unwrap();
        fs::write(&log, "").unwrap();
        fs::create_dir(folder.path().join("root")).unwrap();
        let sshd = Sshd::start(&[&format!("Subsystem sftp python3 {} {}", shim.display(), log.display())]);
        // One connection: round trips on several would overlap.
        let options = [further, &[("connections", "1")]].concat();
        let store = open(&sshd, &folder.path().join("root"), &options);
        Counted { store, folder, log, _sshd: sshd }
    }

    fn rounds(&self) -> Vec<String> {
        fs::read_to_string(&self.log).unwrap().lines().map(str::to_owned).collect()
    }

    /// The round trips of what is done, each with the kinds of its requests.
    async fn of<T>(&self, done: impl Future<Output = T>) -> (T, Vec<String>) {
        let before = self.rounds().len();
        let result = done.await;
        (result, self.rounds().split_off(before))
    }

    fn root(&self) -> PathBuf {
        self.folder.path().join("root")
    }
}

fn inode(path: &Path) -> u64 {
    std::os::unix::fs::MetadataExt::ino(&path.metadata().unwrap())
}

#[tokio::test]
async fn a_small_file_costs_four_round_trips_to_put_and_four_to_get() {
    let counted = Counted::start();
    let store = &*counted.store;
    put(store, "folder/first", "x").await;
    let content = vec![Bytes::from_static(b"con"), Bytes::from_static(b"tent")];
    let options = PutOptions { mtime: Some(a_time()), ..REPLACE };
    let (written, rounds) = counted.of(store.put(&key("folder/f"), content, &options)).await;
    assert!(written.unwrap().mtime_kept);
    // The look at the names, the hidden name, all of the file with the second look, the name.
    let looks = format!("{LSTAT} {LSTAT}");
    let whole = format!("{WRITE} {FSETSTAT} fsync@openssh.com {FSTAT} {CLOSE}");
    assert_eq!(rounds, [&looks, OPEN, &format!("{whole} {looks}"), "posix-rename@openssh.com"]);
    let (found, rounds) = counted.of(get(store, "folder/f")).await;
    assert_eq!(found, "content");
    let in_front: Vec<&String> = rounds.iter().filter(|round| *round != CLOSE).collect();
    assert_eq!(in_front, [&looks, OPEN, FSTAT, READ]);
}

#[tokio::test]
async fn a_small_file_that_is_expected_costs_two_round_trips_to_put() {
    let counted = Counted::start();
    let store = &*counted.store;
    put(store, "folder/first", "x").await;
    // As a client that opens a file makes it.
    assert!(store.stat(&key("folder/f")).await.is_err());
    let ((), made) = counted
        .of(async {
            store.expect_upload(&key("folder/f"));
            until(|| counted.rounds().last().is_some_and(|round| round == OPEN)).await;
        })
        .await;
    assert_eq!(made, [OPEN]);
    let (written, rounds) = counted.of(store.put(&key("folder/f"), vec![Bytes::from_static(b"x")], &REPLACE)).await;
    written.unwrap();
    let looks = format!("{LSTAT} {LSTAT}");
    assert_eq!(rounds, [&format!("{WRITE} fsync@openssh.com {FSTAT} {CLOSE} {looks}"), "posix-rename@openssh.com"]);
    assert_eq!(get(store, "folder/f").await, "x");
}

async fn until(mut is_so: impl FnMut() -> bool) {
    for _ in 0..1000 {
        if is_so() {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    panic!("not within 20 seconds");
}

#[tokio::test]
async fn a_file_is_on_the_servers_disk_when_its_close_is_answered_fsync_openssh_com() {
    for (options, is_synced) in [(&[][..], true), (&[("fsync", "true")], true), (&[("fsync", "false")], false)] {
        let counted = Counted::start_with(options);
        let (written, rounds) = counted.of(counted.store.put(&key("f"), vec![], &REPLACE)).await;
        written.unwrap();
        // Before it has its name.
        let synced = rounds.iter().position(|round| round.contains("fsync@openssh.com"));
        let named = rounds.iter().position(|round| round.contains("rename@openssh.com")).unwrap();
        assert_eq!(synced.is_some_and(|synced| synced < named), is_synced, "{rounds:?}");
        assert_eq!(synced.is_some(), is_synced, "{rounds:?}");
    }
}

#[tokio::test]
async fn excl_gives_the_name_by_a_hard_link_hardlink_openssh_com() {
    let counted = Counted::start();
    let (written, rounds) = counted.of(counted.store.put(&key("f"), vec![], &REFUSE)).await;
    written.unwrap();
    assert_eq!(rounds[rounds.len() - 2..], ["hardlink@openssh.com", REMOVE], "{rounds:?}");
}

#[tokio::test]
async fn a_server_that_knows_copy_data_copies_whole_files_itself() {
    let counted = Counted::start();
    let store = &*counted.store;
    let content = Bytes::from(vec![7; 3 << 20]);
    store.put(&key("f"), vec![content.clone()], &REPLACE).await.unwrap();
    let version = store.open(&key("f")).await.unwrap().version().unwrap().to_owned();
    let (copied, rounds) = counted.of(store.copy(&key("f"), &version, &key("g"), &REPLACE)).await;
    copied.unwrap();
    let asked: Vec<&str> = rounds.iter().flat_map(|round| round.split(' ')).collect();
    assert!(asked.contains(&"copy-data") && !asked.contains(&READ) && !asked.contains(&WRITE), "{rounds:?}");
    assert!(store.open(&key("g")).await.unwrap().read(0, usize::MAX).await.unwrap() == content, "the bytes differ");
}

/// What is written with what closes the file may fail, and nothing else of it does.
#[tokio::test]
async fn what_is_sent_in_one_go_is_published_only_when_all_of_it_is_done() {
    let counted = Counted::start();
    let store = &*counted.store;
    put(store, "f", "old").await;
    let before = inode(&counted.root().join("f"));
    let error = store.put(&key("f"), vec![Bytes::from_static(b"new")], &REFUSE).await.unwrap_err();
    assert_eq!(error.kind, lockgate::internals::stores::StoreErrorKind::AlreadyExists, "{error}");
    assert_eq!((get(store, "f").await.as_str(), inode(&counted.root().join("f"))), ("old", before));
    // More than goes together, and an empty file.
    let large = vec![Bytes::from(vec![7; 300 << 10])];
    store.put(&key("large"), large.clone(), &REPLACE).await.unwrap();
    assert!(
        store.open(&key("large")).await.unwrap().read(0, usize::MAX).await.unwrap() == large[0],
        "the bytes differ"
    );
    store.put(&key("empty"), Vec::new(), &REPLACE).await.unwrap();
    assert_eq!(get(store, "empty").await, "");
}
