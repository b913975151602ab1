//! The configuration: the YAML file's shape (`raw`) and its resolution (`resolve`) into each module's settings.
//!
//! The only module that knows the format. All problems of a file are found in one reading: the text becomes a generic tree
//! (`tree`), secrets are fetched (`fetch`), the shape is taken out of the tree (`raw`, by `reader`), and the meaning is
//! judged (`resolve`); each step notes what is wrong and goes on.

mod beside;
mod fetch;
mod guarded;
mod out_of_reach;
mod problem;
mod raw;
mod raw_admin;
mod raw_audit;
mod raw_defender;
mod raw_events;
mod raw_fleet;
mod raw_sinks;
mod raw_targets;
mod raw_users;
mod raw_users_from;
mod reader;
mod resolve;
mod resolve_admin;
mod resolve_audit;
mod resolve_events;
mod resolve_fleet;
mod resolve_notifications;
mod resolve_revoked;
mod resolve_sinks;
mod resolve_targets;
mod resolve_users;
mod resolve_users_from;
mod resolve_witness;
mod schema;
mod shown;
mod tree;
mod units;

use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use crate::admin::Written;
use crate::gateway::{self, FIXED_KEYS};
use crate::regular_file;
use fetch::Sources;
use reader::{Item, Place};
use resolve::Surroundings;

pub use beside::{Beside, Document, read_beside};
pub use out_of_reach::InForce;
pub use problem::{Problem, Problems};
pub use schema::schema;

/// The largest configuration file, in bytes.
const MAX_FILE: u64 = 64 << 20;

/// Reads a configuration file. Keys, stores and sinks that it names are not reached.
///
/// # Errors
/// Every problem of the file.
pub fn load(file: &Path) -> Result<gateway::Settings, Problems> {
    read(file, false, Owner::OwnOrRoot, InForce::default())
}

/// As [`load`], for a command that asks a running gateway: root may use the configuration of whichever user runs it. Of that, only the path of
/// the socket may be used: somebody else chose what root would open, and where to it would be sent.
///
/// # Errors
/// Every problem of the file.
pub fn consult(file: &Path) -> Result<gateway::Settings, Problems> {
    read(file, false, Owner::AnyForRoot, InForce::default())
}

/// As [`load`], for a gateway that runs: homes must not lead to what it keeps until it ends, either.
///
/// # Errors
/// Every problem of the file.
pub fn reload(file: &Path, in_force: InForce) -> Result<gateway::Settings, Problems> {
    read(file, false, Owner::OwnOrRoot, in_force)
}

/// As [`load`], and looks at the files that it names as well: host keys and the key of the audit trail must be readable, a
/// file sink's folder must exist.
///
/// # Errors
/// Every problem of the file, and of the files that it names ([`Problem::outside`]).
pub fn check(file: &Path) -> Result<gateway::Settings, Problems> {
    read(file, true, Owner::OwnOrRoot, InForce::default())
}

/// Judges the text of a configuration whose file would lie in `folder`. Neither files nor the environment are looked at.
///
/// # Errors
/// Every problem of the text.
pub fn judge(text: &str, folder: &Path) -> Result<gateway::Settings, Problems> {
    let around = Surroundings {
        folder: folder.to_owned(),
        host_name: host_name(),
        look_at_files: false,
        others_read: false,
        in_force: InForce::default(),
    };
    read_from(text, &around, &|_| None, Problems::new(&folder.join("config.yaml")))
}

/// Whose the file may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Owner {
    /// The user's that runs the command, or root's.
    OwnOrRoot,
    /// For root, anybody's.
    AnyForRoot,
}

impl Owner {
    /// Whether the user `own` may use a file of the user `whose`.
    fn allows(self, own: u32, whose: u32) -> bool {
        whose == own || whose == 0 || (own == 0 && self == Owner::AnyForRoot)
    }
}

fn read(file: &Path, look_at_files: bool, owner: Owner, in_force: InForce) -> Result<gateway::Settings, Problems> {
    read_file(file, look_at_files, owner, in_force, &Beside::default())
}

fn read_file(
    file: &Path,
    look_at_files: bool,
    owner: Owner,
    in_force: InForce,
    beside: &Beside,
) -> Result<gateway::Settings, Problems> {
    let mut problems = Problems::new(file);
    let (text, found) = match regular_file::read_known_text(file, MAX_FILE) {
        Ok(read) => read,
        Err(error) => {
            problems.add("", None, format!("the file cannot be read: {error}"));
            return Err(problems);
        }
    };
    let folder = std::path::absolute(file).ok().and_then(|path| Some(path.parent()?.to_owned()));
    let others_read = judge_mode(file, &found, owner, &mut problems);
    let around = Surroundings {
        folder: folder.unwrap_or_else(|| PathBuf::from(".")),
        host_name: host_name(),
        look_at_files,
        others_read,
        in_force,
    };
    read_from_beside(&text, &around, &|name| std::env::var(name).ok(), problems, beside)
}

/// Whoever may write the file decides who logs in, as whom, and whether there is a trail. Gives whether others may read it.
fn judge_mode(file: &Path, found: &Metadata, owner: Owner, problems: &mut Problems) -> bool {
    let (own, whose, mode) = (rustix::process::geteuid().as_raw(), found.uid(), found.mode());
    let shown = file.display();
    if !owner.allows(own, whose) {
        let mut what =
            format!("the file belongs to the user {whose}; chown it to the user that runs Lockgate, or to root");
        if own == 0 {
            what.push_str(&format!(", or run this command as that user: sudo -u '#{whose}'"));
        }
        problems.add("", None, what);
    } else if mode & 0o022 != 0 {
        let mode = mode & 0o7777;
        problems.add("", None, format!("other users may write the file (mode {mode:04o}); run chmod go-w {shown}"));
    }
    mode & 0o004 != 0
}

/// Reads the text of a configuration.
fn read_from(
    text: &str,
    around: &Surroundings,
    environment: &dyn Fn(&str) -> Option<String>,
    problems: Problems,
) -> Result<gateway::Settings, Problems> {
    read_from_beside(text, around, environment, problems, &Beside::default())
}

/// The same, with what the embedding program brings along.
fn read_from_beside(
    text: &str,
    around: &Surroundings,
    environment: &dyn Fn(&str) -> Option<String>,
    mut problems: Problems,
    beside: &Beside,
) -> Result<gateway::Settings, Problems> {
    let Some(mut root) = tree::parse(text, &mut problems) else { return Err(problems) };
    // Before secrets are fetched.
    let document = shown::document(&root);
    let sources = Sources { environment, folder: around.folder.clone() };
    fetch::fetch_all(&mut root, &Place::root(), &sources, &mut problems);
    let hidden = shown::hidden(&root);
    let Some(mut raw) = raw::read(&Item::root(&root), &mut problems) else { return Err(problems) };
    beside.add_to(&mut raw, &mut problems);
    let mut settings = resolve::resolve(&raw, around, &mut problems);
    settings.admin.written = Written { document, fixed: &FIXED_KEYS, hidden };
    problems.none_or().map(|()| settings)
}

/// The host's name, with anything odd left out.
fn host_name() -> String {
    let name = rustix::system::uname().nodename().to_string_lossy().into_owned();
    let plain: String = name.chars().filter(|c| c.is_ascii_alphanumeric() || "-_.".contains(*c)).collect();
    let plain = plain.trim_start_matches('.');
    if plain.is_empty() { "lockgate".to_owned() } else { plain.to_owned() }
}

#[cfg(test)]
mod admin_tests;
#[cfg(test)]
mod audit_tests;
#[cfg(test)]
mod documents_tests;
#[cfg(all(test, feature = "fleet"))]
mod fleet_tests;
#[cfg(test)]
mod reach_tests;
#[cfg(test)]
mod reload_tests;
#[cfg(test)]
mod sinks_tests;
#[cfg(test)]
pub(crate) mod tests;
#[cfg(test)]
mod users_tests;
