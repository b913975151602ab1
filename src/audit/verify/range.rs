//! The verdict on a range of time. A range has no ends of its own in a chain: it hangs between the last signed checkpoint before it and the
//! first one after it. What is found between these two counts; the rest is told and does not.
//!
//! Where these are is known by the order of the lines as they are read. Their times decide only which checkpoints they are, and a right
//! signature vouches for that: a line with a false time moves nothing.

use chrono::SecondsFormat;
use serde_json::{Value, json};

use super::Line;
use super::chains::Chain;
use super::keys::Signature;
use crate::audit::read::Span;

/// A signed checkpoint beside the range.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Anchor {
    /// Its number.
    pub sequence: u64,
    /// Its time.
    pub time: String,
    /// How many lines were read before it.
    pub(super) ordinal: u64,
}

/// Where the range is in one chain.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Extent {
    /// The last checkpoint before it.
    pub before: Option<Anchor>,
    /// The first checkpoint after it.
    pub after: Option<Anchor>,
    /// The numbers of the first and the last line in it.
    pub lines: Option<(u64, u64)>,
    /// How many lines are in it.
    pub events: u64,
    /// Lines before it were read.
    pub(super) begins_before: bool,
}

impl Extent {
    /// The chain has taken a line.
    pub(super) fn follow(&mut self, span: Span, line: &Line<'_>, ordinal: u64) {
        let Some(time) = line.time else { return };
        let (utc, sequence) = (time.to_utc(), line.tail.sequence);
        if span.contains(utc) {
            self.lines = Some((self.lines.map_or(sequence, |(first, _)| first), sequence));
            self.events += 1;
        }
        let is_before = span.since.is_some_and(|since| utc < since) && self.lines.is_none();
        self.begins_before |= is_before;
        let vouches = matches!(line.signature, Signature::Right | Signature::NotChecked);
        if line.checkpoint.is_none() || !vouches {
            return;
        }
        let anchor = || Anchor { sequence, time: time.to_rfc3339_opts(SecondsFormat::Secs, true), ordinal };
        if is_before {
            self.before = Some(anchor());
        } else if span.until.is_some_and(|until| utc >= until) {
            self.after.get_or_insert_with(anchor);
        }
    }

    pub(super) fn to_json(&self) -> Value {
        let anchor = |anchor: &Option<Anchor>| {
            anchor.as_ref().map(|anchor| json!({ "sequence": anchor.sequence, "timestamp": anchor.time }))
        };
        json!({
            "events": self.events,
            "first": self.lines.map(|(first, _)| first),
            "last": self.lines.map(|(_, last)| last),
            "anchor-before": anchor(&self.before),
            "anchor-after": anchor(&self.after),
        })
    }
}

/// The lines, by the order of their reading, among which a finding counts. Those of chains that have nothing in the range do not widen it.
pub(super) fn window(chains: &[Chain]) -> (u64, u64) {
    let in_range = || chains.iter().filter(|chain| chain.extent.events > 0);
    let wanted: Vec<&Chain> = if in_range().next().is_some() { in_range().collect() } else { chains.iter().collect() };
    let from = wanted.iter().map(|chain| chain.extent.before.as_ref().map_or(0, |anchor| anchor.ordinal)).min();
    let to = wanted.iter().map(|chain| chain.extent.after.as_ref().map_or(u64::MAX, |anchor| anchor.ordinal)).max();
    (from.unwrap_or(0), to.unwrap_or(u64::MAX))
}

/// What is missing at the beginning of the range: a chain that begins in the middle, and within it.
pub(super) fn missing_before(chain: &Chain, span: Span) -> Option<String> {
    let since = span.since.filter(|_| chain.first > 1 && !chain.extent.begins_before && chain.extent.events > 0)?;
    Some(format!(
        "expected are the lines from {} on; these sources begin with sequence {}: what stands before it in the range is missing",
        since.to_rfc3339_opts(SecondsFormat::Secs, true),
        chain.first
    ))
}
