//! `lockgate audit rotate-key`: another key for the checkpoints, which the present one endorses.

use std::path::PathBuf;

use clap::Args;

use super::print;
use crate::audit;
use crate::cli::Failure;

/// The arguments of `rotate-key`.
#[derive(Debug, PartialEq, Eq, Args)]
pub(in crate::cli) struct Arguments {
    /// Audit folder of the gateway (`audit.folder`)
    #[arg(value_name = "FOLDER")]
    folder: PathBuf,
}

/// Changes the key and says what to do.
pub(super) fn rotate(arguments: &Arguments) -> Result<(), Failure> {
    let rotated = audit::rotate(&arguments.folder).map_err(anyhow::Error::msg)?;
    let audit::Rotated { old, new, old_public, is_oldest_dropped } = rotated;
    if is_oldest_dropped {
        eprintln!(
            "remark: the key was changed more than {} times; the folder no longer says that the oldest key was this gateway's, and the \
             self-check cannot verify what that key signed",
            audit::MOST_KEY_CHANGES
        );
    }
    Ok(print(&format!(
        "the key {old} endorses {new}, which signs from the next reload (`lockgate reload`, SIGHUP) or start of the gateway on\n\
         keep a copy of the previous public key, {}: verify a trail with the earliest key that you trust",
        old_public.display()
    ))?)
}
