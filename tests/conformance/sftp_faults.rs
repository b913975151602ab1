//! An upstream server that refuses, loses and leaves out: a program between sshd and its `sftp-server` does so on demand.

use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, TcpListener};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use bytes::Bytes;
use lockgate::internals::secret::Secret;
use lockgate::internals::stores::{
    Existing, PutOptions, Settings, Store, StoreErrorKind, Unfinished, Upload, open_noting,
};
use tempfile::TempDir;

use crate::fixture::{REFUSE, REPLACE, a_time, get, key, names, put};
use crate::fixture_sftp::{open_through, unfinished_in};
use crate::support::process::LIMIT;
use crate::support::sshd::{Sshd, shared};

/// What it does is the one word in the file that is its first argument; the others are the server's. Whoever loses an answer ends.
const SHIM: &str = r#"
import os, shutil, struct, subprocess, sys, threading
at, server = sys.argv[1], next(p for p in (
    '/usr/lib/openssh/sftp-server', '/usr/libexec/openssh/sftp-server', '/usr/lib/ssh/sftp-server',
    '/usr/libexec/sftp-server') if os.path.exists(p))
child = subprocess.Popen([server] + sys.argv[2:], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
lock, lost = threading.Lock(), set()

def exactly(source, count):
    data = b''
    while len(data) < count:
        piece = source.read(count - len(data))
        if not piece:
            os._exit(0)
        data += piece
    return data

def packet(source):
    return exactly(source, struct.unpack('>I', exactly(source, 4))[0])

def answer(data):
    with lock:
        sys.stdout.buffer.write(struct.pack('>I', len(data)) + data)
        sys.stdout.buffer.flush()

def back():
    while True:
        data = packet(child.stdout)
        if data[1:5] in lost:
            os._exit(0)
        answer(data)

def status(data, code):
    answer(b'\x65' + data[1:5] + struct.pack('>III', code, 0, 0))

def text(data, start):
    end = start + 4 + struct.unpack('>I', data[start:start + 4])[0]
    return data[start + 4:end], end

threading.Thread(target=back, daemon=True).start()
while True:
    data = packet(sys.stdin.buffer)
    mode, kind = open(at).read(), data[0]
    name = None
    if kind == 200:
        name, end = text(data, 5)
    if kind == 13 and mode == 'keep' or name == b'hardlink@openssh.com' and mode == 'no-links':
        status(data, 3)
        continue
    if kind == 10 and mode == 'no-times' or name == b'fsync@openssh.com' and mode == 'no-sync':
        status(data, 8)
        continue
    if mode == 'full' and (kind == 6 or name == b'fsync@openssh.com'):
        status(data, 4)
        continue
    if mode == 'full' and name == b'statvfs@openssh.com':
        answer(b'\xc9' + data[1:5] + struct.pack('>11Q', 4096, 4096, 1 << 20, 0, 0, 1 << 20, 0, 0, 7, 0, 255))
        continue
    if kind == 12 and mode == 'no-names':
        answer(b'\x68' + data[1:5] + struct.pack('>I', 0))
        continue
    if name == b'hardlink@openssh.com' and mode == 'lose-link':
        lost.add(data[1:5])
    if name == b'hardlink@openssh.com' and mode == 'take-link':
        old, end = text(data, end)
        shutil.copy2(old, text(data, end)[0])
        os._exit(0)
    if kind == 18 and mode == 'replace':
        old, end = text(data, 5)
        os.replace(old, text(data, end)[0])
        status(data, 0)
        continue
    if name == b'posix-rename@openssh.com' and mode == 'lose-file':
        os.unlink(text(data, end)[0])
        os._exit(0)
    if kind == 18 and mode == 'take-name':
        os.makedirs(text(data, text(data, 5)[1])[0])
    child.stdin.write(struct.pack('>I', len(data)) + data)
    child.stdin.flush()
"#;

/// A server and a store on it, which notes what is unfinished.
struct Faulty {
    store: Arc<dyn Store>,
    folder: TempDir,
    own: TempDir,
    _sshd: Sshd,
}

impl Faulty {
    fn start() -> Faulty {
        Faulty::start_with("")
    }

    /// With these arguments of `sftp-server`.
    fn start_with(arguments: &str) -> Faulty {
        let (folder, own) = (TempDir::new().unwrap(), TempDir::new().unwrap());
        let (shim, mode) = (own.path().join("shim.py"), own.path().join("mode"));
        fs::write(&shim, SHIM).unwrap();
        fs::write(&mode, "").unwrap();
        let sshd = Sshd::start(&[&format!("Subsystem sftp python3 {} {} {arguments}", shim.display(), mode.display())]);
        let options = sshd.options().into_iter().map(|(name, value)| (name.to_owned(), Secret::new(value))).collect();
        let settings = Settings { name: "up".to_owned(), url: sshd.url(folder.path()), options };
        let store = open_noting(&settings, Some(Unfinished::open(own.path()).unwrap())).unwrap();
        Faulty { store, folder, own, _sshd: sshd }
    }

    fn does(&self, mode: &str) {
        fs::write(self.own.path().join("mode"), mode).unwrap();
    }

    fn root(&self) -> &Path {
        self.folder.path()
    }

    /// Waits until what is left over is removed.
    async fn clear(&self) {
        for _ in 0..3_000 {
            self.store.remove_unfinished().await.unwrap();
            if unfinished_in(self.root()) == 0 {
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        panic!("{} unfinished uploads are left", unfinished_in(self.root()));
    }
}

fn bytes(text: &'static str) -> Vec<Bytes> {
    vec![Bytes::from_static(text.as_bytes())]
}

/// The hidden name is gone, and the file has no other: that is no publication.
#[tokio::test]
async fn a_publication_whose_answer_is_lost_is_done_if_the_hidden_name_is_gone_and_what() {
    let faulty = Faulty::start();
    put(&*faulty.store, "f", "old").await;
    faulty.does("lose-file");
    for name in ["f", "new"] {
        let error = faulty.store.put(&key(name), bytes("content"), &REPLACE).await.unwrap_err();
        assert_eq!(error.kind, StoreErrorKind::Unavailable, "{error}");
        assert!(error.to_string().contains("not known"), "{error}");
    }
    faulty.does("");
    assert_eq!(
        (names(&*faulty.store, "").await, get(&*faulty.store, "f").await.as_str()),
        (vec!["f".to_owned()], "old")
    );
}

#[tokio::test]
async fn a_hidden_name_that_cannot_be_removed_then_is_removed_later() {
    let faulty = Faulty::start();
    faulty.does("keep");
    faulty.store.put(&key("f"), bytes("content"), &REFUSE).await.unwrap();
    assert_eq!(unfinished_in(faulty.root()), 1);
    // Once more in the background, in vain.
    tokio::time::sleep(Duration::from_millis(300)).await;
    faulty.does("");
    faulty.clear().await;
    assert_eq!(get(&*faulty.store, "f").await, "content");
}

#[tokio::test]
async fn that_of_an_excl_upload_is_done_if_both_names_are_of_one_file() {
    let faulty = Faulty::start();
    faulty.does("lose-link");
    let time = UNIX_EPOCH + Duration::from_secs(1_700_000_000);
    let options = PutOptions { mtime: Some(time), ..REFUSE };
    faulty.store.put(&key("f"), bytes("content"), &options).await.unwrap();
    faulty.does("");
    assert_eq!((get(&*faulty.store, "f").await.as_str(), unfinished_in(faulty.root())), ("content", 0));
    assert_eq!(faulty.store.stat(&key("f")).await.unwrap().mtime, Some(time), "it is as before");
}

/// Another's file has the name, of the same content, length and time: as with two that want one lock.
#[tokio::test]
async fn otherwise_nobody_knows_and_the_answer_says_so() {
    let faulty = Faulty::start();
    for content in ["", "content"] {
        faulty.does("take-link");
        let name = key(&format!("f{content}"));
        let error = faulty.store.put(&name, bytes(content), &REFUSE).await.unwrap_err();
        assert_eq!(error.kind, StoreErrorKind::Unavailable, "{error}");
        assert!(error.to_string().contains("not known"), "{error}");
        faulty.does("");
        assert_eq!(get(&*faulty.store, name.as_str()).await, content);
    }
    faulty.clear().await;
}

/// Not in the protocol's sense, but there are such servers.
#[tokio::test]
async fn without_hard_links_excl_looks_at_the_name_right_before_it_renames() {
    let faulty = Faulty::start_with("-P hardlink");
    let store = &*faulty.store;
    faulty.does("replace");
    let Upload::File(mut late) = store.begin_upload(&key("f"), &REFUSE).await.unwrap() else { panic!("a file") };
    put(store, "f", "first").await;
    assert_eq!(late.complete(None).await.unwrap_err().kind, StoreErrorKind::AlreadyExists);
    assert_eq!(get(store, "f").await, "first");
    for round in 0..20 {
        let name = key(&round.to_string());
        let (one, other) =
            tokio::join!(store.put(&name, bytes("one"), &REFUSE), store.put(&name, bytes("other"), &REFUSE));
        let published = match (&one, &other) {
            (Ok(_), Err(error)) | (Err(error), Ok(_)) => {
                assert_eq!(error.kind, StoreErrorKind::AlreadyExists, "{error}");
                if one.is_ok() { "one" } else { "other" }
            }
            both => panic!("{both:?}"),
        };
        assert_eq!(get(store, name.as_str()).await, published);
    }
    faulty.clear().await;
}

#[tokio::test]
async fn without_hard_links_a_file_is_renamed_and_none_is_replaced() {
    let faulty = Faulty::start();
    faulty.does("no-links");
    faulty.store.put(&key("f"), bytes("content"), &REFUSE).await.unwrap();
    let Upload::File(mut late) = faulty.store.begin_upload(&key("g"), &REFUSE).await.unwrap() else { panic!("a file") };
    put(&*faulty.store, "g", "first").await;
    assert_eq!(late.complete(None).await.unwrap_err().kind, StoreErrorKind::AlreadyExists);
    assert_eq!(
        (get(&*faulty.store, "f").await.as_str(), get(&*faulty.store, "g").await.as_str()),
        ("content", "first")
    );
}

/// A link is renamed itself; a hard link might be one to what it leads to.
#[tokio::test]
async fn a_link_keeps_being_one_when_it_is_renamed() {
    let faulty = Faulty::start();
    put(&*faulty.store, "f", "content").await;
    std::os::unix::fs::symlink("f", faulty.root().join("link")).unwrap();
    faulty.store.rename(&key("link"), &key("other"), Existing::Refuse, None).await.unwrap();
    assert_eq!(fs::read_link(faulty.root().join("other")).unwrap(), Path::new("f"));
    assert!(fs::symlink_metadata(faulty.root().join("link")).is_err());
}

#[tokio::test]
async fn a_server_that_refuses_to_set_a_time_has_the_file_all_the_same() {
    let faulty = Faulty::start();
    faulty.does("no-times");
    let options = PutOptions { mtime: Some(a_time()), ..REPLACE };
    let written = faulty.store.put(&key("f"), bytes("content"), &options).await.unwrap();
    assert!(!written.mtime_kept);
    assert_eq!(get(&*faulty.store, "f").await, "content");
}

#[tokio::test]
async fn a_server_that_brings_no_file_to_its_disk_is_told_of_with_what_to_do() {
    let faulty = Faulty::start();
    faulty.does("no-sync");
    let error = faulty.store.put(&key("g"), bytes("content"), &REPLACE).await.unwrap_err();
    assert!(error.to_string().contains("\"fsync\": false"), "{error}");
}

/// The protocol has no word for it: the server says that something failed, and then how much is free.
#[tokio::test]
async fn a_full_disk_is_no_space_left_if_the_server_knows_statvfs_openssh_com_and_nothing() {
    let faulty = Faulty::start();
    let store = &*faulty.store;
    put(store, "old", "old").await;
    // Little is sent with what closes it, more is not; and an upload in parts.
    let (little, much) = (vec![Bytes::from(vec![7; 1000])], vec![Bytes::from(vec![7; 1 << 20])]);
    let Upload::File(mut parts) = store.begin_upload(&key("parts"), &REPLACE).await.unwrap() else { panic!("a file") };
    parts.write_at(0, bytes("before")).await.unwrap();
    let Upload::File(mut late) = store.begin_upload(&key("late"), &REPLACE).await.unwrap() else { panic!("a file") };
    late.write_at(0, bytes("before")).await.unwrap();
    faulty.does("full");
    for (name, content) in [("old", &little), ("little", &little), ("much", &much)] {
        let error = store.put(&key(name), content.clone(), &REPLACE).await.unwrap_err();
        assert_eq!(error.kind, StoreErrorKind::NoSpace, "{name}: {error}");
    }
    assert_eq!(parts.write_at(6, little.clone()).await.unwrap_err().kind, StoreErrorKind::NoSpace);
    parts.abort().await.unwrap();
    // All was written, and cannot be brought to the disk.
    let error = late.complete(None).await.unwrap_err();
    assert_eq!(error.kind, StoreErrorKind::NoSpace, "{error}");
    drop(late);
    faulty.does("");
    faulty.clear().await;
    assert_eq!((names(store, "").await, get(store, "old").await.as_str()), (vec!["old".to_owned()], "old"));
    // There is room again.
    store.put(&key("much"), much, &REPLACE).await.unwrap();
}

/// The rename was refused, and the name is there: it is another's.
#[tokio::test]
async fn an_upload_stays_where_it_is_when_its_folder_was_not_renamed() {
    let faulty = Faulty::start();
    let store = &*faulty.store;
    store.make_directory(&key("d")).await.unwrap();
    let Upload::File(mut file) = store.begin_upload(&key("d/f"), &REPLACE).await.unwrap() else { panic!("a file") };
    file.write_at(0, bytes("content")).await.unwrap();
    faulty.does("take-name");
    let error = store.rename_directory(&key("d"), &key("e")).await.unwrap_err();
    assert_eq!(error.kind, StoreErrorKind::AlreadyExists, "{error}");
    faulty.does("");
    file.complete(None).await.unwrap();
    assert_eq!((get(store, "d/f").await.as_str(), unfinished_in(faulty.root())), ("content", 0));
}

#[tokio::test]
async fn a_listing_ends_with_an_answer_without_names() {
    let faulty = Faulty::start();
    put(&*faulty.store, "f", "content").await;
    faulty.does("no-names");
    let listed = tokio::time::timeout(LIMIT, faulty.store.list(&key(""), None)).await;
    assert!(listed.expect("an end").unwrap().entries.is_empty());
}

/// On Windows it would lead out.
#[tokio::test]
async fn names_with_a_backslash_which_servers_on_windows_take_for_a_separator_are_refused() {
    let faulty = Faulty::start();
    let store = &*faulty.store;
    fs::write(faulty.root().join("a\\b"), "x").unwrap();
    std::os::unix::fs::symlink("a\\b", faulty.root().join("link")).unwrap();
    assert_eq!(store.open(&key("a\\b")).await.err().map(|error| error.kind), Some(StoreErrorKind::InvalidName));
    let error = store.put(&key("..\\x"), vec![], &REPLACE).await.unwrap_err();
    assert_eq!(error.kind, StoreErrorKind::InvalidName);
    assert!(store.open(&key("link")).await.is_err());
    let page = store.list(&key(""), None).await.unwrap();
    assert_eq!((page.entries.len(), page.skipped.count), (0, 2));
}

/// A server that greets and is silent from then on keeps nothing of ours.
#[tokio::test]
async fn a_handshake_that_stalls_leaves_no_connection() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    let silent = std::thread::spawn(move || {
        let (mut socket, _) = listener.accept().unwrap();
        socket.write_all(b"SSH-2.0-Silent\r\n").unwrap();
        socket.set_read_timeout(Some(LIMIT)).unwrap();
        socket.read_to_end(&mut Vec::new())
    });
    let folder = TempDir::new().unwrap();
    let store = open_through(shared(), port, folder.path(), &[("connect_timeout", "1s")]);
    assert_eq!(store.check().await.unwrap_err().kind, StoreErrorKind::Unavailable);
    let ended = tokio::task::spawn_blocking(|| silent.join().unwrap()).await.unwrap();
    assert!(!matches!(ended, Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut)));
}
