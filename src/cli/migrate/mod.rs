//! `lockgate migrate`: users of another server become a configuration, with a report of what has no counterpart.
//!
//! Nothing is granted that the other server did not grant: what cannot be expressed makes a permission smaller, disables a user, or
//! leaves the user out, and the report says so.

mod draft;
mod report;
mod sftpgo;
mod stores;
mod transfer_family;

use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, anyhow, bail};
use clap::{Args, Subcommand};

use super::{Failure, starter};
use crate::config;

/// The largest input, in bytes.
const MOST: u64 = 256 << 20;

/// Where users come from.
#[derive(Debug, PartialEq, Eq, Subcommand)]
pub(super) enum Origin {
    /// AWS Transfer Family: the output of `aws transfer describe-user` for each user, and of `list-users`
    TransferFamily(Arguments),
    /// SFTPGo: its backup, as the web admin and `GET /api/v2/dumpdata?output-data=1` give it
    Sftpgo(Arguments),
}

/// What is read and written.
#[derive(Debug, PartialEq, Eq, Args)]
pub(super) struct Arguments {
    /// Files of JSON, each with one document or several; `-` for standard input
    #[arg(value_name = "FILE", required = true)]
    files: Vec<PathBuf>,
    /// File for the configuration, which must not exist; by default standard output. The folder is meant to be one of `lockgate init`
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

/// Reads, converts, writes the configuration, and reports on standard error.
///
/// # Errors
/// Input that cannot be read, and users that had to be left out (after everything else is written).
pub(super) fn migrate(origin: &Origin) -> Result<(), Failure> {
    let (arguments, name) = match origin {
        Origin::TransferFamily(arguments) => (arguments, "AWS Transfer Family"),
        Origin::Sftpgo(arguments) => (arguments, "SFTPGo"),
    };
    if let Some(out) = arguments.out.as_deref().filter(|out| out.symlink_metadata().is_ok()) {
        return Err(Failure::Arguments(format!("{} exists; name a new file with --out", out.display())));
    }
    let documents = read(&arguments.files)?;
    let mut draft = match origin {
        Origin::TransferFamily(_) => transfer_family::convert(&documents)?,
        Origin::Sftpgo(_) => sftpgo::convert(&documents)?,
    };
    let folder = arguments.out.as_deref().and_then(Path::parent).unwrap_or(Path::new("."));
    let folder = std::path::absolute(folder).context("the folder's name cannot be used")?;
    draft.leave_out_what_is_refused(|text| config::judge(&starter::with_users(text), &folder))?;
    let text = format!("{}\n{}", draft.report.as_comments(name), starter::with_users(&draft.to_yaml()));
    match &arguments.out {
        None => print(&text)?,
        Some(out) => write_new(out, &text).with_context(|| format!("{} cannot be written", out.display()))?,
    }
    eprintln!("{}", draft.report.as_text());
    match draft.report.left_out() {
        0 => Ok(()),
        1 => Err(anyhow!("1 user was left out").into()),
        many => Err(anyhow!("{many} users were left out").into()),
    }
}

/// All documents of all files.
fn read(files: &[PathBuf]) -> anyhow::Result<Vec<serde_json::Value>> {
    let mut documents = Vec::new();
    for file in files {
        let name = file.display();
        let mut text = String::new();
        let read = match file.as_os_str() == "-" {
            true => io::stdin().take(MOST + 1).read_to_string(&mut text),
            false => std::fs::File::open(file).and_then(|file| file.take(MOST + 1).read_to_string(&mut text)),
        };
        if read.with_context(|| format!("{name} cannot be read"))? as u64 > MOST {
            bail!("{name} is larger than {} MiB", MOST >> 20);
        }
        let before = documents.len();
        for document in
            serde_json::Deserializer::from_str(text.trim_start_matches('\u{feff}')).into_iter::<serde_json::Value>()
        {
            documents.push(document.with_context(|| format!("{name} is not JSON"))?);
        }
        if documents.len() == before {
            bail!("{name} is empty");
        }
    }
    Ok(documents)
}

/// It holds hashes of passwords: nobody else may read it.
fn write_new(path: &Path, text: &str) -> io::Result<()> {
    let mut file = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    let written = file.write_all(text.as_bytes()).and_then(|()| file.sync_all());
    // Nothing is left of it when that fails.
    written.inspect_err(|_| drop(std::fs::remove_file(path)))
}

fn print(text: &str) -> anyhow::Result<()> {
    match io::stdout().lock().write_all(text.as_bytes()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        outcome => outcome.context("standard output cannot be written"),
    }
}
