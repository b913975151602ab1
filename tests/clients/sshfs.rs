//! sshfs: a home as a mounted file system.

use std::fs;
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use crate::support::data::{MIB, assert_same_bytes, assert_same_tree, noise, write_noise, write_tree};
use crate::support::process::{Running, program, run, until};
use crate::{Place, place};

/// A mount; it is taken down when this is dropped.
struct Mount {
    at: PathBuf,
    sshfs: Running,
}

impl Mount {
    #[track_caller]
    fn new(place: &Place) -> Mount {
        let at = place.setup.subfolder("mount");
        let mut command = program("sshfs");
        command.args(["-f", "-p", &place.port(), "-F", "/dev/null"]);
        command.arg("-o").arg(format!("IdentityFile={}", place.key.private.display()));
        command.arg("-o").arg(format!("UserKnownHostsFile={}", place.gateway.known_hosts().display()));
        for option in ["IdentitiesOnly=yes", "BatchMode=yes", "StrictHostKeyChecking=yes", "IdentityAgent=none"] {
            command.args(["-o", option]);
        }
        // What the kernel remembers would hide what the gateway answers.
        command.args(["-o", "attr_timeout=0,entry_timeout=0,dir_cache=no"]);
        let mut sshfs = Running::start(command.arg("alice@127.0.0.1:/").arg(&at));
        let mounted = until("mount", Duration::from_secs(60), || {
            let mounts = fs::read_to_string("/proc/mounts").unwrap();
            let is_there = mounts.lines().any(|line| line.split(' ').nth(1) == at.to_str());
            if is_there { Some(true) } else { sshfs.has_ended().then_some(false) }
        });
        if !mounted {
            panic!("sshfs does not mount: {}", sshfs.finish(Duration::from_secs(60)));
        }
        Mount { at, sshfs }
    }

    fn end(mut self) {
        run(program("fusermount3").arg("-u").arg(&self.at)).succeeded();
        until("end of sshfs", Duration::from_secs(60), || self.sshfs.has_ended().then_some(()));
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        // After a failure; it is unmounted already after success.
        let _ = run(program("fusermount3").args(["-u", "-z", "-q"]).arg(&self.at));
    }
}

/// The kernel closes a file when it likes, after the program has: only then is it published.
#[track_caller]
fn await_bytes(file: &Path, expected: &[u8]) {
    until("published file", Duration::from_secs(20), || {
        fs::read(file).is_ok_and(|bytes| bytes == expected).then_some(())
    });
}

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

/// Whether this machine lets anybody mount in user space. That is the kernel's to give, and no set-up can install it.
fn has_fuse() -> bool {
    let device = fs::OpenOptions::new().read(true).write(true).open("/dev/fuse");
    if let Err(error) = &device {
        // Not through the macros, which the test harness keeps to itself.
        let _ = writeln!(std::io::stderr(), "== sshfs is NOT tried: /dev/fuse cannot be opened: {error}");
    }
    device.is_ok()
}

#[test]
fn sshfs() {
    if !has_fuse() {
        return;
    }
    let place = place();
    let mount = Mount::new(&place);
    let at = mount.at.clone();

    let source = place.local("source");
    for (i, length) in [0, 1, 1000, 6 * MIB + 1].into_iter().enumerate() {
        write_noise(&source, length, i as u64);
        let name = format!("file {i}.bin");
        fs::copy(&source, at.join(&name)).unwrap();
        assert_same_bytes(&at.join(&name), &source);
        await_bytes(&place.root.join(&name), &fs::read(&source).unwrap());
    }

    let tree = place.setup.subfolder("tree");
    write_tree(&tree);
    copy_tree(&tree, &at.join("tree"));
    crate::assert_all_closed(&place);
    assert_same_tree(&place.root.join("tree"), &tree);
    assert_same_tree(&at.join("tree"), &tree);

    // Opened to be read, and made if it is not there.
    run(program("flock").arg(at.join("lock")).arg("true")).succeeded();
    assert_eq!(fs::metadata(place.root.join("lock")).expect("the file was made").len(), 0);
    fs::remove_file(at.join("lock")).unwrap();

    // In the middle, at the end, and shorter.
    let mut expected = noise(300_000, 9);
    fs::write(at.join("edited"), &expected).unwrap();
    let mut file = fs::OpenOptions::new().read(true).write(true).open(at.join("edited")).unwrap();
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
    await_bytes(&place.root.join("edited"), &expected);
    fs::OpenOptions::new().append(true).open(at.join("edited")).unwrap().write_all(b"more").unwrap();
    expected.extend(b"more");
    await_bytes(&place.root.join("edited"), &expected);
    fs::OpenOptions::new().write(true).open(at.join("edited")).unwrap().set_len(7).unwrap();
    await_bytes(&place.root.join("edited"), &expected[..7]);

    let long_ago = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000);
    fs::File::options().write(true).open(at.join("edited")).unwrap().set_modified(long_ago).unwrap();
    assert_eq!(fs::metadata(at.join("edited")).unwrap().modified().unwrap(), long_ago);
    until("time that was set", Duration::from_secs(20), || {
        (fs::metadata(place.root.join("edited")).unwrap().modified().unwrap() == long_ago).then_some(())
    });

    fs::create_dir(at.join("folder")).unwrap();
    fs::rename(at.join("edited"), at.join("folder/renamed")).unwrap();
    fs::write(at.join("other"), b"other").unwrap();
    fs::rename(at.join("other"), at.join("folder/renamed")).unwrap();
    assert_eq!(fs::read(place.root.join("folder/renamed")).unwrap(), b"other", "a rename replaces");
    assert!(fs::remove_dir(at.join("folder")).is_err(), "it is not empty");
    fs::remove_file(at.join("folder/renamed")).unwrap();
    fs::remove_dir(at.join("folder")).unwrap();
    assert!(!place.root.join("folder").exists());
    assert!(fs::read_dir(at.join("tree/many")).unwrap().count() == 10);
    assert!(std::os::unix::fs::symlink("a", at.join("link")).is_err());
    run(program("df").arg(&at)).succeeded();

    mount.end();
    place.gateway.stop();
}
