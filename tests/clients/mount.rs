//! A home as a mounted file system: sshfs.

use std::fs;
use std::io::Write;
use std::path::PathBuf;

use crate::place::Place;
use crate::support::process::{LIMIT, Running, program, run, until};

/// A mount; it is taken down when this is dropped.
pub struct Mount {
    pub at: PathBuf,
    sshfs: Running,
}

impl Mount {
    /// With options of sshfs's own; none when they are empty.
    #[track_caller]
    pub fn new(place: &Place, options: &str) -> Mount {
        let at = place.setup.subfolder("mount");
        let mut command = program("sshfs");
        command.args(["-f", "-p", &place.port(), "-F", "/dev/null"]);
        command.arg("-o").arg(format!("IdentityFile={}", place.key.private.display()));
        command.arg("-o").arg(format!("UserKnownHostsFile={}", place.gateway.known_hosts().display()));
        for option in ["IdentitiesOnly=yes", "BatchMode=yes", "StrictHostKeyChecking=yes", "IdentityAgent=none"] {
            command.args(["-o", option]);
        }
        if !options.is_empty() {
            command.args(["-o", options]);
        }
        let mut sshfs = Running::start(command.arg("alice@127.0.0.1:/").arg(&at));
        let mounted = until("mount", LIMIT, || {
            let mounts = fs::read_to_string("/proc/mounts").unwrap();
            let is_there = mounts.lines().any(|line| line.split(' ').nth(1) == at.to_str());
            if is_there { Some(true) } else { sshfs.has_ended().then_some(false) }
        });
        if !mounted {
            panic!("sshfs does not mount: {}", sshfs.finish(LIMIT));
        }
        Mount { at, sshfs }
    }

    pub fn end(mut self) {
        run(program("fusermount3").arg("-u").arg(&self.at)).succeeded();
        until("end of sshfs", LIMIT, || self.sshfs.has_ended().then_some(()));
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        // After a failure; it is unmounted already after success.
        let _ = run(program("fusermount3").args(["-u", "-z", "-q"]).arg(&self.at));
    }
}

/// Whether this machine lets anybody mount in user space. That is the kernel's to give, and no set-up can install it.
pub fn has_fuse() -> bool {
    let device = fs::OpenOptions::new().read(true).write(true).open("/dev/fuse");
    if let Err(error) = &device {
        // Not through the macros, which the test harness keeps to itself.
        let _ = writeln!(std::io::stderr(), "== sshfs is NOT tried: /dev/fuse cannot be opened: {error}");
    }
    device.is_ok()
}

/// The kernel closes a file when it likes, after the program has: only then is it published.
#[track_caller]
pub fn await_bytes(place: &Place, name: &str, expected: &[u8]) {
    until(&format!("{name} as it was written"), LIMIT, || place.has_bytes(name, expected).then_some(()));
}
