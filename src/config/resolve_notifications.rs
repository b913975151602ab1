//! What a sink's `format` means for the rest of it: notifications, signatures, giving up; and whether some sink holds the whole trail.

use std::time::Duration;

use super::problem::{Problems, near, quoted};
use super::raw_events::{Sink, Target};
use super::raw_sinks::{HttpSink, Shape};
use super::reader::At;
use crate::audit::search::PathPattern;
use crate::audit::{self, Encoding, Format, OnFailure, SinkTarget, WebhookSecret};

/// How soon notifications are on their way, unless configured.
const SOON: Duration = Duration::from_secs(1);

/// When a notification that is refused is set aside, unless configured.
const GIVE_UP_AFTER: Duration = Duration::from_secs(60 * 60);

/// Patterns of paths, those of `audit search`.
pub(super) fn resolve_paths(patterns: &[At<String>], problems: &mut Problems) -> Vec<PathPattern> {
    let mut read = |pattern: &At<String>| match PathPattern::parse(&pattern.value) {
        Ok(read) => Some(read),
        Err(what) => {
            pattern.problem(problems, format!("is not a pattern: {what}; write it as in /incoming/** or *.csv"));
            None
        }
    };
    patterns.iter().filter_map(&mut read).collect()
}

/// The operations of a filter.
pub(super) fn resolve_operations(names: &[At<String>], problems: &mut Problems) -> Vec<String> {
    for name in names.iter().filter(|name| !audit::OPERATIONS.contains(&name.value.as_str())) {
        let known = || audit::OPERATIONS.iter().copied();
        let right = match near(&name.value, known()) {
            Some(meant) => format!("did you mean {meant:?}?"),
            None => format!("they are {}", quoted(known())),
        };
        name.problem(problems, format!("no such operation; {right}"));
    }
    names.iter().map(|name| name.value.clone()).collect()
}

/// What is a temporary name.
pub(super) fn resolve_temporary(raw: &Shape, problems: &mut Problems) -> audit::TemporaryNames {
    let mut temporary = audit::TemporaryNames::default();
    if !is_notification(raw) {
        let what =
            "only notifications have temporary names; write `format: cloudevents` or `eventbridge`, or remove it";
        if let Some(first) = raw.temporary_names.as_ref().and_then(|names| names.first()) {
            first.problem(problems, what);
        }
        if let Some(within) = &raw.temporary_within {
            within.problem(problems, what);
        }
    }
    if let Some(names) = &raw.temporary_names {
        temporary.patterns = resolve_paths(names, problems);
    }
    if let Some(within) = &raw.temporary_within {
        temporary.within = within.value;
    }
    temporary
}

fn is_notification(raw: &Shape) -> bool {
    raw.format.as_ref().is_some_and(|format| format.value.is_notification())
}

/// Whether a sink can have the form that it is given.
pub(super) fn judge_format(sink: &Sink, problems: &mut Problems) {
    let Some(format) = sink.shape.format.as_ref().filter(|format| format.value.is_notification()) else { return };
    if !matches!(sink.target, Target::Http(_) | Target::Store(_)) {
        format.problem(problems, "only the sinks `http` and `store` send notifications");
    }
    let listed = sink.shape.activities.iter().flatten().chain(&sink.shape.except).next();
    if let Some(activity) = listed {
        activity.problem(problems, "notifications have no activities; write `operations`, as in [upload, rename]");
    }
}

/// How the batches of an HTTP sink are posted.
pub(super) fn resolve_encoding(raw: &HttpSink, format: Format, problems: &mut Problems) -> Encoding {
    let default = if format.is_notification() { Encoding::Single } else { Encoding::default() };
    let Some(encoding) = &raw.encoding else { return default };
    match (encoding.value, format) {
        (Encoding::Ndjson, Format::CloudEvents) => {
            encoding.problem(problems, "CloudEvents are posted as `single` or `array`");
        }
        (Encoding::Single, format) if !format.is_notification() => {
            encoding.problem(problems, "only notifications are sent in single requests; write `ndjson` or `array`");
        }
        _ => {}
    }
    encoding.value
}

/// The secrets that requests are signed with.
pub(super) fn resolve_signing(raw: &HttpSink, problems: &mut Problems) -> Vec<WebhookSecret> {
    if let Some(first) = raw.signing.first().filter(|_| raw.gzip) {
        let what = "signed requests are not compressed, because a receiver has to verify the body as it was sent; remove `gzip`";
        first.problem(problems, what);
    }
    let signs = |name: &&At<String>| name.value.to_ascii_lowercase().starts_with("webhook-");
    if let Some(name) = raw.headers.iter().map(|(name, _)| name).find(signs).filter(|_| !raw.signing.is_empty()) {
        name.problem(problems, "`signing` sets this header; remove it");
    }
    let mut read = |secret: &At<crate::secret::Secret>| match WebhookSecret::parse(&secret.value) {
        Ok(secret) => Some(secret),
        Err(what) => {
            secret.problem(problems, what);
            None
        }
    };
    raw.signing.iter().filter_map(&mut read).collect()
}

/// When a refused delivery is set aside. A sink that operations wait for holds the trail without a gap, unless it is notifications:
/// those are kept on this machine, and nothing is recorded by them.
pub(super) fn resolve_give_up(
    raw: &HttpSink,
    format: Format,
    on_failure: OnFailure,
    problems: &mut Problems,
) -> Option<Duration> {
    match (&raw.give_up_after, on_failure) {
        (Some(limit), OnFailure::Refuse) if !format.is_notification() => {
            limit.problem(
                problems,
                "a sink that operations wait for never gives up on events; write `on_failure: continue` too",
            );
            None
        }
        (Some(limit), _) => Some(limit.value),
        (None, OnFailure::Continue) => format.is_notification().then_some(GIVE_UP_AFTER),
        (None, OnFailure::Refuse) => None,
    }
}

/// How old a batch gets, unless the operator said so.
pub(super) fn resolve_age(raw: &super::raw_sinks::Spool, format: Format) -> audit::BatchSettings {
    let mut batch = raw.batch;
    if format.is_notification() && !raw.is_age_given {
        batch.age = SOON;
    }
    batch
}

/// A chain that is kept can be verified only where all of it is.
pub(super) fn judge_whole_trail(sinks: &[audit::SinkSettings], at: Option<&At<String>>, problems: &mut Problems) {
    let is_whole = |sink: &audit::SinkSettings| sink.shape.is_plain() || matches!(sink.target, SinkTarget::Memory(_));
    if let Some(at) = at.filter(|_| !sinks.is_empty() && !sinks.iter().any(is_whole)) {
        let what = "no sink holds the whole trail, so nobody could verify this chain: every sink in `events` has a `filter` or \
                    another `format`; add one without, such as { sink: file, path: events.ndjson }";
        at.problem(problems, what);
    }
}
