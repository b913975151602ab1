//! What only an upstream SFTP server has: pinned keys, hidden names, links, extensions that may be missing, connections that end.

use std::os::unix::fs::symlink;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use bytes::Bytes;
use futures_util::{StreamExt, stream};
use lockgate::internals::secret::Secret;
use lockgate::internals::stores::{
    Existing, FileUpload, PutOptions, Settings, Store, StoreErrorKind, Unfinished, Upload, open_noting,
};
use rustix::process::Signal;
use tempfile::TempDir;

use crate::fixture::{Fixture, REFUSE, REPLACE, a_time, exists, get, key, names, pages, put};
use crate::fixture_sftp::{open, open_through, unfinished_in};
use crate::support::keys::Key;
use crate::support::link::Link;
use crate::support::sshd::{Sshd, shared};

/// Long enough that only a server that is stopped takes longer, short enough to wait for it.
const SILENCE: (&str, &str) = ("timeout", "3s");

async fn begin(store: &dyn Store, name: &str) -> Box<dyn FileUpload> {
    let Upload::File(file) = store.begin_upload(&key(name), &REPLACE).await.unwrap() else { panic!("a file") };
    file
}

fn bytes(text: &'static str) -> Vec<Bytes> {
    vec![Bytes::from_static(text.as_bytes())]
}

/// Waits until nothing unfinished is left; what is dropped is removed in the background.
async fn until_nothing_is_left(folder: &Path) {
    for _ in 0..3_000 {
        if unfinished_in(folder) == 0 {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("{} unfinished uploads are left", unfinished_in(folder));
}

#[tokio::test]
async fn another_host_key_is_refused_and_the_error_names_both() {
    let (sshd, folder) = (shared(), TempDir::new().unwrap());
    let other = Key::make(folder.path(), "other", "ed25519");
    let store = open(sshd, folder.path(), &[("host_key", &other.public)]);
    for _ in 0..2 {
        let error = store.check().await.unwrap_err();
        assert_eq!(error.kind, StoreErrorKind::Unavailable, "{error}");
        let text = error.to_string();
        assert!(text.contains(&sshd.host_key.fingerprint().0) && text.contains(&other.fingerprint().0), "{text}");
    }
    // A key of another kind, which the server would rather show than one that is not pinned, and one of several.
    let ecdsa = Key::make(folder.path(), "ecdsa", "ecdsa");
    let store = open(sshd, folder.path(), &[("host_key", &ecdsa.public)]);
    assert!(store.check().await.unwrap_err().to_string().contains(&sshd.host_key.fingerprint().0));
    let several = format!("{}\n{}\n", other.public, sshd.host_key.public);
    open(sshd, folder.path(), &[("host_key", &several)]).check().await.unwrap();
}

#[tokio::test]
async fn an_account_that_is_not_let_in_is_reported_so_and_not_tried_again_immediately() {
    let (sshd, folder) = (shared(), TempDir::new().unwrap());
    let stranger = Key::make(folder.path(), "stranger", "ed25519");
    let private = std::fs::read_to_string(&stranger.private).unwrap();
    let line = Link::to(sshd.port, Duration::ZERO, u32::MAX);
    let store = open_through(sshd, line.port, folder.path(), &[("private_key", &private)]);
    let error = store.check().await.unwrap_err();
    assert_eq!(error.kind, StoreErrorKind::AccessDenied, "{error}");
    // Nothing passes any more, so the second answer is the first's.
    line.stop();
    let again = store.check().await.unwrap_err();
    assert_eq!((again.kind, again.to_string()), (error.kind, error.to_string()));
}

#[tokio::test]
async fn what_check_found_names_the_account_the_key_and_the_room() {
    let (sshd, folder) = (shared(), TempDir::new().unwrap());
    let store = open(sshd, folder.path(), &[]);
    assert_eq!(store.found(), None);
    store.check().await.unwrap();
    let found = store.found().unwrap();
    assert!(found.contains(&format!("{}@127.0.0.1:{}", sshd.user, sshd.port)), "{found}");
    assert!(found.contains(&sshd.host_key.fingerprint().0) && found.contains("free"), "{found}");
    std::fs::write(folder.path().join("file"), "x").unwrap();
    let error = open(sshd, &folder.path().join("file"), &[]).check().await.unwrap_err();
    assert_eq!(error.kind, StoreErrorKind::NotADirectory, "{error}");
}

#[tokio::test]
async fn hidden_names_are_not_listed_and_nobody_can_use_them() {
    let fixture = Fixture::sftp();
    let (store, root) = (&*fixture.store, fixture.folder.as_ref().unwrap().path());
    let mut file = begin(store, "d/e/f").await;
    file.write_at(0, bytes("x")).await.unwrap();
    assert_eq!(unfinished_in(root), 1);
    assert!(names(store, "").await.is_empty(), "folders come with the file, not before");
    let hidden = std::fs::read_dir(root).unwrap().next().unwrap().unwrap().file_name().into_string().unwrap();
    for name in [hidden.clone(), format!("d/{hidden}/x")] {
        for kind in [
            store.stat(&key(&name)).await.err().map(|error| error.kind),
            store.open(&key(&name)).await.err().map(|error| error.kind),
            store.put(&key(&name), vec![], &REPLACE).await.err().map(|error| error.kind),
            store.delete(&key(&name)).await.err().map(|error| error.kind),
            store.make_directory(&key(&name)).await.err().map(|error| error.kind),
            store.rename(&key(&name), &key("g"), Existing::Replace, None).await.err().map(|error| error.kind),
        ] {
            assert_eq!(kind, Some(StoreErrorKind::InvalidName), "{name}");
        }
    }
    symlink(&hidden, root.join("link")).unwrap();
    assert!(!exists(store, "link").await);
    assert_eq!(pages(store, &key("")).await[0].skipped.count, 1);
    std::fs::remove_file(root.join("link")).unwrap();
    // In the way of a folder's removal, it is told of.
    std::fs::create_dir(root.join("full")).unwrap();
    std::fs::rename(root.join(&hidden), root.join("full").join(&hidden)).unwrap();
    let error = store.remove_directory(&key("full")).await.unwrap_err();
    assert_eq!(error.kind, StoreErrorKind::DirectoryNotEmpty);
    assert!(error.to_string().contains("cannot be shown"), "{error}");
    std::fs::rename(root.join("full").join(&hidden), root.join(&hidden)).unwrap();
    file.complete(None).await.unwrap();
    assert_eq!((get(store, "d/e/f").await.as_str(), unfinished_in(root)), ("x", 0));
}

/// A line of 100 ms: everything works, and what takes long is not taken for a server that is silent.
#[tokio::test]
async fn one_that_is_100_ms_away_is_not_taken_for_one_that_has_stopped() {
    let folder = TempDir::new().unwrap();
    let line = Link::to(shared().port, Duration::from_millis(50), u32::MAX);
    let store = &*open_through(shared(), line.port, folder.path(), &[SILENCE, ("connect_timeout", "30s")]);
    let large: Vec<u8> = (0..8_000_000_u32).map(|n| (n / 5) as u8).collect();
    let mut file = begin(store, "folder/large").await;
    for (part, piece) in large.chunks(1 << 20).enumerate() {
        file.write_at((part as u64) << 20, vec![Bytes::copy_from_slice(piece)]).await.unwrap();
    }
    file.complete(None).await.unwrap();
    let read = store.open(&key("folder/large")).await.unwrap().read(0, usize::MAX).await.unwrap();
    assert!(read == large, "the bytes differ");
    stream::iter(0..50).for_each_concurrent(16, |n| async move { put(store, &format!("many/{n}"), "x").await }).await;
    assert_eq!(names(store, "many").await.len(), 50);
    store.rename(&key("many/1"), &key("many/2"), Existing::Replace, None).await.unwrap();
    store.rename_directory(&key("many"), &key("moved")).await.unwrap();
    store.delete(&key("moved/2")).await.unwrap();
    assert_eq!(names(store, "moved").await.len(), 48);
    until_nothing_is_left(folder.path()).await;
}

/// Its places are taken by others: who waits gets one when it is free, and hears why when none is.
#[tokio::test]
async fn a_server_whose_sessions_are_taken_is_told_apart_from_one_that_is_down() {
    let (sshd, folder) = (Sshd::start(&["MaxStartups 500"]), TempDir::new().unwrap());
    put(&*open(&sshd, folder.path(), &[]), "f", "content").await;
    let none = Sshd::start(&["MaxSessions 0"]);
    let store = open(&none, folder.path(), &[("connect_timeout", "1s")]);
    let refused = store.stat(&key("f")).await.unwrap_err();
    assert_eq!(refused.kind, StoreErrorKind::Unavailable, "{refused}");
    none.kill();
    let down = store.stat(&key("f")).await.unwrap_err();
    assert_eq!(down.kind, StoreErrorKind::Unavailable, "{down}");
    assert_ne!(refused.to_string(), down.to_string());
}

#[tokio::test]
async fn who_may_make_no_folders_brings_none_back() {
    let fixture = Fixture::sftp();
    let (store, root) = (&*fixture.store, fixture.folder.as_ref().unwrap().path());
    let entry = key("home/ann").without_new_folders().as_folder(true);
    store.put(&entry.join("first").unwrap(), vec![], &REPLACE).await.unwrap();
    std::fs::create_dir(root.join("home/ann/in")).unwrap();
    let file = entry.join("in/f").unwrap();
    let Upload::File(mut upload) = store.begin_upload(&file, &REPLACE).await.unwrap() else { panic!("a file") };
    upload.write_at(0, bytes("x")).await.unwrap();
    std::fs::remove_dir_all(root.join("home/ann/in")).unwrap();
    assert_eq!(upload.complete(None).await.unwrap_err().kind, StoreErrorKind::NotFound);
    assert_eq!(store.put(&file, vec![], &REPLACE).await.unwrap_err().kind, StoreErrorKind::NotFound);
    assert!(!root.join("home/ann/in").exists());
}

#[tokio::test]
async fn a_file_is_written_and_read_in_any_order() {
    let fixture = Fixture::sftp();
    let mut file = begin(&*fixture.store, "f").await;
    let many: Vec<Bytes> = (0..300_000).map(|n| Bytes::from(vec![b'a' + (n % 26) as u8; 3])).collect();
    let whole: Vec<u8> = many.concat();
    file.write_at(4, many).await.unwrap();
    file.write_at(0, bytes("wx")).await.unwrap();
    assert_eq!(file.read_at(0, 7).await.unwrap(), "wx\0\0aaa".as_bytes());
    assert!(file.read_at(4, usize::MAX).await.unwrap() == whole, "the bytes differ");
    assert!(file.read_at(1 << 40, 10).await.unwrap().is_empty());
    file.set_length(6).await.unwrap();
    file.set_length(8).await.unwrap();
    assert_eq!(file.write_at(u64::MAX - 1, bytes("xy")).await.unwrap_err().kind, StoreErrorKind::TooLarge);
    file.complete(Some(a_time())).await.unwrap();
    assert_eq!(get(&*fixture.store, "f").await, "wx\0\0aa\0\0");
}

#[tokio::test]
async fn files_and_directories_do_not_replace_each_other() {
    let fixture = Fixture::sftp();
    let store = &*fixture.store;
    put(store, "dir/f", "x").await;
    put(store, "file", "x").await;
    assert_eq!(store.put(&key("dir"), vec![], &REPLACE).await.unwrap_err().kind, StoreErrorKind::IsADirectory);
    assert_eq!(store.put(&key("file/x"), vec![], &REPLACE).await.unwrap_err().kind, StoreErrorKind::NotADirectory);
    assert_eq!(store.open(&key("dir")).await.unwrap_err().kind, StoreErrorKind::IsADirectory);
    assert_eq!(store.delete(&key("dir")).await.unwrap_err().kind, StoreErrorKind::IsADirectory);
    let error = store.rename(&key("file"), &key("dir"), Existing::Replace, None).await.unwrap_err();
    assert_eq!(error.kind, StoreErrorKind::IsADirectory);
    assert_eq!(store.make_directory(&key("file")).await.unwrap_err().kind, StoreErrorKind::AlreadyExists);
    let capacity = store.capacity().await.unwrap().unwrap();
    assert!(capacity.free <= capacity.total && capacity.total > 0);
    let pipe = fixture.folder.as_ref().unwrap().path().join("pipe");
    rustix::fs::mknodat(rustix::fs::CWD, &pipe, rustix::fs::FileType::Fifo, 0o600.into(), 0).unwrap();
    assert_eq!(store.open(&key("pipe")).await.unwrap_err().kind, StoreErrorKind::NotFound, "it would wait for ever");
}

/// An upload is in a folder that gets another name, and under another name is found again after a kill.
#[tokio::test]
async fn an_unfinished_upload_moves_with_its_folder() {
    let fixture = Fixture::sftp();
    let store = &*fixture.store;
    store.make_directory(&key("old")).await.unwrap();
    let mut file = begin(store, "old/f").await;
    file.write_at(0, bytes("x")).await.unwrap();
    store.rename_directory(&key("old"), &key("new")).await.unwrap();
    file.move_to(&key("new/f"), Existing::Replace).await.unwrap();
    file.complete(None).await.unwrap();
    assert_eq!((names(store, "").await, get(store, "new/f").await.as_str()), (vec!["new/".to_owned()], "x"));
}

#[tokio::test]
async fn an_upload_has_a_hidden_name_lockgate_upload_beside_its_target_or_in_the_nearest() {
    let fixture = Fixture::sftp();
    let (store, root) = (&*fixture.store, fixture.folder.as_ref().unwrap().path());
    store.make_directory(&key("there")).await.unwrap();
    let hidden_in = |folder: &str| {
        let names = std::fs::read_dir(root.join(folder)).unwrap().map(|entry| entry.unwrap().file_name());
        names.filter(|name| name.to_str().unwrap().starts_with(".lockgate-upload-")).count()
    };
    for (name, folder) in [("f", ""), ("there/f", "there"), ("there/none/at/all/f", "there")] {
        let mut file = begin(store, name).await;
        file.write_at(0, bytes("x")).await.unwrap();
        assert_eq!(hidden_in(folder), 1, "{name}");
        file.complete(None).await.unwrap();
        assert_eq!((hidden_in(folder), get(store, name).await.as_str()), (0, "x"), "{name}");
    }
}

#[tokio::test]
async fn a_server_without_posix_rename_openssh_com_replaces_no_file_the_close_fails_and() {
    let (sshd, folder) = (Sshd::start(&["Subsystem sftp internal-sftp -P posix-rename"]), TempDir::new().unwrap());
    let store = &*open(&sshd, folder.path(), &[]);
    put(store, "f", "old").await;
    let mut file = begin(store, "f").await;
    file.write_at(0, bytes("new")).await.unwrap();
    let error = file.complete(None).await.unwrap_err();
    assert_eq!(error.kind, StoreErrorKind::Unsupported, "{error}");
    assert!(error.to_string().contains("posix-rename"), "{error}");
    assert_eq!(get(store, "f").await, "old");
    drop(file);
    until_nothing_is_left(folder.path()).await;
}

#[tokio::test]
async fn without_it_the_bytes_pass_through_the_gateway() {
    let (sshd, folder) = (Sshd::start(&["Subsystem sftp internal-sftp -P copy-data,limits"]), TempDir::new().unwrap());
    let store = &*open(&sshd, folder.path(), &[]);
    // In pieces of 32 KiB.
    let large: Vec<u8> = (0..3_000_000_u32).map(|n| (n / 7) as u8).collect();
    store.put(&key("large"), vec![Bytes::from(large.clone())], &REPLACE).await.unwrap();
    let version = store.open(&key("large")).await.unwrap().version().unwrap().to_owned();
    store.copy(&key("large"), &version, &key("copy"), &REPLACE).await.unwrap();
    let copy = store.open(&key("copy")).await.unwrap().read(0, usize::MAX).await.unwrap();
    assert!(copy == large, "the bytes differ");
}

/// Without the extensions there is less, and nothing is lost.
#[tokio::test]
async fn a_server_without_extensions_never_loses_a_file() {
    let without = "Subsystem sftp internal-sftp -P posix-rename,hardlink,fsync,statvfs,fstatvfs,limits,copy-data";
    let (sshd, folder) = (Sshd::start(&[without]), TempDir::new().unwrap());
    let store = &*open(&sshd, folder.path(), &[]);
    put(store, "f", "first").await;
    let error = store.put(&key("f"), bytes("second"), &REPLACE).await.unwrap_err();
    assert_eq!(error.kind, StoreErrorKind::Unsupported, "{error}");
    assert!(error.to_string().contains("posix-rename"), "{error}");
    let error = store.put(&key("f"), bytes("second"), &REFUSE).await.unwrap_err();
    assert_eq!(error.kind, StoreErrorKind::AlreadyExists, "{error}");
    // Taken while it is written.
    let Upload::File(mut file) = store.begin_upload(&key("g"), &REFUSE).await.unwrap() else { panic!("a file") };
    put(store, "g", "between").await;
    assert_eq!(file.complete(None).await.unwrap_err().kind, StoreErrorKind::AlreadyExists);
    let error = store.rename(&key("f"), &key("g"), Existing::Replace, None).await.unwrap_err();
    assert_eq!(error.kind, StoreErrorKind::Unsupported, "{error}");
    assert_eq!((get(store, "f").await.as_str(), get(store, "g").await.as_str()), ("first", "between"));
    store.rename(&key("f"), &key("h"), Existing::Replace, None).await.unwrap();
    assert_eq!(store.capacity().await.unwrap(), None);
    until_nothing_is_left(folder.path()).await;
}

#[tokio::test]
async fn times_are_whole_seconds_from_1970_to_2106_rounded_down_others_are_not_kept() {
    let fixture = Fixture::sftp();
    let store = &*fixture.store;
    put(store, "f", "x").await;
    store.make_directory(&key("d")).await.unwrap();
    let written = store.put(&key("e"), vec![], &PutOptions { mtime: Some(a_time()), ..REPLACE }).await.unwrap();
    assert!(written.mtime_kept);
    let whole = UNIX_EPOCH + Duration::from_secs(1_700_000_000);
    assert_eq!(store.stat(&key("e")).await.unwrap().mtime, Some(whole));
    for time in [UNIX_EPOCH - Duration::from_secs(1), UNIX_EPOCH + Duration::from_secs(1 << 33)] {
        assert_eq!(store.set_mtime(&key("f"), time, None).await.unwrap(), None);
        assert!(!store.set_directory_mtime(&key("d"), time).await.unwrap());
        let written = store.put(&key("g"), vec![], &PutOptions { mtime: Some(time), ..REPLACE }).await.unwrap();
        assert!(!written.mtime_kept);
    }
}

/// Connections are bounded and their opening is refused by the server now and then.
#[tokio::test]
async fn many_requests_share_what_connections_the_server_allows() {
    let (sshd, folder) = (Sshd::start(&["MaxStartups 1"]), TempDir::new().unwrap());
    let store = &*open(&sshd, folder.path(), &[("connections", "8")]);
    stream::iter(0..200).for_each_concurrent(64, |n| async move { put(store, &n.to_string(), "x").await }).await;
    assert_eq!(names(store, "").await.len(), 200);
    let sessions = Sshd::start(&["MaxSessions 0"]);
    let error = open(&sessions, folder.path(), &[("connect_timeout", "2s")]).check().await.unwrap_err();
    assert_eq!(error.kind, StoreErrorKind::Unavailable, "{error}");
    assert!(error.to_string().contains("no connection to"), "{error}");
}

/// Open files wait for nobody's answer, so the connection that has them looks idle.
#[tokio::test]
async fn a_file_is_opened_on_a_connection_where_the_server_lets_another_one_be_open() {
    let (folder, own) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let script = own.path().join("few");
    let servers = "/usr/lib/openssh /usr/libexec/openssh /usr/lib/ssh /usr/libexec";
    let few = "ulimit -n 25\nfor at in SERVERS; do [ -x $at/sftp-server ] && exec $at/sftp-server; done\n";
    std::fs::write(&script, few.replace("SERVERS", servers)).unwrap();
    let sshd = Sshd::start(&[&format!("Subsystem sftp /bin/sh {}", script.display())]);
    let store = &*open(&sshd, folder.path(), &[("connections", "4"), ("connect_timeout", "60s")]);
    let mut uploads = Vec::new();
    for n in 0..60 {
        let mut file = begin(store, &n.to_string()).await;
        file.write_at(0, bytes("x")).await.unwrap();
        uploads.push(file);
    }
    put(store, "beside", "x").await;
    assert_eq!(get(store, "beside").await, "x");
    assert_eq!(names(store, "").await, ["beside"]);
    for file in &mut uploads {
        file.complete(None).await.unwrap();
    }
    assert_eq!(names(store, "").await.len(), 61);
    // When each is full, the answer is the server's, and it is over when files are closed.
    let mut uploads = Vec::new();
    let refused = loop {
        match store.begin_upload(&key("more"), &REPLACE).await {
            Ok(Upload::File(file)) if uploads.len() < 200 => uploads.push(file),
            Ok(_) => panic!("{} files are open", uploads.len()),
            Err(error) => break error,
        }
    };
    assert_eq!(refused.kind, StoreErrorKind::Other, "{refused}");
    assert!((84..=92).contains(&uploads.len()), "{} of 22 on each of four connections", uploads.len());
    drop(uploads);
    until_nothing_is_left(folder.path()).await;
    put(store, "more", "x").await;
}

#[tokio::test]
async fn a_reader_goes_on_when_its_connection_has_ended_unless_the_file_was_replaced() {
    let (sshd, folder) = (Sshd::start(&[]), TempDir::new().unwrap());
    let store = &*open(&sshd, folder.path(), &[]);
    put(store, "f", "0123456789").await;
    put(store, "g", "0123456789").await;
    let (kept, replaced) = (store.open(&key("f")).await.unwrap(), store.open(&key("g")).await.unwrap());
    put(store, "g", "abcdefghij").await;
    assert_eq!(replaced.read(0, 5).await.unwrap(), "01234".as_bytes(), "it is open still");
    sshd.cut_sessions();
    assert_eq!(kept.read(2, 5).await.unwrap(), "23456".as_bytes());
    assert_eq!(replaced.read(5, 5).await.unwrap_err().kind, StoreErrorKind::Changed);
    assert_eq!(get(store, "g").await, "abcdefghij");
}

#[tokio::test]
async fn an_upload_whose_server_dies_fails_and_leaves_nothing_when_it_is_back() {
    let (sshd, folder, journals) = (Sshd::start(&[]), TempDir::new().unwrap(), TempDir::new().unwrap());
    let own = sshd.options();
    let options = own.into_iter().chain([("connect_timeout", "30s".to_owned())]);
    let options = options.map(|(name, value)| (name.to_owned(), Secret::new(value))).collect();
    let settings = Settings { name: "up".to_owned(), url: sshd.url(folder.path()), options };
    let store = open_noting(&settings, Some(Unfinished::open(journals.path()).unwrap())).unwrap();
    put(&*store, "f", "old").await;
    let mut file = begin(&*store, "f").await;
    file.write_at(0, bytes("new")).await.unwrap();
    sshd.kill();
    assert_eq!(file.write_at(3, bytes("er")).await.unwrap_err().kind, StoreErrorKind::Unavailable);
    assert_eq!(file.complete(None).await.unwrap_err().kind, StoreErrorKind::Unavailable);
    assert_eq!(store.stat(&key("f")).await.unwrap_err().kind, StoreErrorKind::Unavailable);
    drop(file);
    assert_eq!(unfinished_in(folder.path()), 1);
    sshd.start_again();
    assert_eq!(get(&*store, "f").await, "old");
    for _ in 0..600 {
        if store.remove_unfinished().await.unwrap() == 1 || unfinished_in(folder.path()) == 0 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert_eq!(unfinished_in(folder.path()), 0);
    put(&*store, "f", "newer").await;
    assert_eq!(get(&*store, "f").await, "newer");
}

#[tokio::test]
async fn a_server_that_stops_keeps_nobody_waiting_for_ever() {
    let (sshd, folder) = (Sshd::start(&[]), TempDir::new().unwrap());
    let store = open(&sshd, folder.path(), &[SILENCE, ("connect_timeout", "3s")]);
    put(&*store, "f", "x").await;
    let object = store.open(&key("f")).await.unwrap();
    sshd.signal(Signal::STOP);
    let name = key("f");
    let (stat, read) = tokio::join!(store.stat(&name), object.read(0, 1));
    assert_eq!(stat.unwrap_err().kind, StoreErrorKind::Unavailable);
    assert_eq!(read.unwrap_err().kind, StoreErrorKind::Unavailable);
    sshd.signal(Signal::CONT);
    // Its listener comes back in its own time.
    for _ in 0..600 {
        if store.check().await.is_ok() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert_eq!(get(&*store, "f").await, "x");
    assert_eq!(object.read(0, 1).await.unwrap(), "x".as_bytes());
}

/// Whoever asked for it has gone: the file is whole under its name, or nothing is.
#[tokio::test]
async fn a_publication_that_is_dropped_at_any_point_is_whole_or_not_there() {
    let folder = TempDir::new().unwrap();
    let line = Link::to(shared().port, Duration::from_millis(2), u32::MAX);
    let store: Arc<dyn Store> = open_through(shared(), line.port, folder.path(), &[]);
    put(&*store, "f", "old").await;
    for step in 0..30 {
        let content = vec![Bytes::from(format!("new {step}"))];
        let _ = tokio::time::timeout(Duration::from_millis(step * 2), store.put(&key("f"), content, &REPLACE)).await;
        let found = get(&*store, "f").await;
        assert!(found == "old" || found.strip_prefix("new ").is_some_and(|n| n.parse::<u64>().is_ok()), "{found}");
    }
    until_nothing_is_left(folder.path()).await;
    assert_eq!(names(&*store, "").await, ["f"]);
}

/// A listing whose connection has ended says so, and does not leave names out.
#[tokio::test]
async fn a_listing_whose_connection_has_ended_fails_and_leaves_no_name_out() {
    let (sshd, folder) = (Sshd::start(&[]), TempDir::new().unwrap());
    for n in 0..2_500 {
        std::fs::write(folder.path().join(n.to_string()), "").unwrap();
    }
    let store = open(&sshd, folder.path(), &[]);
    let page = store.list(&key(""), None).await.unwrap();
    sshd.cut_sessions();
    let error = store.list(&key(""), page.next).await.unwrap_err();
    assert_eq!(error.kind, StoreErrorKind::Unavailable, "{error}");
    assert_eq!(names(&*store, "").await.len(), 2_500);
}

#[tokio::test]
async fn a_full_disk_is_told_as_such() {
    // Only root may make a small file system. What the gateway makes of a server's words is tested without one (`sftp_faults`).
    let folder = TempDir::new().unwrap();
    let mut mount = std::process::Command::new("mount");
    mount.args(["-t", "tmpfs", "-o", "size=4m", "tmpfs"]).arg(folder.path());
    if !mount.output().is_ok_and(|done| done.status.success()) {
        return;
    }
    let store = open(shared(), folder.path(), &[]);
    let mut file = begin(&*store, "f").await;
    let mut wrote = Ok(());
    for piece in 0..8 {
        wrote = file.write_at(piece << 20, vec![Bytes::from(vec![7; 1 << 20])]).await;
        if wrote.is_err() {
            break;
        }
    }
    file.abort().await.unwrap();
    let left = unfinished_in(folder.path());
    std::process::Command::new("umount").arg("-l").arg(folder.path()).status().unwrap();
    assert_eq!(wrote.unwrap_err().kind, StoreErrorKind::NoSpace);
    assert_eq!(left, 0);
}
