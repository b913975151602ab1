//! Whether a sink can be reached, without an event: for `lockgate check --online`.

use std::fs::OpenOptions;
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use rustix::fs::{Access, OFlags, access};

use super::settings::{SinkSettings, SinkTarget, SyslogTarget};
use super::{http, syslog};

impl SinkSettings {
    /// Reaches the sink, and makes nothing. A store sink's store is reached with the stores; here it is its spool. Gives a note where the
    /// answer leaves something open.
    ///
    /// # Errors
    /// A sentence with the sink's name.
    pub async fn reach(&self) -> Result<Option<String>, String> {
        match &self.target {
            SinkTarget::Stdout | SinkTarget::Memory(_) | SinkTarget::Own(_) => Ok(()),
            SinkTarget::File { path, options } => reach_file(path, options.rotate.is_some()),
            SinkTarget::Store(target) => reach_spool(&target.spool.folder),
            SinkTarget::Syslog(target) => reach_syslog(target.clone()).await,
            SinkTarget::Http(target) => {
                let failed = |what| format!("the collector {} cannot be reached: {what}", target.url.name);
                let note = http::reach(target, self.shape.format).await.map_err(failed)?;
                reach_spool(&target.spool.folder)?;
                return Ok(note.map(|note| format!("the collector {}: {note}", target.url.name)));
            }
        }
        .map(|()| None)
    }
}

fn reach_file(path: &Path, ends: bool) -> Result<(), String> {
    let folder = || may_make(path.parent().unwrap_or(Path::new("/")));
    let outcome = if path.exists() {
        let opened = open_file(path);
        // To give it another name when it ends.
        if ends { opened.and_then(|()| folder()) } else { opened }
    } else {
        folder()
    };
    outcome.map_err(|error| format!("the event file {} cannot be written: {error}", path.display()))
}

/// A named pipe would wait for a reader.
fn open_file(path: &Path) -> io::Result<()> {
    let flags = OFlags::NONBLOCK.bits().cast_signed();
    let file = OpenOptions::new().append(true).custom_flags(flags).open(path)?;
    if file.metadata()?.is_file() { Ok(()) } else { Err(io::Error::other("it is not a regular file")) }
}

/// The folder, or the first above it that is there, can be written.
fn reach_spool(folder: &Path) -> Result<(), String> {
    let there = folder.ancestors().find(|folder| folder.exists()).unwrap_or(Path::new("/"));
    may_make(there).map_err(|error| format!("the spool {} cannot be used: {error}", folder.display()))
}

fn may_make(folder: &Path) -> io::Result<()> {
    if !folder.is_dir() {
        return Err(io::ErrorKind::NotADirectory.into());
    }
    access(folder, Access::WRITE_OK | Access::EXEC_OK).map_err(Into::into)
}

async fn reach_syslog(target: SyslogTarget) -> Result<(), String> {
    let reached = tokio::task::spawn_blocking(move || {
        let outcome = syslog::reach(&target);
        outcome.map_err(|error| format!("{} cannot be reached: {error}", syslog::name(&target)))
    });
    reached.await.unwrap_or_else(|error| Err(error.to_string()))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use super::*;
    use crate::audit::{FileOptions, OnFailure};

    #[tokio::test]
    async fn a_sink_is_reached_without_being_made() {
        let folder = tempfile::tempdir().unwrap();
        let sink = |name: &str| {
            SinkSettings::of(
                SinkTarget::File { path: folder.path().join(name), options: FileOptions::default() },
                OnFailure::Refuse,
            )
        };
        assert_eq!(SinkSettings::of(SinkTarget::Stdout, OnFailure::Refuse).reach().await, Ok(None));
        assert_eq!(sink("new").reach().await, Ok(None));
        assert!(!folder.path().join("new").exists());
        std::fs::write(folder.path().join("old"), "line\n").unwrap();
        assert_eq!(sink("old").reach().await, Ok(None));
        assert_eq!(std::fs::read(folder.path().join("old")).unwrap(), b"line\n");
        assert!(sink("none/new").reach().await.unwrap_err().contains("cannot be written"));
        std::fs::create_dir(folder.path().join("folder")).unwrap();
        assert!(sink("folder").reach().await.unwrap_err().contains("cannot be written"));
        let mode = rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR;
        let pipe = folder.path().join("pipe");
        rustix::fs::mknodat(rustix::fs::CWD, &pipe, rustix::fs::FileType::Fifo, mode, 0).unwrap();
        assert!(sink("pipe").reach().await.unwrap_err().contains("cannot be written"));
    }
}
