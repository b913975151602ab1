//! An upstream SFTP server to test: OpenSSH's sshd, over a folder of this machine.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use lockgate::internals::stores::Store;
use tempfile::TempDir;

use crate::fixture::{Fixture, open_url};
use crate::support::link::Link;
use crate::support::sshd::{self, Sshd};

/// One way through a slow line.
const DELAY: Duration = Duration::from_millis(5);

/// Fast enough not to count.
const BYTES_PER_SECOND: u32 = u32::MAX;

impl Fixture {
    pub fn sftp() -> Self {
        Fixture::sftp_through(sshd::shared().port)
    }

    fn sftp_through(port: u16) -> Self {
        let folder = TempDir::new().unwrap();
        let store = open_through(sshd::shared(), port, folder.path(), &[]);
        Fixture { store, folder: Some(folder), server: None, azure: None, is_upstream: true }
    }

    /// What the store keeps of a time: the protocol knows whole seconds from 1970 to 2106.
    pub fn kept(&self, time: SystemTime) -> Option<SystemTime> {
        if !self.is_upstream {
            return Some(time);
        }
        let seconds = u32::try_from(time.duration_since(UNIX_EPOCH).ok()?.as_secs()).ok()?;
        Some(UNIX_EPOCH + Duration::from_secs(seconds.into()))
    }
}

/// A store of a folder behind a server, which is reached through a port.
pub fn open_through(sshd: &Sshd, port: u16, folder: &Path, further: &[(&str, &str)]) -> Arc<dyn Store> {
    let own = sshd.options();
    let mut options: Vec<(&str, &str)> = own.iter().map(|(name, value)| (*name, value.as_str())).collect();
    options.extend(further);
    open_url(&sshd.url_through(port, folder), &options)
}

/// A store of a folder behind a server.
pub fn open(sshd: &Sshd, folder: &Path, further: &[(&str, &str)]) -> Arc<dyn Store> {
    open_through(sshd, sshd.port, folder, further)
}

/// Runs a check behind a slow line.
pub async fn behind_latency<F: Future<Output = ()>>(check: impl FnOnce(Fixture) -> F) {
    let line = Link::to(sshd::shared().port, DELAY, BYTES_PER_SECOND);
    check(Fixture::sftp_through(line.port)).await;
}

/// How many unfinished uploads lie in a folder and below.
pub fn unfinished_in(folder: &Path) -> usize {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let count = |entry: std::fs::DirEntry| match entry.file_type() {
        Ok(kind) if kind.is_dir() => unfinished_in(&entry.path()),
        _ => usize::from(entry.file_name().to_string_lossy().starts_with(".lockgate-upload-")),
    };
    entries.map(count).sum()
}
