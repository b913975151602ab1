//! `lockgate audit replay`: one session as a timeline.

use std::collections::BTreeSet;
use std::io::{self, BufWriter};
use std::ops::ControlFlow;

use anyhow::anyhow;
use clap::{Args, ValueEnum};

use super::{Sources, Wrong, complete, written};
use crate::audit::read::Span;
use crate::audit::replay::{self, Format, Recording};
use crate::audit::search::{Query, session_prefix};
use crate::cli::Failure;
use crate::cli::wrap::Wrapping;

/// How many digits a whole id has.
const WHOLE_ID: usize = 20;

/// So many sessions are named when one was meant.
const MOST_MEANT: usize = 5;

/// The arguments of `replay`.
#[derive(Debug, PartialEq, Eq, Args)]
pub(in crate::cli) struct Arguments {
    /// Session id, or enough of its first digits to be unique
    #[arg(value_name = "SESSION")]
    session: String,
    #[command(flatten)]
    sources: Sources,
    /// Output format
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
    /// One JSON object: the events with their offsets, and a summary
    Json,
    /// The timeline as asciicast v2, for asciinema
    Asciicast,
}

impl Arguments {
    /// The whole id of the session that is meant.
    fn whole_id(&self) -> Result<String, Failure> {
        let beginning = session_prefix(&self.session).map_err(Wrong)?;
        if beginning.len() == WHOLE_ID {
            return Ok(beginning);
        }
        if self.sources.has_stream() {
            let what = "standard input can be read once only: write all 20 digits of the session's id";
            return Err(Wrong(what.into()).into());
        }
        let query = Query { session: Some(beginning.clone()), ..Query::default() };
        let mut ids = BTreeSet::new();
        let mut opened = self.sources.open(Span::default())?;
        let searched = query.run(&mut opened.trail, |_, event| {
            ids.insert(event.text("session-id").to_owned());
            if ids.len() > MOST_MEANT { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        });
        opened.progress.end();
        searched.map_err(anyhow::Error::from)?;
        let named: Vec<&str> = ids.iter().map(String::as_str).collect();
        match named.as_slice() {
            [] => Err(anyhow!("these sources contain no event of a session {beginning}…").into()),
            [id] => Ok((*id).to_owned()),
            several => Err(anyhow!("several sessions begin with {beginning}, including {}", several.join(", ")).into()),
        }
    }
}

/// Replays and prints.
pub(super) fn replay(arguments: &Arguments) -> Result<(), Failure> {
    let session = arguments.whole_id()?;
    let format = match arguments.format {
        _ if arguments.json => Format::Json,
        Layout::Text => Format::Text,
        Layout::Json => Format::Json,
        Layout::Asciicast => Format::Asciicast,
    };
    let mut opened = arguments.sources.open(Span::default())?;
    let out = BufWriter::new(opened.progress.beside(io::stdout().lock()));
    let out = Wrapping::new(out, format == Format::Text);
    let mut recording = Recording::new(out, &session, format);
    let mut outcome = Ok(());
    let found = replay::replay(&mut opened.trail, &session, |step| {
        outcome = recording.step(step);
        if outcome.is_ok() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    });
    opened.progress.end();
    let (found, summary) = found.map_err(anyhow::Error::from)?;
    let is_complete = complete(&summary);
    if found.events == 0 {
        return Err(anyhow!("these sources contain no event of the session {session}").into());
    }
    written(outcome.and_then(|()| recording.end(&found)))?;
    is_complete
}
