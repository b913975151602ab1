//! Hidden files that an upstream store makes before they are needed: they are few, go when nobody wants them, and are in nobody's way.

use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use lockgate::internals::stores::{Existing, Store, StoreErrorKind, Upload};
use tempfile::TempDir;

use crate::fixture::{Fixture, REPLACE, exists, get, key, put};
use crate::fixture_sftp::{open, unfinished_in};
use crate::support::sshd::Sshd;

/// Answers what asks for a new file only when the file `go` is there, and everything else immediately.
const SLOW_TO_CREATE: &str = r#"
import os, struct, subprocess, sys, threading, time
go, server = sys.argv[1], next(p for p in (
    '/usr/lib/openssh/sftp-server', '/usr/libexec/openssh/sftp-server', '/usr/lib/ssh/sftp-server',
    '/usr/libexec/sftp-server') if os.path.exists(p))
child = subprocess.Popen([server], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
lock = threading.Lock()

def back():
    while data := os.read(child.stdout.fileno(), 1 << 16):
        while data:
            data = data[os.write(1, data):]
    os._exit(0)

def forward(packet):
    with lock:
        child.stdin.write(packet)
        child.stdin.flush()

def later(packet):
    while not os.path.exists(go):
        time.sleep(0.02)
    forward(packet)

threading.Thread(target=back, daemon=True).start()
held = b''
while data := os.read(0, 1 << 16):
    held += data
    while len(held) >= 4 and len(held) >= 4 + (length := struct.unpack('>I', held[:4])[0]):
        packet, held = held[:4 + length], held[4 + length:]
        if packet[4] == 3:
            threading.Thread(target=later, args=(packet,), daemon=True).start()
        else:
            forward(packet)
os._exit(0)
"#;

async fn until_there_are(folder: &Path, count: usize) {
    for _ in 0..1000 {
        if unfinished_in(folder) == count {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("{} hidden files, and {count} are wanted", unfinished_in(folder));
}

/// As a client opens a new file: it is looked at, and then expected.
async fn expect(store: &dyn Store, name: &str) {
    assert!(!exists(store, name).await);
    store.expect_upload(&key(name));
}

#[tokio::test]
async fn what_nobody_wants_is_removed_after_a_moment_and_there_are_few() {
    let fixture = Fixture::sftp();
    let (store, root) = (&*fixture.store, fixture.folder.as_ref().unwrap().path());
    store.expect_upload(&key("folder/f"));
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert_eq!(unfinished_in(root), 0, "no way has led there");
    for number in 0..20 {
        expect(store, &format!("f{number}")).await;
    }
    until_there_are(root, 4).await;
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert_eq!(unfinished_in(root), 4);
    until_there_are(root, 0).await;
    // And again.
    expect(store, "f").await;
    until_there_are(root, 1).await;
    put(store, "f", "content").await;
    assert_eq!((get(store, "f").await.as_str(), unfinished_in(root)), ("content", 0));
}

#[tokio::test]
async fn a_folder_can_be_removed_while_an_upload_is_expected_in_it() {
    let fixture = Fixture::sftp();
    let (store, root) = (&*fixture.store, fixture.folder.as_ref().unwrap().path());
    for wait in [true, false] {
        store.make_directory(&key("folder")).await.unwrap();
        expect(store, "folder/f").await;
        if wait {
            until_there_are(root, 1).await;
        }
        // Not those in other folders.
        expect(store, "f").await;
        store.remove_directory(&key("folder")).await.unwrap();
        until_there_are(root, 1).await;
        put(store, "f", "x").await;
        store.delete(&key("f")).await.unwrap();
    }
    let error = store.put(&key("folder/f"), vec![], &REPLACE).await.err().map(|error| error.kind);
    assert!(matches!(error, None | Some(StoreErrorKind::NotFound)), "{error:?}");
    until_there_are(root, 0).await;
}

#[tokio::test]
async fn an_upload_that_is_expected_is_stored_where_it_belongs_whatever_becomes_of_the_folder() {
    let fixture = Fixture::sftp();
    let (store, root) = (&*fixture.store, fixture.folder.as_ref().unwrap().path());
    store.make_directory(&key("old")).await.unwrap();
    expect(store, "old/f").await;
    until_there_are(root, 1).await;
    store.rename_directory(&key("old"), &key("new")).await.unwrap();
    store.make_directory(&key("old")).await.unwrap();
    assert!(!exists(store, "old/f").await);
    put(store, "old/f", "content").await;
    assert_eq!(get(store, "old/f").await, "content");
    assert!(!exists(store, "new/f").await);
    // One that is moved before its content comes is published under the other name.
    expect(store, "old/g").await;
    let Upload::File(mut file) = store.begin_upload(&key("old/g"), &REPLACE).await.unwrap() else { panic!("a file") };
    file.write_at(0, vec![Bytes::from_static(b"moved")]).await.unwrap();
    file.move_to(&key("new/g"), Existing::Replace).await.unwrap();
    file.complete(None).await.unwrap();
    assert_eq!(get(store, "new/g").await, "moved");
    until_there_are(root, 0).await;
}

#[tokio::test]
async fn an_upload_does_not_depend_on_what_was_made_for_it() {
    let (sshd, folder) = (Sshd::start(&[]), TempDir::new().unwrap());
    let store = &*open(&sshd, folder.path(), &[]);
    // Its connection has ended, and the hidden file was removed by somebody.
    for how in 0..2 {
        let name = format!("f{how}");
        expect(store, &name).await;
        until_there_are(folder.path(), 1).await;
        if how == 0 {
            sshd.cut_sessions();
            for _ in 0..500 {
                if store.check().await.is_ok() {
                    break;
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            assert!(!exists(store, &name).await);
            put(store, &name, "content").await;
            assert_eq!(get(store, &name).await, "content");
        } else {
            let hidden = std::fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().path());
            for path in hidden.filter(|path| path.file_name().unwrap().to_str().unwrap().starts_with(".lockgate")) {
                std::fs::remove_file(path).unwrap();
            }
            put(store, &name, "content").await;
            assert_eq!(get(store, &name).await, "content");
        }
        until_there_are(folder.path(), 0).await;
    }
}

#[tokio::test]
async fn a_server_that_makes_no_files_for_a_while_is_asked_for_few_and_keeps_nobody_from_removing_a_folder() {
    let folder = TempDir::new().unwrap();
    let (root, shim, go) = (folder.path().join("root"), folder.path().join("shim.py"), folder.path().join("go"));
    std::fs::create_dir(&root).unwrap();
    std::fs::write(&shim, SLOW_TO_CREATE).unwrap();
    let sshd = Sshd::start(&[&format!("Subsystem sftp python3 {} {}", shim.display(), go.display())]);
    let store = &*open(&sshd, &root, &[]);
    store.make_directory(&key("folder")).await.unwrap();
    store.make_directory(&key("other")).await.unwrap();
    // Longer than one waits for somebody who needs it.
    for number in 0..15 {
        expect(store, &format!("folder/f{number}")).await;
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    let started = std::time::Instant::now();
    store.remove_directory(&key("other")).await.unwrap();
    assert!(started.elapsed() < Duration::from_secs(2), "it waits for what is made elsewhere");
    // The folder itself is waited for, for a moment, and goes.
    store.remove_directory(&key("folder")).await.unwrap();
    std::fs::write(&go, "").unwrap();
    store.make_directory(&key("folder")).await.unwrap();
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert!(unfinished_in(&root) <= 4, "{} hidden files", unfinished_in(&root));
    until_there_are(&root, 0).await;
    put(store, "folder/f", "content").await;
    assert_eq!(get(store, "folder/f").await, "content");
}
