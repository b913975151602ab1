//! What `events` means.

use std::collections::HashSet;
use std::path::Path;

use super::problem::Problems;
use super::raw_events as raw;
use super::reader::At;
use super::resolve::{Surroundings, resolve_path};
use super::resolve_audit::resolve_file_care;
use crate::audit;

/// The sinks; without `events`, one on standard output.
pub(super) fn resolve_sinks(
    raw: Option<&[raw::Sink]>,
    around: &Surroundings,
    problems: &mut Problems,
) -> Vec<audit::SinkSettings> {
    let default = || audit::SinkSettings { target: audit::SinkTarget::Stdout, on_failure: audit::OnFailure::Refuse };
    let Some(raw) = raw else { return vec![default()] };
    let mut taken = HashSet::new();
    let mut sinks = Vec::new();
    for sink in raw {
        let (target, place) = match &sink.target {
            raw::Target::Stdout => (audit::SinkTarget::Stdout, None),
            raw::Target::File(path) => {
                let Some(file) = resolve_path(path, around, problems) else { continue };
                judge_sink_file(path, &file, around, problems);
                (
                    audit::SinkTarget::File { path: file.clone(), options: resolve_file_care(&sink.care, problems) },
                    Some(file),
                )
            }
        };
        if !taken.insert(place) {
            sink.at.problem(problems, "this sink stands twice: every event would be written twice");
        }
        sinks.push(audit::SinkSettings { target, on_failure: sink.on_failure });
    }
    sinks
}

fn judge_sink_file(at: &At<String>, file: &Path, around: &Surroundings, problems: &mut Problems) {
    let Some(folder) = file.parent().filter(|_| around.look_at_files) else { return };
    if file.is_dir() {
        at.problem_outside(problems, format!("{} is a folder; name a file in it", file.display()));
    } else if !folder.is_dir() {
        at.problem_outside(problems, format!("the folder {} does not exist; make it", folder.display()));
    }
}
