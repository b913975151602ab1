//! `lockgate init`: the files to start from.

use std::io::Write;
use std::path::Path;

use anyhow::Context;

use super::demo::shell_word;
use super::starter::{CONFIG, Starter};

/// Makes the files of a new gateway in `folder` and says what to do next; what is there already stays.
pub(super) fn init(folder: &Path) -> anyhow::Result<()> {
    let starter = Starter::make_without_users(folder)?;
    let config = shell_word(&starter.folder.join(CONFIG).to_string_lossy());
    let mut text = String::new();
    if starter.made.is_empty() {
        text.push_str(&format!("{} already has all files; nothing was changed.\n", starter.folder.display()));
    } else {
        text.push_str(&format!("Created in {}:\n", starter.folder.display()));
        for (name, what) in &starter.made {
            text.push_str(&format!("  {name:<24} {what}\n"));
        }
    }
    text.push_str("\nNext:\n");
    text.push_str("  1. edit config.yaml: the addresses to listen on, the stores, the users (there are none yet)\n");
    text.push_str(&format!("  2. lockgate check --online --config {config}\n"));
    text.push_str(&format!("  3. lockgate serve --config {config}\n"));
    std::io::stdout().lock().write_all(text.as_bytes()).context("standard output cannot be written")
}
