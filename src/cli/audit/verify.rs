//! `lockgate audit verify`: whether a trail is whole.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use anyhow::anyhow;
use chrono::Utc;
use clap::Args;

use super::search::span;
use super::sources::Opened;
use super::{Sources, Wrong, print};
use crate::audit::Noted;
use crate::audit::read::Trail;
use crate::audit::verify::{self, Endorsed, LockReport, Options, PublicKey, Report, Witnessed, look_at_locks};
use crate::cli::Failure;
use crate::cli::wrap::wrapped;

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
    /// Require a complete trail: each chain starts with its first event, and ends with an orderly stop or where --state says
    #[arg(long)]
    whole: bool,
    /// Audit folder of the gateway that writes or wrote the trail: the trail must reach the state recorded there
    #[arg(long, value_name = "FOLDER")]
    state: Option<PathBuf>,
    /// Allow missing lines, for a sink with a filter; the existing ones must be in order and unchanged
    #[arg(long)]
    filtered: bool,
    /// Compare with the witness, which keeps checkpoints in a store of its own: `STORE:/PREFIX` of the configuration, or a URL; without
    /// a value, `audit.witness` of --config. Detects a trail that was cut off, restored from an older copy, removed or begun again
    #[arg(long, value_name = "WHERE", num_args = 0..=1, require_equals = true, default_missing_value = "", requires = "key")]
    witness: Option<String>,
    /// Start of the range to verify, inclusive: RFC 3339, a day (`2026-07-31`, UTC), or an age (`2h`)
    #[arg(long, value_name = "TIME", conflicts_with_all = ["whole", "state"])]
    since: Option<String>,
    /// End of the range to verify, exclusive; same formats as --since
    #[arg(long, value_name = "TIME", conflicts_with_all = ["whole", "state"])]
    until: Option<String>,
    /// List which objects of the sources are locked (S3 Object Lock) until when, and which are not; one request for each object
    #[arg(long)]
    locks: bool,
    /// Print the report as JSON
    #[arg(long)]
    json: bool,
}

/// Verifies and reports.
pub(super) fn verify(arguments: &Arguments) -> Result<(), Failure> {
    let keys = arguments.key.iter().map(|file| read_keys(file)).collect::<Result<Vec<_>, Failure>>()?.concat();
    // Before the trail is read: it may grow meanwhile, and the state does with it.
    let noted = arguments.state.as_deref().map(Noted::read).transpose().map_err(anyhow::Error::msg)?;
    let endorsed =
        arguments.state.as_deref().map(Endorsed::read).transpose().map_err(anyhow::Error::msg)?.unwrap_or_default();
    let span = span(arguments.since.as_deref(), arguments.until.as_deref(), Utc::now())?;
    // Before the trail is read, too: what it knows now, the trail had already.
    let (witness, servers) =
        arguments.witness.as_deref().map(|named| read_witness(arguments, named)).transpose()?.unzip();
    let is_witnessed = witness.is_some();
    let servers = servers.into_iter().flatten().collect();
    let (whole, filtered) = (arguments.whole, arguments.filtered);
    let options = Options { keys, endorsed, whole, noted, filtered, span, witness, servers };
    let (report, locks) = match arguments.sources.open(span) {
        Ok(opened) => read(opened, options, arguments.locks)?,
        // That they are not there is what the witness has to be asked about; it does not excuse it.
        Err(Failure::Run(error)) if is_witnessed => {
            eprintln!("{error:#}");
            let mut nothing = Trail::new(Vec::new(), span, None);
            (verify::verify(&mut nothing, options, |_| ()).map_err(anyhow::Error::from)?, Vec::new())
        }
        Err(failure) => return Err(failure),
    };
    // Nothing is never whole; with a witness the report says what there was.
    if report.chains.is_empty() && report.is_whole() {
        return Err(anyhow!("there is no event in these sources").into());
    }
    tell(&report, &locks, arguments.json)?;
    if report.is_whole() && !report.is_beside_the_range() { Ok(()) } else { Err(Failure::Told) }
}

/// The report, and what is locked.
fn tell(report: &Report, locks: &[LockReport], is_json: bool) -> Result<(), Failure> {
    if is_json {
        let mut json = report.to_json();
        json["locks"] = locks.iter().map(LockReport::to_json).collect::<Vec<_>>().into();
        return Ok(print(&json.to_string())?);
    }
    for locked in locks {
        print(&wrapped(&locked.to_string()))?;
    }
    Ok(print(&wrapped(&report.to_string()))?)
}

/// Reads the trail, and looks at its locks.
fn read(mut opened: Opened, options: Options, wants_locks: bool) -> Result<(Report, Vec<LockReport>), Failure> {
    let report = verify::verify(&mut opened.trail, options, |_| ());
    opened.progress.end();
    let report = report.map_err(anyhow::Error::from)?;
    let mut locks = Vec::new();
    for archive in opened.archives.iter().filter(|_| wants_locks) {
        let named = |error| anyhow!("the locks of {} cannot be read: {error}", archive.describe());
        locks.extend(opened.wait(look_at_locks(archive)).transpose().map_err(named)?);
    }
    Ok((report, locks))
}

/// What the witness holds, and the gateway whose configuration names it.
fn read_witness(arguments: &Arguments, named: &str) -> Result<(Witnessed, Option<String>), Failure> {
    let folder = arguments.sources.witness(named)?;
    let read = folder.wait(Witnessed::read(&folder.archive));
    let read = read.map_err(|error| anyhow!("the witness {} cannot be read: {error}", folder.archive.describe()))?;
    Ok((read, folder.server.clone()))
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
