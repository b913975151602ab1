//! `lockgate audit redeliver`: tries again what collectors refused for good.

use std::path::PathBuf;

use anyhow::{Context, anyhow};
use clap::Args;

use super::{Failure, print};
use crate::audit::{Redelivered, SinkSettings};
use crate::cli::environment;
use crate::config;

/// Which gateway's.
#[derive(Debug, PartialEq, Eq, Args)]
pub(in crate::cli) struct Arguments {
    /// Configuration with the sinks; the gateway may be running
    #[arg(long, value_name = "FILE", env = environment::CONFIG, hide_env_values = true)]
    config: PathBuf,
}

/// Posts what was set aside, and says of each sink what became of it.
pub(super) fn redeliver(arguments: &Arguments) -> Result<(), Failure> {
    let sinks = config::load(&arguments.config)?.audit.sinks;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let done = runtime.context("the threads cannot be started")?.block_on(all(&sinks))?;
    let left: u64 = done.iter().map(|done| done.left).sum();
    for done in &done {
        print(&row(done))?;
    }
    if done.is_empty() {
        print("no sink sets deliveries aside")?;
    }
    match left {
        0 => Ok(()),
        1 => Err(anyhow!("1 delivery is still set aside").into()),
        many => Err(anyhow!("{many} deliveries are still set aside").into()),
    }
}

async fn all(sinks: &[SinkSettings]) -> anyhow::Result<Vec<Redelivered>> {
    let mut done = Vec::new();
    for sink in sinks {
        done.extend(sink.redeliver().await.context("what is set aside cannot be read or removed")?);
    }
    Ok(done)
}

fn row(done: &Redelivered) -> String {
    let why = done.refusal.as_ref().map(|why| format!("; {why}")).unwrap_or_default();
    format!("{}: {} delivered, {} left{why}", done.sink, done.arrived, done.left)
}
