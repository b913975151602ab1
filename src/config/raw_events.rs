//! The shape of `events`.

use super::problem::Problems;
use super::raw::choice;
use super::raw_audit::{FileCare, read_file_care};
use super::reader::{At, Item};
use crate::audit::OnFailure;

/// `events[i]`
#[derive(Debug)]
pub(super) struct Sink {
    pub at: At<()>,
    pub target: Target,
    pub on_failure: OnFailure,
    pub care: FileCare,
}

/// Where a sink writes.
#[derive(Debug)]
pub(super) enum Target {
    Stdout,
    File(At<String>),
}

/// Reads `events`.
pub(super) fn read_events(item: &Item<'_>, problems: &mut Problems) -> Option<Vec<Sink>> {
    let elements = item.list(problems)?;
    item.filled("write at least one sink, or leave `events` out for standard output", problems);
    let mut sinks = Vec::new();
    for element in elements {
        let Some(mut section) = element.section(problems) else { continue };
        let kind = section.need("sink", "\"stdout\" or \"file\"", problems);
        let kind = kind.and_then(|item| item.choice(&[("stdout", false), ("file", true)], problems));
        let path = match kind {
            Some(true) => section.need("path", "the file that events are appended to", problems),
            _ => section.take("path"),
        };
        if let (Some(false), Some(path)) = (kind, &path) {
            path.problem(problems, "a stdout sink has no path; remove it, or write `sink: file`");
        }
        let words = [("refuse", OnFailure::Refuse), ("continue", OnFailure::Continue)];
        let on_failure = choice(section.take("on_failure"), &words, problems);
        let care = read_file_care(&mut section, problems);
        if kind == Some(false) {
            care.refuse("stdout", problems);
        }
        let target = match kind {
            Some(false) => Some(Target::Stdout),
            _ => path.and_then(|path| path.placed_text(problems)).map(Target::File),
        };
        sinks.extend(target.map(|target| Sink { at: element.at(()), target, on_failure, care }));
        section.close(problems);
    }
    Some(sinks)
}
