//! One chain as it is followed.

use std::collections::VecDeque;

use chrono::SecondsFormat;

use super::Line;
use super::checkpoint::{Checkpoint, Reason};
use super::finding::{Doubt, Finding};
use super::keys::Signature;
use super::range::Extent;
use super::reach::Reach;
use crate::audit::chain::{Hash, Position};
use crate::audit::read::{Event, Place};

/// How many stretches of a chain are told one by one; the rest is counted.
const KEPT: usize = 100;

/// How many of the last lines' hashes are remembered: more than a killed process can have left unacknowledged.
const RECENT: usize = 8192;

/// Lines that are missing where a process was killed. Nobody was told that their events were recorded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cut {
    /// The start checkpoint that says so.
    pub place: Place,
    /// The first line that is missing.
    pub from: u64,
    /// The last line that is missing.
    pub to: u64,
    /// Up to where the killed process had told that events are recorded.
    pub acknowledged: u64,
    /// How many of the missing lines are there in part.
    pub torn: u64,
}

/// A chain as far as it was followed.
#[derive(Debug)]
pub(super) struct Chain {
    pub(super) server: String,
    pub(super) id: Option<String>,
    /// The number of its first line here.
    pub(super) first: u64,
    pub(super) first_place: Place,
    /// What its first line here follows.
    pub(super) first_previous: Hash,
    first_time: String,
    /// Its last line so far.
    pub(super) at: Position,
    pub(super) place: Place,
    last_line: Vec<u8>,
    /// The hashes of the last lines, of which each follows the one before.
    recent: VecDeque<Hash>,
    /// The last line that was followed before something was found, and what was found.
    former: Option<(Position, Place, Doubt)>,
    pub(super) events: u64,
    pub(super) checkpoints: u64,
    pub(super) signatures: u64,
    /// Ends that were no orderly ones, with nothing missing.
    pub(super) kills: u64,
    /// Lines that a filter left out.
    pub(super) left_out: u64,
    pub(super) cuts: Vec<Cut>,
    pub(super) cut_events: u64,
    /// What became of the state of the chain before it.
    pub(super) lost_state: Option<String>,
    /// The reason, the number and the time of the last checkpoint.
    pub(super) last_checkpoint: Option<(Reason, u64, String)>,
    /// The first line of the stretch in which each line follows the one before.
    stretch: u64,
    /// Up to where a right signature covers the stretch.
    signed_to: Option<u64>,
    /// The keys of right signatures, and the first checkpoint of each.
    signers: Vec<(String, u64)>,
    /// How far signatures reach, and what follows.
    pub(super) reach: Reach,
    covered: u64,
    uncovered: Vec<(u64, u64)>,
    /// Whether its first line here is of a store's batch.
    pub(super) is_batch: bool,
    /// Where the range of time is that is asked about.
    pub(super) extent: Extent,
}

/// What is said of one chain.
#[derive(Debug, Clone)]
pub struct ChainReport {
    /// The server.
    pub server: String,
    /// The chain's id, when a checkpoint told it.
    pub chain: Option<String>,
    /// The first line's number.
    pub first: u64,
    /// The last line's number.
    pub last: u64,
    /// The first line's time.
    pub first_time: String,
    /// The last line's time.
    pub last_time: String,
    /// Where the first line stands.
    pub begins_at: Place,
    /// Where the last line stands.
    pub ends_at: Place,
    /// How many lines.
    pub events: u64,
    /// How many of them are checkpoints.
    pub checkpoints: u64,
    /// How many signatures were checked and are right.
    pub signatures: u64,
    /// The keys of right signatures, and the number of the first checkpoint of each; the first hundred.
    pub signers: Vec<(String, u64)>,
    /// How many lines signatures cover.
    pub covered: u64,
    /// Those that no signature covers, from and to; the first hundred stretches.
    pub uncovered: Vec<(u64, u64)>,
    /// How many lines stand after the last checkpoint; all when there is none.
    pub after_checkpoint: u64,
    /// The last checkpoint's number and time.
    pub last_checkpoint: Option<(u64, String)>,
    /// Whether it ends with the checkpoint of an orderly end.
    pub is_ended: bool,
    /// Processes that were killed without leaving a gap.
    pub kills: u64,
    /// Lines that a filter left out.
    pub left_out: u64,
    /// Lines that are missing where a process was killed; the first hundred.
    pub cuts: Vec<Cut>,
    /// How many events may be missing by all cuts.
    pub cut_events: u64,
    /// What became of the state of the chain before it, when that was lost: `missing`, `unreadable`, `foreign`.
    pub lost_state: Option<String>,
    /// The last line with a right signature: its number and its time.
    pub signed_to: Option<(u64, String)>,
    /// When the next signature ought to have come at the latest, if lines follow the last one.
    pub next_signature_by: Option<String>,
    /// Where the range of time is that is asked about.
    pub extent: Extent,
}

impl Chain {
    /// A chain whose first line here is `line`.
    pub(super) fn begin(line: &Line<'_>, event: &Event) -> Self {
        let (at, place) = (line.at(), line.place);
        let text = |name| event.text(name).to_owned();
        Chain {
            server: text("server"),
            id: None,
            first: at.sequence,
            first_place: place,
            first_previous: line.tail.previous,
            first_time: text("timestamp"),
            at,
            place,
            last_line: line.bytes.to_owned(),
            recent: VecDeque::from([at.hash]),
            former: None,
            events: 1,
            checkpoints: 0,
            signatures: 0,
            kills: 0,
            left_out: 0,
            cuts: Vec::new(),
            cut_events: 0,
            lost_state: None,
            last_checkpoint: None,
            stretch: at.sequence,
            signed_to: None,
            signers: Vec::new(),
            reach: Reach::of_first(line),
            covered: 0,
            uncovered: Vec::new(),
            is_batch: line.is_batch,
            extent: Extent::default(),
        }
    }

    /// The next line.
    pub(super) fn advance(&mut self, at: Position, line: &Line<'_>) {
        if self.recent.len() >= RECENT {
            self.recent.pop_front();
        }
        self.recent.push_back(at.hash);
        (self.at, self.place) = (at, line.place);
        self.events += 1;
        self.reach.follow(line);
        self.last_line.clear();
        self.last_line.extend_from_slice(line.bytes);
        if let Some((.., doubt)) = &mut self.former {
            doubt.lines += 1;
        }
    }

    /// The next line does not follow the last one, and is taken all the same, with a finding.
    pub(super) fn doubt(&mut self, finding: Option<usize>, line: &Line<'_>) {
        let (place, sequence, before) = (line.place, line.tail.sequence, self.at.sequence);
        self.former = Some((self.at, self.place, Doubt { finding, place, sequence, before, lines: 0 }));
    }

    /// Goes back to before the lines in doubt, when it is there that a line belongs.
    pub(super) fn step_back(&mut self, previous: Hash) -> Option<Doubt> {
        let (at, place, doubt) = self.former.take_if(|(at, ..)| at.hash == previous)?;
        (self.at, self.place) = (at, place);
        self.events -= doubt.lines;
        self.last_checkpoint.take_if(|(_, checkpoint, _)| *checkpoint > at.sequence);
        (self.stretch, self.signed_to) = (at.sequence + 1, None);
        self.recent = VecDeque::from([at.hash]);
        Some(doubt)
    }

    /// Lines are missing: what was signed so far says nothing of what follows, and the reverse.
    pub(super) fn end_stretch(&mut self, next: u64) {
        let uncovered = match self.signed_to {
            Some(to) => {
                self.covered += (to + 1).saturating_sub(self.stretch);
                to + 1
            }
            None => self.stretch,
        };
        if uncovered <= self.at.sequence && self.uncovered.len() < KEPT {
            self.uncovered.push((uncovered, self.at.sequence));
        }
        (self.stretch, self.signed_to) = (next, None);
        self.recent.clear();
    }

    /// The hash of a line that was read lately, if there is no gap since.
    pub(super) fn hash_of(&self, sequence: u64) -> Option<Hash> {
        let back = usize::try_from(self.at.sequence.checked_sub(sequence)?).ok()?;
        self.recent.get(self.recent.len().checked_sub(back + 1)?).copied()
    }

    /// A signature that stands elsewhere covers the lines up to this one.
    pub(super) fn cover_to(&mut self, sequence: u64) {
        if sequence >= self.stretch {
            self.signed_to = self.signed_to.max(Some(sequence));
        }
    }

    pub(super) fn cut(&mut self, cut: Cut) {
        self.end_stretch(cut.to + 1);
        self.cut_events += cut.to + 1 - cut.from;
        if self.cuts.len() < KEPT {
            self.cuts.push(cut);
        }
    }

    /// The line that was just taken is a checkpoint.
    pub(super) fn check_point(&mut self, line: &Line<'_>, checkpoint: &Checkpoint) {
        self.checkpoints += 1;
        if line.signature == Signature::Right {
            self.signatures += 1;
            self.signed_to = Some(self.at.sequence);
            self.reach.sign(line, checkpoint);
            let key = checkpoint.checkpoint_key.clone().unwrap_or_default();
            if self.signers.last().is_none_or(|(last, _)| *last != key) && self.signers.len() < KEPT {
                self.signers.push((key, self.at.sequence));
            }
        }
        self.lost_state = checkpoint.state.clone().or(self.lost_state.take());
        self.id.get_or_insert_with(|| checkpoint.chain.clone());
        self.last_checkpoint = Some((checkpoint.reason, self.at.sequence, checkpoint.timestamp.clone()));
    }

    /// What is wrong with where the signatures end.
    pub(super) fn judge_reach(&self) -> Vec<Finding> {
        self.reach.findings(self.at.sequence, self.place)
    }

    /// Whether the last line is the checkpoint of an orderly end.
    pub(super) fn is_ended(&self) -> bool {
        matches!(&self.last_checkpoint, Some((Reason::Shutdown, at, _)) if *at == self.at.sequence)
    }

    pub(super) fn report(mut self) -> ChainReport {
        self.end_stretch(self.at.sequence + 1);
        let checkpoint = self.last_checkpoint.as_ref().map_or(self.first - 1, |(_, at, _)| *at);
        ChainReport {
            lost_state: self.lost_state.take(),
            extent: std::mem::take(&mut self.extent),
            signed_to: self.reach.signed_to(),
            next_signature_by: self.reach.next_by().map(|by| by.to_rfc3339_opts(SecondsFormat::Secs, true)),
            first: self.first,
            last: self.at.sequence,
            last_time: Event::parse(&self.last_line).map_or(String::new(), |last| last.text("timestamp").to_owned()),
            begins_at: self.first_place,
            ends_at: self.place,
            events: self.events,
            checkpoints: self.checkpoints,
            signatures: self.signatures,
            signers: std::mem::take(&mut self.signers),
            covered: self.covered,
            after_checkpoint: self.at.sequence - checkpoint,
            is_ended: self.is_ended(),
            last_checkpoint: self.last_checkpoint.map(|(_, at, time)| (at, time)),
            kills: self.kills,
            left_out: self.left_out,
            cut_events: self.cut_events,
            server: self.server,
            chain: self.id,
            first_time: self.first_time,
            uncovered: self.uncovered,
            cuts: self.cuts,
        }
    }
}
