//! What is wrong with a trail.

use crate::audit::read::Place;

/// How many findings are kept; the rest is counted.
const KEPT: usize = 1000;

/// What kind of thing is wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// A line is not the one that its successor follows.
    Changed,
    /// Lines are not there.
    Missing,
    /// A line stands where it does not belong: added, repeated or moved.
    Misplaced,
    /// A line's number is not that of its place.
    Misnumbered,
    /// Not a line of a chain.
    Foreign,
    /// A line that breaks off.
    Torn,
    /// A file that cannot be unpacked to its end.
    Broken,
    /// A checkpoint cannot be read.
    Checkpoint,
    /// A checkpoint's signature is wrong, absent or of an unknown key.
    Signature,
    /// The time of a line cannot be read, or runs backwards where no signature covers it.
    Time,
    /// The chain's id changes within the chain.
    Identity,
    /// The chain does not begin with its first line.
    Beginning,
    /// The chain does not end in order.
    End,
}

impl Kind {
    /// The word for machines.
    pub fn as_str(self) -> &'static str {
        match self {
            Kind::Changed => "changed",
            Kind::Missing => "missing",
            Kind::Misplaced => "misplaced",
            Kind::Misnumbered => "misnumbered",
            Kind::Foreign => "foreign",
            Kind::Torn => "torn",
            Kind::Broken => "broken",
            Kind::Checkpoint => "checkpoint",
            Kind::Signature => "signature",
            Kind::Time => "time",
            Kind::Identity => "identity",
            Kind::Beginning => "beginning",
            Kind::End => "end",
        }
    }
}

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// What kind.
    pub kind: Kind,
    /// Where.
    pub place: Place,
    /// The number that the line has, or that is missing.
    pub sequence: Option<u64>,
    /// What was expected, and what is there.
    pub what: String,
    /// How many lines: those of a row that was added or moved, those that are missing; otherwise 1.
    pub lines: u64,
}

/// When a finding was found.
#[derive(Debug, Clone, Copy)]
pub(super) struct Whereabouts {
    /// How many lines were read before.
    pub(super) at: u64,
    /// Of which chain it is; `None`: of no line of a chain.
    pub(super) chain: Option<usize>,
}

/// The findings so far.
#[derive(Debug, Default)]
pub(super) struct Findings {
    kept: Vec<(Whereabouts, Finding)>,
    count: u64,
    /// How many lines were read before the one that is being read.
    pub(super) at: u64,
    /// The chain that is being judged, by its place in the list, if any is.
    pub(super) chain: Option<usize>,
}

impl Findings {
    /// Adds one; `Some(its place in the list)` when it was kept.
    pub(super) fn add(&mut self, finding: Finding) -> Option<usize> {
        self.count += 1;
        (self.kept.len() < KEPT).then(|| {
            self.kept.push((Whereabouts { at: self.at, chain: self.chain }, finding));
            self.kept.len() - 1
        })
    }

    /// One more line belongs to a finding.
    pub(super) fn extend(&mut self, at: Option<usize>) {
        if let Some((_, finding)) = at.and_then(|at| self.kept.get_mut(at)) {
            finding.lines += 1;
        }
    }

    /// What seemed to be missing or changed before a line was not: the line itself does not belong where it stands.
    pub(super) fn rewrite(&mut self, doubt: Doubt) {
        if let Some((_, finding)) = doubt.finding.and_then(|at| self.kept.get_mut(at)) {
            let what =
                format!("sequence {} stands between {} and the line that follows that", doubt.sequence, doubt.before);
            let sequence = Some(doubt.sequence);
            *finding = Finding { kind: Kind::Misplaced, place: doubt.place, sequence, what, lines: doubt.lines };
        }
    }

    /// Those that were kept and count; how many there were, with those that were not kept; and how many do not count.
    pub(super) fn into_parts(self, counts: impl Fn(Whereabouts) -> bool) -> (Vec<Finding>, u64, u64) {
        let all = self.kept.len();
        let kept: Vec<_> = self.kept.into_iter().filter(|(at, _)| counts(*at)).map(|(_, finding)| finding).collect();
        let outside = (all - kept.len()) as u64;
        (kept, self.count - outside, outside)
    }
}

/// Lines that were taken although they do not follow the one before them. When another line follows that one, they were added.
#[derive(Debug, Clone, Copy)]
pub(super) struct Doubt {
    /// Their finding.
    pub(super) finding: Option<usize>,
    /// Where the first of them stands.
    pub(super) place: Place,
    /// The number that it has.
    pub(super) sequence: u64,
    /// The number of the line before them.
    pub(super) before: u64,
    /// How many they are.
    pub(super) lines: u64,
}
