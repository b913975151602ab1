//! What `events` means.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use super::out_of_reach::Own;
use super::problem::Problems;
use super::raw_events as raw;
use super::reader::At;
use super::resolve::{Surroundings, resolve_path};
use super::resolve_audit::resolve_file_care;
use super::resolve_notifications::{judge_format, resolve_give_up};
use super::resolve_sinks::{Context, resolve_http, resolve_shape, resolve_store, resolve_syslog};
use crate::audit::{self, SinkTarget};
use crate::stores;

/// The sinks; without `events`, one on standard output.
pub(super) fn resolve_sinks(
    raw: Option<&[raw::Sink]>,
    context: &Context<'_>,
    problems: &mut Problems,
) -> Vec<audit::SinkSettings> {
    let Some(raw) = raw else {
        return vec![audit::SinkSettings::of(SinkTarget::Stdout, audit::OnFailure::Refuse)];
    };
    let mut taken = HashSet::new();
    let mut sinks = Vec::new();
    for sink in raw {
        let shape = resolve_shape(&sink.shape, problems);
        judge_format(sink, problems);
        let Some(target) = resolve_sink(sink, shape.format, context, problems) else { continue };
        if let Some(place) = place(&target) {
            if place.1.is_absolute() {
                problems.note_own(Own::file(&sink.at, "the place of this sink", &place.1));
            }
            // By another name it is the same.
            let (twice, path) = place;
            if !taken.insert((twice, if path.is_absolute() { stores::real_path(&path) } else { path })) {
                sink.at.problem(problems, twice);
            }
        }
        sinks.push(audit::SinkSettings { target, shape, on_failure: sink.on_failure });
    }
    audit::tell_apart(&mut sinks);
    sinks
}

const TWICE: &str = "this sink appears twice: every event would be written twice";
const ONE_SPOOL_TWICE: &str = "another sink has the same spool; give each its own `spool`";

fn resolve_sink(
    raw: &raw::Sink,
    format: audit::Format,
    context: &Context<'_>,
    problems: &mut Problems,
) -> Option<SinkTarget> {
    Some(match &raw.target {
        raw::Target::Stdout => SinkTarget::Stdout,
        raw::Target::File(path, care) => {
            let file = resolve_path(path, context.around, problems)?;
            judge_sink_file(path, &file, context.around, problems);
            SinkTarget::File { path: file, options: resolve_file_care(care, problems) }
        }
        raw::Target::Store(sink) => SinkTarget::Store(resolve_store(sink, format, context, problems)?),
        raw::Target::Syslog(sink) => SinkTarget::Syslog(resolve_syslog(sink, context, problems)?),
        raw::Target::Http(sink) => {
            let mut http = resolve_http(sink, format, context, problems)?;
            http.give_up_after = resolve_give_up(sink, format, raw.on_failure, problems);
            SinkTarget::Http(http)
        }
    })
}

/// What two sinks cannot share, and what is said when they do.
fn place(target: &SinkTarget) -> Option<(&'static str, PathBuf)> {
    match target {
        SinkTarget::Stdout => Some((TWICE, PathBuf::new())),
        SinkTarget::File { path, .. } => Some((TWICE, path.clone())),
        SinkTarget::Store(store) => Some((ONE_SPOOL_TWICE, store.spool.folder.clone())),
        SinkTarget::Http(http) => Some((ONE_SPOOL_TWICE, http.spool.folder.clone())),
        SinkTarget::Syslog(_) | SinkTarget::Memory(_) | SinkTarget::Own(_) => None,
    }
}

fn judge_sink_file(at: &At<String>, file: &Path, around: &Surroundings, problems: &mut Problems) {
    let Some(folder) = file.parent().filter(|_| around.look_at_files) else { return };
    if file.is_dir() {
        at.problem_outside(problems, format!("{} is a folder; name a file in it", file.display()));
    } else if !folder.is_dir() {
        at.problem_outside(problems, format!("the folder {} does not exist; create it", folder.display()));
    }
}
