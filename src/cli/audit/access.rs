//! `lockgate audit access`: who may reach what, and with which keys.

mod page;
mod shown;

use std::io::{self, BufWriter, Write};
use std::path::PathBuf;

use anyhow::anyhow;
use chrono::Utc;
use clap::{Args, ValueEnum};

use super::written;
use crate::audit::report::{csv_writer, harmless};
use crate::cli::{Failure, block_on, environment};
use crate::config;
use crate::gateway::Access;
use shown::Shown;

/// The arguments of `access`.
#[derive(Debug, PartialEq, Eq, Args)]
pub(in crate::cli) struct Arguments {
    /// Configuration file
    #[arg(long, value_name = "FILE", env = environment::CONFIG, hide_env_values = true)]
    config: PathBuf,
    /// Login name; identity providers are queried about it
    #[arg(long)]
    user: Option<String>,
    /// Output format
    #[arg(long, value_enum, default_value_t = Format::Html)]
    format: Format,
}

/// How it is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    /// One page to view and print
    Html,
    /// One row for each user and folder, for spreadsheets
    Csv,
    /// One JSON document
    Json,
}

/// Collects and writes.
pub(super) fn access(arguments: &Arguments) -> Result<(), Failure> {
    let settings = config::load(&arguments.config)?;
    let access = block_on(async { Ok(Access::of(&settings, arguments.user.as_deref()).await) })?;
    let shown = Shown::of(&access, &settings.audit.server, Utc::now());
    if shown.users.is_empty() {
        eprintln!("no user matches");
    }
    for what in shown.notes.iter().chain(&shown.failures) {
        eprintln!("{what}");
    }
    let mut out = BufWriter::new(io::stdout().lock());
    let outcome = match arguments.format {
        Format::Html => out.write_all(page::page(&shown).into_string().as_bytes()),
        Format::Csv => write_csv(&shown, &mut out),
        Format::Json => {
            serde_json::to_writer_pretty(&mut out, &shown).map_err(io::Error::from).and_then(|()| writeln!(out))
        }
    };
    written(outcome.and_then(|()| out.flush()))?;
    match shown.failures.len() {
        0 => Ok(()),
        _ => Err(anyhow!("the list is not complete: not every source of users could be read").into()),
    }
}

const COLUMNS: [&str; 16] = [
    "user",
    "source",
    "state",
    "expires",
    "auth",
    "password",
    "second-factor",
    "keys",
    "authorities",
    "allow-from",
    "sessions",
    "entry",
    "target",
    "permissions",
    "jump-target",
    "account",
];

/// A row for each user and entry of the home.
fn write_csv(shown: &Shown, out: impl Write) -> io::Result<()> {
    let mut writer = csv_writer(csv::Terminator::Any(b'\n'), out);
    writer.write_record(COLUMNS)?;
    for user in &shown.users {
        let keys = |authority| {
            let wanted = user.keys.iter().filter(|key| key.authority == authority);
            wanted.map(shown::Key::sentence).collect::<Vec<_>>().join("; ")
        };
        for home in &user.home {
            let row = [
                user.name.clone(),
                user.source.clone(),
                user.state.to_owned(),
                user.expires.clone().unwrap_or_default(),
                user.auth.to_owned(),
                if user.has_password { "yes" } else { "no" }.to_owned(),
                user.second_factor.unwrap_or_default().to_owned(),
                keys(false),
                keys(true),
                user.allow_from.join(" "),
                user.sessions.map(|sessions| sessions.to_string()).unwrap_or_default(),
                home.entry.clone(),
                home.target.clone(),
                home.permissions.clone(),
                home.jump_target.clone().unwrap_or_default(),
                home.account.clone().unwrap_or_default(),
            ];
            writer.write_record(row.map(|cell| harmless(&cell)))?;
        }
    }
    writer.flush()
}
