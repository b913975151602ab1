//! Lines that follow no line: after a kill that is in order, otherwise something is wrong, and this says what.

use super::chains::{Chain, Cut};
use super::checkpoint::Checkpoint;
use super::finding::{Finding, Kind};
use super::keys::{Fork, Signature};
use super::{Line, Verifier};
use crate::audit::chain::Position;
use crate::audit::read::Event;
use crate::audit::succession::SHOWN;

impl Verifier {
    /// Takes the start of a process after one that was killed, if all that is missing before it is what a kill may take: lines of
    /// which nobody was told that they are recorded.
    pub(super) fn is_cut(&mut self, line: &Line<'_>) -> bool {
        let Some(checkpoint) = &line.checkpoint else { return false };
        let Some(acknowledged) = checkpoint.after_kill() else { return false };
        if self.options.filtered || !matches!(line.signature, Signature::NotChecked | Signature::Right) {
            return false;
        }
        let Some(at) = self.chain_of(checkpoint) else { return false };
        self.findings.chain = Some(at);
        let torn = self.torn.len() as u64;
        let Some(chain) = self.chains.get_mut(at) else { return false };
        let (from, to) = (chain.at.sequence + 1, line.tail.sequence - 1);
        if acknowledged > chain.at.sequence || from > to || torn > to - from + 1 {
            return false;
        }
        let changed = changed_before_kill(chain, line, acknowledged);
        if changed.is_none() && line.signature == Signature::Right {
            chain.cover_to(acknowledged);
        }
        chain.cut(Cut { place: line.place, from, to, acknowledged, torn });
        chain.advance(line.at(), line);
        if let Some(finding) = changed {
            self.findings.add(finding);
        }
        self.torn.clear();
        self.current = at;
        self.stray = None;
        self.judge_checkpoint(at, line);
        true
    }

    /// The chain that a checkpoint is of, by its id or, while that is not known, by its server.
    fn chain_of(&self, checkpoint: &Checkpoint) -> Option<usize> {
        let by_id = self.chains.iter().rposition(|chain| chain.id.as_ref() == Some(&checkpoint.chain));
        by_id.or_else(|| {
            let at = *self.of_server.get(&checkpoint.server)?;
            self.chains.get(at)?.id.is_none().then_some(at)
        })
    }

    /// A line that follows no line that was read.
    pub(super) fn misfit(&mut self, line: &Line<'_>) {
        if let Some((hash, finding)) = self.stray
            && hash == line.tail.previous
        {
            self.findings.extend(finding);
            self.stray = Some((line.hash, finding));
            return;
        }
        let Some(event) = self.event_of(line) else { return };
        let Some(&at) = self.of_server.get(event.text("server")) else { return self.begin(line, &event) };
        self.findings.chain = Some(at);
        let Some(chain) = self.chains.get_mut(at) else { return };
        if let Some(doubt) = chain.step_back(line.tail.previous) {
            self.findings.rewrite(doubt);
            return self.follow(at, line);
        }
        let expected = chain.at.sequence + 1;
        if line.tail.sequence < expected {
            let what = format!("sequence {} again or out of its place: expected is {expected}", line.tail.sequence);
            return self.misplaced(line, &what);
        }
        let finding = if line.tail.sequence == expected {
            Some(changed(chain, line))
        } else if self.options.filtered {
            chain.left_out += line.tail.sequence - expected;
            None
        } else {
            Some(missing(chain, line))
        };
        if let Some(finding) = finding {
            let finding = self.findings.add(finding);
            chain.doubt(finding, line);
        }
        chain.end_stretch(line.tail.sequence);
        chain.advance(line.at(), line);
        self.current = at;
        self.stray = None;
        self.judge_checkpoint(at, line);
    }

    /// What the line says; one that follows no line must at least say of which server it is.
    pub(super) fn event_of(&mut self, line: &Line<'_>) -> Option<Event> {
        let event = Event::parse(line.bytes).filter(|event| !event.text("server").is_empty());
        if event.is_none() {
            let what = "not an event: it follows no line, and does not read as JSON with a server".to_owned();
            self.find(Kind::Foreign, line.place, Some(line.tail.sequence), what);
        }
        event
    }

    /// A line that does not belong where it stands.
    pub(super) fn misplaced(&mut self, line: &Line<'_>, what: &str) {
        // Whatever it says of its server: it is none of that chain's lines.
        self.findings.chain = None;
        let finding = self.find(Kind::Misplaced, line.place, Some(line.tail.sequence), what.to_owned());
        self.stray = Some((line.hash, finding));
    }

    /// Takes the checkpoint that the last line of `chain` is, if it is one.
    pub(super) fn judge_checkpoint(&mut self, chain: usize, line: &Line<'_>) {
        let (Some(checkpoint), Some(chain)) = (&line.checkpoint, self.chains.get_mut(chain)) else { return };
        let (known, number) = (chain.id.clone(), Some(line.tail.sequence));
        chain.check_point(line, checkpoint);
        if let Some(known) = known.filter(|known| *known != checkpoint.chain) {
            let what = format!("expected is a checkpoint of the chain {known}; it is of {}", checkpoint.chain);
            self.find(Kind::Identity, line.place, number, what);
        }
        let what = match &line.signature {
            Signature::NotChecked | Signature::Right => return,
            Signature::Absent => "expected is a signed checkpoint; it has no signature".to_owned(),
            Signature::OtherKey(key) if key.is_empty() => "the checkpoint does not say which key signed it".to_owned(),
            Signature::OtherKey(key) => format!(
                "the checkpoint is signed by {key}, which is none of the given keys, and none of these endorses it, as far as these sources show. \
                 Somebody replaced the key; or a later key was given only (give the earliest that you trust); or its owner changed it more than \
                 {SHOWN} times since the given key, and files in between are not here (give them, or a later key that you trust, or the \
                 audit folder with --state)"
            ),
            Signature::Followed(follower) => format!(
                "the checkpoint is signed by a key that {} had followed at sequence {}: an older copy of the audit folder was put back, or \
                 somebody else has the old key",
                follower.key, follower.sequence
            ),
            Signature::Forked(Fork { old, first, second }) => {
                let place = match first.sequence {
                    0 => "in the audit folder".to_owned(),
                    sequence => format!("at sequence {sequence}"),
                };
                format!(
                    "the checkpoint shows that the key {old} endorses {second}, but it endorses {} {place}: one key endorses two. Somebody else \
                     has that key, or an older copy of it was put back and changed again",
                    first.key
                )
            }
            Signature::Wrong => "the checkpoint's signature does not fit the line".to_owned(),
        };
        self.find(Kind::Signature, line.place, number, what);
    }
}

/// The line before it is not the one that it follows. The place is the earlier one's.
fn changed(chain: &Chain, line: &Line<'_>) -> Finding {
    let Position { sequence, hash } = chain.at;
    let what = format!(
        "expected is a line with the hash {}, which sequence {} follows; it has {hash}. It was changed, or the \"previous\" of the one after it",
        line.tail.previous, line.tail.sequence,
    );
    Finding { kind: Kind::Changed, place: chain.place, sequence: Some(sequence), what, lines: 1 }
}

/// The last line of which somebody was told before the kill is not the one that it was. No line needs to follow it, so the
/// checkpoint tells its hash.
fn changed_before_kill(chain: &Chain, line: &Line<'_>, acknowledged: u64) -> Option<Finding> {
    let told = line.checkpoint.as_ref()?.acknowledged_hash.as_deref()?;
    let hash = chain.hash_of(acknowledged).filter(|hash| told.parse() != Ok(*hash))?;
    let what = format!(
        "expected is sequence {acknowledged} with the hash {told}, as the start after the kill says; it has {hash}: it was changed, or one between it and the kill"
    );
    Some(Finding { kind: Kind::Changed, place: chain.place, sequence: Some(acknowledged), what, lines: 1 })
}

/// Lines are missing before it.
fn missing(chain: &Chain, line: &Line<'_>) -> Finding {
    let (from, to) = (chain.at.sequence + 1, line.tail.sequence - 1);
    let lines = to + 1 - from;
    let mut what = format!("expected is sequence {from}, it is {}: {lines} missing", line.tail.sequence);
    let killed = line.checkpoint.as_ref().and_then(Checkpoint::after_kill);
    if let Some(acknowledged) = killed.filter(|acknowledged| *acknowledged >= from) {
        what +=
            &format!("; the process before was killed, but had told that events up to {acknowledged} were recorded");
    }
    Finding { kind: Kind::Missing, place: line.place, sequence: Some(from), what, lines }
}
