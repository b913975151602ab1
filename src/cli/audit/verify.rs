//! `lockgate audit verify`: whether a trail is whole.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use anyhow::anyhow;
use clap::Args;

use super::{Sources, Wrong, print};
use crate::audit::Noted;
use crate::audit::read::Span;
use crate::audit::verify::{self, Options, PublicKey};
use crate::cli::Failure;

/// Bytes of the largest key file that is read.
const MAX_KEY: u64 = 64 << 10;

/// The arguments of `verify`.
#[derive(Debug, PartialEq, Eq, Args)]
pub(in crate::cli) struct Arguments {
    #[command(flatten)]
    sources: Sources,
    /// Public key of the checkpoints (`signing_key.pub` in the audit folder); can be repeated, for earlier keys
    #[arg(long, value_name = "FILE")]
    key: Vec<PathBuf>,
    /// Require the whole trail: each chain starts with its first event, and ends with an orderly stop or where --state says
    #[arg(long)]
    whole: bool,
    /// Audit folder of the gateway that writes or wrote the trail: the trail must reach the state recorded there
    #[arg(long, value_name = "FOLDER")]
    state: Option<PathBuf>,
    /// Allow missing lines, for a sink with a filter; the existing ones must be in order and unchanged
    #[arg(long)]
    filtered: bool,
    /// Print the report as JSON
    #[arg(long)]
    json: bool,
}

/// Verifies and reports.
pub(super) fn verify(arguments: &Arguments) -> Result<(), Failure> {
    let keys = arguments.key.iter().map(|file| read_keys(file)).collect::<Result<Vec<_>, Failure>>()?.concat();
    // Before the trail is read: it may grow meanwhile, and the state does with it.
    let noted = arguments.state.as_deref().map(Noted::read).transpose().map_err(anyhow::Error::msg)?;
    let options = Options { keys, whole: arguments.whole, noted, filtered: arguments.filtered };
    let mut opened = arguments.sources.open(Span::default())?;
    let report = verify::verify(&mut opened.trail, options, |_| ());
    opened.progress.end();
    let report = report.map_err(anyhow::Error::from)?;
    if report.lines == 0 {
        return Err(anyhow!("there is no event in these sources").into());
    }
    if arguments.json {
        print(&report.to_json().to_string())?
    } else {
        print(&report.to_string())?
    }
    if report.is_whole() { Ok(()) } else { Err(Failure::Told) }
}

/// The key of a file; of an audit folder's also those that lead to it.
fn read_keys(file: &Path) -> Result<Vec<PublicKey>, Failure> {
    let key = read_key(file)?;
    let folder = file.parent().filter(|_| file.file_name().is_some_and(|name| name == "signing_key.pub"));
    let before = folder.map(|folder| verify::predecessors(folder, &key)).transpose().map_err(Wrong)?;
    Ok(before.into_iter().flatten().chain([key]).collect())
}

fn read_key(file: &Path) -> Result<PublicKey, Failure> {
    let mut text = String::new();
    let read = File::open(file).and_then(|file| file.take(MAX_KEY).read_to_string(&mut text));
    read.map_err(|error| Wrong(format!("the key {} cannot be read: {error}", file.display())))?;
    let key = PublicKey::from_pem(&text);
    key.map_err(|what| Wrong(format!("the key {} cannot be used: {what}", file.display())).into())
}
