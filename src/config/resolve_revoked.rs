//! The files of keys that let nobody in, read with the configuration and so again with each reload: what they hold is part of it.

use std::path::PathBuf;

use super::out_of_reach::Own;
use super::problem::Problems;
use super::reader::At;
use super::resolve::{Surroundings, resolve_path};
use crate::regular_file;
use crate::users::{MAX_REVOKED_FILE, Revoked};

/// Reads them all. One that cannot be read is a problem of the configuration: a key that somebody revoked must not let anybody in
/// because its list is missing.
pub(super) fn resolve_revoked(raw: &[At<String>], around: &Surroundings, problems: &mut Problems) -> Revoked {
    let mut files: Vec<(PathBuf, Vec<u8>)> = Vec::new();
    let mut places = Vec::new();
    for file in raw {
        let Some(path) = resolve_path(file, around, problems) else { continue };
        problems.note_own(Own::file(file, "the file of revoked keys", &path));
        match regular_file::read(&path, MAX_REVOKED_FILE) {
            Ok(bytes) => {
                files.push((path, bytes));
                places.push(file);
            }
            Err(error) => file.problem_outside(problems, format!("{}: {error}", path.display())),
        }
    }
    Revoked::read(&files).unwrap_or_else(|(number, what)| {
        if let Some(file) = places.get(number) {
            file.problem_outside(problems, what);
        }
        Revoked::default()
    })
}
