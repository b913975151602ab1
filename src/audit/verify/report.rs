//! What a reading of a trail found, for people and for machines.

use std::fmt::{self, Write};
use std::sync::Arc;

use chrono::SecondsFormat;
use serde_json::{Value, json};

use super::chains::ChainReport;
use super::finding::{Finding, Kind};
use super::range::{Anchor, Extent, Windows, missing_before};
use super::witness::Judged;
use super::witness_report::WitnessReport;
use super::{Chain, Options, Verifier};
use crate::audit::chain::Position;
use crate::audit::read::{Place, Span, Trail, shown};

/// How many findings, cuts and stretches are shown to people one by one.
const SHOWN: usize = 20;

/// What was found.
#[derive(Debug)]
pub struct Report {
    /// The chains, in the order in which they begin.
    pub chains: Vec<ChainReport>,
    /// What is wrong, in the order of the reading; the first thousand.
    pub findings: Vec<Finding>,
    /// How much is wrong.
    pub found: u64,
    /// Lines that break off and are there again, whole, right behind.
    pub written_again: u64,
    /// Lines that break off at the very end.
    pub torn: Vec<Place>,
    /// Lines, also those that are none of a chain.
    pub lines: u64,
    /// Bytes of all lines.
    pub bytes: u64,
    /// Whether signatures were checked.
    pub checked: bool,
    /// How much is wrong beside the range of time that was asked about.
    pub outside: u64,
    /// What the witness says.
    pub witness: Option<WitnessReport>,
    span: Span,
    names: Vec<Arc<str>>,
    /// Whether the state of the gateway said how far the trail must go.
    is_compared: bool,
}

impl Verifier {
    /// Says what was found; nothing follows.
    pub(super) fn finish(mut self, lines: u64, trail: &Trail) -> Report {
        (self.findings.at, self.findings.chain) = (lines, None);
        let torn = if self.options.whole { Vec::new() } else { std::mem::take(&mut self.torn) };
        self.report_torn();
        if self.options.whole {
            let chains = std::mem::take(&mut self.chains);
            for (number, chain) in chains.iter().enumerate() {
                self.findings.chain = Some(number);
                self.report_ends(chain);
            }
            self.chains = chains;
        }
        let chains = std::mem::take(&mut self.chains);
        if !self.options.keys.is_empty() {
            for (number, chain) in chains.iter().enumerate() {
                self.findings.chain = Some(number);
                self.report_signatures(chain);
            }
        }
        self.findings.chain = None;
        self.report_noted(&chains);
        self.report_range(&chains);
        let witness = self.report_witness(&chains);
        self.chains = chains;
        let span = self.options.span;
        let windows = Windows::of(&self.chains, span);
        let (findings, found, outside) = self.findings.into_parts(|found| windows.count(found));
        Report {
            chains: self.chains.into_iter().map(Chain::report).collect(),
            findings,
            found,
            written_again: self.written_again,
            torn: torn.iter().map(|torn| torn.place).collect(),
            lines,
            bytes: trail.bytes(),
            checked: !self.options.keys.is_empty(),
            outside,
            witness,
            span,
            names: trail.names().to_vec(),
            is_compared: self.options.noted.is_some(),
        }
    }

    /// Lines of the range that these sources do not begin with.
    fn report_range(&mut self, chains: &[Chain]) {
        for (number, chain) in chains.iter().enumerate() {
            if let Some(what) = missing_before(chain, self.options.span) {
                self.findings.chain = Some(number);
                self.findings.at = chain.extent.before.as_ref().map_or(0, |anchor| anchor.ordinal);
                self.find(Kind::Beginning, chain.first_place, Some(chain.first), what);
            }
        }
    }

    fn report_witness(&mut self, chains: &[Chain]) -> Option<WitnessReport> {
        let Options { keys, servers, span, filtered, .. } = &self.options;
        let judged = Judged { chains, servers, span: *span, filtered: *filtered, checked: !keys.is_empty() };
        Some(self.witnesses.take()?.judge(&mut self.ring, &judged))
    }

    fn report_ends(&mut self, chain: &Chain) {
        if chain.first != 1 {
            let what = format!("expected is sequence 1, it is {}: the beginning is missing", chain.first);
            self.find(Kind::Beginning, chain.first_place, Some(1), what);
        }
        if let Some(lost) = &chain.lost_state {
            let what = format!(
                "expected is the chain before it, which goes on; a new one begins although there were events, because the state of that one was \
                 {}: what it lost at its end is not known",
                shown(lost)
            );
            self.find(Kind::Beginning, chain.first_place, Some(chain.first), what);
        }
        // How far a chain that is being written goes, its state says.
        let noted = self.options.noted.as_ref().is_some_and(|noted| chain.id.as_ref() == Some(&noted.chain));
        if !chain.is_ended() && !noted {
            let what = "expected is the checkpoint of an orderly end after it; the end is missing (of a trail that is still being written, \
                        --state FOLDER says how far it goes)";
            self.find(Kind::End, chain.place, Some(chain.at.sequence), what.to_owned());
        }
    }

    /// Signatures that stop long before the end.
    fn report_signatures(&mut self, chain: &Chain) {
        for finding in chain.judge_reach() {
            self.findings.add(finding);
        }
    }

    /// The state of the chain knows of lines that are not there.
    fn report_noted(&mut self, chains: &[Chain]) {
        let Some(noted) = self.options.noted.clone().filter(|noted| noted.acknowledged.sequence > 0) else { return };
        if self.reached {
            return;
        }
        let Position { sequence, hash } = noted.acknowledged;
        let of_it = chains.iter().rfind(|chain| chain.id.as_ref() == Some(&noted.chain));
        let Some(chain) = of_it.or(chains.last()) else { return };
        let what = format!(
            "expected is sequence {sequence} of the chain {} with the hash {hash}, as its state says",
            noted.chain
        );
        self.find(Kind::End, chain.place, Some(chain.at.sequence), what);
    }
}

impl Report {
    /// Whether nothing is wrong.
    pub fn is_whole(&self) -> bool {
        self.count() == 0
    }

    /// Whether a range was asked about that these sources do not reach: nothing is wrong, and nothing is proven.
    pub fn is_beside_the_range(&self) -> bool {
        let reaches = |chain: &ChainReport| chain.extent.lines.is_some() || chain.extent.encloses();
        self.span != Span::default() && self.is_whole() && !self.chains.iter().any(reaches)
    }

    /// How much is wrong, with what the witness says.
    pub fn count(&self) -> u64 {
        self.found + self.witness.as_ref().map_or(0, |witness| witness.found)
    }

    /// The verdict in a sentence.
    pub fn verdict(&self) -> String {
        let (lines, files) = (count(self.lines, "line"), count(self.names.len() as u64, "file"));
        let read = format!("{lines} of {files}, {} bytes", self.bytes);
        let range = if self.span == Span::default() { "" } else { " IN THE RANGE" };
        if self.is_beside_the_range() {
            format!(
                "NOTHING IN THE RANGE: no line of these sources is in it, and none follows it, so nothing is proven of it; {read}"
            )
        } else if self.is_whole() {
            format!(
                "INTACT{range}: no line was changed, removed, added or moved, except where the report says otherwise; {read}"
            )
        } else {
            let at = self.findings.first().map(|finding| format!(" at {}", self.place(finding.place)));
            format!("BROKEN{range}{}: {} in {read}", at.unwrap_or_default(), count(self.count(), "finding"))
        }
    }

    /// What a trail without findings does not prove, given what was compared; empty for one that is broken.
    pub fn limits(&self) -> Vec<&'static str> {
        let mut limits = Vec::new();
        if !self.is_whole() || self.is_beside_the_range() {
            return limits;
        }
        if !self.checked {
            limits.push(
                "who wrote the lines: without --key, whoever can write the files could have made all of them anew",
            );
        } else if self.chains.iter().any(|chain| !chain.uncovered.is_empty()) {
            limits.push("who wrote the lines that no signature covers");
        }
        if self.witness.is_none() && !self.is_compared {
            limits.push(
                "that nothing was cut off at the end: compare with the gateway's state (--state) or with a witness (--witness)",
            );
        }
        if self.witness.is_none() && self.checked {
            limits.push("that a thief of the signing key did not write a trail anew (--witness)");
        }
        if self.chains.iter().any(|chain| chain.left_out > 0) {
            limits.push("what the lines were that a filter left out");
        }
        limits
    }

    /// All of it as JSON.
    pub fn to_json(&self) -> Value {
        json!({
            "whole": self.is_whole(),
            "verdict": self.verdict(),
            "not-proven": self.limits(),
            "lines": self.lines,
            "bytes": self.bytes,
            "files": self.names.len(),
            "signatures-checked": self.checked,
            "finding-count": self.found,
            "findings-outside-range": self.outside,
            "since": self.span.since.map(|since| since.to_rfc3339_opts(SecondsFormat::Secs, true)),
            "until": self.span.until.map(|until| until.to_rfc3339_opts(SecondsFormat::Secs, true)),
            "witness": self.witness.as_ref().map(WitnessReport::to_json),
            "findings": self.findings.iter().map(|finding| self.finding_json(finding)).collect::<Vec<_>>(),
            "chains": self.chains.iter().map(|chain| self.chain_json(chain)).collect::<Vec<_>>(),
            "written-again": self.written_again,
            "torn-at-end": self.torn.iter().map(|place| self.place_json(*place)).collect::<Vec<_>>(),
        })
    }

    fn place_json(&self, place: Place) -> Value {
        json!({ "file": self.name(place), "line": place.line, "offset": place.offset })
    }

    fn finding_json(&self, finding: &Finding) -> Value {
        let mut json = self.place_json(finding.place);
        json["kind"] = finding.kind.as_str().into();
        json["what"] = finding.what.clone().into();
        json["lines"] = finding.lines.into();
        if let Some(sequence) = finding.sequence {
            json["sequence"] = sequence.into();
        }
        json
    }

    fn chain_json(&self, chain: &ChainReport) -> Value {
        let ranges = |ranges: &[(u64, u64)]| ranges.iter().map(|(from, to)| json!([from, to])).collect::<Vec<_>>();
        let cut = |cut: &super::Cut| {
            let mut json = self.place_json(cut.place);
            json["missing"] = json!([cut.from, cut.to]);
            json["acknowledged"] = cut.acknowledged.into();
            json["torn"] = cut.torn.into();
            json
        };
        json!({
            "server": chain.server,
            "chain": chain.chain,
            "first": chain.first,
            "last": chain.last,
            "first-timestamp": chain.first_time,
            "last-timestamp": chain.last_time,
            "events": chain.events,
            "checkpoints": chain.checkpoints,
            "signatures": chain.signatures,
            "keys": chain.signers.iter().map(|(key, from)| json!({ "key": key, "from": from })).collect::<Vec<_>>(),
            "signed-events": chain.covered,
            "not-signed": ranges(&chain.uncovered),
            "after-last-checkpoint": chain.after_checkpoint,
            "ended-in-order": chain.is_ended,
            "kills": chain.kills + chain.cuts.len() as u64,
            "cuts": chain.cuts.iter().map(cut).collect::<Vec<_>>(),
            "cut-events": chain.cut_events,
            "left-out": chain.left_out,
            "signed-to": chain.signed_to.as_ref().map(|(sequence, _)| sequence),
            "signed-to-timestamp": chain.signed_to.as_ref().map(|(_, time)| time),
            "next-signature-by": chain.next_signature_by,
            "lost-state": chain.lost_state,
            "range": (self.span != Span::default()).then(|| chain.extent.to_json()),
        })
    }

    fn name(&self, place: Place) -> &str {
        self.names.get(place.part).map_or("", |name| name)
    }

    fn place(&self, place: Place) -> String {
        format!("{}, line {}, byte {}", shown(self.name(place)), place.line, place.offset)
    }

    fn write_findings(&self, out: &mut impl Write) -> fmt::Result {
        let Some(first) = self.findings.first() else { return Ok(()) };
        writeln!(out, "BROKEN: {}; the first bad place:", count(self.found, "finding"))?;
        for (number, finding) in self.findings.iter().take(SHOWN).enumerate() {
            let sequence = finding.sequence.map(|sequence| format!(", sequence {sequence}")).unwrap_or_default();
            writeln!(out, "  {}{sequence}", self.place(finding.place))?;
            let rows = if finding.lines > 1 && finding.kind == Kind::Misplaced {
                format!("; {} lines in a row", finding.lines)
            } else {
                String::new()
            };
            writeln!(out, "    {}: {}{rows}", finding.kind.as_str(), shown(&finding.what))?;
            if number == 0 && self.found > 1 {
                writeln!(out, "then:")?;
            }
        }
        if self.found > SHOWN as u64 {
            writeln!(out, "  and {} more", self.found - SHOWN as u64)?;
        }
        if first.kind == Kind::Missing {
            writeln!(out, "(A sink with a filter does not hold every line: --filtered.)")?;
        }
        Ok(())
    }

    fn write_chain(&self, number: usize, chain: &ChainReport, out: &mut impl Write) -> fmt::Result {
        let id =
            chain.chain.as_ref().map_or("a chain whose id no checkpoint here tells".into(), |id| format!("chain {id}"));
        writeln!(out, "{}, {}", shown(&chain.server), shown(&id))?;
        let (first, last) = (shown(&chain.first_time), shown(&chain.last_time));
        writeln!(
            out,
            "  sequence {} to {}: {}, {first} to {last}",
            chain.first,
            chain.last,
            count(chain.events, "event")
        )?;
        if chain.first > 1 {
            writeln!(
                out,
                "  begins in the middle: what stands before sequence {} is not in these sources",
                chain.first
            )?;
        } else if self.chains.iter().take(number).any(|before| before.server == chain.server) {
            writeln!(out, "  a new chain: what stands before it is not tied to it")?;
        }
        if let Some(lost) = &chain.lost_state {
            writeln!(out, "  A NEW CHAIN although there were events: the state of the one before was {}", shown(lost))?;
        }
        self.write_range(chain, out)?;
        self.write_cuts(chain, out)?;
        if chain.left_out > 0 {
            writeln!(out, "  {} left out by a filter", count(chain.left_out, "event"))?;
        }
        self.write_signatures(chain, out)?;
        if chain.is_ended {
            return writeln!(out, "  ended in order");
        }
        match &chain.last_checkpoint {
            Some((at, time)) => writeln!(
                out,
                "  the end is open: {} after the last checkpoint (sequence {at}, {})",
                count(chain.after_checkpoint, "event"),
                shown(time)
            ),
            None => writeln!(out, "  the end is open, and there is no checkpoint"),
        }
    }

    fn write_range(&self, chain: &ChainReport, out: &mut impl Write) -> fmt::Result {
        if self.span == Span::default() {
            return Ok(());
        }
        let Extent { before, after, lines, events, .. } = &chain.extent;
        match lines {
            Some((first, last)) => {
                writeln!(out, "  in the range: sequence {first} to {last}, {}", count(*events, "event"))?;
            }
            None => writeln!(out, "  nothing in the range")?,
        }
        for (anchor, side) in [(before, "before"), (after, "after")] {
            match anchor {
                Some(Anchor { sequence, time, .. }) => {
                    writeln!(out, "  {side} it: the checkpoint sequence {sequence} ({})", shown(time))?;
                }
                None => writeln!(out, "  {side} it: no checkpoint in these sources")?,
            }
        }
        Ok(())
    }

    fn write_cuts(&self, chain: &ChainReport, out: &mut impl Write) -> fmt::Result {
        for cut in chain.cuts.iter().take(SHOWN) {
            let torn = if cut.torn > 0 { format!(", {} of them there in part", cut.torn) } else { String::new() };
            writeln!(
                out,
                "  CUT before {}: the process was killed; sequence {} to {} may be missing ({}{torn}). Nobody was told that these \
                 events were recorded; up to {} they were",
                self.place(cut.place),
                cut.from,
                cut.to,
                count(cut.to + 1 - cut.from, "event"),
                cut.acknowledged
            )?;
        }
        if chain.cuts.len() > SHOWN {
            writeln!(out, "  CUT: more of them; {} may be missing by all", count(chain.cut_events, "event"))?;
        }
        if chain.kills > 0 {
            writeln!(out, "  killed without a gap: {}", count(chain.kills, "time"))?;
        }
        Ok(())
    }

    fn write_signatures(&self, chain: &ChainReport, out: &mut impl Write) -> fmt::Result {
        if !self.checked {
            let checkpoints = count(chain.checkpoints, "checkpoint");
            return writeln!(out, "  {checkpoints}; signatures were NOT CHECKED (no --key)");
        }
        let signatures = count(chain.signatures, "signature");
        writeln!(out, "  {signatures} right; they cover {} of {}", chain.covered, count(chain.events, "event"))?;
        for (key, from) in chain.signers.iter().skip(1).take(SHOWN) {
            writeln!(
                out,
                "  from sequence {from} on signed by {key}, which a key before it endorses, or which was given"
            )?;
        }
        if let (Some((sequence, time)), Some(by)) = (&chain.signed_to, &chain.next_signature_by) {
            writeln!(out, "  they reach sequence {sequence} ({}); the next one was to come by {by}", shown(time))?;
        }
        let ranges: Vec<_> = chain.uncovered.iter().take(SHOWN).map(|(from, to)| format!("{from} to {to}")).collect();
        if !ranges.is_empty() {
            let more = if chain.uncovered.len() > SHOWN { ", …" } else { "" };
            writeln!(out, "  covered by no signature: sequence {}{more}", ranges.join(", "))?;
        }
        Ok(())
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.write_findings(f)?;
        for (number, chain) in self.chains.iter().enumerate() {
            self.write_chain(number, chain, f)?;
        }
        if self.written_again > 0 {
            writeln!(f, "broken off and written again right behind: {}", count(self.written_again, "line"))?;
        }
        for place in &self.torn {
            writeln!(
                f,
                "at the end, a line that breaks off: {}. It is being written, or the process was killed",
                self.place(*place)
            )?;
        }
        if self.outside > 0 {
            writeln!(f, "outside of the range, not judged: {}", count(self.outside, "finding"))?;
        }
        if let Some(witness) = &self.witness {
            witness.fmt(f)?;
        }
        f.write_str(&self.verdict())?;
        for (number, limit) in self.limits().into_iter().enumerate() {
            let head = if number == 0 { "Not proven:" } else { "           " };
            write!(f, "\n{head} {limit}")?;
        }
        Ok(())
    }
}

fn count(number: u64, what: &str) -> String {
    format!("{number} {what}{}", if number == 1 { "" } else { "s" })
}
