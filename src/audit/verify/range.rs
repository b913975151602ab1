//! The verdict on a range of time. A range has no ends of its own in a chain: it hangs between the last signed checkpoint before it and the
//! first one after it. What is found between these two counts; the rest is told and does not.
//!
//! Where these are is known by the order of the lines as they are read. Their times decide only which checkpoints they are, and a right
//! signature vouches for that: a line with a false time moves nothing.

use chrono::SecondsFormat;
use serde_json::{Value, json};

use super::Line;
use super::chains::Chain;
use super::finding::Whereabouts;
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
    /// Lines after it were read.
    pub(super) ends_after: bool,
}

impl Extent {
    /// Whether lines before the range and after it were read.
    pub(super) fn encloses(&self) -> bool {
        self.begins_before && self.ends_after
    }

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
        let is_after = span.until.is_some_and(|until| utc >= until);
        self.ends_after |= is_after;
        let vouches = matches!(line.signature, Signature::Right | Signature::NotChecked);
        if line.checkpoint.is_none() || !vouches {
            return;
        }
        let anchor = || Anchor { sequence, time: time.to_rfc3339_opts(SecondsFormat::Secs, true), ordinal };
        if is_before {
            self.before = Some(anchor());
        } else if is_after {
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

/// Which findings count.
#[derive(Debug)]
pub(super) struct Windows {
    /// Of each chain the lines, by the order of their reading, among which a finding of it counts; `None`: it has no part in the range.
    of_chains: Vec<Option<(u64, u64)>>,
    /// From the first to the last of all these, for what is found beside the chains.
    of_all: (u64, u64),
}

impl Windows {
    pub(super) fn of(chains: &[Chain], span: Span) -> Windows {
        // Without a range, or when nothing reaches it, all counts that its anchors do not exclude.
        let is_any = span == Span::default() || !chains.iter().any(reaches);
        let of_chains: Vec<_> = chains.iter().map(|chain| (is_any || reaches(chain)).then(|| window(chain))).collect();
        let from = of_chains.iter().flatten().map(|(from, _)| *from).min();
        let to = of_chains.iter().flatten().map(|(_, to)| *to).max();
        Windows { of_chains, of_all: (from.unwrap_or(0), to.unwrap_or(u64::MAX)) }
    }

    pub(super) fn count(&self, found: Whereabouts) -> bool {
        let of_chain = found.chain.and_then(|chain| self.of_chains.get(chain).copied());
        let window = of_chain.unwrap_or(Some(self.of_all));
        window.is_some_and(|(from, to)| (from..=to).contains(&found.at))
    }
}

/// Whether a chain has lines in the range, or would have if they had not been removed: it goes on after the range, and did not begin there.
fn reaches(chain: &Chain) -> bool {
    let extent = &chain.extent;
    extent.events > 0 || extent.ends_after && (extent.begins_before || chain.first > 1)
}

fn window(chain: &Chain) -> (u64, u64) {
    let Extent { before, after, .. } = &chain.extent;
    let ordinal = |anchor: &Anchor| anchor.ordinal;
    (before.as_ref().map_or(0, ordinal), after.as_ref().map_or(u64::MAX, ordinal))
}

/// What is missing at the beginning of the range: a chain that begins in the middle, within the range or after it.
pub(super) fn missing_before(chain: &Chain, span: Span) -> Option<String> {
    let since = span.since.filter(|_| chain.first > 1 && !chain.extent.begins_before && reaches(chain))?;
    Some(format!(
        "expected are the lines from {} on; these sources begin with sequence {}: what stands before it in the range is missing",
        since.to_rfc3339_opts(SecondsFormat::Secs, true),
        chain.first
    ))
}
