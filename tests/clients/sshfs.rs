//! sshfs: a home as a mounted file system.

use std::collections::BTreeSet;
use std::fs;
use std::io::{ErrorKind, Read, Seek, SeekFrom, Write};
use std::path::Path;

use crate::checks::{LARGE, LONG_AGO};
use crate::mount::{Mount, await_bytes, has_fuse};
use crate::place::{Place, mtime, on_each_store, set_mtime};
use crate::support::data::{assert_same_bytes, assert_same_tree, noise, write_noise, write_tree};
use crate::support::process::{LIMIT, program, run, until};

fn copy_tree(from: &Path, to: &Path) {
    fs::create_dir(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let (here, there) = (entry.path(), to.join(entry.file_name()));
        if here.is_dir() {
            copy_tree(&here, &there);
        } else {
            fs::write(&there, fs::read(&here).unwrap()).unwrap();
        }
    }
}

/// All files of a tree, and its folders.
#[track_caller]
fn await_tree(place: &Place, name: &str, expected: &Path) {
    for entry in fs::read_dir(expected).unwrap() {
        let path = entry.unwrap().path();
        let below = format!("{name}/{}", path.file_name().unwrap().to_str().unwrap());
        if path.is_dir() {
            await_tree(place, &below, &path);
        } else if fs::metadata(&path).unwrap().len() > 0 {
            await_bytes(place, &below, &fs::read(&path).unwrap());
        }
    }
}

fn open_to_change(file: &Path) -> fs::File {
    fs::OpenOptions::new().read(true).write(true).open(file).unwrap()
}

#[test]
fn sshfs() {
    if !has_fuse() {
        return;
    }
    on_each_store(|place| {
        // What the kernel remembers would hide what the gateway answers.
        let mount = Mount::new(place, "attr_timeout=0,entry_timeout=0,dir_cache=no");
        check_copies(place, &mount.at);
        check_changes(place, &mount.at);
        check_times(place, &mount.at);
        check_editors(place, &mount.at);
        check_names(place, &mount.at);
        check_errors(&mount.at);
        mount.end();
    });
}

#[track_caller]
fn check_copies(place: &Place, at: &Path) {
    let source = place.local("source");
    for (i, length) in [0, 1, 32_769, LARGE].into_iter().enumerate() {
        write_noise(&source, length, i as u64);
        let name = format!("größe '{i}'.bin");
        fs::copy(&source, at.join(&name)).unwrap();
        assert_same_bytes(&at.join(&name), &source);
        await_bytes(place, &name, &fs::read(&source).unwrap());
    }
    let tree = place.setup.subfolder("tree");
    write_tree(&tree);
    copy_tree(&tree, &at.join("tree"));
    await_tree(place, "tree", &tree);
    place.assert_holds_tree("tree", &tree);
    assert_same_tree(&at.join("tree"), &tree);

    // Opened to be read, and made if it is not there.
    run(program("flock").arg(at.join("lock")).arg("true")).succeeded();
    place.assert_holds_bytes("lock", b"");
    fs::remove_file(at.join("lock")).unwrap();
}

/// In the middle, at the end, and shorter.
#[track_caller]
fn check_changes(place: &Place, at: &Path) {
    // What was written counts before it is closed, for the size that the program asks for and for what it reads back.
    for round in 0..4 {
        let content = noise(1 << 20, round);
        let mut file =
            fs::File::options().read(true).write(true).create(true).truncate(true).open(at.join("fresh")).unwrap();
        file.write_all(&content).unwrap();
        assert_eq!(fs::metadata(at.join("fresh")).unwrap().len(), 1 << 20);
        let mut back = Vec::new();
        file.seek(SeekFrom::Start(0)).unwrap();
        file.read_to_end(&mut back).unwrap();
        assert!(back == content);
    }
    let edited = at.join("edited");
    let mut expected = noise(300_000, 9);
    fs::write(&edited, &expected).unwrap();
    let mut file = open_to_change(&edited);
    file.seek(SeekFrom::Start(1000)).unwrap();
    file.write_all(b"middle").unwrap();
    file.seek(SeekFrom::End(0)).unwrap();
    file.write_all(b"end").unwrap();
    let mut back = Vec::new();
    file.seek(SeekFrom::Start(0)).unwrap();
    file.read_to_end(&mut back).unwrap();
    file.sync_all().unwrap();
    drop(file);
    expected[1000..1006].copy_from_slice(b"middle");
    expected.extend(b"end");
    assert!(back == expected, "what was written can be read before it is closed");
    await_bytes(place, "edited", &expected);
    for _ in 0..3 {
        fs::OpenOptions::new().append(true).open(&edited).unwrap().write_all(b"more").unwrap();
        expected.extend(b"more");
    }
    await_bytes(place, "edited", &expected);
    open_to_change(&edited).set_len(7).unwrap();
    await_bytes(place, "edited", &expected[..7]);
    run(program("truncate").args(["--size", "3"]).arg(&edited)).succeeded();
    await_bytes(place, "edited", &expected[..3]);
}

#[track_caller]
fn check_times(place: &Place, at: &Path) {
    fs::write(at.join("timed"), b"some").unwrap();
    await_bytes(place, "timed", b"some");
    set_mtime(&at.join("timed"), LONG_AGO);
    assert_eq!(mtime(&at.join("timed")), LONG_AGO);
    run(program("cp").arg("-a").args([at.join("timed"), at.join("timed copy")])).succeeded();
    await_bytes(place, "timed copy", b"some");
    for name in ["timed", "timed copy"] {
        until("time that was set", LIMIT, || (place.mtime(name) == LONG_AGO).then_some(()));
    }
}

/// What editors and databases do to a file.
#[track_caller]
fn check_editors(place: &Place, at: &Path) {
    let folder = at.join("editing");
    fs::create_dir(&folder).unwrap();
    let document = folder.join("document");
    // Written beside and renamed over.
    for text in ["one", "two, longer"] {
        fs::write(folder.join(".document.new"), text).unwrap();
        fs::rename(folder.join(".document.new"), &document).unwrap();
        assert_eq!(fs::read_to_string(&document).unwrap(), text);
        await_bytes(place, "editing/document", text.as_bytes());
    }
    // The old one renamed away, and removed when the new one is on disk.
    fs::rename(&document, folder.join("document~")).unwrap();
    let mut file = fs::File::create_new(&document).unwrap();
    file.write_all(b"three").unwrap();
    file.sync_all().unwrap();
    drop(file);
    fs::remove_file(folder.join("document~")).unwrap();
    await_bytes(place, "editing/document", b"three");
    // Cut to nothing and written again.
    let mut file = open_to_change(&document);
    file.set_len(0).unwrap();
    file.write_all(b"four").unwrap();
    drop(file);
    await_bytes(place, "editing/document", b"four");
    assert!(fs::File::create_new(&document).is_err(), "a lock file is there once");
    // Here and there.
    let mut expected = noise(1 << 20, 10);
    fs::write(folder.join("database"), &expected).unwrap();
    let mut file = open_to_change(&folder.join("database"));
    for offset in [700_000, 5, 1_000_000, 40_000] {
        file.seek(SeekFrom::Start(offset)).unwrap();
        file.write_all(b"changed").unwrap();
        expected[offset as usize..][..7].copy_from_slice(b"changed");
    }
    drop(file);
    assert!(fs::read(folder.join("database")).unwrap() == expected);
    await_bytes(place, "editing/database", &expected);
    let names: BTreeSet<_> = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names, BTreeSet::from(["database".into(), "document".into()]));
    fs::remove_dir_all(&folder).unwrap();
    assert!(!place.has_folder("editing"));
}

#[track_caller]
fn check_names(place: &Place, at: &Path) {
    fs::create_dir(at.join("folder")).unwrap();
    fs::rename(at.join("edited"), at.join("folder/renamed")).unwrap();
    fs::write(at.join("other"), b"other").unwrap();
    fs::rename(at.join("other"), at.join("folder/renamed")).unwrap();
    await_bytes(place, "folder/renamed", b"other");
    fs::rename(at.join("folder"), at.join("moved")).unwrap();
    assert!(fs::remove_dir(at.join("moved")).is_err(), "it is not empty");
    fs::remove_file(at.join("moved/renamed")).unwrap();
    fs::remove_dir(at.join("moved")).unwrap();
    assert!(!place.has_folder("moved") && !place.has_folder("folder"));
    assert!(fs::read_dir(at.join("tree/many")).unwrap().count() == 10);
    run(program("df").arg(at)).succeeded();
}

#[track_caller]
fn check_errors(at: &Path) {
    let kind = |result: std::io::Result<()>| result.unwrap_err().kind();
    assert_eq!(kind(fs::write(at.join("read-only/new"), "x")), ErrorKind::PermissionDenied);
    assert_eq!(kind(fs::read(at.join("missing")).map(drop)), ErrorKind::NotFound);
    assert_eq!(kind(fs::create_dir(at.join("tree"))), ErrorKind::AlreadyExists);
    assert_eq!(kind(fs::remove_dir(at.join("tree"))), ErrorKind::DirectoryNotEmpty);
    assert_eq!(kind(std::os::unix::fs::symlink("a", at.join("link"))), ErrorKind::Unsupported);
    assert!(fs::hard_link(at.join("timed"), at.join("link")).is_err());
}
