//! The shape of `events`.

use super::problem::Problems;
use super::raw::choice;
use super::raw_audit::{FileCare, read_file_care};
use super::raw_sinks::{HttpSink, Shape, StoreSink, SyslogSink, read_http, read_shape, read_store, read_syslog};
use super::reader::{At, Item, Section};
use crate::audit::OnFailure;

/// `events[i]`
#[derive(Debug)]
pub(super) struct Sink {
    pub at: At<()>,
    pub target: Target,
    pub shape: Shape,
    pub on_failure: OnFailure,
}

/// Where a sink writes.
#[derive(Debug)]
pub(super) enum Target {
    Stdout,
    File(At<String>, Box<FileCare>),
    Store(Box<StoreSink>),
    Syslog(Box<SyslogSink>),
    Http(Box<HttpSink>),
}

/// The word of `sink`.
#[derive(Debug, Clone, Copy)]
enum Kind {
    Stdout,
    File,
    Store,
    Syslog,
    Http,
}

const KINDS: [(&str, Kind); 5] = [
    ("stdout", Kind::Stdout),
    ("file", Kind::File),
    ("store", Kind::Store),
    ("syslog", Kind::Syslog),
    ("http", Kind::Http),
];

/// Reads `events`.
pub(super) fn read_events(item: &Item<'_>, problems: &mut Problems) -> Option<Vec<Sink>> {
    let elements = item.list(problems)?;
    item.filled("write at least one sink, or leave `events` out for standard output", problems);
    let mut sinks = Vec::new();
    for element in elements {
        let Some(mut section) = element.section(problems) else { continue };
        let kind = section.need("sink", "\"stdout\", \"file\", \"store\", \"syslog\" or \"http\"", problems);
        // Which keys belong here is known only with the kind.
        let Some(kind) = kind.and_then(|item| item.choice(&KINDS, problems)) else { continue };
        let target = read_target(kind, element.at(()), &mut section, problems);
        let shape = read_shape(&mut section, problems);
        let words = [("refuse", OnFailure::Refuse), ("continue", OnFailure::Continue)];
        let on_failure = choice(section.take("on_failure"), &words, problems);
        sinks.extend(target.map(|target| Sink { at: element.at(()), target, shape, on_failure }));
        section.close(problems);
    }
    Some(sinks)
}

fn read_target(kind: Kind, at: At<()>, section: &mut Section<'_>, problems: &mut Problems) -> Option<Target> {
    Some(match kind {
        Kind::Stdout => {
            if let Some(path) = section.take("path") {
                path.problem(problems, "a stdout sink has no path; remove it, or write `sink: file`");
            }
            Target::Stdout
        }
        Kind::File => {
            let path = section.need("path", "write the file that events are appended to", problems);
            let care = Box::new(read_file_care(section, problems));
            Target::File(path.and_then(|path| path.placed_text(problems))?, care)
        }
        Kind::Store => Target::Store(Box::new(read_store(at, section, problems))),
        Kind::Syslog => Target::Syslog(Box::new(read_syslog(section, problems))),
        Kind::Http => Target::Http(Box::new(read_http(at, section, problems))),
    })
}
