//! `lockgate audit replay`: one session as a timeline.

use std::io::{self, BufWriter};
use std::ops::ControlFlow;

use anyhow::anyhow;
use clap::{Args, ValueEnum};

use super::{Sources, Wrong, written};
use crate::audit::read::Span;
use crate::audit::replay::{self, Format, Recording};
use crate::cli::Failure;

/// The arguments of `replay`.
#[derive(Debug, PartialEq, Eq, Args)]
pub(in crate::cli) struct Arguments {
    /// The session's id: 20 hex digits
    #[arg(value_name = "SESSION")]
    session: String,
    #[command(flatten)]
    sources: Sources,
    /// How it is printed
    #[arg(long, value_enum, default_value_t = Layout::Text)]
    format: Layout,
    /// The same as `--format json`
    #[arg(long, conflicts_with = "format")]
    json: bool,
}

/// How it is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Layout {
    /// A timeline
    Text,
    /// One JSON object: the events with their offsets, and what they come to
    Json,
    /// The timeline as asciicast v2, for asciinema
    Asciicast,
}

/// Replays and prints.
pub(super) fn replay(arguments: &Arguments) -> Result<(), Failure> {
    let session = arguments.session.to_ascii_lowercase();
    if session.len() != 20 || !session.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Err(Wrong("a session's id has 20 hex digits; `lockgate audit search` finds it".into()).into());
    }
    let format = match arguments.format {
        _ if arguments.json => Format::Json,
        Layout::Text => Format::Text,
        Layout::Json => Format::Json,
        Layout::Asciicast => Format::Asciicast,
    };
    let mut opened = arguments.sources.open(Span::default())?;
    let mut recording = Recording::new(BufWriter::new(io::stdout().lock()), &session, format);
    let mut outcome = Ok(());
    let found = replay::replay(&mut opened.trail, &session, |step| {
        outcome = recording.step(step);
        if outcome.is_ok() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    });
    let (found, summary) = found.map_err(anyhow::Error::from)?;
    if summary.unreadable > 0 {
        eprintln!("{} lines or files cannot be read as events", summary.unreadable);
    }
    if found.events == 0 {
        return Err(anyhow!("these sources hold no event of the session {session}").into());
    }
    Ok(written(outcome.and_then(|()| recording.end(&found)))?)
}
