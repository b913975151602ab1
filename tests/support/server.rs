//! Servers that tests start. None is left behind, even when the test process is killed.

use std::io::Write;
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use super::process::{kill_group, wait};

/// A server process. It is killed when this is dropped; a guard process kills it when this process ends first.
#[derive(Debug)]
pub struct Server {
    pub child: Child,
    guard: Child,
}

impl Server {
    /// Starts a server in a process group of its own. `folder` is removed when the test process ends without having
    /// dropped the server.
    #[track_caller]
    pub fn start(command: &mut Command, folder: Option<PathBuf>) -> Server {
        let text = format!("{command:?}");
        let child = command.process_group(0).spawn().unwrap_or_else(|e| panic!("{text} does not start: {e}"));
        // The pipe to the guard closes with this process, however it ends; a line through it says that all is well.
        let guard = Command::new("/bin/sh")
            .args(["-c", r#"read -r _ || { kill -9 "-$1"; test -z "$2" || rm -rf -- "$2"; }"#, "guard"])
            .arg(child.id().to_string())
            .arg(folder.unwrap_or_default())
            .stdin(Stdio::piped())
            .process_group(0)
            .spawn()
            .expect("/bin/sh");
        Server { child, guard }
    }

    /// What the guard sees when the test process dies.
    pub fn abandon(&mut self) {
        self.guard.stdin = None;
    }

    pub fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).expect("the server runs");
    }

    pub fn has_ended(&mut self) -> bool {
        self.child.try_wait().expect("a child of ours").is_some()
    }

    /// Waits for the server to end by itself; `None` when it does not within `limit`.
    pub fn ended(&mut self, limit: Duration) -> Option<ExitStatus> {
        wait(&mut self.child, limit)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        kill_group(&self.child, Signal::KILL);
        let _ = self.child.wait();
        if let Some(mut stdin) = self.guard.stdin.take() {
            let _ = stdin.write_all(b"done\n");
        }
        let _ = self.guard.wait();
    }
}

/// A port that nothing listens on now. It lies below those that Linux gives to connections, so that none of them is there first when a
/// server wants it later.
pub fn free_port() -> u16 {
    static TRIES: AtomicU32 = AtomicU32::new(0);
    let is_free = |port: &u16| TcpListener::bind((Ipv4Addr::LOCALHOST, *port)).is_ok();
    // Processes that run side by side begin at different places.
    let begin = std::process::id().wrapping_mul(7919);
    let next = || 10_000 + (begin.wrapping_add(TRIES.fetch_add(1, Ordering::Relaxed)) % 22_000) as u16;
    std::iter::repeat_with(next).take(22_000).find(is_free).expect("a free port")
}

/// A new folder, in memory where there is room for it. What long campaigns write is too much for that.
pub fn folder() -> TempDir {
    let memory = std::path::Path::new("/dev/shm");
    let roomy =
        !super::campaign::is_long() && rustix::fs::statvfs(memory).is_ok_and(|s| s.f_bavail * s.f_frsize > 8 << 30);
    let place = if roomy { memory.to_path_buf() } else { std::env::temp_dir() };
    tempfile::Builder::new().prefix("lockgate-test-").tempdir_in(place).expect("a folder")
}
