//! `lockgate generate`: completions for shells, man pages, and the schema of the configuration for editors.

use std::io;
use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::{CommandFactory, Subcommand};
use clap_complete::Shell;

use super::Arguments;
use crate::config;

/// What is to be made.
#[derive(Debug, PartialEq, Eq, Subcommand)]
pub(super) enum Question {
    /// Print completions for a shell, as in `lockgate generate completions bash > /etc/bash_completion.d/lockgate`
    Completions {
        /// The shell
        shell: Shell,
    },
    /// Print the JSON Schema of the configuration, for editors: `lockgate generate schema > config.schema.json`
    Schema,
    /// Write a man page for each command into a folder
    Man {
        /// The folder; it is created if it does not exist
        #[arg(value_name = "DIR")]
        dir: PathBuf,
    },
}

/// Makes it.
pub(super) fn generate(question: &Question) -> anyhow::Result<()> {
    match question {
        Question::Completions { shell } => {
            // Into memory first: a reader that leaves is no reason to panic.
            let mut text = Vec::new();
            clap_complete::generate(*shell, &mut Arguments::command(), "lockgate", &mut text);
            print(&text)
        }
        Question::Schema => print(format!("{:#}\n", config::schema()).as_bytes()),
        Question::Man { dir } => man(dir),
    }
}

fn print(text: &[u8]) -> anyhow::Result<()> {
    match io::Write::write_all(&mut io::stdout().lock(), text) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        outcome => outcome.context("standard output cannot be written"),
    }
}

fn man(dir: &Path) -> anyhow::Result<()> {
    let named = || format!("the pages cannot be written to {}", dir.display());
    std::fs::create_dir_all(dir).with_context(named)?;
    clap_mangen::generate_to(Arguments::command(), dir).with_context(named)
}
