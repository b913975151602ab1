//! A trail beside what its witness saw. The chain and its signatures say that the lines which are there belong together; the witness
//! says which lines there were. So what was rolled back shows: an end that was cut off, an older copy that was put back, a trail that was
//! removed or begun anew.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use chrono::{SecondsFormat, TimeDelta, Utc};

use super::chains::Chain;
use super::keys::{Ring, Signature};
use super::locks::time;
use super::seal::Seal;
use super::witness_report::{Newest, WitnessFinding, WitnessKind, WitnessReport};
use super::witnessed::{Testimony, Witnessed};
use crate::audit::chain::Hash;
use crate::audit::read::Span;

/// How many findings are kept; the rest is counted.
const KEPT: usize = 1000;

/// How long after its time a checkpoint may be missing in the batches of a store: these wait for their time, and for their store.
const ON_ITS_WAY: TimeDelta = TimeDelta::minutes(10);

/// How long after the end of a range of time the next checkpoint is asked for. What is of a later hour than this is not read of a store.
const SOON: TimeDelta = TimeDelta::hours(24);

/// The checkpoints of a witness, and which of them the trail has.
#[derive(Debug, Default)]
pub(super) struct Witnesses {
    known: Vec<Known>,
    by_hash: HashMap<Hash, usize>,
    report: WitnessReport,
}

#[derive(Debug)]
struct Known {
    object: String,
    line: Vec<u8>,
    seal: Seal,
    is_met: bool,
}

/// What the trail is, for the judgement.
pub(super) struct Judged<'a> {
    pub(super) chains: &'a [Chain],
    /// Gateways of which there ought to be something.
    pub(super) servers: &'a [String],
    pub(super) span: Span,
    pub(super) filtered: bool,
    /// Whether signatures were checked.
    pub(super) checked: bool,
}

impl Judged<'_> {
    /// Whether a chain shows that a gateway wrote it. Lines without a signature are anybody's, whatever they say of their gateway.
    fn is_vouched(&self, chain: &Chain) -> bool {
        chain.id.is_some() && (chain.signatures > 0 || !self.checked)
    }
}

impl Witnesses {
    /// Reads what the witness holds; what is no checkpoint there is a finding.
    pub(super) fn of(witnessed: Witnessed) -> Witnesses {
        let mut all = Witnesses::default();
        all.report.name = witnessed.name;
        for testimony in witnessed.objects {
            all.take(testimony);
        }
        all.report.locks = Some(witnessed.locks);
        all.known.sort_by_key(|known| (known.seal.time, known.seal.at.sequence));
        all.by_hash = all.known.iter().enumerate().map(|(number, known)| (known.seal.at.hash, number)).collect();
        all
    }

    fn take(&mut self, testimony: Testimony) {
        let Testimony { name, content, is_hidden, lock } = testimony;
        let content = content.unwrap_or_default();
        let line = content.strip_suffix(b"\n").unwrap_or(&content);
        let seal = Seal::read(line);
        if let Some((_, until)) = lock.filter(|_| is_hidden) {
            let what = format!("was deleted or replaced in the store, although it is locked until {}", time(until));
            self.find(WitnessKind::Hidden, seal.as_ref(), &name, what);
        }
        let Some(seal) = seal else {
            let what = "is not a signed checkpoint: somebody else wrote it".to_owned();
            return self.find(WitnessKind::Unreadable, None, &name, what);
        };
        // One checkpoint may be there under two names.
        if !self.by_hash.contains_key(&seal.at.hash) {
            self.by_hash.insert(seal.at.hash, self.known.len());
            self.known.push(Known { object: name, line: line.to_vec(), seal, is_met: false });
        }
    }

    /// The trail has a checkpoint with this hash.
    pub(super) fn meet(&mut self, hash: Hash) {
        if let Some(known) = self.by_hash.get(&hash).and_then(|number| self.known.get_mut(*number)) {
            known.is_met = true;
        }
    }

    /// What the witness saw and the trail does not have. `ring` has the keys that the trail led to.
    pub(super) fn judge(mut self, ring: &mut Ring, judged: &Judged<'_>) -> WitnessReport {
        self.keep_signed(ring);
        let is_empty = self.is_empty(judged);
        let next = self.next_after(judged.span);
        let is_asked = |known: &Known| judged.span.contains(known.seal.time) || next.contains(&known.seal.at.hash);
        let (within, outside): (Vec<_>, Vec<_>) = std::mem::take(&mut self.known).into_iter().partition(is_asked);
        self.report.checkpoints = (within.len() + outside.len()) as u64;
        self.report.outside = outside.len() as u64;
        self.report.met = within.iter().filter(|known| known.is_met).count() as u64;
        let mut of_chains: BTreeMap<(String, String), Vec<Known>> = BTreeMap::new();
        for known in within {
            of_chains.entry((known.seal.server.clone(), known.seal.chain.clone())).or_default().push(known);
        }
        for ((server, id), mut known) in of_chains {
            known.sort_by_key(|known| known.seal.at.sequence);
            let chains: Vec<&Chain> = judged.chains.iter().filter(|chain| chain.id.as_ref() == Some(&id)).collect();
            self.note_newest(&known, &chains);
            if chains.is_empty() {
                self.judge_gone(&server, &known, judged)
            } else {
                self.judge_chain(&known, &chains, judged)
            }
        }
        // What else was found says more.
        if is_empty && self.report.found == 0 {
            self.report_empty();
        }
        self.report
    }

    /// Whether it saw nothing of these gateways.
    fn is_empty(&self, judged: &Judged<'_>) -> bool {
        // By its chain as well: a gateway may have got another name.
        let is_of = |chain: &Chain, seal: &Seal| chain.server == seal.server || chain.id.as_ref() == Some(&seal.chain);
        let is_of_sources = |known: &Known| judged.chains.iter().any(|chain| is_of(chain, &known.seal));
        if judged.chains.is_empty() { self.known.is_empty() } else { !self.known.iter().any(is_of_sources) }
    }

    fn report_empty(&mut self) {
        let what = "has no signed checkpoint of a gateway of these sources: it is another one's, it was emptied, or nothing was written there \
                    yet. It says nothing of this trail";
        let name = self.report.name.clone();
        self.find(WitnessKind::Empty, None, &name, what.to_owned());
    }

    /// Of each chain that began before the end of the range, the first checkpoint after it: with it the range would not be cut off.
    fn next_after(&self, span: Span) -> HashSet<Hash> {
        let Some(until) = span.until else { return HashSet::new() };
        let mut next: BTreeMap<&str, &Seal> = BTreeMap::new();
        for Known { seal, .. } in self.known.iter().filter(|known| known.seal.time >= until) {
            let first = next.entry(&seal.chain).or_insert(seal);
            if seal.at.sequence < first.at.sequence {
                *first = seal;
            }
        }
        let counts = |seal: &&Seal| seal.at.sequence > 1 && seal.time.signed_duration_since(until) < SOON;
        next.into_values().filter(counts).map(|seal| seal.at.hash).collect()
    }

    /// Leaves out what is not signed by a key of the trail, with a finding. A checkpoint may show the way to the key of another one.
    fn keep_signed(&mut self, ring: &mut Ring) {
        let mut signatures: Vec<Signature> = vec![Signature::NotChecked; self.known.len()];
        loop {
            let before = ring.keys();
            for (known, signature) in self.known.iter().zip(&mut signatures) {
                if !matches!(signature, Signature::Right) {
                    *signature = ring.check_aside(&known.seal.checkpoint, &known.line, known.seal.at.sequence);
                }
            }
            if ring.keys() == before {
                break;
            }
        }
        for (known, signature) in std::mem::take(&mut self.known).into_iter().zip(signatures) {
            let (kind, what) = match signature {
                Signature::Right | Signature::NotChecked => {
                    self.known.push(known);
                    continue;
                }
                Signature::OtherKey(key) => (
                    WitnessKind::ForeignKey,
                    format!(
                        "is signed by {key}, which is none of the given keys, and none of these endorses it: somebody else wrote it"
                    ),
                ),
                Signature::Absent => (WitnessKind::Signature, "has no signature".to_owned()),
                Signature::Forked(fork) => (
                    WitnessKind::Signature,
                    format!(
                        "shows that the key {} endorses {}, and elsewhere it endorses {}: one key endorses two, so somebody else has it",
                        fork.old, fork.second, fork.first.key
                    ),
                ),
                Signature::Wrong | Signature::Followed(_) => {
                    (WitnessKind::Signature, "has a signature that does not fit it: it was changed".to_owned())
                }
            };
            self.find(kind, Some(&known.seal), &known.object, what);
        }
    }

    fn note_newest(&mut self, known: &[Known], chains: &[&Chain]) {
        let Some(last) = known.last() else { return };
        let end = chains.iter().map(|chain| chain.at.sequence).max();
        self.report.newest.push(Newest {
            server: last.seal.server.clone(),
            chain: last.seal.chain.clone(),
            sequence: last.seal.at.sequence,
            time: at(&last.seal),
            checkpoints: known.len() as u64,
            events_after: end.and_then(|end| end.checked_sub(last.seal.at.sequence)),
            trail_ends: end,
        });
    }

    /// The trail has the chain.
    fn judge_chain(&mut self, known: &[Known], chains: &[&Chain], judged: &Judged<'_>) {
        // Within a range that begins somewhere, all has to be there that was seen.
        let begins = chains.iter().map(|chain| chain.first).min().unwrap_or_default();
        let first = if judged.span.since.is_some() { 0 } else { begins };
        let last = chains.iter().map(|chain| end_of(chain, judged)).max().unwrap_or_default();
        let is_batch = chains.iter().any(|chain| chain.is_batch);
        let met = |before: u64| known.iter().rfind(|known| known.is_met && known.seal.at.sequence < before);
        let unmet = || known.iter().filter(|known| !known.is_met && known.seal.at.sequence >= first);
        self.report.before_sources +=
            known.iter().filter(|known| !known.is_met && known.seal.at.sequence < first).count() as u64;
        let within = unmet().find(|known| known.seal.at.sequence <= last);
        if let Some(known) = within {
            let sequence = known.seal.at.sequence;
            let since = match met(sequence) {
                Some(fits) => {
                    format!("the last checkpoint that fits is sequence {} ({})", fits.seal.at.sequence, at(&fits.seal))
                }
                None => "no checkpoint before it fits".to_owned(),
            };
            let what = format!(
                "saw sequence {sequence} at {}, and the trail has something else there, or nothing; {since}. What follows that was replaced: \
                 an older copy was put back and the trail went on from there, or lines were taken out (or these sources lack it)",
                at(&known.seal)
            );
            self.find(WitnessKind::Replaced, Some(&known.seal), &known.object, what);
        }
        // The last one that was seen beyond the end says most.
        let beyond = unmet().rfind(|known| known.seal.at.sequence > last);
        let Some(known) = beyond else { return };
        if is_batch && is_on_its_way(known) {
            self.report.on_their_way += 1;
            return;
        }
        let (sequence, missing) = (known.seal.at.sequence, known.seal.at.sequence - last);
        let what = format!(
            "saw sequence {sequence} at {}, and the trail ends at sequence {last}: {missing} events at least are missing. The end was cut off, \
             an older copy of everything was put back, or (of a sink that delivers later) they are not delivered yet; of a range, the sources \
             have to go on to the next checkpoint after it",
            at(&known.seal)
        );
        self.find(WitnessKind::CutOff, Some(&known.seal), &known.object, what);
    }

    /// The trail has nothing of the chain.
    fn judge_gone(&mut self, server: &str, known: &[Known], judged: &Judged<'_>) {
        let (Some(first), Some(last)) = (known.first(), known.last()) else { return };
        if judged.chains.iter().any(|chain| chain.is_batch) && is_on_its_way(first) {
            self.report.on_their_way += 1;
            return;
        }
        let of_server: Vec<&Chain> = judged.chains.iter().filter(|chain| chain.server == server).collect();
        let saw =
            format!("saw the chain {} up to sequence {} ({})", last.seal.chain, last.seal.at.sequence, at(&last.seal));
        let Some(begins) = of_server.first() else {
            // Somebody else's line does not make the trail another gateway's.
            let is_of_others = judged.chains.iter().any(|chain| judged.is_vouched(chain));
            if is_of_others && !judged.servers.iter().any(|name| name == server) {
                self.report.unseen.insert(server.to_owned());
                return;
            }
            let what = format!(
                "{saw}, and there is no line of {server} in these sources: its trail was removed, or is elsewhere"
            );
            return self.find(WitnessKind::Removed, Some(&last.seal), &last.object, what);
        };
        // Wherever the sources begin: a gateway goes on with its chain, so one that it does not go on with was taken from it.
        let present = begins.id.as_deref().unwrap_or("without a checkpoint");
        let what = format!(
            "{saw}, and these sources have nothing of it, but the chain {present} of {server}: the trail was removed and begun anew, or an \
             older one was put back, or two gateways have this name. After an intended new beginning, ask with --since from it on"
        );
        self.find(WitnessKind::BegunAnew, Some(&last.seal), &last.object, what);
    }

    fn find(&mut self, kind: WitnessKind, seal: Option<&Seal>, object: &str, what: String) {
        self.report.found += 1;
        if self.report.findings.len() < KEPT {
            self.report.findings.push(WitnessFinding {
                kind,
                server: seal.map(|seal| seal.server.clone()),
                chain: seal.map(|seal| seal.chain.clone()),
                sequence: seal.map(|seal| seal.at.sequence),
                object: object.to_owned(),
                what,
            });
        }
    }
}

/// The last line of a chain that counts. A filter explains any gap, so that a line of somebody else can say that it is of a later number:
/// then the last one that a signature covers.
fn end_of(chain: &Chain, judged: &Judged<'_>) -> u64 {
    let signed = || chain.reach.signed_to().map(|(sequence, _)| sequence);
    if judged.filtered && judged.checked { signed().unwrap_or(0) } else { chain.at.sequence }
}

/// The batches of a store may not have it yet.
fn is_on_its_way(known: &Known) -> bool {
    Utc::now().signed_duration_since(known.seal.time) < ON_ITS_WAY
}

fn at(seal: &Seal) -> String {
    seal.time.to_rfc3339_opts(SecondsFormat::Secs, true)
}

/// Gateways that a witness knows and a trail does not.
pub(super) type Servers = BTreeSet<String>;
