//! `lockgate audit manifest`: digests of what was exchanged, for `sha256sum --check` and for programs.

use std::io::{self, BufWriter, Write};
use std::ops::ControlFlow;

use anyhow::anyhow;
use chrono::Utc;
use clap::{Args, ValueEnum};

use super::search::{session, span, user};
use super::{Sources, Wrong, complete, written};
use crate::audit::manifest::{self, Collection};
use crate::audit::search::{PathPattern, Query};
use crate::cli::Failure;

/// The arguments of `manifest`.
#[derive(Debug, PartialEq, Eq, Args)]
pub(in crate::cli) struct Arguments {
    #[command(flatten)]
    sources: Sources,
    /// Login name; `*` and `?` stand for any characters, as in a sink's filter
    #[arg(long, value_name = "GLOB")]
    user: Option<String>,
    /// Session id, or its first digits
    #[arg(long, value_name = "ID")]
    session: Option<String>,
    /// Path under which the file was uploaded or downloaded; same patterns as for `search`
    #[arg(long, value_name = "GLOB")]
    path: Option<String>,
    /// Start time: RFC 3339, a day (`2026-07-31`, UTC), or an age (`2h`)
    #[arg(long, value_name = "TIME")]
    since: Option<String>,
    /// End time, exclusive; same formats as --since
    #[arg(long, value_name = "TIME")]
    until: Option<String>,
    /// Only the events of this gateway (`server.name`)
    #[arg(long, value_name = "NAME")]
    server: Option<String>,
    /// Direction of the transfers
    #[arg(long, value_enum, default_value_t = Direction::Received)]
    direction: Direction,
    /// Output format
    #[arg(long, value_enum, default_value_t = Format::Sha256sum)]
    format: Format,
}

/// How it is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    /// For `sha256sum --check`
    Sha256sum,
    /// One JSON document
    Json,
    /// A table for spreadsheets
    Csv,
}

/// Which way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Direction {
    /// Uploads
    Received,
    /// Downloads
    Sent,
}

/// Collects and prints.
pub(super) fn manifest(arguments: &Arguments) -> Result<(), Failure> {
    let wanted = arguments.wanted()?;
    // What is in a file last depends on all who change it.
    let query = Query {
        span: wanted.span,
        activities: manifest::ACTIVITIES.map(str::to_owned).to_vec(),
        server: arguments.server.clone(),
        ..Query::default()
    };
    let wanted = wanted.judge();
    let mut opened = arguments.sources.open(query.span)?;
    let mut collection = Collection::new(match arguments.direction {
        Direction::Received => manifest::Direction::Received,
        Direction::Sent => manifest::Direction::Sent,
    });
    let summary = query.run(&mut opened.trail, |line, event| {
        collection.note(event, wanted.fits(line).is_some());
        ControlFlow::Continue(())
    });
    opened.progress.end();
    let summary = summary.map_err(anyhow::Error::from)?;
    let manifest = collection.finish();
    let (files, without, nameless) = manifest.count();
    if files == 0 {
        eprintln!("no file matches");
    }
    let mut out = BufWriter::new(io::stdout().lock());
    let outcome = match arguments.format {
        Format::Sha256sum => manifest.write(&mut out),
        Format::Json => manifest.write_json(&mut out),
        Format::Csv => manifest.write_csv(&mut out),
    };
    written(outcome.and_then(|()| out.flush()))?;
    complete(&summary)?;
    match (without, nameless) {
        (0, 0) => Ok(()),
        (_, 0) => Err(anyhow!("{without} of {files} files have no recorded digest").into()),
        (0, _) => Err(anyhow!("{nameless} of {files} files have no known name: another user renamed them").into()),
        _ => Err(anyhow!(
            "{without} of {files} files have no recorded digest, and {nameless} others no known name: another user renamed them"
        )
        .into()),
    }
}

impl Arguments {
    /// The files that are wanted.
    fn wanted(&self) -> Result<Query, Wrong> {
        let path = self.path.as_deref().map(PathPattern::parse).transpose();
        Ok(Query {
            user: self.user.as_deref().map(user).transpose()?,
            path: path.map_err(|what| Wrong(format!("--path: {what}")))?,
            span: span(self.since.as_deref(), self.until.as_deref(), Utc::now())?,
            session: self.session.as_deref().map(session).transpose()?,
            ..Query::default()
        })
    }
}
