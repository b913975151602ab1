//! `lockgate audit`: reading the trail. Exit codes: 0 done and nothing wrong, 1 something is wrong with the trail, there is no such
//! session, a digest is missing, or a source or a line of it cannot be read, 2 wrong arguments.

mod access;
mod manifest;
mod redeliver;
mod replay;
mod report;
mod rotate;
mod search;
mod sessions;
mod sources;
mod verify;

use std::io::{self, Write};

use anyhow::{Context, anyhow};
use clap::Subcommand;

use super::{Failure, examples};
use crate::audit::schema;
use crate::audit::search::Summary;
use sources::Sources;

/// What is asked of the trail.
#[derive(Debug, PartialEq, Eq, Subcommand)]
pub(super) enum Question {
    /// Detect changed, removed, moved or added lines, and report the first one
    #[command(after_help = examples::VERIFY)]
    Verify(verify::Arguments),
    /// Find events by user, path, time, activity, address, session, key or status
    #[command(after_help = examples::SEARCH)]
    Search(Box<search::Arguments>),
    /// List sessions: user, time, address, key, volume, and how each ended
    Sessions(sessions::Arguments),
    /// Print the digests of uploaded or downloaded files, for `sha256sum --check`
    #[command(after_help = examples::MANIFEST)]
    Manifest(manifest::Arguments),
    /// Report what users did: logins, keys, addresses, files and bytes, failures, silence
    Report(report::Arguments),
    /// List who can log in, with which keys, and what they reach, for an access review
    Access(access::Arguments),
    /// Show one session from its first event to its last
    #[command(after_help = examples::REPLAY)]
    Replay(replay::Arguments),
    /// Send again the deliveries that a collector refused and that were set aside
    Redeliver(redeliver::Arguments),
    /// Change the key that signs checkpoints; the old key endorses the new one, so that `verify` can follow
    RotateKey(rotate::Arguments),
    /// Print the JSON Schema of the events
    Schema,
}

/// Arguments that do not mean anything: exit code 2.
#[derive(Debug)]
pub(super) struct Wrong(pub(super) String);

impl From<Wrong> for Failure {
    fn from(Wrong(what): Wrong) -> Self {
        Failure::Arguments(what)
    }
}

/// Answers.
pub(super) fn audit(question: &Question) -> Result<(), Failure> {
    match question {
        Question::Verify(arguments) => verify::verify(arguments),
        Question::Search(arguments) => search::search(arguments),
        Question::Sessions(arguments) => sessions::sessions(arguments),
        Question::Manifest(arguments) => manifest::manifest(arguments),
        Question::Report(arguments) => report::report(arguments),
        Question::Access(arguments) => access::access(arguments),
        Question::Replay(arguments) => replay::replay(arguments),
        Question::Redeliver(arguments) => redeliver::redeliver(arguments),
        Question::RotateKey(arguments) => rotate::rotate(arguments),
        Question::Schema => Ok(print(&format!("{:#}", schema::schema()))?),
    }
}

/// Names what could not be read: an answer of less than the whole trail is no answer to rely on. What a kill cut off is told, and is no
/// failure: `audit verify` has no finding there either.
fn complete(summary: &Summary) -> Result<(), Failure> {
    for place in &summary.cut_places {
        eprintln!("remark: {place}; nobody was told of its event");
    }
    if summary.cut > summary.cut_places.len() as u64 {
        eprintln!("remark: {} lines were left unfinished so", summary.cut);
    }
    for place in &summary.places {
        eprintln!("{place}");
    }
    match summary.unreadable {
        0 => Ok(()),
        1 => Err(anyhow!("the answer may be incomplete: 1 line or file cannot be read as an event").into()),
        many => Err(anyhow!("the answer may be incomplete: {many} lines or files cannot be read as events").into()),
    }
}

/// Prints a text and a newline.
fn print(text: &str) -> anyhow::Result<()> {
    written(writeln!(io::stdout().lock(), "{text}"))
}

/// A reader that has seen enough, as `head`, is no failure.
fn written(outcome: io::Result<()>) -> anyhow::Result<()> {
    match outcome {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        outcome => outcome.context("standard output cannot be written"),
    }
}
