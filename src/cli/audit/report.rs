//! `lockgate audit report`: what a user, or each user, did in a time.

use std::io::{self, BufWriter, Write};
use std::ops::ControlFlow;

use chrono::Utc;
use clap::{ArgGroup, Args, ValueEnum};

use super::search::{span, user};
use super::{Sources, complete, written};
use crate::audit::report::{Collection, write_csv, write_html};
use crate::audit::search::Query;
use crate::cli::Failure;

/// The arguments of `report`.
#[derive(Debug, PartialEq, Eq, Args)]
#[command(group = ArgGroup::new("whose").required(true).args(["user", "all"]))]
pub(in crate::cli) struct Arguments {
    #[command(flatten)]
    sources: Sources,
    /// Login name; `*` and `?` stand for any characters, as in a sink's filter
    #[arg(long, value_name = "GLOB")]
    user: Option<String>,
    /// Every user
    #[arg(long)]
    all: bool,
    /// Start time: RFC 3339, a day (`2026-07-31`, UTC), or an age (`30d`)
    #[arg(long, value_name = "TIME")]
    since: Option<String>,
    /// End time, exclusive; same formats as --since
    #[arg(long, value_name = "TIME")]
    until: Option<String>,
    /// Output format
    #[arg(long, value_enum, default_value_t = Format::Html)]
    format: Format,
}

/// How the report is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    /// One page to view and print
    Html,
    /// One row for each user, for spreadsheets
    Csv,
    /// One JSON document
    Json,
}

/// Reads and writes.
pub(super) fn report(arguments: &Arguments) -> Result<(), Failure> {
    let now = Utc::now();
    let span = span(arguments.since.as_deref(), arguments.until.as_deref(), now)?;
    let user = arguments.user.as_deref().map(user).transpose()?;
    let query = Query { span, user: user.clone(), ..Query::default() };
    let mut opened = arguments.sources.open(span)?;
    let mut collection = Collection::of(user);
    let summary = query.run(&mut opened.trail, |_, event| {
        collection.note(event);
        ControlFlow::Continue(())
    });
    opened.progress.end();
    let summary = summary.map_err(anyhow::Error::from)?;
    let report = collection.finish(now, span, summary.unreadable);
    if report.events == 0 {
        eprintln!("no event matches");
    }
    let mut out = BufWriter::new(io::stdout().lock());
    let outcome = match arguments.format {
        Format::Html => write_html(&report, &mut out),
        Format::Csv => write_csv(&report, &mut out),
        Format::Json => {
            serde_json::to_writer_pretty(&mut out, &report).map_err(io::Error::from).and_then(|()| writeln!(out))
        }
    };
    written(outcome.and_then(|()| out.flush()))?;
    complete(&summary)
}
