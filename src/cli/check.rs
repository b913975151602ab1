//! `lockgate check`: every problem of a configuration, and with `--online` whether its stores and sinks can be reached.

use std::fs::OpenOptions;
use std::io::{IsTerminal, Write};
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, bail};
use rustix::fs::{Access, access};

use super::{Failure, block_on};
use crate::audit::{SinkSettings, SinkTarget};
use crate::gateway::Settings;
use crate::{config, stores};

/// How long one store may take to answer.
const STORE_ANSWERS_WITHIN: Duration = Duration::from_secs(30);

/// Checks `file`; prints a summary when all is well.
pub(super) fn check(file: &Path, online: bool) -> Result<(), Failure> {
    let settings = config::check(file)?;
    if online {
        block_on(reach(&settings))?;
    }
    let mut out = std::io::stdout().lock();
    writeln!(out, "OK: {}", summary(&settings, online)).context("standard output cannot be written")?;
    Ok(())
}

fn summary(settings: &Settings, online: bool) -> String {
    let count = |n: usize, what: &str| format!("{n} {what}{}", if n == 1 { "" } else { "s" });
    let listen: Vec<String> = settings.ssh.listen.iter().map(ToString::to_string).collect();
    let reached = if online { "; each store and sink was reached" } else { "" };
    format!(
        "{}, {}, {}; listens on {}{reached}",
        count(settings.stores.len(), "store"),
        count(settings.users.len(), "user"),
        count(settings.audit.sinks.len(), "sink"),
        listen.join(", ")
    )
}

/// Reaches every store and every sink, and reports all that fail.
async fn reach(settings: &Settings) -> anyhow::Result<()> {
    let mut failures = Vec::new();
    for store in &settings.stores {
        show_progress(&format!("reaching the store {:?}", store.name));
        if let Err(what) = reach_store(store).await {
            failures.push(format!("the store {:?} cannot be used: {what}", store.name));
        }
    }
    failures.extend(settings.audit.chain.as_ref().and_then(|chain| reach_folder(&chain.folder).err()));
    failures.extend(settings.audit.sinks.iter().filter_map(|sink| reach_sink(sink).err()));
    match failures.len() {
        0 => Ok(()),
        1 => bail!("{}", failures.join("\n")),
        n => bail!("{n} failures\n  {}", failures.join("\n  ")),
    }
}

/// Long work is seen on a terminal only.
fn show_progress(what: &str) {
    if std::io::stderr().is_terminal() {
        eprintln!("{what} …");
    }
}

async fn reach_store(settings: &stores::Settings) -> Result<(), String> {
    let store = stores::open(settings).map_err(|error| error.to_string())?;
    match tokio::time::timeout(STORE_ANSWERS_WITHIN, store.check()).await {
        Ok(answer) => answer.map_err(|error| error.to_string()),
        Err(_) => Err(format!("it does not answer within {} s", STORE_ANSWERS_WITHIN.as_secs())),
    }
}

/// Whether the state of the event chain can be kept. A gateway that runs may be using the folder.
fn reach_folder(folder: &Path) -> Result<(), String> {
    access(folder, Access::WRITE_OK | Access::EXEC_OK)
        .map_err(|error| format!("the folder {} cannot be written: {error}", folder.display()))
}

/// Whether a sink can be written, without writing to it or making its file.
fn reach_sink(sink: &SinkSettings) -> Result<(), String> {
    let SinkTarget::File { path, options } = &sink.target else { return Ok(()) };
    if path.exists() {
        let opened = OpenOptions::new().append(true).open(path);
        opened.map_err(|error| format!("the event file {} cannot be written: {error}", path.display()))?;
    }
    // To make the file, or to give it another name when it ends.
    match path.parent() {
        Some(folder) if !path.exists() || options.rotate.is_some() => reach_folder(folder),
        _ => Ok(()),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use super::*;
    use crate::audit::{FileOptions, OnFailure};

    #[test]
    fn a_sink_is_reached_without_being_made() {
        let folder = tempfile::tempdir().unwrap();
        let sink = |name: &str| SinkSettings {
            target: SinkTarget::File { path: folder.path().join(name), options: FileOptions::default() },
            on_failure: OnFailure::Refuse,
        };
        assert_eq!(reach_sink(&SinkSettings { target: SinkTarget::Stdout, on_failure: OnFailure::Refuse }), Ok(()));
        assert_eq!(reach_sink(&sink("new")), Ok(()));
        assert!(!folder.path().join("new").exists());
        std::fs::write(folder.path().join("old"), "line\n").unwrap();
        assert_eq!(reach_sink(&sink("old")), Ok(()));
        assert_eq!(std::fs::read(folder.path().join("old")).unwrap(), b"line\n");
        assert!(reach_sink(&sink("none/new")).unwrap_err().contains("cannot be written"));
        std::fs::create_dir(folder.path().join("folder")).unwrap();
        assert!(reach_sink(&sink("folder")).unwrap_err().contains("cannot be written"));
    }
}
